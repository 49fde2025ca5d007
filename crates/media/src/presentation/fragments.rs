//! A film in fragments: the streams that its `moov` tells of, and where it can be begun. The samples themselves are told of by the
//! fragments alone.

use super::points::{Key, Points};
use super::samples::{Sample, Samples};
use super::{
    Layout, Presentation, Stream, leave_further_pictures, reference, segments, shown, texts,
};
use crate::TrackKind;
use crate::bytes::rescaled;
use crate::limits::KEYS_MAX;
use crate::mp4::{FragmentDefaults, Movie, TrackTables, each_sample};

/// What must be known of a track to read its samples.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FragmentLane {
    /// Number of the track.
    pub(crate) track: u32,
    pub(crate) defaults: FragmentDefaults,
    /// What is added to its decoding times to be those of the film.
    pub(crate) moved: i64,
    /// How much sooner than by that sum its samples are shown: pictures are decoded while the edit list still leaves out.
    pub(crate) early: u32,
}

impl FragmentLane {
    fn new(tables: &TrackTables<'_>) -> Self {
        let timing = tables.timing;
        let left_out = i64::try_from(timing.media_time).unwrap_or(i64::MAX / 2);
        let is_video = tables.track.kind == TrackKind::Video;
        let early = if is_video { left_out.min(i64::from(timing.timescale)) } else { 0 };
        let delay = i64::try_from(timing.delay()).unwrap_or(i64::MAX / 2);
        Self {
            track: tables.track.id,
            defaults: tables.fragment_defaults,
            moved: delay.saturating_sub(left_out).saturating_add(early),
            early: u32::try_from(early).unwrap_or(0),
        }
    }
}

/// The head of a film in fragments.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Fragments {
    /// In the order of the streams.
    pub(crate) lanes: Vec<FragmentLane>,
    pub(crate) points: Points,
    /// Frames that the `moov` itself tells of, before the first fragment: their streams, and their lengths.
    pub(crate) front: Vec<(usize, Sample, u32)>,
    /// Where the first fragment begins.
    pub(crate) first: u64,
    /// Whether fragments of other streams come before those of the pictures that are shown with them.
    pub(crate) is_lead_late: bool,
}

/// What is known of such a film while it is probed.
#[derive(Debug)]
pub(crate) struct Draft {
    streams: Vec<Stream>,
    fragments: Fragments,
    /// Keys of the lead that an index tells of: when they are shown, in its units, and where their fragments begin.
    keys: Vec<(i64, u64)>,
    /// When the first sample of the lead in the first fragment is shown, in its units.
    first: Option<i64>,
}

impl Draft {
    /// Of a file of `length` bytes. `None` when there are no streams.
    pub(crate) fn of_movie(movie: &Movie<'_>, length: u64) -> Option<Self> {
        let mut streams = Vec::new();
        let mut lanes = Vec::new();
        let is_stream = |tables: &&TrackTables<'_>| {
            let kind = tables.track.kind;
            matches!(kind, TrackKind::Video | TrackKind::Audio) && !tables.entry.is_empty()
        };
        for tables in movie.tracks.iter().filter(is_stream).chain(texts(movie)) {
            let lane = FragmentLane::new(tables);
            lanes.push(lane);
            streams.push(Stream::of_tables(tables, Samples::untold(0, lane.early)));
        }
        let lead = shown(&streams).get(reference(&streams))?;
        let points = Points::new(lead.timescale, 0..length, 0);
        let fragments =
            Fragments { lanes, points, front: Vec::new(), first: 0, is_lead_late: false };
        Some(Self { streams, fragments, keys: Vec::new(), first: None })
    }
    /// Takes a look at the first fragment, whose `moof` at `at` has this body: where samples are shown before they are decoded, all of
    /// the film is delayed by as much.
    pub(crate) fn look(&mut self, body: &[u8], at: u64) {
        let length = self.fragments.points.bytes.end;
        self.fragments.first = at.min(length);
        let lanes = &self.fragments.lanes;
        let lead = lanes.get(reference(&self.streams)).copied();
        let mut ahead = vec![0; lanes.len()];
        let mut first = None;
        let defaults = |track| defaults(lanes, track);
        each_sample((body, at, length), defaults, |sample| {
            let place = lanes.iter().position(|lane| lane.track == sample.track);
            if let Some(ahead) = place.and_then(|place| ahead.get_mut(place)) {
                *ahead = sample.shift.saturating_neg().max(*ahead);
            }
            if let Some(lead) = lead.filter(|it| it.track == sample.track && first.is_none()) {
                let shown = i64::try_from(sample.time.unwrap_or(0))
                    .unwrap_or(i64::MAX)
                    .saturating_add(sample.shift);
                let shown = shown.saturating_add(lead.moved).saturating_sub(lead.early.into());
                first = Some(shown.max(0));
            }
        });
        for ((stream, lane), ahead) in self.streams.iter_mut().zip(lanes).zip(ahead) {
            let ahead = u32::try_from(ahead).unwrap_or(u32::MAX).min(stream.timescale);
            stream.samples = Samples::untold(0, lane.early.saturating_add(ahead));
        }
        self.fragments.is_lead_late = first.is_none();
        self.first = first;
    }
    /// Takes over a key of the lead: when it is shown, in its units, and where its fragment begins.
    pub(crate) fn push(&mut self, shown: i64, offset: u64) {
        if self.keys.len() < KEYS_MAX {
            self.keys.push((shown, offset));
        }
    }
    /// The film, of this length, and what its tables tell of its beginning.
    pub(crate) fn finish(
        self,
        duration_ms: u64,
        front: Option<&Presentation>,
    ) -> Option<Presentation> {
        let Self { mut streams, mut fragments, keys, first } = self;
        let points = &mut fragments.points;
        // An index may count from a zero of its own. Its first key is the first sample of the film.
        let told = keys.first().zip(first).map(|(key, first)| first.saturating_sub(key.0));
        let moved = told.filter(|moved| moved.abs() < i64::from(points.timescale)).unwrap_or(0);
        for (shown, cluster) in keys {
            let shown = u64::try_from(shown.saturating_add(moved).max(0)).unwrap_or(0);
            points.push(Key { shown, cluster, inside: 0 });
        }
        points.bytes.start = fragments.first;
        points.end = rescaled(duration_ms, 1000, points.timescale);
        let lead = reference(&streams);
        for (number, stream) in streams.iter_mut().enumerate() {
            let end = rescaled(duration_ms, 1000, stream.timescale);
            stream.samples = Samples::untold(end, stream.delay());
            let id = stream.track.id;
            let source = front.and_then(|it| it.streams.iter().find(|it| it.track.id == id));
            if let (Some(source), Some(lane)) = (source, fragments.lanes.get(number)) {
                let samples = on_line(source, *lane);
                let ahead = samples.iter().map(|it| it.0.shift.min(0).unsigned_abs()).max();
                let delay = stream.delay().max(ahead.unwrap_or(0));
                stream.samples = Samples::untold(end, delay);
                let front = samples.into_iter().map(|(sample, length)| (number, sample, length));
                fragments.front.extend(front);
            }
        }
        fragments.take_front(lead);
        if !fragments.has_no_keys() {
            fragments.points.cut();
        }
        leave_further_pictures(&mut streams)?;
        let segments = segments::of_points(shown(&streams), &fragments.points);
        Some(Presentation { streams, segments, layout: Layout::Fragments(Box::new(fragments)) })
    }
}

impl Fragments {
    /// The film begins with what its tables tell of, with the first key there.
    fn take_front(&mut self, lead: usize) {
        let points = &mut self.points;
        let Some(start) = self.front.iter().map(|it| it.1.offset).min() else { return };
        points.bytes.start = start.min(self.first);
        let mut keys = self.front.iter().filter(|it| it.0 == lead && it.1.is_key());
        let follows = |key: &Key| points.keys.first().is_none_or(|first| key.shown < first.shown);
        let key = keys.next().map(|it| Key { shown: it.1.shown(), cluster: start, inside: 0 });
        if let Some(key) = key.filter(follows).filter(|key| key.cluster < self.first) {
            points.keys.insert(0, key);
        }
    }
    /// Whether nothing is known but the key at its start.
    pub(crate) fn has_no_keys(&self) -> bool {
        self.points.keys.iter().all(|key| key.cluster < self.first)
    }
}

/// The samples of a table with their lengths, on the time line of the fragments that follow.
fn on_line(source: &Stream, lane: FragmentLane) -> Vec<(Sample, u32)> {
    let samples = source.samples();
    let is_video = source.track.kind == TrackKind::Video;
    let begin = u64::try_from(lane.moved).unwrap_or(0);
    let from = samples.first().map_or(0, |sample| sample.decoded);
    let moved = |decoded: u64| match is_video {
        true => decoded.saturating_sub(from).saturating_add(begin),
        false => decoded,
    };
    let sample = |(number, it): (usize, &Sample)| {
        let length = u32::try_from(source.duration(number)).unwrap_or(u32::MAX);
        let bytes = (it.offset, it.size());
        Some((Sample::new(bytes, moved(it.decoded), it.shown(), it.is_key())?, length))
    };
    samples.iter().enumerate().filter(|it| it.1.size() > 0).filter_map(sample).collect()
}

/// What a sample of `track` is when its fragment does not say.
pub(crate) fn defaults(lanes: &[FragmentLane], track: u32) -> FragmentDefaults {
    let lane = lanes.iter().find(|lane| lane.track == track);
    lane.map(|lane| lane.defaults).unwrap_or_default()
}
