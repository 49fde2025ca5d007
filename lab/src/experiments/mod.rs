//! What can be measured. Each experiment is a file with its numbers at the top; this page lists them.

mod bulk;
mod instrument;

use crate::fault::{Fault, Tried};
use crate::figures::Report;
use crate::world::Bench;

/// Names of the experiments.
pub(crate) const NAMES: [&str; 3] = ["instrument", "bulk-16", "bulk-64"];

/// What the command line may change of an experiment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    /// Runs to pool.
    pub(crate) runs: Option<u32>,
    /// Number of leechers.
    pub(crate) peers: Option<u32>,
}

/// Whether a missed target of this experiment is always a failure.
pub(crate) fn always_strict(name: &str) -> bool {
    name == "small"
}

/// Runs an experiment; each report comes when it is ready.
pub(crate) fn run<'b>(
    name: &str,
    bench: &'b Bench,
    choices: &'b Choices,
) -> Box<dyn Iterator<Item = Tried<Report>> + 'b> {
    match name {
        "instrument" => Box::new(std::iter::once_with(|| instrument::run(bench, choices))),
        "bulk-16" => Box::new(bulk::even(choices).map(|set| bulk::run(bench, choices, &set))),
        "bulk-64" => Box::new(std::iter::once_with(|| {
            bulk::run(bench, choices, &bulk::fast_source(choices))
        })),
        _ => Box::new(std::iter::once(Err(Fault::new(format!("there is no experiment {name}"))))),
    }
}
