//! Fragmented MP4 for HLS and DASH (ISO/IEC 23000-19, CMAF): a header for each stream, and segments of one fragment each.
//!
//! Of a film whose tables tell its frames, the head of a segment follows from the presentation alone, and its body is bytes of the film
//! as they are ([`segment`]). So a segment can be sent while its bytes still arrive, its length is known before, and nothing of it is
//! kept in memory. Of a film in clusters or fragments it is made of the frames once they are all here ([`assembled`]).

use core::ops::Range;

use crate::demux::Frame;
use crate::mp4::Writer;
use crate::presentation::{Presentation, Span, Stream};
use crate::{Track, TrackKind, language, text};

/// Number of the only track in what is made here.
const TRACK: u32 = 1;
/// Flags of a sample that others refer to it and it to none, and of one that refers to others (ISO/IEC 14496-12, 8.8.3.1).
const KEY_FLAGS: u32 = 0x0200_0000;
const OTHER_FLAGS: u32 = 0x0101_0000;

/// A segment of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MediaSegment {
    /// What comes before the film's own bytes.
    pub head: Vec<u8>,
    /// The film's bytes that follow, in this order.
    pub body: Vec<Range<u64>>,
}

impl MediaSegment {
    /// Bytes of all of it.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.head.len() as u64 + self.body.iter().map(|range| range.end - range.start).sum::<u64>()
    }
}

/// What a header tells of a stream.
struct Told<'s> {
    track: &'s Track,
    entry: &'s [u8],
    timescale: u32,
    delay: u32,
}

/// The header of a stream, or of a text ([`text::fragment`]): what a player needs before any of its segments. `None` when there is no such
/// stream, or MP4 has no sample entry for it.
#[must_use]
pub fn header(presentation: &Presentation, number: usize) -> Option<Vec<u8>> {
    let made = text::entry();
    let told = match (presentation.streams().get(number), presentation.text(number)) {
        (None, Some(text)) => Told { track: &text.track, entry: &made, timescale: 1000, delay: 0 },
        (stream, _) => {
            let stream = stream.filter(|stream| stream.is_packaged())?;
            let Stream { track, entry, timescale, .. } = stream;
            Told { track, entry, timescale: *timescale, delay: stream.delay() }
        }
    };
    let mut out = Writer::default();
    out.boxed(b"ftyp", |out| {
        out.bytes(b"iso6");
        out.u32(0);
        out.bytes(b"iso6cmfcmp41");
    });
    out.boxed(b"moov", |out| {
        out.full(b"mvhd", 0, 0, |out| {
            out.zeros(8);
            out.u32(1000);
            out.u32(0);
            out.u32(0x0001_0000);
            out.u16(0x0100);
            out.zeros(10);
            out.matrix();
            out.zeros(24);
            out.u32(TRACK + 1);
        });
        out.boxed(b"trak", |out| track(out, &told));
        out.boxed(b"mvex", |out| {
            out.full(b"trex", 0, 0, |out| {
                out.u32(TRACK);
                out.u32(1);
                out.zeros(12);
            });
        });
    });
    Some(out.data)
}

fn track(out: &mut Writer, stream: &Told<'_>) {
    let kind = stream.track.kind;
    // Enabled, in the film.
    out.full(b"tkhd", 0, 3, |out| {
        out.zeros(8);
        out.u32(TRACK);
        out.zeros(4 + 4 + 8 + 2 + 2);
        out.u16(if kind == TrackKind::Audio { 0x0100 } else { 0 });
        out.u16(0);
        out.matrix();
        let (width, height) = stream.track.size.unwrap_or_default();
        out.u32(width.min(0xffff) << 16);
        out.u32(height.min(0xffff) << 16);
    });
    if stream.delay > 0 {
        // Shown are samples from that time on: what a delay for reordering adds is taken off again.
        out.boxed(b"edts", |out| {
            out.full(b"elst", 0, 0, |out| {
                out.u32(1);
                out.u32(0);
                out.u32(stream.delay);
                out.u32(0x0001_0000);
            });
        });
    }
    out.boxed(b"mdia", |out| {
        out.full(b"mdhd", 0, 0, |out| {
            out.zeros(8);
            out.u32(stream.timescale);
            out.u32(0);
            out.u16(packed_language(stream.track.language.as_deref()));
            out.u16(0);
        });
        out.full(b"hdlr", 0, 0, |out| {
            out.u32(0);
            out.bytes(match kind {
                TrackKind::Video => b"vide",
                TrackKind::Text => b"text",
                _ => b"soun",
            });
            out.zeros(12 + 1);
        });
        out.boxed(b"minf", |out| {
            match kind {
                TrackKind::Video => out.full(b"vmhd", 0, 1, |out| out.zeros(8)),
                TrackKind::Text => out.full(b"nmhd", 0, 0, |_| {}),
                _ => out.full(b"smhd", 0, 0, |out| out.zeros(4)),
            }
            out.boxed(b"dinf", |out| {
                out.full(b"dref", 0, 0, |out| {
                    out.u32(1);
                    // The media is in this file.
                    out.full(b"url ", 0, 1, |_| {});
                });
            });
            out.boxed(b"stbl", |out| {
                out.full(b"stsd", 0, 0, |out| {
                    out.u32(1);
                    out.bytes(stream.entry);
                });
                for name in [b"stts", b"stsc", b"stco"] {
                    out.full(name, 0, 0, |out| out.u32(0));
                }
                out.full(b"stsz", 0, 0, |out| out.zeros(8));
            });
        });
    });
}

/// Segment `number` of a stream, from 0. `None` when there is none, or where only the film's own bytes tell what lies in it: see
/// [`assembled`].
#[must_use]
pub fn segment(presentation: &Presentation, stream: usize, number: usize) -> Option<MediaSegment> {
    let source = presentation.streams().get(stream).filter(|stream| stream.is_packaged())?;
    let segment = presentation.segments().get(number).filter(|it| it.bytes.is_none())?;
    let span = segment.spans.get(stream)?;
    let samples = source.samples().get(span.samples.clone())?;
    let first = span.samples.start;
    let parts = samples.iter().enumerate().map(|(index, sample)| Part {
        duration: u32::try_from(source.duration(first + index)).unwrap_or(u32::MAX),
        size: sample.size(),
        is_key: sample.is_key(),
        shift: i64::from(sample.shift) + i64::from(source.delay()),
    });
    let decoded = samples.first().map_or(span.start, |first| first.decoded);
    let head = fragment(number, decoded, parts);
    Some(MediaSegment { head, body: presentation.ranges(stream, span.samples.clone()) })
}

/// Segment `number` of a stream, whole, of the frames that a demuxer of that segment gives ([`crate::demux::Demuxer::of_segment`]): all of
/// those that are of the stream are put into it. `None` when there is no such segment.
#[must_use]
pub fn assembled(
    presentation: &Presentation,
    stream: usize,
    number: usize,
    frames: &[Frame],
) -> Option<Vec<u8>> {
    let source = presentation.streams().get(stream).filter(|stream| stream.is_packaged())?;
    let span = presentation.segments().get(number)?.spans.get(stream)?;
    let frames: Vec<&Frame> = frames.iter().filter(|frame| frame.stream == stream).collect();
    let decoded = match presentation.clusters() {
        Some(_) => decoding_times(source, span, &frames),
        None => told_times(source, &frames),
    };
    let told = frames.last().map_or(0, |last| u64::from(last.duration));
    let length = |index: usize| match (decoded.get(index), decoded.get(index + 1)) {
        (Some(from), Some(to)) => to.saturating_sub(*from),
        // The last one: as is told of it, as long as others, else to the next segment.
        _ if told > 0 => told,
        (Some(from), None) if source.frame_units() == 0 => span.end.saturating_sub(*from),
        _ => source.frame_units(),
    };
    let parts = frames.iter().zip(&decoded).enumerate().map(|(index, (frame, decoded))| Part {
        duration: u32::try_from(length(index)).unwrap_or(u32::MAX),
        size: u32::try_from(frame.data.len()).unwrap_or(u32::MAX),
        is_key: frame.is_key,
        shift: i64::try_from(
            frame.shown.saturating_add(u64::from(source.delay())).saturating_sub(*decoded),
        )
        .unwrap_or(i64::MAX),
    });
    let mut out = fragment(number, decoded.first().copied().unwrap_or(span.start), parts);
    out.reserve_exact(frames.iter().map(|frame| frame.data.len()).sum());
    frames.iter().for_each(|frame| out.extend_from_slice(&frame.data));
    Some(out)
}

/// When the frames of a segment are decoded: in their order, at the times at which they are shown, sorted.
fn decoding_times(source: &Stream, span: &Span, frames: &[&Frame]) -> Vec<u64> {
    let mut decoded: Vec<u64> = frames.iter().map(|frame| frame.shown).collect();
    decoded.sort_unstable();
    not_behind_showing(source, frames, &mut decoded);
    if source.track.kind == TrackKind::Video {
        let shown: Vec<u64> = frames.iter().map(|frame| frame.shown).collect();
        keep_out_of_next(&shown, &mut decoded, span.end);
    }
    decoded
}

/// Sees to it that the picture that is shown last does not last into the next segment, which is shown from `end` on.
///
/// A player takes the time to the next decoding for how long a frame is shown. Where the times of the file are rounded, that picture
/// would reach into the next segment, and a browser that has that already would throw it away.
pub(crate) fn keep_out_of_next(shown: &[u64], decoded: &mut [u64], end: u64) {
    let last = shown.iter().enumerate().max_by_key(|(_, shown)| **shown);
    let Some((place, shown)) = last.filter(|(_, shown)| **shown < end) else { return };
    let from = decoded.get(place).copied().unwrap_or(0);
    let next = decoded.get(place + 1).copied().unwrap_or(from);
    let excess = next.saturating_sub(from).saturating_sub(end - shown);
    decoded
        .iter_mut()
        .skip(place + 1)
        .for_each(|decoded| *decoded = decoded.saturating_sub(excess));
}

/// When the frames of a segment are decoded, where the film tells.
fn told_times(source: &Stream, frames: &[&Frame]) -> Vec<u64> {
    let mut decoded: Vec<u64> = frames.iter().map(|frame| frame.decoded).collect();
    not_behind_showing(source, frames, &mut decoded);
    decoded
}

/// Frames that refer further ahead than the stream's delay has room for are decoded sooner, and those before them.
fn not_behind_showing(source: &Stream, frames: &[&Frame], decoded: &mut [u64]) {
    let mut latest = u64::MAX;
    for (decoded, frame) in decoded.iter_mut().zip(frames).rev() {
        latest = latest.min(*decoded).min(frame.shown.saturating_add(u64::from(source.delay())));
        *decoded = latest;
    }
}

/// What a fragment says of a frame.
pub(crate) struct Part {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) is_key: bool,
    /// From decoding it to showing it, with the stream's delay.
    pub(crate) shift: i64,
}

/// All of a segment that comes before its frames' bytes. The first frame is decoded at `decoded`.
pub(crate) fn fragment(
    number: usize,
    decoded: u64,
    parts: impl ExactSizeIterator<Item = Part>,
) -> Vec<u8> {
    let mut out = Writer::default();
    let mut offset_at = 0;
    let mut bytes = 0;
    out.boxed(b"moof", |out| {
        out.full(b"mfhd", 0, 0, |out| out.u32(u32::try_from(number + 1).unwrap_or(u32::MAX)));
        out.boxed(b"traf", |out| {
            // Offsets count from the fragment's own start.
            out.full(b"tfhd", 0, 0x02_0000, |out| out.u32(TRACK));
            out.full(b"tfdt", 1, 0, |out| out.u64(decoded));
            // Offset of the data, then length, size, flags and shift of each sample.
            out.full(b"trun", 0, 0xf01, |out| {
                out.u32(u32::try_from(parts.len()).unwrap_or(u32::MAX));
                offset_at = out.data.len();
                out.u32(0);
                for part in parts {
                    out.u32(part.duration);
                    out.u32(part.size);
                    out.u32(if part.is_key { KEY_FLAGS } else { OTHER_FLAGS });
                    out.u32(u32::try_from(part.shift.max(0)).unwrap_or(u32::MAX));
                    bytes += u64::from(part.size);
                }
            });
        });
    });
    let header = if bytes + 8 > u64::from(u32::MAX) { 16 } else { 8 };
    let start = u32::try_from(out.data.len() + header).unwrap_or(u32::MAX);
    if let Some(place) = out.data.get_mut(offset_at..offset_at + 4) {
        place.copy_from_slice(&start.to_be_bytes());
    }
    match u32::try_from(bytes + 8) {
        Ok(length) => {
            out.u32(length);
            out.bytes(b"mdat");
        }
        Err(_) => {
            out.u32(1);
            out.bytes(b"mdat");
            out.u64(bytes + 16);
        }
    }
    out.data
}

/// Three letters of five bits each; `und` where nothing is told.
fn packed_language(language: Option<&str>) -> u16 {
    let letters = language.and_then(language::letters).unwrap_or(*b"und");
    letters.into_iter().fold(0, |packed, letter| packed << 5 | u16::from(letter - b'`'))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::decoding_times;
    use crate::demux::Frame;
    use crate::presentation::{Clock, Clusters, Lane, Points, Span, Stream};
    use crate::{Coding, Track, TrackKind};

    /// A stream of 24000/1001 pictures a second whose times are rounded to milliseconds.
    fn stream() -> Stream {
        let track = Track::new(1, TrackKind::Video);
        let lane = Lane {
            number: 1,
            delay_ns: 0,
            frame_ns: 41_708_333,
            stripped: Vec::new(),
            reorders: true,
        };
        let clusters = Clusters {
            clock: Clock::new(1_000_000),
            lanes: vec![lane.clone()],
            points: Points::new(1000, 0..1, 1000),
            texts: Vec::new(),
        };
        Stream::untold(track, vec![0], Coding::other(), &clusters, &lane)
    }

    fn times(shown: &[u64], end: u64) -> Vec<u64> {
        let stream = stream();
        let frame = |shown: &u64| Frame {
            stream: 0,
            decoded: 0,
            shown: *shown,
            duration: 0,
            is_key: false,
            data: Bytes::new(),
        };
        let frames: Vec<Frame> = shown.iter().map(frame).collect();
        let frames: Vec<&Frame> = frames.iter().collect();
        let start = shown.first().copied().unwrap_or(0);
        decoding_times(&stream, &Span { samples: 0..0, start, end }, &frames)
    }

    #[test]
    fn pictures_are_decoded_at_the_times_at_which_they_are_shown() {
        assert_eq!(stream().delay(), 167);
        assert_eq!(times(&[0, 125, 42, 83], 167), [0, 42, 83, 125]);
        assert_eq!(times(&[], 167), [0; 0]);
    }

    #[test]
    fn the_last_picture_does_not_reach_into_the_next_segment() {
        // The one that is shown last lasts to the next decoding: 42, of which there is room for 41.
        let found = times(&[0, 167, 42, 83, 125], 208);
        assert_eq!(found, [0, 42, 83, 125, 167]);
        let found = times(&[0, 166, 42, 84, 125], 207);
        assert_eq!(found, [0, 42, 83, 124, 165], "{found:?}");
    }

    #[test]
    fn who_refers_further_ahead_than_the_delay_is_decoded_sooner() {
        let shown = [0, 1000, 900, 800, 700, 600, 500, 400, 300, 200, 100];
        let found = times(&shown, 1100);
        assert!(found.is_sorted());
        assert!(found.iter().zip(shown).all(|(decoded, shown)| *decoded <= shown + 167));
        assert_eq!(found.last(), Some(&267));
    }
}
