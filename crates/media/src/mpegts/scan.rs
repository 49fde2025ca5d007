//! A film read through: the time and place of each key frame of it.

use shoal_wire::time_index::KeyPoint;

use super::keys::{Found, Keys};
use super::packet::Packet;
use super::{Clock, HZ, Head};
use crate::bytes::rescaled;
use crate::limits::{DURATION_MS_MAX, KEY_GAP_MS, KEYS_MAX};

#[derive(Debug)]
pub(crate) struct Scan {
    head: Head,
    clock: Clock,
    keys: Keys,
    points: Vec<KeyPoint>,
    /// A key frame whose time is of a clock that was not seen yet.
    early: Option<(u64, u64)>,
    /// When the last frame is shown, ticks.
    last: i64,
}

impl Scan {
    pub(crate) fn new(head: Head) -> Self {
        Self {
            clock: Clock::anchored(head.origin.unwrap_or(0), 0),
            keys: Keys::new(&head),
            points: Vec::new(),
            early: None,
            last: 0,
            head,
        }
    }
    /// Looks at the packets of bytes that begin at `offset` of the file. How many of the bytes were looked at: the others are part
    /// of a packet.
    pub(crate) fn feed(&mut self, offset: u64, data: &[u8]) -> usize {
        let mut packets = self.head.grid.packets(data, 0);
        for (at, bytes) in packets.by_ref() {
            self.look(offset + at as u64, Packet(bytes));
        }
        packets.at()
    }
    fn look(&mut self, offset: u64, packet: Packet<'_>) {
        if let Some(raw) = self.head.clock_of(packet) {
            self.clock.go_on(raw);
            if let Some((offset, shown)) = self.early.take() {
                self.point(offset, shown);
            }
        }
        if let Found::Key(begin, shown) = self.keys.look(offset, packet)
            && !self.point(begin, shown)
        {
            self.early = Some((begin, shown));
        }
        if packet.is_start()
            && let Some(shown) = self.head.shown_of(packet)
        {
            self.last = self.last.max(self.clock.place(shown).unwrap_or(0));
        }
    }
    /// Notes a key frame, unless it is too near to the one before. False when its time is not known.
    fn point(&mut self, offset: u64, shown: u64) -> bool {
        let Some(film) = self.clock.place(shown) else { return false };
        let time_ms = rescaled(u64::try_from(film).unwrap_or(0), HZ, 1000);
        let fits = self.points.last().is_none_or(|last| {
            time_ms >= last.time_ms.saturating_add(KEY_GAP_MS) && offset > last.offset
        });
        if fits && time_ms <= DURATION_MS_MAX && self.points.len() < KEYS_MAX {
            self.points.push(KeyPoint { time_ms, offset });
        }
        true
    }
    /// Length of the film and its key frames.
    pub(crate) fn finish(self) -> (u64, Vec<KeyPoint>) {
        let duration_ms = rescaled(u64::try_from(self.last).unwrap_or(0), HZ, 1000);
        let last = self.points.last().map_or(0, |point| point.time_ms);
        (duration_ms.min(DURATION_MS_MAX).max(last), self.points)
    }
}
