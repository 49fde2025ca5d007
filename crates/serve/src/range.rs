//! Byte ranges (RFC 9110, section 14).
//!
//! One range is served. A set of several is answered with the whole film, as section 14.2 allows: no player needs parts in
//! one answer, and they are a known way to make servers work hard. A unit that is not known, or a value that does not
//! parse, is ignored as the standard says.

use crate::limits::RANGE_VALUE_MAX;
use core::ops::Range;

/// What a `Range` header asks of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    /// All of it.
    Whole,
    /// These bytes, at least one, inside the file.
    Part(Range<u64>),
    /// Bytes that are not there: 416.
    Unsatisfiable,
}

/// One range as written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Spec {
    /// From a byte to the end or to another, that one included.
    From(u64, Option<u64>),
    /// The last bytes.
    Last(u64),
}

/// Reads the value of a `Range` header for a file of `length` bytes.
#[must_use]
pub fn asked(value: &str, length: u64) -> Asked {
    match single(value) {
        None => Asked::Whole,
        Some(Spec::Last(0)) => Asked::Unsatisfiable,
        // An empty file has a last byte of no number: all of it is what there is.
        Some(Spec::Last(_)) if length == 0 => Asked::Whole,
        Some(Spec::Last(count)) => Asked::Part(length.saturating_sub(count)..length),
        Some(Spec::From(first, _)) if first >= length => Asked::Unsatisfiable,
        Some(Spec::From(first, last)) => {
            let end = last.map_or(length, |last| last.saturating_add(1).min(length));
            Asked::Part(first..end)
        }
    }
}

/// The only range of a valid `bytes=` value; `None` for everything that is to be ignored.
fn single(value: &str) -> Option<Spec> {
    if value.len() > RANGE_VALUE_MAX {
        return None;
    }
    let (unit, set) = value.split_once('=')?;
    if !unit.trim_end_matches([' ', '\t']).eq_ignore_ascii_case("bytes") {
        return None;
    }
    // Empty list elements are allowed by the list syntax (section 5.6.1).
    let mut specs =
        set.split(',').map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty());
    let spec = specs.next()?;
    if specs.next().is_some() {
        return None;
    }
    let (first, last) = spec.split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(Spec::Last(number(last)?)),
        (false, true) => Some(Spec::From(number(first)?, None)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

/// Digits only; numbers beyond 64 bits count as the greatest one.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::{Asked, asked};
    use proptest::prelude::*;

    #[test]
    fn ranges_mean_what_rfc_9110_says() {
        let part = |from, to| Asked::Part(from..to);
        let cases = [
            ("bytes=0-499", part(0, 500)),
            ("bytes=500-999", part(500, 1000)),
            ("bytes=-500", part(500, 1000)),
            ("bytes=500-", part(500, 1000)),
            ("bytes=0-0", part(0, 1)),
            ("bytes=-1", part(999, 1000)),
            ("bytes=999-", part(999, 1000)),
            ("Bytes=0-", part(0, 1000)),
            ("bytes= 5-6 ", part(5, 7)),
            ("bytes=,5-6,", part(5, 7)),
            // Clamped ends.
            ("bytes=900-5000", part(900, 1000)),
            ("bytes=-5000", part(0, 1000)),
            ("bytes=0-99999999999999999999999", part(0, 1000)),
            ("bytes=-99999999999999999999999", part(0, 1000)),
            ("bytes=000-007", part(0, 8)),
            // Not there.
            ("bytes=1000-", Asked::Unsatisfiable),
            ("bytes=1000-1001", Asked::Unsatisfiable),
            ("bytes=-0", Asked::Unsatisfiable),
            ("bytes=99999999999999999999999-", Asked::Unsatisfiable),
            // Several.
            ("bytes=0-0,-1", Asked::Whole),
            ("bytes=0-1,2-3,4-5", Asked::Whole),
            // Ignored.
            ("bytes=7-3", Asked::Whole),
            ("bytes=", Asked::Whole),
            ("bytes=-", Asked::Whole),
            ("bytes=--5", Asked::Whole),
            ("bytes=5", Asked::Whole),
            ("bytes=a-b", Asked::Whole),
            ("bytes=+5-", Asked::Whole),
            ("bytes=0x10-", Asked::Whole),
            ("bytes=1 - 2", Asked::Whole),
            ("bytes 0-5", Asked::Whole),
            ("seconds=0-5", Asked::Whole),
            ("", Asked::Whole),
            ("=0-5", Asked::Whole),
        ];
        for (value, expected) in cases {
            assert_eq!(asked(value, 1000), expected, "{value:?}");
        }
    }

    #[test]
    fn an_empty_file_has_no_first_byte() {
        assert_eq!(asked("bytes=0-", 0), Asked::Unsatisfiable);
        assert_eq!(asked("bytes=-5", 0), Asked::Whole);
    }

    proptest! {
        #[test]
        fn parts_are_never_empty_and_never_outside(value in "(bytes=)?[0-9, -]{0,24}", length in 0..2000u64) {
            if let Asked::Part(range) = asked(&value, length) {
                prop_assert!(range.start < range.end && range.end <= length);
            }
        }

        #[test]
        fn what_is_written_is_what_is_served(first in 0..1000u64, more in 0..1000u64) {
            let value = format!("bytes={first}-{}", first + more);
            prop_assert_eq!(asked(&value, 5000), Asked::Part(first..first + more + 1));
        }

        #[test]
        fn any_text_is_survived(value in ".{0,64}", length: u64) {
            let _ = asked(&value, length);
        }
    }
}
