//! Geometry: how piece space is cut into pieces and blocks.

use alloc::vec::Vec;

use crate::peer::{BLOCK_LEN, BlockRequest};

/// A piece index that exists in its title's [`Layout`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Piece and block geometry of a title.
///
/// A piece has a *nominal* length (what v1 hashes cover: `piece_length`, less for the last) and a *data* length: the
/// nominal one without the zero bytes that only pad it at its end (BEP 47 pad files, the gap behind a v2 file). Only data
/// is requested, stored and counted. Blocks are 16 KiB; the last of a piece may be shorter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    piece_length: u32,
    piece_count: u32,
    nominal_end: u64,
    /// Pieces whose data is shorter than nominal: index and data length, ascending.
    short: Vec<(u32, u32)>,
    data_total: u64,
}

impl Layout {
    /// A layout of `nominal_end` bytes of piece space. `short` lists, ascending, the pieces whose data is shorter than
    /// nominal with their data length; out-of-range or longer entries are ignored.
    ///
    /// `piece_length` must be positive, and the piece count fit `u32`: else `None`.
    #[must_use]
    pub fn new(piece_length: u32, nominal_end: u64, short: Vec<(u32, u32)>) -> Option<Self> {
        let count =
            nominal_end.div_ceil(u64::from(core::num::NonZeroU32::new(piece_length)?.get()));
        let mut layout = Self {
            piece_length,
            piece_count: u32::try_from(count).ok()?,
            nominal_end,
            short: Vec::new(),
            data_total: nominal_end,
        };
        let mut kept: Vec<(u32, u32)> = Vec::new();
        for (index, data) in short {
            let Some(piece) = layout.piece(index) else { continue };
            let nominal = layout.nominal_len(piece);
            if data < nominal && kept.last().is_none_or(|last| last.0 < index) {
                layout.data_total -= u64::from(nominal - data);
                kept.push((index, data));
            }
        }
        layout.short = kept;
        Some(layout)
    }
    /// Bytes of a full piece.
    #[must_use]
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }
    /// Number of pieces.
    #[must_use]
    pub fn piece_count(&self) -> u32 {
        self.piece_count
    }
    /// End of piece space: pads included.
    #[must_use]
    pub fn nominal_end(&self) -> u64 {
        self.nominal_end
    }
    /// Bytes that are requested and stored in all.
    #[must_use]
    pub fn data_total(&self) -> u64 {
        self.data_total
    }
    /// Checks a piece number.
    #[must_use]
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.piece_count).then_some(PieceIndex(index))
    }
    /// All pieces, ascending.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex)
    }
    /// The piece that holds byte `offset` of piece space.
    #[must_use]
    pub fn piece_at(&self, offset: u64) -> Option<PieceIndex> {
        u32::try_from(offset / u64::from(self.piece_length))
            .ok()
            .and_then(|index| self.piece(index))
    }
    /// First byte of `piece` in piece space.
    #[must_use]
    pub fn start(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }
    /// Bytes that a v1 hash of `piece` covers.
    #[must_use]
    pub fn nominal_len(&self, piece: PieceIndex) -> u32 {
        let rest = self.nominal_end - self.start(piece);
        u32::try_from(rest).map_or(self.piece_length, |rest| rest.min(self.piece_length))
    }
    /// Bytes of `piece` that are requested and stored; zero for a piece that is all padding. O(log files).
    #[must_use]
    pub fn data_len(&self, piece: PieceIndex) -> u32 {
        match self.short.binary_search_by_key(&piece.0, |entry| entry.0) {
            Ok(found) => self.short.get(found).map_or(0, |entry| entry.1),
            Err(_) => self.nominal_len(piece),
        }
    }
    /// Blocks of `piece`.
    #[must_use]
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.data_len(piece).div_ceil(BLOCK_LEN)
    }
    /// Blocks of a full piece.
    #[must_use]
    pub fn blocks_per_piece(&self) -> u32 {
        self.piece_length.div_ceil(BLOCK_LEN)
    }
    /// Bytes of block `block` of `piece`; zero when there is no such block.
    #[must_use]
    pub fn block_len(&self, piece: PieceIndex, block: u32) -> u32 {
        self.data_len(piece).saturating_sub(block.saturating_mul(BLOCK_LEN)).min(BLOCK_LEN)
    }
    /// The request for block `block` of `piece`.
    #[must_use]
    pub fn request(&self, piece: PieceIndex, block: u32) -> BlockRequest {
        BlockRequest {
            piece: piece.0,
            offset: block * BLOCK_LEN,
            length: self.block_len(piece, block),
        }
    }
    /// The block that `request` names, when it is exactly one of ours.
    #[must_use]
    pub fn block_of(&self, request: &BlockRequest) -> Option<(PieceIndex, u32)> {
        let piece = self.piece(request.piece)?;
        let block = request.offset / BLOCK_LEN;
        (request.offset.is_multiple_of(BLOCK_LEN)
            && request.length > 0
            && self.block_len(piece, block) == request.length)
            .then_some((piece, block))
    }
    /// Whether `request` lies inside a piece's nominal bytes (what a foreign client may ask for).
    #[must_use]
    pub fn contains(&self, request: &BlockRequest) -> Option<PieceIndex> {
        let piece = self.piece(request.piece)?;
        let end = request.offset.checked_add(request.length)?;
        (request.length > 0 && end <= self.nominal_len(piece)).then_some(piece)
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_LEN, Layout};

    #[test]
    fn data_lengths_leave_out_padding_and_the_short_end() {
        let layout =
            Layout::new(2 * BLOCK_LEN, 5 * u64::from(BLOCK_LEN) + 7, alloc::vec![(1, 100)])
                .expect("a valid layout");
        let lens: alloc::vec::Vec<_> =
            layout.pieces().map(|piece| layout.data_len(piece)).collect();
        assert_eq!(lens, [2 * BLOCK_LEN, 100, BLOCK_LEN + 7]);
        assert_eq!(layout.data_total(), u64::from(3 * BLOCK_LEN + 107));
        let last = layout.piece(2).expect("exists");
        assert_eq!((layout.block_count(last), layout.block_len(last, 1)), (2, 7));
        assert!(layout.piece(3).is_none());
        assert!(layout.block_of(&layout.request(last, 1)).is_some());
    }
}
