//! Which addresses a URL from a stranger may lead to.
//!
//! A torrent names trackers, and a tracker redirects: without a rule they could make this machine talk to its own
//! services, to the router, or to a cloud's metadata server. Every address is judged after it was resolved, and the
//! connection goes to the judged address, never to a second look-up.
//!
//! A name leads into a local network only when the user named the very tracker ([`Trusted`]): a name of a stranger may
//! resolve to whatever its owner likes. What a tracker redirects to at another host is a stranger's again.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use shoal_node::io::Family;
use url::Url;

/// Where an address lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Zone {
    /// The open internet.
    Public,
    /// This machine, or a network of its owner: loopback, private, unique local, carrier-grade NAT.
    Local,
    /// Nowhere that a request may go: unspecified, link-local (cloud metadata), multicast, broadcast, reserved.
    Never,
}

/// The zone of `address`. Addresses that carry an IPv4 one inside are judged by it.
#[must_use]
pub fn zone(address: IpAddr) -> Zone {
    match address {
        IpAddr::V4(v4) => zone_v4(v4),
        IpAddr::V6(v6) => embedded_v4(v6).map_or_else(|| zone_v6(v6), zone_v4),
    }
}

fn zone_v4(address: Ipv4Addr) -> Zone {
    match address.octets() {
        [0 | 224..=255, ..] | [169, 254, ..] | [192, 0, 0, _] => Zone::Never,
        [10 | 127, ..] | [192, 168, ..] | [172, 16..=31, ..] | [100, 64..=127, ..] => Zone::Local,
        [198, 18..=19, ..] => Zone::Local,
        _ => Zone::Public,
    }
}

fn zone_v6(address: Ipv6Addr) -> Zone {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Zone::Never,
        [0, 0, 0, 0, 0, 0, 0, 1] | [0xfc00..=0xfdff, ..] => Zone::Local,
        // 2000::/3 is all that is handed out.
        [0x2000..=0x3fff, ..] => Zone::Public,
        _ => Zone::Never,
    }
}

/// The IPv4 address inside a mapped, compatible, NAT64 or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(v4(high, low)),
        (0, 0, 0, 0, 0, 0) if high != 0 => Some(v4(high, low)),
        (0x2002, ..) => Some(v4(b, c)),
        _ => None,
    }
}

/// Port of a UDP tracker whose URL names none.
const UDP_TRACKER_PORT: u16 = 80;

/// Trackers whose names may lead into local networks: those that the user named.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Trusted {
    /// Whether over UDP, host, port.
    trackers: BTreeSet<(bool, String, u16)>,
}

impl Trusted {
    /// Those at `urls`. What is no URL trusts nothing.
    #[must_use]
    pub fn new(urls: &[String]) -> Self {
        Self { trackers: urls.iter().filter_map(|url| key(&Url::parse(url).ok()?)).collect() }
    }
    /// Whether the tracker that `url` leads to is one of them.
    #[must_use]
    pub fn has_url(&self, url: &str) -> bool {
        let key = Url::parse(url).ok().and_then(|url| key(&url));
        key.is_some_and(|key| self.trackers.contains(&key))
    }
    /// Whether the UDP tracker at `port` of `host` is one of them.
    #[must_use]
    pub fn has_udp(&self, host: &str, port: u16) -> bool {
        self.trackers.contains(&(true, plain(host), port))
    }
}

fn key(url: &Url) -> Option<(bool, String, u16)> {
    let udp = url.scheme() == "udp";
    let port = url.port_or_known_default().or_else(|| udp.then_some(UDP_TRACKER_PORT))?;
    Some((udp, plain(url.host_str()?), port))
}

/// A host's name as it is compared.
fn plain(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// What a caller allows besides public addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allow {
    /// The URL's name may resolve to local addresses: it is a tracker that the user named.
    pub local_names: bool,
    /// The URL was typed by the user: any path of a local literal address is fine.
    pub typed: bool,
    /// Only addresses of this family, where one is named.
    pub family: Option<Family>,
}

/// Whether a connection to `address` may be made for a URL with `host` (as written in it) and `path`.
///
/// Local addresses must be written out as a literal (or `localhost`), and asked for an announce or scrape: that is what
/// a tracker in one's own network looks like, and what other services of this machine do not answer to.
#[must_use]
pub fn may_connect(host: &str, path: &str, address: IpAddr, allow: Allow) -> bool {
    match zone(address) {
        Zone::Public => true,
        Zone::Never => false,
        Zone::Local => {
            (is_literal(host) || allow.local_names) && (allow.typed || is_tracker_path(path))
        }
    }
}

/// Whether `host` is an address itself, with or without brackets, or names this machine.
#[must_use]
pub fn is_literal(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || literal(host).is_some()
}

/// The address that `host` is, with or without brackets.
#[must_use]
pub fn literal(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host).parse().ok()
}

fn is_tracker_path(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or(path);
    last.starts_with("announce") || last.starts_with("scrape")
}

/// Whether `port` may be asked by HTTP: no service of a system but web servers.
#[must_use]
pub fn may_use_port(port: u16, host: &str) -> bool {
    port >= 1024 || port == 80 || port == 443 || is_literal(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_disguise_of_an_inner_address_is_seen_through() {
        for (text, expected) in [
            ("8.8.8.8", Zone::Public),
            ("2a00:1450::1", Zone::Public),
            ("127.0.0.1", Zone::Local),
            ("127.8.9.1", Zone::Local),
            ("10.1.2.3", Zone::Local),
            ("172.31.0.1", Zone::Local),
            ("172.32.0.1", Zone::Public),
            ("192.168.1.1", Zone::Local),
            ("100.64.0.1", Zone::Local),
            ("100.128.0.1", Zone::Public),
            ("::1", Zone::Local),
            ("fd00::1", Zone::Local),
            ("::ffff:127.0.0.1", Zone::Local),
            ("::ffff:169.254.169.254", Zone::Never),
            ("::127.0.0.1", Zone::Local),
            ("64:ff9b::10.0.0.1", Zone::Local),
            ("2002:7f00:1::", Zone::Local),
            ("2002:a9fe:a9fe::", Zone::Never),
            ("169.254.169.254", Zone::Never),
            ("0.0.0.0", Zone::Never),
            ("0.1.2.3", Zone::Never),
            ("224.0.0.1", Zone::Never),
            ("255.255.255.255", Zone::Never),
            ("240.0.0.1", Zone::Never),
            ("::", Zone::Never),
            ("fe80::1", Zone::Never),
            ("ff02::1", Zone::Never),
            ("fec0::1", Zone::Never),
        ] {
            assert_eq!(zone(text.parse().expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn only_the_very_tracker_that_the_user_named_is_trusted() {
        let urls = ["http://Tracker.lan:6969/announce", "udp://box.lan", "https://t.lan/a", "no"];
        let trusted = Trusted::new(&urls.map(str::to_owned));
        for url in ["http://tracker.lan:6969/announce?info_hash=x", "https://t.lan.:443/announce"] {
            assert!(trusted.has_url(url), "{url}");
        }
        assert!(trusted.has_udp("BOX.lan", 80));
        for url in [
            "http://tracker.lan/announce",
            "http://tracker.lan:6970/announce",
            "http://other.lan:6969/announce",
            "http://tracker.lan.evil.example:6969/announce",
            "http://tracker.lan:6969@evil.example/announce",
            "http://t.lan/announce",
            "no",
        ] {
            assert!(!trusted.has_url(url), "{url}");
        }
        assert!(!trusted.has_udp("tracker.lan", 6969) && !trusted.has_udp("box.lan", 81));
    }

    #[test]
    fn a_local_tracker_is_reached_by_its_literal_address_and_nothing_else_is() {
        let local: IpAddr = "127.0.0.1".parse().expect("literal");
        let strict = Allow::default();
        assert!(may_connect("127.0.0.1", "/announce", local, strict));
        assert!(may_connect("localhost", "/x/announce.php", local, strict));
        assert!(!may_connect("127.0.0.1", "/api/v1/titles", local, strict));
        assert!(!may_connect("rebound.example", "/announce", local, strict));
        assert!(may_connect(
            "tracker.lan",
            "/announce",
            local,
            Allow { local_names: true, ..strict }
        ));
        assert!(may_connect("127.0.0.1", "/film.torrent", local, Allow { typed: true, ..strict }));
        let metadata: IpAddr = "169.254.169.254".parse().expect("literal");
        let all = Allow { local_names: true, typed: true, family: None };
        assert!(!may_connect("169.254.169.254", "/announce", metadata, all));
    }
}
