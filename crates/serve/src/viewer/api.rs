//! `/api/v1/`: how titles stand, as JSON, and the few calls that change something.

use core::net::SocketAddr;

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use shoal_node::io::Command;
use shoal_node::stats::{PeerView, TitleView, TrackerView};

use super::Face;
use crate::answer::{json as json_answer, json_error};
use crate::body::Body;
use crate::kind;
use crate::library::Entry;
use crate::limits::PEERS_MAX;
use crate::reports::counters_json;
use crate::server::read_body;

impl Face {
    pub(super) async fn titles(&self) -> Response<Body> {
        let (titles, views) = (self.library.titles().await, self.library.views().await);
        let list: Vec<_> =
            titles.iter().map(|entry| title_json(entry, view_of(&views, entry))).collect();
        json_answer(StatusCode::OK, &json!({ "titles": list }))
    }

    /// What the films that are watched take on the disk, and what they may; null without a quota.
    pub(super) async fn cache(&self) -> Response<Body> {
        let view = self.library.cache().await;
        let value = view.map(|view| json!({ "quota": view.quota, "used": view.used }));
        json_answer(StatusCode::OK, &json!({ "cache": value }))
    }

    pub(super) async fn title(&self, hash: &str) -> Response<Body> {
        let titles = self.library.titles().await;
        let Some(entry) = titles.iter().find(|entry| entry.is_called(hash)) else {
            return no_title();
        };
        let views = self.library.views().await;
        let view = view_of(&views, entry);
        let mut value = title_json(entry, view);
        if let Some(view) = view {
            value["peer_list"] = view.peers.iter().map(peer_json).collect();
            value["trackers"] = view.trackers.iter().map(tracker_json).collect();
            let hex: String = view.pieces.iter().map(|byte| format!("{byte:02x}")).collect();
            value["pieces"] = json!(hex);
        }
        json_answer(StatusCode::OK, &value)
    }

    /// `{"up": BYTES_PER_S or null, "down": BYTES_PER_S or null}`; null or absent is unlimited.
    pub(super) async fn set_limits(&self, request: Request<Incoming>) -> Response<Body> {
        let value = match self.body_json(request).await {
            Ok(value) => value,
            Err(response) => return response,
        };
        let limit = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(rate) => rate.as_u64().map(Some).ok_or(()),
        };
        let (Ok(up), Ok(down), true) = (limit("up"), limit("down"), value.is_object()) else {
            let sentence = "up and down are bytes/s, or null for no limit.";
            return json_error(StatusCode::BAD_REQUEST, sentence);
        };
        self.library.command(Command::Limits { up, down }).await;
        json_answer(StatusCode::OK, &json!({ "up": up, "down": down }))
    }

    /// `{"peers": ["ADDRESS:PORT", ...]}`
    pub(super) async fn add_peers(&self, request: Request<Incoming>, hash: &str) -> Response<Body> {
        let titles = self.library.titles().await;
        let Some(title) = titles.iter().find(|entry| entry.is_called(hash)).map(|e| e.title) else {
            return no_title();
        };
        let value = match self.body_json(request).await {
            Ok(value) => value,
            Err(response) => return response,
        };
        let listed = value.get("peers").and_then(Value::as_array);
        let peers: Option<Vec<SocketAddr>> = listed
            .filter(|peers| peers.len() <= PEERS_MAX)
            .and_then(|peers| peers.iter().map(|peer| peer.as_str()?.parse().ok()).collect());
        let Some(peers) = peers else {
            let sentence =
                "peers is a list of at most 200 addresses with ports, like \"192.0.2.1:6881\".";
            return json_error(StatusCode::BAD_REQUEST, sentence);
        };
        let count = peers.len();
        self.library.command(Command::Peers { title, peers }).await;
        json_answer(StatusCode::OK, &json!({ "peers": count }))
    }

    /// The JSON of a request. The content type is wanted because forms of other sites cannot send it unasked.
    async fn body_json(&self, request: Request<Incoming>) -> Result<Value, Response<Body>> {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or("").trim();
        if !kind.eq_ignore_ascii_case("application/json") {
            let sentence = "The request's content type is not application/json.";
            return Err(json_error(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence));
        }
        let bytes = read_body(request.into_body(), &self.limits)
            .await
            .map_err(|sentence| json_error(StatusCode::PAYLOAD_TOO_LARGE, sentence))?;
        serde_json::from_slice(&bytes)
            .map_err(|_| json_error(StatusCode::BAD_REQUEST, "The request is not JSON."))
    }
}

fn no_title() -> Response<Body> {
    json_error(StatusCode::NOT_FOUND, "No title of that name is taken part in.")
}

fn view_of<'v>(views: &'v [TitleView], entry: &Entry) -> Option<&'v TitleView> {
    views.iter().find(|view| view.title == entry.title)
}

fn title_json(entry: &Entry, view: Option<&TitleView>) -> Value {
    let hash = entry.name();
    let mut value = json!({
        "infohash": hash,
        "infohash_v1": entry.hashes.v1.map(|hash| hash.to_string()),
        "infohash_v2": entry.hashes.v2.map(|hash| hash.to_string()),
        "ready": entry.info.is_some(),
        "duration_ms": entry.duration_ms(),
    });
    if let Some(check) = entry.check {
        value["checking"] = json!({ "done": check.done, "length": check.total });
    }
    if let Some(info) = &entry.info {
        let files = info.files.iter().enumerate().map(|(number, file)| {
            let name = file.path.last().map_or("", String::as_str);
            json!({
                "path": file.path.join("/"),
                "length": file.length,
                "type": kind::of(name).0,
                "film": kind::is_playable(name),
                "url": format!("stream/{hash}/{number}/{}", kind::percent(name)),
            })
        });
        value["name"] = json!(info.name);
        value["length"] = json!(info.length());
        value["private"] = json!(info.private);
        value["piece_length"] = json!(info.layout.piece_length());
        value["piece_count"] = json!(info.layout.piece_count());
        value["files"] = files.collect();
    }
    if let Some(view) = view {
        value["have"] = json!(view.have);
        value["wanted"] = json!(view.wanted);
        value["wanted_have"] = json!(view.wanted_have);
        value["down_rate"] = json!(view.down_rate);
        value["up_rate"] = json!(view.up_rate);
        value["buffer_ms"] = json!(view.buffer_ms);
        value["peers"] = json!(view.peers.len());
        value["known_peers"] = json!(view.known_peers);
        value["statistics"] = counters_json(&view.counters);
    }
    value
}

fn peer_json(peer: &PeerView) -> Value {
    json!({
        "address": peer.remote.to_string(), "client": peer.client, "have": peer.have,
        "down_rate": peer.down_rate, "up_rate": peer.up_rate, "received": peer.received,
        "sent": peer.sent, "requests": peer.requests, "rtt_us": peer.rtt_us,
        "choking_us": peer.choking_us, "choked": peer.choked, "shoal": peer.shoal,
        "source": peer.source,
    })
}

fn tracker_json(tracker: &TrackerView) -> Value {
    json!({ "url": tracker.url, "peers": tracker.peers, "trouble": tracker.trouble })
}
