//! What a peer reports, shown on the terminal or handed to a program, until its summary has been shown.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use shoal_serve::reports::Reports;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;

use crate::output::Output;
use crate::words::{Words, say};

/// The last event is waited for this long; more would mean that nobody tells it any more.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The terminal, shared by what a command says itself and what its peer reports.
#[derive(Clone, Debug)]
pub(crate) struct Console(Arc<Mutex<Output>>);

impl Console {
    /// Talks to programs when `json`, else to people.
    pub(crate) fn new(json: bool, verbose: u8) -> Self {
        Self(Arc::new(Mutex::new(Output::new(json, verbose))))
    }
    /// The output itself, for a moment.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Output> {
        // A line half written is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Shows what `reports` tells from now on, and what it has told that still matters.
    pub(crate) fn follow(&self, reports: &Reports) -> Follower {
        let (told, mut live) = reports.listen();
        let console = self.clone();
        let task = tokio::spawn(async move {
            for line in told {
                console.show(&line);
            }
            loop {
                match live.recv().await {
                    Ok(line) if console.show(&line) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
        Follower(task)
    }
    /// Shows one event; true when it was the last.
    fn show(&self, line: &str) -> bool {
        let mut output = self.lock();
        output.event(line);
        // It was made by us a moment ago.
        let Ok(event) = serde_json::from_str::<Value>(line) else { return false };
        match say(&event) {
            Words::Say(lines) => lines.iter().for_each(|line| output.say(line)),
            Words::Progress(line) => output.progress(&line, Instant::now()),
            Words::Warn(line) => output.warn(&line),
            Words::Detail(line) => output.detail(&line),
            Words::Nothing => {}
        }
        event["event"] == "summary"
    }
}

/// The task that shows reports.
#[derive(Debug)]
pub(crate) struct Follower(JoinHandle<()>);

impl Follower {
    /// Returns once the summary was shown.
    pub(crate) async fn finish(self) {
        // Without last words there is nothing left to show.
        let _ = tokio::time::timeout(LAST_WORDS, self.0).await;
    }
}
