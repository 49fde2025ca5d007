//! Troubles with the disk that stand: each is met with every piece of a file, and told once until it is over.
//!
//! The pool notes which stretches of a title could not be read, written or saved, and which can be again. While any of them
//! stands, no sentence about the title is told twice; when all can be done again the next trouble is a new one.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{TROUBLE_SENTENCES_MAX, TROUBLE_STRETCHES_MAX};
use shoal_node::link::TitleId;

/// Stands for the record of a title, where others have their first byte in piece space.
pub(crate) const RECORD: Range<u64> = u64::MAX - 1..u64::MAX;

/// What stands, by title.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// Whether there is any, to be read without the lock.
    any: AtomicBool,
    titles: Mutex<HashMap<TitleId, Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    /// First bytes of stretches that could not be read or written. Never empty.
    failed: BTreeSet<u64>,
    /// What was told, and whether it was fatal.
    told: Vec<(String, bool)>,
}

impl Troubles {
    fn lock(&self) -> MutexGuard<'_, HashMap<TitleId, Standing>> {
        self.titles.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Something could not be done with `stretch` of a title.
    pub(crate) fn failed(&self, title: TitleId, stretch: &Range<u64>) {
        let mut titles = self.lock();
        let standing = titles.entry(title).or_default();
        if standing.failed.len() < TROUBLE_STRETCHES_MAX {
            standing.failed.insert(stretch.start);
        }
        self.any.store(true, Ordering::Relaxed);
    }
    /// Something was done with `stretch` of a title. Costs next to nothing while there is no trouble.
    pub(crate) fn succeeded(&self, title: TitleId, stretch: &Range<u64>) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut titles = self.lock();
        let Some(standing) = titles.get_mut(&title) else { return };
        while let Some(at) = standing.failed.range(stretch.clone()).next().copied() {
            standing.failed.remove(&at);
        }
        if standing.failed.is_empty() {
            self.remove(titles, title);
        }
    }
    /// A title is over.
    pub(crate) fn forget(&self, title: TitleId) {
        self.remove(self.lock(), title);
    }
    fn remove(&self, mut titles: MutexGuard<'_, HashMap<TitleId, Standing>>, title: TitleId) {
        titles.remove(&title);
        self.any.store(!titles.is_empty(), Ordering::Relaxed);
    }
    /// Whether a sentence about a title should be told. What is fatal is news even when it was told as something milder.
    pub(crate) fn is_news(&self, title: TitleId, message: &str, fatal: bool) -> bool {
        let mut titles = self.lock();
        let Some(standing) = titles.get_mut(&title) else { return true };
        if let Some((_, was_fatal)) = standing.told.iter_mut().find(|(told, _)| told == message) {
            return fatal && !std::mem::replace(was_fatal, true);
        }
        if standing.told.len() == TROUBLE_SENTENCES_MAX {
            standing.told.remove(0);
        }
        standing.told.push((message.to_owned(), fatal));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TITLE: TitleId = TitleId(3);

    #[test]
    fn a_sentence_is_told_once_until_all_that_failed_can_be_done_again() {
        let troubles = Troubles::default();
        let news = |message| troubles.is_news(TITLE, message, false);
        for at in [0, 100, 200] {
            troubles.failed(TITLE, &(at..at + 50));
            assert_eq!(news("a is full"), at == 0);
        }
        assert!(news("b is full"), "another sentence");
        // Some writes fit where others do not: that is no recovery.
        troubles.succeeded(TITLE, &(1000..2000));
        troubles.succeeded(TITLE, &(0..150));
        assert!(!news("a is full") && !news("b is full"));
        troubles.succeeded(TITLE, &(150..250));
        troubles.failed(TITLE, &(0..50));
        assert!(news("a is full"), "it is full again");
        troubles.forget(TITLE);
        assert!(troubles.lock().is_empty() && !troubles.any.load(Ordering::Relaxed));
    }

    #[test]
    fn what_becomes_fatal_is_told_again_and_other_titles_are_their_own() {
        let troubles = Troubles::default();
        troubles.failed(TITLE, &RECORD);
        assert!(troubles.is_news(TITLE, "it is gone", false));
        assert!(troubles.is_news(TITLE, "it is gone", true));
        assert!(!troubles.is_news(TITLE, "it is gone", true));
        assert!(!troubles.is_news(TITLE, "it is gone", false));
        for _ in 0..2 {
            assert!(troubles.is_news(TitleId(4), "it is gone", false), "nothing of it failed");
        }
    }
}
