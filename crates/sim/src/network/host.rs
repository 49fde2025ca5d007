//! A host's two ports, and what passed through them.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use shoal_node::io::CloseReason;
use shoal_node::link::LinkId;

/// Rates of a host, bytes/s on the wire. At least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rates {
    /// Sent.
    pub up: u64,
    /// Received.
    pub down: u64,
}

/// What passed through a host's interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Interface {
    /// All bytes sent, headers, acknowledgements and retransmissions included.
    pub wire_out: u64,
    /// All bytes received.
    pub wire_in: u64,
    /// Bytes above TCP and UDP that were sent.
    pub payload_out: u64,
    /// Bytes above TCP and UDP that were received.
    pub payload_in: u64,
    /// Film bytes sent.
    pub film_out: u64,
    /// Bytes of messages without film bytes, and datagrams, that were sent.
    pub control_out: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Segments that were sent twice.
    pub retransmitted: u64,
}

/// One direction of an access link: serves its flows in turn, a chunk each, shared fairly by bytes.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) rate: u64,
    /// When what was taken so far has passed.
    pub(super) free_at: u64,
    pub(super) turn_planned: bool,
    pub(super) active: VecDeque<u32>,
}

impl Port {
    pub(super) fn new(rate: u64) -> Self {
        Self { rate: rate.max(1), free_at: 0, turn_planned: false, active: VecDeque::new() }
    }
    /// Nanoseconds that `bytes` take.
    pub(super) fn time(&self, bytes: u64) -> u64 {
        // 2^64 ns / 10^9 leaves room for chunks of 18 GB: no overflow.
        bytes * 1_000_000_000 / self.rate
    }
    /// Takes `bytes` out of turn: what waits is held up by them.
    pub(super) fn insert(&mut self, now: u64, bytes: u64) {
        self.free_at = self.free_at.max(now) + self.time(bytes);
    }
}

/// A machine on the network, with at most one node on it.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) up: Port,
    pub(super) down: Port,
    /// What the down port is passing: flow, generation, bytes, arrival.
    pub(super) passing: Option<(u32, u32, u64, u64)>,
    pub(super) links: HashMap<u32, u32, BuildHasherDefault<LinkHash>>,
    pub(super) closing: Vec<(LinkId, CloseReason)>,
    pub(super) next_accepted: u32,
    pub(super) online: bool,
    /// Gone without a word: no reset, no refusal.
    pub(super) silent: bool,
    pub(super) interface: Interface,
}

impl Host {
    pub(super) fn new(rates: Rates) -> Self {
        Self {
            up: Port::new(rates.up),
            down: Port::new(rates.down),
            passing: None,
            links: HashMap::default(),
            closing: Vec::new(),
            next_accepted: 1,
            online: true,
            silent: false,
            interface: Interface::default(),
        }
    }
}

/// Hash for link numbers, which nodes and the world choose themselves.
#[derive(Clone, Copy, Debug, Default)]
pub struct LinkHash(u64);

impl Hasher for LinkHash {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        let wide = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15) * 0xd6e8_feb8_6659_fd93;
        self.0 = (wide as u64) ^ ((wide >> 64) as u64);
    }
}
