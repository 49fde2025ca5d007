//! `Range` of RTSP (RFC 2326, 12.29): which part of the film to play.
//!
//! Parsed here, and not by `rtsp-types`, whose typed headers want exact grammar: players write `npt=29.869-`, `npt=0-60.011`, `npt=now-`,
//! `npt=1:02:03.5-`.

/// A part of a film, in milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    /// Where it begins; `None` is where the player is now.
    pub(super) start: Option<u64>,
    /// Where it ends; `None` is the film's end.
    pub(super) end: Option<u64>,
}

/// Reads a range; `None` when it is none that can be followed.
pub(super) fn parse(value: &str) -> Option<Part> {
    // What follows says when to begin: at once is all that is done here.
    let value = value.split(';').next().unwrap_or("").trim();
    let value = value.strip_prefix("npt")?.trim_start().strip_prefix('=')?.trim();
    let before = value.strip_prefix("0.-").or_else(|| value.strip_prefix('-'));
    let (start, end) = match before.map(|rest| rest.split_once('-')) {
        // ffmpeg begins a little before the time that it wants, also where that is before the film: `0.-71-`.
        Some(Some((before, end))) => time(before.trim()).map(|_| ("0", end))?,
        _ => value.split_once('-')?,
    };
    let (start, end) = (start.trim(), end.trim());
    let end = if end.is_empty() { None } else { Some(time(end)?) };
    let start = match start {
        "now" => None,
        // The last seconds, counted from the end: of no use without knowing the end.
        "" => return None,
        start => Some(time(start)?),
    };
    let ordered = start.zip(end).is_none_or(|(start, end)| start <= end);
    ordered.then_some(Part { start, end })
}

/// Seconds, or hours, minutes and seconds, with a fraction; in milliseconds.
fn time(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| {
        let good = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| text.parse::<u64>().ok()).flatten()
    };
    let mut seconds = 0u64;
    let parts: Vec<&str> = whole.split(':').collect();
    if !matches!(parts.len(), 1 | 3) {
        return None;
    }
    for part in parts {
        seconds = seconds.checked_mul(60)?.checked_add(digits(part)?)?;
    }
    let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    seconds.checked_mul(1000)?.checked_add(digits(&thousandths)?)
}

#[cfg(test)]
mod tests {
    use super::{Part, parse};

    #[test]
    fn what_players_write() {
        let part = |start, end| Some(Part { start, end });
        for (text, expected) in [
            ("npt=0.000-", part(Some(0), None)),
            ("npt=29.869-", part(Some(29_869), None)),
            ("npt=0-60.011", part(Some(0), Some(60_011))),
            ("npt = 1:02:03.5-", part(Some(3_723_500), None)),
            ("npt=now-", part(None, None)),
            ("npt=5-;time=20260101T000000Z", part(Some(5000), None)),
            ("npt=-0.071-", part(Some(0), None)),
            ("npt=0.-71-", part(Some(0), None)),
            ("npt=0.-71-3", part(Some(0), Some(3000))),
            ("npt=-x-", None),
            ("npt=9-5", None),
            ("npt=-5", None),
            ("npt=x-", None),
            ("npt=1e3-", None),
            ("npt=99999999999-", None),
            ("smpte=0:10:20-", None),
            ("clock=19961108T142300Z-", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
