//! New titles: names, lengths and hashes to an info dictionary and a torrent file.
//!
//! Publishing goes in three steps. [`TitlePlan::new`] makes the names safe, brings the files into the order that BEP 52
//! wants and lays them out. Somebody with threads and a disk hashes: each file into a [`FileTree`], each piece of the
//! plan's layout, padding included, into a v1 hash. [`TitlePlan::finish`] writes the dictionary. The same plan and hashes
//! give the same bytes on every machine.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::names::PathTable;
use super::parse::{RawFile, lay_out, place};
use super::{Info, Layout, Metainfo, TimeIndexRef, safe_component};
use crate::DecodeError;
use crate::bencode::{DictEncoder, Encoder};
use crate::merkle::{FileTree, HASH_LEN};
use crate::slot::SLOT_MS;

/// Folder of a title in which its time indexes lie. The tilde sorts it behind ordinary names, so that films come first in
/// piece space and in file numbers.
pub const TIME_INDEX_FOLDER: &str = "~shoal";

/// Where in a title the time index of the film at `film` lies.
#[must_use]
pub fn time_index_path(film: &[String]) -> Vec<String> {
    let mut path: Vec<String> =
        core::iter::once(TIME_INDEX_FOLDER.into()).chain(film.iter().cloned()).collect();
    if let Some(name) = path.last_mut() {
        name.push_str(".index");
    }
    path
}

/// Piece length for a title of `total` bytes: 256 KiB up to 1 GiB, then doubled so that there are at most 4,096 pieces, up to
/// 16 MiB.
#[must_use]
pub fn default_piece_length(total: u64) -> u32 {
    const LEAST: u64 = 256 * 1024;
    let wanted = total.div_ceil(4096).checked_next_power_of_two().unwrap_or(u64::MAX);
    wanted.clamp(LEAST, 16 << 20) as u32
}

/// Which protocol versions a new title speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Version {
    /// BEP 3 alone.
    V1,
    /// BEP 52 alone.
    V2,
    /// Both: every client can join.
    #[default]
    Hybrid,
}

impl Version {
    /// Whether v1 piece hashes are needed.
    #[must_use]
    pub fn has_v1(self) -> bool {
        self != Self::V2
    }
    /// Whether v2 trees are needed.
    #[must_use]
    pub fn has_v2(self) -> bool {
        self != Self::V1
    }
}

/// A file of a planned title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedFile {
    /// Its index in the list that was given to [`TitlePlan::new`].
    pub source: usize,
    /// Safe path inside the title, as in [`super::FileEntry::path`].
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// First byte in piece space.
    pub start: u64,
}

/// A title before it is hashed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TitlePlan {
    name: String,
    folder: bool,
    version: Version,
    files: Vec<PlannedFile>,
    layout: Layout,
}

/// What was hashed of a planned title.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TitleHashes {
    /// v1: 20 bytes for each piece of the plan's layout, padding hashed as zeros. Empty for v2 alone.
    pub pieces: Vec<u8>,
    /// v2: the tree of each of [`TitlePlan::files`], in that order. Empty for v1 alone.
    pub trees: Vec<FileTree>,
}

/// What a publisher says besides the content.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TitleExtras {
    /// BEP 27.
    pub private: bool,
    /// Unix time of publishing, milliseconds; 0 leaves it out.
    pub published_unix_ms: u64,
    /// Length of a virtual time slot, milliseconds; 0 for [`SLOT_MS`], which is not written.
    pub slot_ms: u64,
    /// Films and their time indexes, both by index in the list that was given to [`TitlePlan::new`].
    pub time_indexes: Vec<TimeIndexRef>,
    /// Tiers of trackers.
    pub trackers: Vec<Vec<String>>,
    /// Web seeds.
    pub web_seeds: Vec<String>,
    /// Free text.
    pub comment: Option<String>,
    /// Name and version of the program.
    pub created_by: Option<String>,
    /// Unix seconds.
    pub created_unix_s: Option<u64>,
}

impl TitlePlan {
    /// Plans a title of `files`, each a path below the title's folder and a length in bytes. With `folder` false there must
    /// be one file; it is called `name`, whatever its path.
    ///
    /// # Errors
    /// No file, only empty files, a piece length outside the limits of [`Info::parse`], too many pieces.
    pub fn new(
        name: &str,
        folder: bool,
        files: &[(Vec<String>, u64)],
        piece_length: u32,
        version: Version,
    ) -> Result<Self, DecodeError> {
        let name = safe_component(name.as_bytes());
        if !folder && files.len() != 1 {
            return Err(DecodeError::invalid("title", "not one file, and no folder for several"));
        }
        let limits = super::MIN_PIECE_LENGTH..=super::MAX_PIECE_LENGTH;
        if !limits.contains(&piece_length) || !piece_length.is_power_of_two() {
            let why = "not a power of two from 16 KiB to 256 MiB";
            return Err(DecodeError::invalid("piece length", why));
        }
        let mut table = PathTable::default();
        let mut planned: Vec<PlannedFile> = files
            .iter()
            .enumerate()
            .map(|(source, (path, length))| {
                let parts: Vec<&[u8]> = match folder {
                    true => path.iter().map(|part| part.as_bytes()).collect(),
                    false => alloc::vec![name.as_bytes()],
                };
                PlannedFile { source, path: table.add(&parts), length: *length, start: 0 }
            })
            .collect();
        planned.sort_by(|one, other| one.path.cmp(&other.path));
        let raw: Vec<RawFile<'_>> =
            planned.iter().map(|file| RawFile::plain(file.length)).collect();
        let (starts, nominal_end) = place(&raw, piece_length, version.has_v2())?;
        let layout = lay_out(&raw, &starts, nominal_end, piece_length)?;
        for (file, start) in planned.iter_mut().zip(starts) {
            file.start = start;
        }
        Ok(Self { name, folder, version, files: planned, layout })
    }
    /// The files in the order of the title: sorted by path, component by component (BEP 52).
    #[must_use]
    pub fn files(&self) -> &[PlannedFile] {
        &self.files
    }
    /// Where the pieces lie that v1 hashes cover.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }
    /// Which hashes are needed.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }
    /// The title, from its hashes. [`Metainfo::encode`] gives the torrent file.
    ///
    /// # Errors
    /// Hashes that are not as many as the plan needs, or a piece layer that does not lead to its root.
    pub fn finish(
        &self,
        hashes: &TitleHashes,
        extras: &TitleExtras,
    ) -> Result<Metainfo, DecodeError> {
        if self.version.has_v2() && hashes.trees.len() != self.files.len() {
            return Err(DecodeError::invalid("title", "not one tree for each file"));
        }
        let trees = if self.version.has_v2() { &hashes.trees[..] } else { &[] };
        let entries: Vec<Entry<'_>> = self
            .files
            .iter()
            .enumerate()
            .map(|(at, file)| Entry { file, root: trees.get(at).and_then(|tree| tree.root) })
            .collect();
        let mut out = Encoder::new();
        out.dict(|info| self.write_info(info, &entries, hashes, extras));
        let info = Info::parse(&Bytes::from(out.into_bytes()))?;
        let layers = trees.iter().filter(|tree| !tree.piece_layer.is_empty());
        let meta = Metainfo {
            piece_layers: layers
                .filter_map(|tree| Some((tree.root?, Bytes::copy_from_slice(&tree.piece_layer))))
                .collect(),
            trackers: extras.trackers.clone(),
            web_seeds: extras.web_seeds.clone(),
            comment: extras.comment.clone(),
            created_by: extras.created_by.clone(),
            created_unix_s: extras.created_unix_s,
            info,
        };
        // Read back: layers are checked against roots, and what cannot be read is not published.
        Metainfo::parse(&Bytes::from(meta.encode()))
    }

    fn write_info(
        &self,
        info: &mut DictEncoder<'_>,
        entries: &[Entry<'_>],
        hashes: &TitleHashes,
        extras: &TitleExtras,
    ) {
        if self.version.has_v2() {
            info.dict(b"file tree", |tree| write_tree(tree, entries, 0));
        }
        match entries {
            _ if !self.version.has_v1() => {}
            [only] if !self.folder => info.uint(b"length", only.file.length),
            _ => info.list(b"files", |list| {
                let mut end = 0;
                for Entry { file, .. } in entries {
                    if file.start > end && file.length > 0 {
                        list.dict(|pad| write_pad(pad, file.start - end));
                    }
                    list.dict(|dict| {
                        dict.uint(b"length", file.length);
                        dict.list(b"path", |path| {
                            file.path.iter().for_each(|part| path.bytes(part.as_bytes()));
                        });
                    });
                    if file.length > 0 {
                        end = file.start + file.length;
                    }
                }
            }),
        }
        if self.version.has_v2() {
            info.uint(b"meta version", 2);
        }
        info.bytes(b"name", self.name.as_bytes());
        info.uint(b"piece length", u64::from(self.layout.piece_length()));
        if self.version.has_v1() {
            info.bytes(b"pieces", &hashes.pieces);
        }
        if extras.private {
            info.uint(b"private", 1);
        }
        self.write_ours(info, extras);
    }

    /// Writes `shoal` (docs/protocol.md), its file numbers those of the finished title.
    fn write_ours(&self, info: &mut DictEncoder<'_>, extras: &TitleExtras) {
        let place_of: BTreeMap<usize, u64> =
            self.files.iter().enumerate().map(|(at, file)| (file.source, at as u64)).collect();
        let place = |source: u32| place_of.get(&(source as usize)).copied();
        let mut pairs: Vec<(u64, u64)> = extras
            .time_indexes
            .iter()
            .filter_map(|entry| Some((place(entry.film)?, place(entry.index)?)))
            .collect();
        pairs.sort_unstable();
        let slot_ms = Some(extras.slot_ms).filter(|&slot| slot > 0 && slot != SLOT_MS);
        if pairs.is_empty() && extras.published_unix_ms == 0 && slot_ms.is_none() {
            return;
        }
        info.dict(b"shoal", |ours| {
            if !pairs.is_empty() {
                ours.list(b"index", |list| {
                    for (film, index) in &pairs {
                        list.list(|pair| {
                            pair.uint(*film);
                            pair.uint(*index);
                        });
                    }
                });
            }
            if extras.published_unix_ms > 0 {
                ours.uint(b"published", extras.published_unix_ms);
            }
            if let Some(slot) = slot_ms {
                ours.uint(b"slot", slot);
            }
        });
    }
}

struct Entry<'a> {
    file: &'a PlannedFile,
    root: Option<crate::Hash32>,
}

/// Writes the part of the file tree that `entries`, sorted and alike in their first `depth` components, make up. Recursion
/// is as deep as our own paths.
fn write_tree(tree: &mut DictEncoder<'_>, entries: &[Entry<'_>], depth: usize) {
    let name = |entry: &Entry<'_>| entry.file.path.get(depth).cloned().unwrap_or_default();
    for group in entries.chunk_by(|one, other| name(one) == name(other)) {
        let Some(first) = group.first() else { continue };
        tree.dict(name(first).as_bytes(), |node| {
            if first.file.path.len() > depth + 1 {
                return write_tree(node, group, depth + 1);
            }
            node.dict(b"", |file| {
                file.uint(b"length", first.file.length);
                if let Some(root) = first.root {
                    file.bytes(b"pieces root", &root.0);
                }
            });
        });
    }
}

/// Writes a pad file (BEP 47).
fn write_pad(pad: &mut DictEncoder<'_>, length: u64) {
    pad.bytes(b"attr", b"p");
    pad.uint(b"length", length);
    pad.list(b"path", |path| {
        path.bytes(b".pad");
        path.bytes(format!("{length}").as_bytes());
    });
}

impl Metainfo {
    /// The torrent file, in canonical form. Also for a title whose dictionary came from peers.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let layers: BTreeMap<_, _> =
            self.piece_layers.iter().map(|(root, layer)| (root, layer)).collect();
        let mut out = Encoder::new();
        out.dict(|file| {
            if let Some(first) = self.trackers.iter().flatten().next() {
                file.bytes(b"announce", first.as_bytes());
            }
            if self.trackers.iter().flatten().count() > 1 {
                file.list(b"announce-list", |tiers| {
                    for tier in &self.trackers {
                        tiers.list(|list| tier.iter().for_each(|url| list.bytes(url.as_bytes())));
                    }
                });
            }
            if let Some(comment) = &self.comment {
                file.bytes(b"comment", comment.as_bytes());
            }
            if let Some(program) = &self.created_by {
                file.bytes(b"created by", program.as_bytes());
            }
            if let Some(seconds) = self.created_unix_s {
                file.uint(b"creation date", seconds);
            }
            file.raw(b"info", &self.info.raw);
            if self.info.hashes.v2.is_some() {
                file.dict(b"piece layers", |dict| {
                    for (root, layer) in layers {
                        debug_assert!(
                            layer.len().is_multiple_of(HASH_LEN),
                            "a layer holds whole hashes"
                        );
                        dict.bytes(&root.0, layer);
                    }
                });
            }
            if !self.web_seeds.is_empty() {
                file.list(b"url-list", |list| {
                    self.web_seeds.iter().for_each(|url| list.bytes(url.as_bytes()));
                });
            }
        });
        out.into_bytes()
    }
}
