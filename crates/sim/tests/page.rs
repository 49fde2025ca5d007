//! The page of a report: what runs wrote is read back, drawn, and safe; what is no result is refused in words.

mod common;

use std::path::Path;

use common::{options, play};
use shoal_sim::page::{read_runs, sections, write};
use shoal_sim::plot::{Mark, Style};

/// Runs the smallest scenario and writes what came of it.
fn results(folder: &Path, policy: &str, set: &[&str]) {
    let mut options = options("swarm-small", 1..=2, set);
    options.policy = Some(policy.to_owned());
    play(&options).write(folder).expect("written");
}

#[test]
fn what_a_run_wrote_is_read_back_and_drawn() {
    let folder = tempfile::tempdir().expect("a folder");
    results(&folder.path().join("one"), "shoal", &[]);
    results(&folder.path().join("two"), "bittorrent-rarest", &["about=\"<b>\""]);
    let runs = read_runs(folder.path()).expect("results");
    let startups = runs[0].column("startup_ms");
    assert_eq!((runs.len(), startups.len()), (2, 4), "two viewers, two seeds");
    assert!(runs[0].plan.is_some());
    let film = runs[0].plan.as_ref().map_or(0, |plan| plan.film_length()) as f64;
    let served: f64 = runs[0].server.iter().map(|stretch| stretch.1).sum();
    assert!(served >= film, "the server sent each block at least once: {served} of {film}");

    let (page, count) = write(folder.path(), &runs).expect("written");
    let html = std::fs::read_to_string(page).expect("a page");
    let plots = std::fs::read_dir(folder.path().join("plots")).expect("plots").count();
    assert_eq!((count, plots), (6, 6), "all but seeks, which nobody made");
    for part in ["PRIME, published: 90 % under 6 s", "D_p2p", "bittorrent-rarest", "startup p50"] {
        assert!(html.contains(part), "{part}");
    }
    for part in ["<b>", "<script", "src=", "href=", "NaN"] {
        assert!(!html.contains(part), "{part}");
    }
}

#[test]
fn runs_are_named_by_what_differs_and_counts_of_peers_make_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    results(&folder.path().join("a"), "shoal", &[]);
    results(&folder.path().join("b"), "shoal", &["peers=8"]);
    let runs = read_runs(folder.path()).expect("results");
    let sections = sections(&runs);
    let names: Vec<&str> = sections[0].runs.iter().map(|named| named.name.as_str()).collect();
    assert_eq!(names, ["peers=4", "peers=8"]);
    let times = sections[0].figures.iter().find(|figure| figure.chart.id.contains("distribution"));
    let chart = &times.expect("a chart").chart;
    let measured: Vec<_> = chart.lines.iter().filter(|l| l.style == Style::Dots).collect();
    assert_eq!((measured.len(), measured[0].points.len()), (1, 2));
    let startup = &sections[0].figures[0].chart;
    assert!(matches!(startup.marks[0], Mark::Point(x, y, _) if x == 6.0 && y == 90.0));
}

#[test]
fn folders_without_sound_results_are_refused_in_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let refusal = || read_runs(folder.path()).expect_err("refused");
    assert!(refusal().contains("holds no summary.json: give a folder"), "{}", refusal());
    let summary = folder.path().join("summary.json");
    for (text, part) in [
        ("{", "is no summary"),
        ("[]", "lacks `metrics`"),
        ("{\"metrics\":{}}", "lacks `settings`"),
        ("{\"metrics\":{},\"settings\":{},\"scenario\":\"x\",\"policy\":\"y\"}", "peers.csv"),
    ] {
        std::fs::write(&summary, text).expect("written");
        assert!(refusal().contains(part), "{text}: {}", refusal());
    }
    for (text, part) in [("seed,peer\n1\n", "line 2: 1 cells"), ("seed\nx\n", "`x` is no number")] {
        std::fs::write(folder.path().join("peers.csv"), text).expect("written");
        assert!(refusal().contains(part), "{text}: {}", refusal());
    }
    assert!(read_runs(&folder.path().join("nowhere")).expect_err("refused").contains("no folder"));
}
