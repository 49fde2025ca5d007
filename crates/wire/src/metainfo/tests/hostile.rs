//! Info dictionaries that must be refused, and odd ones that must not.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{Info, Metainfo, TimeIndexRef};
use crate::DecodeError;
use crate::bencode::Encoder;
use crate::slot::{SLOT_MS, Slots};

fn info(text: &str) -> Result<Info, DecodeError> {
    Info::parse(&Bytes::from(text.as_bytes().to_vec()))
}

fn pieces(count: usize) -> String {
    format!("{}:{}", count * 20, "x".repeat(count * 20))
}

/// A v1 title of these `files` entries, 16 KiB pieces.
fn listed(files: &str, count: usize) -> Result<Info, DecodeError> {
    info(&format!("d5:filesl{files}e4:name1:n12:piece lengthi16384e6:pieces{}e", pieces(count)))
}

fn file(length: u64, name: &str) -> String {
    format!("d6:lengthi{length}e4:pathl{}:{name}ee", name.len())
}

fn pad(length: u64) -> String {
    format!("d4:attr1:p6:lengthi{length}e4:pathl4:.pad1:0ee")
}

#[test]
fn a_plain_v1_title_is_read() {
    let info =
        info(&format!("d6:lengthi20000e4:name4:film12:piece lengthi16384e6:pieces{}e", pieces(2)));
    let info = info.unwrap();
    assert_eq!((info.folder, info.files.len(), info.length()), (false, 1, 20_000));
    assert_eq!(info.files[0].path, ["film"]);
    assert_eq!(info.layout.data_len(info.layout.piece(1).unwrap()), 20_000 - 16_384);
}

#[test]
fn dictionaries_outside_the_limits_are_refused() {
    let single = |length: &str, piece: &str, pieces: &str| {
        info(&format!("d6:lengthi{length}e4:name1:n12:piece lengthi{piece}e6:pieces{pieces}e"))
    };
    assert!(single("1", "16384", &pieces(1)).is_ok());
    assert!(single("1", "20000", &pieces(1)).is_ok(), "v1 pieces need no power of two");
    for (length, piece, list) in [
        ("0", "16384", pieces(0)),
        ("-1", "16384", pieces(1)),
        ("1", "0", pieces(1)),
        ("1", "-16384", pieces(1)),
        ("1", "16383", pieces(1)),
        ("1", "268435457", pieces(1)),
        ("1", "18446744073709551615", pieces(1)),
        ("1", "16384", pieces(2)),
        ("16385", "16384", pieces(1)),
        ("1", "16384", "19:xxxxxxxxxxxxxxxxxxx".into()),
        ("1", "16384", "0:".into()),
        ("1", "16384", "i1e".into()),
        ("18446744073709551615", "16384", pieces(1)),
        ("9223372036854775807", "268435456", pieces(1)),
    ] {
        assert!(single(length, piece, &list).is_err(), "{length} {piece}");
    }
    for text in ["de", "i1e", "le", "d4:name1:ne", "d4:name1:n12:piece lengthi16384e6:pieces0:e"] {
        assert!(info(text).is_err(), "{text}");
    }
}

#[test]
fn lengths_that_overflow_together_are_refused() {
    let huge =
        file(1 << 62, "a") + &file(1 << 62, "b") + &file(u64::MAX, "c") + &file(u64::MAX, "d");
    assert!(listed(&huge, 1).is_err());
    assert!(listed("", 0).is_err());
    assert!(listed(&file(0, "empty"), 0).is_err());
    assert!(listed(&pad(100), 1).is_err(), "padding alone is no title");
}

#[test]
fn a_v2_dictionary_cannot_claim_more_pieces_than_the_limit() {
    let claim = |length: u64| {
        let root = "r".repeat(32);
        info(&format!(
            "d9:file treed1:nd0:d6:lengthi{length}e11:pieces root32:{root}eee12:meta versioni2e4:name1:n\
             12:piece lengthi16384ee"
        ))
    };
    assert_eq!(claim(16_384 << 22).map(|info| info.layout.piece_count()), Ok(1 << 22));
    assert!(claim((16_384 << 22) + 1).is_err());
    assert!(claim(u64::MAX).is_err());
}

#[test]
fn padding_at_the_end_of_a_piece_is_left_out_and_padding_inside_is_data() {
    let files =
        file(100, "a") + &pad(16_284) + &file(50, "b") + &pad(20) + &file(30, "c") + &pad(40_000);
    let info = listed(&files, 4).unwrap();
    let data: Vec<u32> = info.layout.pieces().map(|piece| info.layout.data_len(piece)).collect();
    assert_eq!(data, [100, 100, 0, 0]);
    assert_eq!(info.layout.data_total(), 200);
    let at = |offset| info.file_at(offset).map(|(index, _)| index);
    assert_eq!(
        (at(99), at(100), at(16_384), at(16_434), at(16_454)),
        (Some(0), None, Some(1), None, Some(2))
    );
    assert_eq!(info.files.len(), 3);
}

#[test]
fn symbolic_links_are_dropped() {
    let link = "d4:attr1:l6:lengthi0e4:pathl1:le12:symlink pathl2:..2:..3:etcee";
    let info = listed(&(file(5, "a") + link), 1).unwrap();
    assert_eq!(info.files.len(), 1);
}

fn hybrid(files: &str, tree: &str, count: usize) -> Result<Info, DecodeError> {
    info(&format!(
        "d9:file treed{tree}e5:filesl{files}e12:meta versioni2e4:name1:n12:piece lengthi16384e6:pieces{}e",
        pieces(count)
    ))
}

fn leaf(name: &str, length: u64) -> String {
    let root = "r".repeat(32);
    format!("{}:{name}d0:d6:lengthi{length}e11:pieces root32:{root}ee", name.len())
}

#[test]
fn a_hybrid_whose_lists_differ_is_refused() {
    let tree = leaf("a", 100) + &leaf("b", 20_000);
    let files = file(100, "a") + &pad(16_284) + &file(20_000, "b");
    assert_eq!(hybrid(&files, &tree, 3).map(|info| info.files.len()), Ok(2));
    let padded_end = files.clone() + &pad(12_768);
    assert!(hybrid(&padded_end, &tree, 3).is_ok());
    for (files, tree, count) in [
        (file(100, "a") + &file(20_000, "b"), tree.clone(), 2),
        (file(100, "a") + &pad(16_284), tree.clone(), 1),
        (file(100, "a") + &pad(16_284) + &file(19_999, "b"), tree.clone(), 3),
        (file(100, "a") + &pad(16_284) + &file(20_000, "c"), tree.clone(), 3),
        (file(100, "a") + &pad(16_284 + 16_384) + &file(20_000, "b"), tree.clone(), 4),
        (file(20_000, "b") + &pad(12_768) + &file(100, "a"), tree.clone(), 3),
        (files.clone(), leaf("a", 100), 3),
        (padded_end + &pad(16_384), tree.clone(), 4),
    ] {
        assert!(hybrid(&files, &tree, count).is_err(), "{files}");
    }
}

#[test]
fn malformed_trees_are_refused() {
    let root = "r".repeat(32);
    let only = |tree: &str| {
        info(&format!("d9:file treed{tree}e12:meta versioni2e4:name1:n12:piece lengthi16384ee"))
    };
    assert!(only(&leaf("a", 1)).is_ok());
    for tree in [
        String::new(),
        "1:ai1e".into(),
        "0:d6:lengthi1ee".into(),
        "1:ad0:d6:lengthi1eee".into(),
        "1:ad0:d6:lengthi1e11:pieces root5:shortee".into(),
        format!("1:ad0:d11:pieces root32:{root}ee"),
        format!("1:ad0:d6:lengthi1e11:pieces root32:{root}e1:bdee"),
        format!("1:ad0:d4:attr1:p6:lengthi1e11:pieces root32:{root}ee"),
        format!("{}{}{}", "1:ad".repeat(55), leaf("x", 1), "e".repeat(55)),
    ] {
        assert!(only(&tree).is_err(), "{tree}");
    }
    assert!(
        info("d9:file treed1:ad0:d6:lengthi0eee12:meta versioni3e4:name1:n12:piece lengthi16384ee")
            .is_err()
    );
}

#[test]
fn a_deep_tree_cannot_multiply_its_names_into_memory() {
    let name = "n".repeat(250);
    let folder = format!("250:{name}d");
    let leaves: String = (100_000..140_000).map(|i| leaf(&format!("{i}"), 1)).collect();
    let tree = format!("{}{leaves}{}", folder.repeat(40), "e".repeat(40));
    let text = format!("d9:file treed{tree}e12:meta versioni2e4:name1:n12:piece lengthi16384ee");
    assert!(info(&text).is_err());
}

#[test]
fn unsorted_dictionaries_are_hashed_as_they_came() {
    let text = format!("d4:name1:n6:lengthi1e6:pieces{}12:piece lengthi16384ee", pieces(1));
    let info = info(&text).unwrap();
    assert_eq!(&info.raw[..], text.as_bytes());
}

#[test]
fn our_own_keys_are_read_and_nonsense_in_them_is_left_out() {
    let text = format!(
        "d5:filesl{}{}e4:name1:n12:piece lengthi16384e6:pieces{}\
         5:shoald5:indexlli0ei1eeli0ei7eeli1ei1eei5eli-1ei0eee9:publishedi1700000000000eee",
        file(5, "a"),
        file(5, "b"),
        pieces(1)
    );
    let info = info(&text).unwrap();
    assert_eq!(info.slots, Slots::new(1_700_000_000_000, SLOT_MS));
    assert_eq!(info.time_indexes, [TimeIndexRef { film: 0, index: 1 }]);
}

fn torrent(extra: impl FnOnce(&mut crate::bencode::DictEncoder<'_>)) -> Bytes {
    let info = format!("d6:lengthi1e4:name1:n12:piece lengthi16384e6:pieces{}e", pieces(1));
    let mut out = Encoder::new();
    out.dict(|dict| {
        extra(dict);
        dict.raw(b"info", info.as_bytes());
    });
    out.into_bytes().into()
}

#[test]
fn a_single_tracker_stands_where_there_is_no_list() {
    let meta = Metainfo::parse(&torrent(|dict| dict.bytes(b"announce", b"http://t/a"))).unwrap();
    assert_eq!(meta.trackers, [["http://t/a"]]);
    let both = torrent(|dict| {
        dict.bytes(b"announce", b"http://t/a");
        dict.list(b"announce-list", |tiers| {
            tiers.list(|tier| {
                tier.bytes(b"udp://b:1");
                tier.bytes(b"bad \xff");
            });
            tiers.list(|_| {});
        });
    });
    assert_eq!(Metainfo::parse(&both).unwrap().trackers, [["udp://b:1"]]);
}

#[test]
fn white_space_behind_a_torrent_is_ignored_and_other_bytes_are_not() {
    let file = torrent(|_| {});
    assert!(Metainfo::parse(&[&file[..], b"\r\n"].concat().into()).is_ok());
    assert!(Metainfo::parse(&[&file[..], b"x"].concat().into()).is_err());
}

#[test]
fn a_piece_layer_that_does_not_lead_to_its_root_is_refused() {
    let good = include_bytes!("../../../testdata/single-v2.torrent");
    let at = good.windows(14).position(|window| window == b"12:piece layer").unwrap();
    let mut bad = good.to_vec();
    bad[at + 80] ^= 1;
    assert!(Metainfo::parse(&Bytes::from_static(good)).is_ok());
    assert!(Metainfo::parse(&bad.into()).is_err());
}

proptest! {
    #[test]
    fn changed_torrents_never_panic(
        case in 0usize..9, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4))
    {
        let mut file = super::foreign::raw(case).to_vec();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        if let Ok(meta) = Metainfo::parse(&file.into()) {
            prop_assert!(meta.info.layout.data_total() >= meta.info.length());
            prop_assert!(meta.info.layout.piece_count() > 0);
        }
    }
}
