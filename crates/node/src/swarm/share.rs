//! What a title that is watched may take on the disk, and which of its pieces it can do without best.
//!
//! All titles that are cached share one quota (`cache.rs`). Here stands what one of them needs for that: how much it may still
//! begin, where its players are, what is being read, when each piece was last of use and how often others asked for it.
//!
//! The order in which pieces are given up: titles that nobody watches here first; then the only known copies last; then by
//! availability to demand, as in PPLive's system (Huang et al., SIGCOMM 2008): who has it besides us, against who lacks it, asked
//! for it lately, or will come to it; then the longest unused. Publishers are not counted among those who have it: what they are
//! relieved of is what the swarm is for.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use shoal_wire::bitfield::Bitfield;

use super::peer::Have;
use super::title::{ByPiece, Content, Swarm};
use crate::config::limits::{ASKS_HALVED_EACH_S, CACHE_URGENT, READER_CONTINUES_WITHIN};
use crate::link::{ReaderId, TitleId};
use crate::time::{Instant, time_of};
use crate::turn::{Turn, Window};

/// When a piece was last of use, and how often it was asked for until then.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    at_s: u32,
    /// Blocks, halved each [`ASKS_HALVED_EACH_S`].
    asks: u16,
}

impl Use {
    fn asks(self, now_s: u32) -> u16 {
        let halvings = now_s.saturating_sub(self.at_s) / ASKS_HALVED_EACH_S;
        self.asks.checked_shr(halvings).unwrap_or(0)
    }
}

/// One title's part of the cache. Eight bytes and a bit for each piece, where there is a quota.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// Bytes that all cached titles may take together; `None` where this one is not limited.
    quota: Option<u64>,
    /// Bytes that all take, with what this one has begun since the last look.
    used: u64,
    /// What may be taken beyond the quota while room is being made.
    slack: u64,
    /// Something that no reader needs was not begun for want of room.
    pub(super) refused: bool,
    uses: Vec<Use>,
    /// Pieces that were given up and are not here again.
    given_up: Bitfield,
    /// All that `play` wants; empty where there is room for all of it.
    windows: Vec<Window>,
    /// How far players have come since the windows were cut, bytes.
    moved: u64,
    /// Reads under way, by piece.
    reads: ByPiece<u32>,
    /// Pieces whose room is being given back.
    pub(super) leaving: Vec<u32>,
    /// Bytes on the disk beyond the pieces: what holes leave.
    pub(super) overhead: u64,
    /// Room cannot be given back: nothing more is given up, and readers get what they need all the same.
    pub(super) stuck: bool,
}

impl Share {
    /// The quota, what all titles take of it, and by how much it may be exceeded for a moment.
    pub(super) fn limit(&mut self, quota: Option<u64>, used: u64, slack: u64, pieces: u32) {
        (self.quota, self.used, self.slack) = (quota, used, slack);
        if quota.is_some() && self.uses.is_empty() {
            self.uses = vec![Use::default(); pieces as usize];
            self.given_up = Bitfield::new(pieces);
        }
    }
    /// There is no quota any more.
    pub(super) fn unlimit(&mut self) {
        self.quota = None;
        self.refused = false;
    }
    /// Whether a piece of `length` bytes may be begun, `due` when a reader needs it. Then it counts.
    pub(super) fn admits(&mut self, now: Instant, length: u64, due: Option<Instant>) -> bool {
        let Some(quota) = self.quota else { return true };
        let fits = self.used.saturating_add(length) <= quota;
        let admitted = match due {
            Some(due) if due <= now + CACHE_URGENT => true,
            Some(_) if self.stuck => true,
            Some(_) => self.used.saturating_add(length) <= quota.saturating_add(self.slack),
            None => fits,
        };
        self.refused |= due.is_none() && !fits;
        self.used += if admitted { length } else { 0 };
        admitted
    }
    /// A piece is of use now; `blocks` of it were asked for by others.
    pub(super) fn note(&mut self, now: Instant, piece: u32, blocks: u16) {
        let now_s = seconds(now);
        if let Some(entry) = self.uses.get_mut(piece as usize) {
            *entry = Use { at_s: now_s, asks: entry.asks(now_s).saturating_add(blocks) };
        }
    }
    /// Notes that a piece was given up, or is here again.
    pub(super) fn set_given_up(&mut self, piece: u32, is: bool) {
        let _ = if is { self.given_up.set(piece) } else { self.given_up.clear(piece) };
    }
    /// Whether others may still think that a piece is here.
    pub(super) fn is_given_up(&self, piece: u32) -> bool {
        self.given_up.get(piece)
    }
    /// Whether something was given up and is not here again.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up.ones() > 0
    }
    /// Pieces that were given up since then, to the second, and are not here again.
    pub(super) fn given_up_since(&self, then: Instant) -> Vec<u32> {
        let then_s = seconds(then);
        let is_since =
            |piece: &u32| self.uses.get(*piece as usize).is_some_and(|entry| entry.at_s >= then_s);
        self.given_up.iter().filter(is_since).collect()
    }
    /// A read of a piece begins.
    pub(super) fn begin_read(&mut self, piece: u32) {
        *self.reads.entry(piece).or_default() += 1;
    }
    /// A read of a piece is over.
    pub(super) fn end_read(&mut self, piece: u32) {
        if let Some(count) = self.reads.get_mut(&piece) {
            *count -= 1;
            if *count == 0 {
                self.reads.remove(&piece);
            }
        }
    }
}

fn seconds(now: Instant) -> u32 {
    u32::try_from(now.since(Instant::ZERO).as_secs()).unwrap_or(u32::MAX)
}

/// A stretch of a window, due when the window says.
fn part_of(window: &Window, start: u64, end: u64) -> Window {
    Window { start, end, due: window.due + time_of(start - window.start, window.rate), ..*window }
}

/// How dear a piece is: the least dear ones are given up first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Dear {
    /// Its title is watched here.
    pub(super) watched: bool,
    /// Nobody else is known to have it.
    pub(super) only: bool,
    /// Holders for each who wants it, in 256ths.
    pub(super) ratio: Reverse<u64>,
    /// When it was last of use, seconds.
    pub(super) used_s: u32,
}

/// The pieces that are least dear, as many as bytes are wanted. O(log of those kept) for each that is offered.
#[derive(Debug)]
pub(super) struct Victims {
    wanted: u64,
    bytes: u64,
    /// The dearest on top.
    kept: BinaryHeap<(Dear, TitleId, u32, u64)>,
}

impl Victims {
    pub(super) fn new(wanted: u64) -> Self {
        Self { wanted, bytes: 0, kept: BinaryHeap::new() }
    }
    /// Offers a piece of `length` bytes.
    pub(super) fn offer(&mut self, dear: Dear, title: TitleId, piece: u32, length: u64) {
        self.kept.push((dear, title, piece, length));
        self.bytes += length;
        while let Some(top) = self.kept.peek()
            && self.bytes - top.3 >= self.wanted
        {
            self.bytes -= top.3;
            self.kept.pop();
        }
    }
    /// Those that were kept, title by title.
    pub(super) fn by_title(self) -> Vec<(TitleId, Vec<u32>)> {
        let mut all: Vec<(TitleId, u32)> =
            self.kept.into_iter().map(|(_, title, piece, _)| (title, piece)).collect();
        all.sort_unstable();
        all.chunk_by(|a, b| a.0 == b.0)
            .filter_map(|run| Some((run.first()?.0, run.iter().map(|entry| entry.1).collect())))
            .collect()
    }
}

impl Content {
    /// Film ahead of each player that is fetched and kept, bytes: half of the quota is for them.
    fn ahead(&self, quota: u64) -> u64 {
        let players = self.watches.len().max(1) as u64;
        (quota / 2 / players).max(2 * u64::from(self.pieces.info.layout.piece_length()))
    }
    /// Takes new windows and places of players. The windows are cut to what the quota has room for.
    pub(super) fn fit(&mut self, windows: &[Window], heads: &[(ReaderId, u64)]) -> Vec<Window> {
        for watch in &mut self.watches {
            heads.iter().for_each(|&(reader, at)| watch.on_head(reader, at));
        }
        self.share.windows.clear();
        let cut = self.cut(windows);
        if cut != windows {
            self.share.windows = windows.to_vec();
        }
        cut
    }
    /// Windows cut to what there is room for: to what lies not further ahead of a player than is kept there. What lies ahead
    /// of none, such as the index of a container, keeps its beginning. O(windows · players).
    fn cut(&mut self, windows: &[Window]) -> Vec<Window> {
        self.share.moved = 0;
        let Some(quota) = self.share.quota else { return windows.to_vec() };
        let ahead = self.ahead(quota);
        let mut heads: Vec<u64> = self.watches.iter().map(super::watch::Watch::at).collect();
        heads.sort_unstable();
        heads.dedup();
        let mut cut = Vec::new();
        for window in windows {
            let mut at = window.start;
            let near = heads
                .iter()
                .filter(|&&head| head < window.end && head.saturating_add(ahead) > window.start);
            for &head in near {
                let (start, end) = (at.max(head), window.end.min(head.saturating_add(ahead)));
                if start < end {
                    cut.push(part_of(window, start, end));
                    at = end;
                }
            }
            if at == window.start {
                cut.push(part_of(window, at, window.end.min(at.saturating_add(ahead))));
            }
        }
        cut
    }
    /// A player moved by so many bytes. Where windows were cut they may reach further now: the new ones, now and then.
    pub(super) fn refit(&mut self, moved: u64) -> Option<Vec<Window>> {
        self.share.moved += moved;
        let quota = self.share.quota?;
        if self.share.windows.is_empty() || self.share.moved < self.ahead(quota) / 4 {
            return None;
        }
        let windows = core::mem::take(&mut self.share.windows);
        let cut = self.cut(&windows);
        self.share.windows = windows;
        Some(cut)
    }
    /// Whether somebody reads or plays it here.
    fn is_watched(&self) -> bool {
        self.plan.is_live() || !self.watches.is_empty()
    }
    /// Pieces that must stay: in windows, and around the players. O(pieces).
    fn protected(&self, quota: u64) -> Bitfield {
        let layout = &self.pieces.info.layout;
        let mut pieces = Bitfield::new(layout.piece_count());
        let mut protect = |start: u64, end: u64| {
            let place = |at: u64| layout.piece_at(at.min(layout.nominal_end().saturating_sub(1)));
            if let (Some(first), Some(last)) = (place(start), place(end.max(start + 1) - 1)) {
                for piece in first.get()..=last.get() {
                    pieces.set(piece);
                }
            }
        };
        for window in self.plan.windows() {
            protect(window.start, window.end);
        }
        let ahead = self.ahead(quota);
        let behind = READER_CONTINUES_WITHIN.min(ahead / 4);
        for head in self.watches.iter().map(super::watch::Watch::at) {
            protect(head.saturating_sub(behind), head.saturating_add(ahead));
        }
        pieces
    }
}

impl Swarm {
    /// Plans for new windows.
    pub(super) fn take_windows(&mut self, turn: &mut Turn<'_>, windows: Vec<Window>) {
        let Some(Content { plan, pieces, .. }) = self.content_mut() else { return };
        plan.replace(windows, pieces);
        self.watch_owed(turn);
        self.tell_playhead(turn, None);
    }
    /// Offers what this title can do without.
    pub(super) fn offer(&self, now: Instant, victims: &mut Victims, unwatched_only: bool) {
        let Some(content) = self.content() else { return };
        let Some(quota) = content.share.quota.filter(|_| !content.share.stuck) else { return };
        let watched = content.is_watched();
        // What is on its way off the disk comes first.
        if !content.share.leaving.is_empty() || (watched && unwatched_only) {
            return;
        }
        let now_s = seconds(now);
        let protected = content.protected(quota);
        let layout = &content.pieces.info.layout;
        let others = || self.peers.iter().flatten().filter(|peer| !peer.is_source());
        let seeds = others().filter(|peer| matches!(peer.have, Have::All)).count() as u64;
        let known = others().filter(|peer| matches!(peer.have, Have::Bits(_))).count() as u64;
        let heads = content.watches.iter().map(super::watch::Watch::at);
        let next = heads.filter_map(|head| layout.piece_at(head)).min();
        let begun = content.pieces.actives().map(|active| active.piece.get());
        for piece in content.pieces.held().iter().chain(begun) {
            let is_busy = protected.get(piece)
                || content.share.reads.contains_key(&piece)
                || content.hashes.waiting.contains_key(&piece)
                || !content.pieces.can_give_up(piece);
            let Some(index) = layout.piece(piece).filter(|_| !is_busy) else { continue };
            let entry = content.share.uses.get(piece as usize).copied().unwrap_or_default();
            let count = u64::from(content.availability.count(piece));
            let holders = seeds + count;
            let asks = u64::from(entry.asks(now_s)) / u64::from(layout.block_count(index).max(1));
            let comes = u64::from(next.is_some_and(|next| piece >= next.get()));
            let demand = known.saturating_sub(count) + asks + comes;
            let dear = Dear {
                watched,
                only: holders == 0,
                ratio: Reverse((holders + 1) * 256 / (demand + 1)),
                used_s: entry.at_s,
            };
            victims.offer(dear, self.title, piece, u64::from(layout.data_len(index)));
        }
    }
}
