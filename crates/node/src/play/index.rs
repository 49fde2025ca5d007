//! Fetching the published time index of a film, like content, when somebody wants to see the film and it is not at hand.
//!
//! It is small (some 10 kB an hour) and due at once. Readers go on meanwhile at an assumed rate; a virtual playback waits
//! for it, at most `index_timeout`. An index that cannot be read is as good as none.

use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;

use shoal_wire::metainfo::Info;
use shoal_wire::time_index::TimeIndex;

use crate::config::limits::TIME_INDEX_MAX;
use crate::link::{ReaderId, TitleId};
use crate::time::Instant;
use crate::turn::{Note, Turn, Window};

use super::{Play, Player};

/// Set in the ids of the node's own readers.
const OWN_READERS: u32 = 1 << 31;

/// A time index on its way.
#[derive(Debug)]
pub(crate) struct IndexFetch {
    pub(crate) id: ReaderId,
    pub(crate) title: TitleId,
    /// File index of the film.
    pub(crate) film: u32,
    /// First byte in piece space.
    start: u64,
    length: u64,
    data: Vec<u8>,
    until: u64,
    fetching: bool,
    /// When playbacks stop waiting for it; `None` once they have.
    pub(crate) patience: Option<Instant>,
}

/// How a fetch goes on.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Not all is here.
    Waiting,
    /// Here it is.
    Whole(Arc<TimeIndex>),
    /// It is of no use.
    Useless,
}

impl IndexFetch {
    /// Begins to fetch the index of file `film`, if the title says where it is.
    pub(crate) fn begin(
        turn: &mut Turn<'_>,
        id: ReaderId,
        title: TitleId,
        film: u32,
        info: &Info,
    ) -> Option<Self> {
        let place = info.time_indexes.iter().find(|place| place.film == film)?;
        let file = info.files.get(usize::try_from(place.index).ok()?)?;
        if file.length == 0 || file.length > TIME_INDEX_MAX {
            return None;
        }
        turn.note(Note::Watch { title, reader: id, from: file.start });
        Some(Self {
            id,
            title,
            film,
            start: file.start,
            length: file.length,
            data: Vec::new(),
            until: file.start,
            fetching: false,
            patience: Some(turn.now + turn.config.play.index_timeout),
        })
    }
    /// What it needs.
    pub(crate) fn window(&self, now: Instant) -> Window {
        let (start, end) = (self.start, self.start + self.length);
        Window { start, end, due: now, rate: self.length, playing: false, guessed: false }
    }
    /// Bytes below `until` of piece space are here.
    pub(crate) fn on_reaches(&mut self, turn: &mut Turn<'_>, until: u64) {
        self.until = until.min(self.start + self.length);
        let offset = self.start + self.data.len() as u64;
        if !self.fetching && offset < self.until {
            self.fetching = true;
            let length = u32::try_from(self.until - offset).unwrap_or(u32::MAX);
            turn.note(Note::Fetch { title: self.title, reader: self.id, offset, length });
        }
    }
    /// Bytes came from storage, or were lost there.
    pub(crate) fn on_fetched(
        &mut self,
        turn: &mut Turn<'_>,
        offset: u64,
        data: Option<&Bytes>,
    ) -> Progress {
        let Some(data) = data else { return Progress::Useless };
        if !self.fetching || offset != self.start + self.data.len() as u64 {
            return Progress::Waiting;
        }
        self.fetching = false;
        let room = self.length - self.data.len() as u64;
        let part = data.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.data.extend_from_slice(&data[..part]);
        if (self.data.len() as u64) < self.length {
            self.on_reaches(turn, self.until);
            return Progress::Waiting;
        }
        match TimeIndex::decode(&self.data) {
            Ok(index) => Progress::Whole(Arc::new(index)),
            Err(_) => Progress::Useless,
        }
    }
}

impl Play {
    /// Begins to fetch the index of a film, once. Whether it is worth waiting for.
    pub(super) fn seek_index(&mut self, turn: &mut Turn<'_>, title: TitleId, film: u32) -> bool {
        let Some(known) = self.titles.get_mut(&title) else { return false };
        if !known.sought.contains(&film) {
            known.sought.push(film);
            let id = ReaderId(OWN_READERS | self.fetched);
            let info = known.info.as_deref();
            if let Some(fetch) = info.and_then(|i| IndexFetch::begin(turn, id, title, film, i)) {
                self.fetched = (self.fetched + 1) & !OWN_READERS;
                self.fetches.push(fetch);
            }
        }
        self.fetches
            .iter()
            .any(|fetch| (fetch.title, fetch.film) == (title, film) && fetch.patience.is_some())
    }

    /// Bytes of an index came.
    pub(super) fn on_index(
        &mut self,
        turn: &mut Turn<'_>,
        id: ReaderId,
        offset: u64,
        data: Option<&Bytes>,
    ) {
        let Some(at) = self.fetches.iter().position(|fetch| fetch.id == id) else { return };
        let progress = self.fetches[at].on_fetched(turn, offset, data);
        if matches!(progress, Progress::Waiting) {
            return;
        }
        let IndexFetch { title, film, .. } = self.fetches.remove(at);
        turn.note(Note::Unwatch { title, reader: id });
        if let (Progress::Whole(index), Some(known)) = (progress, self.titles.get_mut(&title)) {
            known.indexes.push((film, index));
        }
        self.place_again(turn, title, film);
    }

    /// Lets playbacks begin that have waited too long for an index.
    pub(super) fn lose_patience(&mut self, turn: &mut Turn<'_>) {
        let mut late = Vec::new();
        for fetch in &mut self.fetches {
            if fetch.patience.is_some_and(|end| end <= turn.now) {
                fetch.patience = None;
                late.push((fetch.title, fetch.film));
            }
        }
        for (title, film) in late {
            self.place_again(turn, title, film);
        }
    }

    /// The timeline of a film may be a better one: readers take it over, playbacks that have not begun begin.
    fn place_again(&mut self, turn: &mut Turn<'_>, title: TitleId, film: u32) {
        let rate = turn.config.play.default_rate;
        for id in self.players_of(title) {
            let line = self.titles.get(&title).and_then(|known| known.timeline(film, rate));
            match (self.players.get_mut(&id), line) {
                (Some(Player::Show(show)), Some(line))
                    if show.file == film && !show.has_started() =>
                {
                    show.place(turn, line);
                }
                (Some(Player::Reader(reader)), Some(line))
                    if reader.file == film && line.is_exact() =>
                {
                    reader.place(turn, line);
                }
                _ => {}
            }
        }
        self.tell_windows(turn, title);
    }
}

/// Whether a reader is the node's own.
pub(super) fn is_own(reader: ReaderId) -> bool {
    reader.0 & OWN_READERS != 0
}
