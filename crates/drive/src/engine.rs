//! The loop of one node: what happened goes in, what it wants done goes out, both in batches.
//!
//! One thread, one owner. Tasks of the thread read sockets and leave whole frames in the inbox; threads of the pool leave
//! answers. The engine takes what there is (answers first, they are what others wait for), makes one turn of the node for
//! each, hands the jobs of the whole batch to the pool at once, and flushes each link once with a vectored write.
//! The only clock that the node sees is read here ([`crate::clock`]).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock};

use bytes::Bytes;
use shoal_node::io::{CloseReason, Command, Event, Failure, FailureKind, Family, Job, Outcome};
use shoal_node::link::{LinkId, ReaderId, Ticket};
use shoal_node::stack::Socket;
use shoal_node::stats::{CacheView, TitleView};
use shoal_node::time::Instant;
use shoal_node::{Machine, Stack, StackEffect, StackInput};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::address::{Allow, Trusted, Zone, zone};
use crate::clock::NodeClock;
use crate::config::{
    ACCEPT_PAUSE, ACCEPTED_PER_ADDRESS_MAX, BACKLOG_MAX, BULK_PAUSE, BULK_WAITING_MAX,
    DATAGRAM_MAX, NETWORK_JOBS_MAX, SLEPT, TRACKER_BODY_MAX, TRAVEL_LOOK, TURNS_MAX,
    WALL_CLOCK_SLACK,
};
use crate::fetch::{Fetched, fetch};
use crate::hub::Hub;
use crate::inbox::Arrival;
use crate::link::{Commons, Link, dial};
use crate::outbox::Grant;
use crate::pool::{Answered, Pool, Submitted};
use crate::recording::Recording;
use crate::resolve::resolve_for_node;
use crate::sockets::{Sockets, is_own_address};
use crate::upkeep;

/// What handles ask of the engine.
#[derive(Debug)]
pub(crate) enum Request {
    Command(Command),
    Views(oneshot::Sender<Vec<TitleView>>),
    Cache(oneshot::Sender<Option<CacheView>>),
}

/// What handles and the engine's thread share besides the requests.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Something below changed, or the pool has answers.
    pub(crate) wake: Notify,
    /// End at once.
    pub(crate) abort: AtomicBool,
    /// Readers that were dropped.
    pub(crate) closed_readers: std::sync::Mutex<Vec<ReaderId>>,
}

/// All that an engine is made of; built on its own thread.
pub(crate) struct Parts {
    pub(crate) stack: Stack,
    pub(crate) clock: NodeClock,
    pub(crate) sockets: Sockets,
    pub(crate) pool: Pool,
    pub(crate) requests: mpsc::Receiver<Request>,
    pub(crate) signals: Arc<Signals>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) recording: Option<Recording>,
    pub(crate) connections_max: usize,
    pub(crate) trusted: Trusted,
}

/// The running loop.
pub(crate) struct Engine {
    parts: Parts,
    commons: Rc<Commons>,
    links: HashMap<LinkId, Rc<Link>>,
    /// Links accepted in this run: gives them their odd numbers.
    accepted: u32,
    /// Open accepted links by address.
    guests: HashMap<IpAddr, usize>,
    dialing: HashMap<LinkId, tokio::task::AbortHandle>,
    /// Links with something to flush.
    dirty: Vec<Rc<Link>>,
    /// Links on which film is on its way, and when they are looked at.
    travelling: Vec<Rc<Link>>,
    look_at: Option<Clock>,
    udp: Vec<Rc<UdpSocket>>,
    local: Vec<Rc<UdpSocket>>,
    effects: Vec<StackEffect>,
    jobs: Vec<Submitted>,
    answers: Vec<Answered>,
    /// Tasks that live as long as the engine, and network jobs.
    tasks: JoinSet<()>,
    network: Rc<Semaphore>,
    /// Since when the pool has more than [`BULK_WAITING_MAX`] before it.
    crowded: Option<Clock>,
    /// Arrivals wait for the pool until then, at most.
    paused_until: Option<Clock>,
    /// What the node was told that the wall clock shows, and when.
    wall: Option<(Duration, Instant)>,
    stopped: bool,
}

impl Engine {
    /// Starts the tasks. Must be called inside a `LocalSet`.
    pub(crate) fn new(mut parts: Parts) -> std::io::Result<Self> {
        let commons = Rc::new(Commons::new());
        let mut tasks = JoinSet::new();
        for listener in parts.sockets.tcp.drain(..) {
            let listener = TcpListener::from_std(listener)?;
            tasks.spawn_local(accept(listener, Rc::clone(&commons)));
        }
        let mut receive = |sockets: Vec<std::net::UdpSocket>, kind| {
            let open = |socket| UdpSocket::from_std(socket).map(Rc::new);
            let sockets = sockets.into_iter().map(open).collect::<Result<Vec<_>, _>>()?;
            for socket in &sockets {
                tasks.spawn_local(receive(Rc::clone(socket), kind, Rc::clone(&commons)));
            }
            std::io::Result::Ok(sockets)
        };
        let udp = receive(std::mem::take(&mut parts.sockets.udp), Socket::Peer)?;
        let local = receive(std::mem::take(&mut parts.sockets.local), Socket::Local)?;
        tasks.spawn_local(upkeep::look(Rc::clone(&commons)));
        Ok(Self {
            parts,
            commons,
            links: HashMap::new(),
            accepted: 0,
            guests: HashMap::new(),
            dialing: HashMap::new(),
            dirty: Vec::new(),
            travelling: Vec::new(),
            look_at: None,
            udp,
            local,
            effects: Vec::new(),
            jobs: Vec::new(),
            answers: Vec::new(),
            tasks,
            network: Rc::new(Semaphore::new(NETWORK_JOBS_MAX)),
            crowded: None,
            paused_until: None,
            wall: None,
            stopped: false,
        })
    }

    /// Runs until the node has stopped or was aborted; then nothing of it is left but the pool's last jobs, which are
    /// done too.
    pub(crate) async fn run(mut self) {
        self.tell_time();
        while !self.stopped && !self.parts.signals.abort.load(Ordering::Relaxed) {
            if self.batch() {
                // There is more: let the sockets be looked at in between.
                tokio::task::yield_now().await;
            } else {
                self.wait().await;
            }
        }
        let abort = self.parts.signals.abort.load(Ordering::Relaxed);
        for link in self.links.values() {
            link.close();
        }
        self.tasks.shutdown().await;
        self.parts.hub.close();
        if let Some(recording) = self.parts.recording.take()
            && !recording.end()
        {
            self.parts.hub.tell(Event::Trouble {
                title: None,
                message: "the record was cut short: the disk could not keep up".to_owned(),
                fatal: false,
            });
        }
        self.parts.pool.close(abort);
    }

    /// Sleeps until there is something to do.
    async fn wait(&mut self) {
        let deadline = self
            .parts
            .stack
            .deadline()
            .map(|deadline| tokio::time::Instant::from_std(self.parts.clock.real(deadline)));
        let pause = self.paused_until.map(tokio::time::Instant::from_std);
        let look = self.look_at.map(tokio::time::Instant::from_std);
        let deadline = deadline.into_iter().chain(pause).chain(look).min();
        let timer = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let request = tokio::select! {
            biased;
            () = self.parts.signals.wake.notified() => None,
            () = self.commons.inbox.arrived() => None,
            request = self.parts.requests.recv() => match request {
                Some(request) => Some(request),
                // All handles are gone: nobody could ever stop us.
                None => Some(Request::Command(Command::Shutdown)),
            },
            // Done jobs are reaped; a panic in one is seen as a job without an answer.
            Some(_) = self.tasks.join_next() => None,
            () = timer => None,
        };
        if let Some(request) = request {
            self.on_request(request);
        }
    }

    /// Takes what there is, up to a limit; true when there may be more.
    fn batch(&mut self) -> bool {
        self.look_at_clock();
        let mut turns = 0;
        let mut answers = std::mem::take(&mut self.answers);
        self.parts.pool.take_answers(&mut answers);
        for (ticket, outcome) in answers.drain(..) {
            turns += 1;
            self.step(StackInput::Done { ticket, outcome });
        }
        self.answers = answers;
        self.look_at_pool();
        while turns < TURNS_MAX
            && self.paused_until.is_none()
            && self.parts.pool.backlog() + self.jobs.len() < BACKLOG_MAX
            && let Some(arrival) = self.commons.inbox.pop()
        {
            turns += 1;
            self.on_arrival(arrival);
        }
        while turns < TURNS_MAX
            && let Ok(request) = self.parts.requests.try_recv()
        {
            turns += 1;
            self.on_request(request);
        }
        // Only when no request is left that might open one of them.
        if turns < TURNS_MAX {
            let closed = match self.parts.signals.closed_readers.lock() {
                Ok(mut closed) => std::mem::take(&mut *closed),
                Err(poisoned) => std::mem::take(&mut *poisoned.into_inner()),
            };
            for reader in closed {
                self.step(StackInput::Command(Command::Close { reader }));
            }
        }
        self.look_at_links();
        let now = self.parts.clock.at(Clock::now());
        if self.parts.stack.deadline().is_some_and(|deadline| deadline <= now) {
            turns += 1;
            self.step(StackInput::Wake);
        }
        self.flush();
        if !self.jobs.is_empty() {
            self.parts.pool.submit(self.jobs.drain(..));
        }
        turns > 0 || !self.dirty.is_empty()
    }

    /// Decides whether arrivals wait for the pool.
    fn look_at_pool(&mut self) {
        self.paused_until = None;
        if self.parts.pool.bulk_waiting() < BULK_WAITING_MAX {
            self.crowded = None;
            return;
        }
        let now = Clock::now();
        let end = *self.crowded.get_or_insert(now) + BULK_PAUSE;
        self.paused_until = (now < end).then_some(end);
    }

    /// Leaves out of the node's time what this process did not see of it. After a long gap links may be dead.
    fn look_at_clock(&mut self) {
        let stack = &self.parts.stack;
        let gap = self.parts.clock.skip_gap(Clock::now(), || stack.deadline());
        if gap.is_some_and(|gap| gap > SLEPT) {
            self.commons.inbox.push(Arrival::Look { moved: true });
        }
    }

    /// One turn of the node.
    fn step(&mut self, input: StackInput) {
        self.look_at_clock();
        let now = self.parts.clock.at(Clock::now());
        let mut effects = std::mem::take(&mut self.effects);
        if let Some(recording) = &mut self.parts.recording {
            recording.input(now, &input);
        }
        self.parts.stack.step(now, input, &mut effects);
        if let Some(recording) = &mut self.parts.recording {
            recording.effects(&effects);
        }
        for effect in effects.drain(..) {
            self.apply(effect);
        }
        self.effects = effects;
    }

    fn apply(&mut self, effect: StackEffect) {
        match effect {
            StackEffect::Write { link, bytes, film } => {
                if let Some(link) = self.links.get(&link) {
                    link.push(bytes, film);
                    if !link.dirty.replace(true) {
                        self.dirty.push(Rc::clone(link));
                    }
                }
            }
            StackEffect::Submit { ticket, job } => match *job {
                Job::Resolve { host, port } => self.resolve(ticket, host, port),
                Job::Fetch { url, family } => self.fetch(ticket, url, family),
                job => self.jobs.push((ticket, Box::new(job))),
            },
            StackEffect::Dial { link, remote } => {
                let task = self.tasks.spawn_local(dial(link, remote, Rc::clone(&self.commons)));
                self.dialing.insert(link, task);
            }
            StackEffect::Close { link, reason } => {
                self.close(link);
                if let Some(task) = self.dialing.remove(&link) {
                    task.abort();
                }
                self.commons.inbox.push(Arrival::Down { link, reason });
            }
            StackEffect::Datagram { socket, remote, bytes } => self.send(socket, remote, &bytes),
            StackEffect::Tell(event) => {
                self.stopped |= matches!(event, Event::Stopped);
                if let Event::Trouble { title: Some(title), message, fatal } = &event
                    && !self.parts.pool.is_news(*title, message, *fatal)
                {
                    return;
                }
                self.parts.hub.tell(event);
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        match request {
            Request::Command(command) => {
                if let Command::Limits { down, .. } = command {
                    self.commons.throttle.set(down);
                }
                let left = match command {
                    Command::Remove { title } => Some(title),
                    _ => None,
                };
                if matches!(command, Command::Shutdown) {
                    self.parts.pool.cancel_checks();
                }
                self.step(StackInput::Command(command));
                if let Some(title) = left {
                    // After all jobs that its end has made.
                    self.parts.pool.submit(self.jobs.drain(..));
                    self.parts.pool.forget(title);
                    self.parts.hub.forget_title(title);
                }
            }
            Request::Cache(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.parts.stack.node().cache());
            }
            Request::Views(answer) => {
                // Whoever asked may have gone.
                let _ = answer.send(self.parts.stack.node().views());
            }
        }
    }

    fn on_arrival(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Bytes { link, bytes } => {
                if self.links.contains_key(&link) {
                    self.step(StackInput::Bytes { link, bytes });
                }
            }
            Arrival::Sent { link } => {
                if let Some(link) = self.links.get(&link).cloned() {
                    self.grant(&link);
                }
            }
            Arrival::Down { link, reason } => {
                self.dialing.remove(&link);
                self.close(link);
                self.step(StackInput::LinkDown { link, reason });
            }
            Arrival::Dialed { link, stream } => {
                if self.dialing.remove(&link).is_some() {
                    self.up(link, stream);
                }
            }
            Arrival::Accepted { stream } => {
                if self.links.len() < self.parts.connections_max {
                    self.accepted = self.accepted.wrapping_add(1);
                    self.up(LinkId(self.accepted.wrapping_mul(2).wrapping_sub(1)), stream);
                }
            }
            Arrival::Datagram { socket, remote, bytes } => {
                self.step(StackInput::Datagram { socket, remote, bytes });
            }
            Arrival::Done { ticket, outcome } => self.step(StackInput::Done { ticket, outcome }),
            Arrival::Look { moved } => {
                self.tell_time();
                self.look_at_network(moved);
            }
        }
    }

    /// Tells the node what the wall clock shows, if that is not what follows from what it was told: its own time leaves out
    /// what this process slept, and a wall clock can be set.
    fn tell_time(&mut self) {
        let (wall, now) = (upkeep::wall(), self.parts.clock.at(Clock::now()));
        let expected = self.wall.map(|(told, at)| told + now.since(at));
        if expected.is_none_or(|expected| expected.abs_diff(wall) >= WALL_CLOCK_SLACK) {
            self.wall = Some((wall, now));
            let unix_ms = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
            self.step(StackInput::Clock { unix_ms });
        }
    }

    /// Ends links from addresses that this machine does not have any more: the system would notice after most of a minute, and
    /// the other end would take a new link for a copy. `moved`: it reaches the internet from another address.
    fn look_at_network(&mut self, moved: bool) {
        let mut own: HashMap<IpAddr, bool> = HashMap::new();
        let mut is_own = |address| *own.entry(address).or_insert_with(|| is_own_address(address));
        let is_gone = |link: &&Rc<Link>| link.local().is_some_and(|address| !is_own(address));
        let gone: Vec<LinkId> = self.links.values().filter(is_gone).map(|link| link.id()).collect();
        let moved = moved || !gone.is_empty();
        for link in gone {
            self.on_arrival(Arrival::Down { link, reason: CloseReason::Remote });
        }
        if moved {
            self.step(StackInput::Command(Command::NetworkChanged));
        }
    }

    /// An open link.
    fn up(&mut self, id: LinkId, stream: TcpStream) {
        let Ok(remote) = stream.peer_addr() else {
            // Gone before we looked.
            if id.is_dialed() {
                self.step(StackInput::LinkDown { link: id, reason: CloseReason::Remote });
            }
            return;
        };
        if !id.is_dialed() && zone(remote.ip()) != Zone::Local {
            let open = self.guests.entry(remote.ip()).or_default();
            if *open >= ACCEPTED_PER_ADDRESS_MAX {
                return;
            }
            *open += 1;
        }
        let link = Link::start(id, remote, stream, &self.commons);
        self.links.insert(id, Rc::clone(&link));
        self.step(StackInput::LinkUp { link: id, remote });
        self.grant(&link);
    }

    /// Ends a link; what was written on it is still sent.
    fn close(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        link.close();
        let address = link.remote().ip();
        if !id.is_dialed()
            && let Some(open) = self.guests.get_mut(&address)
        {
            *open -= 1;
            if *open == 0 {
                self.guests.remove(&address);
            }
        }
    }

    fn grant(&mut self, link: &Rc<Link>) {
        if let Some(Grant { credit, passed }) = link.grant() {
            self.step(StackInput::Credit { link: link.id(), bytes: credit, passed });
        }
        if link.is_travelling() && !link.watched.replace(true) {
            self.travelling.push(Rc::clone(link));
            self.look_at.get_or_insert_with(|| Clock::now() + TRAVEL_LOOK);
        }
    }

    /// Tells the node what arrived meanwhile.
    fn look_at_links(&mut self) {
        if self.look_at.is_none_or(|at| Clock::now() < at) {
            return;
        }
        self.look_at = None;
        for link in std::mem::take(&mut self.travelling) {
            link.watched.set(false);
            if self.links.contains_key(&link.id()) {
                self.grant(&link);
            }
        }
    }

    /// Gives each link's bytes to the kernel; what it takes becomes credit, which may make more bytes.
    fn flush(&mut self) {
        for _ in 0..TURNS_MAX {
            // What is left is flushed by the next batch.
            let Some(link) = self.dirty.pop() else { return };
            link.dirty.set(false);
            match link.flush() {
                Ok(()) if self.links.contains_key(&link.id()) => self.grant(&link),
                Ok(()) => {}
                Err(reason) => self.commons.inbox.push(Arrival::Down { link: link.id(), reason }),
            }
        }
    }

    fn send(&self, socket: Socket, remote: SocketAddr, bytes: &[u8]) {
        let sockets = match socket {
            Socket::Peer => &self.udp,
            Socket::Local => &self.local,
        };
        let fits = |socket: &&Rc<UdpSocket>| {
            socket.local_addr().is_ok_and(|own| own.is_ipv4() == remote.is_ipv4())
        };
        if let Some(socket) = sockets.iter().find(fits) {
            // Datagrams get lost; who sent them asks again.
            let _ = socket.try_send_to(bytes, remote);
        }
    }

    fn resolve(&mut self, ticket: Ticket, host: String, port: u16) {
        let local_names = self.parts.trusted.has_udp(&host, port);
        self.network_job(ticket, async move {
            match resolve_for_node(&host, port, local_names).await {
                Ok(addresses) => Outcome::Resolved(addresses),
                Err(failure) => Outcome::Failed(failure),
            }
        });
    }
    fn fetch(&mut self, ticket: Ticket, url: String, family: Option<Family>) {
        let allow = Allow { local_names: self.parts.trusted.has_url(&url), typed: false, family };
        self.network_job(ticket, async move {
            match fetch(&url, TRACKER_BODY_MAX, allow).await {
                Ok(Fetched { status, body, family }) => Outcome::Fetched { status, body, family },
                Err(error) => Outcome::Failed(Failure {
                    kind: FailureKind::Network,
                    message: error.to_string(),
                }),
            }
        });
    }
    fn network_job(&mut self, ticket: Ticket, job: impl Future<Output = Outcome> + 'static) {
        let (commons, network) = (Rc::clone(&self.commons), Rc::clone(&self.network));
        self.tasks.spawn_local(async move {
            // The semaphore is never closed while its tasks live.
            let Ok(_permit) = network.acquire().await else { return };
            let outcome = job.await;
            commons.inbox.push(Arrival::Done { ticket, outcome });
        });
    }
}

async fn accept(listener: TcpListener, commons: Rc<Commons>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => commons.inbox.push(Arrival::Accepted { stream }),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn receive(socket: Rc<UdpSocket>, kind: Socket, commons: Rc<Commons>) {
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, remote)) => {
                let bytes = Bytes::copy_from_slice(&buffer[..length]);
                commons.inbox.push(Arrival::Datagram { socket: kind, remote, bytes });
            }
            // An earlier datagram of ours was refused; the socket is fine.
            Err(_) => tokio::task::yield_now().await,
        }
    }
}
