//! `shoal watch`: serve a title to players while it arrives.

use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::Want;
use shoal_wire::metainfo::Info;

use crate::cli::Watch;
use crate::error::Error;
use crate::film;
use crate::link::{self, Target};
use crate::peer::{shelf_folder, title_of};
use crate::player::Player;

/// Runs the command.
pub(crate) async fn run(arguments: Watch) -> Result<(), Error> {
    let common = arguments.common.clone().with_file()?;
    if common.http_addr(true).is_none() {
        return Err(Error::Usage(
            "watching needs --http; leave it out for any free port".to_owned(),
        ));
    }
    let target = link::open(link::parse(&arguments.link)?).await?;
    let selected = match &target {
        Target::Magnet(magnet) => magnet.select.first().map(|range| range.0),
        Target::Torrent(_) => None,
    };
    super::with_peer(&common, true, async |peer, console| {
        let title = title_of(target, Want::Play, &common).await?;
        let folder = match &arguments.output {
            Some(folder) => folder.clone(),
            None => shelf_folder(&common, &title)?,
        };
        let options = TitleOptions {
            place: Place::Below(folder),
            trust: Trust::Verified,
            layers: Vec::new(),
            verified: None,
        };
        let title = peer.add(title, options).await?;
        let info = peer.engine.ready(title).await?;
        let file = choose(&info, arguments.file.or(selected))?;
        if let Some(command) = &arguments.player {
            // There is a face for players: it was asked for above.
            let url = peer.url(&info, file).unwrap_or_default();
            console.lock().detail(&format!("starting {command} with {url}"));
            Player::start(command, &url)?.closed().await;
            if arguments.stay.is_none() {
                return Ok(());
            }
        } else if info.files.len() > 1 {
            let url = peer.url(&info, file).unwrap_or_default();
            console.lock().say(&format!("film      {url}"));
        }
        peer.engine.complete(title).await?;
        super::wait(arguments.stay).await;
        Ok(())
    })
    .await
}

/// The file to play: the one asked for, else the largest film.
fn choose(info: &Info, asked: Option<u32>) -> Result<u32, Error> {
    match asked {
        Some(file) if usize::try_from(file).is_ok_and(|file| file < info.files.len()) => Ok(file),
        Some(file) => Err(Error::new(format!(
            "{} has no file {file}; `shoal inspect` lists those it has, the first is 0",
            info.name
        ))),
        None => {
            film::main_file(info).ok_or_else(|| Error::new(format!("{} has no files", info.name)))
        }
    }
}
