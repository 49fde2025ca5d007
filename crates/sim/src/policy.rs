//! Policies: named bundles of settings that run in the same world on the same seeds.
//!
//! A policy changes values of the node's own configuration and nothing else, so a baseline is the shipped code with some
//! of it turned off. `client-server` alone also changes what peers are told: they know the servers from the start and learn
//! of nobody else. The `bittorrent-*` ones announce and pass on whole pieces, serve by slots, use v1 hashes and know no
//! due times.

use std::time::Duration;

use shoal_node::config::{Config, Order, Scheduler};

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
    swarm.hedge_permille = 0;
    swarm.announce_delay = Duration::ZERO;
    // They dial for as long as there is room.
    swarm.links_wanted = swarm.links_max;
}

/// All of them: Shoal, the baselines, then Shoal with one thing changed.
pub const POLICIES: &[Policy] = &[
    Policy { name: "shoal", about: "what ships", configure: |_| {}, v1: false, server_only: false },
    Policy {
        name: "bittorrent-rarest",
        about: "whole pieces, rarest first, slots, v1",
        configure: |config| bittorrent(config, Order::Rarest, Scheduler::Ignore),
        v1: true,
        server_only: false,
    },
    Policy {
        name: "bittorrent-in-order",
        about: "whole pieces, lowest first, slots, v1",
        configure: |config| bittorrent(config, Order::InOrder, Scheduler::Ignore),
        v1: true,
        server_only: false,
    },
    Policy {
        name: "bittorrent-random",
        about: "whole pieces, any order, slots, v1",
        configure: |config| bittorrent(config, Order::Random, Scheduler::Ignore),
        v1: true,
        server_only: false,
    },
    Policy {
        name: "one-peer-per-piece",
        about: "pieces by due time, each from the one peer that began it, slots, v1",
        configure: |config| bittorrent(config, Order::InOrder, Scheduler::OnePeerPerPiece),
        v1: true,
        server_only: false,
    },
    Policy {
        name: "client-server",
        about: "every viewer is fed by the servers alone",
        configure: |_| {},
        v1: false,
        server_only: true,
    },
    Policy {
        name: "shoal-no-hedge",
        about: "shoal without second requests",
        configure: |config| config.swarm.hedge_permille = 0,
        v1: false,
        server_only: false,
    },
    Policy {
        name: "shoal-no-source-rule",
        about: "shoal whose sources give everybody what he asks for",
        configure: |config| config.swarm.source_rule = false,
        v1: false,
        server_only: false,
    },
    Policy {
        name: "shoal-whole-pieces",
        about: "shoal that announces and passes on whole pieces only",
        configure: |config| config.swarm.block_sharing = false,
        v1: false,
        server_only: false,
    },
    Policy {
        name: "shoal-slots",
        about: "shoal that serves by slots",
        configure: |config| config.swarm.admit_shoal = false,
        v1: false,
        server_only: false,
    },
    Policy {
        name: "shoal-v1",
        about: "shoal on titles with v1 hashes only",
        configure: |_| {},
        v1: true,
        server_only: false,
    },
    Policy {
        name: "shoal-in-order",
        about: "shoal with the rest in order",
        configure: |config| config.swarm.order = Order::InOrder,
        v1: false,
        server_only: false,
    },
    Policy {
        name: "shoal-random",
        about: "shoal with the rest in any order",
        configure: |config| config.swarm.order = Order::Random,
        v1: false,
        server_only: false,
    },
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
    /// The settings of every node of a scenario under this policy.
    #[must_use]
    pub fn config(&self, scenario: &Scenario) -> Config {
        let mut config = crate::world::base_config();
        (self.configure)(&mut config);
        config.play.preroll = Duration::from_millis(scenario.play.preroll_ms);
        if scenario.node.links_max > 0 {
            config.swarm.links_max = scenario.node.links_max as usize;
        }
        if self.server_only {
            // A server turns nobody away for want of a connection.
            config.swarm.links_max = scenario.peers as usize + SPARE_LINKS;
        }
        if scenario.node.upload_slots > 0 {
            config.swarm.upload_slots = scenario.node.upload_slots as usize;
        }
        if scenario.node.queue_s > 0.0 {
            config.swarm.queue_time = Duration::from_secs_f64(scenario.node.queue_s);
        }
        config
    }
    /// Hashes of a title under this policy.
    #[must_use]
    pub fn format(&self, scenario: &Scenario) -> Format {
        if self.v1 { Format::V1 } else { scenario.film.format }
    }
}
