//! What the tests of worlds share.

use shoal_sim::report::Report;
use shoal_sim::{Heard, Host, Options, run};

/// Runs without a clock: tests do not measure time.
pub(crate) fn play(options: &Options) -> Report {
    let progress = &mut |_: Heard<'_>| {};
    run(options, Host { wall_ms: &|| 0, peak_bytes: &|| None, progress, stopped: &|| false })
        .expect("a scenario that can be run")
}

/// A built-in scenario with overrides.
pub(crate) fn options(name: &str, seeds: std::ops::RangeInclusive<u64>, set: &[&str]) -> Options {
    let mut options = Options::named(name, seeds);
    options.set = set.iter().map(|&item| item.to_owned()).collect();
    options.threads = 2;
    options
}
