//! `shoal sim`: scenarios in virtual time, their reports, single seeds again, recordings of real runs again.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use shoal_sim::page;
use shoal_sim::report::{Report, table};
use shoal_sim::scenario::Scenario;
use shoal_sim::{Heard, Host, Options, Source};
use tokio::runtime::Runtime;

use crate::cli::{Sim, SimRun};
use crate::error::Error;
use crate::output::Output;
use crate::stop::Stop;

/// Seeds of a run that names none.
const SEEDS: (u64, u64) = (1, 10);
/// Most seeds of one run: their rows are kept until the end.
const SEEDS_MAX: u64 = 100_000;
/// Time between two looks at the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

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

/// Most values of one sweep: what one page of a report takes.
const SWEEP_MAX: usize = page::RUNS_MAX;

/// The values of a sweep as overrides `KEY=VALUE`. Commas inside brackets or quotes part nothing.
fn sweep(text: &str) -> Result<Vec<String>, Error> {
    let fault = || {
        Error::Usage(format!(
            "`--sweep {text}`: write a key and its values, for example upload.factor=0.9,1.3,2.0"
        ))
    };
    let (key, all) = text.split_once('=').ok_or_else(fault)?;
    let (mut depth, mut quoted) = (0u32, false);
    let values = all.split(|letter: char| {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            '"' => quoted = !quoted,
            _ => {}
        }
        letter == ',' && depth == 0 && !quoted
    });
    let values: Vec<&str> = values.map(str::trim).collect();
    if key.trim().is_empty() || values.iter().any(|value| value.is_empty()) {
        return Err(fault());
    }
    if values.len() > SWEEP_MAX {
        return Err(Error::Usage(format!("a sweep takes at most {SWEEP_MAX} values")));
    }
    let items: Vec<String> = values.iter().map(|value| format!("{}={value}", key.trim())).collect();
    let folders: BTreeSet<String> = items.iter().map(|item| folder_of(item)).collect();
    if folders.len() < items.len() {
        return Err(Error::Usage(format!("`--sweep {text}` names a value twice")));
    }
    Ok(items)
}

/// The folder of one value of a sweep.
fn folder_of(item: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "=.-".contains(letter);
    item.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect()
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
    let items = arguments.sweep.as_deref().map(sweep).transpose()?.unwrap_or_default();
    if arguments.policy.is_some() && items.iter().any(|item| item.starts_with("policy=")) {
        return Err(Error::Usage("give either --policy or --sweep policy=..".to_owned()));
    }
    let mut runs: Vec<(Option<String>, Options)> = Vec::new();
    for item in items {
        let mut options = options.clone();
        options.set.push(item.clone());
        runs.push((Some(item), options));
    }
    if runs.is_empty() {
        runs.push((None, options));
    }
    // All of them are looked at before the first one runs.
    for (_, options) in &runs {
        options.scenario().map_err(Error::new)?;
    }
    // It listens for interruptions beside the threads of the worlds.
    let runtime = super::runtime()?;
    let stopped = interruptions(&runtime)?;
    let started = Instant::now();
    let mut output = Output::new(arguments.json, 0);
    let mut broken = Ok(());
    for (item, options) in &runs {
        let run = Running { arguments, item: item.as_deref(), options, started };
        match run.run(&stopped, &mut output) {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            done => broken = broken.and(done),
        }
    }
    broken
}

/// One run: the only one, or one value of a sweep.
struct Running<'a> {
    arguments: &'a SimRun,
    item: Option<&'a str>,
    options: &'a Options,
    started: Instant,
}

impl Running<'_> {
    fn run(&self, stopped: &AtomicBool, output: &mut Output) -> Result<(), Error> {
        let (options, started) = (self.options, self.started);
        let scenario = options.scenario().map_err(Error::new)?;
        let quiet = self.arguments.json || !std::io::stderr().is_terminal();
        let begun = started.elapsed();
        let mut progress = Progress::new(&scenario, options.seeds.len());
        let mut told = |heard: Heard<'_>| {
            if let Heard::Done(row) = heard {
                for violation in &row.violations {
                    output.warn(&format!("seed {}: {violation}", row.seed));
                }
            }
            if let Some(line) = progress.hear(heard, started.elapsed().saturating_sub(begun))
                && !quiet
            {
                output.progress(&line, Instant::now());
            }
        };
        let report = shoal_sim::run(
            options,
            Host {
                wall_ms: &|| u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
                peak_bytes: &peak_bytes,
                progress: &mut told,
                stopped: &|| stopped.load(Ordering::Relaxed),
            },
        )
        .map_err(Error::new)?;
        self.finish(&report, output)
    }

    /// Prints and writes what there is.
    fn finish(&self, report: &Report, output: &mut Output) -> Result<(), Error> {
        let (arguments, total) = (self.arguments, self.options.seeds.len());
        let done = report.seeds.len();
        if done > 0 {
            let mut summary = report.summary();
            if let Some(item) = self.item {
                output.say(item);
                summary["sweep"] = json!(item);
            }
            output.say(table(std::slice::from_ref(&summary)).trim_end());
            summary["event"] = json!("summary");
            let elapsed = self.started.elapsed();
            summary["t_ms"] = json!(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
            output.event(&summary.to_string());
            if let Some(dir) = &arguments.out {
                let dir = self.item.map_or_else(|| dir.clone(), |item| dir.join(folder_of(item)));
                report.write(&dir).map_err(|error| {
                    let dir = dir.display();
                    Error::new(format!("the report cannot be written to {dir}: {error}"))
                })?;
            }
        }
        if report.interrupted {
            let kept = if done > 0 && arguments.out.is_some() { " and written" } else { "" };
            output.warn(&format!("interrupted: {done} of {total} seeds were finished{kept}"));
            return Err(Error::Interrupted);
        }
        let broken: Vec<u64> = report.broken().map(|row| row.seed).collect();
        let set = self.item.map_or_else(String::new, |item| format!(" --set {item}"));
        match broken.first() {
            None => Ok(()),
            Some(seed) => Err(Error::new(format!(
                "{} of {total} seeds broke a rule; see `shoal sim replay {}{set} --seed {seed}`",
                broken.len(),
                arguments.scenario
            ))),
        }
    }
}

/// Becomes true once the user interrupts; a second interruption ends the process.
fn interruptions(runtime: &Runtime) -> Result<Arc<AtomicBool>, Error> {
    let stopped = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&stopped);
    let mut stop = {
        let _inside = runtime.enter();
        Stop::listen()?
    };
    runtime.spawn(async move {
        stop.asked().await;
        tell.store(true, Ordering::Relaxed);
    });
    Ok(stopped)
}

/// How far the seeds of a run are, in words.
#[derive(Debug)]
struct Progress {
    name: String,
    total: usize,
    /// Virtual time that a seed is thought to take, until one has shown it, milliseconds.
    expected_ms: f64,
    /// Virtual time of finished seeds, milliseconds.
    done_ms: f64,
    done: usize,
    /// Virtual time of those under way, milliseconds.
    under_way: BTreeMap<u64, u64>,
    /// Wall time at which it last spoke.
    spoke: Option<Duration>,
}

impl Progress {
    fn new(scenario: &Scenario, total: usize) -> Self {
        Self {
            name: scenario.name.clone(),
            total,
            expected_ms: scenario.expected_s() * 1000.0,
            done_ms: 0.0,
            done: 0,
            under_way: BTreeMap::new(),
            spoke: None,
        }
    }
    /// Takes in what was heard after `elapsed` of wall time; a line when it is time for one.
    fn hear(&mut self, heard: Heard<'_>, elapsed: Duration) -> Option<String> {
        match heard {
            Heard::At { seed, virtual_ms } => {
                self.under_way.insert(seed, virtual_ms);
            }
            Heard::Done(row) => {
                self.done += 1;
                self.done_ms += self.under_way.remove(&row.seed).unwrap_or_default() as f64;
                self.expected_ms = self.done_ms / self.done as f64;
            }
        }
        if self.spoke.is_some_and(|last| elapsed - last < PROGRESS_EVERY) {
            return None;
        }
        self.spoke = Some(elapsed);
        Some(self.line(elapsed))
    }
    fn line(&self, elapsed: Duration) -> String {
        let now: f64 = self.under_way.values().map(|&ms| ms as f64).sum();
        let wall_s = elapsed.as_secs_f64().max(0.001);
        let speed = (self.done_ms + now) / 1000.0 / wall_s;
        // A seed that lasts longer than expected is about to end.
        let under_way = self.under_way.values().map(|&ms| (self.expected_ms - ms as f64).max(0.0));
        let waiting = self.total.saturating_sub(self.done + self.under_way.len()) as f64;
        let left_ms = under_way.sum::<f64>() + waiting * self.expected_ms;
        let left = if speed > 0.0 {
            let seconds = left_ms / 1000.0 / speed;
            format!(", about {} left", words_of(Duration::from_secs_f64(seconds.clamp(0.0, 1e9))))
        } else {
            String::new()
        };
        let at = self.under_way.values().next().map_or(0, |ms| ms / 1000);
        format!(
            "{}: {} of {} seeds done, {at} s simulated, {speed:.1} s per second{left}",
            self.name, self.done, self.total
        )
    }
}

/// A duration as people say it.
fn words_of(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5999 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
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
    for (policy, cells) in page::ablations(&runs) {
        for (scenario, cell) in cells {
            output.say(&format!("{policy:<26}{scenario:<18}{}", page::words(&cell)));
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn a_sweep_names_a_key_and_its_values() {
        let items = |text: &str| super::sweep(text).ok();
        let two = ["upload.factor=0.9".to_owned(), "upload.factor=2.0".to_owned()];
        assert_eq!(items("upload.factor=0.9, 2.0"), Some(two.to_vec()));
        let lists = items("upload.mix=[1.0,2.0],[1.0]").expect("two lists");
        assert_eq!(lists, ["upload.mix=[1.0,2.0]", "upload.mix=[1.0]"]);
        assert_eq!(super::folder_of(&lists[0]), "upload.mix=_1.0_2.0_");
        for wrong in ["peers", "=1,2", "peers=", "peers=1,,2", "peers=1,1", "about=a/b,a_b"] {
            assert_eq!(items(wrong), None, "{wrong}");
        }
        assert!(items(&format!("peers={}", vec!["1"; 201].join(","))).is_none());
    }

    use shoal_sim::Heard;
    use shoal_sim::scenario::Scenario;

    use super::{Progress, words_of};

    #[test]
    fn progress_tells_time_speed_seeds_and_what_is_left() {
        let text = "name = \"x\"\nlimit_s = 100.0\nfinish = \"limit\"";
        let scenario = Scenario::parse(text, &[]).expect("a scenario");
        let mut progress = Progress::new(&scenario, 4);
        let at = |seed, virtual_ms| Heard::At { seed, virtual_ms };
        let first = progress.hear(at(1, 0), Duration::ZERO).expect("it begins to speak");
        assert_eq!(first, "x: 0 of 4 seeds done, 0 s simulated, 0.0 s per second");
        assert!(progress.hear(at(2, 20_000), Duration::from_millis(10)).is_none(), "too soon");
        // Two seeds at 50 and 20 s after 7 s of wall time: ten times as fast; 330 s are left.
        let line = progress.hear(at(1, 50_000), Duration::from_secs(7)).expect("it speaks");
        assert_eq!(
            line,
            "x: 0 of 4 seeds done, 50 s simulated, 10.0 s per second, about 33 s left"
        );
    }

    #[test]
    fn durations_are_rounded_to_what_matters() {
        for (seconds, words) in [(0, "0 s"), (99, "99 s"), (150, "2 min"), (7300, "2 h")] {
            assert_eq!(words_of(Duration::from_secs(seconds)), words);
        }
    }
}
