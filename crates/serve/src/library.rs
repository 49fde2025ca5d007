//! What a viewer's face serves: titles and readers of their files.
//!
//! Two production implementers stand behind [`Library`]: the engine of `drive` and, in time, an edge's cache; tests bring
//! films in memory.

use core::future::Future;
use core::ops::Range;
use core::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use shoal_drive::title::CheckProgress;
use shoal_node::io::{Command, Event};
use shoal_node::link::TitleId;
use shoal_node::stats::{CacheView, TitleView};
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::Info;
use tokio::sync::broadcast;

/// A future in a box.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A title that is taken part in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its handle.
    pub title: TitleId,
    /// Its names.
    pub hashes: InfoHashes,
    /// What it is, once known.
    pub info: Option<Arc<Info>>,
    /// Length of its films, ms, by file index, as far as known.
    pub durations_ms: Vec<(u32, u64)>,
    /// How far the check of what of it was on the disk is; `None` when none is under way.
    pub check: Option<CheckProgress>,
}

impl Entry {
    /// The hexadecimal name used in addresses: v1, else v2.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.hashes.v1, self.hashes.v2) {
            (Some(v1), _) => v1.to_string(),
            (None, Some(v2)) => v2.to_string(),
            (None, None) => String::new(),
        }
    }
    /// Length of its longest film, ms, when one is known.
    #[must_use]
    pub fn duration_ms(&self) -> Option<u64> {
        self.durations_ms.iter().map(|(_, duration)| *duration).max()
    }
    /// Whether `hex`, of 40 or 64 digits, names this title.
    #[must_use]
    pub fn is_called(&self, hex: &str) -> bool {
        let short = shoal_wire::Hash20::from_hex(hex);
        let long = shoal_wire::Hash32::from_hex(hex);
        short.is_some_and(|hash| self.hashes.contains(&hash))
            || (long.is_some() && long == self.hashes.v2)
    }
}

/// Titles, and readers of their files.
pub trait Library: Send + Sync + 'static {
    /// All titles.
    fn titles(&self) -> BoxFuture<'_, Vec<Entry>>;
    /// All titles as people see them; costs O(pieces + peers).
    fn views(&self) -> BoxFuture<'_, Vec<TitleView>>;
    /// How the cache of films that are watched stands; `None` without a quota.
    fn cache(&self) -> BoxFuture<'_, Option<CacheView>>;
    /// Learns what can be known of titles by now that stand as in `views`: the length of films. Called each second.
    fn learn<'a>(&'a self, views: &'a [TitleView]) -> BoxFuture<'a, ()>;
    /// A reader of bytes `range` of a file. The range lies inside the file.
    fn open(
        &self,
        title: TitleId,
        file: u32,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, String>>;
    /// Asks for something; what comes of it is told as events.
    fn command(&self, command: Command) -> BoxFuture<'_, ()>;
    /// Events from now on.
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// Takes bytes of a file in order. Dropping it gives up its claim at once.
pub trait Reader: Send {
    /// The next bytes, at least one and at most `max`; `None` at the end of the range. Waits until they are here.
    /// An error is a sentence for the log; nothing comes after it.
    fn next(&mut self, max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>>;
}
