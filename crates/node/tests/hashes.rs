//! Questions for hashes of large trees: answered rightly, and never with much hashing in one turn.

#[expect(dead_code, reason = "another file of tests needs it")]
mod world;

#[expect(dead_code, reason = "every file of tests uses another part of the table")]
mod table;

use shoal_wire::merkle::{self, HASH_LEN, TreeShape};
use shoal_wire::metainfo::{FileEntry, Info, Layout, Metainfo};
use shoal_wire::peer::{HashRange, Message};
use shoal_wire::{Hash32, InfoHashes};
use table::Table;

const PIECE: u32 = 16 * 1024;
const PIECES: u32 = 40_000;

/// A seed of a title whose only file has a tree of 40,000 pieces.
fn large() -> (Table, TreeShape, Hash32, Vec<u8>) {
    let length = u64::from(PIECES) * u64::from(PIECE);
    let shape = TreeShape::new(length, PIECE).expect("a shape");
    let layer: Vec<u8> =
        (0..PIECES).flat_map(|piece| merkle::leaf(&piece.to_be_bytes()).0).collect();
    let root = merkle::subtree_root(&layer, 0, shape.height());
    let info = Info {
        hashes: InfoHashes { v1: None, v2: Some(Hash32([2; 32])) },
        raw: bytes::Bytes::new(),
        name: "film.mp4".into(),
        folder: false,
        files: vec![FileEntry {
            path: vec!["film.mp4".into()],
            length,
            start: 0,
            pieces_root: Some(root),
        }],
        layout: Layout::new(PIECE, length, Vec::new()).expect("few pieces"),
        piece_hashes: bytes::Bytes::new(),
        private: false,
        slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
        time_indexes: Vec::new(),
    };
    let meta = Metainfo {
        info,
        trackers: Vec::new(),
        web_seeds: Vec::new(),
        piece_layers: vec![(root, layer.clone().into())],
        comment: None,
        created_by: None,
        created_unix_s: None,
    };
    (Table::with(meta, Vec::new(), true), shape, root, layer)
}

fn answers(table: &mut Table, link: u32) -> Vec<(HashRange, Option<Vec<u8>>)> {
    let sent = core::mem::take(&mut table.sent);
    let (mine, others): (Vec<_>, Vec<_>) = sent.into_iter().partition(|(to, _)| to.0 == link);
    table.sent = others;
    mine.into_iter()
        .filter_map(|(_, message)| match message {
            Message::Hashes { range, hashes } => Some((*range, Some(hashes.to_vec()))),
            Message::HashReject(range) => Some((*range, None)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_first_proof_is_made_in_steps_and_later_ones_cost_nothing() {
    let (mut table, shape, root, layer) = large();
    let hash = table.hash();
    table.meet(1, hash, 1, true);
    let mut ranges = shape.layer_requests(root);
    let first = ranges.next().expect("one");
    table.say(1, Message::HashRequest(first.into()));
    assert!(answers(&mut table, 1).is_empty(), "40,000 hashes in one turn");
    // Twenty steps of 2,048 hashes, four milliseconds between them.
    table.pass_ms(60);
    assert!(answers(&mut table, 1).is_empty());
    table.pass_ms(40);
    let expect = |range| merkle::answer(&shape, &range, &layer, |_| None::<Vec<u8>>);
    assert!(answers(&mut table, 1) == [(first, expect(first))]);
    for range in ranges {
        table.say(1, Message::HashRequest(range.into()));
        let said = answers(&mut table, 1);
        assert!(said == [(range, expect(range))], "{range:?}");
        assert!(merkle::verify(&shape, &range, said[0].1.as_ref().expect("an answer"), &[]));
    }
}

#[test]
fn expensive_questions_wait_and_each_peer_has_its_share_of_places() {
    let (mut table, _, pieces_root, layer) = large();
    let hash = table.hash();
    for link in [1, 3] {
        table.meet(link, hash, link as u8, true);
    }
    // Three hashes for each of 1,024 nodes that nobody keeps, many times; and what no answer may cost.
    let base = |base_layer, length, index| HashRange {
        pieces_root,
        base_layer,
        index,
        length,
        proof_layers: 0,
    };
    for _ in 0..100 {
        table.say(1, Message::HashRequest(base(2, 1024, 0).into()));
    }
    table.say(3, Message::HashRequest(base(2, 4096, 0).into()));
    table.say(3, Message::HashRequest(base(2, 1024, 1024).into()));
    table.say(3, Message::HashRequest(base(0, 512, 0).into()));
    let refused = answers(&mut table, 1);
    assert_eq!(refused.len(), 100 - 64);
    assert!(refused.iter().all(|(_, list)| list.is_none()));
    // What is refused, or costs nothing, does not wait.
    let cheap = layer[..512 * HASH_LEN].to_vec();
    let expect = [(base(2, 4096, 0), None), (base(0, 512, 0), Some(cheap))];
    assert!(answers(&mut table, 3) == expect, "the cheap one waits behind others");
    for _ in 0..64 {
        table.pass_ms(4);
        assert_eq!(answers(&mut table, 1).len(), 1, "one a step");
    }
    assert!(answers(&mut table, 3).is_empty());
    table.pass_ms(4);
    let nodes = (1024..2048u32).flat_map(|index| {
        let from = (index << 2) as usize * HASH_LEN;
        merkle::subtree_root(&layer[from..], 0, 2).0
    });
    let expect = [(base(2, 1024, 1024), Some(nodes.collect()))];
    assert!(answers(&mut table, 3) == expect);
    assert_eq!(table.links(), [1, 3]);
}
