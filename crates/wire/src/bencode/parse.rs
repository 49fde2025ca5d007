//! The parser: bytes to a tape of tokens, without recursion.

use alloc::vec::Vec;

use super::{Kind, Limits, MAX_DEPTH, Value};
use crate::DecodeError;
use crate::error::ErrorKind;

const WHAT: &str = "bencode";
/// Digits of the largest number accepted, 18,446,744,073,709,551,615.
const MAX_DIGITS: usize = 20;

/// One value. Values inside it follow it on the tape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// First byte of the encoding.
    pub(super) start: u32,
    /// First byte of a string's content; `start` for other kinds.
    pub(super) content: u32,
    /// One past the last byte of the encoding.
    pub(super) end: u32,
    /// Tokens of this value: itself and all inside it.
    pub(super) count: u32,
}

impl Token {
    /// Stands for no value at all: an empty string at the start.
    pub(super) const NONE: Self =
        Self { kind: Kind::Bytes, start: 0, content: 0, end: 0, count: 1 };
}

/// A parsed value with all that is inside it. Borrows the input.
#[derive(Clone, Debug)]
pub struct Document<'a> {
    input: &'a [u8],
    tokens: Vec<Token>,
    canonical: bool,
}

impl<'a> Document<'a> {
    /// Reads one value that fills `input`.
    ///
    /// # Errors
    /// Anything that the module's head says is refused, and bytes behind the value.
    pub fn parse(input: &'a [u8], limits: Limits) -> Result<Self, DecodeError> {
        let (document, used) = Self::parse_prefix(input, limits)?;
        if used < input.len() {
            return Err(DecodeError::new(WHAT, used, ErrorKind::Trailing));
        }
        Ok(document)
    }
    /// Reads one value at the front of `input`, and tells its length in bytes.
    ///
    /// # Errors
    /// Anything that the module's head says is refused.
    pub fn parse_prefix(input: &'a [u8], limits: Limits) -> Result<(Self, usize), DecodeError> {
        let limit = limits.bytes.min(u32::MAX as usize);
        if input.len() > limit {
            return Err(beyond(0, limit, input.len()));
        }
        let mut parser = Parser {
            input,
            at: 0,
            tokens: Vec::with_capacity((input.len() / 8).min(limits.tokens).min(1024)),
            open: Vec::new(),
            canonical: true,
            limits: Limits { depth: limits.depth.min(MAX_DEPTH), ..limits },
        };
        while !parser.step()? {}
        let used = parser.at;
        Ok((Self { input, tokens: parser.tokens, canonical: parser.canonical }, used))
    }
    /// The value.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        Value { input: self.input, tokens: &self.tokens }
    }
    /// Whether the keys of every dictionary ascend, so that an encoder would write the same bytes again.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.canonical
    }
}

/// A list or dictionary whose end was not seen yet.
struct Open {
    /// Its token.
    token: usize,
    dict: bool,
    /// A dictionary: the next value belongs to a key.
    value_due: bool,
    /// A dictionary: content of the last key.
    last_key: Option<(u32, u32)>,
    /// A dictionary: its keys do not ascend.
    unsorted: bool,
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    tokens: Vec<Token>,
    open: Vec<Open>,
    canonical: bool,
    limits: Limits,
}

impl Parser<'_> {
    /// Takes one token or one end; true when the outermost value is complete.
    fn step(&mut self) -> Result<bool, DecodeError> {
        let start = self.at;
        let byte = self.peek()?;
        if byte == b'e' {
            return self.close();
        }
        if let Some(open) = self.open.last()
            && open.dict
            && !open.value_due
            && !byte.is_ascii_digit()
        {
            return Err(self.error(start, ErrorKind::Expected("a string as key")));
        }
        let (kind, content) = match byte {
            b'i' => {
                self.integer()?;
                (Kind::Integer, start)
            }
            b'0'..=b'9' => (Kind::Bytes, self.string()?),
            b'l' | b'd' => {
                self.at += 1;
                (if byte == b'd' { Kind::Dict } else { Kind::List }, start)
            }
            _ => return Err(self.error(start, ErrorKind::Expected("a value"))),
        };
        if self.tokens.len() >= self.limits.tokens {
            return Err(beyond(start, self.limits.tokens, self.tokens.len() + 1));
        }
        self.tokens.push(Token {
            kind,
            start: start as u32,
            content: content as u32,
            end: self.at as u32,
            count: 1,
        });
        if matches!(kind, Kind::List | Kind::Dict) {
            if self.open.len() >= self.limits.depth {
                return Err(beyond(start, self.limits.depth, self.open.len() + 1));
            }
            self.open.push(Open {
                token: self.tokens.len() - 1,
                dict: kind == Kind::Dict,
                value_due: false,
                last_key: None,
                unsorted: false,
            });
            return Ok(false);
        }
        self.value_ended(content)?;
        Ok(self.open.is_empty())
    }

    /// Takes the end of the innermost list or dictionary.
    fn close(&mut self) -> Result<bool, DecodeError> {
        let Some(open) = self.open.pop() else {
            return Err(self.error(self.at, ErrorKind::Expected("a value")));
        };
        if open.value_due {
            return Err(self.error(self.at, ErrorKind::Expected("a value for the key")));
        }
        self.at += 1;
        let count = (self.tokens.len() - open.token) as u32;
        let end = self.at as u32;
        if let Some(token) = self.tokens.get_mut(open.token) {
            token.count = count;
            token.end = end;
        }
        if open.unsorted {
            self.canonical = false;
            self.refuse_duplicates(open.token)?;
        }
        self.value_ended(0)?;
        Ok(self.open.is_empty())
    }

    /// Tells the enclosing dictionary that a key or a value is complete. A key's content lies from `content` to here.
    fn value_ended(&mut self, content: usize) -> Result<(), DecodeError> {
        let (input, at) = (self.input, self.at);
        let Some(open) = self.open.last_mut().filter(|open| open.dict) else { return Ok(()) };
        if open.value_due {
            open.value_due = false;
            return Ok(());
        }
        open.value_due = true;
        let key = input.get(content..at).unwrap_or(&[]);
        if let Some((from, to)) = open.last_key {
            let last = input.get(from as usize..to as usize).unwrap_or(&[]);
            if last == key {
                return Err(duplicate(content));
            }
            open.unsorted |= last > key;
        }
        open.last_key = Some((content as u32, at as u32));
        Ok(())
    }

    fn refuse_duplicates(&self, token: usize) -> Result<(), DecodeError> {
        let value = Value { input: self.input, tokens: self.tokens.get(token..).unwrap_or(&[]) };
        let mut keys: Vec<&[u8]> = value.entries().map(|(key, _)| key).collect();
        keys.sort_unstable();
        match keys.windows(2).any(|pair| pair.first() == pair.last()) {
            true => Err(duplicate(value.span().start)),
            false => Ok(()),
        }
    }

    /// Takes `i...e`.
    fn integer(&mut self) -> Result<(), DecodeError> {
        let start = self.at;
        self.at += 1;
        let negative = self.peek()? == b'-';
        if negative {
            self.at += 1;
        }
        let magnitude = self.digits()?;
        if negative && magnitude == 0 {
            return Err(self.error(start, ErrorKind::Invalid("minus zero")));
        }
        if negative && magnitude > 1 << 63 {
            return Err(self.error(start, ErrorKind::Invalid("a number below the 64-bit range")));
        }
        if self.peek()? != b'e' {
            return Err(self.error(self.at, ErrorKind::Expected("the end of a number")));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes `length:bytes`; returns where the bytes begin.
    fn string(&mut self) -> Result<usize, DecodeError> {
        let length = self.digits()?;
        if self.peek()? != b':' {
            return Err(self.error(self.at, ErrorKind::Expected("a colon behind a length")));
        }
        let content = self.at + 1;
        let end = usize::try_from(length).ok().and_then(|length| content.checked_add(length));
        match end.filter(|end| *end <= self.input.len()) {
            Some(end) => self.at = end,
            None => return Err(self.error(self.input.len(), ErrorKind::Truncated)),
        }
        Ok(content)
    }

    /// Takes digits without a leading zero.
    fn digits(&mut self) -> Result<u64, DecodeError> {
        let start = self.at;
        let mut number = 0u64;
        loop {
            let byte = self.peek()?;
            if !byte.is_ascii_digit() {
                break;
            }
            number =
                match number.checked_mul(10).and_then(|n| n.checked_add(u64::from(byte - b'0'))) {
                    Some(number) if self.at - start < MAX_DIGITS => number,
                    _ => {
                        let why = ErrorKind::Invalid("a number beyond the 64-bit range");
                        return Err(self.error(start, why));
                    }
                };
            self.at += 1;
        }
        match self.at - start {
            0 => Err(self.error(start, ErrorKind::Expected("a digit"))),
            1 => Ok(number),
            _ if self.input.get(start) == Some(&b'0') => {
                Err(self.error(start, ErrorKind::Invalid("a number with a leading zero")))
            }
            _ => Ok(number),
        }
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        self.input.get(self.at).copied().ok_or_else(|| self.error(self.at, ErrorKind::Truncated))
    }

    fn error(&self, offset: usize, kind: ErrorKind) -> DecodeError {
        DecodeError::new(WHAT, offset, kind)
    }
}

fn duplicate(offset: usize) -> DecodeError {
    DecodeError::new(WHAT, offset, ErrorKind::Invalid("the same key twice in one dictionary"))
}

fn beyond(offset: usize, limit: usize, received: usize) -> DecodeError {
    let kind = ErrorKind::Limit { limit: limit as u64, received: received as u64 };
    DecodeError::new(WHAT, offset, kind)
}
