//! Sizes, rates and durations as people write and read them.
//!
//! `2MiB`, `500k`, `1.5GB` are bytes; `90s`, `1h30m`, `250ms` are times. A number alone is bytes or seconds.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use shoal_wire::slot::SLOT_MS_BOUNDS;

/// A number of bytes, or of bytes per second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Bytes(pub(crate) u64);

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let text = text.strip_suffix("/s").unwrap_or(text);
        let (number, unit) = split_number(text);
        let scale: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => {
                return Err(format!(
                    "`{unit}` is no unit of size; write for example 500KiB or 2MiB"
                ));
            }
        };
        scaled(number, scale).map(Self).ok_or_else(|| {
            format!("`{text}` is no size; write a number and a unit, for example 500KiB or 2MiB")
        })
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let (mut value, mut unit) = (self.0 as f64, 0);
        while value >= 1024.0 && unit + 1 < units.len() {
            value /= 1024.0;
            unit += 1;
        }
        let digits = if unit == 0 || value >= 100.0 { 0 } else { 1 };
        write!(f, "{value:.digits$} {}", units[unit])
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(bytes) => Ok(Self(bytes)),
            NumberOrText::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

/// A settings file may say `up-limit = 200000` as well as `up-limit = "200kB"`.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum NumberOrText {
    Number(u64),
    Text(String),
}

/// Parses the length of a virtual time slot.
pub(crate) fn slot_length(text: &str) -> Result<Duration, String> {
    let (low, high) = SLOT_MS_BOUNDS;
    let slot = duration(text)?;
    if (Duration::from_millis(low)..=Duration::from_millis(high)).contains(&slot) {
        Ok(slot)
    } else {
        Err(format!("a slot of {text} cannot be; give 10s to 1h"))
    }
}

/// Parses a length of time: `90`, `90s`, `1h30m`, `250ms`, `2d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no length of time; write for example 90s, 30m or 1h30m");
    let mut rest = text.trim();
    let mut total_ms: u64 = 0;
    if rest.is_empty() {
        return Err(fault());
    }
    while !rest.is_empty() {
        let (number, _) = split_number(rest);
        let tail = &rest[number.len()..];
        let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let scale = match tail[..unit_len].trim() {
            "ms" => 1,
            "" | "s" => 1000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(fault()),
        };
        let part = scaled(number, scale).ok_or_else(fault)?;
        total_ms = total_ms.checked_add(part).ok_or_else(fault)?;
        rest = &tail[unit_len..];
    }
    Ok(Duration::from_millis(total_ms))
}

/// A time for people: `1:02:03`, `4:05`.
pub(crate) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Digits and dot at the beginning, and what follows without spaces.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `number` (with at most one dot) times `scale`, exactly; `None` when it is no number or does not fit.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 9 {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if part.is_empty() {
        return (!number.ends_with('.')).then_some(whole);
    }
    let denominator = 10u128.pow(u32::try_from(part.len()).ok()?);
    let part = u128::from(part.parse::<u64>().ok()?) * u128::from(scale) / denominator;
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Bytes, clock, duration};

    #[test]
    fn sizes_are_read_with_binary_and_decimal_units() {
        for (text, bytes) in [
            ("0", 0),
            ("1500", 1500),
            ("2MiB", 2 << 20),
            ("2 mib", 2 << 20),
            ("100KiB/s", 100 << 10),
            ("1.5k", 1536),
            ("2MB", 2_000_000),
            ("0.25GiB", 256 << 20),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "MiB", "-1", "1.", "2 parsecs", "99999999999TiB", "1..2k", "1.2.3"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_shown_with_one_digit_behind_the_dot() {
        let shown = [0, 1023, 1024, 1536, 300 << 20].map(|bytes| Bytes(bytes).to_string());
        assert_eq!(shown, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "300 MiB"]);
    }

    #[test]
    fn durations_are_read_in_parts() {
        for (text, ms) in [
            ("90", 90_000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1.5s", 1500),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text).map(|time| time.as_millis()), Ok(ms), "{text}");
        }
        for text in ["", "s", "1y", "1h-3m", "999999999999999d"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clock_times_leave_out_hours_that_are_not_there() {
        assert_eq!([clock(5), clock(245), clock(3723)], ["0:05", "4:05", "1:02:03"]);
    }
}
