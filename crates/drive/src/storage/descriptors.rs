//! Open files, few of them: the least recently used one is closed when there are too many.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::DriveError;

/// A bounded cache of open files, shared by all titles of a process.
#[derive(Debug)]
pub struct Descriptors {
    limit: usize,
    ids: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// By title and file.
    files: HashMap<(u64, usize), Entry>,
    /// Counts uses: the clock of "least recently".
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<OwnedFd>,
    writable: bool,
    used: u64,
}

impl Descriptors {
    /// At most `limit` open files, at least one.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), ids: AtomicU64::new(0), open: Mutex::default() }
    }
    /// A number for a title that is not in use yet.
    pub(super) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The open file, opened by `open` when it is not at hand or cannot be written. O(limit) only when one must go.
    ///
    /// # Errors
    /// Those of `open`.
    pub(super) fn open(
        &self,
        id: u64,
        file: usize,
        write: bool,
        open: impl FnOnce() -> Result<OwnedFd, DriveError>,
    ) -> Result<Arc<OwnedFd>, DriveError> {
        {
            let mut inner = self.lock();
            inner.uses += 1;
            let uses = inner.uses;
            if let Some(entry) = inner.files.get_mut(&(id, file))
                && (entry.writable || !write)
            {
                entry.used = uses;
                return Ok(Arc::clone(&entry.file));
            }
        }
        // Opening may take long: not under the lock.
        let opened = Arc::new(open()?);
        let mut inner = self.lock();
        inner.uses += 1;
        let entry = Entry { file: Arc::clone(&opened), writable: write, used: inner.uses };
        inner.files.insert((id, file), entry);
        if inner.files.len() > self.limit {
            let oldest =
                inner.files.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            oldest.and_then(|key| inner.files.remove(&key));
        }
        Ok(opened)
    }
    /// Closes one file.
    pub(super) fn forget(&self, id: u64, file: usize) {
        self.lock().files.remove(&(id, file));
    }
    /// Closes the files of a title. O(limit).
    pub(super) fn forget_all(&self, id: u64) {
        self.lock().files.retain(|(owner, _), _| *owner != id);
    }
    /// Files that are open now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().files.len()
    }
    /// Whether none is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
