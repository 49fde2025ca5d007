//! Codec names of sample descriptions (RFC 6381, and the annexes of each codec's file format).

use super::boxes::{Name, child, children};
use crate::bytes::{u8_at, u16_at, u32_at};
use crate::coding::of_audio_config;
use crate::{Coding, Format, TextForm};

/// Bytes of a visual sample entry before its boxes.
const VISUAL_HEAD: usize = 78;
/// Bytes of an audio sample entry before its boxes.
const AUDIO_HEAD: usize = 28;

/// The codec of the sample entry `name`, and the picture's size when it is one.
pub(crate) fn describe(name: &Name, entry: &[u8], video: bool) -> (String, Option<(u32, u32)>) {
    let size = video
        .then(|| Some((u32::from(u16_at(entry, 24)?), u32::from(u16_at(entry, 26)?))))
        .flatten();
    let head = if video { VISUAL_HEAD } else { AUDIO_HEAD };
    let boxes = entry.get(head..).unwrap_or(&[]);
    let codec = detailed(name, boxes).unwrap_or_else(|| printable(name));
    (codec, size)
}

/// The codec of a sample entry, a whole box. `None` when there is none, or it has no name that can be printed.
pub(crate) fn name_of_entry(entry: &[u8], video: bool) -> Option<String> {
    let (name, body) = children(entry).next()?;
    Some(describe(&name, body, video).0).filter(|codec| !codec.is_empty())
}

/// How the samples are coded whose sample entry, a whole box, is `entry`.
pub(crate) fn coding(entry: &[u8], video: bool) -> Coding {
    let Some((name, body)) = children(entry).next() else { return Coding::other() };
    let boxes = body.get(if video { VISUAL_HEAD } else { AUDIO_HEAD }..).unwrap_or(&[]);
    let config = child(boxes, b"esds").and_then(|esds| decoder_config(esds.get(4..)?));
    let (format, record) = match &name {
        b"avc1" | b"avc3" => (Format::H264, child(boxes, b"avcC")),
        b"hvc1" | b"hev1" => (Format::H265, child(boxes, b"hvcC")),
        b"vp08" => (Format::Vp8, None),
        b"vp09" => (Format::Vp9, None),
        b"av01" => (Format::Av1, child(boxes, b"av1C")),
        b"Opus" => (Format::Opus, child(boxes, b"dOps")),
        b"ac-3" => (Format::Ac3, None),
        b"tx3g" | b"text" => (Format::Text(TextForm::Timed), None),
        b"wvtt" => (Format::Text(TextForm::WebVttBoxes), None),
        b"mp4a" | b"mp4v" => match config.and_then(|config| u8_at(config, 0)) {
            // ISO/IEC 14496-1, table 5; 0x66 to 0x68 is AAC of MPEG-2, whose record is of the same form.
            Some(0x40 | 0x66..=0x68) => (Format::Aac, config.and_then(specific)),
            Some(0x69 | 0x6b) => (Format::MpegAudio, None),
            Some(0x60..=0x65 | 0x6a) => (Format::Mpeg2, None),
            _ => (Format::Other, None),
        },
        _ => (Format::Other, None),
    };
    let record = record.unwrap_or(&[]).to_vec();
    // What the entry says of channels is not to be believed: common programs write two of them for whatever there is.
    let told = || (u16_at(body, 24).map_or(0, u32::from), u16_at(body, 16).unwrap_or(0));
    let (rate, channels) = match format {
        _ if video || format.is_text() => (0, 0),
        Format::Aac => of_audio_config(&record).unwrap_or_default(),
        _ => (told().0, u8::try_from(told().1).unwrap_or(0)),
    };
    Coding { format, record, rate, channels }
}

/// The four letters when they can be shown, without the spaces that fill them up.
fn printable(name: &Name) -> String {
    if name.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') {
        String::from_utf8_lossy(name).trim().to_owned()
    } else {
        String::new()
    }
}

fn detailed(name: &Name, boxes: &[u8]) -> Option<String> {
    let letters = printable(name);
    match name {
        b"avc1" | b"avc3" => {
            let record = child(boxes, b"avcC")?;
            let (profile, compatible, level) =
                (u8_at(record, 1)?, u8_at(record, 2)?, u8_at(record, 3)?);
            Some(format!("{letters}.{profile:02x}{compatible:02x}{level:02x}"))
        }
        b"hvc1" | b"hev1" => hevc(&letters, child(boxes, b"hvcC")?),
        b"vp08" | b"vp09" => {
            let record = child(boxes, b"vpcC")?;
            let (profile, level) = (u8_at(record, 4)?, u8_at(record, 5)?);
            let depth = u8_at(record, 6)? >> 4;
            Some(format!("{letters}.{profile:02}.{level:02}.{depth:02}"))
        }
        b"av01" => {
            let record = child(boxes, b"av1C")?;
            let (first, second) = (u8_at(record, 1)?, u8_at(record, 2)?);
            let tier = if second & 0x80 == 0 { 'M' } else { 'H' };
            let depth = match (second & 0x40 != 0, second & 0x20 != 0) {
                (false, _) => 8,
                (true, false) => 10,
                (true, true) => 12,
            };
            Some(format!("av01.{}.{:02}{tier}.{depth:02}", first >> 5, first & 0x1f))
        }
        b"mp4a" | b"mp4v" => {
            let (object, audio) = object_type(child(boxes, b"esds")?.get(4..)?)?;
            Some(match audio {
                Some(kind) if object == 0x40 => format!("{letters}.40.{kind}"),
                _ => format!("{letters}.{object:02x}"),
            })
        }
        b"Opus" => Some("opus".to_owned()),
        b"fLaC" => Some("flac".to_owned()),
        _ => None,
    }
}

/// The name of H.265 with this record, or with this beginning of one (ISO/IEC 14496-15, annex E.3).
pub(crate) fn hevc(letters: &str, record: &[u8]) -> Option<String> {
    let first = u8_at(record, 1)?;
    let space = ["", "A", "B", "C"][usize::from(first >> 6)];
    let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = u32_at(record, 2)?.reverse_bits();
    let level = u8_at(record, 12)?;
    let mut text = format!("{letters}.{space}{}.{compatible:x}.{tier}{level}", first & 0x1f);
    let constraints = record.get(6..12)?;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(used) {
        text.push_str(&format!(".{byte:x}"));
    }
    Some(text)
}

/// Tag and body of the first MPEG-4 descriptor in `data` (ISO/IEC 14496-1, 8.3.3).
fn descriptor(data: &[u8]) -> Option<(u8, &[u8])> {
    let tag = u8_at(data, 0)?;
    let mut length = 0usize;
    for at in 1..5 {
        let byte = u8_at(data, at)?;
        length = (length << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let rest = data.get(at + 1..)?;
            return Some((tag, rest.get(..length).unwrap_or(rest)));
        }
    }
    None
}

/// The decoder configuration in an elementary stream descriptor.
fn decoder_config(data: &[u8]) -> Option<&[u8]> {
    let (3, stream) = descriptor(data)? else { return None };
    let flags = u8_at(stream, 2)?;
    let mut at = 3;
    if flags & 0x80 != 0 {
        at += 2;
    }
    if flags & 0x40 != 0 {
        at += 1 + usize::from(u8_at(stream, at)?);
    }
    if flags & 0x20 != 0 {
        at += 2;
    }
    let (4, config) = descriptor(stream.get(at..)?)? else { return None };
    Some(config)
}

/// What a decoder configuration holds for the decoder alone.
fn specific(config: &[u8]) -> Option<&[u8]> {
    let (5, specific) = descriptor(config.get(13..)?)? else { return None };
    Some(specific)
}

/// Object type, and for MPEG-4 sound its own kind, from an elementary stream descriptor.
fn object_type(data: &[u8]) -> Option<(u8, Option<u8>)> {
    let config = decoder_config(data)?;
    let object = u8_at(config, 0)?;
    let audio = specific(config).and_then(|specific| {
        let (first, second) = (u8_at(specific, 0)?, u8_at(specific, 1)?);
        Some(match first >> 3 {
            31 => 32 + ((first & 7) << 3 | second >> 5),
            kind => kind,
        })
    });
    Some((object, audio))
}
