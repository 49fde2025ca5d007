//! The sample tables of a track, walked forward without being copied out (ISO/IEC 14496-12, 8.6 and 8.7).
//!
//! Every cursor only moves forward: asked for something behind it, it answers with where it stands. So a walk over all
//! keys of a film costs one pass over its tables, whatever they claim.

use crate::bytes::{u8_at, u16_at, u32_at, u64_at};

/// Entries of a full box that begin behind its count, `size` bytes each; never more than there are bytes for.
fn entries(body: &[u8], size: usize) -> &[u8] {
    let Some(count) = u32_at(body, 4) else { return &[] };
    let rest = body.get(8..).unwrap_or(&[]);
    let length = (count as usize).saturating_mul(size).min(rest.len() / size * size);
    rest.get(..length).unwrap_or(&[])
}

/// `stts`: decoding times, as runs of samples of equal length.
#[derive(Clone, Debug)]
pub(crate) struct Times<'a> {
    runs: &'a [u8],
    next: usize,
    count: u64,
    delta: u64,
    first_sample: u64,
    first_time: u64,
}

impl<'a> Times<'a> {
    /// At the first sample of `stts`.
    pub(crate) fn new(stts: &'a [u8]) -> Self {
        let runs = entries(stts, 8);
        let mut times = Self { runs, next: 0, count: 0, delta: 0, first_sample: 0, first_time: 0 };
        times.advance();
        times
    }
    /// Moves to the next run; false when there is none.
    fn advance(&mut self) -> bool {
        let (Some(count), Some(delta)) =
            (u32_at(self.runs, self.next * 8), u32_at(self.runs, self.next * 8 + 4))
        else {
            return false;
        };
        self.first_sample += self.count;
        self.first_time = self.first_time.saturating_add(self.count * self.delta);
        // Writers of old files used negative lengths to repair drift: they count as none.
        let delta = i32::try_from(delta).map_or(0, |_| u64::from(delta));
        (self.count, self.delta) = (u64::from(count), delta);
        self.next += 1;
        true
    }
    /// Decoding time of `sample`; `None` behind the last.
    pub(crate) fn time_of(&mut self, sample: u64) -> Option<u64> {
        while sample >= self.first_sample + self.count {
            if !self.advance() {
                return None;
            }
        }
        let inside = sample.saturating_sub(self.first_sample);
        Some(self.first_time.saturating_add(inside * self.delta))
    }
    /// How long the sample lasts that was asked for last.
    pub(crate) fn delta(&self) -> u64 {
        self.delta
    }
    /// The sample that is decoded at `time`: the last one at or before it.
    pub(crate) fn sample_at(&mut self, time: u64) -> u64 {
        while time >= self.first_time.saturating_add(self.count * self.delta) {
            if !self.advance() {
                return (self.first_sample + self.count).saturating_sub(1);
            }
        }
        self.first_sample + time.saturating_sub(self.first_time) / self.delta.max(1)
    }
    /// Samples and time of all runs.
    pub(crate) fn total(stts: &'a [u8]) -> (u64, u64) {
        let mut times = Self::new(stts);
        while times.advance() {}
        let samples = times.first_sample + times.count;
        (samples, times.first_time.saturating_add(times.count * times.delta))
    }
}

/// `ctts`: how much later than decoded a sample is shown.
#[derive(Clone, Debug)]
pub(crate) struct Shifts<'a> {
    runs: &'a [u8],
    signed: bool,
    next: usize,
    end_sample: u64,
    shift: i64,
}

impl<'a> Shifts<'a> {
    /// At the first sample of `ctts`; an empty table shifts nothing.
    pub(crate) fn new(ctts: &'a [u8]) -> Self {
        let signed = u8_at(ctts, 0) == Some(1);
        Self { runs: entries(ctts, 8), signed, next: 0, end_sample: 0, shift: 0 }
    }
    /// Shift of `sample`, in units of the track.
    pub(crate) fn of(&mut self, sample: u64) -> i64 {
        while sample >= self.end_sample {
            let (Some(count), Some(shift)) =
                (u32_at(self.runs, self.next * 8), u32_at(self.runs, self.next * 8 + 4))
            else {
                return 0;
            };
            self.end_sample += u64::from(count);
            self.shift = if self.signed { i64::from(shift as i32) } else { i64::from(shift) };
            self.next += 1;
        }
        self.shift
    }
}

/// `stss`: samples at which decoding can begin, counted from zero, strictly ascending.
pub(crate) fn sync_samples(stss: &[u8]) -> impl Iterator<Item = u64> {
    let mut last = 0;
    entries(stss, 4).chunks_exact(4).filter_map(move |entry| {
        let number = u64::from(u32_at(entry, 0)?);
        let ascends = number > last;
        last = last.max(number);
        ascends.then(|| number - 1)
    })
}

/// `stsz` and `stz2`: sizes of samples.
#[derive(Clone, Copy, Debug)]
enum Sizes<'a> {
    /// All the same.
    Fixed(u64),
    /// A table of 32, 16, 8 or 4 bits each.
    Table { sizes: &'a [u8], bits: u8 },
}

impl<'a> Sizes<'a> {
    fn new(stsz: Option<&'a [u8]>, stz2: Option<&'a [u8]>) -> Option<Self> {
        if let Some(body) = stsz {
            let fixed = u32_at(body, 4)?;
            if fixed > 0 {
                return Some(Self::Fixed(u64::from(fixed)));
            }
            return Some(Self::Table { sizes: body.get(12..)?, bits: 32 });
        }
        let body = stz2?;
        let bits = u8_at(body, 7)?;
        matches!(bits, 4 | 8 | 16).then_some(Self::Table { sizes: body.get(12..)?, bits })
    }
    fn get(&self, sample: u64) -> Option<u64> {
        let (sizes, bits) = match *self {
            Self::Fixed(size) => return Some(size),
            Self::Table { sizes, bits } => (sizes, bits),
        };
        let at = usize::try_from(sample).ok()?;
        match bits {
            32 => u32_at(sizes, at.checked_mul(4)?).map(u64::from),
            16 => u16_at(sizes, at.checked_mul(2)?).map(u64::from),
            8 => u8_at(sizes, at).map(u64::from),
            _ => u8_at(sizes, at / 2)
                .map(|pair| u64::from(if at % 2 == 0 { pair >> 4 } else { pair & 15 })),
        }
    }
}

/// `stsc`, `stco` or `co64`, and the sizes: where samples lie in the file.
#[derive(Clone, Debug)]
pub(crate) struct Places<'a> {
    runs: &'a [u8],
    next_run: usize,
    offsets: &'a [u8],
    wide: bool,
    sizes: Sizes<'a>,
    chunk: u64,
    chunk_first: u64,
    per_chunk: u64,
    /// Where the walk stands inside the chunk: a sample and its offset.
    sample: u64,
    offset: u64,
}

/// The tables of [`Places`].
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct PlaceTables<'a> {
    pub(crate) stsc: Option<&'a [u8]>,
    pub(crate) stco: Option<&'a [u8]>,
    pub(crate) co64: Option<&'a [u8]>,
    pub(crate) stsz: Option<&'a [u8]>,
    pub(crate) stz2: Option<&'a [u8]>,
}

impl<'a> Places<'a> {
    /// At the first sample. `None` when a table is missing or there are no chunks.
    pub(crate) fn new(tables: &PlaceTables<'a>) -> Option<Self> {
        let (offsets, wide) = match (tables.stco, tables.co64) {
            (Some(body), _) => (entries(body, 4), false),
            (None, Some(body)) => (entries(body, 8), true),
            (None, None) => return None,
        };
        let mut places = Self {
            runs: entries(tables.stsc?, 12),
            next_run: 0,
            offsets,
            wide,
            sizes: Sizes::new(tables.stsz, tables.stz2)?,
            chunk: 0,
            chunk_first: 0,
            per_chunk: 0,
            sample: 0,
            offset: 0,
        };
        places.take_run();
        places.offset = places.chunk_offset()?;
        Some(places)
    }
    /// Takes over the run of chunks that begins at the present chunk, if one does.
    fn take_run(&mut self) {
        while let (Some(first), Some(count)) =
            (u32_at(self.runs, self.next_run * 12), u32_at(self.runs, self.next_run * 12 + 4))
        {
            if u64::from(first) > self.chunk + 1 {
                return;
            }
            self.per_chunk = u64::from(count);
            self.next_run += 1;
        }
    }
    fn chunk_offset(&self) -> Option<u64> {
        let chunk = usize::try_from(self.chunk).ok()?;
        if self.wide {
            u64_at(self.offsets, chunk.checked_mul(8)?)
        } else {
            u32_at(self.offsets, chunk.checked_mul(4)?).map(u64::from)
        }
    }
    /// Bytes of `sample`. `None` when the table ends before.
    pub(crate) fn size_of(&self, sample: u64) -> Option<u64> {
        self.sizes.get(sample)
    }
    /// Byte offset of `sample`; of a sample behind the cursor, where it stands. `None` when the tables end before.
    pub(crate) fn offset_of(&mut self, sample: u64) -> Option<u64> {
        while sample >= self.chunk_first + self.per_chunk {
            self.chunk_first += self.per_chunk;
            self.chunk += 1;
            self.take_run();
            self.offset = self.chunk_offset()?;
            self.sample = self.chunk_first;
        }
        if let Sizes::Fixed(size) = self.sizes {
            let skipped = sample.saturating_sub(self.sample).saturating_mul(size);
            self.offset = self.offset.saturating_add(skipped);
            self.sample = self.sample.max(sample);
        }
        while self.sample < sample {
            self.offset = self.offset.saturating_add(self.sizes.get(self.sample)?);
            self.sample += 1;
        }
        Some(self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::{PlaceTables, Places, Shifts, Times, sync_samples};

    fn table(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    #[test]
    fn times_run_forward_over_runs_of_different_length() {
        let stts = table(&[0, 2, 3, 10, 2, 100]);
        let mut times = Times::new(&stts);
        let all: Vec<_> = (0..6).map(|sample| times.time_of(sample)).collect();
        assert_eq!(all, [Some(0), Some(10), Some(20), Some(30), Some(130), None]);
        let mut times = Times::new(&stts);
        let at: Vec<_> = [0, 9, 10, 29, 30, 129, 130, 9999].map(|t| times.sample_at(t)).into();
        assert_eq!(at, [0, 0, 1, 2, 3, 3, 4, 4]);
        assert_eq!(Times::total(&stts), (5, 230));
    }

    #[test]
    fn a_count_beyond_the_bytes_is_cut_to_them() {
        let stts = table(&[0, u32::MAX, 3, 10]);
        assert_eq!(Times::total(&stts), (3, 30));
        let stss = table(&[0, u32::MAX, 1, 5, 5, 3, 9]);
        assert_eq!(sync_samples(&stss).collect::<Vec<_>>(), [0, 4, 8]);
    }

    #[test]
    fn shifts_may_be_negative_in_version_one() {
        let mut ctts = table(&[0, 1, 2, (-5i32) as u32]);
        assert_eq!(Shifts::new(&ctts).of(1), i64::from((-5i32) as u32));
        ctts[0] = 1;
        assert_eq!(Shifts::new(&ctts).of(1), -5);
        assert_eq!(Shifts::new(&ctts).of(2), 0);
    }

    #[test]
    fn places_follow_runs_of_chunks_and_sizes_inside_them() {
        // Chunks 1 and 2 hold two samples each, chunk 3 one.
        let stsc = table(&[0, 2, 1, 2, 1, 3, 1, 1]);
        let stco = table(&[0, 3, 1000, 2000, 3000]);
        let stsz = table(&[0, 0, 5, 10, 20, 30, 40, 50]);
        let tables = PlaceTables {
            stsc: Some(&stsc),
            stco: Some(&stco),
            stsz: Some(&stsz),
            ..PlaceTables::default()
        };
        let mut places = Places::new(&tables).expect("whole tables");
        let all: Vec<_> = (0..6).map(|sample| places.offset_of(sample)).collect();
        assert_eq!(all, [Some(1000), Some(1010), Some(2000), Some(2030), Some(3000), None]);
        let mut places = Places::new(&tables).expect("whole tables");
        assert_eq!(places.offset_of(3), Some(2030));
        assert_eq!(places.offset_of(0), Some(2030), "never goes back");
    }

    #[test]
    fn small_sizes_are_read_from_nibbles() {
        let stsc = table(&[0, 1, 1, 9, 1]);
        let stco = table(&[0, 1, 100]);
        let mut stz2 = table(&[0, 4, 3]);
        stz2.extend_from_slice(&[0x12, 0x30]);
        let tables = PlaceTables {
            stsc: Some(&stsc),
            stco: Some(&stco),
            stz2: Some(&stz2),
            ..PlaceTables::default()
        };
        let mut places = Places::new(&tables).expect("whole tables");
        assert_eq!([0, 1, 2, 3].map(|s| places.offset_of(s)), [100, 101, 103, 106].map(Some));
    }
}
