//! The bytes face of a node: [`Stack`] is a [`Node`] behind the codecs of `shoal-wire`.
//!
//! **Does**: turns bytes of links and datagrams into messages, one turn of the node each, and what the node sends into
//! bytes. Knows of a link only whether its handshake was taken, which ids its extensions have, and whether it is closing.
//! **Refuses**: partial frames (the world keeps them, [`whole_frames`] tells where they begin) and decisions: the one it
//! takes is to close a link whose bytes make no sense. Then the node is told [`Input::LinkDown`] at once, the world gets
//! [`StackEffect::Close`], and the world's own `LinkDown` that follows is not told a second time.
//!
//! What one input makes the node say on one link is written as one part as far as it is small; film bytes are parts of
//! their own and never copied.
//!
//! [`whole_frames`]: shoal_wire::peer::whole_frames

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use bytes::{Bytes, BytesMut};
use core::net::SocketAddr;

use hashbrown::HashMap;
use shoal_wire::lsd::{LOCAL_GROUP_V4, LOCAL_GROUP_V6};
use shoal_wire::peer::{Decoded, Extended, ExtensionIds, Message, decode, encode_prefix};
use shoal_wire::tracker::UdpTracker;

use crate::config::Config;
use crate::config::limits::{WRITE_BUFFER, WRITE_ROOM_MIN};
use crate::io::{
    CloseReason, Command, Effect, Event, Input, Job, LocalAnnounce, Machine, Outcome, Packet,
};
use crate::link::{LinkId, Ticket};
use crate::node::Node;
use crate::rng::Seed;
use crate::time::Instant;

/// Which of our UDP sockets a datagram came by or leaves by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Socket {
    /// The ordinary one: trackers.
    Peer,
    /// The one that joined the groups of local discovery.
    Local,
}

/// What can happen to a node, as bytes. See [`Input`] for all that is not said here.
#[derive(Clone, Debug)]
pub enum StackInput {
    /// Time has come for the node's own plans.
    Wake,
    /// What the wall clock shows.
    Clock {
        /// Unix time, milliseconds.
        unix_ms: u64,
    },
    /// The owner of the node wants something.
    Command(Command),
    /// A link is open.
    LinkUp {
        /// The link.
        link: LinkId,
        /// Address of the other end.
        remote: SocketAddr,
    },
    /// A link is gone.
    LinkDown {
        /// The link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// Bytes arrived on a link: one or several whole frames.
    Bytes {
        /// The link.
        link: LinkId,
        /// The frames. Film bytes are not copied out of them.
        bytes: Bytes,
    },
    /// The transport of a link can take this many more film bytes.
    Credit {
        /// The link.
        link: LinkId,
        /// Film bytes, on top of what is left.
        bytes: u32,
        /// Film bytes that it passed on since it last told.
        passed: u32,
    },
    /// A datagram arrived.
    Datagram {
        /// Where.
        socket: Socket,
        /// Its sender.
        remote: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// A job is done.
    Done {
        /// Which.
        ticket: Ticket,
        /// How it ended.
        outcome: Outcome,
    },
}

/// What a node wants done, as bytes. See [`Effect`] for all that is not said here.
#[derive(Clone, Debug)]
pub enum StackEffect {
    /// Open a link.
    Dial {
        /// The new link.
        link: LinkId,
        /// Where to.
        remote: SocketAddr,
    },
    /// Close a link after what was written on it has been given to the transport.
    Close {
        /// The link.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// The next bytes of a link, at least one.
    Write {
        /// The link.
        link: LinkId,
        /// The bytes.
        bytes: Bytes,
        /// Film bytes, all of them: they spend the link's credit. Else small messages, which do not.
        film: bool,
    },
    /// Send a datagram. A local announcement leaves as two, one to each group.
    Datagram {
        /// By which socket.
        socket: Socket,
        /// Its receiver.
        remote: SocketAddr,
        /// All of it.
        bytes: Bytes,
    },
    /// Do something slow.
    Submit {
        /// Names the job.
        ticket: Ticket,
        /// The job.
        job: Box<Job>,
    },
    /// Tell the owner.
    Tell(Event),
}

const _: () = assert!(size_of::<StackInput>() <= 80 && size_of::<StackEffect>() <= 80);

/// What the codec must know of a link.
#[derive(Debug, Default)]
struct Link {
    /// The remote's handshake was taken.
    handshaken: bool,
    /// Somebody closed it: what still arrives is not read.
    closing: bool,
    /// The node was already told that it is down.
    node_knows: bool,
    /// Under which ids the remote wants its extended messages.
    remote_ids: ExtensionIds,
    /// Small messages of this step that were not handed over yet.
    out: BytesMut,
}

/// A whole peer that speaks bytes. See the module's page.
#[derive(Debug)]
pub struct Stack {
    node: Node,
    links: HashMap<LinkId, Link, crate::swarm::BuildHash>,
    /// Links with something in `out`, in the order in which it began.
    unwritten: Vec<LinkId>,
    /// What the node wants, on its way to bytes.
    scratch: Vec<Effect>,
}

impl Stack {
    /// A stack around a new node without titles: see [`Node::new`].
    #[must_use]
    pub fn new(config: Arc<Config>, seed: Seed, now: Instant) -> Self {
        Self {
            node: Node::new(config, seed, now),
            links: HashMap::default(),
            unwritten: Vec::new(),
            scratch: Vec::new(),
        }
    }
    /// The node inside.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// One turn of the node, its effects turned into ours.
    fn turn(&mut self, now: Instant, input: Input, effects: &mut Vec<StackEffect>) {
        let mut scratch = core::mem::take(&mut self.scratch);
        self.node.step(now, input, &mut scratch);
        for effect in scratch.drain(..) {
            self.translate(effect, effects);
        }
        self.scratch = scratch;
    }

    fn translate(&mut self, effect: Effect, effects: &mut Vec<StackEffect>) {
        let effect = match effect {
            Effect::Send { link, message } => return self.send(link, &message, effects),
            Effect::Dial { link, remote } => StackEffect::Dial { link, remote },
            Effect::Close { link, reason } => {
                if let Some(state) = self.links.get_mut(&link) {
                    if core::mem::replace(&mut state.closing, true) {
                        return;
                    }
                    flush(link, state, effects);
                }
                StackEffect::Close { link, reason }
            }
            Effect::Packet { remote, packet: Packet::Tracker(request) } => {
                let ipv6 = remote.ip().to_canonical().is_ipv6();
                let bytes = request.encode(ipv6).into();
                StackEffect::Datagram { socket: Socket::Peer, remote, bytes }
            }
            Effect::Packet { remote: _, packet: Packet::LocalDiscovery(announce) } => {
                for remote in [LOCAL_GROUP_V4, LOCAL_GROUP_V6] {
                    let bytes = announce.format(remote).into();
                    effects.push(StackEffect::Datagram { socket: Socket::Local, remote, bytes });
                }
                return;
            }
            Effect::Submit { ticket, job } => StackEffect::Submit { ticket, job },
            Effect::Tell(event) => StackEffect::Tell(event),
        };
        effects.push(effect);
    }

    fn send(&mut self, link: LinkId, message: &Message, effects: &mut Vec<StackEffect>) {
        // A link that is not up any more takes nothing; the node hears of it in its next turn.
        let Some(state) = self.links.get_mut(&link).filter(|state| !state.closing) else { return };
        if state.out.is_empty() {
            if state.out.capacity() < WRITE_ROOM_MIN {
                state.out.reserve(WRITE_BUFFER);
            }
            self.unwritten.push(link);
        }
        if let Some(bytes) = encode_prefix(message, &state.remote_ids, &mut state.out) {
            flush(link, state, effects);
            if !bytes.is_empty() {
                effects.push(StackEffect::Write { link, bytes, film: true });
            }
        }
    }

    /// Hands over what was gathered on all links.
    fn flush_all(&mut self, effects: &mut Vec<StackEffect>) {
        for link in self.unwritten.drain(..) {
            if let Some(state) = self.links.get_mut(&link) {
                flush(link, state, effects);
            }
        }
    }

    fn on_bytes(
        &mut self,
        now: Instant,
        link: LinkId,
        mut bytes: Bytes,
        effects: &mut Vec<StackEffect>,
    ) {
        while !bytes.is_empty() {
            let Some(state) = self.links.get_mut(&link).filter(|state| !state.closing) else {
                return;
            };
            match decode(&mut bytes, state.handshaken) {
                Ok(Decoded::Message(message)) => {
                    state.handshaken = true;
                    learn_ids(state, &message);
                    self.turn(now, Input::Message { link, message }, effects);
                }
                Ok(Decoded::Incomplete { .. }) if bytes.is_empty() => return,
                Ok(Decoded::Incomplete { .. }) => {
                    return self.refuse(now, link, "half a message", effects);
                }
                Err(error) => return self.refuse(now, link, error.what, effects),
            }
        }
    }

    /// Closes a link whose bytes make no sense.
    fn refuse(
        &mut self,
        now: Instant,
        link: LinkId,
        what: &'static str,
        effects: &mut Vec<StackEffect>,
    ) {
        let reason = CloseReason::Protocol(what);
        if let Some(state) = self.links.get_mut(&link) {
            state.closing = true;
            state.node_knows = true;
            flush(link, state, effects);
        }
        effects.push(StackEffect::Close { link, reason });
        self.turn(now, Input::LinkDown { link, reason }, effects);
    }

    fn on_link_down(
        &mut self,
        now: Instant,
        link: LinkId,
        reason: CloseReason,
        effects: &mut Vec<StackEffect>,
    ) {
        let state = self.links.remove(&link);
        if !state.is_some_and(|state| state.node_knows) {
            self.turn(now, Input::LinkDown { link, reason }, effects);
        }
    }
}

/// Hands over the small messages that were gathered on a link.
fn flush(link: LinkId, state: &mut Link, effects: &mut Vec<StackEffect>) {
    if !state.out.is_empty() {
        effects.push(StackEffect::Write { link, bytes: state.out.split().freeze(), film: false });
    }
}

/// Remembers the ids of a BEP 10 handshake. A later one that names none changes something else.
fn learn_ids(state: &mut Link, message: &Message) {
    if let Message::Extended(extended) = message
        && let Extended::Handshake(handshake) = &**extended
        && handshake.ids != ExtensionIds::default()
    {
        state.remote_ids = handshake.ids;
    }
}

/// What a datagram says to a node; `None` for what is not meant for it.
fn packet_of(socket: Socket, remote: SocketAddr, bytes: &[u8]) -> Option<Packet> {
    match socket {
        Socket::Peer => {
            let ipv6 = remote.ip().to_canonical().is_ipv6();
            UdpTracker::decode_answer(bytes, ipv6).ok().map(|answer| Packet::Tracker(answer.into()))
        }
        Socket::Local => LocalAnnounce::parse(bytes).ok().map(Packet::LocalDiscovery),
    }
}

impl Machine for Stack {
    type Input = StackInput;
    type Effect = StackEffect;

    fn step(&mut self, now: Instant, input: StackInput, effects: &mut Vec<StackEffect>) {
        let input = match input {
            StackInput::Bytes { link, bytes } => {
                self.on_bytes(now, link, bytes, effects);
                return self.flush_all(effects);
            }
            StackInput::LinkDown { link, reason } => {
                self.on_link_down(now, link, reason, effects);
                return self.flush_all(effects);
            }
            StackInput::Datagram { socket, remote, bytes } => {
                let Some(packet) = packet_of(socket, remote, &bytes) else { return };
                Input::Packet { remote, packet }
            }
            StackInput::LinkUp { link, remote } => {
                self.links.insert(link, Link::default());
                Input::LinkUp { link, remote }
            }
            StackInput::Wake => Input::Wake,
            StackInput::Clock { unix_ms } => Input::Clock { unix_ms },
            StackInput::Command(command) => Input::Command(command),
            StackInput::Credit { link, bytes, passed } => Input::Credit { link, bytes, passed },
            StackInput::Done { ticket, outcome } => Input::Done { ticket, outcome },
        };
        self.turn(now, input, effects);
        self.flush_all(effects);
    }

    fn deadline(&self) -> Option<Instant> {
        self.node.deadline()
    }
}

#[cfg(test)]
#[path = "stack_tests.rs"]
mod tests;
