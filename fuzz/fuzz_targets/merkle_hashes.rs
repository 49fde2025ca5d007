//! See `shoal_fuzz::wire::merkle_hashes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::merkle_hashes(data));
