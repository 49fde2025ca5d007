//! Hashing of files to publish, on a thread of its own: its progress is shown, and it ends when it is not wanted any more.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shoal_drive::publish::PublishProgress;
use tokio::task::JoinHandle;

use crate::console::Console;
use crate::error::Error;
use crate::publication::{Choices, Made, make};
use crate::units::Bytes;

/// How often the progress of hashing is shown.
const LOOK: Duration = Duration::from_secs(1);

/// Hashing under way. Dropping it stops it soon; [`Hashing::stop`] waits until it has.
#[derive(Debug)]
pub(crate) struct Hashing {
    progress: Arc<PublishProgress>,
    work: JoinHandle<Result<Made, Error>>,
}

impl Hashing {
    /// Begins to make the title of `paths`; to be called inside a runtime.
    pub(crate) fn start(paths: Vec<PathBuf>, choices: Choices, state: PathBuf) -> Self {
        let progress = Arc::<PublishProgress>::default();
        let shared = Arc::clone(&progress);
        let work = tokio::task::spawn_blocking(move || make(&paths, &choices, &state, &shared));
        Self { progress, work }
    }
    /// Waits for the title, and says on the way how far it is.
    pub(crate) async fn made(&mut self, console: &Console) -> Result<Made, Error> {
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                made = &mut self.work => return made.unwrap_or_else(|_| {
                    // A panic was printed where it happened.
                    Err(Error::new("hashing ended early; see what was said before"))
                }),
                _ = tick.tick() => {
                    let total = self.progress.total.load(Ordering::Relaxed);
                    let done = self.progress.done.load(Ordering::Relaxed);
                    if let Some(percent) = done.saturating_mul(100).checked_div(total) {
                        let line = format!("hashing   {percent} % of {}", Bytes(total));
                        console.lock().progress(&line, Instant::now());
                    }
                }
            }
        }
    }
    /// Ends it, and returns once it touches no file any more.
    pub(crate) async fn stop(mut self) {
        self.progress.cancelled.store(true, Ordering::Relaxed);
        if !self.work.is_finished() {
            // That it was cancelled is what it says now.
            let _ = (&mut self.work).await;
        }
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        self.progress.cancelled.store(true, Ordering::Relaxed);
    }
}
