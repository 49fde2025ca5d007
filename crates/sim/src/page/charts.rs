//! Which charts a group of runs gets, and what the old system reached in them.
//!
//! The reference marks are the published results of PRIME (P2PMoD) on PlanetLab, one server and 70 peers at 40 KB/s: 90 %
//! start within 6 s, 90 % have fewer than 2 stalls, 90 % stand still less than 3 % of the time, 90 % of what is received is
//! film, and the server sends 275 KB/s, seven streams for seventy viewers.

use super::load::Run;
use super::sweep;
use crate::fluid;
use crate::plot::cdf::{cdf, quantile};
use crate::plot::scale::plain;
use crate::plot::{Axis, Chart, Line, Mark, Style};

/// Film rate of the published experiment, bit/s.
const PRIME_RATE_BIT_PER_S: u64 = 320_000;
/// Server rate of the published experiment, KB/s.
const PRIME_SERVER_KB_PER_S: f64 = 275.0;
/// Values that differ by more than this are drawn on a logarithmic axis.
const LOG_FROM: f64 = 25.0;
/// Length of a stretch of `server.csv`, seconds.
const SERIES_S: f64 = (crate::stage::SERIES_NS / 1_000_000_000) as f64;

/// A chart and the sentence below it.
#[derive(Clone, Debug)]
pub struct Figure {
    /// The chart.
    pub chart: Chart,
    /// What it shows, and what to beware of.
    pub caption: String,
}

/// A run with the name that tells it from the others of its group.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// Its name.
    pub name: String,
    /// The run.
    pub run: &'a Run,
}

/// All charts of a group that have something to show.
#[must_use]
pub fn figures(group: &str, runs: &[Named<'_>]) -> Vec<Figure> {
    let runs_alone = [startup, stalls, stall_ratio, efficiency, seeks, server_rate, distribution];
    let swept = [sweep::startup, sweep::stalls, sweep::stalled, sweep::offload];
    runs_alone.iter().chain(&swept).filter_map(|figure| figure(group, runs)).collect()
}

pub(super) fn figure(group: &str, what: &str, title: &str, axes: (Axis, Axis)) -> Chart {
    let id: String = format!("{group}-{what}")
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
        .collect();
    let (x, y) = axes;
    Chart { id, title: title.to_owned(), x, y, lines: Vec::new(), marks: Vec::new() }
}

/// Distributions of a quantity, one line per run, and all values.
fn distributions(
    runs: &[Named<'_>],
    of: impl Fn(&Run) -> Vec<f64>,
) -> Option<(Vec<Line>, Vec<Vec<f64>>)> {
    let values: Vec<Vec<f64>> = runs.iter().map(|named| of(named.run)).collect();
    if values.iter().all(Vec::is_empty) {
        return None;
    }
    let lines = runs
        .iter()
        .zip(&values)
        .enumerate()
        .filter(|(_, (_, values))| !values.is_empty())
        .map(|(colour, (named, values))| {
            let steps = cdf(values);
            let from = steps.first().map_or(0.0, |step| step.0);
            let mut points = vec![(from, 0.0)];
            points.extend(steps.iter().map(|&(x, share)| (x, share * 100.0)));
            // What is reached holds on to the edge.
            points.extend(steps.last().map(|&(_, share)| (f64::MAX, share * 100.0)));
            Line { name: named.name.clone(), points, style: Style::Steps, colour }
        })
        .collect();
    Some((lines, values))
}

/// An axis for times: from 0, or logarithmic where the runs differ too much for that.
fn time_axis(label: &str, values: &[Vec<f64>], reference: f64) -> Axis {
    let finite = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let most = finite().fold(reference, f64::max);
    let medians = values.iter().filter_map(|values| quantile(values, 0.5));
    let least = medians.filter(|median| *median > 0.0).fold(f64::INFINITY, f64::min);
    if most > LOG_FROM * least {
        let low = finite().filter(|value| *value > 0.0).fold(least, f64::min);
        Axis::log(label, low.max(least / 20.0), most)
    } else {
        Axis::from_zero(label, most)
    }
}

fn share(of: &str) -> Axis {
    Axis::from_zero(&format!("{of}, %"), 100.0)
}

/// A sentence on values that never came, where there are some.
fn never(runs: &[Named<'_>], values: &[Vec<f64>], what: &str) -> String {
    let mut words = String::new();
    for (named, values) in runs.iter().zip(values) {
        let missing = values.iter().filter(|value| !value.is_finite()).count();
        if missing > 0 {
            words += &format!(" {}: {missing} of {} {what}.", named.name, values.len());
        }
    }
    words
}

/// A sentence on values that lie before the start of a logarithmic axis, where there are some.
fn early(axis: &Axis, values: &[Vec<f64>]) -> String {
    let count = values.iter().flatten().filter(|value| **value < axis.from).count();
    if count == 0 {
        return String::new();
    }
    format!(" {count} that took less than {} s lie at the axis's start.", plain(axis.from))
}

fn seconds(values: &[f64]) -> Vec<f64> {
    values.iter().map(|ms| ms / 1000.0).collect()
}

fn startup(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let (lines, values) = distributions(runs, |run| seconds(run.column("startup_ms")))?;
    let axes = (time_axis("playback delay, s", &values, 6.0), share("viewers"));
    let mut chart = figure(group, "startup", "Playback delay", axes);
    chart.lines = lines;
    chart.marks.push(Mark::Point(6.0, 90.0, "PRIME, published: 90 % under 6 s".into()));
    let caption = format!(
        "From asking to play to the first frame; share of viewers that had started by then.{}{}",
        early(&chart.x, &values),
        never(runs, &values, "never started")
    );
    Some(Figure { chart, caption })
}

fn stalls(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let (lines, values) = distributions(runs, |run| run.column("stalls").to_vec())?;
    let most = values.iter().flatten().copied().fold(4.0, f64::max);
    let axes = (Axis::from_zero("stalls of a viewer", most), share("viewers"));
    let mut chart = figure(group, "stalls", "Stalls", axes);
    chart.lines = lines;
    chart.marks.push(Mark::Point(2.0, 90.0, "PRIME, published: 90 % fewer than 2".into()));
    let caption = "Pauses after the first frame that the viewer did not ask for; share of viewers with at most so many.";
    Some(Figure { chart, caption: caption.into() })
}

fn stall_ratio(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let percent = |run: &Run| run.column("stall_ratio").iter().map(|ratio| ratio * 100.0).collect();
    let (lines, values) = distributions(runs, percent)?;
    let most = values.iter().flatten().copied().fold(5.0, f64::max);
    let axes =
        (Axis::from_zero("time stalled, % of time paused or played", most), share("viewers"));
    let mut chart = figure(group, "stall-ratio", "Time stalled", axes);
    chart.lines = lines;
    chart.marks.push(Mark::Point(3.0, 90.0, "PRIME, published: 90 % under 3 %".into()));
    let caption = "Time in stalls over time in stalls or playing; share of viewers with at most so much. Viewers who never started have none and are left out.";
    Some(Figure { chart, caption: caption.into() })
}

fn efficiency(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let percent =
        |run: &Run| run.column("data_efficiency").iter().map(|ratio| ratio * 100.0).collect();
    let (lines, values) = distributions(runs, percent)?;
    let least = values.iter().flatten().copied().fold(90.0, f64::min);
    let from = ((least - 1.0) / 10.0).floor().max(0.0) * 10.0;
    let axes = (Axis::between("film bytes of all bytes received, %", from, 100.0), share("peers"));
    let mut chart = figure(group, "efficiency", "Data efficiency", axes);
    chart.lines = lines;
    chart.marks.push(Mark::Upright(90.0, "PRIME, published: 90 %".into()));
    let caption = "Unique film bytes over all bytes received above TCP and UDP; share of peers with at most so much, so further right is better.";
    Some(Figure { chart, caption: caption.into() })
}

fn seeks(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let (lines, values) = distributions(runs, |run| seconds(&run.seeks))?;
    let axes = (time_axis("seek latency, s", &values, 1.0), share("jumps"));
    let mut chart = figure(group, "seeks", "Seek latency", axes);
    chart.lines = lines;
    let caption = format!(
        "From a jump to the first frame at the new place; share of jumps that had landed by then.{}{}",
        early(&chart.x, &values),
        never(runs, &values, "never landed")
    );
    Some(Figure { chart, caption })
}

fn server_rate(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let lines: Vec<Line> = runs
        .iter()
        .enumerate()
        .filter(|(_, named)| named.run.server.len() > 1)
        .map(|(colour, named)| {
            let rate = |bytes: f64| bytes / SERIES_S / 1000.0;
            let mut points = vec![(0.0, 0.0)];
            points.extend(named.run.server.iter().map(|&(time, bytes)| (time, rate(bytes))));
            let end = named.run.server.last().map(|&(time, bytes)| (time + SERIES_S, rate(bytes)));
            points.extend(end);
            Line { name: named.name.clone(), points, style: Style::Steps, colour }
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    let last = points().map(|point| point.0).fold(0.0, f64::max);
    let plan = runs.iter().find_map(|named| named.run.plan.as_ref())?;
    if lines.is_empty() || plan.server.count == 0 {
        return None;
    }
    let rate = plan.film.rate_bit_per_s;
    let is_prime = rate == PRIME_RATE_BIT_PER_S;
    let stream = rate as f64 / 8000.0;
    let least = if is_prime { PRIME_SERVER_KB_PER_S * 1.1 } else { 0.0 };
    let most = points().map(|point| point.1).fold(least, f64::max);
    let axes = (Axis::from_zero("time, s", last), Axis::from_zero("server sends, KB/s", most));
    let mut chart = figure(group, "server", "Server rate", axes);
    chart.lines = lines;
    if is_prime {
        let words = "PRIME, published: 275 KB/s, 7 streams";
        chart.marks.push(Mark::Level(PRIME_SERVER_KB_PER_S, words.into()));
    }
    if plan.viewers > 0 && stream < most {
        chart.marks.push(Mark::Level(stream, format!("one stream, {stream:.0} KB/s")));
    }
    let caption = format!(
        "Film bytes that the server sent in each {SERIES_S:.0} s, mean over the seeds that lasted so long; KB is 1000 bytes."
    );
    Some(Figure { chart, caption })
}

/// A run's peers and the seconds until the last was complete: the mean over its seeds.
fn measured(run: &Run) -> Option<(f64, f64)> {
    let plan = run.plan.as_ref()?;
    let links = fluid::links(plan, plan.peers)?;
    let ratio = run.summary["metrics"]["distribution_ratio"]["mean"].as_f64()?;
    Some((f64::from(plan.peers), ratio * links.peer_to_peer_s()))
}

fn distribution(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let mut lines: Vec<Line> = Vec::new();
    for named in runs {
        let Some(point) = measured(named.run) else { continue };
        // The number of peers is the axis: it does not part a line.
        let words = named.name.split(", ").filter(|word| !word.starts_with("peers="));
        let name = match words.collect::<Vec<_>>().join(", ") {
            name if name.is_empty() => named.run.policy.clone(),
            name => name,
        };
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => {
                let colour = lines.len();
                lines.push(Line { name, points: vec![point], style: Style::Dots, colour });
            }
        }
    }
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(0.0, f64::max);
    let least = lines.iter().flat_map(|line| &line.points).map(|p| p.0).fold(most, f64::min);
    let plan = runs.iter().find(|named| measured(named.run).is_some())?.run.plan.as_ref()?;
    let across = if most > LOG_FROM * least {
        Axis::log("peers", least, most)
    } else {
        Axis::from_zero("peers", most * 1.02)
    };
    // Enough points for a smooth curve, none of them twice.
    let mut counts: Vec<u32> = (0..=80)
        .map(|step| {
            let place = f64::from(step) / 80.0;
            let (from, to) = (across.from.max(1.0), across.to);
            (from * (to / from).powf(place)).round() as u32
        })
        .collect();
    counts.dedup();
    let bound = |pick: fn(&fluid::Links) -> f64| -> Vec<(f64, f64)> {
        let links = counts.iter().filter_map(|&n| Some((f64::from(n), fluid::links(plan, n)?)));
        links.map(|(n, links)| (n, pick(&links))).collect()
    };
    let laws = [
        ("D_cs: fluid bound, client-server", bound(fluid::Links::client_server_s)),
        ("D_p2p: fluid bound, peer-to-peer", bound(fluid::Links::peer_to_peer_s)),
    ];
    for (number, (name, points)) in laws.into_iter().enumerate() {
        let name = name.to_owned();
        lines.push(Line { name, points, style: Style::Theory, colour: number });
    }
    let times = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (low, high) = (times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max));
    let label = "all peers complete, s";
    let up = if high > LOG_FROM * low {
        Axis::log(label, low, high)
    } else {
        Axis::from_zero(label, high)
    };
    let mut chart = figure(group, "distribution", "Distribution time", (across, up));
    chart.lines = lines;
    let caption = format!(
        "Time until the last peer is complete. Points are measured, means over seeds. The bounds are calculated from link rates times {}: headers and acknowledgements take the rest.",
        fluid::FILM_SHARE
    );
    Some(Figure { chart, caption })
}
