//! The fuzz targets of this crate over their seeds and damaged copies of them, with an ordinary compiler.

#[path = "../../../fuzz/src/serve.rs"]
#[expect(unreachable_pub, reason = "it is a public module of the crate of fuzz targets")]
mod serve;

use std::path::Path;

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
    for (name, target) in serve::TARGETS {
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
    for (name, _) in serve::TARGETS {
        assert!(folder.join(name).with_extension("rs").is_file(), "{name}");
    }
}
