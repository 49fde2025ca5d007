//! What a node does among others that are not as it is: foreign clients, itself, liars in company, full disks, the last
//! holder of something gone, and the baselines it is compared with.

#[expect(dead_code, reason = "every file of tests uses another part of the world")]
mod world;

use std::time::Duration;

use shoal_node::config::{Choice, Config, Order, Scheduler, SwarmConfig};
use shoal_node::io::{Command, Event, Input};
use shoal_node::link::ReaderId;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Version;
use shoal_wire::peer::BLOCK_LEN;
use world::{Lie, Speech, TITLE, World, folder, title};

const PIECE: u32 = 128 * 1024;
const RATE: u64 = 2_000_000;
const MINUTE: Duration = Duration::from_secs(60);
const VERSIONS: [Version; 3] = [Version::V1, Version::V2, Version::Hybrid];
const FOREIGN: [Speech; 3] = [
    Speech { fast: true, extended: true, shoal: false },
    Speech { fast: false, extended: true, shoal: false },
    Speech { fast: false, extended: false, shoal: false },
];

fn audit(world: &World) {
    for host in &world.hosts {
        host.node.audit().expect("every sum holds");
    }
}

#[test]
fn foreign_clients_give_and_take_with_and_without_extensions() {
    for speech in FOREIGN {
        for version in VERSIONS {
            for foreign_seed in [false, true] {
                let (meta, content) = title(700_000, PIECE, version);
                let mut world = World::new();
                let seed = world.host(RATE, Lie::None);
                let leech = world.host(RATE, Lie::None);
                world.hosts[if foreign_seed { seed } else { leech }].speech = speech;
                world.join(seed, &meta, &content, |_| true, &[], false);
                world.join(leech, &meta, &content, |_| false, &[seed], false);
                assert!(
                    world.run(MINUTE, |world| world.is_complete(leech)),
                    "{speech:?} {version:?} seed {foreign_seed}"
                );
                assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
                let counters = world.hosts[leech].node.counters()[0];
                assert_eq!((counters.duplicate, counters.wasted), (0, 0), "{speech:?}");
                audit(&world);
            }
        }
    }
}

#[test]
fn more_foreign_leeches_than_slots_are_all_served_in_turn() {
    for speech in FOREIGN {
        let (meta, content) = title(1_500_000, PIECE, Version::V1);
        let mut world = World::new();
        let seed = world.host(100_000, Lie::None);
        world.join(seed, &meta, &content, |_| true, &[], false);
        // They know the seed alone: what one has does not reach the others.
        let leeches: Vec<usize> = (0..9).map(|_| world.host(RATE, Lie::None)).collect();
        for &leech in &leeches {
            world.hosts[leech].speech = speech;
            world.join(leech, &meta, &content, |_| false, &[seed], false);
        }
        let mut most = 0;
        for _ in 0..120 {
            world.run(Duration::from_secs(1), |_| false);
            let served = |world: &World| {
                world.hosts[seed].node.views()[0].peers.iter().filter(|peer| !peer.choked).count()
            };
            most = most.max(served(&world));
            assert!(served(&world) <= 5, "four slots and an optimistic one");
        }
        assert_eq!(most, 5);
        let took: Vec<u64> =
            leeches.iter().map(|&leech| world.hosts[leech].node.counters()[0].useful).collect();
        let (least, greatest) = (took.iter().min(), took.iter().max());
        assert!(least.copied() > Some(0), "{speech:?}: {took:?}");
        assert!(greatest.copied() < least.map(|least| least * 3), "{speech:?}: {took:?}");
        assert!(
            world.run(10 * MINUTE, |world| {
                leeches.iter().all(|&leech| world.is_complete(leech))
            })
        );
        audit(&world);
    }
}

#[test]
fn a_foreign_leech_that_gives_is_served_before_those_that_only_take() {
    let (meta, content) = title(24_000_000, PIECE, Version::V1);
    let mut world = World::new();
    let node = world.host(120_000, Lie::None);
    world.join(node, &meta, &content, |piece| piece % 2 == 0, &[], false);
    // The first four give, the others take. Nobody knows anybody but the node.
    let others: Vec<usize> = (0..9).map(|_| world.host(40_000, Lie::None)).collect();
    for (index, &other) in others.iter().enumerate() {
        world.hosts[other].speech = FOREIGN[0];
        world.join(other, &meta, &content, |piece| index < 4 && piece % 2 == 1, &[node], false);
    }
    // After that the node has all, and goes round.
    world.run(MINUTE, |_| false);
    let took = |index: usize| world.hosts[others[index]].node.counters()[0].useful;
    // One that takes may be lucky with the optimistic slot: together they are not.
    let giver = (0..4).map(took).sum::<u64>() / 4;
    let taker = (4..9).map(took).sum::<u64>() / 5;
    assert!(giver > taker * 3 / 2, "{:?}", (0..9).map(took).collect::<Vec<_>>());
    assert!((4..9).filter(|&index| took(index) > 0).count() >= 2, "the optimistic slot goes round");
}

#[test]
fn two_that_dial_each_other_keep_one_link() {
    for seed in 0..4 {
        let (meta, content) = title(100_000, PIECE, Version::Hybrid);
        let mut world = World::new();
        for _ in 0..seed {
            world.host(RATE, Lie::None);
        }
        let hosts = [world.host(RATE, Lie::None), world.host(RATE, Lie::None)];
        for host in hosts {
            world.join(host, &meta, &content, |_| false, &hosts, false);
        }
        world.run(Duration::from_secs(5), |_| false);
        for host in hosts {
            assert_eq!(world.hosts[host].node.views()[0].peers.len(), 1);
        }
        // Nor do they try again and again.
        world.run(5 * MINUTE, |_| false);
        for host in hosts {
            assert!(world.hosts[host].dials.len() <= 2, "{:?}", world.hosts[host].dials);
        }
        audit(&world);
    }
}

#[test]
fn who_dials_itself_notices_and_forgets_the_address() {
    let (meta, content) = title(100_000, PIECE, Version::Hybrid);
    let mut world = World::new();
    let host = world.host(RATE, Lie::None);
    world.join(host, &meta, &content, |_| false, &[host], false);
    world.run(30 * MINUTE, |_| false);
    assert_eq!(world.hosts[host].dials.len(), 1);
    let view = &world.hosts[host].node.views()[0];
    assert_eq!((view.peers.len(), view.known_peers), (0, 0));
    audit(&world);
}

#[test]
fn what_was_here_before_is_never_fetched_again() {
    for version in [Version::V2, Version::Hybrid] {
        for lie in [Lie::None, Lie::NoHashes] {
            let (meta, content) = title(1_000_000, PIECE, version);
            let mut world = World::new();
            let seed = world.host(RATE, lie);
            let leech = world.host(RATE, Lie::None);
            world.join(seed, &meta, &content, |_| true, &[], false);
            let mut bits = Bitfield::new(PIECE / BLOCK_LEN);
            for block in [0, 1, 5] {
                bits.set(block);
            }
            world.partial = vec![(1, bits.clone()), (6, bits)];
            world.join(leech, &meta, &content, |piece| piece % 4 == 0, &[seed], false);
            let done = world.run(MINUTE, |world| world.is_complete(leech));
            assert!(done, "{version:?} {lie:?} {:?}", world.hosts[leech].node.views());
            assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
            let counters = world.hosts[leech].node.counters()[0];
            let here = 2 * PIECE + 6 * BLOCK_LEN;
            assert_eq!(counters.received, content.len() as u64 - u64::from(here), "{lie:?}");
            audit(&world);
        }
    }
}

#[test]
fn a_full_disk_halts_a_title_and_room_lets_it_go_on() {
    for version in VERSIONS {
        let (meta, content) = title(3_000_000, PIECE, version);
        let mut world = World::new();
        let seed = world.host(RATE, Lie::None);
        let leech = world.host(RATE, Lie::None);
        world.join(seed, &meta, &content, |_| true, &[], false);
        world.join(leech, &meta, &content, |_| false, &[seed], false);
        world.run(Duration::from_millis(500), |_| false);
        world.hosts[leech].full = true;
        world.run(Duration::from_secs(45), |_| false);
        let held_back = world.hosts[leech].node.counters()[0].received;
        assert!(held_back < content.len() as u64, "{version:?} went on");
        let troubles = |world: &World| {
            let trouble = |event: &Event| matches!(event, Event::Trouble { fatal: false, .. });
            world.hosts[leech].events.iter().filter(|(_, event)| trouble(event)).count()
        };
        assert!((1..8).contains(&troubles(&world)), "{} times", troubles(&world));
        audit(&world);
        world.hosts[leech].full = false;
        assert!(world.run(MINUTE, |world| world.is_complete(leech)), "{version:?}");
        let counters = world.hosts[leech].node.counters()[0];
        assert_eq!((counters.received, counters.wasted), (content.len() as u64, 0));
        assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
    }
}

#[test]
fn the_only_one_who_gives_hashes_may_go_in_the_middle() {
    for version in [Version::V2, Version::Hybrid] {
        for after_ms in [150, 250, 400, 700] {
            let (meta, content) = title(2_000_000, PIECE, version);
            let mut world = World::new();
            let giver = world.host(400_000, Lie::None);
            let keeper = world.host(RATE, Lie::NoHashes);
            let leech = world.host(RATE, Lie::None);
            world.join(giver, &meta, &content, |_| true, &[], false);
            world.join(keeper, &meta, &content, |_| true, &[], false);
            world.join(leech, &meta, &content, |_| false, &[giver, keeper], false);
            world.run(Duration::from_millis(after_ms), |_| false);
            world.cut_off(giver);
            assert!(
                world.run(MINUTE, |world| world.is_complete(leech)),
                "{version:?} {after_ms}: {:?}",
                world.hosts[leech].node.views()
            );
            assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
            audit(&world);
        }
    }
}

#[test]
fn of_three_who_brought_a_wrong_piece_exactly_the_liar_is_named() {
    for place in 0..3 {
        for length in [2 * PIECE as usize, 8 * PIECE as usize] {
            let (meta, content) = title(length, 2 * PIECE, Version::V1);
            let mut world = World::new();
            let lies = |index| if index == place { Lie::Corrupt } else { Lie::None };
            let seeds: Vec<usize> = (0..3).map(|index| world.host(30_000, lies(index))).collect();
            for &seed in &seeds {
                world.join(seed, &meta, &content, |_| true, &[], false);
            }
            let leech = world.host(RATE, Lie::None);
            world.join(leech, &meta, &content, |_| false, &seeds, false);
            let named = |world: &World| !world.banned(leech).is_empty();
            assert!(world.run(5 * MINUTE, |world| world.is_complete(leech)), "{place} {length}");
            world.run(MINUTE, named);
            assert_eq!(world.banned(leech), [world.hosts[seeds[place]].addr], "{length}");
            assert_eq!(world.hosts[leech].disk[..length], content[..]);
            audit(&world);
        }
    }
}

#[test]
fn a_liar_that_left_before_the_verdict_is_named_all_the_same() {
    let length = 8 * PIECE as usize;
    let (meta, content) = title(length, 8 * PIECE, Version::V1);
    let mut world = World::new();
    let liar = world.host(30_000, Lie::Corrupt);
    let seeds = [liar, world.host(30_000, Lie::None), world.host(30_000, Lie::None)];
    for &seed in &seeds {
        world.join(seed, &meta, &content, |_| true, &[], false);
    }
    let leech = world.host(RATE, Lie::None);
    world.join(leech, &meta, &content, |_| false, &seeds, false);
    world.run(Duration::from_millis(900), |_| false);
    let addr = world.hosts[liar].addr;
    world.cut_off(liar);
    assert!(world.run(5 * MINUTE, |world| world.is_complete(leech)));
    let named = |world: &World| !world.banned(leech).is_empty();
    world.run(MINUTE, named);
    assert_eq!(world.banned(leech), [addr]);
    assert_eq!(world.hosts[leech].disk[..length], content[..]);
    audit(&world);
}

#[test]
fn baselines_complete_too() {
    let mut tunings: Vec<fn(&mut SwarmConfig)> = vec![
        |config| config.order = Order::InOrder,
        |config| config.order = Order::Random,
        |config| config.order = Order::Zipf,
        |config| config.order = Order::Portion,
        |config| config.scheduler = Scheduler::EarliestDue,
        |config| config.choice = Choice::Random,
        |config| config.choice = Choice::Position,
        |config| config.scheduler = Scheduler::OnePeerPerPiece,
        |config| config.scheduler = Scheduler::Ignore,
        |config| config.block_sharing = false,
        |config| config.admit_shoal = false,
    ];
    tunings.push(|config| {
        config.scheduler = Scheduler::Ignore;
        config.block_sharing = false;
        config.admit_shoal = false;
    });
    for (index, tune) in tunings.iter().enumerate() {
        for version in VERSIONS {
            let (meta, content) = title(1_500_000, PIECE, version);
            let mut world = World::new();
            let tune = |config: &mut Config| tune(&mut config.swarm);
            let hosts: Vec<usize> =
                (0..5).map(|_| world.host_with(300_000, Lie::None, tune)).collect();
            for &host in &hosts {
                let holds = |piece: u32| (piece as usize * 3 + host) % 5 < 2;
                world.join(host, &meta, &content, holds, &hosts, false);
            }
            let all = |world: &World| hosts.iter().all(|&host| world.is_complete(host));
            assert!(world.run(5 * MINUTE, all), "tuning {index}, {version:?}");
            audit(&world);
        }
    }
}

#[test]
fn pieces_larger_than_the_memory_for_them_are_finished_one_by_one() {
    for lie in [Lie::None, Lie::NoHashes] {
        for version in VERSIONS {
            let (meta, content) = title(4_000_000, 8 * PIECE, version);
            let mut world = World::new();
            let seeds: Vec<usize> = (0..4).map(|_| world.host(RATE, lie)).collect();
            for &seed in &seeds {
                world.join(seed, &meta, &content, |_| true, &[], false);
            }
            let small = |config: &mut Config| config.swarm.memory_max = 640 * 1024;
            let leech = world.host_with(RATE, Lie::None, small);
            world.join(leech, &meta, &content, |_| false, &seeds, false);
            let done = world.run(2 * MINUTE, |world| world.is_complete(leech));
            assert!(done, "{version:?} {lie:?} {:?}", world.hosts[leech].node.counters());
            audit(&world);
        }
    }
}

#[test]
fn a_magnet_for_files_of_the_same_content_completes() {
    for version in VERSIONS {
        for magnet in [false, true] {
            let (meta, content) = folder(PIECE / 4, version);
            let mut world = World::new();
            let seed = world.host(RATE, Lie::None);
            let leech = world.host(RATE, Lie::None);
            world.join(seed, &meta, &content, |_| true, &[], false);
            world.join(leech, &meta, &content, |_| false, &[seed], magnet);
            let done = world.run(MINUTE, |world| world.is_complete(leech));
            assert!(done, "{version:?} {magnet} {:?}", world.hosts[leech].node.views());
            assert_eq!(world.hosts[leech].disk, content);
        }
    }
}

#[test]
fn a_title_that_was_removed_can_be_added_again() {
    let (meta, content) = title(2_000_000, PIECE, Version::Hybrid);
    let mut world = World::new();
    let seed = world.host(RATE, Lie::None);
    let leech = world.host(RATE, Lie::None);
    world.join(seed, &meta, &content, |_| true, &[], false);
    world.join(leech, &meta, &content, |_| false, &[seed], false);
    world.run(Duration::from_millis(400), |_| false);
    world.input(leech, Input::Command(Command::Remove { title: TITLE }));
    assert!(world.hosts[leech].node.views().is_empty());
    world.join(leech, &meta, &content, |_| false, &[seed], false);
    assert!(world.run(MINUTE, |world| world.is_complete(leech)));
    assert_eq!(world.hosts[leech].disk[..content.len()], content[..]);
    audit(&world);
}

#[test]
fn a_choice_of_files_is_fetched_and_nothing_else_until_somebody_reads_it() {
    for version in VERSIONS {
        for magnet in [false, true] {
            let (meta, content) = folder(PIECE, version);
            let info = &meta.info;
            let mut world = World::new();
            let seed = world.host(RATE, Lie::None);
            let leech = world.host(RATE, Lie::None);
            world.join(seed, &meta, &content, |_| true, &[], false);
            world.join(leech, &meta, &content, |_| false, &[seed], magnet);
            let select = |files: &[(u32, u32)]| {
                Input::Command(Command::Select { title: TITLE, files: files.to_vec() })
            };
            world.input(leech, select(&[(1, 1), (900, u32::MAX)]));
            assert!(world.run(MINUTE, |world| world.is_complete(leech)), "{version:?}");
            world.run(MINUTE, |_| false);
            let chosen = &info.files[1];
            let (first, last) = (chosen.start, chosen.start + chosen.length - 1);
            let is_chosen = |piece: u32| {
                let at = |offset| info.layout.piece_at(offset).expect("inside").get();
                (at(first)..=at(last)).contains(&piece)
            };
            let held = |world: &World| world.hosts[leech].node.views().remove(0);
            let view = held(&world);
            let pieces = Bitfield::from_wire(&view.pieces, info.layout.piece_count());
            let pieces = pieces.expect("a bitfield");
            for piece in info.layout.pieces().filter(|piece| info.layout.data_len(*piece) > 0) {
                assert_eq!(
                    pieces.get(piece.get()),
                    is_chosen(piece.get()),
                    "{version:?} {piece:?}"
                );
            }
            assert_eq!((view.have, view.wanted_have), (view.wanted, view.wanted));
            assert!(view.wanted >= chosen.length && view.wanted < view.length);
            let range = first as usize..=last as usize;
            assert!(world.hosts[leech].disk[range.clone()] == content[range]);
            audit(&world);

            // A reader of another file gets it, though nothing is wanted.
            let reader = ReaderId(1);
            let open = Command::Open { reader, title: TITLE, file: 2, start: 0, end: 20_000 };
            world.input(leech, Input::Command(open));
            world.input(leech, Input::Command(Command::Read { reader, max: 20_000 }));
            let reads = |world: &World| {
                let mut events = world.hosts[leech].events.iter();
                events.any(|(_, event)| matches!(event, Event::Data { offset: 0, .. }))
            };
            assert!(world.run(MINUTE, reads), "{version:?} magnet {magnet}");
            world.input(leech, Input::Command(Command::Close { reader }));
            audit(&world);
            // More is wanted in the end, and complete a second time when it is here.
            world.input(leech, select(&[]));
            assert!(world.run(MINUTE, |world| held(world).have == view.length), "{version:?}");
            let told = world.hosts[leech].events.iter();
            let told = told.filter_map(|(_, event)| match event {
                Event::Complete { length, .. } => Some(*length),
                _ => None,
            });
            assert!(told.eq([view.wanted, view.length]), "{version:?}");
            audit(&world);
        }
    }
}

#[test]
fn the_file_that_is_preferred_comes_before_the_others_and_then_they_do() {
    let (meta, content) = folder(PIECE, Version::Hybrid);
    for (preferred, known) in [(0, true), (2, true), (2, false)] {
        let mut world = World::new();
        let seed = world.host(RATE, Lie::None);
        let leech = world.host(RATE, Lie::None);
        world.join(seed, &meta, &content, |_| true, &[], false);
        world.join(leech, &meta, &content, |_| false, &[seed], !known);
        world.input(leech, Input::Command(Command::Prefer { title: TITLE, file: preferred }));
        let pieces = |file: usize| {
            let entry = &meta.info.files[file];
            let at = |offset| meta.info.layout.piece_at(offset).expect("inside").get();
            at(entry.start)..=at(entry.start + entry.length - 1)
        };
        let held = |world: &World| {
            let view = world.hosts[leech].node.views().remove(0);
            Bitfield::from_wire(&view.pieces, meta.info.layout.piece_count())
                .unwrap_or_else(|| Bitfield::new(meta.info.layout.piece_count()))
        };
        let has = |world: &World, file: usize| {
            let held = held(world);
            pieces(file).filter(|piece| held.get(*piece)).count()
        };
        let first = preferred as usize;
        let is_here = |world: &World| has(world, first) == pieces(first).count();
        assert!(world.run(MINUTE, is_here), "{preferred} {known}");
        let others: usize =
            (0..3).filter(|file| *file != first).map(|file| has(&world, file)).sum();
        let all: usize =
            (0..3).filter(|file| *file != first).map(|file| pieces(file).count()).sum();
        assert!(others * 4 <= all, "{others} of {all} others came before file {preferred}");
        assert!(world.run(MINUTE, |world| world.is_complete(leech)), "{preferred} {known}");
        audit(&world);
    }
}

#[test]
fn a_choice_that_is_here_already_is_complete_at_once() {
    let (meta, content) = folder(PIECE, Version::Hybrid);
    let info = &meta.info;
    let mut world = World::new();
    let leech = world.host(RATE, Lie::None);
    let end = info.files[0].start + info.files[0].length;
    let has = |piece: u32| u64::from(piece) * u64::from(PIECE) < end;
    world.join(leech, &meta, &content, has, &[], false);
    assert!(!world.is_complete(leech));
    let files = vec![(0, 0)];
    world.input(leech, Input::Command(Command::Select { title: TITLE, files }));
    assert!(world.run(MINUTE, |world| world.is_complete(leech)));
    audit(&world);
}
