//! The info dictionary by BEP 9, for titles that came by magnet; and serving it.
//!
//! One peer is asked for the whole dictionary at a time, so that a wrong one has one author; when it is slow, up to
//! [`ATTEMPTS_MAX`] run side by side. Memory grows with what arrives, not with what a peer says.

use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::time::Duration;

use shoal_wire::peer::MetadataMessage;

use crate::time::Instant;

/// Bytes in a piece of the dictionary (BEP 9).
const PIECE: u32 = 16 * 1024;
/// Peers asked at the same time.
const ATTEMPTS_MAX: usize = 3;
/// Requests outstanding per peer.
const PIPELINE: u32 = 8;
/// A peer that says nothing for this long is joined by another, and given up after four times as long.
const SLOW: Duration = Duration::from_millis(1500);

/// A peer that refused is not asked again for this long.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// A peer may take this long for a piece on average: slower ones drip.
const PIECE_TIME: Duration = Duration::from_secs(2);

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

/// The dictionary in the making.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    attempts: Vec<Attempt>,
    /// Peers that would not send it or were far too slow, and when. At most one entry for a slot.
    refused: Vec<(u16, Instant)>,
    /// A complete dictionary is being checked.
    pub(crate) checking: bool,
}

impl Metadata {
    /// Whether `slot` should be asked now.
    pub(crate) fn wants(&self, now: Instant, slot: u16) -> bool {
        let refused = |&(other, at): &(u16, Instant)| other == slot && now.since(at) < REFUSED_FOR;
        !self.checking
            && self.attempts.len() < ATTEMPTS_MAX
            && !self.refused.iter().any(refused)
            && self
                .attempts
                .iter()
                .all(|attempt| attempt.slot != slot && now.since(attempt.heard) >= SLOW)
    }
    /// Begins to ask `slot`, whose dictionary has `size` bytes. Returns the pieces to ask for.
    pub(crate) fn begin(&mut self, now: Instant, slot: u16, size: u32) -> Vec<u32> {
        let asked = size.div_ceil(PIECE).min(PIPELINE);
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
    /// Gives up attempts that are silent, or so slow that they only keep others away. Called by the sweep.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let hopeless = |attempt: &Attempt| {
            now.since(attempt.heard) >= SLOW * 4
                || now.since(attempt.began) >= SLOW * 4 + PIECE_TIME * attempt.got
        };
        let slots: Vec<u16> =
            self.attempts.iter().filter(|attempt| hopeless(attempt)).map(|a| a.slot).collect();
        slots.into_iter().for_each(|slot| self.on_refused(now, slot));
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
        assert!(metadata.wants(now + SLOW, 4), "a slow peer is joined by another");
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
    fn who_refuses_or_drips_makes_room_for_others() {
        let at = |ms: u64| Instant::from_millis(ms);
        let mut metadata = Metadata::default();
        metadata.begin(at(0), 0, 10 << 20);
        metadata.on_refused(at(10), 0);
        assert!(!metadata.wants(at(900), 0) && metadata.wants(at(900), 1));
        metadata.begin(at(900), 1, 16 << 20);
        // A piece every five seconds is never silent for long, and would take an hour and a half.
        for piece in 0..3 {
            metadata.sweep(at(900 + 5000 * u64::from(piece)));
            let data = Bytes::from_static(&[0; 16384]);
            let _ = metadata.on_data(at(901 + 5000 * u64::from(piece)), 1, piece, data);
        }
        metadata.sweep(at(13_000));
        assert!(metadata.attempts.is_empty() && !metadata.wants(at(13_000), 1));
        assert!(metadata.wants(at(13_000), 2) && metadata.wants(at(80_000), 1));
        metadata.on_gone(1);
        assert!(metadata.wants(at(13_000), 1), "somebody else has its slot now");
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
