//! The vocabulary of BEP 10 messages, typed. `payload` turns it into bytes and back.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};

use super::BlockRequest;

/// An extended message, by what it means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Extended {
    /// BEP 10, id 0.
    Handshake(ExtensionHandshake),
    /// BEP 9, `ut_metadata`.
    Metadata(MetadataMessage),
    /// BEP 11, `ut_pex`.
    Pex(PexMessage),
    /// BEP 54, `lt_donthave`: a piece the sender no longer has.
    DontHave {
        /// Piece index, unchecked.
        piece: u32,
    },
    /// BEP 21, `upload_only`: the sender will not ask for anything.
    UploadOnly(bool),
    /// BEP 55, `ut_holepunch`.
    HolePunch(HolePunch),
    /// Our own, `shoal` (docs/protocol.md).
    Shoal(ShoalMessage),
    /// Anything else: kept so that it can be counted, never answered.
    Unknown {
        /// Id under which it came.
        id: u8,
    },
}

/// What a peer says of itself (BEP 10; `upload_only` BEP 21; `metadata_size` BEP 9; `shoal` ours).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ExtensionHandshake {
    /// Which extensions the sender understands, by our names for them.
    pub ids: super::ExtensionIds,
    /// Length of the info dictionary, bytes, if the sender has it.
    pub metadata_size: Option<u32>,
    /// TCP port on which the sender listens.
    pub listen_port: Option<u16>,
    /// Client name and version, at most 64 characters, control characters removed.
    pub client: Option<String>,
    /// Number of outstanding requests the sender accepts.
    pub request_queue: Option<u32>,
    /// Address of the receiver as the sender sees it.
    pub your_ip: Option<IpAddr>,
    /// The sender will not ask for anything (BEP 21).
    pub upload_only: bool,
    /// Present when the sender is a Shoal peer.
    pub shoal: Option<ShoalHello>,
}

/// The `shoal` dictionary of an extension handshake.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShoalHello {
    /// Version of our extension; 1.
    pub version: u32,
    /// The sender is a publisher, an edge or a web seed: a parent of last resort whose bytes count as server bytes.
    pub source: bool,
}

/// BEP 9.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataMessage {
    /// Asks for 16 KiB piece `piece` of the info dictionary.
    Request {
        /// Metadata piece index, unchecked.
        piece: u32,
    },
    /// A piece.
    Data {
        /// Metadata piece index, unchecked.
        piece: u32,
        /// Length of the whole info dictionary as the sender says, unchecked.
        total_size: u32,
        /// The bytes.
        data: Bytes,
    },
    /// The sender does not have it or will not send it.
    Reject {
        /// Metadata piece index, unchecked.
        piece: u32,
    },
}

/// A peer named by another peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Flag bits of BEP 11: 0x02 seed or upload only, 0x10 reachable.
    pub flags: u8,
}

/// BEP 11: what changed among the sender's connections. IPv4 and IPv6 together.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PexMessage {
    /// Peers that connected.
    pub added: Vec<PexPeer>,
    /// Peers that left.
    pub dropped: Vec<SocketAddr>,
}

/// BEP 55.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolePunch {
    /// Asks a common neighbour to introduce us to `addr`.
    Rendezvous {
        /// Who is meant.
        addr: SocketAddr,
    },
    /// Tells to dial `addr` now.
    Connect {
        /// Whom to dial.
        addr: SocketAddr,
    },
    /// The introduction failed with this BEP 55 error code.
    Error {
        /// Who was meant.
        addr: SocketAddr,
        /// BEP 55 error code.
        code: u32,
    },
}

/// A run of whole blocks inside one piece.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockSpan {
    /// Piece index, unchecked.
    pub piece: u32,
    /// First block (16 KiB units) inside the piece.
    pub first: u16,
    /// Number of blocks.
    pub count: u16,
}

/// A request with the time at which the asker needs the block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DueRequest {
    /// The block.
    pub block: BlockRequest,
    /// Milliseconds from sending until the block is due; 65,535 when it is not due at any time.
    pub due_in_ms: u16,
}

/// Which blocks of the title somebody needs next. Numbers count blocks of 16 KiB from the start of the title: piece times
/// blocks per piece, plus the block inside the piece. Empty (`from == until`) for a peer that needs nothing by a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stretch {
    /// First block.
    pub from: u32,
    /// One past the last block.
    pub until: u32,
    /// Blocks per 1,000 s by which both move on; 0 while the playhead stands.
    pub pace: u32,
}

/// Somebody else whom a source feeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    /// The last eight bytes of its peer id.
    pub id: u64,
    /// What it needs next; `None` when it has gone.
    pub stretch: Option<Stretch>,
}

/// Where a node lies among others: the round trip between two is about the distance of `at`, and both heights on top
/// (docs/protocol.md). Nothing is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Coordinates {
    /// Microseconds.
    pub at: [i32; 3],
    /// The way from the node to where distances begin, microseconds.
    pub height_us: u32,
    /// How wrong predictions are, per mille of what is measured; 1,000 for who knows nothing.
    pub error_permille: u16,
}

/// In the middle, and sure of nothing.
impl Default for Coordinates {
    fn default() -> Self {
        Self { at: [0; 3], height_us: 100, error_permille: 1000 }
    }
}

/// Messages of our own extension between Shoal peers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShoalMessage {
    /// Requests with due times: answered, cancelled and rejected by the ordinary messages.
    Requests(Vec<DueRequest>),
    /// Requests that are needed sooner than was said. One that is no longer waiting is ignored: its answer crossed this.
    Hurry(Vec<DueRequest>),
    /// Blocks that are verified and can be asked for although their piece is not whole yet.
    HaveBlocks(Vec<BlockSpan>),
    /// To a source: what the sender needs next. Replaces what it said before.
    Playhead(Stretch),
    /// From a source: what changed among those whom it feeds.
    Audience(Vec<Member>),
    /// Where the sender lies. Replaces what it said before.
    Coordinates(Coordinates),
}
