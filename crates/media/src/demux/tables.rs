//! Frames of which it is known where each lies: all those of a film with tables, or those that fragments told of so far.
//!
//! Frames leave in decoding order, and are read in the order of the file as long as it has its streams beside each other: what lies
//! between here and the frame that is needed is taken along. Where streams lie far apart it goes back and forth between them.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::Frame;
use crate::presentation::{Presentation, Sample, Stream};
use crate::{TrackKind, bytes::rescaled};

/// Frames this far ahead of the one that is needed are read on the way to it. Bounds what is kept.
const AHEAD_BYTES: u64 = 2 << 20;
/// Neighbours are read together up to this size.
const RUN_BYTES: u64 = 64 << 10;
/// And this many of them.
const RUN_FRAMES: usize = 4096;

/// Where a lane's samples are found.
#[derive(Debug)]
enum Samples {
    /// These of the stream, of which the first is read next.
    Table(Range<usize>),
    /// They were told one by one, with their lengths.
    Told(VecDeque<(Sample, u32)>),
}

#[derive(Debug)]
struct Lane {
    stream: usize,
    samples: Samples,
    /// What was read and did not leave yet.
    ready: VecDeque<Frame>,
}

impl Lane {
    /// The sample `ahead` of the next.
    fn sample<'s>(&'s self, stream: &'s Stream, ahead: usize) -> Option<&'s Sample> {
        match &self.samples {
            Samples::Table(range) => stream.samples().get(range.clone())?.get(ahead),
            Samples::Told(told) => told.get(ahead).map(|(sample, _)| sample),
        }
    }
    /// Goes on to the next. Gives the one that it was at, and its length.
    fn advance(&mut self, stream: &Stream) -> Option<(Sample, u32)> {
        match &mut self.samples {
            Samples::Table(range) => {
                let number = range.next()?;
                let length = u32::try_from(stream.duration(number)).unwrap_or(u32::MAX);
                Some((*stream.samples().get(number)?, length))
            }
            Samples::Told(told) => told.pop_front(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Walk {
    film: Arc<Presentation>,
    lanes: Vec<Lane>,
    /// Where the file was read up to.
    at: u64,
    /// Samples that are read now, one behind the other in the file: their lanes.
    run: Vec<usize>,
    need: Option<Range<u64>>,
    came: BytesMut,
}

impl Walk {
    pub(super) fn new(film: Arc<Presentation>, streams: &[usize], at_ms: u64) -> Self {
        let all = |stream: &Stream, _| Samples::Table(0..stream.samples().len());
        let mut walk = Self::over(film, streams, all);
        walk.place(at_ms);
        walk.begin();
        walk
    }
    /// Of what of these streams lies in a segment.
    pub(super) fn of_segment(
        film: Arc<Presentation>,
        streams: &[usize],
        number: usize,
    ) -> Option<Self> {
        let spans = film.segments().get(number)?.spans.clone();
        let texts = Arc::clone(&film);
        let samples = |stream: usize| match spans.get(stream) {
            Some(span) => span.samples.clone(),
            None => texts.text_samples(stream, number).unwrap_or(0..0),
        };
        let mut walk = Self::over(film, streams, |_, number| Samples::Table(samples(number)));
        walk.begin();
        Some(walk)
    }
    /// Of samples of these streams that are told later: [`Self::tell`].
    pub(super) fn untold(film: Arc<Presentation>, streams: &[usize]) -> Self {
        Self::over(film, streams, |_, _| Samples::Told(VecDeque::new()))
    }
    /// Tells the next sample of a stream, and its length.
    pub(super) fn tell(&mut self, stream: usize, sample: Sample, length: u32) {
        let lane = self.lanes.iter_mut().find(|lane| lane.stream == stream);
        if let Some(Samples::Told(told)) = lane.map(|lane| &mut lane.samples) {
            told.push_back((sample, length));
        }
    }
    /// Goes on with what was told, when the file was read up to `at`.
    pub(super) fn go_on(&mut self, at: u64) {
        if self.need.is_none() {
            self.at = at;
            self.plan();
        }
    }
    /// From when to when, in milliseconds, frames of a stream are told of that did not leave yet, and how many they are. `None` when
    /// there are none.
    pub(super) fn told(&self, stream: usize) -> Option<(Range<u64>, usize)> {
        let lane = self.lanes.iter().find(|lane| lane.stream == stream)?;
        let timescale = self.film.all().get(stream)?.timescale;
        let Samples::Told(told) = &lane.samples else { return None };
        let ready = |frame: &Frame| frame.decoded;
        let known = |it: &(Sample, u32)| it.0.decoded;
        let first = lane.ready.front().map(ready).or_else(|| told.front().map(known))?;
        let last = told.back().map(known).or_else(|| lane.ready.back().map(ready))?;
        let ms = |units| rescaled(units, timescale, 1000);
        Some((ms(first)..ms(last), lane.ready.len() + told.len()))
    }
    fn over(
        film: Arc<Presentation>,
        streams: &[usize],
        samples: impl Fn(&Stream, usize) -> Samples,
    ) -> Self {
        let mut lanes: Vec<Lane> = Vec::new();
        for number in streams.iter().copied() {
            let Some(stream) = film.all().get(number) else { continue };
            if lanes.iter().all(|lane| lane.stream != number) {
                let samples = samples(stream, number);
                lanes.push(Lane { stream: number, samples, ready: VecDeque::new() });
            }
        }
        Self { film, lanes, at: 0, run: Vec::new(), need: None, came: BytesMut::new() }
    }
    /// Begins with what lies first in the file, if that is near.
    fn begin(&mut self) {
        let offset = |lane: usize| self.sample(lane, 0).map(|sample| sample.offset);
        if let Some(wanted) = self.first().and_then(offset) {
            let near = (0..self.lanes.len()).filter_map(offset);
            let near = near.filter(|offset| wanted.saturating_sub(*offset) <= AHEAD_BYTES);
            self.at = near.min().unwrap_or(wanted);
        }
        self.plan();
    }
    /// The same from another time on.
    pub(super) fn jump(&mut self, at_ms: u64) {
        let streams: Vec<usize> = self.lanes.iter().map(|lane| lane.stream).collect();
        *self = Self::new(Arc::clone(&self.film), &streams, at_ms);
    }
    pub(super) fn need(&self) -> Option<Range<u64>> {
        self.need.clone()
    }
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let Some(need) = &mut self.need else { return };
        let taken = bytes.len().min(usize::try_from(need.end - need.start).unwrap_or(usize::MAX));
        self.came.extend_from_slice(bytes.get(..taken).unwrap_or(&[]));
        need.start += taken as u64;
        if !need.is_empty() {
            return;
        }
        self.at = need.end;
        let mut came = core::mem::take(&mut self.came).freeze();
        for lane in core::mem::take(&mut self.run) {
            self.take(lane, &mut came);
        }
        self.plan();
    }
    pub(super) fn next(&mut self) -> Option<Frame> {
        let lane = self.first()?;
        let frame = self.lanes.get_mut(lane)?.ready.pop_front()?;
        if self.need.is_none() {
            self.plan();
        }
        Some(frame)
    }

    /// Where each stream begins.
    fn place(&mut self, at_ms: u64) {
        let streams = self.film.all();
        let kind = |lane: &Lane| streams.get(lane.stream).map(|stream| stream.track.kind);
        let is_video = |lane: &&Lane| kind(lane) == Some(TrackKind::Video);
        let lead = self.lanes.iter().find(is_video).or_else(|| self.lanes.first());
        let Some(lead) = lead.and_then(|lane| streams.get(lane.stream)) else { return };
        let key = key_before(lead, rescaled(at_ms, 1000, lead.timescale));
        let shown = lead.samples().get(key).map_or(0, Sample::shown);
        for lane in &mut self.lanes {
            let Some(stream) = streams.get(lane.stream) else { continue };
            let cut = lead.rescaled(shown, stream.timescale);
            let first = match stream.track.kind {
                TrackKind::Video => key_before(stream, cut),
                _ => stream.samples().partition_point(|sample| sample.shown() < cut),
            };
            lane.samples = Samples::Table(first..stream.samples().len());
        }
    }
    /// The lane whose frame leaves next, ready or not.
    fn first(&self) -> Option<usize> {
        let times = self.lanes.iter().enumerate().filter_map(|(number, lane)| {
            let stream = self.film.all().get(lane.stream)?;
            let waiting = || Some(lane.sample(stream, 0)?.decoded);
            let decoded = lane.ready.front().map(|frame| frame.decoded).or_else(waiting)?;
            Some((u128::from(decoded) * 1_000_000 / u128::from(stream.timescale), number))
        });
        times.min().map(|(_, number)| number)
    }
    fn sample(&self, lane: usize, ahead: usize) -> Option<Sample> {
        let lane = self.lanes.get(lane)?;
        lane.sample(self.film.all().get(lane.stream)?, ahead).copied()
    }
    /// Finds out what to read, if the frame that leaves next is not here.
    fn plan(&mut self) {
        while let Some(first) = self.first() {
            if self.lanes.get(first).is_none_or(|lane| !lane.ready.is_empty()) {
                return;
            }
            let Some(wanted) = self.sample(first, 0) else { return };
            let ahead = wanted.offset.checked_sub(self.at).is_some_and(|it| it <= AHEAD_BYTES);
            let on_the_way = (0..self.lanes.len()).filter_map(|lane| {
                let offset = self.sample(lane, 0)?.offset;
                (ahead && (self.at..wanted.offset).contains(&offset)).then_some((offset, lane))
            });
            let (start, lane) = on_the_way.min().unwrap_or((wanted.offset, first));
            let end = self.join(start, lane);
            if start < end {
                self.need = Some(start..end);
                return;
            }
            // Frames without bytes need none.
            for lane in core::mem::take(&mut self.run) {
                self.take(lane, &mut Bytes::new());
            }
        }
    }
    /// The sample of `lane` at `start` and those that follow it in the file, as the next run. Gives its end.
    fn join(&mut self, start: u64, lane: usize) -> u64 {
        let mut end = start;
        let mut taken = vec![0; self.lanes.len()];
        let mut next = Some(lane);
        while let Some(lane) = next.filter(|_| self.run.len() < RUN_FRAMES) {
            let Some(count) = taken.get_mut(lane) else { break };
            let Some(sample) = self.sample(lane, *count) else { break };
            *count += 1;
            end = sample.end();
            self.run.push(lane);
            next = (0..self.lanes.len()).find(|lane| {
                let sample = taken.get(*lane).and_then(|count| self.sample(*lane, *count));
                sample.is_some_and(|it| it.offset == end && it.end() - start <= RUN_BYTES)
            });
        }
        end
    }
    /// The next sample of a lane, whose bytes `came` begins with.
    fn take(&mut self, lane: usize, came: &mut Bytes) {
        self.need = None;
        let Some(lane) = self.lanes.get_mut(lane) else { return };
        let Some(stream) = self.film.all().get(lane.stream) else { return };
        let Some((sample, duration)) = lane.advance(stream) else { return };
        let length = usize::try_from(sample.size()).unwrap_or(usize::MAX).min(came.len());
        lane.ready.push_back(Frame {
            stream: lane.stream,
            decoded: sample.decoded,
            shown: sample.shown(),
            duration,
            is_key: sample.is_key(),
            data: came.split_to(length),
        });
    }
}

/// The last key frame that is shown no later than `units`; else the first sample.
fn key_before(stream: &Stream, units: u64) -> usize {
    let samples = stream.samples();
    let until = samples.partition_point(|sample| sample.decoded <= units);
    let before = samples.get(..until).unwrap_or(&[]);
    before.iter().rposition(|sample| sample.is_key() && sample.shown() <= units).unwrap_or(0)
}
