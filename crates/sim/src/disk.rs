//! A node's storage and its slow work: every job is answered later, never at once.
//!
//! One queue per node for the disk and one for the processor that hashes, each with a rate, as on a machine with one of
//! each. Contents are not kept: a bit per block says that it was stored, and the few blocks stored with wrong bytes
//! (only a broken node does that) are listed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use shoal_node::io::{Failure, FailureKind, Job, Outcome, ResumeRecord};
use shoal_node::link::TitleId;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Layout;
use shoal_wire::peer::BLOCK_LEN;

use crate::catalogue::Catalogue;
use crate::content::{good, is_tainted, tainted};
use crate::network::address_of;

/// How fast a node's disk and processor are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// Time before a disk job begins, nanoseconds.
    pub access_ns: u64,
    /// Bytes/s read and written.
    pub rate: u64,
    /// Bytes/s hashed.
    pub hash_rate: u64,
    /// Time that a name takes to be resolved, nanoseconds.
    pub resolve_ns: u64,
}

impl Default for DiskConfig {
    fn default() -> Self {
        Self {
            access_ns: 100_000,
            rate: 500_000_000,
            hash_rate: 1_000_000_000,
            resolve_ns: 20_000_000,
        }
    }
}

/// Storage of one host; it outlives the node's process.
#[derive(Debug)]
pub struct Disk {
    config: DiskConfig,
    catalogue: Rc<Catalogue>,
    disk_free_at: u64,
    hash_free_at: u64,
    /// Titles of which something was stored or saved.
    shelves: BTreeMap<TitleId, Shelf>,
    /// Disk jobs take this many times longer.
    pub slowness: u32,
    /// Writes fail for lack of room.
    pub full: bool,
    /// More than so many bytes must never be stored.
    pub stored_max: Option<u64>,
    /// Host of the directory, for names.
    pub directory: u32,
}

/// What is stored of one title.
#[derive(Debug)]
struct Shelf {
    stored: Bitfield,
    tainted: BTreeSet<u32>,
    /// Saved resume data.
    saved: Option<ResumeRecord>,
}

/// What a job did, beyond its outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wrong {
    /// Bytes that fail their hash were stored as verified.
    StoredTaint,
    /// Bytes were read that were never stored.
    ReadUnstored,
    /// The record vouches for bytes that were never stored.
    SavedUnstored,
    /// The record vouches for what is being freed.
    FreedRecorded,
}

impl Disk {
    /// An empty one.
    #[must_use]
    pub fn new(config: DiskConfig, catalogue: Rc<Catalogue>) -> Self {
        Self {
            config,
            catalogue,
            disk_free_at: 0,
            hash_free_at: 0,
            shelves: BTreeMap::new(),
            slowness: 1,
            full: false,
            stored_max: None,
            directory: 0,
        }
    }
    fn shelf(&mut self, title: TitleId) -> &mut Shelf {
        let blocks = self.catalogue.any().block_count();
        self.shelves.entry(title).or_insert_with(|| Shelf {
            stored: Bitfield::new(blocks),
            tainted: BTreeSet::new(),
            saved: None,
        })
    }
    /// Whether one of some blocks of a title, 16 KiB of piece space each, was stored.
    #[must_use]
    pub fn has_any(&self, title: TitleId, blocks: std::ops::Range<u32>) -> bool {
        let first =
            self.shelves.get(&title).and_then(|shelf| shelf.stored.next(blocks.start, true));
        first.is_some_and(|first| first < blocks.end)
    }
    /// Puts whole pieces there before the run begins.
    pub fn preload(&mut self, title: TitleId, pieces: &Bitfield) {
        let per_piece = self.catalogue.any().info.layout.blocks_per_piece();
        let shelf = self.shelf(title);
        for piece in pieces.iter() {
            for block in 0..per_piece {
                shelf.stored.set(piece * per_piece + block);
            }
        }
        shelf.saved = Some(ResumeRecord { have: pieces.clone(), partial: Vec::new() });
    }
    /// Whether all of a piece of a title is stored.
    #[must_use]
    pub fn has_piece(&self, title: TitleId, piece: u32) -> bool {
        let layout = &self.catalogue.any().info.layout;
        let (Some(index), Some(shelf)) = (layout.piece(piece), self.shelves.get(&title)) else {
            return false;
        };
        let first = piece * layout.blocks_per_piece();
        (first..first + layout.block_count(index)).all(|block| shelf.stored.get(block))
    }
    /// Whole pieces of a title that are stored.
    #[must_use]
    pub fn pieces(&self, title: TitleId) -> Bitfield {
        let layout = &self.catalogue.any().info.layout;
        let per_piece = layout.blocks_per_piece();
        let mut pieces = Bitfield::new(layout.piece_count());
        let Some(shelf) = self.shelves.get(&title) else { return pieces };
        for piece in layout.pieces() {
            let first = piece.get() * per_piece;
            let end = first + layout.block_count(piece);
            if (first..end).all(|block| shelf.stored.get(block)) {
                pieces.set(piece.get());
            }
        }
        pieces
    }
    /// What a process that starts here would find in its resume data of a title.
    #[must_use]
    pub fn saved(&self, title: TitleId) -> Option<&ResumeRecord> {
        self.shelves.get(&title)?.saved.as_ref()
    }

    /// Does a job: when it is done, its outcome, and what was wrong with asking for it.
    pub fn run(&mut self, now: u64, job: Job) -> (u64, Outcome, Option<Wrong>) {
        match job {
            Job::Read { title, offset, length } => {
                let at = self.disk_time(now, u64::from(length));
                let (data, wrong) = self.shelf(title).read(offset, length);
                (at, Outcome::Data(data), wrong)
            }
            Job::Write { title, offset, parts } => self.write_parts(now, title, offset, &parts),
            Job::CheckBlock { data, expect } => {
                let good = !is_tainted(&data) && self.catalogue.any().is_block(data.len(), &expect);
                (self.hash_time(now, data.len() as u64), Outcome::Checked(good), None)
            }
            Job::CheckPiece { parts, padding, expect } => {
                let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
                let good = parts.iter().all(|part| !is_tainted(part))
                    && self.catalogue.any().is_piece(bytes + u64::from(padding), &expect);
                (self.hash_time(now, bytes), Outcome::Checked(good), None)
            }
            Job::CheckTree { parts, expect, .. } => {
                let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
                let good = parts.iter().all(|part| !is_tainted(part))
                    && self.catalogue.any().is_tree(bytes, &expect);
                (self.hash_time(now, bytes), Outcome::Checked(good), None)
            }
            Job::CheckInfo { raw, hashes } => {
                let good = self.catalogue.is_info(&raw, &hashes);
                (self.hash_time(now, raw.len() as u64), Outcome::Checked(good), None)
            }
            Job::Leaves { piece, .. } => {
                let length = self.catalogue.any().info.layout.piece_length();
                let at = self.disk_time(now, u64::from(length));
                (at, Outcome::Data(self.catalogue.any().leaves(piece)), None)
            }
            Job::Prepare { title, .. } => {
                let at = self.disk_time(now, 0);
                let saved = self.saved(title).cloned().unwrap_or_default();
                (at, Outcome::Prepared(Box::new(saved)), None)
            }
            Job::Save { title, record, .. } => self.save(now, title, record),
            Job::Evict { title, record, pieces } => self.evict(now, title, record, &pieces),
            // Nothing was watched here before.
            Job::Reclaim { .. } => (self.disk_time(now, 0), Outcome::Freed(0), None),
            Job::Resolve { host, port } => {
                let literal = host.parse::<std::net::IpAddr>().ok();
                let ip = literal.unwrap_or_else(|| address_of(self.directory).ip());
                let at = now + if literal.is_some() { 1 } else { self.config.resolve_ns };
                (at, Outcome::Resolved(vec![std::net::SocketAddr::new(ip, port)]), None)
            }
            Job::Fetch { .. } => {
                let failure = Failure {
                    kind: FailureKind::Network,
                    message: "There is no web in this world.".into(),
                };
                (now + self.config.resolve_ns, Outcome::Failed(failure), None)
            }
        }
    }

    fn write_parts(
        &mut self,
        now: u64,
        title: TitleId,
        offset: u64,
        parts: &[bytes::Bytes],
    ) -> (u64, Outcome, Option<Wrong>) {
        let bytes: usize = parts.iter().map(bytes::Bytes::len).sum();
        let at = self.disk_time(now, bytes as u64);
        if self.full {
            return (at, full(), None);
        }
        let mut wrong = None;
        let mut place = offset;
        for part in parts {
            if self.shelf(title).write(place, part) {
                wrong = Some(Wrong::StoredTaint);
            }
            place += part.len() as u64;
        }
        (at, Outcome::Stored, wrong)
    }
    fn save(
        &mut self,
        now: u64,
        title: TitleId,
        record: ResumeRecord,
    ) -> (u64, Outcome, Option<Wrong>) {
        let at = self.disk_time(now, 4096);
        if self.full {
            return (at, full(), None);
        }
        let catalogue = Rc::clone(&self.catalogue);
        let shelf = self.shelf(title);
        let too_far = shelf.vouches_too_far(&catalogue.any().info.layout, &record);
        let wrong = too_far.then_some(Wrong::SavedUnstored);
        shelf.saved = Some(record);
        (at, Outcome::Stored, wrong)
    }

    /// Records that pieces are gone, then frees them.
    fn evict(
        &mut self,
        now: u64,
        title: TitleId,
        record: ResumeRecord,
        pieces: &[u32],
    ) -> (u64, Outcome, Option<Wrong>) {
        let (at, outcome, mut wrong) = self.save(now, title, record);
        if !matches!(outcome, Outcome::Stored) {
            return (at, outcome, wrong);
        }
        let vouched = |record: &ResumeRecord| {
            pieces.iter().any(|&piece| {
                record.have.get(piece) || record.partial.iter().any(|(other, _)| *other == piece)
            })
        };
        if self.saved(title).is_some_and(vouched) {
            wrong = Some(Wrong::FreedRecorded);
        }
        let per_piece = self.catalogue.any().info.layout.blocks_per_piece();
        let shelf = self.shelf(title);
        for block in pieces.iter().flat_map(|piece| piece * per_piece..(piece + 1) * per_piece) {
            shelf.stored.clear(block);
            shelf.tainted.remove(&block);
        }
        (at, Outcome::Freed(shelf.stored_bytes()), wrong)
    }
    /// Bytes of the blocks that are stored, of all titles.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.shelves.values().map(Shelf::stored_bytes).sum()
    }

    fn disk_time(&mut self, now: u64, bytes: u64) -> u64 {
        let slowness = u64::from(self.slowness.max(1));
        let work = self.config.access_ns + bytes * 1_000_000_000 / self.config.rate.max(1);
        self.disk_free_at = self.disk_free_at.max(now) + work * slowness;
        self.disk_free_at
    }
    fn hash_time(&mut self, now: u64, bytes: u64) -> u64 {
        let work = bytes * 1_000_000_000 / self.config.hash_rate.max(1);
        self.hash_free_at = self.hash_free_at.max(now) + work.max(1);
        self.hash_free_at
    }
}

impl Shelf {
    fn stored_bytes(&self) -> u64 {
        u64::from(self.stored.ones()) * u64::from(BLOCK_LEN)
    }
    fn blocks(offset: u64, length: u64) -> std::ops::Range<u32> {
        let block = u64::from(BLOCK_LEN);
        (offset / block) as u32..(offset + length).div_ceil(block) as u32
    }
    fn read(&self, offset: u64, length: u32) -> (bytes::Bytes, Option<Wrong>) {
        let blocks = Self::blocks(offset, u64::from(length));
        let missing = blocks.clone().any(|block| !self.stored.get(block));
        if missing || self.tainted.range(blocks).next().is_some() {
            return (tainted(length as usize), missing.then_some(Wrong::ReadUnstored));
        }
        (good(length as usize), None)
    }
    /// True when what was stored is not film.
    fn write(&mut self, offset: u64, part: &[u8]) -> bool {
        let bad = is_tainted(part);
        for block in Self::blocks(offset, part.len() as u64) {
            self.stored.set(block);
            if bad {
                self.tainted.insert(block);
            } else {
                self.tainted.remove(&block);
            }
        }
        bad
    }
    fn vouches_too_far(&self, layout: &Layout, record: &ResumeRecord) -> bool {
        let per_piece = layout.blocks_per_piece();
        let whole = record.have.iter().filter_map(|piece| layout.piece(piece)).any(|piece| {
            (0..layout.block_count(piece))
                .any(|block| !self.stored.get(piece.get() * per_piece + block))
        });
        let part = record.partial.iter().any(|(piece, blocks)| {
            blocks.iter().any(|block| !self.stored.get(piece * per_piece + block))
        });
        whole || part
    }
}

fn full() -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::DiskFull,
        message: "The disk is full: free some space and it goes on.".into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Format;
    use shoal_wire::metainfo::TitleExtras;

    fn disk() -> Disk {
        let extras = TitleExtras::default();
        let all = Catalogue::new(2, 300_000, 65_536, Format::Hybrid, &extras).expect("titles");
        Disk::new(DiskConfig::default(), Rc::new(all))
    }

    #[test]
    fn what_is_stored_of_one_title_is_not_stored_of_another() {
        let mut disk = disk();
        disk.preload(TitleId(1), &Bitfield::full(5));
        assert!(disk.pieces(TitleId(1)).is_full() && disk.saved(TitleId(1)).is_some());
        assert!(disk.pieces(TitleId(0)).ones() == 0 && disk.saved(TitleId(0)).is_none());
        assert!(disk.has_any(TitleId(1), 3..4) && !disk.has_any(TitleId(0), 0..20));
    }

    #[test]
    fn what_is_given_up_of_one_title_stays_of_another_and_all_titles_count() {
        let mut disk = disk();
        disk.preload(TitleId(0), &Bitfield::full(5));
        disk.preload(TitleId(1), &Bitfield::full(5));
        let block = u64::from(BLOCK_LEN);
        assert_eq!(disk.stored_bytes(), 38 * block);
        let mut have = Bitfield::full(5);
        have.clear(2);
        let record = ResumeRecord { have, partial: Vec::new() };
        let evict = |pieces| Job::Evict { title: TitleId(1), record: record.clone(), pieces };
        let (_, outcome, wrong) = disk.run(0, evict(vec![2]));
        assert!(matches!(outcome, Outcome::Freed(left) if left == 15 * block) && wrong.is_none());
        assert!(!disk.has_piece(TitleId(1), 2) && disk.has_piece(TitleId(1), 3));
        assert!(disk.pieces(TitleId(0)).is_full());
        assert_eq!(disk.stored_bytes(), 34 * block);
        assert_eq!(disk.run(0, evict(vec![3])).2, Some(Wrong::FreedRecorded));
    }

    #[test]
    fn jobs_are_done_later_and_one_after_the_other() {
        let mut disk = disk();
        let read = |offset| Job::Read { title: TitleId(0), offset, length: 16_384 };
        disk.preload(TitleId(0), &Bitfield::full(5));
        let (first, outcome, wrong) = disk.run(1000, read(0));
        let (second, ..) = disk.run(1000, read(16_384));
        assert!(first > 1000 && second > first && wrong.is_none());
        assert!(matches!(outcome, Outcome::Data(data) if data.len() == 16_384));
    }

    #[test]
    fn reading_what_was_never_stored_gives_garbage_and_is_noticed() {
        let (_, outcome, wrong) =
            disk().run(0, Job::Read { title: TitleId(0), offset: 0, length: 10 });
        assert_eq!(wrong, Some(Wrong::ReadUnstored));
        assert!(matches!(outcome, Outcome::Data(data) if is_tainted(&data)));
    }

    #[test]
    fn a_corrupt_piece_is_told_from_a_good_one() {
        let mut disk = disk();
        let info = &disk.catalogue.any().info;
        let piece = info.layout.piece(0).expect("a piece");
        let expect = info.piece_hash(piece).expect("v1");
        let check = |parts| Job::CheckPiece { parts, padding: 0, expect };
        let sound = vec![good(16_384); 4];
        let mut rotten = sound.clone();
        rotten[2] = tainted(16_384);
        assert!(matches!(disk.run(0, check(sound)).1, Outcome::Checked(true)));
        assert!(matches!(disk.run(0, check(rotten)).1, Outcome::Checked(false)));
        assert!(matches!(disk.run(0, check(vec![good(16_384); 3])).1, Outcome::Checked(false)));
    }
}
