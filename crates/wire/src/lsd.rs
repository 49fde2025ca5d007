//! Local service discovery datagrams (BEP 14): `239.192.152.143:6771` and `[ff15::efc0:988f]:6771`.
//!
//! **Does**: [`LocalAnnounce::parse`] and [`LocalAnnounce::format`]. **Refuses**: datagrams of other protocols, and those
//! without a port or a title. Headers that we do not know are skipped, names of headers are read in either case.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Write;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use crate::Hash20;
use crate::error::{DecodeError, ErrorKind};

/// Port of both multicast groups.
pub const LOCAL_PORT: u16 = 6771;
/// The IPv4 group, organisation-local.
pub const LOCAL_GROUP_V4: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(239, 192, 152, 143), LOCAL_PORT));
/// The IPv6 group, site-local.
pub const LOCAL_GROUP_V6: SocketAddr = SocketAddr::V6(SocketAddrV6::new(
    Ipv6Addr::new(0xff15, 0, 0, 0, 0, 0, 0xefc0, 0x988f),
    LOCAL_PORT,
    0,
    0,
));
/// Titles that are read from one datagram; more are ignored.
pub const LOCAL_TITLES_MAX: usize = 30;
/// Titles that are written into one datagram, so that it stays below the 1,400 bytes of BEP 14; more are left out.
pub const LOCAL_TITLES_SENT_MAX: usize = 24;
/// Longest datagram that is looked at, bytes.
const DATAGRAM_MAX: usize = 4096;

const WHAT: &str = "local announcement";

/// A BEP 14 announcement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalAnnounce {
    /// Titles, v1 or truncated v2: at most [`LOCAL_TITLES_MAX`] are read, [`LOCAL_TITLES_SENT_MAX`] written.
    pub info_hashes: Vec<Hash20>,
    /// TCP port of the announcer.
    pub port: u16,
    /// By which the announcer knows its own datagrams. Foreign ones that are no hexadecimal number are read as `None`.
    pub cookie: Option<u32>,
}

impl LocalAnnounce {
    /// Reads a datagram.
    ///
    /// # Errors
    /// Another protocol, no usable port, no title.
    pub fn parse(datagram: &[u8]) -> Result<Self, DecodeError> {
        if datagram.len() > DATAGRAM_MAX {
            let (limit, received) = (DATAGRAM_MAX as u64, datagram.len() as u64);
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Limit { limit, received }));
        }
        let Ok(text) = core::str::from_utf8(datagram) else {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Expected("text")));
        };
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut words = lines.next().unwrap_or("").split(' ');
        let starts_well = words.next() == Some("BT-SEARCH")
            && words.next() == Some("*")
            && words.next().is_some_and(|version| version.starts_with("HTTP/1."));
        if !starts_well {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Expected("BT-SEARCH * HTTP/1.1")));
        }
        let (mut info_hashes, mut port, mut cookie) = (Vec::new(), None, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let value = value.trim();
            if name.eq_ignore_ascii_case("infohash") {
                if let Some(hash) = Hash20::from_hex(value)
                    && info_hashes.len() < LOCAL_TITLES_MAX
                {
                    info_hashes.push(hash);
                }
            } else if name.eq_ignore_ascii_case("port") {
                port = value.parse::<u16>().ok().filter(|&port| port > 0);
            } else if name.eq_ignore_ascii_case("cookie") {
                cookie = u32::from_str_radix(value, 16).ok();
            }
        }
        let Some(port) = port else {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Missing("Port")));
        };
        if info_hashes.is_empty() {
            return Err(DecodeError::new(WHAT, 0, ErrorKind::Missing("Infohash")));
        }
        Ok(Self { info_hashes, port, cookie })
    }

    /// The datagram for one of the two groups, whose address stands in it.
    #[must_use]
    pub fn format(&self, group: SocketAddr) -> Vec<u8> {
        let mut text = String::with_capacity(160 + 52 * self.info_hashes.len());
        // Writing into a string has no way to fail.
        let _ = write!(text, "BT-SEARCH * HTTP/1.1\r\nHost: {group}\r\nPort: {}\r\n", self.port);
        for hash in self.info_hashes.iter().take(LOCAL_TITLES_SENT_MAX) {
            let _ = write!(text, "Infohash: {hash}\r\n");
        }
        if let Some(cookie) = self.cookie {
            let _ = write!(text, "cookie: {cookie:08x}\r\n");
        }
        text.push_str("\r\n\r\n");
        text.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_announcement_has_the_form_of_bep_14() {
        let announce = LocalAnnounce {
            info_hashes: vec![Hash20([0xab; 20]), Hash20([1; 20])],
            port: 6881,
            cookie: Some(0xbeef),
        };
        let expected = "BT-SEARCH * HTTP/1.1\r\nHost: 239.192.152.143:6771\r\nPort: 6881\r\n\
            Infohash: abababababababababababababababababababab\r\n\
            Infohash: 0101010101010101010101010101010101010101\r\ncookie: 0000beef\r\n\r\n\r\n";
        assert_eq!(announce.format(LOCAL_GROUP_V4), expected.as_bytes());
        assert!(
            announce
                .format(LOCAL_GROUP_V6)
                .starts_with(b"BT-SEARCH * HTTP/1.1\r\nHost: [ff15::efc0:988f]:6771\r\n")
        );
        assert_eq!(LocalAnnounce::parse(expected.as_bytes()), Ok(announce));
    }

    #[test]
    fn foreign_spelling_and_foreign_cookies_are_read() {
        let text = "BT-SEARCH * HTTP/1.1\nHOST:x\nPORT:51413\nINFOHASH:\
            ABABABABABABABABABABABABABABABABABABABAB\nInfohash: nonsense\nCookie: name-of-mine\n\n";
        let announce = LocalAnnounce::parse(text.as_bytes()).expect("readable");
        assert_eq!((announce.port, announce.info_hashes.len(), announce.cookie), (51413, 1, None));
    }

    #[test]
    fn a_datagram_without_port_or_title_is_refused() {
        for text in [
            "BT-SEARCH * HTTP/1.1\r\nInfohash: abababababababababababababababababababab\r\n\r\n",
            "BT-SEARCH * HTTP/1.1\r\nPort: 0\r\nInfohash: abababababababababababababababababababab",
            "BT-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n",
            "M-SEARCH * HTTP/1.1\r\nPort: 6881\r\n\r\n",
        ] {
            assert!(LocalAnnounce::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn announcements_survive_the_wire_and_fit_it(
            hashes in proptest::collection::vec(any::<[u8; 20]>(), 1..=LOCAL_TITLES_SENT_MAX),
            port in 1u16..,
            cookie in any::<Option<u32>>(),
        ) {
            let info_hashes: Vec<_> = hashes.into_iter().map(Hash20).collect();
            let announce = LocalAnnounce { info_hashes, port, cookie };
            let datagram = announce.format(LOCAL_GROUP_V6);
            prop_assert!(datagram.len() <= 1400);
            prop_assert_eq!(LocalAnnounce::parse(&datagram), Ok(announce));
        }

        #[test]
        fn noise_never_panics(noise in ".{0,200}") {
            let _ = LocalAnnounce::parse(noise.as_bytes());
            let _ = LocalAnnounce::parse(alloc::format!("BT-SEARCH * HTTP/1.1\r\n{noise}").as_bytes());
        }
    }
}
