//! The scheduler: which block is asked of which peer, and when.
//!
//! It runs on events, not on a clock: a peer with room (a block came, it unchoked, it announced something) is *filled*.
//! Inside windows the earliest due block goes to the peer with the earliest predicted arrival. A peer that is slower than
//! the others would make an early block late, so it skips ahead to the first block that it can bring in time, or at least
//! before the others get round to it: with blocks in due order, the others reach the `i`-th one after about `i` block times
//! of the whole swarm.
//!
//! Three zones. *Urgent*: queues of one and a half bandwidth-delay products, so that a jump waits for little. *Window*: the
//! same order, deeper queues. *Rest*: rarest first, deep queues, and nothing while the buffer is thin.

use core::time::Duration;

use alloc::vec::Vec;
use shoal_wire::peer::{BLOCK_LEN, DueRequest, Extended, Message, ShoalMessage};

use super::ahead::Zone;
use super::audience::short_id;
use super::order;
use super::peer::{Asked, Have, Peer};
use super::pieces::{Active, BlockKey, BlockState};
use super::source::{Gate, due_for_source};
use super::title::{Content, Phase, Swarm};
use super::windowed::Pick;
use super::windows::due_in_ms;
use crate::config::limits::{RAREST_SCAN_MAX, SPARSE_SCAN_MAX};
use crate::config::{Choice, Order, Scheduler, SwarmConfig};
use crate::io::Want;
use crate::link::ReaderId;
use crate::turn::{Turn, Window, WindowCause};

/// With something missing that is due within this time, nothing is fetched that nobody waits for.
const THIN: Duration = Duration::from_secs(6);
/// A withdrawn request whose block is wanted again is hedged after this long.
const WITHDRAWN_WAIT: Duration = Duration::from_millis(500);
/// A block is asked of a second peer only when it is due within this time.
pub(super) const HEDGE_AHEAD: Duration = Duration::from_secs(1);
/// Better peers that are given work one after the other, instead of the one that had room.
const HOPS: usize = 3;
/// In bulk a peer is given work when one part in this many of its queue is empty.
const BATCH: usize = 8;

impl Swarm {
    /// Gives work to every peer with room. O(peers): for rare events.
    pub(super) fn fill_all(&mut self, turn: &mut Turn<'_>) {
        self.fill_others(turn, u16::MAX);
    }
    pub(super) fn fill_others(&mut self, turn: &mut Turn<'_>, but: u16) {
        if self.content().is_none_or(Content::is_sated) {
            return;
        }
        // Who owes blocks and sends none comes last: it must not be given the same ones again and again.
        for snubbed in [false, true] {
            for slot in 0..self.peers.len() as u16 {
                if slot != but && self.peer(slot).is_some_and(|peer| peer.snubbed == snubbed) {
                    self.fill(turn, slot);
                }
            }
        }
    }
    /// A block that a peer was asked for is free again: gives work to the others that have it. O(peers).
    pub(super) fn fill_holders(&mut self, turn: &mut Turn<'_>, but: u16, key: BlockKey) {
        for snubbed in [false, true] {
            for slot in 0..self.peers.len() as u16 {
                let takes = |peer: &Peer| peer.snubbed == snubbed && peer.has_block(key);
                if slot != but && self.peer(slot).is_some_and(takes) {
                    self.fill(turn, slot);
                }
            }
        }
    }
    /// Gives work to a peer while it has room, or to those that are better for it.
    pub(super) fn fill(&mut self, turn: &mut Turn<'_>, slot: u16) {
        if turn.config.swarm.choice != Choice::Arrival {
            return self.fill_chosen(turn, slot);
        }
        let mut next = Some(slot);
        for _ in 0..HOPS {
            let Some(slot) = next else { break };
            next = self.fill_one(turn, slot);
        }
    }
    /// Gives work to a peer while it has room. A peer that is better for it.
    pub(super) fn fill_one(&mut self, turn: &mut Turn<'_>, slot: u16) -> Option<u16> {
        if self.halted.is_some() {
            return None;
        }
        if self.peer(slot).is_some_and(|peer| peer.chokes_us) {
            self.fill_choked(turn, slot);
            return None;
        }
        let config = &turn.config.swarm;
        // In bulk, requests are made a batch at a time: one message and one wake-up of the peer for many blocks.
        if let Some((peer, content)) = self.both(slot)
            && !content.plan.is_live()
            && peer.asked.len() * BATCH > peer.bulk_depth(config) as usize * (BATCH - 1)
        {
            return None;
        }
        let mut other = None;
        loop {
            let outstanding = self.ahead.all() as usize;
            let (peer, content) = self.both(slot)?;
            let room = peer.queue_max.min(config.requests_out_max) as usize;
            if !peer.interested || peer.asked.len() >= room {
                break;
            }
            let key = if content.pieces.memory() + outstanding >= config.memory_max {
                let gate = self.gate(turn);
                let (Some(peer), Some(content)) = (self.peer(slot), self.content()) else {
                    return None;
                };
                let nearest = pick_nearest(content, Giver { peer, slot, gate }, config);
                self.starved = true;
                match nearest {
                    Some(key) => key,
                    None => break,
                }
            } else {
                match self.pick_windowed(turn, slot) {
                    Pick::Block(key) => key,
                    Pick::Wait => break,
                    Pick::Other(slot) => {
                        other = Some(slot);
                        break;
                    }
                    Pick::Nothing => match self.pick_rest(turn, slot) {
                        Some(key) => key,
                        None => break,
                    },
                }
            };
            if !self.ask(turn, slot, key) {
                break;
            }
        }
        self.send_requests(turn, slot);
        other
    }
    /// The block outside all windows that this peer should bring.
    fn pick_rest(&mut self, turn: &mut Turn<'_>, slot: u16) -> Option<BlockKey> {
        let config = &turn.config.swarm;
        if self.want == Want::OnDemand {
            return None;
        }
        let now = turn.now;
        let random = turn.rng.next_u32();
        let gate = self.gate(turn);
        let (peer, content) = (self.peer(slot)?, self.content()?);
        if content.pieces.is_complete() {
            return None;
        }
        let depth = if content.plan.is_live() && config.scheduler != Scheduler::Ignore {
            if content.plan.earliest_missing().is_some_and(|due| due <= now + THIN) {
                return None;
            }
            peer.shallow_depth(config.requests_out_start) + 1
        } else {
            peer.bulk_depth(config)
        };
        if peer.asked.len() >= depth as usize {
            return None;
        }
        let giver = Giver { peer, slot, gate };
        if let Some(key) = peer.current.and_then(|piece| free_block(content, giver, piece)) {
            return Some(key);
        }
        let key = resume_piece(content, giver, is_nobody)
            .or_else(|| begin_piece(content, giver, config, random, config.partial_pieces_max))
            .or_else(|| resume_piece(content, giver, |_| true))
            // What was begun waits for peers that are gone: this one must not wait with it. Below the usual limit there was
            // nothing to begin.
            .or_else(|| {
                let begun_max = config.partial_pieces_max * 16;
                (content.pieces.begun() >= config.partial_pieces_max)
                    .then(|| begin_piece(content, giver, config, random, begun_max))?
            });
        if let Some(peer) = self.peer_mut(slot) {
            peer.current = key.map(BlockKey::piece);
        }
        key.or_else(|| self.pick_endgame(turn, slot))
    }
    /// What may be asked of sources now.
    pub(super) fn gate(&self, turn: &Turn<'_>) -> Gate<'_> {
        Gate {
            now: turn.now,
            me: short_id(&turn.peer_id),
            audience: &self.audience,
            on: turn.config.swarm.source_rule,
        }
    }
    /// Asks the peer in `slot` for a block. False when its piece could not be begun.
    pub(super) fn ask(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) -> bool {
        let now = turn.now;
        let begun = {
            let Some((peer, content)) = self.both(slot) else { return false };
            if !admits(content, peer, slot, key.piece()) {
                return false;
            }
            let Some(piece) = content.pieces.info.layout.piece(key.piece()) else { return false };
            if content.pieces.is_missing(key.piece()) {
                let length = u64::from(content.pieces.info.layout.data_len(piece));
                if !content.share.admits(now, length, content.plan.due(key))
                    || !content.pieces.begin(piece, slot)
                {
                    return false;
                }
                content.availability.unlist(key.piece());
                true
            } else {
                false
            }
        };
        if begun {
            self.want_leaves(turn, slot, key.piece());
        }
        let Some((peer, content)) = self.both(slot) else { return false };
        let layout = &content.pieces.info.layout;
        let length =
            layout.piece(key.piece()).map_or(0, |piece| layout.block_len(piece, key.block()));
        let due = content.plan.due(key);
        content.pieces.ask(key);
        if let Some(active) = content.pieces.active_mut(key.piece()).filter(|active| active.alone) {
            active.owner = slot;
        }
        let expected = peer.ask(now, key, length, due);
        if let Some(due) = due {
            let late = expected + peer.service.deviation() * 2 + Duration::from_millis(50);
            content.plan.on_ask(key, late.max(due.back(HEDGE_AHEAD)));
        }
        self.ahead.add(Zone::of(now, due), length);
        true
    }
    /// Sends the requests that were noted in this turn: to Shoal peers together with their due times.
    pub(super) fn send_requests(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let now = turn.now;
        let Some((peer, content)) = self.both(slot) else { return };
        if peer.unsent == 0 {
            return;
        }
        let layout = &content.pieces.info.layout;
        let is_source = peer.is_source();
        let first = peer.asked.len() - core::mem::take(&mut peer.unsent) as usize;
        let requests: Vec<DueRequest> = peer
            .asked
            .range(first..)
            .filter_map(|&Asked { key, due, .. }| {
                let due =
                    due.map(|due| if is_source { due_for_source(content, now, due) } else { due });
                let block = layout.request(layout.piece(key.piece())?, key.block());
                Some(DueRequest { block, due_in_ms: due_in_ms(now, due) })
            })
            .collect();
        if peer.is_shoal() && peer.ids.shoal != 0 {
            let message = Extended::Shoal(ShoalMessage::Requests(requests));
            self.send(turn, slot, Message::Extended(message.into()));
        } else {
            for request in requests {
                self.send(turn, slot, Message::Request(request.block));
            }
        }
    }
    /// A request will not be answered by this peer. False when it was not outstanding.
    pub(super) fn release(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) -> bool {
        let now = turn.now;
        let Some((peer, content)) = self.both(slot) else { return false };
        let asked = match peer.unask(key) {
            Some(asked) => {
                peer.service.on_release(now, peer.asked_bytes);
                asked
            }
            None => match peer.settle(key) {
                Some(asked) => asked,
                None => return false,
            },
        };
        if content.pieces.release(key) {
            content.plan.on_free(key);
            if content.pieces.abandon_if_empty(key.piece()) {
                if content.pieces.is_wanted(key.piece()) {
                    content.availability.list(key.piece());
                }
                content.hashes.on_settled(key.piece());
            }
        }
        self.ahead.remove(asked.zone, asked.length);
        self.fastest.forget();
        true
    }
    /// Nothing of what is outstanding at this peer will come.
    pub(super) fn release_all(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let keys: Vec<BlockKey> = self.peer(slot).map_or_else(Vec::new, |peer| {
            peer.asked.iter().chain(peer.withdrawn()).map(|asked| asked.key).collect()
        });
        for key in keys {
            self.release(turn, slot, key);
        }
    }
    /// Takes a request back for good: its block may be asked of others at once.
    pub(super) fn cancel(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) {
        if !self.release(turn, slot, key) {
            return;
        }
        if let Some(peer) = self.peer_mut(slot) {
            peer.remember_cancelled(key);
        }
        self.send_cancel(turn, slot, key);
    }
    /// Asks to have back a request whose block nobody waits for any more. A block that left before the peer heard of it still
    /// comes, so it is asked of nobody else until the peer has answered.
    fn withdraw(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) {
        let now = turn.now;
        let Some((peer, content)) = self.both(slot) else { return };
        let alone = content.pieces.active(key.piece()).is_some_and(|active| active.alone);
        if alone || !peer.withdraw(now, key) {
            return self.cancel(turn, slot, key);
        }
        self.send_cancel(turn, slot, key);
    }
    fn send_cancel(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) {
        let Some(content) = self.content() else { return };
        let layout = &content.pieces.info.layout;
        if let Some(piece) = layout.piece(key.piece()) {
            let request = layout.request(piece, key.block());
            self.send(turn, slot, Message::Cancel(request));
        }
    }
    /// The windows changed. On a jump everything outside them is taken back, so that the wanted blocks do not queue behind it.
    pub(super) fn on_windows(
        &mut self,
        turn: &mut Turn<'_>,
        windows: &[Window],
        heads: &[(ReaderId, u64)],
        cause: WindowCause,
    ) {
        let ignore = turn.config.swarm.scheduler == Scheduler::Ignore;
        let Some(content) = self.content_mut() else { return };
        let windows = content.fit(windows, heads);
        self.take_windows(turn, windows);
        let Some(content) = self.content_mut() else { return };
        let plan = &content.plan;
        if cause == WindowCause::Jumped && plan.is_live() && !ignore {
            for slot in self.slots() {
                let Some((peer, content)) = self.both(slot) else { continue };
                let outside: Vec<BlockKey> = peer
                    .asked
                    .iter()
                    .map(|asked| asked.key)
                    .filter(|key| content.plan.due(*key).is_none())
                    .collect();
                peer.current = None;
                for key in outside {
                    self.withdraw(turn, slot, key);
                }
            }
        }
        self.fastest.forget();
        // A reader may need what is not wanted otherwise.
        let is_more =
            |content: &Content| content.pieces.is_complete() || content.share.has_given_up();
        if self.content().is_some_and(|content| is_more(content) && !content.is_sated()) {
            self.seek_more(turn);
        }
        self.fill_all(turn);
    }
    /// Blocks that were asked for while they were in no window, or withdrawn, are looked after like all others once a window
    /// holds them: Shoal peers hear that it is urgent now, and others are asked when it is late.
    pub(super) fn watch_owed(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let mut urgent = Vec::new();
        let Phase::Ready(content) = &mut self.phase else { return };
        let plan = &mut content.plan;
        let layout = &content.pieces.info.layout;
        for (slot, peer) in (0u16..).zip(&mut self.peers) {
            let Some(peer) = peer.as_deref_mut() else { continue };
            let slack = peer.service.deviation() * 2 + Duration::from_millis(50);
            for asked in &peer.asked {
                if let Some(due) = plan.due(asked.key) {
                    let late = asked.expected + slack;
                    plan.watch(asked.key, late.max(due.back(HEDGE_AHEAD)).max(now));
                }
            }
            for asked in peer.withdrawn() {
                plan.watch(asked.key, now + WITHDRAWN_WAIT);
            }
            if peer.is_shoal() && peer.ids.shoal != 0 {
                let requests =
                    peer.hurry(|key| plan.due(key)).into_iter().filter_map(|(key, due)| {
                        let block = layout.request(layout.piece(key.piece())?, key.block());
                        Some(DueRequest { block, due_in_ms: due_in_ms(now, Some(due)) })
                    });
                urgent.push((slot, requests.collect::<Vec<_>>()));
            }
        }
        for (slot, requests) in urgent.into_iter().filter(|(_, requests)| !requests.is_empty()) {
            let message = Extended::Shoal(ShoalMessage::Hurry(requests));
            self.send(turn, slot, Message::Extended(message.into()));
        }
    }
}

/// A piece restored from disk belongs to nobody.
fn is_nobody(owner: u16) -> bool {
    owner == u16::MAX
}

/// Whether a peer may be asked for blocks of a piece: not while another one brings all of it, nor while it leaves the disk.
pub(super) fn admits(content: &Content, peer: &Peer, slot: u16, piece: u32) -> bool {
    !content.pieces.is_leaving(piece)
        && content
            .pieces
            .active(piece)
            .is_none_or(|active| active.admits(slot, peer.has_piece(piece)))
}

/// A block for when memory is full of what cannot be proven yet: only the piece that is nearest to its proof is gone on with,
/// since nothing but proof makes room. The limit is exceeded by less than a piece.
fn pick_nearest(content: &Content, giver: Giver<'_>, config: &SwarmConfig) -> Option<BlockKey> {
    let Giver { peer, slot, .. } = giver;
    if peer.asked.len() >= peer.bulk_depth(config) as usize {
        return None;
    }
    let count = |active: &Active, wanted: fn(BlockState) -> bool| {
        active.blocks.iter().filter(|block| wanted(block.state)).count()
    };
    let unproven = |active: &&Active| content.hashes.leaf(active.piece.get(), 0).is_none();
    let waiting: usize = content
        .pieces
        .actives()
        .filter(unproven)
        .map(|active| count(active, |state| state == BlockState::Arrived))
        .sum();
    if waiting * (BLOCK_LEN as usize) < config.memory_max / 2 {
        return None;
    }
    let nearest = content
        .pieces
        .actives()
        .filter(unproven)
        .filter(|active| peer.has_piece(active.piece.get()) && active.admits(slot, true))
        .map(|active| {
            let missing = |state| matches!(state, BlockState::Free | BlockState::Asked);
            (count(active, missing), active.piece.get())
        })
        .filter(|(missing, _)| *missing > 0)
        .min()?;
    free_block(content, giver, nearest.1)
}

/// A peer that could be asked for something outside the windows.
#[derive(Clone, Copy)]
pub(super) struct Giver<'a> {
    pub(super) peer: &'a Peer,
    pub(super) slot: u16,
    pub(super) gate: Gate<'a>,
}

impl Giver<'_> {
    fn admits(&self, content: &Content, key: BlockKey) -> bool {
        !self.peer.is_source() || self.gate.admits_rest(content, key)
    }
    /// Whether a piece may be begun with this peer.
    fn admits_piece(&self, content: &Content, piece: u32) -> bool {
        !self.peer.is_source()
            || (!content.copies.is_piece_barred(piece, self.gate.now)
                && self.gate.admits_rest(content, BlockKey::new(piece, 0)))
    }
}

/// First free block of a begun piece that the peer has.
pub(super) fn free_block(content: &Content, giver: Giver<'_>, piece: u32) -> Option<BlockKey> {
    let Giver { peer, slot, .. } = giver;
    let active = content.pieces.active(piece).filter(|active| active.free > 0)?;
    let whole = peer.has_piece(piece);
    if !active.admits(slot, whole) {
        return None;
    }
    let part = if whole { None } else { Some(peer.blocks.get(piece)?) };
    (0u32..)
        .zip(&active.blocks)
        .filter(|(_, block)| block.state == BlockState::Free)
        .filter(|(index, _)| part.is_none_or(|bits| bits.get(*index)))
        .map(|(index, _)| BlockKey::new(piece, index))
        .find(|key| giver.admits(content, *key))
}

/// A block of a begun piece whose owner satisfies `joins`. Looks at all begun pieces: a bounded number, and only when the
/// peer's own piece is used up.
fn resume_piece(
    content: &Content,
    giver: Giver<'_>,
    joins: impl Fn(u16) -> bool,
) -> Option<BlockKey> {
    content
        .pieces
        .actives()
        .filter(|active| content.pieces.is_wanted(active.piece.get()))
        .filter(|active| active.free > 0 && (active.owner == giver.slot || joins(active.owner)))
        .find_map(|active| free_block(content, giver, active.piece.get()))
}

/// First block of a missing piece that the peer has, by the configured order.
fn begin_piece(
    content: &Content,
    giver: Giver<'_>,
    config: &SwarmConfig,
    random: u32,
    begun_max: usize,
) -> Option<BlockKey> {
    if content.pieces.begun() >= begun_max {
        return None;
    }
    let count = content.pieces.info.layout.piece_count();
    let peer = giver.peer;
    let takes = |piece: u32| {
        content.pieces.may_begin(piece)
            && peer.has_piece(piece)
            && giver.admits_piece(content, piece)
    };
    let whole = match config.order {
        _ if !has_missing(content, peer) => None,
        Order::Rarest => rarest_preferred(content, random, takes)
            .or_else(|| content.availability.rarest(random, RAREST_SCAN_MAX, takes))
            .or_else(|| sparse(peer, random, takes)),
        Order::InOrder => (0..count).find(|&piece| takes(piece)),
        Order::Random => {
            let start = random % count.max(1);
            (start..count)
                .chain(0..start)
                .take(RAREST_SCAN_MAX as usize)
                .find(|&piece| takes(piece))
                .or_else(|| sparse(peer, random, takes))
        }
        Order::Zipf => order::by_distance(random, playhead(content), count, takes),
        // The two draws must not depend on each other.
        Order::Portion if random % 100 < config.portion_percent => {
            order::from(playhead(content), count).find(|&piece| takes(piece))
        }
        Order::Portion => content
            .availability
            .rarest(random / 100, RAREST_SCAN_MAX, takes)
            .or_else(|| sparse(peer, random / 100, takes)),
    };
    whole.map(|piece| BlockKey::new(piece, 0)).or_else(|| {
        peer.blocks
            .iter()
            .filter(|(piece, _)| content.pieces.may_begin(*piece))
            .take(RAREST_SCAN_MAX as usize)
            .find_map(|(piece, bits)| bits.next(0).map(|block| BlockKey::new(piece, block)))
    })
}

/// Of the file that is fetched before others the rarest of some pieces that lie behind each other.
fn rarest_preferred(content: &Content, random: u32, takes: impl Fn(u32) -> bool) -> Option<u32> {
    let pieces = content.preferred()?;
    let start = pieces.start + random % (pieces.end - pieces.start).max(1);
    let held = content.pieces.held();
    let from = |from: u32, to: u32| {
        let lacking = move |at: u32| held.next(at, false).filter(|piece| *piece < to);
        core::iter::successors(lacking(from), move |&piece| lacking(piece + 1))
    };
    from(start, pieces.end)
        .chain(from(pieces.start, start))
        .take(RAREST_SCAN_MAX as usize)
        .filter(|piece| takes(*piece))
        .min_by_key(|piece| content.availability.count(*piece))
}

/// The piece in which what is needed next begins; the first one where nobody needs anything by a time.
fn playhead(content: &Content) -> u32 {
    let layout = &content.pieces.info.layout;
    let start = content.plan.windows().first().map(|window| window.start);
    start.and_then(|start| layout.piece_at(start)).map_or(0, |piece| piece.get())
}

/// Whether a peer has a whole piece that was not begun: one pass over the bits of all pieces, eight at a time.
fn has_missing(content: &Content, peer: &Peer) -> bool {
    let bits = match &peer.have {
        Have::All => return true,
        Have::Bits(bits) => bits,
        Have::Raw(_) => return false,
    };
    let held = content.pieces.held().as_bytes();
    (0u32..).step_by(8).zip(bits.as_bytes().iter().zip(held)).any(|(first, (theirs, ours))| {
        let more = theirs & !ours;
        more != 0
            && (0..8).any(|bit| more & (0x80 >> bit) != 0 && content.pieces.may_begin(first + bit))
    })
}

/// Where a peer has few pieces, walking its own is shorter than walking all of ours.
fn sparse(peer: &Peer, random: u32, takes: impl Fn(u32) -> bool) -> Option<u32> {
    let Have::Bits(bits) = &peer.have else { return None };
    let start = random % bits.len().max(1);
    let from = |from: u32| {
        core::iter::successors(bits.next(from, true), |&piece| bits.next(piece + 1, true))
    };
    from(start).chain(from(0)).take(SPARSE_SCAN_MAX).find(|&piece| takes(piece))
}
