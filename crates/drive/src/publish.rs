//! New titles from files on this disk: every byte read once, by all cores.
//!
//! Blocking; call it off the network thread. The title's order and geometry come from [`TitlePlan`]; here are the files,
//! the threads and the guard against files that change meanwhile.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use shoal_node::io::ResumeRecord;
use shoal_wire::bitfield::Bitfield;
use shoal_wire::merkle::{FileTree, PieceHasher, TreeShape, subtree_root};
use shoal_wire::metainfo::{
    Metainfo, PieceIndex, TitleExtras, TitleHashes, TitlePlan, Version, default_piece_length,
};
use shoal_wire::{Hash20, Hash32};

use crate::config::{HASH_STEP, PUBLISH_DEPTH_MAX, PUBLISH_FILES_MAX};
use crate::error::DriveError;
use crate::hash;
use crate::storage::{Place, Stamp};
use crate::title::Verified;

/// A file to publish.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Its path inside the title; made safe by the plan.
    pub name: Vec<String>,
    /// Where it lies.
    pub file: PathBuf,
}

/// What to publish.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Name of the file or of the folder.
    pub name: String,
    /// Whether the files lie in a folder called `name`.
    pub folder: bool,
    /// The files.
    pub sources: Vec<Source>,
    /// Bytes of a piece; `None` chooses by size ([`default_piece_length`]).
    pub piece_length: Option<u32>,
    /// Protocol versions.
    pub version: Version,
    /// What else the torrent says.
    pub extras: TitleExtras,
}

/// A title that was just made.
#[derive(Clone, Debug)]
pub struct Published {
    /// The torrent.
    pub metainfo: Metainfo,
    /// Where its files lie.
    pub place: Place,
    /// All of it, verified.
    pub verified: Verified,
}

/// How far a publication is; also stops it.
#[derive(Debug, Default)]
pub struct PublishProgress {
    /// Bytes hashed.
    pub done: AtomicU64,
    /// Bytes to hash.
    pub total: AtomicU64,
    /// Set to end early with an error.
    pub cancelled: AtomicBool,
}

/// The files at `paths`, folders searched: name, whether a folder, files. One file is a title of its own; a folder gives
/// its name to the title; several paths lie side by side in a folder called `title`, or as the first of them.
///
/// Symbolic links and special files inside folders are left out, in the order of names.
///
/// # Errors
/// When a path is missing or unreadable, or there are too many files.
pub fn find_sources(
    paths: &[PathBuf],
    title: Option<&str>,
) -> Result<(String, bool, Vec<Source>), DriveError> {
    let mut sources = Vec::new();
    let mut first = None;
    let single = paths.len() == 1;
    let mut folder = !single;
    for path in paths {
        let path = path.canonicalize().map_err(|e| DriveError::disk("find", path, e))?;
        let name = path.file_name().map_or_else(|| "title".into(), |n| n.to_string_lossy());
        let name = name.into_owned();
        let metadata = path.metadata().map_err(|e| DriveError::disk("look at", &path, e))?;
        if metadata.is_dir() {
            folder = true;
            let prefix = if single { Vec::new() } else { vec![name.clone()] };
            walk(&path, &prefix, &mut sources)?;
        } else {
            sources.push(Source { name: vec![name.clone()], file: path });
        }
        first.get_or_insert(name);
    }
    let name = title.map(str::to_owned).or(first).unwrap_or_default();
    match sources.is_empty() {
        true => Err(DriveError::Invalid("there is no file to publish".to_owned())),
        false => Ok((name, folder, sources)),
    }
}

fn walk(folder: &Path, prefix: &[String], out: &mut Vec<Source>) -> Result<(), DriveError> {
    let failed = |e| DriveError::disk("read", folder, e);
    if prefix.len() > PUBLISH_DEPTH_MAX {
        let why = format!("{} lies too deep: publish it by itself", folder.display());
        return Err(DriveError::Invalid(why));
    }
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let mut name = prefix.to_vec();
        name.push(entry.file_name().to_string_lossy().into_owned());
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            walk(&entry.path(), &name, out)?;
        } else if kind.is_file() {
            if out.len() == PUBLISH_FILES_MAX {
                let why = format!("more than {PUBLISH_FILES_MAX} files: publish them in parts");
                return Err(DriveError::Invalid(why));
            }
            out.push(Source { name, file: entry.path() });
        }
    }
    Ok(())
}

/// An open source and how it looked when it was opened.
struct Opened {
    path: PathBuf,
    file: File,
    looks: Stamp,
}

impl Opened {
    fn open(path: &Path) -> Result<Self, DriveError> {
        let file = File::open(path).map_err(|e| DriveError::disk("open", path, e))?;
        let looks = looks(&file, path)?;
        Ok(Self { path: path.to_path_buf(), file, looks })
    }
    fn read(&self, buffer: &mut [u8], at: u64) -> Result<(), DriveError> {
        self.file.read_exact_at(buffer, at).map_err(|e| DriveError::disk("read", &self.path, e))
    }
}

fn looks(file: &File, path: &Path) -> Result<Stamp, DriveError> {
    let metadata = file.metadata().map_err(|e| DriveError::disk("look at", path, e))?;
    if !metadata.is_file() {
        return Err(DriveError::Invalid(format!("{} is not a file", path.display())));
    }
    Ok(Stamp {
        size: metadata.len(),
        modified_s: metadata.mtime(),
        modified_ns: u32::try_from(metadata.mtime_nsec()).unwrap_or(0),
        changed_s: metadata.ctime(),
        changed_ns: u32::try_from(metadata.ctime_nsec()).unwrap_or(0),
    })
}

/// Hashes the files and makes the title. Costs one read and one or two hashes of every byte, on all cores.
///
/// # Errors
/// When a file cannot be read or changes meanwhile, or the names or sizes make no title.
pub fn publish(
    publication: &Publication,
    progress: &PublishProgress,
) -> Result<Published, DriveError> {
    // One descriptor for each file, for as long as this takes.
    let opened = publication
        .sources
        .iter()
        .map(|source| Opened::open(&source.file))
        .collect::<Result<Vec<_>, _>>()?;
    let files: Vec<(Vec<String>, u64)> = publication
        .sources
        .iter()
        .zip(&opened)
        .map(|(source, opened)| (source.name.clone(), opened.looks.size))
        .collect();
    let total = files.iter().map(|(_, length)| length).sum();
    progress.total.store(total, Ordering::Relaxed);
    let piece_length = publication.piece_length.unwrap_or_else(|| default_piece_length(total));
    let Publication { name, folder, version, extras, .. } = publication;
    let refused = |error: shoal_wire::DecodeError| DriveError::Invalid(error.to_string());
    let plan = TitlePlan::new(name, *folder, &files, piece_length, *version).map_err(refused)?;
    let ordered: Vec<&Opened> = plan.files().iter().map(|file| &opened[file.source]).collect();
    let hashes = Hashing { plan: &plan, files: &ordered, progress }.run()?;
    for opened in &opened {
        // One that was only touched is in doubt, as it would be later: its pieces are checked before they are given away.
        if !looks(&opened.file, &opened.path)?.is_like(&opened.looks) {
            let path = opened.path.clone();
            return Err(DriveError::Changed { path, what: "changed while it was published" });
        }
    }
    let metainfo = plan.finish(&hashes, extras).map_err(refused)?;
    let place = Place::Files(ordered.iter().map(|opened| opened.path.clone()).collect());
    let have = Bitfield::full(metainfo.info.layout.piece_count());
    let verified = Verified {
        record: ResumeRecord { have, partial: Vec::new() },
        stamps: ordered.iter().map(|opened| opened.looks).collect(),
    };
    Ok(Published { metainfo, place, verified })
}

/// The hashes of one piece.
#[derive(Clone, Copy, Default)]
struct PieceHashes {
    v1: Hash20,
    v2: Hash32,
}

struct Hashing<'a> {
    plan: &'a TitlePlan,
    files: &'a [&'a Opened],
    progress: &'a PublishProgress,
}

impl Hashing<'_> {
    fn run(&self) -> Result<TitleHashes, DriveError> {
        let count = self.plan.layout().piece_count();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let next = AtomicU32::new(0);
        let pieces = Mutex::new(vec![PieceHashes::default(); count as usize]);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let mut buffer = vec![0; HASH_STEP];
                    while let Some(piece) =
                        self.plan.layout().piece(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let result = match self.progress.cancelled.load(Ordering::Relaxed) {
                            true => Err(DriveError::Stopped),
                            false => self.hash(piece, &mut buffer),
                        };
                        match result {
                            Ok(hashes) => lock(&pieces)[piece.get() as usize] = hashes,
                            Err(error) => {
                                next.store(count, Ordering::Relaxed);
                                lock(&failure).get_or_insert(error);
                                return;
                            }
                        }
                    }
                });
            }
        });
        if let Some(error) = lock(&failure).take() {
            return Err(error);
        }
        let pieces = pieces.into_inner().unwrap_or_else(PoisonError::into_inner);
        let version = self.plan.version();
        let v1 = if version.has_v1() { &pieces[..] } else { &[] };
        let trees = if version.has_v2() { self.trees(&pieces) } else { Vec::new() };
        Ok(TitleHashes { pieces: v1.iter().flat_map(|piece| piece.v1.0).collect(), trees })
    }

    /// Hashes one piece, read in steps that stay in the cache.
    fn hash(&self, piece: PieceIndex, buffer: &mut [u8]) -> Result<PieceHashes, DriveError> {
        let layout = self.plan.layout();
        let version = self.plan.version();
        let start = layout.start(piece);
        let data_end = start + u64::from(layout.data_len(piece));
        let mut v1 = PieceHasher::new();
        let mut leaves = Vec::new();
        let mut at = start;
        let files = self.plan.files();
        let first = files.partition_point(|file| file.start + file.length <= start);
        for (file, opened) in files.iter().zip(self.files).skip(first) {
            if file.start >= data_end {
                break;
            }
            if version.has_v1() && file.start > at {
                // A gap inside a v1 piece. It is shorter than a piece, so it fits.
                v1.update_zeros(u32::try_from(file.start - at).unwrap_or(0));
            }
            at = at.max(file.start);
            let end = data_end.min(file.start + file.length);
            while at < end {
                let step = usize::try_from(end - at).map_or(buffer.len(), |n| n.min(buffer.len()));
                let data = &mut buffer[..step];
                opened.read(data, at - file.start)?;
                if version.has_v1() {
                    v1.update(data);
                }
                if version.has_v2() {
                    hash::leaves(data).for_each(|leaf| leaves.extend(leaf.0));
                }
                at += step as u64;
            }
        }
        let done = u64::from(layout.data_len(piece));
        self.progress.done.fetch_add(done, Ordering::Relaxed);
        if version.has_v1() {
            v1.update_zeros(layout.nominal_len(piece) - layout.data_len(piece));
        }
        let v2 = self.shape_at(start).filter(|_| version.has_v2());
        let v2 = v2.map_or_else(Hash32::default, |shape| {
            subtree_root(&leaves, 0, shape.piece_node_layer())
        });
        Ok(PieceHashes { v1: v1.finish(), v2 })
    }
    fn shape_at(&self, offset: u64) -> Option<TreeShape> {
        let files = self.plan.files();
        let file = files.partition_point(|file| file.start + file.length <= offset);
        TreeShape::new(files.get(file)?.length, self.plan.layout().piece_length())
    }
    fn trees(&self, pieces: &[PieceHashes]) -> Vec<FileTree> {
        let piece_length = self.plan.layout().piece_length();
        let tree = |start: u64, length: u64| {
            let shape = TreeShape::new(length, piece_length)?;
            let first = usize::try_from(start / u64::from(piece_length)).ok()?;
            let own = pieces.get(first..first + shape.piece_count() as usize)?;
            FileTree::from_pieces(&shape, own.iter().flat_map(|piece| piece.v2.0).collect())
        };
        let files = self.plan.files().iter();
        files.map(|file| tree(file.start, file.length).unwrap_or_default()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resume::StateFolder;
    use crate::storage::Descriptors;
    use crate::testing::film;
    use crate::title::{TitleStore, Trust};
    use shoal_wire::merkle::FileHasher;
    use std::sync::Arc;

    fn folder(files: &[(&str, usize)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, length) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("made");
            std::fs::write(path, film(*length)).expect("written");
        }
        folder
    }

    fn publication(folder: &Path, version: Version) -> Publication {
        let (name, folder, sources) =
            find_sources(&[folder.to_path_buf()], Some("My film")).expect("found");
        let piece_length = Some(32 << 10);
        let extras = TitleExtras::default();
        Publication { name, folder, sources, piece_length, version, extras }
    }

    #[test]
    fn all_versions_of_a_folder_are_found_whole_by_their_own_hashes() {
        let files = [("b.mp4", 100_000), ("a/empty", 0), ("a/one.srt", 5), ("c", 32 << 10)];
        let folder = folder(&files);
        for version in [Version::V1, Version::V2, Version::Hybrid] {
            let publication = publication(folder.path(), version);
            let published = publish(&publication, &PublishProgress::default()).expect("published");
            let Metainfo { info, piece_layers, .. } = published.metainfo;
            assert_eq!((info.name.as_str(), info.folder, info.files.len()), ("My film", true, 4));
            assert_eq!(info.length(), 100_005 + (32 << 10));
            if version.has_v2() {
                let file = info.files.iter().find(|f| f.path == ["b.mp4"]).expect("there");
                let mut hasher = FileHasher::new(100_000, 32 << 10).expect("a shape");
                hasher.update(&film(100_000));
                assert_eq!(file.pieces_root, hasher.finish().expect("complete").root);
            }
            let descriptors = Arc::new(Descriptors::new(2));
            let place = published.place;
            let store = TitleStore::open(Arc::new(info), piece_layers, place, descriptors, None);
            let found = store.prepare(Trust::Nothing).expect("looked");
            assert!(found.have.is_full(), "{version:?} {found:?}");
        }
    }

    #[test]
    fn a_file_changed_after_it_was_hashed_is_neither_served_nor_recorded() {
        let folder = folder(&[("a.mp4", 70_000), ("b.mp4", 70_000)]);
        let state = tempfile::tempdir().expect("a folder");
        let state = StateFolder::open(state.path()).expect("state");
        let published =
            publish(&publication(folder.path(), Version::V1), &PublishProgress::default());
        let Published { metainfo, place, verified } = published.expect("published");
        std::fs::write(folder.path().join("b.mp4"), vec![7; 70_000]).expect("changed");
        let info = Arc::new(metainfo.info);
        let open = || {
            let descriptors = Arc::new(Descriptors::new(2));
            TitleStore::open(
                Arc::clone(&info),
                Vec::new(),
                place.clone(),
                descriptors,
                Some(&state),
            )
        };
        let store = open();
        store.vouch(&verified).expect("looked");
        store.storage().read(0, &mut [0; 100]).expect("as it was");
        store.storage().read(100_000, &mut [0; 100]).expect_err("not what was hashed");
        // The next start believes only what is still as it was.
        let found = open().prepare(Trust::Verified).expect("looked").have;
        let start_of_b = info.files[1].start;
        for piece in info.layout.pieces() {
            let end = info.layout.start(piece) + u64::from(info.layout.data_len(piece));
            assert_eq!(found.get(piece.get()), end <= start_of_b, "{piece:?}");
        }
    }

    #[test]
    fn a_single_file_is_a_title_without_a_folder() {
        let folder = folder(&[("film.mp4", 70_000)]);
        let (name, is_folder, sources) =
            find_sources(&[folder.path().join("film.mp4")], None).expect("found");
        assert_eq!((name.as_str(), is_folder, sources.len()), ("film.mp4", false, 1));
        let error = find_sources(&[folder.path().join("none.mp4")], None).expect_err("missing");
        assert!(error.to_string().contains("none.mp4 is gone"), "{error}");
    }

    #[test]
    fn a_cancelled_publication_ends_with_an_error() {
        let folder = folder(&[("film.mp4", 70_000)]);
        let progress = PublishProgress { cancelled: true.into(), ..Default::default() };
        let publication = publication(folder.path(), Version::Hybrid);
        assert!(matches!(publish(&publication, &progress), Err(DriveError::Stopped)));
    }
}
