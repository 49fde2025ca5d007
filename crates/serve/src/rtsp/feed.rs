//! Reads a film's frames ahead of a session, as far as its memory goes.

use std::sync::{Arc, Mutex, PoisonError};

use shoal_media::Presentation;
use shoal_media::demux::{Demuxer, Frame};
use shoal_node::io::Command;
use shoal_node::link::TitleId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;

use crate::library::Library;
use crate::limits::{CHUNK_BYTES, FEED_BYTES_MAX, FEED_FRAMES_MAX};
use crate::pieces::Places;

/// A film, and where it lies.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) library: Arc<dyn Library>,
    pub(super) title: TitleId,
    pub(super) file: u32,
    pub(super) length: u64,
    pub(super) film: Arc<Presentation>,
}

impl Source {
    /// Whether it is the same film.
    pub(super) fn is(&self, other: &Self) -> bool {
        (self.title, self.file) == (other.title, other.file)
    }
}

/// A frame, and its share of a session's memory, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Fed {
    pub(super) frame: Frame,
    _share: OwnedSemaphorePermit,
}

/// Frames of a film from a time on. Reading ends when it is dropped.
#[derive(Debug)]
pub(super) struct Feed {
    frames: mpsc::Receiver<Result<Fed, String>>,
    reading: JoinHandle<()>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

/// What takes the film apart for a session. It outlives a feed, so that what is counted in a film goes on behind a jump.
#[derive(Debug)]
pub(super) struct Apart {
    demuxer: Demuxer,
    /// How often it jumped: a feed of before a jump, which may not have ended yet, leaves it alone.
    jumps: u64,
}

impl Apart {
    pub(super) fn new(demuxer: Demuxer) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { demuxer, jumps: 0 }))
    }
    pub(super) fn jump(&mut self, at_ms: u64) {
        self.jumps += 1;
        self.demuxer.jump(at_ms);
    }
}

/// The same, shared by a session and its feed.
pub(super) type SharedApart = Arc<Mutex<Apart>>;

/// Lets `act` have the demuxer, unless it has jumped since.
fn with<T>(apart: &SharedApart, jumps: u64, act: impl FnOnce(&mut Demuxer) -> T) -> Option<T> {
    let mut apart = apart.lock().unwrap_or_else(PoisonError::into_inner);
    (apart.jumps == jumps).then(|| act(&mut apart.demuxer))
}

impl Feed {
    /// Of what it gives from now on, until it jumps.
    pub(super) fn new(source: &Source, apart: &SharedApart) -> Self {
        let (sender, frames) = mpsc::channel(FEED_FRAMES_MAX);
        let jumps = apart.lock().unwrap_or_else(PoisonError::into_inner).jumps;
        let reading = tokio::spawn(read(source.clone(), (Arc::clone(apart), jumps), sender));
        Self { frames, reading }
    }
    /// The next frame; `None` at the end. Waits until it is here. Abandoning the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Fed, String>> {
        self.frames.recv().await
    }
}

async fn read(
    source: Source,
    (apart, jumps): (SharedApart, u64),
    sender: mpsc::Sender<Result<Fed, String>>,
) {
    let budget = Arc::new(Semaphore::new(FEED_BYTES_MAX as usize));
    let film @ (title, file) = (source.title, source.file);
    source.library.command(Command::Prefer { title, file }).await;
    let mut places = Places::new(Arc::clone(&source.library), film, source.length);
    loop {
        // Its lock is never held over a wait.
        while let Some(Some(frame)) = with(&apart, jumps, Demuxer::next) {
            // A frame larger than all of it takes all of it.
            let size = u32::try_from(frame.data.len()).unwrap_or(u32::MAX).clamp(1, FEED_BYTES_MAX);
            let Ok(share) = Arc::clone(&budget).acquire_many_owned(size).await else { return };
            if sender.send(Ok(Fed { frame, _share: share })).await.is_err() {
                return;
            }
        }
        let Some(Some(range)) = with(&apart, jumps, |demuxer| demuxer.need()) else { return };
        let came = match places.read(&range, CHUNK_BYTES).await {
            Ok(bytes) => match with(&apart, jumps, |demuxer| demuxer.feed(&bytes)) {
                Some(fed) => fed.map_err(|error| error.to_string()),
                None => return,
            },
            Err(error) => Err(error),
        };
        if let Err(error) = came {
            // Nobody hears it when the session is gone.
            let _ = sender.send(Err(error)).await;
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use shoal_media::Prober;

    use super::*;

    const FILM: &[u8] = include_bytes!("../../../media/testdata/front.mp4");

    #[test]
    fn what_comes_late_for_a_place_that_was_left_is_not_taken_for_the_new_one() {
        let read = |range: core::ops::Range<u64>| {
            Ok::<_, Infallible>(FILM[range.start as usize..range.end as usize].to_vec())
        };
        let film = Prober::of_frames(FILM.len() as u64).run(read).expect("a film");
        let film = Arc::new(film.presentation.expect("frames"));
        let apart = Apart::new(Demuxer::new(film, &[0, 1], 0));
        let before = with(&apart, 0, |demuxer| demuxer.need()).flatten().expect("bytes");
        apart.lock().expect("nobody panicked").jump(6000);
        let after = with(&apart, 1, |demuxer| demuxer.need()).flatten().expect("bytes");
        assert!(after.start > before.end);
        let late = &FILM[before.start as usize..before.end as usize];
        assert!(with(&apart, 0, |demuxer| demuxer.feed(late)).is_none());
        assert_eq!(with(&apart, 1, |demuxer| demuxer.need()).flatten(), Some(after));
        assert!(with(&apart, 0, Demuxer::next).is_none());
    }
}
