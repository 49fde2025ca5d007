//! One copy from the source. What a swarm loses when its source sends the same block to several leechers while others wait is
//! half of the source's uplink; here is what keeps it from that.
//!
//! **At the source**: a block that went to a live peer, or waits for one, is not given to a second one, but where it is due
//! at once, or soon by who plays nothing yet or stands still, until it was announced or should have been. Who asks for it is turned down
//! explicitly. What others announced is given as a repeat: after everything else, and turned down while that waits. So it is
//! never idle. And however much is needed at once, half of what it gives is what nobody has, while that is asked for.
//! **At who asks**: a source is asked for what is due in a [`LAST_MOMENT`] while a playhead moves, else for what nobody else has
//! and the audience (`audience.rs`) leaves to us. What it turned down is not asked of it again for a while.
//!
//! The order of what is given stands in `upload.rs`.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::peer::{BLOCK_LEN, Extended, Member, Message, ShoalMessage, Stretch};

use super::Hub;
use super::audience::{Said, short_id};
use super::audit::equal;
use super::availability::Availability;
use super::parts::Part;
use super::peer::Peer;
use super::pieces::BlockKey;
use super::title::{Content, Swarm};
use super::watch::Watch;
use crate::config::SwarmConfig;
use crate::config::limits::SOURCE_QUICK;
use crate::link::LinkId;
use crate::time::Instant;
use crate::turn::{Turn, Window};

/// A block that is due within this time is asked of a source although others have it. Readers are given half of what their
/// player has ahead as slack, so with a second instead all of them asked all the time: four viewers took two copies.
const LAST_MOMENT: Duration = Duration::from_millis(100);
/// A viewer whose film here is shorter than this asks sources sooner, twice as much each second up to so much;
const THIN: Duration = Duration::from_millis(1500);
const EARLY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(3));
/// one who has more than this asks later again.
const THICK: Duration = Duration::from_secs(5);
/// A request that is due within this time is answered by a source although others have the block.
pub(super) const URGENT: Duration = Duration::from_secs(1);
/// What is due within this time cannot wait until a piece is whole at who only fetches, and is given again to who plays nothing yet or stands
/// still while the source is not hard pressed.
const SOON: Duration = Duration::from_secs(3);
/// Who has waited this long for its first frame may ask like one that plays.
const START_PATIENCE: Duration = Duration::from_secs(2);
/// Before it, a source that has nothing better to do helps with what is due within this time.
const START_NEED: Duration = Duration::from_millis(1500);
/// A block that was given should be announced within this time, on top of the delay of announcements.
const ANNOUNCED_AFTER: Duration = Duration::from_millis(1500);
/// In bulk pieces are announced when they are whole: what was given counts for this long.
const ANNOUNCED_AFTER_BULK: Duration = Duration::from_secs(10);
/// A source whose leechers asked for what nobody has this lately has better to do than to repeat itself.
const FRESH_KEPT: Duration = Duration::from_millis(25);
/// So many repeats may be given in a row while something waits that nobody has; each block that goes out for the first time makes
/// room for one more.
const REPEATS_MAX: u32 = 8;
/// What a source turned down is not asked of it again for this long.
const BARRED_FOR: Duration = Duration::from_secs(1);
/// What is not needed within [`FAR`] is not asked of it again for this long.
const BARRED_FAR: Duration = Duration::from_secs(15);
/// What is due later than this has time to come from those who have it: who watches is turned down, and asks again then.
const FAR: Duration = Duration::from_secs(10);
/// A block that is due within this time should have spread among those who need it.
const SPREADS_WITHIN: Duration = Duration::from_secs(8);
/// It has not, while no more than this many peers of ours have it
const FEW: u32 = 2;
/// and more than this many need it: then the first of them may ask a source, one more each time that they are twice as many.
const MANY: u32 = 8;
/// When it is due within this time
const SPREADS_AT_LAST: Duration = Duration::from_secs(4);
/// and no more than this many have it
const FEW_AT_LAST: u32 = 6;
/// the first one in this many may ask.
const FRONT_PART: u32 = 5;
/// Who asks again within this time for what others have knows none of them.
const REFUSED_KEPT: Duration = Duration::from_secs(10);
/// So many refusals are remembered at most.
const REFUSED_MAX: usize = 4096;
/// Changes of an audience are gathered for this long.
const AUDIENCE_DELAY: Duration = Duration::from_millis(100);
/// Windows that lie no further apart than this are one stretch, bytes.
const GAP_MAX: u64 = 64 * BLOCK_LEN as u64;

/// Where blocks of the film are besides here.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// How many peers announced a block of a piece which they do not have whole; sources are not counted.
    holders: BTreeMap<u32, Holders>,
    /// Peers that have everything and are no sources.
    seeds: u16,
    /// At a source: blocks that wait for a peer or went to one.
    given: BTreeMap<BlockKey, Given>,
    /// At a source: how many of `given` wait, without and with a time.
    waiting: [u32; 2],
    /// At a source: repeats that may be given while something waits that nobody has. At most [`REPEATS_MAX`].
    repeats: u32,
    /// At a source: when a block that nobody had was last asked for in bulk.
    fresh: Option<Instant>,
    /// At a source: who was sent to others for a block, until when that is remembered.
    refused: BTreeMap<(BlockKey, LinkId), Instant>,
    /// Elsewhere: how much sooner than in the last moment sources are asked.
    early: Duration,
    /// Elsewhere: what sources turned down.
    barred: BTreeMap<BlockKey, Bar>,
}

/// How many peers announced each block of a piece, up to the last that anybody did, and all of that together.
#[derive(Debug, Default)]
struct Holders {
    blocks: Vec<u16>,
    all: u32,
}

/// A block that a source gives.
#[derive(Clone, Copy, Debug)]
struct Given {
    link: LinkId,
    /// Until when it counts as sent; `None` while it waits.
    until: Option<Instant>,
    /// It was asked for by a time.
    timed: bool,
}

/// A block that a source turned down.
#[derive(Clone, Copy, Debug)]
struct Bar {
    /// It is not asked of sources until then.
    until: Instant,
    /// But it is once it is due within [`FAR`].
    far: bool,
}

impl Copies {
    /// A peer that is no source announced a block.
    pub(super) fn announced(&mut self, key: BlockKey) {
        let holders = self.holders.entry(key.piece()).or_default();
        let block = key.block() as usize;
        if block >= holders.blocks.len() {
            holders.blocks.reserve_exact((block + 1).next_multiple_of(16) - holders.blocks.len());
            holders.blocks.resize(block + 1, 0);
        }
        holders.blocks[block] += 1;
        holders.all += 1;
    }
    /// A peer no longer counts as a holder of single blocks of a piece.
    pub(super) fn withdrawn(&mut self, piece: u32, bits: Part<'_>) {
        for block in bits.iter() {
            self.lost(BlockKey::new(piece, block));
        }
    }
    /// A peer does not have a block after all.
    pub(super) fn lost(&mut self, key: BlockKey) {
        let Some(holders) = self.holders.get_mut(&key.piece()) else { return };
        let count = holders.blocks.get_mut(key.block() as usize).filter(|count| **count > 0);
        let Some(count) = count else { return };
        *count -= 1;
        holders.all -= 1;
        if holders.all == 0 {
            self.holders.remove(&key.piece());
        }
    }
    /// Whether a peer that is no source announced the block.
    pub(super) fn is_elsewhere(&self, key: BlockKey, pieces: &Availability) -> bool {
        self.seeds > 0 || pieces.count(key.piece()) > 0 || self.announced_by(key) > 0
    }
    /// How many peers that are no sources announced the block alone.
    fn announced_by(&self, key: BlockKey) -> u16 {
        let holders = self.holders.get(&key.piece());
        holders.and_then(|holders| holders.blocks.get(key.block() as usize)).copied().unwrap_or(0)
    }
    /// How many peers that are no sources are known to have the block.
    pub(super) fn count(&self, key: BlockKey, pieces: &Availability) -> u32 {
        let single = self.announced_by(key);
        u32::from(pieces.count(key.piece())) + u32::from(self.seeds) + u32::from(single)
    }
    /// Whether a source turned the block down, and it is not time to ask again.
    fn is_barred(&self, key: BlockKey, now: Instant, due: Option<Instant>) -> bool {
        let is_far = due.is_none_or(|due| due > now + FAR);
        self.barred.get(&key).is_some_and(|bar| bar.until > now && (is_far || !bar.far))
    }
    /// Whether a source turned down a block of the piece just now.
    pub(super) fn is_piece_barred(&self, piece: u32, now: Instant) -> bool {
        let blocks = BlockKey::new(piece, 0)..BlockKey::new(piece + 1, 0);
        self.barred.range(blocks).any(|(_, bar)| bar.until > now)
    }
    /// Whether peers have everything that are no sources.
    pub(super) fn has_seeds(&self) -> bool {
        self.seeds > 0
    }
    /// Whether the block waits for another peer than `link` or went to it lately. In bulk a piece belongs to whoever began
    /// it: halves of it at two peers would be announced by neither.
    pub(super) fn is_under_way(
        &self,
        key: BlockKey,
        link: LinkId,
        now: Instant,
        bulk: bool,
    ) -> bool {
        let (from, until) = if bulk {
            (BlockKey::new(key.piece(), 0), BlockKey::new(key.piece() + 1, 0))
        } else {
            (key, BlockKey::new(key.piece(), key.block() + 1))
        };
        let counts = |given: &Given| given.until.is_none_or(|until| until > now);
        self.given.range(from..until).any(|(_, given)| given.link != link && counts(given))
    }
    /// Whether a block went to somebody who only fetches, or waits for him.
    fn is_in_bulk(&self, key: BlockKey) -> bool {
        self.given.get(&key).is_some_and(|given| !given.timed)
    }
    /// Sends a peer to others for a block. Whether it comes from there: then it was in vain.
    fn is_in_vain(&mut self, key: BlockKey, link: LinkId, now: Instant) -> bool {
        if self.refused.get(&(key, link)).is_some_and(|until| *until > now) {
            return true;
        }
        if self.refused.len() < REFUSED_MAX {
            self.refused.insert((key, link), now + REFUSED_KEPT);
        }
        false
    }
    /// Notes that a block was asked of this source.
    fn reserve(&mut self, key: BlockKey, link: LinkId, timed: bool) {
        if let Some(old) = self.given.insert(key, Given { link, until: None, timed })
            && old.until.is_none()
        {
            self.waiting[usize::from(old.timed)] -= 1;
        }
        self.waiting[usize::from(timed)] += 1;
    }
    /// The block leaves for `link`, and counts as sent for a while.
    pub(super) fn sent(&mut self, key: BlockKey, link: LinkId, until: Instant) {
        match self.given.get_mut(&key) {
            Some(given) if given.link == link => {
                self.waiting[usize::from(given.timed)] -= u32::from(given.until.is_none());
                given.until = Some(until);
                self.repeats = (self.repeats + 1).min(REPEATS_MAX);
            }
            _ => {}
        }
    }
    /// The request of `link` is over without an answer.
    pub(super) fn dropped(&mut self, key: BlockKey, link: LinkId) {
        if let Some(given) = self.given.get(&key)
            && given.link == link
            && given.until.is_none()
        {
            self.waiting[usize::from(given.timed)] -= 1;
            self.given.remove(&key);
        }
    }
    /// Nothing that went to `link` will be announced. O(blocks given lately).
    pub(super) fn gone(&mut self, link: LinkId) {
        let waiting = &mut self.waiting;
        self.given.retain(|_, given| {
            let goes = given.link == link;
            waiting[usize::from(given.timed)] -= u32::from(goes && given.until.is_none());
            !goes
        });
    }
    /// Asks sources sooner while the film here is short, later while it is long: once a second, with what there is ahead of a
    /// playhead that moves.
    pub(super) fn adapt(&mut self, ahead: Option<Duration>) {
        let Some(ahead) = ahead else { return };
        if ahead < THIN {
            self.early = (self.early * 2).clamp(EARLY.0, EARLY.1);
        } else if ahead > THICK {
            self.early = if self.early > EARLY.0 { self.early / 2 } else { Duration::ZERO };
        }
    }
    /// Forgets what no longer matters. O(blocks given, barred or refused lately), once a second.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.given.retain(|_, given| given.until.is_none_or(|until| until > now));
        self.barred.retain(|_, bar| bar.until > now);
        self.refused.retain(|_, until| *until > now);
    }
    /// Announcements against what peers are known to hold, and what waits against their queues.
    pub(super) fn audit<'a>(&self, peers: impl Iterator<Item = &'a Peer>) -> Result<(), String> {
        let waits = |given: &&Given| given.until.is_none();
        let waiting = self.given.values().filter(waits).count() as u64;
        let kept: u32 = self.waiting.iter().sum();
        equal("blocks that wait at a source", u64::from(kept), waiting)?;
        let (mut announced, mut queued) = (0, 0);
        for peer in peers {
            if !peer.is_source() {
                announced +=
                    peer.blocks.iter().map(|(_, bits)| u64::from(bits.ones())).sum::<u64>();
            }
            let reserved = |key: &BlockKey| {
                self.given.get(key).filter(waits).is_some_and(|given| given.link == peer.link)
            };
            queued += peer.uploads.keys().filter(reserved).count() as u64;
        }
        let holders = self.holders.values().map(|holders| u64::from(holders.all)).sum();
        let counts = self.holders.values().flat_map(|holders| &holders.blocks);
        equal("holders of blocks", holders, counts.map(|&count| u64::from(count)).sum())?;
        equal("announced blocks", holders, announced)?;
        equal("waiting blocks that are in a queue", waiting, queued)
    }
}

/// What this source does with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It is the block's way into the swarm, or needed at once.
    Give,
    /// Others have it: after everything else.
    Repeat,
    /// Others have it or will have it in a moment, and the asker can ask them.
    TurnDown,
}

impl Swarm {
    /// What to do with the request of a peer for a block that we hold.
    pub(super) fn verdict(
        &mut self,
        turn: &Turn<'_>,
        hub: &Hub,
        slot: u16,
        key: BlockKey,
        due: Option<Instant>,
    ) -> Verdict {
        if !self.source || !turn.config.swarm.source_rule {
            return Verdict::Give;
        }
        let now = turn.now;
        let Some((peer, content)) = self.both(slot) else { return Verdict::Give };
        // A foreign client takes a rejection for a fault; it is given its repeat when nothing else is to be given.
        let can_wait = peer.is_shoal();
        let link = peer.link;
        let copies = &mut content.copies;
        let timed = due.is_some();
        let elsewhere = copies.is_elsewhere(key, &content.availability);
        let under_way = !elsewhere && copies.is_under_way(key, link, now, !timed);
        if !elsewhere && !under_way {
            copies.reserve(key, link, timed);
            if !timed {
                copies.fresh = Some(now);
            }
            return Verdict::Give;
        }
        let is_due = |within| due.is_some_and(|due| due <= now + within);
        let [bulk, by_time] = copies.waiting;
        // A part of the uplink stays for what is new: else who play furthest on would soon stand still, and with them all.
        if can_wait && timed && by_time > 0 && copies.repeats == 0 {
            return Verdict::TurnDown;
        }
        let watch = peer.plays.map(|said| said.stretch).filter(|it| it.from != it.until);
        // Who waits for its first frame or stands still goes before what has time, never seen or not.
        let starts = watch.is_some_and(|stretch| stretch.pace == 0);
        let helps_start = starts && is_due(SOON) && !hub.uplink.is_hard_pressed();
        if can_wait && !is_due(URGENT) && !helps_start {
            // Who only fetches announces whole pieces: who watches cannot wait for that.
            let waits_long = is_due(SOON) && copies.is_in_bulk(key);
            // Who watches has time to get from others what they have and he needs later.
            let has_time = elsewhere && watch.is_some() && !is_due(FAR);
            if (under_way && !waits_long) || has_time {
                return Verdict::TurnDown;
            }
            // Between two requests for what nobody has an uplink that is given to repeats is not there for the second.
            let is_fresh = copies.fresh.is_some_and(|at| now.since(at) < FRESH_KEPT);
            let is_busy =
                (by_time > 0 && hub.uplink.is_loaded()) || (!timed && (bulk > 0 || is_fresh));
            if elsewhere && is_busy && !(timed && copies.is_in_vain(key, link, now)) {
                return Verdict::TurnDown;
            }
        }
        if !timed {
            return Verdict::Repeat;
        }
        copies.repeats = copies.repeats.saturating_sub(1);
        Verdict::Give
    }
    /// Until when a block that leaves now counts as sent.
    pub(super) fn announced_by(
        now: Instant,
        config: &SwarmConfig,
        due: Option<Instant>,
    ) -> Instant {
        match due {
            Some(_) => now + config.announce_delay + ANNOUNCED_AFTER,
            None => now + config.announce_delay_bulk + ANNOUNCED_AFTER_BULK,
        }
    }
    /// How many peers have everything and are no sources: after one came, went, or said what it is. O(peers).
    pub(super) fn count_seeds(&mut self) {
        let seeds = self.peers.iter().flatten();
        let seeds = seeds.filter(|peer| peer.has_all() && !peer.is_source()).count();
        if let Some(content) = self.content_mut() {
            content.copies.seeds = u16::try_from(seeds).unwrap_or(u16::MAX);
        }
    }
    /// A source turned a block down.
    pub(super) fn on_turned_down(&mut self, turn: &mut Turn<'_>, slot: u16, key: BlockKey) {
        let now = turn.now;
        if let Some(content) = self.content_mut() {
            let due = content.plan.due(key);
            let far = content.plan.is_live() && due.is_none_or(|due| due > now + FAR);
            let until = now + if far { BARRED_FAR } else { BARRED_FOR };
            content.copies.barred.insert(key, Bar { until, far });
        }
        self.release(turn, slot, key);
        self.leave_alone(turn, slot, None);
        self.fill_holders(turn, slot, key);
        self.fill(turn, slot);
    }
    /// Tells a peer where we play, or all (`None`), unless they can tell by themselves: a source tells others, everybody sees
    /// who will have what it needs next.
    pub(super) fn tell_playhead(&mut self, turn: &mut Turn<'_>, to: Option<u16>) {
        let now = turn.now;
        let Some(content) = self.content() else { return };
        let layout = &content.pieces.info.layout;
        let stretch = stretch_of(content.plan.windows(), &content.watches, layout);
        let is_news = self.said.is_none_or(|said| said.is_stale(now, &stretch));
        let peers: Vec<u16> = (0u16..)
            .zip(&self.peers)
            .filter_map(|(slot, peer)| Some((slot, peer.as_deref()?)))
            .filter(|(slot, peer)| peer.ids.shoal != 0 && (is_news || to == Some(*slot)))
            .map(|(slot, _)| slot)
            .collect();
        if is_news {
            self.said = Some(Said { stretch, at: now });
            let member = Member { id: short_id(&turn.peer_id), stretch: Some(stretch) };
            self.audience.take(now, &member);
        }
        for slot in peers {
            let message = Extended::Shoal(ShoalMessage::Playhead(stretch));
            self.send(turn, slot, Message::Extended(message.into()));
        }
    }
    /// A peer tells where it plays: those whom we feed as a source will hear of it.
    pub(super) fn on_playhead(&mut self, turn: &Turn<'_>, slot: u16, stretch: Stretch) {
        let is_source = self.source;
        let Some(peer) = self.peer_mut(slot) else { return };
        let is_new = peer.plays.is_none();
        peer.plays = Some(Said { stretch, at: turn.now });
        if !is_source {
            return;
        }
        peer.plays_untold = true;
        if is_new {
            peer.audience_untold = true;
        }
        self.timers.audience.get_or_insert(turn.now + AUDIENCE_DELAY);
    }
    /// Somebody of our audience is gone.
    pub(super) fn leave_audience(&mut self, turn: &Turn<'_>, id: u64) {
        self.departed.push(Member { id, stretch: None });
        self.timers.audience.get_or_insert(turn.now + AUDIENCE_DELAY);
    }
    /// Tells our audience of itself: newcomers everything, others what changed. O(peers²) for as many newcomers as peers.
    pub(super) fn tell_audience(&mut self, turn: &mut Turn<'_>) {
        self.timers.audience = None;
        let now = turn.now;
        let all: Vec<(bool, Member)> = self
            .peers
            .iter()
            .flatten()
            .filter_map(|peer| {
                let stretch = Some(peer.plays?.now(now));
                Some((peer.plays_untold, Member { id: short_id(&peer.id), stretch }))
            })
            .collect();
        let departed = core::mem::take(&mut self.departed);
        let changed = all.iter().filter(|(untold, _)| *untold).map(|(_, member)| *member);
        let changed: Vec<Member> = changed.chain(departed).collect();
        let all: Vec<Member> = all.into_iter().map(|(_, member)| member).collect();
        for slot in self.slots() {
            let Some(peer) = self.peer_mut(slot).filter(|peer| peer.plays.is_some()) else {
                continue;
            };
            peer.plays_untold = false;
            let is_new = core::mem::take(&mut peer.audience_untold);
            let me = short_id(&peer.id);
            let mut members = if is_new { all.clone() } else { changed.clone() };
            members.retain(|member| member.id != me);
            if !members.is_empty() {
                let message = Extended::Shoal(ShoalMessage::Audience(members));
                self.send(turn, slot, Message::Extended(message.into()));
            }
        }
    }
    pub(super) fn on_audience(&mut self, turn: &Turn<'_>, slot: u16, members: &[Member]) {
        if !self.peer(slot).is_some_and(Peer::is_source) {
            return;
        }
        let me = short_id(&turn.peer_id);
        for member in members.iter().filter(|member| member.id != me) {
            self.audience.take(turn.now, member);
        }
    }
}

/// What a node may ask of a source at a moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate<'a> {
    pub(super) now: Instant,
    pub(super) me: u64,
    pub(super) audience: &'a super::audience::Audience,
    /// Whether the rule is in force.
    pub(super) on: bool,
}

impl Gate<'_> {
    /// Whether a block in a window may be asked of a source.
    pub(super) fn admits_due(
        &self,
        content: &Content,
        source: &Peer,
        key: BlockKey,
        due: Instant,
    ) -> bool {
        if !self.on {
            return true;
        }
        let now = self.now;
        if content.copies.is_barred(key, now, Some(due)) {
            return false;
        }
        if is_alone(content, key) {
            return true;
        }
        let elsewhere = content.copies.is_elsewhere(key, &content.availability);
        if content.plan.is_playing() {
            let answer = source.service.quiet_answer(BLOCK_LEN);
            // One that is busy has nothing to give sooner.
            let is_quick =
                source.service.arrival(now, BLOCK_LEN) <= now + SOURCE_QUICK + source.service.rtt();
            let early = if is_quick { content.copies.early } else { Duration::ZERO };
            due <= now + answer + LAST_MOMENT + early
                || (!elsewhere && self.is_ours(content, key) && !self.can_wait(content, key, due))
                || (elsewhere && self.spreads_slowly(content, key, due))
        } else {
            // Before the first frame a source that has nothing better to do may help.
            (elsewhere && due <= now + START_NEED)
                || due + START_PATIENCE <= now
                || self.is_ours(content, key)
        }
    }
    /// Whether a block outside all windows may be asked of a source.
    pub(super) fn admits_rest(&self, content: &Content, key: BlockKey) -> bool {
        if !self.on {
            return true;
        }
        if content.copies.is_barred(key, self.now, None) {
            return false;
        }
        // Who only fetches asks for anything: the source knows better what went out, and what it can spare.
        !content.plan.is_live()
            || is_alone(content, key)
            || (!content.copies.is_elsewhere(key, &content.availability)
                && self.is_ours(content, key))
    }
    /// Whether few have a block that many will need soon, and we are one of those who need it first.
    fn spreads_slowly(&self, content: &Content, key: BlockKey, due: Instant) -> bool {
        let now = self.now;
        let holders = content.copies.count(key, &content.availability);
        if due > now + SPREADS_WITHIN || holders > FEW_AT_LAST {
            return false;
        }
        let Some((all, sooner)) = self.audience.order(now, number(content, key), self.me, MANY)
        else {
            return false;
        };
        (holders <= FEW && sooner <= (all / MANY).ilog2())
            || (due <= now + SPREADS_AT_LAST && sooner <= all / FRONT_PART)
    }
    /// Whether what nobody else has is better asked for later: while something is missing here that is needed soon it would come instead
    /// of that. Not where many need it: in a crowd all miss something, and each block goes through the one to whom it is left.
    fn can_wait(&self, content: &Content, key: BlockKey, due: Instant) -> bool {
        let is_thin =
            || content.plan.earliest_missing().is_some_and(|first| first <= self.now + SOON);
        due > self.now + FAR
            && is_thin()
            && self.audience.order(self.now, number(content, key), self.me, MANY).is_none()
    }
    fn is_ours(&self, content: &Content, key: BlockKey) -> bool {
        self.audience.is_first(self.now, number(content, key), key.piece(), self.me)
    }
}

/// The number of a block, counted from the start of the title.
fn number(content: &Content, key: BlockKey) -> u32 {
    let per_piece = content.pieces.info.layout.blocks_per_piece();
    key.piece().saturating_mul(per_piece).saturating_add(key.block())
}

/// Whether one peer must bring all of the piece: then it may not be left half done.
fn is_alone(content: &Content, key: BlockKey) -> bool {
    content.pieces.active(key.piece()).is_some_and(|active| active.alone)
}

/// How a block's due time is told to a source: while nothing plays it is not urgent until it was waited for.
pub(super) fn due_for_source(content: &Content, now: Instant, due: Instant) -> Instant {
    if content.plan.is_playing() || due + START_PATIENCE <= now {
        due
    } else {
        due.max(now + START_PATIENCE)
    }
}

/// The stretch of the title in which most of what is needed lies, from the player on.
fn stretch_of(
    windows: &[Window],
    watches: &[Watch],
    layout: &shoal_wire::metainfo::Layout,
) -> Stretch {
    let Some(main) = windows.iter().max_by_key(|window| window.end - window.start) else {
        return Stretch::default();
    };
    let (mut from, mut until) = (main.start, main.end);
    // Windows of a film with a changing rate follow each other.
    for window in windows.iter().chain(windows.iter().rev()) {
        if window.start <= until + GAP_MAX && window.end + GAP_MAX >= from {
            (from, until) = (from.min(window.start), until.max(window.end));
        }
    }
    let number = |at: u64| -> u32 {
        let Some(piece) = layout.piece_at(at) else { return u32::MAX };
        let block = ((at - layout.start(piece)) / u64::from(BLOCK_LEN)) as u32;
        piece.get().saturating_mul(layout.blocks_per_piece()).saturating_add(block)
    };
    let last = number(until.saturating_sub(1)).saturating_add(1);
    // Windows begin where the film here ends: their player is before that.
    let leading = watches.iter().filter(|watch| watch.leads_to(from, GAP_MAX));
    let from = leading.map(Watch::at).max().unwrap_or(from);
    let playing = windows.iter().any(|window| window.playing);
    let pace = main.rate.saturating_mul(1000) / u64::from(BLOCK_LEN);
    Stretch {
        from: number(from).min(last),
        until: last,
        pace: if playing { u32::try_from(pace).unwrap_or(u32::MAX) } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::info;

    #[test]
    fn a_stretch_begins_at_the_player_whose_film_reaches_it() {
        let block = u64::from(BLOCK_LEN);
        let info = info(&[600 * block], false);
        let stretch = |windows: &[(u64, u64)], watches: &[(u64, u64)]| {
            let window = |&(start, end): &(u64, u64)| Window {
                start: start * block,
                end: end * block,
                due: Instant::ZERO,
                rate: block,
                playing: true,
                guessed: false,
            };
            let windows: Vec<_> = windows.iter().map(window).collect();
            let reader = |&(at, until): &(u64, u64)| Watch::at_place(at * block, until * block);
            let watches: Vec<_> = watches.iter().map(reader).collect();
            let stretch = stretch_of(&windows, &watches, &info.layout);
            (stretch.from, stretch.until)
        };
        assert_eq!(stretch(&[(310, 340)], &[(300, 310)]), (300, 340));
        assert_eq!(stretch(&[(595, 600)], &[(590, 595)]), (590, 600), "at the end of the film");
        assert_eq!(stretch(&[(310, 340)], &[(20, 110), (320, 500)]), (310, 340), "of others");
        assert_eq!(stretch(&[(310, 340), (40, 42)], &[(30, 40), (305, 310)]), (305, 340));
        assert_eq!(stretch(&[(310, 340)], &[]), (310, 340), "a range that nobody plays");
        assert_eq!(stretch(&[], &[(300, 310)]), (0, 0), "who needs nothing");
    }
}
