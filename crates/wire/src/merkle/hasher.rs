//! Incremental hashing of what is published: bytes in, trees and piece hashes out. No files, no threads.

use alloc::vec::Vec;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::{TreeShape, subtree_root};
use crate::peer::BLOCK_LEN;
use crate::{Hash20, Hash32};

/// What is published of one file's tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileTree {
    /// `pieces root`; `None` for an empty file.
    pub root: Option<Hash32>,
    /// The piece layer, 32 bytes a piece; empty when the file is at most one piece.
    pub piece_layer: Vec<u8>,
}

impl FileTree {
    /// The tree over `piece_hashes`: for each piece in order what [`FileHasher::piece_hash`] gives. For hashing pieces in any
    /// order on several threads.
    ///
    /// `None` when `shape` has another number of pieces.
    #[must_use]
    pub fn from_pieces(shape: &TreeShape, piece_hashes: Vec<u8>) -> Option<Self> {
        if piece_hashes.len() != shape.piece_count() as usize * super::HASH_LEN {
            return None;
        }
        let layer = shape.piece_node_layer();
        let root = subtree_root(&piece_hashes, layer, shape.height() - layer);
        let piece_layer = if shape.has_piece_layer() { piece_hashes } else { Vec::new() };
        Some(Self { root: Some(root), piece_layer })
    }
}

/// Hashes one file, its bytes fed in order.
#[derive(Clone, Debug)]
pub struct FileHasher {
    shape: Option<TreeShape>,
    /// Bytes still to come; `None` after more came than announced.
    left: Option<u64>,
    block: Sha256,
    block_len: u32,
    leaves: Vec<u8>,
    piece_hashes: Vec<u8>,
}

impl FileHasher {
    /// For a file of exactly `length` bytes; `None` where [`TreeShape::new`] gives none, except that an empty file is fine.
    #[must_use]
    pub fn new(length: u64, piece_length: u32) -> Option<Self> {
        let shape = TreeShape::new(length, piece_length);
        (shape.is_some() || length == 0).then(|| Self {
            shape,
            left: Some(length),
            block: Sha256::default(),
            block_len: 0,
            leaves: Vec::new(),
            piece_hashes: Vec::new(),
        })
    }
    /// Takes the next bytes, any number.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.left = self.left.and_then(|left| left.checked_sub(bytes.len() as u64));
        if self.left.is_none() {
            return;
        }
        while !bytes.is_empty() {
            let room = (BLOCK_LEN - self.block_len) as usize;
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.block.update(now);
            self.block_len += now.len() as u32;
            bytes = rest;
            if self.block_len == BLOCK_LEN {
                self.end_block();
            }
        }
    }
    fn end_block(&mut self) {
        self.leaves.extend_from_slice(&self.block.finalize_reset());
        self.block_len = 0;
        let full =
            self.shape.map_or(usize::MAX, |s| s.blocks_per_piece() as usize * super::HASH_LEN);
        if self.leaves.len() == full {
            self.end_piece();
        }
    }
    fn end_piece(&mut self) {
        if let Some(shape) = &self.shape {
            let layer = shape.piece_node_layer();
            self.piece_hashes.extend_from_slice(&subtree_root(&self.leaves, 0, layer).0);
        }
        self.leaves.clear();
    }
    /// The tree. `None` when the bytes fed were not as many as announced.
    #[must_use]
    pub fn finish(mut self) -> Option<FileTree> {
        if self.left != Some(0) {
            return None;
        }
        if self.block_len > 0 {
            self.end_block();
        }
        if !self.leaves.is_empty() {
            self.end_piece();
        }
        match &self.shape {
            Some(shape) => FileTree::from_pieces(shape, self.piece_hashes),
            None => Some(FileTree::default()),
        }
    }
    /// Hash of one piece of a file of this shape, from all of the piece's bytes.
    #[must_use]
    pub fn piece_hash(shape: &TreeShape, piece: &[u8]) -> Hash32 {
        let leaves: Vec<u8> =
            piece.chunks(BLOCK_LEN as usize).flat_map(|block| super::leaf(block).0).collect();
        subtree_root(&leaves, 0, shape.piece_node_layer())
    }
}

/// SHA-1 of one v1 piece, its bytes fed in order, zeros for its pad files.
#[derive(Clone, Debug, Default)]
pub struct PieceHasher {
    hasher: Sha1,
}

impl PieceHasher {
    /// At the start of a piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }
    /// Takes `count` zero bytes.
    pub fn update_zeros(&mut self, count: u32) {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut left = count as usize;
        while left > 0 {
            let now = left.min(ZEROS.len());
            self.hasher.update(ZEROS.get(..now).unwrap_or(&ZEROS));
            left -= now;
        }
    }
    /// The hash; begins the next piece.
    pub fn finish(&mut self) -> Hash20 {
        Hash20(self.hasher.finalize_reset().into())
    }
}
