//! Who may be served: a pure function from what peers gave and want to the set that is unchoked.
//!
//! BEP 3: the four best by rate every 10 s, and one more at random every 30 s. Shoal peers are not in here: they are all
//! admitted and share by weight (`upload.rs`); the slots are for foreign clients. A seed does not reward the fastest taker,
//! which a few leechers could use to rob the others (Adamsky et al. 2014): it goes round by who was served least recently.

use alloc::vec::Vec;

use crate::rng::Rng;

/// How slots are given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Policy {
    /// To those who give most: for a leecher.
    TitForTat,
    /// To those who were served least in the last rounds: for a seed.
    RoundRobin,
}

/// One interested foreign peer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    /// Names the peer to the caller.
    pub(crate) slot: u16,
    /// Film bytes/s that it gives us.
    pub(crate) gives: u64,
    /// Film bytes sent to it in the last rounds, decaying.
    pub(crate) taken: u64,
    /// It is unchoked now.
    pub(crate) unchoked: bool,
    /// It owes us blocks and sends none: only the optimistic slot is left for it.
    pub(crate) snubbed: bool,
    /// It holds the optimistic slot and may keep it in this round.
    pub(crate) optimistic: bool,
}

/// The peers to be unchoked after this round.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Choice {
    /// Regular slots, best first.
    pub(crate) regular: Vec<u16>,
    /// Optimistic slots.
    pub(crate) optimistic: Vec<u16>,
}

/// Gives out `slots` regular and `optimistic` optimistic places. Costs O(n log n) for n candidates.
pub(crate) fn choose(
    policy: Policy,
    candidates: &[Candidate],
    slots: usize,
    optimistic: usize,
    rng: &mut Rng,
) -> Choice {
    let mut ranked: Vec<&Candidate> = candidates.iter().filter(|peer| !peer.snubbed).collect();
    match policy {
        // Ties stay with who is served already, so that slots do not flap among equals.
        Policy::TitForTat => {
            ranked.sort_by_key(|peer| (core::cmp::Reverse(peer.gives), !peer.unchoked, peer.slot));
        }
        Policy::RoundRobin => ranked.sort_by_key(|peer| (peer.taken, !peer.unchoked, peer.slot)),
    }
    let regular: Vec<u16> = ranked.iter().take(slots).map(|peer| peer.slot).collect();
    let mut rest: Vec<&Candidate> =
        candidates.iter().filter(|peer| !regular.contains(&peer.slot)).collect();
    rng.shuffle(&mut rest);
    // Who has the optimistic slot keeps it until its time is over.
    rest.sort_by_key(|peer| !peer.optimistic);
    let lucky = rest.iter().take(optimistic).map(|peer| peer.slot).collect();
    Choice { regular, optimistic: lucky }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Seed;

    fn peer(slot: u16, gives: u64, taken: u64) -> Candidate {
        Candidate { slot, gives, taken, unchoked: false, snubbed: false, optimistic: false }
    }

    #[test]
    fn a_leecher_rewards_the_four_that_give_most_and_tries_one_more() {
        let peers: Vec<_> = (0..10).map(|slot| peer(slot, u64::from(slot) * 100, 0)).collect();
        let choice = choose(Policy::TitForTat, &peers, 4, 1, &mut Rng::new(Seed::from_u64(1)));
        assert_eq!(choice.regular, [9, 8, 7, 6]);
        assert_eq!(choice.optimistic.len(), 1);
        assert!(choice.optimistic[0] < 6);
    }

    #[test]
    fn a_seed_cannot_be_robbed_by_fast_takers() {
        // Three greedy peers take ten times as much as five modest ones each time they are served.
        let mut rng = Rng::new(Seed::from_u64(2));
        let mut peers: Vec<_> = (0..8).map(|slot| peer(slot, 0, 0)).collect();
        let mut rounds = [0u32; 8];
        for _ in 0..400 {
            for slot in choose(Policy::RoundRobin, &peers, 4, 0, &mut rng).regular {
                rounds[usize::from(slot)] += 1;
                peers[usize::from(slot)].taken += if slot < 3 { 1000 } else { 100 };
            }
        }
        assert!(rounds[3..].iter().all(|&count| count > 2 * rounds[0]), "{rounds:?}");
    }

    #[test]
    fn a_snubbed_peer_gets_no_regular_slot() {
        let mut peers = [peer(0, 900, 0), peer(1, 100, 0)];
        peers[0].snubbed = true;
        let choice = choose(Policy::TitForTat, &peers, 1, 1, &mut Rng::new(Seed::from_u64(3)));
        assert_eq!((choice.regular, choice.optimistic), (alloc::vec![1], alloc::vec![0]));
    }

    #[test]
    fn free_slots_are_all_used_and_nobody_is_chosen_twice() {
        let peers: Vec<_> = (0..3).map(|slot| peer(slot, 0, 0)).collect();
        let choice = choose(Policy::TitForTat, &peers, 4, 1, &mut Rng::new(Seed::from_u64(4)));
        assert_eq!((choice.regular.len(), choice.optimistic.len()), (3, 0));
    }
}
