//! See `shoal_fuzz::serve::range_host`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::serve::range_host(data));
