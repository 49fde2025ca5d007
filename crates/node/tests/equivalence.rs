//! The two faces of a node are one peer: a title that goes from seed to leech as typed messages and as bytes causes the
//! same events and the same jobs at the same times; and a record of the bytes is lived through again.

#[expect(dead_code, reason = "this file uses the titles of the world, not its wires")]
mod world;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, CloseReason, Command, Effect, Event, Input, Job, Outcome};
use shoal_node::link::{LinkId, TitleId};
use shoal_node::record::{Header, Record, Recorder, Records, Replay};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Node, Stack, StackEffect, StackInput};
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle;
use shoal_wire::metainfo::{Info, Metainfo, Version};
use shoal_wire::peer::{Message, whole_frames};

const DELAY: Duration = Duration::from_millis(20);
const JOB: Duration = Duration::from_millis(1);
const SENT: Duration = Duration::from_millis(2);
const LENGTH: usize = 1_000_003;
const START: Instant = Instant::from_millis(1000);
/// The seed's only link is accepted, the leech's is dialed.
const HOSTS: usize = 2;

/// What a face tells the world, links by the host's own name for them.
enum Told {
    Dial(LinkId),
    Close(CloseReason),
    /// With the credit that it spends.
    Sent(LinkId, Parcel, u32),
    Submit(shoal_node::link::Ticket, Job),
    Tell(Event),
}

/// What travels: a message, or some bytes of a stream.
enum Parcel {
    Typed(Message),
    Bytes(Bytes),
}

/// What a world gives to a face.
enum Given {
    Plain(StackInput),
    Parcel(LinkId, Parcel),
}

/// A node behind one of its faces.
trait Face {
    fn step(&mut self, now: Instant, given: Given) -> Vec<Told>;
    fn deadline(&self) -> Option<Instant>;
}

struct Typed(Node);

impl Face for Typed {
    fn step(&mut self, now: Instant, given: Given) -> Vec<Told> {
        let input = match given {
            Given::Parcel(link, Parcel::Typed(message)) => Input::Message { link, message },
            Given::Parcel(_, Parcel::Bytes(_)) => unreachable!("this world is typed"),
            Given::Plain(input) => match input {
                StackInput::Wake => Input::Wake,
                StackInput::Command(command) => Input::Command(command),
                StackInput::LinkUp { link, remote } => Input::LinkUp { link, remote },
                StackInput::LinkDown { link, reason } => Input::LinkDown { link, reason },
                StackInput::Credit { link, bytes, passed } => Input::Credit { link, bytes, passed },
                StackInput::Done { ticket, outcome } => Input::Done { ticket, outcome },
                other => unreachable!("not in this world: {other:?}"),
            },
        };
        let mut effects = Vec::new();
        self.0.step(now, input, &mut effects);
        let told = |effect| match effect {
            Effect::Dial { link, .. } => Told::Dial(link),
            Effect::Close { reason, .. } => Told::Close(reason),
            Effect::Send { link, message } => {
                let spent =
                    if let Message::Piece { data, .. } = &message { data.len() as u32 } else { 0 };
                Told::Sent(link, Parcel::Typed(message), spent)
            }
            Effect::Submit { ticket, job } => Told::Submit(ticket, *job),
            Effect::Tell(event) => Told::Tell(event),
            Effect::Packet { .. } => unreachable!("no discovery in this world"),
        };
        effects.into_iter().map(told).collect()
    }
    fn deadline(&self) -> Option<Instant> {
        self.0.deadline()
    }
}

/// A stack whose incoming streams are cut into pieces of odd sizes, and which is recorded.
struct Streamed {
    stack: Stack,
    unread: BTreeMap<LinkId, (BytesMut, bool)>,
    recorder: Recorder,
    file: Vec<u8>,
    cut: usize,
}

impl Streamed {
    fn turn(&mut self, now: Instant, input: StackInput, told: &mut Vec<Told>) {
        self.recorder.input(now, &input, &mut self.file);
        let mut effects = Vec::new();
        self.stack.step(now, input, &mut effects);
        self.recorder.effects(&effects);
        told.extend(effects.into_iter().map(|effect| match effect {
            StackEffect::Dial { link, .. } => Told::Dial(link),
            StackEffect::Close { reason, .. } => Told::Close(reason),
            StackEffect::Write { link, bytes, film } => {
                let spent = if film { bytes.len() as u32 } else { 0 };
                Told::Sent(link, Parcel::Bytes(bytes), spent)
            }
            StackEffect::Submit { ticket, job } => Told::Submit(ticket, *job),
            StackEffect::Tell(event) => Told::Tell(event),
            StackEffect::Datagram { .. } => unreachable!("no discovery in this world"),
        }));
    }
}

impl Face for Streamed {
    fn step(&mut self, now: Instant, given: Given) -> Vec<Told> {
        let mut told = Vec::new();
        match given {
            Given::Plain(input) => self.turn(now, input, &mut told),
            Given::Parcel(_, Parcel::Typed(_)) => unreachable!("this world speaks bytes"),
            Given::Parcel(link, Parcel::Bytes(bytes)) => {
                let (mut unread, mut handshaken) = self.unread.remove(&link).unwrap_or_default();
                for part in bytes.chunks(self.cut) {
                    unread.extend_from_slice(part);
                    let framing = whole_frames(&unread, handshaken).expect("honest peers");
                    assert!(framing.need > unread.len() - framing.whole);
                    if framing.whole > 0 {
                        handshaken = true;
                        let bytes = unread.split_to(framing.whole).freeze();
                        self.turn(now, StackInput::Bytes { link, bytes }, &mut told);
                    }
                }
                self.unread.insert(link, (unread, handshaken));
            }
        }
        told
    }
    fn deadline(&self) -> Option<Instant> {
        self.stack.deadline()
    }
}

fn config() -> Config {
    let mut config = Config { listen_port: 7000, ..Config::default() };
    config.discover.local = false;
    config
}

fn addr(host: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host as u8 + 1], 7000))
}

struct World<F> {
    faces: Vec<F>,
    disks: Vec<Vec<u8>>,
    queue: BTreeMap<(Instant, u64), (usize, Given)>,
    sequence: u64,
    now: Instant,
    /// Everything that an owner or a disk saw, with its time.
    seen: Vec<String>,
}

impl<F: Face> World<F> {
    fn later(&mut self, delay: Duration, host: usize, given: Given) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), (host, given));
    }
    fn link_of(host: usize) -> LinkId {
        if host == 0 { LinkId(1) } else { LinkId(0) }
    }
    fn give(&mut self, host: usize, given: Given) {
        let before = self.faces[host].deadline();
        let told = self.faces[host].step(self.now, given);
        for told in told {
            self.apply(host, told);
        }
        let after = self.faces[host].deadline();
        if let Some(at) = after
            && after != before
        {
            self.later(at.since(self.now), host, Given::Plain(StackInput::Wake));
        }
    }
    fn apply(&mut self, host: usize, told: Told) {
        match told {
            Told::Dial(link) => {
                assert_eq!((host, link), (1, Self::link_of(1)), "the leech dials once");
                for (host, delay) in [(0, DELAY), (1, DELAY * 2)] {
                    let (link, remote) = (Self::link_of(host), addr(1 - host));
                    self.later(delay, host, Given::Plain(StackInput::LinkUp { link, remote }));
                    let credit = StackInput::Credit { link, bytes: 128 * 1024, passed: 0 };
                    self.later(delay, host, Given::Plain(credit));
                }
            }
            Told::Close(reason) => {
                self.seen.push(format!("{:?} {host} closes: {reason:?}", self.now));
                let here = StackInput::LinkDown { link: Self::link_of(host), reason };
                self.later(Duration::ZERO, host, Given::Plain(here));
                let (link, reason) = (Self::link_of(1 - host), CloseReason::Remote);
                let there = StackInput::LinkDown { link, reason };
                self.later(DELAY, 1 - host, Given::Plain(there));
            }
            Told::Sent(link, parcel, spent) => {
                if spent > 0 {
                    let credit = StackInput::Credit { link, bytes: spent, passed: spent };
                    self.later(SENT, host, Given::Plain(credit));
                }
                let link = Self::link_of(1 - host);
                self.later(DELAY, 1 - host, Given::Parcel(link, parcel));
            }
            Told::Submit(ticket, job) => {
                self.seen.push(format!("{:?} {host} {}", self.now, name_of(&job)));
                let outcome = work(&mut self.disks[host], job);
                self.later(JOB, host, Given::Plain(StackInput::Done { ticket, outcome }));
            }
            Told::Tell(event) => {
                self.seen.push(format!("{:?} {host} {event:?}", self.now));
            }
        }
    }
    fn run(&mut self) {
        let complete = |seen: &[String]| seen.iter().any(|line| line.contains(" 1 Complete"));
        while !complete(&self.seen) {
            let ((at, _), (host, given)) = self.queue.pop_first().expect("not stuck");
            assert!(at < START + Duration::from_secs(60), "too slow");
            self.now = at;
            self.give(host, given);
        }
    }
}

fn name_of(job: &Job) -> String {
    let text = format!("{job:?}");
    // Film bytes are compared at the end; their place is enough here.
    text.split("data: ").next().unwrap_or(&text).chars().take(100).collect()
}

fn work(disk: &mut [u8], job: Job) -> Outcome {
    match job {
        Job::Read { offset, length, .. } => {
            let start = offset as usize;
            Outcome::Data(Bytes::copy_from_slice(&disk[start..start + length as usize]))
        }
        Job::Write { offset, parts, .. } => {
            let bytes = parts.concat();
            disk[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
            Outcome::Stored
        }
        Job::CheckBlock { data, expect } => Outcome::Checked(merkle::leaf(&data) == expect),
        Job::CheckPiece { parts, padding, expect } => {
            let mut hasher = merkle::PieceHasher::new();
            parts.iter().for_each(|part| hasher.update(part));
            hasher.update_zeros(padding);
            Outcome::Checked(hasher.finish() == expect)
        }
        Job::CheckInfo { raw, hashes } => {
            Outcome::Checked(Info::parse(&raw).is_ok_and(|info| info.hashes == hashes))
        }
        Job::Leaves { piece, .. } => {
            let piece = &disk[piece as usize * PIECE as usize..];
            let piece = &piece[..piece.len().min(PIECE as usize)];
            let blocks = piece.chunks(shoal_wire::peer::BLOCK_LEN as usize);
            Outcome::Data(blocks.flat_map(|block| merkle::leaf(block).0).collect())
        }
        Job::Prepare { .. } => Outcome::Prepared(Box::default()),
        Job::Save { .. } => Outcome::Stored,
        Job::Evict { .. } | Job::Reclaim { .. } => Outcome::Freed(0),
        other => panic!("not needed by an exchange of two: {other:?}"),
    }
}

const PIECE: u32 = 128 * 1024;

/// Lets the leech fetch the title from the seed, by magnet, each behind a face that `make` makes.
fn exchange<F: Face>(
    meta: &Metainfo,
    content: &[u8],
    make: impl Fn(Arc<Config>, Seed) -> F,
) -> World<F> {
    let face = |host: usize| make(Arc::new(config()), Seed::from_u64(host as u64));
    let mut world = World {
        faces: (0..HOSTS).map(face).collect(),
        disks: vec![content.to_vec(), vec![0; content.len()]],
        queue: BTreeMap::new(),
        sequence: 0,
        now: START,
        seen: Vec::new(),
    };
    for host in 0..HOSTS {
        let holds = host == 0;
        let setup = AddTitle {
            info: holds.then(|| Arc::new(meta.info.clone())),
            piece_layers: if holds { meta.piece_layers.clone() } else { Vec::new() },
            peers: if holds { Vec::new() } else { vec![addr(0)] },
            have: holds.then(|| Bitfield::full(meta.info.layout.piece_count())),
            ..AddTitle::new(TitleId(0), meta.info.hashes)
        };
        let command = Command::Add(Box::new(setup));
        world.give(host, Given::Plain(StackInput::Command(command)));
    }
    world.run();
    assert!(world.disks[1] == content, "the leech holds other bytes");
    world
}

fn streamed(cut: usize) -> impl Fn(Arc<Config>, Seed) -> Streamed {
    move |config, seed| {
        let mut file = Vec::new();
        let recorder = Recorder::new(&Header::new(&config, seed, START), &mut file);
        let stack = Stack::new(config, seed, START);
        Streamed { stack, unread: BTreeMap::new(), recorder, file, cut }
    }
}

#[test]
fn messages_and_bytes_cause_the_same_events_and_jobs_at_the_same_times() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let (meta, content) = world::title(LENGTH, PIECE, version);
        let typed = exchange(&meta, &content, |config, seed| Typed(Node::new(config, seed, START)));
        for cut in [usize::MAX, 1000, 17] {
            let bytes = exchange(&meta, &content, streamed(cut));
            let differs = typed.seen.iter().zip(&bytes.seen).find(|(typed, bytes)| typed != bytes);
            assert_eq!(differs, None, "{version:?}, cut into {cut}");
            assert_eq!(typed.seen.len(), bytes.seen.len());
        }
    }
}

#[test]
fn a_recorded_exchange_is_lived_through_again_with_the_same_effects() {
    let (meta, content) = world::title(LENGTH, PIECE, Version::Hybrid);
    let world = exchange(&meta, &content, streamed(5000));
    for face in world.faces {
        let (mut recorder, mut file) = (face.recorder, face.file);
        recorder.checkpoint(&mut file);
        let (header, records) = Records::open(file.into()).expect("just written");
        let mut replay = Replay::new(&header).expect("the same program");
        for record in records {
            replay.step(record.expect("just written")).expect("the same effects");
        }
        assert!(replay.inputs() > 50 && replay.checked() == replay.inputs());
        let counters = replay.stack().node().counters();
        assert_eq!(counters, face.stack.node().counters());
    }
}

#[test]
fn an_exchange_that_is_tampered_with_in_its_record_is_told() {
    let (meta, content) = world::title(LENGTH, PIECE, Version::V1);
    let mut world = exchange(&meta, &content, streamed(usize::MAX));
    let face = world.faces.pop().expect("the leech");
    let (mut recorder, mut file) = (face.recorder, face.file);
    recorder.checkpoint(&mut file);
    let (header, records) = Records::open(file.into()).expect("just written");
    let mut replay = Replay::new(&header).expect("the same program");
    let told = records
        .map(|record| record.expect("just written"))
        // One verdict of the disk turns around.
        .scan(false, |done, mut record| {
            if let Record::Input { input: StackInput::Done { outcome, .. }, .. } = &mut record
                && let Outcome::Checked(matches) = outcome
                && !core::mem::replace(done, true)
            {
                *matches = !*matches;
            }
            Some(record)
        })
        .any(|record| replay.step(record).is_err());
    assert!(told);
}
