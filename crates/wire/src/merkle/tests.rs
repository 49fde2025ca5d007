use alloc::vec::Vec;

use proptest::prelude::*;
use sha1::{Digest as _, Sha1};

use super::*;
use crate::peer::{BLOCK_LEN, HashRange};

/// A whole tree, the slow way: every layer with all its padding, leaves first.
struct Whole {
    layers: Vec<Vec<Hash32>>,
}

impl Whole {
    fn new(content: &[u8]) -> Self {
        let mut leaves: Vec<Hash32> = content.chunks(BLOCK_LEN as usize).map(leaf).collect();
        leaves.resize(leaves.len().next_power_of_two(), Hash32([0; 32]));
        let mut layers = alloc::vec![leaves];
        while layers.last().unwrap().len() > 1 {
            let above = layers.last().unwrap().chunks(2).map(|p| parent(&p[0], &p[1])).collect();
            layers.push(above);
        }
        Self { layers }
    }
    fn root(&self) -> Hash32 {
        self.layers.last().unwrap()[0]
    }
    fn answer(&self, range: &HashRange) -> Vec<u8> {
        let (from, to) = (range.index as usize, (range.index + range.length) as usize);
        let mut list = self.layers[range.base_layer as usize][from..to].to_vec();
        // BEP 52: of the proof layers those that the base hashes give are left out.
        let mut node = from;
        for above in 1..=range.proof_layers {
            node /= 2;
            if 1 << above >= range.length {
                list.push(self.layers[(range.base_layer + above) as usize][node ^ 1]);
            }
        }
        list.iter().flat_map(|hash| hash.0).collect()
    }
}

fn content(blocks: usize, tail: usize) -> Vec<u8> {
    let length = (blocks - 1) * BLOCK_LEN as usize + tail;
    (0..length).map(|i| (i % 251) as u8 ^ (i >> 14) as u8).collect()
}

/// Tree, shape and hasher's result for a file.
fn file(bytes: &[u8], piece_length: u32) -> (Whole, TreeShape, FileTree) {
    let mut hasher = FileHasher::new(bytes.len() as u64, piece_length).unwrap();
    bytes.chunks(50_001).for_each(|part| hasher.update(part));
    let shape = TreeShape::new(bytes.len() as u64, piece_length).unwrap();
    (Whole::new(bytes), shape, hasher.finish().unwrap())
}

fn leaves_of(whole: &Whole, shape: &TreeShape, piece: u32) -> Vec<u8> {
    let per_piece = shape.blocks_per_piece() as usize;
    let all = &whole.layers[0][..shape.leaf_count() as usize];
    let own = all.chunks(per_piece).nth(piece as usize).unwrap_or(&[]);
    own.iter().flat_map(|hash| hash.0).collect()
}

#[test]
fn pad_hashes_are_those_of_a_tree_of_zeros() {
    assert_eq!(pad_hash(0), Hash32([0; 32]));
    // SHA-256 of 64 zero bytes.
    let one = Hash32::from_hex("f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
    assert_eq!(Some(pad_hash(1)), one);
    assert_eq!(pad_hash(5), subtree_root(&[0; 32 * 32], 0, 5));
    assert_eq!(pad_hash(5), subtree_root(&[], 2, 3));
}

#[test]
fn a_file_of_one_block_has_its_leaf_as_root() {
    let (whole, shape, tree) = file(b"x", 1 << 16);
    assert_eq!(tree.root, Some(leaf(b"x")));
    assert_eq!(whole.root(), leaf(b"x"));
    assert!(tree.piece_layer.is_empty() && !shape.has_piece_layer());
    assert_eq!((shape.height(), shape.piece_node_layer(), shape.piece_count()), (0, 0, 1));
    assert!(shape.leaf_request(leaf(b"x"), 0).is_none());
}

#[test]
fn empty_files_have_no_tree_and_wrong_lengths_are_noticed() {
    assert_eq!(FileHasher::new(0, 1 << 14).unwrap().finish(), Some(FileTree::default()));
    assert_eq!(TreeShape::new(0, 1 << 14), None);
    assert_eq!(TreeShape::new(1, 20_000), None);
    assert_eq!(TreeShape::new(1, 8192), None);
    assert_eq!(TreeShape::new(u64::MAX, 1 << 14), None);
    for (length, fed) in [(0, 1), (1, 2), (2, 1), (100_000, 60_000), (20_000, 40_000)] {
        let mut wrong = FileHasher::new(length, 1 << 14).unwrap();
        wrong.update(&alloc::vec![0; fed]);
        assert!(wrong.finish().is_none(), "{length} {fed}");
    }
}

#[test]
fn uncles_begin_above_the_common_ancestor_of_the_base_hashes() {
    let range = |length, proof_layers| HashRange {
        pieces_root: Hash32::default(),
        base_layer: 0,
        index: 0,
        length,
        proof_layers,
    };
    // BEP 52: with 512 hashes the eight layers that follow from them are left out.
    assert_eq!(uncle_count(&range(512, 10)), 2);
    assert_eq!(uncle_count(&range(512, 8)), 0);
    assert_eq!(uncle_count(&range(2, 3)), 3);
    assert_eq!(uncle_count(&range(2, 0)), 0);
    assert_eq!(answer_len(&range(4, 3)), 6 * 32);
    assert_eq!(uncle_count(&range(0, 0)), 0);
}

#[test]
fn requests_that_make_no_sense_are_not_answered() {
    let (whole, shape, tree) = file(&content(40, 9), 1 << 16);
    let range = HashRange {
        pieces_root: whole.root(),
        base_layer: 2,
        index: 4,
        length: 4,
        proof_layers: 3,
    };
    let reply = |range: &HashRange| {
        answer(&shape, range, &tree.piece_layer, |piece| Some(leaves_of(&whole, &shape, piece)))
    };
    assert_eq!(shape.height(), 6);
    assert_eq!(reply(&range), Some(whole.answer(&range)));
    for bad in [
        HashRange { length: 1, ..range },
        HashRange { length: 3, index: 3, ..range },
        HashRange { length: 0, ..range },
        HashRange { index: 2, ..range },
        HashRange { index: 16, ..range },
        HashRange { index: u32::MAX - 3, ..range },
        HashRange { length: 32, index: 0, ..range },
        HashRange { length: 1 << 31, index: 0, ..range },
        HashRange { base_layer: 6, ..range },
        HashRange { base_layer: u32::MAX, ..range },
        HashRange { proof_layers: 4, ..range },
        HashRange { proof_layers: u32::MAX, ..range },
    ] {
        assert_eq!(reply(&bad), None, "{bad:?}");
        assert!(!verify(&shape, &bad, &[0; 256], &tree.piece_layer));
        assert!(pieces_needed(&shape, &bad).is_empty());
    }
}

#[test]
fn the_leaves_of_each_piece_are_checked_against_the_known_piece_hash() {
    for (blocks, piece_length) in
        [(40, 1 << 16), (3, 1 << 16), (4, 1 << 16), (5, 1 << 16), (9, 1 << 15)]
    {
        let (whole, shape, tree) = file(&content(blocks, 100), piece_length);
        for piece in 0..shape.piece_count() {
            let range = shape.leaf_request(whole.root(), piece).unwrap();
            assert_eq!(range.proof_layers, 0);
            let needed = pieces_needed(&shape, &range);
            assert_eq!(needed, piece..piece + 1);
            let list = answer(&shape, &range, &tree.piece_layer, |piece| {
                Some(leaves_of(&whole, &shape, piece))
            });
            let mut list = list.unwrap();
            assert_eq!(list, whole.answer(&range));
            assert!(verify(&shape, &range, &list, &tree.piece_layer));
            list[7] ^= 1;
            assert!(!verify(&shape, &range, &list, &tree.piece_layer));
        }
        assert!(shape.leaf_request(whole.root(), shape.piece_count()).is_none());
    }
}

#[test]
fn leaves_without_proof_are_not_trusted_before_the_piece_layer_is_known() {
    let (whole, shape, _) = file(&content(40, 100), 1 << 16);
    let range = shape.leaf_request(whole.root(), 3).unwrap();
    assert!(!verify(&shape, &range, &whole.answer(&range), &[]));
    // Nor does silence about leaves become an answer.
    assert_eq!(answer(&shape, &range, &[], |_| None::<Vec<u8>>), None);
    let layer = shape.layer_request(whole.root(), 0).unwrap();
    assert_eq!(answer(&shape, &layer, &[], |_| None::<Vec<u8>>), None);
}

#[test]
fn the_piece_layer_is_fetched_in_parts_each_proven_to_the_root() {
    // 1,300 pieces of one block: three requests of 512, uncles above them.
    let bytes = alloc::vec![7u8; 1300 * BLOCK_LEN as usize];
    let (whole, shape, tree) = file(&bytes, 1 << 14);
    let ranges: Vec<_> = shape.layer_requests(whole.root()).collect();
    assert_eq!(ranges.iter().map(|range| range.index).collect::<Vec<_>>(), [0, 512, 1024]);
    let mut got = Vec::new();
    for range in &ranges {
        assert!(pieces_needed(&shape, range).is_empty());
        let list = answer(&shape, range, &tree.piece_layer, |_| None::<Vec<u8>>).unwrap();
        assert_eq!(list, whole.answer(range));
        assert!(verify(&shape, range, &list, &[]));
        got.extend_from_slice(&list[..512 * 32]);
    }
    got.truncate(1300 * 32);
    assert_eq!(got, tree.piece_layer);
    assert!(shape.check_piece_layer(&whole.root(), &got));
    assert!(!shape.check_piece_layer(&whole.root(), &got[32..]));
}

#[test]
fn the_cost_of_an_answer_is_known_before() {
    // 100,000 pieces of four blocks.
    let shape = TreeShape::new(100_000 << 16, 1 << 16).unwrap();
    assert_eq!((shape.height(), shape.piece_layer()), (19, 2));
    let pieces_root = Hash32::default();
    let cost = |base_layer, length, proof_layers| {
        let range = HashRange { pieces_root, base_layer, index: 0, length, proof_layers };
        (answer_cost(&shape, &range), needs_upper(&shape, &range))
    };
    // A part of the piece layer with its proof; the leaves of a piece without; the same with a proof to the root.
    assert_eq!(cost(2, 512, 16), (0, true));
    assert_eq!(cost(0, 4, 0), (0, false));
    assert_eq!(cost(0, 4, 18), (1 + 3 + 7, true));
    // What nobody asks for.
    assert_eq!(cost(5, 8192, 0), (8192 * 7, false));
    assert_eq!(cost(6, 8192, 0), (0, true));
    assert_eq!(cost(1, 8192, 0), (8192, false));
    assert_eq!(cost(30, 8192, 0), (0, false));
}

#[test]
fn v1_pieces_are_hashed_with_their_padding() {
    let mut hasher = PieceHasher::new();
    hasher.update(b"abc");
    hasher.update_zeros(10_000);
    let padded = [&b"abc"[..], &[0; 10_000]].concat();
    assert_eq!(hasher.finish().0[..], Sha1::digest(&padded)[..]);
    assert_eq!(hasher.finish().0[..], Sha1::digest(b"")[..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_answer_is_that_of_the_whole_tree_and_proves_itself(
        blocks in 1usize..70, tail in 1usize..=16_384, piece in 14u32..19,
        layer in 0u32..8, length in 1u32..7, index in 0u32..64, proof in 0u32..8, spoil in any::<prop::sample::Index>())
    {
        let (whole, shape, tree) = file(&content(blocks, tail), 1 << piece);
        prop_assert_eq!(tree.root, Some(whole.root()));
        let length = 1 << length;
        let range = HashRange {
            pieces_root: whole.root(), base_layer: layer, index: index / length * length, length, proof_layers: proof,
        };
        let reply = answer(&shape, &range, &tree.piece_layer, |piece| {
            assert!(pieces_needed(&shape, &range).contains(&piece));
            Some(leaves_of(&whole, &shape, piece))
        });
        let mut upper = Upper::new(shape);
        while !upper.build(&tree.piece_layer, 16) {}
        let kept = answer_with(&shape, &range, &tree.piece_layer, Some(&upper), |piece| {
            Some(leaves_of(&whole, &shape, piece))
        });
        prop_assert_eq!(&kept, &reply);
        prop_assert_eq!(reply.is_some(), is_valid(&shape, &range));
        let Some(mut list) = reply else { return Ok(()) };
        prop_assert_eq!(&list, &whole.answer(&range));
        let (top_layer, top_index, top) = answer_top(&shape, &range, &list).unwrap();
        prop_assert_eq!(top, whole.layers[top_layer as usize][top_index as usize]);
        let known = top_layer == shape.height() || (top_layer == shape.piece_layer() && shape.has_piece_layer());
        prop_assert_eq!(verify(&shape, &range, &list, &tree.piece_layer), known);
        let at = spoil.index(list.len());
        list[at] ^= 0x10;
        prop_assert!(!verify(&shape, &range, &list, &tree.piece_layer));
    }

    #[test]
    fn hashing_in_any_parts_gives_the_same_tree(
        length in 0u64..200_000, piece in 14u32..18, parts in prop::collection::vec(1usize..60_000, 1..8))
    {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
        let mut hasher = FileHasher::new(length, 1 << piece).unwrap();
        let mut rest = &bytes[..];
        for part in parts.iter().cycle() {
            let (now, then) = rest.split_at((*part).min(rest.len()));
            hasher.update(now);
            rest = then;
            if rest.is_empty() { break; }
        }
        let tree = hasher.finish().unwrap();
        match TreeShape::new(length, 1 << piece) {
            Some(shape) => {
                let pieces: Vec<u8> = bytes
                    .chunks(1 << piece)
                    .flat_map(|bytes| FileHasher::piece_hash(&shape, bytes).0)
                    .collect();
                prop_assert_eq!(Some(tree.clone()), FileTree::from_pieces(&shape, pieces));
                prop_assert_eq!(tree.root, Some(Whole::new(&bytes).root()));
            }
            None => prop_assert_eq!(tree, FileTree::default()),
        }
    }
}
