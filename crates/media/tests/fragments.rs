//! MP4 in fragments taken apart, compared frame by frame with what an independent program says of them, and cut into segments.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use common::{Packet, packets, probed, slice};
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::{Container, MediaError, Presentation, Prober, TrackKind, cmaf};

const FILMS: [(&str, &[u8]); 6] = [
    ("mfra", include_bytes!("../testdata/mfra.mp4")),
    ("sidx", include_bytes!("../testdata/sidx.mp4")),
    ("bare", include_bytes!("../testdata/bare.mp4")),
    ("apart", include_bytes!("../testdata/apart.mp4")),
    ("inside", include_bytes!("../testdata/inside.mp4")),
    ("begun", include_bytes!("../testdata/begun.mp4")),
];

fn file(name: &str) -> &'static [u8] {
    FILMS.iter().find(|film| film.0 == name).map(|film| film.1).unwrap()
}

fn presentation(file: &[u8]) -> Arc<Presentation> {
    let film = probed(Prober::of_frames(file.len() as u64).thorough(), file);
    assert_eq!(film.container, Container::FragmentedMp4);
    Arc::new(film.presentation.unwrap())
}

/// What ffprobe says of the packets of a film.
fn told(name: &str) -> Vec<Packet> {
    // Where pictures are shown before they are decoded, ffprobe moves all of them by as much; the file says what is said here.
    let moved = if name == "inside" { 0.1 } else { 0.0 };
    let moved = |it: Packet| Packet { time_s: it.time_s - moved * f64::from(it.stream == 0), ..it };
    packets(&format!("{name}-mp4")).into_iter().map(moved).collect()
}

/// All frames, fed in chunks of at most `chunk` bytes, and how many bytes were fed.
fn all(demuxer: &mut Demuxer, file: &[u8], chunk: usize) -> (Vec<Frame>, usize) {
    let (mut frames, mut fed) = (Vec::new(), 0);
    loop {
        while let Some(frame) = demuxer.next() {
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return (frames, fed) };
        assert!(range.start < range.end && range.end - range.start <= 64 << 10);
        let (start, end) = (range.start as usize, range.end as usize);
        let bytes = &file[start..(start + chunk).min(end)];
        fed += bytes.len();
        demuxer.feed(bytes).unwrap();
    }
}

fn seconds(film: &Presentation, frame: &Frame) -> f64 {
    frame.shown as f64 / f64::from(film.streams()[frame.stream].timescale)
}

#[test]
fn every_frame_is_the_one_that_ffprobe_sees() {
    for (name, file) in FILMS {
        let film = presentation(file);
        for chunk in [100, usize::MAX / 2] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0, 1], 0);
            let (frames, fed) = all(&mut demuxer, file, chunk);
            assert!(fed <= file.len(), "{name}: each byte is asked for once");
            for stream in [0, 1] {
                let own: Vec<&Frame> = frames.iter().filter(|it| it.stream == stream).collect();
                let expected: Vec<Packet> =
                    told(name).into_iter().filter(|it| it.stream == stream).collect();
                assert_eq!(own.len(), expected.len(), "{name} {stream}");
                let mut next = own[0].decoded;
                for (frame, packet) in own.iter().zip(&expected) {
                    let shown = seconds(&film, frame);
                    assert!((shown - packet.time_s).abs() < 1e-5, "{name}: {shown} {packet:?}");
                    assert_eq!((frame.data.len(), frame.is_key), (packet.size, packet.is_key));
                    assert!(frame.decoded.abs_diff(next) <= 1024, "{name}: {frame:?} at {next}");
                    next = frame.decoded + u64::from(frame.duration);
                }
            }
            let mut last = 0.0;
            for frame in &frames {
                let timescale = f64::from(film.streams()[frame.stream].timescale);
                let decoded = frame.decoded as f64 / timescale;
                assert!(decoded >= last - 1e-5, "{name}: both streams in decoding order");
                last = decoded;
            }
        }
    }
}

#[test]
fn a_jump_begins_at_the_key_frame_before_and_with_the_sound_beside_it() {
    for (name, file) in FILMS {
        let film = presentation(file);
        let all_packets = told(name);
        for at_ms in [0, 1999, 2250, 7900, 9000, 900_000] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0, 1], at_ms);
            let (frames, _) = all(&mut demuxer, file, 1 << 20);
            let keys = all_packets.iter().filter(|packet| packet.stream == 0 && packet.is_key);
            let before = keys.clone().rfind(|key| key.time_s * 1000.0 <= at_ms as f64);
            let key = before.unwrap_or_else(|| keys.clone().next().unwrap());
            let first = |stream| frames.iter().find(|frame| frame.stream == stream).unwrap();
            let shown = seconds(&film, first(0));
            assert!(first(0).is_key && (shown - key.time_s).abs() < 1e-5, "{name} {at_ms} {shown}");
            // At its start the film has all of its sound.
            let from = if at_ms == 0 { 0.0 } else { shown };
            let sound = seconds(&film, first(1));
            assert!((from..from + 0.05).contains(&sound), "{name} {at_ms}: {sound}");
        }
    }
}

/// Header and all segments of a stream, as a player fetches them, and their frames.
fn whole(film: &Arc<Presentation>, file: &[u8], stream: usize) -> (Vec<u8>, Vec<Frame>) {
    let mut bytes = cmaf::header(film, stream).unwrap();
    let mut frames = Vec::new();
    for number in 0..film.segments().len() {
        assert_eq!(cmaf::segment(film, stream, number), None);
        let mut demuxer = Demuxer::of_segment(Arc::clone(film), &[stream], number).unwrap();
        let (own, _) = all(&mut demuxer, file, 1000);
        bytes.extend(cmaf::assembled(film, stream, number, &own).unwrap());
        frames.extend(own);
    }
    (bytes, frames)
}

#[test]
fn segments_hold_each_frame_once_with_the_times_of_the_film() {
    for (name, file) in FILMS {
        let film = presentation(file);
        for (number, stream) in film.streams().iter().enumerate() {
            let (bytes, frames) = whole(&film, file, number);
            let every = all(&mut Demuxer::new(Arc::clone(&film), &[number], 0), file, 1 << 20).0;
            assert_eq!(frames, every, "{name} {number}");
            // What was made is a film in fragments, too, whose frames have the same times.
            let made = presentation(&bytes);
            let [track] = made.streams() else { panic!("one stream") };
            assert_eq!((track.track.kind, &track.entry), (stream.track.kind, &stream.entry));
            let again = all(&mut Demuxer::new(made, &[0], 0), &bytes, 1 << 20).0;
            let named = |frames: &[Frame]| {
                frames.iter().map(|it| (it.shown, it.duration, it.is_key)).collect::<Vec<_>>()
            };
            assert_eq!(named(&again), named(&frames), "{name} {number}");
            for (place, segment) in film.segments().iter().enumerate() {
                assert_eq!(film.segment_at(number, segment.spans[number].start), Some(place));
            }
        }
    }
}

#[test]
fn segments_begin_at_key_frames_four_seconds_apart() {
    for (name, file) in FILMS {
        // The index that ffmpeg writes names fragments that do not begin with a key frame; without it all are looked at.
        let length = file.windows(4).position(|it| it == b"mfra").map_or(file.len(), |at| at - 4);
        let file = &file[..length];
        let film = presentation(file);
        let starts: Vec<u64> = film
            .segments()
            .iter()
            .map(|it| it.spans[0].start * 1000 / u64::from(film.streams()[0].timescale))
            .collect();
        let expected: &[u64] = match name {
            "inside" => &[0, 6000],
            _ => &[200, 4200, 8200],
        };
        assert_eq!(starts, expected, "{name}");
        for number in 0..film.segments().len() {
            let mut demuxer = Demuxer::of_segment(Arc::clone(&film), &[0], number).unwrap();
            let (frames, _) = all(&mut demuxer, file, 1 << 20);
            let first = &frames[0];
            assert_eq!(first.shown, film.segments()[number].spans[0].start, "{name} {number}");
            assert!(first.is_key && film.streams()[0].track.kind == TrackKind::Video);
        }
    }
}

#[test]
fn without_an_index_a_published_one_tells_where_segments_begin() {
    for name in ["bare", "apart"] {
        let file = file(name);
        let length = file.len() as u64;
        let reads = std::cell::Cell::new(0);
        let quick = Prober::of_frames(length).run(|range| {
            reads.set(reads.get() + 1);
            Ok::<_, Infallible>(slice(file, &range))
        });
        assert!(reads.get() <= 4, "not each fragment is looked at");
        let bare = quick.unwrap().presentation.unwrap();
        assert!(bare.wants_index() && bare.segments().is_empty());
        let index = probed(Prober::new(length).thorough(), file).index.unwrap();
        // A segment index behind the first fragment speaks of one of them only.
        assert_eq!(index.keys.len(), 6, "{name}");
        assert!((12_000..=12_300).contains(&index.duration_ms), "{name}: {}", index.duration_ms);
        assert_eq!(bare.clone().with_index(&index).segments(), presentation(file).segments());
        // One that divides the file evenly tells nothing.
        let even = shoal_wire::time_index::TimeIndex::constant_rate(length, 12_000, 100);
        assert!(bare.clone().with_index(&even).segments().is_empty());
        // It can be taken apart all the same.
        let frames = all(&mut Demuxer::new(Arc::new(bare.clone()), &[0, 1], 6500), file, 1 << 20).0;
        assert!((seconds(&bare, &frames[0]) - 6.2).abs() < 0.05 && frames.len() > 180);
    }
}

#[test]
fn fragments_that_do_not_tell_when_begin_where_those_before_end() {
    let file = file("bare");
    let mut silent = file.to_vec();
    while let Some(at) = silent.windows(4).position(|it| it == b"tfdt") {
        silent[at..at + 4].copy_from_slice(b"free");
    }
    let (film, told) = (presentation(&silent), presentation(file));
    assert_eq!(film.segments(), told.segments());
    let of = |film: &Arc<Presentation>, file: &[u8], at_ms| {
        all(&mut Demuxer::new(Arc::clone(film), &[0, 1], at_ms), file, 1 << 20).0
    };
    assert_eq!(of(&film, &silent, 0), of(&told, file, 0));
    // Behind a jump pictures begin with the key frame's time, and sound with it: that is late by as much as pictures are delayed.
    let (found, expected) = (of(&film, &silent, 6500), of(&told, file, 6500));
    let pictures = |frames: &[Frame]| {
        let own = frames.iter().filter(|frame| frame.stream == 0);
        own.map(|it| (it.shown, it.data.len())).collect::<Vec<_>>()
    };
    assert_eq!(pictures(&found), pictures(&expected));
    let late = (found.len() - expected.len()) as f64 * 1024.0 / 24_000.0;
    assert!((0.0..0.25).contains(&late), "{late}");
}

#[test]
fn a_frame_beyond_its_limit_ends_the_demuxing_without_being_read() {
    let file = file("bare");
    let length = 1u64 << 40;
    let mut file = file.to_vec();
    let run = file.windows(4).position(|it| it == b"trun").unwrap();
    // The size of the first picture, behind the count, the place of the data and the flags of the first.
    file[run + 20..run + 24].copy_from_slice(&[0x40, 0, 0, 0]);
    let bytes = |range: &Range<u64>| {
        (range.start..range.end).map(|at| file.get(at as usize).copied().unwrap_or(0)).collect()
    };
    let film = Prober::of_frames(length).run(|range| Ok::<Vec<u8>, Infallible>(bytes(&range)));
    let mut demuxer = Demuxer::new(Arc::new(film.unwrap().presentation.unwrap()), &[0, 1], 0);
    let mut result = Ok(());
    while let Some(range) = demuxer.need() {
        assert!(range.end < 10_000 && result.is_ok());
        result = demuxer.feed(&bytes(&range));
    }
    assert!(matches!(result, Err(MediaError::TooLarge { what: "frame", .. })), "{result:?}");
}
