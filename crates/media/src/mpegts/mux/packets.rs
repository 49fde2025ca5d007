//! Units cut into packets.

use super::super::packet::PACKET;
use super::super::pes::written;
use super::super::tables::checksum;
use super::kind;
use crate::{Format, language};

/// The stream of the program's table.
const TABLE: u16 = 0x1000;
/// Those of its streams begin here.
const FIRST: u16 = 0x100;
/// Bytes of a packet behind its head.
const ROOM: usize = PACKET - 4;
/// Bytes of a clock.
const CLOCK: usize = 6;
/// Bytes that fill the head of a unit that is spread over more packets than it needs: one for each.
const SPREAD: usize = 16;
/// Counters are of four bits.
const COUNTS: usize = 16;

/// Frames of a stream that have one time.
#[derive(Debug)]
pub(super) struct Unit {
    /// The place of its stream.
    pub(super) place: usize,
    pub(super) shown: u64,
    pub(super) decoded: u64,
    pub(super) is_key: bool,
    pub(super) is_video: bool,
    pub(super) data: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Packets {
    out: Vec<u8>,
    /// Payload packets so far: of the program's tables, then of each stream.
    counts: Vec<usize>,
    tables: [[u8; PACKET]; 2],
    formats: Vec<Format>,
    clock: u16,
}

impl Packets {
    /// Of streams of these formats and languages, of which one carries the clock.
    pub(super) fn new(entries: &[(Format, Option<&str>)], clock: usize) -> Self {
        let clock = pid(clock);
        let programs = [0, 1, 0xf0, 0];
        let mut program = Vec::new();
        program.extend((0xe000 | clock).to_be_bytes());
        program.extend([0xf0, 0]);
        for (place, (format, language)) in entries.iter().enumerate() {
            let mut said = Vec::new();
            if *format == Format::Ac3 {
                said.extend(*b"\x05\x04AC-3");
            }
            if let Some(code) = language.and_then(language::letters) {
                said.extend([0x0a, 4]);
                said.extend(code);
                said.push(0);
            }
            program.push(kind(*format));
            program.extend((0xe000 | pid(place)).to_be_bytes());
            program.extend([0xf0, u8::try_from(said.len()).unwrap_or(0)]);
            program.extend(said);
        }
        let tables = [table(0, 0, &programs), table(TABLE, 2, &program)];
        let formats = entries.iter().map(|entry| entry.0).collect();
        Self { out: Vec::new(), counts: vec![0; entries.len() + 1], tables, formats, clock }
    }
    /// Both tables.
    pub(super) fn tables(&mut self) {
        let Some(count) = self.counts.first_mut() else { return };
        for table in &mut self.tables {
            table[3] = table[3] & 0xf0 | (*count % COUNTS) as u8;
            self.out.extend_from_slice(table);
        }
        *count += 1;
    }
    /// The clock alone.
    pub(super) fn clock(&mut self, time: u64) {
        // It counts like the packet before, as it carries nothing.
        let place = usize::from(self.clock - FIRST);
        let count = self.counts.get(place + 1).map_or(0, |count| count.wrapping_sub(1));
        self.head(self.clock, false, 0x20, count);
        self.adapt(ROOM, 0, Some(time));
    }
    /// A unit, with the clock if there is a time for it. The last one of its stream fills up its packets to sixteen.
    pub(super) fn unit(&mut self, unit: &Unit, clock: Option<u64>, is_last: bool) {
        let pid = pid(unit.place);
        let is_ac3 = self.formats.get(unit.place) == Some(&Format::Ac3);
        let head = unit_head(unit, is_ac3, if is_last { SPREAD } else { 0 });
        let total = head.len() + unit.data.len();
        let flags = if unit.is_key { 0x40 } else { 0 };
        let needed = if clock.is_some() { 2 + CLOCK } else { 2 * usize::from(unit.is_key) };
        let Some(count) = self.counts.get_mut(unit.place + 1) else { return };
        let least = 1 + total.saturating_sub(ROOM - needed).div_ceil(ROOM);
        let first = *count;
        let end = if is_last { (first + least).next_multiple_of(COUNTS) } else { first + least };
        *count = end;
        let mut rest = head.iter().chain(&unit.data).copied();
        let mut left = total;
        for number in first..end {
            let adapted = if number == first { needed } else { 0 };
            // One byte at least for each that follows.
            let taken = left.saturating_sub(end - number - 1).min(ROOM - adapted);
            let control = if taken < ROOM { 0x30 } else { 0x10 };
            self.head(pid, number == first, control, number);
            let (flags, clock) = if number == first { (flags, clock) } else { (0, None) };
            self.adapt(ROOM - taken, flags, clock);
            self.out.extend(rest.by_ref().take(taken));
            left -= taken;
        }
    }
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    fn head(&mut self, pid: u16, is_start: bool, control: u8, count: usize) {
        let [a, b] = (pid | if is_start { 0x4000 } else { 0 }).to_be_bytes();
        self.out.extend([0x47, a, b, control | (count % COUNTS) as u8]);
    }
    /// An adaptation field of `length` bytes in all; 0 is none.
    fn adapt(&mut self, length: usize, flags: u8, clock: Option<u64>) {
        let Some(behind) = length.checked_sub(1) else { return };
        let end = self.out.len() + length;
        self.out.push(u8::try_from(behind).unwrap_or(0));
        if behind > 0 {
            self.out.push(flags | if clock.is_some() { 0x10 } else { 0 });
        }
        if let Some(time) = clock {
            let base = time % super::super::WRAP;
            let upper = u32::try_from(base >> 1).unwrap_or(0).to_be_bytes();
            self.out.extend(upper);
            self.out.extend([u8::from(base & 1 == 1) << 7 | 0x7e, 0]);
        }
        self.out.resize(end, 0xff);
    }
}

fn pid(place: usize) -> u16 {
    FIRST + u16::try_from(place).unwrap_or(0)
}

/// A table in its packet.
fn table(pid: u16, kind: u8, body: &[u8]) -> [u8; PACKET] {
    let mut section = vec![kind, 0xb0, 0, 0, 1, 0xc1, 0, 0];
    section.extend_from_slice(body);
    let length = u8::try_from(section.len() + 1).unwrap_or(u8::MAX);
    section[2] = length;
    section.extend(checksum(&section).to_be_bytes());
    let [a, b] = (0x4000 | pid).to_be_bytes();
    let mut packet = [0xff; PACKET];
    let written = [0x47, a, b, 0x10, 0].into_iter().chain(section);
    for (place, byte) in packet.iter_mut().zip(written) {
        *place = byte;
    }
    packet
}

/// The head of a unit, filled up by `filled` bytes.
fn unit_head(unit: &Unit, is_ac3: bool, filled: usize) -> Vec<u8> {
    let has_both = unit.decoded != unit.shown;
    let optional = if has_both { 10 } else { 5 } + filled;
    let kind = match (unit.is_video, is_ac3) {
        (true, _) => 0xe0,
        (false, true) => 0xbd,
        (false, false) => 0xc0,
    };
    // Pictures may be longer than a length can say; 0 is none.
    let length = 3 + optional + unit.data.len();
    let length = u16::try_from(length).ok().filter(|_| !unit.is_video).unwrap_or(0);
    let mut head = vec![0, 0, 1, kind];
    head.extend(length.to_be_bytes());
    head.extend([0x84, if has_both { 0xc0 } else { 0x80 }, u8::try_from(optional).unwrap_or(0)]);
    let wrap = super::super::WRAP;
    head.extend(written(if has_both { 3 } else { 2 }, unit.shown % wrap));
    if has_both {
        head.extend(written(1, unit.decoded % wrap));
    }
    head.resize(head.len() + filled, 0xff);
    head
}
