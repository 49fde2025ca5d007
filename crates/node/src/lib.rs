//! One whole peer, without I/O.
//!
//! **A turn**: the world calls [`Node::step`] with one [`io::Input`]; the node hands it to the room that owns it; the
//! room appends [`io::Effect`]s for the world and notes for other rooms; `Node::route` delivers the notes until none are
//! left. Rooms never call each other. Then the world reads [`Node::deadline`].
//!
//! **Start** at [`io`] (the vocabulary), then `node.rs` (the switchboard), then the room you care about: `swarm`
//! (exchange of blocks), `play` (windows and playback), `discover` (who has it).
//!
//! **Refuses**: clocks, sockets, files, threads, randomness of its own, floats in decisions, iteration over hash maps.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod config;
pub mod io;
pub mod link;
pub mod record;
pub mod rng;
pub mod stack;
pub mod time;

mod compact;
mod discover;
mod node;
mod play;
pub mod stats;
mod swarm;
#[cfg(test)]
mod testing;
mod titles;
mod turn;

pub use discover::directory;
pub use io::Machine;
pub use node::Node;
pub use stack::{Stack, StackEffect, StackInput};
pub use turn::Found;
