//! Plain counters: what a node did, for people, scripts and checks.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::link::{LinkId, TitleId};

/// Film bytes and messages of one title since it was added.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Film bytes received, whatever became of them.
    pub received: u64,
    /// Film bytes received for the first time and verified.
    pub useful: u64,
    /// Film bytes that were here already, or came twice.
    pub duplicate: u64,
    /// Film bytes thrown away: wrong hash, not asked for, not wanted any more.
    pub wasted: u64,
    /// Film bytes sent.
    pub sent: u64,
    /// Useful bytes from peers.
    pub from_peers: u64,
    /// Useful bytes from publishers, edges and web seeds.
    pub from_server: u64,
    /// Requests sent a second time to another peer.
    pub hedged: u64,
    /// Messages received.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Blocks or pieces that did not match their hash.
    pub hash_failures: u64,
    /// Bytes still wanted.
    pub left: u64,
    /// Film bytes given up to keep the cache within its quota.
    pub evicted: u64,
}

/// How the cache of watched films stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheView {
    /// Bytes that it may take.
    pub quota: u64,
    /// Bytes that it takes on the disk, or will once the pieces that are begun are whole.
    pub used: u64,
}

/// One title, as a person would want to see it.
#[derive(Clone, Debug)]
pub struct TitleView {
    /// The title.
    pub title: TitleId,
    /// Whether its metadata is known.
    pub ready: bool,
    /// Bytes verified and held, pads not counted.
    pub have: u64,
    /// Bytes in all; 0 until ready.
    pub length: u64,
    /// Bytes of the pieces that are wanted: less than all when only some files are.
    pub wanted: u64,
    /// Bytes verified and held of them.
    pub wanted_have: u64,
    /// Film bytes/s over the last seconds.
    pub down_rate: u64,
    /// Film bytes/s over the last seconds.
    pub up_rate: u64,
    /// Film ahead of the newest playhead that is already here, milliseconds; 0 without one.
    pub buffer_ms: u64,
    /// Known addresses that are not connected.
    pub known_peers: usize,
    /// Counters.
    pub counters: Counters,
    /// Pieces held, wire form of BEP 3; empty until ready.
    pub pieces: Vec<u8>,
    /// Connected peers.
    pub peers: Vec<PeerView>,
    /// Trackers and how they do.
    pub trackers: Vec<TrackerView>,
}

/// One connected peer.
#[derive(Clone, Debug)]
pub struct PeerView {
    /// Its link.
    pub link: LinkId,
    /// Its address.
    pub remote: SocketAddr,
    /// What it calls itself.
    pub client: String,
    /// Pieces it has.
    pub have: u32,
    /// Film bytes/s from it.
    pub down_rate: u64,
    /// Film bytes/s to it.
    pub up_rate: u64,
    /// Film bytes from it.
    pub received: u64,
    /// Film bytes to it.
    pub sent: u64,
    /// Requests outstanding at it.
    pub requests: u32,
    /// Smoothed time from a request to its block on an idle link, microseconds; 0 when unknown.
    pub rtt_us: u64,
    /// The round trip that network coordinates predict, microseconds, where they count and it told its own.
    pub predicted_us: Option<u64>,
    /// It chokes us.
    pub choking_us: bool,
    /// We choke it.
    pub choked: bool,
    /// It is a Shoal peer.
    pub shoal: bool,
    /// It is a publisher or an edge.
    pub source: bool,
}

/// One tracker.
#[derive(Clone, Debug)]
pub struct TrackerView {
    /// Its URL.
    pub url: String,
    /// Peers it gave last.
    pub peers: usize,
    /// Last trouble, empty when it works.
    pub trouble: String,
}
