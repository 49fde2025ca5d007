//! A policy that a node ignored would leave the same trace as Shoal, and the figures of another order of pieces.

#[expect(dead_code, reason = "only built-in scenarios need all of it")]
mod common;

use common::play;
use shoal_sim::policy::POLICIES;
use shoal_sim::report::Report;
use shoal_sim::{Options, Source};

/// Viewers that come one after the other, one who only fetches, uplinks and round trips that differ, one source.
const WORLD: &str = r#"
name = "policies"
finish = "play"
peers = 6
viewers = 5
limit_s = 90.0

[film]
rate_bit_per_s = 1_000_000
duration_s = 30.0
piece_bytes = 65_536
head_bytes = 16_384

[server]
count = 1
up_bytes_per_s = 400_000

[upload]
factor = 2.0
mix = [0.5, 1.5]

[network]
kind = "plane"
rtt_ms = 10.0

[arrival]
pattern = "uniform"
over_s = 10.0

[play]
jumps = 1
jump_first_s = 4.0
jump_to = "anywhere"
"#;

fn run(policy: &str, seeds: std::ops::RangeInclusive<u64>, set: &[&str]) -> Report {
    let options = Options {
        scenario: Source::Text(WORLD.to_owned()),
        policy: Some(policy.to_owned()),
        set: set.iter().map(|&item| item.to_owned()).collect(),
        ..Options::named("", seeds)
    };
    play(&options)
}

#[test]
fn no_policy_is_ignored_and_none_breaks_a_rule() {
    let strangers = &["foreign=bittorrent-rarest"][..];
    let ships = |set: &[&str]| run("shoal", 1..=1, set).trace_hash();
    let crowd = &["lookup.find=directory", "node.slots_from=1"][..];
    let (ours, theirs, many) = (ships(&[]), ships(strangers), ships(crowd));
    assert_ne!(ours, theirs, "foreign peers are as ours");
    for policy in POLICIES.iter().filter(|policy| policy.name != "shoal") {
        let (set, ships) = match policy.name {
            // What a source shows to foreign clients does not matter where there are none.
            "shoal-no-super-seeding" => (strangers, &theirs),
            // Where all know all nobody is looked for.
            "shoal-no-rendezvous" => (crowd, &many),
            _ => (&[][..], &ours),
        };
        let report = run(policy.name, 1..=1, set);
        assert_eq!(report.broken().count(), 0, "{policy:?}");
        assert_ne!(report.trace_hash(), *ships, "{policy:?} changes nothing");
    }
}

#[test]
fn a_viewer_of_whole_pieces_starts_the_later_the_less_its_order_looks_at_the_playhead() {
    let set = ["peers=1", "viewers=1", "play.jumps=0", "server.count=0", "seeds.count=4"];
    let set = [&set[..], &["seeds.up_bytes_per_s=50000", "film.format=v1", "limit_s=60"]].concat();
    let starts = |policy: &str| {
        let report = run(policy, 1..=8, &set);
        let peers = report.seeds.iter().flat_map(|row| &row.peers);
        let starts = peers.map(|peer| peer.values[0].1.expect("a start").min(60_000.0));
        starts.sum::<f64>() / 8.0
    };
    let orders = ["in-order", "portion", "zipf", "random"];
    let means = orders.map(|order| starts(&format!("bittorrent-{order}")));
    assert!(means.is_sorted(), "{orders:?}: {means:?}");
    assert!(means[1] * 2.0 < means[3] && means[2] < means[3] * 0.8, "{orders:?}: {means:?}");
}

/// The coordinates that a node settles at must say how far others are, or a choice by them is one by chance.
#[test]
fn coordinates_predict_the_round_trips_of_a_plane() {
    let set = ["peers=24", "viewers=20", "film.duration_s=60", "play.jumps=0"];
    let errors = |policy: &str| -> Vec<f64> {
        let report = run(policy, 1..=2, &set);
        let named = |row: &shoal_sim::metrics::PeerRow| {
            row.values.iter().find(|entry| entry.0 == "prediction_error").and_then(|entry| entry.1)
        };
        report.seeds.iter().flat_map(|row| &row.peers).filter_map(named).collect()
    };
    assert!(errors("shoal").is_empty(), "nobody tells coordinates unless they count");
    let mut errors = errors("shoal-peer-by-coordinates");
    errors.sort_by(f64::total_cmp);
    assert!(errors.len() >= 40, "{} peers had neighbours", errors.len());
    let (median, nine_of_ten) = (errors[errors.len() / 2], errors[errors.len() * 9 / 10]);
    assert!(median < 0.1 && nine_of_ten < 0.2, "median {median}, nine of ten {nine_of_ten}");
}
