//! What two peers say to each other once connected: BEP 3, 6, 9, 10, 11, 21, 52, 54 and our own `shoal`
//! extension (docs/protocol.md).
//!
//! [`Message`] is the whole vocabulary, typed; `codec` turns it into bytes and back. `extension` holds the vocabulary of
//! BEP 10 messages, `payload` their bytes, `handshake` the first 68 bytes, `allowed` the pieces that a choked peer may ask for.

mod allowed;
mod codec;
mod extension;
mod handshake;
mod payload;
#[cfg(test)]
mod tests;

use alloc::boxed::Box;
use bytes::Bytes;

pub use allowed::allowed_fast_set;
pub use codec::{
    BITFIELD_MAX, BLOCK_MESSAGE_MAX, Decoded, EXTENDED_MAX, ExtensionIds, FRAME_MAX, Framing,
    HASHES_MAX, Prefix, decode, encode_prefix, encoded_len, whole_frames,
};
pub use extension::{
    BlockSpan, Coordinates, DueRequest, Extended, ExtensionHandshake, HolePunch, Member,
    MetadataMessage, PexMessage, PexPeer, ShoalHello, ShoalMessage, Stretch,
};
pub use handshake::{HANDSHAKE_LEN, Handshake};
pub use payload::{
    HAVE_SPANS_MAX, MEMBERS_MAX, METADATA_PIECE_LEN, PEX_PEERS_MAX, SHOAL_REQUESTS_MAX,
};

/// Bytes in a block, the unit of a request (BEP 3: every client asks for 16 KiB).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A run of bytes inside one piece: the subject of request, cancel and reject.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BlockRequest {
    /// Piece index as the remote wrote it: unchecked.
    pub piece: u32,
    /// First byte inside the piece.
    pub offset: u32,
    /// Number of bytes.
    pub length: u32,
}

/// Which hashes of a file's Merkle tree are meant (BEP 52, "hash request").
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct HashRange {
    /// Root of the file's tree: names the file.
    pub pieces_root: crate::Hash32,
    /// 0 is the leaf layer.
    pub base_layer: u32,
    /// Index of the first hash in the base layer, a multiple of `length`.
    pub index: u32,
    /// Number of hashes of the base layer, a power of two, at least 2.
    pub length: u32,
    /// Number of ancestor layers for which uncle hashes are asked.
    pub proof_layers: u32,
}

/// One message between peers. The handshake is the first on every link, in both directions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// BEP 3's first 68 bytes.
    Handshake(Box<Handshake>),
    /// Four zero bytes: the link is alive.
    KeepAlive,
    /// Requests will not be served.
    Choke,
    /// Requests will be served.
    Unchoke,
    /// The sender wants something the receiver has.
    Interested,
    /// The sender wants nothing.
    NotInterested,
    /// The sender has a whole piece.
    Have {
        /// Piece index, unchecked.
        piece: u32,
    },
    /// All pieces the sender has, one bit each, high bit first.
    Bitfield(Bytes),
    /// Asks for a block.
    Request(BlockRequest),
    /// A block.
    Piece {
        /// Piece index, unchecked.
        piece: u32,
        /// First byte inside the piece.
        offset: u32,
        /// Film bytes, shared with the receive buffer.
        data: Bytes,
    },
    /// Takes a request back.
    Cancel(BlockRequest),
    /// UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// BEP 6: a piece that is cheap for the sender to serve.
    Suggest {
        /// Piece index, unchecked.
        piece: u32,
    },
    /// BEP 6: in place of a full bitfield.
    HaveAll,
    /// BEP 6: in place of an empty bitfield.
    HaveNone,
    /// BEP 6: this request will not be served.
    Reject(BlockRequest),
    /// BEP 6: this piece may be asked for while choked.
    AllowedFast {
        /// Piece index, unchecked.
        piece: u32,
    },
    /// BEP 52: asks for hashes of a file's tree.
    HashRequest(Box<HashRange>),
    /// BEP 52: the hashes of the base layer, then the uncles, 32 bytes each.
    Hashes {
        /// What was asked.
        range: Box<HashRange>,
        /// Base hashes followed by uncle hashes.
        hashes: Bytes,
    },
    /// BEP 52: these hashes will not be sent.
    HashReject(Box<HashRange>),
    /// BEP 10 message, typed; the wire id is the codec's concern.
    Extended(Box<Extended>),
}
