//! Sockets before they have tasks: listening on both families, one UDP port beside them, the groups of local discovery;
//! and what the system says about descriptors and addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use shoal_wire::lsd::{LOCAL_GROUP_V4, LOCAL_GROUP_V6};
use socket2::{Domain, Protocol, Socket, Type};

use crate::config::{DESCRIPTORS_WANTED, LISTEN_BACKLOG, PORT_TRIES};
use crate::error::DriveError;

/// Open sockets of a node.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<std::net::TcpListener>,
    pub(crate) udp: Vec<UdpSocket>,
    pub(crate) local: Vec<UdpSocket>,
    /// Where we listen; its port is the one that is announced.
    pub(crate) listen: SocketAddr,
}

impl Sockets {
    /// Listens on `address`; on both families when it is unspecified. Port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours. Local discovery and a missing family are no errors: they are left out.
    pub(crate) fn open(address: SocketAddr, local_discovery: bool) -> Result<Self, DriveError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::open_once(address) {
                Ok(mut sockets) => {
                    if local_discovery {
                        sockets.local = local_sockets();
                    }
                    return Ok(sockets);
                }
                Err(_) if tries > 0 => {}
                Err(source) => {
                    let address = address.to_string();
                    return Err(DriveError::Socket { action: "listen on", address, source });
                }
            }
        }
    }
    fn open_once(address: SocketAddr) -> std::io::Result<Self> {
        let first = tcp(address)?;
        let listen = first.local_addr()?;
        let mut sockets =
            Self { tcp: vec![first], udp: vec![udp(listen)?], local: Vec::new(), listen };
        if address.ip().is_unspecified() {
            let other: IpAddr = match address {
                SocketAddr::V4(_) => Ipv6Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv4Addr::UNSPECIFIED.into(),
            };
            let other = SocketAddr::new(other, listen.port());
            match (tcp(other), udp(other)) {
                (Ok(listener), Ok(socket)) => {
                    sockets.tcp.push(listener);
                    sockets.udp.push(socket);
                }
                (Err(error), _) | (_, Err(error))
                    if error.kind() == std::io::ErrorKind::AddrInUse =>
                {
                    return Err(error);
                }
                // A machine without that family.
                _ => {}
            }
        }
        Ok(sockets)
    }
}

fn tcp(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port that only has old connections in TIME-WAIT is free.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn udp(address: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Sockets in the groups of BEP 14, as many as this machine lets us have.
fn local_sockets() -> Vec<UdpSocket> {
    let join = |group: SocketAddr| -> std::io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
        // Every client of this machine listens on the same port.
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
        match group.ip() {
            IpAddr::V4(group_v4) => {
                socket.bind(&SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), group.port()).into())?;
                socket.join_multicast_v4(&group_v4, &Ipv4Addr::UNSPECIFIED)?;
            }
            IpAddr::V6(group_v6) => {
                socket.set_only_v6(true)?;
                socket.bind(&SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), group.port()).into())?;
                socket.join_multicast_v6(&group_v6, 0)?;
            }
        }
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    [LOCAL_GROUP_V4, LOCAL_GROUP_V6].into_iter().filter_map(|group| join(group).ok()).collect()
}

/// Asks for as many descriptors as are useful; returns how many there may be.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS_WANTED).min(DESCRIPTORS_WANTED);
    let now = current.unwrap_or(u64::MAX);
    if now >= wanted {
        return now;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => now,
    }
}

/// The addresses by which this machine would reach the internet: a change of them means another network.
///
/// Connecting a UDP socket sends nothing; the addresses are those of documentation (RFC 5737, RFC 3849).
pub(crate) fn own_addresses() -> [Option<IpAddr>; 2] {
    let ask = |bind: IpAddr, remote: IpAddr| {
        let socket = UdpSocket::bind((bind, 0)).ok()?;
        socket.connect((remote, 9)).ok()?;
        socket.local_addr().ok().map(|address| address.ip())
    };
    [
        ask(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        ask(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ]
}

/// Whether this machine has `address` now: only then can a socket be bound to it.
pub(crate) fn is_own_address(address: IpAddr) -> bool {
    match UdpSocket::bind((address, 0)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrNotAvailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_its_own() {
        assert!(is_own_address(Ipv4Addr::LOCALHOST.into()));
        assert!(!is_own_address(Ipv4Addr::new(192, 0, 2, 7).into()), "one of documentation");
    }

    #[test]
    fn port_zero_becomes_one_port_for_both_families_and_protocols() {
        let sockets = Sockets::open(([0, 0, 0, 0], 0).into(), false).expect("a free port");
        let port = sockets.listen.port();
        assert_ne!(port, 0);
        for listener in &sockets.tcp {
            assert_eq!(listener.local_addr().expect("bound").port(), port);
        }
        for socket in &sockets.udp {
            assert_eq!(socket.local_addr().expect("bound").port(), port);
        }
    }

    #[test]
    fn a_taken_port_is_said_so() {
        let first = Sockets::open(([127, 0, 0, 1], 0).into(), false).expect("a free port");
        let error = Sockets::open(first.listen, false).expect_err("taken").to_string();
        assert!(error.contains("taken by another program"), "{error}");
    }
}
