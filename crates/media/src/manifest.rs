//! What playlists of HLS and manifests of DASH have in common.

use crate::TrackKind;
use crate::presentation::{Presentation, Stream};

/// Something that a playlist or manifest names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// The playlist of a stream (HLS).
    Playlist(usize),
    /// The header of a stream.
    Header(usize),
    /// A segment of a stream: the stream, and when the segment begins in units of that stream; of a text in milliseconds.
    Segment(usize, u64),
    /// The same of a text as WebVTT.
    Text(usize, u64),
}

/// Subtitles that lie beside a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Subtitle {
    /// The number that tells them apart.
    pub number: u32,
    /// Their language (BCP 47), if it is told.
    pub language: Option<String>,
    /// Address of their playlist (HLS).
    pub playlist: String,
    /// Address of themselves as WebVTT.
    pub text: String,
}

/// What one playlist or manifest lists: a film in one or several qualities, and its subtitles.
#[derive(Clone, Debug)]
pub struct Listing<'l> {
    /// The qualities, the smallest first: players begin with that. Never empty.
    films: Vec<&'l Presentation>,
    subtitles: &'l [Subtitle],
}

impl<'l> Listing<'l> {
    /// Of one film alone.
    #[must_use]
    pub fn of(film: &'l Presentation) -> Self {
        Self { films: vec![film], subtitles: &[] }
    }
    /// Of several qualities of one film, the smallest first; `None` if there are none. Of each that stands beside others only the
    /// stream of pictures is listed that it is cut at.
    #[must_use]
    pub fn new(films: Vec<&'l Presentation>, subtitles: &'l [Subtitle]) -> Option<Self> {
        (!films.is_empty()).then_some(Self { films, subtitles })
    }
    pub(crate) fn is_single(&self) -> bool {
        self.films.len() == 1
    }
    pub(crate) fn films(&self) -> impl Iterator<Item = (usize, &'l Presentation)> {
        self.films.iter().copied().enumerate()
    }
    pub(crate) fn subtitles(&self) -> impl Iterator<Item = &'l Subtitle> {
        self.subtitles.iter()
    }
    /// The streams of a kind that are listed: film, number, stream.
    ///
    /// Sound is that of the smallest quality that has any, for all of them: players then never change it, nor mix the file of one quality
    /// with that of another one because of it, and what lies beside it is what they fall back to.
    pub(crate) fn streams(
        &self,
        kind: TrackKind,
    ) -> Vec<(usize, &'l Presentation, usize, &'l Stream)> {
        let of = |(place, film): (usize, &'l Presentation)| {
            let streams = film.streams().iter().enumerate();
            let streams = streams.filter(move |(_, it)| it.track.kind == kind && it.is_packaged());
            streams.map(move |(number, stream)| (place, film, number, stream)).collect::<Vec<_>>()
        };
        let mut all = self.films().map(of);
        if kind == TrackKind::Video {
            let listed = all.flatten();
            return listed
                .filter(|(_, film, number, _)| self.is_single() || *number == film.reference())
                .collect();
        }
        all.find(|streams| !streams.is_empty()).unwrap_or_default()
    }
    /// The text tracks that are listed: film, number, stream. They are those of the smallest quality that has any, as with sound.
    pub(crate) fn texts(&self) -> Vec<(usize, &'l Presentation, usize, &'l Stream)> {
        let found = self.films().find(|(_, film)| !film.texts().is_empty());
        let of = |(place, film): (usize, &'l Presentation)| {
            let numbered = (film.streams().len()..).zip(film.texts());
            numbered.map(|(number, stream)| (place, film, number, stream)).collect()
        };
        found.map(of).unwrap_or_default()
    }
    /// Whether all qualities are cut at the same times, to a millisecond.
    pub(crate) fn is_aligned(&self) -> bool {
        let cuts = |(_, film): (usize, &'l Presentation)| {
            let number = film.reference();
            let scale = film.streams().get(number).map_or(1, |stream| stream.timescale);
            let ms = move |units| crate::bytes::rescaled(units, scale, 1000);
            film.spans(number).map(move |span| ms(span.start)).collect::<Vec<_>>()
        };
        let mut all = self.films().map(cuts);
        let Some(first) = all.next() else { return true };
        let near = |(a, b): (&u64, &u64)| a.abs_diff(*b) <= 1;
        all.all(|other| other.len() == first.len() && first.iter().zip(&other).all(near))
    }
    pub(crate) fn duration_ms(&self) -> u64 {
        self.films().map(|(_, film)| film.duration_ms()).max().unwrap_or(0)
    }
}

/// The one of several streams that is chosen where nobody chooses: the first of which the film says so.
pub(crate) fn chosen<'s>(mut streams: impl Iterator<Item = &'s Stream>) -> Option<usize> {
    streams.position(|stream| stream.track.is_default)
}

/// When the segments of text of a film are shown, in milliseconds.
pub(crate) fn stretches(film: &Presentation) -> impl Iterator<Item = core::ops::Range<u64>> {
    let all = (0..film.segments().len()).filter_map(|number| film.stretch(number));
    all.filter(|stretch| !stretch.is_empty())
}

/// Bits in a second.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Rate {
    /// Of the segment that needs most.
    pub(crate) most: u64,
    /// Of all.
    pub(crate) mean: u64,
}

impl Rate {
    pub(crate) fn max(self, other: Self) -> Self {
        Self { most: self.most.max(other.most), mean: self.mean.max(other.mean) }
    }
    pub(crate) fn plus(self, other: Self) -> Self {
        let most = self.most.saturating_add(other.most);
        Self { most, mean: self.mean.saturating_add(other.mean) }
    }
}

/// What a stream needs. O(samples).
pub(crate) fn rate_of(presentation: &Presentation, number: usize) -> Rate {
    let Some(stream) = presentation.streams().get(number) else { return Rate::default() };
    let bits = |samples: core::ops::Range<usize>| {
        let samples = stream.samples().get(samples).unwrap_or(&[]);
        samples.iter().map(|sample| u64::from(sample.size()) * 8).sum::<u64>()
    };
    let per_second = |bits: u64, units: u64| {
        let rate = u128::from(bits) * u128::from(stream.timescale) / u128::from(units.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    if presentation.segments().iter().all(|segment| segment.bytes.is_some()) {
        // How the bytes are shared among streams is not known: nearly all are those of the stream that the film is cut at.
        if number != presentation.reference() {
            let rate = SOUND_BITS * u64::from(stream.coding.channels.max(1));
            return Rate { most: rate, mean: rate };
        }
        let bits = |bytes: &core::ops::Range<u64>| (bytes.end - bytes.start).saturating_mul(8);
        let segments = presentation.segments().iter();
        let all = segments.filter_map(|segment| {
            let span = segment.spans.get(number)?;
            Some((bits(segment.bytes.as_ref()?), span.end - span.start))
        });
        let most = all.clone().map(|(bits, units)| per_second(bits, units)).max();
        let mean = per_second(all.map(|(bits, _)| bits).fold(0, u64::saturating_add), stream.end());
        return Rate { most: most.unwrap_or(0).max(mean), mean };
    }
    let spans = presentation.segments().iter().filter_map(|segment| segment.spans.get(number));
    let most =
        spans.map(|span| per_second(bits(span.samples.clone()), span.end - span.start)).max();
    let mean = per_second(bits(0..stream.samples().len()), stream.end());
    Rate { most: most.unwrap_or(0).max(mean), mean }
}

/// Bits in a second of a channel of sound, where nothing is known of them.
const SOUND_BITS: u64 = 64_000;

/// `units` as seconds with six decimals.
pub(crate) fn seconds(units: u64, timescale: u32) -> String {
    let micros = crate::bytes::rescaled(units, timescale, 1_000_000);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
