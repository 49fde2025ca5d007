//! Pieces of which a peer has only some blocks: few at a time, so they lie in short lists, by piece. There is a set of them for each
//! link, so a piece of up to 32 blocks takes eight bytes.

use alloc::boxed::Box;
use alloc::vec::Vec;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::peer::BlockSpan;

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
    pub(crate) fn as_part(&self) -> Part<'_> {
        Part::Large(self)
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
}

/// A short list grows by one, a longer one by a quarter: there is one for each link.
const GROWS_BY_PART: usize = 4;

/// Makes room for one more.
fn grow<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / GROWS_BY_PART);
    }
}

/// What a peer has of one piece.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part<'a> {
    /// Bit `n` is block `n`.
    Small(u32),
    Large(&'a Blocks),
}

impl<'a> Part<'a> {
    pub(crate) fn get(self, block: u32) -> bool {
        match self {
            Self::Small(bits) => bits.checked_shr(block).is_some_and(|rest| rest & 1 != 0),
            Self::Large(blocks) => blocks.get(block),
        }
    }
    /// Number of blocks that are there.
    pub(crate) fn ones(self) -> u32 {
        match self {
            Self::Small(bits) => bits.count_ones(),
            Self::Large(blocks) => blocks.ones(),
        }
    }
    /// First block from `from` on that is there.
    pub(crate) fn next(self, from: u32) -> Option<u32> {
        match self {
            Self::Small(bits) => {
                let rest = bits.checked_shr(from).filter(|rest| *rest != 0)?;
                Some(from + rest.trailing_zeros())
            }
            Self::Large(blocks) => blocks.next(from),
        }
    }
    /// Blocks that are there, ascending.
    pub(crate) fn iter(self) -> impl Iterator<Item = u32> + use<'a> {
        core::iter::successors(self.next(0), move |&block| self.next(block + 1))
    }
}

/// Pieces of more than 32 blocks, ascending.
#[derive(Debug, Default)]
struct Large(Vec<(u32, Blocks)>);

/// A bit per block, for each piece of which anything was said.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// Pieces of up to 32 blocks, ascending, with a bit for each block.
    small: Vec<(u32, u32)>,
    /// `None` where there are none: most titles have only such pieces or only others.
    large: Option<Box<Large>>,
}

impl Parts {
    fn find_small(&self, piece: u32) -> Result<usize, usize> {
        self.small.binary_search_by_key(&piece, |entry| entry.0)
    }
    fn large(&self) -> &[(u32, Blocks)] {
        self.large.as_deref().map_or(&[], |large| large.0.as_slice())
    }
    fn find_large(&self, piece: u32) -> Result<usize, usize> {
        self.large().binary_search_by_key(&piece, |entry| entry.0)
    }
    /// The blocks of a piece. O(log pieces).
    pub(crate) fn get(&self, piece: u32) -> Option<Part<'_>> {
        if let Ok(index) = self.find_small(piece) {
            return self.small.get(index).map(|entry| Part::Small(entry.1));
        }
        let index = self.find_large(piece).ok()?;
        self.large().get(index).map(|entry| Part::Large(&entry.1))
    }
    /// A block of a piece of `count` blocks is there. True when that is news; blocks that the piece does not have are never there.
    /// O(pieces) for a piece of which nothing was said.
    pub(crate) fn set(&mut self, piece: u32, count: u32, block: u32) -> bool {
        if count > u32::BITS {
            return self.large_of(piece, count).set(block);
        }
        let index = self.find_small(piece).unwrap_or_else(|index| {
            grow(&mut self.small);
            self.small.insert(index, (piece, 0));
            index
        });
        let Some((_, bits)) = self.small.get_mut(index) else { return false };
        let bit = if block < count { 1 << block } else { 0 };
        let is_new = bit & !*bits != 0;
        *bits |= bit;
        is_new
    }
    fn large_of(&mut self, piece: u32, count: u32) -> &mut Blocks {
        let found = self.find_large(piece);
        let Large(list) = &mut **self.large.get_or_insert_default();
        let index = found.unwrap_or_else(|index| {
            grow(list);
            list.insert(index, (piece, Blocks::new(count)));
            index
        });
        &mut list[index].1
    }
    /// A block of a piece is not there. True when it was. O(log pieces).
    pub(crate) fn clear(&mut self, piece: u32, block: u32) -> bool {
        if let Ok(index) = self.find_small(piece)
            && let Some((_, bits)) = self.small.get_mut(index)
        {
            let bit = 1u32.checked_shl(block).unwrap_or(0);
            let was = *bits & bit != 0;
            *bits &= !bit;
            return was;
        }
        let found = self.find_large(piece);
        let entry = found.ok().and_then(|index| self.large.as_mut()?.0.get_mut(index));
        entry.is_some_and(|entry| entry.1.clear(block))
    }
    /// Forgets a piece; what was there of it. O(pieces).
    pub(crate) fn remove(&mut self, piece: u32) -> Option<Blocks> {
        if let Ok(index) = self.find_small(piece) {
            let (_, bits) = self.small.remove(index);
            return Some(Blocks::Few { bits: u64::from(bits), len: 32 });
        }
        let index = self.find_large(piece).ok()?;
        Some(self.large.as_mut()?.0.remove(index).1)
    }
    /// Whether all blocks of a span are there. O(blocks of it).
    pub(crate) fn has_span(&self, span: &BlockSpan) -> bool {
        let (first, count) = (u32::from(span.first), u32::from(span.count));
        self.get(span.piece).is_some_and(|part| (first..first + count).all(|b| part.get(b)))
    }
    /// Whether anything was said of a piece.
    pub(crate) fn has(&self, piece: u32) -> bool {
        self.find_small(piece).is_ok() || self.find_large(piece).is_ok()
    }
    /// Number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.small.len() + self.large().len()
    }
    /// Pieces and their blocks, those of up to 32 blocks first, each kind ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Part<'_>)> + '_ {
        let small = self.small.iter().map(|&(piece, bits)| (piece, Part::Small(bits)));
        let large = self.large().iter().map(|(piece, blocks)| (*piece, Part::Large(blocks)));
        small.chain(large)
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
                prop_assert!(blocks.as_part().iter().eq(model.iter()));
            }
        }
        #[test]
        fn parts_are_a_map(
            ops in prop::collection::vec((0u32..9, 0u32..48, 0u8..4), 0..80),
            larger_from in 0u32..10,
        ) {
            let mut parts = Parts::default();
            let mut model: BTreeMap<u32, Blocks> = BTreeMap::new();
            for (piece, block, op) in ops {
                let count = if piece < larger_from { 16 } else { 40 };
                let list = |blocks: &Blocks| blocks.as_part().iter().collect::<Vec<u32>>();
                match op {
                    0 => prop_assert_eq!(
                        parts.remove(piece).as_ref().map(list),
                        model.remove(&piece).as_ref().map(list)
                    ),
                    1 => prop_assert_eq!(
                        parts.clear(piece, block),
                        model.get_mut(&piece).is_some_and(|bits| bits.clear(block))
                    ),
                    _ => prop_assert_eq!(
                        parts.set(piece, count, block),
                        model.entry(piece).or_insert_with(|| Blocks::new(count)).set(block)
                    ),
                }
                prop_assert_eq!(parts.has(piece), model.contains_key(&piece));
                prop_assert_eq!(parts.get(piece).is_some(), model.contains_key(&piece));
                let found: Vec<_> =
                    parts.iter().map(|(piece, part)| (piece, part.iter().collect())).collect();
                let wanted: Vec<_> =
                    model.iter().map(|(piece, blocks)| (*piece, list(blocks))).collect();
                prop_assert_eq!(found, wanted);
                for (piece, part) in parts.iter() {
                    prop_assert_eq!(Some(part.ones()), model.get(&piece).map(Blocks::ones));
                    prop_assert!((0..48).all(|block| part.get(block) == model[&piece].get(block)));
                }
                prop_assert_eq!(parts.len(), model.len());
            }
        }
    }
}
