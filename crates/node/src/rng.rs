//! Seeded randomness: SplitMix64 to spread seeds, xoshiro256** to draw (Blackman and Vigna, 2018).
//!
//! Never cryptographic. Secrets come from the world: the real driver takes them from the operating system.

/// What all randomness of a node derives from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seed(pub [u64; 4]);

impl Seed {
    /// A seed for tests and simulations.
    #[must_use]
    pub fn from_u64(value: u64) -> Self {
        let mut state = value;
        Self([(); 4].map(|()| split_mix(&mut state)))
    }
    /// An independent seed for `purpose` and `index`: draws of one stream never change those of another.
    #[must_use]
    pub fn fork(&self, purpose: &str, index: u64) -> Self {
        let mut state = self.0[0] ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for &byte in purpose.as_bytes() {
            state = (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let mut state = state ^ self.0[1].rotate_left(17) ^ self.0[2].rotate_left(31) ^ self.0[3];
        Self([(); 4].map(|()| split_mix(&mut state)))
    }
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mix(*state)
}

/// Spreads a number over 64 bits, the same everywhere: the finalizer of SplitMix64.
#[must_use]
pub fn mix(value: u64) -> u64 {
    let mut z = value;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A generator of 32 bytes. Draws are `u32` and `u64` only, so that every platform draws the same.
#[derive(Clone, Debug)]
pub struct Rng([u64; 4]);

impl Rng {
    /// A generator that starts at `seed`.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        // An all-zero state would stay zero for ever.
        Self(if seed.0 == [0; 4] { Seed::from_u64(0).0 } else { seed.0 })
    }
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = b.wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let (c2, d2) = (c ^ a, d ^ b);
        self.0 = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        result
    }
    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    /// A number below `bound`; 0 when `bound` is 0. Bias below 2^-32 for bounds that fit 32 bits.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
    /// True in `numerator` of `denominator` draws.
    pub fn chance(&mut self, numerator: u32, denominator: u32) -> bool {
        self.below(u64::from(denominator.max(1))) < u64::from(numerator)
    }
    /// Shuffles `items` (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}
