//! Virtual time slots: viewers of a large title who keep little of it meet those who have what they need next, and a parent that
//! goes elsewhere is not missed.

mod common;

use common::{options, play};
use shoal_sim::metrics::PeerRow;
use shoal_sim::report::Report;

fn value(peer: &PeerRow, name: &str) -> Option<f64> {
    peer.values.iter().find(|entry| entry.0 == name).and_then(|entry| entry.1)
}

/// A figure of all viewers who have one, mean.
fn mean(report: &Report, name: &str) -> f64 {
    let peers = report.seeds.iter().flat_map(|row| &row.peers);
    let all: Vec<f64> = peers.filter_map(|peer| value(peer, name)).collect();
    all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn viewers_who_meet_by_slots_stand_still_for_half_as_long() {
    let set = [
        "film.duration_s=1200",
        "film.slot_s=30",
        "peers=50",
        "viewers=50",
        "arrival.over_s=400",
        "play.jump_first_s=100",
        "play.jump_every_s=100",
        "node.links_wanted=10",
        "limit_s=500",
        "finish=limit",
    ];
    let of = |policy: &str| {
        let mut options = options("slots", 1..=2, &set);
        options.policy = Some(policy.into());
        play(&options)
    };
    let (with, without) = (of("shoal"), of("shoal-no-rendezvous"));
    let still = [&with, &without].map(|report| mean(report, "stall_ratio"));
    assert!(still[0] < 0.5 * still[1], "{still:?} of the time");
    let stalls = [&with, &without].map(|report| mean(report, "stalls"));
    assert!(stalls[0] < 0.7 * stalls[1], "{stalls:?} stalls");
}

#[test]
fn a_parent_that_jumps_stalls_no_child_that_has_another() {
    // They come within a minute, and jump 65 s after that: those who came first while the others play from what they give.
    let set = [
        "peers=4",
        "viewers=4",
        "arrival.pattern=uniform",
        "arrival.over_s=60",
        "film.duration_s=600",
        "film.slot_s=30",
        "play.cache_percent=100",
        "play.jumps=1",
        "play.jump_first_s=65",
        "node.slots_from=1",
        "upload.factor=3.0",
        "limit_s=92",
        "finish=limit",
    ];
    let report = play(&options("slots", 1..=12, &set));
    let mut children = 0;
    for row in &report.seeds {
        let has_jumped = |peer: &&PeerRow| !peer.seeks_ms.is_empty();
        if row.peers.iter().filter(has_jumped).count() < 2 {
            continue;
        }
        for child in row.peers.iter().filter(|peer| !has_jumped(peer)) {
            children += 1;
            assert_eq!(value(child, "stalls"), Some(0.0), "seed {}", row.seed);
            let fed = value(child, "from_server_bytes").zip(value(child, "received_bytes"));
            assert!(fed.is_some_and(|(server, all)| server < 0.5 * all), "{fed:?}");
        }
    }
    assert!(children >= 6, "{children}");
}
