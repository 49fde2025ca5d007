//! A rolling hash of effects: 128 bits, the same on every platform, fast enough to take every film byte along.
//!
//! Two lanes of multiply and fold. It tells accidents apart, not attacks: nobody gains by a forged record of a run.

use super::code::{Code, Sink};
use crate::stack::StackEffect;

/// Odd numbers without a pattern: the digits of pi and e.
const LANES: [u64; 2] = [0x243f_6a88_85a3_08d3, 0xb7e1_5162_8aed_2a6b];
const LENGTH_KEY: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hash of a sequence of effects, by their contents and their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EffectsHash([u64; 2]);

impl Default for EffectsHash {
    fn default() -> Self {
        Self(LANES)
    }
}

impl EffectsHash {
    /// Takes `effects` along.
    pub fn absorb(&mut self, effects: &[StackEffect]) {
        for effect in effects {
            effect.put(self);
        }
    }
    /// The hash of everything so far.
    #[must_use]
    pub fn value(&self) -> u128 {
        u128::from(self.0[0]) << 64 | u128::from(self.0[1])
    }
    fn mix(&mut self, low: u64, high: u64) {
        let [a, b] = self.0;
        self.0 = [fold(a ^ low, LANES[0] ^ high), fold(b ^ high, LANES[1] ^ low).wrapping_add(a)];
    }
}

fn fold(a: u64, b: u64) -> u64 {
    let wide = u128::from(a) * u128::from(b);
    // The factors are kept: a zero in one of them must not wipe out what came before.
    (wide as u64) ^ ((wide >> 64) as u64) ^ a.rotate_left(23) ^ b.rotate_left(41)
}

impl Sink for EffectsHash {
    /// Takes `bytes` and their length along: sixteen at a time, the last with zeros behind them.
    fn bytes(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<16>();
        for chunk in whole {
            let wide = u128::from_le_bytes(*chunk);
            self.mix(wide as u64, (wide >> 64) as u64);
        }
        let mut last = [0u8; 16];
        last[..rest.len()].copy_from_slice(rest);
        let wide = u128::from_le_bytes(last);
        self.mix(wide as u64, (wide >> 64) as u64 ^ (bytes.len() as u64).wrapping_mul(LENGTH_KEY));
    }
}
