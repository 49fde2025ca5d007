//! Who fetches in bulk: Shoal must not pay there for what it does for viewers.

mod common;

use common::{options, play};

/// Time of the last peer over the fluid bound, and control bytes over film bytes.
fn ratio_and_overhead(policy: &str, set: &[&str]) -> (f64, f64) {
    // Sixteen peers of 250 kB/s: each link carries less than a block a second.
    let small = [
        "peers=16",
        "film.length_bytes=33_554_432",
        "upload.bytes_per_s=250_000",
        "server.up_bytes_per_s=2_500_000",
    ];
    let set: Vec<&str> = small.iter().chain(set).copied().collect();
    let mut options = options("e-equal", 1..=1, &set);
    options.policy = Some(policy.into());
    let report = play(&options);
    assert_eq!(report.broken().count(), 0, "{:?}", report.seeds[0].violations);
    let value = |name| {
        let values = &report.seeds[0].values;
        values.iter().find(|value| value.0 == name).and_then(|value| value.1).expect("a figure")
    };
    (value("distribution_ratio"), value("control_overhead"))
}

#[test]
fn many_slow_links_are_used_to_the_full_in_bulk() {
    let (shoal, overhead) = ratio_and_overhead("shoal", &[]);
    let (rarest, _) = ratio_and_overhead("bittorrent-rarest", &[]);
    assert!(shoal <= 1.10, "{shoal} times the fluid bound");
    assert!(shoal <= rarest, "{shoal} times the fluid bound, and rarest first {rarest}");
    assert!(overhead <= 0.008, "{overhead} control bytes for each film byte");
}

#[test]
fn a_long_round_trip_leaves_no_uplink_idle_in_bulk() {
    let (shoal, _) = ratio_and_overhead("shoal", &["network.rtt_ms=150"]);
    assert!(shoal <= 1.25, "{shoal} times the fluid bound");
}

/// Copies that the source of foreign leechers sends, and the time of the last over the bound; means of two seeds.
fn foreign(policy: &str, peers: &str) -> (f64, f64) {
    let mut options = options("foreign", 1..=2, &[peers, "film.length_bytes=16_777_216"]);
    (options.policy, options.strict) = (Some(policy.into()), true);
    let report = play(&options);
    assert_eq!(report.broken().count(), 0, "{:?}", report.seeds[0].violations);
    let mean = |name| {
        let values = report.seeds.iter().flat_map(|seed| &seed.values);
        let values = values.filter(|value| value.0 == name);
        values.map(|value| value.1.expect("a figure")).sum::<f64>() / report.seeds.len() as f64
    };
    (mean("server_copies"), mean("distribution_ratio"))
}

#[test]
fn foreign_leechers_take_fewer_copies_from_a_source_and_wait_no_longer() {
    let (shoal, shoal_time) = foreign("shoal", "peers=6");
    let (plain, plain_time) = foreign("shoal-no-super-seeding", "peers=6");
    assert!(shoal <= plain * 0.85, "{shoal} copies, and {plain} when all is shown");
    assert!(shoal_time <= plain_time * 1.05, "{shoal_time} times the bound, and {plain_time}");
    // Alone, nothing is lost.
    let (shoal, shoal_time) = foreign("shoal", "peers=1");
    let (plain, plain_time) = foreign("shoal-no-super-seeding", "peers=1");
    assert_eq!(shoal, plain);
    assert!(shoal_time <= plain_time * 1.01, "{shoal_time} times the bound, and {plain_time}");
}
