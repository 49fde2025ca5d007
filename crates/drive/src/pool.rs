//! The threads that do slow work: disk and hashes, never on the network thread.
//!
//! Three lanes, so that none holds up another: *reads* (what peers and players wait for), *bulk* (hashes and writes),
//! *slow* (checks of a whole title, saves with their syncs). A driver hands over what one batch of turns submitted in one
//! go, and takes all outcomes in one go; a second thread of a lane is woken only when there is work enough for it.
//!
//! Jobs of one title may run at the same time: the node reads only what it was told is stored. One order is kept (`order`):
//! a save, an eviction, and the end of a title, come after all writes of the title that were submitted before. How many jobs wait is
//! bounded by the node (`memory_max`, `requests_in_max`); [`Pool::backlog`] lets the driver stop reading sockets besides.

mod order;
mod titles;

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use shoal_node::io::{Failure, FailureKind, Job, Outcome};
use shoal_node::link::{Ticket, TitleId};
use shoal_wire::InfoHashes;

use crate::buffers::ReadBuffers;
use crate::config::{
    POOL_BATCH_BYTES, POOL_JOB_BYTES, POOL_THREADS, POOL_WAKE_BYTES, READ_BYTES_MAX,
};
use crate::error::DriveError;
use crate::hash;
use crate::title::TitleStore;
use crate::troubles::{RECORD, Troubles};
use order::{Number, Order};
pub use titles::{TitleOptions, Titles};

/// The lane of hashes and writes.
const BULK: usize = 1;
/// The lane of checks and saves: one thread, so they run in the order in which they were submitted.
const SLOW: usize = 2;

/// A submitted job.
pub type Submitted = (Ticket, Box<Job>);
/// An answered one.
pub type Answered = (Ticket, Outcome);

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
    order: Order,
    troubles: Troubles,
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

/// What waits in a lane.
#[derive(Debug)]
enum Waiting {
    /// A job of the node.
    Job(Number, Ticket, Box<Job>),
    /// A title was left: what is known of it here can go.
    Forget(Number, TitleId),
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Waiting>,
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
            order: Order::default(),
            troubles: Troubles::default(),
            backlog: AtomicUsize::new(0),
            bulk_waiting: AtomicUsize::new(0),
            answered: Mutex::default(),
            wake: Box::new(wake),
        });
        let mut pool = Self { shared, threads: Vec::new() };
        for (lane, (name, count)) in
            ["read", "bulk", "slow"].into_iter().zip(POOL_THREADS).enumerate()
        {
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
        let mut by_lane: [Vec<Waiting>; 3] = Default::default();
        for (ticket, job) in jobs {
            let number = self.shared.order.submitted(&job);
            by_lane[lane_of(&job)].push(Waiting::Job(number, ticket, job));
        }
        for (lane, jobs) in by_lane.into_iter().enumerate() {
            if !jobs.is_empty() {
                self.queue(lane, jobs);
            }
        }
    }
    fn queue(&self, lane: usize, jobs: Vec<Waiting>) {
        self.shared.backlog.fetch_add(jobs.len(), Ordering::Relaxed);
        let Lane { queue, ready } = &self.shared.lanes[lane];
        let mut queue = lock(queue);
        queue.bytes += jobs.iter().map(Waiting::cost).sum::<usize>();
        queue.jobs.extend(jobs);
        self.shared.tell_waiting(lane, &queue);
        let wanted = (queue.bytes / POOL_WAKE_BYTES).clamp(1, POOL_THREADS[lane]);
        let missing = wanted.saturating_sub(queue.busy);
        drop(queue);
        (0..missing).for_each(|_| ready.notify_one());
    }
    /// A title was left: a check of it ends early, and once what was submitted for it is done it is forgotten.
    pub fn forget(&self, title: TitleId) {
        self.shared.titles.leave(title);
        self.queue(SLOW, vec![Waiting::Forget(self.shared.order.next(), title)]);
    }
    /// Ends all checks, those that wait too: what they did not look at counts as absent.
    pub fn cancel_checks(&self) {
        self.shared.titles.cancel_checks();
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
    /// Whether a trouble of a title should be told, or was told and still stands.
    pub(crate) fn is_news(&self, title: TitleId, message: &str, fatal: bool) -> bool {
        self.shared.troubles.is_news(title, message, fatal)
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
        self.end(now);
    }
    fn end(&mut self, now: bool) {
        self.cancel_checks();
        if now {
            self.shared.order.abandon();
        }
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
        Job::Prepare { .. } | Job::Save { .. } | Job::Evict { .. } | Job::Reclaim { .. } => SLOW,
        _ => BULK,
    }
}

impl Waiting {
    fn cost(&self) -> usize {
        match self {
            Self::Job(_, _, job) => cost(job),
            Self::Forget(..) => POOL_JOB_BYTES,
        }
    }
}

/// What a job costs, in bytes of hashing.
fn cost(job: &Job) -> usize {
    POOL_JOB_BYTES
        + match job {
            Job::Read { length, .. } => *length as usize,
            Job::Write { parts, .. }
            | Job::CheckPiece { parts, .. }
            | Job::CheckTree { parts, .. } => parts.iter().map(Bytes::len).sum(),
            Job::CheckBlock { data, .. } => data.len(),
            Job::CheckInfo { raw, .. } => raw.len(),
            _ => POOL_BATCH_BYTES,
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
        while bytes < POOL_BATCH_BYTES
            && let Some(waiting) = guard.jobs.pop_front()
        {
            let cost = waiting.cost();
            bytes += cost;
            guard.bytes = guard.bytes.saturating_sub(cost);
            batch.push(waiting);
        }
        guard.busy += 1;
        shared.tell_waiting(lane, &guard);
        drop(guard);
        let count = batch.len();
        for waiting in batch.drain(..) {
            match waiting {
                Waiting::Job(number, ticket, job) => {
                    let title = order::written_to(&job);
                    let run = AssertUnwindSafe(|| shared.run(number, *job));
                    answers.push((ticket, catch_unwind(run).unwrap_or_else(|_| broken())));
                    title.into_iter().for_each(|title| shared.order.written(title, number));
                }
                Waiting::Forget(number, title) => {
                    shared.order.wait(title, number);
                    shared.titles.forget(title);
                    shared.troubles.forget(title);
                }
            }
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
    fn run(&self, number: Number, job: Job) -> Outcome {
        if let Job::Save { title, .. } | Job::Evict { title, .. } = &job {
            // It vouches for the files as they look: a write that comes later would make it worthless.
            self.order.wait(*title, number);
        }
        let place = self.place_of(&job);
        let result = self.try_run(job);
        if let Some((title, stretch)) = place {
            match result {
                Ok(_) => self.troubles.succeeded(title, &stretch),
                Err(_) => self.troubles.failed(title, &stretch),
            }
        }
        result.unwrap_or_else(|error| Outcome::Failed(error.failure()))
    }
    /// What on the disk a job is about.
    fn place_of(&self, job: &Job) -> Option<(TitleId, Range<u64>)> {
        let (title, start, length) = match job {
            Job::Read { title, offset, length } => (title, *offset, u64::from(*length)),
            Job::Write { title, offset, parts } => {
                (title, *offset, parts.iter().map(|part| part.len() as u64).sum())
            }
            Job::Leaves { title, piece } => {
                let store = self.titles.store(*title)?;
                let layout = &store.storage().info().layout;
                let piece = layout.piece(*piece)?;
                (title, layout.start(piece), u64::from(layout.data_len(piece)))
            }
            Job::Save { title, .. } | Job::Evict { title, .. } => return Some((*title, RECORD)),
            _ => return None,
        };
        Some((*title, start..start.saturating_add(length)))
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
            Job::Evict { title, record, pieces } => {
                self.store(title)?.evict(&record, &pieces).map(Outcome::Freed)
            }
            Job::Reclaim { bytes } => Ok(Outcome::Freed(self.titles.reclaim(bytes))),
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
    use crate::resume::StateFolder;
    use crate::storage::{Descriptors, Place};
    use crate::title::Trust;
    use shoal_node::io::ResumeRecord;
    use shoal_wire::bitfield::Bitfield;

    use crate::testing::{TestFile, film, info_v1};

    struct World {
        pool: Pool,
        titles: Arc<Titles>,
        woken: mpsc::Receiver<()>,
        folder: tempfile::TempDir,
    }

    fn world() -> World {
        world_with(None)
    }

    fn world_with(state: Option<Arc<StateFolder>>) -> World {
        let folder = tempfile::tempdir().expect("a folder");
        let titles = Arc::new(Titles::new(Arc::new(Descriptors::new(4)), state, None));
        titles.expect(TitleId(0), below(folder.path()));
        let (tell, woken) = mpsc::channel();
        let pool = Pool::start(Arc::clone(&titles), move || {
            let _ = tell.send(());
        });
        World { pool: pool.expect("threads"), titles, woken, folder }
    }

    fn below(folder: &std::path::Path) -> TitleOptions {
        let place = Place::Below(folder.to_path_buf());
        TitleOptions { place, trust: Trust::Verified, layers: Vec::new(), verified: None }
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
    fn a_stop_drops_the_checks_that_wait_and_does_the_rest() {
        let world = world();
        let data = film(1 << 20);
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        // They stand behind a save that waits for a write.
        let (title, record) = (TitleId(9), ResumeRecord::default());
        let write = Job::Write { title, offset: 0, parts: Vec::new() };
        let number = world.pool.shared.order.submitted(&write);
        let mut jobs = vec![(Ticket(9), Box::new(Job::Save { title, record }))];
        for number in 0..8u32 {
            let name = format!("title {number}");
            std::fs::create_dir(world.folder.path().join(&name)).expect("made");
            std::fs::write(world.folder.path().join(&name).join("film"), &data).expect("written");
            let title = TitleId(number);
            world.titles.expect(title, below(world.folder.path()));
            let info = Arc::new(info_v1(&name, &files, 1 << 14));
            jobs.push((Ticket(number), Box::new(Job::Prepare { title, info })));
        }
        let expect = shoal_wire::Hash32([0; 32]);
        let check = Job::CheckBlock { data: Bytes::from(data.clone()), expect };
        jobs.push((Ticket(8), Box::new(check)));
        world.pool.submit(jobs);
        world.pool.cancel_checks();
        let shared = Arc::clone(&world.pool.shared);
        shared.order.written(title, number);
        world.pool.close(false);
        let answers = std::mem::take(&mut *lock(&shared.answered));
        assert_eq!(answers.len(), 10);
        for number in 0..8 {
            assert!(world.titles.store(TitleId(number)).is_none(), "title {number} was checked");
        }
        let block = answers.iter().find(|(ticket, _)| *ticket == Ticket(8));
        assert!(matches!(block, Some((_, Outcome::Checked(false)))), "{block:?}");
    }

    #[test]
    fn a_save_waits_for_the_writes_before_it_so_the_next_start_hashes_nothing() {
        let state = tempfile::tempdir().expect("a folder");
        let state = Arc::new(StateFolder::open(state.path()).expect("state"));
        let world = world_with(Some(Arc::clone(&state)));
        let title = TitleId(0);
        let data = Bytes::from(film(16 << 16));
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        let info = Arc::new(info_v1("title", &files, 1 << 16));
        world.run(vec![Job::Prepare { title, info: Arc::clone(&info) }]);
        // The writes stand behind hashes, in another lane than the save.
        let hash = Bytes::from(vec![0; 1 << 20]);
        let expect = shoal_wire::Hash20([0; 20]);
        let check = |_| Job::CheckPiece { parts: vec![hash.clone()], padding: 0, expect };
        let mut jobs: Vec<Job> = (0..32).map(check).collect();
        for piece in 0..16usize {
            let parts = vec![data.slice(piece << 16..(piece + 1) << 16)];
            jobs.push(Job::Write { title, offset: (piece as u64) << 16, parts });
        }
        let record = ResumeRecord { have: Bitfield::full(16), partial: Vec::new() };
        jobs.push(Job::Save { title, record });
        let answers = world.run(jobs);
        assert!(answers[32..].iter().all(|answer| matches!(answer, Outcome::Stored)));
        drop(world.pool);
        let descriptors = Arc::new(Descriptors::new(4));
        let place = Place::Below(world.folder.path().to_path_buf());
        let store = TitleStore::open(info, Vec::new(), place, descriptors, Some(&state));
        assert!(store.prepare(Trust::Verified).expect("looked").have.is_full());
        assert_eq!(store.progress().total, 0, "the record is believed");
    }

    #[test]
    fn a_title_is_forgotten_when_its_last_save_is_done_and_not_before() {
        let world = world();
        let title = TitleId(0);
        let data = Bytes::from(film(1 << 16));
        let files = [TestFile { path: "film", data: &data, start: 0 }];
        let info = Arc::new(info_v1("title", &files, 1 << 16));
        world.run(vec![Job::Prepare { title, info }]);
        let record = ResumeRecord { have: Bitfield::full(1), partial: Vec::new() };
        let write = Job::Write { title, offset: 0, parts: vec![data.clone()] };
        let save = Job::Save { title, record };
        world.pool.submit([(Ticket(0), Box::new(write)), (Ticket(1), Box::new(save))]);
        world.pool.forget(title);
        let shared = Arc::clone(&world.pool.shared);
        world.pool.close(false);
        let answers = std::mem::take(&mut *lock(&shared.answered));
        assert!(answers.iter().all(|(_, answer)| matches!(answer, Outcome::Stored)), "{answers:?}");
        assert_eq!((answers.len(), world.titles.count()), (2, 0));
        assert_eq!(std::fs::read(world.folder.path().join("title/film")).expect("there"), data);
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
