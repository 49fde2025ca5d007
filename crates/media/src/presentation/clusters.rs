//! A film whose head tells only of its key points: where in the file the cluster of each is. The frames themselves are told of by the
//! clusters alone.

use super::points::Points;
use crate::limits::DURATION_MS_MAX;

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// How the container's ticks become units of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Clock {
    /// Nanoseconds of a tick.
    scale: u64,
    timescale: u32,
}

impl Clock {
    /// With ticks of `scale` nanoseconds: a unit is a tick where a second has a whole number of them, else a microsecond.
    pub(crate) fn new(scale: u64) -> Self {
        let scale = scale.clamp(1, SECOND);
        let whole = SECOND.is_multiple_of(scale).then_some(SECOND / scale);
        let timescale = whole.and_then(|ticks| u32::try_from(ticks).ok()).unwrap_or(1_000_000);
        Self { scale, timescale }
    }
    /// Units in a second.
    pub(crate) fn timescale(self) -> u32 {
        self.timescale
    }
    /// Of ticks, rounded down.
    pub(crate) fn units(self, ticks: i64) -> i64 {
        let units = i128::from(ticks) * i128::from(self.scale) * i128::from(self.timescale);
        self.clamped(units.div_euclid(i128::from(SECOND)))
    }
    /// Of nanoseconds, rounded to the nearest.
    pub(crate) fn units_of_ns(self, ns: u64) -> i64 {
        let units = i128::from(ns) * i128::from(self.timescale) + i128::from(SECOND / 2);
        self.clamped(units / i128::from(SECOND))
    }
    /// Of nanoseconds, rounded down.
    pub(crate) fn whole_units_of_ns(self, ns: u64) -> i64 {
        self.clamped(i128::from(ns) * i128::from(self.timescale) / i128::from(SECOND))
    }
    /// No film is longer than the longest, in either direction.
    fn clamped(self, units: i128) -> i64 {
        let most = i128::from(DURATION_MS_MAX) * i128::from(self.timescale) / 1000;
        i64::try_from(units.clamp(-most, most)).unwrap_or(0)
    }
}

/// What must be known of a stream's blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lane {
    /// Number of the track.
    pub(crate) number: u64,
    /// Its frames are shown by so much sooner than their blocks say, ns.
    pub(crate) delay_ns: u64,
    /// How long a frame lasts, ns; 0 when that is not told.
    pub(crate) frame_ns: u64,
    /// What every frame begins with and blocks leave out.
    pub(crate) stripped: Vec<u8>,
    /// Whether its frames may be decoded in another order than they are shown.
    pub(crate) reorders: bool,
}

/// A cue of text by the film's own cues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TextCue {
    /// Number of its track.
    pub(crate) track: u64,
    /// When it is shown, and for how long, in ticks.
    pub(crate) ticks: i64,
    pub(crate) length: i64,
    /// Where its cluster begins in the file, and its block in the cluster's body.
    pub(crate) cluster: u64,
    pub(crate) inside: u64,
}

/// The head of a film in clusters.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Clusters {
    pub(crate) clock: Clock,
    /// In the order of the streams.
    pub(crate) lanes: Vec<Lane>,
    pub(crate) points: Points,
    /// Of all streams of text, as far as the film's cues tell of them.
    pub(crate) texts: Vec<TextCue>,
}
