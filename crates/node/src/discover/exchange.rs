//! Peer exchange (BEP 11): who is connected, told to each neighbour as differences, at most once a minute.
//!
//! Changes of a title's neighbours go into one short log with running numbers; each neighbour has a cursor into it. The
//! first message, soon after the handshakes, names a sample of all; later ones what the log holds behind the cursor. A
//! neighbour whose cursor fell off the log misses what was dropped from it, which costs nothing but completeness.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::net::SocketAddr;

use shoal_wire::peer::{PexMessage, PexPeer};

use super::address::{is_loopback, is_silly};
use crate::compact::Addr;
use crate::config::DiscoverConfig;
use crate::config::limits::{EXCHANGE_GATHER, EXCHANGE_LOG_MAX};
use crate::link::LinkId;
use crate::rng::Rng;
use crate::time::Instant;

/// Flags of BEP 11.
const SEED: u8 = 0x02;
const REACHABLE: u8 = 0x10;

/// A neighbour, as `PeerUp` described it.
#[derive(Debug)]
struct Neighbour {
    link: LinkId,
    listen: Option<Addr>,
    flags: u8,
    /// It understands PEX.
    exchange: bool,
    /// Number of the first change that it was not told; [`UNTOLD`] before its first message.
    cursor: u64,
    /// When it may be told next.
    next: Instant,
    /// When its last message was accepted.
    heard: Option<Instant>,
}

/// It was told nothing yet.
const UNTOLD: u64 = u64::MAX;

impl Neighbour {
    /// Whether it has not heard of all changes before `end`.
    fn lags(&self, end: u64) -> bool {
        self.exchange && (self.cursor == UNTOLD || self.cursor < end)
    }
}

/// One change.
#[derive(Debug)]
struct Change {
    addr: Addr,
    /// Flags of one that connected; `None` for one that left.
    added: Option<u8>,
}

/// Peer exchange of one title.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    /// By link: there are dozens, and they are looked through at every turn.
    neighbours: Vec<Neighbour>,
    log: VecDeque<Change>,
    /// Number of the first change in the log.
    first: u64,
}

impl Exchange {
    /// Connected peers.
    pub(super) fn len(&self) -> usize {
        self.neighbours.len()
    }
    /// A link is up.
    pub(super) fn up(
        &mut self,
        now: Instant,
        link: LinkId,
        listen: Option<SocketAddr>,
        (seed, exchange): (bool, bool),
    ) {
        let flags = if seed { SEED } else { 0 } | if link.is_dialed() { REACHABLE } else { 0 };
        let next = now + EXCHANGE_GATHER;
        let listen: Option<Addr> = listen.map(Addr::from);
        match self.find(link) {
            // Told twice, it is the same neighbour with news about itself: its minute goes on.
            Ok(index) => {
                let Some(known) = self.neighbours.get_mut(index) else { return };
                (known.flags, known.exchange) = (flags, exchange);
                let old = core::mem::replace(&mut known.listen, listen.clone());
                if old == listen {
                    return;
                }
            }
            Err(index) => {
                if self.neighbours.len() == self.neighbours.capacity() {
                    self.neighbours.reserve_exact(4 + self.neighbours.len() / 8);
                }
                let listen = listen.clone();
                let new =
                    Neighbour { link, listen, flags, exchange, cursor: UNTOLD, next, heard: None };
                self.neighbours.insert(index, new);
            }
        }
        if let Some(addr) = listen {
            self.record(now, Change { addr, added: Some(flags) });
        }
    }
    /// A link is gone.
    pub(super) fn down(&mut self, now: Instant, link: LinkId) {
        let Ok(index) = self.find(link) else { return };
        if let Some(addr) = self.neighbours.remove(index).listen {
            self.record(now, Change { addr, added: None });
        }
    }
    /// When somebody has to be told something.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let end = self.end();
        let waiting = self.neighbours.iter().filter(|neighbour| neighbour.lags(end));
        waiting.map(|neighbour| neighbour.next).min()
    }
    /// Messages that are due.
    pub(super) fn due(
        &mut self,
        now: Instant,
        config: &DiscoverConfig,
        rng: &mut Rng,
    ) -> Vec<(LinkId, PexMessage)> {
        let end = self.end();
        let ready: Vec<LinkId> = self
            .neighbours
            .iter()
            .filter(|neighbour| neighbour.next <= now && neighbour.lags(end))
            .map(|neighbour| neighbour.link)
            .collect();
        let mut messages = Vec::new();
        for link in ready {
            let Some(neighbour) = self.find(link).ok().and_then(|at| self.neighbours.get(at))
            else {
                continue;
            };
            let (message, cursor) = match neighbour.cursor {
                UNTOLD => (self.sample(neighbour, config.exchange_max, rng), end),
                cursor => self.changes(neighbour, cursor, config.exchange_max),
            };
            let Some(neighbour) = self.get_mut(link) else { continue };
            neighbour.cursor = cursor;
            if !message.added.is_empty() || !message.dropped.is_empty() {
                neighbour.next = now + config.exchange_interval;
                messages.push((link, message));
            }
        }
        messages
    }
    /// A neighbour's message: the peers in it that are worth a dial. Nothing when it comes too soon after the last one.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        link: LinkId,
        message: &PexMessage,
        config: &DiscoverConfig,
    ) -> Vec<SocketAddr> {
        let Some(neighbour) = self.get_mut(link) else { return Vec::new() };
        // Half the interval: clocks and buffers of others are not ours.
        if neighbour.heard.is_some_and(|heard| now.since(heard) < config.exchange_interval / 2) {
            return Vec::new();
        }
        neighbour.heard = Some(now);
        let local = neighbour.listen.as_ref().is_some_and(|listen| is_loopback(&listen.get()));
        let added = message.added.iter().take(config.exchange_max).map(|peer| peer.addr);
        added.filter(|addr| !is_silly(addr) && (local || !is_loopback(addr))).collect()
    }

    /// The place of a neighbour in the list. O(log neighbours).
    fn find(&self, link: LinkId) -> Result<usize, usize> {
        self.neighbours.binary_search_by_key(&link, |neighbour| neighbour.link)
    }
    fn get_mut(&mut self, link: LinkId) -> Option<&mut Neighbour> {
        let index = self.find(link).ok()?;
        self.neighbours.get_mut(index)
    }
    fn end(&self) -> u64 {
        self.first + self.log.len() as u64
    }
    fn record(&mut self, now: Instant, change: Change) {
        let end = self.end();
        for neighbour in &mut self.neighbours {
            // Who was told everything hears of this after a moment, together with what follows.
            if neighbour.cursor == UNTOLD || neighbour.cursor == end {
                neighbour.next = neighbour.next.max(now + EXCHANGE_GATHER);
            }
        }
        self.log.push_back(change);
        if self.log.len() > EXCHANGE_LOG_MAX {
            self.log.pop_front();
            self.first += 1;
        }
    }
    /// Some of all others, for a first message.
    fn sample(&self, to: &Neighbour, max: usize, rng: &mut Rng) -> PexMessage {
        let mut added: Vec<PexPeer> = self
            .neighbours
            .iter()
            .filter_map(|n| Some(PexPeer { addr: n.listen.as_ref()?.get(), flags: n.flags }))
            .filter(|peer| worth_telling(to, peer))
            .collect();
        rng.shuffle(&mut added);
        added.truncate(max);
        PexMessage { added, dropped: Vec::new() }
    }
    /// Changes from `cursor` on, as many as fit, and the cursor behind them.
    fn changes(&self, to: &Neighbour, cursor: u64, max: usize) -> (PexMessage, u64) {
        let mut message = PexMessage::default();
        let skip = cursor.saturating_sub(self.first);
        let mut cursor = cursor.max(self.first);
        for change in self.log.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if message.added.len() >= max || message.dropped.len() >= max {
                break;
            }
            cursor += 1;
            let addr = change.addr.get();
            match change.added {
                Some(flags) => {
                    let peer = PexPeer { addr, flags };
                    message.dropped.retain(|dropped| *dropped != addr);
                    message.added.retain(|added| added.addr != addr);
                    if worth_telling(to, &peer) {
                        message.added.push(peer);
                    }
                }
                None => {
                    let before = message.added.len();
                    message.added.retain(|added| added.addr != addr);
                    // One that came and went between two messages is not worth a word.
                    if message.added.len() == before && !is_at(to, addr) {
                        message.dropped.push(addr);
                    }
                }
            }
        }
        (message, cursor)
    }
}

/// Whether a neighbour can be dialed at `addr`.
fn is_at(to: &Neighbour, addr: SocketAddr) -> bool {
    to.listen.as_ref().is_some_and(|listen| listen.get() == addr)
}

/// Not itself, and not one seed to another.
fn worth_telling(to: &Neighbour, peer: &PexPeer) -> bool {
    !is_at(to, peer.addr) && (to.flags & peer.flags & SEED) == 0
}

#[cfg(test)]
mod tests {
    use super::Exchange;
    use crate::config::DiscoverConfig;
    use crate::link::LinkId;
    use crate::rng::{Rng, Seed};
    use crate::time::Instant;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::net::SocketAddr;
    use shoal_wire::peer::{PexMessage, PexPeer};

    fn addr(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, host], 6881))
    }
    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    struct Desk(Exchange, DiscoverConfig, Rng);

    impl Desk {
        fn new() -> Self {
            Self(Exchange::default(), DiscoverConfig::default(), Rng::new(Seed::from_u64(1)))
        }
        fn up(&mut self, now: u64, link: u32) {
            self.0.up(at(now), LinkId(link), Some(addr(link as u8)), (false, true));
        }
        /// Who is told what, by the last number of the address.
        fn due(&mut self, now: u64) -> Vec<(u32, Vec<u8>, Vec<u8>)> {
            let last = |addr: &SocketAddr| addr.to_string().as_bytes()[7] - b'0';
            use alloc::string::ToString;
            let mut out: Vec<_> = self
                .0
                .due(at(now), &self.1, &mut self.2)
                .into_iter()
                .map(|(link, m)| {
                    let mut added: Vec<u8> = m.added.iter().map(|p| last(&p.addr)).collect();
                    added.sort_unstable();
                    (link.0, added, m.dropped.iter().map(last).collect())
                })
                .collect();
            out.sort();
            out
        }
    }

    #[test]
    fn neighbours_are_told_of_each_other_soon_and_of_changes_after_a_minute() {
        let mut desk = Desk::new();
        desk.up(0, 1);
        assert_eq!(desk.due(1000), [], "nobody to tell of");
        assert_eq!(desk.0.deadline(), None);
        desk.up(5000, 2);
        desk.up(5500, 3);
        assert_eq!(desk.due(6000), [(1, vec![2, 3], vec![])]);
        assert_eq!(desk.due(6500), [(2, vec![1, 3], vec![]), (3, vec![1, 2], vec![])]);
        desk.up(7000, 4);
        desk.0.down(at(8000), LinkId(3));
        desk.up(8500, 5);
        desk.0.down(at(9000), LinkId(5));
        assert_eq!(desk.due(10_000), [(4, vec![1, 2], vec![])]);
        assert_eq!(desk.0.deadline(), Some(at(66_000)));
        assert_eq!(desk.due(66_500), [(1, vec![4], vec![3]), (2, vec![4], vec![3])]);
        assert_eq!(desk.0.deadline(), None);
    }

    #[test]
    fn foreign_messages_are_limited_in_number_and_size_and_silly_addresses_dropped() {
        let mut desk = Desk::new();
        desk.up(0, 1);
        let mut addrs = vec!["127.0.0.1:5".parse().expect("an address"), addr(9)];
        addrs[1].set_port(0);
        addrs.extend((0..100).map(addr));
        let added = addrs.into_iter().map(|addr| PexPeer { addr, flags: 0 }).collect();
        let message = PexMessage { added, dropped: vec![] };
        assert_eq!(desk.0.accept(at(0), LinkId(1), &message, &desk.1).len(), 48);
        assert_eq!(desk.0.accept(at(10_000), LinkId(1), &message, &desk.1).len(), 0);
        assert_eq!(desk.0.accept(at(50_000), LinkId(1), &message, &desk.1).len(), 48);
        assert_eq!(desk.0.accept(at(0), LinkId(7), &message, &desk.1).len(), 0);
    }

    #[test]
    fn a_burst_of_changes_is_told_in_bounded_messages_and_a_bounded_log() {
        let mut desk = Desk::new();
        desk.up(0, 1);
        desk.due(1000);
        for link in 0..2000u32 {
            let host = SocketAddr::from(([10, 1, (link >> 8) as u8, link as u8], 1));
            desk.0.up(at(2000), LinkId(link + 10), Some(host), (false, false));
        }
        let messages = desk.0.due(at(3000), &desk.1, &mut desk.2);
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].1.added.len(), 50);
        assert!(desk.0.log.len() <= super::EXCHANGE_LOG_MAX);
    }
}
