//! The life of connections: dialing, set-up, closing, and hosts that leave.

use std::net::SocketAddr;

use shoal_node::io::{CloseReason, Packet};
use shoal_node::link::LinkId;

use super::flow::Flow;
use super::{
    Arrival, BARE_SEGMENT, Conn, DATAGRAM_HEADER, DIAL_TIMEOUT_NS, Datagram, End, NODE_PORT,
    NetEvent, Network, SILENCE_NS, address_of, host_of,
};
use crate::queue::Queue;
use crate::world::Event;

impl Network {
    /// Opens a connection; answered by [`Arrival::Up`] or [`Arrival::Down`].
    pub fn dial(
        &mut self,
        now: u64,
        host: u32,
        link: LinkId,
        remote: SocketAddr,
        queue: &mut Queue<Event>,
    ) {
        let target = host_of(remote).filter(|&to| remote.port() == NODE_PORT && to != host);
        let target = target.filter(|&to| (to as usize) < self.hosts.len());
        let refused_at = match target {
            None => Some(now + DIAL_TIMEOUT_NS),
            Some(to) if self.parted_until(host, to, now).is_some() => Some(now + DIAL_TIMEOUT_NS),
            Some(to) if self.hosts[to as usize].online => None,
            Some(to) if self.hosts[to as usize].silent => Some(now + DIAL_TIMEOUT_NS),
            Some(to) => Some(now + self.round_trip_ns(host, to)),
        };
        if let Some(at) = refused_at {
            self.hosts[host as usize].closing.push((link, CloseReason::Unreachable));
            queue.push(at, Event::Net(NetEvent::Closed { host, link }));
            return;
        }
        let Some(to) = target else { return };
        let round_trip = self.round_trip_ns(host, to);
        self.dials += 1;
        let end = self.new_conn(host, link, to, round_trip);
        let generation = self.generation(end);
        self.hosts[host as usize].links.insert(link.0, end);
        queue.push(now + round_trip, Event::Net(NetEvent::Opened { end, generation }));
        let accepted = now + round_trip + round_trip / 2;
        queue.push(accepted, Event::Net(NetEvent::Opened { end: end ^ 1, generation }));
        // Nothing said by the dialer overtakes the end of the handshake.
        self.flow_mut(end).last_arrival = accepted;
        for (from, count) in [(host, 2), (to, 1)] {
            let there = if from == host { to } else { host };
            self.hosts[from as usize].interface.wire_out += count * BARE_SEGMENT;
            self.hosts[there as usize].interface.wire_in += count * BARE_SEGMENT;
        }
    }

    fn new_conn(&mut self, host: u32, link: LinkId, to: u32, round_trip: u64) -> u32 {
        let credit = self.config.send_queue;
        let end = |host, link| End { host, link, up: false, closed: false, finish_pending: false };
        let flows = [Flow::new(round_trip, credit), Flow::new(round_trip, credit)];
        let ends = [end(host, link), end(to, LinkId(0))];
        let port = 32_768 + (self.dials % 28_000) as u16;
        match self.free.pop() {
            Some(index) => {
                let conn = &mut self.conns[index as usize];
                conn.ends = ends;
                conn.flows = flows;
                conn.port = port;
                conn.used = true;
                index * 2
            }
            None => self.conns.push(Conn { generation: 0, used: true, port, ends, flows }) * 2,
        }
    }

    /// Forgets a connection; events under way for it become void.
    fn free_conn(&mut self, index: u32) {
        for end in [index * 2, index * 2 + 1] {
            let (host, link) = (self.end(end).host, self.end(end).link);
            if self.hosts[host as usize].links.get(&link.0) == Some(&end) {
                self.hosts[host as usize].links.remove(&link.0);
            }
        }
        for flow in [index * 2, index * 2 + 1] {
            let (sender, receiver) = (self.end(flow).host, self.end(flow ^ 1).host);
            if self.flow(flow).active {
                self.hosts[sender as usize].up.active.retain(|&other| other != flow);
            }
            if self.flow(flow).is_waiting() {
                self.hosts[receiver as usize].down.active.retain(|&other| other != flow);
            }
        }
        let conn = &mut self.conns[index as usize];
        conn.used = false;
        conn.generation = conn.generation.wrapping_add(1);
        for flow in &mut conn.flows {
            *flow = Flow::new(0, 0);
        }
        self.free.push(index);
    }

    pub(super) fn on_opened(
        &mut self,
        now: u64,
        end: u32,
        queue: &mut Queue<Event>,
        arrivals: &mut Vec<(u32, Arrival)>,
    ) {
        let (host, peer) = (self.end(end).host, self.end(end ^ 1).host);
        let port = self.conns[(end >> 1) as usize].port;
        let mut remote = address_of(peer);
        if end & 1 == 1 {
            if !self.hosts[host as usize].online {
                // It went away during the handshake: the dialer's link ends as soon as it began.
                self.end_mut(end).closed = true;
                self.finish(now, end, queue);
                return;
            }
            let link = LinkId(self.hosts[host as usize].next_accepted);
            self.hosts[host as usize].next_accepted += 2;
            self.hosts[host as usize].links.insert(link.0, end);
            self.end_mut(end).link = link;
            remote.set_port(port);
        }
        self.end_mut(end).up = true;
        let link = self.end(end).link;
        arrivals.push((host, Arrival::Up { link, remote, peer }));
    }

    /// Closes a link from its node's side: what was said before still goes out. Answered by [`Arrival::Down`] with
    /// `reason`. False for a link that is not known.
    pub fn close(
        &mut self,
        now: u64,
        host: u32,
        link: LinkId,
        reason: CloseReason,
        queue: &mut Queue<Event>,
    ) -> bool {
        let Some(end) = self.end_of(host, link) else {
            // A dial that is going to fail: it fails now, and only once.
            let refused = self.hosts[host as usize].closing.iter_mut().find(|item| item.0 == link);
            if let Some(entry) = refused {
                entry.1 = reason;
                queue.push(now, Event::Net(NetEvent::Closed { host, link }));
                return true;
            }
            return false;
        };
        if self.end(end).closed {
            return false;
        }
        self.end_mut(end).closed = true;
        self.hosts[host as usize].closing.push((link, reason));
        queue.push(now, Event::Net(NetEvent::Closed { host, link }));
        if !self.end(end).up {
            self.free_conn(end >> 1);
        } else if self.flow(end).pending() == 0 {
            self.finish(now, end, queue);
        }
        true
    }

    /// Lets the other end know that `end` has said its last word.
    pub(super) fn finish(&mut self, now: u64, end: u32, queue: &mut Queue<Event>) {
        let (host, peer) = (self.end(end).host, self.end(end ^ 1).host);
        let mut at = now + self.config.latency.one_way_ns(host, peer);
        if let Some(until) = self.parted_until(host, peer, now) {
            at = until + self.round_trip_ns(host, peer);
        }
        let flow = self.flow_mut(end);
        at = at.max(flow.last_arrival);
        flow.last_arrival = at;
        let generation = self.generation(end);
        queue.push(at, Event::Net(NetEvent::Finished { end: end ^ 1, generation }));
        self.hosts[host as usize].interface.wire_out += BARE_SEGMENT;
        self.hosts[peer as usize].interface.wire_in += BARE_SEGMENT;
    }

    pub(super) fn on_finished(&mut self, end: u32, arrivals: &mut Vec<(u32, Arrival)>) {
        let incoming = self.flow(end ^ 1);
        if incoming.delivered < incoming.launched && self.hosts_answer(end) {
            self.end_mut(end).finish_pending = true;
            return;
        }
        let (host, link) = (self.end(end).host, self.end(end).link);
        if !self.end(end).closed && self.end(end).up {
            arrivals.push((host, Arrival::Down { link, reason: CloseReason::Remote }));
        } else if !self.end(end).closed {
            // The dialer has not heard that it was accepted: its dial fails instead.
            arrivals.push((host, Arrival::Down { link, reason: CloseReason::Unreachable }));
        }
        self.free_conn(end >> 1);
    }

    /// Bytes that wait at a port will be passed on: neither end fell silent.
    fn hosts_answer(&self, end: u32) -> bool {
        [end, end ^ 1].iter().all(|&end| {
            let host = &self.hosts[self.end(end).host as usize];
            host.online || !host.silent
        })
    }

    pub(super) fn on_closed(&mut self, host: u32, link: LinkId, out: &mut Vec<(u32, Arrival)>) {
        let closing = &mut self.hosts[host as usize].closing;
        let Some(place) = closing.iter().position(|item| item.0 == link) else { return };
        let (_, reason) = closing.swap_remove(place);
        if self.hosts[host as usize].online {
            out.push((host, Arrival::Down { link, reason }));
        }
    }

    /// A host's process ends: its connections with it. `silent`: the machine itself is gone, nobody is told, what it had
    /// not sent is lost and its peers find out by waiting. Otherwise its system resets the connections.
    pub fn leave(&mut self, now: u64, host: u32, silent: bool, queue: &mut Queue<Event>) {
        let state = &mut self.hosts[host as usize];
        state.online = false;
        state.silent = silent;
        state.closing.clear();
        let mut ends: Vec<u32> = state.links.values().copied().collect();
        ends.sort_unstable();
        for end in ends {
            let unsent = self.flow(end).pending() > 0;
            self.flow_mut(end).discard_unsent();
            let already = std::mem::replace(&mut self.end_mut(end).closed, true);
            if silent {
                let generation = self.generation(end);
                let at = now + SILENCE_NS;
                queue.push(at, Event::Net(NetEvent::Finished { end: end ^ 1, generation }));
            } else if !self.end(end).up {
                self.free_conn(end >> 1);
            } else if !already || unsent {
                self.finish(now, end, queue);
            }
        }
        self.hosts[host as usize].links.clear();
    }

    /// A host comes back with a new process and no connections.
    pub fn join(&mut self, host: u32) {
        let host = &mut self.hosts[host as usize];
        host.online = true;
        host.silent = false;
    }

    /// Sends a datagram from a port of `host`.
    pub fn send_datagram(
        &mut self,
        now: u64,
        host: u32,
        ports: (u16, SocketAddr),
        sized: (u64, Packet),
        queue: &mut Queue<Event>,
    ) {
        let (from_port, remote) = ports;
        let (bytes, packet) = sized;
        let wire = bytes + DATAGRAM_HEADER;
        let state = &mut self.hosts[host as usize];
        state.up.insert(now, wire);
        let sending = state.up.time(wire);
        state.interface.wire_out += wire;
        state.interface.payload_out += bytes;
        state.interface.control_out += bytes;
        let Some(to) = host_of(remote).filter(|&to| (to as usize) < self.hosts.len()) else {
            return;
        };
        let lost = self.rng.below(1 << 32) >= self.survive[1];
        if lost || self.parted_until(host, to, now).is_some() {
            return;
        }
        let at = now + sending + self.delay(host, to);
        let mut from = address_of(host);
        from.set_port(from_port);
        let item = Datagram { from, to, port: remote.port(), bytes, packet: Some(packet) };
        let slot = match self.free_datagrams.pop() {
            Some(slot) => {
                self.datagrams[slot as usize] = item;
                slot
            }
            None => {
                self.datagrams.push(item);
                self.datagrams.len() as u32 - 1
            }
        };
        queue.push(at, Event::Net(NetEvent::Datagram(slot)));
    }

    pub(super) fn on_datagram(&mut self, now: u64, slot: u32, out: &mut Vec<(u32, Arrival)>) {
        let item = &mut self.datagrams[slot as usize];
        let Some(packet) = item.packet.take() else { return };
        let (from, to, port, bytes) = (item.from, item.to, item.port, item.bytes);
        self.free_datagrams.push(slot);
        let host = &mut self.hosts[to as usize];
        host.interface.wire_in += bytes + DATAGRAM_HEADER;
        host.interface.payload_in += bytes;
        host.down.insert(now, bytes + DATAGRAM_HEADER);
        out.push((to, Arrival::Datagram { from, port, packet }));
    }
}
