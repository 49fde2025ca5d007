//! A film in clusters: its elements as they come (RFC 9559, 10 and 25), one block after the other.
//!
//! The file is read on from a cluster. What makes no sense is left out up to the next element that looks like a cluster, so that the
//! walk may begin anywhere, and a damaged place costs no more than itself.

use core::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::Frame;
use super::order::Order;
use super::reach::Reach;
use crate::limits::{BLOCK_BYTES_MAX, CUES_MAX};
use crate::matroska::block::BlockHead;
use crate::matroska::ebml::{
    BLOCK, BLOCK_DURATION, BLOCK_GROUP, CLUSTER, HEADER_MAX, REFERENCE_BLOCK, SEGMENT,
    SIMPLE_BLOCK, TIMESTAMP, child, child_number, header, is_outermost, number,
};
use crate::presentation::{Clusters, Lane, Presentation, TextCue};
use crate::{MediaError, TrackKind};

/// Bytes that are asked for at once.
const READ_BYTES: u64 = 64 << 10;
/// The longest time of a cluster.
const TIMESTAMP_BYTES_MAX: u64 = 8;
/// What a cluster begins with: its time, its place, the length of the one before, a checksum or filling.
const FIRST_IN_CLUSTER: [u8; 5] = [0xE7, 0xA7, 0xAB, 0xBF, 0xEC];

/// A place by its cluster and the distance of a block inside of that.
type Place = (u64, u64);

/// The cluster whose elements come.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    start: u64,
    body: u64,
    /// Where it ends; `None` when only the next one tells.
    end: Option<u64>,
    /// Its time, in ticks.
    ticks: Option<i64>,
}

#[derive(Debug)]
pub(super) struct Walk {
    film: Arc<Presentation>,
    streams: Vec<usize>,
    /// Bytes that came and were not looked at yet, and where the first of them stands in the file.
    input: BytesMut,
    at: u64,
    /// Nothing is asked for from here on.
    end: u64,
    /// Blocks before the one and from the other on are of other segments.
    from: Place,
    until: Option<Place>,
    cluster: Option<Cluster>,
    /// The next cluster is looked for, byte by byte.
    is_lost: bool,
    is_over: bool,
    /// What of text stands elsewhere, or all of it where its places are told: it comes first.
    reach: Reach,
    order: Order,
}

impl Walk {
    /// Of these streams, from `at_ms` on.
    pub(super) fn new(film: Arc<Presentation>, streams: &[usize], at_ms: u64) -> Self {
        let mut chosen: Vec<usize> = Vec::new();
        for stream in streams.iter().copied() {
            if stream < film.all().len() && !chosen.contains(&stream) {
                chosen.push(stream);
            }
        }
        let bytes = film.clusters().map_or(0..0, |clusters| clusters.points.bytes.clone());
        let order = Order::new(&film, &chosen);
        let mut walk = Self::over(film, chosen, bytes, order);
        walk.place(at_ms);
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
        let clusters = film.clusters()?;
        let bytes = film.segments().get(number)?.bytes.clone()?;
        let place =
            |number: usize| clusters.points.cuts.get(number).map(|it| (it.cluster, it.inside));
        let from = if number == 0 { (0, 0) } else { place(number)? };
        let until = place(number + 1);
        let order = Order::new(&film, streams);
        let is_here = |place: Place| place >= from && until.is_none_or(|until| place < until);
        // Where the place of each cue is told nothing else is read.
        let is_told = streams.iter().all(|it| film.text(*it).is_some() && film.tells_text(*it));
        let bytes = if is_told { bytes.end..bytes.end } else { bytes };
        let text = |stream: &usize| film.text_cues(*stream, number);
        let is_apart = |cue: &TextCue| is_told || !is_here((cue.cluster, cue.inside));
        let cues = streams.iter().flat_map(text).filter(is_apart);
        let cues = cues.filter(|cue| cue.cluster < clusters.points.bytes.end);
        let reach = Reach::new(cues.take(CUES_MAX).collect());
        let walk = Self::over(Arc::clone(&film), streams.to_vec(), bytes, order);
        Some(Self { from, until, reach, ..walk })
    }
    fn over(film: Arc<Presentation>, streams: Vec<usize>, bytes: Range<u64>, order: Order) -> Self {
        let is_over = bytes.is_empty() || streams.is_empty();
        Self {
            film,
            streams,
            input: BytesMut::new(),
            at: bytes.start,
            end: bytes.end,
            from: (0, 0),
            until: None,
            cluster: None,
            is_lost: false,
            is_over,
            reach: Reach::default(),
            order,
        }
    }
    /// Goes to the key before `at_ms`, or where a film of constant rate would be by then.
    fn place(&mut self, at_ms: u64) {
        let Some(clusters) = self.film.clusters() else { return };
        let at = clusters.points.units_of_ms(at_ms);
        if clusters.points.keys.first().map_or(at == 0, |first| at <= first.shown) {
            // From the start: with all that comes before the first key, too.
            return;
        }
        self.order.seek(at);
        if let Some(key) = clusters.points.key_before(at) {
            self.at = key.cluster;
        } else if clusters.points.end > 0 {
            let length = u128::from(clusters.points.bytes.end - clusters.points.bytes.start);
            let part =
                length * u128::from(at.min(clusters.points.end)) / u128::from(clusters.points.end);
            self.at = clusters.points.bytes.start + u64::try_from(part).unwrap_or(0);
            self.is_lost = true;
        }
        self.is_over |= self.at >= self.end;
    }

    pub(super) fn need(&self) -> Option<Range<u64>> {
        if let Some(range) = self.reach.need(self.length()) {
            return Some(range);
        }
        let from = self.at + self.input.len() as u64;
        (!self.is_over && from < self.end)
            .then(|| from..from.saturating_add(READ_BYTES).min(self.end))
    }
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        let length = self.length();
        if self.reach.need(length).is_some() {
            if let Some((id, data, ticks)) = self.reach.feed(bytes, length) {
                self.take(id, data, Some(ticks));
            }
        } else if let Some(need) = self.need() {
            let wanted = usize::try_from(need.end - need.start).unwrap_or(usize::MAX);
            self.input.extend_from_slice(bytes.get(..bytes.len().min(wanted)).unwrap_or(&[]));
        } else {
            return Ok(());
        }
        let mut result = Ok(());
        while !self.is_over {
            match self.step() {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.is_over = true;
                    result = Err(error);
                }
            }
        }
        if self.need().is_none() {
            self.is_over = true;
            self.input = BytesMut::new();
            self.order.finish();
        }
        result
    }
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.order.next()
    }

    /// Where the file ends.
    fn length(&self) -> u64 {
        self.film.clusters().map_or(0, |clusters| clusters.points.bytes.end)
    }
    /// Takes the next element. Gives whether there may be another one in what came.
    fn step(&mut self) -> Result<bool, MediaError> {
        if self.is_lost {
            return Ok(self.find_cluster());
        }
        if self.cluster.is_some_and(|cluster| cluster.end.is_some_and(|end| self.at >= end)) {
            self.cluster = None;
        }
        let is_all = self.at + self.input.len() as u64 >= self.end;
        if self.input.len() < HEADER_MAX && !is_all || self.input.is_empty() {
            return Ok(false);
        }
        let Some((id, head, size)) = header(&self.input) else {
            return Ok(self.lose());
        };
        let body = self.at + head;
        if is_outermost(id) {
            self.cluster = None;
        }
        match (id, &mut self.cluster) {
            (SEGMENT, _) => self.skip_to(body),
            (CLUSTER, _) => self.enter(body, size),
            (TIMESTAMP, Some(_)) if size.is_some_and(|size| size <= TIMESTAMP_BYTES_MAX) => {
                let Some(data) = self.whole(head, size) else { return Ok(false) };
                let ticks = number(&data).and_then(|ticks| i64::try_from(ticks).ok());
                if let Some(cluster) = &mut self.cluster {
                    cluster.ticks = ticks;
                }
            }
            (SIMPLE_BLOCK | BLOCK_GROUP, Some(cluster)) => {
                let place = (cluster.start, self.at.saturating_sub(cluster.body));
                if self.until.is_some_and(|until| place >= until) {
                    self.is_over = true;
                    return Ok(false);
                }
                return self.block(id, place, head, size);
            }
            _ => match size {
                Some(size) => self.skip_to(body.saturating_add(size)),
                None => return Ok(self.lose()),
            },
        }
        Ok(true)
    }
    /// A cluster begins.
    fn enter(&mut self, body: u64, size: Option<u64>) {
        let start = self.at;
        if self.until.is_some_and(|until| (start, 0) >= until) {
            self.is_over = true;
            return;
        }
        let end = size.map(|size| body.saturating_add(size));
        self.cluster = Some(Cluster { start, body, end, ticks: None });
        self.skip_to(body);
    }
    /// A block, alone or in a group.
    fn block(
        &mut self,
        id: u32,
        place: Place,
        head: u64,
        size: Option<u64>,
    ) -> Result<bool, MediaError> {
        let Some(size) = size else { return Ok(self.lose()) };
        let end = self.at.saturating_add(head).saturating_add(size);
        let fits = self.cluster.is_none_or(|it| it.end.is_none_or(|cluster| end <= cluster));
        if !fits {
            return Ok(self.lose());
        }
        if place < self.from || end > self.end {
            self.skip_to(end);
            return Ok(true);
        }
        // Of tracks that nobody wants the first bytes are enough.
        let look = (head + size).min((2 * HEADER_MAX + BlockHead::BYTES_MAX) as u64);
        let looked = usize::try_from(look).ok().and_then(|look| self.input.get(..look));
        let Some(looked) = looked else { return Ok(false) };
        if self.lane_at(id, looked, head).is_none() {
            self.skip_to(end);
            return Ok(true);
        }
        if size > BLOCK_BYTES_MAX {
            let (what, limit) = ("block", BLOCK_BYTES_MAX);
            return Err(MediaError::TooLarge { what, limit, received: size });
        }
        let Some(data) = self.whole(head, Some(size)) else { return Ok(false) };
        self.take(id, data, None);
        Ok(true)
    }
    /// The wanted stream whose block begins with `looked`, a head of `head` bytes and more. That of a group which does not begin with its
    /// block is told once all of it is here: the first one is taken for it.
    fn lane_at(&self, id: u32, looked: &[u8], head: u64) -> Option<usize> {
        let body = looked.get(usize::try_from(head).ok()?..)?;
        if id == SIMPLE_BLOCK {
            return self.lane(BlockHead::read(body)?.track).map(|(stream, _)| stream);
        }
        match header(body)? {
            (BLOCK, head, _) => {
                let block = body.get(usize::try_from(head).ok()?..)?;
                self.lane(BlockHead::read(block)?.track).map(|(stream, _)| stream)
            }
            _ => self.streams.first().copied(),
        }
    }
    fn lane(&self, number: u64) -> Option<(usize, &Lane)> {
        let lanes = &self.film.clusters()?.lanes;
        let lane = |stream: &usize| Some((*stream, lanes.get(*stream)?));
        self.streams.iter().filter_map(lane).find(|(_, lane)| lane.number == number)
    }
    /// Takes the frames out of a block, or of the group that it is in, which is shown at `ticks`, or when it says itself.
    fn take(&mut self, id: u32, data: Bytes, ticks: Option<i64>) {
        let (block, told_key, told_ticks) = match id {
            SIMPLE_BLOCK => (data, None, None),
            _ => {
                let Some(block) = child(&data, BLOCK) else { return };
                let is_key = child(&data, REFERENCE_BLOCK).is_none();
                let ticks = child_number(&data, BLOCK_DURATION);
                (data.slice_ref(block), Some(is_key), ticks)
            }
        };
        let Some(head) = BlockHead::read(&block) else { return };
        let own = || Some(self.cluster?.ticks?.saturating_add(i64::from(head.time)));
        let Some(ticks) = ticks.or_else(own) else { return };
        let Some(frames) = head.frames(&block) else { return };
        let Some((stream, lane)) = self.lane(head.track) else { return };
        let Some(clock) = self.film.clusters().map(|clusters: &Clusters| clusters.clock) else {
            return;
        };
        let kind = self.film.all().get(stream).map(|stream| stream.track.kind);
        let is_video = kind == Some(TrackKind::Video);
        // Others last until the next one.
        let told_ticks = told_ticks.filter(|_| kind == Some(TrackKind::Text)).unwrap_or(0);
        let told = clock.units(i64::try_from(told_ticks).unwrap_or(i64::MAX));
        let duration = u32::try_from(told).unwrap_or(u32::MAX);
        let is_key = !is_video || told_key.unwrap_or_else(|| head.is_key());
        let shown = clock.units(ticks).saturating_sub(clock.units_of_ns(lane.delay_ns));
        let made: Vec<(i64, Bytes)> = (0u64..)
            .zip(frames)
            .filter(|(_, frame)| !frame.is_empty())
            .map(|(place, frame)| {
                let later = clock.units_of_ns(lane.frame_ns.saturating_mul(place));
                let bytes = block.slice(frame);
                (shown.saturating_add(later), whole(&lane.stripped, bytes))
            })
            .collect();
        let length = clock.units_of_ns(lane.frame_ns);
        for (shown, data) in made {
            // What of sound ends before the film begins only warms a decoder up.
            if !is_video && shown < 0 && length > 0 && shown.saturating_add(length) <= 0 {
                continue;
            }
            let shown = u64::try_from(shown.max(0)).unwrap_or(0);
            self.order.push(Frame { stream, decoded: shown, shown, duration, is_key, data });
        }
    }

    /// The body of the element at hand, once all of it is here.
    fn whole(&mut self, head: u64, size: Option<u64>) -> Option<Bytes> {
        let head = usize::try_from(head).ok()?;
        let length = head.checked_add(usize::try_from(size?).ok()?)?;
        if length > self.input.len() {
            return None;
        }
        self.at += length as u64;
        let mut data = self.input.split_to(length).freeze();
        data.advance(head);
        Some(data)
    }
    /// Goes on at `place`, which does not lie behind.
    fn skip_to(&mut self, place: u64) {
        let place = place.min(self.end);
        let skipped = place.saturating_sub(self.at);
        match usize::try_from(skipped).ok().filter(|skipped| *skipped <= self.input.len()) {
            Some(skipped) => self.input.advance(skipped),
            None => self.input.clear(),
        }
        self.at = place;
    }
    /// What comes next makes no sense: the next cluster is looked for behind it.
    fn lose(&mut self) -> bool {
        self.cluster = None;
        self.is_lost = true;
        self.skip_to(self.at + 1);
        true
    }
    /// Goes on to the next place that looks like the start of a cluster. Gives whether there is one in what came.
    fn find_cluster(&mut self) -> bool {
        let name = CLUSTER.to_be_bytes();
        let found = self.input.windows(name.len()).position(|window| window == name);
        let kept = name.len() - 1;
        let skipped = found.unwrap_or_else(|| self.input.len().saturating_sub(kept));
        self.skip_to(self.at + skipped as u64);
        if found.is_none() || self.input.len() <= HEADER_MAX {
            return false;
        }
        let first = header(&self.input)
            .and_then(|(_, head, _)| self.input.get(usize::try_from(head).ok()?).copied());
        if first.is_some_and(|first| FIRST_IN_CLUSTER.contains(&first)) {
            self.is_lost = false;
        } else {
            self.skip_to(self.at + 1);
        }
        true
    }
}

/// A frame with the start that blocks leave out.
fn whole(start: &[u8], rest: Bytes) -> Bytes {
    if start.is_empty() {
        return rest;
    }
    let mut all = BytesMut::with_capacity(start.len() + rest.len());
    all.extend_from_slice(start);
    all.extend_from_slice(&rest);
    all.freeze()
}
