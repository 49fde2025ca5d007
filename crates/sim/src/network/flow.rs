//! One direction of one connection: a byte stream with a congestion window.
//!
//! The window follows Linux where it shows in a film's start and jumps: ten segments at first, doubling per round trip,
//! halved per time-out of idleness (RFC 2861), cut by 0.7 on loss (RFC 9438). Slow start ends when the receiver's link is
//! seen to queue (as HyStart, RFC 9406, does); then the window grows by an eighth per round trip while the queue is short
//! and shrinks while it is long, so that a standing queue stays near [`QUEUE_LONG_NS`].

use std::collections::VecDeque;

use shoal_wire::peer::{Message, encoded_len};

/// Bytes of stream in a full segment: 1,500 less IP and TCP headers with time stamps.
pub const SEGMENT: u64 = 1448;
/// Bytes of headers on each segment, and of an acknowledgement.
pub const HEADER: u64 = 52;
/// Initial window (RFC 6928).
pub const WINDOW_FIRST: u64 = 10 * SEGMENT;
/// Windows never fall below this.
pub const WINDOW_LEAST: u64 = 4 * SEGMENT;
/// Windows never rise above this: the usual bound of socket buffers.
pub const WINDOW_MOST: u64 = 4 << 20;
/// Stream bytes that leave together at most, unless a single message is longer.
pub const CHUNK_MOST: u64 = 20 * 1024;
/// A chunk is cut when it has this many bytes and a message ends.
pub const CHUNK_GOOD: u64 = 16 * 1024;
/// A queue at the receiver's link longer than this ends slow start and growth.
pub const QUEUE_SHORT_NS: u64 = 8_000_000;
/// A queue at the receiver's link longer than this shrinks the window.
pub const QUEUE_LONG_NS: u64 = 60_000_000;
/// Least retransmission time-out of Linux.
pub const TIMEOUT_LEAST_NS: u64 = 200_000_000;

/// Bytes on the wire for `stream` bytes sent together.
#[must_use]
pub const fn wire_len(stream: u64) -> u64 {
    stream + stream.div_ceil(SEGMENT) * HEADER
}

/// Bytes of acknowledgements for `stream` bytes: one per two segments.
#[must_use]
pub const fn ack_len(stream: u64) -> u64 {
    stream.div_ceil(2 * SEGMENT) * HEADER
}

/// A message in the stream.
#[derive(Debug)]
pub(super) struct Queued {
    /// Stream offset of the byte after it.
    pub(super) end: u64,
    pub(super) message: Message,
}

/// What is under way in a flow.
#[derive(Debug, Default)]
struct Load {
    /// Messages not yet delivered, oldest first.
    queue: VecDeque<Queued>,
    /// How many of `queue` have left whole.
    left: usize,
    /// Acknowledgements on their way, but for the last one: when they arrive, and up to which byte.
    acks: VecDeque<(u64, u64)>,
    /// Chunks that wait at the receiver's port: bytes and arrival.
    waiting: VecDeque<(u64, u64)>,
    waiting_deficit: i64,
}

impl Load {
    fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.acks.is_empty() && self.waiting.is_empty()
    }
}

/// No acknowledgement is on its way.
const NO_ACK: u64 = u64::MAX;

/// One direction of one connection. A world has millions of them, and most are empty most of the time: those take a hundred
/// bytes.
#[derive(Debug)]
pub(super) struct Flow {
    load: Option<Box<Load>>,
    /// Stream bytes given to the socket, sent, delivered, acknowledged.
    pub(super) offered: u64,
    pub(super) launched: u64,
    pub(super) delivered: u64,
    acked: u64,
    /// When the last acknowledgement arrives, up to `delivered`, or [`NO_ACK`].
    ack_at: u64,
    /// At most [`WINDOW_MOST`].
    window: u32,
    threshold: u32,
    /// The window, not the application, was the limit since the last acknowledgement.
    limited: bool,
    /// Byte up to which a cut of the window is final: one cut per round trip.
    cut_until: u64,
    last_send: u64,
    /// Arrivals are in order: none before this.
    pub(super) last_arrival: u64,
    pub(super) round_trip: u64,
    /// Fair share bookkeeping of the sender's port.
    pub(super) deficit: i64,
    /// In the list of the sender's port.
    pub(super) active: bool,
    /// Waits for an acknowledgement.
    pub(super) blocked: bool,
    /// Film bytes that left since the node was last given credit.
    pub(super) credit_owed: u32,
    /// Credit the node holds: film bytes that the socket can still take.
    pub(super) credit: i64,
}

/// What left with a chunk.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Launched {
    pub(super) film: u64,
    pub(super) control: u64,
    pub(super) messages: u64,
}

impl Flow {
    pub(super) fn new(round_trip: u64, credit: u32) -> Self {
        Self {
            load: None,
            offered: 0,
            launched: 0,
            delivered: 0,
            acked: 0,
            ack_at: NO_ACK,
            window: WINDOW_FIRST as u32,
            threshold: WINDOW_MOST as u32,
            limited: false,
            cut_until: 0,
            last_send: 0,
            last_arrival: 0,
            round_trip,
            deficit: 0,
            active: false,
            blocked: false,
            credit_owed: 0,
            credit: i64::from(credit),
        }
    }
    /// Appends a message to the stream; returns its length.
    pub(super) fn offer(&mut self, message: Message) -> u64 {
        let length = encoded_len(&message) as u64;
        self.offered += length;
        if let Message::Piece { data, .. } = &message {
            self.credit -= data.len() as i64;
        }
        let queued = Queued { end: self.offered, message };
        let queue = &mut self.load.get_or_insert_default().queue;
        if queue.capacity() == 0 {
            // Mostly one is all there is.
            queue.reserve_exact(1);
        }
        queue.push_back(queued);
        length
    }
    pub(super) fn pending(&self) -> u64 {
        self.offered - self.launched
    }
    fn timeout(&self) -> u64 {
        self.round_trip + TIMEOUT_LEAST_NS
    }
    /// Takes acknowledgements that have arrived, and the passing of idle time, into account.
    pub(super) fn refresh(&mut self, now: u64) {
        while let Some(&(at, upto)) = self.load.as_ref().and_then(|load| load.acks.front())
            && at <= now
        {
            self.load.as_mut().and_then(|load| load.acks.pop_front());
            self.on_ack(upto);
        }
        let is_last = self.load.as_ref().is_none_or(|load| load.acks.is_empty());
        if is_last && self.ack_at <= now {
            self.ack_at = NO_ACK;
            self.on_ack(self.delivered);
        }
        self.give_back();
        if self.acked == self.launched {
            self.limited = false;
            let idle = now.saturating_sub(self.last_send) / self.timeout();
            if idle > 0 && u64::from(self.window) > WINDOW_FIRST {
                self.threshold = self.threshold.max(self.window * 3 / 4);
                self.window = (self.window >> idle.min(31)).max(WINDOW_FIRST as u32);
            }
        }
    }
    /// All up to byte `upto` is acknowledged.
    fn on_ack(&mut self, upto: u64) {
        let bytes = upto - self.acked;
        self.acked = upto;
        if self.limited {
            let more = if self.window < self.threshold { bytes } else { bytes / 8 };
            self.window = (u64::from(self.window) + more).min(WINDOW_MOST) as u32;
        }
    }
    /// What is empty takes no room.
    fn give_back(&mut self) {
        if self.load.as_ref().is_some_and(|load| load.is_empty()) {
            self.load = None;
        }
    }
    /// When the next acknowledgement arrives, if it is on its way.
    pub(super) fn next_ack(&self) -> Option<u64> {
        let first = self.load.as_ref().and_then(|load| load.acks.front()).map(|ack| ack.0);
        first.or_else(|| (self.ack_at != NO_ACK).then_some(self.ack_at))
    }
    /// Stream bytes that can leave together now; zero when the window is full.
    pub(super) fn next_chunk(&mut self) -> u64 {
        let room = u64::from(self.window).saturating_sub(self.launched - self.acked);
        let mut end = self.launched;
        let load = self.load.as_deref();
        for queued in load.into_iter().flat_map(|load| load.queue.range(load.left..)) {
            if queued.end - self.launched > CHUNK_MOST {
                break;
            }
            end = queued.end;
            if end - self.launched >= CHUNK_GOOD {
                break;
            }
        }
        if end == self.launched {
            end = self.offered.min(self.launched + CHUNK_GOOD);
        }
        let wanted = end - self.launched;
        if wanted <= room {
            return wanted;
        }
        self.limited = true;
        // Whole segments only, or Nagle's opposite would send crumbs.
        room - room % SEGMENT
    }
    /// Sends `bytes`; says what they were.
    pub(super) fn launch(&mut self, now: u64, bytes: u64) -> Launched {
        self.launched += bytes;
        self.last_send = now;
        if self.launched - self.acked >= u64::from(self.window / 2) {
            self.limited = true;
        }
        let mut sent = Launched::default();
        let Some(load) = &mut self.load else { return sent };
        while let Some(queued) = load.queue.get(load.left)
            && queued.end <= self.launched
        {
            load.left += 1;
            sent.messages += 1;
            match &queued.message {
                Message::Piece { data, .. } => {
                    sent.film += data.len() as u64;
                    self.credit_owed += data.len() as u32;
                }
                other => sent.control += encoded_len(other) as u64,
            }
        }
        sent
    }
    /// A loss was found out.
    pub(super) fn on_loss(&mut self) {
        if self.acked >= self.cut_until {
            self.cut(7, 10);
            self.threshold = self.window;
            self.cut_until = self.launched;
        }
    }
    /// `bytes` reached the other end after waiting `queued_ns` at its link; the acknowledgement is back at `ack_at`.
    pub(super) fn on_delivered(&mut self, bytes: u64, queued_ns: u64, ack_at: u64) {
        self.delivered += bytes;
        if queued_ns > QUEUE_LONG_NS && self.acked >= self.cut_until {
            self.cut(7, 8);
            self.threshold = self.window;
            self.cut_until = self.launched;
        } else if queued_ns > QUEUE_SHORT_NS {
            self.threshold = self.threshold.min(self.window);
        }
        if self.ack_at != NO_ACK {
            let before = (self.ack_at, self.delivered - bytes);
            self.load.get_or_insert_default().acks.push_back(before);
            self.ack_at = self.ack_at.max(ack_at);
        } else {
            self.ack_at = ack_at;
        }
    }
    fn cut(&mut self, part: u32, of: u32) {
        // Windows are far below 2^32 / 8.
        self.window = (self.window * part / of).max(WINDOW_LEAST as u32);
    }
    /// The next message that has arrived whole.
    pub(super) fn take_arrived(&mut self) -> Option<Message> {
        let load = self.load.as_mut()?;
        if load.queue.front()?.end > self.delivered {
            return None;
        }
        load.left -= 1;
        let message = load.queue.pop_front().map(|queued| queued.message);
        self.give_back();
        message
    }
    /// A chunk waits at the receiver's port. True when it is the only one.
    pub(super) fn wait(&mut self, bytes: u64, now: u64) -> bool {
        let load = self.load.get_or_insert_default();
        load.waiting.push_back((bytes, now));
        let is_only = load.waiting.len() == 1;
        if is_only {
            load.waiting_deficit = 0;
        }
        is_only
    }
    /// Whether chunks wait at the receiver's port.
    pub(super) fn is_waiting(&self) -> bool {
        self.load.as_ref().is_some_and(|load| !load.waiting.is_empty())
    }
    /// The flow's turn at the receiver's port: the chunk that passes, its bytes and arrival. `Err` when its share does not suffice
    /// yet, `Ok(None)` when none waits.
    pub(super) fn take_turn(&mut self) -> Result<Option<(u64, u64)>, ()> {
        let Some(load) = &mut self.load else { return Ok(None) };
        let Some(&(length, _)) = load.waiting.front() else { return Ok(None) };
        load.waiting_deficit += CHUNK_GOOD as i64;
        if load.waiting_deficit < length as i64 {
            return Err(());
        }
        load.waiting_deficit = (load.waiting_deficit - length as i64).min(CHUNK_GOOD as i64);
        let chunk = load.waiting.pop_front();
        self.give_back();
        Ok(chunk)
    }
    /// Forgets what has not left yet.
    pub(super) fn discard_unsent(&mut self) {
        if let Some(load) = &mut self.load {
            load.queue.truncate(load.left);
        }
        self.offered = self.launched;
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_charged_per_segment_and_per_two_acknowledged() {
        assert_eq!(wire_len(1448), 1500);
        assert_eq!(wire_len(1449), 1449 + 104);
        assert_eq!(ack_len(1), 52);
        assert_eq!(ack_len(4 * 1448), 104);
    }

    #[test]
    fn the_window_doubles_per_round_trip_and_falls_back_after_idleness() {
        let mut flow = Flow::new(100_000_000, 0);
        flow.offered = 1 << 30;
        let mut now = 0;
        let mut sent = Vec::new();
        for _ in 0..4 {
            let mut round = 0;
            flow.refresh(now);
            loop {
                let bytes = flow.next_chunk();
                if bytes == 0 {
                    break;
                }
                flow.launch(now, bytes);
                round += bytes;
            }
            sent.push(round / SEGMENT);
            now += 100_000_000;
            flow.on_delivered(round, 0, now);
        }
        // Whole segments only: a chunk that does not fill its last one costs up to a segment per round.
        assert_eq!(sent, [10, 19, 38, 77]);
        flow.refresh(now + 60_000_000_000);
        assert_eq!(u64::from(flow.window), WINDOW_FIRST);
    }

    #[test]
    fn one_loss_cuts_the_window_once_per_round_trip() {
        let mut flow = Flow::new(100_000_000, 0);
        flow.offered = 1 << 20;
        flow.launch(0, 10 * SEGMENT);
        flow.on_loss();
        flow.on_loss();
        assert_eq!(u64::from(flow.window), WINDOW_FIRST * 7 / 10);
    }
}
