//! See `shoal_fuzz::wire::magnet`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::magnet(data));
