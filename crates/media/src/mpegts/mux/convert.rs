//! Frames as a transport stream has them: pictures behind start codes, with what a decoder must know, and sound behind heads.

use crate::coding::Bits;
use crate::demux::Frame;
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
    Nals {
        /// Bytes of the length in front of each in the frames of other containers.
        length: usize,
        delimiter: &'static [u8],
        /// What a decoder must know before a key frame, behind start codes.
        sets: Vec<u8>,
    },
    /// AAC behind heads that begin with these bytes.
    Adts([u8; 4]),
    /// As they are.
    Plain,
}

impl Carrier {
    /// `None` for codings that are not carried.
    pub(super) fn of(coding: &Coding) -> Option<Self> {
        let record = coding.record.as_slice();
        match coding.format {
            Format::H264 => Some(Self::Nals {
                length: usize::from(record.get(4)? & 3) + 1,
                delimiter: &AVC_DELIMITER,
                sets: avc_sets(record.get(5..)?),
            }),
            Format::H265 => Some(Self::Nals {
                length: usize::from(record.get(21)? & 3) + 1,
                delimiter: &HEVC_DELIMITER,
                sets: hevc_sets(record.get(22..)?),
            }),
            Format::Aac => adts(record).map(Self::Adts),
            Format::Mpeg2 | Format::MpegAudio | Format::Ac3 => Some(Self::Plain),
            _ => None,
        }
    }
    /// The frame as it is carried.
    pub(super) fn convert(&self, frame: &Frame) -> Vec<u8> {
        match self {
            Self::Nals { length, delimiter, sets } => {
                let mut out = Vec::with_capacity(frame.data.len() + sets.len() + 64);
                out.extend_from_slice(&START);
                out.extend_from_slice(delimiter);
                if frame.is_key {
                    out.extend_from_slice(sets);
                }
                // Its upper six bits of two bytes, or lower five of one, are the kind; a second mark is left out.
                let mark = delimiter.first().copied().unwrap_or(0);
                let mask = if delimiter.len() > 2 { 0x7e } else { 0x1f };
                for nal in nals(&frame.data, *length) {
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

/// The units of a frame, each behind its length; ends at one that does not fit.
fn nals(frame: &[u8], length: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = frame;
    core::iter::from_fn(move || {
        let (size, behind) = rest.split_at_checked(length)?;
        let size = size.iter().fold(0usize, |size, byte| size << 8 | usize::from(*byte));
        let (nal, behind) = behind.split_at_checked(size)?;
        rest = behind;
        Some(nal)
    })
}

/// `count` units behind lengths of two bytes, with start codes, and what stands behind them.
fn sets<'a>(mut rest: &'a [u8], count: usize, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (size, behind) = rest.split_first_chunk::<2>()?;
        let (nal, behind) = behind.split_at_checked(usize::from(u16::from_be_bytes(*size)))?;
        out.extend_from_slice(&START);
        out.extend_from_slice(nal);
        rest = behind;
    }
    Some(rest)
}

/// Sequence and picture parameter sets (ISO/IEC 14496-15, 5.3.3.1).
fn avc_sets(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = Some(record);
    for mask in [0x1f, 0xff] {
        rest = rest
            .and_then(<[u8]>::split_first)
            .and_then(|(count, behind)| sets(behind, usize::from(count & mask), &mut out));
    }
    out
}

/// Parameter sets of all kinds (ISO/IEC 14496-15, 8.3.3.1).
fn hevc_sets(record: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some((kinds, mut rest)) = record.split_first() else { return out };
    for _ in 0..*kinds {
        let Some(([_, a, b], behind)) = rest.split_first_chunk::<3>() else { break };
        let count = usize::from(u16::from_be_bytes([*a, *b]));
        match sets(behind, count, &mut out) {
            Some(behind) => rest = behind,
            None => break,
        }
    }
    out
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
