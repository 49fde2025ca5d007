//! In which virtual time slot each title is watched (`shoal_wire::slot`): what its viewer can be found by.
//!
//! ```text
//! nobody watches --a player has its place--> in slot s --jump, long pause--> in slot t
//!        ^------------------- last player gone -----------/
//! ```
//!
//! Who plays on stays in its slot, since film and wall clock pass alike, so a slot is looked at when windows are told, and
//! again when a playhead that stands still would leave it. Without a wall clock there are no slots.

use core::time::Duration;

use crate::link::TitleId;
use crate::time::{Instant, earlier};
use crate::turn::{Note, Turn};

use super::reader::Claim;
use super::timeline::millis;
use super::{Play, Player};

/// What the wall clock showed, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct WallClock {
    unix_ms: u64,
    at: Instant,
}

impl WallClock {
    fn now(&self, now: Instant) -> u64 {
        self.unix_ms.saturating_add(millis(now.since(self.at)))
    }
}

/// The slot of a title's viewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct InSlot {
    pub(super) slot: i64,
    /// When a playhead that stands still is in the next one.
    pub(super) until: Instant,
}

impl Play {
    /// What the wall clock shows.
    pub(crate) fn on_clock(&mut self, turn: &mut Turn<'_>, unix_ms: u64) {
        self.wall = Some(WallClock { unix_ms, at: turn.now });
        self.look_at_slots(turn, |_| true);
        self.plan(turn);
    }
    /// Playheads that stood still may have left their slots.
    pub(super) fn look_at_drift(&mut self, turn: &mut Turn<'_>) {
        let now = turn.now;
        self.look_at_slots(turn, |held| held.is_some_and(|held| held.until <= now));
    }
    fn look_at_slots(&mut self, turn: &mut Turn<'_>, due: impl Fn(Option<InSlot>) -> bool) {
        let titles: alloc::vec::Vec<TitleId> =
            self.titles.iter().filter(|(_, known)| due(known.slot)).map(|(id, _)| *id).collect();
        for title in titles {
            self.tell_slot(turn, title);
        }
    }
    /// Notes the slot of a title, if it is another than before.
    pub(super) fn tell_slot(&mut self, turn: &mut Turn<'_>, title: TitleId) {
        let new = self.slot_of(title, turn.now);
        let Some(known) = self.titles.get_mut(&title) else { return };
        let before = core::mem::replace(&mut known.slot, new);
        let slot = new.map(|held| held.slot);
        if before.map(|held| held.slot) != slot {
            turn.note(Note::Slot { title, slot });
        }
    }
    /// Where the newest player of a title is that has a place, readers only if they lead.
    fn slot_of(&self, title: TitleId, now: Instant) -> Option<InSlot> {
        let wall = self.wall?;
        let known = self.titles.get(&title)?;
        let slots = known.info.as_ref()?.slots;
        let place = |player: &Player| -> Option<(u64, u32, Duration)> {
            match player {
                Player::Show(show) => Some((show.order, show.file, show.position(now)?)),
                Player::Reader(reader) => {
                    let leads = reader.claim(self.leads(reader)) == Claim::Full;
                    let at = reader.film_position(now).filter(|_| leads)?;
                    Some((reader.order, reader.file, at))
                }
            }
        };
        let players = self.players.values().filter(|player| player.title() == title);
        let (_, file, position) = players.filter_map(place).max()?;
        let (unix_ms, at_ms) = (wall.now(now), millis(position));
        let ends_in = slots.ends_in(unix_ms, at_ms);
        Some(InSlot {
            slot: slots.at(unix_ms, file, at_ms),
            until: now + Duration::from_millis(ends_in),
        })
    }
    /// When a playhead may have left its slot.
    pub(super) fn drift_deadline(&self) -> Option<Instant> {
        self.titles
            .values()
            .fold(None, |next, known| earlier(next, known.slot.map(|held| held.until)))
    }
}
