//! `shoal sim`: scenarios in virtual time, their reports, single seeds again, recordings of real runs again.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use shoal_sim::page;
use shoal_sim::report::table;
use shoal_sim::{Host, Options, Source};

use crate::cli::{Sim, SimRun};
use crate::error::Error;
use crate::output::Output;

/// Seeds of a run that names none.
const SEEDS: (u64, u64) = (1, 10);
/// Most seeds of one run: their rows are kept until the end.
const SEEDS_MAX: u64 = 100_000;

/// Runs the command.
pub(crate) fn run(command: Sim) -> Result<(), Error> {
    match command {
        Sim::List { json } => {
            list(json);
            Ok(())
        }
        Sim::Run(arguments) => scenario(&arguments),
        Sim::Report { dir } => report(&dir),
        Sim::Replay { scenario, seed, until, set, policy } => {
            replay(&scenario, seed, until, set, policy)
        }
        Sim::ReplayRecord { file } => replay_record(&file),
    }
}

fn list(json: bool) {
    let mut output = Output::new(json, 0);
    for (name, about) in shoal_sim::list() {
        output.event(&json!({ "scenario": name, "about": about }).to_string());
        output.say(&format!("{name:<18}{about}"));
    }
    output.say("\nPolicies (--policy):");
    for (name, about) in shoal_sim::policies() {
        output.say(&format!("{name:<24}{about}"));
    }
}

/// A scenario by name, or the text of a file.
fn source(name: &str) -> Result<Source, Error> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|ending| ending == "toml") || path.is_file();
    if !is_file {
        return Ok(Source::Name(name.to_owned()));
    }
    read_text(path).map(Source::Text)
}

fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::new(format!("{} cannot be read: {error}", path.display())))
}

fn scenario(arguments: &SimRun) -> Result<(), Error> {
    let (first, last) = match (arguments.seed, arguments.seeds) {
        (Some(seed), _) => (seed, seed),
        (None, Some(range)) => range,
        (None, None) => SEEDS,
    };
    if last - first >= SEEDS_MAX {
        return Err(Error::Usage(format!(
            "a run takes at most {SEEDS_MAX} seeds; run it in parts"
        )));
    }
    let options = Options {
        scenario: source(&arguments.scenario)?,
        seeds: (first..=last).collect(),
        policy: arguments.policy.clone(),
        set: arguments.set.clone(),
        rtt: arguments.rtt.as_deref().map(read_text).transpose()?,
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        strict: arguments.strict,
        plant: None,
    };
    let started = Instant::now();
    let mut output = Output::new(false, 0);
    let (mut done, total) = (0, options.seeds.len());
    let mut told = |row: &shoal_sim::metrics::SeedRow| {
        done += 1;
        for violation in &row.violations {
            output.warn(&format!("seed {}: {violation}", row.seed));
        }
        output.progress(&format!("{done} of {total} seeds"), Instant::now());
    };
    let report = shoal_sim::run(
        &options,
        Host {
            wall_ms: &|| u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            peak_bytes: &peak_bytes,
            progress: &mut told,
        },
    )
    .map_err(Error::new)?;
    output.say(table(&[report.summary()]).trim_end());
    if let Some(dir) = &arguments.out {
        report.write(dir).map_err(|error| {
            Error::new(format!("the report cannot be written to {}: {error}", dir.display()))
        })?;
    }
    let broken: Vec<u64> = report.broken().map(|row| row.seed).collect();
    match broken.first() {
        None => Ok(()),
        Some(seed) => Err(Error::new(format!(
            "{} of {total} seeds broke a rule; see `shoal sim replay {} --seed {seed}`",
            broken.len(),
            arguments.scenario
        ))),
    }
}

/// Draws what runs wrote, and prints its figures again.
fn report(dir: &Path) -> Result<(), Error> {
    let runs = page::read_runs(dir).map_err(Error::new)?;
    let (file, charts) = page::write(dir, &runs).map_err(Error::new)?;
    let mut output = Output::new(false, 0);
    for section in page::sections(&runs) {
        let summaries: Vec<_> =
            section.runs.iter().map(|named| named.run.summary.clone()).collect();
        output.say(&format!("{}\n{}", section.scenario, table(&summaries)));
    }
    output.say(&format!("{} with {charts} charts", file.display()));
    Ok(())
}

fn replay(
    scenario: &str,
    seed: u64,
    until: Option<Duration>,
    set: Vec<String>,
    policy: Option<String>,
) -> Result<(), Error> {
    let options = Options {
        scenario: source(scenario)?,
        seeds: vec![seed],
        policy,
        set,
        rtt: None,
        threads: 1,
        strict: true,
        plant: None,
    };
    let until_ms = until.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let replay = shoal_sim::replay(&options, seed, until_ms).map_err(Error::new)?;
    let mut output = Output::new(false, 0);
    output.say(&format!("faults    {}", replay.faults));
    output.say(replay.last_turns.trim_end());
    output.say(&format!("time      {} ms, {} turns", replay.now_ms, replay.turns));
    output.say(&format!("trace     {}", replay.trace));
    for violation in &replay.violations {
        output.say(&format!("broken    {violation}"));
    }
    if replay.violations.is_empty() {
        Ok(())
    } else {
        Err(Error::new(format!("seed {seed} broke {} rules", replay.violations.len())))
    }
}

fn replay_record(path: &Path) -> Result<(), Error> {
    let file = std::fs::read(path)
        .map_err(|error| Error::new(format!("{} cannot be read: {error}", path.display())))?;
    let done = shoal_sim::replay_record(file.into()).map_err(|error| {
        Error::new(format!("the recording {} does not replay: {error}", path.display()))
    })?;
    // A checkpoint stands behind every few inputs and at a good end; what follows the last one could not be compared.
    let mut out = std::io::stdout();
    let text = format!(
        "{} inputs over {} ms replayed; the effects of {} were compared and are the same",
        done.inputs, done.span_ms, done.same
    );
    let _ = writeln!(out, "{text}");
    Ok(())
}

/// Most memory this process has had in use, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
