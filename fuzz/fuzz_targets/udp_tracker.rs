//! See `shoal_fuzz::wire::udp_tracker`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::udp_tracker(data));
