//! A limit on received bytes: readers wait until the past has been paid for, and TCP makes the sender wait.

use std::cell::Cell;

use crate::config::{THROTTLE_PAUSE_MAX, THROTTLE_READ_MIN};
use tokio::time::Instant;

/// Shared by all links of a node's network thread.
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Bytes/s; `None` is unlimited.
    rate: Cell<Option<u64>>,
    /// When everything received so far is paid for.
    paid_until: Cell<Instant>,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self { rate: Cell::new(None), paid_until: Cell::new(Instant::now()) }
    }
    /// Bytes/s from now on.
    pub(crate) fn set(&self, rate: Option<u64>) {
        self.rate.set(rate.map(|rate| rate.max(1)));
        self.paid_until.set(Instant::now());
    }
    /// Waits for its turn; returns how much may be read at once.
    pub(crate) async fn admit(&self) -> usize {
        loop {
            let Some(rate) = self.rate.get() else { return usize::MAX };
            let now = Instant::now();
            let wait = self.paid_until.get().saturating_duration_since(now);
            if wait.is_zero() {
                let burst = rate.saturating_mul(THROTTLE_PAUSE_MAX.as_millis() as u64) / 1000;
                return usize::try_from(burst.max(THROTTLE_READ_MIN)).unwrap_or(usize::MAX);
            }
            // Woken early when the limit is lifted meanwhile.
            tokio::time::sleep(wait.min(THROTTLE_PAUSE_MAX)).await;
        }
    }
    /// `bytes` were received.
    pub(crate) fn took(&self, bytes: usize) {
        let Some(rate) = self.rate.get() else { return };
        let cost = shoal_node::time::time_of(bytes as u64, rate);
        self.paid_until.set(self.paid_until.get().max(Instant::now()) + cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_is_kept_and_can_be_lifted() {
        let throttle = Throttle::new();
        assert_eq!(throttle.admit().await, usize::MAX);
        throttle.set(Some(100_000));
        let start = Instant::now();
        let mut received = 0;
        while received < 1_000_000 {
            let read = throttle.admit().await;
            assert!(read <= 20_000);
            throttle.took(read);
            received += read;
        }
        let seconds = start.elapsed().as_secs_f64();
        assert!((9.0..=10.1).contains(&seconds), "{seconds}");
        throttle.set(None);
        assert_eq!(throttle.admit().await, usize::MAX);
    }
}
