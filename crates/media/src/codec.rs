//! How streams are coded, and what a decoder must know before the first frame.

use crate::bytes::u16_at;
use crate::mp4::boxes::{child, header};

/// How a stream is coded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Codec {
    /// Which coding it is.
    pub kind: CodecKind,
    /// The sample entry of an MP4 file, a whole box (ISO/IEC 14496-12, 8.5.2): what every player of MP4 understands.
    pub entry: Vec<u8>,
    /// Channels, of sound; else 0.
    pub channels: u16,
    /// Sampling rate in Hz, of sound; else 0.
    pub rate: u32,
}

/// Codings that are told apart. Each carries its own record for decoders.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CodecKind {
    /// H.264, with its `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3).
    H264(Vec<u8>),
    /// H.265, with its `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3).
    H265(Vec<u8>),
    /// AAC, with its `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1).
    Aac(Vec<u8>),
    /// Opus, with its `OpusSpecificBox`.
    Opus(Vec<u8>),
    /// VP9.
    Vp9,
    /// AV1, with its `AV1CodecConfigurationRecord`.
    Av1(Vec<u8>),
    /// Another: it can be passed on in MP4 only.
    Other,
}

/// Bytes of a visual and of an audio sample entry before their boxes, without their header.
const HEADS: [usize; 2] = [78, 28];

impl Codec {
    /// Reads a sample entry, a whole box. `None` when it is none.
    pub(crate) fn of_entry(entry: &[u8]) -> Option<Self> {
        let head = header(entry)?;
        let body = entry.get(usize::try_from(head.header_len).ok()?..)?;
        let record = |head: usize, name| child(body.get(head..)?, name).map(<[u8]>::to_vec);
        let [visual, audio] = HEADS;
        let kind = match &head.name {
            b"avc1" | b"avc3" => record(visual, b"avcC").map(CodecKind::H264),
            b"hvc1" | b"hev1" => record(visual, b"hvcC").map(CodecKind::H265),
            b"av01" => record(visual, b"av1C").map(CodecKind::Av1),
            b"vp09" => Some(CodecKind::Vp9),
            b"Opus" => record(audio, b"dOps").map(CodecKind::Opus),
            b"mp4a" => crate::mp4::audio_config(body.get(audio..)?).map(CodecKind::Aac),
            _ => None,
        };
        let is_sound = matches!(&head.name, b"mp4a" | b"Opus" | b"fLaC" | b"ac-3" | b"ec-3");
        Some(Self {
            kind: kind.unwrap_or(CodecKind::Other),
            entry: entry.to_vec(),
            channels: u16_at(body, 16).filter(|_| is_sound).unwrap_or(0),
            rate: u16_at(body, 24).filter(|_| is_sound).map_or(0, u32::from),
        })
    }
}
