//! What players do over real sockets: probe, jump, hold several connections, read slowly, leave without a word.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::time::Duration;

use common::{Client, HASH, Memory, UNREADY, film, stream_path};
use shoal_node::io::Event;
use shoal_node::link::TitleId;
use shoal_serve::server::Limits;
use shoal_serve::viewer::Options;

const LENGTH: u64 = 10_000_000;

#[tokio::test]
async fn ranges_conditions_and_heads_come_over_one_kept_connection() {
    let memory = Memory::new(LENGTH);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    let path = stream_path();

    let part = client.get(&path, &["Range: bytes=100-199"]).await;
    assert_eq!((part.status, part.body.as_slice()), (206, film(100..200).as_slice()));
    assert_eq!(part.header("content-range"), Some("bytes 100-199/10000000"));
    assert_eq!(part.header("accept-ranges"), Some("bytes"));
    assert_eq!(part.header("content-type"), Some("video/mp4"));
    let etag = part.header("etag").unwrap().to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "strong: {etag}");

    let tail = client.get(&path, &["Range: bytes=-250000"]).await;
    assert_eq!((tail.status, tail.body), (206, film(LENGTH - 250_000..LENGTH)));

    let clamped = client.get(&path, &["Range: bytes=9999990-99999999"]).await;
    assert_eq!((clamped.status, clamped.body), (206, film(LENGTH - 10..LENGTH)));

    let beyond = client.get(&path, &["Range: bytes=10000000-"]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, Some("bytes */10000000")));

    let same = client.get(&path, &["Range: bytes=5-9", &format!("If-Range: {etag}")]).await;
    assert_eq!((same.status, same.body), (206, film(5..10)));

    let known = client.get(&path, &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((known.status, known.header("etag")), (304, Some(etag.as_str())));

    client.ask("HEAD", &path, &["Range: bytes=5-9"]).await;
    let head = client.answer(true).await;
    assert_eq!((head.status, head.header("content-length")), (200, Some("10000000")));
    assert_eq!(head.header("etag"), Some(etag.as_str()));

    for ignored in ["bytes=0-1,5-6", "seconds=1-2", "bytes=9-1"] {
        client.ask("HEAD", &path, &[&format!("Range: {ignored}")]).await;
        assert_eq!(client.answer(true).await.status, 200);
    }
    let several = client.get(&path, &["Range: bytes=0-1,5-6"]).await;
    assert_eq!((several.status, several.body.len() as u64), (200, LENGTH));
    assert_eq!(memory.opened.lock().unwrap().len(), 5, "heads and refusals open no reader");
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_player_that_opens_three_connections_and_abandons_two_leaves_one_reader() {
    let memory = Memory::new(LENGTH);
    let viewer = memory.viewer();
    // The habit of ffmpeg, mpv and VLC: all of it, then the index, then the place; the first ones stay open, unread.
    let mut first = Client::connect(viewer.address()).await;
    first.ask("GET", &stream_path(), &["Range: bytes=0-"]).await;
    first.head().await;
    first.take(4096).await;
    let mut index = Client::connect(viewer.address()).await;
    let tail = index.get(&stream_path(), &["Range: bytes=9990000-"]).await;
    assert_eq!(tail.body, film(9_990_000..LENGTH));
    let mut place = Client::connect(viewer.address()).await;
    place.ask("GET", &stream_path(), &["Range: bytes=5000000-"]).await;
    place.head().await;
    assert_eq!(place.take(100_000).await, film(5_000_000..5_100_000));
    memory.readers(2).await;
    drop(first);
    memory.readers(1).await;
    drop(place);
    memory.readers(0).await;
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_reader_is_closed_when_its_player_leaves_while_nothing_arrives() {
    let memory = Memory::new(LENGTH);
    memory.here.send_replace(0);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    client.ask("GET", &stream_path(), &["Range: bytes=0-"]).await;
    // The head comes at once: a player knows the length while the swarm is still looking for the bytes.
    assert!(client.head().await.starts_with("HTTP/1.1 206"));
    memory.readers(1).await;
    drop(client);
    memory.readers(0).await;
    viewer.shutdown().await;
}

#[tokio::test]
async fn bytes_come_as_they_arrive_from_the_swarm() {
    let memory = Memory::new(LENGTH);
    memory.here.send_replace(1000);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    client.ask("GET", &stream_path(), &[]).await;
    client.head().await;
    assert_eq!(client.take(1000).await, film(0..1000));
    memory.here.send_replace(1500);
    assert_eq!(client.take(500).await, film(1000..1500));
    memory.here.send_replace(LENGTH);
    assert_eq!(client.take(LENGTH as usize - 1500).await, film(1500..LENGTH));
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_slow_player_holds_its_reader_back() {
    let memory = Memory::new(200_000_000);
    let viewer = memory.viewer();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 << 10).unwrap();
    let mut stream = socket.connect(viewer.address()).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", stream_path());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0u8; 1000];
    stream.read_exact(&mut head).await.unwrap();
    // Until nothing is taken for a while, the buffers on the way fill; then the reader rests.
    let mut taken = memory.taken.subscribe();
    while tokio::time::timeout(Duration::from_millis(300), taken.changed()).await.is_ok() {}
    let ahead = *taken.borrow();
    assert!(ahead < 2 << 20, "{ahead} bytes were taken for a player that read 1000");
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_film_that_breaks_off_ends_the_connection_instead_of_the_film() {
    let memory = Memory::new(LENGTH);
    *memory.broken_from.lock().unwrap() = 131_072;
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    client.ask("GET", &stream_path(), &[]).await;
    client.head().await;
    let rest = client.rest().await;
    assert!(rest.len() < LENGTH as usize, "cut off, so that the player knows");
    memory.readers(0).await;
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_magnet_is_waited_for_and_then_asked_to_come_again() {
    let memory = Memory::new(LENGTH);
    let path = format!("/stream/{UNREADY}/0");
    let mut options = Options::new("127.0.0.1:0".parse().unwrap());
    options.limits = Limits { metadata_wait: Duration::from_millis(50), ..Limits::default() };
    let hasty = memory.viewer_with(options);
    let mut client = Client::connect(hasty.address()).await;
    let answer = client.get(&path, &[]).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("2")));
    hasty.shutdown().await;

    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    client.ask("GET", &path, &["Range: bytes=0-9"]).await;
    while memory.events.receiver_count() == 0 {
        tokio::task::yield_now().await;
    }
    *memory.ready.lock().unwrap() = true;
    let info = memory.info.clone();
    memory.events.send(Event::Ready { title: TitleId(1), info }).unwrap();
    assert_eq!(client.answer(false).await.body, film(0..10));
    viewer.shutdown().await;
}

#[tokio::test]
async fn files_that_could_act_are_downloads_in_a_sandbox() {
    let memory = Memory::new(LENGTH);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    let page = client.get(&format!("/stream/{HASH}/1/page.mp4"), &[]).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("application/octet-stream"));
    assert!(page.header("content-disposition").unwrap().starts_with("attachment;"));
    assert!(page.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let empty = client.get(&format!("/stream/{HASH}/2"), &[]).await;
    assert_eq!((empty.status, empty.header("content-length")), (200, Some("0")));
    let empty = client.get(&format!("/stream/{HASH}/2"), &["Range: bytes=0-"]).await;
    assert_eq!((empty.status, empty.header("content-range")), (416, Some("bytes */0")));
    viewer.shutdown().await;
}

#[tokio::test]
async fn addresses_that_name_nothing_are_not_found() {
    let memory = Memory::new(LENGTH);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    let long = "9".repeat(30);
    for path in [
        format!("/stream/{HASH}/3"),
        format!("/stream/{HASH}/-1"),
        format!("/stream/{HASH}/+1"),
        format!("/stream/{HASH}/{long}"),
        format!("/stream/{HASH}/0/a/b"),
        format!("/stream/{}/0", "f".repeat(40)),
        "/stream/..%2f..%2fetc/0".to_owned(),
        "/../../etc/passwd".to_owned(),
        "/api/v1/titles/xyz".to_owned(),
        "/nothing".to_owned(),
    ] {
        let answer = client.get(&path, &[]).await;
        assert!(matches!(answer.status, 404 | 405), "{path}: {}", answer.status);
    }
    viewer.shutdown().await;
}
