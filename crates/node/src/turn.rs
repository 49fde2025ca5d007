//! What a room is given while it acts: the time, randomness, settings, and the two ways to be heard, effects for the
//! world and notes for other rooms.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::SocketAddr;

use hashbrown::HashMap;
use shoal_wire::metainfo::Info;
use shoal_wire::time_index::TimeIndex;
use shoal_wire::{InfoHashes, PeerId};

use crate::config::Config;
use crate::io::{Effect, Event, Job};
use crate::link::{LinkId, ReaderId, Ticket, TitleId};
use crate::rng::Rng;
use crate::stats::Counters;
use crate::time::Instant;
use crate::titles::Titles;

/// The context of one turn, passed down and never stored.
pub(crate) struct Turn<'a> {
    /// The time of the turn.
    pub(crate) now: Instant,
    /// The node's randomness.
    pub(crate) rng: &'a mut Rng,
    /// Settings.
    pub(crate) config: &'a Config,
    /// Our peer id of this run.
    pub(crate) peer_id: PeerId,
    /// Consequences for the world, in order.
    pub(crate) effects: &'a mut Vec<Effect>,
    /// Consequences for other rooms, in order.
    pub(crate) notes: &'a mut Vec<Note>,
    /// Jobs under way.
    pub(crate) tickets: &'a mut Tickets,
    /// Counters by title: written by `swarm`, read by all.
    pub(crate) counters: &'a mut Tally,
}

impl Turn<'_> {
    /// Starts a job on behalf of `owner`, who will get its outcome.
    pub(crate) fn submit(&mut self, owner: Owner, job: Job) {
        let ticket = self.tickets.issue(owner);
        self.effects.push(Effect::Submit { ticket, job: Box::new(job) });
    }
    /// Tells the owner of the node.
    pub(crate) fn tell(&mut self, event: Event) {
        self.effects.push(Effect::Tell(event));
    }
    /// Writes to other rooms.
    pub(crate) fn note(&mut self, note: Note) {
        self.notes.push(note);
    }
    /// Counters of `title`. What is counted for one that is not here is lost.
    pub(crate) fn counters(&mut self, title: TitleId) -> &mut Counters {
        self.counters.titles.get_mut(title).unwrap_or(&mut self.counters.lost)
    }
}

/// Counters of the titles that are here.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) titles: Titles<Counters>,
    /// Of those that are not.
    lost: Counters,
}

/// Who waits for a job, with what it needs to go on.
#[derive(Clone, Debug)]
pub(crate) enum Owner {
    /// The exchange of a title.
    Swarm(TitleId, crate::swarm::Task),
    /// Discovery.
    Discover(crate::discover::Task),
    /// The cache, for all titles.
    Cache,
}

/// Jobs under way.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    next: u32,
    owners: HashMap<Ticket, Owner, crate::swarm::BuildHash>,
}

impl Tickets {
    fn issue(&mut self, owner: Owner) -> Ticket {
        self.next = self.next.wrapping_add(1);
        let ticket = Ticket(self.next);
        self.owners.insert(ticket, owner);
        ticket
    }
    /// Whose job it was; `None` for a ticket that is not under way.
    pub(crate) fn redeem(&mut self, ticket: Ticket) -> Option<Owner> {
        self.owners.remove(&ticket)
    }
    /// What a title that is gone still waits for is nobody's any more. O(jobs under way).
    pub(crate) fn forget_title(&mut self, title: TitleId) {
        self.owners.retain(|_, owner| !matches!(owner, Owner::Swarm(of, _) if *of == title));
    }
}

/// How a peer became known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Found {
    /// Named by the user or in the magnet.
    User,
    /// Found in the virtual time slot of our viewer, or in an earlier one: it has what he needs next.
    Slot,
    /// BEP 14.
    Local,
    /// A tracker.
    Tracker,
    /// BEP 11.
    Exchange,
}

/// A stretch of a title that somebody will need, with times. `due` is when byte `start` is needed; each later byte is
/// due `rate` after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Window {
    /// First byte in piece space.
    pub(crate) start: u64,
    /// One past the last byte in piece space.
    pub(crate) end: u64,
    /// When byte `start` is needed. May be past.
    pub(crate) due: Instant,
    /// Bytes/s at which the rest is needed; at least 1.
    pub(crate) rate: u64,
    /// A playhead is moving here: due times are strict. False while start-buffering.
    pub(crate) playing: bool,
    /// The rate is a guess, and so are the due times: nobody knows how long the film takes.
    pub(crate) guessed: bool,
}

/// The only language between rooms. Who writes and who reads is said at each; `Node::route` is the switchboard.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// swarm -> discover, play: a title was added. `private` (BEP 27) is `None` while the metadata is not known: a magnet
    /// does not say, and is looked for everywhere, as all clients do; once it proves private only its trackers are asked.
    Joined {
        title: TitleId,
        hashes: InfoHashes,
        private: Option<bool>,
        trackers: Vec<Vec<String>>,
        time_indexes: Vec<(u32, Arc<TimeIndex>)>,
    },
    /// swarm -> discover, play: its metadata is known and its storage ready.
    Ready { title: TitleId, info: Arc<Info> },
    /// swarm -> discover, play: all that is wanted is here; `fetched` when something came in this run.
    Finished { title: TitleId, fetched: bool },
    /// swarm -> discover, play: the title was removed, or cannot go on.
    Left { title: TitleId },
    /// discover -> swarm: peers to try.
    PeersFound { title: TitleId, source: Found, peers: Vec<SocketAddr> },
    /// swarm -> discover: a link passed its handshakes. `listen` is where that peer can be dialed, if known; `exchange`
    /// whether it understands PEX.
    PeerUp { title: TitleId, link: LinkId, listen: Option<SocketAddr>, seed: bool, exchange: bool },
    /// swarm -> discover: that link is gone.
    PeerDown { title: TitleId, link: LinkId },
    /// play -> swarm: all windows of a title, most wanted first; replaces the previous ones. `heads` are the bytes of
    /// piece space at which its players are.
    Windows {
        title: TitleId,
        windows: Vec<Window>,
        heads: Vec<(ReaderId, u64)>,
        cause: WindowCause,
    },
    /// play -> swarm: tell how far verified bytes reach without a gap from `from` (piece space). Replaces an earlier one.
    Watch { title: TitleId, reader: ReaderId, from: u64 },
    /// play -> swarm: no longer.
    Unwatch { title: TitleId, reader: ReaderId },
    /// play -> discover: the title's viewer plays in this virtual time slot now; `None` when nobody watches.
    Slot { title: TitleId, slot: Option<i64> },
    /// swarm -> discover: hardly anybody who is linked has what its viewer needs next.
    Short { title: TitleId },
    /// swarm -> play: from the watched byte `from` everything below `until` is verified. Sent at once for a new watch,
    /// then whenever it grows or shrinks. `from` tells answers to an earlier watch apart.
    #[allow(
        dead_code,
        reason = "every note to a room names its title, for whoever reads them in a debugger"
    )]
    Reaches { title: TitleId, reader: ReaderId, from: u64, until: u64 },
    /// play -> swarm: bytes that `Reaches` promised.
    Fetch { title: TitleId, reader: ReaderId, offset: u64, length: u32 },
    /// swarm -> play: here they are, perhaps fewer, at least one; `None` when storage lost them.
    Fetched { reader: ReaderId, offset: u64, data: Option<Bytes> },
}

/// Why the windows of a title changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum WindowCause {
    /// A playhead moved on, or a due time was corrected: requests stay where they are.
    Moved,
    /// A reader or playback opened, jumped or went away: what lies outside all windows is cancelled.
    Jumped,
}
