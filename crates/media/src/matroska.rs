//! Matroska and WebM: duration, tracks and cues (RFC 9559), read out of EBML (RFC 8794).
//!
//! The walk visits the outermost elements of the segment up to the first cluster; the cues are found there or through the
//! seek head, which usually points to the end of the file.

use core::ops::Range;

use shoal_wire::time_index::{KeyPoint, TimeIndex};

use crate::limits::{INDEX_BYTES_MAX, KEY_GAP_MS, KEYS_MAX, TRACKS_MAX};
use crate::probe::{Step, Window};
use crate::{Container, Film, MediaError, Track, TrackKind};

const EBML: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const SEEK: u32 = 0x4DBB;
const SEEK_ID: u32 = 0x53AB;
const SEEK_POSITION: u32 = 0x53AC;
const INFO: u32 = 0x1549_A966;
const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
const DURATION: u32 = 0x4489;
const TRACKS: u32 = 0x1654_AE6B;
const TRACK_ENTRY: u32 = 0xAE;
const TRACK_NUMBER: u32 = 0xD7;
const TRACK_TYPE: u32 = 0x83;
const CODEC_ID: u32 = 0x86;
const LANGUAGE: u32 = 0x22_B59C;
const VIDEO: u32 = 0xE0;
const PIXEL_WIDTH: u32 = 0xB0;
const PIXEL_HEIGHT: u32 = 0xBA;
const CUES: u32 = 0x1C53_BB6B;
const CUE_POINT: u32 = 0xBB;
const CUE_TIME: u32 = 0xB3;
const CUE_TRACK_POSITIONS: u32 = 0xB7;
const CUE_TRACK: u32 = 0xF7;
const CUE_CLUSTER_POSITION: u32 = 0xF1;
const CLUSTER: u32 = 0x1F43_B675;

/// Longest element header: four bytes of name, eight of length.
const HEADER_MAX: u64 = 12;
/// Elements before the first cluster that are visited.
const ELEMENTS_MAX: u32 = 1000;
/// Nanoseconds of a tick when the file does not say.
const DEFAULT_SCALE: u64 = 1_000_000;

/// Whether a file that begins like this is one of ours.
pub(crate) fn recognises(head: &[u8]) -> bool {
    head.starts_with(&EBML.to_be_bytes())
}

/// The head of an element: name, bytes of the head, bytes of the body (`None` when not told).
fn header(data: &[u8]) -> Option<(u32, u64, Option<u64>)> {
    let id_len = data.first()?.leading_zeros() as usize + 1;
    let id = number(data.get(..id_len)?).filter(|_| id_len <= 4)?;
    let first = *data.get(id_len)?;
    let size_len = first.leading_zeros() as usize + 1;
    let raw = number(data.get(id_len..id_len + size_len)?).filter(|_| size_len <= 8)?;
    let mask = (1u64 << (7 * size_len)) - 1;
    let size = (raw & mask != mask).then_some(raw & mask);
    Some((u32::try_from(id).ok()?, (id_len + size_len) as u64, size))
}

/// A big-endian number of up to eight bytes.
fn number(data: &[u8]) -> Option<u64> {
    (data.len() <= 8).then(|| data.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

/// A float of four or eight bytes.
fn float(data: &[u8]) -> Option<f64> {
    match data.len() {
        4 => data.try_into().ok().map(|bytes| f64::from(f32::from_be_bytes(bytes))),
        8 => data.try_into().ok().map(f64::from_be_bytes),
        _ => None,
    }
}

/// The elements inside `data`; ends at the first that does not fit.
fn children(data: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
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

fn child(data: &[u8], id: u32) -> Option<&[u8]> {
    children(data).find(|(found, _)| *found == id).map(|(_, body)| body)
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    length: u64,
    at: u64,
    visited: u32,
    segment: Option<u64>,
    scale: u64,
    duration: Option<f64>,
    tracks: Vec<Track>,
    cues_at: Option<u64>,
    cues_tried: bool,
    keys: Option<Vec<(u64, u64)>>,
    boot: Vec<(u64, u64)>,
}

impl Walk {
    /// At the start of a file of `length` bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self {
            length,
            at: 0,
            visited: 0,
            segment: None,
            scale: DEFAULT_SCALE,
            duration: None,
            tracks: Vec::new(),
            cues_at: None,
            cues_tried: false,
            keys: None,
            boot: Vec::new(),
        }
    }

    /// Goes on with the bytes in `window`.
    pub(crate) fn step(&mut self, window: &Window) -> Step {
        loop {
            match self.visit(window) {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(error) => return Step::Done(Box::new(Err(error))),
            }
        }
    }

    fn visit(&mut self, window: &Window) -> Result<Option<Step>, MediaError> {
        let end = self.at.saturating_add(HEADER_MAX).min(self.length);
        if self.at >= end || self.visited >= ELEMENTS_MAX {
            return Ok(self.turn_to_cues());
        }
        let head = match window.get(self.at..end) {
            Ok(head) => head,
            Err(need) => return Ok(Some(need)),
        };
        let Some((id, head_len, size)) = header(head) else { return Ok(self.turn_to_cues()) };
        let body = self.at.saturating_add(head_len);
        self.visited += 1;
        match (id, self.segment) {
            (SEGMENT, None) => {
                self.segment = Some(body);
                self.at = body;
                return Ok(None);
            }
            (CLUSTER, _) => {
                if self.boot.is_empty() {
                    self.boot.push((0, end));
                }
                return Ok(self.turn_to_cues());
            }
            (SEEK_HEAD | INFO | TRACKS | CUES, Some(segment)) => {
                match self.take(window, id, body, size, segment)? {
                    Some(step) => {
                        self.visited -= 1;
                        return Ok(Some(step));
                    }
                    None if id == CUES && self.cues_tried => return Ok(Some(self.finish())),
                    None => {}
                }
            }
            _ => {}
        }
        // Only a segment or a cluster may leave its length open.
        match size.and_then(|size| body.checked_add(size)) {
            Some(next) => self.at = next,
            None => return Ok(self.turn_to_cues()),
        }
        Ok(None)
    }

    /// Reads one of the elements that matter.
    fn take(
        &mut self,
        window: &Window,
        id: u32,
        body: u64,
        size: Option<u64>,
        segment: u64,
    ) -> Result<Option<Step>, MediaError> {
        let received = size.unwrap_or(u64::MAX);
        if received > INDEX_BYTES_MAX {
            let (what, limit) = ("index", INDEX_BYTES_MAX);
            return Err(MediaError::TooLarge { what, limit, received });
        }
        let whole: Range<u64> = body..body.saturating_add(received);
        if whole.end > self.length {
            return Ok(None);
        }
        // Together with its head, so that the next step finds both.
        let data = match window.get(self.at..whole.end) {
            Ok(data) => data,
            Err(need) => return Ok(Some(need)),
        };
        let head = usize::try_from(body - self.at).unwrap_or(usize::MAX);
        let data = data.get(head..).unwrap_or(&[]);
        match id {
            SEEK_HEAD => self.cues_at = self.cues_at.or_else(|| seek(data, CUES, segment)),
            INFO => {
                self.scale = child(data, TIMESTAMP_SCALE).and_then(number).unwrap_or(self.scale);
                self.duration = child(data, DURATION).and_then(float);
            }
            TRACKS => self.tracks = tracks(data),
            _ => {
                let reference = |kind| self.tracks.iter().find(|track| track.kind == kind);
                let reference = reference(TrackKind::Video).or_else(|| reference(TrackKind::Audio));
                self.keys = Some(cues(data, segment, reference.map(|track| track.id)));
                if self.cues_tried {
                    self.boot.push((self.at, whole.end - self.at));
                }
            }
        }
        Ok(None)
    }

    /// The head is read: on to the cues if they are known to lie elsewhere, else done.
    fn turn_to_cues(&mut self) -> Option<Step> {
        match self.cues_at {
            Some(at) if self.keys.is_none() && !self.cues_tried && at < self.length => {
                self.cues_tried = true;
                self.at = at;
                self.visited = ELEMENTS_MAX - 1;
                None
            }
            _ => Some(self.finish()),
        }
    }

    fn finish(&mut self) -> Step {
        let scale = self.scale;
        let ms = |ticks: u64| {
            let ms = u128::from(ticks) * u128::from(scale) / 1_000_000;
            u64::try_from(ms).unwrap_or(u64::MAX).min(crate::limits::DURATION_MS_MAX)
        };
        // Saturating: a negative or senseless duration becomes none.
        let duration_ms = self.duration.map_or(0, |ticks| ms(ticks as u64));
        let mut keys: Vec<KeyPoint> = Vec::new();
        for (ticks, offset) in self.keys.take().unwrap_or_default() {
            let time_ms = ms(ticks);
            let fits = keys.last().is_none_or(|last| {
                time_ms >= last.time_ms.saturating_add(KEY_GAP_MS) && offset > last.offset
            });
            if fits && offset < self.length && keys.len() < KEYS_MAX {
                keys.push(KeyPoint { time_ms, offset });
            }
        }
        let duration_ms = duration_ms.max(keys.last().map_or(0, |key| key.time_ms));
        let boot = core::mem::take(&mut self.boot);
        let head = boot.first().map_or(0, |(_, length)| *length);
        let index = match (keys.is_empty(), duration_ms) {
            (_, 0) => None,
            (true, _) => {
                Some(TimeIndex { boot, ..TimeIndex::constant_rate(self.length, duration_ms, head) })
            }
            (false, _) => Some(TimeIndex { duration_ms, length: self.length, boot, keys }),
        };
        let tracks = core::mem::take(&mut self.tracks);
        let duration_ms = (duration_ms > 0).then_some(duration_ms);
        let container = Container::Matroska;
        Step::Done(Box::new(Ok(Film { container, duration_ms, tracks, index, presentation: None })))
    }
}

/// Where the seek head says that `wanted` begins in the file.
fn seek(data: &[u8], wanted: u32, segment: u64) -> Option<u64> {
    let entry = children(data)
        .filter(|(id, _)| *id == SEEK)
        .map(|(_, body)| body)
        .find(|body| child(body, SEEK_ID).and_then(number) == Some(u64::from(wanted)))?;
    segment.checked_add(child(entry, SEEK_POSITION).and_then(number)?)
}

fn tracks(data: &[u8]) -> Vec<Track> {
    let entries = children(data).filter(|(id, _)| *id == TRACK_ENTRY).take(TRACKS_MAX);
    entries
        .filter_map(|(_, entry)| {
            let get = |id| child(entry, id).and_then(number);
            let text = |id| {
                let raw = String::from_utf8_lossy(child(entry, id)?);
                let text = raw.trim_end_matches('\0');
                (text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()))
                    .then(|| text.to_owned())
            };
            let side = |picture: &[u8], id| {
                child(picture, id).and_then(number).and_then(|side| u32::try_from(side).ok())
            };
            Some(Track {
                id: u32::try_from(get(TRACK_NUMBER)?).ok()?,
                kind: match get(TRACK_TYPE)? {
                    1 => TrackKind::Video,
                    2 => TrackKind::Audio,
                    17 => TrackKind::Text,
                    _ => TrackKind::Other,
                },
                codec: text(CODEC_ID).unwrap_or_default(),
                duration_ms: 0,
                size: child(entry, VIDEO).and_then(|picture| {
                    Some((side(picture, PIXEL_WIDTH)?, side(picture, PIXEL_HEIGHT)?))
                }),
                language: text(LANGUAGE).filter(|language| language != "und"),
            })
        })
        .collect()
}

/// Ticks and file offset of each cue of the reference track, or of any track when there is none.
fn cues(data: &[u8], segment: u64, reference: Option<u32>) -> Vec<(u64, u64)> {
    let points = children(data).filter(|(id, _)| *id == CUE_POINT);
    points
        .filter_map(|(_, point)| {
            let time = child(point, CUE_TIME).and_then(number)?;
            let place = children(point)
                .filter(|(id, _)| *id == CUE_TRACK_POSITIONS)
                .map(|(_, place)| place)
                .find(|place| {
                    let track = child(place, CUE_TRACK).and_then(number);
                    reference.is_none() || track == reference.map(u64::from)
                })?;
            let cluster = child(place, CUE_CLUSTER_POSITION).and_then(number)?;
            Some((time, segment.checked_add(cluster)?))
        })
        .take(KEYS_MAX)
        .collect()
}
