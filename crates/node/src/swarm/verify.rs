//! From a block's arrival to the disk: proof, storing, announcing, and who is to blame when it is wrong.
//!
//! v2 and hybrid titles prove each block by its leaf hash; a wrong one names its sender. Without leaves a piece is proven
//! when whole, by its subtree (v2) or its SHA-1 (v1); then blame needs the *smart ban*: the wrong bytes are kept, the piece
//! is fetched again, and whoever sent bytes that differ from the right ones lied.

use alloc::vec::Vec;
use bytes::Bytes;

use shoal_wire::metainfo::PieceIndex;
use shoal_wire::peer::{BLOCK_LEN, BlockSpan, Extended, Message, ShoalMessage};

use super::Hub;
use super::peer::{Asked, Have, Peer};
use super::pieces::{BlockKey, BlockState, Pieces};
use super::title::{ByPiece, Swarm, Task, is_full};
use crate::config::limits::{
    ANNOUNCEMENT_COST, ANNOUNCEMENT_PART, ENOUGH_PIECES, SUSPECT_BYTES_MAX, SUSPECTS_MAX,
    VIEWER_KEPT,
};
use crate::io::{CloseReason, Event, Failure, FailureKind, Job, Outcome};
use crate::link::LinkId;
use crate::time::{Instant, time_of};
use crate::turn::{Note, Owner, Turn};

/// Wrong pieces: what each contributor sent.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    pieces: ByPiece<Vec<(u32, LinkId, Bytes)>>,
}

impl Suspects {
    fn keep(&mut self, piece: u32, sent: Vec<(u32, LinkId, Bytes)>) {
        self.pieces.insert(piece, sent);
        while self.pieces.len() > 1
            && (self.pieces.len() > SUSPECTS_MAX || self.bytes() > SUSPECT_BYTES_MAX)
        {
            let Some(oldest) = self.pieces.keys().copied().find(|&other| other != piece) else {
                return;
            };
            self.pieces.remove(&oldest);
        }
    }
    /// Nothing of a piece is kept any more.
    pub(super) fn forget(&mut self, piece: u32) {
        self.pieces.remove(&piece);
    }
    fn bytes(&self) -> usize {
        self.pieces.values().flatten().map(|(_, _, data)| data.len()).sum()
    }
}

impl Swarm {
    /// A block came.
    pub(super) fn on_piece(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        piece: u32,
        offset: u32,
        data: Bytes,
    ) {
        let now = turn.now;
        let length = data.len() as u32;
        turn.counters(self.title).received += u64::from(length);
        self.down.add(now, u64::from(length));
        let Some((peer, content)) = self.both(slot) else {
            turn.counters(self.title).wasted += u64::from(length);
            let rule = "it sent a block before anybody could ask for it";
            return self.disconnect(turn, hub, slot, CloseReason::Protocol(rule));
        };
        peer.down.add(now, u64::from(length));
        let request = shoal_wire::peer::BlockRequest { piece, offset, length };
        let Some((index, block)) = content.pieces.info.layout.block_of(&request) else {
            turn.counters(self.title).wasted += u64::from(length);
            self.disconnect(
                turn,
                hub,
                slot,
                CloseReason::Protocol("it sent a block that nobody could ask for"),
            );
            return;
        };
        let key = BlockKey::new(index.get(), block);
        let answered = peer.unask(key);
        let withdrawn = if answered.is_none() { peer.settle(key) } else { None };
        let owed = answered.or(withdrawn);
        let late = owed.is_none() && peer.was_cancelled(key);
        if let Some(asked) = answered {
            if asked.alone {
                peer.service.on_round_trip(now.since(asked.sent));
            }
            peer.service.on_block(now, length, asked.expected, peer.asked_bytes);
            peer.make_room();
            peer.record.refusals = 0;
            if !peer.service.is_measured() {
                peer.earned = (peer.earned + 1).min(64);
            }
        } else if !late && owed.is_none() {
            peer.record.unsolicited += 1;
            turn.counters(self.title).wasted += u64::from(length);
            self.judge(turn, hub, slot);
            return;
        }
        // What was taken back shows as well that it sends.
        peer.last_block = Some(now);
        peer.record.broken = peer.record.broken.saturating_sub(1);
        peer.snubbed = false;
        let second = owed.is_some_and(|asked| self.count_off(&asked));
        self.take_in(turn, slot, key, data, second || late);
        self.fill(turn, slot);
    }
    /// Keeps a block that was waited for, unless it is here already. `elsewhere` when others may owe it, too.
    fn take_in(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        key: BlockKey,
        data: Bytes,
        elsewhere: bool,
    ) {
        let length = data.len() as u64;
        let Some((peer, content)) = self.both(slot) else { return };
        let (link, from_source) = (peer.link, peer.is_source());
        let admits = |active: &super::pieces::Active| active.admits(slot, false);
        if !content.pieces.active(key.piece()).is_none_or(admits) {
            // A late answer must not mix with what one peer brings alone.
            turn.counters(self.title).wasted += length;
        } else if content.pieces.arrive(key, link, from_source, data) {
            content.plan.on_arrive(key);
            let index = content.pieces.info.layout.piece(key.piece());
            if elsewhere {
                self.cancel_elsewhere(turn, slot, key);
            }
            if let Some(index) = index {
                self.prove(turn, index, key.block());
            }
        } else {
            turn.counters(self.title).duplicate += length;
        }
    }
    /// An answer came: one holder less. True when another peer still owes the block.
    fn count_off(&mut self, asked: &Asked) -> bool {
        let key = asked.key;
        self.ahead.remove(asked.zone, asked.length);
        let active = self.content_mut().and_then(|content| content.pieces.active_mut(key.piece()));
        let Some(block) = active.and_then(|active| active.blocks.get_mut(key.block() as usize))
        else {
            return false;
        };
        block.holders = block.holders.saturating_sub(1);
        block.holders > 0
    }
    fn cancel_elsewhere(&mut self, turn: &mut Turn<'_>, but: u16, key: BlockKey) {
        for slot in 0..self.peers.len() as u16 {
            if slot != but && self.peer(slot).is_some_and(|peer| peer.owes(key)) {
                self.cancel(turn, slot, key);
            }
        }
    }
    /// Proves what can be proven now that a block of `piece` arrived.
    fn prove(&mut self, turn: &mut Turn<'_>, piece: PieceIndex, block: u32) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        match content.hashes.leaf(piece.get(), block) {
            Some(expect) => {
                let key = BlockKey::new(piece.get(), block);
                // A hash job for the whole piece comes to its end first: no block is judged twice.
                let Some(active) =
                    content.pieces.active_mut(piece.get()).filter(|active| !active.checking)
                else {
                    return;
                };
                let data = active.data.get(block).cloned().unwrap_or_default();
                let Some(block) =
                    active.blocks.get_mut(block as usize).filter(|block| !block.checking)
                else {
                    return;
                };
                content.checks = content.checks.wrapping_add(1).max(1);
                let check = content.checks;
                (block.checking, block.check) = (true, check);
                let job = Job::CheckBlock { data, expect };
                turn.submit(Owner::Swarm(title, Task::CheckBlock { key, check }), job);
            }
            None => self.prove_piece(turn, piece),
        }
    }
    /// Proves a piece as a whole when all of it is here and no leaves are known. Blocks that were proven and stored before
    /// are read back first.
    pub(super) fn prove_piece(&mut self, turn: &mut Turn<'_>, piece: PieceIndex) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        let Some(active) = content.pieces.active(piece.get()).filter(|active| !active.checking)
        else {
            return;
        };
        let missing = |state: BlockState| matches!(state, BlockState::Free | BlockState::Asked);
        if active.blocks.iter().any(|block| missing(block.state) || block.checking)
            || active.blocks.iter().all(|block| block.state != BlockState::Arrived)
        {
            return;
        }
        let Some(parts) = active.data.whole(active.blocks.len()) else {
            return self.read_back(turn, piece);
        };
        let info = &content.pieces.info;
        let job = if let Some((expect, leaves)) = content.hashes.piece_root(piece.get()) {
            Job::CheckTree { parts, leaves, expect }
        } else if let Some(expect) = info.piece_hash(piece) {
            let padding = info.layout.nominal_len(piece) - info.layout.data_len(piece);
            Job::CheckPiece { parts, padding, expect }
        } else {
            // A v2 title whose hashes are not known yet: the sweep asks again.
            return;
        };
        content.checks = content.checks.wrapping_add(1).max(1);
        let check = content.checks;
        if let Some(active) = content.pieces.active_mut(piece.get()) {
            (active.checking, active.check) = (true, check);
            active.blocks.iter_mut().for_each(|block| block.check = check);
        }
        turn.submit(Owner::Swarm(title, Task::CheckPiece { piece: piece.get(), check }), job);
    }
    /// Reads what is stored of a piece that is waiting for the hash of all of it.
    fn read_back(&mut self, turn: &mut Turn<'_>, piece: PieceIndex) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        let layout = &content.pieces.info.layout;
        let Some(active) = content.pieces.active(piece.get()) else { return };
        let blocks = 0..active.blocks.len() as u32;
        let gone: Vec<u32> = blocks.filter(|&block| active.data.get(block).is_none()).collect();
        let runs: Vec<(u32, u64, u32)> = gone
            .chunk_by(|a, b| a + 1 == *b)
            .filter_map(|run| {
                let first = *run.first()?;
                let length = run.iter().map(|&block| layout.block_len(piece, block)).sum();
                let offset = layout.start(piece) + u64::from(first) * u64::from(BLOCK_LEN);
                Some((first, offset, length))
            })
            .collect();
        if let Some(active) = content.pieces.active_mut(piece.get()) {
            active.checking = true;
            active.reading = runs.len() as u32;
        }
        for (first, offset, length) in runs {
            let task = Task::ReadBack { piece: piece.get(), first, length };
            turn.submit(Owner::Swarm(title, task), Job::Read { title, offset, length });
        }
    }
    /// Stored blocks of a piece were read for its hash.
    pub(super) fn on_read_back(
        &mut self,
        turn: &mut Turn<'_>,
        piece: u32,
        first: u32,
        length: u32,
        outcome: Outcome,
    ) {
        let Some(content) = self.content_mut() else { return };
        let Some(active) = content.pieces.active_mut(piece) else { return };
        active.reading = active.reading.saturating_sub(1);
        let done = active.reading == 0;
        active.checking &= !done;
        match outcome {
            Outcome::Data(data) if data.len() == length as usize => {
                content.pieces.put_back(piece, first, &data);
            }
            outcome => self.on_read_failed(turn, piece, &failure_of(outcome)),
        }
        let index = self.content().and_then(|content| content.pieces.info.layout.piece(piece));
        if let Some(index) = index.filter(|_| done) {
            self.prove_waiting(turn, index);
        }
    }
    /// The leaves of a piece became known: prove what is waiting.
    pub(super) fn prove_waiting(&mut self, turn: &mut Turn<'_>, piece: PieceIndex) {
        let count =
            self.content().map_or(0, |content| content.pieces.info.layout.block_count(piece));
        for block in 0..count {
            let key = BlockKey::new(piece.get(), block);
            if self
                .content()
                .is_some_and(|content| content.pieces.block_state(key) == BlockState::Arrived)
            {
                self.prove(turn, piece, block);
            }
        }
    }
    pub(super) fn on_block_checked(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        (key, check): (BlockKey, u32),
        good: bool,
    ) {
        if !self.is_of(key, check) {
            return;
        }
        if good {
            self.accept(turn, key);
            self.write_if_whole(turn, key.piece());
        } else {
            let author = self.refuse(turn, key);
            turn.counters(self.title).hash_failures += 1;
            if let Some((link, _)) = author {
                self.ban(turn, hub, link, CloseReason::Corrupt);
            }
            self.fill_all(turn);
        }
    }
    /// Whether a hash job was given the bytes that are here now: others may have come since.
    fn is_of(&self, key: BlockKey, check: u32) -> bool {
        let active = self.content().and_then(|content| content.pieces.active(key.piece()));
        let block = active.and_then(|active| active.blocks.get(key.block() as usize));
        block.is_some_and(|block| block.check == check)
    }
    pub(super) fn on_check_lost(&mut self, key: BlockKey, check: u32) {
        if !self.is_of(key, check) {
            return;
        }
        let active = self.content_mut().and_then(|content| content.pieces.active_mut(key.piece()));
        if let Some(block) = active.and_then(|active| active.blocks.get_mut(key.block() as usize)) {
            block.checking = false;
        }
    }
    pub(super) fn on_piece_check_lost(&mut self, piece: u32, check: u32) {
        if let Some(active) =
            self.content_mut().and_then(|content| content.pieces.active_mut(piece))
            && active.check == check
        {
            active.checking = false;
        }
    }
    /// A block is right: it may be played and passed on.
    fn accept(&mut self, turn: &mut Turn<'_>, key: BlockKey) {
        let Some(content) = self.content_mut() else { return };
        if !content.pieces.verified(key) {
            return;
        }
        content.plan.on_proven(key);
        let layout = &content.pieces.info.layout;
        let length = layout
            .piece(key.piece())
            .map_or(0, |piece| u64::from(layout.block_len(piece, key.block())));
        let block = content
            .pieces
            .active(key.piece())
            .and_then(|active| active.blocks.get(key.block() as usize));
        let from_source = block.is_some_and(|block| block.from_source);
        if turn.config.swarm.block_sharing && content.hashes.has_leaves() {
            content.fresh.push(key);
            self.plan_announcement(turn);
        }
        let counters = turn.counters(self.title);
        counters.useful += length;
        if from_source {
            counters.from_server += length;
        } else {
            counters.from_peers += length;
        }
        self.advance_watches(turn, key);
    }
    /// A block is wrong. Returns who sent it and what.
    fn refuse(&mut self, turn: &mut Turn<'_>, key: BlockKey) -> Option<(LinkId, Bytes)> {
        let content = self.content_mut()?;
        let (by, data) = content.pieces.refuse(key)?;
        if content.pieces.block_state(key) == BlockState::Free {
            content.plan.on_free(key);
        }
        turn.counters(self.title).wasted += data.len() as u64;
        Some((by, data))
    }
    pub(super) fn on_piece_checked(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        (piece, check): (u32, u32),
        good: bool,
    ) {
        let Some(content) = self.content_mut() else { return };
        let active = content.pieces.active_mut(piece).filter(|active| active.check == check);
        let Some(active) = active else { return };
        active.checking = false;
        let count = active.blocks.len() as u32;
        let liars = if good { self.unmask(piece) } else { Vec::new() };
        let Some(content) = self.content_mut() else { return };
        content.pieces.drop_read(piece);
        if good {
            for key in (0..count).map(|block| BlockKey::new(piece, block)) {
                if self.is_of(key, check) {
                    self.accept(turn, key);
                }
            }
            self.write_if_whole(turn, piece);
            for link in liars {
                self.ban(turn, hub, link, CloseReason::Corrupt);
            }
            return;
        }
        // Leaves that came meanwhile tell which blocks are wrong.
        if content.hashes.leaf(piece, 0).is_some() {
            if let Some(index) = content.pieces.info.layout.piece(piece) {
                self.prove_waiting(turn, index);
            }
            return;
        }
        turn.counters(self.title).hash_failures += 1;
        let mut sent: Vec<(u32, LinkId, Bytes)> = Vec::new();
        for key in (0..count).map(|block| BlockKey::new(piece, block)) {
            if self.is_of(key, check)
                && let Some((by, data)) = self.refuse(turn, key)
            {
                sent.push((key.block(), by, data));
            }
        }
        let mut authors: Vec<LinkId> = sent.iter().map(|entry| entry.1).collect();
        authors.sort_unstable();
        authors.dedup();
        if let [only] = authors[..] {
            self.ban(turn, hub, only, CloseReason::Corrupt);
        } else if let Some(content) = self.content_mut() {
            content.suspects.keep(piece, sent);
            if let Some(active) = content.pieces.active_mut(piece) {
                active.alone = true;
                active.owner = u16::MAX;
            }
        }
        self.fill_all(turn);
    }
    /// The peer in `slot` will not finish what it brings alone, all of it or `only` one piece: the next one begins anew, so that
    /// nobody shares its blame. Whether there was any.
    pub(super) fn leave_alone(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        only: Option<u32>,
    ) -> bool {
        let Some(content) = self.content_mut() else { return false };
        let begun: Vec<(u32, u32)> = content
            .pieces
            .actives()
            .filter(|active| active.alone && active.owner == slot && !active.checking)
            .map(|active| (active.piece.get(), active.blocks.len() as u32))
            .filter(|(piece, _)| only.is_none_or(|only| only == *piece))
            .collect();
        for &(piece, count) in &begun {
            let asked = self.peer(slot).map_or_else(Vec::new, |peer| {
                let keys = peer.asked.iter().map(|asked| asked.key);
                keys.filter(|key| key.piece() == piece).collect()
            });
            for key in asked {
                self.cancel(turn, slot, key);
            }
            if let Some(active) =
                self.content_mut().and_then(|content| content.pieces.active_mut(piece))
            {
                active.owner = u16::MAX;
            }
            (0..count).for_each(|block| {
                self.refuse(turn, BlockKey::new(piece, block));
            });
        }
        !begun.is_empty()
    }
    /// A piece that failed before is right now: those whose bytes differ lied.
    fn unmask(&mut self, piece: u32) -> Vec<LinkId> {
        let Some(content) = self.content_mut() else { return Vec::new() };
        let Some(wrong) = content.suspects.pieces.remove(&piece) else { return Vec::new() };
        let Some(active) = content.pieces.active(piece) else { return Vec::new() };
        let mut liars: Vec<LinkId> = wrong
            .iter()
            .filter(|(block, _, data)| active.data.get(*block).is_some_and(|right| right != data))
            .map(|entry| entry.1)
            .collect();
        liars.sort_unstable();
        liars.dedup();
        liars
    }
    /// Stores a piece of which every block is proven.
    fn write_if_whole(&mut self, turn: &mut Turn<'_>, piece: u32) {
        let whole = |active: &super::pieces::Active| active.proven as usize == active.blocks.len();
        if self.content().and_then(|content| content.pieces.active(piece)).is_some_and(whole) {
            self.write(turn, piece);
        }
    }
    /// Stores what is proven of a begun piece, in as few runs as it lies in.
    pub(super) fn write(&mut self, turn: &mut Turn<'_>, piece: u32) {
        let title = self.title;
        let Some(content) = self.content_mut() else { return };
        let Some(index) = content.pieces.info.layout.piece(piece) else { return };
        let start = content.pieces.info.layout.start(index);
        let mut from = 0;
        while let Some((first, parts)) = content.pieces.take_run(piece, from) {
            let count = parts.len() as u32;
            from = first + count;
            let offset = start + u64::from(first) * u64::from(BLOCK_LEN);
            turn.submit(
                Owner::Swarm(title, Task::Write { piece, first, count }),
                Job::Write { title, offset, parts },
            );
        }
    }
    /// Stores everything that is proven and only in memory.
    pub(super) fn flush_all(&mut self, turn: &mut Turn<'_>) {
        let pending: Vec<u32> = self.content().map_or_else(Vec::new, |content| {
            content
                .pieces
                .actives()
                .filter(|active| active.unwritten > 0)
                .map(|active| active.piece.get())
                .collect()
        });
        for piece in pending {
            self.write(turn, piece);
        }
    }
    pub(super) fn on_stored(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        piece: u32,
        first: u32,
        count: u32,
    ) {
        let was_halted = self.halted.take().is_some();
        if was_halted && self.timers.free.is_some() {
            self.free_room(turn);
        }
        let Some(content) = self.content_mut() else { return };
        content.unsaved = true;
        let held = content.pieces.written(piece, first, count, true);
        let left = content.pieces.info.layout.data_total() - content.pieces.stored();
        turn.counters(self.title).left = left;
        self.timers.save.get_or_insert(turn.now + turn.config.swarm.save_interval);
        if held {
            self.on_held(turn, hub, piece);
        }
        if core::mem::take(&mut self.starved) || was_halted {
            self.fill_all(turn);
        }
    }
    fn on_held(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, piece: u32) {
        let Some(content) = self.content_mut() else { return };
        content.share.set_given_up(piece, false);
        content.share.note(turn.now, piece, 0);
        content.hashes.on_settled(piece);
        content.suspects.pieces.remove(&piece);
        let complete = content.pieces.is_complete();
        for slot in 0..self.peers.len() as u16 {
            if let Some((peer, content)) = self.both(slot) {
                if let Some(bits) = peer.blocks.remove(piece)
                    && !peer.is_source()
                {
                    content.copies.withdrawn(piece, bits.as_part());
                }
                if !peer.has_piece(piece) && peer.veil.is_none() {
                    self.send(turn, slot, Message::Have { piece });
                }
            }
        }
        if complete {
            self.on_complete(turn, hub);
        }
    }
    pub(super) fn on_complete(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let Some(content) = self.content_mut() else { return };
        if core::mem::replace(&mut content.finished, true) {
            return;
        }
        let full = content.pieces.is_full();
        let length = content.pieces.wanted_bytes().0;
        self.save(turn, false);
        // Trackers count those that have all of it.
        if full {
            turn.note(Note::Finished { title: self.title, fetched: true });
        }
        turn.tell(Event::Complete { title: self.title, length });
        if !self.is_done() {
            // A reader needs more than what is wanted otherwise, or may.
            return;
        }
        for slot in self.slots() {
            let tells = |peer: &Peer| peer.ids.upload_only != 0 && peer.veil.is_none();
            if self.peer(slot).is_some_and(tells) {
                self.send(turn, slot, Message::Extended(Extended::UploadOnly(true).into()));
            }
            if let Some(peer) = self.peer_mut(slot)
                && core::mem::replace(&mut peer.interested, false)
            {
                self.send(turn, slot, Message::NotInterested);
            }
            self.drop_if_useless(turn, hub, slot);
        }
    }
    pub(super) fn on_write_failed(
        &mut self,
        turn: &mut Turn<'_>,
        piece: u32,
        first: u32,
        count: u32,
        failure: &Failure,
    ) {
        let Some(content) = self.content_mut() else { return };
        content.pieces.written(piece, first, count, false);
        let was_halted = self.halted.replace(turn.now + turn.config.swarm.disk_retry).is_some();
        if !was_halted {
            let fatal = !is_full(failure);
            turn.tell(Event::Trouble {
                title: Some(self.title),
                message: failure.message.clone(),
                fatal,
            });
        }
    }
    /// Blocks are announced soon where somebody watches, here or at a peer, and later in bulk.
    fn plan_announcement(&mut self, turn: &Turn<'_>) {
        if self.timers.announce.is_some() {
            return;
        }
        let now = turn.now;
        let config = &turn.config.swarm;
        let rate = self.content().and_then(|content| content.plan.rate());
        let delay = match rate {
            Some(rate) => {
                let cost = self.peer_count() as u64 * ANNOUNCEMENT_COST * ANNOUNCEMENT_PART;
                time_of(cost, rate).min(config.announce_delay_max).max(config.announce_delay)
            }
            None if self.peers.iter().flatten().any(|peer| is_hurried(peer, now)) => {
                config.announce_delay
            }
            None => config.announce_delay_bulk,
        };
        self.timers.announce = Some(now + delay);
    }
    /// Tells Shoal peers which blocks of unfinished pieces can be had here. In bulk only those to whom little else can be
    /// given: an announcement of each block on each link would cost more than a tenth of an uplink.
    pub(super) fn announce_blocks(&mut self, turn: &mut Turn<'_>) {
        self.timers.announce = None;
        let Some(content) = self.content_mut() else { return };
        let mut fresh = core::mem::take(&mut content.fresh);
        fresh.retain(|key| !content.pieces.is_held(key.piece()));
        fresh.sort_unstable();
        let spans = spans_of(&fresh);
        let live = content.plan.is_live();
        let mut untold = false;
        for slot in 0..self.peers.len() as u16 {
            let Some((peer, content)) = self.both(slot) else { continue };
            if !live && !is_hurried(peer, turn.now) && lacks_enough(peer, &content.pieces) {
                peer.untold = true;
                untold = true;
            } else if core::mem::take(&mut peer.untold) {
                self.introduce_blocks(turn, slot);
            } else {
                self.send_spans(turn, slot, &spans);
            }
        }
        // Who has enough now may soon have no more, while nothing new comes here.
        if untold && !self.is_complete() {
            self.plan_announcement(turn);
        }
    }
    /// Tells a Shoal peer that has just come which blocks of unfinished pieces can be had here.
    pub(super) fn introduce_blocks(&mut self, turn: &mut Turn<'_>, slot: u16) {
        self.introduce_blocks_of(turn, slot, |_| true);
    }
    /// Tells a Shoal peer that took back blocks of a piece which of it can be had here: while it had them it was not told.
    pub(super) fn introduce_piece(&mut self, turn: &mut Turn<'_>, slot: u16, piece: u32) {
        self.introduce_blocks_of(turn, slot, |other| other == piece);
    }
    fn introduce_blocks_of(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        is_meant: impl Fn(u32) -> bool,
    ) {
        let Some(content) = self.content().filter(|content| content.hashes.has_leaves()) else {
            return;
        };
        let mut keys: Vec<BlockKey> = Vec::new();
        let begun = content.pieces.actives().filter(|active| is_meant(active.piece.get()));
        for active in begun.filter(|active| active.proven > 0) {
            let piece = active.piece.get();
            let all = (0..active.blocks.len() as u32).map(|block| BlockKey::new(piece, block));
            keys.extend(all.filter(|key| content.pieces.is_proven(*key)));
        }
        keys.sort_unstable();
        let spans = spans_of(&keys);
        self.send_spans(turn, slot, &spans);
    }
    fn send_spans(&mut self, turn: &mut Turn<'_>, slot: u16, spans: &[BlockSpan]) {
        let Some(peer) = self.peer(slot).filter(|peer| peer.is_shoal() && peer.ids.shoal != 0)
        else {
            return;
        };
        // A source has everything; it hears what came of what it gave. Others have no use for who else has what they have.
        let knows = |span: &BlockSpan| peer.has_piece(span.piece) || peer.blocks.has_span(span);
        let wants = |span: &&BlockSpan| peer.is_source() || !knows(span);
        let news: Vec<BlockSpan> = spans.iter().filter(wants).copied().collect();
        if !news.is_empty() {
            let message = Extended::Shoal(ShoalMessage::HaveBlocks(news));
            self.send(turn, slot, Message::Extended(message.into()));
        }
    }
}

/// Whether a peer asked lately for something that it needs by a time.
fn is_hurried(peer: &Peer, now: Instant) -> bool {
    peer.hurried.is_some_and(|at| now.since(at) < VIEWER_KEPT)
}

/// Whether a peer lacks so many whole pieces that we hold that it needs no blocks of others. O(pieces / 8).
fn lacks_enough(peer: &Peer, pieces: &Pieces) -> bool {
    let Have::Bits(theirs) = &peer.have else { return false };
    let both = pieces.held().as_bytes().iter().zip(theirs.as_bytes());
    let lacking: u32 = both.map(|(ours, theirs)| (ours & !theirs).count_ones()).sum();
    lacking >= ENOUGH_PIECES
}

/// Runs of consecutive blocks, from sorted keys.
fn spans_of(keys: &[BlockKey]) -> Vec<BlockSpan> {
    let mut spans: Vec<BlockSpan> = Vec::new();
    for key in keys {
        match spans.last_mut() {
            Some(span)
                if span.piece == key.piece()
                    && u32::from(span.first) + u32::from(span.count) == key.block() =>
            {
                span.count += 1;
            }
            _ => spans.push(BlockSpan { piece: key.piece(), first: key.block() as u16, count: 1 }),
        }
    }
    spans
}

/// What is wrong with an outcome that should have been another.
pub(super) fn failure_of(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failed(failure) => failure,
        _ => Failure {
            kind: FailureKind::DiskLost,
            message: "The disk did not do what it was asked for; check it.".into(),
        },
    }
}
