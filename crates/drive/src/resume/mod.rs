//! What survives a run: the state folder, and for each title what of it was verified.
//!
//! Two files per title. The *record* says which pieces were whole and how each file looked when their data had reached
//! the disk; it is believed for files that still look so. The *journal* has a checksum of every verified stretch written
//! into a piece that is not whole, appended as it is written; it is believed where the bytes on the disk still match. So
//! a process that is killed at any moment loses nothing that was verified, and nothing else is ever believed: all other
//! data found on the disk is hashed ([`check`]).

pub mod check;
mod journal;
mod leaves;
mod record;

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use shoal_wire::InfoHashes;

pub use journal::{Journal, Stretch};
pub use leaves::Leaves;
pub use record::Record;

use crate::config::TEMPORARY_TRIES;
use crate::error::DriveError;

/// Version of everything in the state folder.
const VERSION: u32 = 1;

/// The state folder of one process, locked for as long as this lives.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    /// Holds the lock; closing it gives it back.
    lock: File,
}

impl StateFolder {
    /// Makes the folder if need be, and locks it.
    ///
    /// # Errors
    /// When another process holds it (named by its process id), when it was written by a newer version, or when the
    /// system refuses.
    pub fn open(path: &Path) -> Result<Self, DriveError> {
        let make = |path: &Path| {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(|e| DriveError::disk("make", path, e))
        };
        make(path)?;
        let lock_path = path.join("lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&lock_path)
            .map_err(|e| DriveError::disk("open", &lock_path, e))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                // An unreadable lock file only means that the holder stays unnamed.
                let _ = lock.read_to_string(&mut text);
                let pid = text.trim().parse().ok();
                return Err(DriveError::StateInUse { path: path.to_path_buf(), pid });
            }
            Err(error) => return Err(DriveError::disk("lock", &lock_path, error)),
        }
        let folder = Self { path: path.to_path_buf(), lock };
        folder.name_holder(&std::process::id().to_string())?;
        folder.check_version()?;
        make(&folder.titles())?;
        folder.tidy();
        Ok(folder)
    }
    /// Removes what a process that was killed left half written. What cannot be removed does no harm.
    fn tidy(&self) {
        let Ok(entries) = std::fs::read_dir(self.titles()) else { return };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().ends_with(TEMPORARY) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
    fn name_holder(&self, text: &str) -> Result<(), DriveError> {
        let mut lock = &self.lock;
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(text.as_bytes()))
            .map_err(|e| DriveError::disk("write", &self.path.join("lock"), e))
    }
    fn check_version(&self) -> Result<(), DriveError> {
        let path = self.path.join("version");
        match std::fs::read_to_string(&path) {
            Ok(text) => match text.trim().parse::<u32>() {
                Ok(version) if version <= VERSION => Ok(()),
                _ => Err(DriveError::StateVersion {
                    path: self.path.clone(),
                    found: text.trim().chars().take(20).collect(),
                    known: VERSION,
                }),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {
                replace(&path, format!("{VERSION}\n").as_bytes())
            }
            Err(error) => Err(DriveError::disk("read", &path, error)),
        }
    }
    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
    fn titles(&self) -> PathBuf {
        self.path.join("titles")
    }
    /// Where something of a title lies: named by the longest of its hashes, and `extension`.
    #[must_use]
    pub fn title_file(&self, hashes: &InfoHashes, extension: &str) -> PathBuf {
        let name = match (hashes.v1, hashes.v2) {
            (Some(v1), _) => v1.to_string(),
            (None, Some(v2)) => v2.to_string(),
            (None, None) => "unnamed".to_owned(),
        };
        self.named_file(&name, extension)
    }
    /// The same by the title's name: an info-hash in hexadecimal digits.
    #[must_use]
    pub fn named_file(&self, name: &str, extension: &str) -> PathBuf {
        self.titles().join(format!("{name}.{extension}"))
    }
}

impl Drop for StateFolder {
    fn drop(&mut self) {
        // The lock itself goes with the descriptor; the name is a courtesy.
        let _ = self.lock.set_len(0);
    }
}

/// Puts `bytes` in place of the file at `path`, so that a reader finds the old or the new ones, never a mixture, even
/// after a power cut. Only this user may read it.
///
/// # Errors
/// When the system refuses; the old file is then untouched.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), DriveError> {
    replace_with_mode(path, bytes, 0o600)
}

/// The same as [`replace`] for a file that is meant for others too: its mode is what the user's umask leaves.
///
/// # Errors
/// As [`replace`].
pub fn replace_shared(path: &Path, bytes: &[u8]) -> Result<(), DriveError> {
    replace_with_mode(path, bytes, 0o666)
}

fn replace_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), DriveError> {
    let failed = |e| DriveError::disk("save", path, e);
    let folder = folder_of(path);
    let (temporary, mut file) = make_temporary(folder, mode).map_err(failed)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    if let Err(error) = written {
        // Half a file is of no use; one that cannot be removed does no harm.
        let _ = std::fs::remove_file(&temporary);
        return Err(failed(error));
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

/// The folder that `path` lies in; a bare name lies in the current one.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."))
}

/// A new file of a name that nobody has in `folder`, not even a symbolic link: what is there already is somebody's.
fn make_temporary(folder: &Path, mode: u32) -> std::io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut tries = TEMPORARY_TRIES;
    loop {
        tries -= 1;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".shoal-{}-{number}{TEMPORARY}", std::process::id()));
        match OpenOptions::new().write(true).create_new(true).mode(mode).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && tries > 0 => {}
            Err(error) => return Err(error),
        }
    }
}

/// How names of half-written files end.
const TEMPORARY: &str = ".new";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_leaves_its_neighbours_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("film.torrent");
        let neighbours = ["film.new", ".film.torrent.new"].map(|name| folder.path().join(name));
        for neighbour in &neighbours {
            std::fs::write(neighbour, "mine").expect("written");
        }
        // The next names are taken: by a file, and by a link that leads to one.
        let (taken, _) = make_temporary(folder.path(), 0o600).expect("made");
        let name = taken.file_name().expect("named").to_string_lossy().into_owned();
        let number = name.rsplit_once('-').and_then(|(_, end)| end.strip_suffix(TEMPORARY));
        let number: u64 = number.expect("a number").parse().expect("a number");
        let pid = std::process::id();
        for next in 1..20 {
            let link = folder.path().join(format!(".shoal-{pid}-{}{TEMPORARY}", number + next));
            std::os::unix::fs::symlink(&neighbours[0], link).expect("linked");
        }
        replace(&path, b"one").expect("written");
        replace(&path, b"two").expect("written");
        assert_eq!(std::fs::read(&path).expect("there"), b"two");
        for neighbour in &neighbours {
            assert_eq!(std::fs::read(neighbour).expect("kept"), b"mine");
        }
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 3 + 1 + 19);
    }

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a folder of this name");
        std::fs::create_dir(&path).expect("made");
        replace(&path, b"film").expect_err("a folder is in the way");
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert_eq!(folder_of(Path::new("film.torrent")), Path::new("."));
    }

    #[test]
    fn a_file_for_others_has_the_mode_that_the_umask_leaves() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |name: &str| {
            let found = std::fs::metadata(folder.path().join(name)).expect("there");
            found.permissions().mode() & 0o777
        };
        std::fs::write(folder.path().join("by others"), "").expect("written");
        replace_shared(&folder.path().join("shared"), b"film").expect("written");
        replace(&folder.path().join("own"), b"film").expect("written");
        assert_eq!((mode("shared"), mode("own")), (mode("by others"), 0o600));
    }

    #[test]
    fn what_a_killed_process_left_half_written_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(StateFolder::open(folder.path()).expect("free"));
        let left = folder.path().join("titles/.shoal-1-0.new");
        std::fs::write(&left, "half").expect("written");
        drop(StateFolder::open(folder.path()).expect("free"));
        assert!(!left.exists());
    }

    #[test]
    fn a_second_process_is_told_who_holds_the_folder_and_gets_it_once_it_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = StateFolder::open(folder.path()).expect("free");
        let error = StateFolder::open(folder.path()).expect_err("held").to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        StateFolder::open(folder.path()).expect("free again");
    }

    #[test]
    fn a_folder_of_a_newer_version_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("version"), "99\n").expect("written");
        let error = StateFolder::open(folder.path()).expect_err("newer").to_string();
        assert!(error.contains("version 99"), "{error}");
        assert_eq!(std::fs::read(folder.path().join("version")).expect("kept"), b"99\n");
    }
}
