//! Time as the node counts it: monotonic time, less the times in which this process did not run.
//!
//! A process that was stopped, or a machine that slept, finds every timer overdue, and in its sockets what came meanwhile.
//! Who looked at the timers first would give up what is already here. So a node does not see such a gap: its time goes on
//! where it stood, a moment after the sockets could be looked at, and every due time has moved by as much.
//!
//! **Refuses** the system's clock: who asks says what time it is.

use std::time::{Duration, Instant as Clock};

use shoal_node::time::Instant;

use crate::config::{GAP_DRAIN, GAP_LEAST};

/// See the module's page.
#[derive(Debug)]
pub(crate) struct NodeClock {
    /// When the node's time was zero, as if there had been no gaps.
    epoch: Clock,
    /// The latest time that was told.
    last: Instant,
}

impl NodeClock {
    /// Time zero is `now`.
    pub(crate) fn new(now: Clock) -> Self {
        Self { epoch: now, last: Instant::ZERO }
    }
    /// The node's time at `now`, never less than it was. Where it stands still, nothing is due.
    pub(crate) fn at(&mut self, now: Clock) -> Instant {
        let nanos = now.saturating_duration_since(self.epoch).as_nanos();
        self.last = self.last.max(Instant::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)));
        self.last
    }
    /// When the node's time will be `time`.
    pub(crate) fn real(&self, time: Instant) -> Clock {
        self.epoch + Duration::from_nanos(time.as_nanos())
    }
    /// To be asked before each turn: leaves out the time since the last look when at `now` the node is far behind its
    /// `deadline`. How much it was, if it was a gap.
    pub(crate) fn skip_gap(
        &mut self,
        now: Clock,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.real(self.last));
        // Most turns follow the one before at once: the deadline need not be made.
        if gap < GAP_LEAST {
            return None;
        }
        // Until then it meant to wait.
        let due = self.real(deadline()?.max(self.last));
        if now.saturating_duration_since(due) < GAP_LEAST {
            return None;
        }
        self.epoch += gap + GAP_DRAIN;
        Some(gap)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, VecDeque};
    use std::sync::Arc;

    use bytes::Bytes;
    use shoal_node::config::Config;
    use shoal_node::io::{AddTitle, Command, Effect, Input};
    use shoal_node::link::{LinkId, TitleId};
    use shoal_node::rng::Seed;
    use shoal_node::{Machine, Node};
    use shoal_wire::PeerId;
    use shoal_wire::bitfield::Bitfield;
    use shoal_wire::metainfo::Info;
    use shoal_wire::peer::{BlockRequest, Handshake, Message};

    use super::*;
    use crate::testing::{TestFile, film, info_v1};

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    #[test]
    fn time_that_is_slept_through_is_left_out_and_due_times_move_with_it() {
        let start = Clock::now();
        let mut clock = NodeClock::new(start);
        assert_eq!(clock.at(start + ms(1000)), at(1000));
        // A timer is due 300 ms later; the process is stopped for a minute before it.
        let woke = start + ms(61_000);
        assert_eq!(clock.skip_gap(woke, || Some(at(1300))), Some(ms(60_000)));
        assert_eq!(clock.at(woke), at(1000), "it goes on where it stood");
        assert_eq!(clock.at(woke + GAP_DRAIN), at(1000), "when the sockets were looked at");
        assert_eq!(clock.at(woke + GAP_DRAIN + ms(5)), at(1005));
        assert_eq!(clock.real(at(1300)), woke + GAP_DRAIN + ms(300));
        assert_eq!(clock.skip_gap(woke, || Some(at(1300))), None, "once");
    }

    #[test]
    fn a_node_that_had_nothing_to_do_misses_nothing() {
        let start = Clock::now();
        let mut clock = NodeClock::new(start);
        clock.at(start + ms(1000));
        let later = start + ms(3_600_000);
        assert_eq!(clock.skip_gap(later, || None), None);
        assert_eq!(clock.skip_gap(later, || Some(at(3_600_000))), None, "in time");
        assert_eq!(clock.skip_gap(later, || Some(at(3_599_900))), None, "a little late");
        assert_eq!(clock.at(later), at(3_600_000));
    }

    #[test]
    fn a_busy_node_is_not_taken_for_one_that_slept() {
        let start = Clock::now();
        let mut clock = NodeClock::new(start);
        for turn in 1..100 {
            let now = start + ms(turn * 100);
            // Always overdue, and always at work.
            let asked = clock.skip_gap(now, || unreachable!("the turn before was a moment ago"));
            assert_eq!(asked, None);
            clock.at(now);
        }
        assert_eq!(clock.at(start + ms(9900)), at(9900));
    }

    #[test]
    fn time_never_runs_backwards() {
        let start = Clock::now();
        let mut clock = NodeClock::new(start);
        clock.at(start + ms(500));
        assert_eq!(clock.at(start + ms(400)), at(500));
        assert_eq!(clock.at(start), at(500));
    }

    /// A node that downloads a title of 4 MiB, and its clock.
    struct Downloading {
        clock: NodeClock,
        node: Node,
        info: Arc<Info>,
    }

    impl Downloading {
        fn begin(now: Clock) -> Self {
            let file = TestFile { path: "film", data: &film(4 << 20), start: 0 };
            let info = Arc::new(info_v1("title", &[file], 64 << 10));
            let node = Node::new(Arc::new(Config::default()), Seed::from_u64(1), Instant::ZERO);
            let mut new = Self { clock: NodeClock::new(now), node, info: Arc::clone(&info) };
            let plain = AddTitle::new(TitleId(0), info.hashes);
            let have = Some(Bitfield::new(info.layout.piece_count()));
            let title = AddTitle { have, info: Some(info), ..plain };
            new.turn(now, Input::Command(Command::Add(Box::new(title))));
            new
        }
        /// One turn as the engine makes it; what is asked of which seed.
        fn turn(&mut self, now: Clock, input: Input) -> Vec<(LinkId, BlockRequest)> {
            let node = &self.node;
            self.clock.skip_gap(now, || node.deadline());
            let mut effects = Vec::new();
            self.node.step(self.clock.at(now), input, &mut effects);
            let asked = effects.into_iter().filter_map(|effect| match effect {
                Effect::Send { link, message: Message::Request(request) } => Some((link, request)),
                _ => None,
            });
            asked.collect()
        }
        fn hear(
            &mut self,
            now: Clock,
            link: LinkId,
            message: Message,
        ) -> Vec<(LinkId, BlockRequest)> {
            self.turn(now, Input::Message { link, message })
        }
        /// A foreign seed links up and unchokes.
        fn meet(&mut self, now: Clock, link: LinkId) -> Vec<(LinkId, BlockRequest)> {
            let remote = ([192, 0, 2, link.0 as u8], 6881).into();
            self.turn(now, Input::LinkUp { link, remote });
            let handshake = Handshake {
                info_hash: self.info.hashes.primary().expect("a name"),
                peer_id: PeerId([link.0 as u8; 20]),
                fast: false,
                extended: false,
                v2: false,
                dht: false,
            };
            self.hear(now, link, Message::Handshake(Box::new(handshake)));
            let all = vec![0xff; (self.info.layout.piece_count() as usize).div_ceil(8)];
            self.hear(now, link, Message::Bitfield(all.into()));
            self.hear(now, link, Message::Unchoke)
        }
    }

    #[test]
    fn what_came_while_the_process_was_stopped_is_not_asked_for_again() {
        let mut now = Clock::now();
        let mut seen = Downloading::begin(now);
        let mut owed: VecDeque<_> = seen.meet(now, LinkId(1)).into();
        owed.extend(seen.meet(now, LinkId(3)));
        let mut asked: BTreeSet<_> = owed.iter().map(|(_, r)| (r.piece, r.offset)).collect();
        let mut answer = |seen: &mut Downloading, owed: &mut VecDeque<_>, now| {
            let Some((link, request)) = owed.pop_front() else { return false };
            for (of, new) in seen.hear(now, link, block(request)) {
                let is_new = asked.insert((new.piece, new.offset));
                assert!(is_new, "{new:?} was asked for again, of {of:?}");
                owed.push_back((of, new));
            }
            true
        };
        for _ in 0..60 {
            now += ms(20);
            answer(&mut seen, &mut owed, now);
        }
        assert!(owed.len() >= 8, "{owed:?}");
        // A minute later all of it lies in the sockets, and the node is given one block after the other.
        now += ms(60_000);
        while answer(&mut seen, &mut owed, now) {}
        assert_eq!(asked.len(), 256, "all blocks of the title");
    }

    fn block(request: BlockRequest) -> Message {
        let data = Bytes::from(vec![7; request.length as usize]);
        Message::Piece { piece: request.piece, offset: request.offset, data }
    }
}
