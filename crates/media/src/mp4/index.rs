//! Sample tables to a time index.

use super::tables::{Places, Shifts, Times, sync_samples};
use super::track::{Movie, Timing, TrackTables};
use crate::limits::{DURATION_MS_MAX, INTERLEAVE_BYTES_MAX, KEY_GAP_MS, KEYS_MAX};
use shoal_wire::time_index::KeyPoint;

/// Collects keys: ascending in time and offset, inside the file, not too dense, not too many.
#[derive(Debug)]
pub(crate) struct Keys {
    keys: Vec<KeyPoint>,
    length: u64,
}

impl Keys {
    /// None yet, for a file of `length` bytes.
    pub(crate) fn new(length: u64) -> Self {
        Self { keys: Vec::new(), length }
    }
    /// Takes a key unless it breaks the order, lies outside the file, or comes too soon after the last.
    pub(crate) fn push(&mut self, time_ms: u64, offset: u64) {
        let fits = self.keys.last().is_none_or(|last| {
            time_ms >= last.time_ms.saturating_add(KEY_GAP_MS) && offset > last.offset
        });
        if fits && time_ms <= DURATION_MS_MAX && offset < self.length && self.keys.len() < KEYS_MAX
        {
            self.keys.push(KeyPoint { time_ms, offset });
        }
    }
    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
    /// The keys.
    pub(crate) fn into_vec(self) -> Vec<KeyPoint> {
        self.keys
    }
}

/// A track beside the reference: what of it is needed at a key.
struct Companion<'a> {
    timing: Timing,
    times: Times<'a>,
    places: Places<'a>,
}

impl Companion<'_> {
    /// Offset of the sample that is decoded at film time `ms`.
    fn offset_at(&mut self, ms: u64) -> Option<u64> {
        let sample = self.times.sample_at(self.timing.units(ms));
        self.places.offset_of(sample)
    }
}

/// The keys of a film whose samples are all described by its `moov`. Costs one pass over the tables.
pub(crate) fn keys(movie: &Movie<'_>, length: u64) -> Option<Vec<KeyPoint>> {
    let reference = movie.reference()?;
    let mut companions: Vec<_> = movie
        .tracks
        .iter()
        .enumerate()
        .filter(|(number, track)| {
            *number != reference
                && matches!(track.track.kind, crate::TrackKind::Video | crate::TrackKind::Audio)
        })
        .filter_map(|(_, track)| {
            let (times, places) = (Times::new(track.stts), Places::new(&track.places)?);
            Some(Companion { timing: track.timing, times, places })
        })
        .collect();
    let track = movie.tracks.get(reference)?;
    let mut places = Places::new(&track.places)?;
    let mut keys = Keys::new(length);
    each_key(track, |ms, sample| {
        let Some(own) = places.offset_of(sample) else { return false };
        let lowest = companions
            .iter_mut()
            .filter_map(|companion| companion.offset_at(ms))
            .filter(|offset| offset.saturating_add(INTERLEAVE_BYTES_MAX) >= own)
            .fold(own, u64::min);
        keys.push(ms, lowest);
        keys.len() < KEYS_MAX
    });
    Some(keys.into_vec())
}

/// Calls `visit` with film time and number of each sample at which decoding can begin, until it says no.
fn each_key(track: &TrackTables<'_>, mut visit: impl FnMut(u64, u64) -> bool) {
    let mut times = Times::new(track.stts);
    let mut shifts = Shifts::new(track.ctts);
    let timing = track.timing;
    let mut film_ms = move |sample: u64| {
        let decoded = times.time_of(sample)?;
        Some(timing.film_ms(decoded.saturating_add_signed(shifts.of(sample))))
    };
    if let Some(stss) = track.stss {
        for sample in sync_samples(stss) {
            match film_ms(sample) {
                Some(ms) if visit(ms, sample) => {}
                _ => return,
            }
        }
        return;
    }
    // Every sample is a key: look at one per step of time, however many there are.
    let (samples, _) = Times::total(track.stts);
    let mut steps = Times::new(track.stts);
    let (mut sample, mut visited) = (0, 0);
    while sample < samples && visited < KEYS_MAX {
        let Some(ms) = film_ms(sample) else { return };
        if !visit(ms, sample) {
            return;
        }
        // The first sample that begins at the next step or later.
        let target = timing.units(ms.saturating_add(KEY_GAP_MS));
        let next = steps.sample_at(target.saturating_sub(1)) + 1;
        sample = next.max(sample + 1);
        visited += 1;
    }
}
