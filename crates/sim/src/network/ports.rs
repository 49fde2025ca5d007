//! The passing of bytes through ports, and what happens to them between two ports.

use shoal_node::link::LinkId;
use shoal_wire::peer::Message;

use super::flow::{CHUNK_GOOD, HEADER, SEGMENT, ack_len, wire_len};
use super::{Arrival, CREDIT_STEP, NetEvent, Network};
use crate::queue::Queue;
use crate::world::Event;

/// Messages that fit this many stream bytes pass between the segments of other flows' chunks.
const EXPRESS: u64 = 2 * SEGMENT;

impl Network {
    /// Says `message` on a link; it leaves after the turn, with everything else said on that link in it. False when the
    /// link is not open.
    pub fn offer(&mut self, host: u32, link: LinkId, message: Message) -> bool {
        let Some(end) = self.end_of(host, link) else { return false };
        if self.end(end).closed || !self.end(end).up {
            return false;
        }
        let before = self.flow(end).pending();
        self.flow_mut(end).offer(message);
        if before == 0 {
            self.touched.push(end);
        }
        true
    }

    /// Starts what was offered since the last flush.
    pub fn flush(&mut self, now: u64, queue: &mut Queue<Event>, out: &mut Vec<(u32, Arrival)>) {
        for index in 0..self.touched.len() {
            let flow = self.touched[index];
            self.wake_flow(now, flow, queue, out);
        }
        self.touched.clear();
    }

    /// Takes one event; what nodes must be told is appended to `out`.
    pub fn on_event(
        &mut self,
        now: u64,
        event: NetEvent,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        match event {
            NetEvent::UpTurn(host) => {
                self.hosts[host as usize].up.turn_planned = false;
                self.turn_up(now, host, queue, out);
            }
            NetEvent::DownTurn(host) => self.turn_down(now, host, queue, out),
            NetEvent::Chunk { flow, generation, bytes } if self.is_current(flow, generation) => {
                self.on_chunk(now, flow, u64::from(bytes), queue, out);
            }
            NetEvent::Ready { flow, generation } if self.is_current(flow, generation) => {
                if self.flow(flow).blocked {
                    self.flow_mut(flow).blocked = false;
                    self.wake_flow(now, flow, queue, out);
                }
            }
            NetEvent::Passed { flow, generation, bytes } if self.is_current(flow, generation) => {
                let end = self.end(flow);
                if !end.closed {
                    out.push((end.host, Arrival::Passed { link: end.link, bytes }));
                }
            }
            NetEvent::Opened { end, generation } if self.is_current(end, generation) => {
                self.on_opened(now, end, queue, out);
            }
            NetEvent::Finished { end, generation } if self.is_current(end, generation) => {
                self.on_finished(end, out);
            }
            NetEvent::Closed { host, link } => self.on_closed(host, link, out),
            NetEvent::Datagram(slot) => self.on_datagram(now, slot, out),
            NetEvent::Chunk { .. }
            | NetEvent::Ready { .. }
            | NetEvent::Passed { .. }
            | NetEvent::Opened { .. }
            | NetEvent::Finished { .. } => {}
        }
    }

    /// A flow has something to send: at once if it is little, else in its turn.
    fn wake_flow(
        &mut self,
        now: u64,
        flow: u32,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        let host = self.end(flow).host;
        let state = self.flow_mut(flow);
        let pending = state.pending();
        if pending == 0 || state.active || state.blocked {
            return;
        }
        let port = &self.hosts[host as usize].up;
        let backlog = port.free_at.saturating_sub(now);
        if backlog > 0 && pending <= EXPRESS && backlog <= port.time(3 * CHUNK_GOOD) {
            let state = self.flow_mut(flow);
            state.refresh(now);
            if state.next_chunk() == pending {
                let port = &mut self.hosts[host as usize].up;
                let leave = now + port.time(wire_len(pending));
                port.insert(now, wire_len(pending));
                self.launch(now, flow, pending, leave, queue, out);
                return;
            }
        }
        self.flow_mut(flow).active = true;
        self.flow_mut(flow).deficit = 0;
        self.hosts[host as usize].up.active.push_back(flow);
        self.turn_up(now, host, queue, out);
    }

    /// Passes chunks while the port is free.
    fn turn_up(
        &mut self,
        now: u64,
        host: u32,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        loop {
            let port = &mut self.hosts[host as usize].up;
            if port.free_at > now {
                if !port.turn_planned && !port.active.is_empty() {
                    port.turn_planned = true;
                    queue.push(port.free_at, Event::Net(NetEvent::UpTurn(host)));
                }
                return;
            }
            let Some(flow) = port.active.pop_front() else { return };
            let state = self.flow_mut(flow);
            state.refresh(now);
            let bytes = if state.pending() == 0 { 0 } else { state.next_chunk() };
            if bytes == 0 {
                state.active = false;
                if state.pending() > 0 {
                    self.block(now, flow, queue);
                }
                continue;
            }
            state.deficit += CHUNK_GOOD as i64;
            let short = state.deficit < bytes as i64;
            if short && !self.hosts[host as usize].up.active.is_empty() {
                self.hosts[host as usize].up.active.push_back(flow);
                continue;
            }
            let state = self.flow_mut(flow);
            state.deficit = (state.deficit - bytes as i64).min(CHUNK_GOOD as i64);
            let wire = wire_len(bytes);
            let port = &mut self.hosts[host as usize].up;
            let leave = now + port.time(wire);
            port.free_at = leave;
            self.launch(now, flow, bytes, leave, queue, out);
            let state = self.flow_mut(flow);
            state.active = state.pending() > 0;
            if state.active {
                self.hosts[host as usize].up.active.push_back(flow);
            }
        }
    }

    /// The window is full: wait for an acknowledgement.
    fn block(&mut self, now: u64, flow: u32, queue: &mut Queue<Event>) {
        let generation = self.generation(flow);
        let state = self.flow_mut(flow);
        state.blocked = true;
        if let Some(at) = state.next_ack() {
            queue.push(at.max(now), Event::Net(NetEvent::Ready { flow, generation }));
        }
    }

    /// Bytes of a flow leave its host completely at `leave`.
    fn launch(
        &mut self,
        now: u64,
        flow: u32,
        bytes: u64,
        leave: u64,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        let (host, peer) = (self.end(flow).host, self.end(flow ^ 1).host);
        let sent = self.flow_mut(flow).launch(now, bytes);
        let interface = &mut self.hosts[host as usize].interface;
        interface.wire_out += wire_len(bytes);
        interface.payload_out += bytes;
        interface.film_out += sent.film;
        interface.control_out += sent.control;
        interface.messages_out += sent.messages;
        let mut at = leave + self.delay(host, peer);
        let segments = bytes.div_ceil(SEGMENT).min(16) as usize;
        if self.survive[segments] < 1 << 32 && self.rng.below(1 << 32) >= self.survive[segments] {
            at += self.lose(now, flow);
        }
        if let Some(until) = self.parted_until(host, peer, now) {
            let round_trip = self.round_trip_ns(host, peer);
            at = at.max(until + round_trip + self.rng.below(super::flow::TIMEOUT_LEAST_NS));
        }
        let generation = self.generation(flow);
        let state = self.flow_mut(flow);
        at = at.max(state.last_arrival);
        state.last_arrival = at;
        queue.push(at, Event::Net(NetEvent::Chunk { flow, generation, bytes: bytes as u32 }));
        let end = self.end(flow);
        if end.closed {
            if self.flow(flow).pending() == 0 {
                self.finish(now, flow, queue);
            }
            return;
        }
        let link = end.link;
        let state = self.flow_mut(flow);
        if state.credit_owed >= CREDIT_STEP || (state.credit_owed > 0 && state.pending() == 0) {
            let bytes = core::mem::take(&mut state.credit_owed);
            state.credit += i64::from(bytes);
            out.push((host, Arrival::Credit { link, bytes }));
        }
    }

    /// A segment was lost and is sent again; returns how much later it arrives.
    fn lose(&mut self, now: u64, flow: u32) -> u64 {
        let host = self.end(flow).host;
        let state = self.flow_mut(flow);
        // With more behind it the receiver's repeats tell within a round trip; a tail waits for the sender's probe.
        let late = if state.pending() > 0 { state.round_trip } else { 2 * state.round_trip };
        state.on_loss();
        let host = &mut self.hosts[host as usize];
        host.up.insert(now, SEGMENT + HEADER);
        host.interface.wire_out += SEGMENT + HEADER;
        host.interface.retransmitted += 1;
        late + 10_000_000
    }

    /// A chunk is at the receiver's port.
    fn on_chunk(
        &mut self,
        now: u64,
        flow: u32,
        bytes: u64,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        let host = self.end(flow ^ 1).host;
        let sender = self.end(flow).host;
        if !self.hosts[host as usize].online && self.hosts[host as usize].silent {
            return;
        }
        let wire = wire_len(bytes);
        let sending = self.hosts[sender as usize].up.time(wire);
        let state = &mut self.hosts[host as usize];
        state.interface.wire_in += wire;
        state.interface.payload_in += bytes;
        // The chunk has been coming in since its first byte left: only what the port could not pass meanwhile is late.
        let passed = state.down.free_at.max(now.saturating_sub(sending)) + state.down.time(wire);
        if state.passing.is_none() && passed <= now {
            state.down.free_at = passed;
            self.deliver(now, flow, bytes, 0, queue, out);
            return;
        }
        if state.passing.is_none() {
            state.down.free_at = passed;
            let generation = self.generation(flow);
            self.hosts[host as usize].passing = Some((flow, generation, bytes, now));
            queue.push(passed, Event::Net(NetEvent::DownTurn(host)));
            return;
        }
        if self.flow_mut(flow).wait(bytes, now) {
            self.hosts[host as usize].down.active.push_back(flow);
        }
    }

    /// The down port has passed a chunk and takes the next.
    fn turn_down(
        &mut self,
        now: u64,
        host: u32,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        if self.hosts[host as usize].down.free_at > now {
            // Acknowledgements and datagrams passed between its segments.
            let at = self.hosts[host as usize].down.free_at;
            queue.push(at, Event::Net(NetEvent::DownTurn(host)));
            return;
        }
        let Some((flow, generation, bytes, since)) = self.hosts[host as usize].passing.take()
        else {
            return;
        };
        while let Some(next) = self.hosts[host as usize].down.active.pop_front() {
            // A freed connection has lost its chunks; a new one in its place may belong to another host.
            if self.end(next ^ 1).host != host {
                continue;
            }
            let state = self.flow_mut(next);
            let (length, arrived) = match state.take_turn() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => continue,
                Err(()) => {
                    self.hosts[host as usize].down.active.push_back(next);
                    continue;
                }
            };
            let more = state.is_waiting();
            let next_generation = self.generation(next);
            let port = &mut self.hosts[host as usize].down;
            if more {
                port.active.push_back(next);
            }
            port.free_at = now + port.time(wire_len(length));
            queue.push(port.free_at, Event::Net(NetEvent::DownTurn(host)));
            self.hosts[host as usize].passing = Some((next, next_generation, length, arrived));
            break;
        }
        if self.is_current(flow, generation) {
            self.deliver(now, flow, bytes, now - since, queue, out);
        }
    }

    /// Bytes reach the other end's socket.
    fn deliver(
        &mut self,
        now: u64,
        flow: u32,
        bytes: u64,
        queued_ns: u64,
        queue: &mut Queue<Event>,
        out: &mut Vec<(u32, Arrival)>,
    ) {
        let (sender, receiver) = (self.end(flow).host, self.end(flow ^ 1).host);
        let back = self.delay(receiver, sender);
        let ack = ack_len(bytes);
        let host = &mut self.hosts[receiver as usize];
        host.up.insert(now, ack);
        host.interface.wire_out += ack;
        let host = &mut self.hosts[sender as usize];
        host.interface.wire_in += ack;
        host.down.insert(now, ack);
        let generation = self.generation(flow);
        let state = self.flow_mut(flow);
        state.on_delivered(bytes, queued_ns, now + back);
        if state.blocked
            && let Some(at) = state.next_ack()
        {
            queue.push(at.max(now), Event::Net(NetEvent::Ready { flow, generation }));
        }
        let end = self.end(flow ^ 1);
        let (link, closed, finish) = (end.link, end.closed, end.finish_pending);
        let state = self.flow_mut(flow);
        let mut film = 0;
        while let Some(message) = state.take_arrived() {
            if let Message::Piece { data, .. } = &message {
                film += data.len() as u32;
            }
            if !closed {
                out.push((receiver, Arrival::Message { link, message, peer: sender }));
            }
        }
        if finish && state.delivered == state.launched {
            self.on_finished(flow ^ 1, out);
        }
        if film > 0 {
            let passed = NetEvent::Passed { flow, generation, bytes: film };
            queue.push(now + back, Event::Net(passed));
        }
    }
}
