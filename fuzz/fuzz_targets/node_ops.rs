//! See `shoal_fuzz::node::node_ops`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| shoal_fuzz::node::node_ops(data));
