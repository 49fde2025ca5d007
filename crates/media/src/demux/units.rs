//! A transport stream taken apart: its units as frames, segment by segment.
//!
//! A picture is of the segment between whose key frames its unit begins. Sound is cut by time as far as the order of the file allows: it
//! lies behind the pictures that it is heard with, so what begins a little behind a key frame and is heard before it is of the segment
//! before; that is read on into the next one until its sound has come by. Both sides decide by the same two numbers, so each frame is
//! in one segment. A segment needs nothing else than those bytes: the index tells when its key frame is shown, and with it all else is.
//!
//! A unit of pictures is taken for one frame; two fields in one are.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Frame;
use crate::cmaf::keep_out_of_next;
use crate::limits::{LATE_SOUND_BYTES_MAX, LATE_SOUND_TAIL_BYTES, UNIT_BYTES_MAX, UNITS_BYTES_MAX};
use crate::mpegts::{
    Clock, Codec, HZ, JUMP, PACKET, Packet, SoundFrame, Splitter, Times, Transport, apart, body,
    is_random_access, parts, ticks, times, trimmed, wrapped,
};
use crate::presentation::{Presentation, Units};
use crate::{MediaError, TrackKind};

/// Bytes that are asked for together, in a segment and behind it.
const CHUNK_BYTES: u64 = 64 << 10;
const BEHIND_BYTES: u64 = 4 << 10;

/// What a frame takes beside its bytes.
const FRAME_COST_BYTES: usize = size_of::<Frame>() + 64;

/// A unit: where it begins, when its first frame is shown by the stream, and the clock by then.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    shown: u64,
    clock: Clock,
}

/// A stream that is wanted.
#[derive(Debug)]
struct Lane {
    stream: usize,
    pid: u16,
    codec: Codec,
    /// What is added to the times at which its frames are decoded.
    delay: i64,
    /// The last packet, which may be there twice.
    last: Option<[u8; PACKET]>,
    unit: BytesMut,
    /// Where the unit that comes begins, and the clock by then; `None` before the first.
    begun: Option<(u64, Clock)>,
    is_marked: bool,
    /// When the last picture is decoded and shown, and how long after the one before, in ticks of the film.
    picture: Option<(i64, i64, i64)>,
    /// Of sound.
    splitter: Option<Splitter<Mark>>,
    /// All of it that is of the segment came: now, or with the unit that comes.
    is_over: bool,
    is_nearly_over: bool,
}

/// A key frame that a segment begins with: its times by the stream, and by the film.
#[derive(Clone, Copy, Debug)]
struct Key {
    shown: u64,
    film_shown: i64,
    film_decoded: i64,
}

#[derive(Debug)]
pub(super) struct Walk {
    film: Arc<Presentation>,
    streams: Vec<usize>,
    number: usize,
    /// Whether it goes on with the next segment.
    goes_on: bool,
    /// The places of the file at which the segment begins and ends, and at which nothing late is looked for any more.
    bytes: Range<u64>,
    late_until: u64,
    /// The same of what is late for the segment before.
    late_before: u64,
    /// Where what came begins in the file.
    at: u64,
    came: BytesMut,
    clock: Option<Clock>,
    key: Option<Key>,
    next: Option<Key>,
    lanes: Vec<Lane>,
    is_over: bool,
    /// Frames of the segment, in the order of the file, and their bytes.
    held: Vec<Frame>,
    held_bytes: usize,
    ready: VecDeque<Frame>,
}

impl Walk {
    /// Of these streams, from the segment on in which `at_ms` lies.
    pub(super) fn new(film: Arc<Presentation>, streams: &[usize], at_ms: u64) -> Self {
        let cuts = film.units().map_or(&[][..], |units| &units.cuts);
        let number = cuts.partition_point(|cut| cut.0 <= at_ms).saturating_sub(1);
        let mut walk = Self::over(film, streams, number);
        walk.goes_on = true;
        walk
    }
    /// From another time on.
    pub(super) fn jump(&mut self, at_ms: u64) {
        *self = Self::new(Arc::clone(&self.film), &self.streams, at_ms);
    }
    /// Of what of these streams lies in a segment.
    pub(super) fn of_segment(
        film: Arc<Presentation>,
        streams: &[usize],
        number: usize,
    ) -> Option<Self> {
        film.units()?.cuts.get(number)?;
        Some(Self::over(film, streams, number))
    }
    fn over(film: Arc<Presentation>, streams: &[usize], number: usize) -> Self {
        let mut walk = Self {
            streams: streams.to_vec(),
            number,
            goes_on: false,
            bytes: 0..0,
            late_until: 0,
            late_before: 0,
            at: 0,
            came: BytesMut::new(),
            clock: None,
            key: None,
            next: None,
            lanes: Vec::new(),
            is_over: true,
            held: Vec::new(),
            held_bytes: 0,
            ready: VecDeque::new(),
            film: Arc::clone(&film),
        };
        if let Some(units) = film.units() {
            walk.begin(units, number);
        }
        walk
    }
    /// Begins with a segment.
    fn begin(&mut self, units: &Units, number: usize) {
        let head = &units.transport.head;
        let length = units.transport.index.length;
        let place = |number: usize| units.cuts.get(number).map(|cut| cut.1);
        let (start, end) = (place(number), place(number + 1).unwrap_or(length));
        // What stands before the first key frame is of the film too: its sound may begin earlier.
        let start = if number == 0 { head.start } else { start.unwrap_or(length) };
        let late = |place: u64, end: u64| place.saturating_add(LATE_SOUND_BYTES_MAX).min(end);
        self.number = number;
        self.bytes = start..end.max(start);
        self.late_until = late(end, place(number + 2).unwrap_or(length));
        self.late_before = if number == 0 { 0 } else { late(start, end) };
        self.at = start;
        self.came.clear();
        let is_first = number == 0;
        self.clock = is_first.then(|| Clock::anchored(head.origin.unwrap_or(0), 0));
        (self.key, self.next) = (None, None);
        let lane = |stream: &usize| {
            let (pid, codec) = *units.lanes.get(*stream)?;
            let of = self.film.streams().get(*stream)?;
            Some(Lane::new(*stream, pid, codec, of.track.kind, of.delay()))
        };
        self.lanes = self.streams.iter().filter_map(lane).collect();
        self.is_over = self.lanes.is_empty() || start >= length;
    }

    pub(super) fn need(&self) -> Option<Range<u64>> {
        let units = self.film.units()?;
        let from = self.at + self.came.len() as u64;
        let length = units.transport.index.length;
        let to = if from < self.bytes.end {
            (from + CHUNK_BYTES).min(self.bytes.end)
        } else {
            let last = self.late_until.saturating_add(LATE_SOUND_TAIL_BYTES);
            (from + BEHIND_BYTES).min(last)
        };
        (!self.is_over && from < to.min(length)).then(|| from..to.min(length))
    }
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        let film = Arc::clone(&self.film);
        let (Some(units), Some(need)) = (film.units(), self.need()) else { return Ok(()) };
        let taken = bytes.len().min(usize::try_from(need.end - need.start).unwrap_or(usize::MAX));
        self.came.extend_from_slice(bytes.get(..taken).unwrap_or(&[]));
        let came = self.came.split().freeze();
        let mut packets = units.transport.head.grid.packets(&came, 0);
        while let Some((at, packet)) = packets.next().filter(|_| !self.is_over) {
            self.take(&units.transport, self.at + at as u64, packet);
            let is_done = self.next.is_some() && self.lanes.iter().all(|lane| lane.is_over);
            self.is_over |= is_done;
        }
        let seen = packets.at();
        self.at += seen as u64;
        self.came = BytesMut::from(came.get(seen..).unwrap_or(&[]));
        if self.held_bytes > UNITS_BYTES_MAX {
            self.is_over = true;
            self.goes_on = false;
            let (what, limit) = ("part between two key frames", UNITS_BYTES_MAX as u64);
            return Err(MediaError::TooLarge { what, limit, received: self.held_bytes as u64 });
        }
        if self.need().is_none() {
            self.finish(units);
        }
        Ok(())
    }
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    fn take(&mut self, transport: &Transport, offset: u64, bytes: &[u8; PACKET]) {
        let packet = Packet(bytes);
        let head = &transport.head;
        if let (Some(raw), Some(clock)) = (head.clock_of(packet), &mut self.clock) {
            clock.go_on(raw);
        }
        if !packet.is_readable() {
            return;
        }
        let found = packet.is_start().then(|| times(packet.payload())).flatten();
        let is_lead = head.reference().is_some_and(|lead| lead.pid == packet.pid());
        if let Some(times) = found.filter(|_| is_lead) {
            self.pass_key(transport, offset, times);
        }
        let Some(number) = self.lanes.iter().position(|lane| lane.pid == packet.pid()) else {
            return;
        };
        if self.lanes.get_mut(number).is_some_and(|lane| lane.is_over || lane.is_again(packet)) {
            return;
        }
        if packet.is_start() {
            self.complete(number, false);
            self.look_behind(number, offset, found);
            let clock = self.clock;
            let Some(lane) = self.lanes.get_mut(number) else { return };
            lane.begun = clock.filter(|_| !lane.is_over).map(|clock| (offset, clock));
            lane.is_marked = packet.is_random_access();
        }
        let Some(lane) = self.lanes.get_mut(number).filter(|lane| lane.begun.is_some()) else {
            return;
        };
        lane.unit.extend_from_slice(packet.payload());
        if lane.unit.len() > UNIT_BYTES_MAX {
            lane.unit.clear();
            lane.begun = None;
        }
    }
    /// A unit begins of the stream that the film is cut at: that may be the key frame of the segment, or of the next.
    fn pass_key(&mut self, transport: &Transport, offset: u64, times: Times) {
        let is_next = offset >= self.bytes.end;
        let told = if is_next { &mut self.next } else { &mut self.key };
        if told.is_some() || offset < self.bytes.start {
            return;
        }
        let units = self.film.units();
        let cut = units.and_then(|units| units.cuts.get(self.number)).map_or(0, |cut| cut.0);
        let anchored = || Clock::anchored(times.shown, transport.exact(times.shown, ticks(cut)));
        let clock = self.clock.get_or_insert_with(anchored);
        let film = |raw: u64| clock.place(raw).unwrap_or(0);
        let (film_shown, film_decoded) = (film(times.shown), film(times.decoded));
        *told = Some(Key { shown: times.shown, film_shown, film_decoded });
    }
    /// Whether what begins behind the segment ends what is wanted of a stream.
    fn look_behind(&mut self, number: usize, offset: u64, found: Option<Times>) {
        let is_late = found.zip(self.next).is_some_and(|(it, next)| before(it.shown, next.shown));
        let until = self.late_until;
        let Some(lane) = self.lanes.get_mut(number).filter(|_| offset >= self.bytes.end) else {
            return;
        };
        // A frame that began before may end in this unit.
        let has_rest = lane.splitter.as_ref().is_some_and(Splitter::has_rest);
        let is_past = lane.splitter.is_none() || offset >= until || found.is_some() && !is_late;
        lane.is_over |= lane.is_nearly_over || is_past && !has_rest;
        lane.is_nearly_over |= is_past;
    }
    /// Whether sound that begins in a unit at that place, and is heard then by its stream, is of this segment.
    fn is_ours(&self, at: u64, shown: u64) -> bool {
        let is_before = |key: Option<Key>| key.is_some_and(|key| before(shown, key.shown));
        if at >= self.bytes.end {
            return at < self.late_until && is_before(self.next);
        }
        at >= self.late_before || !is_before(self.key)
    }

    /// The unit of a lane is whole.
    fn complete(&mut self, number: usize, is_end: bool) {
        let now = self.clock;
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let unit = lane.unit.split().freeze();
        let begun = lane.begun.take();
        let (found, frames) = (times(&unit), body(&unit).unwrap_or(&[]));
        let Some(splitter) = &mut lane.splitter else {
            if let Some((at, clock)) = begun.filter(|begun| begun.0 < self.bytes.end) {
                self.picture(number, (at, clock), found, &unit);
            }
            return;
        };
        if let Some((at, clock)) = begun {
            let mark = found.map(|found| Mark { at, shown: found.shown, clock });
            splitter.push(mark, frames);
        }
        let mut came: Vec<SoundFrame<Mark>> = Vec::new();
        came.extend(core::iter::from_fn(|| splitter.next(is_end)));
        let stream = lane.stream;
        for frame in came {
            let Mark { at, shown, clock } = frame.unit;
            let later = |samples: u64| {
                let ticks = samples.saturating_mul(u64::from(HZ)) / u64::from(frame.rate.max(1));
                i64::try_from(ticks).unwrap_or(0)
            };
            let by = later(frame.before);
            let raw = wrapped(i64::try_from(shown).unwrap_or(0).saturating_add(by));
            let Some(film) = place(clock, now, shown).filter(|_| self.is_ours(at, raw)) else {
                continue;
            };
            let shown = u64::try_from(film.saturating_add(by)).unwrap_or(0);
            let lasts = later(frame.before + u64::from(frame.samples)) - by;
            let duration = u32::try_from(lasts).unwrap_or(0);
            self.hold(Frame {
                stream,
                decoded: shown,
                shown,
                duration,
                is_key: true,
                data: frame.data,
            });
        }
    }
    /// Takes a unit of pictures that began there for a frame.
    fn picture(&mut self, number: usize, begun: (u64, Clock), found: Option<Times>, unit: &Bytes) {
        let now = self.clock;
        let is_first = self.number == 0;
        let Some(lane) = self.lanes.get_mut(number) else { return };
        let is_key = lane.is_marked || is_random_access(lane.codec, unit);
        let film = |raw: u64| place(begun.1, now, raw);
        let told = found.and_then(|it| Some((film(it.decoded)?, film(it.shown)?)));
        let following =
            || lane.picture.map(|(decoded, shown, step)| (decoded + step, shown + step));
        let Some((decoded, shown)) = told.or_else(following) else { return };
        let step = lane.picture.map_or(0, |(last, _, _)| (decoded - last).max(0));
        // Of what stands before the first key frame nothing can be shown.
        if is_first && lane.picture.is_none() && !is_key {
            return;
        }
        lane.picture = Some((decoded, shown, step));
        let (stream, delay) = (lane.stream, lane.delay);
        let data = behind_lengths(lane.codec, body(unit).unwrap_or(&[]));
        if data.is_empty() {
            return;
        }
        let decoded = u64::try_from(decoded.saturating_add(delay)).unwrap_or(0);
        let shown = u64::try_from(shown).unwrap_or(0);
        self.hold(Frame { stream, decoded, shown, duration: 0, is_key, data: data.into() });
    }
    fn hold(&mut self, frame: Frame) {
        self.held_bytes = self.held_bytes.saturating_add(frame.data.len() + FRAME_COST_BYTES);
        self.held.push(frame);
    }

    /// Everything of the segment is here.
    fn finish(&mut self, units: &Units) {
        self.is_over = true;
        for number in 0..self.lanes.len() {
            self.complete(number, true);
        }
        self.came = BytesMut::new();
        self.held_bytes = 0;
        let mut held = core::mem::take(&mut self.held);
        for lane in self.lanes.iter().filter(|lane| lane.splitter.is_none()) {
            let of_lane = held.iter_mut().filter(|frame| frame.stream == lane.stream);
            settle(&mut of_lane.collect::<Vec<_>>(), self.next, lane.delay);
        }
        self.ready.extend(held);
        if self.goes_on && self.number + 1 < units.cuts.len() {
            self.begin(units, self.number + 1);
        }
    }
}

impl Lane {
    fn new(stream: usize, pid: u16, codec: Codec, kind: TrackKind, delay: u32) -> Self {
        Self {
            stream,
            pid,
            codec,
            delay: i64::from(delay),
            last: None,
            unit: BytesMut::new(),
            begun: None,
            is_marked: false,
            picture: None,
            splitter: (kind != TrackKind::Video).then(|| Splitter::new(codec)),
            is_over: false,
            is_nearly_over: false,
        }
    }
    /// Whether a packet is the last one once more, which its stream may send (ISO/IEC 13818-1, 2.4.3.3).
    fn is_again(&mut self, packet: Packet<'_>) -> bool {
        let again = self.last.as_ref().is_some_and(|last| {
            let last = Packet(last);
            packet.has_payload()
                && last.counter() == packet.counter()
                && last.payload() == packet.payload()
        });
        self.last = Some(*packet.0);
        again
    }
}

/// Whether one time of a stream is before another, and both of one clock.
fn before(time: u64, other: u64) -> bool {
    (-JUMP..0).contains(&apart(time, other))
}

/// The time of the film at `raw`, by the clock when its unit began or, where that is of another one that was set anew meanwhile, by now.
fn place(begun: Clock, now: Option<Clock>, raw: u64) -> Option<i64> {
    begun.place(raw).or_else(|| now?.place(raw))
}

/// Tells pictures of a segment how long they last: until the next is decoded, and not into the next segment.
fn settle(frames: &mut [&mut Frame], next: Option<Key>, delay: i64) {
    let shown: Vec<u64> = frames.iter().map(|frame| frame.shown).collect();
    let mut decoded: Vec<u64> = frames.iter().map(|frame| frame.decoded).collect();
    let at = |film: i64| u64::try_from(film).unwrap_or(0);
    let mut end = None;
    if let Some(next) = next {
        keep_out_of_next(&shown, &mut decoded, at(next.film_shown));
        end = Some((at(next.film_decoded.saturating_add(delay)), at(next.film_shown)));
    }
    let mut last = 0;
    for (place, frame) in frames.iter_mut().enumerate() {
        let from = decoded.get(place).copied().unwrap_or(0);
        let until = decoded.get(place + 1).copied();
        last = match (until, end) {
            (Some(until), _) => until.saturating_sub(from),
            (None, Some((until, shown))) if until > from && shown > frame.shown => {
                (until - from).min(shown - frame.shown)
            }
            _ => last,
        };
        frame.decoded = from;
        frame.duration = u32::try_from(last).unwrap_or(0);
    }
}

/// The NAL units of some pictures behind their lengths instead of start codes; only the first mark of a beginning is kept.
fn behind_lengths(codec: Codec, frames: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frames.len());
    for nal in parts(frames).map(trimmed) {
        let Some(first) = nal.first() else { continue };
        let is_mark = match codec {
            Codec::Hevc => first >> 1 & 0x3f == 35,
            _ => first & 0x1f == 9,
        };
        if is_mark && !out.is_empty() {
            continue;
        }
        out.extend_from_slice(&u32::try_from(nal.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(nal);
    }
    out.shrink_to_fit();
    out
}
