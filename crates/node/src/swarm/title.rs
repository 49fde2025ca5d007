//! One title: from its names to the last piece.
//!
//! ```text
//! metadata --dictionary proven--> preparing --storage ready--> ready --leave--> left
//!     (skipped when the torrent is at hand)      |  \--storage failed--> failed
//! ```

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::ops::Range;
use core::time::Duration;

use shoal_wire::metainfo::Info;
use shoal_wire::peer::{BlockRequest, Member, Message};
use shoal_wire::{Hash32, InfoHashes};

use super::Hub;
use super::ahead::Ahead;
use super::audience::{Audience, Said};
use super::availability::Availability;
use super::connect::Contributor;
use super::hashes::Hashes;
use super::known::Known;
use super::metadata::Metadata;
use super::peer::Peer;
use super::pieces::{BlockKey, Pieces};
use super::rate::Meter;
use super::reveal::Veils;
use super::share::Share;
use super::source::Copies;
use super::verify::{Suspects, failure_of};
use super::watch::Watch;
use super::windows::Plan;
use crate::config::limits::SWEEP_INTERVAL;
use crate::io::{
    AddTitle, CloseReason, Effect, Event, Failure, FailureKind, Job, Outcome, ResumeRecord, Want,
};
use crate::link::{LinkId, ReaderId, TitleId};
use crate::stats::{PeerView, TitleView};
use crate::time::{Instant, earlier};
use crate::turn::{Found, Note, Owner, Turn};

/// What a job of a title was for.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// The dictionary in hand.
    CheckInfo {
        raw: Bytes,
        /// Who sent all of it.
        author: LinkId,
    },
    Prepare,
    CheckBlock {
        key: BlockKey,
        check: u32,
    },
    CheckPiece {
        piece: u32,
        check: u32,
    },
    Write {
        piece: u32,
        first: u32,
        count: u32,
    },
    ReadBack {
        piece: u32,
        first: u32,
        length: u32,
    },
    ReadUpload {
        link: LinkId,
        run: BlockRequest,
    },
    ReadReader {
        reader: ReaderId,
        offset: u64,
    },
    Leaves {
        piece: u32,
    },
    Evict,
    Save {
        last: bool,
    },
}

/// How far a title is.
#[derive(Debug)]
pub(super) enum Phase {
    /// The info dictionary is being fetched.
    Metadata(Metadata),
    /// Storage is being prepared.
    Preparing,
    /// Exchanging.
    Ready(Box<Content>),
    /// Over: removed, or storage could not be prepared.
    Left,
}

/// A title whose metadata is known.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) pieces: Pieces,
    pub(super) availability: Availability,
    pub(super) plan: Plan,
    pub(super) hashes: Hashes,
    pub(super) watches: Vec<Watch>,
    /// Proven blocks that Shoal peers were not told of.
    pub(super) fresh: Vec<BlockKey>,
    pub(super) suspects: Suspects,
    pub(super) copies: Copies,
    /// At a source: what foreign clients were shown.
    pub(super) veils: Veils,
    pub(super) share: Share,
    /// Pieces that are begun before others in bulk.
    pub(super) preferred: Range<u32>,
    /// Hash jobs so far: their numbers.
    pub(super) checks: u32,
    /// Everything wanted was here once: told, and not told again.
    pub(super) finished: bool,
    /// Something was stored since the last record.
    pub(super) unsaved: bool,
}

/// Moments at which a title acts by itself.
#[derive(Debug)]
pub(super) struct Timers {
    pub(super) choke: Instant,
    pub(super) optimistic: Instant,
    pub(super) sweep: Instant,
    pub(super) announce: Option<Instant>,
    pub(super) save: Option<Instant>,
    pub(super) audience: Option<Instant>,
    /// Peers wait for hashes that are computed in steps.
    pub(super) hashes: Option<Instant>,
    /// Room could not be given back to the disk: when it is tried again.
    pub(super) free: Option<Instant>,
}

/// One title.
#[derive(Debug)]
pub(crate) struct Swarm {
    pub(super) title: TitleId,
    pub(super) hashes: InfoHashes,
    pub(super) want: Want,
    pub(super) source: bool,
    /// It counts against the quota of the cache, and pieces of it may be given up.
    pub(super) cached: bool,
    /// Bytes that it left on the disk when it ended.
    pub(super) left_behind: u64,
    pub(super) info: Option<Arc<Info>>,
    pub(super) phase: Phase,
    pub(super) peers: Vec<Option<Box<Peer>>>,
    pub(super) known: Known,
    /// Who sent something and left lately.
    pub(super) contributors: VecDeque<Contributor>,
    /// Links of ours that are opening or shaking hands.
    pub(super) dialing: usize,
    /// Who wanted a link since the last look and found no room.
    pub(super) turned_away: usize,
    /// What was asked for and has not come.
    pub(super) ahead: Ahead,
    pub(super) timers: Timers,
    /// Requests wait for memory: peers are given work again when something was stored.
    pub(super) starved: bool,
    /// Downloading halts until then: the disk is full.
    pub(super) halted: Option<Instant>,
    pub(super) down: Meter,
    pub(super) up: Meter,
    /// Those whom our sources feed.
    pub(super) audience: Audience,
    /// Where we play, as our sources were told.
    pub(super) said: Option<Said>,
    /// Where peers were last told that we lie, where coordinates count.
    pub(super) told_place: Option<shoal_wire::peer::Coordinates>,
    /// At a source: who left and was not taken leave of.
    pub(super) departed: Vec<Member>,
    /// Scratch of the scheduler: who would deliver soonest, as of when.
    pub(super) fastest: super::fastest::Fastest,
    /// From the torrent file, until content can hold them.
    layers: Vec<(Hash32, Bytes)>,
    restored: ResumeRecord,
    /// Ranges of files that are wanted; none for all.
    pub(super) selected: Vec<(u32, u32)>,
    /// The file that is fetched before others.
    pub(super) preferred: Option<u32>,
    saving: bool,
}

impl Swarm {
    pub(super) fn new(turn: &mut Turn<'_>, hub: &mut Hub, setup: AddTitle) -> Self {
        let jitter = Duration::from_millis(turn.rng.below(1000));
        let mut swarm = Self {
            title: setup.title,
            hashes: setup.hashes,
            want: setup.want,
            source: setup.source,
            cached: setup.cached,
            left_behind: 0,
            info: None,
            phase: Phase::Metadata(Metadata::default()),
            peers: Vec::new(),
            known: Known::default(),
            contributors: VecDeque::new(),
            dialing: 0,
            turned_away: 0,
            ahead: Ahead::default(),
            timers: Timers {
                choke: turn.now + turn.config.swarm.choke_interval,
                optimistic: turn.now + turn.config.swarm.optimistic_interval,
                sweep: turn.now + SWEEP_INTERVAL + jitter,
                announce: None,
                save: None,
                audience: None,
                hashes: None,
                free: None,
            },
            starved: false,
            halted: None,
            down: Meter::default(),
            up: Meter::default(),
            audience: Audience::default(),
            said: None,
            told_place: None,
            departed: Vec::new(),
            fastest: super::fastest::Fastest::default(),
            layers: setup.piece_layers,
            restored: ResumeRecord {
                have: setup.have.clone().unwrap_or_default(),
                partial: setup.partial,
            },
            selected: Vec::new(),
            preferred: None,
            saving: false,
        };
        turn.note(Note::Joined {
            title: setup.title,
            hashes: setup.hashes,
            private: setup.info.as_ref().map(|info| info.private),
            trackers: setup.trackers,
            time_indexes: setup.time_indexes,
        });
        swarm.known.add(turn.now, Found::User, &setup.peers, &turn.config.swarm);
        if let Some(info) = setup.info {
            // With resume data at hand the world has prepared the storage before it added the title.
            if setup.have.is_some() {
                swarm.info = Some(info);
                let record = core::mem::take(&mut swarm.restored);
                swarm.begin(turn, hub, record);
            } else {
                swarm.prepare(turn, info);
            }
        }
        swarm
    }
    /// The metadata is known: storage next.
    pub(super) fn prepare(&mut self, turn: &mut Turn<'_>, info: Arc<Info>) {
        self.info = Some(Arc::clone(&info));
        self.phase = Phase::Preparing;
        turn.submit(
            Owner::Swarm(self.title, Task::Prepare),
            Job::Prepare { title: self.title, info },
        );
    }
    /// Storage is ready and holds `record`: the exchange begins.
    fn begin(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, record: ResumeRecord) {
        let Some(info) = self.info.clone() else { return };
        self.take_name(turn, hub, &info);
        let mut pieces = Pieces::new(Arc::clone(&info), Some(&record.have));
        let mut availability = Availability::new(info.layout.piece_count());
        for (index, bits) in &record.partial {
            if let Some(piece) = info.layout.piece(*index) {
                pieces.restore(piece, bits);
            }
        }
        for piece in 0..info.layout.piece_count() {
            if !pieces.is_missing(piece) {
                availability.unlist(piece);
            }
        }
        turn.counters(self.title).left = info.layout.data_total() - pieces.stored();
        let hashes = Hashes::new(&info, core::mem::take(&mut self.layers));
        let mut content = Box::new(Content {
            pieces,
            availability,
            plan: Plan::default(),
            hashes,
            watches: Vec::new(),
            fresh: Vec::new(),
            suspects: Suspects::default(),
            copies: Copies::default(),
            veils: Veils::default(),
            share: Share::default(),
            preferred: 0..0,
            checks: 0,
            finished: false,
            unsaved: false,
        });
        if !self.selected.is_empty() {
            content.select(&self.selected);
        }
        content.prefer(self.preferred);
        let finished = content.pieces.is_complete();
        let full = content.pieces.is_full();
        let length = content.pieces.wanted_bytes().0;
        content.finished = finished;
        self.phase = Phase::Ready(content);
        turn.note(Note::Ready { title: self.title, info: Arc::clone(&info) });
        turn.tell(Event::Ready { title: self.title, info });
        if full {
            turn.note(Note::Finished { title: self.title, fetched: false });
        }
        if finished {
            turn.tell(Event::Complete { title: self.title, length });
        }
        for slot in self.slots() {
            self.introduce_content(turn, hub, slot);
        }
        self.tell_playhead(turn, None);
    }
    /// The content, once it is known.
    pub(super) fn content(&self) -> Option<&Content> {
        match &self.phase {
            Phase::Ready(content) => Some(content),
            _ => None,
        }
    }
    pub(super) fn content_mut(&mut self) -> Option<&mut Content> {
        match &mut self.phase {
            Phase::Ready(content) => Some(content),
            _ => None,
        }
    }
    pub(super) fn peer(&self, slot: u16) -> Option<&Peer> {
        self.peers.get(usize::from(slot))?.as_deref()
    }
    pub(super) fn peer_mut(&mut self, slot: u16) -> Option<&mut Peer> {
        self.peers.get_mut(usize::from(slot))?.as_deref_mut()
    }
    /// A peer together with the content, both to be changed.
    pub(super) fn both(&mut self, slot: u16) -> Option<(&mut Peer, &mut Content)> {
        let Phase::Ready(content) = &mut self.phase else { return None };
        Some((self.peers.get_mut(usize::from(slot))?.as_deref_mut()?, content))
    }
    /// Occupied slots, ascending: bounded by `links_max`.
    pub(super) fn slots(&self) -> Vec<u16> {
        (0..self.peers.len() as u16).filter(|&slot| self.peer(slot).is_some()).collect()
    }
    pub(super) fn peer_count(&self) -> usize {
        self.peers.iter().flatten().count()
    }
    /// Nothing is to be fetched now.
    pub(super) fn is_complete(&self) -> bool {
        self.content().is_some_and(Content::is_sated)
    }
    /// Nothing will be fetched any more: of what is kept under a quota a reader may need any part at any time.
    pub(super) fn is_done(&self) -> bool {
        let lacks = |content: &Content| self.cached && !content.pieces.is_full();
        self.content().is_some_and(|content| content.is_sated() && !lacks(content))
    }
    /// Sends a message to the peer in `slot`.
    pub(super) fn send(&mut self, turn: &mut Turn<'_>, slot: u16, message: Message) {
        let now = turn.now;
        if let Some(peer) = self.peer_mut(slot) {
            peer.spoke = now;
            let link = peer.link;
            turn.counters(self.title).messages_out += 1;
            turn.effects.push(Effect::Send { link, message });
        }
    }
    /// A job of ours is done.
    pub(super) fn on_done(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        task: Task,
        outcome: Outcome,
    ) {
        // Only the last record is waited for after the end.
        if self.has_left() && !matches!(task, Task::Save { .. }) {
            return;
        }
        match (task, outcome) {
            (Task::CheckInfo { raw, author }, Outcome::Checked(good)) => {
                self.on_info_checked(turn, hub, &raw, author, good)
            }
            (Task::Prepare, Outcome::Prepared(record)) => self.begin(turn, hub, *record),
            (Task::Prepare, Outcome::Failed(failure)) => self.fail(turn, hub, failure.message),
            (Task::CheckBlock { key, check }, Outcome::Checked(good)) => {
                self.on_block_checked(turn, hub, (key, check), good)
            }
            (Task::CheckPiece { piece, check }, Outcome::Checked(good)) => {
                self.on_piece_checked(turn, hub, (piece, check), good)
            }
            (Task::Write { piece, first, count }, Outcome::Stored) => {
                self.on_stored(turn, hub, piece, first, count)
            }
            (Task::Write { piece, first, count }, outcome) => {
                self.on_write_failed(turn, piece, first, count, &failure_of(outcome));
            }
            (Task::ReadBack { piece, first, length }, outcome) => {
                self.on_read_back(turn, piece, first, length, outcome);
            }
            (Task::ReadUpload { link, run }, outcome) => {
                self.on_upload_read(turn, hub, link, &run, outcome)
            }
            (Task::ReadReader { reader, offset }, outcome) => {
                self.on_reader_read(turn, reader, offset, outcome)
            }
            (Task::Leaves { piece }, outcome) => self.on_leaves(turn, piece, outcome),
            (Task::Evict, outcome) => self.on_freed(turn, outcome),
            (Task::Save { last }, outcome) => {
                self.saving = self.saving && !last;
                if let Outcome::Failed(Failure { message, .. }) = outcome {
                    turn.tell(Event::Trouble { title: Some(self.title), message, fatal: false });
                }
            }
            // A hash or dictionary check that could not be done is asked for again by the sweep.
            (Task::CheckBlock { key, check }, _) => self.on_check_lost(key, check),
            (Task::CheckPiece { piece, check }, _) => self.on_piece_check_lost(piece, check),
            (Task::CheckInfo { .. }, _) => {
                if let Phase::Metadata(metadata) = &mut self.phase {
                    metadata.checking = false;
                }
            }
            (Task::Prepare, _) => {}
        }
    }
    /// Records what is stored.
    pub(super) fn save(&mut self, turn: &mut Turn<'_>, last: bool) {
        self.timers.save = None;
        let Some(content) = self.content_mut() else { return };
        if !content.unsaved && !last {
            return;
        }
        content.unsaved = false;
        let record =
            ResumeRecord { have: content.pieces.held().clone(), partial: content.pieces.partial() };
        self.saving |= last;
        turn.submit(
            Owner::Swarm(self.title, Task::Save { last }),
            Job::Save { title: self.title, record },
        );
    }
    /// Whether it is over.
    pub(super) fn has_left(&self) -> bool {
        matches!(self.phase, Phase::Left)
    }
    /// Nothing is left to save.
    pub(super) fn is_idle(&self) -> bool {
        !self.saving
    }
    /// The title cannot go on.
    pub(super) fn fail(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, message: String) {
        turn.tell(Event::Trouble { title: Some(self.title), message, fatal: true });
        self.leave(turn, hub);
    }
    /// Leaves the title: links closed, record saved, rooms told.
    pub(super) fn leave(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        if matches!(self.phase, Phase::Left) {
            return;
        }
        // Nothing new is asked for while links go one by one.
        self.halted = Some(turn.now + turn.config.swarm.disk_retry);
        for slot in self.slots() {
            self.disconnect(turn, hub, slot, CloseReason::Stopped);
        }
        self.dialing -= hub.close_dialed(turn, self.title, |_| true);
        self.flush_all(turn);
        self.save(turn, true);
        self.left_behind = self.content().map_or(0, |content| content.pieces.stored());
        self.phase = Phase::Left;
        turn.note(Note::Left { title: self.title });
    }
    pub(super) fn on_network_changed(&mut self, turn: &mut Turn<'_>) {
        self.known.retry_all(turn.now);
    }
    pub(super) fn deadline(&self) -> Option<Instant> {
        if matches!(self.phase, Phase::Left) {
            return None;
        }
        let timers = &self.timers;
        let own = timers.choke.min(timers.optimistic).min(timers.sweep);
        let hedge =
            self.content().and_then(|content| content.plan.next_hedge()).map(|entry| entry.0);
        let told = earlier(earlier(timers.announce, timers.audience), timers.hashes);
        let stored = earlier(timers.save, timers.free);
        earlier(earlier(Some(own), hedge), earlier(told, stored))
    }
    pub(super) fn on_wake(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        if matches!(self.phase, Phase::Left) {
            return;
        }
        let now = turn.now;
        if self.timers.announce.is_some_and(|at| at <= now) {
            self.announce_blocks(turn);
        }
        if self.timers.audience.is_some_and(|at| at <= now) {
            self.tell_audience(turn);
        }
        if self.timers.hashes.is_some_and(|at| at <= now) {
            self.step_hashes(turn);
        }
        self.hedge(turn);
        if self.timers.save.is_some_and(|at| at <= now) {
            self.save(turn, false);
        }
        if self.timers.free.is_some_and(|at| at <= now) {
            self.free_room(turn);
        }
        if self.timers.choke <= now {
            self.timers.choke = now + turn.config.swarm.choke_interval;
            let optimistic = self.timers.optimistic <= now;
            if optimistic {
                self.timers.optimistic = now + turn.config.swarm.optimistic_interval;
            }
            self.choke_round(turn, hub, optimistic);
        }
        if self.timers.optimistic <= now {
            self.timers.optimistic = self.timers.choke;
        }
        if self.timers.sweep <= now {
            self.timers.sweep = now + SWEEP_INTERVAL;
            self.sweep(turn, hub);
        }
    }
    /// The title as a person would want to see it.
    pub(super) fn view(&self, _now: Instant) -> TitleView {
        let content = self.content();
        let pieces = content.map(|content| &content.pieces);
        let count = pieces.map_or(0, |pieces| pieces.info.layout.piece_count());
        TitleView {
            title: self.title,
            ready: content.is_some(),
            have: pieces.map_or(0, Pieces::stored),
            length: pieces.map_or(0, |pieces| pieces.info.layout.data_total()),
            wanted: pieces.map_or(0, |pieces| pieces.wanted_bytes().0),
            wanted_have: pieces.map_or(0, |pieces| pieces.wanted_bytes().1),
            down_rate: self.down.rate(),
            up_rate: self.up.rate(),
            buffer_ms: 0,
            known_peers: self.known.waiting(),
            counters: Default::default(),
            pieces: pieces.map_or_else(Vec::new, |pieces| pieces.held().as_bytes().to_vec()),
            peers: self.peers.iter().flatten().map(|peer| peer_view(peer, count)).collect(),
            trackers: Vec::new(),
        }
    }
}

/// Whether trouble with a disk is worth another try.
pub(super) fn is_full(failure: &Failure) -> bool {
    failure.kind == FailureKind::DiskFull
}

fn peer_view(peer: &Peer, pieces: u32) -> PeerView {
    PeerView {
        link: peer.link,
        remote: peer.listen().unwrap_or_else(|| peer.remote()),
        client: peer.client.clone().into_owned(),
        have: peer.have_count(pieces),
        down_rate: peer.down.rate(),
        up_rate: peer.up.rate(),
        received: peer.down.total(),
        sent: peer.up.total(),
        requests: peer.asked.len() as u32,
        rtt_us: if peer.service.has_rtt() {
            u64::try_from(peer.service.rtt().as_micros()).unwrap_or(u64::MAX)
        } else {
            0
        },
        predicted_us: peer.rare().neighbour.map(|neighbour| neighbour.predicted_us()),
        choking_us: peer.chokes_us,
        choked: peer.choked,
        shoal: peer.is_shoal(),
        source: peer.is_source(),
    }
}

/// Pieces and the length of their blocks as maps keyed by piece: small, bounded.
pub(super) type ByPiece<T> = BTreeMap<u32, T>;
