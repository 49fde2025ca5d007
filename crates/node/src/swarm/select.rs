//! Which files of a title are wanted: the others are fetched only as far as readers ask for them, and complete is what is
//! wanted. A piece that a wanted file shares with another one is wanted. And which file is fetched before the others.

use alloc::vec::Vec;
use core::ops::Range;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::{FileEntry, Info};

use super::Hub;
use super::title::{Content, Phase, Swarm};
use crate::turn::Turn;

/// The pieces of files whose index lies in one of `ranges`, both ends included.
fn pieces_of(info: &Info, ranges: &[(u32, u32)]) -> Bitfield {
    let mut wanted = Bitfield::new(info.layout.piece_count());
    let selected = |index: u32| ranges.iter().any(|&(first, last)| (first..=last).contains(&index));
    for (_, file) in (0u32..).zip(&info.files).filter(|(index, _)| selected(*index)) {
        for piece in pieces_of_file(info, file) {
            wanted.set(piece);
        }
    }
    wanted
}

/// The pieces of a file.
fn pieces_of_file(info: &Info, file: &FileEntry) -> Range<u32> {
    let place = |offset| info.layout.piece_at(offset).map(|piece| piece.get());
    let last = file.length.checked_sub(1).and_then(|last| place(file.start + last));
    match (place(file.start), last) {
        (Some(first), Some(last)) => first..last.saturating_add(1),
        _ => 0..0,
    }
}

impl Content {
    /// Takes over which files are wanted; all when `ranges` is empty. O(pieces + files · ranges).
    pub(super) fn select(&mut self, ranges: &[(u32, u32)]) {
        let wanted = (!ranges.is_empty()).then(|| pieces_of(&self.pieces.info, ranges));
        self.pieces.select(wanted);
        for piece in 0..self.pieces.info.layout.piece_count() {
            if self.pieces.may_begin(piece) {
                self.availability.list(piece);
            } else {
                self.availability.unlist(piece);
            }
        }
    }
    /// Takes over which file is fetched before the others.
    pub(super) fn prefer(&mut self, file: Option<u32>) {
        let info = &self.pieces.info;
        let entry = file.and_then(|file| info.files.get(usize::try_from(file).ok()?));
        self.preferred = entry.map_or(0..0, |entry| pieces_of_file(info, entry));
    }
    /// The pieces that are begun before others, while one of them is not here. O(pieces / 8).
    pub(super) fn preferred(&self) -> Option<&Range<u32>> {
        if self.preferred.is_empty() {
            return None;
        }
        let lacking = self.pieces.held().next(self.preferred.start, false);
        lacking.filter(|piece| self.preferred.contains(piece)).map(|_| &self.preferred)
    }
    /// Nothing is to be fetched now.
    pub(super) fn is_sated(&self) -> bool {
        self.pieces.is_complete() && (!self.plan.is_live() || self.pieces.is_full())
    }
    /// Whether a peer that has `piece` has something for us.
    pub(super) fn needs(&self, piece: u32) -> bool {
        !self.pieces.is_held(piece) && (self.pieces.is_wanted(piece) || self.plan.is_live())
    }
}

impl Swarm {
    /// From now on the files in `ranges` are wanted, or all when there are none.
    pub(super) fn select(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, ranges: Vec<(u32, u32)>) {
        self.selected = ranges;
        if let Phase::Ready(content) = &mut self.phase {
            content.select(&self.selected);
            content.finished &= content.pieces.is_complete();
        }
        for slot in self.slots() {
            if let Some(peer) = self.peer_mut(slot) {
                peer.current = None;
            }
        }
        if self.content().is_some_and(|content| content.pieces.is_complete()) {
            return self.on_complete(turn, hub);
        }
        self.seek_more(turn);
        self.fill_all(turn);
    }
    /// From now on a file is fetched before the others. What is on its way or begun goes on.
    pub(super) fn prefer(&mut self, file: u32) {
        self.preferred = Some(file);
        if let Phase::Ready(content) = &mut self.phase {
            content.prefer(self.preferred);
        }
    }
    /// More may be wanted than before: interest in peers that have it. O(links · pieces).
    pub(super) fn seek_more(&mut self, turn: &mut Turn<'_>) {
        for slot in self.slots() {
            let (Some(peer), Some(content)) = (self.peer(slot), self.content()) else { continue };
            let count = content.pieces.info.layout.piece_count();
            if !peer.interested
                && (0..count).any(|piece| content.needs(piece) && peer.has_piece(piece))
            {
                self.become_interested(turn, slot);
            }
        }
    }
}
