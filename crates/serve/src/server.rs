//! The listener: accepts, bounds and ends connections; what is answered is a [`Site`]'s affair.

use core::convert::Infallible;
use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::body::Body;
use crate::limits::ACCEPT_PAUSE;

/// Limits of a server, each with its reason.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at once; more are closed as soon as they are accepted. A player holds up to three.
    pub connections_max: usize,
    /// A request's head must come within this time, and a connection may be idle as long.
    pub header_timeout: Duration,
    /// Longest head of a request, bytes; also what is buffered ahead of a slow player in the program.
    pub header_bytes_max: usize,
    /// Header lines of a request.
    pub headers_max: usize,
    /// Longest body of a request, bytes.
    pub body_bytes_max: usize,
    /// A request's body must come within this time.
    pub body_timeout: Duration,
    /// Send buffer of a connection in the kernel, bytes: a larger one would hide how far a player is.
    pub send_buffer_bytes: u32,
    /// A request for a film whose metadata is still being fetched waits this long.
    pub metadata_wait: Duration,
    /// Listeners to events at once.
    pub listeners_max: usize,
    /// Connections that are busy at shutdown are given this long.
    pub farewell: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 512,
            header_timeout: Duration::from_secs(30),
            header_bytes_max: 32 << 10,
            headers_max: 64,
            body_bytes_max: 64 << 10,
            body_timeout: Duration::from_secs(10),
            send_buffer_bytes: 256 << 10,
            metadata_wait: Duration::from_secs(20),
            listeners_max: 64,
            farewell: Duration::from_secs(1),
        }
    }
}

/// What answers requests.
pub trait Site: Send + Sync + 'static {
    /// Answers one request of `remote`.
    fn handle(
        &self,
        request: Request<Incoming>,
        remote: SocketAddr,
    ) -> impl Future<Output = Response<Body>> + Send;
}

/// A running server. Dropping it ends it as abruptly as [`Server::shutdown`] ends it gently.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens at `address` (port 0: any) and answers with `site`.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn start<S: Site>(address: SocketAddr, site: Arc<S>, limits: Limits) -> io::Result<Self> {
        let own = Arc::new(limits.clone());
        Self::listen(address, limits, move |stream, remote, stopped| {
            talk(stream, remote, Arc::clone(&site), Arc::clone(&own), stopped)
        })
    }
    /// Listens at `address` (port 0: any) and lets `talk` have each connection, which should end soon after it is told to stop.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub(crate) fn listen<T, F>(address: SocketAddr, limits: Limits, talk: T) -> io::Result<Self>
    where
        T: Fn(TcpStream, SocketAddr, watch::Receiver<bool>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // On Unix a socket in TIME_WAIT would otherwise hold the port after a restart; elsewhere the flag means more.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        // Accepted sockets inherit it.
        socket.set_send_buffer_size(limits.send_buffer_bytes)?;
        socket.bind(address)?;
        let listener = socket.listen(1024)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let accepting = tokio::spawn(accept(listener, limits, stopped, talk));
        Ok(Self { address, stop, accepting: Some(accepting) })
    }
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
    /// Accepts no more, lets what is being answered end within [`Limits::farewell`], and cuts off the rest.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        if let Some(accepting) = self.accepting.take() {
            // A panic in it was reported where it happened.
            let _ = accepting.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(accepting) = &self.accepting {
            accepting.abort();
        }
    }
}

/// Accepts until told to stop. Owns all connections: they end with it.
async fn accept<T, F>(
    listener: TcpListener,
    limits: Limits,
    mut stopped: watch::Receiver<bool>,
    talk: T,
) where
    T: Fn(TcpStream, SocketAddr, watch::Receiver<bool>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections_max));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, remote)) => {
                    // No room: the stream is dropped, which closes it.
                    if let Ok(permit) = Arc::clone(&room).try_acquire_owned() {
                        // Small answers must not wait for the film behind them. A failure costs a little delay.
                        let _ = stream.set_nodelay(true);
                        let talk = talk(stream, remote, stopped.clone());
                        connections.spawn(async move {
                            talk.await;
                            drop(permit);
                        });
                    }
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.farewell, ended).await.is_err() {
        connections.shutdown().await;
    }
}

/// One connection, from its first request to its last.
async fn talk<S: Site>(
    stream: TcpStream,
    remote: SocketAddr,
    site: Arc<S>,
    limits: Arc<Limits>,
    mut stopped: watch::Receiver<bool>,
) {
    let service = service_fn(|request| {
        let site = Arc::clone(&site);
        async move { Ok::<_, Infallible>(site.handle(request, remote).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes_max)
        .max_headers(limits.headers_max)
        .keep_alive(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = core::pin::pin!(connection);
    let mut leaving = false;
    loop {
        tokio::select! {
            // How a client leaves is its own affair: errors here are resets and bad requests, already answered.
            _ = connection.as_mut() => return,
            _ = stopped.wait_for(|stop| *stop), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// A request's body, if it is not too long and comes in time.
pub(crate) async fn read_body(body: Incoming, limits: &Limits) -> Result<Vec<u8>, &'static str> {
    let collect = async {
        let mut body = core::pin::pin!(body);
        let mut data = Vec::new();
        loop {
            let next = core::future::poll_fn(|context| {
                hyper::body::Body::poll_frame(body.as_mut(), context)
            });
            match next.await {
                None => return Ok(data),
                Some(Err(_)) => return Err("The body of the request was cut off."),
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if data.len() + bytes.len() > limits.body_bytes_max {
                        return Err("The body of the request is too long.");
                    }
                    data.extend_from_slice(&bytes);
                }
            }
        }
    };
    match tokio::time::timeout(limits.body_timeout, collect).await {
        Ok(result) => result,
        Err(_) => Err("The body of the request did not come in time."),
    }
}
