//! Films for players that speak RTSP (RFC 2326): they play, pause and jump, and get frames as RTP packets at the rate of the film.
//!
//! **Does**: describes a film, keeps sessions, sends frames by a clock over UDP or inside the connection. **Refuses**: recording,
//! decoding, a film of its own: what it sends is read from the [`Library`] as it arrives.
//!
//! A connection (`connection.rs`) reads requests, has them answered (`requests.rs`) and writes answers and packets. A session
//! (`session.rs`) is a task that outlives none of its lanes (`lane.rs`), one for each stream; what it sends is read ahead by a task of its
//! own (`feed.rs`).
//!
//! Sources: RFC 2326 (RTSP 1.0; requests of 2.0 are told which version is spoken), RFC 3550 (RTP, RTCP), RFC 8866 (SDP), RFC 2069 (digest).

mod connection;
mod description;
mod digest;
mod feed;
mod lane;
mod range;
mod requests;
mod session;
mod transport;

use core::net::SocketAddr;
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use rtsp_types::Message;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub(crate) use self::digest::USER;
use self::feed::Source;
pub(crate) use self::session::Counters;
use self::session::{Order, Session};
use crate::guard::Token;
use crate::library::Library;
use crate::limits::{ORDERS_MAX, RTSP_BYTES_MAX, SESSIONS_MAX};
use crate::packages::Packages;
use crate::server::{Limits, Server};

/// Reads what came on a connection as far as it is read before anything is looked up, and gives the requests in it by their methods. For
/// tests that send anything.
#[must_use]
pub fn read(bytes: &[u8]) -> Vec<String> {
    let mut rest = bytes.get(..bytes.len().min(RTSP_BYTES_MAX)).unwrap_or(bytes);
    let mut methods = Vec::new();
    while let Ok((message, length)) = Message::<Vec<u8>>::parse(rest) {
        rest = rest.get(length..).unwrap_or(&[]);
        if let Message::Request(request) = message {
            requests::survey(&request);
            methods.push(<&str>::from(request.method()).to_owned());
        }
        if length == 0 {
            break;
        }
    }
    methods
}

/// How many packets of a source its player misses, by what it reported (RTCP). For tests that send anything.
#[must_use]
pub fn lost(reports: &[u8], ssrc: u32) -> Option<u32> {
    lane::lost(reports, ssrc)
}

/// What connections share.
pub(crate) struct Shared {
    library: Arc<dyn Library>,
    packages: Arc<Packages>,
    /// Asked for in digests; `None` where nobody else can connect.
    token: Option<Token>,
    limits: Limits,
    counters: Arc<Counters>,
    sessions: Mutex<Sessions>,
}

#[derive(Default)]
struct Sessions {
    orders: HashMap<String, mpsc::Sender<Order>>,
    tasks: JoinSet<()>,
}

impl Shared {
    pub(crate) fn new(
        library: Arc<dyn Library>,
        packages: Arc<Packages>,
        token: Option<Token>,
        limits: Limits,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        let sessions = Mutex::default();
        Arc::new(Self { library, packages, token, limits, counters, sessions })
    }
    /// Listens at `address`.
    pub(crate) fn listen(self: &Arc<Self>, address: SocketAddr) -> io::Result<Server> {
        let shared = Arc::clone(self);
        Server::listen(address, self.limits.clone(), move |stream, remote, stopped| {
            connection::talk(Arc::clone(&shared), stream, remote, stopped)
        })
    }
    /// Ends all sessions.
    pub(crate) fn end(&self) {
        *self.sessions.lock().unwrap_or_else(PoisonError::into_inner) = Sessions::default();
    }
    /// Who takes the orders of a session.
    fn session(&self, name: &str) -> Option<mpsc::Sender<Order>> {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.orders.get(name).filter(|orders| !orders.is_closed()).cloned()
    }
    /// A new session of a film, by its name. `None` when there are too many.
    fn begin(&self, source: Source) -> io::Result<Option<(String, mpsc::Sender<Order>)>> {
        let name = Token::random()?.as_str().to_owned();
        let (sender, orders) = mpsc::channel(ORDERS_MAX);
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        while sessions.tasks.try_join_next().is_some() {}
        sessions.orders.retain(|_, orders| !orders.is_closed());
        if sessions.orders.len() >= SESSIONS_MAX {
            return Ok(None);
        }
        let counters = Arc::clone(&self.counters);
        sessions.tasks.spawn(Session::run(source, orders, counters));
        sessions.orders.insert(name.clone(), sender.clone());
        Ok(Some((name, sender)))
    }
}
