//! See `shoal_fuzz::node::record`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::node::record(data));
