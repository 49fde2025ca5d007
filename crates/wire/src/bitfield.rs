//! A set of pieces in the form it has on the wire: one bit each, high bit first (BEP 3).

use alloc::vec;
use alloc::vec::Vec;

/// A fixed number of bits, all zero at first. Indexes out of range are never set and read as false.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bitfield {
    bytes: Vec<u8>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// `len` zero bits.
    #[must_use]
    pub fn new(len: u32) -> Self {
        Self { bytes: vec![0; len.div_ceil(8) as usize], len, ones: 0 }
    }
    /// `len` one bits.
    #[must_use]
    pub fn full(len: u32) -> Self {
        let mut field = Self { bytes: vec![0xff; len.div_ceil(8) as usize], len, ones: len };
        field.clear_spare();
        field
    }
    /// Reads the wire form of `len` bits; `None` when the byte count differs or a spare bit is set (BEP 3 says to
    /// drop such a connection).
    #[must_use]
    pub fn from_wire(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != len.div_ceil(8) as usize {
            return None;
        }
        let mut field = Self { bytes: bytes.to_vec(), len, ones: 0 };
        field.clear_spare();
        if field.bytes != bytes {
            return None;
        }
        field.ones = field.bytes.iter().map(|byte| byte.count_ones()).sum();
        Some(field)
    }
    fn clear_spare(&mut self) {
        let spare = self.bytes.len() as u32 * 8 - self.len;
        if let Some(last) = self.bytes.last_mut() {
            *last &= (0xffu16 << spare) as u8;
        }
    }
    /// The wire form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Number of bits.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.len
    }
    /// Whether there are no bits at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// Number of one bits.
    #[must_use]
    pub fn ones(&self) -> u32 {
        self.ones
    }
    /// Whether every bit is one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }
    /// Bit `index`; false out of range.
    #[must_use]
    pub fn get(&self, index: u32) -> bool {
        index < self.len
            && self
                .bytes
                .get((index / 8) as usize)
                .is_some_and(|byte| byte & (0x80 >> (index % 8)) != 0)
    }
    /// Sets bit `index`; true when it was zero. Out of range nothing happens.
    pub fn set(&mut self, index: u32) -> bool {
        if index >= self.len || self.get(index) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((index / 8) as usize) {
            *byte |= 0x80 >> (index % 8);
        }
        self.ones += 1;
        true
    }
    /// Clears bit `index`; true when it was one.
    pub fn clear(&mut self, index: u32) -> bool {
        if !self.get(index) {
            return false;
        }
        if let Some(byte) = self.bytes.get_mut((index / 8) as usize) {
            *byte &= !(0x80 >> (index % 8));
        }
        self.ones -= 1;
        true
    }
    /// First bit of value `value` at or after `from`. Costs one byte compare per eight bits.
    #[must_use]
    pub fn next(&self, from: u32, value: bool) -> Option<u32> {
        let skip = if value { 0x00 } else { 0xff };
        let mut index = from;
        while index < self.len {
            if index.is_multiple_of(8) && self.bytes.get((index / 8) as usize) == Some(&skip) {
                index += 8;
            } else if self.get(index) == value {
                return Some(index);
            } else {
                index += 1;
            }
        }
        None
    }
    /// Indexes of the one bits, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        core::iter::successors(self.next(0, true), move |&index| self.next(index + 1, true))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::Bitfield;

    #[test]
    fn spare_bits_and_wrong_lengths_are_refused() {
        assert!(Bitfield::from_wire(&[0xff], 8).is_some_and(|field| field.is_full()));
        assert!(Bitfield::from_wire(&[0xff], 7).is_none());
        assert!(Bitfield::from_wire(&[0xfe], 7).is_some_and(|field| field.is_full()));
        assert!(Bitfield::from_wire(&[0xff, 0], 8).is_none());
    }

    #[test]
    fn ones_are_counted_through_set_and_clear() {
        let mut field = Bitfield::new(20);
        assert!(field.set(3) && field.set(19) && !field.set(3) && !field.set(20));
        assert_eq!(field.iter().collect::<Vec<_>>(), [3, 19]);
        assert!(field.clear(3) && !field.clear(3));
        assert_eq!((field.ones(), field.next(0, true), field.next(19, false)), (1, Some(19), None));
        assert_eq!(Bitfield::full(20).ones(), 20);
    }

    #[test]
    fn no_bits_at_all_are_full_and_empty() {
        let none = Bitfield::new(0);
        assert!(none.is_empty() && none.is_full() && none.as_bytes().is_empty());
        assert_eq!(Bitfield::from_wire(&[], 0), Some(none));
        assert_eq!(Bitfield::from_wire(&[0], 0), None);
        assert_eq!(Bitfield::full(0).next(0, false), None);
    }

    proptest! {
        #[test]
        fn it_behaves_like_a_list_of_booleans(
            len in 0u32..70, steps in prop::collection::vec((0u32..80, any::<bool>()), 0..60), from in 0u32..80)
        {
            let mut field = Bitfield::new(len);
            let mut model = alloc::vec![false; len as usize];
            for (index, value) in steps {
                let slot = model.get_mut(index as usize);
                let changes = slot.as_ref().is_some_and(|slot| **slot != value);
                if let Some(slot) = slot { *slot = value; }
                let changed = if value { field.set(index) } else { field.clear(index) };
                prop_assert_eq!(changed, changes);
            }
            let ones: Vec<u32> = (0..len).filter(|index| model[*index as usize]).collect();
            prop_assert_eq!(field.iter().collect::<Vec<_>>(), &ones[..]);
            prop_assert_eq!(field.ones() as usize, ones.len());
            for value in [true, false] {
                let next = (from..len).find(|index| model[*index as usize] == value);
                prop_assert_eq!(field.next(from, value), next);
            }
            prop_assert_eq!(Bitfield::from_wire(field.as_bytes(), len), Some(field));
        }

        #[test]
        fn the_wire_form_is_read_only_in_its_one_form(bytes in prop::collection::vec(any::<u8>(), 0..4), len in 0u32..30) {
            if let Some(field) = Bitfield::from_wire(&bytes, len) {
                prop_assert_eq!(field.as_bytes(), &bytes[..]);
                prop_assert!(field.iter().all(|index| index < len));
            }
        }
    }
}
