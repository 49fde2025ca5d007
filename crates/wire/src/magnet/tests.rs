use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;

use super::*;

const V1: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
const V2: &str = "cafebabecafebabecafebabecafebabecafebabecafebabecafebabecafebabe";

fn parse(rest: &str) -> Magnet {
    Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}{rest}")).unwrap()
}

#[test]
fn a_link_of_both_versions_is_read_and_written() {
    let text = format!(
        "magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{V2}&dn=A%20film%20%26%20more&tr=udp%3A%2F%2Ft.example%3A6969\
         &tr=http%3A%2F%2Ft.example%2Fa%3Fk%3Dv&ws=http%3A%2F%2Fw.example%2F&x.pe=10.0.0.1:6881&x.pe=[::1]:7\
         &x.pe=peer.example:80&so=0,2,4-6"
    );
    let magnet = Magnet::parse(&text).unwrap();
    assert_eq!(magnet.hashes, InfoHashes { v1: Hash20::from_hex(V1), v2: Hash32::from_hex(V2) });
    assert_eq!(magnet.name.as_deref(), Some("A film & more"));
    assert_eq!(magnet.trackers, ["udp://t.example:6969", "http://t.example/a?k=v"]);
    assert_eq!(magnet.web_seeds, ["http://w.example/"]);
    assert_eq!(magnet.peers, ["10.0.0.1:6881".parse().unwrap(), "[::1]:7".parse().unwrap()]);
    assert_eq!(magnet.peer_names, [("peer.example".to_string(), 80)]);
    assert_eq!(magnet.select, [(0, 0), (2, 2), (4, 6)]);
    assert!(magnet.selects(5) && !magnet.selects(3));
    assert_eq!(magnet.to_string(), text);
}

#[test]
fn info_hashes_are_read_in_hex_of_either_case_and_in_base32() {
    // c12fe1c0... in base32, RFC 4648.
    let base32 = "YEX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK";
    for form in [V1.to_string(), V1.to_uppercase(), base32.into(), base32.to_lowercase()] {
        let magnet = Magnet::parse(&format!("MAGNET:?XT=URN:BTIH:{form}")).unwrap();
        assert_eq!(magnet.hashes.v1, Hash20::from_hex(V1), "{form}");
    }
}

#[test]
fn links_without_a_sound_info_hash_are_refused() {
    let zeros = "0".repeat(64);
    for text in [
        "",
        "magnet:",
        "magnet:?",
        "magnet:?dn=name",
        "http://example/",
        "magnet:?xt=urn:btih:",
        "magnet:?xt=urn:btih:c12fe1",
        "magnet:?xt=urn:btih:g12fe1c06bba254a9dc9f519b335aa7c1367a88a",
        "magnet:?xt=urn:btih:0EX6DQDLXISUVHOJ6UM3GNNKPQJWPKEK",
        "magnet:?xt=urn:btmh:1220cafe",
        &format!("magnet:?xt=urn:btmh:1320{V2}"),
        &format!("magnet:?xt=urn:btmh:{V2}"),
        &format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{}", &zeros[..40]),
        &format!("magnet:?xt=urn:sha1:{V1}"),
        &format!("magnet:?xt=urn:btih:{V1}&dn={}", "x".repeat(MAX_LINK_BYTES)),
    ] {
        assert!(Magnet::parse(text).is_err(), "{text}");
    }
    // The same one twice is no contradiction.
    assert!(Magnet::parse(&format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{V1}")).is_ok());
}

#[test]
fn what_is_broken_besides_the_hash_is_left_out() {
    let magnet = parse(
        "&tr=&tr=bad%20url&tr=http%3A%2F%2Fa&tr.1=http%3A%2F%2Fb&tr=http%3A%2F%2Fa&tr=%FF&x.pe=nonsense\
         &x.pe=host:0&x.pe=host:99999&x.pe=ho%2Fst:1&x.pe=1.2.3.4:0&so=5-3,x,+1,-2,7,8,&dn=%1B%E2%80%AEname&dn=two&zz#frag",
    );
    assert_eq!(magnet.trackers, ["http://a", "http://b"]);
    assert!(magnet.peers.is_empty() && magnet.peer_names.is_empty());
    assert_eq!(magnet.select, [(7, 8)]);
    assert_eq!(magnet.name.as_deref(), Some("name"));
}

#[test]
fn lists_in_a_link_have_limits() {
    let many: String =
        (0..900).map(|i| format!("&tr=http://t{i}&x.pe=10.0.0.1:{}", i + 1)).collect();
    let magnet = parse(&many);
    assert_eq!((magnet.trackers.len(), magnet.peers.len()), (MAX_URLS, MAX_URLS));
}

#[test]
fn percent_signs_without_digits_stand_for_themselves() {
    assert_eq!(percent_decode("a%2Gb%+c%41%"), b"a%2Gb% cA%");
}

#[test]
fn a_pasted_link_is_recognised_by_its_form() {
    let magnet = |text: &str| match Link::parse(text) {
        Ok(Link::Magnet(magnet)) => magnet.hashes,
        other => panic!("{other:?}"),
    };
    assert_eq!(magnet(&format!(" {V1}\n")).v1, Hash20::from_hex(V1));
    assert_eq!(magnet(&V2.to_uppercase()).v2, Hash32::from_hex(V2));
    assert_eq!(magnet(&format!("magnet:?xt=urn:btih:{V1}")).v2, None);
    assert_eq!(Link::parse("https://a/b.torrent"), Ok(Link::Url("https://a/b.torrent".into())));
    assert_eq!(Link::parse("./a b.torrent"), Ok(Link::File("./a b.torrent".into())));
    assert_eq!(Link::parse(&V1[1..]), Ok(Link::File(V1[1..].into())));
    for bad in ["", "  ", "magnet:?xt=urn:btih:1", "http://a b"] {
        assert!(Link::parse(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        v1 in any::<Option<[u8; 20]>>(), v2 in any::<[u8; 32]>(), name in "[^\\p{C}\\p{Z}]{1,40}",
        trackers in prop::collection::btree_set("(http|udp)://[!-~]{1,30}", 0..4),
        peers in prop::collection::btree_set(any::<([u8; 16], u16)>(), 0..4),
        files in prop::collection::vec(any::<(u32, u16)>(), 0..5))
    {
        let mut magnet = Magnet {
            hashes: InfoHashes { v1: v1.map(Hash20), v2: Some(Hash32(v2)) },
            name: Some(display_text(name.as_bytes(), 255)).filter(|name| !name.is_empty()),
            trackers: trackers.into_iter().collect(),
            peers: peers.into_iter().map(|(ip, port)| (ip, port.max(1)).into()).collect(),
            ..Magnet::default()
        };
        let ranges: Vec<String> =
            files.iter().map(|(first, more)| format!("{first}-{}", first.saturating_add(u32::from(*more)))).collect();
        magnet.take_selection(ranges.join(",").as_bytes());
        prop_assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
    }

    #[test]
    fn arbitrary_links_never_panic(text in "(magnet:\\?)?([xtdnrpeso.]{2,4}=[%0-9a-fé:/+,-]{0,20}&){0,6}\\PC{0,20}") {
        let _ = Magnet::parse(&text);
        let _ = Link::parse(&text);
    }
}
