//! One connected peer: what it said of itself, what it has, what is owed in both directions.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;
use core::num::NonZeroU16;
use core::time::Duration;

use shoal_wire::PeerId;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::peer::{BLOCK_LEN, ExtensionIds, ShoalHello};

use super::ahead::Zone;
use super::allowed::Grant;
use super::audience::Said;
use super::coordinates::Neighbour;
use super::parts::{Part, Parts};
use super::pieces::BlockKey;
use super::rate::{Meter, Service};
use super::reveal::Veil;
use super::upload::Uploads;
use crate::compact::Addr;
use crate::config::SwarmConfig;
use crate::config::limits::{
    CANCELLED_MAX, HURRY_SOONER, LARGE_NOISE, LOST_AFTER, RAW_HAVE_MAX, TURNED_DOWN_DOUBLINGS,
    TURNED_DOWN_FOR, UNASKED_HASHES_NOISE, WITHDRAWALS_PER_NOISE,
};
use crate::link::LinkId;
use crate::time::Instant;

/// Pieces that a peer has, as far as we know.
#[derive(Clone, Debug)]
pub(crate) enum Have {
    /// Said before we knew the title's geometry: kept until then.
    Raw(Box<Early>),
    /// Everything.
    All,
    /// These.
    Bits(Bitfield),
}

/// What a peer said to have before the title's geometry was known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Early {
    /// It sent have-all.
    pub(crate) all: bool,
    /// Its bitfield.
    pub(crate) bits: Option<Bytes>,
    /// Single announcements, bounded.
    pub(crate) single: Vec<u32>,
}

/// What few links need at a time: there are dozens of links for each title, and most are quiet.
#[derive(Debug, Default)]
pub(crate) struct Rare {
    /// Requests we asked to have back, at peers that answer every request (BEP 6): until the answer they still stand.
    pub(crate) withdrawn: VecDeque<Asked>,
    /// Requests we took back for good: a late answer is neither unsolicited nor a lie.
    pub(crate) cancelled: VecDeque<BlockKey>,
    /// What it may have while we choke it (BEP 6).
    pub(super) granted: Vec<Grant>,
    /// Pieces that it gives us while it chokes us (BEP 6).
    pub(super) allowed: Vec<u32>,
    /// Where it lies, if it says so and that counts.
    pub(super) neighbour: Option<Neighbour>,
}

impl Rare {
    fn is_empty(&self) -> bool {
        self.withdrawn.is_empty()
            && self.cancelled.is_empty()
            && self.granted.is_empty()
            && self.allowed.is_empty()
            && self.neighbour.is_none()
    }
}

/// Of a link that needs nothing of it.
static NOTHING: Rare = Rare {
    withdrawn: VecDeque::new(),
    cancelled: VecDeque::new(),
    granted: Vec::new(),
    allowed: Vec::new(),
    neighbour: None,
};

/// A request of ours that is not answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) key: BlockKey,
    pub(crate) length: u32,
    pub(crate) sent: Instant,
    pub(crate) expected: Instant,
    /// By when it was said to be needed.
    pub(crate) due: Option<Instant>,
    /// Whether nothing was owed when it was sent: then its answer shows the round trip.
    pub(crate) alone: bool,
    /// By when it was due then.
    pub(crate) zone: Zone,
}

/// What we hold against a peer. Each has a limit in `serve.rs`, where it is judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Record {
    /// Blocks it sent that nobody had asked for.
    pub(crate) unsolicited: u32,
    /// Requests it rejected although it had announced the piece and did not choke.
    pub(crate) rejected: u32,
    /// The same, but without a time by which they are needed, in a row since its last block.
    pub(crate) refusals: u32,
    /// Requests it left unanswered until somebody else was asked, since its last block.
    pub(crate) broken: u32,
    /// Requests above the limit, to pieces we do not have, or malformed.
    pub(crate) abusive: u32,
    /// Requests that fit into no piece of the title.
    pub(crate) malformed: u32,
    /// Messages that changed nothing, weighed by what they cost; some are forgiven each second.
    pub(crate) noise: u32,
    /// Pieces that it took back.
    pub(crate) withdrawals: u32,
    /// Hashes and pieces of the info dictionary that it asked for: whole answers to short questions.
    pub(crate) questions: u32,
}

impl Record {
    /// A message told nothing new.
    pub(crate) fn hear_noise(&mut self, weight: u32) {
        self.noise = self.noise.saturating_add(weight);
    }
}

/// What a peer has of one piece: for who looks at many blocks of it in a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holding<'a> {
    pub(crate) piece: u32,
    whole: bool,
    part: Option<Part<'a>>,
}

impl Holding<'_> {
    /// Whether it has anything of this piece.
    pub(crate) fn any(&self) -> bool {
        self.whole || self.part.is_some()
    }
    /// Whether it has a block of this piece.
    pub(crate) fn has(&self, block: u32) -> bool {
        self.whole || self.part.is_some_and(|bits| bits.get(block))
    }
}

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) link: LinkId,
    remote: Addr,
    /// The port at which it can be dialed, at its address; 0 while it is not known. Of a peer that we dialed it is not used.
    listen_port: u16,
    pub(crate) id: PeerId,
    pub(crate) fast: bool,
    pub(crate) extended: bool,
    /// Its first extension handshake came, or none is to come.
    pub(crate) greeted: bool,
    /// The link carries v2 messages (BEP 52).
    pub(crate) v2: bool,
    /// It would speak v2 if it were met under the title's v2 name.
    pub(crate) offers_v2: bool,
    /// Our questions for hashes that it has not answered, well or not.
    pub(crate) hashes_owed: u32,
    pub(crate) ids: ExtensionIds,
    /// The name that it gives itself.
    pub(crate) client: Cow<'static, str>,
    pub(crate) shoal: Option<ShoalHello>,
    /// Its id is of our kind: it is served like a Shoal peer before its extension handshake says so, which saves a round
    /// trip at the start.
    pub(crate) kin: bool,
    pub(crate) upload_only: bool,
    pub(crate) metadata_size: Option<u32>,
    /// Requests it accepts.
    pub(crate) queue_max: u32,
    pub(crate) have: Have,
    /// Blocks it announced in pieces it does not have whole.
    pub(crate) blocks: Parts,
    pub(crate) interested: bool,
    pub(crate) wants_us: bool,
    pub(crate) chokes_us: bool,
    pub(crate) choked: bool,
    pub(crate) optimistic: bool,
    pub(crate) snubbed: bool,
    pub(crate) asked: VecDeque<Asked>,
    pub(crate) asked_bytes: u64,
    /// How many of `asked`, the last ones, will be sent together at the end of the turn.
    pub(crate) unsent: u32,
    rare: Option<Box<Rare>>,
    /// When it last asked for something that it needs by a time.
    pub(crate) hurried: Option<Instant>,
    /// Where it plays, once it has said so.
    pub(crate) plays: Option<Said>,
    /// The others whom we feed have not heard of its `plays`.
    pub(crate) plays_untold: bool,
    /// It has not heard of the others.
    pub(crate) audience_untold: bool,
    /// Blocks of unfinished pieces were not announced to it: it had enough else to ask of us.
    pub(crate) untold: bool,
    /// Extra depth that an unmeasured peer has earned by answering.
    pub(crate) earned: u32,
    /// The piece it goes on with in bulk.
    pub(crate) current: Option<u32>,
    pub(crate) uploads: Uploads,
    /// At a source: what it sees of what we have; `None` when that is everything.
    pub(super) veil: Option<Box<Veil>>,
    pub(crate) down: Meter,
    pub(crate) up: Meter,
    pub(crate) service: Service,
    /// Film bytes sent to it, halved each choking round: the seed's memory of who was served.
    pub(crate) taken: u64,
    pub(crate) opened: Instant,
    pub(crate) heard: Instant,
    pub(crate) spoke: Instant,
    pub(crate) last_block: Option<Instant>,
    /// When a block was last given to it.
    pub(crate) fed: Option<Instant>,
    pub(crate) first_asked: Option<Instant>,
    /// It turned us down: until when it is asked for nothing that is needed by a time, and how often since its last block.
    busy: Option<(Instant, u32)>,
    /// Requests that it had taken when it turned us down, and one more for each block since: further ones would be turned down
    /// again, a round trip later.
    takes: u32,
    pub(crate) record: Record,
}

impl Peer {
    pub(crate) fn new(now: Instant, link: LinkId, remote: SocketAddr, id: PeerId) -> Self {
        Self {
            link,
            remote: remote.into(),
            listen_port: 0,
            id,
            fast: false,
            extended: false,
            greeted: false,
            v2: false,
            offers_v2: false,
            hashes_owed: 0,
            ids: ExtensionIds::default(),
            client: Cow::Borrowed(""),
            shoal: None,
            kin: id.0.starts_with(b"-SH"),
            upload_only: false,
            metadata_size: None,
            queue_max: 250,
            have: Have::Raw(Box::default()),
            blocks: Parts::default(),
            interested: false,
            wants_us: false,
            chokes_us: true,
            choked: true,
            optimistic: false,
            snubbed: false,
            asked: VecDeque::new(),
            asked_bytes: 0,
            unsent: 0,
            rare: None,
            hurried: None,
            plays: None,
            plays_untold: false,
            audience_untold: false,
            untold: false,
            earned: 0,
            current: None,
            uploads: Uploads::default(),
            veil: None,
            down: Meter::default(),
            up: Meter::default(),
            service: Service::new(now),
            taken: 0,
            opened: now,
            heard: now,
            spoke: now,
            last_block: None,
            fed: None,
            first_asked: None,
            busy: None,
            takes: u32::MAX,
            record: Record::default(),
        }
    }
    /// The other end of its link.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote.get()
    }
    /// Where it can be dialed, if known.
    pub(crate) fn listen(&self) -> Option<SocketAddr> {
        match self.link.is_dialed() {
            true => Some(self.remote()),
            false => (self.listen_port != 0)
                .then(|| SocketAddr::new(self.remote().ip(), self.listen_port)),
        }
    }
    /// It named the port at which it can be dialed. What it says later, or where we dialed it, does not count. Returns where it
    /// can be.
    pub(crate) fn hear_port(&mut self, port: NonZeroU16) -> SocketAddr {
        if self.listen_port == 0 {
            self.listen_port = port.get();
        }
        self.listen().unwrap_or_else(|| self.remote())
    }
    /// What few links need at a time.
    pub(crate) fn rare(&self) -> &Rare {
        self.rare.as_deref().unwrap_or(&NOTHING)
    }
    pub(super) fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }
    /// Requests we asked to have back.
    pub(crate) fn withdrawn(&self) -> &VecDeque<Asked> {
        &self.rare().withdrawn
    }
    /// Whether it shares by due time and fair queueing, not by slots.
    pub(crate) fn is_kin(&self) -> bool {
        self.kin || self.is_shoal()
    }
    pub(crate) fn is_shoal(&self) -> bool {
        self.shoal.is_some()
    }
    pub(crate) fn is_source(&self) -> bool {
        self.shoal.is_some_and(|hello| hello.source)
    }
    pub(crate) fn has_piece(&self, piece: u32) -> bool {
        match &self.have {
            Have::All => true,
            Have::Bits(bits) => bits.get(piece),
            Have::Raw { .. } => false,
        }
    }
    pub(crate) fn has_block(&self, key: BlockKey) -> bool {
        self.has_piece(key.piece())
            || self.blocks.get(key.piece()).is_some_and(|bits| bits.get(key.block()))
    }
    /// What it has of a piece.
    pub(crate) fn holding(&self, piece: u32) -> Holding<'_> {
        let whole = self.has_piece(piece);
        Holding { piece, whole, part: if whole { None } else { self.blocks.get(piece) } }
    }
    /// Whether it said that it has everything, in one word.
    pub(crate) fn has_all(&self) -> bool {
        matches!(self.have, Have::All) || matches!(&self.have, Have::Raw(early) if early.all)
    }
    pub(crate) fn is_seed(&self) -> bool {
        match &self.have {
            Have::All => true,
            Have::Bits(bits) => bits.is_full(),
            Have::Raw(early) => early.all,
        }
    }
    pub(crate) fn have_count(&self, pieces: u32) -> u32 {
        match &self.have {
            Have::All => pieces,
            Have::Bits(bits) => bits.ones(),
            Have::Raw { .. } => 0,
        }
    }
    /// Keeps an announcement that cannot be understood yet.
    pub(crate) fn keep_raw_have(&mut self, piece: u32) {
        if let Have::Raw(early) = &mut self.have {
            let has_room = early.single.len() < RAW_HAVE_MAX;
            if has_room {
                early.single.push(piece);
            }
            self.hear(has_room);
        }
    }
    /// Takes an announcement back that could not be understood yet. Of a peer that said to have all in one word it cannot be: its
    /// rejections will tell.
    pub(crate) fn lose_raw(&mut self, piece: u32) {
        let Have::Raw(early) = &mut self.have else { return };
        let Early { bits, single, .. } = &mut **early;
        let before = single.len();
        single.retain(|&other| other != piece);
        let mut had = single.len() < before;
        if let Some(bits) = bits {
            let mut field = bits.to_vec();
            if let Some(byte) = field.get_mut(piece as usize / 8) {
                let mask = 0x80 >> (piece % 8);
                had |= *byte & mask != 0;
                *byte &= !mask;
            }
            *bits = Bytes::from(field);
        }
        // A copy of its bitfield costs as much as its bytes.
        self.record.hear_noise(LARGE_NOISE / 10);
        self.hear(had);
    }
    /// A piece was taken back; `was_said` that it was there.
    pub(crate) fn hear_withdrawal(&mut self, was_said: bool) {
        self.record.withdrawals = self.record.withdrawals.wrapping_add(1);
        let is_free = was_said && !self.record.withdrawals.is_multiple_of(WITHDRAWALS_PER_NOISE);
        self.hear(is_free);
    }
    /// Notes a request that is about to be sent. Returns its predicted arrival.
    pub(crate) fn ask(
        &mut self,
        now: Instant,
        key: BlockKey,
        length: u32,
        due: Option<Instant>,
    ) -> Instant {
        let alone = self.asked.is_empty();
        let zone = Zone::of(now, due);
        self.first_asked.get_or_insert(now);
        let expected = self.service.on_ask(now, length, alone);
        self.asked.push_back(Asked { key, length, sent: now, expected, due, alone, zone });
        self.asked_bytes += u64::from(length);
        self.unsent += 1;
        expected
    }
    /// The requests whose blocks are needed a good deal sooner than they were said to be, with their new times.
    pub(crate) fn hurry(
        &mut self,
        due: impl Fn(BlockKey) -> Option<Instant>,
    ) -> Vec<(BlockKey, Instant)> {
        let mut urgent = Vec::new();
        for asked in &mut self.asked {
            let Some(due) = due(asked.key) else { continue };
            if asked.due.is_none_or(|said| said > due + HURRY_SOONER) {
                asked.due = Some(due);
                urgent.push((asked.key, due));
            }
        }
        urgent
    }
    /// Takes a request of ours off the list of the unanswered. Answers come nearly in order, so this looks at few.
    pub(crate) fn unask(&mut self, key: BlockKey) -> Option<Asked> {
        let index = self.asked.iter().position(|asked| asked.key == key)?;
        let asked = self.asked.remove(index)?;
        self.asked_bytes -= u64::from(asked.length);
        // It was one of the last.
        self.unsent -= u32::from(index + self.unsent as usize > self.asked.len());
        Some(asked)
    }
    /// A bare fact was said: noise when it was known.
    pub(crate) fn hear(&mut self, is_new: bool) {
        self.record.hear_noise(u32::from(!is_new));
    }
    /// Hashes came, or a refusal of them: those that nobody asked for take long to prove, and weigh so much as noise.
    pub(crate) fn hear_hashes(&mut self) {
        match self.hashes_owed.checked_sub(1) {
            Some(left) => self.hashes_owed = left,
            None => self.record.hear_noise(UNASKED_HASHES_NOISE),
        }
    }
    /// Turns a request into one that we would rather not have answered. False when it must be taken back for good instead.
    pub(crate) fn withdraw(&mut self, now: Instant, key: BlockKey) -> bool {
        if !self.fast || self.withdrawn().len() >= CANCELLED_MAX {
            return false;
        }
        let Some(asked) = self.unask(key) else { return false };
        self.service.on_release(now, self.asked_bytes);
        self.rare_mut().withdrawn.push_back(Asked { sent: now, ..asked });
        true
    }
    /// Forgets a withdrawn request: it was answered, or never will be.
    pub(crate) fn settle(&mut self, key: BlockKey) -> Option<Asked> {
        let index = self.withdrawn().iter().position(|asked| asked.key == key)?;
        self.rare_mut().withdrawn.remove(index)
    }
    /// How long ago it was asked for its first block.
    pub(crate) fn owed_for(&self, now: Instant) -> Duration {
        self.first_asked.map_or(Duration::ZERO, |since| now.since(since))
    }
    /// It has no room for a request that we need by a time, which is still among those it was asked. Requests that were turned down
    /// together count once.
    pub(crate) fn turn_away(&mut self, now: Instant) {
        self.takes = self.asked.len().saturating_sub(1) as u32;
        if !self.is_busy(now) {
            let times = self.busy.map_or(0, |(_, times)| times);
            let pause = TURNED_DOWN_FOR * (1 << times.min(TURNED_DOWN_DOUBLINGS));
            self.busy = Some((now + pause, times + 1));
        }
    }
    /// A block came that it was asked for.
    pub(crate) fn make_room(&mut self) {
        self.busy = None;
        self.takes = self.takes.saturating_add(1);
    }
    /// Whether it turned us down a moment ago.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.busy.is_some_and(|(until, _)| until > now)
    }
    /// Whether it has time for a request that is needed by a time: it did not turn us down a moment ago, and has fewer of ours than it
    /// took then. One it may always have.
    pub(crate) fn has_time(&self, now: Instant) -> bool {
        !self.is_busy(now) && self.asked.len() < self.takes.max(1) as usize
    }
    /// Whether it fell silent where it should not: it owes us blocks, or does not ask for more after those that it was given.
    pub(crate) fn is_lost(&self, now: Instant) -> bool {
        let waits = !self.asked.is_empty()
            || self.uploads.len() > 0
            || self.fed.is_some_and(|fed| fed >= self.heard);
        waits && now.since(self.heard) >= LOST_AFTER
    }
    /// Lists that are empty give back what a burst took: there is a set of them for each link. Once a second.
    pub(crate) fn give_back(&mut self) {
        if self.asked.is_empty() {
            self.asked = VecDeque::new();
        }
        if self.rare.as_ref().is_some_and(|rare| rare.is_empty()) {
            self.rare = None;
        }
        self.uploads.give_back();
    }
    /// Whether it serves us and kept its promises of late.
    pub(crate) fn is_reliable(&self) -> bool {
        !self.chokes_us && !self.snubbed
    }
    /// Whether the block may still come from this peer.
    pub(crate) fn owes(&self, key: BlockKey) -> bool {
        self.asked.iter().chain(self.withdrawn()).any(|asked| asked.key == key)
    }
    /// Remembers that `key` was taken back.
    pub(crate) fn remember_cancelled(&mut self, key: BlockKey) {
        let cancelled = &mut self.rare_mut().cancelled;
        if cancelled.len() >= CANCELLED_MAX {
            cancelled.pop_front();
        }
        cancelled.push_back(key);
    }
    /// Whether `key` was taken back; forgets it.
    pub(crate) fn was_cancelled(&mut self, key: BlockKey) -> bool {
        let known = self.rare().cancelled.iter().position(|entry| *entry == key);
        known.is_some_and(|index| self.rare_mut().cancelled.remove(index).is_some())
    }
    /// Requests that may be outstanding for blocks that are due soon: one and a half bandwidth-delay products and one more
    /// block in the making.
    pub(crate) fn shallow_depth(&self, start: u32) -> u32 {
        if self.snubbed {
            return 1;
        }
        if !self.service.is_measured() {
            return (start + self.earned).min(16);
        }
        let product = crate::time::bytes_in(self.service.rtt() * 3 / 2, self.service.rate());
        u32::try_from(product / u64::from(BLOCK_LEN)).unwrap_or(u32::MAX).saturating_add(2)
    }
    /// Requests that may be outstanding in bulk: what it delivers in a round trip and the configured time.
    pub(crate) fn bulk_depth(&self, config: &SwarmConfig) -> u32 {
        let start = config.requests_out_start;
        if self.snubbed {
            return 1;
        }
        if !self.service.is_measured() {
            return start + self.earned;
        }
        let span = self.service.rtt() + config.queue_time;
        let blocks = crate::time::bytes_in(span, self.service.rate()) / u64::from(BLOCK_LEN);
        u32::try_from(blocks).unwrap_or(u32::MAX).max(config.requests_out_min)
    }
}
