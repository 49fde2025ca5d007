//! A directory with both its faces: a tracker over UDP and over HTTP that share what they know.

use std::net::{Ipv4Addr, SocketAddr};

use shoal_drive::directory_udp::DirectoryServer;
use shoal_node::directory::DirectoryConfig;
use shoal_serve::directory::DirectoryFace;

use crate::error::Error;

/// A running directory. End it with [`RunningDirectory::stop`].
#[derive(Debug)]
pub(crate) struct RunningDirectory {
    udp: DirectoryServer,
    http: Option<DirectoryFace>,
}

impl RunningDirectory {
    /// Starts a directory; to be called inside a runtime. Without a UDP address it takes a free one on loopback, since that
    /// face is also its heart.
    pub(crate) fn start(udp: Option<SocketAddr>, http: Option<SocketAddr>) -> Result<Self, Error> {
        let inner = udp.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        let taken = |flag: &str, address: SocketAddr, error: &dyn std::fmt::Display| {
            Error::new(format!(
                "the directory cannot listen on {address}: {error}; choose another with --{flag}"
            ))
        };
        let server = DirectoryServer::start(inner, DirectoryConfig::default())
            .map_err(|error| taken("udp", inner, &error))?;
        let http = match http {
            None => None,
            Some(address) => {
                let face = DirectoryFace::start(address, server.handle(), DirectoryFace::limits());
                Some(face.map_err(|error| taken("http", address, &error))?)
            }
        };
        Ok(Self { udp: server, http })
    }
    /// Where it listens for datagrams.
    pub(crate) fn udp(&self) -> SocketAddr {
        self.udp.address()
    }
    /// Where it listens for HTTP.
    pub(crate) fn http(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(DirectoryFace::address)
    }
    /// Titles and peers it knows.
    pub(crate) async fn size(&self) -> (usize, usize) {
        // One that has stopped knows nothing.
        self.udp.handle().size().await.unwrap_or_default()
    }
    /// Ends both faces.
    pub(crate) async fn stop(self) {
        if let Some(http) = self.http {
            http.shutdown().await;
        }
        self.udp.stop().await;
    }
}
