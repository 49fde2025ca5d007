//! Super-seeding (BEP 16): what a source shows to foreign clients, so that each piece leaves it once before any leaves it twice.
//!
//! Shoal peers are turned down when others can give them a block (`source.rs`). A foreign client would take that for a fault,
//! so here it is not tempted: it sees a few pieces, those that are rarest among all the source can see, and the next one when
//! somebody else was seen to have what it got here. What keeps that from making anybody slow:
//!
//! - **No idleness.** While less than [`ROOM`] of work waits for the uplink, whoever may ask and has asked for nearly all it was
//!   shown is shown more, twice as much each time that it had nothing left. And each always has one piece to ask for.
//! - **No veil where it gains nothing.** Where no more than [`FEW`] peers lack something, or every piece is at somebody else, or a
//!   peer was veiled for [`VEILED_FOR`], everything is shown.
//! - **Players do not wait for what they cannot see.** Who comes first sees the film from its beginning, and its end; of long films all see
//!   these ends. Who always
//!   asks for the lowest of the pieces it may choose from is shown everything (others do so with a chance of one in
//!   [`IN_ORDER`]), and so is who asks for nothing of what it was shown: it looks for something in particular.
//!
//! A veiled peer is told `have none` (BEP 6; without the fast extension nothing), then a `have` for each piece, and not that
//! we only upload: clients close links to uploaders that have nothing for them. It is answered whatever it asks for.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::peer::{BLOCK_LEN, BlockRequest, Extended, Message};

use super::Hub;
use super::audit::equal;
use super::peer::Peer;
use super::pieces::BlockKey;
use super::title::{Content, Swarm};
use crate::config::SwarmConfig;
use crate::config::limits::{VEIL_GOT_MAX, VEIL_WIDTH_MAX};
use crate::time::{Instant, bytes_in};
use crate::turn::Turn;

/// An uplink has room while what waits for it takes less time than this.
const ROOM: Duration = Duration::from_millis(500);
/// It has room while no more blocks than this wait: its rate may not be known yet.
const ROOM_LEAST: u64 = 8;
/// Pieces that are shown at first: so many that it shows soon whether they are taken in order.
const SHOWN_FIRST: usize = 5;
/// With at least this many pieces for each peer that lacks something all see the ends of a title: they are a small part of it.
const PIECES_PER_PEER: usize = 128;
/// The beginning, pieces; the end is one.
const HEAD: u32 = 3;
/// Pieces that a peer should have to ask for while the uplink has room, at first.
const WIDTH: usize = 2;
/// No more peers than this that lack something have little to pass on to each other.
const FEW: usize = 2;
/// Peers may come together: so long they are not few.
const FEW_AFTER: Duration = Duration::from_secs(2);
/// A peer that was veiled for this long is shown everything: it may be a player that nothing gave away.
const VEILED_FOR: Duration = Duration::from_secs(60);
/// Who could ask and does not for this long looks for something else.
const PASSIVE: Duration = Duration::from_secs(3);
/// The same for who wants nothing of what it sees: it may still be fetching the metadata.
const UNWILLING: Duration = Duration::from_secs(10);
/// Whose choices would be made by chance no more often than once in this many times takes pieces in order.
const IN_ORDER: u32 = 50;

/// What a foreign client was shown.
#[derive(Debug)]
pub(super) struct Veil {
    shown: Bitfield,
    /// Shown pieces that it lacks, in the order in which they were shown.
    open: Vec<Open>,
    /// Pieces that it got since, and nobody else was seen to have; the oldest make room.
    got: VecDeque<u32>,
    /// Pieces that it should have to ask for while the uplink has room.
    width: usize,
    /// Among how many possible choices its latest ones were, while it takes the lowest piece each time.
    choices: u32,
    since: Instant,
    /// When it last asked, or could not have.
    asked: Instant,
}

/// A piece that a peer was shown and lacks.
#[derive(Clone, Copy, Debug)]
struct Open {
    piece: u32,
    /// Bytes of it that it has not asked for.
    left: u32,
    /// It has asked for some of it.
    begun: bool,
}

/// What all peers of a title were shown.
#[derive(Debug, Default)]
pub(super) struct Veils {
    /// How many peers there are that do not see everything.
    count: usize,
    /// To how many of them each piece was shown while they lacked it; empty while there was none.
    open: Vec<u16>,
}

impl Veil {
    fn new(now: Instant, pieces: u32) -> Self {
        Self {
            shown: Bitfield::new(pieces),
            open: Vec::new(),
            got: VecDeque::new(),
            width: WIDTH,
            choices: 1,
            since: now,
            asked: now,
        }
    }
    /// How many pieces it could ask for without having done so.
    fn untouched(&self) -> usize {
        self.open.iter().filter(|open| open.left > 0).count()
    }
    /// Takes note of a request. True when its choices tell that it takes pieces in order.
    fn note(&mut self, now: Instant, request: &BlockRequest) -> bool {
        self.asked = now;
        let choice = || self.open.iter().filter(|open| !open.begun).map(|open| open.piece);
        let (all, lowest) = (choice().count(), choice().min());
        let Some(open) = self.open.iter_mut().find(|open| open.piece == request.piece) else {
            return false;
        };
        open.left = open.left.saturating_sub(request.length);
        if !core::mem::replace(&mut open.begun, true) && all > 1 {
            let all = u32::try_from(all).unwrap_or(u32::MAX);
            let is_lowest = lowest == Some(request.piece);
            self.choices = if is_lowest { self.choices.saturating_mul(all) } else { 1 };
        }
        self.choices >= IN_ORDER
    }
}

impl Veils {
    fn changed(&mut self, piece: u32, shown: bool) {
        if let Some(open) = self.open.get_mut(piece as usize) {
            *open = if shown { open.saturating_add(1) } else { open.saturating_sub(1) };
        }
    }
    /// A peer is gone, or sees everything.
    fn lift(&mut self, veil: &Veil) {
        self.count -= 1;
        veil.open.iter().for_each(|open| self.changed(open.piece, false));
    }
    /// What is kept against what was shown. O(pieces).
    pub(super) fn audit<'a>(&self, peers: impl Iterator<Item = &'a Peer>) -> Result<(), String> {
        let veils: Vec<&Veil> = peers.filter_map(|peer| peer.veil.as_deref()).collect();
        equal("peers that are veiled", self.count as u64, veils.len() as u64)?;
        let kept = self.open.iter().map(|&count| u64::from(count)).sum();
        let open = veils.iter().map(|veil| veil.open.len() as u64).sum();
        equal("pieces that were shown and are lacked", kept, open)
    }
}

impl Content {
    /// Whether somebody who is no source is known to have a piece; `but` one that is, when it is counted.
    fn is_at_others(&self, piece: u32, but: u8) -> bool {
        self.copies.has_seeds() || self.availability.count(piece) > but
    }
    /// The piece to show a peer next: held by fewest and shown to fewest of those who lack it, the first one after `from` among
    /// equals. O(pieces), but while some were not shown to anybody only as far as the next of them.
    fn pick_hidden(&self, peer: &Peer, veil: &Veil, from: u32, now: Instant) -> Option<u32> {
        let count = self.pieces.info.layout.piece_count();
        let held = self.pieces.held();
        let mut best: Option<(u32, u32)> = None;
        for piece in (from..count).chain(0..from) {
            if veil.shown.get(piece) || !held.get(piece) || peer.has_piece(piece) {
                continue;
            }
            let shown = self.veils.open.get(piece as usize).copied().unwrap_or(0);
            let mut rank = u32::from(self.availability.count(piece)) + u32::from(shown);
            if rank == 0 {
                // Somebody of ours may be getting it.
                let key = BlockKey::new(piece, 0);
                rank = u32::from(self.copies.is_under_way(key, peer.link, now, true));
            }
            if best.is_none_or(|(least, _)| rank < least) {
                best = Some((rank, piece));
                if rank == 0 {
                    break;
                }
            }
        }
        best.map(|(_, piece)| piece)
    }
}

impl Swarm {
    /// Whether a peer that has just come, or any that is not ours, should see only a part of what we have. O(links + pieces).
    pub(super) fn is_veiled(&self, config: &SwarmConfig, slot: u16) -> bool {
        let Some((peer, content)) = self.peer(slot).zip(self.content()) else { return false };
        let held = content.pieces.held();
        self.source
            && config.super_seeding
            && !peer.is_kin()
            && held.iter().any(|piece| !content.is_at_others(piece, 0))
    }
    /// A foreign client came: it is shown the first pieces.
    pub(super) fn veil(&mut self, turn: &mut Turn<'_>, hub: &Hub, slot: u16) {
        let lacking = self.lacking();
        let is_first = lacking <= 1;
        let Some((peer, content)) = self.both(slot) else { return };
        let count = content.pieces.info.layout.piece_count();
        content.veils.count += 1;
        content.veils.open.resize(count as usize, 0);
        peer.veil = Some(Box::new(Veil::new(turn.now, count)));
        if peer.fast {
            self.send(turn, slot, Message::HaveNone);
        }
        // A player finds the beginning, and the end, where some formats have their index.
        if is_first || count as usize >= lacking * PIECES_PER_PEER {
            self.show(turn, slot, count - 1);
            (0..HEAD.min(count)).for_each(|piece| self.show(turn, slot, piece));
        }
        for _ in 0..SHOWN_FIRST {
            self.show_next(turn, slot, is_first.then_some(0));
        }
        self.feed(turn, hub);
    }
    /// How many peers there are that lack something and are no sources. O(links).
    fn lacking(&self) -> usize {
        let lacks = |peer: &&Peer| !peer.is_source() && !peer.is_seed();
        self.peers.iter().flatten().map(|peer| &**peer).filter(lacks).count()
    }
    fn show(&mut self, turn: &mut Turn<'_>, slot: u16, piece: u32) {
        let Some((peer, content)) = self.both(slot) else { return };
        let layout = &content.pieces.info.layout;
        let Some((veil, index)) = peer.veil.as_deref_mut().zip(layout.piece(piece)) else { return };
        if !content.pieces.is_held(piece) || !veil.shown.set(piece) {
            return;
        }
        veil.open.push(Open { piece, left: layout.data_len(index), begun: false });
        content.veils.changed(piece, true);
        self.send(turn, slot, Message::Have { piece });
    }
    /// Shows a peer the rarest piece that it has not seen. False when it has seen all.
    fn show_next(&mut self, turn: &mut Turn<'_>, slot: u16, from: Option<u32>) -> bool {
        let Some((peer, content)) = self.peer(slot).zip(self.content()) else { return false };
        let Some(veil) = &peer.veil else { return false };
        let count = content.pieces.info.layout.piece_count();
        let last = veil.open.iter().map(|open| open.piece).max();
        // Who is alone goes on from where it was: it may be a player.
        let alone = (content.veils.count == 1).then(|| last.map_or(0, |last| (last + 1) % count));
        let rng = &mut *turn.rng;
        let any = || u32::try_from(rng.below(u64::from(count.max(1)))).unwrap_or(0);
        let from = from.or(alone).unwrap_or_else(any);
        let Some(piece) = content.pick_hidden(peer, veil, from, turn.now) else { return false };
        self.show(turn, slot, piece);
        true
    }
    /// A foreign client asked for a block.
    pub(super) fn note_veiled(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &Hub,
        slot: u16,
        request: &BlockRequest,
    ) {
        let veil = self.peer_mut(slot).and_then(|peer| peer.veil.as_deref_mut());
        match veil.map(|veil| veil.note(turn.now, request)) {
            Some(true) => self.unveil(turn, slot),
            Some(false) => self.feed(turn, hub),
            None => {}
        }
    }
    /// Shows veiled peers more, where that is due: after a request, an announcement, or a block that left. O(links), and O(pieces)
    /// for what is shown.
    pub(super) fn feed(&mut self, turn: &mut Turn<'_>, hub: &Hub) {
        if self.content().is_none_or(|content| content.veils.count == 0) {
            return;
        }
        let waiting: u64 = self.peers.iter().flatten().map(|peer| peer.uploads.len() as u64).sum();
        let room = bytes_in(ROOM, hub.uplink.peak()).max(ROOM_LEAST * u64::from(BLOCK_LEN));
        let has_room = waiting * u64::from(BLOCK_LEN) < room;
        for slot in 0..self.peers.len() as u16 {
            let Some((peer, content)) = self.both(slot) else { continue };
            if peer.veil.is_none() {
                continue;
            }
            let passed_on = settle(peer, content);
            let more = if has_room && peer.wants_us && !peer.choked { widen(peer) } else { 0 };
            for _ in 0..passed_on.max(more) {
                if !self.show_next(turn, slot, None) {
                    break;
                }
            }
        }
    }
    /// Once a second: each has something to ask for, and who gains nothing by its veil loses it. O(links + pieces).
    pub(super) fn sweep_veils(&mut self, turn: &mut Turn<'_>, hub: &Hub) {
        let now = turn.now;
        if self.content().is_none_or(|content| content.veils.count == 0) {
            return;
        }
        let are_few = self.lacking() <= FEW;
        for slot in self.slots() {
            let still = self.is_veiled(&turn.config.swarm, slot);
            let Some(peer) = self.peer_mut(slot) else { continue };
            let (wants, choked) = (peer.wants_us, peer.choked);
            let waits = peer.uploads.len() > 0;
            let Some(veil) = &mut peer.veil else { continue };
            if waits || (wants && choked) || veil.open.is_empty() {
                veil.asked = now;
            }
            let patience = if wants { PASSIVE } else { UNWILLING };
            let veiled_for = now.since(veil.since);
            if !still
                || (are_few && veiled_for >= FEW_AFTER)
                || veiled_for >= VEILED_FOR
                || now.since(veil.asked) >= patience
            {
                self.unveil(turn, slot);
            } else if veil.untouched() == 0 {
                self.show_next(turn, slot, None);
            }
        }
        self.feed(turn, hub);
    }
    /// Shows a peer everything. O(pieces), once a link.
    pub(super) fn unveil(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some((peer, content)) = self.both(slot) else { return };
        let Some(veil) = peer.veil.take() else { return };
        content.veils.lift(&veil);
        let held = content.pieces.held().iter();
        let hidden: Vec<u32> =
            held.filter(|&piece| !veil.shown.get(piece) && !peer.has_piece(piece)).collect();
        let tells = peer.ids.upload_only != 0;
        for piece in hidden {
            self.send(turn, slot, Message::Have { piece });
        }
        if tells && self.is_done() {
            self.send(turn, slot, Message::Extended(Extended::UploadOnly(true).into()));
        }
    }
}

impl Content {
    /// A peer is gone.
    pub(super) fn forget_veil(&mut self, peer: &Peer) {
        if let Some(veil) = &peer.veil {
            self.veils.lift(veil);
        }
    }
}

/// Takes note of what a peer got of what it was shown. Returns how many pieces it got that others have, too.
fn settle(peer: &mut Peer, content: &mut Content) -> usize {
    let Some(mut veil) = peer.veil.take() else { return 0 };
    let (got, open): (Vec<Open>, _) = veil.open.iter().partition(|open| peer.has_piece(open.piece));
    veil.open = open;
    for open in got {
        content.veils.changed(open.piece, false);
        if veil.got.len() >= VEIL_GOT_MAX {
            veil.got.pop_front();
        }
        veil.got.push_back(open.piece);
    }
    let before = veil.got.len();
    veil.got.retain(|&piece| !content.is_at_others(piece, 1));
    let passed_on = before - veil.got.len();
    peer.veil = Some(veil);
    passed_on
}

/// How many pieces a peer should see in addition while the uplink has room.
fn widen(peer: &mut Peer) -> usize {
    let Some(veil) = &mut peer.veil else { return 0 };
    let untouched = veil.untouched();
    if untouched == 0 {
        veil.width = (veil.width * 2).min(VEIL_WIDTH_MAX);
    }
    veil.width.saturating_sub(untouched)
}
