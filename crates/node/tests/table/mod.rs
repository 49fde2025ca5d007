//! One node and remotes that are played by hand: a test says what they say, and reads what the node does about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use shoal_node::config::Config;
use shoal_node::io::{AddTitle, CloseReason, Command, Effect, Event, Input, Job, Outcome, Packet};
use shoal_node::link::{LinkId, Ticket};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_node::{Machine, Node};
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::{Info, Metainfo, Version};
use shoal_wire::peer::{
    BlockRequest, Extended, ExtensionHandshake, ExtensionIds, Handshake, Message, ShoalHello,
};
use shoal_wire::{Hash20, InfoHashes, PeerId};

use crate::world::{TITLE, title, work};

pub(crate) const PIECE: u32 = 64 * 1024;

pub(crate) struct Table {
    pub(crate) node: Node,
    pub(crate) now: Instant,
    pub(crate) info: Arc<Info>,
    pub(crate) disk: Vec<u8>,
    /// Jobs that are kept back, and those that were.
    pub(crate) hold: fn(&Job) -> bool,
    pub(crate) held: Vec<(Ticket, Box<Job>)>,
    pub(crate) sent: Vec<(LinkId, Message)>,
    pub(crate) closed: Vec<(LinkId, CloseReason)>,
    pub(crate) dialed: Vec<(LinkId, SocketAddr)>,
    pub(crate) packets: Vec<Packet>,
    pub(crate) banned: Vec<SocketAddr>,
    pub(crate) told: Vec<Event>,
}

impl Table {
    pub(crate) fn new(version: Version, whole: bool) -> Self {
        let (meta, content) = title(400_000, PIECE, version);
        Self::with(meta, content, whole)
    }
    pub(crate) fn with(meta: Metainfo, content: Vec<u8>, whole: bool) -> Self {
        Self::filled(meta, content, whole, false, |_| {})
    }
    /// The publisher of a title.
    pub(crate) fn source(meta: Metainfo, content: Vec<u8>, tune: impl FnOnce(&mut Config)) -> Self {
        Self::filled(meta, content, true, true, tune)
    }
    fn filled(
        meta: Metainfo,
        content: Vec<u8>,
        whole: bool,
        source: bool,
        tune: impl FnOnce(&mut Config),
    ) -> Self {
        let count = meta.info.layout.piece_count();
        let mut table = Self::tuned(Arc::new(meta.info), tune);
        if whole {
            table.disk[..content.len()].copy_from_slice(&content);
        }
        let setup = AddTitle {
            info: Some(Arc::clone(&table.info)),
            piece_layers: meta.piece_layers,
            have: Some(if whole { Bitfield::full(count) } else { Bitfield::new(count) }),
            source,
            ..setup(table.info.hashes)
        };
        table.give(Input::Command(Command::Add(setup.into())));
        table
    }
    /// Of the title only these names are known.
    pub(crate) fn magnet(meta: Metainfo, hashes: InfoHashes) -> Self {
        let mut table = Self::empty(Arc::new(meta.info));
        table.give(Input::Command(Command::Add(setup(hashes).into())));
        table
    }
    /// A node without titles, and a disk for one.
    pub(crate) fn empty(info: Arc<Info>) -> Self {
        Self::tuned(info, |_| {})
    }
    fn tuned(info: Arc<Info>, tune: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config { listen_port: 7000, ..Config::default() };
        config.discover.local = false;
        tune(&mut config);
        let now = Instant::from_millis(1000);
        Self {
            node: Node::new(config.into(), Seed::from_u64(1), now),
            now,
            disk: vec![0; info.layout.nominal_end() as usize],
            info,
            hold: |_| false,
            held: Vec::new(),
            sent: Vec::new(),
            closed: Vec::new(),
            dialed: Vec::new(),
            packets: Vec::new(),
            banned: Vec::new(),
            told: Vec::new(),
        }
    }
    pub(crate) fn give(&mut self, input: Input) {
        let mut effects = Vec::new();
        self.node.step(self.now, input, &mut effects);
        self.node.audit().expect("every sum holds");
        for effect in effects {
            match effect {
                Effect::Send { link, message } => self.sent.push((link, message)),
                Effect::Close { link, reason } => self.closed.push((link, reason)),
                Effect::Dial { link, remote } => self.dialed.push((link, remote)),
                Effect::Packet { packet, .. } => self.packets.push(packet),
                Effect::Submit { ticket, job } if (self.hold)(&job) => {
                    self.held.push((ticket, job));
                }
                Effect::Submit { ticket, job } => self.finish(ticket, &job),
                Effect::Tell(Event::Banned { remote, .. }) => self.banned.push(remote),
                Effect::Tell(event) => self.told.push(event),
            }
        }
    }
    fn finish(&mut self, ticket: Ticket, job: &Job) {
        let outcome = work(&mut self.disk, Some(&self.info), job);
        self.done(ticket, outcome);
    }
    pub(crate) fn done(&mut self, ticket: Ticket, outcome: Outcome) {
        self.give(Input::Done { ticket, outcome });
    }
    /// Does the oldest job that was kept back.
    pub(crate) fn release(&mut self) {
        let (ticket, job) = self.held.remove(0);
        self.finish(ticket, &job);
    }
    pub(crate) fn say(&mut self, link: u32, message: Message) {
        self.give(Input::Message { link: LinkId(link), message });
    }
    pub(crate) fn pass(&mut self, seconds: u64) {
        self.pass_ms(seconds * 1000);
    }
    pub(crate) fn pass_ms(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        while let Some(at) = self.node.deadline().filter(|&at| at <= until) {
            self.now = at;
            self.give(Input::Wake);
        }
        self.now = until;
    }
    /// A remote opens a link and shakes hands.
    pub(crate) fn meet(&mut self, link: u32, info_hash: Hash20, id: u8, fast: bool) {
        self.shake(link, info_hash, id, fast, false);
    }
    /// A remote of our own kind does so.
    pub(crate) fn meet_kin(&mut self, link: u32, info_hash: Hash20, id: u8) {
        self.shake(link, info_hash, id, true, true);
        let shoal = Some(ShoalHello { version: 1, source: false });
        self.hello(link, ExtensionHandshake { shoal, ..ours() });
    }
    fn shake(&mut self, link: u32, info_hash: Hash20, id: u8, fast: bool, extended: bool) {
        let remote = SocketAddr::from(([10, 0, 0, id], 5000));
        let handshake = Handshake { fast, extended, ..shake(info_hash, id) };
        self.meet_at(link, remote, handshake);
    }
    /// A link to or from `remote` is up, and its handshake comes.
    pub(crate) fn meet_at(&mut self, link: u32, remote: SocketAddr, handshake: Handshake) {
        self.give(Input::LinkUp { link: LinkId(link), remote });
        self.say(link, Message::Handshake(handshake.into()));
    }
    pub(crate) fn hello(&mut self, link: u32, hello: ExtensionHandshake) {
        self.say(link, Message::Extended(Extended::Handshake(hello).into()));
    }
    pub(crate) fn lose(&mut self, link: u32) {
        self.fault(link, CloseReason::Remote);
    }
    /// A link ends; `Protocol` is what the codec says of frames that make no sense.
    pub(crate) fn fault(&mut self, link: u32, reason: CloseReason) {
        self.give(Input::LinkDown { link: LinkId(link), reason });
    }
    pub(crate) fn hash(&self) -> Hash20 {
        self.info.hashes.primary().expect("a name")
    }
    pub(crate) fn to(&self, link: u32) -> Vec<&Message> {
        let to = self.sent.iter().filter(|(to, _)| *to == LinkId(link));
        to.map(|(_, message)| message).collect()
    }
    /// Links of peers.
    pub(crate) fn links(&self) -> Vec<u32> {
        self.node.views()[0].peers.iter().map(|peer| peer.link.0).collect()
    }
    /// Takes the requests for blocks that were sent since the last call; other messages are dropped.
    pub(crate) fn asked(&mut self) -> Vec<(u32, BlockRequest)> {
        let sent = core::mem::take(&mut self.sent);
        let request = |(link, message): (LinkId, Message)| match message {
            Message::Request(request) => Some((link.0, request)),
            _ => None,
        };
        sent.into_iter().filter_map(request).collect()
    }
}

/// What a foreign client says of itself.
pub(crate) fn shake(info_hash: Hash20, id: u8) -> Handshake {
    let peer_id = PeerId([id; 20]);
    Handshake { info_hash, peer_id, fast: true, extended: false, v2: false, dht: false }
}

pub(crate) fn ours() -> ExtensionHandshake {
    ExtensionHandshake { ids: ExtensionIds::OURS, ..ExtensionHandshake::default() }
}

fn setup(hashes: InfoHashes) -> AddTitle {
    AddTitle::new(TITLE, hashes)
}
