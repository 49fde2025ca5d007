//! The face of a running node for programs: add titles, send commands, hear events, read film bytes, stop.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant as Clock;

use bytes::Bytes;
use shoal_node::Stack;
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, Command, Event};
use shoal_node::link::{ReaderId, TitleId};
use shoal_node::record::Header;
use shoal_node::rng::Seed;
use shoal_node::stats::{CacheView, TitleView};
use shoal_node::time::Instant;
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::Info;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::LocalSet;

use crate::address::Trusted;
use crate::clock::NodeClock;
use crate::config::{CONNECTIONS_MAX, DESCRIPTORS_SPARE, OPEN_FILES_MAX, READ_MAX, REQUESTS_MAX};
use crate::engine::{self, Parts, Request, Signals};
use crate::error::DriveError;
use crate::hub::{Hub, ReaderNews, TitleNews};
use crate::pool::{Pool, TitleOptions, Titles};
use crate::recording::Recording;
use crate::resume::StateFolder;
use crate::sockets::{Sockets, raise_descriptor_limit};
use crate::storage::{Descriptors, Place};
use crate::title::CheckProgress;

/// How to start an engine.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// Where to listen, TCP and UDP; both families when unspecified, any port when 0.
    pub listen: SocketAddr,
    /// Settings of the node; its `listen_port` is filled in.
    pub config: Config,
    /// Where to remember what was verified; `None` remembers nothing.
    pub state: Option<PathBuf>,
    /// Where films that are watched are kept, and how much of the disk they may take; `None` is no limit. Needs `state`.
    pub cache: Option<CacheOptions>,
    /// Write all inputs of the node to this file.
    pub record: Option<PathBuf>,
    /// Trackers that the user named, by their URLs: their names may lead into local networks. Those of a torrent or a magnet
    /// may not.
    pub trusted_trackers: Vec<String>,
    /// Seed of all random choices; `None` takes one from the system.
    pub seed: Option<Seed>,
}

/// Films that are watched, each in a folder of its own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheOptions {
    /// The folder of those folders.
    pub folder: PathBuf,
    /// Bytes that they may take on the disk, all together.
    pub quota: u64,
}

impl Default for EngineOptions {
    /// Any port of all addresses, nothing remembered.
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 0).into(),
            config: Config::default(),
            state: None,
            cache: None,
            record: None,
            trusted_trackers: Vec::new(),
            seed: None,
        }
    }
}

/// A running node. Clones are handles to the same one; when the last is dropped it shuts down by itself.
#[derive(Clone, Debug)]
pub struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requests: mpsc::Sender<Request>,
    signals: Arc<Signals>,
    hub: Arc<Hub>,
    titles: Arc<Titles>,
    /// Of the cache.
    quota: Option<u64>,
    listen: SocketAddr,
    next_title: AtomicU32,
    next_reader: AtomicU32,
    stopped: watch::Receiver<bool>,
    thread: std::sync::Mutex<Option<JoinHandle<()>>>,
}

impl Engine {
    /// Starts a node on a thread of its own.
    ///
    /// # Errors
    /// When the state folder is in use or the address is taken: the sentence says what to do.
    pub fn start(options: EngineOptions) -> Result<Self, DriveError> {
        let descriptors = raise_descriptor_limit();
        let files = OPEN_FILES_MAX.min(descriptors / 4);
        let connections =
            descriptors.saturating_sub(files + DESCRIPTORS_SPARE).min(CONNECTIONS_MAX);
        let state = options.state.as_deref().map(StateFolder::open).transpose()?.map(Arc::new);
        let sockets = Sockets::open(options.listen, options.config.discover.local)?;
        let listen = sockets.listen;
        let config = Config { listen_port: listen.port(), ..options.config };
        let seed = options.seed.map_or_else(|| random_words().map(Seed), Ok)?;
        let header = Header::new(&config, seed, Instant::ZERO);
        let recording =
            options.record.as_deref().map(|path| Recording::begin(path, &header)).transpose()?;
        let files = usize::try_from(files).unwrap_or(usize::MAX);
        let quota = options.cache.as_ref().map(|cache| cache.quota);
        let folder = options.cache.map(|cache| cache.folder);
        let titles = Arc::new(Titles::new(Arc::new(Descriptors::new(files)), state, folder));
        let signals = Arc::new(Signals::default());
        let waker = Arc::clone(&signals);
        let no_thread = |source| DriveError::Socket {
            action: "start a thread for",
            address: listen.to_string(),
            source,
        };
        let pool = Pool::start(Arc::clone(&titles), move || waker.wake.notify_one());
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        let hub = Arc::new(Hub::new());
        let parts = Parts {
            stack: Stack::new(Arc::new(config), seed, Instant::ZERO),
            clock: NodeClock::new(Clock::now()),
            sockets,
            pool: pool.map_err(no_thread)?,
            requests: receiver,
            signals: Arc::clone(&signals),
            hub: Arc::clone(&hub),
            recording,
            connections_max: usize::try_from(connections).unwrap_or(usize::MAX),
            trusted: Trusted::new(&options.trusted_trackers),
        };
        let (stopped_sender, stopped) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(8)
            .build()
            .map_err(no_thread)?;
        let thread = spawn(runtime, parts, Told(stopped_sender, Arc::clone(&titles)));
        let thread = thread.map_err(no_thread)?;
        Ok(Self(Arc::new(Inner {
            requests,
            signals,
            hub,
            titles,
            quota,
            listen,
            next_title: AtomicU32::new(0),
            next_reader: AtomicU32::new(0),
            stopped,
            thread: std::sync::Mutex::new(Some(thread)),
        })))
    }

    /// Where it listens, with the port that was chosen.
    #[must_use]
    pub fn listen_address(&self) -> SocketAddr {
        self.0.listen
    }
    /// A title number that was never used.
    fn new_title(&self) -> Result<TitleId, DriveError> {
        let next = |number: u32| number.checked_add(1);
        let number = self.0.next_title.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        number.map(TitleId).map_err(|_| {
            DriveError::Invalid("too many titles were added in this run: start anew".to_owned())
        })
    }
    /// A reader number that is not in use: for [`Command::Play`]; [`Engine::open_reader`] takes its own.
    #[must_use]
    pub fn new_reader(&self) -> ReaderId {
        ReaderId(self.0.next_reader.fetch_add(1, Ordering::Relaxed))
    }
    /// Takes part in a title. `title.title`, `have`, `partial` and `cached` are filled in here: what is on the disk decides, and
    /// where it lies.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn add(
        &self,
        mut title: AddTitle,
        mut options: TitleOptions,
    ) -> Result<TitleId, DriveError> {
        let id = self.new_title()?;
        title.title = id;
        (title.have, title.partial) = (None, Vec::new());
        if options.layers.is_empty() {
            options.layers.clone_from(&title.piece_layers);
        }
        if title.info.is_none() {
            title.info = self.kept_info(&title.hashes);
        }
        title.cached = self.0.titles.is_cached(&options.place);
        if title.cached {
            self.tell_cache(options.place.clone()).await?;
        }
        self.0.titles.expect(id, options);
        self.0.hub.expect_title(id);
        self.command(Command::Add(Box::new(title))).await?;
        Ok(id)
    }
    /// Tells the node how the cache stands before a title comes to `place`.
    async fn tell_cache(&self, place: Place) -> Result<(), DriveError> {
        let titles = Arc::clone(&self.0.titles);
        let looked = tokio::task::spawn_blocking(move || titles.kept_bytes(Some(&place)));
        // A panic was printed where it happened; what is kept is then looked at when room is needed.
        let elsewhere = looked.await.unwrap_or(0);
        self.command(Command::Cache { quota: self.0.quota, elsewhere }).await
    }
    /// How the cache of films stands; `None` without a quota.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn cache(&self) -> Result<Option<CacheView>, DriveError> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::Cache(sender)).await?;
        receiver.await.map_err(|_| DriveError::Stopped)
    }
    /// The info dictionary of a title of an earlier run, when it is still what `hashes` say.
    fn kept_info(&self, hashes: &InfoHashes) -> Option<Arc<Info>> {
        let raw = self.0.titles.kept_info(hashes)?;
        let info = Info::parse(&raw).ok()?;
        let same = hashes.v1.is_none_or(|hash| info.hashes.v1 == Some(hash))
            && hashes.v2.is_none_or(|hash| info.hashes.v2 == Some(hash));
        same.then(|| Arc::new(info))
    }
    /// Sends a command; waits while too many are under way.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn command(&self, command: Command) -> Result<(), DriveError> {
        self.request(Request::Command(command)).await
    }
    async fn request(&self, request: Request) -> Result<(), DriveError> {
        self.0.requests.send(request).await.map_err(|_| DriveError::Stopped)
    }
    /// Events from now on, without `Data` and `ReaderFailed`; a listener that falls 1024 behind misses some.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.hub.listen()
    }
    /// All titles as they are now. Costs the node O(pieces + peers): once a second is fine.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn views(&self) -> Result<Vec<TitleView>, DriveError> {
        let (sender, receiver) = oneshot::channel();
        self.request(Request::Views(sender)).await?;
        receiver.await.map_err(|_| DriveError::Stopped)
    }
    /// Waits until the metadata of a title is known and its storage ready.
    ///
    /// # Errors
    /// When the title failed (the sentence says why) or was removed, or the engine has stopped.
    pub async fn ready(&self, title: TitleId) -> Result<Arc<Info>, DriveError> {
        self.news(title, |news| news.info.clone()).await
    }
    /// Waits until all that is wanted of a title is here.
    ///
    /// # Errors
    /// As [`Engine::ready`].
    pub async fn complete(&self, title: TitleId) -> Result<(), DriveError> {
        self.news(title, |news| news.complete.then_some(())).await
    }
    /// Waits until `wanted` is found in what is known of a title.
    async fn news<T>(
        &self,
        title: TitleId,
        wanted: impl Fn(&TitleNews) -> Option<T>,
    ) -> Result<T, DriveError> {
        let mut titles = self.0.hub.titles();
        let mut stopped = self.0.stopped.clone();
        loop {
            match titles.borrow_and_update().get(&title) {
                None => return Err(DriveError::Invalid("the title was removed".to_owned())),
                Some(news) => {
                    if let Some(found) = wanted(news) {
                        return Ok(found);
                    }
                    if let Some(message) = &news.failed {
                        return Err(DriveError::Invalid(message.clone()));
                    }
                }
            }
            tokio::select! {
                changed = titles.changed() => changed.map_err(|_| DriveError::Stopped)?,
                _ = stopped.wait_for(|stopped| *stopped) => return Err(DriveError::Stopped),
            }
        }
    }
    /// What is known of a title's metadata now.
    #[must_use]
    pub fn info(&self, title: TitleId) -> Option<Arc<Info>> {
        self.0.hub.titles().borrow().get(&title)?.info.clone()
    }
    /// How far the check of stored data is.
    #[must_use]
    pub fn check_progress(&self, title: TitleId) -> CheckProgress {
        self.0.titles.progress(title)
    }
    /// Reads `range` of a file from the disk, at once and past the node: for bytes that [`Engine::views`] said are here.
    /// Blocks.
    ///
    /// # Errors
    /// When they are not there, or longer than 1 MiB.
    pub fn read_stored(
        &self,
        title: TitleId,
        file: u32,
        range: Range<u64>,
    ) -> Result<Vec<u8>, DriveError> {
        let missing = || DriveError::Invalid(format!("file {file} of the title is not here"));
        let store = self.0.titles.store(title).ok_or_else(missing)?;
        let length = range.end.checked_sub(range.start).filter(|&n| n <= u64::from(READ_MAX));
        let length = length.and_then(|n| usize::try_from(n).ok()).ok_or_else(missing)?;
        let info = store.storage().info();
        let entry = info.files.get(file as usize).filter(|entry| range.end <= entry.length);
        let mut buffer = vec![0; length];
        let offset = entry.ok_or_else(missing)?.start + range.start;
        store.read_into(offset, &mut buffer)?;
        // Asked afterwards: it may have been given up meanwhile.
        if store.is_given_up(offset, buffer.len() as u64) { Err(missing()) } else { Ok(buffer) }
    }
    /// Leaves a title: links closed, trackers told, what was verified saved.
    ///
    /// # Errors
    /// When the engine has stopped.
    pub async fn remove(&self, title: TitleId) -> Result<(), DriveError> {
        self.command(Command::Remove { title }).await
    }
    /// Begins to read `range` of a file, clamped to its length, while it may still be on its way here.
    ///
    /// # Errors
    /// When the title failed or the file does not exist, or the engine has stopped.
    pub async fn open_reader(
        &self,
        title: TitleId,
        file: u32,
        range: Range<u64>,
    ) -> Result<Reader, DriveError> {
        let info = self.ready(title).await?;
        let Some(entry) = info.files.get(file as usize) else {
            return Err(DriveError::Invalid(format!("the title has no file {file}")));
        };
        let end = range.end.min(entry.length);
        let start = range.start.min(end);
        let id = self.new_reader();
        let news = self.0.hub.register(id);
        let reader = Reader { engine: self.clone(), id, news, at: start, end, asked: false };
        if start < end {
            self.command(Command::Open { reader: id, title, file, start, end }).await?;
        }
        Ok(reader)
    }
    /// How many readers are open, as they come and go.
    #[must_use]
    pub fn readers(&self) -> watch::Receiver<usize> {
        self.0.hub.reading()
    }
    /// Leaves everything: peers and trackers told, what was verified saved, sockets closed, the state folder free.
    ///
    /// May be called more than once; each call ends when the node has.
    pub async fn shutdown(&self) {
        // A stopped engine takes no command: that is what we want.
        let _ = self.command(Command::Shutdown).await;
        self.stopped().await;
    }
    /// Ends at once: nothing is told to anybody, what was not saved is found by hashing next time.
    pub fn abort(&self) {
        self.0.signals.abort.store(true, Ordering::Relaxed);
        self.0.signals.wake.notify_one();
    }
    /// Waits until the node has ended, for whatever reason.
    pub async fn stopped(&self) {
        let mut stopped = self.0.stopped.clone();
        // An error means that its thread is gone: ended as well.
        let _ = stopped.wait_for(|stopped| *stopped).await;
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It has told us that it ends; a panic in it was already printed.
            let _ = thread.join();
        }
    }
}

/// The network thread: runs the engine to its end.
fn spawn(
    runtime: tokio::runtime::Runtime,
    parts: Parts,
    told: Told,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("shoal-net".to_owned()).spawn(move || {
        // Told however this thread ends, by a panic too.
        let _told = told;
        let local = LocalSet::new();
        local.block_on(&runtime, async {
            // The sockets are open already; that they cannot be watched means that descriptors are out, and that we end.
            if let Ok(engine) = engine::Engine::new(parts) {
                engine.run().await;
            }
        });
        drop(local);
        // A name look-up that hangs in the system must not hold us up.
        runtime.shutdown_background();
    })
}

/// Tells all handles that the thread has ended, and frees the state folder.
struct Told(watch::Sender<bool>, Arc<Titles>);

impl Drop for Told {
    fn drop(&mut self) {
        self.1.close();
        self.0.send_replace(true);
    }
}

/// Randomness of the system.
pub(crate) fn random_words() -> Result<[u64; 4], DriveError> {
    let mut words = [0; 4];
    for word in &mut words {
        *word = getrandom::u64().map_err(|error| {
            DriveError::Invalid(format!("the system gives no random numbers: {error}"))
        })?;
    }
    Ok(words)
}

/// Takes the bytes of a file in order, as they arrive. Dropping it closes it.
#[derive(Debug)]
pub struct Reader {
    engine: Engine,
    id: ReaderId,
    news: mpsc::Receiver<ReaderNews>,
    at: u64,
    end: u64,
    /// The node was asked and has not answered.
    asked: bool,
}

impl Reader {
    /// Its number, as in events.
    #[must_use]
    pub fn id(&self) -> ReaderId {
        self.id
    }
    /// First byte in the file that was not taken yet.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.at
    }
    /// One past the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }
    /// The next bytes, at least one and at most `max` (1 MiB); `None` at the end. Waits until they are here and verified.
    /// Abandoning the future loses nothing: the next call gets what this one asked for, with its `max`.
    ///
    /// # Errors
    /// When the title was removed, its storage was lost, or the engine has stopped.
    pub async fn next(&mut self, max: u32) -> Result<Option<Bytes>, DriveError> {
        let left = u32::try_from(self.end - self.at).unwrap_or(u32::MAX);
        let max = max.clamp(1, READ_MAX).min(left);
        if max == 0 {
            return Ok(None);
        }
        if !self.asked {
            self.engine.command(Command::Read { reader: self.id, max }).await?;
            self.asked = true;
        }
        let news = self.news.recv().await;
        self.asked = false;
        match news {
            Some(ReaderNews::Data(data)) => {
                self.at += data.len() as u64;
                Ok(Some(data))
            }
            Some(ReaderNews::Failed(message)) => Err(DriveError::Invalid(message)),
            None => Err(DriveError::Stopped),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.engine.0.hub.unregister(self.id);
        let signals = &self.engine.0.signals;
        signals.closed_readers.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        signals.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::storage::Place;
    use crate::testing::{TestFile, film, info_v1};
    use crate::title::Trust;

    #[tokio::test]
    async fn titles_that_were_removed_leave_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options =
            EngineOptions { listen: ([127, 0, 0, 1], 0).into(), ..EngineOptions::default() };
        options.config.discover.local = false;
        let engine = Engine::start(options).expect("an engine");
        let data = film(100);
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        for number in 0..300 {
            let info = info_v1(&format!("title {number}"), &files, 1 << 14);
            let plain = AddTitle::new(TitleId(0), info.hashes);
            let title = AddTitle { info: Some(Arc::new(info)), ..plain };
            let options = TitleOptions {
                place: Place::Below(folder.path().to_path_buf()),
                trust: Trust::Verified,
                layers: Vec::new(),
                verified: None,
            };
            let id = engine.add(title, options).await.expect("added");
            assert_eq!(id, TitleId(number), "no number comes again");
            if number % 2 == 0 {
                engine.ready(id).await.expect("ready");
            }
            engine.remove(id).await.expect("removed");
        }
        let late = Event::Complete { title: TitleId(7), length: 1 };
        engine.0.hub.tell(late);
        assert!(engine.ready(TitleId(7)).await.is_err(), "it was removed");
        assert!(engine.views().await.expect("running").is_empty());
        let left = || (engine.0.titles.count(), engine.0.hub.titles().borrow().len());
        let gone = async {
            while left() != (0, 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let gone = tokio::time::timeout(Duration::from_secs(20), gone).await;
        assert!(gone.is_ok(), "{:?} are left", left());
        engine.shutdown().await;
    }
}
