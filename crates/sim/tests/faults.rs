//! Swarm testing: many seeds, each with its own random faults. No rule may be broken, and after healing every viewer with a
//! path to the data must finish. `SHOAL_SIM_SEEDS=A..B` runs others than the default ones.

mod common;

use common::{options, play};

fn seeds() -> std::ops::RangeInclusive<u64> {
    let wanted = std::env::var("SHOAL_SIM_SEEDS").ok();
    let parsed = wanted.as_deref().and_then(|text| {
        let (from, to) = text.split_once("..")?;
        Some((from.parse().ok()?, to.parse().ok()?))
    });
    let (from, to) = parsed.unwrap_or((1, 200));
    from..=to
}

fn survive(name: &str, set: &[&str]) {
    let mut options = options(name, seeds(), set);
    options.strict = true;
    let report = play(&options);
    let stories: Vec<String> = report
        .broken()
        .map(|row| format!("seed {}: {}\n{}", row.seed, row.violations.join("\n"), row.story))
        .collect();
    assert!(stories.is_empty(), "{} seeds broke a rule; the first:\n{}", stories.len(), stories[0]);
}

#[test]
fn every_seed_survives_its_faults_with_hybrid_titles() {
    survive("faults", &[]);
}

#[test]
fn every_seed_survives_its_faults_with_little_room_on_the_disk() {
    survive("faults", &["play.cache_percent=40", "film.piece_bytes=32768"]);
}

#[test]
fn every_seed_survives_its_faults_with_little_room_and_whole_pieces() {
    survive("faults", &["play.cache_percent=40", "film.piece_bytes=32768", "film.format=v1"]);
}

#[test]
fn every_seed_survives_its_faults_with_v1_titles_and_magnets() {
    survive("faults", &["film.format=v1", "link.form=magnet"]);
}

#[test]
fn every_seed_survives_its_faults_with_v2_titles_and_a_directory() {
    survive("faults", &["film.format=v2", "lookup.find=directory"]);
}
