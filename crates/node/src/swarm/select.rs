//! Which files of a title are wanted: the others are fetched only as far as readers ask for them, and complete is what is
//! wanted. A piece that a wanted file shares with another one is wanted.

use alloc::vec::Vec;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Info;

use super::Hub;
use super::title::{Content, Phase, Swarm};
use crate::turn::Turn;

/// The pieces of files whose index lies in one of `ranges`, both ends included.
fn pieces_of(info: &Info, ranges: &[(u32, u32)]) -> Bitfield {
    let mut wanted = Bitfield::new(info.layout.piece_count());
    let selected = |index: u32| ranges.iter().any(|&(first, last)| (first..=last).contains(&index));
    for (_, file) in (0u32..).zip(&info.files).filter(|(index, _)| selected(*index)) {
        let place = |offset| info.layout.piece_at(offset).map(|piece| piece.get());
        let last = file.length.checked_sub(1).and_then(|last| place(file.start + last));
        if let (Some(first), Some(last)) = (place(file.start), last) {
            (first..=last).for_each(|piece| {
                wanted.set(piece);
            });
        }
    }
    wanted
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
