//! Matroska and WebM taken apart, compared frame by frame with what an independent program says of them, and cut into segments.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::sync::Arc;

use common::{Packet, packets, probed};
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::manifest::Address;
use shoal_media::{Container, Format, Presentation, Prober, TrackKind, cmaf, dash, hls};

const FILMS: [(&str, &[u8]); 6] = [
    ("film-mkv", include_bytes!("../testdata/film.mkv")),
    ("live-mkv", include_bytes!("../testdata/live.mkv")),
    ("film-webm", include_bytes!("../testdata/film.webm")),
    ("groups-mkv", include_bytes!("../testdata/groups.mkv")),
    ("laced-mkv", include_bytes!("../testdata/laced.mkv")),
    ("sound-mka", include_bytes!("../testdata/sound.mka")),
];

fn file(name: &str) -> &'static [u8] {
    FILMS.iter().find(|film| film.0 == name).map(|film| film.1).unwrap()
}

fn presentation(name: &str) -> Arc<Presentation> {
    let file = file(name);
    let film = probed(Prober::of_frames(file.len() as u64).thorough(), file);
    Arc::new(film.presentation.unwrap())
}

/// All frames, fed in chunks of at most `chunk` bytes.
fn all(demuxer: &mut Demuxer, file: &[u8], chunk: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        while let Some(frame) = demuxer.next() {
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return frames };
        assert!(range.end - range.start <= 64 << 10);
        let (start, end) = (range.start as usize, range.end as usize);
        demuxer.feed(&file[start..(start + chunk).min(end)]).unwrap();
    }
}

fn seconds(film: &Presentation, frame: &Frame) -> f64 {
    frame.shown as f64 / f64::from(film.streams()[frame.stream].timescale)
}

#[test]
fn every_frame_is_the_one_that_ffprobe_sees() {
    for (name, file) in FILMS {
        let film = presentation(name);
        let streams: Vec<usize> = (0..film.streams().len()).collect();
        for chunk in [100, usize::MAX / 2] {
            let frames = all(&mut Demuxer::new(Arc::clone(&film), &streams, 0), file, chunk);
            for stream in &streams {
                let own: Vec<&Frame> = frames.iter().filter(|it| it.stream == *stream).collect();
                let expected: Vec<Packet> =
                    packets(name).into_iter().filter(|it| it.stream == *stream).collect();
                assert_eq!(own.len(), expected.len(), "{name} {stream}");
                let mut last = 0;
                for (frame, packet) in own.iter().zip(&expected) {
                    let shown = seconds(&film, frame);
                    let told = packet.time_s.max(0.0);
                    assert!((shown - told).abs() < 0.0011, "{name} {stream}: {shown} {told}");
                    assert_eq!((frame.data.len(), frame.is_key), (packet.size, packet.is_key));
                    assert!(last <= frame.decoded && frame.decoded <= frame.shown, "{name}");
                    last = frame.decoded;
                    let is_part2 = name == "laced-mkv" && *stream == 0;
                    assert!(!is_part2 || frame.data.starts_with(&[0, 0, 1]), "the start is back");
                }
            }
        }
    }
}

#[test]
fn a_jump_begins_at_the_key_frame_before_and_with_the_sound_beside_it() {
    for (name, file) in FILMS {
        let film = presentation(name);
        let all_packets = packets(name);
        let streams: Vec<usize> = (0..film.streams().len()).collect();
        for at_ms in [0, 1999, 2050, 7900, 900_000] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &streams, at_ms);
            let frames = all(&mut demuxer, file, 1 << 20);
            let keys = all_packets.iter().filter(|packet| packet.stream == 0 && packet.is_key);
            let before = keys.clone().rfind(|key| key.time_s * 1000.0 <= at_ms as f64);
            let key = before.unwrap_or_else(|| keys.clone().next().unwrap());
            let first = frames.iter().find(|frame| frame.stream == 0).unwrap();
            let shown = seconds(&film, first);
            assert!(first.is_key && (shown - key.time_s).abs() < 0.001, "{name} {at_ms} {shown}");
            if streams.len() > 1 {
                // At its start the film has all of its sound.
                let shown = if at_ms == 0 { 0.0 } else { shown };
                let sound = frames.iter().find(|frame| frame.stream == 1).unwrap();
                let sound = seconds(&film, sound);
                assert!((shown..shown + 0.05).contains(&sound), "{name} {at_ms}: {sound}");
            }
        }
    }
}

#[test]
fn streams_say_what_decoders_and_browsers_must_know() {
    let of = |name| {
        let film = presentation(name);
        let streams = film.streams().iter();
        streams
            .map(|it| (it.track.codec.clone(), it.coding.format, it.coding.rate, it.is_packaged()))
            .collect::<Vec<_>>()
    };
    let told = |codec: &str, format, rate| (codec.to_owned(), format, rate, true);
    let h264 = told("avc1.64000a", Format::H264, 0);
    assert_eq!(of("film-mkv"), [h264.clone(), told("mp4a.40.2", Format::Aac, 24_000)]);
    let vp9 = told("vp09.00.10.08", Format::Vp9, 0);
    assert_eq!(of("film-webm"), [vp9, told("opus", Format::Opus, 48_000)]);
    assert_eq!(of("groups-mkv"), [h264, told("mp4a.6b", Format::MpegAudio, 24_000)]);
    let part2 = told("mp4v.20", Format::Other, 0);
    assert_eq!(of("laced-mkv"), [part2, told("ac-3", Format::Ac3, 48_000)]);
    let film = presentation("film-webm");
    assert!(film.streams()[1].coding.record.starts_with(b"OpusHead"));
    assert_eq!(presentation("film-mkv").streams()[0].coding.record.first(), Some(&1));
}

/// Header and all segments of a stream, as a player fetches them, and their frames.
fn whole(film: &Arc<Presentation>, file: &[u8], stream: usize) -> (Vec<u8>, Vec<Frame>) {
    let mut bytes = cmaf::header(film, stream).unwrap();
    let mut frames = Vec::new();
    for number in 0..film.segments().len() {
        assert_eq!(cmaf::segment(film, stream, number), None);
        let mut demuxer = Demuxer::of_segment(Arc::clone(film), &[stream], number).unwrap();
        let range = film.segments()[number].bytes.clone().unwrap();
        assert!(demuxer.need().is_none_or(|need| need.start == range.start));
        let own = all(&mut demuxer, file, 1000);
        bytes.extend(cmaf::assembled(film, stream, number, &own).unwrap());
        frames.extend(own);
    }
    (bytes, frames)
}

#[test]
fn segments_hold_each_frame_once_and_begin_at_key_frames() {
    for (name, file) in FILMS {
        let film = presentation(name);
        assert_eq!(film.segments().len(), 3, "{name}");
        for (number, stream) in film.streams().iter().enumerate() {
            let (bytes, frames) = whole(&film, file, number);
            let every = all(&mut Demuxer::new(Arc::clone(&film), &[number], 0), file, 1 << 20);
            let named = |frames: &[Frame]| {
                frames.iter().map(|it| (it.shown, it.data.len())).collect::<Vec<_>>()
            };
            assert_eq!(named(&frames), named(&every), "{name} {number}");
            let made = probed(Prober::new(bytes.len() as u64), &bytes);
            assert_eq!(made.container, Container::FragmentedMp4);
            let [track] = &made.tracks[..] else { panic!("one track") };
            assert_eq!((track.kind, &track.codec), (stream.track.kind, &stream.track.codec));
            assert!(made.duration_ms.unwrap().abs_diff(12_000) <= 600, "{:?}", made.duration_ms);
            if stream.track.kind == TrackKind::Video {
                let keys: Vec<u64> = made.index.unwrap().keys.iter().map(|it| it.time_ms).collect();
                let starts: Vec<u64> = film
                    .segments()
                    .iter()
                    .map(|segment| segment.spans[number].start * 1000 / u64::from(stream.timescale))
                    .collect();
                assert_eq!(keys, starts, "{name}");
            }
            for (place, segment) in film.segments().iter().enumerate() {
                assert_eq!(film.segment_at(number, segment.spans[number].start), Some(place));
            }
        }
    }
}

#[test]
fn playlists_and_manifest_name_each_segment() {
    let name = |address: Address| format!("{address:?}");
    let film = presentation("film-webm");
    let main = hls::main(&film, &name);
    assert!(main.contains("CODECS=\"vp09.00.10.08,opus\""), "{main}");
    for stream in 0..2 {
        let list = hls::stream(&film, stream, &name).unwrap();
        assert_eq!(list.matches("#EXTINF").count(), 3, "{list}");
    }
    let manifest = dash::manifest(&film, &name);
    assert_eq!(manifest.matches("<AdaptationSet").count(), 2);
    assert!(manifest.contains("timescale=\"1000\""), "{manifest}");
}

#[test]
fn without_cues_a_published_index_tells_where_segments_begin() {
    let file = file("live-mkv");
    let length = file.len() as u64;
    let bare = probed(Prober::of_frames(length), file).presentation.unwrap();
    assert!(bare.segments().is_empty());
    let near = probed(Prober::new(length).thorough(), file);
    assert!(near.duration_ms.unwrap().abs_diff(12_000) < 200, "{:?}", near.duration_ms);
    let index = near.index.unwrap();
    assert_eq!(index.keys.len(), 6, "{:?}", index.keys);
    let told = bare.clone().with_index(&index);
    let known = presentation("live-mkv");
    assert_eq!(told.segments(), known.segments());
    // One that divides the file evenly tells nothing.
    let even = shoal_wire::time_index::TimeIndex::constant_rate(length, 12_000, 100);
    assert!(bare.with_index(&even).segments().is_empty());
}

#[test]
fn without_any_index_a_jump_goes_on_at_the_next_cluster() {
    let file = file("laced-mkv");
    let film = probed(Prober::of_frames(file.len() as u64), file).presentation.unwrap();
    assert!(film.segments().is_empty());
    let frames = all(&mut Demuxer::new(Arc::new(film.clone()), &[0, 1], 6000), file, 1 << 20);
    let first = frames.iter().find(|frame| frame.stream == 0).unwrap();
    assert!(first.is_key && (4.0..9.0).contains(&seconds(&film, first)), "{first:?}");
    assert!(frames.last().unwrap().shown > 11_800);
}
