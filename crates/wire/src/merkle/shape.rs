//! The form of one file's tree, and the requests that fetch its hashes.

use crate::Hash32;
use crate::peer::{BLOCK_LEN, HashRange};

/// Most hashes of the base layer in one request. 8,192 is what libtorrent serves at most.
pub const MAX_REQUEST_HASHES: u32 = 8192;
/// Hashes of a piece layer asked for at once: small enough to be answered by several peers side by side.
pub const LAYER_REQUEST_HASHES: u32 = 512;

/// Form of the tree of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeShape {
    leaves: u32,
    /// Layer of piece hashes.
    piece_layer: u32,
}

impl TreeShape {
    /// The tree of a file of `length` bytes in a title of such pieces. `None` for an empty file, which has no tree; for a
    /// piece length that is no power of two of at least 16 KiB; and for more than 2^31 blocks.
    #[must_use]
    pub fn new(length: u64, piece_length: u32) -> Option<Self> {
        let leaves = u32::try_from(length.div_ceil(u64::from(BLOCK_LEN))).ok()?;
        let valid = piece_length.is_power_of_two() && piece_length >= BLOCK_LEN;
        (valid && leaves > 0 && leaves <= 1 << 31)
            .then(|| Self { leaves, piece_layer: (piece_length / BLOCK_LEN).trailing_zeros() })
    }
    /// Blocks of the file.
    #[must_use]
    pub fn leaf_count(&self) -> u32 {
        self.leaves
    }
    /// Layer of the root: 0 for a file of one block.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.leaves.next_power_of_two().trailing_zeros()
    }
    /// Layer whose nodes are whole pieces. At or above [`TreeShape::height`] when the file is one piece.
    #[must_use]
    pub fn piece_layer(&self) -> u32 {
        self.piece_layer
    }
    /// Blocks of a full piece.
    #[must_use]
    pub fn blocks_per_piece(&self) -> u32 {
        1 << self.piece_layer
    }
    /// Pieces of the file.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.leaves.div_ceil(self.blocks_per_piece())
    }
    /// Whether the file is longer than one piece, so that it has a piece layer (BEP 52).
    #[must_use]
    pub fn has_piece_layer(&self) -> bool {
        self.piece_count() > 1
    }
    /// Nodes at `layer` with padding: a power of two, 0 above the root.
    #[must_use]
    pub fn width(&self, layer: u32) -> u32 {
        self.leaves.next_power_of_two().checked_shr(layer).unwrap_or(0)
    }
    /// Layer of the node that stands for a piece: the piece layer, or the root when the file is one piece.
    #[must_use]
    pub fn piece_node_layer(&self) -> u32 {
        self.piece_layer.min(self.height())
    }
    /// The request for all leaves of piece `piece` (counted inside the file), to be checked against its known piece hash:
    /// no proof is asked for. `None` when there is no such piece or the piece is one block, whose leaf is the piece hash.
    #[must_use]
    pub fn leaf_request(&self, pieces_root: Hash32, piece: u32) -> Option<HashRange> {
        let levels = self.piece_node_layer();
        (piece < self.piece_count() && levels > 0 && 1 << levels <= MAX_REQUEST_HASHES).then(|| {
            HashRange {
                pieces_root,
                base_layer: 0,
                index: piece << levels,
                length: 1 << levels,
                proof_layers: 0,
            }
        })
    }
    /// The request for the part of the piece layer that holds `piece`, with the proof up to the root. `None` when there
    /// is no such piece or the file has no piece layer.
    #[must_use]
    pub fn layer_request(&self, pieces_root: Hash32, piece: u32) -> Option<HashRange> {
        if piece >= self.piece_count() || !self.has_piece_layer() {
            return None;
        }
        let length = self.width(self.piece_layer).min(LAYER_REQUEST_HASHES);
        Some(HashRange {
            pieces_root,
            base_layer: self.piece_layer,
            index: piece / length * length,
            length,
            proof_layers: self.height() - self.piece_layer - 1,
        })
    }
    /// Requests that together fetch the whole piece layer; none when the file has no such layer.
    pub fn layer_requests(&self, pieces_root: Hash32) -> impl Iterator<Item = HashRange> + use<> {
        let shape = *self;
        (0..self.piece_count())
            .step_by(LAYER_REQUEST_HASHES as usize)
            .filter_map(move |piece| shape.layer_request(pieces_root, piece))
    }
    /// Whether `layer` is the whole piece layer under `root`: as many hashes as pieces, and the right ones.
    #[must_use]
    pub fn check_piece_layer(&self, root: &Hash32, layer: &[u8]) -> bool {
        self.has_piece_layer()
            && layer.len() == self.piece_count() as usize * super::HASH_LEN
            && super::subtree_root(layer, self.piece_layer, self.height() - self.piece_layer)
                == *root
    }
}
