//! Nodes exchange real titles: every version, by torrent and by magnet, with honest peers and liars.

#[expect(dead_code, reason = "every file of tests uses another part of the world")]
mod world;

use std::time::Duration;

use shoal_node::config::Choice;
use shoal_node::io::{Command, Event, Input};
use shoal_node::link::ReaderId;
use shoal_wire::metainfo::Version;
use shoal_wire::time_index::TimeIndex;
use world::{Lie, World, title};

const PIECE: u32 = 128 * 1024;
const RATE: u64 = 2_000_000;

fn exchange(length: usize, version: Version, magnet: bool, lie: Lie) -> World {
    let (meta, content) = title(length, PIECE, version);
    let mut world = World::new();
    let seed = world.host(RATE, lie);
    let leech = world.host(RATE, Lie::None);
    world.join(seed, &meta, &content, |_| true, &[], false);
    world.join(leech, &meta, &content, |_| false, &[seed], magnet);
    let done = world.run(Duration::from_secs(60), |world| world.is_complete(leech));
    assert!(done, "not complete: {:?}", world.hosts[leech].node.views());
    assert_eq!(world.hosts[leech].disk[..length], content[..]);
    let counters = world.hosts[leech].node.counters()[0];
    assert_eq!(
        (counters.useful, counters.duplicate, counters.wasted, counters.left),
        (length as u64, 0, 0, 0)
    );
    world
}

#[test]
fn a_title_of_each_version_goes_from_seed_to_leech() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        for length in [1, 16_384, 100_000, 1_000_003] {
            exchange(length, version, false, Lie::None);
        }
    }
}

#[test]
fn a_magnet_is_enough_for_each_version() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        exchange(1_000_003, version, true, Lie::None);
    }
}

#[test]
fn a_seed_that_keeps_no_leaf_hashes_can_still_be_used() {
    for version in [Version::V2, Version::Hybrid] {
        exchange(700_000, version, false, Lie::NoHashes);
    }
}

#[test]
fn bulk_uses_the_whole_uplink_of_the_seed() {
    let world = exchange(4_000_000, Version::Hybrid, false, Lie::None);
    let took = world.now.since(shoal_node::time::Instant::from_millis(1000));
    assert!(took < Duration::from_millis(2350), "{took:?} for 2 s of bytes");
}

#[test]
fn a_liar_is_named_and_the_title_still_completes() {
    for version in [Version::V1, Version::V2] {
        let (meta, content) = title(1_000_000, PIECE, version);
        let mut world = World::new();
        let honest = world.host(RATE, Lie::None);
        let liar = world.host(RATE, Lie::Corrupt);
        let leech = world.host(RATE, Lie::None);
        world.join(honest, &meta, &content, |_| true, &[], false);
        world.join(liar, &meta, &content, |_| true, &[], false);
        world.join(leech, &meta, &content, |_| false, &[liar, honest], false);
        assert!(
            world.run(Duration::from_secs(120), |world| world.is_complete(leech)),
            "{version:?}"
        );
        assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
        assert_eq!(world.banned(leech), [world.hosts[liar].addr], "{version:?}");
    }
}

#[test]
fn a_peer_that_promises_and_never_sends_does_not_stop_the_others() {
    let (meta, content) = title(1_000_000, PIECE, Version::Hybrid);
    let mut world = World::new();
    let honest = world.host(RATE, Lie::None);
    let silent = world.host(RATE, Lie::Silent);
    let leech = world.host(RATE, Lie::None);
    world.join(honest, &meta, &content, |_| true, &[], false);
    world.join(silent, &meta, &content, |_| true, &[], false);
    world.join(leech, &meta, &content, |_| false, &[silent, honest], false);
    assert!(world.run(Duration::from_secs(30), |world| world.is_complete(leech)));
    assert!(world.run(Duration::from_secs(120), |world| !world.banned(leech).is_empty()
        || world.hosts[leech].node.views()[0].peers.is_empty()));
}

#[test]
fn peers_with_random_halves_make_a_whole() {
    let (meta, content) = title(3_000_000, PIECE, Version::Hybrid);
    let mut world = World::new();
    let hosts: Vec<usize> = (0..5).map(|_| world.host(400_000, Lie::None)).collect();
    for &host in &hosts {
        world.join(
            host,
            &meta,
            &content,
            |piece| (piece as usize * 7 + host) % 5 < 2,
            &hosts,
            false,
        );
    }
    let all = |world: &World| hosts.iter().all(|&host| world.is_complete(host));
    assert!(world.run(Duration::from_secs(120), all));
    for &host in &hosts {
        assert_eq!(world.hosts[host].disk[..content.len()], content[..]);
        let counters = world.hosts[host].node.counters()[0];
        assert!(counters.duplicate * 50 <= counters.received, "{counters:?}");
    }
}

/// A film of 250 kB/s in a swarm of slow peers with random halves.
fn watch(seed: u64, jump: bool) -> (World, usize) {
    let (meta, content) = title(7_500_000, 2 * PIECE, Version::Hybrid);
    let mut world = World::new();
    world.index = Some(TimeIndex::constant_rate(7_500_000, 30_000, 50_000).into());
    let mut hosts: Vec<usize> = (0..6).map(|_| world.host(102_400, Lie::None)).collect();
    for &host in &hosts {
        world.join(
            host,
            &meta,
            &content,
            |piece| (u64::from(piece) * 7 + host as u64 + seed) % 4 < 2,
            &[],
            false,
        );
    }
    let source = world.host(102_400, Lie::None);
    world.join(source, &meta, &content, |_| true, &[], false);
    hosts.push(source);
    let viewer = world.host(400_000, Lie::None);
    world.join(viewer, &meta, &content, |_| false, &hosts, false);
    let reader = ReaderId(1);
    world.input(
        viewer,
        Input::Command(Command::Play { reader, title: world::TITLE, file: 0, at_ms: 0 }),
    );
    if jump {
        world.run(Duration::from_secs(4), |_| false);
        world.input(viewer, Input::Command(Command::Jump { reader, to_ms: 20_000 }));
    }
    let ended = |world: &World| {
        world.hosts[viewer].events.iter().any(|(_, event)| matches!(event, Event::Ended { .. }))
    };
    assert!(world.run(Duration::from_secs(60), ended), "{:?}", world.hosts[viewer].events);
    (world, viewer)
}

#[test]
fn a_film_starts_at_once_and_never_stalls_from_slow_halves() {
    for seed in 0..4 {
        let (world, viewer) = watch(seed, false);
        for (at, event) in &world.hosts[viewer].events {
            match event {
                Event::Playing { startup_ms, .. } => assert!(*startup_ms < 1500, "{startup_ms}"),
                Event::Stall { .. } => panic!("stalled at {at:?}: {event:?}"),
                _ => {}
            }
        }
        let counters = world.hosts[viewer].node.counters()[0];
        assert!(counters.duplicate * 50 <= counters.received, "{counters:?}");
    }
}

/// Where one peer alone has a piece that is needed first, its uplink is the limit: two pieces of 64 KiB take 1.3 s.
#[test]
fn a_jump_to_what_nobody_fetched_takes_little_more_than_a_second_or_waits_for_who_alone_has_it() {
    let mut latencies: Vec<u64> = (0..4)
        .filter_map(|seed| {
            let (world, viewer) = watch(seed, true);
            world.hosts[viewer].events.iter().find_map(|(_, event)| match event {
                Event::Seek { latency_ms, .. } => Some(*latency_ms),
                _ => None,
            })
        })
        .collect();
    latencies.sort_unstable();
    assert_eq!(latencies.len(), 4);
    assert!(latencies[0] < 1100 && latencies[2] < 1200 && latencies[3] < 1400, "{latencies:?}");
}

/// Film bytes that the fast one of five seeds sent to a viewer, per cent.
fn share_of_the_fast(choice: Choice) -> u64 {
    let (meta, content) = title(7_500_000, 2 * PIECE, Version::Hybrid);
    let mut world = World::new();
    world.index = Some(TimeIndex::constant_rate(7_500_000, 30_000, 50_000).into());
    let rates = [150_000, 150_000, 1_000_000, 150_000, 150_000];
    let seeds = rates.map(|rate| world.host(rate, Lie::None));
    for &seed in &seeds {
        world.join(seed, &meta, &content, |_| true, &[], false);
    }
    let viewer = world.host_with(400_000, Lie::None, |config| {
        config.swarm.choice = choice;
        config.play.window = Duration::from_secs(5);
    });
    world.join(viewer, &meta, &content, |_| false, &seeds, false);
    // No file is wanted for itself: then peers have more room than there is work.
    let (title, files) = (world::TITLE, vec![(9, 9)]);
    world.input(viewer, Input::Command(Command::Select { title, files }));
    let reader = ReaderId(1);
    let command = Command::Play { reader, title: world::TITLE, file: 0, at_ms: 0 };
    world.input(viewer, Input::Command(command));
    let played = |world: &World| {
        world.hosts[viewer].events.iter().any(|(_, event)| matches!(event, Event::Ended { .. }))
    };
    assert!(world.run(Duration::from_secs(60), played), "{choice:?}");
    let sent = seeds.map(|seed| world.hosts[seed].node.counters()[0].sent);
    sent[2] * 100 / sent.iter().sum::<u64>()
}

#[test]
fn who_is_asked_follows_the_choice_of_peers() {
    let choices = [Choice::Random, Choice::Arrival, Choice::Rate];
    let shares = choices.map(share_of_the_fast);
    assert!(shares[0] + 10 < shares[2], "{choices:?}: {shares:?}");
}
