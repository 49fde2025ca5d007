//! Turns of the room: commands and notes in, notes and events out. A small stand-in answers watches and fetches.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;
use core::time::Duration;

use shoal_wire::metainfo::TimeIndexRef;
use shoal_wire::time_index::TimeIndex;

use super::Play;
use crate::config::Config;
use crate::io::{Command, Effect, Event};
use crate::link::{ReaderId, TitleId};
use crate::testing::{Desk, hashes, info};
use crate::time::Instant;
use crate::turn::{Note, Window, WindowCause};

const TITLE: TitleId = TitleId(3);
/// 1 MB/s, so that a second of film is a million bytes.
const RATE: u64 = 1_000_000;
const LENGTH: u64 = 600 * RATE;
const HEAD: u64 = 65_536;

/// The room, its desk, and a swarm that has what `have` says.
struct Stage {
    play: Play,
    desk: Desk,
    /// Verified bytes, first and end, in piece space.
    have: Vec<(u64, u64)>,
    watches: BTreeMap<ReaderId, u64>,
    windows: Vec<Window>,
    causes: Vec<WindowCause>,
    events: Vec<Event>,
    /// Slots that were told.
    slots: Vec<Option<i64>>,
    /// Bytes from the start of piece space on; zero beyond.
    film: Vec<u8>,
    /// Bytes handed to each reader, last offset after them.
    taken: BTreeMap<ReaderId, u64>,
}

impl Stage {
    fn new() -> Self {
        let mut stage = Self {
            play: Play::default(),
            desk: Desk::new(Config::default()),
            have: Vec::new(),
            watches: BTreeMap::new(),
            windows: Vec::new(),
            causes: Vec::new(),
            events: Vec::new(),
            slots: Vec::new(),
            taken: BTreeMap::new(),
            film: Vec::new(),
        };
        let mut index = TimeIndex::constant_rate(LENGTH, 600_000, HEAD);
        index.boot.push((LENGTH - 100_000, 100_000));
        stage.note(Note::Joined {
            title: TITLE,
            hashes: hashes(),
            private: None,
            trackers: Vec::new(),
            time_indexes: vec![(0, Arc::new(index))],
        });
        stage
    }
    fn ready() -> Self {
        let mut stage = Self::new();
        stage.note(Note::Ready { title: TITLE, info: info(&[LENGTH, LENGTH], false) });
        stage
    }
    fn note(&mut self, note: Note) {
        let Self { play, desk, .. } = self;
        desk.turn(|turn| play.on_note(turn, &note));
        self.settle();
    }
    fn command(&mut self, command: Command) {
        let Self { play, desk, .. } = self;
        desk.turn(|turn| play.on_command(turn, command));
        self.settle();
    }
    fn until(&self, from: u64) -> u64 {
        self.have.iter().find(|(first, end)| (*first..*end).contains(&from)).map_or(from, |h| h.1)
    }
    fn have(&mut self, first: u64, end: u64) {
        self.have.push((first, end));
        for (reader, from) in self.watches.clone() {
            let until = self.until(from);
            self.note(Note::Reaches { title: TITLE, reader, from, until });
        }
    }
    fn settle(&mut self) {
        loop {
            for effect in self.desk.take_effects() {
                let Effect::Tell(event) = effect else { panic!("{effect:?}") };
                if let Event::Data { reader, offset, data } = &event {
                    self.taken.insert(*reader, offset + data.len() as u64);
                } else {
                    self.events.push(event);
                }
            }
            let notes = self.desk.take_notes();
            if notes.is_empty() {
                return;
            }
            for note in notes {
                self.answer(note);
            }
        }
    }
    fn answer(&mut self, note: Note) {
        let Self { play, desk, .. } = self;
        match note {
            Note::Watch { title, reader, from } => {
                self.watches.insert(reader, from);
                let until = self.until(from);
                let answer = Note::Reaches { title, reader, from, until };
                self.desk.turn(|turn| self.play.on_note(turn, &answer));
            }
            Note::Unwatch { reader, .. } => {
                self.watches.remove(&reader);
            }
            Note::Fetch { reader, offset, length, .. } => {
                let (first, end) = (offset as usize, offset as usize + length as usize);
                let data = match self.film.get(first..end) {
                    Some(stored) => Some(Bytes::copy_from_slice(stored)),
                    None => Some(Bytes::from(vec![0; length as usize])),
                };
                desk.turn(|turn| play.on_note(turn, &Note::Fetched { reader, offset, data }));
            }
            Note::Windows { windows, cause, .. } => {
                self.windows = windows;
                self.causes.push(cause);
            }
            Note::Slot { slot, .. } => self.slots.push(slot),
            other => panic!("{other:?}"),
        }
    }
    fn clock(&mut self, unix_ms: u64) {
        let Self { play, desk, .. } = self;
        desk.turn(|turn| play.on_clock(turn, unix_ms));
        self.settle();
    }
    /// Lets time pass, waking the room exactly when it wants.
    fn pass_ms(&mut self, millis: u64) {
        let until = self.desk.now + Duration::from_millis(millis);
        while let Some(due) = self.play.deadline().filter(|due| *due <= until) {
            assert!(due >= self.desk.now, "no wake in the past");
            let before = self.desk.now;
            self.desk.now = due.max(before);
            let Self { play, desk, .. } = self;
            desk.turn(|turn| play.on_wake(turn));
            assert!(self.play.deadline().is_none_or(|next| next > self.desk.now), "wakes for ever");
            self.settle();
        }
        self.desk.now = until;
    }
    fn open(&mut self, reader: u32, start: u64) {
        let reader = ReaderId(reader);
        self.command(Command::Open { reader, title: TITLE, file: 0, start, end: u64::MAX });
    }
    fn read(&mut self, reader: u32, bytes: u64) {
        let mut left = bytes;
        while left > 0 {
            let max = left.min(65_536) as u32;
            self.command(Command::Read { reader: ReaderId(reader), max });
            left -= u64::from(max);
        }
    }
    fn close(&mut self, reader: u32) {
        self.command(Command::Close { reader: ReaderId(reader) });
    }
    fn covers(&self, byte: u64) -> bool {
        self.windows.iter().any(|w| (w.start..w.end).contains(&byte))
    }
    fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }
}

#[test]
fn a_playback_starts_when_the_boot_ranges_and_the_preroll_are_there() {
    let mut stage = Stage::ready();
    stage.have(0, HEAD);
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 0, at_ms: 0 });
    assert_eq!(stage.watches[&ReaderId(1)], LENGTH - 100_000, "the head is here, the tail is next");
    assert!(stage.windows.iter().all(|window| !window.playing));
    assert_eq!(stage.windows[0].start, 0, "boot ranges first");
    assert_eq!(stage.windows[1].start, LENGTH - 100_000);
    assert!(stage.covers(HEAD) && stage.covers(89 * RATE) && !stage.covers(91 * RATE));
    stage.pass_ms(200);
    stage.have(HEAD, 2 * RATE);
    stage.pass_ms(100);
    assert!(stage.events().is_empty());
    stage.have(LENGTH - 100_000, LENGTH);
    assert!(matches!(stage.events()[..], [Event::Playing { startup_ms: 300, .. }]));
    assert!(stage.windows.iter().all(|window| window.playing));
    assert!(stage.windows[0].start.abs_diff(2 * RATE) < 2000, "what is here is not asked for");
    let due = stage.windows[0].due.since(stage.desk.now);
    assert!(due > Duration::from_millis(1900) && due <= Duration::from_millis(2000), "{due:?}");
    assert_eq!(stage.play.buffer_ms(TITLE, stage.desk.now) / 100, 19);
}

#[test]
fn a_playback_tells_stalls_and_jumps_with_exact_times() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 2 * RATE), (LENGTH - 100_000, LENGTH)];
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 0, at_ms: 0 });
    stage.pass_ms(3000);
    stage.have = vec![(LENGTH - 100_000, LENGTH)];
    stage.have(0, 10 * RATE);
    let events = stage.events();
    let [Event::Playing { startup_ms: 0, .. }, Event::Stall { position_ms, stalled_ms, .. }] =
        events[..]
    else {
        panic!("{events:?}")
    };
    assert!(position_ms == 1934 && stalled_ms == 1066);
    stage.causes.clear();
    stage.command(Command::Jump { reader: ReaderId(1), to_ms: 300_700 });
    assert_eq!(stage.causes, [WindowCause::Jumped]);
    assert!(stage.covers(300 * RATE + HEAD) && !stage.covers(20 * RATE));
    assert_eq!(stage.windows[0].due, stage.desk.now);
    stage.pass_ms(250);
    stage.have(300 * RATE, 302 * RATE);
    assert!(matches!(
        stage.events()[..],
        [Event::Seek { position_ms: 300_000, latency_ms: 250, .. }]
    ));
    stage.command(Command::Pause { reader: ReaderId(1), paused: true });
    stage.pass_ms(60_000);
    assert!(stage.events().is_empty() && stage.play.deadline().is_none());
}

#[test]
fn a_playback_of_a_whole_film_ends_and_asks_for_nothing() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, LENGTH)];
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 0, at_ms: 590_000 });
    assert!(stage.windows.is_empty());
    stage.pass_ms(10_000);
    assert!(matches!(
        stage.events()[..],
        [Event::Playing { startup_ms: 0, .. }, Event::Ended { reader: ReaderId(1) }]
    ));
}

#[test]
fn a_probe_opens_no_window_and_a_reader_that_goes_on_gets_it() {
    let mut stage = Stage::ready();
    stage.open(1, 0);
    let now = stage.desk.now;
    assert!(stage.covers(0) && stage.covers(LENGTH - 1), "the head and the boot ranges");
    assert!(!stage.covers(3 * RATE), "but no window");
    assert!(stage.windows.iter().all(|window| window.due <= now), "at once");
    stage.have(0, 20 * RATE);
    stage.read(1, 500_000);
    assert!(!stage.covers(25 * RATE));
    stage.read(1, 200_000);
    assert!(stage.covers(85 * RATE) && !stage.covers(100 * RATE));
    assert!(!stage.covers(10 * RATE), "what is here is not asked for");
    // Another probe elsewhere takes nothing away from the leader.
    stage.open(2, 400 * RATE);
    assert!(stage.covers(25 * RATE) && stage.covers(401 * RATE) && !stage.covers(404 * RATE));
    stage.causes.clear();
    stage.close(2);
    assert_eq!(stage.causes, [WindowCause::Jumped]);
    assert!(!stage.covers(401 * RATE) && stage.covers(25 * RATE));
}

#[test]
fn the_newest_sequential_reader_wins_the_window() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 5 * RATE), (300 * RATE, 305 * RATE)];
    stage.open(1, 0);
    stage.read(1, RATE);
    stage.open(2, 300 * RATE);
    stage.read(2, RATE);
    assert!(stage.covers(325 * RATE) && !stage.covers(25 * RATE));
    // The older one goes on and does not get it back.
    stage.read(1, 2 * RATE);
    assert!(stage.covers(325 * RATE) && !stage.covers(25 * RATE));
    stage.read(1, RATE);
    assert!(stage.covers(5 * RATE), "but what it waits for is asked for");
}

#[test]
fn a_reader_that_takes_nothing_loses_its_claim_until_it_reads() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 5 * RATE), (300 * RATE, 305 * RATE)];
    stage.open(1, 0);
    stage.read(1, 2 * RATE);
    stage.open(2, 300 * RATE);
    assert!(stage.covers(6 * RATE) && stage.windows.iter().any(|w| w.start >= 300 * RATE));
    stage.pass_ms(3100);
    assert!(!stage.covers(306 * RATE), "an idle probe has no claim");
    assert!(stage.covers(6 * RATE) && !stage.covers(25 * RATE), "an idle leader a modest one");
    assert!(stage.windows.iter().all(|w| !w.playing && w.due > stage.desk.now));
    stage.read(1, 65_536);
    assert!(stage.covers(25 * RATE));
    // One that waits for bytes is not idle, however long it takes.
    stage.read(1, 5 * RATE);
    stage.pass_ms(60_000);
    assert!(stage.covers(25 * RATE));
}

#[test]
fn startup_counts_from_the_first_probe_and_a_new_place_is_a_seek() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 10 * RATE), (LENGTH - 100_000, LENGTH)];
    stage.open(1, 0);
    stage.read(1, 65_536);
    stage.close(1);
    stage.pass_ms(100);
    stage.open(2, LENGTH - 100_000);
    stage.read(2, 100_000);
    stage.close(2);
    stage.pass_ms(100);
    stage.open(3, HEAD);
    stage.pass_ms(50);
    stage.read(3, 2 * RATE);
    assert!(matches!(
        stage.events()[..],
        [Event::Playing { startup_ms: 250, reader: ReaderId(3), .. }]
    ));
    // The player reconnects where it stopped: no jump.
    stage.close(3);
    stage.open(4, HEAD + 2 * RATE - 100_000);
    stage.read(4, RATE);
    assert!(stage.events().is_empty());
    assert!(stage.covers(30 * RATE), "and it leads at once");
    // It opens elsewhere: a jump.
    stage.close(4);
    stage.open(5, 300 * RATE + HEAD);
    stage.pass_ms(400);
    stage.have(300 * RATE, 303 * RATE);
    stage.read(5, 2 * RATE);
    let events = stage.events();
    let [Event::Seek { position_ms, latency_ms: 400, .. }] = events[..] else {
        panic!("{events:?}")
    };
    assert!(position_ms.abs_diff(300_000) < 100);
}

#[test]
fn a_player_that_waits_for_bytes_stalls_and_one_that_pauses_does_not() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 3 * RATE)];
    stage.open(1, 0);
    stage.read(1, 2 * RATE);
    stage.pass_ms(60_000);
    stage.events();
    stage.read(1, RATE - HEAD);
    stage.read(1, HEAD);
    assert!(stage.events().is_empty(), "a minute of pause");
    // What it had before the pause it still has, and a second more.
    stage.read(1, 65_536);
    stage.pass_ms(4000);
    stage.have.clear();
    stage.have(0, 10 * RATE);
    stage.read(1, 2 * RATE);
    let events = stage.events();
    let [Event::Stall { stalled_ms, .. }] = events[..] else { panic!("{events:?}") };
    assert!((900..1200).contains(&stalled_ms), "{stalled_ms}");
}

#[test]
fn an_answer_that_is_dropped_while_it_waits_is_no_stall() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 3 * RATE)];
    stage.open(1, 0);
    stage.read(1, 3 * RATE);
    stage.read(1, 65_536);
    stage.pass_ms(500);
    stage.close(1);
    stage.events();
    // The viewer comes back after a minute, to bytes that are all here.
    stage.pass_ms(60_000);
    stage.have = vec![(0, 60 * RATE)];
    stage.open(2, 3 * RATE);
    stage.read(2, 5 * RATE);
    assert!(stage.events().is_empty(), "nobody asked for anything");
}

#[test]
fn at_the_end_of_an_answer_nobody_waits() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 60 * RATE)];
    let (reader, end) = (ReaderId(1), 3 * RATE);
    stage.command(Command::Open { reader, title: TITLE, file: 0, start: 0, end });
    stage.read(1, 3 * RATE);
    stage.read(1, 65_536);
    assert!(matches!(stage.events()[..], [Event::Playing { .. }, Event::Ended { .. }]));
    stage.pass_ms(60_000);
    stage.open(2, 3 * RATE);
    stage.read(2, 5 * RATE);
    assert!(stage.events().is_empty(), "the answer was over");
}

#[test]
fn who_jumps_away_from_a_reader_that_waits_does_not_stall_there() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 2 * RATE)];
    stage.open(1, 0);
    stage.read(1, 2 * RATE);
    stage.events();
    stage.read(1, 65_536);
    stage.pass_ms(1500);
    // Its answer stays open, and what it waits for comes before the place of the jump does.
    stage.open(2, 300 * RATE);
    stage.command(Command::Read { reader: ReaderId(2), max: 65_536 });
    stage.pass_ms(2000);
    stage.have.clear();
    stage.have(0, 10 * RATE);
    stage.read(1, 2 * RATE);
    assert!(stage.events().is_empty(), "the viewer looks elsewhere");
    stage.have(300 * RATE, 303 * RATE);
    stage.read(2, 2 * RATE);
    assert!(matches!(stage.events()[..], [Event::Seek { latency_ms: 2000, .. }]));
}

#[test]
fn due_times_are_a_guess_where_no_index_tells_how_long_the_film_takes() {
    for (file, is_guess) in [(0, false), (1, true)] {
        let mut stage = Stage::ready();
        let reader = ReaderId(1);
        stage.command(Command::Open { reader, title: TITLE, file, start: 0, end: u64::MAX });
        stage.command(Command::Read { reader, max: 65_536 });
        assert!(!stage.windows.is_empty());
        assert!(stage.windows.iter().all(|window| window.guessed == is_guess), "file {file}");
    }
}

#[test]
fn a_film_of_unknown_rate_stalls_only_when_the_slowest_one_would() {
    let mut stage = Stage::ready();
    // The second file has no index: 625 kB/s are assumed, 78 kB/s are certain.
    let start = LENGTH.next_multiple_of(256 * 1024);
    let reader = ReaderId(1);
    stage.command(Command::Open { reader, title: TITLE, file: 1, start: 0, end: u64::MAX });
    let mut told = Vec::new();
    let mut download = |stage: &mut Stage, blocks: u64, every_ms: u64| {
        for _ in 0..blocks {
            let here = stage.taken.get(&reader).copied().unwrap_or(0);
            stage.command(Command::Read { reader, max: 65_536 });
            stage.pass_ms(every_ms);
            stage.have.clear();
            stage.have(start, start + here + 65_536);
        }
        told.extend(stage.events());
    };
    // A film of 300 kB/s, of which 500 kB/s arrive: a second is a pause to the one assumed, and none to any player.
    download(&mut stage, 100, 131);
    // Nothing for two minutes: 6.5 MB last for 83 s at most, of which 13 are over.
    download(&mut stage, 1, 120_000);
    let [Event::Playing { .. }, Event::Stall { stalled_ms, .. }] = told[..] else {
        panic!("{told:?}")
    };
    assert!((45_000..60_000).contains(&stalled_ms), "{stalled_ms}");
}

#[test]
fn a_reader_opened_before_the_metadata_waits_and_gets_its_range_to_the_end() {
    let mut stage = Stage::new();
    let (reader, file) = (ReaderId(9), 1);
    stage.command(Command::Open { reader, title: TITLE, file, start: 100, end: 70_000 });
    stage.command(Command::Read { reader, max: 65_536 });
    assert!(stage.events().is_empty() && stage.windows.is_empty());
    let start = LENGTH.next_multiple_of(256 * 1024);
    stage.have = vec![(start, start + RATE)];
    stage.note(Note::Ready { title: TITLE, info: info(&[LENGTH, LENGTH], false) });
    assert_eq!(stage.taken[&reader], 65_636);
    stage.command(Command::Read { reader, max: 65_536 });
    assert_eq!(stage.taken[&reader], 70_000);
    assert!(stage.events().is_empty());
    stage.command(Command::Read { reader, max: 65_536 });
    assert!(matches!(stage.events()[..], [Event::Ended { .. }]));
}

#[test]
fn what_cannot_be_read_is_refused_with_a_sentence() {
    let mut stage = Stage::ready();
    let open = |reader, title, file| Command::Open {
        reader: ReaderId(reader),
        title: TitleId(title),
        file,
        start: 0,
        end: 10,
    };
    let refused = |stage: &mut Stage| -> Vec<String> {
        stage
            .events()
            .into_iter()
            .map(|event| match event {
                Event::ReaderFailed { message, .. } => message,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    stage.command(open(1, 9, 0));
    stage.command(open(2, 3, 2));
    assert_eq!(
        refused(&mut stage),
        ["There is no such title here.", "The title has no such file."]
    );
    let max = stage.desk.config.play.readers_max as u32;
    for reader in 0..=max {
        stage.command(open(100 + reader, 3, 0));
    }
    assert_eq!(refused(&mut stage), ["Too many readers are open: close one first."]);
    stage.command(Command::Read { reader: ReaderId(100), max: 10 });
    stage.note(Note::Fetched { reader: ReaderId(100), offset: 0, data: None });
    assert_eq!(refused(&mut stage).len(), 1);
    stage.note(Note::Left { title: TITLE });
    assert_eq!(refused(&mut stage).len(), max as usize - 1);
    assert!(stage.play.deadline().is_none());
}

#[test]
fn windows_are_told_again_coarsely() {
    let mut stage = Stage::ready();
    stage.have = vec![(0, 30 * RATE)];
    stage.open(1, 0);
    stage.read(1, RATE);
    stage.causes.clear();
    stage.read(1, 10 * RATE);
    assert!((15..=25).contains(&stage.causes.len()), "{}", stage.causes.len());
    assert!(stage.causes.iter().all(|cause| *cause == WindowCause::Moved));
    assert!(stage.desk.now == Instant::ZERO);
}

/// A title whose first file is the time index of its second one, both known by hash only.
fn by_magnet(encoded: Vec<u8>) -> Stage {
    let mut stage = Stage::ready();
    let mut known = Arc::unwrap_or_clone(info(&[encoded.len() as u64, LENGTH], false));
    known.time_indexes.push(TimeIndexRef { film: 1, index: 0 });
    stage.film = encoded;
    stage.note(Note::Joined {
        title: TITLE,
        hashes: hashes(),
        private: None,
        trackers: Vec::new(),
        time_indexes: Vec::new(),
    });
    stage.note(Note::Ready { title: TITLE, info: Arc::new(known) });
    stage
}

#[test]
fn a_playback_waits_for_the_published_index_and_begins_by_it() {
    let encoded = TimeIndex::constant_rate(LENGTH, 600_000, HEAD).encode();
    let (length, start) = (encoded.len() as u64, 256 * 1024);
    let mut stage = by_magnet(encoded);
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 1, at_ms: 300_000 });
    assert_eq!((stage.windows.len(), stage.windows[0].end), (1, length), "the index first");
    stage.pass_ms(400);
    stage.have(0, length);
    assert!(stage.covers(start + 300 * RATE + HEAD) && stage.covers(start));
    stage.have(start, start + HEAD);
    stage.have(start + 300 * RATE, start + 302 * RATE);
    assert!(matches!(stage.events()[..], [Event::Playing { startup_ms: 400, .. }]));
}

#[test]
fn without_a_usable_index_a_playback_begins_at_an_assumed_rate() {
    // Nobody has it.
    let mut stage = by_magnet(vec![1; 100]);
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 1, at_ms: 0 });
    stage.pass_ms(1999);
    assert!(!stage.covers(256 * 1024));
    stage.pass_ms(1);
    assert!(stage.covers(256 * 1024));
    // It is rubbish.
    let mut stage = by_magnet(vec![1; 100]);
    stage.have(0, 100);
    stage.command(Command::Play { reader: ReaderId(1), title: TITLE, file: 1, at_ms: 0 });
    assert!(stage.covers(256 * 1024));
    assert!(stage.windows.iter().all(|window| window.start >= 256 * 1024));
}

#[test]
fn a_reader_goes_on_meanwhile_and_takes_the_index_over() {
    let encoded = TimeIndex::constant_rate(LENGTH, 600_000, HEAD).encode();
    let (length, start) = (encoded.len() as u64, 256 * 1024);
    let mut stage = by_magnet(encoded);
    stage.have = vec![(start, start + 2 * RATE)];
    let (reader, file) = (ReaderId(1), 1);
    stage.command(Command::Open { reader, title: TITLE, file, start: 0, end: u64::MAX });
    stage.read(1, RATE);
    assert!(stage.covers(start + 50 * RATE) && !stage.covers(start + 65 * RATE), "0.6 MB/s");
    stage.pass_ms(100);
    stage.have(0, length);
    assert!(stage.covers(start + 85 * RATE), "1 MB/s");
    stage.read(1, RATE);
    stage.pass_ms(500);
    assert!(matches!(stage.events()[..], [Event::Playing { startup_ms: 0, .. }]));
}

#[test]
fn a_viewer_stays_in_its_slot_while_it_plays_and_leaves_it_by_a_jump_a_pause_and_the_clock() {
    let mut stage = Stage::ready();
    stage.have(0, LENGTH);
    let reader = ReaderId(1);
    stage.command(Command::Play { reader, title: TITLE, file: 0, at_ms: 0 });
    assert!(stage.slots.is_empty(), "nobody knows what time it is");
    // 70 s into the slot 1,000.
    stage.clock(1000 * 180_000 + 70_000);
    stage.pass_ms(170_000);
    assert_eq!(stage.slots, [Some(1000)]);
    stage.command(Command::Jump { reader, to_ms: 500_000 });
    assert_eq!(stage.slots[1..], [Some(998)], "further on, like those who began earlier");
    stage.command(Command::Pause { reader, paused: true });
    stage.pass_ms(79_000);
    assert_eq!(stage.slots.len(), 2);
    stage.pass_ms(2_000);
    assert_eq!(stage.slots[2..], [Some(999)]);
    stage.clock(5000 * 180_000);
    assert_eq!(stage.slots[3..], [Some(4997)]);
    stage.close(1);
    assert_eq!(stage.slots[4..], [None]);
}

#[test]
fn of_readers_the_one_that_leads_has_a_slot() {
    let mut stage = Stage::ready();
    stage.clock(1000 * 180_000 + 70_000);
    stage.have(0, LENGTH);
    stage.open(1, 0);
    assert!(stage.slots.is_empty(), "a probe is no viewer");
    stage.read(1, 2 * RATE);
    assert_eq!(stage.slots, [Some(1000)]);
    stage.open(2, 400 * RATE);
    stage.read(2, 2 * RATE);
    assert_eq!(stage.slots.last(), Some(&Some(998)));
}
