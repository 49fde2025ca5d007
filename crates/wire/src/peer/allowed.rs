//! The canonical allowed-fast set of BEP 6.

use alloc::vec::Vec;
use core::net::IpAddr;
use sha1::{Digest, Sha1};

use crate::Hash20;

/// Hashes taken at most: five indices each. Sets are a few pieces long and need a few.
const ROUNDS_MAX: usize = 1024;
/// Bytes of an IPv4 address that count: neighbours in one network share a set (BEP 6).
const V4_BYTES: usize = 3;
/// The same for IPv6, where BEP 6 has nothing to say: the first 48 bits are one site (RFC 6177).
const V6_BYTES: usize = 6;

/// The pieces that a peer at `ip` may ask for while it is choked, in canonical order: `count` of the `pieces` of the title,
/// or all when there are fewer. The first of them are the same whatever `count` is and whoever computes them.
///
/// `info_hash` is the name under which the link was opened: that of v2 is cut to 20 bytes there too. An IPv4 address that is
/// written as IPv6 counts as what it is. O(`count`) while that is much smaller than `pieces`.
#[must_use]
pub fn allowed_fast_set(ip: IpAddr, info_hash: &Hash20, pieces: u32, count: u32) -> Vec<u32> {
    let mut hasher = Sha1::new();
    match ip.to_canonical() {
        IpAddr::V4(ip) => masked(&mut hasher, ip.octets(), V4_BYTES),
        IpAddr::V6(ip) => masked(&mut hasher, ip.octets(), V6_BYTES),
    }
    hasher.update(info_hash.0);
    let wanted = count.min(pieces) as usize;
    let mut set = Vec::new();
    for _ in 0..ROUNDS_MAX {
        let hash = hasher.finalize_reset();
        for word in hash.as_chunks::<4>().0 {
            if set.len() == wanted {
                return set;
            }
            let piece = u32::from_be_bytes(*word) % pieces;
            if !set.contains(&piece) {
                set.push(piece);
            }
        }
        hasher.update(hash);
    }
    set
}

/// Takes in an address of which the first `kept` bytes count.
fn masked<const N: usize>(hasher: &mut Sha1, mut octets: [u8; N], kept: usize) {
    octets.iter_mut().skip(kept).for_each(|octet| *octet = 0);
    hasher.update(octets);
}

#[cfg(test)]
mod tests {
    use super::allowed_fast_set;
    use crate::Hash20;
    use core::net::IpAddr;

    fn set(ip: &str, pieces: u32, count: u32) -> alloc::vec::Vec<u32> {
        let ip: IpAddr = ip.parse().expect("an address");
        allowed_fast_set(ip, &Hash20([0xaa; 20]), pieces, count)
    }

    #[test]
    fn the_sets_are_those_of_bep_6() {
        let nine = [1059, 431, 808, 1217, 287, 376, 1188, 353, 508];
        assert_eq!(set("80.4.4.200", 1313, 7), nine[..7]);
        assert_eq!(set("80.4.4.200", 1313, 9), nine);
        for same in ["80.4.4.1", "::ffff:80.4.4.200"] {
            assert_eq!(set(same, 1313, 9), nine, "{same}");
        }
        assert_ne!(set("80.4.5.200", 1313, 9), nine);
    }

    #[test]
    fn hosts_of_one_ipv6_site_share_a_set() {
        let one = set("2001:db8:7:1::5", 1313, 10);
        assert_eq!(set("2001:db8:7:ff02:8::1", 1313, 10), one);
        assert_ne!(set("2001:db8:8:1::5", 1313, 10), one);
        assert_eq!(one.len(), 10);
    }

    #[test]
    fn a_title_of_few_pieces_gives_each_once() {
        for pieces in 0..12 {
            let mut all = set("80.4.4.200", pieces, 10);
            all.sort_unstable();
            let wanted = pieces.min(10) as usize;
            assert!(all.len() == wanted && all.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(all.iter().all(|&piece| piece < pieces));
        }
        assert_eq!(set("80.4.4.200", 1313, 0), []);
    }
}
