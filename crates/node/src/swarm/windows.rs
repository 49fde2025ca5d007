//! What is needed when: the windows of all readers and playbacks, turned into blocks with due times.
//!
//! The blocks lie in one list by place in the title, which mostly is their order of due time as well; what is free and what is
//! missing is a bit each in that order. A change of a block costs O(log n), the first free or missing one O(n / 64). The list is
//! rebuilt when windows move, which `play` does about twice a second: O(n). Blocks on their way are kept a second time, by the
//! time at which another peer may be asked (hedging).

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

/// A bit for each block of a plan, in order of due time.
#[derive(Debug, Default)]
struct Marks(Vec<u64>);

impl Marks {
    /// `count` zero bits.
    fn reset(&mut self, count: usize) {
        self.0.clear();
        self.0.resize(count.div_ceil(64), 0);
    }
    fn put(&mut self, place: usize, is_set: bool) {
        if let Some(word) = self.0.get_mut(place / 64) {
            let bit = 1 << (place % 64);
            *word = if is_set { *word | bit } else { *word & !bit };
        }
    }
    fn has(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }
    /// Places of one bits, ascending.
    fn iter(&self) -> Ones<'_> {
        Ones { words: self.0.iter(), rest: 0, after: 0, last: None }
    }
}

/// Places of the one bits of [`Marks`].
#[derive(Debug)]
struct Ones<'a> {
    words: core::slice::Iter<'a, u64>,
    /// Bits of the present word that were not given.
    rest: u64,
    /// Place behind the present word.
    after: usize,
    /// What was given last.
    last: Option<usize>,
}

impl Iterator for Ones<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.rest == 0 {
            self.rest = *self.words.next()?;
            self.after += 64;
        }
        let bit = self.rest.trailing_zeros() as usize;
        self.rest &= self.rest - 1;
        self.last = Some(self.after - 64 + bit);
        self.last
    }
}

impl Ones<'_> {
    /// Leaves out what lies before `end`; how many those were.
    fn skip_to(&mut self, end: usize) -> u32 {
        let mut skipped = 0;
        while self.after <= end {
            skipped += self.rest.count_ones();
            self.rest = 0;
            let Some(&word) = self.words.next() else { return skipped };
            self.rest = word;
            self.after += 64;
        }
        let before = self.rest & ((1 << (end + 64 - self.after)) - 1);
        self.rest &= !before;
        skipped + before.count_ones()
    }
}

/// Blocks of a plan that nobody was asked for, earliest due first.
#[derive(Debug)]
pub(crate) struct Free<'a> {
    plan: &'a Plan,
    places: Ones<'a>,
}

impl Free<'_> {
    /// Leaves out the blocks of the last one's piece that follow it at once; how many those were.
    pub(crate) fn skip_piece(&mut self) -> u32 {
        let Some(last) = self.places.last else { return 0 };
        self.places.skip_to(self.plan.piece_end(last))
    }
}

impl Iterator for Free<'_> {
    type Item = (Instant, BlockKey);

    fn next(&mut self) -> Option<Self::Item> {
        self.plan.at(self.places.next()?)
    }
}

/// A block that is needed by a time. Orders as the content does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Needed {
    /// Its number behind the first.
    number: u32,
    /// When it is due, in steps of [`DUE_STEP_NS`] and never late.
    step: u32,
}

/// Steps that make 32 bits last for twelve hours; what is due later than that counts as due then.
const DUE_STEP_NS: u64 = 10_000;

/// Due times of the blocks inside windows.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    windows: Vec<Window>,
    /// Blocks that were not proven when the windows came, ascending: each node has hundreds.
    blocks: Vec<Needed>,
    /// Number in the title of the block from which they are counted, and how many a piece has.
    first: u64,
    per_piece: u32,
    /// The moment from which due times are counted.
    base: Option<Instant>,
    /// Where in `blocks` the first, second... by due time is, and the reverse; both empty when the orders are the same.
    order: Vec<u16>,
    places: Vec<u16>,
    /// Blocks that have a due time: not proven.
    due: Marks,
    /// Nobody was asked for them.
    free: Marks,
    /// Blocks that are free or asked: not here.
    missing: Marks,
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
    /// Whether all due times follow from what is known of the film.
    pub(crate) fn is_exact(&self) -> bool {
        self.windows.iter().all(|window| !window.guessed)
    }
    /// The rate of the window that plays fastest, bytes/s; `None` when nobody needs anything by a time.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.windows.iter().map(|window| window.rate.max(1)).max()
    }
    /// What is needed, most wanted first.
    pub(crate) fn windows(&self) -> &[Window] {
        &self.windows
    }
    /// Takes new windows and finds their blocks again. O(blocks in windows) when windows follow each other, else with a
    /// logarithm.
    pub(crate) fn replace(&mut self, windows: Vec<Window>, pieces: &Pieces) {
        self.windows = windows;
        self.blocks.clear();
        let layout = &pieces.info.layout;
        let start = self.windows.iter().map(|window| window.start).min().unwrap_or(0);
        self.per_piece = layout.blocks_per_piece();
        let piece = layout.piece_at(start).map_or(0, |piece| piece.get());
        self.first = u64::from(piece) * u64::from(self.per_piece);
        self.base = self.windows.iter().map(|window| window.due).min();
        for index in 0..self.windows.len() {
            let Some(window) = self.windows.get(index).copied() else { break };
            let is_full = self.add_window(&window, pieces);
            if !self.blocks.is_sorted() {
                self.blocks.sort();
            }
            if is_full {
                break;
            }
        }
        self.put_in_order();
        for mark in [&mut self.due, &mut self.free, &mut self.missing] {
            mark.reset(self.blocks.len());
        }
        for index in 0..self.blocks.len() {
            let Some(key) = self.blocks.get(index).map(|block| self.key(block.number)) else {
                break;
            };
            let state = pieces.block_state(key);
            let place = self.place_at(index);
            self.due.put(place, true);
            self.free.put(place, state == BlockState::Free);
            self.missing.put(place, state != BlockState::Arrived);
        }
        let mut asked = core::mem::take(&mut self.asked);
        asked.retain(|key, hedge_at| {
            let keep = self.due(*key).is_some();
            if !keep {
                self.hedge.remove(&(*hedge_at, *key));
            }
            keep
        });
        self.asked = asked;
    }
    /// Appends the blocks of a window that are not proven; of those that are there the earliest need counts. True when there
    /// is no room for more.
    fn add_window(&mut self, window: &Window, pieces: &Pieces) -> bool {
        let layout = &pieces.info.layout;
        // Without hashes of blocks nothing of a piece is of use before all of it is there.
        let is_proven_whole = pieces.info.hashes.v2.is_none();
        let before = self.blocks.len();
        let last = self.blocks.last().map(|block| block.number);
        let (mut at, mut end) = (window.start, window.end);
        if is_proven_whole {
            let piece_length = u64::from(layout.piece_length());
            at -= at % piece_length;
            end = end.next_multiple_of(piece_length);
        }
        while at < end {
            let Some(piece) = layout.piece_at(at) else { break };
            let start = layout.start(piece);
            let block = ((at - start) / u64::from(BLOCK_LEN)) as u32;
            let next = if pieces.is_held(piece.get()) || block >= layout.block_count(piece) {
                start + u64::from(layout.piece_length())
            } else {
                let key = BlockKey::new(piece.get(), block);
                if !pieces.is_proven(key) {
                    let Some(number) = self.number(key) else { break };
                    let step = self.step(due_at(window, if is_proven_whole { start } else { at }));
                    let known = self.blocks.get_mut(..before).unwrap_or_default();
                    let found = match last.is_some_and(|last| number <= last) {
                        true => known.binary_search_by_key(&number, |block| block.number).ok(),
                        false => None,
                    };
                    match found.and_then(|index| known.get_mut(index)) {
                        Some(block) => block.step = block.step.min(step),
                        None => {
                            // A little more at a time: each node has such a list.
                            if self.blocks.len() == self.blocks.capacity() {
                                self.blocks.reserve_exact(32 + self.blocks.len() / 16);
                            }
                            self.blocks.push(Needed { number, step });
                        }
                    }
                }
                start + u64::from(block) * u64::from(BLOCK_LEN) + u64::from(BLOCK_LEN)
            };
            if self.blocks.len() >= WINDOW_BLOCKS_MAX {
                return true;
            }
            at = next.max(at + 1);
        }
        false
    }
    /// Finds the order of due times where it is not that of the title.
    fn put_in_order(&mut self) {
        // Each node has such lists: what is not needed is given back.
        if self.blocks.capacity() > 64 + self.blocks.len() * 2 {
            self.blocks.shrink_to_fit();
        }
        if self.blocks.is_sorted_by_key(|block| block.step) {
            (self.order, self.places) = (Vec::new(), Vec::new());
            return;
        }
        self.order.clear();
        self.places.clear();
        self.order.reserve_exact(self.blocks.len());
        self.places.reserve_exact(self.blocks.len());
        let blocks = &self.blocks;
        self.order.extend((0u16..).zip(blocks).map(|(index, _)| index));
        self.order.sort_unstable_by_key(|&index| {
            blocks.get(usize::from(index)).map(|block| (block.step, block.number))
        });
        self.places.resize(self.order.len(), 0);
        for (place, &index) in (0u16..).zip(&self.order) {
            if let Some(entry) = self.places.get_mut(usize::from(index)) {
                *entry = place;
            }
        }
    }
    /// The number of a block behind the first; `None` for one before it, or 64 TiB and more behind it.
    fn number(&self, key: BlockKey) -> Option<u32> {
        let number = u64::from(key.piece()) * u64::from(self.per_piece) + u64::from(key.block());
        u32::try_from(number.checked_sub(self.first)?).ok()
    }
    fn key(&self, number: u32) -> BlockKey {
        let (number, per_piece) =
            (self.first + u64::from(number), u64::from(self.per_piece.max(1)));
        // As good as always: it costs a tenth of a division.
        if per_piece.is_power_of_two() {
            let piece = number >> per_piece.trailing_zeros();
            return BlockKey::new(piece as u32, (number & (per_piece - 1)) as u32);
        }
        BlockKey::new((number / per_piece) as u32, (number % per_piece) as u32)
    }
    fn step(&self, due: Instant) -> u32 {
        let after = self.base.map_or(0, |base| due.as_nanos().saturating_sub(base.as_nanos()));
        u32::try_from(after / DUE_STEP_NS).unwrap_or(u32::MAX)
    }
    fn due_time(&self, step: u32) -> Instant {
        let base = self.base.map_or(0, Instant::as_nanos);
        Instant::from_nanos(base.saturating_add(u64::from(step) * DUE_STEP_NS))
    }
    /// The next place by due time at which a block of another piece is. O(log n), or O(blocks of a piece).
    fn piece_end(&self, place: usize) -> usize {
        let Some((_, key)) = self.at(place) else { return place };
        let rest = place + 1..self.blocks.len();
        if !self.order.is_empty() {
            let is_other =
                |&place: &usize| self.at(place).is_none_or(|(_, o)| o.piece() != key.piece());
            return rest.clone().find(is_other).unwrap_or(rest.end);
        }
        let end = (u64::from(key.piece()) + 1) * u64::from(self.per_piece);
        let is_before = |block: &Needed| self.first + u64::from(block.number) < end;
        place + 1 + self.blocks.get(rest).unwrap_or_default().partition_point(is_before)
    }
    /// The place by due time of a block of the list.
    fn place_at(&self, index: usize) -> usize {
        self.places.get(index).map_or(index, |&place| usize::from(place))
    }
    /// The block at a place by due time.
    fn at(&self, place: usize) -> Option<(Instant, BlockKey)> {
        let index = self.order.get(place).map_or(place, |&index| usize::from(index));
        let block = self.blocks.get(index)?;
        Some((self.due_time(block.step), self.key(block.number)))
    }
    /// The place by due time of a block that has one, and that time. O(log n).
    fn place(&self, key: BlockKey) -> Option<(usize, Instant)> {
        let number = self.number(key)?;
        let index = self.blocks.binary_search_by_key(&number, |block| block.number).ok()?;
        let place = self.place_at(index);
        let step = self.blocks.get(index)?.step;
        self.due.has(place).then(|| (place, self.due_time(step)))
    }
    /// When a block is due; `None` outside all windows.
    pub(crate) fn due(&self, key: BlockKey) -> Option<Instant> {
        self.place(key).map(|entry| entry.1)
    }
    /// Blocks nobody was asked for, earliest due first.
    pub(crate) fn free(&self) -> Free<'_> {
        Free { plan: self, places: self.free.iter() }
    }
    /// Whether all blocks in windows are here or on their way.
    pub(crate) fn is_assigned(&self) -> bool {
        self.free.iter().next().is_none()
    }
    /// Earliest due time among blocks that are not here.
    pub(crate) fn earliest_missing(&self) -> Option<Instant> {
        self.missing.iter().next().and_then(|place| self.at(place)).map(|entry| entry.0)
    }
    /// A windowed block was asked for; a second peer may be asked from `hedge_at` on.
    pub(crate) fn on_ask(&mut self, key: BlockKey, hedge_at: Instant) {
        let Some((place, _)) = self.place(key) else { return };
        self.free.put(place, false);
        if let Some(old) = self.asked.insert(key, hedge_at) {
            self.hedge.remove(&(old, key));
        }
        self.hedge.insert((hedge_at, key));
    }
    /// A windowed block is owed by somebody without being asked for in this plan: a second peer may be asked from `hedge_at`
    /// on. Nothing changes when it is looked after already.
    pub(crate) fn watch(&mut self, key: BlockKey, hedge_at: Instant) {
        if !self.asked.contains_key(&key) && self.due(key).is_some() {
            self.asked.insert(key, hedge_at);
            self.hedge.insert((hedge_at, key));
        }
    }
    /// A windowed block is free again.
    pub(crate) fn on_free(&mut self, key: BlockKey) {
        self.forget(key);
        self.mark(key, true);
    }
    /// A block came: nothing has to be done for it unless it proves wrong.
    pub(crate) fn on_arrive(&mut self, key: BlockKey) {
        self.forget(key);
        self.mark(key, false);
    }
    /// A block is proven: it has no due time any more.
    pub(crate) fn on_proven(&mut self, key: BlockKey) {
        self.on_arrive(key);
        if let Some((place, _)) = self.place(key) {
            self.due.put(place, false);
        }
    }
    fn mark(&mut self, key: BlockKey, is_free: bool) {
        if let Some((place, _)) = self.place(key) {
            self.free.put(place, is_free);
            self.missing.put(place, is_free);
        }
    }
    fn forget(&mut self, key: BlockKey) {
        if let Some(hedge_at) = self.asked.remove(&key) {
            self.hedge.remove(&(hedge_at, key));
        }
    }
    /// The two orders of what is on its way agree, and what is free or missing is due at its place.
    pub(super) fn audit(&self) -> Result<(), String> {
        equal("blocks to be hedged", self.hedge.len() as u64, self.asked.len() as u64)?;
        let known = self.hedge.iter().filter(|(at, key)| self.asked.get(key) == Some(at)).count();
        equal("blocks hedged at the noted time", self.hedge.len() as u64, known as u64)?;
        for (what, marks) in [("free", &self.free), ("missing", &self.missing)] {
            let found = marks.iter().filter_map(|place| Some((place, self.at(place)?)));
            let right = found.filter(|&(place, (due, key))| self.place(key) == Some((place, due)));
            let (count, right) = (marks.iter().count() as u64, right.count() as u64);
            equal(what, count, right)?;
        }
        Ok(())
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

    use proptest::prelude::*;

    use super::*;
    use crate::testing::info;

    #[test]
    fn blocks_are_due_when_they_play_or_with_the_first_of_a_piece_that_is_proven_whole() {
        let now = Instant::from_millis(1000);
        let rate = u64::from(BLOCK_LEN);
        let window =
            Window { start: 0, end: 32 * rate, due: now, rate, playing: true, guessed: false };
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

    proptest! {
        #[test]
        fn blocks_come_by_due_time_whatever_the_windows(
            ranges in prop::collection::vec((0u64..600, 1u64..200, 0u64..90_000, 1u64..4), 1..5),
            steps in prop::collection::vec((0u32..32, 0u32..16, 0u8..4), 0..60),
        ) {
            let block = u64::from(BLOCK_LEN);
            let pieces = Pieces::new(info(&[600 * block], false), None);
            let windows: Vec<Window> = ranges
                .iter()
                .map(|&(first, count, due_ms, rate)| Window {
                    start: first * block,
                    end: (first + count).min(600) * block,
                    due: Instant::from_millis(due_ms),
                    rate: rate * block,
                    playing: false,
                    guessed: false,
                })
                .collect();
            let mut model: BTreeMap<BlockKey, Instant> = BTreeMap::new();
            let base = windows.iter().map(|window| window.due).min().expect("a window");
            let rounded = |due: Instant| {
                let rest = (due.as_nanos() - base.as_nanos()) % DUE_STEP_NS;
                Instant::from_nanos(due.as_nanos() - rest)
            };
            let per_piece = u64::from(pieces.info.layout.blocks_per_piece());
            for window in &windows {
                for number in window.start / block..window.end / block {
                    let key = BlockKey::new((number / per_piece) as u32, (number % per_piece) as u32);
                    let due = rounded(due_at(window, number * block));
                    let known = model.entry(key).or_insert(due);
                    *known = due.min(*known);
                }
            }
            let mut plan = Plan::default();
            plan.replace(windows, &pieces);
            let mut taken: BTreeSet<BlockKey> = BTreeSet::new();
            for (piece, block, step) in steps {
                let key = BlockKey::new(piece, block);
                match step {
                    0 => plan.on_ask(key, Instant::ZERO),
                    1 => plan.on_arrive(key),
                    2 => plan.on_proven(key),
                    _ => plan.on_free(key),
                }
                if step == 2 {
                    model.remove(&key);
                }
                if step == 3 { taken.remove(&key) } else { taken.insert(key) };
                prop_assert_eq!(plan.due(key), model.get(&key).copied());
                prop_assert_eq!(plan.audit(), Ok(()));
            }
            let free = model.iter().filter(|entry| !taken.contains(entry.0));
            let mut free: Vec<(Instant, BlockKey)> = free.map(|(&key, &due)| (due, key)).collect();
            free.sort_unstable();
            prop_assert_eq!(plan.free().collect::<Vec<_>>(), free.clone());
            // Leaving out the rest of each piece's run gives the first of each run, and counts the others.
            let (mut first, mut iter, mut all) = (Vec::new(), plan.free(), 0);
            while let Some(entry) = iter.next() {
                first.push(entry);
                all += 1 + iter.skip_piece() as usize;
            }
            prop_assert_eq!(all, free.len());
            prop_assert!(first.iter().all(|entry| free.contains(entry)));
            let runs = free.chunk_by(|a, b| a.1.piece() == b.1.piece());
            prop_assert!(runs.map(|run| run[0]).all(|start| first.contains(&start)));
        }
    }

    #[test]
    fn of_a_piece_that_is_proven_whole_a_window_needs_all() {
        let now = Instant::from_millis(1000);
        let block = u64::from(BLOCK_LEN);
        let (start, end) = (20 * block, 40 * block);
        let window = Window { start, end, due: now, rate: block, playing: true, guessed: false };
        let mut v1 = (*info(&[64 * block], false)).clone();
        v1.hashes.v2 = None;
        let mut plan = Plan::default();
        plan.replace(alloc::vec![window], &Pieces::new(Arc::new(v1), None));
        let due = |piece, block| plan.due(BlockKey::new(piece, block));
        assert_eq!((due(0, 15), due(3, 0)), (None, None));
        assert_eq!((due(1, 0), due(1, 15)), (Some(now), Some(now)));
        assert!(due(2, 15).is_some());
    }
}
