//! MP4 and its kin: where is the index, and what does it say?
//!
//! The walk visits the heads of the outermost boxes only. Once `moov` is read, a film with sample tables is known. A
//! film in fragments is known from a `sidx` that covers it, else from the `mfra` at its end, else by visiting each
//! `moof`.

mod boxes;
mod codec;
mod fragment;
mod index;
mod tables;
mod track;
mod writer;

use core::ops::Range;

use shoal_wire::time_index::TimeIndex;

pub(crate) use self::boxes::{
    HEADER_MAX, Header, child as box_child, children as box_children, header as box_header,
};
pub(crate) use self::codec::{hevc as hevc_name, name_of_entry};
pub(crate) use self::fragment::{FragmentSample, each_sample};
use self::fragment::{Point, Reference, Segments};
use self::index::Keys;
pub(crate) use self::tables::{Places, Shifts, Times, sync_samples};
pub(crate) use self::track::{FragmentDefaults, Movie, TrackTables};
pub(crate) use self::writer::Writer;
use crate::limits::{BOXES_MAX, DURATION_MS_MAX, FRAGMENT_BYTES_MAX, INDEX_BYTES_MAX};
use crate::presentation::Draft;
use crate::probe::{Step, Window, Wishes};
use crate::{Container, Film, MediaError, Presentation, Track};

/// A film index that begins this near to the start of the file is read together with what stands before it, bytes.
const HEAD_BYTES: u64 = 64 << 10;

/// Whether a file that begins like this is one of ours.
pub(crate) fn recognises(head: &[u8]) -> bool {
    const NAMES: [&[u8; 4]; 10] =
        [b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"pdin", b"sidx"];
    box_header(head).is_some_and(|header| NAMES.contains(&&header.name))
}

/// What `moov` told.
#[derive(Debug)]
struct Known {
    fragmented: bool,
    duration_ms: u64,
    tracks: Vec<Track>,
    reference: Option<Reference>,
}

/// What to look at next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The box at `at`.
    Box,
    /// The last bytes, for an `mfra`.
    Tail,
    /// The `mfra` of this many bytes at the end.
    Random(u64),
    /// The last fragment, for the film's end.
    LastFragment(u64),
}

/// The walk.
#[derive(Debug)]
pub(crate) struct Walk {
    length: u64,
    wishes: Wishes,
    presentation: Option<Presentation>,
    /// The same of a film in fragments, before and behind its first one.
    draft: Option<Draft>,
    has_fragments: bool,
    stage: Stage,
    at: u64,
    visited: u32,
    tail_tried: bool,
    boot: Vec<(u64, u64)>,
    known: Option<Known>,
    segments: Option<Segments>,
    keys: Keys,
    /// Decoding time at the end of the last fragment seen, in the reference's units.
    decoded: u64,
    end_ms: u64,
}

impl Walk {
    /// At the start of a file of `length` bytes.
    pub(crate) fn new(length: u64, wishes: Wishes) -> Self {
        Self {
            length,
            wishes,
            presentation: None,
            draft: None,
            has_fragments: false,
            stage: Stage::Box,
            at: 0,
            visited: 0,
            tail_tried: false,
            boot: Vec::new(),
            known: None,
            segments: None,
            keys: Keys::new(length),
            decoded: 0,
            end_ms: 0,
        }
    }

    /// Goes on with the bytes in `window`.
    pub(crate) fn step(&mut self, window: &Window) -> Step {
        loop {
            let step = match self.stage {
                Stage::Box => self.visit(window),
                Stage::Tail => self.tail(window),
                Stage::Random(length) => self.random(window, length),
                Stage::LastFragment(at) => self.last_fragment(window, at),
            };
            match step {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(error) => return Step::Done(Box::new(Err(error))),
            }
        }
    }

    /// Visits the box at `at`. `None` goes on.
    fn visit(&mut self, window: &Window) -> Result<Option<Step>, MediaError> {
        let end = self.at.saturating_add(HEADER_MAX).min(self.length);
        if self.at.saturating_add(8) > self.length || self.visited >= BOXES_MAX {
            return self.finish().map(Some);
        }
        let head = match window.get(self.at..end) {
            Ok(head) => head,
            Err(need) => return Ok(Some(need)),
        };
        let Some(header) = box_header(head) else { return self.finish().map(Some) };
        let length = header.length.unwrap_or(self.length - self.at);
        let Some(next) = self.at.checked_add(length) else { return self.finish().map(Some) };
        let whole = self.at..next;
        match &header.name {
            b"moov" if self.known.is_none() => {
                let body = match self.body(window, &header, whole, "index", INDEX_BYTES_MAX)? {
                    Ok(body) => body,
                    Err(need) => return Ok(Some(need)),
                };
                if self.wishes.frames {
                    // A film in fragments has none of them here, or those of its beginning.
                    self.presentation = match Presentation::of_moov(body, self.length) {
                        Err(MediaError::NoIndex) => None,
                        found => Some(found?),
                    };
                }
                self.read_moov(body, next);
                if self.known.as_ref().is_some_and(|known| !known.fragmented) {
                    return self.finish().map(Some);
                }
            }
            // Behind the first fragment it speaks of what is left.
            b"sidx" if self.segments.is_none() && !self.tail_tried && next <= self.length => {
                let body = match self.body(window, &header, whole, "index", FRAGMENT_BYTES_MAX)? {
                    Ok(body) => body,
                    Err(need) => return Ok(Some(need)),
                };
                self.read_sidx(body, next);
            }
            b"mdat" if self.boot.is_empty() => self.boot.push((0, end)),
            b"moof" if self.known.is_some() => {
                if let Some(step) = self.fragment(window, &header, whole)? {
                    return Ok(step);
                }
            }
            _ => {}
        }
        self.at = next;
        self.visited += 1;
        Ok(None)
    }

    /// Looks at a `moof`. `None` goes on behind it, `Some(None)` goes on otherwise.
    fn fragment(
        &mut self,
        window: &Window,
        header: &Header,
        whole: Range<u64>,
    ) -> Result<Option<Option<Step>>, MediaError> {
        let is_whole = whole.end <= self.length;
        let is_first = self.draft.is_some() && !self.has_fragments && is_whole;
        if self.segments.is_some() && !is_first {
            return self.finish().map(|step| Some(Some(step)));
        }
        if !self.tail_tried && !is_first {
            self.tail_tried = true;
            self.stage = Stage::Tail;
            return Ok(Some(None));
        }
        // A fragment that is cut off ends the film. Who wants frames quickly takes the key points that were published.
        let is_quick = self.wishes.frames && !self.wishes.thorough;
        if !is_first && (!is_whole || is_quick) {
            return self.finish().map(|step| Some(Some(step)));
        }
        let body = match self.body(window, header, whole, "index", FRAGMENT_BYTES_MAX)? {
            Ok(body) => body,
            Err(need) => return Ok(Some(Some(need))),
        };
        if let Some(draft) = self.draft.as_mut().filter(|_| is_first) {
            draft.look(body, self.at);
            self.has_fragments = true;
            return Ok(Some(None));
        }
        self.read_moof(body, self.at);
        Ok(None)
    }

    /// The body of a whole box, or what must be read for it.
    fn body<'w>(
        &self,
        window: &'w Window,
        header: &Header,
        whole: Range<u64>,
        what: &'static str,
        limit: u64,
    ) -> Result<Result<&'w [u8], Step>, MediaError> {
        let received = whole.end - whole.start;
        if whole.end > self.length {
            return Err(MediaError::NoIndex);
        }
        if received > limit {
            return Err(MediaError::TooLarge { what, limit, received });
        }
        Ok(window.get(whole).map(|data| {
            let skip = usize::try_from(header.header_len).unwrap_or(usize::MAX);
            data.get(skip..).unwrap_or(&[])
        }))
    }

    fn read_moov(&mut self, body: &[u8], end: u64) {
        let movie = Movie::read(body);
        let reference = movie.reference().and_then(|number| movie.tracks.get(number));
        let reference = reference.map(|track| Reference {
            id: track.track.id,
            timing: track.timing,
            defaults: track.fragment_defaults,
        });
        for key in index::keys(&movie, self.length).unwrap_or_default() {
            self.keys.push(key.time_ms, key.offset);
        }
        if self.wishes.frames && movie.fragmented {
            self.draft = Draft::of_movie(&movie, self.length);
        }
        let tracks: Vec<_> = movie.tracks.into_iter().map(|track| track.track).collect();
        let longest = tracks.iter().map(|track| track.duration_ms).max().unwrap_or(0);
        let duration_ms = if longest > 0 { longest } else { movie.duration_ms };
        match self.boot.last() {
            None if self.at <= HEAD_BYTES => self.boot.push((0, end)),
            None => self.boot.extend([(0, HEADER_MAX), (self.at, end - self.at)]),
            Some(_) => self.boot.push((self.at, end - self.at)),
        }
        self.known = Some(Known { fragmented: movie.fragmented, duration_ms, tracks, reference });
    }

    /// Takes a segment index over when it speaks of the reference track and of (nearly) all of the file.
    fn read_sidx(&mut self, body: &[u8], anchor: u64) {
        let Some(reference) = self.known.as_ref().and_then(|known| known.reference) else { return };
        let Some(segments) = fragment::read_sidx(body, anchor, &reference.timing) else { return };
        let covers = segments.end >= self.length / 10 * 9 && segments.end <= self.length;
        if segments.track == reference.id && covers {
            if let [(0, head)] = self.boot.as_mut_slice() {
                *head = (*head).max(anchor);
            }
            self.end_ms = self.end_ms.max(segments.end_ms);
            self.take(&segments.points);
            self.segments = Some(segments);
        }
    }

    /// Takes keys over. A film is cut only at those that its frames can be cut at.
    fn take(&mut self, points: &[Point]) {
        for point in points {
            self.keys.push(point.time_ms, point.offset);
            if let Some(draft) = self.draft.as_mut().filter(|_| point.is_start) {
                draft.push(point.shown, point.offset);
            }
        }
    }

    fn read_moof(&mut self, body: &[u8], at: u64) {
        let Some(reference) = self.known.as_ref().and_then(|known| known.reference) else { return };
        let Some(found) = fragment::read_moof(body, &reference, self.decoded) else { return };
        if let Some(key) = found.key {
            let (time_ms, shown) =
                (reference.timing.film_ms(key), reference.timing.film_units(key));
            self.take(&[Point { time_ms, shown, offset: at, is_start: found.is_start }]);
        }
        if let Some(end) = found.end {
            self.decoded = end;
            self.end_ms = self.end_ms.max(reference.timing.film_ms(end));
        }
    }

    /// Looks for an `mfra` in the last bytes; without one the walk over the fragments begins.
    fn tail(&mut self, window: &Window) -> Result<Option<Step>, MediaError> {
        let tail = match window.get(self.length.saturating_sub(16)..self.length) {
            Ok(tail) => tail,
            Err(need) => return Ok(Some(need)),
        };
        let fits = |length: &u64| (16..=FRAGMENT_BYTES_MAX.min(self.length)).contains(length);
        self.stage = fragment::mfra_length(tail).filter(fits).map_or(Stage::Box, Stage::Random);
        Ok(None)
    }

    fn random(&mut self, window: &Window, length: u64) -> Result<Option<Step>, MediaError> {
        let start = self.length - length;
        let data = match window.get(start..self.length) {
            Ok(data) => data,
            Err(need) => return Ok(Some(need)),
        };
        self.stage = Stage::Box;
        let reference = self.known.as_ref().and_then(|known| known.reference);
        let points = reference.zip(box_child(data, b"mfra"));
        let points = points.and_then(|(reference, body)| fragment::read_mfra(body, &reference));
        let points: Vec<Point> = points.unwrap_or_default();
        if let Some(last) = points.last() {
            self.take(&points);
            self.end_ms = self.end_ms.max(last.time_ms);
            self.boot.push((start, length));
            self.stage = Stage::LastFragment(last.offset);
        }
        Ok(None)
    }

    /// Reads the fragment at `at` for the time of its end, which only it tells. If it makes no sense the film merely ends
    /// a little early.
    fn last_fragment(&mut self, window: &Window, at: u64) -> Result<Option<Step>, MediaError> {
        let end = at.saturating_add(HEADER_MAX).min(self.length);
        if at >= end {
            return self.finish().map(Some);
        }
        let head = match window.get(at..end) {
            Ok(head) => head,
            Err(need) => return Ok(Some(need)),
        };
        let whole = box_header(head)
            .filter(|header| &header.name == b"moof")
            .and_then(|header| Some((header, at..at.checked_add(header.length?)?)));
        if let Some((header, whole)) = whole {
            match self.body(window, &header, whole, "fragment", FRAGMENT_BYTES_MAX) {
                Ok(Ok(body)) => self.read_moof(body, at),
                Ok(Err(need)) => return Ok(Some(need)),
                Err(_) => {}
            }
        }
        self.finish().map(Some)
    }

    fn finish(&mut self) -> Result<Step, MediaError> {
        let known = self.known.take().ok_or(MediaError::NoIndex)?;
        let keys = core::mem::replace(&mut self.keys, Keys::new(0)).into_vec();
        let last_key = keys.last().map_or(0, |key| key.time_ms);
        let duration_ms = known.duration_ms.max(self.end_ms).max(last_key).min(DURATION_MS_MAX);
        let boot = core::mem::take(&mut self.boot);
        let head = boot.first().map_or(0, |(_, length)| *length);
        let index = match (keys.is_empty(), duration_ms) {
            (_, 0) => None,
            (true, _) => {
                Some(TimeIndex { boot, ..TimeIndex::constant_rate(self.length, duration_ms, head) })
            }
            (false, _) => Some(TimeIndex { duration_ms, length: self.length, boot, keys }),
        };
        let container = if known.fragmented { Container::FragmentedMp4 } else { Container::Mp4 };
        let duration_ms = (duration_ms > 0).then_some(duration_ms);
        let presentation = match self.draft.take().filter(|_| self.has_fragments) {
            Some(draft) => {
                draft.finish(duration_ms.unwrap_or(0), self.presentation.take().as_ref())
            }
            None => self.presentation.take(),
        };
        let tracks = known.tracks;
        let film = Film { container, duration_ms, tracks, index, presentation };
        Ok(Step::Done(Box::new(Ok(film))))
    }
}
