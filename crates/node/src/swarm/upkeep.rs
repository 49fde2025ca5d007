//! Once a second: what no event tells. Silence, snubs, meters, blocks that wait too long in memory, hashes that never came.

use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::peer::Message;

use super::Hub;
use super::pieces::BlockState;
use super::title::{Phase, Swarm};
use crate::config::limits::{NOISE_PER_S, RATE_KEPT};
use crate::io::{CloseReason, Event};
use crate::turn::Turn;

impl Swarm {
    /// O(links + begun pieces).
    pub(super) fn sweep(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let now = turn.now;
        self.down.tick(now);
        self.up.tick(now);
        if self.halted.is_some_and(|until| until <= now) {
            // Room shows itself when something is stored; until then nothing more is asked for.
            let waits = self
                .content()
                .is_some_and(|content| content.pieces.actives().any(|active| active.unwritten > 0));
            self.halted = waits.then(|| now + turn.config.swarm.disk_retry);
            self.flush_all(turn);
            self.fill_all(turn);
        }
        for slot in self.slots() {
            self.sweep_peer(turn, hub, slot);
        }
        if let Phase::Metadata(metadata) = &mut self.phase {
            metadata.sweep(now);
            for slot in self.slots() {
                self.ask_metadata(turn, hub, slot);
            }
        }
        if self.halted.is_none() {
            self.flush_all(turn);
        }
        if let Some(content) = self.content_mut() {
            let missing = content.plan.earliest_missing().filter(|_| content.plan.is_playing());
            content.copies.adapt(missing.map(|due| due.since(now)));
            content.copies.sweep(now);
        }
        self.look_after_parents(turn, hub);
        self.make_places(turn, hub);
        self.find_place(turn, hub);
        self.sweep_veils(turn, hub);
        self.sweep_hashes(turn);
        self.sweep_checks(turn);
    }
    fn sweep_peer(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let now = turn.now;
        let config = &turn.config.swarm;
        let crowded = self.peer_count() + 4 > config.links_max;
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.down.tick(now);
        peer.up.tick(now);
        peer.give_back();
        peer.record.noise = peer.record.noise.saturating_sub(NOISE_PER_S);
        // BEP 6 and 10 make the first word a duty.
        let is_mute = (peer.fast || peer.extended) && peer.heard == peer.opened;
        if is_mute && now.since(peer.opened) >= config.mute_after {
            return self.give_up(turn, hub, slot);
        }
        if now.since(peer.heard) >= config.idle_timeout {
            return self.give_up(turn, hub, slot);
        }
        let idle =
            !peer.interested && !peer.wants_us && now.since(peer.opened) >= config.useless_after;
        if idle && crowded {
            return self.disconnect(turn, hub, slot, CloseReason::NotNeeded);
        }
        if let Some(first) = peer.asked.front() {
            let silent = now.since(peer.last_block.unwrap_or(first.sent).max(first.sent));
            // Twice what was predicted, and no less than a few seconds: a promise that is broken.
            let late = first.expected + Duration::from_secs(2) + peer.service.deviation() * 4;
            let owes =
                silent >= config.snub_after || (now > late && silent >= config.snub_after / 4);
            if owes && !peer.snubbed {
                self.snub(turn, slot);
            } else if peer.snubbed && silent >= config.silent_after {
                if peer.down.total() > 0 {
                    self.take_back(turn, slot, 0);
                    return self.fill(turn, slot);
                }
                return self.part_from(turn, hub, slot, "it announced pieces and never sent any");
            }
        }
        self.forget_withdrawn(turn, slot);
        let Some(peer) = self.peer_mut(slot) else { return };
        let is_idle = peer.last_block.is_some_and(|at| now.since(at) >= RATE_KEPT);
        if peer.asked.is_empty() && is_idle {
            peer.service.forget_rate();
        }
        if now.since(peer.spoke) >= config.keep_alive {
            self.send(turn, slot, Message::KeepAlive);
        }
        self.judge(turn, hub, slot);
        self.fill(turn, slot);
    }
    /// Closes a link whose other end is silent.
    fn give_up(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let reason = CloseReason::Timeout;
        if let Some(peer) = self.peer(slot) {
            turn.tell(Event::Dropped {
                remote: peer.listen().unwrap_or_else(|| peer.remote()),
                reason,
            });
        }
        self.disconnect(turn, hub, slot, reason);
    }
    /// Closes a link to a peer that is of no use. An honest peer that others ask for more than it has looks the same as one that
    /// gives nothing on purpose: it is named and not dialed again soon, but not shut out.
    pub(super) fn part_from(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        why: &'static str,
    ) {
        if let Some(peer) = self.peer(slot) {
            let remote = peer.listen().unwrap_or_else(|| peer.remote());
            turn.tell(Event::Dropped { remote, reason: CloseReason::Protocol(why) });
        }
        self.disconnect(turn, hub, slot, CloseReason::NotNeeded);
    }
    /// Withdrawn requests that were never answered.
    fn forget_withdrawn(&mut self, turn: &mut Turn<'_>, slot: u16) {
        while let Some(peer) = self.peer_mut(slot)
            && let Some(asked) = peer.withdrawn().front().copied()
            && turn.now.since(asked.sent) >= turn.config.swarm.withdrawn_after
        {
            peer.remember_cancelled(asked.key);
            self.release(turn, slot, asked.key);
        }
    }
    /// Expects nothing any more of a peer that does not deliver, but for one request at a time.
    pub(super) fn snub(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.snubbed = true;
        // Who chokes will not answer the first one either, nor give what it allowed.
        let kept = usize::from(!peer.chokes_us);
        if peer.chokes_us {
            peer.rare_mut().allowed.clear();
        }
        self.take_back(turn, slot, kept);
    }
    /// Takes everything back from a snubbed peer but the first `kept` requests, by which it may redeem itself.
    fn take_back(&mut self, turn: &mut Turn<'_>, slot: u16, kept: usize) {
        let keys: Vec<_> = self.peer(slot).map_or_else(Vec::new, |peer| {
            peer.asked.iter().skip(kept).map(|asked| asked.key).collect()
        });
        for key in keys {
            self.cancel(turn, slot, key);
        }
        self.leave_alone(turn, slot, None);
        self.fastest.forget();
        self.fill_others(turn, slot);
    }
    /// Pieces that are all here and wait for a proof that was lost or could not be had.
    fn sweep_checks(&mut self, turn: &mut Turn<'_>) {
        let waiting: Vec<_> = self.content().map_or_else(Vec::new, |content| {
            let here = |active: &&super::pieces::Active| {
                active
                    .blocks
                    .iter()
                    .any(|block| block.state == BlockState::Arrived && !block.checking)
            };
            content.pieces.actives().filter(here).map(|active| active.piece).collect()
        });
        for piece in waiting {
            self.prove_waiting(turn, piece);
        }
    }
}
