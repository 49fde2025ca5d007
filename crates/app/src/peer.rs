//! One running peer: an engine, its titles, and its faces for people and programs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use shoal_drive::pool::TitleOptions;
use shoal_drive::{CacheOptions, Engine, EngineOptions};
use shoal_node::io::{AddTitle, Command, Want};
use shoal_node::link::TitleId;
use shoal_serve::library::Library;
use shoal_serve::reports::{Faces, FileReport, Report, Reports, file_report, relay};
use shoal_serve::shelf::Shelf;
use shoal_serve::viewer::{Options, Viewer};
use shoal_wire::metainfo::Info;
use tokio::task::JoinHandle;

use crate::error::Error;
use crate::link::Target;
use crate::settings::{CacheSize, Common};

/// Least memory for film bytes that are not verified and written yet: a few pieces of ordinary size.
const CACHE_MIN: u64 = 4 << 20;

/// A running peer. End it with [`Peer::stop`].
#[derive(Debug)]
pub(crate) struct Peer {
    /// The node.
    pub(crate) engine: Engine,
    /// What it tells programs.
    pub(crate) reports: Arc<Reports>,
    shelf: Arc<Shelf>,
    viewer: Option<Viewer>,
    relay: JoinHandle<()>,
}

/// How a peer is set up, from what the user said.
pub(crate) fn engine_options(common: &Common) -> Result<EngineOptions, Error> {
    let mut options = EngineOptions {
        listen: common.listen_addr(),
        state: Some(common.state_dir()?),
        record: common.record.clone(),
        // A tracker that the user named may be in the user's own network; one of a torrent or a magnet may not.
        trusted_trackers: common.tracker.clone(),
        ..EngineOptions::default()
    };
    options.cache = cache_options(common)?;
    options.config.discover.local = common.no_lsd != Some(true);
    options.config.discover.exchange = common.no_pex != Some(true);
    if let Some(cache) = common.cache {
        if cache.0 < CACHE_MIN {
            return Err(Error::Usage("--cache is too small; give at least 4MiB".to_owned()));
        }
        options.config.swarm.memory_max = usize::try_from(cache.0).unwrap_or(usize::MAX);
    }
    Ok(options)
}

/// The cache of films that are watched, unless the user wants no limit.
fn cache_options(common: &Common) -> Result<Option<CacheOptions>, Error> {
    let folder = films_folder(common)?;
    let quota = match common.cache_size {
        Some(CacheSize(None)) => return Ok(None),
        Some(CacheSize(Some(quota))) => quota,
        None => shoal_drive::default_quota(&folder),
    };
    Ok(Some(CacheOptions { folder, quota }))
}

impl Peer {
    /// Starts a peer as the user wants it, with an address for players if any.
    pub(crate) async fn of(common: &Common, http: bool) -> Result<Self, Error> {
        let (http, rtsp) = (common.http_addr(http), common.rtsp_addr(http));
        let peer = Self::start(engine_options(common)?, http, rtsp)?;
        let rate = |limit: Option<crate::units::Bytes>| limit.map(|bytes| bytes.0.max(1));
        peer.limit(rate(common.up_limit), rate(common.down_limit)).await?;
        Ok(peer)
    }

    /// Starts a peer; to be called inside a runtime. `rtsp` is of use only beside `http`.
    pub(crate) fn start(
        options: EngineOptions,
        http: Option<SocketAddr>,
        rtsp: Option<SocketAddr>,
    ) -> Result<Self, Error> {
        let engine = Engine::start(options)?;
        let reports = Arc::new(Reports::new());
        let shelf = Shelf::new(engine.clone());
        let library: Arc<dyn Library> = Arc::clone(&shelf) as Arc<dyn Library>;
        let mut viewer = match http {
            Some(address) => Some(
                Viewer::start(Options::new(address), Arc::clone(&library), Arc::clone(&reports))
                    .map_err(|error| face_trouble(address, "--http", &error))?,
            ),
            None => None,
        };
        if let (Some(viewer), Some(address)) = (&mut viewer, rtsp) {
            viewer.serve_rtsp(address).map_err(|error| face_trouble(address, "--rtsp", &error))?;
        }
        let faces = Faces {
            http: viewer.as_ref().map(Viewer::base),
            rtsp: viewer.as_ref().and_then(Viewer::rtsp_base),
        };
        let (http, rtsp) = (faces.http.clone(), faces.rtsp.clone());
        let peer = Some(engine.listen_address());
        reports.tell(None, &Report::Listening { peer, http, rtsp });
        let relay = tokio::spawn(relay(library, Arc::clone(&reports), faces));
        Ok(Self { engine, reports, shelf, viewer, relay })
    }

    /// Limits on film bytes, bytes/s.
    pub(crate) async fn limit(&self, up: Option<u64>, down: Option<u64>) -> Result<(), Error> {
        if up.is_some() || down.is_some() {
            self.engine.command(Command::Limits { up, down }).await?;
        }
        Ok(())
    }

    /// Takes part in a title.
    pub(crate) async fn add(
        &self,
        title: AddTitle,
        options: TitleOptions,
    ) -> Result<TitleId, Error> {
        let durations_ms: Vec<(u32, u64)> =
            title.time_indexes.iter().map(|(film, index)| (*film, index.duration_ms)).collect();
        let hashes = title.hashes;
        let id = self.engine.add(title, options).await?;
        self.shelf.add(id, hashes, durations_ms);
        Ok(id)
    }

    /// Addresses of a file for players; `None` when the title has no such file.
    pub(crate) fn addresses(&self, info: &Info, file: u32) -> Option<FileReport> {
        let hash = match (info.hashes.v1, info.hashes.v2) {
            (None, Some(v2)) => v2.to_string(),
            _ => info.hashes.primary()?.to_string(),
        };
        let entry = info.files.get(usize::try_from(file).ok()?)?;
        let faces = Faces {
            http: self.viewer.as_ref().map(Viewer::base),
            rtsp: self.viewer.as_ref().and_then(Viewer::rtsp_base),
        };
        Some(file_report(&hash, file, entry, &faces))
    }

    /// Gets ready for a player of a file: see [`Viewer::expect`]. `None` when there is no face for players.
    pub(crate) fn expect(
        &self,
        title: TitleId,
        info: &Info,
        file: u32,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        let length = info.files.get(file as usize).map_or(0, |entry| entry.length);
        self.viewer.as_ref().map(|viewer| viewer.expect(title, file, length))
    }

    /// The player that was started is gone.
    pub(crate) fn player_left(&self) {
        if let Some(viewer) = &self.viewer {
            viewer.player_left();
        }
    }

    /// Address of a file for players; `None` when there is no such face.
    pub(crate) fn url(&self, info: &Info, file: u32) -> Option<String> {
        self.addresses(info, file)?.url
    }

    /// Address of the page.
    pub(crate) fn page(&self) -> Option<String> {
        self.viewer.as_ref().map(Viewer::base)
    }

    /// Leaves everything in good order, and reports what was done. `None` when the engine was gone already.
    pub(crate) async fn stop(self) {
        let counters: Vec<_> = match self.engine.views().await {
            Ok(views) => views.into_iter().map(|view| view.counters).collect(),
            Err(_) => Vec::new(),
        };
        if let Some(viewer) = self.viewer {
            viewer.shutdown().await;
        }
        self.engine.shutdown().await;
        // It ends with the engine; a panic in it was reported where it happened.
        let _ = self.relay.await;
        self.reports.tell(None, &self.reports.summary(&counters));
    }
}

/// Why players cannot be served at `address`, which `flag` gave.
fn face_trouble(address: SocketAddr, flag: &str, error: &std::io::Error) -> Error {
    Error::new(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{address} is taken by another program; choose another address with {flag}, or port 0 for any"
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("{address} is not an address of this machine; choose another with {flag}")
        }
        _ => format!(
            "players cannot be served at {address}: {error}; choose another address with {flag}"
        ),
    })
}

/// A title to add, from what a link led to and what the user said besides.
pub(crate) async fn title_of(
    target: Target,
    want: Want,
    common: &Common,
) -> Result<AddTitle, Error> {
    // Its number is chosen by the engine.
    let mut title =
        AddTitle { want, ..AddTitle::new(TitleId(0), shoal_wire::InfoHashes::default()) };
    let mut names: Vec<String> = Vec::new();
    match target {
        Target::Magnet(magnet) => {
            title.hashes = magnet.hashes;
            title.trackers = magnet.trackers.into_iter().map(|url| vec![url]).collect();
            title.peers = magnet.peers;
            names.extend(magnet.peer_names.iter().map(|(host, port)| format!("{host}:{port}")));
        }
        Target::Torrent(metainfo) => {
            title.hashes = metainfo.info.hashes;
            title.trackers = metainfo.trackers;
            title.piece_layers = metainfo.piece_layers;
            title.info = Some(Arc::new(metainfo.info));
        }
    }
    for url in &common.tracker {
        if !title.trackers.iter().flatten().any(|known| known == url) {
            title.trackers.push(vec![url.clone()]);
        }
    }
    for name in names {
        // A name in a link that leads nowhere is no reason to give up: there are other ways to find peers.
        title.peers.extend(resolve(&name).await.unwrap_or_default());
    }
    for name in &common.peer {
        title.peers.extend(resolve(name).await?);
    }
    Ok(title)
}

/// Addresses of HOST:PORT.
async fn resolve(peer: &str) -> Result<Vec<SocketAddr>, Error> {
    let found = tokio::net::lookup_host(peer).await.map_err(|error| {
        Error::new(format!("the peer {peer} cannot be found ({error}); write HOST:PORT"))
    })?;
    Ok(found.collect())
}

/// Folder of a title below the state folder, for what is watched without a folder of its own.
pub(crate) fn shelf_folder(common: &Common, title: &AddTitle) -> Result<PathBuf, Error> {
    let name = title.hashes.primary().ok_or_else(|| Error::new("the link names no title"))?;
    Ok(films_folder(common)?.join(name.to_string()))
}

/// Folder of those folders.
fn films_folder(common: &Common) -> Result<PathBuf, Error> {
    Ok(common.state_dir()?.join("films"))
}
