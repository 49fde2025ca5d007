//! A playback without a player: its playhead moves with time over verified bytes.
//!
//! First the boot ranges are watched, one after the other, then the bytes from the playhead on. All of them are demanded
//! from the beginning, so watching one after the other costs no time.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::PlayConfig;
use crate::link::{ReaderId, TitleId};
use crate::time::{Instant, earlier};
use crate::turn::{Note, Turn, Window};

use super::playback::{Moment, Playback};
use super::timeline::Timeline;

/// One virtual playback.
#[derive(Debug)]
pub(crate) struct Show {
    pub(crate) id: ReaderId,
    pub(crate) title: TitleId,
    pub(crate) file: u32,
    /// Newer players have larger numbers.
    pub(crate) order: u64,
    /// When it was asked for.
    pub(crate) asked: Instant,
    /// Where it shall begin, once the film is known.
    at: Duration,
    paused: bool,
    /// How often it jumped: a change means that old demand is void.
    pub(crate) jumps: u32,
    /// Its state changed since windows were told: due times are different.
    changed: bool,
    stage: Option<Stage>,
}

/// What is known once the film is.
#[derive(Debug)]
struct Stage {
    line: Timeline,
    playback: Playback,
    /// Boot ranges of the file that are not there yet; the first one is being watched.
    boot: VecDeque<(u64, u64)>,
    /// First watched byte in piece space.
    watched: u64,
    /// When windows were told last.
    told: Instant,
    /// Whether the playhead moved then.
    moving: bool,
}

impl Show {
    /// A playback asked for now.
    pub(crate) fn new(
        id: ReaderId,
        (title, file): (TitleId, u32),
        at: Duration,
        order: u64,
        now: Instant,
    ) -> Self {
        Self {
            id,
            title,
            file,
            order,
            asked: now,
            at,
            paused: false,
            jumps: 0,
            changed: false,
            stage: None,
        }
    }
    /// Notes that windows must be told.
    pub(crate) fn set_changed(&mut self) {
        self.changed = true;
    }
    /// Whether windows must be told.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }
    /// Whether the film is known.
    pub(crate) fn is_placed(&self) -> bool {
        self.stage.is_some()
    }
    /// Whether the first frame was shown.
    pub(crate) fn has_started(&self) -> bool {
        self.stage.as_ref().is_some_and(|stage| stage.playback.has_started())
    }
    /// The film became known, or its timeline did before the first frame.
    pub(crate) fn place(&mut self, turn: &mut Turn<'_>, line: Timeline) {
        let mut moments = Vec::new();
        let begin = line.landing(self.at);
        let preroll = turn.config.play.preroll;
        let mut playback = Playback::new(self.asked, begin, line.duration(), preroll);
        playback.pause(turn.now, self.paused, &mut moments);
        let boot = line.boot().collect();
        let stage = self.stage.insert(Stage {
            line,
            playback,
            boot,
            watched: 0,
            told: turn.now,
            moving: false,
        });
        stage.watch(turn, self.title, self.id);
    }
    /// From the watched byte all below `until` of piece space is there.
    pub(crate) fn on_reaches(
        &mut self,
        turn: &mut Turn<'_>,
        from: u64,
        until: u64,
        moments: &mut Vec<Moment>,
    ) {
        let Some(stage) = &mut self.stage else { return };
        if from != stage.watched {
            return;
        }
        let until = until.saturating_sub(stage.line.start());
        match stage.boot.front() {
            Some(&(_, end)) if until >= end => {
                stage.boot.pop_front();
                stage.watch(turn, self.title, self.id);
            }
            Some(_) => {}
            None => {
                stage.playback.reaches(turn.now, stage.line.time_at(until), moments);
                self.changed |= stage.playback.is_moving() != stage.moving;
            }
        }
    }
    /// The viewer wants to see `to`.
    pub(crate) fn jump(&mut self, turn: &mut Turn<'_>, to: Duration, moments: &mut Vec<Moment>) {
        self.at = to;
        self.jumps = self.jumps.wrapping_add(1);
        let Some(stage) = &mut self.stage else { return };
        stage.playback.jump(turn.now, stage.line.landing(to), moments);
        if stage.boot.is_empty() {
            stage.watch(turn, self.title, self.id);
        }
    }
    /// The viewer halts the playback or lets it go on.
    pub(crate) fn pause(&mut self, now: Instant, paused: bool, moments: &mut Vec<Moment>) {
        self.paused = paused;
        if let Some(stage) = &mut self.stage {
            stage.playback.pause(now, paused, moments);
        }
    }
    /// Time passed. Whether windows must be told.
    pub(crate) fn on_wake(
        &mut self,
        now: Instant,
        config: &PlayConfig,
        moments: &mut Vec<Moment>,
    ) -> bool {
        let Some(stage) = &mut self.stage else { return false };
        stage.playback.advance(now, moments);
        let changed = !moments.is_empty() || stage.playback.is_moving() != stage.moving;
        changed || stage.next_tell(config).is_some_and(|due| due <= now)
    }
    /// When `on_wake` is next due.
    pub(crate) fn deadline(&self, config: &PlayConfig) -> Option<Instant> {
        let stage = self.stage.as_ref()?;
        earlier(stage.playback.deadline(), stage.next_tell(config))
    }
    /// Appends what it needs, and remembers that it was told.
    pub(crate) fn demand(&mut self, now: Instant, config: &PlayConfig, windows: &mut Vec<Window>) {
        let Some(stage) = &mut self.stage else { return };
        (stage.told, stage.moving) = (now, stage.playback.is_moving());
        self.changed = false;
        let playback = &stage.playback;
        if playback.is_ended() {
            return;
        }
        let due = playback.due(now);
        let position = playback.position(now);
        windows.extend(stage.boot.iter().map(|&(first, end)| Window {
            start: stage.line.start() + first,
            end: stage.line.start() + end,
            due,
            rate: end - first,
            playing: false,
            guessed: false,
        }));
        let from = position.max(playback.reach());
        stage.line.film_windows(
            (from, position + config.window),
            due + from.saturating_sub(position),
            playback.is_moving(),
            windows,
        );
    }
    /// The byte of piece space at which it is.
    pub(crate) fn position(&self, now: Instant) -> Option<Duration> {
        self.stage.as_ref().map(|stage| stage.playback.position(now))
    }
    /// The byte of piece space at which its playhead is.
    pub(crate) fn head(&self, now: Instant) -> Option<u64> {
        let stage = self.stage.as_ref()?;
        Some(stage.line.start() + stage.line.offset_at(stage.playback.position(now)))
    }
    /// Film ahead of the playhead that is here.
    pub(crate) fn buffer(&self, now: Instant) -> Duration {
        self.stage.as_ref().map_or(Duration::ZERO, |stage| {
            stage.playback.reach().saturating_sub(stage.playback.position(now))
        })
    }
}

impl Stage {
    /// Watches what must come next: a boot range, else the film from the playhead on.
    fn watch(&mut self, turn: &mut Turn<'_>, title: TitleId, reader: ReaderId) {
        let first = match self.boot.front() {
            Some(&(first, _)) => first,
            None => self.line.offset_at(self.playback.position(turn.now)),
        };
        self.watched = self.line.start() + first;
        turn.note(Note::Watch { title, reader, from: self.watched });
    }
    /// When the playhead has moved so far that its windows must be told again; never while it stands still, nor when
    /// the rest of the film is here.
    fn next_tell(&self, config: &PlayConfig) -> Option<Instant> {
        let whole = self.boot.is_empty() && self.playback.reach() >= self.line.duration();
        (self.playback.is_moving() && !whole).then(|| self.told + config.step)
    }
}
