//! Heads of packetised elementary streams: the times in them (ISO/IEC 13818-1, 2.4.3.6).

use crate::bytes::u8_at;

/// Times of a unit, in 90 kHz modulo 2^33.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Times {
    /// When it is shown.
    pub(crate) shown: u64,
    /// When it is decoded; as shown where that is not told.
    pub(crate) decoded: u64,
}

/// Where a time is written.
const SHOWN: usize = 9;
const DECODED: usize = 14;
/// Length of a head without options.
const HEAD: usize = 9;

/// Whether a unit that begins like this has a head of its own with times: all but a few kinds do.
fn has_head(unit: &[u8]) -> bool {
    let kind = u8_at(unit, 3).unwrap_or(0);
    let bare = [0xbc, 0xbe, 0xbf, 0xf0, 0xf1, 0xf2, 0xf8, 0xff].contains(&kind);
    unit.starts_with(&[0, 0, 1]) && !bare && u8_at(unit, 6).is_some_and(|flags| flags >> 6 == 2)
}

/// The times of a unit, if it tells when it is shown.
pub(crate) fn times(unit: &[u8]) -> Option<Times> {
    let flags = u8_at(unit, 7).filter(|_| has_head(unit))? >> 6;
    let shown = time(unit, SHOWN).filter(|_| flags & 2 != 0)?;
    let decoded = if flags == 3 { time(unit, DECODED)? } else { shown };
    Some(Times { shown, decoded })
}

/// What stands behind the head of a unit: coded frames.
pub(crate) fn body(unit: &[u8]) -> Option<&[u8]> {
    let head = u8_at(unit, 8).filter(|_| has_head(unit))?;
    unit.get(HEAD + usize::from(head)..)
}

/// Writes other times over those that are there.
pub(crate) fn set_times(unit: &mut [u8], times: Times) {
    let flags = u8_at(unit, 7).filter(|_| has_head(unit)).unwrap_or(0) >> 6;
    if flags & 2 != 0 {
        set_time(unit, SHOWN, times.shown);
    }
    if flags == 3 {
        set_time(unit, DECODED, times.decoded);
    }
}

/// Thirty-three bits with marks between them.
fn time(unit: &[u8], at: usize) -> Option<u64> {
    let [a, b, c, d, e] = crate::bytes::array::<5>(unit, at)?.map(u64::from);
    Some((a >> 1 & 7) << 30 | b << 22 | (c >> 1) << 15 | d << 7 | e >> 1)
}

fn set_time(unit: &mut [u8], at: usize, time: u64) {
    if let Some(field) = unit.get_mut(at..at + 5) {
        let mark = field.first().map_or(0, |first| first >> 4);
        field.copy_from_slice(&written(mark, time));
    }
}

/// A time with the four bits in front of it.
pub(crate) fn written(mark: u8, time: u64) -> [u8; 5] {
    // The uppermost three bits, fifteen and fifteen, each with a mark behind.
    let part = |shift: u32, mask: u64| u16::try_from((time >> shift & mask) << 1 | 1).unwrap_or(1);
    let [_, upper] = part(30, 7).to_be_bytes();
    let ([a, b], [c, d]) = (part(15, 0x7fff).to_be_bytes(), part(0, 0x7fff).to_be_bytes());
    [mark << 4 | upper, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::{Times, body, set_times, times};

    #[test]
    fn times_are_read_as_they_were_written() {
        let mut unit = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10];
        unit.extend([0x31, 0, 1, 0, 1, 0x11, 0, 1, 0, 1, 42]);
        for (shown, decoded) in [(0, 0), (0x1_ffff_ffff, 1), (0x1_5555_aaaa, 0xaaaa_5555)] {
            let wanted = Times { shown, decoded };
            set_times(&mut unit, wanted);
            assert_eq!(times(&unit), Some(wanted));
        }
        assert_eq!((unit[9] >> 4, unit[14] >> 4), (3, 1));
        assert_eq!(body(&unit), Some(&[42][..]));
        for end in 0..19 {
            assert_eq!(times(&unit[..end]), None);
        }
    }
}
