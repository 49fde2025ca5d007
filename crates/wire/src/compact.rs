//! Addresses as peers and trackers write them: 4 or 16 bytes and a big-endian port (BEP 7, 11, 15, 23).

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bytes of an IPv4 address with its port.
pub(crate) const V4_LEN: usize = 6;
/// Bytes of an IPv6 address with its port.
pub(crate) const V6_LEN: usize = 18;

/// Appends `addr` with its port in 6 or 18 bytes.
pub(crate) fn put_addr(out: &mut Vec<u8>, addr: &SocketAddr) {
    put_ip(out, &addr.ip());
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Appends `ip` in 4 or 16 bytes.
pub(crate) fn put_ip(out: &mut Vec<u8>, ip: &IpAddr) {
    match ip {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
}

/// Reads an address of exactly 4 or 16 bytes.
pub(crate) fn get_ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|octets| Ipv6Addr::from(octets).into())
}

/// Reads an address with its port of exactly 6 or 18 bytes.
pub(crate) fn get_addr(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    Some(SocketAddr::new(get_ip(ip)?, u16::from_be_bytes(*port)))
}

/// Reads addresses of `size` bytes each ([`V4_LEN`] or [`V6_LEN`]); an incomplete one at the end is dropped.
pub(crate) fn addrs(bytes: &[u8], size: usize) -> impl Iterator<Item = SocketAddr> + '_ {
    bytes.chunks_exact(size).filter_map(get_addr)
}
