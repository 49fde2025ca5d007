//! Packets of a transport stream as those of one session: their times are those of the film, and their counters go on over jumps.
//!
//! Players add the first time of a stream to the times that they ask for, so that the film's first frame has to be shown as near to 0 as
//! it can: at as much as something is decoded before it, mostly two pictures. The clock of the stream, which runs ahead of what is
//! shown, is 0 until it would be more: what it lets a player keep in hand is sent at once then.

use std::collections::BTreeMap;

use crate::mpegts::{
    Clock, FILLER, Head, PACKET, Packet, Times, set_pcr, set_times, times, wrapped,
};

/// What was passed on of a stream.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Number of its last packet.
    last: u8,
    /// What is added to the numbers of the file.
    added: u8,
    /// Whether one of its packets was passed on since the jump.
    is_open: bool,
}

/// Rewrites packets.
#[derive(Clone, Debug)]
pub(super) struct Rebase {
    lead: i64,
    lanes: BTreeMap<u16, Lane>,
    has_jumped: bool,
}

impl Rebase {
    pub(super) fn new(head: &Head) -> Self {
        Self { lead: head.lead, lanes: BTreeMap::new(), has_jumped: false }
    }
    /// What comes next does not follow what came last.
    pub(super) fn jump(&mut self) {
        self.has_jumped = true;
        self.close();
    }
    /// Units that were begun are not gone on with; what comes next counts on, whatever its number in the file.
    pub(super) fn close(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.is_open = false;
        }
    }
    /// The packet as it is passed on; `None` for one that fills only, or belongs to a unit whose beginning was not passed on.
    pub(super) fn packet(&mut self, packet: &[u8; PACKET], clock: &Clock) -> Option<[u8; PACKET]> {
        let old = Packet(packet);
        if old.pid() == FILLER {
            return None;
        }
        let lane = self.lanes.get(&old.pid()).copied();
        let is_first = !lane.is_some_and(|lane| lane.is_open);
        if is_first && old.has_payload() && !old.is_start() {
            return None;
        }
        let mut new = *packet;
        self.count(&mut new, lane, is_first);
        let moved = |raw: u64| clock.place(raw).map(|film| film.saturating_add(self.lead));
        if let Some(time) = old.pcr().and_then(moved) {
            set_pcr(&mut new, wrapped(time.max(0)));
        }
        let payload = old.payload();
        let found = (old.is_start() && old.is_readable()).then(|| times(payload)).flatten();
        let found = found.and_then(|it| Some((moved(it.shown)?, moved(it.decoded)?)));
        if let (Some((shown, decoded)), Some(unit)) = (found, new.get_mut(PACKET - payload.len()..))
        {
            let times = Times { shown: wrapped(shown.max(0)), decoded: wrapped(decoded.max(0)) };
            set_times(unit, times);
        }
        Some(new)
    }
    /// Numbers a packet, and marks the first one behind a jump where it has room for a mark.
    fn count(&mut self, packet: &mut [u8; PACKET], lane: Option<Lane>, is_first: bool) {
        let old = Packet(packet);
        let (pid, number, has_payload) = (old.pid(), old.counter(), old.has_payload());
        let can_be_marked = !old.adaptation().is_empty();
        let added = match lane {
            Some(lane) if is_first => {
                (lane.last.wrapping_add(u8::from(has_payload)).wrapping_sub(number)) & 0x0f
            }
            Some(lane) => lane.added,
            None => 0,
        };
        let last = number.wrapping_add(added) & 0x0f;
        packet[3] = packet[3] & 0xf0 | last;
        if is_first && self.has_jumped && can_be_marked {
            packet[5] |= 0x80;
        }
        // A packet without payload opens nothing: a unit has to begin first.
        let is_open = !is_first || has_payload;
        self.lanes.insert(pid, Lane { last, added, is_open });
    }
}
