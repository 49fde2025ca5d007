//! Where the tasks of the network thread leave what happened, for the engine to take in order.
//!
//! One thread only. Bounded by bytes: who reads a socket waits in [`Inbox::room`] while too much is unread; the rest is
//! bounded by the number of links and jobs.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::config::{INBOX_BYTES_MAX, INBOX_DATAGRAMS_MAX};
use bytes::Bytes;
use shoal_node::io::{CloseReason, Outcome};
use shoal_node::link::{LinkId, Ticket};
use shoal_node::stack::Socket;
use tokio::net::TcpStream;
use tokio::sync::Notify;

/// Something that happened outside the node.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A dial succeeded.
    Dialed { link: LinkId, stream: TcpStream },
    /// A remote opened a link.
    Accepted { stream: TcpStream },
    /// Whole frames of a link.
    Bytes { link: LinkId, bytes: Bytes },
    /// The kernel took bytes of a link that was blocked.
    Sent { link: LinkId },
    /// A link is gone, or a dial failed.
    Down { link: LinkId, reason: CloseReason },
    /// A datagram.
    Datagram { socket: Socket, remote: SocketAddr, bytes: Bytes },
    /// A network job is done.
    Done { ticket: Ticket, outcome: Outcome },
    /// Time to look whether our addresses are still ours; `moved` when another network is known to be there.
    Look { moved: bool },
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: RefCell<VecDeque<Arrival>>,
    bytes: Cell<usize>,
    datagrams: Cell<usize>,
    arrived: Notify,
    drained: Notify,
}

impl Inbox {
    pub(crate) fn push(&self, arrival: Arrival) {
        match &arrival {
            Arrival::Bytes { bytes, .. } => self.bytes.set(self.bytes.get() + bytes.len()),
            Arrival::Datagram { .. } if self.datagrams.get() >= INBOX_DATAGRAMS_MAX => return,
            Arrival::Datagram { .. } => self.datagrams.set(self.datagrams.get() + 1),
            _ => {}
        }
        self.queue.borrow_mut().push_back(arrival);
        self.arrived.notify_one();
    }
    pub(crate) fn pop(&self) -> Option<Arrival> {
        let arrival = self.queue.borrow_mut().pop_front()?;
        match &arrival {
            Arrival::Bytes { bytes, .. } => {
                let before = self.bytes.get();
                let after = before - bytes.len();
                self.bytes.set(after);
                if before >= INBOX_BYTES_MAX && after < INBOX_BYTES_MAX {
                    self.drained.notify_waiters();
                }
            }
            Arrival::Datagram { .. } => self.datagrams.set(self.datagrams.get() - 1),
            _ => {}
        }
        Some(arrival)
    }
    /// Ends when something arrived since it was last awaited.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
    /// Ends when there is room for more bytes.
    pub(crate) async fn room(&self) {
        while self.bytes.get() >= INBOX_BYTES_MAX {
            self.drained.notified().await;
        }
    }
}
