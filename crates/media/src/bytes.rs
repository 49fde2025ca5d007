//! Reading big-endian numbers out of foreign bytes: every access may miss, none panics.

/// `N` bytes at `at`.
pub(crate) fn array<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// One byte.
pub(crate) fn u8_at(data: &[u8], at: usize) -> Option<u8> {
    data.get(at).copied()
}

/// Two bytes.
pub(crate) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    array(data, at).map(u16::from_be_bytes)
}

/// Four bytes.
pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    array(data, at).map(u32::from_be_bytes)
}

/// Eight bytes.
pub(crate) fn u64_at(data: &[u8], at: usize) -> Option<u64> {
    array(data, at).map(u64::from_be_bytes)
}

/// Four or eight bytes, as versioned boxes have them.
pub(crate) fn wide_at(data: &[u8], at: usize, wide: bool) -> Option<u64> {
    if wide { u64_at(data, at) } else { u32_at(data, at).map(u64::from) }
}

/// `value` of `timescale` units a second in milliseconds, clamped to the longest film.
pub(crate) fn to_ms(value: u64, timescale: u32) -> u64 {
    rescaled(value, timescale, 1000).min(crate::limits::DURATION_MS_MAX)
}

/// `units` of `from` in a second as units of `to` in a second, rounded down; clamped to 64 bits.
pub(crate) fn rescaled(units: u64, from: u32, to: u32) -> u64 {
    let value = u128::from(units) * u128::from(to) / u128::from(from.max(1));
    u64::try_from(value).unwrap_or(u64::MAX)
}
