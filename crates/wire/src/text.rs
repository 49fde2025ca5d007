//! Words of strangers made fit to be shown.

use alloc::string::String;

/// `bytes` as text of at most `chars_max` characters: what is not UTF-8 replaced, control characters removed.
pub(crate) fn clean(bytes: &[u8], chars_max: usize) -> String {
    // A character takes at most four bytes: more are not even looked at.
    let bytes = bytes.get(..chars_max.saturating_mul(4)).unwrap_or(bytes);
    let text = String::from_utf8_lossy(bytes);
    text.chars().filter(|char| !char.is_control()).take(chars_max).collect()
}
