//! One round with one tracker: an announce under each name of a title, over HTTP or UDP, until answered or given up.
//!
//! A hybrid title is announced under both info-hashes at once and the answers are merged. Over UDP (BEP 15) a round
//! resolves the host, gets a connection id unless one is still valid (60 s), and repeats what is not answered after
//! `udp_timeout`, doubling, `udp_tries` times in all; then it goes on to the host's next address.
//!
//! A tracker knows a peer by the address that an announce came from, so who listens on both families announces itself over
//! both (BEP 7): a round that was answered is followed by an *aside*, the same announce over the other family. Whatever comes
//! of an aside changes nothing about when and whom to ask next; it adds peers.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use shoal_wire::Hash20;
use shoal_wire::tracker::http::{self, HttpAnswer, Retry};
use shoal_wire::tracker::{Announce, AnnounceAnswer, UdpTracker};

use super::Task;
use crate::config::limits::{TRACKER_ADDRS_MAX, URL_DATA_MAX};
use crate::io::{Effect, Family, Job, Outcome, Packet};
use crate::link::TitleId;
use crate::time::{Instant, earlier};
use crate::turn::{Owner, Turn};

/// Life of a connection id (BEP 15).
const CONNECTION_LIFE: Duration = Duration::from_secs(60);

/// How a tracker is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// By a URL.
    Http(String),
    /// By datagrams.
    Udp {
        /// Name or literal address.
        host: String,
        /// Port.
        port: u16,
        /// Path and query.
        url_data: String,
    },
}

impl Target {
    /// Reads a tracker's URL; `None` when it is of a kind that we do not speak.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") {
            return Some(Self::Http(url.to_string()));
        }
        if !scheme.eq_ignore_ascii_case("udp") {
            return None;
        }
        let path = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, url_data) = rest.split_at_checked(path)?;
        let url_data = url_data.split('#').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 80),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() || port == 0 {
            return None;
        }
        let url_data = if url_data.len() <= URL_DATA_MAX { url_data } else { "" };
        Some(Self::Udp { host: host.to_string(), port, url_data: url_data.to_string() })
    }
}

/// What is known of a UDP tracker between rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Contact {
    /// Its addresses, the one that works first.
    pub(super) addrs: Vec<SocketAddr>,
    /// A connection id and when it ends.
    pub(super) connection: Option<(u64, Instant)>,
}

/// A datagram that waits for its answer.
#[derive(Debug)]
struct Exchange {
    transaction: u32,
    remote: SocketAddr,
    /// Which of the hashes is announced; `None` for the connect.
    hash: Option<usize>,
    tries: u32,
    due: Instant,
}

/// What a round is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The title is announced to a tracker of this tier.
    Tier(usize),
    /// A viewer is recorded in virtual time slots; `asks` for who is in its own.
    Slots { asks: bool },
    /// What was told is over.
    Farewell,
}

/// One round.
#[derive(Debug)]
pub(super) struct Round {
    /// Names the round in tasks.
    pub(super) id: u32,
    pub(super) title: TitleId,
    pub(super) purpose: Purpose,
    /// Only over this family: an aside.
    pub(super) only: Option<Family>,
    /// The family over which it was answered.
    came: Option<Family>,
    target: Target,
    /// What is announced, its hash replaced by each of `hashes`.
    pub(super) announce: Announce,
    hashes: Vec<Hash20>,
    pub(super) contact: Contact,
    exchanges: Vec<Exchange>,
    /// Jobs under way.
    jobs: usize,
    /// Answers received, merged.
    pub(super) answer: Option<AnnounceAnswer>,
    /// Why an answer is missing.
    pub(super) trouble: String,
    /// What the tracker said about asking again.
    pub(super) retry: Option<Retry>,
    /// When it ends at the latest.
    pub(super) give_up: Option<Instant>,
}

impl Round {
    pub(super) fn new(
        id: u32,
        (title, purpose): (TitleId, Purpose),
        target: Target,
        announce: Announce,
        hashes: Vec<Hash20>,
        contact: Contact,
    ) -> Self {
        Self {
            id,
            title,
            purpose,
            only: None,
            came: None,
            target,
            announce,
            hashes,
            contact,
            exchanges: Vec::new(),
            jobs: 0,
            answer: None,
            trouble: String::new(),
            retry: None,
            give_up: None,
        }
    }
    /// Sends what begins the round.
    pub(super) fn start(&mut self, turn: &mut Turn<'_>) {
        match &self.target {
            Target::Http(url) => {
                for &info_hash in &self.hashes {
                    let announce = Announce { info_hash, ..self.announce };
                    let url = http::announce_url(url, &announce);
                    turn.submit(
                        Owner::Discover(Task::Announce(self.id)),
                        Job::Fetch { url, family: self.only },
                    );
                    self.jobs += 1;
                }
            }
            Target::Udp { host, port, .. } => {
                if self.contact.addrs.is_empty() {
                    let job = Job::Resolve { host: host.clone(), port: *port };
                    turn.submit(Owner::Discover(Task::Announce(self.id)), job);
                    self.jobs += 1;
                } else {
                    self.call(turn);
                }
            }
        }
    }
    /// The same announce over the other family, where the tracker may have an address of it.
    pub(super) fn aside(&self, id: u32) -> Option<Self> {
        let family = self.came?.other();
        let mut addrs = self.contact.addrs.clone();
        addrs.retain(|addr| Family::of(addr.ip()) == family);
        let may_have = match &self.target {
            Target::Http(url) => !is_literal(url),
            Target::Udp { .. } => !addrs.is_empty(),
        };
        if self.only.is_some() || !may_have {
            return None;
        }
        let place = (self.title, self.purpose);
        let contact = Contact { addrs, connection: None };
        let (target, hashes) = (self.target.clone(), self.hashes.clone());
        let mut aside = Self::new(id, place, target, self.announce, hashes, contact);
        (aside.only, aside.give_up) = (Some(family), self.give_up);
        Some(aside)
    }
    /// Nothing is under way any more.
    pub(super) fn is_over(&self) -> bool {
        self.jobs == 0 && self.exchanges.is_empty()
    }
    /// When `on_wake` is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        earlier(self.give_up, self.exchanges.iter().map(|exchange| exchange.due).min())
    }
    /// A job of the round is done.
    pub(super) fn on_done(&mut self, turn: &mut Turn<'_>, outcome: Outcome) {
        self.jobs = self.jobs.saturating_sub(1);
        match outcome {
            Outcome::Resolved(mut addrs) => {
                addrs.retain(|addr| !super::address::is_silly(addr));
                keep_some(&mut addrs);
                self.contact = Contact { addrs, connection: None };
                self.call(turn);
            }
            Outcome::Fetched { status, body, family } => match http::decode_announce(&body) {
                Ok(HttpAnswer::Success(answer)) if (200..300).contains(&status) => {
                    self.came = Some(family);
                    self.merge(answer);
                }
                Ok(HttpAnswer::Failure { reason, retry }) => {
                    self.trouble = reason;
                    self.retry = retry;
                }
                Ok(HttpAnswer::Success(_)) => {
                    self.trouble = alloc::format!("it answered with HTTP status {status}");
                }
                Err(_) if !(200..300).contains(&status) => {
                    self.trouble = alloc::format!("it answered with HTTP status {status}");
                }
                Err(error) => self.trouble = error.to_string(),
            },
            Outcome::Failed(failure) => self.trouble = failure.message,
            _ => {}
        }
    }
    /// A datagram. Whether it was for this round.
    pub(super) fn on_packet(
        &mut self,
        turn: &mut Turn<'_>,
        remote: SocketAddr,
        packet: &UdpTracker,
    ) -> bool {
        let transaction = match packet {
            UdpTracker::Connected { transaction, .. }
            | UdpTracker::Announced { transaction, .. }
            | UdpTracker::Error { transaction, .. } => *transaction,
            _ => return false,
        };
        let Some(found) = self
            .exchanges
            .iter()
            .position(|exchange| exchange.transaction == transaction && exchange.remote == remote)
        else {
            return false;
        };
        match (packet, self.exchanges[found].hash) {
            (UdpTracker::Connected { connection, .. }, None) => {
                self.exchanges.remove(found);
                self.contact.connection = Some((*connection, turn.now + CONNECTION_LIFE));
                self.call(turn);
            }
            (UdpTracker::Announced { answer, .. }, Some(_)) => {
                self.exchanges.remove(found);
                self.came = Some(Family::of(remote.ip()));
                self.merge(answer.clone());
            }
            (UdpTracker::Error { message, .. }, _) => {
                self.exchanges.remove(found);
                self.trouble.clone_from(message);
                // It may have forgotten the connection id: the next round gets a new one.
                self.contact.connection = None;
            }
            // An answer of another kind: not what was asked, so it is as if it had not come.
            _ => return false,
        }
        true
    }
    /// Time passed: repeats what was not answered, or goes on to the next address.
    pub(super) fn on_wake(&mut self, turn: &mut Turn<'_>) {
        if self.give_up.is_some_and(|end| end <= turn.now) {
            self.exchanges.clear();
            self.jobs = 0;
            return;
        }
        let late = |exchange: &Exchange| exchange.due <= turn.now;
        if self
            .exchanges
            .iter()
            .any(|exchange| late(exchange) && exchange.tries >= turn.config.discover.udp_tries)
        {
            self.exchanges.clear();
            self.trouble = String::from("it does not answer");
            self.contact.connection = None;
            self.contact.addrs.remove(0);
            if !self.contact.addrs.is_empty() && self.answer.is_none() {
                self.call(turn);
            }
            return;
        }
        let mut exchanges = core::mem::take(&mut self.exchanges);
        for exchange in &mut exchanges {
            if exchange.due <= turn.now {
                self.send(turn, exchange);
            }
        }
        self.exchanges = exchanges;
    }

    /// Sends the announces, or what must come before them.
    fn call(&mut self, turn: &mut Turn<'_>) {
        let Some(&remote) = self.contact.addrs.first() else {
            self.trouble = String::from("its name has no address");
            return;
        };
        let valid = self.contact.connection.is_some_and(|(_, end)| end > turn.now);
        let hashes = if valid { self.hashes.len() } else { 0 };
        let parts = if valid { (0..hashes).map(Some).collect() } else { alloc::vec![None] };
        for hash in parts {
            let transaction = turn.rng.next_u32();
            let mut exchange = Exchange { transaction, remote, hash, tries: 0, due: turn.now };
            self.send(turn, &mut exchange);
            self.exchanges.push(exchange);
        }
    }
    fn send(&self, turn: &mut Turn<'_>, exchange: &mut Exchange) {
        let transaction = exchange.transaction;
        let packet = match (exchange.hash, &self.target) {
            (Some(hash), Target::Udp { url_data, .. }) => UdpTracker::Announce {
                connection: self.contact.connection.map_or(0, |(connection, _)| connection),
                transaction,
                announce: Announce {
                    info_hash: self.hashes.get(hash).copied().unwrap_or_default(),
                    ..self.announce
                },
                url_data: url_data.clone(),
            },
            _ => UdpTracker::Connect { transaction },
        };
        exchange.due = turn.now + turn.config.discover.udp_timeout * (1 << exchange.tries.min(8));
        exchange.tries += 1;
        let packet = Packet::Tracker(alloc::boxed::Box::new(packet));
        turn.effects.push(Effect::Packet { remote: exchange.remote, packet });
    }
    fn merge(&mut self, answer: AnnounceAnswer) {
        match &mut self.answer {
            None => self.answer = Some(answer),
            Some(merged) => {
                for peer in answer.peers {
                    if !merged.peers.contains(&peer) {
                        merged.peers.push(peer);
                    }
                }
                merged.interval_s = merged.interval_s.max(answer.interval_s);
                merged.min_interval_s = merged.min_interval_s.max(answer.min_interval_s);
                merged.complete = merged.complete.max(answer.complete);
                merged.incomplete = merged.incomplete.max(answer.incomplete);
            }
        }
    }
}

/// Keeps the first few addresses of a host, and one of the other family among them where there is one.
fn keep_some(addrs: &mut Vec<SocketAddr>) {
    let Some(first) = addrs.first().map(|addr| Family::of(addr.ip())) else { return };
    let other = addrs.iter().position(|addr| Family::of(addr.ip()) != first);
    if let Some(other) = other.filter(|&other| other >= TRACKER_ADDRS_MAX) {
        addrs.swap(other, TRACKER_ADDRS_MAX - 1);
    }
    addrs.truncate(TRACKER_ADDRS_MAX);
}

/// Whether the host of a URL is an address and no name: then it has one family.
fn is_literal(url: &str) -> bool {
    let authority = url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
    let host = authority.unwrap_or_default().rsplit('@').next().unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    host.starts_with('[') || name.parse::<core::net::Ipv4Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::Target;
    use alloc::string::String;

    #[test]
    fn tracker_urls_of_all_kinds_are_understood() {
        let udp = |host: &str, port, data: &str| {
            Some(Target::Udp { host: String::from(host), port, url_data: String::from(data) })
        };
        let cases = [
            ("http://t.example/announce", Some(Target::Http("http://t.example/announce".into()))),
            ("udp://t.example:6969", udp("t.example", 6969, "")),
            ("UDP://t.example:6969/announce?key=5#x", udp("t.example", 6969, "/announce?key=5")),
            ("udp://[2001:db8::1]:80/a", udp("2001:db8::1", 80, "/a")),
            ("udp://[2001:db8::1]/a", udp("2001:db8::1", 80, "/a")),
            ("udp://t.example/", udp("t.example", 80, "/")),
            ("udp://:80/", None),
            ("udp://t.example:0/", None),
            ("udp://t.example:99999/", None),
            ("wss://t.example/", None),
            ("nonsense", None),
        ];
        for (url, expect) in cases {
            assert_eq!(Target::parse(url), expect, "{url}");
        }
    }
}
