//! A film as its elementary streams: which bytes of the file are which frame, when each is decoded and shown, and where the film is cut
//! into segments. From it other containers and RTP packets are made without decoding, and without a look at what is not asked for.
//!
//! Everything here is a pure function of the file: two peers that hold the same title cut it at the same places and make the same
//! bytes.

mod samples;
mod segments;
mod transport;

use core::ops::Range;

pub use samples::Sample;
use samples::Samples;
pub use segments::{Segment, Span};

use crate::bytes::rescaled;
use crate::mp4::Movie;
use crate::mpegts::Transport;
use crate::{Coding, MediaError, Track, TrackKind};

/// One track of a presentation.
#[derive(Clone, PartialEq, Debug)]
pub struct Stream {
    /// What the container says of it.
    pub track: Track,
    /// The sample entry of its MP4 file, a whole box (ISO/IEC 14496-12, 8.5.2): what a decoder needs to begin.
    pub entry: Vec<u8>,
    /// How its frames are coded.
    pub coding: Coding,
    /// Units of its times in a second, at least 1.
    pub timescale: u32,
    samples: Samples,
}

impl Stream {
    /// Its samples, in decoding order.
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        self.samples.all()
    }
    /// When its last sample ends, in its own units.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.samples.end()
    }
    /// What must be added to the times at which samples are shown so that none is shown before it is decoded, in its own units.
    #[must_use]
    pub fn delay(&self) -> u32 {
        self.samples.delay()
    }
    /// How long sample `index` is shown, in units: to the decoding time of the next.
    #[must_use]
    pub fn duration(&self, index: usize) -> u64 {
        self.samples.duration(index)
    }
    /// `units` of this track as units of `other` timescale, rounded down.
    #[must_use]
    pub fn rescaled(&self, units: u64, other: u32) -> u64 {
        rescaled(units, self.timescale, other)
    }
}

/// A film as its streams and segments. Memory: 24 bytes a frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Presentation {
    streams: Vec<Stream>,
    segments: Vec<Segment>,
    transport: Option<Box<Transport>>,
}

impl Presentation {
    /// Of an MP4 file of `length` bytes whose `moov` has this body. O(samples).
    ///
    /// # Errors
    /// When it has no track with samples inside the file, or more samples than
    /// [`crate::limits::SAMPLES_MAX`].
    pub fn of_moov(moov: &[u8], length: u64) -> Result<Self, MediaError> {
        let movie = Movie::read(moov);
        let mut left = crate::limits::SAMPLES_MAX;
        let mut streams = Vec::new();
        for tables in &movie.tracks {
            if !matches!(tables.track.kind, TrackKind::Video | TrackKind::Audio) {
                continue;
            }
            let samples = Samples::of_tables(tables, length, left)?;
            left -= samples.all().len();
            if samples.all().is_empty() || tables.entry.is_empty() {
                continue;
            }
            streams.push(Stream {
                track: tables.track.clone(),
                entry: tables.entry.to_vec(),
                coding: tables.coding(),
                timescale: tables.timing.timescale.max(1),
                samples,
            });
        }
        let segments = segments::cut(&streams);
        if segments.is_empty() {
            return Err(MediaError::NoIndex);
        }
        Ok(Self { streams, segments, transport: None })
    }
    /// What is known of the file if it is a transport stream: then the presentation has one stream, of whole packets.
    #[must_use]
    pub fn transport(&self) -> Option<&Transport> {
        self.transport.as_deref()
    }
    /// Its streams, in the container's order. At least one.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }
    /// Its segments, in order. At least one; each begins where pictures can be decoded, if there are any.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
    /// The segment of a stream that begins at `start`, in units of the stream. O(log segments).
    #[must_use]
    pub fn segment_at(&self, stream: usize, start: u64) -> Option<usize> {
        let span = |segment: &Segment| segment.spans.get(stream).cloned();
        // Of several that begin there all but the last hold nothing.
        let after =
            self.segments.partition_point(|it| span(it).is_some_and(|it| it.start <= start));
        let number = after.checked_sub(1)?;
        let found = self.segments.get(number).and_then(span)?;
        (found.start == start && !found.samples.is_empty()).then_some(number)
    }
    /// Length of the film in milliseconds: that of its longest stream.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.streams.iter().map(|stream| stream.rescaled(stream.end(), 1000)).max().unwrap_or(0)
    }
    /// The byte ranges of samples `from..to` of a stream, ascending, neighbours joined.
    #[must_use]
    pub fn ranges(&self, stream: usize, samples: Range<usize>) -> Vec<Range<u64>> {
        let all = self.streams.get(stream).map_or(&[][..], Stream::samples);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for sample in all.get(samples).unwrap_or(&[]) {
            match ranges.last_mut() {
                Some(last) if last.end == sample.offset => last.end = sample.end(),
                _ => ranges.push(sample.offset..sample.end()),
            }
        }
        ranges
    }
}

/// The stream whose key frames the film is cut at: the first of pictures, else of sound.
pub(crate) fn reference(streams: &[Stream]) -> usize {
    let first = |kind| streams.iter().position(|stream| stream.track.kind == kind);
    first(TrackKind::Video).or_else(|| first(TrackKind::Audio)).unwrap_or(0)
}
