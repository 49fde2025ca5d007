//! Reads a film's frames ahead of a session, as far as its memory goes.

use std::sync::{Arc, Mutex, PoisonError};

use shoal_media::Presentation;
use shoal_media::demux::{Demuxer, Frame};
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

/// What takes the film apart for a session. It outlives a feed, so that what is counted in a film goes on behind a jump. Used by one task
/// at a time.
pub(super) type SharedDemuxer = Arc<Mutex<Demuxer>>;

impl Feed {
    /// Of what `demuxer` gives, which nobody else may use as long as the feed is there.
    pub(super) fn new(source: &Source, demuxer: SharedDemuxer) -> Self {
        let (sender, frames) = mpsc::channel(FEED_FRAMES_MAX);
        let reading = tokio::spawn(read(source.clone(), demuxer, sender));
        Self { frames, reading }
    }
    /// The next frame; `None` at the end. Waits until it is here. Abandoning the future loses nothing.
    pub(super) async fn next(&mut self) -> Option<Result<Fed, String>> {
        self.frames.recv().await
    }
}

async fn read(source: Source, demuxer: SharedDemuxer, sender: mpsc::Sender<Result<Fed, String>>) {
    // Never held over a wait.
    let demuxer = || demuxer.lock().unwrap_or_else(PoisonError::into_inner);
    let budget = Arc::new(Semaphore::new(FEED_BYTES_MAX as usize));
    let film = (source.title, source.file);
    let mut places = Places::new(Arc::clone(&source.library), film, source.length);
    loop {
        loop {
            let Some(frame) = demuxer().next() else { break };
            // A frame larger than all of it takes all of it.
            let size = u32::try_from(frame.data.len()).unwrap_or(u32::MAX).clamp(1, FEED_BYTES_MAX);
            let Ok(share) = Arc::clone(&budget).acquire_many_owned(size).await else { return };
            if sender.send(Ok(Fed { frame, _share: share })).await.is_err() {
                return;
            }
        }
        let Some(range) = demuxer().need() else { return };
        let came = match places.read(&range, CHUNK_BYTES).await {
            Ok(bytes) => demuxer().feed(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        if let Err(error) = came {
            // Nobody hears it when the session is gone.
            let _ = sender.send(Err(error)).await;
            return;
        }
    }
}
