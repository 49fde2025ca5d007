//! Whom a source feeds, and where they play: which of them fetches a block first that nobody but the source has.
//!
//! Every Shoal peer tells its sources where its playhead is, a source passes that on, and all choose alike by rendezvous
//! hashing (Thaler and Ravishankar 1998): each pair of member and block has a rank, the highest one fetches. For a block
//! that lies in somebody's window only those whose window holds it count; for others those who fetch the whole film, and
//! when there are none, everybody. It is a hint: views differ for moments, and who needs a block soon asks anyway.

use alloc::vec::Vec;
use core::cell::Cell;

use shoal_wire::PeerId;
use shoal_wire::peer::{MEMBERS_MAX, Member, Stretch};

use crate::rng::mix;
use crate::time::Instant;

/// The name of a peer in an audience: the end of its peer id.
pub(super) fn short_id(id: &PeerId) -> u64 {
    id.0.last_chunk().map_or(0, |end| u64::from_be_bytes(*end))
}

/// A stretch as it is `now`, when it was told `at`.
fn moved(stretch: Stretch, at: Instant, now: Instant) -> Stretch {
    let ms = now.as_nanos().saturating_sub(at.as_nanos()) / 1_000_000;
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
    /// By id. They are looked through far more often than one comes or goes.
    members: Vec<(u64, Said)>,
    /// By number of a block: the index of who went before us when that was last looked up, if it was. Only where to look first.
    lasts: Lasts,
}

/// So many blocks are told apart; it is about the film that a viewer looks ahead.
const LASTS: usize = 128;

#[derive(Debug)]
struct Lasts([Cell<u16>; LASTS]);

impl Default for Lasts {
    fn default() -> Self {
        Self([const { Cell::new(0) }; LASTS])
    }
}

/// The rank of a member for a number: as good as random, the same everywhere.
fn rank(id: u64, number: u32) -> u64 {
    mix(id ^ u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

impl Audience {
    /// Takes what changed. More than [`MEMBERS_MAX`] members are not kept.
    pub(super) fn take(&mut self, now: Instant, member: &Member) {
        match member.stretch {
            Some(stretch) if self.members.len() < MEMBERS_MAX => {
                let said = Said { stretch, at: now };
                match self.find(member.id) {
                    Ok(index) => self.members[index].1 = said,
                    Err(index) => self.members.insert(index, (member.id, said)),
                }
            }
            Some(_) => {}
            None => {
                if let Ok(index) = self.find(member.id) {
                    self.members.remove(index);
                }
            }
        }
    }
    fn find(&self, id: u64) -> Result<usize, usize> {
        self.members.binary_search_by_key(&id, |member| member.0)
    }
    fn get(&self, id: u64) -> Option<&Said> {
        self.members.get(self.find(id).ok()?).map(|member| &member.1)
    }
    /// Nobody feeds us any more.
    pub(super) fn clear(&mut self) {
        self.members.clear();
    }
    /// Whether `me` goes before all others who may fetch block `number` of the title, which lies in `piece`. Pieces outside all windows
    /// go as a whole to one member. O(members), but mostly whoever went before `me` the last time still does.
    pub(super) fn is_first(&self, now: Instant, number: u32, piece: u32, me: u64) -> bool {
        let covers = |stretch: &Stretch| (stretch.from..stretch.until).contains(&number);
        let is_whole = |stretch: &Stretch| stretch.from == stretch.until;
        let Some(mine) = self.get(me).map(|said| said.now(now)) else {
            return self.members.is_empty();
        };
        let (i_cover, i_am_whole) = (covers(&mine), is_whole(&mine));
        let by = if i_cover { number } else { piece };
        let own = rank(me, by);
        let goes_before = |&(id, said): &(u64, Said)| {
            let theirs = said.now(now);
            let is_higher = rank(id, by) > own;
            if i_cover {
                is_higher && covers(&theirs)
            } else if i_am_whole {
                covers(&theirs) || (is_higher && is_whole(&theirs))
            } else {
                is_higher || covers(&theirs) || is_whole(&theirs)
            }
        };
        let last = &self.lasts.0[number as usize % LASTS];
        if self.members.get(usize::from(last.get())).is_some_and(goes_before) {
            return false;
        }
        let found = self.members.iter().position(goes_before);
        if let Some(Ok(index)) = found.map(u16::try_from) {
            last.set(index);
        }
        found.is_none()
    }
    /// How many have a window that holds block `number`, and how many of them need it before `me` does, since they play further
    /// on. `None` when they are no more than `many`, or `me` is none of them. O(members).
    pub(super) fn order(
        &self,
        now: Instant,
        number: u32,
        me: u64,
        many: u32,
    ) -> Option<(u32, u32)> {
        if self.members.len() <= many as usize {
            return None;
        }
        let covers = |stretch: &Stretch| (stretch.from..stretch.until).contains(&number);
        let mine = Some(self.get(me)?.now(now)).filter(covers)?;
        let (mut all, mut sooner) = (0, 0);
        for &(id, said) in &self.members {
            let stretch = said.now(now);
            if covers(&stretch) {
                all += 1;
                sooner += u32::from((stretch.from, id) > (mine.from, me));
            }
        }
        (all > many).then_some((all, sooner))
    }
    /// Where a member plays by now: `None` for one that nobody told of, and for one that only fetches. O(log members).
    pub(super) fn playhead(&self, now: Instant, id: u64) -> Option<u32> {
        let stretch = self.get(id)?.now(now);
        (stretch.from != stretch.until).then_some(stretch.from)
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use super::*;

    fn member(id: u64, from: u32, until: u32, pace: u32) -> Member {
        Member { id, stretch: Some(Stretch { from, until, pace }) }
    }
    fn audience(members: &[Member]) -> Audience {
        let mut audience = Audience::default();
        members.iter().for_each(|member| audience.take(Instant::ZERO, member));
        audience
    }

    /// Who of `ids` fetches a block first, by what each of them believes.
    fn first(audience: &Audience, at: Instant, number: u32, ids: &[u64]) -> Vec<u64> {
        let is_first = |id: &u64| audience.is_first(at, number, 9, *id);
        ids.iter().copied().filter(is_first).collect()
    }

    #[test]
    fn all_choose_alike_and_each_gets_its_share() {
        let ids: Vec<u64> = (1..=4).map(|id| id * 0x1234_5678_9abc).collect();
        let mut members: Vec<_> = ids.iter().map(|&id| member(id, 0, 4000, 0)).collect();
        let one = audience(&members);
        members.reverse();
        let other = audience(&members);
        let mut shares = BTreeMap::new();
        for number in 0..4000 {
            let chosen = first(&one, Instant::ZERO, number, &ids);
            assert_eq!(chosen.len(), 1, "{chosen:?}");
            assert_eq!(chosen, first(&other, Instant::ZERO, number, &ids));
            *shares.entry(chosen).or_insert(0u32) += 1;
        }
        assert!(shares.values().all(|share| share.abs_diff(1000) < 120), "{shares:?}");
    }

    #[test]
    fn windows_go_before_whole_films_and_whole_films_before_all() {
        let viewer = member(7, 100, 200, 10_000);
        let fetcher = member(9, 0, 0, 0);
        let both = audience(&[viewer, fetcher]);
        let after = |s: u64| Instant::from_millis(s * 1000);
        assert_eq!(first(&both, after(0), 150, &[7, 9]), [7]);
        assert_eq!(first(&both, after(0), 205, &[7, 9]), [9]);
        // Ten blocks a second: by now its window has moved there.
        assert_eq!(first(&both, after(6), 205, &[7, 9]), [7]);
        assert_eq!(first(&audience(&[viewer]), after(0), 900, &[7]), [7]);
        assert_eq!(first(&audience(&[]), after(0), 900, &[7]), [7], "who knows of nobody");
    }

    #[test]
    fn who_goes_before_whom_does_not_depend_on_what_was_asked_before() {
        let ids: Vec<u64> = (1..=20).map(|id| id * 0x1234_5678_9abc).collect();
        let playing = |(index, &id)| member(id, 8 * index as u32, 8 * index as u32 + 60, 20_000);
        let mut members: Vec<_> = (0..).zip(&ids).map(playing).collect();
        members.extend([member(7, 0, 0, 0), member(9, 0, 0, 0)]);
        let asked = audience(&members);
        let mut firsts = BTreeMap::new();
        for number in 0..400 {
            // Where they play changes meanwhile, and sometimes one is gone.
            let at = Instant::from_millis(u64::from(number) * 20);
            let gone = ids[number as usize % ids.len()];
            let first = |audience: &Audience| {
                let all = members.iter().map(|member| member.id);
                all.filter(|id| audience.is_first(at, number, 9, *id)).collect::<Vec<_>>()
            };
            let chosen = first(&asked);
            assert_eq!(chosen.len(), 1, "{number}");
            assert_eq!(chosen, first(&audience(&members)), "{number}");
            let mut without = audience(&members);
            assert_eq!(chosen, first(&without), "{number}");
            without.take(at, &Member { id: gone, stretch: None });
            assert!(chosen == [gone] || chosen == first(&without), "{number}");
            *firsts.entry(chosen[0]).or_insert(0u32) += 1;
        }
        assert!(firsts.len() > 10, "{firsts:?}");
    }

    #[test]
    fn who_plays_further_on_needs_a_block_first() {
        let playing = |id| member(id, 10 * id as u32, 10 * id as u32 + 100, 1000);
        let mut members: Vec<_> = (1..=20).map(playing).collect();
        members.push(member(30, 400, 500, 0));
        let all = audience(&members);
        let order = |id, many| all.order(Instant::ZERO, 205, id, many);
        // The windows of 11 to 20 hold it; 20 is nearest to it.
        assert_eq!(
            (order(20, 8), order(19, 8), order(11, 8)),
            (Some((10, 0)), Some((10, 1)), Some((10, 9)))
        );
        assert_eq!((order(10, 8), order(30, 8)), (None, None), "they do not need it");
        assert_eq!(order(20, 10), None, "they are not many");
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
