//! Values of the vocabulary to bytes and back, one `impl` a type, fields in the order of their declaration.
//!
//! Numbers are little-endian; lengths and counts `u32`; an enum is one byte and its fields. Reading is safe with any
//! bytes: counts are believed only as far as bytes are left.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Buf, Bytes};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use shoal_wire::bitfield::Bitfield;
use shoal_wire::error::ErrorKind;
use shoal_wire::metainfo::Info;
use shoal_wire::time_index::{KeyPoint, TimeIndex};
use shoal_wire::{DecodeError, Hash20, Hash32, InfoHashes};

use crate::io::{
    AddTitle, CloseReason, Command, Event, Failure, FailureKind, Family, Job, Outcome,
    ResumeRecord, Want,
};
use crate::link::{LinkId, ReaderId, Ticket, TitleId};
use crate::stack::{Socket, StackEffect, StackInput};

/// What bytes are written into: a file's buffer, or a hash.
pub(super) trait Sink {
    fn bytes(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A value that can be recorded.
pub(super) trait Code: Sized {
    /// Appends the value.
    fn put(&self, out: &mut impl Sink);
    /// Reads it again.
    fn get(input: &mut Reader) -> Result<Self, DecodeError>;
}

/// What is left of a record.
#[derive(Debug)]
pub(super) struct Reader {
    rest: Bytes,
    length: usize,
}

impl Reader {
    pub(super) fn new(rest: Bytes) -> Self {
        Self { length: rest.len(), rest }
    }
    pub(super) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.rest.remaining() {
            return Err(self.error(ErrorKind::Truncated));
        }
        Ok(self.rest.split_to(length))
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?;
        bytes.first_chunk().copied().ok_or_else(|| self.error(ErrorKind::Truncated))
    }
    /// A count of things that take at least a byte each.
    fn count(&mut self) -> Result<usize, DecodeError> {
        let count = u32::get(self)? as usize;
        if count > self.rest.len() { Err(self.error(ErrorKind::Truncated)) } else { Ok(count) }
    }
    pub(super) fn error(&self, kind: ErrorKind) -> DecodeError {
        DecodeError::new("record", self.length - self.rest.len(), kind)
    }
    /// Everything must have been read.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.error(ErrorKind::Trailing)) }
    }
}

macro_rules! code_number {
    ($($number:ty),*) => {$(
        impl Code for $number {
            fn put(&self, out: &mut impl Sink) {
                out.bytes(&self.to_le_bytes());
            }
            fn get(input: &mut Reader) -> Result<Self, DecodeError> {
                Ok(Self::from_le_bytes(input.array()?))
            }
        }
    )*};
}
code_number!(u8, u16, u32, u64, u128);

macro_rules! code_struct {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Code for $name {
            fn put(&self, out: &mut impl Sink) {
                let Self { $($field),* } = self;
                $($field.put(out);)*
            }
            fn get(input: &mut Reader) -> Result<Self, DecodeError> {
                $(let $field = Code::get(input)?;)*
                Ok(Self { $($field),* })
            }
        }
    )*};
}

macro_rules! code_wrapper {
    ($($name:ident),*) => {$(
        impl Code for $name {
            fn put(&self, out: &mut impl Sink) {
                self.0.put(out);
            }
            fn get(input: &mut Reader) -> Result<Self, DecodeError> {
                Code::get(input).map(Self)
            }
        }
    )*};
}

macro_rules! code_enum {
    ($($name:ident { $(
        $tag:literal => $variant:ident $({ $($field:ident),* })? $(( $($item:ident),* ))?
    ),* $(,)? })*) => {$(
        impl Code for $name {
            fn put(&self, out: &mut impl Sink) {
                match self {
                    $(Self::$variant $({ $($field),* })? $(( $($item),* ))? => {
                        out.bytes(&[$tag]);
                        $($($field.put(out);)*)?
                        $($($item.put(out);)*)?
                    })*
                }
            }
            fn get(input: &mut Reader) -> Result<Self, DecodeError> {
                Ok(match u8::get(input)? {
                    $($tag => {
                        $($(let $field = Code::get(input)?;)*)?
                        $($(let $item = Code::get(input)?;)*)?
                        Self::$variant $({ $($field),* })? $(( $($item),* ))?
                    })*
                    _ => return Err(input.error(ErrorKind::Expected(stringify!($name)))),
                })
            }
        }
    )*};
}

impl Code for bool {
    fn put(&self, out: &mut impl Sink) {
        u8::from(*self).put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        match u8::get(input)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(input.error(ErrorKind::Expected("0 or 1"))),
        }
    }
}

impl<const N: usize> Code for [u8; N] {
    fn put(&self, out: &mut impl Sink) {
        out.bytes(self);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        input.array()
    }
}

impl<T: Code> Code for Option<T> {
    fn put(&self, out: &mut impl Sink) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        bool::get(input)?.then(|| T::get(input)).transpose()
    }
}

impl<T: Code> Code for Vec<T> {
    fn put(&self, out: &mut impl Sink) {
        put_count(self.len(), out);
        for value in self {
            value.put(out);
        }
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        (0..input.count()?).map(|_| T::get(input)).collect()
    }
}

impl<A: Code, B: Code> Code for (A, B) {
    fn put(&self, out: &mut impl Sink) {
        self.0.put(out);
        self.1.put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok((A::get(input)?, B::get(input)?))
    }
}

impl<T: Code> Code for Box<T> {
    fn put(&self, out: &mut impl Sink) {
        (**self).put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        T::get(input).map(Self::new)
    }
}

impl<T: Code> Code for Arc<T> {
    fn put(&self, out: &mut impl Sink) {
        (**self).put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        T::get(input).map(Self::new)
    }
}

impl Code for Bytes {
    fn put(&self, out: &mut impl Sink) {
        put_count(self.len(), out);
        out.bytes(self);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        let length = input.count()?;
        input.take(length)
    }
}

impl Code for String {
    fn put(&self, out: &mut impl Sink) {
        put_count(self.len(), out);
        out.bytes(self.as_bytes());
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        let bytes = Bytes::get(input)?;
        let text = core::str::from_utf8(&bytes).map(Self::from);
        text.map_err(|_| input.error(ErrorKind::Expected("text")))
    }
}

impl Code for SocketAddr {
    fn put(&self, out: &mut impl Sink) {
        match self.ip() {
            IpAddr::V4(ip) => {
                4u8.put(out);
                ip.octets().put(out);
            }
            IpAddr::V6(ip) => {
                6u8.put(out);
                ip.octets().put(out);
            }
        }
        self.port().put(out);
        if let Self::V6(addr) = self {
            addr.flowinfo().put(out);
            addr.scope_id().put(out);
        }
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match u8::get(input)? {
            4 => {
                let ip = Ipv4Addr::from(<[u8; 4]>::get(input)?);
                Self::from((ip, u16::get(input)?))
            }
            6 => {
                let ip = Ipv6Addr::from(<[u8; 16]>::get(input)?);
                let (port, flow, scope) = (u16::get(input)?, u32::get(input)?, u32::get(input)?);
                SocketAddrV6::new(ip, port, flow, scope).into()
            }
            _ => return Err(input.error(ErrorKind::Expected("an address"))),
        })
    }
}

impl Code for Bitfield {
    fn put(&self, out: &mut impl Sink) {
        self.len().put(out);
        out.bytes(self.as_bytes());
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        let bits = u32::get(input)?;
        let bytes = input.take(bits.div_ceil(8) as usize)?;
        Self::from_wire(&bytes, bits).ok_or_else(|| input.error(ErrorKind::Expected("a bitfield")))
    }
}

/// Only the dictionary's own bytes are kept, and its names, which must come out the same when it is read again.
impl Code for Info {
    fn put(&self, out: &mut impl Sink) {
        self.hashes.put(out);
        self.raw.put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        let hashes = InfoHashes::get(input)?;
        let info = Self::parse(&Bytes::get(input)?)?;
        if info.hashes != hashes {
            return Err(input.error(ErrorKind::Invalid("the title has another info-hash")));
        }
        Ok(info)
    }
}

/// The text of [`CloseReason::Protocol`] is for logs and is not kept: no decision hangs on it.
impl Code for CloseReason {
    fn put(&self, out: &mut impl Sink) {
        let tag: u8 = match self {
            Self::Remote => 0,
            Self::Unreachable => 1,
            Self::Protocol(_) => 2,
            Self::Corrupt => 3,
            Self::Duplicate => 4,
            Self::Myself => 5,
            Self::NotNeeded => 6,
            Self::Timeout => 7,
            Self::Full => 8,
            Self::Stopped => 9,
            Self::Upgrade => 10,
        };
        tag.put(out);
    }
    fn get(input: &mut Reader) -> Result<Self, DecodeError> {
        Ok(match u8::get(input)? {
            0 => Self::Remote,
            1 => Self::Unreachable,
            2 => Self::Protocol("a rule that the record does not name"),
            3 => Self::Corrupt,
            4 => Self::Duplicate,
            5 => Self::Myself,
            6 => Self::NotNeeded,
            7 => Self::Timeout,
            8 => Self::Full,
            9 => Self::Stopped,
            10 => Self::Upgrade,
            _ => return Err(input.error(ErrorKind::Expected("CloseReason"))),
        })
    }
}

fn put_count(count: usize, out: &mut impl Sink) {
    // Nothing of a node comes near 4 GiB; a longer value would be refused when it is read.
    u32::try_from(count).unwrap_or(u32::MAX).put(out);
}

code_wrapper!(Hash20, Hash32, LinkId, Ticket, TitleId, ReaderId);

code_struct! {
    InfoHashes { v1, v2 }
    KeyPoint { time_ms, offset }
    TimeIndex { duration_ms, length, boot, keys }
    AddTitle {
        title, hashes, info, piece_layers, trackers, peers, have, partial, want, source, cached,
        time_indexes
    }
    ResumeRecord { have, partial }
    Failure { kind, message }
}

code_enum! {
    Want { 0 => All, 1 => Play, 2 => OnDemand }
    FailureKind { 0 => DiskFull, 1 => DiskLost, 2 => Network }
    Socket { 0 => Peer, 1 => Local }
    Family { 0 => V4, 1 => V6 }
    Outcome {
        0 => Data(bytes),
        1 => Stored,
        2 => Checked(matches),
        3 => Prepared(record),
        4 => Resolved(addresses),
        5 => Fetched { status, body, family },
        6 => Failed(failure),
        7 => Freed(bytes),
    }
    Command {
        0 => Add(title),
        1 => Remove { title },
        2 => Peers { title, peers },
        3 => Open { reader, title, file, start, end },
        4 => Read { reader, max },
        5 => Close { reader },
        6 => Play { reader, title, file, at_ms },
        7 => Jump { reader, to_ms },
        8 => Pause { reader, paused },
        9 => Limits { up, down },
        10 => NetworkChanged,
        11 => Shutdown,
        12 => Select { title, files },
        13 => Cache { quota, elsewhere },
        14 => Prefer { title, file },
    }
    StackInput {
        0 => Wake,
        1 => Clock { unix_ms },
        2 => Command(command),
        3 => LinkUp { link, remote },
        4 => LinkDown { link, reason },
        5 => Bytes { link, bytes },
        6 => Credit { link, bytes, passed },
        7 => Datagram { socket, remote, bytes },
        8 => Done { ticket, outcome },
    }
    Job {
        0 => Read { title, offset, length },
        1 => Write { title, offset, parts },
        2 => CheckBlock { data, expect },
        3 => CheckPiece { parts, padding, expect },
        4 => CheckInfo { raw, hashes },
        5 => Leaves { title, piece },
        6 => Prepare { title, info },
        7 => Save { title, record },
        8 => Resolve { host, port },
        9 => Fetch { url, family },
        10 => CheckTree { parts, leaves, expect },
        11 => Evict { title, record, pieces },
        12 => Reclaim { bytes },
    }
    Event {
        0 => Ready { title, info },
        1 => Complete { title, length },
        2 => Data { reader, offset, data },
        3 => ReaderFailed { reader, message },
        4 => Playing { title, reader, startup_ms },
        5 => Stall { title, reader, position_ms, stalled_ms },
        6 => Seek { title, reader, position_ms, latency_ms },
        7 => Ended { reader },
        8 => Banned { remote, reason },
        9 => Trouble { title, message, fatal },
        10 => Stopped,
        11 => Dropped { remote, reason },
    }
    StackEffect {
        0 => Dial { link, remote },
        1 => Close { link, reason },
        2 => Write { link, bytes, film },
        3 => Datagram { socket, remote, bytes },
        4 => Submit { ticket, job },
        5 => Tell(event),
    }
}
