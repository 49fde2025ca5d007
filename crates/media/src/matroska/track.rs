//! Tracks: what each carries, how it is coded, and what must be done to its blocks.

use super::ebml::{
    AUDIO, CHANNELS, CODEC_DELAY, CODEC_ID, CODEC_PRIVATE, CONTENT_COMP_ALGO,
    CONTENT_COMP_SETTINGS, CONTENT_COMPRESSION, CONTENT_ENCODING, CONTENT_ENCODING_SCOPE,
    CONTENT_ENCODING_TYPE, CONTENT_ENCODINGS, DEFAULT_DURATION, FLAG_DEFAULT, FLAG_FORCED,
    LANGUAGE, LANGUAGE_BCP47, NAME, PIXEL_HEIGHT, PIXEL_WIDTH, SAMPLING_FREQUENCY, TRACK_ENTRY,
    TRACK_NUMBER, TRACK_TYPE, VIDEO, child, child_number, children, float,
};
use super::entry::sample_entry;
use crate::coding::of_audio_config;
use crate::limits::TRACKS_MAX;
use crate::mp4::name_of_entry;
use crate::presentation::Lane;
use crate::{Coding, Format, TextForm, Track, TrackKind, language, shown_name};

/// Longest start of frames that is stored once for all (header stripping), bytes. Real ones have a few: what a file may
/// make of few bytes is bounded by it.
const STRIPPED_MAX: usize = 64;
/// Longest [`CODEC_PRIVATE`] that is kept, bytes.
const RECORD_MAX: usize = 1 << 20;

/// A track as the film's head tells it.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct TrackHead {
    pub(crate) track: Track,
    pub(crate) coding: Coding,
    /// Its sample entry in an MP4 file; empty where there is none for its coding.
    pub(crate) entry: Vec<u8>,
    /// What its blocks need; `None` where they cannot be read: encrypted, or compressed.
    pub(crate) lane: Option<Lane>,
}

/// All tracks of the body of `Tracks`.
pub(super) fn tracks(data: &[u8]) -> Vec<TrackHead> {
    let entries = children(data).filter(|(id, _)| *id == TRACK_ENTRY).take(TRACKS_MAX);
    let mut all: Vec<TrackHead> = entries.filter_map(|(_, entry)| read(entry)).collect();
    // The flag only says that players may choose a track by themselves. Where all have it, none is meant.
    for kind in [TrackKind::Video, TrackKind::Audio, TrackKind::Text] {
        let is_same = |head: &&mut TrackHead| head.track.kind == kind;
        if all.iter_mut().filter(is_same).all(|head| head.track.is_default) {
            all.iter_mut().filter(is_same).for_each(|head| head.track.is_default = false);
        }
    }
    all
}

/// The track whose key frames are the film's: the first of pictures, else of sound, that can be read.
pub(super) fn reference(tracks: &[TrackHead]) -> Option<&TrackHead> {
    let first = |kind| tracks.iter().find(|it| it.track.kind == kind && it.lane.is_some());
    first(TrackKind::Video).or_else(|| first(TrackKind::Audio))
}

fn read(entry: &[u8]) -> Option<TrackHead> {
    let number = |id| child_number(entry, id);
    let text = |id| {
        let raw = String::from_utf8_lossy(child(entry, id)?);
        let text = raw.trim_end_matches('\0');
        (text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| text.to_owned())
    };
    let picture = child(entry, VIDEO).unwrap_or(&[]);
    let side = |id| child_number(picture, id).and_then(|side| u32::try_from(side).ok());
    let kind = match number(TRACK_TYPE)? {
        1 => TrackKind::Video,
        2 => TrackKind::Audio,
        17 => TrackKind::Text,
        _ => TrackKind::Other,
    };
    let mut track = Track {
        codec: text(CODEC_ID).unwrap_or_default(),
        size: side(PIXEL_WIDTH).zip(side(PIXEL_HEIGHT)),
        language: text(LANGUAGE_BCP47).or_else(|| text(LANGUAGE)).and_then(|it| language::tag(&it)),
        name: child(entry, NAME).and_then(shown_name),
        is_default: number(FLAG_DEFAULT).unwrap_or(1) == 1,
        is_forced: number(FLAG_FORCED) == Some(1),
        ..Track::new(u32::try_from(number(TRACK_NUMBER)?).ok()?, kind)
    };
    let private = child(entry, CODEC_PRIVATE).filter(|record| record.len() <= RECORD_MAX);
    let private = private.unwrap_or(&[]);
    let coding = coding(entry, &track.codec, private, kind);
    let sample_entry = sample_entry(&track.codec, &coding, private, track.size, picture);
    if let Some(name) = name_of_entry(&sample_entry, kind == TrackKind::Video) {
        track.codec = name;
    }
    let frame_ns = number(DEFAULT_DURATION).filter(|duration| *duration > 0);
    let lane = stripped(entry).map(|stripped| Lane {
        number: u64::from(track.id),
        delay_ns: number(CODEC_DELAY).filter(|_| kind == TrackKind::Audio).unwrap_or(0),
        frame_ns: frame_ns.or_else(|| frame_ns_of(&coding)).unwrap_or(0),
        stripped: stripped.to_vec(),
        reorders: match kind {
            TrackKind::Video => !matches!(coding.format, Format::Vp8 | Format::Vp9 | Format::Av1),
            // Cues that overlap stand in any order.
            kind => kind == TrackKind::Text,
        },
    });
    Some(TrackHead { track, coding, entry: sample_entry, lane })
}

/// What each frame begins with that its block leaves out. `None` where frames are stored in a way that is not undone here.
fn stripped(entry: &[u8]) -> Option<&[u8]> {
    let Some(encodings) = child(entry, CONTENT_ENCODINGS) else { return Some(&[]) };
    let mut all = children(encodings).filter(|(id, _)| *id == CONTENT_ENCODING);
    let Some((_, encoding)) = all.next() else { return Some(&[]) };
    let number = |id, default| child_number(encoding, id).unwrap_or(default);
    let compression = child(encoding, CONTENT_COMPRESSION)?;
    // Of frames (1), by leaving out their start (3).
    let is_known = all.next().is_none()
        && number(CONTENT_ENCODING_SCOPE, 1) == 1
        && number(CONTENT_ENCODING_TYPE, 0) == 0
        && child_number(compression, CONTENT_COMP_ALGO) == Some(3);
    let start = child(compression, CONTENT_COMP_SETTINGS).unwrap_or(&[]);
    (is_known && start.len() <= STRIPPED_MAX).then_some(start)
}

fn coding(entry: &[u8], id: &str, private: &[u8], kind: TrackKind) -> Coding {
    let sound = child(entry, AUDIO).unwrap_or(&[]);
    // Saturating: what makes no sense becomes none.
    let rate = child(sound, SAMPLING_FREQUENCY).and_then(float).map_or(8000, |rate| rate as u32);
    let channels = child_number(sound, CHANNELS).unwrap_or(1);
    let (rate, channels) = match kind {
        TrackKind::Audio => (rate, u8::try_from(channels).unwrap_or(0)),
        _ => (0, 0),
    };
    let made = |format, record: &[u8]| Coding { format, record: record.to_vec(), rate, channels };
    match id {
        "V_MPEG4/ISO/AVC" => made(Format::H264, private),
        "V_MPEGH/ISO/HEVC" => made(Format::H265, private),
        "V_VP8" => made(Format::Vp8, &[]),
        "V_VP9" => made(Format::Vp9, &[]),
        "V_AV1" => made(Format::Av1, private),
        "V_MPEG1" | "V_MPEG2" => made(Format::Mpeg2, &[]),
        "A_OPUS" => Coding { rate: 48_000, ..made(Format::Opus, private) },
        "A_MPEG/L1" | "A_MPEG/L2" | "A_MPEG/L3" => made(Format::MpegAudio, &[]),
        "A_AC3" => made(Format::Ac3, &[]),
        "S_TEXT/UTF8" | "S_TEXT/ASCII" => made(Format::Text(TextForm::SubRip), &[]),
        "S_TEXT/ASS" | "S_TEXT/SSA" | "S_ASS" | "S_SSA" => {
            made(Format::Text(TextForm::SubStation), &[])
        }
        "S_TEXT/WEBVTT" => made(Format::Text(TextForm::WebVtt), &[]),
        "D_WEBVTT/SUBTITLES" | "D_WEBVTT/CAPTIONS" => {
            made(Format::Text(TextForm::WebVttLines), &[])
        }
        _ if id == "A_AAC" || id.starts_with("A_AAC/") => {
            let record = match private {
                [] => audio_config(id, rate, channels).unwrap_or_default(),
                private => private.to_vec(),
            };
            let (rate, channels) = match of_audio_config(&record) {
                Some((told, 0)) => (told, channels),
                Some(told) => told,
                None => (rate, channels),
            };
            Coding { format: Format::Aac, record, rate, channels }
        }
        _ => Coding { rate, channels, ..Coding::other() },
    }
}

/// The `AudioSpecificConfig` of AAC that has none, from the name of its profile as old files give it.
fn audio_config(id: &str, rate: u32, channels: u8) -> Option<Vec<u8>> {
    let object = match id.rsplit('/').next()? {
        "MAIN" => 1u16,
        "SSR" => 3,
        "LTP" => 4,
        _ => 2,
    };
    let rate = u16::try_from(crate::coding::rate_index(rate)?).ok()?;
    let channels = match channels {
        8 => 7,
        channels @ 1..=6 => u16::from(channels),
        _ => return None,
    };
    Some(crate::coding::audio_config(object, rate, channels).to_vec())
}

/// How long a frame lasts where the coding itself fixes it, ns.
fn frame_ns_of(coding: &Coding) -> Option<u64> {
    let samples: u64 = match coding.format {
        Format::Aac => 1024,
        Format::Ac3 => 1536,
        Format::MpegAudio if coding.rate >= 32_000 => 1152,
        // Most Opus has frames of 20 ms.
        Format::Opus => 960,
        _ => return None,
    };
    (samples * 1_000_000_000).checked_div(u64::from(coding.rate))
}
