//! The face of a viewer or publisher: films, page, JSON, events, metrics.
//!
//! Every request passes the same gates in the same order: host, other sites, token of the address; then its path decides.

mod adaptive;
mod api;
mod metrics;
mod opening;
mod page;
mod qualities;
mod stream;

use core::future::Future;
use core::net::SocketAddr;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use shoal_node::link::TitleId;
use tokio::sync::Semaphore;

use crate::answer::{answer, refused, text, wrong_method};
use crate::body::Body;
use crate::guard::{Guard, Refusal, Token};
use crate::library::Library;
use crate::limits::SEGMENT_BUILDS_MAX;
use crate::packages::Packages;
use crate::reports::Reports;
use crate::rtsp;
use crate::seats::Seats;
use crate::server::{Limits, Server, Site};

/// How a viewer's face is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 is any.
    pub listen: SocketAddr,
    /// Names by which the server may be called besides addresses and `localhost`.
    pub host_names: Vec<String>,
    /// Token of its addresses; `None` makes a random one unless `listen` is a loopback address, which needs none.
    pub read_token: Option<Token>,
    /// Token of calls that change state; `None` makes a random one.
    pub control_token: Option<Token>,
    /// Limits.
    pub limits: Limits,
}

impl Options {
    /// Defaults, listening at `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            host_names: Vec::new(),
            read_token: None,
            control_token: None,
            limits: Limits::default(),
        }
    }
}

/// Counters of the face itself.
#[derive(Debug, Default)]
struct Served {
    requests: AtomicU64,
    refused: AtomicU64,
    film_bytes: Arc<AtomicU64>,
}

/// A running face.
pub struct Viewer {
    server: Server,
    read_token: Option<Token>,
    control_token: Token,
    face: Arc<Face>,
    rtsp: Option<Rtsp>,
}

/// Its other door.
struct Rtsp {
    server: Server,
    shared: Arc<rtsp::Shared>,
    token: Option<Token>,
}

impl core::fmt::Debug for Viewer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Viewer").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Viewer {
    /// Serves `library`, and what `reports` tells.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the system has no randomness for tokens.
    pub fn start(
        options: Options,
        library: Arc<dyn Library>,
        reports: Arc<Reports>,
    ) -> io::Result<Self> {
        let read_token = match options.read_token {
            Some(token) => Some(token),
            None if options.listen.ip().is_loopback() => None,
            None => Some(Token::random()?),
        };
        let control_token = match options.control_token {
            Some(token) => token,
            None => Token::random()?,
        };
        let names = options.host_names.iter();
        let guard = Guard {
            host_names: names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect(),
            read_token: read_token.clone(),
            control_token: control_token.clone(),
        };
        let served = Served::default();
        let sent = rtsp::Counters::of(Arc::clone(&served.film_bytes));
        let face = Arc::new(Face {
            guard,
            library,
            reports,
            listeners: Arc::new(Semaphore::new(options.limits.listeners_max)),
            packages: Arc::default(),
            seats: Arc::default(),
            builders: Semaphore::new(SEGMENT_BUILDS_MAX),
            limits: options.limits.clone(),
            served,
            sent: Arc::new(sent),
        });
        let server = Server::start(options.listen, Arc::clone(&face), options.limits)?;
        Ok(Self { server, read_token, control_token, face, rtsp: None })
    }
    /// Serves the same films to players that speak RTSP, at `listen`; port 0 is any. Unless that is a loopback address they are asked
    /// for the token as password. A second call ends what the first began.
    ///
    /// # Errors
    /// When the address is taken or not ours, or the system has no randomness for a token.
    pub fn serve_rtsp(&mut self, listen: SocketAddr) -> io::Result<SocketAddr> {
        let token = match (&self.read_token, listen.ip().is_loopback()) {
            (_, true) => None,
            (Some(token), false) => Some(token.clone()),
            (None, false) => Some(Token::random()?),
        };
        let face = &self.face;
        let shared = rtsp::Shared::new(
            Arc::clone(&face.library),
            Arc::clone(&face.packages),
            token.clone(),
            face.limits.clone(),
            Arc::clone(&face.sent),
        );
        let server = shared.listen(listen)?;
        let address = server.address();
        self.rtsp = Some(Rtsp { server, shared, token });
        Ok(address)
    }
    /// The address before a film's hash for players that speak RTSP, with name and password when these are needed; `None` when they
    /// are not served.
    #[must_use]
    pub fn rtsp_base(&self) -> Option<String> {
        let Rtsp { server, token, .. } = self.rtsp.as_ref()?;
        let address = reachable(server.address());
        Some(match token {
            Some(token) => format!("rtsp://{}:{}@{address}", rtsp::USER, token.as_str()),
            None => format!("rtsp://{address}"),
        })
    }
    /// Gets ready for a player of a film, file `file` of a title, of `length` bytes: asks for its opening, and for what tells of its frames,
    /// before the player does. Ends some seconds later; dropped, it takes that back.
    pub fn expect(
        &self,
        title: TitleId,
        file: u32,
        length: u64,
    ) -> impl Future<Output = ()> + Send + 'static {
        opening::fetch(Arc::clone(&self.face), (title, file), length)
    }
    /// The player is gone: nothing is kept for its next request.
    pub fn player_left(&self) {
        self.face.seats.clear();
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
    /// The address before `/stream/`, `/api/` and the rest, with the token when one is needed. A server on all addresses
    /// is named by loopback.
    #[must_use]
    pub fn base(&self) -> String {
        let address = reachable(self.address());
        match &self.read_token {
            Some(token) => format!("http://{address}/t/{}", token.as_str()),
            None => format!("http://{address}"),
        }
    }
    /// The token of calls that change state.
    #[must_use]
    pub fn control_token(&self) -> &Token {
        &self.control_token
    }
    /// Ends it gently: see [`Server::shutdown`].
    pub async fn shutdown(self) {
        if let Some(rtsp) = self.rtsp {
            rtsp.server.shutdown().await;
            rtsp.shared.end();
        }
        self.server.shutdown().await;
    }
}

/// An address by which a server can be reached from here: one on all addresses is named by loopback.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => core::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => core::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// What answers.
struct Face {
    guard: Guard,
    library: Arc<dyn Library>,
    reports: Arc<Reports>,
    listeners: Arc<Semaphore>,
    packages: Arc<Packages>,
    seats: Arc<Seats>,
    /// Places for those whose segment is put together.
    builders: Semaphore,
    limits: Limits,
    served: Served,
    sent: Arc<rtsp::Counters>,
}

impl Site for Face {
    async fn handle(&self, request: Request<Incoming>, _remote: SocketAddr) -> Response<Body> {
        self.served.requests.fetch_add(1, Ordering::Relaxed);
        match self.admit(&request) {
            Ok(path) => {
                let path = path.to_owned();
                self.route(request, &path).await
            }
            Err(refusal) => {
                self.served.refused.fetch_add(1, Ordering::Relaxed);
                refused(refusal)
            }
        }
    }
}

impl Face {
    /// The gates. Gives the path without its token.
    fn admit<'r>(&self, request: &'r Request<Incoming>) -> Result<&'r str, Refusal> {
        let headers = request.headers();
        self.guard.check_host(request.uri(), request.version(), headers)?;
        let path = self.guard.check_read(request.uri(), headers)?;
        self.guard.check_site(headers, path == "/")?;
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            self.guard.check_control(headers)?;
        }
        Ok(path)
    }

    async fn route(&self, request: Request<Incoming>, path: &str) -> Response<Body> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let read = matches!(*request.method(), Method::GET | Method::HEAD);
        match parts.as_slice() {
            ["stream", hash, file] | ["stream", hash, file, _] if read => {
                self.stream(&request, hash, file).await
            }
            ["hls" | "dash", hash, file, name] if read => {
                self.adaptive(request.method(), hash, file, name).await
            }
            ["api", "v1", "limits"] if *request.method() == Method::POST => {
                self.set_limits(request).await
            }
            ["api", "v1", "titles", hash, "peers"] if *request.method() == Method::POST => {
                let hash = (*hash).to_owned();
                self.add_peers(request, &hash).await
            }
            ["api", "v1", "limits"] | ["api", "v1", "titles", _, "peers"] => wrong_method("POST"),
            [""] if read => self.page(),
            ["api", "v1", "titles"] if read => self.titles().await,
            ["api", "v1", "titles", hash] if read => self.title(hash).await,
            ["api", "v1", "cache"] if read => self.cache().await,
            ["api", "v1", "events"] if read => self.events(request.method()),
            ["metrics"] if read => self.metrics().await,
            [""]
            | ["stream" | "hls" | "dash", ..]
            | ["api", "v1", "titles" | "events" | "cache", ..]
            | ["metrics"] => wrong_method("GET, HEAD"),
            _ => text(StatusCode::NOT_FOUND, "There is nothing at this address."),
        }
    }

    fn events(&self, method: &Method) -> Response<Body> {
        if *method == Method::HEAD {
            return answer(StatusCode::OK, "text/event-stream", Body::empty());
        }
        let Ok(permit) = Arc::clone(&self.listeners).try_acquire_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "Too many listen already.");
        };
        let (past, live) = self.reports.listen();
        answer(StatusCode::OK, "text/event-stream", Body::events(past, live, permit))
    }

    fn page(&self) -> Response<Body> {
        // The token goes to the page only where nobody else can load it: without one in the address the server is bound
        // to loopback and the host was checked. Elsewhere the user gives it behind the address (`#token`).
        let control = match self.guard.read_token {
            None => self.guard.control_token.as_str(),
            Some(_) => "",
        };
        let Ok((html, policy)) = page::page(control) else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "The system has no randomness.");
        };
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", Body::full(html));
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert("content-security-policy", policy);
        }
        headers.insert("x-frame-options", HeaderValue::from_static("DENY"));
        headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
        response
    }

    async fn metrics(&self) -> Response<Body> {
        let (titles, views) = (self.library.titles().await, self.library.views().await);
        let served = metrics::Own {
            requests: self.served.requests.load(Ordering::Relaxed),
            refused: self.served.refused.load(Ordering::Relaxed),
            film_bytes: self.served.film_bytes.load(Ordering::Relaxed),
            sessions: self.sent.sessions.load(Ordering::Relaxed),
            packets: self.sent.packets.load(Ordering::Relaxed),
            lost: self.sent.lost.load(Ordering::Relaxed),
            cache: self.library.cache().await,
        };
        let mut response = answer(
            StatusCode::OK,
            "text/plain",
            Body::full(metrics::text(&titles, &views, &served)),
        );
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}
