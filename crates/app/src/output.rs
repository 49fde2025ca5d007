//! What the program says: sentences and progress for people, or one JSON object per line for programs.
//!
//! Results go to stdout, progress and troubles to stderr. A progress line is rewritten in place on a terminal; elsewhere
//! it is an ordinary line, at most every few seconds, so that logs stay readable. A reader that went away (a closed pipe) is
//! no reason to stop serving: what cannot be written is dropped.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// Time between two progress lines where they are not rewritten in place.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The one place from which a command talks.
#[derive(Debug)]
pub(crate) struct Output {
    json: bool,
    verbose: u8,
    terminal: bool,
    /// A progress line stands on the terminal without its end.
    open: bool,
    progressed: Option<Instant>,
    /// The last progress line: what did not change is not said again in a log.
    last: String,
    /// The last trouble: a failure that follows from it has the same sentence.
    warned: String,
}

impl Output {
    /// For programs when `json`, else for people.
    pub(crate) fn new(json: bool, verbose: u8) -> Self {
        Self {
            json,
            verbose,
            terminal: stderr().is_terminal(),
            open: false,
            progressed: None,
            last: String::new(),
            warned: String::new(),
        }
    }
    /// Whether it talks to a program.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }
    /// An event, already in JSON; people do not see it.
    pub(crate) fn event(&mut self, json: &str) {
        if self.json {
            // A line is written whole, or a reader of a pipe sees halves.
            let mut out = stdout().lock();
            let _ = writeln!(out, "{json}").and_then(|()| out.flush());
        }
    }
    /// A line for people on stdout.
    pub(crate) fn say(&mut self, line: &str) {
        if !self.json {
            self.end_progress();
            let mut out = stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    }
    /// A trouble, on stderr, for people and logs alike; not when it was the last one, too.
    pub(crate) fn warn(&mut self, line: &str) {
        if self.warned != line {
            line.clone_into(&mut self.warned);
            self.log(line);
        }
    }
    /// Whether `line` was the last trouble.
    pub(crate) fn has_warned(&self, line: &str) -> bool {
        self.warned == line
    }
    fn log(&mut self, line: &str) {
        self.end_progress();
        let _ = writeln!(stderr(), "shoal: {line}");
    }
    /// A line on stderr for who asked for more with `-v`.
    pub(crate) fn detail(&mut self, line: &str) {
        if self.verbose > 0 {
            self.log(line);
        }
    }
    /// How far it is; call it each second.
    pub(crate) fn progress(&mut self, line: &str, now: Instant) {
        if self.json {
            return;
        }
        if self.terminal {
            // Clear to the end of the line: the last one may have been longer.
            let mut err = stderr();
            let _ = write!(err, "\r{line}\x1b[K").and_then(|()| err.flush());
            self.open = true;
        } else if self.last != line && self.progressed.is_none_or(|last| now - last >= LOG_INTERVAL)
        {
            let _ = writeln!(stderr(), "{line}");
            self.progressed = Some(now);
            line.clone_into(&mut self.last);
        }
    }
    fn end_progress(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(stderr());
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.end_progress();
    }
}
