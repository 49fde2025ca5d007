//! `shoal seed`: serve titles whose files are already here.

use std::path::Path;

use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::Want;

use crate::cli::Seed;
use crate::error::Error;
use crate::fates::Fates;
use crate::link::{self, Target};
use crate::peer::title_of;

/// Runs the command.
pub(crate) async fn run(arguments: Seed) -> Result<(), Error> {
    let common = arguments.common.clone().with_file()?;
    let mut torrents = Vec::new();
    for text in &arguments.torrents {
        match link::open(link::parse(text)?).await? {
            torrent @ Target::Torrent(_) => torrents.push((text, torrent)),
            Target::Magnet(_) => {
                return Err(Error::Usage(format!(
                    "{text} is no torrent file; seeding needs one, `shoal get` fetches a title by its link"
                )));
            }
        }
    }
    if !arguments.data.is_dir() {
        return Err(Error::new(format!(
            "there is no folder {}; name the one where the files are with --data",
            arguments.data.display()
        )));
    }
    super::with_peer(&common, false, async |peer, _| {
        let fates = Fates::of(&peer.engine);
        let mut titles = Vec::new();
        for (text, torrent) in torrents {
            // Only what is here is served: nothing is fetched unless a player asks for it.
            let title = title_of(torrent, Want::OnDemand, &common).await?;
            let trust = if arguments.skip_check { Trust::Sizes } else { Trust::Verified };
            let options = TitleOptions {
                place: Place::Below(arguments.data.clone()),
                trust,
                layers: Vec::new(),
                verified: None,
            };
            titles.push((text, peer.add(title, options).await?));
        }
        for (text, title) in &titles {
            peer.engine.ready(*title).await?;
            let views = peer.engine.views().await?;
            if views.iter().any(|view| view.title == *title && view.have == 0) {
                return Err(nothing_here(text, &arguments.data));
            }
        }
        let titles: Vec<_> = titles.into_iter().map(|(_, title)| title).collect();
        super::serve_on(fates, &titles, arguments.seed_time).await
    })
    .await
}

fn nothing_here(torrent: &str, data: &Path) -> Error {
    Error::new(format!(
        "nothing of {torrent} is in {}; name the folder where its files are with --data, or fetch it with `shoal get`",
        data.display()
    ))
}
