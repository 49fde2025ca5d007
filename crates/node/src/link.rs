//! Names that tie the core to its world: links, tickets, titles, readers.

/// A connection to another peer, for its whole life; never used again in a run.
///
/// Even numbers are given by the node to what it dials, odd ones by the world to what it accepts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub u32);

impl LinkId {
    /// Whether the node itself opened the link.
    #[must_use]
    pub const fn is_dialed(self) -> bool {
        self.0.is_multiple_of(2)
    }
}

/// Pairs `Effect::Submit` with `Input::Done`. Unique among the jobs under way.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u32);

/// A title inside one node: chosen by whoever adds it, never used again in a run, so that what is still under way for one that
/// was left is not taken for another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TitleId(pub u32);

/// Somebody who takes bytes in order (an HTTP answer) or a playback that stands in for a player. Chosen by whoever
/// opens it, unique in the run, below 2^31: larger ones are the node's own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReaderId(pub u32);
