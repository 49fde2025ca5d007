//! Films in segments: of the same frames at the same times as the film itself, and the same wherever they are made.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::convert::Infallible;

use common::{name, slice};
use shoal_media::manifest::{Listing, Subtitle};
use shoal_media::{Container, Presentation, Prober, TrackKind, cmaf, dash, hls};

const END: &[u8] = include_bytes!("../testdata/end.mp4");
const FRONT: &[u8] = include_bytes!("../testdata/front.mp4");
const OTHER: &[u8] = include_bytes!("../testdata/film.webm");
const SOUNDS: &[u8] = include_bytes!("../testdata/sounds.mkv");
const SOUND: &[u8] = include_bytes!("../testdata/sound.m4a");

fn frames(file: &[u8]) -> Presentation {
    let film = Prober::of_frames(file.len() as u64)
        .run(|range| Ok::<_, Infallible>(slice(file, &range)))
        .unwrap();
    film.presentation.unwrap()
}

/// Header and all segments of a stream, as a player fetches them.
fn whole(film: &Presentation, file: &[u8], stream: usize) -> Vec<u8> {
    let mut bytes = cmaf::header(film, stream).unwrap();
    for number in 0..film.segments().len() {
        let segment = cmaf::segment(film, stream, number).unwrap();
        let length = segment.length();
        let before = bytes.len();
        bytes.extend_from_slice(&segment.head);
        segment.body.iter().for_each(|range| bytes.extend_from_slice(&slice(file, range)));
        assert_eq!((bytes.len() - before) as u64, length);
    }
    bytes
}

/// What ffprobe says of the packets of a track: times in seconds and places.
fn packets(film: &str, track: &str) -> Vec<(f64, u64)> {
    let path = format!("{}/testdata/{film}.packets.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 4 && row[0] == track)
        .map(|row| (row[1].parse().unwrap(), row[2].parse().unwrap()))
        .collect()
}

#[test]
fn frames_lie_and_are_shown_where_ffprobe_sees_them() {
    for (name, file) in [("end", END), ("front", FRONT)] {
        let film = frames(file);
        for (stream, track) in film.streams().iter().zip(["0", "1"]) {
            // What comes before the film warms a decoder up, and is left out.
            let expected: Vec<(f64, u64)> =
                packets(name, track).into_iter().filter(|packet| packet.0 > -0.0005).collect();
            assert_eq!(stream.samples().len(), expected.len(), "{name} {track}");
            for (sample, (time_s, offset)) in stream.samples().iter().zip(&expected) {
                let shown_s = sample.shown() as f64 / f64::from(stream.timescale);
                assert!((shown_s - time_s).abs() < 0.0011, "{name} {track}: {shown_s} {time_s}");
                assert_eq!(sample.offset, *offset, "{name} {track}");
            }
        }
    }
}

#[test]
fn segments_hold_each_frame_once_and_begin_at_key_frames() {
    for file in [END, FRONT, SOUND] {
        let film = frames(file);
        for (number, stream) in film.streams().iter().enumerate() {
            let mut next = 0;
            let mut time = None;
            for segment in film.segments() {
                let span = &segment.spans[number];
                assert_eq!(span.samples.start, next);
                assert!(time.is_none_or(|time| time == span.start), "no gap between segments");
                assert!(stream.samples().get(next).is_none_or(|first| first.is_key()));
                next = span.samples.end;
                time = Some(span.end);
            }
            assert_eq!(next, stream.samples().len());
            assert_eq!(time, Some(stream.end()));
        }
    }
    // A key frame every two seconds, twelve seconds; 10,240 units a second.
    let starts: Vec<u64> =
        frames(END).segments().iter().map(|segment| segment.spans[0].start).collect();
    assert_eq!(starts, [0, 40_960, 81_920]);
}

#[test]
fn what_is_made_is_a_film_in_fragments_of_the_same_length_and_keys() {
    let film = frames(END);
    for (stream, kind) in [(0, TrackKind::Video), (1, TrackKind::Audio)] {
        let bytes = whole(&film, END, stream);
        let made = Prober::new(bytes.len() as u64)
            .run(|range| Ok::<_, Infallible>(slice(&bytes, &range)))
            .unwrap();
        assert_eq!(made.container, Container::FragmentedMp4);
        let original = &film.streams()[stream].track;
        let [track] = &made.tracks[..] else { panic!("one track") };
        assert_eq!((track.kind, &track.codec), (kind, &original.codec));
        assert_eq!((track.size, &track.language), (original.size, &original.language));
        // A film in fragments is taken to end where decoding ends, a frame before the last one is over.
        assert!(made.duration_ms.unwrap().abs_diff(12_000) <= 100, "{:?}", made.duration_ms);
        let keys: Vec<u64> = made.index.unwrap().keys.iter().map(|key| key.time_ms).collect();
        assert!(
            keys.len() == 3 && keys.iter().zip([0, 4000, 8000]).all(|(a, b)| a.abs_diff(b) < 50)
        );
    }
}

#[test]
fn segments_do_not_depend_on_where_the_index_stands() {
    // Two files of the same streams: all but the places of frames is the same.
    let (end, front) = (frames(END), frames(FRONT));
    for stream in 0..2 {
        assert!(whole(&end, END, stream) == whole(&front, FRONT, stream));
    }
    assert_eq!(hls::main(&end, &name), hls::main(&front, &name));
}

#[test]
fn playlists_and_manifest_name_each_segment_with_its_own_length() {
    let film = frames(END);
    let main = hls::main(&film, &name);
    assert!(main.contains("AUDIO=\"sound\"\n0.m3u8\n"), "{main}");
    assert!(main.contains("RESOLUTION=96x64") && main.contains("URI=\"1.m3u8\""), "{main}");
    for stream in 0..2 {
        let list = hls::stream(&film, stream, &name).unwrap();
        let lengths: Vec<f64> = list
            .lines()
            .filter_map(|line| line.strip_prefix("#EXTINF:")?.strip_suffix(',')?.parse().ok())
            .collect();
        let all: f64 = lengths.iter().sum();
        let end = film.streams()[stream].end() as f64 / f64::from(film.streams()[stream].timescale);
        assert!(lengths.len() == 3 && (all - end).abs() < 0.0001, "{list}");
        assert!(list.contains("#EXT-X-TARGETDURATION:4\n"), "{list}");
        let times = list.lines().filter_map(|line| {
            line.strip_prefix(&format!("{stream}-"))?.strip_suffix(".m4s")?.parse::<u64>().ok()
        });
        let found: Vec<Option<usize>> = times.map(|time| film.segment_at(stream, time)).collect();
        assert_eq!(found, [Some(0), Some(1), Some(2)]);
        assert_eq!(film.segment_at(stream, 1), None);
    }
    let manifest = dash::manifest(&film, &name);
    assert!(manifest.contains("media=\"0-$Time$.m4s\""), "{manifest}");
    assert!(manifest.contains("<S t=\"0\" d=\"40960\" r=\"2\"/>"), "{manifest}");
    assert_eq!(manifest.matches("<AdaptationSet").count(), 2);
}

#[test]
fn sound_alone_is_a_film_too() {
    let film = frames(SOUND);
    let [stream] = film.streams() else { panic!("one stream") };
    assert_eq!(stream.coding.rate, 24_000);
    let main = hls::main(&film, &name);
    assert!(main.contains("CODECS=\"mp4a.40.2\"\n0.m3u8\n") && !main.contains("EXT-X-MEDIA"));
}

#[test]
fn qualities_are_one_list_with_the_sound_of_the_smallest() {
    let (small, large, other) = (frames(SOUND), frames(END), frames(OTHER));
    let at = |place: usize, address| format!("{place}/{}", name(address));
    // One alone is listed as ever.
    let alone = Listing::new(vec![&large], &[]).unwrap();
    assert_eq!(hls::several(&alone, &|_, it| name(it)), hls::main(&large, &name));
    assert_eq!(dash::several(&alone, &|_, it| name(it)), dash::manifest(&large, &name));
    assert!(Listing::new(Vec::new(), &[]).is_none());
    // What has no pictures is not shown, but heard.
    let all = Listing::new(vec![&small, &large, &large], &[]).unwrap();
    let main = hls::several(&all, &at);
    assert!(main.contains("\n1/0.m3u8\n") && main.contains("\n2/0.m3u8\n"), "{main}");
    assert!(main.contains("URI=\"0/0.m3u8\"") && main.matches("TYPE=AUDIO").count() == 1);
    let manifest = dash::several(&all, &at);
    assert!(manifest.contains("media=\"2/0-$Time$.m4s\""), "{manifest}");
    assert_eq!(manifest.matches("<AdaptationSet").count(), 2, "{manifest}");
    // Cut at other times.
    let all = Listing::new(vec![&large, &other], &[]).unwrap();
    let manifest = dash::several(&all, &at);
    assert!(
        manifest
            .contains("contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"false\"")
    );
    assert!(manifest.contains("<Representation id=\"1-0\""), "{manifest}");
}

#[test]
fn several_sounds_are_told_apart_in_both_lists() {
    let film = frames(SOUNDS);
    let main = hls::main(&film, &name);
    let first = "NAME=\"Said 'aloud'\",LANGUAGE=\"fr\",DEFAULT=NO,AUTOSELECT=YES,URI=\"1.m3u8\"";
    let second = "NAME=\"2 (en)\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,URI=\"2.m3u8\"";
    assert!(main.contains(first) && main.contains(second), "{main}");
    let manifest = dash::manifest(&film, &name);
    assert!(manifest.contains("lang=\"fr\">\n<Label>Said &quot;aloud&quot;</Label>\n<Rep"));
    assert!(manifest.contains("lang=\"en\">\n<Role "), "{manifest}");
    assert_eq!(manifest.matches("value=\"main\"").count(), 1, "{manifest}");
}

#[test]
fn subtitles_stand_in_both_lists() {
    let film = frames(END);
    let (playlist, text) = ("a&b.m3u8".to_owned(), "a&b.vtt".to_owned());
    let subtitles = [Subtitle { number: 7, language: Some("pt-BR".to_owned()), playlist, text }];
    let listing = Listing::new(vec![&film], &subtitles).unwrap();
    let main = hls::several(&listing, &|_, it| name(it));
    assert!(main.contains("TYPE=SUBTITLES") && main.contains("LANGUAGE=\"pt-BR\""), "{main}");
    assert!(main.contains("URI=\"a&b.m3u8\"") && main.contains(",SUBTITLES=\"text\"\n"), "{main}");
    let manifest = dash::several(&listing, &|_, it| name(it));
    assert!(manifest.contains("mimeType=\"text/vtt\" lang=\"pt-BR\""), "{manifest}");
    assert!(manifest.contains("<BaseURL>a&amp;b.vtt</BaseURL>"), "{manifest}");
    let list = hls::captions(1500, "a.vtt");
    assert!(
        list.contains("TARGETDURATION:2\n#EXTINF:1.500000,\na.vtt\n#EXT-X-ENDLIST\n"),
        "{list}"
    );
}
