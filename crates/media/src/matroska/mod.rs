//! Matroska and WebM: duration, tracks and cues (RFC 9559), read out of EBML (RFC 8794).
//!
//! The walk visits the outermost elements of the segment up to the first cluster; the cues are found there or through the
//! seek head, which usually points to the end of the file. Without cues, a walk with time to spare goes on from cluster to cluster and
//! looks at the head of every block.

pub(crate) mod block;
pub(crate) mod ebml;
mod entry;
mod heads;
mod track;

use core::ops::Range;

use shoal_wire::time_index::{KeyPoint, TimeIndex};

use self::ebml::{
    CLUSTER, CUE_CLUSTER_POSITION, CUE_DURATION, CUE_POINT, CUE_RELATIVE_POSITION, CUE_TIME,
    CUE_TRACK, CUE_TRACK_POSITIONS, CUES, DURATION, EBML, HEADER_MAX, INFO, SEEK, SEEK_HEAD,
    SEEK_ID, SEEK_POSITION, SEGMENT, TIMESTAMP_SCALE, TRACKS, child, child_number, children, float,
    header,
};
pub(crate) use self::entry::sample_entry;
use self::heads::Heads;
use self::track::{TrackHead, reference, tracks};
use crate::limits::{DURATION_MS_MAX, INDEX_BYTES_MAX, KEY_GAP_MS, KEYS_MAX, TEXTS_MAX};
use crate::presentation::{Clock, Clusters, Key, Points, Presentation, Stream, TextCue};
use crate::probe::{Step, Window};
use crate::{Container, Film, MediaError, TrackKind};

/// Elements before the first cluster that are visited.
const ELEMENTS_MAX: u32 = 1000;
/// Nanoseconds of a tick when the file does not say.
const DEFAULT_SCALE: u64 = 1_000_000;

/// Whether a file that begins like this is one of ours.
pub(crate) fn recognises(head: &[u8]) -> bool {
    head.starts_with(&EBML.to_be_bytes())
}

/// A key frame by the cues: when it is shown, where its cluster begins, and where in that it stands (0 when not told).
#[derive(Clone, Copy, Debug)]
struct Cue {
    ticks: u64,
    cluster: u64,
    inside: u64,
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    length: u64,
    /// Whether frames are wanted.
    frames: bool,
    /// Whether all blocks may be looked at.
    thorough: bool,
    heads: Option<Heads>,
    at: u64,
    visited: u32,
    segment: Option<u64>,
    scale: u64,
    duration: Option<f64>,
    tracks: Vec<TrackHead>,
    first_cluster: Option<u64>,
    cues_at: Option<u64>,
    cues_tried: bool,
    keys: Option<Vec<Cue>>,
    texts: Vec<TextCue>,
    boot: Vec<(u64, u64)>,
}

impl Walk {
    /// At the start of a file of `length` bytes. `frames` says whether they are wanted, `thorough` whether all blocks may be looked at
    /// where there are no cues.
    pub(crate) fn new(length: u64, frames: bool, thorough: bool) -> Self {
        Self {
            length,
            frames,
            thorough,
            heads: None,
            at: 0,
            visited: 0,
            segment: None,
            scale: DEFAULT_SCALE,
            duration: None,
            tracks: Vec::new(),
            first_cluster: None,
            cues_at: None,
            cues_tried: false,
            keys: None,
            texts: Vec::new(),
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
        if let Some(heads) = &mut self.heads {
            return Ok(match heads.visit(window) {
                None => Some(self.finish()),
                step => step,
            });
        }
        let end = self.at.saturating_add(HEADER_MAX as u64).min(self.length);
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
                self.first_cluster = self.first_cluster.or(Some(self.at));
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
                let scale = child_number(data, TIMESTAMP_SCALE).filter(|scale| *scale > 0);
                self.scale = scale.unwrap_or(self.scale);
                self.duration = child(data, DURATION).and_then(float);
            }
            TRACKS => self.tracks = tracks(data),
            _ => {
                let reference = reference(&self.tracks).map(|head| head.track.id);
                self.keys = Some(cues(data, segment, reference));
                if self.frames {
                    self.texts = text_cues(data, segment, &self.tracks);
                }
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
            _ => (!self.turn_to_heads()).then(|| self.finish()),
        }
    }

    /// Whether there is time to look at all blocks, and need to.
    fn turn_to_heads(&mut self) -> bool {
        let has_keys = self.keys.as_ref().is_some_and(|keys| !keys.is_empty());
        let track = reference(&self.tracks).map(|head| u64::from(head.track.id));
        match (track, self.first_cluster) {
            (Some(track), Some(first)) if self.thorough && !has_keys && self.heads.is_none() => {
                self.heads = Some(Heads::new(first..self.length, track));
                true
            }
            _ => false,
        }
    }

    fn finish(&mut self) -> Step {
        if let Some(heads) = self.heads.take() {
            self.keys = Some(heads.keys);
            let told = self.duration.filter(|ticks| *ticks > 0.0);
            self.duration = told.or(Some(heads.end_ticks as f64));
        }
        let keys = self.keys.take().unwrap_or_default();
        let scale = self.scale;
        let ms = |ticks: u64| {
            let ms = u128::from(ticks) * u128::from(scale) / 1_000_000;
            u64::try_from(ms).unwrap_or(u64::MAX).min(DURATION_MS_MAX)
        };
        // Saturating: a negative or senseless duration becomes none.
        let duration_ms = self.duration.map_or(0, |ticks| ms(ticks as u64));
        let mut points: Vec<KeyPoint> = Vec::new();
        for key in &keys {
            let (time_ms, offset) = (ms(key.ticks), key.cluster);
            let fits = points.last().is_none_or(|last| {
                time_ms >= last.time_ms.saturating_add(KEY_GAP_MS) && offset > last.offset
            });
            if fits && offset < self.length && points.len() < KEYS_MAX {
                points.push(KeyPoint { time_ms, offset });
            }
        }
        let duration_ms = duration_ms.max(points.last().map_or(0, |key| key.time_ms));
        let boot = core::mem::take(&mut self.boot);
        let head = boot.first().map_or(0, |(_, length)| *length);
        let index = match (points.is_empty(), duration_ms) {
            (_, 0) => None,
            (true, _) => {
                Some(TimeIndex { boot, ..TimeIndex::constant_rate(self.length, duration_ms, head) })
            }
            (false, _) => Some(TimeIndex { duration_ms, length: self.length, boot, keys: points }),
        };
        let presentation = self.presentation(&keys, duration_ms);
        let tracks = self.tracks.drain(..).map(|head| head.track).collect();
        let duration_ms = (duration_ms > 0).then_some(duration_ms);
        let container = Container::Matroska;
        Step::Done(Box::new(Ok(Film { container, duration_ms, tracks, index, presentation })))
    }

    /// The film's streams, and its segments as far as its keys tell.
    fn presentation(&self, keys: &[Cue], duration_ms: u64) -> Option<Presentation> {
        let first = self.first_cluster.filter(|_| self.frames)?;
        let clock = Clock::new(self.scale);
        let end = crate::bytes::rescaled(duration_ms, 1000, clock.timescale());
        let points = Points::new(clock.timescale(), first..self.length, end);
        let texts = self.texts.clone();
        let mut clusters = Clusters { clock, lanes: Vec::new(), points, texts };
        let mut streams = Vec::new();
        let is_stream =
            |head: &&TrackHead| matches!(head.track.kind, TrackKind::Video | TrackKind::Audio);
        let texts = self.tracks.iter().filter(|head| is_text(head)).take(TEXTS_MAX);
        for head in self.tracks.iter().filter(is_stream).chain(texts) {
            let Some(lane) = &head.lane else { continue };
            streams.push(Stream::untold(
                head.track.clone(),
                head.entry.clone(),
                head.coding.clone(),
                &clusters,
                lane,
            ));
            clusters.lanes.push(lane.clone());
        }
        for key in keys {
            let shown = clock.units(i64::try_from(key.ticks).unwrap_or(i64::MAX)).max(0);
            let shown = u64::try_from(shown).unwrap_or(0);
            clusters.points.push(Key { shown, cluster: key.cluster, inside: key.inside });
        }
        Presentation::of_clusters(streams, clusters)
    }
}

/// Whether a track has text that can be shown.
fn is_text(head: &TrackHead) -> bool {
    head.track.kind == TrackKind::Text && head.lane.is_some() && head.coding.format.is_text()
}

/// Where the seek head says that `wanted` begins in the file.
fn seek(data: &[u8], wanted: u32, segment: u64) -> Option<u64> {
    let entry = children(data)
        .filter(|(id, _)| *id == SEEK)
        .map(|(_, body)| body)
        .find(|body| child_number(body, SEEK_ID) == Some(u64::from(wanted)))?;
    segment.checked_add(child_number(entry, SEEK_POSITION)?)
}

/// Each cue of the reference track, or of any track when there is none.
fn cues(data: &[u8], segment: u64, reference: Option<u32>) -> Vec<Cue> {
    let points = children(data).filter(|(id, _)| *id == CUE_POINT);
    points
        .filter_map(|(_, point)| {
            let ticks = child_number(point, CUE_TIME)?;
            let place = children(point)
                .filter(|(id, _)| *id == CUE_TRACK_POSITIONS)
                .map(|(_, place)| place)
                .find(|place| {
                    let track = child_number(place, CUE_TRACK);
                    reference.is_none() || track == reference.map(u64::from)
                })?;
            let cluster = segment.checked_add(child_number(place, CUE_CLUSTER_POSITION)?)?;
            let inside = child_number(place, CUE_RELATIVE_POSITION).unwrap_or(0);
            Some(Cue { ticks, cluster, inside })
        })
        .take(KEYS_MAX)
        .collect()
}

/// The cues of text, of those tracks of which all are told with place and length.
fn text_cues(data: &[u8], segment: u64, tracks: &[TrackHead]) -> Vec<TextCue> {
    let is_wanted =
        |track: u64| tracks.iter().any(|it| is_text(it) && u64::from(it.track.id) == track);
    let small = |ticks: u64| i64::try_from(ticks).unwrap_or(i64::MAX);
    let of_point = |point| {
        let ticks = child_number(point, CUE_TIME);
        let places = children(point).filter(|(id, _)| *id == CUE_TRACK_POSITIONS);
        places.filter_map(move |(_, place): (u32, &[u8])| {
            let track = child_number(place, CUE_TRACK).filter(|track| is_wanted(*track))?;
            let cue = || {
                Some(TextCue {
                    track,
                    ticks: small(ticks?),
                    length: small(child_number(place, CUE_DURATION)?),
                    cluster: segment.checked_add(child_number(place, CUE_CLUSTER_POSITION)?)?,
                    inside: child_number(place, CUE_RELATIVE_POSITION)?,
                })
            };
            Some((track, cue()))
        })
    };
    let points = children(data).filter(|(id, _)| *id == CUE_POINT);
    let mut told: Vec<_> = points.flat_map(|(_, point)| of_point(point)).take(KEYS_MAX).collect();
    if told.len() == KEYS_MAX {
        told.clear();
    }
    let mut half: Vec<u64> = told.iter().filter(|it| it.1.is_none()).map(|it| it.0).collect();
    half.sort_unstable();
    half.dedup();
    told.into_iter().filter_map(|it| it.1).filter(|cue| !half.contains(&cue.track)).collect()
}
