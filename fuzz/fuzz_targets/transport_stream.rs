//! See `shoal_fuzz::media::transport_stream`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::transport_stream(data));
