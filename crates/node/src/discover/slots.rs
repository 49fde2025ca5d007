//! Rendezvous: viewers who play about the same place of a title find each other by the name of their virtual time slot.
//!
//! A viewer in slot `s` is recorded in trackers under the names of `s` and of the [`SLOTS_RECORDED`] slots after it, which it can
//! feed, and asks under `s`: the answer holds those who are in `s` and in the slots before it. So ordinary announces are
//! enough, of any tracker, whoever is asked for is already there, and a clock that is a slot off does no harm. What a
//! playhead that stands still drifts into, it was recorded for before.
//!
//! ```text
//! idle --Slot(s), crowded--> due --asked--> told --Slot(t), interval, Short--> due
//!   ^------------------ Slot(none) for a while, title left: farewell -----------/
//! ```
//!
//! A title whose peers all fit in one answer of its tracker needs none of this, and its tracker is left alone.

use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::slot::rendezvous_key;
use shoal_wire::{Hash20, InfoHashes};

use super::round::Round;
use crate::config::DiscoverConfig;
use crate::config::limits::{SLOT_CHANGE_PAUSE, SLOT_GONE_AFTER, SLOT_LOOK_PAUSE, SLOTS_RECORDED};
use crate::time::Instant;

/// What is to be told to trackers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// Asked for and recorded.
    pub(super) own: Option<Hash20>,
    /// Only recorded.
    pub(super) others: Vec<Hash20>,
    /// No longer true.
    pub(super) over: Vec<Hash20>,
    /// Some of it is told for the first time.
    pub(super) first: bool,
}

/// A title's viewer in slots.
#[derive(Debug, Default)]
pub(super) struct Rendezvous {
    /// Where the viewer is.
    slot: Option<i64>,
    /// What trackers were told.
    told: Option<i64>,
    /// More peers are there than one answer holds.
    crowded: bool,
    /// When something is to be told.
    due: Option<Instant>,
    /// When trackers were asked last.
    asked: Option<Instant>,
    /// How often nobody answered in a row.
    failures: u32,
}

/// The slots under which a viewer is recorded.
fn recorded(slot: Option<i64>) -> impl Iterator<Item = i64> {
    slot.into_iter().flat_map(|slot| slot..=slot.saturating_add(SLOTS_RECORDED))
}

impl Rendezvous {
    /// The viewer is in this slot now.
    pub(super) fn on_slot(&mut self, now: Instant, slot: Option<i64>) {
        self.slot = slot;
        self.failures = 0;
        if slot == self.told {
            // Back where it was. What is told again by its interval still is.
            return;
        }
        let pause = if slot.is_some() { SLOT_CHANGE_PAUSE } else { SLOT_GONE_AFTER };
        let last = if slot.is_some() { self.asked } else { Some(now) };
        self.due = Some(last.map_or(now, |last| (last + pause).max(now)));
    }
    /// A tracker answered for the title, with so many peers in all.
    pub(super) fn on_size(&mut self, now: Instant, peers: u32, config: &DiscoverConfig) {
        if !self.crowded && config.slots && peers > config.slots_from {
            self.crowded = true;
            self.due = self.slot.map(|_| now);
        }
    }
    /// Too few of those who are linked have what is needed.
    pub(super) fn on_short(&mut self, now: Instant) {
        let since = self.asked.map_or(SLOT_LOOK_PAUSE, |asked| now.since(asked));
        if self.slot.is_some() && since >= SLOT_LOOK_PAUSE && self.failures == 0 {
            self.due = Some(now);
        }
    }
    /// When [`Rendezvous::take`] has something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.due.filter(|_| self.crowded)
    }
    /// How often nobody answered in a row.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }
    /// No tracker works now: later.
    pub(super) fn wait(&mut self, now: Instant, config: &DiscoverConfig) {
        self.due = Some(now + config.tracker_retry);
    }
    /// What is to be told now, and counts as told from now on.
    pub(super) fn take(&mut self, now: Instant, hashes: &InfoHashes) -> Option<Plan> {
        self.deadline().filter(|due| *due <= now)?;
        let key = |slot| rendezvous_key(hashes, slot);
        let before = core::mem::replace(&mut self.told, self.slot);
        (self.due, self.asked) = (None, Some(now));
        Some(Plan {
            own: self.slot.and_then(key),
            others: recorded(self.slot).skip(1).filter_map(key).collect(),
            over: recorded(before)
                .filter(|slot| recorded(self.slot).all(|kept| kept != *slot))
                .filter_map(key)
                .collect(),
            first: before != self.slot,
        })
    }
    /// The tracker that was asked answered, or did not.
    pub(super) fn finish(&mut self, now: Instant, round: &Round, config: &DiscoverConfig) {
        if self.told.is_none() {
            return;
        }
        let (low, high) = config.tracker_interval;
        let pause = match &round.answer {
            Some(answer) => {
                self.failures = 0;
                Duration::from_secs(u64::from(answer.interval_s)).clamp(low, high.max(low))
            }
            None => {
                self.failures += 1;
                config.tracker_retry.saturating_mul(1 << self.failures.min(16)).min(high)
            }
        };
        let again = now + pause;
        self.due = Some(self.due.map_or(again, |due| due.min(again)));
    }
    /// What trackers were told and is over when the title is left.
    pub(super) fn farewell(&self, hashes: &InfoHashes) -> Vec<Hash20> {
        recorded(self.told).filter_map(|slot| rendezvous_key(hashes, slot)).collect()
    }
}
