//! What people do: when they come, how long they stay, where they look.
//!
//! Models and their sources: arrivals are drawn evenly or as a Poisson process; sessions are Weibull (Stutzbach and Rejaie,
//! "Understanding Churn in Peer-to-Peer Networks", IMC 2006: shapes 0.34 to 0.59); browsing follows what studies of video on
//! demand agree on in kind (short views before a long one, more jumps forward than back, some places that many seek), with
//! numbers that are proposals and not measurements: [`FORWARD_PERCENT`], [`HOT_PERCENT`], [`HOT_PLACES`].
//!
//! Draws use logarithms of doubles, rounded to milliseconds: the same on all our platforms.

use shoal_node::rng::{Rng, Seed};

use crate::scenario::{Arrival, Manner, Pattern, Play, Titles};

/// Jumps of a browser that go forward, percent.
pub const FORWARD_PERCENT: u32 = 70;
/// Jumps of a browser that go to a place which many seek, percent.
pub const HOT_PERCENT: u32 = 20;
/// Such places in a film; the n-th most sought draws 1/n of the first (Zipf).
pub const HOT_PLACES: u32 = 10;
/// Median length of a browser's other jumps, seconds of film.
const JUMP_MEDIAN_S: f64 = 90.0;
/// Spread of their logarithms.
const JUMP_SIGMA: f64 = 1.0;
/// Spread of the logarithms of a browser's views.
const VIEW_SIGMA: f64 = 0.8;
/// Jumps of a browser at least, unless it may make none.
const JUMPS_LEAST: u32 = 2;

/// Nanoseconds of some seconds.
pub(crate) fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// Above 0 and below 1.
fn uniform(rng: &mut Rng) -> f64 {
    (f64::from(rng.next_u32()) + 1.0) / 4_294_967_297.0
}

/// A normal draw with mean 0 and deviation 1: twelve uniform ones (no tail beyond 6).
fn normal(rng: &mut Rng) -> f64 {
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

/// A log-normal draw, rounded to milliseconds, in seconds.
fn log_normal_s(rng: &mut Rng, median_s: f64, sigma: f64) -> f64 {
    (median_s * (sigma * normal(rng)).exp() * 1000.0).round() / 1000.0
}

/// When each of `count` peers comes, nanoseconds, ascending.
#[must_use]
pub fn arrivals(arrival: &Arrival, count: u32, seed: Seed) -> Vec<u64> {
    let mut rng = Rng::new(seed.fork("arrivals", 0));
    let (start, over) = (nanos(arrival.start_s), nanos(arrival.over_s));
    let mut at = start;
    let mut times: Vec<u64> = (0..count)
        .map(|_| match arrival.pattern {
            Pattern::Together => start,
            Pattern::Uniform => start + rng.below(over.max(1)),
            Pattern::Poisson => {
                // Exponential gaps by inversion.
                at += (-uniform(&mut rng).ln() * over as f64 / f64::from(count)) as u64;
                at
            }
        })
        .collect();
    times.sort_unstable();
    times
}

/// What one viewer will do, from its arrival on, nanoseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Course {
    /// When it jumps, ascending.
    pub jumps: Vec<u64>,
    /// When it leaves if it has seen nothing yet.
    pub gives_up: Option<u64>,
    /// When it leaves in any case.
    pub leaves: Option<u64>,
}

impl Course {
    /// Draws the course of the viewer on `host`.
    #[must_use]
    pub fn draw(play: &Play, host: u32, seed: Seed) -> Self {
        let mut rng = Rng::new(seed.fork("course", u64::from(host)));
        let leaves = (play.session_s > 0.0).then(|| {
            // Weibull by inversion.
            let session = play.session_s * (-uniform(&mut rng).ln()).powf(1.0 / play.session_shape);
            nanos((session.min(1e8) * 1000.0).round() / 1000.0)
        });
        let jumps = match play.manner {
            Manner::Timed => {
                let at = |jump| play.jump_first_s + f64::from(jump) * play.jump_every_s;
                (0..play.jumps).map(|jump| nanos(at(jump))).collect()
            }
            Manner::Browse => {
                let least = JUMPS_LEAST.min(play.jumps);
                let count = least + rng.below(u64::from(play.jumps - least) + 1) as u32;
                let mut at = play.jump_first_s;
                (0..count)
                    .map(|_| {
                        at += log_normal_s(&mut rng, play.jump_every_s, VIEW_SIGMA);
                        nanos(at)
                    })
                    .collect()
            }
        };
        let gives_up = (play.give_up_s > 0.0).then(|| nanos(play.give_up_s));
        Self { jumps, gives_up, leaves }
    }
}

/// What the viewer on `host` does with its `viewing`-th title, from its beginning on; the session is the first one's.
#[must_use]
pub fn course(play: &Play, host: u32, viewing: u32, seed: Seed) -> Course {
    if viewing == 0 {
        return Course::draw(play, host, seed);
    }
    let seed = seed.fork("viewing", u64::from(viewing));
    Course { leaves: None, ..Course::draw(play, host, seed) }
}

/// Which title a peer picks among those that it has not `watched`; `None` when there is no other. The `viewing`-th choice of
/// `host`.
#[must_use]
pub fn pick_title(
    titles: &Titles,
    host: u32,
    viewing: u32,
    watched: &[u32],
    seed: Seed,
) -> Option<u32> {
    // A thousandth of a millionth of the first one's weight still counts.
    let weight = |title: &u32| (1e9 * f64::from(title + 1).powf(-titles.exponent)) as u64;
    let left = || (0..titles.titles).filter(|title| !watched.contains(title));
    let mut rng = Rng::new(seed.fork("title", u64::from(viewing) << 32 | u64::from(host)));
    let mut place = rng.below(left().map(|title| weight(&title).max(1)).sum::<u64>().max(1));
    left().find(|title| {
        let weight = weight(title).max(1);
        let found = place < weight;
        place = place.saturating_sub(weight);
        found
    })
}

/// How long the viewer on `host` stays with its `viewing`-th title, nanoseconds.
#[must_use]
pub fn stays_with(titles: &Titles, host: u32, viewing: u32, seed: Seed) -> u64 {
    let place = u64::from(viewing) << 32 | u64::from(host);
    let mut rng = Rng::new(seed.fork("stay", place));
    nanos(log_normal_s(&mut rng, titles.change_after_s, VIEW_SIGMA).min(1e8))
}

/// Where a browser that is at `position_ms` jumps in a film of `last_ms`.
pub fn browse_to(rng: &mut Rng, position_ms: u64, last_ms: u64) -> u64 {
    if rng.chance(HOT_PERCENT, 100) {
        return hot_place(zipf(rng, HOT_PLACES), last_ms);
    }
    let length = (log_normal_s(rng, JUMP_MEDIAN_S, JUMP_SIGMA) * 1000.0) as u64;
    if rng.chance(FORWARD_PERCENT, 100) {
        (position_ms + length).min(last_ms)
    } else {
        position_ms.saturating_sub(length)
    }
}

/// Film time of the n-th most sought place: the same for everybody.
fn hot_place(number: u32, last_ms: u64) -> u64 {
    // Sevenths of a turn spread them over the film in no order: 7 and 10 share no divisor.
    let place = u64::from(number * 7 % HOT_PLACES);
    last_ms * (2 * place + 1) / (2 * u64::from(HOT_PLACES))
}

/// A number below `count`; number n is drawn with a weight of 1 / (n + 1).
fn zipf(rng: &mut Rng, count: u32) -> u32 {
    let weight = |number: u32| 1_000_000 / u64::from(number + 1);
    let mut place = rng.below((0..count).map(weight).sum());
    for number in 0..count {
        if place < weight(number) {
            return number;
        }
        place -= weight(number);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    fn seconds(ns: u64) -> f64 {
        ns as f64 / 1e9
    }

    #[test]
    fn sessions_have_the_median_of_their_distribution() {
        // FlatOut's churn: shape 0.59, scale 41.9 minutes, so a median of 22.5 minutes.
        let play = Play { session_s: 41.9 * 60.0, session_shape: 0.59, ..Play::default() };
        let sessions = (0..4001)
            .filter_map(|host| Course::draw(&play, host, Seed::from_u64(1)).leaves.map(seconds));
        let middle = median(sessions.collect()) / 60.0;
        assert!((20.5..24.5).contains(&middle), "{middle}");
        let stays = Course::draw(&Play::default(), 1, Seed::from_u64(1));
        assert_eq!(stays, Course { jumps: Vec::new(), gives_up: None, leaves: None });
    }

    #[test]
    fn browsers_jump_two_to_so_many_times_after_short_views() {
        let (manner, jumps, jump_first_s, jump_every_s) = (Manner::Browse, 5, 0.0, 40.0);
        let play = Play { manner, jumps, jump_first_s, jump_every_s, ..Play::default() };
        let courses: Vec<Course> =
            (0..2000).map(|host| Course::draw(&play, host, Seed::from_u64(3))).collect();
        let counts: Vec<usize> = courses.iter().map(|course| course.jumps.len()).collect();
        assert_eq!((counts.iter().min(), counts.iter().max()), (Some(&2), Some(&5)));
        assert!(courses.iter().all(|course| course.jumps.is_sorted()));
        let first = median(courses.iter().map(|course| seconds(course.jumps[0])).collect());
        assert!((37.0..43.0).contains(&first), "{first}");
    }

    #[test]
    fn jumps_go_forward_more_than_back_and_often_to_the_same_places() {
        let mut rng = Rng::new(Seed::from_u64(5));
        let (at, last) = (1_800_000, 3_600_000);
        let places: Vec<u64> = (0..10_000).map(|_| browse_to(&mut rng, at, last)).collect();
        let forward = places.iter().filter(|&&place| place > at).count();
        assert!((6000..7200).contains(&forward), "{forward}");
        assert!(places.iter().all(|&place| place <= last));
        let hottest = places.iter().filter(|&&place| place == hot_place(0, last)).count();
        // A fifth of the jumps, and of these 1 / (1 + 1/2 + .. + 1/10).
        assert!((580..800).contains(&hottest), "{hottest}");
        let mut all: Vec<u64> = (0..HOT_PLACES).map(|number| hot_place(number, last)).collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), HOT_PLACES as usize);
    }

    #[test]
    fn titles_are_picked_by_zipf_and_never_twice() {
        let titles = Titles { titles: 20, exponent: 0.8, ..Titles::default() };
        let mut counts = [0u32; 20];
        for host in 0..20_000 {
            let first = pick_title(&titles, host, 0, &[], Seed::from_u64(1)).expect("a title");
            counts[first as usize] += 1;
            let next = pick_title(&titles, host, 1, &[first], Seed::from_u64(1)).expect("another");
            assert_ne!(first, next);
        }
        // 1 / (1 + 2^-0.8 + .. + 20^-0.8) = 0.214; the second gets 0.574 of it, the twentieth 0.091.
        assert!((4100..4460).contains(&counts[0]), "{counts:?}");
        assert!((2290..2630).contains(&counts[1]), "{counts:?}");
        assert!((320..460).contains(&counts[19]), "{counts:?}");
        let one = Titles::default();
        assert_eq!(pick_title(&one, 3, 0, &[], Seed::from_u64(1)), Some(0));
        assert_eq!(pick_title(&one, 3, 1, &[0], Seed::from_u64(1)), None);
    }

    #[test]
    fn timed_jumps_come_when_the_scenario_says() {
        let play = Play { jumps: 3, jump_first_s: 8.0, jump_every_s: 2.5, ..Play::default() };
        let jumps = Course::draw(&play, 1, Seed::from_u64(1)).jumps;
        assert_eq!(jumps, [8_000_000_000, 10_500_000_000, 13_000_000_000]);
    }
}
