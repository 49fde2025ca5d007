//! Hot paths with their instructions counted: `shoal-counts CASE` does the work of one case and prints how many units of
//! it were done; `bench/counts.py` runs it under callgrind, which counts only what happens inside [`counted`].
//!
//! Instructions, not time: the same program gives the same number on a busy machine. What they do not show (caches, system
//! calls, threads) is the business of `bench/throughput.py`.

mod formats;
mod pair;

use std::process::ExitCode;

use pair::Side;
use shoal_wire::metainfo::Version;

/// A case: its name, what one unit of it is, and its work, which returns the number of units.
type Case = (&'static str, &'static str, fn() -> u64);

/// All cases. A name that changes needs a new baseline.
const CASES: [Case; 11] = [
    ("wire/decode", "message", formats::decode_stream),
    ("wire/encode", "message", formats::encode_stream),
    ("wire/frames", "frame", formats::find_frames),
    ("wire/torrent-v1", "piece", || formats::parse_torrent(Version::V1)),
    ("wire/torrent-hybrid", "piece", || formats::parse_torrent(Version::Hybrid)),
    ("wire/leaves", "piece", formats::check_leaves),
    ("node/leech-v1", "block", || pair::exchange(Version::V1, Side::Leech)),
    ("node/leech-v2", "block", || pair::exchange(Version::V2, Side::Leech)),
    ("node/seed-v1", "block", || pair::exchange(Version::V1, Side::Seed)),
    ("node/seed-v2", "block", || pair::exchange(Version::V2, Side::Seed)),
    ("node/leech-hybrid", "block", || pair::exchange(Version::Hybrid, Side::Leech)),
];

/// What callgrind counts: everything below this function and nothing else.
#[inline(never)]
pub(crate) fn counted<T>(work: impl FnOnce() -> T) -> T {
    std::hint::black_box(work())
}

#[expect(clippy::print_stdout, reason = "the script beside it reads what is printed")]
fn main() -> ExitCode {
    let wanted = std::env::args().nth(1);
    let case = CASES.iter().find(|case| Some(case.0) == wanted.as_deref());
    match case {
        Some((_, _, work)) => println!("{}", work()),
        None => CASES.iter().for_each(|(name, unit, _)| println!("{name} {unit}")),
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_a_name_of_its_own_and_does_its_work() {
        for (index, (name, _, work)) in CASES.iter().enumerate() {
            assert!(CASES[..index].iter().all(|other| other.0 != *name), "{name} twice");
            assert!(work() > 0, "{name} does nothing");
        }
    }
}
