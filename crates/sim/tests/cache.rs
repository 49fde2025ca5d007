//! Viewers who may keep only a part of the film: it plays to its end, the disk never holds more than it may, and nobody thinks
//! that something is there which was given up. The last two are checks of the world.

mod common;

use common::{options, play};

fn holds(set: &[&str], stall_ratio_max: f64) {
    let mut options = options("cache", 1..=6, set);
    options.strict = true;
    let report = play(&options);
    let broken: Vec<&Vec<String>> = report.broken().map(|row| &row.violations).collect();
    assert!(broken.is_empty(), "{broken:?}");
    for row in &report.seeds {
        for peer in &row.peers {
            let value = |name: &str| {
                peer.values.iter().find(|entry| entry.0 == name).and_then(|entry| entry.1)
            };
            if let Some(started) = value("startup_ms") {
                assert!(started.is_finite(), "seed {}: it never started", row.seed);
                let ratio = value("stall_ratio").unwrap_or(1.0);
                assert!(ratio <= stall_ratio_max, "seed {}: it stood still for {ratio}", row.seed);
            }
        }
    }
}

#[test]
fn a_tenth_of_the_film_is_enough_to_play_all_of_it() {
    holds(&["faults.must_finish=true"], 0.01);
}

#[test]
fn without_block_hashes_too() {
    // Whole pieces travel more slowly, with a quota or without.
    holds(&["faults.must_finish=true", "film.format=v1"], 0.15);
}

#[test]
fn and_when_nothing_is_fetched_but_what_is_played() {
    holds(&["faults.must_finish=true", "play.rest=nothing", "film.format=v2"], 0.02);
}

#[test]
fn a_tenth_of_one_film_is_enough_to_watch_three() {
    let three = [
        "catalogue.titles=3",
        "catalogue.exponent=0",
        "catalogue.changes=2",
        "catalogue.change_after_s=60",
        "play.rest=nothing",
        "limit_s=1200",
        "faults.must_finish=true",
    ];
    holds(&three, 0.01);
}
