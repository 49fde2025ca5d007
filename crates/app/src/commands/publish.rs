//! `shoal publish`: make a title of files, print its link, serve it until stopped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use shoal_drive::pool::TitleOptions;
use shoal_drive::publish::PublishProgress;
use shoal_drive::resume::replace;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::{AddTitle, Want};
use shoal_serve::reports::Report;
use shoal_wire::magnet::Magnet;
use shoal_wire::metainfo::Metainfo;
use shoal_wire::time_index::TimeIndex;

use crate::cli::Publish;
use crate::console::Console;
use crate::error::Error;
use crate::link::Target;
use crate::peer::{Peer, title_of};
use crate::publication::{Choices, Made, make};
use crate::settings::Common;
use crate::units::Bytes;

/// How often the progress of hashing is shown.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the command.
pub(crate) async fn run(arguments: Publish) -> Result<(), Error> {
    let common = arguments.common.clone().with_file()?;
    let piece_length = match arguments.piece_size {
        Some(Bytes(bytes)) => Some(piece_length(bytes)?),
        None => None,
    };
    let choices = Choices {
        title: arguments.title.clone(),
        piece_length,
        version: arguments.format.into(),
        private: arguments.private,
        trackers: common.tracker.clone(),
        web_seeds: arguments.webseed.clone(),
    };
    super::with_peer(&common, true, async |peer, console| {
        let made = hash(&arguments.paths, &choices, common.state_dir()?, console).await?;
        if let Some(path) = &arguments.torrent {
            replace(path, &made.metainfo.encode())?;
        }
        let report = published(&made.metainfo, peer, arguments.torrent.as_ref());
        serve(peer, made, &common).await?;
        peer.reports.tell(None, &report);
        super::wait(arguments.seed_time).await;
        Ok(())
    })
    .await
}

fn piece_length(bytes: u64) -> Result<u32, Error> {
    match u32::try_from(bytes) {
        Ok(length) if length.is_power_of_two() && (16 << 10..=64 << 20).contains(&length) => {
            Ok(length)
        }
        _ => Err(Error::Usage(format!(
            "--piece-size {bytes} cannot be; give a power of two from 16KiB to 64MiB"
        ))),
    }
}

/// Hashes off the runtime's threads, shows how far it is, and stops when it is not wanted any more.
pub(crate) async fn hash(
    paths: &[PathBuf],
    choices: &Choices,
    state: PathBuf,
    console: &Console,
) -> Result<Made, Error> {
    /// Sets the flag when whoever waits goes away.
    struct Cancel(Arc<PublishProgress>);
    impl Drop for Cancel {
        fn drop(&mut self) {
            self.0.cancelled.store(true, Ordering::Relaxed);
        }
    }
    let progress = Cancel(Arc::default());
    let (paths, choices, shared) = (paths.to_vec(), choices.clone(), Arc::clone(&progress.0));
    let mut work = tokio::task::spawn_blocking(move || make(&paths, &choices, &state, &shared));
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            made = &mut work => {
                return made.unwrap_or_else(|_| Err(Error::new("hashing ended early; see what was said before")));
            }
            _ = tick.tick() => {
                let total = progress.0.total.load(Ordering::Relaxed);
                let done = progress.0.done.load(Ordering::Relaxed);
                if let Some(percent) = done.saturating_mul(100).checked_div(total) {
                    let line = format!("hashing   {percent} % of {}", Bytes(total));
                    console.lock().progress(&line, Instant::now());
                }
            }
        }
    }
}

/// Offers a title that was just made, as its source.
pub(crate) async fn serve(
    peer: &Peer,
    made: Made,
    common: &Common,
) -> Result<Arc<shoal_wire::metainfo::Info>, Error> {
    let time_indexes = indexes(&made);
    let title = title_of(Target::Torrent(Box::new(made.metainfo)), Want::All, common).await?;
    let title = AddTitle { source: true, time_indexes, ..title };
    let options = TitleOptions {
        place: made.place,
        trust: Trust::Verified,
        layers: Vec::new(),
        verified: made.verified,
    };
    let id = peer.add(title, options).await?;
    Ok(peer.engine.ready(id).await?)
}

/// The time indexes that are published with the title.
fn indexes(made: &Made) -> Vec<(u32, Arc<TimeIndex>)> {
    let Place::Files(paths) = &made.place else { return Vec::new() };
    let read = |index: u32| {
        let path = paths.get(usize::try_from(index).ok()?)?;
        TimeIndex::decode(&std::fs::read(path).ok()?).ok()
    };
    made.metainfo
        .info
        .time_indexes
        .iter()
        .filter_map(|reference| Some((reference.film, Arc::new(read(reference.index)?))))
        .collect()
}

/// The magnet link of a title that `listen` serves.
pub(crate) fn magnet(metainfo: &Metainfo, listen: SocketAddr) -> Magnet {
    Magnet {
        hashes: metainfo.info.hashes,
        name: Some(metainfo.info.name.clone()),
        trackers: metainfo.trackers.iter().flatten().cloned().collect(),
        web_seeds: metainfo.web_seeds.clone(),
        peers: vec![reachable(listen)],
        ..Magnet::default()
    }
}

fn published(metainfo: &Metainfo, peer: &Peer, torrent: Option<&PathBuf>) -> Report {
    let info = &metainfo.info;
    Report::Published {
        link: magnet(metainfo, peer.engine.listen_address()).to_string(),
        torrent: torrent.map(|path| path.display().to_string()),
        infohash_v1: info.hashes.v1.map(|hash| hash.to_string()),
        infohash_v2: info.hashes.v2.map(|hash| hash.to_string()),
        length: info.length(),
        piece_length: u64::from(info.layout.piece_length()),
    }
}

/// An address under which others may reach what listens at `listen`: when that is every address, the one from which this
/// machine would speak to the world, else loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if !listen.ip().is_unspecified() {
        return listen;
    }
    // A connected UDP socket sends nothing; it only asks the routing table. The address is of RFC 5737, for documents.
    let speak = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        socket.local_addr()
    };
    let ip = speak().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip());
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::{piece_length, reachable};

    #[test]
    fn piece_lengths_are_powers_of_two_within_bounds() {
        assert_eq!(piece_length(1 << 20).ok(), Some(1 << 20));
        for bytes in [0, 1 << 13, 300_000, 1 << 27, u64::MAX] {
            assert!(piece_length(bytes).is_err(), "{bytes}");
        }
    }

    #[test]
    fn a_link_names_an_address_that_can_be_dialed() {
        let fixed = "127.0.0.1:7".parse().expect("an address");
        assert_eq!(reachable(fixed), fixed);
        let any = reachable("0.0.0.0:9".parse().expect("an address"));
        assert!(!any.ip().is_unspecified() && any.port() == 9);
    }
}
