//! Bodies of the targets for `shoal-wire`. Each takes any bytes and panics when a promise of the crate is broken.

use bytes::Bytes;
use shoal_wire::bencode::{Document, Encoder, Kind, Limits, Value};
use shoal_wire::lsd::{LOCAL_GROUP_V4, LOCAL_TITLES_SENT_MAX, LocalAnnounce};
use shoal_wire::magnet::{Link, Magnet};
use shoal_wire::merkle::{TreeShape, answer, answer_len, hash_at, is_valid, pieces_needed, verify};
use shoal_wire::metainfo::{MAX_NAME_BYTES, Metainfo, safe_component};
use shoal_wire::peer::{
    Decoded, ExtensionIds, Framing, HashRange, Message, decode, encode_prefix, encoded_len,
    whole_frames,
};
use shoal_wire::time_index::TimeIndex;
use shoal_wire::tracker::{UdpTracker, http};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] = &[
    ("bencode", bencode),
    ("extensions", extensions),
    ("http_tracker_answer", http_tracker_answer),
    ("http_tracker_query", http_tracker_query),
    ("lsd", lsd),
    ("magnet", magnet),
    ("merkle_hashes", merkle_hashes),
    ("metainfo", metainfo),
    ("path_names", path_names),
    ("peer_frames", peer_frames),
    ("time_index", time_index),
    ("udp_tracker", udp_tracker),
];

/// Whatever is read as canonical is written again as the same bytes.
pub fn bencode(data: &[u8]) {
    let Ok((document, used)) = Document::parse_prefix(data, Limits::MESSAGE) else { return };
    assert!(used <= data.len());
    assert_eq!(document.root().span(), 0..used);
    if document.is_canonical() {
        assert_eq!(written(document.root()), &data[..used]);
    }
}

fn written(value: Value<'_>) -> Vec<u8> {
    let mut out = Encoder::new();
    match value.kind() {
        Kind::Integer => match value.as_i64() {
            Some(number) => out.int(number),
            None => out.uint(value.as_u64().expect("an integer fits one of both")),
        },
        Kind::Bytes => out.bytes(value.as_bytes().expect("a string has content")),
        Kind::List => {
            out.raw(b"l");
            value.items().for_each(|item| out.raw(&written(item)));
            out.raw(b"e");
        }
        Kind::Dict => {
            out.dict(|dict| value.entries().for_each(|(key, item)| dict.raw(key, &written(item))))
        }
    }
    out.into_bytes()
}

/// What is accepted has a geometry without contradictions, safe names, and is read back the same from its own file form.
pub fn metainfo(data: &[u8]) {
    let Ok(meta) = Metainfo::parse(&Bytes::copy_from_slice(data)) else { return };
    let (info, layout) = (&meta.info, &meta.info.layout);
    assert!(layout.piece_count() > 0 && layout.data_total() >= info.length());
    assert!(layout.data_total() <= layout.nominal_end());
    for file in info.files.iter().filter(|file| file.length > 0) {
        assert!(file.start + file.length <= layout.nominal_end());
        assert_eq!(info.file_at(file.start).map(|(_, found)| &found.path), Some(&file.path));
        let last = layout.piece_at(file.start + file.length - 1).expect("inside");
        let end = layout.start(last) + u64::from(layout.data_len(last));
        assert!(file.start + file.length <= end, "the end of a file is data");
    }
    for part in info.files.iter().flat_map(|file| &file.path).chain([&info.name]) {
        assert_eq!(&safe_component(part.as_bytes()), part);
    }
    let again = Metainfo::parse(&meta.encode().into()).expect("what was read can be written");
    assert_eq!(again.info.hashes, info.hashes);
    assert_eq!(again.info.files, info.files);
    assert_eq!(
        (again.trackers.concat(), again.web_seeds),
        (meta.trackers.concat(), meta.web_seeds)
    );
}

/// A link that is accepted has a name for its title, and its text form means the same.
pub fn magnet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Link::parse(&text);
    let Ok(magnet) = Magnet::parse(&text) else { return };
    assert!(magnet.hashes.primary().is_some());
    assert_eq!(Magnet::parse(&magnet.to_string()), Ok(magnet));
}

/// Bytes 0..24 make a request, the rest is taken as an answer and as stored hashes.
pub fn merkle_hashes(data: &[u8]) {
    let Some((head, rest)) = data.split_at_checked(24) else { return };
    let number =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let Some(shape) = TreeShape::new(u64::from(number(0)) << 8, 1 << (14 + number(4) % 6)) else {
        return;
    };
    let range = HashRange {
        pieces_root: hash_at(rest, 0).unwrap_or_default(),
        base_layer: number(8) % 40,
        index: number(12),
        length: number(16),
        proof_layers: number(20) % 40,
    };
    assert!(pieces_needed(&shape, &range).len() <= shape.piece_count() as usize);
    if let Some(reply) = answer(&shape, &range, rest, |_| Some(rest)) {
        assert!(is_valid(&shape, &range));
        assert_eq!(reply.len(), answer_len(&range));
    }
    let _ = verify(&shape, &range, rest, rest);
}

/// An index that is accepted is written again as the same bytes, and answers inside its film.
pub fn time_index(data: &[u8]) {
    let Ok(index) = TimeIndex::decode(data) else { return };
    assert_eq!(index.encode(), data);
    for at in [0, 1, index.length / 2, index.length, index.duration_ms, u64::MAX] {
        assert!(index.offset_at(at) <= index.length);
        assert!(index.time_at(at) <= index.duration_ms);
    }
}

/// Any bytes become one component that a file system takes, and that stays as it is.
pub fn path_names(data: &[u8]) {
    let safe = safe_component(data);
    assert!(!safe.is_empty() && safe.len() <= MAX_NAME_BYTES);
    assert!(!safe.contains(['/', '\\', '\0']) && safe != "." && safe != "..");
    assert_eq!(safe_component(safe.as_bytes()), safe);
}

/// The first byte says whether a handshake is due. Framing and decoding agree, and what was read can be sent again: it
/// takes as many bytes as was told and means the same.
pub fn peer_frames(data: &[u8]) {
    let Some((first, stream)) = data.split_first() else { return };
    let mut handshaken = first & 1 == 1;
    let framing = whole_frames(stream, handshaken);
    let mut rest = Bytes::copy_from_slice(stream);
    loop {
        match decode(&mut rest, handshaken) {
            Ok(Decoded::Message(message)) => check_message(&message),
            Ok(Decoded::Incomplete { need }) => {
                let whole = stream.len() - rest.len();
                return assert_eq!(framing, Ok(Framing { whole, need }));
            }
            Err(_) => return,
        }
        handshaken = true;
    }
}

/// The first byte is the id of an extension, the rest its payload.
pub fn extensions(data: &[u8]) {
    let mut frame = (data.len() as u32 + 1).to_be_bytes().to_vec();
    frame.push(20);
    frame.extend_from_slice(data);
    if let Ok(Decoded::Message(message)) = decode(&mut frame.into(), true) {
        check_message(&message);
    }
}

fn check_message(message: &Message) {
    let mut out = bytes::BytesMut::new();
    let payload = encode_prefix(message, &ExtensionIds::OURS, &mut out);
    out.extend_from_slice(&payload.unwrap_or_default());
    assert_eq!(out.len(), encoded_len(message));
    if out.is_empty() {
        return; // An extended message of an unknown id is not sent on.
    }
    let is_handshake = matches!(message, Message::Handshake(_));
    match decode(&mut out.freeze(), !is_handshake) {
        Ok(Decoded::Message(again)) => assert_eq!(&again, message),
        other => panic!("{other:?} for {message:?}"),
    }
}

/// Answers that are read are written again and mean the same.
pub fn http_tracker_answer(data: &[u8]) {
    if let Ok(http::HttpAnswer::Success(answer)) = http::decode_announce(data) {
        let body = http::encode_announce(&answer, http::PeerForm::Dictionary);
        let again = http::decode_announce(&body).expect("our own");
        let http::HttpAnswer::Success(again) = again else { panic!("a refusal") };
        assert_eq!(again.peers.len(), answer.peers.len());
        assert_eq!(again.warning, answer.warning);
    }
    if let Ok(http::HttpAnswer::Success(counts)) = http::decode_scrape(data) {
        assert!(http::decode_scrape(&http::encode_scrape(&counts)).is_ok());
    }
}

/// Queries that are read can be asked again and mean the same.
pub fn http_tracker_query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = http::parse_scrape(&text);
    let _ = http::scrape_url(&text, &[]);
    if let Ok(query) = http::parse_announce(&text) {
        let url = http::announce_url("http://t/announce", &query.announce);
        let (_, again) = url.split_once('?').expect("it has a query");
        let again = http::parse_announce(again).expect("our own");
        assert_eq!(again.announce, query.announce);
    }
}

/// Requests and answers that are read are sent again and mean the same.
pub fn udp_tracker(data: &[u8]) {
    if let Ok(request) = UdpTracker::decode_request(data) {
        assert_eq!(UdpTracker::decode_request(&request.encode(false)), Ok(request));
    }
    for ipv6 in [false, true] {
        if let Ok(answer) = UdpTracker::decode_answer(data, ipv6) {
            assert_eq!(UdpTracker::decode_answer(&answer.encode(ipv6), ipv6), Ok(answer));
        }
    }
}

/// An announcement that is read is sent again and means the same, as far as it fits.
pub fn lsd(data: &[u8]) {
    let Ok(mut announce) = LocalAnnounce::parse(data) else { return };
    announce.info_hashes.truncate(LOCAL_TITLES_SENT_MAX);
    assert_eq!(LocalAnnounce::parse(&announce.format(LOCAL_GROUP_V4)), Ok(announce));
}
