//! Whatever the bytes, the prober ends, reads a bounded amount and keeps the promises of a time index.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

use proptest::prelude::*;
use shoal_media::{Film, Prober, limits};

const FILMS: [&[u8]; 7] = [
    include_bytes!("../testdata/end.mp4"),
    include_bytes!("../testdata/front.mp4"),
    include_bytes!("../testdata/mfra.mp4"),
    include_bytes!("../testdata/sidx.mp4"),
    include_bytes!("../testdata/bare.mp4"),
    include_bytes!("../testdata/sound.m4a"),
    include_bytes!("../testdata/film.mkv"),
];

/// Probes `file`, which claims to be `length` bytes long; bytes behind its end are zero.
fn probe(file: &[u8], length: u64) -> Option<Film> {
    let mut prober = Prober::of_frames(length);
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
