//! What servers cannot leave to others: film that somebody plays while no viewer who is there has played it before.
//!
//! A bound for on-demand viewing like those of `fluid` for distribution: with ideal viewers, who keep all that they played, pass it on
//! without delay and have uplinks without end, servers still send this much. It is read off what was played in a run, so it is
//! exact for a run without stalls and close for one with few. Viewers who also keep film that they do not play could do with less.

use std::collections::BTreeMap;

use crate::marks::Marks;

/// Film is counted in steps of this many milliseconds.
const STEP_MS: u64 = 1000;
/// The peak is a mean over so much time, nanoseconds.
const PEAK_NS: u64 = 300_000_000_000;

/// What servers must send at least, in time of film.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Firsts {
    /// All of it, seconds of film.
    pub film_s: f64,
    /// The most in five minutes of a run: how many viewers' film at once.
    pub peak: f64,
}

/// A step of film that somebody needs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Need {
    at_ns: u64,
    /// Until when he is there to pass it on.
    until_ns: u64,
}

/// Works it out from what everybody played until `now_ns`. O(seconds of film played).
#[must_use]
pub fn firsts<'a>(marks: impl Iterator<Item = &'a Marks>, now_ns: u64) -> Firsts {
    let mut needs: BTreeMap<(u32, u64), Vec<Need>> = BTreeMap::new();
    for marks in marks {
        let until_ns = marks.gone_ns.unwrap_or(u64::MAX);
        for stretch in &marks.stretches {
            let end = stretch.position_ms + stretch.played_ms(now_ns) as u64;
            for step in stretch.position_ms / STEP_MS..end.div_ceil(STEP_MS) {
                let after = (step * STEP_MS).saturating_sub(stretch.position_ms);
                let need = Need { at_ns: stretch.from_ns + after * 1_000_000, until_ns };
                needs.entry((stretch.title.0, step)).or_default().push(need);
            }
        }
    }
    let mut steps = 0u64;
    let mut spans: BTreeMap<u64, u64> = BTreeMap::new();
    for of_step in needs.values_mut() {
        of_step.sort_unstable();
        let mut kept_until = None;
        for need in of_step {
            if kept_until.is_none_or(|until| until < need.at_ns) {
                steps += 1;
                *spans.entry(need.at_ns / PEAK_NS).or_default() += 1;
            }
            kept_until = kept_until.max(Some(need.until_ns));
        }
    }
    let peak = spans.values().max().copied().unwrap_or(0);
    let seconds = |steps: u64| (steps * STEP_MS) as f64 / 1000.0;
    Firsts { film_s: seconds(steps), peak: seconds(peak) / (PEAK_NS as f64 / 1e9) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marks::{Role, Stretch};
    use shoal_node::link::TitleId;

    /// Who plays 100 s of title 0 from a place on, from a time on, and leaves.
    fn viewer(from_s: u64, position_s: u64, gone_s: Option<u64>) -> Marks {
        let mut marks = Marks::new(Role::Viewer, 0);
        marks.stretches.push(Stretch {
            title: TitleId(0),
            from_ns: from_s * 1_000_000_000,
            position_ms: position_s * 1000,
            until_ns: Some((from_s + 100) * 1_000_000_000),
            stalled_ms: 0,
        });
        marks.gone_ns = gone_s.map(|at| at * 1_000_000_000);
        marks
    }

    #[test]
    fn what_nobody_there_has_played_comes_from_a_server() {
        let all = |viewers: &[Marks]| firsts(viewers.iter(), u64::MAX).film_s as u64;
        assert_eq!(all(&[viewer(0, 0, None), viewer(5, 0, None)]), 100, "he follows");
        assert_eq!(all(&[viewer(0, 0, None), viewer(5, 60, None)]), 160, "he is in front");
        assert_eq!(all(&[viewer(0, 0, Some(100)), viewer(150, 0, None)]), 200, "he came too late");
        let third = [viewer(0, 0, Some(160)), viewer(50, 0, None), viewer(170, 0, None)];
        assert_eq!(all(&third), 100, "another has it still");
    }

    #[test]
    fn the_peak_is_the_most_in_five_minutes() {
        let three: Vec<_> = (0..3).map(|place| viewer(310, place * 1000, None)).collect();
        assert!((firsts(three.iter(), u64::MAX).peak - 1.0).abs() < 1e-9);
    }
}
