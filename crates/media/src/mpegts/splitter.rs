//! Sound of a transport stream in its frames: several may stand in a unit, and one may begin in one unit and end in the next.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::Codec;
use super::sound::Head;

/// What is known of a unit, and where its bytes begin among all.
#[derive(Clone, Copy, Debug)]
struct Mark<T> {
    begin: u64,
    unit: T,
}

/// A frame without the head that MP4 leaves out.
#[derive(Clone, Debug)]
pub(crate) struct SoundFrame<T> {
    /// The unit in which it begins.
    pub(crate) unit: T,
    /// Samples that are heard between the first frame that begins in that unit and this one, those of this one, and samples in a second.
    pub(crate) before: u64,
    pub(crate) samples: u32,
    pub(crate) rate: u32,
    pub(crate) data: Bytes,
}

/// Puts units together and takes frames out of them.
#[derive(Debug)]
pub(crate) struct Splitter<T> {
    codec: Codec,
    data: BytesMut,
    /// Where those begin among all that came.
    at: u64,
    /// The first is that of the unit in which they begin.
    marks: VecDeque<Mark<T>>,
    /// The unit that frames begin in by now, and samples since its first.
    current: Option<(T, u64)>,
    /// Whether the last bytes were a frame, so that what follows is believed to be one.
    in_step: bool,
}

impl<T: Copy> Splitter<T> {
    /// Of sound of that codec.
    pub(crate) fn new(codec: Codec) -> Self {
        let (data, marks) = (BytesMut::new(), VecDeque::new());
        Self { codec, data, at: 0, marks, current: None, in_step: false }
    }
    /// Takes the bytes of the next unit. `unit` is what is known of it; `None` where it does not tell its time.
    pub(crate) fn push(&mut self, unit: Option<T>, bytes: &[u8]) {
        if let Some(unit) = unit {
            let begin = self.at + self.data.len() as u64;
            // In a unit without bytes nothing begins.
            if self.marks.back().is_some_and(|mark| mark.begin == begin) {
                self.marks.pop_back();
            }
            self.marks.push_back(Mark { begin, unit });
        }
        self.data.extend_from_slice(bytes);
    }
    /// Whether there is the beginning of a frame.
    pub(crate) fn has_rest(&self) -> bool {
        !self.data.is_empty()
    }
    /// The next frame that is whole; `is_end` says that nothing more will come.
    pub(crate) fn next(&mut self, is_end: bool) -> Option<SoundFrame<T>> {
        loop {
            if self.data.len() < Head::BYTES {
                return None;
            }
            let Some(head) = Head::read(self.codec, &self.data) else {
                drop(self.pass(1));
                self.in_step = false;
                continue;
            };
            let follows = self.data.get(head.length..);
            match follows {
                None if is_end && !self.in_step => drop(self.pass(1)),
                None => return None,
                Some(rest) if !self.in_step && rest.len() < Head::BYTES && !is_end => return None,
                Some(rest) if !self.in_step && !self.may_begin(rest) => drop(self.pass(1)),
                Some(_) => {
                    self.in_step = true;
                    if let Some(frame) = self.take(head) {
                        return Some(frame);
                    }
                }
            }
        }
    }
    /// Whether a frame may begin like this.
    fn may_begin(&self, data: &[u8]) -> bool {
        data.len() < Head::BYTES || Head::read(self.codec, data).is_some()
    }
    /// The frame with that head; `None` where no unit told a time by now.
    fn take(&mut self, head: Head) -> Option<SoundFrame<T>> {
        if self.marks.front().is_some_and(|mark| mark.begin <= self.at) {
            self.current = self.marks.pop_front().map(|mark| (mark.unit, 0));
        }
        let mut data = self.pass(head.length);
        data.advance(head.left_out.min(data.len()));
        let (unit, before) = self.current.as_mut()?;
        let (unit, samples) = (*unit, u64::from(head.samples));
        let frame =
            SoundFrame { unit, before: *before, samples: head.samples, rate: head.rate, data };
        *before = before.saturating_add(samples);
        Some(frame)
    }
    /// Goes on behind so many bytes.
    fn pass(&mut self, count: usize) -> Bytes {
        let count = count.min(self.data.len());
        self.at += count as u64;
        // Units that are over, in which no frame began, are forgotten.
        while self.marks.get(1).is_some_and(|next| next.begin <= self.at) {
            self.marks.pop_front();
        }
        self.data.split_to(count).freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::{Codec, Splitter};

    /// A frame of AAC of 48 kHz with so many bytes behind its head.
    fn frame(bytes: usize, fill: u8) -> Vec<u8> {
        let length = bytes + 7;
        let mut all =
            vec![0xff, 0xf1, 0x4c, 0x80, (length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc];
        all.resize(length, fill);
        all
    }

    #[test]
    fn frames_that_lie_across_units_have_the_time_of_the_unit_in_which_they_begin() {
        let stream: Vec<u8> =
            (1..=9).flat_map(|fill| frame(20 * usize::from(fill), fill)).collect();
        // Behind garbage, so that what comes first is found by its neighbour.
        for cut in [1, 27, 100, 300, 500] {
            let mut splitter = Splitter::new(Codec::Adts);
            let mut found = Vec::new();
            splitter.push(Some(1), &[&[0xff, 0xf1, 3][..], &stream[..cut]].concat());
            found.extend(std::iter::from_fn(|| splitter.next(false)));
            splitter.push(Some(2), &stream[cut..]);
            found.extend(std::iter::from_fn(|| splitter.next(false)));
            found.extend(std::iter::from_fn(|| splitter.next(true)));
            assert_eq!(found.len(), 9, "{cut}");
            let mut begins = 0;
            let (mut second, mut first) = (0, 0);
            for (frame, fill) in found.iter().zip(1u8..) {
                assert_eq!(frame.data, vec![fill; 20 * usize::from(fill)]);
                let (unit, count) = if begins < cut { (1, &mut first) } else { (2, &mut second) };
                assert_eq!((frame.unit, frame.before), (unit, *count * 1024), "{cut}");
                *count += 1;
                begins += frame.data.len() + 7;
            }
            assert!(!splitter.has_rest());
        }
    }

    #[test]
    fn units_of_garbage_are_forgotten() {
        let mut splitter = Splitter::new(Codec::Adts);
        for unit in 0..50_000 {
            splitter.push(Some(unit), &[0; 170]);
            assert!(splitter.next(false).is_none());
            assert!(splitter.marks.len() <= 2);
        }
        splitter.push(Some(7), &frame(20, 1));
        splitter.push(Some(8), &frame(30, 2));
        let found: Vec<_> = std::iter::from_fn(|| splitter.next(true)).collect();
        assert_eq!(
            found.iter().map(|it| (it.unit, it.before)).collect::<Vec<_>>(),
            [(7, 0), (8, 0)]
        );
    }
}
