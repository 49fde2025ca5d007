//! Formats of the network: bytes to values and back.
//!
//! **Does**: bencode, metainfo v1/v2/hybrid, magnet links, peer messages and their extensions, tracker
//! and local-discovery datagrams, Merkle hashes of BEP 52, the published time index, the names of virtual time slots.
//! **Refuses**: time, sockets, state of a connection, decisions.
//! **Start** at [`peer::Message`] for what peers say, at [`metainfo::Info`] for what a title is.
//!
//! Every decoder takes foreign bytes: it is bounded by a named limit, never panics, never recurses on
//! the input's depth, and allocates no more than a small multiple of the input.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod bencode;
pub mod bitfield;
mod compact;
pub mod error;
pub mod ids;
pub mod lsd;
pub mod magnet;
pub mod merkle;
pub mod metainfo;
pub mod peer;
pub mod slot;
mod text;
pub mod time_index;
pub mod tracker;

pub use error::DecodeError;
pub use ids::{Hash20, Hash32, InfoHashes, PeerId};
