//! Files to hand around: bytes that no compression and no holes can shorten, and films of an exact rate.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::fault::{Doing, Tried};

/// A sequence of 64-bit numbers that looks random: SplitMix64 (Steele, Lea and Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    /// The sequence of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in [0, 1).
    pub(crate) fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Writes a file of `length` bytes that depend on the seed alone.
pub(crate) fn random(path: &Path, length: u64, seed: u64) -> Tried<PathBuf> {
    let mut numbers = Numbers::new(seed);
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        bytes.extend_from_slice(&numbers.next().to_le_bytes());
    }
    bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).doing("make a folder")?;
    }
    let mut file = File::create(path).doing("write a file")?;
    file.write_all(&bytes).doing("write a file")?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn numbers_are_those_of_the_published_generator() {
        let mut numbers = Numbers::new(1_234_567);
        assert_eq!(numbers.next(), 6_457_827_717_110_365_317);
        assert_eq!(numbers.next(), 3_203_168_211_198_807_973);
        assert!((0.0..1.0).contains(&numbers.share()));
    }
}
