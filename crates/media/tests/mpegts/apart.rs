//! Films taken apart: the very frames that ffmpeg puts into MP4, at the same times, each in one segment.

use std::collections::VecDeque;
use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::mpegts::mux;
use shoal_media::{Format, Presentation, TrackKind, cmaf, dash, hls};

use super::reading::{moved, pid};
use super::{film, thorough};

const APART: [&str; 4] = ["stream", "stamped", "hevc", "sounds"];

/// A frame as ffmpeg sees it once it put the film into MP4: stream, when it is decoded and shown in seconds, bytes, checksum.
type Row = (usize, f64, f64, usize, u32);

fn rows(name: &str) -> Vec<Row> {
    let ending = if name == "stamped" { "m2ts" } else { "ts" };
    let path = format!("{}/testdata/{name}-{ending}.crc.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let checksum = |text: &str| u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    rows.map(|it| {
        let [decoded, shown] = [it[1], it[2]].map(|time| time.parse().unwrap());
        (it[0].parse().unwrap(), decoded, shown, it[3].parse().unwrap(), checksum(it[4]))
    })
    .collect()
}

/// Adler's checksum from 0, as ffmpeg's `framecrc` writes it.
fn checksum(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((0u32, 0u32), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}

/// The frame with a zero behind its last unit, which the stream has there and ffmpeg takes for a part of it.
fn with_zero(frame: &[u8]) -> Vec<u8> {
    let (mut bytes, mut at) = (frame.to_vec(), 0);
    loop {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let next = at + 4 + length as usize;
        if next == bytes.len() {
            bytes[at..at + 4].copy_from_slice(&(length + 1).to_be_bytes());
            bytes.push(0);
            return bytes;
        }
        at = next;
    }
}

fn apart(file: &[u8]) -> Arc<Presentation> {
    Arc::clone(thorough(file).presentation.unwrap().apart().unwrap())
}

fn run(mut demuxer: Demuxer, file: &[u8], chunk: usize) -> (Vec<Frame>, u64) {
    let (mut frames, mut last) = (Vec::new(), 0);
    while let Some(range) = demuxer.need() {
        let (start, end) = (range.start as usize, range.end as usize);
        demuxer.feed(&file[start..end.min(start + chunk)]).unwrap();
        frames.extend(std::iter::from_fn(|| demuxer.next()));
        last = last.max(range.end.min(range.start + chunk as u64));
    }
    (frames, last)
}

fn segments(film: &Arc<Presentation>, file: &[u8], streams: &[usize]) -> Vec<Vec<Frame>> {
    let segment = |number| Demuxer::of_segment(Arc::clone(film), streams, number).unwrap();
    (0..film.segments().len()).map(|number| run(segment(number), file, 100_000).0).collect()
}

#[test]
fn frames_are_those_that_ffmpeg_puts_into_mp4() {
    for name in APART {
        let (file, expected) = (film(name), rows(name));
        let film = apart(file);
        let all: Vec<usize> = (0..film.streams().len()).collect();
        let zero = expected.iter().map(|row| row.2).fold(f64::MAX, f64::min);
        let (whole, _) = run(Demuxer::new(Arc::clone(&film), &all, 0), file, 1000);
        for stream in all {
            let expected: Vec<&Row> = expected.iter().filter(|row| row.0 == stream).collect();
            let delay = f64::from(film.streams()[stream].delay());
            let alone = segments(&film, file, &[stream]).concat();
            let frames: Vec<&Frame> = whole.iter().filter(|frame| frame.stream == stream).collect();
            assert!(alone.iter().eq(frames.iter().copied()), "{name} {stream}");
            assert_eq!(frames.len(), expected.len(), "{name} {stream}");
            let first = (frames[0].shown, expected[0].2);
            for (frame, row) in frames.iter().zip(expected) {
                // ffmpeg rounds where a track begins to milliseconds.
                let far = |time: f64, told: f64| (time / 90_000.0 - told).abs();
                assert!(far(frame.shown as f64, row.2 - zero) < 0.001, "{name} {row:?}");
                let shown = frame.shown as f64 - first.0 as f64;
                assert!(far(shown, row.2 - first.1) < 0.000_05, "{name} {row:?}");
                let decoded = frame.decoded as f64 - delay - first.0 as f64;
                assert!(far(decoded, row.1 - first.1) < 0.000_05, "{name} {row:?}");
                let zero = frame.data.len() + 1 == row.3;
                let data = if zero { with_zero(&frame.data) } else { frame.data.to_vec() };
                assert_eq!((data.len(), checksum(&data)), (row.3, row.4), "{name}");
                assert!(!zero || name == "hevc");
            }
        }
    }
}

#[test]
fn segments_begin_where_the_list_says_and_no_frame_lasts_into_the_next() {
    for name in APART {
        let file = film(name);
        let film = apart(file);
        assert!(film.segments().len() > 1);
        for (number, stream) in film.streams().iter().enumerate() {
            let segments = segments(&film, file, &[number]);
            let is_video = stream.track.kind == TrackKind::Video;
            let mut last_end = 0;
            for (place, frames) in segments.iter().enumerate() {
                let span = &film.segments()[place].spans[number];
                let first = frames.iter().map(|frame| frame.shown).min().unwrap();
                let end = |frame: &Frame| frame.shown + u64::from(frame.duration);
                assert!(first.abs_diff(last_end) <= 4 || place == 0, "{name} {number}: a gap");
                assert!(first >= last_end, "{name} {number}: {first} {last_end}");
                last_end = frames.iter().map(end).max().unwrap();
                assert!(frames.iter().all(|frame| frame.duration > 0), "{name} {number}");
                assert!(frames.is_sorted_by_key(|frame| frame.decoded), "{name} {number}");
                if is_video {
                    let shown = frames[0].shown;
                    assert!(frames[0].is_key && shown.abs_diff(span.start) < 90, "{name}");
                } else {
                    assert!(place == 0 || first.abs_diff(span.start) < 90 * 70, "{name} {first}");
                }
                let made = cmaf::assembled(&film, number, place, frames).unwrap();
                let bytes: usize = frames.iter().map(|frame| frame.data.len()).sum();
                assert!(made.len() > bytes && made.len() < bytes + 200 + 16 * frames.len());
            }
        }
    }
}

#[test]
fn a_segment_of_pictures_needs_its_own_bytes_and_the_head_of_the_next() {
    let file = film("stream");
    let film = apart(file);
    for (number, segment) in film.segments().iter().enumerate() {
        let bytes = segment.bytes.clone().unwrap();
        for stream in [0, 1] {
            let demuxer = Demuxer::of_segment(Arc::clone(&film), &[stream], number).unwrap();
            let from = demuxer.need().unwrap().start;
            let (_, end) = run(demuxer, file, 188);
            assert_eq!(from, bytes.start);
            // The key frame stands behind its tables; sound that belongs to the pictures, a little further on.
            let behind = if stream == 0 { 4 * 188 } else { 12_000 };
            assert!(end <= bytes.end + behind, "{number} {stream}: {}", end - bytes.end);
        }
    }
}

#[test]
fn lists_and_headers_name_the_streams() {
    let film = apart(film("sounds"));
    let streams = film.streams();
    let told: Vec<_> = streams.iter().map(|it| (it.coding.format, it.coding.rate)).collect();
    let sound = |format, rate| (format, rate);
    let expected = [
        (Format::H264, 0),
        sound(Format::MpegAudio, 48_000),
        sound(Format::Ac3, 48_000),
        sound(Format::MpegAudio, 44_100),
    ];
    assert_eq!(told, expected);
    let name = |address| format!("{address:?}");
    let list = dash::manifest(&film, &name);
    for part in ["avc1.64000a", "mp4a.6b", "ac-3", "width=\"96\" height=\"64\""] {
        assert!(list.contains(part), "{part} {list}");
    }
    assert_eq!(hls::main(&film, &name).matches("#EXT-X-MEDIA").count(), 3);
    let header = cmaf::header(&film, 2).unwrap();
    assert!(header.windows(4).any(|it| it == b"dac3"));
}

#[test]
fn times_go_on_over_a_wrap_and_a_clock_that_was_set_anew() {
    let file = film("stream");
    let plain = segments(&apart(file), file, &[0, 1]);
    for wraps_at_s in [0.5, 1.5, 1.6, 2.0, 4.0, 5.4] {
        let file = moved(file, (1 << 33) - (wraps_at_s * 90_000.0) as u64);
        assert_eq!(segments(&apart(&file), &file, &[0, 1]), plain, "{wraps_at_s}");
    }
    let mut twice = file.to_vec();
    twice.extend(moved(file, 77_000_000_000));
    let film = apart(&twice);
    let both = segments(&film, &twice, &[0, 1]);
    let count =
        |all: &[Vec<Frame>], stream| all.iter().flatten().filter(|it| it.stream == stream).count();
    for stream in [0, 1] {
        assert_eq!(count(&both, stream), 2 * count(&plain, stream));
        for (place, frames) in both.iter().enumerate() {
            let span = &film.segments()[place].spans[stream];
            let near = span.start.saturating_sub(90_000)..span.end + 90_000;
            let of = frames.iter().filter(|frame| frame.stream == stream);
            assert!(of.map(|frame| frame.shown).all(|shown| near.contains(&shown)), "{place}");
        }
    }
}

#[test]
fn what_cannot_be_taken_apart_is_not() {
    // Pictures that MP4 players do not know, and key frames that nobody published.
    assert!(thorough(film("old")).presentation.unwrap().apart().is_none());
    assert!(super::quick(film("stream")).presentation.unwrap().apart().is_none());
}

#[test]
fn a_segment_can_be_put_into_packets_again() {
    let file = film("stamped");
    let film = apart(file);
    let streams: Vec<_> = film.streams().iter().enumerate().collect();
    let frames = segments(&film, file, &[0, 1]);
    let made = mux::segment(&streams, &frames[0]).unwrap();
    assert!(made.chunks(188).all(|packet| packet[0] == 0x47));
}

#[test]
fn sound_that_lies_far_behind_its_pictures_is_of_their_segment() {
    let file = film("stream");
    let plain = apart(file);
    let is_sound = |packet: &[u8]| pid(packet) == 0x101;
    for packets in [10, 60, 120] {
        // Each packet of sound later by so many others, but not between tables and what follows them.
        let mut late = Vec::new();
        let mut waiting = VecDeque::new();
        for (number, packet) in file.chunks(188).enumerate() {
            if is_sound(packet) {
                waiting.push_back((number + packets, packet));
                continue;
            }
            let may_stand_here = pid(packet) == 0x100 && packet[1] & 0x40 == 0;
            while may_stand_here && waiting.front().is_some_and(|first| first.0 <= number) {
                late.extend_from_slice(waiting.pop_front().unwrap().1);
            }
            late.extend_from_slice(packet);
        }
        waiting.iter().for_each(|(_, packet)| late.extend_from_slice(packet));
        assert_eq!(late.len(), file.len());
        let film = apart(&late);
        for stream in [0, 1] {
            let (found, expected) =
                (segments(&film, &late, &[stream]), segments(&plain, file, &[stream]));
            assert!(found == expected, "{packets} {stream}");
        }
    }
}
