//! Leaf hashes of stored v2 pieces, kept beside the record so that a seed hashes a piece once and not for every asker.
//!
//! Layout: `SHOALEAF`, version u32 little-endian, then 32 bytes for each block of piece space in order, in a sparse file;
//! zeros where nothing is known. Nothing is believed that does not lead to the piece's known root.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use shoal_wire::Hash32;
use shoal_wire::merkle::{HASH_LEN, subtree_root};

const HEADER: &[u8; 12] = b"SHOALEAF\x01\0\0\0";

/// The leaves of one title.
#[derive(Debug)]
pub struct Leaves {
    file: File,
}

impl Leaves {
    /// The file at `path`, made if need be; `None` when it cannot be used, for it only saves work.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = file.open(path).ok()?;
        let mut header = [0; HEADER.len()];
        match file.read_exact_at(&mut header, 0) {
            Ok(()) if header == *HEADER => {}
            _ => {
                file.set_len(0).ok()?;
                file.write_all_at(HEADER, 0).ok()?;
            }
        }
        Some(Self { file })
    }
    fn at(first_block: u64) -> u64 {
        HEADER.len() as u64 + first_block * HASH_LEN as u64
    }
    /// The leaves of `count` blocks from `first_block`, when they lead to `root`, `levels` layers up.
    #[must_use]
    pub fn get(
        &self,
        first_block: u64,
        count: usize,
        root: Hash32,
        levels: u32,
    ) -> Option<Vec<u8>> {
        let mut list = vec![0; count * HASH_LEN];
        self.file.read_exact_at(&mut list, Self::at(first_block)).ok()?;
        (subtree_root(&list, 0, levels) == root).then_some(list)
    }
    /// Keeps leaves for later. A full disk only means that they are computed again.
    pub fn put(&self, first_block: u64, list: &[u8]) {
        let _ = self.file.write_all_at(list, Self::at(first_block));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leaves_that_lead_to_the_root_are_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.leaves");
        let list = [[1; 32], [2; 32], [3; 32]].concat();
        let root = subtree_root(&list, 0, 2);
        let leaves = Leaves::open(&path).expect("made");
        assert_eq!(leaves.get(8, 3, root, 2), None);
        leaves.put(8, &list);
        drop(leaves);
        let leaves = Leaves::open(&path).expect("there");
        assert_eq!(leaves.get(8, 3, root, 2), Some(list));
        leaves.put(9, &[0; 32]);
        assert_eq!(leaves.get(8, 3, root, 2), None);
        std::fs::write(&path, b"something else").expect("written");
        assert_eq!(Leaves::open(&path).expect("made anew").get(8, 3, root, 2), None);
    }
}
