//! A Matroska without cues: the heads of all its blocks are looked at, one after the other.

use core::ops::Range;

use super::Cue;
use super::block::BlockHead;
use super::ebml::{
    BLOCK, BLOCK_GROUP, CLUSTER, HEADER_MAX, REFERENCE_BLOCK, SEGMENT, SIMPLE_BLOCK, TIMESTAMP,
    header, is_outermost, number,
};
use crate::limits::{BLOCKS_MAX, KEYS_MAX};
use crate::probe::{Step, Window};

/// Bytes that are looked at of each element: its head and that of a block, or a time.
const LOOK_BYTES: u64 = (HEADER_MAX + BlockHead::BYTES_MAX) as u64;

/// The walk from block to block.
#[derive(Debug)]
pub(super) struct Heads {
    at: u64,
    end: u64,
    visited: u32,
    /// Number of the track whose keys are looked for.
    track: u64,
    cluster: Option<Cluster>,
    /// The clusters that begin with a key frame of that track.
    pub(super) keys: Vec<Cue>,
    /// The latest time of a block, in ticks.
    pub(super) end_ticks: u64,
}

#[derive(Clone, Copy, Debug)]
struct Cluster {
    start: u64,
    ticks: u64,
    /// A block of the track was seen in it.
    is_seen: bool,
    /// The first one, in a group that may yet say that it refers to others.
    pending: Option<u64>,
}

impl Heads {
    /// Over the clusters in `bytes` of the file.
    pub(super) fn new(bytes: Range<u64>, track: u64) -> Self {
        let (at, end) = (bytes.start, bytes.end);
        Self { at, end, visited: 0, track, cluster: None, keys: Vec::new(), end_ticks: 0 }
    }

    /// Goes on with the bytes in `window`; `None` at the end.
    pub(super) fn visit(&mut self, window: &Window) -> Option<Step> {
        while self.at < self.end && self.visited < BLOCKS_MAX {
            let look = self.at..self.at.saturating_add(LOOK_BYTES).min(self.end);
            let data = match window.get(look) {
                Ok(data) => data,
                Err(need) => return Some(need),
            };
            let Some((id, head, size)) = header(data) else { break };
            let body = data.get(usize::try_from(head).unwrap_or(usize::MAX)..).unwrap_or(&[]);
            self.visited += 1;
            let enters = self.take(id, body, size);
            let skipped =
                if enters { Some(head) } else { size.map(|size| head.saturating_add(size)) };
            let Some(next) = skipped.and_then(|skipped| self.at.checked_add(skipped)) else {
                break;
            };
            self.at = next;
        }
        self.settle();
        None
    }

    /// Takes what an element says. Gives whether its children are visited.
    fn take(&mut self, id: u32, body: &[u8], size: Option<u64>) -> bool {
        if id != REFERENCE_BLOCK && id != BLOCK {
            self.settle_at(id);
        }
        match (id, &mut self.cluster) {
            (SEGMENT, _) => true,
            (CLUSTER, _) => {
                let start = self.at;
                self.cluster = Some(Cluster { start, ticks: 0, is_seen: false, pending: None });
                true
            }
            (BLOCK_GROUP, Some(_)) => true,
            (TIMESTAMP, Some(cluster)) => {
                let size = size.and_then(|size| usize::try_from(size).ok());
                let ticks = size.and_then(|size| body.get(..size)).and_then(number);
                cluster.ticks = ticks.unwrap_or(0);
                false
            }
            (SIMPLE_BLOCK | BLOCK, Some(cluster)) => {
                let Some(block) = BlockHead::read(body) else { return false };
                let ticks = cluster.ticks.saturating_add_signed(i64::from(block.time));
                self.end_ticks = self.end_ticks.max(ticks);
                if block.track == self.track && !cluster.is_seen {
                    cluster.is_seen = true;
                    let may_be_key = id == BLOCK || block.is_key();
                    cluster.pending = may_be_key.then_some(ticks);
                }
                false
            }
            (REFERENCE_BLOCK, Some(cluster)) => {
                // Of a later block it may be: the first one was settled before.
                cluster.pending = None;
                false
            }
            _ => false,
        }
    }

    /// A new block or cluster begins: what the one before did not deny is so.
    fn settle_at(&mut self, id: u32) {
        if is_outermost(id) || id == SIMPLE_BLOCK || id == BLOCK_GROUP {
            self.settle();
        }
    }

    fn settle(&mut self) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(ticks) = cluster.pending.take() else { return };
        if self.keys.len() < KEYS_MAX {
            self.keys.push(Cue { ticks, cluster: cluster.start, inside: 0 });
        }
    }
}
