use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::{Document, Encoder, Kind, Limits, Value};
use crate::error::ErrorKind;

fn refused(input: &[u8]) -> ErrorKind {
    Document::parse(input, Limits::FILE).expect_err("must be refused").kind
}

#[test]
fn the_examples_of_bep_3_are_read() {
    let document = Document::parse(b"d3:cow3:moo4:spamli-3e4:eggsee", Limits::FILE).unwrap();
    let root = document.root();
    assert_eq!(root.get(b"cow").unwrap().as_str(), Some("moo"));
    let items: Vec<_> = root.get(b"spam").unwrap().items().collect();
    assert_eq!((items[0].as_i64(), items[0].as_u64()), (Some(-3), None));
    assert_eq!(items[1].as_bytes(), Some(&b"eggs"[..]));
    assert_eq!(root.get(b"spam").unwrap().raw(), b"li-3e4:eggse");
    assert_eq!(items[1].content_span(), Some(24..28));
    assert!(document.is_canonical());
    assert!(root.get(b"pig").is_none());
    assert_eq!(root.need("farm", "pig").unwrap_err().kind, ErrorKind::Missing("pig"));
}

#[test]
fn integers_reach_from_the_least_signed_to_the_greatest_unsigned() {
    let number = |text: &[u8]| Document::parse(text, Limits::FILE).map(|d| d.root().as_i128());
    assert_eq!(number(b"i0e"), Ok(Some(0)));
    assert_eq!(number(b"i18446744073709551615e"), Ok(Some(i128::from(u64::MAX))));
    assert_eq!(number(b"i-9223372036854775808e"), Ok(Some(i128::from(i64::MIN))));
    assert!(number(b"i18446744073709551616e").is_err());
    assert!(number(b"i-9223372036854775809e").is_err());
    assert!(number(b"i100000000000000000000000000000000000e").is_err());
}

#[test]
fn malformed_values_are_refused() {
    for text in [
        &b"i-0e"[..],
        b"i03e",
        b"i00e",
        b"ie",
        b"i-e",
        b"i+1e",
        b"i 1e",
        b"i1",
        b"i1.0e",
        b"03:abc",
        b"3abc",
        b"3:ab",
        b"-1:a",
        b"99999999999999999999:a",
        b"18446744073709551615:a",
        b"d",
        b"di1e1:ae",
        b"d1:ae",
        b"d1:ai1e",
        b"dl1:aei1ee",
        b"l",
        b"e",
        b"x",
        b"",
        b"li1ee1:a",
        b"i1ei2e",
    ] {
        assert!(Document::parse(text, Limits::FILE).is_err(), "{text:?}");
    }
    assert_eq!(refused(b"i1ei2e"), ErrorKind::Trailing);
    assert_eq!(refused(b"4:abc"), ErrorKind::Truncated);
}

#[test]
fn unsorted_keys_are_read_and_reported_but_duplicates_are_refused() {
    let document = Document::parse(b"d1:bi1e1:ai2ee", Limits::FILE).unwrap();
    assert!(!document.is_canonical());
    assert_eq!(document.root().get(b"a").unwrap().as_u64(), Some(2));
    let twice = ErrorKind::Invalid("the same key twice in one dictionary");
    assert_eq!(refused(b"d1:ai1e1:ai2ee"), twice);
    assert_eq!(refused(b"d1:ai1e1:bi1e1:ai2ee"), twice);
    assert_eq!(refused(b"ld1:bi1e1:cd1:bi1ee1:bi2eee"), twice);
    let nested = Document::parse(b"d1:ad1:bi1e1:ai2ee1:bi1ee", Limits::FILE).unwrap();
    assert!(!nested.is_canonical());
}

#[test]
fn limits_on_depth_tokens_and_bytes_hold() {
    let nest = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    assert!(Document::parse(&nest(64), Limits::FILE).is_ok());
    let deep = Limits { depth: 1000, ..Limits::FILE };
    assert!(Document::parse(&nest(65), deep).is_err());
    assert!(Document::parse(&nest(1_000_000), Limits::FILE).is_err());
    let few = Limits { tokens: 3, ..Limits::FILE };
    assert!(Document::parse(b"li1ei2ee", few).is_ok());
    let error = Document::parse(b"li1ei2ei3ee", few).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Limit { limit: 3, received: 4 });
    let short = Limits { bytes: 3, ..Limits::FILE };
    assert!(Document::parse(b"i1e", short).is_ok());
    assert!(Document::parse(b"i12e", short).is_err());
}

#[test]
fn a_prefix_leaves_the_bytes_behind_it() {
    let input = b"d8:msg_typei1e5:piecei0eeRAW";
    let (document, used) = Document::parse_prefix(input, Limits::MESSAGE).unwrap();
    assert_eq!(&input[used..], b"RAW");
    assert_eq!(document.root().get(b"msg_type").unwrap().as_u32(), Some(1));
}

#[test]
#[cfg(debug_assertions)]
#[should_panic(expected = "keys must ascend")]
fn the_writer_asserts_sorted_keys() {
    Encoder::new().dict(|dict| {
        dict.int(b"b", 1);
        dict.int(b"a", 1);
    });
}

/// A slow, obvious model of a value.
#[derive(Clone, Debug)]
enum Tree {
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(alloc::collections::BTreeMap<Vec<u8>, Self>),
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Tree::Number),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Tree::Bytes),
    ];
    leaf.prop_recursive(5, 64, 8, |inner| {
        let key = prop::collection::vec(any::<u8>(), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Tree::List),
            prop::collection::btree_map(key, inner, 0..8).prop_map(Tree::Dict),
        ]
    })
}

fn write(tree: &Tree, out: &mut Encoder) {
    let encoded = |tree: &Tree| {
        let mut out = Encoder::new();
        write(tree, &mut out);
        out.into_bytes()
    };
    match tree {
        Tree::Number(number) => out.int(*number),
        Tree::Bytes(bytes) => out.bytes(bytes),
        Tree::List(items) => {
            let inside: Vec<u8> = items.iter().flat_map(encoded).collect();
            out.raw(&[b"l", &inside[..], b"e"].concat());
        }
        Tree::Dict(entries) => {
            out.dict(|dict| entries.iter().for_each(|(key, tree)| dict.raw(key, &encoded(tree))));
        }
    }
}

fn same(tree: &Tree, value: Value<'_>) -> bool {
    match tree {
        Tree::Number(number) => value.as_i64() == Some(*number),
        Tree::Bytes(bytes) => value.as_bytes() == Some(bytes),
        Tree::List(items) => {
            value.is_list()
                && value.items().count() == items.len()
                && items.iter().zip(value.items()).all(|(tree, value)| same(tree, value))
        }
        Tree::Dict(entries) => {
            value.kind() == Kind::Dict
                && value.entries().count() == entries.len()
                && entries
                    .iter()
                    .zip(value.entries())
                    .all(|((key, tree), (name, value))| key == name && same(tree, value))
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_canonical_and_read_back(tree in tree()) {
        let mut out = Encoder::new();
        write(&tree, &mut out);
        let bytes = out.into_bytes();
        let document = Document::parse(&bytes, Limits::FILE).unwrap();
        prop_assert!(document.is_canonical());
        prop_assert!(same(&tree, document.root()));
        prop_assert_eq!(document.root().span(), 0..bytes.len());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(
        prop::sample::select(b"0123459:-ildeab\xff".to_vec()), 0..64))
    {
        if let Ok((document, used)) = Document::parse_prefix(&bytes, Limits::MESSAGE) {
            prop_assert!(used <= bytes.len());
            prop_assert_eq!(document.root().span().end, used);
        }
    }
}
