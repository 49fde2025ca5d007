//! `--record FILE`: the node's inputs go to a file by a thread of its own; a disk that cannot keep up ends the record,
//! never the film.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use shoal_node::record::{Header, Recorder};
use shoal_node::time::Instant;
use shoal_node::{StackEffect, StackInput};

use crate::config::{RECORDING_CHUNK_BYTES, RECORDING_CHUNKS_MAX};
use crate::error::DriveError;

/// A record being written.
#[derive(Debug)]
pub(crate) struct Recording {
    recorder: Recorder,
    buffer: Vec<u8>,
    sender: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Recording {
    /// Begins a record at `path`, which is replaced.
    pub(crate) fn begin(path: &Path, header: &Header) -> Result<Self, DriveError> {
        let failed = |e| DriveError::disk("make", path, e);
        let file = File::create(path).map_err(failed)?;
        let (sender, receiver) = sync_channel(RECORDING_CHUNKS_MAX);
        let thread = std::thread::Builder::new().name("shoal-record".to_owned());
        let thread = thread.spawn(move || write(file, &receiver)).map_err(failed)?;
        let mut buffer = Vec::with_capacity(RECORDING_CHUNK_BYTES);
        let recorder = Recorder::new(header, &mut buffer);
        Ok(Self { recorder, buffer, sender: Some(sender), thread: Some(thread) })
    }
    pub(crate) fn input(&mut self, now: Instant, input: &StackInput) {
        if self.sender.is_some() {
            self.recorder.input(now, input, &mut self.buffer);
        }
    }
    pub(crate) fn effects(&mut self, effects: &[StackEffect]) {
        let Some(sender) = &self.sender else { return };
        self.recorder.effects(effects);
        if self.buffer.len() >= RECORDING_CHUNK_BYTES {
            let full =
                std::mem::replace(&mut self.buffer, Vec::with_capacity(RECORDING_CHUNK_BYTES));
            if sender.try_send(full).is_err() {
                // A record with a hole is worth nothing; what is on the disk so far can be replayed.
                self.sender = None;
            }
        }
    }
    /// Writes the rest and closes the file. False when the record had to be cut short.
    pub(crate) fn end(mut self) -> bool {
        let Some(sender) = self.sender.take() else { return false };
        self.recorder.checkpoint(&mut self.buffer);
        let sent = sender.send(std::mem::take(&mut self.buffer)).is_ok();
        drop(sender);
        let written = self.thread.take().and_then(|thread| thread.join().ok());
        sent && matches!(written, Some(Ok(())))
    }
}

fn write(file: File, receiver: &Receiver<Vec<u8>>) -> std::io::Result<()> {
    let mut file = BufWriter::new(file);
    while let Ok(chunk) = receiver.recv() {
        file.write_all(&chunk)?;
    }
    file.flush()
}
