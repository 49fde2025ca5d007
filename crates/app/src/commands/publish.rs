//! `shoal publish`: make a title of files, print its link, serve it until stopped.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;

use shoal_drive::pool::TitleOptions;
use shoal_drive::resume::replace_shared;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::{AddTitle, Want};
use shoal_node::link::TitleId;
use shoal_serve::reports::Report;
use shoal_wire::magnet::Magnet;
use shoal_wire::metainfo::{Info, Metainfo};
use shoal_wire::time_index::TimeIndex;

use crate::cli::Publish;
use crate::error::Error;
use crate::fates::Fates;
use crate::hashing::Hashing;
use crate::ladder;
use crate::link::Target;
use crate::peer::{Peer, title_of};
use crate::publication::{Choices, Made};
use crate::settings::Common;
use crate::units::Bytes;

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
        slot: arguments.slot,
        trackers: common.tracker.clone(),
        web_seeds: arguments.webseed.clone(),
        ladders: Vec::new(),
    };
    super::with_peer(&common, true, async |peer, console| {
        let (state, mut choices) = (common.state_dir()?, choices);
        if let Some(heights) = &arguments.ladder {
            let told = (&*peer.reports, console);
            choices.ladders = ladder::make(&arguments.paths, heights, &state, told).await?;
        }
        let mut hashing = Hashing::start(arguments.paths, choices, state);
        let made = hashing.made(console).await?;
        if let Some(path) = &arguments.torrent {
            replace_shared(path, &made.metainfo.encode())?;
        }
        let listen = peer.engine.listen_address();
        let report = published(&made.metainfo, listen, arguments.torrent.as_deref());
        let fates = Fates::of(&peer.engine);
        let (title, _) = serve(peer, made, &common).await?;
        peer.reports.tell(None, &report);
        super::serve_on(fates, &[title], arguments.seed_time).await
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

/// Offers a title that was just made, as its source. Nothing is fetched for it: a file that changed meanwhile is another
/// film, and must not be written to.
pub(crate) async fn serve(
    peer: &Peer,
    made: Made,
    common: &Common,
) -> Result<(TitleId, Arc<Info>), Error> {
    let time_indexes = indexes(&made);
    let title = title_of(Target::Torrent(Box::new(made.metainfo)), Want::OnDemand, common).await?;
    let title = AddTitle { source: true, time_indexes, ..title };
    let options = TitleOptions {
        place: made.place,
        trust: Trust::Verified,
        layers: Vec::new(),
        verified: made.verified,
    };
    let id = peer.add(title, options).await?;
    Ok((id, peer.engine.ready(id).await?))
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

/// What is told of a title that `listen` serves, and that was written to the file `torrent`.
pub(crate) fn published(metainfo: &Metainfo, listen: SocketAddr, torrent: Option<&Path>) -> Report {
    let info = &metainfo.info;
    Report::Published {
        link: magnet(metainfo, listen).to_string(),
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
