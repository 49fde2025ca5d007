//! The switchboard: hands inputs to rooms and notes from room to room.

use alloc::sync::Arc;
use alloc::vec::Vec;

use shoal_wire::PeerId;
use shoal_wire::peer::{Extended, Message};

use crate::config::Config;
use crate::config::limits::NOTES_PER_TURN_MAX;
use crate::discover::Discover;
use crate::io::{Command, Effect, Event, Input, Machine};
use crate::link::TitleId;
use crate::play::Play;
use crate::rng::{Rng, Seed};
use crate::stats::{CacheView, Counters, TitleView};
use crate::swarm::Swarms;
use crate::time::{Instant, earlier};
use crate::turn::{Note, Owner, Tally, Tickets, Turn};

/// One whole peer. See the crate's page.
#[derive(Debug)]
pub struct Node {
    config: Arc<Config>,
    rng: Rng,
    peer_id: PeerId,
    now: Instant,
    swarms: Swarms,
    discover: Discover,
    play: Play,
    notes: Vec<Note>,
    tickets: Tickets,
    counters: Tally,
    /// When to be gone at the latest, once a shutdown was asked for.
    stopping: Option<Instant>,
    stopped: bool,
}

impl Node {
    /// A node without titles. `seed` decides all its random choices, its peer id among them.
    #[must_use]
    pub fn new(config: Arc<Config>, seed: Seed, now: Instant) -> Self {
        let mut rng = Rng::new(seed.fork("node", 0));
        let mut random = [0u8; 12];
        for chunk in random.chunks_mut(4) {
            chunk.copy_from_slice(&rng.next_u32().to_be_bytes()[..chunk.len()]);
        }
        let named = match config.swarm.speak_shoal {
            true => PeerId::from_random,
            false => PeerId::foreign,
        };
        Self {
            config,
            rng,
            peer_id: named(random),
            now,
            swarms: Swarms::default(),
            discover: Discover::default(),
            play: Play::default(),
            notes: Vec::new(),
            tickets: Tickets::default(),
            counters: Tally::default(),
            stopping: None,
            stopped: false,
        }
    }
    /// Our peer id in this run.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }
    /// All titles, for people: costs O(pieces + peers), meant for once a second.
    #[must_use]
    pub fn views(&self) -> Vec<TitleView> {
        let mut views = self.swarms.views(self.now);
        for view in &mut views {
            view.buffer_ms = self.play.buffer_ms(view.title, self.now);
            view.trackers = self.discover.trackers(view.title);
            view.counters = self.counters.titles.get(view.title).copied().unwrap_or_default();
        }
        views
    }
    /// Counters of the titles that are here, in the order of their ids.
    #[must_use]
    pub fn counters(&self) -> &[Counters] {
        self.counters.titles.values()
    }

    /// How the cache of watched films stands; `None` without a quota. O(titles).
    #[must_use]
    pub fn cache(&self) -> Option<CacheView> {
        self.swarms.cache_view()
    }

    /// Makes every sum that the node keeps again from its parts. For tests and simulations, between turns.
    ///
    /// # Errors
    /// The first thing that does not hold, in words.
    pub fn audit(&self) -> Result<(), alloc::string::String> {
        self.swarms.audit()
    }

    fn dispatch(&mut self, turn: &mut Turn<'_>, input: Input) {
        match input {
            Input::Wake => {}
            Input::Clock { unix_ms } => self.play.on_clock(turn, unix_ms),
            Input::Command(command) => self.on_command(turn, command),
            Input::LinkUp { link, remote } => self.swarms.on_link_up(turn, link, remote),
            Input::LinkDown { link, reason } => self.swarms.on_link_down(turn, link, reason),
            Input::Message { link, message } => {
                if let Message::Extended(extended) = &message
                    && let Extended::Pex(pex) = &**extended
                    && let Some(title) = self.swarms.title_of(link)
                {
                    self.discover.on_exchange(turn, title, link, pex);
                }
                self.swarms.on_message(turn, link, message);
            }
            Input::Credit { link, bytes, passed } => {
                self.swarms.on_credit(turn, link, bytes, passed);
            }
            Input::Packet { remote, packet } => self.discover.on_packet(turn, remote, packet),
            Input::Done { ticket, outcome } => match turn.tickets.redeem(ticket) {
                Some(Owner::Swarm(title, task)) => self.swarms.on_done(turn, title, task, outcome),
                Some(Owner::Discover(task)) => self.discover.on_done(turn, task, outcome),
                Some(Owner::Cache) => self.swarms.on_reclaimed(turn, outcome),
                None => {}
            },
        }
    }

    fn on_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            // Who leaves joins nothing more.
            Command::Add(_) if self.stopping.is_some() => {}
            Command::Add(_)
            | Command::Remove { .. }
            | Command::Peers { .. }
            | Command::Select { .. }
            | Command::Prefer { .. }
            | Command::Cache { .. }
            | Command::Limits { .. } => {
                self.swarms.on_command(turn, command);
            }
            Command::Open { .. }
            | Command::Read { .. }
            | Command::Close { .. }
            | Command::Play { .. }
            | Command::Jump { .. }
            | Command::Pause { .. } => self.play.on_command(turn, command),
            Command::NetworkChanged => {
                self.swarms.on_command(turn, Command::NetworkChanged);
                self.discover.on_network_changed(turn);
            }
            Command::Shutdown => {
                self.stopping.get_or_insert(turn.now + turn.config.discover.farewell);
                self.swarms.on_command(turn, Command::Shutdown);
            }
        }
    }

    /// Who reads which note: the whole wiring of a node.
    fn route(&mut self, turn: &mut Turn<'_>, note: &Note) {
        match note {
            Note::Joined { .. }
            | Note::Ready { .. }
            | Note::Finished { .. }
            | Note::Left { .. } => {
                self.discover.on_note(turn, note);
                self.play.on_note(turn, note);
            }
            Note::PeerUp { .. }
            | Note::PeerDown { .. }
            | Note::Slot { .. }
            | Note::Short { .. } => self.discover.on_note(turn, note),
            Note::PeersFound { .. }
            | Note::Windows { .. }
            | Note::Watch { .. }
            | Note::Unwatch { .. }
            | Note::Fetch { .. } => self.swarms.on_note(turn, note),
            Note::Reaches { .. } | Note::Fetched { .. } => self.play.on_note(turn, note),
        }
    }
}

impl Machine for Node {
    type Input = Input;
    type Effect = Effect;

    fn step(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        assert!(now >= self.now, "time never runs backwards for a node");
        self.now = now;
        let config = Arc::clone(&self.config);
        let mut rng = self.rng.clone();
        let mut tickets = core::mem::take(&mut self.tickets);
        let mut notes = core::mem::take(&mut self.notes);
        let mut counters = core::mem::take(&mut self.counters);
        let mut turn = Turn {
            now,
            rng: &mut rng,
            config: &config,
            peer_id: self.peer_id,
            effects,
            notes: &mut notes,
            tickets: &mut tickets,
            counters: &mut counters,
        };
        self.dispatch(&mut turn, input);
        self.settle(&mut turn);
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            // Settled after each: a link that one room closed must be known to be gone when the next speaks.
            self.swarms.on_wake(&mut turn);
            self.settle(&mut turn);
            self.discover.on_wake(&mut turn);
            self.settle(&mut turn);
            self.play.on_wake(&mut turn);
            self.settle(&mut turn);
        }
        self.swarms.balance(&mut turn);
        self.settle(&mut turn);
        self.swarms.forget(&mut turn);
        if let Some(limit) = self.stopping
            && !self.stopped
            && (now >= limit || (self.swarms.is_idle() && self.discover.is_idle()))
        {
            self.stopped = true;
            turn.tell(Event::Stopped);
        }
        self.rng = rng;
        self.tickets = tickets;
        self.notes = notes;
        self.counters = counters;
    }

    fn deadline(&self) -> Option<Instant> {
        let rooms = earlier(
            self.swarms.deadline(),
            earlier(self.discover.deadline(), self.play.deadline()),
        );
        if self.stopped { None } else { earlier(rooms, self.stopping) }
    }
}

impl Node {
    /// Delivers notes, and the notes that those cause, until none are left.
    fn settle(&mut self, turn: &mut Turn<'_>) {
        let mut delivered = 0;
        while delivered < turn.notes.len() {
            // Taken out one by one: delivering a note may append more.
            let note = core::mem::replace(
                &mut turn.notes[delivered],
                Note::Left { title: TitleId(u32::MAX) },
            );
            delivered += 1;
            assert!(delivered <= NOTES_PER_TURN_MAX, "rooms write to each other without end");
            self.route(turn, &note);
        }
        turn.notes.clear();
    }
}
