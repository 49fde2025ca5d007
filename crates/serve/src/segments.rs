//! Segments of films that tell of their frames only among them: made once all of their bytes are here.

use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::{Presentation, cmaf};
use shoal_node::link::TitleId;

use crate::library::Library;
use crate::limits::{CHUNK_BYTES, SEGMENT_BYTES_MAX};

/// Why there is no segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum NoSegment {
    /// It could not be read by now.
    Unread(String),
    /// It cannot be made at all.
    Unknown(String),
}

/// Segment `number` of a stream of a film, which is file `file` of a title, with its header of a fragment.
pub(crate) async fn assembled(
    library: &dyn Library,
    (title, file): (TitleId, u32),
    film: &Arc<Presentation>,
    stream: usize,
    number: usize,
) -> Result<Vec<u8>, NoSegment> {
    let missing = || NoSegment::Unknown("The film has no such segment.".to_owned());
    let range = film.segments().get(number).and_then(|segment| segment.bytes.clone());
    let range = range.ok_or_else(missing)?;
    let mut demuxer = Demuxer::of_segment(Arc::clone(film), stream, number).ok_or_else(missing)?;
    let mut at = range.start;
    let mut reader = library.open(title, file, range).await.map_err(NoSegment::Unread)?;
    let mut frames: Vec<Frame> = Vec::new();
    let mut bytes = 0;
    while demuxer.need().is_some() {
        let Some(chunk) = reader.next(CHUNK_BYTES).await else {
            return Err(NoSegment::Unread("The film ended before its length.".to_owned()));
        };
        let chunk = chunk.map_err(NoSegment::Unread)?;
        feed(&mut demuxer, &mut at, &chunk).map_err(|error| {
            NoSegment::Unknown(format!("The segment cannot be taken apart: {error}."))
        })?;
        while let Some(frame) = demuxer.next() {
            bytes += frame.data.len() as u64;
            frames.push(frame);
        }
        if bytes > SEGMENT_BYTES_MAX {
            let sentence = "The film has too few key frames to be cut: use /stream/.";
            return Err(NoSegment::Unknown(sentence.to_owned()));
        }
    }
    drop(reader);
    cmaf::assembled(film, stream, number, &frames).ok_or_else(missing)
}

/// Gives a demuxer what it needs of `chunk`, which begins at `at` of the file.
fn feed(demuxer: &mut Demuxer, at: &mut u64, chunk: &[u8]) -> Result<(), shoal_media::MediaError> {
    let mut rest = chunk;
    while let Some(need) = demuxer.need().filter(|_| !rest.is_empty()) {
        let count = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        let (skipped, from) = rest.split_at(count(need.start.saturating_sub(*at)).min(rest.len()));
        let (taken, after) = from.split_at(count(need.end - need.start).min(from.len()));
        *at += (skipped.len() + taken.len()) as u64;
        rest = after;
        if !taken.is_empty() {
            demuxer.feed(taken)?;
        }
    }
    Ok(())
}
