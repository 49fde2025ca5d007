//! A transport stream as a film of one stream, whose samples are its segments: whole packets with all that is in it.

use std::sync::Arc;

use super::samples::Samples;
use super::segments::{Segment, Span, TARGET_MS};
use super::{Layout, Presentation, Stream};
use crate::bytes::rescaled;
use crate::mpegts::{HZ, Transport};
use crate::{Coding, Format, MediaError, Track, TrackKind};

impl Presentation {
    /// Of a transport stream. O(points of its index).
    ///
    /// # Errors
    /// When its index has no points, or points that are too far apart.
    pub(crate) fn of_transport(transport: Transport) -> Result<Self, MediaError> {
        let cuts = cuts(&transport);
        let index = &transport.index;
        let units = |ms| rescaled(ms, 1000, HZ);
        let end = units(index.duration_ms);
        let ends = cuts.iter().skip(1).copied().chain([(index.duration_ms, index.length)]);
        let parts: Vec<_> =
            cuts.iter().zip(ends).map(|(from, to)| (from.1..to.1, units(from.0))).collect();
        let segment = |number: usize, (bytes, start): &(core::ops::Range<u64>, u64)| {
            let end = parts.get(number + 1).map_or(end, |next| next.1);
            let span = Span { samples: number..number + 1, start: *start, end };
            Segment { spans: vec![span], bytes: Some(bytes.clone()) }
        };
        let segments: Vec<_> = parts.iter().enumerate().map(|(at, it)| segment(at, it)).collect();
        let received = parts.iter().map(|part| part.0.end - part.0.start).max();
        let received = received.ok_or(MediaError::NoIndex)?;
        let (what, limit) = ("part between two key frames", u64::from(u32::MAX >> 1));
        let samples = Samples::of_parts(&parts, end);
        let samples = samples.ok_or(MediaError::TooLarge { what, limit, received })?;
        let stream = Stream {
            track: track(&transport),
            entry: Vec::new(),
            coding: Coding { format: Format::TransportStream, ..Coding::other() },
            timescale: HZ,
            frame_units: 0,
            samples,
        };
        let transport = Arc::new(transport);
        let apart = Self::of_units(&transport, &cuts).map(Arc::new);
        Ok(Self { streams: vec![stream], segments, layout: Layout::Transport(transport, apart) })
    }
    /// The same film taken apart into its elementary streams, if it is a transport stream whose key frames are known and whose pictures
    /// and at least some sound, if it has any, MP4 knows. Cut at the same places.
    #[must_use]
    pub fn apart(&self) -> Option<&Arc<Self>> {
        match &self.layout {
            Layout::Transport(_, apart) => apart.as_ref(),
            _ => None,
        }
    }
}

/// Where segments begin, [`TARGET_MS`] or more apart: when, in ms, and at which place of the file.
fn cuts(transport: &Transport) -> Vec<(u64, u64)> {
    let index = &transport.index;
    let mut cuts: Vec<(u64, u64)> = Vec::new();
    for key in &index.keys {
        let offset = if transport.is_exact() { key.offset } else { transport.aligned(key.offset) };
        let fits = cuts
            .last()
            .is_none_or(|last| key.time_ms >= last.0.saturating_add(TARGET_MS) && offset > last.1);
        if fits && offset < index.length && key.time_ms < index.duration_ms.max(1) {
            cuts.push((key.time_ms, offset));
        }
    }
    cuts
}

/// All that is in the stream as one track: the names of its codings, and the size of its pictures.
fn track(transport: &Transport) -> Track {
    let streams = &transport.head.streams;
    let mut names: Vec<&str> = Vec::new();
    for stream in streams.iter().filter(|it| it.known.track.kind != TrackKind::Text) {
        let name = stream.known.track.codec.as_str();
        if !name.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    Track {
        codec: names.join(","),
        duration_ms: transport.index.duration_ms,
        size: streams.iter().find_map(|stream| stream.known.track.size),
        ..Track::new(u32::from(transport.head.table_pid), TrackKind::Video)
    }
}
