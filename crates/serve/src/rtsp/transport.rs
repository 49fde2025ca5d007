//! `Transport` of RTSP (RFC 2326, 12.39): how packets reach the player.
//!
//! Parsed here: the typed header of `rtsp-types` panics on some values.

use crate::limits::WAYS_MAX;

/// A transport that can be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    /// Inside the connection, on this channel and the next; any when it is not told.
    Tcp(Option<u8>),
    /// To this port of the player's address, and RTCP to the other.
    Udp(u16, u16),
}

/// The first way in the header that can be served. Where to send to is the address of the player alone: `destination` would let anyone
/// have films sent to anyone.
pub(super) fn parse(value: &str) -> Option<Asked> {
    value.split(',').take(WAYS_MAX).find_map(way)
}

fn way(text: &str) -> Option<Asked> {
    let mut parts = text.split(';').map(str::trim);
    let profile = parts.next()?.to_ascii_uppercase();
    let mut channel = None;
    let mut ports = None;
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name.to_ascii_lowercase().as_str() {
            "interleaved" => channel = value.split('-').next()?.parse::<u8>().ok(),
            "client_port" => ports = pair(value),
            "multicast" => return None,
            "mode" if !value.trim_matches('"').eq_ignore_ascii_case("play") => return None,
            _ => {}
        }
    }
    match profile.as_str() {
        // The other channel is the one above.
        "RTP/AVP/TCP" => (channel != Some(u8::MAX)).then_some(Asked::Tcp(channel)),
        "RTP/AVP" | "RTP/AVP/UDP" => ports.map(|(rtp, rtcp)| Asked::Udp(rtp, rtcp)),
        _ => None,
    }
}

/// Two ports, or one and the next.
fn pair(value: &str) -> Option<(u16, u16)> {
    let (first, second) = value.split_once('-').map_or((value, None), |(a, b)| (a, Some(b)));
    let first: u16 = first.parse().ok().filter(|port| *port > 0)?;
    let second = match second {
        Some(second) => second.parse().ok().filter(|port| *port > 0)?,
        None => first.checked_add(1)?,
    };
    Some((first, second))
}

#[cfg(test)]
mod tests {
    use super::{Asked, parse};

    #[test]
    fn what_players_write() {
        for (text, expected) in [
            ("RTP/AVP/TCP;unicast;interleaved=0-1", Some(Asked::Tcp(Some(0)))),
            ("RTP/AVP/TCP;unicast", Some(Asked::Tcp(None))),
            ("RTP/AVP/UDP;unicast;client_port=5000-5001", Some(Asked::Udp(5000, 5001))),
            ("RTP/AVP;unicast;client_port=5000", Some(Asked::Udp(5000, 5001))),
            (
                "RTP/AVP;multicast,RTP/AVP/TCP;unicast;interleaved=2-3;mode=\"PLAY\"",
                Some(Asked::Tcp(Some(2))),
            ),
            ("RTP/AVP;unicast;client_port=5000-5001;mode=record", None),
            ("RTP/AVP;unicast;client_port=0-1", None),
            ("RTP/AVP;unicast;client_port=65535", None),
            ("RTP/AVP/TCP;interleaved=255-256", None),
            ("RTP/SAVP;unicast;client_port=5000-5001", None),
            ("mode=\"", None),
            ("", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }
}
