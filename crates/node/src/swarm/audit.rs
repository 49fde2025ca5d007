//! What must hold between turns, looked at from outside the code that keeps it: for tests and simulations.
//!
//! Every sum that a title keeps is made again from its parts. Costs O(pieces + blocks begun + requests).

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use super::ahead::Ahead;
use super::peer::{Have, Peer};
use super::pieces::{BlockKey, BlockState, Pieces};
use super::title::{Content, Swarm};
use super::{Place, Swarms};
use crate::link::TitleId;

impl Swarms {
    /// The first thing that does not hold, if any.
    pub(crate) fn audit(&self) -> Result<(), String> {
        self.titles.values().iter().try_for_each(|swarm| swarm.audit())?;
        self.audit_links()?;
        let uploads = self.titles.values().iter().flat_map(|swarm| {
            let peers = (0u16..).zip(&swarm.peers);
            peers.filter_map(|(slot, peer)| Some((swarm.title, slot, &peer.as_ref()?.uploads)))
        });
        self.hub.uplink.audit(uploads)
    }
    /// Every link of a title has its place, and every place its link.
    fn audit_links(&self) -> Result<(), String> {
        let mut dialing: BTreeMap<TitleId, u64> = BTreeMap::new();
        let mut peers = 0;
        for (link, place) in &self.hub.links {
            match place {
                Place::Inbound { .. } => {}
                Place::Dialed { title, .. } => *dialing.entry(*title).or_default() += 1,
                Place::Peer { title, slot } => {
                    peers += 1;
                    let swarm = self.titles.get(*title);
                    let peer = swarm.and_then(|swarm| swarm.peer(*slot));
                    if peer.is_none_or(|peer| peer.link != *link) {
                        return Err(format!("{link:?} is at {title:?} {slot}, where it is not"));
                    }
                }
            }
        }
        let placed = self.titles.values().iter().map(|swarm| swarm.peer_count() as u64).sum();
        equal("links of peers", peers, placed)?;
        self.titles.values().iter().try_for_each(|swarm| {
            let counted = dialing.get(&swarm.title).copied().unwrap_or(0);
            equal("links being opened", swarm.dialing as u64, counted)
        })
    }
}

impl Swarm {
    fn audit(&self) -> Result<(), String> {
        let mut holders: BTreeMap<BlockKey, u8> = BTreeMap::new();
        let mut ahead = Ahead::default();
        for peer in self.peers.iter().flatten() {
            let asked: u64 = peer.asked.iter().map(|asked| u64::from(asked.length)).sum();
            equal("bytes asked of a peer", peer.asked_bytes, asked)?;
            equal("requests to be sent later", u64::from(peer.unsent), 0)?;
            peer.uploads.audit()?;
            for asked in peer.asked.iter().chain(peer.withdrawn()) {
                ahead.add(asked.zone, asked.length);
                *holders.entry(asked.key).or_default() += 1;
            }
        }
        if self.ahead != ahead {
            return Err(format!(
                "on their way by zone: {:?} is kept, {ahead:?} is asked for",
                self.ahead
            ));
        }
        match self.content() {
            Some(content) => {
                let peers = self.peers.iter().flatten().map(|peer| &**peer);
                content.copies.audit(peers.clone())?;
                content.veils.audit(peers)?;
                audit_availability(content, &self.peers)?;
                audit_content(content, &holders)
            }
            None if holders.is_empty() => Ok(()),
            None => Err("blocks were asked for before the title was known".into()),
        }
    }
}

fn audit_content(content: &Content, holders: &BTreeMap<BlockKey, u8>) -> Result<(), String> {
    let pieces = &content.pieces;
    let mut memory = 0;
    let mut begun = 0;
    for active in pieces.actives() {
        begun += 1;
        let count = |wanted: &[BlockState]| {
            active.blocks.iter().filter(|block| wanted.contains(&block.state)).count() as u64
        };
        equal("free blocks", u64::from(active.free), count(&[BlockState::Free]))?;
        equal("stored blocks", u64::from(active.stored), count(&[BlockState::Stored]))?;
        equal("unwritten blocks", u64::from(active.unwritten), count(&[BlockState::Verified]))?;
        let proven = count(&[BlockState::Verified, BlockState::Writing, BlockState::Stored]);
        equal("proven blocks", u64::from(active.proven), proven)?;
        memory += active.data.bytes();
        for (index, block) in (0u32..).zip(&active.blocks) {
            let key = BlockKey::new(active.piece.get(), index);
            let asked = holders.get(&key).copied().unwrap_or(0);
            equal("holders of a block", u64::from(block.holders), u64::from(asked))?;
            if (block.state == BlockState::Asked) != (asked > 0 && !is_here(block.state)) {
                return Err(format!("block {key:?} is {:?} with {asked} holders", block.state));
            }
        }
    }
    equal("begun pieces", pieces.begun() as u64, begun)?;
    equal("bytes in memory", pieces.memory() as u64, memory as u64)?;
    audit_sums(pieces)?;
    audit_leaving(content)?;
    content.hashes.audit()?;
    content.plan.audit()?;
    let missing =
        (0..pieces.info.layout.piece_count()).filter(|&piece| pieces.may_begin(piece)).count();
    equal("pieces that may be begun", u64::from(content.availability.listed()), missing as u64)
}

fn audit_sums(pieces: &Pieces) -> Result<(), String> {
    let layout = &pieces.info.layout;
    let held: u64 = layout
        .pieces()
        .filter(|piece| pieces.is_held(piece.get()))
        .map(|piece| u64::from(layout.data_len(piece)))
        .sum();
    let partial: u64 = pieces
        .actives()
        .flat_map(|active| {
            (0u32..).zip(&active.blocks).map(move |(index, block)| (active.piece, index, block))
        })
        .filter(|(_, _, block)| block.state == BlockState::Stored)
        .map(|(piece, index, _)| u64::from(layout.block_len(piece, index)))
        .sum();
    equal("bytes stored", pieces.stored(), held + partial)
}

fn audit_leaving(content: &Content) -> Result<(), String> {
    let pieces = &content.pieces;
    let layout = &pieces.info.layout;
    let bytes = |piece: u32| layout.piece(piece).map_or(0, |p| u64::from(layout.data_len(p)));
    let begun: u64 = pieces.actives().map(|active| bytes(active.piece.get())).sum();
    let held: u64 = pieces.held().iter().map(bytes).sum();
    equal("bytes of pieces held or begun", pieces.taken(), begun + held)?;
    let leaving = (0..layout.piece_count()).filter(|&piece| pieces.is_leaving(piece));
    let listed = content.share.leaving.iter().map(|&piece| bytes(piece)).sum();
    equal("bytes given up", pieces.leaving(), leaving.clone().map(bytes).sum())?;
    equal("bytes to be freed", pieces.leaving(), listed)?;
    let lacking = (0..layout.piece_count())
        .filter(|&piece| pieces.is_wanted(piece) && !pieces.is_held(piece))
        .count();
    equal("nothing wanted is lacking", u64::from(pieces.is_complete()), u64::from(lacking == 0))
}

/// How many peers have each piece, against what they said.
fn audit_availability(content: &Content, peers: &[Option<Box<Peer>>]) -> Result<(), String> {
    let count = content.pieces.info.layout.piece_count();
    let mut known = alloc::vec![0u64; count as usize];
    for peer in peers.iter().flatten() {
        if let Have::Bits(bits) = &peer.have {
            bits.iter().for_each(|piece| known[piece as usize] += 1);
        }
    }
    // Counts stop at 255, and are then not exact when peers go.
    if known.iter().all(|&count| count < 255) {
        for (piece, &said) in (0u32..).zip(&known) {
            equal("holders of a piece", u64::from(content.availability.count(piece)), said)?;
        }
    }
    Ok(())
}

fn is_here(state: BlockState) -> bool {
    !matches!(state, BlockState::Free | BlockState::Asked)
}

pub(super) fn equal(what: &str, kept: u64, counted: u64) -> Result<(), String> {
    if kept == counted { Ok(()) } else { Err(format!("{what}: {kept} kept, {counted} counted")) }
}
