//! Frames as a transport stream has them: pictures behind start codes, with what a decoder must know, and sound behind heads.

use crate::coding::Bits;
use crate::demux::Frame;
use crate::nal::Record;
use crate::{Coding, Format};

const START: [u8; 4] = [0, 0, 0, 1];
/// Marks where the frames of a picture begin (ISO/IEC 14496-10, 7.3.2.4; ISO/IEC 23008-2, 7.3.2.5); pictures of any kind follow.
const AVC_DELIMITER: [u8; 2] = [0x09, 0xf0];
const HEVC_DELIMITER: [u8; 3] = [0x46, 0x01, 0x50];
/// Bytes of a head of AAC, and the longest frame with it.
const ADTS: usize = 7;
const ADTS_MAX: usize = 0x1fff;

/// How the frames of a stream are carried.
#[derive(Debug)]
pub(super) enum Carrier {
    /// NAL units.
    Nals { record: Record, delimiter: &'static [u8] },
    /// AAC behind heads that begin with these bytes.
    Adts([u8; 4]),
    /// As they are.
    Plain,
}

impl Carrier {
    /// `None` for codings that are not carried.
    pub(super) fn of(coding: &Coding) -> Option<Self> {
        let nals = |delimiter| Some(Self::Nals { record: Record::of(coding)?, delimiter });
        match coding.format {
            Format::H264 => nals(&AVC_DELIMITER),
            Format::H265 => nals(&HEVC_DELIMITER),
            Format::Aac => adts(&coding.record).map(Self::Adts),
            Format::Mpeg2 | Format::MpegAudio | Format::Ac3 => Some(Self::Plain),
            _ => None,
        }
    }
    /// The frame as it is carried.
    pub(super) fn convert(&self, frame: &Frame) -> Vec<u8> {
        match self {
            Self::Nals { record, delimiter } => {
                let mut out = Vec::with_capacity(frame.data.len() + 256);
                out.extend_from_slice(&START);
                out.extend_from_slice(delimiter);
                for set in record.sets.iter().filter(|_| frame.is_key) {
                    out.extend_from_slice(&START);
                    out.extend_from_slice(set);
                }
                // Its upper six bits of two bytes, or lower five of one, are the kind; a second mark is left out.
                let mark = delimiter.first().copied().unwrap_or(0);
                let mask = if delimiter.len() > 2 { 0x7e } else { 0x1f };
                for nal in record.units(&frame.data) {
                    if nal.first().is_some_and(|first| first & mask != mark & mask) {
                        out.extend_from_slice(&START);
                        out.extend_from_slice(nal);
                    }
                }
                out
            }
            Self::Adts(head) => adts_frame(*head, &frame.data),
            Self::Plain => frame.data.to_vec(),
        }
    }
}

/// The beginning of the heads of a stream of AAC with this configuration (ISO/IEC 14496-3, 1.A.2.2). `None` where a head has no room for
/// what it says.
fn adts(config: &[u8]) -> Option<[u8; 4]> {
    let mut bits = Bits::new(config);
    let kind = |bits: &mut Bits<'_>| match bits.take(5)? {
        31 => Some(32 + bits.take(6)?),
        kind => Some(kind),
    };
    let mut profile = kind(&mut bits)?;
    let rate = bits.take(4)?;
    let channels = bits.take(4).filter(|channels| rate < 13 && *channels < 8)?;
    if matches!(profile, 5 | 29) {
        // Heads tell of the coded frames, which a decoder doubles.
        if bits.take(4)? == 15 {
            bits.take(24)?;
        }
        profile = kind(&mut bits)?;
    }
    let profile = profile.checked_sub(1).filter(|profile| *profile < 4)?;
    let word = 0xfff1 << 16 | profile << 14 | rate << 10 | channels << 6;
    Some(word.to_be_bytes())
}

fn adts_frame(head: [u8; 4], frame: &[u8]) -> Vec<u8> {
    let length = frame.len() + ADTS;
    if length > ADTS_MAX {
        return Vec::new();
    }
    let [.., a, b, c, d] = ((length as u64) << 13 | 0x1ffc).to_be_bytes();
    let [first, second, third, fourth] = head;
    let mut out = Vec::with_capacity(length);
    out.extend_from_slice(&[first, second, third, fourth | a, b, c, d]);
    out.extend_from_slice(frame);
    out
}

#[cfg(test)]
mod tests {
    use super::{adts, adts_frame};

    #[test]
    fn heads_of_aac() {
        let head = adts(&[0x11, 0x90]).unwrap();
        assert_eq!(adts_frame(head, &[7; 3]), [0xff, 0xf1, 0x4c, 0x80, 0x01, 0x5f, 0xfc, 7, 7, 7]);
        // Doubled by its decoder: coded with 24 kHz.
        assert_eq!(adts(&[0x2b, 0x11, 0x88]), Some([0xff, 0xf1, 0x58, 0x80]));
        assert!(adts_frame(head, &[0; 9000]).is_empty());
        assert_eq!(adts(&[0x11]), None);
    }
}
