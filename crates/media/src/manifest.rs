//! What playlists of HLS and manifests of DASH have in common.

use crate::presentation::Presentation;

/// Something that a playlist or manifest names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Address {
    /// The playlist of a stream (HLS).
    Playlist(usize),
    /// The header of a stream.
    Header(usize),
    /// A segment of a stream: the stream, and when the segment begins in units of that stream.
    Segment(usize, u64),
}

/// Bits in a second.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Rate {
    /// Of the segment that needs most.
    pub(crate) most: u64,
    /// Of all.
    pub(crate) mean: u64,
}

impl Rate {
    pub(crate) fn max(self, other: Self) -> Self {
        Self { most: self.most.max(other.most), mean: self.mean.max(other.mean) }
    }
    pub(crate) fn plus(self, other: Self) -> Self {
        let most = self.most.saturating_add(other.most);
        Self { most, mean: self.mean.saturating_add(other.mean) }
    }
}

/// What a stream needs. O(samples).
pub(crate) fn rate_of(presentation: &Presentation, number: usize) -> Rate {
    let Some(stream) = presentation.streams().get(number) else { return Rate::default() };
    let bits = |samples: core::ops::Range<usize>| {
        let samples = stream.samples().get(samples).unwrap_or(&[]);
        samples.iter().map(|sample| u64::from(sample.size()) * 8).sum::<u64>()
    };
    let per_second = |bits: u64, units: u64| {
        let rate = u128::from(bits) * u128::from(stream.timescale) / u128::from(units.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX)
    };
    if presentation.segments().iter().all(|segment| segment.bytes.is_some()) {
        // How the bytes are shared among streams is not known: nearly all are those of the stream that the film is cut at.
        if number != presentation.reference() {
            let rate = SOUND_BITS * u64::from(stream.coding.channels.max(1));
            return Rate { most: rate, mean: rate };
        }
        let bits = |bytes: &core::ops::Range<u64>| (bytes.end - bytes.start).saturating_mul(8);
        let segments = presentation.segments().iter();
        let all = segments.filter_map(|segment| {
            let span = segment.spans.get(number)?;
            Some((bits(segment.bytes.as_ref()?), span.end - span.start))
        });
        let most = all.clone().map(|(bits, units)| per_second(bits, units)).max();
        let mean = per_second(all.map(|(bits, _)| bits).fold(0, u64::saturating_add), stream.end());
        return Rate { most: most.unwrap_or(0).max(mean), mean };
    }
    let spans = presentation.segments().iter().filter_map(|segment| segment.spans.get(number));
    let most =
        spans.map(|span| per_second(bits(span.samples.clone()), span.end - span.start)).max();
    let mean = per_second(bits(0..stream.samples().len()), stream.end());
    Rate { most: most.unwrap_or(0).max(mean), mean }
}

/// Bits in a second of a channel of sound, where nothing is known of them.
const SOUND_BITS: u64 = 64_000;

/// `units` as seconds with six decimals.
pub(crate) fn seconds(units: u64, timescale: u32) -> String {
    let micros = crate::bytes::rescaled(units, timescale, 1_000_000);
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}
