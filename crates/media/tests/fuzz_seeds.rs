//! The fuzz targets of this crate over their seeds and damaged copies of them, with an ordinary compiler.

#[path = "../../../fuzz/src/media.rs"]
#[expect(unreachable_pub, reason = "it is a public module of the crate of fuzz targets")]
mod media;

use std::path::Path;

use proptest::prelude::*;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a readable seed")).collect()
}

#[test]
fn every_target_survives_its_seeds_whole_cut_and_damaged() {
    for (name, target) in media::TARGETS {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            target(&seed);
            let step = seed.len() / 200 + 1;
            for at in (0..seed.len()).step_by(step) {
                target(&seed[..at]);
                for change in [0x01, 0x10, 0x80] {
                    let mut damaged = seed.clone();
                    damaged[at] ^= change;
                    target(&damaged);
                }
            }
        }
        target(&[]);
    }
}

#[test]
fn every_target_with_a_body_here_is_a_program_too() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fuzz_targets");
    for (name, _) in media::TARGETS {
        assert!(folder.join(name).with_extension("rs").is_file(), "{name}");
    }
}

/// Times and places of a film of twelve seconds, and extremes.
fn number() -> impl Strategy<Value = u64> {
    let extremes = prop::sample::select(vec![0, 1 << 33, i64::MAX as u64, 1 << 63, u64::MAX]);
    prop_oneof![8 => 0..13_000u64, 8 => 0..120_000u64, 1 => extremes, 1 => any::<u64>()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn an_index_that_lies_breaks_no_promise(
        which in any::<u8>(),
        duration_ms in number(),
        mut times in prop::collection::vec(number(), 0..30),
        mut places in prop::collection::vec(number(), 30),
        is_sorted in any::<(bool, bool)>(),
    ) {
        if is_sorted.0 {
            times.sort_unstable();
        }
        if is_sorted.1 {
            places.sort_unstable();
        }
        let mut data = [&[which][..], &duration_ms.to_be_bytes()].concat();
        for (time, place) in times.into_iter().zip(places) {
            data.extend([time, place].into_iter().flat_map(u64::to_be_bytes));
        }
        media::lying_index(&data);
    }
}
