//! Whatever the bytes, probing and taking apart end and keep their promises.

use proptest::prelude::*;

use super::FILMS;
use super::reading::{bare, moved};

/// What the fuzz target of transport streams holds of any bytes.
#[path = "../../../../fuzz/src/media.rs"]
#[expect(unreachable_pub, dead_code, reason = "it is a public module of the crate of fuzz targets")]
mod media;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn flipped_bytes_of_real_streams_break_no_promise(
        which in 0..FILMS.len(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
        head_only in any::<bool>(),
    ) {
        let mut file = FILMS[which].1.to_vec();
        let reach = if head_only { 3000 } else { file.len() };
        for (place, value) in flips {
            file[place.index(reach)] = value;
        }
        media::transport_stream(&file);
    }

    #[test]
    fn clocks_and_times_of_any_value_break_no_promise(
        which in 0..FILMS.len(),
        times in prop::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..30),
    ) {
        let mut file = bare(FILMS[which].0);
        for (place, by) in times {
            let at = place.index(file.len()) / 188 * 188;
            let packet = moved(&file[at..at + 188], by % (1 << 33));
            file[at..at + 188].copy_from_slice(&packet);
        }
        media::transport_stream(&file);
    }
}
