//! H.264 (RFC 6184, packetization mode 1) and H.265 (RFC 7798): a NAL unit in a packet, or in several where it is too long.

use core::fmt::Write as _;

use super::{Payload, base64, pieces};
use crate::bytes::{u8_at, u16_at};

/// Types of NAL units that only delimit frames: a packet's time stamp says as much.
const AVC_DELIMITER: u8 = 9;
const HEVC_DELIMITER: u8 = 35;
/// Types of packets that carry a part of a NAL unit.
const AVC_FRAGMENT: u8 = 28;
const HEVC_FRAGMENT: u8 = 49;
/// Parameter sets that are looked at.
const SETS_MAX: usize = 64;

/// What a decoder must know first, and how NAL units lie in a frame.
#[derive(Clone, Default, Debug)]
pub(super) struct Sets {
    /// Whether it is H.265.
    hevc: bool,
    /// Bytes of the length before each NAL unit: 1 to 4.
    length_bytes: usize,
    /// Parameter sets: NAL units.
    sets: Vec<Vec<u8>>,
    /// Profile, constraints and level of H.264.
    profile: [u8; 3],
}

impl Sets {
    /// Of an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1).
    pub(super) fn of_avc(record: &[u8]) -> Option<Self> {
        let profile = [u8_at(record, 1)?, u8_at(record, 2)?, u8_at(record, 3)?];
        let length_bytes = usize::from(u8_at(record, 4)? & 3) + 1;
        let mut sets = Vec::new();
        let mut at = 5;
        for mask in [0x1f, 0xff] {
            let count = u8_at(record, at)? & mask;
            at += 1;
            for _ in 0..count {
                let length = usize::from(u16_at(record, at)?);
                sets.push(record.get(at + 2..at + 2 + length)?.to_vec());
                at += 2 + length;
            }
        }
        sets.truncate(SETS_MAX);
        Some(Self { hevc: false, length_bytes, sets, profile })
    }
    /// Of an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3.1).
    pub(super) fn of_hevc(record: &[u8]) -> Option<Self> {
        let length_bytes = usize::from(u8_at(record, 21)? & 3) + 1;
        let mut sets = Vec::new();
        let mut at = 23;
        for _ in 0..u8_at(record, 22)? {
            let count = u16_at(record, at + 1)?;
            at += 3;
            for _ in 0..count {
                let length = usize::from(u16_at(record, at)?);
                sets.push(record.get(at + 2..at + 2 + length)?.to_vec());
                at += 2 + length;
            }
        }
        sets.truncate(SETS_MAX);
        Some(Self { hevc: true, length_bytes, sets, profile: [0; 3] })
    }
    /// RFC 6184, 8.1.
    pub(super) fn avc_parameters(&self) -> String {
        let [profile, constraints, level] = self.profile;
        let sets: Vec<String> = self.sets.iter().map(|set| base64(set)).collect();
        format!(
            "packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x};sprop-parameter-sets={}",
            sets.join(",")
        )
    }
    /// RFC 7798, 7.1.
    pub(super) fn hevc_parameters(&self) -> String {
        let mut text = String::new();
        for (kind, name) in [(32, "vps"), (33, "sps"), (34, "pps")] {
            let sets = self.sets.iter().filter(|set| self.kind(set) == kind);
            let sets: Vec<String> = sets.map(|set| base64(set)).collect();
            if !sets.is_empty() {
                let mark = if text.is_empty() { "" } else { ";" };
                let _ = write!(text, "{mark}sprop-{name}={}", sets.join(","));
            }
        }
        text
    }
    /// Cuts a frame. Before a key frame the parameter sets are sent again: a packet that was lost, or a receiver that does not read
    /// the description, must not cost more than a group of pictures.
    pub(super) fn cut(
        &self,
        data: &[u8],
        is_key: bool,
        most: usize,
        packet: &mut impl FnMut(Payload<'_>),
    ) {
        if is_key {
            self.sets.iter().for_each(|set| self.unit(set, false, most, packet));
        }
        let mut units = self.units(data).peekable();
        while let Some(unit) = units.next() {
            self.unit(unit, units.peek().is_none(), most, packet);
        }
    }
    /// The NAL units of a frame but those that only delimit; ends at the first that does not fit.
    fn units<'d>(&self, data: &'d [u8]) -> impl Iterator<Item = &'d [u8]> + use<'d> {
        let delimiter = if self.hevc { HEVC_DELIMITER } else { AVC_DELIMITER };
        let (hevc, length_bytes) = (self.hevc, self.length_bytes.clamp(1, 4));
        let mut rest = data;
        core::iter::from_fn(move || {
            let (length, after) = rest.split_at_checked(length_bytes)?;
            let length = length.iter().fold(0usize, |all, byte| all << 8 | usize::from(*byte));
            let (unit, after) = after.split_at_checked(length)?;
            rest = after;
            Some(unit)
        })
        .filter(move |unit| !unit.is_empty() && kind(hevc, unit) != delimiter)
    }
    fn kind(&self, unit: &[u8]) -> u8 {
        kind(self.hevc, unit)
    }
    fn unit(&self, unit: &[u8], is_last: bool, most: usize, packet: &mut impl FnMut(Payload<'_>)) {
        if unit.len() <= most {
            return packet(Payload { head: &[], body: unit, marker: is_last });
        }
        let kind = self.kind(unit);
        if self.hevc {
            let (Some(first), Some(second)) = (u8_at(unit, 0), u8_at(unit, 1)) else { return };
            let first = first & 0x81 | HEVC_FRAGMENT << 1;
            for (body, starts, ends) in pieces(unit.get(2..).unwrap_or(&[]), most - 3) {
                let head = [first, second, edges(starts, ends) | kind];
                packet(Payload { head: &head, body, marker: is_last && ends });
            }
        } else {
            let Some(first) = u8_at(unit, 0) else { return };
            for (body, starts, ends) in pieces(unit.get(1..).unwrap_or(&[]), most - 2) {
                let head = [first & 0xe0 | AVC_FRAGMENT, edges(starts, ends) | kind];
                packet(Payload { head: &head, body, marker: is_last && ends });
            }
        }
    }
}

/// The type of a NAL unit.
fn kind(hevc: bool, unit: &[u8]) -> u8 {
    let first = unit.first().copied().unwrap_or(0);
    if hevc { first >> 1 & 0x3f } else { first & 0x1f }
}

/// The bits that say where a part lies in its NAL unit.
fn edges(starts: bool, ends: bool) -> u8 {
    u8::from(starts) << 7 | u8::from(ends) << 6
}
