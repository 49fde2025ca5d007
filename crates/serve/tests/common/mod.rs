//! A film in memory behind the viewer's face, and a client that speaks HTTP by hand.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part of it.

pub mod files;

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use shoal_drive::title::CheckProgress;
use shoal_node::io::{Command, Event};
use shoal_node::link::TitleId;
use shoal_node::stats::{CacheView, Counters, PeerView, TitleView};
use shoal_serve::library::{BoxFuture, Entry, Library, Reader};
use shoal_serve::reports::Reports;
use shoal_serve::viewer::{Options, Viewer};
use shoal_wire::metainfo::{FileEntry, Info, Layout};
use shoal_wire::{Hash20, Hash32, InfoHashes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, watch};

pub const HASH: &str = "0101010101010101010101010101010101010101";
pub const UNREADY: &str = "0202020202020202020202020202020202020202";

/// Byte `at` of the film.
pub fn film_byte(at: u64) -> u8 {
    (at.wrapping_mul(2_654_435_761) >> 13) as u8
}

pub fn film(range: Range<u64>) -> Vec<u8> {
    range.map(film_byte).collect()
}

/// Titles in memory: one with a film, a page and an empty file, one whose metadata is not there yet.
pub struct Memory {
    pub info: Arc<Info>,
    /// Bytes of the film that are here; readers wait for more.
    pub here: watch::Sender<u64>,
    /// Readers open now.
    pub open: watch::Sender<usize>,
    /// Readers opened ever, by their ranges.
    pub opened: Mutex<Vec<Range<u64>>>,
    /// Furthest byte handed out.
    pub taken: watch::Sender<u64>,
    /// Readers fail behind this byte.
    pub broken_from: Mutex<u64>,
    pub ready: Mutex<bool>,
    pub events: broadcast::Sender<Event>,
    pub commands: Mutex<Vec<String>>,
}

impl Memory {
    pub fn new(length: u64) -> Arc<Self> {
        let file = |name: &str, length, start, root| FileEntry {
            path: vec![name.to_owned()],
            length,
            start,
            pieces_root: root,
        };
        let info = Info {
            hashes: InfoHashes { v1: Hash20::from_hex(HASH), v2: None },
            raw: Bytes::new(),
            name: "A film".to_owned(),
            folder: true,
            files: vec![
                file("film \"one\".mp4", length, 0, Some(Hash32([7; 32]))),
                file("page.html", 5, length, None),
                file("empty.mp4", 0, length + 5, None),
            ],
            layout: Layout::new(16384, length + 5, Vec::new()).unwrap(),
            piece_hashes: Bytes::new(),
            private: false,
            slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
            time_indexes: Vec::new(),
        };
        Arc::new(Self {
            info: Arc::new(info),
            here: watch::Sender::new(length),
            open: watch::Sender::new(0),
            opened: Mutex::default(),
            taken: watch::Sender::new(0),
            broken_from: Mutex::new(u64::MAX),
            ready: Mutex::new(false),
            events: broadcast::channel(16).0,
            commands: Mutex::default(),
        })
    }
    /// Waits until as many readers are open.
    pub async fn readers(&self, count: usize) {
        self.open.subscribe().wait_for(|open| *open == count).await.unwrap();
    }
    pub fn viewer(self: &Arc<Self>) -> Viewer {
        self.viewer_with(Options::new("127.0.0.1:0".parse().unwrap()))
    }
    pub fn viewer_with(self: &Arc<Self>, options: Options) -> Viewer {
        Viewer::start(options, Arc::new(Shared(Arc::clone(self))), Arc::new(Reports::new()))
            .unwrap()
    }
}

pub struct Shared(pub Arc<Memory>);

struct MemoryReader {
    memory: Arc<Memory>,
    at: u64,
    end: u64,
    here: watch::Receiver<u64>,
}

impl Drop for MemoryReader {
    fn drop(&mut self) {
        self.memory.open.send_modify(|open| *open -= 1);
    }
}

impl Reader for MemoryReader {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>> {
        Box::pin(async move {
            if self.at >= self.end {
                return None;
            }
            if self.at >= *self.memory.broken_from.lock().unwrap() {
                return Some(Err("the disk is gone".to_owned()));
            }
            let at = self.at;
            let here = *self.here.wait_for(|here| *here > at).await.ok()?;
            let end = (at + u64::from(max)).min(self.end).min(here);
            self.at = end;
            self.memory.taken.send_modify(|taken| *taken = (*taken).max(end));
            Some(Ok(film(at..end).into()))
        })
    }
}

impl Library for Shared {
    fn cache(&self) -> BoxFuture<'_, Option<CacheView>> {
        Box::pin(async { Some(CacheView { quota: 1000, used: 400 }) })
    }
    fn titles(&self) -> BoxFuture<'_, Vec<Entry>> {
        let info = Some(Arc::clone(&self.0.info));
        let ready = *self.0.ready.lock().unwrap();
        let entry = move |number, hash, info| Entry {
            title: TitleId(number),
            hashes: InfoHashes { v1: Hash20::from_hex(hash), v2: None },
            info,
            durations_ms: vec![(0, 60_000)],
            check: (number == 1 && !ready).then_some(CheckProgress { done: 30, total: 40 }),
        };
        let other = ready.then(|| Arc::clone(&self.0.info));
        Box::pin(async move { vec![entry(0, HASH, info), entry(1, UNREADY, other)] })
    }
    fn views(&self) -> BoxFuture<'_, Vec<TitleView>> {
        let peer = PeerView {
            link: shoal_node::link::LinkId(2),
            remote: "192.0.2.1:6881".parse().unwrap(),
            client: "<b>evil</b>".to_owned(),
            have: 3,
            down_rate: 1,
            up_rate: 2,
            received: 3,
            sent: 4,
            requests: 5,
            rtt_us: 6,
            predicted_us: None,
            choking_us: false,
            choked: true,
            shoal: true,
            source: false,
        };
        let view = TitleView {
            title: TitleId(0),
            ready: true,
            have: 10,
            length: 20,
            wanted: 20,
            wanted_have: 10,
            down_rate: 30,
            up_rate: 40,
            buffer_ms: 50,
            known_peers: 60,
            counters: Counters { received: 70, ..Counters::default() },
            pieces: vec![0xf0],
            peers: vec![peer],
            trackers: Vec::new(),
        };
        let checked = TitleView {
            title: TitleId(1),
            ready: false,
            have: 0,
            length: 0,
            pieces: Vec::new(),
            peers: Vec::new(),
            ..view.clone()
        };
        Box::pin(async move { vec![view, checked] })
    }
    fn learn<'a>(&'a self, _views: &'a [TitleView]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
    fn open(
        &self,
        _title: TitleId,
        _file: u32,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, String>> {
        self.0.opened.lock().unwrap().push(range.clone());
        self.0.open.send_modify(|open| *open += 1);
        let reader = MemoryReader {
            memory: Arc::clone(&self.0),
            at: range.start,
            end: range.end,
            here: self.0.here.subscribe(),
        };
        Box::pin(async move { Ok(Box::new(reader) as Box<dyn Reader>) })
    }
    fn command(&self, command: Command) -> BoxFuture<'_, ()> {
        self.0.commands.lock().unwrap().push(format!("{command:?}"));
        Box::pin(async {})
    }
    fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }
}

/// A connection that a test speaks over by hand.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    pub async fn connect(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }
    pub async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }
    /// Sends a request with a good host and these header lines.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[&str]) {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{lines}\r\n")).await;
    }
    /// Reads until the end of the head; the head without the empty line.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                self.buffer.drain(..end + 4);
                return head;
            }
            assert!(self.more().await, "closed inside a head: {:?}", self.buffer);
        }
    }
    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) > 0
    }
    /// Takes `count` bytes of a body.
    pub async fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more().await, "closed after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }
    /// Everything until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.buffer)
    }
    /// A whole answer; `head_only` when none of its body comes.
    pub async fn answer(&mut self, head_only: bool) -> Answer {
        let head = self.head().await;
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !head_only && status != 304 {
            answer.body = self.take(length).await;
        }
        answer
    }
    pub async fn get(&mut self, path: &str, headers: &[&str]) -> Answer {
        self.ask("GET", path, headers).await;
        self.answer(false).await
    }
}

pub fn stream_path() -> String {
    format!("/stream/{HASH}/0/film.mp4")
}
