//! Serving: requests of peers in order of need, read ahead from disk, sent against credit, shared fairly when the uplink is
//! limited.
//!
//! ```text
//! request -> queued -> reading -> ready -> sent          (cancel and choke take it out at any stage before sent)
//! ```
//! Links wait in one order (`uplink.rs`): those whose next block is due within two seconds first, then those within ten, within
//! thirty, then the rest; a link moves up as time passes, so that what was asked for early does not starve. Who fetches in bulk
//! can wait for who watches, and who watches with a full buffer is no better than who fetches in bulk. Inside a class the one
//! that was served least comes first (start-time fair queueing). Global earliest-due-first would make more stalls under
//! overload.

use alloc::collections::VecDeque;
use alloc::string::String;
use bytes::Bytes;
use core::time::Duration;

use shoal_wire::peer::{BLOCK_LEN, BlockRequest};

use super::audit::equal;
use super::pieces::BlockKey;
use super::travel::Travel;
use crate::config::limits::{READ_AHEAD_MAX, READ_RUN_MAX};
use crate::time::Instant;

/// A request of a peer.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) request: BlockRequest,
    /// When it is needed, if it said so.
    pub(crate) due: Option<Instant>,
    /// At a source: others have it, so it goes after everything else.
    pub(crate) repeat: bool,
    pub(crate) stage: Stage,
}

/// How far a request is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    Queued,
    Reading,
    Ready(Bytes),
}

/// Requests of one peer, the most urgent first.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    pub(super) queue: VecDeque<Wanted>,
    /// Bytes in stages `Reading` and `Ready`.
    ahead: u32,
    /// Bytes that the disk was asked for and has not given yet, whatever became of the requests.
    reading: u32,
    /// Film bytes that the transport takes.
    pub(super) credit: u64,
    /// Film bytes given to the transport and not passed on by it.
    pub(super) flying: u64,
    /// Whether `flying` counts towards the uplink's total: not while the other end takes nothing.
    pub(super) stuck: bool,
    /// When the transport last passed something on, or was given something while empty.
    pub(super) progress: Option<Instant>,
    /// Those blocks.
    pub(super) travel: Travel,
    /// What the whole uplink had passed on by then.
    pub(super) passed_at: u64,
    /// Fair-queueing clock of this link.
    pub(super) served: u64,
    /// Its class in the uplink's order, if it waits there: `served` does not change meanwhile.
    pub(super) place: Option<Class>,
    /// When its place becomes a better one, by time alone.
    pub(super) ages: Option<Instant>,
    /// Its transport takes no more of what is needed soon.
    pub(super) starving: bool,
    /// How many of its requests count among those that wait for the uplink: needed at once, soon, and by any time.
    pub(super) counted: [u32; 3],
}

/// A request due within this time is served before all others.
pub(super) const URGENT: Duration = Duration::from_secs(2);
/// A request that is there moves forward when it is needed this much sooner than was said: each only so many times.
const SOONER: Duration = Duration::from_secs(1);
/// A request due within this time is served before those that are due later, or never.
pub(super) const SOON: Duration = Duration::from_secs(10);

/// A request due within this time is served before those of which nobody knows yet whether they will be needed.
const LATER: Duration = Duration::from_secs(30);

/// Classes of the uplink's order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Class {
    Urgent,
    Soon,
    Later,
    Regular,
    /// Copies of what others have, given by a source that has nothing better to do.
    Repeat,
}

impl Uploads {
    /// Number of requests waiting.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
    /// Adds a request in its place: by due time, those without one last, equals in order of arrival. False when it is there
    /// already.
    pub(crate) fn push(
        &mut self,
        request: BlockRequest,
        due: Option<Instant>,
        repeat: bool,
    ) -> bool {
        if self.queue.iter().any(|wanted| wanted.request == request) {
            return false;
        }
        self.put(Wanted { request, due, repeat, stage: Stage::Queued });
        true
    }
    /// Moves a request that waits here forward. False when it does not, or is not needed much sooner than was said.
    pub(crate) fn hurry(&mut self, request: &BlockRequest, due: Instant) -> bool {
        let is_later = |wanted: &Wanted| wanted.due.is_none_or(|said| due + SOONER <= said);
        let known = self.queue.iter().position(|wanted| wanted.request == *request);
        let known = known.filter(|&index| self.queue.get(index).is_some_and(is_later));
        match known.and_then(|index| self.queue.remove(index)) {
            Some(wanted) => self.put(Wanted { due: Some(due), repeat: false, ..wanted }),
            None => return false,
        }
        true
    }
    fn put(&mut self, wanted: Wanted) {
        // What has no due time comes last among its like.
        let order = |wanted: &Wanted| (wanted.repeat, wanted.due.is_none(), wanted.due);
        let own = order(&wanted);
        let place = self.queue.partition_point(|other| order(other) <= own);
        self.queue.insert(place, wanted);
    }
    /// Takes a request out. Returns whether it had cost something, `None` when it was not there.
    pub(crate) fn cancel(&mut self, request: &BlockRequest) -> Option<bool> {
        let index = self.queue.iter().position(|wanted| wanted.request == *request)?;
        let wanted = self.queue.remove(index)?;
        let begun = !matches!(wanted.stage, Stage::Queued);
        if begun {
            self.ahead -= wanted.request.length;
        }
        Some(begun)
    }
    /// Takes all requests out, for a choke.
    pub(crate) fn clear(&mut self) -> VecDeque<Wanted> {
        self.ahead = 0;
        core::mem::take(&mut self.queue)
    }
    /// An empty queue gives back what a burst took.
    pub(crate) fn give_back(&mut self) {
        if self.queue.is_empty() {
            self.queue = VecDeque::new();
        }
        self.travel.give_back();
    }
    /// Takes out the requests for a piece that we no longer have.
    pub(crate) fn drop_piece(&mut self, piece: u32) -> VecDeque<Wanted> {
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            self.clear().into_iter().partition(|wanted| wanted.request.piece == piece);
        self.ahead = kept
            .iter()
            .filter(|wanted| !matches!(wanted.stage, Stage::Queued))
            .map(|wanted| wanted.request.length)
            .sum();
        self.queue = kept;
        gone
    }
    /// The next requests that should be read from disk together: consecutive bytes of one piece. They become `Reading`.
    /// `memory` gives the bytes of a request that need no reading.
    pub(crate) fn next_read(
        &mut self,
        mut memory: impl FnMut(&BlockRequest) -> Option<Bytes>,
    ) -> Option<BlockRequest> {
        if self.ahead as usize >= READ_AHEAD_MAX / 2
            && !matches!(self.queue.front()?.stage, Stage::Queued)
        {
            return None;
        }
        let mut run: Option<BlockRequest> = None;
        for wanted in &mut self.queue {
            if !matches!(wanted.stage, Stage::Queued) {
                if run.is_some() {
                    break;
                }
                continue;
            }
            let request = wanted.request;
            // What was cancelled meanwhile is read all the same: it counts until the disk is done with it.
            let begun = self.ahead.max(self.reading);
            if begun > 0 && (begun + request.length) as usize > READ_AHEAD_MAX {
                break;
            }
            match &mut run {
                None => match memory(&request) {
                    Some(data) => {
                        wanted.stage = Stage::Ready(data);
                        self.ahead += request.length;
                        continue;
                    }
                    None => run = Some(request),
                },
                Some(run)
                    if run.piece == request.piece
                        && run.offset + run.length == request.offset
                        && run.length + request.length <= READ_RUN_MAX
                        && memory(&request).is_none() =>
                {
                    run.length += request.length;
                }
                Some(_) => break,
            }
            wanted.stage = Stage::Reading;
            self.ahead += request.length;
            self.reading += request.length;
        }
        run
    }
    /// The disk is done with a run, well or not.
    pub(crate) fn on_read_end(&mut self, run: &BlockRequest) {
        self.reading -= run.length;
    }
    /// A run that was read: its requests become ready.
    pub(crate) fn on_read(&mut self, run: &BlockRequest, data: &Bytes) {
        for wanted in &mut self.queue {
            let request = wanted.request;
            let inside = request.piece == run.piece
                && request.offset >= run.offset
                && request.offset + request.length <= run.offset + run.length;
            if inside && matches!(wanted.stage, Stage::Reading) {
                let start = (request.offset - run.offset) as usize;
                wanted.stage = Stage::Ready(data.slice(start..start + request.length as usize));
            }
        }
    }
    /// Length of the next block if it can be sent now.
    pub(crate) fn sendable(&self) -> Option<u32> {
        let front = self.queue.front()?;
        let ready = matches!(front.stage, Stage::Ready(_))
            && self.credit >= u64::from(front.request.length);
        ready.then_some(front.request.length)
    }
    /// Whether something is needed soon, and its transport, which is at work, takes no more.
    pub(super) fn is_starving(&self, now: Instant) -> bool {
        let takes_none = |front: &Wanted| {
            matches!(front.stage, Stage::Ready(_)) && self.credit < u64::from(front.request.length)
        };
        self.flying > 0
            && !self.stuck
            && self.queue.front().is_some_and(takes_none)
            && self.class(now).0 <= Class::Soon
    }
    /// The transport takes so much more.
    pub(crate) fn open(&mut self, credit: u64) {
        self.credit += credit;
    }
    /// Takes the next block out, spending its credit.
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Wanted, Bytes)> {
        let length = self.sendable()?;
        let wanted = self.queue.pop_front()?;
        self.credit -= u64::from(length);
        if self.flying == 0 {
            self.progress = Some(now);
        }
        self.travel.give(now, length, self.flying == 0);
        self.flying += u64::from(length);
        self.ahead -= length;
        let Stage::Ready(data) = &wanted.stage else { return None };
        let data = data.clone();
        Some((wanted, data))
    }
    /// The blocks for which requests wait.
    pub(super) fn keys(&self) -> impl Iterator<Item = BlockKey> + '_ {
        let block = |request: &BlockRequest| request.offset / BLOCK_LEN;
        self.queue
            .iter()
            .map(move |wanted| BlockKey::new(wanted.request.piece, block(&wanted.request)))
    }
    /// Sums against their parts.
    pub(super) fn audit(&self) -> Result<(), String> {
        let begun = self.queue.iter().filter(|wanted| !matches!(wanted.stage, Stage::Queued));
        let ahead = begun.map(|wanted| u64::from(wanted.request.length)).sum();
        equal("bytes read ahead", u64::from(self.ahead), ahead)
    }
    /// How many requests wait that are needed at once, soon, and by any time.
    pub(super) fn timed(&self, now: Instant) -> [u32; 3] {
        let counts = |wanted: &Wanted| !wanted.repeat && wanted.due.is_some();
        // They come first: in bulk there are none.
        if !self.queue.front().is_some_and(counts) {
            return [0; 3];
        }
        let within = |span: Duration| {
            let is =
                |wanted: &Wanted| counts(wanted) && wanted.due.is_some_and(|due| due <= now + span);
            self.queue.partition_point(is) as u32
        };
        [within(URGENT), within(SOON), self.queue.partition_point(counts) as u32]
    }
    /// Whether something waits here that is needed within [`SOON`].
    pub(super) fn is_awaited_soon(&self) -> bool {
        let [_, soon, _] = self.counted;
        soon > 0
    }
    /// Its class, and until when it has that.
    pub(super) fn class(&self, now: Instant) -> (Class, Option<Instant>) {
        let Some(front) = self.queue.front() else { return (Class::Regular, None) };
        match front.due {
            _ if front.repeat => (Class::Repeat, None),
            Some(due) if due <= now + URGENT => (Class::Urgent, None),
            Some(due) if due <= now + SOON => (Class::Soon, Some(due.back(URGENT))),
            Some(due) if due <= now + LATER => (Class::Later, Some(due.back(SOON))),
            Some(due) => (Class::Regular, Some(due.back(LATER))),
            None => (Class::Regular, None),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use alloc::vec::Vec;

    pub(crate) fn request(piece: u32, block: u32) -> BlockRequest {
        BlockRequest { piece, offset: block * 16384, length: 16384 }
    }

    #[test]
    fn what_is_due_first_goes_first_and_the_rest_in_order() {
        let mut uploads = Uploads { credit: 1 << 20, ..Uploads::default() };
        let at = Instant::from_millis;
        assert!(
            uploads.push(request(0, 0), None, false) && uploads.push(request(0, 1), None, false)
        );
        assert!(
            uploads.push(request(5, 0), Some(at(900)), false)
                && uploads.push(request(4, 0), Some(at(300)), false)
        );
        assert!(!uploads.push(request(0, 1), None, false), "a repeated request is one request");
        assert!(!uploads.hurry(&request(4, 0), at(400)), "nobody asks to be served later");
        assert!(!uploads.hurry(&request(7, 0), at(400)), "what is gone is not asked for again");
        assert!(uploads.push(request(6, 0), None, false) && uploads.hurry(&request(6, 0), at(500)));
        while let Some(run) = uploads.next_read(|_| None) {
            uploads.on_read(&run, &Bytes::from(alloc::vec![0; run.length as usize]));
        }
        let order: Vec<_> = core::iter::from_fn(|| uploads.take(at(0)))
            .map(|(sent, _)| (sent.request.piece, sent.request.offset))
            .collect();
        assert_eq!(order, [(4, 0), (6, 0), (5, 0), (0, 0), (0, 16384)]);
        assert_eq!(uploads.ahead, 0);
    }

    #[test]
    fn consecutive_requests_are_read_in_one_run() {
        let mut uploads = Uploads::default();
        for block in 0..40 {
            uploads.push(request(1, block), None, false);
        }
        let run = uploads.next_read(|_| None).expect("something to read");
        assert_eq!((run.offset, run.length), (0, READ_RUN_MAX));
    }
}
