//! EBML (RFC 8794): elements with a name, a length and a body, and the names that matter to us (RFC 9559).

pub(crate) const EBML: u32 = 0x1A45_DFA3;
pub(crate) const SEGMENT: u32 = 0x1853_8067;
pub(crate) const SEEK_HEAD: u32 = 0x114D_9B74;
pub(crate) const SEEK: u32 = 0x4DBB;
pub(crate) const SEEK_ID: u32 = 0x53AB;
pub(crate) const SEEK_POSITION: u32 = 0x53AC;
pub(crate) const INFO: u32 = 0x1549_A966;
pub(crate) const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
pub(crate) const DURATION: u32 = 0x4489;
pub(crate) const TRACKS: u32 = 0x1654_AE6B;
pub(crate) const TRACK_ENTRY: u32 = 0xAE;
pub(crate) const TRACK_NUMBER: u32 = 0xD7;
pub(crate) const TRACK_TYPE: u32 = 0x83;
pub(crate) const DEFAULT_DURATION: u32 = 0x23_E383;
pub(crate) const CODEC_ID: u32 = 0x86;
pub(crate) const CODEC_PRIVATE: u32 = 0x63A2;
pub(crate) const CODEC_DELAY: u32 = 0x56AA;
pub(crate) const LANGUAGE: u32 = 0x22_B59C;
pub(crate) const LANGUAGE_BCP47: u32 = 0x22_B59D;
pub(crate) const NAME: u32 = 0x536E;
pub(crate) const FLAG_DEFAULT: u32 = 0x88;
pub(crate) const FLAG_FORCED: u32 = 0x55AA;
pub(crate) const VIDEO: u32 = 0xE0;
pub(crate) const PIXEL_WIDTH: u32 = 0xB0;
pub(crate) const PIXEL_HEIGHT: u32 = 0xBA;
pub(crate) const DISPLAY_WIDTH: u32 = 0x54B0;
pub(crate) const DISPLAY_HEIGHT: u32 = 0x54BA;
pub(crate) const COLOUR: u32 = 0x55B0;
pub(crate) const MATRIX: u32 = 0x55B1;
pub(crate) const RANGE: u32 = 0x55B9;
pub(crate) const TRANSFER: u32 = 0x55BA;
pub(crate) const PRIMARIES: u32 = 0x55BB;
pub(crate) const AUDIO: u32 = 0xE1;
pub(crate) const SAMPLING_FREQUENCY: u32 = 0xB5;
pub(crate) const CHANNELS: u32 = 0x9F;
pub(crate) const CONTENT_ENCODINGS: u32 = 0x6D80;
pub(crate) const CONTENT_ENCODING: u32 = 0x6240;
pub(crate) const CONTENT_ENCODING_SCOPE: u32 = 0x5032;
pub(crate) const CONTENT_ENCODING_TYPE: u32 = 0x5033;
pub(crate) const CONTENT_COMPRESSION: u32 = 0x5034;
pub(crate) const CONTENT_COMP_ALGO: u32 = 0x4254;
pub(crate) const CONTENT_COMP_SETTINGS: u32 = 0x4255;
pub(crate) const CUES: u32 = 0x1C53_BB6B;
pub(crate) const CUE_POINT: u32 = 0xBB;
pub(crate) const CUE_TIME: u32 = 0xB3;
pub(crate) const CUE_TRACK_POSITIONS: u32 = 0xB7;
pub(crate) const CUE_TRACK: u32 = 0xF7;
pub(crate) const CUE_CLUSTER_POSITION: u32 = 0xF1;
pub(crate) const CUE_RELATIVE_POSITION: u32 = 0xF0;
pub(crate) const CUE_DURATION: u32 = 0xB2;
pub(crate) const CLUSTER: u32 = 0x1F43_B675;
pub(crate) const TIMESTAMP: u32 = 0xE7;
pub(crate) const SIMPLE_BLOCK: u32 = 0xA3;
pub(crate) const BLOCK_GROUP: u32 = 0xA0;
pub(crate) const BLOCK: u32 = 0xA1;
pub(crate) const BLOCK_DURATION: u32 = 0x9B;
pub(crate) const REFERENCE_BLOCK: u32 = 0xFB;

/// Longest element header: four bytes of name, eight of length.
pub(crate) const HEADER_MAX: usize = 12;

/// The head of an element: name, bytes of the head, bytes of the body (`None` when not told).
pub(crate) fn header(data: &[u8]) -> Option<(u32, u64, Option<u64>)> {
    let id_len = data.first()?.leading_zeros() as usize + 1;
    let id = number(data.get(..id_len)?).filter(|_| id_len <= 4)?;
    let rest = data.get(id_len..)?;
    let (size, size_len) = vint(rest)?;
    let unknown = (1u64 << (7 * size_len)) - 1;
    let size = (size != unknown).then_some(size);
    Some((u32::try_from(id).ok()?, (id_len + size_len) as u64, size))
}

/// Whether elements of this name stand outermost in a segment, or outside of it: their names have four bytes.
pub(crate) fn is_outermost(id: u32) -> bool {
    id > 0x00ff_ffff
}

/// A number that tells its own length, without the mark of that, and its length in bytes.
pub(crate) fn vint(data: &[u8]) -> Option<(u64, usize)> {
    let length = data.first()?.leading_zeros() as usize + 1;
    let raw = number(data.get(..length)?).filter(|_| length <= 8)?;
    Some((raw & ((1u64 << (7 * length)) - 1), length))
}

/// A big-endian number of up to eight bytes.
pub(crate) fn number(data: &[u8]) -> Option<u64> {
    (data.len() <= 8).then(|| data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// A float of four or eight bytes.
pub(crate) fn float(data: &[u8]) -> Option<f64> {
    match data.len() {
        4 => data.try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        8 => data.try_into().ok().map(f64::from_be_bytes),
        _ => None,
    }
}

/// The elements inside `data`; ends at the first that does not fit.
pub(crate) fn children(data: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let mut rest = data;
    core::iter::from_fn(move || {
        let (id, head, size) = header(rest)?;
        let body = rest.get(usize::try_from(head).ok()?..)?;
        let size = usize::try_from(size?).ok()?;
        let (body, after) = body.split_at_checked(size)?;
        rest = after;
        Some((id, body))
    })
}

/// The body of the first element called `id` inside `data`.
pub(crate) fn child(data: &[u8], id: u32) -> Option<&[u8]> {
    children(data).find(|(found, _)| *found == id).map(|(_, body)| body)
}

/// The number in the first element called `id` inside `data`.
pub(crate) fn child_number(data: &[u8], id: u32) -> Option<u64> {
    child(data, id).and_then(number)
}
