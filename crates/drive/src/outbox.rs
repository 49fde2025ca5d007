//! What a link still has to send, and how much more the node may give it.
//!
//! The node orders blocks by due time and forgets what is cancelled; both mean nothing once a block stands in a queue
//! here or in the kernel. So the sum of what was promised and what is unsent is kept near what the link carries in
//! [`OUTBOX_QUEUE_MS`]: the limit doubles when the kernel takes all at once, and follows the measured rate when it does not.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use crate::config::{
    OUTBOX_CLOGGED, OUTBOX_LIMIT_MAX, OUTBOX_LIMIT_MIN, OUTBOX_LIMIT_START, OUTBOX_MEASURE,
    OUTBOX_PARTS_MAX, OUTBOX_QUEUE_MS, OUTBOX_STEP,
};
use bytes::{Buf, Bytes};

/// Unsent parts of a link and its credit.
#[derive(Debug)]
pub(crate) struct Outbox {
    parts: VecDeque<Part>,
    unsent: usize,
    limit: u32,
    /// Credit that the node holds.
    promised: u32,
    /// Film that the kernel took since the node was last told: it counts what it has not been told of as on its way.
    left: u32,
    /// Since when the kernel takes less than there is, and what it took since.
    blocked: Option<(Instant, u64)>,
}

/// Bytes that wait, and whether they spent credit.
#[derive(Debug)]
struct Part {
    bytes: Bytes,
    film: bool,
}

impl Outbox {
    pub(crate) fn new() -> Self {
        Self {
            parts: VecDeque::new(),
            unsent: 0,
            limit: OUTBOX_LIMIT_START,
            promised: 0,
            left: 0,
            blocked: None,
        }
    }
    /// Takes the node's next bytes; film spends credit.
    pub(crate) fn push(&mut self, bytes: Bytes, film: bool) {
        self.unsent += bytes.len();
        if film {
            let spent = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            self.promised = self.promised.saturating_sub(spent);
        }
        self.parts.push_back(Part { bytes, film });
    }
    /// Whether so much waits that nothing more should be heard from this link: each of its questions makes an answer, and a
    /// remote that asks without reading must not fill our memory.
    pub(crate) fn is_clogged(&self) -> bool {
        self.unsent > OUTBOX_CLOGGED
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
    /// Fills `slices` with what is next; returns how many.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; OUTBOX_PARTS_MAX]) -> usize {
        let count = self.parts.len().min(OUTBOX_PARTS_MAX);
        for (slot, part) in slices.iter_mut().zip(&self.parts) {
            *slot = IoSlice::new(&part.bytes);
        }
        count
    }
    /// The kernel took `count` bytes.
    pub(crate) fn sent(&mut self, mut count: usize) {
        self.unsent = self.unsent.saturating_sub(count);
        if let Some((_, sent)) = &mut self.blocked {
            *sent += count as u64;
        }
        while let Some(part) = self.parts.front_mut() {
            let taken = count.min(part.bytes.len());
            if part.film {
                self.left = self.left.saturating_add(u32::try_from(taken).unwrap_or(u32::MAX));
            }
            if taken < part.bytes.len() {
                part.bytes.advance(taken);
                return;
            }
            count -= taken;
            self.parts.pop_front();
        }
    }
    /// Called after a flush. True when the limit changed, and with it [`Outbox::low_water`].
    pub(crate) fn adapt(&mut self, now: Instant) -> bool {
        let before = self.limit;
        let Some((since, sent)) = self.blocked else {
            if self.parts.is_empty() {
                if self.promised < OUTBOX_STEP {
                    self.limit = (self.limit * 2).min(OUTBOX_LIMIT_MAX);
                }
            } else {
                self.blocked = Some((now, 0));
            }
            return before != self.limit;
        };
        let elapsed = now.duration_since(since);
        if elapsed >= OUTBOX_MEASURE {
            let nanos = elapsed.as_nanos().max(1);
            let queue = u128::from(sent) * u128::from(OUTBOX_QUEUE_MS) * 1_000_000 / nanos;
            let queue = u32::try_from(queue)
                .unwrap_or(OUTBOX_LIMIT_MAX)
                .clamp(OUTBOX_LIMIT_MIN, OUTBOX_LIMIT_MAX);
            // A change within a quarter is noise.
            if queue.abs_diff(self.limit) > self.limit / 4 {
                self.limit = queue;
            }
            self.blocked = (!self.parts.is_empty()).then_some((now, 0));
        } else if self.parts.is_empty() {
            self.blocked = None;
        }
        before != self.limit
    }
    /// `TCP_NOTSENT_LOWAT` that goes with the limit, bytes.
    pub(crate) fn low_water(&self) -> u32 {
        (self.limit / 2).clamp(16 << 10, 256 << 10)
    }
    /// Credit to tell the node now, if it is worth a turn: all that left, or it would be taken for being on its way, and more
    /// when the limit has grown. A limit that shrinks takes nothing back: it shows in the kernel's queue alone.
    pub(crate) fn grant(&mut self) -> Option<u32> {
        let unsent = u32::try_from(self.unsent).unwrap_or(u32::MAX);
        let room = self.limit.saturating_sub(self.promised.saturating_add(unsent));
        let credit = room.max(self.left);
        // An empty link is told at once, however little it is: the node may wait for just that.
        let waits = self.parts.is_empty() && (self.left > 0 || self.promised < OUTBOX_STEP);
        if credit == 0 || credit < OUTBOX_STEP && !waits {
            return None;
        }
        self.left = 0;
        self.promised += credit;
        Some(credit)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn block() -> Bytes {
        Bytes::from_static(&[0; 16384])
    }

    #[test]
    fn what_left_is_told_and_small_messages_cost_no_credit() {
        let mut outbox = Outbox::new();
        assert_eq!(outbox.grant(), Some(OUTBOX_LIMIT_START));
        assert_eq!(outbox.grant(), None);
        for _ in 0..3 {
            outbox.push(Bytes::from_static(&[0; 13]), false);
            outbox.push(block(), true);
        }
        assert_eq!((outbox.grant(), outbox.unsent), (None, 3 * 16397));
        assert_eq!(outbox.promised, OUTBOX_LIMIT_START - 3 * 16384);
        outbox.sent(16397 + 100);
        assert_eq!((outbox.grant(), outbox.unsent), (Some(16384 + 87), 2 * 16397 - 100));
        outbox.sent(outbox.unsent);
        assert_eq!(outbox.grant(), Some(2 * 16384 - 87), "to the last byte");
    }

    #[test]
    fn partly_sent_parts_go_on_where_they_stopped() {
        let mut outbox = Outbox::new();
        outbox.push(Bytes::from_static(b"hand"), false);
        outbox.push(Bytes::from_static(b"shake"), false);
        outbox.sent(6);
        let mut slices = [IoSlice::new(&[]); OUTBOX_PARTS_MAX];
        assert_eq!(outbox.slices(&mut slices), 1);
        assert_eq!(&slices[0][..], b"ake");
    }

    #[test]
    fn a_fast_link_gets_more_and_a_slow_one_two_blocks() {
        let mut outbox = Outbox::new();
        let start = Instant::now();
        for _ in 0..10 {
            let Some(credit) = outbox.grant() else { break };
            for _ in 0..credit / 16384 {
                outbox.push(block(), true);
            }
            let unsent = outbox.unsent;
            outbox.sent(unsent);
            outbox.adapt(start);
        }
        assert_eq!(outbox.limit, OUTBOX_LIMIT_MAX);
        let _ = outbox.grant();
        outbox.push(Bytes::from(vec![0; 1 << 20]), true);
        assert!(!outbox.adapt(start));
        outbox.sent(50_000);
        assert!(outbox.adapt(start + Duration::from_millis(500)), "100 kB/s");
        assert_eq!((outbox.limit, outbox.low_water()), (OUTBOX_LIMIT_MIN, 20 << 10));
        assert_eq!(outbox.grant(), Some(50_000), "what left, and no more");
        assert_eq!(outbox.grant(), None);
    }
}
