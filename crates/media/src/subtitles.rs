//! Subtitles that lie beside a film: SubRip (`.srt`) and WebVTT (`.vtt`) files as WebVTT, which browsers, HLS and DASH know.
//!
//! Both come from strangers. What is no cue is left out, text stays text, and the result has as many bytes as a small multiple of what
//! was read. Bytes that are no UTF-8 become U+FFFD.

use core::fmt::Write as _;

/// A text that is shown for a time, in milliseconds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Cue {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
    /// Where on the picture, in the words of WebVTT; empty where that is not told.
    pub(crate) settings: String,
    /// As WebVTT writes it. Each line ends with a line break, and none is empty.
    pub(crate) text: String,
}

impl Cue {
    /// As WebVTT writes it.
    pub(crate) fn write(&self, out: &mut String) {
        let Self { start_ms, end_ms, settings, text } = self;
        let space = if settings.is_empty() { "" } else { " " };
        // Writing to a text cannot fail.
        let _ =
            write!(out, "\n{} --> {}{space}{settings}\n{text}", Stamp(*start_ms), Stamp(*end_ms));
    }
}

/// Marks of SubRip that WebVTT has as well.
const KEPT: [&str; 6] = ["<i>", "</i>", "<b>", "</b>", "<u>", "</u>"];
/// Hours are read up to this many digits, and so are all other parts of a time.
const DIGITS_MAX: usize = 4;

/// Any of the two as WebVTT. O(bytes log cues).
#[must_use]
pub fn webvtt(bytes: &[u8]) -> String {
    let text = text_of(bytes);
    let first = text.lines().next().unwrap_or("");
    if first
        .strip_prefix("WEBVTT")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t']))
    {
        return without_clock(&text);
    }
    let mut cues = cues(&text);
    cues.sort_by_key(|cue| (cue.start_ms, cue.end_ms));
    let mut out = String::from("WEBVTT\n");
    cues.iter().for_each(|cue| cue.write(&mut out));
    out
}

/// Foreign bytes as text, with line breaks of one kind.
pub(crate) fn text_of(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    text.replace('\r', "\n").replace('\0', "\u{fffd}")
}

/// Lines as the text of a cue, each of them written by `write`. Empty ones are left out: they would end the cue.
pub(crate) fn paragraph<'t>(
    lines: impl Iterator<Item = &'t str>,
    write: impl Fn(&str, &mut String),
) -> String {
    let mut text = String::new();
    for line in lines {
        let begin = text.len();
        write(line.trim(), &mut text);
        match text.get(begin..).is_none_or(|line| line.trim().is_empty()) {
            true => text.truncate(begin),
            false => text.push('\n'),
        }
    }
    text
}

/// WebVTT as it is, but for a line of its head that ties its times to a transport stream which is not there.
fn without_clock(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut in_head = true;
    for line in text.lines() {
        in_head &= !line.is_empty();
        if !(in_head && line.starts_with("X-TIMESTAMP-MAP")) {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The cues of SubRip: a line of times, and lines of text up to an empty one. The numbers between them say nothing.
fn cues(text: &str) -> Vec<Cue> {
    let mut cues = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let Some((start_ms, end_ms)) = times(line) else { continue };
        let text = paragraph(lines.by_ref().take_while(|line| !line.trim().is_empty()), plain);
        if start_ms < end_ms && !text.is_empty() {
            cues.push(Cue { start_ms, end_ms, settings: String::new(), text });
        }
    }
    cues
}

/// `00:00:01,500 --> 00:00:03,000`, with whatever stands behind.
fn times(line: &str) -> Option<(u64, u64)> {
    let (start, end) = line.split_once("-->")?;
    Some((time_ms(start.trim())?, time_ms(end.split_whitespace().next()?)?))
}

/// `[H:]MM:SS[,mmm]`, as milliseconds.
fn time_ms(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once([',', '.']).unwrap_or((text, "0"));
    let mut seconds = 0_u64;
    let parts = whole.split(':').count();
    if !(2..=3).contains(&parts) {
        return None;
    }
    for part in whole.split(':') {
        seconds = seconds.checked_mul(60)?.checked_add(digits(part)?)?;
    }
    // `,5` is half a second.
    let ms = digits(&format!("{:0<3}", part).chars().take(3).collect::<String>())?;
    seconds.checked_mul(1000)?.checked_add(ms)
}

fn digits(text: &str) -> Option<u64> {
    let fits = (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}

/// A line of SubRip as a line of WebVTT: slanted, bold and underlined text stays so, other marks are dropped, and all else is text.
pub(crate) fn plain(line: &str, out: &mut String) {
    // Marks that do not end are looked for once, not once for each of them.
    let last = |end: char| line.rfind(end).unwrap_or(0);
    let dropped = [("<font", '>'), ("</font", '>'), ("{\\", '}')];
    let dropped = dropped.map(|(begin, end)| (begin, end, last(end)));
    let mut rest = line;
    while let Some(char) = rest.chars().next() {
        let mark = KEPT.iter().find(|mark| starts_with(rest, mark));
        if let Some(mark) = mark {
            out.push_str(mark);
            rest = rest.get(mark.len()..).unwrap_or("");
            continue;
        }
        let at = line.len() - rest.len();
        let mark = dropped.iter().find(|(begin, _, last)| at < *last && starts_with(rest, begin));
        if let Some((_, after)) = mark.and_then(|(_, end, _)| rest.split_once(*end)) {
            rest = after;
            continue;
        }
        letter(char, out);
        rest = rest.get(char.len_utf8()..).unwrap_or("");
    }
}

/// A line that is nothing but text.
pub(crate) fn bare(line: &str, out: &mut String) {
    line.chars().for_each(|char| letter(char, out));
}

fn letter(char: char, out: &mut String) {
    match char {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        char => out.push(char),
    }
}

/// Whether `text` begins with `start`, which is ASCII, in either case.
fn starts_with(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start))
}

/// A time as WebVTT writes it.
struct Stamp(u64);

impl core::fmt::Display for Stamp {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let (seconds, ms) = (self.0 / 1000, self.0 % 1000);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        write!(f, "{hours:02}:{minutes:02}:{:02}.{ms:03}", seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::webvtt;

    #[test]
    fn subrip_becomes_webvtt() {
        for (srt, vtt) in [
            ("", "WEBVTT\n"),
            (
                "\u{feff}1\r\n00:00:01,500 --> 00:00:03,000\r\nOne & <i>two</i>\r\nlines\r\n\r\n2\r\n01:02:03,4 --> 01:02:05,040 X1:1\r\n{\\an8}<font color=\"#fff\">a < b --> c</font>\r\n",
                "WEBVTT\n\n00:00:01.500 --> 00:00:03.000\nOne &amp; <i>two</i>\nlines\n\n01:02:03.400 --> 01:02:05.040\na &lt; b --&gt; c\n",
            ),
            // No times, an end before its start, no text, hours beyond all bounds.
            (
                "1\nx --> y\nText\n\n2\n00:00:02,0 --> 00:00:01,0\nText\n\n3\n00:00:01 --> 00:00:02\n\n99999:00:00 --> 99999:00:01\nText",
                "WEBVTT\n",
            ),
            (
                "00:05 --> 00:06.25\n<B>b</B>\n\n00:01,0 --> 00:02,0\na",
                "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\na\n\n00:00:05.000 --> 00:00:06.250\n<b>b</b>\n",
            ),
            (
                "WEBVTT - Film\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\r\n\r\n00:01.000 --> 00:02.000\rX-TIMESTAMP-MAP=\n",
                "WEBVTT - Film\n\n00:01.000 --> 00:02.000\nX-TIMESTAMP-MAP=\n",
            ),
        ] {
            assert_eq!(webvtt(srt.as_bytes()), vtt, "{srt}");
        }
    }

    #[test]
    fn marks_without_an_end_cost_no_more_than_text() {
        let srt = format!("00:01 --> 00:02\n{}", "<font{\\".repeat(400_000));
        // Looked for once each, this took minutes.
        assert_eq!(webvtt(srt.as_bytes()).matches("&lt;font{\\").count(), 400_000);
    }

    /// Whether each cue has times in order and text without an arrow or an empty line, as players need it.
    fn check(vtt: &str) {
        assert!(vtt.starts_with("WEBVTT\n") && vtt.ends_with('\n'), "{vtt}");
        let mut last = String::new();
        for cue in vtt.trim_end_matches('\n').split("\n\n").skip(1) {
            let (times, text) = cue.split_once('\n').expect("text");
            let (start, end) = times.split_once(" --> ").expect("times");
            assert!(start.len() != end.len() || start < end, "{times}");
            assert!(!text.contains("-->") && !text.trim().is_empty(), "{text}");
            assert!(start.len() != last.len() || *last <= *start, "{last} {start}");
            last = start.to_owned();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_webvtt(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let vtt = webvtt(&bytes);
            prop_assert!(vtt.starts_with("WEBVTT"));
        }

        #[test]
        fn what_looks_like_subrip_becomes_cues_that_hold(
            parts in prop::collection::vec(prop::sample::select(vec![
                "1\n", "00:00:01,500 --> 00:00:03,000\n", "0:1 --> 9999:59:59,999 x\n", "-->", "<font", "<i>", "&", "\n", "\r", " ", "{\\an8}",
                "ü text", "\u{2028}", "\t", ">", "\0", "12:00:00.1 --> 12:00:00.2\n",
            ]), 0..60)
        ) {
            let srt: String = parts.concat();
            check(&webvtt(srt.as_bytes()));
            prop_assert!(webvtt(srt.as_bytes()).len() <= 6 * srt.len() + 64);
        }
    }
}
