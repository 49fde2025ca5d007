//! Programs of an experiment: started on a host, heard through the JSON lines they print, ended by their process id.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::fault::{Doing, Fault, Tried};
use crate::net::Host;
use crate::watch::Watch;

/// Events kept of one program: the newest are dropped beyond it, so a program that raves cannot fill the memory.
const EVENTS_MAX: usize = 200_000;
/// How long a program may take to end after it was asked to.
const END: Duration = Duration::from_secs(5);
/// Last characters of a program's complaints that are passed on.
const WORDS_MAX: usize = 300;

/// A line that a program printed, and when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// What kind of event it is, in the program's own words.
    pub(crate) kind: String,
    /// The whole object.
    pub(crate) fields: Value,
    /// When the laboratory read it.
    pub(crate) at: Instant,
}

impl Event {
    /// A text field.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }
}

/// A running program; dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Program {
    /// Its name in sentences.
    pub(crate) name: String,
    /// When it was started.
    pub(crate) started: Instant,
    child: Child,
    events: Arc<Mutex<Vec<Event>>>,
    reader: Option<JoinHandle<()>>,
    complaints: PathBuf,
}

impl Program {
    /// Starts `command` on `host`; its complaints go to a file in `folder`.
    pub(crate) fn start(
        host: &Host,
        name: &str,
        command: &mut Command,
        folder: &Path,
    ) -> Tried<Self> {
        let complaints = folder.join(format!("{name}.err"));
        let file = File::create(&complaints).doing("keep what a program says")?;
        // A foreign client ends when its input does, so it gets a pipe that stays open.
        clean(command).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let started = Instant::now();
        let mut child = host.spawn(command)?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let out = child.stdout.take();
        let kept = Arc::clone(&events);
        let reader = thread::spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { break };
                let at = Instant::now();
                let Ok(fields) = serde_json::from_str::<Value>(&line) else { continue };
                let kind = fields.get("event").and_then(Value::as_str).unwrap_or("").to_owned();
                let mut kept = lock(&kept);
                if kept.len() < EVENTS_MAX {
                    kept.push(Event { kind, fields, at });
                }
            }
        });
        let name = name.to_owned();
        Ok(Self { name, started, child, events, reader: Some(reader), complaints })
    }

    /// The first event of a kind so far.
    pub(crate) fn first(&self, kind: &str) -> Option<Event> {
        lock(&self.events).iter().find(|event| event.kind == kind).cloned()
    }

    /// The newest event of a kind.
    pub(crate) fn last(&self, kind: &str) -> Option<Event> {
        lock(&self.events).iter().rev().find(|event| event.kind == kind).cloned()
    }

    /// Waits for the first event of a kind; fails when the program ends without it.
    pub(crate) fn expect(&mut self, kind: &str, watch: &Watch) -> Tried<Event> {
        let what = format!("{} to say `{kind}`", self.name);
        watch.until(&what, || self.so_far(kind))
    }

    /// The first event of a kind so far; fails when the program has ended without it.
    pub(crate) fn so_far(&mut self, kind: &str) -> Tried<Option<Event>> {
        let ended = self.ended();
        match self.first(kind) {
            None if ended => Err(self.fault("ended early")),
            found => Ok(found),
        }
    }

    /// Processor time used so far, seconds; `None` once it has ended.
    pub(crate) fn cpu_s(&self) -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).ok()?;
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
        let ticks = |field: Option<&str>| field?.parse::<f64>().ok();
        let (user, system) = (ticks(fields.next())?, ticks(fields.next())?);
        Some((user + system) / TICKS_PER_S)
    }

    /// Whether it has ended and all it printed was read.
    fn ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
            && self.reader.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// A sentence with its last words.
    pub(crate) fn fault(&self, what: &str) -> Fault {
        let words = fs::read_to_string(&self.complaints).unwrap_or_default();
        let said = lock(&self.events)
            .iter()
            .rev()
            .find(|event| event.kind == "error")
            .map_or_else(String::new, |event| event.fields.to_string());
        let words: String = words.trim().chars().rev().take(WORDS_MAX).collect();
        let words: String = words.chars().rev().collect();
        Fault::new(format!("{} {what}: {said} {words}", self.name))
    }

    /// Asks it to end as Ctrl-C does, and kills it when it does not.
    pub(crate) fn stop(&mut self) -> Option<ExitStatus> {
        self.ask_to_end();
        let end = Instant::now() + END;
        while Instant::now() < end {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.kill();
        None
    }

    /// Sends SIGINT. A process that is not reaped yet keeps its id, so nobody else is hit.
    pub(crate) fn ask_to_end(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        }
    }

    fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Unit of processor time in `/proc`: `USER_HZ`, which Linux fixes at 100 for programs.
const TICKS_PER_S: f64 = 100.0;

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn lock(events: &Mutex<Vec<Event>>) -> MutexGuard<'_, Vec<Event>> {
    events.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An environment without the user's settings and proxies.
fn clean(command: &mut Command) -> &mut Command {
    let proxies =
        ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];
    for key in proxies {
        command.env_remove(key);
    }
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("SHOAL_") {
            command.env_remove(key);
        }
    }
    command.env("LC_ALL", "C.UTF-8").env("NO_COLOR", "1").env("RUST_BACKTRACE", "1")
}
