//! What `sim run --out` wrote, read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::scenario::Scenario;

/// Most files of one page: more lines than this nobody tells apart.
pub const RUNS_MAX: usize = 200;

/// One folder of results.
#[derive(Clone, Debug)]
pub struct Run {
    /// Name of its folder.
    pub folder: String,
    /// Name of its scenario.
    pub scenario: String,
    /// Name of its policy.
    pub policy: String,
    /// `summary.json`.
    pub summary: Value,
    /// Settings by dotted key, as text.
    pub settings: BTreeMap<String, String>,
    /// The scenario, when this version still understands it.
    pub plan: Option<Scenario>,
    /// `peers.csv` by column; empty cells are left out.
    pub peers: BTreeMap<String, Vec<f64>>,
    /// `seeks.csv`: milliseconds, infinite for what never landed.
    pub seeks: Vec<f64>,
    /// `server.csv`: second at which a stretch begins, and film bytes in it, mean over the seeds that lasted so long.
    pub server: Vec<(f64, f64)>,
}

impl Run {
    /// Reads a folder that holds a `summary.json`.
    ///
    /// # Errors
    /// A sentence with the file, what is wrong with it, and what to do.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let file = folder.join("summary.json");
        let summary: Value = serde_json::from_str(&text(&file)?)
            .map_err(|error| format!("{} is no summary: {error}", file.display()))?;
        let word = |key: &str| {
            let found = summary.get(key).and_then(Value::as_str).map(str::to_owned);
            found.ok_or_else(|| format!("{} is no summary: it lacks `{key}`", file.display()))
        };
        for key in ["metrics", "settings"] {
            if !summary.get(key).is_some_and(Value::is_object) {
                return Err(format!("{} is no summary: it lacks `{key}`", file.display()));
            }
        }
        let mut settings = BTreeMap::new();
        flatten("", &summary["settings"], &mut settings);
        let peers = columns(&folder.join("peers.csv"))?;
        // Older results have neither; then there is nothing to draw.
        let optional = |name: &str| {
            let file = folder.join(name);
            if file.is_file() { columns(&file) } else { Ok(BTreeMap::new()) }
        };
        let seeks = optional("seeks.csv")?.remove("seek_ms").unwrap_or_default();
        let server = mean_by_time(&optional("server.csv")?);
        let name = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
        Ok(Self {
            folder: name.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            scenario: word("scenario")?,
            policy: word("policy")?,
            plan: serde_json::from_value(summary["settings"].clone()).ok(),
            settings,
            peers,
            seeks,
            server,
            summary,
        })
    }
    /// A column of `peers.csv`; empty when there is none.
    #[must_use]
    pub fn column(&self, name: &str) -> &[f64] {
        self.peers.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Folders in a folder, by name.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut below: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    below.sort();
    below
}

/// Reads the results in a folder: its own, those of its subfolders, and of sweeps in them, by name.
///
/// # Errors
/// A sentence when there are none, too many, or some cannot be read.
pub fn read_runs(folder: &Path) -> Result<Vec<Run>, String> {
    if !folder.is_dir() {
        return Err(format!("there is no folder {}", folder.display()));
    }
    let mut folders = vec![folder.to_path_buf()];
    for folder in below(folder) {
        let sweep = below(&folder);
        folders.push(folder);
        folders.extend(sweep);
    }
    folders.retain(|folder| folder.join("summary.json").is_file());
    if folders.is_empty() {
        return Err(format!(
            "{} holds no summary.json: give a folder that `shoal sim run --out` wrote, or one that holds several of them",
            folder.display()
        ));
    }
    if folders.len() > RUNS_MAX {
        return Err(format!(
            "{} holds results of {} runs; a report takes at most {RUNS_MAX}",
            folder.display(),
            folders.len()
        ));
    }
    folders.iter().map(|folder| Run::read(folder)).collect()
}

fn text(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| {
        format!("{} cannot be read: {error}; run it again with --out", file.display())
    })
}

/// Cells of a table of numbers by the names in its first line. A column whose cells are words is left out.
fn columns(file: &Path) -> Result<BTreeMap<String, Vec<f64>>, String> {
    let text = text(file)?;
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    let mut columns: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (number, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split(',').collect();
        if cells.len() != names.len() {
            return Err(format!(
                "{} line {}: {} cells under {} names; run it again with --out",
                file.display(),
                number + 2,
                cells.len(),
                names.len()
            ));
        }
        for (name, cell) in names.iter().zip(cells).filter(|(name, _)| **name != "role") {
            let column = columns.entry((*name).to_owned()).or_default();
            if cell.is_empty() {
                continue;
            }
            let value = cell.parse().map_err(|_| {
                format!("{} line {}: `{cell}` is no number", file.display(), number + 2)
            })?;
            column.push(value);
        }
    }
    Ok(columns)
}

/// A figure for people: whole above 100, three decimals below.
pub(super) fn text_of(value: f64) -> String {
    match value {
        value if !value.is_finite() => "never".to_owned(),
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value => format!("{value:.3}"),
    }
}

/// Mean film bytes of each stretch over the seeds that have it.
fn mean_by_time(table: &BTreeMap<String, Vec<f64>>) -> Vec<(f64, f64)> {
    let (Some(times), Some(bytes)) = (table.get("t_s"), table.get("film_bytes")) else {
        return Vec::new();
    };
    let mut sums: BTreeMap<u64, (f64, u32)> = BTreeMap::new();
    for (time, bytes) in times.iter().zip(bytes) {
        let sum = sums.entry(*time as u64).or_default();
        *sum = (sum.0 + bytes, sum.1 + 1);
    }
    sums.into_iter().map(|(time, (sum, n))| (time as f64, sum / f64::from(n))).collect()
}

/// Puts the leaves of a value under dotted keys.
fn flatten(key: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                flatten(&below, value, into);
            }
        }
        Value::String(text) => {
            into.insert(key.to_owned(), text.clone());
        }
        other => {
            into.insert(key.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::mean_by_time;

    #[test]
    fn the_servers_rate_is_the_mean_of_the_seeds_that_lasted() {
        let table = [("t_s", vec![0.0, 5.0, 0.0]), ("film_bytes", vec![10.0, 7.0, 30.0])];
        let table = table.map(|(name, cells)| (name.to_owned(), cells)).into();
        assert_eq!(mean_by_time(&table), [(0.0, 20.0), (5.0, 7.0)]);
    }
}
