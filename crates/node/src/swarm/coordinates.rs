//! Where a node lies among others: three numbers and a height, from which the round trip to somebody follows without a measurement
//! (Dabek, Cox, Kaashoek and Morris, "Vivaldi: A Decentralized Network Coordinate System", SIGCOMM 2004). Each measured round trip
//! is a spring that pulls or pushes by a quarter of what the prediction was wrong, and less where the other end is less sure of its
//! own place than we are.
//!
//! Only nodes that choose peers by them tell and take them ([`Choice::Coordinates`]): for comparison. Integers all through,
//! microseconds: the same inputs give the same place everywhere.

use core::time::Duration;

use shoal_wire::peer::{Coordinates, Extended, Message, ShoalMessage};

use super::Hub;
use super::audience::short_id;
use super::title::Swarm;
use crate::config::{Choice, SwarmConfig};
use crate::rng::mix;
use crate::turn::Turn;

/// No place is further from the middle in any direction, and no height greater, microseconds: farther than any host that
/// answers, so that who claims more moves nobody by more.
const REACH_US: i64 = 2_000_000;
/// The least height: where two lie on one spot something must push them apart.
const HEIGHT_MIN_US: i64 = 100;
/// An error of everything: of who was never measured.
const UNSURE: u64 = 1000;
/// An error below which nobody is taken to be: else who claims none would be believed against everything known.
const SURE: u64 = 20;
/// Part of a correction that is made at once, and part of an error that a new sample replaces: the paper's `c_c` and `c_e`.
const GAIN_INVERSE: u64 = 4;
/// One measurement moves us by no more, microseconds: a liar needs many.
const STEP_MAX_US: i64 = 50_000;
/// Others are told again when we are further than this from where we said, microseconds: with a fifth of it they are told nothing better,
/// for half as much control traffic again.
const TOLD_AGAIN_US: u64 = 10_000;

/// Our own place: that of all titles.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spot {
    own: Coordinates,
}

/// Where a peer says that it is, and what follows for the round trip to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Neighbour {
    at: Coordinates,
    /// The shortest round trip that was seen: longer ones show its queue, which is no distance.
    least: Duration,
    /// Microseconds.
    predicted: u64,
}

impl Neighbour {
    /// The round trip that both places stand for, as of the last second.
    pub(super) fn predicted_us(&self) -> u64 {
        self.predicted
    }
}

fn magnitude(parts: [i64; 3]) -> u64 {
    // Parts are differences of two numbers below two million in size: squares are far from the end of 64 bits.
    parts.iter().map(|part| part.unsigned_abs().pow(2)).sum::<u64>().isqrt()
}

/// Of a place that somebody told: with what it may not be put right.
fn sane(place: &Coordinates) -> Coordinates {
    let reach = REACH_US as i32;
    Coordinates {
        at: place.at.map(|part| part.clamp(-reach, reach)),
        height_us: place.height_us.min(reach as u32),
        error_permille: place.error_permille.clamp(SURE as u16, UNSURE as u16),
    }
}

fn between(a: &Coordinates, b: &Coordinates) -> [i64; 3] {
    core::array::from_fn(|axis| i64::from(a.at[axis]) - i64::from(b.at[axis]))
}

/// The round trip between two places, microseconds: as far as they are apart, and up and down the heights of both.
fn distance(a: &Coordinates, b: &Coordinates) -> u64 {
    magnitude(between(a, b)) + u64::from(a.height_us) + u64::from(b.height_us)
}

impl Spot {
    /// A round trip to somebody was measured. `any` decides the direction where both lie on one spot.
    fn observe(&mut self, theirs: &Coordinates, measured: Duration, any: u64) {
        let own = self.own;
        let measured_us = i64::try_from(measured.as_micros()).unwrap_or(REACH_US);
        let measured_us = measured_us.clamp(1, REACH_US);
        let predicted = distance(&own, theirs).max(1) as i64;
        let own_error = u64::from(own.error_permille).clamp(SURE, UNSURE);
        let weight = own_error * 1000 / (own_error + u64::from(theirs.error_permille));
        let off = predicted.abs_diff(measured_us) * 1000 / measured_us.unsigned_abs();
        let part = weight / GAIN_INVERSE;
        let error = (off.min(UNSURE) * part + own_error * (1000 - part)) / 1000;
        let step = (measured_us - predicted) * part as i64 / 1000;
        let step = step.clamp(-STEP_MAX_US, STEP_MAX_US);
        let mut apart = between(&own, theirs);
        if magnitude(apart) == 0 {
            // As long as the prediction on each axis, one way or the other.
            apart = core::array::from_fn(
                |axis| if any >> axis & 1 == 0 { predicted } else { -predicted },
            );
        }
        let heights = i64::from(own.height_us) + i64::from(theirs.height_us);
        let moved = |from: i64, along: i64| from + step * along / predicted;
        let clamped = |value: i64, least: i64| value.clamp(least, REACH_US);
        self.own = Coordinates {
            at: core::array::from_fn(|axis| {
                clamped(moved(i64::from(own.at[axis]), apart[axis]), -REACH_US) as i32
            }),
            height_us: clamped(moved(i64::from(own.height_us), heights), HEIGHT_MIN_US) as u32,
            error_permille: error.clamp(SURE, UNSURE) as u16,
        };
    }
    /// Whether what was `told` is no longer true. Then it counts as told again.
    fn is_news(&self, told: &mut Option<Coordinates>) -> bool {
        let own = self.own;
        let is_news = told.is_none_or(|told| {
            let heights = u64::from(told.height_us.abs_diff(own.height_us));
            magnitude(between(&told, &own)) + heights > TOLD_AGAIN_US
                || told.error_permille.abs_diff(own.error_permille) > told.error_permille / 4
        });
        if is_news {
            *told = Some(own);
        }
        is_news
    }
}

/// Whether this node has to do with coordinates.
fn counts(config: &SwarmConfig) -> bool {
    config.choice == Choice::Coordinates
}

impl Swarm {
    /// Tells a newcomer where we are.
    pub(super) fn tell_coordinates(&mut self, turn: &mut Turn<'_>, hub: &Hub, slot: u16) {
        if counts(&turn.config.swarm) && self.peer(slot).is_some_and(|peer| peer.ids.shoal != 0) {
            let message = Extended::Shoal(ShoalMessage::Coordinates(hub.spot.own));
            self.send(turn, slot, Message::Extended(message.into()));
        }
    }
    /// A peer tells where it is. It pulls at us once a second, however often it says so.
    pub(super) fn on_coordinates(
        &mut self,
        turn: &Turn<'_>,
        hub: &Hub,
        slot: u16,
        place: &Coordinates,
    ) {
        if !counts(&turn.config.swarm) {
            return;
        }
        let Some(peer) = self.peer_mut(slot) else { return };
        let at = sane(place);
        let least = peer.rare().neighbour.map_or(Duration::MAX, |neighbour| neighbour.least);
        let predicted = distance(&hub.spot.own, &at);
        peer.rare_mut().neighbour = Some(Neighbour { at, least, predicted });
    }
    /// Once a second: each neighbour pulls at us, and who thinks us elsewhere is told. O(links), where coordinates count.
    pub(super) fn find_place(&mut self, turn: &mut Turn<'_>, hub: &mut Hub) {
        if !counts(&turn.config.swarm) {
            return;
        }
        for slot in self.slots() {
            self.observe_neighbour(turn, hub, slot);
        }
        if hub.spot.is_news(&mut self.told_place) {
            for slot in self.slots() {
                self.tell_coordinates(turn, hub, slot);
            }
        }
    }
    fn observe_neighbour(&mut self, turn: &Turn<'_>, hub: &mut Hub, slot: u16) {
        let own_id = short_id(&turn.peer_id);
        let Some(peer) = self.peer_mut(slot) else { return };
        let (service, their_id) = (peer.service, short_id(&peer.id));
        let Some(neighbour) = peer.rare().neighbour else { return };
        let mut least = neighbour.least;
        if service.has_rtt() {
            least = least.min(service.rtt());
            hub.spot.observe(&neighbour.at, least, mix(own_id ^ mix(their_id)));
        }
        let predicted = distance(&hub.spot.own, &neighbour.at);
        peer.rare_mut().neighbour = Some(Neighbour { least, predicted, ..neighbour });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::rng::{Rng, Seed};

    /// Hosts on a plane, each behind a line of its own: their round trips, microseconds.
    fn world(hosts: usize) -> (Vec<[i64; 3]>, Vec<u64>) {
        let mut rng = Rng::new(Seed::from_u64(5));
        let mut below = |most: u64| rng.below(most) as i64;
        let places = (0..hosts).map(|_| [below(150_000), below(60_000), 0]).collect();
        let lines = (0..hosts).map(|_| 500 + below(20_000) as u64).collect();
        (places, lines)
    }

    #[test]
    fn places_predict_round_trips_that_nobody_measured() {
        let (places, lines) = world(80);
        let trip = |a: usize, b: usize| {
            let apart = core::array::from_fn(|axis| places[a][axis] - places[b][axis]);
            magnitude(apart) + lines[a] + lines[b]
        };
        let mut spots = alloc::vec![Spot::default(); 80];
        let mut rng = Rng::new(Seed::from_u64(6));
        // Each has sixteen neighbours and measures no others.
        let neighbours: Vec<Vec<usize>> =
            (0..80).map(|_| (0..16).map(|_| rng.below(80) as usize).collect()).collect();
        for round in 0..60u64 {
            for own in 0..80 {
                for &other in neighbours[own].iter().filter(|other| **other != own) {
                    let theirs = sane(&spots[other].own);
                    let any = mix(round ^ mix((own * 80 + other) as u64));
                    spots[own].observe(&theirs, Duration::from_micros(trip(own, other)), any);
                }
            }
        }
        let mut errors: Vec<u64> = (0..80)
            .flat_map(|a| (0..a).map(move |b| (a, b)))
            .filter(|(a, b)| !neighbours[*a].contains(b) && !neighbours[*b].contains(a))
            .map(|(a, b)| {
                let predicted = distance(&spots[a].own, &spots[b].own);
                predicted.abs_diff(trip(a, b)) * 1000 / trip(a, b)
            })
            .collect();
        errors.sort_unstable();
        let (median, worst) = (errors[errors.len() / 2], errors[errors.len() * 9 / 10]);
        assert!(median < 60 && worst < 200, "median {median}, nine of ten {worst} per mille");
    }

    #[test]
    fn a_liar_moves_nobody_far_at_once() {
        let lie =
            Coordinates { at: [i32::MIN, i32::MAX, 0], height_us: u32::MAX, error_permille: 0 };
        let mut spot = Spot::default();
        for times in 1..=40 {
            spot.observe(&sane(&lie), Duration::from_nanos(1), 0);
            let far = magnitude(spot.own.at.map(i64::from));
            assert!(far <= times * STEP_MAX_US as u64, "{far} after {times}");
        }
        spot.observe(&sane(&lie), Duration::MAX, 7);
    }

    #[test]
    fn two_on_one_spot_are_pushed_apart() {
        let mut spots = [Spot::default(); 2];
        for round in 0..400 {
            let [a, b] = spots.map(|spot| sane(&spot.own));
            spots[0].observe(&b, Duration::from_millis(40), mix(round));
            spots[1].observe(&a, Duration::from_millis(40), !mix(round));
        }
        let apart = distance(&spots[0].own, &spots[1].own);
        assert!(apart.abs_diff(40_000) < 2_000, "{apart}");
        assert!(spots[0].own.error_permille < 100, "{spots:?}");
    }

    #[test]
    fn nothing_is_said_again_while_we_stay() {
        let mut spot = Spot::default();
        // Each title has peers of its own to tell.
        let mut told = [None; 2];
        assert!(told.iter_mut().all(|told| spot.is_news(told)));
        assert!(!told.iter_mut().any(|told| spot.is_news(told)));
        spot.own.at[0] = 15_000;
        assert!(told.iter_mut().all(|told| spot.is_news(told)));
    }
}
