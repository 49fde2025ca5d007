//! Places at a source. It has room for fewer links than a crowd has viewers, and those who came first would keep them for the whole
//! film: all that is new would enter the crowd through the viewers who are furthest on, whose uplinks are the busiest, while those who
//! came later have nothing that anybody lacks (docs/decisions/0037). So while it turns others away, who has been here for a while
//! and waits for nothing that he needs soon makes room.

use alloc::vec::Vec;

use super::Hub;
use super::peer::Peer;
use super::title::Swarm;
use crate::config::limits::{PLACE_KEPT, PLACES_MADE_MAX};
use crate::io::CloseReason;
use crate::time::Instant;
use crate::turn::Turn;

/// Whether a link may end so that somebody else has its place.
fn may_go(peer: &Peer, now: Instant) -> bool {
    now.since(peer.opened) >= PLACE_KEPT && peer.plays.is_some() && !peer.uploads.is_awaited_soon()
}

impl Swarm {
    /// Once a second: makes room for those whom this source turned away since, by the links that are oldest. O(links), if any.
    pub(super) fn make_places(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let turned_away = core::mem::take(&mut self.turned_away);
        if !self.source || turned_away == 0 {
            return;
        }
        let room = turn.config.swarm.links_max.saturating_sub(self.peer_count());
        let places = turned_away.min(PLACES_MADE_MAX).saturating_sub(room);
        let now = turn.now;
        let mut old: Vec<(Instant, u16)> = (0u16..)
            .zip(&self.peers)
            .filter_map(|(slot, peer)| {
                Some((peer.as_deref().filter(|peer| may_go(peer, now))?.opened, slot))
            })
            .collect();
        old.sort_unstable();
        for (_, slot) in old.into_iter().take(places) {
            self.disconnect(turn, hub, slot, CloseReason::Full);
        }
    }
}
