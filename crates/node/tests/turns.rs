//! Turns of one node with remotes that are played by hand: what is said on a link, effect by effect.

#[expect(dead_code, reason = "only its titles are used here")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, CloseReason, Command, Effect, Input, Job, Outcome};
use shoal_node::link::{LinkId, ReaderId, Ticket, TitleId};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Node};
use shoal_wire::Hash20;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Version;
use shoal_wire::peer::{
    BLOCK_LEN, BlockRequest, DueRequest, Extended, ExtensionHandshake, ExtensionIds, HashRange,
    Message, MetadataMessage, PexMessage, PexPeer, ShoalHello, ShoalMessage,
};
use table::{PIECE, Table};
use world::{TITLE, folder, title};

#[test]
fn a_choke_drops_requests_and_tells_those_who_can_hear_it() {
    for fast in [true, false] {
        let mut table = Table::new(Version::V1, true);
        let hash = table.hash();
        // Nobody has credit, so all requests wait. Ten want five places.
        for peer in 0..10u32 {
            table.meet(2 * peer + 1, hash, peer as u8 + 1, fast);
            table.say(2 * peer + 1, Message::Interested);
        }
        let unchoked =
            |table: &Table| table.node.views()[0].peers.iter().filter(|peer| !peer.choked).count();
        assert_eq!(unchoked(&table), 5);
        let request =
            |block: u32| BlockRequest { piece: 1, offset: block * BLOCK_LEN, length: BLOCK_LEN };
        for peer in 0..10u32 {
            (0..3).for_each(|block| table.say(2 * peer + 1, Message::Request(request(block))));
        }
        table.sent.clear();
        let all: Vec<Message> = (0..3).map(|block| Message::Reject(request(block))).collect();
        let mut choked = 0;
        for _ in 0..9 {
            table.pass(10);
            assert_eq!(unchoked(&table), 5);
            for peer in 0..10u32 {
                let said = table.to(2 * peer + 1);
                let Some(at) = said.iter().position(|message| **message == Message::Choke) else {
                    continue;
                };
                choked += 1;
                // Only the first five had requests waiting.
                let rejects = if fast && peer < 5 { &all[..] } else { &[] };
                let allows = |message: &&&Message| matches!(message, Message::AllowedFast { .. });
                let after = said[at + 1..].iter().filter(|message| !allows(message)).copied();
                assert!(after.eq(rejects), "{said:?}");
            }
            if choked > 0 {
                break;
            }
            table.sent.clear();
        }
        assert!(choked > 0, "the optimistic place goes round");
    }
}

#[test]
fn one_peer_met_under_both_names_of_a_hybrid_is_one_peer() {
    let mut table = Table::new(Version::Hybrid, false);
    let names: Vec<Hash20> = table.info.hashes.wire_hashes().collect();
    assert_eq!(names.len(), 2);
    table.meet(1, names[0], 9, true);
    table.meet(3, names[1], 9, true);
    assert_eq!(table.node.views()[0].peers.len(), 1);
    assert_eq!(table.closed, [(LinkId(3), CloseReason::Duplicate)]);
    table.meet(5, names[1], 8, true);
    assert_eq!(table.node.views()[0].peers.len(), 2);
}

#[test]
fn hashes_of_padding_are_not_taken_for_the_next_file() {
    let (meta, content) = folder(32 * 1024, Version::V2);
    let mut table = Table::with(meta, content.clone(), false);
    let hash = table.hash();
    // The liar: the tree of the first file is four pieces wide, and only three are its own.
    table.meet(1, hash, 1, true);
    let root = table.info.files[0].pieces_root.expect("v2");
    let range =
        HashRange { pieces_root: root, base_layer: 0, index: 6, length: 2, proof_layers: 0 };
    // The honest one, who is asked for everything at once.
    table.meet(3, hash, 2, true);
    table.say(3, Message::HaveAll);
    table.say(3, Message::Unchoke);
    let lie = Message::Hashes { range: range.into(), hashes: Bytes::from(vec![0; 64]) };
    table.say(1, lie);
    for _ in 0..100 {
        let asked: Vec<BlockRequest> = core::mem::take(&mut table.sent)
            .into_iter()
            .filter_map(|(link, message)| match message {
                Message::Request(request) if link == LinkId(3) => Some(request),
                _ => None,
            })
            .collect();
        for request in asked {
            let piece = table.info.layout.piece(request.piece).expect("exists");
            let start = table.info.layout.start(piece) as usize + request.offset as usize;
            let data = Bytes::copy_from_slice(&content[start..start + request.length as usize]);
            table.say(3, Message::Piece { piece: request.piece, offset: request.offset, data });
        }
        table.pass(1);
    }
    assert_eq!(table.banned, [], "the honest one was taken for a liar");
    assert!(table.disk == content);
}

#[test]
fn a_reject_of_hashes_beyond_all_files_is_survived() {
    let (meta, content) = folder(16 * 1024, Version::V2);
    let mut table = Table::with(meta, content, false);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    table.say(1, Message::HaveAll);
    for file in 0..3 {
        let pieces_root = table.info.files[file].pieces_root.expect("v2");
        let range = HashRange {
            pieces_root,
            base_layer: 0,
            index: u32::MAX,
            length: u32::MAX,
            proof_layers: u32::MAX,
        };
        table.say(1, Message::HashReject(range.into()));
        table.say(1, Message::HashRequest(range.into()));
    }
}

#[test]
fn a_remote_that_names_a_hundred_ports_is_one_address() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    for port in 1..100 {
        let hello = ExtensionHandshake {
            ids: ExtensionIds::OURS,
            listen_port: Some(port),
            shoal: Some(ShoalHello { version: 1, source: false }),
            ..ExtensionHandshake::default()
        };
        table.say(1, Message::Extended(Extended::Handshake(hello).into()));
    }
    // Others still find their place in the table.
    let peer = |host| PexPeer { addr: SocketAddr::from(([10, 1, 0, host], 80)), flags: 0 };
    let told = PexMessage { added: (1..=50).map(peer).collect(), dropped: Vec::new() };
    table.say(1, Message::Extended(Extended::Pex(told).into()));
    let dials = |table: &Table| table.node.views()[0].known_peers;
    assert!(dials(&table) >= 25, "{}", dials(&table));
    table.give(Input::LinkDown { link: LinkId(1), reason: CloseReason::Remote });
    assert!(dials(&table) <= 51);
}

#[test]
fn a_range_over_two_blocks_in_memory_is_not_read_from_a_disk_that_lacks_it() {
    let (meta, content) = title(400_000, PIECE, Version::V1);
    let mut table = Table::with(meta, content.clone(), false);
    table.hold = |job| matches!(job, Job::Write { .. });
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    table.say(1, Message::HaveAll);
    table.say(1, Message::Interested);
    table.say(1, Message::Unchoke);
    table.give(Input::Credit { link: LinkId(1), bytes: 1 << 20, passed: 0 });
    let mut given = Vec::new();
    while table.held.is_empty() {
        let asked = table.to(1).into_iter().find_map(|message| match message {
            Message::Request(request) if !given.contains(request) => Some(*request),
            _ => None,
        });
        let request = asked.expect("all of a piece is asked for");
        given.push(request);
        let start = (request.piece * PIECE + request.offset) as usize;
        let data = Bytes::copy_from_slice(&content[start..start + request.length as usize]);
        table.say(1, Message::Piece { piece: request.piece, offset: request.offset, data });
    }
    // Proven and on its way to the disk: whole blocks are given from memory, and nothing is read that is not there.
    let piece = given.last().expect("some").piece;
    table.sent.clear();
    let block = BlockRequest { piece, offset: 0, length: BLOCK_LEN };
    let across = BlockRequest { piece, offset: BLOCK_LEN / 2, length: BLOCK_LEN };
    table.say(1, Message::Request(block));
    table.say(1, Message::Request(across));
    let start = (piece * PIECE) as usize;
    let data = Bytes::copy_from_slice(&content[start..start + BLOCK_LEN as usize]);
    assert_eq!(table.to(1), [&Message::Piece { piece, offset: 0, data }, &Message::Reject(across)]);
}

#[test]
fn a_silent_peer_is_asked_again_after_a_block_that_was_taken_back() {
    let (meta, content) = title(4_000_000, PIECE, Version::V1);
    let mut table = Table::with(meta, content.clone(), false);
    table.meet(1, table.hash(), 1, true);
    table.say(1, Message::HaveAll);
    table.say(1, Message::Unchoke);
    let answer = |table: &mut Table, request: BlockRequest| {
        let start = (request.piece * PIECE + request.offset) as usize;
        let data = Bytes::copy_from_slice(&content[start..start + request.length as usize]);
        table.say(1, Message::Piece { piece: request.piece, offset: request.offset, data });
    };
    let mut asked = table.asked();
    let first = asked.remove(0).1;
    answer(&mut table, first);
    asked.extend(table.asked());
    assert!(asked.len() > 1, "{asked:?}");
    // Everything but one request is taken back; it is neither answered nor turned down.
    table.pass(25);
    let taken_back = table.to(1).into_iter().rev().find_map(|message| match message {
        Message::Cancel(request) => Some(*request),
        _ => None,
    });
    let taken_back = taken_back.expect("it was silent");
    assert_eq!(table.asked(), []);
    answer(&mut table, taken_back);
    assert!(!table.asked().is_empty(), "it sends again");
}

#[test]
fn a_title_left_while_its_storage_is_made_ready_stays_left() {
    let (meta, _) = title(100_000, PIECE, Version::V1);
    let info = Arc::new(meta.info);
    let now = Instant::from_millis(1);
    let mut node = Node::new(Config::default().into(), Seed::from_u64(1), now);
    let setup = AddTitle { info: Some(Arc::clone(&info)), ..AddTitle::new(TITLE, info.hashes) };
    let mut effects = Vec::new();
    node.step(now, Input::Command(Command::Add(setup.into())), &mut effects);
    let ticket = effects.iter().find_map(|effect| match effect {
        Effect::Submit { ticket, .. } => Some(*ticket),
        _ => None,
    });
    let ticket = ticket.expect("storage is made ready");
    node.step(now, Input::Command(Command::Remove { title: TITLE }), &mut effects);
    effects.clear();
    let outcome = Outcome::Prepared(Box::default());
    node.step(now, Input::Done { ticket, outcome }, &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    assert!(node.views().is_empty());
}

#[test]
fn titles_that_come_and_go_leave_nothing_behind() {
    let (meta, _) = title(100_000, PIECE, Version::Hybrid);
    let info = Arc::new(meta.info);
    let mut now = Instant::from_millis(1);
    let mut node = Node::new(Config::default().into(), Seed::from_u64(1), now);
    let blank = format!("{node:?}").len();
    let setup = |number: u32| AddTitle {
        info: Some(Arc::clone(&info)),
        peers: vec![SocketAddr::from(([10, 3, 0, 1], 80))],
        have: Some(Bitfield::new(info.layout.piece_count())),
        ..AddTitle::new(TitleId(number), info.hashes)
    };
    let remote = SocketAddr::from(([10, 3, 0, 2], 80));
    let mut saves: Vec<Ticket> = Vec::new();
    for number in 0..10_000 {
        let link = LinkId(2 * number + 1);
        let shake =
            Message::Handshake(table::shake(info.hashes.primary().expect("a name"), 7).into());
        let inputs = [
            Input::Command(Command::Add(setup(number).into())),
            Input::LinkUp { link, remote },
            Input::Message { link, message: shake },
            Input::Message { link, message: Message::Unchoke },
            Input::Command(Command::Remove { title: TitleId(number) }),
            Input::LinkDown { link, reason: CloseReason::Stopped },
        ];
        let mut effects = Vec::new();
        for input in inputs {
            node.step(now, input, &mut effects);
        }
        for effect in effects {
            match effect {
                Effect::Dial { link, .. } => {
                    let down = Input::LinkDown { link, reason: CloseReason::Unreachable };
                    node.step(now, down, &mut Vec::new());
                }
                Effect::Submit { ticket, job } if matches!(*job, Job::Save { .. }) => {
                    saves.push(ticket);
                }
                _ => {}
            }
        }
        assert!(node.views().is_empty() && node.counters().len() <= 4, "{number}");
        // The last records are written some titles later.
        if saves.len() > 3 {
            let ticket = saves.remove(0);
            node.step(now, Input::Done { ticket, outcome: Outcome::Stored }, &mut Vec::new());
        }
        now = now + Duration::from_millis(10);
    }
    for ticket in saves {
        node.step(now, Input::Done { ticket, outcome: Outcome::Stored }, &mut Vec::new());
    }
    // What waits for a time is over by then.
    now = now + Duration::from_secs(60);
    node.step(now, Input::Wake, &mut Vec::new());
    node.audit().expect("every sum holds");
    assert!(node.counters().is_empty());
    let left = format!("{node:?}").len();
    assert!(left < blank + 2000, "{left} letters tell of a node that took {blank}");
}

#[test]
fn what_is_under_way_for_a_title_that_was_left_does_not_reach_the_next() {
    let mut table = Table::new(Version::V1, false);
    let peer = SocketAddr::from(([10, 2, 0, 1], 80));
    table.hold = |job| matches!(job, Job::Save { .. });
    table.give(Input::Command(Command::Remove { title: TITLE }));
    let (meta, _) = title(400_000, PIECE, Version::V2);
    let next = TitleId(TITLE.0 + 1);
    let setup = AddTitle::new(next, meta.info.hashes);
    table.give(Input::Command(Command::Add(setup.into())));
    // Late for the one that is gone: its record, and words of its owner.
    table.release();
    table.give(Input::Command(Command::Peers { title: TITLE, peers: vec![peer] }));
    table.give(Input::Command(Command::Remove { title: TITLE }));
    table.pass(5);
    assert!(table.dialed.is_empty());
    let views = table.node.views();
    assert_eq!(views.iter().map(|view| view.title).collect::<Vec<_>>(), [next]);
    assert_eq!(table.node.counters().len(), 1);
}

#[test]
fn a_dialed_link_that_speaks_out_of_turn_makes_room_for_another() {
    let mut table = Table::new(Version::V1, false);
    for round in 0..4u32 {
        let peer = SocketAddr::from(([10, 2, 0, round as u8 + 1], 80));
        table.give(Input::Command(Command::Peers { title: TITLE, peers: vec![peer] }));
        let link = LinkId(2 * round);
        table.give(Input::LinkUp { link, remote: peer });
        table.say(link.0, Message::Unchoke);
        assert_eq!(table.closed.len(), round as usize + 1, "dialed and closed");
        // Not so long that those before are dialed again.
        table.pass(1);
    }
}

#[test]
fn who_floods_with_messages_that_say_nothing_new_is_shut_out() {
    let cancel = BlockRequest { piece: 0, offset: 0, length: BLOCK_LEN };
    let floods: [(&str, Vec<Message>); 8] = [
        ("signs of life", vec![Message::KeepAlive]),
        ("the same piece", vec![Message::Have { piece: 0 }]),
        ("now this, now that", vec![Message::Interested, Message::NotInterested]),
        ("chokes", vec![Message::Choke, Message::Unchoke]),
        ("bitfields", vec![Message::HaveNone, Message::HaveAll]),
        ("cancels of nothing", vec![Message::Cancel(cancel)]),
        ("addresses", vec![Message::Extended(Extended::Pex(PexMessage::default()).into())]),
        (
            "questions",
            vec![Message::Extended(
                Extended::Metadata(MetadataMessage::Request { piece: 0 }).into(),
            )],
        ),
    ];
    for (what, messages) in floods {
        let mut table = Table::new(Version::V1, false);
        let hash = table.hash();
        table.meet(1, hash, 1, true);
        for round in 0.. {
            assert!(round < 5000, "{what}: not shut out");
            messages.iter().for_each(|message| table.say(1, message.clone()));
            if !table.banned.is_empty() {
                break;
            }
        }
        // The same in a steady trickle is a habit, not an attack.
        let mut table = Table::new(Version::V1, false);
        let hash = table.hash();
        table.meet(1, hash, 1, true);
        for _ in 0..300 {
            messages.iter().for_each(|message| table.say(1, message.clone()));
            table.pass(2);
        }
        assert_eq!(table.banned, [], "{what}: shut out for a habit");
    }
}

/// Asked for in bulk, when nobody needed it by a time; then a player comes, and it is the first thing that it needs.
#[test]
fn a_block_that_was_asked_for_in_bulk_is_hurried_when_a_player_needs_it() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    table.meet_kin(1, hash, 1);
    table.say(1, Message::HaveAll);
    table.say(1, Message::Unchoke);
    let asked = |table: &Table, again: bool| -> Vec<DueRequest> {
        let said = table.to(1).into_iter().filter_map(|message| match message {
            Message::Extended(extended) => Some(&**extended),
            _ => None,
        });
        said.filter_map(|extended| match extended {
            Extended::Shoal(ShoalMessage::Requests(requests)) if !again => Some(requests.clone()),
            Extended::Shoal(ShoalMessage::Hurry(requests)) if again => Some(requests.clone()),
            _ => None,
        })
        .flatten()
        .collect()
    };
    let bulk = asked(&table, false);
    assert!(!bulk.is_empty(), "{:?}", table.to(1));
    assert!(bulk.iter().all(|request| request.due_in_ms == u16::MAX), "{bulk:?}");
    table.sent.clear();
    // The player begins where the first request points.
    let first = bulk[0].block;
    let start = u64::from(first.piece) * u64::from(PIECE) + u64::from(first.offset);
    let reader = ReaderId(1);
    let open = Command::Open { reader, title: TITLE, file: 0, start, end: u64::MAX };
    table.give(Input::Command(open));
    table.give(Input::Command(Command::Read { reader, max: 65536 }));
    let hurried = asked(&table, true);
    let again = hurried.iter().find(|request| request.block == first);
    assert!(again.is_some_and(|request| request.due_in_ms < 3000), "{hurried:?}");
    // A second peer comes, and the first stays silent: what it owes is asked of the other.
    table.meet(3, hash, 2, true);
    table.say(3, Message::HaveAll);
    table.say(3, Message::Unchoke);
    table.pass(5);
    assert!(table.to(3).contains(&&Message::Request(first)), "{:?}", table.to(3));
}
