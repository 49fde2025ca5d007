//! Of whom a windowed block is asked when it is not the peer with the earliest predicted arrival: baselines for comparison.
//!
//! **Start** at `pick_unpredicted`. Looks at every linked peer for each block, which Shoal itself does not
//! (`fastest.rs`).

use core::cmp::Reverse;
use core::time::Duration;

use super::audience::short_id;
use super::peer::Peer;
use super::pieces::BlockKey;
use super::title::Swarm;
use super::windowed::Pick;
use crate::config::{Choice, Scheduler, SwarmConfig};
use crate::rng::mix;
use crate::time::Instant;
use crate::turn::Turn;

/// Better peers that are given work before the one that had room.
const HOPS: usize = 3;

/// How well a peer fits a block; the least is the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rank {
    /// As good as random, and different for each block.
    Random(u64),
    /// Bytes/s.
    Rate(Reverse<u64>),
    /// Whether it is not known to play at or after the block, whether it is not known to play, blocks between.
    Position(bool, bool, u32),
    /// Measured or predicted.
    RoundTrip(Duration),
}

impl Rank {
    fn position(at: Option<u32>, block: u32) -> Self {
        match at {
            Some(at) => Self::Position(at < block, false, at.abs_diff(block)),
            None => Self::Position(true, true, 0),
        }
    }
}

impl Swarm {
    /// Gives work to the peers that are better than this one for what it could bring, then to this one.
    pub(super) fn fill_chosen(&mut self, turn: &mut Turn<'_>, slot: u16) {
        for _ in 0..HOPS {
            let Some(better) = self.fill_one(turn, slot) else { return };
            self.fill_one(turn, better);
        }
    }
    /// What becomes of the earliest due block that the peer in `slot` could bring, where arrivals are not predicted.
    pub(super) fn pick_unpredicted(
        &self,
        now: Instant,
        slot: u16,
        key: BlockKey,
        config: &SwarmConfig,
    ) -> Option<Pick> {
        match (config.scheduler, config.choice) {
            (Scheduler::EarliestDue, _) => Some(Pick::Block(key)),
            (_, Choice::Arrival) => None,
            _ => Some(self.chosen(now, slot, key, config).map_or(Pick::Block(key), Pick::Other)),
        }
    }
    /// A peer that holds the block, has room, and is better for it than the one in `slot`. O(peers).
    fn chosen(&self, now: Instant, slot: u16, key: BlockKey, config: &SwarmConfig) -> Option<u16> {
        let ours = self.rank(now, slot, self.peer(slot)?, key, config.choice);
        let others = (0u16..).zip(&self.peers).filter_map(|(index, other)| {
            let other = other.as_deref()?;
            let is_able = index != slot
                && other.is_reliable()
                && !other.is_source()
                && other.has_time(now)
                && other.interested
                && other.asked.len() < other.shallow_depth(config.requests_out_start) as usize
                && other.has_block(key);
            is_able.then(|| (self.rank(now, index, other, key, config.choice), index))
        });
        others.min().filter(|(rank, _)| *rank < ours).map(|(_, index)| index)
    }
    fn rank(&self, now: Instant, slot: u16, peer: &Peer, key: BlockKey, choice: Choice) -> Rank {
        match choice {
            Choice::Arrival | Choice::Random => Rank::Random(mixed(slot, key)),
            Choice::Rate => Rank::Rate(Reverse(peer.service.rate())),
            Choice::RoundTrip => Rank::RoundTrip(peer.service.rtt()),
            Choice::Coordinates => Rank::RoundTrip(peer.rare().neighbour.map_or_else(
                || peer.service.rtt(),
                |neighbour| Duration::from_micros(neighbour.predicted_us()),
            )),
            Choice::Position => {
                let per_piece = self
                    .content()
                    .map_or(0, |content| content.pieces.info.layout.blocks_per_piece());
                let block = key.piece().saturating_mul(per_piece).saturating_add(key.block());
                Rank::position(self.audience.playhead(now, short_id(&peer.id)), block)
            }
        }
    }
}

/// A number for a slot and a block that is as good as random: draws of a generator would not be the same for both of two peers
/// that are compared.
fn mixed(slot: u16, key: BlockKey) -> u64 {
    let block = u64::from(key.piece()) << 32 | u64::from(key.block());
    mix((block << 16 ^ u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_plays_next_after_a_block_is_asked_first_and_who_says_nothing_last() {
        let places = [Some(100), Some(130), Some(99), Some(20), None];
        let ranks = places.map(|at| Rank::position(at, 100));
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(Rank::Rate(Reverse(9)) < Rank::Rate(Reverse(8)));
    }

    #[test]
    fn a_random_choice_prefers_nobody() {
        let mut first = [0u32; 4];
        for block in 0..4000 {
            let key = BlockKey::new(block / 16, block % 16);
            let best = (0u16..4).min_by_key(|slot| mixed(*slot, key)).expect("four");
            first[usize::from(best)] += 1;
        }
        assert!(first.iter().all(|count| count.abs_diff(1000) < 120), "{first:?}");
    }
}
