//! What must hold in every world, whatever happens in it.
//!
//! A check that fails becomes a [`Violation`], never a panic: the run stops there and its last turns are printed. The
//! cheap checks are always on; the [`Ledger`] of requests costs memory per outstanding request and is for fault runs.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasherDefault;

use shoal_node::link::{LinkId, TitleId};
use shoal_node::stats::Counters;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::peer::{BLOCK_LEN, BlockRequest, Extended, Message, ShoalMessage};

use crate::network::LinkHash;

/// Wakes of one node within one virtual millisecond that are still taken for work.
pub const WAKES_PER_MS_MAX: u32 = 300;
/// Film bytes that may be received and not yet counted as useful, duplicate or wasted.
pub const UNDECIDED_MAX: u64 = 64 << 20;
/// A request unanswered for this long on a live link is leaked, nanoseconds.
pub const ANSWER_WITHIN_NS: u64 = 60_000_000_000;
const VIOLATIONS_KEPT: usize = 20;

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When, nanoseconds.
    pub at_ns: u64,
    /// By which node.
    pub node: u32,
    /// Which rule, and how.
    pub what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:.3} s node {}: {}", self.at_ns as f64 / 1e9, self.node, self.what)
    }
}

/// All checks of a world.
#[derive(Debug, Default)]
pub struct Checks {
    violations: Vec<Violation>,
    /// Requests, when they are followed.
    pub ledger: Option<Ledger>,
    /// Announcements, when they are followed.
    pub claims: Option<Claims>,
}

impl Checks {
    /// Notes a broken rule.
    pub fn fail(&mut self, at_ns: u64, node: u32, what: String) {
        if self.violations.len() < VIOLATIONS_KEPT {
            self.violations.push(Violation { at_ns, node, what });
        }
    }
    /// Notes a broken rule unless `holds`.
    pub fn require(&mut self, holds: bool, at_ns: u64, node: u32, what: impl FnOnce() -> String) {
        if !holds {
            self.fail(at_ns, node, what());
        }
    }
    /// Broken rules, oldest first.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
    /// A node's own counters against what the world handed it.
    pub fn counters(&mut self, at_ns: u64, node: u32, counters: &[Counters], film_in: u64) {
        let sum = |pick: fn(&Counters) -> u64| counters.iter().map(pick).sum::<u64>();
        let received = sum(|count| count.received);
        let decided =
            sum(|count| count.useful) + sum(|count| count.duplicate) + sum(|count| count.wasted);
        self.require(received <= film_in, at_ns, node, || {
            format!("it counts {received} film bytes received, but got {film_in}")
        });
        self.require(decided <= received, at_ns, node, || {
            format!("it counts {decided} film bytes as useful, duplicate or wasted, but {received} received")
        });
        self.require(received <= decided + UNDECIDED_MAX, at_ns, node, || {
            format!("of {received} film bytes received only {decided} are accounted for")
        });
        let (from, useful) = (sum(|c| c.from_peers) + sum(|c| c.from_server), sum(|c| c.useful));
        self.require(from <= useful, at_ns, node, || {
            format!("{from} useful bytes by source, but {useful} in all")
        });
    }
}

/// What each node has told on each of its links that it has.
#[derive(Debug, Default)]
pub struct Claims {
    links: BTreeMap<(u32, LinkId), Told>,
}

/// What a node has told on one of its links.
#[derive(Debug, Default)]
struct Told {
    pieces: BTreeSet<u32>,
    /// Of them, those that it gave up since.
    owed: BTreeSet<u32>,
    /// The other end has said which extensions it speaks: before, nothing can be withdrawn.
    greeted: bool,
}

impl Claims {
    /// A node says something. Returns the piece that it announces though `has` says that it is not there.
    pub fn on_send(
        &mut self,
        node: u32,
        link: LinkId,
        message: &Message,
        pieces: u32,
        has: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        let told = self.links.entry((node, link)).or_default();
        let news: Vec<u32> = match message {
            Message::HaveAll => (0..pieces).collect(),
            Message::Have { piece } => vec![*piece],
            Message::Bitfield(bytes) => Bitfield::from_wire(bytes, pieces)
                .map_or_else(Vec::new, |bits| bits.iter().collect()),
            Message::Extended(extended) => {
                if let Extended::DontHave { piece } = &**extended {
                    told.pieces.remove(piece);
                    told.owed.remove(piece);
                }
                return None;
            }
            _ => return None,
        };
        told.pieces.extend(&news);
        told.owed.retain(|piece| !news.contains(piece));
        news.into_iter().find(|&piece| !has(piece))
    }
    /// A node hears something.
    pub fn on_message(&mut self, node: u32, link: LinkId, message: &Message) {
        if let Message::Extended(extended) = message
            && let Extended::Handshake(_) = &**extended
        {
            self.links.entry((node, link)).or_default().greeted = true;
        }
    }
    /// A node gives pieces of a title up; `is_of` says which links are of that title.
    pub fn on_evict(&mut self, node: u32, pieces: &[u32], is_of: impl Fn(LinkId) -> bool) {
        for (_, told) in self.links_of(node).filter(|(link, _)| is_of(*link)) {
            told.owed.extend(pieces.iter().filter(|piece| told.pieces.contains(piece)));
        }
    }
    fn links_of(&mut self, node: u32) -> impl Iterator<Item = (LinkId, &mut Told)> {
        let links = self.links.range_mut((node, LinkId(0))..=(node, LinkId(u32::MAX)));
        links.map(|((_, link), told)| (*link, told))
    }
    /// The turn is over: what was given up in it must not be thought to be there by anybody.
    pub fn end_turn(&mut self, node: u32) -> Option<String> {
        let (link, told) =
            self.links_of(node).find(|(_, told)| told.greeted && !told.owed.is_empty())?;
        let piece = told.owed.first()?;
        Some(format!("it gave up piece {piece} and did not withdraw it on link {}", link.0))
    }
    /// A link of a node is gone.
    pub fn on_link_down(&mut self, node: u32, link: LinkId) {
        self.links.remove(&(node, link));
    }
    /// A node's process ended.
    pub fn on_leave(&mut self, node: u32) {
        self.links.retain(|key, _| key.0 != node);
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Waiting,
    Cancelled,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    link: LinkId,
    state: Asked,
    at_ns: u64,
}

/// Every request that is under way, by asker and block.
#[derive(Debug, Default)]
pub struct Ledger {
    asks: HashMap<(u32, u32, u32), Vec<Ask>, BuildHasherDefault<LinkHash>>,
    /// Blocks that a node stored in the turn under way.
    stored: Vec<(TitleId, u32, u32)>,
    /// Film bytes that came although nobody waited for them, by node.
    pub unasked: HashMap<u32, u64, BuildHasherDefault<LinkHash>>,
}

impl Ledger {
    /// A node says something.
    pub fn on_send(&mut self, now: u64, node: u32, link: LinkId, message: &Message) {
        match message {
            Message::Request(block) => self.ask(now, node, link, block),
            Message::Cancel(block) => {
                for ask in self.asks_of(node, block).iter_mut().filter(|ask| ask.link == link) {
                    ask.state = Asked::Cancelled;
                }
            }
            Message::Extended(extended) => {
                if let Extended::Shoal(ShoalMessage::Requests(requests)) = &**extended {
                    for request in requests {
                        self.ask(now, node, link, &request.block);
                    }
                }
            }
            _ => {}
        }
    }
    fn ask(&mut self, at_ns: u64, node: u32, link: LinkId, block: &BlockRequest) {
        // One that was cancelled may still be answered: it stays beside the new one.
        let asks = self.asks.entry((node, block.piece, block.offset)).or_default();
        asks.push(Ask { link, state: Asked::Waiting, at_ns });
    }
    fn asks_of(&mut self, node: u32, block: &BlockRequest) -> &mut [Ask] {
        self.asks.get_mut(&(node, block.piece, block.offset)).map_or(&mut [], Vec::as_mut_slice)
    }
    /// A node hears something. Returns a sentence when it is an answer to nothing.
    pub fn on_message(&mut self, node: u32, link: LinkId, message: &Message) -> Option<String> {
        let (piece, offset, film) = match message {
            Message::Piece { piece, offset, data } => (*piece, *offset, data.len() as u64),
            Message::Reject(block) => (block.piece, block.offset, 0),
            _ => return None,
        };
        let key = (node, piece, offset);
        let known = self.asks.get_mut(&key).and_then(|asks| {
            // A block answers what is waited for first, a rejection what was cancelled first.
            let prefer = if film > 0 { Asked::Waiting } else { Asked::Cancelled };
            let mut here = asks.iter().enumerate().filter(|(_, ask)| ask.link == link);
            let first = here.next()?.0;
            let wanted = |(_, ask): &(usize, &Ask)| ask.link == link && ask.state == prefer;
            let place = asks.iter().enumerate().find(wanted).map_or(first, |found| found.0);
            Some(asks.remove(place))
        });
        if self.asks.get(&key).is_some_and(Vec::is_empty) {
            self.asks.remove(&key);
        }
        match known {
            Some(ask) if ask.state == Asked::Waiting => None,
            Some(_) => {
                *self.unasked.entry(node).or_default() += film;
                None
            }
            None if film > 0 => {
                *self.unasked.entry(node).or_default() += film;
                Some(format!("it was sent piece {piece} offset {offset} without having asked"))
            }
            None => None,
        }
    }
    /// A link of a node is gone, with all that was asked on it.
    pub fn on_link_down(&mut self, node: u32, link: LinkId) {
        self.asks.retain(|key, asks| {
            if key.0 == node {
                asks.retain(|ask| ask.link != link);
            }
            !asks.is_empty()
        });
    }
    /// A node's process ended.
    pub fn on_leave(&mut self, node: u32) {
        self.asks.retain(|key, _| key.0 != node);
    }
    /// A node stores verified bytes: `piece` is theirs, `length` bytes from `offset`.
    pub fn on_stored(&mut self, title: TitleId, piece: u32, offset: u32, length: u32) {
        let mut at = offset;
        while at < offset + length {
            self.stored.push((title, piece, at));
            at += BLOCK_LEN;
        }
    }
    /// The turn is over: what was stored in it must not be waited for elsewhere, on links that
    /// are of its title.
    pub fn end_turn(
        &mut self,
        node: u32,
        is_of: impl Fn(LinkId, TitleId) -> bool,
    ) -> Option<String> {
        let mut broken = None;
        for (title, piece, offset) in self.stored.drain(..) {
            if let Some(asks) = self.asks.get(&(node, piece, offset))
                && let Some(ask) =
                    asks.iter().find(|ask| ask.state == Asked::Waiting && is_of(ask.link, title))
            {
                broken = Some(format!(
                    "it stored piece {piece} offset {offset} and did not cancel it on link {}",
                    ask.link.0
                ));
            }
        }
        broken
    }
    /// The oldest request that should have been answered long ago by a host that is there.
    #[must_use]
    pub fn leaked(
        &self,
        now: u64,
        is_alive: impl Fn(u32, LinkId) -> bool,
    ) -> Option<(u32, String)> {
        // One that was taken back must be answered too, with the block or a rejection (BEP 6).
        let late = |ask: &&Ask| now.saturating_sub(ask.at_ns) > ANSWER_WITHIN_NS;
        let worst = self.asks.iter().flat_map(|(key, asks)| {
            asks.iter().filter(late).map(move |ask| (ask.at_ns, *key, ask.link))
        });
        let worst = worst.filter(|(_, key, link)| is_alive(key.0, *link));
        worst.min_by_key(|(at, key, _)| (*at, *key)).map(|(at, key, link)| {
            let text = format!(
                "its request for piece {} offset {} on link {} from {:.3} s was never answered",
                key.1,
                key.2,
                link.0,
                at as f64 / 1e9
            );
            (key.0, text)
        })
    }
    /// Requests under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.asks.values().map(Vec::len).sum()
    }
    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::good;

    const BLOCK: BlockRequest = BlockRequest { piece: 3, offset: 0, length: 16_384 };
    fn piece() -> Message {
        Message::Piece { piece: 3, offset: 0, data: good(16_384) }
    }

    #[test]
    fn an_answer_settles_a_request_and_a_second_one_is_noticed() {
        let mut ledger = Ledger::default();
        ledger.on_send(0, 1, LinkId(2), &Message::Request(BLOCK));
        assert!(ledger.leaked(ANSWER_WITHIN_NS + 1, |_, _| true).is_some());
        assert_eq!(ledger.on_message(1, LinkId(2), &piece()), None);
        assert!(ledger.is_empty() && ledger.leaked(u64::MAX, |_, _| true).is_none());
        assert!(ledger.on_message(1, LinkId(2), &piece()).is_some());
    }

    #[test]
    fn a_block_that_came_must_be_cancelled_elsewhere() {
        let mut ledger = Ledger::default();
        ledger.on_send(0, 1, LinkId(2), &Message::Request(BLOCK));
        ledger.on_send(0, 1, LinkId(4), &Message::Request(BLOCK));
        ledger.on_message(1, LinkId(2), &piece());
        ledger.on_stored(TitleId(0), 3, 0, 16_384);
        assert!(ledger.end_turn(1, |_, _| true).is_some());
        ledger.on_stored(TitleId(1), 3, 0, 16_384);
        assert!(ledger.end_turn(1, |_, title| title == TitleId(0)).is_none(), "another title");
        ledger.on_send(0, 1, LinkId(4), &Message::Cancel(BLOCK));
        ledger.on_stored(TitleId(0), 3, 0, 16_384);
        assert_eq!(ledger.end_turn(1, |_, _| true), None);
        assert_eq!(ledger.on_message(1, LinkId(4), &piece()), None);
        assert_eq!(ledger.unasked.get(&1), Some(&16_384));
    }

    #[test]
    fn what_is_given_up_must_be_withdrawn_and_only_what_is_there_announced() {
        let mut claims = Claims::default();
        let have = |piece| Message::Have { piece };
        assert_eq!(claims.on_send(1, LinkId(2), &have(3), 8, |_| true), None);
        assert_eq!(claims.on_send(1, LinkId(4), &Message::HaveAll, 8, |piece| piece != 7), Some(7));
        claims.on_evict(1, &[3], |_| true);
        assert_eq!(claims.end_turn(1), None, "nobody could be told yet");
        let hello = Message::Extended(Extended::Handshake(Default::default()).into());
        claims.on_message(1, LinkId(2), &hello);
        claims.on_message(1, LinkId(4), &hello);
        let lost = Message::Extended(Extended::DontHave { piece: 3 }.into());
        claims.on_send(1, LinkId(4), &lost, 8, |_| false);
        assert!(claims.end_turn(1).is_some_and(|text| text.contains("link 2")));
        claims.on_link_down(1, LinkId(2));
        claims.on_evict(1, &[3], |_| true);
        assert_eq!(claims.end_turn(1), None);
        claims.on_evict(1, &[5], |link| link != LinkId(4));
        assert_eq!(claims.end_turn(1), None, "link 4 is of another title");
    }

    #[test]
    fn counters_that_do_not_add_up_are_noticed() {
        let mut checks = Checks::default();
        let fine =
            Counters { received: 10, useful: 7, duplicate: 1, wasted: 2, ..Counters::default() };
        checks.counters(0, 0, &[fine], 10);
        assert!(checks.violations().is_empty());
        checks.counters(0, 0, &[Counters { useful: 8, ..fine }], 10);
        checks.counters(0, 0, &[fine], 9);
        assert_eq!(checks.violations().len(), 2);
    }
}
