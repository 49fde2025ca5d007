//! Torrents made by libtorrent (testdata/README.md), compared with what libtorrent says of them.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Info, Metainfo};
use crate::merkle::{FileHasher, PieceHasher};

macro_rules! cases {
    ($($name:literal),* $(,)?) => {
        [$((
            $name,
            include_bytes!(concat!("../../../testdata/", $name, ".torrent")).as_slice(),
            include_str!(concat!("../../../testdata/", $name, ".txt")),
        )),*]
    };
}

const CASES: [(&str, &[u8], &str); 9] = cases![
    "single-v1",
    "single-v2",
    "single-hybrid",
    "folder-v1",
    "folder-v2",
    "folder-hybrid",
    "folder-hybrid-16k",
    "tiny-v2",
    "tiny-hybrid",
];

pub(crate) fn parsed() -> impl Iterator<Item = (&'static str, Metainfo, &'static str)> {
    CASES.iter().map(|(name, file, text)| {
        (*name, Metainfo::parse(&Bytes::from_static(file)).expect(name), *text)
    })
}

/// The made-up content of a file in the test data.
pub(crate) fn content(length: u64) -> Vec<u8> {
    (0..length).map(|i| ((i * 31 + i / 251 + length) % 256) as u8).collect()
}

/// Says of a title what testdata/make.py says.
fn describe(info: &Info) -> String {
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_string());
    let mut out = format!(
        "v1 {}\nv2 {}\npiece_length {}\npieces {}\n",
        or_dash(info.hashes.v1.map(|hash| hash.to_string())),
        or_dash(info.hashes.v2.map(|hash| hash.to_string())),
        info.layout.piece_length(),
        info.layout.piece_count(),
    );
    for file in &info.files {
        let root = or_dash(file.pieces_root.map(|root| root.to_string()));
        let folder = if info.folder { format!("{}/", info.name) } else { String::new() };
        let path = file.path.join("/");
        out += &format!("file {} {} {root} {folder}{path}\n", file.start, file.length);
    }
    out
}

#[test]
fn hashes_offsets_and_roots_are_those_libtorrent_finds() {
    for (name, meta, expect) in parsed() {
        assert_eq!(describe(&meta.info), expect, "{name}");
    }
}

#[test]
fn the_fields_around_the_info_dictionary_are_read() {
    for (name, meta, _) in parsed() {
        let tiers = [["http://tracker.example/announce"], ["udp://tracker.example:6969"]];
        assert_eq!(meta.trackers, tiers, "{name}");
        // libtorrent takes the slash off the address of a single file.
        let seed = meta.web_seeds.first().map(|seed| seed.trim_end_matches('/'));
        assert_eq!(seed, Some("http://seed.example/files"), "{name}");
        assert_eq!(meta.comment.as_deref(), Some("made for tests"));
        assert_eq!(meta.created_unix_s, Some(1_700_000_000));
        assert!(meta.created_by.is_some_and(|by| by.starts_with("libtorrent")));
    }
}

#[test]
fn piece_layers_are_there_for_every_file_longer_than_a_piece() {
    for (name, meta, _) in parsed().filter(|(_, meta, _)| meta.info.hashes.v2.is_some()) {
        let piece = u64::from(meta.info.layout.piece_length());
        let long = meta.info.files.iter().filter(|file| file.length > piece).count();
        assert_eq!(meta.piece_layers.len(), long, "{name}");
    }
}

#[test]
fn our_own_hashing_of_the_content_gives_the_same_roots_layers_and_piece_hashes() {
    for (name, meta, _) in parsed() {
        let info = &meta.info;
        for file in info.files.iter().filter(|_| info.hashes.v2.is_some()) {
            let mut hasher = FileHasher::new(file.length, info.layout.piece_length()).unwrap();
            content(file.length).chunks(10_007).for_each(|part| hasher.update(part));
            let tree = hasher.finish().unwrap();
            assert_eq!(tree.root, file.pieces_root, "{name}");
            if let Some((_, layer)) =
                meta.piece_layers.iter().find(|(root, _)| Some(*root) == tree.root)
            {
                assert_eq!(&layer[..], tree.piece_layer);
            }
        }
        let mut space = alloc::vec![0; info.layout.nominal_end() as usize];
        for file in info.files.iter().filter(|file| file.length > 0) {
            let start = file.start as usize;
            space[start..start + file.length as usize].copy_from_slice(&content(file.length));
        }
        for piece in info.layout.pieces().filter(|_| info.hashes.v1.is_some()) {
            let start = info.layout.start(piece) as usize;
            let data = info.layout.data_len(piece);
            let mut hasher = PieceHasher::new();
            hasher.update(&space[start..start + data as usize]);
            hasher.update_zeros(info.layout.nominal_len(piece) - data);
            assert_eq!(Some(hasher.finish()), info.piece_hash(piece), "{name}");
        }
    }
}

#[test]
fn the_data_of_all_pieces_is_the_bytes_of_all_files() {
    for (name, meta, _) in parsed() {
        assert_eq!(meta.info.layout.data_total(), meta.info.length(), "{name}");
        let sum: u64 =
            meta.info.layout.pieces().map(|p| u64::from(meta.info.layout.data_len(p))).sum();
        assert_eq!(sum, meta.info.length(), "{name}");
    }
}

#[test]
fn v2_and_hybrid_titles_have_the_same_geometry() {
    let find = |name: &str| parsed().find(|case| case.0 == name).expect("a case").1.info;
    let (v2, hybrid) = (find("folder-v2"), find("folder-hybrid"));
    assert_eq!(v2.files, hybrid.files);
    let lens =
        |info: &Info| info.layout.pieces().map(|p| info.layout.data_len(p)).collect::<Vec<_>>();
    assert_eq!(lens(&v2), lens(&hybrid));
}

/// The bytes of one of the torrents.
pub(super) fn raw(case: usize) -> &'static [u8] {
    CASES[case].1
}
