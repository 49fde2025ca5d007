//! The frames of the films that are asked for in pieces: read once from their file, kept while they are in use.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use shoal_media::{MediaError, Presentation, Prober};
use shoal_node::link::TitleId;
use tokio::sync::OnceCell;

use crate::library::Library;
use crate::limits::{CHUNK_BYTES, PACKAGES_MAX};

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
        let result = found.get_or_init(|| read(library, key, length)).await.clone();
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
    fn forget(&self, key: (TitleId, u32)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| *known != key);
    }
}

async fn read(
    library: &dyn Library,
    (title, number): (TitleId, u32),
    length: u64,
) -> Result<Arc<Presentation>, NoFrames> {
    let mut prober = Prober::of_frames(length);
    while let Some(range) = prober.need().first().cloned() {
        let reader = library.open(title, number, range.clone()).await;
        let mut reader = reader.map_err(NoFrames::Unread)?;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < range.end - range.start {
            let Some(chunk) = reader.next(CHUNK_BYTES).await else { break };
            bytes.extend_from_slice(&chunk.map_err(NoFrames::Unread)?);
        }
        if (bytes.len() as u64) < range.end - range.start {
            return Err(NoFrames::Unread("The film ended before its length.".to_owned()));
        }
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
    film.presentation.map(Arc::new).ok_or_else(|| {
        let sentence = "Films of this container are served as they are only: use /stream/.";
        NoFrames::Unknown(sentence.to_owned())
    })
}
