//! The HTTP tracker over real sockets and the real directory.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use common::Client;
use shoal_drive::directory_udp::DirectoryServer;
use shoal_node::directory::DirectoryConfig;
use shoal_serve::directory::DirectoryFace;
use shoal_wire::Hash20;
use shoal_wire::PeerId;
use shoal_wire::tracker::http::{
    HttpAnswer, announce_url, decode_announce, decode_scrape, scrape_url,
};
use shoal_wire::tracker::{Announce, AnnounceEvent, ScrapeCounts};

struct Both {
    server: DirectoryServer,
    face: DirectoryFace,
}

impl Both {
    async fn stop(self) {
        self.face.shutdown().await;
        self.server.stop().await;
    }
}

fn start(titles_max: usize) -> Both {
    let any = "127.0.0.1:0".parse().unwrap();
    let config = DirectoryConfig { titles_max, ..DirectoryConfig::default() };
    let server = DirectoryServer::start(any, config).unwrap();
    let face = DirectoryFace::start(any, server.handle(), DirectoryFace::limits()).unwrap();
    Both { server, face }
}

fn announce(hash: u8, port: u16, left: u64) -> Announce {
    Announce {
        info_hash: Hash20([hash; 20]),
        peer_id: PeerId([port as u8; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event: AnnounceEvent::Started,
        key: 1,
        num_want: None,
    }
}

/// Path and query of the address that our own client would use.
fn path(announce: &Announce) -> String {
    announce_url("/announce", announce)
}

#[tokio::test]
async fn peers_meet_over_http() {
    let both = start(10);
    let mut client = Client::connect(both.face.address()).await;
    let first = client.get(&path(&announce(1, 7001, 0)), &["Host: tracker.example"]).await;
    assert_eq!(first.status, 200);
    let HttpAnswer::Success(answer) = decode_announce(&first.body).unwrap() else { panic!() };
    assert_eq!((answer.complete, answer.incomplete), (Some(1), Some(0)));
    assert!(answer.peers.is_empty(), "never itself");
    let second = client.get(&path(&announce(1, 7002, 5)), &[]).await;
    let HttpAnswer::Success(answer) = decode_announce(&second.body).unwrap() else { panic!() };
    assert_eq!(answer.peers, ["127.0.0.1:7001".parse().unwrap()]);
    assert_eq!(answer.external_ip, Some([127, 0, 0, 1].into()));

    let titles = [Hash20([1; 20]), Hash20([9; 20])];
    let url = scrape_url("/announce", &titles).unwrap();
    let scraped = client.get(&url, &[]).await;
    let HttpAnswer::Success(counts) = decode_scrape(&scraped.body).unwrap() else { panic!() };
    let known = ScrapeCounts { complete: 1, downloaded: 0, incomplete: 1 };
    assert!(counts.contains(&(titles[0], known)), "{counts:?}");

    let metrics = client.get("/metrics", &[]).await.text();
    assert!(metrics.contains("shoal_directory_peers 2\n"), "{metrics}");
    assert!(client.get("/", &[]).await.text().contains("1 titles, 2 peers"));
    both.stop().await;
}

#[tokio::test]
async fn refusals_are_sentences_that_clients_can_show() {
    let both = start(1);
    let mut client = Client::connect(both.face.address()).await;
    client.get(&path(&announce(1, 7001, 0)), &[]).await;
    let paths = [
        path(&announce(2, 7001, 0)),
        "/announce".to_owned(),
        "/announce?info_hash=%ff&port=1".to_owned(),
        "/scrape".to_owned(),
    ];
    for path in paths {
        let refused = client.get(&path, &[]).await;
        assert_eq!(refused.status, 200);
        match decode_announce(&refused.body).unwrap() {
            HttpAnswer::Failure { reason, .. } => assert!(reason.len() > 10, "{path}: {reason}"),
            HttpAnswer::Success(answer) => panic!("{path}: {answer:?}"),
        }
    }
    assert_eq!(client.get("/nothing", &[]).await.status, 404);
    both.stop().await;
}

#[tokio::test]
async fn an_address_claimed_in_a_request_is_not_believed() {
    let both = start(10);
    let mut client = Client::connect(both.face.address()).await;
    let victim = format!("{}&ip=192.0.2.66&ipv4=192.0.2.66", path(&announce(1, 7001, 0)));
    client.get(&victim, &["X-Forwarded-For: 192.0.2.66"]).await;
    let other = client.get(&path(&announce(1, 7002, 5)), &[]).await;
    let HttpAnswer::Success(answer) = decode_announce(&other.body).unwrap() else { panic!() };
    assert_eq!(answer.peers, ["127.0.0.1:7001".parse().unwrap()]);
    both.stop().await;
}
