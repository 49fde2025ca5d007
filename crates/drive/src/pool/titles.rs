//! The titles of a node as the pool knows them: where each lies, and its files once its metadata is known.
//!
//! A title is announced before the node hears of it and forgotten once the last job of it is done.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use shoal_node::io::ResumeRecord;
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;
use shoal_wire::{Hash32, InfoHashes};

use crate::error::DriveError;
use crate::kept::Kept;
use crate::resume::StateFolder;
use crate::storage::{Descriptors, Place};
use crate::title::{CheckProgress, TitleStore, Trust, Verified};

/// Where a title lies and how far it is believed; told before the node hears of the title.
#[derive(Clone, Debug)]
pub struct TitleOptions {
    /// Where its files are, or will be.
    pub place: Place,
    /// What is believed of what is found there.
    pub trust: Trust,
    /// Piece layers at hand (BEP 52), by file root.
    pub layers: Vec<(Hash32, Bytes)>,
    /// What [`crate::publish`] has just hashed: it is not looked at again.
    pub verified: Option<Verified>,
}

/// All titles of a node, as the pool knows them.
#[derive(Debug)]
pub struct Titles {
    entries: Mutex<HashMap<TitleId, Entry>>,
    descriptors: Arc<Descriptors>,
    state: Mutex<Option<Arc<StateFolder>>>,
    /// No check is begun any more.
    stopping: AtomicBool,
    /// Where films that are watched lie, each in a folder of its own.
    cache: Option<PathBuf>,
}

#[derive(Debug)]
struct Entry {
    options: TitleOptions,
    /// It was left: nothing of it is checked any more.
    left: bool,
    store: Option<Arc<TitleStore>>,
}

impl Titles {
    /// No titles yet. Without `state` nothing is remembered between runs; `cache` is the folder of films that are watched.
    #[must_use]
    pub fn new(
        descriptors: Arc<Descriptors>,
        state: Option<Arc<StateFolder>>,
        cache: Option<PathBuf>,
    ) -> Self {
        Self {
            entries: Mutex::default(),
            descriptors,
            state: Mutex::new(state),
            stopping: AtomicBool::new(false),
            cache,
        }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<TitleId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Announces a title.
    pub fn expect(&self, title: TitleId, options: TitleOptions) {
        self.lock().insert(title, Entry { options, left: false, store: None });
    }
    /// Titles that are announced and not forgotten.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }
    /// A title was left: its check ends early.
    pub(super) fn leave(&self, title: TitleId) {
        if let Some(entry) = self.lock().get_mut(&title) {
            entry.left = true;
            entry.store.iter().for_each(|store| store.cancel());
        }
    }
    /// Nothing will be asked of a title any more. One that was announced again meanwhile stays.
    pub(super) fn forget(&self, title: TitleId) {
        let mut entries = self.lock();
        if entries.get(&title).is_some_and(|entry| entry.left) {
            entries.remove(&title);
        }
    }
    /// The title's files, once its metadata is known.
    #[must_use]
    pub fn store(&self, title: TitleId) -> Option<Arc<TitleStore>> {
        self.lock().get(&title)?.store.clone()
    }
    /// How far the check of a title is.
    #[must_use]
    pub fn progress(&self, title: TitleId) -> CheckProgress {
        self.store(title).map_or_else(CheckProgress::default, |store| store.progress())
    }
    /// Makes running checks end early (what they did not look at counts as absent), and lets no other begin.
    pub fn cancel_checks(&self) {
        let entries = self.lock();
        self.stopping.store(true, Ordering::Relaxed);
        entries.values().filter_map(|entry| entry.store.as_ref()).for_each(|s| s.cancel());
    }
    /// The info dictionary of a title met in an earlier run, unchecked.
    #[must_use]
    pub fn kept_info(&self, hashes: &InfoHashes) -> Option<Bytes> {
        let path = self.state()?.title_file(hashes, "info");
        std::fs::read(path).ok().map(Bytes::from)
    }
    /// Whether what lies there is in the cache.
    #[must_use]
    pub fn is_cached(&self, place: &Place) -> bool {
        matches!(place, Place::Below(folder) if self.cache.as_deref().is_some_and(|cache| {
            folder.parent() == Some(cache)
        }))
    }
    /// Films in the cache that no title here uses.
    fn kept(&self, but: Option<&Place>) -> Kept {
        let Some(cache) = &self.cache else { return Kept::default() };
        let entries = self.lock();
        let live = entries.values().map(|entry| &entry.options.place).chain(but);
        let live: BTreeSet<&Path> = live
            .filter_map(|place| match place {
                Place::Below(folder) => Some(folder.as_path()),
                Place::Files(_) => None,
            })
            .collect();
        Kept::look(cache, self.state().as_deref(), |folder| live.contains(folder))
    }
    /// Bytes on the disk of films in the cache that no title here uses, nor one that is about to come to `place`. Blocks.
    #[must_use]
    pub fn kept_bytes(&self, place: Option<&Place>) -> u64 {
        self.kept(place).bytes()
    }
    /// Frees `bytes` of them, the longest unused first. Returns what is left of them.
    pub(super) fn reclaim(&self, bytes: u64) -> u64 {
        let mut kept = self.kept(None);
        if let Some(state) = self.state() {
            kept.free(bytes, &state, &self.descriptors);
        }
        kept.bytes()
    }
    fn state(&self) -> Option<Arc<StateFolder>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Forgets all titles, and gives the state folder back.
    pub fn close(&self) {
        self.lock().clear();
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
    /// Makes room for a title's files and finds out what is already there.
    pub(super) fn prepare(
        &self,
        title: TitleId,
        info: Arc<Info>,
    ) -> Result<ResumeRecord, DriveError> {
        let unknown = || DriveError::Invalid(format!("title {} has no place", title.0));
        let options = self.lock().get(&title).map(|e| e.options.clone()).ok_or_else(unknown)?;
        let store = Arc::new(TitleStore::open(
            info,
            options.layers,
            options.place,
            Arc::clone(&self.descriptors),
            self.state().as_deref(),
        ));
        {
            // Under the lock: whoever cancels from now on finds the store.
            let mut entries = self.lock();
            let entry = entries.get_mut(&title).filter(|entry| !entry.left).ok_or_else(unknown)?;
            if self.stopping.load(Ordering::Relaxed) {
                return Err(DriveError::Stopped);
            }
            entry.store = Some(Arc::clone(&store));
        }
        store.keep_info()?;
        match options.verified {
            Some(verified) => store.vouch(&verified).map(|()| verified.record),
            None => store.prepare(options.trust),
        }
    }
}
