//! The player behind a reader, as far as it shows by what it takes.
//!
//! It is never heard, so its playhead is a model ([`Playback`]) over the bytes that it took: they are film that it can
//! show. What such a model must never do is tell of a stall that nobody had, so it is corrected where it can be wrong:
//!
//! - *Its buffer is full* when it stops asking although there is more, and it asks again when as much is left as the other
//!   times. A model that has less ahead then is wrong, by a pause of the viewer or a film slower than assumed.
//! - *The byte was here* when it asked: the moment that storage needs is no wait.
//! - *Nobody asks* between the end of one answer and the first read of the next.
//! - *The rate is not known* where there is no time index: then a stall is told only if it would be one at the slowest rate
//!   that a film may have, by a second model.
//!
//! **Cannot know** of a viewer who pauses while the player's buffer still fills.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::limits::{READER_AT_ONCE, READER_QUIET};
use crate::time::{Instant, time_of};

use super::playback::{Moment, Playback};

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    model: Buffer,
    /// Where the rate is not known: a playback at the slowest one, which tells the stalls.
    slow: Option<Slow>,
    /// Since when it asks, and whether the next byte was missing.
    asks: Option<(Instant, bool)>,
}

/// The film at its slowest. It begins when the model's does.
#[derive(Clone, Debug)]
struct Slow {
    /// Bytes/s.
    rate: u64,
    /// First byte of the file.
    start: u64,
    model: Option<Buffer>,
}

/// A playback and what is known of the buffer in front of it.
#[derive(Clone, Debug)]
struct Buffer {
    play: Playback,
    /// Most that the player had ahead when it stopped asking.
    full: Duration,
    /// Most that it had left of it when it asked again.
    low: Duration,
    /// When it stopped asking, and what it had ahead then.
    stopped: Option<(Instant, Duration)>,
}

impl Viewer {
    /// A player that opened its answer at `now`, at the first of `span`, of a film as long as the second. See
    /// [`Playback::new`]. `slowest` is for a film of which no rate is known: the least that it may have, bytes/s, and the byte
    /// of the file at which the answer begins.
    pub(crate) fn new(
        now: Instant,
        span: (Duration, Duration),
        preroll: Duration,
        slowest: Option<(u64, u64)>,
    ) -> Self {
        Self {
            model: Buffer::new(now, span, preroll),
            slow: slowest.map(|(rate, start)| Slow { rate: rate.max(1), start, model: None }),
            asks: None,
        }
    }
    /// Film from the playhead up to here was taken.
    pub(crate) fn reach(&self) -> Duration {
        self.model.play.reach()
    }
    /// Where the playhead seems to be.
    pub(crate) fn position(&self, now: Instant) -> Duration {
        self.model.play.position(now)
    }
    /// Whether the first frame was shown.
    pub(crate) fn has_started(&self) -> bool {
        self.model.play.has_started()
    }
    /// The playhead seems to move.
    pub(crate) fn is_moving(&self) -> bool {
        self.model.play.is_moving()
    }
    /// It asks for the next byte, which is `missing` or here.
    pub(crate) fn asks(&mut self, now: Instant, missing: bool, moments: &mut Vec<Moment>) {
        if self.asks.is_some() {
            return;
        }
        self.asks = Some((now, missing));
        self.each(now, moments, |buffer, said| buffer.asks(now, said));
    }
    /// Film up to `reach` was taken before, which needs all bytes of the file below `end`.
    pub(crate) fn holds(
        &mut self,
        now: Instant,
        (reach, end): (Duration, u64),
        moments: &mut Vec<Moment>,
    ) {
        let reach = reach.max(self.reach());
        let (mut own, mut said) = (Vec::new(), Vec::new());
        self.model.play.reaches(now, reach, &mut own);
        if let Some(slow) = &mut self.slow
            && self.model.play.has_started()
        {
            let start = time_of(slow.start, slow.rate);
            let begin = || Buffer::new(now, (start, Duration::MAX), Duration::ZERO);
            let model = slow.model.get_or_insert_with(begin);
            let reach = time_of(end, slow.rate).max(model.play.reach());
            model.play.reaches(now, reach, &mut said);
        }
        self.say(now, own, said, moments);
    }
    /// It was given film up to a time, which needs all bytes of the file below another number. Until it asks again it has enough.
    pub(crate) fn takes(&mut self, now: Instant, to: (Duration, u64), moments: &mut Vec<Moment>) {
        if let Some((since, missing)) = self.asks.take()
            && !missing
            && now.since(since) <= READER_AT_ONCE
        {
            self.each(now, moments, |buffer, said| buffer.play.forgive(now, said));
        }
        self.holds(now, to, moments);
        self.each(now, moments, |buffer, said| buffer.stops(now, said));
    }
    /// Its answer ended, or another goes on in its place: it asks for nothing until it says so again.
    pub(crate) fn leaves(&mut self, now: Instant, moments: &mut Vec<Moment>) {
        self.asks = None;
        self.each(now, moments, |buffer, said| buffer.play.hungry(now, false, said));
    }

    /// Does something to both models.
    fn each(
        &mut self,
        now: Instant,
        moments: &mut Vec<Moment>,
        act: impl Fn(&mut Buffer, &mut Vec<Moment>),
    ) {
        let (mut own, mut said) = (Vec::new(), Vec::new());
        act(&mut self.model, &mut own);
        if let Some(model) = self.slow.as_mut().and_then(|slow| slow.model.as_mut()) {
            act(model, &mut said);
        }
        self.say(now, own, said, moments);
    }
    /// Appends what the model said, but its stalls where the rate is not known: then those of the slow one count.
    fn say(&self, now: Instant, own: Vec<Moment>, slow: Vec<Moment>, moments: &mut Vec<Moment>) {
        let is_stall = |moment: &Moment| matches!(moment, Moment::Stalled { .. });
        if self.slow.is_none() {
            return moments.extend(own);
        }
        moments.extend(own.into_iter().filter(|moment| !is_stall(moment)));
        let position = self.position(now);
        moments.extend(slow.into_iter().filter_map(|moment| match moment {
            Moment::Stalled { waited, .. } => Some(Moment::Stalled { position, waited }),
            _ => None,
        }));
    }
}

impl Buffer {
    /// An empty buffer, in front of a playback of a film from its position to its end.
    fn new(now: Instant, (position, length): (Duration, Duration), preroll: Duration) -> Self {
        let mut play = Playback::new(now, position, length, preroll);
        // Nothing is there yet that this could say something about.
        play.hungry(now, false, &mut Vec::new());
        Self { play, full: Duration::ZERO, low: Duration::ZERO, stopped: None }
    }
    fn ahead(&self, now: Instant) -> Duration {
        self.play.reach().saturating_sub(self.play.position(now))
    }
    fn asks(&mut self, now: Instant, moments: &mut Vec<Moment>) {
        if let Some((since, ahead)) = self.stopped.take()
            && now.since(since) >= READER_QUIET
        {
            self.full = self.full.max(ahead);
            self.low = self.low.max(self.full.saturating_sub(now.since(since)));
            // More than there was it cannot have played meanwhile.
            let left = if self.low.is_zero() { self.full } else { self.low };
            self.play.has_ahead(now, left, moments);
        }
        self.play.hungry(now, true, moments);
    }
    fn stops(&mut self, now: Instant, moments: &mut Vec<Moment>) {
        self.play.hungry(now, false, moments);
        self.stopped = Some((now, self.ahead(now)));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::time::Duration;

    use proptest::prelude::*;

    use super::Viewer;
    use crate::play::playback::Moment;
    use crate::time::Instant;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }
    fn stalled(moments: &[Moment]) -> Duration {
        let waits = moments.iter().map(|moment| match moment {
            Moment::Stalled { waited, .. } => *waited,
            _ => Duration::ZERO,
        });
        waits.sum()
    }
    fn viewer(slowest: Option<(u64, u64)>) -> Viewer {
        Viewer::new(at(0), (ms(0), ms(3_600_000)), ms(1000), slowest)
    }

    #[test]
    fn a_player_that_stopped_asking_has_what_it_had_when_its_buffer_was_full() {
        let mut out = Vec::new();
        let mut viewer = viewer(None);
        viewer.asks(at(0), true, &mut out);
        viewer.takes(at(100), (ms(5000), 0), &mut out);
        // After a pause of a minute it takes a second of film, and then there is no more.
        viewer.asks(at(60_000), false, &mut out);
        viewer.takes(at(60_001), (ms(6000), 0), &mut out);
        viewer.asks(at(60_002), true, &mut out);
        viewer.takes(at(65_900), (ms(7500), 0), &mut out);
        assert_eq!(stalled(&out), ms(0), "six seconds were ahead");
        viewer.asks(at(65_901), true, &mut out);
        viewer.takes(at(69_000), (ms(9000), 0), &mut out);
        assert!(stalled(&out) > ms(1400) && stalled(&out) < ms(1600), "{out:?}");
    }

    #[test]
    fn what_storage_needs_is_no_wait_unless_it_is_long() {
        let mut out = Vec::new();
        let mut viewer = viewer(None);
        viewer.asks(at(0), true, &mut out);
        viewer.takes(at(0), (ms(1000), 0), &mut out);
        // A second of film takes more than a second to be taken, though all of it is here.
        for step in 0..50 {
            viewer.asks(at(step * 30), false, &mut out);
            viewer.takes(at(step * 30 + 29), (ms(1000 + step * 20), 0), &mut out);
        }
        assert_eq!(stalled(&out), ms(0));
        viewer.asks(at(1500), false, &mut out);
        viewer.takes(at(9500), (ms(9000), 0), &mut out);
        assert!(stalled(&out) > ms(7000), "{out:?}");
    }

    /// What a player shows, millisecond by millisecond, of film in milliseconds.
    #[derive(Default)]
    struct Screen {
        /// It stands still with so little ahead.
        dry: u64,
        position: u64,
        running: bool,
        started: bool,
        stalled: u64,
    }

    impl Screen {
        fn tick(&mut self, taken: u64, paused: bool) {
            let ahead = taken - self.position;
            self.running = ahead >= if self.running { self.dry + 1 } else { 1000 };
            if self.running {
                self.started = true;
                self.position += u64::from(!paused);
            } else if self.started {
                self.stalled += 1;
            }
        }
    }

    /// A player in front of bytes that come when they come.
    struct Player {
        /// Film that it wants ahead, and what is left of it when it asks again.
        room: (u64, u64),
        taken: u64,
        filling: bool,
        screen: Screen,
    }

    impl Player {
        fn wants(&mut self) -> bool {
            let ahead = self.taken - self.screen.position;
            if ahead >= self.room.0 {
                self.filling = false;
            } else if ahead <= self.room.1 {
                self.filling = true;
            }
            self.filling
        }
    }

    proptest! {
        /// Bytes that are always here make no stall, whatever the player does.
        #[test]
        fn who_never_lacks_a_byte_is_told_of_no_stall(
            steps in proptest::collection::vec((0u64..5000, 0u64..=500, 1u64..3000), 1..80),
            slowest in proptest::option::of(Just((1000, 0))),
        ) {
            let mut out = Vec::new();
            let mut viewer = viewer(slowest);
            let (mut now, mut reach) = (0, 0);
            for (pause, storage, film) in steps {
                now += pause;
                viewer.asks(at(now), false, &mut out);
                now += storage;
                reach += film;
                viewer.takes(at(now), (ms(reach), reach), &mut out);
                if film % 7 == 0 {
                    viewer.leaves(at(now), &mut out);
                }
            }
            prop_assert_eq!(stalled(&out), ms(0), "{:?}", out);
        }

        /// A player that shows film as the model thinks stalls at least as long as is told, but for a chunk of film each time. It
        /// may pause while its buffer is full. Whether it runs dry just before the next chunk comes is a matter of rounding, and
        /// then costs a whole pre-roll: so it is one of those players that stand still with less than two chunks ahead.
        #[test]
        fn no_more_stall_is_told_than_a_player_has(
            room in 1100u64..8000,
            low in 0u64..8000,
            rates in proptest::collection::vec((1u64..6000, 0u64..40), 1..12),
            pauses in proptest::collection::vec(0u64..60_000, 0..4),
        ) {
            const CHUNK: u64 = 20;
            const PAUSE: u64 = 3000;
            let mut player = Player {
                room: (room, low.min(room - 1)), taken: 0, filling: true, screen: Screen::default(),
            };
            let mut alike = [0, 1, 2, 5, 10, 20, 30, 39].map(|dry| Screen { dry, ..Screen::default() });
            let (mut out, mut model) = (Vec::new(), viewer(None));
            let (mut now, mut here, mut credit) = (0u64, 0, 0);
            let mut asks = false;
            for (length, rate) in rates.into_iter().cycle().take(24) {
                for _ in 0..length {
                    // `rate` is tenths of the film's.
                    credit += rate;
                    here += credit / 10;
                    credit %= 10;
                    let full = !player.filling;
                    let paused = full && pauses.iter().any(|&from| (from..from + PAUSE).contains(&now));
                    player.screen.tick(player.taken, paused);
                    alike.iter_mut().for_each(|screen| screen.tick(player.taken, paused));
                    if asks || player.wants() {
                        model.asks(at(now), here < player.taken + CHUNK, &mut out);
                        asks = true;
                        if here >= player.taken + CHUNK {
                            player.taken += CHUNK;
                            model.takes(at(now), (ms(player.taken), 0), &mut out);
                            asks = false;
                        }
                    }
                    now += 1;
                }
            }
            let told = stalled(&out);
            let had = alike.iter().map(|screen| screen.stalled).max().unwrap_or_default();
            // A pause that is shorter than the buffer lasts passes for playing, the first times.
            let short = ms(PAUSE) * pauses.len() as u32;
            let most = ms(had + 2 * CHUNK * (1 + out.len() as u64)) + short;
            prop_assert!(told <= most, "{told:?} of {} ms: {out:?}", had);
        }
    }
}
