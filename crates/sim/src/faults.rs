//! What goes wrong in a run: drawn once from the seed, known ahead, printed with a failure.
//!
//! Swarm testing (Groce et al., ISSTA 2012): with `draw` each seed turns on a random half of the faults, so that runs
//! differ in kind and not only in timing.

use std::fmt;

use shoal_node::rng::{Rng, Seed};

use crate::network::Partition;
use crate::scenario::FaultSet;

/// Which hosts are which.
#[derive(Clone, Copy, Debug)]
pub struct Crowd {
    /// Hosts that serve from the start: servers, seeds and halves are `0..peers_from`.
    pub servers: u32,
    /// First ordinary peer.
    pub peers_from: u32,
    /// One past the last host.
    pub end: u32,
}

/// One thing that happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A process ends; `silent`: its machine with it.
    Leave {
        /// Whose.
        host: u32,
        /// No reset, no refusal.
        silent: bool,
    },
    /// It comes back.
    Return(u32),
    /// Losses, per 10,000.
    Loss(u32),
    /// A disk becomes this many times slower than it was.
    Slow(u32, u32),
    /// A disk is full, or has room again.
    Full(u32, bool),
    /// A host replaces this many of a thousand blocks.
    Corrupt(u32, u32),
    /// A host claims to hold everything.
    Lie(u32, bool),
}

/// All that goes wrong in a run, by time in nanoseconds.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// Ascending by time.
    pub events: Vec<(u64, Fault)>,
    /// Network splits.
    pub partitions: Vec<Partition>,
    /// Hosts that deceive at some time: nobody can rely on their finishing.
    pub deceivers: Vec<u32>,
}

impl fmt::Display for FaultPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.partitions {
            let apart = part.side.iter().filter(|side| **side).count();
            writeln!(
                f,
                "{:>9.3} s  partition until {:.3} s, {apart} hosts apart",
                part.from_ns as f64 / 1e9,
                part.until_ns as f64 / 1e9
            )?;
        }
        for (at, fault) in &self.events {
            writeln!(f, "{:>9.3} s  {fault:?}", *at as f64 / 1e9)?;
        }
        Ok(())
    }
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

impl FaultPlan {
    /// Draws the faults of one seed.
    #[must_use]
    pub fn draw(set: &FaultSet, base_loss_per_10000: u32, crowd: Crowd, seed: Seed) -> Self {
        let mut rng = Rng::new(seed.fork("faults", 0));
        let mut plan = Self::default();
        let (from, heal) = (nanos(set.from_s), nanos(set.heal_s));
        let span = heal.saturating_sub(from).max(1);
        let mut chosen = || !set.draw || rng.chance(1, 2);
        let (loss, churn, crash, part) = (chosen(), chosen(), chosen(), chosen());
        let (slow, full, corrupt, lie) = (chosen(), chosen(), chosen(), chosen());
        let peers: Vec<u32> = (crowd.peers_from..crowd.end).collect();
        let holders: Vec<u32> = (crowd.servers..crowd.peers_from).collect();
        if loss && set.loss_percent > 0.0 {
            plan.events.push((from, Fault::Loss((set.loss_percent * 100.0) as u32)));
            plan.events.push((heal, Fault::Loss(base_loss_per_10000)));
        }
        let mut pick = |all: &[u32], percent: u32, on: bool| -> Vec<u32> {
            let mut some = all.to_vec();
            rng.shuffle(&mut some);
            let count = (all.len() as u64 * u64::from(percent)).div_ceil(100) as usize;
            some.truncate(if on { count } else { 0 });
            some
        };
        let leavers = pick(&peers, set.churn_percent, churn);
        let crashed = pick(&peers, set.crash_percent, crash);
        let slowed = pick(&peers, set.slow_disk_percent, slow);
        let filled = pick(&peers, set.full_disk_percent, full);
        let rotten = pick(&holders, set.corrupt_percent, corrupt);
        let liars = pick(&peers, set.liar_percent, lie);
        for &host in leavers.iter().filter(|host| !crashed.contains(host)) {
            let away = from + rng.below(span * 2 / 3);
            let back = away + rng.below(span / 3) + 1;
            plan.events.push((away, Fault::Leave { host, silent: false }));
            plan.events.push((back.min(heal), Fault::Return(host)));
        }
        let crash_at = from + rng.below(span / 2);
        for &host in &crashed {
            plan.events.push((crash_at, Fault::Leave { host, silent: true }));
            plan.events.push((heal, Fault::Return(host)));
        }
        for &host in &slowed {
            plan.events.push((from, Fault::Slow(host, 50)));
            plan.events.push((heal, Fault::Slow(host, 1)));
        }
        for &host in &filled {
            let at = from + rng.below(span / 2);
            plan.events.push((at, Fault::Full(host, true)));
            plan.events.push((at + rng.below(span / 2) + 1, Fault::Full(host, false)));
        }
        for &host in &rotten {
            plan.events.push((0, Fault::Corrupt(host, 100)));
            plan.events.push((heal, Fault::Corrupt(host, 0)));
        }
        for &host in &liars {
            plan.events.push((0, Fault::Lie(host, true)));
            plan.events.push((heal, Fault::Lie(host, false)));
        }
        if part && set.partition_s > 0.0 {
            let long = nanos(set.partition_s).min(span);
            let begin = from + rng.below(span - long + 1);
            let side = (0..crowd.end).map(|_| rng.chance(1, 2)).collect();
            plan.partitions.push(Partition { from_ns: begin, until_ns: begin + long, side });
        }
        plan.deceivers = rotten;
        plan.deceivers.extend(&liars);
        plan.events.sort_by_key(|event| event.0);
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64) -> FaultPlan {
        let set = FaultSet {
            draw: true,
            churn_percent: 40,
            crash_percent: 25,
            partition_s: 10.0,
            loss_percent: 2.0,
            corrupt_percent: 50,
            ..FaultSet::default()
        };
        let crowd = Crowd { servers: 1, peers_from: 5, end: 15 };
        FaultPlan::draw(&set, 0, crowd, Seed::from_u64(seed))
    }

    #[test]
    fn seeds_draw_faults_of_different_kinds_and_each_draws_the_same_again() {
        let texts: Vec<String> = (0..30).map(|seed| plan(seed).to_string()).collect();
        assert_eq!(texts[4], plan(4).to_string());
        assert!(texts.iter().any(|text| text.contains("partition")));
        assert!(texts.iter().any(|text| !text.contains("partition")));
        assert!(texts.iter().any(|text| text.contains("silent: true")));
        assert!(texts.iter().any(|text| text.contains("Corrupt")));
    }

    #[test]
    fn everybody_who_leaves_comes_back_by_the_time_of_healing() {
        for seed in 0..50 {
            let plan = plan(seed);
            for (at, fault) in &plan.events {
                if let Fault::Leave { host, .. } = fault {
                    let back = plan.events.iter().find(|event| event.1 == Fault::Return(*host));
                    let back = back.expect("a return").0;
                    assert!(back > *at && back <= nanos(40.0));
                }
            }
            assert!(plan.events.is_sorted_by_key(|event| event.0));
        }
    }
}
