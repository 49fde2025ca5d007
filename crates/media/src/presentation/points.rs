//! The key points of a film whose frames are told of by its body alone: where it can be begun, and where it is cut.

use core::ops::Range;

use shoal_wire::time_index::TimeIndex;

use super::segments::TARGET_MS;
use crate::bytes::rescaled;
use crate::limits::{DURATION_MS_MAX, KEYS_MAX};

/// Where the frame that a cue points to stands this near to the start of its cluster, nothing but the cluster's own time and the like
/// stands before it.
const NEAR_BYTES: u64 = 32;
/// Longest header of an element.
const HEADER_MAX: u64 = 12;

/// A key frame of the stream that the film is cut at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// When it is shown, in units.
    pub(crate) shown: u64,
    /// Where its cluster or fragment begins in the file.
    pub(crate) cluster: u64,
    /// Where its block begins inside the cluster's body; 0 when it is the first one, or that is not told.
    pub(crate) inside: u64,
}

/// What is known of a film's key points.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Points {
    /// Units of their times in a second.
    pub(crate) timescale: u32,
    /// Ascending in time and place.
    pub(crate) keys: Vec<Key>,
    /// The keys that segments begin with.
    pub(crate) cuts: Vec<Key>,
    /// Where the first cluster or fragment begins, and where the file ends.
    pub(crate) bytes: Range<u64>,
    /// Length of the film in units; 0 when it is not known.
    pub(crate) end: u64,
}

impl Points {
    /// None yet, of a film in these bytes of the file.
    pub(crate) fn new(timescale: u32, bytes: Range<u64>, end: u64) -> Self {
        Self { timescale, keys: Vec::new(), cuts: Vec::new(), bytes, end }
    }
    /// Takes over a key if it lies behind the last one.
    pub(crate) fn push(&mut self, key: Key) {
        let place = |key: &Key| (key.cluster, key.inside);
        let inside = if key.inside <= NEAR_BYTES { 0 } else { key.inside };
        let key = Key { inside, ..key };
        let follows =
            self.keys.last().is_none_or(|last| key.shown > last.shown && place(&key) > place(last));
        if follows && self.bytes.contains(&key.cluster) && self.keys.len() < KEYS_MAX {
            self.keys.push(key);
        }
    }
    /// Cuts at keys [`TARGET_MS`] or more apart.
    pub(super) fn cut(&mut self) {
        let step = rescaled(TARGET_MS, 1000, self.timescale);
        self.cuts.clear();
        for key in &self.keys {
            if self.cuts.last().is_none_or(|last| key.shown >= last.shown.saturating_add(step)) {
                self.cuts.push(*key);
            }
        }
    }
    /// Takes over the key points of a published index from that byte on, unless they only divide the file evenly.
    pub(super) fn take_index(&mut self, index: &TimeIndex, from: u64) {
        let head = index.boot.first().map_or(0, |(_, length)| *length);
        let even = TimeIndex::constant_rate(index.length, index.duration_ms, head);
        if index.length != self.bytes.end || index.keys == even.keys {
            return;
        }
        self.end = self.end.max(self.units_of_ms(index.duration_ms));
        for key in index.keys.iter().filter(|key| key.offset >= from) {
            let shown = self.units_of_ms(key.time_ms);
            self.push(Key { shown, cluster: key.offset, inside: 0 });
        }
        self.cut();
    }
    pub(crate) fn units_of_ms(&self, ms: u64) -> u64 {
        rescaled(ms.min(DURATION_MS_MAX), 1000, self.timescale)
    }
    /// The bytes in which segment `number` is found: to the cluster of the next, or as far into that as the frame that the next
    /// begins with.
    pub(super) fn range(&self, number: usize) -> Range<u64> {
        let start = match self.cuts.get(number) {
            // What comes before the first key goes with it.
            Some(_) if number == 0 => self.bytes.start,
            Some(cut) => cut.cluster,
            None => self.bytes.end,
        };
        let end = match self.cuts.get(number + 1) {
            Some(next) if next.inside > 0 => {
                next.cluster.saturating_add(next.inside).saturating_add(HEADER_MAX)
            }
            Some(next) => next.cluster,
            None => self.bytes.end,
        };
        start..end.min(self.bytes.end).max(start)
    }
    /// The last key that is shown no later than `units`, or the first one.
    pub(crate) fn key_before(&self, units: u64) -> Option<Key> {
        let after = self.keys.partition_point(|key| key.shown <= units);
        self.keys.get(after.saturating_sub(1)).copied()
    }
}
