//! Frames of other containers in transport streams.

use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::mpegts::mux;
use shoal_media::presentation::Segment;
use shoal_media::{Presentation, Prober, hls};

use super::reading::{pcr, pid, units};
use super::{film, run, thorough};

const FRONT: &[u8] = include_bytes!("../../testdata/front.mp4");

/// The film of another container in segments of a transport stream, and its frames.
fn muxed(file: &[u8]) -> (Arc<Presentation>, Vec<Vec<u8>>, Vec<Frame>) {
    let film = Arc::new(run(Prober::of_frames(file.len() as u64), file).presentation.unwrap());
    let streams: Vec<usize> = (0..film.streams().len()).collect();
    let mut demuxer = Demuxer::new(Arc::clone(&film), &streams, 0);
    let mut frames = Vec::new();
    loop {
        frames.extend(std::iter::from_fn(|| demuxer.next()));
        let Some(range) = demuxer.need() else { break };
        demuxer.feed(&file[range.start as usize..range.end as usize]).unwrap();
    }
    let streams: Vec<_> = film.streams().iter().enumerate().collect();
    let segment = |segment: &Segment| {
        let lies_in = |frame: &&Frame| {
            let (stream, span) = (&film.streams()[frame.stream], &segment.spans[frame.stream]);
            let samples = &stream.samples()[span.samples.clone()];
            samples.iter().any(|sample| sample.decoded == frame.decoded)
        };
        let frames: Vec<Frame> = frames.iter().filter(lies_in).cloned().collect();
        mux::segment(&streams, &frames).unwrap()
    };
    let segments = film.segments().iter().map(segment).collect();
    (film, segments, frames)
}

/// Units behind start codes as units behind lengths, without delimiters and parameter sets.
fn behind_lengths(unit: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let starts: Vec<_> =
        (0..unit.len()).filter(|at| unit[*at..].starts_with(&[0, 0, 0, 1])).collect();
    for (number, start) in starts.iter().enumerate() {
        let nal = &unit[start + 4..starts.get(number + 1).copied().unwrap_or(unit.len())];
        if !matches!(nal[0] & 0x1f, 7..=9) {
            out.extend((nal.len() as u32).to_be_bytes());
            out.extend_from_slice(nal);
        }
    }
    out
}

#[test]
fn frames_of_another_container_are_the_same_in_a_transport_stream() {
    let (film, segments, frames) = muxed(FRONT);
    // Counters of all segments behind each other are looked at here.
    let mut units = units(&segments.concat());
    let (sound, pictures) = (units.remove(&0x101).unwrap(), units.remove(&0x100).unwrap());
    let own = |stream: usize| frames.iter().filter(move |frame| frame.stream == stream);
    let ticks =
        |stream: usize, time: u64| film.streams()[stream].rescaled(time, 90_000) + mux::BASE;
    assert_eq!(pictures.len(), own(0).count());
    for (unit, frame) in pictures.iter().zip(own(0)) {
        assert_eq!(behind_lengths(&unit.2), frame.data);
        assert!(unit.2.starts_with(&[0, 0, 0, 1, 9]) && unit.1 <= unit.0);
        assert_eq!(unit.0, ticks(0, frame.shown));
        let has_sets = unit.2[6..].starts_with(&[0, 0, 0, 1, 0x67]);
        assert_eq!(has_sets, frame.is_key);
    }
    let (mut frames, mut bytes) = (own(1), Vec::new());
    for (shown, _, unit) in &sound {
        let mut rest = &unit[..];
        let mut time = Some(*shown);
        while !rest.is_empty() {
            let length = usize::from(rest[3] & 3) << 11
                | usize::from(rest[4]) << 3
                | usize::from(rest[5] >> 5);
            let frame = frames.next().unwrap();
            assert!(time.take().is_none_or(|time| time == ticks(1, frame.shown)));
            assert_eq!(rest[7..length], frame.data);
            bytes.extend_from_slice(&rest[7..length]);
            rest = &rest[length..];
        }
    }
    assert!(frames.next().is_none() && !bytes.is_empty());
}

#[test]
fn segments_begin_with_tables_and_a_key_frame_and_tell_the_clock_often() {
    let (film, segments, _) = muxed(FRONT);
    for (number, segment) in segments.iter().enumerate() {
        let mut pids = segment.chunks(188).map(pid);
        assert_eq!((pids.next(), pids.next()), (Some(0), Some(0x1000)));
        let mut last = None;
        for packet in segment.chunks(188) {
            if let Some(now) = pcr(packet) {
                let gap = now - last.unwrap_or(now);
                assert!(gap <= 3600, "{number}: {gap}");
                last = Some(now);
            }
        }
        let probed = thorough(segment);
        let names: Vec<_> = probed.tracks.iter().map(|track| track.codec.as_str()).collect();
        assert_eq!(names, ["avc1.64000a", "mp4a.40.2"]);
        assert!(probed.index.unwrap().keys.len() >= 2);
    }
    let list = hls::transport_stream(&film, &|time| format!("{time}.ts")).unwrap();
    let names: Vec<_> = list.lines().filter(|line| line.ends_with(".ts")).collect();
    assert_eq!(names.len(), segments.len());
    assert_eq!(muxed(FRONT).1, segments, "the same bytes each time");
}

#[test]
fn parts_of_a_film_that_is_a_transport_stream_are_played_as_they_are() {
    let file = film("stream");
    let presentation = thorough(file).presentation.unwrap();
    let list = hls::transport_stream(&presentation, &|time| format!("{time}.ts")).unwrap();
    assert!(list.contains("\n#EXTINF:4.000000,\n"), "{list}");
    let transport = presentation.transport().unwrap();
    assert!(transport.front(&file[..188]).is_empty());
    let front = transport.front(&file[188 * 5..188 * 6]);
    assert_eq!((front.len(), pid(&front), pid(&front[188..])), (376, 0, 0x1000));
    let stamped = thorough(film("stamped")).presentation.unwrap();
    assert_eq!(hls::transport_stream(&stamped, &|time| format!("{time}.ts")), None);
}
