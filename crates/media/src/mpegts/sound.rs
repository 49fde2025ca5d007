//! Frames of sound, each behind a head that tells its length: AAC in ADTS (ISO/IEC 14496-3, 1.A.2.2), sound of MPEG-1 and MPEG-2
//! (ISO/IEC 11172-3, 2.4.1.3), AC-3 (ETSI TS 102 366, 4.3 and 4.4).

use super::codec::Codec;
use crate::bytes::{array, u8_at, u16_at};
use crate::coding::{audio_config, rate_of_index};
use crate::{Coding, Format};

/// What the head of a frame says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// Bytes of the head that MP4 leaves out.
    pub(crate) left_out: usize,
    /// Bytes of the frame with its head: more than that of the head.
    pub(crate) length: usize,
    /// Samples of each channel, and how many of them are heard in a second: neither is 0.
    pub(crate) samples: u32,
    pub(crate) rate: u32,
    channels: u8,
    /// What decoders must know, and how many bytes of it there are.
    record: ([u8; 3], usize),
}

impl Head {
    /// Bytes from which any head can be read.
    pub(crate) const BYTES: usize = 8;

    /// The head that `data` begins with, of a frame of that codec.
    pub(crate) fn read(codec: Codec, data: &[u8]) -> Option<Self> {
        match codec {
            Codec::Adts => adts(data),
            Codec::MpegAudio => mpeg(data),
            Codec::Ac3 => ac3(data),
            _ => None,
        }
    }
}

/// How sound is coded whose frames begin like this.
pub(super) fn coding(codec: Codec, frames: &[u8]) -> Option<Coding> {
    let head = Head::read(codec, frames)?;
    let format = match codec {
        Codec::Adts => Format::Aac,
        Codec::MpegAudio => Format::MpegAudio,
        _ => Format::Ac3,
    };
    let record = head.record.0.get(..head.record.1).unwrap_or(&[]).to_vec();
    Some(Coding { format, record, rate: head.rate, channels: head.channels })
}

fn adts(data: &[u8]) -> Option<Head> {
    let bytes = array::<7>(data, 0)?;
    let word = bytes.iter().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    let field = |shift: u32, bits: u32| (word >> shift) & ((1 << bits) - 1);
    // Twelve ones, and a layer of 0.
    if field(44, 12) != 0xfff || field(41, 2) != 0 {
        return None;
    }
    let left_out = if field(40, 1) == 1 { 7 } else { 9 };
    let length = usize::try_from(field(13, 13)).ok().filter(|length| *length > left_out)?;
    let index = u16::try_from(field(34, 4)).ok()?;
    let channels = u16::try_from(field(30, 3)).ok()?;
    let object = u16::try_from(field(38, 2)).ok()? + 1;
    let [first, second] = audio_config(object, index, channels);
    Some(Head {
        left_out,
        length,
        samples: 1024 * (u32::try_from(field(0, 2)).ok()? + 1),
        rate: rate_of_index(index.into())?,
        channels: if channels == 7 { 8 } else { u8::try_from(channels).ok()? },
        record: ([first, second, 0], 2),
    })
}

/// Thousands of bits in a second: of MPEG-1, layers 1 to 3, then of MPEG-2, layer 1 and the others.
const MPEG_RATES: [[u32; 14]; 5] = [
    [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
    [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
    [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
    [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];

fn mpeg(data: &[u8]) -> Option<Head> {
    let [first, second, third, fourth] = array::<4>(data, 0)?;
    if first != 0xff || second & 0xe0 != 0xe0 {
        return None;
    }
    // MPEG-1 is 3, MPEG-2 is 2, and its extension to low rates 0.
    let (version, layer) = (second >> 3 & 3, 4 - (second >> 1 & 3));
    let halved = match version {
        3 => 0,
        2 => 1,
        0 => 2,
        _ => return None,
    };
    let row = match (version, layer) {
        (_, 4) => return None,
        (3, layer) => usize::from(layer) - 1,
        (_, 1) => 3,
        _ => 4,
    };
    let bits = MPEG_RATES[row].get(usize::from(third >> 4).checked_sub(1)?)? * 1000;
    let rate = [44_100u32, 48_000, 32_000].get(usize::from(third >> 2 & 3))? >> halved;
    let padding = u32::from(third >> 1 & 1);
    let (samples, length) = match (layer, version) {
        (1, _) => (384, (12 * bits / rate + padding) * 4),
        (3, 0 | 2) => (576, 72 * bits / rate + padding),
        _ => (1152, 144 * bits / rate + padding),
    };
    Some(Head {
        left_out: 0,
        length: usize::try_from(length).ok().filter(|length| *length > 4)?,
        samples,
        rate,
        channels: if fourth >> 6 == 3 { 1 } else { 2 },
        record: ([0; 3], 0),
    })
}

/// Thousands of bits in a second.
const AC3_RATES: [u32; 19] =
    [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640];

fn ac3(data: &[u8]) -> Option<Head> {
    if u16_at(data, 0)? != 0x0b77 {
        return None;
    }
    let (rates, kinds, modes) = (u8_at(data, 4)?, u8_at(data, 5)?, u16_at(data, 6)?);
    let code = rates & 0x3f;
    let bits = *AC3_RATES.get(usize::from(code >> 1))?;
    let (rate, words) = match rates >> 6 {
        0 => (48_000, bits * 2),
        1 => (44_100, bits * 320 / 147 + u32::from(code & 1)),
        2 => (32_000, bits * 3),
        _ => return None,
    };
    // Those above are of half the rate, or E-AC-3.
    let kind = kinds >> 3;
    if kind > 8 {
        return None;
    }
    let mode = modes >> 13;
    // How loud some channels are mixed in stands before the mark of low frequencies.
    let mut at = 12;
    for has_level in [mode & 1 == 1 && mode != 1, mode & 4 != 0, mode == 2] {
        at -= if has_level { 2 } else { 0 };
    }
    let low = u8::try_from(modes >> at & 1).unwrap_or(0);
    let channels = [2, 1, 2, 3, 3, 4, 4, 5][usize::from(mode)] + low;
    // `dac3` (F.4).
    let record = u32::from(rates >> 6) << 22
        | u32::from(kinds) << 14
        | u32::from(mode) << 11
        | u32::from(low) << 10
        | u32::from(code >> 1) << 5;
    let [_, first, second, third] = record.to_be_bytes();
    Some(Head {
        left_out: 0,
        length: usize::try_from(words * 2).ok()?,
        samples: 1536,
        rate,
        channels,
        record: ([first, second, third], 3),
    })
}

#[cfg(test)]
mod tests {
    use super::{Codec, Head, coding};

    #[test]
    fn heads_tell_lengths_and_times() {
        // ADTS of 48 kHz, two channels, 337 bytes; then with a checksum, and with a reserved rate.
        let head = [0xff, 0xf1, 0x4c, 0x80, 0x2a, 0x3f, 0xfc, 0];
        let found = Head::read(Codec::Adts, &head).unwrap();
        assert_eq!((found.left_out, found.length, found.samples), (7, 337, 1024));
        assert_eq!(coding(Codec::Adts, &head).unwrap().record, [0x11, 0x90]);
        assert_eq!(
            Head::read(Codec::Adts, &[0xff, 0xf0, 0x4c, 0x80, 0x2a, 0x3f, 0xfc]).unwrap().left_out,
            9
        );
        assert_eq!(Head::read(Codec::Adts, &[0xff, 0xf1, 0x7c, 0x80, 0x2a, 0x3f, 0xfc]), None);
        // Layer 2 of 192 kbit/s and 48 kHz; layer 3 of 128 kbit/s and 44.1 kHz with padding; MPEG-2, layer 3, 64 kbit/s, 22.05 kHz, one channel.
        for (head, length, samples, rate, channels) in [
            ([0xff, 0xfd, 0xa4, 0x04], 576, 1152, 48_000, 2),
            ([0xff, 0xfb, 0x92, 0x40], 418, 1152, 44_100, 2),
            ([0xff, 0xf3, 0x80, 0xc0], 208, 576, 22_050, 1),
        ] {
            let found = Head::read(Codec::MpegAudio, &head).unwrap();
            assert_eq!((found.length, found.samples, found.rate), (length, samples, rate));
            assert_eq!(found.channels, channels);
        }
        assert_eq!(Head::read(Codec::MpegAudio, &[0xff, 0xfd, 0x04, 0x04]), None, "of a free rate");
    }

    #[test]
    fn ac3_makes_its_box() {
        // 48 kHz, 448 kbit/s, 3/2 with low frequencies.
        let head = [0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0];
        let found = coding(Codec::Ac3, &head).unwrap();
        assert_eq!((found.rate, found.channels), (48_000, 6));
        assert_eq!(found.record, [0x10, 0x3d, 0xe0]);
        assert_eq!(Head::read(Codec::Ac3, &head).unwrap().length, 1792);
        // 44.1 kHz, 192 kbit/s, stereo, the longer kind.
        let found = Head::read(Codec::Ac3, &[0x0b, 0x77, 0, 0, 0x55, 0x40, 0x40, 0]).unwrap();
        assert_eq!((found.length, found.channels), (836, 2));
    }
}
