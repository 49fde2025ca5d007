//! One title on the disk: its files, its record and its journal, as the jobs of the node need them.
//!
//! Every method blocks; all are called on the threads of [`crate::pool`], some at the same time.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shoal_node::io::ResumeRecord;
use shoal_wire::Hash32;
use shoal_wire::metainfo::{Info, PieceIndex};

use crate::buffers::ReadBuffers;
use crate::config::{HASH_STEP, PROOFS_MAX, STRETCH_MAX};
use crate::error::DriveError;
use crate::hash;
use crate::resume::check::{Expect, expectation};
use crate::resume::{Journal, Leaves, Record, StateFolder, Stretch, check, replace};
use crate::storage::{Descriptors, Place, Stamp, Storage};

/// How much of what is found on the disk is believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// What was verified in an earlier run and looks untouched; the rest is hashed.
    #[default]
    Verified,
    /// Nothing: all of it is hashed.
    Nothing,
    /// Every file whose length fits (`--skip-check`).
    Sizes,
}

/// What was hashed a moment ago, by [`crate::publish`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The pieces.
    pub record: ResumeRecord,
    /// How each file of the title looked from before the first byte was hashed until after the last.
    pub stamps: Vec<Stamp>,
}

/// How far a check of stored data is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CheckProgress {
    /// Bytes looked at.
    pub done: u64,
    /// Bytes to look at.
    pub total: u64,
}

/// One title on the disk.
#[derive(Debug)]
pub struct TitleStore {
    storage: Storage,
    /// BEP 52 piece layers at hand, by file root: they make stored v2 pieces checkable.
    layers: Vec<(Hash32, Bytes)>,
    record: Option<PathBuf>,
    journal: Option<Mutex<Journal>>,
    /// Leaves of v2 pieces that were hashed before.
    leaves: Option<Leaves>,
    /// Pieces whose room was given back and that were not written since.
    given_up: Mutex<BTreeSet<u32>>,
    done: AtomicU64,
    total: AtomicU64,
    cancelled: AtomicBool,
}

impl TitleStore {
    /// The title `info` at `place`; what was verified is remembered in `state`, when there is one.
    #[must_use]
    pub fn open(
        info: Arc<Info>,
        layers: Vec<(Hash32, Bytes)>,
        place: Place,
        descriptors: Arc<Descriptors>,
        state: Option<&StateFolder>,
    ) -> Self {
        let file = |extension| state.map(|state| state.title_file(&info.hashes, extension));
        let journal = file("journal").map(|path| Mutex::new(Journal::load(&path)));
        let leaves = info.hashes.v2.and_then(|_| Leaves::open(&file("leaves")?));
        Self {
            leaves,
            record: file("record"),
            journal,
            storage: Storage::new(info, place, descriptors),
            layers,
            given_up: Mutex::default(),
            done: AtomicU64::new(0),
            total: AtomicU64::new(0),
            cancelled: AtomicBool::new(false),
        }
    }
    /// Its files.
    #[must_use]
    pub fn storage(&self) -> &Storage {
        &self.storage
    }
    /// How far [`TitleStore::prepare`] is.
    #[must_use]
    pub fn progress(&self) -> CheckProgress {
        CheckProgress {
            done: self.done.load(Ordering::Relaxed),
            total: self.total.load(Ordering::Relaxed),
        }
    }
    /// Makes a running [`TitleStore::prepare`] end early; what it did not look at counts as absent.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
    fn journal(&self) -> Option<MutexGuard<'_, Journal>> {
        self.journal.as_ref().map(|journal| journal.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Whether a stored piece can be checked with hashes at hand.
    fn is_checkable(&self, piece: u32) -> bool {
        !matches!(expectation(self.storage.info(), &self.layers, piece), Expect::Unknown)
    }

    /// Makes the files' folder and finds out what is verified in it.
    ///
    /// # Errors
    /// When the folder cannot be made or looked at, or a file in the way is longer than the title says.
    pub fn prepare(&self, trust: Trust) -> Result<ResumeRecord, DriveError> {
        self.storage.make()?;
        let known = match trust {
            Trust::Verified => self.record.as_deref().and_then(Record::load),
            Trust::Nothing | Trust::Sizes => None,
        };
        let stretches = match trust {
            Trust::Verified => self.journal().map_or_else(Vec::new, |j| j.stretches().to_vec()),
            Trust::Nothing | Trust::Sizes => Vec::new(),
        };
        let found = check::Check {
            storage: &self.storage,
            layers: &self.layers,
            known: known.as_ref(),
            stretches: &stretches,
            sizes_suffice: trust == Trust::Sizes,
            done: &self.done,
            total: &self.total,
            cancelled: &self.cancelled,
        }
        .run()?;
        if found.hashed > 0 {
            self.save(&found.record)?;
        }
        Ok(found.record)
    }
    /// Believes `verified` of files that still look as they did when they were hashed.
    ///
    /// # Errors
    /// When a file is gone, or the record cannot be written.
    pub fn vouch(&self, verified: &Verified) -> Result<(), DriveError> {
        let files = self.storage.info().files.len();
        for (file, stamp) in verified.stamps.iter().enumerate().take(files) {
            self.storage.vouch(file, *stamp);
            // The save looks at it again, and what was hashed may still be in the memory of the system.
            self.storage.mark_dirty(file);
        }
        self.save(&verified.record)
    }
    /// Reads stored bytes.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub fn read(
        &self,
        offset: u64,
        length: usize,
        buffers: &ReadBuffers,
    ) -> Result<Bytes, DriveError> {
        let mut buffer = buffers.take(length);
        self.read_into(offset, buffer.memory())?;
        Ok(buffer.freeze())
    }
    /// Fills `buffer` with stored bytes. Where a file was touched since it was verified, a piece is hashed before the first of
    /// it is given away.
    ///
    /// # Errors
    /// As [`Storage::read`]; also when the piece is not what it was.
    pub fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        for _ in 0..PROOFS_MAX {
            self.storage.read(offset, buffer)?;
            let Some(piece) = self.storage.unproven(offset, buffer.len()) else { return Ok(()) };
            let looks = self.storage.looks(piece);
            if self.is_good(piece) {
                // Read again: what stands in the buffer came before the proof.
                self.storage.prove(piece, &looks);
            } else if self.read_noted(offset, buffer) {
                return Ok(());
            } else {
                break;
            }
        }
        let file = self.storage.files_under(offset, buffer.len()).next().unwrap_or(0);
        let path = self.storage.path(file);
        Err(DriveError::Changed { path, what: "was changed by another program" })
    }
    /// Whether a whole piece matches its hash.
    fn is_good(&self, piece: u32) -> bool {
        let info = self.storage.info();
        let Some(piece) = info.layout.piece(piece) else { return false };
        let mut buffer = vec![0; HASH_STEP];
        check::is_good(info, &self.layers, piece, &mut buffer, |offset, data| {
            self.storage.read(offset, data).is_ok()
        })
    }
    /// Fills `buffer` with what the journal knows: blocks of a piece that is not whole, or has no hash at hand. False when it does
    /// not know all of it, or the disk holds something else.
    fn read_noted(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let end = offset + buffer.len() as u64;
        let ends = |stretch: &Stretch| stretch.offset.saturating_add(u64::from(stretch.length));
        let Some(journal) = self.journal() else { return false };
        let noted = journal.stretches().iter().filter(|s| s.offset < end && ends(s) > offset);
        let mut noted: Vec<Stretch> = noted.copied().collect();
        drop(journal);
        noted.sort_by_key(|stretch| stretch.offset);
        let mut filled = offset;
        for stretch in noted.iter().filter(|stretch| stretch.length as usize <= STRETCH_MAX) {
            let mut stored = vec![0; stretch.length as usize];
            if stretch.offset > filled
                || self.storage.read(stretch.offset, &mut stored).is_err()
                || !stretch.matches(&stored)
            {
                continue;
            }
            let stop = ends(stretch).min(end);
            if stop > filled {
                let from = &stored[(filled - stretch.offset) as usize..];
                let to = &mut buffer[(filled - offset) as usize..(stop - offset) as usize];
                to.copy_from_slice(&from[..to.len()]);
                filled = stop;
            }
        }
        filled == end
    }
    /// Writes verified bytes, and notes those in the journal that no later check could verify by itself.
    ///
    /// # Errors
    /// As [`Storage::write`].
    pub fn write(&self, offset: u64, parts: &[Bytes]) -> Result<(), DriveError> {
        let length = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let pieces = self.pieces_of(offset, length);
        self.given_up().retain(|piece| !pieces.contains(piece));
        self.storage.write(offset, parts)?;
        if self.journal.is_some() && self.needs_journal(offset, length) {
            let stretch = Stretch::of(offset, parts);
            self.journal().map_or(Ok(()), |mut journal| journal.append(stretch))?;
        }
        Ok(())
    }
    fn given_up(&self) -> MutexGuard<'_, BTreeSet<u32>> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Pieces that have bytes in a stretch of piece space.
    fn pieces_of(&self, offset: u64, length: u64) -> std::ops::Range<u32> {
        let layout = &self.storage.info().layout;
        let place = |at| layout.piece_at(at).map(PieceIndex::get);
        match (place(offset), place(offset.saturating_add(length.max(1)) - 1)) {
            (Some(first), last) => {
                first..last.map_or_else(|| layout.piece_count(), |last| last + 1)
            }
            (None, _) => 0..0,
        }
    }
    /// Whether the room of a piece under this stretch was given back: what was read there may be zeros. To be asked after a read
    /// that the node does not know of.
    #[must_use]
    pub fn is_given_up(&self, offset: u64, length: u64) -> bool {
        self.given_up().range(self.pieces_of(offset, length)).next().is_some()
    }
    /// Gives the room of `pieces` back to the disk, once `record`, which is without them, is there. Returns the bytes that the
    /// title still takes.
    ///
    /// A process that is killed meanwhile finds by hashing what is still there.
    ///
    /// # Errors
    /// When the record cannot be written: then nothing was freed. Or when room cannot be freed.
    pub fn evict(&self, record: &ResumeRecord, pieces: &[u32]) -> Result<u64, DriveError> {
        let gone: BTreeSet<u32> = pieces.iter().copied().collect();
        self.given_up().extend(&gone);
        self.journal().map_or(Ok(()), |mut journal| {
            journal.retain(|stretch| {
                let mut under = self.pieces_of(stretch.offset, u64::from(stretch.length));
                !under.all(|piece| gone.contains(&piece))
            })
        })?;
        self.save(record)?;
        let layout = &self.storage.info().layout;
        let list: Vec<u32> = gone.into_iter().collect();
        // Neighbours in one go: what the system's blocks have in common is freed too.
        for run in list.chunk_by(|a, b| a + 1 == *b) {
            let ends = run.first().zip(run.last());
            let ends = ends.and_then(|(&a, &b)| Some((layout.piece(a)?, layout.piece(b)?)));
            if let Some((first, last)) = ends {
                let (start, end) = (layout.start(first), layout.start(last));
                self.storage.punch(start, end + u64::from(layout.data_len(last)) - start)?;
            }
        }
        // Holes change how files look. Without this record the next start would hash all that is left, and no harm done.
        let _ = self.save(record);
        Ok(self.storage.allocated())
    }
    /// Whether a write leaves a piece that is not whole, or that has no hash to check it by.
    fn needs_journal(&self, offset: u64, length: u64) -> bool {
        let layout = &self.storage.info().layout;
        let end = offset.saturating_add(length);
        let mut at = offset;
        while at < end {
            let Some(piece) = layout.piece_at(at) else { return false };
            let start = layout.start(piece);
            let data_end = start + u64::from(layout.data_len(piece));
            if at > start || end < data_end || !self.is_checkable(piece.get()) {
                return true;
            }
            at = start + u64::from(layout.nominal_len(piece));
        }
        false
    }
    /// Leaf hashes of a stored piece, 32 bytes each.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub fn leaves(&self, piece: u32, buffers: &ReadBuffers) -> Result<Bytes, DriveError> {
        let layout = &self.storage.info().layout;
        let piece = layout
            .piece(piece)
            .ok_or_else(|| DriveError::Invalid(format!("there is no piece {piece}")))?;
        let (start, length) = (layout.start(piece), layout.data_len(piece) as usize);
        let count = length.div_ceil(hash::LEAF_LEN);
        let first = u64::from(piece.get()) * u64::from(layout.blocks_per_piece());
        let expected = expectation(self.storage.info(), &self.layers, piece.get());
        if let (Some(kept), Expect::V2 { root, levels }) = (&self.leaves, expected)
            && let Some(list) = kept.get(first, count, root, levels)
        {
            return Ok(list.into());
        }
        let mut out = Vec::with_capacity(count * hash::HASH_LEN);
        let mut at = 0;
        while at < length {
            let step = (length - at).min(HASH_STEP);
            let mut buffer = buffers.take(step);
            self.read_into(start + at as u64, buffer.memory())?;
            hash::leaves(buffer.as_ref()).for_each(|leaf| out.extend(leaf.0));
            at += step;
        }
        if let (Some(kept), Expect::V2 { .. }) = (&self.leaves, expected) {
            kept.put(first, &out);
        }
        Ok(out.into())
    }
    /// Brings the data to the disk, then records that it is there.
    ///
    /// # Errors
    /// When either cannot be done: the earlier record then still stands.
    pub fn save(&self, record: &ResumeRecord) -> Result<(), DriveError> {
        let Some(path) = &self.record else { return Ok(()) };
        let stamps = self.storage.sync()?;
        if let Some(journal) = self.journal() {
            journal.sync()?;
        }
        Record { have: record.have.clone(), stamps }.save(path)?;
        let layout = &self.storage.info().layout;
        let piece_of = |at| layout.piece_at(at).map(PieceIndex::get);
        self.journal().map_or(Ok(()), |mut journal| {
            journal.retain(|stretch| {
                let last = stretch.offset + u64::from(stretch.length.max(1)) - 1;
                let (Some(first), Some(last)) = (piece_of(stretch.offset), piece_of(last)) else {
                    return false;
                };
                (first..=last).any(|piece| !record.have.get(piece) || !self.is_checkable(piece))
            })
        })
    }
    /// Keeps the info dictionary for a later start without peers.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn keep_info(&self) -> Result<(), DriveError> {
        let raw = &self.storage.info().raw;
        let Some(path) = self.record.as_ref().map(|record| record.with_extension("info")) else {
            return Ok(());
        };
        let kept = std::fs::read(&path).is_ok_and(|kept| kept == *raw);
        if kept { Ok(()) } else { replace(&path, raw) }
    }
}

#[cfg(test)]
mod tests;
