//! Bodies of the targets for `shoal-serve`.

use hyper::Method;
use hyper::header::{HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use shoal_serve::conditions::{Verdict, weigh};
use shoal_serve::guard::{HostName, parse_host};
use shoal_serve::kind;
use shoal_serve::range::{Asked, asked};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] =
    &[("range_host", range_host), ("rtcp_reports", rtcp_reports), ("rtsp_requests", rtsp_requests)];

/// A range is inside the file and not empty, also behind conditions; a host has no character that means something else; a name stays in its
/// header line. The first eight bytes are the length of the file.
pub fn range_host(data: &[u8]) {
    let Some((length, text)) = data.split_first_chunk::<8>() else { return };
    let (length, text) = (u64::from_be_bytes(*length), String::from_utf8_lossy(text));
    if let Asked::Part(range) = asked(&text, length) {
        assert!(range.start < range.end && range.end <= length);
    }
    if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
        for condition in [IF_MATCH, IF_NONE_MATCH, IF_RANGE] {
            let headers =
                HeaderMap::from_iter([(condition, value.clone()), (RANGE, value.clone())]);
            if let Verdict::Send(Asked::Part(range)) = weigh(&Method::GET, &headers, &text, length)
            {
                assert!(range.start < range.end && range.end <= length);
            }
        }
    }
    if let Some((HostName::Name(name), _)) = parse_host(&text) {
        assert!(!name.is_empty() && !name.contains(['/', '@', ':', '%', ' ', '[', '\\', '?', '#']));
        assert_eq!(name, name.to_ascii_lowercase());
    }
    let header = kind::disposition(&text, kind::of(&text).1);
    assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
}

/// Requests of RTSP, several in a row, with packets in between.
pub fn rtsp_requests(data: &[u8]) {
    assert!(shoal_serve::rtsp::read(data).len() <= data.len());
}

/// Reports of a player (RTCP): a count of lost packets has 24 bits. The first four bytes name the source.
pub fn rtcp_reports(data: &[u8]) {
    let Some((source, reports)) = data.split_first_chunk::<4>() else { return };
    let lost = shoal_serve::rtsp::lost(reports, u32::from_be_bytes(*source));
    assert!(lost.is_none_or(|lost| lost < 1 << 24));
}
