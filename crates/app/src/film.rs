//! Films on this disk: what they are, and which files of a title can be played.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use shoal_media::{Film, Prober};
use shoal_serve::kind::is_film;
use shoal_wire::metainfo::Info;

use crate::error::Error;

/// Reads as much of a media file as is needed to know what it is, and where its key frames lie: a container without an index of its
/// own is read through.
pub(crate) fn probe(path: &Path) -> Result<Film, Error> {
    run(path, Prober::new)
}

/// The same, and how it is taken apart.
pub(crate) fn probe_frames(path: &Path) -> Result<Film, Error> {
    run(path, Prober::of_frames)
}

fn run(path: &Path, prober: impl Fn(u64) -> Prober) -> Result<Film, Error> {
    let fault = |why: &dyn std::fmt::Display| {
        Error::new(format!("{} cannot be read as a film: {why}", path.display()))
    };
    let mut file = File::open(path).map_err(|error| fault(&error))?;
    let length = file.metadata().map_err(|error| fault(&error))?.len();
    prober(length)
        .thorough()
        .run(|range| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(range.start))?;
            // `take`: a file that shrinks meanwhile gives fewer bytes, which the prober then says.
            (&mut file).take(range.end - range.start).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        })
        .map_err(|error| fault(&error))
}

/// The file that is played unless another is asked for: the largest film, or the largest file when no name is that of a
/// film.
pub(crate) fn main_file(info: &Info) -> Option<u32> {
    let largest = |films_only: bool| {
        info.files
            .iter()
            .enumerate()
            .filter(|(_, file)| !films_only || file.path.last().is_some_and(|name| is_film(name)))
            // The first of several of one length.
            .max_by_key(|(index, file)| (file.length, std::cmp::Reverse(*index)))
            .and_then(|(index, _)| u32::try_from(index).ok())
    };
    largest(true).or_else(|| largest(false))
}
