//! A token bucket: bytes that may be given now, filled at a rate that the caller knows.

use core::time::Duration;

use crate::time::{Instant, bytes_in, time_of};

/// What may be given. Below zero after more was given than there was.
#[derive(Debug)]
pub(super) struct Bucket {
    room: i64,
    filled: Instant,
}

impl Bucket {
    /// An empty one.
    pub(super) fn new(now: Instant) -> Self {
        Self { room: 0, filled: now }
    }
    /// Fills it for the time since it was last filled, at `rate` bytes/s, up to `most`.
    pub(super) fn fill(&mut self, now: Instant, rate: u64, most: u64) {
        let fresh = bytes_in(now.since(self.filled), rate);
        // Time that is worth less than a byte is not lost.
        if fresh > 0 {
            let limit = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
            self.room = self.room.saturating_add(limit(fresh)).min(limit(most));
            self.filled = now;
        }
    }
    /// `bytes` were given; no more than `debt` is owed for it.
    pub(super) fn spend(&mut self, bytes: u32, debt: u64) {
        let least = i64::try_from(debt).map_or(i64::MIN, |debt| -debt);
        self.room = (self.room - i64::from(bytes)).max(least);
    }
    /// Whether something may be given.
    pub(super) fn is_open(&self) -> bool {
        self.room > 0
    }
    /// When something may be given, at `rate` bytes/s.
    pub(super) fn opens(&self, rate: u64) -> Instant {
        let owed = u64::try_from(1 - self.room).unwrap_or(0);
        self.filled + time_of(owed, rate) + Duration::from_micros(1)
    }
}
