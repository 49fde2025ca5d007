//! The frames of the films that are asked for in pieces: read once from their file, kept while they are in use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use shoal_media::{MediaError, Presentation, Prober};
use shoal_node::link::TitleId;
use shoal_wire::time_index::TimeIndex;
use tokio::sync::OnceCell;

use crate::library::Library;
use crate::limits::{FRAMES_KEPT_MAX, PACKAGES_MAX, TIME_INDEX_BYTES_MAX};
use crate::pieces::bytes;

/// Why there are no frames.
#[derive(Clone, Debug)]
pub(crate) enum NoFrames {
    /// The film could not be read by now.
    Unread(String),
    /// It is of a kind that cannot be taken apart here.
    Unknown(String),
}

type Found = Arc<OnceCell<Result<Arc<Presentation>, NoFrames>>>;

/// The films in use, the last one first.
#[derive(Debug, Default)]
pub(crate) struct Packages(Mutex<VecDeque<((TitleId, u32), Found)>>);

impl Packages {
    /// The frames of a film: file `number` of a title, of `length` bytes. Whoever asks while they are being looked for waits for the
    /// same look.
    pub(crate) async fn get(
        &self,
        library: &dyn Library,
        title: TitleId,
        number: u32,
        length: u64,
    ) -> Result<Arc<Presentation>, NoFrames> {
        let key = (title, number);
        let found = self.entry(key);
        let is_new = !found.initialized();
        let result = found.get_or_init(|| read(library, key, length)).await.clone();
        if is_new {
            self.leave_oldest();
        }
        if matches!(result, Err(NoFrames::Unread(_))) {
            self.forget(key);
        }
        result
    }
    fn entry(&self, key: (TitleId, u32)) -> Found {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = all.iter().position(|(known, _)| *known == key);
        let entry =
            place.and_then(|place| all.remove(place)).unwrap_or_else(|| (key, Found::default()));
        let found = Arc::clone(&entry.1);
        all.push_front(entry);
        all.truncate(PACKAGES_MAX);
        found
    }
    /// Leaves those that were asked for longest ago, where all have too many frames.
    fn leave_oldest(&self) {
        let frames = |found: &Found| {
            let film = found.get().and_then(|film| film.as_ref().ok());
            let streams = film.map(|film| film.streams().iter().chain(film.texts()));
            streams.map_or(0, |streams| streams.map(|it| it.samples().len()).sum())
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = kept(all.iter().map(|(_, found)| frames(found)), FRAMES_KEPT_MAX);
        all.truncate(kept);
    }
    fn forget(&self, key: (TitleId, u32)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != key);
    }
}

/// How many of these, from the first on, have no more than `most` together; at least one.
fn kept(counts: impl Iterator<Item = usize>, most: usize) -> usize {
    let mut all = 0_usize;
    let fits = |count: &usize| {
        all = all.saturating_add(*count);
        all <= most
    };
    counts.take_while(fits).count().max(1)
}

async fn read(
    library: &dyn Library,
    (title, number): (TitleId, u32),
    length: u64,
) -> Result<Arc<Presentation>, NoFrames> {
    let mut prober = Prober::of_frames(length);
    while let Some(range) = prober.need().first().cloned() {
        let bytes = bytes(library, (title, number), range.clone()).await;
        let bytes = bytes.map_err(NoFrames::Unread)?;
        // The index of a long film has millions of entries: others are served meanwhile.
        let looked = tokio::task::spawn_blocking(move || {
            prober.feed(range.start, &bytes);
            prober
        });
        // A panic was printed where it happened.
        prober = looked.await.map_err(|_| NoFrames::Unread("It could not be read.".to_owned()))?;
    }
    let unknown =
        |error: MediaError| NoFrames::Unknown(format!("The film cannot be taken apart: {error}."));
    let film = prober.finish().map_err(unknown)?;
    let film = film.presentation.ok_or_else(|| {
        let sentence = "Films of this container are served as they are only: use /stream/.";
        NoFrames::Unknown(sentence.to_owned())
    })?;
    if !film.wants_index() {
        return Ok(Arc::new(film));
    }
    let index = published_index(library, (title, number)).await?;
    Ok(Arc::new(match index {
        Some(index) => film.with_index(&index),
        None => film,
    }))
}

/// The time index that was published beside a film; `None` when there is none that can be read.
async fn published_index(
    library: &dyn Library,
    (title, number): (TitleId, u32),
) -> Result<Option<TimeIndex>, NoFrames> {
    let titles = library.titles().await;
    let info = titles.into_iter().find(|entry| entry.title == title).and_then(|entry| entry.info);
    let Some(info) = info else { return Ok(None) };
    let Some(place) = info.time_indexes.iter().find(|place| place.film == number) else {
        return Ok(None);
    };
    let file = usize::try_from(place.index).ok().and_then(|index| info.files.get(index));
    let length = file.map_or(0, |file| file.length);
    if !(1..=TIME_INDEX_BYTES_MAX).contains(&length) {
        return Ok(None);
    }
    let bytes = bytes(library, (title, place.index), 0..length).await;
    let bytes = bytes.map_err(NoFrames::Unread)?;
    Ok(TimeIndex::decode(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::kept;

    #[test]
    fn the_last_films_are_kept_as_far_as_their_frames_fit() {
        for (counts, all) in
            [(&[][..], 1), (&[20], 1), (&[4, 6], 2), (&[4, 7, 1], 1), (&[0, 0, 10, 1, 0], 3)]
        {
            assert_eq!(kept(counts.iter().copied(), 10), all, "{counts:?}");
        }
    }
}
