//! A film in fragments: each `moof` is read as it is needed, and its frames as those of a film with tables are.
//!
//! Frames of all streams leave in decoding order. Where a stream has none left that are known, fragments further on are looked at, but
//! not read, until it has some again, or is too far behind.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BytesMut};

use super::{Frame, tables};
use crate::bytes::{rescaled, u32_at};
use crate::limits::{BLOCK_BYTES_MAX, DURATION_MS_MAX, FRAGMENT_BYTES_MAX, FRAGMENT_SAMPLES_MAX};
use crate::mp4::{FragmentSample, HEADER_MAX, box_header, each_sample};
use crate::presentation::{FragmentLane, Presentation, Sample, defaults};
use crate::{MediaError, TrackKind};

/// Bytes that are asked for at once.
const READ_BYTES: u64 = 64 << 10;
/// Bytes that tell what a box is, most often.
const HEAD_BYTES: u64 = 8;
/// A stream that has no frames for so long is not waited for.
const AHEAD_MS: u64 = 30_000;

/// One stream.
#[derive(Debug)]
struct Lane {
    stream: usize,
    is_video: bool,
    timescale: u32,
    fragment: FragmentLane,
    /// When the next sample is decoded if nothing else is told, in units of the track.
    next: Option<u64>,
    /// When the last one is decoded, in units of the film.
    last: u64,
    /// Whether one was passed on.
    has_begun: bool,
}

/// How far the search for the first frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// The last key of the lead that is shown no later, in its units, is looked for.
    Before(u64),
    /// All that comes is passed on that is shown no sooner, in units of the lead.
    At(u64),
}

#[derive(Debug)]
pub(super) struct Walk {
    film: Arc<Presentation>,
    lanes: Vec<Lane>,
    /// The lane that says where it begins: the first of pictures, else the first.
    lead: usize,
    start: Start,
    /// When the fragment is shown that it begins with, in units of the film's points: for fragments that do not tell.
    anchor: u64,
    /// The key point that it begins with, and how many before that it begins with next if there is no key frame where one was told of.
    key: usize,
    back: usize,
    /// Samples that came before the start was found, each with its lane.
    held: VecDeque<(usize, Sample, u32)>,
    frames: tables::Walk,
    /// The box that is looked at, how much of it is wanted, and what came of it.
    at: u64,
    wanted: u64,
    came: BytesMut,
    /// Boxes are looked for up to here.
    end: u64,
    is_over: bool,
}

impl Walk {
    /// Of these streams, from `at_ms` on.
    pub(super) fn new(film: Arc<Presentation>, streams: &[usize], at_ms: u64) -> Self {
        let bytes = film.fragments().map_or(0..0, |it| it.points.bytes.clone());
        let mut walk = Self::over(film, streams, bytes);
        walk.enter();
        walk.place(at_ms);
        if walk.is_over || matches!(walk.start, Start::At(_)) {
            walk.begin();
        }
        walk
    }
    /// From another time on.
    pub(super) fn jump(&mut self, at_ms: u64) {
        let streams: Vec<usize> = self.lanes.iter().map(|lane| lane.stream).collect();
        *self = Self::new(Arc::clone(&self.film), &streams, at_ms);
    }
    /// Of what of these streams lies in a segment.
    pub(super) fn of_segment(
        film: Arc<Presentation>,
        streams: &[usize],
        number: usize,
    ) -> Option<Self> {
        let bytes = film.segments().get(number)?.bytes.clone()?;
        let anchor = film.fragments()?.points.cuts.get(number)?.shown;
        let mut walk = Self { anchor, ..Self::over(film, streams, bytes) };
        if number == 0 {
            walk.enter();
        }
        walk.begin();
        Some(walk)
    }
    fn over(film: Arc<Presentation>, streams: &[usize], bytes: Range<u64>) -> Self {
        let mut lanes: Vec<Lane> = Vec::new();
        for number in streams.iter().copied() {
            let fragment = film.fragments().and_then(|it| it.lanes.get(number)).copied();
            let Some((stream, fragment)) = film.all().get(number).zip(fragment) else {
                continue;
            };
            if lanes.iter().all(|lane| lane.stream != number) {
                lanes.push(Lane {
                    stream: number,
                    is_video: stream.track.kind == TrackKind::Video,
                    timescale: stream.timescale,
                    fragment,
                    next: None,
                    last: 0,
                    has_begun: false,
                });
            }
        }
        let is_over = lanes.is_empty() || bytes.end.saturating_sub(bytes.start) < HEAD_BYTES;
        Self {
            lead: lanes.iter().position(|lane| lane.is_video).unwrap_or(0),
            lanes,
            start: Start::At(0),
            anchor: 0,
            key: 0,
            back: 1,
            held: VecDeque::new(),
            frames: tables::Walk::untold(Arc::clone(&film), streams),
            film,
            at: bytes.start,
            wanted: HEAD_BYTES,
            came: BytesMut::new(),
            end: bytes.end,
            is_over,
        }
    }
    /// Goes to the key before `at_ms`, as far as keys are known.
    fn place(&mut self, at_ms: u64) {
        let (Some(film), Some(lead)) = (self.film.fragments(), self.lanes.get(self.lead)) else {
            return;
        };
        let points = &film.points;
        let at = points.units_of_ms(at_ms);
        if points.keys.first().map_or(at == 0, |first| at <= first.shown) {
            // From the start: with all that comes before the first key, too.
            return;
        }
        self.start = Start::Before(rescaled(at, points.timescale, lead.timescale));
        let after = points.keys.partition_point(|key| key.shown <= at);
        // Where sound comes before its pictures, it is in front of their fragment.
        let before = if film.is_lead_late { 2 } else { 1 };
        self.go_to(after.saturating_sub(before));
    }
    /// Begins with a key point, or with the film.
    fn go_to(&mut self, number: usize) {
        let Some(points) = self.film.fragments().map(|film| &film.points) else { return };
        let key = points.keys.get(number).filter(|_| number > 0);
        self.anchor = key.map_or(0, |key| key.shown);
        self.key = number;
        self.wanted = HEAD_BYTES;
        self.came.clear();
        self.held.clear();
        self.lanes.iter_mut().for_each(|lane| (lane.next, lane.last) = (None, 0));
        match key.map(|key| key.cluster) {
            Some(at) => self.at = at,
            None => self.enter(),
        }
        self.is_over = self.end.saturating_sub(self.at) < HEAD_BYTES;
    }
    /// Begins with the film's first frames: those that its tables tell of are held at once.
    fn enter(&mut self) {
        let Some(film) = self.film.fragments() else { return };
        self.at = film.first;
        self.is_over = self.is_over || self.end.saturating_sub(self.at) < HEAD_BYTES;
        for (stream, sample, length) in &film.front {
            let lane = self.lanes.iter_mut().enumerate().find(|(_, lane)| lane.stream == *stream);
            if let Some((place, lane)) = lane {
                lane.last = sample.decoded;
                self.held.push_back((place, *sample, *length));
            }
        }
    }
    /// Begins sooner, where that is possible and there was no key frame to begin with. Some programs write an index of fragments that do
    /// not begin with one.
    fn goes_back(&mut self, has_key: bool) -> bool {
        if has_key || self.key == 0 || !matches!(self.start, Start::Before(_)) {
            return false;
        }
        self.go_to(self.key.saturating_sub(self.back));
        self.back = self.back.saturating_mul(2);
        true
    }

    pub(super) fn need(&self) -> Option<Range<u64>> {
        if !self.looks() {
            return self.frames.need();
        }
        let from = self.at + self.came.len() as u64;
        Some(from..self.at.saturating_add(self.wanted).min(from + READ_BYTES))
    }
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        if !self.looks() {
            self.frames.feed(bytes);
            return Ok(());
        }
        let missing = usize::try_from(self.wanted).unwrap_or(usize::MAX) - self.came.len();
        self.came.extend_from_slice(bytes.get(..bytes.len().min(missing)).unwrap_or(&[]));
        while !self.is_over && self.came.len() as u64 >= self.wanted {
            if let Err(error) = self.step() {
                self.is_over = true;
                self.held.clear();
                self.frames = tables::Walk::untold(Arc::clone(&self.film), &[]);
                return Err(error);
            }
        }
        let has_key = self.held.iter().any(|held| held.0 == self.lead && held.1.is_key());
        if self.is_over && !self.goes_back(has_key) {
            self.begin();
        }
        Ok(())
    }
    pub(super) fn next(&mut self) -> Option<Frame> {
        if self.looks() { None } else { self.frames.next() }
    }

    /// Whether another fragment has to be looked at before a frame leaves.
    fn looks(&self) -> bool {
        if self.is_over {
            return false;
        }
        let (mut is_bare, mut count) = (matches!(self.start, Start::Before(_)), 0);
        let (mut from, mut to) = (u64::MAX, 0);
        for lane in &self.lanes {
            let Some((span, more)) = self.frames.told(lane.stream) else {
                is_bare = true;
                continue;
            };
            (from, to, count) = (from.min(span.start), to.max(span.end), count + more);
        }
        let is_far = count > 0 && to.saturating_sub(from) > AHEAD_MS;
        is_bare && !is_far && count < FRAGMENT_SAMPLES_MAX
    }
    /// Looks at the box whose first bytes came: goes past it, or wants more of it.
    fn step(&mut self) -> Result<(), MediaError> {
        let left = self.end - self.at;
        if self.came.len() < HEADER_MAX as usize && u32_at(&self.came, 0) == Some(1) {
            // Its length stands behind its name.
            self.wanted = HEADER_MAX;
            self.is_over = left < HEADER_MAX;
            return Ok(());
        }
        let Some(header) = box_header(&self.came) else {
            self.is_over = true;
            return Ok(());
        };
        let length = header.length.unwrap_or(left);
        if &header.name != b"moof" || length > left {
            self.pass(length);
            return Ok(());
        }
        if length > FRAGMENT_BYTES_MAX {
            let (what, limit) = ("fragment", FRAGMENT_BYTES_MAX);
            return Err(MediaError::TooLarge { what, limit, received: length });
        }
        // Together with the head of what comes next, which is its data most often.
        let whole = length.saturating_add(HEAD_BYTES).min(left);
        if (self.came.len() as u64) < whole {
            self.wanted = whole;
            return Ok(());
        }
        let body = self.came.split_to(usize::try_from(length).unwrap_or(usize::MAX)).freeze();
        let at = self.at;
        self.at += length;
        self.wanted = HEAD_BYTES;
        let body = body.get(usize::try_from(header.header_len).unwrap_or(usize::MAX)..);
        self.take(body.unwrap_or(&[]), at)?;
        self.is_over |= self.end - self.at < HEAD_BYTES;
        Ok(())
    }
    /// Goes on behind a box of this length.
    fn pass(&mut self, length: u64) {
        match usize::try_from(length).ok().filter(|length| *length <= self.came.len()) {
            Some(length) => self.came.advance(length),
            None => self.came.clear(),
        }
        self.at = self.at.saturating_add(length).min(self.end);
        self.wanted = HEAD_BYTES;
        self.is_over |= self.end - self.at < HEAD_BYTES;
    }

    /// Takes over the samples of a `moof` at `at` with this body.
    fn take(&mut self, body: &[u8], at: u64) -> Result<(), MediaError> {
        let Some(film) = self.film.fragments() else { return Ok(()) };
        let (points, lanes) = (&film.points, &mut self.lanes);
        let (anchor, held) = (self.anchor, &mut self.held);
        let mut largest = 0;
        // What came before the first thing that makes no sense is taken.
        let defaults = |track| defaults(&film.lanes, track);
        let _ = each_sample((body, at, points.bytes.end), defaults, |told| {
            let place = lanes.iter().position(|lane| lane.fragment.track == told.track);
            let Some((place, lane)) = place.and_then(|place| Some((place, lanes.get_mut(place)?)))
            else {
                return;
            };
            let anchor = rescaled(anchor, points.timescale, lane.timescale);
            let sample = lane.sample(&told, anchor);
            largest = largest.max(told.size);
            if held.len() < FRAGMENT_SAMPLES_MAX {
                held.extend(sample.map(|sample| (place, sample, told.duration)));
            }
        });
        if u64::from(largest) > BLOCK_BYTES_MAX {
            let (what, limit) = ("frame", BLOCK_BYTES_MAX);
            return Err(MediaError::TooLarge { what, limit, received: largest.into() });
        }
        let is_found = match self.start {
            Start::Before(wanted) => self.finds(wanted),
            Start::At(_) => true,
        };
        if is_found {
            self.begin();
        }
        Ok(())
    }
    /// Forgets what comes before the last key of the lead that is shown no later than `wanted`. Gives whether no later one can come.
    fn finds(&mut self, wanted: u64) -> bool {
        let lead = self.lead;
        let is_lead = |held: &&(usize, Sample, u32)| held.0 == lead;
        let delay = self.lanes.get(lead).and_then(|lane| self.film.all().get(lane.stream));
        let delay = u64::from(delay.map_or(0, |stream| stream.delay()));
        let mut keys = self.held.iter().filter(is_lead).filter(|held| held.1.is_key());
        let first = keys.clone().next().map(|held| held.1);
        let before = keys.rfind(|held| held.1.shown() <= wanted).map(|held| held.1);
        let last = self.held.iter().rfind(is_lead).map(|held| held.1.decoded);
        let is_behind = last.is_some_and(|last| last > wanted.saturating_add(delay));
        if (is_behind || first.is_some()) && self.goes_back(before.is_some()) {
            return false;
        }
        let Some(key) = before.or(first) else {
            self.held.retain(|held| held.0 != lead);
            return false;
        };
        let (lanes, units) = (&self.lanes, self.timescale());
        self.held.retain(|(place, sample, _)| match lanes.get(*place) {
            _ if *place == lead => sample.decoded >= key.decoded,
            Some(lane) if !lane.is_video => {
                sample.shown() >= rescaled(key.shown(), units, lane.timescale)
            }
            _ => true,
        });
        is_behind || self.held.len() >= FRAGMENT_SAMPLES_MAX
    }
    /// Units of the lead in a second.
    fn timescale(&self) -> u32 {
        self.lanes.get(self.lead).map_or(1, |lane| lane.timescale)
    }
    /// Passes on what is held, from the first frame of the lead on.
    fn begin(&mut self) {
        let timescale = self.timescale();
        if let Start::Before(_) = self.start {
            let first = self.held.iter().find(|held| held.0 == self.lead);
            self.start = Start::At(first.map_or(0, |first| first.1.shown()));
        }
        let Start::At(from) = self.start else { return };
        let skips = from > 0;
        for (place, sample, length) in core::mem::take(&mut self.held) {
            let Some(lane) = self.lanes.get_mut(place) else { continue };
            let from = rescaled(from, timescale, lane.timescale);
            let begins = if lane.is_video { sample.is_key() } else { sample.shown() >= from };
            if skips && !lane.has_begun && !begins {
                continue;
            }
            lane.has_begun = true;
            self.frames.tell(lane.stream, sample, length);
        }
        self.frames.go_on(self.at);
    }
}

impl Lane {
    /// A sample on the time line of the film; `None` for what has no bytes, or only warms a decoder up before the film begins. It is
    /// shown at `anchor` if nothing tells when.
    fn sample(&mut self, told: &FragmentSample, anchor: u64) -> Option<Sample> {
        let FragmentLane { moved, early, .. } = self.fragment;
        let small = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        let unsigned = |units: i64| {
            let most = DURATION_MS_MAX * u64::from(self.timescale) / 1000;
            u64::try_from(units.max(0)).unwrap_or(0).min(most)
        };
        let shift = told.shift.saturating_sub(early.into());
        let at_anchor = || unsigned(small(anchor).saturating_sub(moved).saturating_sub(shift));
        let time = told.time.or(self.next).unwrap_or_else(at_anchor);
        self.next = Some(time.saturating_add(told.duration.into()));
        let decoded = small(time).saturating_add(moved);
        let shown = decoded.saturating_add(shift);
        let is_early = shown < 0 && shown.saturating_add(told.duration.into()) <= 0;
        if told.size == 0 || !self.is_video && told.duration > 0 && is_early {
            return None;
        }
        let decoded = unsigned(decoded).max(self.last);
        self.last = decoded;
        Sample::new((told.offset, told.size), decoded, unsigned(shown), told.is_key)
    }
}
