//! What `publish` makes of files: a torrent with the time index of each film, remembered so that a second run over
//! unchanged files neither hashes them again nor gives the title another name.
//!
//! Under the state folder lies, for each set of files and options, `published/KEY.torrent` and the time indexes beside it.
//! KEY covers the files' paths, lengths and times of last change, so a changed file is a new title.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use shoal_drive::hash::sha256;
use shoal_drive::publish::{Publication, PublishProgress, Source, find_sources, publish};
use shoal_drive::resume::replace;
use shoal_drive::storage::Place;
use shoal_drive::title::Verified;
use shoal_serve::kind::is_film;
use shoal_wire::metainfo::{
    Metainfo, TimeIndexRef, TitleExtras, TitlePlan, Version, time_index_path,
};

use crate::error::Error;
use crate::film;
use crate::ladder::{Rungs, named};
use crate::link::{Target, read_torrent};

/// What the publisher chose.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    /// Name of the title.
    pub(crate) title: Option<String>,
    /// Bytes of a piece.
    pub(crate) piece_length: Option<u32>,
    /// Protocol versions.
    pub(crate) version: Version,
    /// BEP 27.
    pub(crate) private: bool,
    /// Length of a virtual time slot.
    pub(crate) slot: Option<Duration>,
    /// Trackers, each a tier.
    pub(crate) trackers: Vec<String>,
    /// Web seeds.
    pub(crate) web_seeds: Vec<String>,
    /// Smaller qualities of films, which are published beside them.
    pub(crate) ladders: Vec<Rungs>,
}

/// A title that is ready to be served.
#[derive(Debug)]
pub(crate) struct Made {
    /// The torrent.
    pub(crate) metainfo: Metainfo,
    /// Where its files lie.
    pub(crate) place: Place,
    /// What was hashed just now; `None` when an earlier run made the title.
    pub(crate) verified: Option<Verified>,
}

/// The files of a title, with the time indexes that are published beside the films.
struct Plan {
    name: String,
    folder: bool,
    sources: Vec<Source>,
    indexes: Vec<TimeIndexRef>,
}

/// Makes the title of `paths`, or finds it again. Blocks for as long as hashing takes.
pub(crate) fn make(
    paths: &[PathBuf],
    choices: &Choices,
    state: &Path,
    progress: &PublishProgress,
) -> Result<Made, Error> {
    let (name, folder, sources) = find_sources(paths, choices.title.as_deref())?;
    let (name, folder, sources) = with_rungs(name, folder, sources, &choices.ladders);
    let key = key_of(&name, folder, &sources, choices)?;
    let shelf = state.join("published");
    std::fs::create_dir_all(&shelf).map_err(|error| {
        Error::new(format!("the folder {} cannot be made: {error}", shelf.display()))
    })?;
    let torrent = shelf.join(format!("{key}.torrent"));
    let plan = with_indexes(Plan { name, folder, sources, indexes: Vec::new() }, &shelf, &key)?;
    if let Some(mut metainfo) = known(&torrent, &plan) {
        metainfo.trackers = tiers(choices);
        metainfo.web_seeds.clone_from(&choices.web_seeds);
        let place = place_of(&metainfo, &plan, choices.version)?;
        return Ok(Made { metainfo, place, verified: None });
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let made = publish(
        &Publication {
            name: plan.name,
            folder: plan.folder,
            sources: plan.sources,
            piece_length: choices.piece_length,
            version: choices.version,
            extras: TitleExtras {
                private: choices.private,
                published_unix_ms: u64::try_from(now.as_millis()).unwrap_or(0),
                slot_ms: choices
                    .slot
                    .map_or(0, |slot| u64::try_from(slot.as_millis()).unwrap_or(0)),
                time_indexes: plan.indexes,
                trackers: tiers(choices),
                web_seeds: choices.web_seeds.clone(),
                comment: None,
                created_by: Some(concat!("Shoal ", env!("CARGO_PKG_VERSION")).to_owned()),
                created_unix_s: Some(now.as_secs()),
            },
        },
        progress,
    )?;
    replace(&torrent, &made.metainfo.encode())?;
    Ok(Made { metainfo: made.metainfo, place: made.place, verified: Some(made.verified) })
}

/// Adds the smaller qualities of films. Of each film all are called alike but for their lines, the film too; a single film becomes a folder
/// of its name without the ending.
fn with_rungs(
    name: String,
    folder: bool,
    sources: Vec<Source>,
    ladders: &[Rungs],
) -> (String, bool, Vec<Source>) {
    let mut taken: BTreeSet<Vec<String>> =
        sources.iter().map(|source| source.name.clone()).collect();
    let mut all = Vec::with_capacity(sources.len());
    for mut source in sources {
        let rungs = ladders.iter().find(|rungs| rungs.source == source.file);
        let path = source.name.clone();
        let (Some(rungs), Some((last, above))) = (rungs, path.split_last()) else {
            all.push(source);
            continue;
        };
        let beside = |lines, ending| {
            let mut name = above.to_vec();
            name.push(named(last, lines, ending));
            name
        };
        if let Some(own) = rungs.lines.map(|lines| beside(lines, None))
            && taken.insert(own.clone())
        {
            source.name = own;
        }
        all.push(source);
        for (lines, file) in &rungs.made {
            let name = beside(*lines, Some("mp4"));
            // A file of that name is such a quality already.
            if taken.insert(name.clone()) {
                all.push(Source { name, file: file.clone() });
            }
        }
    }
    match !folder && all.len() > 1 {
        true => (without_ending(name), true, all),
        false => (name, folder, all),
    }
}

/// The name of a folder for the film of this name.
fn without_ending(name: String) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() && is_film(&name) && !ending.is_empty() => {
            stem.to_owned()
        }
        _ => name,
    }
}

/// The torrent of an earlier run over the same files, if it is still whole.
fn known(torrent: &Path, plan: &Plan) -> Option<Metainfo> {
    match read_torrent(torrent) {
        Ok(Target::Torrent(metainfo)) if metainfo.info.files.len() == plan.sources.len() => {
            Some(*metainfo)
        }
        _ => None,
    }
}

fn tiers(choices: &Choices) -> Vec<Vec<String>> {
    choices.trackers.iter().map(|url| vec![url.clone()]).collect()
}

/// Where the files of a known title lie, in its order.
fn place_of(metainfo: &Metainfo, plan: &Plan, version: Version) -> Result<Place, Error> {
    let mut files = Vec::with_capacity(plan.sources.len());
    for source in &plan.sources {
        let found = std::fs::metadata(&source.file).map_err(|error| {
            Error::new(format!("{} cannot be read: {error}", source.file.display()))
        })?;
        files.push((source.name.clone(), found.len()));
    }
    let piece_length = metainfo.info.layout.piece_length();
    let order = TitlePlan::new(&plan.name, plan.folder, &files, piece_length, version)
        .map_err(|error| Error::new(error.to_string()))?;
    Ok(Place::Files(
        order.files().iter().map(|file| plan.sources[file.source].file.clone()).collect(),
    ))
}

/// Adds the time index of each film whose container has one. A single film becomes a folder of its name without the
/// ending, since there are now two files.
fn with_indexes(mut plan: Plan, shelf: &Path, key: &str) -> Result<Plan, Error> {
    let films: Vec<usize> = (0..plan.sources.len())
        .filter(|&at| plan.sources[at].name.last().is_some_and(|name| is_film(name)))
        .collect();
    for at in films {
        // A film that cannot be understood is published like any file; players may know better.
        let Some(index) = film::probe(&plan.sources[at].file).ok().and_then(|found| found.index)
        else {
            continue;
        };
        let file = shelf.join(format!("{key}-{at}.index"));
        let bytes = index.encode();
        // Left alone when it is the same: its time of last change is part of what resuming trusts.
        if std::fs::read(&file).ok().as_deref() != Some(&bytes[..]) {
            replace(&file, &bytes)?;
        }
        let number = |at: usize| {
            u32::try_from(at).map_err(|_| Error::new("there are too many files for one title"))
        };
        plan.indexes.push(TimeIndexRef { film: number(at)?, index: number(plan.sources.len())? });
        plan.sources.push(Source { name: time_index_path(&plan.sources[at].name), file });
    }
    if !plan.folder && plan.sources.len() > 1 {
        plan.folder = true;
        plan.name = without_ending(plan.name);
    }
    Ok(plan)
}

/// What makes two publications the same: names, files as they look, and what goes into the info dictionary.
fn key_of(
    name: &str,
    folder: bool,
    sources: &[Source],
    choices: &Choices,
) -> Result<String, Error> {
    let Choices { piece_length, version, private, slot, .. } = choices;
    let mut text =
        format!("1\n{name:?} {folder} {piece_length:?} {version:?} {private} {slot:?}\n");
    for source in sources {
        let found = std::fs::metadata(&source.file).map_err(|error| {
            Error::new(format!("{} cannot be read: {error}", source.file.display()))
        })?;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:?} {:?} {} {}.{}",
            source.name,
            source.file,
            found.len(),
            found.mtime(),
            found.mtime_nsec()
        );
    }
    let mut key = sha256(text.as_bytes()).to_string();
    key.truncate(32);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use shoal_drive::publish::PublishProgress;
    use shoal_drive::storage::Place;

    use super::{Choices, Made, Version, make};

    const FILM: &[u8] = include_bytes!("../assets/demo.mp4");

    fn make_again(film: &Path, state: &Path, choices: &Choices) -> Made {
        make(&[film.to_path_buf()], choices, state, &PublishProgress::default()).expect("a title")
    }

    #[test]
    fn a_film_is_published_with_its_time_index_and_found_again_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let (film, state) = (folder.path().join("clock.mp4"), folder.path().join("state"));
        std::fs::write(&film, FILM).expect("written");
        let choices = Choices::default();
        let first = make_again(&film, &state, &choices);
        let info = &first.metainfo.info;
        assert!(first.verified.is_some());
        assert_eq!((info.name.as_str(), info.folder, info.files.len()), ("clock", true, 2));
        assert_eq!(info.time_indexes.len(), 1);
        let reference = info.time_indexes[0];
        assert_eq!(info.files[reference.film as usize].path, ["clock.mp4"]);
        let Place::Files(paths) = &first.place else { panic!("files where they lie") };
        let bytes = std::fs::read(&paths[reference.index as usize]).expect("the index");
        let index = shoal_wire::time_index::TimeIndex::decode(&bytes).expect("an index");
        assert_eq!(index.length, FILM.len() as u64);

        let second = make_again(&film, &state, &choices);
        assert!(second.verified.is_none(), "nothing was hashed again");
        assert_eq!(second.metainfo.info.hashes, first.metainfo.info.hashes);
        assert_eq!(second.place, first.place);
    }

    #[test]
    fn a_film_without_an_index_of_its_own_is_read_through_for_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let (film, state) = (folder.path().join("stream.ts"), folder.path().join("state"));
        let bytes = include_bytes!("../../media/testdata/stream.ts");
        std::fs::write(&film, bytes).expect("written");
        let made = make_again(&film, &state, &Choices::default());
        let Place::Files(paths) = &made.place else { panic!("files where they lie") };
        let reference = made.metainfo.info.time_indexes[0];
        let index = std::fs::read(&paths[reference.index as usize]).expect("the index");
        let index = shoal_wire::time_index::TimeIndex::decode(&index).expect("an index");
        // A key frame every two seconds, behind tables each.
        assert_eq!(index.keys.len(), 6);
        assert!(index.keys.iter().all(|key| key.offset % 188 == 0));
    }

    #[test]
    fn a_changed_file_or_option_is_another_title() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, state) = (folder.path().join("notes.txt"), folder.path().join("state"));
        std::fs::write(&file, "one").expect("written");
        let hashes = |choices: &Choices| make_again(&file, &state, choices).metainfo.info.hashes.v2;
        let first = hashes(&Choices::default());
        assert_eq!(hashes(&Choices::default()), first);
        assert_ne!(hashes(&Choices { private: true, ..Choices::default() }), first);
        assert_eq!(hashes(&Choices { version: Version::V1, ..Choices::default() }), None);
        std::fs::write(&file, "other").expect("written");
        assert_ne!(hashes(&Choices::default()), first);
    }

    #[test]
    fn trackers_of_a_known_title_can_change_without_giving_it_another_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, state) = (folder.path().join("notes.txt"), folder.path().join("state"));
        std::fs::write(&file, "one").expect("written");
        let first = make_again(&file, &state, &Choices::default());
        let trackers = vec!["udp://t.example:1".to_owned()];
        let second = make_again(&file, &state, &Choices { trackers, ..Choices::default() });
        assert_eq!(second.metainfo.info.hashes, first.metainfo.info.hashes);
        assert_eq!(second.metainfo.trackers, [["udp://t.example:1"]]);
    }
}
