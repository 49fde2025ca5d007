//! Transport streams, compared with what an independent program says about them.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod apart;
mod demuxing;
mod hostile;
mod muxing;
mod reading;

use std::convert::Infallible;

use shoal_media::{Container, Film, Format, Prober, TrackKind};

const FILMS: [(&str, &[u8]); 5] = [
    ("stream", include_bytes!("../../testdata/stream.ts")),
    ("stamped", include_bytes!("../../testdata/stamped.m2ts")),
    ("old", include_bytes!("../../testdata/old.ts")),
    ("hevc", include_bytes!("../../testdata/hevc.ts")),
    ("sounds", include_bytes!("../../testdata/sounds.ts")),
];

fn film(name: &str) -> &'static [u8] {
    FILMS.iter().find(|film| film.0 == name).map(|film| film.1).unwrap()
}

fn run(prober: Prober, file: &[u8]) -> Film {
    let film = prober
        .run(|range| Ok::<_, Infallible>(file[range.start as usize..range.end as usize].to_vec()));
    film.unwrap()
}

fn quick(file: &[u8]) -> Film {
    run(Prober::of_frames(file.len() as u64), file)
}

fn thorough(file: &[u8]) -> Film {
    run(Prober::of_frames(file.len() as u64).thorough(), file)
}

/// Stream, time from the first frame that is shown, place, and whether it is a key frame, of each frame.
fn packets(name: &str) -> Vec<(u32, f64, Option<u64>, bool)> {
    let path = format!("{}/testdata/{name}.packets.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let rows: Vec<_> = rows
        .map(|row| {
            (
                row[0].parse().unwrap(),
                row[1].parse::<f64>().unwrap(),
                row[2].parse().ok(),
                row[3].starts_with('K'),
            )
        })
        .collect();
    let first = rows.iter().map(|row| row.1).fold(f64::MAX, f64::min);
    rows.into_iter().map(|row| (row.0, row.1 - first, row.2, row.3)).collect()
}

#[test]
fn tracks_are_named_with_codec_size_and_language() {
    let told = |name| -> Vec<_> {
        let film = quick(film(name));
        assert_eq!(film.container, Container::MpegTs);
        film.tracks.into_iter().map(|it| (it.kind, it.codec, it.size, it.language)).collect()
    };
    let (video, audio) = (TrackKind::Video, TrackKind::Audio);
    let size = Some((96, 64));
    for name in ["stream", "stamped"] {
        let expected = [
            (video, "avc1.64000a".to_owned(), size, None),
            (audio, "mp4a.40.2".to_owned(), None, Some("en".to_owned())),
        ];
        assert_eq!(told(name), expected);
    }
    let expected =
        [(video, "mp4v.61".to_owned(), size, None), (audio, "mp4a.6b".to_owned(), None, None)];
    assert_eq!(told("old"), expected);
    assert_eq!(told("hevc"), [(video, "hvc1.1.6.L30.90".to_owned(), size, None)]);
}

#[test]
fn a_film_lasts_from_its_first_frame_to_its_last() {
    for (name, file) in FILMS {
        let last = packets(name).iter().map(|packet| packet.1).fold(0.0, f64::max);
        for film in [quick(file), thorough(file)] {
            let found = film.duration_ms.unwrap() as f64 / 1000.0;
            // Several frames of sound stand in one unit, which has the time of the first.
            assert!((last - 0.4..=last + 0.001).contains(&found), "{name}: {found} of {last}");
        }
    }
}

#[test]
fn keys_of_a_film_that_was_read_through_are_those_that_ffprobe_sees() {
    for (name, file) in FILMS {
        let index = thorough(file).index.unwrap();
        let keys: Vec<_> = packets(name).into_iter().filter(|it| it.0 == 0 && it.3).collect();
        assert!(keys.len() >= 4);
        assert_eq!(index.keys.len(), keys.len(), "{name}: {:?}", index.keys);
        for (found, key) in index.keys.iter().zip(keys) {
            assert!(
                (key.1 * 1000.0 - found.time_ms as f64).abs() <= 1.0,
                "{name} {found:?} {key:?}"
            );
            let before = key.2.unwrap() - found.offset;
            assert!(before <= 3 * 192 + 4, "{name} {found:?} {key:?}");
            // In front of a key frame stand the tables.
            let stride = if name == "stamped" { 192 } else { 188 };
            assert_eq!(found.offset % stride, 0);
        }
    }
}

#[test]
fn a_film_that_was_not_read_through_is_cut_at_its_mean_rate() {
    let file = film("stream");
    let film = quick(file);
    let index = film.index.unwrap();
    assert_eq!(index.keys.len(), 12);
    let presentation = film.presentation.unwrap();
    assert!(!presentation.transport().unwrap().is_exact());
    let again = thorough(file);
    let published = presentation.with_index(again.index.as_ref().unwrap());
    assert_eq!(Some(&published), again.presentation.as_ref());
    assert!(published.transport().unwrap().is_exact());
}

#[test]
fn segments_of_a_transport_stream_are_parts_of_its_file() {
    for (name, file) in FILMS {
        let film = thorough(file);
        let presentation = film.presentation.unwrap();
        assert_eq!(presentation.streams().len(), 1);
        assert_eq!(presentation.streams()[0].coding.format, Format::TransportStream);
        let mut next = (presentation.segments()[0].bytes.as_ref().unwrap().start, 0);
        let index = film.index.unwrap();
        for (number, segment) in presentation.segments().iter().enumerate() {
            let (bytes, span) = (segment.bytes.clone().unwrap(), &segment.spans[0]);
            assert!(number == 0 || (bytes.start, span.start) == next, "{name}");
            assert_eq!(presentation.ranges(0, span.samples.clone()), std::slice::from_ref(&bytes));
            assert_eq!(presentation.segment_at(0, span.start), Some(number));
            assert!(
                index
                    .keys
                    .iter()
                    .any(|key| key.offset == bytes.start && key.time_ms * 90 == span.start)
            );
            next = (bytes.end, span.end);
        }
        assert_eq!(next, (file.len() as u64, index.duration_ms * 90));
    }
}
