//! See `shoal_fuzz::wire::http_tracker_answer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::wire::http_tracker_answer(data));
