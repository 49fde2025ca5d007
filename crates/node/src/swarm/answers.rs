//! Hashes of trees that peers ask us for: from memory, or computed, but never much of that in one turn.
//!
//! Proofs are made of the layers above a piece layer, which are computed once, when the first peer asks, in steps. Leaves of
//! a stored piece are computed by a job. A question whose answer takes many hashes waits in one queue with all others of its
//! kind, which gets a step of hashing every few milliseconds; each peer may fill a part of that queue.

use alloc::boxed::Box;
use bytes::Bytes;

use shoal_wire::merkle::{self, MAX_REQUEST_HASHES, Upper};
use shoal_wire::peer::{HashRange, Message};

use super::hashes::Tree;
use super::title::{Swarm, Task};
use crate::config::limits::{
    HASH_QUESTIONS_MAX, HASH_QUESTIONS_PER_PEER_MAX, HASHES_AT_ONCE_MAX, HASHES_PER_ANSWER_MAX,
    HASHES_PER_STEP, HASHES_STEP,
};
use crate::io::{Failure, FailureKind, Job, Outcome};
use crate::link::LinkId;
use crate::turn::{Owner, Turn};

/// A question of a peer for hashes.
pub(super) type Question = (LinkId, HashRange);

impl Tree {
    /// Whether the layers above the piece layer are made, as far as `range` needs them.
    fn is_made(&self, range: &HashRange) -> bool {
        !merkle::needs_upper(&self.shape, range)
            || self.upper.as_ref().is_some_and(|upper| upper.is_done())
    }
    /// Goes on making them for a step. True when they are made.
    fn make(&mut self) -> bool {
        let shape = self.shape;
        let upper = self.upper.get_or_insert_with(|| Box::new(Upper::new(shape)));
        upper.build(&self.layer, HASHES_PER_STEP)
    }
    /// Whether what is asked may be computed at all.
    fn may_answer(&self, range: &HashRange) -> bool {
        let pieces = self.shape.piece_node_layer();
        let needs_layer = range.proof_layers > 0 || range.base_layer >= self.shape.piece_layer();
        merkle::is_valid(&self.shape, range)
            && merkle::answer_cost(&self.shape, range) <= HASHES_PER_ANSWER_MAX
            && (range.base_layer >= pieces || 1 << pieces <= MAX_REQUEST_HASHES)
            && (self.is_layer_known() || !needs_layer)
    }
}

impl Swarm {
    /// A peer asks for hashes.
    pub(super) fn on_hash_request(&mut self, turn: &mut Turn<'_>, slot: u16, range: &HashRange) {
        let tree = self.content().and_then(|content| content.hashes.first_tree(range.pieces_root));
        let cost = tree.map_or(0, |tree| merkle::answer_cost(&tree.shape, range));
        // What takes long counts for more.
        let weight = 1 + u32::try_from(cost / HASHES_AT_ONCE_MAX).unwrap_or(u32::MAX - 1);
        if self.is_fair_question(slot, weight) {
            self.answer_hashes(turn, slot, range, &mut { HASHES_AT_ONCE_MAX });
        } else {
            self.send(turn, slot, Message::HashReject((*range).into()));
        }
    }
    /// Answers a question for hashes that was counted: at once if that takes no more than `budget` hashes, or by and by, or
    /// when the leaves it needs were computed.
    fn answer_hashes(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        range: &HashRange,
        budget: &mut u64,
    ) {
        let title = self.title;
        let Some(link) = self.peer(slot).map(|peer| peer.link) else { return };
        let has_place = self.has_place(link);
        let Some(hashes) = self.content().map(|content| &content.hashes) else { return };
        let tree = hashes.first_tree(range.pieces_root).filter(|tree| tree.may_answer(range));
        let Some(tree) = tree else {
            return self.send(turn, slot, Message::HashReject((*range).into()));
        };
        let mut missing = merkle::pieces_needed(&tree.shape, range)
            .map(|piece| tree.first_piece + piece)
            .filter(|piece| hashes.leaves(*piece).is_none());
        let missing = (missing.next(), missing.next());
        let cost = merkle::answer_cost(&tree.shape, range);
        let Some(content) = self.content_mut() else { return };
        let hashes = &mut content.hashes;
        match missing {
            (None, _) => {
                // A film's tree is made at once; behind others who wait for theirs there is no step left.
                let is_first = hashes.later.is_empty();
                let tree = hashes.first_tree_mut(range.pieces_root);
                let is_made =
                    tree.is_some_and(|tree| tree.is_made(range) || (is_first && tree.make()));
                if is_made && cost <= *budget {
                    *budget -= cost;
                    return self.send_hashes(turn, slot, range);
                }
                if has_place {
                    hashes.later.push_back((link, *range));
                    hashes.waiting_count += 1;
                    self.timers.hashes.get_or_insert(turn.now + HASHES_STEP);
                    return;
                }
            }
            (Some(piece), None) if content.pieces.is_held(piece) && has_place => {
                hashes.waiting_count += 1;
                let waiting = hashes.waiting.entry(piece).or_default();
                waiting.push((link, *range));
                if waiting.len() == 1 {
                    turn.submit(
                        Owner::Swarm(title, Task::Leaves { piece }),
                        Job::Leaves { title, piece },
                    );
                }
                return;
            }
            _ => {}
        }
        self.send(turn, slot, Message::HashReject((*range).into()));
    }
    /// Whether one more question of a peer may wait. O(questions that wait).
    fn has_place(&self, link: LinkId) -> bool {
        let Some(content) = self.content() else { return false };
        let hashes = &content.hashes;
        let waiting = hashes.waiting.values().flatten().chain(&hashes.later);
        hashes.waiting_count < HASH_QUESTIONS_MAX
            && waiting.filter(|question| question.0 == link).count() < HASH_QUESTIONS_PER_PEER_MAX
    }
    /// Answers with what is in memory.
    fn send_hashes(&mut self, turn: &mut Turn<'_>, slot: u16, range: &HashRange) {
        let Some(content) = self.content() else { return };
        let hashes = &content.hashes;
        let list = hashes.first_tree(range.pieces_root).and_then(|tree| {
            let leaves = |piece: u32| hashes.leaves(tree.first_piece + piece);
            // Mostly what is asked for are the leaves of a piece as they are kept: they are shared, not copied.
            let levels = tree.shape.piece_node_layer();
            let is_piece = range.base_layer == 0
                && range.length == 1 << levels
                && merkle::is_valid(&tree.shape, range);
            let kept = if is_piece { leaves(range.index >> levels) } else { None };
            if let Some(kept) = kept.filter(|kept| kept.len() == merkle::answer_len(range)) {
                return Some(kept.clone());
            }
            let upper = tree.upper.as_deref();
            merkle::answer_with(&tree.shape, range, &tree.layer, upper, leaves).map(Bytes::from)
        });
        let answer = match list {
            Some(hashes) => Message::Hashes { range: (*range).into(), hashes },
            None => Message::HashReject((*range).into()),
        };
        self.send(turn, slot, answer);
    }
    /// A step of hashing for those who wait for an answer.
    pub(super) fn step_hashes(&mut self, turn: &mut Turn<'_>) {
        self.timers.hashes = None;
        let mut left = u64::from(HASHES_PER_STEP);
        while let Some(content) = self.content_mut()
            && let Some((link, range)) = content.hashes.later.front().copied()
        {
            let tree = content.hashes.first_tree_mut(range.pieces_root);
            let Some(tree) = tree else { return };
            // Long answers count for their length: they are copied and sent.
            let cost = merkle::answer_cost(&tree.shape, &range).max(u64::from(range.length / 4));
            // One is answered in any case.
            let is_enough = cost > left && left < u64::from(HASHES_PER_STEP);
            let is_made = tree.is_made(&range);
            if is_enough || !(is_made || tree.make()) {
                break;
            }
            left = if is_made { left.saturating_sub(cost) } else { 0 };
            content.hashes.later.pop_front();
            content.hashes.waiting_count -= 1;
            if let Some(slot) = self.slot_of(link) {
                self.send_hashes(turn, slot, &range);
            }
        }
        if self.content().is_some_and(|content| !content.hashes.later.is_empty()) {
            self.timers.hashes = Some(turn.now + HASHES_STEP);
        }
    }
    fn slot_of(&self, link: LinkId) -> Option<u16> {
        self.slots().into_iter().find(|&slot| self.peer(slot).is_some_and(|peer| peer.link == link))
    }
    /// The leaves of a stored piece were computed.
    pub(super) fn on_leaves(&mut self, turn: &mut Turn<'_>, piece: u32, outcome: Outcome) {
        let Some(content) = self.content_mut() else { return };
        let waiting = content.hashes.waiting.remove(&piece).unwrap_or_default();
        content.hashes.waiting_count -= waiting.len();
        let computed = match outcome {
            Outcome::Data(list) if content.hashes.are_leaves(piece, &list) => {
                let held = content.pieces.is_held(piece);
                if held {
                    content.hashes.keep(piece, list, true);
                }
                held
            }
            // The bytes on the disk are not those that were proven.
            Outcome::Data(_) => {
                self.on_read_failed(turn, piece, &changed());
                false
            }
            Outcome::Failed(failure) => {
                self.on_read_failed(turn, piece, &failure);
                false
            }
            _ => false,
        };
        let mut budget = u64::from(HASHES_PER_STEP);
        for (link, range) in waiting {
            let Some(slot) = self.slot_of(link) else { continue };
            if computed {
                self.answer_hashes(turn, slot, &range, &mut budget);
            } else {
                self.send(turn, slot, Message::HashReject(range.into()));
            }
        }
    }
}

fn changed() -> Failure {
    Failure {
        kind: FailureKind::DiskLost,
        message:
            "Stored bytes are not what they were when they were verified; they are fetched again."
                .into(),
    }
}
