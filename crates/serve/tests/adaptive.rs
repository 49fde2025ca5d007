//! Films in segments over HTTP: the same bytes at every peer, several qualities, subtitles.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use common::files::Files;
use common::{Client, HASH};
use shoal_media::Prober;
use shoal_serve::viewer::Viewer;

const FILM: &[u8] = include_bytes!("../../media/testdata/film.mkv");
const OTHER: &[u8] = include_bytes!("../../app/assets/demo.mp4");
const TEXT_MATROSKA: &[u8] = include_bytes!("../../media/testdata/text.mkv");
const TEXT_TABLES: &[u8] = include_bytes!("../../media/testdata/text.mp4");
const LIVE: &[u8] = include_bytes!("../../media/testdata/live.mkv");
const FRAGMENTS: &[u8] = include_bytes!("../../media/testdata/mfra.mp4");
const STREAM: &[u8] = include_bytes!("../../media/testdata/stream.ts");
const STAMPED: &[u8] = include_bytes!("../../media/testdata/stamped.m2ts");
const APART: &[u8] = include_bytes!("../../media/testdata/apart.mp4");

/// All that a player fetches of a stream: its header and segments.
async fn stream(viewer: &Viewer, number: usize) -> Vec<Vec<u8>> {
    let mut client = Client::connect(viewer.address()).await;
    let path = |name: &str| format!("/hls/{HASH}/0/{name}");
    let list = client.get(&path(&format!("{number}.m3u8")), &[]).await;
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.text();
    let mut parts = Vec::new();
    let header = format!("{number}-header.mp4");
    for name in
        std::iter::once(header.as_str()).chain(list.lines().filter(|it| it.ends_with(".m4s")))
    {
        client.ask("HEAD", &path(name), &[]).await;
        let head = client.answer(true).await;
        let part = client.get(&path(name), &[]).await;
        assert_eq!((part.status, part.header("content-type")), (200, Some("video/mp4")));
        assert_eq!(head.header("content-length"), part.header("content-length"));
        parts.push(part.body);
    }
    parts
}

#[tokio::test]
async fn a_matroska_film_comes_in_segments_that_are_the_same_everywhere() {
    let (one, other) = (Files::viewer(&[FILM]), Files::viewer(&[FILM]));
    for number in 0..2 {
        let parts = stream(&one, number).await;
        assert_eq!(parts.len(), 4, "a header and three segments");
        assert!(parts == stream(&other, number).await);
        let bytes: usize = parts.iter().map(Vec::len).sum();
        assert!(bytes > if number == 0 { 25_000 } else { 15_000 }, "{bytes}");
    }
    let mut client = Client::connect(one.address()).await;
    for name in ["manifest.mpd", "main.m3u8"] {
        assert_eq!(client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await.status, 200);
    }
    for name in ["0-1.m4s", "2-0.m4s", "7.m3u8"] {
        assert_eq!(client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await.status, 404);
    }
    one.shutdown().await;
    other.shutdown().await;
}

#[tokio::test]
async fn who_plays_segments_is_one_viewer_of_the_quality_that_it_plays() {
    let films: [(&str, &[u8]); 2] = [("film.240p.mkv", FILM), ("film.480p.mp4", OTHER)];
    let (viewer, _, seen) = Files::observed(&films);
    let mut client = Client::connect(viewer.address()).await;
    for file in [0, 1] {
        let path = |name: &str| format!("/dash/{HASH}/{file}/{name}");
        let list = client.get(&path("0.m3u8"), &[]).await.text();
        let segments: Vec<&str> = list.lines().filter(|it| it.ends_with(".m4s")).collect();
        let before = seen.opened(file);
        assert_eq!(seen.open(file), 0, "what told of its frames was read");
        for name in &segments {
            assert_eq!(client.get(&path(name), &[]).await.status, 200);
        }
        assert!(segments.len() >= 3);
        // One reader; of clusters each segment needs the end of the one before.
        let all = if file == 0 { segments.len() } else { 1 };
        assert_eq!((seen.opened(file) - before, seen.open(file)), (all, 1));
        // Another one for the sound, which goes, and for who jumps back.
        let sound = client.get(&path("1.m3u8"), &[]).await.text();
        let first = sound.lines().find(|it| it.ends_with(".m4s")).unwrap().to_owned();
        for (name, opened, open) in [(first.as_str(), all + 1, 1), (segments[0], all + 2, 1)] {
            assert_eq!(client.get(&path(name), &[]).await.status, 200);
            assert_eq!((seen.opened(file) - before, seen.open(file)), (opened, open), "{name}");
        }
        assert!(seen.preferred.lock().unwrap().iter().rev().take(3).all(|it| *it == file));
    }
    assert_eq!(seen.open(0), 0, "the first quality was left");
    viewer.shutdown().await;
}

#[tokio::test]
async fn without_cues_the_published_index_is_needed_and_enough() {
    let alone = Files::viewer(&[LIVE]);
    let mut client = Client::connect(alone.address()).await;
    let answer = client.get(&format!("/hls/{HASH}/0/main.m3u8"), &[]).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
    let told = Files::viewer(&[LIVE, &index_of(LIVE)]);
    let parts = stream(&told, 0).await;
    assert_eq!(parts.len(), 4);
    // The same frames as in the film that has cues: all but where its streams lie in the file is the same.
    let cued = Files::viewer(&[FILM]);
    assert!(parts[1..] == stream(&cued, 0).await[1..]);
    for viewer in [alone, told, cued] {
        viewer.shutdown().await;
    }
}

/// The index that a publisher puts beside a film.
fn index_of(film: &[u8]) -> Vec<u8> {
    let prober = Prober::new(film.len() as u64).thorough();
    let film = prober
        .run(|range| Ok::<_, Infallible>(film[range.start as usize..range.end as usize].to_vec()));
    film.unwrap().index.unwrap().encode()
}

#[tokio::test]
async fn mp4_in_fragments_comes_in_segments_by_its_own_index_or_a_published_one() {
    let known = Files::viewer(&[FRAGMENTS]);
    let told = Files::viewer(&[APART, &index_of(APART)]);
    for number in 0..2 {
        let parts = stream(&known, number).await;
        assert_eq!(parts.len(), 4, "a header and three segments");
        // The same frames in other fragments.
        assert!(parts == stream(&told, number).await);
    }
    let mut client = Client::connect(known.address()).await;
    for name in ["manifest.mpd", "main.m3u8", "ts.m3u8"] {
        assert_eq!(client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await.status, 200);
    }
    let list = client.get(&format!("/hls/{HASH}/0/ts.m3u8"), &[]).await.text();
    for name in list.lines().filter(|line| line.ends_with(".ts")) {
        let part = client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await;
        assert!(part.status == 200 && part.body.len() > 10_000 && part.body[0] == 0x47);
    }
    let alone = Files::viewer(&[APART]);
    let mut client = Client::connect(alone.address()).await;
    let answer = client.get(&format!("/hls/{HASH}/0/main.m3u8"), &[]).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
    for viewer in [known, told, alone] {
        viewer.shutdown().await;
    }
}

#[tokio::test]
async fn a_transport_stream_is_taken_apart_and_comes_as_parts_of_its_file() {
    for file in [STREAM, STAMPED] {
        let index = index_of(file);
        let viewers = [0, 1].map(|_| Files::viewer(&[file, &index]));
        for number in 0..2 {
            let parts = stream(&viewers[0], number).await;
            assert!(parts.len() > 2 && parts.iter().all(|part| part.len() > 200));
            assert!(parts == stream(&viewers[1], number).await);
        }
        let mut client = Client::connect(viewers[0].address()).await;
        let main = client.get(&format!("/hls/{HASH}/0/main.m3u8"), &[]).await.text();
        assert!(main.contains("CODECS=\"avc1.64000a,mp4a.40.2\""), "{main}");
        let manifest = client.get(&format!("/dash/{HASH}/0/manifest.mpd"), &[]).await;
        assert!(manifest.status == 200 && manifest.text().contains("0-$Time$.m4s"));
        let list = client.get(&format!("/hls/{HASH}/0/ts.m3u8"), &[]).await.text();
        for name in list.lines().filter(|line| line.ends_with(".ts")) {
            let part = client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await;
            assert!(part.status == 200 && part.body.chunks(188).all(|packet| packet[0] == 0x47));
        }
        for viewer in viewers {
            viewer.shutdown().await;
        }
    }
    // Without its index nobody knows where key frames are.
    let alone = Files::viewer(&[STREAM]);
    let mut client = Client::connect(alone.address()).await;
    let answer = client.get(&format!("/dash/{HASH}/0/manifest.mpd"), &[]).await;
    assert_eq!(answer.status, 415);
    assert!(answer.text().contains("was not published with it"), "{}", answer.text());
    assert_eq!(client.get(&format!("/hls/{HASH}/0/main.m3u8"), &[]).await.status, 200);
    alone.shutdown().await;
}

const SRT: &[u8] = b"1\r\n00:00:01,500 --> 00:00:03,000\r\nA <i>line</i>\r\n";

#[tokio::test]
async fn qualities_of_a_film_are_listed_together_by_each_of_them() {
    let viewer = Files::named(&[
        ("film.720p.mkv", FILM),
        ("film.240p.mkv", FILM),
        // Another film by its length, one that cannot be taken apart, and one of another name.
        ("film.480p.mp4", OTHER),
        ("film.360p.mkv", b"nothing"),
        ("other.240p.mkv", FILM),
        ("film.en.srt", SRT),
    ]);
    let mut client = Client::connect(viewer.address()).await;
    for (file, other) in [(0, 1), (1, 0)] {
        let path = |name: &str| format!("/hls/{HASH}/{file}/{name}");
        let main = client.get(&path("main.m3u8"), &[]).await.text();
        assert_eq!(main.matches("#EXT-X-STREAM-INF").count(), 2, "{main}");
        let addresses: Vec<&str> = main.lines().filter(|line| line.ends_with("0.m3u8")).collect();
        let (own, away) = ("0.m3u8".to_owned(), format!("../{other}/0.m3u8"));
        // The smallest first, whose sound is that of all.
        assert_eq!(addresses, if file == 1 { [&*own, &*away] } else { [&*away, &*own] });
        let sound = if file == 1 { "URI=\"1.m3u8\"" } else { "URI=\"../1/1.m3u8\"" };
        assert_eq!(main.matches("TYPE=AUDIO").count(), 1, "{main}");
        assert!(main.contains(sound) && main.matches(",AUDIO=\"sound\"").count() == 2, "{main}");
        assert!(main.contains("LANGUAGE=\"en\"") && main.contains("URI=\"subtitles-5.m3u8\""));
        assert_eq!(main.matches(",SUBTITLES=\"text\"").count(), 2, "{main}");
        let manifest = client.get(&path("manifest.mpd"), &[]).await.text();
        assert_eq!(manifest.matches("<AdaptationSet").count(), 3, "{manifest}");
        assert_eq!(manifest.matches("<Representation").count(), 4, "{manifest}");
        assert!(manifest.contains(&format!("initialization=\"../{other}/0-header.mp4\"")));
        assert!(manifest.contains("segmentAlignment=\"true\""), "{manifest}");
        assert!(manifest.contains("<BaseURL>subtitles-5.vtt</BaseURL>"), "{manifest}");
    }
    for (file, count) in [(2, 1), (4, 1)] {
        let main = client.get(&format!("/hls/{HASH}/{file}/main.m3u8"), &[]).await.text();
        assert_eq!(main.matches("#EXT-X-STREAM-INF").count(), count, "{main}");
        assert!(!main.contains("../"), "{main}");
    }
    assert_eq!(client.get(&format!("/hls/{HASH}/3/main.m3u8"), &[]).await.status, 415);
    viewer.shutdown().await;
}

#[tokio::test]
async fn subtitles_beside_a_film_come_as_webvtt() {
    let viewer = Files::named(&[("film.mkv", FILM), ("film.de.srt", SRT), ("notes.srt", SRT)]);
    let mut client = Client::connect(viewer.address()).await;
    let path = |name: &str| format!("/dash/{HASH}/0/{name}");
    let list = client.get(&path("subtitles-1.m3u8"), &[]).await;
    assert_eq!(
        (list.status, list.header("content-type")),
        (200, Some("application/vnd.apple.mpegurl"))
    );
    assert!(list.text().contains("subtitles-1.vtt\n#EXT-X-ENDLIST"), "{}", list.text());
    let text = client.get(&path("subtitles-1.vtt"), &[]).await;
    assert_eq!((text.status, text.header("content-type")), (200, Some("text/vtt; charset=utf-8")));
    assert_eq!(text.text(), "WEBVTT\n\n00:00:01.500 --> 00:00:03.000\nA <i>line</i>\n");
    for name in [
        "subtitles-0.vtt",
        "subtitles-2.vtt",
        "subtitles-2.m3u8",
        "subtitles-9.vtt",
        "subtitles-.vtt",
        "subtitles-1.srt",
    ] {
        assert_eq!(client.get(&path(name), &[]).await.status, 404, "{name}");
    }
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_list_reads_the_heads_of_other_qualities_and_no_more() {
    let files = [("film.360p.mp4", OTHER), ("film.240p.mp4", OTHER)];
    let (viewer, read) = Files::counted(&[files[0], files[1], ("notes.txt", SRT)]);
    let mut client = Client::connect(viewer.address()).await;
    let main = client.get(&format!("/hls/{HASH}/0/main.m3u8"), &[]).await;
    assert!(main.text().contains("../1/0.m3u8"), "{}", main.text());
    for (counter, (_, file)) in read.iter().zip(files) {
        let read = counter.load(Ordering::Relaxed);
        assert!((1..file.len() as u64 / 4).contains(&read), "{read} of {}", file.len());
    }
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_quality_whose_head_does_not_come_is_waited_for_and_then_said_to_be_missing() {
    let viewer =
        Files::named(&[("film.360p.mkv", FILM), ("film.240p.mkv", b""), ("notes.txt", SRT)]);
    let mut client = Client::connect(viewer.address()).await;
    for name in ["main.m3u8", "manifest.mpd"] {
        let answer = client.get(&format!("/hls/{HASH}/0/{name}"), &[]).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.header("retry-after").is_some() && answer.text().contains("qualities"));
    }
    // What needs no other is there.
    assert_eq!(client.get(&format!("/hls/{HASH}/0/0.m3u8"), &[]).await.status, 200);
    viewer.shutdown().await;
}

#[tokio::test]
async fn text_tracks_inside_a_film_come_in_segments_that_are_the_same_everywhere() {
    let beide = "\n\n00:00:03.500 --> 00:00:04.500\nBeide\n";
    for file in [TEXT_MATROSKA, TEXT_TABLES] {
        let (one, other) = (Files::viewer(&[file]), Files::viewer(&[file]));
        let path = |name: &str| format!("/hls/{HASH}/0/{name}");
        let mut client = Client::connect(one.address()).await;
        let mut second = Client::connect(other.address()).await;
        let main = client.get(&path("main.m3u8"), &[]).await.text();
        assert!(main.contains("LANGUAGE=\"de\"") && main.contains("URI=\"2.m3u8\""), "{main}");
        let list = client.get(&path("2.m3u8"), &[]).await.text();
        let names: Vec<&str> = list.lines().filter(|line| line.ends_with(".vtt")).collect();
        assert_eq!(names, ["2-0.vtt", "2-4000.vtt", "2-8000.vtt"], "{list}");
        for (name, kind) in [
            ("2-0.vtt", "text/vtt; charset=utf-8"),
            ("2-4000.vtt", "text/vtt; charset=utf-8"),
            ("2-4000.m4s", "application/mp4"),
            ("2-header.mp4", "application/mp4"),
        ] {
            let part = client.get(&path(name), &[]).await;
            assert_eq!((part.status, part.header("content-type")), (200, Some(kind)), "{name}");
            assert!(part.body == second.get(&path(name), &[]).await.body, "{name}");
            if name.ends_with(".vtt") {
                assert!(part.text().contains(beide), "{}", part.text());
            }
        }
        for name in ["0-0.vtt", "2-1.vtt", "3-0.vtt", "2-1.m4s", "2-99999999.vtt", "x-0.vtt"] {
            assert_eq!(client.get(&path(name), &[]).await.status, 404, "{name}");
        }
        one.shutdown().await;
        other.shutdown().await;
    }
}
