//! Faces of a peer for people, players and programs: HTTP and RTSP.
//!
//! **Does**: serves films as byte ranges and in segments to ordinary players, as frames to those that speak RTSP ([`rtsp`]), a page, JSON, server-sent events and Prometheus metrics
//! ([`viewer`]); an HTTP tracker over a directory ([`directory`]). The events that programs read have one shape, made in
//! one place ([`reports`]), for the network and for the terminal.
//! **Refuses**: sockets of peers, protocol decisions, state of its own beyond open connections.
//! **Start** at [`viewer::Viewer`], what it serves stands in [`library`].
//!
//! A local server can be reached by every web page its user visits, so [`guard`] comes before every answer: names in
//! `Host`, origins, and tokens. Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 6266 (content disposition), the
//! WHATWG's server-sent events.
#![forbid(unsafe_code)]

pub mod body;
pub mod conditions;
pub mod directory;
pub mod family;
pub mod guard;
pub mod kind;
pub mod library;
pub mod offers;
pub mod range;
pub mod reports;
pub mod rtsp;
pub mod server;
pub mod shelf;
pub mod viewer;

mod answer;
mod durations;
mod limits;
mod lookup;
mod pace;
mod packages;
mod pieces;
mod seats;
mod segments;

pub use server::{Limits, Server};
