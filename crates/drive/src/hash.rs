//! SHA-1 of v1 pieces, SHA-256 leaves of v2 files (BEP 3, BEP 52). Trees over leaves are in `wire::merkle`.
//!
//! Which crates and why: `docs/decisions/hash-crates.md`. All of it runs on the threads of [`crate::pool`].

use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest, Sha256};
pub use shoal_wire::merkle::HASH_LEN;
use shoal_wire::merkle::subtree_root;
use shoal_wire::{Hash20, Hash32};

/// Bytes of a v2 leaf.
pub const LEAF_LEN: usize = shoal_wire::peer::BLOCK_LEN as usize;

/// A page of zeros: padding is hashed from it.
static ZEROS: [u8; 4096] = [0; 4096];

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> Hash32 {
    Hash32(Sha256::digest(data).into())
}

/// SHA-1 of `data`.
#[must_use]
pub fn sha1(data: &[u8]) -> Hash20 {
    Hash20(Sha1::digest(data).into())
}

/// SHA-1 of consecutive `parts` followed by `padding` zero bytes.
#[must_use]
pub fn sha1_parts(parts: &[Bytes], padding: u32) -> Hash20 {
    let mut state = Sha1::new();
    parts.iter().for_each(|part| state.update(part));
    let mut left = padding as usize;
    while left > 0 {
        let part = left.min(ZEROS.len());
        state.update(&ZEROS[..part]);
        left -= part;
    }
    Hash20(state.finalize().into())
}

/// SHA-256 of each 16 KiB of `data`, the last one shorter.
pub fn leaves(data: &[u8]) -> impl Iterator<Item = Hash32> + '_ {
    data.chunks(LEAF_LEN).map(sha256)
}

/// Merkle root over the leaves of consecutive blocks, filled up with zero hashes to `leaves`, a power of two.
#[must_use]
pub fn tree_root(blocks: &[Bytes], leaves: u32) -> Hash32 {
    let list: Vec<u8> = blocks.iter().flat_map(|block| sha256(block).0).collect();
    subtree_root(&list, 0, leaves.max(1).next_power_of_two().ilog2())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_of_the_standards_are_reproduced() {
        assert_eq!(sha1(b"abc").to_string(), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(
            sha256(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn padding_hashes_like_zeros_that_are_there() {
        let mut whole = b"film".to_vec();
        whole.resize(4 + 10_000, 0);
        let parts = [Bytes::from_static(b"fi"), Bytes::from_static(b"lm")];
        assert_eq!(sha1_parts(&parts, 10_000), sha1(&whole));
    }
}
