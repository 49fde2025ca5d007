//! Where the files of a title lie, and how they are opened without ever leaving that place.
//!
//! Names inside a title come from strangers. `wire` makes each component safe; here every step down is taken from the
//! folder's own descriptor with `O_NOFOLLOW`, so that a symbolic link planted by anybody leads nowhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::error::DriveError;

/// Where the files of a title lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// Below a folder, under the names that the title gives them.
    Below(PathBuf),
    /// Each at a path of its own (what is published where it lies), in the order of the title's files. Never written.
    Files(Vec<PathBuf>),
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// To read it.
    Read,
    /// To read it and write to it, if it is there.
    Write,
    /// The same; it is made if need be, with its folders.
    Make,
}

impl Place {
    /// The folder, or that of the first file.
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Below(folder) => folder,
            Self::Files(paths) => {
                paths.first().and_then(|path| path.parent()).unwrap_or_else(|| Path::new("."))
            }
        }
    }
    pub(super) fn path(&self, file: usize, names: &[String], root: Option<&String>) -> PathBuf {
        match self {
            Self::Below(folder) => {
                let mut path = folder.clone();
                path.extend(root);
                path.extend(names);
                path
            }
            Self::Files(paths) => paths.get(file).cloned().unwrap_or_default(),
        }
    }
    pub(super) fn make_folder(&self) -> Result<(), DriveError> {
        let Self::Below(folder) = self else { return Ok(()) };
        std::fs::create_dir_all(folder).map_err(|e| DriveError::disk("make", folder, e))
    }
    /// Opens a file.
    pub(super) fn open(
        &self,
        file: usize,
        names: &[String],
        root: Option<&String>,
        access: Access,
    ) -> Result<OwnedFd, DriveError> {
        let path = || self.path(file, names, root);
        let failed = |action, error| DriveError::disk(action, &path(), error);
        match self {
            Self::Files(paths) => {
                let path = paths.get(file).ok_or_else(|| failed("find", Errno::NOENT))?;
                if access != Access::Read {
                    return Err(failed("write", Errno::ROFS));
                }
                check_file(open_at(CWD, path, access).map_err(|e| failed("open", e))?, &failed)
            }
            Self::Below(folder) => {
                let mut at = openat(CWD, folder, FOLDER, Mode::empty())
                    .map_err(|e| DriveError::disk("open", folder, e))?;
                let (name, parents) =
                    names.split_last().ok_or_else(|| failed("open", Errno::NOENT))?;
                for parent in root.into_iter().chain(parents) {
                    let make = access == Access::Make;
                    at = step_down(&at, parent, make).map_err(|e| failed("open", e))?;
                }
                let opened =
                    open_at(&at, Path::new(name), access).map_err(|e| failed("open", e))?;
                check_file(opened, &failed)
            }
        }
    }
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

fn step_down(at: &OwnedFd, name: &str, make: bool) -> Result<OwnedFd, Errno> {
    let flags = FOLDER | OFlags::NOFOLLOW;
    match openat(at, name, flags, Mode::empty()) {
        Err(Errno::NOENT) if make => {
            match mkdirat(at, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error),
            }
            openat(at, name, flags, Mode::empty())
        }
        result => result,
    }
}

fn open_at(at: impl std::os::fd::AsFd, name: &Path, access: Access) -> Result<OwnedFd, Errno> {
    // NONBLOCK: a named pipe in the way must not hold us up.
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let wanted = match access {
        Access::Read => OFlags::RDONLY,
        Access::Write => OFlags::RDWR,
        Access::Make => OFlags::RDWR | OFlags::CREATE,
    };
    openat(at, name, flags | wanted, Mode::from_raw_mode(0o666))
}

/// Only regular files are films.
fn check_file(
    opened: OwnedFd,
    failed: &impl Fn(&'static str, Errno) -> DriveError,
) -> Result<OwnedFd, DriveError> {
    let stat = rustix::fs::fstat(&opened).map_err(|e| failed("look at", e))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if kind.is_file() { Ok(opened) } else { Err(failed("use as a file", Errno::INVAL)) }
}
