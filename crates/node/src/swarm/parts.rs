//! Pieces of which a peer has only some blocks: few at a time, so they lie in one short list, by piece.

use alloc::boxed::Box;
use alloc::vec::Vec;

use shoal_wire::bitfield::Bitfield;

/// Some blocks of one piece. Pieces of up to 64 blocks, nearly all there are, take no memory beside this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Blocks {
    /// Bit `n` is block `n`.
    Few {
        bits: u64,
        len: u8,
    },
    Many(Box<Bitfield>),
}

impl Blocks {
    /// None of `len` blocks.
    pub(crate) fn new(len: u32) -> Self {
        match u8::try_from(len) {
            Ok(len) if len <= 64 => Self::Few { bits: 0, len },
            _ => Self::Many(Box::new(Bitfield::new(len))),
        }
    }
    pub(crate) fn get(&self, block: u32) -> bool {
        match self {
            Self::Few { bits, .. } => bits.checked_shr(block).is_some_and(|rest| rest & 1 != 0),
            Self::Many(field) => field.get(block),
        }
    }
    /// True when it was not there. Blocks that the piece does not have are never there.
    pub(crate) fn set(&mut self, block: u32) -> bool {
        match self {
            Self::Few { bits, len } => {
                let bit = if block < u32::from(*len) { 1 << block } else { 0 };
                let is_new = bit & !*bits != 0;
                *bits |= bit;
                is_new
            }
            Self::Many(field) => field.set(block),
        }
    }
    /// True when it was there.
    pub(crate) fn clear(&mut self, block: u32) -> bool {
        match self {
            Self::Few { bits, .. } => {
                let bit = 1u64.checked_shl(block).unwrap_or(0);
                let was = *bits & bit != 0;
                *bits &= !bit;
                was
            }
            Self::Many(field) => field.clear(block),
        }
    }
    /// Number of blocks that are there.
    pub(crate) fn ones(&self) -> u32 {
        match self {
            Self::Few { bits, .. } => bits.count_ones(),
            Self::Many(field) => field.ones(),
        }
    }
    /// First block from `from` on that is there.
    pub(crate) fn next(&self, from: u32) -> Option<u32> {
        match self {
            Self::Few { bits, .. } => {
                let rest = bits.checked_shr(from).filter(|rest| *rest != 0)?;
                Some(from + rest.trailing_zeros())
            }
            Self::Many(field) => field.next(from, true),
        }
    }
    /// Blocks that are there, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        core::iter::successors(self.next(0), |&block| self.next(block + 1))
    }
}

/// A short list grows by one, a longer one by a quarter: there is one for each link.
const GROWS_BY_PART: usize = 4;

/// A bit per block, for each piece of which anything was said.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    list: Vec<(u32, Blocks)>,
}

impl Parts {
    fn find(&self, piece: u32) -> Result<usize, usize> {
        self.list.binary_search_by_key(&piece, |entry| entry.0)
    }
    /// The blocks of a piece. O(log pieces).
    pub(crate) fn get(&self, piece: u32) -> Option<&Blocks> {
        self.list.get(self.find(piece).ok()?).map(|entry| &entry.1)
    }
    /// The blocks of a piece. O(log pieces).
    pub(crate) fn get_mut(&mut self, piece: u32) -> Option<&mut Blocks> {
        let index = self.find(piece).ok()?;
        self.list.get_mut(index).map(|entry| &mut entry.1)
    }
    /// The blocks of a piece of `count` blocks, none at first. O(pieces) for a new one.
    pub(crate) fn of(&mut self, piece: u32, count: u32) -> &mut Blocks {
        let index = self.find(piece).unwrap_or_else(|index| {
            if self.list.len() == self.list.capacity() {
                self.list.reserve_exact(1 + self.list.len() / GROWS_BY_PART);
            }
            self.list.insert(index, (piece, Blocks::new(count)));
            index
        });
        &mut self.list[index].1
    }
    /// Forgets a piece. O(pieces).
    pub(crate) fn remove(&mut self, piece: u32) -> Option<Blocks> {
        let index = self.find(piece).ok()?;
        Some(self.list.remove(index).1)
    }
    /// Whether anything was said of a piece.
    pub(crate) fn has(&self, piece: u32) -> bool {
        self.find(piece).is_ok()
    }
    /// Number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
    /// Pieces, ascending, and their blocks.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Blocks)> + '_ {
        self.list.iter().map(|(piece, bits)| (*piece, bits))
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_a_bitfield(
            len in 1u32..130,
            ops in prop::collection::vec((0u32..140, any::<bool>()), 0..80),
        ) {
            let mut blocks = Blocks::new(len);
            let mut model = Bitfield::new(len);
            for (block, sets) in ops {
                let (done, wanted) = match sets {
                    true => (blocks.set(block), model.set(block)),
                    false => (blocks.clear(block), model.clear(block)),
                };
                prop_assert_eq!(done, wanted);
                prop_assert_eq!(blocks.get(block), model.get(block));
                prop_assert_eq!(blocks.ones(), model.ones());
                prop_assert!(blocks.iter().eq(model.iter()));
            }
        }
        #[test]
        fn parts_are_a_map(ops in prop::collection::vec((0u32..9, 0u32..16, 0u8..4), 0..80)) {
            let mut parts = Parts::default();
            let mut model: BTreeMap<u32, Blocks> = BTreeMap::new();
            for (piece, block, op) in ops {
                match op {
                    0 => prop_assert_eq!(parts.remove(piece), model.remove(&piece)),
                    1 => prop_assert_eq!(
                        parts.get_mut(piece).map(|bits| bits.clear(block)),
                        model.get_mut(&piece).map(|bits| bits.clear(block))
                    ),
                    _ => prop_assert_eq!(
                        parts.of(piece, 16).set(block),
                        model.entry(piece).or_insert_with(|| Blocks::new(16)).set(block)
                    ),
                }
                prop_assert_eq!(parts.get(piece), model.get(&piece));
                prop_assert_eq!(parts.has(piece), model.contains_key(&piece));
                prop_assert!(parts.iter().eq(model.iter().map(|(piece, bits)| (*piece, bits))));
                prop_assert_eq!(parts.len(), model.len());
            }
        }
    }
}
