//! The block inside a window that a peer should bring: `fetch` asks for it.
//!
//! Each peer with room is offered the free blocks in due order. It takes the first that it brings in time, or before the others get round to
//! it, and of those that have time the rarest (`spread.rs`); what it brings too late it leaves to them, unless they leave it too.

use core::time::Duration;

use alloc::vec::Vec;
use shoal_wire::peer::BLOCK_LEN;

use super::ahead::{Ahead, Zone};
use super::fetch::admits;
use super::peer::{Holding, Peer};
use super::pieces::BlockKey;
use super::spread::{Rarest, Stages, URGENT};
use super::title::{Content, Swarm};
use super::windows::Free;
use crate::config::limits::WINDOW_SCAN_MAX;
use crate::config::{Scheduler, SwarmConfig};
use crate::time::{Instant, bytes_in, time_of};
use crate::turn::Turn;

/// Requests for blocks that nobody else has which wait at a source on top of what is on its way, at least.
const SPARE_AT_SOURCE: usize = 4;
/// Where they are urgent they may be worth this much film. What its uplink holds already, bulk for others most of all, comes first, and a queue that
/// covers only a round trip of a quiet path would bring a quarter of what is needed, for ever.
const SPARE_TIME: Duration = Duration::from_millis(600);
/// Of what is not urgent no more is on its way than this much film: what more peers are asked for waits in their uplinks.
const AHEAD: Duration = Duration::from_millis(2000);
/// For who plays and has less film than this, half as much again may be on its way of what is due late: what few have would reach nobody
/// where everybody is in need of what comes next.
const THIN: Duration = Duration::from_secs(6);
/// As many blocks may always be on their way.
const AHEAD_LEAST: u64 = 4 * BLOCK_LEN as u64;
/// What is due for so long and was asked of nobody goes to the first peer with room: peers of which each would have to wait for the other
/// leave it to each other for ever.
const LEFT: Duration = Duration::from_millis(200);

/// Whether a block that others have may be asked of a peer: of one that broke its promises one at a time, that can wait. Without it such
/// a peer could never keep one again.
fn may_redeem(peer: &Peer, is_urgent: bool) -> bool {
    !peer.snubbed || (peer.asked.is_empty() && !is_urgent)
}

impl Swarm {
    /// The block inside a window that this peer should bring.
    pub(super) fn pick_windowed(&mut self, turn: &mut Turn<'_>, slot: u16) -> Pick {
        let config = &turn.config.swarm;
        let now = turn.now;
        let room = match self.room_at(turn, slot) {
            Ok(room) => room,
            Err(pick) => return pick,
        };
        let (other, total_rate) = self.fastest.other(now, slot, &self.peers);
        let (Some(peer), Some(content)) = (self.peer(slot), self.content()) else {
            return Pick::Nothing;
        };
        let gate = self.gate(turn);
        let arrival = peer.service.arrival(now, BLOCK_LEN);
        let slack = Duration::from_millis(50) + peer.service.deviation();
        let step = time_of(u64::from(BLOCK_LEN), total_rate);
        let stages = Stages::of(now, content, turn.config.play.preroll);
        let mut rarest = Rarest::new(gate.me);
        let (mut last, mut better, mut sooner) = (None, None, None);
        for (due, key, theirs) in Offered::new(peer, content, other.unwrap_or(now), step) {
            let is_urgent = due <= now + URGENT;
            // What nobody else has gets no sooner here from anybody: a source serves by due time, so it may wait there.
            let is_only = peer.is_source()
                && gate.on
                && !content.copies.is_elsewhere(key, &content.availability);
            // First, since what a source is not asked for must not hide what only it has.
            if peer.is_source() && !gate.admits_due(content, peer, key, due) {
                continue;
            }
            let stage = stages.stage(due).filter(|_| !is_only);
            if rarest.is_settled(stage) {
                break;
            }
            if !room.admits(is_urgent, is_only, Zone::of(now, Some(due))) {
                return rarest.block().map_or(Pick::Wait, Pick::Block);
            }
            if !may_take(content, slot, key, config)
                || !admits(content, peer, slot, key.piece())
                || (!may_redeem(peer, is_urgent) && self.is_left_to_others(slot, key, gate.on))
            {
                continue;
            }
            if let Some(pick) = self.pick_unpredicted(now, slot, key, config) {
                return pick;
            }
            let holds = |index: &&u16| self.peer(**index).is_some_and(|other| other.has_block(key));
            if !is_only && !is_urgent {
                let start = config.requests_out_start;
                let sooner = sooner.get_or_insert_with(|| self.sooner(now, slot, arrival, start));
                if let Some(&index) = sooner.iter().find(holds) {
                    better = better.or(Some(index));
                    continue;
                }
            }
            let is_in_time = is_only || due + LEFT <= now || arrival <= due.max(theirs + slack);
            if !is_in_time && other.is_some() {
                last = Some(key);
                continue;
            }
            let Some(stage) = stage else { return Pick::Block(key) };
            if rarest.offer(stage, key, content.copies.count(key, &content.availability)) {
                break;
            }
        }
        // Too slow for everything in sight: what is due last harms least, and idleness helps nobody.
        match (rarest.block().or(last), better) {
            (Some(key), _) => Pick::Block(key),
            (None, Some(better)) => Pick::Other(better),
            (None, None) => Pick::Nothing,
        }
    }
    /// The room that this peer has, or why nothing is to be asked of it.
    fn room_at(&self, turn: &Turn<'_>, slot: u16) -> Result<Room, Pick> {
        let config = &turn.config.swarm;
        let (Some(peer), Some(content)) = (self.peer(slot), self.content()) else {
            return Err(Pick::Nothing);
        };
        if config.scheduler == Scheduler::Ignore || content.plan.is_assigned() {
            return Err(Pick::Nothing);
        }
        let room = Room::at(turn.now, peer, content, self.ahead, config);
        if !peer.has_time(turn.now) || (!peer.is_source() && room.is_full()) {
            return Err(Pick::Wait);
        }
        Ok(room)
    }
    /// Whether there is somebody to rely on for a block, instead of one that broke its promises. Where sources are `spared`
    /// they are none: they are not asked for what others have.
    fn is_left_to_others(&self, slot: u16, key: BlockKey, spared: bool) -> bool {
        let helps = |other: &Peer| {
            other.is_reliable() && other.has_block(key) && !(spared && other.is_source())
        };
        (0u16..)
            .zip(&self.peers)
            .any(|(index, other)| index != slot && other.as_deref().is_some_and(helps))
    }
    /// Peers with room that would bring a block well before `arrival`, the soonest first. At most `FASTEST_TOP`.
    fn sooner(&self, now: Instant, slot: u16, arrival: Instant, start: u32) -> Vec<u16> {
        let has_room = |index: &u16| {
            self.peer(*index).is_some_and(|other| {
                !other.is_source()
                    && other.has_time(now)
                    && other.asked.len() < other.shallow_depth(start) as usize
            })
        };
        let before = self.fastest.before(arrival);
        before.filter(|index| *index != slot).filter(has_room).collect()
    }
}

/// Free blocks in windows that a peer has, by due time, each with the moment at which the others get round to it. Looks at no
/// more than [`WINDOW_SCAN_MAX`] blocks.
struct Offered<'a> {
    peer: &'a Peer,
    free: Free<'a>,
    holding: Holding<'a>,
    looked: usize,
    reached: Instant,
    step: Duration,
}

impl<'a> Offered<'a> {
    fn new(peer: &'a Peer, content: &'a Content, reached: Instant, step: Duration) -> Self {
        let free = content.plan.free();
        Self { peer, free, holding: peer.holding(u32::MAX), looked: 0, reached, step }
    }
}

impl Iterator for Offered<'_> {
    type Item = (Instant, BlockKey, Instant);

    fn next(&mut self) -> Option<Self::Item> {
        while self.looked < WINDOW_SCAN_MAX {
            let (due, key) = self.free.next()?;
            let theirs = self.reached;
            self.looked += 1;
            self.reached = self.reached + self.step;
            if self.holding.piece != key.piece() {
                self.holding = self.peer.holding(key.piece());
                if !self.holding.any() {
                    let skipped = self.free.skip_piece();
                    self.looked += skipped as usize;
                    self.reached = self.reached + self.step * skipped;
                }
            }
            if self.holding.has(key.block()) {
                return Some((due, key, theirs));
            }
        }
        None
    }
}

/// How many requests for blocks in windows may be outstanding at a peer.
struct Room {
    asked: usize,
    shallow: usize,
    deep: usize,
    /// On top, for urgent blocks that nobody else has.
    spare: usize,
    /// What is on its way from all peers together,
    ahead: Ahead,
    /// how much of it is enough,
    enough: u64,
    /// and how much with what is due late.
    enough_late: u64,
}

impl Room {
    fn at(
        now: Instant,
        peer: &Peer,
        content: &Content,
        ahead: Ahead,
        config: &SwarmConfig,
    ) -> Self {
        let plan = &content.plan;
        let is_thin =
            plan.is_playing() && plan.earliest_missing().is_some_and(|due| due <= now + THIN);
        let film = |time| plan.rate().map_or(0, |rate| bytes_in(time, rate));
        let shallow = peer.shallow_depth(config.requests_out_start) as usize;
        let enough = film(AHEAD).max(AHEAD_LEAST);
        Self {
            asked: peer.asked.len(),
            shallow,
            deep: shallow.max(peer.bulk_depth(config) as usize / 2),
            spare: SPARE_AT_SOURCE.max((film(SPARE_TIME) / u64::from(BLOCK_LEN)) as usize),
            ahead,
            enough,
            enough_late: if is_thin { enough + enough / 2 } else { enough },
        }
    }
    /// Whether a peer that is no source has so much to do that neither a window nor the rest of the title has anything for it.
    fn is_full(&self) -> bool {
        let is_ample = self.ahead.until(Zone::FIRST) >= self.enough;
        self.asked > self.shallow && (is_ample || self.asked >= self.deep)
    }
    /// Whether there is room for one more, for a block that is urgent or not, to be had here only or not, due soon or later.
    fn admits(&self, is_urgent: bool, is_only: bool, zone: Zone) -> bool {
        let enough = if zone == Zone::FIRST { self.enough } else { self.enough_late };
        let depth = match (is_urgent, is_only) {
            (true, true) => self.shallow + self.spare,
            (true, false) => self.shallow,
            (false, true) => self.deep + SPARE_AT_SOURCE,
            (false, false) if self.ahead.until(zone) >= enough => 0,
            (false, false) => self.deep,
        };
        self.asked < depth
    }
}

/// What `pick_windowed` found.
pub(super) enum Pick {
    Block(BlockKey),
    /// What it could bring, this peer would bring sooner.
    Other(u16),
    /// There is work for this peer, but its queue is full enough for now.
    Wait,
    /// No window needs this peer.
    Nothing,
}

/// Whether a baseline that gives each piece to one peer lets this one take the block.
fn may_take(content: &Content, slot: u16, key: BlockKey, config: &SwarmConfig) -> bool {
    let is_free = |owner| owner == slot || owner == u16::MAX;
    config.scheduler != Scheduler::OnePeerPerPiece
        || content.pieces.active(key.piece()).is_none_or(|active| is_free(active.owner))
}
