//! A virtual world that moves the very nodes that ship: with links, delays, rates, losses, disks and faults, and without
//! a clock or a socket of its own.
//!
//! **Does**: [`run`] scenarios ([`scenario`]) under policies ([`policy`]) over seeds, with checks on every step
//! ([`check`]), and leaves a [`report::Report`]. [`replay`] shows one seed again in words.
//!
//! **Start** at [`world::World`] (the loop), then [`network`] (how bytes travel), then [`stage::Stage`] (who does what).
//!
//! **Refuses**: the wall clock, sockets, randomness of the operating system, protocol decisions, `if simulated` anywhere
//! in a node: what is measured is what ships.
#![forbid(unsafe_code)]

pub mod arrived;
pub mod catalogue;
pub mod check;
pub mod content;
pub mod directory;
pub mod disk;
pub mod faults;
pub mod firsts;
pub mod fluid;
mod marks;
pub mod metrics;
pub mod network;
pub mod page;
pub mod plant;
pub mod plot;
pub mod policy;
pub mod queue;
pub mod report;
mod runner;
pub mod scenario;
pub mod stage;
pub mod trace;
pub mod workload;
pub mod world;

pub use runner::{
    Heard, Host, Options, Replay, Replayed, Source, list, policies, replay, replay_record, run,
};
