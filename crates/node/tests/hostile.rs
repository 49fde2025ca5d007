//! Scripts of anything that peers, worlds and owners may do to a node, in any order: after each step every sum of the node
//! holds, and when it is over and one honest seed comes, the title still completes.

#[expect(dead_code, reason = "only its titles and its disk are used here")]
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use shoal_node::config::Config;
use shoal_node::io::{
    AddTitle, CloseReason, Command, Effect, Event, Failure, FailureKind, Input, Job, Outcome,
};
use shoal_node::link::{LinkId, ReaderId, Ticket};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Node};
use shoal_wire::merkle::{self, TreeShape};
use shoal_wire::metainfo::{Info, Metainfo, Version};
use shoal_wire::peer::{
    BLOCK_LEN, BlockRequest, BlockSpan, DueRequest, Extended, ExtensionHandshake, ExtensionIds,
    Handshake, HashRange, Message, MetadataMessage, PexMessage, PexPeer, ShoalHello, ShoalMessage,
};
use shoal_wire::{Hash32, PeerId};
use world::{TITLE, folder, work};

const PIECE: u32 = 32 * 1024;
/// About what the title has: nine pieces in three files, of which two have the same tree, wider than their pieces.
const LENGTH: u32 = 300_000;
/// Effects that one input may cause: requests, rejects and announcements are bounded by queues.
const EFFECTS_MAX: usize = 6000;
/// An honest seed has this much virtual time to mend what a script did.
const MEND: Duration = Duration::from_secs(900);

#[derive(Clone, Debug)]
enum Op {
    /// A remote opens a link; it says these things of itself unless it is mute.
    Open {
        kind: u8,
    },
    Down {
        link: u8,
    },
    Say {
        link: u8,
        what: Say,
    },
    /// Answers the oldest thing that the node asked on a link.
    Answer {
        link: u8,
        how: u8,
    },
    Credit {
        link: u8,
        bytes: u32,
        passed: u32,
    },
    Pass {
        ms: u32,
    },
    Done {
        job: u8,
        how: u8,
    },
    Owner {
        what: u8,
        at: u32,
    },
}

#[derive(Clone, Debug)]
enum Say {
    Plain(u8),
    Piece { piece: u32, block: u32, length: u16 },
    Ask { piece: u32, offset: u32, length: u32, due: Option<u16> },
    Cancel { piece: u32, block: u32 },
    Reject { piece: u32, block: u32 },
    Have(u32),
    Bits(Vec<u8>),
    Blocks(Vec<(u32, u16, u16)>),
    Hashes { kind: u8, base: u32, index: u32, length: u32, proof: u32, hashes: u16 },
    Metadata { kind: u8, piece: u32, length: u16 },
    Hello { port: u16, size: u32, queue: u32, shoal: bool },
    DontHave(u32),
    Allow(u32),
    Exchange(u16),
}

/// Mostly small, now and then anything.
fn number(max: u32) -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..max, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn say() -> impl Strategy<Value = Say> {
    prop_oneof![
        6 => (0u8..8).prop_map(Say::Plain),
        2 => (number(10), number(3), any::<u16>())
            .prop_map(|(piece, block, length)| Say::Piece { piece, block, length }),
        3 => (number(10), number(PIECE), number(PIECE), any::<Option<u16>>())
            .prop_map(|(piece, offset, length, due)| Say::Ask { piece, offset, length, due }),
        3 => (number(10), 0u32..3).prop_map(|(piece, block)| Say::Ask {
            piece, offset: block * BLOCK_LEN, length: BLOCK_LEN, due: Some(100) }),
        1 => (number(10), number(3)).prop_map(|(piece, block)| Say::Cancel { piece, block }),
        1 => (number(10), number(3)).prop_map(|(piece, block)| Say::Reject { piece, block }),
        2 => number(10).prop_map(Say::Have),
        1 => prop::collection::vec(any::<u8>(), 0..3).prop_map(Say::Bits),
        2 => prop::collection::vec((number(10), 0u16..4, any::<u16>()), 0..4).prop_map(Say::Blocks),
        3 => (0u8..6, number(4), number(16), number(9), number(5), 0u16..12).prop_map(
            |(kind, base, index, length, proof, hashes)| Say::Hashes {
                kind, base, index, length, proof, hashes }),
        1 => (0u8..3, number(3), any::<u16>())
            .prop_map(|(kind, piece, length)| Say::Metadata { kind, piece, length }),
        2 => (any::<u16>(), number(2000), number(600), any::<bool>())
            .prop_map(|(port, size, queue, shoal)| Say::Hello { port, size, queue, shoal }),
        1 => number(10).prop_map(Say::DontHave),
        2 => number(10).prop_map(Say::Allow),
        1 => any::<u16>().prop_map(Say::Exchange),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u8>().prop_map(|kind| Op::Open { kind }),
        1 => any::<u8>().prop_map(|link| Op::Down { link }),
        8 => (any::<u8>(), say()).prop_map(|(link, what)| Op::Say { link, what }),
        16 => (any::<u8>(), 0u8..12).prop_map(|(link, how)| Op::Answer { link, how }),
        2 => (any::<u8>(), prop_oneof![Just(32_768u32), any::<u32>()], prop_oneof![Just(32_768u32), any::<u32>()])
            .prop_map(|(link, bytes, passed)| Op::Credit { link, bytes, passed }),
        4 => prop_oneof![Just(1u32), 0u32..300, 0u32..60_000].prop_map(|ms| Op::Pass { ms }),
        12 => (any::<u8>(), 0u8..16).prop_map(|(job, how)| Op::Done { job, how }),
        2 => (any::<u8>(), number(LENGTH)).prop_map(|(what, at)| Op::Owner { what, at }),
    ]
}

struct Remote {
    link: LinkId,
    /// What the node asked and nobody answered.
    asked: Vec<Message>,
}

struct Script {
    node: Node,
    now: Instant,
    meta: Metainfo,
    info: Arc<Info>,
    content: Vec<u8>,
    magnet: bool,
    disk: Vec<u8>,
    remotes: Vec<Remote>,
    jobs: Vec<(Ticket, Box<Job>)>,
    opened: u32,
    completed: bool,
    removed: bool,
    stopped: bool,
}

impl Script {
    fn new(version: Version, magnet: bool, held: u8) -> Self {
        let (meta, content) = folder(PIECE, version);
        let info = Arc::new(meta.info.clone());
        let mut config = Config { listen_port: 7000, ..Config::default() };
        config.discover.local = false;
        // Small enough that a script reaches it.
        config.swarm.memory_max = 96 * 1024;
        let now = Instant::from_millis(1000);
        let mut script = Self {
            node: Node::new(config.into(), Seed::from_u64(7), now),
            now,
            disk: vec![0; info.layout.nominal_end() as usize],
            meta,
            info,
            content,
            magnet,
            remotes: Vec::new(),
            jobs: Vec::new(),
            opened: 0,
            completed: false,
            removed: false,
            stopped: false,
        };
        script.add(held);
        script
    }
    fn add(&mut self, held: u8) {
        let mut have = shoal_wire::bitfield::Bitfield::new(self.info.layout.piece_count());
        for piece in self.info.layout.pieces().filter(|piece| held >> piece.get() & 1 != 0) {
            let start = self.info.layout.start(piece) as usize;
            let end = start + self.info.layout.data_len(piece) as usize;
            self.disk[start..end].copy_from_slice(&self.content[start..end]);
            have.set(piece.get());
        }
        let mut partial = Vec::new();
        if held >> 6 & 1 != 0 && !have.get(2) {
            self.disk[2 * PIECE as usize..][..BLOCK_LEN as usize]
                .copy_from_slice(&self.content[2 * PIECE as usize..][..BLOCK_LEN as usize]);
            let mut bits = shoal_wire::bitfield::Bitfield::new(2);
            bits.set(0);
            partial.push((2, bits));
        }
        let setup = AddTitle {
            info: (!self.magnet).then(|| Arc::clone(&self.info)),
            piece_layers: if self.magnet { Vec::new() } else { self.meta.piece_layers.clone() },
            peers: vec![addr(200), addr(201)],
            have: (!self.magnet).then_some(have),
            partial,
            cached: held >> 5 & 1 != 0,
            ..AddTitle::new(TITLE, self.info.hashes)
        };
        self.removed = false;
        self.give(Input::Command(Command::Add(setup.into())));
    }
    fn give(&mut self, input: Input) {
        let mut effects = Vec::new();
        let shown = format!("{input:?}");
        self.node.step(self.now, input, &mut effects);
        if let Err(broken) = self.node.audit() {
            panic!("{broken} after {shown}");
        }
        assert!(effects.len() <= EFFECTS_MAX, "{} effects of {shown}", effects.len());
        if let Some(at) = self.node.deadline() {
            assert!(at > self.now, "a deadline that is past after {shown}");
        }
        for effect in effects {
            self.apply(effect);
        }
    }
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Dial { link, .. } => self.remotes.push(Remote { link, asked: Vec::new() }),
            Effect::Close { link, .. } => self.remotes.retain(|remote| remote.link != link),
            Effect::Send { link, message } => {
                let Some(remote) = self.remotes.iter_mut().find(|remote| remote.link == link)
                else {
                    return;
                };
                match message {
                    Message::Extended(extended) => match *extended {
                        Extended::Shoal(ShoalMessage::Requests(list)) => remote
                            .asked
                            .extend(list.into_iter().map(|due| Message::Request(due.block))),
                        Extended::Metadata(MetadataMessage::Request { .. }) => {
                            remote.asked.push(Message::Extended(extended))
                        }
                        _ => {}
                    },
                    Message::Request(_) | Message::HashRequest(_) => remote.asked.push(message),
                    Message::Cancel(request) => {
                        remote.asked.retain(|asked| *asked != Message::Request(request));
                    }
                    _ => {}
                }
            }
            Effect::Submit { ticket, job } => self.jobs.push((ticket, job)),
            Effect::Tell(Event::Complete { .. }) => self.completed = true,
            Effect::Tell(Event::Stopped) => self.stopped = true,
            Effect::Tell(_) | Effect::Packet { .. } => {}
        }
    }
    fn remote(&self, pick: u8) -> Option<usize> {
        (!self.remotes.is_empty()).then(|| usize::from(pick) % self.remotes.len())
    }
    fn act(&mut self, op: &Op) {
        match op {
            Op::Open { kind } => self.open(*kind),
            Op::Down { link } => {
                let Some(index) = self.remote(*link) else { return };
                let link = self.remotes.remove(index).link;
                // A world that says it twice is survived too.
                self.give(Input::LinkDown { link, reason: CloseReason::Remote });
                self.give(Input::LinkDown { link, reason: CloseReason::Remote });
            }
            Op::Say { link, what } => {
                let Some(index) = self.remote(*link) else { return };
                let (link, message) = (self.remotes[index].link, self.message(what));
                self.give(Input::Message { link, message });
            }
            Op::Answer { link, how } => {
                let Some(index) = self.remote(*link) else { return };
                if !self.remotes[index].asked.is_empty() {
                    let asked = self.remotes[index].asked.remove(0);
                    let (link, message) = (self.remotes[index].link, self.answer(&asked, *how));
                    self.give(Input::Message { link, message });
                }
            }
            Op::Credit { link, bytes, passed } => {
                let Some(index) = self.remote(*link) else { return };
                let link = self.remotes[index].link;
                self.give(Input::Credit { link, bytes: *bytes, passed: *passed });
            }
            Op::Pass { ms } => self.pass(Duration::from_millis(u64::from(*ms))),
            Op::Done { job, how } => {
                if !self.jobs.is_empty() {
                    let index = usize::from(*job) % self.jobs.len();
                    let (ticket, job) = self.jobs.remove(index);
                    let outcome = self.outcome(&job, *how);
                    self.give(Input::Done { ticket, outcome: outcome.clone() });
                    self.give(Input::Done { ticket, outcome });
                }
            }
            Op::Owner { what, at } => self.command(*what, *at),
        }
    }
    /// Lets time pass, with a wake at each deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..100_000 {
            match self.node.deadline().filter(|&at| at <= until) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.give(Input::Wake);
                }
                None => break,
            }
        }
        self.now = self.now.max(until);
        self.give(Input::Wake);
    }
    fn open(&mut self, kind: u8) {
        // Now and then the answer to a dial, else a link of the remote's.
        let dialed = self.remotes.iter().map(|remote| remote.link).find(|link| link.is_dialed());
        let link = match dialed.filter(|_| kind & 1 != 0) {
            Some(link) => link,
            None => {
                let link = LinkId(self.opened * 2 + 1);
                self.opened += 1;
                self.remotes.push(Remote { link, asked: Vec::new() });
                link
            }
        };
        self.give(Input::LinkUp { link, remote: addr(kind) });
        self.give(Input::Credit { link, bytes: 32_768, passed: 0 });
        if kind & 2 == 0 {
            self.greet(link, kind, kind & 4 == 0, PeerId([kind >> 3; 20]));
        }
    }
    fn greet(&mut self, link: LinkId, kind: u8, full: bool, peer_id: PeerId) {
        let names = self.info.hashes.wire_hashes().collect::<Vec<_>>();
        let handshake = Handshake {
            info_hash: names[usize::from(kind) % names.len()],
            peer_id,
            fast: kind & 8 == 0,
            extended: full,
            v2: kind & 16 == 0 && self.info.hashes.v2.is_some(),
            dht: false,
        };
        self.give(Input::Message { link, message: Message::Handshake(handshake.into()) });
        if full {
            let hello = ExtensionHandshake {
                ids: ExtensionIds::OURS,
                metadata_size: Some(self.info.raw.len() as u32),
                shoal: (kind & 32 == 0).then_some(ShoalHello { version: 1, source: false }),
                ..ExtensionHandshake::default()
            };
            let message = Message::Extended(Extended::Handshake(hello).into());
            self.give(Input::Message { link, message });
        }
        self.give(Input::Message { link, message: Message::HaveAll });
        self.give(Input::Message { link, message: Message::Unchoke });
    }
    fn message(&self, what: &Say) -> Message {
        let block = |piece: &u32, block: &u32| BlockRequest {
            piece: *piece,
            offset: block.saturating_mul(BLOCK_LEN),
            length: BLOCK_LEN,
        };
        let extended = match what {
            Say::Plain(0) => return Message::Choke,
            Say::Plain(1) => return Message::Unchoke,
            Say::Plain(2) => return Message::Interested,
            Say::Plain(3) => return Message::NotInterested,
            Say::Plain(4) => return Message::HaveAll,
            Say::Plain(5) => return Message::HaveNone,
            Say::Plain(6) => return Message::KeepAlive,
            Say::Plain(_) => Extended::UploadOnly(true),
            Say::Piece { piece, block, length } => {
                let data = Bytes::from(vec![1; usize::from(*length) % 16_385]);
                let offset = block.saturating_mul(BLOCK_LEN);
                return Message::Piece { piece: *piece, offset, data };
            }
            Say::Ask { piece, offset, length, due } => {
                let block = BlockRequest { piece: *piece, offset: *offset, length: *length };
                match due {
                    None => return Message::Request(block),
                    Some(due) => Extended::Shoal(ShoalMessage::Requests(vec![
                        DueRequest {
                            block,
                            due_in_ms: *due
                        };
                        3
                    ])),
                }
            }
            Say::Cancel { piece, block: index } => return Message::Cancel(block(piece, index)),
            Say::Reject { piece, block: index } => return Message::Reject(block(piece, index)),
            Say::Allow(piece) => return Message::AllowedFast { piece: *piece },
            Say::Have(piece) => return Message::Have { piece: *piece },
            Say::Bits(bits) => return Message::Bitfield(bits.clone().into()),
            Say::Blocks(spans) => {
                let span = |&(piece, first, count)| BlockSpan { piece, first, count };
                Extended::Shoal(ShoalMessage::HaveBlocks(spans.iter().map(span).collect()))
            }
            Say::Hashes { kind, base, index, length, proof, hashes } => {
                // The tree of the twins, or of the file behind them.
                let file = self.info.files.get(usize::from(kind / 3) * 2);
                let root = file.and_then(|file| file.pieces_root);
                let range = Box::new(HashRange {
                    pieces_root: root.unwrap_or(Hash32([9; 32])),
                    base_layer: *base,
                    index: *index,
                    length: *length,
                    proof_layers: *proof,
                });
                let list = vec![0; usize::from(*hashes) * 32];
                return match kind % 3 {
                    0 => Message::HashRequest(range),
                    1 => Message::HashReject(range),
                    _ => Message::Hashes { range, hashes: list.into() },
                };
            }
            Say::Metadata { kind: 0, piece, .. } => {
                Extended::Metadata(MetadataMessage::Request { piece: *piece })
            }
            Say::Metadata { kind: 1, piece, .. } => {
                Extended::Metadata(MetadataMessage::Reject { piece: *piece })
            }
            Say::Metadata { piece, length, .. } => Extended::Metadata(MetadataMessage::Data {
                piece: *piece,
                total_size: 1,
                data: vec![0; usize::from(*length)].into(),
            }),
            Say::Hello { port, size, queue, shoal } => Extended::Handshake(ExtensionHandshake {
                ids: if *shoal { ExtensionIds::OURS } else { ExtensionIds::default() },
                metadata_size: Some(*size),
                listen_port: Some(*port),
                request_queue: Some(*queue),
                shoal: shoal.then_some(ShoalHello { version: 1, source: true }),
                ..ExtensionHandshake::default()
            }),
            Say::DontHave(piece) => Extended::DontHave { piece: *piece },
            Say::Exchange(port) => {
                let addr = SocketAddr::from(([10, 0, 0, 7], *port));
                let added = vec![PexPeer { addr, flags: 0 }];
                Extended::Pex(PexMessage { added, dropped: vec![addr] })
            }
        };
        Message::Extended(extended.into())
    }
    /// An answer: 0 rejects, 1 lies, others are true.
    fn answer(&self, asked: &Message, how: u8) -> Message {
        match asked {
            Message::Request(request) if how == 0 => Message::Reject(*request),
            Message::Request(request) => {
                let piece = self.info.layout.piece(request.piece).expect("the node knows");
                let start = self.info.layout.start(piece) as usize + request.offset as usize;
                let mut data = self.content[start..start + request.length as usize].to_vec();
                data[0] ^= u8::from(how == 1);
                Message::Piece { piece: request.piece, offset: request.offset, data: data.into() }
            }
            Message::HashRequest(range) if how == 0 => Message::HashReject(range.clone()),
            Message::HashRequest(range) => match self.hashes(range) {
                Some(mut list) => {
                    list[0] ^= u8::from(how == 1);
                    Message::Hashes { range: range.clone(), hashes: list.into() }
                }
                None => Message::HashReject(range.clone()),
            },
            Message::Extended(extended) => {
                let Extended::Metadata(MetadataMessage::Request { piece }) = **extended else {
                    return Message::KeepAlive;
                };
                let raw = &self.info.raw;
                let start = (piece as usize * BLOCK_LEN as usize).min(raw.len());
                let data = raw.slice(start..raw.len().min(start + BLOCK_LEN as usize));
                let answer = if how == 0 {
                    MetadataMessage::Reject { piece }
                } else {
                    MetadataMessage::Data { piece, total_size: raw.len() as u32, data }
                };
                Message::Extended(Extended::Metadata(answer).into())
            }
            _ => Message::KeepAlive,
        }
    }
    fn hashes(&self, range: &HashRange) -> Option<Vec<u8>> {
        let root = Some(range.pieces_root);
        let file = self.info.files.iter().find(|file| file.pieces_root == root)?;
        let shape = TreeShape::new(file.length, PIECE)?;
        let bytes = &self.content[file.start as usize..][..file.length as usize];
        let leaves: Vec<u8> =
            bytes.chunks(BLOCK_LEN as usize).flat_map(|block| merkle::leaf(block).0).collect();
        let of = |piece: u32| {
            let per = 32 * (PIECE / BLOCK_LEN) as usize;
            let start = piece as usize * per;
            leaves.get(start..leaves.len().min(start + per)).map(<[u8]>::to_vec)
        };
        let layer: Vec<u8> = (0..shape.piece_count())
            .filter_map(of)
            .flat_map(|list| merkle::subtree_root(&list, 0, 1).0)
            .collect();
        merkle::answer(&shape, range, &layer, of)
    }
    /// An outcome: low numbers are trouble of some kind, others are right.
    fn outcome(&mut self, job: &Job, how: u8) -> Outcome {
        let failed = |kind| Outcome::Failed(Failure { kind, message: "trouble".into() });
        let right = |disk: &mut [u8], info: &Info| work(disk, Some(info), job);
        match (how, job) {
            // Storage that cannot be prepared ends a title: that is not what these scripts are for.
            (_, Job::Prepare { .. }) => right(&mut self.disk, &self.info),
            (0, _) => failed(FailureKind::DiskFull),
            (1, _) => failed(FailureKind::DiskLost),
            (2, Job::Read { .. } | Job::Leaves { .. }) => Outcome::Data(Bytes::from_static(b"x")),
            (2, Job::CheckBlock { .. } | Job::CheckPiece { .. } | Job::CheckTree { .. }) => {
                Outcome::Checked(false)
            }
            (3, Job::Leaves { .. }) => Outcome::Data(vec![5; 64].into()),
            (3, Job::CheckInfo { .. }) => Outcome::Checked(false),
            (4, Job::Save { .. }) => Outcome::Checked(true),
            _ => right(&mut self.disk, &self.info),
        }
    }
    fn command(&mut self, what: u8, at: u32) {
        let reader = ReaderId(u32::from(what >> 4));
        let command = match what % 14 {
            0 => Command::Open {
                reader,
                title: TITLE,
                file: at & 1,
                start: u64::from(at),
                end: u64::MAX,
            },
            1 | 2 => Command::Read { reader, max: at },
            3 => Command::Play { reader, title: TITLE, file: 0, at_ms: u64::from(at) },
            4 => Command::Jump { reader, to_ms: u64::from(at) },
            5 => Command::Close { reader },
            6 => Command::Limits { up: Some(u64::from(at)), down: None },
            7 => Command::NetworkChanged,
            8 => Command::Peers { title: TITLE, peers: vec![addr(what), addr(3)] },
            9 if at & 3 == 0 => {
                self.removed = true;
                Command::Remove { title: TITLE }
            }
            10 => return self.add(what),
            11 if at & 15 == 0 => {
                self.removed = true;
                Command::Shutdown
            }
            12 => Command::Select { title: TITLE, files: vec![(at & 1, at & 3)] },
            14 => Command::Prefer { title: TITLE, file: at & 3 },
            13 => Command::Cache {
                quota: Some(u64::from(at % (6 * PIECE))),
                elsewhere: u64::from(at & 1) * u64::from(PIECE),
            },
            _ => return,
        };
        let stops = matches!(command, Command::Shutdown);
        self.give(Input::Command(command));
        if stops {
            self.stopping();
        }
    }
    /// A node that was told to stop does so, whatever is under way.
    fn stopping(&mut self) {
        self.pass(Duration::from_secs(10));
        assert!(self.stopped, "it did not stop");
    }
    /// All is well from now on: what was under way is done, all links are gone, and an honest seed comes.
    fn mend(&mut self, leaves: bool) {
        for remote in core::mem::take(&mut self.remotes) {
            self.give(Input::LinkDown { link: remote.link, reason: CloseReason::Remote });
        }
        if self.removed {
            self.add(0);
        }
        self.give(Input::Command(Command::Cache { quota: None, elsewhere: 0 }));
        self.give(Input::Command(Command::Select { title: TITLE, files: Vec::new() }));
        let done = self.now + MEND;
        let mut seeds = 0;
        while !self.is_whole() {
            assert!(self.now < done, "it never completed: {:?}", self.node.views());
            if self.remotes.is_empty() {
                // A new address and name each time: bans of a script must not count against it.
                seeds += 1;
                let link = LinkId(self.opened * 2 + 1);
                self.opened += 1;
                self.remotes.push(Remote { link, asked: Vec::new() });
                let remote = SocketAddr::from(([10, 9, seeds, 1], 9000));
                self.give(Input::LinkUp { link, remote });
                self.greet(link, 0, true, PeerId([200 + seeds; 20]));
            }
            for (ticket, job) in core::mem::take(&mut self.jobs) {
                let outcome = self.outcome(&job, u8::MAX);
                self.give(Input::Done { ticket, outcome });
            }
            let mut answers = Vec::new();
            for index in 0..self.remotes.len() {
                let link = self.remotes[index].link;
                if link.is_dialed() {
                    continue;
                }
                for asked in core::mem::take(&mut self.remotes[index].asked) {
                    let how = u8::from(leaves || !matches!(asked, Message::HashRequest(_))) * 2;
                    answers.push((link, self.answer(&asked, how)));
                }
            }
            for (link, message) in answers {
                self.give(Input::Message { link, message });
            }
            let dialed: Vec<LinkId> = self.remotes.iter().map(|remote| remote.link).collect();
            for link in dialed.into_iter().filter(|link| link.is_dialed()) {
                self.remotes.retain(|remote| remote.link != link);
                self.give(Input::LinkDown { link, reason: CloseReason::Unreachable });
            }
            self.pass(Duration::from_millis(50));
        }
        assert!(self.disk == self.content, "it holds wrong bytes");
    }
    fn is_whole(&self) -> bool {
        let views = self.node.views();
        views.first().is_some_and(|view| view.ready && view.have == self.info.layout.data_total())
    }
}

fn addr(kind: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, kind % 8 + 1], 6000 + u16::from(kind)))
}

fn survives(version: Version, magnet: bool, held: u8, ops: &[Op]) {
    let mut script = Script::new(version, magnet, held);
    for op in ops {
        script.act(op);
        if script.stopped {
            return;
        }
    }
    // A v2 magnet cannot be proven without anybody's hashes.
    let leaves = held & 0x80 == 0 || (magnet && version == Version::V2);
    script.mend(leaves);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_v1_title_survives_any_script(
        held: u8, magnet: bool, ops in prop::collection::vec(op(), 1..120))
    {
        survives(Version::V1, magnet, held, &ops);
    }

    #[test]
    fn a_v2_title_survives_any_script(
        held: u8, magnet: bool, ops in prop::collection::vec(op(), 1..120))
    {
        survives(Version::V2, magnet, held, &ops);
    }

    #[test]
    fn a_hybrid_title_survives_any_script(
        held: u8, magnet: bool, ops in prop::collection::vec(op(), 1..120))
    {
        survives(Version::Hybrid, magnet, held, &ops);
    }
}
