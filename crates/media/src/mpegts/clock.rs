//! Times of a stream, which wrap and jump, as times of the film, which do not.

/// Times of a stream count modulo this: 26.5 hours of 90 kHz.
pub(crate) const WRAP: u64 = 1 << 33;
/// Ticks in a second.
pub(crate) const HZ: u32 = 90_000;
/// A clock that goes on by more, or back, was set anew: the film goes on where it was.
pub(crate) const JUMP: i64 = 10 * HZ as i64;
/// A clock that goes back by less trembles.
const TREMBLE: i64 = HZ as i64 / 10;

/// How far `to` is behind `from`, on the shorter way round.
pub(crate) fn apart(to: u64, from: u64) -> i64 {
    let ahead = to.wrapping_sub(from) % WRAP;
    let ahead = i64::try_from(ahead).unwrap_or(0);
    if ahead >= (WRAP / 2) as i64 { ahead - WRAP as i64 } else { ahead }
}

/// `ticks` from the start of the film as a time of a stream.
pub(crate) fn wrapped(ticks: i64) -> u64 {
    u64::try_from(ticks.rem_euclid(WRAP as i64)).unwrap_or(0)
}

/// Milliseconds of the film as ticks.
pub(crate) fn ticks(ms: u64) -> i64 {
    i64::try_from(crate::bytes::rescaled(ms, 1000, HZ)).unwrap_or(i64::MAX / 4)
}

/// Which time of the stream is which time of the film, as of the last time that was told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Of the stream.
    raw: u64,
    /// Of the film, in ticks from its start; before it too.
    film: i64,
    /// Whether only an anchor is known: a time shown, which may be before or behind the clock.
    is_anchor: bool,
}

impl Clock {
    /// Where `raw`, when something is shown, is `film`.
    pub(crate) fn anchored(raw: u64, film: i64) -> Self {
        Self { raw, film, is_anchor: true }
    }
    /// The clock of the stream shows `raw` now. Gives the time of the film.
    pub(crate) fn go_on(&mut self, raw: u64) -> i64 {
        let by = apart(raw, self.raw);
        let is_first = core::mem::take(&mut self.is_anchor);
        if !is_first && (-TREMBLE..0).contains(&by) {
            return self.film;
        }
        if by.abs() <= JUMP && (is_first || by >= 0) {
            self.film += by;
        }
        self.raw = raw;
        self.film
    }
    /// The time of the film at `raw`, if that is near enough to be of this clock.
    pub(crate) fn place(&self, raw: u64) -> Option<i64> {
        let by = apart(raw, self.raw);
        (by.abs() <= JUMP).then_some(self.film + by)
    }
}

#[cfg(test)]
mod tests {
    use super::{Clock, WRAP, apart, wrapped};

    #[test]
    fn the_film_goes_on_over_a_wrap_and_a_jump() {
        let mut clock = Clock::anchored(WRAP - 90_000, 0);
        assert_eq!(clock.go_on(WRAP - 150_000), -60_000, "the clock runs before what is shown");
        assert_eq!(clock.go_on(WRAP - 10), 89_990);
        assert_eq!(clock.go_on(10), 90_010);
        assert_eq!(clock.place(90_010), Some(180_010));
        assert_eq!(clock.go_on(7_000_000), 90_010, "set anew");
        assert_eq!(clock.go_on(7_000_090), 90_100);
        assert_eq!(clock.go_on(7_000_000), 90_100, "it trembles");
        assert_eq!((clock.go_on(90), clock.go_on(100)), (90_100, 90_110));
        assert_eq!(clock.place(5_000_000), None);
    }

    #[test]
    fn distances_take_the_shorter_way() {
        assert_eq!((apart(5, WRAP - 5), apart(WRAP - 5, 5)), (10, -10));
        assert_eq!((wrapped(-1), wrapped(WRAP as i64 + 3)), (WRAP - 1, 3));
    }
}
