//! Boxes of ISO base media: four letters and a length (ISO/IEC 14496-12, 4.2).

use crate::bytes::{array, u32_at, u64_at};

/// The four letters of a box.
pub(crate) type Name = [u8; 4];

/// Longest header: length, letters, long length.
pub(crate) const HEADER_MAX: u64 = 16;

/// The head of a box.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Header {
    /// Its letters.
    pub(crate) name: Name,
    /// Bytes of the header itself.
    pub(crate) header_len: u64,
    /// Bytes of the whole box; `None` when it reaches to the end of what contains it.
    pub(crate) length: Option<u64>,
}

/// Reads the head of the box that begins at `data`. `None` when too short or shorter than its own header.
pub(crate) fn header(data: &[u8]) -> Option<Header> {
    let short = u32_at(data, 0)?;
    let name = array(data, 4)?;
    match short {
        0 => Some(Header { name, header_len: 8, length: None }),
        1 => {
            let length = u64_at(data, 8)?;
            (length >= 16).then_some(Header { name, header_len: 16, length: Some(length) })
        }
        2..8 => None,
        _ => Some(Header { name, header_len: 8, length: Some(u64::from(short)) }),
    }
}

/// The boxes inside `data`, as letters and body; ends at the first one that does not fit.
pub(crate) fn children(data: &[u8]) -> impl Iterator<Item = (Name, &[u8])> {
    let mut rest = data;
    core::iter::from_fn(move || {
        let head = header(rest)?;
        let length = head.length.map_or(Some(rest.len()), |length| usize::try_from(length).ok())?;
        let body = rest.get(usize::try_from(head.header_len).ok()?..length)?;
        rest = rest.get(length..)?;
        Some((head.name, body))
    })
}

/// The first box called `name` inside `data`.
pub(crate) fn child<'a>(data: &'a [u8], name: &Name) -> Option<&'a [u8]> {
    children(data).find(|(found, _)| found == name).map(|(_, body)| body)
}

/// The first box of `data` with its header; empty when there is none that is whole.
pub(crate) fn first(data: &[u8]) -> &[u8] {
    header(data)
        .and_then(|head| {
            head.length.map_or(Some(data.len()), |length| usize::try_from(length).ok())
        })
        .and_then(|length| data.get(..length))
        .unwrap_or(&[])
}

/// Version and flags of a full box.
pub(crate) fn version_flags(body: &[u8]) -> Option<(u8, u32)> {
    let word = u32_at(body, 0)?;
    Some(((word >> 24) as u8, word & 0x00ff_ffff))
}

#[cfg(test)]
mod tests {
    use super::{children, header};

    #[test]
    fn a_box_that_is_longer_than_its_parent_ends_the_list() {
        let mut data = b"\0\0\0\x09free\x07".to_vec();
        data.extend_from_slice(b"\0\0\0\x20mdat");
        let found: Vec<_> = children(&data).collect();
        assert_eq!(found, [(*b"free", &[7u8][..])]);
    }

    #[test]
    fn lengths_below_the_header_are_refused() {
        assert!(header(b"\0\0\0\x07free").is_none());
        assert!(header(b"\0\0\0\x01free\0\0\0\0\0\0\0\x0f").is_none());
        assert!(header(b"\0\0\0\x01free\0\0\0\0\0\0\0\x10").is_some());
    }
}
