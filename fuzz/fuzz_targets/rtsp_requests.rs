//! See `shoal_fuzz::serve::rtsp_requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::serve::rtsp_requests(data));
