//! Planted bugs: each is caught by its line of `seeds.txt`, by the rule named there, and the same run without it is sound.

mod common;

use std::collections::BTreeSet;

use common::{options, play};
use shoal_sim::Options;
use shoal_sim::plant::Plant;

struct Case {
    plant: Plant,
    options: Options,
    words: Vec<String>,
}

fn cases() -> Vec<Case> {
    include_str!("../seeds.txt")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let mut parts = line.split_whitespace();
            let mut next = || parts.next().unwrap_or_else(|| panic!("{line}"));
            let (plant, scenario, seeds, words) = (next(), next(), next(), next());
            let (first, last) = seeds.split_once("..").unwrap_or_else(|| panic!("{line}"));
            let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line}"));
            let set: Vec<&str> = parts.collect();
            let mut options = options(scenario, number(first)..=number(last), &set);
            options.strict = true;
            Case {
                plant: Plant::find(plant).unwrap_or_else(|| panic!("no plant: {line}")),
                options,
                words: words.split('|').map(|word| word.replace('-', " ")).collect(),
            }
        })
        .collect()
}

#[test]
fn every_planted_bug_is_caught_by_its_seeds() {
    for Case { plant, mut options, words } in cases() {
        options.plant = Some(plant);
        let report = play(&options);
        let broken: Vec<&String> =
            report.broken().filter_map(|row| row.violations.first()).collect();
        let caught = broken.iter().any(|text| words.iter().any(|word| text.contains(word)));
        assert!(caught, "{plant:?}: {broken:?} instead of {words:?}");
    }
}

#[test]
fn the_same_seeds_are_sound_without_the_bugs() {
    for Case { plant, options, .. } in cases() {
        let report = play(&options);
        let broken: Vec<&Vec<String>> = report.broken().map(|row| &row.violations).collect();
        assert!(broken.is_empty(), "{plant:?}: {broken:?}");
    }
}

#[test]
fn every_plant_has_a_line() {
    let listed: BTreeSet<Plant> = cases().iter().map(|case| case.plant).collect();
    assert_eq!(listed.len(), Plant::ALL.len());
}
