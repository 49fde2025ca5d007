//! How many connected peers hold each piece, and the missing pieces in that order, rarest first.
//!
//! Peers that hold everything make no piece rarer than another: they are not counted, which spares a pass over all pieces
//! for each seed. A change of one piece costs O(1): the missing pieces lie in one
//! array sorted by count, and a piece moves across one bucket border. The order inside a bucket is arbitrary; the picker
//! starts at a random place in it, so that peers do not all choose the same piece.

use alloc::vec;
use alloc::vec::Vec;

/// Where a piece that is not in the order (held or begun) points.
const ABSENT: u32 = u32::MAX;

/// Counts per piece, and the order of those that may be begun.
#[derive(Debug)]
pub(crate) struct Availability {
    counts: Vec<u8>,
    /// Pieces in order of count.
    order: Vec<u32>,
    /// Where in `order` a piece is, or [`ABSENT`].
    place: Vec<u32>,
    /// First place of each count up to the highest that there was; one more entry for the end.
    starts: Vec<u32>,
}

impl Availability {
    /// `count` pieces that nobody holds, all in the order.
    pub(crate) fn new(count: u32) -> Self {
        Self {
            counts: vec![0; count as usize],
            order: (0..count).collect(),
            place: (0..count).collect(),
            starts: vec![0, count],
        }
    }
    /// A peer got `piece` (`true`) or lost it. Counts stop at 255: beyond that, rarity no longer matters.
    pub(crate) fn piece(&mut self, piece: u32, got: bool) {
        let Some(count) = self.counts.get(piece as usize).copied() else { return };
        let next = if got { count.saturating_add(1) } else { count.saturating_sub(1) };
        if next == count {
            return;
        }
        while self.starts.len() < usize::from(next) + 2 {
            self.starts.push(self.order.len() as u32);
        }
        let listed = self.place.get(piece as usize).is_some_and(|&place| place != ABSENT);
        if listed {
            self.move_across(piece, count, got);
        }
        self.counts[piece as usize] = next;
    }
    /// Takes `piece` out of the order: it was begun or is held.
    pub(crate) fn unlist(&mut self, piece: u32) {
        let Some(&place) = self.place.get(piece as usize) else { return };
        if place == ABSENT {
            return;
        }
        // Bubble to the end through the last place of each higher bucket.
        for bucket in usize::from(self.counts[piece as usize])..self.starts.len() - 1 {
            let last = self.starts[bucket + 1] - 1;
            self.swap(self.place[piece as usize], last);
            self.starts[bucket + 1] -= 1;
        }
        self.order.pop();
        self.place[piece as usize] = ABSENT;
    }
    /// Puts `piece` back: it is missing again.
    pub(crate) fn list(&mut self, piece: u32) {
        if self.place.get(piece as usize).is_none_or(|&place| place != ABSENT) {
            return;
        }
        self.place[piece as usize] = self.order.len() as u32;
        self.order.push(piece);
        for bucket in (usize::from(self.counts[piece as usize])..self.starts.len() - 1).rev() {
            self.starts[bucket + 1] += 1;
            if bucket > usize::from(self.counts[piece as usize]) {
                let first = self.starts[bucket];
                self.swap(self.place[piece as usize], first);
            }
        }
    }
    /// Connected peers that hold `piece`, those that hold everything not counted.
    pub(crate) fn count(&self, piece: u32) -> u8 {
        self.counts.get(piece as usize).copied().unwrap_or(0)
    }
    /// Number of pieces in the order.
    pub(crate) fn listed(&self) -> u32 {
        self.order.len() as u32
    }
    /// The rarest listed piece for which `wanted` holds, looking at no more than `limit` pieces of at least one holder.
    /// `random` spreads the choice inside each bucket.
    pub(crate) fn rarest(
        &self,
        random: u32,
        limit: u32,
        mut wanted: impl FnMut(u32) -> bool,
    ) -> Option<u32> {
        let mut looked = 0;
        for bucket in 0..self.starts.len() - 1 {
            let (start, end) = (self.starts[bucket], self.starts[bucket + 1]);
            let size = end - start;
            for step in 0..size {
                let place = start + (random % size + step) % size;
                let piece = self.order[place as usize];
                if wanted(piece) {
                    return Some(piece);
                }
                looked += 1;
                if looked >= limit {
                    return None;
                }
            }
            if end == self.order.len() as u32 {
                break;
            }
        }
        None
    }
    fn move_across(&mut self, piece: u32, count: u8, up: bool) {
        let bucket = usize::from(count);
        if up {
            let last = self.starts[bucket + 1] - 1;
            self.swap(self.place[piece as usize], last);
            self.starts[bucket + 1] -= 1;
        } else {
            let first = self.starts[bucket];
            self.swap(self.place[piece as usize], first);
            self.starts[bucket] += 1;
        }
    }
    fn swap(&mut self, a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        self.place[self.order[a as usize] as usize] = a;
        self.place[self.order[b as usize] as usize] = b;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_order_agrees_with_a_slow_model(ops in prop::collection::vec((0u32..12, 0u8..4), 0..300)) {
            let mut fast = Availability::new(12);
            let mut counts = [0u32; 12];
            let mut listed = [true; 12];
            for (piece, op) in ops {
                let index = piece as usize;
                match op {
                    0 => { fast.piece(piece, true); counts[index] += 1; }
                    1 => { fast.piece(piece, false); counts[index] = counts[index].saturating_sub(1); }
                    2 => { fast.unlist(piece); listed[index] = false; }
                    _ => { fast.list(piece); listed[index] = true; }
                }
                let least = (0..12).filter(|&i| listed[i]).map(|i| counts[i]).min();
                let found = fast.rarest(7, u32::MAX, |_| true);
                prop_assert_eq!(found.map(|piece| counts[piece as usize]), least);
                prop_assert!(found.is_none_or(|piece| listed[piece as usize]));
                prop_assert_eq!(fast.listed() as usize, listed.iter().filter(|&&is| is).count());
                let mut sorted = Vec::new();
                fast.rarest(0, u32::MAX, |piece| { sorted.push(counts[piece as usize]); false });
                prop_assert!(sorted.is_sorted());
            }
        }
    }
}
