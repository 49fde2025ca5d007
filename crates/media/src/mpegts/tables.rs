//! Tables of a transport stream: which programs there are, and of which streams one is made (ISO/IEC 13818-1, 2.4.4).

use super::packet::{PACKET, Packet};
use crate::bytes::{u8_at, u16_at};
use crate::limits::TRACKS_MAX;

/// Longest section, bytes.
const SECTION_MAX: usize = 1024;
/// Longest way through packets of other streams to the end of a section: as many packets of its own.
const PARTS_MAX: usize = 8;

/// The checksum of sections (ISO/IEC 13818-1, annex A); that of a section with its own is 0.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte) << 24, |sum, _| {
            if sum & 1 << 31 == 0 { sum << 1 } else { sum << 1 ^ 0x04c1_1db7 }
        })
    })
}

/// A section while its packets come, and those packets.
#[derive(Default, Debug)]
pub(crate) struct Section {
    bytes: Vec<u8>,
    parts: Vec<[u8; PACKET]>,
}

impl Section {
    /// Takes the next packet of its stream. The section and its packets, once it is whole and its checksum right.
    pub(crate) fn take(&mut self, packet: Packet<'_>) -> Option<(Vec<u8>, Vec<[u8; PACKET]>)> {
        let payload = packet.payload();
        if packet.is_start() {
            let skipped = usize::from(u8_at(payload, 0)?);
            self.bytes = payload.get(1 + skipped..)?.to_vec();
            self.parts.clear();
        } else if !self.parts.is_empty() {
            self.bytes.extend_from_slice(payload);
        }
        if self.parts.is_empty() && !packet.is_start() || self.parts.len() >= PARTS_MAX {
            self.parts.clear();
            return None;
        }
        self.parts.push(*packet.0);
        let length = 3 + usize::from(u16_at(&self.bytes, 1)? & 0x0fff);
        let section = self.bytes.get(..length.min(SECTION_MAX))?;
        let is_whole = length >= 12 && checksum(section) == 0;
        let found = is_whole.then(|| (section.to_vec(), self.parts.clone()));
        self.parts.clear();
        found
    }
}

/// The streams that carry the tables of the programs, in order.
pub(crate) fn programs(section: &[u8]) -> Vec<u16> {
    let entries = section.get(8..section.len().saturating_sub(4)).unwrap_or(&[]);
    let is_current =
        u8_at(section, 0) == Some(0) && u8_at(section, 5).is_some_and(|it| it & 1 == 1);
    let programs = entries.chunks_exact(4).filter_map(|entry| {
        // Program 0 is something else: the network's table.
        u16_at(entry, 0).filter(|number| *number != 0)?;
        u16_at(entry, 2).map(|pid| pid & 0x1fff)
    });
    programs.filter(|_| is_current).take(TRACKS_MAX).collect()
}

/// What the table of a program says of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) pid: u16,
    /// Of what kind (ISO/IEC 13818-1, table 2-34).
    pub(crate) kind: u8,
    pub(crate) descriptors: Vec<u8>,
}

/// The clock's stream, what is said of the whole program, and the streams.
pub(crate) fn program(section: &[u8]) -> Option<(u16, Vec<u8>, Vec<Entry>)> {
    if u8_at(section, 0) != Some(2) || u8_at(section, 5)? & 1 == 0 {
        return None;
    }
    let body = section.get(..section.len().checked_sub(4)?)?;
    let clock = u16_at(body, 8)? & 0x1fff;
    let said = usize::from(u16_at(body, 10)? & 0x0fff);
    let descriptors = body.get(12..12 + said)?.to_vec();
    let mut rest = body.get(12 + said..)?;
    let mut entries = Vec::new();
    while let (Some(kind), Some(pid), Some(length)) =
        (u8_at(rest, 0), u16_at(rest, 1), u16_at(rest, 3))
    {
        let end = 5 + usize::from(length & 0x0fff);
        let Some(descriptors) = rest.get(5..end).filter(|_| entries.len() < TRACKS_MAX) else {
            break;
        };
        entries.push(Entry { pid: pid & 0x1fff, kind, descriptors: descriptors.to_vec() });
        rest = rest.get(end..).unwrap_or(&[]);
    }
    Some((clock, descriptors, entries))
}

/// The body of the first descriptor with this tag.
pub(crate) fn descriptor(descriptors: &[u8], tag: u8) -> Option<&[u8]> {
    let mut rest = descriptors;
    loop {
        let (found, length) = (u8_at(rest, 0)?, usize::from(u8_at(rest, 1)?));
        let body = rest.get(2..2 + length)?;
        if found == tag {
            return Some(body);
        }
        rest = rest.get(2 + length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::{Entry, checksum, descriptor, program, programs};

    #[test]
    fn tables_of_a_real_stream() {
        let pat = [0, 0xb0, 0x0d, 0, 1, 0xc1, 0, 0, 0, 1, 0xf0, 0, 0x2a, 0xb1, 4, 0xb2];
        assert_eq!((checksum(&pat), programs(&pat)), (0, vec![0x1000]));
        let mut pmt =
            vec![2, 0xb0, 0x1d, 0, 1, 0xc1, 0, 0, 0xe1, 0, 0xf0, 0, 0x1b, 0xe1, 0, 0xf0, 0];
        pmt.extend([0x0f, 0xe1, 1, 0xf0, 6, 0x0a, 4, b'e', b'n', b'g', 0, 0x8d, 0x82, 0x9a, 7]);
        assert_eq!(checksum(&pmt), 0);
        let (clock, _, entries) = program(&pmt).unwrap();
        assert_eq!((clock, entries.len()), (0x100, 2));
        assert_eq!(entries[0], Entry { pid: 0x100, kind: 0x1b, descriptors: Vec::new() });
        assert_eq!(descriptor(&entries[1].descriptors, 0x0a), Some(&b"eng\0"[..]));
        assert_eq!(descriptor(&entries[1].descriptors, 0x0b), None);
    }
}
