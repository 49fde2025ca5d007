//! Policies: named bundles of settings that run in the same world on the same seeds.
//!
//! A policy changes values of the node's own configuration and nothing else, so a baseline is the shipped code with some
//! of it turned off. `client-server` alone also changes what peers are told: they know the servers from the start and learn
//! of nobody else. The `bittorrent-*` ones announce and pass on whole pieces, serve by slots, use v1 hashes and know no
//! due times.

use std::sync::Arc;
use std::time::Duration;

use shoal_node::config::{Choice, Config, Order, Scheduler};

use crate::content::Format;
use crate::scenario::Scenario;

/// Connections of a server beyond one per peer: for peers that come back before they are missed.
const SPARE_LINKS: usize = 64;

/// A named bundle.
pub struct Policy {
    /// Its name.
    pub name: &'static str,
    /// What it stands for.
    pub about: &'static str,
    /// Changes a node's settings.
    pub configure: fn(&mut Config),
    /// Titles carry v1 hashes only.
    pub v1: bool,
    /// Peers are told of the servers alone, and the title is private, so that they never learn of each other.
    pub server_only: bool,
}

impl std::fmt::Debug for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

fn bittorrent(config: &mut Config, order: Order, scheduler: Scheduler) {
    let swarm = &mut config.swarm;
    swarm.order = order;
    swarm.scheduler = scheduler;
    // libtorrent lets a queue grow with every block until the rate stops rising, up to 500 requests. Ten seconds of rate is
    // fitted: with it the calibration scenario takes as long as its real swarms (docs/simulator.md).
    swarm.queue_time = Duration::from_secs(10);
    swarm.choke_interval = Duration::from_secs(15);
    swarm.source_rule = false;
    swarm.block_sharing = false;
    swarm.admit_shoal = false;
    swarm.super_seeding = false;
    swarm.hedge_permille = 0;
    swarm.announce_delay = Duration::ZERO;
    swarm.paced = false;
    config.discover.slots = false;
    // They dial for as long as there is room.
    swarm.links_wanted = swarm.links_max;
}

const fn with(name: &'static str, about: &'static str, configure: fn(&mut Config)) -> Policy {
    Policy { name, about, configure, v1: false, server_only: false }
}

/// All of them: Shoal, the baselines, then Shoal with one value changed.
pub const POLICIES: &[Policy] = &[
    with("shoal", "what ships", |_| {}),
    Policy {
        v1: true,
        ..with("bittorrent-rarest", "whole pieces, rarest first, slots, v1", |config| {
            bittorrent(config, Order::Rarest, Scheduler::Ignore);
        })
    },
    Policy {
        v1: true,
        ..with("bittorrent-in-order", "whole pieces, lowest first, slots, v1", |config| {
            bittorrent(config, Order::InOrder, Scheduler::Ignore);
        })
    },
    Policy {
        v1: true,
        ..with("bittorrent-random", "whole pieces, any order, slots, v1", |config| {
            bittorrent(config, Order::Random, Scheduler::Ignore);
        })
    },
    Policy {
        v1: true,
        ..with("bittorrent-zipf", "whole pieces, the nearer the likelier, slots, v1", |config| {
            bittorrent(config, Order::Zipf, Scheduler::Ignore);
        })
    },
    Policy {
        v1: true,
        ..with("bittorrent-portion", "whole pieces, 4 of 5 next in order, slots, v1", |config| {
            bittorrent(config, Order::Portion, Scheduler::Ignore);
        })
    },
    Policy {
        v1: true,
        ..with(
            "one-peer-per-piece",
            "pieces by due time, each from the one peer that began it, slots, v1",
            |config| bittorrent(config, Order::InOrder, Scheduler::OnePeerPerPiece),
        )
    },
    with(
        "plain-deadline",
        "earliest due first to whoever has room, no source rule, no second requests: PRIME v2",
        |config| {
            config.swarm.scheduler = Scheduler::EarliestDue;
            config.swarm.source_rule = false;
            config.swarm.hedge_permille = 0;
        },
    ),
    Policy {
        server_only: true,
        ..with("client-server", "every viewer is fed by the servers alone", |_| {})
    },
    with("shoal-no-hedge", "shoal without second requests", |config| {
        config.swarm.hedge_permille = 0;
    }),
    with("shoal-no-source-rule", "shoal whose sources give everybody what he asks for", |config| {
        config.swarm.source_rule = false
    }),
    with(
        "shoal-no-super-seeding",
        "shoal whose sources show foreign clients all at once",
        |config| {
            config.swarm.super_seeding = false;
        },
    ),
    with("shoal-whole-pieces", "shoal that announces and passes on whole pieces only", |config| {
        config.swarm.block_sharing = false
    }),
    with("shoal-unpaced", "shoal that gives transports all that they take", |config| {
        config.swarm.paced = false;
    }),
    with("shoal-slots", "shoal that serves by slots", |config| config.swarm.admit_shoal = false),
    with("shoal-no-rendezvous", "shoal whose viewers do not meet by time slots", |config| {
        config.discover.slots = false;
    }),
    Policy { v1: true, ..with("shoal-v1", "shoal on titles with v1 hashes only", |_| {}) },
    with("shoal-in-order", "shoal with the rest in order", |config| {
        config.swarm.order = Order::InOrder;
    }),
    with("shoal-random", "shoal with the rest in any order", |config| {
        config.swarm.order = Order::Random;
    }),
    with("shoal-zipf", "shoal with the rest drawn, the nearer the likelier", |config| {
        config.swarm.order = Order::Zipf;
    }),
    with("shoal-portion", "shoal with 4 of 5 of the rest next in order", |config| {
        config.swarm.order = Order::Portion;
    }),
    with("shoal-earliest-due", "shoal that predicts no arrivals", |config| {
        config.swarm.scheduler = Scheduler::EarliestDue;
    }),
    with("shoal-peer-random", "shoal that asks any peer with room", |config| {
        config.swarm.choice = Choice::Random;
    }),
    with("shoal-peer-by-rate", "shoal that asks the fastest peer with room", |config| {
        config.swarm.choice = Choice::Rate;
    }),
    with(
        "shoal-peer-by-position",
        "shoal that asks the peer with room that plays next after the block",
        |config| config.swarm.choice = Choice::Position,
    ),
    with(
        "shoal-peer-by-round-trip",
        "shoal that asks the peer with room that is nearest",
        |config| config.swarm.choice = Choice::RoundTrip,
    ),
    with(
        "shoal-peer-by-coordinates",
        "shoal that asks the peer with room that network coordinates say is nearest",
        |config| config.swarm.choice = Choice::Coordinates,
    ),
];

/// A policy by name.
///
/// # Errors
/// A sentence with the names that exist.
pub fn find(name: &str) -> Result<&'static Policy, String> {
    POLICIES.iter().find(|policy| policy.name == name).ok_or_else(|| {
        let names: Vec<&str> = POLICIES.iter().map(|policy| policy.name).collect();
        format!("there is no policy `{name}`; there are {}", names.join(", "))
    })
}

impl Policy {
    /// Whether it is Shoal with one value changed.
    #[must_use]
    pub fn is_ablation(&self) -> bool {
        self.name.starts_with("shoal-")
    }
    /// Whether its nodes dial for as long as there is room.
    fn dials_on(&self) -> bool {
        self.v1 && !self.is_ablation()
    }
    /// The settings of every node of a scenario under this policy.
    #[must_use]
    pub fn config(&self, scenario: &Scenario) -> Config {
        let mut config = crate::world::base_config();
        (self.configure)(&mut config);
        config.play.preroll = Duration::from_millis(scenario.play.preroll_ms);
        if scenario.node.links_max > 0 {
            config.swarm.links_max = scenario.node.links_max as usize;
        }
        if scenario.node.links_wanted > 0 && !self.dials_on() {
            config.swarm.links_wanted = scenario.node.links_wanted as usize;
        }
        if scenario.node.slots_from > 0 {
            config.discover.slots_from = scenario.node.slots_from;
        }
        if self.server_only {
            // A server turns nobody away for want of a connection.
            config.swarm.links_max = scenario.peers as usize + SPARE_LINKS;
        }
        let all_alike = scenario.foreign.is_empty() && scenario.foreign_seeds.is_empty();
        if scenario.node.upload_slots > 0 && all_alike {
            config.swarm.upload_slots = scenario.node.upload_slots as usize;
        }
        if scenario.node.queue_s > 0.0 {
            config.swarm.queue_time = Duration::from_secs_f64(scenario.node.queue_s);
        }
        config
    }
    /// The settings of peers, or of seeds, that the scenario may make `foreign` clients: the same unless it names a policy.
    ///
    /// # Errors
    /// A sentence when there is no policy of that name.
    pub fn config_of(&self, foreign: &str, scenario: &Scenario) -> Result<Arc<Config>, String> {
        if foreign.is_empty() {
            return Ok(Arc::new(self.config(scenario)));
        }
        let mut config = find(foreign)?.config(scenario);
        config.swarm.speak_shoal = false;
        if scenario.node.upload_slots > 0 {
            config.swarm.upload_slots = scenario.node.upload_slots as usize;
        }
        Ok(Arc::new(config))
    }
    /// Hashes of a title under this policy.
    #[must_use]
    pub fn format(&self, scenario: &Scenario) -> Format {
        if self.v1 { Format::V1 } else { scenario.film.format }
    }
}

#[cfg(test)]
mod tests {
    use super::{POLICIES, find};
    use crate::scenario::Scenario;

    #[test]
    fn each_ablation_differs_from_what_ships_in_one_value() {
        let scenario = Scenario::default();
        let settings = |name: &str| {
            let policy = find(name).expect("a policy");
            let config = format!("{:#?}", policy.config(&scenario));
            let mut lines: Vec<String> = config.lines().map(str::to_owned).collect();
            lines.push(format!("v1: {}", policy.v1));
            lines.push(format!("server_only: {}", policy.server_only));
            lines
        };
        let ships = settings("shoal");
        let ablations: Vec<_> = POLICIES.iter().filter(|policy| policy.is_ablation()).collect();
        assert!(ablations.len() >= 14, "{ablations:?}");
        for policy in ablations {
            let changed = settings(policy.name);
            assert_eq!(changed.len(), ships.len(), "{policy:?}");
            let differ: Vec<_> = changed.iter().zip(&ships).filter(|(a, b)| a != b).collect();
            assert_eq!(differ.len(), 1, "{policy:?}: {differ:?}");
        }
    }
}
