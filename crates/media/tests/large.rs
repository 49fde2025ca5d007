//! Films beyond four gibibytes, and indexes that point beyond their film. The files are holes with a real film around them; nobody reads the
//! holes.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::convert::Infallible;
use std::ops::Range;
use std::sync::Arc;

use common::{probed, slice};
use shoal_media::demux::{Demuxer, Frame};
use shoal_media::{Film, MediaError, Presentation, Prober};

/// What no number of 32 bits reaches.
const HOLE: u64 = 5 << 30;
/// Bytes that the head and the index of these films take, and some more.
const READ_MAX: u64 = 1 << 20;

/// A file of which all but some parts is a hole.
struct Sparse {
    parts: Vec<(u64, Vec<u8>)>,
    length: u64,
}

impl Sparse {
    /// Parts one behind the other, `None` for the hole.
    fn new(parts: Vec<Option<Vec<u8>>>) -> Self {
        let mut sparse = Self { parts: Vec::new(), length: 0 };
        for part in parts {
            let length = part.as_ref().map_or(HOLE, |part| part.len() as u64);
            sparse.parts.extend(part.map(|part| (sparse.length, part)));
            sparse.length += length;
        }
        sparse
    }
    fn read(&self, range: &Range<u64>) -> Vec<u8> {
        assert!(range.end - range.start <= READ_MAX, "{range:?} is read");
        let byte = |at: u64| {
            let part = self.parts.iter().rfind(|(start, _)| *start <= at);
            part.and_then(|(start, part)| part.get(usize::try_from(at - start).ok()?).copied())
        };
        range.clone().map(|at| byte(at).unwrap_or(0)).collect()
    }
    /// As the prober finds it, without reading much of it.
    fn probed(&self, prober: fn(u64) -> Prober) -> Result<Film, MediaError> {
        let mut read = 0;
        let film = prober(self.length).run(|range| {
            read += range.end - range.start;
            Ok::<_, Infallible>(self.read(&range))
        });
        assert!(read <= READ_MAX, "{read} bytes were read");
        film.map_err(|error| match error {
            shoal_media::ProbeError::Media(error) => error,
            shoal_media::ProbeError::Read(never) => match never {},
        })
    }
}

fn frames(mut demuxer: Demuxer, read: impl Fn(&Range<u64>) -> Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    loop {
        frames.extend(std::iter::from_fn(|| demuxer.next()));
        let Some(range) = demuxer.need() else { return frames };
        demuxer.feed(&read(&range)).unwrap();
    }
}

/// All of its frames from several times on, and those of each segment.
fn taken_apart(film: &Presentation, read: impl Fn(&Range<u64>) -> Vec<u8>) -> Vec<Vec<Frame>> {
    let film = Arc::new(film.clone());
    let streams: Vec<usize> = (0..film.streams().len()).collect();
    let whole = [0, 5000, u64::MAX].map(|at| Demuxer::new(Arc::clone(&film), &streams, at));
    let parts = (0..film.segments().len())
        .filter_map(|number| Demuxer::of_segment(Arc::clone(&film), &streams, number));
    whole.into_iter().chain(parts).map(|demuxer| frames(demuxer, &read)).collect()
}

/// The film in the large file is that of the small one, moved by `by`.
fn same(file: &[u8], large: &Sparse, prober: fn(u64) -> Prober, by: u64) {
    let (film, found) = (probed(prober(file.len() as u64), file), large.probed(prober).unwrap());
    assert_eq!((found.duration_ms, &found.tracks), (film.duration_ms, &film.tracks));
    let keys = |film: &Film| film.index.as_ref().unwrap().keys.clone();
    let moved = keys(&film).into_iter().map(|mut key| {
        key.offset += by;
        key
    });
    assert_eq!(keys(&found), moved.collect::<Vec<_>>());
    let (film, found) = (film.presentation.unwrap(), found.presentation.unwrap());
    assert_eq!(found.segments().len(), film.segments().len());
    let expected = taken_apart(&film, |range| slice(file, range));
    assert!(expected.iter().map(Vec::len).sum::<usize>() > 500);
    assert!(taken_apart(&found, |range| large.read(range)) == expected, "other frames");
}

/// The boxes in `bytes`: their names and bodies.
fn boxes(mut bytes: &[u8]) -> Vec<([u8; 4], &[u8])> {
    let mut boxes = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let length = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        boxes.push((head[4..].try_into().unwrap(), &rest[..length - 8]));
        bytes = &rest[length - 8..];
    }
    boxes
}

fn boxed(name: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes(), &name[..], body].concat()
}

/// The header of a box whose length has 64 bits.
fn large_head(name: [u8; 4], body: u64) -> Vec<u8> {
    [&1u32.to_be_bytes()[..], &name, &(body + 16).to_be_bytes()].concat()
}

/// Boxes whose places in the file are others, and have 64 bits.
fn placed(bytes: &[u8], place: &dyn Fn(u64) -> u64) -> Vec<u8> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
    let placed_at = |body: &[u8], at: usize| {
        let place = place(number(&body[at..at + 8])).to_be_bytes();
        [&body[..at], &place, &body[at + 8..]].concat()
    };
    let one = |(name, body): ([u8; 4], &[u8])| match &name {
        b"moov" | b"trak" | b"mdia" | b"minf" | b"stbl" | b"moof" | b"traf" | b"mfra" => {
            boxed(name, &placed(body, place))
        }
        b"stco" => {
            let places = body[8..].chunks(4).flat_map(|at| place(number(at)).to_be_bytes());
            boxed(*b"co64", &[&body[..8], &places.collect::<Vec<_>>()].concat())
        }
        b"tfhd" if body[3] & 1 == 1 => boxed(name, &placed_at(body, 8)),
        b"tfra" => {
            assert_eq!(body[0], 1, "its numbers have 64 bits");
            let count = number(&body[12..16]) as usize;
            let step = (body.len() - 16) / count;
            let all = (0..count).fold(body.to_vec(), |all, it| placed_at(&all, 24 + it * step));
            boxed(name, &all)
        }
        _ => boxed(name, body),
    };
    boxes(bytes).into_iter().flat_map(one).collect()
}

/// Where a box of the outermost level begins.
fn start_of(file: &[u8], name: &[u8; 4]) -> usize {
    let before = boxes(file).into_iter().take_while(|it| it.0 != *name);
    before.map(|it| it.1.len() + 8).sum()
}

/// The film behind a box of five gibibytes that says nothing, and by how much its frames are moved.
fn behind_a_hole(file: &[u8]) -> (Sparse, u64) {
    let (head, rest) = file.split_at(start_of(file, b"ftyp") + boxes(file)[0].1.len() + 8);
    let moov = start_of(file, b"moov") as u64;
    let grown = (placed(rest, &|at| at).len() - rest.len()) as u64;
    // Where the index comes before the frames they are moved by what it grows, too.
    let by = HOLE + 16 + if moov == head.len() as u64 { grown } else { 0 };
    let parts = [head.to_vec(), large_head(*b"free", HOLE)].concat();
    (Sparse::new(vec![Some(parts), None, Some(placed(rest, &|at| at + by))]), by)
}

#[test]
fn mp4_behind_four_gibibytes_is_the_same_film() {
    for file in [
        &include_bytes!("../testdata/end.mp4")[..],
        include_bytes!("../testdata/front.mp4"),
        include_bytes!("../testdata/mfra.mp4"),
        include_bytes!("../testdata/sidx.mp4"),
        // Fragments that tell where their data begins in the file.
        include_bytes!("../testdata/begun.mp4"),
    ] {
        let (large, by) = behind_a_hole(file);
        same(file, &large, |length| Prober::of_frames(length).thorough(), by);
    }
}

#[test]
fn data_longer_than_four_gibibytes_is_gone_past() {
    let file = include_bytes!("../testdata/end.mp4");
    let (data, moov) = (start_of(file, b"mdat"), start_of(file, b"moov"));
    let body = &file[data + 8..moov];
    let head = large_head(*b"mdat", HOLE + body.len() as u64);
    let by = HOLE + 8;
    let moov = placed(&file[moov..], &|at| at + by);
    let large = Sparse::new(vec![
        Some([&file[..data], &head].concat()),
        None,
        Some([body, &moov].concat()),
    ]);
    same(file, &large, Prober::of_frames, by);
}

/// Elements of Matroska: their names and bodies. Those of unknown length last to the end.
fn elements(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let (mut elements, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let name = bytes[at].leading_zeros() as usize + 1;
        let size = bytes[at + name].leading_zeros() as usize + 1;
        let start = at + name + size;
        let number = bytes[at + name..start].iter().fold(0, |all, it| all << 8 | u64::from(*it));
        let mask = (1u64 << (7 * size)) - 1;
        let is_told = number & mask != mask;
        let end = if is_told { start + (number & mask) as usize } else { bytes.len() };
        elements.push((&bytes[at..at + name], &bytes[start..end]));
        at = end;
    }
    elements
}

/// The head of an element whose length has eight bytes.
fn element_head(name: &[u8], length: u64) -> Vec<u8> {
    [name, &(1 << 56 | length).to_be_bytes()].concat()
}

/// Elements whose places in the segment are others, and have eight bytes.
fn placed_elements(bytes: &[u8], place: &dyn Fn(u64) -> u64) -> Vec<u8> {
    let one = |(name, body): (&[u8], &[u8])| {
        let body = match name {
            // What is looked for, and cues.
            [0x11, 0x4d, 0x9b, 0x74]
            | [0x4d, 0xbb]
            | [0x1c, 0x53, 0xbb, 0x6b]
            | [0xbb]
            | [0xb7] => placed_elements(body, place),
            [0x53, 0xac] | [0xf1] => {
                let at = body.iter().fold(0, |all, byte| all << 8 | u64::from(*byte));
                place(at).to_be_bytes().to_vec()
            }
            _ => body.to_vec(),
        };
        [element_head(name, body.len() as u64), body].concat()
    };
    elements(bytes).into_iter().flat_map(one).collect()
}

const CLUSTER: [u8; 4] = [0x1f, 0x43, 0xb6, 0x75];
const SEGMENT: [u8; 4] = [0x18, 0x53, 0x80, 0x67];

/// The film with five gibibytes of nothing before its first cluster; its length is told, or not. And by how much its clusters are moved.
fn clusters_behind_a_hole(file: &[u8], is_told: bool, place: fn(u64) -> u64) -> (Sparse, u64) {
    let segment = file.windows(4).position(|it| it == SEGMENT).unwrap();
    let cluster = file.windows(4).position(|it| it == CLUSTER).unwrap();
    let start = segment + 12;
    let (head, rest) = (&file[start..cluster], &file[cluster..]);
    let grown = (placed_elements(head, &|at| at).len() - head.len()) as u64;
    let void = element_head(&[0xec], HOLE);
    let by = HOLE + void.len() as u64 + grown;
    let first = (cluster - start) as u64;
    let at = |at: u64| place(if at >= first { at + by } else { at + grown });
    let head = placed_elements(head, &at);
    // Clusters stay as they are; what comes behind them are cues.
    let cues = rest.windows(4).rposition(|it| it == [0x1c, 0x53, 0xbb, 0x6b]);
    let (clusters, cues) = rest.split_at(cues.unwrap_or(rest.len()));
    let rest = [clusters, &placed_elements(cues, &at)].concat();
    let length = head.len() + void.len() + rest.len();
    let length = if is_told { length as u64 + HOLE } else { (1 << 56) - 1 };
    let front = [&file[..segment], &element_head(&SEGMENT, length), &head, &void].concat();
    (Sparse::new(vec![Some(front), None, Some(rest)]), by)
}

#[test]
fn matroska_behind_four_gibibytes_is_the_same_film() {
    for is_told in [true, false] {
        let cued = include_bytes!("../testdata/film.mkv");
        let (large, by) = clusters_behind_a_hole(cued, is_told, |at| at);
        same(cued, &large, Prober::of_frames, by);
        // Without cues, with clusters of unknown length.
        let live = include_bytes!("../testdata/live.mkv");
        let (large, by) = clusters_behind_a_hole(live, is_told, |at| at);
        same(live, &large, |length| Prober::of_frames(length).thorough(), by);
    }
}

#[test]
fn an_index_that_points_beyond_its_film_gives_what_is_inside_or_a_reason() {
    let places: [fn(u64) -> u64; 4] =
        [|_| u64::MAX, |_| 1 << 63, |at| at + (1 << 40), |at| if at < 20_000 { at } else { !at }];
    for place in places {
        let file = include_bytes!("../testdata/end.mp4");
        let (head, moov) = file.split_at(start_of(file, b"moov"));
        let lying = Sparse::new(vec![Some([head, &placed(moov, &place)].concat())]);
        match lying
            .probed(Prober::of_frames)
            .and_then(|it| it.presentation.ok_or(MediaError::NoIndex))
        {
            Ok(film) => {
                let mut samples = film.streams().iter().flat_map(|it| it.samples());
                assert!(samples.all(|it| it.end() <= lying.length));
                taken_apart(&film, |range| lying.read(range));
            }
            Err(error) => assert!(error.to_string().contains("file"), "{error}"),
        }
        let file = include_bytes!("../testdata/begun.mp4");
        let lying = placed(file, &place);
        let film = probed(Prober::of_frames(lying.len() as u64).thorough(), &lying);
        let film = film.presentation.unwrap();
        taken_apart(&film, |range| slice(&lying, range));
        let (lying, _) =
            clusters_behind_a_hole(include_bytes!("../testdata/film.mkv"), true, place);
        let film = lying.probed(Prober::of_frames).unwrap().presentation.unwrap();
        assert!(film.segments().len() <= 1);
    }
}
