//! What each message of a peer does.

use alloc::vec::Vec;
use bytes::Bytes;

use shoal_wire::bitfield::Bitfield;
use shoal_wire::metainfo::Info;
use shoal_wire::peer::{BlockRequest, BlockSpan, Extended, Message, MetadataMessage, ShoalMessage};

use super::Hub;
use super::metadata;
use super::peer::Have;
use super::pieces::{BlockKey, BlockState};
use super::title::{Phase, Swarm, Task};
use super::windows::due_from_ms;
use crate::config::limits::{
    BEGUN_PIECES_MAX, LARGE_NOISE, QUESTIONS_MIN, REFUSALS_MAX, SPAN_BLOCKS_MAX, SPANS_MAX,
    STALE_BLOCKS,
};
use crate::io::{CloseReason, Job};
use crate::link::LinkId;
use crate::turn::{Owner, Turn};

impl Swarm {
    pub(super) fn on_message(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        message: Message,
    ) {
        let now = turn.now;
        turn.counters(self.title).messages_in += 1;
        let Some(peer) = self.peer_mut(slot) else { return };
        // The remote answers our handshake with its first message: where it dialed us, that shows the round trip.
        if !peer.link.is_dialed() && !peer.service.has_rtt() && peer.heard == peer.opened {
            peer.service.on_round_trip(now.since(peer.opened));
        }
        peer.heard = now;
        peer.record.hear_noise(noise_of(&message));
        match message {
            Message::Handshake(_) => {
                self.disconnect(turn, hub, slot, CloseReason::Protocol("it shook hands twice"));
            }
            Message::Choke => self.on_choke(turn, slot),
            Message::Unchoke => {
                peer.chokes_us = false;
                self.fastest.forget();
                self.fill(turn, slot);
            }
            Message::Interested => {
                peer.wants_us = true;
                self.give_free_slot(turn, slot);
                self.offer_allowed(turn, slot);
            }
            Message::NotInterested => {
                peer.wants_us = false;
                self.drop_if_useless(turn, hub, slot);
            }
            Message::Have { piece } => self.on_have(turn, hub, slot, piece),
            Message::Bitfield(bits) => self.on_bitfield(turn, hub, slot, &bits),
            Message::HaveAll => self.on_have_all(turn, hub, slot),
            Message::HaveNone => self.on_have_none(turn, slot),
            Message::Request(request) => self.on_request(turn, hub, slot, request, None),
            Message::Cancel(request) => self.on_cancel(turn, hub, slot, &request),
            Message::Piece { piece, offset, data } => {
                self.on_piece(turn, hub, slot, piece, offset, data)
            }
            Message::Reject(request) => self.on_reject(turn, hub, slot, &request),
            Message::HashRequest(range) => self.on_hash_request(turn, slot, &range),
            Message::Hashes { range, hashes } => self.on_hashes(turn, hub, slot, &range, &hashes),
            Message::HashReject(range) => self.on_hash_reject(turn, slot, &range),
            Message::AllowedFast { piece } => self.on_allowed_fast(turn, slot, piece),
            Message::Extended(extended) => self.on_extended(turn, hub, slot, *extended),
            // Hints that we do not follow, and the signs of life that `heard` has noted.
            Message::KeepAlive | Message::Port(_) | Message::Suggest { .. } => {}
        }
        self.judge(turn, hub, slot);
    }
    fn on_extended(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16, extended: Extended) {
        match extended {
            Extended::Handshake(hello) => self.on_extension_handshake(turn, hub, slot, hello),
            Extended::Metadata(message) => self.on_metadata(turn, hub, slot, message),
            Extended::DontHave { piece } => self.on_dont_have(turn, slot, piece),
            Extended::UploadOnly(only) => {
                if let Some(peer) = self.peer_mut(slot) {
                    peer.upload_only = only;
                }
            }
            Extended::Shoal(ShoalMessage::Requests(requests)) => {
                for due in requests.into_iter().take(SPANS_MAX) {
                    self.on_request(
                        turn,
                        hub,
                        slot,
                        due.block,
                        due_from_ms(turn.now, due.due_in_ms),
                    );
                }
            }
            Extended::Shoal(ShoalMessage::Hurry(requests)) => {
                for request in requests.iter().take(SPANS_MAX) {
                    self.on_hurry(turn, hub, slot, request);
                }
            }
            Extended::Shoal(ShoalMessage::HaveBlocks(spans)) => {
                self.on_have_blocks(turn, slot, &spans)
            }
            Extended::Shoal(ShoalMessage::Playhead(stretch)) => {
                self.on_playhead(turn, slot, stretch);
            }
            Extended::Shoal(ShoalMessage::Audience(members)) => {
                self.on_audience(turn, slot, &members);
            }
            Extended::Shoal(ShoalMessage::Coordinates(place)) => {
                self.on_coordinates(turn, hub, slot, &place);
            }
            // PEX is read by `discover`; hole punching has no room yet; what we do not know, we do not answer.
            Extended::Pex(_) | Extended::HolePunch(_) | Extended::Unknown { .. } => {}
        }
    }
    fn on_have(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16, piece: u32) {
        let Some((peer, content)) = self.both(slot) else {
            if let Some(peer) = self.peer_mut(slot) {
                peer.keep_raw_have(piece);
            }
            return;
        };
        if content.pieces.info.layout.piece(piece).is_none() {
            self.disconnect(
                turn,
                hub,
                slot,
                CloseReason::Protocol("it announced a piece that does not exist"),
            );
            return;
        }
        let is_new = match &mut peer.have {
            Have::Bits(bits) => bits.set(piece),
            _ => false,
        };
        peer.hear(is_new);
        if !is_new {
            return;
        }
        content.availability.piece(piece, true);
        if let Some(bits) = peer.blocks.remove(piece) {
            content.copies.withdrawn(piece, bits.as_part());
        }
        let full = peer.is_seed();
        if self.source {
            self.feed(turn, hub);
        }
        let Some(content) = self.content() else { return };
        if content.needs(piece) {
            self.become_interested(turn, slot);
            self.fill(turn, slot);
        } else if full {
            self.drop_if_useless(turn, hub, slot);
        }
    }
    /// What a peer has, in full. Some clients (aria2) say so again instead of many `have`, where that is shorter.
    fn on_bitfield(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16, bytes: &Bytes) {
        let Some((peer, content)) = self.both(slot) else {
            let Some(peer) = self.peer_mut(slot) else { return };
            peer.record.hear_noise(LARGE_NOISE);
            if let Have::Raw(early) = &mut peer.have {
                early.bits = Some(bytes.clone());
            }
            return;
        };
        let Some(bits) = Bitfield::from_wire(bytes, content.pieces.info.layout.piece_count())
        else {
            let reason = CloseReason::Protocol("its bitfield has the wrong size");
            return self.disconnect(turn, hub, slot, reason);
        };
        let known = match &peer.have {
            Have::Bits(known) => known.clone(),
            Have::All | Have::Raw(_) => Bitfield::default(),
        };
        let news: Vec<u32> = bits.iter().filter(|&piece| !known.get(piece)).collect();
        let is_shorter = bytes.len() <= news.len() * HAVE_LEN;
        peer.record.hear_noise(if is_shorter { 0 } else { LARGE_NOISE });
        if known.ones() > 0 && known.ones() + news.len() as u32 == bits.ones() {
            news.into_iter().for_each(|piece| self.on_have(turn, hub, slot, piece));
        } else {
            self.take_have(turn, slot, Have::Bits(bits));
            self.drop_if_useless(turn, hub, slot);
        }
    }
    fn on_have_all(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        if self.content().is_some() {
            self.take_have(turn, slot, Have::All);
            self.drop_if_useless(turn, hub, slot);
        } else if let Some(Have::Raw(early)) = self.peer_mut(slot).map(|peer| &mut peer.have) {
            early.all = true;
        }
    }
    fn on_have_none(&mut self, turn: &mut Turn<'_>, slot: u16) {
        if let Some(count) = self.content().map(|content| content.pieces.info.layout.piece_count())
        {
            self.take_have(turn, slot, Have::Bits(Bitfield::new(count)));
        }
    }
    /// A piece is no longer at a peer (BEP 54), nor are blocks of it: requests for them have failed.
    fn on_dont_have(&mut self, turn: &mut Turn<'_>, slot: u16, piece: u32) {
        let Some((peer, content)) = self.both(slot) else {
            if let Some(peer) = self.peer_mut(slot) {
                peer.lose_raw(piece);
            }
            return;
        };
        let count = content.pieces.info.layout.piece_count();
        if piece >= count {
            return peer.hear(false);
        }
        let had_all = matches!(peer.have, Have::All);
        if had_all {
            (0..count).for_each(|piece| content.availability.piece(piece, true));
            peer.have = Have::Bits(Bitfield::full(count));
        }
        let had = match &mut peer.have {
            Have::Bits(bits) => bits.clear(piece),
            _ => false,
        };
        if had {
            content.availability.piece(piece, false);
        }
        let blocks = peer.blocks.remove(piece);
        if let Some(bits) = &blocks
            && !peer.is_source()
        {
            content.copies.withdrawn(piece, bits.as_part());
        }
        peer.hear_withdrawal(had || blocks.is_some());
        peer.disallow(piece);
        // With the fast extension each request is rejected one by one (BEP 6).
        let failed: Vec<BlockKey> = match peer.fast {
            true => Vec::new(),
            false => peer.asked.iter().map(|asked| asked.key).collect(),
        };
        // While it had the piece it was not told that we have it.
        let ours = had && content.pieces.is_held(piece) && peer.veil.is_none();
        if ours {
            self.send(turn, slot, Message::Have { piece });
        }
        if blocks.is_some() && !ours {
            self.introduce_piece(turn, slot, piece);
        }
        let left_alone = self.leave_alone(turn, slot, Some(piece));
        if had_all {
            self.count_seeds();
        }
        let failed = failed.into_iter().filter(|key| key.piece() == piece);
        let released = failed.filter(|&key| self.release(turn, slot, key)).count();
        if released > 0 || left_alone {
            self.fill_others(turn, slot);
        }
    }
    /// Blocks of pieces that are not whole: only of the pieces we miss is a note taken.
    fn on_have_blocks(&mut self, turn: &mut Turn<'_>, slot: u16, spans: &[BlockSpan]) {
        // A source wants to know what came of what it gave.
        let source = self.source;
        let Some((peer, content)) = self.both(slot) else { return };
        let counts = !peer.is_source();
        let layout = &content.pieces.info.layout;
        let (mut useful, mut free, mut stale) = (false, false, 0);
        let (mut budget, mut stale_blocks) = (SPAN_BLOCKS_MAX, 0u32);
        for span in spans.iter().take(SPANS_MAX) {
            stale += 1;
            let Some(piece) = layout.piece(span.piece) else { continue };
            let known = peer.blocks.has(span.piece);
            let length = u32::from(span.count).min(budget);
            stale_blocks += u32::from(span.count) - length;
            if (content.pieces.is_held(span.piece) && !source)
                || peer.has_piece(span.piece)
                || length == 0
                || (!known && peer.blocks.len() >= BEGUN_PIECES_MAX)
            {
                continue;
            }
            let count = layout.block_count(piece);
            let mut is_new = false;
            budget -= length;
            for block in
                u32::from(span.first)..u32::from(span.first).saturating_add(length).min(count)
            {
                let set = peer.blocks.set(span.piece, count, block);
                is_new |= set;
                stale_blocks += u32::from(!set);
                if set && counts {
                    content.copies.announced(BlockKey::new(span.piece, block));
                }
                if set && !free {
                    let state = content.pieces.block_state(BlockKey::new(span.piece, block));
                    free = state == BlockState::Free;
                    let lacks =
                        matches!(state, BlockState::Free | BlockState::Asked | BlockState::Arrived);
                    useful |= lacks && content.needs(span.piece);
                }
            }
            stale -= u32::from(is_new);
        }
        let noise = stale / 16 + stale_blocks / STALE_BLOCKS;
        peer.record.hear_noise(noise + u32::from(spans.is_empty()));
        if useful {
            self.become_interested(turn, slot);
        }
        // What others were asked for already changes nothing for this peer.
        if free {
            self.fill(turn, slot);
        }
    }
    fn on_choke(&mut self, turn: &mut Turn<'_>, slot: u16) {
        let Some(peer) = self.peer_mut(slot) else { return };
        peer.chokes_us = true;
        // With the fast extension each request is rejected one by one; without it a choke drops them all (BEP 3).
        if !peer.fast {
            // What was on its way already is no lie.
            let keys: Vec<BlockKey> = peer.asked.iter().map(|asked| asked.key).collect();
            keys.into_iter().for_each(|key| peer.remember_cancelled(key));
            self.release_all(turn, slot);
            self.leave_alone(turn, slot, None);
            self.fill_all(turn);
        }
        self.fastest.forget();
    }
    fn on_reject(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16, request: &BlockRequest) {
        let Some((peer, content)) = self.both(slot) else { return };
        let Some((piece, block)) = content.pieces.info.layout.block_of(request) else { return };
        let key = BlockKey::new(piece.get(), block);
        if peer.was_cancelled(key) {
            return;
        }
        if peer.withdrawn().iter().any(|asked| asked.key == key) {
            self.release(turn, slot, key);
            return self.fill_holders(turn, u16::MAX, key);
        }
        let chokes = peer.chokes_us;
        if !chokes && peer.is_source() && peer.asked.iter().any(|asked| asked.key == key) {
            return self.on_turned_down(turn, slot, key);
        }
        // An answer is no noise, whatever it says.
        peer.hear(peer.asked.iter().any(|asked| asked.key == key));
        if chokes {
            peer.disallow(key.piece());
        } else if peer.is_shoal() && content.plan.due(key).is_some() {
            peer.record.rejected += 1;
            peer.turn_away(turn.now);
        } else {
            peer.record.rejected += 1;
            peer.record.refusals += 1;
            // What it rejects it does not seem to have.
            let counts = !peer.is_source();
            if peer.blocks.clear(key.piece(), key.block()) && counts {
                content.copies.lost(key);
            }
        }
        if !self.release(turn, slot, key) {
            return;
        }
        // Or else it would be asked for ever, and nobody who has the piece would be.
        if self.peer(slot).is_some_and(|peer| peer.record.refusals >= REFUSALS_MAX) {
            self.on_dont_have(turn, slot, key.piece());
        }
        self.leave_alone(turn, slot, None);
        if !chokes {
            self.judge(turn, hub, slot);
        }
        self.fill_holders(turn, slot, key);
    }
    /// Asks a peer for the info dictionary, if one is wanted.
    pub(super) fn ask_metadata(&mut self, turn: &mut Turn<'_>, hub: &mut Hub, slot: u16) {
        let now = turn.now;
        let limit = turn.config.swarm.metadata_max;
        let Phase::Metadata(metadata) = &mut self.phase else { return };
        let Some(peer) = self.peers.get(usize::from(slot)).and_then(Option::as_deref) else {
            return;
        };
        let Some(size) = peer.metadata_size.filter(|&size| size > 0 && peer.ids.metadata != 0)
        else {
            return;
        };
        if size > limit {
            let rule = "its description of the title is longer than any may be";
            return self.disconnect(turn, hub, slot, CloseReason::Protocol(rule));
        }
        if metadata.wants(now, slot) {
            for piece in metadata.begin(now, slot, size) {
                self.send_metadata(turn, slot, MetadataMessage::Request { piece });
            }
        }
    }
    fn send_metadata(&mut self, turn: &mut Turn<'_>, slot: u16, message: MetadataMessage) {
        self.send(turn, slot, Message::Extended(Extended::Metadata(message).into()));
    }
    fn on_metadata(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        slot: u16,
        message: MetadataMessage,
    ) {
        match message {
            MetadataMessage::Request { piece } => {
                let is_fair = self.is_fair_question(slot, 1);
                let raw = self.info.as_ref().map(|info| &info.raw).filter(|_| is_fair);
                let answer = metadata::answer(raw, piece);
                self.send_metadata(turn, slot, answer);
            }
            MetadataMessage::Reject { .. } => {
                let Phase::Metadata(metadata) = &mut self.phase else { return };
                metadata.on_refused(turn.now, slot);
                for slot in self.slots() {
                    self.ask_metadata(turn, hub, slot);
                }
            }
            MetadataMessage::Data { piece, data, .. } => {
                let Phase::Metadata(metadata) = &mut self.phase else { return };
                match metadata.on_data(turn.now, slot, piece, data) {
                    Ok((next, whole)) => {
                        if let Some(piece) = next {
                            self.send_metadata(turn, slot, MetadataMessage::Request { piece });
                        }
                        let author = self.peer(slot).map(|peer| peer.link);
                        if let (Some(raw), Some(author)) = (whole, author) {
                            let job = Job::CheckInfo { raw: raw.clone(), hashes: self.hashes };
                            turn.submit(
                                Owner::Swarm(self.title, Task::CheckInfo { raw, author }),
                                job,
                            );
                        }
                    }
                    Err(rule) => self.disconnect(turn, hub, slot, CloseReason::Protocol(rule)),
                }
            }
        }
    }
    /// Whether a peer may ask for one more part of the info dictionary or run of hashes, which counts as `weight` of them. All
    /// of them twice is enough.
    pub(super) fn is_fair_question(&mut self, slot: u16, weight: u32) -> bool {
        let known = self.info.as_ref();
        let parts = known.map_or(0, |info| metadata::parts(&info.raw) + info.layout.piece_count());
        let Some(peer) = self.peer_mut(slot) else { return false };
        peer.record.questions = peer.record.questions.saturating_add(weight);
        let is_fair =
            peer.record.questions <= parts.saturating_mul(2).saturating_add(QUESTIONS_MIN);
        peer.record.hear_noise(if is_fair { 0 } else { LARGE_NOISE });
        is_fair
    }
    pub(super) fn on_info_checked(
        &mut self,
        turn: &mut Turn<'_>,
        hub: &mut Hub,
        raw: &Bytes,
        author: LinkId,
        good: bool,
    ) {
        let Phase::Metadata(metadata) = &mut self.phase else { return };
        metadata.checking = false;
        if !good {
            self.ban(turn, hub, author, CloseReason::Corrupt);
            for slot in self.slots() {
                self.ask_metadata(turn, hub, slot);
            }
            return;
        }
        match Info::parse(raw) {
            Ok(info) => self.prepare(turn, info.into()),
            // It is what the link names: no other peer can have a better one.
            Err(error) => {
                self.fail(turn, hub, alloc::format!("The title cannot be used: {error}."))
            }
        }
    }
}

/// Bytes of a `have`, its length among them (BEP 3).
const HAVE_LEN: usize = 9;

/// What a message weighs as noise whatever it says: honest peers send these now and then. Others weigh something only when
/// they tell nothing new.
fn noise_of(message: &Message) -> u32 {
    match message {
        // What a peer has is told once, or where it is shorter than what is new in it.
        Message::HaveAll | Message::HaveNone => LARGE_NOISE,
        Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::KeepAlive
        | Message::Port(_)
        | Message::Suggest { .. }
        | Message::AllowedFast { .. } => 1,
        Message::Extended(extended) => match &**extended {
            // BEP 11 allows one a minute.
            Extended::Pex(_) => LARGE_NOISE,
            Extended::Handshake(_) => LARGE_NOISE / 10,
            Extended::UploadOnly(_)
            | Extended::HolePunch(_)
            | Extended::Shoal(
                ShoalMessage::Playhead(_)
                | ShoalMessage::Audience(_)
                | ShoalMessage::Coordinates(_),
            )
            | Extended::Unknown { .. } => 1,
            Extended::DontHave { .. } | Extended::Metadata(_) | Extended::Shoal(_) => 0,
        },
        _ => 0,
    }
}
