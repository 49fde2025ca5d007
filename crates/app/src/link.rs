//! From a LINK to what it leads to: a magnet link is taken as it is, a torrent file is read or fetched.

use std::path::Path;

use bytes::Bytes;
use shoal_wire::magnet::{Link, Magnet};
use shoal_wire::metainfo::Metainfo;

use crate::error::Error;

/// Torrent files longer than this are refused, bytes: ten million pieces fit.
const TORRENT_BYTES_MAX: u64 = 256 << 20;

/// What a LINK led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Only the name of a title; the rest comes from peers.
    Magnet(Box<Magnet>),
    /// All of it.
    Torrent(Box<Metainfo>),
}

/// Tells the forms apart. Whether a file exists is not looked at.
pub(crate) fn parse(text: &str) -> Result<Link, Error> {
    if text.trim().is_empty() {
        return Err(Error::Usage(
            "the link is empty; see shoal --help for what a link is".to_owned(),
        ));
    }
    Link::parse(text).map_err(|error| Error::new(format!("this link cannot be used: {error}")))
}

/// Reads or fetches what a link names.
pub(crate) async fn open(link: Link) -> Result<Target, Error> {
    match link {
        Link::Magnet(magnet) => Ok(Target::Magnet(Box::new(magnet))),
        Link::File(path) => read_torrent(Path::new(&path)),
        Link::Url(url) => {
            let body = shoal_drive::fetch::fetch_torrent(&url).await?;
            torrent(&body, &url)
        }
    }
}

/// Reads a torrent file from the disk.
pub(crate) fn read_torrent(path: &Path) -> Result<Target, Error> {
    let shown = path.display();
    let fault = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(format!(
            "there is no file {shown}; a link is a magnet link, a .torrent file or its address, or an info-hash of 40 or 64 digits"
        )),
        _ => Error::new(format!("{shown} cannot be read: {error}")),
    };
    let length = std::fs::metadata(path).map_err(fault)?.len();
    if length > TORRENT_BYTES_MAX {
        return Err(Error::new(format!("{shown} is too long for a torrent file")));
    }
    let bytes = std::fs::read(path).map_err(fault)?;
    torrent(&bytes.into(), &shown.to_string())
}

fn torrent(bytes: &Bytes, from: &str) -> Result<Target, Error> {
    Metainfo::parse(bytes)
        .map(|metainfo| Target::Torrent(Box::new(metainfo)))
        .map_err(|error| Error::new(format!("{from} is no torrent file that can be used: {error}")))
}
