//! The samples of a track: coded frames, in decoding order.

use crate::MediaError;
use crate::limits::FRAME_BYTES_MAX;
use crate::mp4::{Places, Shifts, Times, TrackTables, sync_samples};

/// A coded frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample {
    /// Where it begins in the file.
    pub offset: u64,
    /// When it is decoded, in units of its track from the start of the film.
    pub decoded: u64,
    /// Its size in bytes; the uppermost bit says that decoding can begin here.
    size: u32,
    /// How much later than decoded it is shown, in units of its track.
    pub shift: i32,
}

const KEY: u32 = 1 << 31;

impl Sample {
    /// One of these bytes. `None` when it is too long.
    pub(crate) fn new(bytes: (u64, u32), decoded: u64, shown: u64, is_key: bool) -> Option<Self> {
        let (offset, size) = bytes;
        let shift = i128::from(shown) - i128::from(decoded);
        let shift = i32::try_from(shift).unwrap_or(if shift < 0 { i32::MIN } else { i32::MAX });
        let size = (size & KEY == 0).then_some(size | if is_key { KEY } else { 0 })?;
        Some(Self { offset, decoded, size, shift })
    }
    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u32 {
        self.size & !KEY
    }
    /// Where it ends in the file.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.size())
    }
    /// Whether decoding can begin with it.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.size & KEY != 0
    }
    /// When it is shown, in units of its track from the start of the film.
    #[must_use]
    pub fn shown(&self) -> u64 {
        self.decoded.saturating_add_signed(i64::from(self.shift))
    }
}

/// All samples of a track.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Samples {
    all: Vec<Sample>,
    /// When the last one ends.
    end: u64,
    /// By how much the one that is shown soonest after its decoding is shown before it.
    delay: u32,
}

impl Samples {
    pub(super) fn all(&self) -> &[Sample] {
        &self.all
    }
    pub(super) fn end(&self) -> u64 {
        self.end
    }
    pub(super) fn delay(&self) -> u32 {
        self.delay
    }
    pub(super) fn duration(&self, index: usize) -> u64 {
        let Some(sample) = self.all.get(index) else { return 0 };
        let next = self.all.get(index + 1).map_or(self.end, |next| next.decoded);
        next.saturating_sub(sample.decoded)
    }
    /// Those of a stream whose samples are parts of the file, each a place and a time to begin. `None` where one is too long.
    pub(super) fn of_parts(parts: &[(core::ops::Range<u64>, u64)], end: u64) -> Option<Self> {
        let sample = |(bytes, decoded): &(core::ops::Range<u64>, u64)| {
            let size =
                u32::try_from(bytes.end - bytes.start).ok().filter(|size| size & KEY == 0)?;
            Some(Sample { offset: bytes.start, decoded: *decoded, size: size | KEY, shift: 0 })
        };
        let all = parts.iter().map(sample).collect::<Option<_>>()?;
        Some(Self { all, end, delay: 0 })
    }
    /// Samples that nothing tells of before they are read, but when the last one ends and what their delay is.
    pub(super) fn untold(end: u64, delay: u32) -> Self {
        Self { all: Vec::new(), end, delay }
    }
    /// The samples that the tables of a `moov` tell of and that lie inside a file of `length` bytes, up to the first that does not or is longer
    /// than [`FRAME_BYTES_MAX`], and
    /// never more than the file has bytes. No more than `most` are accepted.
    pub(super) fn of_tables(
        tables: &TrackTables<'_>,
        length: u64,
        most: usize,
    ) -> Result<Self, MediaError> {
        let Some(mut places) = Places::new(&tables.places) else {
            return Ok(Self { all: Vec::new(), end: 0, delay: 0 });
        };
        let mut times = Times::new(tables.stts);
        let mut shifts = Shifts::new(tables.ctts);
        let mut keys = tables.stss.map(|stss| sync_samples(stss).peekable());
        let timing = tables.timing;
        let mut line: Option<Line> = None;
        let mut all: Vec<Sample> = Vec::new();
        let mut end = 0;
        for number in (0..).take_while(|number| *number < length) {
            if all.len() >= most {
                let received = Times::total(tables.stts).0;
                let limit = crate::limits::SAMPLES_MAX as u64;
                return Err(MediaError::TooManyFrames { limit, received });
            }
            let is_key = match &mut keys {
                Some(keys) => keys.next_if(|key| *key == number).is_some(),
                None => true,
            };
            let (Some(time), Some(offset), Some(size)) =
                (times.time_of(number), places.offset_of(number), places.size_of(number))
            else {
                break;
            };
            let is_inside = offset.checked_add(size).is_some_and(|end| end <= length);
            let is_inside = is_inside && size <= FRAME_BYTES_MAX;
            let Some(size) = u32::try_from(size).ok().filter(|size| is_inside && size & KEY == 0)
            else {
                break;
            };
            let shown = i128::from(time) + i128::from(shifts.of(number))
                - i128::from(timing.media_time)
                + i128::from(timing.delay());
            let line = line.get_or_insert_with(|| Line::new(time, shown));
            let decoded = line.decoded(time);
            let shown = u64::try_from(shown.max(0)).unwrap_or(u64::MAX);
            end = line.decoded(time.saturating_add(times.delta()));
            // What ends before the film begins only warms a decoder up.
            if shown == 0 && end == 0 && tables.track.kind == crate::TrackKind::Audio {
                continue;
            }
            all.extend(Sample::new((offset, size), decoded, shown, is_key));
        }
        all.shrink_to_fit();
        let least = all.iter().map(|sample| sample.shift).min().unwrap_or(0);
        Ok(Self { all, end, delay: least.min(0).unsigned_abs() })
    }
}

/// Decoding times of the container on the film's time line: moved so that the first sample is decoded when it is shown. Where all are
/// shown a little later than decoded, as with pictures that refer to later ones, that takes the delay away, and shifts may be negative.
#[derive(Clone, Copy)]
struct Line {
    moved: i128,
}

impl Line {
    fn new(time: u64, shown: i128) -> Self {
        Self { moved: shown - i128::from(time) }
    }
    fn decoded(self, time: u64) -> u64 {
        u64::try_from((i128::from(time) + self.moved).max(0)).unwrap_or(u64::MAX)
    }
}
