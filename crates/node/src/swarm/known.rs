//! Addresses that may be dialed: where they came from, how they did, when to try again.

use alloc::collections::{BTreeMap, BTreeSet};
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use crate::time::Instant;
use crate::turn::Found;

/// First pause after a failed dial or a lost link; doubles with each failure in a row.
const RETRY_FIRST: Duration = Duration::from_secs(5);
/// An address is forgotten after this many failures in a row, unless the user named it.
const FAILURES_MAX: u8 = 6;
/// A peer that has nothing for us (both seeds, a duplicate) is not tried again for this long.
const NOT_NEEDED: Duration = Duration::from_secs(600);

#[derive(Clone, Copy, Debug)]
struct Entry {
    source: Found,
    failures: u8,
    /// When it may be dialed; `None` while it is connected or being dialed.
    ready: Option<Instant>,
}

/// How a link to an address ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// It could not be opened, or ended before its handshakes.
    Failed,
    /// It worked and was lost.
    Lost,
    /// It is of no use for now.
    NotNeeded,
    /// It must never be dialed again: ourselves, or a liar.
    Never,
}

/// Addresses of one title.
#[derive(Debug, Default)]
pub(crate) struct Known {
    entries: BTreeMap<SocketAddr, Entry>,
    /// Those that may be dialed: when, how good the source, address.
    queue: BTreeSet<(Instant, Found, SocketAddr)>,
    banned: BTreeSet<SocketAddr>,
    banned_hosts: BTreeSet<IpAddr>,
}

/// Bans kept per title; beyond it the lowest address makes room.
const BANNED_MAX: usize = 1000;

impl Known {
    /// Adds addresses; silly, banned and known ones are dropped, and so is everything above `limit`.
    pub(crate) fn add(&mut self, now: Instant, source: Found, peers: &[SocketAddr], limit: usize) {
        for &addr in peers {
            if !is_dialable(addr) || self.is_banned(addr) {
                continue;
            }
            if let Some(entry) = self.entries.get_mut(&addr) {
                // The user insists, or the network says that it is back.
                if source == Found::User && entry.ready.is_some_and(|ready| ready > now) {
                    self.queue.remove(&(entry.ready.unwrap_or(now), entry.source, addr));
                    *entry = Entry { source, failures: 0, ready: Some(now) };
                    self.queue.insert((now, source, addr));
                }
                continue;
            }
            if self.entries.len() >= limit && source != Found::User {
                return;
            }
            self.entries.insert(addr, Entry { source, failures: 0, ready: Some(now) });
            self.queue.insert((now, source, addr));
        }
    }
    /// Takes the next address to dial.
    pub(crate) fn take(&mut self, now: Instant) -> Option<SocketAddr> {
        let &(ready, source, addr) = self.queue.first()?;
        if ready > now {
            return None;
        }
        self.queue.remove(&(ready, source, addr));
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.ready = None;
        }
        Some(addr)
    }
    /// When `take` has something.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|entry| entry.0)
    }
    /// A link to a peer that listens at `addr` is up, whoever opened it (`dialed`: we): it need not be dialed. What a remote
    /// says of itself is kept only below `limit`, and one address for a public host: it can name as many as it likes.
    pub(crate) fn connected(&mut self, addr: SocketAddr, dialed: bool, limit: usize) {
        if !dialed && !self.entries.contains_key(&addr) {
            let ports = SocketAddr::new(addr.ip(), 0)..=SocketAddr::new(addr.ip(), u16::MAX);
            let has_another = is_public(addr.ip()) && self.entries.range(ports).next().is_some();
            if has_another || self.entries.len() >= limit {
                return;
            }
        }
        let entry = self.entries.entry(addr).or_insert(Entry {
            source: Found::Exchange,
            failures: 0,
            ready: None,
        });
        if let Some(ready) = entry.ready.take() {
            self.queue.remove(&(ready, entry.source, addr));
        }
        entry.failures = 0;
    }
    /// A link to `addr` ended.
    pub(crate) fn ended(&mut self, now: Instant, addr: SocketAddr, ending: Ending) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if let Some(ready) = entry.ready.take() {
            self.queue.remove(&(ready, entry.source, addr));
        }
        let pause = match ending {
            Ending::Never => {
                self.entries.remove(&addr);
                self.shut_out(addr);
                return;
            }
            Ending::NotNeeded => NOT_NEEDED,
            Ending::Lost => RETRY_FIRST,
            Ending::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                if entry.failures > FAILURES_MAX && entry.source != Found::User {
                    self.entries.remove(&addr);
                    return;
                }
                RETRY_FIRST * (1 << entry.failures.saturating_sub(1).min(6))
            }
        };
        entry.ready = Some(now + pause);
        self.queue.insert((now + pause, entry.source, addr));
    }
    /// The network changed: everything may be tried at once.
    pub(crate) fn retry_all(&mut self, now: Instant) {
        self.queue.clear();
        for (&addr, entry) in &mut self.entries {
            if entry.ready.is_some() {
                entry.failures = 0;
                entry.ready = Some(now);
                self.queue.insert((now, entry.source, addr));
            }
        }
    }
    /// Shuts an address out; a public host altogether, one on a shared or local address only by its port.
    pub(crate) fn ban(&mut self, now: Instant, addr: SocketAddr) {
        self.ended(now, addr, Ending::Never);
        self.shut_out(addr);
        if is_public(addr.ip()) {
            if self.banned_hosts.len() >= BANNED_MAX {
                self.banned_hosts.pop_first();
            }
            self.banned_hosts.insert(addr.ip());
        }
    }
    fn shut_out(&mut self, addr: SocketAddr) {
        if self.banned.len() >= BANNED_MAX {
            self.banned.pop_first();
        }
        self.banned.insert(addr);
    }
    /// Whether a peer there was shut out.
    pub(crate) fn is_banned(&self, addr: SocketAddr) -> bool {
        self.banned.contains(&addr) || self.banned_hosts.contains(&addr.ip())
    }
    /// Known addresses that are not connected.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.len()
    }
}

fn is_dialable(addr: SocketAddr) -> bool {
    addr.port() != 0 && !addr.ip().is_unspecified() && !addr.ip().is_multicast()
}

/// Whether an address belongs to one host of the wide internet, so that a limit or a ban by host is fair.
pub(crate) fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(ip.is_loopback() || ip.is_private() || ip.is_link_local()),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => is_public(IpAddr::V4(ip)),
            None => !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn the_users_peers_are_dialed_first_and_each_only_once() {
        let mut known = Known::default();
        let now = Instant::from_millis(5);
        known.add(now, Found::Exchange, &[addr(1), addr(2), addr(0)], 10);
        known.add(now, Found::User, &[addr(3)], 10);
        assert_eq!(known.take(now), Some(addr(3)));
        assert!(known.take(now).is_some() && known.take(now).is_some());
        assert_eq!(known.take(now), None);
    }

    #[test]
    fn failures_back_off_and_end_in_oblivion() {
        let mut known = Known::default();
        let mut now = Instant::from_millis(0);
        known.add(now, Found::Tracker, &[addr(1)], 10);
        let mut dials = 0;
        while let Some(at) = known.next() {
            now = at;
            assert_eq!(known.take(now), Some(addr(1)));
            known.ended(now, addr(1), Ending::Failed);
            dials += 1;
        }
        assert_eq!(dials, 7);
        assert!(now.as_millis() > 100_000);
    }

    #[test]
    fn a_banned_address_is_never_taken_again() {
        let mut known = Known::default();
        let now = Instant::from_millis(0);
        known.add(now, Found::User, &[addr(1)], 10);
        known.ban(now, addr(1));
        known.add(now, Found::User, &[addr(1)], 10);
        assert_eq!(known.take(now), None);
        assert!(!known.is_banned(addr(2)));
    }
}
