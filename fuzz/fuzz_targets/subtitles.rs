//! See `shoal_fuzz::media::subtitles`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::media::subtitles(data));
