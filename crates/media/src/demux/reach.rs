//! Cues of text that are shown in a segment and stand in the cluster of another one: read where the film's own cues say that they are.

use core::ops::Range;
use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use crate::limits::TEXT_BYTES_MAX;
use crate::matroska::ebml::{BLOCK_GROUP, CLUSTER, HEADER_MAX, SIMPLE_BLOCK, header};
use crate::presentation::TextCue;

/// Bytes that are read of a block first: all of it, most often.
const LOOK_BYTES: u64 = 256;

/// Reads blocks one after the other: the head of the cluster of each, which says where places in it are counted from, then itself.
#[derive(Debug, Default)]
pub(super) struct Reach {
    cues: VecDeque<TextCue>,
    /// Where the cluster's body begins, once that is known.
    body: Option<u64>,
    wanted: u64,
    came: BytesMut,
}

/// A block, or the group that it is in: its name, its body, and when it is shown, in ticks.
pub(super) type Found = (u32, Bytes, i64);

impl Reach {
    /// Of these cues.
    pub(super) fn new(cues: VecDeque<TextCue>) -> Self {
        Self { cues, wanted: HEADER_MAX as u64, ..Self::default() }
    }
    /// The bytes that come next, of a file of `length`. `None` when there is nothing more to come.
    pub(super) fn need(&self, length: u64) -> Option<Range<u64>> {
        let at = self.at()?;
        let range = at.saturating_add(self.came.len() as u64)..at.saturating_add(self.wanted);
        (range.start < length).then(|| range.start..range.end.min(length))
    }
    fn at(&self) -> Option<u64> {
        let cue = self.cues.front()?;
        Some(self.body.map_or(cue.cluster, |body| body.saturating_add(cue.inside)))
    }
    /// Takes bytes of what is needed. Gives a block when it is whole; what is no block is left out.
    pub(super) fn feed(&mut self, bytes: &[u8], length: u64) -> Option<Found> {
        let need = self.need(length)?;
        let room = usize::try_from(need.end - need.start).unwrap_or(usize::MAX);
        self.came.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or(&[]));
        let is_all = self.need(length).is_none_or(|need| need.is_empty());
        if !is_all {
            return None;
        }
        let Some((id, head, size)) = header(&self.came) else { return self.leave() };
        if self.body.is_none() {
            if id != CLUSTER {
                return self.leave();
            }
            self.body = self.cues.front().map(|cue| cue.cluster.saturating_add(head));
            self.wanted = LOOK_BYTES;
            self.came.clear();
            if self.need(length).is_none() {
                return self.leave();
            }
            return None;
        }
        let size =
            size.filter(|size| *size <= TEXT_BYTES_MAX && matches!(id, SIMPLE_BLOCK | BLOCK_GROUP));
        let Some(whole) = size.map(|size| head + size) else { return self.leave() };
        if (self.came.len() as u64) < whole {
            let is_more = whole > self.wanted;
            self.wanted = whole;
            return if is_more && self.need(length).is_some() { None } else { self.leave() };
        }
        let mut data = self.came.split_to(usize::try_from(whole).ok()?).freeze();
        data.advance(usize::try_from(head).ok()?);
        let ticks = self.cues.front().map_or(0, |cue| cue.ticks);
        self.leave();
        Some((id, data, ticks))
    }
    /// Goes on with the next.
    fn leave(&mut self) -> Option<Found> {
        self.cues.pop_front();
        (self.body, self.wanted) = (None, HEADER_MAX as u64);
        self.came.clear();
        None
    }
}
