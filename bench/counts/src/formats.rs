//! Cases of `shoal-wire`: what every message and every torrent goes through.

use std::hint::black_box;

use bytes::{BufMut, Bytes, BytesMut};
use shoal_wire::Hash32;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle::{self, FileTree, TreeShape};
use shoal_wire::metainfo::{Metainfo, TitleExtras, TitleHashes, TitlePlan, Version};
use shoal_wire::peer::{
    BLOCK_LEN, BlockRequest, Decoded, ExtensionIds, Message, decode, encode_prefix, whole_frames,
};

use crate::counted;

/// Piece length of all titles here, bytes.
pub(crate) const PIECE_LEN: u32 = 256 << 10;
const BLOCKS_PER_PIECE: u32 = PIECE_LEN / BLOCK_LEN;
/// Repetitions of the short cases, so that what surrounds them does not weigh.
const ROUNDS: u64 = 100;

/// A title of one file of zeros: its metadata, and the leaf hash of every block.
pub(crate) fn title(pieces: u32, version: Version) -> (Metainfo, Hash32) {
    let length = u64::from(pieces) * u64::from(PIECE_LEN);
    let name = "film.bin";
    let files = [(vec![name.to_owned()], length)];
    let plan =
        TitlePlan::new(name, false, &files, PIECE_LEN, version).expect("a title of one file");
    let leaf = merkle::leaf(&[0; BLOCK_LEN as usize]);
    let mut hashes = TitleHashes::default();
    if version.has_v1() {
        hashes.pieces = vec![7; pieces as usize * 20];
    }
    if version.has_v2() {
        let leaves = leaf.0.repeat(BLOCKS_PER_PIECE as usize);
        let root = merkle::subtree_root(&leaves, 0, BLOCKS_PER_PIECE.ilog2());
        let shape = TreeShape::new(length, PIECE_LEN).expect("the file is not empty");
        let tree = FileTree::from_pieces(&shape, root.0.repeat(pieces as usize));
        hashes.trees.push(tree.expect("a hash for each piece"));
    }
    (plan.finish(&hashes, &TitleExtras::default()).expect("all hashes are there"), leaf)
}

/// What a leech sends and gets for one piece: requests, blocks, a `have`.
fn messages(piece: u32) -> impl Iterator<Item = Message> {
    let offsets = (0..BLOCKS_PER_PIECE).map(|block| block * BLOCK_LEN);
    let requests = offsets
        .clone()
        .map(move |offset| Message::Request(BlockRequest { piece, offset, length: BLOCK_LEN }));
    let data = Bytes::from_static(&[0; BLOCK_LEN as usize]);
    let blocks = offsets.map(move |offset| Message::Piece { piece, offset, data: data.clone() });
    requests.chain(blocks).chain([Message::Have { piece }])
}

/// The bytes of [`messages`], and their number.
fn stream() -> (Bytes, u64) {
    let mut out = BytesMut::new();
    let mut count = 0;
    for message in messages(3) {
        count += 1;
        if let Some(data) = encode_prefix(&message, &ExtensionIds::OURS, &mut out) {
            out.put_slice(&data);
        }
    }
    (out.freeze(), count)
}

/// Takes the messages of a piece's stream from it.
pub(crate) fn decode_stream() -> u64 {
    let (bytes, count) = stream();
    for _ in 0..ROUNDS {
        let mut buffer = bytes.clone();
        let mut taken = 0;
        counted(|| {
            while let Ok(Decoded::Message(message)) = decode(&mut buffer, true) {
                black_box(message);
                taken += 1;
            }
        });
        assert!(taken == count && buffer.is_empty(), "all of it is messages");
    }
    ROUNDS * count
}

/// Turns the messages of a piece into bytes, film bytes left aside.
pub(crate) fn encode_stream() -> u64 {
    let list: Vec<Message> = messages(3).collect();
    let mut out = BytesMut::with_capacity(4096);
    for _ in 0..ROUNDS {
        out.clear();
        counted(|| {
            for message in &list {
                black_box(encode_prefix(message, &ExtensionIds::OURS, &mut out));
            }
        });
        assert!(!out.is_empty(), "something was written");
    }
    ROUNDS * list.len() as u64
}

/// Finds where the frames of a piece's stream end.
pub(crate) fn find_frames() -> u64 {
    let (bytes, count) = stream();
    for _ in 0..ROUNDS {
        let framing = counted(|| whole_frames(&bytes, true)).expect("a valid stream");
        assert_eq!(framing.whole, bytes.len());
    }
    ROUNDS * count
}

/// Parses the torrent of a film of 1 GiB: bencode, names, layout, piece layers.
pub(crate) fn parse_torrent(version: Version) -> u64 {
    const PIECES: u32 = 4096;
    let file = Bytes::from(title(PIECES, version).0.encode());
    let parsed = counted(|| Metainfo::parse(&file)).expect("our own torrent");
    assert_eq!(parsed.info.layout.piece_count(), PIECES);
    u64::from(PIECES)
}

/// Verifies a remote's answer with the leaf hashes of a piece. Mostly SHA-256, which under valgrind lacks the CPU's own
/// instructions.
pub(crate) fn check_leaves() -> u64 {
    const PIECES: u32 = 64;
    let (meta, leaf) = title(PIECES, Version::V2);
    let (root, layer) = meta.piece_layers.first().expect("a file of many pieces has a layer");
    let shape = TreeShape::new(meta.info.length(), PIECE_LEN).expect("the file is not empty");
    let list = leaf.0.repeat(BLOCKS_PER_PIECE as usize);
    let mut right = Bitfield::new(PIECES);
    for piece in 0..PIECES {
        let range = shape.leaf_request(*root, piece).expect("a piece of 16 blocks");
        if counted(|| merkle::verify(&shape, &range, &list, layer)) {
            right.set(piece);
        }
    }
    assert_eq!(right.ones(), PIECES, "every answer is right");
    u64::from(PIECES)
}
