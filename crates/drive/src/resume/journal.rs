//! The journal of a title: checksums of verified stretches in pieces that are not whole yet.
//!
//! Layout, little-endian: `SHOALJRN`, version u32, then entries of 36 bytes: offset u64, length u32, XXH3-128 of the
//! bytes u128, XXH3-64 of the entry so far u64. The first entry that does not hold together ends the journal: it is what
//! a crash cut short.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::config::JOURNAL_ENTRIES_MAX;
use crate::error::DriveError;

const HEADER: &[u8; 12] = b"SHOALJRN\x01\0\0\0";
const ENTRY_LEN: usize = 36;

/// A verified stretch of piece space, as it is on the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stretch {
    /// First byte in piece space.
    pub offset: u64,
    /// Bytes.
    pub length: u32,
    /// XXH3-128 of them.
    pub sum: u128,
}

impl Stretch {
    /// The stretch that `parts` make at `offset`.
    #[must_use]
    pub fn of(offset: u64, parts: &[Bytes]) -> Self {
        let mut state = Xxh3::new();
        parts.iter().for_each(|part| state.update(part));
        let length = parts.iter().map(Bytes::len).sum::<usize>();
        Self { offset, length: u32::try_from(length).unwrap_or(u32::MAX), sum: state.digest128() }
    }
    /// Whether `data` is what was written.
    #[must_use]
    pub fn matches(&self, data: &[u8]) -> bool {
        data.len() as u64 == u64::from(self.length) && xxh3_128(data) == self.sum
    }
    fn encode(&self) -> [u8; ENTRY_LEN] {
        let mut out = [0; ENTRY_LEN];
        out[..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..12].copy_from_slice(&self.length.to_le_bytes());
        out[12..28].copy_from_slice(&self.sum.to_le_bytes());
        let sum = xxh3_64(&out[..28]);
        out[28..].copy_from_slice(&sum.to_le_bytes());
        out
    }
    fn decode(entry: &[u8; ENTRY_LEN]) -> Option<Self> {
        let (body, sum) = entry.split_last_chunk::<8>()?;
        (xxh3_64(body) == u64::from_le_bytes(*sum)).then_some(())?;
        let (offset, body) = body.split_first_chunk()?;
        let (length, body) = body.split_first_chunk()?;
        Some(Self {
            offset: u64::from_le_bytes(*offset),
            length: u32::from_le_bytes(*length),
            sum: u128::from_le_bytes(body.try_into().ok()?),
        })
    }
}

/// The journal of one title, open for appending.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: Option<File>,
    entries: Vec<Stretch>,
}

impl Journal {
    /// What stands in the journal at `path`, as far as it holds together.
    #[must_use]
    pub fn load(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let body = bytes.strip_prefix(HEADER).unwrap_or_default();
        let entries = body
            .as_chunks::<ENTRY_LEN>()
            .0
            .iter()
            .map_while(Stretch::decode)
            .take(JOURNAL_ENTRIES_MAX);
        Self { path: path.to_path_buf(), file: None, entries: entries.collect() }
    }
    /// All stretches, in the order in which they were written.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.entries
    }
    /// Adds a stretch, after its bytes were written.
    ///
    /// # Errors
    /// When the system refuses; what is in the journal stays good.
    pub fn append(&mut self, stretch: Stretch) -> Result<(), DriveError> {
        if self.entries.len() >= JOURNAL_ENTRIES_MAX {
            return Ok(());
        }
        if self.file.is_none() {
            // A tail that a crash cut short would hide what is appended behind it.
            self.rewrite()?;
        }
        let failed = |e| DriveError::disk("write", &self.path, e);
        if let Some(file) = &mut self.file {
            // One call, so that a kill leaves the entry whole or absent.
            file.write_all(&stretch.encode()).map_err(failed)?;
        }
        self.entries.push(stretch);
        Ok(())
    }
    /// Forgets all stretches but those that `keep` wants. Rewrites the file when any goes.
    ///
    /// # Errors
    /// When the system refuses; the old journal is then still there.
    pub fn retain(&mut self, keep: impl FnMut(&Stretch) -> bool) -> Result<(), DriveError> {
        let before = self.entries.len();
        self.entries.retain(keep);
        if self.entries.len() == before { Ok(()) } else { self.rewrite() }
    }
    fn rewrite(&mut self) -> Result<(), DriveError> {
        self.file = None;
        let mut bytes = HEADER.to_vec();
        self.entries.iter().for_each(|entry| bytes.extend(entry.encode()));
        super::replace(&self.path, &bytes)?;
        let file = OpenOptions::new()
            .append(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|e| DriveError::disk("open", &self.path, e))?;
        self.file = Some(file);
        Ok(())
    }
    /// Brings what was appended to the disk.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn sync(&self) -> Result<(), DriveError> {
        match &self.file {
            Some(file) => file.sync_data().map_err(|e| DriveError::disk("save", &self.path, e)),
            None => Ok(()),
        }
    }
    /// Removes the file.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn remove(&mut self) -> Result<(), DriveError> {
        self.file = None;
        self.entries.clear();
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DriveError::disk("remove", &self.path, error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(offset: u64) -> Stretch {
        Stretch::of(offset, &[Bytes::from_static(b"verified "), Bytes::from_static(b"film")])
    }

    #[test]
    fn entries_survive_and_a_torn_tail_is_dropped_without_hiding_later_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.journal");
        let mut journal = Journal::load(&path);
        for offset in [0, 100, 200] {
            journal.append(stretch(offset)).expect("appended");
        }
        drop(journal);
        let bytes = std::fs::read(&path).expect("there");
        std::fs::write(&path, &bytes[..bytes.len() - 5]).expect("torn");
        let mut journal = Journal::load(&path);
        assert_eq!(journal.stretches(), [stretch(0), stretch(100)]);
        journal.append(stretch(300)).expect("appended");
        assert_eq!(Journal::load(&path).stretches(), [stretch(0), stretch(100), stretch(300)]);
        assert!(stretch(0).matches(b"verified film") && !stretch(0).matches(b"verified filn"));
    }

    #[test]
    fn what_is_no_longer_needed_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.journal");
        let mut journal = Journal::load(&path);
        for offset in [0, 100] {
            journal.append(stretch(offset)).expect("appended");
        }
        journal.retain(|entry| entry.offset > 0).expect("rewritten");
        assert_eq!(Journal::load(&path).stretches(), [stretch(100)]);
        journal.remove().expect("removed");
        assert!(!path.exists());
    }
}
