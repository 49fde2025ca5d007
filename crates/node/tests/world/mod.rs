//! A few nodes with real bytes and real hashes on ideal wires: a delay each way and an uplink each. For tests of what nodes
//! do, not of how networks behave; that is the simulator's.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shoal_node::config::Config;
use shoal_node::io::{
    AddTitle, Command, Effect, Event, Failure, FailureKind, Input, Job, Outcome, ResumeRecord,
};
use shoal_node::link::{LinkId, TitleId};
use shoal_node::rng::{Rng, Seed};
use shoal_node::time::{Instant, time_of};
use shoal_node::{Machine, Node};
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle;
use shoal_wire::metainfo::{Info, Metainfo, TitleExtras, TitleHashes, TitlePlan, Version};
use shoal_wire::peer::{BLOCK_LEN, Extended, Message};
use shoal_wire::time_index::TimeIndex;

pub(crate) const TITLE: TitleId = TitleId(0);
const DELAY: Duration = Duration::from_millis(20);
const JOB: Duration = Duration::from_millis(1);
/// Short, as a real transport's queue must be on a slow uplink.
const CREDIT: u32 = 32 * 1024;

/// A title of one file of random bytes.
pub(crate) fn title(length: usize, piece_length: u32, version: Version) -> (Metainfo, Vec<u8>) {
    let mut rng = Rng::new(Seed::from_u64(length as u64));
    let content: Vec<u8> =
        (0..length.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(length).collect();
    let plan = TitlePlan::new(
        "film.bin",
        false,
        &[(vec!["film.bin".into()], length as u64)],
        piece_length,
        version,
    )
    .expect("a valid plan");
    let mut hashes = TitleHashes::default();
    if version.has_v1() {
        for piece in content.chunks(piece_length as usize) {
            let mut hasher = merkle::PieceHasher::new();
            hasher.update(piece);
            hashes.pieces.extend_from_slice(&hasher.finish().0);
        }
    }
    if version.has_v2() {
        let mut hasher =
            merkle::FileHasher::new(length as u64, piece_length).expect("a valid length");
        hasher.update(&content);
        hashes.trees.push(hasher.finish().expect("all bytes were given"));
    }
    (plan.finish(&hashes, &TitleExtras::default()).expect("a valid title"), content)
}

/// A folder of three files, the first two with the same content. The bytes are those of piece space, padding included.
pub(crate) fn folder(piece_length: u32, version: Version) -> (Metainfo, Vec<u8>) {
    let mut rng = Rng::new(Seed::from_u64(3));
    let mut random =
        |length: usize| -> Vec<u8> { (0..length).map(|_| rng.next_u32() as u8).collect() };
    let twin = random(2 * piece_length as usize + 20_000);
    let files = [twin.clone(), twin, random(3 * piece_length as usize / 2)];
    let paths = ["a.bin", "b.bin", "c.bin"].map(|path| vec![path.to_owned()]);
    let listed: Vec<_> =
        paths.into_iter().zip(&files).map(|(path, file)| (path, file.len() as u64)).collect();
    let plan = TitlePlan::new("films", true, &listed, piece_length, version).expect("a valid plan");
    let mut content = vec![0; plan.layout().nominal_end() as usize];
    let mut hashes = TitleHashes::default();
    for planned in plan.files() {
        let file = &files[planned.source];
        content[planned.start as usize..][..file.len()].copy_from_slice(file);
        if version.has_v2() {
            let mut hasher =
                merkle::FileHasher::new(planned.length, piece_length).expect("a valid length");
            hasher.update(file);
            hashes.trees.push(hasher.finish().expect("all bytes were given"));
        }
    }
    for piece in content.chunks(piece_length as usize).filter(|_| version.has_v1()) {
        let mut hasher = merkle::PieceHasher::new();
        hasher.update(piece);
        hashes.pieces.extend_from_slice(&hasher.finish().0);
    }
    (plan.finish(&hashes, &TitleExtras::default()).expect("a valid title"), content)
}

/// How a host misbehaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Lie {
    None,
    /// Flips a bit in every block it sends.
    Corrupt,
    /// Never sends a block.
    Silent,
    /// Rejects hash requests, as a foreign seed may.
    NoHashes,
}

/// What a host can speak: less makes it a foreign client, towards everybody.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Speech {
    /// BEP 6.
    pub(crate) fast: bool,
    /// BEP 10.
    pub(crate) extended: bool,
    /// Our own extension.
    pub(crate) shoal: bool,
}

impl Speech {
    pub(crate) const OURS: Self = Self { fast: true, extended: true, shoal: true };

    /// What is left of a handshake between the host and another.
    fn cut(self, message: Message) -> Message {
        match message {
            Message::Handshake(mut handshake) => {
                handshake.fast &= self.fast;
                handshake.extended &= self.extended;
                if !self.shoal {
                    handshake.peer_id.0[1..3].copy_from_slice(b"qB");
                }
                Message::Handshake(handshake)
            }
            Message::Extended(mut extended) => {
                if let Extended::Handshake(hello) = &mut *extended
                    && !self.shoal
                {
                    hello.shoal = None;
                    hello.ids.shoal = 0;
                }
                Message::Extended(extended)
            }
            other => other,
        }
    }
}

pub(crate) struct Host {
    pub(crate) node: Node,
    pub(crate) addr: SocketAddr,
    pub(crate) disk: Vec<u8>,
    pub(crate) events: Vec<(Instant, Event)>,
    pub(crate) lie: Lie,
    pub(crate) speech: Speech,
    /// Nothing can be written.
    pub(crate) full: bool,
    /// Addresses it dialed.
    pub(crate) dials: Vec<SocketAddr>,
    up_rate: u64,
    up_free: Instant,
    accepted: u32,
    info: Option<Arc<Info>>,
    pub(crate) saved: Option<ResumeRecord>,
}

enum Happening {
    Input(usize, Box<Input>),
    /// The last block sent has left: credit is back.
    Left(usize, LinkId, u32),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) hosts: Vec<Host>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    sequence: u64,
    wires: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    armed: Vec<Option<Instant>>,
    pub(crate) turns: u64,
    /// Time index of the file, told to everybody who joins.
    pub(crate) index: Option<Arc<TimeIndex>>,
    /// Blocks that the next one who joins already has on its disk.
    pub(crate) partial: Vec<(u32, Bitfield)>,
    /// The next one who joins is a source.
    pub(crate) source: bool,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::from_millis(1000),
            hosts: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            wires: BTreeMap::new(),
            armed: Vec::new(),
            turns: 0,
            index: None,
            partial: Vec::new(),
            source: false,
        }
    }
    /// A host with an uplink of `up_rate` bytes/s.
    pub(crate) fn host(&mut self, up_rate: u64, lie: Lie) -> usize {
        self.host_with(up_rate, lie, |_| {})
    }
    /// A host with settings of its own.
    pub(crate) fn host_with(
        &mut self,
        up_rate: u64,
        lie: Lie,
        tune: impl FnOnce(&mut Config),
    ) -> usize {
        let index = self.hosts.len();
        let port = 7000 + index as u16;
        let mut config = Config { listen_port: port, ..Config::default() };
        config.discover.local = false;
        tune(&mut config);
        self.hosts.push(Host {
            node: Node::new(Arc::new(config), Seed::from_u64(index as u64 + 1), self.now),
            addr: SocketAddr::from(([10, 0, 0, index as u8 + 1], port)),
            disk: Vec::new(),
            events: Vec::new(),
            lie,
            speech: Speech::OURS,
            full: false,
            dials: Vec::new(),
            up_rate,
            up_free: self.now,
            accepted: 0,
            info: None,
            saved: None,
        });
        self.armed.push(None);
        index
    }
    /// Gives a host the title, holding the pieces for which `holds` is true.
    pub(crate) fn join(
        &mut self,
        host: usize,
        meta: &Metainfo,
        content: &[u8],
        holds: impl Fn(u32) -> bool,
        peers: &[usize],
        magnet: bool,
    ) {
        let info = Arc::new(meta.info.clone());
        let mut have = Bitfield::new(info.layout.piece_count());
        let mut disk = vec![0; info.layout.nominal_end() as usize];
        for piece in info.layout.pieces().filter(|piece| holds(piece.get())) {
            let start = info.layout.start(piece) as usize;
            let end = start + info.layout.data_len(piece) as usize;
            disk[start..end].copy_from_slice(&content[start..end]);
            have.set(piece.get());
        }
        for (piece, bits) in &self.partial {
            for block in bits.iter() {
                let start = (piece * info.layout.piece_length() + block * BLOCK_LEN) as usize;
                let end = content.len().min(start + BLOCK_LEN as usize);
                disk[start..end].copy_from_slice(&content[start..end]);
            }
        }
        self.hosts[host].disk = disk;
        self.hosts[host].info = Some(Arc::clone(&info));
        let peers = peers.iter().map(|&peer| self.hosts[peer].addr).collect();
        let setup = AddTitle {
            info: (!magnet).then(|| Arc::clone(&info)),
            piece_layers: if magnet { Vec::new() } else { meta.piece_layers.clone() },
            peers,
            have: (!magnet).then_some(have),
            partial: core::mem::take(&mut self.partial),
            source: core::mem::take(&mut self.source),
            time_indexes: self.index.iter().map(|index| (0, Arc::clone(index))).collect(),
            ..AddTitle::new(TITLE, info.hashes)
        };
        self.input(host, Input::Command(Command::Add(Box::new(setup))));
    }
    /// Takes a host off the network.
    pub(crate) fn cut_off(&mut self, host: usize) {
        let ends: Vec<_> = self.wires.keys().copied().filter(|end| end.0 == host).collect();
        for end in ends {
            let Some(other) = self.wires.remove(&end) else { continue };
            self.wires.remove(&other);
            for (at, link) in [end, other] {
                let reason = shoal_node::io::CloseReason::Remote;
                self.later(DELAY, at, Input::LinkDown { link, reason });
            }
        }
        self.hosts[host].addr.set_port(1);
    }
    pub(crate) fn input(&mut self, host: usize, input: Input) {
        let mut effects = Vec::new();
        self.turns += 1;
        self.hosts[host].node.step(self.now, input, &mut effects);
        if let Err(broken) = self.hosts[host].node.audit() {
            panic!("host {host}: {broken}");
        }
        for effect in effects {
            self.apply(host, effect);
        }
        let deadline = self.hosts[host].node.deadline();
        if let Some(at) = deadline
            && self.armed[host].is_none_or(|armed| at < armed)
        {
            self.armed[host] = Some(at);
            self.push(at.max(self.now), Happening::Input(host, Box::new(Input::Wake)));
        }
    }
    fn push(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((at, self.sequence)));
        self.happenings.insert(self.sequence, happening);
    }
    fn later(&mut self, delay: Duration, host: usize, input: Input) {
        self.push(self.now + delay, Happening::Input(host, Box::new(input)));
    }
    fn apply(&mut self, host: usize, effect: Effect) {
        match effect {
            Effect::Dial { link, remote } => {
                self.hosts[host].dials.push(remote);
                let Some(other) = self.hosts.iter().position(|peer| peer.addr == remote) else {
                    let reason = shoal_node::io::CloseReason::Unreachable;
                    return self.later(DELAY, host, Input::LinkDown { link, reason });
                };
                let there = LinkId(self.hosts[other].accepted * 2 + 1);
                self.hosts[other].accepted += 1;
                self.wires.insert((host, link), (other, there));
                self.wires.insert((other, there), (host, link));
                let from = SocketAddr::new(self.hosts[host].addr.ip(), 40_000 + there.0 as u16);
                self.later(DELAY, other, Input::LinkUp { link: there, remote: from });
                self.later(DELAY, other, Input::Credit { link: there, bytes: CREDIT, passed: 0 });
                self.later(DELAY * 2, host, Input::LinkUp { link, remote });
                self.later(DELAY * 2, host, Input::Credit { link, bytes: CREDIT, passed: 0 });
            }
            Effect::Close { link, .. } => {
                if let Some((other, there)) = self.wires.remove(&(host, link)) {
                    self.wires.remove(&(other, there));
                    let reason = shoal_node::io::CloseReason::Remote;
                    // Behind what was sent before.
                    let left = self.hosts[host].up_free.max(self.now) + DELAY;
                    let input = Box::new(Input::LinkDown { link: there, reason });
                    self.push(left, Happening::Input(other, input));
                }
            }
            Effect::Send { link, message } => self.send(host, link, message),
            Effect::Packet { .. } => {}
            Effect::Submit { ticket, job } => {
                let this = &mut self.hosts[host];
                let outcome = if this.full && matches!(*job, Job::Write { .. }) {
                    let message = "The disk is full.".into();
                    Outcome::Failed(Failure { kind: FailureKind::DiskFull, message })
                } else {
                    work(&mut this.disk, this.info.as_deref(), &job)
                };
                if let Job::Save { record, .. } = *job {
                    this.saved = Some(record);
                }
                self.later(JOB, host, Input::Done { ticket, outcome });
            }
            Effect::Tell(event) => {
                let now = self.now;
                self.hosts[host].events.push((now, event));
            }
        }
    }
    fn send(&mut self, host: usize, link: LinkId, message: Message) {
        let Some(&(other, there)) = self.wires.get(&(host, link)) else { return };
        let lie = self.hosts[host].lie;
        let message = match (lie, message) {
            (Lie::Silent, Message::Piece { .. }) => return,
            (Lie::Corrupt, Message::Piece { piece, offset, data }) => {
                let mut wrong = data.to_vec();
                wrong[0] ^= 1;
                Message::Piece { piece, offset, data: wrong.into() }
            }
            (Lie::NoHashes, Message::Hashes { range, .. }) => Message::HashReject(range),
            (_, message) => message,
        };
        let message = self.hosts[other].speech.cut(self.hosts[host].speech.cut(message));
        let length = shoal_wire::peer::encoded_len(&message) as u64;
        let sender = &mut self.hosts[host];
        sender.up_free = sender.up_free.max(self.now) + time_of(length, sender.up_rate);
        let left = sender.up_free;
        if let Message::Piece { data, .. } = &message {
            self.push(left, Happening::Left(host, link, data.len() as u32));
        }
        self.push(
            left + DELAY,
            Happening::Input(other, Box::new(Input::Message { link: there, message })),
        );
    }
    /// Runs until `done`, or gives up after `limit` of virtual time.
    pub(crate) fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            let Some(&Reverse((at, sequence))) = self.queue.peek() else { return false };
            if at > end {
                self.now = end;
                return false;
            }
            self.queue.pop();
            self.now = at;
            match self.happenings.remove(&sequence) {
                Some(Happening::Input(host, input)) => {
                    if matches!(*input, Input::Wake) {
                        self.armed[host] = None;
                    }
                    self.input(host, *input);
                }
                Some(Happening::Left(host, link, bytes)) => {
                    // It arrives after a way, and the news of it come after another one.
                    self.later(DELAY * 2, host, Input::Credit { link, bytes: 0, passed: bytes });
                    self.input(host, Input::Credit { link, bytes, passed: 0 })
                }
                None => {}
            }
        }
        true
    }
    pub(crate) fn is_complete(&self, host: usize) -> bool {
        self.hosts[host].events.iter().any(|(_, event)| matches!(event, Event::Complete { .. }))
    }
    pub(crate) fn banned(&self, host: usize) -> Vec<SocketAddr> {
        let banned = |event: &Event| {
            if let Event::Banned { remote, .. } = event { Some(*remote) } else { None }
        };
        self.hosts[host].events.iter().filter_map(|(_, event)| banned(event)).collect()
    }
}

/// Does a job rightly, on a disk that holds all of piece space.
pub(crate) fn work(disk: &mut [u8], info: Option<&Info>, job: &Job) -> Outcome {
    match job {
        Job::Read { offset, length, .. } => {
            let start = *offset as usize;
            Outcome::Data(Bytes::copy_from_slice(&disk[start..start + *length as usize]))
        }
        Job::Write { offset, parts, .. } => {
            let mut at = *offset as usize;
            for part in parts {
                disk[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            Outcome::Stored
        }
        Job::CheckBlock { data, expect } => Outcome::Checked(merkle::leaf(data) == *expect),
        Job::CheckPiece { parts, padding, expect } => {
            let mut hasher = merkle::PieceHasher::new();
            parts.iter().for_each(|part| hasher.update(part));
            hasher.update_zeros(*padding);
            Outcome::Checked(hasher.finish() == *expect)
        }
        Job::CheckTree { parts, leaves, expect } => {
            let list: Vec<u8> = parts.iter().flat_map(|part| merkle::leaf(part).0).collect();
            Outcome::Checked(merkle::subtree_root(&list, 0, leaves.ilog2()) == *expect)
        }
        Job::CheckInfo { raw, hashes } => {
            let fits = |info: &Info| {
                (hashes.v1.is_none() || hashes.v1 == info.hashes.v1)
                    && (hashes.v2.is_none() || hashes.v2 == info.hashes.v2)
            };
            Outcome::Checked(Info::parse(raw).is_ok_and(|info| fits(&info)))
        }
        Job::Leaves { piece, .. } => {
            let info = info.expect("known when pieces are held");
            let piece = info.layout.piece(*piece).expect("exists");
            let start = info.layout.start(piece) as usize;
            let data = &disk[start..start + info.layout.data_len(piece) as usize];
            let leaves: Vec<u8> =
                data.chunks(BLOCK_LEN as usize).flat_map(|block| merkle::leaf(block).0).collect();
            Outcome::Data(leaves.into())
        }
        Job::Prepare { .. } => Outcome::Prepared(Box::default()),
        Job::Save { .. } => Outcome::Stored,
        Job::Evict { pieces, .. } => {
            let layout = &info.expect("known when pieces are held").layout;
            for piece in pieces.iter().filter_map(|&piece| layout.piece(piece)) {
                let start = layout.start(piece) as usize;
                disk[start..start + layout.data_len(piece) as usize].fill(0);
            }
            Outcome::Freed(0)
        }
        Job::Reclaim { .. } => Outcome::Freed(0),
        Job::Resolve { .. } | Job::Fetch { .. } => Outcome::Resolved(Vec::new()),
    }
}
