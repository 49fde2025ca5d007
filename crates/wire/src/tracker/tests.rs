use alloc::string::ToString;
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use proptest::prelude::*;

use super::http::{
    AnnounceQuery, HttpAnswer, PeerForm, Retry, announce_url, decode_announce, decode_scrape,
    encode_announce, encode_failure, encode_scrape, parse_announce, parse_scrape, scrape_url,
};
use super::*;

fn example() -> Announce {
    Announce {
        info_hash: Hash20(
            *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
        ),
        peer_id: PeerId(*b"-SH0100-~._0+/ \0abcd"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 0xbeef,
        num_want: Some(80),
    }
}

#[test]
fn an_announce_url_escapes_bytes_and_keeps_the_query_of_the_tracker() {
    let url = announce_url("http://t.example/announce?pass=1#x", &example());
    // The escaped info-hash is the example of BEP 3's companion texts.
    let expected = "http://t.example/announce?pass=1&\
        info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-SH0100-~._0%2B%2F%20%00abcd\
        &port=6881&uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1&key=0000BEEF&numwant=80\
        &event=started";
    assert_eq!(url, expected);
    let (_, query) = url.split_once('?').expect("a query");
    let expected = AnnounceQuery { announce: example(), form: PeerForm::Compact };
    assert_eq!(parse_announce(query), Ok(expected.clone()));
    // Addresses that a client claims are nobody's business (BEP 7).
    let claims = alloc::format!("{query}&ip=192.0.2.1&ipv4=192.0.2.1%3A53&ipv6=2001%3Adb8%3A%3A1");
    assert_eq!(parse_announce(&claims), Ok(expected));
}

#[test]
fn a_scrape_url_exists_only_beside_announce() {
    let hash = Hash20(*b"aaaaaaaaaaaaaaaaaaaa");
    for (tracker, expected) in [
        ("http://e.com/announce", Some("http://e.com/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa")),
        ("http://e.com/x/announce", Some("http://e.com/x/scrape?info_hash=aaaaaaaaaaaaaaaaaaaa")),
        (
            "http://e.com/announce.php",
            Some("http://e.com/scrape.php?info_hash=aaaaaaaaaaaaaaaaaaaa"),
        ),
        ("http://e.com/a", None),
        (
            "http://e.com/announce?x2=4",
            Some("http://e.com/scrape?x2=4&info_hash=aaaaaaaaaaaaaaaaaaaa"),
        ),
        ("http://e.com/x%064announce", None),
    ] {
        assert_eq!(scrape_url(tracker, &[hash]).as_deref(), expected, "{tracker}");
    }
}

#[test]
fn compact_and_dictionary_answers_are_read() {
    let compact = b"d8:completei2e11:external ip4:\x01\x02\x03\x0410:incompletei1e8:intervali900e\
        12:min intervali60e5:peers12:\x7f\0\0\x01\x1a\xe1\x0a\0\0\x02\x1a\xe26:peers6\
        18:\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x1a\xe115:warning message4:old!e";
    let Ok(HttpAnswer::Success(answer)) = decode_announce(compact) else { panic!("an answer") };
    let expected: Vec<SocketAddr> = ["127.0.0.1:6881", "10.0.0.2:6882", "[2001:db8::1]:6881"]
        .map(|addr| addr.parse().expect("an address"))
        .to_vec();
    assert_eq!(answer.peers, expected);
    assert_eq!((answer.interval_s, answer.min_interval_s), (900, Some(60)));
    assert_eq!((answer.complete, answer.incomplete), (Some(2), Some(1)));
    assert_eq!(answer.external_ip, Some(IpAddr::from([1, 2, 3, 4])));
    assert_eq!(answer.warning.as_deref(), Some("old!"));

    let dictionary = b"d8:intervali900e5:peersld2:ip9:127.0.0.17:peer id20:aaaaaaaaaaaaaaaaaaaa\
        4:porti6881eed2:ip9:localhost4:porti1eed2:ip3:::14:porti70000eeee";
    let Ok(HttpAnswer::Success(answer)) = decode_announce(dictionary) else { panic!("an answer") };
    assert_eq!(answer.peers, expected[..1]);
}

#[test]
fn a_refusal_tells_its_reason_and_when_to_ask_again() {
    let body = encode_failure("go\naway", Some(Retry::Never));
    assert_eq!(body, b"d14:failure reason7:go\naway8:retry in5:nevere");
    let reason = "goaway".to_string();
    let expected = HttpAnswer::Failure { reason: reason.clone(), retry: Some(Retry::Never) };
    assert_eq!(decode_announce(&body), Ok(expected));
    let body = encode_failure(&reason, Some(Retry::Minutes(5)));
    let expected = HttpAnswer::Failure { reason, retry: Some(Retry::Minutes(5)) };
    assert_eq!(decode_scrape(&body), Ok(expected));
    assert!(decode_announce(b"<html>busy</html>").is_err());
    assert!(decode_announce(b"le").is_err());
}

#[test]
fn queries_of_foreign_clients_are_read() {
    let query = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A\
        &peer_id=A2-1-36-0-abcdefghij&port=6881&left=0&event=paused&compact=0&key=AbCdEfGh\
        &supportcrypto=1&ipv4=10.0.0.1:7000&ip=nonsense&numwant=-1&corrupt";
    let query = parse_announce(query).expect("readable");
    assert_eq!(query.announce.info_hash, example().info_hash);
    assert_eq!((query.announce.left, query.announce.num_want), (0, None));
    assert_eq!((query.announce.event, query.form), (AnnounceEvent::None, PeerForm::Dictionary));
    for broken in ["", "info_hash=abc&peer_id=aaaaaaaaaaaaaaaaaaaa&port=1", "info_hash=%&port=1"] {
        assert!(parse_announce(broken).is_err(), "{broken}");
    }
}

#[test]
fn datagrams_have_the_layout_of_bep_15() {
    let connect = UdpTracker::Connect { transaction: 0x0102_0304 };
    assert_eq!(connect.encode(false), b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\x01\x02\x03\x04");
    let announce = UdpTracker::Announce {
        connection: 7,
        transaction: 9,
        announce: Announce { num_want: None, ..example() },
        url_data: "/announce?a=b".to_string(),
    };
    let bytes = announce.encode(false);
    assert_eq!(bytes.len(), 98 + 2 + 13);
    assert_eq!(&bytes[..16], b"\0\0\0\0\0\0\0\x07\0\0\0\x01\0\0\0\x09");
    assert_eq!(
        &bytes[56..98],
        b"\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x01\
        \0\0\0\x02\0\0\0\0\0\0\xbe\xef\xff\xff\xff\xff\x1a\xe1"
    );
    assert_eq!(&bytes[98..], b"\x02\x0d/announce?a=b");
    let answer = b"\0\0\0\x01\0\0\0\x09\0\0\x03\x84\0\0\0\x01\0\0\0\x02\x7f\0\0\x01\x1a\xe1\x0a";
    let Ok(UdpTracker::Announced { transaction: 9, answer }) =
        UdpTracker::decode_answer(answer, false)
    else {
        panic!("an answer")
    };
    assert_eq!(answer.peers, [SocketAddr::from(([127, 0, 0, 1], 6881))]);
    assert_eq!((answer.incomplete, answer.complete), (Some(1), Some(2)));
}

#[test]
fn options_that_are_not_url_data_are_stepped_over() {
    let mut bytes = UdpTracker::Announce {
        connection: 7,
        transaction: 9,
        announce: example(),
        url_data: "/a".to_string(),
    }
    .encode(false);
    bytes.splice(98..98, *b"\x01\x63\x02xx");
    bytes.extend(b"\x02\x02?b\x00\x02\x02no");
    let Ok(UdpTracker::Announce { url_data, .. }) = UdpTracker::decode_request(&bytes) else {
        panic!("an announce")
    };
    assert_eq!(url_data, "/a?b");
}

#[test]
fn a_connect_request_without_the_magic_number_is_refused() {
    assert!(UdpTracker::decode_request(&[0; 16]).is_err());
}

fn any_announce() -> impl Strategy<Value = Announce> {
    let event = prop_oneof![
        Just(AnnounceEvent::None),
        Just(AnnounceEvent::Started),
        Just(AnnounceEvent::Stopped),
        Just(AnnounceEvent::Completed),
    ];
    let num_want = proptest::option::of(0..=i32::MAX as u32);
    (any::<([u8; 20], [u8; 20], u16, [u64; 3], u32)>(), event, num_want).prop_map(
        |((info_hash, peer_id, port, [uploaded, downloaded, left], key), event, num_want)| {
            let (info_hash, peer_id) = (Hash20(info_hash), PeerId(peer_id));
            Announce { info_hash, peer_id, port, uploaded, downloaded, left, event, key, num_want }
        },
    )
}

fn any_answer() -> impl Strategy<Value = AnnounceAnswer> {
    let peers = proptest::collection::vec(any::<(IpAddr, u16)>(), 0..20);
    let warning = proptest::option::of("[ -~]{1,256}");
    (any::<(u32, [Option<u32>; 3], Option<IpAddr>)>(), peers, warning).prop_map(
        |((interval_s, [min_interval_s, complete, incomplete], external_ip), peers, warning)| {
            let mut peers: Vec<_> = peers.into_iter().map(SocketAddr::from).collect();
            peers.sort_by_key(SocketAddr::is_ipv6);
            AnnounceAnswer {
                interval_s,
                min_interval_s,
                complete,
                incomplete,
                peers,
                external_ip,
                warning,
            }
        },
    )
}

fn any_counts() -> impl Strategy<Value = ScrapeCounts> {
    any::<[u32; 3]>().prop_map(|[complete, downloaded, incomplete]| ScrapeCounts {
        complete,
        downloaded,
        incomplete,
    })
}

proptest! {
    #[test]
    fn http_announces_and_answers_survive(
        announce in any_announce(),
        answer in any_answer(),
        counts in proptest::collection::btree_map(any::<[u8; 20]>(), any_counts(), 0..20),
    ) {
        let url = announce_url("http://t/announce", &announce);
        let (_, query) = url.split_once('?').expect("a query");
        prop_assert_eq!(parse_announce(query).map(|query| query.announce), Ok(announce));
        for form in [PeerForm::Compact, PeerForm::Dictionary] {
            let body = encode_announce(&answer, form);
            prop_assert_eq!(decode_announce(&body), Ok(HttpAnswer::Success(answer.clone())));
        }
        let counts: Vec<_> = counts.into_iter().map(|(hash, c)| (Hash20(hash), c)).collect();
        let mut asked: Vec<_> = counts.iter().map(|entry| entry.0).collect();
        let url = scrape_url("http://t/announce", &asked).expect("has one");
        let (_, query) = url.split_once('?').expect("a query");
        prop_assert_eq!(parse_scrape(query), Ok(asked.clone()));
        asked.clear();
        prop_assert_eq!(decode_scrape(&encode_scrape(&counts)), Ok(HttpAnswer::Success(counts)));
    }

    #[test]
    fn datagrams_survive(
        ids in any::<(u32, u64)>(),
        announce in any_announce(),
        url_data in "[!-~]{0,600}",
        hashes in proptest::collection::vec(any::<[u8; 20]>(), 0..=74),
        counts in proptest::collection::vec(any_counts(), 0..=74),
        answer in any_answer(),
        ipv6 in any::<bool>(),
    ) {
        let (transaction, connection) = ids;
        let info_hashes = hashes.into_iter().map(Hash20).collect();
        for request in [
            UdpTracker::Connect { transaction },
            UdpTracker::Announce { connection, transaction, announce, url_data },
            UdpTracker::Scrape { connection, transaction, info_hashes },
        ] {
            prop_assert_eq!(UdpTracker::decode_request(&request.encode(ipv6)), Ok(request));
        }
        let message = answer.warning.clone().unwrap_or_default();
        let answer = AnnounceAnswer {
            interval_s: answer.interval_s,
            complete: answer.complete.or(Some(0)),
            incomplete: answer.incomplete.or(Some(0)),
            peers: answer.peers.into_iter().filter(|peer| peer.is_ipv6() == ipv6).collect(),
            ..AnnounceAnswer::default()
        };
        for reply in [
            UdpTracker::Connected { transaction, connection },
            UdpTracker::Announced { transaction, answer },
            UdpTracker::Scraped { transaction, counts },
            UdpTracker::Error { transaction, message },
        ] {
            prop_assert_eq!(UdpTracker::decode_answer(&reply.encode(ipv6), ipv6), Ok(reply));
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300), text in ".{0,200}") {
        let _ = decode_announce(&noise);
        let _ = decode_scrape(&noise);
        let _ = UdpTracker::decode_request(&noise);
        for ipv6 in [false, true] {
            let _ = UdpTracker::decode_answer(&noise, ipv6);
        }
        let _ = parse_announce(&text);
        let _ = parse_scrape(&text);
        let _ = scrape_url(&text, &[Hash20::default()]);
        let _ = announce_url(&text, &example());
    }
}
