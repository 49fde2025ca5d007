//! What a link delivers: a meter for people and choking, and the service model that predicts arrivals.
//!
//! All in integers: bytes, nanoseconds, bytes/s. One unit each, so that backlog, rate and round trip can be added.

use core::num::NonZeroU64;
use core::time::Duration;

use crate::config::limits::{METER_STEP, RATE_MEMORY, RATE_UNKNOWN, RTT_UNKNOWN};
use crate::time::{Instant, time_of};

/// Mean rate over about the last five seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Meter {
    total: u64,
    fresh: u32,
    rate: u32,
    since: Option<Instant>,
}

impl Meter {
    /// Counts `bytes` at `now`.
    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        self.since.get_or_insert(now);
        self.total += bytes;
        self.fresh = self.fresh.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
    }
    /// Closes the step when it is over. Called by the sweep, once a second.
    pub(crate) fn tick(&mut self, now: Instant) {
        let Some(since) = self.since else { return };
        let step = now.since(since);
        if step < METER_STEP {
            return;
        }
        let nanos = u64::try_from(step.as_nanos()).unwrap_or(u64::MAX).max(1);
        let sample = u64::from(self.fresh) * 1_000_000_000 / nanos;
        let sample = u32::try_from(sample).unwrap_or(u32::MAX);
        // A fifth of the new sample: five steps to follow a change.
        self.rate = if self.rate == 0 { sample } else { self.rate - self.rate / 5 + sample / 5 };
        self.fresh = 0;
        self.since = Some(now);
    }
    /// Bytes/s, at most 2^32 - 1.
    pub(crate) fn rate(&self) -> u64 {
        u64::from(self.rate)
    }
    /// Bytes since the beginning.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }
}

/// A [`Duration`] in half the room, and so is its `Option`: there are three of them for each link. Saturates after 584 years.
#[derive(Clone, Copy, Debug)]
struct Nanos(NonZeroU64);

impl Nanos {
    fn get(self) -> Duration {
        Duration::from_nanos(self.0.get() - 1)
    }
}

impl From<Duration> for Nanos {
    fn from(duration: Duration) -> Self {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self(NonZeroU64::MIN.saturating_add(nanos))
    }
}

/// How fast a peer answers: a round trip and a rate measured only while it owed something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    rtt: Option<Nanos>,
    /// Mean deviation of arrivals from their prediction.
    deviation: Nanos,
    bytes: u64,
    busy: Nanos,
    /// What follows of both: it is asked for far more often than it changes.
    rate: u64,
    /// Bytes delivered in all.
    total: u64,
    /// When the last block came, or the first request after idleness was sent, plus a round trip.
    busy_from: Instant,
    /// When all that is outstanding should be here.
    busy_until: Instant,
}

impl Service {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            rtt: None,
            deviation: Duration::from_millis(50).into(),
            bytes: 0,
            busy: Duration::ZERO.into(),
            rate: RATE_UNKNOWN,
            total: 0,
            busy_from: now,
            busy_until: now,
        }
    }
    /// A round trip was seen; the shortest counts, and drifts up by an eighth of each longer one's excess over it.
    pub(crate) fn on_round_trip(&mut self, sample: Duration) {
        let rtt = match self.rtt.map(Nanos::get) {
            Some(rtt) if sample > rtt => {
                rtt + (sample - rtt).min(rtt.max(Duration::from_millis(1))) / 64
            }
            _ => sample,
        };
        self.rtt = Some(rtt.into());
    }
    /// Shortest time from a request to its block.
    pub(crate) fn rtt(&self) -> Duration {
        self.rtt.map_or(RTT_UNKNOWN, Nanos::get)
    }
    /// Whether a round trip was measured.
    pub(crate) fn has_rtt(&self) -> bool {
        self.rtt.is_some()
    }
    /// Whether enough was delivered for the rate to mean something. A slow peer's memory never holds that much at once.
    pub(crate) fn is_measured(&self) -> bool {
        self.total >= 64 * 1024
    }
    /// Bytes/s while it owes something.
    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }
    fn measure(&mut self) {
        let nanos = self.busy.get().as_nanos().max(1);
        let rate = u64::try_from(u128::from(self.bytes) * 1_000_000_000 / nanos);
        self.rate = if self.bytes == 0 { RATE_UNKNOWN } else { rate.unwrap_or(u64::MAX).max(1024) };
    }
    /// What was measured long ago says little.
    pub(crate) fn forget_rate(&mut self) {
        (self.bytes, self.busy) = (0, Duration::ZERO.into());
        self.measure();
    }
    /// How far arrivals stray from their prediction.
    pub(crate) fn deviation(&self) -> Duration {
        self.deviation.get()
    }
    /// When one more block of `length` bytes would arrive if it were asked for now.
    pub(crate) fn arrival(&self, now: Instant, length: u32) -> Instant {
        (now + self.rtt()).max(self.busy_until) + time_of(u64::from(length), self.rate())
    }
    /// How long a block takes of a peer that owes nothing, on a connection whose window has to open again: two round trips. What
    /// is owed already does not count: who asks for more the longer its own queue is would never stop.
    pub(crate) fn quiet_answer(&self, length: u32) -> Duration {
        self.rtt() * 2 + time_of(u64::from(length), self.rate())
    }
    /// A block was asked for. Returns its predicted arrival.
    pub(crate) fn on_ask(&mut self, now: Instant, length: u32, was_idle: bool) -> Instant {
        let arrival = self.arrival(now, length);
        if was_idle {
            self.busy_from = now + self.rtt();
        }
        self.busy_until = arrival;
        arrival
    }
    /// A block came. `expected` is what [`Service::on_ask`] said, `outstanding` the bytes still owed.
    pub(crate) fn on_block(
        &mut self,
        now: Instant,
        length: u32,
        expected: Instant,
        outstanding: u64,
    ) {
        let spent = now.since(self.busy_from).max(Duration::from_nanos(500));
        self.bytes += u64::from(length);
        self.total += u64::from(length);
        let mut busy = self.busy.get() + spent;
        if busy > RATE_MEMORY {
            self.bytes /= 2;
            busy /= 2;
        }
        self.busy = busy.into();
        self.measure();
        let error = if now > expected { now.since(expected) } else { expected.since(now) };
        let deviation = self.deviation.get();
        self.deviation = (deviation - deviation / 8 + error / 8).into();
        self.busy_from = self.busy_from.max(now);
        self.busy_until = now + time_of(outstanding, self.rate());
    }
    /// Requests were taken back or lost: `outstanding` bytes are still owed.
    pub(crate) fn on_release(&mut self, now: Instant, outstanding: u64) {
        self.busy_until = self.busy_until.min(now + self.rtt() + time_of(outstanding, self.rate()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_peer_is_predicted_to_its_block_time() {
        let start = Instant::from_millis(1000);
        let mut service = Service::new(start);
        service.on_round_trip(Duration::from_millis(80));
        // 16 KiB every 50 ms after a round trip of 80 ms.
        let mut expected = [start; 4].map(|now| service.on_ask(now, 16384, now == start));
        for block in 1..40u64 {
            let now = Instant::from_millis(1080 + 50 * block);
            service.on_block(now, 16384, expected[0], 3 * 16384);
            expected.rotate_left(1);
            expected[3] = service.on_ask(now, 16384, false);
        }
        let rate = service.rate();
        assert!((300_000..360_000).contains(&rate), "{rate}");
        let ahead = expected[3].since(Instant::from_millis(1080 + 50 * 39));
        assert!(
            (Duration::from_millis(180)..Duration::from_millis(230)).contains(&ahead),
            "{ahead:?}"
        );
        assert!(service.deviation() < Duration::from_millis(20), "{:?}", service.deviation());
    }

    #[test]
    fn a_slow_peer_is_measured_as_well() {
        let mut service = Service::new(Instant::ZERO);
        for second in 1..=5 {
            service.on_block(Instant::from_millis(1000 * second), 16384, Instant::ZERO, 0);
            assert_eq!(service.is_measured(), second >= 4, "after {second} blocks");
        }
        let rate = service.rate();
        assert!((16_000..17_000).contains(&rate), "{rate}");
    }

    #[test]
    fn the_meter_follows_a_change_within_ten_seconds() {
        let mut meter = Meter::default();
        for second in 0..30u64 {
            let now = Instant::from_millis(second * 1000);
            meter.tick(now);
            meter.add(now, if second < 10 { 1000 } else { 5000 });
        }
        assert!((4400..=5000).contains(&meter.rate()), "{}", meter.rate());
    }
}
