//! A desk for turn tests of one room: it holds what a [`Turn`] borrows and collects what the room says.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use shoal_wire::metainfo::{FileEntry, Info, Layout};
use shoal_wire::{Hash20, Hash32, InfoHashes, PeerId};

use crate::config::Config;
use crate::io::Effect;
use crate::rng::{Rng, Seed};
use crate::time::Instant;
use crate::turn::{Note, Tally, Tickets, Turn};

/// Everything around one room.
#[derive(Debug)]
pub(crate) struct Desk {
    /// The time of the next turn.
    pub(crate) now: Instant,
    /// Settings; change them before the first turn.
    pub(crate) config: Arc<Config>,
    /// What the room told the world and nobody took yet.
    pub(crate) effects: Vec<Effect>,
    /// What the room told other rooms and nobody took yet.
    pub(crate) notes: Vec<Note>,
    /// Jobs under way.
    pub(crate) tickets: Tickets,
    /// Counters by title.
    pub(crate) counters: Tally,
    rng: Rng,
}

impl Desk {
    /// A desk at time zero.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            now: Instant::ZERO,
            config: Arc::new(config),
            effects: Vec::new(),
            notes: Vec::new(),
            tickets: Tickets::default(),
            counters: Tally::default(),
            rng: Rng::new(Seed::from_u64(7)),
        }
    }
    /// One turn of `act`.
    pub(crate) fn turn<R>(&mut self, act: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let config = Arc::clone(&self.config);
        let mut turn = Turn {
            now: self.now,
            rng: &mut self.rng,
            config: &config,
            peer_id: PeerId::from_random([7; 12]),
            effects: &mut self.effects,
            notes: &mut self.notes,
            tickets: &mut self.tickets,
            counters: &mut self.counters,
        };
        act(&mut turn)
    }
    /// Lets time pass.
    pub(crate) fn pass_ms(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
    }
    /// The notes since the last call.
    pub(crate) fn take_notes(&mut self) -> Vec<Note> {
        core::mem::take(&mut self.notes)
    }
    /// The effects since the last call.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        core::mem::take(&mut self.effects)
    }
}

/// A title of one piece space with files of these lengths, one after the other, each from a piece boundary.
pub(crate) fn info(lengths: &[u64], private: bool) -> Arc<Info> {
    const PIECE: u32 = 256 * 1024;
    let mut start: u64 = 0;
    let mut files = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        start = start.next_multiple_of(u64::from(PIECE));
        files.push(FileEntry {
            path: alloc::vec![alloc::format!("film{index}.mp4")],
            length,
            start,
            pieces_root: None,
        });
        start += length;
    }
    Arc::new(Info {
        hashes: hashes(),
        raw: Bytes::new(),
        name: String::from("film"),
        folder: lengths.len() > 1,
        files,
        layout: Layout::new(PIECE, start, Vec::new()).expect("few pieces"),
        piece_hashes: Bytes::new(),
        private,
        slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
        time_indexes: Vec::new(),
    })
}

/// Names of a hybrid title.
pub(crate) fn hashes() -> InfoHashes {
    InfoHashes { v1: Some(Hash20([1; 20])), v2: Some(Hash32([2; 32])) }
}
