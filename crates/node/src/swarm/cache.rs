//! The cache of watched films: one quota for all titles that are cached, and room made when it is used up.
//!
//! ```text
//! piece:  here --given up: withdrawn from all--> leaving --recorded as gone, then freed--> missing, wanted by readers only
//! ```
//! Looked at once after each turn, O(titles). What counts is what pieces will take when they are whole, with what the disk says on
//! top. Room is made a batch at a time, first where no title is (films of earlier runs, [`Job::Reclaim`]), then by giving up the
//! pieces that are least dear (`share.rs`). What no reader needs gives way to nothing that is watched: when there is no room
//! for it, it is not wanted any more.
//!
//! Why so, and what was left: docs/decisions/0060.

use alloc::vec::Vec;

use shoal_wire::peer::{Extended, Message};

use super::share::Victims;
use super::title::{Swarm, Task};
use super::{Hub, Swarms};
use crate::config::limits::{CACHE_BATCH_MAX, CACHE_BATCH_MIN, CACHE_BATCH_PART, CACHE_LOOK};
use crate::io::{Event, Failure, Job, Outcome, ResumeRecord};
use crate::link::TitleId;
use crate::stats::CacheView;
use crate::time::Instant;
use crate::turn::{Owner, Turn};

/// What all titles of a node share of the cache.
#[derive(Debug, Default)]
pub(super) struct Cache {
    quota: Option<u64>,
    /// Bytes in the cache that no title here uses.
    elsewhere: u64,
    /// Some of them are being freed.
    reclaiming: bool,
    /// They cannot be freed.
    unyielding: bool,
    /// Nothing was found to be given up: not looked for again until then.
    rest_until: Option<Instant>,
}

impl Swarms {
    /// What the cache may take, and what of it is taken by what is not known here.
    pub(super) fn set_cache(&mut self, quota: Option<u64>, elsewhere: u64) {
        self.cache.quota = quota;
        self.cache.elsewhere = elsewhere;
        self.cache.rest_until = None;
        self.cache.unyielding = false;
        if quota.is_none() {
            let contents = self.titles.values_mut().iter_mut().filter_map(|one| one.content_mut());
            contents.for_each(|content| content.share.unlimit());
        }
    }
    /// How the cache stands; `None` without a quota.
    pub(crate) fn cache_view(&self) -> Option<CacheView> {
        let quota = self.cache.quota?;
        let leaving: u64 = self.cached().map(Swarm::leaving).sum();
        let used = self.cached().map(Swarm::takes).sum::<u64>() + leaving + self.cache.elsewhere;
        Some(CacheView { quota, used })
    }
    fn cached(&self) -> impl Iterator<Item = &Swarm> {
        self.titles.values().iter().map(|swarm| &**swarm).filter(|swarm| swarm.cached)
    }
    /// A title is over: what it leaves in the cache is nobody's.
    pub(super) fn leave_in_cache(&mut self, title: TitleId) {
        if let Some(swarm) = self.titles.get(title).filter(|swarm| swarm.cached) {
            self.cache.elsewhere += swarm.left_behind;
        }
    }
    /// Keeps the cache within its quota. To be called when all rooms have heard what happened in a turn.
    pub(crate) fn balance(&mut self, turn: &mut Turn<'_>) {
        let Some(quota) = self.cache.quota else { return };
        let taken: u64 = self.cached().map(Swarm::takes).sum();
        let leaving: u64 = self.cached().map(Swarm::leaving).sum();
        let over = (taken + self.cache.elsewhere).saturating_sub(quota);
        let batch = self.batch(quota);
        // There may be room by now for what had none.
        let is_tight = taken + leaving + self.cache.elsewhere + self.largest() > quota;
        let refused = is_tight && self.cached().any(Swarm::was_refused);
        if !is_tight {
            self.hear_no_refusal();
        }
        if (over > 0 || refused) && !self.cache.reclaiming {
            if self.cache.elsewhere > 0 && !self.cache.unyielding {
                self.cache.reclaiming = true;
                self.hear_no_refusal();
                turn.submit(Owner::Cache, Job::Reclaim { bytes: over + batch });
            } else {
                self.make_room(turn, over, batch, leaving);
            }
        }
        let used = self.cached().map(Swarm::takes).sum::<u64>()
            + self.cached().map(Swarm::leaving).sum::<u64>()
            + self.cache.elsewhere;
        for swarm in self.titles.values_mut().iter_mut().filter(|swarm| swarm.cached) {
            if let Some(content) = swarm.content_mut() {
                let pieces = content.pieces.info.layout.piece_count();
                content.share.limit(Some(quota), used, 2 * batch, pieces);
            }
        }
    }
    /// So much room is made at once: each time costs syncs of the disk.
    fn batch(&self, quota: u64) -> u64 {
        let (least, part) = CACHE_BATCH_MIN;
        let batch = (quota / CACHE_BATCH_PART).max(least.min(quota / part));
        batch.min(CACHE_BATCH_MAX).max(self.largest())
    }
    /// Bytes of the largest piece that may come.
    fn largest(&self) -> u64 {
        let contents = self.cached().filter_map(Swarm::content);
        let lengths = contents.map(|content| content.pieces.info.layout.piece_length());
        lengths.max().map_or(0, u64::from)
    }
    /// What was refused is not waited for any more: it is asked for again, and refused again if there is no room.
    fn hear_no_refusal(&mut self) {
        let contents = self.titles.values_mut().iter_mut().filter_map(|one| one.content_mut());
        contents.for_each(|content| content.share.refused = false);
    }
    /// Gives up what is least dear: as much as is `over` the quota, and a batch. Where only what no reader needs wants room,
    /// nothing that is watched gives way to it.
    fn make_room(&mut self, turn: &mut Turn<'_>, over: u64, batch: u64, leaving: u64) {
        if self.cache.rest_until.is_some_and(|until| until > turn.now) {
            return;
        }
        let mut victims = Victims::new(over + batch);
        for swarm in self.cached() {
            swarm.offer(turn.now, &mut victims, over == 0);
        }
        let chosen = victims.by_title();
        let Self { titles, hub, .. } = self;
        if chosen.is_empty() && over > 0 {
            self.cache.rest_until = Some(turn.now + CACHE_LOOK);
        }
        if chosen.is_empty() && leaving == 0 {
            for swarm in titles.values_mut().iter_mut().filter(|swarm| swarm.was_refused()) {
                swarm.want_no_more(turn, hub);
            }
        }
        if !chosen.is_empty() {
            self.hear_no_refusal();
        }
        for (title, pieces) in chosen {
            if let Some(swarm) = self.titles.get_mut(title) {
                swarm.evict(turn, &pieces);
            }
        }
    }
    /// Room was made, or not, in what of the cache no title here uses.
    pub(crate) fn on_reclaimed(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.cache.reclaiming = false;
        self.hear_no_refusal();
        match outcome {
            Outcome::Freed(left) => {
                self.cache.unyielding = left >= self.cache.elsewhere;
                self.cache.elsewhere = left;
            }
            outcome => {
                // It counts no more: there is nothing to be done about it here.
                self.cache.elsewhere = 0;
                let message = super::verify::failure_of(outcome).message;
                turn.tell(Event::Trouble { title: None, message, fatal: false });
            }
        }
        self.balance(turn);
        for swarm in self.titles.values_mut().iter_mut().filter(|swarm| swarm.cached) {
            swarm.fill_all(turn);
        }
        self.drain(turn);
    }
}

impl Swarm {
    /// What its pieces take on the disk, and will take when those that are begun are whole.
    fn takes(&self) -> u64 {
        self.content().map_or(0, |content| content.pieces.taken() + content.share.overhead)
    }
    /// What is given up and still on the disk.
    fn leaving(&self) -> u64 {
        self.content().map_or(0, |content| content.pieces.leaving())
    }
    fn was_refused(&self) -> bool {
        self.content().is_some_and(|content| content.share.refused)
    }
    /// What no reader needs has no room: it is not wanted any more. O(pieces).
    fn want_no_more(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        let Some(content) = self.content_mut() else { return };
        content.share.refused = false;
        for piece in 0..content.pieces.info.layout.piece_count() {
            if content.pieces.may_begin(piece) {
                content.pieces.unwant(piece);
                content.availability.unlist(piece);
            }
        }
        if content.pieces.is_complete() {
            self.on_complete(turn, hub);
        }
    }
    /// Gives pieces up: nothing of them is served any more, all who may think that they are here are told, and their room is
    /// given back once it is recorded that they are gone.
    fn evict(&mut self, turn: &mut Turn<'_>, pieces: &[u32]) {
        let was_full = self.content().is_some_and(|content| content.pieces.is_full());
        let mut gone: Vec<(u32, bool)> = Vec::new();
        for &piece in pieces {
            let Some(content) = self.content_mut() else { return };
            let before = content.pieces.stored();
            let Some(held) = content.pieces.give_up(piece) else { continue };
            let bytes = before - content.pieces.stored();
            content.hashes.on_settled(piece);
            content.suspects.forget(piece);
            content.share.set_given_up(piece, true);
            content.share.note(turn.now, piece, 0);
            gone.push((piece, held));
            turn.counters(self.title).evicted += bytes;
            self.drop_uploads(turn, piece);
        }
        let Some(content) = self.content_mut() else { return };
        content.fresh.retain(|key| !content.pieces.is_leaving(key.piece()));
        content.share.leaving = gone.iter().map(|entry| entry.0).collect();
        let left = content.pieces.info.layout.data_total() - content.pieces.stored();
        turn.counters(self.title).left = left;
        for slot in self.slots() {
            for &(piece, held) in &gone {
                // Blocks of a piece that was not whole are known to Shoal peers alone.
                let knows = |peer: &&super::peer::Peer| {
                    peer.ids.dont_have != 0 && (held || peer.is_shoal())
                };
                if self.peer(slot).filter(knows).is_some() {
                    let message = Extended::DontHave { piece };
                    self.send(turn, slot, Message::Extended(message.into()));
                }
            }
        }
        if was_full {
            // Those who had nothing for us have something now.
            self.known.retry_all(turn.now);
        }
        self.free_room(turn);
        self.rewatch(turn);
    }
    /// A peer says only now that it understands withdrawals: it hears of those since it was met. O(pieces).
    pub(super) fn introduce_withdrawals(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some((peer, content)) = self.both(slot) else { return };
        if peer.ids.dont_have == 0 || !content.share.has_given_up() {
            return;
        }
        for piece in content.share.given_up_since(peer.opened) {
            let message = Extended::DontHave { piece };
            self.send(turn, slot, Message::Extended(message.into()));
        }
    }
    /// Has the room of what is given up given back.
    pub(super) fn free_room(&mut self, turn: &mut Turn<'_>) {
        self.timers.free = None;
        let title = self.title;
        let Some(content) = self.content().filter(|content| !content.share.leaving.is_empty())
        else {
            return;
        };
        let pieces = content.share.leaving.clone();
        let record =
            ResumeRecord { have: content.pieces.held().clone(), partial: content.pieces.partial() };
        turn.submit(Owner::Swarm(title, Task::Evict), Job::Evict { title, record, pieces });
    }
    /// What was given up is off the disk, or cannot be got off it.
    pub(super) fn on_freed(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        let title = self.title;
        let retry = turn.now + turn.config.swarm.disk_retry;
        let Some(content) = self.content_mut() else { return };
        match outcome {
            Outcome::Freed(on_disk) => {
                content.share.overhead = on_disk.saturating_sub(content.pieces.taken());
                content.share.refused = false;
            }
            // Not even a record has room: it will, when others make some.
            Outcome::Failed(failure) if super::title::is_full(&failure) => {
                self.timers.free = Some(retry);
                return;
            }
            outcome => {
                content.share.stuck = true;
                let Failure { message, .. } = super::verify::failure_of(outcome);
                turn.tell(Event::Trouble { title: Some(title), message, fatal: false });
            }
        }
        let Some(content) = self.content_mut() else { return };
        for piece in core::mem::take(&mut content.share.leaving) {
            content.pieces.freed(piece);
            if content.pieces.may_begin(piece) {
                content.availability.list(piece);
            }
        }
        self.fill_all(turn);
    }
}
