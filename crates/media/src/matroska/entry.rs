//! The sample entries that tracks of Matroska, and streams of others without any, have in an MP4 file (ISO/IEC 14496-12, 8.5.2, and each coding's own file format).

use super::ebml::{
    COLOUR, DISPLAY_HEIGHT, DISPLAY_WIDTH, MATRIX, PRIMARIES, RANGE, TRANSFER, child, child_number,
};
use crate::bytes::{array, u8_at, u16_at, u32_at};
use crate::mp4::Writer;
use crate::{Coding, Format};

/// Object types of MPEG-4 (ISO/IEC 14496-1, table 5).
const AAC: u8 = 0x40;
const MPEG4_VISUAL: u8 = 0x20;
const MPEG2_VISUAL: u8 = 0x61;
const MPEG1_VISUAL: u8 = 0x6a;
const MPEG1_SOUND: u8 = 0x6b;

/// The sample entry of a track of the codec `id`, a whole box; empty where there is none. `private` is what the track tells decoders,
/// `picture` the body of its element `Video`.
pub(crate) fn sample_entry(
    id: &str,
    coding: &Coding,
    private: &[u8],
    size: Option<(u32, u32)>,
    picture: &[u8],
) -> Vec<u8> {
    let mut out = Writer::default();
    let video = |out: &mut Writer, name: &[u8; 4], config: &dyn Fn(&mut Writer)| {
        visual(out, name, size.unwrap_or_default(), picture, config);
    };
    let has_record = !coding.record.is_empty();
    let record = coding.record.as_slice();
    match (coding.format, id) {
        (Format::H264, _) if has_record => {
            video(&mut out, b"avc1", &|out| out.boxed(b"avcC", |out| out.bytes(record)));
        }
        (Format::H265, _) if has_record => {
            video(&mut out, b"hvc1", &|out| out.boxed(b"hvcC", |out| out.bytes(record)));
        }
        (Format::Av1, _) if has_record => {
            video(&mut out, b"av01", &|out| out.boxed(b"av1C", |out| out.bytes(record)));
        }
        (Format::Vp8, _) => video(&mut out, b"vp08", &|out| vp(out, &[], size, picture)),
        (Format::Vp9, _) => video(&mut out, b"vp09", &|out| vp(out, private, size, picture)),
        (Format::Mpeg2, "V_MPEG1") => {
            video(&mut out, b"mp4v", &|out| esds(out, MPEG1_VISUAL, 0x11, &[]));
        }
        (Format::Mpeg2, _) => video(&mut out, b"mp4v", &|out| esds(out, MPEG2_VISUAL, 0x11, &[])),
        (Format::Other, _) if id.starts_with("V_MPEG4/ISO/") => {
            video(&mut out, b"mp4v", &|out| esds(out, MPEG4_VISUAL, 0x11, private));
        }
        (Format::Aac, _) if has_record => {
            sound(&mut out, b"mp4a", coding, |out| esds(out, AAC, 0x15, record));
        }
        (Format::MpegAudio, _) => {
            sound(&mut out, b"mp4a", coding, |out| esds(out, MPEG1_SOUND, 0x15, &[]));
        }
        (Format::Opus, _) => {
            if let Some(config) = opus(record) {
                sound(&mut out, b"Opus", coding, |out| out.boxed(b"dOps", |o| o.bytes(&config)));
            }
        }
        (Format::Ac3, _) => {
            if let Some(config) = ac3(coding) {
                sound(&mut out, b"ac-3", coding, |out| out.boxed(b"dac3", |o| o.bytes(&config)));
            }
        }
        (Format::Other, "A_FLAC") => {
            if let Some(info) = flac(private) {
                sound(&mut out, b"fLaC", coding, |out| {
                    out.full(b"dfLa", 0, 0, |out| {
                        // The only block of metadata, and so the last one.
                        out.u32(0x8000_0000 | 34);
                        out.bytes(&info);
                    });
                });
            }
        }
        _ => {}
    }
    out.data
}

fn visual(
    out: &mut Writer,
    name: &[u8; 4],
    (width, height): (u32, u32),
    picture: &[u8],
    config: &dyn Fn(&mut Writer),
) {
    let side = |side| u16::try_from(side).unwrap_or(u16::MAX);
    out.boxed(name, |out| {
        out.zeros(6);
        out.u16(1);
        out.zeros(16);
        out.u16(side(width));
        out.u16(side(height));
        out.u32(0x0048_0000);
        out.u32(0x0048_0000);
        out.u32(0);
        out.u16(1);
        out.zeros(32);
        out.u16(0x0018);
        out.u16(0xffff);
        config(out);
        if let Some((across, down)) = aspect((width, height), picture) {
            out.boxed(b"pasp", |out| {
                out.u32(across);
                out.u32(down);
            });
        }
        if let Some(Colour { primaries, transfer, matrix, full }) = Colour::read(picture) {
            out.boxed(b"colr", |out| {
                out.bytes(b"nclx");
                out.u16(primaries);
                out.u16(transfer);
                out.u16(matrix);
                out.u8(u8::from(full) << 7);
            });
        }
    });
}

fn sound(out: &mut Writer, name: &[u8; 4], coding: &Coding, config: impl FnOnce(&mut Writer)) {
    out.boxed(name, |out| {
        out.zeros(6);
        out.u16(1);
        out.zeros(8);
        out.u16(u16::from(coding.channels.max(1)));
        out.u16(16);
        out.u32(0);
        // The field has no room for more: then the coding's own record tells.
        out.u32(u16::try_from(coding.rate).map_or(0, |rate| u32::from(rate) << 16));
        config(out);
    });
}

/// An elementary stream descriptor (ISO/IEC 14496-1, 7.2.6.5).
fn esds(out: &mut Writer, object: u8, stream: u8, record: &[u8]) {
    let mut specific = Vec::new();
    if !record.is_empty() {
        descriptor(&mut specific, 5, record);
    }
    let mut config = vec![object, stream];
    // Buffer and rates: not told.
    config.resize(13, 0);
    config.extend_from_slice(&specific);
    let mut all = vec![0, 1, 0];
    descriptor(&mut all, 4, &config);
    descriptor(&mut all, 6, &[2]);
    let mut whole = Vec::new();
    descriptor(&mut whole, 3, &all);
    out.full(b"esds", 0, 0, |out| out.bytes(&whole));
}

fn descriptor(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    out.push(tag);
    for shift in [21, 14, 7, 0] {
        let part = u8::try_from(body.len() >> shift & 0x7f).unwrap_or(0);
        out.push(part | if shift > 0 { 0x80 } else { 0 });
    }
    out.extend_from_slice(body);
}

/// Shape of a pixel, where pictures are not shown as they are stored.
fn aspect((width, height): (u32, u32), picture: &[u8]) -> Option<(u32, u32)> {
    let side = |id| child_number(picture, id).and_then(|side| u32::try_from(side).ok());
    let (shown_width, shown_height) = side(DISPLAY_WIDTH).zip(side(DISPLAY_HEIGHT))?;
    let across = u64::from(shown_width) * u64::from(height);
    let down = u64::from(shown_height) * u64::from(width);
    if across == 0 || down == 0 || across == down {
        return None;
    }
    let (mut a, mut b) = (across, down);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    let part = |value: u64| u32::try_from(value / a).ok();
    part(across).zip(part(down))
}

/// What colours mean (ISO/IEC 23091-2).
struct Colour {
    primaries: u16,
    transfer: u16,
    matrix: u16,
    full: bool,
}

impl Colour {
    fn read(picture: &[u8]) -> Option<Self> {
        let colour = child(picture, COLOUR)?;
        let told = |id| child_number(colour, id).and_then(|it| u16::try_from(it).ok());
        let (primaries, transfer, matrix) = (told(PRIMARIES), told(TRANSFER), told(MATRIX));
        if [primaries, transfer, matrix].iter().all(Option::is_none) {
            return None;
        }
        // 2 is: not told.
        let or_none = |value: Option<u16>| value.unwrap_or(2);
        let full = told(RANGE) == Some(2);
        Some(Self {
            primaries: or_none(primaries),
            transfer: or_none(transfer),
            matrix: or_none(matrix),
            full,
        })
    }
}

/// Smallest level of VP9 (its Annex A) that has room for so many pixels, times ten.
fn vp9_level(size: Option<(u32, u32)>) -> u8 {
    const LEVELS: [(u64, u8); 10] = [
        (36_864, 10),
        (73_728, 11),
        (122_880, 20),
        (245_760, 21),
        (552_960, 30),
        (983_040, 31),
        (2_228_224, 40),
        (8_912_896, 50),
        (35_651_584, 60),
        (u64::MAX, 62),
    ];
    let (width, height) = size.unwrap_or_default();
    let pixels = u64::from(width) * u64::from(height);
    LEVELS.iter().find(|(most, _)| pixels <= *most).map_or(62, |(_, level)| *level)
}

/// `vpcC` of VP8 and VP9. `private` may tell features of VP9, each as number, length and value. What it does not tell is taken to be as
/// in nearly all films: 8 bits, colour of half the resolution. A decoder reads it from the frames.
fn vp(out: &mut Writer, private: &[u8], size: Option<(u32, u32)>, picture: &[u8]) {
    let feature = |number: u8| {
        let (features, _) = private.as_chunks::<3>();
        features.iter().find(|it| it[0] == number && it[1] == 1).map(|it| it[2])
    };
    let colour = Colour::read(picture);
    let told = |value: u16| u8::try_from(value).unwrap_or(2);
    out.full(b"vpcC", 1, 0, |out| {
        out.u8(feature(1).unwrap_or(0));
        out.u8(feature(2).unwrap_or_else(|| vp9_level(size)));
        let depth = feature(3).filter(|depth| matches!(depth, 8 | 10 | 12)).unwrap_or(8);
        let halved = feature(4).filter(|halved| *halved < 8).unwrap_or(1);
        let full = colour.as_ref().is_some_and(|colour| colour.full);
        out.u8(depth << 4 | halved << 1 | u8::from(full));
        let colour = colour.map_or([2; 3], |it| [it.primaries, it.transfer, it.matrix]);
        out.bytes(&colour.map(told));
        out.u16(0);
    });
}

/// `dOps` of an `OpusHead` (RFC 7845, 5.1): the same fields, big-endian.
fn opus(head: &[u8]) -> Option<Vec<u8>> {
    let body = head.strip_prefix(b"OpusHead")?;
    let skip = u16_at(body, 2)?.swap_bytes();
    let rate = u32::from_le_bytes(array(body, 4)?);
    let gain = u16_at(body, 8)?.swap_bytes();
    let family = u8_at(body, 10)?;
    let mut out = vec![0, u8_at(body, 1)?];
    out.extend_from_slice(&skip.to_be_bytes());
    out.extend_from_slice(&rate.to_be_bytes());
    out.extend_from_slice(&gain.to_be_bytes());
    out.push(family);
    if family != 0 {
        out.extend_from_slice(body.get(11..)?);
    }
    Some(out)
}

/// The block `STREAMINFO` that FLAC begins with (RFC 9639, 8.2).
fn flac(private: &[u8]) -> Option<[u8; 34]> {
    let first = u32_at(private.strip_prefix(b"fLaC")?, 0)?;
    (first & 0x7fff_ffff == 34).then(|| array(private, 8)).flatten()
}

/// `dac3` (ETSI TS 102 366, F.4). What only the frames tell is taken to be as it is most often; decoders read it from them.
fn ac3(coding: &Coding) -> Option<[u8; 3]> {
    if let Some(told) = array(&coding.record, 0) {
        return Some(told);
    }
    let rate = match coding.rate {
        48_000 => 0u32,
        44_100 => 1,
        32_000 => 2,
        _ => return None,
    };
    // Channels in front and behind, low frequencies, and the code of 192 or 448 kbit/s.
    let (mode, low, bits) = match coding.channels {
        1 => (1, 0, 6),
        2 => (2, 0, 10),
        3 => (3, 0, 10),
        4 => (6, 0, 15),
        5 => (7, 0, 15),
        6 => (7, 1, 15),
        _ => return None,
    };
    let word = rate << 22 | 8 << 17 | mode << 11 | low << 10 | bits << 5;
    let [_, record @ ..] = word.to_be_bytes();
    Some(record)
}
