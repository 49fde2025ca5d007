//! Links of a title: whom to dial, the handshakes, duplicates and ourselves, the end.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use core::net::SocketAddr;
use core::num::NonZeroU16;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::peer::{
    Extended, ExtensionHandshake, ExtensionIds, Handshake, Message, ShoalHello,
};
use shoal_wire::{Hash20, PeerId};

use super::audience::short_id;
use super::known::{Ending, is_public};
use super::peer::{Early, Have, Peer};
use super::title::{Phase, Swarm};
use super::{Hub, Place};
use crate::io::{CloseReason, Effect, Event};
use crate::link::LinkId;
use crate::time::Instant;
use crate::turn::{Found, Note, Turn};

/// Who sent something and left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contributor {
    link: LinkId,
    remote: SocketAddr,
    /// Where it says that it can be dialed; `remote` when we dialed it, or when it did not say.
    listen: SocketAddr,
    id: PeerId,
}

/// Version of our extension (docs/protocol.md).
const SHOAL_VERSION: u32 = 1;

impl Swarm {
    pub(super) fn on_found(&mut self, turn: &mut Turn<'_>, source: Found, peers: &[SocketAddr]) {
        self.known.add(turn.now, source, peers, &turn.config.swarm);
    }
    /// When the next dial should be made; `None` when there is nobody, or no room.
    pub(super) fn dial_ready(&self, turn: &Turn<'_>) -> Option<Instant> {
        let config = &turn.config.swarm;
        let links = self.peer_count() + self.dialing;
        if matches!(self.phase, Phase::Left)
            || self.dialing >= config.dials_max
            || links >= config.links_max
            || (links >= config.links_wanted
                && (self.dialing > 0 || links >= config.links_wanted * 3 / 2 || self.has_seed()))
        {
            return None;
        }
        self.known.next()
    }
    /// Whether somebody who has everything is linked. O(links), and only asked while nobody more would be dialed otherwise.
    fn has_seed(&self) -> bool {
        self.peers.iter().flatten().any(|peer| peer.is_source() || peer.has_all())
    }
    pub(super) fn dial_take(&mut self, now: Instant) -> Option<SocketAddr> {
        let addr = self.known.take(now)?;
        self.dialing += 1;
        Some(addr)
    }
    pub(super) fn on_dial_failed(
        &mut self,
        turn: &mut Turn<'_>,
        _link: LinkId,
        remote: SocketAddr,
    ) {
        self.dialing = self.dialing.saturating_sub(1);
        self.end_address(turn, remote, Ending::Failed);
    }
    /// A link to `addr` ended; while another one to the same peer lives, it counts as connected.
    fn end_address(&mut self, turn: &Turn<'_>, addr: SocketAddr, ending: Ending) {
        if self.peers.iter().flatten().any(|peer| peer.listen() == Some(addr)) {
            self.known.connected(addr, true, usize::MAX);
        } else {
            self.known.ended(turn.now, addr, ending, &turn.config.swarm);
        }
    }
    fn handshake(&self, turn: &Turn<'_>, info_hash: Hash20) -> Handshake {
        Handshake {
            info_hash,
            peer_id: turn.peer_id,
            fast: true,
            extended: true,
            v2: self.hashes.v2.is_some(),
            dht: false,
        }
    }
    /// A link that we dialed is open: we speak first. A hybrid is met under its v1 name and upgraded (BEP 52).
    pub(super) fn greet(&mut self, turn: &mut Turn<'_>, link: LinkId) {
        if let Some(hash) = self.hashes.primary() {
            let handshake = self.handshake(turn, hash);
            turn.effects
                .push(Effect::Send { link, message: Message::Handshake(Box::new(handshake)) });
        }
    }
    /// The remote's handshake arrived. `up` is when a link of ours opened, `None` for one that the remote opened.
    #[expect(
        clippy::too_many_arguments,
        reason = "all of a link's past in one call, made in one place"
    )]
    pub(super) fn on_handshake(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        link: LinkId,
        remote: SocketAddr,
        up: Option<Instant>,
        credit: u64,
        theirs: &Handshake,
    ) {
        if link.is_dialed() {
            self.dialing = self.dialing.saturating_sub(1);
        }
        if let Some((reason, ending)) = self.refusal(turn, hub, link, remote, theirs) {
            if link.is_dialed() {
                self.end_address(turn, remote, ending);
                if let CloseReason::Protocol(_) = reason {
                    turn.tell(Event::Dropped { remote, reason });
                }
            } else if reason == CloseReason::Myself {
                // The end that dialed must see its own name too, or it would try this address again and again.
                let ours = self.handshake(turn, theirs.info_hash);
                turn.effects
                    .push(Effect::Send { link, message: Message::Handshake(Box::new(ours)) });
            }
            hub.close(turn, link, reason);
            return;
        }
        let mut v2 = self.hashes.v2.is_some_and(|hash| hash.truncated() == theirs.info_hash);
        if !link.is_dialed() {
            let upgraded = self.hashes.v2.filter(|_| theirs.v2).map(|hash| hash.truncated());
            v2 |= upgraded.is_some();
            let ours = self.handshake(turn, upgraded.unwrap_or(theirs.info_hash));
            turn.effects.push(Effect::Send { link, message: Message::Handshake(Box::new(ours)) });
        }
        let mut peer = Peer::new(turn.now, link, remote, theirs.peer_id);
        peer.fast = theirs.fast;
        peer.extended = theirs.extended;
        peer.greeted = !theirs.extended;
        (peer.v2, peer.offers_v2) = (v2, theirs.v2);
        peer.uploads.open(credit);
        if let Some(up) = up {
            peer.service.on_round_trip(turn.now.since(up));
            self.known.connected(remote, true, turn.config.swarm.known_peers_max);
        }
        let slot = self.vacant_slot();
        self.peers[usize::from(slot)] = Some(Box::new(peer));
        hub.links.insert(link, Place::Peer { title: self.title, slot });
        if theirs.extended {
            let hello = Extended::Handshake(self.extension_handshake(turn, slot, remote));
            self.send(turn, slot, Message::Extended(Box::new(hello)));
        } else {
            self.note_peer_up(turn, slot);
        }
        self.introduce_content(turn, hub, slot);
        self.give_free_slot(turn, slot);
    }
    /// Why a peer is not wanted, and what that means for its address.
    fn refusal(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        link: LinkId,
        remote: SocketAddr,
        theirs: &Handshake,
    ) -> Option<(CloseReason, Ending)> {
        if self.has_left() {
            return Some((CloseReason::NotNeeded, Ending::NotNeeded));
        }
        if theirs.peer_id == turn.peer_id {
            return Some((CloseReason::Myself, Ending::Never));
        }
        if !self.hashes.contains(&theirs.info_hash) {
            return Some((CloseReason::Protocol("it answered for another title"), Ending::Failed));
        }
        if self.known.is_banned(remote, theirs.peer_id, &turn.config.swarm) {
            return Some((CloseReason::Corrupt, Ending::Never));
        }
        if self.has_twin(turn, hub, link, remote, theirs.peer_id) {
            return Some((CloseReason::Duplicate, Ending::NotNeeded));
        }
        let config = &turn.config.swarm;
        let same_host =
            self.peers.iter().flatten().filter(|peer| peer.remote().ip() == remote.ip()).count();
        if is_public(remote.ip()) && same_host >= config.links_per_ip_max {
            return Some((CloseReason::Full, Ending::Lost));
        }
        if self.peer_count() >= config.links_max {
            self.turned_away += 1;
            return Some((CloseReason::Full, Ending::Lost));
        }
        None
    }
    /// Whether a peer of this name is here by a link that stays; one that is the worse of two is ended.
    fn has_twin(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        link: LinkId,
        remote: SocketAddr,
        name: PeerId,
    ) -> bool {
        for slot in self.slots() {
            let Some(other) = self.peer(slot).filter(|peer| peer.id == name) else { continue };
            let elsewhere = other.remote().ip() != remote.ip();
            // Its address changed, perhaps: then the old link is dead, and neither end of it is told so for most of a minute.
            if elsewhere && other.is_lost(turn.now) {
                continue;
            }
            // A name can be copied: with whom we trade is not given up for somebody elsewhere who says that he is the same.
            let is_proven = elsewhere && other.down.total() + other.up.total() > 0;
            // Of two links in opposite directions both ends keep the one dialed by the greater id.
            let keep_dialed = turn.peer_id > name;
            let is_dialed = other.link.is_dialed();
            if is_proven || is_dialed == link.is_dialed() || is_dialed == keep_dialed {
                return true;
            }
            self.disconnect(turn, hub, slot, CloseReason::Duplicate);
        }
        false
    }
    fn vacant_slot(&mut self) -> u16 {
        if let Some(slot) = self.peers.iter().position(Option::is_none) {
            return slot as u16;
        }
        self.peers.push(None);
        (self.peers.len() - 1) as u16
    }
    fn extension_handshake(
        &self,
        turn: &Turn<'_>,
        slot: u16,
        remote: SocketAddr,
    ) -> ExtensionHandshake {
        let speaks = turn.config.swarm.speak_shoal;
        let none = ExtensionIds { shoal: 0, ..ExtensionIds::OURS };
        ExtensionHandshake {
            ids: if speaks { ExtensionIds::OURS } else { none },
            metadata_size: self.info.as_ref().map(|info| info.raw.len() as u32),
            listen_port: (turn.config.listen_port != 0).then_some(turn.config.listen_port),
            client: Some(turn.config.client_name.into()),
            request_queue: Some(turn.config.swarm.requests_in_max),
            your_ip: Some(remote.ip()),
            // Clients close links to who only uploads and shows nothing that they lack.
            upload_only: self.is_done() && !self.is_veiled(&turn.config.swarm, slot),
            shoal: speaks.then_some(ShoalHello { version: SHOAL_VERSION, source: self.source }),
        }
    }
    pub(super) fn on_extension_handshake(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        hello: ExtensionHandshake,
    ) {
        let Some(peer) = self.peer_mut(slot) else { return };
        let first = !core::mem::replace(&mut peer.greeted, true);
        // A later handshake without names takes nothing back (BEP 10), as where messages are written.
        if hello.ids != ExtensionIds::default() {
            let none = ExtensionIds { shoal: 0, ..hello.ids };
            peer.ids = if turn.config.swarm.speak_shoal { hello.ids } else { none };
        }
        peer.metadata_size = hello.metadata_size.or(peer.metadata_size);
        peer.upload_only = hello.upload_only;
        peer.queue_max = hello.request_queue.unwrap_or(peer.queue_max).max(1);
        if let Some(client) = hello.client {
            let ours = turn.config.client_name;
            // Most are like us: their name takes no memory.
            peer.client = if client == ours { Cow::Borrowed(ours) } else { Cow::Owned(client) };
        }
        if first {
            peer.shoal = hello.shoal.filter(|_| turn.config.swarm.speak_shoal);
            // What it announced before it said that it is a source does not count.
            if peer.is_source() {
                let blocks = core::mem::take(&mut peer.blocks);
                if let Phase::Ready(content) = &mut self.phase {
                    for (piece, bits) in blocks.iter() {
                        content.copies.withdrawn(piece, bits);
                    }
                }
            }
        }
        let Some(peer) = self.peer_mut(slot) else { return };
        if let Some(port) = hello.listen_port.and_then(NonZeroU16::new) {
            // Said once: a peer that names another port with each handshake must not fill the table of addresses.
            let listen = peer.hear_port(port);
            let dialed = peer.link.is_dialed();
            self.known.connected(listen, dialed, turn.config.swarm.known_peers_max);
        }
        if first && self.peer(slot).is_some_and(Peer::is_shoal) {
            self.unveil(turn, slot);
        }
        if first {
            self.note_peer_up(turn, slot);
            self.introduce_blocks(turn, slot);
            self.introduce_withdrawals(turn, slot);
            self.count_seeds();
            self.tell_playhead(turn, Some(slot));
            self.tell_coordinates(turn, hub, slot);
        }
        if self.describes_another(slot) {
            let rule = "it describes another title";
            return self.disconnect(turn, hub, slot, CloseReason::Protocol(rule));
        }
        self.give_free_slot(turn, slot);
        self.ask_metadata(turn, hub, slot);
        self.drop_if_useless(turn, hub, slot);
    }
    fn note_peer_up(&mut self, turn: &mut Turn<'_>, slot: u16) {
        if let Some(peer) = self.peer(slot) {
            turn.note(Note::PeerUp {
                title: self.title,
                link: peer.link,
                listen: peer.listen(),
                seed: peer.is_seed() || peer.upload_only,
                exchange: peer.ids.pex != 0,
            });
        }
    }
    /// Tells a peer what we have, and reads what it said before we could understand it.
    pub(super) fn introduce_content(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        if let Some(rule) = self.early_fault(slot) {
            return self.disconnect(turn, hub, slot, CloseReason::Protocol(rule));
        }
        if self.is_veiled(&turn.config.swarm, slot) {
            self.veil(turn, hub, slot);
        } else {
            self.introduce_held(turn, slot);
        }
        let Some((peer, content)) = self.both(slot) else { return };
        let count = content.pieces.info.layout.piece_count();
        let Have::Raw(early) = &peer.have else { return };
        let Early { all, bits, single } = &**early;
        let mut have = if *all {
            Have::All
        } else {
            Have::Bits(
                bits.as_ref()
                    .and_then(|bits| Bitfield::from_wire(bits, count))
                    .unwrap_or_else(|| Bitfield::new(count)),
            )
        };
        if let Have::Bits(field) = &mut have {
            for &piece in single {
                field.set(piece);
            }
        }
        self.take_have(turn, slot, have);
    }
    /// Tells a peer of all pieces that we hold.
    fn introduce_held(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some((peer, content)) = self.both(slot) else { return };
        let held = content.pieces.held();
        let message = match (peer.fast, held.ones(), held.is_full()) {
            (true, _, true) => Some(Message::HaveAll),
            (true, 0, _) => Some(Message::HaveNone),
            (_, 0, _) => None,
            _ => Some(Message::Bitfield(bytes::Bytes::copy_from_slice(held.as_bytes()))),
        };
        if let Some(message) = message {
            self.send(turn, slot, message);
        }
    }
    /// What was wrong with what a peer said before we knew the title.
    fn early_fault(&self, slot: u16) -> Option<&'static str> {
        let count = self.content()?.pieces.info.layout.piece_count();
        let another = self.describes_another(slot);
        let Have::Raw(early) = &self.peer(slot)?.have else { return None };
        let Early { bits, single, .. } = &**early;
        let is_wrong = |bits: &bytes::Bytes| Bitfield::from_wire(bits, count).is_none();
        if bits.as_ref().is_some_and(is_wrong) {
            Some("its bitfield has the wrong size")
        } else if single.iter().any(|&piece| piece >= count) {
            Some("it announced a piece that does not exist")
        } else {
            another.then_some("it describes another title")
        }
    }
    /// Whether a peer speaks of an info dictionary of another length than the proven one (BEP 9).
    fn describes_another(&self, slot: u16) -> bool {
        let ours = self.info.as_ref().map(|info| info.raw.len());
        let theirs = self.peer(slot).and_then(|peer| peer.metadata_size);
        let theirs = theirs.filter(|&size| size > 0).map(|size| size as usize);
        ours.is_some_and(|ours| theirs.is_some_and(|theirs| theirs != ours))
    }
    /// Replaces what a peer has.
    pub(super) fn take_have(&mut self, turn: &mut Turn<'_>, slot: u16, have: Have) {
        let Some((peer, content)) = self.both(slot) else { return };
        match &peer.have {
            Have::Bits(bits) => {
                bits.iter().for_each(|piece| content.availability.piece(piece, false))
            }
            Have::All | Have::Raw(_) => {}
        }
        match &have {
            Have::Bits(bits) => {
                bits.iter().for_each(|piece| content.availability.piece(piece, true))
            }
            Have::All | Have::Raw(_) => {}
        }
        let useful = match &have {
            Have::All => !content.is_sated(),
            Have::Bits(bits) => bits.iter().any(|piece| content.needs(piece)),
            Have::Raw(_) => false,
        };
        peer.have = have;
        self.count_seeds();
        if useful {
            self.become_interested(turn, slot);
            self.fill(turn, slot);
        }
    }
    pub(super) fn become_interested(&mut self, turn: &mut Turn<'_>, slot: u16) {
        if let Some(peer) = self.peer_mut(slot)
            && !peer.interested
        {
            peer.interested = true;
            self.send(turn, slot, Message::Interested);
        }
    }
    /// Two peers that both have everything have nothing to say to each other.
    pub(super) fn drop_if_useless(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        if self.is_done() && self.peer(slot).is_some_and(|peer| peer.is_seed() && !peer.wants_us) {
            self.disconnect(turn, hub, slot, CloseReason::NotNeeded);
        }
    }
    /// Closes a link of ours.
    pub(super) fn disconnect(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        reason: CloseReason,
    ) {
        let Some(link) = self.peer(slot).map(|peer| peer.link) else { return };
        hub.close(turn, link, reason);
        self.on_gone(turn, hub, slot, reason);
    }
    /// Shuts out a peer that lied: named to the user, never met again.
    pub(super) fn ban(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        link: LinkId,
        reason: CloseReason,
    ) {
        let slot = (0..self.peers.len() as u16)
            .find(|&slot| self.peer(slot).is_some_and(|peer| peer.link == link));
        if let Some(slot) = slot {
            return self.disconnect(turn, hub, slot, reason);
        }
        // It left before its bytes were judged: it is shut out all the same, with whatever link it has now.
        let gone = self.contributors.iter().find(|gone| gone.link == link).copied();
        if let Some(gone) = gone
            && self.shut_out(turn, gone, reason)
        {
            let is_back =
                |peer: &Peer| peer.id == gone.id && peer.remote().ip() == gone.remote.ip();
            for slot in self.slots() {
                if self.peer(slot).is_some_and(is_back) {
                    self.disconnect(turn, hub, slot, CloseReason::Corrupt);
                }
            }
        }
    }
    /// A peer broke a rule or lied: it is named to the user and never met again. True when that is news.
    fn shut_out(&mut self, turn: &mut Turn<'_>, gone: Contributor, reason: CloseReason) -> bool {
        let dialed = gone.link.is_dialed().then_some(gone.remote);
        let peer = (gone.remote.ip(), gone.id);
        let is_news = self.known.ban(peer, dialed, &turn.config.swarm);
        if is_news {
            turn.tell(Event::Banned { remote: gone.listen, reason });
        }
        is_news
    }
    /// A link is gone: all that it stood for is undone.
    pub(super) fn on_gone(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        reason: CloseReason,
    ) {
        self.release_all(turn, slot);
        self.leave_alone(turn, slot, None);
        let Some(mut peer) = self.peers.get_mut(usize::from(slot)).and_then(Option::take) else {
            return;
        };
        hub.uplink.forget(turn.now, self.title, slot, &mut peer.uploads);
        match &mut self.phase {
            Phase::Ready(content) => {
                match &peer.have {
                    Have::Bits(bits) => {
                        bits.iter().for_each(|piece| content.availability.piece(piece, false))
                    }
                    Have::All | Have::Raw(_) => {}
                }
                if !peer.is_source() {
                    for (piece, bits) in peer.blocks.iter() {
                        content.copies.withdrawn(piece, bits);
                    }
                }
                content.forget_veil(&peer);
                content.copies.gone(peer.link);
                content.hashes.on_gone(slot);
                content.pieces.disown(slot);
            }
            Phase::Metadata(metadata) => metadata.on_gone(slot),
            Phase::Preparing | Phase::Left => {}
        }
        let (link, remote, id) = (peer.link, peer.remote(), peer.id);
        let gone = Contributor { link, remote, listen: peer.listen().unwrap_or(remote), id };
        let is_liar = matches!(reason, CloseReason::Corrupt | CloseReason::Protocol(_));
        if is_liar {
            self.shut_out(turn, gone, reason);
        }
        // A liar that came to us may have named somebody else's port: who listens there shows when it is dialed.
        if let Some(listen) = peer.listen().filter(|_| !(is_liar && link.is_dialed())) {
            let ending = match reason {
                CloseReason::NotNeeded | CloseReason::Duplicate | CloseReason::Full => {
                    Ending::NotNeeded
                }
                _ => Ending::Lost,
            };
            self.end_address(turn, listen, ending);
        }
        if peer.down.total() > 0 {
            if self.contributors.len() >= turn.config.swarm.contributors_max {
                self.contributors.pop_front();
            }
            self.contributors.push_back(gone);
        }
        self.count_seeds();
        if self.source && peer.plays.is_some() {
            self.leave_audience(turn, short_id(&peer.id));
        }
        if peer.is_source() && !self.peers.iter().flatten().any(|peer| peer.is_source()) {
            self.audience.clear();
        }
        turn.note(Note::PeerDown { title: self.title, link: peer.link });
        self.fastest.forget();
        self.fill_all(turn);
    }
}
