//! Bulk keeps off the uplink while who watches waits for it.
//!
//! The order of links decides who is given the next block, but each connection has a share of its own beyond our reach, and all
//! of them meet in one queue. Among three downloads over BBR a viewer's connection was seen to get a twelfth of the uplink for ten
//! seconds: its transport took no more, so the turn went to the others, whose packets kept it slow. So while a link *starves*
//! (something on it is due soon, and its transport takes nothing), nothing is given that is due later than in half a minute, or never. That helps only where our
//! uplink is what is scarce. Where most of it then lies idle, the starving link is slow for reasons of its own, and bulk goes
//! on for a while:
//!
//! ```text
//! goes -- a link starves, and bulk waits --> holds -- none starves --> goes
//!   ^                                          |
//!   '-- after a pause, twice as long each time |
//! yields in vain <-- little passed meanwhile --'
//! ```

use core::time::Duration;

use crate::time::{Instant, bytes_in};

/// Whether bulk is held, and what came of it.
#[derive(Debug)]
pub(super) struct Precedence {
    /// Links that starve.
    starving: u32,
    /// Since when bulk is held, and what the uplink had passed on by then.
    held: Option<(Instant, u64)>,
    /// For how long it was held before that since the last judgement, and what passed meanwhile.
    tried: (Duration, u64),
    /// It was in vain: bulk goes on until then.
    vain_until: Option<Instant>,
    /// The next pause.
    pause: Duration,
}

/// Holding is judged after this long, or four round trips: a connection must be able to grow.
const TRY: (Duration, u32) = (Duration::from_millis(300), 4);
/// It is in vain when less than one part in this many of what the uplink can passes meanwhile.
const VAIN_PART: u64 = 2;
/// Bounds of the pause.
const PAUSE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(32));

impl Default for Precedence {
    fn default() -> Self {
        let tried = (Duration::ZERO, 0);
        Self { starving: 0, held: None, tried, vain_until: None, pause: PAUSE.0 }
    }
}

impl Precedence {
    /// A link starves from now on, or no longer.
    pub(super) fn starves(&mut self, now: Instant, passed: u64, is: bool) {
        self.starving = if is { self.starving + 1 } else { self.starving - 1 };
        if self.starving == 0 {
            self.tried = self.so_far(now, passed);
            self.held = None;
        }
    }
    /// How many links starve.
    pub(super) fn starving(&self) -> u32 {
        self.starving
    }
    fn so_far(&self, now: Instant, passed: u64) -> (Duration, u64) {
        let (time, bytes) = self.tried;
        self.held.map_or(self.tried, |(since, before)| {
            (time + now.since(since), bytes + passed - before)
        })
    }
    fn goes(&self, now: Instant) -> bool {
        self.starving == 0 || self.vain_until.is_some_and(|until| now < until)
    }
    /// Whether bulk, which could be given now, has to wait. `passed` is what the uplink passed on so far, `peak` what it can, in
    /// bytes/s, and `rtt` the usual round trip.
    pub(super) fn holds(&mut self, now: Instant, passed: u64, peak: u64, rtt: Duration) -> bool {
        if self.goes(now) {
            return false;
        }
        self.held.get_or_insert((now, passed));
        let (time, bytes) = self.so_far(now, passed);
        if time < TRY.0.max(rtt * TRY.1) {
            return true;
        }
        self.tried = (Duration::ZERO, 0);
        let is_vain = bytes < bytes_in(time, peak) / VAIN_PART;
        if is_vain {
            self.held = None;
            self.vain_until = Some(now + self.pause);
            self.pause = (self.pause * 2).min(PAUSE.1);
        } else {
            self.held = Some((now, passed));
            self.pause = PAUSE.0;
        }
        !is_vain
    }
    /// When it should be looked at again while bulk waits.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.held.filter(|_| !self.goes(now)).map(|_| now + TRY.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEAK: u64 = 1_000_000;

    /// Times in ms within ten seconds at which bulk was held, looked at each 10 ms, while a link starves and `rate` bytes/s pass.
    fn held(precedence: &mut Precedence, rate: u64) -> u64 {
        let looks = (0..1000u64).map(|step| step * 10);
        looks
            .filter(|ms| {
                let passed = rate * ms / 1000;
                precedence.holds(Instant::from_millis(*ms), passed, PEAK, Duration::ZERO)
            })
            .count() as u64
            * 10
    }

    #[test]
    fn bulk_waits_while_somebody_starves_whom_that_helps() {
        let mut precedence = Precedence::default();
        assert_eq!(held(&mut precedence, PEAK), 0, "nobody starves");
        precedence.starves(Instant::ZERO, 0, true);
        assert_eq!(held(&mut precedence, PEAK * 9 / 10), 10_000);
        precedence.starves(Instant::from_millis(10_000), PEAK * 9, false);
        assert!(!precedence.holds(Instant::from_millis(10_001), PEAK * 9, PEAK, Duration::ZERO));
        assert_eq!(precedence.deadline(Instant::from_millis(10_001)), None);
    }

    #[test]
    fn bulk_goes_on_where_waiting_is_in_vain() {
        let mut precedence = Precedence::default();
        precedence.starves(Instant::ZERO, 0, true);
        // 0.3 s, a pause of 2 s, 0.3 s, 4 s, 0.3 s, 8 s.
        assert_eq!(held(&mut precedence, PEAK / 4), 900);
    }

    #[test]
    fn short_waits_add_up() {
        let mut precedence = Precedence::default();
        let mut waited = 0;
        for step in 0..1000u64 {
            let now = Instant::from_millis(step * 10);
            // It starves for 10 ms of each 20.
            precedence.starves(now, 0, step % 2 == 0);
            waited += u64::from(precedence.holds(now, 0, PEAK, Duration::ZERO));
        }
        assert!((60..=110).contains(&waited), "{waited}");
    }
}
