//! What happened, as one number: a rolling 128-bit hash over every turn, and the last turns in words.
//!
//! The hash takes in time, node, input and effects of each turn, by their meaning (variants, numbers, lengths) and not by
//! their memory, so that the same seed gives the same hash in another process, build or optimisation level.

use std::collections::VecDeque;
use std::fmt::Write as _;

use shoal_node::io::{CloseReason, Command, Effect, Event, Input, Job, Outcome, Packet};
use shoal_wire::peer::{BlockRequest, Extended, Message, ShoalMessage};
use shoal_wire::tracker::UdpTracker;

/// Turns that are kept in words for a failure report.
pub const TURNS_KEPT: usize = 400;

/// Two lanes of multiply and fold. Not cryptographic: it tells runs apart, it does not resist forgers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest([u64; 2]);

impl Default for Digest {
    fn default() -> Self {
        Self([0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344])
    }
}

impl Digest {
    /// Takes in one number.
    pub fn add(&mut self, value: u64) {
        let [a, b] = self.0;
        let wide = u128::from(a ^ value) * 0x9e37_79b9_7f4a_7c15_u128;
        let folded = (wide as u64) ^ ((wide >> 64) as u64);
        self.0 = [folded ^ b.rotate_left(23), b.wrapping_mul(0xd6e8_feb8_6659_fd93) ^ folded];
    }
    /// Takes in some bytes and their number.
    pub fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.add(u64::from_le_bytes(word));
        }
    }
    fn add_two(&mut self, tag: u64, value: u64) {
        self.add((tag << 56) ^ value);
    }
    fn add_block(&mut self, tag: u64, block: &BlockRequest) {
        self.add_two(tag, (u64::from(block.piece) << 24) ^ u64::from(block.offset));
        self.add(u64::from(block.length));
    }
    fn add_message(&mut self, message: &Message) {
        match message {
            Message::Handshake(hand) => self.add_bytes(&hand.peer_id.0),
            Message::KeepAlive => self.add_two(1, 0),
            Message::Choke => self.add_two(2, 0),
            Message::Unchoke => self.add_two(3, 0),
            Message::Interested => self.add_two(4, 0),
            Message::NotInterested => self.add_two(5, 0),
            Message::Have { piece } => self.add_two(6, u64::from(*piece)),
            Message::Bitfield(bits) => self.add_bytes(bits),
            Message::Request(block) => self.add_block(7, block),
            Message::Piece { piece, offset, data } => {
                self.add_two(8, (u64::from(*piece) << 24) ^ u64::from(*offset));
                self.add((data.len() as u64) << 8 | u64::from(data.first().copied().unwrap_or(1)));
            }
            Message::Cancel(block) => self.add_block(9, block),
            Message::Port(port) => self.add_two(10, u64::from(*port)),
            Message::Suggest { piece } => self.add_two(11, u64::from(*piece)),
            Message::HaveAll => self.add_two(12, 0),
            Message::HaveNone => self.add_two(13, 0),
            Message::Reject(block) => self.add_block(14, block),
            Message::AllowedFast { piece } => self.add_two(15, u64::from(*piece)),
            Message::HashRequest(range) => {
                self.add_two(16, (u64::from(range.index) << 24) ^ u64::from(range.length));
            }
            Message::Hashes { range, hashes } => {
                self.add_two(17, (u64::from(range.index) << 24) ^ u64::from(range.length));
                self.add_two(17, hashes.len() as u64);
            }
            Message::HashReject(range) => self.add_two(18, u64::from(range.index)),
            Message::Extended(extended) => self.add_extended(extended),
        }
    }
    fn add_extended(&mut self, extended: &Extended) {
        match extended {
            Extended::Shoal(ShoalMessage::Requests(requests)) => {
                for request in requests {
                    self.add_block(20, &request.block);
                    self.add(u64::from(request.due_in_ms));
                }
            }
            Extended::Shoal(ShoalMessage::Hurry(requests)) => {
                for request in requests {
                    self.add_block(22, &request.block);
                    self.add(u64::from(request.due_in_ms));
                }
            }
            Extended::Shoal(ShoalMessage::HaveBlocks(spans)) => {
                for span in spans {
                    let inside = (u64::from(span.first) << 16) ^ u64::from(span.count);
                    self.add_two(21, (u64::from(span.piece) << 32) ^ inside);
                }
            }
            Extended::Shoal(ShoalMessage::Playhead(stretch)) => {
                self.add_two(34, (u64::from(stretch.from) << 32) ^ u64::from(stretch.until));
            }
            Extended::Shoal(ShoalMessage::Audience(members)) => {
                for member in members {
                    self.add_two(35, member.id);
                }
            }
            Extended::Shoal(ShoalMessage::Coordinates(place)) => {
                let [a, b, c] = place.at.map(|part| u64::from(part.cast_unsigned()));
                self.add_two(36, (a << 32) ^ b);
                self.add_two(36, (c << 32) ^ u64::from(place.height_us));
            }
            Extended::Pex(pex) => {
                self.add_two(22, ((pex.added.len() as u64) << 32) ^ pex.dropped.len() as u64);
            }
            Extended::DontHave { piece } => self.add_two(23, u64::from(*piece)),
            Extended::UploadOnly(only) => self.add_two(24, u64::from(*only)),
            Extended::Handshake(hand) => self.add_two(25, u64::from(hand.upload_only)),
            Extended::Metadata(_) => self.add_two(26, 0),
            Extended::HolePunch(_) => self.add_two(27, 0),
            Extended::Unknown { id } => self.add_two(28, u64::from(*id)),
        }
    }
    fn add_packet(&mut self, packet: &Packet) {
        match packet {
            Packet::Tracker(tracker) => match &**tracker {
                UdpTracker::Announced { answer, .. } => {
                    self.add_two(30, answer.peers.len() as u64);
                }
                UdpTracker::Announce { announce, .. } => self.add_two(31, announce.left),
                _ => self.add_two(32, 0),
            },
            Packet::LocalDiscovery(local) => self.add_two(33, local.info_hashes.len() as u64),
        }
    }
    fn add_reason(&mut self, reason: CloseReason) {
        let number = match reason {
            CloseReason::Remote => 0,
            CloseReason::Unreachable => 1,
            CloseReason::Protocol(why) => return self.add_bytes(why.as_bytes()),
            CloseReason::Corrupt => 3,
            CloseReason::Duplicate => 4,
            CloseReason::Myself => 5,
            CloseReason::NotNeeded => 6,
            CloseReason::Timeout => 7,
            CloseReason::Full => 8,
            CloseReason::Stopped => 9,
            CloseReason::Upgrade => 10,
        };
        self.add(number);
    }
    /// Takes in an input.
    pub fn add_input(&mut self, input: &Input) {
        match input {
            Input::Wake => self.add_two(40, 0),
            Input::Clock { unix_ms } => self.add_two(41, *unix_ms),
            Input::Command(command) => {
                let number = match command {
                    Command::Jump { to_ms, .. } => *to_ms,
                    Command::Play { at_ms, .. } => *at_ms,
                    _ => 0,
                };
                self.add_two(42, number);
            }
            Input::LinkUp { link, .. } => self.add_two(43, u64::from(link.0)),
            Input::LinkDown { link, reason } => {
                self.add_two(44, u64::from(link.0));
                self.add_reason(*reason);
            }
            Input::Message { link, message } => {
                self.add_two(45, u64::from(link.0));
                self.add_message(message);
            }
            Input::Credit { link, bytes, .. } => {
                self.add_two(46, (u64::from(link.0) << 24) ^ u64::from(*bytes));
            }
            Input::Packet { packet, .. } => self.add_packet(packet),
            Input::Done { ticket, outcome } => {
                let number = match outcome {
                    Outcome::Data(data) => data.len() as u64,
                    Outcome::Checked(good) => u64::from(*good),
                    Outcome::Stored => 2,
                    Outcome::Prepared(_) => 3,
                    Outcome::Resolved(found) => 4 + found.len() as u64,
                    Outcome::Fetched { status, .. } => u64::from(*status),
                    Outcome::Failed(_) => 5,
                    Outcome::Freed(bytes) => 6 ^ (bytes << 8),
                };
                self.add_two(47, (u64::from(ticket.0) << 24) ^ number);
            }
        }
    }
    /// Takes in an effect.
    pub fn add_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Dial { link, remote } => {
                self.add_two(50, (u64::from(link.0) << 16) ^ u64::from(remote.port()));
            }
            Effect::Close { link, reason } => {
                self.add_two(51, u64::from(link.0));
                self.add_reason(*reason);
            }
            Effect::Send { link, message } => {
                self.add_two(52, u64::from(link.0));
                self.add_message(message);
            }
            Effect::Packet { packet, .. } => self.add_packet(packet),
            Effect::Submit { ticket, job } => {
                let (kind, number) = match &**job {
                    Job::Read { offset, length, .. } => (0, (offset << 8) ^ u64::from(*length)),
                    Job::Write { offset, parts, .. } => (1, (offset << 8) ^ parts.len() as u64),
                    Job::CheckBlock { data, .. } => (2, data.len() as u64),
                    Job::CheckPiece { parts, .. } => (3, parts.len() as u64),
                    Job::CheckTree { parts, .. } => (10, parts.len() as u64),
                    Job::CheckInfo { raw, .. } => (4, raw.len() as u64),
                    Job::Leaves { piece, .. } => (5, u64::from(*piece)),
                    Job::Prepare { .. } => (6, 0),
                    Job::Save { record, .. } => (7, u64::from(record.have.ones())),
                    Job::Resolve { port, .. } => (8, u64::from(*port)),
                    Job::Fetch { url, .. } => (9, url.len() as u64),
                    Job::Evict { pieces, .. } => (11, pieces.len() as u64),
                    Job::Reclaim { bytes } => (12, *bytes),
                };
                self.add_two(53, (u64::from(ticket.0) << 8) ^ kind);
                self.add(number);
            }
            Effect::Tell(event) => self.add_event(event),
        }
    }
    fn add_event(&mut self, event: &Event) {
        let (tag, number) = match event {
            Event::Ready { .. } => (60, 0),
            Event::Complete { .. } => (61, 0),
            Event::Data { offset, data, .. } => (62, (offset << 20) ^ data.len() as u64),
            Event::ReaderFailed { .. } => (63, 0),
            Event::Playing { startup_ms, .. } => (64, *startup_ms),
            Event::Stall { stalled_ms, .. } => (65, *stalled_ms),
            Event::Seek { latency_ms, .. } => (66, *latency_ms),
            Event::Ended { .. } => (67, 0),
            Event::Banned { remote, .. } => (68, u64::from(remote.port())),
            Event::Trouble { fatal, .. } => (69, u64::from(*fatal)),
            Event::Stopped => (70, 0),
            Event::Dropped { remote, .. } => (71, u64::from(remote.port())),
        };
        self.add_two(tag, number);
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

/// The hash of a run so far, and its last turns.
#[derive(Debug, Default)]
pub struct Trace {
    digest: Digest,
    turns: u64,
    /// Keep the last turns in words: costs about a microsecond a turn.
    keep_words: bool,
    words: VecDeque<String>,
}

impl Trace {
    /// A trace; `keep_words` also keeps the last [`TURNS_KEPT`] turns as text.
    #[must_use]
    pub fn new(keep_words: bool) -> Self {
        Self { keep_words, ..Self::default() }
    }
    /// Takes in the start of a turn.
    pub fn begin(&mut self, at_ns: u64, node: u32, input: &Input) {
        self.turns += 1;
        self.digest.add(at_ns);
        self.digest.add(u64::from(node));
        self.digest.add_input(input);
        if self.keep_words {
            if self.words.len() == TURNS_KEPT {
                self.words.pop_front();
            }
            self.words.push_back(format!(
                "{:>12.6} s  node {node}  {}",
                at_ns as f64 / 1e9,
                brief(input)
            ));
        }
    }
    /// Takes in what came of it.
    pub fn effect(&mut self, effect: &Effect) {
        self.digest.add_effect(effect);
        if self.keep_words
            && let Some(line) = self.words.back_mut()
        {
            let _ = write!(line, "\n{:>18}-> {}", "", brief(effect));
        }
    }
    /// The hash so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
    /// Turns so far.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }
    /// The last turns, oldest first, one paragraph each.
    #[must_use]
    pub fn last_turns(&self, count: usize) -> String {
        let skip = self.words.len().saturating_sub(count);
        self.words.iter().skip(skip).map(|line| format!("{line}\n")).collect()
    }
}

/// One line for people: the debug form, cut.
fn brief(value: &impl std::fmt::Debug) -> String {
    struct Cut {
        text: String,
    }
    impl std::fmt::Write for Cut {
        fn write_str(&mut self, part: &str) -> std::fmt::Result {
            let room = 200usize.saturating_sub(self.text.len());
            let mut end = room.min(part.len());
            while !part.is_char_boundary(end) {
                end -= 1;
            }
            self.text.push_str(&part[..end]);
            if end < part.len() { Err(std::fmt::Error) } else { Ok(()) }
        }
    }
    let mut cut = Cut { text: String::new() };
    if write!(cut, "{value:?}").is_err() {
        cut.text.push_str("...");
    }
    cut.text
}

#[cfg(test)]
mod tests {
    use super::{Digest, Trace, brief};
    use shoal_node::io::Input;
    use shoal_node::link::LinkId;

    #[test]
    fn the_hash_depends_on_every_value_and_on_the_order() {
        let hash = |values: &[u64]| {
            let mut digest = Digest::default();
            values.iter().for_each(|&value| digest.add(value));
            digest.to_string()
        };
        assert_eq!(hash(&[1, 2, 3]), hash(&[1, 2, 3]));
        assert_ne!(hash(&[1, 2, 3]), hash(&[2, 1, 3]));
        assert_ne!(hash(&[1, 2]), hash(&[1, 2, 0]));
        assert_eq!(hash(&[]).len(), 32);
    }

    #[test]
    fn the_last_turns_are_kept_in_words() {
        let mut trace = Trace::new(true);
        for turn in 0..1000 {
            trace.begin(turn, 7, &Input::Credit { link: LinkId(3), bytes: turn as u32, passed: 0 });
        }
        let text = trace.last_turns(2);
        assert!(text.contains("bytes: 998") && text.contains("bytes: 999"), "{text}");
        assert!(!text.contains("bytes: 997"));
        assert!(brief(&"x".repeat(500)).len() < 220);
    }
}
