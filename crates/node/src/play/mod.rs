//! Playback meets the swarm here, and only as windows: byte ranges with due times.
//!
//! **Does**: readers (`reader.rs`: HTTP answers), virtual playbacks (`show.rs`), the playback model behind both
//! (`playback.rs`; `viewer.rs` for readers), what belongs to one viewer (`session.rs`), film time to bytes (`timeline.rs`), the
//! published time index (`index.rs`). All players of a title together make its windows, told to the swarm when they change:
//! coarsely as playheads move (`Moved`), at once when a player comes, jumps, goes or changes its claim (`Jumped`: the swarm
//! cancels what lies outside).
//!
//! **Refuses**: media formats, HTTP, the choice of peers. Reads only what `Reaches` promised.
//!
//! Sources: demand rules as players need them (a probe opens no window, the newest sequential reader wins, windows are
//! seconds of film); definitions of startup, stall and seek are in `playback.rs`.

mod index;
mod playback;
mod reader;
mod session;
mod show;
mod slots;
#[cfg(test)]
mod tests;
mod timeline;
mod title;
mod viewer;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::time::Duration;

use crate::config::PlayConfig;
use crate::io::{Command, Effect, Event};
use crate::link::{ReaderId, TitleId};
use crate::time::{Instant, earlier};
use crate::turn::{Note, Turn, WindowCause};

use index::{IndexFetch, is_own};
use playback::Moment;
use reader::{Claim, Reader};
use session::Session;
use show::Show;
use slots::WallClock;
use timeline::millis;
use title::Title;

/// All readers and playbacks.
#[derive(Debug, Default)]
pub(crate) struct Play {
    titles: BTreeMap<TitleId, Title>,
    players: BTreeMap<ReaderId, Player>,
    /// Time indexes on their way.
    fetches: Vec<IndexFetch>,
    /// Numbers players in the order of their opening.
    opened: u64,
    /// Absent until the world says what time it is.
    wall: Option<WallClock>,
    /// Numbers fetches of our own.
    fetched: u32,
    deadline: Option<Instant>,
}

#[derive(Debug)]
enum Player {
    Show(Box<Show>),
    Reader(Box<Reader>),
}

impl Player {
    fn title(&self) -> TitleId {
        match self {
            Self::Show(show) => show.title,
            Self::Reader(reader) => reader.title,
        }
    }
    fn order(&self) -> u64 {
        match self {
            Self::Show(show) => show.order,
            Self::Reader(reader) => reader.order,
        }
    }
}

impl Play {
    /// Open, Read, Close, Play, Jump, Pause.
    pub(crate) fn on_command(&mut self, turn: &mut Turn<'_>, command: Command) {
        match command {
            Command::Open { reader, title, file, start, end } => {
                self.open(turn, reader, (title, file), (start, end));
            }
            Command::Read { reader, max } => self.read(turn, reader, max),
            Command::Close { reader } => self.close(turn, reader),
            Command::Play { reader, title, file, at_ms } => {
                self.begin(turn, reader, (title, file), Duration::from_millis(at_ms));
            }
            Command::Jump { reader, to_ms } => {
                self.with_show(turn, reader, |show, turn, moments| {
                    show.jump(turn, Duration::from_millis(to_ms), moments);
                });
            }
            Command::Pause { reader, paused } => {
                self.with_show(turn, reader, |show, turn, moments| {
                    show.pause(turn.now, paused, moments);
                });
            }
            _ => {}
        }
        self.plan(turn);
    }
    /// Joined, Ready, Finished, Left, Reaches, Fetched.
    pub(crate) fn on_note(&mut self, turn: &mut Turn<'_>, note: &Note) {
        match note {
            Note::Joined { title, time_indexes, .. } => {
                let indexes = time_indexes.clone();
                self.titles.insert(*title, Title::new(indexes));
            }
            Note::Ready { title, info } => {
                if let Some(known) = self.titles.get_mut(title) {
                    known.info = Some(Arc::clone(info));
                    for reader in self.players_of(*title) {
                        self.place(turn, reader);
                    }
                }
            }
            Note::Left { title } => {
                for reader in self.players_of(*title) {
                    self.fail(turn, reader, "The title was removed.");
                }
                self.fetches.retain(|fetch| fetch.title != *title);
                self.titles.remove(title);
            }
            Note::Reaches { reader, from, until, .. } => {
                self.on_reaches(turn, *reader, *from, *until);
            }
            Note::Fetched { reader, offset, data } if is_own(*reader) => {
                self.on_index(turn, *reader, *offset, data.as_ref());
            }
            Note::Fetched { reader, offset, data } => match data {
                Some(data) => self.on_fetched(turn, *reader, *offset, data),
                None => self.fail(
                    turn,
                    *reader,
                    "Stored film bytes could not be read: check the disk and the title's folder.",
                ),
            },
            _ => {}
        }
        self.plan(turn);
    }
    /// Time passed.
    pub(crate) fn on_wake(&mut self, turn: &mut Turn<'_>) {
        if self.deadline.is_none_or(|deadline| deadline > turn.now) {
            return;
        }
        let (now, config) = (turn.now, &turn.config.play);
        let mut changed: Vec<TitleId> = Vec::new();
        let mut moments = Vec::new();
        for player in self.players.values_mut() {
            let title = player.title();
            let tell = match player {
                Player::Show(show) => {
                    let tell = show.on_wake(now, config, &mut moments);
                    tell_moments(turn.effects, show, &mut moments);
                    tell
                }
                Player::Reader(reader) => {
                    let idle = reader.idle_at(config).is_some_and(|idle| idle <= now);
                    if idle {
                        reader.set_idle();
                    }
                    idle
                }
            };
            if tell && !changed.contains(&title) {
                changed.push(title);
            }
        }
        for title in changed {
            self.tell_windows(turn, title);
        }
        self.lose_patience(turn);
        self.look_at_drift(turn);
        self.plan(turn);
    }
    /// When `on_wake` is next due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }
    /// Film ahead of the newest playhead of `title` that is here, milliseconds; 0 without one.
    pub(crate) fn buffer_ms(&self, title: TitleId, now: Instant) -> u64 {
        let newest =
            self.players.values().filter(|player| player.title() == title).max_by_key(|player| {
                match player {
                    Player::Show(show) => (true, show.order),
                    Player::Reader(reader) => (self.leads(reader), reader.order),
                }
            });
        match newest {
            Some(Player::Show(show)) => millis(show.buffer(now)),
            Some(Player::Reader(reader)) => millis(reader.buffer(now)),
            None => 0,
        }
    }

    /// Whether a new player may come in. Says why when not.
    fn admit(&mut self, turn: &mut Turn<'_>, reader: ReaderId, title: TitleId, file: u32) -> bool {
        let refusal = match self.titles.get(&title) {
            _ if self.players.contains_key(&reader) || is_own(reader) => return false,
            None => "There is no such title here.",
            Some(_) if self.players.len() >= turn.config.play.readers_max => {
                "Too many readers are open: close one first."
            }
            Some(known) if known.has_file(file) == Some(false) => "The title has no such file.",
            Some(_) => {
                self.opened += 1;
                return true;
            }
        };
        turn.tell(Event::ReaderFailed { reader, message: String::from(refusal) });
        false
    }

    fn begin(
        &mut self,
        turn: &mut Turn<'_>,
        reader: ReaderId,
        (title, file): (TitleId, u32),
        at: Duration,
    ) {
        if self.admit(turn, reader, title, file) {
            let show = Show::new(reader, (title, file), at, self.opened, turn.now);
            self.players.insert(reader, Player::Show(Box::new(show)));
            self.place(turn, reader);
        }
    }

    fn open(
        &mut self,
        turn: &mut Turn<'_>,
        reader: ReaderId,
        (title, file): (TitleId, u32),
        range: (u64, u64),
    ) {
        if !self.admit(turn, reader, title, file) {
            return;
        }
        let (now, idle) = (turn.now, turn.config.play.session_idle);
        let alone = !self.players.values().any(|player| {
            matches!(player, Player::Reader(other) if (other.title, other.file) == (title, file))
        });
        if let Some(known) = self.titles.get_mut(&title) {
            let session = known.sessions.entry(file).or_insert_with(|| Session::new(now));
            if alone && session.is_over(now, idle) {
                *session = Session::new(now);
            }
            session.last = now;
        }
        let new = Reader::new(reader, (title, file), range, self.opened, turn);
        self.players.insert(reader, Player::Reader(Box::new(new)));
        self.place(turn, reader);
    }

    fn read(&mut self, turn: &mut Turn<'_>, id: ReaderId, max: u32) {
        let Some(Player::Reader(reader)) = self.players.get_mut(&id) else { return };
        let title = reader.title;
        let was_idle = reader.read(turn, max);
        self.hear(turn, id);
        if was_idle {
            self.tell_windows(turn, title);
        }
    }

    fn close(&mut self, turn: &mut Turn<'_>, id: ReaderId) {
        let Some(player) = self.players.remove(&id) else { return };
        let title = player.title();
        let placed = match &player {
            Player::Show(show) => show.is_placed(),
            Player::Reader(reader) => {
                if let Some(session) = self.session(title, reader.file) {
                    session.close(reader, turn.now);
                }
                reader.stage.is_some()
            }
        };
        if placed {
            turn.note(Note::Unwatch { title, reader: id });
            self.tell_windows(turn, title);
        }
    }

    fn fail(&mut self, turn: &mut Turn<'_>, reader: ReaderId, message: &str) {
        if self.players.contains_key(&reader) {
            self.close(turn, reader);
            turn.tell(Event::ReaderFailed { reader, message: String::from(message) });
        }
    }

    /// Gives a player its film, as soon as that is known.
    fn place(&mut self, turn: &mut Turn<'_>, id: ReaderId) {
        let Some(player) = self.players.get(&id) else { return };
        let (title, file) = match player {
            Player::Show(show) => (show.title, show.file),
            Player::Reader(reader) => (reader.title, reader.file),
        };
        let Some(known) = self.titles.get(&title) else { return };
        if known.info.is_none() {
            return;
        }
        let Some(line) = known.timeline(file, turn.config.play.default_rate) else {
            return self.fail(turn, id, "The title has no such file.");
        };
        let waits = !line.is_exact() && self.seek_index(turn, title, file);
        match self.players.get_mut(&id) {
            Some(Player::Show(_)) if waits => {}
            Some(Player::Show(show)) => show.place(turn, line),
            Some(Player::Reader(reader)) => {
                reader.place(turn, line);
                self.follow(turn.now, id);
            }
            None => {}
        }
        self.tell_windows(turn, title);
    }

    /// Lets a placed reader go on where the leader of its file stopped, if that is where it begins.
    fn follow(&mut self, now: Instant, id: ReaderId) {
        // Taken out for a moment, because the leader is looked at beside it.
        let Some(Player::Reader(mut reader)) = self.players.remove(&id) else { return };
        if let Some(known) = self.titles.get_mut(&reader.title)
            && let Some(session) = known.sessions.get_mut(&reader.file)
        {
            let leader = match session.leader.and_then(|leader| self.players.get(&leader)) {
                Some(Player::Reader(leader)) => Some(&**leader),
                _ => None,
            };
            session.follow(now, &mut reader, leader);
        }
        self.players.insert(id, Player::Reader(reader));
    }

    fn on_reaches(&mut self, turn: &mut Turn<'_>, id: ReaderId, from: u64, until: u64) {
        if let Some(fetch) = self.fetches.iter_mut().find(|fetch| fetch.id == id) {
            return fetch.on_reaches(turn, until);
        }
        match self.players.get_mut(&id) {
            Some(Player::Show(show)) => {
                let mut moments = Vec::new();
                show.on_reaches(turn, from, until, &mut moments);
                let title = show.title;
                tell_moments(turn.effects, show, &mut moments);
                if show.take_changed() {
                    self.tell_windows(turn, title);
                }
            }
            Some(Player::Reader(reader)) => reader.on_reaches(turn, until),
            None => {}
        }
    }

    fn on_fetched(&mut self, turn: &mut Turn<'_>, id: ReaderId, offset: u64, data: &bytes::Bytes) {
        let config = &turn.config.play;
        let Some(Player::Reader(reader)) = self.players.get_mut(&id) else { return };
        if !reader.on_fetched(turn, offset, data) {
            return;
        }
        let (title, file) = (reader.title, reader.file);
        let (moved, sequential) = (reader.has_moved(config), reader.is_sequential(config));
        let promoted = sequential && self.promote(turn.now, id, title, file);
        self.hear(turn, id);
        if moved || promoted {
            self.tell_windows(turn, title);
        }
    }

    fn promote(&mut self, now: Instant, id: ReaderId, title: TitleId, file: u32) -> bool {
        let leader = self
            .titles
            .get(&title)
            .and_then(|known| known.sessions.get(&file).and_then(|session| session.leader));
        let order = leader.and_then(|leader| self.players.get(&leader)).map(Player::order);
        let Some(Player::Reader(reader)) = self.players.get(&id) else { return false };
        self.titles
            .get_mut(&title)
            .and_then(|known| known.sessions.get_mut(&file))
            .is_some_and(|session| session.promote(reader, order, now))
    }

    /// Tells what the model behind a leader said.
    fn hear(&mut self, turn: &mut Turn<'_>, id: ReaderId) {
        let alone = !self.is_followed(id);
        let Some(Player::Reader(reader)) = self.players.get_mut(&id) else { return };
        let session = self
            .titles
            .get_mut(&reader.title)
            .and_then(|known| known.sessions.get_mut(&reader.file))
            .filter(|session| session.leader == Some(id));
        let mut events = Vec::new();
        if let Some(session) = session {
            session.hear(reader, alone, &mut events);
        }
        for event in events {
            turn.tell(event);
        }
    }

    /// Whether a newer reader of the same file takes something.
    fn is_followed(&self, id: ReaderId) -> bool {
        let Some(Player::Reader(reader)) = self.players.get(&id) else { return false };
        self.players.values().any(|player| {
            matches!(player, Player::Reader(other) if other.order > reader.order
                && (other.title, other.file) == (reader.title, reader.file)
                && other.is_active())
        })
    }

    fn with_show(
        &mut self,
        turn: &mut Turn<'_>,
        id: ReaderId,
        act: impl FnOnce(&mut Show, &mut Turn<'_>, &mut Vec<Moment>),
    ) {
        let Some(Player::Show(show)) = self.players.get_mut(&id) else { return };
        let mut moments = Vec::new();
        act(show, turn, &mut moments);
        tell_moments(turn.effects, show, &mut moments);
        let title = show.title;
        if show.is_placed() {
            self.tell_windows(turn, title);
        }
    }

    /// Tells the swarm what all players of a title need, if that has changed.
    fn tell_windows(&mut self, turn: &mut Turn<'_>, title: TitleId) {
        let (now, config) = (turn.now, &turn.config.play);
        let Some(known) = self.titles.get_mut(&title) else { return };
        let mut claims = Vec::new();
        let mut order = Vec::new();
        for (&id, player) in &self.players {
            if player.title() != title {
                continue;
            }
            let (claim, jumps, newest) = match player {
                Player::Show(show) if show.is_placed() => (Claim::Full, show.jumps, show.order),
                Player::Show(_) => continue,
                Player::Reader(reader) => {
                    let leads = known
                        .sessions
                        .get(&reader.file)
                        .is_some_and(|session| session.leader == Some(id));
                    (reader.claim(leads), 0, reader.order)
                }
            };
            claims.push((id, claim, jumps));
            order.push((claim, Reverse(newest), id));
        }
        order.sort_unstable();
        let mut windows = Vec::new();
        let mut heads = Vec::new();
        for fetch in self.fetches.iter().filter(|fetch| fetch.title == title) {
            claims.push((fetch.id, Claim::Full, 0));
            windows.push(fetch.window(now));
        }
        for (claim, _, id) in order {
            match self.players.get_mut(&id) {
                Some(Player::Show(show)) => {
                    heads.extend(show.head(now).map(|head| (id, head)));
                    show.demand(now, config, &mut windows);
                }
                Some(Player::Reader(reader)) => {
                    heads.extend(reader.head().map(|head| (id, head)));
                    known.boot_windows(reader, claim, &mut windows);
                    reader.demand(now, config, claim, &mut windows);
                }
                None => {}
            }
        }
        let cause = if claims == known.claims { WindowCause::Moved } else { WindowCause::Jumped };
        let moved = windows != known.windows || heads != known.heads;
        if cause == WindowCause::Jumped || moved {
            known.claims = claims;
            known.windows.clone_from(&windows);
            known.heads.clone_from(&heads);
            turn.note(Note::Windows { title, windows, heads, cause });
        }
        self.tell_slot(turn, title);
    }

    fn plan(&mut self, turn: &Turn<'_>) {
        let config: &PlayConfig = &turn.config.play;
        self.deadline = self.players.values().fold(None, |next, player| {
            earlier(
                next,
                match player {
                    Player::Show(show) => show.deadline(config),
                    Player::Reader(reader) => reader.idle_at(config),
                },
            )
        });
        for fetch in &self.fetches {
            self.deadline = earlier(self.deadline, fetch.patience);
        }
        self.deadline = earlier(self.deadline, self.drift_deadline());
    }

    fn players_of(&self, title: TitleId) -> Vec<ReaderId> {
        let of_title =
            |(id, player): (&ReaderId, &Player)| (player.title() == title).then_some(*id);
        self.players.iter().filter_map(of_title).collect()
    }
    fn session(&mut self, title: TitleId, file: u32) -> Option<&mut Session> {
        self.titles.get_mut(&title)?.sessions.get_mut(&file)
    }
    fn leads(&self, reader: &Reader) -> bool {
        self.titles
            .get(&reader.title)
            .and_then(|known| known.sessions.get(&reader.file))
            .is_some_and(|session| session.leader == Some(reader.id))
    }
}

/// Tells what happened to a virtual playback.
fn tell_moments(effects: &mut Vec<Effect>, show: &mut Show, moments: &mut Vec<Moment>) {
    let (title, reader) = (show.title, show.id);
    for moment in moments.drain(..) {
        show.set_changed();
        effects.push(Effect::Tell(match moment {
            Moment::Started { waited, .. } => {
                Event::Playing { title, reader, startup_ms: millis(waited) }
            }
            Moment::Landed { position, waited } => Event::Seek {
                title,
                reader,
                position_ms: millis(position),
                latency_ms: millis(waited),
            },
            Moment::Stalled { position, waited } => Event::Stall {
                title,
                reader,
                position_ms: millis(position),
                stalled_ms: millis(waited),
            },
            Moment::Ended => Event::Ended { reader },
        }));
    }
}
