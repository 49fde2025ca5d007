//! What the streams of a program are: by their numbers in its table, and by the first frames of them.

use super::sets::{self, Sets};
use super::tables::{Entry, descriptor};
use super::{pes, sound};
use crate::bytes::{u8_at, u32_at};
use crate::{Coding, Format, Track, TrackKind, language};

/// How a stream is coded, as far as it is looked into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Codec {
    /// MPEG-1 or MPEG-2 pictures.
    Mpeg2,
    /// H.264.
    Avc,
    /// H.265.
    Hevc,
    /// AAC with ADTS headers.
    Adts,
    /// Sound of MPEG-1 or MPEG-2.
    MpegAudio,
    /// AC-3.
    Ac3,
    /// Of a kind that the table does not tell.
    Private,
    /// Anything else.
    Other,
}

/// Registered names (descriptor 5) and what they are called in RFC 6381 and beside it.
const REGISTERED: [(&[u8; 4], &str, TrackKind, Codec); 6] = [
    (b"AC-3", "ac-3", TrackKind::Audio, Codec::Ac3),
    (b"EAC3", "ec-3", TrackKind::Audio, Codec::Other),
    (b"Opus", "opus", TrackKind::Audio, Codec::Other),
    (b"HEVC", "hvc1", TrackKind::Video, Codec::Hevc),
    (b"VC-1", "vc-1", TrackKind::Video, Codec::Other),
    (b"AV01", "av01", TrackKind::Video, Codec::Other),
];

/// Descriptors that say what a private stream is (ETSI EN 300 468, table 12).
const DESCRIBED: [(u8, &str, TrackKind, Codec); 5] = [
    (0x6a, "ac-3", TrackKind::Audio, Codec::Ac3),
    (0x7a, "ec-3", TrackKind::Audio, Codec::Other),
    (0x7b, "dtsc", TrackKind::Audio, Codec::Other),
    (0x59, "dvbs", TrackKind::Text, Codec::Other),
    (0x56, "dvbt", TrackKind::Text, Codec::Other),
];

/// What the table says of a stream.
pub(crate) fn of_entry(entry: &Entry) -> Known {
    let (kind, name, codec) = named(entry);
    let language = descriptor(&entry.descriptors, 0x0a).and_then(|body| body.get(..3));
    let language = language.and_then(|code| language::tag(core::str::from_utf8(code).ok()?));
    let codec_name = name.to_owned();
    let track = Track { codec: codec_name, language, ..Track::new(u32::from(entry.pid), kind) };
    Known { codec, track, coding: Coding::other() }
}

fn named(entry: &Entry) -> (TrackKind, &'static str, Codec) {
    use TrackKind::{Audio, Other, Text, Video};
    match entry.kind {
        0x01 => (Video, "mp4v.6a", Codec::Mpeg2),
        0x02 => (Video, "mp4v.61", Codec::Mpeg2),
        0x03 => (Audio, "mp4a.6b", Codec::MpegAudio),
        0x04 => (Audio, "mp4a.69", Codec::MpegAudio),
        0x0f => (Audio, "mp4a.40.2", Codec::Adts),
        0x10 => (Video, "mp4v.20", Codec::Other),
        0x11 => (Audio, "mp4a.40.2", Codec::Other),
        0x1b => (Video, "avc1", Codec::Avc),
        0x24 => (Video, "hvc1", Codec::Hevc),
        0x33 => (Video, "vvc1", Codec::Other),
        0x81 => (Audio, "ac-3", Codec::Ac3),
        0x82 | 0x85 | 0x86 => (Audio, "dtsc", Codec::Other),
        0x83 => (Audio, "mlpa", Codec::Other),
        0x84 | 0x87 => (Audio, "ec-3", Codec::Other),
        0x90 => (Text, "pgs", Codec::Other),
        0xea => (Video, "vc-1", Codec::Other),
        _ => {
            let name = descriptor(&entry.descriptors, 0x05).and_then(|body| body.get(..4));
            let registered = REGISTERED.iter().find(|known| name == Some(&known.0[..]));
            let said = |tag| descriptor(&entry.descriptors, tag).is_some();
            let described = DESCRIBED.iter().find(|known| said(known.0));
            match (registered, described) {
                (Some((_, name, kind, codec)), _) => (*kind, name, *codec),
                (None, Some((_, name, kind, codec))) => (*kind, name, *codec),
                _ if entry.kind == 0x06 => (Other, "", Codec::Private),
                _ => (Other, "", Codec::Other),
            }
        }
    }
}

/// What is known of a stream: its track, and how it is coded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) codec: Codec,
    pub(crate) track: Track,
    /// Told by its frames: [`Format::Other`] until then.
    pub(crate) coding: Coding,
}

impl Known {
    /// Completes it by frames of the stream, a unit or the beginning of one. Whether that was all.
    pub(crate) fn look_into(&mut self, unit: &[u8]) -> bool {
        let frames = pes::body(unit).unwrap_or(&[]);
        match self.codec {
            Codec::Avc | Codec::Hevc => self.look_for_sets(frames),
            Codec::Mpeg2 => {
                let head = parts(frames).find(|part| part.starts_with(&[0xb3]));
                let sides = head.and_then(|part| u32_at(part, 1)).map(|sides| sides >> 8);
                self.track.size = sides.map(|sides| (sides >> 12, sides & 0xfff));
                sides.is_some()
            }
            Codec::Adts | Codec::MpegAudio | Codec::Ac3 => {
                let found = sound::coding(self.codec, frames);
                if let Some(coding) = &found {
                    self.sounds_like(coding);
                }
                found.is_some()
            }
            Codec::Private => {
                if let Some(coding) = sound::coding(Codec::Adts, frames) {
                    (self.track.kind, self.codec) = (TrackKind::Audio, Codec::Adts);
                    self.sounds_like(&coding);
                }
                true
            }
            Codec::Other => true,
        }
    }
    fn look_for_sets(&mut self, frames: &[u8]) -> bool {
        let found = match self.codec {
            Codec::Avc => Sets::avc(frames),
            _ => Sets::hevc(frames),
        };
        let Some(found) = found else { return false };
        (self.track.codec, self.track.size) = (found.name, found.size);
        let format = if self.codec == Codec::Avc { Format::H264 } else { Format::H265 };
        self.coding = Coding { format, record: found.record, ..Coding::other() };
        !self.coding.record.is_empty()
    }
    fn sounds_like(&mut self, coding: &Coding) {
        if let (Format::Aac, Some(first)) = (coding.format, coding.record.first()) {
            self.track.codec = format!("mp4a.40.{}", first >> 3);
        }
        self.coding = coding.clone();
    }
}

/// Whether decoding of pictures can begin with a unit that begins like this.
pub(crate) fn is_random_access(codec: Codec, unit: &[u8]) -> bool {
    let mut parts = parts(pes::body(unit).unwrap_or(&[]));
    match codec {
        // An instantaneous refresh, or what a decoder must know, which stands in front of pictures to begin with.
        Codec::Avc => parts.any(|nal| u8_at(nal, 0).is_some_and(|it| matches!(it & 0x1f, 5 | 7))),
        Codec::Hevc => parts.any(|nal| matches!(sets::hevc_kind(nal), Some(16..=21 | sets::VPS))),
        Codec::Mpeg2 => parts.any(|part| part.starts_with(&[0xb3])),
        _ => false,
    }
}

/// What stands behind each start code of some frames.
pub(crate) fn parts(frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    let code = |bytes: &[u8]| bytes.windows(3).position(|it| it == [0, 0, 1]);
    let mut rest = code(frames).and_then(|at| frames.get(at + 3..));
    core::iter::from_fn(move || {
        let bytes = rest?;
        let end = code(bytes);
        rest = end.and_then(|end| bytes.get(end + 3..));
        bytes.get(..end.unwrap_or(bytes.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn start_codes_part_frames() {
        let found: Vec<_> = parts(&[9, 0, 0, 1, 7, 8, 0, 0, 1, 5]).collect();
        assert_eq!(found, [&[7, 8][..], &[5][..]]);
    }
}
