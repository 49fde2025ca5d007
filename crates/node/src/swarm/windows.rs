//! What is needed when: the windows of all readers and playbacks, turned into blocks with due times.
//!
//! Two orders are kept: blocks that nobody was asked for, by due time, and blocks on their way, by the time at which a
//! second peer may be asked (hedging). Both change by O(log n) per block; they are rebuilt when windows move, which
//! `play` does about twice a second.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::peer::BLOCK_LEN;

use super::audit::equal;
use super::pieces::{BlockKey, BlockState, Pieces};
use crate::config::limits::WINDOW_BLOCKS_MAX;
use crate::time::{Instant, time_of};
use crate::turn::Window;

/// Due times of the blocks inside windows.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    windows: Vec<Window>,
    due: BTreeMap<BlockKey, Instant>,
    free: BTreeSet<(Instant, BlockKey)>,
    /// Blocks that are free or asked: not here.
    missing: BTreeSet<(Instant, BlockKey)>,
    asked: BTreeMap<BlockKey, Instant>,
    hedge: BTreeSet<(Instant, BlockKey)>,
}

impl Plan {
    /// Whether anybody needs anything by a time.
    pub(crate) fn is_live(&self) -> bool {
        !self.windows.is_empty()
    }
    /// Whether a playhead moves in one of them.
    pub(crate) fn is_playing(&self) -> bool {
        self.windows.iter().any(|window| window.playing)
    }
    /// The rate of the window that plays fastest, bytes/s; `None` when nobody needs anything by a time.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.windows.iter().map(|window| window.rate.max(1)).max()
    }
    /// What is needed, most wanted first.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }
    /// Takes new windows and finds their blocks again. O(blocks in windows · log).
    pub(crate) fn replace(&mut self, windows: Vec<Window>, pieces: &Pieces) {
        self.windows = windows;
        self.due.clear();
        self.free.clear();
        self.missing.clear();
        let layout = &pieces.info.layout;
        // Without hashes of blocks nothing of a piece is of use before all of it is there.
        let is_proven_whole = pieces.info.hashes.v2.is_none();
        'windows: for window in &self.windows {
            let mut at = window.start;
            while at < window.end {
                let Some(piece) = layout.piece_at(at) else { break };
                let start = layout.start(piece);
                let block = ((at - start) / u64::from(BLOCK_LEN)) as u32;
                let next = if pieces.is_held(piece.get()) || block >= layout.block_count(piece) {
                    start + u64::from(layout.piece_length())
                } else {
                    let key = BlockKey::new(piece.get(), block);
                    let state = pieces.block_state(key);
                    if matches!(state, BlockState::Free | BlockState::Asked | BlockState::Arrived) {
                        let due = due_at(window, if is_proven_whole { start } else { at });
                        // Most wanted windows come first, but the earliest need counts.
                        let known = self.due.get(&key).copied();
                        if known.is_none_or(|known| due < known) {
                            if let Some(known) = known {
                                self.free.remove(&(known, key));
                                self.missing.remove(&(known, key));
                            }
                            self.due.insert(key, due);
                            if state != BlockState::Arrived {
                                self.missing.insert((due, key));
                            }
                            if state == BlockState::Free {
                                self.free.insert((due, key));
                            }
                        }
                    }
                    start + u64::from(block) * u64::from(BLOCK_LEN) + u64::from(BLOCK_LEN)
                };
                if self.due.len() >= WINDOW_BLOCKS_MAX {
                    break 'windows;
                }
                at = next.max(at + 1);
            }
        }
        let due = &self.due;
        self.asked.retain(|key, hedge_at| {
            let keep = due.contains_key(key);
            if !keep {
                self.hedge.remove(&(*hedge_at, *key));
            }
            keep
        });
    }
    /// When a block is due; `None` outside all windows.
    pub(crate) fn due(&self, key: BlockKey) -> Option<Instant> {
        self.due.get(&key).copied()
    }
    /// Blocks nobody was asked for, earliest due first.
    pub(crate) fn free(&self) -> impl Iterator<Item = (Instant, BlockKey)> + '_ {
        self.free.iter().copied()
    }
    /// Whether all blocks in windows are here or on their way.
    pub(crate) fn is_assigned(&self) -> bool {
        self.free.is_empty()
    }
    /// Earliest due time among blocks that are not here.
    pub(crate) fn earliest_missing(&self) -> Option<Instant> {
        self.missing.first().map(|entry| entry.0)
    }
    /// A windowed block was asked for; a second peer may be asked from `hedge_at` on.
    pub(crate) fn on_ask(&mut self, key: BlockKey, hedge_at: Instant) {
        let Some(due) = self.due(key) else { return };
        self.free.remove(&(due, key));
        if let Some(old) = self.asked.insert(key, hedge_at) {
            self.hedge.remove(&(old, key));
        }
        self.hedge.insert((hedge_at, key));
    }
    /// A windowed block is owed by somebody without being asked for in this plan: a second peer may be asked from `hedge_at`
    /// on. Nothing changes when it is looked after already.
    pub(crate) fn watch(&mut self, key: BlockKey, hedge_at: Instant) {
        if self.due.contains_key(&key) && !self.asked.contains_key(&key) {
            self.asked.insert(key, hedge_at);
            self.hedge.insert((hedge_at, key));
        }
    }
    /// A windowed block is free again.
    pub(crate) fn on_free(&mut self, key: BlockKey) {
        self.forget(key);
        if let Some(due) = self.due(key) {
            self.free.insert((due, key));
            self.missing.insert((due, key));
        }
    }
    /// A block came: nothing has to be done for it unless it proves wrong.
    pub(crate) fn on_arrive(&mut self, key: BlockKey) {
        self.forget(key);
        if let Some(due) = self.due(key) {
            self.free.remove(&(due, key));
            self.missing.remove(&(due, key));
        }
    }
    /// A block is proven: it has no due time any more.
    pub(crate) fn on_proven(&mut self, key: BlockKey) {
        self.on_arrive(key);
        self.due.remove(&key);
    }
    fn forget(&mut self, key: BlockKey) {
        if let Some(hedge_at) = self.asked.remove(&key) {
            self.hedge.remove(&(hedge_at, key));
        }
    }
    /// The two orders of what is on its way agree, and so do those of what is free.
    pub(super) fn audit(&self) -> Result<(), String> {
        equal("blocks to be hedged", self.hedge.len() as u64, self.asked.len() as u64)?;
        let known = self.hedge.iter().filter(|(at, key)| self.asked.get(key) == Some(at)).count();
        equal("blocks hedged at the noted time", self.hedge.len() as u64, known as u64)?;
        let free = self.free.iter().filter(|(due, key)| self.due.get(key) == Some(due)).count();
        equal("free blocks in windows", self.free.len() as u64, free as u64)
    }
    /// The next block for which a second peer may be asked, and since when.
    pub(crate) fn next_hedge(&self) -> Option<(Instant, BlockKey)> {
        self.hedge.first().copied()
    }
    /// Looks at a block again later.
    pub(crate) fn put_off(&mut self, key: BlockKey, until: Instant) {
        if let Some(hedge_at) = self.asked.get_mut(&key) {
            self.hedge.remove(&(*hedge_at, key));
            *hedge_at = until;
            self.hedge.insert((until, key));
        }
    }
}

fn due_at(window: &Window, at: u64) -> Instant {
    window.due + time_of(at.saturating_sub(window.start), window.rate)
}

/// Milliseconds from `now` to `due` as they travel in a request; 65,535 when not due at any time.
pub(crate) fn due_in_ms(now: Instant, due: Option<Instant>) -> u16 {
    match due {
        None => u16::MAX,
        Some(due) => {
            u16::try_from(due.since(now).as_millis()).unwrap_or(u16::MAX - 1).min(u16::MAX - 1)
        }
    }
}

/// The moment that `due_in_ms` of a request names for its receiver.
pub(crate) fn due_from_ms(now: Instant, due_in_ms: u16) -> Option<Instant> {
    (due_in_ms < u16::MAX - 1).then(|| now + Duration::from_millis(u64::from(due_in_ms)))
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::testing::info;

    #[test]
    fn blocks_are_due_when_they_play_or_with_the_first_of_a_piece_that_is_proven_whole() {
        let now = Instant::from_millis(1000);
        let rate = u64::from(BLOCK_LEN);
        let window = Window { start: 0, end: 32 * rate, due: now, rate, playing: true };
        let hybrid = info(&[32 * rate], false);
        let mut v1 = (*hybrid).clone();
        v1.hashes.v2 = None;
        for (info, last_s) in [(hybrid, 31), (Arc::new(v1), 16)] {
            let mut plan = Plan::default();
            plan.replace(alloc::vec![window], &Pieces::new(info, None));
            let due = |piece, block| plan.due(BlockKey::new(piece, block));
            assert_eq!(due(0, 0), Some(now));
            assert_eq!(due(1, 0), Some(now + Duration::from_secs(16)));
            assert_eq!(due(1, 15), Some(now + Duration::from_secs(last_s)));
        }
    }
}
