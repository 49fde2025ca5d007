//! Text tracks inside films as WebVTT, a segment at a time: as text for HLS (RFC 8216, 3.5), and in fragments of MP4 for DASH
//! (ISO/IEC 14496-30, 7).
//!
//! A segment of text lasts as long as one of the pictures ([`Presentation::stretch`]), and is made of the frames that
//! [`crate::demux::Demuxer::of_segment`] gives of it. A cue that is shown on both sides of a cut is in both segments, as far as the film tells where it stands
//! without being read: tables of MP4 do, and the cues of Matroska. Where they do not, it is in the one whose bytes hold it.
//!
//! All of it comes from strangers: what makes no sense is left out, and what a segment may hold is bounded ([`crate::limits`]).

mod boxes;
mod forms;

use crate::Format;
use crate::demux::Frame;
use crate::limits::{CUE_BYTES_MAX, CUES_MAX};
use crate::presentation::Presentation;
use crate::subtitles::Cue;

pub(crate) use boxes::entry;
pub use boxes::fragment;

/// A cue of which nothing tells how long it is shown lasts until the next one, and no longer than this, ms.
const UNTOLD_MS: u64 = 5000;

/// Segment `number` of a text as WebVTT, of its frames. Times are those of the film. `None` when there is no such segment or text.
#[must_use]
pub fn webvtt(
    film: &Presentation,
    stream: usize,
    number: usize,
    frames: &[Frame],
) -> Option<String> {
    let cues = cues(film, stream, number, frames)?;
    let mut out = String::from("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n");
    cues.iter().for_each(|cue| cue.write(&mut out));
    Some(out)
}

/// The cues of a segment, by their times.
fn cues(film: &Presentation, stream: usize, number: usize, frames: &[Frame]) -> Option<Vec<Cue>> {
    let source = film.text(stream)?;
    let Format::Text(form) = source.coding.format else { return None };
    let stretch = film.stretch(number)?;
    let ms = |units| source.rescaled(units, 1000);
    let frames: Vec<&Frame> = frames.iter().filter(|frame| frame.stream == stream).collect();
    let mut cues: Vec<Cue> = Vec::new();
    for (place, frame) in frames.iter().enumerate() {
        if frame.data.len() > CUE_BYTES_MAX || cues.len() >= CUES_MAX {
            continue;
        }
        let start_ms = ms(frame.shown);
        let untold = || {
            let next = frames.get(place + 1).map_or(u64::MAX, |next| ms(next.shown));
            next.min(start_ms.saturating_add(UNTOLD_MS))
        };
        let told = frame.shown.saturating_add(u64::from(frame.duration));
        let end_ms = if frame.duration > 0 { ms(told) } else { untold() };
        let is_here = start_ms < stretch.end && end_ms > stretch.start;
        if start_ms >= end_ms || film.tells_text(stream) && !is_here {
            continue;
        }
        let read = forms::read(form, &frame.data).into_iter();
        cues.extend(read.map(|(settings, text)| Cue { start_ms, end_ms, settings, text }));
    }
    cues.truncate(CUES_MAX);
    cues.sort_by_key(|cue| (cue.start_ms, cue.end_ms));
    Some(joined(cues))
}

/// What goes on where it ended is one cue: boxes of MP4 part a cue wherever another begins.
fn joined(cues: Vec<Cue>) -> Vec<Cue> {
    let mut all: Vec<Cue> = Vec::new();
    for cue in cues {
        let same = all.iter_mut().rev().take(crate::limits::CUES_TOGETHER_MAX).find(|it| {
            it.end_ms == cue.start_ms && it.text == cue.text && it.settings == cue.settings
        });
        match same {
            Some(same) => same.end_ms = cue.end_ms,
            None => all.push(cue),
        }
    }
    all
}
