//! What the streams of a program are: by their numbers in its table, and by the first frames of them.

use super::pes;
use super::tables::{Entry, descriptor};
use crate::bytes::{u8_at, u32_at};
use crate::coding::Bits;
use crate::{Track, TrackKind, language};

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
    /// Of a kind that the table does not tell.
    Private,
    /// Anything else.
    Other,
}

/// Registered names (descriptor 5) and what they are called in RFC 6381 and beside it.
const REGISTERED: [(&[u8; 4], &str, TrackKind, Codec); 6] = [
    (b"AC-3", "ac-3", TrackKind::Audio, Codec::Other),
    (b"EAC3", "ec-3", TrackKind::Audio, Codec::Other),
    (b"Opus", "opus", TrackKind::Audio, Codec::Other),
    (b"HEVC", "hvc1", TrackKind::Video, Codec::Hevc),
    (b"VC-1", "vc-1", TrackKind::Video, Codec::Other),
    (b"AV01", "av01", TrackKind::Video, Codec::Other),
];

/// Descriptors that say what a private stream is (ETSI EN 300 468, table 12).
const DESCRIBED: [(u8, &str, TrackKind); 5] = [
    (0x6a, "ac-3", TrackKind::Audio),
    (0x7a, "ec-3", TrackKind::Audio),
    (0x7b, "dtsc", TrackKind::Audio),
    (0x59, "dvbs", TrackKind::Text),
    (0x56, "dvbt", TrackKind::Text),
];

/// What the table says of a stream.
pub(crate) fn of_entry(entry: &Entry) -> (Codec, Track) {
    let (kind, name, codec) = named(entry);
    let language = descriptor(&entry.descriptors, 0x0a).and_then(|body| body.get(..3));
    let language = language.and_then(|code| language::tag(core::str::from_utf8(code).ok()?));
    let codec_name = name.to_owned();
    let track = Track { codec: codec_name, language, ..Track::new(u32::from(entry.pid), kind) };
    (codec, track)
}

fn named(entry: &Entry) -> (TrackKind, &'static str, Codec) {
    use TrackKind::{Audio, Other, Text, Video};
    match entry.kind {
        0x01 => (Video, "mp4v.6a", Codec::Mpeg2),
        0x02 => (Video, "mp4v.61", Codec::Mpeg2),
        0x03 => (Audio, "mp4a.6b", Codec::Other),
        0x04 => (Audio, "mp4a.69", Codec::Other),
        0x0f => (Audio, "mp4a.40.2", Codec::Adts),
        0x10 => (Video, "mp4v.20", Codec::Other),
        0x11 => (Audio, "mp4a.40.2", Codec::Other),
        0x1b => (Video, "avc1", Codec::Avc),
        0x24 => (Video, "hvc1", Codec::Hevc),
        0x33 => (Video, "vvc1", Codec::Other),
        0x81 => (Audio, "ac-3", Codec::Other),
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
                (None, Some((_, name, kind))) => (*kind, name, Codec::Other),
                _ if entry.kind == 0x06 => (Other, "", Codec::Private),
                _ => (Other, "", Codec::Other),
            }
        }
    }
}

/// Completes what is known of a track by frames of it, a unit or the beginning of one. Whether that was all.
pub(crate) fn look_into(codec: Codec, track: &mut Track, unit: &[u8]) -> bool {
    let frames = pes::body(unit).unwrap_or(&[]);
    let found = match codec {
        Codec::Avc => {
            parts(frames).filter(|nal| u8_at(nal, 0).is_some_and(|it| it & 0x1f == 7)).find_map(avc)
        }
        Codec::Hevc => parts(frames).filter(|nal| hevc_kind(nal) == Some(33)).find_map(hevc),
        Codec::Mpeg2 => parts(frames).find(|part| part.starts_with(&[0xb3])).and_then(|part| {
            let sides = u32_at(part, 1)? >> 8;
            Some((track.codec.clone(), Some((sides >> 12, sides & 0xfff))))
        }),
        Codec::Adts => adts(frames).map(|name| (name, None)),
        Codec::Private => {
            if let Some(name) = adts(frames) {
                (track.kind, track.codec) = (TrackKind::Audio, name);
            }
            return true;
        }
        Codec::Other => return true,
    };
    let is_found = found.is_some();
    if let Some((name, size)) = found {
        (track.codec, track.size) = (name, size);
    }
    is_found
}

/// Whether decoding of pictures can begin with a unit that begins like this.
pub(crate) fn is_random_access(codec: Codec, unit: &[u8]) -> bool {
    let mut parts = parts(pes::body(unit).unwrap_or(&[]));
    match codec {
        // An instantaneous refresh, or what a decoder must know, which stands in front of pictures to begin with.
        Codec::Avc => parts.any(|nal| u8_at(nal, 0).is_some_and(|it| matches!(it & 0x1f, 5 | 7))),
        Codec::Hevc => parts.any(|nal| matches!(hevc_kind(nal), Some(16..=21 | 32))),
        Codec::Mpeg2 => parts.any(|part| part.starts_with(&[0xb3])),
        _ => false,
    }
}

fn hevc_kind(nal: &[u8]) -> Option<u8> {
    u8_at(nal, 0).map(|first| first >> 1 & 0x3f)
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

/// Without the bytes that keep start codes from arising.
fn unescaped(nal: &[u8]) -> Vec<u8> {
    let mut zeros = 0;
    let mut keep = |byte: &u8| {
        let is_escape = *byte == 3 && zeros >= 2;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !is_escape
    };
    nal.iter().copied().filter(|byte| keep(byte)).collect()
}

type Found = (String, Option<(u32, u32)>);

/// Name and size out of a sequence parameter set (ISO/IEC 14496-10, 7.3.2.1.1).
fn avc(nal: &[u8]) -> Option<Found> {
    let nal = unescaped(nal);
    let [profile, compatible, level] = crate::bytes::array::<3>(&nal, 1)?;
    let name = format!("avc1.{profile:02x}{compatible:02x}{level:02x}");
    Some((name, avc_size(profile, nal.get(4..)?)))
}

fn avc_size(profile: u8, rest: &[u8]) -> Option<(u32, u32)> {
    let mut bits = Bits::new(rest);
    bits.number()?;
    let mut chroma = 1;
    if [100, 110, 122, 244, 44, 83, 86, 118, 128, 138].contains(&profile) {
        chroma = bits.number()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        bits.number()?;
        bits.number()?;
        bits.take(1)?;
        // Scaling matrices are rare; their film has no size here.
        if bits.take(1)? == 1 {
            return None;
        }
    }
    bits.number()?;
    match bits.number()? {
        0 => drop(bits.number()?),
        1 => {
            bits.take(1)?;
            bits.number()?;
            bits.number()?;
            for _ in 0..bits.number()?.min(256) {
                bits.number()?;
            }
        }
        _ => {}
    }
    bits.number()?;
    bits.take(1)?;
    let width = bits.number()?.checked_add(1)?.checked_mul(16)?;
    let height = bits.number()?.checked_add(1)?.checked_mul(16)?;
    let fields = 2 - bits.take(1)?;
    if fields == 2 {
        bits.take(1)?;
    }
    bits.take(1)?;
    let height = height.checked_mul(fields)?;
    let (across, down) =
        (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    cropped(&mut bits, (width, height), (across, down * fields))
}

/// Name and size out of a sequence parameter set (ISO/IEC 23008-2, 7.3.2.2.1).
fn hevc(nal: &[u8]) -> Option<Found> {
    let nal = unescaped(nal);
    let set = nal.get(2..)?;
    // Profile, tier and level stand behind its first byte as they do in a record of MP4.
    Some((crate::mp4::hevc_name("hvc1", set)?, hevc_size(set)))
}

fn hevc_size(set: &[u8]) -> Option<(u32, u32)> {
    let layers = usize::from(u8_at(set, 0)? >> 1 & 7);
    let mut bits = Bits::new(set.get(13..)?);
    let mut skipped = 0;
    for _ in 0..layers {
        skipped += if bits.take(1)? == 1 { 88 } else { 0 };
        skipped += if bits.take(1)? == 1 { 8 } else { 0 };
    }
    if layers > 0 {
        bits.take(2 * 8usize.checked_sub(layers)?)?;
    }
    bits.take(skipped)?;
    bits.number()?;
    let chroma = bits.number()?;
    if chroma == 3 {
        bits.take(1)?;
    }
    let size = (bits.number()?, bits.number()?);
    let unit = (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 });
    cropped(&mut bits, size, unit)
}

/// A size less what is cut off at each side.
fn cropped(bits: &mut Bits<'_>, size: (u32, u32), unit: (u32, u32)) -> Option<(u32, u32)> {
    if bits.take(1)? == 0 {
        return Some(size);
    }
    let mut cut = || bits.number()?.checked_add(bits.number()?);
    let (across, down) = (cut()?.checked_mul(unit.0)?, cut()?.checked_mul(unit.1)?);
    Some((size.0.checked_sub(across)?, size.1.checked_sub(down)?))
}

/// The kind of AAC, by the head of its frames (ISO/IEC 14496-3, 1.A.3.2).
fn adts(frames: &[u8]) -> Option<String> {
    let is_head = u8_at(frames, 0) == Some(0xff) && u8_at(frames, 1)? & 0xf6 == 0xf0;
    let kind = u8_at(frames, 2).filter(|_| is_head)? >> 6;
    Some(format!("mp4a.40.{}", kind + 1))
}

#[cfg(test)]
mod tests {
    use super::{avc, parts, unescaped};

    #[test]
    fn a_parameter_set_names_the_codec_and_the_size() {
        let set = [
            0x67, 0x64, 0, 0x0a, 0xac, 0xd9, 0x46, 0x26, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0,
            0x50, 0x3c, 0x48, 0x96, 0x58,
        ];
        assert_eq!(avc(&set), Some(("avc1.64000a".to_owned(), Some((96, 64)))));
        assert_eq!(avc(&set[..5]).map(|found| found.1), Some(None));
        assert_eq!(avc(&set[..3]), None);
    }

    #[test]
    fn start_codes_part_frames_and_escapes_are_taken_out() {
        let found: Vec<_> = parts(&[9, 0, 0, 1, 7, 8, 0, 0, 1, 5]).collect();
        assert_eq!(found, [&[7, 8][..], &[5][..]]);
        assert_eq!(unescaped(&[1, 0, 0, 3, 0, 0, 3, 1, 3]), [1, 0, 0, 0, 0, 1, 3]);
    }
}
