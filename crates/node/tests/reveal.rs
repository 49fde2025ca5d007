//! Super-seeding (BEP 16): what a source shows to foreign clients, and that nobody waits for it.

#[expect(dead_code, reason = "every file of tests uses another part of the world")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use std::net::SocketAddr;
use std::time::Duration;

use shoal_node::io::{Event, Input};
use shoal_node::link::LinkId;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Version;
use shoal_wire::peer::{BLOCK_LEN, BlockRequest, Extended, Handshake, Message};
use table::{PIECE, Table, ours, shake};
use world::{Lie, Speech, World, title};

/// Pieces of the title on the table, and blocks of each.
const PIECES: u32 = 62;
const BLOCKS: u32 = PIECE / BLOCK_LEN;
const FOREIGN: Speech = Speech { fast: true, extended: true, shoal: false };

fn source() -> Table {
    let (meta, content) = title(4_000_000, PIECE, Version::V1);
    Table::source(meta, content, |_| {})
}

/// Foreign clients on links 1, 3, 5 and so on; they want all they see, and none has anything.
fn come(table: &mut Table, count: u32) {
    for link in (0..count).map(|number| 2 * number + 1) {
        let hash = table.hash();
        table.meet(link, hash, link as u8, true);
        table.say(link, Message::HaveNone);
        table.say(link, Message::Interested);
    }
}

/// Pieces that a link was shown, in order.
fn shown(table: &Table, link: u32) -> Vec<u32> {
    let piece = |message: &&Message| match message {
        Message::Have { piece } => Some(*piece),
        _ => None,
    };
    table.to(link).iter().filter_map(piece).collect()
}

fn ask(table: &mut Table, link: u32, piece: u32) {
    for block in 0..BLOCKS {
        let request = BlockRequest { piece, offset: block * BLOCK_LEN, length: BLOCK_LEN };
        // The last piece is shorter: what does not exist is not asked for.
        if table.info.layout.contains(&request).is_some() {
            table.say(link, Message::Request(request));
        }
    }
}

#[test]
fn each_foreign_client_sees_other_pieces() {
    let mut table = source();
    come(&mut table, 3);
    let all: Vec<Vec<u32>> = [1, 3, 5].map(|link| shown(&table, link)).into();
    assert_eq!(all[0], [PIECES - 1, 0, 1, 2, 3, 4, 5, 6, 7], "who comes first may be a player");
    assert!(all[1].len() == 5 && all[2].len() == 5, "{all:?}");
    let mut together = all.concat();
    together.sort_unstable();
    together.dedup();
    assert_eq!(together.len(), 19, "{all:?}");
    for link in [1, 3, 5] {
        let has = |wanted: &Message| table.to(link).contains(&wanted);
        assert!(has(&Message::HaveNone) && !has(&Message::HaveAll));
    }
    // Who cannot hear that there is nothing is told nothing but the pieces.
    let hash = table.hash();
    table.meet(7, hash, 7, false);
    assert_eq!(shown(&table, 7).len(), 5);
    assert!(!table.to(7).contains(&&Message::HaveNone));
}

#[test]
fn all_see_the_ends_of_a_long_title() {
    let (meta, content) = title(28_000_000, PIECE, Version::V1);
    let count = meta.info.layout.piece_count();
    let mut table = Table::source(meta, content, |_| {});
    come(&mut table, 4);
    // More than 128 pieces for each of the first three.
    assert!((3 * 128..4 * 128).contains(&count));
    for (link, all) in [(1, true), (3, true), (5, true), (7, false)] {
        let shown = shown(&table, link);
        assert_eq!(shown.starts_with(&[count - 1, 0, 1, 2]), all, "{link}: {shown:?}");
    }
}

#[test]
fn what_was_passed_on_brings_the_next_piece() {
    let mut table = source();
    come(&mut table, 3);
    // There is no credit, so nothing leaves: the uplink has enough to do.
    for piece in shown(&table, 3) {
        ask(&mut table, 3, piece);
    }
    let before = shown(&table, 3);
    let got = before[0];
    table.say(3, Message::Have { piece: got });
    assert_eq!(shown(&table, 3), before, "it got a piece and has not passed it on");
    table.say(1, Message::Have { piece: got });
    assert_eq!(shown(&table, 3).len(), before.len() + 1);
    table.say(5, Message::Have { piece: got });
    assert_eq!(shown(&table, 3).len(), before.len() + 1, "once for each piece");
}

#[test]
fn who_asks_is_never_without_something_to_ask_for_while_the_uplink_has_room() {
    let mut table = source();
    come(&mut table, 3);
    table.give(Input::Credit { link: LinkId(5), bytes: BLOCK_LEN, passed: BLOCK_LEN });
    // No time passes. Backwards, so that it is not taken for a player.
    let mut done = Vec::new();
    while let Some(piece) = shown(&table, 5).into_iter().rev().find(|piece| !done.contains(piece)) {
        for block in 0..BLOCKS {
            let request = BlockRequest { piece, offset: block * BLOCK_LEN, length: BLOCK_LEN };
            if table.info.layout.contains(&request).is_some() {
                table.say(5, Message::Request(request));
                table.give(Input::Credit { link: LinkId(5), bytes: BLOCK_LEN, passed: BLOCK_LEN });
            }
        }
        done.push(piece);
    }
    assert_eq!(done.len() as u32, PIECES);
    assert!(shown(&table, 3).len() < 20, "who asks for nothing is shown no more");
}

#[test]
fn who_takes_the_lowest_piece_each_time_sees_everything() {
    for upwards in [true, false] {
        let mut table = source();
        come(&mut table, 4);
        let mut pieces = shown(&table, 5);
        pieces.sort_unstable();
        if !upwards {
            pieces.reverse();
        }
        for &piece in &pieces[..4] {
            ask(&mut table, 5, piece);
        }
        assert_eq!(shown(&table, 5).len() as u32 == PIECES, upwards);
    }
}

#[test]
fn who_wants_nothing_of_what_it_sees_is_shown_the_rest() {
    let mut table = source();
    come(&mut table, 4);
    table.pass(2);
    assert!(shown(&table, 5).len() < 10);
    table.pass(3);
    assert_eq!(shown(&table, 5).len() as u32, PIECES, "it may ask and does not");
    let hash = table.hash();
    table.meet(11, hash, 11, true);
    table.say(11, Message::HaveNone);
    table.pass(5);
    assert!(shown(&table, 11).len() < 10, "it may be fetching the metadata");
    table.pass(8);
    assert_eq!(shown(&table, 11).len() as u32, PIECES);
}

#[test]
fn two_see_everything_after_a_moment_and_so_does_who_was_veiled_for_long() {
    let mut table = source();
    come(&mut table, 2);
    // Their requests wait, so they are not idle.
    for link in [1, 3] {
        let piece = *shown(&table, link).last().expect("something");
        ask(&mut table, link, piece);
    }
    assert!(shown(&table, 3).len() < 10);
    table.pass(4);
    assert_eq!(shown(&table, 3).len() as u32, PIECES);
    // With a third and a fourth it is another matter.
    let mut table = source();
    come(&mut table, 4);
    for link in [1, 3, 5, 7] {
        let piece = *shown(&table, link).last().expect("something");
        ask(&mut table, link, piece);
    }
    table.pass(4);
    assert!(shown(&table, 3).len() < 15, "{}", shown(&table, 3).len());
    // Who says nothing at all is given up.
    [1, 3, 5, 7].iter().for_each(|&link| table.say(link, Message::KeepAlive));
    table.pass(60);
    assert_eq!(shown(&table, 3).len() as u32, PIECES);
}

#[test]
fn nothing_is_hidden_when_all_of_it_is_elsewhere() {
    let mut table = source();
    come(&mut table, 3);
    let hash = table.hash();
    for (link, odd) in [(9, 0), (11, 1)] {
        let mut half = Bitfield::new(PIECES);
        for piece in (0..PIECES).filter(|piece| piece % 2 == odd) {
            half.set(piece);
        }
        table.meet(link, hash, link as u8, true);
        table.say(link, Message::Bitfield(half.as_bytes().to_vec().into()));
    }
    table.meet(13, hash, 13, true);
    assert!(table.to(13).contains(&&Message::HaveAll));
    assert!(shown(&table, 1).len() < 10);
    table.pass(2);
    assert_eq!(shown(&table, 1).len() as u32, PIECES);
}

#[test]
fn ours_and_those_of_a_plain_seed_see_everything_at_once() {
    let (meta, content) = title(4_000_000, PIECE, Version::V1);
    let plain = Table::with(meta.clone(), content.clone(), true);
    let off = Table::source(meta, content, |config| config.swarm.super_seeding = false);
    for mut table in [plain, off] {
        come(&mut table, 3);
        assert!(table.to(5).contains(&&Message::HaveAll));
    }
    let mut table = source();
    come(&mut table, 3);
    // Its id does not show what it is, its extension handshake does.
    let hash = table.hash();
    table.meet_kin(7, hash, 7);
    assert_eq!(shown(&table, 7).len() as u32, PIECES);
}

#[test]
fn a_source_says_that_it_only_uploads_once_it_shows_everything() {
    let mut table = source();
    let hash = table.hash();
    let remote = SocketAddr::from(([10, 0, 0, 1], 5000));
    table.meet_at(1, remote, Handshake { extended: true, ..shake(hash, 1) });
    let mut hello = ours();
    hello.ids.shoal = 0;
    table.hello(1, hello);
    let only = |table: &Table| {
        let to = table.to(1);
        let says = to.iter().filter_map(|message| match message {
            Message::Extended(extended) => match &**extended {
                Extended::Handshake(hello) => Some(hello.upload_only),
                Extended::UploadOnly(only) => Some(*only),
                _ => None,
            },
            _ => None,
        });
        says.collect::<Vec<_>>()
    };
    assert_eq!(only(&table), [false]);
    table.say(1, Message::Interested);
    table.pass(4);
    assert_eq!(shown(&table, 1).len() as u32, PIECES);
    assert_eq!(only(&table), [false, true]);
}

/// Film bytes that the source sent, and the time until all were complete, of so many foreign leechers that come together.
fn swarm(leechers: usize, super_seeding: bool) -> (u64, Duration) {
    let rate = 500_000;
    let (meta, content) = title(8_000_000, 4 * PIECE, Version::V1);
    let mut world = World::new();
    let begin = world.now;
    let tune = |config: &mut shoal_node::config::Config| {
        config.swarm.super_seeding = super_seeding;
    };
    let source = world.host_with(rate, Lie::None, tune);
    world.source = true;
    world.join(source, &meta, &content, |_| true, &[], false);
    let mut known = vec![source];
    for _ in 0..leechers {
        let leecher = world.host_with(rate, Lie::None, |config| {
            config.swarm.block_sharing = false;
            config.swarm.admit_shoal = false;
        });
        world.hosts[leecher].speech = FOREIGN;
        world.join(leecher, &meta, &content, |_| false, &known, false);
        known.push(leecher);
    }
    let done = |world: &World| known[1..].iter().all(|&leecher| world.is_complete(leecher));
    assert!(world.run(Duration::from_secs(600), done));
    for &leecher in &known[1..] {
        assert_eq!(world.hosts[leecher].disk[..content.len()], content[..]);
        assert!(world.banned(leecher).is_empty());
    }
    let last = known[1..].iter().flat_map(|&leecher| &world.hosts[leecher].events);
    let last = last.filter(|(_, event)| matches!(event, Event::Complete { .. }));
    let last = last.map(|(at, _)| *at).max().expect("all are complete");
    (world.hosts[source].node.counters()[0].sent, last.since(begin))
}

#[test]
fn foreign_leechers_take_fewer_copies_and_no_more_time() {
    let (sent, time) = swarm(6, true);
    let (plain, plain_time) = swarm(6, false);
    assert!(sent < plain * 19 / 20 && sent < 8_000_000 * 6 / 5, "{sent} instead of {plain}");
    assert!(time <= plain_time + plain_time / 20, "{time:?} instead of {plain_time:?}");
}

#[test]
fn a_foreign_leecher_alone_gets_everything_as_fast_as_without() {
    let (sent, time) = swarm(1, true);
    let (plain, plain_time) = swarm(1, false);
    assert_eq!(sent, plain);
    assert!(time <= plain_time + Duration::from_millis(200), "{time:?} instead of {plain_time:?}");
}
