use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::net::{IpAddr, SocketAddr};
use proptest::prelude::*;

use super::*;
use crate::DecodeError;
use crate::error::ErrorKind;
use crate::{Hash20, Hash32, PeerId};

/// All bytes of `message` as a remote with our ids wants them.
fn bytes_of(message: &Message) -> Bytes {
    let mut out = BytesMut::new();
    let payload = encode_prefix(message, &ExtensionIds::OURS, &mut out);
    out.extend_from_slice(&payload.unwrap_or_default());
    out.freeze()
}

/// Every message in `bytes`, and what an incomplete rest needs.
fn messages_in(bytes: &[u8], mut handshaken: bool) -> Result<(Vec<Message>, usize), DecodeError> {
    let mut buffer = Bytes::copy_from_slice(bytes);
    let mut messages = Vec::new();
    loop {
        match decode(&mut buffer, handshaken)? {
            Decoded::Message(message) => messages.push(message),
            Decoded::Incomplete { need } => return Ok((messages, need)),
        }
        handshaken = true;
    }
}

#[test]
fn a_handshake_has_the_bytes_that_bep_3_draws() {
    let handshake = Handshake {
        info_hash: Hash20(*b"aaaaaaaaaaaaaaaaaaaa"),
        peer_id: PeerId(*b"-SH0100-012345678901"),
        fast: true,
        extended: true,
        v2: true,
        dht: false,
    };
    let bytes = bytes_of(&Message::Handshake(handshake.into()));
    let expected: &[u8] = b"\x13BitTorrent protocol\x00\x00\x00\x00\x00\x10\x00\x14\
        aaaaaaaaaaaaaaaaaaaa-SH0100-012345678901";
    assert_eq!(&bytes[..], expected);
    assert_eq!(Handshake::decode(&bytes), Ok(handshake));
}

#[test]
fn another_protocol_is_refused_at_its_first_byte() {
    let error = messages_in(b"GET / HTTP/1.1", false).expect_err("not BitTorrent");
    assert_eq!((error.what, error.offset), ("handshake", 0));
    assert!(whole_frames(b"\x13Bit", false).is_ok());
    assert!(whole_frames(b"\x13Bot", false).is_err());
}

#[test]
fn plain_messages_have_the_bytes_of_their_standards() {
    let block = BlockRequest { piece: 1, offset: 0x4000, length: 0x4000 };
    let examples: [(&[u8], Message); 14] = [
        (b"\0\0\0\0", Message::KeepAlive),
        (b"\0\0\0\x01\0", Message::Choke),
        (b"\0\0\0\x01\x01", Message::Unchoke),
        (b"\0\0\0\x01\x02", Message::Interested),
        (b"\0\0\0\x01\x03", Message::NotInterested),
        (b"\0\0\0\x05\x04\0\0\x01\0", Message::Have { piece: 256 }),
        (b"\0\0\0\x03\x05\xff\xe0", Message::Bitfield(Bytes::from_static(b"\xff\xe0"))),
        (b"\0\0\0\x0d\x06\0\0\0\x01\0\0\x40\0\0\0\x40\0", Message::Request(block)),
        (
            b"\0\0\0\x0c\x07\0\0\0\x01\0\0\x40\0abc",
            Message::Piece { piece: 1, offset: 0x4000, data: Bytes::from_static(b"abc") },
        ),
        (b"\0\0\0\x0d\x08\0\0\0\x01\0\0\x40\0\0\0\x40\0", Message::Cancel(block)),
        (b"\0\0\0\x03\x09\x1a\xe1", Message::Port(6881)),
        (b"\0\0\0\x01\x0e", Message::HaveAll),
        (b"\0\0\0\x01\x0f", Message::HaveNone),
        (b"\0\0\0\x0d\x10\0\0\0\x01\0\0\x40\0\0\0\x40\0", Message::Reject(block)),
    ];
    for (bytes, message) in examples {
        assert_eq!(&bytes_of(&message)[..], bytes);
        assert_eq!(messages_in(bytes, true), Ok((vec![message], 4)));
    }
}

#[test]
fn an_extension_handshake_of_a_foreign_client_is_understood() {
    let payload = b"d1:ei0e4:ipv44:\x7f\0\0\x0112:complete_agoi-1e1:md11:lt_donthavei7e\
        10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e11:ut_metadatai2e6:ut_pexi1ee\
        13:metadata_sizei31337e1:pi6881e4:reqqi500e11:upload_onlyi1e\
        1:v17:libtorrent/2.1.1\n6:yourip4:\x0a\0\0\x02e";
    let mut frame = vec![0, 0, 0, 0, 20, 0];
    frame.extend_from_slice(payload);
    let length = frame.len() as u32 - 4;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    let (messages, _) = messages_in(&frame, true).expect("well formed");
    let Some(Message::Extended(extended)) = messages.first() else { panic!("one message") };
    let Extended::Handshake(handshake) = &**extended else { panic!("a handshake") };
    let ids = &handshake.ids;
    assert_eq!((ids.metadata, ids.pex, ids.dont_have, ids.shoal), (2, 1, 7, 0));
    assert_eq!(handshake.metadata_size, Some(31337));
    assert_eq!((handshake.listen_port, handshake.request_queue), (Some(6881), Some(500)));
    assert_eq!(handshake.client.as_deref(), Some("libtorrent/2.1.1"));
    assert_eq!(handshake.your_ip, Some(IpAddr::from([10, 0, 0, 2])));
    assert!(handshake.upload_only && handshake.shoal.is_none());
}

#[test]
fn metadata_messages_have_the_bytes_of_bep_9() {
    let examples: [(&[u8], MetadataMessage); 3] = [
        (b"d8:msg_typei0e5:piecei0ee", MetadataMessage::Request { piece: 0 }),
        (
            b"d8:msg_typei1e5:piecei0e10:total_sizei34256eexxxxxxxx",
            MetadataMessage::Data {
                piece: 0,
                total_size: 34256,
                data: Bytes::from_static(b"xxxxxxxx"),
            },
        ),
        (b"d8:msg_typei2e5:piecei0ee", MetadataMessage::Reject { piece: 0 }),
    ];
    for (payload, message) in examples {
        let message = Message::Extended(Extended::Metadata(message).into());
        let bytes = bytes_of(&message);
        assert_eq!((&bytes[4..6], &bytes[6..]), (&[20u8, 1][..], payload));
        assert_eq!(messages_in(&bytes, true), Ok((vec![message], 4)));
    }
}

#[test]
fn our_own_messages_have_the_bytes_of_docs_protocol() {
    let block = BlockRequest { piece: 258, offset: 0x8000, length: 0x4000 };
    let requests = ShoalMessage::Requests(vec![DueRequest { block, due_in_ms: 1500 }]);
    let spans = ShoalMessage::HaveBlocks(vec![BlockSpan { piece: 258, first: 2, count: 14 }]);
    let hurry = ShoalMessage::Hurry(vec![DueRequest { block, due_in_ms: 300 }]);
    let stretch = Stretch { from: 258, until: 4098, pace: 15_258 };
    let playhead = ShoalMessage::Playhead(stretch);
    let member = Member { id: 0x0102_0304_0506_0708, stretch: Some(stretch) };
    let audience = ShoalMessage::Audience(vec![member, Member { stretch: None, ..member }]);
    let place = Coordinates { at: [258, -2, 4098], height_us: 15_258, error_permille: 80 };
    let examples: [(&[u8], ShoalMessage); 6] = [
        (
            b"\0\0\0\x15\x14\x06\x06\0\0\x01\x02\xff\xff\xff\xfe\0\0\x10\x02\0\0\x3b\x9a\0\x50",
            ShoalMessage::Coordinates(place),
        ),
        (b"\0\0\0\x0f\x14\x06\x04\0\0\x01\x02\0\0\x10\x02\0\0\x3b\x9a", playhead),
        (
            b"\0\0\0\x2b\x14\x06\x05\
            \x01\x02\x03\x04\x05\x06\x07\x08\0\0\x01\x02\0\0\x10\x02\0\0\x3b\x9a\
            \x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\0\0\0\0\0\0\0\0",
            audience,
        ),
        (b"\0\0\0\x11\x14\x06\x01\0\0\x01\x02\0\0\x80\0\0\0\x40\0\x05\xdc", requests),
        (b"\0\0\0\x11\x14\x06\x03\0\0\x01\x02\0\0\x80\0\0\0\x40\0\x01\x2c", hurry),
        (b"\0\0\0\x0b\x14\x06\x02\0\0\x01\x02\0\x02\0\x0e", spans),
    ];
    for (bytes, message) in examples {
        let message = Message::Extended(Extended::Shoal(message).into());
        assert_eq!(&bytes_of(&message)[..], bytes);
        assert_eq!(messages_in(bytes, true), Ok((vec![message], 4)));
    }
}

#[test]
fn a_message_of_a_later_version_is_kept_apart_and_an_unknown_kind_is_skipped() {
    let bytes = b"\0\0\0\x03\x14\x06\x63\0\0\0\x05\x63abcd\0\0\0\x01\x01";
    let unknown = Message::Extended(Extended::Unknown { id: 6 }.into());
    assert_eq!(messages_in(bytes, true), Ok((vec![unknown, Message::Unchoke], 4)));
}

#[test]
fn an_extension_that_the_remote_does_not_understand_is_not_sent() {
    let mut out = BytesMut::new();
    let message = Message::Extended(Extended::DontHave { piece: 1 }.into());
    assert_eq!(encode_prefix(&message, &ExtensionIds::default(), &mut out), None);
    assert!(out.is_empty());
    let remote = ExtensionIds { dont_have: 9, ..ExtensionIds::default() };
    encode_prefix(&message, &remote, &mut out);
    assert_eq!(&out[..], b"\0\0\0\x06\x14\x09\0\0\0\x01");
}

#[test]
fn frames_beyond_the_limit_of_their_kind_are_refused_before_their_bytes_are_there() {
    let too_long: [(u32, u8); 6] = [
        (2, 0),
        (14, 6),
        (9 + 128 * 1024 + 1, 7),
        (1 + BITFIELD_MAX as u32 + 1, 5),
        (1 + EXTENDED_MAX as u32 + 1, 20),
        (49 + 32 * HASHES_MAX as u32 + 1, 22),
    ];
    for (length, kind) in too_long {
        let mut head = length.to_be_bytes().to_vec();
        head.push(kind);
        let framing = whole_frames(&head, true).expect_err("beyond its limit");
        assert!(matches!(framing.kind, ErrorKind::Limit { .. }));
        assert_eq!(messages_in(&head, true), Err(framing));
        head[..4].copy_from_slice(&(length - 1).to_be_bytes());
        assert_eq!(whole_frames(&head, true).map(|found| found.whole == 0), Ok(length > 2));
    }
    assert!(whole_frames(&u32::MAX.to_be_bytes(), true).is_err());
}

#[test]
fn fixed_messages_that_are_too_short_are_refused() {
    for bytes in
        [&b"\0\0\0\x01\x04"[..], b"\0\0\0\x0c\x06\0\0\0\0\0\0\0\0\0\0\0", b"\0\0\0\x01\x14"]
    {
        assert!(messages_in(bytes, true).is_err(), "{bytes:?}");
    }
}

#[test]
fn payloads_share_the_memory_of_the_read_buffer() {
    let message = Message::Piece { piece: 0, offset: 0, data: Bytes::from(vec![7; 16384]) };
    let mut buffer = bytes_of(&message);
    let start = buffer.as_ptr();
    let Ok(Decoded::Message(Message::Piece { data, .. })) = decode(&mut buffer, true) else {
        panic!("a piece")
    };
    assert_eq!(data.as_ptr(), start.wrapping_add(13));
}

#[test]
fn a_client_name_is_made_fit_to_be_shown() {
    let mut name = "evil\u{7}\u{1b}[31m".to_string();
    name.push_str(&"x".repeat(500));
    let handshake = ExtensionHandshake { client: Some(name), ..Default::default() };
    let bytes = bytes_of(&Message::Extended(Extended::Handshake(handshake).into()));
    let (messages, _) = messages_in(&bytes, true).expect("well formed");
    let Some(Message::Extended(extended)) = messages.first() else { panic!("one message") };
    let Extended::Handshake(handshake) = &**extended else { panic!("a handshake") };
    let client = handshake.client.as_deref().expect("a name");
    assert!(client.starts_with("evil[31mxx"));
    assert_eq!(client.chars().count(), 64);
}

fn any_request() -> impl Strategy<Value = BlockRequest> {
    any::<(u32, u32, u32)>().prop_map(|(piece, offset, length)| BlockRequest {
        piece,
        offset,
        length,
    })
}

fn any_range() -> impl Strategy<Value = Box<HashRange>> {
    any::<([u8; 32], u32, u32, u32, u32)>().prop_map(
        |(root, base_layer, index, length, proof_layers)| {
            let pieces_root = Hash32(root);
            HashRange { pieces_root, base_layer, index, length, proof_layers }.into()
        },
    )
}

fn any_handshake() -> impl Strategy<Value = Message> {
    any::<([u8; 20], [u8; 20], [bool; 4])>().prop_map(
        |(info_hash, peer_id, [fast, extended, v2, dht])| {
            let (info_hash, peer_id) = (Hash20(info_hash), PeerId(peer_id));
            Message::Handshake(Handshake { info_hash, peer_id, fast, extended, v2, dht }.into())
        },
    )
}

fn any_extension_handshake() -> impl Strategy<Value = Extended> {
    let ids = any::<[u8; 6]>().prop_map(|[a, b, c, d, e, f]| ExtensionIds {
        metadata: a,
        pex: b,
        dont_have: c,
        upload_only: d,
        hole_punch: e,
        shoal: f,
    });
    let shoal = any::<Option<(u32, bool)>>()
        .prop_map(|hello| hello.map(|(version, source)| ShoalHello { version, source }));
    let numbers =
        (proptest::option::of(1u32..), proptest::option::of(1u16..), any::<Option<u32>>());
    let client = proptest::option::of("[ -~é猫]{1,64}");
    (ids, numbers, client, any::<Option<IpAddr>>(), any::<bool>(), shoal).prop_map(
        |(
            ids,
            (metadata_size, listen_port, request_queue),
            client,
            your_ip,
            upload_only,
            shoal,
        )| {
            Extended::Handshake(ExtensionHandshake {
                ids,
                metadata_size,
                listen_port,
                client,
                request_queue,
                your_ip,
                upload_only,
                shoal,
            })
        },
    )
}

fn any_addr() -> impl Strategy<Value = SocketAddr> {
    any::<(IpAddr, u16)>().prop_map(SocketAddr::from)
}

fn any_extended() -> impl Strategy<Value = Extended> {
    let data = proptest::collection::vec(any::<u8>(), 0..200);
    let peers = proptest::collection::vec((any_addr(), any::<u8>()), 0..20);
    let pex = (peers, proptest::collection::vec(any_addr(), 0..20)).prop_map(
        |(mut added, mut dropped)| {
            // The wire keeps IPv4 and IPv6 apart.
            added.sort_by_key(|peer| peer.0.is_ipv6());
            dropped.sort_by_key(SocketAddr::is_ipv6);
            let added = added.into_iter().map(|(addr, flags)| PexPeer { addr, flags }).collect();
            Extended::Pex(PexMessage { added, dropped })
        },
    );
    let due = (any_request(), any::<u16>())
        .prop_map(|(block, due_in_ms)| DueRequest { block, due_in_ms });
    let span = any::<(u32, u16, u16)>().prop_map(|(piece, first, count)| BlockSpan {
        piece,
        first,
        count,
    });
    prop_oneof![
        any_extension_handshake(),
        any::<u32>().prop_map(|piece| Extended::Metadata(MetadataMessage::Request { piece })),
        any::<u32>().prop_map(|piece| Extended::Metadata(MetadataMessage::Reject { piece })),
        (any::<(u32, u32)>(), data).prop_map(|((piece, total_size), data)| Extended::Metadata(
            MetadataMessage::Data { piece, total_size, data: data.into() }
        )),
        pex,
        any::<u32>().prop_map(|piece| Extended::DontHave { piece }),
        any::<bool>().prop_map(Extended::UploadOnly),
        any_addr().prop_map(|addr| Extended::HolePunch(HolePunch::Rendezvous { addr })),
        any_addr().prop_map(|addr| Extended::HolePunch(HolePunch::Connect { addr })),
        (any_addr(), any::<u32>())
            .prop_map(|(addr, code)| Extended::HolePunch(HolePunch::Error { addr, code })),
        (proptest::collection::vec(due, 0..20), any::<bool>()).prop_map(|(requests, new)| {
            Extended::Shoal(match new {
                true => ShoalMessage::Requests(requests),
                false => ShoalMessage::Hurry(requests),
            })
        }),
        proptest::collection::vec(span, 0..20)
            .prop_map(|spans| Extended::Shoal(ShoalMessage::HaveBlocks(spans))),
        any_stretch().prop_map(|stretch| Extended::Shoal(ShoalMessage::Playhead(stretch))),
        (any::<[i32; 3]>(), any::<u32>(), any::<u16>()).prop_map(
            |(at, height_us, error_permille)| {
                let place = Coordinates { at, height_us, error_permille };
                Extended::Shoal(ShoalMessage::Coordinates(place))
            }
        ),
        proptest::collection::vec((any::<u64>(), proptest::option::of(any_stretch())), 0..20)
            .prop_map(|members| {
                let members = members.into_iter().map(|(id, stretch)| Member { id, stretch });
                Extended::Shoal(ShoalMessage::Audience(members.collect()))
            }),
    ]
}

fn any_stretch() -> impl Strategy<Value = Stretch> {
    (0u32..1 << 31, any::<u32>(), any::<u32>()).prop_map(|(from, until, pace)| Stretch {
        from,
        until,
        pace,
    })
}

fn any_message() -> impl Strategy<Value = Message> {
    let data = || proptest::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from);
    let hashes = proptest::collection::vec(any::<[u8; 32]>(), 0..20)
        .prop_map(|hashes| Bytes::from(hashes.concat()));
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        any::<u32>().prop_map(|piece| Message::Have { piece }),
        any::<u32>().prop_map(|piece| Message::Suggest { piece }),
        any::<u32>().prop_map(|piece| Message::AllowedFast { piece }),
        any::<u16>().prop_map(Message::Port),
        data().prop_map(Message::Bitfield),
        any_request().prop_map(Message::Request),
        any_request().prop_map(Message::Cancel),
        any_request().prop_map(Message::Reject),
        (any::<(u32, u32)>(), data()).prop_map(|((piece, offset), data)| Message::Piece {
            piece,
            offset,
            data
        }),
        any_range().prop_map(Message::HashRequest),
        any_range().prop_map(Message::HashReject),
        (any_range(), hashes).prop_map(|(range, hashes)| Message::Hashes { range, hashes }),
        any_extended().prop_map(|extended| Message::Extended(extended.into())),
    ]
}

/// Bytes that look like a stream of frames: small lengths, known kinds, any fields.
fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    let frame =
        (0u8..26, proptest::collection::vec(any::<u8>(), 0..60)).prop_map(|(kind, fields)| {
            let mut frame = (1 + fields.len() as u32).to_be_bytes().to_vec();
            frame.push(kind);
            frame.extend(fields);
            frame
        });
    let noise = proptest::collection::vec(any::<u8>(), 0..40);
    let message = any_message().prop_map(|message| bytes_of(&message).to_vec());
    let part = prop_oneof![1 => frame, 4 => message, 1 => noise];
    (proptest::collection::vec(part, 0..6), 0usize..40).prop_map(|(parts, cut)| {
        let mut stream = parts.concat();
        stream.truncate(stream.len().saturating_sub(cut));
        stream
    })
}

proptest! {
    #[test]
    fn messages_survive_the_wire_and_take_as_many_bytes_as_was_told(
        handshake in any_handshake(),
        messages in proptest::collection::vec(any_message(), 0..8),
    ) {
        let mut stream = Vec::new();
        let mut sent = vec![handshake];
        sent.extend(messages);
        for message in &sent {
            let bytes = bytes_of(message);
            prop_assert_eq!(bytes.len(), encoded_len(message));
            stream.extend_from_slice(&bytes);
        }
        let framing = whole_frames(&stream, false);
        prop_assert_eq!(framing, Ok(Framing { whole: stream.len(), need: 4 }));
        prop_assert_eq!(messages_in(&stream, false), Ok((sent, 4)));
    }

    #[test]
    fn any_stream_is_decoded_or_refused_and_framing_agrees(stream in any_stream()) {
        let framing = whole_frames(&stream, true);
        match (messages_in(&stream, true), framing) {
            (Ok((_, need)), Ok(framing)) => {
                prop_assert_eq!(need, framing.need);
                let whole = stream.get(..framing.whole).expect("lies inside");
                prop_assert!(messages_in(whole, true).is_ok());
            }
            (Ok(_), Err(error)) => prop_assert!(false, "only framing refused: {error}"),
            (Err(_), _) => {}
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..300)) {
        for handshaken in [false, true] {
            let _ = messages_in(&noise, handshaken);
            let _ = whole_frames(&noise, handshaken);
        }
        for id in 0..8 {
            let _ = Extended::decode(id, Bytes::copy_from_slice(&noise));
        }
    }
}
