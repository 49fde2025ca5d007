//! Whatever the bytes, the prober ends, reads a bounded amount and keeps the promises of a time index.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

use std::sync::Arc;

use proptest::prelude::*;
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::{Container, Film, MediaError, Prober, cmaf, limits};

const FILMS: [&[u8]; 15] = [
    include_bytes!("../testdata/end.mp4"),
    include_bytes!("../testdata/front.mp4"),
    include_bytes!("../testdata/mfra.mp4"),
    include_bytes!("../testdata/sidx.mp4"),
    include_bytes!("../testdata/bare.mp4"),
    include_bytes!("../testdata/sound.m4a"),
    include_bytes!("../testdata/apart.mp4"),
    include_bytes!("../testdata/inside.mp4"),
    include_bytes!("../testdata/begun.mp4"),
    include_bytes!("../testdata/film.mkv"),
    include_bytes!("../testdata/live.mkv"),
    include_bytes!("../testdata/film.webm"),
    include_bytes!("../testdata/groups.mkv"),
    include_bytes!("../testdata/laced.mkv"),
    include_bytes!("../testdata/sound.mka"),
];
/// Those in fragments.
const FRAGMENTS: [usize; 6] = [2, 3, 4, 6, 7, 8];
/// Those of Matroska begin here.
const MATROSKA: usize = 9;

/// Probes `file`, which claims to be `length` bytes long; bytes behind its end are zero.
fn probe(file: &[u8], length: u64) -> Option<Film> {
    let mut prober = Prober::of_frames(length).thorough();
    let mut reads = 0u32;
    while let Some(range) = prober.need().first().cloned() {
        assert!(range.start < range.end && range.end <= length, "asked for {range:?} of {length}");
        assert!(range.end - range.start <= limits::INDEX_BYTES_MAX);
        reads += 1;
        assert!(reads <= 2 * limits::BOXES_MAX + 10);
        let bytes: Vec<u8> = (range.start..range.end.min(range.start + (1 << 20)))
            .map(|at| usize::try_from(at).ok().and_then(|at| file.get(at)).copied().unwrap_or(0))
            .collect();
        prober.feed(range.start, &bytes);
    }
    let film = prober.finish().ok()?;
    let frames = film
        .presentation
        .iter()
        .flat_map(|film| film.streams())
        .flat_map(|stream| stream.samples());
    assert!(frames.clone().count() <= limits::SAMPLES_MAX);
    let mut streams = film.presentation.iter().flat_map(|film| film.streams());
    assert!(streams.all(|stream| stream.samples().len() as u64 <= length));
    assert!(frames.clone().all(|sample| sample.end() <= length));
    if let Some(index) = &film.index {
        assert_eq!((index.length, Some(index.duration_ms)), (length, film.duration_ms));
        assert!(index.keys.len() <= limits::KEYS_MAX);
        assert!(index.duration_ms <= limits::DURATION_MS_MAX);
        for pair in index.keys.windows(2) {
            assert!(pair[0].time_ms < pair[1].time_ms, "times ascend");
            assert!(pair[0].offset <= pair[1].offset, "offsets ascend");
        }
        assert!(index.keys.iter().all(|key| key.offset < length));
        assert!(index.keys.iter().all(|key| key.time_ms <= index.duration_ms));
        assert!(index.boot.iter().all(|(start, len)| start.saturating_add(*len) <= length.max(16)));
    }
    Some(film)
}

/// Takes apart all streams of a film from `at_ms` on, and makes all of its segments.
fn take_apart(film: Film, file: &[u8], at_ms: u64) {
    let container = film.container;
    let Some(film) = film.presentation.map(Arc::new) else { return };
    let streams: Vec<usize> = (0..film.streams().len()).collect();
    let has_tables = film.streams().iter().any(|stream| !stream.samples().is_empty());
    let check = |(frames, fed): (Vec<Frame>, usize)| {
        if container == Container::Matroska {
            assert!(fed <= file.len(), "each byte is asked for once");
            assert!(frames.iter().all(|frame| frame.decoded <= frame.shown));
        }
        let is_empty = frames.iter().any(|frame| frame.data.is_empty());
        assert!(!is_empty || has_tables, "only tables tell of empty frames");
        for stream in &streams {
            let own = frames.iter().filter(|frame| frame.stream == *stream);
            assert!(own.map(|frame| frame.decoded).is_sorted());
        }
        frames
    };
    check(frames(Demuxer::new(Arc::clone(&film), &streams, at_ms), file));
    for number in 0..film.segments().len() {
        for stream in &streams {
            let Some(part) = Demuxer::of_segment(Arc::clone(&film), &[*stream], number) else {
                return;
            };
            let frames = check(frames(part, file));
            let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
            let made = cmaf::assembled(&film, *stream, number, &frames);
            assert!(made.is_none_or(|made| {
                (bytes..bytes + 1000 + 16 * frames.len()).contains(&made.len())
            }));
        }
    }
}

/// All frames: fed in small portions it ends, and gives no more than came.
fn frames(mut demuxer: Demuxer, file: &[u8]) -> (Vec<Frame>, usize) {
    let mut frames: Vec<Frame> = Vec::new();
    let mut fed = 0;
    while let Some(range) = demuxer.need() {
        assert!(range.start < range.end && range.end - range.start <= 2 << 20);
        let bytes = &file[range.start as usize..range.end as usize];
        let bytes = &bytes[..bytes.len().min(1500)];
        fed += bytes.len();
        if demuxer.feed(bytes).is_err() {
            assert_eq!(demuxer.need(), None);
        }
        frames.extend(std::iter::from_fn(|| demuxer.next()));
    }
    frames.extend(std::iter::from_fn(|| demuxer.next()));
    // A few bytes of each frame may be stored once for all.
    let given: usize = frames.iter().map(|frame| frame.data.len().saturating_sub(64)).sum();
    assert!(given <= fed);
    (frames, fed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn flipped_bytes_of_real_films_break_no_promise(
        which in 0..FILMS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        head_only in any::<bool>(),
    ) {
        let mut file = FILMS[which].to_vec();
        let reach = if head_only { 2048 } else { file.len() };
        // Films with the index at the end are hit there too.
        let base = if head_only && which == 0 { file.len() - 5616 } else { 0 };
        for (place, value) in flips {
            let at = (base + place.index(reach)).min(file.len() - 1);
            file[at] = value;
        }
        probe(&file, file.len() as u64);
    }

    #[test]
    fn numbers_replaced_by_extremes_break_no_promise(
        which in 0..FILMS.len(),
        words in prop::collection::vec((any::<prop::sample::Index>(), 0..4usize), 1..6),
    ) {
        let mut file = FILMS[which].to_vec();
        let base = if which == 0 { file.len() - 5616 } else { 0 };
        for (place, kind) in words {
            let at = (base + place.index(6000) / 4 * 4).min(file.len() - 4);
            let word = [u32::MAX, 0, 1, 0x7fff_ffff][kind];
            file[at..at + 4].copy_from_slice(&word.to_be_bytes());
        }
        probe(&file, file.len() as u64);
    }

    #[test]
    fn damaged_clusters_give_frames_or_none_and_end(
        which in MATROSKA..FILMS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        cut in any::<prop::sample::Index>(),
        at_ms in 0..13_000u64,
    ) {
        let mut file = FILMS[which].to_vec();
        for (place, value) in flips {
            let at = place.index(file.len());
            file[at] = value;
        }
        file.truncate((cut.index(4 * file.len())).max(64));
        if let Some(film) = probe(&file, file.len() as u64) {
            take_apart(film, &file, at_ms);
        }
    }

    #[test]
    fn damaged_fragments_give_frames_or_none_and_end(
        which in 0..FRAGMENTS.len(),
        words in prop::collection::vec((any::<bool>(), any::<prop::sample::Index>(), any::<u32>()), 1..20),
        cut in any::<prop::sample::Index>(),
        at_ms in 0..13_000u64,
    ) {
        let mut file = FILMS[FRAGMENTS[which]].to_vec();
        // Most of them among the numbers of fragments, which are few beside the frames.
        let heads: Vec<usize> = (0..file.len() - 4).filter(|at| &file[*at..*at + 4] == b"traf").collect();
        for (in_head, place, value) in words {
            let near = heads[place.index(heads.len())] + value as usize % 120;
            let at = if in_head { near } else { place.index(file.len()) }.min(file.len() - 4);
            let value = if value % 3 == 0 { value } else { u32::from_be_bytes([0, 0, 0, value as u8]) };
            file[at..at + 4].copy_from_slice(&value.to_be_bytes());
        }
        file.truncate((cut.index(4 * file.len())).max(64));
        if let Some(film) = probe(&file, file.len() as u64) {
            take_apart(film, &file, at_ms);
        }
    }

    #[test]
    fn any_bytes_behind_any_magic_break_no_promise(
        magic in 0..4usize,
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        extra in 0..100_000u64,
    ) {
        let head: &[u8] =
            [&b""[..], b"\0\0\0\x08ftyp", b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff", b"\0\0\x02\0moov"][magic];
        let mut file = head.to_vec();
        file.extend_from_slice(&bytes);
        probe(&file, file.len() as u64 + extra);
    }
}

#[test]
fn a_film_cut_at_any_place_ends_in_a_film_or_an_error() {
    for file in FILMS {
        for length in (0..file.len()).step_by(97) {
            probe(&file[..length], length as u64);
        }
    }
}

#[test]
fn a_block_beyond_its_limit_ends_the_demuxing_without_being_read() {
    let film = FILMS[MATROSKA];
    let length = 1u64 << 40;
    let mut file = film.to_vec();
    // The first block of the film, in a cluster of unknown length: claims a terabyte.
    let cluster = file.windows(4).position(|it| it == [0x1f, 0x43, 0xb6, 0x75]).unwrap();
    let head =
        [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xe7, 0x81, 0x00, 0xa3, 0x01, 0, 0, 0x80];
    file[cluster + 4..cluster + 20].copy_from_slice(&head);
    file[cluster + 20..cluster + 28].copy_from_slice(&[0, 0, 0, 0, 0x81, 0, 0, 0x80]);
    let found = Arc::new(probe(&file, length).unwrap().presentation.unwrap());
    let mut demuxer = Demuxer::new(found, &[0, 1], 0);
    let range = demuxer.need().unwrap();
    assert!(range.end - range.start <= 64 << 10);
    let mut bytes = file[range.start as usize..].to_vec();
    bytes.resize(64 << 10, 0);
    let result = demuxer.feed(&bytes);
    assert!(matches!(result, Err(MediaError::TooLarge { what: "block", .. })), "{result:?}");
    assert_eq!(demuxer.need(), None);
}
