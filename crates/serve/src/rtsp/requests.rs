//! Requests of one player, and their answers.

use core::net::SocketAddr;
use std::sync::Arc;

use rtsp_types::{HeaderName, Method, Request, Response, StatusCode, Version, headers};
use shoal_media::Presentation;
use tokio::sync::{mpsc, oneshot};

use super::digest::Challenge;
use super::feed::Source;
use super::lane::{Lane, Way};
use super::session::{Order, Playing, Refusal};
use super::transport::{self, Asked};
use super::{Shared, description, range};
use crate::guard::Token;
use crate::limits::{LANES_MAX, SESSION_TIMEOUT};
use crate::lookup::{self, Missing};
use crate::packages::NoFrames;

/// What can be asked for.
const METHODS: &str =
    "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER";

/// An answer, ready to be written.
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    /// The connection ends behind it.
    pub(super) ends: bool,
    /// Whom to tell that it comes before all packets.
    pub(super) go: Option<oneshot::Sender<()>>,
}

/// What answers consist of, before they have a head.
struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: Vec<u8>,
    ends: bool,
    go: Option<oneshot::Sender<()>>,
}

impl Reply {
    fn new(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), ends: false, go: None }
    }
    fn ok() -> Self {
        Self::new(StatusCode::Ok)
    }
    /// A refusal with a sentence for whoever looks.
    fn because(status: StatusCode, sentence: &str) -> Self {
        let mut reply = Self::new(status).with(headers::CONTENT_TYPE, "text/plain");
        reply.body = sentence.as_bytes().to_vec();
        reply
    }
    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A stream of a film, as an address names it.
struct Target {
    source: Source,
    /// Name of the file.
    name: String,
    /// The stream, when the address is of one.
    stream: Option<usize>,
}

/// What is known of the player of one connection.
pub(super) struct Client {
    shared: Arc<Shared>,
    local: SocketAddr,
    remote: SocketAddr,
    packets: mpsc::Sender<Vec<u8>>,
    challenge: Challenge,
    /// Sessions that were set up here.
    sessions: Vec<mpsc::Sender<Order>>,
    /// Channels of the connection that are taken, and who takes them.
    channels: Vec<(u8, mpsc::Sender<Order>)>,
}

impl Client {
    pub(super) fn new(
        shared: Arc<Shared>,
        (local, remote): (SocketAddr, SocketAddr),
        packets: mpsc::Sender<Vec<u8>>,
    ) -> std::io::Result<Self> {
        Ok(Self {
            shared,
            local,
            remote,
            packets,
            challenge: Challenge::new()?,
            sessions: Vec::new(),
            channels: Vec::new(),
        })
    }
    /// Whether a session of this connection goes on.
    pub(super) fn has_session(&self) -> bool {
        self.sessions.iter().any(|session| !session.is_closed())
    }
    /// Tells the session that has a channel; one that has no room for it hears nothing.
    pub(super) fn tell_session_of(&self, channel: u8, order: Order) {
        let taken = |(first, _): &&(u8, _)| channel == *first || channel == first.wrapping_add(1);
        if let Some((_, session)) = self.channels.iter().find(taken) {
            let _ = session.try_send(order);
        }
    }
    /// Answers a request.
    pub(super) async fn answer(&mut self, request: Request<Vec<u8>>) -> Answer {
        let reply = match self.refuse(&request) {
            Some(refusal) => refusal,
            None => match self.follow(&request).await {
                Ok(reply) | Err(reply) => reply,
            },
        };
        let mut response = Response::builder(Version::V1_0, reply.status);
        if let Some(number) = request.header(&headers::CSEQ) {
            response = response.header(headers::CSEQ, number.as_str());
        }
        response = response.header(headers::SERVER, "shoal");
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        let mut bytes = Vec::new();
        // Writing to memory cannot fail.
        let _ = response.build(reply.body).write(&mut bytes);
        Answer { bytes, ends: reply.ends, go: reply.go }
    }

    /// What is wrong with a request whatever it asks for.
    fn refuse(&self, request: &Request<Vec<u8>>) -> Option<Reply> {
        if request.version() != Version::V1_0 {
            return Some(Reply::new(StatusCode::RTSPVersionNotSupported));
        }
        if let Some(required) = request.header(&headers::REQUIRE) {
            let reply = Reply::new(StatusCode::OptionNotSupported);
            return Some(reply.with(headers::UNSUPPORTED, required.as_str()));
        }
        let token = self.shared.token.as_ref()?;
        let shown = request.header(&headers::AUTHORIZATION).is_some_and(|header| {
            self.challenge.is_met(header.as_str(), <&str>::from(request.method()), token)
        });
        (!shown && *request.method() != Method::Options).then(|| {
            Reply::new(StatusCode::Unauthorized)
                .with(headers::WWW_AUTHENTICATE, self.challenge.header())
        })
    }

    async fn follow(&mut self, request: &Request<Vec<u8>>) -> Result<Reply, Reply> {
        match request.method() {
            Method::Options => {
                if let Ok((_, session)) = self.session(request) {
                    // One that has no room is alive.
                    let _ = session.try_send(Order::Alive);
                }
                Ok(Reply::ok().with(headers::PUBLIC, METHODS))
            }
            Method::Describe => self.describe(request).await,
            Method::Setup => self.setup(request).await,
            Method::Play => self.play(request).await,
            Method::Pause => {
                let (name, session) = self.session(request)?;
                ask(&session, Order::Pause).await?;
                Ok(Reply::ok().with(headers::SESSION, named(&name)))
            }
            Method::Teardown => self.teardown(request).await,
            Method::GetParameter | Method::SetParameter => {
                if !request.body().is_empty() {
                    return Err(Reply::new(StatusCode::ParameterNotUnderstood));
                }
                // Empty ones ask whether somebody is there.
                let Ok((name, session)) = self.session(request) else { return Ok(Reply::ok()) };
                let _ = session.try_send(Order::Alive);
                Ok(Reply::ok().with(headers::SESSION, named(&name)))
            }
            _ => Err(Reply::new(StatusCode::NotImplemented).with(headers::PUBLIC, METHODS)),
        }
    }

    async fn describe(&self, request: &Request<Vec<u8>>) -> Result<Reply, Reply> {
        const KIND: &str = "application/sdp";
        let accepted = request.header(&headers::ACCEPT).is_none_or(|header| {
            let header = header.as_str().to_ascii_lowercase();
            [KIND, "application/*", "*/*"].iter().any(|kind| header.contains(kind))
        });
        if !accepted {
            return Err(Reply::new(StatusCode::NotAcceptable));
        }
        let target = self.target(request).await?;
        let host = self.local.ip();
        let text = description::describe(&target.source.film, &target.name, host);
        let text = text.ok_or_else(nothing_to_send)?;
        let base = format!("{}/", address(request));
        let mut reply =
            Reply::ok().with(headers::CONTENT_TYPE, KIND).with(headers::CONTENT_BASE, base);
        reply.body = text.into_bytes();
        Ok(reply)
    }

    async fn setup(&mut self, request: &Request<Vec<u8>>) -> Result<Reply, Reply> {
        let target = self.target(request).await?;
        let asked = request.header(&headers::TRANSPORT);
        let asked = asked.and_then(|header| transport::parse(header.as_str()));
        let asked = asked.ok_or_else(|| Reply::new(StatusCode::UnsupportedTransport))?;
        let film = Arc::clone(&target.source.film);
        let mut offers = description::offers(&film);
        let place = match target.stream {
            Some(stream) => offers.iter().position(|offer| offer.number == stream),
            None if offers.len() == 1 => Some(0),
            None => return Err(Reply::new(StatusCode::AggregateOperationNotAllowed)),
        };
        let offer = place.map(|place| offers.swap_remove(place)).ok_or_else(nothing_to_send)?;
        let (name, session) = match request.header(&headers::SESSION) {
            Some(_) => self.session(request)?,
            None => {
                let begun = self.shared.begin(target.source.clone()).map_err(internal)?;
                let begun = begun.ok_or_else(|| Reply::new(StatusCode::NotEnoughBandwidth))?;
                self.sessions.retain(|session| !session.is_closed());
                self.sessions.push(begun.1.clone());
                begun
            }
        };
        let (way, told) = self.way(asked, &session).await?;
        let random = || getrandom::u64().map_err(internal);
        let random = (random()?, random()? as u16);
        let stream = (offer.number, offer.stream.timescale);
        let lane = Lane::new(stream, (offer.payloader, offer.payload_type), way, random);
        let told = format!("{told};ssrc={:08X};mode=\"PLAY\"", lane.ssrc);
        let added = Box::new((target.source, lane));
        let added = ask(&session, |done| Order::Add(added, done)).await?;
        added.map_err(|refusal| refused(&refusal))?;
        Ok(Reply::ok().with(headers::TRANSPORT, told).with(headers::SESSION, named(&name)))
    }

    /// The way that packets take, and how the player is told of it.
    async fn way(
        &mut self,
        asked: Asked,
        session: &mpsc::Sender<Order>,
    ) -> Result<(Way, String), Reply> {
        match asked {
            Asked::Udp(rtp, rtcp) => {
                let way = Way::udp(self.local.ip(), self.remote.ip(), (rtp, rtcp)).await;
                let way = way.map_err(internal)?;
                let (own_rtp, own_rtcp) = way.ports().unwrap_or_default();
                let told = format!(
                    "RTP/AVP;unicast;client_port={rtp}-{rtcp};server_port={own_rtp}-{own_rtcp}"
                );
                Ok((way, told))
            }
            Asked::Tcp(channel) => {
                self.channels.retain(|(_, session)| !session.is_closed());
                let free = |channel: &u8| {
                    self.channels.iter().all(|(taken, _)| taken.abs_diff(*channel) > 1)
                };
                let all = (0..u8::MAX).step_by(2);
                let channel = match channel {
                    Some(channel) if free(&channel) => Some(channel),
                    _ => all.into_iter().find(free),
                };
                let full = || Reply::new(StatusCode::NotEnoughBandwidth);
                let channel = channel.filter(|_| self.channels.len() < LANES_MAX * 8);
                let channel = channel.ok_or_else(full)?;
                self.channels.push((channel, session.clone()));
                let told = format!("RTP/AVP/TCP;unicast;interleaved={channel}-{}", channel + 1);
                Ok((Way::Tcp { channel, packets: self.packets.clone() }, told))
            }
        }
    }

    async fn play(&self, request: &Request<Vec<u8>>) -> Result<Reply, Reply> {
        let (name, session) = self.session(request)?;
        self.check_aggregate(request, &session).await?;
        let part = match request.header(&headers::RANGE) {
            Some(header) => {
                let part = range::parse(header.as_str());
                Some(part.ok_or_else(|| Reply::new(StatusCode::InvalidRange))?)
            }
            None => None,
        };
        let playing = ask(&session, |done| Order::Play(part, done)).await?;
        let Playing { start_us, end_us, streams, go } =
            playing.map_err(|refusal| refused(&refusal))?;
        let base = address(request);
        let info = streams.iter().map(|(stream, sequence, stamp)| {
            let track = description::control(*stream);
            format!("url={base}/{track};seq={sequence};rtptime={stamp}")
        });
        let seconds = |us: u64| format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000);
        let end = if end_us == u64::MAX { String::new() } else { seconds(end_us) };
        let part = format!("npt={}-{end}", seconds(start_us));
        let mut reply = Reply::ok()
            .with(headers::SESSION, named(&name))
            .with(headers::RANGE, part)
            .with(headers::RTP_INFO, info.collect::<Vec<_>>().join(","));
        if request.header(&headers::SCALE).is_some() {
            reply = reply.with(headers::SCALE, "1.0");
        }
        reply.go = Some(go);
        Ok(reply)
    }

    async fn teardown(&self, request: &Request<Vec<u8>>) -> Result<Reply, Reply> {
        let (name, session) = self.session(request)?;
        let streams = ask(&session, Order::Streams).await?;
        let of = request.request_uri().and_then(|url| parts(url.path()).2);
        let leaving = match of {
            Some(stream) => vec![stream],
            None => streams,
        };
        for stream in leaving {
            // The last one takes the session with it.
            if !ask(&session, |left| Order::Remove(stream, left)).await.unwrap_or(false) {
                break;
            }
        }
        Ok(Reply::ok().with(headers::SESSION, name))
    }

    /// A stream of several in one session cannot be told by itself.
    async fn check_aggregate(
        &self,
        request: &Request<Vec<u8>>,
        session: &mpsc::Sender<Order>,
    ) -> Result<(), Reply> {
        let Some(stream) = request.request_uri().and_then(|url| parts(url.path()).2) else {
            return Ok(());
        };
        let streams = ask(session, Order::Streams).await?;
        match streams.as_slice() {
            [only] if *only == stream => Ok(()),
            _ => Err(Reply::new(StatusCode::OnlyAggregateOperationAllowed)),
        }
    }

    /// The session that a request names.
    fn session(&self, request: &Request<Vec<u8>>) -> Result<(String, mpsc::Sender<Order>), Reply> {
        let name = request.header(&headers::SESSION).map(|header| header.as_str());
        let name = name.and_then(|name| name.split(';').next()).unwrap_or("").trim();
        let session = self.shared.session(name);
        let session = session.ok_or_else(|| Reply::new(StatusCode::SessionNotFound))?;
        Ok((name.to_owned(), session))
    }

    /// The film that a request names, waited for if it is on its way.
    async fn target(&self, request: &Request<Vec<u8>>) -> Result<Target, Reply> {
        let path = request.request_uri().map_or("", |url| url.path());
        let (hash, file, stream) = parts(path);
        let (shared, wait) = (&self.shared, self.shared.limits.metadata_wait);
        let found = lookup::file(&*shared.library, hash, file, wait).await;
        let (title, info, file) = found.map_err(|missing| {
            let status = match missing {
                Missing::Yet => StatusCode::ServiceUnavailable,
                _ => StatusCode::NotFound,
            };
            Reply::because(status, missing.sentence())
        })?;
        let entry = info.files.get(file as usize);
        let length = entry.map_or(0, |entry| entry.length);
        let name = entry.and_then(|entry| entry.path.last()).cloned().unwrap_or_default();
        let film = shared.packages.get(&*shared.library, title, file, length).await;
        let film: Arc<Presentation> = film.map_err(|error| match error {
            NoFrames::Unread(sentence) => Reply::because(StatusCode::ServiceUnavailable, &sentence),
            NoFrames::Unknown(sentence) => {
                Reply::because(StatusCode::UnsupportedMediaType, &sentence)
            }
        })?;
        let library = Arc::clone(&shared.library);
        Ok(Target { source: Source { library, title, file, length, film }, name, stream })
    }
}

/// Reads all that is read of a request by itself.
pub(super) fn survey(request: &Request<Vec<u8>>) {
    let header = |name| request.header(&name).map_or("", |value| value.as_str());
    let path = request.request_uri().map_or("", |url| url.path());
    let transport = transport::parse(header(headers::TRANSPORT));
    let part = range::parse(header(headers::RANGE));
    assert!(
        part.is_none_or(|part| part.end.is_none_or(|end| part.start.is_none_or(|it| it <= end)))
    );
    assert!(transport != Some(Asked::Tcp(Some(u8::MAX))), "there is no channel above");
    if let (Ok(challenge), Some(token)) = (Challenge::new(), Token::chosen("sixteen-letters-")) {
        let method = <&str>::from(request.method());
        assert!(!challenge.is_met(header(headers::AUTHORIZATION), method, &token));
    }
    drop((parts(path), address(request)));
}

/// Has an order followed; a session that is gone follows none.
async fn ask<T>(
    session: &mpsc::Sender<Order>,
    order: impl FnOnce(oneshot::Sender<T>) -> Order,
) -> Result<T, Reply> {
    let (done, told) = oneshot::channel();
    let gone = || Reply::new(StatusCode::SessionNotFound);
    session.send(order(done)).await.map_err(|_| gone())?;
    told.await.map_err(|_| gone())
}

fn refused(refusal: &Refusal) -> Reply {
    match refusal {
        Refusal::State => Reply::new(StatusCode::MethodNotValidInThisState),
        Refusal::Range => Reply::new(StatusCode::InvalidRange),
        Refusal::Broken(sentence) => Reply::because(StatusCode::ServiceUnavailable, sentence),
    }
}

fn internal(error: impl core::fmt::Display) -> Reply {
    Reply::because(StatusCode::InternalServerError, &error.to_string())
}

fn nothing_to_send() -> Reply {
    let sentence = "Nothing of this film can be sent as RTP: play it over HTTP.";
    Reply::because(StatusCode::UnsupportedMediaType, sentence)
}

/// A session's name, and how long it waits for a sign of life.
fn named(name: &str) -> String {
    format!("{name};timeout={}", SESSION_TIMEOUT.as_secs())
}

/// The hash, the number of the file, and the stream that a path names.
fn parts(path: &str) -> (&str, &str, Option<usize>) {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let (hash, file) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""));
    let stream = parts.next_back().and_then(|part| part.strip_prefix("track="));
    let stream = stream.and_then(lookup::number).and_then(|number| usize::try_from(number).ok());
    (hash, file, stream)
}

/// The address of a request without a stream and the last `/`.
fn address(request: &Request<Vec<u8>>) -> String {
    let Some(url) = request.request_uri() else { return String::new() };
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let whole = url.as_str().trim_end_matches('/');
    let end = match whole.rsplit_once('/') {
        Some((before, last)) if last.starts_with("track=") => before,
        _ => whole,
    };
    end.trim_end_matches('/').to_owned()
}
