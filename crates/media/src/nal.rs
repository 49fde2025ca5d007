//! NAL units of H.264 and H.265: how they lie in a frame of MP4 and Matroska, and what a decoder must know before the first
//! (ISO/IEC 14496-15).

use crate::bytes::{u8_at, u16_at};
use crate::{Coding, Format};

/// Parameter sets that are looked at.
const SETS_MAX: usize = 64;

/// What the record of a coding tells.
#[derive(Clone, Default, Debug)]
pub(crate) struct Record {
    /// Bytes of the length before each unit: 1 to 4.
    pub(crate) length_bytes: usize,
    /// Parameter sets, each a unit.
    pub(crate) sets: Vec<Vec<u8>>,
}

impl Record {
    /// Of H.264 (5.3.3.1) or H.265 (8.3.3.1); `None` for other codings, and where the record is cut off.
    pub(crate) fn of(coding: &Coding) -> Option<Self> {
        let record = coding.record.as_slice();
        let mut sets = Vec::new();
        let length_at = match coding.format {
            Format::H264 => {
                let mut at = 5;
                for mask in [0x1f, 0xff] {
                    let count = u8_at(record, at)? & mask;
                    at = take(record, at + 1, count.into(), &mut sets)?;
                }
                4
            }
            Format::H265 => {
                let mut at = 23;
                for _ in 0..u8_at(record, 22)? {
                    let count = u16_at(record, at + 1)?;
                    at = take(record, at + 3, count, &mut sets)?;
                }
                21
            }
            _ => return None,
        };
        sets.truncate(SETS_MAX);
        Some(Self { length_bytes: usize::from(u8_at(record, length_at)? & 3) + 1, sets })
    }
    /// The units of a frame; ends at the first that does not fit.
    pub(crate) fn units<'d>(&self, frame: &'d [u8]) -> impl Iterator<Item = &'d [u8]> + use<'d> {
        let length_bytes = self.length_bytes.clamp(1, 4);
        let mut rest = frame;
        core::iter::from_fn(move || {
            let (length, behind) = rest.split_at_checked(length_bytes)?;
            let length = length.iter().fold(0usize, |all, byte| all << 8 | usize::from(*byte));
            let (unit, behind) = behind.split_at_checked(length)?;
            rest = behind;
            Some(unit)
        })
    }
}

/// Takes `count` sets, each behind its length, from `at` on; where they end.
fn take(record: &[u8], mut at: usize, count: u16, sets: &mut Vec<Vec<u8>>) -> Option<usize> {
    for _ in 0..count {
        let end = at + 2 + usize::from(u16_at(record, at)?);
        sets.push(record.get(at + 2..end)?.to_vec());
        at = end;
    }
    Some(at)
}
