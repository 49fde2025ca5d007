//! See `shoal_fuzz::media::lying_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::lying_index(data));
