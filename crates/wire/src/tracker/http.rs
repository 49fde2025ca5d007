//! Trackers over HTTP: the URL of a request and the bencode of an answer (BEP 3, 7, 23, 24, 31, 48), both directions.
//!
//! **Does**: for a client [`announce_url`], [`scrape_url`], [`decode_announce`], [`decode_scrape`]; for a tracker
//! [`parse_announce`], [`parse_scrape`], [`encode_announce`], [`encode_scrape`], [`encode_failure`].
//! **Refuses**: HTTP itself, and addresses that are host names (BEP 3 allows them in a dictionary; nobody sends them).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::SocketAddr;

use super::{ANSWER_PEERS_MAX, Announce, AnnounceAnswer, AnnounceEvent, ScrapeCounts};
use super::{MESSAGE_CHARS_MAX, SCRAPE_TITLES_MAX};
use crate::bencode::{Document, Encoder, Limits, Value};
use crate::compact::{V4_LEN, V6_LEN, addrs, get_ip, put_addr, put_ip};
use crate::error::{DecodeError, ErrorKind};
use crate::{Hash20, PeerId, text};

/// Interval of an answer that names none, seconds: what most trackers say.
const INTERVAL_DEFAULT_S: u32 = 1800;
/// Longest query that is read, bytes.
const QUERY_MAX: usize = 8192;

const ANSWER: &str = "tracker answer";
const QUERY: &str = "tracker request";

/// What a tracker said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HttpAnswer<T> {
    /// What was asked for.
    Success(T),
    /// It will not answer.
    Failure {
        /// For the user: at most 256 characters, control characters removed.
        reason: String,
        /// BEP 31: when it may be asked again, if the tracker says so.
        retry: Option<Retry>,
    },
}

/// BEP 31: when a tracker that refused may be asked again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// After this many minutes, as the tracker wrote it: clamp before use.
    Minutes(u32),
    /// Not at all.
    Never,
}

/// An announce as a tracker receives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnnounceQuery {
    /// What is announced. A missing `left` is read as [`u64::MAX`], other missing counts as 0.
    pub announce: Announce,
    /// How the peers are wanted.
    pub form: PeerForm,
}

/// How peers stand in an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerForm {
    /// BEP 23: strings of 6 and 18 bytes a peer.
    Compact,
    /// BEP 3: a list of dictionaries, without peer ids.
    Dictionary,
}

/// The URL of an announce to `tracker`. It names no addresses: a tracker that believed them could be pointed at anybody, so
/// BEP 7 has a client announce itself over each family instead.
#[must_use]
pub fn announce_url(tracker: &str, announce: &Announce) -> String {
    let mut url = begin_query(tracker);
    url.push_str("info_hash=");
    percent(&mut url, &announce.info_hash.0);
    url.push_str("&peer_id=");
    percent(&mut url, &announce.peer_id.0);
    // Writing into a string has no way to fail, here and below.
    let _ = write!(
        url,
        "&port={}&uploaded={}&downloaded={}&left={}&compact=1&no_peer_id=1&key={:08X}",
        announce.port, announce.uploaded, announce.downloaded, announce.left, announce.key
    );
    if let Some(wanted) = announce.num_want {
        let _ = write!(url, "&numwant={wanted}");
    }
    match announce.event {
        AnnounceEvent::None => {}
        AnnounceEvent::Started => url.push_str("&event=started"),
        AnnounceEvent::Stopped => url.push_str("&event=stopped"),
        AnnounceEvent::Completed => url.push_str("&event=completed"),
    }
    url
}

/// The URL by which `tracker` tells its numbers for up to 74 `titles`; `None` when it has none (BEP 48: the last part of
/// the path must begin with `announce`).
#[must_use]
pub fn scrape_url(tracker: &str, titles: &[Hash20]) -> Option<String> {
    let path_end = tracker.find(['?', '#']).unwrap_or(tracker.len());
    let (path, query) = tracker.split_at_checked(path_end)?;
    let (folder, last) = path.rsplit_once('/')?;
    let rest = last.strip_prefix("announce")?;
    let mut base = String::with_capacity(tracker.len());
    let _ = write!(base, "{folder}/scrape{rest}{query}");
    let mut url = begin_query(&base);
    for (index, hash) in titles.iter().take(SCRAPE_TITLES_MAX).enumerate() {
        url.push_str(if index == 0 { "info_hash=" } else { "&info_hash=" });
        percent(&mut url, &hash.0);
    }
    Some(url)
}

/// `url` up to where the next parameter begins.
fn begin_query(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(url, _)| url);
    let mut out = String::with_capacity(url.len() + 300);
    out.push_str(url);
    match url.split_once('?') {
        None => out.push('?'),
        Some((_, "")) => {}
        Some((_, query)) if query.ends_with('&') => {}
        Some(_) => out.push('&'),
    }
    out
}

/// Appends `bytes`, all but RFC 3986's unreserved characters escaped.
fn percent(out: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Reads the body of an answer to an announce.
///
/// # Errors
/// No bencoded dictionary. Fields of a wrong type count as missing.
pub fn decode_announce(body: &[u8]) -> Result<HttpAnswer<AnnounceAnswer>, DecodeError> {
    let (document, _) = Document::parse_prefix(body, Limits::ANSWER)?;
    let root = document.root();
    if let Some(failure) = check_answer(root)? {
        return Ok(failure);
    }
    let number = |key: &[u8]| root.get(key).and_then(|value| value.as_u32());
    let bytes = |key: &[u8]| root.get(key).and_then(|value| value.as_bytes());
    let mut peers = Vec::new();
    if let Some(list) = root.get(b"peers") {
        match list.as_bytes() {
            Some(compact) => peers.extend(addrs(compact, V4_LEN).take(ANSWER_PEERS_MAX)),
            None => peers.extend(list.items().filter_map(dictionary_peer).take(ANSWER_PEERS_MAX)),
        }
    }
    let room = ANSWER_PEERS_MAX - peers.len();
    peers.extend(addrs(bytes(b"peers6").unwrap_or(&[]), V6_LEN).take(room));
    Ok(HttpAnswer::Success(AnnounceAnswer {
        interval_s: number(b"interval").unwrap_or(INTERVAL_DEFAULT_S),
        min_interval_s: number(b"min interval"),
        complete: number(b"complete"),
        incomplete: number(b"incomplete"),
        peers,
        external_ip: bytes(b"external ip").and_then(get_ip),
        warning: bytes(b"warning message")
            .map(|warning| text::clean(warning, MESSAGE_CHARS_MAX))
            .filter(|warning| !warning.is_empty()),
    }))
}

/// Reads the body of an answer to a scrape: at most 74 titles.
///
/// # Errors
/// No bencoded dictionary.
pub fn decode_scrape(body: &[u8]) -> Result<HttpAnswer<Vec<(Hash20, ScrapeCounts)>>, DecodeError> {
    let (document, _) = Document::parse_prefix(body, Limits::ANSWER)?;
    let root = document.root();
    if let Some(failure) = check_answer(root)? {
        return Ok(failure);
    }
    let files = root.need(ANSWER, "files")?;
    let counts = files.entries().filter_map(|(hash, counts)| {
        let number = |key: &[u8]| counts.get(key).and_then(|value| value.as_u32()).unwrap_or(0);
        let counts = ScrapeCounts {
            complete: number(b"complete"),
            downloaded: number(b"downloaded"),
            incomplete: number(b"incomplete"),
        };
        Some((Hash20::from_slice(hash)?, counts))
    });
    Ok(HttpAnswer::Success(counts.take(SCRAPE_TITLES_MAX).collect()))
}

/// Whether an answer is a dictionary, and whether it is a refusal.
fn check_answer<T>(root: Value<'_>) -> Result<Option<HttpAnswer<T>>, DecodeError> {
    if !root.is_dict() {
        return Err(root.expected(ANSWER, "a dictionary"));
    }
    let Some(reason) = root.get(b"failure reason") else { return Ok(None) };
    let reason = text::clean(reason.as_bytes().unwrap_or(b""), MESSAGE_CHARS_MAX);
    let retry = root.get(b"retry in").and_then(|retry| match retry.as_bytes() {
        Some(b"never") => Some(Retry::Never),
        Some(digits) => core::str::from_utf8(digits).ok()?.parse().ok().map(Retry::Minutes),
        None => retry.as_u32().map(Retry::Minutes),
    });
    Ok(Some(HttpAnswer::Failure { reason, retry }))
}

fn dictionary_peer(peer: Value<'_>) -> Option<SocketAddr> {
    let ip = peer.get(b"ip")?.as_str()?.parse().ok()?;
    let port = u16::try_from(peer.get(b"port")?.as_u32()?).ok()?;
    Some(SocketAddr::new(ip, port))
}

/// Reads the query of an announce, without its `?`. Unknown parameters are skipped, and so are addresses that the client
/// claims for itself (`ip`, `ipv4`, `ipv6`); of repeated ones the last counts.
///
/// # Errors
/// A query that is too long, or without info-hash, peer id or port.
pub fn parse_announce(query: &str) -> Result<AnnounceQuery, DecodeError> {
    let (mut info_hash, mut peer_id, mut port) = (None, None, None);
    let (mut uploaded, mut downloaded, mut left) = (0, 0, u64::MAX);
    let (mut event, mut key, mut num_want) = (AnnounceEvent::None, 0, None);
    let mut form = PeerForm::Compact;
    for (name, value) in parameters(query)? {
        let text = core::str::from_utf8(&value).unwrap_or("");
        let count = text.parse::<u64>();
        match name {
            "info_hash" => info_hash = Hash20::from_slice(&value),
            "peer_id" => peer_id = <[u8; 20]>::try_from(&value[..]).ok().map(PeerId),
            "port" => port = text.parse::<u16>().ok(),
            "uploaded" => uploaded = count.unwrap_or(uploaded),
            "downloaded" => downloaded = count.unwrap_or(downloaded),
            "left" => left = count.unwrap_or(left),
            "numwant" => num_want = text.parse::<u32>().ok(),
            "key" => key = key_of(&value),
            "compact" if text == "0" => form = PeerForm::Dictionary,
            "compact" => form = PeerForm::Compact,
            "event" => {
                event = match text {
                    "started" => AnnounceEvent::Started,
                    "stopped" => AnnounceEvent::Stopped,
                    "completed" => AnnounceEvent::Completed,
                    _ => AnnounceEvent::None,
                }
            }
            _ => {}
        }
    }
    let missing = |field| DecodeError::new(QUERY, 0, ErrorKind::Missing(field));
    let announce = Announce {
        info_hash: info_hash.ok_or_else(|| missing("info_hash"))?,
        peer_id: peer_id.ok_or_else(|| missing("peer_id"))?,
        port: port.ok_or_else(|| missing("port"))?,
        uploaded,
        downloaded,
        left,
        event,
        key,
        num_want,
    };
    Ok(AnnounceQuery { announce, form })
}

/// Reads the query of a scrape: at most 74 titles. None means that the client wants all, which a tracker may refuse.
///
/// # Errors
/// A query that is too long.
pub fn parse_scrape(query: &str) -> Result<Vec<Hash20>, DecodeError> {
    let hashes = parameters(query)?.filter(|(name, _)| *name == "info_hash");
    Ok(hashes.filter_map(|(_, hash)| Hash20::from_slice(&hash)).take(SCRAPE_TITLES_MAX).collect())
}

/// Names and unescaped values of a query. A `+` stays what it is: info-hashes are bytes, not form fields.
fn parameters(query: &str) -> Result<impl Iterator<Item = (&str, Vec<u8>)>, DecodeError> {
    if query.len() > QUERY_MAX {
        let (limit, received) = (QUERY_MAX as u64, query.len() as u64);
        return Err(DecodeError::new(QUERY, 0, ErrorKind::Limit { limit, received }));
    }
    Ok(query.split('&').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        Some((name, unescape(value)))
    }))
}

/// Undoes percent-encoding; an escape that is none stays as it is.
fn unescape(value: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                rest = after.get(2..).unwrap_or(&[]);
            }
            _ => out.push(byte),
        }
    }
    out
}

/// A key as a number: most clients write one in hexadecimal, the words of others are folded (FNV-1a).
fn key_of(value: &[u8]) -> u32 {
    let number = core::str::from_utf8(value).ok().and_then(|key| u32::from_str_radix(key, 16).ok());
    number.unwrap_or_else(|| {
        value.iter().fold(0x811c_9dc5, |hash: u32, &byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    })
}

/// The body of an answer to an announce.
#[must_use]
pub fn encode_announce(answer: &AnnounceAnswer, form: PeerForm) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|dict| {
        if let Some(complete) = answer.complete {
            dict.uint(b"complete", complete.into());
        }
        if let Some(ip) = &answer.external_ip {
            let mut octets = Vec::with_capacity(16);
            put_ip(&mut octets, ip);
            dict.bytes(b"external ip", &octets);
        }
        if let Some(incomplete) = answer.incomplete {
            dict.uint(b"incomplete", incomplete.into());
        }
        dict.uint(b"interval", answer.interval_s.into());
        if let Some(interval) = answer.min_interval_s {
            dict.uint(b"min interval", interval.into());
        }
        match form {
            PeerForm::Compact => {
                let (mut v4, mut v6) = (Vec::new(), Vec::new());
                for peer in &answer.peers {
                    put_addr(if peer.is_ipv4() { &mut v4 } else { &mut v6 }, peer);
                }
                dict.bytes(b"peers", &v4);
                if !v6.is_empty() {
                    dict.bytes(b"peers6", &v6);
                }
            }
            PeerForm::Dictionary => dict.list(b"peers", |list| {
                for peer in &answer.peers {
                    let mut ip = String::new();
                    let _ = write!(ip, "{}", peer.ip());
                    list.dict(|dict| {
                        dict.bytes(b"ip", ip.as_bytes());
                        dict.uint(b"port", peer.port().into());
                    });
                }
            }),
        }
        if let Some(warning) = &answer.warning {
            dict.bytes(b"warning message", warning.as_bytes());
        }
    });
    out.into_bytes()
}

/// The body of an answer to a scrape. Titles named twice are answered once.
#[must_use]
pub fn encode_scrape(counts: &[(Hash20, ScrapeCounts)]) -> Vec<u8> {
    let mut sorted: Vec<&(Hash20, ScrapeCounts)> = counts.iter().collect();
    sorted.sort_by_key(|entry| entry.0);
    sorted.dedup_by_key(|entry| entry.0);
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.dict(b"files", |files| {
            for (hash, counts) in sorted {
                files.dict(&hash.0, |dict| {
                    dict.uint(b"complete", counts.complete.into());
                    dict.uint(b"downloaded", counts.downloaded.into());
                    dict.uint(b"incomplete", counts.incomplete.into());
                });
            }
        });
    });
    out.into_bytes()
}

/// The body of a refusal, of either request.
#[must_use]
pub fn encode_failure(reason: &str, retry: Option<Retry>) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.bytes(b"failure reason", reason.as_bytes());
        match retry {
            None => {}
            Some(Retry::Minutes(minutes)) => dict.uint(b"retry in", minutes.into()),
            Some(Retry::Never) => dict.bytes(b"retry in", b"never"),
        }
    });
    out.into_bytes()
}
