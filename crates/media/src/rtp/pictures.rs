//! Pictures without NAL units: VP8 (RFC 7741), VP9 (RFC 9628), MPEG-1 and MPEG-2 (RFC 2250, 3.4).

use super::{Payload, pieces};
use crate::bytes::u8_at;

/// Behind a descriptor of one byte, which says where a partition begins.
pub(super) fn vp8(data: &[u8], most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    for (body, starts, marker) in pieces(data, most - 1) {
        packet(Payload { head: &[u8::from(starts) << 4], body, marker });
    }
}

/// Behind a descriptor of one byte: whether the picture refers to others, and where it begins and ends.
pub(super) fn vp9(data: &[u8], is_key: bool, most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    for (body, starts, marker) in pieces(data, most - 1) {
        let refers = u8::from(!is_key) << 6;
        let head = [refers | u8::from(starts) << 3 | u8::from(marker) << 2];
        packet(Payload { head: &head, body, marker });
    }
}

/// Start codes (ISO/IEC 13818-2, table 6-1).
const PICTURE: u8 = 0x00;
const SLICES: core::ops::RangeInclusive<u8> = 0x01..=0xaf;
const SEQUENCE: u8 = 0xb3;

/// Packets that hold whole slices where these fit, behind four bytes that tell of the picture: its number, its type, whether the
/// sequence's header is in the packet, and where slices begin and end.
pub(super) fn mpeg(data: &[u8], most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    let most = most - 4;
    let Picture { number, kind, vectors } = Picture::of(data);
    let mut from = 0;
    let mut starts = true;
    while from < data.len() {
        let limit = (from + most).min(data.len());
        let here = data.get(from..limit).unwrap_or(&[]);
        // As many whole slices as fit; a longer one is cut.
        let whole =
            if limit == data.len() { Some(limit) } else { last_slice(here).map(|it| from + it) };
        let to = whole.unwrap_or(limit);
        let body = data.get(from..to).unwrap_or(&[]);
        let has_sequence = codes(body).any(|(_, code)| code == SEQUENCE);
        let ends = whole.is_some();
        let word = u32::from(number & 0x3ff) << 16
            | u32::from(has_sequence) << 13
            | u32::from(starts) << 12
            | u32::from(ends) << 11
            | u32::from(kind & 7) << 8
            | u32::from(vectors);
        packet(Payload { head: &word.to_be_bytes(), body, marker: to == data.len() });
        starts = ends;
        from = to;
    }
}

/// What the header of a picture tells (ISO/IEC 13818-2, 6.2.3).
#[derive(Default)]
struct Picture {
    /// Its number in its group, in the order in which they are shown.
    number: u16,
    /// 1, 2 and 3: I, P and B.
    kind: u8,
    /// Of MPEG-1: scale of the motion vectors backward and forward, as the packet's header has them.
    vectors: u8,
}

impl Picture {
    fn of(data: &[u8]) -> Self {
        let header = codes(data).find(|(_, code)| *code == PICTURE);
        let Some(header) = header.and_then(|(at, _)| data.get(at + 4..)) else {
            return Self::default();
        };
        let byte = |at| u8_at(header, at).unwrap_or(0);
        let number = u16::from(byte(0)) << 2 | u16::from(byte(1) >> 6);
        let kind = byte(1) >> 3 & 7;
        // Behind 16 bits of delay; what they say is of use in MPEG-1 only, where MPEG-2 has ones.
        let forward = if kind >= 2 { (byte(3) & 7) << 1 | byte(4) >> 7 } else { 0 };
        let backward = if kind == 3 { byte(4) >> 3 & 15 } else { 0 };
        Self { number, kind, vectors: backward << 4 | forward }
    }
}

/// Where start codes stand in `data`, and which.
fn codes(data: &[u8]) -> impl Iterator<Item = (usize, u8)> {
    data.windows(4)
        .enumerate()
        .filter(|(_, it)| it.starts_with(&[0, 0, 1]))
        .map(|(at, it)| (at, it[3]))
}

/// Where the last slice of `data` begins, unless it is the first thing in it.
fn last_slice(data: &[u8]) -> Option<usize> {
    let last =
        data.windows(4).rposition(|it| it.starts_with(&[0, 0, 1]) && SLICES.contains(&it[3]));
    last.filter(|at| *at > 0)
}
