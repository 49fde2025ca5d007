//! H.264 (RFC 6184, packetization mode 1) and H.265 (RFC 7798): a NAL unit in a packet, or in several where it is too long.

use core::fmt::Write as _;

use super::{Payload, base64, pieces};
use crate::bytes::{array, u8_at};
use crate::nal::Record;
use crate::{Coding, Format};

/// Types of NAL units that only delimit frames: a packet's time stamp says as much.
const AVC_DELIMITER: u8 = 9;
const HEVC_DELIMITER: u8 = 35;
/// Types of packets that carry a part of a NAL unit.
const AVC_FRAGMENT: u8 = 28;
const HEVC_FRAGMENT: u8 = 49;

/// What a decoder must know first, and how NAL units lie in a frame.
#[derive(Clone, Default, Debug)]
pub(super) struct Sets {
    /// Whether it is H.265.
    hevc: bool,
    record: Record,
    /// Profile, constraints and level of H.264.
    profile: [u8; 3],
}

impl Sets {
    /// Of the record of H.264 or H.265.
    pub(super) fn of(coding: &Coding) -> Option<Self> {
        let record = Record::of(coding)?;
        let hevc = coding.format == Format::H265;
        let profile = array(&coding.record, 1).unwrap_or_default();
        Some(Self { hevc, record, profile })
    }
    /// RFC 6184, 8.1.
    pub(super) fn avc_parameters(&self) -> String {
        let [profile, constraints, level] = self.profile;
        let sets: Vec<String> = self.record.sets.iter().map(|set| base64(set)).collect();
        format!(
            "packetization-mode=1;profile-level-id={profile:02x}{constraints:02x}{level:02x};sprop-parameter-sets={}",
            sets.join(",")
        )
    }
    /// RFC 7798, 7.1.
    pub(super) fn hevc_parameters(&self) -> String {
        let mut text = String::new();
        for (kind, name) in [(32, "vps"), (33, "sps"), (34, "pps")] {
            let sets = self.record.sets.iter().filter(|set| self.kind(set) == kind);
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
            self.record.sets.iter().for_each(|set| self.unit(set, false, most, packet));
        }
        let mut units = self.units(data).peekable();
        while let Some(unit) = units.next() {
            self.unit(unit, units.peek().is_none(), most, packet);
        }
    }
    /// The NAL units of a frame but those that only delimit.
    fn units<'d>(&self, data: &'d [u8]) -> impl Iterator<Item = &'d [u8]> + use<'d> {
        let delimiter = if self.hevc { HEVC_DELIMITER } else { AVC_DELIMITER };
        let hevc = self.hevc;
        self.record
            .units(data)
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
