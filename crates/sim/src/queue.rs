//! The order of everything that will happen: by time, then by the order in which it was planned.
//!
//! Keys are 128 bits (64 time, 40 sequence, 24 slot) in a binary heap, payloads lie in a slab beside it, so that moving a
//! key in the heap moves 16 bytes. The order is total: two runs that plan the same events take them in the same order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const SLOT_BITS: u32 = 24;
const SEQUENCE_BITS: u32 = 40;
/// Events that can be pending at once.
pub const PENDING_MAX: usize = 1 << SLOT_BITS;

/// Pending events. `E` should be small and `Copy`.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<u128>>,
    slots: Vec<E>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }
}

impl<E: Copy> Queue<E> {
    /// Plans `event` for `at_ns`. O(log pending).
    ///
    /// # Panics
    /// When more than [`PENDING_MAX`] events are pending: a world that plans so far ahead has lost its way.
    pub fn push(&mut self, at_ns: u64, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = event;
                slot
            }
            None => {
                assert!(self.slots.len() < PENDING_MAX, "too many pending events");
                self.slots.push(event);
                (self.slots.len() - 1) as u32
            }
        };
        let key = (u128::from(at_ns) << (SEQUENCE_BITS + SLOT_BITS))
            | (u128::from(self.sequence) << SLOT_BITS)
            | u128::from(slot);
        self.sequence += 1;
        debug_assert!(self.sequence < 1 << SEQUENCE_BITS, "a run of 2^40 events");
        self.heap.push(Reverse(key));
    }
    /// Takes the first event and its time. O(log pending).
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse(key) = self.heap.pop()?;
        let slot = (key & ((1 << SLOT_BITS) - 1)) as u32;
        self.free.push(slot);
        Some(((key >> (SEQUENCE_BITS + SLOT_BITS)) as u64, self.slots[slot as usize]))
    }
    /// Time of the first event.
    #[must_use]
    pub fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(key)| (key >> (SEQUENCE_BITS + SLOT_BITS)) as u64)
    }
    /// Number of pending events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
    /// Whether nothing will happen any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn events_come_out_by_time_and_then_in_the_order_they_were_planned(
            steps in proptest::collection::vec(proptest::option::of(0u64..50), 0..300)
        ) {
            let mut queue = Queue::default();
            let mut model: Vec<(u64, usize)> = Vec::new();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Some(at) => {
                        queue.push(at, number);
                        model.push((at, number));
                    }
                    None => {
                        let first = model.iter().copied().min();
                        model.retain(|entry| Some(*entry) != first);
                        prop_assert_eq!(queue.next_at(), first.map(|entry| entry.0));
                        prop_assert_eq!(queue.pop(), first);
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
