//! See `shoal_fuzz::wire::path_names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::path_names(data));
