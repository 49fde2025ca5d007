//! Allowed fast (BEP 6): pieces that a peer may ask for while it is choked, so that who comes with nothing soon has something
//! to trade.
//!
//! **As who gives**: a foreign peer that wants something and has only a few pieces is told its canonical set once, unless
//! it sees only a part of what we have (`reveal.rs`): the sets of all of them would be the same few pieces. A set is
//! small and spent once a link, and few choked peers are served side by side, so the slots of the choker keep their worth
//! and who comes back again and again takes no more than one of these places. Shoal peers are all served and get none.
//! **As who asks**: a peer that chokes us is asked for what it allowed and has, under the rules of windows and bulk, until it
//! turns such a request down.

use shoal_wire::Hash20;
use shoal_wire::peer::{BlockRequest, Message, allowed_fast_set};

use super::Hub;
use super::fetch::{Giver, free_block};
use super::peer::Peer;
use super::pieces::BlockKey;
use super::title::Swarm;
use crate::config::SwarmConfig;
use crate::config::limits::ALLOWED_FAST_KEPT_MAX;
use crate::io::Want;
use crate::turn::Turn;

/// What a peer may still take of a piece while it is choked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    piece: u32,
    /// Film bytes.
    left: u32,
}

/// Pieces in a set: at most as many as configured, and no more film than configured, but one piece always.
fn set_size(config: &SwarmConfig, piece_length: u32) -> u32 {
    let fits = config.allowed_fast_bytes / piece_length.max(1);
    config.allowed_fast_pieces.min(fits.max(1))
}

impl Peer {
    /// Takes `request` out of what the peer may have while it is choked. False when it is not, or no longer, part of it.
    fn spend_grant(&mut self, request: &BlockRequest) -> bool {
        let of = |grant: &&mut Grant| grant.piece == request.piece;
        match self.rare_mut().granted.iter_mut().find(of) {
            Some(grant) if grant.left >= request.length => {
                grant.left -= request.length;
                true
            }
            _ => false,
        }
    }
    /// A piece may be asked for although the peer chokes us. True when that is news.
    fn allow(&mut self, piece: u32) -> bool {
        let allowed = &self.rare().allowed;
        let is_new = !allowed.contains(&piece) && allowed.len() < ALLOWED_FAST_KEPT_MAX;
        if is_new {
            self.rare_mut().allowed.push(piece);
        }
        is_new
    }
    /// The peer turned down a request for a piece that it had allowed: it is not asked for it in vain again.
    pub(super) fn disallow(&mut self, piece: u32) {
        if self.rare().allowed.contains(&piece) {
            self.rare_mut().allowed.retain(|&allowed| allowed != piece);
        }
    }
}

impl Swarm {
    /// Tells a peer which pieces it may ask for while it is choked: once, when it wants something and has few pieces.
    pub(super) fn offer_allowed(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let config = &turn.config.swarm;
        let hashes = self.hashes;
        let Some((peer, content)) = self.both(slot) else { return };
        let layout = &content.pieces.info.layout;
        let pieces = layout.piece_count();
        let count = set_size(config, layout.piece_length());
        let may =
            peer.fast && peer.choked && peer.wants_us && !peer.is_kin() && peer.veil.is_none();
        if !may || !peer.rare().granted.is_empty() || peer.have_count(pieces) >= count {
            return;
        }
        let v2 = hashes.v2.filter(|_| peer.v2).map(|hash| hash.truncated());
        let name: Hash20 = v2.or_else(|| hashes.primary()).unwrap_or_default();
        let set = allowed_fast_set(peer.remote().ip(), &name, pieces, count);
        for piece in set {
            let Some(index) = layout.piece(piece).filter(|_| !peer.has_piece(piece)) else {
                continue;
            };
            peer.rare_mut().granted.push(Grant { piece, left: layout.data_len(index) });
        }
        let granted = peer.rare().granted.iter().map(|grant| grant.piece);
        let granted: alloc::vec::Vec<u32> = granted.collect();
        for piece in granted {
            self.send(turn, slot, Message::AllowedFast { piece });
        }
    }
    /// Whether a request of a choked peer is answered all the same. Counts what it takes. O(links) for what was allowed.
    pub(super) fn is_allowed(
        &mut self,
        config: &SwarmConfig,
        slot: u16,
        request: &BlockRequest,
    ) -> bool {
        let Some((peer, content)) = self.both(slot) else { return false };
        if peer.rare().granted.is_empty() {
            return false;
        }
        // Who has enough to trade is no beginner any more (BEP 6).
        let layout = &content.pieces.info.layout;
        let count = set_size(config, layout.piece_length());
        if peer.have_count(layout.piece_count()) > count {
            return false;
        }
        let is_served = |peer: &Peer| peer.choked && peer.uploads.len() > 0;
        let served = self.peers.iter().flatten().filter(|peer| is_served(peer)).count();
        let Some(peer) = self.peer_mut(slot) else { return false };
        (is_served(peer) || served < config.allowed_fast_peers) && peer.spend_grant(request)
    }
    /// After a choke: what of the peer's requests is allowed goes on (BEP 6).
    pub(super) fn serve_choked(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        if self.peer(slot).is_some_and(|peer| peer.choked && peer.uploads.len() > 0) {
            self.pump(turn, hub, slot);
        }
    }
    /// A peer allows us a piece.
    pub(super) fn on_allowed_fast(&mut self, turn: &mut Turn<'_>, slot: u16, piece: u32) {
        let count = self.content().map(|content| content.pieces.info.layout.piece_count());
        let Some(peer) = self.peer_mut(slot).filter(|peer| peer.fast) else { return };
        if count.is_none_or(|count| piece < count) && peer.allow(piece) && peer.chokes_us {
            self.fill(turn, slot);
        }
    }
    /// Asks a peer that chokes us for what it allows.
    pub(super) fn fill_choked(&mut self, turn: &mut Turn<'_>, slot: u16) {
        while let Some(key) = self.pick_allowed(turn, slot) {
            if !self.ask(turn, slot, key) {
                break;
            }
        }
        self.send_requests(turn, slot);
    }
    /// The block of an allowed piece that is needed first.
    fn pick_allowed(&self, turn: &Turn<'_>, slot: u16) -> Option<BlockKey> {
        let config = &turn.config.swarm;
        let (peer, content) = (self.peer(slot)?, self.content()?);
        let room = peer.queue_max.min(config.requests_out_max).min(peer.bulk_depth(config));
        let memory = content.pieces.memory() + self.ahead.all() as usize;
        if peer.rare().allowed.is_empty()
            || !peer.interested
            || peer.snubbed
            || peer.asked.len() >= room as usize
            || memory >= config.memory_max
        {
            return None;
        }
        let giver = Giver { peer, slot, gate: self.gate(turn) };
        let may_begin = content.pieces.begun() < config.partial_pieces_max;
        let first_free = |&piece: &u32| {
            if content.pieces.is_missing(piece) {
                may_begin.then(|| BlockKey::new(piece, 0))
            } else {
                free_block(content, giver, piece)
            }
        };
        // While somebody plays, what no window needs can wait for a place among the unchoked.
        let bulk = self.want != Want::OnDemand && !content.plan.is_live();
        peer.rare()
            .allowed
            .iter()
            .filter(|&&piece| peer.has_piece(piece))
            .filter_map(first_free)
            .map(|key| (content.plan.due(key), key))
            .filter(|(due, key)| due.is_some() || (bulk && content.pieces.is_wanted(key.piece())))
            .min_by_key(|(due, _)| (due.is_none(), *due))
            .map(|(_, key)| key)
    }
}
