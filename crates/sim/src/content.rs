//! What a simulated title holds: zeros, and the hashes of zeros.
//!
//! All film bytes are slices of one static page, so that a block costs neither memory nor copying. The title's info
//! dictionary and hash trees are real, computed once: all its pieces are alike. Corrupted bytes are slices of a page of
//! ones; whoever checks a hash looks at the page instead of hashing.

use std::sync::Arc;

use bytes::Bytes;
use shoal_wire::merkle::{self, FileHasher, FileTree, PieceHasher, TreeShape};
use shoal_wire::metainfo::{Info, TitleExtras, TitleHashes, TitlePlan, Version};
use shoal_wire::peer::BLOCK_LEN;
use shoal_wire::time_index::TimeIndex;
use shoal_wire::{Hash20, Hash32};

/// Longest stretch that can be read at once, bytes.
pub const PAGE_LEN: usize = 16 << 20;
static ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];
const TAINT_LEN: usize = 128 * 1024;
static ONES: [u8; TAINT_LEN] = [0xff; TAINT_LEN];

/// `length` bytes of any film. At most [`PAGE_LEN`].
#[must_use]
pub fn good(length: usize) -> Bytes {
    Bytes::from_static(&ZEROS[..length.min(PAGE_LEN)])
}

/// `length` bytes that match no hash.
#[must_use]
pub fn tainted(length: usize) -> Bytes {
    if length <= TAINT_LEN {
        Bytes::from_static(&ONES[..length])
    } else {
        Bytes::from(vec![0xff; length])
    }
}

/// Whether any of `data` is not film. O(1): corruption is of whole blocks, so it shows at the ends.
#[must_use]
pub fn is_tainted(data: &[u8]) -> bool {
    data.first().is_some_and(|&byte| byte != 0) || data.last().is_some_and(|&byte| byte != 0)
}

/// What is made of a title's content.
#[derive(Clone, Debug)]
pub struct Content {
    /// The title.
    pub info: Arc<Info>,
    /// Its piece layers (BEP 52), by root.
    pub piece_layers: Vec<(Hash32, Bytes)>,
    /// Its time index, for a film.
    pub time_index: Option<Arc<TimeIndex>>,
    /// v1 hash by piece length: full, and last.
    piece_hashes: [(u32, Hash20); 2],
    /// Root of a piece's subtree by piece length: full, and last.
    piece_nodes: [(u32, Hash32); 2],
    /// Leaf hash by block length: full, and last.
    leaf_hashes: [(u32, Hash32); 2],
}

/// Which hashes a title carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// SHA-1 of pieces (BEP 3).
    V1,
    /// SHA-256 trees (BEP 52).
    V2,
    /// Both.
    Hybrid,
}

impl Content {
    /// A title of one file of `length` zeros. O(pieces) hashes of hashes, one hash of a piece.
    ///
    /// # Errors
    /// A sentence when the length or the piece length makes no title.
    pub fn new(name: &str, length: u64, piece_length: u32, format: Format) -> Result<Self, String> {
        Self::with_extras(name, length, piece_length, format, &TitleExtras::default())
    }
    /// As [`Self::new`], with what a publisher says besides.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_extras(
        name: &str,
        length: u64,
        piece_length: u32,
        format: Format,
        extras: &TitleExtras,
    ) -> Result<Self, String> {
        if length == 0 {
            return Err("a film needs at least one byte".into());
        }
        if !piece_length.is_power_of_two() || !(16_384..=PAGE_LEN as u32).contains(&piece_length) {
            return Err(format!(
                "a piece length of {piece_length} bytes: it must be a power of two from 16384 to {PAGE_LEN}"
            ));
        }
        let full = u64::from(piece_length);
        let pieces = length.div_ceil(full);
        let last = (length - (pieces - 1) * full) as u32;
        let usual = if pieces > 1 { piece_length } else { last };
        let mut piece_hashes = Vec::new();
        let hashes = [usual, last].map(|len| (len, sha1_of(&good(len as usize))));
        if format != Format::V2 {
            for index in 0..pieces {
                piece_hashes.extend_from_slice(&hashes[usize::from(index + 1 == pieces)].1.0);
            }
        }
        let mut trees = Vec::new();
        let mut piece_nodes = [(0, Hash32::default()); 2];
        if format != Format::V1 {
            let shape = TreeShape::new(length, piece_length)
                .ok_or_else(|| format!("no hash tree fits {length} bytes"))?;
            piece_nodes =
                [usual, last].map(|len| (len, FileHasher::piece_hash(&shape, &good(len as usize))));
            let layer = (0..pieces)
                .flat_map(|index| piece_nodes[usize::from(index + 1 == pieces)].1.0)
                .collect();
            let tree = FileTree::from_pieces(&shape, layer)
                .ok_or_else(|| format!("no hash tree fits {length} bytes"))?;
            trees.push(tree);
        }
        let version = match format {
            Format::V1 => Version::V1,
            Format::V2 => Version::V2,
            Format::Hybrid => Version::Hybrid,
        };
        let files = [(vec![name.to_owned()], length)];
        let made = TitlePlan::new(name, false, &files, piece_length, version).and_then(|plan| {
            let hashes = TitleHashes { pieces: piece_hashes, trees };
            plan.finish(&hashes, extras)
        });
        let title = made.map_err(|error| format!("no title can be made of it: {error}"))?;
        let tail = ((length - 1) % u64::from(BLOCK_LEN) + 1) as u32;
        let block = BLOCK_LEN.min(last.max(usual));
        Ok(Self {
            info: Arc::new(title.info),
            piece_layers: title.piece_layers,
            time_index: None,
            piece_hashes: hashes,
            piece_nodes,
            leaf_hashes: [block, tail].map(|len| (len, merkle::leaf(&good(len as usize)))),
        })
    }
    /// Whether `length` film bytes have this SHA-1.
    #[must_use]
    pub fn is_piece(&self, length: u64, expect: &Hash20) -> bool {
        self.piece_hashes.iter().any(|(len, hash)| u64::from(*len) == length && hash == expect)
    }
    /// Whether `length` film bytes, as a piece, have this root of their subtree.
    #[must_use]
    pub fn is_tree(&self, length: u64, expect: &Hash32) -> bool {
        self.piece_nodes.iter().any(|(len, hash)| u64::from(*len) == length && hash == expect)
    }
    /// Whether `length` film bytes have this leaf hash.
    #[must_use]
    pub fn is_block(&self, length: usize, expect: &Hash32) -> bool {
        self.leaf_hashes.iter().any(|(len, hash)| *len as usize == length && hash == expect)
    }
    /// Leaf hashes of a piece, 32 bytes each.
    #[must_use]
    pub fn leaves(&self, piece: u32) -> Bytes {
        let layout = &self.info.layout;
        let Some(piece) = layout.piece(piece) else { return Bytes::new() };
        let mut list = Vec::new();
        for block in 0..layout.block_count(piece) {
            let length = layout.block_len(piece, block);
            let known = self.leaf_hashes.iter().find(|(len, _)| *len == length);
            list.extend_from_slice(&known.map_or([0; 32], |(_, hash)| hash.0));
        }
        Bytes::from(list)
    }
    /// Blocks of piece space, 16 KiB each.
    #[must_use]
    pub fn block_count(&self) -> u32 {
        self.info.layout.nominal_end().div_ceil(u64::from(BLOCK_LEN)) as u32
    }
}

fn sha1_of(bytes: &[u8]) -> Hash20 {
    let mut hasher = PieceHasher::new();
    hasher.update(bytes);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oracle_knows_exactly_the_hashes_of_the_title() {
        for (length, format) in [
            (1_000_000, Format::Hybrid),
            (262_144 * 3, Format::V1),
            (262_144 * 5 + 16_385, Format::V2),
            (1000, Format::Hybrid),
        ] {
            let content = Content::new("film", length, 262_144, format).expect("a title");
            let layout = content.info.layout.clone();
            assert_eq!(layout.data_total(), length);
            for piece in layout.pieces() {
                let leaves = content.leaves(piece.get());
                assert_eq!(leaves.len() as u32, 32 * layout.block_count(piece));
                for block in 0..layout.block_count(piece) {
                    let hash = merkle::hash_at(&leaves, block as usize).expect("a leaf");
                    let length = layout.block_len(piece, block) as usize;
                    assert!(content.is_block(length, &hash));
                    assert_eq!(hash, merkle::leaf(&good(length)));
                }
                if let Some(hash) = content.info.piece_hash(piece) {
                    assert!(content.is_piece(u64::from(layout.nominal_len(piece)), &hash));
                    assert!(!content.is_piece(1, &hash));
                }
            }
        }
    }

    #[test]
    fn taint_shows_and_goodness_shows() {
        assert!(!is_tainted(&good(5)) && is_tainted(&tainted(5)) && is_tainted(&tainted(1 << 20)));
    }
}
