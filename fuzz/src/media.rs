//! Bodies of the targets for `shoal-media`.

use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::manifest::Address;
use shoal_media::mpegts::mux;
use shoal_media::{Container, Film, Presentation, Prober, cmaf, dash, hls, limits, text};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] =
    &[("matroska", matroska), ("mp4_index", mp4_index), ("transport_stream", transport_stream)];

/// Reads that a file of a few kilobytes can cause: each one looks at another box or element, of at least two bytes.
const READS_MAX: usize = 100_000;

/// Frames that are carried in a transport stream, at most.
const CARRIED: usize = 60;

/// The prober ends, asks only for bytes of the file, and what it finds keeps the promises of a time index and of frames. A film in
/// fragments is taken apart and put together again.
pub fn mp4_index(data: &[u8]) {
    let length = data.len() as u64;
    for prober in [Prober::of_frames(length), Prober::of_frames(length).thorough()] {
        let Some(film) = probe(prober, data) else { return };
        let Some(presentation) = film.presentation else { continue };
        let shared = Arc::new(presentation.clone());
        match film.container {
            Container::FragmentedMp4 => check_parts(&shared, data),
            _ => (0..shared.segments().len().min(8)).for_each(|it| check_texts(&shared, data, it)),
        }
        check_carried(presentation, data);
    }
}

/// The same of one that looks at all blocks; then the film is taken apart from several times on, and put together again in segments.
pub fn matroska(data: &[u8]) {
    let Some(film) = probe(Prober::of_frames(data.len() as u64).thorough(), data) else { return };
    if let Some(film) = film.presentation.map(Arc::new) {
        check_parts(&film, data);
    }
}

/// The film is taken apart from several times on, and put together again in segments.
fn check_parts(film: &Arc<Presentation>, data: &[u8]) {
    let streams: Vec<usize> = (0..film.streams().len()).collect();
    for at_ms in [0, 5000, u64::MAX] {
        frames(Demuxer::new(Arc::clone(film), &streams, at_ms), data);
    }
    for number in 0..film.segments().len().min(8) {
        for stream in &streams {
            let part = Demuxer::of_segment(Arc::clone(film), &[*stream], number);
            let Some(part) = part else { continue };
            let frames = frames(part, data);
            let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
            let made = cmaf::assembled(film, *stream, number, &frames);
            assert!(made.is_none_or(|made| made.len() > bytes));
        }
        check_texts(film, data, number);
    }
}

/// What a segment shows of each text is made, whatever it says.
fn check_texts(film: &Arc<Presentation>, data: &[u8], number: usize) {
    for stream in film.streams().len()..film.streams().len() + film.texts().len() {
        let part = Demuxer::of_segment(Arc::clone(film), &[stream], number).expect("a segment");
        let frames = frames(part, data);
        let made = text::webvtt(film, stream, number, &frames).expect("a text");
        assert!(made.starts_with("WEBVTT\n"));
        let made = text::fragment(film, stream, number, &frames).expect("a text");
        assert!(made.len() <= limits::TEXT_MADE_MAX + (1 << 20));
    }
}

/// All frames: it ends, asks for bytes of the file, and each stream is decoded in order.
fn frames(mut demuxer: Demuxer, data: &[u8]) -> Vec<Frame> {
    let mut frames: Vec<Frame> = Vec::new();
    let mut reads = 0;
    loop {
        while let Some(frame) = demuxer.next() {
            let last = frames.iter().rev().take(64).find(|it| it.stream == frame.stream);
            assert!(last.is_none_or(|last| last.decoded <= frame.decoded));
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return frames };
        reads += 1;
        assert!(range.start < range.end && range.end - range.start <= limits::BLOCK_BYTES_MAX);
        assert!(range.end <= data.len() as u64 && reads <= READS_MAX, "it never ends");
        let range = range.start as usize..range.end as usize;
        if demuxer.feed(&data[range]).is_err() {
            assert_eq!(demuxer.need(), None);
        }
    }
}

/// Its first frames make whole packets, or are not carried.
fn check_carried(film: Presentation, data: &[u8]) {
    let film = Arc::new(film);
    let streams: Vec<_> = film.streams().iter().enumerate().collect();
    let all: Vec<usize> = (0..streams.len()).collect();
    let mut demuxer = Demuxer::new(Arc::clone(&film), &all, 0);
    let mut frames = Vec::new();
    while frames.len() < CARRIED {
        if let Some(frame) = demuxer.next() {
            frames.push(frame);
            continue;
        }
        let Some(range) = demuxer.need() else { break };
        if demuxer.feed(&data[range.start as usize..range.end as usize]).is_err() {
            break;
        }
    }
    let carried: Vec<_> = streams.iter().copied().filter(|it| mux::can_carry(it.1)).collect();
    for streams in [&streams[..], &carried[..]] {
        if let Some(made) = mux::segment(streams, &frames) {
            assert!(made.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
            assert_eq!(made.chunks(188).filter(|packet| packet[1..3] == [0x40, 0]).count(), 16);
        }
    }
}

/// The same of transport streams, read through and not, and their packets come to an end from any time on.
pub fn transport_stream(data: &[u8]) {
    let length = data.len() as u64;
    let quick = probe(Prober::of_frames(length), data);
    let thorough = probe(Prober::of_frames(length).thorough(), data);
    for film in [quick, thorough].into_iter().flatten().filter_map(|film| film.presentation) {
        if film.transport().is_none() {
            continue;
        }
        let film = Arc::new(film);
        assert!(film.segments().iter().all(|segment| segment.bytes.is_some()));
        let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], 0);
        check_packets(&mut demuxer, data);
        for part in [1, 2, 4] {
            demuxer.jump(film.duration_ms() * part / 3);
            check_packets(&mut demuxer, data);
        }
    }
}

/// Groups of whole packets in order of time, no more than the file has and its tables.
fn check_packets(demuxer: &mut Demuxer, data: &[u8]) {
    let (mut last, mut bytes, mut reads) = (0, 0, 0);
    loop {
        while let Some(frame) = demuxer.next() {
            assert!(!frame.data.is_empty() && frame.data.len() <= 7 * 188);
            assert!(frame.data.chunks(188).all(|packet| packet.len() == 188 && packet[0] == 0x47));
            assert!(frame.decoded >= last && frame.shown == frame.decoded);
            (last, bytes) = (frame.decoded, bytes + frame.data.len());
        }
        let Some(range) = demuxer.need() else { break };
        reads += 1;
        assert!(reads <= 200 + data.len(), "it never ends");
        let (start, end) = (range.start as usize, range.end as usize);
        assert!(start < end);
        demuxer.feed(data.get(start..end).expect("bytes of the file")).expect("packets");
    }
    assert!(bytes <= data.len() + 20 * 188);
}

fn probe(mut prober: Prober, data: &[u8]) -> Option<Film> {
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
