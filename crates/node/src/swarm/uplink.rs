//! Our uplink over all titles: which link may send next, how much is in flight, and whom to turn down.
//!
//! What holds the order of links back is the limit that the user set, and how much is *in flight*: given to transports that
//! of which nobody has said that it arrived. That grows while blocks wait on their way for less than [`QUEUE_QUICK`], beyond what the
//! way itself takes, and shrinks when they wait for more than [`QUEUE_SLOW`]: whatever waits behind it (our own requests among
//! them) waits that long, what is given away can no longer be cancelled or overtaken, and where the queue is longer than the
//! router's, packets are lost. The idea is that of LEDBAT (RFC 6817), for the sum of all links instead of each.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::audit::equal;
use super::bucket::Bucket;
use super::precedence::Precedence;
use super::travel::Travel;
use super::upload::{Class, SOON, URGENT, Uploads};
use crate::link::TitleId;
use crate::time::{Instant, bytes_in, time_of};

/// Our uplink over all titles.
#[derive(Debug)]
pub(crate) struct Uplink {
    limit: Option<u64>,
    /// Whether transports are given little more than the uplink passes on, and not all that they take.
    paced: bool,
    /// Film bytes that the limit lets leave now.
    tokens: Bucket,
    order: BTreeSet<(Class, u64, TitleId, u16)>,
    /// Links whose class gets better by time alone, and when: what was asked for long before it is needed must not starve.
    aging: BTreeSet<(Instant, TitleId, u16)>,
    /// Fair-queueing clock: where a link that was idle begins.
    clock: u64,
    /// Film bytes in flight on links that are not stuck.
    flying: u64,
    /// Mean time that a block waits on its way, beyond what the way itself takes.
    queue: Duration,
    /// When `allowed` was last changed.
    since: Instant,
    /// Links had to wait for what is in flight since then.
    held_back: bool,
    /// Film bytes that may be in flight.
    allowed: u64,
    /// The same for bulk while somebody needs something by a time, where the rate that the uplink has shown allows no more: over a long way
    /// one block at a time shows none.
    bulk: u64,
    /// Bulk had to wait for what is in flight since `allowed` was last changed.
    bulk_held: bool,
    /// Film bytes that transports passed on, all links together.
    passed: u64,
    /// Since when the rate is measured, and what had passed by then.
    measured: (Instant, u64),
    /// Bytes/s that the uplink passes on when it has enough to do.
    peak: u64,
    /// Mean round trip of the links that blocks are given to.
    rtt: Duration,
    /// When somebody, here or at a peer, last needed something by a time.
    hurried: Option<Instant>,
    /// Requests of all links that wait and are needed at once, soon, and by any time.
    timed: [u32; 3],
    /// Whether what has time waits for who starves.
    precedence: Precedence,
}

/// `allowed` changes at most this often.
const STEP: Duration = Duration::from_millis(50);
/// With a shorter queue transports could take more,
const QUEUE_QUICK: Duration = Duration::from_millis(30);
/// and with a longer one they have too much.
const QUEUE_SLOW: Duration = Duration::from_millis(60);
/// Bounds of what may be in flight, bytes: one block, and more than any uplink needs.
const ALLOWED: (u64, u64) = (16 * 1024, 64 << 20);
/// A link whose transport passes nothing on for this long, and for twice the time that what keeps the uplink busy should take,
/// is stuck: it must not hold back the others. To both comes twice what its way takes,
const STUCK_AFTER: (Duration, u32) = (Duration::from_millis(250), 2);
/// which may be so much where nothing arrived yet.
const WAY_UNKNOWN: Duration = Duration::from_millis(250);
/// It is stuck, too, when this many times as much as keeps the uplink busy passed on other links.
const STUCK_PASSED: u64 = 4;
/// Rate of an uplink that has shown none, bytes/s: a small home uplink.
const PEAK_UNKNOWN: u64 = 128 * 1024;
/// The rate is measured over this time.
const MEASURE: Duration = Duration::from_millis(500);
/// The three times above are this many times as long while nobody needs anything by a time. Over a long round trip a link
/// that gets a block a second finds its window small each time: with little in flight such links leave an uplink idle.
const PATIENCE: u32 = 4;
/// Bulk fills one part in this many of what may be in flight while somebody needs something by a time,
const BULK_PART: u64 = 4;
/// or what passes in this time: connections that get a block at a time find no rate.
const BULK_WAIT: Duration = Duration::from_millis(50);
/// Requests that are needed by a time are turned down while those that wait take longer than this,
const BOOKED: Duration = Duration::from_millis(2500);
/// or those of the same asker longer than this: what others hold too is asked of them as well then.
const BOOKED_BY_ONE: Duration = Duration::from_millis(1500);
/// The same for what is due in a moment.
const BOOKED_URGENT: Duration = Duration::from_millis(2000);
/// An uplink is loaded when what is needed by a time waits longer than this.
const LOADED: Duration = Duration::from_millis(250);
/// So many may always wait.
const BOOKED_LEAST: u32 = 2;
/// Somebody who needed something by a time is taken to be there for this long.
const HURRY_KEPT: Duration = Duration::from_secs(10);

impl Default for Uplink {
    fn default() -> Self {
        Self {
            limit: None,
            paced: true,
            tokens: Bucket::new(Instant::ZERO),
            order: BTreeSet::new(),
            aging: BTreeSet::new(),
            clock: 0,
            flying: 0,
            queue: Duration::ZERO,
            since: Instant::ZERO,
            held_back: false,
            allowed: 2 * ALLOWED.0,
            bulk: ALLOWED.0,
            bulk_held: false,
            passed: 0,
            measured: (Instant::ZERO, 0),
            peak: PEAK_UNKNOWN,
            rtt: Duration::ZERO,
            hurried: None,
            timed: [0; 3],
            precedence: Precedence::default(),
        }
    }
}

impl Uplink {
    /// Sets the limit in film bytes/s; zero counts as one.
    pub(crate) fn set_limit(&mut self, now: Instant, limit: Option<u64>) {
        self.limit = limit.map(|limit| limit.max(1));
        self.tokens = Bucket::new(now);
    }
    /// Says whether what is in flight counts ([`crate::config::SwarmConfig::paced`]).
    pub(crate) fn pace(&mut self, paced: bool) {
        self.paced = paced;
    }
    /// Finds the place of a link in the order after its requests or its credit changed.
    pub(crate) fn settle(
        &mut self,
        now: Instant,
        title: TitleId,
        slot: u16,
        uploads: &mut Uploads,
    ) {
        self.count(now, uploads);
        self.starve(now, uploads.is_starving(now), uploads);
        if uploads.sendable().is_some() {
            self.wait(now, title, slot, uploads);
        } else {
            self.leave(title, slot, uploads);
        }
    }
    fn starve(&mut self, now: Instant, is: bool, uploads: &mut Uploads) {
        if core::mem::replace(&mut uploads.starving, is) != is {
            self.precedence.starves(now, self.passed, is);
        }
    }
    /// Puts a link that has something to send into the order.
    fn wait(&mut self, now: Instant, title: TitleId, slot: u16, uploads: &mut Uploads) {
        let (class, ages) = uploads.class(now);
        if uploads.queue.front().is_some_and(|wanted| wanted.due.is_some()) {
            self.hurry(now);
        }
        if uploads.place == Some(class) && uploads.ages == ages {
            return;
        }
        self.leave(title, slot, uploads);
        uploads.served = uploads.served.max(self.clock);
        uploads.place = Some(class);
        self.order.insert((class, uploads.served, title, slot));
        uploads.ages = ages;
        self.aging.extend(ages.map(|at| (at, title, slot)));
    }
    /// Takes a link out of the order.
    pub(crate) fn leave(&mut self, title: TitleId, slot: u16, uploads: &mut Uploads) {
        if let Some(class) = uploads.place.take() {
            self.order.remove(&(class, uploads.served, title, slot));
        }
        if let Some(at) = uploads.ages.take() {
            self.aging.remove(&(at, title, slot));
        }
    }
    /// Takes out a link whose place has become a better one since it waits; it must `wait` again.
    pub(crate) fn aged(&mut self, now: Instant) -> Option<(TitleId, u16)> {
        let (at, title, slot) = *self.aging.first().filter(|entry| entry.0 <= now)?;
        self.aging.remove(&(at, title, slot));
        Some((title, slot))
    }
    /// The link that may send a block now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(TitleId, u16)> {
        let &(class, served, title, slot) = self.order.first()?;
        // What has time waits for who starves.
        let holds = |own: &mut Self| own.precedence.holds(now, own.passed, own.peak, own.rtt);
        if class >= Class::Regular && holds(self) {
            return None;
        }
        if self.is_full(now) {
            // Where bulk leaves room for who watches, more in flight is not what is missing.
            let is_all = self.flying >= self.allowed;
            self.held_back |= is_all;
            self.bulk_held |= !is_all;
            return None;
        }
        self.fill(now);
        if self.limit.is_some() && !self.tokens.is_open() {
            return None;
        }
        self.clock = self.clock.max(served);
        Some((title, slot))
    }
    /// Counts the requests of a link that are needed by a time, after they changed.
    fn count(&mut self, now: Instant, uploads: &mut Uploads) {
        let timed = uploads.timed(now);
        if uploads.counted == timed {
            return;
        }
        let counted = core::mem::replace(&mut uploads.counted, timed);
        for (sum, (new, old)) in self.timed.iter_mut().zip(timed.into_iter().zip(counted)) {
            *sum = *sum + new - old;
        }
    }
    /// Whether what is needed by a time and waits already, for all or on the link of the asker, keeps the uplink busy for so long that
    /// one more request, `due` then, had better be made elsewhere.
    pub(super) fn is_overbooked(&self, now: Instant, due: Instant, asker: &Uploads) -> bool {
        let takes_longer = |[_, soon, all]: [u32; 3], most: Duration| {
            // What is needed later waits behind it.
            let before = if due <= now + SOON { soon } else { all };
            let waiting = time_of(u64::from(before) * ALLOWED.0 + self.flying, self.peak);
            before >= BOOKED_LEAST && waiting > most
        };
        let is_urgent = due <= now + URGENT;
        let [most, by_one] = if is_urgent { [BOOKED_URGENT; 2] } else { [BOOKED, BOOKED_BY_ONE] };
        takes_longer(self.timed, most) || takes_longer(asker.counted, by_one)
    }
    /// Whether what is needed by a time and waits keeps the uplink busy for more than a moment.
    pub(crate) fn is_loaded(&self) -> bool {
        let [.., all] = self.timed;
        self.takes_long(all)
    }
    /// Whether what is needed at once does.
    pub(crate) fn is_hard_pressed(&self) -> bool {
        let [urgent, ..] = self.timed;
        self.takes_long(urgent)
    }
    fn takes_long(&self, requests: u32) -> bool {
        time_of(u64::from(requests) * ALLOWED.0, self.peak) > LOADED
    }
    /// Bytes/s that it passes on when it has enough to do, as far as it has shown.
    pub(crate) fn peak(&self) -> u64 {
        self.peak
    }
    /// Somebody needs something by a time: little is kept in flight for a while.
    pub(crate) fn hurry(&mut self, now: Instant) {
        self.hurried = Some(now);
    }
    fn is_hurried(&self, now: Instant) -> bool {
        self.hurried.is_some_and(|at| now.since(at) < HURRY_KEPT)
    }
    fn patience(&self, now: Instant) -> u32 {
        if self.is_hurried(now) { 1 } else { PATIENCE }
    }
    /// Whether what is in flight leaves no room for the first in the order. A request of who watches waits for all that is in
    /// flight when it comes, so bulk may fill only a part.
    fn is_full(&self, now: Instant) -> bool {
        if !self.paced {
            return false;
        }
        let is_bulk = self.order.first().is_some_and(|first| first.0 >= Class::Regular);
        let mut most = self.allowed;
        if is_bulk && self.is_hurried(now) {
            let quick = bytes_in(BULK_WAIT + self.rtt, self.peak);
            most = most.min(quick.max(self.bulk)).max(most / BULK_PART);
        }
        self.flying > 0 && self.flying >= most.max(ALLOWED.0)
    }
    /// A link with a round trip of `rtt` was given `bytes` to send.
    pub(crate) fn spend(&mut self, bytes: u32, rtt: Duration, uploads: &mut Uploads) {
        self.rtt = self.rtt - self.rtt / 8 + rtt / 8;
        if self.limit.is_some() {
            self.tokens.spend(bytes, u64::MAX);
        }
        uploads.served += u64::from(bytes);
        if uploads.flying == u64::from(bytes) {
            uploads.passed_at = self.passed;
        }
        if !uploads.stuck {
            self.flying += u64::from(bytes);
        }
    }
    /// So much of what was in flight on a link arrived.
    pub(crate) fn pass(&mut self, now: Instant, bytes: u32, uploads: &mut Uploads) {
        let left = uploads.flying.min(u64::from(bytes));
        if left == 0 {
            return;
        }
        if core::mem::replace(&mut uploads.stuck, false) {
            self.flying += uploads.flying;
        }
        uploads.progress = Some(now);
        self.pass_on(now, left);
        uploads.passed_at = self.passed;
        uploads.flying -= left;
        self.flying -= left;
        while let Some(waited) = uploads.travel.arrive(now, uploads.flying) {
            self.queue = self.queue - self.queue / 8 + waited / 8;
        }
        let way = uploads.travel.way().unwrap_or_default();
        // No sooner than the last change can have shown.
        if now.since(self.since) >= STEP.max(self.queue + way) {
            self.adjust(self.patience(now));
            self.since = now;
        }
    }
    /// Counts what left, and learns how fast the uplink is.
    fn pass_on(&mut self, now: Instant, left: u64) {
        self.passed += left;
        let (since, passed) = self.measured;
        let elapsed = now.since(since);
        if elapsed < MEASURE {
            return;
        }
        // A long silence says nothing about the uplink.
        if elapsed < MEASURE * 4 {
            let nanos = elapsed.as_nanos().max(1);
            let rate = u128::from(self.passed - passed) * 1_000_000_000 / nanos;
            let rate = u64::try_from(rate).unwrap_or(u64::MAX);
            self.peak = rate.max(self.peak - self.peak / 16).max(1024);
        }
        self.measured = (now, self.passed);
    }
    /// Lets more or less be in flight, by how long transports take to pass a block on.
    fn adjust(&mut self, patience: u32) {
        let change = (self.allowed / 4).max(ALLOWED.0);
        if self.queue > QUEUE_SLOW * patience {
            self.allowed = self.allowed.saturating_sub(change);
        } else if self.queue < QUEUE_QUICK * patience && core::mem::take(&mut self.held_back) {
            self.allowed += change;
        }
        self.allowed = self.allowed.clamp(self.least(), ALLOWED.1);
        let change = (self.bulk / 4).max(ALLOWED.0);
        if self.queue > QUEUE_SLOW {
            self.bulk = self.bulk.saturating_sub(change);
        } else if self.queue < QUEUE_QUICK && core::mem::take(&mut self.bulk_held) && self.is_far()
        {
            self.bulk += change;
        }
        self.bulk = self.bulk.clamp(ALLOWED.0, self.allowed);
    }
    /// Whether the rate that was shown may be one of a block per round trip: a block that takes longer is that of a slow uplink.
    fn is_far(&self) -> bool {
        time_of(ALLOWED.0, self.peak) < BULK_WAIT + self.rtt
    }
    /// What must be in flight to keep the uplink busy: a block on a connection that was idle waits for a round trip in the
    /// middle (its first window is smaller than a block), and meanwhile others must be on their way.
    fn least(&self) -> u64 {
        (bytes_in(self.rtt * 2, self.peak) + ALLOWED.0).clamp(2 * ALLOWED.0, ALLOWED.1)
    }
    /// A link is gone with all that was in flight on it.
    pub(crate) fn forget(
        &mut self,
        now: Instant,
        title: TitleId,
        slot: u16,
        uploads: &mut Uploads,
    ) {
        self.leave(title, slot, uploads);
        self.starve(now, false, uploads);
        let counted = core::mem::take(&mut uploads.counted);
        self.timed.iter_mut().zip(counted).for_each(|(sum, old)| *sum -= old);
        if !uploads.stuck {
            self.flying -= uploads.flying;
        }
        uploads.flying = 0;
        uploads.travel = Travel::default();
    }
    /// Looks whether a link is stuck. For every link when the uplink is held back by what is in flight.
    pub(crate) fn look(&mut self, now: Instant, uploads: &mut Uploads) {
        if uploads.flying == 0 || uploads.stuck {
            return;
        }
        // What it was given shares the uplink with what is in flight on the others; a dead end may hold much more.
        let busy = self.flying - uploads.flying + uploads.flying.min(4 * ALLOWED.0);
        let after = self.stuck_after(now, busy) + uploads.travel.way().unwrap_or(WAY_UNKNOWN) * 2;
        let passed = self.passed - uploads.passed_at;
        if uploads.progress.is_some_and(|progress| now.since(progress) >= after)
            || passed >= STUCK_PASSED * self.least().max(busy)
        {
            uploads.stuck = true;
            self.flying -= uploads.flying;
            self.starve(now, false, uploads);
        }
    }
    fn stuck_after(&self, now: Instant, busy: u64) -> Duration {
        let (least, times) = STUCK_AFTER;
        (least * self.patience(now)).max(time_of(self.least().max(busy), self.peak) * times)
    }
    /// Whether links wait for others to pass on what is in flight.
    pub(crate) fn is_held_back(&self, now: Instant) -> bool {
        let holds = || self.precedence.deadline(now).is_some();
        !self.order.is_empty() && (self.is_full(now) || holds())
    }
    /// When a waiting link may send, or should be looked at.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        if self.order.is_empty() {
            return None;
        }
        if self.is_full(now) {
            return Some(now + self.stuck_after(now, self.flying.min(self.allowed)));
        }
        let limited = || self.limit.map(|limit| self.tokens.opens(limit));
        self.precedence.deadline(now).or_else(limited)
    }
    /// The order and what is in flight, against all links.
    pub(super) fn audit<'a>(
        &self,
        links: impl Iterator<Item = (TitleId, u16, &'a Uploads)>,
    ) -> Result<(), String> {
        let (mut flying, mut placed, mut timed, mut starving) = (0, 0, [0; 3], 0);
        for (title, slot, uploads) in links {
            timed.iter_mut().zip(uploads.counted).for_each(|(sum, count)| *sum += count);
            starving += u64::from(uploads.starving);
            if !uploads.stuck {
                flying += uploads.flying;
            }
            if let Some(class) = uploads.place {
                placed += 1;
                if !self.order.contains(&(class, uploads.served, title, slot)) {
                    return Err(format!("{title:?} {slot} has no place in the uplink's order"));
                }
            }
        }
        equal("links that starve", u64::from(self.precedence.starving()), starving)?;
        equal("bytes in flight", self.flying, flying)?;
        for ((what, own), all) in ["at once", "soon", "by a time"].iter().zip(self.timed).zip(timed)
        {
            equal(&format!("requests that are needed {what}"), u64::from(own), u64::from(all))?;
        }
        equal("links in the uplink's order", self.order.len() as u64, placed)
    }
    fn fill(&mut self, now: Instant) {
        let Some(limit) = self.limit else { return };
        // A fifth of a second of silence may be made up for, and always one block.
        self.tokens.fill(now, limit, (limit / 5).max(32 * 1024));
    }
}

#[cfg(test)]
mod tests {
    use super::super::upload::tests::request;
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::vec::Vec;
    use bytes::Bytes;

    #[test]
    fn a_limited_uplink_is_shared_equally_and_urgent_blocks_pass() {
        let mut uplink = Uplink::default();
        let mut now = Instant::from_millis(0);
        uplink.set_limit(now, Some(160 * 1024));
        let mut links = [Uploads::default(), Uploads::default(), Uploads::default()];
        for (slot, link) in links.iter_mut().enumerate() {
            link.credit = 1 << 30;
            for block in 0..200 {
                let due = (slot == 2 && block < 3).then(|| Instant::from_millis(500));
                link.push(request(block, 0), due, false);
            }
            while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
            uplink.wait(now, TitleId(0), slot as u16, link);
        }
        let mut sent = [0u32; 3];
        let mut first = Vec::new();
        while now < Instant::from_millis(10_000) {
            while let Some((_, slot)) = uplink.next(now) {
                let link = &mut links[usize::from(slot)];
                uplink.leave(TitleId(0), slot, link);
                while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
                link.take(now).expect("waits only with something to send");
                uplink.spend(16384, Duration::ZERO, link);
                link.open(16384);
                uplink.pass(now, 16384, link);
                sent[usize::from(slot)] += 1;
                first.push(slot);
                while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
                uplink.wait(now, TitleId(0), slot, link);
            }
            now = uplink.deadline(now).expect("links wait");
        }
        assert_eq!(first[..3], [2, 2, 2], "due within a second");
        assert!(sent.iter().sum::<u32>().abs_diff(100) <= 2, "{sent:?}");
        assert!(sent.iter().all(|&count| count.abs_diff(33) <= 2), "{sent:?}");
    }

    #[test]
    fn what_cannot_be_sent_in_time_is_taken_elsewhere() {
        let mut uplink = Uplink::default();
        let mut link = Uploads::default();
        let now = Instant::from_millis(10);
        let soon = now + Duration::from_secs(5);
        // An unknown uplink is taken to send eight blocks a second.
        let book = |uplink: &mut Uplink, link: &mut Uploads| {
            let mut booked = 0;
            while !uplink.is_overbooked(now, soon, link) {
                assert!(link.push(request(booked, 0), Some(soon), false));
                uplink.count(now, link);
                booked += 1;
            }
            booked
        };
        assert_eq!(book(&mut uplink, &mut link), 13, "a second and a half for one");
        assert!(!uplink.is_overbooked(now, now, &link), "what is urgent may wait a little longer");
        let mut other = Uploads::default();
        assert_eq!(book(&mut uplink, &mut other), 8, "two and a half for all");
        // What nobody needs by a time waits behind all that.
        assert!(link.push(request(900, 0), None, false));
        uplink.count(now, &mut link);
        assert_eq!(uplink.timed, [0, 21, 21]);
        link.cancel(&request(0, 0));
        uplink.count(now, &mut link);
        assert!(!uplink.is_overbooked(now, soon, &link));
        uplink.forget(now, TitleId(0), 0, &mut link);
        uplink.forget(now, TitleId(0), 1, &mut other);
        assert_eq!(uplink.timed, [0; 3]);
    }

    #[test]
    fn a_link_that_shares_a_slow_uplink_with_many_is_not_stuck() {
        let mut uplink = Uplink::default();
        let mut links: Vec<Uploads> = (0..12).map(|_| Uploads::default()).collect();
        let now = Instant::from_millis(10);
        uplink.hurry(now);
        for (slot, link) in links.iter_mut().enumerate() {
            link.open(2 << 20);
            assert!(link.push(request(slot as u32, 0), Some(now), false));
            while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
            link.take(now).expect("read");
            uplink.spend(16384, Duration::ZERO, link);
        }
        // Twelve blocks at eight a second: each may take twice the second and a half that all take, and half a second for a way
        // that nobody knows.
        let passed = |link: &mut Uploads, uplink: &mut Uplink, ms| {
            uplink.look(now + Duration::from_millis(ms), link);
            link.stuck
        };
        assert!(!passed(&mut links[0], &mut uplink, 3400));
        assert!(passed(&mut links[0], &mut uplink, 3600));
    }

    #[test]
    fn a_long_way_is_no_queue() {
        // Bytes/s of the uplink, and the round trip in ms.
        for (rate, way) in [(1_000_000, 300), (1_000_000, 20), (2_000_000, 1), (60_000, 80)] {
            let (share, queue) = over(rate, way, true);
            assert!(share >= 85, "{rate} bytes/s over {way} ms: {share} % in use");
            let most = (16_384_000 * 3 / rate).max(100);
            assert!(queue <= most, "{rate} bytes/s over {way} ms: a queue of {queue} ms");
        }
    }

    #[test]
    fn bulk_fills_an_uplink_over_a_long_way_though_somebody_watches() {
        // With 50 ms of a rate that one block at a time had shown it was a block per round trip for ever, a tenth of the first.
        for (rate, way) in [(2_000_000, 80), (2_000_000, 1), (1_000_000, 200), (60_000, 80)] {
            let (share, queue) = over(rate, way, false);
            assert!(share >= 60, "{rate} bytes/s over {way} ms: {share} % in use");
            let most = (16_384_000 * 2 / rate).max(100);
            assert!(queue <= most, "{rate} bytes/s over {way} ms: a queue of {queue} ms");
        }
    }

    /// How much of an uplink of `rate` bytes/s is used by one link that always has blocks to send, urgent ones or bulk while somebody
    /// watches, per cent, and its mean queue in ms, when news of an arrival come `way` ms after a block has left.
    fn over(rate: u64, way: u64, urgent: bool) -> (u64, u64) {
        let mut uplink = Uplink::default();
        let mut link = Uploads::default();
        let (mut asked, mut arrivals) = (0, VecDeque::new());
        // In microseconds: when all that was given has left, and the sums of what was used and waited.
        let (mut free, mut passed, mut waited, mut looks) = (0, 0, 0, 0);
        link.open(1 << 40);
        for ms in 10..20_000u64 {
            let (now, us) = (Instant::from_millis(ms), ms * 1000);
            while arrivals.front().is_some_and(|at| *at <= us) {
                arrivals.pop_front();
                uplink.pass(now, 16384, &mut link);
                passed += u64::from(ms >= 10_000) * 16384;
            }
            while link.len() < 4 {
                assert!(link.push(request(asked, 0), urgent.then_some(now), false));
                asked += 1;
            }
            while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
            uplink.hurry(now);
            uplink.settle(now, TitleId(0), 0, &mut link);
            while uplink.next(now).is_some() && link.len() > 0 {
                uplink.leave(TitleId(0), 0, &mut link);
                link.take(now).expect("ready");
                uplink.spend(
                    16384,
                    if urgent { Duration::ZERO } else { Duration::from_millis(way) },
                    &mut link,
                );
                uplink.settle(now, TitleId(0), 0, &mut link);
                free = us.max(free) + 16_384_000_000 / rate;
                arrivals.push_back(free + way * 1000);
            }
            if ms >= 10_000 {
                waited += free.saturating_sub(us);
                looks += 1;
            }
        }
        (passed * 100 / (rate * 10), waited / looks / 1000)
    }

    #[test]
    fn little_is_in_flight_and_a_stuck_link_holds_nobody_back() {
        // Blocks in flight at most, and blocks that pass at least: with somebody who waits, and without.
        for (hurried, blocks_max, sent_min) in [(true, 3, 30), (false, 24, 25)] {
            let (flying, sent) = beside_a_stuck_link(hurried);
            assert!(flying <= blocks_max * 16384, "hurried {hurried}: {flying}");
            assert!(sent >= sent_min, "hurried {hurried}: {sent}");
        }
        assert!(beside_a_stuck_link(false).0 > 2 * beside_a_stuck_link(true).0);
    }

    /// Most bytes in flight at last, and blocks sent on a link that passes one each 100 ms, beside one that passes none.
    fn beside_a_stuck_link(hurried: bool) -> (u64, u32) {
        let mut uplink = Uplink::default();
        let mut links = [Uploads::default(), Uploads::default()];
        let ready = |link: &mut Uploads| {
            while link.next_read(|_| Some(Bytes::from_static(&[0; 16384]))).is_some() {}
        };
        let start = Instant::from_millis(10);
        for (slot, link) in links.iter_mut().enumerate() {
            link.open(2 << 20);
            (0..100).for_each(|block| assert!(link.push(request(block, 0), None, false)));
            ready(link);
            uplink.wait(start, TitleId(0), slot as u16, link);
        }
        let mut sent = [0u32; 2];
        let mut flying_most = 0;
        // Link 0 never drains; link 1 drains a block every 100 ms.
        let mut now = start;
        for step in 0..40u64 {
            if hurried {
                uplink.hurry(now);
            }
            while let Some((_, slot)) = uplink.next(now) {
                let link = &mut links[usize::from(slot)];
                uplink.leave(TitleId(0), slot, link);
                link.take(now).expect("waits only with something to send");
                uplink.spend(16384, Duration::ZERO, link);
                sent[usize::from(slot)] += 1;
                ready(link);
                uplink.wait(now, TitleId(0), slot, link);
            }
            now = start + Duration::from_millis(100 * (step + 1));
            if links[1].flying > 0 {
                links[1].open(16384);
                uplink.pass(now, 16384, &mut links[1]);
            }
            links.iter_mut().for_each(|link| uplink.look(now, link));
            if step >= 20 {
                flying_most = flying_most.max(uplink.flying);
            }
        }
        (flying_most, sent[1])
    }
}
