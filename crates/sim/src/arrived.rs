//! When the blocks of a film came to a viewer: what continuity is worked out from.

/// When each block of a film came, in steps that make 16 bits last for a whole run: a world keeps this for every viewer. Parts of
/// a film of which nothing came take no room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrived {
    step_ns: u64,
    blocks: usize,
    pages: Vec<Option<Box<[u16; Self::PAGE]>>>,
}

impl Arrived {
    const NEVER: u16 = u16::MAX;
    /// Blocks whose times lie together.
    const PAGE: usize = 256;

    /// For a film of `blocks` in a run that ends by `limit_ns`.
    #[must_use]
    pub fn new(blocks: u32, limit_ns: u64) -> Self {
        let step_ns = limit_ns.div_ceil(u64::from(Self::NEVER) - 1).max(1);
        let blocks = blocks as usize;
        Self { step_ns, blocks, pages: vec![None; blocks.div_ceil(Self::PAGE)] }
    }
    /// Notes that a block came, unless it had come before.
    pub fn note(&mut self, block: usize, now_ns: u64) {
        if block < self.blocks {
            let page = self.pages[block / Self::PAGE]
                .get_or_insert_with(|| Box::new([Self::NEVER; Self::PAGE]));
            let step = now_ns.div_ceil(self.step_ns).min(u64::from(Self::NEVER) - 1);
            let at = &mut page[block % Self::PAGE];
            *at = (*at).min(step as u16);
        }
    }
    /// When the last of some blocks came, rounded up to a step, nanoseconds; `None` while one is missing.
    #[must_use]
    pub fn all_at(&self, blocks: std::ops::Range<usize>) -> Option<u64> {
        let blocks = blocks.start.min(self.blocks)..blocks.end.min(self.blocks);
        let at = |block: usize| {
            let page = self.pages[block / Self::PAGE].as_ref();
            page.map_or(Self::NEVER, |page| page[block % Self::PAGE])
        };
        let last = blocks.map(at).max()?;
        (last != Self::NEVER).then(|| u64::from(last) * self.step_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::Arrived;

    #[test]
    fn arrivals_are_kept_to_a_step_and_only_the_first_counts() {
        // 900 s in 65,534 steps: 13.7 ms each.
        let mut arrived = Arrived::new(3, 900_000_000_000);
        arrived.note(0, 5_000_000_000);
        arrived.note(0, 9_000_000_000);
        arrived.note(1, 899_999_999_999);
        arrived.note(7, 1);
        let at = arrived.all_at(0..1).expect("it came");
        assert!((5_000_000_000..5_014_000_000).contains(&at), "{at}");
        assert!(arrived.all_at(0..2).is_some_and(|at| at >= 899_980_000_000));
        assert_eq!(arrived.all_at(1..3), None);
        assert_eq!(arrived.all_at(3..9), None);
    }
}
