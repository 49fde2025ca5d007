//! Addresses that may be dialed: where they came from, how they did, when to try again.

use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};

use shoal_wire::PeerId;

use super::bans::Bans;
use crate::config::SwarmConfig;
use crate::time::Instant;
use crate::turn::Found;

/// What is known of an address. There are hundreds of them for each title of each node.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// When it may be dialed, in steps of [`STEP_MS`] and never late; [`TAKEN`] while it is connected or being dialed.
    ready: u32,
    /// Its place among those that were heard of: who names peers names the best first.
    heard: u32,
    source: Found,
    /// The user or a tracker named it: the only ones that may for a private title (BEP 27).
    vouched: bool,
    failures: u8,
}

/// Steps that make 32 bits last for thirteen years, milliseconds.
const STEP_MS: u64 = 100;
const TAKEN: u32 = u32::MAX;
/// Who could not be reached so often in a row makes place for somebody new.
const FAILING: u8 = 2;

/// The step that ends last before `at`, or with it.
fn step_of(at: Instant) -> u32 {
    u32::try_from(at.as_millis() / STEP_MS).map_or(TAKEN - 1, |step| step.min(TAKEN - 1))
}

/// Who is dialed first: when, how good the source, its place among those heard of.
type Place = (u32, Found, u32);

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
    v4: Family<SocketAddrV4>,
    v6: Family<SocketAddrV6>,
    /// The first of those that may be dialed.
    first: Option<Place>,
    /// Addresses heard of so far.
    heard: u32,
    bans: Bans,
}

impl Entry {
    fn new(source: Found, ready: Option<Instant>) -> Self {
        let vouched = matches!(source, Found::User | Found::Tracker);
        Self { source, vouched, failures: 0, ready: ready.map_or(TAKEN, step_of), heard: 0 }
    }
    /// Whether it waits to be dialed.
    fn waits(&self) -> bool {
        self.ready != TAKEN
    }
    fn place(&self) -> Option<Place> {
        self.waits().then_some((self.ready, self.source, self.heard))
    }
}

/// Addresses of one kind, ascending: a change costs O(addresses) of moving, and little of that.
#[derive(Debug)]
struct Family<A>(Vec<(A, Entry)>);

impl<A> Default for Family<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Ord + Copy> Family<A> {
    fn find(&self, addr: A) -> Result<usize, usize> {
        self.0.binary_search_by_key(&addr, |entry| entry.0)
    }
    fn get_mut(&mut self, addr: A) -> Option<&mut Entry> {
        let index = self.find(addr).ok()?;
        self.0.get_mut(index).map(|entry| &mut entry.1)
    }
    fn insert(&mut self, addr: A, entry: Entry) {
        let Err(index) = self.find(addr) else { return };
        if self.0.len() == self.0.capacity() {
            // A quarter of what is there at a time: there are such lists for each title of each node.
            self.0.reserve_exact(4 + self.0.len() / 4);
        }
        self.0.insert(index, (addr, entry));
    }
    fn remove(&mut self, addr: A) -> Option<Entry> {
        let index = self.find(addr).ok()?;
        Some(self.0.remove(index).1)
    }
    /// Whether an address that is the same by `host` stands beside the place of `addr`: ports of one host lie together.
    fn has_beside(&self, addr: A, is_host: impl Fn(A) -> bool) -> bool {
        let Err(index) = self.find(addr) else { return true };
        let beside = [index.checked_sub(1), Some(index)].into_iter().flatten();
        beside.filter_map(|index| self.0.get(index)).any(|entry| is_host(entry.0))
    }
}

/// There are at most `known_peers_max` addresses.
impl Known {
    fn len(&self) -> usize {
        self.v4.0.len() + self.v6.0.len()
    }
    fn get_mut(&mut self, addr: SocketAddr) -> Option<&mut Entry> {
        match addr {
            SocketAddr::V4(addr) => self.v4.get_mut(addr),
            SocketAddr::V6(addr) => self.v6.get_mut(addr),
        }
    }
    fn has(&self, addr: SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => self.v4.find(addr).is_ok(),
            SocketAddr::V6(addr) => self.v6.find(addr).is_ok(),
        }
    }
    /// Whether another port of the host of `addr` is known.
    fn has_host(&self, addr: SocketAddr) -> bool {
        match addr {
            SocketAddr::V4(addr) => self.v4.has_beside(addr, |other| other.ip() == addr.ip()),
            SocketAddr::V6(addr) => self.v6.has_beside(addr, |other| other.ip() == addr.ip()),
        }
    }
    /// All addresses, ascending.
    fn iter(&self) -> impl Iterator<Item = (SocketAddr, &Entry)> + '_ {
        let v4 = self.v4.0.iter().map(|(addr, entry)| (SocketAddr::V4(*addr), entry));
        v4.chain(self.v6.0.iter().map(|(addr, entry)| (SocketAddr::V6(*addr), entry)))
    }
    fn iter_mut(&mut self) -> impl Iterator<Item = (SocketAddr, &mut Entry)> + '_ {
        let v4 = self.v4.0.iter_mut().map(|(addr, entry)| (SocketAddr::V4(*addr), entry));
        v4.chain(self.v6.0.iter_mut().map(|(addr, entry)| (SocketAddr::V6(*addr), entry)))
    }
    /// Notes an address that is not there, as the last that was heard of.
    fn insert(&mut self, addr: SocketAddr, entry: Entry) {
        self.heard = self.heard.wrapping_add(1);
        let entry = Entry { heard: self.heard, ..entry };
        match addr {
            SocketAddr::V4(addr) => self.v4.insert(addr, entry),
            SocketAddr::V6(addr) => self.v6.insert(addr, entry),
        }
        self.wait(entry.place());
    }
    fn remove(&mut self, addr: SocketAddr) {
        let gone = match addr {
            SocketAddr::V4(addr) => self.v4.remove(addr),
            SocketAddr::V6(addr) => self.v6.remove(addr),
        };
        self.leave(gone.and_then(|entry| entry.place()));
    }
    fn wait(&mut self, place: Option<Place>) {
        self.first = [self.first, place].into_iter().flatten().min();
    }
    /// A place is empty now. O(addresses) when it was the first.
    fn leave(&mut self, place: Option<Place>) {
        if place.is_some() && place == self.first {
            self.first = self.iter().filter_map(|(_, entry)| entry.place()).min();
        }
    }
    /// Lets an address be dialed from `ready` on; with `None` not until something else lets it.
    fn put_off(&mut self, addr: SocketAddr, ready: Option<Instant>) {
        let Some(entry) = self.get_mut(addr) else { return };
        let old = entry.place();
        entry.ready = ready.map_or(TAKEN, step_of);
        let new = entry.place();
        self.leave(old);
        self.wait(new);
    }
    /// Makes room for a new address in the place of one that could not be reached twice in a row. False when there is none. O(addresses).
    fn replace_failing(&mut self) -> bool {
        let fails = |(_, entry): &(SocketAddr, &Entry)| {
            entry.waits() && entry.failures >= FAILING && entry.source != Found::User
        };
        let worst = self.iter().filter(fails).max_by_key(|(_, entry)| entry.failures);
        let Some((addr, _)) = worst else { return false };
        self.remove(addr);
        true
    }
    /// Adds addresses; silly, banned and known ones are dropped. Above the limit a new one takes the place of one that fails.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        source: Found,
        peers: &[SocketAddr],
        config: &SwarmConfig,
    ) {
        for &addr in peers {
            if !is_dialable(addr) || self.bans.has_addr(addr, config) {
                continue;
            }
            // Who has what our viewer needs next goes before all who wait.
            let ready = if source == Found::Slot { Instant::ZERO } else { now };
            let new = Entry::new(source, Some(ready));
            if let Some(entry) = self.get_mut(addr) {
                entry.vouched |= new.vouched;
                if source == Found::Slot && entry.source > source && entry.failures == 0 {
                    let ready = entry.waits().then_some(Instant::ZERO);
                    self.put_off(addr, None);
                    if let Some(entry) = self.get_mut(addr) {
                        entry.source = source;
                    }
                    self.put_off(addr, ready);
                    continue;
                }
                // The user insists, or the network says that it is back.
                if source == Found::User && entry.waits() && entry.ready > step_of(now) {
                    self.put_off(addr, None);
                    if let Some(entry) = self.get_mut(addr) {
                        *entry = Entry { heard: entry.heard, ready: TAKEN, ..new };
                    }
                    self.put_off(addr, Some(now));
                }
                continue;
            }
            let is_full = self.len() >= config.known_peers_max && source != Found::User;
            if is_full && !self.replace_failing() && !(source == Found::Slot && self.forget_last())
            {
                return;
            }
            self.insert(addr, new);
        }
    }
    /// Forgets who would be dialed last, if nobody vouched for it more than for a stranger. Whether there was one. O(addresses).
    fn forget_last(&mut self) -> bool {
        let places = self.iter().filter_map(|(addr, entry)| Some((entry.place()?, addr)));
        match places.max() {
            Some(((_, source, _), addr)) if source > Found::Local => {
                self.remove(addr);
                true
            }
            _ => false,
        }
    }
    /// Takes the next address to dial.
    pub(crate) fn take(&mut self, now: Instant) -> Option<SocketAddr> {
        let first = self.first.filter(|first| first.0 <= step_of(now))?;
        let (addr, entry) = self.iter_mut().find(|(_, entry)| entry.place() == Some(first))?;
        entry.ready = TAKEN;
        self.leave(Some(first));
        Some(addr)
    }
    /// When `take` has something.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.first.map(|first| Instant::from_millis(u64::from(first.0) * STEP_MS))
    }
    /// How many were found in our viewer's slot and wait to be dialed. O(addresses).
    pub(crate) fn waiting_in_slot(&self, now: Instant) -> usize {
        let waits = |entry: &Entry| entry.source == Found::Slot && entry.ready <= step_of(now);
        self.iter().filter(|(_, entry)| waits(entry)).count()
    }
    /// A link to a peer that listens at `addr` is up, whoever opened it (`dialed`: we): it need not be dialed. What a remote
    /// says of itself is kept only below `limit`, and one address for a public host: it can name as many as it likes.
    pub(crate) fn connected(&mut self, addr: SocketAddr, dialed: bool, limit: usize) {
        if !self.has(addr) {
            let has_another = is_public(addr.ip()) && self.has_host(addr);
            if !dialed && (has_another || self.len() >= limit) {
                return;
            }
            self.insert(addr, Entry::new(Found::Exchange, None));
        }
        self.put_off(addr, None);
        if let Some(entry) = self.get_mut(addr) {
            entry.failures = 0;
        }
    }
    /// The title proved private: forgets what nobody named who may. Returns those addresses, ascending.
    pub(crate) fn keep_vouched(&mut self) -> Vec<SocketAddr> {
        let unvouched = self.iter().filter(|(_, entry)| !entry.vouched);
        let gone: Vec<SocketAddr> = unvouched.map(|entry| entry.0).collect();
        gone.iter().for_each(|&addr| self.remove(addr));
        gone
    }
    /// Lets an address be dialed at once.
    pub(crate) fn again(&mut self, now: Instant, addr: SocketAddr) {
        if self.get_mut(addr).is_some_and(|entry| entry.waits()) {
            self.put_off(addr, Some(now));
        }
    }
    /// A link to `addr` ended.
    pub(crate) fn ended(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        ending: Ending,
        config: &SwarmConfig,
    ) {
        if ending == Ending::Never {
            return self.never(addr, config);
        }
        let Some(entry) = self.get_mut(addr) else { return };
        let pause = match ending {
            Ending::NotNeeded => config.not_needed_pause,
            Ending::Never | Ending::Lost => config.dial_retry,
            Ending::Failed => {
                entry.failures = entry.failures.saturating_add(1);
                if entry.failures > config.dial_failures_max && entry.source != Found::User {
                    return self.remove(addr);
                }
                config.dial_retry * (1 << entry.failures.saturating_sub(1).min(6))
            }
        };
        self.put_off(addr, Some(now + pause));
    }
    /// The network changed: everything may be tried at once.
    pub(crate) fn retry_all(&mut self, now: Instant) {
        for (_, entry) in self.iter_mut().filter(|(_, entry)| entry.waits()) {
            (entry.failures, entry.ready) = (0, step_of(now));
        }
        self.first = self.iter().filter_map(|(_, entry)| entry.place()).min();
    }
    /// Shuts a peer out. `dialed` is where a link of ours reached it, `None` when it came to us. True when it was not shut out
    /// before.
    pub(crate) fn ban(
        &mut self,
        (host, name): (IpAddr, PeerId),
        dialed: Option<SocketAddr>,
        config: &SwarmConfig,
    ) -> bool {
        if let Some(addr) = dialed {
            self.never(addr, config);
        }
        self.bans.shut_out(host, name, config)
    }
    /// Nobody who can be met at an address that we dialed is wanted: a liar, or ourselves.
    fn never(&mut self, addr: SocketAddr, config: &SwarmConfig) {
        self.remove(addr);
        self.bans.shut_out_addr(addr, config);
    }
    /// Whether whoever is at `addr` and calls himself `name` was shut out.
    pub(crate) fn is_banned(&self, addr: SocketAddr, name: PeerId, config: &SwarmConfig) -> bool {
        self.bans.has_addr(addr, config) || self.bans.has(addr.ip(), name)
    }
    /// Known addresses that are not connected. O(addresses).
    pub(crate) fn waiting(&self) -> usize {
        self.iter().filter(|(_, entry)| entry.waits()).count()
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

    fn config() -> SwarmConfig {
        SwarmConfig { known_peers_max: 10, ..SwarmConfig::default() }
    }
    fn addr(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn whom_a_tracker_names_first_is_dialed_first() {
        let mut known = Known::default();
        let config = SwarmConfig::default();
        let named = ["20.0.0.9:1", "20.0.0.1:1", "20.0.0.5:1"]
            .map(|addr| addr.parse().expect("an address"));
        known.add(Instant::ZERO, Found::Tracker, &named, &config);
        known.add(Instant::ZERO, Found::Tracker, &[named[1]], &config);
        let dialed: Vec<_> = core::iter::from_fn(|| known.take(Instant::ZERO)).collect();
        assert_eq!(dialed, named);
    }

    #[test]
    fn the_users_peers_are_dialed_first_and_each_only_once() {
        let mut known = Known::default();
        let now = Instant::from_millis(5);
        known.add(now, Found::Exchange, &[addr(1), addr(2), addr(0)], &config());
        known.add(now, Found::User, &[addr(3)], &config());
        assert_eq!(known.take(now), Some(addr(3)));
        assert!(known.take(now).is_some() && known.take(now).is_some());
        assert_eq!(known.take(now), None);
    }

    #[test]
    fn who_was_found_in_the_slot_goes_before_all_who_wait_and_takes_the_place_of_the_last() {
        let mut known = Known::default();
        let now = Instant::from_millis(5);
        let all: Vec<SocketAddr> = (1..=10).map(addr).collect();
        known.add(now, Found::Tracker, &all, &config());
        known.add(Instant::from_millis(90), Found::Slot, &[addr(7), addr(20)], &config());
        let later = Instant::from_millis(100);
        assert_eq!(known.waiting_in_slot(later), 2);
        let dialed: Vec<_> = core::iter::from_fn(|| known.take(later)).collect();
        assert_eq!(dialed.len(), 10, "no more are kept than before");
        assert_eq!(dialed[..3], [addr(7), addr(20), addr(1)]);
        // Who failed is not tried sooner because of it.
        known.ended(later, addr(7), Ending::Failed, &config());
        known.add(later, Found::Slot, &[addr(7)], &config());
        assert_eq!((known.take(later), known.waiting_in_slot(later)), (None, 0));
    }

    #[test]
    fn failures_back_off_and_end_in_oblivion() {
        let mut known = Known::default();
        let mut now = Instant::from_millis(0);
        known.add(now, Found::Tracker, &[addr(1)], &config());
        let mut dials = 0;
        while let Some(at) = known.next() {
            now = at;
            assert_eq!(known.take(now), Some(addr(1)));
            known.ended(now, addr(1), Ending::Failed, &config());
            dials += 1;
        }
        assert_eq!(dials, 7);
        assert!(now.as_millis() > 100_000);
    }

    #[test]
    fn when_there_is_no_room_a_new_address_takes_the_place_of_one_that_fails() {
        let mut known = Known::default();
        let now = Instant::from_millis(5);
        let all: Vec<SocketAddr> = (1..=10).map(addr).collect();
        known.add(now, Found::Tracker, &all, &config());
        known.add(now, Found::Tracker, &[addr(11)], &config());
        assert!(!known.has(addr(11)) && known.len() == 10);
        let mut at = now;
        for _ in 0..2 {
            while let Some(taken) = known.take(at) {
                let works = taken != addr(3);
                known.ended(
                    at,
                    taken,
                    if works { Ending::Lost } else { Ending::Failed },
                    &config(),
                );
            }
            at = at + config().dial_retry;
        }
        known.add(at, Found::Exchange, &[addr(11), addr(12)], &config());
        assert!(known.has(addr(11)) && !known.has(addr(12)) && !known.has(addr(3)));
    }

    #[test]
    fn an_address_where_a_liar_answered_is_never_taken_again_and_his_neighbours_are() {
        let mut known = Known::default();
        let now = Instant::from_millis(0);
        let liar = PeerId([1; 20]);
        known.add(now, Found::User, &[addr(1)], &config());
        assert!(known.ban((addr(1).ip(), liar), Some(addr(1)), &config()));
        known.add(now, Found::User, &[addr(1)], &config());
        assert_eq!(known.take(now), None);
        assert!(known.is_banned(addr(1), PeerId([2; 20]), &config()));
        assert!(known.is_banned(addr(2), liar, &config()));
        assert!(!known.is_banned(addr(2), PeerId([2; 20]), &config()));
        // One that came to us says where it can be dialed: that may be somebody else's place.
        assert!(known.ban((addr(3).ip(), PeerId([3; 20])), None, &config()));
        known.add(now, Found::User, &[addr(3)], &config());
        assert_eq!(known.take(now), Some(addr(3)));
    }

    #[test]
    fn for_a_private_title_only_what_users_and_trackers_named_is_kept() {
        let mut known = Known::default();
        let now = Instant::from_millis(0);
        known.add(now, Found::Local, &[addr(1), addr(2)], &config());
        known.add(now, Found::Exchange, &[addr(3)], &config());
        known.add(now, Found::Tracker, &[addr(2), addr(4)], &config());
        known.add(now, Found::User, &[addr(5)], &config());
        assert_eq!(known.keep_vouched(), [addr(1), addr(3)]);
        let mut left: Vec<SocketAddr> = core::iter::from_fn(|| known.take(now)).collect();
        left.sort_unstable();
        assert_eq!(left, [addr(2), addr(4), addr(5)]);
    }
}
