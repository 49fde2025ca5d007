//! How fast a segment that is here leaves, where the player chooses among qualities by how fast segments come.
//!
//! A player believes that what it measures is the network. Over loopback a segment that is here comes at once, whatever the swarm gives, so
//! players would choose the best quality and stand still. So it leaves no faster than the title arrives, but always a quarter faster than it
//! is played. What must still come is not held up: it shows the swarm's rate by itself.

use core::ops::Range;

use shoal_media::Presentation;
use shoal_node::stats::TitleView;
use shoal_wire::metainfo::Info;

/// Bytes/s at which a segment of pictures leaves; `None` for as fast as the player takes it: the title is complete, or most of the
/// segment is still to come.
pub(crate) fn rate(
    view: &TitleView,
    info: &Info,
    file: u32,
    (film, number): (&Presentation, usize),
) -> Option<u64> {
    let stream = film.reference();
    let segment = film.segments().get(number)?;
    let span = segment.spans.get(stream)?;
    let ranges = match &segment.bytes {
        Some(bytes) => vec![bytes.clone()],
        None => film.ranges(stream, span.samples.clone()),
    };
    let start = info.files.get(file as usize)?.start;
    let (mut here, mut pieces, mut bytes) = (0_u64, 0_u64, 0_u64);
    for range in &ranges {
        bytes = bytes.saturating_add(range.end - range.start);
        for piece in touched(info, start, range) {
            let byte = view.pieces.get(piece as usize / 8).copied().unwrap_or(0);
            here += u64::from(byte >> (7 - piece % 8) & 1);
            pieces += 1;
        }
    }
    if view.have >= view.length || here * 2 < pieces || pieces == 0 {
        return None;
    }
    let stream = film.streams().get(stream)?;
    let ms = stream.rescaled(span.end - span.start, 1000).max(1);
    Some(view.down_rate.max(bytes.saturating_mul(1250) / ms).max(1))
}

/// The pieces in which a range of a file lies that begins at `start`.
fn touched(info: &Info, start: u64, range: &Range<u64>) -> Range<u32> {
    let piece = |offset: u64| {
        let found = info.layout.piece_at(start.saturating_add(offset));
        found.map_or(0, shoal_wire::metainfo::PieceIndex::get)
    };
    match range.is_empty() {
        true => 0..0,
        false => piece(range.start)..piece(range.end - 1).saturating_add(1),
    }
}
