//! Runs: seeds of a scenario under a policy, several at once on threads, each world on one.
//!
//! The wall clock and the memory in use are asked of the caller ([`Host`]); this crate has neither.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use shoal_node::record::{self, Records};

use crate::metrics::{self, SeedRow};
use crate::network::Matrix;
use crate::plant::Plant;
use crate::policy::{self, POLICIES, Policy};
use crate::report::Report;
use crate::scenario::{BUILTIN, DelayKind, Scenario, builtin};
use crate::stage::{Stage, StageOptions};

/// What is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of a built-in scenario, or the text of a scenario file.
    pub scenario: Source,
    /// Seeds, in this order.
    pub seeds: Vec<u64>,
    /// Policy; `None` is the scenario's own.
    pub policy: Option<String>,
    /// Overrides `KEY=VALUE`.
    pub set: Vec<String>,
    /// Text of a table of round trips.
    pub rtt: Option<String>,
    /// Worlds at once; 0 is one.
    pub threads: usize,
    /// Follow every request and keep the last turns in words: slower, for faults.
    pub strict: bool,
    /// A bug to plant.
    pub plant: Option<Plant>,
}

/// Where a scenario comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A built-in one by name.
    Name(String),
    /// The text of a file.
    Text(String),
}

impl Options {
    /// One seed of a built-in scenario.
    #[must_use]
    pub fn named(name: &str, seeds: impl IntoIterator<Item = u64>) -> Self {
        Self {
            scenario: Source::Name(name.into()),
            seeds: seeds.into_iter().collect(),
            policy: None,
            set: Vec::new(),
            rtt: None,
            threads: 1,
            strict: false,
            plant: None,
        }
    }
    /// The scenario with its overrides.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn scenario(&self) -> Result<Scenario, String> {
        let text = match &self.scenario {
            Source::Text(text) => text.as_str(),
            Source::Name(name) => builtin(name).ok_or_else(|| {
                let names: Vec<&str> = BUILTIN.iter().map(|entry| entry.0).collect();
                format!("there is no scenario `{name}`; there are {}", names.join(", "))
            })?,
        };
        Scenario::parse(text, &self.set)
    }
}

/// What the caller lends: clocks of the machine, and an ear.
pub struct Host<'a> {
    /// Milliseconds from any start.
    pub wall_ms: &'a (dyn Fn() -> u64 + Sync),
    /// Most bytes the process has had in use, if that is known.
    pub peak_bytes: &'a (dyn Fn() -> Option<u64> + Sync),
    /// Is told how far the runs are.
    pub progress: &'a mut dyn FnMut(Heard<'_>),
    /// Whether all runs should end where they are.
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

/// What the caller hears of a run.
#[derive(Clone, Copy, Debug)]
pub enum Heard<'a> {
    /// A seed's world has come to this virtual time.
    At {
        /// The seed.
        seed: u64,
        /// Milliseconds.
        virtual_ms: u64,
    },
    /// A seed is finished.
    Done(&'a SeedRow),
}

/// What a thread of worlds says.
enum Said {
    At { seed: u64, virtual_ms: u64 },
    Done(Box<SeedRow>),
    Failed(String),
}

impl std::fmt::Debug for Host<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Host")
    }
}

/// Name and sentence of each built-in scenario.
#[must_use]
pub fn list() -> Vec<(String, String)> {
    BUILTIN
        .iter()
        .map(|(name, text)| {
            let about = Scenario::parse(text, &[]).map(|s| s.about).unwrap_or_else(|e| e);
            ((*name).to_owned(), about)
        })
        .collect()
}

/// Name and sentence of each policy.
#[must_use]
pub fn policies() -> Vec<(&'static str, &'static str)> {
    POLICIES.iter().map(|policy| (policy.name, policy.about)).collect()
}

/// Runs all seeds. Broken rules are in the report, not an error. Once [`Host::stopped`] says so, seeds that are not
/// finished are left out, and the report says that it was interrupted.
///
/// # Errors
/// A sentence when the scenario, the policy or the table of round trips is no good.
pub fn run(options: &Options, host: Host<'_>) -> Result<Report, String> {
    let (scenario, policy, matrix) = prepare(options)?;
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel::<Said>();
    let Host { wall_ms, peak_bytes, progress, stopped } = host;
    let mut rows: Vec<SeedRow> = Vec::with_capacity(options.seeds.len());
    let mut failed = None;
    let one = |seed: u64, sender: &mpsc::Sender<Said>| -> Option<Said> {
        let stage = stage_options(options, seed, policy, matrix.as_ref(), options.strict);
        let begun = wall_ms();
        let mut stage = match Stage::new(&scenario, &stage) {
            Ok(stage) => stage,
            Err(error) => return Some(Said::Failed(error)),
        };
        let over = stage.run(None, &mut |virtual_ms| {
            sender.send(Said::At { seed, virtual_ms }).is_ok() && !stopped()
        });
        let wall = wall_ms().saturating_sub(begun) as f64;
        let peak = peak_bytes().map(|bytes| bytes as f64);
        over.then(|| Said::Done(Box::new(metrics::read(&stage, seed, (Some(wall), peak)))))
    };
    std::thread::scope(|scope| {
        let threads = options.threads.clamp(1, options.seeds.len().max(1));
        for _ in 0..threads {
            let (sender, next, one) = (sender.clone(), &next, &one);
            scope.spawn(move || {
                while let Some(&seed) = options.seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let Some(said) = one(seed, &sender) else { return };
                    if sender.send(said).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for said in receiver {
            match said {
                Said::At { seed, virtual_ms } => progress(Heard::At { seed, virtual_ms }),
                Said::Done(row) => {
                    progress(Heard::Done(&row));
                    rows.push(*row);
                }
                Said::Failed(error) => failed = Some(error),
            }
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    rows.sort_by_key(|row| row.seed);
    let settings = serde_json::to_value(&scenario).map_err(|error| error.to_string())?;
    let name = if scenario.name.is_empty() { "unnamed".into() } else { scenario.name.clone() };
    let interrupted = rows.len() < options.seeds.len();
    Ok(Report {
        scenario: name,
        policy: policy.name.into(),
        settings,
        film_bytes: scenario.film_length() as f64,
        seeds: rows,
        interrupted,
    })
}

/// Reads what the options name, so that nothing runs that cannot.
fn prepare(options: &Options) -> Result<(Scenario, &'static Policy, Option<Matrix>), String> {
    let scenario = options.scenario()?;
    let policy = policy::find(options.policy.as_deref().unwrap_or(&scenario.policy))?;
    let matrix = options.rtt.as_deref().map(Matrix::parse).transpose()?;
    if scenario.network.kind == DelayKind::File && matrix.is_none() {
        return Err("network.kind = \"file\" needs a table: give --rtt FILE".into());
    }
    Ok((scenario, policy, matrix))
}

fn stage_options<'a>(
    options: &Options,
    seed: u64,
    policy: &'a Policy,
    rtt: Option<&'a Matrix>,
    words: bool,
) -> StageOptions<'a> {
    StageOptions { seed, policy, rtt, strict: options.strict, words, plant: options.plant }
}

/// What a replayed seed shows.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Trace hash where it was stopped.
    pub trace: String,
    /// Turns until then.
    pub turns: u64,
    /// Virtual time reached, milliseconds.
    pub now_ms: u64,
    /// The last turns in words.
    pub last_turns: String,
    /// Faults of this seed.
    pub faults: String,
    /// Rules broken.
    pub violations: Vec<String>,
}

/// Runs one seed again, with its turns in words, to its end or to `until_ms`.
///
/// # Errors
/// As [`run`].
pub fn replay(options: &Options, seed: u64, until_ms: Option<u64>) -> Result<Replay, String> {
    let (scenario, policy, matrix) = prepare(options)?;
    let stage = stage_options(options, seed, policy, matrix.as_ref(), true);
    let mut stage = Stage::new(&scenario, &stage)?;
    stage.run(until_ms.map(|ms| ms.saturating_mul(1_000_000)), &mut |_| true);
    let world = &stage.world;
    Ok(Replay {
        trace: world.trace.digest().to_string(),
        turns: world.trace.turns(),
        now_ms: world.now() / 1_000_000,
        last_turns: world.trace.last_turns(crate::trace::TURNS_KEPT),
        faults: stage.plan.to_string(),
        violations: world.checks.violations().iter().map(ToString::to_string).collect(),
    })
}

/// What came of living through a record again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// Inputs in the record.
    pub inputs: u64,
    /// Inputs whose effects were compared, and were the same.
    pub same: u64,
    /// Time from the first to the last input, milliseconds.
    pub span_ms: u64,
}

/// Lives through the record of a real run (`--record FILE`) with the same core, comparing all effects.
///
/// # Errors
/// A sentence: the file is no record, is of another version or settings, or the effects differ.
pub fn replay_record(file: Bytes) -> Result<Replayed, String> {
    let (header, records) = Records::open(file).map_err(|error| error.to_string())?;
    let mut replay = record::Replay::new(&header).map_err(|error| error.to_string())?;
    for record in records {
        let record = record.map_err(|error| error.to_string())?;
        replay.step(record).map_err(|error| error.to_string())?;
    }
    Ok(Replayed {
        inputs: replay.inputs(),
        same: replay.checked(),
        span_ms: replay.now().as_millis().saturating_sub(header.start.as_millis()),
    })
}
