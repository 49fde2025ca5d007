//! The SHA-256 tree of BEP 52: leaves are the hashes of 16 KiB blocks, a piece is a subtree, a file a tree.
//!
//! **Does**: hashes blocks into a tree ([`FileHasher`], [`subtree_root`]), makes requests for hashes ([`TreeShape`]),
//! answers them from what is known ([`answer`]) and checks answers ([`verify`]).
//! **Refuses**: to keep hashes. The caller stores a file's piece layer, and the leaves of the pieces it works on.
//!
//! Layers count from 0, the leaves, up to [`TreeShape::height`], the root (`pieces root`). A tree is as wide as the next
//! power of two of its blocks; missing leaves are 32 zero bytes, so the missing nodes above are those of [`pad_hash`].
//! A list of hashes is a byte string of 32 bytes each, as it stands in torrent files and messages.

mod hasher;
mod proof;
mod shape;

use alloc::vec::Vec;
use sha2::{Digest, Sha256};

pub use hasher::{FileHasher, FileTree, PieceHasher};
pub use proof::{answer, answer_len, answer_top, is_valid, pieces_needed, uncle_count, verify};
pub use shape::{MAX_REQUEST_HASHES, TreeShape};

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
    let width = 1usize.checked_shl(levels).unwrap_or(usize::MAX);
    let mut row: Vec<Hash32> = hashes(list).take(width).collect();
    let mut pad = pad_hash(layer);
    for _ in 0..levels {
        halve(&mut row, &pad);
        pad = parent(&pad, &pad);
    }
    row.first().copied().unwrap_or(pad)
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
