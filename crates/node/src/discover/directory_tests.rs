//! The directory by its answers: examples, a slow model, and a million announces.

use super::{Directory, DirectoryConfig, Refusal};
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use proptest::prelude::*;
use shoal_wire::tracker::{Announce, AnnounceEvent, ScrapeCounts, UdpTracker};
use shoal_wire::{Hash20, PeerId};

fn announce(title: u8, port: u16, left: u64, event: AnnounceEvent) -> Announce {
    Announce {
        info_hash: Hash20([title; 20]),
        peer_id: PeerId([1; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        key: 1,
        num_want: None,
    }
}
fn directory(config: DirectoryConfig) -> Directory {
    Directory::new(config, Seed::from_u64(5), [1, 2, 3, 4])
}
fn ip(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
}
fn host_of(addr: &SocketAddr) -> u8 {
    match addr.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    }
}
fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

#[test]
fn peers_meet_seeds_are_not_given_to_seeds_and_who_stops_is_gone() {
    let mut dir = directory(DirectoryConfig::default());
    let none = AnnounceEvent::None;
    let ask = |dir: &mut Directory, host, left, event| {
        let answer = dir.announce(at(1), ip(host), &announce(1, 100, left, event)).expect("room");
        let mut peers: Vec<u8> = answer.peers.iter().map(host_of).collect();
        peers.sort_unstable();
        (peers, answer.complete, answer.incomplete)
    };
    assert_eq!(ask(&mut dir, 1, 5, none), (vec![], Some(0), Some(1)));
    assert_eq!(ask(&mut dir, 2, 0, none), (vec![1], Some(1), Some(1)));
    assert_eq!(ask(&mut dir, 3, 0, none), (vec![1], Some(2), Some(1)));
    assert_eq!(ask(&mut dir, 4, 9, none), (vec![1, 2, 3], Some(2), Some(2)));
    assert_eq!(ask(&mut dir, 1, 0, AnnounceEvent::Completed), (vec![4], Some(3), Some(1)));
    assert_eq!(ask(&mut dir, 2, 0, AnnounceEvent::Stopped), (vec![], Some(2), Some(1)));
    let counts = ScrapeCounts { complete: 2, downloaded: 1, incomplete: 1 };
    let asked = [Hash20([1; 20]), Hash20([9; 20])];
    assert_eq!(dir.scrape(&asked), [counts, ScrapeCounts::default()]);
    assert_eq!(dir.peer_count(), 3);
}

#[test]
fn a_beginner_among_thousands_is_named_a_seed_before_anybody_else() {
    let mut dir = directory(DirectoryConfig::default());
    for (port, left) in [(1, 0), (2, 0), (3, 0)].into_iter().chain((10..5000).map(|p| (p, 7))) {
        let announce = announce(1, port, left, AnnounceEvent::Started);
        dir.announce(at(0), ip(1), &announce).expect("room");
    }
    for wanted in [1, 3, 50] {
        let mut announce = announce(1, 9, 7, AnnounceEvent::Started);
        announce.num_want = Some(wanted);
        let peers = dir.announce(at(1), ip(2), &announce).expect("room").peers;
        assert_eq!(peers.len(), wanted as usize);
        let seeds = peers.iter().take_while(|addr| addr.port() <= 3).count();
        assert_eq!(seeds, 2.min(wanted as usize), "{peers:?}");
    }
}

#[test]
fn a_peer_that_nobody_can_reach_gets_an_answer_and_leaves_no_trace() {
    let mut dir = directory(DirectoryConfig::default());
    let answer = dir.announce(at(0), ip(1), &announce(1, 0, 5, AnnounceEvent::Started));
    assert!(answer.expect("room").peers.is_empty());
    assert_eq!((dir.title_count(), dir.peer_count()), (0, 0));
}

#[test]
fn silent_peers_and_empty_titles_are_forgotten() {
    let mut dir = directory(DirectoryConfig::default());
    for host in 0..100 {
        let announce = announce(host, 9, 1, AnnounceEvent::None);
        dir.announce(at(0), ip(host), &announce).expect("room");
    }
    assert_eq!((dir.title_count(), dir.peer_count()), (100, 100));
    // Not in an answer from the moment at which they expire, and out of memory soon.
    let late = dir.announce(at(601), ip(200), &announce(7, 9, 1, AnnounceEvent::None));
    assert!(late.expect("room").peers.is_empty());
    for _ in 0..200 {
        let announce = announce(7, 9, 1, AnnounceEvent::None);
        dir.announce(at(602), ip(200), &announce).expect("room");
    }
    assert_eq!((dir.title_count(), dir.peer_count()), (1, 1));
}

#[test]
fn full_means_refused_or_a_random_place_never_more_memory() {
    let config = DirectoryConfig {
        titles_max: 3,
        peers_max: 10,
        title_peers_max: 5,
        ..DirectoryConfig::default()
    };
    let mut dir = directory(config);
    let mut results = Vec::new();
    for title in 0..5 {
        for host in 0..20 {
            let announce = announce(title, 9, 1, AnnounceEvent::None);
            results.push(dir.announce(at(0), ip(host), &announce).err());
            assert!(dir.peer_count() <= 10 && dir.title_count() <= 3);
        }
    }
    assert!(results.contains(&Some(Refusal::PeersFull)));
    let mut dir = directory(DirectoryConfig { titles_max: 1, ..config });
    dir.announce(at(0), ip(1), &announce(1, 9, 1, AnnounceEvent::None)).expect("room");
    let second = dir.announce(at(0), ip(1), &announce(2, 9, 1, AnnounceEvent::None));
    assert_eq!(second.err(), Some(Refusal::TitlesFull));
}

#[test]
fn who_asks_gets_seeds_then_the_newest_then_anybody_alike() {
    let mut dir = directory(DirectoryConfig::default());
    for host in 0..200 {
        let left = u64::from(host % 4 != 0);
        dir.announce(at(0), ip(host), &announce(1, 9, left, AnnounceEvent::None)).expect("room");
    }
    let is_seed = |addr: &SocketAddr| host_of(addr).is_multiple_of(4);
    let newest: BTreeSet<u8> =
        (0..200).rev().filter(|host: &u8| !host.is_multiple_of(4)).take(12).collect();
    let mut seen: BTreeMap<u8, u32> = BTreeMap::new();
    for _ in 0..1000 {
        let asked = announce(1, 9, 1, AnnounceEvent::None);
        let peers = dir.announce(at(1), ip(1), &asked).expect("room").peers;
        assert_eq!(peers.len(), 50);
        assert_eq!(peers.iter().collect::<BTreeSet<_>>().len(), 50);
        assert!(peers[..2].iter().all(is_seed) && !is_seed(&peers[2]), "two seeds first");
        assert_eq!(peers[2..14].iter().map(host_of).collect::<BTreeSet<_>>(), newest);
        for peer in &peers {
            *seen.entry(host_of(peer)).or_default() += 1;
        }
    }
    assert_eq!(seen.len(), 199, "everybody but the asker");
    // The other 38 of each answer: 203 times each is expected, five standard deviations are 64.
    seen.retain(|host, _| !newest.contains(host));
    assert!(seen.values().all(|count| count.abs_diff(203) < 65), "{seen:?}");
}

#[test]
fn over_udp_only_a_connected_address_is_served_and_only_for_two_minutes() {
    let mut dir = directory(DirectoryConfig::default());
    let remote = SocketAddr::new(ip(1), 4000);
    let connect = UdpTracker::Connect { transaction: 7 };
    let Some(UdpTracker::Connected { transaction: 7, connection }) =
        dir.on_packet(at(59), remote, connect)
    else {
        panic!("no connection")
    };
    let ask = |dir: &mut Directory, seconds, remote, connection| {
        let packet = UdpTracker::Announce {
            connection,
            transaction: 8,
            announce: announce(1, 9, 1, AnnounceEvent::Started),
            url_data: "".into(),
        };
        matches!(
            dir.on_packet(at(seconds), remote, packet),
            Some(UdpTracker::Announced { transaction: 8, .. })
        )
    };
    assert!(ask(&mut dir, 59, remote, connection));
    assert!(
        ask(&mut dir, 119, SocketAddr::new(ip(1), 9), connection),
        "another port is the same host"
    );
    assert!(!ask(&mut dir, 180, remote, connection), "too old");
    assert!(!ask(&mut dir, 60, SocketAddr::new(ip(2), 4000), connection), "another host");
    assert!(!ask(&mut dir, 60, remote, connection ^ 1));
    assert_eq!(dir.peer_count(), 1);
    let scrape =
        UdpTracker::Scrape { connection, transaction: 9, info_hashes: vec![Hash20([1; 20])] };
    let counts = vec![ScrapeCounts { complete: 0, downloaded: 0, incomplete: 1 }];
    assert_eq!(
        dir.on_packet(at(100), remote, scrape),
        Some(UdpTracker::Scraped { transaction: 9, counts })
    );
    let nonsense = UdpTracker::Error { transaction: 1, message: "".into() };
    assert_eq!(dir.on_packet(at(100), remote, nonsense), None);
}

#[test]
fn over_udp_peers_are_of_the_family_of_the_socket() {
    let mut dir = directory(DirectoryConfig::default());
    let six: IpAddr = "2001:db8::1".parse().expect("an address");
    dir.announce(at(0), six, &announce(1, 9, 1, AnnounceEvent::None)).expect("room");
    dir.announce(at(0), ip(1), &announce(1, 9, 1, AnnounceEvent::None)).expect("room");
    let remote = SocketAddr::new(ip(2), 1);
    let connect = UdpTracker::Connect { transaction: 1 };
    let Some(UdpTracker::Connected { connection, .. }) = dir.on_packet(at(0), remote, connect)
    else {
        panic!("no connection")
    };
    let announce = announce(1, 9, 1, AnnounceEvent::None);
    let packet = UdpTracker::Announce { connection, transaction: 1, announce, url_data: "".into() };
    let Some(UdpTracker::Announced { answer, .. }) = dir.on_packet(at(0), remote, packet) else {
        panic!("no answer")
    };
    assert_eq!(answer.peers, [SocketAddr::new(ip(1), 9)]);
}

#[test]
fn a_million_announces_stay_within_the_bounds() {
    let config = DirectoryConfig {
        titles_max: 1000,
        peers_max: 20_000,
        title_peers_max: 4000,
        interval: Duration::from_secs(60),
        ..DirectoryConfig::default()
    };
    let mut dir = directory(config);
    let mut rng = Rng::new(Seed::from_u64(11));
    let mut refused = 0;
    for index in 0..1_000_000u64 {
        let mut asked = announce(0, 1 + rng.below(1000) as u16, rng.below(2), AnnounceEvent::None);
        // Half of all for one hot title, the rest for more titles than there is room for.
        let title = if rng.chance(1, 2) { 0 } else { rng.below(5000) as u32 };
        asked.info_hash.0[..4].copy_from_slice(&title.to_be_bytes());
        asked.num_want = Some(5);
        let from = IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + rng.below(5000) as u32));
        refused += u32::from(dir.announce(Instant::from_millis(index), from, &asked).is_err());
        assert!(dir.peer_count() <= 20_000 && dir.title_count() <= 1000);
    }
    assert!(refused > 0 && dir.peer_count() > 10_000);
    let counted: usize = dir.titles.iter().map(super::Title::peer_count).sum();
    assert_eq!(counted, dir.peer_count());
}

proptest! {
    #[test]
    fn agrees_with_a_plain_list_of_who_announced_what(
        script in proptest::collection::vec(
            (0u8..3, 0u8..12, 0u64..2, 0u8..4, 0u64..400), 1..120),
    ) {
        let mut dir = directory(DirectoryConfig::default());
        let mut plain: BTreeMap<(u8, u8), (bool, u64)> = BTreeMap::new();
        let mut now = 0;
        for (title, host, left, event, wait) in script {
            now += wait;
            let stopped = event == 0;
            let event = if stopped { AnnounceEvent::Stopped } else { AnnounceEvent::None };
            let peers = dir
                .announce(at(now), ip(host), &announce(title, 9, left, event))
                .expect("room")
                .peers;
            if stopped {
                plain.remove(&(title, host));
                prop_assert!(peers.is_empty());
                continue;
            }
            plain.insert((title, host), (left == 0, now));
            let expect: BTreeSet<SocketAddr> = plain
                .iter()
                .filter(|((other_title, other), (seed, seen))| {
                    *other_title == title && *other != host && now - seen <= 600
                        && !(left == 0 && *seed)
                })
                .map(|((_, other), _)| SocketAddr::new(ip(*other), 9))
                .collect();
            prop_assert_eq!(peers.iter().copied().collect::<BTreeSet<_>>(), expect);
        }
    }
}
