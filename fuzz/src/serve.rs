//! Bodies of the targets for `shoal-serve`.

use shoal_serve::guard::{HostName, parse_host};
use shoal_serve::kind;
use shoal_serve::range::{Asked, asked};

/// A name and what the target of that name does with its input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets of this file by name.
pub const TARGETS: &[Target] = &[("range_host", range_host), ("rtsp_requests", rtsp_requests)];

/// A range is inside the file and not empty; a host has no character that means something else; a name stays in its
/// header line. The first eight bytes are the length of the file.
pub fn range_host(data: &[u8]) {
    let Some((length, text)) = data.split_first_chunk::<8>() else { return };
    let (length, text) = (u64::from_be_bytes(*length), String::from_utf8_lossy(text));
    if let Asked::Part(range) = asked(&text, length) {
        assert!(range.start < range.end && range.end <= length);
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
