//! RTSP over real sockets: what players ask for, in and out of order, what leaves when, and what is refused.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::HASH;
use common::files::Files;
use shoal_serve::viewer::Viewer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

const FILM: &[u8] = include_bytes!("../../media/testdata/front.mp4");
const TRANSPORT: &[u8] = include_bytes!("../../media/testdata/stream.ts");

/// What comes on a connection.
#[derive(Debug)]
enum Came {
    Answer { status: u16, head: String, body: String },
    Packet { channel: u8, data: Vec<u8> },
}

struct Player {
    stream: TcpStream,
    address: SocketAddr,
    number: u32,
    buffer: Vec<u8>,
}

impl Player {
    async fn new(viewer: &mut Viewer, listen: &str) -> Self {
        let address = viewer.serve_rtsp(listen.parse().unwrap()).unwrap();
        let address = SocketAddr::new([127, 0, 0, 1].into(), address.port());
        Self::connect(address).await
    }
    async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, address, number: 0, buffer: Vec::new() }
    }
    fn url(&self) -> String {
        format!("rtsp://{}/{HASH}/0/film.mp4", self.address)
    }
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }
    async fn fill(&mut self, count: usize) -> bool {
        while self.buffer.len() < count {
            let read = tokio::time::timeout(
                Duration::from_secs(8),
                self.stream.read_buf(&mut self.buffer),
            );
            if read.await.expect("something comes").unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    }
    /// The next thing; `None` when the other side closed.
    async fn next(&mut self) -> Option<Came> {
        if !self.fill(4).await {
            return None;
        }
        if self.buffer[0] == b'$' {
            let length = usize::from(u16::from_be_bytes([self.buffer[2], self.buffer[3]]));
            self.fill(4 + length).await;
            let mut packet: Vec<u8> = self.buffer.drain(..4 + length).collect();
            let channel = packet[1];
            return Some(Came::Packet { channel, data: packet.split_off(4) });
        }
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|it| it == b"\r\n\r\n") {
                break end + 4;
            }
            let count = self.buffer.len() + 1;
            assert!(self.fill(count).await, "closed inside an answer");
        };
        let head = String::from_utf8(self.buffer.drain(..end).collect()).unwrap();
        let length = field(&head, "Content-Length").map_or(0, |it| it.parse().unwrap());
        self.fill(length).await;
        let body = String::from_utf8(self.buffer.drain(..length).collect()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Some(Came::Answer { status, head, body })
    }
    /// Asks, and gives the answer: status, head, body. Packets that come before it are left out.
    async fn ask(&mut self, method: &str, url: &str, lines: &[&str]) -> (u16, String, String) {
        self.number += 1;
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let text = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{lines}\r\n", self.number);
        self.send(text.as_bytes()).await;
        loop {
            match self.next().await {
                Some(Came::Answer { status, head, body }) => {
                    assert_eq!(field(&head, "CSeq"), Some(self.number.to_string().as_str()));
                    return (status, head, body);
                }
                Some(Came::Packet { .. }) => {}
                None => panic!("closed"),
            }
        }
    }
    /// Sets up both streams inside the connection; the line that names the session.
    async fn set_up(&mut self) -> String {
        let url = self.url();
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1";
        let (status, head, _) = self.ask("SETUP", &format!("{url}/track=0"), &[transport]).await;
        assert_eq!(status, 200, "{head}");
        let session = field(&head, "Session").unwrap().split(';').next().unwrap();
        let session = format!("Session: {session}");
        let transport = "Transport: RTP/AVP/TCP;unicast;interleaved=2-3";
        let (status, head, _) =
            self.ask("SETUP", &format!("{url}/track=1"), &[transport, &session]).await;
        assert_eq!(status, 200, "{head}");
        session
    }
    /// The next RTP packet of a channel: number, time stamp, payload.
    async fn packet(&mut self, wanted: u8) -> (u16, u32, Vec<u8>) {
        loop {
            match self.next().await.expect("a packet") {
                Came::Packet { channel, data } if channel == wanted => {
                    let word = |at: usize| u32::from_be_bytes(data[at..at + 4].try_into().unwrap());
                    return ((word(0) & 0xffff) as u16, word(4), data[12..].to_vec());
                }
                Came::Answer { head, .. } => panic!("unasked: {head}"),
                Came::Packet { .. } => {}
            }
        }
    }
}

fn field<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Numbers and time stamps that an answer to PLAY announces, stream by stream.
fn announced(head: &str) -> Vec<(u16, u32)> {
    let info = field(head, "RTP-Info").unwrap();
    let value = |part: &str, key: &str| {
        let found = part.split(';').find_map(|it| it.strip_prefix(key)).unwrap().to_owned();
        found.parse::<u32>().unwrap()
    };
    info.split(',').map(|part| (value(part, "seq=") as u16, value(part, "rtptime="))).collect()
}

#[tokio::test]
async fn a_player_plays_jumps_pauses_and_goes_on() {
    let mut viewer = Files::named(&[("film.mp4", FILM)]);
    let mut player = Player::new(&mut viewer, "127.0.0.1:0").await;
    let url = player.url();
    let (status, head, _) = player.ask("OPTIONS", &url, &[]).await;
    assert!(status == 200 && field(&head, "Public").unwrap().contains("PAUSE"));
    let (status, head, text) = player.ask("DESCRIBE", &url, &["Accept: application/sdp"]).await;
    assert_eq!((status, field(&head, "Content-Base")), (200, Some(&*format!("{url}/"))));
    for line in ["a=range:npt=0-12.000", "a=control:track=0", "H264/90000", "MPEG4-GENERIC/24000/1"]
    {
        assert!(text.contains(line), "{line} in {text}");
    }
    let session = player.set_up().await;
    let (status, head, _) = player.ask("PLAY", &url, &[&session, "Range: npt=0-"]).await;
    assert_eq!((status, field(&head, "Range")), (200, Some("npt=0.000-12.000")), "{head}");
    let told = announced(&head);
    // The answer came first, and the first packet is the one that it speaks of: a parameter set before the key frame.
    let (number, stamp, payload) = player.packet(0).await;
    assert_eq!((number, stamp, payload[0] & 0x1f), (told[0].0, told[0].1, 7));
    let (number, stamp, _) = player.packet(2).await;
    assert_eq!((number, stamp), told[1]);
    // A jump goes to the key frame before, numbers go on, time stamps do not go back.
    let (status, head, _) = player.ask("PLAY", &url, &[&session, "Range: npt=7.5-"]).await;
    assert_eq!((status, field(&head, "Range")), (200, Some("npt=6.000-12.000")), "{head}");
    let jumped = announced(&head);
    assert!(jumped[0].1.wrapping_sub(told[0].1) < 1 << 31 && jumped[0].1 != told[0].1);
    let (number, stamp, _) = player.packet(0).await;
    assert_eq!((number, stamp), jumped[0]);
    let (status, ..) = player.ask("PAUSE", &url, &[&session]).await;
    assert_eq!(status, 200);
    let quiet = tokio::time::timeout(Duration::from_millis(400), player.next()).await;
    assert!(quiet.is_err(), "paused, and {quiet:?}");
    let (status, head, _) = player.ask("PLAY", &url, &[&session]).await;
    assert_eq!(status, 200);
    let (number, stamp, _) = player.packet(2).await;
    let again = announced(&head);
    // The frame that comes next of the other stream may be a little further on.
    assert_eq!(number, again[1].0);
    assert!(stamp.wrapping_sub(again[1].1).wrapping_add(24_000) < 48_000);
    let (status, ..) = player.ask("TEARDOWN", &url, &[&session]).await;
    assert_eq!(status, 200);
    assert_eq!(player.ask("PLAY", &url, &[&session]).await.0, 454);
    viewer.shutdown().await;
}

#[tokio::test]
async fn frames_leave_by_the_clock_of_the_film() {
    let mut viewer = Files::named(&[("film.mp4", FILM)]);
    let mut player = Player::new(&mut viewer, "127.0.0.1:0").await;
    let (url, session) = (player.url(), player.set_up().await);
    let (_, head, _) = player.ask("PLAY", &url, &[&session, "Range: npt=2-3.2"]).await;
    let zero = announced(&head)[1].1;
    let (mut first, mut frames, mut last) = (None, 0, 0.0);
    // Reports and the word that it is over come on the other channel.
    loop {
        match player.next().await.unwrap() {
            Came::Packet { channel: 2, data } => {
                let stamp = u32::from_be_bytes(data[4..8].try_into().unwrap());
                let film = f64::from(stamp.wrapping_sub(zero)) / 24_000.0;
                let real = first.get_or_insert_with(Instant::now).elapsed().as_secs_f64();
                assert!(real > film - 0.06, "at {real} s came what is heard at {film} s");
                (frames, last) = (frames + 1, film);
            }
            Came::Packet { channel: 3, data } if data.windows(2).any(|it| it == [0x81, 203]) => {
                break;
            }
            Came::Packet { .. } => {}
            Came::Answer { head, .. } => panic!("unasked: {head}"),
        }
    }
    assert!((26..=29).contains(&frames) && (1.1..1.2).contains(&last), "{frames} to {last}");
    // It is over, and can be played again.
    assert_eq!(player.ask("PLAY", &url, &[&session, "Range: npt=0-1"]).await.0, 200);
    viewer.shutdown().await;
}

#[tokio::test]
async fn packets_outside_the_connection_go_to_the_ports_that_were_named() {
    let mut viewer = Files::named(&[("film.ts", TRANSPORT)]);
    let mut player = Player::new(&mut viewer, "127.0.0.1:0").await;
    let url = player.url();
    let (_, _, text) = player.ask("DESCRIBE", &url, &[]).await;
    assert!(text.contains("RTP/AVP 33"), "{text}");
    let rtp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let rtcp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let way = format!(
        "Transport: RTP/AVP;unicast;destination=192.0.2.1;client_port={}-{}",
        port(&rtp),
        port(&rtcp)
    );
    // A film of one stream needs no name of it.
    let (status, head, _) = player.ask("SETUP", &url, &[&way]).await;
    assert_eq!(status, 200, "{head}");
    let told = field(&head, "Transport").unwrap().to_owned();
    let ports = told.split("server_port=").nth(1).unwrap().split(['-', ';']).take(2);
    let ports: Vec<u16> = ports.map(|it| it.parse().unwrap()).collect();
    assert!(ports[0].is_multiple_of(2) && ports[1] == ports[0] + 1, "{told}");
    let session =
        format!("Session: {}", field(&head, "Session").unwrap().split(';').next().unwrap());
    assert_eq!(player.ask("PLAY", &url, &[&session, "Range: npt=4-"]).await.0, 200);
    let mut data = [0; 1500];
    let (length, from) = rtp.recv_from(&mut data).await.unwrap();
    assert_eq!((from.port(), data[1] & 0x7f, (length - 12) % 188), (ports[0], 33, 0));
    assert_eq!(data[12], 0x47);
    let (_, from) = rtcp.recv_from(&mut data).await.unwrap();
    assert_eq!((from.port(), data[1]), (ports[1], 200), "a sender's report");
    viewer.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_by_its_number() {
    let mut viewer =
        Files::named(&[("film.mp4", FILM), ("notes.txt", b"no film"), ("other.ts", TRANSPORT)]);
    let mut player = Player::new(&mut viewer, "127.0.0.1:0").await;
    let url = player.url();
    let host = player.address;
    let elsewhere = |path: &str| format!("rtsp://{host}/{path}");
    for (status, method, url, lines) in [
        (404, "DESCRIBE", elsewhere("0303030303030303030303030303030303030303/0"), vec![]),
        (404, "DESCRIBE", elsewhere(&format!("{HASH}/77")), vec![]),
        (404, "DESCRIBE", elsewhere(&format!("{HASH}/x")), vec![]),
        (415, "DESCRIBE", elsewhere(&format!("{HASH}/1")), vec![]),
        (406, "DESCRIBE", url.clone(), vec!["Accept: text/html"]),
        (551, "DESCRIBE", url.clone(), vec!["Require: com.example.magic"]),
        (501, "RECORD", url.clone(), vec![]),
        (501, "ANNOUNCE", url.clone(), vec![]),
        (454, "PLAY", url.clone(), vec!["Session: 0000"]),
        (454, "PAUSE", url.clone(), vec![]),
        (
            461,
            "SETUP",
            format!("{url}/track=0"),
            vec!["Transport: RTP/SAVP;unicast;client_port=5-6"],
        ),
        (461, "SETUP", format!("{url}/track=0"), vec!["Transport: mode=\""]),
        (461, "SETUP", format!("{url}/track=0"), vec![]),
        (459, "SETUP", url.clone(), vec!["Transport: RTP/AVP/TCP;unicast"]),
        (415, "SETUP", format!("{url}/track=9"), vec!["Transport: RTP/AVP/TCP;unicast"]),
        (200, "GET_PARAMETER", url.clone(), vec![]),
    ] {
        let (found, head, _) = player.ask(method, &url, &lines).await;
        assert_eq!(found, status, "{method} {url} {lines:?}: {head}");
    }
    let session = player.set_up().await;
    for (status, method, url, line) in [
        (457, "PLAY", url.clone(), "Range: npt=99-"),
        (457, "PLAY", url.clone(), "Range: clock=19961108T142300Z-"),
        (460, "PLAY", format!("{url}/track=1"), "Range: npt=0-"),
    ] {
        let (found, head, _) = player.ask(method, &url, &[&session, line]).await;
        assert_eq!(found, status, "{method} {line}: {head}");
    }
    // A session is of one film.
    let other = elsewhere(&format!("{HASH}/2"));
    let transport = "Transport: RTP/AVP/TCP;unicast";
    assert_eq!(player.ask("SETUP", &other, &[transport, &session]).await.0, 455);
    player.number += 1;
    let number = player.number;
    let text =
        format!("SET_PARAMETER {url} RTSP/1.0\r\nCSeq: {number}\r\nContent-Length: 1\r\n\r\nx");
    player.send(text.as_bytes()).await;
    assert!(matches!(player.next().await, Some(Came::Answer { status: 451, .. })));
    // Streams are not added while it plays.
    assert_eq!(player.ask("PLAY", &url, &[&session]).await.0, 200);
    let track = format!("{url}/track=0");
    assert_eq!(player.ask("SETUP", &track, &[transport, &session]).await.0, 455);
    // Another version, and what is no RTSP at all, which ends the connection.
    let mut other = Player::connect(host).await;
    other.send(format!("OPTIONS {url} RTSP/2.0\r\nCSeq: 1\r\n\r\n").as_bytes()).await;
    assert!(matches!(other.next().await, Some(Came::Answer { status: 505, .. })));
    other.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(matches!(other.next().await, Some(Came::Answer { status: 400, .. })));
    assert!(other.next().await.is_none(), "closed");
    viewer.shutdown().await;
}

#[tokio::test]
async fn who_comes_from_elsewhere_is_asked_for_the_token() {
    let mut viewer = Files::named(&[("film.mp4", FILM)]);
    let mut player = Player::new(&mut viewer, "0.0.0.0:0").await;
    let base = viewer.rtsp_base().unwrap();
    let secret = base.split(['@', ':']).nth(2).unwrap().to_owned();
    assert!(base.starts_with("rtsp://shoal:") && secret.len() >= 16, "{base}");
    let url = player.url();
    assert_eq!(player.ask("OPTIONS", &url, &[]).await.0, 200);
    let (status, head, _) = player.ask("DESCRIBE", &url, &[]).await;
    let challenge = field(&head, "WWW-Authenticate").unwrap();
    assert!(status == 401 && challenge.starts_with("Digest realm=\"shoal\", nonce=\""), "{head}");
    let wrong = "Authorization: Digest username=\"shoal\", realm=\"shoal\", nonce=\"0\", uri=\"x\", response=\"0\"";
    assert_eq!(player.ask("DESCRIBE", &url, &[wrong]).await.0, 401);
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_player_that_takes_nothing_holds_its_session_and_gets_the_rest_at_the_films_rate() {
    let mut viewer = Files::named(&[("film.mp4", FILM)]);
    let mut player = Player::new(&mut viewer, "127.0.0.1:0").await;
    let (url, session) = (player.url(), player.set_up().await);
    assert_eq!(player.ask("PLAY", &url, &[&session, "Range: npt=0-"]).await.0, 200);
    tokio::time::sleep(Duration::from_millis(700)).await;
    // What a hostile player sends in between is left out, and the session goes on.
    player.send(b"$\x01\x00\x04junk$\x09\x00\x00\r\n\r\n").await;
    let (_, stamp, _) = player.packet(2).await;
    let (_, next, _) = player.packet(2).await;
    assert_eq!(next.wrapping_sub(stamp), 1024);
    drop(player);
    viewer.shutdown().await;
}
