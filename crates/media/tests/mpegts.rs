//! Transport streams, compared with what an independent program says about them.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::mpegts::mux;
use shoal_media::presentation::Segment;
use shoal_media::{Container, Film, Format, Presentation, Prober, TrackKind, hls};

const FILMS: [(&str, &[u8]); 4] = [
    ("stream", include_bytes!("../testdata/stream.ts")),
    ("stamped", include_bytes!("../testdata/stamped.m2ts")),
    ("old", include_bytes!("../testdata/old.ts")),
    ("hevc", include_bytes!("../testdata/hevc.ts")),
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
            (audio, "mp4a.40.2".to_owned(), None, Some("eng".to_owned())),
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
    let published =
        run(Prober::of_frames(file.len() as u64).with_index(again.index.clone().unwrap()), file);
    assert_eq!(published, again);
    assert!(published.presentation.unwrap().transport().unwrap().is_exact());
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
            assert_eq!(presentation.ranges(0, span.samples.clone()), [bytes.clone()]);
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

/// A unit of a stream: when it is shown and decoded, and its frames.
type Unit = (u64, u64, Vec<u8>);

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

fn payload_at(packet: &[u8]) -> usize {
    if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }
}

fn time(field: &[u8]) -> u64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|at| u64::from(field[at]));
    (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
}

fn pcr(packet: &[u8]) -> Option<u64> {
    let has = packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0;
    let upper = || u64::from(u32::from_be_bytes(packet[6..10].try_into().unwrap()));
    has.then(|| upper() << 1 | u64::from(packet[10] >> 7))
}

/// The units of the streams of sound and pictures, whose packets must be in order and count up.
fn units(stream: &[u8]) -> BTreeMap<u16, Vec<Unit>> {
    let mut units: BTreeMap<u16, Vec<Unit>> = BTreeMap::new();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    assert_eq!(stream.len() % 188, 0);
    let mut tables = 0;
    for packet in stream.chunks(188) {
        assert_eq!(packet[0], 0x47);
        let (pid, has_payload) = (pid(packet), packet[3] & 0x10 != 0);
        if pid == 0x1fff {
            continue;
        }
        if let Some(last) = counters.insert(pid, packet[3] & 0x0f) {
            assert_eq!((last + u8::from(has_payload)) % 16, packet[3] & 0x0f, "stream {pid:#x}");
        }
        let payload = &packet[payload_at(packet)..];
        if pid == 0 {
            tables = u16::from_be_bytes([payload[11] & 0x1f, payload[12]]);
        }
        if pid < 0x20 || pid == tables || !has_payload {
            continue;
        }
        if packet[1] & 0x40 == 0 {
            units.get_mut(&pid).unwrap().last_mut().unwrap().2.extend_from_slice(payload);
            continue;
        }
        assert_eq!(payload[..3], [0, 0, 1]);
        let shown = time(&payload[9..]);
        let decoded = if payload[7] & 0x40 == 0 { shown } else { time(&payload[14..]) };
        let body = payload[9 + usize::from(payload[8])..].to_vec();
        units.entry(pid).or_default().push((shown, decoded, body));
    }
    units
}

/// All groups of packets from a time on.
fn groups(demuxer: &mut Demuxer, file: &[u8], chunk: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut reads = 0;
    loop {
        while let Some(frame) = demuxer.next() {
            assert!(frame.data.len() % 188 == 0 && frame.data.len() <= 1316);
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return frames };
        assert!(range.start < range.end && range.end <= file.len() as u64);
        reads += 1;
        assert!(reads < 100_000);
        let end = (range.start as usize + chunk).min(range.end as usize);
        demuxer.feed(&file[range.start as usize..end]).unwrap();
    }
}

fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
}

fn bare(name: &str) -> Vec<u8> {
    if name != "stamped" {
        return film(name).to_vec();
    }
    film(name).chunks(192).flat_map(|packet| packet[4..].to_vec()).collect()
}

#[test]
fn a_film_leaves_whole_and_in_order_with_times_from_zero() {
    for (name, file) in FILMS {
        let film = Arc::new(thorough(file).presentation.unwrap());
        let expected = units(&bare(name));
        let first = expected.values().map(|units| units[0].0).min().unwrap();
        for chunk in [1000, usize::MAX / 2] {
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], 0);
            let frames = groups(&mut demuxer, file, chunk);
            let found = units(&joined(&frames));
            let lead = found.values().map(|units| units[0].0).min().unwrap();
            assert!(lead <= 90_000 / 4, "{name}: {lead}");
            for (pid, units) in &expected {
                let moved: Vec<_> = units
                    .iter()
                    .map(|(shown, decoded, data)| {
                        (shown - first + lead, decoded + lead - first, data.clone())
                    })
                    .collect();
                assert_eq!(found[pid], moved, "{name}");
            }
            let last = frames.last().unwrap().decoded;
            assert!(frames.is_sorted_by_key(|frame| frame.decoded) && frames[0].decoded == 0);
            assert!(last.abs_diff(film.duration_ms() * 90) < 90_000, "{name}: {last}");
            let keys = thorough(file).index.unwrap().keys.len();
            assert_eq!(frames.iter().filter(|frame| frame.is_key).count(), keys, "{name}");
            assert!(frames[0].is_key);
        }
    }
}

#[test]
fn a_jump_begins_with_the_tables_and_the_key_frame_before_and_counts_on() {
    for (name, file) in FILMS {
        for (film, is_exact) in [(thorough(file), true), (quick(file), false)] {
            let keys = thorough(file).index.unwrap().keys;
            let film = Arc::new(film.presentation.unwrap());
            let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], 3000);
            let mut all = joined(&groups(&mut demuxer, file, 1 << 20));
            for at_ms in [4999, 0, 2500, 99_000] {
                demuxer.jump(at_ms);
                let frames = groups(&mut demuxer, file, 1 << 20);
                let key = keys.iter().skip(1).rfind(|key| key.time_ms <= at_ms);
                let key_ms = key.map_or(0, |key| key.time_ms);
                let start = frames[0].decoded;
                assert!(frames[0].is_key, "{name} {at_ms} {is_exact}");
                assert!((start / 90).abs_diff(key_ms) <= 1, "{name} {at_ms} {is_exact}: {start}");
                let part = joined(&frames);
                assert_eq!(pid(&part), 0, "the table of programs is first");
                let picture = part.chunks(188).find(|packet| pcr(packet).is_some()).unwrap();
                assert_eq!(picture[5] & 0x80, 0x80, "{name}");
                let expected = units(&joined(&groups(
                    &mut Demuxer::new(Arc::clone(&film), &[0], at_ms),
                    file,
                    999,
                )));
                assert_eq!(units(&part), expected);
                all.extend(part);
            }
            // Counters are looked at by this.
            units(&all);
        }
    }
}

/// The same film whose clock began later by this.
fn moved(file: &[u8], by: u64) -> Vec<u8> {
    let mut file = file.to_vec();
    let add = |field: &mut [u8]| {
        let time = (time(field) + by) % (1 << 33);
        let parts =
            [time >> 30 & 7, time >> 15 & 0x7fff, time & 0x7fff].map(|it| (it << 1 | 1) as u16);
        field[0] = field[0] & 0xf0 | parts[0] as u8;
        field[1..3].copy_from_slice(&parts[1].to_be_bytes());
        field[3..5].copy_from_slice(&parts[2].to_be_bytes());
    };
    for packet in file.chunks_mut(188) {
        if let Some(base) = pcr(packet) {
            let base = (base + by) % (1 << 33);
            packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
            packet[10] = packet[10] & 0x7f | ((base & 1) as u8) << 7;
        }
        let at = payload_at(packet);
        if packet[1] & 0x40 != 0 && packet[3] & 0x10 != 0 && packet[at..].starts_with(&[0, 0, 1]) {
            let both = packet[at + 7] & 0x40 != 0;
            add(&mut packet[at + 9..at + 14]);
            if both {
                add(&mut packet[at + 14..at + 19]);
            }
        }
    }
    file
}

#[test]
fn a_clock_that_wraps_changes_nothing() {
    for name in ["stream", "old", "hevc"] {
        let file = film(name);
        let plain = groups(
            &mut Demuxer::new(Arc::new(quick(file).presentation.unwrap()), &[0], 0),
            file,
            5000,
        );
        for wraps_at_s in [0.5, 1.5, 1.6, 2.0, 4.0] {
            let file = moved(file, (1 << 33) - (wraps_at_s * 90_000.0) as u64);
            assert_eq!(thorough(&file).index, thorough(film(name)).index, "{name} {wraps_at_s}");
            assert_eq!(quick(&file).index, quick(film(name)).index, "{name} {wraps_at_s}");
            for film in [quick(&file), thorough(&file)] {
                let mut demuxer = Demuxer::new(Arc::new(film.presentation.unwrap()), &[0], 0);
                assert_eq!(groups(&mut demuxer, &file, 5000), plain, "{name} {wraps_at_s}");
            }
        }
    }
}

#[test]
fn a_film_goes_on_where_its_clock_was_set_anew() {
    let file = film("stream");
    let once = thorough(file);
    let mut twice = file.to_vec();
    twice.extend(moved(file, 77_000_000_000));
    twice.extend(file);
    let found = thorough(&twice);
    let length = once.duration_ms.unwrap();
    assert!(found.duration_ms.unwrap().abs_diff(3 * length) < 1000, "{:?}", found.duration_ms);
    let keys = found.index.as_ref().unwrap().keys.clone();
    assert_eq!(keys.len(), 3 * once.index.unwrap().keys.len());
    let film = Arc::new(found.presentation.unwrap());
    for at_ms in [0, 13_000, length * 2 + 3000] {
        let mut demuxer = Demuxer::new(Arc::clone(&film), &[0], at_ms);
        let frames = groups(&mut demuxer, &twice, 100_000);
        assert!(frames.is_sorted_by_key(|frame| frame.decoded));
        let last = frames.last().unwrap().decoded / 90;
        assert!(last.abs_diff(3 * length) < 2000, "{at_ms}: {last}");
        for group in frames.iter().filter(|frame| frame.is_key) {
            let packet = group.data.chunks(188).find(|packet| pid(packet) == 0x100).unwrap();
            let shown = time(&packet[payload_at(packet) + 9..]) / 90;
            assert!(
                keys.iter().any(|key| (key.time_ms + 200).abs_diff(shown) < 60),
                "{shown} {keys:?}"
            );
        }
    }
}

#[test]
fn what_lies_between_packets_is_passed_over() {
    for name in ["stream", "stamped"] {
        let file = film(name);
        let stride = if name == "stamped" { 192 } else { 188 };
        let mut dirty = vec![7; 100];
        for (number, packet) in file.chunks(stride).enumerate() {
            dirty.extend_from_slice(packet);
            if number % 50 == 33 {
                dirty.extend(std::iter::repeat_n(0x11, number));
            }
        }
        let (clean, found) = (thorough(file), thorough(&dirty));
        assert_eq!(found.duration_ms, clean.duration_ms);
        assert_eq!(quick(&dirty).duration_ms, clean.duration_ms);
        let all = |film: Film, file: &[u8]| {
            let mut demuxer = Demuxer::new(Arc::new(film.presentation.unwrap()), &[0], 0);
            units(&joined(&groups(&mut demuxer, file, 5000)))
        };
        assert_eq!(all(found, &dirty), all(clean, file));
    }
}

/// What the fuzz target of transport streams holds of any bytes.
#[path = "../../../fuzz/src/media.rs"]
#[expect(unreachable_pub, dead_code, reason = "it is a public module of the crate of fuzz targets")]
mod media;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn flipped_bytes_of_real_streams_break_no_promise(
        which in 0..FILMS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        head_only in any::<bool>(),
    ) {
        let mut file = FILMS[which].1.to_vec();
        let reach = if head_only { 3000 } else { file.len() };
        for (place, value) in flips {
            file[place.index(reach)] = value;
        }
        media::transport_stream(&file);
    }

    #[test]
    fn clocks_and_times_of_any_value_break_no_promise(
        which in 0..FILMS.len(),
        times in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..30),
    ) {
        let mut file = bare(FILMS[which].0);
        for (place, by) in times {
            let at = place.index(file.len()) / 188 * 188;
            let packet = moved(&file[at..at + 188], by % (1 << 33));
            file[at..at + 188].copy_from_slice(&packet);
        }
        media::transport_stream(&file);
    }
}

const FRONT: &[u8] = include_bytes!("../testdata/front.mp4");

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
