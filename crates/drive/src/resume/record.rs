//! The record of a title: which pieces were whole on the disk, and how the files looked then.
//!
//! Layout, little-endian: `SHOALREC`, version u32, piece count u32, file count u32, the bitfield in wire form, per file
//! a byte (1 when present) with size u64, modified seconds i64, nanoseconds u32; at the end XXH3-64 of all before.

use std::path::Path;

use shoal_wire::bitfield::Bitfield;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::RECORD_MAX;
use crate::error::DriveError;
use crate::storage::Stamp;

const MAGIC: &[u8; 8] = b"SHOALREC";
/// A record of another version is none: what it says is checked again.
const VERSION: u32 = 2;
/// Bytes of a file's looks.
const STAMP_LEN: usize = 33;

/// What was whole, and by which looks of the files this can be believed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Record {
    /// Whole pieces.
    pub have: Bitfield,
    /// Looks of each file of the title; `None` for a file that was not there.
    pub stamps: Vec<Option<Stamp>>,
}

impl Record {
    /// The bytes of the file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(64 + self.have.as_bytes().len() + self.stamps.len() * STAMP_LEN);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.have.len().to_le_bytes());
        out.extend(u32::try_from(self.stamps.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(self.have.as_bytes());
        for stamp in &self.stamps {
            out.push(u8::from(stamp.is_some()));
            let stamp = stamp.unwrap_or_default();
            out.extend(stamp.size.to_le_bytes());
            out.extend(stamp.modified_s.to_le_bytes());
            out.extend(stamp.modified_ns.to_le_bytes());
            out.extend(stamp.changed_s.to_le_bytes());
            out.extend(stamp.changed_ns.to_le_bytes());
        }
        out.extend(xxh3_64(&out).to_le_bytes());
        out
    }
    /// Reads the bytes of a file; `None` when they are not exactly a record.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_last_chunk::<8>()?;
        if xxh3_64(body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = body.strip_prefix(MAGIC)?;
        if u32::from_le_bytes(take(&mut rest)?) != VERSION {
            return None;
        }
        let pieces = u32::from_le_bytes(take(&mut rest)?);
        let files = u32::from_le_bytes(take(&mut rest)?);
        let (field, mut rest) = rest.split_at_checked(pieces.div_ceil(8) as usize)?;
        let have = Bitfield::from_wire(field, pieces)?;
        if rest.len() as u64 != u64::from(files) * STAMP_LEN as u64 {
            return None;
        }
        let stamps = (0..files)
            .map(|_| {
                let [present] = take(&mut rest)?;
                let stamp = Stamp {
                    size: u64::from_le_bytes(take(&mut rest)?),
                    modified_s: i64::from_le_bytes(take(&mut rest)?),
                    modified_ns: u32::from_le_bytes(take(&mut rest)?),
                    changed_s: i64::from_le_bytes(take(&mut rest)?),
                    changed_ns: u32::from_le_bytes(take(&mut rest)?),
                };
                Some((present == 1).then_some(stamp))
            })
            .collect::<Option<Vec<_>>>()?;
        Some(Self { have, stamps })
    }
    /// The record at `path`; `None` when there is none that can be believed.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        (std::fs::metadata(path).ok()?.len() <= RECORD_MAX).then_some(())?;
        Self::decode(&std::fs::read(path).ok()?)
    }
    /// Writes it to `path` in one step.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn save(&self, path: &Path) -> Result<(), DriveError> {
        super::replace(path, &self.encode())
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_record_of_another_version_is_no_record() {
        let mut bytes = Record { have: Bitfield::full(9), stamps: vec![None] }.encode();
        assert!(Record::decode(&bytes).is_some());
        bytes[MAGIC.len()..][..4].copy_from_slice(&1u32.to_le_bytes());
        let end = bytes.len() - 8;
        let sum = xxh3_64(&bytes[..end]).to_le_bytes();
        bytes[end..].copy_from_slice(&sum);
        assert_eq!(Record::decode(&bytes), None, "all is well with it but its version");
    }

    proptest! {
        #[test]
        fn a_record_survives_the_disk(bits in 0u32..200, set in prop::collection::vec(0u32..200, 0..50),
                                      looks in prop::collection::vec(prop::option::of(any::<(u64, i64, u32, i64, u32)>()), 0..5)) {
            let mut have = Bitfield::new(bits);
            for bit in set { have.set(bit); }
            let stamp = |(size, modified_s, modified_ns, changed_s, changed_ns)| Stamp { size, modified_s, modified_ns, changed_s, changed_ns };
            let stamps = looks.into_iter().map(|look| look.map(stamp)).collect();
            let record = Record { have, stamps };
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn a_damaged_record_is_no_record(at in 0usize..100, bit in 0u8..8) {
            let record = Record { have: Bitfield::full(100), stamps: vec![None, Some(Stamp { size: 1, modified_s: 2, modified_ns: 3, changed_s: 4, changed_ns: 5 })] };
            let mut bytes = record.encode();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(Record::decode(&bytes), None);
            prop_assert_eq!(Record::decode(&bytes[..at]), None);
        }
    }
}
