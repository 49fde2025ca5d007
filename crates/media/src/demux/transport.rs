//! A transport stream: groups of whole packets, with times by its clock.
//!
//! Where key frames are known it begins there. Else it looks for the place: it guesses by the mean rate, reads the clock there and
//! comes nearer in a few steps, then reads on to the key frame before the time that is asked for.

use core::ops::Range;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;

use super::Frame;
use super::rebase::Rebase;
use super::search::{Search, Stop};
use crate::mpegts::{Clock, Found, Head, Keys, PACKET, Packet, Transport, ticks};
use crate::presentation::Presentation;

/// Packets that leave together: as many as fit a datagram with its heads.
const GROUP: usize = 7;
/// Bytes that are asked for together.
const CHUNK_BYTES: u64 = 64 << 10;
/// Groups wait for the next time of the clock; of more bytes than this they leave with the last one.
const WAITING_BYTES: usize = 1 << 20;
/// Bytes in which the time of a key frame is looked for before its packets leave.
const ANCHOR_BYTES: usize = 512 << 10;

/// Packets that leave together.
#[derive(Default, Debug)]
struct Group {
    offset: u64,
    data: BytesMut,
    is_key: bool,
    /// Whether it holds tables only, so that a key frame behind it still belongs to it.
    is_bare: bool,
}

#[derive(Debug)]
pub(super) struct Walk {
    film: Arc<Presentation>,
    rebase: Rebase,
    search: Option<Search>,
    /// Whether the film's tables left.
    has_tables: bool,
    /// Where the film begins for who asked, in ticks: when the first key frame is shown.
    start: i64,
    /// Where what came begins in the file.
    at: u64,
    came: BytesMut,
    clock: Option<Clock>,
    keys: Keys,
    group: Group,
    waiting: Vec<Group>,
    waiting_bytes: usize,
    /// The last time of the clock: where, and when in the film.
    told: (u64, i64),
    /// Time of the last group that left.
    last: u64,
    ready: VecDeque<Frame>,
}

impl Walk {
    /// Of a film that is a transport stream.
    pub(super) fn new(film: Arc<Presentation>, at_ms: u64) -> Option<Self> {
        let rebase = Rebase::new(&film.transport()?.head);
        Self::with(film, at_ms, rebase)
    }
    /// The same from another time on, in the same session.
    pub(super) fn jump(&mut self, at_ms: u64) {
        let mut rebase = self.rebase.clone();
        rebase.jump();
        if let Some(walk) = Self::with(Arc::clone(&self.film), at_ms, rebase) {
            *self = walk;
        }
    }
    fn with(film: Arc<Presentation>, at_ms: u64, rebase: Rebase) -> Option<Self> {
        let transport = film.transport()?;
        let head = &transport.head;
        let begin = head.start;
        let key = transport.index.key_before(at_ms).filter(|_| transport.is_exact());
        let search = (at_ms > 0 && key.is_none()).then(|| Search::new(transport, at_ms));
        // What stands before the first key frame is of the film too: its sound may begin earlier.
        let key = key.filter(|key| transport.index.keys.first() != Some(key));
        let keys = Keys::new(head);
        let mut walk = Self {
            rebase,
            search,
            has_tables: false,
            start: 0,
            at: begin,
            came: BytesMut::new(),
            clock: None,
            keys,
            group: Group::default(),
            waiting: Vec::new(),
            waiting_bytes: 0,
            told: (begin, 0),
            last: 0,
            ready: VecDeque::new(),
            film: Arc::clone(&film),
        };
        match key {
            Some(key) => walk.begin(key.offset, ticks(key.time_ms)),
            None => walk.begin(begin, 0),
        }
        Some(walk)
    }
    /// Begins at a key frame at `offset` of the file that is shown at `film`.
    fn begin(&mut self, offset: u64, film: i64) {
        let Some(transport) = self.film.transport() else { return };
        self.clock = (film == 0).then(|| Clock::anchored(transport.head.origin.unwrap_or(0), 0));
        self.start = film;
        self.at = offset;
        self.told = (offset, film);
        self.group = Group { offset, is_bare: true, ..Group::default() };
    }

    pub(super) fn need(&self) -> Option<Range<u64>> {
        if let Some(search) = &self.search {
            return Some(search.need());
        }
        let start = self.at + self.came.len() as u64;
        let length = self.film.transport()?.index.length;
        (start < length).then(|| start..(start + CHUNK_BYTES).min(length))
    }
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let film = Arc::clone(&self.film);
        let Some(transport) = film.transport() else { return };
        if let Some(search) = &mut self.search {
            if let Some(Stop { offset, film }) = search.feed(transport, bytes) {
                self.search = None;
                self.begin(offset, film);
            }
            return;
        }
        let Some(need) = self.need() else { return };
        let taken = bytes.len().min(usize::try_from(need.end - need.start).unwrap_or(usize::MAX));
        self.came.extend_from_slice(bytes.get(..taken).unwrap_or(&[]));
        let is_end = need.start + taken as u64 >= transport.index.length;
        if self.clock.is_none() {
            self.clock = self.anchor(transport, is_end);
        }
        let Some(mut clock) = self.clock else { return };
        let came = self.came.split().freeze();
        let mut packets = transport.head.grid.packets(&came, 0);
        for (at, packet) in packets.by_ref() {
            self.take(&transport.head, self.at + at as u64, packet, &mut clock);
        }
        let seen = packets.at();
        self.clock = Some(clock);
        self.at += seen as u64;
        self.came = BytesMut::from(came.get(seen..).unwrap_or(&[]));
        if is_end {
            self.close();
            self.settle(self.told);
        }
    }
    pub(super) fn next(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Which time of the stream the film's time is that it begins at: that of its key frame, which is shown then.
    fn anchor(&self, transport: &Transport, is_end: bool) -> Option<Clock> {
        let head = &transport.head;
        let packets = || head.grid.packets(&self.came, 0).map(|(_, bytes)| Packet(bytes));
        let pid = head.reference().map(|stream| stream.pid);
        let shown = packets()
            .filter(|packet| Some(packet.pid()) == pid)
            .find_map(|packet| head.shown_of(packet));
        if let Some(shown) = shown {
            return Some(Clock::anchored(shown, transport.exact(shown, self.start)));
        }
        let is_enough = is_end || self.came.len() >= ANCHOR_BYTES;
        let clock = || packets().find_map(|packet| head.clock_of(packet)).unwrap_or(0);
        is_enough.then(|| Clock::anchored(clock(), self.start))
    }
    fn take(&mut self, head: &Head, offset: u64, bytes: &[u8; PACKET], clock: &mut Clock) {
        let packet = Packet(bytes);
        if let Some(raw) = head.clock_of(packet) {
            let film = clock.go_on(raw);
            self.settle((offset, film));
        }
        let is_key = match self.keys.look(offset, packet) {
            Found::Tables if !self.group.is_bare => {
                self.close();
                self.group.is_bare = true;
                false
            }
            Found::Tables => false,
            Found::Key(..) => {
                if !self.group.is_bare {
                    self.close();
                }
                true
            }
            Found::Other => false,
        };
        self.front(head, clock);
        let Some(packet) = self.rebase.packet(bytes, clock) else { return };
        if self.group.data.is_empty() {
            self.group.offset = offset;
        }
        self.group.is_key |= is_key;
        self.group.is_bare &=
            matches!(Packet(&packet).pid(), 0..0x20) || Packet(&packet).pid() == head.table_pid;
        self.group.data.extend_from_slice(&packet);
        if self.group.data.len() >= GROUP * PACKET {
            self.close();
        }
    }
    /// The film's tables, before anything else leaves.
    fn front(&mut self, head: &Head, clock: &Clock) {
        if core::mem::replace(&mut self.has_tables, true) {
            return;
        }
        for table in head.tables.iter().take(GROUP - 1) {
            if let Some(packet) = self.rebase.packet(table, clock) {
                self.group.data.extend_from_slice(&packet);
            }
        }
        self.rebase.close();
    }
    /// Ends the group.
    fn close(&mut self) {
        let group = core::mem::take(&mut self.group);
        if group.data.is_empty() {
            return;
        }
        self.waiting_bytes += group.data.len();
        self.waiting.push(group);
        if self.waiting_bytes > WAITING_BYTES {
            self.settle(self.told);
        }
    }
    /// The clock shows this time of the film at this place: groups between the last place and this one get theirs.
    fn settle(&mut self, told: (u64, i64)) {
        let (from, to) = (core::mem::replace(&mut self.told, told), told);
        let bytes = i128::from(to.0.saturating_sub(from.0)).max(1);
        // Behind a jump the last time is that of the key frame, before which the clock begins.
        let since = from.1.min(to.1);
        for group in core::mem::take(&mut self.waiting) {
            let behind = i128::from(group.offset.saturating_sub(from.0)).min(bytes);
            let film = i128::from(since) + i128::from(to.1 - since) * behind / bytes;
            let film = u64::try_from(film.max(0)).unwrap_or(0);
            self.last = self.last.max(film);
            self.ready.push_back(Frame {
                stream: 0,
                decoded: self.last,
                shown: self.last,
                duration: 0,
                is_key: group.is_key,
                data: group.data.freeze(),
            });
        }
        self.waiting_bytes = 0;
    }
}
