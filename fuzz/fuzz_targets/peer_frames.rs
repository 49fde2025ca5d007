//! See `shoal_fuzz::wire::peer_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::peer_frames(data));
