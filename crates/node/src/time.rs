//! Monotonic time without a clock: nanoseconds since an epoch that the driver chooses.

use core::num::NonZeroU64;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment of monotonic time. Eight bytes, and so is its `Option`. The driver's epoch is [`Instant::ZERO`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Instant(NonZeroU64);

impl Instant {
    /// The driver's epoch.
    pub const ZERO: Self = Self(NonZeroU64::MIN);

    /// `nanos` after the epoch; saturates after 584 years.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        match NonZeroU64::new(nanos.saturating_add(1)) {
            Some(value) => Self(value),
            None => Self::ZERO,
        }
    }
    /// `millis` after the epoch.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self::from_nanos(millis.saturating_mul(1_000_000))
    }
    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0.get() - 1
    }
    /// Whole milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.as_nanos() / 1_000_000
    }
    /// Time from `earlier` to here; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.get().saturating_sub(earlier.0.get()))
    }
    /// This moment moved back by `duration`, not before the epoch.
    #[must_use]
    pub fn back(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.as_nanos().saturating_sub(nanos))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    /// Saturates.
    fn add(self, duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self::from_nanos(self.as_nanos().saturating_add(nanos))
    }
}

impl Sub for Instant {
    type Output = Duration;
    /// Saturates at zero.
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// The earlier of two optional moments.
#[must_use]
pub fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Time that `bytes` take at `rate` bytes/s; a rate of zero counts as one byte/s.
#[must_use]
pub fn time_of(bytes: u64, rate: u64) -> Duration {
    let rate = rate.max(1);
    // A division of 128 bits costs as much as a dozen of 64, and is hardly ever needed.
    if let Some(product) = bytes.checked_mul(1_000_000_000) {
        return Duration::from_nanos(product / rate);
    }
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Bytes that flow in `duration` at `rate` bytes/s, rounded down.
#[must_use]
pub fn bytes_in(duration: Duration, rate: u64) -> u64 {
    let nanos = duration.as_nanos();
    if let Some(product) = u64::try_from(nanos).ok().and_then(|nanos| nanos.checked_mul(rate)) {
        return product / 1_000_000_000;
    }
    u64::try_from(u128::from(rate) * nanos / 1_000_000_000).unwrap_or(u64::MAX)
}
