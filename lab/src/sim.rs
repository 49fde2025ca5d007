//! The same numbers in virtual time: runs `shoal sim` on the scenario beside the laboratory, and says whether what was
//! measured lies within the band that was fixed before the first run.
//!
//! Copies of the simulator are film bytes, those of an interface are frames; for the comparison the latter are taken by the
//! share of film in a full frame (1448 of 1514 bytes), acknowledgements and messages left in.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::fault::{Doing, Fault, Tried};
use crate::figures::quantile;
use crate::party::Party;
use crate::world::Bench;

/// The scenarios beside the laboratory.
const SCENARIOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
/// Seeds pooled.
const SEEDS: &str = "1..5";
/// How long the simulator may take, seconds.
const LIMIT_S: f64 = 120.0;
/// Share of film bytes in a full frame.
const FILM_IN_FRAME: f64 = 1448.0 / 1514.0;

/// One figure, measured and simulated.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    /// Its name and unit.
    pub(crate) name: &'static str,
    /// What was measured.
    pub(crate) real: f64,
    /// What the simulator says.
    pub(crate) simulated: f64,
    /// How far apart they may be.
    pub(crate) band: f64,
}

impl Compared {
    /// Whether the two are as close as they must be.
    pub(crate) fn inside(&self) -> bool {
        (self.real - self.simulated).abs() <= self.band
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let finite = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
        json!({
            "name": self.name, "real": finite(self.real), "simulated": finite(self.simulated),
            "band": finite(self.band), "inside": self.inside(),
        })
    }
}

/// What the simulator found: its `summary.json`.
#[derive(Clone, Debug)]
pub(crate) struct Summary(Value);

impl Summary {
    /// Runs scenario NAME with some keys changed (`KEY=VALUE`).
    pub(crate) fn of(bench: &Bench, name: &str, set: &[String]) -> Tried<Self> {
        let folder = tempfile::Builder::new().prefix("shoal-lab-sim-").tempdir();
        let folder = folder.doing("make a folder")?;
        let scenario = Path::new(SCENARIOS).join(format!("{name}.toml"));
        let mut command = Command::new(&bench.shoal);
        command.args(["sim", "run"]).arg(scenario).args(["--seeds", SEEDS]).arg("--out");
        let words = folder.path().join("words");
        let file = fs::File::create(&words).doing("keep what the simulator says")?;
        command.arg(folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
        if bench.delay_ms > 0 {
            command.args(["--set", &format!("network.rtt_ms={}", 2 * bench.delay_ms)]);
        }
        for pair in set {
            command.args(["--set", pair]);
        }
        let mut child = command.spawn().doing("run the simulator")?;
        let watch = bench.watch.within(LIMIT_S);
        let waited = watch.until("the simulator", || child.try_wait().doing("run the simulator"));
        if waited.is_err() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if !waited?.success() {
            let words = fs::read_to_string(&words).unwrap_or_default();
            let last = words.lines().last().unwrap_or("");
            return Err(Fault::new(format!("the simulator failed on scenario {name}: {last}")));
        }
        let text = fs::read_to_string(folder.path().join("summary.json"));
        let text = text.doing("read what the simulator wrote")?;
        let value = serde_json::from_str(&text);
        value.map(Self).map_err(|_| Fault::new("the simulator wrote no JSON"))
    }

    /// A figure of it; NaN when it has none.
    pub(crate) fn value(&self, metric: &str, part: &str) -> f64 {
        self.0["metrics"][metric][part].as_f64().unwrap_or(f64::NAN)
    }

    /// The four figures of the band, measured over `parties` and simulated.
    pub(crate) fn beside(&self, parties: &[Party]) -> Vec<Compared> {
        let viewers = || parties.iter().flat_map(|party| &party.viewers);
        let starts: Vec<f64> = viewers()
            .map(|viewed| viewed.seen.start().map_or(f64::INFINITY, |start| start.frame_s * 1000.0))
            .collect();
        let copies: f64 = parties.iter().map(Party::copies).sum::<f64>() / parties.len() as f64;
        let taken: f64 = viewers().map(|viewed| viewed.counters.rx_ip_bytes() as f64).sum();
        let held: f64 =
            parties.iter().map(|party| party.length as f64 * party.viewers.len() as f64).sum();
        vec![
            self.start("startup p50 [ms]", &starts, 0.5, "p50"),
            self.start("startup p90 [ms]", &starts, 0.9, "p90"),
            self.copies(copies),
            self.efficiency(held / taken),
        ]
    }

    fn start(&self, name: &'static str, starts: &[f64], share: f64, part: &str) -> Compared {
        let simulated = self.value("startup_ms", part);
        let band = (simulated * 0.25).max(150.0);
        Compared { name, real: quantile(starts, share), simulated, band }
    }

    /// Copies, measured at the interface.
    pub(crate) fn copies(&self, at_interface: f64) -> Compared {
        let (real, simulated) = (at_interface * FILM_IN_FRAME, self.value("server_copies", "mean"));
        Compared { name: "film copies sent by publisher", real, simulated, band: simulated * 0.2 }
    }

    /// Film bytes over bytes received as IP counts them.
    pub(crate) fn efficiency(&self, real: f64) -> Compared {
        let simulated = self.value("wire_efficiency", "mean");
        Compared { name: "film bytes / IP bytes received", real, simulated, band: 0.02 }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Compared, Summary};

    #[test]
    fn the_band_is_a_quarter_or_150_ms_of_the_simulated_start() {
        let summary = |start: f64| Summary(json!({"metrics": {"startup_ms": {"p50": start}}}));
        for (start, band) in [(100.0, 150.0), (600.0, 150.0), (2000.0, 500.0)] {
            assert_eq!(summary(start).start("x", &[1.0], 0.5, "p50").band, band);
        }
    }

    #[test]
    fn what_never_came_is_outside() {
        let compared = |real| Compared { name: "x", real, simulated: 1.0, band: 0.2 };
        assert!(compared(1.1).inside());
        assert!(!compared(1.3).inside() && !compared(f64::INFINITY).inside());
        let nothing = Summary(json!({})).copies(1.0);
        assert!(!nothing.inside(), "a simulator that says nothing agrees with nothing");
    }
}
