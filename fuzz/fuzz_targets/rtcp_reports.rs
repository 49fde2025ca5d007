//! See `shoal_fuzz::serve::rtcp_reports`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::serve::rtcp_reports(data));
