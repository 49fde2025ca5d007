//! Fluid bounds of file distribution: how fast it could go if bytes were water.
//!
//! Kumar and Ross, "Peer-assisted file distribution: the minimum distribution time" (2006), as Kurose and Ross teach it:
//! client-server max{NF/us, F/dmin}, peer-to-peer max{F/us, F/dmin, NF/(us + sum of ui)}. Rates are those of the links times
//! [`FILM_SHARE`], so that headers and acknowledgements are no excuse and no burden.

use crate::scenario::{Finish, Scenario};

/// Share of a link's rate that can be film: headers and acknowledgements take the rest (1448 of 1500 bytes and 52 bytes
/// back per two segments, rounded down).
pub const FILM_SHARE: f64 = 0.945;

/// What bounds depend on. Rates in bytes/s of the links.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Links {
    /// Bytes of the file.
    pub film: f64,
    /// Uplinks of all that hold it at the start.
    pub sources: f64,
    /// Number of peers that want it.
    pub peers: f64,
    /// Their uplinks together.
    pub uplinks: f64,
    /// The least of their downlinks.
    pub least_down: f64,
}

impl Links {
    /// Seconds that pure client-server distribution takes at least.
    #[must_use]
    pub fn client_server_s(&self) -> f64 {
        let all = self.peers * self.film / self.sources;
        all.max(self.film / self.least_down) / FILM_SHARE
    }
    /// Seconds that peer-to-peer distribution takes at least.
    #[must_use]
    pub fn peer_to_peer_s(&self) -> f64 {
        let once = (self.film / self.sources).max(self.film / self.least_down);
        let all = self.peers * self.film / (self.sources + self.uplinks);
        once.max(all) / FILM_SHARE
    }
}

/// The links of a scenario as if it had `peers` peers; `None` where bounds mean nothing: nobody has to get the whole file,
/// or some begin with a half of it.
#[must_use]
pub fn links(scenario: &Scenario, peers: u32) -> Option<Links> {
    if matches!(scenario.finish, Finish::Play | Finish::Limit) || scenario.halves.count > 0 {
        return None;
    }
    let of = |rate| (0..peers).map(move |index| scenario.rate_of(rate, index) as f64);
    let sources = [&scenario.server, &scenario.seeds]
        .map(|hosts| f64::from(hosts.count) * hosts.up_bytes_per_s as f64);
    Some(Links {
        film: scenario.film_length() as f64,
        sources: sources.iter().sum(),
        peers: f64::from(peers),
        uplinks: of(&scenario.upload).sum(),
        least_down: of(&scenario.download).fold(f64::INFINITY, f64::min),
    })
}

#[cfg(test)]
mod tests {
    use super::{FILM_SHARE, links};
    use crate::scenario::{Scenario, builtin};

    #[test]
    fn the_lecture_s_example_comes_out() {
        let text = builtin("e-equal").expect("it is built in");
        let scenario = Scenario::parse(text, &[]).expect("it is sound");
        // F/u is an hour's worth of units; us = 10u.
        let hour = 536_870_912.0 / 500_000.0 / FILM_SHARE;
        for (peers, client_server, peer_to_peer) in
            [(1, 0.1, 0.1), (10, 1.0, 0.5), (30, 3.0, 0.75), (1000, 100.0, 1000.0 / 1010.0)]
        {
            let links = links(&scenario, peers).expect("everybody wants everything");
            assert!((links.client_server_s() / hour - client_server).abs() < 1e-9);
            assert!((links.peer_to_peer_s() / hour - peer_to_peer).abs() < 1e-9);
        }
    }

    #[test]
    fn there_is_no_bound_where_nobody_has_to_get_the_whole_file() {
        let text = builtin("a-burst").expect("it is built in");
        assert!(links(&Scenario::parse(text, &[]).expect("sound"), 70).is_none());
    }
}
