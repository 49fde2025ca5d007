//! The file form of a time index (docs/protocol.md, "Time index").

use alloc::vec::Vec;

use super::{KeyPoint, TimeIndex};
use crate::DecodeError;
use crate::error::ErrorKind;

/// First bytes of a file.
const MAGIC: [u8; 4] = *b"SHTI";
/// Version written and read.
const VERSION: u8 = 1;
/// Most key frames: a day of film with ten a second.
pub const MAX_KEYS: usize = 864_000;
/// Most byte ranges needed before anything else.
pub const MAX_BOOT_RANGES: usize = 64;
/// Longest film, milliseconds: 1,000 days.
pub const MAX_DURATION_MS: u64 = 86_400_000_000;
/// Longest file read, bytes.
pub const MAX_INDEX_BYTES: usize = 16 << 20;
/// Bytes of the longest variable-length integer.
const MAX_VARINT_BYTES: usize = 10;

const WHAT: &str = "time index";

impl TimeIndex {
    /// The file form. Keys and ranges beyond the limits, and keys that do not ascend, are left out: what is written can always
    /// be read.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let duration_ms = self.duration_ms.min(MAX_DURATION_MS);
        let mut out = Vec::with_capacity(32 + self.keys.len() * 5);
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        put(&mut out, duration_ms);
        put(&mut out, self.length);
        let inside = |(offset, len): &&(u64, u64)| {
            *len > 0 && offset.checked_add(*len).is_some_and(|end| end <= self.length)
        };
        let boot: Vec<_> = self.boot.iter().filter(inside).take(MAX_BOOT_RANGES).collect();
        put(&mut out, boot.len() as u64);
        for (offset, len) in boot {
            put(&mut out, *offset);
            put(&mut out, *len);
        }
        let keys = self.sound_keys(duration_ms);
        put(&mut out, keys.len() as u64);
        let mut last = KeyPoint { time_ms: 0, offset: 0 };
        for key in keys {
            put(&mut out, key.time_ms - last.time_ms);
            put(&mut out, key.offset - last.offset);
            last = key;
        }
        out
    }

    fn sound_keys(&self, duration_ms: u64) -> Vec<KeyPoint> {
        let mut last: Option<KeyPoint> = None;
        let sound = |key: &&KeyPoint| {
            let ascends =
                last.is_none_or(|last| last.time_ms < key.time_ms && last.offset <= key.offset);
            let fits = key.time_ms <= duration_ms && key.offset < self.length;
            if ascends && fits {
                last = Some(**key);
            }
            ascends && fits
        };
        self.keys.iter().filter(sound).take(MAX_KEYS).copied().collect()
    }

    /// Reads the file form.
    ///
    /// # Errors
    /// Another magic or version; a count, duration or size beyond its limit; a range or key outside the film's file; key times
    /// that do not ascend; integers longer than they need be; bytes left over.
    pub fn decode(input: &[u8]) -> Result<Self, DecodeError> {
        within(0, MAX_INDEX_BYTES as u64, input.len() as u64)?;
        let mut reader = Reader { input, at: 0 };
        if reader.take(4)? != MAGIC {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Expected("SHTI in front")));
        }
        if reader.take(1)? != [VERSION] {
            return Err(reader.invalid("an unknown version"));
        }
        let duration_ms = reader.number()?;
        within(reader.at, MAX_DURATION_MS, duration_ms)?;
        let length = reader.number()?;
        let boot_count = reader.count(MAX_BOOT_RANGES)?;
        let mut boot = Vec::with_capacity(boot_count);
        for _ in 0..boot_count {
            let (offset, len) = (reader.number()?, reader.number()?);
            if len == 0 || offset.checked_add(len).is_none_or(|end| end > length) {
                return Err(reader.invalid("a range outside the film"));
            }
            boot.push((offset, len));
        }
        let key_count = reader.count(MAX_KEYS)?;
        let mut keys = Vec::with_capacity(key_count);
        let mut last = KeyPoint { time_ms: 0, offset: 0 };
        for number in 0..key_count {
            let (step_ms, step) = (reader.number()?, reader.number()?);
            if number > 0 && step_ms == 0 {
                return Err(reader.invalid("two key frames at one time"));
            }
            let time_ms = last.time_ms.checked_add(step_ms).filter(|time| *time <= duration_ms);
            let offset = last.offset.checked_add(step).filter(|offset| *offset < length);
            let (Some(time_ms), Some(offset)) = (time_ms, offset) else {
                return Err(reader.invalid("a key frame outside the film"));
            };
            last = KeyPoint { time_ms, offset };
            keys.push(last);
        }
        if reader.at < input.len() {
            return Err(DecodeError::new(WHAT, reader.at, ErrorKind::Trailing));
        }
        Ok(Self { duration_ms, length, boot, keys })
    }
}

fn within(offset: usize, limit: u64, received: u64) -> Result<(), DecodeError> {
    match received <= limit {
        true => Ok(()),
        false => Err(DecodeError::new(WHAT, offset, ErrorKind::Limit { limit, received })),
    }
}

/// Appends `number`, seven bits a byte, the lowest first, the high bit set on all but the last (LEB128).
fn put(out: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.saturating_add(count);
        let taken = self.input.get(self.at..end);
        let taken = taken.ok_or_else(|| DecodeError::new(WHAT, self.at, ErrorKind::Truncated))?;
        self.at = end;
        Ok(taken)
    }
    fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for place in 0..MAX_VARINT_BYTES {
            let byte = self.take(1)?.first().copied().unwrap_or(0);
            let bits = u64::from(byte & 0x7f);
            let shifted = bits << (7 * place);
            if shifted >> (7 * place) != bits {
                break;
            }
            number |= shifted;
            if byte & 0x80 == 0 {
                // A last byte of zero adds nothing: the same number would have two forms.
                return match byte == 0 && place > 0 {
                    true => Err(self.invalid("an integer longer than it need be")),
                    false => Ok(number),
                };
            }
        }
        Err(self.invalid("an integer beyond 64 bits"))
    }
    /// A count of things that take at least two bytes each: never more than can follow.
    fn count(&mut self, limit: usize) -> Result<usize, DecodeError> {
        let count = self.number()?;
        within(self.at, limit as u64, count)?;
        let room = (self.input.len() - self.at) / 2;
        match usize::try_from(count).ok().filter(|count| *count <= room) {
            Some(count) => Ok(count),
            None => Err(DecodeError::new(WHAT, self.input.len(), ErrorKind::Truncated)),
        }
    }
    fn invalid(&self, why: &'static str) -> DecodeError {
        DecodeError::new(WHAT, self.at, ErrorKind::Invalid(why))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{KeyPoint, MAX_DURATION_MS, TimeIndex};

    fn sample() -> TimeIndex {
        TimeIndex {
            duration_ms: 60_000,
            length: 1_000_000,
            boot: alloc::vec![(0, 300), (999_000, 1000)],
            keys: alloc::vec![
                KeyPoint { time_ms: 0, offset: 300 },
                KeyPoint { time_ms: 2000, offset: 33_000 },
                KeyPoint { time_ms: 4000, offset: 33_000 },
            ],
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let expect = b"SHTI\x01\xe0\xd4\x03\xc0\x84\x3d\
            \x02\x00\xac\x02\xd8\xfc\x3c\xe8\x07\
            \x03\x00\xac\x02\xd0\x0f\xbc\xff\x01\xd0\x0f\x00";
        assert_eq!(sample().encode(), expect);
        assert_eq!(TimeIndex::decode(expect), Ok(sample()));
    }

    #[test]
    fn hostile_files_are_refused() {
        let start = b"SHTI\x01\x64\x64"; // 100 ms, 100 bytes
        let decode = |rest: &[u8]| TimeIndex::decode(&[&start[..], rest].concat());
        assert!(decode(&[0, 0]).is_ok());
        assert!(decode(&[1, 0, 100, 1, 100, 99]).is_ok());
        for rest in [
            &[][..],
            &[0],
            &[0, 0, 0],                                                       // trailing
            &[0, 1],                                                          // truncated
            &[1, 0, 101, 0],              // range beyond the file
            &[1, 100, 1, 0],              // range behind the file
            &[1, 5, 0, 0],                // empty range
            &[0, 1, 101, 0],              // key behind the end
            &[0, 1, 0, 100],              // offset behind the end
            &[0, 2, 0, 0, 0, 1],          // equal times
            &[0, 2, 1, 99, 1, 1],         // offset grows out of the file
            &[65, 0],                     // more ranges than the limit
            &[0, 0xff, 0xff, 0xff, 0x7f], // more keys than the limit
            &[0, 0xff, 0x7f, 0, 0],       // more keys than bytes
            &[0x80, 0, 0],                // an integer in a longer form
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02], // 65 bits
            &[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00],
        ] {
            assert!(decode(rest).is_err(), "{rest:?}");
        }
        assert!(TimeIndex::decode(b"").is_err());
        assert!(TimeIndex::decode(b"SHTJ\x01\x64\x64\0\0").is_err());
        assert!(TimeIndex::decode(b"SHTI\x02\x64\x64\0\0").is_err());
        assert!(TimeIndex::decode(&alloc::vec![0; super::MAX_INDEX_BYTES + 1]).is_err());
    }

    #[test]
    fn the_longest_film_is_read_and_a_longer_one_is_not() {
        let index = TimeIndex { duration_ms: MAX_DURATION_MS, length: u64::MAX, ..sample() };
        assert_eq!(TimeIndex::decode(&index.encode()), Ok(index.clone()));
        let longer = TimeIndex { duration_ms: u64::MAX, ..index };
        let read = TimeIndex::decode(&longer.encode()).map(|index| index.duration_ms);
        assert_eq!(read, Ok(MAX_DURATION_MS));
    }

    #[test]
    fn what_is_unsound_in_an_index_is_not_written() {
        let mut index = sample();
        index.keys.push(KeyPoint { time_ms: 3000, offset: 40_000 });
        index.keys.push(KeyPoint { time_ms: 5000, offset: 20_000 });
        index.keys.push(KeyPoint { time_ms: 90_000, offset: 50_000 });
        index.keys.push(KeyPoint { time_ms: 6000, offset: 1_000_000 });
        index.boot.push((999_999, 2));
        index.boot.push((5, 0));
        assert_eq!(TimeIndex::decode(&index.encode()), Ok(sample()));
    }

    fn any_index() -> impl Strategy<Value = TimeIndex> {
        let numbers = prop::collection::vec((any::<u32>(), any::<u32>()), 0..50);
        (0..MAX_DURATION_MS, any::<u64>(), numbers.clone(), numbers).prop_map(
            |(duration_ms, length, boot, keys)| TimeIndex {
                duration_ms,
                length,
                boot: boot.iter().map(|&(a, b)| (u64::from(a), u64::from(b))).collect(),
                keys: keys
                    .iter()
                    .map(|&(a, b)| KeyPoint { time_ms: a.into(), offset: b.into() })
                    .collect(),
            },
        )
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_and_written_the_same(index in any_index()) {
            let bytes = index.encode();
            let read = TimeIndex::decode(&bytes).unwrap();
            prop_assert_eq!(read.encode(), bytes);
            prop_assert!(read.keys.iter().all(|key| index.keys.contains(key)));
        }

        #[test]
        fn a_decoded_index_can_be_asked_anything(
            bytes in prop::collection::vec(any::<u8>(), 0..80), at in any::<u64>())
        {
            let input: Vec<u8> = [&b"SHTI\x01"[..], &bytes].concat();
            if let Ok(index) = TimeIndex::decode(&input) {
                prop_assert!(index.offset_at(at) <= index.length);
                prop_assert!(index.time_at(at) <= index.duration_ms);
                prop_assert_eq!(index.encode(), input);
                let _ = (index.key_before(at), index.mean_rate());
            }
        }
    }
}
