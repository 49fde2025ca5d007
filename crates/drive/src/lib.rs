//! The real world of a node: sockets, disk, hashing, HTTP fetches, names, timers.
//!
//! **Does**: moves one [`shoal_node`] peer with real input and output. [`handle::Engine`] is the face for programs: start
//! it, add titles, read events and film bytes, shut it down.
//! **Refuses**: decisions of the protocol. What to ask of whom, whom to serve, what to announce: all of it is in `node`.
//!
//! One thread per node runs its sockets and its [`Machine`](shoal_node::Machine) (`engine`), a few more run the slow
//! jobs (`pool`): no disk and no hash work ever runs on the network thread, and no lock guards protocol state.
//!
//! **Start** at [`handle`] for use, at `engine` for the loop, at [`storage`] and [`resume`] for what touches the disk.
#![deny(unsafe_code)]

pub mod address;
pub mod buffers;
pub mod directory_udp;
pub mod error;
pub mod fetch;
pub mod handle;
pub mod hash;

pub mod pool;
pub mod publish;
pub mod resolve;
pub mod resume;
pub mod storage;
pub mod title;

mod clock;
mod config;
mod engine;
mod hub;
mod inbox;
mod kept;
mod link;
mod outbox;
mod recording;
mod sockets;
#[cfg(test)]
mod testing;
mod throttle;
mod troubles;
mod unacked;
mod upkeep;

pub use error::DriveError;
pub use handle::{CacheOptions, Engine, EngineOptions, Reader};
pub use kept::default_quota;
pub use pool::TitleOptions;
pub use storage::Place;
pub use title::Trust;
