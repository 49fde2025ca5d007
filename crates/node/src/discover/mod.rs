//! Who has it? One face over many sources: trackers, local discovery, peer exchange.
//!
//! **Does**: asks trackers (`tiers.rs` says when, `round.rs` how), names titles on the local network (`local.rs`), trades
//! neighbours with neighbours (`exchange.rs`). Every source ends in one note, `PeersFound`; the swarm drops what it
//! knows already. A hybrid title is announced under both info-hashes. The first announce leaves in the turn in which a
//! title is added. [`directory`] is the other side: a tracker, without I/O.
//!
//! **Refuses**: to use anything but trackers for a private title (BEP 27); to dial; to judge where a tracker's name may
//! point (the world that resolves and fetches does).
//!
//! When a title is left, each tracker that knows of us is told so (`stopped`), for at most `farewell`.

mod address;
pub mod directory;
mod exchange;
mod local;
mod round;
mod sip;
mod slots;
#[cfg(test)]
mod tests;
mod tiers;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;

use shoal_wire::lsd::LOCAL_TITLES_SENT_MAX;
use shoal_wire::metainfo::Info;
use shoal_wire::peer::{BLOCK_LEN, Extended, Message, PexMessage};
use shoal_wire::tracker::{Announce, AnnounceEvent};
use shoal_wire::{Hash20, InfoHashes};

use crate::io::{Effect, LocalAnnounce, Outcome, Packet};
use crate::link::{LinkId, TitleId};
use crate::stats::TrackerView;
use crate::time::{Instant, earlier};
use crate::turn::{Found, Note, Turn};

use exchange::Exchange;
use local::Local;
use round::{Contact, Purpose, Round, Target};
use slots::Rendezvous;
use tiers::Tiers;

/// What a discovery job was for.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A round with a tracker, by its number.
    Announce(u32),
}

/// All sources of peers.
#[derive(Debug, Default)]
pub(crate) struct Discover {
    titles: BTreeMap<TitleId, Box<Title>>,
    /// Rounds with trackers, by number.
    rounds: BTreeMap<u32, Box<Round>>,
    last_round: u32,
    local: Local,
    /// BEP 3 `key` of this run.
    key: Option<u32>,
    deadline: Option<Instant>,
}

/// A title that is looked for.
#[derive(Debug)]
struct Title {
    hashes: InfoHashes,
    /// Both names of a hybrid, as soon as they are known.
    slot_hashes: InfoHashes,
    /// `None` while that is not known.
    private: Option<bool>,
    ready: bool,
    /// Bytes that were left when trackers were told of it last.
    told_left: Option<u64>,
    tiers: Tiers,
    exchange: Exchange,
    rendezvous: Rendezvous,
    /// When the local network is told next.
    local_at: Option<Instant>,
}

impl Discover {
    /// Joined, Ready, Finished, Left, PeerUp, PeerDown, Slot, Short.
    pub(crate) fn on_note(&mut self, turn: &mut Turn<'_>, note: &Note) {
        let now = turn.now;
        match note {
            Note::Joined { title, hashes, private, trackers, .. } => {
                let new = Title {
                    hashes: *hashes,
                    slot_hashes: *hashes,
                    private: *private,
                    ready: false,
                    told_left: None,
                    tiers: Tiers::new(trackers, turn.rng, now, &turn.config.discover),
                    exchange: Exchange::default(),
                    rendezvous: Rendezvous::default(),
                    local_at: Some(now),
                };
                // It is announced when all that this turn tells of it is known: a seed must not be taken for a leecher.
                self.titles.insert(*title, Box::new(new));
            }
            Note::Ready { title, info } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.on_ready(info);
                }
            }
            Note::Finished { title, fetched: true } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.tiers.complete(now);
                    self.work(turn);
                }
            }
            // It was all here, as shows only now: trackers that took it for a leecher would name it to few.
            Note::Finished { title, fetched: false } => {
                if let Some(known) = self.titles.get_mut(title)
                    && known.told_left.is_some_and(|left| left > 0)
                {
                    known.tiers.restart(now);
                    self.work(turn);
                }
            }
            Note::Left { title } => self.leave(turn, *title),
            Note::PeerUp { title, link, listen, seed, exchange } => {
                if let Some(known) = self.titles.get_mut(title) {
                    let listen = listen.filter(|addr| !address::is_silly(addr));
                    known.exchange.up(now, *link, listen, (*seed, *exchange));
                }
            }
            Note::Slot { title, slot } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.rendezvous.on_slot(now, *slot);
                    self.work(turn);
                }
            }
            Note::Short { title } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.rendezvous.on_short(now);
                    self.work(turn);
                }
            }
            Note::PeerDown { title, link } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.exchange.down(now, *link);
                }
            }
            _ => {}
        }
        self.plan(turn);
    }
    /// A PEX message on a link that `PeerUp` announced.
    pub(crate) fn on_exchange(
        &mut self,
        turn: &mut Turn<'_>,
        title: TitleId,
        link: LinkId,
        message: &PexMessage,
    ) {
        let config = &turn.config.discover;
        let Some(known) = self.titles.get_mut(&title).filter(|known| known.is_open()) else {
            return;
        };
        if config.exchange {
            let peers = known.exchange.accept(turn.now, link, message, config);
            found(turn, title, Found::Exchange, peers);
        }
    }
    /// A datagram.
    pub(crate) fn on_packet(&mut self, turn: &mut Turn<'_>, remote: SocketAddr, packet: Packet) {
        match packet {
            Packet::Tracker(packet) => {
                // Each round knows its own transactions; there are a few rounds at a time.
                for round in self.rounds.values_mut() {
                    if round.on_packet(turn, remote, &packet) {
                        break;
                    }
                }
                self.settle(turn);
            }
            Packet::LocalDiscovery(announce) => self.on_local(turn, remote, &announce),
        }
    }
    /// A job of ours is done.
    pub(crate) fn on_done(&mut self, turn: &mut Turn<'_>, task: Task, outcome: Outcome) {
        let Task::Announce(round) = task;
        if let Some(round) = self.rounds.get_mut(&round) {
            round.on_done(turn, outcome);
            self.settle(turn);
        }
    }
    /// The network changed: announce again soon, forget connection ids.
    pub(crate) fn on_network_changed(&mut self, turn: &mut Turn<'_>) {
        for title in self.titles.values_mut() {
            title.tiers.restart(turn.now);
            title.local_at = Some(turn.now);
        }
        self.work(turn);
        self.plan(turn);
    }
    /// Time passed.
    pub(crate) fn on_wake(&mut self, turn: &mut Turn<'_>) {
        if self.deadline.is_none_or(|deadline| deadline > turn.now) {
            return;
        }
        for round in self.rounds.values_mut() {
            if round.deadline().is_some_and(|deadline| deadline <= turn.now) {
                round.on_wake(turn);
            }
        }
        self.settle(turn);
        self.tell_neighbours(turn);
        self.plan(turn);
    }
    /// When `on_wake` is next due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    /// No farewell is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.rounds.values().all(|round| round.purpose != Purpose::Farewell)
    }
    /// Trackers of a title.
    pub(crate) fn trackers(&self, title: TitleId) -> Vec<TrackerView> {
        self.titles.get(&title).map(|known| known.tiers.views()).unwrap_or_default()
    }

    /// Ends rounds that are over, and begins what is due.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let over: Vec<u32> =
            self.rounds.iter().filter(|(_, round)| round.is_over()).map(|(id, _)| *id).collect();
        for id in over {
            let Some(round) = self.rounds.remove(&id) else { continue };
            self.follow(turn, &round);
            let Some(known) = self.titles.get_mut(&round.title) else { continue };
            let source = known.on_round(turn, &round);
            if let (Some(source), Some(answer)) = (source, round.answer) {
                found(turn, round.title, source, answer.peers);
            }
        }
        self.work(turn);
        self.plan(turn);
    }

    /// After a round that was answered the tracker is told of us over the other family too, if anybody can come to us.
    fn follow(&mut self, turn: &mut Turn<'_>, round: &Round) {
        let id = self.last_round.wrapping_add(1);
        if turn.config.listen_port != 0
            && let Some(mut aside) = round.aside(id)
        {
            self.last_round = id;
            aside.start(turn);
            self.rounds.insert(id, Box::new(aside));
        }
    }

    /// Begins what is due: rounds with trackers, datagrams to the local network.
    fn work(&mut self, turn: &mut Turn<'_>) {
        let due: Vec<TitleId> = self
            .titles
            .iter()
            .filter(|(_, known)| known.tiers.deadline().is_some_and(|due| due <= turn.now))
            .map(|(title, _)| *title)
            .collect();
        for title in due {
            while let Some(known) = self.titles.get_mut(&title)
                && let Some((tier, target, contact, event)) = known.tiers.begin(turn.now)
            {
                let hashes = known.hashes.wire_hashes().collect();
                let announce = self.announce(turn, title, event);
                let place = (title, Purpose::Tier(tier));
                self.last_round = self.last_round.wrapping_add(1);
                let mut round =
                    Round::new(self.last_round, place, target, announce, hashes, contact);
                round.start(turn);
                self.rounds.insert(round.id, Box::new(round));
            }
        }
        self.tell_slots(turn);
        self.tell_locals(turn);
    }

    /// What a tracker is told about a title; the hash is filled in later.
    fn announce(&mut self, turn: &mut Turn<'_>, title: TitleId, event: AnnounceEvent) -> Announce {
        let counters = *turn.counters(title);
        let ready = self.titles.get(&title).is_some_and(|known| known.ready);
        // Who knows only the names has something left, though nobody knows how much: else it would count as a seed.
        let left = if ready { counters.left } else { counters.left.max(u64::from(BLOCK_LEN)) };
        if let Some(known) = self.titles.get_mut(&title) {
            known.told_left = Some(left);
        }
        let stopped = event == AnnounceEvent::Stopped;
        Announce {
            info_hash: Hash20::default(),
            peer_id: turn.peer_id,
            port: turn.config.listen_port,
            uploaded: counters.sent,
            downloaded: counters.received,
            left,
            event,
            key: *self.key.get_or_insert_with(|| turn.rng.next_u32()),
            num_want: Some(if stopped { 0 } else { turn.config.discover.num_want }),
        }
    }

    /// Tells every tracker that knows of us.
    fn leave(&mut self, turn: &mut Turn<'_>, title: TitleId) {
        let announce = self.announce(turn, title, AnnounceEvent::Stopped);
        let Some(mut known) = self.titles.remove(&title) else { return };
        self.rounds.retain(|_, round| round.title != title || round.purpose == Purpose::Farewell);
        if let Some(tracker) = known.tiers.working(known.rendezvous.failures()) {
            let over = known.rendezvous.farewell(&known.slot_hashes);
            self.ask(turn, (title, Purpose::Farewell), tracker, announce, over);
        }
        let hashes: Vec<Hash20> = known.hashes.wire_hashes().collect();
        for tracker in known.tiers.farewells() {
            self.ask(turn, (title, Purpose::Farewell), tracker, announce, hashes.clone());
        }
    }

    /// Begins a round about some names, if there are any.
    fn ask(
        &mut self,
        turn: &mut Turn<'_>,
        place: (TitleId, Purpose),
        (target, contact): (Target, Contact),
        announce: Announce,
        names: Vec<Hash20>,
    ) {
        if names.is_empty() {
            return;
        }
        self.last_round = self.last_round.wrapping_add(1);
        let id = self.last_round;
        let mut round = Round::new(id, place, target, announce, names, contact);
        if place.1 == Purpose::Farewell {
            round.give_up = Some(turn.now + turn.config.discover.farewell);
        }
        round.start(turn);
        if !round.is_over() {
            self.rounds.insert(id, Box::new(round));
        }
    }

    /// Tells trackers in which virtual time slots viewers are, and asks who else is there.
    fn tell_slots(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        let is_due = |known: &Title| known.rendezvous.deadline().is_some_and(|due| due <= now);
        let due: Vec<TitleId> =
            self.titles.iter().filter(|(_, known)| is_due(known)).map(|(id, _)| *id).collect();
        for title in due {
            let Some(known) = self.titles.get_mut(&title) else { continue };
            let Some(tracker) = known.tiers.working(known.rendezvous.failures()) else {
                known.rendezvous.wait(now, &turn.config.discover);
                continue;
            };
            let Some(plan) = known.rendezvous.take(now, &known.slot_hashes) else { continue };
            let event = if plan.first { AnnounceEvent::Started } else { AnnounceEvent::None };
            let told = self.announce(turn, title, event);
            let quiet = Announce { num_want: Some(0), ..told };
            let over = Announce { event: AnnounceEvent::Stopped, ..quiet };
            let own = plan.own.into_iter().collect();
            let place = |purpose| (title, purpose);
            let asks = Purpose::Slots { asks: true };
            self.ask(turn, place(asks), tracker.clone(), told, own);
            let records = Purpose::Slots { asks: false };
            self.ask(turn, place(records), tracker.clone(), quiet, plan.others);
            self.ask(turn, place(Purpose::Farewell), tracker, over, plan.over);
        }
    }

    fn on_local(&mut self, turn: &mut Turn<'_>, remote: SocketAddr, announce: &LocalAnnounce) {
        let peer = SocketAddr::new(remote.ip(), announce.port);
        let config = &turn.config.discover;
        if !config.local || !self.local.accepts(turn.now, announce) || address::is_silly(&peer) {
            return;
        }
        for (&title, known) in &self.titles {
            if known.is_open() && announce.info_hashes.iter().any(|h| known.hashes.contains(h)) {
                found(turn, title, Found::Local, alloc::vec![peer]);
            }
        }
    }

    fn tell_locals(&mut self, turn: &mut Turn<'_>) {
        let config = turn.config;
        if !config.discover.local || config.listen_port == 0 || self.local.when(turn.now) > turn.now
        {
            return;
        }
        let mut hashes = Vec::new();
        for known in self.titles.values_mut() {
            if known.is_open()
                && hashes.len() + 2 <= LOCAL_TITLES_SENT_MAX
                && known.local_at.is_some_and(|due| due <= turn.now)
            {
                hashes.extend(known.hashes.wire_hashes());
                known.local_at = Some(turn.now + config.discover.local_interval);
            }
        }
        if !hashes.is_empty() {
            let port = config.listen_port;
            let announce = self.local.announce(turn.now, port, hashes, turn.rng);
            // The world knows the multicast groups.
            let remote = SocketAddr::from(([239, 192, 152, 143], 6771));
            turn.effects.push(Effect::Packet { remote, packet: Packet::LocalDiscovery(announce) });
        }
    }

    fn tell_neighbours(&mut self, turn: &mut Turn<'_>) {
        let config = &turn.config.discover;
        for (&title, known) in &mut self.titles {
            if !config.exchange || !known.is_open() {
                continue;
            }
            if known.exchange.deadline().is_none_or(|due| due > turn.now) {
                continue;
            }
            for (link, message) in known.exchange.due(turn.now, config, turn.rng) {
                turn.counters(title).messages_out += 1;
                let message = Message::Extended(Box::new(Extended::Pex(message)));
                turn.effects.push(Effect::Send { link, message });
            }
        }
    }

    fn plan(&mut self, turn: &Turn<'_>) {
        let config = turn.config;
        let mut next = self.rounds.values().fold(None, |next, r| earlier(next, r.deadline()));
        let mut local: Option<Instant> = None;
        for known in self.titles.values() {
            next = earlier(next, known.tiers.deadline());
            next = earlier(next, known.rendezvous.deadline());
            if known.is_open() {
                local = earlier(local, known.local_at);
                if config.discover.exchange {
                    next = earlier(next, known.exchange.deadline());
                }
            }
        }
        if config.discover.local && config.listen_port != 0 {
            next = earlier(next, local.map(|wanted| self.local.when(wanted)));
        }
        self.deadline = next;
    }
}

impl Title {
    /// Its metadata is known. For a private title nobody but its trackers is asked and told.
    fn on_ready(&mut self, info: &Info) {
        (self.ready, self.private) = (true, Some(info.private));
        self.slot_hashes = info.hashes;
        if info.private {
            self.exchange = Exchange::default();
            // Its tracker may have told of a crowd before the magnet proved private.
            self.rendezvous = Rendezvous::default();
        }
    }
    /// A round is over: who its peers are, if they are of use.
    fn on_round(&mut self, turn: &Turn<'_>, round: &Round) -> Option<Found> {
        let (now, config) = (turn.now, &turn.config.discover);
        match round.purpose {
            Purpose::Tier(tier) => {
                if round.only.is_none() {
                    let peers = self.exchange.len();
                    self.tiers.finish(tier, round, now, peers, config);
                    // A private title's tracker knows its name and no other.
                    if let Some(answer) = round.answer.as_ref().filter(|_| self.is_open()) {
                        let parts = [answer.complete, answer.incomplete];
                        let size = parts.into_iter().flatten().fold(0, u32::saturating_add);
                        self.rendezvous.on_size(now, size, config);
                    }
                }
                Some(Found::Tracker)
            }
            Purpose::Slots { asks: true } => {
                if round.only.is_none() {
                    self.rendezvous.finish(now, round, config);
                }
                Some(Found::Slot)
            }
            Purpose::Slots { asks: false } | Purpose::Farewell => None,
        }
    }
    /// Whether others than trackers may be asked and told.
    fn is_open(&self) -> bool {
        self.private != Some(true)
    }
}

/// Tells the swarm of peers, without those where nobody can listen.
fn found(turn: &mut Turn<'_>, title: TitleId, source: Found, mut peers: Vec<SocketAddr>) {
    peers.retain(|peer| !address::is_silly(peer));
    if !peers.is_empty() {
        turn.note(Note::PeersFound { title, source, peers });
    }
}
