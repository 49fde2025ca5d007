//! When which tracker of a title is asked (BEP 12).
//!
//! Trackers of a tier are shuffled once; one of them is asked, the next one when it fails, and the one that works moves to
//! the front. BEP 12 asks a tier only when those before it fail. Viewers of a film wait meanwhile, so a later tier also
//! begins when `tier_stagger` has passed for each tier before it and none of them has answered; a tier that has begun goes
//! on. The first announce is made at once when a title is added.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::tracker::AnnounceEvent;
use shoal_wire::tracker::http::Retry;

use super::round::{Contact, Round, Target};
use crate::config::DiscoverConfig;
use crate::config::limits::TRACKERS_MAX;
use crate::rng::Rng;
use crate::stats::TrackerView;
use crate::time::Instant;

/// One tracker.
#[derive(Debug)]
pub(super) struct Tracker {
    url: String,
    target: Option<Target>,
    pub(super) contact: Contact,
    /// It was told that we are there.
    pub(super) started: bool,
    /// It must be told that the download became complete.
    pub(super) completed: bool,
    /// It may not be asked before.
    not_before: Option<Instant>,
    /// It said never to ask again, or we do not speak its language.
    barred: bool,
    peers: usize,
    trouble: String,
}

/// One tier.
#[derive(Debug)]
struct Tier {
    trackers: Vec<Tracker>,
    /// Which tracker is next.
    current: usize,
    /// Which tracker a round is under way with. The order of trackers changes only when a round ends.
    asked: Option<usize>,
    /// Everything changed during that round: it says nothing about when and whom to ask next.
    outdated: bool,
    /// When the next round begins; `None` on standby.
    next: Option<Instant>,
    /// How often all its trackers failed in a row.
    failures: u32,
    /// Its last round was answered.
    works: bool,
    begun: bool,
}

/// All trackers of a title.
#[derive(Debug, Default)]
pub(super) struct Tiers(Vec<Tier>);

impl Tiers {
    /// Tiers as a torrent lists them, to be asked from `now` on.
    pub(super) fn new(
        lists: &[Vec<String>],
        rng: &mut Rng,
        now: Instant,
        config: &DiscoverConfig,
    ) -> Self {
        let mut tiers = Vec::new();
        let mut room = TRACKERS_MAX;
        let mut seen: Vec<&String> = Vec::new();
        for list in lists {
            let mut trackers = Vec::new();
            for url in list {
                if room > 0 && !seen.contains(&url) {
                    room -= 1;
                    seen.push(url);
                    trackers.push(Tracker::new(url));
                }
            }
            if !trackers.is_empty() {
                rng.shuffle(&mut trackers);
                let wait = config.tier_stagger * u32::try_from(tiers.len()).unwrap_or(u32::MAX);
                tiers.push(Tier {
                    trackers,
                    current: 0,
                    asked: None,
                    outdated: false,
                    next: Some(now + wait),
                    failures: 0,
                    works: false,
                    begun: false,
                });
            }
        }
        Self(tiers)
    }
    /// When a tier is next due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.iter().filter(|tier| tier.asked.is_none()).filter_map(|tier| tier.next).min()
    }
    /// The next tier that is due, with its tracker and what it is told. It counts as busy from now on.
    pub(super) fn begin(
        &mut self,
        now: Instant,
    ) -> Option<(usize, Target, Contact, AnnounceEvent)> {
        for index in 0..self.0.len() {
            let worked = self.0[..index].iter().any(|tier| tier.works);
            let tier = &mut self.0[index];
            if tier.asked.is_some() || tier.next.is_none_or(|next| next > now) {
                continue;
            }
            if worked && !tier.begun {
                tier.next = None;
                continue;
            }
            tier.begun = true;
            while let Some(tracker) = tier.trackers.get(tier.current) {
                let usable = !tracker.barred && tracker.not_before.is_none_or(|then| then <= now);
                if let (true, Some(target)) = (usable, &tracker.target) {
                    tier.asked = Some(tier.current);
                    let found = (target.clone(), tracker.contact.clone(), tracker.event());
                    return Some((index, found.0, found.1, found.2));
                }
                tier.current += 1;
            }
            self.exhausted(index, now);
        }
        None
    }
    /// A round with a tier is over. `peers` of the title are connected.
    pub(super) fn finish(
        &mut self,
        index: usize,
        round: &Round,
        now: Instant,
        peers: usize,
        config: &DiscoverConfig,
    ) {
        self.learn(index, round, now, peers, config);
        if let Some(tier) = self.0.get_mut(index)
            && core::mem::take(&mut tier.outdated)
        {
            tier.begin_anew(now);
        }
    }
    /// What a round said about its tracker, and when its tier goes on.
    fn learn(
        &mut self,
        index: usize,
        round: &Round,
        now: Instant,
        peers: usize,
        config: &DiscoverConfig,
    ) {
        let Some(tier) = self.0.get_mut(index) else { return };
        let Some(asked) = tier.asked.take() else { return };
        let Some(tracker) = tier.trackers.get_mut(asked) else { return };
        tracker.contact = round.contact.clone();
        let Some(answer) = &round.answer else {
            tracker.trouble.clone_from(&round.trouble);
            match round.retry {
                Some(Retry::Never) => tracker.barred = true,
                Some(Retry::Minutes(minutes)) => {
                    let pause = Duration::from_secs(u64::from(minutes) * 60);
                    tracker.not_before = Some(now + pause.min(config.tracker_interval.1));
                }
                None => {}
            }
            tier.current = asked + 1;
            if tier.current < tier.trackers.len() {
                tier.next = Some(now);
            } else {
                self.exhausted_after(index, now, config);
            }
            return;
        };
        tracker.started = true;
        tracker.completed &= round.announce.event != AnnounceEvent::Completed;
        tracker.trouble = answer.warning.clone().unwrap_or_default();
        tracker.peers = answer.peers.len();
        let more = tracker.completed;
        let front = tier.trackers.remove(asked);
        tier.trackers.insert(0, front);
        (tier.current, tier.failures, tier.works) = (0, 0, true);
        let seconds = match answer.min_interval_s {
            Some(least) if peers < config.few_peers => least,
            least => answer.interval_s.max(least.unwrap_or(0)),
        };
        let (low, high) = config.tracker_interval;
        let pause = Duration::from_secs(u64::from(seconds)).clamp(low, high.max(low));
        tier.next = Some(if more { now } else { now + pause });
    }
    /// A tracker that works, the first ones first: another one after each failure.
    pub(super) fn working(&self, failures: u32) -> Option<(Target, Contact)> {
        let works = |tier: &&Tier| tier.works;
        let fronts = self.0.iter().filter(works).filter_map(|tier| tier.trackers.first());
        let all: Vec<&Tracker> = fronts.filter(|tracker| tracker.started).collect();
        let tracker = all.get(failures as usize % all.len().max(1))?;
        Some((tracker.target.clone()?, tracker.contact.clone()))
    }
    /// The download became complete: trackers that know us are told at once.
    pub(super) fn complete(&mut self, now: Instant) {
        for tier in &mut self.0 {
            for tracker in &mut tier.trackers {
                tracker.completed |= tracker.started;
            }
            if tier.trackers.iter().any(|tracker| tracker.started) {
                tier.next = Some(now);
            }
        }
    }
    /// Everything is asked again, and addresses are found anew.
    pub(super) fn restart(&mut self, now: Instant) {
        for tier in &mut self.0 {
            tier.outdated = tier.asked.is_some();
            tier.begin_anew(now);
        }
    }
    /// Trackers that were told that we are there, or may have been by a round that is under way.
    pub(super) fn farewells(&mut self) -> Vec<(Target, Contact)> {
        let mut out = Vec::new();
        for tier in core::mem::take(&mut self.0) {
            for (index, tracker) in tier.trackers.into_iter().enumerate() {
                let asked = tier.asked == Some(index);
                if let (true, Some(target)) = (tracker.started || asked, tracker.target) {
                    out.push((target, tracker.contact));
                }
            }
        }
        out
    }
    /// All trackers, for people.
    pub(super) fn views(&self) -> Vec<TrackerView> {
        let trackers = self.0.iter().flat_map(|tier| &tier.trackers);
        trackers
            .map(|tracker| TrackerView {
                url: tracker.url.clone(),
                peers: tracker.peers,
                trouble: tracker.trouble.clone(),
            })
            .collect()
    }

    /// No tracker of the tier can be asked now: as if all had failed.
    fn exhausted(&mut self, index: usize, now: Instant) {
        let Some(tier) = self.0.get_mut(index) else { return };
        let soonest = tier.trackers.iter().filter(|t| !t.barred).filter_map(|t| t.not_before).min();
        (tier.current, tier.works, tier.next) =
            (0, false, soonest.filter(|soonest| *soonest > now));
        self.wake_after(index, now);
    }
    /// All trackers of the tier failed one after the other.
    fn exhausted_after(&mut self, index: usize, now: Instant, config: &DiscoverConfig) {
        let Some(tier) = self.0.get_mut(index) else { return };
        let pause = config.tracker_retry.saturating_mul(1 << tier.failures.min(20));
        tier.failures += 1;
        (tier.current, tier.works) = (0, false);
        tier.next = Some(now + pause.min(config.tracker_interval.1));
        self.wake_after(index, now);
    }
    /// Lets the first tier after `index` begin that has not.
    fn wake_after(&mut self, index: usize, now: Instant) {
        if let Some(tier) = self.0.iter_mut().skip(index + 1).find(|tier| !tier.begun) {
            tier.next = Some(now);
        }
    }
}

impl Tier {
    /// Asks from the first tracker on, if it was begun, and forgets where its trackers were.
    fn begin_anew(&mut self, now: Instant) {
        for tracker in &mut self.trackers {
            tracker.contact = Contact::default();
        }
        if self.begun {
            (self.next, self.current) = (Some(now), 0);
        }
    }
}

impl Tracker {
    fn new(url: &str) -> Self {
        let target = Target::parse(url);
        let trouble = if target.is_some() { "" } else { "this kind of tracker is not supported" };
        Self {
            url: String::from(url),
            barred: target.is_none(),
            target,
            contact: Contact::default(),
            started: false,
            completed: false,
            not_before: None,
            peers: 0,
            trouble: String::from(trouble),
        }
    }
    fn event(&self) -> AnnounceEvent {
        match (self.started, self.completed) {
            (false, _) => AnnounceEvent::Started,
            (true, true) => AnnounceEvent::Completed,
            (true, false) => AnnounceEvent::None,
        }
    }
}
