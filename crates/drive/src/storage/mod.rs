//! The files of one title below a folder: piece space to file segments, sparse, opened when needed.
//!
//! **Does**: frees the room of stretches, reads and writes stretches of piece space with positioned calls; notices files that went away or were
//! changed by others since they were verified; tells where a file has data at all.
//! **Refuses**: to follow a symbolic link, to leave its folder, to write padding, to make a file shorter.
//!
//! Files are made at their full length without allocating it, when their first byte is written (empty ones at once). A
//! file that somebody else changed or removed fails every read and write from then on, and no sync vouches for it. One that
//! was only *touched* (its times say that something about it changed, and not its content: a new mode or link, or a change
//! whose traces were removed) is in doubt piece by piece ([`Storage::unproven`]), and no sync vouches for it either.

mod descriptors;
mod place;

use std::collections::BTreeSet;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, SeekFrom, Stat, fallocate, fdatasync, fstat, ftruncate, seek};
use rustix::io::{Errno, pread, pwritev};
use shoal_wire::metainfo::Info;

pub use descriptors::Descriptors;
use place::Access;
pub use place::Place;

use crate::error::DriveError;

/// Parts that one system call takes (`IOV_MAX` of Linux).
const PARTS_MAX: usize = 1024;

/// Bytes in which the system counts what files take, whatever its blocks are.
pub(crate) const STAT_BLOCK: u64 = 512;

/// By which a file is known not to have changed: its length and the times of its last change.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Seconds of the last modification.
    pub modified_s: i64,
    /// And its nanoseconds.
    pub modified_ns: u32,
    /// Seconds of the last change of the file or of anything about it (`ctime`), which no program can set.
    pub changed_s: i64,
    /// And its nanoseconds.
    pub changed_ns: u32,
}

impl Stamp {
    fn of(stat: &Stat) -> Self {
        Self {
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified_s: stat.st_mtime,
            modified_ns: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
            changed_s: stat.st_ctime,
            changed_ns: u32::try_from(stat.st_ctime_nsec).unwrap_or(0),
        }
    }
    /// Whether the content is the same by what `other` shows, if programs set no times back.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        let content = |stamp: &Self| (stamp.size, stamp.modified_s, stamp.modified_ns);
        content(self) == content(other)
    }
}

/// What is known of one file while the node runs.
#[derive(Debug, Default)]
struct FileState {
    /// How it looked when all that is held of it was on the disk; `None` after writes of our own.
    stamp: Option<Stamp>,
    /// Written since the last sync.
    dirty: bool,
    /// Writes that are done, so that a sync can tell whether it saw them all.
    writes: u64,
    /// Writes that are under way: until they are done no look at the file says how it will stay.
    writing: u32,
    /// It was there in this run: when it goes, it is not made again.
    seen: bool,
    /// Somebody else touched it: pieces that have matched their hash since.
    touched: Option<BTreeSet<u32>>,
    /// What somebody else did to it: nothing in it is believed until the title is checked again.
    spoilt: Option<&'static str>,
}

impl FileState {
    /// Whether the file, which looks like `now`, is what was vouched for. Notes it when it is not.
    fn is_as_known(&mut self, now: Stamp) -> bool {
        match self.stamp {
            Some(known) if known == now => {}
            Some(known) if known.is_like(&now) => {
                self.touched = Some(BTreeSet::new());
                self.stamp = Some(now);
            }
            Some(_) => drop(self.spoilt.get_or_insert("was changed by another program")),
            None => {}
        }
        self.spoilt.is_none()
    }
    /// Whether no record may vouch for all of it.
    fn is_doubtful(&self) -> bool {
        self.spoilt.is_some() || self.touched.is_some()
    }
}

/// The files of one title.
#[derive(Debug)]
pub struct Storage {
    info: Arc<Info>,
    place: Place,
    id: u64,
    descriptors: Arc<Descriptors>,
    states: Vec<Mutex<FileState>>,
}

/// A stretch of one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    file: usize,
    /// First byte in the file.
    at: u64,
    /// First byte relative to the start of the request.
    from: usize,
    len: usize,
}

impl Storage {
    /// The files of `info` at `place`. Touches nothing yet.
    #[must_use]
    pub fn new(info: Arc<Info>, place: Place, descriptors: Arc<Descriptors>) -> Self {
        let states = info.files.iter().map(|_| Mutex::default()).collect();
        Self { info, place, id: descriptors.next_id(), descriptors, states }
    }
    /// What the title is.
    #[must_use]
    pub fn info(&self) -> &Arc<Info> {
        &self.info
    }
    /// Where `file` lies, for messages.
    #[must_use]
    pub fn path(&self, file: usize) -> PathBuf {
        self.info.files.get(file).map_or_else(PathBuf::new, |entry| {
            self.place.path(file, &entry.path, self.info.folder.then_some(&self.info.name))
        })
    }
    /// Makes the folder and the empty files, and refuses files longer than the title says.
    ///
    /// # Errors
    /// When the system refuses, or a file in the way is not what the title says.
    pub fn make(&self) -> Result<(), DriveError> {
        self.place.make_folder()?;
        for (file, entry) in self.info.files.iter().enumerate() {
            let below = matches!(self.place, Place::Below(_));
            match self.stamp_now(file)? {
                Some(stamp) if stamp.size > entry.length => {
                    let path = self.path(file);
                    return Err(match below {
                        true => DriveError::InTheWay { path },
                        false => DriveError::Changed { path, what: "is longer than it was" },
                    });
                }
                // Only what is missing is opened for writing: a seed's folder may be read-only.
                None if entry.length == 0 && below => drop(self.open(file, Access::Make)?),
                _ => {}
            }
        }
        Ok(())
    }
    fn open(&self, file: usize, access: Access) -> Result<Arc<OwnedFd>, DriveError> {
        let write = access != Access::Read;
        self.descriptors.open(self.id, file, write, || self.place_open(file, access))
    }
    fn place_open(&self, file: usize, access: Access) -> Result<OwnedFd, DriveError> {
        let entry = &self.info.files[file];
        let root = self.info.folder.then_some(&self.info.name);
        let opened = self.place.open(file, &entry.path, root, access)?;
        if access != Access::Read {
            let path = || self.path(file);
            let stat = fstat(&opened).map_err(|e| DriveError::disk("look at", &path(), e))?;
            if u64::try_from(stat.st_size).unwrap_or(0) < entry.length {
                ftruncate(&opened, entry.length)
                    .map_err(|e| DriveError::disk("make", &path(), e))?;
            }
        }
        Ok(opened)
    }
    fn state(&self, file: usize) -> std::sync::MutexGuard<'_, FileState> {
        self.states[file].lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The files under `len` bytes of piece space from `offset`; what lies between them is padding.
    fn segments(&self, offset: u64, len: usize) -> impl Iterator<Item = Segment> + '_ {
        let end = offset.saturating_add(len as u64);
        let first = self.info.files.partition_point(|file| file.start + file.length <= offset);
        self.info
            .files
            .iter()
            .enumerate()
            .skip(first)
            .take_while(move |(_, file)| file.start < end)
            .filter_map(move |(index, file)| {
                let start = file.start.max(offset);
                let stop = (file.start + file.length).min(end);
                (start < stop).then(|| Segment {
                    file: index,
                    at: start - file.start,
                    from: (start - offset) as usize,
                    len: (stop - start) as usize,
                })
            })
    }

    /// Fills `buffer` with piece space from `offset`. Padding reads as zero.
    ///
    /// # Errors
    /// When a file is gone, too short, unreadable, or not what it was when it was verified.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<(), DriveError> {
        let mut filled = 0;
        let len = buffer.len();
        for segment in self.segments(offset, len) {
            buffer[filled..segment.from].fill(0);
            filled = segment.from + segment.len;
            self.read_segment(segment, &mut buffer[segment.from..filled])?;
        }
        buffer[filled..].fill(0);
        Ok(())
    }
    fn read_segment(&self, segment: Segment, buffer: &mut [u8]) -> Result<(), DriveError> {
        let file = segment.file;
        let opened = self.open(file, Access::Read)?;
        self.check_unchanged(file, &*opened)?;
        let mut done = 0;
        while done < buffer.len() {
            match pread(&*opened, &mut buffer[done..], segment.at + done as u64) {
                Ok(0) => {
                    return Err(DriveError::Changed {
                        path: self.path(file),
                        what: "became shorter",
                    });
                }
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(DriveError::disk("read", &self.path(file), error)),
            }
        }
        // What was read while another program wrote is not given away either.
        self.check_unchanged(file, &*opened)
    }
    /// A file that was verified must look as it did then, and still have a name.
    fn check_unchanged(&self, file: usize, opened: impl AsFd) -> Result<(), DriveError> {
        // Looked at under the lock: no sync takes a new stamp between the look and the comparison.
        let mut state = self.state(file);
        self.look(file, opened, &mut state)
    }
    fn look(
        &self,
        file: usize,
        opened: impl AsFd,
        state: &mut FileState,
    ) -> Result<(), DriveError> {
        let stat =
            fstat(opened.as_fd()).map_err(|e| DriveError::disk("look at", &self.path(file), e))?;
        if stat.st_nlink == 0 {
            self.descriptors.forget(self.id, file);
            state.spoilt = Some("was removed");
        }
        state.is_as_known(Stamp::of(&stat));
        state.seen = true;
        self.refuse_spoilt(file, state)
    }
    fn refuse_spoilt(&self, file: usize, state: &FileState) -> Result<(), DriveError> {
        match state.spoilt {
            None => Ok(()),
            Some(what) => Err(DriveError::Changed { path: self.path(file), what }),
        }
    }

    /// Writes consecutive `parts` into piece space from `offset`; bytes that fall on padding are left out.
    ///
    /// # Errors
    /// When the disk is full, or the file or its folder is gone.
    pub fn write(&self, offset: u64, parts: &[Bytes]) -> Result<(), DriveError> {
        let len = parts.iter().map(Bytes::len).sum();
        for segment in self.segments(offset, len) {
            self.write_segment(segment, parts)?;
        }
        Ok(())
    }
    fn write_segment(&self, segment: Segment, parts: &[Bytes]) -> Result<(), DriveError> {
        let file = segment.file;
        let opened = self.begin_write(file)?;
        let written = self.write_parts(&*opened, segment, parts);
        self.end_write(file);
        written
    }
    /// Gives the room of `len` bytes of piece space from `offset` back to the disk: they read as zeros then. What the system
    /// cannot free alone, the ends of its own blocks, stays.
    ///
    /// # Errors
    /// When the file system has no holes ([`DriveError::NoHoles`]), or a file is not what it was.
    pub fn punch(&self, offset: u64, len: u64) -> Result<(), DriveError> {
        for segment in self.segments(offset, usize::try_from(len).unwrap_or(usize::MAX)) {
            let file = segment.file;
            if self.stamp_now(file)?.is_none() {
                continue;
            }
            let opened = self.begin_write(file)?;
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            let freed = loop {
                match fallocate(&*opened, flags, segment.at, segment.len as u64) {
                    Err(Errno::INTR) => {}
                    result => break result,
                }
            };
            self.end_write(file);
            match freed {
                Ok(()) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                    return Err(DriveError::NoHoles { path: self.path(file) });
                }
                Err(error) => {
                    return Err(DriveError::disk("free a part of", &self.path(file), error));
                }
            }
        }
        Ok(())
    }
    /// Bytes that the files take on the disk; those that are not there, or cannot be looked at, take none.
    #[must_use]
    pub fn allocated(&self) -> u64 {
        let blocks = (0..self.states.len()).filter_map(|file| {
            let stat = fstat(&*self.open(file, Access::Read).ok()?).ok()?;
            u64::try_from(stat.st_blocks).ok()
        });
        blocks.sum::<u64>() * STAT_BLOCK
    }
    /// Opens a file to write to it. The caller calls [`Storage::end_write`] whether the write succeeds or not.
    fn begin_write(&self, file: usize) -> Result<Arc<OwnedFd>, DriveError> {
        let access = {
            let state = self.state(file);
            // Before it is opened, which might make it anew.
            self.refuse_spoilt(file, &state)?;
            // What was there and is gone held pieces that are believed: a new file would pass for it.
            if state.seen { Access::Write } else { Access::Make }
        };
        let opened = self.open(file, access)?;
        let mut state = self.state(file);
        self.look(file, &*opened, &mut state)?;
        state.stamp = None;
        state.writing += 1;
        Ok(opened)
    }
    fn end_write(&self, file: usize) {
        let mut state = self.state(file);
        state.writing -= 1;
        // Only now: a sync that began before this may have missed it, and the next one must not.
        state.writes += 1;
        state.dirty = true;
    }
    fn write_parts(
        &self,
        opened: impl AsFd,
        segment: Segment,
        parts: &[Bytes],
    ) -> Result<(), DriveError> {
        let path = || self.path(segment.file);
        let mut done = 0;
        while done < segment.len {
            let slices = slices(parts, segment.from + done, segment.len - done);
            match pwritev(opened.as_fd(), &slices, segment.at + done as u64) {
                Ok(0) => return Err(DriveError::disk("write", &path(), Errno::IO)),
                Ok(count) => done += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(DriveError::disk("write", &path(), error)),
            }
        }
        Ok(())
    }

    /// Brings all written data to the disk and returns each file's stamp, `None` for files that are not there or that somebody
    /// else changed.
    ///
    /// # Errors
    /// When the disk cannot take it: then nothing may be recorded as stored.
    pub fn sync(&self) -> Result<Vec<Option<Stamp>>, DriveError> {
        let mut stamps = Vec::with_capacity(self.states.len());
        for file in 0..self.states.len() {
            let (dirty, writes, known, doubtful) = {
                let mut state = self.state(file);
                // What is spoilt is not worth the while.
                let dirty = state.spoilt.is_none() && std::mem::replace(&mut state.dirty, false);
                (dirty, state.writes, state.stamp, state.is_doubtful())
            };
            if !dirty {
                stamps.push(match known {
                    _ if doubtful => None,
                    Some(_) => known,
                    None => self.stamp_now(file)?,
                });
                continue;
            }
            let result = self.open(file, Access::Read).and_then(|opened| {
                let path = || self.path(file);
                fdatasync(&*opened).map_err(|e| DriveError::disk("save", &path(), e))?;
                fstat(&*opened).map_err(|e| DriveError::disk("look at", &path(), e))
            });
            let stat = match result {
                Ok(stat) => stat,
                Err(error) => {
                    self.state(file).dirty = true;
                    return Err(error);
                }
            };
            let mut state = self.state(file);
            let stamp = Stamp::of(&stat);
            if !state.is_as_known(stamp) {
                stamps.push(None);
                continue;
            }
            if state.writes == writes && state.writing == 0 {
                state.stamp = Some(stamp);
            }
            stamps.push(Some(stamp).filter(|_| !state.is_doubtful()));
        }
        Ok(stamps)
    }
    /// How `file` looks now; `None` when it is not there.
    ///
    /// # Errors
    /// When it is something else than a file, or cannot be looked at.
    pub fn stamp_now(&self, file: usize) -> Result<Option<Stamp>, DriveError> {
        match self.open(file, Access::Read) {
            Ok(opened) => fstat(&*opened)
                .map(|stat| Some(Stamp::of(&stat)))
                .map_err(|e| DriveError::disk("look at", &self.path(file), e)),
            Err(DriveError::Disk { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
    /// From now on `file` must look as it does in `stamp`.
    pub fn vouch(&self, file: usize, stamp: Stamp) {
        let mut state = self.state(file);
        (state.stamp, state.spoilt, state.touched) = (Some(stamp), None, None);
        state.seen = true;
    }
    /// The next [`Storage::sync`] must bring `file` to the disk: an earlier run may have written it.
    pub fn mark_dirty(&self, file: usize) {
        self.state(file).dirty = true;
    }
    /// A piece under `len` bytes of piece space from `offset` that must match its hash before what was read of it is given
    /// away: one of its files was touched. To be asked after the read.
    #[must_use]
    pub fn unproven(&self, offset: u64, len: usize) -> Option<u32> {
        let layout = &self.info.layout;
        let first = layout.piece_at(offset)?.get();
        let last = layout.piece_at(offset + (len as u64).max(1) - 1)?.get();
        (first..=last).find(|piece| {
            self.files_of(*piece).any(|file| {
                self.state(file).touched.as_ref().is_some_and(|proven| !proven.contains(piece))
            })
        })
    }
    /// How the files under a piece look: what [`Storage::prove`] needs.
    #[must_use]
    pub fn looks(&self, piece: u32) -> Vec<Option<Stamp>> {
        self.files_of(piece).map(|file| self.state(file).stamp).collect()
    }
    /// A piece matches its hash, read while its files looked as in `looks`. Those that were touched meanwhile stay in doubt.
    pub fn prove(&self, piece: u32, looks: &[Option<Stamp>]) {
        for (file, look) in self.files_of(piece).zip(looks) {
            let mut state = self.state(file);
            if state.stamp == *look
                && let Some(proven) = &mut state.touched
            {
                proven.insert(piece);
            }
        }
    }
    fn files_of(&self, piece: u32) -> impl Iterator<Item = usize> + '_ {
        let layout = &self.info.layout;
        let bytes = layout.piece(piece).map(|piece| (layout.start(piece), layout.data_len(piece)));
        let (start, length) = bytes.unwrap_or_default();
        self.files_under(start, length as usize)
    }
    /// Files that have bytes in `len` bytes of piece space from `offset`, ascending.
    pub fn files_under(&self, offset: u64, len: usize) -> impl Iterator<Item = usize> + '_ {
        self.segments(offset, len).map(|segment| segment.file)
    }

    /// Stretches of piece space that have data on the disk, ascending; holes of sparse files and missing files are left
    /// out. A file system that does not tell reports all of a file.
    ///
    /// # Errors
    /// When a file is there and cannot be looked at.
    pub fn extents(&self) -> Result<Vec<(u64, u64)>, DriveError> {
        let mut extents: Vec<(u64, u64)> = Vec::new();
        for (file, entry) in self.info.files.iter().enumerate() {
            let Some(stamp) = self.stamp_now(file)? else { continue };
            let end = stamp.size.min(entry.length);
            let opened = self.open(file, Access::Read)?;
            let mut at = 0;
            while at < end {
                let (start, stop) = match seek(&*opened, SeekFrom::Data(at)) {
                    Ok(start) => {
                        (start, seek(&*opened, SeekFrom::Hole(start)).unwrap_or(end).min(end))
                    }
                    Err(Errno::NXIO) => break,
                    Err(_) => (at, end),
                };
                if start >= stop {
                    break;
                }
                extents.push((entry.start + start, entry.start + stop));
                at = stop;
            }
        }
        Ok(extents)
    }
    /// Closes the descriptors of this title.
    pub fn close(&self) {
        self.descriptors.forget_all(self.id);
    }
    /// The folder that must stay, for messages.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.place.folder()
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close();
    }
}

/// At most [`PARTS_MAX`] slices that cover `len` bytes of `parts` after the first `skip`.
fn slices(parts: &[Bytes], mut skip: usize, mut len: usize) -> Vec<IoSlice<'_>> {
    let mut slices = Vec::with_capacity(parts.len().min(PARTS_MAX));
    for part in parts {
        if skip >= part.len() {
            skip -= part.len();
            continue;
        }
        if len == 0 || slices.len() == PARTS_MAX {
            break;
        }
        let stop = part.len().min(skip.saturating_add(len));
        slices.push(IoSlice::new(&part[skip..stop]));
        len -= stop - skip;
        skip = 0;
    }
    slices
}

#[cfg(test)]
mod tests;
