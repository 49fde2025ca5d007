//! What is on its way, by when it is due.
//!
//! Of what is not urgent only so much is asked for at a time. What was asked for long before it is needed waits everywhere
//! behind what is more urgent, so it must not keep from being asked what is due sooner: a request counts against what is due
//! before it or with it, not against what is due later.

use core::time::Duration;

use crate::time::Instant;

/// Zones by the time that was left when a block was asked for; what is due later or never is in the last one.
const ZONES: [Duration; 3] =
    [Duration::from_secs(10), Duration::from_secs(20), Duration::from_secs(40)];

/// The zone of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Zone(u8);

impl Zone {
    /// The zone of what is due first.
    pub(super) const FIRST: Self = Self(0);

    /// The zone of what is due at a moment, or never.
    pub(super) fn of(now: Instant, due: Option<Instant>) -> Self {
        let passed = ZONES.iter().filter(|zone| due.is_none_or(|due| due > now + **zone)).count();
        Self(u8::try_from(passed).unwrap_or(u8::MAX))
    }
    fn index(self) -> usize {
        usize::from(self.0).min(ZONES.len())
    }
}

/// Bytes that are on their way from all peers together, by zone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Ahead([u64; ZONES.len() + 1]);

impl Ahead {
    /// A block was asked for.
    pub(super) fn add(&mut self, zone: Zone, bytes: u32) {
        self.0[zone.index()] += u64::from(bytes);
    }
    /// A block came, or will not.
    pub(super) fn remove(&mut self, zone: Zone, bytes: u32) {
        self.0[zone.index()] -= u64::from(bytes);
    }
    /// What is due no later than a block of this zone.
    pub(super) fn until(&self, zone: Zone) -> u64 {
        self.0.iter().take(zone.index() + 1).sum()
    }
    /// All of it.
    pub(super) fn all(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_later_does_not_count_against_what_is_due_sooner() {
        let now = Instant::from_millis(5000);
        let zone = |s: u64| Zone::of(now, Some(now + Duration::from_secs(s)));
        assert_eq!((zone(0), zone(10), zone(11), zone(41)), (Zone(0), Zone(0), Zone(1), Zone(3)));
        assert_eq!(Zone::of(now, None), Zone(3));
        let mut ahead = Ahead::default();
        ahead.add(zone(60), 400);
        ahead.add(zone(15), 30);
        ahead.add(zone(5), 2);
        assert_eq!(
            (ahead.until(zone(1)), ahead.until(zone(12)), ahead.until(zone(30))),
            (2, 32, 32)
        );
        assert_eq!((ahead.until(zone(90)), ahead.all()), (432, 432));
        ahead.remove(zone(15), 30);
        assert_eq!(ahead.until(zone(12)), 2);
    }
}
