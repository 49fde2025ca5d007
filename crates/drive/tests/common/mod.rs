//! What the tests of the driver share: films, publications, engines on loopback.
#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use shoal_drive::publish::{Publication, PublishProgress, Published, find_sources, publish};
use shoal_drive::{Engine, EngineOptions, Place, TitleOptions, Trust};
use shoal_node::config::Config;
use shoal_node::io::AddTitle;
use shoal_node::link::TitleId;
use shoal_wire::InfoHashes;
use shoal_wire::metainfo::{Info, TitleExtras, Version};

/// Nothing on loopback takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that differ from each other and from zero.
pub(crate) fn film(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8 | 1).collect()
}

/// Ends a test that would wait for ever.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} takes too long"))
}

pub(crate) fn options(state: &Path) -> EngineOptions {
    let mut config = Config::default();
    config.discover.local = false;
    EngineOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        config,
        state: Some(state.to_path_buf()),
        ..EngineOptions::default()
    }
}

pub(crate) fn engine(state: &Path) -> Engine {
    Engine::start(options(state)).expect("an engine")
}

/// Publishes all files in `folder` as a title called `Title`.
pub(crate) fn published(folder: &Path, version: Version, piece_length: u32) -> Published {
    let (name, folder, sources) =
        find_sources(&[folder.to_path_buf()], Some("Title")).expect("files");
    let extras = TitleExtras::default();
    let piece_length = Some(piece_length);
    let publication = Publication { name, folder, sources, piece_length, version, extras };
    publish(&publication, &PublishProgress::default()).expect("published")
}

pub(crate) fn title(hashes: InfoHashes, info: Option<Info>) -> AddTitle {
    AddTitle { info: info.map(Arc::new), ..AddTitle::new(TitleId(0), hashes) }
}

pub(crate) fn below(folder: &Path) -> TitleOptions {
    TitleOptions {
        place: Place::Below(folder.to_path_buf()),
        trust: Trust::Verified,
        layers: Vec::new(),
        verified: None,
    }
}

/// Adds what was just published.
pub(crate) async fn seed(engine: &Engine, published: Published) -> TitleId {
    let Published { metainfo, place, verified } = published;
    let mut add = title(metainfo.info.hashes, Some(metainfo.info));
    add.piece_layers.clone_from(&metainfo.piece_layers);
    add.source = true;
    let options = TitleOptions {
        place,
        trust: Trust::Verified,
        layers: metainfo.piece_layers,
        verified: Some(verified),
    };
    let id = engine.add(add, options).await.expect("added");
    soon("the seed", engine.ready(id)).await.expect("ready");
    id
}
