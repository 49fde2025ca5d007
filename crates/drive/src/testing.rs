//! Titles for unit tests, made by hand.

use bytes::Bytes;
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::{FileEntry, Info, Layout};

/// A file of a test title.
pub(crate) struct TestFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: &'a [u8],
    /// First byte in piece space.
    pub(crate) start: u64,
}

/// A v1 title in a folder called `name`.
pub(crate) fn info_v1(name: &str, files: &[TestFile<'_>], piece_length: u32) -> Info {
    let end = files.iter().map(|file| file.start + file.data.len() as u64).max().unwrap_or(0);
    let mut space = vec![0u8; usize::try_from(end).expect("small")];
    for file in files {
        let start = usize::try_from(file.start).expect("small");
        space[start..start + file.data.len()].copy_from_slice(file.data);
    }
    let hashes: Vec<u8> =
        space.chunks(piece_length as usize).flat_map(|piece| crate::hash::sha1(piece).0).collect();
    let raw = Bytes::from(format!("{name}{}", hashes.len()));
    Info {
        hashes: InfoHashes { v1: Some(crate::hash::sha1(&raw)), v2: None },
        raw,
        name: name.to_owned(),
        folder: true,
        files: files
            .iter()
            .map(|file| FileEntry {
                path: file.path.split('/').map(str::to_owned).collect(),
                length: file.data.len() as u64,
                start: file.start,
                pieces_root: None,
            })
            .collect(),
        layout: Layout::new(piece_length, end, Vec::new()).expect("a valid layout"),
        piece_hashes: hashes.into(),
        private: false,
        slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
        time_indexes: Vec::new(),
    }
}

/// Bytes that differ from each other and from zero: a film for tests.
pub(crate) fn film(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 1).collect()
}
