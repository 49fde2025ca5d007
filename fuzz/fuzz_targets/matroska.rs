//! See `shoal_fuzz::media::matroska`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::matroska(data));
