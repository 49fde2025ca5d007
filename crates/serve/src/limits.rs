//! Limits of the faces: what bounds their memory, counts, queues and times. Those of open connections, which a program may
//! choose, stand in [`crate::server::Limits`].

use std::time::Duration;

/// A player that is started comes within this; claims of readers that take nothing end earlier.
pub(crate) const OPENING_HELD: Duration = Duration::from_secs(3);
/// Films of one title whose length is looked for.
pub(crate) const FILMS_MAX: usize = 64;
/// Longest time index that is read, bytes: days of film.
pub(crate) const TIME_INDEX_BYTES_MAX: u64 = 1 << 20;
/// Stored bytes that are read at once while a container is looked at.
pub(crate) const STORED_READ_BYTES: u64 = 1 << 20;
/// Events that a slow listener may be behind before it misses some.
pub(crate) const REPORTS_MAX: usize = 256;
/// Events that are kept for those who come later, besides one of each kind per title.
pub(crate) const REPORTS_KEPT_MAX: usize = 1024;
/// Bytes taken from a reader at once: small, so that the position of a player is known well.
pub(crate) const CHUNK_BYTES: u32 = 64 << 10;
/// A comment is sent after this much silence, so that a listener that is gone is noticed.
pub(crate) const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// Seconds after which a player may ask again for a film whose metadata has not come.
pub(crate) const RETRY_S: u64 = 2;
/// Addresses taken from one call.
pub(crate) const PEERS_MAX: usize = 200;
/// Pause after the system refused a connection, most likely for want of descriptors.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Longest header value that is looked at, bytes: a single range needs less than 50.
pub(crate) const RANGE_VALUE_MAX: usize = 1024;
/// Longest `Host` that is looked at, bytes: a DNS name and a port.
pub(crate) const HOST_MAX: usize = 262;
/// Films whose frames are kept in memory, the last ones that were asked for: some 6 MB for each hour of film.
pub(crate) const PACKAGES_MAX: usize = 8;
/// And frames of all of them, 24 bytes each: six qualities of ten hours, or the largest film that is accepted twice.
pub(crate) const FRAMES_KEPT_MAX: usize = 16 << 20;
/// Byte ranges of a segment with gaps below this are read in one go: what lies between, most often sound beside pictures, is
/// needed at the same time.
pub(crate) const PIECES_GAP_BYTES: u64 = 1 << 20;
/// Places of a film that are read at once for one session.
pub(crate) const PLACES_MAX: usize = 2;
/// What read a segment is kept so long for who asks for the next one: players whose buffer is full ask once for each segment, of four seconds
/// mostly.
pub(crate) const SEAT_HELD: Duration = Duration::from_secs(12);
/// Of so many players.
pub(crate) const SEATS_MAX: usize = 64;
/// Bytes of film that are read ahead of an RTSP session: half a second of most films. What it takes in all stays below 512 KiB.
pub(crate) const FEED_BYTES_MAX: u32 = 128 << 10;
/// And frames.
pub(crate) const FEED_FRAMES_MAX: usize = 256;
/// Longest RTP packet, bytes: with the headers of IP and UDP it fits every link of today.
pub(crate) const RTP_BYTES_MAX: usize = 1400;
/// Packets that wait for room in a connection: some 45 KB.
pub(crate) const WAITING_PACKETS_MAX: usize = 32;
/// Bytes that a connection has taken from them and did not write yet.
pub(crate) const WRITING_BYTES_MAX: usize = 64 << 10;
/// Longest RTSP request, bytes; and what a player sends inside a connection.
pub(crate) const RTSP_BYTES_MAX: usize = 32 << 10;
/// RTSP sessions at once.
pub(crate) const SESSIONS_MAX: usize = 512;
/// Streams of one session.
pub(crate) const LANES_MAX: usize = 16;
/// Orders that a session has not followed yet.
pub(crate) const ORDERS_MAX: usize = 8;
/// Pairs of ports that are tried.
pub(crate) const PORT_TRIES_MAX: usize = 64;
/// Players outside a connection say at least this often that they are there, told as `timeout`.
pub(crate) const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// And are believed to be gone after this: some are late.
pub(crate) const SESSION_IDLE: Duration = Duration::from_secs(120);
/// A connection without a session may be silent as long.
pub(crate) const CONNECTION_IDLE: Duration = Duration::from_secs(60);
/// Sessions look this often whether their player is there.
pub(crate) const SESSION_LOOK: Duration = Duration::from_secs(1);
/// Packets that a player's machine refused in a row.
pub(crate) const REFUSALS_MAX: u32 = 50;
/// PLAY is answered when the first frame is here, or after this: players give up after about ten seconds.
pub(crate) const FIRST_FRAME_WAIT: Duration = Duration::from_secs(5);
/// Between the last packet and the word that the film is over.
pub(crate) const FAREWELL: Duration = Duration::from_millis(500);
/// Time stamps are moved on by this with each jump.
pub(crate) const STAMP_GAP: Duration = Duration::from_secs(1);
/// A frame that leaves later than this by the clock of a session sets the clock back.
pub(crate) const LATE_MAX: Duration = Duration::from_millis(50);
/// Sender's reports are sent this often (RFC 3550, 6.2).
pub(crate) const REPORT_EVERY: Duration = Duration::from_secs(5);
/// Packets of one frame that are sent to a port in a row: a tenth of the buffer that players' systems give them.
pub(crate) const BUNCH_PACKETS: u32 = 16;
/// And the pause behind them.
pub(crate) const BUNCH_PAUSE: Duration = Duration::from_millis(1);
/// Frames of a segment that is put together in memory, bytes: four seconds of 128 Mbit/s.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Segments that are put together in memory at once: who asks for more waits.
pub(crate) const SEGMENT_BUILDS_MAX: usize = 8;
/// Bytes that say whether a part of a transport stream begins with its tables: one packet.
pub(crate) const PACKET_BYTES: usize = 188;
/// Longest RTCP packet that is read, bytes.
pub(crate) const REPORT_BYTES_MAX: usize = 1500;
/// Ways for packets that are looked at in one `Transport`.
pub(crate) const WAYS_MAX: usize = 16;
/// Qualities of one film that are listed together: fewer than [`PACKAGES_MAX`], since all of them are read for it.
pub(crate) const QUALITIES_MAX: usize = 6;
/// They may differ in length by so much, ms: sound and pictures seldom end together.
pub(crate) const QUALITIES_APART_MS: u64 = 1000;
/// Subtitles of one film.
pub(crate) const SUBTITLES_MAX: usize = 32;
/// Longest file of subtitles, bytes: those of a long film have some 100 KB.
pub(crate) const SUBTITLES_BYTES_MAX: u64 = 4 << 20;
/// Bytes that leave at once where a rate is held.
pub(crate) const PACED_BYTES: u32 = 16 << 10;
/// Nothing is held back for longer, whatever its rate: a film's segment of four seconds leaves within 3.2.
pub(crate) const PACE_MAX: Duration = Duration::from_secs(30);
