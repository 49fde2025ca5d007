//! Finds a time in a transport stream whose key frames nobody noted.

use core::ops::Range;

use crate::mpegts::{Clock, Found, HZ, Keys, Packet, Transport, apart, ticks, wrapped};

/// Bytes that are read at a guess, until a time is found in them.
const GUESS_BYTES: u64 = 64 << 10;
/// And this many times as many.
const GUESS_PARTS: u64 = 8;
/// Guesses.
const GUESSES_MAX: u32 = 8;
/// It aims this long before the time that is wanted, so that a key frame lies between, ticks.
const BEFORE: i64 = 6 * HZ as i64;
/// And is content with so much more or less.
const NEAR: i64 = 3 * HZ as i64;
/// Bytes that are read on from there in search of key frames.
const ON_BYTES: u64 = 16 << 20;

/// Where to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stop {
    /// In the file.
    pub(super) offset: u64,
    /// In the film, ticks.
    pub(super) film: i64,
}

#[derive(Debug)]
pub(super) struct Search {
    length: u64,
    wanted: i64,
    /// Places whose times are before and behind what it aims at.
    low: Stop,
    high: Stop,
    guesses: u32,
    /// Where what came begins, and what came.
    at: u64,
    came: Vec<u8>,
    on: Option<On>,
}

/// On the way to the key frame.
#[derive(Debug)]
struct On {
    keys: Keys,
    clock: Clock,
    from: u64,
    best: Option<Stop>,
}

impl Search {
    pub(super) fn new(transport: &Transport, at_ms: u64) -> Self {
        let index = &transport.index;
        let low = Stop { offset: transport.head.start, film: 0 };
        let high = Stop { offset: index.length, film: ticks(index.duration_ms) };
        let (wanted, length) = (ticks(at_ms).min(high.film), index.length);
        let at = low.offset;
        let mut search =
            Self { length, wanted, low, high, guesses: 0, at, came: Vec::new(), on: None };
        search.guess(transport);
        search
    }
    /// What to read next. Never empty.
    pub(super) fn need(&self) -> Range<u64> {
        let start = self.at + self.came.len() as u64;
        start..(start + GUESS_BYTES).min(self.length)
    }
    /// Takes what was read. Where to begin, once that is known.
    pub(super) fn feed(&mut self, transport: &Transport, bytes: &[u8]) -> Option<Stop> {
        let need = self.need();
        let taken = bytes.len().min(usize::try_from(need.end - need.start).unwrap_or(usize::MAX));
        self.came.extend_from_slice(bytes.get(..taken).unwrap_or(&[]));
        let is_end = need.start + taken as u64 >= self.length;
        if self.on.is_some() {
            return self.go_on(transport, is_end);
        }
        let head = &transport.head;
        let mut packets = head.grid.packets(&self.came, 0);
        let found = packets.find_map(|(at, bytes)| Some((at, head.clock_of(Packet(bytes))?)));
        let is_enough = is_end || self.came.len() as u64 >= GUESS_BYTES * GUESS_PARTS;
        let Some((at, raw)) = found else {
            if is_enough {
                // Nothing to be learned here: what lies before is left.
                self.high = Stop { offset: self.at, film: self.high.film };
                self.next(transport);
            }
            return None;
        };
        let film = time(raw, head.origin.unwrap_or(0));
        let here = Stop { offset: self.at + at as u64, film };
        let aim = self.wanted - BEFORE;
        if film > aim + NEAR {
            self.high = here;
        } else {
            self.low = here;
        }
        if (film - aim).abs() <= NEAR {
            self.low = here;
            self.walk(transport);
        } else {
            self.next(transport);
        }
        None
    }

    /// One more guess, or what is known already.
    fn next(&mut self, transport: &Transport) {
        self.guesses += 1;
        let is_narrow = self.high.offset.saturating_sub(self.low.offset) <= 2 * GUESS_BYTES;
        if self.guesses >= GUESSES_MAX || is_narrow {
            self.walk(transport);
        } else {
            self.guess(transport);
        }
    }
    fn guess(&mut self, transport: &Transport) {
        let aim = self.wanted - BEFORE;
        if aim <= self.low.film {
            self.walk(transport);
            return;
        }
        let span = u128::from(self.high.offset.saturating_sub(self.low.offset));
        let time = u128::try_from(self.high.film - self.low.film).unwrap_or(0).max(1);
        let part = u128::try_from(aim - self.low.film).unwrap_or(0).min(time);
        let behind = u64::try_from(span * part / time).unwrap_or(0);
        // Not where it was already, and not so near to the end that nothing is read.
        let latest = self.high.offset.saturating_sub(GUESS_BYTES).max(self.low.offset);
        self.set(transport.aligned((self.low.offset + behind).min(latest)));
    }
    fn set(&mut self, at: u64) {
        self.at = at.min(self.length.saturating_sub(1));
        self.came.clear();
    }
    /// Reads on from the place before.
    fn walk(&mut self, transport: &Transport) {
        let head = &transport.head;
        let origin = head.origin.unwrap_or(0);
        let raw = wrapped(self.low.film.saturating_add(i64::try_from(origin).unwrap_or(0)));
        self.on = Some(On {
            keys: Keys::new(head),
            clock: Clock::anchored(raw, self.low.film),
            from: self.low.offset,
            best: None,
        });
        self.set(self.low.offset);
    }
    fn go_on(&mut self, transport: &Transport, is_end: bool) -> Option<Stop> {
        let on = self.on.as_mut()?;
        let head = &transport.head;
        let mut packets = head.grid.packets(&self.came, 0);
        for (at, bytes) in packets.by_ref() {
            let packet = Packet(bytes);
            if let Some(raw) = head.clock_of(packet) {
                on.clock.go_on(raw);
            }
            let Found::Key(offset, shown) = on.keys.look(self.at + at as u64, packet) else {
                continue;
            };
            let Some(film) = on.clock.place(shown) else { continue };
            if film > self.wanted {
                // The first one behind, where none is before.
                return Some(on.best.unwrap_or(Stop { offset, film }));
            }
            on.best = Some(Stop { offset, film });
        }
        let seen = packets.at();
        self.at += seen as u64;
        self.came.drain(..seen);
        if is_end || self.at.saturating_sub(on.from) > ON_BYTES {
            let here = Stop { offset: on.from, film: self.low.film.max(0) };
            return Some(on.best.unwrap_or(here));
        }
        None
    }
}

/// The time of the film when the clock shows `raw`: a little before its start too.
fn time(raw: u64, origin: u64) -> i64 {
    let behind = apart(raw, origin);
    if behind < -10 * HZ as i64 { behind + crate::mpegts::WRAP as i64 } else { behind }
}
