//! A run on file: every input of a [`Stack`] with its time, and now and then a hash of all effects so far.
//!
//! **Does**: [`Recorder`] appends to a buffer that the world writes out, [`Records`] reads it back, [`Replay`] moves a new
//! stack through it and compares. That the effects are the same is the proof that one core runs in both worlds.
//! **Refuses**: files, and to guess: a record of another version, or of settings that it cannot restore, is an error.
//!
//! A file is a header and records; each is a `u32` length and as many bytes, so that a world can read them one by one.
//! The first byte of a record is its kind: 0 an input (nanoseconds since the previous one as `u64`, the input), 1 a
//! checkpoint (number of inputs as `u64`, hash of their effects as `u128`). `code` says how values are written.

mod code;
mod hash;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::Bytes;
use core::fmt::{self, Write};
use core::time::Duration;

use shoal_wire::DecodeError;
use shoal_wire::error::ErrorKind;

use self::code::{Code, Reader, Sink};
pub use self::hash::EffectsHash;
use crate::config::Config;
use crate::io::Machine;
use crate::rng::Seed;
use crate::stack::{Stack, StackEffect, StackInput};
use crate::time::Instant;

/// What a file begins with.
const MAGIC: [u8; 8] = *b"SHOALREC";
/// Version of the format; it grows with every change of the vocabulary.
const VERSION: u16 = 7;
/// Inputs between two checkpoints.
pub const CHECKPOINT_INPUTS: u64 = 1024;
/// Longest record or header, bytes: room for the largest title with its piece layers.
pub const RECORD_MAX: usize = 256 << 20;
/// Bytes of the length in front of a header or record.
pub const LENGTH_LEN: usize = 4;

/// What must be known before the first input.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Seed of the node.
    pub seed: Seed,
    /// Moment at which it was made.
    pub start: Instant,
    listen_port: u16,
    links_max: u64,
    memory_max: u64,
    local: bool,
    exchange: bool,
    /// Hash of all settings: those that do not stand here must be the ones that ship.
    settings: u128,
}

impl Header {
    /// The header of a node with these settings.
    #[must_use]
    pub fn new(config: &Config, seed: Seed, start: Instant) -> Self {
        Self {
            seed,
            start,
            listen_port: config.listen_port,
            links_max: config.swarm.links_max as u64,
            memory_max: config.swarm.memory_max as u64,
            local: config.discover.local,
            exchange: config.discover.exchange,
            settings: fingerprint(config),
        }
    }

    /// The settings of the run: what ships, with the port, limits of links and memory, local discovery and peer exchange
    /// as recorded.
    ///
    /// # Errors
    /// Other settings differ too: another version of the program wrote the file, or they were changed by hand.
    pub fn config(&self) -> Result<Config, DecodeError> {
        let mut config = Config { listen_port: self.listen_port, ..Config::default() };
        config.swarm.links_max = usize::try_from(self.links_max).unwrap_or(usize::MAX);
        config.swarm.memory_max = usize::try_from(self.memory_max).unwrap_or(usize::MAX);
        config.discover.local = self.local;
        config.discover.exchange = self.exchange;
        if fingerprint(&config) == self.settings {
            Ok(config)
        } else {
            Err(DecodeError::invalid("record", "it was made with settings of another program"))
        }
    }

    /// Appends the header with its length.
    pub fn put(&self, out: &mut Vec<u8>) {
        framed(out, |out| {
            MAGIC.put(out);
            VERSION.put(out);
            self.seed.0.iter().for_each(|part| part.put(out));
            self.start.as_nanos().put(out);
            self.listen_port.put(out);
            self.links_max.put(out);
            self.memory_max.put(out);
            self.local.put(out);
            self.exchange.put(out);
            self.settings.put(out);
        });
    }

    /// Reads a header, without its length.
    ///
    /// # Errors
    /// No record of ours, or one of another version.
    pub fn get(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        if <[u8; 8]>::get(&mut input).ok() != Some(MAGIC) {
            return Err(DecodeError::invalid("record", "this is no record of a run"));
        }
        if u16::get(&mut input)? != VERSION {
            return Err(DecodeError::invalid("record", "another version of the program wrote it"));
        }
        let mut seed = [0u64; 4];
        for part in &mut seed {
            *part = u64::get(&mut input)?;
        }
        let header = Self {
            seed: Seed(seed),
            start: Instant::from_nanos(u64::get(&mut input)?),
            listen_port: u16::get(&mut input)?,
            links_max: u64::get(&mut input)?,
            memory_max: u64::get(&mut input)?,
            local: bool::get(&mut input)?,
            exchange: bool::get(&mut input)?,
            settings: u128::get(&mut input)?,
        };
        input.finish().map(|()| header)
    }
}

/// All settings in one number: their text, so that new ones count without being listed here.
fn fingerprint(config: &Config) -> u128 {
    let mut text = String::new();
    // Writing into a string has no way to fail.
    let _ = write!(text, "{config:?}");
    let mut hash = EffectsHash::default();
    hash.bytes(text.as_bytes());
    hash.value()
}

/// Appends what `fill` appends, its length in front.
fn framed(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    0u32.put(out);
    fill(out);
    let length = u32::try_from(out.len() - start - LENGTH_LEN).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + LENGTH_LEN) {
        field.copy_from_slice(&length.to_le_bytes());
    }
}

/// One record.
#[derive(Clone, Debug)]
pub enum Record {
    /// The stack was given `input`.
    Input {
        /// Time since the previous input, or since the start.
        after: Duration,
        /// What it was given.
        input: StackInput,
    },
    /// All effects so far came to this.
    Checkpoint {
        /// Number of inputs so far.
        inputs: u64,
        /// Hash of all their effects.
        hash: u128,
    },
}

impl Record {
    /// Reads a record, without its length.
    ///
    /// # Errors
    /// Bytes that no [`Recorder`] wrote.
    pub fn get(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut input = Reader::new(bytes);
        let record = match u8::get(&mut input)? {
            0 => Self::Input {
                after: Duration::from_nanos(u64::get(&mut input)?),
                input: Code::get(&mut input)?,
            },
            1 => Self::Checkpoint { inputs: u64::get(&mut input)?, hash: u128::get(&mut input)? },
            _ => return Err(input.error(ErrorKind::Expected("a kind of record"))),
        };
        input.finish().map(|()| record)
    }
}

/// Writes a run. For each turn: [`Recorder::input`], the stack's step, [`Recorder::effects`].
#[derive(Debug)]
pub struct Recorder {
    last: Instant,
    inputs: u64,
    hash: EffectsHash,
}

impl Recorder {
    /// Begins a record: appends its header to `out`.
    #[must_use]
    pub fn new(header: &Header, out: &mut Vec<u8>) -> Self {
        header.put(out);
        Self { last: header.start, inputs: 0, hash: EffectsHash::default() }
    }

    /// Appends an input that is about to be given to the stack, after a checkpoint when one is due. Costs a copy of it.
    pub fn input(&mut self, now: Instant, input: &StackInput, out: &mut Vec<u8>) {
        if self.inputs > 0 && self.inputs.is_multiple_of(CHECKPOINT_INPUTS) {
            self.checkpoint(out);
        }
        framed(out, |out| {
            0u8.put(out);
            u64::try_from(now.since(self.last).as_nanos()).unwrap_or(u64::MAX).put(out);
            input.put(out);
        });
        self.last = now.max(self.last);
        self.inputs += 1;
    }

    /// Takes note of what the stack made of the last input.
    pub fn effects(&mut self, effects: &[StackEffect]) {
        self.hash.absorb(effects);
    }

    /// Appends the hash of all effects so far: at the end of a run, or to be able to stop reading here.
    pub fn checkpoint(&mut self, out: &mut Vec<u8>) {
        framed(out, |out| {
            1u8.put(out);
            self.inputs.put(out);
            self.hash.value().put(out);
        });
    }
}

/// Reads a whole file: the records behind its header. An error is the last thing it yields; a record that was cut off
/// at the end, as by a crash, is one.
#[derive(Debug)]
pub struct Records {
    rest: Bytes,
}

impl Records {
    /// Reads the header of `file`.
    ///
    /// # Errors
    /// As [`Header::get`].
    pub fn open(file: Bytes) -> Result<(Header, Self), DecodeError> {
        let mut records = Self { rest: file };
        let header = records.frame()?.unwrap_or_default();
        Ok((Header::get(header)?, records))
    }

    /// The next length and its bytes; `None` at the end.
    fn frame(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let truncated = || DecodeError::new("record", 0, ErrorKind::Truncated);
        let length = self.rest.first_chunk::<LENGTH_LEN>().ok_or_else(truncated)?;
        let length = frame_len(*length)?;
        if self.rest.len() - LENGTH_LEN < length {
            return Err(truncated());
        }
        let mut frame = self.rest.split_to(LENGTH_LEN + length);
        Ok(Some(frame.split_off(LENGTH_LEN)))
    }
}

/// Bytes that follow a length field: for worlds that read a file piece by piece.
///
/// # Errors
/// More than [`RECORD_MAX`].
pub fn frame_len(field: [u8; LENGTH_LEN]) -> Result<usize, DecodeError> {
    let length = u32::from_le_bytes(field) as usize;
    if length > RECORD_MAX {
        let kind = ErrorKind::Limit { limit: RECORD_MAX as u64, received: length as u64 };
        return Err(DecodeError::new("record", 0, kind));
    }
    Ok(length)
}

impl Iterator for Records {
    type Item = Result<Record, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = self.frame().and_then(|frame| frame.map(Record::get).transpose());
        if record.is_err() {
            self.rest.clear();
        }
        record.transpose()
    }
}

/// A stack that lives through a recorded run again.
#[derive(Debug)]
pub struct Replay {
    stack: Stack,
    now: Instant,
    inputs: u64,
    checked: u64,
    hash: EffectsHash,
    effects: Vec<StackEffect>,
}

/// The replay did something else than the run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Diverged {
    /// Up to this many inputs everything was the same.
    pub same_until: u64,
    /// Within this many inputs something was not.
    pub differs_within: u64,
}

impl fmt::Display for Diverged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { same_until, differs_within } = self;
        write!(f, "the effects differ between input {same_until} and input {differs_within}")
    }
}

impl core::error::Error for Diverged {}

impl Replay {
    /// A new stack at the start of the run.
    ///
    /// # Errors
    /// As [`Header::config`].
    pub fn new(header: &Header) -> Result<Self, DecodeError> {
        let config = Arc::new(header.config()?);
        Ok(Self {
            stack: Stack::new(config, header.seed, header.start),
            now: header.start,
            inputs: 0,
            checked: 0,
            hash: EffectsHash::default(),
            effects: Vec::new(),
        })
    }

    /// Lives through one record; the effects of an input are returned for whoever wants to look at them.
    ///
    /// # Errors
    /// A checkpoint that does not agree. The replay is of no further use.
    pub fn step(&mut self, record: Record) -> Result<&[StackEffect], Diverged> {
        self.effects.clear();
        match record {
            Record::Input { after, input } => {
                self.now = self.now + after;
                self.stack.step(self.now, input, &mut self.effects);
                self.hash.absorb(&self.effects);
                self.inputs += 1;
            }
            Record::Checkpoint { inputs, hash } => {
                if inputs != self.inputs || hash != self.hash.value() {
                    let (same_until, differs_within) = (self.checked, self.inputs);
                    return Err(Diverged { same_until, differs_within });
                }
                self.checked = inputs;
            }
        }
        Ok(&self.effects)
    }

    /// Moment of the last input.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.now
    }
    /// Inputs so far.
    #[must_use]
    pub fn inputs(&self) -> u64 {
        self.inputs
    }
    /// Inputs up to the last checkpoint, all of which agreed.
    #[must_use]
    pub fn checked(&self) -> u64 {
        self.checked
    }
    /// The stack.
    #[must_use]
    pub fn stack(&self) -> &Stack {
        &self.stack
    }
}
