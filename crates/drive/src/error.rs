//! Errors of this crate, each a sentence that tells the user what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use shoal_node::io::{Failure, FailureKind};

/// Why something outside the node could not be done.
#[derive(Debug)]
pub enum DriveError {
    /// The system refused an operation on a file or folder.
    Disk {
        /// What was tried: `"read"`, `"create"`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is not what it was when it was verified, or not what the title says.
    Changed {
        /// The file.
        path: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// The file system cannot free parts of files.
    NoHoles {
        /// The file.
        path: PathBuf,
    },
    /// A file stands where a shorter one of the title must go.
    InTheWay {
        /// The file.
        path: PathBuf,
    },
    /// The state folder belongs to a running process.
    StateInUse {
        /// The folder.
        path: PathBuf,
        /// The process, when it is known.
        pid: Option<u32>,
    },
    /// The state folder was written by a newer version.
    StateVersion {
        /// The folder.
        path: PathBuf,
        /// Its version.
        found: String,
        /// Newest version known here.
        known: u32,
    },
    /// A socket could not be set up.
    Socket {
        /// What was tried: `"listen on"`.
        action: &'static str,
        /// The address.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// A URL may not be fetched, or its server did not answer well; the text says why.
    Fetch {
        /// The URL, shortened.
        url: String,
        /// Why.
        why: String,
    },
    /// What was asked for makes no sense; the text says why.
    Invalid(String),
    /// The engine has stopped.
    Stopped,
}

impl DriveError {
    /// An error of the system about `path`.
    pub(crate) fn disk(action: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Disk { action, path: path.to_path_buf(), source: source.into() }
    }
    /// Whether the disk or the quota is full.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        let Self::Disk { source, .. } = self else { return false };
        let errno = source.raw_os_error().map(Errno::from_raw_os_error);
        matches!(errno, Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
    }
    /// The same as a node hears it.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let kind = match self {
            Self::Disk { .. } if self.is_disk_full() => FailureKind::DiskFull,
            Self::Socket { .. } | Self::Fetch { .. } => FailureKind::Network,
            _ => FailureKind::DiskLost,
        };
        Failure { kind, message: self.to_string() }
    }
}

impl fmt::Display for DriveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disk { path, source, .. } if self.is_disk_full() => write!(
                f,
                "there is no room for {}: free some space, then start again ({source})",
                path.display()
            ),
            Self::Disk { action, path, source } => match source.kind() {
                io::ErrorKind::NotFound => write!(
                    f,
                    "{} is gone: put it back, then start again (could not {action} it)",
                    path.display()
                ),
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "could not {action} {}: allow this user to do so, then start again",
                    path.display()
                ),
                _ => write!(f, "could not {action} {}: {source}", path.display()),
            },
            Self::Changed { path, what } => write!(
                f,
                "{} {what}: it is no longer served; start again to have it checked",
                path.display()
            ),
            Self::NoHoles { path } => write!(
                f,
                "the file system of {} cannot free parts of files, so the cache may grow beyond its size: choose another disk with --state",
                path.display()
            ),
            Self::InTheWay { path } => write!(
                f,
                "{} is longer than the file of this name in the title: move it away, or choose another folder",
                path.display()
            ),
            Self::StateInUse { path, pid: Some(pid) } => write!(
                f,
                "the state folder {} is in use by process {pid}: stop it, or choose another with --state",
                path.display()
            ),
            Self::StateInUse { path, pid: None } => write!(
                f,
                "the state folder {} is in use by another process: stop it, or choose another with --state",
                path.display()
            ),
            Self::StateVersion { path, found, known } => write!(
                f,
                "the state folder {} has version {found}, this program knows {known}: use a newer program, or choose another with --state",
                path.display()
            ),
            Self::Socket { action, address, source } => {
                if source.kind() == io::ErrorKind::AddrInUse {
                    write!(
                        f,
                        "{address} is taken by another program: choose another port with --listen, or 0 for any"
                    )
                } else {
                    write!(f, "could not {action} {address}: {source}")
                }
            }
            Self::Fetch { url, why } => write!(f, "could not fetch {url}: {why}"),
            Self::Invalid(why) => f.write_str(why),
            Self::Stopped => f.write_str("the node has stopped"),
        }
    }
}

impl std::error::Error for DriveError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Disk { source, .. } | Self::Socket { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_the_system_says_becomes_a_kind_and_a_sentence() {
        let mut full = std::fs::File::options().write(true).open("/dev/full").expect("linux");
        let error = full.write_all(b"film").expect_err("always full");
        let failure = DriveError::disk("write", Path::new("/films/a.mp4"), error).failure();
        assert_eq!(failure.kind, FailureKind::DiskFull);
        assert!(failure.message.starts_with("there is no room for /films/a.mp4"), "{failure:?}");
        let error = std::fs::File::open("/films/none.mp4").expect_err("missing");
        let failure = DriveError::disk("open", Path::new("/films/none.mp4"), error).failure();
        assert_eq!(failure.kind, FailureKind::DiskLost);
        assert!(failure.message.starts_with("/films/none.mp4 is gone: put it back"), "{failure:?}");
        let fetch = DriveError::Fetch { url: "http://x/".into(), why: "it does not answer".into() };
        assert_eq!(fetch.failure().kind, FailureKind::Network);
    }
}
