//! Round trips like those between PlanetLab's hosts, from a model of 140 numbers instead of a table of all pairs.
//!
//! Fitted to the first slice of NetLatency-Data (490 hosts; Zhu et al., "Network Latency Estimation for Personal Devices",
//! IEEE/ACM Transactions on Networking 25, 2017). The hosts fall into five regions (a block model over the logarithms of
//! their round trips, which explains 77 % of their variance): two in America, two in Europe, and everything further away.
//! For each pair of regions the quantiles of its round trips are kept. A pair of hosts takes the quantile at a place that
//! its two hosts and its own noise share:
//!
//! * between regions: the sum of how far each host is from the other's region, and noise, all uniform. Two thirds of a
//!   pair's rank are its hosts', as in the table;
//! * inside a region: how far apart the hosts lie on a line, and noise.
//!
//! Both sums are mapped back to uniform places by their exact distribution functions, so that the quantiles come out as
//! they are kept. All of it is integer arithmetic on hashes: O(1), no memory, the same on every machine. How well it fits
//! stands in `docs/simulator.md`.

use super::latency::mix;

const REGIONS: usize = 5;
/// Hosts of each region in the table.
const SHARES: [u64; REGIONS] = [88, 103, 106, 114, 79];
/// Places of the quantiles, per mille.
const PLACES: [u64; 9] = [0, 50, 250, 500, 750, 900, 970, 990, 1000];
/// Round trips at these places, milliseconds: regions 0-0, 0-1, .. 0-4, 1-1, .. 4-4. The ends are those of 0.2 and 99.7 %:
/// what lies beyond them are stalls of measuring machines.
const ROUND_TRIPS_MS: [[u64; 9]; REGIONS * (REGIONS + 1) / 2] = [
    [1, 7, 29, 49, 65, 87, 108, 122, 128],
    [15, 30, 45, 61, 80, 90, 101, 116, 128],
    [137, 153, 172, 189, 206, 222, 240, 255, 278],
    [118, 136, 151, 165, 181, 195, 209, 220, 228],
    [92, 128, 169, 199, 233, 270, 366, 457, 600],
    [1, 5, 14, 24, 32, 42, 54, 70, 95],
    [104, 112, 124, 135, 149, 165, 184, 199, 222],
    [76, 89, 101, 111, 125, 139, 152, 160, 169],
    [98, 168, 197, 225, 252, 294, 380, 641, 756],
    [1, 8, 47, 70, 84, 102, 130, 146, 160],
    [10, 30, 41, 50, 60, 71, 92, 108, 118],
    [178, 201, 264, 307, 335, 366, 439, 631, 780],
    [1, 6, 17, 24, 33, 39, 45, 48, 51],
    [155, 174, 222, 283, 310, 339, 376, 449, 503],
    [1, 15, 90, 252, 383, 463, 624, 803, 856],
];

/// One, in the fixed point of places.
const ONE: u64 = 1 << 16;

/// One-way delay between two different hosts, nanoseconds: half a round trip. Symmetric. O(1).
#[must_use]
pub(super) fn one_way_ns(a: u32, b: u32, salt: u64) -> u64 {
    let (a, b) = (u64::from(a.min(b)), u64::from(a.max(b)));
    let noise = draw(salt ^ 0x7061_6972, (a << 32) | b);
    let (from, to) = (region(a, salt), region(b, salt));
    let place = if from == to {
        // Distance on a line of two uniform points is at most d with chance d (2 - d).
        let line = |host| draw(salt ^ 0x6c69_6e65, host);
        let apart = line(a).abs_diff(line(b));
        sum_of_two((apart * (2 * ONE - apart) / ONE) + noise)
    } else {
        let far = |host, region| draw(salt ^ 0x6661_7200, (host << 8) | region as u64);
        sum_of_three(far(a, to) + far(b, from) + noise)
    };
    round_trip_us(from, to, place) * 500
}

/// Uniform below [`ONE`].
fn draw(salt: u64, number: u64) -> u64 {
    mix(mix(salt).wrapping_add(number)) >> 48
}

fn region(host: u64, salt: u64) -> usize {
    let all: u64 = SHARES.iter().sum();
    let mut place = draw(salt ^ 0x7265_6769, host) * all / ONE;
    for (region, share) in SHARES.iter().enumerate() {
        if place < *share {
            return region;
        }
        place -= share;
    }
    REGIONS - 1
}

/// Share of the sums of two uniform draws that are below `sum` (triangular distribution).
fn sum_of_two(sum: u64) -> u64 {
    if sum < ONE {
        return sum * sum / 2 / ONE;
    }
    let rest = (2 * ONE).saturating_sub(sum);
    ONE - rest * rest / 2 / ONE
}

/// Share of the sums of three uniform draws that are below `sum` (Irwin and Hall's distribution).
fn sum_of_three(sum: u64) -> u64 {
    // The cubes of numbers below 3 * 2^16 take 53 bits.
    let cube = |x: u64| x * x * x;
    let sixth = if sum < ONE {
        cube(sum)
    } else if sum < 2 * ONE {
        cube(sum) - 3 * cube(sum - ONE)
    } else {
        6 * cube(ONE) - cube((3 * ONE).saturating_sub(sum))
    };
    sixth / 6 / (ONE * ONE)
}

/// Round trip at a place of a pair of regions, microseconds.
fn round_trip_us(from: usize, to: usize, place: u64) -> u64 {
    let (low, high) = (from.min(to), from.max(to));
    // Rows before this one's: REGIONS + (REGIONS - 1) + ..
    let row = low * (2 * REGIONS + 1 - low) / 2 + high - low;
    let quantiles = &ROUND_TRIPS_MS[row];
    let at = (place * 1000).min(1000 * ONE - 1);
    let step = PLACES.iter().skip(1).position(|end| at < end * ONE).unwrap_or(PLACES.len() - 2);
    let (start, width) = (PLACES[step] * ONE, (PLACES[step + 1] - PLACES[step]) * ONE);
    let (least, most) = (quantiles[step] * 1000, quantiles[step + 1] * 1000);
    least + (most - least) * (at - start) / width
}

#[cfg(test)]
mod tests {
    use super::{ONE, REGIONS, SHARES, one_way_ns, region, sum_of_three, sum_of_two};

    /// Round trips of all pairs of a world, ascending, milliseconds.
    fn round_trips(hosts: u32, salt: u64) -> Vec<f64> {
        let pairs = (0..hosts).flat_map(|a| (0..a).map(move |b| (a, b)));
        let mut all: Vec<f64> =
            pairs.map(|(a, b)| 2.0 * one_way_ns(a, b, salt) as f64 / 1e6).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    #[test]
    fn quantiles_are_those_of_the_table_it_was_fitted_to() {
        let measured = [
            (0.05, 19.0),
            (0.10, 32.0),
            (0.25, 59.0),
            (0.50, 135.0),
            (0.75, 202.0),
            (0.90, 291.0),
            (0.95, 325.0),
            (0.99, 413.0),
        ];
        let worlds: Vec<Vec<f64>> = (0..20).map(|salt| round_trips(490, salt)).collect();
        for (share, wanted) in measured {
            let at = |all: &Vec<f64>| all[(share * all.len() as f64) as usize];
            let mean = worlds.iter().map(at).sum::<f64>() / worlds.len() as f64;
            assert!((mean / wanted - 1.0).abs() < 0.08, "p{}: {mean} for {wanted}", share * 100.0);
        }
    }

    #[test]
    fn delays_are_symmetric_and_follow_from_the_seed() {
        for (a, b) in [(0, 1), (5, 900), (77, 3), (1_000_000, 2)] {
            assert_eq!(one_way_ns(a, b, 9), one_way_ns(b, a, 9));
        }
        assert_ne!(round_trips(20, 1), round_trips(20, 2));
        assert_eq!(round_trips(20, 3), round_trips(20, 3));
    }

    #[test]
    fn there_is_some_geography() {
        // Going by way of a third host is shorter for about one side of a triple in ten; in the table for one in seventeen.
        let hosts = 120;
        let (mut all, mut shorter) = (0u32, 0u32);
        for a in 0..hosts {
            for b in a + 1..hosts {
                for c in b + 1..hosts {
                    let [ab, bc, ac] = [(a, b), (b, c), (a, c)].map(|(x, y)| one_way_ns(x, y, 5));
                    all += 3;
                    shorter += u32::from(ab + bc < ac);
                    shorter += u32::from(ab + ac < bc);
                    shorter += u32::from(bc + ac < ab);
                }
            }
        }
        assert!(shorter * 100 < all * 14, "{shorter} of {all}");
    }

    #[test]
    fn regions_get_their_shares_and_sums_cover_all_places() {
        let mut counts = [0u64; REGIONS];
        (0..49_000).for_each(|host| counts[region(host, 1)] += 1);
        for (count, share) in counts.iter().zip(SHARES) {
            assert!(count.abs_diff(share * 100) < share * 6, "{count} for {share}");
        }
        assert_eq!((sum_of_two(0), sum_of_two(ONE), sum_of_two(2 * ONE)), (0, ONE / 2, ONE));
        assert_eq!((sum_of_three(0), sum_of_three(3 * ONE)), (0, ONE));
        assert_eq!((sum_of_three(ONE), sum_of_three(ONE * 3 / 2)), (ONE / 6, ONE / 2));
    }
}
