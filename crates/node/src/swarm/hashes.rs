//! Leaf hashes of v2 and hybrid titles: asked for together with the first request of a piece, kept, passed on.
//!
//! A piece's leaves are proven against its hash in the file's piece layer, or up to the file's root while that layer is
//! missing (a magnet brings none). Every peer that has a piece can serve its leaves: from memory, or computed from its disk.
//! Peers that will not (foreign seeds may keep none) are no obstacle: the piece is then proven as a whole. What is answered to
//! others stands in `answers.rs`.

use alloc::boxed::Box;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use bytes::Bytes;

use shoal_wire::Hash32;
use shoal_wire::merkle::{self, HASH_LEN, TreeShape, Upper};
use shoal_wire::metainfo::Info;
use shoal_wire::peer::{HashRange, Message};

use super::Hub;
use super::answers::Question;
use super::audit::equal;
use super::peer::Peer;
use super::title::{ByPiece, Content, Swarm};
use crate::config::limits::{LEAF_TRIES_MAX, LEAVES_KEPT_MAX};
use crate::io::CloseReason;
use crate::time::Instant;
use crate::turn::Turn;

/// Hashes of a piece layer: given with the torrent file, and shared with whoever gave them, or learned one by one.
#[derive(Debug)]
pub(super) enum Layer {
    Given(Bytes),
    Learned(Vec<u8>),
}

impl core::ops::Deref for Layer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Given(list) => list,
            Self::Learned(list) => list,
        }
    }
}

/// One file's tree.
#[derive(Debug)]
pub(super) struct Tree {
    root: Hash32,
    pub(super) shape: TreeShape,
    pub(super) first_piece: u32,
    /// Hashes of the piece layer; zero where not known. Empty when the file is one piece.
    pub(super) layer: Layer,
    /// The layers above it, once a peer has asked for a proof.
    pub(super) upper: Option<Box<Upper>>,
    /// Pieces whose layer hash is known, and one before which all are.
    known: u32,
    all_before: u32,
    /// Layer request under way: who was asked for what, when.
    asked: Option<(u16, HashRange, Instant)>,
}

/// Proven leaf hashes of a piece.
#[derive(Debug)]
struct Leaves {
    list: Bytes,
    /// It stands in `kept`.
    kept: bool,
}

/// All that is known of a title's trees.
#[derive(Debug)]
pub(super) struct Hashes {
    trees: Vec<Tree>,
    /// Roots, sorted, with the places of their trees: files with the same content have the same.
    by_root: Vec<(Hash32, usize)>,
    /// Trees whose layer may have gaps, and of which nobody is asked for the next part. Of those with the same root the first:
    /// what is answered is true of all.
    idle: BTreeSet<usize>,
    leaves: ByPiece<Leaves>,
    /// Pieces in `leaves` that are not begun, the longest kept first, and their bytes.
    kept: VecDeque<u32>,
    kept_bytes: usize,
    /// Leaf requests under way: who, when, how many were tried.
    asked: ByPiece<(u16, Instant, u8)>,
    /// Questions of peers that wait for leaves of a piece.
    pub(super) waiting: ByPiece<Vec<Question>>,
    /// Questions of peers that are answered by and by, because the answer takes many hashes.
    pub(super) later: VecDeque<Question>,
    /// How many there are of both.
    pub(super) waiting_count: usize,
}

impl Hashes {
    pub(super) fn new(info: &Info, mut layers: Vec<(Hash32, Bytes)>) -> Self {
        let mut trees = Vec::new();
        layers.sort_unstable_by_key(|entry| entry.0);
        for file in info.files.iter().filter(|_| info.hashes.v2.is_some()) {
            let (Some(root), Some(first)) = (file.pieces_root, info.layout.piece_at(file.start))
            else {
                continue;
            };
            let Some(shape) = TreeShape::new(file.length, info.layout.piece_length()) else {
                continue;
            };
            let pieces = if shape.has_piece_layer() { shape.piece_count() } else { 0 };
            let given = layers
                .binary_search_by_key(&root, |entry| entry.0)
                .ok()
                .and_then(|found| layers.get(found));
            let given = given.filter(|(_, layer)| layer.len() == pieces as usize * HASH_LEN);
            let layer = match given {
                Some((_, layer)) => Layer::Given(layer.clone()),
                None => Layer::Learned(vec![0; pieces as usize * HASH_LEN]),
            };
            let known = if given.is_some() { pieces } else { 0 };
            let first_piece = first.get();
            trees.push(Tree {
                root,
                shape,
                first_piece,
                layer,
                upper: None,
                known,
                all_before: 0,
                asked: None,
            });
        }
        let mut by_root: Vec<(Hash32, usize)> =
            trees.iter().enumerate().map(|(index, tree)| (tree.root, index)).collect();
        by_root.sort_unstable();
        let firsts = by_root.chunk_by(|a, b| a.0 == b.0).filter_map(|same| same.first());
        let idle = firsts.map(|entry| entry.1).collect();
        Self {
            trees,
            by_root,
            idle,
            leaves: ByPiece::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            asked: ByPiece::new(),
            waiting: ByPiece::new(),
            later: VecDeque::new(),
            waiting_count: 0,
        }
    }
    /// Whether the title has leaves at all.
    pub(super) fn has_leaves(&self) -> bool {
        !self.trees.is_empty()
    }
    /// Trees with this root, in order. O(log trees).
    fn trees_of(&self, root: Hash32) -> &[(Hash32, usize)] {
        let first = self.by_root.partition_point(|entry| entry.0 < root);
        let rest = self.by_root.get(first..).unwrap_or_default();
        rest.get(..rest.partition_point(|entry| entry.0 == root)).unwrap_or_default()
    }
    /// The first tree with this root: of those with the same content what is true of one is true of all.
    pub(super) fn first_tree(&self, root: Hash32) -> Option<&Tree> {
        self.trees.get(self.trees_of(root).first()?.1)
    }
    pub(super) fn first_tree_mut(&mut self, root: Hash32) -> Option<&mut Tree> {
        let index = self.trees_of(root).first()?.1;
        self.trees.get_mut(index)
    }
    /// Proven leaves of a piece.
    pub(super) fn leaves(&self, piece: u32) -> Option<&Bytes> {
        self.leaves.get(&piece).map(|leaves| &leaves.list)
    }
    /// Forgets questions for layers: those trees are asked about again.
    fn forget_layers(&mut self, mut over: impl FnMut(&(u16, HashRange, Instant)) -> bool) {
        for (index, tree) in self.trees.iter_mut().enumerate() {
            if tree.asked.as_ref().is_some_and(&mut over) {
                tree.asked = None;
                self.idle.insert(index);
            }
        }
    }
    /// The tree of a piece and the piece's place in its file.
    fn tree(&self, piece: u32) -> Option<(&Tree, u32)> {
        let index = self.trees.partition_point(|tree| tree.first_piece <= piece).checked_sub(1)?;
        let tree = self.trees.get(index)?;
        let inside = piece - tree.first_piece;
        (inside < tree.shape.piece_count()).then_some((tree, inside))
    }
    /// The proven leaf hash of a block.
    pub(super) fn leaf(&self, piece: u32, block: u32) -> Option<Hash32> {
        if let Some(leaves) = self.leaves.get(&piece) {
            return merkle::hash_at(&leaves.list, block as usize);
        }
        let (tree, inside) = self.tree(piece)?;
        // A piece of one block is its own leaf.
        if tree.shape.piece_node_layer() > 0 { None } else { tree.piece_hash(inside) }
    }
    /// The proven root of a piece's subtree and the number of leaves below it.
    pub(super) fn piece_root(&self, piece: u32) -> Option<(Hash32, u32)> {
        let (tree, inside) = self.tree(piece)?;
        Some((tree.piece_hash(inside)?, 1 << tree.shape.piece_node_layer()))
    }
    /// The request for the leaves of a piece, if they are missing.
    fn leaf_request(&self, piece: u32) -> Option<HashRange> {
        if self.leaves.contains_key(&piece) {
            return None;
        }
        let (tree, inside) = self.tree(piece)?;
        let mut range = tree.shape.leaf_request(tree.root, inside)?;
        if tree.piece_hash(inside).is_none() {
            range.proof_layers = tree.shape.height() - 1;
        }
        Some(range)
    }
    /// Sums against their parts.
    pub(super) fn audit(&self) -> Result<(), String> {
        let waiting = self.waiting.values().map(|list| list.len() as u64).sum::<u64>();
        let later = self.later.len() as u64;
        equal("questions for hashes that wait", self.waiting_count as u64, waiting + later)?;
        let kept = self.leaves.values().filter(|leaves| leaves.kept);
        let kept_bytes = kept.clone().map(|leaves| leaves.list.len() as u64).sum();
        equal("bytes of leaves kept", self.kept_bytes as u64, kept_bytes)?;
        equal("pieces with leaves kept", self.kept.len() as u64, kept.count() as u64)
    }
    /// Whether leaves computed here lead to the hash of their piece.
    pub(super) fn are_leaves(&self, piece: u32, list: &[u8]) -> bool {
        let root = self.piece_root(piece);
        root.is_some_and(|(root, leaves)| merkle::subtree_root(list, 0, leaves.ilog2()) == root)
    }
    /// Takes proven leaves in.
    pub(super) fn keep(&mut self, piece: u32, list: Bytes, held: bool) {
        self.leaves.entry(piece).or_insert(Leaves { list, kept: false });
        if held {
            self.keep_while_room(piece);
        }
    }
    fn keep_while_room(&mut self, piece: u32) {
        let Some(leaves) = self.leaves.get_mut(&piece).filter(|leaves| !leaves.kept) else {
            return;
        };
        leaves.kept = true;
        self.kept.push_back(piece);
        self.kept_bytes += leaves.list.len();
        while self.kept_bytes > LEAVES_KEPT_MAX {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.kept_bytes -= self.leaves.remove(&oldest).map_or(0, |leaves| leaves.list.len());
        }
    }
    /// A piece is not in the making any more, held or given up: its leaves are kept only as long as there is room.
    pub(super) fn on_settled(&mut self, piece: u32) {
        self.asked.remove(&piece);
        self.keep_while_room(piece);
    }
    /// A peer is gone: what it was asked for is asked of others by the sweep.
    pub(super) fn on_gone(&mut self, slot: u16) {
        self.asked.retain(|_, asked| asked.0 != slot);
        self.forget_layers(|asked| asked.0 == slot);
    }
}

impl Tree {
    /// Proven hash of piece `inside` of the file: from the layer, or the root when the file is one piece.
    fn piece_hash(&self, inside: u32) -> Option<Hash32> {
        if !self.shape.has_piece_layer() {
            return Some(self.root);
        }
        merkle::hash_at(&self.layer, inside as usize).filter(|hash| *hash != Hash32::default())
    }
    pub(super) fn is_layer_known(&self) -> bool {
        !self.shape.has_piece_layer() || self.known == self.shape.piece_count()
    }
    /// The request for the first part of the layer that is not known. What is known stays so, so each piece is looked at once.
    fn next_layer_request(&mut self) -> Option<HashRange> {
        let missing = (self.all_before..self.shape.piece_count())
            .find(|&piece| self.piece_hash(piece).is_none())?;
        self.all_before = missing;
        self.shape.layer_request(self.root, missing)
    }
}

impl Content {
    /// Whether these are the leaves of a piece that is in the making and waits for them.
    fn wants_leaves(&self, range: &HashRange) -> bool {
        let trees = self.hashes.trees_of(range.pieces_root).iter();
        trees.filter_map(|entry| self.hashes.trees.get(entry.1)).any(|tree| {
            let levels = tree.shape.piece_node_layer();
            let inside = range.index >> levels;
            let is_piece = range.base_layer == 0 && range.length == 1 << levels;
            is_piece
                && inside < tree.shape.piece_count()
                && self.pieces.active(tree.first_piece + inside).is_some()
        })
    }
}

impl Swarm {
    /// Asks for the leaves of a piece that was begun: of the peer that was asked for its blocks, or of another.
    pub(super) fn want_leaves(&mut self, turn: &mut Turn<'_>, slot: u16, piece: u32) {
        let Some(content) = self.content() else { return };
        if content.hashes.asked.contains_key(&piece) {
            return;
        }
        let Some(range) = content.hashes.leaf_request(piece) else { return };
        let asked = match self.knows_leaves(slot, piece) {
            Some(true) => slot,
            _ => match self.leaf_source(turn, piece, u16::MAX) {
                Some(other) => other,
                None => return,
            },
        };
        self.ask_leaves(turn, asked, piece, range, 1);
    }
    /// Whether a peer surely has the leaves of a piece (`true`: it has the piece) or may have them (`false`: it has blocks of
    /// it, and a Shoal peer keeps the leaves of what it fetches).
    fn knows_leaves(&self, slot: u16, piece: u32) -> Option<bool> {
        let peer = self.peer(slot).filter(|peer| peer.v2)?;
        if peer.has_piece(piece) {
            return Some(true);
        }
        (peer.is_shoal() && peer.blocks.has(piece)).then_some(false)
    }
    /// Somebody to ask for the leaves of a piece: any that has it, else any that has blocks of it. At random, so that one who
    /// refuses is not asked for ever.
    fn leaf_source(&self, turn: &mut Turn<'_>, piece: u32, but: u16) -> Option<u16> {
        let of = |sure: bool| -> Vec<u16> {
            let slots = self.slots().into_iter().filter(|&slot| slot != but);
            slots.filter(|&slot| self.knows_leaves(slot, piece) == Some(sure)).collect()
        };
        let sure = of(true);
        let list = if sure.is_empty() { of(false) } else { sure };
        match list.len() {
            0 => None,
            1 => list.first().copied(),
            count => list.get(turn.rng.below(count as u64) as usize).copied(),
        }
    }
    fn ask_leaves(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        piece: u32,
        range: HashRange,
        tries: u8,
    ) {
        if let Some(content) = self.content_mut() {
            content.hashes.asked.insert(piece, (slot, turn.now, tries));
            self.send_hash_request(turn, slot, range);
        }
    }
    fn send_hash_request(&mut self, turn: &mut Turn<'_>, slot: u16, range: HashRange) {
        if let Some(peer) = self.peer_mut(slot) {
            peer.hashes_owed += 1;
            self.send(turn, slot, Message::HashRequest(range.into()));
        }
    }
    /// Asks again, elsewhere, for the leaves of a piece.
    fn ask_leaves_elsewhere(&mut self, turn: &mut Turn<'_>, piece: u32, refused: u16, tries: u8) {
        let Some(content) = self.content_mut() else { return };
        content.hashes.asked.remove(&piece);
        if content.pieces.active(piece).is_none() {
            return;
        }
        let range = content.hashes.leaf_request(piece);
        let other = self.leaf_source(turn, piece, refused);
        match (range, other) {
            (Some(range), Some(slot)) if tries < LEAF_TRIES_MAX => {
                self.ask_leaves(turn, slot, piece, range, tries + 1)
            }
            _ => {
                if let Some(index) =
                    self.content().and_then(|content| content.pieces.info.layout.piece(piece))
                {
                    self.prove_piece(turn, index);
                }
            }
        }
    }
    pub(super) fn on_hashes(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        range: &HashRange,
        list: &Bytes,
    ) {
        let Some((peer, content)) = self.both(slot) else { return };
        peer.hear_hashes();
        let link = peer.link;
        // Only what we could have asked for is looked at: proof takes hashing.
        let Some(tree) = content.hashes.first_tree(range.pieces_root).filter(|_| {
            content.wants_leaves(range) || range.length <= merkle::LAYER_REQUEST_HASHES
        }) else {
            return;
        };
        let shape = tree.shape;
        if !merkle::verify(&shape, range, list, &tree.layer) {
            let rule = "it sent hashes that do not lead to the title's root";
            return self.ban(turn, hub, link, CloseReason::Protocol(rule));
        }
        for (_, index) in content.hashes.trees_of(range.pieces_root).to_vec() {
            self.on_tree_hashes(turn, slot, index, (shape, range), list);
        }
    }
    /// Takes proven hashes into a tree of this shape.
    fn on_tree_hashes(
        &mut self,
        turn: &mut Turn<'_>,
        slot: u16,
        index: usize,
        (shape, range): (TreeShape, &HashRange),
        list: &Bytes,
    ) {
        let Some(content) = self.content_mut() else { return };
        let tree = content.hashes.trees.get_mut(index);
        let Some(tree) = tree.filter(|tree| tree.shape == shape) else { return };
        let levels = tree.shape.piece_node_layer();
        if range.base_layer == 0 && range.length == 1 << levels {
            // The padding behind the last piece proves itself, and is no piece of this file.
            let inside = range.index >> levels;
            if inside >= tree.shape.piece_count() {
                return;
            }
            let piece = tree.first_piece + inside;
            // Only what is in the making is waited for: nobody fills our memory with the rest.
            if content.pieces.active(piece).is_none() {
                return;
            }
            let leaves = list.slice(..range.length as usize * HASH_LEN);
            content.hashes.asked.remove(&piece);
            content.hashes.keep(piece, leaves, false);
            if let Some(index) = content.pieces.info.layout.piece(piece) {
                self.prove_waiting(turn, index);
            }
        } else if range.base_layer == tree.shape.piece_layer() {
            let answers = tree.asked.is_some_and(|asked| (asked.0, asked.1) == (slot, *range));
            tree.asked = tree.asked.filter(|_| !answers);
            for (piece, hash) in
                (range.index..).zip(merkle::hashes(list).take(range.length as usize))
            {
                let start = piece as usize * HASH_LEN;
                // What was given is whole.
                let Layer::Learned(layer) = &mut tree.layer else { break };
                if let Some(place) = layer.get_mut(start..start + HASH_LEN)
                    && place.iter().all(|&byte| byte == 0)
                {
                    place.copy_from_slice(&hash.0);
                    tree.known += 1;
                }
            }
            if answers {
                content.hashes.idle.insert(index);
                self.ask_layers(turn);
            }
        }
    }
    pub(super) fn on_hash_reject(&mut self, turn: &mut Turn<'_>, slot: u16, range: &HashRange) {
        let Some((peer, content)) = self.both(slot) else { return };
        peer.hear_hashes();
        if range.base_layer > 0 {
            return;
        }
        let hashes = &content.hashes;
        let pieces: Vec<u32> = hashes
            .trees_of(range.pieces_root)
            .iter()
            .filter_map(|entry| hashes.trees.get(entry.1))
            .filter_map(|tree| {
                tree.first_piece.checked_add(range.index >> tree.shape.piece_node_layer())
            })
            .collect();
        for piece in pieces {
            let asked = self.content().and_then(|content| content.hashes.asked.get(&piece));
            if let Some(&(_, _, tries)) = asked.filter(|asked| asked.0 == slot) {
                self.ask_leaves_elsewhere(turn, piece, slot, tries);
            }
        }
    }
    /// Asks for piece layers that a magnet did not bring: one request a file at a time.
    pub(super) fn ask_layers(&mut self, turn: &mut Turn<'_>) {
        if self.content().is_none_or(|content| content.hashes.idle.is_empty()) {
            return;
        }
        let speaks = |&slot: &u16| self.peer(slot).is_some_and(|peer| peer.v2);
        let mut able: Vec<u16> = self.slots().into_iter().filter(speaks).collect();
        // A seed surely knows; without one, whoever took the torrent file may.
        if able.iter().any(|&slot| self.peer(slot).is_some_and(Peer::is_seed)) {
            able.retain(|&slot| self.peer(slot).is_some_and(Peer::is_seed));
        }
        if able.is_empty() {
            return;
        }
        let Some(content) = self.content_mut() else { return };
        for index in core::mem::take(&mut content.hashes.idle) {
            let tree = self.content_mut().and_then(|content| content.hashes.trees.get_mut(index));
            let Some(tree) = tree else { return };
            let Some(range) = tree.next_layer_request() else { continue };
            let slot = able[turn.rng.below(able.len() as u64) as usize];
            tree.asked = Some((slot, range, turn.now));
            self.send_hash_request(turn, slot, range);
        }
    }
    /// Hashes that were asked for and never came.
    pub(super) fn sweep_hashes(&mut self, turn: &mut Turn<'_>) {
        let (now, timeout) = (turn.now, turn.config.swarm.hash_timeout);
        let Some(content) = self.content_mut() else { return };
        if !content.hashes.has_leaves() {
            return;
        }
        content.hashes.forget_layers(|asked| now.since(asked.2) >= timeout);
        let late: Vec<(u32, u16, u8)> = content
            .hashes
            .asked
            .iter()
            .filter(|(_, asked)| now.since(asked.1) >= timeout)
            .map(|(&piece, asked)| (piece, asked.0, asked.2))
            .collect();
        let unasked: Vec<u32> = content
            .pieces
            .actives()
            .map(|active| active.piece.get())
            .filter(|piece| !content.hashes.asked.contains_key(piece))
            .filter(|piece| content.hashes.leaf_request(*piece).is_some())
            .collect();
        for (piece, slot, tries) in late {
            self.ask_leaves_elsewhere(turn, piece, slot, tries);
        }
        for piece in unasked {
            self.want_leaves(turn, u16::MAX, piece);
        }
        self.ask_layers(turn);
    }
}
