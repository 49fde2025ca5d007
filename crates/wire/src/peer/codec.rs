//! Length-prefixed frames to [`Message`] and back (BEP 3, 5, 6, 10, 52).
//!
//! **Does**: [`whole_frames`] tells a reader of a stream how much it may hand over, [`decode`] takes one message,
//! [`encode_prefix`] writes one. Payloads share the receive buffer's memory; nothing else is allocated for the frequent
//! messages.
//! **Refuses**: frames beyond the limit of their kind, before memory is set aside for them; fixed messages of another
//! length. Messages of kinds unknown to us are skipped: BEP 10 is the way to agree on new ones, but some old clients
//! send theirs unasked.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::extension::Extended;
use super::handshake::{HANDSHAKE_LEN, Handshake, check_start};
use super::{BlockRequest, HashRange, Message};
use crate::Hash32;
use crate::error::{DecodeError, ErrorKind};

/// Longest block in a piece message, bytes: what foreign clients accept as a request (BEP 3 speaks of 16 KiB).
pub const BLOCK_MESSAGE_MAX: usize = 128 * 1024;
/// Longest bitfield, bytes: four million pieces.
pub const BITFIELD_MAX: usize = 512 * 1024;
/// Longest payload of an extended message, its id included, bytes.
pub const EXTENDED_MAX: usize = 1024 * 1024;
/// Most hashes in a hashes message: 8,192 of the base layer and an uncle for each of 64 layers.
pub const HASHES_MAX: usize = 8192 + 64;
/// Longest frame of any kind behind its length field, bytes.
pub const FRAME_MAX: usize = 1 + EXTENDED_MAX;

/// Kinds of messages: the byte behind the length.
mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const PORT: u8 = 9;
    pub(super) const SUGGEST: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    pub(super) const EXTENDED: u8 = 20;
    pub(super) const HASH_REQUEST: u8 = 21;
    pub(super) const HASHES: u8 = 22;
    pub(super) const HASH_REJECT: u8 = 23;
}

/// Bytes of a length field.
const LENGTH_LEN: usize = 4;
/// Bytes of a request, cancel or reject behind its kind.
const REQUEST_LEN: usize = 12;
/// Bytes of a hash range on the wire.
const RANGE_LEN: usize = 48;

/// The BEP 10 ids of one side: under which number that side wants each extension. 0: not understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExtensionIds {
    /// `ut_metadata` (BEP 9).
    pub metadata: u8,
    /// `ut_pex` (BEP 11).
    pub pex: u8,
    /// `lt_donthave` (BEP 54).
    pub dont_have: u8,
    /// `upload_only` (BEP 21).
    pub upload_only: u8,
    /// `ut_holepunch` (BEP 55).
    pub hole_punch: u8,
    /// `shoal` (docs/protocol.md).
    pub shoal: u8,
}

impl ExtensionIds {
    /// The ids that we give to our own extensions, the same on every link.
    pub const OURS: Self =
        Self { metadata: 1, pex: 2, dont_have: 3, upload_only: 4, hole_punch: 5, shoal: 6 };
}

/// What [`decode`] found at the start of a buffer.
#[derive(Debug)]
pub enum Decoded {
    /// One message, taken from the front of the buffer.
    Message(Message),
    /// The buffer holds only part of a message of `need` bytes in all; a well-sized read buffer has room for it.
    Incomplete {
        /// Length of the whole frame (or of the handshake), bytes; at least 4.
        need: usize,
    },
}

/// How a stretch of a stream divides into frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framing {
    /// Bytes from the start that are whole frames.
    pub whole: usize,
    /// Length of the frame that begins there, bytes: 4 while its length field is not whole, 68 for a handshake.
    pub need: usize,
}

/// A message's bytes before its bulk payload: at most 64 on the stack for the frequent ones, heap for the rest.
pub type Prefix = BytesMut;

/// Finds the whole frames at the start of `bytes`. Reads only length fields: O(frames). `handshaken` is false until the
/// remote's handshake was part of `whole`.
///
/// # Errors
/// A frame beyond every limit, or a start that is no handshake. [`decode`] finds the same, and more.
pub fn whole_frames(bytes: &[u8], handshaken: bool) -> Result<Framing, DecodeError> {
    let mut whole = 0;
    if !handshaken {
        check_start(bytes)?;
        if bytes.len() < HANDSHAKE_LEN {
            return Ok(Framing { whole, need: HANDSHAKE_LEN });
        }
        whole = HANDSHAKE_LEN;
    }
    loop {
        let rest = bytes.get(whole..).unwrap_or(&[]);
        let Some(need) = frame_len(rest, whole)? else {
            return Ok(Framing { whole, need: LENGTH_LEN });
        };
        if rest.len() < need {
            return Ok(Framing { whole, need });
        }
        whole += need;
    }
}

/// Length of the frame at the start of `bytes`, length field included; `None` while that field is not whole.
fn frame_len(bytes: &[u8], offset: usize) -> Result<Option<usize>, DecodeError> {
    let Some(length) = bytes.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    let (what, limit) = match bytes.get(LENGTH_LEN) {
        Some(&id) => limit_of(id),
        None => ("frame", FRAME_MAX),
    };
    // A keep-alive has no kind: the byte behind it belongs to the next frame.
    if length > limit && length > 0 {
        let kind = ErrorKind::Limit { limit: limit as u64, received: length as u64 };
        return Err(DecodeError::new(what, offset, kind));
    }
    Ok(Some(LENGTH_LEN + length))
}

/// Name and longest length, kind byte included, of messages of kind `id`.
fn limit_of(id: u8) -> (&'static str, usize) {
    match id {
        id::CHOKE => ("choke message", 1),
        id::UNCHOKE => ("unchoke message", 1),
        id::INTERESTED => ("interested message", 1),
        id::NOT_INTERESTED => ("not-interested message", 1),
        id::HAVE => ("have message", 5),
        id::BITFIELD => ("bitfield message", 1 + BITFIELD_MAX),
        id::REQUEST => ("request message", 1 + REQUEST_LEN),
        id::PIECE => ("piece message", 9 + BLOCK_MESSAGE_MAX),
        id::CANCEL => ("cancel message", 1 + REQUEST_LEN),
        id::PORT => ("port message", 3),
        id::SUGGEST => ("suggest message", 5),
        id::HAVE_ALL => ("have-all message", 1),
        id::HAVE_NONE => ("have-none message", 1),
        id::REJECT => ("reject message", 1 + REQUEST_LEN),
        id::ALLOWED_FAST => ("allowed-fast message", 5),
        id::EXTENDED => ("extended message", 1 + EXTENDED_MAX),
        id::HASH_REQUEST => ("hash-request message", 1 + RANGE_LEN),
        id::HASHES => ("hashes message", 1 + RANGE_LEN + HASHES_MAX * 32),
        id::HASH_REJECT => ("hash-reject message", 1 + RANGE_LEN),
        _ => ("message of an unknown kind", FRAME_MAX),
    }
}

/// Takes one message from the front of `buffer`, which is advanced past it; payloads share its memory.
///
/// `handshaken` is false until the remote's handshake was taken. Extended messages are read by [`ExtensionIds::OURS`].
/// Messages of unknown kinds are skipped.
///
/// # Errors
/// A frame that breaks a limit or a layout. The link is useless afterwards.
pub fn decode(buffer: &mut Bytes, handshaken: bool) -> Result<Decoded, DecodeError> {
    if !handshaken {
        check_start(buffer)?;
        if buffer.len() < HANDSHAKE_LEN {
            return Ok(Decoded::Incomplete { need: HANDSHAKE_LEN });
        }
        let handshake = Handshake::decode(buffer)?;
        buffer.advance(HANDSHAKE_LEN);
        return Ok(Decoded::Message(Message::Handshake(handshake.into())));
    }
    loop {
        let Some(need) = frame_len(buffer, 0)? else {
            return Ok(Decoded::Incomplete { need: LENGTH_LEN });
        };
        if need > buffer.len() {
            return Ok(Decoded::Incomplete { need });
        }
        if need == LENGTH_LEN {
            buffer.advance(LENGTH_LEN);
            return Ok(Decoded::Message(Message::KeepAlive));
        }
        let kind = buffer.get(LENGTH_LEN).copied().unwrap_or(u8::MAX);
        let fields = LENGTH_LEN + 1..need;
        let message = if is_fixed(kind) {
            let message = decode_fixed(kind, buffer.get(fields).unwrap_or(&[]))?;
            buffer.advance(need);
            Some(message)
        } else {
            let mut payload = buffer.split_to(need);
            payload.advance(LENGTH_LEN + 1);
            decode_bulk(kind, payload)?
        };
        if let Some(message) = message {
            return Ok(Decoded::Message(message));
        }
    }
}

/// Whether messages of this kind have a fixed length.
const fn is_fixed(kind: u8) -> bool {
    matches!(
        kind,
        id::CHOKE..=id::HAVE
            | id::REQUEST
            | id::CANCEL
            | id::PORT
            | id::SUGGEST..=id::ALLOWED_FAST
            | id::HASH_REQUEST
            | id::HASH_REJECT
    )
}

/// Reads a message of fixed length from what stands behind its kind.
fn decode_fixed(kind: u8, fields: &[u8]) -> Result<Message, DecodeError> {
    let (what, limit) = limit_of(kind);
    if fields.len() + 1 != limit {
        return Err(DecodeError::new(what, LENGTH_LEN, ErrorKind::Truncated));
    }
    let mut fields = fields;
    let message = match kind {
        id::CHOKE => Message::Choke,
        id::UNCHOKE => Message::Unchoke,
        id::INTERESTED => Message::Interested,
        id::NOT_INTERESTED => Message::NotInterested,
        id::HAVE => Message::Have { piece: fields.get_u32() },
        id::REQUEST => Message::Request(get_request(&mut fields)),
        id::CANCEL => Message::Cancel(get_request(&mut fields)),
        id::PORT => Message::Port(fields.get_u16()),
        id::SUGGEST => Message::Suggest { piece: fields.get_u32() },
        id::HAVE_ALL => Message::HaveAll,
        id::HAVE_NONE => Message::HaveNone,
        id::REJECT => Message::Reject(get_request(&mut fields)),
        id::ALLOWED_FAST => Message::AllowedFast { piece: fields.get_u32() },
        id::HASH_REQUEST => Message::HashRequest(get_range(&mut fields).into()),
        id::HASH_REJECT => Message::HashReject(get_range(&mut fields).into()),
        _ => return Err(DecodeError::invalid(what, "no such message")),
    };
    Ok(message)
}

/// Reads a message that carries a payload; `None` for a kind we do not know.
fn decode_bulk(kind: u8, mut payload: Bytes) -> Result<Option<Message>, DecodeError> {
    let (what, _) = limit_of(kind);
    let truncated = Err(DecodeError::new(what, LENGTH_LEN, ErrorKind::Truncated));
    Ok(Some(match kind {
        id::BITFIELD => Message::Bitfield(payload),
        id::PIECE if payload.len() < 8 => return truncated,
        id::PIECE => {
            let (piece, offset) = (payload.get_u32(), payload.get_u32());
            Message::Piece { piece, offset, data: payload }
        }
        id::HASHES if payload.len() < RANGE_LEN => return truncated,
        id::HASHES => {
            let range = get_range(&mut payload).into();
            if !payload.len().is_multiple_of(32) {
                return Err(DecodeError::invalid(what, "the hashes are not whole"));
            }
            // They are few, and may be kept for as long as the title is: they do not hold on to the buffer they came in.
            Message::Hashes { range, hashes: Bytes::copy_from_slice(&payload) }
        }
        id::EXTENDED if payload.is_empty() => return truncated,
        id::EXTENDED => {
            let id = payload.get_u8();
            Message::Extended(Extended::decode(id, payload)?.into())
        }
        _ => return Ok(None),
    }))
}

/// Takes piece, offset and length; the caller saw to it that they are there.
fn get_request(fields: &mut impl Buf) -> BlockRequest {
    BlockRequest { piece: fields.get_u32(), offset: fields.get_u32(), length: fields.get_u32() }
}

/// Takes the subject of a hash message; the caller saw to it that it is there.
fn get_range(fields: &mut impl Buf) -> HashRange {
    let mut root = [0u8; 32];
    fields.copy_to_slice(&mut root);
    HashRange {
        pieces_root: Hash32(root),
        base_layer: fields.get_u32(),
        index: fields.get_u32(),
        length: fields.get_u32(),
        proof_layers: fields.get_u32(),
    }
}

/// Appends `message` to `out`, without the `data` of [`Message::Piece`], which is returned to be written after it
/// (vectored, uncopied). `remote` gives the ids of extended messages; one the remote does not understand appends nothing.
pub fn encode_prefix(message: &Message, remote: &ExtensionIds, out: &mut Prefix) -> Option<Bytes> {
    match message {
        Message::Handshake(handshake) => handshake.encode(out),
        Message::KeepAlive => out.put_u32(0),
        Message::Choke => put_head(out, id::CHOKE, 0),
        Message::Unchoke => put_head(out, id::UNCHOKE, 0),
        Message::Interested => put_head(out, id::INTERESTED, 0),
        Message::NotInterested => put_head(out, id::NOT_INTERESTED, 0),
        Message::Have { piece } => put_index(out, id::HAVE, *piece),
        Message::Bitfield(bits) => {
            put_head(out, id::BITFIELD, bits.len());
            out.put_slice(bits);
        }
        Message::Request(block) => put_request(out, id::REQUEST, block),
        Message::Piece { piece, offset, data } => {
            let mut head = [0u8; 13];
            head[..4].copy_from_slice(&wire_len(9 + data.len()).to_be_bytes());
            head[4] = id::PIECE;
            head[5..9].copy_from_slice(&piece.to_be_bytes());
            head[9..].copy_from_slice(&offset.to_be_bytes());
            out.put_slice(&head);
            return Some(data.clone());
        }
        Message::Cancel(block) => put_request(out, id::CANCEL, block),
        Message::Port(port) => {
            put_head(out, id::PORT, 2);
            out.put_u16(*port);
        }
        Message::Suggest { piece } => put_index(out, id::SUGGEST, *piece),
        Message::HaveAll => put_head(out, id::HAVE_ALL, 0),
        Message::HaveNone => put_head(out, id::HAVE_NONE, 0),
        Message::Reject(block) => put_request(out, id::REJECT, block),
        Message::AllowedFast { piece } => put_index(out, id::ALLOWED_FAST, *piece),
        Message::HashRequest(range) => put_range(out, id::HASH_REQUEST, range, 0),
        Message::Hashes { range, hashes } => {
            put_range(out, id::HASHES, range, hashes.len());
            out.put_slice(hashes);
        }
        Message::HashReject(range) => put_range(out, id::HASH_REJECT, range, 0),
        Message::Extended(extended) => put_extended(out, extended, remote),
    }
    None
}

/// Bytes that `message` takes on the wire, payload included, if the remote understands it. O(1) for all but BEP 10
/// handshakes and PEX; an [`Extended::Unknown`], which is never sent, takes none.
#[must_use]
pub fn encoded_len(message: &Message) -> usize {
    match message {
        Message::Handshake(_) => HANDSHAKE_LEN,
        Message::KeepAlive => LENGTH_LEN,
        Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::HaveAll
        | Message::HaveNone => LENGTH_LEN + 1,
        Message::Have { .. } | Message::Suggest { .. } | Message::AllowedFast { .. } => {
            LENGTH_LEN + 5
        }
        Message::Bitfield(bits) => LENGTH_LEN + 1 + bits.len(),
        Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => {
            LENGTH_LEN + 1 + REQUEST_LEN
        }
        Message::Piece { data, .. } => LENGTH_LEN + 9 + data.len(),
        Message::Port(_) => LENGTH_LEN + 3,
        Message::HashRequest(_) | Message::HashReject(_) => LENGTH_LEN + 1 + RANGE_LEN,
        Message::Hashes { hashes, .. } => LENGTH_LEN + 1 + RANGE_LEN + hashes.len(),
        Message::Extended(extended) => match extended.payload_len() {
            Some(len) => LENGTH_LEN + 2 + len,
            None => 0,
        },
    }
}

/// A length as it stands on the wire. Our own messages are far below 4 GiB.
fn wire_len(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Length and kind of a message with `fields` bytes behind its kind.
fn put_head(out: &mut Prefix, kind: u8, fields: usize) {
    let [a, b, c, d] = wire_len(1 + fields).to_be_bytes();
    out.put_slice(&[a, b, c, d, kind]);
}

fn put_index(out: &mut Prefix, kind: u8, piece: u32) {
    put_head(out, kind, 4);
    out.put_u32(piece);
}

fn put_request(out: &mut Prefix, kind: u8, block: &BlockRequest) {
    let mut bytes = [0u8; LENGTH_LEN + 1 + REQUEST_LEN];
    bytes[..4].copy_from_slice(&wire_len(1 + REQUEST_LEN).to_be_bytes());
    bytes[4] = kind;
    bytes[5..9].copy_from_slice(&block.piece.to_be_bytes());
    bytes[9..13].copy_from_slice(&block.offset.to_be_bytes());
    bytes[13..].copy_from_slice(&block.length.to_be_bytes());
    out.put_slice(&bytes);
}

fn put_range(out: &mut Prefix, kind: u8, range: &HashRange, more: usize) {
    put_head(out, kind, RANGE_LEN + more);
    out.put_slice(&range.pieces_root.0);
    for field in [range.base_layer, range.index, range.length, range.proof_layers] {
        out.put_u32(field);
    }
}

fn put_extended(out: &mut Prefix, extended: &Extended, remote: &ExtensionIds) {
    let Some(id) = extended.id_for(remote) else { return };
    let start = out.len();
    put_head(out, id::EXTENDED, 0);
    out.put_u8(id);
    extended.encode(out);
    let length = wire_len(out.len() - start - LENGTH_LEN);
    if let Some(field) = out.get_mut(start..start + LENGTH_LEN) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}
