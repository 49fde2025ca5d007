//! The first 68 bytes in each direction (BEP 3), with the capability bits of BEP 5, 6, 10 and 52.
//!
//! **Does**: one fixed layout, both ways. **Refuses**: another protocol name; it says nothing about whether the title is
//! known or the peer wanted.

use bytes::{BufMut, BytesMut};

use crate::error::{DecodeError, ErrorKind};
use crate::{Hash20, PeerId};

/// Length of a handshake on the wire, bytes.
pub const HANDSHAKE_LEN: usize = 68;

/// The length byte and the name with which every handshake begins (BEP 3).
const PROTOCOL: [u8; 20] = *b"\x13BitTorrent protocol";

/// A handshake. Reserved bits that we do not know are dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handshake {
    /// v1 info-hash, or the v2 one truncated.
    pub info_hash: Hash20,
    /// Who speaks.
    pub peer_id: PeerId,
    /// BEP 6: understands have-all, have-none, reject, suggest, allowed-fast.
    pub fast: bool,
    /// BEP 10: understands extended messages.
    pub extended: bool,
    /// BEP 52: on a v1 info-hash, can be upgraded to v2.
    pub v2: bool,
    /// BEP 5: has a DHT port to tell.
    pub dht: bool,
}

/// BEP 10, in reserved byte 5.
const EXTENDED_BIT: u8 = 0x10;
/// BEP 5, in reserved byte 7.
const DHT_BIT: u8 = 0x01;
/// BEP 6, in reserved byte 7.
const FAST_BIT: u8 = 0x04;
/// BEP 52, in reserved byte 7.
const V2_BIT: u8 = 0x10;

impl Handshake {
    /// Reads the first [`HANDSHAKE_LEN`] bytes of `bytes`; what follows is not looked at.
    ///
    /// # Errors
    /// Another protocol name, known from the first wrong byte on, or too few bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        check_start(bytes)?;
        let Some(bytes) = bytes.first_chunk::<HANDSHAKE_LEN>() else {
            return Err(DecodeError::new("handshake", bytes.len(), ErrorKind::Truncated));
        };
        let (mut info_hash, mut peer_id) = ([0u8; 20], [0u8; 20]);
        info_hash.copy_from_slice(&bytes[28..48]);
        peer_id.copy_from_slice(&bytes[48..68]);
        Ok(Self {
            info_hash: Hash20(info_hash),
            peer_id: PeerId(peer_id),
            fast: bytes[27] & FAST_BIT != 0,
            extended: bytes[25] & EXTENDED_BIT != 0,
            v2: bytes[27] & V2_BIT != 0,
            dht: bytes[27] & DHT_BIT != 0,
        })
    }

    /// Appends the [`HANDSHAKE_LEN`] bytes to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut reserved = [0u8; 8];
        reserved[5] = bit(self.extended, EXTENDED_BIT);
        reserved[7] = bit(self.fast, FAST_BIT) | bit(self.v2, V2_BIT) | bit(self.dht, DHT_BIT);
        out.reserve(HANDSHAKE_LEN);
        out.put_slice(&PROTOCOL);
        out.put_slice(&reserved);
        out.put_slice(&self.info_hash.0);
        out.put_slice(&self.peer_id.0);
    }
}

/// Whether `bytes`, perhaps fewer than a whole handshake, can still become one.
///
/// # Errors
/// The first byte that is not BitTorrent's: somebody speaks another protocol.
pub(super) fn check_start(bytes: &[u8]) -> Result<(), DecodeError> {
    match bytes.iter().zip(PROTOCOL).position(|(&byte, expected)| byte != expected) {
        None => Ok(()),
        Some(at) => Err(DecodeError::new(
            "handshake",
            at,
            ErrorKind::Expected("the name of the BitTorrent protocol"),
        )),
    }
}
