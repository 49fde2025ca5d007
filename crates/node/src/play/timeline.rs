//! Film time and bytes of one file: by its time index, or at a constant rate where there is none.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::time_index::TimeIndex;

use crate::config::limits::{
    BOOT_RANGES_MAX, STRETCH_MERGE_ERROR, STRETCH_MIN, STRETCH_SLACK, STRETCHES_MAX,
};
use crate::time::{Instant, bytes_in, time_of};
use crate::turn::Window;

/// Where a film lies in its title, and which byte is needed when.
#[derive(Clone, Debug)]
pub(crate) struct Timeline {
    /// First byte of the file in piece space.
    start: u64,
    /// Bytes of the file.
    length: u64,
    index: Option<Arc<TimeIndex>>,
    /// Bytes/s where there is no index.
    rate: u64,
}

impl Timeline {
    /// A timeline for the file of `length` bytes at `start` of piece space. An index that is about another length, or
    /// has no keys or no duration, is not used.
    pub(crate) fn new(start: u64, length: u64, index: Option<Arc<TimeIndex>>, rate: u64) -> Self {
        let index = index.filter(|index| {
            index.length == length && index.duration_ms > 0 && !index.keys.is_empty()
        });
        Self { start, length, index, rate: rate.max(1) }
    }
    /// Whether times come from an index.
    pub(crate) fn is_exact(&self) -> bool {
        self.index.is_some()
    }
    /// First byte of the file in piece space.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }
    /// Bytes of the file.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
    /// Length of the film.
    pub(crate) fn duration(&self) -> Duration {
        match &self.index {
            Some(index) => Duration::from_millis(index.duration_ms),
            None => time_of(self.length, self.rate),
        }
    }
    /// Film that can be shown when all bytes below `offset` of the file are there. Rounded down to milliseconds.
    pub(crate) fn time_at(&self, offset: u64) -> Duration {
        if offset >= self.length {
            return self.duration();
        }
        match &self.index {
            Some(index) => Duration::from_millis(index.time_at(offset)),
            None => time_of(offset, self.rate),
        }
    }
    /// First byte of the file that is needed at `time`; the length of the file at the end.
    pub(crate) fn offset_at(&self, time: Duration) -> u64 {
        if time >= self.duration() {
            return self.length;
        }
        match &self.index {
            Some(index) => index.offset_at(millis(time)).min(self.length),
            None => bytes_in(time, self.rate).min(self.length),
        }
    }
    /// Where a jump to `time` lands: the key frame at or before it; `time` itself, clamped, when keys are not known.
    pub(crate) fn landing(&self, time: Duration) -> Duration {
        match &self.index {
            Some(index) => index
                .key_before(millis(time))
                .map_or(Duration::ZERO, |key| Duration::from_millis(key.time_ms)),
            None => time.min(self.duration()),
        }
    }
    /// Byte ranges of the file, first and end, that a player needs before anything else; not empty, clamped.
    pub(crate) fn boot(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.index
            .iter()
            .flat_map(|index| index.boot.iter())
            .take(BOOT_RANGES_MAX)
            .map(|&(offset, length)| (offset, offset.saturating_add(length).min(self.length)))
            .filter(|(offset, end)| offset < end)
    }
    /// How many of the bytes `from..to` of the file lie outside the boot ranges.
    pub(crate) fn film_bytes(&self, from: u64, to: u64) -> u64 {
        let boot: u64 =
            self.boot().map(|(first, end)| end.min(to).saturating_sub(first.max(from))).sum();
        to.saturating_sub(from).saturating_sub(boot)
    }
    /// Appends the boot ranges as windows, due at `due`.
    pub(crate) fn boot_windows(&self, due: Instant, windows: &mut Vec<Window>) {
        let rate = self.rate_of(0, self.length, self.duration());
        windows.extend(self.boot().map(|(first, end)| Window {
            start: self.start + first,
            end: self.start + end,
            due,
            rate,
            playing: false,
            guessed: !self.is_exact(),
        }));
    }
    /// Appends windows for the film from `from` to `to` (clamped), `from` being needed at `due`: stretches of constant
    /// rate, cut at key frames, in order, at most 16.
    pub(crate) fn film_windows(
        &self,
        (from, to): (Duration, Duration),
        due: Instant,
        playing: bool,
        windows: &mut Vec<Window>,
    ) {
        let to = to.min(self.duration());
        let shortest = STRETCH_MIN.max(to.saturating_sub(from) / STRETCHES_MAX);
        let first_own = windows.len();
        let mut time = from;
        while time < to {
            let next = self.cut(time, shortest).min(to);
            let (start, end) = (self.offset_at(time), self.offset_at(next));
            if start < end {
                let window = Window {
                    start: self.start + start,
                    end: self.start + end,
                    due: due + (time - from),
                    rate: self.rate_of(start, end, next - time),
                    playing,
                    guessed: !self.is_exact(),
                };
                let merged = windows[first_own..].last().and_then(|last| merge(last, &window));
                match merged {
                    Some(merged) => {
                        windows.pop();
                        windows.push(merged);
                    }
                    None => windows.push(window),
                }
            }
            time = next;
        }
    }

    /// The end of the stretch that begins at `time`: a key frame between `shortest` and a few times that after it.
    fn cut(&self, time: Duration, shortest: Duration) -> Duration {
        let nominal = time + shortest;
        let Some(index) = &self.index else { return self.duration().max(nominal) };
        let after = index.keys.partition_point(|key| key.time_ms < millis(nominal));
        index
            .keys
            .get(after)
            .map(|key| Duration::from_millis(key.time_ms))
            .filter(|key| *key <= nominal + shortest * (STRETCH_SLACK - 1))
            .unwrap_or(nominal)
    }
    fn rate_of(&self, start: u64, end: u64, time: Duration) -> u64 {
        let nanos = time.as_nanos().max(1);
        let rate = u128::from(end.saturating_sub(start)) * 1_000_000_000 / nanos;
        u64::try_from(rate).unwrap_or(u64::MAX).max(1)
    }
}

/// One window for two that follow each other, when its due times are right for both.
fn merge(first: &Window, second: &Window) -> Option<Window> {
    if first.end != second.start {
        return None;
    }
    let end = second.due + time_of(second.end - second.start, second.rate);
    let bytes = second.end - first.start;
    let nanos = end.since(first.due).as_nanos().max(1);
    let rate = u64::try_from(u128::from(bytes) * 1_000_000_000 / nanos).unwrap_or(u64::MAX).max(1);
    let middle = first.due + time_of(first.end - first.start, rate);
    let error = middle.since(second.due).max(second.due.since(middle));
    (error <= STRETCH_MERGE_ERROR).then_some(Window { end: second.end, rate, ..*first })
}

/// Whole milliseconds of a film time.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::Timeline;
    use crate::time::{Instant, time_of};
    use alloc::sync::Arc;
    use alloc::vec;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;
    use shoal_wire::time_index::{KeyPoint, TimeIndex};

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_film_of_constant_rate_is_one_window() {
        let index = TimeIndex::constant_rate(60_000_000, 60_000, 65_536);
        let line = Timeline::new(1000, 60_000_000, Some(Arc::new(index)), 1);
        let mut windows = Vec::new();
        line.film_windows((secs(10), secs(40)), Instant::from_millis(5), true, &mut windows);
        assert_eq!(windows.len(), 1, "{windows:?}");
        assert_eq!(windows[0].due, Instant::from_millis(5));
        assert_eq!(windows[0].start, 1000 + line.offset_at(secs(10)));
        assert_eq!(windows[0].end, 1000 + line.offset_at(secs(40)));
    }

    #[test]
    fn an_index_for_another_file_is_not_used() {
        let index = TimeIndex::constant_rate(100, 60_000, 0);
        let line = Timeline::new(0, 1_000_000, Some(Arc::new(index)), 1000);
        assert!(!line.is_exact());
        assert_eq!(line.duration(), secs(1000));
        assert_eq!(line.landing(secs(5)), secs(5));
    }

    #[test]
    fn boot_ranges_are_clamped_and_do_not_count_as_film() {
        let mut index = TimeIndex::constant_rate(1000, 10_000, 100);
        index.boot = vec![(0, 100), (900, u64::MAX), (2000, 5)];
        let line = Timeline::new(0, 1000, Some(Arc::new(index)), 1);
        assert_eq!(line.boot().collect::<Vec<_>>(), [(0, 100), (900, 1000)]);
        assert_eq!(line.film_bytes(50, 950), 800);
    }

    proptest! {
        #[test]
        fn windows_of_any_film_are_contiguous_few_and_due_when_the_index_says(
            gops in proptest::collection::vec((200u64..6000, 1000u64..4_000_000), 1..80),
            from in 0u64..100,
            window in 1u64..60,
        ) {
            let (mut time_ms, mut offset) = (0, 5000);
            let mut keys = Vec::new();
            for (gop_ms, bytes) in gops {
                keys.push(KeyPoint { time_ms, offset });
                time_ms += gop_ms;
                offset += bytes;
            }
            let index = TimeIndex { duration_ms: time_ms, length: offset, boot: vec![(0, 5000)], keys };
            let line = Timeline::new(0, offset, Some(Arc::new(index)), 1);
            let from = Duration::from_millis(time_ms * from / 100);
            let to = (from + secs(window)).min(line.duration());
            let due = Instant::from_millis(1_000_000);
            let mut windows = Vec::new();
            line.film_windows((from, to), due, true, &mut windows);
            prop_assert!(windows.len() <= 16);
            prop_assert_eq!(windows.first().map(|w| w.start), Some(line.offset_at(from)));
            prop_assert_eq!(windows.last().map(|w| w.end), Some(line.offset_at(to)));
            for pair in windows.windows(2) {
                prop_assert_eq!(pair[0].end, pair[1].start);
                prop_assert!(pair[0].due <= pair[1].due);
            }
            for window in &windows {
                let exact = due + line.time_at(window.start).saturating_sub(from);
                let error = exact.since(window.due).max(window.due.since(exact));
                prop_assert!(error < Duration::from_millis(200), "{error:?}");
                let end = window.due + time_of(window.end - window.start, window.rate);
                let exact = due + line.time_at(window.end).saturating_sub(from);
                let error = exact.since(end).max(end.since(exact));
                prop_assert!(error < Duration::from_millis(200), "{error:?}");
            }
        }
    }
}
