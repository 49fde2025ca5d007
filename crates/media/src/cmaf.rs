//! Fragmented MP4 for HLS and DASH (ISO/IEC 23000-19, CMAF): a header for each stream, and segments of one fragment each.
//!
//! The head of a segment follows from the presentation alone, and its body is bytes of the film as they are. So a segment can be sent
//! while its bytes still arrive, its length is known before, and nothing of it is kept in memory.

use core::ops::Range;

use crate::TrackKind;
use crate::presentation::{Presentation, Stream};

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

/// The header of a stream: what a player needs before any of its segments. `None` when there is no such stream, or it has no sample entry.
#[must_use]
pub fn header(presentation: &Presentation, stream: usize) -> Option<Vec<u8>> {
    let stream = presentation.streams().get(stream).filter(|stream| !stream.entry.is_empty())?;
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
        out.boxed(b"trak", |out| track(out, stream));
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

fn track(out: &mut Writer, stream: &Stream) {
    let is_video = stream.track.kind == TrackKind::Video;
    // Enabled, in the film.
    out.full(b"tkhd", 0, 3, |out| {
        out.zeros(8);
        out.u32(TRACK);
        out.zeros(4 + 4 + 8 + 2 + 2);
        out.u16(if is_video { 0 } else { 0x0100 });
        out.u16(0);
        out.matrix();
        let (width, height) = stream.track.size.unwrap_or_default();
        out.u32(width << 16);
        out.u32(height << 16);
    });
    if stream.delay() > 0 {
        // Shown are samples from that time on: what a delay for reordering adds is taken off again.
        out.boxed(b"edts", |out| {
            out.full(b"elst", 0, 0, |out| {
                out.u32(1);
                out.u32(0);
                out.u32(stream.delay());
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
            out.bytes(if is_video { b"vide" } else { b"soun" });
            out.zeros(12 + 1);
        });
        out.boxed(b"minf", |out| {
            if is_video {
                out.full(b"vmhd", 0, 1, |out| out.zeros(8));
            } else {
                out.full(b"smhd", 0, 0, |out| out.zeros(4));
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
                    out.bytes(&stream.entry);
                });
                for name in [b"stts", b"stsc", b"stco"] {
                    out.full(name, 0, 0, |out| out.u32(0));
                }
                out.full(b"stsz", 0, 0, |out| out.zeros(8));
            });
        });
    });
}

/// Segment `number` of a stream, from 0. `None` when there is none.
#[must_use]
pub fn segment(presentation: &Presentation, stream: usize, number: usize) -> Option<MediaSegment> {
    let source = presentation.streams().get(stream).filter(|source| !source.entry.is_empty())?;
    let span = presentation.segments().get(number)?.spans.get(stream)?;
    let samples = source.samples().get(span.samples.clone())?;
    let mut out = Writer::default();
    let mut offset_at = 0;
    out.boxed(b"moof", |out| {
        out.full(b"mfhd", 0, 0, |out| out.u32(u32::try_from(number + 1).unwrap_or(u32::MAX)));
        out.boxed(b"traf", |out| {
            // Offsets count from the fragment's own start.
            out.full(b"tfhd", 0, 0x02_0000, |out| out.u32(TRACK));
            out.full(b"tfdt", 1, 0, |out| {
                out.u64(samples.first().map_or(span.start, |first| first.decoded));
            });
            // Offset of the data, then length, size, flags and shift of each sample.
            out.full(b"trun", 0, 0xf01, |out| {
                out.u32(u32::try_from(samples.len()).unwrap_or(u32::MAX));
                offset_at = out.data.len();
                out.u32(0);
                for (index, sample) in (span.samples.start..).zip(samples) {
                    out.u32(u32::try_from(source.duration(index)).unwrap_or(u32::MAX));
                    out.u32(sample.size());
                    out.u32(if sample.is_key() { KEY_FLAGS } else { OTHER_FLAGS });
                    out.u32(
                        sample.shift.saturating_add_unsigned(source.delay()).max(0).unsigned_abs(),
                    );
                }
            });
        });
    });
    let body = presentation.ranges(stream, span.samples.clone());
    let bytes: u64 = samples.iter().map(|sample| u64::from(sample.size())).sum();
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
    Some(MediaSegment { head: out.data, body })
}

/// Three letters of five bits each; `und` where nothing is told.
fn packed_language(language: Option<&str>) -> u16 {
    let letters = language.filter(|it| it.len() == 3 && it.bytes().all(|b| b.is_ascii_lowercase()));
    letters
        .unwrap_or("und")
        .bytes()
        .fold(0, |packed, letter| packed << 5 | u16::from(letter - b'`'))
}

/// Writes boxes.
#[derive(Default)]
struct Writer {
    data: Vec<u8>,
}

impl Writer {
    fn bytes(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }
    fn zeros(&mut self, count: usize) {
        self.data.resize(self.data.len() + count, 0);
    }
    fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }
    fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }
    fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }
    /// The picture as it is: neither turned nor scaled.
    fn matrix(&mut self) {
        for value in [0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000] {
            self.u32(value);
        }
    }
    /// A box. None of ours comes near four gigabytes.
    fn boxed(&mut self, name: &[u8; 4], body: impl FnOnce(&mut Self)) {
        let start = self.data.len();
        self.u32(0);
        self.bytes(name);
        body(self);
        let length = u32::try_from(self.data.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.data.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    /// A box with a version and flags.
    fn full(&mut self, name: &[u8; 4], version: u8, flags: u32, body: impl FnOnce(&mut Self)) {
        self.boxed(name, |out| {
            out.u32(u32::from(version) << 24 | flags);
            body(out);
        });
    }
}
