//! Frames as RTP packets (RFC 3550): what stands in a packet, and what a session description says of it.
//!
//! **Does**: cuts a frame into the payloads of packets, by the payload format of its coding. **Refuses**: RTP's own header, sequence
//! numbers, clocks, sockets: whoever sends has those.
//!
//! Sources: RFC 6184 (H.264), RFC 7798 (H.265), RFC 7741 (VP8), RFC 9628 (VP9), the Alliance for Open Media's (AV1), RFC 3640 (AAC), RFC 7587 (Opus), RFC 4184 (AC-3), RFC 2250
//! (MPEG pictures, MPEG sound, transport streams).

mod av1;
mod nal;
mod pictures;
mod sound;
#[cfg(test)]
mod tests;

use crate::demux::Frame;
use crate::{Coding, Format};

/// The payload of one packet, in two parts: what the format puts in front, and bytes of the frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload<'a> {
    /// What the format puts in front.
    pub head: &'a [u8],
    /// Bytes of the frame, or of what its decoder must know.
    pub body: &'a [u8],
    /// Whether the packet is the last of its frame (RTP's marker bit), where the format wants that said.
    pub marker: bool,
}

/// How a session description names a payload format (RFC 8866, 6.6 and 6.15).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Encoding {
    /// Payload type: fixed by RFC 3551 where below 96.
    pub payload_type: Option<u8>,
    /// `H264/90000`, `opus/48000/2`.
    pub map: String,
    /// Parameters; empty when there are none.
    pub parameters: String,
    /// Units of RTP's time stamps in a second.
    pub clock: u32,
}

/// Cuts the frames of one stream.
#[derive(Clone, Debug)]
pub struct Payloader {
    coding: Coding,
    sets: nal::Sets,
}

impl Payloader {
    /// For a stream of that coding; `None` when no payload format is known for it.
    #[must_use]
    pub fn new(coding: &Coding) -> Option<Self> {
        let sets = match coding.format {
            Format::H264 | Format::H265 => nal::Sets::of(coding)?,
            Format::Aac if coding.rate == 0 || coding.record.len() < 2 => return None,
            Format::Ac3 if coding.rate == 0 => return None,
            Format::Av1 if coding.record.len() < 4 => return None,
            Format::Text(_) | Format::Other => return None,
            _ => nal::Sets::default(),
        };
        Some(Self { coding: coding.clone(), sets })
    }
    /// How it is named.
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        let Coding { rate, channels, .. } = self.coding;
        let of = |payload_type, map: &str, clock| Encoding {
            payload_type,
            map: map.to_owned(),
            parameters: String::new(),
            clock,
        };
        match self.coding.format {
            Format::H264 => Encoding {
                parameters: self.sets.avc_parameters(),
                ..of(None, "H264/90000", 90_000)
            },
            Format::H265 => Encoding {
                parameters: self.sets.hevc_parameters(),
                ..of(None, "H265/90000", 90_000)
            },
            Format::Vp8 => of(None, "VP8/90000", 90_000),
            Format::Vp9 => of(None, "VP9/90000", 90_000),
            Format::Av1 => Encoding {
                parameters: av1::parameters(&self.coding.record),
                ..of(None, "AV1/90000", 90_000)
            },
            Format::Mpeg2 => of(Some(32), "MPV/90000", 90_000),
            Format::Aac => Encoding {
                parameters: sound::aac_parameters(&self.coding.record),
                ..of(None, &format!("MPEG4-GENERIC/{rate}/{}", channels.max(1)), rate)
            },
            Format::MpegAudio => of(Some(14), "MPA/90000", 90_000),
            Format::Ac3 => of(None, &format!("AC3/{rate}/{}", channels.max(1)), rate),
            Format::Opus => Encoding {
                parameters: "sprop-stereo=1".to_owned(),
                ..of(None, "opus/48000/2", 48_000)
            },
            Format::TransportStream | Format::Text(_) | Format::Other => {
                of(Some(33), "MP2T/90000", 90_000)
            }
        }
    }
    /// Cuts a frame into payloads of at most `most` bytes, at least 64, and gives them to `packet` in order. Frames that make no sense
    /// give fewer or none.
    pub fn cut(&self, frame: &Frame, most: usize, mut packet: impl FnMut(Payload<'_>)) {
        let (data, most) = (&frame.data[..], most.max(64));
        match self.coding.format {
            Format::H264 | Format::H265 => self.sets.cut(data, frame.is_key, most, &mut packet),
            Format::Vp8 => pictures::vp8(data, most, &mut packet),
            Format::Vp9 => pictures::vp9(data, frame.is_key, most, &mut packet),
            Format::Av1 => {
                av1::cut((data, &self.coding.record), frame.is_key, most, &mut packet);
            }
            Format::Mpeg2 => pictures::mpeg(data, most, &mut packet),
            Format::Aac => sound::aac(data, most, &mut packet),
            Format::MpegAudio => sound::mpeg(data, most, &mut packet),
            Format::Ac3 => sound::ac3(data, most, &mut packet),
            // A frame of Opus never needs to be cut: it has at most 1,275 bytes for each of its parts.
            Format::Opus => packet(Payload { head: &[], body: data, marker: false }),
            Format::TransportStream => {
                for body in data.chunks((most / 188).max(1) * 188) {
                    packet(Payload { head: &[], body, marker: false });
                }
            }
            Format::Text(_) | Format::Other => {}
        }
    }
}

/// Pieces of at most `most` bytes, each with whether it is the first and whether it is the last.
fn pieces(data: &[u8], most: usize) -> impl Iterator<Item = (&[u8], bool, bool)> {
    let count = data.len().div_ceil(most);
    data.chunks(most)
        .enumerate()
        .map(move |(number, piece)| (piece, number == 0, number + 1 == count))
}

/// Base64 (RFC 4648, 4), as session descriptions carry records.
fn base64(data: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for group in data.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * at) & 63) as usize).copied();
            text.push(if at > group.len() { '=' } else { letter.map_or('=', char::from) });
        }
    }
    text
}
