//! Metainfo from others, from ourselves, and from those who mean harm.

mod build;
mod foreign;
mod hostile;
mod names;
