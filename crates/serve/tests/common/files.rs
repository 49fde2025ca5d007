//! Whole files in memory behind the viewer's face.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use shoal_node::io::{Command, Event};
use shoal_node::link::TitleId;
use shoal_node::stats::{CacheView, TitleView};
use shoal_serve::library::{BoxFuture, Entry, Library, Reader};
use shoal_serve::reports::Reports;
use shoal_serve::viewer::{Options, Viewer};
use shoal_wire::metainfo::{FileEntry, Info, Layout, TimeIndexRef};
use shoal_wire::{Hash20, InfoHashes};
use tokio::sync::broadcast;

use super::HASH;

/// A title of these files, all of it here; where there are two, the second is the time index of the first.
pub struct Files {
    info: Arc<Info>,
    files: Vec<Bytes>,
    /// Bytes that were read of each; `None` where nothing ever comes.
    read: Vec<Option<Arc<AtomicU64>>>,
    events: broadcast::Sender<Event>,
    seen: Arc<Seen>,
}

/// What was asked of a library.
#[derive(Default)]
pub struct Seen {
    /// Readers so far, by file, and those that are open.
    pub opened: Mutex<Vec<(u32, Arc<()>)>>,
    /// Files that were to be fetched before others.
    pub preferred: Mutex<Vec<u32>>,
}

impl Seen {
    /// Readers of a file so far.
    pub fn opened(&self, file: u32) -> usize {
        self.opened.lock().unwrap().iter().filter(|it| it.0 == file).count()
    }
    /// And those that are open.
    pub fn open(&self, file: u32) -> usize {
        let all = self.opened.lock().unwrap();
        all.iter().filter(|it| it.0 == file && Arc::strong_count(&it.1) > 1).count()
    }
}

impl Files {
    pub fn viewer(files: &[&[u8]]) -> Viewer {
        let names: Vec<String> = (0..files.len()).map(|number| format!("{number}.mkv")).collect();
        let named: Vec<_> = names.iter().map(String::as_str).zip(files.iter().copied()).collect();
        Self::named(&named)
    }
    pub fn named(files: &[(&str, &[u8])]) -> Viewer {
        Self::counted(files).0
    }
    /// Files without a byte are told to have one, which never comes.
    pub fn counted(files: &[(&str, &[u8])]) -> (Viewer, Vec<Arc<AtomicU64>>) {
        let (viewer, counters, _) = Self::observed(files);
        (viewer, counters)
    }
    /// And with what was asked of them.
    pub fn observed(files: &[(&str, &[u8])]) -> (Viewer, Vec<Arc<AtomicU64>>, Arc<Seen>) {
        let mut start = 0;
        let mut entries = Vec::new();
        for (name, file) in files {
            let length = file.len().max(1) as u64;
            let path = vec![(*name).to_owned()];
            entries.push(FileEntry { path, length, start, pieces_root: None });
            start += length;
        }
        let reference = TimeIndexRef { film: 0, index: 1 };
        let info = Info {
            hashes: InfoHashes { v1: Hash20::from_hex(HASH), v2: None },
            raw: Bytes::new(),
            name: "A film".to_owned(),
            folder: true,
            files: entries,
            layout: Layout::new(16384, start, Vec::new()).unwrap(),
            piece_hashes: Bytes::new(),
            private: false,
            slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
            time_indexes: if files.len() == 2 { vec![reference] } else { Vec::new() },
        };
        let files = files.iter().map(|(_, file)| Bytes::copy_from_slice(file)).collect();
        let files: Vec<Bytes> = files;
        let events = broadcast::channel(16).0;
        let counters: Vec<Arc<AtomicU64>> = files.iter().map(|_| Arc::default()).collect();
        let comes = |(file, counter): (&Bytes, &Arc<AtomicU64>)| {
            (!file.is_empty()).then(|| Arc::clone(counter))
        };
        let read = files.iter().zip(&counters).map(comes).collect();
        let seen = Arc::<Seen>::default();
        let library =
            Arc::new(Self { info: Arc::new(info), files, read, events, seen: Arc::clone(&seen) });
        let mut options = Options::new("127.0.0.1:0".parse().unwrap());
        options.limits.metadata_wait = Duration::from_millis(300);
        let viewer = Viewer::start(options, library, Arc::new(Reports::new())).unwrap();
        (viewer, counters, seen)
    }
}

struct FileReader(
    Bytes,
    Arc<AtomicU64>,
    #[expect(dead_code, reason = "it says that it lives")] Arc<()>,
);

/// Of a file that nobody has.
struct Nothing;

impl Reader for Nothing {
    fn next(&mut self, _max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>> {
        Box::pin(std::future::pending())
    }
}

impl Reader for FileReader {
    fn next(&mut self, max: u32) -> BoxFuture<'_, Option<Result<Bytes, String>>> {
        // In odd portions, as they come from peers.
        let portion = self.0.split_to(self.0.len().min(max as usize).min(1777));
        self.1.fetch_add(portion.len() as u64, Ordering::Relaxed);
        Box::pin(async move { (!portion.is_empty()).then_some(Ok(portion)) })
    }
}

impl Library for Files {
    fn titles(&self) -> BoxFuture<'_, Vec<Entry>> {
        let entry = Entry {
            title: TitleId(0),
            hashes: self.info.hashes,
            info: Some(Arc::clone(&self.info)),
            durations_ms: Vec::new(),
            check: None,
        };
        Box::pin(async move { vec![entry] })
    }
    fn views(&self) -> BoxFuture<'_, Vec<TitleView>> {
        Box::pin(async { Vec::new() })
    }
    fn cache(&self) -> BoxFuture<'_, Option<CacheView>> {
        Box::pin(async { None })
    }
    fn learn<'a>(&'a self, _views: &'a [TitleView]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
    fn open(
        &self,
        _title: TitleId,
        file: u32,
        range: Range<u64>,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, String>> {
        let range = range.start as usize..range.end as usize;
        let lives = Arc::new(());
        self.seen.opened.lock().unwrap().push((file, Arc::clone(&lives)));
        let file = file as usize;
        let reader: Box<dyn Reader> = match &self.read[file] {
            Some(read) => {
                Box::new(FileReader(self.files[file].slice(range), Arc::clone(read), lives))
            }
            None => Box::new(Nothing),
        };
        Box::pin(async move { Ok(reader) })
    }
    fn command(&self, command: Command) -> BoxFuture<'_, ()> {
        if let Command::Prefer { file, .. } = command {
            self.seen.preferred.lock().unwrap().push(file);
        }
        Box::pin(async {})
    }
    fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
