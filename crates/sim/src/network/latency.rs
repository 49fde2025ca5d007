//! How long a byte is under way between two hosts, without a table of pairs unless one is given.

use std::fmt;

use super::planetlab;

/// One-way delays. All are symmetric.
#[derive(Clone, Debug)]
pub enum Latency {
    /// The same for all pairs.
    Constant {
        /// One way, nanoseconds.
        one_way_ns: u64,
    },
    /// Host `i` is row `i % n` of a square table of round trips.
    Matrix(Matrix),
    /// Hosts lie on a plane of `extent_ns` by `extent_ns`; delay is their distance plus `least_ns`.
    Plane {
        /// Side of the plane, nanoseconds.
        extent_ns: u64,
        /// Delay at distance zero, nanoseconds.
        least_ns: u64,
        /// Decides where hosts lie.
        salt: u64,
    },
    /// Like the round trips between PlanetLab's hosts: see the model's own page.
    PlanetLab {
        /// Decides which hosts they are.
        salt: u64,
    },
}

/// A square table of round trips in milliseconds.
#[derive(Clone)]
pub struct Matrix {
    side: usize,
    rtt_us: Vec<u32>,
}

impl fmt::Debug for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Matrix({} hosts)", self.side)
    }
}

impl Matrix {
    /// Reads rows of numbers parted by blanks or commas: round trips in milliseconds. Negative and missing values (0 off
    /// the diagonal) become the median.
    ///
    /// # Errors
    /// A sentence that names the row when the table is not square, not numeric or empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rows: Vec<Vec<f64>> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let cells: Result<Vec<f64>, _> = line
                .split(|c: char| c.is_whitespace() || c == ',')
                .filter(|cell| !cell.is_empty())
                .map(str::parse)
                .collect();
            match cells {
                Ok(cells) if cells.is_empty() => {}
                Ok(cells) => rows.push(cells),
                Err(_) => {
                    return Err(format!("row {} holds something else than numbers", number + 1));
                }
            }
        }
        let side = rows.len();
        if side < 2 {
            return Err("a table of round trips needs at least two rows".into());
        }
        if let Some(bad) = rows.iter().position(|row| row.len() != side) {
            return Err(format!(
                "row {} has {} numbers, but there are {side} rows",
                bad + 1,
                rows[bad].len()
            ));
        }
        let mut known: Vec<u32> = Vec::new();
        let mut rtt_us: Vec<u32> = Vec::with_capacity(side * side);
        for value in rows.into_iter().flatten() {
            let micros = (value * 1000.0).round();
            let micros = if micros > 0.0 && micros < 60e6 { micros as u32 } else { 0 };
            if micros > 0 {
                known.push(micros);
            }
            rtt_us.push(micros);
        }
        known.sort_unstable();
        let median = known.get(known.len() / 2).copied().unwrap_or(50_000);
        for value in rtt_us.iter_mut().filter(|value| **value == 0) {
            *value = median;
        }
        Ok(Self { side, rtt_us })
    }
}

impl Latency {
    /// One-way delay between two hosts, nanoseconds; 50 microseconds from a host to itself. O(1).
    #[must_use]
    pub fn one_way_ns(&self, a: u32, b: u32) -> u64 {
        if a == b {
            return 50_000;
        }
        match self {
            Self::Constant { one_way_ns } => *one_way_ns,
            Self::Matrix(matrix) => {
                let (row, column) =
                    (a.min(b) as usize % matrix.side, a.max(b) as usize % matrix.side);
                if row == column {
                    return 500_000;
                }
                u64::from(matrix.rtt_us[row * matrix.side + column]) * 500
            }
            Self::PlanetLab { salt } => planetlab::one_way_ns(a, b, *salt),
            Self::Plane { extent_ns, least_ns, salt } => {
                let place = |host: u32, axis: u64| {
                    let spread = mix(u64::from(host) ^ salt.rotate_left(axis as u32 * 17 + 1));
                    ((u128::from(spread) * u128::from(*extent_ns)) >> 64) as u64
                };
                let dx = place(a, 0).abs_diff(place(b, 0));
                let dy = place(a, 1).abs_diff(place(b, 1));
                least_ns + (u128::from(dx).pow(2) + u128::from(dy).pow(2)).isqrt() as u64
            }
        }
    }
}

/// Spreads a number over 64 bits.
pub(crate) fn mix(value: u64) -> u64 {
    shoal_node::rng::mix(value.wrapping_add(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::{Latency, Matrix};

    #[test]
    fn a_matrix_is_read_and_its_holes_are_filled() {
        let matrix = Matrix::parse("0 10 20\n10 0 -1\n20, 0, 0\n").expect("a table");
        let latency = Latency::Matrix(matrix);
        assert_eq!(latency.one_way_ns(0, 1), 5_000_000);
        assert_eq!(latency.one_way_ns(2, 1), latency.one_way_ns(1, 2));
        assert!(latency.one_way_ns(1, 2) > 0);
        assert!(Matrix::parse("0 1\n1").expect_err("not square").contains("row 2"));
        assert!(Matrix::parse("0 x\n1 0").expect_err("not numbers").contains("row 1"));
    }

    #[test]
    fn a_plane_is_symmetric_and_bounded() {
        let latency = Latency::Plane { extent_ns: 50_000_000, least_ns: 5_000_000, salt: 9 };
        for (a, b) in [(0, 1), (5, 900), (77, 3)] {
            let delay = latency.one_way_ns(a, b);
            assert_eq!(delay, latency.one_way_ns(b, a));
            assert!((5_000_000..=76_000_000).contains(&delay), "{delay}");
        }
    }
}
