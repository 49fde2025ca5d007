//! Formats of the content: a media file's head and index become a time index and a list of tracks.
//!
//! **Does**: finds out what a film is (container, tracks, codecs, duration) and where each second of it lies, by asking
//! for byte ranges: [`Prober`]. MP4 with the index at either end and in fragments (`sidx`, `mfra`, or a walk over the
//! fragments), Matroska and WebM by their cues, MPEG transport streams by their clocks; those without an index read through if told to.
//! It takes films apart into frames ([`demux`]) and cuts them into segments ([`Presentation`]); of the frames it makes fragmented MP4
//! ([`cmaf`]) with HLS playlists ([`hls`]) and DASH manifests ([`dash`]), transport streams ([`mpegts::mux`]), and RTP payloads ([`rtp`]); of the
//! text tracks inside them and the subtitles beside them WebVTT ([`text`], [`subtitles`]).
//! **Refuses**: sockets, files, time; decoding; reading a file through unless told to. A container it does not know is no error: such a
//! film plays without a time index.
//! **Start** at [`Prober`].
//!
//! Sources: ISO/IEC 14496-12 (box names are its own), RFC 6381 (codec strings), RFC 9559 (Matroska), RFC 8794 (EBML),
//! ISO/IEC 13818-1 (transport streams).
//! Every byte may be hostile: all loops are bounded by the bytes read or by a limit of [`limits`], nothing recurses, and
//! arithmetic saturates or is checked.
#![forbid(unsafe_code)]

mod bytes;
pub mod cmaf;
mod coding;
pub mod dash;
pub mod demux;
pub mod hls;
pub mod language;
pub mod manifest;
mod matroska;
mod mp4;
pub mod mpegts;
mod nal;
pub mod presentation;
mod probe;
pub mod rtp;
pub mod subtitles;
pub mod text;

use core::fmt;
use core::ops::Range;

pub use coding::{Coding, Format, TextForm};
pub use presentation::Presentation;
pub use probe::{ProbeError, Prober};
use shoal_wire::time_index::TimeIndex;

/// Limits on what a media file may make us do.
pub mod limits {
    /// Longest index (`moov`, `Cues`) that is read, bytes. Ten hours of a usual film take about 26 MB.
    pub const INDEX_BYTES_MAX: u64 = 64 << 20;
    /// Longest `moof`, `sidx` or `mfra` that is read, bytes.
    pub const FRAGMENT_BYTES_MAX: u64 = 8 << 20;
    /// Samples that are taken of one `moof`.
    pub const FRAGMENT_SAMPLES_MAX: usize = 1 << 20;
    /// Boxes of the outermost level that are visited: two per fragment.
    pub const BOXES_MAX: u32 = 400_000;
    /// Elements that are looked at where a Matroska has no index: the blocks of three days of film and sound.
    pub const BLOCKS_MAX: u32 = 32 << 20;
    /// Longest block of a Matroska that is taken apart, bytes.
    pub const BLOCK_BYTES_MAX: u64 = 32 << 20;
    /// Longest unit of a transport stream that is taken apart, bytes.
    pub const UNIT_BYTES_MAX: usize = 16 << 20;
    /// Longest segment of a transport stream that is taken apart, bytes of frames.
    pub const UNITS_BYTES_MAX: usize = 64 << 20;
    /// Sound may stand so many bytes behind the key frame of a segment and yet belong to the one before. A second of a film of 16 Mbit/s.
    pub const LATE_SOUND_BYTES_MAX: u64 = 2 << 20;
    /// So many bytes behind the last place at which it may begin it may end.
    pub const LATE_SOUND_TAIL_BYTES: u64 = 256 << 10;
    /// Tracks that are looked at.
    pub const TRACKS_MAX: usize = 64;
    /// Longest frame of an MP4 that is taken, bytes.
    pub const FRAME_BYTES_MAX: u64 = 64 << 20;
    /// Text tracks of a presentation.
    pub const TEXTS_MAX: usize = 32;
    /// Frames of text in one segment, bytes: a film has some hundred.
    pub const TEXT_BYTES_MAX: u64 = 1 << 20;
    /// A segment of text that is made of them, bytes: what overlaps is in it several times. Beyond this it shows nothing.
    pub const TEXT_MADE_MAX: usize = 4 << 20;
    /// Cues that are taken of one segment.
    pub const CUES_MAX: usize = 2048;
    /// Cues that are shown together.
    pub const CUES_TOGETHER_MAX: usize = 16;
    /// Longest cue, bytes.
    pub const CUE_BYTES_MAX: usize = 8 << 10;
    /// Longest name of a track that is kept, bytes.
    pub const NAME_BYTES_MAX: usize = 120;
    /// Frames of all streams of a presentation: ten hours with 60 pictures a second and sound in three languages. They take 200 MB.
    pub const SAMPLES_MAX: usize = 8 << 20;
    /// Points of a time index.
    pub const KEYS_MAX: usize = 262_144;
    /// Points of a time index are at least this far apart, ms: finer ones lie in the same piece.
    pub const KEY_GAP_MS: u64 = 500;
    /// Longest film, ms: three days, so that a point each second fits [`KEYS_MAX`]. Longer claims are clamped.
    pub const DURATION_MS_MAX: u64 = 3 * 24 * 3600 * 1000;
    /// A track's bytes further than this before the picture's are not counted as needed at a key: the file is not
    /// interleaved, and its head would seem to be needed all the time.
    pub const INTERLEAVE_BYTES_MAX: u64 = 8 << 20;
}

/// What a media file turned out to be.
#[derive(Clone, PartialEq, Debug)]
pub struct Film {
    /// Its container.
    pub container: Container,
    /// Length of the film in milliseconds, when the container tells.
    pub duration_ms: Option<u64>,
    /// Its tracks, in the container's order.
    pub tracks: Vec<Track>,
    /// Time to byte: exact where the container has an index, of constant rate where only the duration is known, absent
    /// where not even that is.
    pub index: Option<TimeIndex>,
    /// Its streams and where its frames are found: where that was asked for ([`Prober::of_frames`]) and the container tells.
    pub presentation: Option<Presentation>,
}

impl Film {
    /// Nothing is known of it but its container.
    pub(crate) fn unknown(container: Container) -> Self {
        Self { container, duration_ms: None, tracks: Vec::new(), index: None, presentation: None }
    }
}

/// Containers that are told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Container {
    /// ISO base media file with sample tables.
    Mp4,
    /// ISO base media file in fragments.
    FragmentedMp4,
    /// Matroska or WebM.
    Matroska,
    /// MPEG transport stream.
    MpegTs,
    /// Anything else.
    Unknown,
}

/// One track of a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Track {
    /// Number in the container.
    pub id: u32,
    /// What it carries.
    pub kind: TrackKind,
    /// Codec as in RFC 6381 (`avc1.64001f`, `mp4a.40.2`), also in Matroska; the bare four characters, or the name that Matroska gives it,
    /// where no more is known; empty when it has no name that can be printed.
    pub codec: String,
    /// Length in milliseconds, 0 when unknown.
    pub duration_ms: u64,
    /// Width and height in pixels, for pictures.
    pub size: Option<(u32, u32)>,
    /// A language tag (BCP 47), when told.
    pub language: Option<String>,
    /// What people call it, when told: one line that is not empty.
    pub name: Option<String>,
    /// Whether the film says that it, and not others of its kind, is to be chosen where nobody chooses.
    pub is_default: bool,
    /// Whether its text belongs to the pictures, and is to be shown also where no text is wanted.
    pub is_forced: bool,
}

impl Track {
    /// Of which nothing more is known.
    pub(crate) fn new(id: u32, kind: TrackKind) -> Self {
        Self {
            id,
            kind,
            codec: String::new(),
            duration_ms: 0,
            size: None,
            language: None,
            name: None,
            is_default: false,
            is_forced: false,
        }
    }
}

/// What a film calls a track, as far as it is fit to be shown: without what is no letter, and not too long.
pub(crate) fn shown_name(said: &[u8]) -> Option<String> {
    let said = String::from_utf8_lossy(said.get(..limits::NAME_BYTES_MAX).unwrap_or(said));
    let name: String = said
        .chars()
        .filter(|it| !it.is_control() && !matches!(*it, '\u{fffd}'..='\u{ffff}'))
        .collect();
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// What a track carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackKind {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
    /// Subtitles or other text.
    Text,
    /// Anything else.
    Other,
}

/// Why a media file could not be understood.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MediaError {
    /// Bytes that were asked for have not come.
    Incomplete(Range<u64>),
    /// The file has no index: cut off, or not finished.
    NoIndex,
    /// A part of the file is larger than its limit.
    TooLarge {
        /// Which part.
        what: &'static str,
        /// The largest accepted.
        limit: u64,
        /// What the file says.
        received: u64,
    },
    /// It has more frames than are kept.
    TooManyFrames {
        /// The most that are accepted.
        limit: u64,
        /// How many the file tells of.
        received: u64,
    },
    /// A part of the file makes no sense.
    Malformed(&'static str),
}

impl fmt::Display for MediaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete(range) => {
                write!(f, "bytes {} to {} of the file are missing", range.start, range.end)
            }
            Self::NoIndex => {
                write!(
                    f,
                    "the file has no index of its pictures; it is cut off or was not finished"
                )
            }
            Self::TooLarge { what, limit, received } => {
                write!(f, "the file's {what} of {received} bytes is beyond the limit of {limit}")
            }
            Self::TooManyFrames { limit, received } => {
                write!(f, "the file's {received} frames are more than the limit of {limit}")
            }
            Self::Malformed(what) => write!(f, "the file's {what} makes no sense"),
        }
    }
}

impl core::error::Error for MediaError {}
