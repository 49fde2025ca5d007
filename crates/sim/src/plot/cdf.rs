//! Cumulative distributions: which share of all values is not above x.

/// Corners of the distribution's steps, ascending: a value, and the share of all values (0 to 1) that are not above it.
/// Values that are not finite count as values but are reached by no step, so that the last share is below 1. O(n log n).
#[must_use]
pub fn cdf(values: &[f64]) -> Vec<(f64, f64)> {
    let mut finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    let all = values.len() as f64;
    let mut steps: Vec<(f64, f64)> = Vec::new();
    for (index, &value) in finite.iter().enumerate() {
        let share = (index + 1) as f64 / all;
        match steps.last_mut() {
            Some(last) if last.0 == value => last.1 = share,
            _ => steps.push((value, share)),
        }
    }
    steps
}

/// The value that covers `share` of all (nearest rank), infinite when values that never came are needed for it. `None`
/// without values. O(n log n).
#[must_use]
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank.min(sorted.len()).checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use super::{cdf, quantile};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_step_tells_the_share_that_counting_tells(values in proptest::collection::vec(
            prop_oneof![8 => (0u32..20).prop_map(f64::from), 1 => Just(f64::INFINITY)], 0..60
        )) {
            let steps = cdf(&values);
            for (at, share) in &steps {
                let count = values.iter().filter(|value| *value <= at).count();
                prop_assert!((share - count as f64 / values.len() as f64).abs() < 1e-12);
            }
            prop_assert!(steps.windows(2).all(|p| p[0].0 < p[1].0 && p[0].1 < p[1].1));
            let finite = values.iter().filter(|value| value.is_finite()).count();
            let reached = steps.last().map_or(0.0, |last| last.1);
            prop_assert!((reached - finite as f64 / values.len().max(1) as f64).abs() < 1e-12);
        }

        #[test]
        fn a_quantile_covers_its_share_and_no_smaller_value_does(
            values in proptest::collection::vec((0u32..50).prop_map(f64::from), 1..80),
            percent in 1u32..=100
        ) {
            let share = f64::from(percent) / 100.0;
            let found = quantile(&values, share).expect("there are values");
            let below = |limit: f64| values.iter().filter(|&&value| value <= limit).count() as f64;
            prop_assert!(below(found) >= share * values.len() as f64 - 1e-9);
            prop_assert!(below(found - 0.5) < share * values.len() as f64);
        }
    }

    #[test]
    fn what_never_came_is_never_reached() {
        assert_eq!(cdf(&[2.0, f64::INFINITY, 1.0, 1.0]), [(1.0, 0.5), (2.0, 0.75)]);
        assert_eq!(quantile(&[1.0, f64::INFINITY], 0.9), Some(f64::INFINITY));
        assert_eq!(quantile(&[], 0.5), None);
        assert!(cdf(&[]).is_empty());
    }
}
