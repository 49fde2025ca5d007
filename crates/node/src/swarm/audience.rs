//! Whom a source feeds, and where they play: which of them fetches a block first that nobody but the source has.
//!
//! Every Shoal peer tells its sources where its playhead is, a source passes that on, and all choose alike by rendezvous
//! hashing (Thaler and Ravishankar 1998): each pair of member and block has a rank, the highest one fetches. For a block
//! that lies in somebody's window only those whose window holds it count; for others those who fetch the whole film, and
//! when there are none, everybody. It is a hint: views differ for moments, and who needs a block soon asks anyway.

use alloc::collections::BTreeMap;

use shoal_wire::PeerId;
use shoal_wire::peer::{MEMBERS_MAX, Member, Stretch};

use crate::time::Instant;

/// The name of a peer in an audience: the end of its peer id.
pub(super) fn short_id(id: &PeerId) -> u64 {
    id.0.last_chunk().map_or(0, |end| u64::from_be_bytes(*end))
}

/// A stretch as it is `now`, when it was told `at`.
fn moved(stretch: Stretch, at: Instant, now: Instant) -> Stretch {
    let ms = u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX);
    let blocks = u64::from(stretch.pace).saturating_mul(ms) / 1_000_000;
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    Stretch {
        from: stretch.from.saturating_add(blocks),
        until: stretch.until.saturating_add(blocks),
        ..stretch
    }
}

/// What somebody said, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    pub(super) stretch: Stretch,
    pub(super) at: Instant,
}

impl Said {
    /// Where it is by now.
    pub(super) fn now(&self, now: Instant) -> Stretch {
        moved(self.stretch, self.at, now)
    }
    /// Whether `stretch` is so far from what was said that it must be said again.
    pub(super) fn is_stale(&self, now: Instant, stretch: &Stretch) -> bool {
        let expected = self.now(now);
        // Two seconds of film, and never less than a few blocks.
        let slack = (stretch.pace.max(expected.pace) / 500).max(4);
        expected.until.abs_diff(stretch.until) > slack
            || (expected.pace == 0) != (stretch.pace == 0)
            || (expected.from == expected.until) != (stretch.from == stretch.until)
    }
}

/// Those whom our sources feed, ourselves among them.
#[derive(Debug, Default)]
pub(super) struct Audience {
    members: BTreeMap<u64, Said>,
}

/// The rank of a member for a number: as good as random, the same everywhere (the finalizer of SplitMix64).
fn rank(id: u64, number: u32) -> u64 {
    let mut mixed = id ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

impl Audience {
    /// Takes what changed. More than [`MEMBERS_MAX`] members are not kept.
    pub(super) fn take(&mut self, now: Instant, member: &Member) {
        match member.stretch {
            Some(stretch) if self.members.len() < MEMBERS_MAX => {
                self.members.insert(member.id, Said { stretch, at: now });
            }
            Some(_) => {}
            None => {
                self.members.remove(&member.id);
            }
        }
    }
    /// Nobody feeds us any more.
    pub(super) fn clear(&mut self) {
        self.members.clear();
    }
    /// Who fetches block `number` of the title, which lies in `piece`; `None` when nobody is known. Pieces outside all
    /// windows go as a whole to one member. O(members).
    pub(super) fn first_fetcher(&self, now: Instant, number: u32, piece: u32) -> Option<u64> {
        let (mut covering, mut whole, mut any) = (None, None, None);
        for (&id, said) in &self.members {
            let stretch = said.now(now);
            if (stretch.from..stretch.until).contains(&number) {
                covering = covering.max(Some((rank(id, number), id)));
            }
            let entry = Some((rank(id, piece), id));
            any = any.max(entry);
            if stretch.from == stretch.until {
                whole = whole.max(entry);
            }
        }
        covering.or(whole).or(any).map(|(_, id)| id)
    }
    /// How many whose windows hold block `number` go before `me` in fetching it, and how many there are besides `me`.
    /// O(members).
    pub(super) fn before(&self, now: Instant, number: u32, me: u64) -> (u32, u32) {
        let mine = rank(me, number);
        let others = self.members.iter().filter(|(id, said)| {
            let stretch = said.now(now);
            **id != me && (stretch.from..stretch.until).contains(&number)
        });
        others.fold((0, 0), |(before, all), (&id, _)| {
            (before + u32::from(rank(id, number) > mine), all + 1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, from: u32, until: u32, pace: u32) -> Member {
        Member { id, stretch: Some(Stretch { from, until, pace }) }
    }
    fn audience(members: &[Member]) -> Audience {
        let mut audience = Audience::default();
        members.iter().for_each(|member| audience.take(Instant::ZERO, member));
        audience
    }

    #[test]
    fn all_choose_alike_and_each_gets_its_share() {
        let members: alloc::vec::Vec<_> =
            (1..=4).map(|id| member(id * 0x1234_5678_9abc, 0, 4000, 0)).collect();
        let (one, mut reversed) = (audience(&members), members);
        reversed.reverse();
        let other = audience(&reversed);
        let mut shares = BTreeMap::new();
        for number in 0..4000 {
            let first = one.first_fetcher(Instant::ZERO, number, 0);
            assert_eq!(first, other.first_fetcher(Instant::ZERO, number, 0));
            *shares.entry(first).or_insert(0u32) += 1;
        }
        assert!(shares.values().all(|share| share.abs_diff(1000) < 120), "{shares:?}");
    }

    #[test]
    fn windows_go_before_whole_films_and_whole_films_before_all() {
        let viewer = member(7, 100, 200, 10_000);
        let fetcher = member(9, 0, 0, 0);
        let both = audience(&[viewer, fetcher]);
        let after = |s: u64| Instant::from_millis(s * 1000);
        assert_eq!(both.first_fetcher(after(0), 150, 9), Some(7));
        assert_eq!(both.first_fetcher(after(0), 205, 9), Some(9));
        // Ten blocks a second: by now its window has moved there.
        assert_eq!(both.first_fetcher(after(6), 205, 9), Some(7));
        assert_eq!(audience(&[viewer]).first_fetcher(after(0), 900, 9), Some(7));
        assert_eq!(audience(&[]).first_fetcher(after(0), 900, 9), None);
    }

    #[test]
    fn all_agree_on_who_goes_before_whom() {
        let ids = (1..=20).map(|id| id * 0x1234_5678_9abc);
        let mut members: alloc::vec::Vec<_> = ids.map(|id| member(id, 100, 200, 0)).collect();
        // Whose window does not hold the block does not count.
        members.push(member(7, 0, 100, 0));
        let all = audience(&members);
        let mut before: alloc::vec::Vec<_> = members
            .iter()
            .filter(|one| one.id != 7)
            .map(|one| all.before(Instant::ZERO, 150, one.id))
            .collect();
        before.sort_unstable();
        let expected: alloc::vec::Vec<_> = (0..20).map(|count| (count, 19)).collect();
        assert_eq!(before, expected);
        assert_eq!(all.before(Instant::ZERO, 250, 7), (0, 0));
    }

    #[test]
    fn what_moves_on_as_expected_is_not_said_again() {
        let stretch = Stretch { from: 0, until: 300, pace: 10_000 };
        let said = Said { stretch, at: Instant::ZERO };
        let later = Instant::from_millis(8000);
        let at = |until| Stretch { from: until - 300, until, ..stretch };
        assert!(!said.is_stale(later, &at(380)) && !said.is_stale(later, &at(400)));
        assert!(said.is_stale(later, &at(401)), "more than two seconds of film ahead");
        assert!(said.is_stale(later, &Stretch { pace: 0, ..at(380) }), "it stands still");
    }
}
