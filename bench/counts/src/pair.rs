//! Cases of `shoal-node`: one seed and one leech exchange a whole title through their bytes faces, without sockets or hashes.
//!
//! The world between them is ideal: what both say within a millisecond travels together, jobs are answered a little later,
//! and every hash is right. Only the turns of one side are counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, Command, Event, Job, Outcome};
use shoal_node::link::{LinkId, TitleId};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Stack, StackEffect, StackInput};
use shoal_wire::Hash32;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::{Metainfo, Version};
use shoal_wire::peer::BLOCK_LEN;

use crate::counted;
use crate::formats::{PIECE_LEN, title};

/// Pieces of the title: 64 MiB, enough that the start and the end weigh little.
const PIECES: u32 = 256;
const TITLE: TitleId = TitleId(0);
/// From one node to the other.
const TRAVEL: Duration = Duration::from_millis(1);
/// From a job to its answer.
const JOB: Duration = Duration::from_micros(300);
/// What a link's transport takes before it is read, bytes.
const CREDIT: u32 = 512 << 10;
/// Turns at which an exchange that does not end is given up.
const TURNS_MAX: u32 = 1_000_000;

/// Whose turns are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Seed,
    Leech,
}

/// A title goes from seed to leech; returns its number of blocks.
pub(crate) fn exchange(version: Version, side: Side) -> u64 {
    let (meta, leaf) = title(PIECES, version);
    let mut pair = Pair::new(leaf, side);
    pair.join(Side::Seed, &meta, Vec::new());
    pair.join(Side::Leech, &meta, vec![address(Side::Seed)]);
    pair.run();
    u64::from(PIECES * (PIECE_LEN / BLOCK_LEN))
}

fn address(side: Side) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1 + side as u8], 6881))
}

impl Side {
    fn other(self) -> Self {
        if self == Self::Seed { Self::Leech } else { Self::Seed }
    }
    /// The one link between the two, by the name that this side has for it: the leech dials.
    fn link(self, dialed: LinkId) -> LinkId {
        if self == Self::Seed { LinkId(1) } else { dialed }
    }
}

/// What happens later.
#[derive(Debug)]
enum Happening {
    Input(StackInput),
    /// What the other side has said until then arrives.
    Delivery,
}

/// A node and what it has said that has not left.
#[derive(Debug)]
struct Host {
    stack: Stack,
    said: BytesMut,
    /// Film bytes in `said`.
    film: u32,
    armed: Option<Instant>,
}

#[derive(Debug)]
struct Pair {
    now: Instant,
    hosts: [Host; 2],
    counted: Side,
    leaf: Hash32,
    dialed: LinkId,
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, (Side, Happening)>,
    sequence: u64,
    /// A block of the title, shared by all answers.
    block: Bytes,
    complete: bool,
}

impl Pair {
    fn new(leaf: Hash32, counted: Side) -> Self {
        let now = Instant::from_millis(1000);
        let host = |seed| {
            let mut config = Config { listen_port: 6881, ..Config::default() };
            config.discover.local = false;
            let stack = Stack::new(Arc::new(config), Seed::from_u64(seed), now);
            Host { stack, said: BytesMut::new(), film: 0, armed: None }
        };
        Self {
            now,
            hosts: [host(1), host(2)],
            counted,
            leaf,
            dialed: LinkId(0),
            order: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            sequence: 0,
            block: Bytes::from(vec![0; PIECE_LEN as usize]),
            complete: false,
        }
    }
    fn join(&mut self, side: Side, meta: &Metainfo, peers: Vec<SocketAddr>) {
        let info = Arc::new(meta.info.clone());
        let mut have = Bitfield::new(PIECES);
        for piece in (0..PIECES).filter(|_| side == Side::Seed) {
            have.set(piece);
        }
        let setup = AddTitle {
            info: Some(info),
            piece_layers: meta.piece_layers.clone(),
            peers,
            have: Some(have),
            ..AddTitle::new(TITLE, meta.info.hashes)
        };
        self.input(side, StackInput::Command(Command::Add(Box::new(setup))));
    }
    fn later(&mut self, delay: Duration, side: Side, happening: Happening) {
        self.sequence += 1;
        self.order.push(Reverse((self.now + delay, self.sequence)));
        self.happenings.insert(self.sequence, (side, happening));
    }
    fn run(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.complete {
                return;
            }
            let Some(Reverse((at, sequence))) = self.order.pop() else { break };
            self.now = self.now.max(at);
            match self.happenings.remove(&sequence) {
                Some((side, Happening::Input(input))) => self.input(side, input),
                Some((side, Happening::Delivery)) => self.deliver(side),
                None => {}
            }
        }
        panic!("the exchange does not end");
    }
    /// One turn of a node.
    fn input(&mut self, side: Side, input: StackInput) {
        let mut effects = Vec::new();
        let (now, host) = (self.now, &mut self.hosts[side as usize]);
        if matches!(input, StackInput::Wake) {
            host.armed = None;
        }
        if side == self.counted {
            counted(|| host.stack.step(now, input, &mut effects));
        } else {
            host.stack.step(now, input, &mut effects);
        }
        for effect in effects {
            self.apply(side, effect);
        }
        let host = &mut self.hosts[side as usize];
        if let Some(at) = host.stack.deadline()
            && host.armed.is_none_or(|armed| at < armed)
        {
            host.armed = Some(at);
            self.later(at.since(now), side, Happening::Input(StackInput::Wake));
        }
    }
    fn apply(&mut self, side: Side, effect: StackEffect) {
        match effect {
            StackEffect::Dial { link, .. } => {
                self.dialed = link;
                for end in [Side::Seed, Side::Leech] {
                    let (link, remote) = (end.link(link), address(end.other()));
                    let credit = StackInput::Credit { link, bytes: CREDIT, passed: 0 };
                    self.later(TRAVEL, end, Happening::Input(StackInput::LinkUp { link, remote }));
                    self.later(TRAVEL, end, Happening::Input(credit));
                }
            }
            StackEffect::Write { bytes, film, .. } => {
                let host = &mut self.hosts[side as usize];
                let first = host.said.is_empty();
                host.said.extend_from_slice(&bytes);
                host.film += if film { bytes.len() as u32 } else { 0 };
                if first {
                    self.later(TRAVEL, side.other(), Happening::Delivery);
                }
            }
            StackEffect::Submit { ticket, job } => {
                let outcome = self.work(&job);
                self.later(JOB, side, Happening::Input(StackInput::Done { ticket, outcome }));
            }
            StackEffect::Tell(Event::Complete { .. }) => self.complete |= side == Side::Leech,
            StackEffect::Close { reason, .. } => assert!(self.complete, "closed: {reason:?}"),
            StackEffect::Datagram { .. } | StackEffect::Tell(_) => {}
        }
    }
    /// What the other side said arrives at `side`, and its transport has room again.
    fn deliver(&mut self, side: Side) {
        let from = &mut self.hosts[side.other() as usize];
        let bytes = from.said.split().freeze();
        let film = std::mem::take(&mut from.film);
        self.input(side, StackInput::Bytes { link: side.link(self.dialed), bytes });
        if film > 0 {
            let link = side.other().link(self.dialed);
            self.input(side.other(), StackInput::Credit { link, bytes: film, passed: film });
        }
    }
    fn work(&self, job: &Job) -> Outcome {
        match job {
            Job::Read { length, .. } => Outcome::Data(self.block.slice(..*length as usize)),
            Job::CheckBlock { .. } | Job::CheckPiece { .. } | Job::CheckTree { .. } => {
                Outcome::Checked(true)
            }
            Job::Leaves { .. } => {
                Outcome::Data(self.leaf.0.repeat((PIECE_LEN / BLOCK_LEN) as usize).into())
            }
            Job::Write { .. } | Job::Save { .. } => Outcome::Stored,
            Job::Evict { .. }
            | Job::Reclaim { .. }
            | Job::Prepare { .. }
            | Job::CheckInfo { .. }
            | Job::Resolve { .. }
            | Job::Fetch { .. } => panic!("not asked for here: {job:?}"),
        }
    }
}
