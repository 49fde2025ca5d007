//! The whole vocabulary between a node and its world: read this page and you know what a node can do.
//!
//! A world calls [`Machine::step`] with one [`Input`] and applies the [`Effect`]s in order. Bulk work (disk, hashes,
//! names, HTTP) leaves as `Submit` and comes back later as `Done`, never inside the same turn.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};

use shoal_wire::bitfield::Bitfield;
pub use shoal_wire::lsd::LocalAnnounce;
use shoal_wire::metainfo::Info;
use shoal_wire::peer::Message;
use shoal_wire::time_index::TimeIndex;
use shoal_wire::tracker::UdpTracker;
use shoal_wire::{Hash20, Hash32, InfoHashes};

use crate::link::{LinkId, ReaderId, Ticket, TitleId};
use crate::time::Instant;

/// A deterministic machine moved by turns.
pub trait Machine {
    /// What can happen to it.
    type Input;
    /// What it wants done.
    type Effect;
    /// Takes one input at `now`, which never decreases, and appends all consequences in order. Never blocks, never
    /// fails: what a remote does wrong becomes an effect.
    fn step(&mut self, now: Instant, input: Self::Input, effects: &mut Vec<Self::Effect>);
    /// Earliest time at which a wake is due, if any. Read after every step; a wake before it does nothing.
    fn deadline(&self) -> Option<Instant>;
}

/// What can happen to a node.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has come for the node's own plans.
    Wake,
    /// What the wall clock shows: at the beginning, and again when it was set. Nothing but virtual time slots goes by it.
    Clock {
        /// Unix time, milliseconds.
        unix_ms: u64,
    },
    /// The owner of the node wants something.
    Command(Command),
    /// A dialed link is open, or a remote opened one (its id is odd). A `Credit` for the empty transport follows.
    LinkUp {
        /// The link.
        link: LinkId,
        /// Address of the other end.
        remote: SocketAddr,
    },
    /// A link is gone, or a dial failed. Also follows every `Effect::Close`.
    LinkDown {
        /// The link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// A message arrived on a link.
    Message {
        /// The link.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// The transport of a link can take this many more film bytes than it was told before. Only the `data` of
    /// `Message::Piece` spends credit; small messages pass beside it.
    Credit {
        /// The link.
        link: LinkId,
        /// Film bytes, on top of what is left.
        bytes: u32,
        /// Film bytes of those that it took before that arrived at the other end, since it last told.
        passed: u32,
    },
    /// A datagram arrived.
    Packet {
        /// Its sender.
        remote: SocketAddr,
        /// What it says.
        packet: Packet,
    },
    /// A job is done.
    Done {
        /// Which.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a node wants done.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Open a link; answered by `LinkUp` or `LinkDown`.
    Dial {
        /// The new link, even.
        link: LinkId,
        /// Where to.
        remote: SocketAddr,
    },
    /// Close a link after what was sent on it has been given to the transport.
    Close {
        /// The link.
        link: LinkId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Send a message. `Message::Piece` only within the link's credit; control messages may exceed it.
    Send {
        /// The link.
        link: LinkId,
        /// The message.
        message: Message,
    },
    /// Send a datagram.
    Packet {
        /// Its receiver.
        remote: SocketAddr,
        /// What it says.
        packet: Packet,
    },
    /// Do something slow; answered by exactly one `Done`.
    Submit {
        /// Names the job.
        ticket: Ticket,
        /// The job.
        job: Box<Job>,
    },
    /// Tell the owner.
    Tell(Event),
}

/// Datagrams that a node understands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet {
    /// BEP 15.
    Tracker(Box<UdpTracker>),
    /// BEP 14; the world sends it to both multicast groups and gives received ones with their sender.
    LocalDiscovery(LocalAnnounce),
}

/// Why a link ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// The remote closed it, or the network lost it.
    Remote,
    /// It could not be opened.
    Unreachable,
    /// The remote broke a rule of the protocol; the text says which.
    Protocol(&'static str),
    /// The remote sent film bytes that do not match their hash.
    Corrupt,
    /// We already have a link to this peer.
    Duplicate,
    /// It is ourselves.
    Myself,
    /// Nothing in common: unknown title, or two seeds.
    NotNeeded,
    /// Nothing was heard for too long.
    Timeout,
    /// A limit on connections.
    Full,
    /// The title or the node was stopped.
    Stopped,
    /// The same peer is met again, under the name by which it speaks of more.
    Upgrade,
}

impl core::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Remote => "the link was closed at the other end or lost",
            Self::Unreachable => "it could not be reached",
            Self::Protocol(what) => what,
            Self::Corrupt => "it sent bytes that do not match their hash",
            Self::Duplicate => "it is connected already",
            Self::Myself => "it is this very node",
            Self::NotNeeded => "there is nothing to exchange with it",
            Self::Timeout => "it said nothing for too long",
            Self::Full => "there are enough connections",
            Self::Stopped => "the title was stopped",
            Self::Upgrade => "it is met again under the title's newer name",
        })
    }
}

/// What the owner of a node can ask for.
#[derive(Clone, Debug)]
pub enum Command {
    /// Take part in a title.
    Add(Box<AddTitle>),
    /// Leave a title: links closed, trackers told, resume data saved.
    Remove {
        /// The title.
        title: TitleId,
    },
    /// Peers to try, from the user.
    Peers {
        /// The title.
        title: TitleId,
        /// Their listening addresses.
        peers: Vec<SocketAddr>,
    },
    /// Want only some files of a title: the others are fetched as far as readers and playbacks need them, and
    /// `Event::Complete` is told when what is wanted is here. Pieces that a file shares with another are fetched whole.
    Select {
        /// The title; its metadata may still be unknown.
        title: TitleId,
        /// Indexes of files, first and last of each range (BEP 53); those beyond the last file name none. All files when
        /// there is no range.
        files: Vec<(u32, u32)>,
    },
    /// Fetch a file of a title before its others, where nothing is due and bulk goes by rarity: of several films the one that is watched.
    Prefer {
        /// The title; its metadata may still be unknown.
        title: TitleId,
        /// Index of the file; one beyond the last file is none.
        file: u32,
    },
    /// Begin to take bytes of a file in order. Answered by `Event::Data` for each [`Command::Read`].
    Open {
        /// The new reader.
        reader: ReaderId,
        /// The title; its metadata may still be unknown.
        title: TitleId,
        /// File index.
        file: u32,
        /// First byte in the file.
        start: u64,
        /// One past the last byte in the file; clamped to its length.
        end: u64,
    },
    /// The reader can take up to this many more bytes now. One read at a time per reader.
    Read {
        /// The reader.
        reader: ReaderId,
        /// Bytes, at most 1 MiB.
        max: u32,
    },
    /// The reader is gone. Unknown ones are ignored.
    Close {
        /// The reader.
        reader: ReaderId,
    },
    /// Play a film without a player: the playhead moves with time over verified bytes. Tells `Playing`, `Stall`, `Seek`.
    Play {
        /// Names the playback.
        reader: ReaderId,
        /// The title.
        title: TitleId,
        /// File index.
        file: u32,
        /// Where to begin, milliseconds of film.
        at_ms: u64,
    },
    /// Move the playhead of a playback.
    Jump {
        /// The playback.
        reader: ReaderId,
        /// Where to, milliseconds of film.
        to_ms: u64,
    },
    /// Halt or continue a playback.
    Pause {
        /// The playback.
        reader: ReaderId,
        /// True to halt.
        paused: bool,
    },
    /// Limits on film bytes, bytes/s; `None` is unlimited.
    Limits {
        /// Sent.
        up: Option<u64>,
        /// Received.
        down: Option<u64>,
    },
    /// What the titles that are [`AddTitle::cached`] may take on the disk, all together. Above it pieces of them are given up.
    Cache {
        /// Bytes; `None` is no limit.
        quota: Option<u64>,
        /// Bytes of it that are taken by what this node does not know and [`Job::Reclaim`] can free: films of earlier runs.
        elsewhere: u64,
    },
    /// The world slept or changed its address: links may be dead, trackers must be told.
    NetworkChanged,
    /// Leave everything, save, tell `Stopped`.
    Shutdown,
}

/// A title to take part in.
#[derive(Clone, Debug)]
pub struct AddTitle {
    /// Handle for it, chosen by the caller.
    pub title: TitleId,
    /// Its names.
    pub hashes: InfoHashes,
    /// What it is; `None` when only a magnet is known: then it is fetched from peers.
    pub info: Option<Arc<Info>>,
    /// BEP 52 piece layers at hand, by file root.
    pub piece_layers: Vec<(Hash32, Bytes)>,
    /// Tiers of trackers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Peers at hand.
    pub peers: Vec<SocketAddr>,
    /// Pieces on disk that were verified; `None` is none.
    pub have: Option<Bitfield>,
    /// Blocks on disk that were verified in pieces that are not whole: piece and a bit per block.
    pub partial: Vec<(u32, Bitfield)>,
    /// What is wanted.
    pub want: Want,
    /// This peer is a publisher or an edge: parent of last resort.
    pub source: bool,
    /// It is here to be watched: it counts against the quota of [`Command::Cache`], and pieces of it may be given up.
    pub cached: bool,
    /// Time index of a film, by file index, when it is at hand.
    pub time_indexes: Vec<(u32, Arc<TimeIndex>)>,
}

impl AddTitle {
    /// A title of which only the names are known, and all of which is wanted.
    #[must_use]
    pub fn new(title: TitleId, hashes: InfoHashes) -> Self {
        Self {
            title,
            hashes,
            info: None,
            piece_layers: Vec::new(),
            trackers: Vec::new(),
            peers: Vec::new(),
            have: None,
            partial: Vec::new(),
            want: Want::All,
            source: false,
            cached: false,
            time_indexes: Vec::new(),
        }
    }
}

/// What of a title is fetched without being asked for by a reader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// Everything (`get`, `seed`, `publish`).
    All,
    /// What readers and playbacks need first, then the rest (`watch`).
    Play,
    /// Only what readers and playbacks need.
    OnDemand,
}

/// Slow work.
#[derive(Clone, Debug)]
pub enum Job {
    /// Read stored bytes: `Outcome::Data`.
    Read {
        /// The title.
        title: TitleId,
        /// First byte in piece space.
        offset: u64,
        /// Bytes; inside one piece.
        length: u32,
    },
    /// Store verified bytes: `Outcome::Stored`. They may be cached by the system, not by the program.
    Write {
        /// The title.
        title: TitleId,
        /// First byte in piece space.
        offset: u64,
        /// Consecutive parts.
        parts: Vec<Bytes>,
    },
    /// Compare a block with its v2 leaf hash: `Outcome::Checked`.
    CheckBlock {
        /// The block.
        data: Bytes,
        /// SHA-256 of it, or of a one-block file.
        expect: Hash32,
    },
    /// Compare a piece with its v1 hash: `Outcome::Checked`.
    CheckPiece {
        /// Consecutive blocks.
        parts: Vec<Bytes>,
        /// Zero bytes that follow them.
        padding: u32,
        /// SHA-1 of it all.
        expect: Hash20,
    },
    /// Compare the Merkle root over the leaf hashes of all blocks of a piece with what it must be: `Outcome::Checked`. For
    /// when no peer tells the leaves.
    CheckTree {
        /// Consecutive blocks.
        parts: Vec<Bytes>,
        /// Leaves of the tree, a power of two; missing ones are zero hashes.
        leaves: u32,
        /// Root of the piece's subtree (BEP 52 piece layer), or of a small file's tree.
        expect: Hash32,
    },
    /// Compare an info dictionary with the title's names: `Outcome::Checked`.
    CheckInfo {
        /// The bytes.
        raw: Bytes,
        /// Each hash that is present must match.
        hashes: InfoHashes,
    },
    /// Leaf hashes of a stored piece, computed from its bytes: `Outcome::Data`, 32 bytes each.
    Leaves {
        /// The title.
        title: TitleId,
        /// Piece index.
        piece: u32,
    },
    /// The metadata became known: make room for the files, find out what is already there. `Outcome::Prepared`.
    Prepare {
        /// The title.
        title: TitleId,
        /// What it is.
        info: Arc<Info>,
    },
    /// Record what is verified, after the data it vouches for has reached the disk: `Outcome::Stored`.
    Save {
        /// The title.
        title: TitleId,
        /// What to record.
        record: ResumeRecord,
    },
    /// Give the room of pieces back to the disk: `Outcome::Freed` with the bytes that the title still takes there. First, and
    /// safe against a power cut, it is recorded that they are gone; all writes that were asked for before are done by then.
    Evict {
        /// The title.
        title: TitleId,
        /// What to record: `pieces` are not in it.
        record: ResumeRecord,
        /// Pieces of which nothing is read or written any more.
        pieces: Vec<u32>,
    },
    /// Free this much of the cache that no title of this node uses: `Outcome::Freed` with the bytes that are left there.
    Reclaim {
        /// Bytes.
        bytes: u64,
    },
    /// Find the addresses of a host: `Outcome::Resolved`.
    Resolve {
        /// Name or literal address.
        host: String,
        /// Port to put into the addresses.
        port: u16,
    },
    /// HTTP GET: `Outcome::Fetched`. At most 5 redirects, 30 s, 2 MiB of body.
    Fetch {
        /// The address, http or https.
        url: String,
        /// Only over this family, where one is named.
        family: Option<Family>,
    },
}

/// Kind of an internet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The kind of an address; one of IPv4 that is written as IPv6 counts as what it is.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
    /// The other kind.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// What a title's resume data says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ResumeRecord {
    /// Whole pieces verified and written.
    pub have: Bitfield,
    /// Blocks verified and written in other pieces.
    pub partial: Vec<(u32, Bitfield)>,
}

/// How a job ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Bytes, as many as asked.
    Data(Bytes),
    /// Stored.
    Stored,
    /// Whether the hash matched.
    Checked(bool),
    /// Storage is ready, and this is what was found verified in it.
    Prepared(Box<ResumeRecord>),
    /// Addresses, at most 16.
    Resolved(Vec<SocketAddr>),
    /// An HTTP answer.
    Fetched {
        /// Status code.
        status: u16,
        /// Body.
        body: Bytes,
        /// Over what it came.
        family: Family,
    },
    /// Room was made; so many bytes are still taken there.
    Freed(u64),
    /// It could not be done; the sentence is for the user.
    Failed(Failure),
}

/// Why a job could not be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What kind of trouble: decides what the node does next.
    pub kind: FailureKind,
    /// What happened and what to do, in one sentence.
    pub message: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureKind {
    /// No room on the disk: downloading halts, what is stored is served on.
    DiskFull,
    /// A file or folder is gone, changed or unreadable: its pieces are no longer offered.
    DiskLost,
    /// The network, a name or a server: tried again later.
    Network,
}

/// What a node tells its owner.
#[derive(Clone, Debug)]
pub enum Event {
    /// The metadata of a title is known and its storage ready.
    Ready {
        /// The title.
        title: TitleId,
        /// What it is.
        info: Arc<Info>,
    },
    /// Every wanted piece is verified and stored.
    Complete {
        /// The title.
        title: TitleId,
        /// Bytes of what is wanted.
        length: u64,
    },
    /// Bytes for a reader: the next in its range.
    Data {
        /// The reader.
        reader: ReaderId,
        /// First byte in the file.
        offset: u64,
        /// At least one byte.
        data: Bytes,
    },
    /// A reader cannot go on (title removed, bad file index, storage lost); it is closed.
    ReaderFailed {
        /// The reader.
        reader: ReaderId,
        /// A sentence for the user.
        message: String,
    },
    /// A playback (or the model behind a reader) shows its first frame.
    Playing {
        /// Title.
        title: TitleId,
        /// The playback or reader.
        reader: ReaderId,
        /// Time since it was asked for.
        startup_ms: u64,
    },
    /// A pause that nobody asked for is over.
    Stall {
        /// Title.
        title: TitleId,
        /// The playback or reader.
        reader: ReaderId,
        /// Where in the film.
        position_ms: u64,
        /// How long.
        stalled_ms: u64,
    },
    /// The first frame after a jump.
    Seek {
        /// Title.
        title: TitleId,
        /// The playback or reader.
        reader: ReaderId,
        /// Where in the film.
        position_ms: u64,
        /// Time since the jump.
        latency_ms: u64,
    },
    /// A playback reached the end of the film.
    Ended {
        /// The playback.
        reader: ReaderId,
    },
    /// A peer lied and was shut out.
    Banned {
        /// Where it was.
        remote: SocketAddr,
        /// What it did.
        reason: CloseReason,
    },
    /// A peer that we dialed or that shook hands did not do its part. It may come back.
    Dropped {
        /// Where it was.
        remote: SocketAddr,
        /// What it did not do.
        reason: CloseReason,
    },
    /// Something the user should read.
    Trouble {
        /// The title, when it is about one.
        title: Option<TitleId>,
        /// One sentence.
        message: String,
        /// Whether the title can go on.
        fatal: bool,
    },
    /// Shutdown is complete: nothing is left to send or save.
    Stopped,
}

const _: () = assert!(size_of::<Input>() <= 80 && size_of::<Effect>() <= 80);
