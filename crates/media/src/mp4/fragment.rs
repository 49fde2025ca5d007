//! Films in fragments: `sidx`, `mfra`, and `moof` itself (ISO/IEC 14496-12, 8.8 and 8.16).

use super::boxes::{child, children, version_flags};
use super::track::{FragmentDefaults, Timing};
use crate::bytes::{rescaled, u16_at, u32_at, u64_at, wide_at};
use crate::limits::FRAGMENT_SAMPLES_MAX;

/// Sample flag: decoding cannot begin here (8.8.3.1).
const SAMPLE_IS_NOT_SYNC: u32 = 0x0001_0000;

/// Of an entry of `sidx`: it begins with a key (8.16.3).
const STARTS_WITH_SAP: u32 = 1 << 31;

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
    /// The same in units of the reference track.
    pub(crate) shown: i64,
    pub(crate) offset: u64,
    /// Whether nothing of the track comes before the key.
    pub(crate) is_start: bool,
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
        let shown = timing.film_units(rescaled(time, timescale, timing.timescale));
        let is_start = u32_at(entry, 8)? & STARTS_WITH_SAP != 0;
        points.push(Point { time_ms: own.film_ms(time), shown, offset, is_start });
        offset = offset.checked_add(u64::from(u32_at(entry, 0)? & 0x7fff_ffff))?;
        time = time.saturating_add(u64::from(u32_at(entry, 4)?));
    }
    // Where it is said of none, nobody looked.
    if points.iter().all(|point| !point.is_start) {
        points.iter_mut().for_each(|point| point.is_start = true);
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
            // The last number is that of the sample in its run, from one.
            let sample = entry.last().copied().unwrap_or(0);
            Some(Point {
                time_ms: reference.timing.film_ms(time),
                shown: reference.timing.film_units(time),
                offset: wide_at(entry, half, wide)?,
                is_start: sample <= 1,
            })
        })
        .collect()
}

/// What one fragment holds of the reference track.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fragment {
    /// When its first key is shown, in the track's units.
    pub(crate) key: Option<u64>,
    /// Whether that is its first sample.
    pub(crate) is_start: bool,
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
        if child(traf, b"tfdt").is_some() {
            time = read_tfdt(traf)?;
        }
        let mut is_first = true;
        for (_, trun) in children(traf).filter(|(name, _)| name == b"trun") {
            let run = Run::read(trun, defaults)?;
            let (key, end) = run.walk(time)?;
            if let (None, Some((key, number))) = (fragment.key, key) {
                fragment.key = Some(key);
                fragment.is_start = is_first && number == 0;
            }
            is_first &= run.count == 0;
            time = end;
        }
        fragment.end = Some(time);
    }
    Some(fragment)
}

/// When the first sample of a `traf` is decoded (8.8.12).
fn read_tfdt(traf: &[u8]) -> Option<u64> {
    let tfdt = child(traf, b"tfdt")?;
    let wide = version_flags(tfdt).is_some_and(|(version, _)| version == 1);
    wide_at(tfdt, 4, wide)
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

/// What a run of samples says of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Told {
    duration: u32,
    size: u32,
    flags: u32,
    /// How much later than decoded it is shown, in units of the track.
    shift: i64,
}

/// A `trun` (8.8.8).
#[derive(Debug)]
struct Run<'a> {
    /// Samples that it claims.
    count: u32,
    /// Where its data begin, from the base of the track fragment on.
    data_offset: Option<i32>,
    signed: bool,
    flags: u32,
    first_flags: Option<u32>,
    defaults: FragmentDefaults,
    /// What is told of each sample: that many bytes of each.
    table: &'a [u8],
    width: usize,
}

impl<'a> Run<'a> {
    fn read(trun: &'a [u8], defaults: FragmentDefaults) -> Option<Self> {
        let (version, flags) = version_flags(trun)?;
        let count = u32_at(trun, 4)?;
        let mut at = 8;
        let mut optional = |bit: u32| {
            let value = (flags & bit != 0).then(|| u32_at(trun, at));
            at += if flags & bit != 0 { 4 } else { 0 };
            value
        };
        let data_offset = optional(0x01);
        let data_offset = if let Some(offset) = data_offset { Some(offset? as i32) } else { None };
        let first_flags = optional(0x04);
        let first_flags = if let Some(flags) = first_flags { Some(flags?) } else { None };
        let width = (flags & 0xf00).count_ones() as usize * 4;
        let (signed, table) = (version != 0, trun.get(at..)?);
        Some(Self { count, data_offset, signed, flags, first_flags, defaults, table, width })
    }
    /// `None` behind the last, and where its bytes are missing.
    fn sample(&self, number: u32) -> Option<Told> {
        let start = (number as usize).checked_mul(self.width)?;
        let sample = self.table.get(start..start.checked_add(self.width)?)?;
        let mut at = 0;
        let mut field = |bit: u32| {
            let value = (self.flags & bit != 0).then(|| u32_at(sample, at)).flatten();
            at += if self.flags & bit != 0 { 4 } else { 0 };
            value
        };
        let (duration, size) = (field(0x100), field(0x200));
        let (own_flags, shift) = (field(0x400), field(0x800).unwrap_or(0));
        let flags = self.first_flags.filter(|_| number == 0).or(own_flags);
        (number < self.count).then_some(Told {
            duration: duration.unwrap_or(self.defaults.duration),
            size: size.unwrap_or(self.defaults.size),
            flags: flags.unwrap_or(self.defaults.flags),
            shift: if self.signed { i64::from(shift as i32) } else { i64::from(shift) },
        })
    }
    /// Walks over samples of which the first is decoded at `time`. Gives when the first key is shown and its number, and when decoding
    /// ends. Costs no more than the bytes it has, whatever count it claims.
    fn walk(&self, time: u64) -> Option<(Option<(u64, u32)>, u64)> {
        let is_key = |flags: u32| flags & SAMPLE_IS_NOT_SYNC == 0;
        if self.width == 0 {
            // All but the first are the same.
            let step = u64::from(self.defaults.duration);
            let key = (0..self.count.min(2))
                .find(|number| self.sample(*number).is_some_and(|told| is_key(told.flags)))
                .map(|number| (time.saturating_add(u64::from(number) * step), number));
            return Some((key, time.saturating_add(u64::from(self.count) * step)));
        }
        let (mut key, mut end) = (None, time);
        for number in 0..self.count {
            let told = self.sample(number)?;
            if key.is_none() && is_key(told.flags) {
                key = Some((end.saturating_add_signed(told.shift), number));
            }
            end = end.saturating_add(u64::from(told.duration));
        }
        Some((key, end))
    }
}

/// A sample of a fragment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FragmentSample {
    /// Its track.
    pub(crate) track: u32,
    /// When it is decoded, in units of the track, where the fragment tells; otherwise when the one before it of its track ends.
    pub(crate) time: Option<u64>,
    /// How long until the next is decoded.
    pub(crate) duration: u32,
    /// How much later than decoded it is shown.
    pub(crate) shift: i64,
    /// Where it begins in the file, and its size.
    pub(crate) offset: u64,
    pub(crate) size: u32,
    pub(crate) is_key: bool,
}

/// Calls `visit` with each sample that the body of a `moof` at `at` tells of and that lies inside a file of `length` bytes, at most
/// [`FRAGMENT_SAMPLES_MAX`]. Where something makes no sense it ends.
pub(crate) fn each_sample(
    (body, at, length): (&[u8], u64, u64),
    defaults: impl Fn(u32) -> FragmentDefaults,
    mut visit: impl FnMut(FragmentSample),
) -> Option<()> {
    let (mut left, mut data_end) = (FRAGMENT_SAMPLES_MAX, at);
    for (_, traf) in children(body).filter(|(name, _)| name == b"traf") {
        let tfhd = child(traf, b"tfhd")?;
        let track = u32_at(tfhd, 4)?;
        let defaults = read_tfhd(tfhd, defaults(track))?;
        let (_, flags) = version_flags(tfhd)?;
        // Told, or from the fragment on, or behind the data of the track before.
        let base = match flags {
            _ if flags & 0x01 != 0 => u64_at(tfhd, 8)?,
            _ if flags & 0x02_0000 != 0 => at,
            _ => data_end,
        };
        let mut time = read_tfdt(traf);
        let mut offset = base;
        for (_, trun) in children(traf).filter(|(name, _)| name == b"trun") {
            let run = Run::read(trun, defaults)?;
            if let Some(told) = run.data_offset {
                offset = base.checked_add_signed(i64::from(told))?;
            }
            for number in 0..run.count {
                let Some(told) = run.sample(number) else { break };
                let end = offset.checked_add(u64::from(told.size))?;
                let is_empty = run.width == 0 && told.size == 0;
                if left == 0 || end > length || is_empty {
                    break;
                }
                left -= 1;
                visit(FragmentSample {
                    track,
                    time: time.take(),
                    duration: told.duration,
                    shift: told.shift,
                    offset,
                    size: told.size,
                    is_key: told.flags & SAMPLE_IS_NOT_SYNC == 0,
                });
                offset = end;
            }
        }
        data_end = offset;
    }
    Some(())
}
