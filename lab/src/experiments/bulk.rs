//! `bulk-16`, `bulk-64`: how long until the last of N fresh leechers has a file, and how often its publisher sent it.
//!
//! The clock runs from the start of the first `shoal get` process to the moment at which the last says `complete`; the
//! bound is that of the link rates, without headers.

use std::time::Instant;

use serde_json::{Value, json};

use super::Choices;
use crate::content;
use crate::fault::{Fault, Tried};
use crate::figures::{Figure, Report};
use crate::sim::{Compared, Summary};
use crate::timeline::Timeline;
use crate::world::{Bench, Peer, World, same};

/// Length of the file, bytes.
pub(super) const LENGTH: u64 = 32 << 20;
/// Uplink of every leecher, bit/s.
pub(super) const LEECHER: u64 = 16_000_000;
/// Runs unless asked otherwise, as in the baselines.
const RUNS: u32 = 3;
/// A run that takes this many times the bound is given up.
const PATIENCE: f64 = 10.0;

/// One point of the experiment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Set {
    length: u64,
    /// Name of the simulator's scenario.
    scenario: Option<&'static str>,
    leechers: u32,
    source: u64,
    ratio: f64,
    copies: Option<f64>,
    baseline_ratio: &'static str,
    baseline_copies: &'static str,
}

/// The publisher is as fast as each leecher.
pub(crate) fn even(choices: &Choices) -> impl Iterator<Item = Set> + use<> {
    let counts = choices.peers.map_or_else(|| vec![4, 8, 16], |count| vec![count]);
    counts.into_iter().map(|leechers| {
        let (baseline_ratio, baseline_copies) = match leechers {
            ..=4 => ("libtorrent 2.00, rqbit 2.63", "libtorrent 1.96, rqbit 2.41"),
            5..=8 => ("libtorrent 2.07, rqbit 4.48", "libtorrent 2.04, rqbit 4.43"),
            9.. => ("libtorrent 2.24, rqbit 7.89", "libtorrent 2.21, rqbit 7.84"),
        };
        Set {
            length: LENGTH,
            scenario: Some("bulk"),
            leechers,
            source: LEECHER,
            ratio: 1.18,
            copies: Some(1.12),
            baseline_ratio,
            baseline_copies,
        }
    })
}

/// The publisher is four times as fast.
pub(crate) fn fast_source(choices: &Choices) -> Set {
    Set {
        length: LENGTH,
        scenario: Some("bulk"),
        leechers: choices.peers.unwrap_or(8),
        source: 4 * LEECHER,
        ratio: 1.15,
        copies: None,
        baseline_ratio: "libtorrent 1.18, rqbit 2.52",
        baseline_copies: "libtorrent 3.06, rqbit 6.27",
    }
}

/// Three leechers and a short file, with limits that only a broken program misses.
pub(crate) fn little() -> Set {
    Set {
        length: LENGTH / 4,
        scenario: None,
        leechers: 3,
        source: LEECHER,
        ratio: 2.5,
        copies: Some(2.2),
        baseline_ratio: "",
        baseline_copies: "",
    }
}

/// Seconds that a fluid would need: the source's link, or all links together. Downlinks are not limited.
pub(crate) fn fluid_bound_s(length: u64, source: u64, uplinks: &[u64]) -> f64 {
    let (bits, source) = (length as f64 * 8.0, source as f64);
    let all = source + uplinks.iter().sum::<u64>() as f64;
    (bits / source).max(bits * uplinks.len() as f64 / all)
}

/// Runs one point as often as asked.
pub(crate) fn run(bench: &Bench, choices: &Choices, set: &Set) -> Tried<Report> {
    let runs = choices.runs.unwrap_or(RUNS);
    let uplinks = vec![LEECHER; set.leechers as usize];
    let bound = fluid_bound_s(set.length, set.source, &uplinks);
    let mut figures = [
        Figure::new("last complete / bound", "x").at_most(set.ratio).baseline(set.baseline_ratio),
        match set.copies {
            Some(copies) => Figure::new("sent by publisher", "copies").at_most(copies),
            None => Figure::new("sent by publisher", "copies"),
        }
        .baseline(set.baseline_copies),
        Figure::new("last complete", "s"),
        Figure::new("first complete", "s"),
        Figure::new("sent by all / (N F)", "x").baseline("libtorrent 1.08"),
        Figure::new("publisher's link in use", "%"),
        Figure::new("processor time of all", "s"),
    ];
    let mut report = Report {
        settings: vec![
            ("N", json!(set.leechers)),
            ("publisher_bit_per_s", json!(set.source)),
            ("leecher_bit_per_s", json!(LEECHER)),
            ("length_bytes", json!(set.length)),
            ("bound_s", json!((bound * 1000.0).round() / 1000.0)),
            ("delay_ms", json!(bench.delay_ms)),
            ("congestion", json!(bench.congestion)),
        ],
        ..Report::default()
    };
    for number in 0..runs {
        let found = once(bench, set, bound, number)?;
        let sent: u64 = found.sent.iter().sum::<u64>() + found.source_sent;
        let last = found.complete.iter().copied().fold(0.0, f64::max);
        let first = found.complete.iter().copied().fold(f64::INFINITY, f64::min);
        let values = [
            last / bound,
            found.source_sent as f64 / set.length as f64,
            last,
            first,
            sent as f64 / (set.length * u64::from(set.leechers)) as f64,
            found.source_sent as f64 * 800.0 / (set.source as f64 * last),
            found.cpu,
        ];
        for (figure, value) in figures.iter_mut().zip(values) {
            figure.add(value);
        }
        report.runs.push(json!({
            "complete_s": found.complete, "publisher_sent_bytes": found.source_sent,
            "leechers_sent_bytes": found.sent, "cpu_s": found.cpu, "timeline": found.timeline,
        }));
    }
    if let Some(scenario) = set.scenario {
        report.compared = beside(bench, set, scenario, &figures)?;
    }
    report.figures = figures.into();
    Ok(report)
}

/// The same swarm in virtual time.
fn beside(bench: &Bench, set: &Set, name: &str, figures: &[Figure]) -> Tried<Vec<Compared>> {
    let changes =
        [format!("peers={}", set.leechers), format!("server.up_bytes_per_s={}", set.source / 8)];
    let summary = Summary::of(bench, name, &changes)?;
    let simulated = summary.value("distribution_ratio", "mean");
    let ratio = Compared {
        name: "last complete / bound",
        real: figures[0].quantile(0.5),
        simulated,
        band: simulated * 0.2,
    };
    Ok(vec![ratio, summary.copies(figures[1].quantile(0.5))])
}

/// What one run gave.
struct Found {
    complete: Vec<f64>,
    source_sent: u64,
    sent: Vec<u64>,
    cpu: f64,
    timeline: Value,
}

fn once(bench: &Bench, set: &Set, bound: f64, number: u32) -> Tried<Found> {
    let mut world = World::new(bench, bound * PATIENCE + 60.0)?;
    let file = content::random(&world.folder().join("file.bin"), set.length, u64::from(number))?;
    let source = world.net.host("source", Some(set.source))?;
    let hosts = (0..set.leechers)
        .map(|index| world.net.host(&format!("leech{index}"), Some(LEECHER)))
        .collect::<Tried<Vec<_>>>()?;
    let (mut source, torrent) = world.publish(&source, &file, &[])?;
    let before = source.host.counters()?;
    let start = Instant::now();
    let mut leechers =
        hosts.iter().map(|host| world.get(host, &torrent, &[])).collect::<Tried<Vec<Peer>>>()?;
    let mut timeline = Timeline::new(hosts.iter().chain([&source.host]).cloned());
    world.watch.until("everybody to be complete", || {
        timeline.look()?;
        let done = |peer: &mut Peer| peer.program.so_far("complete").map(|event| event.is_some());
        let done = leechers.iter_mut().map(done).collect::<Tried<Vec<_>>>()?;
        Ok(done.iter().all(|done| *done).then_some(()))
    })?;
    let at = |peer: &Peer| peer.program.first("complete").map(|event| event.at - start);
    let complete = leechers.iter().filter_map(at).map(|taken| taken.as_secs_f64()).collect();
    let source_sent = source.host.counters()?.since(before).tx_bytes;
    let sent = leechers
        .iter()
        .map(|leecher| Ok(leecher.host.counters()?.tx_bytes))
        .collect::<Tried<Vec<_>>>()?;
    let all = || leechers.iter().chain([&source]);
    let cpu = all().filter_map(|peer| peer.program.cpu_s()).sum();
    let mut ending: Vec<&mut Peer> = leechers.iter_mut().chain([&mut source]).collect();
    world.end(&mut ending);
    world.net.check()?;
    for host in &hosts {
        same(&file, &world.files_of(host).join("file.bin"))?;
    }
    if source_sent < set.length {
        return Err(Fault::new(format!(
            "the publisher's interface counted {source_sent} bytes, less than the file: the counters cannot be trusted"
        )));
    }
    Ok(Found { complete, source_sent, sent, cpu, timeline: timeline.json() })
}

#[cfg(test)]
mod tests {
    use super::{LEECHER, LENGTH, fluid_bound_s};

    #[test]
    fn the_bound_is_that_of_the_baselines() {
        for (source, leechers, bound) in [(16, 4, 16.78), (16, 16, 16.78), (64, 8, 11.18)] {
            let found = fluid_bound_s(LENGTH, source * 1_000_000, &vec![LEECHER; leechers]);
            assert!((found - bound).abs() < 0.01, "{source} {leechers}: {found}");
        }
    }
}
