//! The SHA-256 tree of BEP 52: leaves are the hashes of 16 KiB blocks, a piece is a subtree, a file a tree.
//!
//! **Does**: hashes blocks into a tree ([`FileHasher`], [`subtree_root`]), makes requests for hashes ([`TreeShape`]),
//! answers them from what is known ([`answer`]) and checks answers ([`verify`]).
//! **Refuses**: to keep hashes, but for the layers above a piece layer ([`Upper`]), from which proofs are made. The caller stores
//! a file's piece layer, and the leaves of the pieces it works on.
//!
//! Layers count from 0, the leaves, up to [`TreeShape::height`], the root (`pieces root`). A tree is as wide as the next
//! power of two of its blocks; missing leaves are 32 zero bytes, so the missing nodes above are those of [`pad_hash`].
//! A list of hashes is a byte string of 32 bytes each, as it stands in torrent files and messages.

mod hasher;
mod proof;
mod shape;
mod upper;

use alloc::vec::Vec;
use sha2::{Digest, Sha256};

pub use hasher::{FileHasher, FileTree, PieceHasher};
pub use proof::{
    answer, answer_cost, answer_len, answer_top, answer_with, is_valid, needs_upper, pieces_needed,
    uncle_count, verify,
};
pub use shape::{LAYER_REQUEST_HASHES, MAX_REQUEST_HASHES, TreeShape};
pub use upper::Upper;

use crate::Hash32;

/// Bytes of one hash.
pub const HASH_LEN: usize = 32;

/// Leaf hash of a block: SHA-256 of its bytes, the last block of a file unpadded.
#[must_use]
pub fn leaf(block: &[u8]) -> Hash32 {
    Hash32(Sha256::digest(block).into())
}

/// Hash of a node over its two children.
#[must_use]
pub fn parent(left: &Hash32, right: &Hash32) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update(left.0);
    hasher.update(right.0);
    Hash32(hasher.finalize().into())
}

/// Hash of a node at `layer` under which there are only missing leaves. O(layer).
#[must_use]
pub fn pad_hash(layer: u32) -> Hash32 {
    (0..layer).fold(Hash32([0; 32]), |below, _| parent(&below, &below))
}

/// The hashes of a list; bytes behind the last whole one are ignored.
pub fn hashes(list: &[u8]) -> impl DoubleEndedIterator<Item = Hash32> + ExactSizeIterator + '_ {
    list.chunks_exact(HASH_LEN).map(|chunk| Hash32::from_slice(chunk).unwrap_or_default())
}

/// Hash `index` of a list.
#[must_use]
pub fn hash_at(list: &[u8], index: usize) -> Option<Hash32> {
    let start = index.checked_mul(HASH_LEN)?;
    list.get(start..start.checked_add(HASH_LEN)?).and_then(Hash32::from_slice)
}

/// Root of the subtree whose leftmost nodes at `layer` are `list`, `levels` layers further up. What is missing on the right
/// is padding; what is beyond the subtree's width is ignored. O(hashes).
#[must_use]
pub fn subtree_root(list: &[u8], layer: u32, levels: u32) -> Hash32 {
    let mut pad = pad_hash(layer);
    let pads = core::iter::repeat_with(|| {
        let above = parent(&pad, &pad);
        core::mem::replace(&mut pad, above)
    });
    fold(list, levels, pads)
}

/// As [`subtree_root`], with the hashes of padding from the layer of `list` on.
fn fold(list: &[u8], levels: u32, pads: impl IntoIterator<Item = Hash32>) -> Hash32 {
    let width = 1usize.checked_shl(levels).unwrap_or(usize::MAX);
    let mut row: Vec<Hash32> = hashes(list).take(width).collect();
    let mut pads = pads.into_iter();
    for pad in pads.by_ref().take(levels as usize) {
        halve(&mut row, &pad);
    }
    row.first().copied().or_else(|| pads.next()).unwrap_or_default()
}

/// [`pad_hash`] of all layers of a tree, computed once.
#[derive(Clone, Debug)]
struct Pads(Vec<Hash32>);

impl Pads {
    fn new(height: u32) -> Self {
        let up = core::iter::successors(Some(Hash32([0; 32])), |pad| Some(parent(pad, pad)));
        Self(up.take(height as usize + 1).collect())
    }
    fn at(&self, layer: u32) -> Hash32 {
        self.0.get(layer as usize).copied().unwrap_or_default()
    }
    fn subtree_root(&self, list: &[u8], layer: u32, levels: u32) -> Hash32 {
        fold(list, levels, self.0.iter().copied().skip(layer as usize))
    }
}

/// Replaces a row of nodes by the row above it, in place.
fn halve(row: &mut Vec<Hash32>, pad: &Hash32) {
    if !row.len().is_multiple_of(2) {
        row.push(*pad);
    }
    let half = row.len() / 2;
    for index in 0..half {
        if let (Some(left), Some(right)) = (row.get(2 * index), row.get(2 * index + 1)) {
            let above = parent(left, right);
            if let Some(slot) = row.get_mut(index) {
                *slot = above;
            }
        }
    }
    row.truncate(half);
}

#[cfg(test)]
mod tests;
