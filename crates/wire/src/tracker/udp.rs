//! Tracker datagrams (BEP 15, with the options of BEP 41), both directions.
//!
//! **Does**: [`UdpTracker::encode`]; [`UdpTracker::decode_request`] for a tracker, [`UdpTracker::decode_answer`] for its
//! client: nothing in a datagram tells the direction, so the reader must know it.
//! **Refuses**: datagrams shorter than their kind. Longer ones are read as far as they are known, as BEP 15 asks.

use alloc::string::String;
use alloc::vec::Vec;
use bytes::Buf;

use super::{ANSWER_PEERS_MAX, Announce, AnnounceAnswer, AnnounceEvent, ScrapeCounts, UdpTracker};
use super::{MESSAGE_CHARS_MAX, SCRAPE_TITLES_MAX};
use crate::compact::{V4_LEN, V6_LEN, addrs, put_addr};
use crate::error::{DecodeError, ErrorKind};
use crate::{Hash20, PeerId, text};

/// What stands in place of a connection id in a connect request.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;
/// BEP 41 options.
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL: u8 = 2;
/// Bytes of URL data that are kept.
const URL_DATA_MAX: usize = 1024;

const REQUEST: &str = "tracker request";
const ANSWER: &str = "tracker answer";

impl UdpTracker {
    /// The datagram. `ipv6` is the family of the socket that it leaves by: peers of the other family are left out of an
    /// answer, since it has no room for them.
    #[must_use]
    pub fn encode(&self, ipv6: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        match self {
            Self::Connect { transaction } => {
                put_request(&mut out, PROTOCOL_ID, CONNECT, *transaction)
            }
            Self::Connected { transaction, connection } => {
                put_answer(&mut out, CONNECT, *transaction);
                out.extend_from_slice(&connection.to_be_bytes());
            }
            Self::Announce { connection, transaction, announce, url_data } => {
                put_request(&mut out, *connection, ANNOUNCE, *transaction);
                put_announce(&mut out, announce, url_data);
            }
            Self::Announced { transaction, answer } => {
                put_answer(&mut out, ANNOUNCE, *transaction);
                put_u32(&mut out, answer.interval_s);
                put_u32(&mut out, answer.incomplete.unwrap_or(0));
                put_u32(&mut out, answer.complete.unwrap_or(0));
                for peer in answer.peers.iter().filter(|peer| peer.is_ipv6() == ipv6) {
                    put_addr(&mut out, peer);
                }
            }
            Self::Scrape { connection, transaction, info_hashes } => {
                put_request(&mut out, *connection, SCRAPE, *transaction);
                for hash in info_hashes.iter().take(SCRAPE_TITLES_MAX) {
                    out.extend_from_slice(&hash.0);
                }
            }
            Self::Scraped { transaction, counts } => {
                put_answer(&mut out, SCRAPE, *transaction);
                for counts in counts.iter().take(SCRAPE_TITLES_MAX) {
                    put_u32(&mut out, counts.complete);
                    put_u32(&mut out, counts.downloaded);
                    put_u32(&mut out, counts.incomplete);
                }
            }
            Self::Error { transaction, message } => {
                put_answer(&mut out, ERROR, *transaction);
                out.extend_from_slice(message.as_bytes());
            }
        }
        out
    }

    /// Reads what a client sent to a tracker.
    ///
    /// # Errors
    /// Too short, no request, or a connect request without BEP 15's magic number.
    pub fn decode_request(datagram: &[u8]) -> Result<Self, DecodeError> {
        let mut rest = datagram;
        let truncated = |_| DecodeError::new(REQUEST, datagram.len(), ErrorKind::Truncated);
        let connection = rest.try_get_u64().map_err(truncated)?;
        let action = rest.try_get_u32().map_err(truncated)?;
        let transaction = rest.try_get_u32().map_err(truncated)?;
        match action {
            CONNECT if connection == PROTOCOL_ID => Ok(Self::Connect { transaction }),
            CONNECT => Err(DecodeError::invalid(REQUEST, "not the number of the UDP protocol")),
            ANNOUNCE => {
                let (announce, options) = get_announce(rest).map_err(truncated)?;
                let url_data = get_url_data(options);
                Ok(Self::Announce { connection, transaction, announce, url_data })
            }
            SCRAPE => {
                let hashes = rest.chunks_exact(20).take(SCRAPE_TITLES_MAX);
                let info_hashes = hashes.filter_map(Hash20::from_slice).collect();
                Ok(Self::Scrape { connection, transaction, info_hashes })
            }
            _ => Err(DecodeError::new(REQUEST, 8, ErrorKind::Expected("an action from 0 to 2"))),
        }
    }

    /// Reads what a tracker answered. `ipv6` is the family of the socket that it came by: it decides the size of a peer.
    ///
    /// # Errors
    /// Too short, or no answer.
    pub fn decode_answer(datagram: &[u8], ipv6: bool) -> Result<Self, DecodeError> {
        let mut rest = datagram;
        let truncated = |_| DecodeError::new(ANSWER, datagram.len(), ErrorKind::Truncated);
        let action = rest.try_get_u32().map_err(truncated)?;
        let transaction = rest.try_get_u32().map_err(truncated)?;
        match action {
            CONNECT => {
                let connection = rest.try_get_u64().map_err(truncated)?;
                Ok(Self::Connected { transaction, connection })
            }
            ANNOUNCE => {
                let interval_s = rest.try_get_u32().map_err(truncated)?;
                let incomplete = Some(rest.try_get_u32().map_err(truncated)?);
                let complete = Some(rest.try_get_u32().map_err(truncated)?);
                let size = if ipv6 { V6_LEN } else { V4_LEN };
                let peers = addrs(rest, size).take(ANSWER_PEERS_MAX).collect();
                let answer = AnnounceAnswer {
                    interval_s,
                    complete,
                    incomplete,
                    peers,
                    ..Default::default()
                };
                Ok(Self::Announced { transaction, answer })
            }
            SCRAPE => {
                let counts = rest.chunks_exact(12).take(SCRAPE_TITLES_MAX);
                let counts = counts.map(|mut entry| ScrapeCounts {
                    complete: entry.get_u32(),
                    downloaded: entry.get_u32(),
                    incomplete: entry.get_u32(),
                });
                Ok(Self::Scraped { transaction, counts: counts.collect() })
            }
            ERROR => {
                let message = text::clean(rest, MESSAGE_CHARS_MAX);
                Ok(Self::Error { transaction, message })
            }
            _ => Err(DecodeError::new(ANSWER, 0, ErrorKind::Expected("an action from 0 to 3"))),
        }
    }

    /// The number that pairs an answer with its request.
    #[must_use]
    pub fn transaction(&self) -> u32 {
        match self {
            Self::Connect { transaction }
            | Self::Connected { transaction, .. }
            | Self::Announce { transaction, .. }
            | Self::Announced { transaction, .. }
            | Self::Scrape { transaction, .. }
            | Self::Scraped { transaction, .. }
            | Self::Error { transaction, .. } => *transaction,
        }
    }
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_request(out: &mut Vec<u8>, connection: u64, action: u32, transaction: u32) {
    out.extend_from_slice(&connection.to_be_bytes());
    put_u32(out, action);
    put_u32(out, transaction);
}

fn put_answer(out: &mut Vec<u8>, action: u32, transaction: u32) {
    put_u32(out, action);
    put_u32(out, transaction);
}

fn put_announce(out: &mut Vec<u8>, announce: &Announce, url_data: &str) {
    out.extend_from_slice(&announce.info_hash.0);
    out.extend_from_slice(&announce.peer_id.0);
    for count in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    put_u32(
        out,
        match announce.event {
            AnnounceEvent::None => 0,
            AnnounceEvent::Completed => 1,
            AnnounceEvent::Started => 2,
            AnnounceEvent::Stopped => 3,
        },
    );
    // The sender's address: 0 means the one that the datagram comes from.
    put_u32(out, 0);
    put_u32(out, announce.key);
    put_u32(out, announce.num_want.unwrap_or(u32::MAX));
    out.extend_from_slice(&announce.port.to_be_bytes());
    for part in url_data.as_bytes().chunks(usize::from(u8::MAX)) {
        out.push(OPTION_URL);
        out.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(part);
    }
}

/// Reads the fixed part of an announce, and leaves the options behind it.
fn get_announce(mut rest: &[u8]) -> Result<(Announce, &[u8]), bytes::TryGetError> {
    let (mut info_hash, mut peer_id) = ([0u8; 20], [0u8; 20]);
    rest.try_copy_to_slice(&mut info_hash)?;
    rest.try_copy_to_slice(&mut peer_id)?;
    let downloaded = rest.try_get_u64()?;
    let left = rest.try_get_u64()?;
    let uploaded = rest.try_get_u64()?;
    let event = match rest.try_get_u32()? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        _ => AnnounceEvent::None,
    };
    let _address = rest.try_get_u32()?;
    let key = rest.try_get_u32()?;
    // Signed in BEP 15: whatever is negative leaves it to the tracker.
    let num_want = Some(rest.try_get_u32()?).filter(|&wanted| wanted <= i32::MAX as u32);
    let port = rest.try_get_u16()?;
    let (info_hash, peer_id) = (Hash20(info_hash), PeerId(peer_id));
    let announce =
        Announce { info_hash, peer_id, port, uploaded, downloaded, left, event, key, num_want };
    Ok((announce, rest))
}

/// The URL data of BEP 41, joined; what cannot be read ends the options.
fn get_url_data(mut options: &[u8]) -> String {
    let mut url = Vec::new();
    while let Some((&kind, rest)) = options.split_first() {
        options = match kind {
            OPTION_END => break,
            OPTION_NOP => rest,
            _ => {
                let Some((&length, rest)) = rest.split_first() else { break };
                let Some((data, rest)) = rest.split_at_checked(usize::from(length)) else { break };
                if kind == OPTION_URL && url.len() + data.len() <= URL_DATA_MAX {
                    url.extend_from_slice(data);
                }
                rest
            }
        };
    }
    // A URL on the wire is ASCII (RFC 3986): whatever else came would only grow on its way through a string.
    url.retain(u8::is_ascii_graphic);
    text::clean(&url, URL_DATA_MAX)
}
