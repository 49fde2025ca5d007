//! Text tracks inside films: found by the prober, listed, and in segments as WebVTT and in fragments of MP4.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::convert::Infallible;
use std::sync::Arc;

use common::{name, probed, slice};
use proptest::prelude::*;
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::manifest::Listing;
use shoal_media::{Film, Presentation, Prober, TrackKind, cmaf, dash, hls, limits, text};

const MATROSKA: &[u8] = include_bytes!("../testdata/text.mkv");
const MERGED: &[u8] = include_bytes!("../testdata/text-merged.mkv");
const WEBM: &[u8] = include_bytes!("../testdata/text.webm");
const TABLES: &[u8] = include_bytes!("../testdata/text.mp4");
const FRAGMENTS: &[u8] = include_bytes!("../testdata/text-parts.mp4");
const ALL: [&[u8]; 5] = [MATROSKA, MERGED, WEBM, TABLES, FRAGMENTS];

fn film(file: &[u8]) -> Arc<Presentation> {
    Arc::new(probed(Prober::of_frames(file.len() as u64), file).presentation.unwrap())
}

/// The frames of a segment of a text, and how many bytes of the film were read for them.
fn frames(
    film: &Arc<Presentation>,
    file: &[u8],
    stream: usize,
    number: usize,
) -> (Vec<Frame>, u64) {
    let mut demuxer = Demuxer::of_segment(Arc::clone(film), &[stream], number).unwrap();
    let (mut frames, mut read) = (Vec::new(), 0);
    loop {
        frames.extend(std::iter::from_fn(|| demuxer.next()));
        let Some(range) = demuxer.need() else { return (frames, read) };
        assert!(range.start < range.end && range.end <= file.len() as u64, "{range:?}");
        // In pieces, as they come from a network.
        let some = range.start..range.end.min(range.start + 1000);
        read += some.end - some.start;
        let _ = demuxer.feed(&slice(file, &some));
    }
}

/// The cues of each segment: what stands behind its head.
fn vtt(file: &[u8], text: usize) -> Vec<String> {
    let film = film(file);
    let stream = film.streams().len() + text;
    let one = |number| {
        let (frames, _) = frames(&film, file, stream, number);
        let made = text::webvtt(&film, stream, number, &frames).unwrap();
        let head = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n";
        made.strip_prefix(head).unwrap().to_owned()
    };
    (0..film.segments().len()).map(one).collect()
}

const ONE: &str = "\n00:00:00.500 --> 00:00:02.000\nOne &amp; <i>two</i>\n";
const OVER: &str = "\n00:00:03.000 --> 00:00:05.000\nOver the border\nof two lines\n";
const SIX: &str = "\n00:00:06.000 --> 00:00:07.000\nSix\n";
const LONG: &str = "\n00:00:07.500 --> 00:00:11.000\nLong &lt; text\n";

#[test]
fn a_cue_over_a_cut_is_in_both_segments() {
    let expected = [[ONE, OVER].concat(), [OVER, SIX, LONG].concat(), LONG.to_owned()];
    assert_eq!(vtt(MATROSKA, 0), expected);
    // Slanted text is told by boxes behind the text, which are not read.
    assert_eq!(
        vtt(TABLES, 0),
        expected.clone().map(|it| it.replace("<i>", "").replace("</i>", ""))
    );
    // It has its marks already, and what ffmpeg made of others is passed on.
    assert_eq!(vtt(WEBM, 0), expected.map(|it| it.replace("&amp;", "&").replace("&lt;", "<")));
}

#[test]
fn where_nobody_tells_what_stands_before_a_cue_is_in_the_segment_whose_bytes_have_it() {
    let expected = [[ONE, OVER].concat(), [SIX, LONG].concat(), String::new()];
    assert_eq!(vtt(MERGED, 0), expected);
    let plain = |it: String| it.replace("<i>", "").replace("</i>", "");
    assert_eq!(vtt(FRAGMENTS, 0), expected.map(plain));
}

#[test]
fn a_second_track_has_its_own_cues_without_marks_of_style() {
    let eins = "\n00:00:01.000 --> 00:00:02.000\nEins, zwei\ndrei\n";
    let beide = "\n00:00:03.500 --> 00:00:04.500\nBeide\n";
    let neun = "\n00:00:09.000 --> 00:00:10.000\nNeun\n";
    let expected = [[eins, beide].concat(), beide.to_owned(), neun.to_owned()];
    assert_eq!(vtt(MATROSKA, 1), expected);
    assert_eq!(vtt(TABLES, 1), expected);
}

#[test]
fn only_the_bytes_of_the_stretch_are_read() {
    for (file, most) in [(MATROSKA, 9000), (MERGED, 9000), (TABLES, 200), (FRAGMENTS, 6000)] {
        let film = film(file);
        for number in 0..film.segments().len() {
            let (_, read) = frames(&film, file, film.streams().len(), number);
            assert!(read < most, "{read} bytes");
        }
    }
}

#[test]
fn tracks_have_language_name_and_flags() {
    let tracks = |file: &[u8]| {
        let film: Film = probed(Prober::new(file.len() as u64), file);
        let texts = film.tracks.into_iter().filter(|it| it.kind == TrackKind::Text);
        let told = texts.map(|it| {
            let words = [it.codec, it.language.unwrap_or_default(), it.name.unwrap_or_default()];
            format!("{} {} {}", words.join(" "), it.is_default, it.is_forced)
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(
        tracks(MATROSKA),
        ["S_TEXT/UTF8 en English true false", "S_TEXT/ASS de Deutsch false true"]
    );
    assert_eq!(tracks(MERGED), ["S_TEXT/UTF8 pt-BR Beside false false"]);
    assert_eq!(tracks(WEBM), ["D_WEBVTT/SUBTITLES en  false false"]);
    assert_eq!(tracks(TABLES), ["tx3g en English false false", "tx3g de Deutsch false false"]);
    assert_eq!(tracks(FRAGMENTS), tracks(TABLES));
}

#[test]
fn both_lists_name_the_text_tracks() {
    let film = film(MATROSKA);
    let main = hls::main(&film, &name);
    assert!(main.contains("GROUP-ID=\"text\",NAME=\"English\",LANGUAGE=\"en\",DEFAULT=YES,AUTOSELECT=YES,FORCED=NO,URI=\"1.m3u8\""), "{main}");
    assert!(
        main.contains(
            "NAME=\"Deutsch\",LANGUAGE=\"de\",DEFAULT=NO,AUTOSELECT=YES,FORCED=YES,URI=\"2.m3u8\""
        ),
        "{main}"
    );
    assert!(main.contains(",SUBTITLES=\"text\"\n"), "{main}");
    let list = hls::stream(&film, 1, &name).unwrap();
    assert!(list.contains("\n1-0.vtt\n#EXTINF:4.000000,\n1-4") && !list.contains("MAP"), "{list}");
    let times =
        list.lines().filter_map(|it| it.strip_prefix("1-")?.strip_suffix(".vtt")?.parse().ok());
    let numbers: Vec<_> = times.map(|time: u64| film.stretch_at(time)).collect();
    assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    assert_eq!((film.stretch_at(1), hls::stream(&film, 4, &name)), (None, None));
    let manifest = dash::manifest(&film, &name);
    assert!(manifest.contains("contentType=\"text\" mimeType=\"application/mp4\""), "{manifest}");
    assert!(manifest.contains("lang=\"en\">\n<Label>English</Label>"), "{manifest}");
    assert!(manifest.contains("codecs=\"wvtt\"") && manifest.contains("value=\"forced-subtitle\""));
    assert!(manifest.contains("initialization=\"2-header.mp4\" media=\"2-$Time$.m4s\""));
    assert_eq!(manifest.matches("value=\"main\"").count(), 1, "{manifest}");
    // Of qualities the smallest that has text is asked for it.
    let (bare, tables) = (self::film(include_bytes!("../testdata/end.mp4")), self::film(TABLES));
    let listing = Listing::new(vec![&bare, &tables, &film], &[]).unwrap();
    let main = hls::several(&listing, &|place, it| format!("{place}/{}", name(it)));
    assert_eq!(main.matches("TYPE=SUBTITLES").count(), 2, "{main}");
    assert!(main.contains("URI=\"1/1.m3u8\""), "{main}");
}

#[test]
fn text_leaves_the_film_as_it_is() {
    let bare = film(include_bytes!("../testdata/end.mp4"));
    assert!(bare.texts().is_empty() && bare.text(2).is_none());
    for file in ALL {
        let film = film(file);
        assert!(film.streams().iter().all(|stream| stream.track.kind != TrackKind::Text));
        assert!(film.duration_ms().abs_diff(12_000) < 200, "{}", film.duration_ms());
        assert_eq!(film.segments().len(), 3);
        assert!(film.segments().iter().all(|it| it.spans.len() == film.streams().len()));
    }
}

#[test]
fn fragments_are_films_of_text_without_a_gap() {
    for file in ALL {
        let film = film(file);
        let stream = film.streams().len();
        let mut made = cmaf::header(&film, stream).unwrap();
        for number in 0..film.segments().len() {
            let (frames, _) = frames(&film, file, stream, number);
            made.extend(text::fragment(&film, stream, number, &frames).unwrap());
        }
        let found = probed(Prober::new(made.len() as u64), &made);
        let [track] = &found.tracks[..] else { panic!("one track") };
        assert_eq!((track.kind, &*track.codec), (TrackKind::Text, "wvtt"));
        let count = |name: &[u8]| made.windows(4).filter(|it| *it == name).count();
        assert_eq!((count(b"moof"), count(b"tfdt")), (3, 3));
        // Those over a cut come twice where that is known.
        assert!((4..=6).contains(&count(b"payl")), "{} cues", count(b"payl"));
    }
}

/// Takes all text of a damaged film: it ends, and what is made has the form that players need.
fn take_texts(file: &[u8]) {
    let probed = Prober::of_frames(file.len() as u64).thorough();
    let probed = probed.run(|range| Ok::<_, Infallible>(slice(file, &range)));
    let Some(film) = probed.ok().and_then(|film| film.presentation).map(Arc::new) else { return };
    assert!(film.texts().len() <= limits::TEXTS_MAX);
    for stream in film.streams().len()..film.streams().len() + film.texts().len() {
        for number in 0..film.segments().len().min(20) {
            let (frames, _) = frames(&film, file, stream, number);
            let made = text::webvtt(&film, stream, number, &frames).unwrap();
            for cue in made.trim_end_matches('\n').split("\n\n").skip(1) {
                let (times, text) = cue.split_once('\n').unwrap();
                assert!(
                    times
                        .split_once(" --> ")
                        .is_some_and(|(start, end)| { start.len() != end.len() || start < end }),
                    "{times}"
                );
                assert!(!text.contains("-->") && !text.is_empty(), "{text}");
            }
            let made = text::fragment(&film, stream, number, &frames).unwrap();
            assert!(made.len() <= limits::TEXT_MADE_MAX + (1 << 20));
        }
    }
    drop((hls::main(&film, &name), dash::manifest(&film, &name)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_films_give_text_or_none_and_end(
        which in 0..ALL.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        near in any::<bool>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = ALL[which].to_vec();
        // Half of them among the heads and cues, which are few beside the frames.
        let words: [&[u8]; 6] = [b"trak", b"traf", b"S_TEXT", b"D_WEB", b"\xb2\x82", b"Over the"];
        let places: Vec<usize> = (0..file.len()).filter(|at| words.iter().any(|it| file[*at..].starts_with(it))).collect();
        for (place, value) in flips {
            let at = match near {
                true => (places[place.index(places.len())] + usize::from(value) % 97).saturating_sub(40),
                false => place.index(file.len()),
            };
            let last = file.len() - 1;
            file[at.min(last)] = value;
        }
        file.truncate(cut.index(4 * file.len()).max(64));
        take_texts(&file);
    }
}
