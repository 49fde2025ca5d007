//! What the fuzz targets do: one function of bytes each, in one file for each crate that is fuzzed.
//!
//! A target in `fuzz_targets/` is one line that calls its function. The crate that is fuzzed includes its file in a test, so
//! that every function runs over the seeds of `seeds/` with an ordinary compiler too.

pub mod media;
pub mod node;
pub mod serve;
pub mod wire;
