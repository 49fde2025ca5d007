//! Ctrl-C and SIGTERM: the first asks everything to end well, the second ends the process at once.

use std::time::Duration;

use tokio::sync::watch;

use crate::error::Error;

/// Tells every part of a command when to stop. Clones see the same.
#[derive(Clone, Debug)]
pub(crate) struct Stop {
    asked: watch::Receiver<bool>,
}

/// Exit status after an interruption, as shells know it.
const INTERRUPTED: i32 = 130;
/// Signals closer together than this are one.
const ONE_WISH: Duration = Duration::from_millis(200);

impl Stop {
    /// Begins to listen for the user's interruptions; to be called inside a runtime.
    pub(crate) fn listen() -> Result<Self, Error> {
        let mut signals = Signals::new().map_err(|error| {
            Error::new(format!("interruptions cannot be listened for: {error}"))
        })?;
        let (tell, asked) = watch::channel(false);
        tokio::spawn(async move {
            signals.next().await;
            // Nobody may be left to hear it: then the program is ending anyway.
            let _ = tell.send(true);
            // Wrappers such as `timeout` signal the program and then its group: that is one wish, not two.
            let once = tokio::time::sleep(ONE_WISH);
            tokio::pin!(once);
            loop {
                tokio::select! {
                    () = &mut once => break,
                    () = signals.next() => {}
                }
            }
            signals.next().await;
            std::process::exit(INTERRUPTED);
        });
        Ok(Self { asked })
    }
    /// Returns once the user asked to stop.
    pub(crate) async fn asked(&mut self) {
        // The sender lives as long as its task, which never ends before it has told.
        let _ = self.asked.wait_for(|asked| *asked).await;
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }
    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
