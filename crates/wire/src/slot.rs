//! Virtual time slots: who plays about where, as a number, and the name under which those of a slot find each other.
//!
//! Since a film was published, time is divided into slots whose borders move on with real time: who plays without a pause
//! stays in its slot, who jumps changes it. A smaller slot began earlier and is further on, so peers of the same and of
//! smaller slots have what a viewer needs next (P2PMoD; docs/protocol.md).

use sha2::{Digest as _, Sha256};

use crate::{Hash20, InfoHashes};

/// Length of a slot where a title does not say another, milliseconds.
pub const SLOT_MS: u64 = 180_000;
/// Shortest and longest slot that a title can have; others are clamped. Shorter ones would have peers recorded anew all the
/// time, longer ones say nothing about where they are.
pub const SLOT_MS_BOUNDS: (u64, u64) = (10_000, 3_600_000);

/// Films of one title have slots of their own: those of file `n` begin at `n` times this.
const FILE_STRIDE: i64 = 1 << 40;

/// How the time of a title is divided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slots {
    /// When the title was published, Unix time in milliseconds; 0 when that is not known.
    pub published_ms: u64,
    /// Length of a slot, milliseconds, within [`SLOT_MS_BOUNDS`].
    pub length_ms: u64,
}

impl Slots {
    /// Slots of a title that was published then. A length outside [`SLOT_MS_BOUNDS`] is clamped.
    #[must_use]
    pub fn new(published_ms: u64, length_ms: u64) -> Self {
        Self { published_ms, length_ms: length_ms.clamp(SLOT_MS_BOUNDS.0, SLOT_MS_BOUNDS.1) }
    }
    /// How long ago the film would have had to begin for the playhead to be where it is. Signed: who jumped ahead is before
    /// everybody.
    fn age(&self, now_ms: u64, position_ms: u64) -> i128 {
        i128::from(now_ms) - i128::from(self.published_ms) - i128::from(position_ms)
    }
    /// The slot of who plays `position_ms` of film `file` at the Unix time `now_ms`, both in milliseconds. Numbers beyond half a
    /// million million slots are clamped.
    #[must_use]
    pub fn at(&self, now_ms: u64, file: u32, position_ms: u64) -> i64 {
        let slot = self.age(now_ms, position_ms).div_euclid(i128::from(self.length_ms));
        let (low, high) = (i128::from(-FILE_STRIDE / 2), i128::from(FILE_STRIDE / 2 - 1));
        let slot = i64::try_from(slot.clamp(low, high)).unwrap_or(0);
        slot.saturating_add(i64::from(file & 0x3f_ffff) * FILE_STRIDE)
    }
    /// Milliseconds until who is there with a playhead that stands still enters the next slot; at least 1.
    #[must_use]
    pub fn ends_in(&self, now_ms: u64, position_ms: u64) -> u64 {
        let into = self.age(now_ms, position_ms).rem_euclid(i128::from(self.length_ms));
        self.length_ms - u64::try_from(into).unwrap_or(0)
    }
}

/// The name under which peers of a slot of a title are recorded in trackers and other directories: the first 20 bytes of
/// SHA-256 over the title's info-hash (v1 of 20 bytes, else v2 of 32) and the slot, 8 bytes, big-endian. `None` without a hash.
#[must_use]
pub fn rendezvous_key(hashes: &InfoHashes, slot: i64) -> Option<Hash20> {
    let mut hash = Sha256::new();
    match (hashes.v1, hashes.v2) {
        (Some(v1), _) => hash.update(v1.0),
        (None, Some(v2)) => hash.update(v2.0),
        (None, None) => return None,
    }
    hash.update(slot.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut key = Hash20::default();
    key.0.copy_from_slice(&digest[..20]);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash32;

    #[test]
    fn who_plays_on_stays_in_its_slot_and_who_jumps_ahead_enters_an_earlier_one() {
        let published = 1_700_000_000_000;
        let slots = Slots::new(published, SLOT_MS);
        let at = |ms: u64, position| slots.at(published + ms, 0, position);
        assert_eq!(at(400_000, 0), 2);
        assert_eq!(at(400_000 + 3_600_000, 3_600_000), 2);
        assert_eq!(at(400_000, 300_000), 0);
        assert_eq!(at(0, 3_600_000), -20, "ahead of whoever plays since it was published");
        assert_eq!(slots.at(published + 400_000, 1, 0), FILE_STRIDE + 2);
        assert_eq!(slots.ends_in(published + 400_000, 0), 140_000);
        assert_eq!(slots.ends_in(published + 360_000, 0), SLOT_MS);
        assert_eq!(Slots::new(published, 30_000).at(published + 400_000, 0, 0), 13);
    }

    #[test]
    fn the_largest_numbers_are_harmless() {
        for (now, published, file, position) in
            [(u64::MAX, 0, 0, 0), (0, u64::MAX, u32::MAX, u64::MAX), (u64::MAX, 0, u32::MAX, 0)]
        {
            for length in [0, SLOT_MS, u64::MAX] {
                let slots = Slots::new(published, length);
                assert!(slots.at(now, file, position).checked_add(2).is_some());
                assert!((1..=slots.length_ms).contains(&slots.ends_in(now, position)));
            }
        }
    }

    /// The first is that of the document. Made with `hashlib.sha256(bytes([1])*20 + (2).to_bytes(8, "big"))` and alike.
    #[test]
    fn keys_are_those_of_the_document() {
        let both = InfoHashes { v1: Some(Hash20([1; 20])), v2: Some(Hash32([2; 32])) };
        let v2 = InfoHashes { v1: None, ..both };
        let hex = |hashes, slot| {
            let key: Hash20 = rendezvous_key(hashes, slot).expect("a hash");
            alloc::format!("{key}")
        };
        assert_eq!(hex(&both, 2), "873487fddd10e9c271654b5670247fdb9653c530");
        assert_eq!(hex(&v2, -1), "5c897e6cc2f6d7c9261c991703ed5799c43d81f8");
        assert_eq!(rendezvous_key(&InfoHashes::default(), 0), None);
    }
}
