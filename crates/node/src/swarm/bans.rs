//! Who is shut out of a title.
//!
//! A peer's name can be copied and a host can be shared (one address for a whole house, loopback), so neither alone says who
//! lied. What is shut out is a name at a host: its owner elsewhere and its neighbours under the same address stay welcome.
//! Names cost nothing, so a public host from which several were shut out is shut out altogether, and so is every address
//! that was dialed and where a liar answered. What a remote merely says of itself, its port for one, shuts out nobody.

use alloc::collections::{BTreeSet, VecDeque};
use core::net::{IpAddr, SocketAddr};

use shoal_wire::PeerId;

use super::known::is_public;
use crate::config::SwarmConfig;

/// Everybody who was shut out.
#[derive(Debug, Default)]
pub(super) struct Bans {
    names: Bounded<(IpAddr, PeerId)>,
    addrs: Bounded<SocketAddr>,
}

/// A set that forgets what it took in first.
#[derive(Debug)]
struct Bounded<T> {
    set: BTreeSet<T>,
    order: VecDeque<T>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self { set: BTreeSet::new(), order: VecDeque::new() }
    }
}

impl<T: Ord + Copy> Bounded<T> {
    /// True when it is new.
    fn insert(&mut self, new: T, limit: usize) -> bool {
        if !self.set.insert(new) {
            return false;
        }
        self.order.push_back(new);
        if self.order.len() > limit.max(1)
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
        true
    }
}

impl Bans {
    /// Shuts a name at a host out. True when it was not.
    pub(super) fn shut_out(&mut self, host: IpAddr, name: PeerId, config: &SwarmConfig) -> bool {
        self.names.insert((host, name), config.bans_max)
    }
    /// Shuts an address out that we dialed.
    pub(super) fn shut_out_addr(&mut self, addr: SocketAddr, config: &SwarmConfig) {
        self.addrs.insert(addr, config.bans_max);
    }
    /// Whether whoever calls himself `name` there was shut out.
    pub(super) fn has(&self, host: IpAddr, name: PeerId) -> bool {
        self.names.set.contains(&(host, name))
    }
    /// Whether nobody at an address is met, whatever his name. O(`bans_per_host_max`).
    pub(super) fn has_addr(&self, addr: SocketAddr, config: &SwarmConfig) -> bool {
        self.addrs.set.contains(&addr)
            || (is_public(addr.ip()) && self.count(addr.ip(), config) >= config.bans_per_host_max)
    }
    fn count(&self, host: IpAddr, config: &SwarmConfig) -> usize {
        let names = (host, PeerId([0; 20]))..=(host, PeerId([u8::MAX; 20]));
        self.names.set.range(names).take(config.bans_per_host_max).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_host_is_shut_out_after_several_liars_and_a_shared_one_never() {
        let config = SwarmConfig::default();
        let mut bans = Bans::default();
        let hosts = [[192, 0, 2, 1], [10, 0, 0, 1]].map(IpAddr::from);
        let addr = |host| SocketAddr::new(host, 80);
        for name in 0..config.bans_per_host_max as u8 {
            for host in hosts {
                assert!(!bans.has_addr(addr(host), &config) && !bans.has(host, PeerId([name; 20])));
                assert!(bans.shut_out(host, PeerId([name; 20]), &config));
                assert!(!bans.shut_out(host, PeerId([name; 20]), &config), "once is enough");
                assert!(bans.has(host, PeerId([name; 20])));
            }
        }
        assert_eq!(hosts.map(|host| bans.has_addr(addr(host), &config)), [true, false]);
    }

    #[test]
    fn the_oldest_ban_makes_room() {
        let config = SwarmConfig { bans_max: 2, ..SwarmConfig::default() };
        let mut bans = Bans::default();
        let host = |last| IpAddr::from([192, 0, 2, last]);
        for last in [9, 5, 7] {
            bans.shut_out(host(last), PeerId([1; 20]), &config);
        }
        assert_eq!(
            [9, 5, 7].map(|last| bans.has(host(last), PeerId([1; 20]))),
            [false, true, true]
        );
    }
}
