//! Limits and tunables that nobody needs to change without changing the code around them, room by room. What a scenario or an
//! operator may want to change is a field of [`super::Config`]; what a format or a standard fixes stays where it is used. How
//! the scheduler weighs times against each other stands in `swarm/fetch.rs`, `source.rs` and `upload.rs`.

use core::time::Duration;

use shoal_wire::peer::BLOCK_LEN;

// ---- Node and links

/// Notes one turn may cause before the node gives up on itself: a loop between rooms is a bug, not a load.
pub(crate) const NOTES_PER_TURN_MAX: usize = 100_000;
/// Room that is made for the small messages of a link at a time, bytes: a few dozen requests.
pub(crate) const WRITE_BUFFER: usize = 1024;
/// More room is made when there is less than this, bytes: a request and a few more.
pub(crate) const WRITE_ROOM_MIN: usize = 64;

// ---- Finding peers

/// Trackers of a title that are used.
pub(crate) const TRACKERS_MAX: usize = 64;
/// Addresses of one tracker's host that are tried.
pub(crate) const TRACKER_ADDRS_MAX: usize = 4;
/// Longest part of a tracker's URL that travels in a datagram, bytes: as several options, each of up to 255 (BEP 41). Trackers
/// with keys of users in their path need some of it; more would make a datagram that networks cut.
pub(crate) const URL_DATA_MAX: usize = 1024;
/// Time in which changes among neighbours are gathered before they are told.
pub(crate) const EXCHANGE_GATHER: Duration = Duration::from_secs(1);
/// Changes among neighbours that are remembered.
pub(crate) const EXCHANGE_LOG_MAX: usize = 256;
/// Multicast datagrams of ours follow each other at least after this time.
pub(crate) const LOCAL_GAP: Duration = Duration::from_secs(1);
/// Multicast datagrams of others that are read in a second.
pub(crate) const LOCAL_HEARD_PER_S_MAX: u32 = 100;
/// Entries of a directory that each announce examines for having expired.
pub(crate) const DIRECTORY_SWEEP: u32 = 8;
/// Entries that are examined before a request is refused for want of room.
pub(crate) const DIRECTORY_SWEEP_FULL: u32 = 256;
/// In an answer so many seeds come first: who asks dials the first ones first.
pub(crate) const DIRECTORY_SEEDS_FIRST: usize = 2;
/// After them come so many of those that announced themselves last.
pub(crate) const DIRECTORY_NEWEST: usize = 13;
/// Peers in a datagram that stays below common path limits: over IPv4, over IPv6.
pub(crate) const DIRECTORY_UDP_PEERS_MAX: (usize, usize) = (200, 70);

// ---- Playing

/// Longest time index that is fetched, bytes: days of film.
pub(crate) const TIME_INDEX_MAX: u64 = 1 << 20;
/// Boot ranges of a time index that are believed.
pub(crate) const BOOT_RANGES_MAX: usize = 16;
/// Longest answer to one read, bytes.
pub(crate) const READ_MAX: u32 = 1 << 20;
/// A reader moves at least this far before its windows are told again, bytes.
pub(crate) const READER_STEP_BYTES: u64 = 128 * 1024;
/// The rate of a film without an index is taken from a reader that was never short of bytes for this long.
pub(crate) const READER_METER_TIME: Duration = Duration::from_secs(8);
/// How far, as a factor, a measured rate may be from the assumed one; and how much slower a film may be of which none is known.
pub(crate) const READER_METER_RANGE: u64 = 8;
/// Moments of a probe that are kept until it is known to be a viewer.
pub(crate) const PROBE_MOMENTS_MAX: usize = 16;
/// A reader that begins this little before the end of what was taken goes on there, bytes: those between were lost with the
/// buffers of the old connection.
pub(crate) const READER_CONTINUES_WITHIN: u64 = 1 << 20;
/// A player that asks for nothing for so long has enough: more than one needs from one read to the next on a busy machine.
pub(crate) const READER_QUIET: Duration = Duration::from_millis(200);
/// Bytes that are here come at once: longest time of that for storage and the machine. Longer is a wait, whosever fault it is.
pub(crate) const READER_AT_ONCE: Duration = Duration::from_millis(500);
/// Shortest pause that is told as a stall of a reader: a frame at 25 a second.
pub(crate) const STALL_MIN: Duration = Duration::from_millis(40);
/// Windows that one playhead makes at most.
pub(crate) const STRETCHES_MAX: u32 = 15;
/// Shortest stretch of film that gets a window of its own.
pub(crate) const STRETCH_MIN: Duration = Duration::from_secs(2);
/// A stretch ends at a key frame if there is one within this many shortest stretches.
pub(crate) const STRETCH_SLACK: u32 = 2;
/// Two stretches become one when no due time changes by more than this.
pub(crate) const STRETCH_MERGE_ERROR: Duration = Duration::from_millis(20);

// ---- Exchange: titles, windows, requests

/// A sweep looks at every link of a title: silence, snubs, meters, old unwritten blocks.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// Blocks that windows may hold together: 64 MiB of film, more than 30 s at 16 Mbit/s.
pub(crate) const WINDOW_BLOCKS_MAX: usize = 4096;
/// Free window blocks looked at for one peer.
pub(crate) const WINDOW_SCAN_MAX: usize = 256;
/// Peers among which a sooner one is looked for.
pub(crate) const FASTEST_TOP: usize = 16;
/// A Shoal peer that turned us down is asked for nothing that is needed by a time for this long, twice as long each time until
/// it sends a block.
pub(crate) const TURNED_DOWN_FOR: Duration = Duration::from_millis(500);
/// Most doublings of that.
pub(crate) const TURNED_DOWN_DOUBLINGS: u32 = 4;
/// The rate of a peer that was asked for nothing for this long is taken to be unknown again: who was busy may be idle.
pub(crate) const RATE_KEPT: Duration = Duration::from_secs(10);
/// Pieces looked at for the rarest one that a peer has.
pub(crate) const RAREST_SCAN_MAX: u32 = 512;
/// Pieces of a peer looked at when the rarest ones are not among them.
pub(crate) const SPARSE_SCAN_MAX: usize = 8192;
/// Pieces among which one is drawn by its distance from the playhead.
pub(crate) const ZIPF_SCAN_MAX: u32 = 8192;
/// Late blocks looked at in one turn; the rest follow in the next.
pub(crate) const HEDGE_ROUND_MAX: usize = 64;
/// A late block for which no better peer is free is looked at again after this long.
pub(crate) const HEDGE_AGAIN: Duration = Duration::from_millis(100);
/// A player that needs a block within this time waits for it.
pub(crate) const WAITED_FOR: Duration = Duration::from_millis(300);
/// Duplicates that are always allowed, bytes: the budget of a short film's start.
pub(crate) const HEDGE_BUDGET_BASE: u64 = 2 * BLOCK_LEN as u64;
/// A second peer must be this much earlier than the first to be worth a duplicate in the end game.
pub(crate) const HEDGE_GAIN: Duration = Duration::from_millis(1000);
/// Before the first frame what is due within this time may be asked of a source as well, beyond the budget, when it is late: on
/// uplinks that others fill it waits, and who watches waits with it.
pub(crate) const HEDGE_START_DUE: Duration = Duration::from_millis(1000);
/// A source that would answer within this time helps to start, and is asked sooner by who has little film ahead.
pub(crate) const SOURCE_QUICK: Duration = Duration::from_millis(500);
/// Broken promises since a peer's last block after which it is snubbed.
pub(crate) const BROKEN_SNUB: u32 = 4;
/// A peer that says nothing for so long in the middle of a trade may be met again at another address, which ends links silently.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(4);
/// A block that is needed this much sooner than was said is hurried.
pub(crate) const HURRY_SOONER: Duration = Duration::from_secs(2);
/// Cancelled requests remembered per peer, and withdrawn ones.
pub(crate) const CANCELLED_MAX: usize = 512;
/// A meter looks at its fresh bytes once this much time has passed.
pub(crate) const METER_STEP: Duration = Duration::from_millis(1000);
/// Rate assumed of a peer that has delivered nothing yet, bytes/s: a small home uplink.
pub(crate) const RATE_UNKNOWN: u64 = 128 * 1024;
/// Round trip assumed before the first sample.
pub(crate) const RTT_UNKNOWN: Duration = Duration::from_millis(100);
/// Bytes and busy time are halved when this much busy time was gathered: the memory of the estimate.
pub(crate) const RATE_MEMORY: Duration = Duration::from_secs(2);
/// Failed pieces whose bytes are kept for the smart ban.
pub(crate) const SUSPECTS_MAX: usize = 4;
/// Bytes of them all, but for the last one.
pub(crate) const SUSPECT_BYTES_MAX: usize = 16 << 20;

// ---- Exchange: the cache of watched films

/// So much of the quota is freed at once: one part in this many,
pub(crate) const CACHE_BATCH_PART: u64 = 32;
/// but not less than this, bytes, if the quota is not so small that one part in so many of it is less: each time costs a few syncs
/// of the disk, and players take megabytes a second;
pub(crate) const CACHE_BATCH_MIN: (u64, u64) = (4 << 20, 8);
/// not more than this, bytes; and a piece at least.
pub(crate) const CACHE_BATCH_MAX: u64 = 64 << 20;
/// When nothing can be given up it is looked for again after this long.
pub(crate) const CACHE_LOOK: Duration = Duration::from_millis(500);
/// What a reader needs within this time is fetched although there is no room yet.
pub(crate) const CACHE_URGENT: Duration = Duration::from_secs(3);
/// What others asked for counts half as much after this many seconds.
pub(crate) const ASKS_HALVED_EACH_S: u32 = 600;

// ---- Exchange: what peers may say

/// Announcements kept while the metadata is unknown; a peer that sends more is asked again later by its other ones.
pub(crate) const RAW_HAVE_MAX: usize = 4096;
/// Requests, or spans of blocks, in one message that are read; a frame stays far below a megabyte.
pub(crate) const SPANS_MAX: usize = 4096;
/// Blocks of which one message may speak: more than any honest one has news of.
pub(crate) const SPAN_BLOCKS_MAX: u32 = 65_536;
/// Begun pieces of one peer of which a note is taken: many times what an honest one has.
pub(crate) const BEGUN_PIECES_MAX: usize = 1024;
/// Pieces of one peer that it allows us while it chokes us of which a note is taken; others allow ten at most (BEP 6).
pub(crate) const ALLOWED_FAST_KEPT_MAX: usize = 64;
/// Weight of messages that tell nothing new which a peer may send at once.
pub(crate) const NOISE_MAX: u32 = 2000;
/// The same each second on top.
pub(crate) const NOISE_PER_S: u32 = 100;
/// A message that makes us look at all pieces of a peer, or at a table of addresses, weighs as much as this many small ones.
pub(crate) const LARGE_NOISE: u32 = 100;
/// Withdrawals of pieces that weigh as much as one message that tells nothing new: who has a quota makes them in bunches, and
/// nobody should be kept busy by announcements that are taken back.
pub(crate) const WITHDRAWALS_PER_NOISE: u32 = 8;
/// Weight of hashes without a question: they take long to prove.
pub(crate) const UNASKED_HASHES_NOISE: u32 = 20;
/// This many blocks that were known already, or were too many, weigh as much as a small message that says nothing new.
pub(crate) const STALE_BLOCKS: u32 = 1024;
/// Questions for metadata and hashes that any peer may ask, for the smallest titles.
pub(crate) const QUESTIONS_MIN: u32 = 64;
/// Blocks without a request that a peer may send: some clients answer after a choke.
pub(crate) const UNSOLICITED_MAX: u32 = 64;
/// Requests that fit into no piece, or are longer than any client may ask for, which a peer may make.
pub(crate) const MALFORMED_MAX: u32 = 16;
/// Requests above the limit or for what is not here that a peer may make.
pub(crate) const ABUSIVE_MAX: u32 = 2000;
/// Requests that a peer which never sent a block may reject.
pub(crate) const REJECTED_MAX: u32 = 64;
/// Requests that a peer which never sent a block may leave unanswered until others were asked.
pub(crate) const BROKEN_MAX: u32 = 3;
/// Time that such a peer has for its first block: the slowest that is of any use needs less.
pub(crate) const BROKEN_AFTER: Duration = Duration::from_secs(10);

// ---- Exchange: giving

/// Pieces that a foreign client should have to ask a source for at most, while there is room on its uplink.
pub(crate) const VEIL_WIDTH_MAX: usize = 64;
/// Pieces that it got from a source and has not been seen to pass on of which a note is taken.
pub(crate) const VEIL_GOT_MAX: usize = 32;
/// Longest read for consecutive requests, bytes.
pub(crate) const READ_RUN_MAX: u32 = 256 * 1024;
/// Read ahead of what can be sent to a peer, bytes.
pub(crate) const READ_AHEAD_MAX: usize = 512 * 1024;
/// A peer that asked for something by a time is taken for a viewer for this long.
pub(crate) const VIEWER_KEPT: Duration = Duration::from_secs(30);
/// Bytes that an announcement of blocks costs on its way, headers included.
pub(crate) const ANNOUNCEMENT_COST: u64 = 80;
/// Where somebody watches, announcements may take one part in this many of the film's rate.
pub(crate) const ANNOUNCEMENT_PART: u64 = 100;
/// A peer that lacks this many whole pieces that we hold has enough to ask of us.
pub(crate) const ENOUGH_PIECES: u32 = 8;

// ---- Exchange: metadata and hashes

/// Peers asked for the info dictionary at the same time.
pub(crate) const METADATA_PEERS_MAX: usize = 3;
/// Requests for it that are outstanding per peer.
pub(crate) const METADATA_PIPELINE: u32 = 8;
/// A peer that says nothing for this long is joined by another.
pub(crate) const METADATA_SLOW: Duration = Duration::from_millis(1500);
/// A peer that says nothing for this long is given up.
pub(crate) const METADATA_SILENT: Duration = Duration::from_secs(6);
/// A peer that at its pace needs longer than this for what is left is joined by another.
pub(crate) const METADATA_SOON: Duration = Duration::from_secs(3);
/// A peer that refused or gave its place up is not asked again for this long.
pub(crate) const METADATA_REFUSED_FOR: Duration = Duration::from_secs(60);
/// Leaves of held pieces that are kept to be passed on, bytes.
pub(crate) const LEAVES_KEPT_MAX: usize = 4 << 20;
/// Peers asked in a row for the leaves of one piece.
pub(crate) const LEAF_TRIES_MAX: u8 = 3;
/// Hashes that the answer to one question for hashes may take; libtorrent's largest has as many in it.
pub(crate) const HASHES_PER_ANSWER_MAX: u64 = 8192;
/// Hashes that are computed for such an answer in the turn in which it was asked for. Those that clients ask for take fewer.
pub(crate) const HASHES_AT_ONCE_MAX: u64 = 512;
/// Hashes of a step, for all answers that take more: a millisecond of a core without instructions for it.
pub(crate) const HASHES_PER_STEP: u32 = 2048;
/// Time between two such steps, so that most of it is left for the film.
pub(crate) const HASHES_STEP: Duration = Duration::from_millis(4);
/// Questions for hashes of one title that may wait, for leaves to be computed or for their step.
pub(crate) const HASH_QUESTIONS_MAX: usize = 256;
/// Those of them that one peer may have.
pub(crate) const HASH_QUESTIONS_PER_PEER_MAX: usize = 64;
/// Who rejects so many requests in a row that are not needed by a time is not believed any more to have the piece of the last.
pub(crate) const REFUSALS_MAX: u32 = 8;
/// Slots after its own for which a viewer is recorded.
pub(crate) const SLOTS_RECORDED: i64 = 2;
/// Two changes of the slot are told no closer than this: who browses jumps often.
pub(crate) const SLOT_CHANGE_PAUSE: Duration = Duration::from_secs(5);
/// Peers of the slot are asked for again on demand no closer than this.
pub(crate) const SLOT_LOOK_PAUSE: Duration = Duration::from_secs(15);
/// Nobody watches for this long: records are withdrawn. Players close and open as they like.
pub(crate) const SLOT_GONE_AFTER: Duration = Duration::from_secs(60);
/// Blocks that are due within this time must have somebody who can give them.
pub(crate) const PARENTS_NEAR: Duration = Duration::from_secs(20);
/// Pieces that are looked at: the first ones with free blocks.
pub(crate) const PARENTS_LOOKED_AT: usize = 4;
/// With fewer parents others are looked for.
pub(crate) const PARENTS_FEW: usize = 4;
/// A link that carried nothing for this long may make room.
pub(crate) const PARENT_IDLE_AFTER: Duration = Duration::from_secs(5);
/// At a source a link has its place for so long at least; a newcomer has been given a few blocks by then, and has passed them on.
pub(crate) const PLACE_KEPT: Duration = Duration::from_secs(10);
/// So many places are made in a second at most: who comes is told of all others, and they of him.
pub(crate) const PLACES_MADE_MAX: usize = 3;
