//! Second requests: for a windowed block that is late, and for the last blocks of a title.
//!
//! A block is asked of a second peer only when it did not come when it was predicted and is needed soon, at most of two
//! peers, within a budget of duplicate bytes. When the budget is spent the request moves instead: taken back here, made
//! there. The first answer cancels the other request.

use alloc::vec::Vec;
use core::time::Duration;

use super::fetch::HEDGE_AHEAD;
use super::peer::{Asked, Peer};
use super::pieces::{BlockKey, BlockState};
use super::title::{Content, Swarm};
use crate::config::Scheduler;
use crate::config::limits::{
    BROKEN_SNUB, HEDGE_AGAIN, HEDGE_BUDGET_BASE, HEDGE_GAIN, HEDGE_ROUND_MAX, HEDGE_START_DUE,
    SOURCE_QUICK, WAITED_FOR,
};
use crate::time::Instant;
use crate::turn::Turn;
use shoal_wire::peer::BLOCK_LEN;

impl Swarm {
    fn has_budget(&self, turn: &mut Turn<'_>) -> bool {
        let permille = u64::from(turn.config.swarm.hedge_permille);
        let counters = turn.counters(self.title);
        let spent = counters.duplicate.max(counters.hedged * u64::from(BLOCK_LEN));
        spent < counters.received * permille / 1000 + HEDGE_BUDGET_BASE
    }
    /// Looks at the blocks whose time to be hedged has come.
    pub(super) fn hedge(&mut self, turn: &mut Turn<'_>) {
        if turn.config.swarm.scheduler != Scheduler::Deadline {
            return self.put_off_all(turn);
        }
        for _ in 0..HEDGE_ROUND_MAX {
            let Some((at, key)) = self.content().and_then(|content| content.plan.next_hedge())
            else {
                return;
            };
            if at > turn.now {
                return;
            }
            self.hedge_block(turn, key);
        }
        self.put_off_all(turn);
    }
    /// Moves everything that is due for a look a little on, so that a turn stays short.
    fn put_off_all(&mut self, turn: &Turn<'_>) {
        let now = turn.now;
        let Some(content) = self.content_mut() else { return };
        while let Some((_, key)) = content.plan.next_hedge().filter(|(at, _)| *at <= now) {
            content.plan.put_off(key, now + HEDGE_AGAIN);
        }
    }
    fn hedge_block(&mut self, turn: &mut Turn<'_>, key: BlockKey) {
        let now = turn.now;
        let holders: Vec<u16> = (0..self.peers.len() as u16)
            .filter(|&slot| self.peer(slot).is_some_and(|peer| peer.owes(key)))
            .collect();
        // Of two that were asked the one that broke its promise makes room for a third.
        let broken = holders.iter().copied().find(|&slot| self.is_overdue(now, slot, key));
        // What the player waits for goes to who brings it, as soon as it is late at all.
        let late = || holders.iter().copied().find(|&slot| self.is_late(now, slot, key));
        let overdue = if self.is_waited_for(now, key) { broken.or_else(late) } else { broken };
        let budget = self.has_budget(turn);
        let helps = !budget && self.is_start(now, key);
        let is_free = match holders.len() {
            0 => true,
            1 => budget || helps || overdue.is_some(),
            _ => overdue.is_some(),
        };
        let alone = self
            .content()
            .and_then(|content| content.pieces.active(key.piece()))
            .is_some_and(|active| active.alone);
        // Without a budget only a source that is quick helps to start.
        let only_source = helps && overdue.is_none();
        let second = if alone || !is_free { None } else { self.best_for(turn, key, only_source) };
        let is_quick = |slot: &u16| {
            self.peer(*slot).is_some_and(|peer| {
                peer.is_source() && peer.service.arrival(now, BLOCK_LEN) <= now + SOURCE_QUICK
            })
        };
        let second = second.filter(|slot| !only_source || is_quick(slot));
        let Some(second) = second else {
            if let Some(content) = self.content_mut() {
                content.plan.put_off(key, now + HEDGE_AGAIN);
            }
            return;
        };
        let doubles = holders.len() == 1 && (budget || only_source);
        // What was taken back is no promise: a peer may send all that stands before it, and the block itself.
        let broke = broken.filter(|&slot| self.is_promised(slot, key));
        if let Some(slot) = overdue.filter(|_| !doubles) {
            self.cancel(turn, slot, key);
        }
        if self.ask(turn, second, key) {
            turn.counters(self.title).hedged += u64::from(doubles);
            self.send_requests(turn, second);
        }
        if let Some(slot) = broke {
            self.on_broken(turn, slot);
        }
    }
    fn is_promised(&self, slot: u16, key: BlockKey) -> bool {
        self.peer(slot).is_some_and(|peer| peer.asked.iter().any(|asked| asked.key == key))
    }
    /// A peer left a request unanswered until another had to be asked. One that does so again and again and delivers nothing
    /// in between is given no more than one at a time.
    fn on_broken(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.record.broken += 1;
        if peer.record.broken >= BROKEN_SNUB && !peer.snubbed {
            self.snub(turn, slot);
        }
    }
    /// Whether a request has taken three times as long as it was predicted to, or a withdrawn one was neither rejected nor
    /// answered in time: then it will hardly come any more.
    fn is_overdue(&self, now: Instant, slot: u16, key: BlockKey) -> bool {
        let Some(peer) = self.peer(slot) else { return false };
        let late = |asked: &Asked| asked.expected.since(asked.sent) * 3 + HEDGE_AGAIN;
        let unanswered =
            |asked: &Asked| now.since(asked.sent) > peer.service.rtt() * 3 + HEDGE_AGAIN;
        peer.asked.iter().any(|asked| asked.key == key && now.since(asked.sent) > late(asked))
            || peer.withdrawn().iter().any(|asked| asked.key == key && unanswered(asked))
    }
    /// Whether a request was not answered when it was predicted to be.
    fn is_late(&self, now: Instant, slot: u16, key: BlockKey) -> bool {
        let owed =
            self.peer(slot).and_then(|peer| peer.asked.iter().find(|asked| asked.key == key));
        owed.is_some_and(|asked| now > asked.expected + HEDGE_AGAIN)
    }
    /// Whether a player stands still for want of a block, or will in a moment.
    fn is_waited_for(&self, now: Instant, key: BlockKey) -> bool {
        self.content().is_some_and(|content| {
            let due = content.plan.due(key);
            content.plan.is_playing() && due.is_some_and(|due| due <= now + WAITED_FOR)
        })
    }
    /// Whether nothing plays yet, and this block is one of the first that are needed for it.
    fn is_start(&self, now: Instant, key: BlockKey) -> bool {
        self.content().is_some_and(|content| {
            let due = content.plan.due(key);
            !content.plan.is_playing() && due.is_some_and(|due| due <= now + HEDGE_START_DUE)
        })
    }
    /// The peer that would bring a block soonest among those that do not owe it yet. What is due very soon may wait behind
    /// other requests of ours, or a busy swarm would have no room for it. O(peers), and rare.
    fn best_for(&self, turn: &Turn<'_>, key: BlockKey, only_source: bool) -> Option<u16> {
        let now = turn.now;
        let content = self.content()?;
        let due = content.plan.due(key);
        let is_urgent = due.is_some_and(|due| due <= now + HEDGE_AHEAD);
        let gate = self.gate(turn);
        let admits = |peer: &Peer| {
            !peer.is_source() || due.is_none_or(|due| gate.admits_due(content, peer, key, due))
        };
        let room = |peer: &Peer| {
            let shallow = peer.shallow_depth(2) as usize + 1;
            (if is_urgent { usize::MAX } else { shallow }).min(peer.queue_max as usize)
        };
        (0..self.peers.len() as u16)
            .filter_map(|slot| Some((slot, self.peer(slot)?)))
            .filter(|(_, peer)| peer.is_reliable() && !peer.is_busy(now) && peer.has_block(key))
            .filter(|(_, peer)| peer.asked.len() < room(peer) && !peer.owes(key))
            .filter(|(_, peer)| admits(peer) && (!only_source || peer.is_source()))
            .min_by_key(|(slot, peer)| (peer.service.arrival(now, BLOCK_LEN), *slot))
            .map(|(slot, _)| slot)
    }
    /// When nothing is left to begin: a block that its holder would bring much later than this peer. Within the budget it is
    /// asked of both; beyond it, only one that is overdue moves here.
    pub(super) fn pick_endgame(&mut self, turn: &mut Turn<'_>, slot: u16) -> Option<BlockKey> {
        let now = turn.now;
        let (_, content) = self.both(slot)?;
        if content.availability.listed() > 0 {
            return None;
        }
        let peer = self.peer(slot)?;
        let content = self.content()?;
        let arrival = peer.service.arrival(now, BLOCK_LEN);
        let (wait, slowest, holder) = (0u16..)
            .zip(&self.peers)
            .filter(|(index, _)| *index != slot)
            .filter_map(|(index, other)| Some((index, other.as_deref()?)))
            .filter_map(|(index, other)| Some((still_to_wait(now, other)?, index, other)))
            .max_by_key(|(wait, index, _)| (*wait, *index))?;
        if wait < arrival.since(now) + HEDGE_GAIN {
            return None;
        }
        let gate = self.gate(turn);
        let admits = |key: BlockKey| {
            !peer.is_source()
                || match content.plan.due(key) {
                    Some(due) => gate.admits_due(content, peer, key, due),
                    None => gate.admits_rest(content, key),
                }
        };
        let candidates = holder.asked.iter().rev().map(|asked| asked.key);
        let key = candidates
            .take(HEDGE_ROUND_MAX)
            .find(|key| peer.has_block(*key) && is_single(content, *key) && admits(*key))?;
        if self.has_budget(turn) {
            turn.counters(self.title).hedged += 1;
        } else if self.is_overdue(now, slowest, key) {
            self.cancel(turn, slowest, key);
        } else {
            return None;
        }
        Some(key)
    }
}

/// How long a peer's last request will take. One that is late already will probably be late by as much again.
fn still_to_wait(now: Instant, peer: &Peer) -> Option<Duration> {
    let first = peer.asked.front()?.expected;
    let last = peer.asked.back()?.expected;
    Some(last.since(now).max(now.since(first)))
}

/// Whether exactly one peer owes the block.
fn is_single(content: &Content, key: BlockKey) -> bool {
    content
        .pieces
        .active(key.piece())
        .filter(|active| !active.alone)
        .and_then(|active| active.blocks.get(key.block() as usize))
        .is_some_and(|block| block.state == BlockState::Asked && block.holders == 1)
}
