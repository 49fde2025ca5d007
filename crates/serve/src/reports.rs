//! What programs are told: the events of `--json` and of `/api/v1/events`, in one shape made in one place.
//!
//! [`event_json`] is the shape, [`Reports`] hands events to whoever listens (the terminal, the page), [`relay`] makes them
//! out of what a node tells and, once a second, of how its titles stand.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use shoal_drive::title::CheckProgress;
use shoal_node::io::Event;
use shoal_node::link::TitleId;
use shoal_node::stats::{Counters, TitleView};
use shoal_wire::metainfo::FileEntry;
use tokio::sync::broadcast;

use crate::library::{Entry, Library};
use crate::limits::{REPORTS_KEPT_MAX, REPORTS_MAX};

/// One event. Rates are bytes/s, sizes bytes, times ms.
#[derive(Clone, PartialEq, Debug)]
pub enum Report {
    /// Where this program can be reached.
    Listening {
        /// Peers.
        peer: Option<SocketAddr>,
        /// Page, API and films; with the token when one is needed.
        http: Option<String>,
        /// RTSP; with name and password when these are needed.
        rtsp: Option<String>,
    },
    /// A title was made.
    Published {
        /// Magnet link.
        link: String,
        /// The torrent file, if one was written.
        torrent: Option<String>,
        /// v1 name.
        infohash_v1: Option<String>,
        /// v2 name.
        infohash_v2: Option<String>,
        /// Bytes.
        length: u64,
        /// Bytes.
        piece_length: u64,
    },
    /// A title's metadata is known.
    Title {
        /// Its name.
        name: String,
        /// Bytes.
        length: u64,
        /// Its files.
        files: Vec<FileReport>,
        /// Length of its largest film, when known.
        duration_ms: Option<u64>,
        /// It was told before: now more is known of it.
        again: bool,
    },
    /// What was on the disk already is being checked, each second.
    Checking {
        /// Bytes looked at.
        done: u64,
        /// Bytes to look at.
        length: u64,
    },
    /// Smaller qualities of a film are being made, twice a second.
    Encoding {
        /// The film's name.
        file: String,
        /// Lines of each.
        heights: Vec<u32>,
        /// Film that is done.
        done_ms: u64,
        /// Film in all, 0 when unknown.
        duration_ms: u64,
    },
    /// How a title stands, each second.
    Progress {
        /// Bytes here.
        have: u64,
        /// Bytes in all.
        length: u64,
        /// Bytes that are here of those that are wanted, and bytes that are; `None` when all are.
        wanted: Option<(u64, u64)>,
        /// In.
        down_rate: u64,
        /// Out.
        up_rate: u64,
        /// Connected peers.
        peers: usize,
        /// Film ahead of the playhead.
        buffer_ms: u64,
    },
    /// The first frame.
    Playing {
        /// Since it was asked for.
        startup_ms: u64,
    },
    /// A pause nobody asked for is over.
    Stall {
        /// Where.
        position_ms: u64,
        /// How long.
        stalled_ms: u64,
    },
    /// The first frame after a jump.
    Seek {
        /// Where.
        position_ms: u64,
        /// Since the jump.
        latency_ms: u64,
    },
    /// All that is wanted of a title is here.
    Complete {
        /// Bytes of it.
        length: u64,
        /// Since the start.
        seconds: f64,
    },
    /// The last event.
    Summary {
        /// What was done.
        counters: Counters,
        /// The first playback's, when there was one.
        startup_ms: Option<u64>,
        /// Their number.
        stalls: u64,
        /// Their time.
        stalled_ms: u64,
    },
    /// A peer did not do its part and was let go: every day's business of a swarm.
    Dropped {
        /// Where it was.
        remote: SocketAddr,
        /// What it did not do.
        reason: String,
    },
    /// Something the user should read.
    Error {
        /// One sentence.
        message: String,
        /// Whether it was the end.
        fatal: bool,
    },
}

/// A file of [`Report::Title`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Components joined by `/`.
    pub path: String,
    /// Bytes.
    pub length: u64,
    /// Where it is served, when it is.
    pub url: Option<String>,
    /// Its HLS playlist, if it may be taken apart.
    pub hls: Option<String>,
    /// Its DASH manifest, likewise.
    pub dash: Option<String>,
    /// Its address for players that speak RTSP, likewise.
    pub rtsp: Option<String>,
}

/// The object of INTERFACE for `report`, `t_ms` after the start. `infohash` names the title it is about. Absent values have
/// no key.
#[must_use]
pub fn event_json(t_ms: u64, infohash: Option<&str>, report: &Report) -> Value {
    let (event, fields) = fields(report);
    let mut object = Map::new();
    object.insert("event".to_owned(), json!(event));
    object.insert("t_ms".to_owned(), json!(t_ms));
    if let Some(infohash) = infohash {
        object.insert("infohash".to_owned(), json!(infohash));
    }
    if let Value::Object(fields) = fields {
        object.extend(fields.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(object)
}

fn fields(report: &Report) -> (&'static str, Value) {
    match report {
        Report::Listening { peer, http, rtsp } => {
            let text = |address: &Option<SocketAddr>| address.map(|address| address.to_string());
            ("listening", json!({ "peer": text(peer), "http": http, "rtsp": rtsp }))
        }
        Report::Published { link, torrent, infohash_v1, infohash_v2, length, piece_length } => (
            "published",
            json!({
                "link": link, "torrent": torrent, "infohash_v1": infohash_v1,
                "infohash_v2": infohash_v2, "length": length, "piece_length": piece_length,
            }),
        ),
        Report::Title { name, length, files, duration_ms, again } => {
            let files: Vec<_> = files.iter().map(file_json).collect();
            let title = json!({
                "name": name, "length": length, "files": files, "duration_ms": duration_ms,
                "again": again.then_some(true),
            });
            ("title", title)
        }
        Report::Checking { done, length } => {
            ("checking", json!({ "done": done, "length": length }))
        }
        Report::Encoding { file, heights, done_ms, duration_ms } => (
            "encoding",
            json!({
                "file": file, "heights": heights, "done_ms": done_ms, "duration_ms": duration_ms,
            }),
        ),
        Report::Progress { have, length, wanted, down_rate, up_rate, peers, buffer_ms } => (
            "progress",
            json!({
                "have": have, "length": length, "down_rate": down_rate, "up_rate": up_rate,
                "peers": peers, "buffer_ms": buffer_ms,
                "wanted_have": wanted.map(|(have, _)| have), "wanted": wanted.map(|(_, all)| all),
            }),
        ),
        Report::Playing { startup_ms } => ("playing", json!({ "startup_ms": startup_ms })),
        Report::Stall { position_ms, stalled_ms } => {
            ("stall", json!({ "position_ms": position_ms, "stalled_ms": stalled_ms }))
        }
        Report::Seek { position_ms, latency_ms } => {
            ("seek", json!({ "position_ms": position_ms, "latency_ms": latency_ms }))
        }
        Report::Complete { length, seconds } => {
            ("complete", json!({ "length": length, "seconds": seconds }))
        }
        Report::Summary { counters, startup_ms, stalls, stalled_ms } => {
            let mut value = counters_json(counters);
            value["startup_ms"] = json!(startup_ms);
            value["stalls"] = json!(stalls);
            value["stalled_ms"] = json!(stalled_ms);
            ("summary", value)
        }
        Report::Dropped { remote, reason } => {
            ("dropped", json!({ "remote": remote, "reason": reason }))
        }
        Report::Error { message, fatal } => {
            ("error", json!({ "message": message, "fatal": fatal }))
        }
    }
}

fn file_json(file: &FileReport) -> Value {
    let mut value = json!({ "path": file.path, "length": file.length });
    let addresses =
        [("url", &file.url), ("hls", &file.hls), ("dash", &file.dash), ("rtsp", &file.rtsp)];
    for (key, address) in addresses {
        if let Some(address) = address {
            value[key] = json!(address);
        }
    }
    value
}

/// Counters by the names of INTERFACE, and the rest beside them.
#[must_use]
pub fn counters_json(counters: &Counters) -> Value {
    json!({
        "received": counters.received, "useful": counters.useful,
        "duplicate": counters.duplicate, "wasted": counters.wasted, "sent": counters.sent,
        "from_peers": counters.from_peers, "from_server": counters.from_server,
        "hedged": counters.hedged, "messages_in": counters.messages_in,
        "messages_out": counters.messages_out, "hash_failures": counters.hash_failures,
        "left": counters.left, "evicted": counters.evicted,
    })
}

/// Hands events to all who listen. Cheap to share.
#[derive(Debug)]
pub struct Reports {
    start: Instant,
    live: broadcast::Sender<Arc<str>>,
    kept: Mutex<Kept>,
}

/// What later listeners are told first, and what the summary says of playback.
#[derive(Debug, Default)]
struct Kept {
    lines: BTreeMap<(u8, Option<String>), Arc<str>>,
    startup_ms: Option<u64>,
    stalls: u64,
    stalled_ms: u64,
}

impl Default for Reports {
    fn default() -> Self {
        Self::new()
    }
}

impl Reports {
    /// Time counts from now.
    #[must_use]
    pub fn new() -> Self {
        let (live, _) = broadcast::channel(REPORTS_MAX);
        Self { start: Instant::now(), live, kept: Mutex::default() }
    }
    /// Milliseconds since the start.
    #[must_use]
    pub fn t_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing is done under the lock that can panic half-way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Tells all who listen. `infohash` names the title it is about.
    pub fn tell(&self, infohash: Option<&str>, report: &Report) {
        let line: Arc<str> = event_json(self.t_ms(), infohash, report).to_string().into();
        let order = match report {
            Report::Listening { .. } => Some(0),
            Report::Published { .. } => Some(1),
            Report::Title { .. } => Some(2),
            Report::Complete { .. } => Some(3),
            _ => None,
        };
        let mut kept = self.kept();
        if let Some(order) = order
            && kept.lines.len() < REPORTS_KEPT_MAX
        {
            kept.lines.insert((order, infohash.map(str::to_owned)), Arc::clone(&line));
        }
        match report {
            Report::Playing { startup_ms } => {
                kept.startup_ms.get_or_insert(*startup_ms);
            }
            Report::Stall { stalled_ms, .. } => {
                kept.stalls += 1;
                kept.stalled_ms = kept.stalled_ms.saturating_add(*stalled_ms);
            }
            _ => {}
        }
        // Under the lock, so that a new listener misses nothing and hears nothing twice. Nobody may be listening.
        let _ = self.live.send(line);
    }
    /// What was told that still matters, and a receiver of what comes.
    #[must_use]
    pub fn listen(&self) -> (Vec<Arc<str>>, broadcast::Receiver<Arc<str>>) {
        let kept = self.kept();
        (kept.lines.values().cloned().collect(), self.live.subscribe())
    }
    /// The last event, from the counters of all titles.
    #[must_use]
    pub fn summary<'c>(&self, counters: impl IntoIterator<Item = &'c Counters>) -> Report {
        let mut sum = Counters::default();
        for one in counters {
            sum.received += one.received;
            sum.useful += one.useful;
            sum.duplicate += one.duplicate;
            sum.wasted += one.wasted;
            sum.sent += one.sent;
            sum.from_peers += one.from_peers;
            sum.from_server += one.from_server;
            sum.hedged += one.hedged;
            sum.messages_in += one.messages_in;
            sum.messages_out += one.messages_out;
            sum.hash_failures += one.hash_failures;
            sum.left += one.left;
            sum.evicted += one.evicted;
        }
        let kept = self.kept();
        Report::Summary {
            counters: sum,
            startup_ms: kept.startup_ms,
            stalls: kept.stalls,
            stalled_ms: kept.stalled_ms,
        }
    }
}

/// Where films are served: what stands before all their addresses; `None` where they are not.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Faces {
    /// Before `/stream/`, `/hls/` and `/dash/`.
    pub http: Option<String>,
    /// Before the hash, with name and password when these are needed.
    pub rtsp: Option<String>,
}

/// Makes reports of a library until it stops: of each event at once, of its titles' progress each second. Returns at the
/// node's `Stopped`, or when its events end.
pub async fn relay(library: Arc<dyn Library>, reports: Arc<Reports>, faces: Faces) {
    let mut events = library.events();
    let mut second = tokio::time::interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut told = Told::new();
    loop {
        tokio::select! {
            event = events.recv() => {
                let event = match event {
                    Ok(event) => event,
                    Err(broadcast::error::RecvError::Lagged(_)) => continue,
                    Err(broadcast::error::RecvError::Closed) => return,
                };
                if matches!(event, Event::Stopped) {
                    return;
                }
                let titles = library.titles().await;
                tell_titles(&reports, &titles, &mut told, &faces);
                tell_event(&reports, &titles, &event);
            }
            _ = second.tick() => {
                let views = library.views().await;
                library.learn(&views).await;
                let titles = library.titles().await;
                tell_titles(&reports, &titles, &mut told, &faces);
                for view in views {
                    let entry = titles.iter().find(|entry| entry.title == view.title);
                    let report = match entry.and_then(|entry| entry.check) {
                        Some(CheckProgress { done, total }) if !view.ready => {
                            Report::Checking { done, length: total }
                        }
                        _ => progress(&view),
                    };
                    reports.tell(entry.map(Entry::name).as_deref(), &report);
                }
            }
        }
    }
}

/// How a title stands.
#[must_use]
pub fn progress(view: &TitleView) -> Report {
    Report::Progress {
        have: view.have,
        length: view.length,
        wanted: (view.wanted < view.length).then_some((view.wanted_have, view.wanted)),
        down_rate: view.down_rate,
        up_rate: view.up_rate,
        peers: view.peers.len(),
        buffer_ms: view.buffer_ms,
    }
}

fn name_of(titles: &[Entry], title: TitleId) -> Option<String> {
    titles.iter().find(|entry| entry.title == title).map(Entry::name)
}

/// Titles that were told of, and the length of their films as it was told.
type Told = BTreeMap<TitleId, Option<u64>>;

/// Tells of titles whose metadata became known, and again when the length of their films did.
fn tell_titles(reports: &Reports, titles: &[Entry], told: &mut Told, faces: &Faces) {
    told.retain(|title, _| titles.iter().any(|entry| entry.title == *title));
    for entry in titles {
        let last = told.get(&entry.title).copied();
        if last.is_some_and(|last| last == entry.duration_ms()) {
            continue;
        }
        if let Some(mut report) = title_report(entry, faces) {
            if let Report::Title { again, .. } = &mut report {
                *again = last.is_some();
            }
            told.insert(entry.title, entry.duration_ms());
            reports.tell(Some(&entry.name()), &report);
        }
    }
}

/// What is told of file `number` of the title that is called `hash` in addresses.
#[must_use]
pub fn file_report(hash: &str, number: u32, file: &FileEntry, faces: &Faces) -> FileReport {
    let name = file.path.last().map_or("", String::as_str);
    let has_frames = crate::kind::has_frames(name);
    let name = crate::kind::percent(name);
    let at = |base: &Option<String>, path: String| base.as_ref().map(|it| format!("{it}/{path}"));
    let taken_apart = |base, path| has_frames.then(|| at(base, path)).flatten();
    FileReport {
        path: file.path.join("/"),
        length: file.length,
        url: at(&faces.http, format!("stream/{hash}/{number}/{name}")),
        hls: taken_apart(&faces.http, format!("hls/{hash}/{number}/main.m3u8")),
        dash: taken_apart(&faces.http, format!("dash/{hash}/{number}/manifest.mpd")),
        rtsp: taken_apart(&faces.rtsp, format!("{hash}/{number}/{name}")),
    }
}

/// The report of a title; `None` until its metadata is known.
#[must_use]
pub fn title_report(entry: &Entry, faces: &Faces) -> Option<Report> {
    let info = entry.info.as_ref()?;
    let hash = entry.name();
    let files = info.files.iter().zip(0u32..);
    let files = files.map(|(file, number)| file_report(&hash, number, file, faces));
    Some(Report::Title {
        name: info.name.clone(),
        length: info.length(),
        files: files.collect(),
        duration_ms: entry.duration_ms(),
        again: false,
    })
}

fn tell_event(reports: &Reports, titles: &[Entry], event: &Event) {
    let (title, report) = match event {
        Event::Complete { title, length } => {
            let seconds = reports.t_ms() as f64 / 1000.0;
            (Some(*title), Report::Complete { length: *length, seconds })
        }
        Event::Playing { title, startup_ms, .. } => {
            (Some(*title), Report::Playing { startup_ms: *startup_ms })
        }
        Event::Stall { title, position_ms, stalled_ms, .. } => {
            let (position_ms, stalled_ms) = (*position_ms, *stalled_ms);
            (Some(*title), Report::Stall { position_ms, stalled_ms })
        }
        Event::Seek { title, position_ms, latency_ms, .. } => {
            let (position_ms, latency_ms) = (*position_ms, *latency_ms);
            (Some(*title), Report::Seek { position_ms, latency_ms })
        }
        Event::Trouble { title, message, fatal } => {
            (*title, Report::Error { message: message.clone(), fatal: *fatal })
        }
        Event::Banned { remote, reason } => {
            let message = format!("The peer {remote} was shut out: {reason}.");
            (None, Report::Error { message, fatal: false })
        }
        Event::Dropped { remote, reason } => {
            (None, Report::Dropped { remote: *remote, reason: reason.to_string() })
        }
        _ => return,
    };
    reports.tell(title.and_then(|title| name_of(titles, title)).as_deref(), &report);
}

#[cfg(test)]
mod tests {
    use super::{Event, FileReport, Report, Reports, TitleId, event_json, tell_event};
    use serde_json::json;
    use shoal_node::stats::Counters;

    #[test]
    fn events_have_the_fields_of_the_interface() {
        let listening = Report::Listening {
            peer: "127.0.0.1:6881".parse().ok(),
            http: Some("http://127.0.0.1:8080".to_owned()),
            rtsp: None,
        };
        assert_eq!(
            event_json(7, None, &listening),
            json!({"event": "listening", "t_ms": 7, "peer": "127.0.0.1:6881", "http": "http://127.0.0.1:8080"})
        );
        let title = Report::Title {
            name: "Film".to_owned(),
            length: 5,
            files: vec![FileReport {
                path: "a/b.mp4".to_owned(),
                length: 5,
                url: None,
                hls: None,
                dash: None,
                rtsp: None,
            }],
            duration_ms: None,
            again: false,
        };
        assert_eq!(
            event_json(8, Some("ab"), &title),
            json!({"event": "title", "t_ms": 8, "infohash": "ab", "name": "Film", "length": 5,
                   "files": [{"path": "a/b.mp4", "length": 5}]})
        );
        let encoding = Report::Encoding {
            file: "a.mp4".to_owned(),
            heights: vec![720, 480],
            done_ms: 1,
            duration_ms: 2,
        };
        assert_eq!(
            event_json(8, None, &encoding),
            json!({"event": "encoding", "t_ms": 8, "file": "a.mp4", "heights": [720, 480], "done_ms": 1, "duration_ms": 2})
        );
        assert_eq!(
            event_json(8, None, &Report::Checking { done: 3, length: 9 }),
            json!({"event": "checking", "t_ms": 8, "done": 3, "length": 9})
        );
        let stall = Report::Stall { position_ms: 1, stalled_ms: 2 };
        assert_eq!(
            event_json(9, None, &stall),
            json!({"event": "stall", "t_ms": 9, "position_ms": 1, "stalled_ms": 2})
        );
        let remote = "[::1]:6881".parse().expect("an address");
        let dropped = Report::Dropped { remote, reason: "it said nothing".to_owned() };
        assert_eq!(
            event_json(10, None, &dropped),
            json!({"event": "dropped", "t_ms": 10, "remote": "[::1]:6881", "reason": "it said nothing"})
        );
    }

    #[test]
    fn the_summary_adds_titles_and_stalls() {
        let reports = Reports::new();
        reports.tell(None, &Report::Playing { startup_ms: 300 });
        reports.tell(None, &Report::Playing { startup_ms: 900 });
        reports.tell(None, &Report::Stall { position_ms: 5, stalled_ms: 40 });
        reports.tell(None, &Report::Stall { position_ms: 6, stalled_ms: 2 });
        let one = Counters { received: 10, sent: 1, ..Counters::default() };
        let two = Counters { received: 5, ..Counters::default() };
        let value = event_json(0, None, &reports.summary([&one, &two]));
        for (key, expected) in
            [("received", 15), ("sent", 1), ("startup_ms", 300), ("stalls", 2), ("stalled_ms", 42)]
        {
            assert_eq!(value[key], json!(expected), "{key}");
        }
    }

    #[test]
    fn how_much_is_complete_is_told_although_the_title_has_left_since() {
        let reports = Reports::new();
        let (_, mut live) = reports.listen();
        tell_event(&reports, &[], &Event::Complete { title: TitleId(0), length: 300_000 });
        assert!(live.try_recv().is_ok_and(|line| line.contains("\"length\":300000")));
    }

    #[test]
    fn who_comes_later_is_told_what_still_matters_and_nothing_twice() {
        let reports = Reports::new();
        let listening = |port: u16| Report::Listening {
            peer: Some(([127, 0, 0, 1], port).into()),
            http: None,
            rtsp: None,
        };
        reports.tell(None, &listening(1));
        reports.tell(None, &Report::Stall { position_ms: 1, stalled_ms: 1 });
        reports.tell(None, &listening(2));
        let (past, mut live) = reports.listen();
        assert_eq!(past.len(), 1);
        assert!(past[0].contains("127.0.0.1:2"), "{past:?}");
        assert!(live.try_recv().is_err());
        reports.tell(None, &listening(3));
        assert!(live.try_recv().is_ok_and(|line| line.contains("127.0.0.1:3")));
    }
}
