//! What the world itself notices: the wall clock, a suspend, another network.

use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

use crate::config::{CLOCK_JUMP_MS, LOOKS_PER_CLOCK, SLEPT, UPKEEP_LOOK};
use crate::inbox::Arrival;
use crate::link::Commons;
use crate::sockets::own_addresses;

/// Unix time, milliseconds.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Time that passed while the machine slept since it was started.
fn slept() -> Duration {
    let of = |clock| {
        let time = clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    };
    // A system without the clock never shows a difference: it is found by the wall clock's jump.
    #[cfg(target_os = "linux")]
    let boot = of(ClockId::Boottime);
    #[cfg(not(target_os = "linux"))]
    let boot = of(ClockId::Monotonic);
    boot.saturating_sub(of(ClockId::Monotonic))
}

/// Looks after the world until it is aborted.
pub(crate) async fn look(commons: Rc<Commons>) {
    let start = tokio::time::Instant::now();
    let mut wall_at_start = unix_ms();
    let mut asleep = slept();
    let mut addresses = own_addresses();
    for look in 1u32.. {
        tokio::time::sleep(UPKEEP_LOOK).await;
        let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let now = unix_ms();
        let jumped = now.abs_diff(wall_at_start.saturating_add(elapsed)) > CLOCK_JUMP_MS;
        if jumped {
            wall_at_start = now.saturating_sub(elapsed);
        }
        if jumped || look % LOOKS_PER_CLOCK == 0 {
            commons.inbox.push(Arrival::Clock { unix_ms: now });
        }
        let sleeping = slept();
        let woke = sleeping.saturating_sub(asleep) > SLEPT;
        asleep = sleeping;
        let before = std::mem::replace(&mut addresses, own_addresses());
        commons.inbox.push(Arrival::Look { moved: woke || before != addresses });
    }
}
