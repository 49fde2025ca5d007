//! Real films of every shape, compared with what an independent program says about them.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

use std::cell::RefCell;
use std::convert::Infallible;
use std::ops::Range;

use shoal_media::{Container, Film, MediaError, ProbeError, Prober, TrackKind};

const FILMS: [(&str, &[u8]); 7] = [
    ("end", include_bytes!("../testdata/end.mp4")),
    ("front", include_bytes!("../testdata/front.mp4")),
    ("mfra", include_bytes!("../testdata/mfra.mp4")),
    ("sidx", include_bytes!("../testdata/sidx.mp4")),
    ("bare", include_bytes!("../testdata/bare.mp4")),
    ("sound", include_bytes!("../testdata/sound.m4a")),
    ("film", include_bytes!("../testdata/film.mkv")),
];

fn film(name: &str) -> &'static [u8] {
    FILMS.iter().find(|film| film.0 == name).map(|film| film.1).unwrap()
}

fn slice(file: &[u8], range: &Range<u64>) -> Vec<u8> {
    file[range.start as usize..range.end as usize].to_vec()
}

fn probe(file: &[u8]) -> (Film, Vec<Range<u64>>) {
    let reads = RefCell::new(Vec::new());
    let film = Prober::new(file.len() as u64).run(|range| {
        reads.borrow_mut().push(range.clone());
        Ok::<_, Infallible>(slice(file, &range))
    });
    (film.unwrap(), reads.into_inner())
}

#[derive(Clone, Debug)]
struct Packet {
    video: bool,
    time_s: f64,
    offset: u64,
    key: bool,
}

fn packets(name: &str) -> Vec<Packet> {
    let path = format!("{}/testdata/{name}.packets.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 4)
        .map(|row| Packet {
            video: row[0] == "0" && name != "sound",
            time_s: row[1].parse().unwrap(),
            offset: row[2].parse().unwrap(),
            key: row[3].starts_with('K'),
        })
        .collect()
}

/// Times and offsets of the picture's key frames.
fn video_keys(name: &str) -> Vec<Packet> {
    packets(name).into_iter().filter(|packet| packet.video && packet.key).collect()
}

#[test]
fn keys_of_sample_tables_are_those_that_ffprobe_sees() {
    for name in ["end", "front"] {
        let (film, _) = probe(film(name));
        assert_eq!((film.container, film.duration_ms), (Container::Mp4, Some(12_000)), "{name}");
        let index = film.index.unwrap();
        let all = packets(name);
        let expected: Vec<(u64, u64)> = video_keys(name)
            .iter()
            .map(|key| {
                // The sound that is decoded at this moment.
                let sound = all
                    .iter()
                    .filter(|packet| !packet.video && packet.time_s <= key.time_s + 0.0005)
                    .max_by(|a, b| a.time_s.total_cmp(&b.time_s))
                    .unwrap();
                ((key.time_s * 1000.0).round() as u64, key.offset.min(sound.offset))
            })
            .collect();
        assert_eq!(expected.len(), 6);
        let found: Vec<_> = index.keys.iter().map(|key| (key.time_ms, key.offset)).collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn keys_of_fragments_begin_at_the_fragment_that_holds_them() {
    // The segment index counts from its own zero: the two pictures by which decoding runs ahead are missing in it.
    for (name, reads_max, early_ms) in [("mfra", 6, 1.0), ("sidx", 6, 201.0), ("bare", 30, 1.0)] {
        let (film, reads) = probe(film(name));
        assert_eq!(film.container, Container::FragmentedMp4, "{name}");
        assert!(reads.len() <= reads_max, "{name}: {reads:?}");
        let index = film.index.unwrap();
        let expected = video_keys(name);
        assert_eq!(index.keys.len(), expected.len(), "{name}");
        let all = packets(name);
        for (found, key) in index.keys.iter().zip(&expected) {
            let early = key.time_s * 1000.0 - found.time_ms as f64;
            assert!((-1.0..=early_ms).contains(&early), "{name} {found:?}");
            let before = all.iter().filter(|packet| packet.offset < found.offset);
            assert!(found.offset < key.offset && key.offset - found.offset < 1000, "{name}");
            assert!(before.into_iter().all(|packet| packet.offset + 8 <= found.offset));
        }
        let duration = index.duration_ms;
        assert!((12_000..=12_300).contains(&duration), "{name}: {duration}");
    }
}

#[test]
fn a_film_of_sound_alone_has_a_point_every_half_second() {
    let (film, _) = probe(film("sound"));
    assert_eq!(film.tracks[0].kind, TrackKind::Audio);
    let index = film.index.unwrap();
    assert!((20..=24).contains(&index.keys.len()), "{}", index.keys.len());
    let all = packets("sound");
    for key in &index.keys {
        let packet = all.iter().find(|packet| packet.offset == key.offset).unwrap();
        assert!((packet.time_s.max(0.0) * 1000.0 - key.time_ms as f64).abs() <= 1.0);
    }
}

#[test]
fn matroska_cues_name_the_clusters_of_its_keys() {
    let (film, reads) = probe(film("film"));
    assert_eq!(film.container, Container::Matroska);
    assert!(reads.len() <= 5, "{reads:?}");
    assert!(film.duration_ms.unwrap().abs_diff(12_043) <= 60, "{:?}", film.duration_ms);
    let index = film.index.unwrap();
    assert!(index.keys.len() >= 2, "{:?}", index.keys);
    let keys = video_keys("film");
    for found in &index.keys {
        let key =
            keys.iter().find(|key| (key.time_s * 1000.0).round() as u64 == found.time_ms).unwrap();
        assert!(found.offset < key.offset, "the cluster begins before its first picture");
    }
}

#[test]
fn only_the_head_and_the_index_are_read() {
    let (film_end, reads) = probe(film("end"));
    let index = film_end.index.unwrap();
    assert_eq!(index.boot, [(0, 56), (48_305 - 5616, 5616)]);
    let read: u64 = reads.iter().map(|range| range.end - range.start).sum();
    assert!(read <= 4096 + 64 + 5616, "{reads:?}");
    let (film_front, reads) = probe(film("front"));
    assert_eq!(film_front.index.unwrap().boot, [(0, 5648)]);
    assert_eq!(reads, [0..4096, 4096..5648]);
}

#[test]
fn codecs_are_named_as_in_rfc_6381() {
    let (film, _) = probe(film("front"));
    let codecs: Vec<_> = film.tracks.iter().map(|track| track.codec.as_str()).collect();
    assert_eq!(codecs, ["avc1.64000a", "mp4a.40.2"]);
    assert_eq!(film.tracks[0].size, Some((96, 64)));
}

#[test]
fn bytes_may_come_in_any_portion_and_strays_are_ignored() {
    for (name, file) in FILMS {
        let (whole, _) = probe(file);
        for portion in [1usize, 7, 1000] {
            let mut prober = Prober::new(file.len() as u64);
            while let Some(range) = prober.need().first().cloned() {
                prober.feed(range.start + 1, &file[range.start as usize + 1..]);
                assert_eq!(prober.need().first(), Some(&range), "a gap was accepted");
                let end = (range.start as usize + portion).min(file.len());
                prober.feed(range.start, &file[range.start as usize..end]);
            }
            assert_eq!(prober.finish().as_ref(), Ok(&whole), "{name}");
        }
    }
}

#[test]
fn a_film_that_is_cut_off_says_so() {
    let cut = &film("end")[..40_000];
    let result = Prober::new(cut.len() as u64).run(|r| Ok::<_, Infallible>(slice(cut, &r)));
    assert_eq!(result, Err(ProbeError::Media(MediaError::NoIndex)));
    let prober = Prober::new(1000);
    assert_eq!(prober.finish(), Err(MediaError::Incomplete(0..1000)));
}

#[test]
fn a_container_that_is_not_known_is_no_error() {
    for file in [&b""[..], &b"hello"[..], &[0u8; 5000][..]] {
        let result = Prober::new(file.len() as u64).run(|r| Ok::<_, Infallible>(slice(file, &r)));
        let film = result.unwrap();
        assert_eq!((film.container, film.index), (Container::Unknown, None));
    }
}

#[test]
fn an_index_that_claims_to_be_huge_is_refused_unread() {
    let mut file = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x01moov".to_vec();
    file.extend_from_slice(&(1u64 << 40).to_be_bytes());
    file.resize(4096, 0);
    let result = Prober::new(1 << 41).run(|range| {
        assert!(range.end <= 4096);
        Ok::<_, Infallible>(slice(&file, &range))
    });
    assert!(matches!(result, Err(ProbeError::Media(MediaError::TooLarge { .. }))), "{result:?}");
}
