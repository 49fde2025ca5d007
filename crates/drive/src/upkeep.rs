//! What the world itself notices: a suspend, another network.
//!
//! A suspend shows itself in two ways: by a clock that goes on in it, where the system has one, and by the wall clock, which
//! jumps. Who sets the wall clock by hand looks the same; then peers and trackers are met once more, and no harm is done.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::config::{SLEPT, UPKEEP_LOOK};
use crate::inbox::Arrival;
use crate::link::Commons;
use crate::sockets::own_addresses;

/// The wall clock, since 1970; nothing before that.
pub(crate) fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Time that passed while the machine slept since it was started.
fn slept() -> Duration {
    let of = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // A system without the clock never shows a difference: the wall clock does.
    #[cfg(target_os = "linux")]
    let boot = of(ClockId::Boottime);
    #[cfg(not(target_os = "linux"))]
    let boot = of(ClockId::Monotonic);
    boot.saturating_sub(of(ClockId::Monotonic))
}

/// Two clocks of which one may jump.
#[derive(Clone, Copy, Debug)]
struct Look {
    wall: Duration,
    slept: Duration,
    /// Monotonic.
    at: tokio::time::Instant,
}

impl Look {
    fn now() -> Self {
        Self { wall: wall(), slept: slept(), at: tokio::time::Instant::now() }
    }
    /// Whether the machine seems to have slept between an earlier look and this one.
    fn woke_since(&self, before: &Self) -> bool {
        let expected = before.wall + self.at.duration_since(before.at);
        self.slept.saturating_sub(before.slept) > SLEPT || self.wall.abs_diff(expected) > SLEPT
    }
}

/// Looks after the world until it is aborted.
pub(crate) async fn look(commons: Rc<Commons>) {
    let (mut last, mut addresses) = (Look::now(), own_addresses());
    loop {
        tokio::time::sleep(UPKEEP_LOOK).await;
        let now = Look::now();
        let woke = now.woke_since(&std::mem::replace(&mut last, now));
        let before = std::mem::replace(&mut addresses, own_addresses());
        commons.inbox.push(Arrival::Look { moved: woke || before != addresses });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspend_is_seen_by_either_clock_and_a_clock_that_is_corrected_is_none() {
        let second = Duration::from_secs(1);
        let before = Look { wall: second * 1000, slept: second * 7, at: Look::now().at };
        let later = |wall: u32, slept: u32| {
            let passed = Look { at: before.at + second * 5, ..before };
            let now = Look { wall: second * wall, slept: second * slept, ..passed };
            now.woke_since(&before)
        };
        assert!(!later(1005, 7) && !later(1009, 7) && !later(1001, 7) && !later(1005, 10));
        assert!(later(4605, 7), "where only the wall clock tells");
        assert!(later(4605, 3607), "where both do");
        assert!(later(1005, 3607), "and was corrected already");
        assert!(later(0, 7), "set back");
    }
}
