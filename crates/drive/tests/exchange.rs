//! Two engines on loopback: what one publishes arrives at the other, byte for byte.

mod common;

use std::path::Path;

use common::{below, engine, film, options, published, seed, soon, title};
use shoal_drive::{Engine, EngineOptions};
use shoal_node::record::{Records, Replay};
use shoal_wire::metainfo::Version;

fn folder_with(files: &[(&str, usize)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, length) in files {
        std::fs::write(folder.path().join(name), film(*length)).expect("written");
    }
    folder
}

async fn exchange(version: Version, by_magnet: bool) {
    let files = [("film.mp4", 700_001), ("film.srt", 17), ("second.mp4", 262_144)];
    let source = folder_with(&files);
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let viewer = engine(states[1].path());
    let published = published(source.path(), version, 64 << 10);
    let meta = published.metainfo.clone();
    seed(&publisher, published).await;

    let info = (!by_magnet).then(|| meta.info.clone());
    let mut add = title(meta.info.hashes, info);
    add.peers = vec![publisher.listen_address()];
    if !by_magnet {
        add.piece_layers = meta.piece_layers;
    }
    let id = viewer.add(add, below(target.path())).await.expect("added");
    soon("the transfer", viewer.complete(id)).await.expect("complete");
    stop(&publisher).await;
    stop(&viewer).await;
    for (name, length) in files {
        let path = target.path().join("Title").join(name);
        assert!(std::fs::read(path).expect("there") == film(length), "{name} differs");
    }
}

async fn stop(engine: &Engine) {
    soon("the shutdown", engine.shutdown()).await;
}

#[tokio::test]
async fn a_v1_title_arrives_whole() {
    exchange(Version::V1, false).await;
}

#[tokio::test]
async fn a_v2_title_arrives_whole() {
    exchange(Version::V2, false).await;
}

#[tokio::test]
async fn a_hybrid_title_arrives_whole() {
    exchange(Version::Hybrid, false).await;
}

#[tokio::test]
async fn titles_known_only_by_magnet_arrive_whole() {
    exchange(Version::V1, true).await;
    exchange(Version::V2, true).await;
    exchange(Version::Hybrid, true).await;
}

/// Descriptors of this process that lead below `folder`, or are its lock.
fn open_below(folder: &Path) -> usize {
    let links = std::fs::read_dir("/proc/self/fd").expect("linux");
    links
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|path| path.starts_with(folder))
        .count()
}

#[tokio::test]
async fn a_reader_gets_film_while_it_arrives_and_shutdown_leaves_nothing_open() {
    let source = folder_with(&[("film.mp4", 3_000_000)]);
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let viewer = engine(states[1].path());
    let published = published(source.path(), Version::Hybrid, 64 << 10);
    let hashes = published.metainfo.info.hashes;
    seed(&publisher, published).await;
    let mut add = title(hashes, None);
    add.peers = vec![publisher.listen_address()];
    add.want = shoal_node::io::Want::OnDemand;
    let id = viewer.add(add, below(target.path())).await.expect("added");
    let expected = film(3_000_000);
    let open = viewer.open_reader(id, 0, 1_000_000..u64::MAX);
    let mut reader = soon("the metadata", open).await.expect("a reader");
    let mut taken = Vec::new();
    while let Some(data) = soon("the film", reader.next(100_000)).await.expect("film") {
        assert!(!data.is_empty() && data.len() <= 100_000);
        taken.extend_from_slice(&data);
    }
    assert!(taken == expected[1_000_000..], "{} bytes", taken.len());
    drop(reader);
    assert!(viewer.open_reader(id, 1, 0..1).await.is_err(), "there is no second file");
    let views = soon("the view", viewer.views()).await.expect("views");
    assert_eq!(views.len(), 1);
    assert!(views[0].counters.useful >= 2_000_000 && views[0].ready, "{views:?}");
    let address = viewer.listen_address();
    stop(&viewer).await;
    stop(&publisher).await;
    assert_eq!(open_below(target.path()) + open_below(states[1].path()), 0);
    std::net::TcpListener::bind(address).expect("the port is free again");
    assert!(viewer.views().await.is_err());
    engine(states[1].path()).abort();
}

#[tokio::test]
async fn a_recorded_run_has_the_same_effects_when_it_is_replayed() {
    let source = folder_with(&[("film.mp4", 1_500_000)]);
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let published = published(source.path(), Version::Hybrid, 64 << 10);
    let hashes = published.metainfo.info.hashes;
    seed(&publisher, published).await;
    let path = target.path().join("run.record");
    let options = EngineOptions { record: Some(path.clone()), ..options(states[1].path()) };
    let viewer = Engine::start(options).expect("an engine");
    let mut add = title(hashes, None);
    add.peers = vec![publisher.listen_address()];
    let id = viewer.add(add, below(target.path())).await.expect("added");
    soon("the transfer", viewer.complete(id)).await.expect("complete");
    stop(&viewer).await;
    stop(&publisher).await;

    let file = std::fs::read(&path).expect("a record");
    let (header, records) = Records::open(file.into()).expect("a header");
    let mut replay = Replay::new(&header).expect("our own settings");
    for record in records {
        let record = record.expect("whole");
        replay.step(record).expect("the same effects");
    }
    assert!(replay.inputs() > 100, "{} inputs", replay.inputs());
    assert_eq!(replay.checked(), replay.inputs());
}
