//! MPEG transport streams (ISO/IEC 13818-1): what is in them, where decoding can begin, and the film in other packets.
//!
//! **Does**: tells the streams and the length of a film from its head and its tail, or where each key frame lies by
//! reading it through ([`crate::Prober::thorough`]); makes transport streams of the frames of other containers ([`mux`]).
//! **Refuses**: more than one program: the first one with pictures or sound is the film, the others are passed on as they are.
//!
//! Times of a stream are 33 bits of 90 kHz; they wrap, and jump where films were joined. Times of the film begin with 0 when
//! its first frame is shown, and go on over both: `clock`.

mod clock;
mod codec;
mod head;
mod keys;
pub mod mux;
mod packet;
mod pes;
mod scan;
mod sets;
mod sound;
mod splitter;
mod tables;
mod walk;

use shoal_wire::time_index::TimeIndex;

use crate::limits::{DURATION_MS_MAX, KEYS_MAX};

pub(crate) use self::clock::{Clock, HZ, JUMP, WRAP, apart, ticks, wrapped};
pub(crate) use self::codec::{Codec, is_random_access, parts};
pub(crate) use self::head::{Elementary, Head};
pub(crate) use self::keys::{Found, Keys};
pub(crate) use self::packet::{FILLER, PACKET, Packet, set_pcr};
pub(crate) use self::pes::{Times, body, set_times, times};
pub(crate) use self::sets::trimmed;
pub(crate) use self::splitter::{SoundFrame, Splitter};
pub(crate) use self::walk::Walk;

/// What a published time may be off by rounding, ticks.
const ROUNDING: i64 = 180;

/// Whether a file that begins like this is one of ours.
pub(crate) fn recognises(head: &[u8]) -> bool {
    packet::Grid::find(head).is_some()
}

/// A transport stream as far as it must be known to play it: its tables and clocks, and where its key frames lie.
#[derive(Clone, PartialEq, Debug)]
pub struct Transport {
    pub(crate) head: Head,
    pub(crate) index: TimeIndex,
    is_exact: bool,
}

impl Transport {
    pub(crate) fn new(head: Head, index: TimeIndex) -> Self {
        let flat = TimeIndex::constant_rate(index.length, index.duration_ms, 0);
        let is_exact = !index.keys.is_empty() && index.keys != flat.keys;
        Self { head, index, is_exact }
    }
    /// With another index of the same file, as far as its points ascend and lie in the film; `None` when it is of another file.
    pub(crate) fn with_index(&self, index: &TimeIndex) -> Option<Self> {
        if index.length != self.index.length {
            return None;
        }
        let mut index = index.clone();
        index.duration_ms = index.duration_ms.min(DURATION_MS_MAX);
        let (mut time_ms, mut offset) = (0, 0);
        index.keys.retain(|key| {
            let is_inside = key.time_ms <= index.duration_ms && key.offset < index.length;
            let fits = is_inside && key.time_ms >= time_ms && key.offset >= offset;
            if fits {
                (time_ms, offset) = (key.time_ms + 1, key.offset);
            }
            fits
        });
        index.keys.truncate(KEYS_MAX);
        Some(Self::new(self.head.clone(), index))
    }
    /// Whether the points of its index are key frames; else they are guesses by its mean rate, and the file has to be searched.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.is_exact
    }
    /// Whether its packets follow each other without anything between them: then its bytes can be played as they are.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.head.grid.stride() == PACKET
    }
    /// What must stand in front of a part of the film that begins with `bytes` to be playable by itself: its tables, or nothing
    /// where it begins with them. One packet is enough to say.
    #[must_use]
    pub fn front(&self, bytes: &[u8]) -> Vec<u8> {
        let first = self.head.grid.packets(bytes, 0).next();
        if first.is_some_and(|(_, packet)| Packet(packet).pid() < packet::TABLE_PIDS_END) {
            return Vec::new();
        }
        self.head.tables.concat()
    }
    /// When a key frame is shown that its index puts at `film` and its stream at `shown`. Where the film goes on from its start without a
    /// jump of its clock, the rounding of published times is undone.
    pub(crate) fn exact(&self, shown: u64, film: i64) -> i64 {
        let plain = apart(shown, self.head.origin.unwrap_or(0));
        let off = apart(wrapped(plain), wrapped(film));
        film + if off.abs() <= ROUNDING { off } else { 0 }
    }
    /// `offset` of the file, moved back to where a packet begins if the packets stand in an unbroken row.
    pub(crate) fn aligned(&self, offset: u64) -> u64 {
        let stride = self.head.grid.stride() as u64;
        let behind = offset.saturating_sub(self.head.start);
        self.head.start + behind / stride * stride
    }
}
