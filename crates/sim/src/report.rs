//! What a set of runs leaves behind: `summary.json`, `peers.csv`, `seeks.csv`, `server.csv`, `trace.hash`, and a table for
//! people.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::metrics::{PEER_METRICS, RUN_METRICS, SeedRow, TitleRow, number as number_of, summary};
use crate::stage::{Role, SERIES_NS};

/// Runs of one scenario under one policy.
#[derive(Clone, Debug)]
pub struct Report {
    /// Scenario name.
    pub scenario: String,
    /// Policy name.
    pub policy: String,
    /// The whole scenario as it was run.
    pub settings: Value,
    /// Length of each title, bytes.
    pub film_bytes: f64,
    /// One row per seed, ascending.
    pub seeds: Vec<SeedRow>,
    /// Some seeds were asked for and are missing.
    pub interrupted: bool,
}

impl Report {
    /// `summary.json`.
    #[must_use]
    pub fn summary(&self) -> Value {
        let mut metrics = Map::new();
        for &name in PEER_METRICS {
            let of = |row: &SeedRow| -> Vec<f64> {
                let peers = row.peers.iter();
                peers.filter_map(|peer| value_of(&peer.values, name)).collect()
            };
            metrics.insert(name.into(), self.pooled(of));
        }
        let seeks = |row: &SeedRow| -> Vec<f64> {
            row.peers.iter().flat_map(|peer| peer.seeks_ms.iter().copied()).collect()
        };
        metrics.insert("seek_ms".into(), self.pooled(seeks));
        let later = |row: &SeedRow| -> Vec<f64> {
            row.peers.iter().flat_map(|peer| peer.later_startups_ms.iter().copied()).collect()
        };
        metrics.insert("later_startup_ms".into(), self.pooled(later));
        for &name in RUN_METRICS {
            let of = |row: &SeedRow| value_of(&row.values, name).into_iter().collect();
            metrics.insert(name.into(), self.pooled(of));
        }
        let seeds: Vec<u64> = self.seeds.iter().map(|row| row.seed).collect();
        let broken: Vec<Value> = self
            .seeds
            .iter()
            .filter(|row| !row.violations.is_empty())
            .map(|row| json!({ "seed": row.seed, "violations": row.violations }))
            .collect();
        json!({
            "scenario": self.scenario,
            "policy": self.policy,
            "seeds": seeds,
            "settings": self.settings,
            "metrics": metrics,
            "titles": self.titles(),
            "broken": broken,
            "interrupted": self.interrupted,
        })
    }
    /// Each title: peers and server copies, mean over the seeds, and the offload of all seeds together. Empty where there is
    /// one title, of which the metrics say the same.
    fn titles(&self) -> Vec<Value> {
        let count = self.seeds.first().map_or(0, |row| row.titles.len());
        let seeds = self.seeds.len() as f64;
        let length = self.film_bytes;
        let of = |number: usize, pick: fn(&TitleRow) -> f64| -> f64 {
            self.seeds.iter().filter_map(|row| row.titles.get(number)).map(pick).sum()
        };
        let title = |number: usize| {
            let served = of(number, |title| title.server_bytes);
            let wanted = of(number, |title| title.wanted_bytes);
            json!({
                "title": number + 1,
                "peers": number_of(of(number, |title| f64::from(title.peers)) / seeds),
                "server_copies": number_of(served / seeds / length),
                "offload": if wanted > 0.0 { number_of(1.0 - served / wanted) } else { Value::Null },
            })
        };
        if count > 1 { (0..count).map(title).collect() } else { Vec::new() }
    }
    fn pooled(&self, of: impl Fn(&SeedRow) -> Vec<f64>) -> Value {
        let rows: Vec<Vec<f64>> = self.seeds.iter().map(of).collect();
        let per_seed: Vec<Option<f64>> = rows
            .iter()
            .map(|row| (!row.is_empty()).then(|| row.iter().sum::<f64>() / row.len() as f64))
            .collect();
        let mut all: Vec<f64> = rows.into_iter().flatten().collect();
        summary(&mut all, &per_seed)
    }
    /// `peers.csv`: one row per seed and peer; empty where a figure has no meaning, `inf` where it never happened.
    #[must_use]
    pub fn peers_csv(&self) -> String {
        let mut text = format!("seed,peer,role,{},seek_ms\n", PEER_METRICS.join(","));
        for peer in self.seeds.iter().flat_map(|row| &row.peers) {
            let role = match peer.role {
                Role::Viewer => "viewer",
                _ => "fetcher",
            };
            let _ = write!(text, "{},{},{role}", peer.seed, peer.host);
            for &name in PEER_METRICS {
                match value_of(&peer.values, name) {
                    Some(value) => {
                        let _ = write!(text, ",{}", (value * 1e6).round() / 1e6);
                    }
                    None => text.push(','),
                }
            }
            let mean = peer.seeks_ms.iter().sum::<f64>() / peer.seeks_ms.len() as f64;
            if mean.is_nan() {
                text.push_str(",\n");
            } else {
                let _ = writeln!(text, ",{mean:.3}");
            }
        }
        text
    }
    /// `trace.hash`: seed and hash per line.
    #[must_use]
    pub fn trace_hash(&self) -> String {
        self.seeds.iter().map(|row| format!("{} {}\n", row.seed, row.trace)).collect()
    }
    /// `seeks.csv`: one row per seek, `inf` for one that never landed.
    #[must_use]
    pub fn seeks_csv(&self) -> String {
        let mut text = "seed,peer,seek_ms\n".to_owned();
        for peer in self.seeds.iter().flat_map(|row| &row.peers) {
            for ms in &peer.seeks_ms {
                let _ = writeln!(text, "{},{},{ms}", peer.seed, peer.host);
            }
        }
        text
    }
    /// `server.csv`: film bytes that the servers sent, one row per seed and stretch of five seconds, which begins at `t_s`.
    #[must_use]
    pub fn server_csv(&self) -> String {
        let mut text = "seed,t_s,film_bytes\n".to_owned();
        for row in &self.seeds {
            for (number, bytes) in row.server_film.iter().enumerate() {
                let at = number as u64 * SERIES_NS / 1_000_000_000;
                let _ = writeln!(text, "{},{at},{bytes}", row.seed);
            }
        }
        text
    }
    /// Writes the files into a folder, which is made.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        let summary = serde_json::to_string_pretty(&self.summary()).map_err(io::Error::other)?;
        std::fs::write(folder.join("summary.json"), summary + "\n")?;
        std::fs::write(folder.join("peers.csv"), self.peers_csv())?;
        std::fs::write(folder.join("seeks.csv"), self.seeks_csv())?;
        std::fs::write(folder.join("server.csv"), self.server_csv())?;
        std::fs::write(folder.join("trace.hash"), self.trace_hash())
    }
    /// Seeds whose run broke a rule.
    pub fn broken(&self) -> impl Iterator<Item = &SeedRow> {
        self.seeds.iter().filter(|row| !row.violations.is_empty())
    }
}

fn value_of(values: &[(&'static str, Option<f64>)], name: &str) -> Option<f64> {
    values.iter().find(|entry| entry.0 == name).and_then(|entry| entry.1)
}

/// Lines of the table: what people compare first.
const TABLE: &[(&str, &str, &str)] = &[
    ("startup_ms", "p50", "startup p50 ms"),
    ("startup_ms", "p90", "startup p90 ms"),
    ("startup_ms", "max", "startup worst ms"),
    ("startup_over_floor", "p90", "startup / floor p90"),
    ("later_startup_ms", "p50", "next title p50 ms"),
    ("later_startup_ms", "p90", "next title p90 ms"),
    ("stalls", "mean", "stalls mean"),
    ("stalls", "max", "stalls worst"),
    ("stall_ratio", "mean", "stall ratio mean"),
    ("seek_ms", "p50", "seek p50 ms"),
    ("seek_ms", "p95", "seek p95 ms"),
    ("continuity", "mean", "continuity mean"),
    ("server_copies", "mean", "server copies"),
    ("server_copies_least", "mean", "server copies, least"),
    ("server_streams_least", "max", "streams at once, least"),
    ("offload", "mean", "offload"),
    ("data_efficiency", "mean", "data efficiency"),
    ("wire_efficiency", "mean", "wire efficiency"),
    ("control_overhead", "mean", "control overhead"),
    ("waste", "mean", "waste mean"),
    ("waste", "max", "waste worst"),
    ("complete_ms", "max", "last complete ms"),
    ("distribution_ratio", "mean", "over fluid bound"),
    ("distribution_ratio", "max", "over bound, worst"),
    ("messages", "mean", "messages"),
    ("virtual_ms", "mean", "virtual ms"),
    ("wall_ms", "mean", "wall ms"),
];

/// Lines of summaries side by side: a label, and a figure for each; only lines that say something. `inf` is what never
/// happened.
#[must_use]
pub fn lines(summaries: &[Value]) -> Vec<(&'static str, Vec<String>)> {
    let says = |cell: &Value, part: &str| {
        let per_seed = cell["per_seed"].as_array();
        per_seed.is_some_and(|all| !all.iter().all(Value::is_null))
            || [part, "p50", "mean"].iter().any(|part| !cell[part].is_null())
    };
    let shown = |cell: &Value, part: &str| match cell[part].as_f64() {
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) => format!("{value:.3}"),
        None if says(cell, part) => "inf".into(),
        None => String::new(),
    };
    TABLE
        .iter()
        .map(|&(metric, part, label)| {
            (label, part, summaries.iter().map(|s| &s["metrics"][metric]).collect::<Vec<_>>())
        })
        .filter(|(_, part, cells)| cells.iter().any(|cell| says(cell, part)))
        .map(|(label, part, cells)| (label, cells.iter().map(|cell| shown(cell, part)).collect()))
        .collect()
}

/// The same as text, one column each.
#[must_use]
pub fn table(summaries: &[Value]) -> String {
    let mut text = format!("{:<22}", "");
    for summary in summaries {
        let name = summary["policy"].as_str().unwrap_or("?");
        let _ = write!(text, " {name:>20}");
    }
    text.push('\n');
    for (label, cells) in lines(summaries) {
        let _ = write!(text, "{label:<22}");
        for cell in cells {
            let _ = write!(text, " {cell:>20}");
        }
        text.push('\n');
    }
    for summary in summaries {
        let broken = summary["broken"].as_array().map_or(0, Vec::len);
        if broken > 0 {
            let _ = writeln!(text, "{}: {broken} seeds broke a rule", summary["policy"]);
        }
    }
    text
}
