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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use shoal_media::{Presentation, Prober};
    use shoal_node::link::TitleId;
    use shoal_node::stats::{Counters, TitleView};
    use shoal_wire::InfoHashes;
    use shoal_wire::metainfo::{FileEntry, Info, Layout};
    use shoal_wire::slot::{SLOT_MS, Slots};

    use super::rate;

    const FILM: &[u8] = include_bytes!("../../media/testdata/film.mkv");
    const PIECE: u64 = 16384;

    fn film() -> Presentation {
        let read = |range: core::ops::Range<u64>| {
            Ok::<_, Infallible>(FILM[range.start as usize..range.end as usize].to_vec())
        };
        let film = Prober::of_frames(FILM.len() as u64).run(read).expect("a film");
        film.presentation.expect("frames")
    }

    /// The film as the only file of a title, behind a piece of something else.
    fn title() -> Info {
        let length = FILM.len() as u64;
        let file = FileEntry {
            path: vec!["film.240p.mkv".to_owned()],
            length,
            start: PIECE,
            pieces_root: None,
        };
        Info {
            hashes: InfoHashes::default(),
            raw: Bytes::new(),
            name: "A title".to_owned(),
            folder: true,
            files: vec![file],
            layout: Layout::new(PIECE as u32, PIECE + length, Vec::new()).expect("a layout"),
            piece_hashes: Bytes::new(),
            private: false,
            slots: Slots::new(0, SLOT_MS),
            time_indexes: Vec::new(),
        }
    }

    fn view(have: u64, pieces: u8, down_rate: u64) -> TitleView {
        TitleView {
            title: TitleId(0),
            ready: true,
            have,
            length: FILM.len() as u64,
            wanted: 0,
            wanted_have: 0,
            down_rate,
            up_rate: 0,
            buffer_ms: 0,
            known_peers: 0,
            counters: Counters::default(),
            pieces: vec![pieces],
            peers: Vec::new(),
            trackers: Vec::new(),
        }
    }

    #[test]
    fn what_is_here_leaves_at_the_rate_of_the_swarm_or_a_quarter_above_its_own() {
        let (film, info) = (film(), title());
        let segment = &film.segments()[0];
        let bytes = segment.bytes.as_ref().map(|bytes| bytes.end - bytes.start).expect("clusters");
        let ms = 4000;
        let own = bytes * 1250 / ms;
        let near = |rate: Option<u64>| rate.is_some_and(|rate| rate.abs_diff(own) * 50 < own);
        let all = |view: &TitleView| rate(view, &info, 0, (&film, 0));
        assert!(near(all(&view(1, 0xff, 0))), "{:?} {own}", all(&view(1, 0xff, 0)));
        assert_eq!(all(&view(1, 0xff, 1_000_000)), Some(1_000_000));
        // Not the pieces of the film, nothing of which anybody knows, all of the title, another file.
        assert_eq!(all(&view(1, 0x80, 0)), None);
        assert_eq!(all(&TitleView { pieces: Vec::new(), ..view(0, 0, 5) }), None);
        assert_eq!(all(&view(FILM.len() as u64, 0xff, 5)), None);
        assert_eq!(rate(&view(1, 0xff, 0), &info, 1, (&film, 0)), None);
        assert_eq!(rate(&view(1, 0xff, 0), &info, 0, (&film, 99)), None);
    }
}
