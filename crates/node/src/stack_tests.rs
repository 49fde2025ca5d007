//! The stack by turns: what is written as one part, what closes a link, what leaves as datagrams.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};

use shoal_wire::Hash20;
use shoal_wire::lsd::LocalAnnounce;
use shoal_wire::peer::{
    BlockRequest, Extended, ExtensionHandshake, ExtensionIds, Handshake, Message, encode_prefix,
};

use super::{Link, Socket, Stack, StackEffect, StackInput, learn_ids};
use crate::config::Config;
use crate::io::{CloseReason, Effect, Machine, Packet};
use crate::link::LinkId;
use crate::rng::Seed;
use crate::time::Instant;

const LINK: LinkId = LinkId(1);
const OTHER: LinkId = LinkId(3);

/// A stack without titles, to which `links` are up.
fn stack_with(links: &[LinkId]) -> Stack {
    let mut stack = Stack::new(Arc::new(Config::default()), Seed::from_u64(1), Instant::ZERO);
    for &link in links {
        let remote = "192.0.2.1:6881".parse().expect("an address");
        stack.step(Instant::ZERO, StackInput::LinkUp { link, remote }, &mut Vec::new());
    }
    stack
}

/// What becomes of `sent` when the node sends it all in one step.
fn written(stack: &mut Stack, sent: Vec<Effect>) -> Vec<(LinkId, Bytes)> {
    let mut effects = Vec::new();
    for effect in sent {
        stack.translate(effect, &mut effects);
    }
    stack.flush_all(&mut effects);
    effects
        .into_iter()
        .map(|effect| match effect {
            StackEffect::Write { link, bytes, film } => {
                assert_eq!(film, bytes.len() == 16384);
                (link, bytes)
            }
            StackEffect::Close { link, .. } => (link, Bytes::new()),
            other => panic!("not a write: {other:?}"),
        })
        .collect()
}

fn send(link: LinkId, message: Message) -> Effect {
    Effect::Send { link, message }
}

#[test]
fn small_messages_of_a_step_are_one_part_and_film_bytes_are_not_copied() {
    let mut stack = stack_with(&[LINK, OTHER]);
    let data = Bytes::from(vec![7; 16384]);
    let piece = Message::Piece { piece: 1, offset: 0, data: data.clone() };
    let parts = written(
        &mut stack,
        vec![
            send(LINK, Message::Unchoke),
            send(OTHER, Message::Have { piece: 1 }),
            send(LINK, Message::Have { piece: 1 }),
            send(LINK, piece),
            send(LINK, Message::Choke),
            send(OTHER, Message::Have { piece: 2 }),
        ],
    );
    let expected: [(LinkId, &[u8]); 4] = [
        (LINK, b"\0\0\0\x01\x01\0\0\0\x05\x04\0\0\0\x01\0\0\x40\x09\x07\0\0\0\x01\0\0\0\0"),
        (LINK, &data),
        (LINK, b"\0\0\0\x01\0"),
        (OTHER, b"\0\0\0\x05\x04\0\0\0\x01\0\0\0\x05\x04\0\0\0\x02"),
    ];
    let mut of_link: Vec<_> = parts.iter().map(|(link, bytes)| (*link, &bytes[..])).collect();
    of_link.sort_by_key(|part| part.0);
    assert_eq!(of_link, expected);
    assert!(parts.iter().any(|(_, bytes)| bytes.as_ptr() == data.as_ptr()));
}

#[test]
fn what_was_sent_before_a_close_is_written_before_it_and_nothing_after() {
    let mut stack = stack_with(&[LINK]);
    let close = || Effect::Close { link: LINK, reason: CloseReason::Duplicate };
    let parts = written(
        &mut stack,
        vec![send(LINK, Message::Choke), close(), close(), send(LINK, Message::Unchoke)],
    );
    let expected = [(LINK, Bytes::from_static(b"\0\0\0\x01\0")), (LINK, Bytes::new())];
    assert_eq!(parts, expected);
}

#[test]
fn a_step_that_writes_again_after_the_buffer_was_handed_over_writes_only_the_new() {
    let mut stack = stack_with(&[LINK]);
    let block = BlockRequest { piece: 0, offset: 0, length: 1 };
    for _ in 0..200 {
        let parts = written(&mut stack, vec![send(LINK, Message::Request(block))]);
        assert_eq!(parts.iter().map(|part| part.1.len()).collect::<Vec<_>>(), [17]);
    }
}

#[test]
fn bytes_that_make_no_sense_close_the_link_once_and_the_rest_is_not_read() {
    let mut stack = stack_with(&[LINK]);
    let mut effects = Vec::new();
    let nonsense = || Bytes::from_static(b"GET / HTTP/1.1\r\n\r\n");
    stack.step(Instant::ZERO, StackInput::Bytes { link: LINK, bytes: nonsense() }, &mut effects);
    let [StackEffect::Close { link: LINK, reason: CloseReason::Protocol("handshake") }] =
        effects[..]
    else {
        panic!("one close: {effects:?}")
    };
    effects.clear();
    stack.step(Instant::ZERO, StackInput::Bytes { link: LINK, bytes: nonsense() }, &mut effects);
    let reason = CloseReason::Protocol("handshake");
    stack.step(Instant::ZERO, StackInput::LinkDown { link: LINK, reason }, &mut effects);
    stack.step(Instant::ZERO, StackInput::Bytes { link: LINK, bytes: nonsense() }, &mut effects);
    assert!(effects.is_empty(), "{effects:?}");
    assert!(stack.links.is_empty());
}

#[test]
fn half_a_frame_is_refused_since_the_world_keeps_those() {
    let mut stack = stack_with(&[LINK]);
    let mut effects = Vec::new();
    let bytes = Bytes::from_static(b"\x13BitTorrent");
    stack.step(Instant::ZERO, StackInput::Bytes { link: LINK, bytes }, &mut effects);
    assert!(matches!(effects[..], [StackEffect::Close { reason: CloseReason::Protocol(_), .. }]));
}

#[test]
fn a_stranger_that_names_a_title_we_do_not_have_is_left() {
    let mut stack = stack_with(&[LINK]);
    let mut bytes = BytesMut::new();
    let handshake = Handshake {
        info_hash: Hash20([1; 20]),
        peer_id: shoal_wire::PeerId([2; 20]),
        fast: true,
        extended: true,
        v2: false,
        dht: false,
    };
    encode_prefix(&Message::Handshake(handshake.into()), &ExtensionIds::OURS, &mut bytes);
    encode_prefix(&Message::Unchoke, &ExtensionIds::OURS, &mut bytes);
    let mut effects = Vec::new();
    let bytes = bytes.freeze();
    stack.step(Instant::ZERO, StackInput::Bytes { link: LINK, bytes }, &mut effects);
    assert!(effects.iter().all(|effect| !matches!(
        effect,
        StackEffect::Write { .. } | StackEffect::Close { reason: CloseReason::Protocol(_), .. }
    )));
}

#[test]
fn the_ids_of_the_remote_are_learnt_and_a_handshake_without_ids_keeps_them() {
    let mut state = Link::default();
    let ids = ExtensionIds { pex: 9, ..ExtensionIds::default() };
    let handshake = |ids| {
        let handshake = ExtensionHandshake { ids, ..ExtensionHandshake::default() };
        Message::Extended(Extended::Handshake(handshake).into())
    };
    learn_ids(&mut state, &handshake(ids));
    learn_ids(&mut state, &handshake(ExtensionIds::default()));
    assert_eq!(state.remote_ids, ids);
}

#[test]
fn a_local_announcement_leaves_to_both_groups_under_their_own_names() {
    let mut stack = stack_with(&[]);
    let announce =
        LocalAnnounce { info_hashes: vec![Hash20([1; 20])], port: 6881, cookie: Some(1) };
    let remote = "0.0.0.0:0".parse().expect("an address");
    let packet = Packet::LocalDiscovery(announce.clone());
    let mut effects = Vec::new();
    stack.translate(Effect::Packet { remote, packet }, &mut effects);
    assert_eq!(effects.len(), 2);
    for effect in effects {
        let StackEffect::Datagram { socket: Socket::Local, remote, bytes } = effect else {
            panic!("a local datagram")
        };
        assert_eq!(LocalAnnounce::parse(&bytes), Ok(announce.clone()));
        assert!(
            core::str::from_utf8(&bytes)
                .is_ok_and(|text| text.contains(&alloc::format!("Host: {remote}\r\n")))
        );
    }
}
