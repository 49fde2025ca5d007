//! Same seed, same run: in one process, in two, on one thread or on several.

mod common;

use std::process::Command;

use common::{options, play};

/// Tells a child process to print its hashes instead of testing.
const CHILD: &str = "SHOAL_SIM_PRINT_HASHES";

fn hashes(threads: usize) -> String {
    let mut faults = options("faults", 11..=14, &[]);
    faults.strict = true;
    faults.threads = threads;
    let mut small = options("swarm-small", 1..=2, &["link.form=magnet", "network.loss_percent=1"]);
    small.threads = threads;
    play(&faults).trace_hash() + &play(&small).trace_hash()
}

#[test]
fn two_processes_trace_the_same_hash_for_the_same_seed() {
    let here = hashes(2);
    if std::env::var_os(CHILD).is_some() {
        println!("hashes:\n{here}:end");
        return;
    }
    let child = Command::new(std::env::current_exe().expect("this test's own program"))
        .args(["--exact", "two_processes_trace_the_same_hash_for_the_same_seed", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it starts");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let there = text.split("hashes:\n").nth(1).and_then(|rest| rest.split(":end").next());
    assert_eq!(there, Some(here.as_str()), "{text}");
}

#[test]
fn seeds_differ_and_threads_do_not_matter() {
    let (one, two) = (hashes(1), hashes(2));
    assert_eq!(one, two);
    let mut lines: Vec<&str> = one.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    let all = lines.len();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!((lines.len(), all), (6, 6));
}

#[test]
fn a_replay_of_a_seed_ends_with_the_hash_of_its_run_and_can_be_stopped_on_the_way() {
    let options = options("swarm-small", 5..=5, &[]);
    let hash = play(&options).seeds[0].trace.clone();
    let whole = shoal_sim::replay(&options, 5, None).expect("a replay");
    assert_eq!(whole.trace, hash);
    let part = shoal_sim::replay(&options, 5, Some(1500)).expect("a replay");
    assert!(part.turns < whole.turns && part.now_ms <= 1500);
    assert!(part.last_turns.contains("node 1") && part.last_turns.contains("->"));
}
