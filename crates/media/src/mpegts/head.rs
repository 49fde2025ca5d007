//! The head of a transport stream: its program, and the first times of it.

use super::clock::{HZ, JUMP, apart};
use super::codec::{Codec, Known, of_entry};
use super::packet::{Grid, PACKET, Packet};
use super::pes;
use super::tables::{Section, program, programs};
use crate::TrackKind;

/// A unit is looked into this far for what a decoder must know.
const LOOK_BYTES: usize = 4096;
/// Longest time by which pictures are decoded before they are shown that is believed, ticks.
const LEAD_MAX: i64 = 2 * HZ as i64;

/// A stream of the film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Elementary {
    pub(crate) pid: u16,
    pub(crate) known: Known,
    /// Its first times.
    first: Option<pes::Times>,
    is_known: bool,
}

/// What the head tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) grid: Grid,
    /// Where the first packet lies.
    pub(crate) start: u64,
    pub(crate) streams: Vec<Elementary>,
    /// Packets of the table of programs and of the film's own.
    pub(crate) tables: Vec<[u8; PACKET]>,
    /// The stream of the tables of the film.
    pub(crate) table_pid: u16,
    /// The stream that carries the clock.
    clock_pid: u16,
    /// The first time of the clock; where the stream has none, times at which the reference is decoded take its place.
    clock: Option<u64>,
    /// When the first frame is shown: time 0 of the film.
    pub(crate) origin: Option<u64>,
    /// How much earlier something is decoded, at most: times that are passed on begin with this, so that none is below zero.
    pub(crate) lead: i64,
    /// Bytes that told all this.
    pub(crate) length: u64,
}

impl Head {
    /// Of a file that begins like this. `None` without a program in it.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (grid, start) = Grid::find(data)?;
        let mut head = Self::of_tables(grid, start, data)?;
        let mut units: Vec<Vec<u8>> = vec![Vec::new(); head.streams.len()];
        for (at, bytes) in grid.packets(data, start) {
            let packet = Packet(bytes);
            if !packet.is_readable() {
                continue;
            }
            if packet.pid() == head.clock_pid {
                head.clock = head.clock.or_else(|| packet.pcr());
            }
            let place = head.streams.iter().position(|stream| stream.pid == packet.pid());
            let Some((stream, unit)) =
                place.and_then(|place| Some((head.streams.get_mut(place)?, units.get_mut(place)?)))
            else {
                continue;
            };
            if packet.is_start() {
                unit.clear();
                stream.first = stream.first.or_else(|| pes::times(packet.payload()));
            }
            if !stream.is_known
                && unit.len() < LOOK_BYTES
                && (packet.is_start() || !unit.is_empty())
            {
                unit.extend_from_slice(packet.payload());
                stream.is_known = stream.known.look_into(unit);
            }
            if head.is_complete() {
                head.length = (at + grid.stride()) as u64;
                break;
            }
        }
        head.place();
        Some(head)
    }
    /// The program: the first one in the table of programs whose own table is here and has pictures or sound.
    fn of_tables(grid: Grid, start: usize, data: &[u8]) -> Option<Self> {
        let mut pids: Vec<u16> = Vec::new();
        let mut sections: Vec<Section> = vec![Section::default()];
        let mut tables = Vec::new();
        for (_, bytes) in grid.packets(data, start) {
            let packet = Packet(bytes);
            let place = if packet.pid() == 0 {
                0
            } else if let Some(place) = pids.iter().position(|pid| *pid == packet.pid()) {
                place + 1
            } else {
                continue;
            };
            let section = sections.get_mut(place).filter(|_| packet.is_readable());
            let Some((section, packets)) = section.and_then(|it| it.take(packet)) else { continue };
            if place == 0 {
                if pids.is_empty() {
                    pids = programs(&section);
                    sections.resize_with(pids.len() + 1, Section::default);
                    tables = packets;
                }
                continue;
            }
            let Some((clock_pid, _, entries)) = program(&section) else { continue };
            let streams: Vec<Elementary> = entries
                .iter()
                .map(|entry| {
                    let known = of_entry(entry);
                    Elementary { pid: entry.pid, known, first: None, is_known: false }
                })
                .collect();
            if streams.iter().any(|stream| stream.is_timed()) {
                tables.extend(packets);
                return Some(Self {
                    grid,
                    start: start as u64,
                    streams,
                    tables,
                    table_pid: packet.pid(),
                    clock_pid,
                    clock: None,
                    origin: None,
                    lead: 0,
                    length: data.len() as u64,
                });
            }
        }
        None
    }
    /// Whether nothing more is to be learned.
    pub(crate) fn is_complete(&self) -> bool {
        let is_known = |it: &Elementary| !it.is_timed() || it.first.is_some() && it.is_known;
        self.clock.is_some() && self.streams.iter().all(is_known)
    }
    /// Whether frames of the stream that it can begin with told what there is to know.
    pub(crate) fn knows_pictures(&self) -> bool {
        self.reference().is_none_or(|stream| stream.is_known)
    }
    fn place(&mut self) {
        let timed = || self.streams.iter().filter(|it| it.is_timed()).filter_map(|it| it.first);
        let Some(one) = timed().next().map(|times| times.shown) else { return };
        // What is far from the first of them is of another clock.
        let behind = |time: u64| Some(apart(time, one)).filter(|by| by.abs() <= JUMP);
        let first = timed().filter_map(|times| behind(times.shown)).min().unwrap_or(0);
        let decoded = timed().filter_map(|times| behind(times.decoded)).min().unwrap_or(first);
        self.origin = Some(super::wrapped(i64::try_from(one).unwrap_or(0) + first));
        self.lead = (first - decoded).clamp(0, LEAD_MAX);
    }
    /// The stream at whose key frames the film can begin: the first of pictures, else of sound.
    pub(crate) fn reference(&self) -> Option<&Elementary> {
        let of = |kind| self.streams.iter().find(|stream| stream.known.track.kind == kind);
        of(TrackKind::Video).or_else(|| of(TrackKind::Audio))
    }
    /// What the film's clock shows at a packet, if the packet tells.
    pub(crate) fn clock_of(&self, packet: Packet<'_>) -> Option<u64> {
        if self.clock.is_some() {
            return (packet.pid() == self.clock_pid).then(|| packet.pcr())?;
        }
        let pid = self.reference()?.pid;
        let is_unit = packet.pid() == pid && packet.is_start() && packet.is_readable();
        is_unit.then(|| pes::times(packet.payload()))?.map(|times| times.decoded)
    }
    /// When the unit of pictures or sound that begins in this packet is shown.
    pub(crate) fn shown_of(&self, packet: Packet<'_>) -> Option<u64> {
        let is_unit = packet.is_start() && packet.is_readable();
        let stream = || self.streams.iter().find(|it| it.pid == packet.pid() && it.is_timed());
        is_unit.then(stream)??;
        pes::times(packet.payload()).map(|times| times.shown)
    }
}

impl Elementary {
    /// Whether it is of pictures or sound, or may still turn out to be: subtitles come when they please.
    fn is_timed(&self) -> bool {
        self.known.codec == Codec::Private && !self.is_known
            || matches!(self.known.track.kind, TrackKind::Video | TrackKind::Audio)
    }
}
