//! Films of earlier runs in the cache: how much of the disk they take, and how they make room.
//!
//! Each lies in a folder of its own, named by its info-hash. The longest unused film goes first, from its end, so that what is
//! left begins it at once when it is watched again. A film whose record is not believed any more, or on a file system without
//! holes, goes whole.
//!
//! **Refuses**: to touch anything but folders with the name of an info-hash, and to follow symbolic links.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use shoal_node::io::ResumeRecord;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Info;

use crate::config::{CACHE_DISK_PART, CACHE_MAX, CACHE_MIN, KEPT_FILES_MAX, KEPT_FILMS_MAX};
use crate::resume::{Record, StateFolder};
use crate::storage::{Descriptors, Place, STAT_BLOCK};
use crate::title::TitleStore;

/// Extensions of what the state folder knows of a title; the record goes first.
const STATE_FILES: [&str; 4] = ["record", "journal", "leaves", "info"];

/// Films in the cache that nobody uses now, the longest unused first.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    films: Vec<Film>,
}

#[derive(Debug)]
struct Film {
    folder: PathBuf,
    /// Of the folder: an info-hash in hexadecimal digits.
    name: String,
    used: SystemTime,
    /// Bytes that its files take on the disk.
    bytes: u64,
}

impl Kept {
    /// Looks at the films below `cache`, but for those of which `is_live` is true. What cannot be looked at is not there.
    pub(crate) fn look(
        cache: &Path,
        state: Option<&StateFolder>,
        is_live: impl Fn(&Path) -> bool,
    ) -> Self {
        let Ok(entries) = std::fs::read_dir(cache) else { return Self::default() };
        let mut films: Vec<Film> = entries
            .flatten()
            .take(KEPT_FILMS_MAX)
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok().filter(|name| is_hash(name))?;
                let folder = entry.path();
                if is_live(&folder) {
                    return None;
                }
                // A record is written at the end of each run.
                let record = state.map(|state| state.named_file(&name, "record"));
                let looked = record.and_then(|path| std::fs::metadata(path).ok());
                let looked = looked.or_else(|| entry.metadata().ok());
                let used = looked.and_then(|data| data.modified().ok());
                let bytes = bytes_below(&folder);
                Some(Film { folder, name, used: used.unwrap_or(SystemTime::UNIX_EPOCH), bytes })
            })
            .collect();
        films.sort_by(|a, b| (a.used, &a.name).cmp(&(b.used, &b.name)));
        Self { films }
    }
    /// Bytes that they take on the disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.films.iter().map(|film| film.bytes).sum()
    }
    /// Frees at least `bytes`, if they have as many. What cannot be freed stays and counts.
    pub(crate) fn free(&mut self, bytes: u64, state: &StateFolder, descriptors: &Arc<Descriptors>) {
        let mut freed = 0;
        for film in &mut self.films {
            if freed >= bytes {
                break;
            }
            let before = film.bytes;
            if before > bytes - freed {
                film.cut(bytes - freed, state, descriptors);
            }
            if film.bytes == before {
                film.remove(state, descriptors);
            }
            freed += before - film.bytes;
        }
    }
}

impl Film {
    /// It as its record knows it; `None` when the record is about other files than those that are here.
    fn known(
        &self,
        state: &StateFolder,
        descriptors: &Arc<Descriptors>,
    ) -> Option<(TitleStore, Record)> {
        let raw = std::fs::read(state.named_file(&self.name, "info")).ok()?;
        let info = Info::parse(&Bytes::from(raw)).ok().map(Arc::new)?;
        let record = Record::load(&state.named_file(&self.name, "record"))?;
        let (files, count) = (info.files.len(), info.layout.piece_count());
        let place = Place::Below(self.folder.clone());
        let store = TitleStore::open(info, Vec::new(), place, Arc::clone(descriptors), Some(state));
        let looks = (0..files).map(|file| store.storage().stamp_now(file).ok().flatten());
        let is_known = record.have.len() == count && looks.eq(record.stamps.iter().copied());
        is_known.then_some((store, record))
    }
    /// Gives up the last pieces of it that make `bytes`. Nothing happens where that cannot be done safely.
    fn cut(&mut self, bytes: u64, state: &StateFolder, descriptors: &Arc<Descriptors>) {
        let Some((store, known)) = self.known(state, descriptors) else { return };
        let info = Arc::clone(store.storage().info());
        let count = info.layout.piece_count();
        let mut have = known.have;
        let mut gone = Vec::new();
        let mut sum = 0;
        let held: Vec<u32> = have.iter().collect();
        for piece in held.into_iter().rev().filter_map(|piece| info.layout.piece(piece)) {
            if sum >= bytes {
                break;
            }
            sum += u64::from(info.layout.data_len(piece));
            have.clear(piece.get());
            gone.push(piece.get());
        }
        if Bitfield::new(count) == have {
            // Nothing would be left of it: it goes whole.
            return;
        }
        let record = ResumeRecord { have, partial: Vec::new() };
        if store.evict(&record, &gone).is_ok() {
            self.bytes = bytes_below(&self.folder);
            // To be cut is not to be used. Where the time cannot be set another film may be cut before it.
            let record = std::fs::File::open(state.named_file(&self.name, "record"));
            let _ = record.and_then(|record| record.set_modified(self.used));
        }
    }
    /// Removes it, and first what says that it is here. What is known of the same title in another folder stays.
    fn remove(&mut self, state: &StateFolder, descriptors: &Arc<Descriptors>) {
        let is_known = self.known(state, descriptors).is_some();
        for extension in STATE_FILES.iter().filter(|_| is_known) {
            // Where one stays it vouches for nothing: its files are gone.
            let _ = std::fs::remove_file(state.named_file(&self.name, extension));
        }
        let _ = std::fs::remove_dir_all(&self.folder);
        self.bytes = if self.folder.exists() { bytes_below(&self.folder) } else { 0 };
    }
}

/// What films that are watched may take on the disk unless the user says otherwise, bytes: [`CACHE_MAX`], but not more than a
/// tenth of what is free there with what they take already. Blocks.
#[must_use]
pub fn default_quota(cache: &Path) -> u64 {
    let there = cache.ancestors().find(|folder| folder.exists());
    let free = there.and_then(|folder| rustix::fs::statvfs(folder).ok());
    let free = free.map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    let taken = Kept::look(cache, None, |_| false).bytes();
    let part = free.map_or(CACHE_MAX, |free| free.saturating_add(taken) / CACHE_DISK_PART);
    part.clamp(CACHE_MIN, CACHE_MAX)
}

/// Whether a name is an info-hash of either kind.
fn is_hash(name: &str) -> bool {
    matches!(name.len(), 40 | 64)
        && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Bytes that the files below a folder take on the disk.
fn bytes_below(folder: &Path) -> u64 {
    let mut folders = vec![folder.to_path_buf()];
    let (mut seen, mut bytes) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            seen += 1;
            if seen > KEPT_FILES_MAX {
                return bytes;
            }
            // Of the entry itself: a link is not followed.
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => bytes += data.blocks() * STAT_BLOCK,
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::hash::sha1;
    use crate::testing::film;
    use crate::title::Trust;

    const PIECE: u32 = 64 << 10;

    /// A title of one file in a folder of this name.
    fn titled(name: &str, data: &[u8]) -> Info {
        let pieces: Vec<u8> = data.chunks(PIECE as usize).flat_map(|piece| sha1(piece).0).collect();
        let (length, count) = (data.len(), pieces.len());
        let head = format!("d5:filesld6:lengthi{length}e4:pathl1:feee4:name{}:{name}", name.len());
        let mut raw = head.into_bytes();
        raw.extend(format!("12:piece lengthi{PIECE}e6:pieces{count}:").bytes());
        raw.extend(pieces);
        raw.push(b'e');
        Info::parse(&Bytes::from(raw)).expect("a valid title")
    }

    struct World {
        root: tempfile::TempDir,
        state: StateFolder,
        descriptors: Arc<Descriptors>,
    }

    impl World {
        fn new() -> Self {
            let root = tempfile::tempdir().expect("a folder");
            let state = StateFolder::open(root.path()).expect("state");
            std::fs::create_dir(root.path().join("films")).expect("made");
            Self { root, state, descriptors: Arc::new(Descriptors::new(4)) }
        }
        fn cache(&self) -> PathBuf {
            self.root.path().join("films")
        }
        fn store(&self, name: &str, data: &[u8]) -> TitleStore {
            let info = Arc::new(titled(name, data));
            let folder = info.hashes.primary().expect("named").to_string();
            let place = Place::Below(self.cache().join(folder));
            let (descriptors, state) = (Arc::clone(&self.descriptors), Some(&self.state));
            TitleStore::open(info, Vec::new(), place, descriptors, state)
        }
        /// A film of eight pieces that was last used so many seconds ago.
        fn film(&self, name: &str, data: &[u8], ago_s: u64) -> PathBuf {
            let store = self.store(name, data);
            store.prepare(Trust::Verified).expect("made");
            store.keep_info().expect("kept");
            store.write(0, &[Bytes::copy_from_slice(data)]).expect("written");
            let record = ResumeRecord { have: Bitfield::full(8), partial: Vec::new() };
            store.save(&record).expect("saved");
            let folder = store.storage().folder().to_path_buf();
            let name = folder.file_name().expect("named").to_string_lossy().into_owned();
            let record = std::fs::File::open(self.state.named_file(&name, "record"));
            let then = SystemTime::now() - Duration::from_secs(ago_s);
            record.expect("there").set_modified(then).expect("set");
            folder
        }
        fn look(&self, live: Option<&Path>) -> Kept {
            Kept::look(&self.cache(), Some(&self.state), |folder| Some(folder) == live)
        }
    }

    #[test]
    fn the_longest_unused_film_goes_first_and_from_its_end() {
        let world = World::new();
        let data = film(8 * PIECE as usize);
        let (old, new) = (world.film("old", &data, 500), world.film("new", &data, 5));
        let live = world.film("live", &data, 1000);
        let mut kept = world.look(Some(&live));
        let whole = data.len() as u64;
        assert!((2 * whole..2 * whole + 100_000).contains(&kept.bytes()), "{}", kept.bytes());
        kept.free(3 * u64::from(PIECE), &world.state, &world.descriptors);
        assert!(kept.bytes() <= 2 * whole + 100_000 - 3 * u64::from(PIECE));
        assert_eq!(kept.bytes(), world.look(Some(&live)).bytes());
        let store = world.store("old", &data);
        let found = store.prepare(Trust::Verified).expect("looked");
        assert_eq!(found.have.iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert_eq!(store.progress().total, 0, "believed without a look");
        drop(store);
        // All of the one and some of the other.
        world.look(Some(&live)).free(7 * u64::from(PIECE), &world.state, &world.descriptors);
        assert!(!old.exists() && new.exists() && live.exists());
        assert_eq!(std::fs::read_dir(world.root.path().join("titles")).expect("it").count(), 4);
        world.look(Some(&live)).free(u64::MAX, &world.state, &world.descriptors);
        assert!(!new.exists() && live.exists());
        assert_eq!(world.look(Some(&live)).bytes(), 0);
    }

    #[test]
    fn a_film_that_its_record_does_not_know_goes_whole_and_nothing_else_is_touched() {
        let world = World::new();
        let data = film(8 * PIECE as usize);
        let changed = world.film("changed", &data, 5);
        std::fs::write(changed.join("changed/f"), &data[1..]).expect("written");
        let mine = world.cache().join("my own notes");
        std::fs::create_dir(&mine).expect("made");
        std::fs::write(mine.join("notes"), &data).expect("written");
        let outside = world.root.path().join("outside");
        std::fs::create_dir(&outside).expect("made");
        std::fs::write(outside.join("film"), &data).expect("written");
        let link = world.cache().join("c".repeat(40));
        std::os::unix::fs::symlink(&outside, &link).expect("linked");
        let mut kept = world.look(None);
        kept.free(u64::from(PIECE), &world.state, &world.descriptors);
        assert!(!changed.exists());
        // Perhaps it is about the same title elsewhere.
        let name = changed.file_name().expect("named").to_string_lossy().into_owned();
        assert!(world.state.named_file(&name, "record").exists());
        assert!(mine.join("notes").exists() && outside.join("film").exists() && link.is_symlink());
        assert_eq!(kept.bytes(), 0);
    }
}
