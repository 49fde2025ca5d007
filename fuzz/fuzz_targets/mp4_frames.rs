//! See `shoal_fuzz::media::mp4_frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::mp4_frames(data));
