//! The one error of this crate: what was read, where, and what was wrong with it.

use core::fmt;

/// Why foreign bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The thing being decoded, in a reader's words: `"piece message"`, `"info.files"`.
    pub what: &'static str,
    /// Byte offset inside the input that was handed in, as near as is known.
    pub offset: usize,
    /// What was wrong.
    pub kind: ErrorKind,
}

/// The ways in which foreign bytes can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The input ended inside a value.
    Truncated,
    /// Bytes are left over after the value.
    Trailing,
    /// A value of another type or shape was expected; the text names the expected one.
    Expected(&'static str),
    /// A required field is missing; the text names it.
    Missing(&'static str),
    /// A number, length, count or depth is beyond its limit.
    Limit {
        /// Largest value accepted.
        limit: u64,
        /// Value received, saturated.
        received: u64,
    },
    /// The value is well formed and makes no sense; the text says why.
    Invalid(&'static str),
}

impl DecodeError {
    /// An error of `kind` about `what` at `offset`.
    #[must_use]
    pub const fn new(what: &'static str, offset: usize, kind: ErrorKind) -> Self {
        Self { what, offset, kind }
    }
    /// Shorthand for [`ErrorKind::Invalid`] without a known offset.
    #[must_use]
    pub const fn invalid(what: &'static str, why: &'static str) -> Self {
        Self { what, offset: 0, kind: ErrorKind::Invalid(why) }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        match self.kind {
            ErrorKind::Truncated => write!(f, "the data ends too early"),
            ErrorKind::Trailing => write!(f, "there is more data than expected"),
            ErrorKind::Expected(what) => write!(f, "expected {what}"),
            ErrorKind::Missing(field) => write!(f, "the field {field} is missing"),
            ErrorKind::Limit { limit, received } => {
                write!(f, "{received} is beyond the limit of {limit}")
            }
            ErrorKind::Invalid(why) => write!(f, "{why}"),
        }?;
        if self.offset > 0 { write!(f, " (at byte {})", self.offset) } else { Ok(()) }
    }
}

impl core::error::Error for DecodeError {}
