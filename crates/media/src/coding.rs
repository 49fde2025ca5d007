//! How the frames of a stream are coded, as far as it matters to who passes them on.

/// The coding of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Coding {
    /// Which.
    pub format: Format,
    /// What a decoder must know before the first frame, in the form that the format's file format gives it: the body of `avcC`, `hvcC`
    /// or `av1C`, an `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2), an `OpusHead` (RFC 7845, 5.1), the body of `dac3` where frames told it;
    /// empty where there is none.
    pub record: Vec<u8>,
    /// Sampling rate in Hz, of sound; 0 where that is not told.
    pub rate: u32,
    /// Channels, of sound; 0 where that is not told.
    pub channels: u8,
}

/// Codings that are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// H.264 (ISO/IEC 14496-10), NAL units behind their lengths.
    H264,
    /// H.265 (ISO/IEC 23008-2), NAL units behind their lengths.
    H265,
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// AV1.
    Av1,
    /// MPEG-1 or MPEG-2 pictures (ISO/IEC 13818-2).
    Mpeg2,
    /// AAC without ADTS headers (ISO/IEC 14496-3).
    Aac,
    /// Sound of MPEG-1 or MPEG-2, layers 1 to 3 (ISO/IEC 13818-3).
    MpegAudio,
    /// AC-3 (ETSI TS 102 366).
    Ac3,
    /// Opus (RFC 6716).
    Opus,
    /// Whole packets of an MPEG transport stream (ISO/IEC 13818-1) with all its streams.
    TransportStream,
    /// Text that can be shown over pictures.
    Text(TextForm),
    /// Anything else.
    Other,
}

/// Forms of text that are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextForm {
    /// The text of a cue of SubRip.
    SubRip,
    /// An event of SubStation Alpha, in the order of fields in which Matroska stores it.
    SubStation,
    /// The text of a cue of WebVTT.
    WebVtt,
    /// A line with the name of a cue of WebVTT, one with its settings, and its text: as in WebM.
    WebVttLines,
    /// Boxes with cues of WebVTT (ISO/IEC 14496-30).
    WebVttBoxes,
    /// Text behind its length (3GPP TS 26.245, 5.17).
    Timed,
}

impl Format {
    /// Whether it is text that can be shown over pictures.
    #[must_use]
    pub fn is_text(self) -> bool {
        matches!(self, Self::Text(_))
    }
}

impl Coding {
    /// Nothing is known of it.
    #[must_use]
    pub fn other() -> Self {
        Self { format: Format::Other, record: Vec::new(), rate: 0, channels: 0 }
    }
}

/// Sampling rates by their index in an `AudioSpecificConfig` (ISO/IEC 14496-3, table 1.18).
const RATES: [u32; 13] =
    [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350];

/// The index of a sampling rate in an `AudioSpecificConfig`.
pub(crate) fn rate_index(rate: u32) -> Option<usize> {
    RATES.iter().position(|known| *known == rate)
}

/// The sampling rate with that index.
pub(crate) fn rate_of_index(index: usize) -> Option<u32> {
    RATES.get(index).copied()
}

/// An `AudioSpecificConfig` of that kind of AAC, with the index of its sampling rate and of its channels.
pub(crate) fn audio_config(object: u16, rate: u16, channels: u16) -> [u8; 2] {
    (object << 11 | rate << 7 | channels << 3).to_be_bytes()
}

/// What an `AudioSpecificConfig` says of sampling rate and channels: those of the coded frames, which a decoder may double.
#[must_use]
pub(crate) fn of_audio_config(config: &[u8]) -> Option<(u32, u8)> {
    let mut bits = Bits::new(config);
    if bits.take(5)? == 31 {
        bits.take(6)?;
    }
    let rate = match bits.take(4)? {
        15 => bits.take(24)?,
        index => rate_of_index(usize::try_from(index).ok()?)?,
    };
    let channels = match bits.take(4)? {
        7 => 8,
        channels @ 1..=6 => channels,
        // Described elsewhere, by an element of the stream.
        _ => 0,
    };
    Some((rate, u8::try_from(channels).unwrap_or(0)))
}

/// Bits of foreign bytes, the uppermost first.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Of these bytes.
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }
    /// A number that tells its own length (ISO/IEC 14496-10, 9.1).
    pub(crate) fn number(&mut self) -> Option<u32> {
        let mut length = 0;
        while self.take(1)? == 0 {
            length += 1;
        }
        let rest = (length < 32).then(|| self.take(length))??;
        (1u32 << length).checked_add(rest)?.checked_sub(1)
    }
    /// The next `count` of them; of more than 32 the last ones.
    pub(crate) fn take(&mut self, count: usize) -> Option<u32> {
        let mut value = 0;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | u32::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::of_audio_config;

    #[test]
    fn rate_and_channels_of_audio_configurations() {
        assert_eq!(of_audio_config(&[0x11, 0x90]), Some((48000, 2)));
        assert_eq!(of_audio_config(&[0x12, 0x08]), Some((44100, 1)));
        // An explicit rate of 12,345 Hz, and six channels.
        let mut explicit = 2u64 << 59 | 15 << 55 | 12_345 << 31 | 6 << 27;
        assert_eq!(of_audio_config(&explicit.to_be_bytes()), Some((12_345, 6)));
        explicit = 0;
        assert_eq!(of_audio_config(&explicit.to_be_bytes()[..1]), None);
    }
}
