//! Names to addresses: literals at once, the rest by the system's resolver off the network thread.

use std::net::SocketAddr;

use shoal_node::io::{Failure, FailureKind};

use crate::address::{self, Zone};
use crate::config::{ADDRESSES_MAX, RESOLVE_TIMEOUT};
use crate::error::DriveError;

/// Longest name (RFC 1035).
const NAME_MAX: usize = 255;

/// The addresses of `host`, at most 16.
///
/// # Errors
/// A name that does not exist or cannot be looked up now.
pub async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, DriveError> {
    let failed = |why: String| DriveError::Fetch { url: host.chars().take(120).collect(), why };
    if let Some(address) = address::literal(host) {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    if host.is_empty() || host.len() > NAME_MAX || host.contains('\0') {
        return Err(failed("it is no name of a host".to_owned()));
    }
    let looked = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    match looked {
        Ok(Ok(addresses)) => Ok(addresses.take(ADDRESSES_MAX).collect()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the name server does not answer".to_owned())),
    }
}

/// The addresses of a UDP tracker's host: names of strangers may not lead into local networks, those of the user may
/// (`local_names`).
///
/// # Errors
/// As [`resolve`]; a name with local addresses only.
pub(crate) async fn resolve_for_node(
    host: &str,
    port: u16,
    local_names: bool,
) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = resolve(host, port).await.map_err(|error| error.failure())?;
    let local = local_names || address::is_literal(host);
    addresses.retain(|address| match address::zone(address.ip()) {
        Zone::Public => true,
        Zone::Local => local,
        Zone::Never => false,
    });
    if addresses.is_empty() {
        let host: String = host.chars().take(120).collect();
        let message = format!("{host} leads into a network that strangers may not choose");
        return Err(Failure { kind: FailureKind::Network, message });
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn literals_need_no_name_server() {
        for (host, expected) in
            [("127.0.0.1", "127.0.0.1:80"), ("[::1]", "[::1]:80"), ("::1", "[::1]:80")]
        {
            let found = resolve(host, 80).await.expect(host);
            assert_eq!(found, [expected.parse::<SocketAddr>().expect("literal")]);
        }
        assert!(resolve("", 80).await.is_err());
        assert!(resolve_for_node("169.254.169.254", 80, true).await.is_err());
        assert!(resolve_for_node("127.0.0.1", 80, false).await.is_ok());
    }
}
