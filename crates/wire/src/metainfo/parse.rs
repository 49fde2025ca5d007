//! Info dictionaries: bytes to [`Info`].
//!
//! v1 files and the v2 tree are first read into one plain list each, then compared when both are there, then laid out.

use alloc::vec::Vec;
use bytes::Bytes;
use sha1::{Digest as _, Sha1};
use sha2::Sha256;

use super::names::PathTable;
use super::{FileEntry, Info, Layout, TimeIndexRef, safe_component};
use crate::bencode::{Document, Limits, Value};
use crate::error::ErrorKind;
use crate::slot::{SLOT_MS, Slots};
use crate::{DecodeError, Hash20, Hash32, InfoHashes};

/// Smallest piece length accepted, bytes: one block.
pub const MIN_PIECE_LENGTH: u32 = 16 * 1024;
/// Greatest piece length accepted, bytes.
pub const MAX_PIECE_LENGTH: u32 = 256 * 1024 * 1024;
/// Most pieces in a title. A v2 dictionary of 200 bytes can claim any number: this bounds what a node allocates for it.
pub const MAX_PIECES: u32 = 1 << 22;
/// Most files in a title, pad files included.
pub const MAX_FILES: usize = 200_000;
/// Most folders above a file, plus itself.
pub const MAX_PATH_PARTS: usize = 48;
/// Most path components of all files together, and most bytes in them divided by 64: a deep `file tree` repeats its folders
/// in every file's path.
const MAX_PARTS_TOTAL: usize = 1_000_000;
/// Most time indexes in a title.
const MAX_TIME_INDEXES: usize = 4096;

/// One entry of `files` or `file tree`, names as they came.
pub(super) struct RawFile<'a> {
    path: Vec<&'a [u8]>,
    length: u64,
    pad: bool,
    root: Option<Hash32>,
}

impl RawFile<'_> {
    /// A file of which only the length counts.
    pub(super) fn plain(length: u64) -> Self {
        Self { path: Vec::new(), length, pad: false, root: None }
    }
}

/// Counts what a list of files makes us allocate.
#[derive(Default)]
struct Budget {
    files: usize,
    parts: usize,
    bytes: usize,
}

impl Budget {
    fn take(&mut self, what: &'static str, path: &[&[u8]]) -> Result<(), DecodeError> {
        self.files += 1;
        self.parts += path.len();
        self.bytes += path.iter().map(|part| part.len().min(super::MAX_NAME_BYTES)).sum::<usize>();
        within(what, MAX_FILES, self.files)?;
        within(what, MAX_PATH_PARTS, path.len())?;
        within(what, MAX_PARTS_TOTAL, self.parts)?;
        within(what, MAX_PARTS_TOTAL * 64, self.bytes)
    }
}

fn within(what: &'static str, limit: usize, received: usize) -> Result<(), DecodeError> {
    if received <= limit {
        return Ok(());
    }
    let kind = ErrorKind::Limit { limit: limit as u64, received: received as u64 };
    Err(DecodeError::new(what, 0, kind))
}

impl Info {
    /// Reads an info dictionary and computes its names. Unsorted keys are accepted, since the hashes are over the bytes as
    /// they came.
    ///
    /// # Errors
    /// Anything outside the limits of this module; no piece at all; a hybrid whose two file lists differ; piece hashes that
    /// are not as many as pieces.
    pub fn parse(raw: &Bytes) -> Result<Self, DecodeError> {
        let document = Document::parse(raw, Limits::FILE)?;
        Self::from_value(document.root(), raw)
    }

    /// `raw` is the input of the document that `info` is part of.
    pub(super) fn from_value(info: Value<'_>, raw: &Bytes) -> Result<Self, DecodeError> {
        if !info.is_dict() {
            return Err(info.expected("info", "a dictionary"));
        }
        let v2 = match info.get(b"meta version").map(|value| value.as_u64()) {
            None | Some(Some(1)) => false,
            Some(Some(2)) => true,
            Some(_) => {
                return Err(DecodeError::invalid("info.meta version", "an unknown version"));
            }
        };
        let v1 = !v2 || info.get(b"pieces").is_some();
        let piece_length = piece_length(info, v2)?;
        let raw_name = utf8_or_plain(info, b"name.utf-8", b"name").ok_or_else(|| {
            DecodeError::new("info", info.span().start, ErrorKind::Missing("name"))
        })?;

        let (mut files, folder) = read_files(info, raw_name, v1, v2)?;
        let (starts, nominal_end) = place(&files, piece_length, v2 && !v1)?;
        if v1 && v2 {
            check_hybrid_starts(&files, &starts, nominal_end, piece_length)?;
        }
        let layout = lay_out(&files, &starts, nominal_end, piece_length)?;
        let piece_hashes = match v1 {
            true => read_pieces(info, raw, layout.piece_count())?,
            false => Bytes::new(),
        };

        let name = safe_component(raw_name);
        let mut table = PathTable::default();
        if !folder && let Some(only) = files.iter_mut().find(|file| !file.pad) {
            only.path = alloc::vec![raw_name];
        }
        let entries = files
            .iter()
            .zip(starts)
            .filter(|(file, _)| !file.pad)
            .map(|(file, start)| FileEntry {
                path: table.add(&file.path),
                length: file.length,
                start,
                pieces_root: file.root,
            })
            .collect::<Vec<_>>();
        let own = raw.slice(info.span());
        let (slots, time_indexes) = read_ours(info, entries.len());
        Ok(Self {
            hashes: InfoHashes {
                v1: v1.then(|| Hash20(Sha1::digest(&own).into())),
                v2: v2.then(|| Hash32(Sha256::digest(&own).into())),
            },
            raw: own,
            name,
            folder,
            files: entries,
            layout,
            piece_hashes,
            private: info.get(b"private").and_then(|value| value.as_u64()) == Some(1),
            slots,
            time_indexes,
        })
    }
}

/// The files of a title, those of a hybrid compared, and whether they lie in a folder of the title's name.
fn read_files<'a>(
    info: Value<'a>,
    raw_name: &'a [u8],
    v1: bool,
    v2: bool,
) -> Result<(Vec<RawFile<'a>>, bool), DecodeError> {
    let tree = if v2 { Some(read_tree(info)?) } else { None };
    let listed = if v1 { Some(read_list(info, raw_name)?) } else { None };
    let folder = match (&listed, &tree) {
        (None, Some(tree)) => {
            tree.len() != 1 || tree.first().is_none_or(|file| file.path != [raw_name])
        }
        _ => info.get(b"files").is_some(),
    };
    let files = match (listed, tree) {
        (Some(listed), Some(tree)) => merge(listed, tree)?,
        (Some(files), None) | (None, Some(files)) => files,
        (None, None) => Vec::new(),
    };
    Ok((files, folder))
}

fn utf8_or_plain<'a>(dict: Value<'a>, preferred: &[u8], plain: &[u8]) -> Option<&'a [u8]> {
    let value = dict.get(preferred).and_then(|value| value.as_bytes());
    value.or_else(|| dict.get(plain).and_then(|value| value.as_bytes()))
}

fn piece_length(info: Value<'_>, v2: bool) -> Result<u32, DecodeError> {
    const WHAT: &str = "info.piece length";
    let value = info.need("info", "piece length")?;
    let length = value.as_u64().ok_or_else(|| value.expected(WHAT, "a positive number"))?;
    if length < u64::from(MIN_PIECE_LENGTH) {
        return Err(DecodeError::invalid(WHAT, "less than 16 KiB"));
    }
    if v2 && !length.is_power_of_two() {
        return Err(DecodeError::invalid(WHAT, "not a power of two"));
    }
    let limit = u64::from(MAX_PIECE_LENGTH);
    u32::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_PIECE_LENGTH)
        .ok_or_else(|| DecodeError::new(WHAT, 0, ErrorKind::Limit { limit, received: length }))
}

fn has_attribute(file: Value<'_>, attribute: u8) -> bool {
    file.get(b"attr").and_then(|attr| attr.as_bytes()).is_some_and(|attr| attr.contains(&attribute))
}

/// Reads `files` or `length` (BEP 3, BEP 47). Symbolic links are left out: they hold no bytes.
fn read_list<'a>(info: Value<'a>, name: &'a [u8]) -> Result<Vec<RawFile<'a>>, DecodeError> {
    const WHAT: &str = "info.files";
    let length_of = |dict: Value<'_>| {
        let length = dict.need(WHAT, "length")?;
        length.as_u64().ok_or_else(|| length.expected(WHAT, "a length"))
    };
    let Some(list) = info.get(b"files") else {
        let path = alloc::vec![name];
        return Ok(alloc::vec![RawFile { path, length: length_of(info)?, pad: false, root: None }]);
    };
    if !list.is_list() {
        return Err(list.expected(WHAT, "a list"));
    }
    let mut budget = Budget::default();
    let mut files = Vec::new();
    for file in list.items() {
        if !file.is_dict() {
            return Err(file.expected(WHAT, "a dictionary"));
        }
        if has_attribute(file, b'l') {
            continue;
        }
        let pad = has_attribute(file, b'p');
        let parts = file.get(b"path.utf-8").filter(Value::is_list).or_else(|| file.get(b"path"));
        let path = match parts {
            _ if pad => Vec::new(),
            Some(parts) => parts.items().map(|part| part.as_bytes().unwrap_or(&[])).collect(),
            None => {
                return Err(DecodeError::new(WHAT, file.span().start, ErrorKind::Missing("path")));
            }
        };
        budget.take(WHAT, &path)?;
        files.push(RawFile { path, length: length_of(file)?, pad, root: None });
    }
    Ok(files)
}

/// Reads `file tree` (BEP 52) in the order of the dictionary, with a stack of our own.
fn read_tree(info: Value<'_>) -> Result<Vec<RawFile<'_>>, DecodeError> {
    const WHAT: &str = "info.file tree";
    let tree = info.need("info", "file tree")?;
    if !tree.is_dict() {
        return Err(tree.expected(WHAT, "a dictionary"));
    }
    let mut budget = Budget::default();
    let mut files = Vec::new();
    let mut path: Vec<&[u8]> = Vec::new();
    let mut open = alloc::vec![tree.entries()];
    while let Some(folder) = open.last_mut() {
        let Some((name, node)) = folder.next() else {
            open.pop();
            path.pop();
            continue;
        };
        if !node.is_dict() || name.is_empty() {
            return Err(node.expected(WHAT, "a folder or file with a name"));
        }
        path.push(name);
        let Some(properties) = node.get(b"") else {
            within(WHAT, MAX_PATH_PARTS, path.len())?;
            open.push(node.entries());
            continue;
        };
        if node.entries().nth(1).is_some() {
            return Err(DecodeError::invalid(WHAT, "a file that is also a folder"));
        }
        if let Some((length, root)) = read_leaf(properties)? {
            budget.take(WHAT, &path)?;
            files.push(RawFile { path: path.clone(), length, pad: false, root });
        }
        path.pop();
    }
    Ok(files)
}

/// Reads the properties of a file in the tree: length and root; `None` for a symbolic link.
fn read_leaf(file: Value<'_>) -> Result<Option<(u64, Option<Hash32>)>, DecodeError> {
    const WHAT: &str = "info.file tree";
    if !file.is_dict() {
        return Err(file.expected(WHAT, "the properties of a file"));
    }
    if has_attribute(file, b'l') {
        return Ok(None);
    }
    if has_attribute(file, b'p') {
        return Err(DecodeError::invalid(WHAT, "a pad file, which v2 does not have"));
    }
    let length = file.need(WHAT, "length")?;
    let length = length.as_u64().ok_or_else(|| length.expected(WHAT, "a length"))?;
    if length == 0 {
        return Ok(Some((0, None)));
    }
    let root = file.need(WHAT, "pieces root")?;
    let hash = root.as_bytes().and_then(Hash32::from_slice);
    Ok(Some((length, Some(hash.ok_or_else(|| root.expected(WHAT, "32 bytes"))?))))
}

/// Compares the two lists of a hybrid and gives the v1 one the roots of the v2 one.
fn merge<'a>(
    mut listed: Vec<RawFile<'a>>,
    tree: Vec<RawFile<'a>>,
) -> Result<Vec<RawFile<'a>>, DecodeError> {
    let differ = DecodeError::invalid("info", "the v1 and v2 file lists differ");
    let mut tree = tree.into_iter();
    for file in listed.iter_mut().filter(|file| !file.pad) {
        match tree.next() {
            Some(other) if other.path == file.path && other.length == file.length => {
                file.root = other.root;
            }
            _ => return Err(differ),
        }
    }
    if tree.next().is_some() { Err(differ) } else { Ok(listed) }
}

/// First byte of each file in piece space, and the end of it. `align` makes each file begin a piece; empty ones too, as
/// libtorrent does, without adding a piece.
pub(super) fn place(
    files: &[RawFile<'_>],
    piece_length: u32,
    align: bool,
) -> Result<(Vec<u64>, u64), DecodeError> {
    let piece = u64::from(piece_length);
    let limit = u64::from(MAX_PIECES) * piece;
    let mut end = 0u64;
    let mut starts = Vec::with_capacity(files.len());
    for file in files {
        let start = if align { end.next_multiple_of(piece) } else { end };
        starts.push(start);
        if file.length > 0 {
            end = start.saturating_add(file.length);
        }
        if end > limit {
            let kind = ErrorKind::Limit { limit, received: end };
            return Err(DecodeError::new("info: total length", 0, kind));
        }
    }
    if end == 0 {
        return Err(DecodeError::invalid("info", "a title without any bytes"));
    }
    Ok((starts, end))
}

/// In a hybrid every file must lie at the same pieces in v1 and in v2 (BEP 52), so pads are exactly the gaps.
fn check_hybrid_starts(
    files: &[RawFile<'_>],
    starts: &[u64],
    nominal_end: u64,
    piece_length: u32,
) -> Result<(), DecodeError> {
    let piece = u64::from(piece_length);
    let mut expected = 0u64;
    for (file, start) in files.iter().zip(starts).filter(|(file, _)| !file.pad && file.length > 0) {
        if *start != expected {
            return Err(DecodeError::invalid(
                "info.files",
                "pad files that do not align the files",
            ));
        }
        expected = (start + file.length).next_multiple_of(piece);
    }
    if nominal_end > expected {
        return Err(DecodeError::invalid("info.files", "a pad file that adds pieces"));
    }
    Ok(())
}

/// Cuts piece space, leaving out the padding at the end of pieces.
pub(super) fn lay_out(
    files: &[RawFile<'_>],
    starts: &[u64],
    nominal_end: u64,
    piece_length: u32,
) -> Result<Layout, DecodeError> {
    let piece = u64::from(piece_length);
    let mut short = Vec::new();
    let mut covered = 0u64;
    let real = files.iter().zip(starts).filter(|(file, _)| !file.pad && file.length > 0);
    let bounds = real.map(|(file, start)| (*start, start + file.length));
    for (start, end) in bounds.chain([(nominal_end, nominal_end)]) {
        // Pieces that end inside the gap from `covered` to `start` are short of data.
        let mut index = covered / piece;
        loop {
            let piece_end = ((index + 1) * piece).min(nominal_end);
            if index * piece >= start || piece_end > start || piece_end <= covered {
                break;
            }
            let data = covered.saturating_sub(index * piece);
            short.push((index as u32, data as u32));
            index += 1;
        }
        covered = end;
    }
    let layout = Layout::new(piece_length, nominal_end, short);
    let layout = layout.filter(|layout| layout.data_total() > 0);
    layout.ok_or(DecodeError::invalid("info", "a title without any bytes"))
}

fn read_pieces(info: Value<'_>, raw: &Bytes, count: u32) -> Result<Bytes, DecodeError> {
    const WHAT: &str = "info.pieces";
    let value = info.need("info", "pieces")?;
    let span = value.content_span().ok_or_else(|| value.expected(WHAT, "a string"))?;
    if span.len() != count as usize * 20 {
        return Err(DecodeError::new(
            WHAT,
            span.start,
            ErrorKind::Invalid("not one hash of 20 bytes for each piece"),
        ));
    }
    Ok(raw.slice(span))
}

/// Reads our own dictionary `shoal` (docs/protocol.md). What makes no sense there is left out: it only helps.
fn read_ours(info: Value<'_>, file_count: usize) -> (Slots, Vec<TimeIndexRef>) {
    let ours = info.get(b"shoal");
    let number = |key: &[u8]| ours?.get(key).and_then(|value| value.as_u64());
    let published = number(b"published").unwrap_or(0);
    let slots = Slots::new(published, number(b"slot").unwrap_or(SLOT_MS));
    let Some(ours) = ours else { return (slots, Vec::new()) };
    let file = |value: Option<Value<'_>>| {
        value.and_then(|value| value.as_u32()).filter(|index| (*index as usize) < file_count)
    };
    let pairs = ours.get(b"index").into_iter().flat_map(|list| list.items());
    let mut refs: Vec<TimeIndexRef> = pairs
        .take(MAX_TIME_INDEXES)
        .filter_map(|pair| {
            let mut items = pair.items();
            let (film, index) = (file(items.next())?, file(items.next())?);
            (film != index).then_some(TimeIndexRef { film, index })
        })
        .collect();
    refs.sort_by_key(|entry| entry.film);
    refs.dedup_by_key(|entry| entry.film);
    (slots, refs)
}
