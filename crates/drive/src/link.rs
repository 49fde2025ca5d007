//! One TCP link: a task that reads frames into shared chunks, a task that writes what the kernel did not take at once.
//!
//! Film bytes are never copied between the socket's read and the disk's write: a read goes into a large chunk behind the
//! partial frame that was left there, and whole frames are split off it.

use std::cell::{Cell, RefCell};
use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use shoal_node::io::CloseReason;
use shoal_node::link::LinkId;
use shoal_wire::peer::whole_frames;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::buffers::Chunks;
use crate::config::{
    LINK_CONNECT_TIMEOUT, LINK_IDLE, LINK_LINGER, LINK_PROBE_AFTER, LINK_PROBE_EVERY,
    LINK_ROOM_MIN, LINK_ROOM_SMALL, LINK_UNCONFIRMED, OUTBOX_PARTS_MAX,
};
use crate::inbox::{Arrival, Inbox};
use crate::outbox::{Grant, Outbox};
use crate::throttle::Throttle;
use crate::unacked::unacked;

/// What all links of a network thread share.
#[derive(Debug)]
pub(crate) struct Commons {
    pub(crate) inbox: Inbox,
    pub(crate) chunks: RefCell<Chunks>,
    pub(crate) throttle: Throttle,
}

impl Commons {
    pub(crate) fn new() -> Self {
        Self { inbox: Inbox::default(), chunks: RefCell::default(), throttle: Throttle::new() }
    }
}

/// An open link, as the engine and its writer task see it.
#[derive(Debug)]
pub(crate) struct Link {
    id: LinkId,
    remote: SocketAddr,
    socket: OwnedWriteHalf,
    outbox: RefCell<Outbox>,
    /// The writer task waits for the socket: nobody else writes.
    blocked: Cell<bool>,
    /// In the engine's list of links to flush.
    pub(crate) dirty: Cell<bool>,
    /// In the engine's list of links to look at.
    pub(crate) watched: Cell<bool>,
    closing: Cell<bool>,
    wake_writer: Notify,
    /// Less is unsent than when the reader task stopped.
    drained: Notify,
    reader: RefCell<Option<AbortHandle>>,
}

/// Lets the system find out that the other end is gone: BitTorrent itself notices after minutes of silence.
fn watch_over(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let probes =
        socket2::TcpKeepalive::new().with_time(LINK_PROBE_AFTER).with_interval(LINK_PROBE_EVERY);
    // Without these options a dead link is noticed later; nothing else changes.
    let _ = socket.set_tcp_keepalive(&probes.with_retries(3));
    let _ = socket.set_tcp_user_timeout(Some(LINK_UNCONFIRMED));
}

/// Dials `remote` and reports how it went.
pub(crate) async fn dial(link: LinkId, remote: SocketAddr, commons: Rc<Commons>) {
    let attempt = async {
        let socket = match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.connect(remote).await
    };
    let arrival = match tokio::time::timeout(LINK_CONNECT_TIMEOUT, attempt).await {
        Ok(Ok(stream)) => Arrival::Dialed { link, stream },
        Ok(Err(_)) | Err(_) => Arrival::Down { link, reason: CloseReason::Unreachable },
    };
    commons.inbox.push(arrival);
}

impl Link {
    /// Starts the tasks of an open link on the current thread.
    pub(crate) fn start(
        id: LinkId,
        remote: SocketAddr,
        stream: TcpStream,
        commons: &Rc<Commons>,
    ) -> Rc<Self> {
        // Requests must not wait for more of them; without it a link is slow, not broken.
        let _ = stream.set_nodelay(true);
        watch_over(&stream);
        let (read, socket) = stream.into_split();
        let link = Rc::new(Self {
            id,
            remote,
            socket,
            outbox: RefCell::new(Outbox::new()),
            blocked: Cell::new(false),
            dirty: Cell::new(false),
            watched: Cell::new(false),
            closing: Cell::new(false),
            wake_writer: Notify::new(),
            drained: Notify::new(),
            reader: RefCell::new(None),
        });
        link.set_low_water();
        let reader =
            tokio::task::spawn_local(read_link(Rc::clone(&link), read, Rc::clone(commons)));
        *link.reader.borrow_mut() = Some(reader.abort_handle());
        tokio::task::spawn_local(write_link(Rc::clone(&link), Rc::clone(commons)));
        link
    }
    pub(crate) fn id(&self) -> LinkId {
        self.id
    }
    pub(crate) fn remote(&self) -> SocketAddr {
        self.remote
    }
    /// Our end's address.
    pub(crate) fn local(&self) -> Option<IpAddr> {
        self.socket.local_addr().ok().map(|address| address.ip())
    }
    fn set_low_water(&self) {
        let stream: &TcpStream = self.socket.as_ref();
        let bytes = self.outbox.borrow().low_water();
        // A system without the option queues more; nothing else changes.
        let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(bytes);
    }
    /// Takes the node's next bytes.
    pub(crate) fn push(&self, bytes: Bytes, film: bool) {
        self.outbox.borrow_mut().push(bytes, film);
    }
    /// Gives the kernel what it takes now; the writer task gets the rest.
    ///
    /// # Errors
    /// The reason for which the link is down.
    pub(crate) fn flush(&self) -> Result<(), CloseReason> {
        if self.blocked.get() {
            return Ok(());
        }
        let done = self.write_some()?;
        if !done {
            self.blocked.set(true);
            self.wake_writer.notify_one();
        }
        Ok(())
    }
    /// Writes until the kernel takes no more; true when nothing is left.
    fn write_some(&self) -> Result<bool, CloseReason> {
        let mut outbox = self.outbox.borrow_mut();
        let done = loop {
            if outbox.is_empty() {
                break true;
            }
            let mut slices = [IoSlice::new(&[]); OUTBOX_PARTS_MAX];
            let count = outbox.slices(&mut slices);
            match self.socket.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(CloseReason::Remote),
                Ok(written) => outbox.sent(written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(CloseReason::Remote),
            }
        };
        let changed = outbox.adapt(Instant::now());
        if !outbox.is_clogged() {
            self.drained.notify_waiters();
        }
        drop(outbox);
        if changed {
            self.set_low_water();
        }
        Ok(done)
    }
    /// What to tell the node. Where the system does not say what was acknowledged, what it took has passed.
    pub(crate) fn grant(&self) -> Option<Grant> {
        let mut outbox = self.outbox.borrow_mut();
        let unacked = if outbox.is_travelling() { unacked(self.socket.as_ref()) } else { None };
        outbox.grant(unacked.unwrap_or(0))
    }
    /// Whether film was given to the system that is not known to have arrived.
    pub(crate) fn is_travelling(&self) -> bool {
        self.outbox.borrow().is_travelling()
    }
    /// Nothing is read any more; what was written is sent, for a while.
    pub(crate) fn close(&self) {
        self.closing.set(true);
        if let Some(reader) = self.reader.borrow_mut().take() {
            reader.abort();
        }
        self.wake_writer.notify_one();
    }
}

/// The writer task: works only while the kernel takes less than there is.
async fn write_link(link: Rc<Link>, commons: Rc<Commons>) {
    loop {
        if !link.blocked.get() {
            if link.closing.get() {
                // What was pushed after the last flush.
                match link.write_some() {
                    Ok(false) => link.blocked.set(true),
                    Ok(true) | Err(_) => return,
                }
            } else {
                link.wake_writer.notified().await;
            }
            continue;
        }
        let writable = link.socket.writable();
        let ready = if link.closing.get() {
            tokio::time::timeout(LINK_LINGER, writable)
                .await
                .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
        } else {
            tokio::select! {
                ready = writable => ready,
                () = link.wake_writer.notified() => continue,
            }
        };
        let written = match ready {
            Ok(()) => link.write_some(),
            Err(_) => Err(CloseReason::Remote),
        };
        match written {
            Ok(done) => link.blocked.set(!done),
            Err(_) if link.closing.get() => return,
            Err(reason) => {
                commons.inbox.push(Arrival::Down { link: link.id, reason });
                return;
            }
        }
        if !link.closing.get() {
            commons.inbox.push(Arrival::Sent { link: link.id });
        }
    }
}

/// The reader task.
async fn read_link(own: Rc<Link>, mut socket: OwnedReadHalf, commons: Rc<Commons>) {
    let link = own.id;
    let mut buffer = BytesMut::new();
    let mut handshaken = false;
    // Bytes of the frame that the buffer begins with.
    let mut need = 0;
    let reason = loop {
        while own.outbox.borrow().is_clogged() {
            own.drained.notified().await;
        }
        commons.inbox.room().await;
        let allowed = commons.throttle.admit().await;
        if buffer.is_empty() && tokio::time::timeout(LINK_IDLE, socket.readable()).await.is_err() {
            // An idle link holds no chunk.
            buffer = BytesMut::new();
            if socket.readable().await.is_err() {
                break CloseReason::Remote;
            }
        }
        make_room(&mut buffer, need, &commons.chunks);
        match socket.read_buf(&mut (&mut buffer).limit(allowed)).await {
            Ok(0) | Err(_) => break CloseReason::Remote,
            Ok(count) => commons.throttle.took(count),
        }
        match whole_frames(&buffer, handshaken) {
            Ok(framing) => {
                need = framing.need;
                if framing.whole > 0 {
                    handshaken = true;
                    let bytes = buffer.split_to(framing.whole).freeze();
                    commons.inbox.push(Arrival::Bytes { link, bytes });
                }
            }
            Err(error) => break CloseReason::Protocol(error.what),
        }
    };
    commons.inbox.push(Arrival::Down { link, reason });
}

/// Makes room behind the partial frame in `buffer`, by a new chunk when the old one is nearly used up.
fn make_room(buffer: &mut BytesMut, need: usize, chunks: &RefCell<Chunks>) {
    let missing = need.saturating_sub(buffer.len());
    let room = buffer.capacity() - buffer.len();
    if room >= LINK_ROOM_MIN.max(missing) {
        return;
    }
    let fresh = chunks.borrow_mut().take();
    match fresh {
        Some(mut chunk) if chunk.capacity() >= need.max(buffer.len() + LINK_ROOM_SMALL) => {
            chunk.extend_from_slice(buffer);
            *buffer = chunk;
        }
        // A frame beyond a chunk grows as it arrives: who only announces one costs nothing.
        _ if room < LINK_ROOM_SMALL => buffer.reserve(LINK_ROOM_SMALL.max(buffer.len())),
        _ => {}
    }
}
