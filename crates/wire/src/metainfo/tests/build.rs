//! Titles of our own: read back, and the same as libtorrent makes from the same files.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{
    Info, Metainfo, TimeIndexRef, TitleExtras, TitleHashes, TitlePlan, Version,
    default_piece_length, time_index_path,
};
use super::foreign::{content, parsed};
use crate::bencode::{Document, Limits};
use crate::merkle::{FileHasher, PieceHasher};
use crate::slot::Slots;

/// Hashes made-up content for a plan.
fn hash(plan: &TitlePlan, content: impl Fn(u64) -> Vec<u8>) -> TitleHashes {
    let mut hashes = TitleHashes::default();
    let layout = plan.layout();
    let mut space = alloc::vec![0; layout.nominal_end() as usize];
    for file in plan.files() {
        let bytes = content(file.length);
        let mut hasher = FileHasher::new(file.length, layout.piece_length()).unwrap();
        hasher.update(&bytes);
        hashes.trees.push(hasher.finish().unwrap());
        if file.length > 0 {
            space[file.start as usize..(file.start + file.length) as usize].copy_from_slice(&bytes);
        }
    }
    for piece in layout.pieces() {
        let start = layout.start(piece) as usize;
        let mut hasher = PieceHasher::new();
        hasher.update(&space[start..start + layout.nominal_len(piece) as usize]);
        hashes.pieces.extend_from_slice(&hasher.finish().0);
    }
    hashes
}

fn version_of(info: &Info) -> Version {
    match (info.hashes.v1, info.hashes.v2) {
        (Some(_), None) => Version::V1,
        (None, _) => Version::V2,
        (Some(_), Some(_)) => Version::Hybrid,
    }
}

#[test]
fn from_the_same_files_we_make_what_libtorrent_makes() {
    // v1 alone has no order of files: libtorrent takes that of the folder on disk.
    for (name, foreign, _) in parsed().filter(|case| case.0 != "folder-v1") {
        let info = &foreign.info;
        let files: Vec<_> =
            info.files.iter().rev().map(|file| (file.path.clone(), file.length)).collect();
        let version = version_of(info);
        let plan =
            TitlePlan::new(&info.name, info.folder, &files, info.layout.piece_length(), version)
                .unwrap();
        let meta = plan.finish(&hash(&plan, content), &TitleExtras::default()).unwrap();
        let lens = |info: &Info| {
            info.layout.pieces().map(|piece| info.layout.data_len(piece)).collect::<Vec<_>>()
        };
        assert_eq!(lens(&meta.info), lens(info), "{name}");
        // In hybrids of several files libtorrent also pads the last file, which BEP 52 does not ask for.
        let padded_end = info.layout.nominal_end() > meta.info.layout.nominal_end();
        let same = info.piece_hashes.len() - if padded_end { 20 } else { 0 };
        assert_eq!(meta.info.piece_hashes[..same], info.piece_hashes[..same], "{name}");
        let mut ours = meta.piece_layers.clone();
        let mut theirs = foreign.piece_layers.clone();
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs, "{name}");
        let strip = |info: &Info| {
            info.files.iter().map(|f| (f.path.clone(), f.length, f.pieces_root)).collect::<Vec<_>>()
        };
        assert_eq!(strip(&meta.info), strip(info), "{name}");
        // Where libtorrent writes no more than we do, the whole dictionary is the same.
        if !info.folder && version == Version::V2 {
            assert_eq!(meta.info.hashes, info.hashes, "{name}");
        }
    }
}

#[test]
fn what_the_publisher_says_is_read_back_with_file_numbers_of_the_title() {
    let path = |text: &str| text.split('/').map(String::from).collect::<Vec<_>>();
    let film = path("z/film.mp4");
    let files = [(time_index_path(&film), 300), (film, 40_000), (path("a.txt"), 0)];
    let plan = TitlePlan::new("My title", true, &files, 16_384, Version::Hybrid).unwrap();
    let sources: Vec<_> = plan.files().iter().map(|file| file.source).collect();
    assert_eq!(sources, [2, 1, 0]);
    let extras = TitleExtras {
        private: true,
        published_unix_ms: 1_700_000_000_123,
        slot_ms: 30_000,
        time_indexes: alloc::vec![TimeIndexRef { film: 1, index: 0 }],
        trackers: alloc::vec![alloc::vec![
            "http://a/announce".to_string(),
            "udp://b:1".to_string()
        ]],
        web_seeds: alloc::vec!["http://w/".to_string()],
        comment: Some("hello".to_string()),
        created_by: Some("test".to_string()),
        created_unix_s: Some(5),
    };
    let meta = plan.finish(&hash(&plan, content), &extras).unwrap();
    assert_eq!(meta.info.slots, Slots::new(1_700_000_000_123, 30_000));
    assert_eq!(meta.info.time_indexes, [TimeIndexRef { film: 1, index: 2 }]);
    assert_eq!(meta.info.files[2].path, ["~shoal", "z", "film.mp4.index"]);
    assert!(meta.info.private);
    assert_eq!((&meta.trackers, &meta.web_seeds), (&extras.trackers, &extras.web_seeds));
    assert_eq!((&meta.comment, &meta.created_by), (&extras.comment, &extras.created_by));
    assert_eq!(meta.created_unix_s, Some(5));
}

#[test]
fn wrong_hashes_and_impossible_titles_are_refused() {
    let files = [(alloc::vec!["film".to_string()], 100_000)];
    let plan = |piece, version| TitlePlan::new("film", false, &files, piece, version);
    for piece in [0, 8192, 20_000, 1 << 29] {
        assert!(plan(piece, Version::Hybrid).is_err());
    }
    assert!(TitlePlan::new("n", true, &[], 16_384, Version::V1).is_err());
    assert!(TitlePlan::new("n", false, &[], 16_384, Version::V1).is_err());
    assert!(TitlePlan::new("n", false, &[(Vec::new(), 0)], 16_384, Version::V2).is_err());
    let plan = plan(16_384, Version::Hybrid).unwrap();
    let good = hash(&plan, content);
    let extras = TitleExtras::default();
    assert!(plan.finish(&good, &extras).is_ok());
    let mut few = good.clone();
    few.pieces.truncate(20);
    assert!(plan.finish(&few, &extras).is_err());
    let mut wrong = good.clone();
    wrong.trees[0].piece_layer[5] ^= 1;
    assert!(plan.finish(&wrong, &extras).is_err());
    assert!(plan.finish(&TitleHashes { trees: Vec::new(), ..good }, &extras).is_err());
}

#[test]
fn piece_lengths_grow_with_the_title() {
    const MIB: u64 = 1 << 20;
    let lens = [1, MIB, 1024 * MIB, 1025 * MIB, 4096 * MIB, 5000 * MIB, 1 << 50, u64::MAX]
        .map(|total| u64::from(default_piece_length(total)) / 1024);
    assert_eq!(lens, [256, 256, 256, 512, 1024, 2048, 16_384, 16_384]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_plan_is_written_canonically_and_read_back_as_planned(
        lengths in prop::collection::vec(0u64..70_000, 1..6),
        names in prop::collection::vec(prop::collection::vec("[ab.~]{0,2}", 1..3), 6),
        version in prop::sample::select(alloc::vec![Version::V1, Version::V2, Version::Hybrid]))
    {
        let files: Vec<_> = lengths.iter().zip(names).map(|(length, path)| (path, *length)).collect();
        let Ok(plan) = TitlePlan::new("title", true, &files, 32_768, version) else {
            prop_assert!(lengths.iter().all(|length| *length == 0));
            return Ok(());
        };
        let meta = plan.finish(&hash(&plan, content), &TitleExtras::default()).unwrap();
        let bytes = Bytes::from(meta.encode());
        prop_assert!(Document::parse(&bytes, Limits::FILE).unwrap().is_canonical());
        prop_assert_eq!(&Metainfo::parse(&bytes).unwrap(), &meta);
        prop_assert_eq!(&meta.info.layout, plan.layout());
        prop_assert_eq!(meta.info.length(), lengths.iter().sum::<u64>());
        for (file, planned) in meta.info.files.iter().zip(plan.files()) {
            prop_assert_eq!(&file.path, &planned.path);
            prop_assert!(file.length == 0 || file.start == planned.start);
        }
    }
}
