//! Payloads of BEP 10 messages: bytes to [`Extended`] and back.
//!
//! **Does**: the handshake of BEP 10, `ut_metadata` (BEP 9), `ut_pex` (BEP 11), `lt_donthave` (BEP 54), `upload_only`
//! (BEP 21), `ut_holepunch` (BEP 55), and `shoal` (docs/protocol.md).
//! **Refuses**: what is not bencode, and layouts that end too early. A field of the wrong type counts as missing and
//! lists beyond their limit are cut, since half the clients of the world get one of them wrong.

use alloc::vec::Vec;
use bytes::{Buf, BufMut, Bytes};

use super::extension::{
    BlockSpan, Coordinates, DueRequest, Extended, ExtensionHandshake, HolePunch, Member,
    MetadataMessage, PexMessage, PexPeer, ShoalHello, ShoalMessage, Stretch,
};
use super::{BlockRequest, ExtensionIds, Prefix};
use crate::bencode::{Document, Encoder, Limits, Value};
use crate::compact::{V4_LEN, V6_LEN, addrs, get_addr, get_ip, put_addr, put_ip};
use crate::error::{DecodeError, ErrorKind};
use crate::text;

/// Bytes in a piece of an info dictionary (BEP 9); the last may be shorter.
pub const METADATA_PIECE_LEN: usize = 16 * 1024;
/// Peers that one PEX message may add, and as many that it may drop; more are ignored (BEP 11 allows 50 of each family).
pub const PEX_PEERS_MAX: usize = 200;
/// Requests in one `shoal` message; more are an error.
pub const SHOAL_REQUESTS_MAX: usize = 1024;
/// Spans in one `shoal` message; more are an error.
pub const HAVE_SPANS_MAX: usize = 4096;
/// Members in one `shoal` message; more are an error.
pub const MEMBERS_MAX: usize = 1024;
/// Characters of a client's name.
const CLIENT_CHARS_MAX: usize = 64;

/// First byte of [`ShoalMessage::Requests`].
const SHOAL_REQUESTS: u8 = 1;
/// First byte of [`ShoalMessage::HaveBlocks`].
const SHOAL_HAVE_BLOCKS: u8 = 2;
/// First byte of [`ShoalMessage::Hurry`].
const SHOAL_HURRY: u8 = 3;
/// First byte of [`ShoalMessage::Playhead`].
const SHOAL_PLAYHEAD: u8 = 4;
/// First byte of [`ShoalMessage::Audience`].
const SHOAL_AUDIENCE: u8 = 5;
/// First byte of [`ShoalMessage::Coordinates`].
const SHOAL_COORDINATES: u8 = 6;
/// Bytes of one [`DueRequest`].
const DUE_REQUEST_LEN: usize = 14;
/// Bytes of one [`BlockSpan`].
const SPAN_LEN: usize = 8;
/// Bytes of one [`Stretch`].
const STRETCH_LEN: usize = 12;
/// Bytes of one [`Member`].
const MEMBER_LEN: usize = 8 + STRETCH_LEN;
/// Bytes of [`Coordinates`].
const COORDINATES_LEN: usize = 18;
/// The stretch of a member that has gone.
const GONE: Stretch = Stretch { from: u32::MAX, until: 0, pace: 0 };

/// The names under which extensions are negotiated.
const DONT_HAVE: &[u8] = b"lt_donthave";
const SHOAL: &[u8] = b"shoal";
const UPLOAD_ONLY: &[u8] = b"upload_only";
const HOLE_PUNCH: &[u8] = b"ut_holepunch";
const METADATA: &[u8] = b"ut_metadata";
const PEX: &[u8] = b"ut_pex";

impl Extended {
    /// Reads what stands behind `id`, which is one of [`ExtensionIds::OURS`] or 0.
    ///
    /// # Errors
    /// A payload that breaks a limit or a layout.
    pub(super) fn decode(id: u8, payload: Bytes) -> Result<Self, DecodeError> {
        const OURS: ExtensionIds = ExtensionIds::OURS;
        Ok(match id {
            0 => Self::Handshake(decode_handshake(&payload)?),
            _ if id == OURS.metadata => match decode_metadata(payload)? {
                Some(message) => Self::Metadata(message),
                None => Self::Unknown { id },
            },
            _ if id == OURS.pex => Self::Pex(decode_pex(&payload)?),
            _ if id == OURS.dont_have => match payload.first_chunk() {
                Some(piece) => Self::DontHave { piece: u32::from_be_bytes(*piece) },
                None => return Err(truncated("don't-have message", &payload)),
            },
            _ if id == OURS.upload_only => match payload.first() {
                Some(flag) => Self::UploadOnly(*flag != 0),
                None => return Err(truncated("upload-only message", &payload)),
            },
            _ if id == OURS.hole_punch => match decode_hole_punch(&payload)? {
                Some(message) => Self::HolePunch(message),
                None => Self::Unknown { id },
            },
            _ if id == OURS.shoal => match decode_shoal(&payload)? {
                Some(message) => Self::Shoal(message),
                None => Self::Unknown { id },
            },
            _ => Self::Unknown { id },
        })
    }

    /// The id under which `remote` wants this message; `None` when it does not understand it.
    pub(super) fn id_for(&self, remote: &ExtensionIds) -> Option<u8> {
        let id = match self {
            Self::Handshake(_) => return Some(0),
            Self::Metadata(_) => remote.metadata,
            Self::Pex(_) => remote.pex,
            Self::DontHave { .. } => remote.dont_have,
            Self::UploadOnly(_) => remote.upload_only,
            Self::HolePunch(_) => remote.hole_punch,
            Self::Shoal(_) => remote.shoal,
            Self::Unknown { .. } => 0,
        };
        (id != 0).then_some(id)
    }

    /// Appends what stands behind the id.
    pub(super) fn encode(&self, out: &mut Prefix) {
        match self {
            Self::Handshake(handshake) => out.put_slice(&encode_handshake(handshake)),
            Self::Metadata(message) => {
                out.put_slice(&encode_metadata(message));
                if let MetadataMessage::Data { data, .. } = message {
                    out.put_slice(data);
                }
            }
            Self::Pex(message) => out.put_slice(&encode_pex(message)),
            Self::DontHave { piece } => out.put_u32(*piece),
            Self::UploadOnly(flag) => out.put_u8(u8::from(*flag)),
            Self::HolePunch(message) => encode_hole_punch(message, out),
            Self::Shoal(message) => encode_shoal(message, out),
            Self::Unknown { .. } => {}
        }
    }

    /// Bytes behind the id; `None` for what is never sent.
    pub(super) fn payload_len(&self) -> Option<usize> {
        Some(match self {
            Self::Handshake(handshake) => encode_handshake(handshake).len(),
            Self::Metadata(message) => {
                let data = match message {
                    MetadataMessage::Data { data, .. } => data.len(),
                    MetadataMessage::Request { .. } | MetadataMessage::Reject { .. } => 0,
                };
                encode_metadata(message).len() + data
            }
            Self::Pex(message) => encode_pex(message).len(),
            Self::DontHave { .. } => 4,
            Self::UploadOnly(_) => 1,
            Self::HolePunch(
                HolePunch::Rendezvous { addr }
                | HolePunch::Connect { addr }
                | HolePunch::Error { addr, .. },
            ) => 6 + if addr.is_ipv4() { V4_LEN } else { V6_LEN },
            Self::Shoal(ShoalMessage::Requests(list) | ShoalMessage::Hurry(list)) => {
                1 + list.len() * DUE_REQUEST_LEN
            }
            Self::Shoal(ShoalMessage::HaveBlocks(list)) => 1 + list.len() * SPAN_LEN,
            Self::Shoal(ShoalMessage::Playhead(_)) => 1 + STRETCH_LEN,
            Self::Shoal(ShoalMessage::Audience(list)) => 1 + list.len() * MEMBER_LEN,
            Self::Shoal(ShoalMessage::Coordinates(_)) => 1 + COORDINATES_LEN,
            Self::Unknown { .. } => return None,
        })
    }
}

fn truncated(what: &'static str, payload: &[u8]) -> DecodeError {
    DecodeError::new(what, payload.len(), ErrorKind::Truncated)
}

fn decode_handshake(payload: &[u8]) -> Result<ExtensionHandshake, DecodeError> {
    let (document, _) = Document::parse_prefix(payload, Limits::MESSAGE)?;
    let root = document.root();
    if !root.is_dict() {
        return Err(root.expected("extension handshake", "a dictionary"));
    }
    let number = |key: &[u8]| root.get(key).and_then(|value| value.as_u32());
    let bytes = |key: &[u8]| root.get(key).and_then(|value| value.as_bytes());
    Ok(ExtensionHandshake {
        ids: root.get(b"m").map(decode_ids).unwrap_or_default(),
        metadata_size: number(b"metadata_size").filter(|&size| size > 0),
        listen_port: number(b"p").and_then(|port| u16::try_from(port).ok()).filter(|&p| p > 0),
        client: bytes(b"v")
            .map(|name| text::clean(name, CLIENT_CHARS_MAX))
            .filter(|name| !name.is_empty()),
        request_queue: number(b"reqq"),
        your_ip: bytes(b"yourip").and_then(get_ip),
        upload_only: number(b"upload_only").is_some_and(|flag| flag != 0),
        shoal: root.get(b"shoal").and_then(|hello| {
            let version = hello.get(b"v")?.as_u32()?;
            let source = hello.get(b"source").and_then(|flag| flag.as_u32());
            Some(ShoalHello { version, source: source.is_some_and(|flag| flag != 0) })
        }),
    })
}

fn decode_ids(names: Value<'_>) -> ExtensionIds {
    let id = |name: &[u8]| {
        let id = names.get(name).and_then(|id| id.as_u32()).and_then(|id| u8::try_from(id).ok());
        id.unwrap_or(0)
    };
    ExtensionIds {
        metadata: id(METADATA),
        pex: id(PEX),
        dont_have: id(DONT_HAVE),
        upload_only: id(UPLOAD_ONLY),
        hole_punch: id(HOLE_PUNCH),
        shoal: id(SHOAL),
    }
}

fn encode_handshake(handshake: &ExtensionHandshake) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.dict(b"m", |names| {
            let ids = &handshake.ids;
            for (name, id) in [
                (DONT_HAVE, ids.dont_have),
                (SHOAL, ids.shoal),
                (UPLOAD_ONLY, ids.upload_only),
                (HOLE_PUNCH, ids.hole_punch),
                (METADATA, ids.metadata),
                (PEX, ids.pex),
            ] {
                if id != 0 {
                    names.uint(name, id.into());
                }
            }
        });
        if let Some(size) = handshake.metadata_size {
            dict.uint(b"metadata_size", size.into());
        }
        if let Some(port) = handshake.listen_port {
            dict.uint(b"p", port.into());
        }
        if let Some(requests) = handshake.request_queue {
            dict.uint(b"reqq", requests.into());
        }
        if let Some(hello) = handshake.shoal {
            dict.dict(b"shoal", |dict| {
                if hello.source {
                    dict.uint(b"source", 1);
                }
                dict.uint(b"v", hello.version.into());
            });
        }
        if handshake.upload_only {
            dict.uint(b"upload_only", 1);
        }
        if let Some(client) = &handshake.client {
            dict.bytes(b"v", client.as_bytes());
        }
        if let Some(ip) = &handshake.your_ip {
            let mut octets = Vec::with_capacity(16);
            put_ip(&mut octets, ip);
            dict.bytes(b"yourip", &octets);
        }
    });
    out.into_bytes()
}

/// `None` for a message type that BEP 9 does not know, which it says to ignore.
fn decode_metadata(mut payload: Bytes) -> Result<Option<MetadataMessage>, DecodeError> {
    const WHAT: &str = "metadata message";
    let (document, used) = Document::parse_prefix(&payload, Limits::MESSAGE)?;
    let root = document.root();
    let number = |key: &'static str| {
        let value = root.need(WHAT, key)?;
        value.as_u32().ok_or_else(|| value.expected(WHAT, "a number below 2^32"))
    };
    let (kind, piece) = (number("msg_type")?, number("piece")?);
    Ok(match kind {
        0 => Some(MetadataMessage::Request { piece }),
        1 => {
            let total_size = number("total_size")?;
            payload.advance(used);
            if payload.len() > METADATA_PIECE_LEN {
                let (limit, received) = (METADATA_PIECE_LEN as u64, payload.len() as u64);
                return Err(DecodeError::new(WHAT, used, ErrorKind::Limit { limit, received }));
            }
            Some(MetadataMessage::Data { piece, total_size, data: payload })
        }
        2 => Some(MetadataMessage::Reject { piece }),
        _ => None,
    })
}

/// The dictionary alone: the bytes of a piece follow it.
fn encode_metadata(message: &MetadataMessage) -> Vec<u8> {
    let (kind, piece, total_size) = match message {
        MetadataMessage::Request { piece } => (0, *piece, None),
        MetadataMessage::Data { piece, total_size, .. } => (1, *piece, Some(*total_size)),
        MetadataMessage::Reject { piece } => (2, *piece, None),
    };
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.uint(b"msg_type", kind);
        dict.uint(b"piece", piece.into());
        if let Some(size) = total_size {
            dict.uint(b"total_size", size.into());
        }
    });
    out.into_bytes()
}

fn decode_pex(payload: &[u8]) -> Result<PexMessage, DecodeError> {
    let (document, _) = Document::parse_prefix(payload, Limits::MESSAGE)?;
    let root = document.root();
    if !root.is_dict() {
        return Err(root.expected("peer exchange message", "a dictionary"));
    }
    let bytes = |key: &[u8]| root.get(key).and_then(|value| value.as_bytes()).unwrap_or(&[]);
    let mut message = PexMessage::default();
    for (added, flags, size) in
        [(b"added" as &[u8], b"added.f" as &[u8], V4_LEN), (b"added6", b"added6.f", V6_LEN)]
    {
        let flags = bytes(flags).iter().copied().chain(core::iter::repeat(0));
        let peers = addrs(bytes(added), size).zip(flags);
        let room = PEX_PEERS_MAX - message.added.len();
        message.added.extend(peers.take(room).map(|(addr, flags)| PexPeer { addr, flags }));
    }
    for (dropped, size) in [(b"dropped" as &[u8], V4_LEN), (b"dropped6", V6_LEN)] {
        let room = PEX_PEERS_MAX - message.dropped.len();
        message.dropped.extend(addrs(bytes(dropped), size).take(room));
    }
    Ok(message)
}

fn encode_pex(message: &PexMessage) -> Vec<u8> {
    let mut lists: [Vec<u8>; 6] = Default::default();
    let [added, flags, added6, flags6, dropped, dropped6] = &mut lists;
    for peer in &message.added {
        let (list, flags) = if peer.addr.is_ipv4() {
            (&mut *added, &mut *flags)
        } else {
            (&mut *added6, &mut *flags6)
        };
        put_addr(list, &peer.addr);
        flags.push(peer.flags);
    }
    for addr in &message.dropped {
        put_addr(if addr.is_ipv4() { dropped } else { dropped6 }, addr);
    }
    let mut out = Encoder::new();
    out.dict(|dict| {
        // IPv4 fields are always there, since some clients want them; the others only when they say something.
        dict.bytes(b"added", added);
        dict.bytes(b"added.f", flags);
        if !added6.is_empty() {
            dict.bytes(b"added6", added6);
            dict.bytes(b"added6.f", flags6);
        }
        dict.bytes(b"dropped", dropped);
        if !dropped6.is_empty() {
            dict.bytes(b"dropped6", dropped6);
        }
    });
    out.into_bytes()
}

/// `None` for a message or address type that BEP 55 does not know.
fn decode_hole_punch(payload: &[u8]) -> Result<Option<HolePunch>, DecodeError> {
    const WHAT: &str = "hole-punch message";
    let Some((&[kind, family], rest)) = payload.split_first_chunk::<2>() else {
        return Err(truncated(WHAT, payload));
    };
    let size = match family {
        0 => V4_LEN,
        1 => V6_LEN,
        _ => return Ok(None),
    };
    let Some((addr, mut rest)) = rest.split_at_checked(size) else {
        return Err(truncated(WHAT, payload));
    };
    let Some(addr) = get_addr(addr) else { return Ok(None) };
    Ok(match kind {
        0 => Some(HolePunch::Rendezvous { addr }),
        1 => Some(HolePunch::Connect { addr }),
        2 => match rest.try_get_u32() {
            Ok(code) => Some(HolePunch::Error { addr, code }),
            Err(_) => return Err(truncated(WHAT, payload)),
        },
        _ => None,
    })
}

fn encode_hole_punch(message: &HolePunch, out: &mut Prefix) {
    let (kind, addr, code) = match message {
        HolePunch::Rendezvous { addr } => (0, addr, 0),
        HolePunch::Connect { addr } => (1, addr, 0),
        HolePunch::Error { addr, code } => (2, addr, *code),
    };
    out.put_slice(&[kind, u8::from(addr.is_ipv6())]);
    let mut bytes = Vec::with_capacity(V6_LEN);
    put_addr(&mut bytes, addr);
    out.put_slice(&bytes);
    out.put_u32(code);
}

/// `None` for a message of a later version.
fn decode_shoal(payload: &[u8]) -> Result<Option<ShoalMessage>, DecodeError> {
    let Some((&kind, entries)) = payload.split_first() else {
        return Err(truncated("shoal message", payload));
    };
    Ok(match kind {
        SHOAL_REQUESTS => Some(ShoalMessage::Requests(decode_due("shoal requests", entries)?)),
        SHOAL_HURRY => Some(ShoalMessage::Hurry(decode_due("shoal hurry", entries)?)),
        SHOAL_HAVE_BLOCKS => {
            check_entries("shoal have-blocks", entries, SPAN_LEN, HAVE_SPANS_MAX)?;
            let spans = entries.chunks_exact(SPAN_LEN).map(|mut entry| BlockSpan {
                piece: entry.get_u32(),
                first: entry.get_u16(),
                count: entry.get_u16(),
            });
            Some(ShoalMessage::HaveBlocks(spans.collect()))
        }
        SHOAL_PLAYHEAD => {
            let mut entry = the_entry("shoal playhead", entries, STRETCH_LEN)?;
            Some(ShoalMessage::Playhead(get_stretch(&mut entry)))
        }
        SHOAL_AUDIENCE => {
            check_entries("shoal audience", entries, MEMBER_LEN, MEMBERS_MAX)?;
            let members = entries.chunks_exact(MEMBER_LEN).map(|mut entry| Member {
                id: entry.get_u64(),
                stretch: Some(get_stretch(&mut entry)).filter(|stretch| *stretch != GONE),
            });
            Some(ShoalMessage::Audience(members.collect()))
        }
        SHOAL_COORDINATES => {
            let mut entry = the_entry("shoal coordinates", entries, COORDINATES_LEN)?;
            Some(ShoalMessage::Coordinates(Coordinates {
                at: core::array::from_fn(|_| entry.get_i32()),
                height_us: entry.get_u32(),
                error_permille: entry.get_u16(),
            }))
        }
        _ => None,
    })
}

fn get_stretch(entry: &mut &[u8]) -> Stretch {
    Stretch { from: entry.get_u32(), until: entry.get_u32(), pace: entry.get_u32() }
}

fn put_stretch(stretch: &Stretch, out: &mut Prefix) {
    out.put_u32(stretch.from);
    out.put_u32(stretch.until);
    out.put_u32(stretch.pace);
}

fn decode_due(what: &'static str, entries: &[u8]) -> Result<Vec<DueRequest>, DecodeError> {
    check_entries(what, entries, DUE_REQUEST_LEN, SHOAL_REQUESTS_MAX)?;
    let requests = entries.chunks_exact(DUE_REQUEST_LEN).map(|mut entry| DueRequest {
        block: BlockRequest {
            piece: entry.get_u32(),
            offset: entry.get_u32(),
            length: entry.get_u32(),
        },
        due_in_ms: entry.get_u16(),
    });
    Ok(requests.collect())
}

/// Whether `entries` is a whole number of entries of `size` bytes, at most `count_max`.
fn check_entries(
    what: &'static str,
    entries: &[u8],
    size: usize,
    count_max: usize,
) -> Result<(), DecodeError> {
    let count = entries.len().div_ceil(size);
    if count > count_max {
        let (limit, received) = (count_max as u64, count as u64);
        return Err(DecodeError::new(what, 1, ErrorKind::Limit { limit, received }));
    }
    if !entries.len().is_multiple_of(size) {
        return Err(DecodeError::new(what, 1 + entries.len(), ErrorKind::Truncated));
    }
    Ok(())
}

/// The one entry of `size` bytes that a message of one has.
fn the_entry<'a>(
    what: &'static str,
    entries: &'a [u8],
    size: usize,
) -> Result<&'a [u8], DecodeError> {
    check_entries(what, entries, size, 1)?;
    if entries.is_empty() {
        Err(DecodeError::new(what, 1, ErrorKind::Truncated))
    } else {
        Ok(entries)
    }
}

fn encode_due(kind: u8, requests: &[DueRequest], out: &mut Prefix) {
    out.reserve(1 + requests.len() * DUE_REQUEST_LEN);
    out.put_u8(kind);
    for request in requests {
        out.put_u32(request.block.piece);
        out.put_u32(request.block.offset);
        out.put_u32(request.block.length);
        out.put_u16(request.due_in_ms);
    }
}

fn encode_shoal(message: &ShoalMessage, out: &mut Prefix) {
    match message {
        ShoalMessage::Requests(requests) => encode_due(SHOAL_REQUESTS, requests, out),
        ShoalMessage::Hurry(requests) => encode_due(SHOAL_HURRY, requests, out),
        ShoalMessage::HaveBlocks(spans) => {
            out.reserve(1 + spans.len() * SPAN_LEN);
            out.put_u8(SHOAL_HAVE_BLOCKS);
            for span in spans {
                out.put_u32(span.piece);
                out.put_u16(span.first);
                out.put_u16(span.count);
            }
        }
        ShoalMessage::Playhead(stretch) => {
            out.reserve(1 + STRETCH_LEN);
            out.put_u8(SHOAL_PLAYHEAD);
            put_stretch(stretch, out);
        }
        ShoalMessage::Audience(members) => {
            out.reserve(1 + members.len() * MEMBER_LEN);
            out.put_u8(SHOAL_AUDIENCE);
            for member in members {
                out.put_u64(member.id);
                put_stretch(&member.stretch.unwrap_or(GONE), out);
            }
        }
        ShoalMessage::Coordinates(place) => {
            out.reserve(1 + COORDINATES_LEN);
            out.put_u8(SHOAL_COORDINATES);
            place.at.iter().for_each(|part| out.put_i32(*part));
            out.put_u32(place.height_us);
            out.put_u16(place.error_permille);
        }
    }
}
