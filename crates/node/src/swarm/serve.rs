//! Giving: requests of peers, the blocks that answer them, and slots for those who wait for one.

use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::peer::{BLOCK_LEN, BlockRequest, DueRequest, Message};

use super::Hub;
use super::choke::{Candidate, Policy, choose};
use super::pieces::BlockKey;
use super::source::Verdict;
use super::title::{Swarm, Task, is_full};
use super::verify::failure_of;
use super::windows::due_from_ms;
use crate::config::limits::{
    ABUSIVE_MAX, BROKEN_AFTER, BROKEN_MAX, MALFORMED_MAX, NOISE_MAX, REJECTED_MAX, UNSOLICITED_MAX,
};
use crate::io::{CloseReason, Event, Failure, Job, Outcome};
use crate::link::LinkId;
use crate::time::Instant;
use crate::turn::{Owner, Turn};

impl Swarm {
    /// A peer asks for a block, `due` when it says by when it needs it.
    pub(super) fn on_request(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        request: BlockRequest,
        due: Option<Instant>,
    ) {
        let config = &turn.config.swarm;
        let Some((peer, content)) = self.both(slot) else { return };
        peer.hurried = due.map(|_| turn.now).or(peer.hurried);
        let fits = request.length <= config.request_len_max;
        let piece = content.pieces.info.layout.contains(&request).filter(|_| fits);
        let here = piece
            .is_some_and(|piece| content.pieces.can_give(piece, request.offset, request.length));
        // It may not have heard yet that the piece was given up.
        let is_given_up = content.share.is_given_up(request.piece);
        if here {
            content.share.note(turn.now, request.piece, 1);
        }
        let has_room = peer.uploads.len() < config.requests_in_max as usize;
        let choked = peer.choked;
        let accepted = here && has_room && (!choked || self.is_allowed(config, slot, &request));
        let is_source = self.source;
        let Some(peer) = self.peer_mut(slot) else { return };
        if !accepted {
            // A request that crossed our choke on the way is nobody's fault; one for what was never offered is.
            if !has_room || !(here || is_given_up) {
                peer.record.abusive += 1;
            }
            peer.record.malformed += u32::from(piece.is_none());
            // Some cross our choke; who goes on asking makes us answer for nothing.
            peer.record.hear_noise(u32::from(choked || is_given_up));
            if peer.fast {
                self.send(turn, slot, Message::Reject(request));
            }
            self.judge(turn, hub, slot);
            return;
        }
        let key = key_of(&request);
        // A source turns down by its own rule.
        let is_overbooked = !is_source
            && due.is_some_and(|due| hub.uplink.is_overbooked(turn.now, due, &peer.uploads));
        let verdict =
            if is_overbooked { Verdict::TurnDown } else { self.verdict(turn, hub, slot, key, due) };
        let Some(peer) = self.peer_mut(slot) else { return };
        if verdict == Verdict::TurnDown {
            // The asker takes it elsewhere; without the fast extension it could not know.
            if peer.fast {
                return self.send(turn, slot, Message::Reject(request));
            }
        }
        let is_new = peer.uploads.push(request, due, verdict != Verdict::Give);
        peer.hear(is_new);
        if is_new {
            self.pump(turn, hub, slot);
            self.note_veiled(turn, hub, slot, &request);
        }
    }
    /// A request became urgent.
    pub(super) fn on_hurry(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        request: &DueRequest,
    ) {
        let due = due_from_ms(turn.now, request.due_in_ms);
        let Some(peer) = self.peer_mut(slot) else { return };
        // It may have been answered just now.
        let moved = due.is_some_and(|due| peer.uploads.hurry(&request.block, due));
        peer.hear(moved);
        if moved {
            self.pump(turn, hub, slot);
        }
    }
    pub(super) fn on_cancel(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        request: &BlockRequest,
    ) {
        let Some(peer) = self.peer_mut(slot) else { return };
        let cancelled = peer.uploads.cancel(request);
        // What was read for nothing is noise too: a request and its cancel cost their sender next to nothing.
        peer.hear(cancelled == Some(false));
        if cancelled.is_some() {
            let (fast, link) = (peer.fast, peer.link);
            self.forget_given(link, request);
            if fast {
                self.send(turn, slot, Message::Reject(*request));
            }
            self.pump(turn, hub, slot);
        }
    }
    pub(super) fn on_credit(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        bytes: u32,
        passed: u32,
    ) {
        let now = turn.now;
        if self.content().is_some_and(|content| content.plan.is_live()) {
            hub.uplink.hurry(now);
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.uploads.open(u64::from(bytes));
            hub.uplink.pass(now, passed, &mut peer.uploads);
            if peer.uploads.len() > 0 {
                self.pump(turn, hub, slot);
            }
        }
    }
    /// Reads ahead for a peer and puts it into the uplink's order when it has something to send.
    pub(super) fn pump(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        self.read_ahead(turn, slot);
        let title = self.title;
        let Some(peer) = self.peer_mut(slot) else { return };
        hub.uplink.settle(turn.now, title, slot, &mut peer.uploads);
    }
    /// Looks for links whose other end takes nothing, when they might hold back the others. O(links).
    pub(super) fn look_for_stuck(&mut self, turn: &Turn<'_>, hub: &mut Hub) {
        for peer in self.peers.iter_mut().flatten() {
            hub.uplink.look(turn.now, &mut peer.uploads);
        }
    }
    /// The uplink gives this peer its turn.
    pub(super) fn send_one(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let title = self.title;
        if let Some(peer) = self.peer_mut(slot) {
            hub.uplink.leave(title, slot, &mut peer.uploads);
            self.send_block(turn, hub, slot);
            self.pump(turn, hub, slot);
            self.feed(turn, hub);
        }
    }
    fn send_block(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let now = turn.now;
        let Some(peer) = self.peer_mut(slot) else { return };
        let Some((wanted, data)) = peer.uploads.take(now) else { return };
        let (request, link) = (wanted.request, peer.link);
        let length = request.length;
        let rtt = if peer.service.has_rtt() { peer.service.rtt() } else { Duration::ZERO };
        hub.uplink.spend(length, rtt, &mut peer.uploads);
        peer.up.add(now, u64::from(length));
        peer.taken += u64::from(length);
        peer.fed = Some(now);
        self.up.add(now, u64::from(length));
        turn.counters(self.title).sent += u64::from(length);
        let until = Self::announced_by(now, &turn.config.swarm, wanted.due);
        if self.source
            && let Some(content) = self.content_mut()
        {
            content.copies.sent(key_of(&request), link, until);
        }
        self.send(
            turn,
            slot,
            Message::Piece { piece: request.piece, offset: request.offset, data },
        );
    }
    fn read_ahead(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let title = self.title;
        let Some((peer, content)) = self.both(slot) else { return };
        let link = peer.link;
        while let Some(run) = peer.uploads.next_read(|request| {
            content.pieces.in_memory(request.piece, request.offset, request.length)
        }) {
            let Some(piece) = content.pieces.info.layout.piece(run.piece) else { return };
            let offset = content.pieces.info.layout.start(piece) + u64::from(run.offset);
            content.share.begin_read(run.piece);
            turn.submit(
                Owner::Swarm(title, Task::ReadUpload { link, run }),
                Job::Read { title, offset, length: run.length },
            );
        }
    }
    pub(super) fn on_upload_read(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        link: LinkId,
        run: &BlockRequest,
        outcome: Outcome,
    ) {
        let slot = (0..self.peers.len() as u16)
            .find(|&slot| self.peer(slot).is_some_and(|peer| peer.link == link));
        if let Some(peer) = slot.and_then(|slot| self.peer_mut(slot)) {
            peer.uploads.on_read_end(run);
        }
        if let Some(content) = self.content_mut() {
            content.share.end_read(run.piece);
        }
        match outcome {
            Outcome::Data(data) if data.len() == run.length as usize => {
                if let Some(peer) = slot.and_then(|slot| self.peer_mut(slot)) {
                    peer.uploads.on_read(run, &data);
                }
            }
            outcome => self.on_read_failed(turn, run.piece, &failure_of(outcome)),
        }
        if let Some(slot) = slot {
            self.pump(turn, hub, slot);
        }
    }
    /// Requests for a piece that could not be read are turned down: nothing waits behind them.
    pub(super) fn drop_uploads(&mut self, turn: &mut Turn<'_>, piece: u32) {
        for slot in self.slots() {
            let Some(peer) = self.peer_mut(slot) else { continue };
            let (fast, link) = (peer.fast, peer.link);
            let gone = peer.uploads.drop_piece(piece);
            for wanted in gone {
                self.forget_given(link, &wanted.request);
                if fast {
                    self.send(turn, slot, Message::Reject(wanted.request));
                }
            }
        }
    }
    /// A stored piece cannot be read: it is no longer offered, and fetched again if it is wanted.
    pub(super) fn on_read_failed(&mut self, turn: &mut Turn<'_>, piece: u32, failure: &Failure) {
        self.drop_uploads(turn, piece);
        if is_full(failure) {
            return;
        }
        let Some(content) = self.content_mut() else { return };
        let held = content.pieces.lose(piece);
        let lost = content.pieces.lose_blocks(piece);
        if !held && lost.is_empty() {
            return;
        }
        for block in lost {
            content.plan.on_free(BlockKey::new(piece, block));
        }
        let gone = held || content.pieces.abandon_if_empty(piece);
        if gone && content.pieces.is_wanted(piece) {
            content.availability.list(piece);
        }
        content.finished &= content.pieces.is_complete();
        content.unsaved = true;
        let left = content.pieces.info.layout.data_total() - content.pieces.stored();
        turn.counters(self.title).left = left;
        turn.tell(Event::Trouble {
            title: Some(self.title),
            message: failure.message.clone(),
            fatal: false,
        });
        for slot in self.slots() {
            if held && self.peer(slot).is_some_and(|peer| peer.ids.dont_have != 0) {
                let message = shoal_wire::peer::Extended::DontHave { piece };
                self.send(turn, slot, Message::Extended(message.into()));
            }
        }
        self.timers.save.get_or_insert(turn.now + turn.config.swarm.save_interval);
        self.rewatch(turn);
        for slot in self.slots() {
            if self.peer(slot).is_some_and(|peer| peer.has_piece(piece)) {
                self.become_interested(turn, slot);
            }
        }
        self.fill_all(turn);
    }
    /// A request of `link` will not be answered: its block may be given to others.
    fn forget_given(&mut self, link: LinkId, request: &BlockRequest) {
        if let Some(content) = self.content_mut() {
            content.copies.dropped(key_of(request), link);
        }
    }
    fn is_admitted(&self, turn: &Turn<'_>, slot: u16) -> bool {
        turn.config.swarm.admit_shoal && self.peer(slot).is_some_and(super::peer::Peer::is_kin)
    }
    /// Serves a Shoal peer at once, and a foreign one when a slot is free.
    pub(super) fn give_free_slot(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let admitted = self.is_admitted(turn, slot);
        let Some(peer) = self.peer(slot) else { return };
        if !peer.choked || !(admitted || peer.wants_us) {
            return;
        }
        if !admitted {
            let config = &turn.config.swarm;
            let used = self
                .slots()
                .into_iter()
                .filter(|&other| self.peer(other).is_some_and(|peer| !peer.choked && peer.wants_us))
                .filter(|&other| !self.is_admitted(turn, other))
                .count();
            if used >= config.upload_slots + config.optimistic_slots {
                return;
            }
        }
        self.set_choked(turn, slot, false);
    }
    fn set_choked(&mut self, turn: &mut Turn<'_>, slot: u16, choked: bool) {
        let Some(peer) = self.peer_mut(slot).filter(|peer| peer.choked != choked) else { return };
        peer.choked = choked;
        let (fast, link) = (peer.fast, peer.link);
        let dropped = if choked { peer.uploads.clear() } else { Default::default() };
        self.send(turn, slot, if choked { Message::Choke } else { Message::Unchoke });
        // BEP 6: each request that a choke drops is rejected, so that the peer can ask elsewhere at once.
        for wanted in dropped {
            if self.is_allowed(&turn.config.swarm, slot, &wanted.request) {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.uploads.push(wanted.request, wanted.due, wanted.repeat);
                }
                continue;
            }
            self.forget_given(link, &wanted.request);
            if fast {
                self.send(turn, slot, Message::Reject(wanted.request));
            }
        }
        self.offer_allowed(turn, slot);
    }
    /// A round of the choker among foreign peers.
    pub(super) fn choke_round(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, optimistic: bool) {
        let slots = self.slots();
        let mut candidates = Vec::new();
        for &slot in &slots {
            let admitted = self.is_admitted(turn, slot);
            let Some(peer) = self.peer_mut(slot) else { continue };
            if peer.wants_us && !admitted {
                candidates.push(Candidate {
                    slot,
                    gives: peer.down.rate(),
                    taken: peer.taken,
                    unchoked: !peer.choked,
                    snubbed: peer.snubbed,
                    optimistic: peer.optimistic && !optimistic,
                });
            }
            peer.taken /= 2;
        }
        let config = &turn.config.swarm;
        let policy = if self.is_complete() { Policy::RoundRobin } else { Policy::TitForTat };
        let choice =
            choose(policy, &candidates, config.upload_slots, config.optimistic_slots, turn.rng);
        for candidate in &candidates {
            let slot = candidate.slot;
            let lucky = choice.optimistic.contains(&slot);
            if let Some(peer) = self.peer_mut(slot) {
                peer.optimistic = lucky;
            }
            self.set_choked(turn, slot, !(lucky || choice.regular.contains(&slot)));
            self.serve_choked(turn, hub, slot);
        }
        // Who no longer wants anything gives its slot back.
        for slot in slots {
            if !self.is_admitted(turn, slot)
                && self.peer(slot).is_some_and(|peer| !peer.wants_us && !peer.choked)
            {
                self.set_choked(turn, slot, true);
            }
            let title = self.title;
            if let Some(peer) = self.peer_mut(slot) {
                hub.uplink.settle(turn.now, title, slot, &mut peer.uploads);
            }
        }
    }
    /// Weighs what is held against a peer and acts on it.
    pub(super) fn judge(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let Some(peer) = self.peer(slot) else { return };
        let record = peer.record;
        let delivered = peer.down.total() > 0;
        let rule = if record.noise > NOISE_MAX {
            "it floods us with messages that say nothing new"
        } else if record.unsolicited > UNSOLICITED_MAX {
            "it sent blocks that nobody asked for"
        } else if record.malformed > MALFORMED_MAX {
            "it asked for bytes that no piece has"
        } else if record.abusive > ABUSIVE_MAX {
            "it asked for far more than it may"
        } else if record.rejected > REJECTED_MAX && !delivered {
            let rule = "it announced pieces and refused every request for them";
            // A Shoal peer may turn down what it has no time for.
            if peer.is_shoal() {
                return self.part_from(turn, hub, slot, rule);
            }
            rule
        } else if record.broken > BROKEN_MAX
            && !delivered
            && peer.owed_for(turn.now) >= BROKEN_AFTER
        {
            return self.part_from(turn, hub, slot, "it announced pieces and never sent any");
        } else {
            return;
        };
        self.ban(turn, hub, peer.link, CloseReason::Protocol(rule));
    }
}

/// The block in which a request begins.
fn key_of(request: &BlockRequest) -> BlockKey {
    BlockKey::new(request.piece, request.offset / BLOCK_LEN)
}
