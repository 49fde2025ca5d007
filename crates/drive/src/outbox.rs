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
    /// Film that the kernel took.
    taken: u64,
    /// Film of which the node was told that it passed: what else was taken is on its way.
    passed: u64,
    /// Since when the kernel takes less than there is, and what it took since.
    blocked: Option<(Instant, u64)>,
}

/// What the node is told of a link, film bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    /// So much more may be sent.
    pub(crate) credit: u32,
    /// So much arrived since it was last told.
    pub(crate) passed: u32,
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
            taken: 0,
            passed: 0,
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
                self.taken += taken as u64;
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
    /// Whether film was given to the kernel that is not known to have arrived.
    pub(crate) fn is_travelling(&self) -> bool {
        self.passed < self.taken
    }
    /// What to tell the node now, if it is worth a turn: as much credit as the limit has room for, and what arrived, when the other end
    /// has not acknowledged `unacked` bytes, of film or else. A limit that shrinks takes nothing back: it shows in the kernel's queue
    /// alone.
    pub(crate) fn grant(&mut self, unacked: u32) -> Option<Grant> {
        let worth = |bytes, is_waited_for: bool| {
            if bytes >= OUTBOX_STEP || is_waited_for { bytes } else { 0 }
        };
        let arrived = self.taken.saturating_sub(u64::from(unacked));
        let passed = u32::try_from(arrived.saturating_sub(self.passed)).unwrap_or(u32::MAX);
        let passed = worth(passed, unacked == 0);
        let unsent = u32::try_from(self.unsent).unwrap_or(u32::MAX);
        let room = self.limit.saturating_sub(self.promised.saturating_add(unsent));
        // An empty link is told at once, however little it is: the node may wait for just that.
        let credit = worth(room, self.parts.is_empty() && self.promised < OUTBOX_STEP);
        self.passed += u64::from(passed);
        self.promised += credit;
        (credit > 0 || passed > 0).then_some(Grant { credit, passed })
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
        let told = |credit, passed| Some(Grant { credit, passed });
        assert_eq!(outbox.grant(0), told(OUTBOX_LIMIT_START, 0));
        assert_eq!(outbox.grant(0), None);
        for _ in 0..3 {
            outbox.push(Bytes::from_static(&[0; 13]), false);
            outbox.push(block(), true);
        }
        assert_eq!((outbox.grant(0), outbox.unsent), (None, 3 * 16397));
        assert_eq!(outbox.promised, OUTBOX_LIMIT_START - 3 * 16384);
        let left = 16384 + 87;
        outbox.sent(16397 + 100);
        assert_eq!(outbox.grant(16397 + 100), told(left - 13, 0), "nothing arrived");
        assert_eq!((outbox.grant(0), outbox.unsent), (told(0, left), 2 * 16397 - 100));
        outbox.sent(outbox.unsent);
        assert!(outbox.is_travelling());
        assert_eq!(outbox.grant(16384), told(3 * 16384 - left + 13, 0), "not worth a turn");
        assert_eq!(outbox.grant(0), told(0, 3 * 16384 - left), "to the last byte");
        assert!(!outbox.is_travelling());
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
            let Some(Grant { credit, .. }) = outbox.grant(0) else { break };
            for _ in 0..credit / 16384 {
                outbox.push(block(), true);
            }
            let unsent = outbox.unsent;
            outbox.sent(unsent);
            outbox.adapt(start);
        }
        assert_eq!(outbox.limit, OUTBOX_LIMIT_MAX);
        outbox.grant(0);
        outbox.push(Bytes::from(vec![0; 1 << 20]), true);
        assert!(!outbox.adapt(start));
        outbox.sent(50_000);
        assert!(outbox.adapt(start + Duration::from_millis(500)), "100 kB/s");
        assert_eq!((outbox.limit, outbox.low_water()), (OUTBOX_LIMIT_MIN, 20 << 10));
        let passed = Grant { credit: 0, passed: 50_000 };
        assert_eq!(outbox.grant(0), Some(passed), "what left, and no more is taken");
        assert_eq!(outbox.grant(0), None);
    }
}
