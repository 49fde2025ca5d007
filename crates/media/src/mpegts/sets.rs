//! Parameter sets in front of pictures of H.264 and H.265, and the records that MP4 has of them (ISO/IEC 14496-15, 5.3.3 and 8.3.3).

use super::codec::parts;
use crate::bytes::{array, u8_at};
use crate::coding::Bits;

/// Kinds of parameter sets.
const AVC_SPS: u8 = 7;
const AVC_PPS: u8 = 8;
pub(crate) const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
/// Sets of one kind that a record has.
const SETS_MAX: usize = 31;

/// What the parameter sets of a stream tell.
#[derive(Debug)]
pub(super) struct Sets {
    /// As in RFC 6381.
    pub(super) name: String,
    pub(super) size: Option<(u32, u32)>,
    /// `avcC` or `hvcC`; empty where a set that it needs is not there.
    pub(super) record: Vec<u8>,
}

/// What one of them says of pictures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    size: Option<(u32, u32)>,
    /// How colour is sampled, and the bits of brightness and colour beyond eight.
    chroma: u8,
    depths: [u8; 2],
}

impl Shape {
    /// Of nearly all films.
    const USUAL: Self = Self { size: None, chroma: 1, depths: [0; 2] };
}

/// The kind of a unit of H.265.
pub(super) fn hevc_kind(nal: &[u8]) -> Option<u8> {
    u8_at(nal, 0).map(|first| first >> 1 & 0x3f)
}

/// The sets of some kinds in a unit or the beginning of one, each kind for itself. The last thing in it may be cut off.
fn found<const N: usize>(
    frames: &[u8],
    kinds: [u8; N],
    kind: impl Fn(&[u8]) -> Option<u8>,
) -> [Vec<&[u8]>; N] {
    let mut units: Vec<&[u8]> = parts(frames).map(trimmed).collect();
    units.pop();
    kinds.map(|wanted| {
        let sets = units.iter().copied().filter(|nal| kind(nal) == Some(wanted));
        sets.filter(|set| u16::try_from(set.len()).is_ok()).take(SETS_MAX).collect()
    })
}

/// A NAL unit without the zeros behind it.
pub(crate) fn trimmed(nal: &[u8]) -> &[u8] {
    let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    nal.get(..end).unwrap_or(nal)
}

/// Sets behind their lengths.
fn put(record: &mut Vec<u8>, sets: &[&[u8]]) {
    for set in sets {
        let length = u16::try_from(set.len()).unwrap_or(0);
        record.extend_from_slice(&length.to_be_bytes());
        record.extend_from_slice(set);
    }
}

impl Sets {
    /// Of H.264.
    pub(super) fn avc(frames: &[u8]) -> Option<Self> {
        let kind = |nal: &[u8]| u8_at(nal, 0).map(|first| first & 0x1f);
        let [spss, ppss] = found(frames, [AVC_SPS, AVC_PPS], kind);
        let set = unescaped(spss.first()?);
        let [profile, compatible, level] = array::<3>(&set, 1)?;
        let shape = avc_shape(profile, set.get(4..)?).unwrap_or(Shape::USUAL);
        let name = format!("avc1.{profile:02x}{compatible:02x}{level:02x}");
        let count = |sets: &[&[u8]]| u8::try_from(sets.len()).unwrap_or(0);
        let mut record = Vec::new();
        if !ppss.is_empty() {
            record.extend([1, profile, compatible, level, 0xff, 0xe0 | count(&spss)]);
            put(&mut record, &spss);
            record.push(count(&ppss));
            put(&mut record, &ppss);
            if has_shape(profile) {
                let [luma, colour] = shape.depths;
                record.extend([0xfc | shape.chroma, 0xf8 | luma, 0xf8 | colour, 0]);
            }
        }
        Some(Self { name, size: shape.size, record })
    }
    /// Of H.265.
    pub(super) fn hevc(frames: &[u8]) -> Option<Self> {
        let sets = found(frames, [VPS, SPS, PPS], hevc_kind);
        let first = unescaped(sets[1].first()?);
        let set = first.get(2..)?;
        // Profile, tier and level stand behind its first byte as they do in a record of MP4.
        let name = crate::mp4::hevc_name("hvc1", set)?;
        let shape = hevc_shape(set).unwrap_or(Shape::USUAL);
        let mut record = Vec::new();
        if sets.iter().all(|sets| !sets.is_empty()) {
            let [luma, colour] = shape.depths;
            let layers = u8_at(set, 0)?;
            record.push(1);
            record.extend(set.get(1..13)?);
            record.extend([0xf0, 0, 0xfc, 0xfc | shape.chroma, 0xf8 | luma, 0xf8 | colour, 0, 0]);
            // Layers in time, whether they are nested, lengths of four bytes; then as many kinds of sets, each whole.
            record.extend([((layers >> 1 & 7) + 1) << 3 | (layers & 1) << 2 | 3, 3]);
            for (kind, sets) in [VPS, SPS, PPS].into_iter().zip(&sets) {
                record.extend([0x80 | kind, 0, u8::try_from(sets.len()).unwrap_or(0)]);
                put(&mut record, sets);
            }
        }
        Some(Self { name, size: shape.size, record })
    }
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

/// Whether sets of a profile of H.264 tell how colour is sampled.
fn has_shape(profile: u8) -> bool {
    [100, 110, 122, 244, 44, 83, 86, 118, 128, 138].contains(&profile)
}

/// What a sequence parameter set says behind its level (ISO/IEC 14496-10, 7.3.2.1.1).
fn avc_shape(profile: u8, rest: &[u8]) -> Option<Shape> {
    let mut bits = Bits::new(rest);
    bits.number()?;
    let (mut chroma, mut depths) = (1, [0; 2]);
    if has_shape(profile) {
        chroma = bits.number()?;
        if chroma == 3 {
            bits.take(1)?;
        }
        depths = [small(bits.number()?)?, small(bits.number()?)?];
        bits.take(1)?;
        if bits.take(1)? == 1 {
            for list in 0..if chroma == 3 { 12 } else { 8 } {
                if bits.take(1)? == 1 {
                    pass_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                }
            }
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
    let (across, down) = units(chroma);
    let size = cropped(&mut bits, (width, height), (across, down * fields));
    Some(Shape { size, chroma: u8::try_from(chroma).ok().filter(|it| *it < 4)?, depths })
}

/// Passes over the weights of frequencies (7.3.2.1.1.1).
fn pass_scaling_list(bits: &mut Bits<'_>, count: usize) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..count {
        if next != 0 {
            let code = i64::from(bits.number()?);
            let step = if code % 2 == 1 { (code + 1) / 2 } else { -(code / 2) };
            next = (last + step).rem_euclid(256);
        }
        last = if next == 0 { last } else { next };
    }
    Some(())
}

/// What a sequence parameter set says behind its head (ISO/IEC 23008-2, 7.3.2.2.1).
fn hevc_shape(set: &[u8]) -> Option<Shape> {
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
    let size = cropped(&mut bits, size, units(chroma))?;
    let depths = [small(bits.number()?)?, small(bits.number()?)?];
    let chroma = u8::try_from(chroma).ok().filter(|it| *it < 4)?;
    Some(Shape { size: Some(size), chroma, depths })
}

/// A depth beyond eight bits.
fn small(depth: u32) -> Option<u8> {
    u8::try_from(depth).ok().filter(|depth| *depth < 8)
}

/// Pixels across and down for one of colour.
fn units(chroma: u32) -> (u32, u32) {
    (if matches!(chroma, 1 | 2) { 2 } else { 1 }, if chroma == 1 { 2 } else { 1 })
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

#[cfg(test)]
mod tests {
    use super::{Sets, unescaped};

    #[test]
    fn parameter_sets_name_the_codec_and_the_size_and_make_a_record() {
        let set = [
            0x67, 0x64, 0, 0x0a, 0xac, 0xd9, 0x46, 0x26, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0,
            0x50, 0x3c, 0x48, 0x96, 0x58,
        ];
        let unit = |parts: &[&[u8]]| -> Vec<u8> {
            parts.iter().flat_map(|part| [&[0, 0, 0, 1][..], part].concat()).collect()
        };
        let found = Sets::avc(&unit(&[&[9, 0xf0], &set, &[0x68, 1, 2], &[0x65]])).unwrap();
        assert_eq!((found.name.as_str(), found.size), ("avc1.64000a", Some((96, 64))));
        let mut record = vec![1, 0x64, 0, 0x0a, 0xff, 0xe1, 0, 24];
        record.extend(set);
        record.extend([1, 0, 3, 0x68, 1, 2, 0xfd, 0xf8, 0xf8, 0]);
        assert_eq!(found.record, record);
        let alone = Sets::avc(&unit(&[&set, &[0x65]])).unwrap();
        assert!(alone.record.is_empty() && alone.size == Some((96, 64)));
        assert!(Sets::avc(&unit(&[&set])).is_none(), "it may be cut off");
        let cut = Sets::avc(&unit(&[&set[..5], &[0x65]])).unwrap();
        assert_eq!((cut.name.as_str(), cut.size), ("avc1.64000a", None));
        assert!(Sets::avc(&unit(&[&set[..3], &[0x65]])).is_none());
    }

    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(unescaped(&[1, 0, 0, 3, 0, 0, 3, 1, 3]), [1, 0, 0, 0, 0, 1, 3]);
    }
}
