//! Films taken apart into frames: each once, whole, in decoding order, from any time on.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

use std::convert::Infallible;
use std::sync::Arc;

use shoal_media::demux::{Demuxer, Frame};
use shoal_media::{Format, Presentation, Prober};

const END: &[u8] = include_bytes!("../testdata/end.mp4");
const FRONT: &[u8] = include_bytes!("../testdata/front.mp4");
const SOUND: &[u8] = include_bytes!("../testdata/sound.m4a");

fn film(file: &[u8]) -> Arc<Presentation> {
    let film = Prober::of_frames(file.len() as u64)
        .run(|range| Ok::<_, Infallible>(file[range.start as usize..range.end as usize].to_vec()));
    Arc::new(film.unwrap().presentation.unwrap())
}

/// All frames, fed in chunks of at most `chunk` bytes, and how often the file was not read on where it was left.
fn all(demuxer: &mut Demuxer, file: &[u8], chunk: usize) -> (Vec<Frame>, u32) {
    let (mut frames, mut jumps, mut at) = (Vec::new(), 0, 0);
    loop {
        while let Some(frame) = demuxer.next() {
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return (frames, jumps) };
        jumps += u32::from(range.start != at);
        let (start, end) = (range.start as usize, range.end as usize);
        at = (start + chunk).min(end) as u64;
        demuxer.feed(&file[start..at as usize]).unwrap();
    }
}

#[test]
fn frames_come_whole_once_and_in_decoding_order() {
    for file in [END, FRONT, SOUND] {
        let film = film(file);
        let streams: Vec<usize> = (0..film.streams().len()).collect();
        for chunk in [100, usize::MAX / 2] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &streams, 0);
            let (frames, jumps) = all(&mut demuxer, file, chunk);
            assert!(jumps < 5, "the file is read from its start to its end");
            let mut last = 0.0;
            for (number, stream) in film.streams().iter().enumerate() {
                let own = frames.iter().filter(|frame| frame.stream == number);
                let read: Vec<_> = own.map(|it| (it.decoded, it.shown, it.data.to_vec())).collect();
                let expected: Vec<_> = stream
                    .samples()
                    .iter()
                    .map(|it| {
                        let bytes = &file[it.offset as usize..it.end() as usize];
                        (it.decoded, it.shown(), bytes.to_vec())
                    })
                    .collect();
                assert_eq!(read, expected);
            }
            for frame in &frames {
                let timescale = film.streams()[frame.stream].timescale;
                let decoded = frame.decoded as f64 / f64::from(timescale);
                assert!(decoded > last - 1e-5);
                last = decoded;
            }
        }
    }
}

#[test]
fn a_jump_begins_at_the_key_frame_before_and_with_the_sound_beside_it() {
    let film = film(FRONT);
    for (at_ms, key_s) in [(0, 0.0), (1999, 0.0), (2000, 2.0), (7900, 6.0), (900_000, 10.0)] {
        let mut demuxer = Demuxer::new(Arc::clone(&film), &[0, 1], at_ms);
        let (frames, _) = all(&mut demuxer, FRONT, 1 << 20);
        let seconds =
            |frame: &Frame| frame.shown as f64 / f64::from(film.streams()[frame.stream].timescale);
        let first = |stream| frames.iter().find(|frame| frame.stream == stream).unwrap();
        assert!(first(0).is_key && (seconds(first(0)) - key_s).abs() < 0.001, "{at_ms}");
        let sound = seconds(first(1));
        assert!((key_s..key_s + 0.05).contains(&sound), "{at_ms}: {sound}");
    }
}

#[test]
fn codings_have_what_a_decoder_must_know() {
    let film = film(FRONT);
    let (video, audio) = (&film.streams()[0].coding, &film.streams()[1].coding);
    assert_eq!((video.format, video.record.first()), (Format::H264, Some(&1)));
    assert_eq!((audio.format, audio.rate, audio.channels), (Format::Aac, 24_000, 1));
    assert!(audio.record.len() >= 2);
}
