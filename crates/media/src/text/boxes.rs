//! Cues in fragments of MP4 (ISO/IEC 14496-30, 7): samples without a gap, of which each shows the same cues from its start to its end.

use core::ops::Range;

use super::cues;
use crate::cmaf::{self, Part};
use crate::demux::Frame;
use crate::limits::{CUES_TOGETHER_MAX, TEXT_MADE_MAX};
use crate::mp4::Writer;
use crate::presentation::Presentation;
use crate::subtitles::Cue;

/// So much later than its segment a cue may end where the next segment does not show it, ms.
const TAIL_MS: u64 = 10_000;

/// The sample entry of text that is made here, a whole box.
pub(crate) fn entry() -> Vec<u8> {
    let mut out = Writer::default();
    out.boxed(b"wvtt", |out| {
        out.zeros(6);
        out.u16(1);
        out.boxed(b"vttC", |out| out.bytes(b"WEBVTT"));
    });
    out.data
}

/// Segment `number` of a text as a fragment, of its frames. Its units are milliseconds. `None` when there is no such segment or text.
#[must_use]
pub fn fragment(
    film: &Presentation,
    stream: usize,
    number: usize,
    frames: &[Frame],
) -> Option<Vec<u8>> {
    let cues = cues(film, stream, number, frames)?;
    let mut stretch = film.stretch(number)?;
    if !film.tells_text(stream) {
        let last = stretch.end.saturating_add(TAIL_MS);
        let begun = cues.iter().filter(|cue| cue.start_ms < last);
        let end = begun.map(|cue| cue.end_ms).max().unwrap_or(0);
        stretch.end = end.clamp(stretch.end, stretch.end.saturating_add(TAIL_MS));
    }
    let samples = samples(&cues, &stretch);
    let parts = samples.iter().map(|(length, data)| Part {
        duration: u32::try_from(*length).unwrap_or(u32::MAX),
        size: u32::try_from(data.len()).unwrap_or(u32::MAX),
        is_key: true,
        shift: 0,
    });
    let mut out = cmaf::fragment(number, stretch.start, parts);
    samples.iter().for_each(|(_, data)| out.extend_from_slice(data));
    Some(out)
}

/// How long each sample lasts, and its bytes. O(cues squared).
fn samples(cues: &[Cue], stretch: &Range<u64>) -> Vec<(u64, Vec<u8>)> {
    let mut borders: Vec<u64> = cues.iter().flat_map(|cue| [cue.start_ms, cue.end_ms]).collect();
    borders.retain(|border| (stretch.start..stretch.end).contains(border));
    borders.extend([stretch.start, stretch.end]);
    borders.sort_unstable();
    borders.dedup();
    let mut bytes = 0;
    let pairs = borders.iter().zip(borders.iter().skip(1));
    let sample = |(from, to): (&u64, &u64)| {
        let mut out = Writer::default();
        let due = cues.iter().filter(|cue| cue.start_ms <= *from && cue.end_ms >= *to);
        for cue in due.take(CUES_TOGETHER_MAX).filter(|_| bytes < TEXT_MADE_MAX) {
            out.boxed(b"vttc", |out| {
                if !cue.settings.is_empty() {
                    out.boxed(b"sttg", |out| out.bytes(cue.settings.as_bytes()));
                }
                out.boxed(b"payl", |out| out.bytes(cue.text.trim_end().as_bytes()));
            });
        }
        if out.data.is_empty() {
            out.boxed(b"vtte", |_| {});
        }
        bytes += out.data.len();
        (to - from, out.data)
    };
    pairs.map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::{Cue, samples};

    #[test]
    fn samples_have_no_gap_and_show_what_is_due() {
        let cue = |start_ms, end_ms, text: &str| {
            let text = format!("{text}\n");
            Cue { start_ms, end_ms, settings: String::new(), text }
        };
        let all = [cue(500, 1500, "a"), cue(1200, 2500, "b"), cue(3000, 9000, "c")];
        let made = samples(&all, &(1000..4000));
        let lengths: Vec<u64> = made.iter().map(|sample| sample.0).collect();
        assert_eq!(lengths, [200, 300, 1000, 500, 1000]);
        let a = b"\0\0\0\x11vttc\0\0\0\x09payla";
        let b = b"\0\0\0\x11vttc\0\0\0\x09paylb";
        let expected = [&a[..], &[&a[..], b].concat(), b, b"\0\0\0\x08vtte"];
        assert_eq!(made.iter().take(4).map(|sample| &*sample.1).collect::<Vec<_>>(), expected);
        assert_eq!(samples(&[], &(0..10)), [(10, b"\0\0\0\x08vtte".to_vec())]);
    }
}
