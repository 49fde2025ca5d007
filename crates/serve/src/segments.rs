//! Segments that are put together in memory, once all of their bytes are here: of films that tell of their frames only among them, and all
//! that are transport streams or text made of frames.

use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::limits::TEXT_BYTES_MAX;
use shoal_media::mpegts::mux;
use shoal_media::{Presentation, cmaf, text};

use crate::limits::{CHUNK_BYTES, SEGMENT_BYTES_MAX};
use crate::offers::carriable;
use crate::pieces::Places;

/// Why there is no segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoSegment {
    /// It could not be read by now.
    Unread(String),
    /// It cannot be made at all.
    Unknown(String),
}

/// Segment `number` of a stream of a film that `places` reads, with its header of a fragment.
pub(crate) async fn assembled(
    places: Places,
    film: &Arc<Presentation>,
    stream: usize,
    number: usize,
) -> Result<Vec<u8>, NoSegment> {
    let frames = frames(places, film, &[stream], number).await?;
    cmaf::assembled(film, stream, number, &frames).ok_or_else(missing)
}

/// Segment `number` of a film with all of its streams that a transport stream can carry.
pub(crate) async fn carried(
    places: Places,
    film: &Arc<Presentation>,
    number: usize,
) -> Result<Vec<u8>, NoSegment> {
    let streams = carriable(film);
    let numbers: Vec<usize> = streams.iter().map(|(number, _)| *number).collect();
    let frames = frames(places, film, &numbers, number).await?;
    mux::segment(&streams, &frames).ok_or_else(missing)
}

/// Segment `number` of a text inside a film that `places` reads: as WebVTT, or as a fragment.
pub(crate) async fn text(
    places: Places,
    film: &Arc<Presentation>,
    (stream, number): (usize, usize),
    is_fragment: bool,
) -> Result<Vec<u8>, NoSegment> {
    let frames = frames(places, film, &[stream], number).await?;
    let made = match is_fragment {
        true => text::fragment(film, stream, number, &frames),
        false => text::webvtt(film, stream, number, &frames).map(String::into_bytes),
    };
    made.ok_or_else(missing)
}

fn missing() -> NoSegment {
    NoSegment::Unknown("The film has no such segment.".to_owned())
}

/// The frames of these streams in a segment.
async fn frames(
    mut places: Places,
    film: &Arc<Presentation>,
    streams: &[usize],
    number: usize,
) -> Result<Vec<Frame>, NoSegment> {
    let demuxer = Demuxer::of_segment(Arc::clone(film), streams, number);
    let mut demuxer = demuxer.ok_or_else(missing)?;
    let mut frames: Vec<Frame> = Vec::new();
    let is_text = streams.iter().all(|stream| film.text(*stream).is_some());
    // Of cues nothing is asked for but themselves where their places are known.
    let is_told = is_text && streams.iter().all(|stream| film.tells_text(*stream));
    let (most, sentence) = match is_text {
        true => (TEXT_BYTES_MAX, "This part of the film has more text than anybody could read."),
        false => (SEGMENT_BYTES_MAX, "The film has too few key frames to be cut: use /stream/."),
    };
    let mut bytes = 0;
    loop {
        while let Some(frame) = demuxer.next() {
            // Those without bytes take memory, too.
            bytes += (frame.data.len() + size_of::<Frame>()) as u64;
            frames.push(frame);
        }
        let need = demuxer.need();
        let next = need.as_ref().map_or(0, |need| need.end - need.start);
        if bytes > most || next > most {
            return Err(NoSegment::Unknown(sentence.to_owned()));
        }
        let Some(range) = need else {
            places.leave();
            return Ok(frames);
        };
        let came = match is_told {
            true => places.alone(range).await,
            false => places.read(&range, CHUNK_BYTES).await,
        };
        let came = came.map_err(NoSegment::Unread)?;
        demuxer.feed(&came).map_err(|error| {
            NoSegment::Unknown(format!("The segment cannot be taken apart: {error}."))
        })?;
    }
}
