//! Blocks: the frames of a track that are stored together (RFC 9559, 10).

use core::ops::Range;

use super::ebml::vint;
use crate::bytes::{array, u8_at};

/// What a block says before its frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BlockHead {
    /// Number of its track.
    pub(crate) track: u64,
    /// When its first frame is shown, in ticks from its cluster's time.
    pub(crate) time: i16,
    flags: u8,
    length: usize,
}

impl BlockHead {
    /// Longest head: number of the track, time, flags.
    pub(crate) const BYTES_MAX: usize = 8 + 2 + 1;

    /// Of a block that begins with `data`.
    pub(crate) fn read(data: &[u8]) -> Option<Self> {
        let (track, length) = vint(data)?;
        let time = i16::from_be_bytes(array(data, length)?);
        let flags = u8_at(data, length + 2)?;
        Some(Self { track, time, flags, length: length + 3 })
    }
    /// Whether a simple block says that decoding can begin with it.
    pub(crate) fn is_key(&self) -> bool {
        self.flags & 0x80 != 0
    }
    /// Where in the block its frames are, up to 256. `None` when the block makes no sense.
    pub(crate) fn frames(&self, block: &[u8]) -> Option<Vec<Range<usize>>> {
        let mut body = Body { data: block, at: self.length };
        let sizes = match self.flags & 0x06 {
            0x00 => Vec::new(),
            0x02 => body.xiph()?,
            0x04 => body.fixed()?,
            _ => body.ebml()?,
        };
        let mut frames = Vec::with_capacity(sizes.len() + 1);
        let mut at = body.at;
        for size in sizes {
            let end = at.checked_add(size).filter(|end| *end <= block.len())?;
            frames.push(at..end);
            at = end;
        }
        frames.push(at..block.len());
        Some(frames)
    }
}

/// Reads the sizes of all frames of a block but the last, which has the rest.
struct Body<'a> {
    data: &'a [u8],
    at: usize,
}

impl Body<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = u8_at(self.data, self.at)?;
        self.at += 1;
        Some(byte)
    }
    /// Each size as a sum of bytes, ended by one below 255.
    fn xiph(&mut self) -> Option<Vec<usize>> {
        let count = self.byte()?;
        let mut size = || {
            let mut sum = 0;
            loop {
                let byte = self.byte()?;
                sum += usize::from(byte);
                if byte != 255 {
                    return Some(sum);
                }
            }
        };
        (0..count).map(|_| size()).collect()
    }
    /// All of one size.
    fn fixed(&mut self) -> Option<Vec<usize>> {
        let count = usize::from(self.byte()?);
        let rest = self.data.len().checked_sub(self.at)?;
        (rest % (count + 1) == 0).then(|| vec![rest / (count + 1); count])
    }
    /// The first size as it is, each other as the difference to the one before.
    fn ebml(&mut self) -> Option<Vec<usize>> {
        let count = self.byte()?;
        let mut sizes = Vec::with_capacity(usize::from(count));
        let mut last: Option<i64> = None;
        for _ in 0..count {
            let (raw, length) = vint(self.data.get(self.at..)?)?;
            self.at += length;
            let raw = i64::try_from(raw).ok()?;
            let half = (1i64 << (7 * length - 1)) - 1;
            let size = match last {
                None => raw,
                Some(last) => last.checked_add(raw - half)?,
            };
            sizes.push(usize::try_from(size).ok()?);
            last = Some(size);
        }
        Some(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::BlockHead;

    fn sizes(block: &[u8]) -> Option<Vec<usize>> {
        let head = BlockHead::read(block)?;
        assert_eq!((head.track, head.time), (1, -2));
        head.frames(block).map(|frames| frames.iter().map(ExactSizeIterator::len).collect())
    }

    fn block(flags: u8, lacing: &[u8], bytes: usize) -> Vec<u8> {
        let mut block = vec![0x81, 0xff, 0xfe, flags];
        block.extend_from_slice(lacing);
        block.resize(block.len() + bytes, 7);
        block
    }

    #[test]
    fn frames_are_told_apart_in_every_lacing() {
        assert_eq!(sizes(&block(0x80, &[], 9)), Some(vec![9]));
        assert_eq!(sizes(&block(0x02, &[2, 255, 5, 3], 300)), Some(vec![260, 3, 37]));
        assert_eq!(sizes(&block(0x04, &[2], 30)), Some(vec![10, 10, 10]));
        assert_eq!(sizes(&block(0x04, &[2], 31)), None);
        // The example of RFC 9559, 10.3.3: 800, 500 and 1000 bytes.
        assert_eq!(
            sizes(&block(0x06, &[2, 0x43, 0x20, 0x5e, 0xd3], 2300)),
            Some(vec![800, 500, 1000])
        );
        assert_eq!(sizes(&block(0x06, &[2, 0x43, 0x20, 0x40, 0x00], 2300)), None, "below zero");
        assert_eq!(sizes(&block(0x02, &[1, 200], 100)), None, "longer than the block");
    }
}
