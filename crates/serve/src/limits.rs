//! Limits of the faces: what bounds their memory, counts, queues and times. Those of open connections, which a program may
//! choose, stand in [`crate::server::Limits`].

/// Films of one title whose length is looked for.
pub(crate) const FILMS_MAX: usize = 64;
/// Longest time index that is read, bytes: days of film.
pub(crate) const TIME_INDEX_BYTES_MAX: u64 = 1 << 20;
/// Stored bytes that are read at once while a container is looked at.
pub(crate) const STORED_READ_BYTES: u64 = 1 << 20;
