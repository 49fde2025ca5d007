//! Bodies of the targets for `shoal-media`.

use std::sync::Arc;

use bytes::Bytes;
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::manifest::Address;
use shoal_media::mpegts::mux;
use shoal_media::rtp::Payloader;
use shoal_media::{
    Coding, Container, Film, Format, Presentation, Prober, cmaf, dash, hls, limits, subtitles, text,
};
use shoal_wire::time_index::{KeyPoint, TimeIndex};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] = &[
    ("lying_index", lying_index),
    ("matroska", matroska),
    ("mp4_index", mp4_index),
    ("rtp_payloads", rtp_payloads),
    ("subtitles", subtitles),
    ("transport_stream", transport_stream),
];

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

/// Films that take their key points from a published index: without cues, without an index of their fragments, without either.
const UNTOLD: [&[u8]; 4] = [
    include_bytes!("../../crates/media/testdata/live.mkv"),
    include_bytes!("../../crates/media/testdata/bare.mp4"),
    include_bytes!("../../crates/media/testdata/stream.ts"),
    include_bytes!("../../crates/media/testdata/stamped.m2ts"),
];

/// A published index that lies about a film still gives segments that lie in its file, and whatever is asked for comes to an end. The first
/// byte chooses the film, the next eight are its length in time; the rest are key points, time and place, sixteen bytes each.
pub fn lying_index(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let file = UNTOLD[usize::from(*which) % UNTOLD.len()];
    let mut numbers = rest.chunks_exact(8).map(|it| u64::from_be_bytes(it.try_into().expect("8")));
    let Some(duration_ms) = numbers.next() else { return };
    let mut keys = Vec::new();
    while let (Some(time_ms), Some(offset)) = (numbers.next(), numbers.next()) {
        keys.push(KeyPoint { time_ms, offset });
    }
    let index = TimeIndex { duration_ms, length: file.len() as u64, boot: Vec::new(), keys };
    let film = probe(Prober::of_frames(file.len() as u64), file).and_then(|film| film.presentation);
    let film = film.expect("it is known").with_index(&index);
    assert!(film.duration_ms() <= limits::DURATION_MS_MAX);
    assert!(film.segments().len() <= index.keys.len().max(8));
    check_frames(&film, file.len() as u64);
    let film = Arc::new(film);
    if film.transport().is_some() {
        for at_ms in [0, 5000, duration_ms / 2, u64::MAX] {
            check_packets(&mut Demuxer::new(Arc::clone(&film), &[0], at_ms), file);
        }
        if let Some(apart) = film.apart() {
            taken_apart(apart, file, false);
        }
    } else {
        check_parts(&film, file);
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
        if let Some(apart) = film.apart() {
            check_frames(apart, length);
            taken_apart(apart, data, true);
        }
    }
}

/// Segments of a film that is taken apart hold frames in order, are made, and come to an end; one stream alone has the same frames.
/// Where an index lies about the film, neighbours may disagree whose a frame is.
fn taken_apart(film: &Arc<Presentation>, data: &[u8], is_told: bool) {
    let all: Vec<usize> = (0..film.streams().len()).collect();
    let whole = elementary(Demuxer::new(Arc::clone(film), &all, 0), data);
    let mut count = 0;
    for number in 0..film.segments().len() {
        for stream in &all {
            let demuxer = Demuxer::of_segment(Arc::clone(film), &[*stream], number);
            let frames = elementary(demuxer.expect("a segment"), data);
            let made = cmaf::assembled(film, *stream, number, &frames);
            assert!(made.is_some() || !is_told);
            count += frames.len();
        }
    }
    assert!(whole.len() == count || !is_told);
    let streams: Vec<_> = film.streams().iter().enumerate().collect();
    drop(mux::segment(&streams, &whole));
}

fn elementary(mut demuxer: Demuxer, data: &[u8]) -> Vec<Frame> {
    let (mut frames, mut reads) = (Vec::new(), 0);
    while let Some(range) = demuxer.need() {
        reads += 1;
        assert!(reads <= 200 + data.len(), "it never ends");
        let bytes = data.get(range.start as usize..range.end as usize);
        let fed = demuxer.feed(bytes.expect("bytes of the file"));
        frames.extend(std::iter::from_fn(|| demuxer.next()));
        if fed.is_err() {
            break;
        }
    }
    assert!(frames.iter().all(|frame| !frame.data.is_empty()));
    frames
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

/// Codings in the order of the first byte of an input.
const FORMATS: [Format; 12] = [
    Format::H264,
    Format::H265,
    Format::Vp8,
    Format::Vp9,
    Format::Av1,
    Format::Mpeg2,
    Format::Aac,
    Format::MpegAudio,
    Format::Ac3,
    Format::Opus,
    Format::TransportStream,
    Format::Other,
];

/// A frame becomes packets that hold what they may and no byte twice, whatever is in it. In front of it: the coding, whether it is a key
/// frame with the size of packets, the length of the record in two bytes, and the record.
pub fn rtp_payloads(data: &[u8]) {
    let Some(([format, size, high, low], rest)) = data.split_first_chunk::<4>() else { return };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (record, frame) = rest.split_at(length);
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let coding = Coding { format, record: record.to_vec(), rate: 48_000, channels: 2 };
    let Some(payloader) = Payloader::new(&coding) else { return };
    assert!(payloader.encoding().clock > 0);
    let (is_key, most) = (size & 1 == 1, 64 + 8 * usize::from(size >> 1));
    let data = Bytes::copy_from_slice(frame);
    let frame = Frame { stream: 0, decoded: 0, shown: 0, duration: 0, is_key, data };
    let (mut bodies, mut ends) = (0, 0);
    payloader.cut(&frame, most, |packet| {
        let whole = matches!(format, Format::Opus | Format::TransportStream);
        assert!(whole || packet.head.len() + packet.body.len() <= most);
        bodies += packet.body.len();
        ends += usize::from(packet.marker);
    });
    assert!(bodies <= frame.data.len() + if is_key { record.len() } else { 0 } && ends <= 1);
}

/// Subtitles become WebVTT, no longer than a small multiple of them.
pub fn subtitles(data: &[u8]) {
    let made = subtitles::webvtt(data);
    assert!(made.starts_with("WEBVTT") && made.len() <= 8 * data.len() + 64);
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
