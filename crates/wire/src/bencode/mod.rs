//! Bencode (BEP 3): a zero-copy parser into a tape of tokens with byte spans, and a writer.
//!
//! **Does**: [`Document::parse`] reads one value that fills the input, [`Document::parse_prefix`] one at its front (BEP 9
//! puts raw bytes behind a dictionary). [`Value`] walks it: [`Value::get`], [`Value::as_bytes`], [`Value::as_u64`],
//! [`Value::span`]. [`Encoder`] writes.
//! **Refuses**: leading zeros, `-0`, numbers outside `i64::MIN ..= u64::MAX`, keys that are not strings, duplicate keys,
//! and whatever is beyond the caller's [`Limits`]. Unsorted keys are read (an info-hash is over the bytes as they came)
//! and reported by [`Document::is_canonical`].
//!
//! The parser keeps its own stack of at most [`MAX_DEPTH`] entries; each token costs 20 bytes of memory.

mod encode;
mod parse;

use core::ops::Range;

pub use encode::{DictEncoder, Encoder, ListEncoder};
pub use parse::Document;

use crate::DecodeError;
use crate::error::ErrorKind;

/// Deepest nesting that any caller may allow.
pub const MAX_DEPTH: usize = 64;

/// How much of foreign input is read before it is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Input bytes; clamped to `u32::MAX`.
    pub bytes: usize,
    /// Tokens: every integer, string (keys too), list and dictionary counts one.
    pub tokens: usize,
    /// Lists and dictionaries inside each other; clamped to [`MAX_DEPTH`].
    pub depth: usize,
}

impl Limits {
    /// Torrent files and info dictionaries: 64 MiB, 2 M tokens.
    pub const FILE: Self = Self { bytes: 64 << 20, tokens: 2_000_000, depth: MAX_DEPTH };
    /// Messages between peers: 1 MiB, 1,024 tokens.
    pub const MESSAGE: Self = Self { bytes: 1 << 20, tokens: 1024, depth: 16 };
    /// Tracker answers, whose peer lists may be dictionaries: 2 MiB, 65,536 tokens.
    pub const ANSWER: Self = Self { bytes: 2 << 20, tokens: 65_536, depth: 16 };
}

/// What a value is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `i...e`
    Integer,
    /// `length:bytes`
    Bytes,
    /// `l...e`
    List,
    /// `d...e`
    Dict,
}

/// One value of a [`Document`], borrowed from it. Copying is free.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    input: &'a [u8],
    /// The value's own token first, its inside behind it.
    tokens: &'a [parse::Token],
}

impl<'a> Value<'a> {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.token().kind
    }
    fn token(&self) -> parse::Token {
        self.tokens.first().copied().unwrap_or(parse::Token::NONE)
    }
    /// Where the value's encoding lies in the input.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        let token = self.token();
        token.start as usize..token.end as usize
    }
    /// The value's encoding, from its first to its last byte.
    #[must_use]
    pub fn raw(&self) -> &'a [u8] {
        self.input.get(self.span()).unwrap_or(&[])
    }
    /// Where a string's content lies in the input; `None` for other kinds.
    #[must_use]
    pub fn content_span(&self) -> Option<Range<usize>> {
        let token = self.token();
        (token.kind == Kind::Bytes).then_some(token.content as usize..token.end as usize)
    }
    /// A string's content.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        self.input.get(self.content_span()?)
    }
    /// A string's content when it is UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.as_bytes()?).ok()
    }
    fn as_i128(&self) -> Option<i128> {
        let digits = self.raw().strip_prefix(b"i")?.strip_suffix(b"e")?;
        core::str::from_utf8(digits).ok()?.parse().ok()
    }
    /// An integer that fits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        i64::try_from(self.as_i128()?).ok()
    }
    /// An integer that fits; `None` when negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        u64::try_from(self.as_i128()?).ok()
    }
    /// An integer that fits; `None` when negative.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        u32::try_from(self.as_i128()?).ok()
    }
    /// Whether it is a list.
    #[must_use]
    pub fn is_list(&self) -> bool {
        self.kind() == Kind::List
    }
    /// Whether it is a dictionary.
    #[must_use]
    pub fn is_dict(&self) -> bool {
        self.kind() == Kind::Dict
    }
    /// The values of a list; none for other kinds.
    #[must_use]
    pub fn items(&self) -> Items<'a> {
        Items { input: self.input, tokens: self.inside(Kind::List) }
    }
    /// Keys and values of a dictionary in the order of the input; none for other kinds.
    #[must_use]
    pub fn entries(&self) -> Entries<'a> {
        Entries { items: Items { input: self.input, tokens: self.inside(Kind::Dict) } }
    }
    fn inside(&self, kind: Kind) -> &'a [parse::Token] {
        if self.kind() == kind { self.tokens.get(1..).unwrap_or(&[]) } else { &[] }
    }
    /// The value of `key` in a dictionary; `None` for other kinds. O(entries).
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
    /// [`Value::get`], naming what is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] with `key` when there is no such entry. `key` must be what a person may read.
    pub fn need(&self, what: &'static str, key: &'static str) -> Result<Self, DecodeError> {
        self.get(key.as_bytes())
            .ok_or_else(|| DecodeError::new(what, self.span().start, ErrorKind::Missing(key)))
    }
    /// An error about this value: `expected` is what it should have been.
    #[must_use]
    pub fn expected(&self, what: &'static str, expected: &'static str) -> DecodeError {
        DecodeError::new(what, self.span().start, ErrorKind::Expected(expected))
    }
}

impl core::fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:?} at {:?}", self.kind(), self.span())
    }
}

/// The values of a list, in order.
#[derive(Clone)]
pub struct Items<'a> {
    input: &'a [u8],
    tokens: &'a [parse::Token],
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;
    fn next(&mut self) -> Option<Value<'a>> {
        let count = self.tokens.first()?.count as usize;
        let (own, rest) = self.tokens.split_at_checked(count)?;
        self.tokens = rest;
        Some(Value { input: self.input, tokens: own })
    }
}

/// Keys and values of a dictionary, in the order of the input.
#[derive(Clone)]
pub struct Entries<'a> {
    items: Items<'a>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], Value<'a>);
    fn next(&mut self) -> Option<Self::Item> {
        let key = self.items.next()?.as_bytes()?;
        Some((key, self.items.next()?))
    }
}

#[cfg(test)]
mod tests;
