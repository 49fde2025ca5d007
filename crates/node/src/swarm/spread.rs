//! Which of the blocks that have time is asked for first: the one that fewest have.
//!
//! Viewers who all take what is due next all hold the same: they have nothing for each other but what is due in a moment, and the
//! few who are ahead are asked by everybody while the uplinks of the others are idle (docs/decisions/0035). So a window falls into
//! stages. Inside one the rarest block goes first, and of equally rare ones that have time each peer prefers others. Not where only
//! whole pieces can be proven: a block of each of many pieces is of no use to anybody. Nor where the film's rate is a guess: what seems to
//! have time may be needed next.

use core::time::Duration;

use super::pieces::BlockKey;
use super::title::Content;
use super::watch::Watch;
use crate::rng::mix;
use crate::time::{Instant, time_of};

/// Blocks due within this time are urgent: while film plays they go by due time.
pub(super) const URGENT: Duration = Duration::from_secs(3);
/// What is due later than this goes by due time as well.
const SPREAD_UNTIL: Duration = Duration::from_secs(30);
/// While nothing plays, the film that it takes to start is one stage, and what follows until then the next one.
const SECOND_STAGE: Duration = Duration::from_secs(3);
/// What has time is the last one.
const LAST_STAGE: u8 = 2;
/// So many blocks that a peer could bring are compared at most.
const COMPARED_MAX: u32 = 32;

/// How a window falls into stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stages {
    now: Instant,
    /// Whether it does: where a block can be played and passed on before its piece is whole, and due times are known.
    apply: bool,
    /// While nothing plays: when the film at the player is due.
    first: Option<Instant>,
    /// Film that it takes to start.
    preroll: Duration,
}

impl Stages {
    pub(super) fn of(now: Instant, content: &Content, preroll: Duration) -> Self {
        let first = if content.plan.is_playing() { None } else { start_of(content, preroll) };
        Self { now, apply: content.hashes.has_leaves() && content.plan.is_exact(), first, preroll }
    }
    /// The stage of a block, by its due time; `None` for those that go by due time. In the last one many blocks are equally rare.
    pub(super) fn stage(self, due: Instant) -> Option<u8> {
        match self.first {
            _ if !self.apply || due > self.now + SPREAD_UNTIL => None,
            Some(first) if due <= first + self.preroll => Some(0),
            Some(first) if due <= first + SECOND_STAGE => Some(1),
            Some(_) => Some(LAST_STAGE),
            None => (due > self.now + URGENT).then_some(LAST_STAGE),
        }
    }
}

/// When the film is due at which the player that waits stands: what came meanwhile does not move the stages on. Where none stands near what is
/// missing first, when that is due.
fn start_of(content: &Content, preroll: Duration) -> Option<Instant> {
    let missing = content.plan.earliest_missing()?;
    let window = content.plan.windows().iter().min_by_key(|window| window.due)?;
    let heads = content.watches.iter().map(Watch::at).filter(|at| *at <= window.start);
    let start = heads.max().map(|at| window.due.back(time_of(window.start - at, window.rate)));
    let near = start.filter(|start| *start + preroll >= missing);
    Some(near.map_or(missing, |start| start.min(missing)))
}

/// The rarest block of the first stage in which a peer could bring any.
#[derive(Debug)]
pub(super) struct Rarest {
    me: u64,
    /// Its stage, how many have it, a draw among equals, and the block.
    best: Option<(u8, u32, u64, BlockKey)>,
    compared: u32,
}

impl Rarest {
    /// `me` makes the difference between peers that choose alike otherwise.
    pub(super) fn new(me: u64) -> Self {
        Self { me, best: None, compared: 0 }
    }
    /// Whether a block was found, and what comes now, by due time, is not of its stage.
    pub(super) fn is_settled(&self, stage: Option<u8>) -> bool {
        self.best.is_some_and(|best| Some(best.0) != stage)
    }
    /// Offers a block that so many have. True when enough were compared.
    pub(super) fn offer(&mut self, stage: u8, key: BlockKey, holders: u32) -> bool {
        let number = u64::from(key.piece()) << 32 | u64::from(key.block());
        // Who waits for its first frame takes what is due first.
        let draw =
            if stage == LAST_STAGE { mix(self.me ^ number) } else { u64::from(self.compared) };
        let offered = (stage, holders, draw, key);
        if self.best.is_none_or(|best| offered < best) {
            self.best = Some(offered);
        }
        self.compared += 1;
        self.compared >= COMPARED_MAX
    }
    /// What was found.
    pub(super) fn block(&self) -> Option<BlockKey> {
        self.best.map(|best| best.3)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeSet;
    use alloc::vec::Vec;

    use super::*;

    fn rarest(me: u64, offered: &[(u8, u32, u32)]) -> Option<(u32, u32)> {
        let mut rarest = Rarest::new(me);
        for &(stage, piece, holders) in offered {
            if rarest.is_settled(Some(stage))
                || rarest.offer(stage, BlockKey::new(piece, 0), holders)
            {
                break;
            }
        }
        rarest.block().map(|key| (key.piece(), key.block()))
    }

    #[test]
    fn what_fewest_have_goes_first_inside_a_stage() {
        assert_eq!(rarest(1, &[(0, 1, 5), (0, 2, 3), (0, 3, 4), (1, 4, 1)]), Some((2, 0)));
        assert_eq!(rarest(1, &[]), None);
    }

    #[test]
    fn of_equally_rare_blocks_each_peer_prefers_others() {
        let equal: Vec<_> = (0..8).map(|piece| (2, piece, 1)).collect();
        let chosen: BTreeSet<_> = (0..100u64).map(|me| rarest(mix(me), &equal)).collect();
        assert_eq!(chosen.len(), 8, "{chosen:?}");
    }

    #[test]
    fn what_is_urgent_goes_by_due_time_while_film_plays() {
        let now = Instant::from_millis(60_000);
        let after = |s: u64| now + Duration::from_secs(s);
        let preroll = Duration::from_secs(1);
        let playing = Stages { now, apply: true, first: None, preroll };
        let stages = [0, 3, 4, 30, 31].map(|s| playing.stage(after(s)));
        assert_eq!(stages, [None, None, Some(2), Some(2), None]);
        let starting = Stages { now, apply: true, first: Some(now), preroll };
        let stages = [0, 1, 2, 3, 4, 30, 31].map(|s| starting.stage(after(s)));
        assert_eq!(stages, [Some(0), Some(0), Some(1), Some(1), Some(2), Some(2), None]);
        let whole = Stages { apply: false, ..playing };
        assert_eq!([0, 4, 30].map(|s| whole.stage(after(s))), [None; 3], "nothing is spread");
    }
}
