//! Policies beside what ships: where each wins and where it loses, over the same seeds of the same settings.
//!
//! A policy wins a figure when its mean over the seeds is better by a share and by an amount that somebody would notice, and it
//! is better in four of five seeds; it loses one likewise. Everything else is even.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::load::text_of;
use super::{Run, SILENT};
use crate::plot::escape;
use crate::policy::POLICIES;

/// Better by less than this share is even.
const SHARE_LEAST: f64 = 0.03;
/// Seeds that must agree, of five.
const SEEDS_OF_FIVE: usize = 4;

/// A figure that policies are compared by.
struct Figure {
    metric: &'static str,
    name: &'static str,
    /// Better by less than this is even.
    least: f64,
    /// More of it is better.
    more: bool,
    /// A mean that is missing is infinite: it is the time of what never happened.
    endless: bool,
}

const fn less(metric: &'static str, name: &'static str, least: f64) -> Figure {
    Figure { metric, name, least, more: false, endless: false }
}

const fn time(metric: &'static str, name: &'static str, least: f64) -> Figure {
    Figure { endless: true, ..less(metric, name, least) }
}

const FIGURES: &[Figure] = &[
    time("startup_ms", "start", 20.0),
    time("later_startup_ms", "next start", 20.0),
    less("stalls", "stalls", 0.05),
    less("stall_ratio", "time stalled", 0.000_5),
    time("seek_ms", "seek", 20.0),
    less("server_copies", "server", 0.02),
    Figure { more: true, ..less("wire_efficiency", "efficiency", 0.003) },
    time("distribution_ratio", "distribution", 0.005),
];

/// What came of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    /// Better than what ships.
    Wins,
    /// Worse.
    Loses,
    /// Neither.
    Even,
}

/// Compares means of seeds, pair by pair, with the means over those that both have. `None` when there is nothing to compare.
fn judge(figure: &Figure, ours: &Value, theirs: &Value) -> Option<(Verdict, f64, f64)> {
    let means = |of: &Value| -> Vec<Option<f64>> {
        let seeds = of[figure.metric]["per_seed"].as_array().map_or(&[][..], Vec::as_slice);
        seeds
            .iter()
            .map(|mean| mean.as_f64().or_else(|| figure.endless.then_some(f64::INFINITY)))
            .collect()
    };
    let pairs = means(ours).into_iter().zip(means(theirs));
    let pairs: Vec<(f64, f64)> = pairs.filter_map(|(old, new)| Some((old?, new?))).collect();
    // A figure that no seed of either has is none; one that never happened under one policy alone is its worst.
    if pairs.iter().all(|pair| pair.0.is_infinite() && pair.1.is_infinite()) {
        return None;
    }
    let (ours, theirs): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (before, after) = (mean(&ours), mean(&theirs));
    let is_better = |new: f64, old: f64| if figure.more { new > old } else { new < old };
    let agree = |wins: bool| {
        let count = pairs
            .iter()
            .filter(|(old, new)| if wins { is_better(*new, *old) } else { is_better(*old, *new) })
            .count();
        count * 5 >= pairs.len() * SEEDS_OF_FIVE
    };
    let gap = (after - before).abs();
    let is_seen = !gap.is_finite() || gap >= figure.least && gap >= SHARE_LEAST * before.abs();
    let verdict = match (is_seen, agree(true), agree(false)) {
        (true, true, _) => Verdict::Wins,
        (true, _, true) => Verdict::Loses,
        _ => Verdict::Even,
    };
    Some((verdict, before, after))
}

/// What a policy did in one scenario.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Cell {
    /// Figures in which it is better, with the values of what ships and of the policy.
    pub wins: Vec<(&'static str, f64, f64)>,
    /// Figures in which it is worse.
    pub loses: Vec<(&'static str, f64, f64)>,
}

/// Policies in the order of their list; for each what it did by scenario, with the settings in which runs of it differ.
pub type Ablations<'a> = Vec<(&'a str, BTreeMap<String, Cell>)>;

/// A scenario with the settings, besides the policy, in which its runs differ.
fn label(runs: &[Run], run: &Run) -> String {
    let alike = |key: &str| {
        let mut others = runs.iter().filter(|other| other.scenario == run.scenario);
        SILENT.contains(&key)
            || others.all(|other| other.settings.get(key) == run.settings.get(key))
    };
    let own = run.settings.iter().filter(|(key, _)| !alike(key));
    own.fold(run.scenario.clone(), |label, (key, value)| format!("{label}, {key}={value}"))
}

/// Compares every run with the run of `shoal` that has the same scenario, settings and seeds. Empty where there is no pair.
#[must_use]
pub fn ablations(runs: &[Run]) -> Ablations<'_> {
    let same = |a: &Run, b: &Run| {
        let settings = |run: &Run| {
            let all = run.settings.iter().filter(|(key, _)| *key != "policy");
            all.map(|(key, value)| (key.clone(), value.clone())).collect::<Vec<_>>()
        };
        a.scenario == b.scenario
            && a.summary["seeds"] == b.summary["seeds"]
            && settings(a) == settings(b)
    };
    let mut found = Vec::new();
    for policy in POLICIES.iter().filter(|policy| policy.name != "shoal") {
        let mut cells = BTreeMap::new();
        for run in runs.iter().filter(|run| run.policy == policy.name) {
            let default = runs.iter().find(|other| other.policy == "shoal" && same(other, run));
            let Some(default) = default else { continue };
            let cell: &mut Cell = cells.entry(label(runs, run)).or_default();
            for figure in FIGURES {
                let metrics = |run: &Run| run.summary["metrics"].clone();
                match judge(figure, &metrics(default), &metrics(run)) {
                    Some((Verdict::Wins, old, new)) => cell.wins.push((figure.name, old, new)),
                    Some((Verdict::Loses, old, new)) => cell.loses.push((figure.name, old, new)),
                    _ => {}
                }
            }
        }
        if !cells.is_empty() {
            found.push((policy.name, cells));
        }
    }
    found
}

/// A cell in words: `+ start 1810 to 1520; - stalls 0.1 to 0.9`, or `even`.
#[must_use]
pub fn words(cell: &Cell) -> String {
    let list = |sign: &str, all: &[(&str, f64, f64)]| {
        let each = all
            .iter()
            .map(|(name, old, new)| format!("{name} {} to {}", text_of(*old), text_of(*new)));
        let each: Vec<String> = each.collect();
        (!each.is_empty()).then(|| format!("{sign} {}", each.join(", ")))
    };
    let parts: Vec<String> =
        list("+", &cell.wins).into_iter().chain(list("\u{2212}", &cell.loses)).collect();
    if parts.is_empty() { "even".to_owned() } else { parts.join("; ") }
}

/// The table for the page; nothing where there is no pair.
pub(super) fn section(out: &mut String, runs: &[Run]) {
    let all = ablations(runs);
    let keys = all.iter().flat_map(|(_, cells)| cells.keys().map(String::as_str));
    let mut scenarios: Vec<&str> = keys.collect();
    scenarios.sort_unstable();
    scenarios.dedup();
    if scenarios.is_empty() {
        return;
    }
    out.push_str(
        "<h2>Ablations</h2>\n<p>Policies beside shoal, each with the same settings and seeds. Plus: better; minus: worse, with \
         the means of shoal and of the policy. A difference counts when it is at least 3 %, large enough to be noticed, and \
         of the same sign in four of five seeds; starts and seeks are in milliseconds, server in copies of a film.</p>\n\
         <div class=\"wide\"><table class=\"words\"><thead><tr><th></th>",
    );
    for scenario in &scenarios {
        let _ = write!(out, "<th>{}</th>", escape(scenario));
    }
    out.push_str("</tr></thead><tbody>\n");
    for (policy, cells) in &all {
        let _ = write!(out, "<tr><th>{}</th>", escape(policy));
        for scenario in &scenarios {
            let text = cells.get(*scenario).map_or_else(String::new, words);
            let _ = write!(out, "<td>{}</td>", escape(&text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{FIGURES, Verdict, judge};

    fn verdict(metric: &str, ours: &[f64], theirs: &[f64]) -> Option<Verdict> {
        let figure = FIGURES.iter().find(|figure| figure.metric == metric).expect("a figure");
        let of = |means: &[f64]| json!({ metric: { "per_seed": means } });
        judge(figure, &of(ours), &of(theirs)).map(|judged| judged.0)
    }

    #[test]
    fn a_difference_counts_when_it_is_large_and_the_seeds_agree() {
        let ours = [1000.0, 1100.0, 1200.0, 1300.0, 1400.0];
        let plus = |by: f64| ours.map(|value| value + by);
        assert_eq!(verdict("startup_ms", &ours, &plus(-100.0)), Some(Verdict::Wins));
        assert_eq!(verdict("startup_ms", &ours, &plus(100.0)), Some(Verdict::Loses));
        assert_eq!(verdict("startup_ms", &ours, &plus(-30.0)), Some(Verdict::Even), "2.5 %");
        let mixed = [500.0, 600.0, 1250.0, 1350.0, 1450.0];
        assert_eq!(verdict("startup_ms", &ours, &mixed), Some(Verdict::Even), "two of five");
        assert_eq!(verdict("stalls", &[0.01; 5], &[0.03; 5]), Some(Verdict::Even), "too few");
        let efficiency = verdict("wire_efficiency", &[0.80; 5], &[0.85; 5]);
        assert_eq!(efficiency, Some(Verdict::Wins), "more is better");
        assert_eq!(verdict("seek_ms", &[], &[]), None);
    }

    #[test]
    fn what_never_happens_is_worst() {
        let never = json!({ "startup_ms": { "per_seed": [null, null] } });
        let some = json!({ "startup_ms": { "per_seed": [900.0, 950.0] } });
        let figure = &FIGURES[0];
        assert_eq!(judge(figure, &some, &never).map(|judged| judged.0), Some(Verdict::Loses));
        assert_eq!(judge(figure, &never, &some).map(|judged| judged.0), Some(Verdict::Wins));
        assert_eq!(judge(figure, &never, &never), None);
        // Who never starts has no time stalled.
        let never = json!({ "stall_ratio": { "per_seed": [null, null] } });
        let some = json!({ "stall_ratio": { "per_seed": [0.1, 0.2] } });
        let ratio = FIGURES.iter().find(|figure| figure.metric == "stall_ratio").expect("one");
        assert_eq!(judge(ratio, &some, &never), None);
    }
}
