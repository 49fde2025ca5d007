//! Sound: AAC (RFC 3640), MPEG layers 1 to 3 (RFC 2250, 3.5), AC-3 (RFC 4184).

use core::fmt::Write as _;

use super::{Payload, pieces};

/// Largest frame whose length fits the 13 bits of its header, bytes.
const AAC_FRAME_MAX: usize = 0x1fff;

/// RFC 3640, 3.3.6: high bit rate, headers of 13 bits for the length and 3 for the place.
pub(super) fn aac_parameters(record: &[u8]) -> String {
    let mut text = String::from(
        "streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=",
    );
    for byte in record {
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// One frame in a packet, behind the length of its header in bits and that header; a long one in several, each with the length of
/// the whole.
pub(super) fn aac(data: &[u8], most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    let Some(length) = u16::try_from(data.len()).ok().filter(|_| data.len() <= AAC_FRAME_MAX)
    else {
        return;
    };
    let [high, low] = (length << 3).to_be_bytes();
    for (body, _, marker) in pieces(data, most - 4) {
        packet(Payload { head: &[0, 16, high, low], body, marker });
    }
}

/// Behind two empty bytes and where in the frame the part lies.
pub(super) fn mpeg(data: &[u8], most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    let mut at = 0u16;
    for (body, ..) in pieces(data, most - 4) {
        let [high, low] = at.to_be_bytes();
        packet(Payload { head: &[0, 0, high, low], body, marker: false });
        at = at.saturating_add(u16::try_from(body.len()).unwrap_or(u16::MAX));
    }
}

/// Behind what kind of part it is (0: whole frames; 1 and 2: the first of several, with and without the first five eighths of the frame;
/// 3: another) and how many frames or parts there are.
pub(super) fn ac3(data: &[u8], most: usize, packet: &mut impl FnMut(Payload<'_>)) {
    let most = most - 2;
    let count = u8::try_from(data.len().div_ceil(most)).unwrap_or(u8::MAX);
    for (body, starts, marker) in pieces(data, most) {
        let kind = match (count, starts) {
            (1, _) => 0,
            (_, true) if most >= data.len() * 5 / 8 => 1,
            (_, true) => 2,
            (_, false) => 3,
        };
        packet(Payload { head: &[kind, count], body, marker });
    }
}
