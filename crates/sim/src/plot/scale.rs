//! Axes: where a value lies on them, and which values get a tick.

/// Ticks of a logarithmic axis that also marks twos and fives, at most; above this only powers of ten are marked.
const LOG_TICKS_MOST: usize = 9;

/// How values are spread over an axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spread {
    /// Evenly.
    Linear,
    /// By their logarithm; what is not positive lies at the start.
    Log,
}

/// An axis of a chart.
#[derive(Clone, PartialEq, Debug)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// Value at its start.
    pub from: f64,
    /// Value at its end, above `from`.
    pub to: f64,
    /// How values are spread.
    pub spread: Spread,
}

impl Axis {
    /// A linear axis from 0 to a round number that is not below `most`. One that has nothing to show ends at 1.
    #[must_use]
    pub fn from_zero(label: &str, most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = nice_step(most / 6.0);
        let to = (most / step - 1e-9).ceil() * step;
        Self { label: label.to_owned(), from: 0.0, to, spread: Spread::Linear }
    }
    /// A linear axis with these ends. The label says where it starts when that is not 0.
    #[must_use]
    pub fn between(label: &str, from: f64, to: f64) -> Self {
        let label = if from == 0.0 {
            label.to_owned()
        } else {
            format!("{label}; the axis starts at {}", plain(from))
        };
        Self { label, from, to, spread: Spread::Linear }
    }
    /// A logarithmic axis that covers both values, ending at powers of ten or their twos and fives. The label says so.
    #[must_use]
    pub fn log(label: &str, least: f64, most: f64) -> Self {
        let least = if least.is_finite() && least > 0.0 { least } else { 1.0 };
        let most = if most.is_finite() && most > least { most } else { least * 10.0 };
        let ladder = || (-12..=15).flat_map(|power| [1.0, 2.0, 5.0].map(|d| d * 10f64.powi(power)));
        let from = ladder().filter(|&step| step <= least * 1.000_001).fold(1e-12, f64::max);
        let to = ladder().filter(|&step| step >= most * 0.999_999).fold(1e16, f64::min);
        Self { label: format!("{label} (logarithmic scale)"), from, to, spread: Spread::Log }
    }
    /// Where a value lies: 0 at the start, 1 at the end, beyond them outside.
    #[must_use]
    pub fn place(&self, value: f64) -> f64 {
        match self.spread {
            Spread::Linear => (value - self.from) / (self.to - self.from),
            Spread::Log if value <= 0.0 => 0.0,
            Spread::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }
    /// Values that get a tick, ascending, with their words.
    #[must_use]
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self.spread {
            Spread::Linear => {
                let step = nice_step((self.to - self.from) / 6.0);
                linear_ticks(self.from, self.to, step)
            }
            Spread::Log => self.log_ticks(),
        }
    }
    fn log_ticks(&self) -> Vec<(f64, String)> {
        let inside = |digits: &[f64]| -> Vec<f64> {
            (-12..=15)
                .flat_map(|power| digits.iter().map(move |digit| digit * 10f64.powi(power)))
                .filter(|&tick| tick >= self.from * 0.999_999 && tick <= self.to * 1.000_001)
                .collect()
        };
        let all = inside(&[1.0, 2.0, 5.0]);
        let some = if all.len() > LOG_TICKS_MOST { inside(&[1.0]) } else { all };
        some.into_iter().map(|tick| (tick, plain(tick))).collect()
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below `rough`, which is positive.
#[must_use]
pub fn nice_step(rough: f64) -> f64 {
    let power = 10f64.powi(rough.log10().floor() as i32);
    // A hair of slack: 0.1 + 0.2 must not push a step up.
    let digit = rough / power * 0.999_999_999;
    let nice = [1.0, 2.0, 5.0].into_iter().find(|&step| digit <= step).unwrap_or(10.0);
    nice * power
}

fn linear_ticks(from: f64, to: f64, step: f64) -> Vec<(f64, String)> {
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let (first, last) = ((from / step - 1e-9).ceil() as i64, (to / step + 1e-9).floor() as i64);
    (first..=last)
        .map(|number| {
            let tick = number as f64 * step;
            (tick, format!("{tick:.decimals$}"))
        })
        .collect()
}

/// A number with no more digits than it needs, at most four after the point.
#[must_use]
pub fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::{Axis, nice_step, plain};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ticks_are_few_ascending_inside_and_told_apart(most in 1e-3f64..1e9) {
            let axis = Axis::from_zero("x", most);
            let ticks = axis.ticks();
            prop_assert!((3..=8).contains(&ticks.len()), "{most}: {ticks:?}");
            prop_assert!(axis.to >= most && axis.to <= most * 2.0, "{most}: {}", axis.to);
            prop_assert_eq!(ticks[0].1.trim_end_matches(['0', '.']), "");
            for pair in ticks.windows(2) {
                prop_assert!(pair[0].0 < pair[1].0 && pair[0].1 != pair[1].1, "{ticks:?}");
            }
            for (tick, words) in &ticks {
                prop_assert!((0.0..=1.000_001).contains(&axis.place(*tick)));
                let back: f64 = words.parse().expect("a number");
                prop_assert!((back - tick).abs() <= 1e-9 * tick.abs().max(1e-9));
            }
        }

        #[test]
        fn a_step_is_one_two_or_five_and_at_most_two_and_a_half_times_too_large(
            rough in 1e-6f64..1e9
        ) {
            let step = nice_step(rough);
            prop_assert!(step >= rough * 0.999_999 && step <= rough * 2.500_001, "{rough}: {step}");
            let digit = step / 10f64.powi((step * 1.000_001).log10().floor() as i32);
            prop_assert!([1.0, 2.0, 5.0].iter().any(|nice| (digit - nice).abs() < 1e-6), "{digit}");
        }

        #[test]
        fn a_logarithmic_axis_covers_its_values_and_marks_them(
            least in 1e-3f64..1e3, times in 1.1f64..1e6
        ) {
            let axis = Axis::log("x", least, least * times);
            prop_assert!(axis.from <= least * 1.001 && axis.to >= least * times * 0.999);
            let ticks = axis.ticks();
            prop_assert!((1..=10).contains(&ticks.len()), "{ticks:?}");
            for (tick, _) in ticks {
                prop_assert!((-1e-6..=1.000_001).contains(&axis.place(tick)));
            }
        }
    }

    #[test]
    fn an_axis_that_does_not_start_at_zero_says_so() {
        assert_eq!(Axis::between("share, %", 80.0, 100.0).label, "share, %; the axis starts at 80");
        assert_eq!(Axis::between("share, %", 0.0, 100.0).label, "share, %");
        assert!(Axis::log("time, s", 0.1, 9.0).label.contains("logarithmic"));
        assert_eq!(plain(2.500), "2.5");
        assert_eq!(plain(100.0), "100");
    }

    #[test]
    fn an_axis_with_nothing_to_show_is_still_an_axis() {
        for most in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let axis = Axis::from_zero("x", most);
            assert!(axis.to > axis.from && axis.ticks().len() > 2, "{most}");
        }
    }
}
