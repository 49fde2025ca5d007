//! What we hold of a title: every piece in exactly one state, every block of a begun piece in exactly one state.
//!
//! ```text
//! piece:   missing --begin--> active --all blocks stored--> held --lose--> missing
//!            ^                  |___________give up___________|
//!            |_______freed____ leaving <___________|
//! block:   free --ask--> asked --arrive--> arrived --verified--> verified --write--> writing --stored--> stored
//!            ^______release_____|              |                     ^_____write failed____|
//!            ^_________________refuse__________|
//! ```
//! Several peers may be asked for one block (`holders`). A block's bytes are in memory from `arrived` to `stored`; memory is
//! counted here. Nothing below `verified` is ever given to anybody.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::{Info, PieceIndex};
use shoal_wire::peer::BLOCK_LEN;

use crate::link::LinkId;

/// A block of a title, by piece and place in it. Orders as the content does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct BlockKey(u64);

impl BlockKey {
    pub(crate) fn new(piece: u32, block: u32) -> Self {
        Self(u64::from(piece) << 32 | u64::from(block))
    }
    pub(crate) fn piece(self) -> u32 {
        (self.0 >> 32) as u32
    }
    pub(crate) fn block(self) -> u32 {
        self.0 as u32
    }
}

/// Where a block of a begun piece is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum BlockState {
    /// Nobody was asked.
    Free,
    /// On its way from `holders` peers.
    Asked,
    /// Here, not proven.
    Arrived,
    /// Proven, only in memory.
    Verified,
    /// Proven, on its way to the disk, still in memory.
    Writing,
    /// Proven and on disk.
    Stored,
}

/// A block of a begun piece.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) state: BlockState,
    /// Peers that were asked and have not answered.
    pub(crate) holders: u8,
    /// A hash job for it is under way.
    pub(crate) checking: bool,
    /// Number of the hash job that was given its present bytes; 0 for none. A verdict of another job is about other bytes.
    pub(crate) check: u32,
    /// Who delivered it; meaningful from `Arrived` on.
    pub(crate) by: LinkId,
    /// That peer is a publisher or an edge.
    pub(crate) from_source: bool,
}

/// Bytes of the blocks of a begun piece that are in memory, ascending: few, since what is proven is soon on the disk.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Vec<(u32, Bytes)>);

impl Buffers {
    fn find(&self, block: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&block, |entry| entry.0)
    }
    /// The bytes of a block, if they are here. O(log blocks here).
    pub(crate) fn get(&self, block: u32) -> Option<&Bytes> {
        self.0.get(self.find(block).ok()?).map(|entry| &entry.1)
    }
    fn put(&mut self, block: u32, data: Bytes) {
        match self.find(block) {
            Ok(index) => self.0[index].1 = data,
            Err(index) => self.0.insert(index, (block, data)),
        }
    }
    fn take(&mut self, block: u32) -> Option<Bytes> {
        let index = self.find(block).ok()?;
        let data = self.0.remove(index).1;
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        Some(data)
    }
    /// Drops the bytes of the blocks for which `goes` holds; how many those were.
    fn drop_where(&mut self, mut goes: impl FnMut(u32) -> bool) -> usize {
        let before = self.bytes();
        self.0.retain(|entry| !goes(entry.0));
        before - self.bytes()
    }
    /// All bytes here.
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(|entry| entry.1.len()).sum()
    }
    /// The bytes of all blocks in order, if all `count` are here.
    pub(crate) fn whole(&self, count: usize) -> Option<Vec<Bytes>> {
        (self.0.len() == count).then(|| self.0.iter().map(|entry| entry.1.clone()).collect())
    }
}

/// A begun piece.
#[derive(Debug)]
pub(crate) struct Active {
    pub(crate) piece: PieceIndex,
    pub(crate) blocks: Vec<Block>,
    /// Bytes of the blocks that are in memory.
    pub(crate) data: Buffers,
    /// Blocks in state `Free`.
    pub(crate) free: u32,
    /// Blocks in state `Stored`.
    pub(crate) stored: u32,
    /// Blocks in state `Verified`, `Writing` or `Stored`.
    pub(crate) proven: u32,
    /// Blocks in state `Verified`.
    pub(crate) unwritten: u32,
    /// The peer that began it: in bulk it goes on with its own piece, so that blame stays simple and disk writes long.
    pub(crate) owner: u16,
    /// A whole-piece hash job is under way, or the reads for it.
    pub(crate) checking: bool,
    /// Number of its last whole-piece job.
    pub(crate) check: u32,
    /// Reads under way of stored blocks that the hash of the whole piece needs.
    pub(crate) reading: u32,
    /// It was wrong and had several authors: now one peer brings all of it, so that blame is certain.
    pub(crate) alone: bool,
}

impl Active {
    /// Whether the peer in `slot` may be asked for a block of it. `whole`: it has the whole piece.
    pub(crate) fn admits(&self, slot: u16, whole: bool) -> bool {
        !self.alone || self.owner == slot || (self.owner == u16::MAX && whole)
    }
}

/// All pieces of a title.
#[derive(Debug)]
pub(crate) struct Pieces {
    pub(crate) info: Arc<Info>,
    /// 0 missing, `HELD` held, `LEAVING` given up and not freed, else index into `active` plus one.
    state: Vec<u16>,
    held: Bitfield,
    active: Vec<Option<Active>>,
    vacant: Vec<u16>,
    begun: usize,
    /// Film bytes in memory.
    memory: usize,
    /// Film bytes on disk and proven.
    stored: u64,
    /// Bytes of the pieces that are held or begun: what they take once they are whole.
    taken: u64,
    /// Bytes of the pieces that are given up and not freed.
    leaving: u64,
    /// Pieces that are wanted; `None` for all.
    wanted: Option<Bitfield>,
    /// Of them, those that are not held.
    lacking: u32,
}

const HELD: u16 = u16::MAX;
const LEAVING: u16 = HELD - 1;
/// Who delivered a block that the last run left on the disk.
const NOBODY: LinkId = LinkId(u32::MAX);

impl Pieces {
    /// Holds what `have` says. Pieces without data (all padding) are held from the start.
    pub(crate) fn new(info: Arc<Info>, have: Option<&Bitfield>) -> Self {
        let count = info.layout.piece_count();
        let mut pieces = Self {
            state: vec![0; count as usize],
            held: Bitfield::new(count),
            active: Vec::new(),
            vacant: Vec::new(),
            begun: 0,
            memory: 0,
            stored: 0,
            taken: 0,
            leaving: 0,
            wanted: None,
            lacking: 0,
            info,
        };
        for piece in pieces.info.clone().layout.pieces() {
            let length = pieces.info.layout.data_len(piece);
            if length == 0 || have.is_some_and(|have| have.get(piece.get())) {
                pieces.state[piece.get() as usize] = HELD;
                pieces.held.set(piece.get());
                pieces.stored += u64::from(length);
                pieces.taken += u64::from(length);
            }
        }
        pieces.lacking = count - pieces.held.ones();
        pieces
    }
    /// From now on only `wanted` pieces are, or all. O(pieces).
    pub(crate) fn select(&mut self, wanted: Option<Bitfield>) {
        self.wanted = wanted;
        let lacks = |&piece: &u32| self.is_wanted(piece) && !self.is_held(piece);
        self.lacking = (0..self.held.len()).filter(lacks).count() as u32;
    }
    /// Whether a piece is fetched without a reader that needs it.
    pub(crate) fn is_wanted(&self, piece: u32) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.get(piece))
    }
    /// Whether a piece is wanted and was not begun.
    pub(crate) fn may_begin(&self, piece: u32) -> bool {
        self.is_missing(piece) && self.is_wanted(piece)
    }
    /// Film bytes of the pieces that are wanted, and of those among them that are held. O(pieces).
    pub(crate) fn wanted_bytes(&self) -> (u64, u64) {
        let layout = &self.info.layout;
        if self.wanted.is_none() {
            return (layout.data_total(), self.stored);
        }
        let wanted = layout.pieces().filter(|piece| self.is_wanted(piece.get()));
        wanted.fold((0, 0), |(all, held), piece| {
            let length = u64::from(layout.data_len(piece));
            (all + length, held + if self.is_held(piece.get()) { length } else { 0 })
        })
    }
    /// Pieces held.
    pub(crate) fn held(&self) -> &Bitfield {
        &self.held
    }
    pub(crate) fn is_held(&self, piece: u32) -> bool {
        self.held.get(piece)
    }
    /// Whether all that is wanted is held.
    pub(crate) fn is_complete(&self) -> bool {
        self.lacking == 0
    }
    /// Whether all there is is held.
    pub(crate) fn is_full(&self) -> bool {
        self.held.is_full()
    }
    pub(crate) fn is_missing(&self, piece: u32) -> bool {
        self.state.get(piece as usize) == Some(&0)
    }
    /// Number of begun pieces.
    pub(crate) fn begun(&self) -> usize {
        self.begun
    }
    /// Film bytes in memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }
    /// Film bytes on disk and proven.
    pub(crate) fn stored(&self) -> u64 {
        self.stored
    }
    fn index(&self, piece: u32) -> Option<usize> {
        match self.state.get(piece as usize) {
            None | Some(&0 | &HELD | &LEAVING) => None,
            Some(&slot) => Some(usize::from(slot) - 1),
        }
    }
    /// The begun piece `piece`.
    pub(crate) fn active(&self, piece: u32) -> Option<&Active> {
        self.active.get(self.index(piece)?)?.as_ref()
    }
    pub(crate) fn active_mut(&mut self, piece: u32) -> Option<&mut Active> {
        let index = self.index(piece)?;
        self.active.get_mut(index)?.as_mut()
    }
    /// The peer in `slot` is gone: its pieces belong to nobody. O(begun pieces).
    pub(crate) fn disown(&mut self, slot: u16) {
        for active in self.active.iter_mut().flatten().filter(|active| active.owner == slot) {
            active.owner = u16::MAX;
        }
    }
    /// All begun pieces: a bounded number.
    pub(crate) fn actives(&self) -> impl Iterator<Item = &Active> {
        self.active.iter().flatten()
    }
    /// State of a block whatever the state of its piece.
    pub(crate) fn block_state(&self, key: BlockKey) -> BlockState {
        if self.is_held(key.piece()) {
            return BlockState::Stored;
        }
        self.active(key.piece())
            .and_then(|active| active.blocks.get(key.block() as usize))
            .map_or(BlockState::Free, |block| block.state)
    }
    /// Whether a block is proven, in memory or on disk.
    pub(crate) fn is_proven(&self, key: BlockKey) -> bool {
        matches!(
            self.block_state(key),
            BlockState::Verified | BlockState::Writing | BlockState::Stored
        )
    }
    /// Begins a missing piece; false when there is no room for more begun pieces or it is not missing.
    pub(crate) fn begin(&mut self, piece: PieceIndex, owner: u16) -> bool {
        if !self.is_missing(piece.get()) {
            return false;
        }
        let count = self.info.layout.block_count(piece);
        let block = Block {
            state: BlockState::Free,
            holders: 0,
            checking: false,
            check: 0,
            by: NOBODY,
            from_source: false,
        };
        let active = Active {
            piece,
            blocks: vec![block; count as usize],
            data: Buffers::default(),
            free: count,
            stored: 0,
            proven: 0,
            unwritten: 0,
            owner,
            checking: false,
            check: 0,
            reading: 0,
            alone: false,
        };
        let slot = match self.vacant.pop() {
            Some(slot) => slot,
            None if self.active.len() < usize::from(LEAVING) - 1 => {
                self.active.push(None);
                (self.active.len() - 1) as u16
            }
            None => return false,
        };
        self.active[usize::from(slot)] = Some(active);
        self.state[piece.get() as usize] = slot + 1;
        self.begun += 1;
        self.taken += u64::from(self.info.layout.data_len(piece));
        true
    }
    /// Marks blocks of a begun piece as found on disk by the last run.
    pub(crate) fn restore(&mut self, piece: PieceIndex, blocks: &Bitfield) {
        if !self.begin(piece, u16::MAX) {
            return;
        }
        let info = Arc::clone(&self.info);
        let mut restored = 0u64;
        if let Some(active) = self.active_mut(piece.get()) {
            for index in blocks.iter() {
                if let Some(block) = active.blocks.get_mut(index as usize) {
                    block.state = BlockState::Stored;
                    active.free -= 1;
                    active.stored += 1;
                    active.proven += 1;
                    restored += u64::from(info.layout.block_len(piece, index));
                }
            }
        }
        self.stored += restored;
        self.finish_if_stored(piece.get());
    }
    /// One more peer is asked for a block: free -> asked, or one more holder.
    pub(crate) fn ask(&mut self, key: BlockKey) {
        let Some(active) = self.active_mut(key.piece()) else { return };
        let Some(block) = active.blocks.get_mut(key.block() as usize) else { return };
        if block.state == BlockState::Free {
            block.state = BlockState::Asked;
            active.free -= 1;
        }
        block.holders = block.holders.saturating_add(1);
    }
    /// A peer that was asked will not deliver. True when the block is free again.
    pub(crate) fn release(&mut self, key: BlockKey) -> bool {
        let Some(active) = self.active_mut(key.piece()) else { return false };
        let Some(block) = active.blocks.get_mut(key.block() as usize) else { return false };
        block.holders = block.holders.saturating_sub(1);
        if block.state != BlockState::Asked || block.holders > 0 {
            return false;
        }
        block.state = BlockState::Free;
        active.free += 1;
        true
    }
    /// A block came from peer `by`. False when it is not wanted (here already, or its piece not begun).
    pub(crate) fn arrive(
        &mut self,
        key: BlockKey,
        by: LinkId,
        from_source: bool,
        data: Bytes,
    ) -> bool {
        let length = data.len();
        let Some(active) = self.active_mut(key.piece()) else { return false };
        let Some(block) = active.blocks.get_mut(key.block() as usize) else { return false };
        match block.state {
            BlockState::Free => active.free -= 1,
            BlockState::Asked => {}
            _ => return false,
        }
        block.state = BlockState::Arrived;
        block.check = 0;
        block.by = by;
        block.from_source = from_source;
        active.data.put(key.block(), data);
        self.memory += length;
        true
    }
    /// An arrived block is proven. False when it was not waiting for that.
    pub(crate) fn verified(&mut self, key: BlockKey) -> bool {
        let Some(active) = self.active_mut(key.piece()) else { return false };
        let Some(block) = active.blocks.get_mut(key.block() as usize) else { return false };
        if block.state != BlockState::Arrived {
            return false;
        }
        block.state = BlockState::Verified;
        block.checking = false;
        active.proven += 1;
        active.unwritten += 1;
        true
    }
    /// An arrived block is wrong: its bytes are dropped and it is free again. Returns who sent it, and its bytes.
    pub(crate) fn refuse(&mut self, key: BlockKey) -> Option<(LinkId, Bytes)> {
        let active = self.active_mut(key.piece())?;
        let block = active.blocks.get_mut(key.block() as usize)?;
        if block.state != BlockState::Arrived {
            return None;
        }
        block.state = if block.holders > 0 { BlockState::Asked } else { BlockState::Free };
        block.checking = false;
        if block.state == BlockState::Free {
            active.free += 1;
        }
        let by = block.by;
        let data = active.data.take(key.block()).unwrap_or_default();
        self.memory -= data.len();
        Some((by, data))
    }
    /// Longest run of verified blocks of a begun piece, at or after `from`, that go to disk together: first block and bytes.
    pub(crate) fn take_run(&mut self, piece: u32, from: u32) -> Option<(u32, Vec<Bytes>)> {
        let active = self.active_mut(piece)?;
        let unwritten = |block: &Block| block.state == BlockState::Verified;
        let first = active.blocks.iter().skip(from as usize).position(unwritten)? + from as usize;
        let mut parts = Vec::new();
        for (index, block) in (0u32..).zip(&mut active.blocks).skip(first) {
            if block.state != BlockState::Verified {
                break;
            }
            block.state = BlockState::Writing;
            parts.push(active.data.get(index).cloned().unwrap_or_default());
        }
        active.unwritten -= parts.len() as u32;
        Some((first as u32, parts))
    }
    /// `count` blocks from `first` are on disk (`ok`), or still only in memory. True when the piece became held.
    pub(crate) fn written(&mut self, piece: u32, first: u32, count: u32, ok: bool) -> bool {
        let Some(active) = self.active_mut(piece) else { return false };
        let mut freed = 0;
        let written = (0u32..).zip(&mut active.blocks).skip(first as usize).take(count as usize);
        for (index, block) in written {
            if block.state != BlockState::Writing {
                continue;
            }
            if ok {
                block.state = BlockState::Stored;
                freed += active.data.take(index).map_or(0, |data| data.len());
                active.stored += 1;
            } else {
                block.state = BlockState::Verified;
                active.unwritten += 1;
            }
        }
        self.memory -= freed;
        self.stored += freed as u64;
        self.finish_if_stored(piece)
    }
    fn finish_if_stored(&mut self, piece: u32) -> bool {
        let Some(index) = self.index(piece) else { return false };
        let done = |active: &Active| active.stored as usize == active.blocks.len();
        if !self.active.get(index).and_then(Option::as_ref).is_some_and(done) {
            return false;
        }
        // What was read back for a hash.
        self.memory -= self.active[index].take().map_or(0, |active| active.data.bytes());
        self.vacant.push(index as u16);
        self.begun -= 1;
        self.state[piece as usize] = HELD;
        self.held.set(piece);
        self.lacking -= u32::from(self.is_wanted(piece));
        true
    }
    /// A begun piece of which nothing is asked, here or stored is missing again, unless it must be brought by one peer alone.
    /// True when it was given up.
    pub(crate) fn abandon_if_empty(&mut self, piece: u32) -> bool {
        let Some(index) = self.index(piece) else { return false };
        let empty = |active: &Active| active.free as usize == active.blocks.len() && !active.alone;
        if !self.active.get(index).and_then(Option::as_ref).is_some_and(empty) {
            return false;
        }
        self.taken -= self.length(piece);
        self.active[index] = None;
        self.vacant.push(index as u16);
        self.begun -= 1;
        self.state[piece as usize] = 0;
        true
    }
    fn length(&self, piece: u32) -> u64 {
        let layout = &self.info.layout;
        layout.piece(piece).map_or(0, |piece| u64::from(layout.data_len(piece)))
    }
    /// Bytes of the pieces that are held or begun: what they take on the disk once they are whole.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }
    /// Bytes of the pieces that are given up and still on the disk.
    pub(crate) fn leaving(&self) -> u64 {
        self.leaving
    }
    /// Whether a piece is given up and still on the disk: it can be begun again only when it is not.
    pub(crate) fn is_leaving(&self, piece: u32) -> bool {
        self.state.get(piece as usize) == Some(&LEAVING)
    }
    /// Whether a piece can be given up: it is held and has bytes, or of it some is here, and nothing is on its way or in use.
    pub(crate) fn can_give_up(&self, piece: u32) -> bool {
        if self.is_held(piece) {
            return self.length(piece) > 0;
        }
        let rests = |active: &Active, index: u32, block: &Block| match block.state {
            BlockState::Free => true,
            BlockState::Stored => active.data.get(index).is_none(),
            BlockState::Arrived => !block.checking && block.holders == 0,
            BlockState::Asked | BlockState::Verified | BlockState::Writing => false,
        };
        self.active(piece).is_some_and(|active| {
            (active.free as usize) < active.blocks.len()
                && !(active.alone || active.checking || active.reading > 0)
                && (0u32..).zip(&active.blocks).all(|(index, block)| rests(active, index, block))
        })
    }
    /// Gives a piece up: nothing of it is here any more, and it is wanted only by readers. Whether it was held; `None` when it
    /// cannot be given up.
    pub(crate) fn give_up(&mut self, piece: u32) -> Option<bool> {
        if !self.can_give_up(piece) {
            return None;
        }
        self.unwant(piece);
        let length = self.length(piece);
        let held = self.lose(piece);
        if !held {
            self.lose_blocks(piece);
            self.lose_arrived(piece);
            self.abandon_if_empty(piece);
        }
        self.state[piece as usize] = LEAVING;
        self.leaving += length;
        Some(held)
    }
    /// Blocks of a begun piece that are here and not proven are dropped.
    fn lose_arrived(&mut self, piece: u32) {
        let Some(active) = self.active_mut(piece) else { return };
        let mut freed = 0;
        for (index, block) in (0u32..).zip(&mut active.blocks) {
            if block.state == BlockState::Arrived {
                block.state = BlockState::Free;
                freed += active.data.take(index).map_or(0, |data| data.len());
                active.free += 1;
            }
        }
        self.memory -= freed;
    }
    /// What was given up is off the disk: missing.
    pub(crate) fn freed(&mut self, piece: u32) {
        if self.is_leaving(piece) {
            self.state[piece as usize] = 0;
            self.leaving -= self.length(piece);
        }
    }
    /// A piece is fetched only for readers from now on.
    pub(crate) fn unwant(&mut self, piece: u32) {
        let count = self.info.layout.piece_count();
        self.lacking -= u32::from(self.is_wanted(piece) && !self.is_held(piece));
        self.wanted.get_or_insert_with(|| Bitfield::full(count)).clear(piece);
    }
    /// Bytes of stored blocks from `first` on, read from the disk for the hash of their whole piece.
    pub(crate) fn put_back(&mut self, piece: u32, first: u32, data: &Bytes) {
        let Some(active) = self.active_mut(piece) else { return };
        let mut added = 0;
        let parts = (0..data.len()).step_by(BLOCK_LEN as usize);
        let blocks = (0u32..).zip(&active.blocks).skip(first as usize);
        for ((index, block), start) in blocks.zip(parts) {
            if block.state == BlockState::Stored && active.data.get(index).is_none() {
                let bytes = data.slice(start..data.len().min(start + BLOCK_LEN as usize));
                added += bytes.len();
                active.data.put(index, bytes);
            }
        }
        self.memory += added;
    }
    /// What was read from the disk for a hash is not needed any more.
    pub(crate) fn drop_read(&mut self, piece: u32) {
        let Some(active) = self.active_mut(piece) else { return };
        let blocks = &active.blocks;
        let is_stored = |index: u32| {
            blocks.get(index as usize).is_some_and(|block| block.state == BlockState::Stored)
        };
        let freed = active.data.drop_where(is_stored);
        self.memory -= freed;
    }
    /// Stored blocks of a begun piece are gone from the disk: free again. Returns which.
    pub(crate) fn lose_blocks(&mut self, piece: u32) -> Vec<u32> {
        self.drop_read(piece);
        let info = Arc::clone(&self.info);
        let Some(active) = self.active_mut(piece) else { return Vec::new() };
        let mut lost = Vec::new();
        let mut bytes = 0;
        for (index, block) in (0u32..).zip(&mut active.blocks) {
            if block.state == BlockState::Stored {
                block.state = BlockState::Free;
                bytes += u64::from(info.layout.block_len(active.piece, index));
                lost.push(index);
            }
        }
        let count = lost.len() as u32;
        active.free += count;
        active.stored -= count;
        active.proven -= count;
        self.stored -= bytes;
        lost
    }
    /// A held piece is gone from the disk: missing again.
    pub(crate) fn lose(&mut self, piece: u32) -> bool {
        let Some(index) = self.info.layout.piece(piece) else { return false };
        if !self.held.clear(piece) {
            return false;
        }
        self.state[piece as usize] = 0;
        self.lacking += u32::from(self.is_wanted(piece));
        self.stored -= u64::from(self.info.layout.data_len(index));
        self.taken -= u64::from(self.info.layout.data_len(index));
        true
    }
    /// Bytes of a proven block range while they are in memory: `None` when they are on disk or unknown. The range lies inside one block.
    pub(crate) fn in_memory(&self, piece: u32, offset: u32, length: u32) -> Option<Bytes> {
        let (active, index) = (self.active(piece)?, offset / BLOCK_LEN);
        let block = active.blocks.get(index as usize)?;
        if !matches!(block.state, BlockState::Verified | BlockState::Writing) {
            return None;
        }
        let start = (offset % BLOCK_LEN) as usize;
        let end = start.checked_add(length as usize)?;
        let data = active.data.get(index)?;
        (end <= data.len()).then(|| data.slice(start..end))
    }
    /// Whether `length` bytes at `offset` of a piece can be given: all of a held piece, padding included; of a begun one what
    /// lies in one proven block, or in several that are all on disk.
    pub(crate) fn can_give(&self, piece: PieceIndex, offset: u32, length: u32) -> bool {
        if self.is_held(piece.get()) {
            return true;
        }
        let end = offset.saturating_add(length);
        let blocks = offset / BLOCK_LEN..end.div_ceil(BLOCK_LEN);
        let key = |block| BlockKey::new(piece.get(), block);
        end <= self.info.layout.data_len(piece)
            && if blocks.len() == 1 {
                self.is_proven(key(blocks.start))
            } else {
                blocks.clone().all(|block| self.block_state(key(block)) == BlockState::Stored)
            }
    }
    /// End of the proven bytes that reach from `from` (piece space) without a gap; `from` itself when there are none.
    ///
    /// Costs O(pieces / 8) over held pieces and O(blocks) over begun ones.
    pub(crate) fn reach(&self, from: u64) -> u64 {
        let layout = &self.info.layout;
        let mut at = from;
        while let Some(piece) = layout.piece_at(at) {
            if self.is_held(piece.get()) {
                let gap = self.held.next(piece.get(), false);
                let gap = gap.unwrap_or_else(|| layout.piece_count());
                at = u64::from(gap) * u64::from(layout.piece_length());
                continue;
            }
            let start = layout.start(piece);
            let block = ((at - start) / u64::from(BLOCK_LEN)) as u32;
            if layout.block_len(piece, block) == 0 {
                // Padding behind the data: nothing to wait for.
                at = start + u64::from(layout.piece_length());
            } else if self.is_proven(BlockKey::new(piece.get(), block)) {
                at = start
                    + u64::from(block * BLOCK_LEN)
                    + u64::from(layout.block_len(piece, block));
                if block + 1 == layout.block_count(piece) {
                    at = start + u64::from(layout.piece_length());
                }
            } else {
                return at;
            }
        }
        at.min(layout.nominal_end()).max(from)
    }
    /// Blocks of begun pieces that are on disk: piece and a bit per block.
    pub(crate) fn partial(&self) -> Vec<(u32, Bitfield)> {
        let mut list: Vec<(u32, Bitfield)> = self
            .actives()
            .filter(|active| active.stored > 0)
            .map(|active| {
                let mut bits = Bitfield::new(active.blocks.len() as u32);
                for (index, block) in active.blocks.iter().enumerate() {
                    if block.state == BlockState::Stored {
                        bits.set(index as u32);
                    }
                }
                (active.piece.get(), bits)
            })
            .collect();
        list.sort_unstable_by_key(|entry| entry.0);
        list
    }
}
