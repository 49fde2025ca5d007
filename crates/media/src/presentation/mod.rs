//! A film as its elementary streams: which bytes of the file are which frame, when each is decoded and shown, and where the film is cut
//! into segments. From it other containers and RTP packets are made without decoding, and without a look at what is not asked for.
//!
//! Everything here is a pure function of the file: two peers that hold the same title cut it at the same places and make the same
//! bytes.

mod apart;
mod clusters;
mod fragments;
mod points;
mod samples;
mod segments;
mod transport;

use core::ops::Range;
use std::sync::Arc;

pub(crate) use apart::Units;
pub(crate) use clusters::{Clock, Clusters, Lane, TextCue};
pub(crate) use fragments::{Draft, FragmentLane, Fragments, defaults};
pub(crate) use points::{Key, Points};
pub use samples::Sample;
use samples::Samples;
pub use segments::{Segment, Span};

use crate::bytes::rescaled;
use crate::mp4::{Movie, TrackTables};
use crate::mpegts::Transport;
use crate::{Coding, MediaError, Track, TrackKind};
use shoal_wire::time_index::TimeIndex;

/// Pictures by which decoding runs ahead of showing, where a film's head does not tell.
const DELAY_FRAMES: u64 = 4;
/// The same in nanoseconds, where it does not even tell how long a picture is shown.
const DELAY_NS: u64 = 200_000_000;

/// One track of a presentation.
#[derive(Clone, PartialEq, Debug)]
pub struct Stream {
    /// What the container says of it.
    pub track: Track,
    /// Its sample entry in an MP4 file, a whole box (ISO/IEC 14496-12, 8.5.2): what a decoder needs to begin. Empty where MP4 has none for
    /// its coding.
    pub entry: Vec<u8>,
    /// How its frames are coded.
    pub coding: Coding,
    /// Units of its times in a second, at least 1.
    pub timescale: u32,
    samples: Samples,
    /// How long a frame lasts where the film's head tells, in units; else 0.
    frame_units: u32,
}

impl Stream {
    /// Of a track whose samples the film's head does not tell.
    pub(crate) fn untold(
        track: Track,
        entry: Vec<u8>,
        coding: Coding,
        clusters: &Clusters,
        lane: &Lane,
    ) -> Self {
        let clock = clusters.clock;
        let small = |units: i64| u32::try_from(units).unwrap_or(0);
        // Rounded down: no frame may reach into the one that is shown next.
        let frame_units = small(clock.whole_units_of_ns(lane.frame_ns));
        // The head does not tell by how much pictures are decoded before they are shown: four of them is what encoders use at most.
        let told = small(clock.units_of_ns(lane.frame_ns.saturating_mul(DELAY_FRAMES)));
        let delay = match (lane.reorders, told) {
            (false, _) => 0,
            (true, 0) => small(clock.units_of_ns(DELAY_NS)),
            (true, told) => told.min(clock.timescale()),
        };
        let samples = Samples::untold(clusters.points.end, delay);
        Self { track, entry, coding, timescale: clock.timescale(), samples, frame_units }
    }
    /// Of a track of an MP4 file. Of text there is no entry: it is not passed on as it is.
    fn of_tables(tables: &TrackTables<'_>, samples: Samples) -> Self {
        let coding = tables.coding();
        let entry = if coding.format.is_text() { &[][..] } else { tables.entry };
        Self {
            track: tables.track.clone(),
            entry: entry.to_vec(),
            coding,
            timescale: tables.timing.timescale.max(1),
            samples,
            frame_units: 0,
        }
    }
    /// Its samples, in decoding order; none where only the film's own bytes tell of them ([`Segment::bytes`]).
    #[must_use]
    pub fn samples(&self) -> &[Sample] {
        self.samples.all()
    }
    /// When its last sample ends, in its own units.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.samples.end()
    }
    /// What must be added to the times at which samples are shown so that none is shown before it is decoded, in its own units.
    #[must_use]
    pub fn delay(&self) -> u32 {
        self.samples.delay()
    }
    /// Whether it can be put into MP4, and so into HLS and DASH.
    #[must_use]
    pub fn is_packaged(&self) -> bool {
        !self.entry.is_empty()
    }
    pub(crate) fn frame_units(&self) -> u64 {
        u64::from(self.frame_units)
    }
    /// How long sample `index` is shown, in units: to the decoding time of the next.
    #[must_use]
    pub fn duration(&self, index: usize) -> u64 {
        self.samples.duration(index)
    }
    /// `units` of this track as units of `other` timescale, rounded down.
    #[must_use]
    pub fn rescaled(&self, units: u64, other: u32) -> u64 {
        rescaled(units, self.timescale, other)
    }
}

/// Where the frames of a film are found.
#[derive(Clone, PartialEq, Debug)]
enum Layout {
    /// Where tables say: [`Stream::samples`].
    Tables,
    /// In clusters, each of which tells of its own: Matroska.
    Clusters(Box<Clusters>),
    /// In fragments, each of which tells of its own: MP4.
    Fragments(Box<Fragments>),
    /// In packets with a clock, as they are; and the same film taken apart, where that can be done.
    Transport(Arc<Transport>, Option<Arc<Presentation>>),
    /// In those packets, taken apart.
    Units(Box<Units>),
}

/// A film as its streams and segments. Memory: 24 bytes a frame, or a key point where only those are known.
#[derive(Clone, PartialEq, Debug)]
pub struct Presentation {
    /// Those of text last.
    streams: Vec<Stream>,
    segments: Vec<Segment>,
    layout: Layout,
}

impl Presentation {
    /// Of an MP4 file of `length` bytes whose `moov` has this body. O(samples).
    ///
    /// # Errors
    /// When it has no track with samples inside the file, or more samples than
    /// [`crate::limits::SAMPLES_MAX`].
    pub fn of_moov(moov: &[u8], length: u64) -> Result<Self, MediaError> {
        let movie = Movie::read(moov);
        let mut left = crate::limits::SAMPLES_MAX;
        let mut streams = Vec::new();
        for tables in &movie.tracks {
            if !matches!(tables.track.kind, TrackKind::Video | TrackKind::Audio) {
                continue;
            }
            let samples = Samples::of_tables(tables, length, left)?;
            left -= samples.all().len();
            if samples.all().is_empty() || tables.entry.is_empty() {
                continue;
            }
            streams.push(Stream::of_tables(tables, samples));
        }
        let segments = segments::cut(&streams);
        if segments.is_empty() {
            return Err(MediaError::NoIndex);
        }
        for tables in texts(&movie) {
            // What cannot be read of text does not keep anybody from the film.
            let samples = Samples::of_tables(tables, length, left).ok();
            if let Some(samples) = samples.filter(|samples| !samples.all().is_empty()) {
                left -= samples.all().len();
                streams.push(Stream::of_tables(tables, samples));
            }
        }
        Ok(Self { streams, segments, layout: Layout::Tables })
    }
    /// What is known of the file if it is a transport stream: then the presentation has one stream, of whole packets.
    #[must_use]
    pub fn transport(&self) -> Option<&Transport> {
        match &self.layout {
            Layout::Transport(transport, _) => Some(transport),
            _ => None,
        }
    }
    /// Of a film in clusters, whose streams have no samples. `None` when there are no streams. O(key points).
    pub(crate) fn of_clusters(mut streams: Vec<Stream>, mut clusters: Clusters) -> Option<Self> {
        leave_further_pictures(&mut streams)?;
        clusters.points.cut();
        let segments = segments::of_points(shown(&streams), &clusters.points);
        Some(Self { streams, segments, layout: Layout::Clusters(Box::new(clusters)) })
    }
    /// Whether the key points of an index that was published beside the film would tell more than its container does.
    #[must_use]
    pub fn wants_index(&self) -> bool {
        match &self.layout {
            Layout::Tables | Layout::Units(_) => false,
            Layout::Clusters(clusters) => clusters.points.keys.is_empty(),
            Layout::Fragments(fragments) => fragments.has_no_keys(),
            Layout::Transport(transport, _) => !transport.is_exact(),
        }
    }
    /// With those key points, where they are wanted. Not with those of an index that was made of nothing but the film's length.
    #[must_use]
    pub fn with_index(mut self, index: &TimeIndex) -> Self {
        if !self.wants_index() {
            return self;
        }
        let (points, from) = match &mut self.layout {
            Layout::Tables | Layout::Units(_) => return self,
            Layout::Clusters(clusters) => (&mut clusters.points, 0),
            Layout::Fragments(fragments) => (&mut fragments.points, fragments.first),
            Layout::Transport(transport, _) => {
                let found = transport.with_index(index).map(Self::of_transport);
                return found.and_then(Result::ok).unwrap_or(self);
            }
        };
        points.take_index(index, from);
        let end = points.units_of_ms(index.duration_ms);
        for stream in &mut self.streams {
            let end = rescaled(end, points.timescale, stream.timescale).max(stream.end());
            stream.samples = Samples::untold(end, stream.delay());
        }
        self.segments = segments::of_points(shown(&self.streams), points);
        self
    }
    /// Its streams of pictures and sound, in the container's order. At least one.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        shown(&self.streams)
    }
    /// Its streams of text, in the container's order, at most [`crate::limits::TEXTS_MAX`]. Their numbers follow those of
    /// [`Self::streams`].
    #[must_use]
    pub fn texts(&self) -> &[Stream] {
        self.streams.get(self.streams().len()..).unwrap_or(&[])
    }
    /// The stream of text of that number.
    #[must_use]
    pub fn text(&self, number: usize) -> Option<&Stream> {
        self.texts().get(number.checked_sub(self.streams().len())?)
    }
    /// All of its streams, those of text last.
    pub(crate) fn all(&self) -> &[Stream] {
        &self.streams
    }
    /// When segment `number` of each text is shown, in milliseconds: from its first picture to that of the next, and all of them together
    /// without a gap from the start of the film to its end. May be empty.
    #[must_use]
    pub fn stretch(&self, number: usize) -> Option<Range<u64>> {
        let start = |number: usize| {
            let (segment, lead) = (self.segments.get(number)?, self.reference());
            let stream = self.streams.get(lead)?;
            Some(stream.rescaled(segment.spans.get(lead)?.start, 1000))
        };
        let begin = if number == 0 { start(0).map(|_| 0) } else { start(number) }?;
        let end = start(number + 1).unwrap_or_else(|| self.duration_ms().saturating_add(1));
        Some(begin..end.max(begin))
    }
    /// The segment of text that begins at `start_ms`. O(log segments).
    #[must_use]
    pub fn stretch_at(&self, start_ms: u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.segments.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.stretch(middle)?.start <= start_ms {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let number = low.checked_sub(1)?;
        let stretch = self.stretch(number)?;
        (stretch.start == start_ms && !stretch.is_empty()).then_some(number)
    }
    /// The samples of a text that are shown in segment `number`, also those that are since before it: where tables tell of them.
    pub(crate) fn text_samples(&self, stream: usize, number: usize) -> Option<Range<usize>> {
        let stream = self.text(stream)?;
        let stretch = self.stretch(number)?;
        let units = |ms| rescaled(ms, 1000, stream.timescale);
        let samples = stream.samples();
        let to = samples.partition_point(|sample| sample.decoded < units(stretch.end));
        let is_last = number + 1 >= self.segments.len();
        let to = if is_last { samples.len() } else { to };
        let before = samples.partition_point(|sample| sample.decoded <= units(stretch.start));
        let first = before.checked_sub(1).filter(|first| {
            let begun = samples.get(*first).map_or(0, |sample| sample.decoded);
            begun.saturating_add(stream.duration(*first)) > units(stretch.start)
        });
        let from = first.unwrap_or(before);
        Some(from.min(to)..to)
    }
    /// Its segments, in order; each begins where pictures can be decoded, if there are any. None where no key point is known, as in a
    /// Matroska without cues.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }
    /// The stream at whose key frames the film is cut: the first of pictures, else of sound.
    #[must_use]
    pub fn reference(&self) -> usize {
        reference(&self.streams)
    }
    /// The segment of a stream that begins at `start`, in units of the stream. O(log segments).
    #[must_use]
    pub fn segment_at(&self, stream: usize, start: u64) -> Option<usize> {
        let span = |segment: &Segment| segment.spans.get(stream).cloned();
        // Of several that begin there all but the last hold nothing.
        let after =
            self.segments.partition_point(|it| span(it).is_some_and(|it| it.start <= start));
        let number = after.checked_sub(1)?;
        let found = self.segments.get(number).and_then(span)?;
        let holds = self.segments.get(number).is_some_and(|segment| segment.holds(stream));
        (found.start == start && holds).then_some(number)
    }
    /// What of a stream lies in the segments that hold something of it.
    pub(crate) fn spans(&self, stream: usize) -> impl Iterator<Item = &Span> {
        let segments = self.segments.iter().filter(move |segment| segment.holds(stream));
        segments.filter_map(move |segment| segment.spans.get(stream))
    }
    /// The cues of a text that are shown in segment `number`, where the film's head says where each of them stands.
    pub(crate) fn text_cues(&self, stream: usize, number: usize) -> Vec<TextCue> {
        let found = || {
            let (clusters, stretch) = (self.clusters()?, self.stretch(number)?);
            self.text(stream)?;
            let track = clusters.lanes.get(stream)?.number;
            let ms = |ticks| {
                let units = u64::try_from(clusters.clock.units(ticks)).unwrap_or(0);
                rescaled(units, clusters.clock.timescale(), 1000)
            };
            let is_shown = |cue: &&TextCue| {
                let end = ms(cue.ticks.saturating_add(cue.length));
                cue.track == track && ms(cue.ticks) < stretch.end && end > stretch.start
            };
            Some(clusters.texts.iter().filter(is_shown).copied().collect())
        };
        found().unwrap_or_default()
    }
    /// Whether the film's head tells where each cue of a text stands: then what is shown in a segment since before comes with it, too, and
    /// nothing but cues is read.
    #[must_use]
    pub fn tells_text(&self, stream: usize) -> bool {
        match &self.layout {
            Layout::Tables => true,
            Layout::Clusters(clusters) => {
                let track = clusters.lanes.get(stream).map(|lane| lane.number);
                clusters.texts.iter().any(|cue| Some(cue.track) == track)
            }
            Layout::Fragments(_) | Layout::Transport(..) | Layout::Units(_) => false,
        }
    }
    pub(crate) fn clusters(&self) -> Option<&Clusters> {
        match &self.layout {
            Layout::Clusters(clusters) => Some(clusters),
            _ => None,
        }
    }
    pub(crate) fn fragments(&self) -> Option<&Fragments> {
        match &self.layout {
            Layout::Fragments(fragments) => Some(fragments),
            _ => None,
        }
    }
    /// Length of the film in milliseconds: that of its longest stream of pictures or sound.
    #[must_use]
    pub fn duration_ms(&self) -> u64 {
        self.streams().iter().map(|stream| stream.rescaled(stream.end(), 1000)).max().unwrap_or(0)
    }
    /// Before which byte of the file all frames of a stream in a segment end; 0 where there is none, and for text in tables.
    #[must_use]
    pub fn segment_end(&self, stream: usize, number: usize) -> u64 {
        let Some(segment) = self.segments.get(number) else { return 0 };
        if let Some(bytes) = &segment.bytes {
            let late = self.units().filter(|_| stream != self.reference());
            return late.map_or(bytes.end, |units| units.sound_end(bytes.end));
        }
        let samples = segment.spans.get(stream).map_or(0..0, |span| span.samples.clone());
        self.ranges(stream, samples).iter().map(|range| range.end).max().unwrap_or(0)
    }
    /// Where in the file the first frame of the first segment begins. `None` where no segment is known.
    #[must_use]
    pub fn first_byte(&self) -> Option<u64> {
        let segment = self.segments.first()?;
        if let Some(bytes) = &segment.bytes {
            return Some(bytes.start);
        }
        let samples = segment.spans.get(self.reference())?.samples.clone();
        self.ranges(self.reference(), samples).first().map(|range| range.start)
    }
    /// The byte ranges of samples `from..to` of a stream, ascending, neighbours joined.
    #[must_use]
    pub fn ranges(&self, stream: usize, samples: Range<usize>) -> Vec<Range<u64>> {
        let all = self.streams.get(stream).map_or(&[][..], Stream::samples);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for sample in all.get(samples).unwrap_or(&[]) {
            match ranges.last_mut() {
                Some(last) if last.end == sample.offset => last.end = sample.end(),
                _ => ranges.push(sample.offset..sample.end()),
            }
        }
        ranges
    }
}

/// Those of pictures and sound.
fn shown(streams: &[Stream]) -> &[Stream] {
    let count = streams.iter().take_while(|stream| stream.track.kind != TrackKind::Text).count();
    streams.get(..count).unwrap_or(&[])
}

/// The tracks of text that can be shown.
fn texts<'m>(movie: &'m Movie<'_>) -> impl Iterator<Item = &'m TrackTables<'m>> {
    let is_text = |tables: &&TrackTables<'_>| {
        tables.track.kind == TrackKind::Text && tables.coding().format.is_text()
    };
    movie.tracks.iter().filter(is_text).take(crate::limits::TEXTS_MAX)
}

/// Takes the entries of all streams of pictures but the one that the film is cut at: only that one begins each segment with a key frame.
/// `None` when there are no streams.
fn leave_further_pictures(streams: &mut [Stream]) -> Option<()> {
    let lead = shown(streams).get(reference(streams))?.track.id;
    for stream in streams {
        if stream.track.kind == TrackKind::Video && stream.track.id != lead {
            stream.entry.clear();
        }
    }
    Some(())
}

/// The stream whose key frames the film is cut at: the first of pictures, else of sound.
pub(crate) fn reference(streams: &[Stream]) -> usize {
    let first = |kind| streams.iter().position(|stream| stream.track.kind == kind);
    first(TrackKind::Video).or_else(|| first(TrackKind::Audio)).unwrap_or(0)
}
