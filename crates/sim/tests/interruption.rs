//! A run that is interrupted keeps what is finished, and says so.

mod common;

use std::sync::atomic::{AtomicBool, Ordering};

use common::{options, play};
use shoal_sim::{Heard, Host, run};

#[test]
fn an_interrupted_run_keeps_the_seeds_that_are_finished() {
    let mut options = options("swarm-small", 1..=60, &[]);
    options.threads = 1;
    let stop = AtomicBool::new(false);
    let mut last_ms = 0;
    let progress = &mut |heard: Heard<'_>| match heard {
        Heard::At { virtual_ms, .. } => last_ms = virtual_ms,
        Heard::Done(_) => stop.store(true, Ordering::Relaxed),
    };
    let stopped = &|| stop.load(Ordering::Relaxed);
    let host = Host { wall_ms: &|| 0, peak_bytes: &|| None, progress, stopped };
    let report = run(&options, host).expect("a scenario that can be run");
    assert!((1..60).contains(&report.seeds.len()), "{} seeds", report.seeds.len());
    assert!(report.interrupted && report.summary()["interrupted"] == true);
    let whole = play(&common::options("swarm-small", 1..=1, &[]));
    assert_eq!(report.seeds[0].trace, whole.seeds[0].trace, "what is kept is what would have been");
    assert!(!whole.interrupted);
}
