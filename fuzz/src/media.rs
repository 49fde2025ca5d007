//! Bodies of the targets for `shoal-media`.

use shoal_media::manifest::Address;
use shoal_media::{Presentation, Prober, cmaf, dash, hls, limits};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] = &[("mp4_index", mp4_index)];

/// Reads that a file of a few kilobytes can cause: each one looks at another box or element, of at least two bytes.
const READS_MAX: usize = 100_000;

/// The prober ends, asks only for bytes of the file, and what it finds keeps the promises of a time index and of frames.
pub fn mp4_index(data: &[u8]) {
    let length = data.len() as u64;
    let mut prober = Prober::of_frames(length);
    let mut reads = 0;
    while let Some(range) = prober.need().first().cloned() {
        assert!(range.start < range.end && range.end <= length);
        reads += 1;
        assert!(reads <= READS_MAX, "it never ends");
        let bytes = usize::try_from(range.start).ok().and_then(|start| data.get(start..));
        prober.feed(range.start, bytes.expect("it asks for bytes of the file"));
    }
    let Ok(film) = prober.finish() else { return };
    assert!(film.tracks.len() <= limits::TRACKS_MAX);
    if let Some(film) = &film.presentation {
        check_frames(film, length);
    }
    let Some(index) = film.index else { return };
    assert_eq!((index.length, Some(index.duration_ms)), (length, film.duration_ms));
    assert!(index.duration_ms <= limits::DURATION_MS_MAX && index.keys.len() <= limits::KEYS_MAX);
    for pair in index.keys.windows(2) {
        assert!(pair[0].time_ms < pair[1].time_ms && pair[0].offset <= pair[1].offset);
    }
    assert!(index.keys.iter().all(|key| key.offset < length && key.time_ms <= index.duration_ms));
}

/// Frames lie inside the file, segments hold each of them once, and all that is made of them is made.
fn check_frames(film: &Presentation, length: u64) {
    let name = |address: Address| format!("{address:?}");
    for (number, stream) in film.streams().iter().enumerate() {
        assert!(stream.samples().iter().all(|sample| sample.end() <= length));
        let mut next = 0;
        for (place, segment) in film.segments().iter().enumerate() {
            let span = &segment.spans[number];
            assert!(span.samples.start == next && span.start <= span.end);
            next = span.samples.end;
            let made = cmaf::segment(film, number, place).expect("a segment");
            let frames = &stream.samples()[span.samples.clone()];
            let bytes: u64 = frames.iter().map(|sample| u64::from(sample.size())).sum();
            assert_eq!(made.length(), made.head.len() as u64 + bytes);
        }
        assert_eq!(next, stream.samples().len());
        assert!(cmaf::header(film, number).is_some());
        assert!(hls::stream(film, number, &name).is_some());
    }
    drop((hls::main(film, &name), dash::manifest(film, &name)));
}
