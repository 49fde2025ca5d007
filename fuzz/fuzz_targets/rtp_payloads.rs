//! See `shoal_fuzz::media::rtp_payloads`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::rtp_payloads(data));
