//! The engine of `drive` as a [`Library`]: what it takes part in, put on a shelf for people and players.
//!
//! The engine knows its titles by number; the shelf adds their names and the length of their films, and turns readers
//! of the one kind into readers of the other.

use core::ops::Range;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shoal_drive::Engine;
use shoal_node::io::{Command, Event};
use shoal_node::link::TitleId;
use shoal_node::stats::{CacheView, TitleView};
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::Info;
use tokio::sync::broadcast;

use crate::durations::{Search, Stored};
use crate::library::{BoxFuture, Entry, Library, Reader};

/// An engine and the names of its titles. Cheap to share.
#[derive(Debug)]
pub struct Shelf {
    engine: Engine,
    entries: Mutex<Vec<Entry>>,
    searches: Mutex<HashMap<TitleId, Search>>,
}

impl Shelf {
    /// An empty shelf over `engine`.
    #[must_use]
    pub fn new(engine: Engine) -> Arc<Self> {
        Arc::new(Self { engine, entries: Mutex::default(), searches: Mutex::default() })
    }
    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        // Nothing is done under the lock that can panic half-way.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Puts a title on the shelf that the engine was given as `title`; `durations_ms` of its films by file index, as far as
    /// known.
    pub fn add(&self, title: TitleId, hashes: InfoHashes, durations_ms: Vec<(u32, u64)>) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.title != title);
        entries.push(Entry { title, hashes, info: None, durations_ms, check: None });
    }
    fn searches(&self) -> MutexGuard<'_, HashMap<TitleId, Search>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Takes a title off the shelf.
    pub fn remove(&self, title: TitleId) {
        self.entries().retain(|entry| entry.title != title);
        self.searches().remove(&title);
    }
    /// Looks for the lengths of a title's films in what of it is here.
    async fn search(&self, entry: &Entry, info: &Arc<Info>, view: &TitleView) {
        let search = self.searches().remove(&entry.title);
        let mut search = search.unwrap_or_else(|| Search::new(info, &entry.durations_ms));
        if search.is_worth(view.have) {
            let stored = OnDisk {
                engine: self.engine.clone(),
                title: entry.title,
                info: Arc::clone(info),
                pieces: view.pieces.clone(),
            };
            let have = view.have;
            let looked = tokio::task::spawn_blocking(move || {
                let found = search.look(&stored, have);
                (search, found)
            });
            // A panic was printed where it happened; the search begins anew then.
            let Ok((after, found)) = looked.await else { return };
            search = after;
            if let Some(entry) = self.entries().iter_mut().find(|e| e.title == entry.title) {
                entry.durations_ms.extend(found);
            }
        }
        if self.entries().iter().any(|known| known.title == entry.title) {
            self.searches().insert(entry.title, search);
        }
    }
    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }
}

impl Library for Shelf {
    fn titles(&self) -> BoxFuture<'_, Vec<Entry>> {
        let mut entries = self.entries().clone();
        for entry in &mut entries {
            entry.info = self.engine.info(entry.title);
            if let Some(info) = &entry.info {
                entry.hashes = all_names(entry.hashes, info);
            } else {
                let check = self.engine.check_progress(entry.title);
                entry.check = (check.total > 0).then_some(check);
            }
        }
        Box::pin(async move { entries })
    }
    fn views(&self) -> BoxFuture<'_, Vec<TitleView>> {
        // An engine that has stopped has no titles any more.
        Box::pin(async { self.engine.views().await.unwrap_or_default() })
    }
    fn cache(&self) -> BoxFuture<'_, Option<CacheView>> {
        Box::pin(async { self.engine.cache().await.unwrap_or_default() })
    }
    fn learn<'a>(&'a self, views: &'a [TitleView]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            for entry in self.titles().await {
                let view = views.iter().find(|view| view.title == entry.title);
                if let (Some(info), Some(view)) = (&entry.info, view) {
                    self.search(&entry, info, view).await;
                }
            }
        })
    }
    fn open(
        &self,
        title: TitleId,
        file: u32,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, String>> {
        Box::pin(async move {
            let reader = self.engine.open_reader(title, file, range).await;
            let reader = reader.map_err(|error| error.to_string())?;
            Ok(Box::new(EngineReader(reader)) as Box<dyn Reader>)
        })
    }
    fn command(&self, command: Command) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // An engine that has stopped is past all commands.
            let _ = self.engine.command(command).await;
        })
    }
    fn events(&self) -> broadcast::Receiver<Event> {
        self.engine.events()
    }
}

/// A magnet may name one hash of a hybrid: the metadata knows both.
fn all_names(known: InfoHashes, info: &Info) -> InfoHashes {
    InfoHashes { v1: known.v1.or(info.hashes.v1), v2: known.v2.or(info.hashes.v2) }
}

/// What of a title was here a moment ago.
struct OnDisk {
    engine: Engine,
    title: TitleId,
    info: Arc<Info>,
    /// Wire form of BEP 3.
    pieces: Vec<u8>,
}

impl Stored for OnDisk {
    fn info(&self) -> &Info {
        &self.info
    }
    fn has(&self, piece: u32) -> bool {
        let byte = usize::try_from(piece / 8).ok().and_then(|at| self.pieces.get(at));
        byte.is_some_and(|byte| byte & (0x80 >> (piece % 8)) != 0)
    }
    fn read(&self, file: u32, range: Range<u64>) -> Option<Vec<u8>> {
        self.engine.read_stored(self.title, file, range).ok()
    }
}

struct EngineReader(shoal_drive::Reader);

impl Reader for EngineReader {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>> {
        Box::pin(
            async move { self.0.next(max).await.map_err(|error| error.to_string()).transpose() },
        )
    }
}
