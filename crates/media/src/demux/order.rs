//! Frames of a file that tells only when they are shown: where the first of them is, when they are decoded, and in which order.

use std::collections::VecDeque;

use super::Frame;
use crate::TrackKind;
use crate::presentation::Presentation;

/// A frame is decoded no later than so many that follow it in its stream are shown. Pictures that are decoded out of order are put so
/// that this many never hide one that is shown before.
const LOOK_AHEAD: usize = 8;
/// A stream of which nothing comes is waited for until another one is so far ahead, ms.
const PATIENCE_MS: u64 = 1000;
/// Frames that wait for that, and their bytes: beyond these none waits any more.
const WAITING_FRAMES_MAX: usize = 1024;
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Frames that are kept while the key frame to begin with is not certain, and their bytes: beyond these it is the last one that came.
const HELD_FRAMES_MAX: usize = 8192;
const HELD_BYTES_MAX: usize = 16 << 20;

#[derive(Debug)]
struct Lane {
    stream: usize,
    reorders: bool,
    is_video: bool,
    /// When its last frame was decoded.
    last: u64,
    has_key: bool,
    waiting: VecDeque<Frame>,
}

impl Lane {
    /// When its next frame is decoded. `None` when it has none, or that is not certain: `all` says that nothing more will come.
    fn decoded(&self, all: bool) -> Option<u64> {
        let mut decoded = self.waiting.front()?.shown;
        if self.reorders {
            let following = self.waiting.iter().skip(1).take(LOOK_AHEAD);
            if !all && following.len() < LOOK_AHEAD {
                return None;
            }
            decoded = following.map(|frame| frame.shown).fold(decoded, u64::min);
        }
        Some(decoded.max(self.last))
    }
}

/// How far the search for the first frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// The last key of the lead that is shown no later is looked for.
    Before(u64),
    /// It was found, and is shown then.
    At(u64),
}

#[derive(Debug)]
pub(super) struct Order {
    lanes: Vec<Lane>,
    /// The stream that says where it begins: the first of pictures, else the first.
    lead: Option<usize>,
    start: Start,
    /// Frames from the best key so far on.
    held: VecDeque<Frame>,
    held_bytes: usize,
    /// Whether a key is among them.
    holds_key: bool,
    /// Frames that wait for their turn, and their bytes.
    waiting: usize,
    waiting_bytes: usize,
    /// When the latest of them is shown, and how far behind that nobody waits for a stream.
    latest: u64,
    patience: u64,
    is_over: bool,
}

impl Order {
    /// Of these streams, all of their frames from the first key on.
    pub(super) fn new(film: &Presentation, streams: &[usize]) -> Self {
        let lanes: Vec<Lane> = streams
            .iter()
            .filter_map(|number| {
                let lane = film.clusters()?.lanes.get(*number)?;
                let is_video = film.all().get(*number)?.track.kind == TrackKind::Video;
                let reorders = lane.reorders;
                let waiting = VecDeque::new();
                let stream = *number;
                Some(Lane { stream, reorders, is_video, last: 0, has_key: false, waiting })
            })
            .collect();
        let clock = film.clusters().map(|clusters| clusters.clock);
        let patience = clock.map_or(0, |clock| u64::from(clock.timescale()) * PATIENCE_MS / 1000);
        let lead = lanes.iter().find(|lane| lane.is_video).or_else(|| lanes.first());
        Self {
            lead: lead.map(|lane| lane.stream),
            lanes,
            start: Start::At(0),
            held: VecDeque::new(),
            held_bytes: 0,
            holds_key: false,
            waiting: 0,
            waiting_bytes: 0,
            latest: 0,
            patience,
            is_over: false,
        }
    }
    /// Begins with the last key that is shown no later than `at`.
    pub(super) fn seek(&mut self, at: u64) {
        self.start = Start::Before(at);
    }
    /// Takes the next frame of the file.
    pub(super) fn push(&mut self, frame: Frame) {
        match self.start {
            Start::At(from) => self.put(frame, from),
            Start::Before(at) => self.hold(frame, at),
        }
    }
    /// There are no more frames.
    pub(super) fn finish(&mut self) {
        self.begin();
        self.is_over = true;
    }

    fn hold(&mut self, frame: Frame, at: u64) {
        let is_lead = Some(frame.stream) == self.lead;
        let has_key = self.holds_key;
        let is_behind = is_lead && frame.shown > at;
        if is_behind && has_key {
            self.begin();
            return self.push(frame);
        }
        if is_lead && frame.is_key {
            let (lead, shown) = (self.lead, frame.shown);
            self.held.retain(|held| Some(held.stream) != lead && held.shown >= shown);
            self.held_bytes = self.held.iter().map(|held| held.data.len()).sum();
            self.holds_key = true;
        } else if is_lead && !has_key {
            return;
        }
        let is_first_key = is_behind && frame.is_key;
        self.held_bytes = self.held_bytes.saturating_add(frame.data.len());
        self.held.push_back(frame);
        let is_full = self.held_bytes > HELD_BYTES_MAX || self.held.len() > HELD_FRAMES_MAX;
        if is_first_key || is_full && (has_key || is_lead) {
            self.begin();
        } else if is_full {
            // Nothing to begin with, and sound for minutes.
            self.held.clear();
            self.held_bytes = 0;
        }
    }
    /// Begins with what is held.
    fn begin(&mut self) {
        if !matches!(self.start, Start::Before(_)) {
            return;
        }
        let lead = self.lead;
        let first = self.held.iter().find(|held| Some(held.stream) == lead);
        let from = first.map_or(0, |first| first.shown);
        self.start = Start::At(from);
        self.held_bytes = 0;
        for frame in core::mem::take(&mut self.held) {
            self.put(frame, from);
        }
    }
    /// Lets a frame wait for its turn, unless its stream has not begun.
    fn put(&mut self, frame: Frame, from: u64) {
        let lead = self.lead;
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.stream == frame.stream) else {
            return;
        };
        let begins = if lane.is_video { frame.is_key } else { frame.shown >= from };
        let is_late = Some(lane.stream) != lead && !lane.is_video && frame.shown < from;
        if !lane.has_key && !begins || is_late {
            return;
        }
        lane.has_key = true;
        self.waiting += 1;
        self.waiting_bytes += frame.data.len();
        self.latest = self.latest.max(frame.shown);
        lane.waiting.push_back(frame);
    }

    /// The next frame: that which is decoded first, once that is certain of all streams.
    pub(super) fn next(&mut self) -> Option<Frame> {
        let is_full = self.waiting > WAITING_FRAMES_MAX || self.waiting_bytes > WAITING_BYTES_MAX;
        let all = self.is_over || is_full;
        let mut first: Option<(u64, usize)> = None;
        let mut lacks = false;
        for (number, lane) in self.lanes.iter().enumerate() {
            match lane.decoded(all) {
                Some(decoded) => {
                    let sooner = first.is_none_or(|first| decoded < first.0);
                    first = if sooner { Some((decoded, number)) } else { first };
                }
                None if lane.waiting.is_empty() => lacks |= !all,
                None => return None,
            }
        }
        let (decoded, number) = first?;
        if lacks && self.latest < decoded.saturating_add(self.patience) {
            return None;
        }
        let lane = self.lanes.get_mut(number)?;
        let mut frame = lane.waiting.pop_front()?;
        self.waiting -= 1;
        self.waiting_bytes -= frame.data.len();
        frame.decoded = decoded;
        // Only a file that makes no sense shows a frame that much sooner.
        frame.shown = frame.shown.max(frame.decoded);
        lane.last = frame.decoded;
        Some(frame)
    }
}
