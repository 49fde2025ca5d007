//! The page, the API and who may use them, over real sockets.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Client, HASH, Memory, Shared, stream_path};
use serde_json::Value;
use shoal_node::io::Event;
use shoal_node::link::{ReaderId, TitleId};
use shoal_serve::reports::{Faces, Report, Reports, relay};
use shoal_serve::server::Limits;
use shoal_serve::viewer::{Options, Viewer};

fn loopback() -> Options {
    Options::new("127.0.0.1:0".parse().unwrap())
}

#[tokio::test]
async fn foreign_hosts_and_sites_get_nothing() {
    let viewer = Memory::new(1000).viewer();
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost:1:2", "", "a b", "[::1"] {
        let mut client = Client::connect(viewer.address()).await;
        client.send(&format!("GET /api/v1/titles HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        let answer = client.answer(false).await;
        assert!(matches!(answer.status, 400 | 421), "{host}: {}", answer.status);
        assert!(!answer.text().contains("infohash"));
    }
    let mut client = Client::connect(viewer.address()).await;
    let cross = "Sec-Fetch-Site: cross-site";
    for path in ["/api/v1/titles", &stream_path(), "/metrics", "/api/v1/events"] {
        assert_eq!(client.get(path, &[cross]).await.status, 403, "{path}");
    }
    assert_eq!(client.get("/", &[cross]).await.status, 200, "a link to the page is welcome");
    let titles = client.get("/api/v1/titles", &[]).await;
    assert_eq!(titles.header("access-control-allow-origin"), None);
    assert_eq!(titles.header("cross-origin-resource-policy"), Some("same-origin"));
    viewer.shutdown().await;
}

#[tokio::test]
async fn state_changes_only_with_token_origin_and_json() {
    let memory = Memory::new(1000);
    let viewer = memory.viewer();
    let token = format!("X-Shoal-Token: {}", viewer.control_token().as_str());
    let json = "Content-Type: application/json";
    let post = async |path: &str, headers: &[&str], body: &str| {
        let length = format!("Content-Length: {}", body.len());
        // A connection each: one whose body was not wanted is closed.
        let mut client = Client::connect(viewer.address()).await;
        client.ask("POST", path, &[&[length.as_str()], headers].concat()).await;
        client.send(body).await;
        client.answer(false).await.status
    };
    let (limits, body) = ("/api/v1/limits", r#"{"up": 1000, "down": null}"#);
    assert_eq!(post(limits, &[json], body).await, 403);
    assert_eq!(post(limits, &[json, "X-Shoal-Token: 0123456789abcdef"], body).await, 403);
    assert_eq!(post(limits, &[json, &token, "Origin: http://evil.example"], body).await, 403);
    assert_eq!(post(limits, &[json, &token, "Sec-Fetch-Site: same-site"], body).await, 403);
    assert_eq!(post(limits, &["Content-Type: text/plain", &token], body).await, 415);
    assert_eq!(post(limits, &[json, &token], "{").await, 400);
    assert_eq!(post(limits, &[json, &token], r#"{"up": "x"}"#).await, 400);
    assert!(memory.commands.lock().unwrap().is_empty());
    assert_eq!(post(limits, &[json, &token, "Origin: http://127.0.0.1"], body).await, 200);
    let peers = format!("/api/v1/titles/{HASH}/peers");
    assert_eq!(post(&peers, &[json, &token], r#"{"peers": ["192.0.2.7:1"]}"#).await, 200);
    assert_eq!(post(&peers, &[json, &token], r#"{"peers": ["nowhere"]}"#).await, 400);
    let commands = memory.commands.lock().unwrap().clone();
    assert_eq!(commands[0], "Limits { up: Some(1000), down: None }");
    assert!(commands[1].contains("192.0.2.7:1") && commands.len() == 2, "{commands:?}");
    viewer.shutdown().await;
}

#[tokio::test]
async fn a_get_changes_nothing_and_a_wrong_method_is_told_the_right_one() {
    let memory = Memory::new(1000);
    let viewer = memory.viewer();
    let mut client = Client::connect(viewer.address()).await;
    let answer = client.get("/api/v1/limits?up=5", &[]).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
    let token = format!("X-Shoal-Token: {}", viewer.control_token().as_str());
    client.ask("DELETE", "/metrics", &[&token]).await;
    assert_eq!(client.answer(false).await.status, 405);
    assert!(memory.commands.lock().unwrap().is_empty());
    viewer.shutdown().await;
}

#[tokio::test]
async fn beyond_loopback_every_address_holds_the_token() {
    let memory = Memory::new(1000);
    let viewer = memory.viewer_with(Options::new("0.0.0.0:0".parse().unwrap()));
    let address = ([127, 0, 0, 1], viewer.address().port()).into();
    let mut client = Client::connect(address).await;
    for path in ["/", "/metrics", "/api/v1/titles", "/api/v1/events", &stream_path()] {
        assert_eq!(client.get(path, &[]).await.status, 403, "{path}");
    }
    let base = viewer.base();
    let prefix = base.strip_prefix(&format!("http://{address}")).unwrap().to_owned();
    assert!(prefix.starts_with("/t/") && prefix.len() > 30, "{prefix}");
    let film = client.get(&format!("{prefix}{}", stream_path()), &["Range: bytes=0-9"]).await;
    assert_eq!(film.status, 206);
    let page = client.get(&format!("{prefix}/"), &[]).await;
    assert_eq!(page.status, 200);
    assert!(!page.text().contains(viewer.control_token().as_str()), "readers may not control");
    viewer.shutdown().await;
}

#[tokio::test]
async fn the_api_tells_how_titles_stand() {
    let viewer = Memory::new(1000).viewer();
    let mut client = Client::connect(viewer.address()).await;
    let list: Value =
        serde_json::from_slice(&client.get("/api/v1/titles", &[]).await.body).unwrap();
    assert_eq!(list["titles"][0]["infohash"], HASH);
    assert_eq!(list["titles"][0]["ready"], true);
    assert_eq!(list["titles"][1]["ready"], false);
    let path = format!("/api/v1/titles/{HASH}");
    let title: Value = serde_json::from_slice(&client.get(&path, &[]).await.body).unwrap();
    assert_eq!(title["statistics"]["received"], 70);
    assert_eq!(title["pieces"], "f0");
    assert_eq!(title["peer_list"][0]["address"], "192.0.2.1:6881");
    assert_eq!(title["duration_ms"], 60_000);
    let url = title["files"][0]["url"].as_str().unwrap();
    assert_eq!(client.get(&format!("/{url}"), &["Range: bytes=0-0"]).await.status, 206);
    let metrics = client.get("/metrics", &[]).await;
    let line = format!("shoal_title_received_bytes_total{{infohash=\"{HASH}\"}} 70\n");
    assert!(metrics.text().contains(&line), "{}", metrics.text());
    assert!(metrics.text().contains("shoal_http_film_bytes_total 1\n"));
    assert!(metrics.text().contains("shoal_cache_used_bytes 400\n"));
    let cache: Value =
        serde_json::from_slice(&client.get("/api/v1/cache", &[]).await.body).unwrap();
    assert_eq!(cache["cache"], serde_json::json!({ "quota": 1000, "used": 400 }));
    viewer.shutdown().await;
}

#[tokio::test]
async fn the_page_runs_nothing_but_itself() {
    let viewer = Memory::new(1000).viewer();
    let mut client = Client::connect(viewer.address()).await;
    let (one, two) = (client.get("/", &[]).await, client.get("/", &[]).await);
    let policy = one.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert_ne!(Some(policy), two.header("content-security-policy"), "a nonce is used once");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    let html = one.text();
    assert_eq!(html.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!html.contains("http://") && !html.contains("https://"), "no outside resources");
    assert!(!html.contains("innerHTML"), "names of peers are text");
    viewer.shutdown().await;
}

#[tokio::test]
async fn events_come_as_they_happen_and_old_ones_that_matter_first() {
    let memory = Memory::new(1000);
    let reports = Arc::new(Reports::new());
    let library = Arc::new(Shared(Arc::clone(&memory)));
    let viewer = Viewer::start(loopback(), library.clone(), Arc::clone(&reports)).unwrap();
    let http = Some(viewer.base());
    reports.tell(None, &Report::Listening { peer: None, http, rtsp: None });
    let relaying = tokio::spawn(relay(
        library,
        Arc::clone(&reports),
        Faces { http: Some(viewer.base()), rtsp: None },
    ));
    let mut client = Client::connect(viewer.address()).await;
    client.ask("GET", "/api/v1/events", &[]).await;
    assert!(client.head().await.contains("text/event-stream"));
    let mut text = String::new();
    while !text.contains("\"title\"") || !text.contains("\"progress\"") {
        text.push_str(&String::from_utf8(client.take(1).await).unwrap());
    }
    assert!(text.contains("\"listening\""), "{text}");
    assert!(text.contains("/0/film%20%22one%22.mp4"), "{text}");
    // A title whose files are being checked stands at that, not at nothing of nothing.
    while !text.contains("\"checking\"") {
        text.push_str(&String::from_utf8(client.take(1).await).unwrap());
    }
    let line =
        |text: &str| text.lines().find(|line| line.contains("\"checking\"")).map(str::to_owned);
    while !line(&text).is_some_and(|line| line.ends_with('}')) {
        text.push_str(&String::from_utf8(client.take(1).await).unwrap());
    }
    let line = line(&text).unwrap();
    assert!(line.contains(common::UNREADY), "{line}");
    assert!(line.contains("\"done\":30") && line.contains("\"length\":40"), "{line}");
    let (title, reader) = (TitleId(0), ReaderId(1));
    memory.events.send(Event::Playing { title, reader, startup_ms: 321 }).unwrap();
    while !text.contains("\"startup_ms\":321") {
        text.push_str(&String::from_utf8(client.take(1).await).unwrap());
    }
    memory.events.send(Event::Stopped).unwrap();
    relaying.await.unwrap();
    viewer.shutdown().await;
}

#[tokio::test]
async fn heads_that_are_too_long_too_slow_or_no_http_end_the_connection() {
    let memory = Memory::new(1000);
    let mut options = loopback();
    options.limits.header_timeout = Duration::from_millis(200);
    let viewer = memory.viewer_with(options);
    let mut silent = Client::connect(viewer.address()).await;
    silent.send("GET / HTTP/1.1\r\nHost: ").await;
    silent.rest().await;
    let mut idle = Client::connect(viewer.address()).await;
    assert_eq!(idle.get("/metrics", &[]).await.status, 200);
    assert!(idle.rest().await.is_empty(), "an idle connection is closed in time");
    let mut long = Client::connect(viewer.address()).await;
    long.send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(60_000)))
        .await;
    assert_eq!(long.answer(true).await.status, 431);
    let mut many = Client::connect(viewer.address()).await;
    let lines: String = (0..200).map(|number| format!("X-{number}: y\r\n")).collect();
    many.send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n")).await;
    assert_eq!(many.answer(true).await.status, 431);
    let mut foreign = Client::connect(viewer.address()).await;
    foreign.send("\x13BitTorrent protocol\0\0\0\0\0\0\0\0").await;
    foreign.rest().await;
    viewer.shutdown().await;
}

#[tokio::test]
async fn bodies_and_connections_have_their_limits() {
    let memory = Memory::new(1000);
    let mut options = loopback();
    options.limits = Limits { connections_max: 2, ..Limits::default() };
    let viewer = memory.viewer_with(options);
    let mut one = Client::connect(viewer.address()).await;
    assert_eq!(one.get("/metrics", &[]).await.status, 200);
    let mut two = Client::connect(viewer.address()).await;
    assert_eq!(two.get("/metrics", &[]).await.status, 200);
    let mut three = Client::connect(viewer.address()).await;
    assert!(three.rest().await.is_empty(), "no room for a third");
    drop(two);
    let token = format!("X-Shoal-Token: {}", viewer.control_token().as_str());
    let json = "Content-Type: application/json";
    one.ask("POST", "/api/v1/limits", &[&token, json, "Content-Length: 100000"]).await;
    let _ = tokio::io::AsyncWriteExt::write_all(&mut one.stream, &[b' '; 100_000]).await;
    assert_eq!(one.answer(false).await.status, 413);
    viewer.shutdown().await;
}

#[tokio::test]
async fn shutdown_frees_the_port_and_closes_readers_and_listeners() {
    let memory = Memory::new(10_000_000);
    memory.here.send_replace(10);
    let mut options = loopback();
    options.limits.farewell = Duration::from_millis(50);
    let viewer = memory.viewer_with(options);
    let address = viewer.address();
    let mut film = Client::connect(address).await;
    film.ask("GET", &stream_path(), &[]).await;
    film.head().await;
    let mut idle = Client::connect(address).await;
    idle.get("/metrics", &[]).await;
    memory.readers(1).await;
    viewer.shutdown().await;
    memory.readers(0).await;
    idle.rest().await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    let again = memory.viewer_with(Options::new(address));
    assert_eq!(again.address(), address);
    again.shutdown().await;
}
