//! The published time index of a film: time to byte, in the form that travels (docs/protocol.md).
//!
//! Built by `shoal-media`, published with the title, read by `shoal-node` to turn bytes into due times. [`TimeIndex::encode`]
//! and [`TimeIndex::decode`] are its file form: magic, version, then variable-length integers, key frames as differences.

mod codec;

use alloc::vec::Vec;

pub use codec::{MAX_BOOT_RANGES, MAX_DURATION_MS, MAX_INDEX_BYTES, MAX_KEYS};

/// A key frame: where playback can begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPoint {
    /// Presentation time, milliseconds from the start of the film.
    pub time_ms: u64,
    /// First byte in the film's file that is needed to show it.
    pub offset: u64,
}

/// Time to byte for one film. Both columns of `keys` ascend; the first key is at time 0 unless the film starts later.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TimeIndex {
    /// Length of the film, milliseconds.
    pub duration_ms: u64,
    /// Length of the film's file, bytes.
    pub length: u64,
    /// Byte ranges a player needs before anything else (header, index of the container): offset and length.
    pub boot: Vec<(u64, u64)>,
    /// Key frames, or at least one point every few seconds.
    pub keys: Vec<KeyPoint>,
}

impl TimeIndex {
    /// An index for a film of constant rate: one point each second. Used where nothing better is known.
    #[must_use]
    pub fn constant_rate(length: u64, duration_ms: u64, head_bytes: u64) -> Self {
        let duration_ms = duration_ms.max(1);
        let head_bytes = head_bytes.min(length);
        let media = u128::from(length - head_bytes);
        let points = (duration_ms / 1000).min(1_000_000);
        let keys = (0..=points)
            .map(|second| KeyPoint {
                time_ms: second * 1000,
                offset: head_bytes
                    + (media * u128::from(second * 1000) / u128::from(duration_ms)) as u64,
            })
            .filter(|key| key.offset < length && key.time_ms < duration_ms)
            .collect();
        Self { duration_ms, length, boot: alloc::vec![(0, head_bytes)], keys }
    }
    /// The last key at or before `time_ms` (the first key before that). `None` when there are no keys.
    #[must_use]
    pub fn key_before(&self, time_ms: u64) -> Option<KeyPoint> {
        let after = self.keys.partition_point(|key| key.time_ms <= time_ms);
        self.keys.get(after.saturating_sub(1)).copied()
    }
    /// First byte needed at `time_ms`, interpolated between keys; clamped to the file.
    #[must_use]
    pub fn offset_at(&self, time_ms: u64) -> u64 {
        let after = self.keys.partition_point(|key| key.time_ms <= time_ms);
        let Some(from) = self.keys.get(after.saturating_sub(1)) else { return 0 };
        let (end_time, end_offset) = self
            .keys
            .get(after)
            .map_or((self.duration_ms, self.length), |key| (key.time_ms, key.offset));
        interpolate(time_ms, (from.time_ms, from.offset), (end_time, end_offset)).min(self.length)
    }
    /// Time at which byte `offset` is needed, interpolated between keys; clamped to the duration.
    #[must_use]
    pub fn time_at(&self, offset: u64) -> u64 {
        let after = self.keys.partition_point(|key| key.offset <= offset);
        let Some(from) = self.keys.get(after.saturating_sub(1)) else { return 0 };
        let (end_time, end_offset) = self
            .keys
            .get(after)
            .map_or((self.duration_ms, self.length), |key| (key.time_ms, key.offset));
        interpolate(offset, (from.offset, from.time_ms), (end_offset, end_time))
            .min(self.duration_ms)
    }
    /// Mean rate, bytes/s; at least 1.
    #[must_use]
    pub fn mean_rate(&self) -> u64 {
        (self.length.saturating_mul(1000) / self.duration_ms.max(1)).max(1)
    }
}

/// `y` at `x` on the line through two points, clamped to begin at the first one.
fn interpolate(x: u64, (x0, y0): (u64, u64), (x1, y1): (u64, u64)) -> u64 {
    let (dx, dy) = (x1.saturating_sub(x0).max(1), y1.saturating_sub(y0));
    let part = u128::from(x.saturating_sub(x0)) * u128::from(dy) / u128::from(dx);
    y0.saturating_add(u64::try_from(part).unwrap_or(u64::MAX))
}
