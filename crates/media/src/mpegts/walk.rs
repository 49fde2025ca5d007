//! The walk of the prober: the head, then the tail, or all that lies between them.

use core::ops::Range;

use shoal_wire::time_index::TimeIndex;

use super::packet::Packet;
use super::scan::Scan;
use super::{Clock, HZ, Head, Transport, apart, wrapped};
use crate::bytes::rescaled;
use crate::limits::DURATION_MS_MAX;
use crate::probe::{Step, Window, Wishes};
use crate::{Container, Film, MediaError, Presentation};

/// The head is read in steps of these sizes, until it has told what is in the film; in the last only to find what decoders of its pictures
/// must know, which a recording may begin without.
const HEADS: [u64; 4] = [16 << 10, 64 << 10, 256 << 10, 2 << 20];
/// Bytes of the tail: players read about as many.
const TAIL_BYTES: u64 = 256 << 10;
/// Bytes that are read together when all are.
const SCAN_BYTES: u64 = 1 << 20;
/// A length that differs this much from what the rate of the head promises is one of two clocks.
const DOUBT: u64 = 16;

#[derive(Debug)]
enum Stage {
    Head(usize),
    Tail(Head, Range<u64>),
    Scan(Box<Scan>, Head, u64),
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    length: u64,
    wishes: Wishes,
    stage: Stage,
}

impl Walk {
    /// At the start of a file of `length` bytes.
    pub(crate) fn new(length: u64, wishes: Wishes) -> Self {
        Self { length, wishes, stage: Stage::Head(0) }
    }
    /// Goes on with the bytes in `window`.
    pub(crate) fn step(&mut self, window: &Window) -> Step {
        loop {
            let step = match &mut self.stage {
                Stage::Head(size) => {
                    let size = *size;
                    self.head(window, size)
                }
                Stage::Tail(head, range) => match window.get(range.clone()) {
                    Ok(data) => {
                        let duration_ms = duration(head, self.length, data);
                        let head = head.clone();
                        Some(self.finish(head, duration_ms, None))
                    }
                    Err(need) => Some(need),
                },
                Stage::Scan(..) => self.scan(window),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }
    fn head(&mut self, window: &Window, size: usize) -> Option<Step> {
        let bytes = HEADS.get(size).copied().unwrap_or(0).min(self.length);
        let data = match window.get(0..bytes) {
            Ok(data) => data,
            Err(need) => return Some(need),
        };
        let head = Head::read(data);
        let is_last = size + 1 >= HEADS.len() || bytes == self.length;
        let is_enough = |head: &Head| {
            head.is_complete() || is_last || size + 2 >= HEADS.len() && head.knows_pictures()
        };
        let Some(head) = head.filter(is_enough) else {
            if is_last {
                return Some(done(Ok(Film::unknown(Container::MpegTs))));
            }
            self.stage = Stage::Head(size + 1);
            return None;
        };
        self.stage = if head.origin.is_none() {
            return Some(self.finish(head, 0, None));
        } else if self.wishes.thorough {
            Stage::Scan(Box::new(Scan::new(head.clone())), head.clone(), head.start)
        } else {
            let stride = head.grid.stride() as u64;
            let behind = self.length.saturating_sub(TAIL_BYTES).saturating_sub(head.start);
            let start = head.start + behind / stride * stride;
            Stage::Tail(head, start..self.length)
        };
        None
    }
    fn scan(&mut self, window: &Window) -> Option<Step> {
        let Stage::Scan(scan, head, at) = &mut self.stage else { return None };
        let range = *at..at.saturating_add(SCAN_BYTES).min(self.length);
        let data = match window.get(range.clone()) {
            Ok(data) => data,
            Err(need) => return Some(need),
        };
        let seen = scan.feed(range.start, data);
        *at += seen as u64;
        if seen > 0 && range.end < self.length {
            return None;
        }
        let head = head.clone();
        let scan = core::mem::replace(scan, Box::new(Scan::new(head.clone())));
        let (duration_ms, keys) = scan.finish();
        Some(self.finish(head, duration_ms, Some(keys)))
    }
    fn finish(
        &mut self,
        head: Head,
        duration_ms: u64,
        keys: Option<Vec<shoal_wire::time_index::KeyPoint>>,
    ) -> Step {
        let boot = vec![(0, head.length.min(self.length))];
        let tracks = head.streams.iter().map(|stream| stream.known.track.clone()).collect();
        let length = self.length;
        let index = (duration_ms > 0).then(|| {
            let flat = || TimeIndex::constant_rate(length, duration_ms, 0).keys;
            let keys = keys.filter(|keys| !keys.is_empty()).unwrap_or_else(flat);
            TimeIndex { duration_ms, length, boot, keys }
        });
        let wanted = index.clone().filter(|_| self.wishes.frames && head.origin.is_some());
        let presentation =
            match wanted.map(|it| Presentation::of_transport(Transport::new(head, it))) {
                Some(Err(error)) => return done(Err(error)),
                Some(Ok(presentation)) => Some(presentation),
                None => None,
            };
        let duration_ms = (duration_ms > 0).then_some(duration_ms);
        done(Ok(Film { container: Container::MpegTs, duration_ms, tracks, index, presentation }))
    }
}

fn done(result: Result<Film, MediaError>) -> Step {
    Step::Done(Box::new(result))
}

/// Length of the film in milliseconds, by the times in its tail.
fn duration(head: &Head, length: u64, tail: &[u8]) -> u64 {
    let Some(origin) = head.origin else { return 0 };
    let (mut shown, mut clock) = (None, None);
    let packets = || head.grid.packets(tail, 0).map(|(_, bytes)| Packet(bytes));
    for packet in packets() {
        if let Some(raw) = head.shown_of(packet) {
            let (first, most) = *shown.get_or_insert((raw, 0));
            shown = Some((first, most.max(apart(raw, first))));
        }
        clock = head.clock_of(packet).or(clock);
    }
    let last =
        shown.map(|(first, most)| wrapped(i64::try_from(first).unwrap_or(0) + most)).or(clock);
    let told = last.map_or(0, |last| wrapped(apart(last, origin)));
    let told = rescaled(told, HZ, 1000).min(DURATION_MS_MAX);
    // Where the clock was set anew somewhere, the difference says nothing.
    match rate(head, tail) {
        Some(rate) => {
            let guess = rescaled(length, u32::try_from(rate).unwrap_or(u32::MAX), 1000);
            let is_likely =
                told <= guess.saturating_mul(DOUBT) && guess <= told.saturating_mul(DOUBT);
            if is_likely { told } else { guess.min(DURATION_MS_MAX) }
        }
        None => told,
    }
}

/// Bytes in a second of the clock, over the bytes of the tail.
fn rate(head: &Head, tail: &[u8]) -> Option<u64> {
    let mut packets = head.grid.packets(tail, 0);
    let (start, first) =
        packets.find_map(|(at, bytes)| Some((at, head.clock_of(Packet(bytes))?)))?;
    let mut clock = Clock::anchored(first, 0);
    let mut end = (start, 0);
    for (at, bytes) in packets {
        if let Some(raw) = head.clock_of(Packet(bytes)) {
            end = (at, clock.go_on(raw));
        }
    }
    let ticks = u64::try_from(end.1).ok().filter(|ticks| *ticks > u64::from(HZ) / 4)?;
    Some(((end.0 - start) as u64).saturating_mul(u64::from(HZ)) / ticks).filter(|rate| *rate > 0)
}
