//! The layers of one tree above its piece layer, kept so that a proof costs a few hashes and not the whole layer.

use alloc::vec::Vec;

use super::{HASH_LEN, Pads, TreeShape, hash_at, parent};
use crate::Hash32;

/// Layers between the piece layer and the lowest kept one: a node in them is computed from at most eight piece hashes.
const SKIPPED: u32 = 4;

/// Kept nodes above a piece layer, made step by step: an eighth of the layer's size.
#[derive(Clone, Debug)]
pub struct Upper {
    shape: TreeShape,
    pads: Pads,
    /// Nodes from [`SKIPPED`] layers above the piece layer on, without padding. All rows but the last are whole.
    rows: Vec<Vec<u8>>,
}

impl Upper {
    /// Nothing is made yet.
    #[must_use]
    pub fn new(shape: TreeShape) -> Self {
        Self { shape, pads: Pads::new(shape.height()), rows: Vec::new() }
    }
    /// Goes on from `piece_layer`, the same whole one each time, with about `budget` hashes. True when all is made.
    pub fn build(&mut self, piece_layer: &[u8], budget: u32) -> bool {
        let pieces = self.shape.piece_node_layer();
        let mut left = budget.max(1 << SKIPPED);
        while let Some((row, layer)) = self.next_row() {
            let width = self.shape.leaf_count().div_ceil(1 << layer) as usize;
            if self.rows.len() == row {
                self.rows.push(Vec::with_capacity(width * HASH_LEN));
            }
            let (below, rest) = self.rows.split_at_mut(row);
            let (below, Some(nodes)) = (below.last(), rest.first_mut()) else { return true };
            for index in nodes.len() / HASH_LEN..width {
                let cost = if below.is_some() { 1 } else { 1 << SKIPPED };
                if left < cost {
                    return false;
                }
                left -= cost;
                let node = match below {
                    None => {
                        let from = (index << SKIPPED) * HASH_LEN;
                        let list = piece_layer.get(from..).unwrap_or(&[]);
                        self.pads.subtree_root(list, pieces, SKIPPED)
                    }
                    Some(below) => {
                        let child = |index| {
                            hash_at(below, index).unwrap_or_else(|| self.pads.at(layer - 1))
                        };
                        parent(&child(2 * index), &child(2 * index + 1))
                    }
                };
                nodes.extend_from_slice(&node.0);
            }
        }
        true
    }
    /// Whether all is made.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.next_row().is_none()
    }
    /// Index and layer of the row that is not whole.
    fn next_row(&self) -> Option<(usize, u32)> {
        let first = self.shape.piece_node_layer() + SKIPPED;
        let layers = (self.shape.height() + 1).saturating_sub(first);
        let whole = |row: &Vec<u8>, layer: u32| {
            row.len() == self.shape.leaf_count().div_ceil(1 << layer) as usize * HASH_LEN
        };
        let done = match self.rows.len() {
            0 => 0,
            count if self.rows.last().is_some_and(|row| whole(row, first + count as u32 - 1)) => {
                count
            }
            count => count - 1,
        };
        ((done as u32) < layers).then(|| (done, first + done as u32))
    }
    /// The kept node `index` of `layer`; `None` when that layer is not kept, or not made.
    pub(super) fn node(&self, layer: u32, index: u32) -> Option<Hash32> {
        let row = layer.checked_sub(self.shape.piece_node_layer() + SKIPPED)?;
        let beyond = self.shape.leaf_count().div_ceil(1 << layer);
        if index >= beyond {
            return Some(self.pads.at(layer));
        }
        hash_at(self.rows.get(row as usize)?, index as usize)
    }
    /// Whether nodes of `layer` are kept.
    pub(super) fn keeps(shape: &TreeShape, layer: u32) -> bool {
        layer >= shape.piece_node_layer() + SKIPPED
    }
    /// Hashes that a node this many levels above the piece layer costs when all is made.
    pub(super) fn node_cost(levels: u32) -> u64 {
        if levels >= SKIPPED { 0 } else { (1 << levels) - 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_are_made_in_steps_and_are_those_of_the_whole_tree() {
        for (pieces, piece_layer) in [(2u32, 0u32), (15, 2), (16, 0), (17, 3), (100, 0), (1000, 1)]
        {
            let blocks = u64::from((pieces - 1) << piece_layer) + 1;
            let shape = TreeShape::new(blocks << 14, 1 << (14 + piece_layer)).expect("a shape");
            let layer: Vec<u8> =
                (0..pieces).flat_map(|i| super::super::leaf(&i.to_be_bytes()).0).collect();
            let mut upper = Upper::new(shape);
            let mut steps = 1;
            while !upper.build(&layer, 40) {
                steps += 1;
                assert!(!upper.is_done() && steps < 1000);
            }
            assert!(upper.is_done() && upper.build(&layer, 1));
            assert!(steps >= pieces / 40, "{steps}");
            for up in SKIPPED..=shape.height() - piece_layer {
                for index in 0..shape.width(piece_layer + up) {
                    let from = ((index as usize) << up) * HASH_LEN;
                    let list = layer.get(from..).unwrap_or(&[]);
                    let expect = super::super::subtree_root(list, piece_layer, up);
                    assert_eq!(upper.node(piece_layer + up, index), Some(expect));
                }
            }
            assert_eq!(upper.node(piece_layer + SKIPPED - 1, 0), None);
        }
    }
}
