//! The server side of discovery: a tracker without I/O (BEP 3, 7, 15, 23, 48), bounded in memory whatever strangers send.
//!
//! **Does**: remembers who has which title, hands out random others, counts. [`Directory::announce`] and
//! [`Directory::scrape`] are the face for HTTP, [`Directory::on_packet`] the whole UDP protocol.
//!
//! **Refuses**: addresses claimed in a request (the sender's own counts), UDP requests without a connection id that was
//! sent to their sender's address within two minutes, new titles or peers beyond its limits.
//!
//! **Cost**: an announce is O(peers wanted), whatever the size of the swarm. Peers lie in plain arrays, found by keyed
//! hashes; a sample takes one random peer from each of as many equal stretches as peers are wanted. Peers that were
//! silent for twice the interval are forgotten: each announce looks at [`DIRECTORY_SWEEP`] entries of the whole directory in turn,
//! so that as many go as come, and no pass over everything is ever needed.
//!
//! All choices come from the seed: the same calls give the same answers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use hashbrown::HashTable;
use shoal_wire::Hash20;
use shoal_wire::tracker::{Announce, AnnounceAnswer, AnnounceEvent, ScrapeCounts, UdpTracker};

use super::sip::SipKey;
use crate::config::limits::{
    DIRECTORY_NEWEST, DIRECTORY_SEEDS_FIRST, DIRECTORY_SWEEP, DIRECTORY_SWEEP_FULL,
    DIRECTORY_UDP_PEERS_MAX,
};
use crate::rng::{Rng, Seed};
use crate::time::Instant;

/// A UDP connection id is valid in the period in which it was given and the next one (BEP 15: two minutes), seconds.
const CONNECTION_PERIOD_S: u64 = 60;

/// Limits of a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DirectoryConfig {
    /// Time between two announces that peers are told; they are forgotten after twice that.
    pub interval: Duration,
    /// Time before which peers are asked not to announce again.
    pub min_interval: Duration,
    /// Titles in all.
    pub titles_max: usize,
    /// Peers in all, about 40 bytes each.
    pub peers_max: usize,
    /// Peers of one title; above it a newcomer takes the place of a random one.
    pub title_peers_max: usize,
    /// Peers in an answer to who does not say how many.
    pub peers_default: usize,
    /// Peers in an answer at most.
    pub peers_answer_max: usize,
}

impl Default for DirectoryConfig {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(300),
            min_interval: Duration::from_secs(30),
            titles_max: 100_000,
            peers_max: 1_000_000,
            title_peers_max: 200_000,
            peers_default: 50,
            peers_answer_max: 200,
        }
    }
}

/// Why an announce is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No room for another title.
    TitlesFull,
    /// No room for another peer.
    PeersFull,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TitlesFull => "This directory has no room for another title: use another one.",
            Self::PeersFull => "This directory has no room for another peer: try again later.",
        })
    }
}

impl core::error::Error for Refusal {}

/// Who has which title.
#[derive(Debug)]
pub struct Directory {
    config: DirectoryConfig,
    rng: Rng,
    /// For tables, so that nobody can choose names that collide.
    table_key: SipKey,
    /// For connection ids.
    connection_key: SipKey,
    titles: Vec<Title>,
    by_hash: HashTable<u32>,
    /// Peers in all.
    peers: usize,
    /// What is examined next: title, shelf, entry.
    cursor: (usize, usize, usize),
}

/// One title. Shelves: leechers over IPv4, over IPv6, seeds over IPv4, over IPv6.
#[derive(Debug)]
struct Title {
    hash: Hash20,
    downloaded: u32,
    shelves: Box<[Shelf; 4]>,
}

/// Peers of one kind.
#[derive(Debug, Default)]
struct Shelf {
    entries: Vec<Entry>,
    by_addr: HashTable<u32>,
}

/// One peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Entry {
    /// IPv4 in its mapped form.
    ip: [u8; 16],
    port: u16,
    /// Second of its last announce.
    seen_s: u32,
}

impl Directory {
    /// An empty directory. `secret` guards tables and connection ids: a real server takes it from the operating system.
    #[must_use]
    pub fn new(config: DirectoryConfig, seed: Seed, secret: [u64; 4]) -> Self {
        let [a, b, c, d] = secret;
        Self {
            config,
            rng: Rng::new(seed.fork("directory", 0)),
            table_key: SipKey([a, b]),
            connection_key: SipKey([c, d]),
            titles: Vec::new(),
            by_hash: HashTable::new(),
            peers: 0,
            cursor: (0, 0, 0),
        }
    }
    /// Number of titles.
    #[must_use]
    pub fn title_count(&self) -> usize {
        self.titles.len()
    }
    /// Number of peers, each counted once for each of its titles.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers
    }
    /// Takes an announce of a peer at `from` and names others: at most as many as wanted and allowed, never the peer
    /// itself, no seeds to a seed. A peer that listens on port 0 gets an answer and is not remembered.
    ///
    /// # Errors
    /// When there is no room.
    pub fn announce(
        &mut self,
        now: Instant,
        from: IpAddr,
        announce: &Announce,
    ) -> Result<AnnounceAnswer, Refusal> {
        self.serve(now, from, announce, [true, true], self.config.peers_answer_max)
    }
    /// Counts of titles, in the order asked; zero for unknown ones.
    #[must_use]
    pub fn scrape(&self, info_hashes: &[Hash20]) -> Vec<ScrapeCounts> {
        info_hashes
            .iter()
            .map(|hash| self.find(hash).map(|at| self.titles[at].counts()).unwrap_or_default())
            .collect()
    }
    /// Takes a datagram and gives the answer to it, if it deserves one. Never longer than what came, but for peers given
    /// to an address that has proven itself.
    pub fn on_packet(
        &mut self,
        now: Instant,
        remote: SocketAddr,
        packet: UdpTracker,
    ) -> Option<UdpTracker> {
        let ip = remote.ip().to_canonical();
        match packet {
            UdpTracker::Connect { transaction } => {
                let connection = self.connection(ip, period(now));
                Some(UdpTracker::Connected { transaction, connection })
            }
            UdpTracker::Announce { connection, transaction, announce, .. } => {
                if !self.knows(now, ip, connection) {
                    return Some(stale(transaction));
                }
                let (families, room) = match ip {
                    IpAddr::V4(_) => ([true, false], DIRECTORY_UDP_PEERS_MAX.0),
                    IpAddr::V6(_) => ([false, true], DIRECTORY_UDP_PEERS_MAX.1),
                };
                let room = room.min(self.config.peers_answer_max);
                Some(match self.serve(now, ip, &announce, families, room) {
                    Ok(answer) => UdpTracker::Announced { transaction, answer },
                    Err(refusal) => {
                        UdpTracker::Error { transaction, message: alloc::format!("{refusal}") }
                    }
                })
            }
            UdpTracker::Scrape { connection, transaction, info_hashes } => {
                if !self.knows(now, ip, connection) {
                    return Some(stale(transaction));
                }
                let counts = self.scrape(&info_hashes);
                Some(UdpTracker::Scraped { transaction, counts })
            }
            // Answers: nobody asked.
            UdpTracker::Connected { .. }
            | UdpTracker::Announced { .. }
            | UdpTracker::Scraped { .. }
            | UdpTracker::Error { .. } => None,
        }
    }

    fn serve(
        &mut self,
        now: Instant,
        from: IpAddr,
        announce: &Announce,
        families: [bool; 2],
        room: usize,
    ) -> Result<AnnounceAnswer, Refusal> {
        let now_s = seconds(now);
        let own = Entry::new(from, announce.port, now_s);
        self.sweep(now_s, DIRECTORY_SWEEP);
        let mut answer = self.empty_answer(from);
        if announce.event == AnnounceEvent::Stopped {
            if let Some(at) = self.find(&announce.info_hash) {
                self.forget(at, &own);
                self.titles[at].count_into(&mut answer);
            }
            return Ok(answer);
        }
        let seed = announce.left == 0;
        let at = self.admit(now_s, &announce.info_hash, announce.port != 0)?;
        if announce.port != 0 {
            self.remember(at, &own, seed, announce.event)?;
        }
        let wanted = announce.num_want.map_or(self.config.peers_default, |wanted| {
            usize::try_from(wanted).unwrap_or(usize::MAX)
        });
        if let Some(at) = at {
            answer.peers = self.sample(at, &own, seed, families, wanted.min(room));
            self.titles[at].count_into(&mut answer);
        }
        Ok(answer)
    }

    /// The title, made if it is new and a peer will be remembered for it.
    fn admit(
        &mut self,
        now_s: u32,
        hash: &Hash20,
        remembered: bool,
    ) -> Result<Option<usize>, Refusal> {
        if let Some(at) = self.find(hash) {
            return Ok(Some(at));
        }
        if !remembered {
            return Ok(None);
        }
        if self.titles.len() >= self.config.titles_max || self.peers >= self.config.peers_max {
            self.sweep(now_s, DIRECTORY_SWEEP_FULL);
        }
        if self.titles.len() >= self.config.titles_max {
            return Err(Refusal::TitlesFull);
        }
        if self.peers >= self.config.peers_max {
            return Err(Refusal::PeersFull);
        }
        let at = self.titles.len();
        self.titles.push(Title { hash: *hash, downloaded: 0, shelves: Box::default() });
        let (key, titles) = (self.table_key, &self.titles);
        self.by_hash.insert_unique(key.hash(&hash.0), at as u32, |&at| {
            titles.get(at as usize).map_or(0, |title| key.hash(&title.hash.0))
        });
        Ok(Some(at))
    }

    /// Notes that a peer is there, on the right shelf; another one may have to go.
    fn remember(
        &mut self,
        at: Option<usize>,
        own: &Entry,
        seed: bool,
        event: AnnounceEvent,
    ) -> Result<(), Refusal> {
        let Some(at) = at else { return Ok(()) };
        let key = self.table_key;
        let (shelf, other) = (own.shelf(seed), own.shelf(!seed));
        let moved = self.titles[at].shelves[other].remove(key, own);
        self.peers -= usize::from(moved);
        if moved && seed && event == AnnounceEvent::Completed {
            self.titles[at].downloaded = self.titles[at].downloaded.saturating_add(1);
        }
        if self.titles[at].shelves[shelf].refresh(key, own) {
            return Ok(());
        }
        let here = self.titles[at].peer_count();
        if here >= self.config.title_peers_max.max(1) || self.peers >= self.config.peers_max {
            if here == 0 {
                return Err(Refusal::PeersFull);
            }
            let victim = self.rng.below(here as u64) as usize;
            self.titles[at].remove_nth(key, victim);
            self.peers -= 1;
        }
        self.titles[at].shelves[shelf].insert(key, *own);
        self.peers += 1;
        Ok(())
    }

    fn forget(&mut self, at: usize, own: &Entry) {
        for seed in [false, true] {
            let gone = self.titles[at].shelves[own.shelf(seed)].remove(self.table_key, own);
            self.peers -= usize::from(gone);
        }
    }

    /// Others of a title: an even share of each shelf that the asker may see, but a few seeds always; the best to begin with first.
    fn sample(
        &mut self,
        at: usize,
        own: &Entry,
        seed: bool,
        families: [bool; 2],
        wanted: usize,
    ) -> Vec<SocketAddr> {
        let now_s = own.seen_s;
        let life_s = self.life_s();
        let title = &self.titles[at];
        let visible = |index: usize| families[index % 2] && !(seed && index >= 2);
        let total: usize =
            (0..4).filter(|&index| visible(index)).map(|index| title.shelves[index].len()).sum();
        let (mut peers, mut seeds) = (Vec::with_capacity(wanted.min(total)), Vec::new());
        if wanted == 0 {
            return peers;
        }
        // One more than wanted, since the asker may be met; what rounding leaves goes to the later shelves. Seeds come first: few
        // among many leechers, they would have no share of their own, and a beginner must know somebody who has the title.
        let (mut left, mut quota) = (total, (wanted + 1).min(total));
        for index in [2, 3, 0, 1].into_iter().filter(|&index| visible(index)) {
            let entries = &title.shelves[index].entries;
            let least = if index >= 2 { DIRECTORY_SEEDS_FIRST } else { 0 };
            let share = (quota * entries.len()).div_ceil(left.max(1)).max(least);
            let share = share.min(entries.len()).min(quota);
            left -= entries.len();
            quota -= share;
            // Stretches differ by one entry: turned by a random amount, everybody has the same chance.
            let turned = self.rng.below(entries.len() as u64) as usize;
            for part in 0..share {
                let (first, end) =
                    (part * entries.len() / share, (part + 1) * entries.len() / share);
                let pick = first + turned + self.rng.below((end - first) as u64) as usize;
                let fresh = entries.get(pick % entries.len()).filter(|entry| {
                    !entry.is_same(own) && now_s.saturating_sub(entry.seen_s) <= life_s
                });
                let named = if index >= 2 { &mut seeds } else { &mut peers };
                named.extend(fresh.map(Entry::addr));
            }
        }
        // The shelves lie one after the other: without this the last one would always lose the surplus peer.
        self.rng.shuffle(&mut peers);
        self.rng.shuffle(&mut seeds);
        let newest = self.newest(at, own, families, DIRECTORY_NEWEST.min(wanted / 4));
        peers.retain(|addr| !newest.contains(addr));
        peers.extend(seeds.split_off(seeds.len().min(DIRECTORY_SEEDS_FIRST)));
        self.rng.shuffle(&mut peers);
        // Who asks dials the first ones first.
        let mut named = seeds;
        named.extend(newest);
        named.extend(peers);
        named.truncate(wanted);
        named
    }

    /// Those that came last, at most `most`. They play just ahead of a viewer that comes now, and few ask them yet.
    fn newest(&self, at: usize, own: &Entry, families: [bool; 2], most: usize) -> Vec<SocketAddr> {
        let life_s = self.life_s();
        let shelves = self.titles[at].shelves.iter().take(2).zip(families);
        let mut newest: Vec<SocketAddr> = shelves
            .filter(|(_, visible)| *visible)
            .flat_map(|(shelf, _)| shelf.entries.iter().rev().take(most + 1))
            .filter(|entry| {
                !entry.is_same(own) && own.seen_s.saturating_sub(entry.seen_s) <= life_s
            })
            .map(Entry::addr)
            .collect();
        newest.truncate(most);
        newest
    }

    /// Examines `steps` entries after those that were examined last.
    fn sweep(&mut self, now_s: u32, steps: u32) {
        let life_s = self.life_s();
        for _ in 0..steps {
            let (at, shelf, entry) = self.cursor;
            let Some(title) = self.titles.get_mut(at) else {
                self.cursor = (0, 0, 0);
                if self.titles.is_empty() {
                    return;
                }
                continue;
            };
            let Some(found) = title.shelves.get_mut(shelf) else {
                if title.peer_count() == 0 {
                    self.remove_title(at);
                    self.cursor = (at, 0, 0);
                } else {
                    self.cursor = (at + 1, 0, 0);
                }
                continue;
            };
            match found.entries.get(entry).copied() {
                None => self.cursor = (at, shelf + 1, 0),
                Some(old) if now_s.saturating_sub(old.seen_s) > life_s => {
                    found.remove(self.table_key, &old);
                    self.peers -= 1;
                }
                Some(_) => self.cursor.2 += 1,
            }
        }
    }

    fn remove_title(&mut self, at: usize) {
        let key = self.table_key;
        let gone = self.titles.swap_remove(at);
        let hash = key.hash(&gone.hash.0);
        if let Ok(entry) = self.by_hash.find_entry(hash, |&index| index as usize == at) {
            entry.remove();
        }
        if let Some(moved) = self.titles.get(at) {
            let last = self.titles.len();
            let hash = key.hash(&moved.hash.0);
            if let Some(index) = self.by_hash.find_mut(hash, |&index| index as usize == last) {
                *index = at as u32;
            }
        }
    }

    fn find(&self, hash: &Hash20) -> Option<usize> {
        let same = |&at: &u32| self.titles.get(at as usize).is_some_and(|t| t.hash == *hash);
        self.by_hash.find(self.table_key.hash(&hash.0), same).map(|&at| at as usize)
    }
    fn empty_answer(&self, from: IpAddr) -> AnnounceAnswer {
        let whole = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
        AnnounceAnswer {
            interval_s: whole(self.config.interval),
            min_interval_s: Some(whole(self.config.min_interval)),
            complete: Some(0),
            incomplete: Some(0),
            external_ip: Some(from.to_canonical()),
            ..AnnounceAnswer::default()
        }
    }
    fn life_s(&self) -> u32 {
        u32::try_from(self.config.interval.as_secs().saturating_mul(2)).unwrap_or(u32::MAX)
    }
    /// The connection id of an address in a period.
    fn connection(&self, ip: IpAddr, period: u64) -> u64 {
        let mut input = [0u8; 24];
        input[..16].copy_from_slice(&mapped(ip));
        input[16..].copy_from_slice(&period.to_le_bytes());
        self.connection_key.hash(&input)
    }
    fn knows(&self, now: Instant, ip: IpAddr, connection: u64) -> bool {
        let current = period(now);
        connection == self.connection(ip, current)
            || current.checked_sub(1).is_some_and(|last| connection == self.connection(ip, last))
    }
}

impl Title {
    fn peer_count(&self) -> usize {
        self.shelves.iter().map(Shelf::len).sum()
    }
    fn counts(&self) -> ScrapeCounts {
        let count = |a: usize, b: usize| {
            u32::try_from(self.shelves[a].len() + self.shelves[b].len()).unwrap_or(u32::MAX)
        };
        ScrapeCounts { complete: count(2, 3), downloaded: self.downloaded, incomplete: count(0, 1) }
    }
    fn count_into(&self, answer: &mut AnnounceAnswer) {
        let counts = self.counts();
        (answer.complete, answer.incomplete) = (Some(counts.complete), Some(counts.incomplete));
    }
    fn remove_nth(&mut self, key: SipKey, mut nth: usize) {
        for shelf in self.shelves.iter_mut() {
            match shelf.entries.get(nth).copied() {
                Some(entry) => {
                    shelf.remove(key, &entry);
                    return;
                }
                None => nth -= shelf.len(),
            }
        }
    }
}

impl Shelf {
    fn len(&self) -> usize {
        self.entries.len()
    }
    fn find(&self, key: SipKey, own: &Entry) -> Option<usize> {
        let same = |&at: &u32| self.entries.get(at as usize).is_some_and(|e| e.is_same(own));
        self.by_addr.find(own.hash(key), same).map(|&at| at as usize)
    }
    /// Notes that a known peer was seen. Whether it is known.
    fn refresh(&mut self, key: SipKey, own: &Entry) -> bool {
        let Some(at) = self.find(key, own) else { return false };
        self.entries[at].seen_s = own.seen_s;
        true
    }
    /// Adds a peer that is not known.
    fn insert(&mut self, key: SipKey, own: Entry) {
        let at = self.entries.len();
        self.entries.push(own);
        let entries = &self.entries;
        self.by_addr.insert_unique(own.hash(key), at as u32, |&at| {
            entries.get(at as usize).map_or(0, |entry| entry.hash(key))
        });
    }
    /// Whether it was known.
    fn remove(&mut self, key: SipKey, own: &Entry) -> bool {
        let Some(at) = self.find(key, own) else { return false };
        if let Ok(found) = self.by_addr.find_entry(own.hash(key), |&index| index as usize == at) {
            found.remove();
        }
        self.entries.swap_remove(at);
        if let Some(moved) = self.entries.get(at) {
            let last = self.entries.len();
            let hash = moved.hash(key);
            if let Some(index) = self.by_addr.find_mut(hash, |&index| index as usize == last) {
                *index = at as u32;
            }
        }
        true
    }
}

impl Entry {
    fn new(ip: IpAddr, port: u16, seen_s: u32) -> Self {
        Self { ip: mapped(ip), port, seen_s }
    }
    fn is_same(&self, other: &Self) -> bool {
        self.ip == other.ip && self.port == other.port
    }
    fn addr(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(Ipv6Addr::from(self.ip)).to_canonical(), self.port)
    }
    fn shelf(&self, seed: bool) -> usize {
        usize::from(seed) * 2 + usize::from(self.addr().is_ipv6())
    }
    fn hash(&self, key: SipKey) -> u64 {
        let mut input = [0u8; 18];
        input[..16].copy_from_slice(&self.ip);
        input[16..].copy_from_slice(&self.port.to_le_bytes());
        key.hash(&input)
    }
}

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}
fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX)
}
fn period(now: Instant) -> u64 {
    now.as_millis() / 1000 / CONNECTION_PERIOD_S
}
fn stale(transaction: u32) -> UdpTracker {
    UdpTracker::Error { transaction, message: String::from("connect again") }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
