//! The whole path: a publisher, a viewer that knows a magnet alone, and a player at the viewer's HTTP face.
#![allow(clippy::unwrap_used)] // A test that cannot go on says so by panicking.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::Client;
use serde_json::Value;
use shoal_drive::publish::{Publication, PublishProgress, Published, find_sources, publish};
use shoal_drive::{Engine, EngineOptions, Place, TitleOptions, Trust};
use shoal_node::config::Config;
use shoal_node::io::{AddTitle, Want};
use shoal_node::link::TitleId;
use shoal_serve::library::Library;
use shoal_serve::reports::{Faces, Reports, relay};
use shoal_serve::shelf::Shelf;
use shoal_serve::viewer::{Options, Viewer};
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::{Info, TitleExtras, Version};

const FILM: &[u8] = include_bytes!("../../app/assets/demo.mp4");

/// The film's length as events tell it.
const DURATION: &str = "\"duration_ms\":60000";

fn engine() -> Engine {
    let mut config = Config::default();
    config.discover.local = false;
    let listen = ([127, 0, 0, 1], 0).into();
    Engine::start(EngineOptions { listen, config, ..EngineOptions::default() }).unwrap()
}

fn title(hashes: InfoHashes, info: Option<Info>, want: Want) -> AddTitle {
    AddTitle { info: info.map(Arc::new), want, ..AddTitle::new(TitleId(0), hashes) }
}

/// Publishes the film from `folder` and seeds it.
async fn seed(engine: &Engine, folder: &Path) -> InfoHashes {
    let path = folder.join("demo.mp4");
    std::fs::write(&path, FILM).unwrap();
    let (name, folder, sources) = find_sources(&[path], None).unwrap();
    let (version, extras) = (Version::Hybrid, TitleExtras::default());
    let piece_length = Some(64 << 10);
    let publication = Publication { name, folder, sources, piece_length, version, extras };
    let Published { metainfo, place, verified } =
        publish(&publication, &PublishProgress::default()).unwrap();
    let hashes = metainfo.info.hashes;
    let mut add = title(hashes, Some(metainfo.info), Want::All);
    add.piece_layers.clone_from(&metainfo.piece_layers);
    add.source = true;
    let (trust, layers) = (Trust::Verified, metainfo.piece_layers);
    let options = TitleOptions { place, trust, layers, verified: Some(verified) };
    let id = engine.add(add, options).await.unwrap();
    engine.ready(id).await.unwrap();
    hashes
}

#[tokio::test]
async fn a_player_jumps_and_plays_a_film_that_its_viewer_knows_by_magnet_alone() {
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (publisher, watcher) = (engine(), engine());
    let hashes = seed(&publisher, source.path()).await;

    let mut add = title(hashes, None, Want::OnDemand);
    add.peers = vec![publisher.listen_address()];
    let place = Place::Below(target.path().to_path_buf());
    let (trust, layers) = (Trust::Verified, Vec::new());
    let options = TitleOptions { place, trust, layers, verified: None };
    let id = watcher.add(add, options).await.unwrap();
    let shelf = Shelf::new(watcher.clone());
    shelf.add(id, hashes, Vec::new());
    let reports = Arc::new(Reports::new());
    let options = Options::new(([127, 0, 0, 1], 0).into());
    let viewer = Viewer::start(options, shelf.clone(), Arc::clone(&reports)).unwrap();
    let relaying = tokio::spawn(relay(
        shelf,
        Arc::clone(&reports),
        Faces { http: Some(viewer.base()), rtsp: None },
    ));

    // Asked before anything is known: the answer waits for the metadata, then for the bytes.
    let path = format!("/stream/{}/0/demo.mp4", hashes.v1.unwrap());
    let mut index = Client::connect(viewer.address()).await;
    let tail = index.get(&path, &["Range: bytes=-5000"]).await;
    assert_eq!((tail.status, tail.body.as_slice()), (206, &FILM[FILM.len() - 5000..]));
    // A start that is abandoned, a jump to the middle, and then all of it under the other name.
    let mut first = Client::connect(viewer.address()).await;
    first.ask("GET", &path, &["Range: bytes=0-"]).await;
    first.head().await;
    assert_eq!(first.take(10_000).await, &FILM[..10_000]);
    drop(first);
    let middle = index.get(&path, &["Range: bytes=1400000-1499999"]).await;
    assert_eq!(middle.body, &FILM[1_400_000..1_500_000]);
    let other = format!("/stream/{}/0", hashes.v2.unwrap());
    let whole = index.get(&other, &[]).await;
    assert_eq!(whole.header("etag"), middle.header("etag"));
    assert!(whole.body == FILM, "the film differs");

    let list = index.get("/api/v1/titles", &[]).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["titles"][0]["name"], "demo.mp4");
    assert_eq!(list["titles"][0]["have"], FILM.len());
    assert_eq!(list["titles"][0]["statistics"]["useful"], FILM.len());
    // Its length was in no message: it is found in the film itself, told to those who listen, and given to those who ask.
    let told = async {
        loop {
            let (past, mut live) = reports.listen();
            if past.iter().any(|line| line.contains("\"title\"") && line.contains(DURATION)) {
                return;
            }
            live.recv().await.unwrap();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), told).await.unwrap();
    let list = index.get("/api/v1/titles", &[]).await;
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["titles"][0]["duration_ms"], 60_000);

    watcher.shutdown().await;
    relaying.await.unwrap();
    viewer.shutdown().await;
    publisher.shutdown().await;
}

#[tokio::test]
async fn a_check_of_what_is_here_is_seen_while_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // Long enough to be met under way, and all of it to be hashed.
    let bytes: Vec<u8> = (0..64u32 << 20).map(|at| (at >> 8) as u8 | 1).collect();
    std::fs::write(folder.path().join("film.mp4"), bytes).unwrap();
    let (name, is_folder, sources) = find_sources(&[folder.path().join("film.mp4")], None).unwrap();
    let (version, extras) = (Version::V1, TitleExtras::default());
    let publication = Publication {
        name,
        folder: is_folder,
        sources,
        piece_length: Some(64 << 10),
        version,
        extras,
    };
    let made = publish(&publication, &PublishProgress::default()).unwrap();
    let watcher = engine();
    let hashes = made.metainfo.info.hashes;
    let add = title(hashes, Some(made.metainfo.info), Want::OnDemand);
    let place = Place::Below(folder.path().to_path_buf());
    let options =
        TitleOptions { place, trust: Trust::Verified, layers: Vec::new(), verified: None };
    let id = watcher.add(add, options).await.unwrap();
    let shelf = Shelf::new(watcher.clone());
    shelf.add(id, hashes, Vec::new());
    let mut seen = Vec::new();
    loop {
        let entry = shelf.titles().await.remove(0);
        if entry.info.is_some() {
            assert_eq!(entry.check, None, "it is over");
            break;
        }
        seen.extend(entry.check);
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert!(seen.iter().all(|check| check.total == 64 << 20), "{seen:?}");
    assert!(seen.iter().any(|check| (1..check.total).contains(&check.done)), "{seen:?}");
    watcher.shutdown().await;
}
