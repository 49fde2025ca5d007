//! Tracker requests and answers: HTTP (BEP 3, 7, 23, 24, 31, 48) and UDP (BEP 15, 41).
//!
//! The types are the same for both; [`http`] has functions for URLs and bodies, `udp` methods on [`UdpTracker`].

pub mod http;
#[cfg(test)]
mod tests;
mod udp;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::{Hash20, PeerId};

/// Peers that are read from one answer; more are ignored.
pub const ANSWER_PEERS_MAX: usize = 2000;
/// Titles in one scrape (BEP 15: about 74 fit a datagram).
pub const SCRAPE_TITLES_MAX: usize = 74;
/// Characters of a tracker's sentence for the user.
const MESSAGE_CHARS_MAX: usize = 256;

/// Why an announce is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AnnounceEvent {
    /// The regular one.
    #[default]
    None,
    /// First of a run.
    Started,
    /// Last of a run.
    Stopped,
    /// The download became complete in this run.
    Completed,
}

/// What a peer tells a tracker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announce {
    /// v1 info-hash, or truncated v2.
    pub info_hash: Hash20,
    /// Who announces.
    pub peer_id: PeerId,
    /// TCP port on which it listens.
    pub port: u16,
    /// Film bytes sent in this run.
    pub uploaded: u64,
    /// Film bytes received in this run.
    pub downloaded: u64,
    /// Bytes still wanted.
    pub left: u64,
    /// Why.
    pub event: AnnounceEvent,
    /// A number that stays the same for a run, by which a tracker knows the peer when its address changes.
    pub key: u32,
    /// Number of peers wanted; `None` leaves it to the tracker.
    pub num_want: Option<u32>,
}

/// What a tracker answers, from either protocol.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AnnounceAnswer {
    /// Seconds until the next regular announce, as the tracker wrote it: clamp before use.
    pub interval_s: u32,
    /// Seconds before which no announce is wanted.
    pub min_interval_s: Option<u32>,
    /// Number of seeds.
    pub complete: Option<u32>,
    /// Number of leechers.
    pub incomplete: Option<u32>,
    /// Peers, IPv4 and IPv6.
    pub peers: Vec<SocketAddr>,
    /// BEP 24: our address as the tracker sees it.
    pub external_ip: Option<core::net::IpAddr>,
    /// A warning for the user, control characters removed, at most 256 characters.
    pub warning: Option<String>,
}

/// A tracker's numbers for one title (BEP 48).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrapeCounts {
    /// Seeds.
    pub complete: u32,
    /// Times a download became complete.
    pub downloaded: u32,
    /// Leechers.
    pub incomplete: u32,
}

/// Datagrams of BEP 15, both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UdpTracker {
    /// Client: asks for a connection id.
    Connect {
        /// Chosen by the client, echoed.
        transaction: u32,
    },
    /// Server: gives one.
    Connected {
        /// Echo.
        transaction: u32,
        /// Valid for one minute for the client, two for the server.
        connection: u64,
    },
    /// Client: announces.
    Announce {
        /// From [`UdpTracker::Connected`].
        connection: u64,
        /// Chosen by the client, echoed.
        transaction: u32,
        /// What is announced.
        announce: Announce,
        /// BEP 41: path and query of the tracker's URL, at most 255 bytes a part.
        url_data: String,
    },
    /// Server: peers. All of the family of the socket.
    Announced {
        /// Echo.
        transaction: u32,
        /// The answer.
        answer: AnnounceAnswer,
    },
    /// Client: asks for counts.
    Scrape {
        /// From [`UdpTracker::Connected`].
        connection: u64,
        /// Chosen by the client, echoed.
        transaction: u32,
        /// Up to 74 titles.
        info_hashes: Vec<Hash20>,
    },
    /// Server: counts in the order asked.
    Scraped {
        /// Echo.
        transaction: u32,
        /// One per title.
        counts: Vec<ScrapeCounts>,
    },
    /// Server: a sentence for the user.
    Error {
        /// Echo.
        transaction: u32,
        /// At most 256 characters, control characters removed.
        message: String,
    },
}
