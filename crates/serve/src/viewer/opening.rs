//! The beginning of a film, asked for before a player asks.
//!
//! A player needs a moment to start, and then reads what it can play only after what tells of it. Both come meanwhile, at once. Nothing is
//! read of the opening itself: a reader that takes nothing makes the swarm bring what it would take first, and is no viewer.

use std::sync::Arc;

use shoal_node::link::TitleId;

use super::Face;
use crate::limits::OPENING_HELD;

/// Asks for the opening of a film of `length` bytes, and waits a while for the player.
pub(super) async fn fetch(face: Arc<Face>, (title, file): (TitleId, u32), length: u64) {
    // What fails here fails before the player's eyes, too, and is told there.
    let Ok(head) = face.library.open(title, file, 0..length).await else { return };
    let film = face.packages.get(&*face.library, title, file, length).await;
    let first = film.ok().and_then(|film| film.first_byte());
    // Behind an index that stands before the film, the opening is elsewhere.
    let opening = match first.filter(|first| *first < length) {
        Some(first) => face.library.open(title, file, first..length).await,
        None => Ok(head),
    };
    if opening.is_ok() {
        tokio::time::sleep(OPENING_HELD).await;
    }
}
