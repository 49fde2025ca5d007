//! The network between hosts: access links, delays, TCP connections, datagrams.
//!
//! **The model.** Each host has an up and a down port of fixed rates. Each direction of a connection is a [`flow`]. A port
//! passes chunks of about 16 KiB, one flow after the other, by deficit round robin (Shreedhar and Varghese 1995), so a
//! rate is shared fairly among the flows that have something to send, and none of it is lost while one of them is held
//! by its window. A few small messages on an otherwise idle flow pass at once, as segments would between the segments of
//! a chunk. Set-up costs a round trip, slow start, headers, acknowledgements and retransmissions are charged; queues form
//! at the receiver's port only, since senders queue per flow.
//!
//! **Refuses**: packet reordering inside a flow, routers between the access links, and drops by full queues: windows are
//! steered by delay instead.
//!
//! **Start** at [`Network::offer`], then [`Network::on_event`].

pub mod flow;
pub mod host;
pub mod latency;
mod links;
mod planetlab;
mod ports;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use shoal_node::io::{CloseReason, Packet};
use shoal_node::link::LinkId;
use shoal_node::rng::{Rng, Seed};
use shoal_wire::peer::Message;

use flow::Flow;
use host::Host;
pub use host::{Interface, LinkHash, Rates};
pub use latency::{Latency, Matrix};

/// Port on which every node listens, TCP and UDP.
pub const NODE_PORT: u16 = 6881;
/// Port on which a host's directory listens, UDP.
pub const DIRECTORY_PORT: u16 = 6969;
/// A dial to a host that does not answer ends after this long (two repeats of a SYN).
const DIAL_TIMEOUT_NS: u64 = 7_000_000_000;
/// A connection whose other end fell silent is given up after this long.
const SILENCE_NS: u64 = 60_000_000_000;
/// Credit is given back in steps of this many bytes, and when a socket is empty.
const CREDIT_STEP: u32 = 16 * 1024;
/// Bytes of a SYN or FIN on the wire.
const BARE_SEGMENT: u64 = 60;
/// IP and UDP headers.
const DATAGRAM_HEADER: u64 = 28;

/// Something that happens inside the network.
#[derive(Clone, Copy, Debug)]
pub enum NetEvent {
    /// A host's up port can pass the next chunk.
    UpTurn(u32),
    /// A host's down port has passed a chunk.
    DownTurn(u32),
    /// A chunk reached the receiver's down port.
    Chunk {
        /// Flow and its generation.
        flow: u32,
        /// Generation.
        generation: u32,
        /// Stream bytes.
        bytes: u32,
    },
    /// An acknowledgement opened a window.
    Ready {
        /// Flow.
        flow: u32,
        /// Generation.
        generation: u32,
    },
    /// The sender hears that film arrived.
    Passed {
        /// Flow.
        flow: u32,
        /// Generation.
        generation: u32,
        /// Film bytes.
        bytes: u32,
    },
    /// An end of a connection is open.
    Opened {
        /// The end.
        end: u32,
        /// Generation.
        generation: u32,
    },
    /// The other end has closed.
    Finished {
        /// The end that learns it.
        end: u32,
        /// Generation.
        generation: u32,
    },
    /// A link of a host is over by its own doing, or could not be opened.
    Closed {
        /// The host.
        host: u32,
        /// The link.
        link: LinkId,
    },
    /// A datagram arrived.
    Datagram(u32),
}

/// What the network hands to a host's node.
#[derive(Debug)]
pub enum Arrival {
    /// A link opened.
    Up {
        /// The link.
        link: LinkId,
        /// Address of the other end.
        remote: SocketAddr,
        /// The other host.
        peer: u32,
    },
    /// A link ended.
    Down {
        /// The link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// A message.
    Message {
        /// The link.
        link: LinkId,
        /// The message.
        message: Message,
        /// The other host.
        peer: u32,
    },
    /// Room in the socket.
    Credit {
        /// The link.
        link: LinkId,
        /// Bytes.
        bytes: u32,
    },
    /// The other end has so much more of what was sent.
    Passed {
        /// The link.
        link: LinkId,
        /// Film bytes.
        bytes: u32,
    },
    /// A datagram, to this port.
    Datagram {
        /// Sender.
        from: SocketAddr,
        /// Port it was sent to.
        port: u16,
        /// What it says.
        packet: Packet,
    },
}

/// Two groups that cannot reach each other for a while. Streams wait, datagrams are lost.
#[derive(Clone, Debug)]
pub struct Partition {
    /// From, nanoseconds.
    pub from_ns: u64,
    /// Until, nanoseconds.
    pub until_ns: u64,
    /// Per host: which side it is on.
    pub side: Vec<bool>,
}

/// Settings of a network.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Delays.
    pub latency: Latency,
    /// Extra delay drawn per chunk, up to this many nanoseconds.
    pub jitter_ns: u64,
    /// Segments and datagrams lost, per 10,000.
    pub loss_per_10000: u32,
    /// Bytes a socket takes beyond what has left: `TCP_NOTSENT_LOWAT`.
    pub send_queue: u32,
}

#[derive(Debug)]
struct End {
    host: u32,
    link: LinkId,
    /// The node was told that the link is open.
    up: bool,
    /// The node has nothing to do with it any more.
    closed: bool,
    /// The other end's last word arrived ahead of bytes that wait at our port.
    finish_pending: bool,
}

#[derive(Debug)]
struct Conn {
    generation: u32,
    used: bool,
    port: u16,
    ends: [End; 2],
    flows: [Flow; 2],
}

/// Connections by number, in chunks: a list of millions that doubles would hold twice the memory it needs, and three times
/// while it moves.
#[derive(Debug, Default)]
struct Conns {
    chunks: Vec<Vec<Conn>>,
}

impl Conns {
    const CHUNK: usize = 1024;

    /// Appends a connection; returns its number.
    fn push(&mut self, conn: Conn) -> u32 {
        if self.chunks.last().is_none_or(|chunk| chunk.len() == Self::CHUNK) {
            self.chunks.push(Vec::with_capacity(Self::CHUNK));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(conn);
        (last * Self::CHUNK + self.chunks[last].len() - 1) as u32
    }
}

impl std::ops::Index<usize> for Conns {
    type Output = Conn;

    fn index(&self, number: usize) -> &Conn {
        &self.chunks[number / Self::CHUNK][number % Self::CHUNK]
    }
}

impl std::ops::IndexMut<usize> for Conns {
    fn index_mut(&mut self, number: usize) -> &mut Conn {
        &mut self.chunks[number / Self::CHUNK][number % Self::CHUNK]
    }
}

#[derive(Debug)]
struct Datagram {
    from: SocketAddr,
    to: u32,
    port: u16,
    bytes: u64,
    packet: Option<Packet>,
}

/// All hosts and what is under way between them. Ends of a connection and flows share numbers: end 2k dialed, 2k + 1
/// accepted, and flow n carries what end n says.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    hosts: Vec<Host>,
    conns: Conns,
    free: Vec<u32>,
    datagrams: Vec<Datagram>,
    free_datagrams: Vec<u32>,
    partitions: Vec<Partition>,
    rng: Rng,
    /// `survive[n]`: chance in 2^32 that n segments all arrive.
    survive: [u64; 17],
    /// Flows that were given something since the last flush.
    touched: Vec<u32>,
    dials: u32,
}

/// Address of a host's node.
#[must_use]
pub fn address_of(host: u32) -> SocketAddr {
    let [_, b, c, d] = host.to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(20, b, c, d)), NODE_PORT)
}

/// The host at an address, whether or not it exists.
#[must_use]
pub fn host_of(addr: SocketAddr) -> Option<u32> {
    match addr.ip() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            (a == 20).then(|| u32::from_be_bytes([0, b, c, d]))
        }
        IpAddr::V6(_) => None,
    }
}

impl Network {
    /// An empty network.
    #[must_use]
    pub fn new(config: NetworkConfig, seed: Seed) -> Self {
        let mut network = Self {
            config,
            hosts: Vec::new(),
            conns: Conns::default(),
            free: Vec::new(),
            datagrams: Vec::new(),
            free_datagrams: Vec::new(),
            partitions: Vec::new(),
            rng: Rng::new(seed.fork("network", 0)),
            survive: [0; 17],
            touched: Vec::new(),
            dials: 0,
        };
        network.set_loss(network.config.loss_per_10000);
        network
    }
    /// Changes the loss, per 10,000 segments and datagrams.
    pub fn set_loss(&mut self, per_10000: u32) {
        let keep = (10_000 - u64::from(per_10000.min(10_000))) * (1 << 32) / 10_000;
        let mut product = 1u64 << 32;
        for slot in &mut self.survive {
            *slot = product;
            product = ((u128::from(product) * u128::from(keep)) >> 32) as u64;
        }
    }
    /// Adds a host and returns its number.
    pub fn add_host(&mut self, rates: Rates) -> u32 {
        self.hosts.push(Host::new(rates));
        (self.hosts.len() - 1) as u32
    }
    /// Adds a partition that is known ahead.
    pub fn add_partition(&mut self, partition: Partition) {
        self.partitions.push(partition);
    }
    /// What passed through a host's interface.
    #[must_use]
    pub fn interface(&self, host: u32) -> Interface {
        self.hosts[host as usize].interface
    }
    /// Rates of a host.
    #[must_use]
    pub fn rates(&self, host: u32) -> Rates {
        let host = &self.hosts[host as usize];
        Rates { up: host.up.rate, down: host.down.rate }
    }
    /// Delay from host to host and back, nanoseconds.
    #[must_use]
    pub fn round_trip_ns(&self, a: u32, b: u32) -> u64 {
        2 * self.config.latency.one_way_ns(a, b)
    }
    /// Whether a link is known and neither closed nor ended.
    #[must_use]
    pub fn is_open(&self, host: u32, link: LinkId) -> bool {
        self.end_of(host, link).is_some_and(|end| self.end(end).up && !self.end(end).closed)
    }
    /// Whether a link is open at both ends.
    #[must_use]
    pub fn is_whole(&self, host: u32, link: LinkId) -> bool {
        self.end_of(host, link).is_some_and(|end| {
            [end, end ^ 1].iter().all(|&end| self.end(end).up && !self.end(end).closed)
        })
    }
    /// Credit left on a link: what its socket takes before it is told of more. `None` for an unknown link.
    #[must_use]
    pub fn credit(&self, host: u32, link: LinkId) -> Option<i64> {
        self.end_of(host, link).map(|end| self.flow(end).credit)
    }
    /// Credit that comes with an open link.
    #[must_use]
    pub fn first_credit(&self) -> u32 {
        self.config.send_queue
    }
    /// The host at the other end of a link.
    #[must_use]
    pub fn peer_of(&self, host: u32, link: LinkId) -> Option<u32> {
        self.end_of(host, link).map(|end| self.end(end ^ 1).host)
    }

    fn end_of(&self, host: u32, link: LinkId) -> Option<u32> {
        self.hosts[host as usize].links.get(&link.0).copied()
    }
    fn end(&self, end: u32) -> &End {
        &self.conns[(end >> 1) as usize].ends[(end & 1) as usize]
    }
    fn end_mut(&mut self, end: u32) -> &mut End {
        &mut self.conns[(end >> 1) as usize].ends[(end & 1) as usize]
    }
    fn flow(&self, flow: u32) -> &Flow {
        &self.conns[(flow >> 1) as usize].flows[(flow & 1) as usize]
    }
    fn flow_mut(&mut self, flow: u32) -> &mut Flow {
        &mut self.conns[(flow >> 1) as usize].flows[(flow & 1) as usize]
    }
    fn generation(&self, end: u32) -> u32 {
        self.conns[(end >> 1) as usize].generation
    }
    fn is_current(&self, end: u32, generation: u32) -> bool {
        let conn = &self.conns[(end >> 1) as usize];
        conn.used && conn.generation == generation
    }
    /// Until when `a` and `b` cannot reach each other; `None` when they can.
    fn parted_until(&self, a: u32, b: u32, now: u64) -> Option<u64> {
        self.partitions
            .iter()
            .filter(|part| part.from_ns <= now && now < part.until_ns)
            .filter(|part| part.side.get(a as usize) != part.side.get(b as usize))
            .map(|part| part.until_ns)
            .max()
    }
    fn delay(&mut self, a: u32, b: u32) -> u64 {
        let jitter = match self.config.jitter_ns {
            0 => 0,
            most => self.rng.below(most),
        };
        self.config.latency.one_way_ns(a, b) + jitter
    }
}
