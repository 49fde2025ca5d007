//! The info dictionary by BEP 9, for titles that came by magnet; and serving it.
//!
//! One peer is asked for the whole dictionary at a time, so that a wrong one has one author; while nobody will be done
//! soon, up to [`METADATA_PEERS_MAX`] are asked side by side, and when all places are taken the slowest gives its up to somebody
//! else: whatever others do, who sends at a good pace finishes. Memory grows with what arrives, not with what a peer says.

use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

use shoal_wire::peer::MetadataMessage;

use crate::config::limits::{
    METADATA_PEERS_MAX, METADATA_PIPELINE, METADATA_REFUSED_FOR, METADATA_SILENT, METADATA_SLOW,
    METADATA_SOON,
};
use crate::time::Instant;

/// Bytes in a piece of the dictionary (BEP 9).
const PIECE: u32 = 16 * 1024;

#[derive(Debug)]
struct Attempt {
    slot: u16,
    size: u32,
    parts: Vec<Option<Bytes>>,
    asked: u32,
    got: u32,
    began: Instant,
    heard: Instant,
}

impl Attempt {
    /// Time for what is left at the pace so far.
    fn left(&self, now: Instant) -> Duration {
        let missing = self.size.div_ceil(PIECE) - self.got;
        now.since(self.began).saturating_mul(missing) / self.got.max(1)
    }
    /// Whether it should not be waited for alone.
    fn is_slow(&self, now: Instant) -> bool {
        let is_tried = now.since(self.began) >= METADATA_SLOW;
        now.since(self.heard) >= METADATA_SLOW || (is_tried && self.left(now) > METADATA_SOON)
    }
}

/// The dictionary in the making.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    attempts: Vec<Attempt>,
    /// Peers that would not send it or were too slow, and when. At most one entry for a slot.
    refused: Vec<(u16, Instant)>,
    /// A complete dictionary is being checked.
    pub(crate) checking: bool,
}

impl Metadata {
    /// Whether `slot` should be asked now.
    pub(crate) fn wants(&self, now: Instant, slot: u16) -> bool {
        let refused =
            |&(other, at): &(u16, Instant)| other == slot && now.since(at) < METADATA_REFUSED_FOR;
        !self.checking
            && self.attempts.len() < METADATA_PEERS_MAX
            && !self.refused.iter().any(refused)
            && self.attempts.iter().all(|attempt| attempt.slot != slot && attempt.is_slow(now))
    }
    /// Begins to ask `slot`, whose dictionary has `size` bytes. Returns the pieces to ask for.
    pub(crate) fn begin(&mut self, now: Instant, slot: u16, size: u32) -> Vec<u32> {
        let asked = size.div_ceil(PIECE).min(METADATA_PIPELINE);
        self.attempts.push(Attempt {
            slot,
            size,
            parts: Vec::new(),
            asked,
            got: 0,
            began: now,
            heard: now,
        });
        (0..asked).collect()
    }
    /// A piece came. Returns the next piece to ask for, and the dictionary when it is whole. Pieces that were not asked
    /// for or have another length than they must are an error of the peer's.
    ///
    /// # Errors
    /// What rule the peer broke.
    pub(crate) fn on_data(
        &mut self,
        now: Instant,
        slot: u16,
        piece: u32,
        data: Bytes,
    ) -> Result<(Option<u32>, Option<Bytes>), &'static str> {
        let Some(index) = self.attempts.iter().position(|attempt| attempt.slot == slot) else {
            // A late answer to an attempt that was given up is no fault.
            return Ok((None, None));
        };
        let attempt = &mut self.attempts[index];
        if piece >= attempt.asked {
            return Err("it sent metadata that nobody asked for");
        }
        let length = (attempt.size - piece * PIECE).min(PIECE);
        if data.len() != length as usize {
            return Err("its metadata piece has the wrong length");
        }
        attempt.heard = now;
        if attempt.parts.len() <= piece as usize {
            attempt.parts.resize(piece as usize + 1, None);
        }
        if attempt.parts[piece as usize].replace(data).is_none() {
            attempt.got += 1;
        }
        let count = attempt.size.div_ceil(PIECE);
        if attempt.got == count {
            let mut whole = BytesMut::with_capacity(attempt.size as usize);
            for part in attempt.parts.iter().flatten() {
                whole.extend_from_slice(part);
            }
            self.attempts.clear();
            self.checking = true;
            return Ok((None, Some(whole.freeze())));
        }
        let next = (attempt.asked < count).then_some(attempt.asked);
        attempt.asked += u32::from(next.is_some());
        Ok((next, None))
    }
    /// The peer is gone.
    pub(crate) fn on_gone(&mut self, slot: u16) {
        self.attempts.retain(|attempt| attempt.slot != slot);
        self.refused.retain(|(other, _)| *other != slot);
    }
    /// The peer will not send it: it is not asked again for a while, so that others are.
    pub(crate) fn on_refused(&mut self, now: Instant, slot: u16) {
        self.on_gone(slot);
        self.refused.push((slot, now));
    }
    /// Gives up attempts that are silent, and when all places are taken the slowest. Called by the sweep.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let silent = |attempt: &&Attempt| now.since(attempt.heard) >= METADATA_SILENT;
        let mut over: Vec<u16> = self.attempts.iter().filter(silent).map(|a| a.slot).collect();
        if over.is_empty() && self.attempts.len() >= METADATA_PEERS_MAX {
            // Who has just begun has had no time to show its pace.
            let tried = self.attempts.iter().filter(|a| now.since(a.began) >= METADATA_SILENT);
            let slow = tried.filter(|attempt| attempt.is_slow(now));
            over.extend(slow.max_by_key(|attempt| attempt.left(now)).map(|a| a.slot));
        }
        over.into_iter().for_each(|slot| self.on_refused(now, slot));
    }
}

/// Pieces that `raw` travels in.
pub(crate) fn parts(raw: &Bytes) -> u32 {
    u32::try_from(raw.len()).unwrap_or(u32::MAX).div_ceil(PIECE)
}

/// The answer to a request for a piece of `raw`.
pub(crate) fn answer(raw: Option<&Bytes>, piece: u32) -> MetadataMessage {
    let Some(raw) = raw else { return MetadataMessage::Reject { piece } };
    let start = piece as usize * PIECE as usize;
    if start >= raw.len() {
        return MetadataMessage::Reject { piece };
    }
    let end = raw.len().min(start + PIECE as usize);
    MetadataMessage::Data { piece, total_size: raw.len() as u32, data: raw.slice(start..end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dictionary_is_put_together_from_its_pieces_in_any_order() {
        let raw = Bytes::from((0..200_000u32).map(|byte| byte as u8).collect::<Vec<_>>());
        let now = Instant::from_millis(1);
        let mut metadata = Metadata::default();
        let mut ask: Vec<u32> = metadata.begin(now, 3, raw.len() as u32);
        assert!(!metadata.wants(now, 3) && !metadata.wants(now, 4));
        assert!(metadata.wants(now + METADATA_SLOW, 4), "a slow peer is joined by another");
        let mut done = None;
        while let Some(piece) = ask.pop() {
            let MetadataMessage::Data { data, .. } = answer(Some(&raw), piece) else {
                panic!("{piece} exists")
            };
            let (next, whole) = metadata.on_data(now, 3, piece, data).expect("asked for");
            ask.extend(next);
            done = done.or(whole);
        }
        assert_eq!(done, Some(raw));
    }

    #[test]
    fn who_refuses_is_not_asked_again_for_a_while() {
        let at = |ms: u64| Instant::from_millis(ms);
        let mut metadata = Metadata::default();
        metadata.begin(at(0), 0, 10 << 20);
        metadata.on_refused(at(10), 0);
        assert!(!metadata.wants(at(900), 0) && metadata.wants(at(900), 1));
        assert!(metadata.wants(at(61_000), 0));
        metadata.on_gone(0);
        assert!(metadata.wants(at(900), 0), "somebody else has its slot now");
    }

    /// Twenty peers send a piece a second each of what they say has a thousand, and are never silent for long.
    #[test]
    fn who_drips_does_not_keep_others_away() {
        let mut metadata = Metadata::default();
        let piece = Bytes::from_static(&[0; PIECE as usize]);
        let mut sent = [0; 20];
        let mut honest = None;
        for second in 0..60 {
            let now = Instant::from_millis(second * 1000);
            metadata.sweep(now);
            for slot in 0..20u16 {
                if metadata.wants(now, slot) {
                    metadata.begin(now, slot, 16 << 20);
                } else if metadata.attempts.iter().any(|attempt| attempt.slot == slot) {
                    let count = &mut sent[usize::from(slot)];
                    metadata.on_data(now, slot, *count, piece.clone()).expect("asked for");
                    *count += 1;
                }
            }
            // It comes last, and needs four seconds for a dictionary of forty pieces.
            if metadata.wants(now, 20) {
                metadata.begin(now, 20, 40 * PIECE);
                honest = Some(second);
            } else if let Some(began) = honest {
                let first = (second - began - 1) as u32 * 10;
                let whole = (first..first + 10).filter_map(|index| {
                    let answer = metadata.on_data(now, 20, index, piece.clone());
                    answer.expect("asked for").1
                });
                if whole.count() > 0 {
                    return;
                }
            }
        }
        panic!("it never had the dictionary: it began at {honest:?}");
    }

    #[test]
    fn a_bomb_is_refused_before_it_takes_memory() {
        let now = Instant::from_millis(1);
        let mut metadata = Metadata::default();
        metadata.begin(now, 0, 10 << 20);
        assert!(metadata.on_data(now, 0, 639, Bytes::from_static(&[0; 16384])).is_err());
        assert!(metadata.on_data(now, 0, 0, Bytes::from_static(&[0; 100])).is_err());
        assert_eq!(metadata.attempts[0].parts.len(), 0);
    }
}
