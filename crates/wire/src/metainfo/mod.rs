//! What a title is: torrent files and info dictionaries, v1, v2 and hybrid (BEP 3, 12, 19, 27, 47, 52).
//!
//! [`Info`] is the validated info dictionary, [`Metainfo`] the file around it. Content is addressed in one linear
//! *piece space*: byte `piece * piece_length + offset`. Files lie in it one after the other; in v2 and hybrid titles
//! each begins at a piece boundary, so there may be gaps (pad files, BEP 47) that are zero and never stored.

//!
//! A pad file that ends its piece is left out of [`Layout::data_len`]. One that does not (a foreign v1 title may have it)
//! stays ordinary data of its piece: it is requested, hashed and served as zeros, but lies in no file, so storage writes it
//! nowhere and reads it as zeros. A piece that is all padding has no blocks: it counts as had without being fetched.

mod build;
mod layout;
mod names;
mod parse;
mod torrent;

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

pub use build::{
    PlannedFile, TIME_INDEX_FOLDER, TitleExtras, TitleHashes, TitlePlan, Version,
    default_piece_length, time_index_path,
};
pub use layout::{Layout, PieceIndex};
pub use names::{MAX_NAME_BYTES, display_text, safe_component};
pub use parse::{MAX_FILES, MAX_PATH_PARTS, MAX_PIECE_LENGTH, MAX_PIECES, MIN_PIECE_LENGTH};
pub(crate) use torrent::url_text;
pub use torrent::{MAX_URL_BYTES, MAX_URLS};

use crate::slot::Slots;
use crate::{Hash20, Hash32, InfoHashes};

/// One file of a title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Safe path components below the title's folder: no separator, no `..`, no reserved or empty name, at most 255
    /// bytes each, unique in the title without regard to case. For a single-file title one component.
    pub path: Vec<String>,
    /// Bytes.
    pub length: u64,
    /// First byte in piece space.
    pub start: u64,
    /// BEP 52 root of the file's tree; `None` in v1 titles and for empty files.
    pub pieces_root: Option<Hash32>,
}

/// A validated info dictionary. Pad files are not listed: they are the gaps between the files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Info {
    /// Names of the title.
    pub hashes: InfoHashes,
    /// The dictionary's own bytes, served to peers that came by magnet.
    pub raw: Bytes,
    /// Sanitised name: of the file, or of the folder.
    pub name: String,
    /// Whether the files lie in a folder called `name`.
    pub folder: bool,
    /// Files in the order of the dictionary, without pads and symbolic links.
    pub files: Vec<FileEntry>,
    /// Geometry of the piece space.
    pub layout: Layout,
    /// v1 piece hashes, 20 bytes each, empty in v2-only titles.
    pub piece_hashes: Bytes,
    /// BEP 27: only the listed trackers may be asked for peers.
    pub private: bool,
    /// When it was published and how its time is divided (ours, docs/protocol.md).
    pub slots: Slots,
    /// SHA-256 and length of the published time index of each film (ours): by file index.
    pub time_indexes: Vec<TimeIndexRef>,
}

/// Where the time index of a film is vouched for: it is fetched like content, by its hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeIndexRef {
    /// Index into [`Info::files`] of the film.
    pub film: u32,
    /// Index into [`Info::files`] of the file that holds the index.
    pub index: u32,
}

/// A torrent file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metainfo {
    /// The title.
    pub info: Info,
    /// BEP 12: tiers of trackers, the single `announce` as the only tier when there is no list.
    pub trackers: Vec<Vec<String>>,
    /// BEP 19: web seeds.
    pub web_seeds: Vec<String>,
    /// BEP 52: for each file longer than one piece its root and the hashes of its piece layer, 32 bytes each, already
    /// checked against the root.
    pub piece_layers: Vec<(Hash32, Bytes)>,
    /// Free text of the maker, control characters removed.
    pub comment: Option<String>,
    /// Program that made the file.
    pub created_by: Option<String>,
    /// Unix seconds.
    pub created_unix_s: Option<u64>,
}

impl Info {
    /// Sum of the files' lengths, bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.files.iter().map(|file| file.length).sum()
    }
    /// v1 hash of `piece`, if the title has v1 hashes.
    #[must_use]
    pub fn piece_hash(&self, piece: PieceIndex) -> Option<Hash20> {
        let start = piece.get() as usize * 20;
        self.piece_hashes.get(start..start + 20).and_then(Hash20::from_slice)
    }
    /// The file that holds byte `offset` of piece space, with its index; `None` in a gap. O(log files).
    #[must_use]
    pub fn file_at(&self, offset: u64) -> Option<(usize, &FileEntry)> {
        let index = self.files.partition_point(|file| file.start <= offset).checked_sub(1)?;
        // Empty files share their start with the next one: step back over none, the last at or before wins.
        let file = self.files.get(index)?;
        (offset < file.start + file.length).then_some((index, file))
    }
}

#[cfg(test)]
mod tests;
