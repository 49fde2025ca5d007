//! Bodies of the targets for `shoal-media`.

use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::manifest::Address;
use shoal_media::{Film, Presentation, Prober, cmaf, dash, hls, limits};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] = &[("matroska", matroska), ("mp4_index", mp4_index)];

/// Reads that a file of a few kilobytes can cause: each one looks at another box or element, of at least two bytes.
const READS_MAX: usize = 100_000;

/// The prober ends, asks only for bytes of the file, and what it finds keeps the promises of a time index and of frames.
pub fn mp4_index(data: &[u8]) {
    probed(Prober::of_frames(data.len() as u64), data);
}

/// The same of one that looks at all blocks; then the film is taken apart from several times on, and put together again in segments.
pub fn matroska(data: &[u8]) {
    let Some(film) = probed(Prober::of_frames(data.len() as u64).patient(), data) else { return };
    let Some(film) = film.presentation.map(Arc::new) else { return };
    let streams: Vec<usize> = (0..film.streams().len()).collect();
    for at_ms in [0, 5000, u64::MAX] {
        frames(Demuxer::new(Arc::clone(&film), &streams, at_ms), data);
    }
    for number in 0..film.segments().len().min(8) {
        for stream in &streams {
            let part = Demuxer::of_segment(Arc::clone(&film), *stream, number);
            let Some(part) = part else { continue };
            let frames = frames(part, data);
            let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
            let made = cmaf::assembled(&film, *stream, number, &frames);
            assert!(made.is_none_or(|made| made.len() > bytes));
        }
    }
}

/// All frames: it ends, asks for bytes of the file in small portions, and each stream is decoded in order and before it is shown.
fn frames(mut demuxer: Demuxer, data: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut reads = 0;
    loop {
        while let Some(frame) = demuxer.next() {
            assert!(frame.decoded <= frame.shown);
            let last = frames.iter().rev().take(64).find(|it| it.stream == frame.stream);
            assert!(last.is_none_or(|last| last.decoded <= frame.decoded));
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return frames };
        reads += 1;
        assert!(range.start < range.end && range.end - range.start <= 64 << 10);
        assert!(range.end <= data.len() as u64 && reads <= READS_MAX, "it never ends");
        let range = range.start as usize..range.end as usize;
        if demuxer.feed(&data[range]).is_err() {
            assert_eq!(demuxer.need(), None);
        }
    }
}

fn probed(mut prober: Prober, data: &[u8]) -> Option<Film> {
    let length = data.len() as u64;
    let mut reads = 0;
    while let Some(range) = prober.need().first().cloned() {
        assert!(range.start < range.end && range.end <= length);
        reads += 1;
        assert!(reads <= READS_MAX, "it never ends");
        let bytes = usize::try_from(range.start).ok().and_then(|start| data.get(start..));
        prober.feed(range.start, bytes.expect("it asks for bytes of the file"));
    }
    let film = prober.finish().ok()?;
    assert!(film.tracks.len() <= limits::TRACKS_MAX);
    if let Some(film) = &film.presentation {
        check_frames(film, length);
    }
    let Some(index) = &film.index else { return Some(film) };
    assert_eq!((index.length, Some(index.duration_ms)), (length, film.duration_ms));
    assert!(index.duration_ms <= limits::DURATION_MS_MAX && index.keys.len() <= limits::KEYS_MAX);
    for pair in index.keys.windows(2) {
        assert!(pair[0].time_ms < pair[1].time_ms && pair[0].offset <= pair[1].offset);
    }
    assert!(index.keys.iter().all(|key| key.offset < length && key.time_ms <= index.duration_ms));
    Some(film)
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
            if let Some(bytes) = &segment.bytes {
                assert!(bytes.start <= bytes.end && bytes.end <= length);
                continue;
            }
            let made = cmaf::segment(film, number, place).expect("a segment");
            let frames = &stream.samples()[span.samples.clone()];
            let bytes: u64 = frames.iter().map(|sample| u64::from(sample.size())).sum();
            assert_eq!(made.length(), made.head.len() as u64 + bytes);
        }
        assert_eq!(next, stream.samples().len());
        assert_eq!(cmaf::header(film, number).is_some(), stream.is_packaged());
        assert_eq!(hls::stream(film, number, &name).is_some(), stream.is_packaged());
    }
    drop((hls::main(film, &name), dash::manifest(film, &name)));
}
