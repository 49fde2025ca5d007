//! A title that is watched under a quota: what is given up, when, who is told, and what must not happen meanwhile.

#[expect(dead_code, reason = "only its titles are used here")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use std::sync::Arc;

use bytes::Bytes;
use shoal_node::io::{AddTitle, Command, Event, Failure, FailureKind, Input, Job, Outcome, Want};
use shoal_node::link::ReaderId;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Version;
use shoal_wire::peer::{BLOCK_LEN, BlockRequest, Extended, Message};
use table::{PIECE, Table, ours, shake};
use world::{TITLE, title};

const PIECES: u32 = 32;
const READER: ReaderId = ReaderId(1);

/// A viewer with the first `have` pieces, and a quota of so many.
fn viewer(have: u32, quota: u32, want: Want) -> (Table, Vec<u8>) {
    let (meta, content) = title(PIECES as usize * PIECE as usize, PIECE, Version::V1);
    let mut field = Bitfield::new(PIECES);
    (0..have).for_each(|piece| {
        field.set(piece);
    });
    let mut table = Table::empty(Arc::new(meta.info));
    let filled = (have * PIECE) as usize;
    table.disk[..filled].copy_from_slice(&content[..filled]);
    let (quota, elsewhere) = (Some(u64::from(quota) * u64::from(PIECE)), 0);
    table.give(Input::Command(Command::Cache { quota, elsewhere }));
    let setup = AddTitle {
        info: Some(Arc::clone(&table.info)),
        have: Some(field),
        want,
        cached: true,
        ..AddTitle::new(TITLE, table.info.hashes)
    };
    table.give(Input::Command(Command::Add(setup.into())));
    (table, content)
}

/// A foreign peer that speaks BEP 54 and has these pieces.
fn meet(table: &mut Table, link: u32, pieces: impl IntoIterator<Item = u32>) {
    let hash = table.hash();
    let remote = ([10, 0, 0, link as u8], 5000).into();
    let id = link as u8;
    let handshake = shoal_wire::peer::Handshake { extended: true, ..shake(hash, id) };
    table.meet_at(link, remote, handshake);
    table.hello(link, ours());
    let mut field = Bitfield::new(PIECES);
    pieces.into_iter().for_each(|piece| {
        field.set(piece);
    });
    table.say(link, Message::Bitfield(Bytes::copy_from_slice(field.as_bytes())));
    table.say(link, Message::Unchoke);
}

fn open(table: &mut Table, piece: u32) {
    let (start, end) = (u64::from(piece * PIECE), u64::from(PIECES * PIECE));
    let open = Command::Open { reader: READER, title: TITLE, file: 0, start, end };
    table.give(Input::Command(open));
}

fn read(table: &mut Table, max: u32) {
    table.give(Input::Command(Command::Read { reader: READER, max }));
}

/// Answers all requests of the node with the film.
fn feed(table: &mut Table, content: &[u8]) {
    loop {
        let asked: Vec<(u32, BlockRequest)> = table
            .sent
            .iter()
            .filter_map(|(link, message)| match message {
                Message::Request(request) => Some((link.0, *request)),
                _ => None,
            })
            .collect();
        table.sent.retain(|(_, message)| !matches!(message, Message::Request(_)));
        if asked.is_empty() {
            return;
        }
        for (link, BlockRequest { piece, offset, length }) in asked {
            let start = (piece * PIECE + offset) as usize;
            let data = Bytes::copy_from_slice(&content[start..start + length as usize]);
            table.say(link, Message::Piece { piece, offset, data });
        }
    }
}

/// Pieces that were withdrawn towards a link.
fn withdrawn(table: &Table, link: u32) -> Vec<u32> {
    let dont_have = |message: &&Message| match message {
        Message::Extended(extended) => match &**extended {
            Extended::DontHave { piece } => Some(*piece),
            _ => None,
        },
        _ => None,
    };
    table.to(link).iter().filter_map(dont_have).collect()
}

fn held(table: &Table) -> Vec<u32> {
    let bytes = &table.node.views()[0].pieces;
    Bitfield::from_wire(bytes, PIECES).expect("its own").iter().collect()
}

fn is_evict(job: &Job) -> bool {
    matches!(job, Job::Evict { .. })
}

#[test]
fn the_whole_film_is_read_in_a_tenth_of_its_size_and_each_byte_is_right() {
    let (mut table, content) = viewer(0, 4, Want::OnDemand);
    meet(&mut table, 3, 0..PIECES);
    open(&mut table, 0);
    let mut taken = Vec::new();
    let mut most = 0;
    while taken.len() < content.len() {
        let before = taken.len();
        read(&mut table, 100_000);
        feed(&mut table, &content);
        most = most.max(held(&table).len());
        for event in table.told.drain(..) {
            match event {
                Event::Data { offset, data, .. } => {
                    assert_eq!(offset, taken.len() as u64);
                    taken.extend_from_slice(&data);
                }
                Event::ReaderFailed { message, .. } => panic!("{message}"),
                _ => {}
            }
        }
        // A batch that is being freed may stand in the way for a moment.
        table.pass_ms(100);
        feed(&mut table, &content);
        assert!(taken.len() > before || table.now.as_nanos() < 100_000_000_000, "it stands still");
    }
    assert!(taken == content, "every byte of the film");
    assert!(most <= 4 + 3, "{most} pieces at once");
    let view = table.node.cache().expect("a quota");
    assert!(view.used <= view.quota + 3 * u64::from(PIECE), "{view:?}");
    assert!(table.node.counters()[0].evicted >= u64::from((PIECES - 8) * PIECE));
}

#[test]
fn a_piece_is_withdrawn_and_recorded_as_gone_before_its_room_is_given_back() {
    let (mut table, content) = viewer(8, 9, Want::OnDemand);
    table.hold = is_evict;
    meet(&mut table, 3, 0..PIECES);
    // Of a peer without BEP 54 nothing but rejections is expected.
    let hash = table.hash();
    table.meet(5, hash, 5, true);
    for link in [3, 5] {
        table.say(link, Message::Interested);
    }
    let request = |piece| BlockRequest { piece, offset: 0, length: BLOCK_LEN };
    // Nobody has credit: these wait.
    for piece in 0..8 {
        table.say(3, Message::Request(request(piece)));
        table.say(5, Message::Request(request(piece)));
    }
    open(&mut table, 8);
    read(&mut table, 1000);
    feed(&mut table, &content);
    assert_eq!(table.held.len(), 1, "room is made once");
    let Job::Evict { pieces, record, .. } = &*table.held[0].1 else { panic!("another job") };
    let gone = pieces.clone();
    assert!(!gone.is_empty() && gone.iter().all(|&piece| piece < 8 && !record.have.get(piece)));
    let here = held(&table);
    assert!(record.have.iter().all(|piece| here.contains(&piece)), "the record says what is here");
    assert_eq!(record.have.ones() + gone.len() as u32, 8);
    assert_eq!(withdrawn(&table, 3), gone);
    assert_eq!(withdrawn(&table, 5), []);
    for link in [3, 5] {
        for &piece in &gone {
            let said = table.to(link);
            let rejected = said.iter().any(|m| **m == Message::Reject(request(piece)));
            assert!(rejected, "piece {piece} for {link}");
        }
    }
    // Who has not heard of it is turned down, and not held to have done wrong.
    table.sent.clear();
    for _ in 0..100 {
        table.say(5, Message::Request(request(gone[0])));
    }
    assert_eq!(table.to(5), vec![&Message::Reject(request(gone[0])); 100]);
    assert!(table.banned.is_empty());
    // It is not fetched again while it is on its way off the disk: a write could come before the hole.
    table.sent.clear();
    table.give(Input::Command(Command::Close { reader: READER }));
    open(&mut table, gone[0]);
    read(&mut table, 1000);
    feed(&mut table, &content);
    assert!(!held(&table).contains(&gone[0]));
    table.release();
    feed(&mut table, &content);
    assert!(held(&table).contains(&gone[0]), "afterwards it is");
}

#[test]
fn what_many_have_and_few_lack_goes_first_and_the_only_copy_last() {
    let (mut table, content) = viewer(8, 9, Want::OnDemand);
    table.hold = is_evict;
    // Everybody has 5, two have 2, one has each of the others but 0, which nobody has.
    meet(&mut table, 3, (1..PIECES).filter(|piece| *piece != 9));
    meet(&mut table, 5, [2, 5].into_iter().chain(8..PIECES));
    meet(&mut table, 7, [5]);
    let mut order = Vec::new();
    open(&mut table, 10);
    for step in 1..40 {
        read(&mut table, PIECE / 4);
        feed(&mut table, &content);
        while !table.held.is_empty() {
            let Job::Evict { pieces, .. } = &*table.held[0].1 else { panic!("another job") };
            order.extend(pieces.iter().copied());
            table.release();
            feed(&mut table, &content);
        }
        table.pass_ms(100 * step);
    }
    // Room for three is made at once.
    assert!(order[..3].contains(&5) && order[..3].contains(&2), "{order:?}");
    let place = |piece| order.iter().position(|&other| other == piece);
    assert!(
        place(0).is_none_or(|at| (1..8).all(|p| place(p).is_some_and(|p| p < at))),
        "{order:?}"
    );
}

#[test]
fn what_is_being_read_or_near_a_reader_stays() {
    let (mut table, content) = viewer(8, 8, Want::OnDemand);
    meet(&mut table, 3, 0..PIECES);
    open(&mut table, 4);
    // Its read is under way for as long as it is held back.
    table.hold = |job| matches!(job, Job::Read { .. });
    read(&mut table, 1000);
    let read_of = |table: &Table| match &*table.held[0].1 {
        Job::Read { offset, .. } => (*offset / u64::from(PIECE)) as u32,
        _ => panic!("another job"),
    };
    assert_eq!(read_of(&table), 4);
    // Another one opens further on and needs room.
    let (start, end) = (u64::from(20 * PIECE), u64::from(PIECES * PIECE));
    let other = ReaderId(2);
    table.give(Input::Command(Command::Open { reader: other, title: TITLE, file: 0, start, end }));
    table.give(Input::Command(Command::Read { reader: other, max: 1000 }));
    feed(&mut table, &content);
    let left = held(&table);
    assert!(left.contains(&4) && left.contains(&20), "{left:?}");
    assert!(left.len() < 10, "{left:?}");
    table.release();
    let told = table.told.iter().find_map(|event| match event {
        Event::Data { reader: READER, data, .. } => Some(data.clone()),
        _ => None,
    });
    assert_eq!(told.expect("its bytes"), content[4 * PIECE as usize..][..1000]);
}

#[test]
fn what_no_reader_needs_is_fetched_only_while_there_is_room_and_then_all_that_is_wanted_is_here() {
    let (mut table, content) = viewer(0, 6, Want::Play);
    meet(&mut table, 3, 0..PIECES);
    for _ in 0..20 {
        feed(&mut table, &content);
        table.pass_ms(100);
    }
    assert_eq!(held(&table).len(), 6);
    assert_eq!(table.node.counters()[0].evicted, 0, "nothing makes room for what nobody needs");
    let complete = table.told.iter().any(|event| matches!(event, Event::Complete { .. }));
    assert!(complete, "what is wanted is what there is room for");
    // A reader still gets what it needs.
    open(&mut table, 0);
    for _ in 0..200 {
        read(&mut table, 100_000);
        feed(&mut table, &content);
        table.pass_ms(50);
    }
    let taken: usize = table
        .told
        .iter()
        .map(|event| if let Event::Data { data, .. } = event { data.len() } else { 0 })
        .sum();
    assert_eq!(taken, content.len());
}

#[test]
fn films_that_nobody_watches_make_room_first() {
    let (mut table, content) = viewer(8, 9, Want::OnDemand);
    let (quota, elsewhere) = (Some(u64::from(9 * PIECE)), u64::from(4 * PIECE));
    table.hold = |job| matches!(job, Job::Evict { .. } | Job::Reclaim { .. });
    table.give(Input::Command(Command::Cache { quota, elsewhere }));
    assert!(matches!(&*table.held[0].1, Job::Reclaim { bytes } if *bytes >= u64::from(4 * PIECE)));
    let (ticket, _) = table.held.remove(0);
    table.done(ticket, Outcome::Freed(0));
    assert!(table.held.is_empty(), "that was enough");
    assert_eq!(table.node.cache().expect("a quota").used, u64::from(8 * PIECE));
    meet(&mut table, 3, 0..PIECES);
    open(&mut table, 12);
    read(&mut table, 1000);
    feed(&mut table, &content);
    assert!(is_evict(&table.held[0].1), "now this one has to");
    // What cannot be freed is not asked for again and again.
    let (quota, elsewhere) = (Some(u64::from(9 * PIECE)), u64::from(4 * PIECE));
    let before = table.held.len();
    table.give(Input::Command(Command::Cache { quota, elsewhere }));
    for _ in 0..5 {
        if let Some(at) =
            table.held.iter().position(|(_, job)| matches!(**job, Job::Reclaim { .. }))
        {
            let (ticket, _) = table.held.remove(at);
            table.done(ticket, Outcome::Freed(elsewhere));
        }
    }
    table.pass(2);
    assert!(table.held.iter().all(|(_, job)| is_evict(job)) && table.held.len() >= before);
}

#[test]
fn a_new_film_takes_from_old_ones_no_more_than_it_needs() {
    let (mut table, content) = viewer(0, 40, Want::Play);
    let piece = u64::from(PIECE);
    let (quota, mut elsewhere) = (Some(40 * piece), 18 * piece);
    table.hold = |job| matches!(job, Job::Reclaim { .. });
    table.give(Input::Command(Command::Cache { quota, elsewhere }));
    meet(&mut table, 3, 0..PIECES);
    for _ in 0..100 {
        feed(&mut table, &content);
        if !table.held.is_empty() {
            let (ticket, job) = table.held.remove(0);
            let Job::Reclaim { bytes } = *job else { panic!("another job") };
            elsewhere = elsewhere.saturating_sub(bytes);
            table.done(ticket, Outcome::Freed(elsewhere));
        }
        table.pass_ms(100);
    }
    assert_eq!(held(&table).len(), PIECES as usize);
    assert!(elsewhere >= 5 * piece, "{elsewhere} are left of the old ones");
    assert_eq!(table.node.cache().expect("a quota").used, 32 * piece + elsewhere);
}

#[test]
fn a_full_disk_that_takes_no_record_is_tried_again_and_one_without_holes_is_left_alone() {
    for kind in [FailureKind::DiskFull, FailureKind::DiskLost] {
        let (mut table, content) = viewer(8, 8, Want::OnDemand);
        table.hold = is_evict;
        meet(&mut table, 3, 0..PIECES);
        open(&mut table, 10);
        read(&mut table, 1000);
        feed(&mut table, &content);
        let (ticket, job) = table.held.remove(0);
        let Job::Evict { pieces, .. } = *job else { panic!("another job") };
        let message = String::from("it cannot be done");
        table.done(ticket, Outcome::Failed(Failure { kind, message }));
        table.pass(11);
        let again = kind == FailureKind::DiskFull;
        assert_eq!(!table.held.is_empty(), again, "{kind:?}");
        if again {
            assert!(
                matches!(&*table.held[0].1, Job::Evict { pieces: same, .. } if *same == pieces)
            );
        } else {
            let told = |event: &Event| matches!(event, Event::Trouble { fatal: false, .. });
            assert_eq!(table.told.iter().filter(|event| told(event)).count(), 1);
            // The reader goes on: the disk holds more than it should.
            read(&mut table, 100_000);
            feed(&mut table, &content);
            assert!(table.held.is_empty(), "nothing more is given up");
        }
    }
}

#[test]
fn a_withdrawal_frees_what_was_asked_for_and_tells_what_we_have() {
    for fast in [true, false] {
        let (meta, content) = title(PIECES as usize * PIECE as usize, PIECE, Version::V1);
        let mut table = Table::with(meta, content, false);
        let hash = table.hash();
        let remote = ([10, 0, 0, 3], 5000).into();
        let handshake = shoal_wire::peer::Handshake { extended: true, fast, ..shake(hash, 3) };
        table.meet_at(3, remote, handshake);
        table.hello(3, ours());
        let all = Bitfield::full(PIECES);
        table.say(3, Message::Bitfield(Bytes::copy_from_slice(all.as_bytes())));
        table.say(3, Message::Unchoke);
        let asked = table.asked();
        let first = asked[0].1;
        let lost = |piece| Message::Extended(Extended::DontHave { piece }.into());
        table.say(3, lost(first.piece));
        if !fast {
            // Others of the same piece are not asked of it again.
            assert!(table.asked().iter().all(|(_, request)| request.piece != first.piece));
        }
        assert_eq!(table.node.views()[0].peers[0].have, PIECES - 1);
        table.say(3, Message::Have { piece: first.piece });
        assert_eq!(table.node.views()[0].peers[0].have, PIECES);
        table.say(3, lost(PIECES));
        assert!(table.banned.is_empty() && table.closed.is_empty());
    }
    // Who has a piece is not told that we have it; when it loses it, it is.
    let (mut table, _) = viewer(4, 9, Want::OnDemand);
    meet(&mut table, 3, 0..4);
    table.sent.clear();
    table.say(3, Message::Extended(Extended::DontHave { piece: 2 }.into()));
    assert_eq!(table.to(3), [&Message::Have { piece: 2 }]);
}
