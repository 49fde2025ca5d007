//! Limits of the faces: what bounds their memory, counts, queues and times. Those of open connections, which a program may
//! choose, stand in [`crate::server::Limits`].

use std::time::Duration;

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
pub(crate) const PACKAGES_MAX: usize = 4;
/// Byte ranges of a segment with gaps below this are read in one go: what lies between, most often sound beside pictures, is
/// needed at the same time.
pub(crate) const PIECES_GAP_BYTES: u64 = 1 << 20;
/// Frames of a segment that is put together in memory, bytes: four seconds of 128 Mbit/s.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// Segments that are put together in memory at once: who asks for more waits.
pub(crate) const SEGMENT_BUILDS_MAX: usize = 8;
