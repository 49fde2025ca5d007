//! Parents: those among our links who can give what our viewer needs next. When they are few, discovery is told, and links that
//! carry nothing make room for peers that were found in the viewer's virtual time slot.
//!
//! A peer can feed us when it holds one of the next free blocks, or plays a little ahead of us and so will hold them. Nothing
//! is done while the buffer is full, and nothing without somebody better to meet: a viewer who is ahead of all others has no
//! parent but the source, and no use for changing that.

use alloc::vec::Vec;

use super::Hub;
use super::peer::Peer;
use super::pieces::BlockKey;
use super::title::{Content, Swarm};
use crate::config::limits::{PARENT_IDLE_AFTER, PARENTS_FEW, PARENTS_LOOKED_AT, PARENTS_NEAR};
use crate::io::CloseReason;
use crate::time::Instant;
use crate::turn::{Note, Turn};

impl Swarm {
    /// Once a second, and when peers of our slot were found. O(links + free blocks of the first pieces).
    pub(super) fn look_after_parents(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let now = turn.now;
        let Some(needs) = self.content().and_then(|content| needs(content, now)) else { return };
        let me = self.said.map(|said| said.now(now).from);
        let feeds = |peer: &Peer| !peer.is_source() && can_feed(peer, &needs, me, now);
        let parents = self.peers.iter().flatten().filter(|peer| feeds(peer)).count();
        if parents >= PARENTS_FEW {
            return;
        }
        turn.note(Note::Short { title: self.title });
        let better = self.known.waiting_in_slot(now);
        let room = turn.config.swarm.links_wanted.saturating_sub(self.peer_count() + self.dialing);
        let places = better.min(PARENTS_FEW - parents).saturating_sub(room);
        if places == 0 {
            return;
        }
        let carries = |at: Option<Instant>| at.is_some_and(|at| now.since(at) < PARENT_IDLE_AFTER);
        let is_idle = |peer: &Peer| {
            peer.link.is_dialed()
                && !peer.has_all()
                && !peer.is_source()
                && now.since(peer.opened) >= PARENT_IDLE_AFTER
                && !carries(peer.last_block)
                && !carries(peer.fed)
                && !feeds(peer)
        };
        let idle: Vec<u16> = (0u16..)
            .zip(&self.peers)
            .filter(|(_, peer)| peer.as_deref().is_some_and(is_idle))
            .map(|(slot, _)| slot)
            .take(places)
            .collect();
        for slot in idle {
            self.disconnect(turn, hub, slot, CloseReason::Full);
        }
    }
}

/// The first free block of each of the next pieces; `None` when all that is due soon is here or on its way.
fn needs(content: &Content, now: Instant) -> Option<Vec<BlockKey>> {
    let mut needs: Vec<BlockKey> = Vec::new();
    let mut free = content.plan.free();
    while let Some((due, key)) = free.next()
        && due <= now + PARENTS_NEAR
        && needs.len() < PARENTS_LOOKED_AT
    {
        needs.push(key);
        free.skip_piece();
    }
    (!needs.is_empty()).then_some(needs)
}

/// Whether a peer has one of these blocks, or plays so little ahead of `me` that it will.
fn can_feed(peer: &Peer, needs: &[BlockKey], me: Option<u32>, now: Instant) -> bool {
    if peer.chokes_us && !peer.is_kin() {
        return false;
    }
    let will_have = peer.plays.zip(me).is_some_and(|(said, me)| {
        let theirs = said.now(now);
        // Its stretch reaches as far ahead of it as ours of us.
        theirs.pace > 0 && theirs.from > me && theirs.from - me < theirs.until - theirs.from
    });
    will_have || needs.iter().any(|key| peer.has_block(*key))
}
