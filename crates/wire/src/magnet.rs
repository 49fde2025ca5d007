//! Magnet links: BEP 9, BEP 53 (`so=`), v2 `btmh`, `x.pe`, `tr`, `ws`; and the other forms of a link to a title.
//!
//! **Does**: [`Magnet::parse`] and its text form (`Display`), [`Link::parse`] for whatever a person may paste.
//! **Refuses**: links longer than [`MAX_LINK_BYTES`], links without an info-hash, and info-hashes that are none. What is
//! broken in the rest of a link (a tracker that is no address, a file range that ends before it begins) is left out: the
//! title can still be found.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::SocketAddr;

use crate::error::ErrorKind;
use crate::metainfo::{MAX_URLS, display_text, url_text};
use crate::{DecodeError, Hash20, Hash32, InfoHashes};

/// Longest link read, bytes.
pub const MAX_LINK_BYTES: usize = 64 * 1024;
/// Most parameters read; further ones are left out.
const MAX_PARAMETERS: usize = 1000;
/// Longest name kept, characters.
const MAX_NAME_CHARS: usize = 255;
/// Longest host name, bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;
/// Most ranges in a file selection.
const MAX_RANGES: usize = 1000;

const WHAT: &str = "magnet link";
const SCHEME: &str = "magnet:?";

/// A parsed magnet link.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Magnet {
    /// At least one is present after a successful parse.
    pub hashes: InfoHashes,
    /// `dn`, a name for display only, sanitised.
    pub name: Option<String>,
    /// `tr`: trackers, each a tier of its own.
    pub trackers: Vec<String>,
    /// `ws`: web seeds.
    pub web_seeds: Vec<String>,
    /// `x.pe` with literal addresses.
    pub peers: Vec<SocketAddr>,
    /// `x.pe` with host names: resolved by the caller. Host and port.
    pub peer_names: Vec<(String, u16)>,
    /// `so`: selected files, inclusive ranges; empty when all.
    pub select: Vec<(u32, u32)>,
}

/// What a person may name a title by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// A magnet link, or a bare info-hash in hex: 40 digits v1, 64 digits v2.
    Magnet(Magnet),
    /// The address of a torrent file.
    Url(String),
    /// Anything else: the path of a torrent file.
    File(String),
}

impl Link {
    /// Tells which kind of link `text` is. White space around it is ignored.
    ///
    /// # Errors
    /// A magnet link that [`Magnet::parse`] refuses; an empty text; an address that is no address.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(DecodeError::invalid("link", "it is empty"));
        }
        if has_prefix(text, "magnet:") {
            return Magnet::parse(text).map(Self::Magnet);
        }
        if has_prefix(text, "http://") || has_prefix(text, "https://") {
            let url = url_text(text.as_bytes());
            return url.map(Self::Url).ok_or(DecodeError::invalid("link", "not a usable address"));
        }
        Ok(match info_hash(text) {
            Some(hashes) => Self::Magnet(Magnet { hashes, ..Magnet::default() }),
            None => Self::File(text.to_owned()),
        })
    }
}

fn has_prefix(text: &str, prefix: &str) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// The names that a bare info-hash in hex gives: 40 digits are v1, 64 digits v2. `None` for anything else.
#[must_use]
pub fn info_hash(text: &str) -> Option<InfoHashes> {
    let v1 = Hash20::from_hex(text);
    let v2 = Hash32::from_hex(text);
    (v1.is_some() || v2.is_some()).then_some(InfoHashes { v1, v2 })
}

impl Magnet {
    /// Reads a magnet link. The scheme and parameter names may be of either case, numbered names (`tr.1`) count as plain ones.
    ///
    /// # Errors
    /// Too long, no `magnet:?` in front, no info-hash, an info-hash that is malformed, or two different ones of one version.
    pub fn parse(text: &str) -> Result<Self, DecodeError> {
        if text.len() > MAX_LINK_BYTES {
            let kind =
                ErrorKind::Limit { limit: MAX_LINK_BYTES as u64, received: text.len() as u64 };
            return Err(DecodeError::new(WHAT, 0, kind));
        }
        if !has_prefix(text, SCHEME) {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Expected("magnet:? in front")));
        }
        let mut magnet = Self::default();
        let query = text.get(SCHEME.len()..).unwrap_or("");
        let query = query.split('#').next().unwrap_or("");
        for parameter in query.split('&').take(MAX_PARAMETERS) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let value = percent_decode(value);
            match plain_key(key).as_str() {
                "xt" => magnet.take_topic(&value)?,
                "dn" if magnet.name.is_none() => {
                    let name = display_text(&value, MAX_NAME_CHARS);
                    magnet.name = Some(name).filter(|name| !name.is_empty());
                }
                "tr" => add_url(&mut magnet.trackers, &value),
                "ws" => add_url(&mut magnet.web_seeds, &value),
                "x.pe" => magnet.take_peer(&value),
                "so" => magnet.take_selection(&value),
                _ => {}
            }
        }
        match magnet.hashes.primary() {
            Some(_) => Ok(magnet),
            None => Err(DecodeError::new(WHAT, 0, ErrorKind::Missing("xt (an info-hash)"))),
        }
    }

    /// `xt`: topics that are not BitTorrent's are left out, broken ones that are refuse the link.
    fn take_topic(&mut self, value: &[u8]) -> Result<(), DecodeError> {
        let Ok(value) = core::str::from_utf8(value) else { return Ok(()) };
        if has_prefix(value, "urn:btih:") {
            let digits = value.get("urn:btih:".len()..).unwrap_or("");
            let hash = Hash20::from_hex(digits).or_else(|| base32(digits)).ok_or(
                DecodeError::invalid(WHAT, "btih is neither 40 digits of hex nor 32 of base32"),
            )?;
            return set_once(&mut self.hashes.v1, hash);
        }
        if has_prefix(value, "urn:btmh:") {
            // A multihash: 0x12 SHA-256, 0x20 its length.
            let digits = value.get("urn:btmh:".len()..).unwrap_or("");
            let hash = digits.strip_prefix("1220").and_then(Hash32::from_hex).ok_or(
                DecodeError::invalid(WHAT, "btmh is not 1220 and 64 digits of hex (SHA-256)"),
            )?;
            return set_once(&mut self.hashes.v2, hash);
        }
        Ok(())
    }

    fn take_peer(&mut self, value: &[u8]) {
        let Ok(text) = core::str::from_utf8(value) else { return };
        if self.peers.len() + self.peer_names.len() >= MAX_URLS {
            return;
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            if addr.port() != 0 && !self.peers.contains(&addr) {
                self.peers.push(addr);
            }
            return;
        }
        let Some((host, port)) = text.rsplit_once(':') else { return };
        let fine = !host.is_empty()
            && host.len() <= MAX_HOST_BYTES
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if let (true, Ok(port @ 1..)) = (fine, port.parse::<u16>()) {
            self.peer_names.push((host.to_owned(), port));
        }
    }

    /// BEP 53: `0,2,4-6`. Ranges come out ascending and joined.
    fn take_selection(&mut self, value: &[u8]) {
        let Ok(text) = core::str::from_utf8(value) else { return };
        for part in text.split(',').take(MAX_RANGES) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (number(first), number(last))
                && first <= last
            {
                self.select.push((first, last));
            }
        }
        self.select.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::new();
        for (first, last) in self.select.drain(..) {
            match joined.last_mut() {
                Some(range) if first <= range.1.saturating_add(1) => range.1 = range.1.max(last),
                _ => joined.push((first, last)),
            }
        }
        joined.truncate(MAX_RANGES);
        self.select = joined;
    }

    /// Whether file `index` is selected.
    #[must_use]
    pub fn selects(&self, index: u32) -> bool {
        self.select.is_empty()
            || self.select.iter().any(|(first, last)| (*first..=*last).contains(&index))
    }
}

/// Digits alone: `u32::from_str` would take a plus sign.
fn number(text: &str) -> Result<u32, ()> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(());
    }
    text.parse().map_err(|_| ())
}

fn set_once<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), DecodeError> {
    match slot {
        Some(own) if *own != hash => {
            Err(DecodeError::invalid(WHAT, "two different info-hashes of one version"))
        }
        _ => {
            *slot = Some(hash);
            Ok(())
        }
    }
}

fn add_url(list: &mut Vec<String>, value: &[u8]) {
    if let Some(url) = url_text(value).filter(|url| list.len() < MAX_URLS && !list.contains(url)) {
        list.push(url);
    }
}

/// A parameter's name in lower case, without a number behind a dot.
fn plain_key(key: &str) -> String {
    let numbered = key.rsplit_once('.').filter(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    numbered.map_or(key, |(plain, _)| plain).to_ascii_lowercase()
}

/// Undoes percent encoding and `+` for a space; a `%` without two digits stands for itself.
fn percent_decode(text: &str) -> Vec<u8> {
    let text = text.as_bytes();
    let digit = |at: usize| text.get(at).and_then(|byte| (*byte as char).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let escaped = (byte == b'%').then(|| digit(at + 1).zip(digit(at + 2))).flatten();
        match (escaped, byte) {
            (Some((high, low)), _) => {
                out.push((high * 16 + low) as u8);
                at += 2;
            }
            (None, b'+') => out.push(b' '),
            (None, byte) => out.push(byte),
        }
        at += 1;
    }
    out
}

/// 32 digits of RFC 4648 base32, either case.
fn base32(digits: &str) -> Option<Hash20> {
    if digits.len() != 32 {
        return None;
    }
    let mut out = [0u8; 20];
    let (mut bits, mut count) = (0u32, 0u32);
    let mut slots = out.iter_mut();
    for byte in digits.bytes() {
        let value = match byte.to_ascii_uppercase() {
            letter @ b'A'..=b'Z' => letter - b'A',
            number @ b'2'..=b'7' => number - b'2' + 26,
            _ => return None,
        };
        bits = bits << 5 | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            *slots.next()? = (bits >> count) as u8;
            bits &= (1 << count) - 1;
        }
    }
    Some(Hash20(out))
}

/// Text in which all but unreserved characters (RFC 3986) are percent encoded.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.bytes().try_for_each(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                write!(f, "{}", byte as char)
            }
            byte => write!(f, "%{byte:02X}"),
        })
    }
}

/// The link as text, which [`Magnet::parse`] reads back.
impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = SCHEME;
        let mut next = || core::mem::replace(&mut separator, "&");
        if let Some(hash) = self.hashes.v1 {
            write!(f, "{}xt=urn:btih:{hash}", next())?;
        }
        if let Some(hash) = self.hashes.v2 {
            write!(f, "{}xt=urn:btmh:1220{hash}", next())?;
        }
        if let Some(name) = &self.name {
            write!(f, "{}dn={}", next(), Escaped(name))?;
        }
        for url in &self.trackers {
            write!(f, "{}tr={}", next(), Escaped(url))?;
        }
        for url in &self.web_seeds {
            write!(f, "{}ws={}", next(), Escaped(url))?;
        }
        for peer in &self.peers {
            write!(f, "{}x.pe={peer}", next())?;
        }
        for (host, port) in &self.peer_names {
            write!(f, "{}x.pe={host}:{port}", next())?;
        }
        for (at, (first, last)) in self.select.iter().enumerate() {
            match at {
                0 => write!(f, "{}so=", next())?,
                _ => write!(f, ",")?,
            }
            match first == last {
                true => write!(f, "{first}")?,
                false => write!(f, "{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
