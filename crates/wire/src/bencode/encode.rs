//! The writer: values to canonical bytes.

use alloc::vec::Vec;
use core::fmt::Write;

/// Writes bencode into a buffer of its own.
///
/// ```
/// use shoal_wire::bencode::Encoder;
/// let mut out = Encoder::new();
/// out.dict(|dict| {
///     dict.bytes(b"name", b"film");
///     dict.list(b"sizes", |list| list.uint(7));
/// });
/// assert_eq!(out.into_bytes(), b"d4:name4:film5:sizesli7eee");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    out: Vec<u8>,
}

impl Encoder {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Goes on behind what `out` already holds.
    #[must_use]
    pub fn append_to(out: Vec<u8>) -> Self {
        Self { out }
    }
    /// What was written.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }
    /// Writes an integer.
    pub fn int(&mut self, number: i64) {
        self.out.push(b'i');
        self.number(i128::from(number));
        self.out.push(b'e');
    }
    /// Writes an integer.
    pub fn uint(&mut self, number: u64) {
        self.out.push(b'i');
        self.number(i128::from(number));
        self.out.push(b'e');
    }
    /// Writes a string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as i128);
        self.out.push(b':');
        self.out.extend_from_slice(bytes);
    }
    /// Writes a value that is encoded already. The caller vouches that it is exactly one.
    pub fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }
    /// Writes a list of what `fill` writes.
    pub fn list(&mut self, fill: impl FnOnce(&mut ListEncoder<'_>)) {
        self.out.push(b'l');
        fill(&mut ListEncoder { encoder: self });
        self.out.push(b'e');
    }
    /// Writes a dictionary of what `fill` writes.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.out.push(b'd');
        fill(&mut DictEncoder { encoder: self, last_key: None });
        self.out.push(b'e');
    }
    fn number(&mut self, number: i128) {
        struct Sink<'a>(&'a mut Vec<u8>);
        impl Write for Sink<'_> {
            fn write_str(&mut self, text: &str) -> core::fmt::Result {
                self.0.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
        // Writing into a vector has no way to fail.
        let _ = write!(Sink(&mut self.out), "{number}");
    }
}

/// The inside of a list: an [`Encoder`] that cannot be taken away.
#[derive(Debug)]
pub struct ListEncoder<'a> {
    encoder: &'a mut Encoder,
}

impl ListEncoder<'_> {
    /// Adds an integer.
    pub fn int(&mut self, number: i64) {
        self.encoder.int(number);
    }
    /// Adds an integer.
    pub fn uint(&mut self, number: u64) {
        self.encoder.uint(number);
    }
    /// Adds a string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.encoder.bytes(bytes);
    }
    /// Adds a list.
    pub fn list(&mut self, fill: impl FnOnce(&mut ListEncoder<'_>)) {
        self.encoder.list(fill);
    }
    /// Adds a dictionary.
    pub fn dict(&mut self, fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.encoder.dict(fill);
    }
}

/// The inside of a dictionary. Keys must be added in ascending order of their bytes, each once: asserted in debug
/// builds.
#[derive(Debug)]
pub struct DictEncoder<'a> {
    encoder: &'a mut Encoder,
    /// Where the last key's content lies in the output.
    last_key: Option<(usize, usize)>,
}

impl DictEncoder<'_> {
    fn key(&mut self, key: &[u8]) -> &mut Encoder {
        let last = self.last_key.and_then(|(from, to)| self.encoder.out.get(from..to));
        debug_assert!(last.is_none_or(|last| last < key), "dictionary keys must ascend");
        self.encoder.bytes(key);
        let end = self.encoder.out.len();
        self.last_key = Some((end - key.len(), end));
        self.encoder
    }
    /// Adds an integer under `key`.
    pub fn int(&mut self, key: &[u8], number: i64) {
        self.key(key).int(number);
    }
    /// Adds an integer under `key`.
    pub fn uint(&mut self, key: &[u8], number: u64) {
        self.key(key).uint(number);
    }
    /// Adds a string under `key`.
    pub fn bytes(&mut self, key: &[u8], bytes: &[u8]) {
        self.key(key).bytes(bytes);
    }
    /// Adds an encoded value under `key`.
    pub fn raw(&mut self, key: &[u8], encoded: &[u8]) {
        self.key(key).raw(encoded);
    }
    /// Adds a list under `key`.
    pub fn list(&mut self, key: &[u8], fill: impl FnOnce(&mut ListEncoder<'_>)) {
        self.key(key).list(fill);
    }
    /// Adds a dictionary under `key`.
    pub fn dict(&mut self, key: &[u8], fill: impl FnOnce(&mut DictEncoder<'_>)) {
        self.key(key).dict(fill);
    }
}
