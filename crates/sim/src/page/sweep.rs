//! Figures against one setting that runs of a scenario vary: startup, stalls and offload of each policy.

use super::SILENT;
use super::charts::{Figure, Named, figure};
use crate::plot::{Axis, Line, Style};

/// Values of a setting that make a chart.
const VALUES_LEAST: usize = 3;

/// A figure of the summary that is drawn.
struct Curve {
    metric: &'static str,
    part: &'static str,
    label: &'static str,
    scale: f64,
}

const fn curve(metric: &'static str, part: &'static str, label: &'static str, scale: f64) -> Curve {
    Curve { metric, part, label, scale }
}

/// The setting in which the runs differ as numbers, with each run's value; `None` when there are several or too few values.
fn swept(runs: &[Named<'_>]) -> Option<(String, Vec<f64>)> {
    let first = runs.first()?.run;
    let mut found = None;
    for key in first.settings.keys().filter(|key| !SILENT.contains(&key.as_str())) {
        let value = |named: &Named<'_>| named.run.settings.get(key).cloned();
        if runs.iter().all(|named| value(named) == value(&runs[0])) {
            continue;
        }
        let numbers: Option<Vec<f64>> = runs
            .iter()
            .map(|named| value(named)?.parse::<f64>().ok().filter(|v| v.is_finite()))
            .collect();
        if found.is_some() {
            return None;
        }
        found = Some((key.clone(), numbers?));
    }
    let (key, values) = found?;
    let mut distinct = values.clone();
    distinct.sort_by(f64::total_cmp);
    distinct.dedup();
    (distinct.len() >= VALUES_LEAST).then_some((key, values))
}

/// The chart of some curves against the swept setting.
fn chart(
    group: &str,
    runs: &[Named<'_>],
    what: (&str, &str, &str),
    curves: &[Curve],
    caption: &str,
) -> Option<Figure> {
    let (key, values) = swept(runs)?;
    let mut lines: Vec<Line> = Vec::new();
    let mut missing = 0;
    for curve in curves {
        for (named, &at) in runs.iter().zip(&values) {
            let metric = &named.run.summary["metrics"][curve.metric];
            let Some(value) = metric[curve.part].as_f64() else {
                missing += usize::from(!metric["per_seed"].is_null());
                continue;
            };
            let policy = &named.run.policy;
            let name = match curve.label {
                "" => policy.clone(),
                label => format!("{policy}, {label}"),
            };
            let point = (at, value * curve.scale);
            match lines.iter_mut().find(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => {
                    let colour = lines.len();
                    lines.push(Line { name, points: vec![point], style: Style::Dots, colour });
                }
            }
        }
    }
    if lines.is_empty() {
        return None;
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let across = points().map(|point| point.0).fold(0.0, f64::max);
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    let label = if key == "upload.factor" {
        "sum of the uplinks over the demand (upload.factor)".to_owned()
    } else {
        key
    };
    let (id, title, up) = what;
    let axes = (Axis::from_zero(&label, across), Axis::from_zero(up, most));
    let mut chart = figure(group, id, title, axes);
    chart.lines = lines;
    let caption = match missing {
        0 => caption.to_owned(),
        _ => format!("{caption} Missing points never happened."),
    };
    Some(Figure { chart, caption })
}

pub(super) fn startup(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let curves =
        [curve("startup_ms", "p50", "p50", 0.001), curve("startup_ms", "p90", "p90", 0.001)];
    let what = ("sweep-startup", "Playback delay by setting", "playback delay, s");
    chart(group, runs, what, &curves, "Over all viewers of all seeds.")
}

pub(super) fn stalls(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let curves = [curve("stalls", "mean", "", 1.0)];
    let what = ("sweep-stalls", "Stalls by setting", "stalls of a viewer");
    chart(group, runs, what, &curves, "Mean over all viewers of all seeds.")
}

pub(super) fn stalled(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let curves = [curve("stall_ratio", "mean", "", 100.0)];
    let what = ("sweep-stalled", "Time stalled by setting", "time stalled, %");
    let caption = "Mean over all viewers of all seeds that started.";
    chart(group, runs, what, &curves, caption)
}

pub(super) fn offload(group: &str, runs: &[Named<'_>]) -> Option<Figure> {
    let curves = [curve("offload", "mean", "", 100.0)];
    let what = ("sweep-offload", "Offload by setting", "offload, %");
    let caption = "1 minus the film bytes that the servers sent over those that viewers played; mean over the seeds.";
    chart(group, runs, what, &curves, caption)
}
