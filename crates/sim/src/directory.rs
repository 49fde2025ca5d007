//! The directory's place in the world: a host that answers UDP tracker packets.

use std::net::SocketAddr;

use shoal_node::directory::{Directory, DirectoryConfig};
use shoal_node::io::Packet;
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_wire::tracker::UdpTracker;

/// A host with a directory on it.
#[derive(Debug)]
pub struct DirectoryHost {
    host: u32,
    directory: Directory,
}

impl DirectoryHost {
    /// A directory on `host`.
    #[must_use]
    pub fn new(host: u32, seed: Seed) -> Self {
        let secret = seed.fork("secret", 0).0;
        Self { host, directory: Directory::new(DirectoryConfig::default(), seed, secret) }
    }
    /// Where it is.
    #[must_use]
    pub fn host(&self) -> u32 {
        self.host
    }
    /// The answer to a packet, if it deserves one.
    pub fn on_packet(&mut self, now: u64, from: SocketAddr, packet: Packet) -> Option<Packet> {
        let Packet::Tracker(packet) = packet else { return None };
        let answer = self.directory.on_packet(Instant::from_nanos(now), from, *packet)?;
        Some(Packet::Tracker(Box::new(answer)))
    }
}

/// Bytes of a packet above UDP (BEP 15; BEP 14's text for its usual length).
#[must_use]
pub fn packet_len(packet: &Packet) -> u64 {
    match packet {
        Packet::Tracker(tracker) => match &**tracker {
            UdpTracker::Connect { .. } | UdpTracker::Connected { .. } => 16,
            UdpTracker::Announce { url_data, .. } => 98 + url_data.len() as u64,
            UdpTracker::Announced { answer, .. } => 20 + 6 * answer.peers.len() as u64,
            UdpTracker::Scrape { info_hashes, .. } => 16 + 20 * info_hashes.len() as u64,
            UdpTracker::Scraped { counts, .. } => 8 + 12 * counts.len() as u64,
            UdpTracker::Error { message, .. } => 8 + message.len() as u64,
        },
        Packet::LocalDiscovery(local) => 90 + 52 * local.info_hashes.len() as u64,
    }
}
