//! Films in fragments: `sidx`, `mfra`, and `moof` itself (ISO/IEC 14496-12, 8.8 and 8.16).

use super::boxes::{child, children, version_flags};
use super::track::{FragmentDefaults, Timing};
use crate::bytes::{u16_at, u32_at, u64_at, wide_at};

/// Sample flag: decoding cannot begin here (8.8.3.1).
const SAMPLE_IS_NOT_SYNC: u32 = 0x0001_0000;

/// What of the film's head is needed to read fragments: the reference track.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reference {
    pub(crate) id: u32,
    pub(crate) timing: Timing,
    pub(crate) defaults: FragmentDefaults,
}

/// A stretch of film that begins at a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Point {
    pub(crate) time_ms: u64,
    pub(crate) offset: u64,
}

/// A segment index.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Track it speaks of.
    pub(crate) track: u32,
    /// Beginning of each segment.
    pub(crate) points: Vec<Point>,
    /// End of the last segment, bytes.
    pub(crate) end: u64,
    /// End of the last segment, ms.
    pub(crate) end_ms: u64,
}

/// Reads the body of a `sidx` that ends at byte `anchor` of the file. `timing` gives the edit list; the scale of time is
/// the box's own.
pub(crate) fn read_sidx(body: &[u8], anchor: u64, timing: &Timing) -> Option<Segments> {
    let (version, _) = version_flags(body)?;
    let wide = version >= 1;
    let track = u32_at(body, 4)?;
    let timescale = u32_at(body, 8)?.max(1);
    // The edit list counts in the track's units.
    let skipped =
        u128::from(timing.media_time) * u128::from(timescale) / u128::from(timing.timescale.max(1));
    let own = Timing {
        timescale,
        media_time: u64::try_from(skipped).unwrap_or(u64::MAX),
        delay_ms: timing.delay_ms,
    };
    let mut time = wide_at(body, 12, wide)?;
    let first = wide_at(body, if wide { 20 } else { 16 }, wide)?;
    let mut at = if wide { 28 } else { 20 };
    let count = u16_at(body, at + 2)?;
    at += 4;
    let mut offset = anchor.checked_add(first)?;
    let mut points = Vec::new();
    for entry in body.get(at..)?.chunks_exact(12).take(usize::from(count)) {
        points.push(Point { time_ms: own.film_ms(time), offset });
        offset = offset.checked_add(u64::from(u32_at(entry, 0)? & 0x7fff_ffff))?;
        time = time.saturating_add(u64::from(u32_at(entry, 4)?));
    }
    Some(Segments { track, points, end: offset, end_ms: own.film_ms(time) })
}

/// Length of the `mfra` at the end of a file, from the `mfro` that ends it.
pub(crate) fn mfra_length(tail: &[u8]) -> Option<u64> {
    let mfro = tail.get(tail.len().checked_sub(16)?..)?;
    (mfro.get(4..8)? == b"mfro").then(|| u32_at(mfro, 12).map(u64::from))?
}

/// The random access points of the reference track in the body of an `mfra`: time and offset of a `moof` each.
pub(crate) fn read_mfra(body: &[u8], reference: &Reference) -> Option<Vec<Point>> {
    let tfra = children(body)
        .filter(|(name, _)| name == b"tfra")
        .map(|(_, body)| body)
        .find(|body| u32_at(body, 4) == Some(reference.id))?;
    let (version, _) = version_flags(tfra)?;
    let wide = version == 1;
    let lengths = u32_at(tfra, 8)?;
    let numbers: usize = [4, 2, 0].iter().map(|shift| (lengths >> shift & 3) as usize + 1).sum();
    let count = u32_at(tfra, 12)? as usize;
    let half = if wide { 8 } else { 4 };
    let entries = tfra.get(16..)?.chunks_exact(2 * half + numbers).take(count);
    entries
        .map(|entry| {
            let time = wide_at(entry, 0, wide)?;
            Some(Point {
                time_ms: reference.timing.film_ms(time),
                offset: wide_at(entry, half, wide)?,
            })
        })
        .collect()
}

/// What one fragment holds of the reference track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fragment {
    /// Film time of its first key, ms.
    pub(crate) key_ms: Option<u64>,
    /// Decoding time at its end, in the track's units; `None` when the fragment has none of the track.
    pub(crate) end: Option<u64>,
}

/// Reads the body of a `moof`. `start` is the decoding time at its beginning when it does not say itself.
pub(crate) fn read_moof(body: &[u8], reference: &Reference, start: u64) -> Option<Fragment> {
    let mut fragment = Fragment::default();
    for (_, traf) in children(body).filter(|(name, _)| name == b"traf") {
        let tfhd = child(traf, b"tfhd")?;
        if u32_at(tfhd, 4)? != reference.id {
            continue;
        }
        let defaults = read_tfhd(tfhd, reference.defaults)?;
        let mut time = fragment.end.unwrap_or(start);
        if let Some(tfdt) = child(traf, b"tfdt") {
            let wide = version_flags(tfdt).is_some_and(|(version, _)| version == 1);
            time = wide_at(tfdt, 4, wide)?;
        }
        for (_, trun) in children(traf).filter(|(name, _)| name == b"trun") {
            let run = read_trun(trun, defaults, time)?;
            if let (None, Some(key)) = (fragment.key_ms, run.key) {
                fragment.key_ms = Some(reference.timing.film_ms(key));
            }
            time = run.end;
        }
        fragment.end = Some(time);
    }
    Some(fragment)
}

/// Defaults of a track fragment header (8.8.7).
fn read_tfhd(tfhd: &[u8], mut defaults: FragmentDefaults) -> Option<FragmentDefaults> {
    let (_, flags) = version_flags(tfhd)?;
    let mut at = 8;
    if flags & 0x01 != 0 {
        u64_at(tfhd, at)?;
        at += 8;
    }
    let mut optional = |bit: u32, value: &mut u32| {
        if flags & bit != 0 {
            *value = u32_at(tfhd, at)?;
            at += 4;
        }
        Some(())
    };
    let mut description = 0;
    optional(0x02, &mut description)?;
    optional(0x08, &mut defaults.duration)?;
    optional(0x10, &mut defaults.size)?;
    optional(0x20, &mut defaults.flags)?;
    Some(defaults)
}

/// A run of samples: presentation time of its first key, and decoding time at its end.
struct Run {
    key: Option<u64>,
    end: u64,
}

/// Reads a `trun` (8.8.8) whose first sample is decoded at `time`. Costs no more than the bytes it has, whatever count
/// it claims.
fn read_trun(trun: &[u8], defaults: FragmentDefaults, time: u64) -> Option<Run> {
    let (version, flags) = version_flags(trun)?;
    let count = u32_at(trun, 4)?;
    let mut at = 8 + if flags & 0x01 != 0 { 4 } else { 0 };
    let mut first_flags = None;
    if flags & 0x04 != 0 {
        first_flags = Some(u32_at(trun, at)?);
        at += 4;
    }
    let place_of = |bit: u32| {
        let before = [0x100u32, 0x200, 0x400, 0x800].iter().take_while(|other| **other < bit);
        (flags & bit != 0).then(|| before.filter(|other| flags & **other != 0).count() * 4)
    };
    let (duration, own_flags, shift) = (place_of(0x100), place_of(0x400), place_of(0x800));
    let size = (flags & 0xf00).count_ones() as usize * 4;
    let is_key = |flags: u32| flags & SAMPLE_IS_NOT_SYNC == 0;
    let mut run = Run { key: None, end: time };
    if size == 0 {
        let step = u64::from(defaults.duration);
        run.end = time.saturating_add(u64::from(count) * step);
        let keys = [first_flags.unwrap_or(defaults.flags), defaults.flags];
        let first = keys.iter().take(count as usize).position(|flags| is_key(*flags));
        run.key = first.map(|number| time.saturating_add(number as u64 * step));
        return Some(run);
    }
    let mut samples = trun.get(at..)?.chunks_exact(size);
    for number in 0..count {
        let sample = samples.next()?;
        let field = |place: Option<usize>| place.and_then(|place| u32_at(sample, place));
        let flags = first_flags.filter(|_| number == 0).or_else(|| field(own_flags));
        if run.key.is_none() && is_key(flags.unwrap_or(defaults.flags)) {
            let shift = field(shift).unwrap_or(0);
            let shift = if version == 0 { i64::from(shift) } else { i64::from(shift as i32) };
            run.key = Some(run.end.saturating_add_signed(shift));
        }
        let duration = field(duration).unwrap_or(defaults.duration);
        run.end = run.end.saturating_add(u64::from(duration));
    }
    Some(run)
}
