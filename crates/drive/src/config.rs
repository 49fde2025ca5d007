//! Limits of the driver: what bounds its memory, sizes, counts, queues and times, room by room. What an operator may want to
//! change is a field of [`crate::EngineOptions`]; what a format, a standard or the system fixes stays where it is used, and
//! what bounds the protocol stands in the node's own `config`.

use std::time::Duration;

// ---- Engine

/// Inputs between two looks at the sockets.
pub(crate) const TURNS_MAX: usize = 512;
/// A node that is later than this for its own deadline did not run: more than any turn, flush or busy machine makes of it.
pub(crate) const GAP_LEAST: Duration = Duration::from_millis(500);
/// After such a gap the node's time stands still for this long, in which what lies in the sockets is taken: at 100 MB/s all that
/// the system keeps for some links.
pub(crate) const GAP_DRAIN: Duration = Duration::from_millis(200);
/// Jobs waiting for the pool at which no more bytes are taken.
pub(crate) const BACKLOG_MAX: usize = 4096;
/// Hashing and writing that waits, in bytes, at which no more bytes are taken for a while: blocks should still be in the
/// CPU's cache when their turn comes.
pub(crate) const BULK_WAITING_MAX: usize = 2 << 20;
/// Longest such while. A disk that needs longer stops nothing: what is in memory is then bounded by the node.
pub(crate) const BULK_PAUSE: Duration = Duration::from_millis(100);
/// Name look-ups and HTTP fetches at once.
pub(crate) const NETWORK_JOBS_MAX: usize = 16;
/// Links that one address may have opened here; its own network and this machine are not counted.
pub(crate) const ACCEPTED_PER_ADDRESS_MAX: usize = 16;
/// Largest datagram that is read.
pub(crate) const DATAGRAM_MAX: usize = 4096;
/// Pause after the system refused to accept: descriptors are short.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Unread bytes in the inbox at which readers of sockets wait.
pub(crate) const INBOX_BYTES_MAX: usize = 1 << 20;
/// Unread datagrams at which new ones are dropped.
pub(crate) const INBOX_DATAGRAMS_MAX: usize = 256;
/// Requests under way before a caller waits.
pub(crate) const REQUESTS_MAX: usize = 256;
/// Largest read of a reader, bytes.
pub(crate) const READ_MAX: u32 = 1 << 20;
/// Open film files at most.
pub(crate) const OPEN_FILES_MAX: u64 = 256;
/// Descriptors left for everything but links and film files.
pub(crate) const DESCRIPTORS_SPARE: u64 = 128;
/// Links of all titles at most.
pub(crate) const CONNECTIONS_MAX: u64 = 1000;
/// Events that a slow listener may fall behind before it misses some.
pub(crate) const EVENTS_MAX: usize = 1024;
/// Bytes of a recording that are handed to its thread at once.
pub(crate) const RECORDING_CHUNK_BYTES: usize = 256 << 10;
/// Such chunks under way before the recording is given up: 64 MiB.
pub(crate) const RECORDING_CHUNKS_MAX: usize = 256;

// ---- Sockets and links

/// Connections that may wait to be accepted.
pub(crate) const LISTEN_BACKLOG: i32 = 128;
/// Descriptors that are asked for.
pub(crate) const DESCRIPTORS_WANTED: u64 = 65_536;
/// Tries to find one free port for TCP and UDP in both families.
pub(crate) const PORT_TRIES: usize = 16;
/// A dial that did not succeed by then has failed.
pub(crate) const LINK_CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// A closed link may take this long to send what it still has.
pub(crate) const LINK_LINGER: Duration = Duration::from_secs(3);
/// A link that is silent for so long gives its chunk back.
pub(crate) const LINK_IDLE: Duration = Duration::from_secs(1);
/// Less room than this in a chunk is left unused: small reads cost more than the copy of a partial frame.
pub(crate) const LINK_ROOM_MIN: usize = 64 << 10;
/// Room that is made for a frame when no chunk is free.
pub(crate) const LINK_ROOM_SMALL: usize = 20 << 10;
/// A silent link is asked for a sign of life after this long, by the system.
pub(crate) const LINK_PROBE_AFTER: Duration = Duration::from_secs(20);
/// Time between two such questions; three without an answer end the link.
pub(crate) const LINK_PROBE_EVERY: Duration = Duration::from_secs(5);
/// A link on which nothing that was sent is confirmed for this long is dead: a pulled cable, an address that changed.
pub(crate) const LINK_UNCONFIRMED: Duration = Duration::from_secs(45);
/// Aim of the queue in front of a link, milliseconds of its rate.
pub(crate) const OUTBOX_QUEUE_MS: u32 = 60;
/// Least limit of that queue, bytes: two blocks, or a slow link would idle between them.
pub(crate) const OUTBOX_LIMIT_MIN: u32 = 40 << 10;
/// Its first limit, bytes, on a link whose rate is not known.
pub(crate) const OUTBOX_LIMIT_START: u32 = 64 << 10;
/// Its largest limit, bytes: beyond it a fast link gains nothing.
pub(crate) const OUTBOX_LIMIT_MAX: u32 = 1 << 20;
/// A link is looked at this often while the other end has not acknowledged all film: the system does not tell when it does.
pub(crate) const TRAVEL_LOOK: Duration = Duration::from_millis(4);
/// With more than this unsent a link is not read from, bytes: far above what credit and honest questions make.
pub(crate) const OUTBOX_CLOGGED: usize = 4 << 20;
/// Credit is given in steps of a block with its header, to keep turns few.
pub(crate) const OUTBOX_STEP: u32 = 16 << 10;
/// Parts of one vectored write.
pub(crate) const OUTBOX_PARTS_MAX: usize = 64;
/// A rate is measured over at least this long.
pub(crate) const OUTBOX_MEASURE: Duration = Duration::from_millis(100);
/// Least read under a limit: a block, or turns would be too many.
pub(crate) const THROTTLE_READ_MIN: u64 = 16 << 10;
/// Pause that one read may cost at most.
pub(crate) const THROTTLE_PAUSE_MAX: Duration = Duration::from_millis(200);
/// Time between two looks at the clocks and at our addresses.
pub(crate) const UPKEEP_LOOK: Duration = Duration::from_secs(5);
/// The machine slept when monotonic time missed this much of real time, or of the wall clock's, or this process was stopped for
/// so long.
pub(crate) const SLEPT: Duration = Duration::from_secs(5);
/// The node is told of the wall clock again when it shows something else by so much.
pub(crate) const WALL_CLOCK_SLACK: Duration = Duration::from_secs(2);

// ---- Names, HTTP and the directory's UDP face

/// Addresses of one name that are looked at.
pub(crate) const ADDRESSES_MAX: usize = 16;
/// The system's resolver may take longer; then we have stopped waiting.
pub(crate) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(15);
/// Time for a whole fetch: names, connections, redirects, body.
pub(crate) const FETCH_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for one connection of it.
pub(crate) const FETCH_CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// Redirects that are followed.
pub(crate) const REDIRECTS_MAX: usize = 5;
/// Largest answer of a tracker, bytes.
pub(crate) const TRACKER_BODY_MAX: usize = 2 << 20;
/// Largest torrent file, bytes.
pub(crate) const TORRENT_BODY_MAX: usize = 32 << 20;
/// Longest URL.
pub(crate) const URL_MAX: usize = 8192;
/// Requests of a directory's handles under way.
pub(crate) const DIRECTORY_REQUESTS_MAX: usize = 1024;
/// Largest datagram that a directory reads: a request of BEP 15 with a scrape of 74 titles, and room for extensions (BEP 41).
pub(crate) const DIRECTORY_DATAGRAM_MAX: usize = 4096;
/// Datagrams taken between two looks at the handles.
pub(crate) const DIRECTORY_BATCH: usize = 64;

// ---- Disk and hashes

/// Threads of the pool's lanes: reads, bulk, slow.
pub(crate) const POOL_THREADS: [usize; 3] = [2, 2, 1];
/// Work that a thread takes at once, bytes.
pub(crate) const POOL_BATCH_BYTES: usize = 512 << 10;
/// Waiting work that is worth waking one more thread for, bytes.
pub(crate) const POOL_WAKE_BYTES: usize = 256 << 10;
/// What a job costs besides its bytes, in bytes of hashing.
pub(crate) const POOL_JOB_BYTES: usize = 4 << 10;
/// Film bytes in read buffers at which readers pause.
pub(crate) const READ_BYTES_MAX: usize = 24 << 20;
/// Sizes in which read buffers are kept, bytes.
pub(crate) const BUFFER_CLASSES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// Unused read buffers that are kept for later, bytes over all sizes.
pub(crate) const BUFFERS_IDLE_MAX: usize = 8 << 20;
/// Longest pause of a reader when too much is in flight: slow takers slow others down, but never stop them.
pub(crate) const BUFFERS_FULL_PAUSE: Duration = Duration::from_millis(20);
/// Bytes of one receive chunk: large enough for few system calls, small enough for the second-level cache.
pub(crate) const CHUNK_LEN: usize = 256 << 10;
/// Receive chunks of one node. Beyond it received bytes are copied into memory of their own size.
pub(crate) const CHUNKS_MAX: usize = 96;
/// Bytes hashed per read: whole leaves, small enough to stay in the cache between reading and hashing.
pub(crate) const HASH_STEP: usize = 256 << 10;
/// Threads that hash; more would only wait for the disk.
pub(crate) const HASH_THREADS_MAX: usize = 8;
/// Longest stretch that is read back in one go; writes are shorter.
pub(crate) const STRETCH_MAX: usize = 64 << 20;
/// Times that a piece of a touched file is hashed for one read, if it is touched again each time.
pub(crate) const PROOFS_MAX: usize = 3;
/// Entries of a journal that are read at start, and kept: 2 million blocks, 32 GiB of incomplete pieces.
pub(crate) const JOURNAL_ENTRIES_MAX: usize = 2 << 20;
/// Largest record read, bytes: ten million pieces and a million files fit.
pub(crate) const RECORD_MAX: u64 = 64 << 20;
/// Names that are tried for a half-written file. Those of a killed process of our number are in the way, one each.
pub(crate) const TEMPORARY_TRIES: u32 = 1000;
/// Stretches of a title that could not be read or written, and are remembered; it counts as well again when these are.
pub(crate) const TROUBLE_STRETCHES_MAX: usize = 4096;
/// Sentences about them that are remembered.
pub(crate) const TROUBLE_SENTENCES_MAX: usize = 32;
/// Disk space for films that are watched, bytes: some ten films of good quality.
pub(crate) const CACHE_MAX: u64 = 20_000_000_000;
/// But not more than one part in this many of what the disk has for it,
pub(crate) const CACHE_DISK_PART: u64 = 10;
/// and not less than this: a minute of any film.
pub(crate) const CACHE_MIN: u64 = 64 << 20;
/// Films of earlier runs that are looked at in the cache.
pub(crate) const KEPT_FILMS_MAX: usize = 10_000;
/// Files and folders of one of them.
pub(crate) const KEPT_FILES_MAX: usize = 200_000;
/// Files of one title at most: what walks of a folder stop at.
pub(crate) const PUBLISH_FILES_MAX: usize = 100_000;
/// Folders inside folders at most.
pub(crate) const PUBLISH_DEPTH_MAX: usize = 64;
