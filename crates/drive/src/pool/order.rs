//! What must be done before a save: the writes of the same title that were submitted before it.
//!
//! Writes and saves run in different lanes. A record says how the files looked, so one that is made before the last writes
//! have ended is not believed by the next start, which then hashes whole files again.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use shoal_node::io::Job;
use shoal_node::link::TitleId;

/// Numbers jobs as they are submitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Number(u64);

/// The writes that are not done.
#[derive(Debug, Default)]
pub(super) struct Order {
    inner: Mutex<Inner>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    /// No entry is empty.
    writes: HashMap<TitleId, BTreeSet<Number>>,
    /// Writes may never be done: nobody waits for them any more.
    abandoned: bool,
}

/// The title that a job writes to.
pub(super) fn written_to(job: &Job) -> Option<TitleId> {
    match job {
        Job::Write { title, .. } => Some(*title),
        _ => None,
    }
}

impl Order {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The number of what is submitted now.
    pub(super) fn next(&self) -> Number {
        let mut inner = self.lock();
        inner.next += 1;
        Number(inner.next)
    }
    /// The number of a job that is submitted now.
    pub(super) fn submitted(&self, job: &Job) -> Number {
        let number = self.next();
        if let Some(title) = written_to(job) {
            self.lock().writes.entry(title).or_default().insert(number);
        }
        number
    }
    /// A write is done, well or not.
    pub(super) fn written(&self, title: TitleId, number: Number) {
        let mut inner = self.lock();
        if let Some(writes) = inner.writes.get_mut(&title) {
            writes.remove(&number);
            if writes.is_empty() {
                inner.writes.remove(&title);
            }
        }
        drop(inner);
        self.done.notify_all();
    }
    /// Returns once all writes to `title` that were submitted before `number` are done. Later ones are not waited for.
    pub(super) fn wait(&self, title: TitleId, number: Number) {
        let mut inner = self.lock();
        let first = |inner: &Inner| inner.writes.get(&title).and_then(|w| w.first().copied());
        while !inner.abandoned && first(&inner).is_some_and(|first| first < number) {
            inner = self.done.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
    /// What waits will not be done: lets go who waits for it.
    pub(super) fn abandon(&self) {
        self.lock().abandoned = true;
        self.done.notify_all();
    }
}
