//! Allowed fast (BEP 6): what a choked beginner is given, and what we ask of who chokes us.

#[expect(dead_code, reason = "only its titles are used here")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use shoal_node::io::{CloseReason, Input};
use shoal_node::link::LinkId;
use shoal_wire::metainfo::Version;
use shoal_wire::peer::{BLOCK_LEN, BlockRequest, Message, allowed_fast_set};
use table::{PIECE, Table};
use world::title;

const BLOCKS: u32 = PIECE / BLOCK_LEN;

fn block(piece: u32, block: u32) -> BlockRequest {
    BlockRequest { piece, offset: block * BLOCK_LEN, length: BLOCK_LEN }
}

/// A seed of a title of 62 pieces all of whose slots are taken, by the links 1 to 9.
fn busy_seed() -> Table {
    let (meta, content) = title(4_000_000, PIECE, Version::V1);
    let mut table = Table::with(meta, content, true);
    let hash = table.hash();
    for id in 1..=5 {
        table.meet(2 * u32::from(id) - 1, hash, id, true);
        table.say(2 * u32::from(id) - 1, Message::Interested);
    }
    table
}

fn beginner(table: &mut Table, link: u32) {
    let hash = table.hash();
    table.meet(link, hash, link as u8, true);
    table.say(link, Message::HaveNone);
    table.say(link, Message::Interested);
    table.give(Input::Credit { link: LinkId(link), bytes: 1 << 24, passed: 0 });
}

fn allowed(table: &Table, link: u32) -> Vec<u32> {
    let piece = |message: &&Message| match message {
        Message::AllowedFast { piece } => Some(*piece),
        _ => None,
    };
    table.to(link).iter().filter_map(piece).collect()
}

/// Blocks and rejections to a link.
fn answers(table: &Table, link: u32) -> (usize, usize) {
    let count = |wanted: fn(&Message) -> bool| {
        table.to(link).into_iter().filter(|message| wanted(message)).count()
    };
    (
        count(|message| matches!(message, Message::Piece { .. })),
        count(|message| matches!(message, Message::Reject(_))),
    )
}

#[test]
fn a_choked_beginner_gets_its_canonical_pieces_once_each() {
    let mut table = busy_seed();
    beginner(&mut table, 21);
    let set = allowed_fast_set([10, 0, 0, 21].into(), &table.hash(), 62, 10);
    assert_eq!(allowed(&table, 21), set);
    assert!(!table.to(21).contains(&&Message::Unchoke));
    for piece in &set {
        for index in 0..BLOCKS {
            table.say(21, Message::Request(block(*piece, index)));
            // The transport has passed it on.
            table.give(Input::Credit { link: LinkId(21), bytes: BLOCK_LEN, passed: BLOCK_LEN });
        }
    }
    assert_eq!(answers(&table, 21), ((10 * BLOCKS) as usize, 0));
    // All of it once more, and something else.
    let other = (0..62).find(|piece| !set.contains(piece)).expect("there are more");
    table.sent.clear();
    for piece in set.iter().chain([&other]) {
        (0..BLOCKS).for_each(|index| table.say(21, Message::Request(block(*piece, index))));
    }
    assert_eq!(answers(&table, 21), (0, (11 * BLOCKS) as usize));
    // To ask again is told nothing new.
    table.say(21, Message::Interested);
    assert_eq!(allowed(&table, 21), []);
}

#[test]
fn only_beginners_of_other_kinds_are_allowed_anything() {
    let mut table = busy_seed();
    let hash = table.hash();
    // It has ten pieces.
    table.meet(21, hash, 21, true);
    table.say(21, Message::Bitfield(vec![0xff, 0xc0, 0, 0, 0, 0, 0, 0].into()));
    table.say(21, Message::Interested);
    // It could not understand.
    table.meet(23, hash, 23, false);
    table.say(23, Message::Interested);
    // It is served at once.
    table.meet_kin(25, hash, 25);
    table.say(25, Message::HaveNone);
    table.say(25, Message::Interested);
    // It wants nothing.
    table.meet(27, hash, 27, true);
    table.say(27, Message::HaveNone);
    for link in [21, 23, 25, 27] {
        assert_eq!(allowed(&table, link), [], "{link}");
    }
    assert!(table.to(25).contains(&&Message::Unchoke));
    // A beginner that got on is none any more.
    beginner(&mut table, 29);
    let set = allowed(&table, 29);
    (0..62).filter(|piece| !set.contains(piece)).take(11).for_each(|piece| {
        table.say(29, Message::Have { piece });
    });
    table.say(29, Message::Request(block(set[0], 0)));
    assert_eq!(answers(&table, 29), (0, 1));
}

#[test]
fn few_choked_peers_are_served_side_by_side() {
    let mut table = busy_seed();
    // Reads take their time, so requests wait.
    table.hold = |_| true;
    for link in [21, 23, 25] {
        beginner(&mut table, link);
        let set = allowed(&table, link);
        table.say(link, Message::Request(block(set[0], 0)));
        table.say(link, Message::Request(block(set[1], 0)));
    }
    assert_eq!(answers(&table, 21), (0, 0));
    assert_eq!(answers(&table, 23), (0, 0));
    assert_eq!(answers(&table, 25), (0, 2));
    // The places are given back with the answer, or with the link.
    table.fault(21, CloseReason::Remote);
    let set = allowed(&table, 25);
    table.say(25, Message::Request(block(set[2], 0)));
    assert_eq!(answers(&table, 25), (0, 2));
}

#[test]
fn a_choke_leaves_requests_for_allowed_pieces_alone() {
    let mut table = busy_seed();
    table.hold = |_| true;
    beginner(&mut table, 21);
    let set = allowed(&table, 21);
    let unchoked = |table: &mut Table| {
        for _ in 0..40 {
            if table.to(21).contains(&&Message::Unchoke) {
                return;
            }
            table.pass(10);
        }
        panic!("the optimistic place goes round");
    };
    unchoked(&mut table);
    let other = (0..62).find(|piece| !set.contains(piece)).expect("there are more");
    table.say(21, Message::Request(block(set[3], 1)));
    table.say(21, Message::Request(block(other, 1)));
    table.sent.clear();
    for _ in 0..40 {
        if table.to(21).contains(&&Message::Choke) {
            break;
        }
        table.pass(10);
    }
    let rejected: Vec<&Message> =
        table.to(21).into_iter().filter(|message| matches!(message, Message::Reject(_))).collect();
    assert_eq!(rejected, [&Message::Reject(block(other, 1))]);
    while !table.held.is_empty() {
        table.release();
    }
    assert_eq!(answers(&table, 21), (1, 1));
}

#[test]
fn who_chokes_us_is_asked_for_what_it_allows_until_it_refuses() {
    let (meta, content) = title(4_000_000, PIECE, Version::V1);
    let mut table = Table::with(meta, content, false);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    table.say(1, Message::HaveAll);
    assert_eq!(table.asked(), []);
    for piece in [7, 7, 1000, 40] {
        table.say(1, Message::AllowedFast { piece });
    }
    let mut asked = table.asked();
    assert!(!asked.is_empty());
    let start = 7 * PIECE as usize;
    for index in 0..BLOCKS {
        assert_eq!(asked.remove(0), (1, block(7, index)));
        let from = start + (index * BLOCK_LEN) as usize;
        let data = table_data(from);
        table.say(1, Message::Piece { piece: 7, offset: index * BLOCK_LEN, data });
        asked.extend(table.asked());
    }
    assert_eq!(table.node.views()[0].peers[0].have, 62);
    assert!(asked.iter().all(|(_, request)| request.piece == 40), "{asked:?}");
    // It does not keep its word: it is not asked again before it unchokes.
    for (_, request) in asked {
        table.say(1, Message::Reject(request));
    }
    table.pass(5);
    assert_eq!(table.asked(), []);
    table.say(1, Message::Unchoke);
    assert!(!table.asked().is_empty());
    assert_eq!(table.banned, []);
}

fn table_data(from: usize) -> bytes::Bytes {
    let (_, content) = title(4_000_000, PIECE, Version::V1);
    bytes::Bytes::copy_from_slice(&content[from..from + BLOCK_LEN as usize])
}
