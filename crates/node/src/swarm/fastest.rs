//! Who would deliver soonest, kept for a few milliseconds: asking every peer at every event would cost O(peers).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::peer::BLOCK_LEN;

use super::peer::Peer;
use crate::config::limits::FASTEST_TOP;
use crate::time::Instant;

/// How long an answer is good.
const KEPT: Duration = Duration::from_millis(5);
/// A peer that is sooner by less is no better: predictions are not that good.
const BETTER: Duration = Duration::from_millis(30);

/// Those that serve us, keep their promises and have room, by the moment at which one more block of theirs would arrive.
#[derive(Debug, Default)]
pub(super) struct Fastest {
    as_of: Option<Instant>,
    /// The first ones, soonest first: at least two, if there are.
    top: Vec<(Instant, u16)>,
    /// Sum of the rates of all, bytes/s.
    rate: u64,
}

impl Fastest {
    pub(super) fn forget(&mut self) {
        self.as_of = None;
    }
    /// Earliest arrival at any peer but `slot`, and the rate of all. O(peers) once in a while.
    pub(super) fn other(
        &mut self,
        now: Instant,
        slot: u16,
        peers: &[Option<Box<Peer>>],
    ) -> (Option<Instant>, u64) {
        if self.as_of.is_none_or(|at| now.since(at) >= KEPT) {
            self.look(now, peers);
        }
        let other = self.top.iter().find(|(_, index)| *index != slot);
        (other.map(|(arrival, _)| *arrival), self.rate.max(1))
    }
    fn look(&mut self, now: Instant, peers: &[Option<Box<Peer>>]) {
        self.as_of = Some(now);
        self.rate = 0;
        self.top.clear();
        for (index, peer) in (0u16..).zip(peers) {
            let is_able = |peer: &&Peer| peer.is_reliable() && !peer.is_busy(now);
            let Some(peer) = peer.as_deref().filter(is_able) else { continue };
            self.rate += peer.service.rate();
            let arrival = peer.service.arrival(now, BLOCK_LEN);
            let place = self.top.partition_point(|entry| entry.0 <= arrival);
            if place < FASTEST_TOP {
                self.top.truncate(FASTEST_TOP - 1);
                self.top.insert(place, (arrival, index));
            }
        }
    }
    /// The soonest peers, as of the last look, that are well before `arrival`.
    pub(super) fn before(&self, arrival: Instant) -> impl Iterator<Item = u16> + '_ {
        self.top.iter().take_while(move |entry| entry.0 + BETTER < arrival).map(|entry| entry.1)
    }
}
