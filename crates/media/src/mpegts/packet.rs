//! Packets of a transport stream: where they lie in a file, and what their heads say (ISO/IEC 13818-1, 2.4.3).

/// Bytes of a packet.
pub(crate) const PACKET: usize = 188;
/// The byte that each begins with.
const SYNC: u8 = 0x47;
/// Bytes of the arrival time in front of each packet in files of cameras and discs.
const STAMP: usize = 4;
/// Bytes of something else in front of the first packet that are accepted.
const LEAD_IN_MAX: usize = 1024;
/// Packets that stand in a row before something is taken for a transport stream, where it does not begin with the first.
const ROW: usize = 5;
/// The packets of the tables of tables, and of others that concern the whole stream, end here.
pub(crate) const TABLE_PIDS_END: u16 = 0x20;
/// Packets that only fill.
pub(crate) const FILLER: u16 = 0x1fff;

/// How packets follow each other in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grid {
    /// Bytes in front of each.
    prefix: usize,
}

impl Grid {
    /// From one packet to the next.
    pub(crate) fn stride(self) -> usize {
        PACKET + self.prefix
    }
    /// The grid of a file that begins like this, and where its first packet lies.
    pub(crate) fn find(head: &[u8]) -> Option<(Self, usize)> {
        let row = |grid: Self, at: usize, count: usize| {
            (0..count).all(|number| grid.fits(head, at + number * grid.stride()) == Some(true))
        };
        let grids = [Self { prefix: 0 }, Self { prefix: STAMP }];
        if let Some(grid) = grids.into_iter().find(|grid| row(*grid, 0, 4)) {
            return Some((grid, 0));
        }
        (1..=LEAD_IN_MAX).find_map(|at| {
            grids.into_iter().find(|grid| row(*grid, at, ROW)).map(|grid| (grid, at))
        })
    }
    /// Whether a packet may begin at `at`; `None` where the bytes end before that.
    fn fits(self, data: &[u8], at: usize) -> Option<bool> {
        data.get(at + self.prefix).map(|byte| *byte == SYNC)
    }
    /// The whole packets of `data`, from `at` on. Past bytes that are none it looks for three in a row.
    pub(crate) fn packets(self, data: &[u8], at: usize) -> Packets<'_> {
        Packets { grid: self, data, at }
    }
}

/// The packets of some bytes. After the last one, what is left begins at [`Packets::at`].
#[derive(Debug)]
pub(crate) struct Packets<'a> {
    grid: Grid,
    data: &'a [u8],
    at: usize,
}

impl Packets<'_> {
    /// Where it goes on once more bytes are here.
    pub(crate) fn at(&self) -> usize {
        self.at.min(self.data.len())
    }
    /// Past bytes that are no packet. False when there is no more to be known of these bytes.
    fn resync(&mut self) -> bool {
        let (grid, stride) = (self.grid, self.grid.stride());
        for at in self.at + 1.. {
            match grid.fits(self.data, at) {
                None => {
                    self.at = at.saturating_sub(1);
                    return false;
                }
                // What does not fit now never will.
                Some(false) => self.at = at,
                Some(true) => {
                    match [at + stride, at + 2 * stride].map(|at| grid.fits(self.data, at)) {
                        [Some(true), Some(true)] => {
                            self.at = at;
                            return true;
                        }
                        [Some(false), _] | [_, Some(false)] => {}
                        _ => return false,
                    }
                }
            }
        }
        false
    }
}

impl<'a> Iterator for Packets<'a> {
    type Item = (usize, &'a [u8; PACKET]);
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let start = self.at + self.grid.prefix;
            let bytes: &[u8; PACKET] = self.data.get(start..start + PACKET)?.try_into().ok()?;
            if bytes.first() == Some(&SYNC) {
                let at = self.at;
                self.at += self.grid.stride();
                return Some((at, bytes));
            }
            if !self.resync() {
                return None;
            }
        }
    }
}

/// What the head of a packet says. Fields that its length gives room for only, are absent in shorter ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet<'a>(pub(crate) &'a [u8; PACKET]);

impl<'a> Packet<'a> {
    /// Which stream it belongs to.
    pub(crate) fn pid(self) -> u16 {
        u16::from_be_bytes([self.0[1], self.0[2]]) & 0x1fff
    }
    /// Whether a unit of its stream begins in it.
    pub(crate) fn is_start(self) -> bool {
        self.0[1] & 0x40 != 0
    }
    /// Whether it can be read: it was received without a fault, and is not scrambled.
    pub(crate) fn is_readable(self) -> bool {
        self.0[1] & 0x80 == 0 && self.0[3] & 0xc0 == 0
    }
    /// Whether it carries bytes of its stream.
    pub(crate) fn has_payload(self) -> bool {
        self.0[3] & 0x10 != 0
    }
    /// Its number among those with a payload, modulo 16.
    pub(crate) fn counter(self) -> u8 {
        self.0[3] & 0x0f
    }
    /// Its adaptation field, without its length.
    pub(crate) fn adaptation(self) -> &'a [u8] {
        if self.0[3] & 0x20 == 0 {
            return &[];
        }
        self.0.get(5..5 + usize::from(self.0[4])).unwrap_or(&[])
    }
    /// Bytes of its stream.
    pub(crate) fn payload(self) -> &'a [u8] {
        let skipped = if self.0[3] & 0x20 == 0 { 0 } else { 1 + usize::from(self.0[4]) };
        let bytes = self.0.get(4 + skipped..).unwrap_or(&[]);
        if self.has_payload() { bytes } else { &[] }
    }
    /// Whether its writer says that decoding can begin with it.
    pub(crate) fn is_random_access(self) -> bool {
        self.adaptation().first().is_some_and(|flags| flags & 0x40 != 0)
    }
    /// The clock of its program, in 90 kHz modulo 2^33.
    pub(crate) fn pcr(self) -> Option<u64> {
        let [flags, a, b, c, d, e, _, ..] = *self.adaptation() else { return None };
        let base = u64::from(u32::from_be_bytes([a, b, c, d])) << 1 | u64::from(e >> 7);
        (flags & 0x10 != 0 && self.0[1] & 0x80 == 0).then_some(base)
    }
}

/// Writes the clock of a packet that has one; the 300ths of a tick stay.
pub(crate) fn set_pcr(packet: &mut [u8; PACKET], base: u64) {
    if Packet(packet).pcr().is_some() {
        let upper = u32::try_from(base >> 1 & 0xffff_ffff).unwrap_or(0).to_be_bytes();
        packet[6..10].copy_from_slice(&upper);
        packet[10] = packet[10] & 0x7f | u8::from(base & 1 == 1) << 7;
    }
}

#[cfg(test)]
mod tests {
    use super::{Grid, PACKET, Packet, set_pcr};

    #[test]
    fn packets_are_found_again_behind_garbage_at_whatever_place_the_bytes_are_cut() {
        let mut file = Vec::new();
        for number in 0..20u8 {
            file.extend([0x47, 0, number, 0x10]);
            file.resize(file.len() + PACKET - 4, number);
            if number % 7 == 6 {
                file.extend([0x11; 20]);
                file.extend([0x47; 3]);
                file.extend([0x11; 50]);
            }
        }
        let (grid, at) = Grid::find(&file).unwrap();
        assert_eq!((grid.stride(), at), (188, 0));
        for chunk in [1, 100, 1000, 10_000] {
            let (mut found, mut kept, mut data) = (Vec::new(), Vec::new(), &file[..]);
            while !data.is_empty() {
                let (now, later) = data.split_at(chunk.min(data.len()));
                data = later;
                kept.extend_from_slice(now);
                let mut packets = grid.packets(&kept, 0);
                found.extend(packets.by_ref().map(|(_, bytes)| bytes[2]));
                let left = packets.at();
                kept.drain(..left);
            }
            let last = found.split_off(18);
            assert_eq!(found, (0..18).collect::<Vec<_>>(), "{chunk}");
            assert_eq!(last, [18, 19], "{chunk}");
        }
    }

    #[test]
    fn a_clock_is_written_where_there_is_one() {
        let mut packet = [0xff; PACKET];
        packet[..6].copy_from_slice(&[0x47, 0, 5, 0x30, 7, 0x10]);
        packet[10..12].copy_from_slice(&[0x7e, 0x12]);
        for base in [0, 1, 0x1_ffff_ffff, 0x1_2345_6789] {
            set_pcr(&mut packet, base);
            assert_eq!(Packet(&packet).pcr(), Some(base));
            assert_eq!(packet[11], 0x12);
        }
        packet[5] = 0;
        assert_eq!(Packet(&packet).pcr(), None);
    }
}
