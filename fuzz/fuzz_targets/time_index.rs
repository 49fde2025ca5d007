//! See `shoal_fuzz::wire::time_index`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::time_index(data));
