//! Hash requests answered and their answers checked.
//!
//! An answer holds the `length` hashes of the base layer, then the uncles that lead from their common ancestor upwards,
//! one a layer. Ancestors that follow from the base hashes are left out, so the number of uncles is `proof_layers` less
//! `log2(length) - 1`: the first "proof layer" above the base needs none. `proof_layers` of `height - base_layer - 1`
//! leads to the root.

use alloc::vec::Vec;
use core::ops::Range;

use super::shape::{MAX_REQUEST_HASHES, TreeShape};
use super::{HASH_LEN, Pads, Upper, hash_at, hashes, pad_hash, parent, subtree_root};
use crate::Hash32;
use crate::peer::HashRange;

/// Number of uncle hashes in the answer to `range`.
#[must_use]
pub fn uncle_count(range: &HashRange) -> u32 {
    range.proof_layers.saturating_sub(range.length.max(1).ilog2().saturating_sub(1))
}

/// Number of bytes of hashes in the answer to `range`, saturated.
#[must_use]
pub fn answer_len(range: &HashRange) -> usize {
    (range.length as usize).saturating_add(uncle_count(range) as usize).saturating_mul(HASH_LEN)
}

/// Whether `range` makes sense in a tree of this shape: a power of two of hashes, aligned, inside the (padded) layer, no
/// proof beyond the root, at most [`MAX_REQUEST_HASHES`].
#[must_use]
pub fn is_valid(shape: &TreeShape, range: &HashRange) -> bool {
    range.length >= 2
        && range.length.is_power_of_two()
        && range.length <= MAX_REQUEST_HASHES
        && range.index.is_multiple_of(range.length)
        && range.base_layer < shape.height()
        && range.proof_layers < shape.height() - range.base_layer
        && range
            .index
            .checked_add(range.length)
            .is_some_and(|end| end <= shape.width(range.base_layer))
}

/// Pieces of the file whose leaves [`answer`] needs besides the piece layer; empty when that layer is enough.
#[must_use]
pub fn pieces_needed(shape: &TreeShape, range: &HashRange) -> Range<u32> {
    if !is_valid(shape, range) || range.base_layer >= shape.piece_node_layer() {
        return 0..0;
    }
    let down = shape.piece_node_layer() - range.base_layer;
    let last = (range.index + range.length - 1) >> down;
    (range.index >> down).min(shape.piece_count())..(last + 1).min(shape.piece_count())
}

/// The answer to `range`, from the file's piece layer (empty when the file is one piece) and the leaves of the pieces
/// that [`pieces_needed`] names: `leaves` gives those of one piece, as many as it has blocks. `None` when the request makes
/// no sense or something is missing: then a hash reject is due.
///
/// Costs O(hashes of the layers involved); above the piece layer that is the whole layer, unless [`answer_with`] has it kept.
#[must_use]
pub fn answer<L: AsRef<[u8]>>(
    shape: &TreeShape,
    range: &HashRange,
    piece_layer: &[u8],
    leaves: impl Fn(u32) -> Option<L>,
) -> Option<Vec<u8>> {
    answer_with(shape, range, piece_layer, None, leaves)
}

/// As [`answer`]. With `upper` made of the same piece layer it costs [`answer_cost`].
#[must_use]
pub fn answer_with<L: AsRef<[u8]>>(
    shape: &TreeShape,
    range: &HashRange,
    piece_layer: &[u8],
    upper: Option<&Upper>,
    leaves: impl Fn(u32) -> Option<L>,
) -> Option<Vec<u8>> {
    if !is_valid(shape, range) {
        return None;
    }
    let pads = Pads::new(shape.height());
    let store = Store { shape, piece_layer, upper, pads, leaves };
    let mut out = Vec::with_capacity(answer_len(range));
    for index in range.index..range.index + range.length {
        out.extend_from_slice(&store.node(range.base_layer, index)?.0);
    }
    let joined = range.base_layer + range.length.ilog2();
    let mut index = range.index / range.length;
    for layer in joined..joined + uncle_count(range) {
        out.extend_from_slice(&store.node(layer, index ^ 1)?.0);
        index >>= 1;
    }
    Some(out)
}

/// Whether the answer to `range` needs nodes that [`Upper`] keeps: without them it costs up to the whole piece layer.
#[must_use]
pub fn needs_upper(shape: &TreeShape, range: &HashRange) -> bool {
    let joined = range.base_layer + range.length.max(1).ilog2();
    let highest = match uncle_count(range) {
        0 => range.base_layer,
        uncles => joined + uncles - 1,
    };
    is_valid(shape, range) && shape.has_piece_layer() && Upper::keeps(shape, highest)
}

/// Hashes that [`answer_with`] computes at most for the answer to `range`, once the layers above the piece layer are made.
#[must_use]
pub fn answer_cost(shape: &TreeShape, range: &HashRange) -> u64 {
    if !is_valid(shape, range) {
        return 0;
    }
    let pieces = shape.piece_node_layer();
    let node = |layer: u32| match layer.checked_sub(pieces) {
        Some(levels) if shape.has_piece_layer() => Upper::node_cost(levels),
        _ => (1u64 << layer) - 1,
    };
    let joined = range.base_layer + range.length.ilog2();
    let uncles = (joined..joined + uncle_count(range)).map(node).sum::<u64>();
    u64::from(range.length) * node(range.base_layer) + uncles
}

/// What is known of one tree.
struct Store<'a, F> {
    shape: &'a TreeShape,
    piece_layer: &'a [u8],
    upper: Option<&'a Upper>,
    pads: Pads,
    leaves: F,
}

impl<L: AsRef<[u8]>, F: Fn(u32) -> Option<L>> Store<'_, F> {
    /// Hash of node `index` of `layer`.
    fn node(&self, layer: u32, index: u32) -> Option<Hash32> {
        let pieces = self.shape.piece_node_layer();
        if layer >= pieces && self.shape.has_piece_layer() {
            let levels = layer - pieces;
            let width = 1usize.checked_shl(levels)?;
            let from = (index as usize).checked_mul(width)?.checked_mul(HASH_LEN)?;
            if from >= self.piece_layer.len() {
                // Beyond the last piece: padding, unless the layer is not known.
                return (!self.piece_layer.is_empty()).then(|| self.pads.at(layer));
            }
            return match self.upper.and_then(|upper| upper.node(layer, index)) {
                Some(kept) => Some(kept),
                None => Some(self.pads.subtree_root(self.piece_layer.get(from..)?, pieces, levels)),
            };
        }
        let piece = index >> (pieces.checked_sub(layer)?);
        if piece >= self.shape.piece_count() {
            return Some(self.pads.at(layer));
        }
        let leaves = (self.leaves)(piece)?;
        let from = ((index - (piece << (pieces - layer))) as usize) << layer;
        let have = leaves.as_ref().get(from.checked_mul(HASH_LEN)?..).unwrap_or(&[]);
        Some(self.pads.subtree_root(have, 0, layer))
    }
}

/// The topmost node that an answer's hashes lead to: its layer, its index and its hash. `None` when the request is not
/// valid for the shape or the answer has not the right length. The caller compares the hash with what it knows.
#[must_use]
pub fn answer_top(shape: &TreeShape, range: &HashRange, list: &[u8]) -> Option<(u32, u32, Hash32)> {
    if !is_valid(shape, range) || list.len() != answer_len(range) {
        return None;
    }
    let (base, uncles) = list.split_at_checked(range.length as usize * HASH_LEN)?;
    let mut layer = range.base_layer + range.length.ilog2();
    let mut index = range.index / range.length;
    let mut top = subtree_root(base, range.base_layer, range.length.ilog2());
    for uncle in hashes(uncles) {
        top = if index & 1 == 0 { parent(&top, &uncle) } else { parent(&uncle, &top) };
        layer += 1;
        index >>= 1;
    }
    Some((layer, index, top))
}

/// Whether an answer to `range` is true: its hashes lead to the file's root, `range.pieces_root`, or to a node of the known
/// piece layer (empty when not known). False when they lead to neither, also when that is for want of a proof.
#[must_use]
pub fn verify(shape: &TreeShape, range: &HashRange, list: &[u8], piece_layer: &[u8]) -> bool {
    let Some((layer, index, top)) = answer_top(shape, range, list) else { return false };
    if layer == shape.height() {
        return top == range.pieces_root;
    }
    layer == shape.piece_layer()
        && match hash_at(piece_layer, index as usize) {
            Some(known) => top == known,
            None => !piece_layer.is_empty() && top == pad_hash(layer),
        }
}
