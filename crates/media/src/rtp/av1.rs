//! AV1 (RTP Payload Format For AV1, v1.0 of the Alliance for Open Media; OBUs by the AV1 bitstream specification, 5.3): an OBU in a packet, or in
//! several where it is too long. Packets never hold more than one: frames are large and headers of sequences rare.

use super::{Payload, pieces};

/// Types of OBUs.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// Bits of the byte that stands in front of all: the OBU began in the packet before, it goes on in the next one, one OBU, a coded sequence
/// begins.
const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const ONE: u8 = 0x10;
const BEGINS: u8 = 0x08;

/// Bits of an OBU's own first byte: it has a second one, and it has a length.
const EXTENSION: u8 = 0x04;
const HAS_LENGTH: u8 = 0x02;

/// Profile, level and tier by the body of `av1C` (AV1 in ISO base media files, 2.3.3).
pub(super) fn parameters(record: &[u8]) -> String {
    let byte = |at| record.get(at).copied().unwrap_or(0);
    format!("profile={};level-idx={};tier={}", byte(1) >> 5, byte(1) & 0x1f, byte(2) >> 7)
}

/// Cuts a temporal unit. What a receiver needs no more than a file does, is left out: what delimits, pads, or lists tiles. A key frame without
/// the header of its sequence gets that of `record`.
pub(super) fn cut(
    (data, record): (&[u8], &[u8]),
    is_key: bool,
    most: usize,
    packet: &mut impl FnMut(Payload<'_>),
) {
    let is_header = |obu: &Obu<'_>| obu.kind() == SEQUENCE_HEADER;
    let known = record.get(4..).filter(|_| is_key && !obus(data).any(|obu| is_header(&obu)));
    let front = obus(known.unwrap_or(&[])).filter(is_header);
    let mut all = front.chain(obus(data).filter(Obu::is_sent)).peekable();
    let mut begins = if is_key { BEGINS } else { 0 };
    while let Some(obu) = all.next() {
        let is_last = all.peek().is_none();
        let (header, length) = obu.header();
        let header = header.get(..length).unwrap_or(&[]);
        let whole = [(&[][..], true, true)];
        let empty = whole.into_iter().filter(|_| obu.body.is_empty());
        for (body, first, last) in empty.chain(pieces(obu.body, most - 1 - length)) {
            let mark = |bit, is_set| if is_set { bit } else { 0 };
            let about = ONE | begins | mark(CONTINUES, !first) | mark(GOES_ON, !last);
            let mut head = [about, 0, 0];
            let head_length = if first { 1 + length } else { 1 };
            if let Some(place) = head.get_mut(1..head_length) {
                place.copy_from_slice(header.get(..place.len()).unwrap_or(&[0; 2]));
            }
            let head = head.get(..head_length).unwrap_or(&head);
            packet(Payload { head, body, marker: is_last && last });
            begins = 0;
        }
    }
}

/// An Open Bitstream Unit.
struct Obu<'a> {
    first: u8,
    extension: Option<u8>,
    body: &'a [u8],
}

impl Obu<'_> {
    fn kind(&self) -> u8 {
        self.first >> 3 & 15
    }
    fn is_sent(&self) -> bool {
        !matches!(self.kind(), TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }
    /// Its first bytes without a length, and how many they are: packets have lengths.
    fn header(&self) -> ([u8; 2], usize) {
        let length = if self.extension.is_some() { 2 } else { 1 };
        ([self.first & !HAS_LENGTH, self.extension.unwrap_or(0)], length)
    }
}

/// The OBUs of a temporal unit, as far as they make sense. The last one may be without a length.
fn obus(mut data: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    core::iter::from_fn(move || {
        let (&first, mut rest) = data.split_first()?;
        let mut extension = None;
        if first & EXTENSION != 0 {
            let (&byte, after) = rest.split_first()?;
            (extension, rest) = (Some(byte), after);
        }
        if first & HAS_LENGTH != 0 {
            let (length, after) = leb128(rest)?;
            (rest, data) = (after.get(..length)?, after.get(length..)?);
        } else {
            data = &[];
        }
        Some(Obu { first, extension, body: rest })
    })
}

/// A number of which each byte has seven bits, the lowest first (4.10.5), and what stands behind it.
fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (at, byte) in data.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, data.get(at + 1..)?));
        }
    }
    None
}
