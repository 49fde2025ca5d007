//! Orders of pieces that look at the playhead, for comparison with rarest first.
//!
//! Both come from streaming over BitTorrent: a draw that favours what is near (Carlsson and Eager, Networking 2007), and in
//! order with a probability, rarest first otherwise (BiToS, Global Internet 2006). **Refuses** floats: weights are integers.

use alloc::vec::Vec;

use crate::config::limits::ZIPF_SCAN_MAX;

/// All pieces, those from the playhead on first, then those before it.
pub(super) fn from(playhead: u32, count: u32) -> impl Iterator<Item = u32> {
    let playhead = playhead.min(count);
    (playhead..count).chain(0..playhead)
}

/// The weight of the piece that is `rank` pieces away: proportional to (rank + 1) to the power of -5/4, 2^40 for the first.
fn weight(rank: u32) -> u64 {
    let distance = u64::from(rank) + 1;
    // The fourth root in units of 1/256: the root of the root of 2^32 times the distance.
    let root = (distance << 32).isqrt().isqrt().max(1);
    ((1 << 48) / (distance * root)).max(1)
}

/// One of the nearest [`ZIPF_SCAN_MAX`] pieces for which `takes` holds, the nearer the likelier. `random` decides.
pub(super) fn by_distance(
    random: u32,
    playhead: u32,
    count: u32,
    takes: impl Fn(u32) -> bool,
) -> Option<u32> {
    let near = (0u32..).zip(from(playhead, count)).take(ZIPF_SCAN_MAX as usize);
    let mut sum = 0u64;
    // Each with the sum of the weights up to it. The sum of 8,192 weights is below 2^43.
    let sums: Vec<(u64, u32)> = near
        .filter(|(_, piece)| takes(*piece))
        .map(|(rank, piece)| {
            sum += weight(rank);
            (sum, piece)
        })
        .collect();
    let place = (u128::from(sum) * u128::from(random)) >> 32;
    let chosen = sums.partition_point(|(upto, _)| u128::from(*upto) <= place);
    sums.get(chosen).map(|(_, piece)| *piece)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Rng, Seed};

    #[test]
    fn what_is_near_the_playhead_is_drawn_most_and_as_often_as_its_weight_says() {
        let mut rng = Rng::new(Seed::from_u64(1));
        let mut counts = [0u32; 100];
        for _ in 0..100_000 {
            let piece = by_distance(rng.next_u32(), 40, 100, |_| true).expect("one of them");
            counts[piece as usize] += 1;
        }
        // 1 / (1 + 2^-1.25 + .. + 100^-1.25) = 0.300; the next gets 0.42 of it, the sixteenth a thirty-second.
        assert!((29_300..30_800).contains(&counts[40]), "{}", counts[40]);
        assert!((12_200..13_100).contains(&counts[41]), "{}", counts[41]);
        assert!((820..1060).contains(&counts[55]), "{}", counts[55]);
        // What lies before the playhead comes after the end.
        assert!(counts[99] > counts[39] && counts[0] > counts[39], "{counts:?}");
    }

    #[test]
    fn only_what_is_to_be_had_is_drawn_and_nothing_when_there_is_nothing() {
        for random in [0, 1 << 31, u32::MAX] {
            assert_eq!(by_distance(random, 5, 10, |piece| piece == 3), Some(3));
            assert_eq!(by_distance(random, 5, 10, |_| false), None);
            assert_eq!(by_distance(random, 0, 0, |_| true), None);
            assert_eq!(by_distance(random, 7, 2_000_000, |piece| piece == 9000), None, "too far");
        }
        let order: Vec<u32> = from(3, 5).collect();
        assert_eq!(order, [3, 4, 0, 1, 2]);
    }
}
