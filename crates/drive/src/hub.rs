//! From the node's events to those who wait for them: film bytes to their reader, all else to every listener.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::EVENTS_MAX;
use bytes::Bytes;
use shoal_node::io::Event;
use shoal_node::link::{ReaderId, TitleId};
use shoal_wire::metainfo::Info;
use tokio::sync::{broadcast, mpsc, watch};

/// What a reader is told.
#[derive(Debug)]
pub(crate) enum ReaderNews {
    /// The next bytes.
    Data(Bytes),
    /// It is closed, and why.
    Failed(String),
}

/// Where a title stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct TitleNews {
    /// Its metadata, once storage is ready.
    pub(crate) info: Option<Arc<Info>>,
    /// Everything wanted is here.
    pub(crate) complete: bool,
    /// It cannot go on, and why.
    pub(crate) failed: Option<String>,
}

/// Shared by the engine's thread and all handles.
#[derive(Debug)]
pub(crate) struct Hub {
    events: broadcast::Sender<Event>,
    readers: Mutex<HashMap<ReaderId, mpsc::Sender<ReaderNews>>>,
    /// Number of readers that were registered and are not gone, failed ones included.
    reading: watch::Sender<usize>,
    titles: watch::Sender<HashMap<TitleId, TitleNews>>,
}

impl Hub {
    pub(crate) fn new() -> Self {
        Self {
            events: broadcast::Sender::new(EVENTS_MAX),
            readers: Mutex::default(),
            reading: watch::Sender::new(0),
            titles: watch::Sender::new(HashMap::new()),
        }
    }
    fn readers(&self) -> MutexGuard<'_, HashMap<ReaderId, mpsc::Sender<ReaderNews>>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// All events from now on but `Data` and `ReaderFailed`.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
    pub(crate) fn titles(&self) -> watch::Receiver<HashMap<TitleId, TitleNews>> {
        self.titles.subscribe()
    }
    /// A title is about to be added: what happens to it is kept until it is forgotten.
    pub(crate) fn expect_title(&self, title: TitleId) {
        self.titles.send_modify(|titles| drop(titles.insert(title, TitleNews::default())));
    }
    pub(crate) fn forget_title(&self, title: TitleId) {
        self.titles.send_modify(|titles| drop(titles.remove(&title)));
    }
    /// One answer is under way at most, besides a failure.
    pub(crate) fn register(&self, reader: ReaderId) -> mpsc::Receiver<ReaderNews> {
        let (sender, receiver) = mpsc::channel(2);
        self.readers().insert(reader, sender);
        self.reading.send_modify(|count| *count += 1);
        receiver
    }
    pub(crate) fn unregister(&self, reader: ReaderId) {
        self.readers().remove(&reader);
        self.reading.send_modify(|count| *count -= 1);
    }
    pub(crate) fn reading(&self) -> watch::Receiver<usize> {
        self.reading.subscribe()
    }
    /// Hands `event` on.
    pub(crate) fn tell(&self, event: Event) {
        match event {
            Event::Data { reader, data, .. } => {
                if let Some(sender) = self.readers().get(&reader) {
                    // A reader that is gone needs no bytes; one that is there asked for them.
                    let _ = sender.try_send(ReaderNews::Data(data));
                }
                return;
            }
            Event::ReaderFailed { reader, message } => {
                if let Some(sender) = self.readers().remove(&reader) {
                    let _ = sender.try_send(ReaderNews::Failed(message));
                }
                return;
            }
            Event::Ready { title, ref info } => {
                self.update(title, |news| news.info = Some(Arc::clone(info)));
            }
            Event::Complete { title, .. } => self.update(title, |news| news.complete = true),
            Event::Trouble { title: Some(title), ref message, fatal: true } => {
                self.update(title, |news| news.failed = Some(message.clone()));
            }
            _ => {}
        }
        // Nobody listens: nobody wants to know.
        let _ = self.events.send(event);
    }
    fn update(&self, title: TitleId, change: impl FnOnce(&mut TitleNews)) {
        // What is told of one that was removed meanwhile is no news of anybody.
        self.titles.send_if_modified(|titles| titles.get_mut(&title).map(change).is_some());
    }
    /// Nothing will come any more.
    pub(crate) fn close(&self) {
        self.readers().clear();
    }
}
