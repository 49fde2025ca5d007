//! The HTTP face of a directory: a tracker for any BitTorrent client (BEP 3, 7, 23, 48), a status page, metrics.
//!
//! A tracker is called by many names and by programs, not by browsers of its owner, and changes nothing that an announce
//! may not change: hosts and origins are not checked here. The address of a peer is the one its connection comes from;
//! addresses claimed in a request are not believed, or anyone could send a swarm at anyone.

use core::fmt::Write;
use core::net::{IpAddr, SocketAddr};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use shoal_drive::directory_udp::DirectoryHandle;
use shoal_wire::tracker::http::{
    encode_announce, encode_failure, encode_scrape, parse_announce, parse_scrape,
};

use crate::answer::{answer, text, wrong_method};
use crate::body::Body;
use crate::server::{Limits, Server, Site};

/// A running face.
#[derive(Debug)]
pub struct DirectoryFace {
    server: Server,
}

impl DirectoryFace {
    /// Serves `tracker`, which may serve UDP as well, at `listen`; port 0 is any.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn start(listen: SocketAddr, tracker: DirectoryHandle, limits: Limits) -> io::Result<Self> {
        let face = Face { tracker, counts: Counts::default() };
        Ok(Self { server: Server::start(listen, Arc::new(face), limits)? })
    }
    /// Limits that suit a tracker: many short connections that carry one request, and send little.
    #[must_use]
    pub fn limits() -> Limits {
        Limits {
            connections_max: 10_000,
            header_timeout: core::time::Duration::from_secs(10),
            header_bytes_max: 8 << 10,
            send_buffer_bytes: 64 << 10,
            ..Limits::default()
        }
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
    /// Ends it gently: see [`Server::shutdown`].
    pub async fn shutdown(self) {
        self.server.shutdown().await;
    }
}

/// Requests by kind.
#[derive(Debug, Default)]
struct Counts {
    announces: AtomicU64,
    scrapes: AtomicU64,
    refused: AtomicU64,
}

struct Face {
    tracker: DirectoryHandle,
    counts: Counts,
}

impl Site for Face {
    async fn handle(&self, request: Request<Incoming>, remote: SocketAddr) -> Response<Body> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return wrong_method("GET, HEAD");
        }
        let query = request.uri().query().unwrap_or("");
        match request.uri().path() {
            "/announce" => self.announce(query, remote.ip().to_canonical()).await,
            "/scrape" => self.scrape(query).await,
            "/" => self.status().await,
            "/metrics" => self.metrics().await,
            _ => text(StatusCode::NOT_FOUND, "There is nothing at this address."),
        }
    }
}

impl Face {
    async fn announce(&self, query: &str, from: IpAddr) -> Response<Body> {
        self.counts.announces.fetch_add(1, Ordering::Relaxed);
        let query = match parse_announce(query) {
            Ok(query) => query,
            Err(error) => return self.refuse(&error.to_string()),
        };
        match self.tracker.announce(from, query.announce).await {
            Ok(answer) => bencoded(encode_announce(&answer, query.form)),
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    async fn scrape(&self, query: &str) -> Response<Body> {
        self.counts.scrapes.fetch_add(1, Ordering::Relaxed);
        let titles = match parse_scrape(query) {
            Ok(titles) => titles,
            Err(error) => return self.refuse(&error.to_string()),
        };
        // Without names all titles would be meant: that list is nobody's business, and long.
        if titles.is_empty() {
            return self.refuse("Name the titles to be counted by info_hash.");
        }
        match self.tracker.scrape(titles.clone()).await {
            Ok(counts) => {
                let counts: Vec<_> = titles.into_iter().zip(counts).collect();
                bencoded(encode_scrape(&counts))
            }
            Err(error) => self.refuse(&error.to_string()),
        }
    }

    /// Refusals are answers of status 200: clients do not read the bodies of others.
    fn refuse(&self, sentence: &str) -> Response<Body> {
        self.counts.refused.fetch_add(1, Ordering::Relaxed);
        bencoded(encode_failure(sentence, None))
    }

    async fn status(&self) -> Response<Body> {
        // A directory that has stopped holds nothing.
        let (titles, peers) = self.tracker.size().await.unwrap_or_default();
        let announces = self.counts.announces.load(Ordering::Relaxed);
        let html = format!(
            "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"color-scheme\" content=\"light dark\"><title>Shoal directory</title>\
             <h1>Shoal directory</h1><p>{titles} titles, {peers} peers, {announces} announces over \
             HTTP since the start.</p><p>Announce at <code>/announce</code>, count at \
             <code>/scrape</code>, measure at <code>/metrics</code>.</p></html>\n"
        );
        let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", Body::full(html));
        let policy = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
        response.headers_mut().insert("content-security-policy", policy);
        response
    }

    async fn metrics(&self) -> Response<Body> {
        // A directory that has stopped holds nothing.
        let (titles, peers) = self.tracker.size().await.unwrap_or_default();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let lines = [
            ("titles", "gauge", "Titles known.", titles as u64),
            ("peers", "gauge", "Peers known, once for each title.", peers as u64),
            ("announces_total", "counter", "Announces over HTTP.", load(&self.counts.announces)),
            ("scrapes_total", "counter", "Scrapes over HTTP.", load(&self.counts.scrapes)),
            ("refused_total", "counter", "Requests refused over HTTP.", load(&self.counts.refused)),
        ];
        let mut out = String::new();
        for (name, kind, help, value) in lines {
            // Writing to a string cannot fail.
            let _ = write!(
                out,
                "# HELP shoal_directory_{name} {help}\n# TYPE shoal_directory_{name} {kind}\n\
                 shoal_directory_{name} {value}\n"
            );
        }
        answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", Body::full(out))
    }
}

/// Old clients know no other type than plain text.
fn bencoded(body: Vec<u8>) -> Response<Body> {
    answer(StatusCode::OK, "text/plain", Body::full(body))
}
