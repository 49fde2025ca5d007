//! The end of everything that waits: Ctrl-C, SIGTERM, or the time an experiment may take.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};

use crate::fault::{Doing, Fault, Tried};

/// How often a wait looks again. Events carry the time at which they were read, so this does not blur what is measured.
const LOOK: Duration = Duration::from_millis(10);

/// Whether to go on. Clones hear the same signal; each may have an end of its own.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    asked: Arc<AtomicBool>,
    given_up: Arc<AtomicBool>,
    end: Instant,
}

impl Watch {
    /// Begins to listen for SIGINT and SIGTERM.
    pub(crate) fn listen() -> Tried<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let heard = Arc::clone(&asked);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .doing("listen for interruptions")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let open = |kind| signal(kind).doing("listen for interruptions");
            (open(SignalKind::interrupt())?, open(SignalKind::terminate())?)
        };
        // Lives as long as the program: a second Ctrl-C changes nothing, since cleaning up is what the first one began.
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    heard.store(true, Ordering::SeqCst);
                }
            });
        });
        let end = Instant::now() + Duration::from_secs(u64::from(u32::MAX));
        Ok(Self { asked, given_up: Arc::default(), end })
    }

    /// The same, but ending `seconds` from now at the latest.
    pub(crate) fn within(&self, seconds: f64) -> Self {
        let end = Instant::now() + Duration::from_secs_f64(seconds);
        Self { end: self.end.min(end), ..self.clone() }
    }

    /// The same for one run: it can be given up by itself.
    pub(crate) fn run_within(&self, seconds: f64) -> Self {
        Self { given_up: Arc::default(), ..self.within(seconds) }
    }

    /// Ends every wait of this run: a part of it failed.
    pub(crate) fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Fails when it is time to end; `what` is what was being waited for.
    pub(crate) fn check(&self, what: &str) -> Tried<()> {
        if self.asked.load(Ordering::SeqCst) {
            return Err(Fault::Interrupted);
        }
        if self.given_up.load(Ordering::SeqCst) {
            return Err(Fault::new(format!("given up while waiting for {what}")));
        }
        if Instant::now() > self.end {
            return Err(Fault::Late(what.to_owned()));
        }
        Ok(())
    }

    /// Waits until `probe` gives something.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        mut probe: impl FnMut() -> Tried<Option<T>>,
    ) -> Tried<T> {
        loop {
            if let Some(found) = probe()? {
                return Ok(found);
            }
            self.check(what)?;
            thread::sleep(LOOK);
        }
    }

    /// Sleeps until `at`.
    pub(crate) fn sleep_until(&self, at: Instant) -> Tried<()> {
        self.until("a pause", || Ok((Instant::now() >= at).then_some(())))
    }
}
