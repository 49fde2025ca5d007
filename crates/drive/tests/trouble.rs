//! What goes wrong: kills, lost folders, changed files, full disks, peers that send nonsense.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use common::{below, engine, film, options, published, seed, soon, title};
use shoal_drive::{DriveError, Engine};
use shoal_node::io::{Command, Event};
use shoal_wire::metainfo::Version;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

const LENGTH: usize = 4_000_000;

fn source() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("film.mp4"), film(LENGTH)).expect("written");
    folder
}

fn on_disk(folder: &Path) -> std::path::PathBuf {
    folder.join("Title/film.mp4")
}

async fn received(engine: &Engine) -> u64 {
    soon("the view", engine.views()).await.expect("views")[0].counters.received
}

/// The next event for which `wanted` gives something.
async fn hear<T>(
    events: &mut broadcast::Receiver<Event>,
    wanted: impl Fn(&Event) -> Option<T>,
) -> T {
    soon("the event", async {
        loop {
            if let Some(found) = wanted(&events.recv().await.expect("running")) {
                return found;
            }
        }
    })
    .await
}

async fn killed_and_resumed(version: Version) {
    let source = source();
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let published = published(source.path(), version, 64 << 10);
    let meta = published.metainfo.clone();
    seed(&publisher, published).await;
    let add = || {
        let mut add = title(meta.info.hashes, Some(meta.info.clone()));
        add.piece_layers.clone_from(&meta.piece_layers);
        add.peers = vec![publisher.listen_address()];
        add
    };
    let mut useful = 0;
    let mut first = 0;
    // Aborted when about a quarter, then half, then three quarters are there; what was verified and stored stays.
    for quarter in 1..=3 {
        let viewer = engine(states[1].path());
        let rate = Some(3_000_000);
        viewer.command(Command::Limits { up: None, down: rate }).await.expect("running");
        viewer.add(add(), below(target.path())).await.expect("added");
        let have = soon("some film", async {
            loop {
                let view = &viewer.views().await.expect("views")[0];
                if view.have >= (LENGTH / 4 * quarter) as u64 {
                    return (view.have, view.counters.received);
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
        .await;
        if quarter == 1 {
            first = have.0;
        }
        useful += have.1;
        viewer.abort();
        soon("the end", viewer.stopped()).await;
    }
    let viewer = engine(states[1].path());
    let id = viewer.add(add(), below(target.path())).await.expect("added");
    soon("the storage", viewer.ready(id)).await.expect("ready");
    soon("the rest", viewer.complete(id)).await.expect("complete");
    let rest = received(&viewer).await;
    soon("the shutdown", viewer.shutdown()).await;
    assert!(std::fs::read(on_disk(target.path())).expect("there") == film(LENGTH));
    // What was under way at each kill may come twice: a few requests and unverified pieces, never what was stored.
    assert!(first > 0 && rest <= (LENGTH / 4) as u64 + 1, "{rest} of {LENGTH} after {useful}");

    // Everything is there: the next start asks for nothing and hashes nothing.
    let viewer = engine(states[1].path());
    let id = viewer.add(add(), below(target.path())).await.expect("added");
    soon("the storage", viewer.complete(id)).await.expect("complete");
    assert_eq!((received(&viewer).await, viewer.check_progress(id).total), (0, 0));
    soon("the shutdown", viewer.shutdown()).await;
    soon("the shutdown", publisher.shutdown()).await;
}

#[tokio::test]
async fn what_was_verified_before_a_kill_is_not_fetched_again() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        killed_and_resumed(version).await;
    }
}

#[tokio::test]
async fn a_film_changed_under_a_seed_is_not_served_any_more_and_the_user_is_told() {
    let source = source();
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let published = published(source.path(), Version::Hybrid, 64 << 10);
    let hashes = published.metainfo.info.hashes;
    seed(&publisher, published).await;
    let mut events = publisher.events();
    std::fs::write(source.path().join("film.mp4"), vec![9; LENGTH]).expect("overwritten");
    let viewer = engine(states[1].path());
    let mut add = title(hashes, None);
    add.peers = vec![publisher.listen_address()];
    viewer.add(add, below(target.path())).await.expect("added");
    let message = hear(&mut events, |event| match event {
        Event::Trouble { message, .. } => Some(message.clone()),
        _ => None,
    })
    .await;
    assert!(message.contains("film.mp4 was changed by another program"), "{message}");
    // Every piece of it is asked for and given up, without more words.
    soon("the loss of all", async {
        while publisher.views().await.expect("views")[0].have > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert_eq!(told(&mut events), BTreeMap::new());
    assert_eq!(soon("the view", viewer.views()).await.expect("views")[0].have, 0);
    soon("the shutdown", viewer.shutdown()).await;
    soon("the shutdown", publisher.shutdown()).await;
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_fails_the_title_with_a_sentence() {
    let source = source();
    let state = tempfile::tempdir().expect("a folder");
    let viewer = engine(state.path());
    let published = published(source.path(), Version::V1, 64 << 10);
    let info = published.metainfo.info;
    let add = title(info.hashes, Some(info));
    let blocked = source.path().join("film.mp4");
    let id = viewer.add(add, below(&blocked)).await.expect("added");
    let error = soon("the failure", viewer.ready(id)).await.expect_err("a file is in the way");
    assert!(error.to_string().contains("film.mp4"), "{error}");
    soon("the shutdown", viewer.shutdown()).await;
}

/// A file system of `size` for as long as this lives.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount.
    fn mount(size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let size = format!("size={size}");
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "shoal-test"]).arg(folder.path());
        mount.stderr(std::process::Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

#[tokio::test]
async fn a_full_disk_is_reported_and_what_was_stored_survives() {
    // Where nobody may mount, the sentence itself is tested beside `DriveError`.
    let Some(disk) = SmallDisk::mount("1500k") else { return };
    let source = source();
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let publisher = engine(states[0].path());
    let published = published(source.path(), Version::V1, 64 << 10);
    let meta = published.metainfo.clone();
    seed(&publisher, published).await;
    let add = || {
        let mut add = title(meta.info.hashes, Some(meta.info.clone()));
        add.peers = vec![publisher.listen_address()];
        add
    };
    let viewer = engine(states[1].path());
    let mut events = viewer.events();
    viewer.add(add(), below(disk.0.path())).await.expect("added");
    let message = hear(&mut events, |event| match event {
        Event::Trouble { message, .. } => Some(message.clone()),
        _ => None,
    })
    .await;
    assert!(message.contains("no room for"), "{message}");
    let have = soon("the view", viewer.views()).await.expect("views")[0].have;
    assert!(have > 0);
    soon("the shutdown", viewer.shutdown()).await;
    let viewer = engine(states[1].path());
    let id = viewer.add(add(), below(disk.0.path())).await.expect("added");
    soon("the storage", viewer.ready(id)).await.expect("ready");
    let found = soon("the view", viewer.views()).await.expect("views")[0].have;
    assert!(found >= have, "{found} < {have}");
    soon("the shutdown", viewer.shutdown()).await;
    soon("the shutdown", publisher.shutdown()).await;
}

/// How often each sentence was told until now.
fn told(events: &mut broadcast::Receiver<Event>) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    while let Ok(event) = events.try_recv() {
        if let Event::Trouble { message, .. } = event {
            *told.entry(message).or_default() += 1;
        }
    }
    told
}

#[tokio::test]
async fn a_disk_that_refuses_writes_is_complained_about_once_per_sentence() {
    let Some(disk) = SmallDisk::mount("700k") else { return };
    let source = tempfile::tempdir().expect("a folder");
    for name in ["a.mp4", "b.mp4", "c.mp4"] {
        std::fs::write(source.path().join(name), film(LENGTH / 4)).expect("written");
    }
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let publisher = engine(states[0].path());
    let published = published(source.path(), Version::V1, 16 << 10);
    let meta = published.metainfo.clone();
    seed(&publisher, published).await;
    let mut add = title(meta.info.hashes, Some(meta.info.clone()));
    add.peers = vec![publisher.listen_address()];
    let viewer = engine(states[1].path());
    let mut events = viewer.events();
    viewer.add(add, below(disk.0.path())).await.expect("added");
    // Until all that can be fetched was: nothing more comes while the disk is full.
    soon("the end of room", async {
        let mut before = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = received(&viewer).await;
            if now > 0 && now == before {
                return;
            }
            before = now;
        }
    })
    .await;
    let told = told(&mut events);
    assert!(!told.is_empty() && told.values().all(|count| *count == 1), "{told:?}");
    soon("the shutdown", viewer.shutdown()).await;
    soon("the shutdown", publisher.shutdown()).await;
}

#[tokio::test]
async fn a_port_and_a_state_folder_in_use_are_named() {
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let first = engine(states[0].path());
    let error = Engine::start(options(states[0].path())).expect_err("locked");
    assert!(matches!(error, DriveError::StateInUse { pid: Some(_), .. }), "{error}");
    let mut taken = options(states[1].path());
    taken.listen = first.listen_address();
    let error = Engine::start(taken).expect_err("taken").to_string();
    assert!(error.contains("taken by another program"), "{error}");
    soon("the shutdown", first.shutdown()).await;
    let again = engine(states[0].path());
    again.abort();
    soon("the end", again.stopped()).await;
}

/// A name that is no address and leads to this machine, where it has one.
fn own_name() -> Option<String> {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    ["localhost.", "ip6-localhost", own.trim()].map(str::to_owned).into_iter().find(|name| {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), 9));
        found.is_ok_and(|mut found| found.any(|a| a.ip() == std::net::Ipv4Addr::LOCALHOST))
    })
}

#[tokio::test]
async fn a_name_leads_into_the_local_network_only_when_the_user_named_that_tracker() {
    let Some(name) = own_name() else { return };
    let source = source();
    let state = tempfile::tempdir().expect("a folder");
    let bind = || async { TcpListener::bind("127.0.0.1:0").await.expect("a port") };
    let (named, foreign) = (bind().await, bind().await);
    let url = |listener: &TcpListener| {
        let port = listener.local_addr().expect("bound").port();
        format!("http://{name}:{port}/announce")
    };
    let mut options = options(state.path());
    options.trusted_trackers = vec![url(&named)];
    let viewer = Engine::start(options).expect("an engine");
    let info = published(source.path(), Version::V1, 64 << 10).metainfo.info;
    let mut add = title(info.hashes, Some(info));
    let udp = format!("udp://{name}:9");
    add.trackers = vec![vec![url(&named)], vec![url(&foreign)], vec![udp.clone()]];
    let target = tempfile::tempdir().expect("a folder");
    viewer.add(add, below(target.path())).await.expect("added");
    let (_asked, _) = soon("the announce", named.accept()).await.expect("a connection");
    // Those that only the torrent names are not asked, and it is said why.
    let trouble = |of: String| {
        let viewer = viewer.clone();
        async move {
            loop {
                let views = viewer.views().await.expect("views");
                let tracker = views[0].trackers.iter().find(|tracker| tracker.url == of);
                match tracker.map(|tracker| tracker.trouble.clone()) {
                    Some(trouble) if !trouble.is_empty() => return trouble,
                    _ => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
    };
    for of in [url(&foreign), udp] {
        let trouble = soon(&of, trouble(of.clone())).await;
        assert!(trouble.contains("strangers"), "{of}: {trouble}");
    }
    let early = tokio::time::timeout(Duration::ZERO, foreign.accept()).await;
    assert!(early.is_err(), "a tracker of the torrent was asked");
    viewer.abort();
    soon("the end", viewer.stopped()).await;
}

/// Bytes of a handshake for `hash`.
fn handshake(hash: [u8; 20]) -> Vec<u8> {
    let mut out = vec![19];
    out.extend(b"BitTorrent protocol");
    out.extend([0; 8]);
    out.extend(hash);
    out.extend(b"-XX0001-abcdefghijkl");
    out
}

#[tokio::test]
async fn nonsense_closes_its_own_link_and_no_other() {
    let source = source();
    let states = [tempfile::tempdir().expect("a"), tempfile::tempdir().expect("b")];
    let target = tempfile::tempdir().expect("a folder");
    let publisher = engine(states[0].path());
    let published = published(source.path(), Version::V1, 64 << 10);
    let hashes = published.metainfo.info.hashes;
    seed(&publisher, published).await;
    let hash = hashes.v1.expect("a v1 title").0;
    let nonsense: [(&str, Vec<u8>); 5] = [
        ("a greeting that is none", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a length of four gigabytes", [&handshake(hash)[..], &[0xff; 8]].concat()),
        ("a piece of a megabyte", [&handshake(hash)[..], &[0, 0x10, 0, 9, 7]].concat()),
        ("a bitfield of the wrong size", [&handshake(hash)[..], &[0, 0, 0, 2, 5, 0xff]].concat()),
        (
            "a choke with a tail",
            [&handshake(hash)[..], &[0, 0, 0, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8]].concat(),
        ),
    ];
    for (what, bytes) in nonsense {
        let mut stream = TcpStream::connect(publisher.listen_address()).await.expect("accepted");
        // The other side may close while we still write.
        let _ = stream.write_all(&bytes).await;
        let mut answer = Vec::new();
        // Closed in order or reset: what counts is that it ends.
        let _ = soon(what, stream.read_to_end(&mut answer)).await;
    }
    let viewer = engine(states[1].path());
    let mut add = title(hashes, None);
    add.peers = vec![publisher.listen_address()];
    let id = viewer.add(add, below(target.path())).await.expect("added");
    soon("the transfer", viewer.complete(id)).await.expect("an honest peer is served");
    soon("the shutdown", viewer.shutdown()).await;
    soon("the shutdown", publisher.shutdown()).await;
}
