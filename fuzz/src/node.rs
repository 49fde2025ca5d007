//! Bodies of the targets for `shoal-node`. Each takes any bytes and panics when a promise of the crate is broken.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, Command, Job, Outcome};
use shoal_node::link::{LinkId, Ticket, TitleId};
use shoal_node::record::{Record, Recorder, Records};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Stack, StackEffect, StackInput};
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Info;
use shoal_wire::peer::whole_frames;

/// A target: it takes any bytes and panics when a promise is broken.
pub type Target = fn(&[u8]);

/// All targets of this file by name.
pub const TARGETS: &[(&str, Target)] = &[("node_ops", node_ops), ("record", record)];

/// Inputs of one run: more say nothing new and take long.
const STEPS_MAX: usize = 400;
const LINK: LinkId = LinkId(1);
const TITLE: TitleId = TitleId(0);
/// A title of 100,000 bytes in four pieces.
const INFO: &[u8] = b"d6:lengthi100000e4:name4:film12:piece lengthi32768e6:pieces80:\
    aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbccccccccccccccccccccdddddddddddddddddddde";

/// A file of records that can be read is written again and reads the same.
pub fn record(data: &[u8]) {
    let _ = Record::get(Bytes::copy_from_slice(data));
    let Ok((header, records)) = Records::open(Bytes::copy_from_slice(data)) else { return };
    let mut file = Vec::new();
    let mut recorder = Recorder::new(&header, &mut file);
    let (mut now, mut inputs) = (header.start, Vec::new());
    for record in records.flatten().take(STEPS_MAX) {
        if let Record::Input { after, input } = record {
            now = now + after;
            recorder.input(now, &input, &mut file);
            inputs.push(format!("{input:?}"));
        }
    }
    let (again, records) = Records::open(file.into()).expect("our own");
    assert_eq!(again, header);
    let again: Vec<_> = records
        .map(|record| match record.expect("our own") {
            Record::Input { input, .. } => format!("{input:?}"),
            Record::Checkpoint { .. } => panic!("too few inputs for one"),
        })
        .collect();
    assert_eq!(again, inputs);
}

/// A node with a small title meets one hostile peer. The first byte says whether the node holds the title, and whether it is
/// watched with a quota of two pieces; then each byte is an operation: the peer says something, time passes, a job is done,
/// credit comes, the link goes and comes again.
pub fn node_ops(data: &[u8]) {
    let Some((&first, ops)) = data.split_first() else { return };
    let mut world = World::new(first & 1 == 1, first & 2 == 2);
    let mut ops = ops;
    for _ in 0..STEPS_MAX {
        let Some((&op, rest)) = ops.split_first() else { break };
        ops = rest;
        match op {
            0..=15 => world.pass(Duration::from_millis(1 << op)),
            16..=31 => world.finish_job(op & 1 == 1),
            32..=39 => {
                let bytes = 1 << (op - 22);
                world.give(StackInput::Credit { link: world.link, bytes, passed: bytes / 2 });
            }
            40 => world.reconnect(),
            _ => {
                let (said, rest) = ops.split_at(ops.len().min(usize::from(op - 40)));
                ops = rest;
                world.say(said);
            }
        }
    }
}

struct World {
    stack: Stack,
    now: Instant,
    link: LinkId,
    is_up: bool,
    handshaken: bool,
    unread: Vec<u8>,
    jobs: Vec<(Ticket, Box<Job>)>,
}

impl World {
    fn new(holds: bool, cached: bool) -> Self {
        let now = Instant::from_millis(1000);
        let stack = Stack::new(Arc::new(Config::default()), Seed::from_u64(1), now);
        let info = Info::parse(&Bytes::from_static(INFO)).expect("a valid title");
        let mut world = Self {
            stack,
            now,
            link: LINK,
            is_up: false,
            handshaken: false,
            unread: Vec::new(),
            jobs: Vec::new(),
        };
        let plain = AddTitle::new(TITLE, info.hashes);
        let have = holds.then(|| Bitfield::full(info.layout.piece_count()));
        if cached {
            let (quota, elsewhere) = (Some(65_536), 0);
            world.give(StackInput::Command(Command::Cache { quota, elsewhere }));
        }
        let add = AddTitle { have, cached, info: Some(Arc::new(info)), ..plain };
        world.give(StackInput::Command(Command::Add(Box::new(add))));
        world.reconnect();
        world
    }
    fn give(&mut self, input: StackInput) {
        let mut effects = Vec::new();
        self.stack.step(self.now, input, &mut effects);
        for effect in effects {
            match effect {
                StackEffect::Write { link, bytes, .. } => {
                    assert!(link == self.link && self.is_up, "written on a link that is gone");
                    assert!(!bytes.is_empty());
                }
                StackEffect::Close { link, reason } => {
                    assert!(link == self.link && self.is_up, "closed twice");
                    self.is_up = false;
                    self.give(StackInput::LinkDown { link, reason });
                }
                StackEffect::Submit { ticket, job } => self.jobs.push((ticket, job)),
                StackEffect::Dial { .. } | StackEffect::Datagram { .. } | StackEffect::Tell(_) => {}
            }
        }
        assert!(self.jobs.len() < 10_000, "a peer makes work without end");
    }
    /// Time passes, and the node is woken as often as it wants, with a bound.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100 {
            let Some(at) = self.stack.deadline().filter(|&at| at <= end) else { break };
            self.now = self.now.max(at);
            self.give(StackInput::Wake);
        }
        self.now = end.max(self.now);
    }
    fn finish_job(&mut self, good: bool) {
        let Some((ticket, job)) = self.jobs.pop() else { return };
        let outcome = match *job {
            Job::Read { length, .. } => Outcome::Data(vec![0; length as usize].into()),
            Job::Write { .. } | Job::Save { .. } => Outcome::Stored,
            Job::CheckBlock { .. }
            | Job::CheckPiece { .. }
            | Job::CheckTree { .. }
            | Job::CheckInfo { .. } => Outcome::Checked(good),
            Job::Leaves { .. } => Outcome::Data(Bytes::from_static(&[0; 64])),
            Job::Evict { .. } | Job::Reclaim { .. } => Outcome::Freed(0),
            Job::Prepare { .. } => Outcome::Prepared(Box::default()),
            Job::Resolve { .. } | Job::Fetch { .. } => Outcome::Resolved(Vec::new()),
        };
        self.give(StackInput::Done { ticket, outcome });
    }
    fn reconnect(&mut self) {
        if self.is_up {
            self.is_up = false;
            let reason = shoal_node::io::CloseReason::Remote;
            self.give(StackInput::LinkDown { link: self.link, reason });
        }
        self.link = LinkId(self.link.0 + 2);
        (self.is_up, self.handshaken, self.unread) = (true, false, Vec::new());
        let (link, remote) = (self.link, "192.0.2.1:7000".parse().expect("an address"));
        self.give(StackInput::LinkUp { link, remote });
    }
    /// The peer's bytes; the first ones on a link follow a good handshake, which no fuzzer would find.
    fn say(&mut self, said: &[u8]) {
        if !self.is_up {
            return;
        }
        if !self.handshaken && self.unread.is_empty() {
            let info = Info::parse(&Bytes::from_static(INFO)).expect("a valid title");
            self.unread.extend_from_slice(b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04");
            self.unread.extend_from_slice(&info.hashes.primary().expect("it has a name").0);
            self.unread.extend_from_slice(b"-XX0000-hostile peer");
        }
        self.unread.extend_from_slice(said);
        let link = self.link;
        match whole_frames(&self.unread, self.handshaken) {
            Ok(framing) if framing.whole > 0 => {
                self.handshaken = true;
                let rest = self.unread.split_off(framing.whole);
                let bytes = core::mem::replace(&mut self.unread, rest).into();
                self.give(StackInput::Bytes { link, bytes });
            }
            Ok(_) => {}
            Err(_) => {
                let bytes = core::mem::take(&mut self.unread).into();
                self.give(StackInput::Bytes { link, bytes });
                assert!(!self.is_up, "frames that cannot be are refused");
            }
        }
    }
}
