//! Figures as they are shown: a median over runs with its spread, beside what was wanted and what others reach.

use std::ops::RangeInclusive;

use serde_json::{Value, json};

use crate::sim::Compared;

/// One figure of an experiment: a value per run, or all values of all runs pooled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figure {
    name: &'static str,
    unit: &'static str,
    target: Option<f64>,
    /// The best run is judged, not the median.
    at_best: bool,
    baseline: &'static str,
    values: Vec<f64>,
}

impl Figure {
    /// A figure that is printed but has no target.
    pub(crate) fn new(name: &'static str, unit: &'static str) -> Self {
        Self { name, unit, ..Self::default() }
    }

    /// Its median is to be at most this.
    pub(crate) fn at_most(self, target: f64) -> Self {
        Self { target: Some(target), ..self }
    }

    /// One run of several is enough: for what can only be made worse by a busy machine, and by what is looked for in every run.
    pub(crate) fn at_best(self) -> Self {
        Self { at_best: true, ..self }
    }

    /// What is known of others on the same set-up.
    pub(crate) fn baseline(self, baseline: &'static str) -> Self {
        Self { baseline, ..self }
    }

    /// One more value.
    pub(crate) fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// The value added last; NaN when there is none.
    pub(crate) fn newest(&self) -> f64 {
        self.values.last().copied().unwrap_or(f64::NAN)
    }

    /// The value below which a share of the values lies: nearest rank. NaN when there are none.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        quantile(&self.values, share)
    }

    /// Whether the median, or the best, is within the target; `None` without one.
    pub(crate) fn holds(&self) -> Option<bool> {
        let share = if self.at_best { 0.0 } else { 0.5 };
        // A comparison with NaN is false, so a figure without values does not hold.
        self.target.map(|target| self.quantile(share) <= target)
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unit": self.unit, "values": self.values, "median": finite(self.quantile(0.5)),
            "min": finite(self.quantile(0.0)), "max": finite(self.quantile(1.0)), "target": self.target,
            "baseline": self.baseline, "holds": self.holds(),
        })
    }
}

/// JSON has no infinity: what never happened is null.
fn finite(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

/// Nearest rank: the smallest value with at least `share` of the values at or below it.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// What an experiment found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// What was run: settings in words and numbers.
    pub(crate) settings: Vec<(&'static str, Value)>,
    /// The figures, in the order in which they are shown.
    pub(crate) figures: Vec<Figure>,
    /// The same in virtual time, where there is a scenario for it.
    pub(crate) compared: Vec<Compared>,
    /// Everything else about each run, for whoever looks closer.
    pub(crate) runs: Vec<Value>,
}

impl Report {
    /// Whether every figure with a target is within it.
    pub(crate) fn holds(&self) -> bool {
        self.figures.iter().all(|figure| figure.holds() != Some(false))
    }

    /// One object.
    pub(crate) fn json(&self, experiment: &str) -> Value {
        let settings: serde_json::Map<_, _> =
            self.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        let figures: Vec<_> = self.figures.iter().map(Figure::json).collect();
        let compared: Vec<_> = self.compared.iter().map(Compared::json).collect();
        json!({
            "experiment": experiment, "settings": settings, "figures": figures, "runs": self.runs,
            "compared": compared, "holds": self.holds(),
        })
    }

    /// A table for people.
    pub(crate) fn table(&self, experiment: &str) -> String {
        let settings: Vec<_> =
            self.settings.iter().map(|(key, value)| format!("{key} {value}")).collect();
        let mut text = format!("\n{experiment}: {}\n\n", settings.join(", "));
        let head = ["figure", "median", "min", "max", "n", "target", "", "baseline"];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.figures.iter().map(row));
        columns(&mut text, &rows, 1..=4);
        if !self.compared.is_empty() {
            let head = ["beside the simulator", "real", "simulated", "band", ""];
            let mut rows = vec![head.map(str::to_owned)];
            rows.extend(self.compared.iter().map(|compared| {
                let inside = if compared.inside() { "inside" } else { "OUTSIDE" };
                let shown = [compared.real, compared.simulated, compared.band].map(number);
                let [real, simulated, band] = shown;
                [compared.name.to_owned(), real, simulated, format!("+- {band}"), inside.to_owned()]
            }));
            text.push('\n');
            columns(&mut text, &rows, 1..=3);
        }
        text
    }
}

/// Writes rows in columns; those named by `right` end at their right.
fn columns<const N: usize>(text: &mut String, rows: &[[String; N]], right: RangeInclusive<usize>) {
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..N).map(|column| longest(column).unwrap_or(0)).collect();
    for cells in rows {
        let mut line = String::new();
        for (column, cell) in cells.iter().enumerate() {
            let width = widths[column];
            line += &match right.contains(&column) {
                true => format!("{cell:>width$}  "),
                false => format!("{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

fn row(figure: &Figure) -> [String; 8] {
    let shown = |share| number(figure.quantile(share));
    let verdict = match figure.holds() {
        Some(true) => "holds",
        Some(false) => "MISSED",
        None => "",
    };
    let target = figure.target.map_or_else(String::new, |target| format!("<= {}", number(target)));
    [
        format!("{} [{}]", figure.name, figure.unit),
        shown(0.5),
        shown(0.0),
        shown(1.0),
        figure.values.len().to_string(),
        target,
        verdict.to_owned(),
        figure.baseline.to_owned(),
    ]
}

/// Three figures behind the point for small numbers, fewer for large ones.
fn number(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".to_owned(),
        _ if value.is_infinite() => "never".to_owned(),
        0.0 => "0".to_owned(),
        size if size < 10.0 => format!("{value:.3}"),
        size if size < 1000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Report, quantile};

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let values = [4.0, 1.0, 3.0, 2.0];
        for (share, expected) in [(0.0, 1.0), (0.25, 1.0), (0.5, 2.0), (0.9, 4.0), (1.0, 4.0)] {
            assert_eq!(quantile(&values, share), expected, "{share}");
        }
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn a_figure_that_was_never_reached_does_not_hold() {
        let mut figure = Figure::new("start", "s").at_most(2.0);
        assert_eq!(figure.holds(), Some(false), "no value");
        figure.add(f64::INFINITY);
        assert_eq!(figure.holds(), Some(false));
        let report = Report { figures: vec![figure], ..Report::default() };
        assert!(!report.holds());
        assert!(report.table("x").contains("never"));
        assert!(report.json("x")["figures"][0]["median"].is_null());
    }

    #[test]
    fn figures_without_a_target_decide_nothing() {
        let mut figure = Figure::new("copies", "F");
        figure.add(7.0);
        assert_eq!(figure.holds(), None);
        assert!(Report { figures: vec![figure], ..Report::default() }.holds());
    }
}
