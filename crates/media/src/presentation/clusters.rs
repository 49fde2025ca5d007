//! A film whose head tells only of its key points: where in the file the cluster of each is. The frames themselves are told of by the
//! clusters alone.

use core::ops::Range;

use shoal_wire::time_index::TimeIndex;

use super::segments::TARGET_MS;
use crate::bytes::rescaled;
use crate::limits::{DURATION_MS_MAX, KEYS_MAX};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;
/// Where the frame that a cue points to stands this near to the start of its cluster, nothing but the cluster's own time and the like
/// stands before it.
const NEAR_BYTES: u64 = 32;
/// Longest header of an element.
const HEADER_MAX: u64 = 12;

/// How the container's ticks become units of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds of a tick.
    scale: u64,
    timescale: u32,
}

impl Clock {
    /// With ticks of `scale` nanoseconds: a unit is a tick where a second has a whole number of them, else a microsecond.
    pub(crate) fn new(scale: u64) -> Self {
        let scale = scale.clamp(1, SECOND);
        let whole = SECOND.is_multiple_of(scale).then_some(SECOND / scale);
        let timescale = whole.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(1_000_000);
        Self { scale, timescale }
    }
    /// Units in a second.
    pub(crate) fn timescale(self) -> u32 {
        self.timescale
    }
    /// Of ticks, rounded down.
    pub(crate) fn units(self, ticks: i64) -> i64 {
        let units = i128::from(ticks) * i128::from(self.scale) * i128::from(self.timescale);
        self.clamped(units.div_euclid(i128::from(SECOND)))
    }
    /// Of nanoseconds, rounded to the nearest.
    pub(crate) fn units_of_ns(self, ns: u64) -> i64 {
        let units = i128::from(ns) * i128::from(self.timescale) + i128::from(SECOND / 2);
        self.clamped(units / i128::from(SECOND))
    }
    /// Of nanoseconds, rounded down.
    pub(crate) fn whole_units_of_ns(self, ns: u64) -> i64 {
        self.clamped(i128::from(ns) * i128::from(self.timescale) / i128::from(SECOND))
    }
    /// No film is longer than the longest, in either direction.
    fn clamped(self, units: i128) -> i64 {
        let most = i128::from(DURATION_MS_MAX) * i128::from(self.timescale) / 1000;
        i64::try_from(units.clamp(-most, most)).unwrap_or(0)
    }
}

/// What must be known of a stream's blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    /// Number of the track.
    pub(crate) number: u64,
    /// Its frames are shown by so much sooner than their blocks say, ns.
    pub(crate) delay_ns: u64,
    /// How long a frame lasts, ns; 0 when that is not told.
    pub(crate) frame_ns: u64,
    /// What every frame begins with and blocks leave out.
    pub(crate) stripped: Vec<u8>,
    /// Whether its frames may be decoded in another order than they are shown.
    pub(crate) reorders: bool,
}

/// A key frame of the stream that the film is cut at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    /// When it is shown, in units.
    pub(crate) shown: u64,
    /// Where its cluster begins in the file.
    pub(crate) cluster: u64,
    /// Where its block begins inside the cluster's body; 0 when it is the first one, or that is not told.
    pub(crate) inside: u64,
}

/// The head of a film in clusters.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Clusters {
    pub(crate) clock: Clock,
    /// In the order of the streams.
    pub(crate) lanes: Vec<Lane>,
    /// Ascending in time and place.
    pub(crate) keys: Vec<Key>,
    /// The keys that segments begin with.
    pub(crate) cuts: Vec<Key>,
    /// Where the first cluster begins, and where the file ends.
    pub(crate) bytes: Range<u64>,
    /// Length of the film in units; 0 when it is not known.
    pub(crate) end: u64,
}

impl Clusters {
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
        let step = rescaled(TARGET_MS, 1000, self.clock.timescale);
        self.cuts.clear();
        for key in &self.keys {
            if self.cuts.last().is_none_or(|last| key.shown >= last.shown.saturating_add(step)) {
                self.cuts.push(*key);
            }
        }
    }
    /// Takes over the key points of a published index, unless they only divide the file evenly.
    pub(super) fn take_index(&mut self, index: &TimeIndex) {
        let head = index.boot.first().map_or(0, |(_, length)| *length);
        let even = TimeIndex::constant_rate(index.length, index.duration_ms, head);
        if index.length != self.bytes.end || index.keys == even.keys {
            return;
        }
        self.end = self.end.max(self.units_of_ms(index.duration_ms));
        for key in &index.keys {
            let shown = self.units_of_ms(key.time_ms);
            self.push(Key { shown, cluster: key.offset, inside: 0 });
        }
        self.cut();
    }
    pub(crate) fn units_of_ms(&self, ms: u64) -> u64 {
        rescaled(ms.min(DURATION_MS_MAX), 1000, self.clock.timescale)
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
