//! The playback model: where a playhead is, given how much film it can use, in exact arithmetic.
//!
//! **Film time** is a [`Duration`] from the start of the film; real time an [`Instant`]. The model is told three things:
//! how far film can be shown ([`Playback::reaches`]), what the viewer does ([`Playback::jump`], [`Playback::pause`]) and
//! whether the player is asking for bytes ([`Playback::hungry`]). It answers with [`Moment`]s. It never polls: the one
//! thing that happens by itself is that the playhead runs out, at [`Playback::deadline`].
//!
//! ```text
//!            preroll is there                 runs out
//!   waiting ------------------> running -----------------> waiting (stall)
//!  (start, jump)                   |  end of film
//!                                  +-----------------> ended
//! ```
//!
//! Definitions are those of the project's metrics: startup is the time from asking to the first frame that could be
//! shown, pre-roll included; a stall is a pause after it that nobody asked for; the gap after a jump is seek latency,
//! never a stall. Time in which the viewer has paused, or in which the player does not ask for bytes, is no stall: then
//! nobody is kept waiting.

use alloc::vec::Vec;
use core::time::Duration;

use crate::time::Instant;

/// What happened to a playback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Moment {
    /// The first frame of all could be shown.
    Started { at: Instant, position: Duration, waited: Duration },
    /// The first frame after a jump could be shown.
    Landed { position: Duration, waited: Duration },
    /// An unasked pause is over.
    Stalled { position: Duration, waited: Duration },
    /// The film is over.
    Ended,
}

/// Why the playhead waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wait {
    Start,
    Jump,
    Stall,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The playhead waits for the pre-roll since `since`; `counted` is what a stall already cost before `since`.
    Waiting { why: Wait, since: Instant, counted: Duration },
    /// The playhead was at the position at `since`, and moves with time unless paused.
    Running { since: Instant },
    /// It is at the end.
    Ended,
}

/// One playhead.
#[derive(Clone, Debug)]
pub(crate) struct Playback {
    preroll: Duration,
    length: Duration,
    state: State,
    /// Where the playhead is, or was when `Running` began.
    position: Duration,
    /// Film up to here can be shown.
    reach: Duration,
    paused: bool,
    hungry: bool,
}

impl Playback {
    /// A playback of a film of `length`, asked for at `now`, that begins at `position` (clamped) and shows its first
    /// frame when `preroll` of film is there.
    pub(crate) fn new(
        now: Instant,
        position: Duration,
        length: Duration,
        preroll: Duration,
    ) -> Self {
        let position = position.min(length);
        Self {
            preroll,
            length,
            state: State::Waiting { why: Wait::Start, since: now, counted: Duration::ZERO },
            position,
            reach: Duration::ZERO,
            paused: false,
            hungry: true,
        }
    }
    /// Where the playhead is at `now`, when nothing else happens until then.
    pub(crate) fn position(&self, now: Instant) -> Duration {
        match self.state {
            State::Running { since } if !self.paused => {
                let limit = self.reach.min(self.length).max(self.position);
                (self.position + now.since(since)).min(limit)
            }
            _ => self.position,
        }
    }
    /// Film from the playhead up to here can be shown; zero while nothing was told.
    pub(crate) fn reach(&self) -> Duration {
        self.reach
    }
    /// The playhead moves.
    pub(crate) fn is_moving(&self) -> bool {
        matches!(self.state, State::Running { .. }) && !self.paused
    }
    /// Whether the film is over.
    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }
    /// Whether the first frame was shown.
    pub(crate) fn has_started(&self) -> bool {
        !matches!(self.state, State::Waiting { why: Wait::Start, .. })
    }
    /// When the film at the playhead is, or was, due: since when it waits, else now.
    pub(crate) fn due(&self, now: Instant) -> Instant {
        match self.state {
            State::Waiting { since, .. } if !self.paused => since.min(now),
            _ => now,
        }
    }
    /// When the playhead runs out of film, or reaches the end.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Running { since } if !self.paused => {
                Some(since + self.reach.min(self.length).saturating_sub(self.position))
            }
            _ => None,
        }
    }
    /// Lets time pass until `now`.
    pub(crate) fn advance(&mut self, now: Instant, moments: &mut Vec<Moment>) {
        // At most: waiting -> running -> ended, or running -> waiting; each only once per instant.
        loop {
            match self.state {
                State::Waiting { why, since, counted } => {
                    let need = (self.position + self.preroll).min(self.length);
                    let at_end = self.position >= self.length;
                    if self.reach < need || (self.reach <= self.position && !at_end) {
                        return;
                    }
                    let position = self.position;
                    match why {
                        Wait::Start => {
                            let waited = now.since(since);
                            moments.push(Moment::Started { at: now, position, waited });
                        }
                        Wait::Jump => {
                            moments.push(Moment::Landed { position, waited: now.since(since) });
                        }
                        Wait::Stall => self.end_stall(since, counted, now, moments),
                    }
                    self.state = State::Running { since: now };
                }
                State::Running { .. } => {
                    let Some(out) = self.deadline().filter(|out| *out <= now) else {
                        return;
                    };
                    self.position = self.position.max(self.reach.min(self.length));
                    if self.position >= self.length {
                        moments.push(Moment::Ended);
                        self.state = State::Ended;
                    } else {
                        self.state = State::Waiting {
                            why: Wait::Stall,
                            since: out,
                            counted: Duration::ZERO,
                        };
                    }
                }
                State::Ended => return,
            }
        }
    }
    /// From now on film up to `reach` can be shown; it may also shrink.
    pub(crate) fn reaches(&mut self, now: Instant, reach: Duration, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        self.rebase(now);
        self.reach = reach.min(self.length);
        self.advance(now, moments);
    }
    /// The viewer asks at `now` for `position` (clamped). What can be shown from there is told by the next `reaches`.
    pub(crate) fn jump(&mut self, now: Instant, position: Duration, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        let mut next = State::Waiting { why: Wait::Jump, since: now, counted: Duration::ZERO };
        match self.state {
            State::Waiting { why: Wait::Start, .. } => next = self.state,
            State::Waiting { why: Wait::Stall, since, counted } => {
                self.end_stall(since, counted, now, moments);
            }
            _ => {}
        }
        self.state = next;
        self.position = position.min(self.length);
        self.reach = Duration::ZERO;
    }
    /// The viewer halts the playback, or lets it go on.
    pub(crate) fn pause(&mut self, now: Instant, paused: bool, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        self.rebase(now);
        self.paused = paused;
        self.advance(now, moments);
    }
    /// Whether the player asks for bytes. Only then can it be kept waiting. True at the start.
    pub(crate) fn hungry(&mut self, now: Instant, hungry: bool, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        self.rebase(now);
        self.hungry = hungry;
        self.advance(now, moments);
    }

    /// The wait until `now` is nobody's loss. For players that are only known by what they take.
    pub(crate) fn forgive(&mut self, now: Instant, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        if let State::Waiting { why: Wait::Stall, since, .. } = &mut self.state {
            *since = (*since).max(now);
        }
    }
    /// The player has at least `ahead` of film in front of its playhead, whatever was thought. A start or a jump still waits
    /// for its pre-roll.
    pub(crate) fn has_ahead(&mut self, now: Instant, ahead: Duration, moments: &mut Vec<Moment>) {
        self.advance(now, moments);
        self.rebase(now);
        match self.state {
            State::Waiting { why: Wait::Stall, since, counted } if !ahead.is_zero() => {
                self.end_stall(since, counted, now, moments);
                self.state = State::Running { since: now };
            }
            State::Running { .. } => {}
            _ => return,
        }
        self.position = self.position.min(self.reach.saturating_sub(ahead));
    }

    /// Makes `now` the moment from which the state counts on, so that a condition can change.
    fn rebase(&mut self, now: Instant) {
        let counting = self.counting();
        match &mut self.state {
            State::Running { since } => {
                if !self.paused {
                    self.position += now.since(*since);
                }
                *since = now;
            }
            State::Waiting { why: Wait::Stall, since, counted } => {
                if counting {
                    *counted += now.since(*since);
                }
                *since = now;
            }
            _ => {}
        }
    }
    /// Whether waiting for film is somebody's loss.
    fn counting(&self) -> bool {
        self.hungry && !self.paused
    }
    fn end_stall(
        &self,
        since: Instant,
        counted: Duration,
        now: Instant,
        moments: &mut Vec<Moment>,
    ) {
        let waited = counted + if self.counting() { now.since(since) } else { Duration::ZERO };
        if !waited.is_zero() {
            moments.push(Moment::Stalled { position: self.position, waited });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, Playback};
    use crate::time::Instant;
    use alloc::vec::Vec;
    use core::time::Duration;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn starts_with_the_preroll_and_stalls_exactly_when_the_film_runs_out() {
        let mut out = Vec::new();
        let mut play = Playback::new(at(100), ms(0), ms(60_000), ms(1000));
        play.reaches(at(300), ms(999), &mut out);
        assert!(out.is_empty() && play.deadline().is_none());
        play.reaches(at(400), ms(1500), &mut out);
        assert_eq!(out, [Moment::Started { at: at(400), position: ms(0), waited: ms(300) }]);
        assert_eq!(play.deadline(), Some(at(1900)));
        out.clear();
        // A late wake changes nothing: the stall began when the film ran out.
        play.advance(at(2500), &mut out);
        play.reaches(at(2900), ms(2500), &mut out);
        assert_eq!(out, [Moment::Stalled { position: ms(1500), waited: ms(1000) }]);
        assert_eq!(play.position(at(3000)), ms(1600));
    }

    #[test]
    fn the_gap_after_a_jump_is_no_stall_and_the_end_is_told_once() {
        let mut out = Vec::new();
        let mut play = Playback::new(at(0), ms(0), ms(10_000), ms(1000));
        play.reaches(at(0), ms(2000), &mut out);
        play.jump(at(500), ms(9500), &mut out);
        play.advance(at(700), &mut out);
        play.reaches(at(800), ms(10_000), &mut out);
        play.advance(at(1300), &mut out);
        play.advance(at(9000), &mut out);
        assert_eq!(
            out,
            [
                Moment::Started { at: at(0), position: ms(0), waited: ms(0) },
                Moment::Landed { position: ms(9500), waited: ms(300) },
                Moment::Ended
            ]
        );
    }

    #[test]
    fn a_pause_and_a_player_that_does_not_ask_are_no_stall() {
        let mut out = Vec::new();
        let mut play = Playback::new(at(0), ms(0), ms(60_000), ms(1000));
        play.reaches(at(0), ms(2000), &mut out);
        play.hungry(at(10), false, &mut out);
        play.advance(at(5000), &mut out);
        play.hungry(at(6000), true, &mut out);
        play.pause(at(6050), true, &mut out);
        play.reaches(at(9000), ms(9000), &mut out);
        assert_eq!(out[1..], [Moment::Stalled { position: ms(2000), waited: ms(50) }]);
        assert_eq!(play.position(at(50_000)), ms(2000));
        play.pause(at(50_000), false, &mut out);
        assert_eq!(play.position(at(50_300)), ms(2300));
    }

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Reach(u64),
        Jump(u64),
        Pause(bool),
        Hungry(bool),
        Nothing,
    }

    /// The same thing, one millisecond after the other.
    struct Slow {
        now: u64,
        asked: u64,
        position: u64,
        reach: u64,
        length: u64,
        preroll: u64,
        waiting: Option<u8>,
        stalled: u64,
        ended: bool,
        paused: bool,
        hungry: bool,
        out: Vec<Moment>,
    }

    impl Slow {
        fn settle(&mut self) {
            if self.waiting.is_none() && !self.ended && !self.paused {
                if self.position >= self.length {
                    self.ended = true;
                    self.out.push(Moment::Ended);
                } else if self.position >= self.reach {
                    self.waiting = Some(2);
                    self.stalled = 0;
                }
            }
        }
        fn tick_to(&mut self, until: u64) {
            while self.now < until {
                self.settle();
                if self.waiting == Some(2) && self.hungry && !self.paused {
                    self.stalled += 1;
                }
                if self.waiting.is_none() && !self.ended && !self.paused {
                    self.position += 1;
                }
                self.now += 1;
            }
            self.settle();
        }
        fn stall_over(&mut self) {
            if self.waiting == Some(2) && self.stalled > 0 {
                self.out.push(Moment::Stalled {
                    position: ms(self.position),
                    waited: ms(self.stalled),
                });
            }
        }
        fn act(&mut self, act: Act) {
            match act {
                Act::Reach(reach) => self.reach = reach.min(self.length),
                Act::Pause(paused) => self.paused = paused,
                Act::Hungry(hungry) => self.hungry = hungry,
                Act::Jump(to) => {
                    self.stall_over();
                    if self.waiting != Some(0) {
                        self.waiting = Some(1);
                        self.asked = self.now;
                    }
                    self.ended = false;
                    self.position = to.min(self.length);
                    self.reach = 0;
                    return;
                }
                Act::Nothing => {}
            }
            let need = (self.position + self.preroll).min(self.length);
            if let Some(why) = self.waiting
                && self.reach >= need
                && (self.reach > self.position || self.position >= self.length)
            {
                let waited = ms(self.now - self.asked);
                match why {
                    0 => self.out.push(Moment::Started {
                        at: at(self.now),
                        position: ms(self.position),
                        waited,
                    }),
                    1 => self.out.push(Moment::Landed { position: ms(self.position), waited }),
                    _ => self.stall_over(),
                }
                self.waiting = None;
            }
            self.settle();
        }
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            5 => (0u64..2200).prop_map(Act::Reach),
            1 => (0u64..2200).prop_map(Act::Jump),
            1 => any::<bool>().prop_map(Act::Pause),
            1 => any::<bool>().prop_map(Act::Hungry),
            1 => Just(Act::Nothing),
        ]
    }

    proptest! {
        #[test]
        fn agrees_with_a_model_that_counts_milliseconds(
            start in 0u64..2000,
            preroll in 0u64..300,
            script in proptest::collection::vec((0u64..400, act()), 1..60),
        ) {
            let length = 2000;
            let mut out = Vec::new();
            let mut play = Playback::new(at(0), ms(start), ms(length), ms(preroll));
            let mut slow = Slow {
                now: 0, asked: 0, position: start, reach: 0, length, preroll, waiting: Some(0),
                stalled: 0, ended: false, paused: false, hungry: true, out: Vec::new(),
            };
            let mut now = 0;
            for (wait, act) in script {
                now += wait;
                slow.tick_to(now);
                slow.act(act);
                match act {
                    Act::Reach(reach) => play.reaches(at(now), ms(reach), &mut out),
                    Act::Jump(to) => play.jump(at(now), ms(to), &mut out),
                    Act::Pause(paused) => play.pause(at(now), paused, &mut out),
                    Act::Hungry(hungry) => play.hungry(at(now), hungry, &mut out),
                    Act::Nothing => play.advance(at(now), &mut out),
                }
                prop_assert_eq!(&out, &slow.out);
                prop_assert_eq!(play.position(at(now)), ms(slow.position));
            }
        }
    }
}
