//! A transport stream taken apart: the same film as its elementary streams, for containers that want frames. Which frames lie where is told
//! by its packets alone; it is cut where the parts of its file are.

use std::sync::Arc;

use super::samples::Samples;
use super::segments::{Segment, Span};
use super::{Layout, Presentation, Stream, reference};
use crate::bytes::rescaled;
use crate::limits::{LATE_SOUND_BYTES_MAX, LATE_SOUND_TAIL_BYTES};
use crate::matroska::sample_entry;
use crate::mpegts::{Codec, Elementary, HZ, Transport};
use crate::{Track, TrackKind};

/// The index tells when the last unit begins to be shown: a picture, or up to so much sound, ms.
const LAST_UNIT_MS: u64 = 350;

/// Where the frames of a transport stream are found.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Units {
    pub(crate) transport: Arc<Transport>,
    /// Where its segments begin: when that is shown, in ms, and the place in the file.
    pub(crate) cuts: Vec<(u64, u64)>,
    /// Numbers and codecs of the streams, in their order.
    pub(crate) lanes: Vec<(u16, Codec)>,
}

impl Units {
    /// Before which byte the sound of a stretch ends that itself ends at `end`.
    pub(crate) fn sound_end(&self, end: u64) -> u64 {
        let late = LATE_SOUND_BYTES_MAX + LATE_SOUND_TAIL_BYTES;
        end.saturating_add(late).min(self.transport.index.length)
    }
}

impl Presentation {
    /// Of a transport stream that is cut there: its pictures and all of its sound that MP4 knows. `None` where its key frames are not
    /// known, or MP4 does not know the stream that it is cut at, or none of its sound.
    pub(super) fn of_units(transport: &Arc<Transport>, cuts: &[(u64, u64)]) -> Option<Self> {
        let head = &transport.head;
        let lead = head.reference().filter(|_| transport.is_exact())?;
        let is_taken =
            |it: &&Elementary| it.pid == lead.pid || it.known.track.kind == TrackKind::Audio;
        let mut streams = Vec::new();
        let mut lanes = Vec::new();
        for elementary in head.streams.iter().filter(is_taken) {
            let stream = stream(transport, elementary);
            if stream.is_packaged() {
                lanes.push((elementary.pid, elementary.known.codec));
                streams.push(stream);
            }
        }
        lanes.get(reference(&streams)).filter(|lane| lane.0 == lead.pid)?;
        let is_sound = |track: &Track| track.kind == TrackKind::Audio;
        let has_sound = head.streams.iter().any(|it| is_sound(&it.known.track));
        if has_sound && !streams.iter().any(|stream| is_sound(&stream.track)) {
            return None;
        }
        let length = transport.index.length;
        let segments = (0..cuts.len()).map(|it| segment(&streams, cuts, it, length)).collect();
        let units = Units { transport: Arc::clone(transport), cuts: cuts.to_vec(), lanes };
        Some(Self { streams, segments, layout: Layout::Units(Box::new(units)) })
    }
    pub(crate) fn units(&self) -> Option<&Units> {
        match &self.layout {
            Layout::Units(units) => Some(units),
            _ => None,
        }
    }
}

fn stream(transport: &Transport, elementary: &Elementary) -> Stream {
    let duration_ms = transport.index.duration_ms;
    let known = &elementary.known;
    let entry = sample_entry("", &known.coding, &[], known.track.size, &[]);
    let is_video = known.track.kind == TrackKind::Video;
    // Frames are decoded at the times that are told of them, moved by as much as the first of all is decoded before it is shown.
    let delay = if is_video { u32::try_from(transport.head.lead).unwrap_or(0) } else { 0 };
    let end = rescaled(duration_ms.saturating_add(LAST_UNIT_MS), 1000, HZ);
    Stream {
        track: Track { duration_ms, ..known.track.clone() },
        entry,
        coding: known.coding.clone(),
        timescale: HZ,
        samples: Samples::untold(end, delay),
        frame_units: 0,
    }
}

/// The segment that begins at a cut. Sound is cut at the same times, but for what the file has before the cut.
fn segment(streams: &[Stream], cuts: &[(u64, u64)], number: usize, length: u64) -> Segment {
    let units = |cut: &(u64, u64)| rescaled(cut.0, 1000, HZ);
    let (cut, next) = (cuts.get(number), cuts.get(number + 1));
    let lead = reference(streams);
    let span = |(place, stream): (usize, &Stream)| {
        let start = if number == 0 && place != lead { 0 } else { cut.map_or(0, units) };
        Span { samples: 0..0, start, end: next.map_or_else(|| stream.end(), units).max(start) }
    };
    let spans = streams.iter().enumerate().map(span).collect();
    let begin = cut.map_or(length, |cut| cut.1);
    Segment { spans, bytes: Some(begin..next.map_or(length, |next| next.1)) }
}
