//! Addresses that are worth a dial.

use core::net::{IpAddr, SocketAddr};

/// Whether nothing can listen there: port 0, no host, many hosts.
pub(super) fn is_silly(addr: &SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() == 0 || ip.is_unspecified() || ip.is_multicast() || broadcast
}

/// Whether the address means something else at every host.
pub(super) fn is_loopback(addr: &SocketAddr) -> bool {
    addr.ip().to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, is_silly};

    #[test]
    fn addresses_where_nobody_listens_are_known() {
        for addr in
            ["0.0.0.0:1", "1.2.3.4:0", "224.0.0.1:5", "[ff02::1]:5", "255.255.255.255:5", "[::]:5"]
        {
            assert!(is_silly(&addr.parse().expect("an address")), "{addr}");
        }
        for addr in ["1.2.3.4:1", "127.0.0.1:5", "[2001:db8::1]:5", "[::ffff:1.2.3.4]:5"] {
            assert!(!is_silly(&addr.parse().expect("an address")), "{addr}");
        }
        assert!(is_loopback(&"[::ffff:127.0.0.1]:5".parse().expect("an address")));
    }
}
