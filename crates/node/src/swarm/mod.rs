//! The exchange of blocks between peers, title by title.
//!
//! [`Swarms`] owns what titles share: the table of links, the uplink, the pace of dialing. A [`title::Swarm`] is one title:
//! its peers, its pieces, its plan. Reading order: `pieces` (states of pieces and blocks), `windows` (what is needed when),
//! `fetch` (who is asked for what: the scheduler), `verify` (proof, storing, blame), `serve` and `upload` (giving),
//! `allowed` (what passes a choke), `reveal` (what foreign clients see of a source), `connect` (links and handshakes), `messages` (what each message does), `cache` and `share`
//! (the quota of watched films, and what is given up for it).

mod ahead;
mod allowed;
mod answers;
mod audience;
mod audit;
mod availability;
mod bans;
mod bucket;
mod cache;
mod choice;
mod choke;
mod connect;
mod coordinates;
mod fastest;
mod fetch;
mod hashes;
mod hedge;
mod known;
mod learned;
mod messages;
mod metadata;
mod order;
mod parents;
mod parts;
mod peer;
mod pieces;
mod places;
mod precedence;
mod rate;
mod reveal;
mod select;
mod serve;
mod share;
mod source;
mod spread;
mod title;
mod travel;
mod upkeep;
mod uplink;
mod upload;
mod verify;
mod watch;
mod windowed;
mod windows;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::hash::BuildHasherDefault;
use core::net::SocketAddr;
use core::time::Duration;

use hashbrown::HashMap;
use shoal_wire::Hash20;
use shoal_wire::peer::Message;

use crate::io::{CloseReason, Command, Effect, Event, Outcome};
use crate::link::{LinkId, TitleId};
use crate::stats::{Counters, TitleView};
use crate::time::{Instant, earlier};
use crate::titles::Titles;
use crate::turn::{Found, Note, Turn};
use title::Swarm;
pub(crate) use title::Task;
use uplink::Uplink;

/// Hasher for maps whose keys we choose ourselves (tickets, links): no remote can make them collide.
pub(crate) type BuildHash = BuildHasherDefault<Mix>;

/// Multiply and fold: enough for small integers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mix(u64);

impl core::hash::Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        let wide = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}

/// Where a link stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// A remote opened it and has not said which title it is about.
    Inbound { remote: SocketAddr, credit: u64 },
    /// We opened it, or are opening it; the remote's handshake is missing. `up` is when it opened.
    Dialed { title: TitleId, remote: SocketAddr, up: Option<Instant>, credit: u64 },
    /// A peer of a title.
    Peer { title: TitleId, slot: u16 },
}

/// What all titles share.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    links: HashMap<LinkId, Place, BuildHash>,
    uplink: Uplink,
    /// Where we lie among others, where that is asked for.
    spot: coordinates::Spot,
    next_dial: u32,
    /// When a link that waits for the uplink should be looked at.
    held_until: Option<Instant>,
}

impl Hub {
    /// A new name for a link that we dial.
    fn dial_id(&mut self) -> LinkId {
        let link = LinkId(self.next_dial);
        self.next_dial = self.next_dial.wrapping_add(2);
        link
    }
    /// Closes what a title was dialing, where `unwanted` says so, in the order in which it was dialed. Returns how many.
    fn close_dialed(
        &mut self,
        turn: &mut Turn<'_>,
        of: TitleId,
        unwanted: impl Fn(&SocketAddr) -> bool,
    ) -> usize {
        let dialed = |(link, place): (&LinkId, &Place)| match place {
            Place::Dialed { title, remote, .. } if *title == of && unwanted(remote) => Some(*link),
            _ => None,
        };
        let mut links: Vec<LinkId> = self.links.iter().filter_map(dialed).collect();
        links.sort_unstable();
        for &link in &links {
            self.close(turn, link, CloseReason::Stopped);
        }
        links.len()
    }
    /// Closes a link for good: nothing that arrives on it is looked at any more.
    fn close(&mut self, turn: &mut Turn<'_>, link: LinkId, reason: CloseReason) {
        self.links.remove(&link);
        turn.effects.push(Effect::Close { link, reason });
    }
}

/// All titles of a node.
#[derive(Debug, Default)]
pub(crate) struct Swarms {
    titles: Titles<Box<Swarm>>,
    /// Titles that were removed and may still wait for their last record.
    leaving: Vec<TitleId>,
    by_hash: BTreeMap<Hash20, TitleId>,
    hub: Hub,
    cache: cache::Cache,
    /// Links without a handshake in the order in which their time is over.
    waiting: VecDeque<(Instant, LinkId)>,
    /// Pace of dialing: each dial moves it on; more than a second ahead means wait.
    dial_at: Option<Instant>,
    /// When a title has somebody to dial.
    dial_wake: Option<Instant>,
}

impl Swarms {
    fn title(&mut self, title: TitleId) -> Option<(&mut Swarm, &mut Hub)> {
        let swarm = self.titles.get_mut(title)?;
        Some((swarm, &mut self.hub))
    }
    pub(crate) fn on_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            Command::Add(setup) => {
                let title = setup.title;
                match self.titles.get(title) {
                    Some(old) if !old.has_left() => return,
                    // It was here before: what its old life still waits for must not reach the new one.
                    Some(_) => turn.tickets.forget_title(title),
                    None => {}
                }
                self.leaving.retain(|left| *left != title);
                turn.counters.titles.insert(title, Counters::default());
                self.hub.uplink.pace(turn.config.swarm.paced);
                let swarm = Swarm::new(turn, &mut self.hub, *setup);
                self.titles.insert(title, Box::new(swarm));
                self.name(title);
            }
            Command::Remove { title } => {
                self.remove(turn, title);
                if self.titles.get(title).is_some() && !self.leaving.contains(&title) {
                    self.leaving.push(title);
                }
            }
            Command::Peers { title, peers } => {
                if let Some((swarm, _)) = self.title(title) {
                    swarm.on_found(turn, Found::User, &peers);
                }
            }
            Command::Select { title, files } => {
                if let Some((swarm, hub)) = self.title(title) {
                    swarm.select(turn, hub, files);
                }
            }
            Command::Prefer { title, file } => {
                if let Some((swarm, _)) = self.title(title) {
                    swarm.prefer(file);
                }
            }
            Command::Cache { quota, elsewhere } => self.set_cache(quota, elsewhere),
            Command::Limits { up, .. } => self.hub.uplink.set_limit(turn.now, up),
            Command::NetworkChanged => {
                for swarm in self.titles.values_mut() {
                    swarm.on_network_changed(turn);
                }
            }
            Command::Shutdown => {
                for title in self.titles.ids().to_vec() {
                    self.remove(turn, title);
                }
                for (_, link) in core::mem::take(&mut self.waiting) {
                    if matches!(self.hub.links.get(&link), Some(Place::Inbound { .. })) {
                        self.hub.close(turn, link, CloseReason::Stopped);
                    }
                }
            }
            _ => {}
        }
        self.dial(turn);
        self.drain(turn);
    }
    fn remove(&mut self, turn: &mut Turn<'_>, title: TitleId) {
        if let Some((swarm, hub)) = self.title(title) {
            swarm.leave(turn, hub);
        }
        self.by_hash.retain(|_, of| *of != title);
    }
    /// Ends titles that were removed, once nothing of them is left to save: nothing is known of them any more. To be called when
    /// all rooms have heard that they left.
    pub(crate) fn forget(&mut self, turn: &mut Turn<'_>) {
        if self.leaving.is_empty() {
            return;
        }
        let titles = &self.titles;
        let is_over = |title: &TitleId| titles.get(*title).is_none_or(|swarm| swarm.is_idle());
        let (over, leaving) = self.leaving.drain(..).partition(is_over);
        self.leaving = leaving;
        let over: Vec<TitleId> = over;
        for title in over {
            self.leave_in_cache(title);
            self.titles.remove(title);
            turn.counters.titles.remove(title);
            turn.tickets.forget_title(title);
        }
    }
    /// Makes a title findable by its names: a magnet's other name is known only when its metadata is.
    fn name(&mut self, title: TitleId) {
        let Some((swarm, _)) = self.title(title) else { return };
        let (hashes, left) = (swarm.hashes, swarm.has_left());
        if left {
            self.by_hash.retain(|_, of| *of != title);
            return;
        }
        for hash in hashes.wire_hashes() {
            self.by_hash.entry(hash).or_insert(title);
        }
    }
    pub(crate) fn on_link_up(&mut self, turn: &mut Turn<'_>, link: LinkId, remote: SocketAddr) {
        self.waiting.push_back((turn.now + turn.config.swarm.handshake_timeout, link));
        let place = self.hub.links.get_mut(&link);
        match place {
            Some(Place::Dialed { title, up: up @ None, .. }) => {
                *up = Some(turn.now);
                let title = *title;
                if let Some((swarm, _)) = self.title(title) {
                    swarm.greet(turn, link);
                }
            }
            None if !link.is_dialed() => {
                self.hub.links.insert(link, Place::Inbound { remote, credit: 0 });
            }
            // A dial that was given up meanwhile, or a world that repeats itself.
            _ => turn.effects.push(Effect::Close { link, reason: CloseReason::Stopped }),
        }
    }
    pub(crate) fn on_link_down(&mut self, turn: &mut Turn<'_>, link: LinkId, reason: CloseReason) {
        match self.hub.links.remove(&link) {
            Some(Place::Dialed { title, remote, .. }) => {
                if let Some((swarm, _)) = self.title(title) {
                    swarm.on_dial_failed(turn, link, remote);
                }
            }
            Some(Place::Peer { title, slot }) => {
                if let Some((swarm, hub)) = self.title(title) {
                    swarm.on_gone(turn, hub, slot, reason);
                }
            }
            Some(Place::Inbound { .. }) | None => {}
        }
        self.dial(turn);
        self.drain(turn);
    }
    pub(crate) fn on_message(&mut self, turn: &mut Turn<'_>, link: LinkId, message: Message) {
        let Some(place) = self.hub.links.get(&link).copied() else { return };
        match (place, message) {
            (Place::Peer { title, slot }, message) => {
                if let Some((swarm, hub)) = self.title(title) {
                    swarm.on_message(turn, hub, slot, message);
                }
            }
            (Place::Inbound { remote, credit }, Message::Handshake(handshake)) => {
                let title = self.by_hash.get(&handshake.info_hash).copied();
                match title.and_then(|title| self.title(title)) {
                    Some((swarm, hub)) => {
                        swarm.on_handshake(turn, hub, link, remote, None, credit, &handshake)
                    }
                    None => self.hub.close(turn, link, CloseReason::NotNeeded),
                }
            }
            (Place::Dialed { title, remote, up, credit }, Message::Handshake(handshake)) => {
                if let Some((swarm, hub)) = self.title(title) {
                    swarm.on_handshake(turn, hub, link, remote, up, credit, &handshake);
                }
            }
            (place, _) => {
                self.hub.close(turn, link, CloseReason::Protocol("it spoke before its handshake"));
                if let Place::Dialed { title, remote, .. } = place
                    && let Some((swarm, _)) = self.title(title)
                {
                    swarm.on_dial_failed(turn, link, remote);
                }
            }
        }
        self.dial(turn);
        self.drain(turn);
    }
    pub(crate) fn on_credit(&mut self, turn: &mut Turn<'_>, link: LinkId, bytes: u32, passed: u32) {
        match self.hub.links.get_mut(&link) {
            Some(Place::Inbound { credit, .. } | Place::Dialed { credit, .. }) => {
                *credit = credit.saturating_add(u64::from(bytes));
            }
            Some(Place::Peer { title, slot }) => {
                let (title, slot) = (*title, *slot);
                if let Some((swarm, hub)) = self.title(title) {
                    swarm.on_credit(turn, hub, slot, bytes, passed);
                }
                self.drain(turn);
            }
            None => {}
        }
    }
    pub(crate) fn on_done(
        &mut self,
        turn: &mut Turn<'_>,
        title: TitleId,
        task: Task,
        outcome: Outcome,
    ) {
        if let Some((swarm, hub)) = self.title(title) {
            let renames = matches!(task, Task::Prepare | Task::CheckInfo { .. });
            swarm.on_done(turn, hub, task, outcome);
            if renames {
                self.name(title);
            }
        }
        self.dial(turn);
        self.drain(turn);
    }
    pub(crate) fn on_note(&mut self, turn: &mut Turn<'_>, note: &Note) {
        match note {
            Note::PeersFound { title, source, peers } => {
                if let Some((swarm, _)) = self.title(*title) {
                    swarm.on_found(turn, *source, peers);
                }
                if *source == Found::Slot
                    && let Some((swarm, hub)) = self.title(*title)
                {
                    swarm.look_after_parents(turn, hub);
                }
                self.dial(turn);
            }
            Note::Windows { title, windows, heads, cause } => {
                if let Some((swarm, _)) = self.title(*title) {
                    swarm.on_windows(turn, windows, heads, *cause);
                }
            }
            Note::Watch { title, reader, from } => {
                if let Some((swarm, _)) = self.title(*title) {
                    swarm.on_watch(turn, *reader, *from);
                }
            }
            Note::Unwatch { title, reader } => {
                if let Some((swarm, _)) = self.title(*title) {
                    swarm.on_unwatch(*reader);
                }
            }
            Note::Fetch { title, reader, offset, length } => {
                if let Some((swarm, _)) = self.title(*title) {
                    swarm.on_fetch(turn, *reader, *offset, *length);
                }
            }
            Note::Joined { .. }
            | Note::Ready { .. }
            | Note::Finished { .. }
            | Note::Left { .. }
            | Note::PeerUp { .. }
            | Note::PeerDown { .. }
            | Note::Slot { .. }
            | Note::Short { .. }
            | Note::Reaches { .. }
            | Note::Fetched { .. } => {}
        }
    }
    pub(crate) fn on_wake(&mut self, turn: &mut Turn<'_>) {
        while let Some(&(until, link)) = self.waiting.front()
            && until <= turn.now
        {
            self.waiting.pop_front();
            match self.hub.links.get(&link).copied() {
                Some(Place::Inbound { .. }) => self.hub.close(turn, link, CloseReason::Timeout),
                Some(Place::Dialed { title, remote, .. }) => {
                    let reason = CloseReason::Protocol("it did not finish its handshake");
                    turn.tell(Event::Dropped { remote, reason });
                    self.hub.close(turn, link, reason);
                    if let Some((swarm, _)) = self.title(title) {
                        swarm.on_dial_failed(turn, link, remote);
                    }
                }
                Some(Place::Peer { .. }) | None => {}
            }
        }
        let Self { titles, hub, .. } = self;
        let held_back = hub.uplink.is_held_back(turn.now);
        for swarm in titles.values_mut() {
            if held_back {
                swarm.look_for_stuck(turn, hub);
            }
            swarm.on_wake(turn, hub);
        }
        self.dial(turn);
        self.drain(turn);
    }
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let titles = self.titles.values().iter().filter_map(|swarm| swarm.deadline()).min();
        let waiting = self.waiting.front().map(|entry| entry.0);
        earlier(earlier(titles, waiting), earlier(self.dial_wake, self.hub.held_until))
    }
    /// Nothing is left to save.
    pub(crate) fn is_idle(&self) -> bool {
        self.titles.values().iter().all(|swarm| swarm.is_idle())
    }
    pub(crate) fn title_of(&self, link: LinkId) -> Option<TitleId> {
        match self.hub.links.get(&link)? {
            Place::Peer { title, .. } => Some(*title),
            _ => None,
        }
    }
    pub(crate) fn views(&self, now: Instant) -> Vec<TitleView> {
        let is_here = |title: &TitleId| !self.leaving.contains(title);
        let here = self.titles.values().iter().filter(|swarm| is_here(&swarm.title));
        here.map(|swarm| swarm.view(now)).collect()
    }
    /// Opens links as titles want and the pace of dialing allows.
    fn dial(&mut self, turn: &mut Turn<'_>) {
        let pace = Duration::from_secs(1) / turn.config.swarm.dials_per_s.max(1);
        let mut next: Option<Instant> = None;
        let Self { titles, hub, dial_at, .. } = self;
        for swarm in titles.values_mut() {
            while let Some(ready) = swarm.dial_ready(turn) {
                // A burst of a second's worth is allowed after silence.
                let allowed = dial_at.map_or(turn.now, |at| at.back(Duration::from_secs(1)));
                if ready > turn.now || allowed > turn.now {
                    next = earlier(next, Some(ready.max(allowed)));
                    break;
                }
                *dial_at = Some(dial_at.map_or(turn.now, |at| at.max(turn.now)) + pace);
                let Some(remote) = swarm.dial_take(turn.now) else { break };
                let link = hub.dial_id();
                hub.links.insert(
                    link,
                    Place::Dialed { title: swarm.title, remote, up: None, credit: 0 },
                );
                turn.effects.push(Effect::Dial { link, remote });
            }
        }
        self.dial_wake = next;
    }
    /// Sends what the limited uplink allows.
    fn drain(&mut self, turn: &mut Turn<'_>) {
        while let Some((title, slot)) = self.hub.uplink.aged(turn.now) {
            if let Some((swarm, hub)) = self.title(title) {
                swarm.pump(turn, hub, slot);
            }
        }
        while let Some((title, slot)) = self.hub.uplink.next(turn.now) {
            if let Some((swarm, hub)) = self.title(title) {
                swarm.send_one(turn, hub, slot);
            }
        }
        let next = self.hub.uplink.deadline(turn.now);
        // A look that was planned is not put off by other turns.
        let planned = self.hub.held_until.filter(|&until| until > turn.now && next.is_some());
        self.hub.held_until = earlier(next, planned);
    }
}
