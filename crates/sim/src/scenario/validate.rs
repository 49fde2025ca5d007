//! Scenarios that cannot be meant are refused here, each with a sentence that says what to change.

use super::{DelayKind, Find, JumpTo, Scenario};
use crate::policy;

/// Hosts in one world at most.
const HOSTS_MAX: u32 = 1_000_000;

fn require(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what.to_owned()) }
}

impl Scenario {
    /// Checks that the scenario can be run.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn validate(&self) -> Result<(), String> {
        self.validate_hosts()?;
        self.validate_film_and_network()?;
        require(
            self.network.kind != DelayKind::File || self.lookup.given_max > 0,
            "lookup.given_max must be at least 1",
        )?;
        require(
            self.lookup.find == Find::Given || self.server.count > 0 || self.seeds.count > 0,
            "lookup.find = \"directory\" needs a server or a seed to run it",
        )?;
        require(self.play.jumps == 0 || self.viewers > 0, "play.jumps needs viewers")?;
        require(
            self.play.jumps == 0
                || self.play.jump_to != JumpTo::Unfetched
                || self.film.duration_s >= 4.0,
            "play.jump_to = \"unfetched\" needs a film of at least 4 s",
        )?;
        require(
            !self.faults.must_finish
                || self.faults.from_s <= self.faults.heal_s && self.faults.heal_s < self.limit_s,
            "faults: from_s, heal_s and limit_s must ascend",
        )?;
        require(
            self.disk.bytes_per_s > 0 && self.disk.hash_bytes_per_s > 0,
            "disk: rates must be positive",
        )?;
        policy::find(&self.policy).map(|_| ())
    }

    fn validate_hosts(&self) -> Result<(), String> {
        let holders = u64::from(self.server.count) + u64::from(self.seeds.count);
        require(
            holders > 0 || self.halves.count > 1,
            "nobody holds the film: set server.count, seeds.count or at least two halves",
        )?;
        require(self.peers > 0, "peers must be at least 1")?;
        require(self.viewers <= self.peers, "viewers cannot be more than peers")?;
        let hosts = holders + u64::from(self.halves.count) + u64::from(self.peers);
        require(hosts <= u64::from(HOSTS_MAX), "more than a million hosts do not fit one world")?;
        require(self.limit_s > 0.0 && self.limit_s <= 1e7, "limit_s must be between 0 and 10^7")?;
        for (name, hosts) in
            [("server", &self.server), ("seeds", &self.seeds), ("halves", &self.halves)]
        {
            if hosts.count > 0 && (hosts.up_bytes_per_s < 100 || hosts.down_bytes_per_s < 100) {
                return Err(format!("{name}: rates below 100 bytes/s never finish"));
            }
        }
        for (name, rate) in [("upload", &self.upload), ("download", &self.download)] {
            if !(rate.mix.iter().all(|share| *share > 0.0) && rate.factor >= 0.0) {
                return Err(format!("{name}: factor and mix must be positive"));
            }
            let classes = rate.mix.len().max(1) as u32;
            if (0..classes).any(|class| self.rate_of(rate, class) < 100) {
                return Err(format!("{name}: rates below 100 bytes/s never finish"));
            }
        }
        Ok(())
    }

    fn validate_film_and_network(&self) -> Result<(), String> {
        let film = &self.film;
        require(
            film.length_bytes > 0 || (film.rate_bit_per_s > 0 && film.duration_s > 0.0),
            "film: give length_bytes, or rate_bit_per_s and duration_s",
        )?;
        require(
            self.film_length() > film.head_bytes,
            "film.head_bytes must be less than the film's length",
        )?;
        require(film.variation_percent <= 90, "film.variation_percent must be at most 90")?;
        require(
            (0.0..=3600.0).contains(&self.node.queue_s),
            "node.queue_s must be from 0 to 3600",
        )?;
        require(film.gop_s > 0.0, "film.gop_s must be positive")?;
        let net = &self.network;
        require(
            net.rtt_ms >= 0.0 && net.plane_ms >= 0.0 && net.jitter_ms >= 0.0,
            "network: times must not be negative",
        )?;
        require(
            (0.0..=50.0).contains(&net.loss_percent),
            "network.loss_percent must be from 0 to 50",
        )?;
        require(
            (0.0..=50.0).contains(&self.faults.loss_percent),
            "faults.loss_percent must be from 0 to 50",
        )?;
        require(
            net.send_queue_bytes >= 32 * 1024,
            "network.send_queue_bytes must be at least 32768: a block and a half",
        )?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::{BUILTIN, Scenario};

    fn refusal(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|&item| item.to_owned()).collect();
        Scenario::parse(text, &set).expect_err("refused")
    }

    #[test]
    fn unknown_keys_are_refused_with_the_line_and_the_keys_that_exist() {
        let text = refusal("peers = 3\n[film]\nrate = 5\n", &[]);
        assert!(text.contains("line 3") && text.contains("rate_bit_per_s"), "{text}");
        let text = refusal("peers = 3\n", &["film.format=v3"]);
        assert!(text.contains("hybrid"), "{text}");
        assert!(refusal("peers = 3\n", &["upload.speed=3"]).contains("factor"));
        assert!(refusal("peers = 3\n", &["peers"]).contains("KEY=VALUE"));
    }

    #[test]
    fn impossible_scenarios_are_refused_before_they_run() {
        assert!(refusal("[server]\ncount = 0", &[]).contains("nobody holds"));
        assert!(refusal("peers = 0", &[]).contains("peers"));
        assert!(refusal("[upload]\nbytes_per_s = 0", &[]).contains("upload"));
        assert!(refusal("policy = \"magic\"", &[]).contains("bittorrent-rarest"));
        assert!(refusal("limit_s = 5.0\n[faults]\nmust_finish = true", &[]).contains("heal_s"));
    }

    #[test]
    fn overrides_reach_into_tables_and_whole_numbers_pass_for_fractions() {
        let set = ["peers=200", "upload.factor=1.5", "limit_s=900", "film.format=v1"];
        let set: Vec<String> = set.iter().map(|&item| item.to_owned()).collect();
        let scenario = Scenario::parse("viewers = 2", &set).expect("fine");
        assert_eq!((scenario.peers, scenario.viewers), (200, 2));
        assert_eq!(scenario.rate_of(&scenario.upload, 0), 375_000);
        assert!((scenario.limit_s - 900.0).abs() < 1e-9);
    }

    #[test]
    fn every_built_in_scenario_is_sound_and_named_after_its_file() {
        for (name, text) in BUILTIN {
            let scenario = Scenario::parse(text, &[]).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert_eq!(scenario.name, *name);
            assert!(!scenario.about.is_empty());
        }
    }
}
