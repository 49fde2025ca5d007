//! A directory on a UDP socket (BEP 15), shared with an HTTP face by its handle.
//!
//! One task owns the [`Directory`]: datagrams and requests of handles are taken in turn, nothing is locked. It runs on
//! the caller's tokio runtime.

use std::net::{IpAddr, SocketAddr, UdpSocket as StdSocket};
use std::time::Instant as Clock;

use shoal_node::directory::{Directory, DirectoryConfig, Refusal};
use shoal_node::rng::Seed;
use shoal_node::time::Instant;
use shoal_wire::Hash20;
use shoal_wire::tracker::{Announce, AnnounceAnswer, ScrapeCounts, UdpTracker};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::config::{DIRECTORY_BATCH, DIRECTORY_DATAGRAM_MAX, DIRECTORY_REQUESTS_MAX};
use crate::error::DriveError;
use crate::handle::random_words;

/// A running directory. Dropping it ends its task.
#[derive(Debug)]
pub struct DirectoryServer {
    handle: DirectoryHandle,
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// Asks a running directory.
#[derive(Clone, Debug)]
pub struct DirectoryHandle(mpsc::Sender<Ask>);

#[derive(Debug)]
enum Ask {
    Announce(IpAddr, Box<Announce>, oneshot::Sender<Result<AnnounceAnswer, Refusal>>),
    Scrape(Vec<Hash20>, oneshot::Sender<Vec<ScrapeCounts>>),
    Size(oneshot::Sender<(usize, usize)>),
}

impl DirectoryServer {
    /// Starts a directory at `listen`; port 0 takes a free one. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn start(listen: SocketAddr, config: DirectoryConfig) -> Result<Self, DriveError> {
        let open = || -> std::io::Result<(UdpSocket, SocketAddr)> {
            let socket = StdSocket::bind(listen)?;
            socket.set_nonblocking(true)?;
            let address = socket.local_addr()?;
            Ok((UdpSocket::from_std(socket)?, address))
        };
        let (socket, address) = open().map_err(|source| DriveError::Socket {
            action: "listen on",
            address: listen.to_string(),
            source,
        })?;
        let directory = Directory::new(config, Seed(random_words()?), random_words()?);
        let (sender, asks) = mpsc::channel(DIRECTORY_REQUESTS_MAX);
        let task = tokio::spawn(run(directory, socket, asks));
        Ok(Self { handle: DirectoryHandle(sender), address, task })
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// To ask it; clones freely.
    #[must_use]
    pub fn handle(&self) -> DirectoryHandle {
        self.handle.clone()
    }
    /// Ends it and waits until its socket is closed.
    pub async fn stop(mut self) {
        self.task.abort();
        // Cancelled is what was asked for.
        let _ = (&mut self.task).await;
    }
}

impl Drop for DirectoryServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl DirectoryHandle {
    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, DriveError> {
        let (sender, answer) = oneshot::channel();
        self.0.send(make(sender)).await.map_err(|_| DriveError::Stopped)?;
        answer.await.map_err(|_| DriveError::Stopped)
    }
    /// Takes an announce of a peer at `from`.
    ///
    /// # Errors
    /// When there is no room for it, or the directory has stopped: a sentence for the client's user.
    pub async fn announce(
        &self,
        from: IpAddr,
        announce: Announce,
    ) -> Result<AnnounceAnswer, DriveError> {
        let announce = Box::new(announce);
        let answer = self.ask(|sender| Ask::Announce(from, announce, sender)).await?;
        answer.map_err(|refusal| DriveError::Invalid(refusal.to_string()))
    }
    /// Counts of titles, in the order asked.
    ///
    /// # Errors
    /// When the directory has stopped.
    pub async fn scrape(&self, titles: Vec<Hash20>) -> Result<Vec<ScrapeCounts>, DriveError> {
        self.ask(|sender| Ask::Scrape(titles, sender)).await
    }
    /// Titles and peers in all.
    ///
    /// # Errors
    /// When the directory has stopped.
    pub async fn size(&self) -> Result<(usize, usize), DriveError> {
        self.ask(Ask::Size).await
    }
}

async fn run(mut directory: Directory, socket: UdpSocket, mut asks: mpsc::Receiver<Ask>) {
    let epoch = Clock::now();
    let now = || Instant::from_nanos(u64::try_from(epoch.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut buffer = vec![0; DIRECTORY_DATAGRAM_MAX];
    let mut open = true;
    loop {
        tokio::select! {
            ask = asks.recv(), if open => match ask {
                Some(ask) => answer(&mut directory, now(), ask),
                None => open = false,
            },
            ready = socket.readable() => {
                if ready.is_err() {
                    return;
                }
                for _ in 0..DIRECTORY_BATCH {
                    // An error is of a datagram that we sent earlier, or that there is none: both mean "later".
                    let Ok((length, remote)) = socket.try_recv_from(&mut buffer) else { break };
                    serve(&mut directory, now(), &socket, remote, &buffer[..length]);
                }
            }
        }
    }
}

fn serve(
    directory: &mut Directory,
    now: Instant,
    socket: &UdpSocket,
    remote: SocketAddr,
    datagram: &[u8],
) {
    let Ok(request) = UdpTracker::decode_request(datagram) else { return };
    if let Some(answer) = directory.on_packet(now, remote, request) {
        let ipv6 = remote.ip().to_canonical().is_ipv6();
        // A full socket loses datagrams; clients ask again.
        let _ = socket.try_send_to(&answer.encode(ipv6), remote);
    }
}

fn answer(directory: &mut Directory, now: Instant, ask: Ask) {
    // Whoever asked may have gone: then nobody wants the answer.
    match ask {
        Ask::Announce(from, announce, sender) => {
            let _ = sender.send(directory.announce(now, from, &announce));
        }
        Ask::Scrape(titles, sender) => {
            let _ = sender.send(directory.scrape(&titles));
        }
        Ask::Size(sender) => {
            let _ = sender.send((directory.title_count(), directory.peer_count()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use shoal_wire::PeerId;
    use shoal_wire::tracker::AnnounceEvent;

    fn announced(port: u16) -> Announce {
        Announce {
            info_hash: Hash20([7; 20]),
            peer_id: PeerId([1; 20]),
            port,
            uploaded: 0,
            downloaded: 0,
            left: 5,
            event: AnnounceEvent::Started,
            key: 1,
            num_want: None,
        }
    }

    #[tokio::test]
    async fn a_peer_announced_over_udp_is_named_to_one_that_asks_by_the_handle() {
        let server = DirectoryServer::start(([127, 0, 0, 1], 0).into(), DirectoryConfig::default())
            .expect("a free port");
        let client = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        client.connect(server.address()).await.expect("connected");
        let mut buffer = [0; 2048];
        let mut ask = async |request: UdpTracker| {
            client.send(&request.encode(false)).await.expect("sent");
            let answer = tokio::time::timeout(Duration::from_secs(10), client.recv(&mut buffer));
            let length = answer.await.expect("in time").expect("an answer");
            UdpTracker::decode_answer(&buffer[..length], false).expect("well formed")
        };
        let UdpTracker::Connected { connection, .. } =
            ask(UdpTracker::Connect { transaction: 1 }).await
        else {
            panic!("no connection")
        };
        let announce = announced(4001);
        let request =
            UdpTracker::Announce { connection, transaction: 2, announce, url_data: String::new() };
        assert!(matches!(ask(request).await, UdpTracker::Announced { transaction: 2, .. }));
        let handle = server.handle();
        let from = "127.0.0.2".parse().expect("literal");
        let answer = handle.announce(from, announced(4002)).await.expect("room");
        assert_eq!(answer.peers, ["127.0.0.1:4001".parse().expect("literal")]);
        assert_eq!(handle.size().await.expect("running"), (1, 2));
        assert_eq!(handle.scrape(vec![Hash20([7; 20])]).await.expect("running")[0].incomplete, 2);
        server.stop().await;
        assert!(handle.size().await.is_err());
    }
}
