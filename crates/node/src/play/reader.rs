//! A reader: an HTTP answer (or a program) that takes the bytes of a file in order, and the model of the player behind it.
//!
//! The player is never heard, so its playhead is a model (`viewer.rs`) over the bytes it took: they are film it can
//! show, and it is kept waiting only while it asks for bytes that are not here.
//!
//! **Demand** (what becomes windows) is for `[position, position + window)` alone:
//! - a reader that took less than `probe_bytes` of film in a row is a *probe*: a slice ahead of it is due at once;
//! - the newest one that took more is the *leader* of its file: it gets the full window;
//! - a leader that asks for nothing (player paused, socket full) keeps a modest window that is not urgent; any other such
//!   reader has no claim until it reads again.

use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use crate::config::PlayConfig;
use crate::config::limits::{
    PROBE_MOMENTS_MAX, READ_MAX, READER_METER_RANGE, READER_METER_TIME, READER_STEP_BYTES,
};
use crate::io::Event;
use crate::link::{ReaderId, TitleId};
use crate::time::{Instant, bytes_in, time_of};
use crate::turn::{Note, Turn, Window};

use super::playback::Moment;
use super::timeline::Timeline;
use super::viewer::Viewer;

/// What a reader may ask of the swarm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Claim {
    /// A slice, at once.
    Slice,
    /// The full window.
    Full,
    /// Some film, not urgent.
    Modest,
    /// Nothing.
    None,
}

/// One reader.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) id: ReaderId,
    pub(crate) title: TitleId,
    pub(crate) file: u32,
    /// Newer players have larger numbers.
    pub(crate) order: u64,
    /// When it was opened.
    pub(crate) opened: Instant,
    /// First byte of the file that it took.
    start: u64,
    /// Next byte of the file that it will take.
    pub(crate) position: u64,
    /// One past the last byte, as asked for.
    end: u64,
    /// Film bytes taken in a row, by it and by those that it follows.
    pub(crate) run: u64,
    /// It takes nothing.
    idle: bool,
    /// When it last asked or took.
    active: Instant,
    /// Bytes it can take now.
    max: Option<u32>,
    /// Bytes are on their way from storage.
    fetching: bool,
    /// Film bytes below this are here, from the position on.
    until: u64,
    /// Position at which windows were told last.
    mark: u64,
    /// Rate for windows where there is no index, bytes/s.
    rate: u64,
    meter: Meter,
    pub(crate) stage: Option<Stage>,
}

/// What is known once the film is.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) line: Timeline,
    pub(crate) model: Viewer,
    /// What the model said and nobody heard yet.
    pub(crate) moments: Vec<Moment>,
}

/// Bytes taken since a moment, without waiting.
#[derive(Clone, Copy, Debug)]
struct Meter {
    since: Instant,
    from: u64,
    short: bool,
}

impl Reader {
    /// A reader of bytes `range` of a file, opened now.
    pub(crate) fn new(
        id: ReaderId,
        (title, file): (TitleId, u32),
        range: (u64, u64),
        order: u64,
        turn: &Turn<'_>,
    ) -> Self {
        let (position, end) = range;
        Self {
            id,
            title,
            file,
            order,
            opened: turn.now,
            start: position,
            position,
            end,
            run: 0,
            idle: false,
            active: turn.now,
            max: None,
            fetching: false,
            until: 0,
            mark: position,
            rate: turn.config.play.default_rate,
            meter: Meter { since: turn.now, from: position, short: true },
            stage: None,
        }
    }
    /// The film became known, or its timeline did.
    pub(crate) fn place(&mut self, turn: &mut Turn<'_>, line: Timeline) {
        let (begin, here) = (line.time_at(self.start), line.time_at(self.position));
        let config = &turn.config.play;
        let slowest =
            (!line.is_exact()).then_some((config.default_rate / READER_METER_RANGE, self.start));
        let span = (begin, line.duration());
        let mut model = Viewer::new(self.opened, span, config.preroll, slowest);
        let mut moments = Vec::new();
        if self.position > self.start {
            model.holds(turn.now, (here, self.position), &mut moments);
        }
        let first = self.stage.is_none();
        let from = line.start() + self.position;
        self.stage = Some(Stage { line, model, moments });
        if first && self.position < self.end() {
            turn.note(Note::Watch { title: self.title, reader: self.id, from });
        }
        if self.max.is_some() {
            self.tell_model(turn.now);
            self.ask(turn);
        }
    }
    /// The model learns that it asks for the next byte, if it does and there is one.
    pub(crate) fn tell_model(&mut self, now: Instant) {
        let asks = self.max.is_some() && self.position < self.end();
        let missing = self.until <= self.position;
        if let Some(stage) = self.stage.as_mut().filter(|_| asks) {
            stage.model.asks(now, missing, &mut stage.moments);
        }
    }
    /// What is known of its player when it is gone, or left alone.
    pub(crate) fn model_left(&self, now: Instant) -> Option<Viewer> {
        let mut model = self.stage.as_ref()?.model.clone();
        model.leaves(now, &mut Vec::new());
        Some(model)
    }
    /// The reader can take `max` bytes. Whether it was idle.
    pub(crate) fn read(&mut self, turn: &mut Turn<'_>, max: u32) -> bool {
        self.max = Some(max.clamp(1, READ_MAX));
        self.active = turn.now;
        if self.stage.is_some() {
            self.tell_model(turn.now);
            self.meter.short |= self.until <= self.position;
            self.ask(turn);
        }
        core::mem::take(&mut self.idle)
    }
    /// Film bytes below `until` of piece space are here.
    pub(crate) fn on_reaches(&mut self, turn: &mut Turn<'_>, until: u64) {
        if let Some(stage) = &self.stage {
            self.until = until.saturating_sub(stage.line.start()).min(stage.line.length());
            self.ask(turn);
        }
    }
    /// Bytes came from storage. Whether the reader took them.
    pub(crate) fn on_fetched(&mut self, turn: &mut Turn<'_>, offset: u64, data: &Bytes) -> bool {
        let end = self.end();
        let Some(stage) = &mut self.stage else { return false };
        if !self.fetching || offset != stage.line.start() + self.position || data.is_empty() {
            return false;
        }
        let Some(max) = self.max.take() else { return false };
        self.fetching = false;
        self.active = turn.now;
        let room = end.saturating_sub(self.position).min(u64::from(max));
        let data = data.slice(..data.len().min(usize::try_from(room).unwrap_or(usize::MAX)));
        let next = self.position + data.len() as u64;
        self.run = self.run.saturating_add(stage.line.film_bytes(self.position, next));
        turn.tell(Event::Data { reader: self.id, offset: self.position, data });
        self.position = next;
        let to = (stage.line.time_at(next), next);
        stage.model.takes(turn.now, to, &mut stage.moments);
        stage.moments.truncate(PROBE_MOMENTS_MAX);
        self.measure(turn);
        true
    }
    /// Whether it has moved so far that its windows must be told again.
    pub(crate) fn has_moved(&self, config: &PlayConfig) -> bool {
        let Some(stage) = &self.stage else { return false };
        let step = if stage.line.is_exact() {
            let here = stage.line.time_at(self.mark);
            stage.line.offset_at(here + config.step).saturating_sub(self.mark)
        } else {
            bytes_in(config.step, self.rate)
        };
        self.position.saturating_sub(self.mark) >= step.max(READER_STEP_BYTES)
    }
    /// It took so much in a row that it is a viewer and not a probe.
    pub(crate) fn is_sequential(&self, config: &PlayConfig) -> bool {
        self.stage
            .as_ref()
            .is_some_and(|stage| self.run >= config.probe_bytes.min(stage.line.length() / 2).max(1))
    }
    /// When it will count as idle if it goes on taking nothing.
    pub(crate) fn idle_at(&self, config: &PlayConfig) -> Option<Instant> {
        let quiet = !self.idle && self.max.is_none() && self.stage.is_some();
        quiet.then(|| self.active + config.reader_idle)
    }
    /// It takes something, or waits for it.
    pub(crate) fn is_active(&self) -> bool {
        !self.idle
    }
    /// It counts as idle now.
    pub(crate) fn set_idle(&mut self) {
        self.idle = true;
    }
    /// What it may ask for.
    pub(crate) fn claim(&self, leads: bool) -> Claim {
        match (self.stage.is_some() && self.position < self.end(), self.idle, leads) {
            (false, ..) | (true, true, false) => Claim::None,
            (true, false, true) => Claim::Full,
            (true, true, true) => Claim::Modest,
            (true, false, false) => Claim::Slice,
        }
    }
    /// Appends what it needs under `claim`, and remembers that it was told.
    pub(crate) fn demand(
        &mut self,
        now: Instant,
        config: &PlayConfig,
        claim: Claim,
        windows: &mut Vec<Window>,
    ) {
        self.mark = self.position;
        let end = self.end();
        let Some(stage) = &self.stage else { return };
        let (line, model) = (&stage.line, &stage.model);
        let from = self.position.max(self.until).min(end);
        let here = line.time_at(self.position);
        // Half of what the player seems to have ahead is believed: it may want to keep a buffer of its own.
        let ahead = if model.has_started() {
            here.saturating_sub(model.position(now)).min(config.window) / 2
        } else {
            Duration::ZERO
        };
        let (film, due, playing) = match claim {
            Claim::None => return,
            Claim::Slice => (config.slice, now, false),
            Claim::Full => (config.window, now + ahead, model.is_moving()),
            Claim::Modest => (config.window / 4, now + ahead + config.reader_idle, false),
        };
        let last = self.far(line, here, film).max(self.position + config.slice_bytes).min(end);
        let own = windows.len();
        if line.is_exact() && claim != Claim::Slice {
            let later = line.time_at(from).saturating_sub(here);
            line.film_windows((here + later, here + film), due + later, playing, windows);
        }
        self.complete((from, last), (due, playing), own, windows);
    }
    /// The byte of piece space at which it is.
    pub(crate) fn head(&self) -> Option<u64> {
        Some(self.stage.as_ref()?.line.start() + self.position)
    }
    /// Where its player's playhead is, as far as a model can tell.
    pub(crate) fn film_position(&self, now: Instant) -> Option<Duration> {
        self.stage.as_ref().map(|stage| stage.model.position(now))
    }
    /// Film that is here beyond the playhead.
    pub(crate) fn buffer(&self, now: Instant) -> Duration {
        self.stage.as_ref().map_or(Duration::ZERO, |stage| {
            let here = stage.line.time_at(self.until.max(self.position));
            here.saturating_sub(stage.model.position(now))
        })
    }
    /// One past the last byte that it will take.
    pub(crate) fn end(&self) -> u64 {
        self.stage.as_ref().map_or(self.end, |stage| self.end.min(stage.line.length()))
    }

    /// Fetches what is here, when it is wanted; tells when nothing more will come.
    fn ask(&mut self, turn: &mut Turn<'_>) {
        let end = self.end();
        let (Some(max), Some(stage), false) = (self.max, &self.stage, self.fetching) else {
            return;
        };
        if self.position >= end {
            self.max = None;
            turn.tell(Event::Ended { reader: self.id });
            return;
        }
        let here = self.until.min(end).saturating_sub(self.position).min(u64::from(max));
        if here > 0 {
            self.fetching = true;
            turn.note(Note::Fetch {
                title: self.title,
                reader: self.id,
                offset: stage.line.start() + self.position,
                length: u32::try_from(here).unwrap_or(READ_MAX),
            });
        }
    }
    /// The byte that is needed when `film` has passed since `here`.
    fn far(&self, line: &Timeline, here: Duration, film: Duration) -> u64 {
        if line.is_exact() {
            line.offset_at(here + film)
        } else {
            self.position.saturating_add(bytes_in(film, self.rate))
        }
    }
    /// Cuts the windows from `own` on to `range` and fills what they leave out of it: container bytes before the first
    /// key frame, and everything where there is no index.
    fn complete(
        &self,
        (from, last): (u64, u64),
        (due, playing): (Instant, bool),
        own: usize,
        windows: &mut Vec<Window>,
    ) {
        let Some(stage) = &self.stage else { return };
        let line = &stage.line;
        let (from, last) = (line.start() + from, line.start() + last);
        for window in &mut windows[own..] {
            if window.start < from {
                window.due = window.due + time_of(from - window.start, window.rate);
                window.start = from;
            }
            window.end = window.end.min(last);
        }
        // `retain` would also see what other players asked for: drain only our own tail.
        let kept: Vec<Window> = windows.drain(own..).filter(|w| w.start < w.end).collect();
        let rate = if line.is_exact() { mean_rate(line) } else { self.rate };
        let first = kept.first().map_or(last, |window| window.start);
        if from < first {
            let guessed = !line.is_exact();
            windows.push(Window { start: from, end: first, due, rate, playing, guessed });
        }
        windows.extend(kept);
    }
    /// Learns the rate of a film without an index from a reader that was never short.
    fn measure(&mut self, turn: &Turn<'_>) {
        let elapsed = turn.now.since(self.meter.since);
        if elapsed < READER_METER_TIME {
            return;
        }
        if !self.meter.short {
            let bytes = self.position.saturating_sub(self.meter.from);
            let nanos = elapsed.as_nanos().max(1);
            let rate = u128::from(bytes) * 1_000_000_000 / nanos;
            let assumed = turn.config.play.default_rate.max(READER_METER_RANGE);
            self.rate = u64::try_from(rate)
                .unwrap_or(u64::MAX)
                .clamp(assumed / READER_METER_RANGE, assumed.saturating_mul(READER_METER_RANGE));
        }
        self.meter = Meter { since: turn.now, from: self.position, short: false };
    }
}

fn mean_rate(line: &Timeline) -> u64 {
    let nanos = line.duration().as_nanos().max(1);
    u64::try_from(u128::from(line.length()) * 1_000_000_000 / nanos).unwrap_or(u64::MAX).max(1)
}
