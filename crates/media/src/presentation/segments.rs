//! Where a film is cut into segments.
//!
//! Each begins at a key frame of the reference stream, the first one that is shown [`TARGET_MS`] or more after the last cut. The other
//! streams are cut at their first sample that is shown no sooner. So each segment can be decoded by itself, no frame is in
//! two, and what players are told of lengths is exact.

use core::ops::Range;

use super::{Stream, reference};
use crate::bytes::rescaled;

/// Segments last this long at least, where key frames allow: short enough to begin quickly, long enough to be few.
pub(super) const TARGET_MS: u64 = 4000;

/// A part of a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What of each stream lies in it, in the order of the streams.
    pub spans: Vec<Span>,
    /// Bytes of the file that hold all of it and nothing else, where the container has it so.
    pub bytes: Option<Range<u64>>,
}

/// What of a stream lies in a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Span {
    /// Its samples; none where the stream has a gap or is over.
    pub samples: Range<usize>,
    /// When the first is shown, in units of the stream.
    pub start: u64,
    /// When the first of the next segment is shown, or the stream ends.
    pub end: u64,
}

/// Cuts. O(samples).
pub(super) fn cut(streams: &[Stream]) -> Vec<Segment> {
    let Some(lead) = streams.get(reference(streams)) else { return Vec::new() };
    let step = rescaled(TARGET_MS, 1000, lead.timescale);
    let mut cuts: Vec<u64> = Vec::new();
    for sample in lead.samples().iter().filter(|sample| sample.is_key()) {
        if cuts.last().is_none_or(|last| sample.shown() >= last.saturating_add(step)) {
            cuts.push(sample.shown());
        }
    }
    let mut segments = vec![Segment { spans: Vec::new(), bytes: None }; cuts.len()];
    for stream in streams {
        let mut from = 0;
        for (number, segment) in segments.iter_mut().enumerate() {
            let next =
                cuts.get(number + 1).map(|cut| rescaled(*cut, lead.timescale, stream.timescale));
            let to = first_at(stream, from, next);
            let shown = |index: usize| stream.samples().get(index).map(super::Sample::shown);
            let start = shown(from).unwrap_or_else(|| stream.end());
            let end = shown(to).unwrap_or_else(|| stream.end()).max(start);
            segment.spans.push(Span { samples: from..to, start, end });
            from = to;
        }
    }
    segments
}

/// The first sample, from `from` on, that belongs behind a cut at `cut`: of pictures a key frame, since frames that are decoded behind
/// it may be shown before it. Behind the last cut there is none.
fn first_at(stream: &Stream, from: usize, cut: Option<u64>) -> usize {
    let is_video = stream.track.kind == crate::TrackKind::Video;
    let rest = stream.samples().get(from..).unwrap_or(&[]);
    let belongs =
        |sample: &super::Sample, cut| sample.shown() >= cut && (!is_video || sample.is_key());
    let found = cut.and_then(|cut| rest.iter().position(|sample| belongs(sample, cut)));
    from + found.unwrap_or(rest.len())
}
