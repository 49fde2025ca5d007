//! Addresses in half the room: nodes keep hundreds of them, and a simulated world keeps thousands of nodes.

use alloc::boxed::Box;
use core::net::{SocketAddr, SocketAddrV4, SocketAddrV6};

/// A [`SocketAddr`] in 16 bytes. One of IPv6 takes 32 more elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Addr {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
}

impl Addr {
    pub(crate) fn get(&self) -> SocketAddr {
        match self {
            Self::V4(addr) => SocketAddr::V4(*addr),
            Self::V6(addr) => SocketAddr::V6(**addr),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        match addr {
            SocketAddr::V4(addr) => Self::V4(addr),
            SocketAddr::V6(addr) => Self::V6(Box::new(addr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was() {
        for text in ["10.0.0.1:1", "[2001:db8::1%7]:65535", "[::ffff:10.0.0.1]:0"] {
            let addr: SocketAddr = text.parse().expect("an address");
            assert_eq!(Addr::from(addr).get(), addr);
        }
        assert!(size_of::<Option<Addr>>() <= 16);
    }
}
