//! How long blocks travel on a link, and how much of that is waiting.
//!
//! The least time that one needed is what the way itself takes; what others need beyond it they spend in queues: ours, the
//! system's, a router's. A way that has become longer shows only where a block travels alone, since behind others it waits.

use alloc::collections::VecDeque;
use core::time::Duration;

use crate::time::Instant;

/// Blocks on their way, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct Travel {
    /// Bytes that were ever given.
    given: u64,
    blocks: VecDeque<Travelling>,
    way: Option<Duration>,
}

#[derive(Debug)]
struct Travelling {
    /// What had been given with it.
    end: u64,
    since: Instant,
    alone: bool,
}

/// A longer way is believed by one part in this many at a time.
const LONGER: u32 = 16;

impl Travel {
    /// A block of `bytes` was given; `alone` if nothing else is on its way.
    pub(super) fn give(&mut self, now: Instant, bytes: u32, alone: bool) {
        self.given += u64::from(bytes);
        self.blocks.push_back(Travelling { end: self.given, since: now, alone });
    }
    /// The next block that has arrived by `now` if no more than `flying` bytes are still on their way: how long it waited.
    pub(super) fn arrive(&mut self, now: Instant, flying: u64) -> Option<Duration> {
        if self.blocks.front()?.end > self.given - flying {
            return None;
        }
        let block = self.blocks.pop_front()?;
        let took = now.since(block.since);
        let way = match self.way {
            Some(way) if took <= way => took,
            Some(way) if block.alone => way + (took - way).min(way) / LONGER,
            Some(way) => way,
            None => took,
        };
        self.way = Some(way);
        Some(took - took.min(way))
    }
    /// About the least time that a block takes, once one has arrived.
    pub(super) fn way(&self) -> Option<Duration> {
        self.way
    }
    /// Gives back memory that a burst took.
    pub(super) fn give_back(&mut self) {
        if self.blocks.is_empty() {
            self.blocks = VecDeque::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    #[test]
    fn what_a_block_needs_beyond_the_way_is_waiting() {
        let mut travel = Travel::default();
        travel.give(at(0), 100, true);
        travel.give(at(0), 100, false);
        travel.give(at(10), 50, false);
        assert_eq!(travel.arrive(at(30), 151), None, "a byte of the first is missing");
        assert_eq!(travel.arrive(at(40), 150), Some(Duration::ZERO));
        assert_eq!(travel.way(), Some(Duration::from_millis(40)));
        assert_eq!(travel.arrive(at(100), 0), Some(Duration::from_millis(60)));
        assert_eq!(travel.arrive(at(100), 0), Some(Duration::from_millis(50)));
        assert_eq!(travel.arrive(at(100), 0), None);
        assert_eq!(travel.way(), Some(Duration::from_millis(40)));
    }

    #[test]
    fn a_way_gets_shorter_at_once_and_longer_by_and_by() {
        let mut travel = Travel::default();
        let mut now = 0;
        for (took, alone, way) in [(40, true, 40), (80, false, 40), (20, false, 20), (36, true, 21)]
        {
            travel.give(at(now), 1, alone);
            now += took;
            travel.arrive(at(now), 0).expect("it arrived");
            assert_eq!(travel.way(), Some(Duration::from_millis(way)));
        }
    }
}
