//! Scenarios that cannot be meant are refused here, each with its key and what it may be.

use super::{Find, Finish, Hosts, JumpTo, Manner, Rate, Rest, Scenario};
use crate::content::PAGE_LEN;
use crate::policy;

/// Hosts in one world at most.
const HOSTS_MAX: u32 = 1_000_000;
/// Times in seconds at most: about four months.
const SECONDS_MAX: f64 = 1e7;
/// Round trips, jitter and disk times in milliseconds at most: a minute.
const DELAY_MS_MAX: f64 = 60_000.0;
/// Rates of links at most, bytes/s: a terabit/s.
const RATE_MAX: u64 = 125_000_000_000;
/// Rates below this never finish, bytes/s.
const RATE_LEAST: u64 = 100;
/// Titles at most.
const TITLES_MAX: u32 = 1000;
/// Pieces, and groups of pictures, of a film at most.
const PARTS_MAX: f64 = 1_000_000.0;

/// A key, and what is wrong with its value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub(super) key: String,
    pub(super) what: String,
}

fn require(holds: bool, key: &str, what: &str) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault { key: key.to_owned(), what: what.to_owned() }) }
}

fn within(value: f64, least: f64, most: f64, key: &str) -> Result<(), Fault> {
    // What is no number is in no range.
    require((least..=most).contains(&value), key, &format!("it must be from {least} to {most}"))
}

impl Scenario {
    /// Checks that the scenario can be run.
    pub(super) fn validate(&self) -> Result<(), Fault> {
        self.validate_hosts()?;
        self.validate_rates()?;
        self.validate_film()?;
        self.validate_catalogue()?;
        self.validate_network()?;
        self.validate_course()?;
        self.validate_faults()?;
        let named = |key: &str, name: &str| {
            let fault = |what| Fault { key: key.to_owned(), what };
            policy::find(name).map(|_| ()).map_err(fault)
        };
        named("policy", &self.policy)?;
        for (key, name) in [("foreign", &self.foreign), ("foreign_seeds", &self.foreign_seeds)] {
            if !name.is_empty() {
                named(key, name)?;
            }
        }
        Ok(())
    }

    fn validate_hosts(&self) -> Result<(), Fault> {
        let holders = u64::from(self.server.count) + u64::from(self.seeds.count);
        require(
            holders > 0 || self.halves.count > 1,
            "server.count",
            "nobody holds the film: set server.count or seeds.count to at least 1, or halves.count to at least 2",
        )?;
        require(self.peers > 0, "peers", "it must be at least 1")?;
        require(
            self.viewers <= self.peers,
            "viewers",
            "they are some of the peers: it must be at most peers",
        )?;
        let hosts = holders + u64::from(self.halves.count) + u64::from(self.peers);
        require(
            hosts <= u64::from(HOSTS_MAX),
            "peers",
            "more than 1000000 hosts, servers and seeds included, do not fit one world",
        )?;
        require(
            self.lookup.find == Find::Directory || self.lookup.given_max > 0,
            "lookup.given_max",
            "it must be at least 1 with lookup.find = \"given\", or nobody knows anybody",
        )?;
        require(
            self.lookup.find == Find::Given || holders > 0,
            "lookup.find",
            "\"directory\" needs a server or a seed whose host runs it",
        )
    }

    fn validate_rates(&self) -> Result<(), Fault> {
        let in_range = |rate| (RATE_LEAST..=RATE_MAX).contains(&rate);
        let what = format!("rates must be from {RATE_LEAST} to {RATE_MAX} bytes/s");
        let classes: [(&str, &Hosts); 3] =
            [("server", &self.server), ("seeds", &self.seeds), ("halves", &self.halves)];
        for (name, hosts) in classes.into_iter().filter(|class| class.1.count > 0) {
            require(in_range(hosts.up_bytes_per_s), &format!("{name}.up_bytes_per_s"), &what)?;
            require(in_range(hosts.down_bytes_per_s), &format!("{name}.down_bytes_per_s"), &what)?;
        }
        let rates: [(&str, &Rate); 2] = [("upload", &self.upload), ("download", &self.download)];
        for (name, rate) in rates {
            require(
                rate.factor >= 0.0 && rate.factor.is_finite(),
                &format!("{name}.factor"),
                "it must be a positive number, or 0 to use bytes_per_s",
            )?;
            require(
                rate.mix.iter().all(|share| *share > 0.0 && share.is_finite()),
                &format!("{name}.mix"),
                "its numbers must be positive",
            )?;
            let key = if rate.factor > 0.0 { "factor" } else { "bytes_per_s" };
            let mut classes = 0..rate.mix.len().max(1) as u32;
            require(
                classes.all(|class| in_range(self.rate_of(rate, class))),
                &format!("{name}.{key}"),
                &format!("{what}, those of the classes in mix too"),
            )?;
        }
        for (key, rate) in [
            ("disk.bytes_per_s", self.disk.bytes_per_s),
            ("disk.hash_bytes_per_s", self.disk.hash_bytes_per_s),
        ] {
            require(rate > 0, key, "it must be positive")?;
        }
        Ok(())
    }

    fn validate_film(&self) -> Result<(), Fault> {
        let film = &self.film;
        within(film.duration_s, 0.0, SECONDS_MAX, "film.duration_s")?;
        require(
            film.length_bytes > 0 || film.rate_bit_per_s > 0 && film.duration_s > 0.0,
            "film.rate_bit_per_s",
            "give film.length_bytes, or a positive rate and film.duration_s",
        )?;
        require(
            self.viewers == 0 || film.duration_s > 0.0,
            "film.duration_s",
            "it must be positive where somebody watches",
        )?;
        let pieces_fit = film.piece_bytes.is_power_of_two()
            && (16_384..=PAGE_LEN as u32).contains(&film.piece_bytes);
        require(
            pieces_fit,
            "film.piece_bytes",
            &format!("it must be a power of two from 16384 to {PAGE_LEN}"),
        )?;
        require(
            film.rate_bit_per_s <= RATE_MAX * 8
                && self.film_length() as f64 / f64::from(film.piece_bytes) <= PARTS_MAX,
            "film.piece_bytes",
            "the film has more than 1000000 pieces: make them larger, or the film shorter",
        )?;
        require(
            self.film_length() > film.head_bytes,
            "film.head_bytes",
            "it must be less than the film's length",
        )?;
        require(film.variation_percent <= 90, "film.variation_percent", "it must be at most 90")?;
        within(film.gop_s, 0.001, 3600.0, "film.gop_s")?;
        within(film.slot_s, 10.0, 3600.0, "film.slot_s")?;
        require(
            film.duration_s / film.gop_s <= PARTS_MAX,
            "film.gop_s",
            "the film has more than 1000000 key frames: make it larger",
        )
    }

    fn validate_catalogue(&self) -> Result<(), Fault> {
        let all = &self.catalogue;
        require(
            (1..=TITLES_MAX).contains(&all.titles),
            "catalogue.titles",
            &format!("it must be from 1 to {TITLES_MAX}"),
        )?;
        within(all.exponent, 0.0, 5.0, "catalogue.exponent")?;
        within(all.change_after_s, 0.001, SECONDS_MAX, "catalogue.change_after_s")?;
        if all.changes == 0 {
            return Ok(());
        }
        let key = "catalogue.changes";
        require(self.viewers > 0, key, "turning to another title needs viewers")?;
        require(
            all.changes < all.titles,
            key,
            "a viewer turns to titles it has not watched: it must be less than catalogue.titles",
        )?;
        require(
            self.play.rest == Rest::Nothing,
            "play.rest",
            "with catalogue.changes it must be \"nothing\": who turns to another title fetches no more of the first",
        )?;
        require(
            matches!(self.finish, Finish::Play | Finish::Limit),
            "finish",
            "with catalogue.changes it must be \"play\" or \"limit\"",
        )
    }

    fn validate_network(&self) -> Result<(), Fault> {
        let net = &self.network;
        for (key, value) in [
            ("network.rtt_ms", net.rtt_ms),
            ("network.plane_ms", net.plane_ms),
            ("network.jitter_ms", net.jitter_ms),
            ("disk.access_ms", self.disk.access_ms),
        ] {
            within(value, 0.0, DELAY_MS_MAX, key)?;
        }
        within(net.loss_percent, 0.0, 50.0, "network.loss_percent")?;
        within(self.node.queue_s, 0.0, 3600.0, "node.queue_s")?;
        require(
            net.send_queue_bytes >= 32 * 1024,
            "network.send_queue_bytes",
            "it must be at least 32768: a block and a half",
        )
    }

    /// Who comes when, and what viewers do.
    fn validate_course(&self) -> Result<(), Fault> {
        within(self.limit_s, 0.001, SECONDS_MAX, "limit_s")?;
        within(self.arrival.start_s, 0.0, SECONDS_MAX, "arrival.start_s")?;
        within(self.arrival.over_s, 0.0, SECONDS_MAX, "arrival.over_s")?;
        require(
            self.arrival.start_s < self.limit_s,
            "arrival.start_s",
            "nobody comes before the run ends: it must be less than limit_s",
        )?;
        require(
            self.finish != Finish::Play || self.viewers > 0,
            "finish",
            "\"play\" needs viewers; without them take \"complete\" or \"limit\"",
        )?;
        let play = &self.play;
        within(play.jump_first_s, 0.0, SECONDS_MAX, "play.jump_first_s")?;
        within(play.jump_every_s, 0.0, SECONDS_MAX, "play.jump_every_s")?;
        within(play.give_up_s, 0.0, SECONDS_MAX, "play.give_up_s")?;
        require(
            u64::from(play.cache_percent) <= 100 * (1 + u64::from(self.catalogue.changes)),
            "play.cache_percent",
            "it must be at most 100 for each title that a viewer watches",
        )?;
        within(play.session_s, 0.0, SECONDS_MAX, "play.session_s")?;
        within(play.session_shape, 0.1, 10.0, "play.session_shape")?;
        require(
            self.viewers == 0 || play.preroll_ms as f64 <= self.film.duration_s * 1000.0,
            "play.preroll_ms",
            "it must not be longer than the film",
        )?;
        require(play.jumps == 0 || self.viewers > 0, "play.jumps", "jumps need viewers")?;
        require(
            play.jumps == 0
                || play.manner == Manner::Browse
                || play.jump_to != JumpTo::Unfetched
                || self.film.duration_s >= 4.0,
            "play.jump_to",
            "\"unfetched\" needs a film of at least 4 s",
        )
    }

    fn validate_faults(&self) -> Result<(), Fault> {
        let faults = &self.faults;
        within(faults.loss_percent, 0.0, 50.0, "faults.loss_percent")?;
        for (key, value) in [
            ("faults.from_s", faults.from_s),
            ("faults.heal_s", faults.heal_s),
            ("faults.partition_s", faults.partition_s),
        ] {
            within(value, 0.0, SECONDS_MAX, key)?;
        }
        for (key, percent) in [
            ("faults.churn_percent", faults.churn_percent),
            ("faults.crash_percent", faults.crash_percent),
            ("faults.slow_disk_percent", faults.slow_disk_percent),
            ("faults.full_disk_percent", faults.full_disk_percent),
            ("faults.corrupt_percent", faults.corrupt_percent),
            ("faults.liar_percent", faults.liar_percent),
        ] {
            require(percent <= 100, key, "it must be at most 100")?;
        }
        require(
            !faults.must_finish || faults.from_s <= faults.heal_s && faults.heal_s < self.limit_s,
            "faults.heal_s",
            "faults.from_s, faults.heal_s and limit_s must ascend",
        )
    }
}

/// The line on which a dotted key stands in a file, from 1. Keys are looked for under their table's heading, or whole.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let (table, name) = key.rsplit_once('.').unwrap_or(("", key));
    let mut here = "";
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(heading) = line.strip_prefix('[') {
            here = heading.split(']').next().unwrap_or_default().trim();
            continue;
        }
        let Some((left, _)) = line.split_once('=') else { continue };
        let left = left.trim();
        if (here == table && left == name) || (here.is_empty() && left == key) {
            return Some(number + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::line_of;
    use crate::scenario::{BUILTIN, Scenario};

    fn refusal(text: &str, set: &[&str]) -> String {
        let set: Vec<String> = set.iter().map(|&item| item.to_owned()).collect();
        Scenario::parse(text, &set).expect_err("refused")
    }

    #[test]
    fn unknown_keys_are_refused_with_the_line_and_the_keys_that_exist() {
        let text = refusal("peers = 3\n[film]\nrate = 5\n", &[]);
        assert!(text.contains("line 3") && text.contains("rate_bit_per_s"), "{text}");
        let text = refusal("[film]\nformat = \"v3\"\n", &[]);
        assert!(text.contains("line 2") && text.contains("hybrid"), "{text}");
        let text = refusal("peers = 3\n", &["film.format=v3"]);
        assert!(text.contains("film") && text.contains("format"), "{text}");
        assert!(text.contains("hybrid"), "{text}");
        assert!(refusal("peers = 3\n", &["upload.speed=3"]).contains("factor"));
        assert!(refusal("peers = 3\n", &["peers"]).contains("KEY=VALUE"));
    }

    #[test]
    fn impossible_scenarios_are_refused_before_they_run() {
        for (text, part) in [
            ("[server]\ncount = 0", "line 2, `server.count`: nobody holds"),
            ("[server]\ncount = 0\n[halves]\ncount = 1", "nobody holds"),
            ("peers = 0", "line 1, `peers`: it must be at least 1"),
            ("viewers = 2", "`viewers`: they are some of the peers"),
            ("[upload]\nbytes_per_s = 0", "line 2, `upload.bytes_per_s`: rates must be from 100"),
            ("[server]\ncount = 1\nup_bytes_per_s = 0", "line 3, `server.up_bytes_per_s`: rates"),
            ("[server]\ncount = 1\ndown_bytes_per_s = 9", "`server.down_bytes_per_s`"),
            ("[download]\nfactor = inf", "`download.factor`"),
            ("[upload]\nmix = [1.0, 0.0]", "`upload.mix`: its numbers must be positive"),
            ("[film]\nrate_bit_per_s = 0", "`film.rate_bit_per_s`: give film.length_bytes"),
            ("[film]\nduration_s = inf", "`film.duration_s`: it must be from 0 to 10000000"),
            ("[film]\nduration_s = nan", "`film.duration_s`"),
            ("[film]\npiece_bytes = 100_000", "`film.piece_bytes`: it must be a power of two"),
            ("[film]\nlength_bytes = 900_000_000_000_000", "more than 1000000 pieces"),
            ("[film]\nlength_bytes = 1000\nhead_bytes = 2000", "line 3, `film.head_bytes`"),
            ("[film]\ngop_s = 0.0", "`film.gop_s`"),
            ("[film]\nslot_s = 5.0", "`film.slot_s`"),
            ("[catalogue]\ntitles = 0", "line 2, `catalogue.titles`: it must be from 1 to 1000"),
            ("[catalogue]\ntitles = 1001", "`catalogue.titles`: it must be from 1 to 1000"),
            ("[catalogue]\nexponent = nan", "`catalogue.exponent`: it must be from 0 to 5"),
            ("[catalogue]\nchange_after_s = 0.0", "`catalogue.change_after_s`"),
            ("[catalogue]\ntitles = 2\nchanges = 1", "line 3, `catalogue.changes`: turning"),
            ("viewers = 1\n[catalogue]\nchanges = 1", "less than catalogue.titles"),
            ("viewers = 1\n[catalogue]\ntitles = 2\nchanges = 1", "`play.rest`: with"),
            (
                "viewers = 1\nfinish = \"both\"\n[play]\nrest = \"nothing\"\n[catalogue]\ntitles = 2\nchanges = 1",
                "line 2, `finish`: with catalogue.changes",
            ),
            ("limit_s = nan", "`limit_s`"),
            ("limit_s = 5.0\n[arrival]\nstart_s = 9.0", "line 3, `arrival.start_s`: nobody comes"),
            ("[arrival]\nover_s = -1.0", "`arrival.over_s`"),
            ("finish = \"play\"", "`finish`: \"play\" needs viewers"),
            ("[lookup]\ngiven_max = 0", "`lookup.given_max`"),
            ("[play]\njumps = 1", "`play.jumps`: jumps need viewers"),
            ("viewers = 1\n[play]\npreroll_ms = 61000", "`play.preroll_ms`"),
            ("[play]\nsession_shape = 0.0", "`play.session_shape`: it must be from 0.1 to 10"),
            ("[play]\ngive_up_s = -1.0", "`play.give_up_s`"),
            ("[play]\ncache_percent = 101", "`play.cache_percent`"),
            ("[network]\nrtt_ms = -1.0", "`network.rtt_ms`: it must be from 0 to 60000"),
            ("[network]\nloss_percent = 51.0", "`network.loss_percent`"),
            ("[network]\nsend_queue_bytes = 10", "`network.send_queue_bytes`"),
            ("[disk]\nbytes_per_s = 0", "`disk.bytes_per_s`"),
            ("[faults]\nliar_percent = 101", "`faults.liar_percent`: it must be at most 100"),
            ("policy = \"magic\"", "bittorrent-rarest"),
            ("foreign = \"magic\"", "bittorrent-rarest"),
            ("foreign_seeds = \"magic\"", "`foreign_seeds`: there is no policy `magic`"),
            ("limit_s = 5.0\n[faults]\nmust_finish = true", "`faults.heal_s`"),
        ] {
            let refused = refusal(text, &[]);
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }

    #[test]
    fn a_bad_override_is_called_one() {
        let refused = refusal("peers = 3", &["upload.bytes_per_s=0"]);
        assert!(refused.contains("--set upload.bytes_per_s: rates must"), "{refused}");
    }

    #[test]
    fn lines_are_found_under_their_headings() {
        let text = "a = 1\nb.c = 2\n[b]\na = 3\n # [x]\n[ d ]\na=4";
        let line = |key| line_of(text, key);
        assert_eq!(
            (line("a"), line("b.c"), line("b.a"), line("d.a")),
            (Some(1), Some(2), Some(4), Some(7))
        );
        assert_eq!((line("c"), line("x.a")), (None, None));
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
