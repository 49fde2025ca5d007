//! What of a title is already on the disk, and verified.
//!
//! In this order: pieces that the record vouches for and whose files look untouched; stretches of the journal whose
//! bytes match; all other pieces that have any data on the disk (or consist of zeros), by their hash. Missing data is
//! simply not there; it is never an error.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use sha1::{Digest, Sha1};
use shoal_node::io::ResumeRecord;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle::{HASH_LEN, subtree_root};
use shoal_wire::metainfo::{Info, PieceIndex};
use shoal_wire::peer::BLOCK_LEN;
use shoal_wire::{Hash20, Hash32};

use super::{Record, Stretch};
use crate::config::{HASH_STEP, HASH_THREADS_MAX, STRETCH_MAX};
use crate::error::DriveError;
use crate::hash;
use crate::storage::{Stamp, Storage};

/// By what a stored piece can be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expect {
    /// SHA-1 over its nominal bytes.
    V1(Hash20),
    /// Root of the subtree over its leaves.
    V2 {
        /// The root.
        root: Hash32,
        /// Layers between the leaves and the root.
        levels: u32,
    },
    /// Nothing at hand.
    Unknown,
}

/// By what `piece` can be checked: its leaves where the title has v2 hashes and they are at hand, else its v1 hash.
#[must_use]
pub fn expectation(info: &Info, layers: &[(Hash32, Bytes)], piece: u32) -> Expect {
    let Some(index) = info.layout.piece(piece) else { return Expect::Unknown };
    expect_v2(info, layers, index)
        .or_else(|| info.piece_hash(index).map(Expect::V1))
        .unwrap_or(Expect::Unknown)
}

fn expect_v2(info: &Info, layers: &[(Hash32, Bytes)], piece: PieceIndex) -> Option<Expect> {
    info.hashes.v2?;
    let start = info.layout.start(piece);
    let (_, file) = info.file_at(start)?;
    let root = file.pieces_root?;
    let piece_length = u64::from(info.layout.piece_length());
    if file.length <= piece_length {
        let blocks = file.length.div_ceil(u64::from(BLOCK_LEN));
        return Some(Expect::V2 { root, levels: blocks.next_power_of_two().ilog2() });
    }
    let (_, layer) = layers.iter().find(|(of, _)| *of == root)?;
    let at = usize::try_from((start - file.start) / piece_length).ok()? * 32;
    let root = Hash32::from_slice(layer.get(at..at + 32)?)?;
    Some(Expect::V2 { root, levels: piece_levels(info) })
}

/// Layers between the leaves of a piece and its node; a v2 title's pieces have a power of two of blocks.
fn piece_levels(info: &Info) -> u32 {
    info.layout.blocks_per_piece().next_power_of_two().ilog2()
}

/// One look at the disk.
#[derive(Debug)]
pub struct Check<'a> {
    /// The files.
    pub storage: &'a Storage,
    /// Piece layers at hand.
    pub layers: &'a [(Hash32, Bytes)],
    /// What an earlier run recorded.
    pub known: Option<&'a Record>,
    /// What an earlier run wrote into incomplete pieces.
    pub stretches: &'a [Stretch],
    /// Whether a file of the right length is believed.
    pub sizes_suffice: bool,
    /// Progress: bytes looked at.
    pub done: &'a AtomicU64,
    /// Progress: bytes to look at.
    pub total: &'a AtomicU64,
    /// Set when the rest need not be looked at.
    pub cancelled: &'a AtomicBool,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    /// Verified pieces and blocks.
    pub record: ResumeRecord,
    /// Pieces found good that no record vouched for.
    pub hashed: u32,
}

impl Check<'_> {
    /// Looks. Costs a hash of everything on the disk that no record vouches for, on all cores.
    ///
    /// # Errors
    /// When a file is there and cannot be looked at.
    pub fn run(&self) -> Result<Found, DriveError> {
        let info = self.storage.info();
        let layout = &info.layout;
        let stamps = (0..info.files.len())
            .map(|file| self.storage.stamp_now(file))
            .collect::<Result<Vec<_>, _>>()?;
        let mut have = self.believed(&stamps);
        let vouched = have.clone();
        for piece in layout.pieces().filter(|&piece| layout.data_len(piece) == 0) {
            have.set(piece.get());
        }
        let partial = self.replay(&mut have);
        let candidates = self.candidates(&have)?;
        let bytes = |piece: &PieceIndex| u64::from(layout.data_len(*piece));
        self.total.store(candidates.iter().map(bytes).sum(), Ordering::Relaxed);
        for piece in self.hash(&candidates) {
            have.set(piece.get());
        }
        let mut hashed = 0;
        for piece in layout.pieces().filter(|p| have.get(p.get()) && !vouched.get(p.get())) {
            hashed += 1;
            // It may still be in the memory of the system: it must be on the disk before a record says so.
            let (start, len) = (layout.start(piece), layout.data_len(piece) as usize);
            self.storage.files_under(start, len).for_each(|file| self.storage.mark_dirty(file));
        }
        for (file, stamp) in stamps.iter().enumerate() {
            stamp.iter().for_each(|stamp| self.storage.vouch(file, *stamp));
        }
        let partial =
            partial.into_iter().filter(|(piece, blocks)| !have.get(*piece) && blocks.ones() > 0);
        let partial = partial.collect();
        Ok(Found { record: ResumeRecord { have, partial }, hashed })
    }

    /// Pieces of which every file looks as the record says, or has the right length if that suffices.
    fn believed(&self, stamps: &[Option<Stamp>]) -> Bitfield {
        let info = self.storage.info();
        let layout = &info.layout;
        let count = layout.piece_count();
        let fits = |file: usize, stamp: Option<Stamp>| {
            let Some(stamp) = stamp else { return false };
            let right_length = stamp.size == info.files[file].length;
            let recorded = self.known.and_then(|record| *record.stamps.get(file)?);
            right_length && (self.sizes_suffice || recorded == Some(stamp))
        };
        let good: Vec<bool> =
            stamps.iter().enumerate().map(|(file, stamp)| fits(file, *stamp)).collect();
        let mut have = Bitfield::new(count);
        for piece in layout.pieces() {
            let recorded = self
                .known
                .is_some_and(|record| record.have.len() == count && record.have.get(piece.get()));
            let (start, len) = (layout.start(piece), layout.data_len(piece) as usize);
            if (recorded || self.sizes_suffice)
                && self.storage.files_under(start, len).all(|file| good[file])
            {
                have.set(piece.get());
            }
        }
        have
    }

    /// Blocks whose bytes are still what the journal says; pieces that they fill are added to `have`.
    fn replay(&self, have: &mut Bitfield) -> BTreeMap<u32, Bitfield> {
        let layout = &self.storage.info().layout;
        let mut partial = BTreeMap::new();
        let mut buffer = Vec::new();
        for stretch in self.stretches {
            let end = stretch.offset.saturating_add(u64::from(stretch.length));
            let Some(first) = layout.piece_at(stretch.offset) else { continue };
            let last = layout.piece_at(end.saturating_sub(1)).unwrap_or(first);
            if (first.get()..=last.get()).all(|piece| have.get(piece))
                || end > layout.nominal_end()
                || self.is_cancelled()
                || stretch.length as usize > STRETCH_MAX
            {
                continue;
            }
            buffer.resize(stretch.length as usize, 0);
            if self.storage.read(stretch.offset, &mut buffer).is_err() || !stretch.matches(&buffer)
            {
                continue;
            }
            for piece in (first.get()..=last.get()).filter_map(|piece| layout.piece(piece)) {
                let count = layout.block_count(piece);
                let blocks = partial.entry(piece.get()).or_insert_with(|| Bitfield::new(count));
                for block in 0..count {
                    let start = layout.start(piece) + u64::from(block) * u64::from(BLOCK_LEN);
                    let stop = start + u64::from(layout.block_len(piece, block));
                    if stretch.offset <= start && stop <= end {
                        blocks.set(block);
                    }
                }
                if blocks.is_full() {
                    have.set(piece.get());
                }
            }
        }
        partial
    }

    /// Pieces worth hashing: not known yet, with data on the disk, or all zeros and a file to be zeros in.
    fn candidates(&self, have: &Bitfield) -> Result<Vec<PieceIndex>, DriveError> {
        let info = self.storage.info();
        let layout = &info.layout;
        let extents = self.storage.extents()?;
        let zero_piece = zero_expectations(info);
        let candidate = |piece: &PieceIndex| {
            let start = layout.start(*piece);
            let end = start + u64::from(layout.data_len(*piece));
            let next = extents.partition_point(|extent| extent.1 <= start);
            match expectation(info, self.layers, piece.get()) {
                Expect::Unknown => false,
                expect => {
                    extents.get(next).is_some_and(|extent| extent.0 < end)
                        || zero_piece.contains(&expect)
                }
            }
        };
        Ok(layout.pieces().filter(|p| !have.get(p.get())).filter(candidate).collect())
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
    fn hash(&self, candidates: &[PieceIndex]) -> Vec<PieceIndex> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = threads.min(HASH_THREADS_MAX).min(candidates.len());
        let next = AtomicU32::new(0);
        let good = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut buffer = vec![0; HASH_STEP];
                    while !self.is_cancelled()
                        && let Some(&piece) =
                            candidates.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                    {
                        if self.is_good(piece, &mut buffer) {
                            good.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
                        }
                        let bytes = self.storage.info().layout.data_len(piece);
                        self.done.fetch_add(u64::from(bytes), Ordering::Relaxed);
                    }
                });
            }
        });
        good.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_good(&self, piece: PieceIndex, buffer: &mut [u8]) -> bool {
        is_good(self.storage.info(), self.layers, piece, buffer, |offset, data| {
            !self.is_cancelled() && self.storage.read(offset, data).is_ok()
        })
    }
}

/// Whether a piece matches its hash. `read` fills what it is given from a place in piece space on; false ends it. Read by steps
/// as long as `buffer`.
pub(crate) fn is_good(
    info: &Info,
    layers: &[(Hash32, Bytes)],
    piece: PieceIndex,
    buffer: &mut [u8],
    read: impl FnMut(u64, &mut [u8]) -> bool,
) -> bool {
    let start = info.layout.start(piece);
    match expectation(info, layers, piece.get()) {
        Expect::V1(expected) => {
            let mut state = Sha1::new();
            let length = info.layout.nominal_len(piece) as usize;
            steps((start, length), buffer, read, |data| state.update(data))
                && Hash20(state.finalize().into()) == expected
        }
        Expect::V2 { root, levels } => {
            let mut leaves = Vec::with_capacity(HASH_LEN << levels);
            let length = info.layout.data_len(piece) as usize;
            steps((start, length), buffer, read, |data| {
                hash::leaves(data).for_each(|leaf| leaves.extend(leaf.0));
            }) && subtree_root(&leaves, 0, levels) == root
        }
        Expect::Unknown => false,
    }
}

/// Shows so many bytes from `start` on to `take`, step by step; false when they cannot be read.
fn steps(
    (start, length): (u64, usize),
    buffer: &mut [u8],
    mut read: impl FnMut(u64, &mut [u8]) -> bool,
    mut take: impl FnMut(&[u8]),
) -> bool {
    let mut at = 0;
    while at < length {
        let step = (length - at).min(buffer.len());
        if !read(start + at as u64, &mut buffer[..step]) {
            return false;
        }
        take(&buffer[..step]);
        at += step;
    }
    true
}

/// What full pieces of zeros look like: holes in a sparse file are data of such pieces.
fn zero_expectations(info: &Info) -> [Expect; 2] {
    let length = info.layout.piece_length();
    let v1 = Expect::V1(hash::sha1_parts(&[], length));
    let leaf = hash::sha256(&vec![0; hash::LEAF_LEN.min(length as usize)]);
    let leaves = leaf.0.repeat(info.layout.blocks_per_piece() as usize);
    let levels = piece_levels(info);
    [v1, Expect::V2 { root: subtree_root(&leaves, 0, levels), levels }]
}
