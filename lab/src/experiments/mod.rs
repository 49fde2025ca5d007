//! What can be measured. Each experiment is a file with its numbers at the top; this page lists them.

mod asynchronous;
mod bulk;
mod foreign_bulk;
mod instrument;
mod small;
mod streams;

use crate::fault::{Fault, Tried};
use crate::figures::Report;
use crate::world::Bench;

/// Names of the experiments.
pub(crate) const NAMES: [&str; 10] = [
    "instrument",
    "small",
    "bulk-16",
    "bulk-64",
    "bulk-foreign",
    "fresh",
    "four-viewers",
    "foreign",
    "a-small",
    "b-small",
];

/// What the command line may change of an experiment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choices {
    /// Runs to pool.
    pub(crate) runs: Option<u32>,
    /// Number of leechers.
    pub(crate) peers: Option<u32>,
    /// Share of their length to which the asynchronous experiments are shortened.
    pub(crate) scale: f64,
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
    let one: fn(&Bench, &Choices) -> Tried<Report> = match name {
        "bulk-16" => {
            return Box::new(bulk::even(choices).map(|set| bulk::run(bench, choices, &set)));
        }
        "bulk-foreign" => return Box::new(foreign_bulk::run(bench, choices)),
        "small" => return Box::new(small::run(bench, choices)),
        "bulk-64" => |bench, choices| bulk::run(bench, choices, &bulk::fast_source(choices)),
        "instrument" => instrument::run,
        "fresh" => streams::fresh,
        "four-viewers" => streams::four_viewers,
        "foreign" => streams::foreign,
        "a-small" => asynchronous::a_small,
        "b-small" => asynchronous::b_small,
        _ => |_, _| Err(Fault::new("there is no such experiment")),
    };
    Box::new(std::iter::once_with(move || one(bench, choices)))
}
