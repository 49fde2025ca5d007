//! Turns of one node with remotes that mean harm, or that leave at the worst moment.

#[expect(dead_code, reason = "only its titles and its disk are used here")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use shoal_node::io::{CloseReason, Command, Event, Input, Job, Outcome};
use shoal_node::link::LinkId;
use shoal_wire::InfoHashes;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle;
use shoal_wire::metainfo::{Metainfo, Version};
use shoal_wire::peer::{
    BLOCK_LEN, BlockRequest, BlockSpan, Extended, ExtensionHandshake, Handshake, HashRange,
    Message, MetadataMessage, PexMessage, PexPeer, ShoalMessage,
};
use table::{PIECE, Table, ours, shake};
use world::title;

const RUDE: CloseReason = CloseReason::Protocol("its frames make no sense");

fn public(host: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host], port))
}

/// The block that was asked for, right or wrong.
fn block(content: &[u8], request: &BlockRequest, right: bool) -> Message {
    let start = (request.piece * PIECE + request.offset) as usize;
    let mut data = content[start..start + request.length as usize].to_vec();
    data[0] ^= u8::from(!right);
    Message::Piece { piece: request.piece, offset: request.offset, data: data.into() }
}

fn offer(table: &mut Table, link: u32) {
    table.say(link, Message::HaveAll);
    table.say(link, Message::Unchoke);
}

/// Links 1 and 3 each bring a part of the only piece, of four blocks, and what the second brings is wrong.
fn each_brings_a_part(table: &mut Table, content: &[u8]) {
    let mut brought: BTreeMap<u32, u32> = BTreeMap::new();
    while brought.len() < 4 {
        let asked = table.asked();
        assert!(!asked.is_empty());
        for (link, request) in asked {
            brought.insert(request.offset, link);
            table.say(link, block(content, &request, link == 1));
        }
    }
    assert!([1, 3].iter().all(|link| brought.values().any(|by| by == link)), "both gave");
}

/// A piece that was wrong is brought by one peer alone. It leaves while its right blocks are looked at, and the next one lies:
/// what was found right is not what is here now.
#[test]
fn a_verdict_is_about_the_bytes_that_were_looked_at() {
    let (meta, content) = title(PIECE as usize, PIECE, Version::V2);
    let mut table = Table::with(meta, content.clone(), false);
    let hash = table.hash();
    for link in [1, 3] {
        table.meet(link, hash, link as u8, true);
        offer(&mut table, link);
    }
    let root = table.info.files[0].pieces_root.expect("v2");
    let range =
        HashRange { pieces_root: root, base_layer: 0, index: 0, length: 4, proof_layers: 0 };
    for _ in 0..3 {
        let asks = |link| table.to(link).into_iter().any(|m| matches!(m, Message::HashRequest(_)));
        let asked: Vec<u32> = [1, 3].into_iter().filter(|&link| asks(link)).collect();
        table.sent.retain(|(_, message)| !matches!(message, Message::HashRequest(_)));
        asked.into_iter().for_each(|link| table.say(link, Message::HashReject(range.into())));
    }
    each_brings_a_part(&mut table, &content);
    // Now one brings all of it, and has brought two blocks when their hashes become known.
    table.hold = |job| matches!(job, Job::CheckBlock { .. } | Job::CheckTree { .. });
    let asked = table.asked();
    let alone = asked.first().expect("it is fetched again").0;
    for (link, request) in asked.into_iter().take(2) {
        assert_eq!(link, alone);
        table.say(link, block(&content, &request, true));
    }
    let leaves: Vec<u8> =
        content.chunks(BLOCK_LEN as usize).flat_map(|block| merkle::leaf(block).0).collect();
    table.say(4 - alone, Message::Hashes { range: range.into(), hashes: leaves.into() });
    let first = table.held.len();
    assert!((1..=2).contains(&first), "its blocks are looked at");
    table.lose(alone);
    for _ in 0..4 {
        for (link, request) in table.asked() {
            table.say(link, block(&content, &request, false));
        }
    }
    assert!(table.held.len() > first, "others came");
    while !table.held.is_empty() {
        table.release();
    }
    table.meet(5, hash, 5, true);
    offer(&mut table, 5);
    for _ in 0..10 {
        for (link, request) in table.asked() {
            table.say(link, block(&content, &request, true));
        }
        while !table.held.is_empty() {
            table.release();
        }
        table.pass(1);
    }
    assert!(table.disk == content, "wrong bytes were stored");
    assert!(!table.banned.is_empty());
}

/// Who brings a piece alone, because it was wrong before, and takes it back in between leaves it to the next one.
#[test]
fn who_withdraws_a_piece_that_it_brings_alone_leaves_it_to_others() {
    let (meta, content) = title(PIECE as usize, PIECE, Version::V1);
    let mut table = Table::with(meta, content.clone(), false);
    let hash = table.hash();
    for link in [1, 3] {
        table.meet(link, hash, link as u8, true);
        offer(&mut table, link);
    }
    each_brings_a_part(&mut table, &content);
    let asked = table.asked();
    let alone = asked.first().expect("it is fetched again").0;
    table.say(alone, block(&content, &asked[0].1, true));
    table.say(alone, Message::Extended(Extended::DontHave { piece: 0 }.into()));
    for _ in 0..3 {
        for (link, request) in table.asked() {
            assert_eq!(link, 4 - alone, "who has it");
            table.say(link, block(&content, &request, true));
        }
        table.pass(1);
    }
    assert!(table.disk == content, "it is whole");
}

#[test]
fn who_copies_a_name_shuts_out_himself_and_not_its_owner() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    // The liar presents the seed's name and speaks nonsense.
    table.meet_at(1, public(66, 4000), shake(hash, 7));
    table.fault(1, RUDE);
    assert_eq!(table.banned, [public(66, 4000)]);
    table.meet_at(3, public(66, 4001), shake(hash, 7));
    assert_eq!(table.closed, [(LinkId(3), CloseReason::Corrupt)]);
    table.meet_at(5, public(1, 5000), shake(hash, 7));
    assert_eq!(table.links(), [5], "its owner");
    table.meet_at(7, public(66, 4002), shake(hash, 8));
    assert_eq!(table.links(), [5, 7], "his neighbour");
}

#[test]
fn a_copied_name_does_not_end_a_link_over_which_film_came() {
    let (meta, content) = title(400_000, PIECE, Version::V1);
    let mut table = Table::with(meta, content.clone(), false);
    let hash = table.hash();
    let seed = public(1, 5000);
    let name = |id| Handshake { fast: true, ..shake(hash, id) };
    // Of two links in opposite directions the one dialed by the greater name stays: the copy comes from that side.
    for id in [0, 255] {
        let dial = Command::Peers { title: world::TITLE, peers: vec![seed] };
        table.give(Input::Command(dial));
        let link = table.dialed.last().expect("it is dialed").0.0;
        table.meet_at(link, seed, name(id));
        offer(&mut table, link);
        let (_, request) = table.asked().first().copied().expect("it is asked");
        table.say(link, block(&content, &request, true));
        let copy = 1 + 2 * u32::from(id);
        table.meet_at(copy, public(66, 4000), name(id));
        assert_eq!(table.links(), [link]);
        table.lose(link);
        table.pass(6);
        if let Some(&(again, _)) = table.dialed.last().filter(|dial| dial.0.0 != link) {
            table.fault(again.0, CloseReason::Unreachable);
        }
    }
}

#[test]
fn who_falls_silent_in_the_middle_of_a_trade_is_met_again_at_another_address() {
    let mut table = Table::new(Version::V1, true);
    let hash = table.hash();
    table.meet_at(1, public(1, 5000), shake(hash, 7));
    table.say(1, Message::Interested);
    table.pass(11);
    let wanted = BlockRequest { piece: 0, offset: 0, length: BLOCK_LEN };
    table.give(Input::Credit { link: LinkId(1), bytes: 100_000, passed: 0 });
    // It asks, gets, and asks again: whoever comes from elsewhere is a copy.
    table.say(1, Message::Request(wanted));
    table.pass(3);
    table.meet_at(3, public(2, 5000), shake(hash, 7));
    assert_eq!(table.links(), [1]);
    // It said nothing about what it was given: its old link stays until the system ends it, beside the new one.
    table.pass(2);
    table.meet_at(5, public(2, 5000), shake(hash, 7));
    assert_eq!(table.links(), [1, 5]);
    table.meet_at(7, public(2, 5001), shake(hash, 7));
    assert_eq!(table.links(), [1, 5], "one new link");
    // Who is silent and has nothing to say is not lost.
    table.pass(1);
    table.say(5, Message::Interested);
    table.pass(60);
    table.meet_at(9, public(3, 5000), shake(hash, 7));
    assert_eq!(table.links(), [1, 5]);
}

/// What was asked since the last call, with due times and without.
fn asked_kin(table: &mut Table) -> Vec<BlockRequest> {
    let sent = core::mem::take(&mut table.sent);
    let asked = |(_, message)| match message {
        Message::Request(request) => vec![request],
        Message::Extended(extended) => match *extended {
            Extended::Shoal(ShoalMessage::Requests(list)) => {
                list.into_iter().map(|asked| asked.block).collect()
            }
            _ => vec![],
        },
        _ => vec![],
    };
    sent.into_iter().flat_map(asked).collect()
}

/// A Shoal peer whose uplink others fill turns down what it has no time for, again and again, and takes requests that it never comes
/// to. A viewer leaves it, and does not call it a liar.
#[test]
fn a_peer_that_has_no_time_is_left_and_not_shut_out() {
    for rejects in [true, false] {
        let (meta, content) = title(6_000_000, PIECE, Version::Hybrid);
        let mut table = Table::with(meta, content, false);
        let hash = table.hash();
        table.meet_kin(1, hash, 1);
        offer(&mut table, 1);
        let reader = shoal_node::link::ReaderId(1);
        let title = world::TITLE;
        table.give(Input::Command(Command::Play { reader, title, file: 0, at_ms: 0 }));
        for _ in 0..9000 {
            if table.links().is_empty() {
                break;
            }
            let asked = asked_kin(&mut table);
            for request in asked.into_iter().filter(|_| rejects) {
                table.say(1, Message::Reject(request));
            }
            table.pass_ms(100);
        }
        assert!(table.links().is_empty(), "it is asked for ever");
        assert!(table.banned.is_empty(), "it was shut out");
        let named = |event: &Event| matches!(event, Event::Dropped { .. });
        assert!(table.told.iter().any(named), "it is not named");
    }
}

/// A Shoal peer has room for three requests that are needed by a time, and sends a block every other millisecond. It is asked for as many as
/// it takes and one more for each block, and not for as many as its rate would allow, each time anew.
#[test]
fn a_peer_that_takes_few_requests_is_asked_for_few() {
    let (meta, content) = title(6_000_000, PIECE, Version::Hybrid);
    let mut table = Table::with(meta, content.clone(), false);
    let hash = table.hash();
    table.meet_kin(1, hash, 1);
    offer(&mut table, 1);
    let reader = shoal_node::link::ReaderId(1);
    table.give(Input::Command(Command::Play { reader, title: world::TITLE, file: 0, at_ms: 0 }));
    let (mut queue, mut blocks, mut refused) = (std::collections::VecDeque::new(), 0, 0);
    for _ in 0..150 {
        for request in asked_kin(&mut table) {
            if queue.len() < 3 {
                queue.push_back(request);
            } else {
                refused += 1;
                table.say(1, Message::Reject(request));
            }
        }
        if let Some(request) = queue.pop_front() {
            blocks += 1;
            table.say(1, block(&content, &request, true));
        }
        table.pass_ms(2);
    }
    assert!(table.banned.is_empty(), "it was shut out");
    assert!(blocks > 100, "{blocks} blocks came");
    assert!(refused < blocks + 30, "{refused} requests were turned down for {blocks} blocks");
}

#[test]
fn a_host_is_shut_out_after_several_liars_and_not_after_one() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    for liar in 0..4u8 {
        let link = 1 + 2 * u32::from(liar);
        table.meet_at(link, public(66, 4000 + u16::from(liar)), shake(hash, liar + 1));
        assert_eq!(table.links(), [link], "liar {liar}");
        table.fault(link, RUDE);
    }
    table.meet_at(21, public(66, 4100), shake(hash, 50));
    assert!(table.links().is_empty(), "one too many came from there");
}

#[test]
fn a_host_that_comes_back_with_another_port_each_time_is_one_address() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    for round in 0..50u16 {
        let link = 1 + 2 * u32::from(round);
        let handshake = Handshake { extended: true, ..shake(hash, 7) };
        table.meet_at(link, public(66, 4000 + round), handshake);
        let listen_port = Some(6000 + round);
        table.hello(link, ExtensionHandshake { listen_port, ..ours() });
        table.lose(link);
    }
    assert_eq!(table.node.views()[0].known_peers, 1);
}

#[test]
fn a_later_handshake_without_names_takes_no_extension_back() {
    let mut table = Table::new(Version::V1, false);
    let hash = table.hash();
    table.meet_kin(1, hash, 1);
    table.hello(1, ExtensionHandshake::default());
    table.sent.clear();
    offer(&mut table, 1);
    let is_ours = |message: &&Message| {
        matches!(message, Message::Extended(extended)
        if matches!(**extended, Extended::Shoal(ShoalMessage::Requests(_))))
    };
    assert!(table.to(1).iter().any(is_ours), "{:?}", table.to(1));
}

#[test]
fn who_asks_on_and_on_while_choked_is_shut_out() {
    let mut table = Table::new(Version::V1, true);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    let request = BlockRequest { piece: 0, offset: 0, length: BLOCK_LEN };
    // A full queue that crossed a choke is nobody's fault.
    (0..500).for_each(|_| table.say(1, Message::Request(request)));
    assert_eq!(table.links(), [1]);
    (0..2000).for_each(|_| table.say(1, Message::Request(request)));
    assert!(table.links().is_empty());
}

#[test]
fn requests_that_are_taken_back_at_once_do_not_keep_the_disk_busy() {
    let mut table = Table::new(Version::V1, true);
    table.hold = |job| matches!(job, Job::Read { .. });
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    table.say(1, Message::Interested);
    let request = |index: u32| BlockRequest {
        piece: index % 24 / 4,
        offset: index % 4 * BLOCK_LEN,
        length: BLOCK_LEN,
    };
    let mut index = 0;
    while table.links() == [1] && index < 10_000 {
        table.say(1, Message::Request(request(index)));
        table.say(1, Message::Cancel(request(index)));
        index += 1;
        let reading: u32 = table
            .held
            .iter()
            .map(|(_, job)| if let Job::Read { length, .. } = **job { length } else { 0 })
            .sum();
        assert!(reading <= 512 * 1024, "{reading} bytes are read for a peer that wants none");
    }
    // A disk that keeps up would be kept busy for ever: that is noise.
    table.hold = |_| false;
    while !table.held.is_empty() {
        table.release();
    }
    for index in 0..3000 {
        table.say(1, Message::Request(request(index)));
        table.say(1, Message::Cancel(request(index)));
    }
    assert!(table.links().is_empty());
}

#[test]
fn a_read_that_failed_makes_room_for_the_next() {
    let (meta, content) = title(20 * PIECE as usize, PIECE, Version::V1);
    let mut table = Table::with(meta, content, true);
    table.hold = |job| matches!(job, Job::Read { .. });
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    table.say(1, Message::Interested);
    for index in 0..80 {
        let (piece, offset) = (index / 4, index % 4 * BLOCK_LEN);
        table.say(1, Message::Request(BlockRequest { piece, offset, length: BLOCK_LEN }));
    }
    // Nobody says anything more: each piece that is lost lets the next be read.
    let mut tried = BTreeSet::new();
    while !table.held.is_empty() {
        let (ticket, job) = table.held.remove(0);
        let Job::Read { offset, .. } = *job else { panic!("{job:?}") };
        tried.insert(offset / u64::from(PIECE));
        table.done(ticket, Outcome::Data(Bytes::new()));
    }
    assert_eq!(tried.len(), 20);
}

#[test]
fn a_question_whose_answer_must_be_computed_counts_once() {
    let mut table = Table::new(Version::V2, true);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    let root = table.info.files[0].pieces_root.expect("v2");
    let pieces = table.info.layout.piece_count();
    let range = |piece| HashRange {
        pieces_root: root,
        base_layer: 0,
        index: piece * 4,
        length: 4,
        proof_layers: 0,
    };
    let is_answer = |message: &&Message| matches!(message, Message::Hashes { .. });
    // The last piece is not whole, and its leaves are fewer.
    for question in 0..200 {
        table.say(1, Message::HashRequest(range(question % (pieces - 1)).into()));
    }
    // All that can be asked twice, and a few.
    let fair = 2 * (1 + pieces as usize) + 64;
    assert_eq!(table.to(1).into_iter().filter(is_answer).count(), fair);
}

#[test]
fn news_of_blocks_that_are_no_news_is_noise() {
    // A piece of a thousand blocks.
    let (meta, content) = title(40 << 20, 16 << 20, Version::V2);
    let mut table = Table::with(meta, content, false);
    let hash = table.hash();
    table.meet_kin(1, hash, 1);
    let span = BlockSpan { piece: 0, first: 0, count: 1024 };
    let message =
        || Message::Extended(Extended::Shoal(ShoalMessage::HaveBlocks(vec![span; 15])).into());
    let said = (0..1000).take_while(|_| {
        table.say(1, message());
        table.links() == [1]
    });
    let said = said.count();
    assert!((20..300).contains(&said), "{said}");
}

/// aria2 says again all that it has, after each piece, while that is shorter than a `have`.
#[test]
fn a_bitfield_with_news_is_as_good_as_many_haves_and_one_without_is_noise() {
    let (meta, content) = title(PIECE as usize * 60, PIECE, Version::V1);
    let mut table = Table::with(meta, content, true);
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    let mut field = Bitfield::new(60);
    let say = |table: &mut Table, field: &Bitfield| {
        table.say(1, Message::Bitfield(Bytes::copy_from_slice(field.as_bytes())));
        table.links() == [1]
    };
    for piece in 0..59 {
        field.set(piece);
        assert!(say(&mut table, &field), "{piece}");
    }
    let said = (0..100).take_while(|_| say(&mut table, &field)).count();
    assert!((10..25).contains(&said), "{said}");
    // Nor is it news that what was there is gone and has come again.
    table.meet(3, hash, 3, true);
    let said = (0..100).take_while(|round| {
        let told = if round % 2 == 0 { Bitfield::new(60) } else { field.clone() };
        table.say(3, Message::Bitfield(Bytes::copy_from_slice(told.as_bytes())));
        table.links().contains(&3)
    });
    let said = said.count();
    assert!((10..50).contains(&said), "{said}");
}

#[test]
fn hashes_that_nobody_asked_for_are_noise() {
    let (meta, content) = title(PIECE as usize * 4, PIECE, Version::V2);
    let mut table = Table::with(meta, content, true);
    let hash = table.hash();
    let root = table.info.files[0].pieces_root.expect("v2");
    for (link, reject) in [(1, true), (3, false)] {
        table.meet(link, hash, link as u8, true);
        let range =
            HashRange { pieces_root: root, base_layer: 2, index: 0, length: 2, proof_layers: 1 };
        let layer = table.info.layout.pieces().map(|piece| {
            let start = (piece.get() * PIECE) as usize;
            let blocks = table.disk[start..start + PIECE as usize].chunks(BLOCK_LEN as usize);
            let leaves: Vec<u8> = blocks.flat_map(|block| merkle::leaf(block).0).collect();
            merkle::subtree_root(&leaves, 0, 2).0
        });
        let layer: Vec<u8> = layer.collect::<Vec<_>>().concat();
        let uncle = merkle::subtree_root(&layer[64..], 2, 1).0;
        let hashes = Bytes::from([&layer[..64], &uncle[..]].concat());
        let message = || match reject {
            true => Message::HashReject(range.into()),
            false => Message::Hashes { range: range.into(), hashes: hashes.clone() },
        };
        let said = (0..1000).take_while(|_| {
            table.say(link, message());
            table.links() == [link]
        });
        let said = said.count();
        assert!((50..200).contains(&said), "{said}");
    }
}

/// Meets a remote that has the info dictionary, by a link that it opened.
fn meet_with_metadata(table: &mut Table, link: u32, size: u32) {
    let handshake = Handshake { extended: true, ..shake(table.hash(), link as u8) };
    table.meet_at(link, public(link as u8, 5000), handshake);
    table.hello(link, ExtensionHandshake { metadata_size: Some(size), ..ours() });
}

/// The pieces of the info dictionary that were asked for since the last call.
fn asked_metadata(table: &mut Table) -> Vec<(u32, u32)> {
    let sent = core::mem::take(&mut table.sent).into_iter();
    let asked = sent.filter_map(|(link, message)| match message {
        Message::Extended(extended) => match *extended {
            Extended::Metadata(MetadataMessage::Request { piece }) => Some((link.0, piece)),
            _ => None,
        },
        _ => None,
    });
    asked.collect()
}

fn metadata(piece: u32, total_size: u32, data: Bytes) -> Message {
    Message::Extended(Extended::Metadata(MetadataMessage::Data { piece, total_size, data }).into())
}

fn magnet(version: Version, names: fn(InfoHashes) -> InfoHashes) -> (Table, Metainfo) {
    let (meta, _) = title(400_000, PIECE, version);
    let hashes = names(meta.info.hashes);
    (Table::magnet(meta.clone(), hashes), meta)
}

#[test]
fn a_magnet_starts_though_four_refuse_and_four_drip() {
    let (mut table, meta) = magnet(Version::V1, |names| names);
    let raw = meta.info.raw.clone();
    let honest = 21;
    (1..=4).for_each(|peer| meet_with_metadata(&mut table, 2 * peer - 1, raw.len() as u32));
    (5..=8).for_each(|peer| meet_with_metadata(&mut table, 2 * peer - 1, 16 << 20));
    meet_with_metadata(&mut table, honest, raw.len() as u32);
    // Who drips is never silent for long, and never done.
    let mut owed: Vec<(u32, u32)> = Vec::new();
    for _ in 0..60 {
        for (link, piece) in
            core::mem::take(&mut owed).into_iter().chain(asked_metadata(&mut table))
        {
            let refused = MetadataMessage::Reject { piece };
            match link {
                1..=8 => table.say(link, Message::Extended(Extended::Metadata(refused).into())),
                9..=16 => owed.push((link, piece)),
                _ => table.say(link, metadata(piece, raw.len() as u32, raw.clone())),
            }
        }
        for link in [9, 11, 13, 15] {
            if let Some(index) = owed.iter().position(|entry| entry.0 == link) {
                let (_, piece) = owed.remove(index);
                table.say(link, metadata(piece, 16 << 20, vec![0; 16384].into()));
            }
        }
        if table.node.views()[0].ready {
            return;
        }
        table.pass(1);
    }
    panic!("it never started");
}

#[test]
fn a_hybrid_met_under_its_old_name_is_met_again_under_its_new_one() {
    let (mut table, meta) = magnet(Version::Hybrid, |names| InfoHashes { v2: None, ..names });
    let raw = meta.info.raw.clone();
    let [v1, v2] = meta.info.hashes.wire_hashes().collect::<Vec<_>>()[..] else {
        panic!("two names")
    };
    let peers = vec![public(1, 80), public(2, 80)];
    table.give(Input::Command(Command::Peers { title: world::TITLE, peers: peers.clone() }));
    let dialed = core::mem::take(&mut table.dialed);
    assert_eq!(dialed.len(), 2);
    for (&(link, remote), offers) in dialed.iter().zip([true, false]) {
        let id = link.0 as u8 + 1;
        let handshake = Handshake { extended: true, v2: offers, ..shake(v1, id) };
        table.meet_at(link.0, remote, handshake);
        let metadata_size = Some(raw.len() as u32);
        table.hello(link.0, ExtensionHandshake { metadata_size, ..ours() });
    }
    let (link, _) = asked_metadata(&mut table)[0];
    table.say(link, metadata(0, raw.len() as u32, raw));
    assert!(table.node.views()[0].ready);
    assert_eq!(table.closed, [(dialed[0].0, CloseReason::Upgrade)]);
    let [(again, remote)] = table.dialed[..] else { panic!("{:?}", table.dialed) };
    assert_eq!(remote, dialed[0].1);
    table.sent.clear();
    table.meet_at(again.0, remote, Handshake { v2: true, ..shake(v2, 1) });
    offer(&mut table, again.0);
    let asks = |message: &&Message| matches!(message, Message::HashRequest(_));
    assert!(table.to(again.0).iter().any(asks), "{:?}", table.to(again.0));
}

#[test]
fn a_magnet_that_proves_private_leaves_whom_only_neighbours_named() {
    let (mut meta, _) = title(400_000, PIECE, Version::V1);
    // A key more in the dictionary, in its place at the end of an ordered list.
    let mut raw = meta.info.raw.to_vec();
    assert_eq!(raw.pop(), Some(b'e'));
    raw.extend_from_slice(b"7:privatei1ee");
    meta.info = shoal_wire::metainfo::Info::parse(&raw.into()).expect("a title");
    assert!(meta.info.private);
    let raw = meta.info.raw.clone();
    let names = meta.info.hashes;
    let mut table = Table::magnet(meta, names);
    meet_with_metadata(&mut table, 1, raw.len() as u32);
    let (link, piece) = asked_metadata(&mut table)[0];
    let peer = |host| PexPeer { addr: public(host, 80), flags: 0 };
    let told = PexMessage { added: vec![peer(101), peer(102)], dropped: Vec::new() };
    table.say(1, Message::Extended(Extended::Pex(told).into()));
    let dialed = table.dialed.clone();
    assert_eq!(dialed.len(), 2, "nobody knows yet");
    let hash = table.hash();
    table.meet_at(dialed[0].0.0, dialed[0].1, shake(hash, 101));
    table.say(link, metadata(piece, raw.len() as u32, raw));
    assert!(table.node.views()[0].ready);
    assert_eq!(table.links(), [1], "who came to us may have us from a tracker");
    assert!(table.closed.iter().any(|closed| closed.0 == dialed[1].0), "nor is it waited for");
    assert_eq!(table.node.views()[0].known_peers, 0);
}
