//! A connection: requests one after the other, and packets of sessions in between.
//!
//! Requests are answered in order. While one waits for film, packets of sessions go on leaving; an answer is written before the packets
//! that it speaks of.

use core::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf as _, BytesMut};
use rtsp_types::{Message, ParseError, Response, StatusCode, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::requests::{Answer, Client};
use super::session::Order;
use crate::library::BoxFuture;
use crate::limits::{CONNECTION_IDLE, RTSP_BYTES_MAX, WAITING_PACKETS_MAX, WRITING_BYTES_MAX};

/// Talks to a player until either side ends it.
pub(super) async fn talk(
    shared: Arc<Shared>,
    stream: TcpStream,
    remote: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let (packets, from_sessions) = mpsc::channel(WAITING_PACKETS_MAX);
    let Ok(client) = Client::new(shared, (local, remote), packets) else { return };
    let mut connection = Connection {
        stream,
        client: Some(client),
        answering: None,
        from_sessions,
        came: BytesMut::new(),
        leaving: BytesMut::new(),
        go: None,
        ends: false,
        quiet_until: Instant::now() + CONNECTION_IDLE,
    };
    tokio::select! {
        _ = stopped.wait_for(|stop| *stop) => {}
        () = connection.run() => {}
    }
}

/// The client comes back with the answer.
type Answering = BoxFuture<'static, (Client, Answer)>;

struct Connection {
    stream: TcpStream,
    /// What is known of the player; away while a request of it is answered.
    client: Option<Client>,
    answering: Option<Answering>,
    from_sessions: mpsc::Receiver<Vec<u8>>,
    came: BytesMut,
    leaving: BytesMut,
    /// Whom to tell when all that leaves now is written.
    go: Option<oneshot::Sender<()>>,
    /// Nothing more is read.
    ends: bool,
    quiet_until: Instant,
}

impl Connection {
    async fn run(&mut self) {
        loop {
            self.read_messages();
            if self.ends && self.leaving.is_empty() && self.answering.is_none() {
                return;
            }
            let may_read = !self.ends && self.came.len() < RTSP_BYTES_MAX;
            let may_take = self.leaving.len() < WRITING_BYTES_MAX && self.go.is_none();
            let has_session = self.client.as_ref().is_none_or(Client::has_session);
            let (mut reading, mut writing) = self.stream.split();
            tokio::select! {
                read = reading.read_buf(&mut self.came), if may_read => {
                    if !read.is_ok_and(|count| count > 0) {
                        return;
                    }
                    self.quiet_until = Instant::now() + CONNECTION_IDLE;
                }
                written = writing.write(&self.leaving), if !self.leaving.is_empty() => {
                    match written {
                        Ok(count) if count > 0 => self.leaving.advance(count),
                        _ => return,
                    }
                }
                // Packets wait until the answer that speaks of them is under way.
                Some(packet) = self.from_sessions.recv(), if may_take => {
                    self.leaving.extend_from_slice(&packet);
                }
                (client, answer) = answered(&mut self.answering) => {
                    self.client = Some(client);
                    self.answering = None;
                    self.leaving.extend_from_slice(&answer.bytes);
                    self.ends |= answer.ends;
                    if let Some(go) = answer.go {
                        // A session that ended meanwhile needs no word.
                        let _ = go.send(());
                    }
                }
                () = sleep_until(self.quiet_until), if !has_session => return,
            }
        }
    }

    /// Takes whole messages from what came, as far as they can be followed now.
    fn read_messages(&mut self) {
        while let Some(mut client) = self.client.take_if(|_| !self.ends) {
            // Players send empty lines in between.
            let empty = self.came.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            self.came.advance(empty);
            match Message::<Vec<u8>>::parse(&self.came) {
                Ok((message, length)) => {
                    self.came.advance(length);
                    match message {
                        Message::Request(request) => {
                            self.answering = Some(Box::pin(async move {
                                let answer = client.answer(request).await;
                                (client, answer)
                            }));
                            return;
                        }
                        Message::Data(data) => {
                            let channel = data.channel_id();
                            let order = Order::Heard(channel, data.into_body());
                            client.tell_session_of(channel, order);
                        }
                        // We ask for nothing.
                        Message::Response(_) => {}
                    }
                    self.client = Some(client);
                }
                Err(ParseError::Incomplete(_)) if self.came.len() < RTSP_BYTES_MAX => {
                    self.client = Some(client);
                    return;
                }
                Err(_) => {
                    self.client = Some(client);
                    self.ends = true;
                    let refusal = Response::builder(Version::V1_0, StatusCode::BadRequest);
                    let mut bytes = Vec::new();
                    // Writing to memory cannot fail.
                    let _ = refusal.build(Vec::new()).write(&mut bytes);
                    self.leaving.extend_from_slice(&bytes);
                    return;
                }
            }
        }
    }
}

async fn answered(answering: &mut Option<Answering>) -> (Client, Answer) {
    match answering {
        Some(answering) => answering.as_mut().await,
        None => core::future::pending().await,
    }
}
