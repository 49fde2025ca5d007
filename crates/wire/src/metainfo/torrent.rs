//! Torrent files: bytes to [`Metainfo`] (BEP 3, 12, 19, 52).

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use bytes::Bytes;

use super::{Info, Metainfo, display_text};
use crate::DecodeError;
use crate::bencode::{Document, Limits, Value};
use crate::error::ErrorKind;
use crate::merkle::TreeShape;

/// Most trackers and most web seeds read from a file or link; further ones are left out.
pub const MAX_URLS: usize = 100;
/// Longest address of a tracker or web seed, bytes; longer ones are left out.
pub const MAX_URL_BYTES: usize = 2048;
/// Longest comment and program name, characters; cut beyond.
const MAX_TEXT_CHARS: usize = 4096;

impl Metainfo {
    /// Reads a torrent file. White space behind it is ignored.
    ///
    /// # Errors
    /// What [`Info::parse`] refuses, and a piece layer that does not belong to its root. A missing piece layer is not an
    /// error: it can be fetched from peers. Trackers and web seeds that are no text or too long are left out.
    pub fn parse(file: &Bytes) -> Result<Self, DecodeError> {
        let input = file.slice(..file.trim_ascii_end().len());
        let document = Document::parse(&input, Limits::FILE)?;
        let root = document.root();
        if !root.is_dict() {
            return Err(root.expected("torrent file", "a dictionary"));
        }
        let info = Info::from_value(root.need("torrent file", "info")?, &input)?;
        let piece_layers = match (root.get(b"piece layers"), info.hashes.v2) {
            (Some(layers), Some(_)) => read_layers(layers, &info, &input)?,
            _ => Vec::new(),
        };
        let text = |key: &[u8]| {
            let raw = root.get(key).and_then(|value| value.as_bytes())?;
            Some(display_text(raw, MAX_TEXT_CHARS)).filter(|text| !text.is_empty())
        };
        Ok(Self {
            trackers: read_trackers(root),
            web_seeds: read_web_seeds(root),
            piece_layers,
            comment: text(b"comment.utf-8").or_else(|| text(b"comment")),
            created_by: text(b"created by"),
            created_unix_s: root.get(b"creation date").and_then(|value| value.as_u64()),
            info,
        })
    }
}

/// An address as it may be used: text without spaces or control characters, not too long.
pub(crate) fn url_text(raw: &[u8]) -> Option<String> {
    let text = core::str::from_utf8(raw).ok()?.trim();
    let fine = !text.is_empty()
        && text.len() <= MAX_URL_BYTES
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    fine.then(|| text.to_owned())
}

fn urls(value: Value<'_>) -> Vec<String> {
    let one = value.as_bytes().and_then(url_text);
    one.into_iter()
        .chain(value.items().filter_map(|item| item.as_bytes().and_then(url_text)))
        .take(MAX_URLS)
        .collect()
}

fn read_trackers(root: Value<'_>) -> Vec<Vec<String>> {
    let mut room = MAX_URLS;
    let mut tiers = Vec::new();
    for tier in root.get(b"announce-list").into_iter().flat_map(|list| list.items()) {
        let mut tier = urls(tier);
        tier.truncate(room);
        room -= tier.len();
        if !tier.is_empty() {
            tiers.push(tier);
        }
    }
    if tiers.is_empty() {
        tiers.extend(root.get(b"announce").map(urls).filter(|tier| !tier.is_empty()));
    }
    tiers
}

fn read_web_seeds(root: Value<'_>) -> Vec<String> {
    let mut seeds = root.get(b"url-list").map(urls).unwrap_or_default();
    let mut seen = alloc::collections::BTreeSet::new();
    seeds.retain(|seed| seen.insert(seed.clone()));
    seeds
}

fn read_layers(
    layers: Value<'_>,
    info: &Info,
    input: &Bytes,
) -> Result<Vec<(crate::Hash32, Bytes)>, DecodeError> {
    const WHAT: &str = "piece layers";
    if !layers.is_dict() {
        return Err(layers.expected(WHAT, "a dictionary"));
    }
    let by_root: BTreeMap<&[u8], Value<'_>> = layers.entries().collect();
    let mut checked = BTreeMap::new();
    let mut out = Vec::new();
    for file in &info.files {
        let Some(root) = file.pieces_root else { continue };
        let Some(shape) = TreeShape::new(file.length, info.layout.piece_length()) else { continue };
        let Some(value) = by_root.get(&root.0[..]).filter(|_| shape.has_piece_layer()) else {
            continue;
        };
        // Files of the same content share a layer: it is checked once, and must have been checked for this length.
        match checked.insert(root, file.length) {
            Some(length) if length == file.length => continue,
            Some(_) => return Err(DecodeError::invalid(WHAT, "one root with two lengths")),
            None => {}
        }
        let span = value.content_span().ok_or_else(|| value.expected(WHAT, "a string"))?;
        let layer = input.slice(span.clone());
        if !shape.check_piece_layer(&root, &layer) {
            let why = ErrorKind::Invalid("hashes that do not lead to the root of their file");
            return Err(DecodeError::new(WHAT, span.start, why));
        }
        out.push((root, layer));
    }
    Ok(out)
}
