//! Many nodes in one virtual world: pops events, hands inputs to nodes, carries out their effects.
//!
//! The loop is the real driver's: one input, one step, its effects in order. Time moves from event to event. A world is
//! single-threaded and deterministic: everything it does follows from what was planned and from its seed.
//!
//! **Refuses**: the wall clock, threads, floats in anything that decides.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::SocketAddr;
use std::rc::Rc;

use shoal_node::io::{CloseReason, Effect, Event as Told, Input, Job, Machine, Outcome, Packet};
use shoal_node::link::{LinkId, Ticket, TitleId};
use shoal_node::rng::{Rng, Seed};
use shoal_node::stats::{Counters, TitleView};
use shoal_node::time::Instant;
use shoal_node::{Node, config};
use shoal_wire::peer::{BLOCK_LEN, Message};

use crate::arrived::Arrived;
use crate::catalogue::Catalogue;
use crate::check::{Checks, Claims, Ledger, WAKES_PER_MS_MAX};
use crate::content::{is_tainted, tainted};
use crate::directory::{DirectoryHost, packet_len};
use crate::disk::{Disk, DiskConfig, Wrong};
use crate::network::{
    Arrival, DIRECTORY_PORT, LinkHash, NODE_PORT, NetEvent, Network, NetworkConfig, Rates,
    address_of,
};
use crate::queue::Queue;
use crate::trace::Trace;

/// In a strict world a node is audited after every so many turns of the world; in one strict world of as many after every one.
const AUDIT_TURNS: u64 = 8;

/// What every wall clock shows at the beginning of virtual time, Unix milliseconds.
const EPOCH_UNIX_MS: u64 = 1_700_000_000_000;

/// What is planned.
#[derive(Clone, Copy, Debug)]
pub enum Event {
    /// Inside the network.
    Net(NetEvent),
    /// A node's own plans.
    Wake(u32),
    /// A job is done.
    Job(u32),
    /// The stage wants the floor.
    Action(u32),
}

/// A node, or something that stands in its place.
pub trait Actor: Machine<Input = Input, Effect = Effect> {
    /// Counters by title.
    fn counters(&self) -> &[Counters];
    /// Titles as people see them.
    fn views(&self) -> Vec<TitleView>;
    /// Makes every sum that the node keeps again from its parts.
    ///
    /// # Errors
    /// The first that does not hold.
    fn audit(&self) -> Result<(), String>;
}

impl Actor for Node {
    fn counters(&self) -> &[Counters] {
        Self::counters(self)
    }
    fn views(&self) -> Vec<TitleView> {
        Self::views(self)
    }
    fn audit(&self) -> Result<(), String> {
        Self::audit(self)
    }
}

/// How a host deceives others, whatever its node means to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Deceit {
    /// Blocks whose bytes are replaced, per mille.
    pub corrupt_permille: u32,
    /// It claims to hold everything.
    pub claims_all: bool,
}

/// A host's node and what the world knows of it.
pub struct Seat {
    actor: Option<Box<dyn Actor>>,
    /// Counts processes: what was under way for an earlier one is void.
    process: u32,
    wake_at: u64,
    wakes: (u64, u32),
    /// Storage; outlives the process.
    pub disk: Disk,
    /// Whether and how it deceives.
    pub deceit: Deceit,
    /// Film bytes handed to the node's present process.
    pub film_in: u64,
    /// Hosts it had film from, while they are noted.
    pub parents: Option<Vec<u32>>,
    /// When each block first came whole and sound, of the titles of which that is noted.
    pub arrived_at: Vec<(TitleId, Arrived)>,
    /// Film bytes given to the network, by title.
    pub film_out: Vec<u64>,
    tickets: Vec<Ticket>,
    /// Links as the node knows them: opened or dialed, and neither closed by it nor told to be gone. The network may
    /// already know better.
    links: HashMap<u32, Ties, BuildHasherDefault<LinkHash>>,
}

/// What a node knows of one of its links.
#[derive(Clone, Copy, Debug)]
struct Ties {
    open: bool,
    /// The title that the handshakes named; the first one until then.
    title: TitleId,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").field("process", &self.process).finish_non_exhaustive()
    }
}

impl Seat {
    /// The node, when the host is up.
    #[must_use]
    pub fn actor(&self) -> Option<&dyn Actor> {
        self.actor.as_deref()
    }
    /// When the blocks of a title came, where that is noted.
    #[must_use]
    pub fn arrivals_of(&self, title: TitleId) -> Option<&Arrived> {
        self.arrived_at.iter().find(|noted| noted.0 == title).map(|noted| &noted.1)
    }
    fn note_film_out(&mut self, link: LinkId, bytes: u64) {
        let title = self.links.get(&link.0).map_or(0, |ties| ties.title.0 as usize);
        if self.film_out.len() <= title {
            self.film_out.resize(title + 1, 0);
        }
        self.film_out[title] += bytes;
    }
}

#[derive(Debug)]
struct PendingJob {
    node: u32,
    process: u32,
    ticket: Ticket,
    outcome: Option<Outcome>,
}

/// Why [`World::run`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// This action is due.
    Action(u32),
    /// The time asked for is reached.
    Time,
    /// Nothing will ever happen again.
    Idle,
    /// A rule was broken.
    Broken,
}

/// Settings of a world.
#[derive(Clone, Debug)]
pub struct WorldConfig {
    /// The network.
    pub network: NetworkConfig,
    /// Disks.
    pub disk: DiskConfig,
    /// Follow every request, and keep the last turns in words.
    pub strict: bool,
    /// Keep the last turns in words.
    pub words: bool,
}

/// The world.
#[derive(Debug)]
pub struct World {
    now: u64,
    queue: Queue<Event>,
    /// The network.
    pub network: Network,
    seats: Vec<Seat>,
    jobs: Vec<PendingJob>,
    free_jobs: Vec<u32>,
    arrivals: Vec<(u32, Arrival)>,
    effects: Vec<Effect>,
    /// Hash and last turns.
    pub trace: Trace,
    /// Rules.
    pub checks: Checks,
    /// What nodes told, but for the bytes of readers: when, who, what.
    pub told: Vec<(u64, u32, Told)>,
    directory: Option<DirectoryHost>,
    rng: Rng,
    /// A strict world is audited after every so many turns.
    audit_turns: u64,
    disk: DiskConfig,
    catalogue: Rc<Catalogue>,
    messages: u64,
}

impl World {
    /// A world without hosts.
    #[must_use]
    pub fn new(config: &WorldConfig, catalogue: Rc<Catalogue>, seed: Seed) -> Self {
        let mut checks = Checks::default();
        checks.ledger = config.strict.then(Ledger::default);
        checks.claims = config.strict.then(Claims::default);
        Self {
            now: 0,
            queue: Queue::default(),
            network: Network::new(config.network.clone(), seed),
            seats: Vec::new(),
            jobs: Vec::new(),
            free_jobs: Vec::new(),
            arrivals: Vec::new(),
            effects: Vec::new(),
            trace: Trace::new(config.words),
            checks,
            told: Vec::new(),
            directory: None,
            rng: Rng::new(seed.fork("world", 0)),
            audit_turns: match Rng::new(seed.fork("audit", 0)).below(AUDIT_TURNS) {
                0 => 1,
                _ => AUDIT_TURNS,
            },
            disk: config.disk,
            catalogue,
            messages: 0,
        }
    }
    /// Virtual time, nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.now
    }
    /// Messages handed to nodes so far.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.messages
    }
    /// A host's seat.
    #[must_use]
    pub fn seat(&self, host: u32) -> &Seat {
        &self.seats[host as usize]
    }
    /// A host's seat.
    pub fn seat_mut(&mut self, host: u32) -> &mut Seat {
        &mut self.seats[host as usize]
    }
    /// Takes the list of hosts that a host had film from, and stops noting them.
    pub fn take_parents(&mut self, host: u32) -> Vec<u32> {
        self.seats[host as usize].parents.take().unwrap_or_default()
    }
    /// Number of hosts.
    #[must_use]
    pub fn hosts(&self) -> u32 {
        self.seats.len() as u32
    }
    /// Adds a host with an empty disk and no node.
    pub fn add_host(&mut self, rates: Rates) -> u32 {
        let host = self.network.add_host(rates);
        self.seats.push(Seat {
            actor: None,
            process: 0,
            wake_at: u64::MAX,
            wakes: (0, 0),
            disk: Disk::new(self.disk, Rc::clone(&self.catalogue)),
            deceit: Deceit::default(),
            film_in: 0,
            parents: None,
            arrived_at: Vec::new(),
            film_out: Vec::new(),
            tickets: Vec::new(),
            links: HashMap::default(),
        });
        host
    }
    /// Puts a directory (UDP tracker) on a host.
    pub fn add_directory(&mut self, host: u32, seed: Seed) {
        self.directory = Some(DirectoryHost::new(host, seed));
        for seat in &mut self.seats {
            seat.disk.directory = host;
        }
    }
    /// Starts a node on a host.
    pub fn start(&mut self, host: u32, actor: Box<dyn Actor>) {
        self.network.join(host);
        let seat = &mut self.seats[host as usize];
        seat.actor = Some(actor);
        seat.process += 1;
        seat.wake_at = u64::MAX;
        seat.film_in = 0;
        seat.tickets.clear();
        seat.links.clear();
        let unix_ms = EPOCH_UNIX_MS + self.now / 1_000_000;
        self.tell(host, Input::Clock { unix_ms });
    }
    /// Ends a host's process; `silent` as in [`Network::leave`].
    pub fn leave(&mut self, host: u32, silent: bool) {
        let seat = &mut self.seats[host as usize];
        seat.actor = None;
        seat.process += 1;
        self.network.leave(self.now, host, silent, &mut self.queue);
        if let Some(ledger) = &mut self.checks.ledger {
            ledger.on_leave(host);
        }
        if let Some(claims) = &mut self.checks.claims {
            claims.on_leave(host);
        }
    }
    /// Asks to be given the floor at a time.
    pub fn plan(&mut self, at_ns: u64, action: u32) {
        self.queue.push(at_ns.max(self.now), Event::Action(action));
    }
    /// Hands an input to a node from outside, with all that follows from it now.
    pub fn tell(&mut self, host: u32, input: Input) {
        self.step(host, input);
        self.settle();
    }

    /// Runs until an action is due, a rule is broken, or `until_ns`.
    pub fn run(&mut self, until_ns: u64) -> Stop {
        loop {
            if !self.checks.violations().is_empty() {
                return Stop::Broken;
            }
            match self.queue.next_at() {
                None => return Stop::Idle,
                Some(at) if at > until_ns => {
                    self.now = self.now.max(until_ns);
                    return Stop::Time;
                }
                Some(_) => {}
            }
            let Some((at, event)) = self.queue.pop() else { return Stop::Idle };
            debug_assert!(at >= self.now, "events come in order");
            self.now = at;
            match event {
                Event::Action(action) => return Stop::Action(action),
                Event::Net(event) => {
                    self.network.on_event(at, event, &mut self.queue, &mut self.arrivals);
                }
                Event::Wake(node) => self.on_wake(node),
                Event::Job(job) => self.on_job(job),
            }
            self.settle();
        }
    }

    /// Hands out arrivals and starts what was said, until nothing is left for this moment.
    fn settle(&mut self) {
        loop {
            let mut arrivals = std::mem::take(&mut self.arrivals);
            for (host, arrival) in arrivals.drain(..) {
                self.arrive(host, arrival);
            }
            if self.arrivals.is_empty() {
                self.arrivals = arrivals;
            }
            self.network.flush(self.now, &mut self.queue, &mut self.arrivals);
            if self.arrivals.is_empty() {
                return;
            }
        }
    }

    fn arrive(&mut self, host: u32, arrival: Arrival) {
        match arrival {
            Arrival::Up { link, remote, .. } => {
                let ties = Ties { open: true, title: TitleId(0) };
                self.seats[host as usize].links.insert(link.0, ties);
                self.step(host, Input::LinkUp { link, remote });
                let bytes = self.network.first_credit();
                self.step(host, Input::Credit { link, bytes, passed: 0 });
            }
            Arrival::Down { link, reason } => {
                self.forget_link(host, link);
                self.seats[host as usize].links.remove(&link.0);
                self.step(host, Input::LinkDown { link, reason });
            }
            // The node closed the link while these were handed out.
            Arrival::Message { link, .. }
                if !self.seats[host as usize].links.contains_key(&link.0) => {}
            Arrival::Message { link, message, peer } => {
                self.messages += 1;
                self.note_message(host, link, &message, peer);
                if let Some(ledger) = &mut self.checks.ledger
                    && let Some(what) = ledger.on_message(host, link, &message)
                {
                    self.checks.fail(self.now, host, what);
                }
                if let Some(claims) = &mut self.checks.claims {
                    claims.on_message(host, link, &message);
                }
                self.step(host, Input::Message { link, message });
            }
            Arrival::Credit { link, bytes } => {
                if self.seats[host as usize].links.contains_key(&link.0) {
                    self.step(host, Input::Credit { link, bytes, passed: 0 });
                }
            }
            Arrival::Passed { link, bytes } => {
                if self.seats[host as usize].links.contains_key(&link.0) {
                    self.step(host, Input::Credit { link, bytes: 0, passed: bytes });
                }
            }
            Arrival::Datagram { from, port, packet } => {
                if port == NODE_PORT {
                    self.step(host, Input::Packet { remote: from, packet });
                } else if port == DIRECTORY_PORT
                    && let Some(directory) = &mut self.directory
                    && directory.host() == host
                    && let Some(packet) = directory.on_packet(self.now, from, packet)
                {
                    let sized = (packet_len(&packet), packet);
                    let ports = (DIRECTORY_PORT, from);
                    self.network.send_datagram(self.now, host, ports, sized, &mut self.queue);
                }
            }
        }
    }

    /// Notes what a message that arrives says of titles, blocks and parents.
    fn note_message(&mut self, host: u32, link: LinkId, message: &Message, peer: u32) {
        self.note_title(host, link, message);
        let Message::Piece { piece, offset, data } = message else { return };
        let seat = &mut self.seats[host as usize];
        seat.film_in += data.len() as u64;
        let title = seat.links.get(&link.0).map_or(TitleId(0), |ties| ties.title);
        let noted = seat.arrived_at.iter_mut().find(|noted| noted.0 == title);
        if let Some((_, arrived_at)) = noted
            && !is_tainted(data)
        {
            let per_piece = self.catalogue.any().info.layout.blocks_per_piece();
            let block = u64::from(*piece) * u64::from(per_piece) + u64::from(offset / BLOCK_LEN);
            arrived_at.note(block as usize, self.now);
        }
        if let Some(parents) = &mut seat.parents
            && !parents.contains(&peer)
        {
            parents.push(peer);
        }
    }

    /// A handshake names the title of its link.
    fn note_title(&mut self, host: u32, link: LinkId, message: &Message) {
        if let Message::Handshake(handshake) = message
            && let Some(title) = self.catalogue.named(&handshake.info_hash)
            && let Some(ties) = self.seats[host as usize].links.get_mut(&link.0)
        {
            ties.title = title;
        }
    }

    fn on_wake(&mut self, node: u32) {
        let seat = &mut self.seats[node as usize];
        if seat.wake_at != self.now {
            return;
        }
        seat.wake_at = u64::MAX;
        let Some(actor) = &seat.actor else { return };
        let due = actor.deadline().is_some_and(|deadline| deadline.as_nanos() <= self.now);
        if !due {
            self.plan_wake(node);
            return;
        }
        let millisecond = self.now / 1_000_000;
        let count = if seat.wakes.0 == millisecond { seat.wakes.1 + 1 } else { 1 };
        seat.wakes = (millisecond, count);
        self.checks.require(count <= WAKES_PER_MS_MAX, self.now, node, || {
            format!("it was woken {count} times within a millisecond")
        });
        self.step(node, Input::Wake);
    }

    fn on_job(&mut self, slot: u32) {
        let job = &mut self.jobs[slot as usize];
        let (node, process, ticket) = (job.node, job.process, job.ticket);
        let outcome = job.outcome.take();
        self.free_jobs.push(slot);
        let seat = &mut self.seats[node as usize];
        if seat.process == process
            && let Some(outcome) = outcome
        {
            seat.tickets.retain(|&other| other != ticket);
            self.step(node, Input::Done { ticket, outcome });
        }
    }

    /// One turn of one node.
    fn step(&mut self, node: u32, input: Input) {
        let Some(mut actor) = self.seats[node as usize].actor.take() else { return };
        let film = matches!(input, Input::Message { message: Message::Piece { .. }, .. });
        self.trace.begin(self.now, node, &input);
        let mut effects = std::mem::take(&mut self.effects);
        actor.step(Instant::from_nanos(self.now), input, &mut effects);
        if film {
            let film_in = self.seats[node as usize].film_in;
            self.checks.counters(self.now, node, actor.counters(), film_in);
        }
        if self.checks.ledger.is_some()
            && self.trace.turns().is_multiple_of(self.audit_turns)
            && let Err(what) = actor.audit()
        {
            self.checks.fail(self.now, node, format!("its sums do not add up: {what}"));
        }
        self.seats[node as usize].actor = Some(actor);
        for effect in effects.drain(..) {
            self.trace.effect(&effect);
            self.apply(node, effect);
        }
        self.effects = effects;
        if let Some(ledger) = &mut self.checks.ledger
            && let Some(what) = ledger.end_turn(node, |link, title| {
                let links = &self.seats[node as usize].links;
                links.get(&link.0).is_some_and(|ties| ties.title == title)
            })
        {
            self.checks.fail(self.now, node, what);
        }
        if let Some(claims) = &mut self.checks.claims
            && let Some(what) = claims.end_turn(node)
        {
            self.checks.fail(self.now, node, what);
        }
        self.plan_wake(node);
    }

    /// Keeps at most one useful wake pending per node. A later deadline lets the earlier wake come and plans anew then.
    fn plan_wake(&mut self, node: u32) {
        let seat = &mut self.seats[node as usize];
        let Some(deadline) = seat.actor.as_ref().and_then(|actor| actor.deadline()) else { return };
        let at = deadline.as_nanos().max(self.now);
        if at < seat.wake_at {
            seat.wake_at = at;
            self.queue.push(at, Event::Wake(node));
        }
    }

    fn apply(&mut self, node: u32, effect: Effect) {
        match effect {
            Effect::Dial { link, remote } => {
                self.checks.require(link.is_dialed(), self.now, node, || {
                    format!("it dialed with the odd link number {}", link.0)
                });
                let ties = Ties { open: false, title: TitleId(0) };
                let fresh = self.seats[node as usize].links.insert(link.0, ties).is_none();
                self.checks.require(fresh, self.now, node, || {
                    format!("it dialed with link number {}, which is in use", link.0)
                });
                self.network.dial(self.now, node, link, remote, &mut self.queue);
            }
            Effect::Close { link, reason } => self.close(node, link, reason),
            Effect::Send { link, message } => self.send(node, link, message),
            Effect::Packet { remote, packet } => {
                if let Packet::Tracker(_) = &packet {
                    let sized = (packet_len(&packet), packet);
                    let ports = (NODE_PORT, remote);
                    self.network.send_datagram(self.now, node, ports, sized, &mut self.queue);
                }
            }
            Effect::Submit { ticket, job } => self.submit(node, ticket, *job),
            Effect::Tell(event) => self.on_told(node, event),
        }
    }

    /// What was said on a link of a node does not matter any more.
    fn forget_link(&mut self, node: u32, link: LinkId) {
        if let Some(ledger) = &mut self.checks.ledger {
            ledger.on_link_down(node, link);
        }
        if let Some(claims) = &mut self.checks.claims {
            claims.on_link_down(node, link);
        }
    }
    fn close(&mut self, node: u32, link: LinkId, reason: CloseReason) {
        self.forget_link(node, link);
        let known = self.seats[node as usize].links.remove(&link.0).is_some();
        self.network.close(self.now, node, link, reason, &mut self.queue);
        self.checks.require(known, self.now, node, || {
            format!("it closed link {} ({reason:?}), which is not open", link.0)
        });
    }

    fn send(&mut self, node: u32, link: LinkId, mut message: Message) {
        let deceit = self.seats[node as usize].deceit;
        self.note_title(node, link, &message);
        if let Message::Piece { data, .. } = &mut message {
            self.seats[node as usize].note_film_out(link, data.len() as u64);
            self.checks.require(!is_tainted(data), self.now, node, || {
                "it sends bytes that fail their hash".to_owned()
            });
            let draw =
                deceit.corrupt_permille > 0 && self.rng.chance(deceit.corrupt_permille, 1000);
            if draw {
                *data = tainted(data.len());
            }
            let length = data.len() as i64;
            let credit = self.network.credit(node, link).unwrap_or(length);
            self.checks.require(credit >= length, self.now, node, || {
                format!(
                    "it sends {length} bytes of a piece on link {} with credit {credit}",
                    link.0
                )
            });
        }
        if deceit.claims_all && matches!(message, Message::Bitfield(_) | Message::HaveNone) {
            message = Message::HaveAll;
        }
        if let Some(ledger) = &mut self.checks.ledger {
            ledger.on_send(self.now, node, link, &message);
        }
        let ties = self.seats[node as usize].links.get(&link.0);
        let (open, title) = ties.map_or((false, TitleId(0)), |ties| (ties.open, ties.title));
        let disk = &self.seats[node as usize].disk;
        let has = |piece| disk.has_piece(title, piece);
        let pieces = self.catalogue.any().info.layout.piece_count();
        if let Some(claims) = self.checks.claims.as_mut().filter(|_| !deceit.claims_all)
            && let Some(piece) = claims.on_send(node, link, &message, pieces, has)
        {
            let what = format!("it announces piece {piece}, which is not on its disk");
            self.checks.fail(self.now, node, what);
        }
        self.checks.require(open, self.now, node, || {
            format!("it sends {} on link {}, which is not open", name_of(&message), link.0)
        });
        // What the other end will never hear is lost with the link.
        self.network.offer(node, link, message);
    }

    fn submit(&mut self, node: u32, ticket: Ticket, job: Job) {
        let now = self.now;
        let seat = &mut self.seats[node as usize];
        let twice = seat.tickets.contains(&ticket);
        seat.tickets.push(ticket);
        self.checks.require(!twice, now, node, || format!("ticket {} is used twice", ticket.0));
        if let Job::Write { title, offset, parts } = &job {
            let length: usize = parts.iter().map(bytes::Bytes::len).sum();
            let per_piece = u64::from(self.catalogue.any().info.layout.piece_length());
            if let Some(ledger) = &mut self.checks.ledger {
                let piece = (offset / per_piece) as u32;
                ledger.on_stored(*title, piece, (offset % per_piece) as u32, length as u32);
            }
        }
        if let Job::Evict { title, pieces, .. } = &job
            && let Some(claims) = &mut self.checks.claims
        {
            let is_of =
                |link: LinkId| seat.links.get(&link.0).is_some_and(|ties| ties.title == *title);
            claims.on_evict(node, pieces, is_of);
        }
        let (at, outcome, wrong) = seat.disk.run(now, job);
        if let Some(most) = seat.disk.stored_max {
            let stored = seat.disk.stored_bytes();
            self.checks.require(stored <= most, now, node, || {
                format!("it stores {stored} bytes where it may store {most}")
            });
        }
        if let Some(wrong) = wrong {
            let what = match wrong {
                Wrong::StoredTaint => "it stores bytes that fail their hash",
                Wrong::ReadUnstored => "it reads bytes that it never stored",
                Wrong::SavedUnstored => "it vouches for bytes that it never stored",
                Wrong::FreedRecorded => "it frees pieces for which its record vouches",
            };
            self.checks.fail(now, node, what.to_owned());
        }
        let process = seat.process;
        let pending = PendingJob { node, process, ticket, outcome: Some(outcome) };
        let slot = match self.free_jobs.pop() {
            Some(slot) => {
                self.jobs[slot as usize] = pending;
                slot
            }
            None => {
                self.jobs.push(pending);
                self.jobs.len() as u32 - 1
            }
        };
        self.queue.push(at.max(now + 1), Event::Job(slot));
    }

    fn on_told(&mut self, node: u32, event: Told) {
        match &event {
            Told::Data { data, .. } => {
                self.checks.require(!is_tainted(data), self.now, node, || {
                    "it gives a reader bytes that fail their hash".to_owned()
                });
                return;
            }
            Told::Ready { .. } => return,
            Told::Complete { title, .. } => {
                let disk = &self.seats[node as usize].disk;
                let stored = disk.pieces(*title);
                // Under a quota complete is what there is room for.
                let is_limited = disk.stored_max.is_some();
                self.checks.require(stored.is_full() || is_limited, self.now, node, || {
                    format!(
                        "it calls the title complete with {} pieces missing",
                        stored.len() - stored.ones()
                    )
                });
            }
            _ => {}
        }
        self.told.push((self.now, node, event));
    }

    /// Checks that hold when the world has come to rest.
    pub fn check_end(&mut self) {
        if let Some(ledger) = &self.checks.ledger
            && let Some((node, what)) =
                ledger.leaked(self.now, |host, link| self.network.is_whole(host, link))
        {
            self.checks.fail(self.now, node, what);
        }
        for host in 0..self.hosts() {
            let seat = &self.seats[host as usize];
            let Some(actor) = &seat.actor else { continue };
            let received: u64 = actor.counters().iter().map(|count| count.received).sum();
            let film_in = seat.film_in;
            self.checks.require(received == film_in, self.now, host, || {
                format!("it got {film_in} film bytes and counts {received}")
            });
        }
    }
}

/// The first word of a message.
fn name_of(message: &Message) -> String {
    let text = format!("{message:?}");
    text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned()
}

/// Address at which a host's node listens.
#[must_use]
pub fn listen_address(host: u32) -> SocketAddr {
    address_of(host)
}

/// Settings that every simulated node shares: it listens on the world's port, and there is no multicast.
#[must_use]
pub fn base_config() -> config::Config {
    let mut config = config::Config { listen_port: NODE_PORT, ..config::Config::default() };
    config.discover.local = false;
    config
}
