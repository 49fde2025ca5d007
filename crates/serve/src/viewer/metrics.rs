//! `/metrics`: the text format of Prometheus, version 0.0.4.

use core::fmt::Write;

use shoal_node::stats::{CacheView, TitleView};

use crate::library::Entry;

/// Counters of the server itself.
pub(super) struct Own {
    pub(super) requests: u64,
    pub(super) refused: u64,
    pub(super) film_bytes: u64,
    pub(super) sessions: u64,
    pub(super) packets: u64,
    pub(super) lost: u64,
    pub(super) cache: Option<CacheView>,
}

/// One metric of each title.
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    value: fn(&TitleView) -> u64,
}

const METRICS: [Metric; 17] = [
    gauge("have_bytes", "Bytes verified and held.", |v| v.have),
    gauge("length_bytes", "Bytes in all.", |v| v.length),
    gauge("down_rate_bytes_per_second", "Film bytes received per second.", |v| v.down_rate),
    gauge("up_rate_bytes_per_second", "Film bytes sent per second.", |v| v.up_rate),
    gauge("buffer_milliseconds", "Film ahead of the newest playhead.", |v| v.buffer_ms),
    gauge("peers", "Connected peers.", |v| v.peers.len() as u64),
    gauge("known_peers", "Known addresses without a connection.", |v| v.known_peers as u64),
    counter("received_bytes_total", "Film bytes received.", |v| v.counters.received),
    counter("useful_bytes_total", "Film bytes received first and verified.", |v| v.counters.useful),
    counter("duplicate_bytes_total", "Film bytes that came twice.", |v| v.counters.duplicate),
    counter("wasted_bytes_total", "Film bytes thrown away.", |v| v.counters.wasted),
    counter("sent_bytes_total", "Film bytes sent.", |v| v.counters.sent),
    counter("from_peers_bytes_total", "Useful bytes from peers.", |v| v.counters.from_peers),
    counter("from_server_bytes_total", "Useful bytes from publishers, edges, web seeds.", |v| {
        v.counters.from_server
    }),
    counter("hedged_requests_total", "Requests sent to a second peer.", |v| v.counters.hedged),
    counter("evicted_bytes_total", "Film bytes given up for want of room.", |v| v.counters.evicted),
    counter("hash_failures_total", "Blocks that did not match.", |v| v.counters.hash_failures),
];

const fn gauge(name: &'static str, help: &'static str, value: fn(&TitleView) -> u64) -> Metric {
    Metric { name, kind: "gauge", help, value }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&TitleView) -> u64) -> Metric {
    Metric { name, kind: "counter", help, value }
}

/// All metrics. Labels are hexadecimal names, which need no escape.
pub(super) fn text(titles: &[Entry], views: &[TitleView], own: &Own) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let mut alone = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    };
    let refused = "Requests refused for host, origin or token.";
    alone("shoal_http_requests_total", "counter", "Requests answered.", own.requests);
    alone("shoal_http_refused_total", "counter", refused, own.refused);
    alone("shoal_http_film_bytes_total", "counter", "Film bytes given to players.", own.film_bytes);
    alone("shoal_rtsp_sessions", "gauge", "RTSP sessions.", own.sessions);
    alone("shoal_rtsp_packets_total", "counter", "RTP packets sent.", own.packets);
    alone("shoal_rtsp_lost_packets_total", "counter", "RTP packets that players missed.", own.lost);
    if let Some(cache) = own.cache {
        let quota = "Bytes that films which are watched may take on the disk.";
        alone("shoal_cache_quota_bytes", "gauge", quota, cache.quota);
        alone("shoal_cache_used_bytes", "gauge", "Bytes of it that they take.", cache.used);
    }
    for metric in &METRICS {
        let Metric { name, kind, help, value } = metric;
        let _ = write!(out, "# HELP shoal_title_{name} {help}\n# TYPE shoal_title_{name} {kind}\n");
        for view in views {
            if let Some(entry) = titles.iter().find(|entry| entry.title == view.title) {
                let (hash, value) = (entry.name(), value(view));
                let _ = writeln!(out, "shoal_title_{name}{{infohash=\"{hash}\"}} {value}");
            }
        }
    }
    out
}
