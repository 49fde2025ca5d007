//! Where a film is cut into segments.
//!
//! Each begins at a key frame of the reference stream, the first one that is shown [`TARGET_MS`] or more after the last cut. The other
//! streams are cut at their first sample that is shown no sooner. So each segment can be decoded by itself, no frame is in
//! two, and what players are told of lengths is exact.

use core::ops::Range;

use super::points::Points;
use super::{Stream, reference};
use crate::bytes::rescaled;

/// Segments last this long at least, where key frames allow: short enough to begin quickly, long enough to be few.
pub(super) const TARGET_MS: u64 = 4000;

/// A part of a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// What of each stream lies in it, in the order of the streams.
    pub spans: Vec<Span>,
    /// The bytes of the file in which all of it is found, where nothing but they tells of its frames ([`Span::samples`] are empty then) or
    /// they are all there is. The ranges of neighbours may overlap by a little.
    pub bytes: Option<Range<u64>>,
}

impl Segment {
    /// Whether something of a stream lies in it; where only its bytes would tell, whether the stream is not over.
    #[must_use]
    pub fn holds(&self, stream: usize) -> bool {
        self.spans.get(stream).is_some_and(|span| match self.bytes {
            Some(_) => span.start < span.end,
            None => !span.samples.is_empty(),
        })
    }
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

/// The segments of a film in clusters or fragments, between its cuts. All streams are cut at the same bytes, and by the head's account at
/// the same time: what of sound lies a little before or behind it in the file goes with its bytes. O(cuts).
pub(super) fn of_points(streams: &[Stream], points: &Points) -> Vec<Segment> {
    let lead = reference(streams);
    let last = points.cuts.last().map_or(0, |cut| cut.shown.saturating_add(1));
    let segment = |number: usize| {
        let cut = points.cuts.get(number)?;
        let next = points.cuts.get(number + 1);
        let span = |(place, stream): (usize, &Stream)| {
            let units = |units| rescaled(units, points.timescale, stream.timescale);
            let start = if number == 0 && place != lead { 0 } else { units(cut.shown) };
            let end = next.map_or_else(|| stream.end().max(units(last)), |next| units(next.shown));
            Span { samples: 0..0, start, end: end.max(start) }
        };
        let spans = streams.iter().enumerate().map(span).collect();
        Some(Segment { spans, bytes: Some(points.range(number)) })
    };
    (0..points.cuts.len()).filter_map(segment).collect()
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
