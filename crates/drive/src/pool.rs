//! The threads that do slow work: disk and hashes, never on the network thread.
//!
//! Three lanes, so that none holds up another: *reads* (what peers and players wait for), *bulk* (hashes and writes),
//! *slow* (checks of a whole title, saves with their syncs). A driver hands over what one batch of turns submitted in one
//! go, and takes all outcomes in one go; a second thread of a lane is woken only when there is work enough for it.
//!
//! Jobs of one title may run at the same time: the node reads only what it was told is stored. How many jobs wait is
//! bounded by the node (`memory_max`, `requests_in_max`); [`Pool::backlog`] lets the driver stop reading sockets besides.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use shoal_node::io::{Failure, FailureKind, Job, Outcome, ResumeRecord};
use shoal_node::link::{Ticket, TitleId};
use shoal_wire::metainfo::Info;
use shoal_wire::{Hash32, InfoHashes};

use crate::buffers::ReadBuffers;
use crate::error::DriveError;
use crate::hash;
use crate::resume::StateFolder;
use crate::storage::{Descriptors, Place};
use crate::title::{CheckProgress, TitleStore, Trust, Verified};

/// Threads of the lanes: reads, bulk, slow.
const THREADS: [usize; 3] = [2, 2, 1];
/// The lane of hashes and writes.
const BULK: usize = 1;
/// Work that a thread takes at once, bytes.
const BATCH_BYTES: usize = 512 << 10;
/// Waiting work that is worth waking one more thread for, bytes.
const WAKE_BYTES: usize = 256 << 10;
/// What a job costs besides its bytes, in bytes of hashing.
const JOB_BYTES: usize = 4 << 10;
/// Film bytes in read buffers at which readers pause.
const READ_BYTES_MAX: usize = 24 << 20;

/// A submitted job.
pub type Submitted = (Ticket, Box<Job>);
/// An answered one.
pub type Answered = (Ticket, Outcome);

/// Where a title lies and how far it is believed; told before the node hears of the title.
#[derive(Clone, Debug)]
pub struct TitleOptions {
    /// Where its files are, or will be.
    pub place: Place,
    /// What is believed of what is found there.
    pub trust: Trust,
    /// Piece layers at hand (BEP 52), by file root.
    pub layers: Vec<(Hash32, Bytes)>,
    /// What [`crate::publish`] has just hashed: it is not looked at again.
    pub verified: Option<Verified>,
}

/// All titles of a node, as the pool knows them.
#[derive(Debug)]
pub struct Titles {
    entries: Mutex<HashMap<TitleId, Entry>>,
    descriptors: Arc<Descriptors>,
    state: Mutex<Option<Arc<StateFolder>>>,
    /// No check is begun any more.
    closing: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    options: TitleOptions,
    store: Option<Arc<TitleStore>>,
}

impl Titles {
    /// No titles yet. Without `state` nothing is remembered between runs.
    #[must_use]
    pub fn new(descriptors: Arc<Descriptors>, state: Option<Arc<StateFolder>>) -> Self {
        Self {
            entries: Mutex::default(),
            descriptors,
            state: Mutex::new(state),
            closing: AtomicBool::new(false),
        }
    }
    fn lock(&self) -> MutexGuard<'_, HashMap<TitleId, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Announces a title.
    pub fn expect(&self, title: TitleId, options: TitleOptions) {
        self.lock().insert(title, Entry { options, store: None });
    }
    /// The title's files, once its metadata is known.
    #[must_use]
    pub fn store(&self, title: TitleId) -> Option<Arc<TitleStore>> {
        self.lock().get(&title)?.store.clone()
    }
    /// How far the check of a title is.
    #[must_use]
    pub fn progress(&self, title: TitleId) -> CheckProgress {
        self.store(title).map_or_else(CheckProgress::default, |store| store.progress())
    }
    /// Makes running checks end early, and those that wait at once: what they did not look at counts as absent.
    pub fn cancel_checks(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.lock().values().filter_map(|entry| entry.store.as_ref()).for_each(|s| s.cancel());
    }
    /// The info dictionary of a title met in an earlier run, unchecked.
    #[must_use]
    pub fn kept_info(&self, hashes: &InfoHashes) -> Option<Bytes> {
        let path = self.state()?.title_file(hashes, "info");
        std::fs::read(path).ok().map(Bytes::from)
    }
    fn state(&self) -> Option<Arc<StateFolder>> {
        lock(&self.state).clone()
    }
    /// Forgets all titles, and gives the state folder back.
    pub fn close(&self) {
        self.lock().clear();
        *lock(&self.state) = None;
    }
    fn prepare(&self, title: TitleId, info: Arc<Info>) -> Result<ResumeRecord, DriveError> {
        let unknown = || DriveError::Invalid(format!("title {} has no place", title.0));
        let options = self.lock().get(&title).map(|e| e.options.clone()).ok_or_else(unknown)?;
        let store = Arc::new(TitleStore::open(
            info,
            options.layers,
            options.place,
            Arc::clone(&self.descriptors),
            self.state().as_deref(),
        ));
        if let Some(entry) = self.lock().get_mut(&title) {
            entry.store = Some(Arc::clone(&store));
        }
        // After the store can be seen by who cancels: one of both notices.
        if self.closing.load(Ordering::SeqCst) {
            store.cancel();
        }
        store.keep_info()?;
        match options.verified {
            Some(verified) => store.vouch(&verified).map(|()| verified.record),
            None => store.prepare(options.trust),
        }
    }
}

/// The threads of one node.
#[derive(Debug)]
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    lanes: [Lane; 3],
    titles: Arc<Titles>,
    buffers: ReadBuffers,
    backlog: AtomicUsize,
    /// `bytes` of the bulk lane's queue, to be read without its lock.
    bulk_waiting: AtomicUsize,
    answered: Mutex<Vec<Answered>>,
    /// Called when the first answer is waiting.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("backlog", &self.backlog).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Lane {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Submitted>,
    bytes: usize,
    /// Threads that work.
    busy: usize,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Jobs run outside all locks: a panic in one leaves nothing half done under them.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// Starts the threads. `wake` is called, on one of them, when answers begin to wait.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(
        titles: Arc<Titles>,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            lanes: Default::default(),
            titles,
            buffers: ReadBuffers::new(READ_BYTES_MAX),
            backlog: AtomicUsize::new(0),
            bulk_waiting: AtomicUsize::new(0),
            answered: Mutex::default(),
            wake: Box::new(wake),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for (lane, (name, count)) in ["read", "bulk", "slow"].into_iter().zip(THREADS).enumerate() {
            for _ in 0..count {
                let shared = Arc::clone(&pool.shared);
                let builder = std::thread::Builder::new().name(format!("shoal-{name}"));
                pool.threads.push(builder.spawn(move || work(&shared, lane))?);
            }
        }
        Ok(pool)
    }
    /// Takes over jobs; `Resolve` and `Fetch` are not for this pool and fail.
    pub fn submit(&self, jobs: impl IntoIterator<Item = Submitted>) {
        let mut by_lane: [Vec<Submitted>; 3] = Default::default();
        for (ticket, job) in jobs {
            by_lane[lane_of(&job)].push((ticket, job));
        }
        for (lane, jobs) in by_lane.into_iter().enumerate() {
            if jobs.is_empty() {
                continue;
            }
            self.shared.backlog.fetch_add(jobs.len(), Ordering::Relaxed);
            let Lane { queue, ready } = &self.shared.lanes[lane];
            let mut queue = lock(queue);
            queue.bytes += jobs.iter().map(|(_, job)| cost(job)).sum::<usize>();
            queue.jobs.extend(jobs);
            self.shared.tell_waiting(lane, &queue);
            let wanted = (queue.bytes / WAKE_BYTES).clamp(1, THREADS[lane]);
            let missing = wanted.saturating_sub(queue.busy);
            drop(queue);
            (0..missing).for_each(|_| ready.notify_one());
        }
    }
    /// All answers so far, in `into`.
    pub fn take_answers(&self, into: &mut Vec<Answered>) {
        let mut answered = lock(&self.shared.answered);
        if into.is_empty() {
            std::mem::swap(&mut *answered, into);
        } else {
            into.append(&mut answered);
        }
    }
    /// Jobs that wait or run.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.shared.backlog.load(Ordering::Relaxed)
    }
    /// Bytes of hashing and writing that no thread has begun with.
    #[must_use]
    pub fn bulk_waiting(&self) -> usize {
        self.shared.bulk_waiting.load(Ordering::Relaxed)
    }
    /// Does what was submitted, then ends the threads; with `now` what waits is forgotten.
    pub fn close(mut self, now: bool) {
        self.shared.titles.cancel_checks();
        self.end(now);
    }
    fn end(&mut self, now: bool) {
        for lane in &self.shared.lanes {
            let mut queue = lock(&lane.queue);
            queue.closed = true;
            if now {
                queue.jobs.clear();
            }
            lane.ready.notify_all();
        }
        for thread in self.threads.drain(..) {
            // Jobs catch their panics; a thread that still died has nothing left to give.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.end(true);
    }
}

fn lane_of(job: &Job) -> usize {
    match job {
        Job::Read { .. } => 0,
        Job::Prepare { .. } | Job::Save { .. } => 2,
        _ => BULK,
    }
}

/// What a job costs, in bytes of hashing.
fn cost(job: &Job) -> usize {
    JOB_BYTES
        + match job {
            Job::Read { length, .. } => *length as usize,
            Job::Write { parts, .. }
            | Job::CheckPiece { parts, .. }
            | Job::CheckTree { parts, .. } => parts.iter().map(Bytes::len).sum(),
            Job::CheckBlock { data, .. } => data.len(),
            Job::CheckInfo { raw, .. } => raw.len(),
            _ => BATCH_BYTES,
        }
}

/// A thread of a lane.
fn work(shared: &Shared, lane: usize) {
    let Lane { queue, ready } = &shared.lanes[lane];
    let mut batch = Vec::new();
    let mut answers = Vec::new();
    let mut guard = lock(queue);
    loop {
        while guard.jobs.is_empty() {
            if guard.closed {
                return;
            }
            guard = ready.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((ticket, job)) = guard.jobs.pop_front()
        {
            let cost = cost(&job);
            bytes += cost;
            guard.bytes = guard.bytes.saturating_sub(cost);
            batch.push((ticket, job));
        }
        guard.busy += 1;
        shared.tell_waiting(lane, &guard);
        drop(guard);
        let count = batch.len();
        for (ticket, job) in batch.drain(..) {
            let run = AssertUnwindSafe(|| shared.run(*job));
            answers.push((ticket, catch_unwind(run).unwrap_or_else(|_| broken())));
        }
        shared.backlog.fetch_sub(count, Ordering::Relaxed);
        shared.answer(&mut answers);
        guard = lock(queue);
        guard.busy -= 1;
    }
}

fn broken() -> Outcome {
    Outcome::Failed(Failure {
        kind: FailureKind::DiskLost,
        message: "a disk job broke off by a fault of this program: start again, and report it"
            .to_owned(),
    })
}

impl Shared {
    fn tell_waiting(&self, lane: usize, queue: &Queue) {
        if lane == BULK {
            self.bulk_waiting.store(queue.bytes, Ordering::Relaxed);
        }
    }
    fn answer(&self, answers: &mut Vec<Answered>) {
        let mut answered = lock(&self.answered);
        let first = answered.is_empty();
        answered.append(answers);
        drop(answered);
        if first {
            (self.wake)();
        }
    }
    fn run(&self, job: Job) -> Outcome {
        self.try_run(job).unwrap_or_else(|error| Outcome::Failed(error.failure()))
    }
    fn try_run(&self, job: Job) -> Result<Outcome, DriveError> {
        let buffers = &self.buffers;
        match job {
            Job::Read { title, offset, length } => {
                self.store(title)?.read(offset, length as usize, buffers).map(Outcome::Data)
            }
            Job::Write { title, offset, parts } => {
                self.store(title)?.write(offset, &parts).map(|()| Outcome::Stored)
            }
            Job::CheckBlock { data, expect } => Ok(Outcome::Checked(hash::sha256(&data) == expect)),
            Job::CheckPiece { parts, padding, expect } => {
                Ok(Outcome::Checked(hash::sha1_parts(&parts, padding) == expect))
            }
            Job::CheckTree { parts, leaves, expect } => {
                Ok(Outcome::Checked(hash::tree_root(&parts, leaves) == expect))
            }
            Job::CheckInfo { raw, hashes } => Ok(Outcome::Checked(info_matches(&raw, &hashes))),
            Job::Leaves { title, piece } => {
                self.store(title)?.leaves(piece, buffers).map(Outcome::Data)
            }
            Job::Prepare { title, info } => {
                let record = self.titles.prepare(title, info)?;
                Ok(Outcome::Prepared(Box::new(record)))
            }
            Job::Save { title, record } => {
                self.store(title)?.save(&record).map(|()| Outcome::Stored)
            }
            Job::Resolve { .. } | Job::Fetch { .. } => {
                Err(DriveError::Invalid("network jobs do not belong to the disk pool".to_owned()))
            }
        }
    }
    fn store(&self, title: TitleId) -> Result<Arc<TitleStore>, DriveError> {
        self.titles
            .store(title)
            .ok_or_else(|| DriveError::Invalid(format!("title {} has no files yet", title.0)))
    }
}

/// At least one hash is there, and each that is matches.
fn info_matches(raw: &[u8], hashes: &InfoHashes) -> bool {
    *hashes != InfoHashes::default()
        && hashes.v1.is_none_or(|expect| hash::sha1(raw) == expect)
        && hashes.v2.is_none_or(|expect| hash::sha256(raw) == expect)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::testing::{TestFile, film, info_v1};

    struct World {
        pool: Pool,
        woken: mpsc::Receiver<()>,
        folder: tempfile::TempDir,
    }

    fn world() -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let titles = Arc::new(Titles::new(Arc::new(Descriptors::new(4)), None));
        let place = Place::Below(folder.path().to_path_buf());
        let options =
            TitleOptions { place, trust: Trust::Verified, layers: Vec::new(), verified: None };
        titles.expect(TitleId(0), options);
        let (tell, woken) = mpsc::channel();
        let pool = Pool::start(titles, move || {
            let _ = tell.send(());
        });
        World { pool: pool.expect("threads"), woken, folder }
    }

    impl World {
        fn run(&self, jobs: Vec<Job>) -> Vec<Outcome> {
            let count = jobs.len();
            let tickets = (0u32..).map(Ticket);
            self.pool.submit(tickets.zip(jobs.into_iter().map(Box::new)));
            let mut answers = Vec::new();
            while answers.len() < count {
                self.woken.recv_timeout(Duration::from_secs(10)).expect("an answer");
                let mut more = Vec::new();
                self.pool.take_answers(&mut more);
                answers.append(&mut more);
            }
            answers.sort_by_key(|(ticket, _)| *ticket);
            answers.into_iter().map(|(_, outcome)| outcome).collect()
        }
    }

    #[test]
    fn hundreds_of_jobs_of_all_kinds_are_each_answered_once() {
        let world = world();
        let title = TitleId(0);
        let data = Bytes::from(film(40 << 14));
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        let info = Arc::new(info_v1("title", &files, 4 << 14));
        let made = world.run(vec![Job::Prepare { title, info: Arc::clone(&info) }]);
        assert!(matches!(&made[..], [Outcome::Prepared(found)] if found.have.ones() == 0));
        let piece = |index: usize| data.slice(index << 16..(index + 1) << 16);
        let mut jobs = Vec::new();
        for index in 0..10 {
            let parts = vec![piece(index)];
            let expect = info.piece_hash(info.layout.piece(index as u32).expect("exists"));
            let expect = expect.expect("a v1 title");
            jobs.push(Job::CheckPiece { parts: parts.clone(), padding: 0, expect });
            jobs.push(Job::CheckPiece { parts: parts.clone(), padding: 1, expect });
            jobs.push(Job::Write { title, offset: (index as u64) << 16, parts });
            let block = piece(index).slice(..16384);
            let expect = hash::sha256(&block);
            jobs.push(Job::CheckBlock { data: block, expect });
        }
        let answers = world.run(jobs);
        for four in answers.chunks(4) {
            assert!(
                matches!(
                    four,
                    [
                        Outcome::Checked(true),
                        Outcome::Checked(false),
                        Outcome::Stored,
                        Outcome::Checked(true)
                    ]
                ),
                "{four:?}"
            );
        }
        let reads = (0..400u64).map(|i| Job::Read { title, offset: (i % 40) << 14, length: 16384 });
        for (i, answer) in world.run(reads.collect()).into_iter().enumerate() {
            let at = (i % 40) << 14;
            assert!(matches!(answer, Outcome::Data(read) if read == data.slice(at..at + 16384)));
        }
        let hashes = info.hashes;
        let right = Job::CheckInfo { raw: info.raw.clone(), hashes };
        let wrong = Job::CheckInfo { raw: Bytes::from_static(b"de"), hashes };
        let unnamed = Job::CheckInfo { raw: info.raw.clone(), hashes: InfoHashes::default() };
        let answers = world.run(vec![right, wrong, unnamed]);
        assert!(
            matches!(
                &answers[..],
                [Outcome::Checked(true), Outcome::Checked(false), Outcome::Checked(false)]
            ),
            "{answers:?}"
        );
        assert_eq!(world.pool.backlog(), 0);
    }

    #[test]
    fn bytes_that_wait_for_a_hash_are_told_until_a_thread_takes_them() {
        let world = world();
        let data = Bytes::from(vec![0; 1 << 20]);
        let check = || {
            let parts = vec![data.clone()];
            Box::new(Job::CheckPiece { parts, padding: 0, expect: shoal_wire::Hash20([0; 20]) })
        };
        let jobs = |count: u32| (0..count).map(|ticket| (Ticket(ticket), check()));
        world.pool.submit(jobs(8));
        let mut answers = Vec::new();
        while answers.len() < 8 {
            world.woken.recv_timeout(Duration::from_secs(10)).expect("an answer");
            let mut more = Vec::new();
            world.pool.take_answers(&mut more);
            answers.append(&mut more);
        }
        assert_eq!(world.pool.bulk_waiting(), 0);
        // Long before half of 4 GiB is hashed.
        world.pool.submit(jobs(4096));
        assert!(world.pool.bulk_waiting() > 2 << 30, "{}", world.pool.bulk_waiting());
        world.pool.close(true);
    }

    #[test]
    fn a_check_that_waits_at_the_end_is_over_at_once() {
        let world = world();
        let title = TitleId(0);
        let data = film(40 << 14);
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        let info = Arc::new(info_v1("title", &files, 4 << 14));
        let prepare = || vec![Job::Prepare { title, info: Arc::clone(&info) }];
        let ones = |answers: Vec<Outcome>| match &answers[..] {
            [Outcome::Prepared(found)] => found.have.ones(),
            other => panic!("{other:?}"),
        };
        assert_eq!(ones(world.run(prepare())), 0);
        world.run(vec![Job::Write { title, offset: 0, parts: vec![Bytes::from(data.clone())] }]);
        let mut entries = world.pool.shared.titles.lock();
        entries.get_mut(&title).expect("told").options.trust = Trust::Nothing;
        drop(entries);
        assert_eq!(ones(world.run(prepare())), 10);
        world.pool.shared.titles.cancel_checks();
        assert_eq!(ones(world.run(prepare())), 0, "nothing was looked at");
    }

    #[test]
    fn a_lost_folder_and_an_unknown_title_are_failures_with_a_sentence() {
        let world = world();
        let title = TitleId(0);
        let data = film(1 << 16);
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        let info = Arc::new(info_v1("title", &files, 1 << 16));
        world.run(vec![Job::Prepare { title, info }]);
        std::fs::remove_dir_all(world.folder.path()).expect("removed");
        let parts = vec![Bytes::from(data)];
        let answers = world.run(vec![
            Job::Write { title, offset: 0, parts },
            Job::Read { title, offset: 0, length: 16384 },
            Job::Read { title: TitleId(7), offset: 0, length: 16384 },
        ]);
        for answer in answers {
            let Outcome::Failed(failure) = answer else { panic!("{answer:?}") };
            assert_eq!(failure.kind, FailureKind::DiskLost);
            assert!(!failure.message.is_empty());
        }
    }
}
