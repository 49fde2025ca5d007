//! `shoal get`: fetch a title whole, verify it, perhaps give something back, exit.

use std::time::Duration;

use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::Want;
use shoal_node::link::TitleId;

use crate::cli::Get;
use crate::error::Error;
use crate::link;
use crate::peer::{Peer, title_of};

/// How often the ratio is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Runs the command.
pub(crate) async fn run(arguments: Get) -> Result<(), Error> {
    let common = arguments.common.clone().with_file()?;
    let target = link::open(link::parse(&arguments.link)?).await?;
    super::with_peer(&common, false, async |peer, _| {
        let title = title_of(target, Want::All, &common).await?;
        let options = TitleOptions {
            place: Place::Below(arguments.output.clone()),
            trust: Trust::Verified,
            layers: Vec::new(),
            verified: None,
        };
        let title = peer.add(title, options).await?;
        peer.engine.complete(title).await?;
        give_back(peer, title, arguments.seed_ratio, arguments.seed_time).await
    })
    .await
}

/// Serves others until the ratio or the time is reached; not at all when neither was asked for.
async fn give_back(
    peer: &Peer,
    title: TitleId,
    ratio: Option<f64>,
    time: Option<Duration>,
) -> Result<(), Error> {
    match (ratio, time) {
        (None, None) => Ok(()),
        (None, Some(time)) => {
            tokio::time::sleep(time).await;
            Ok(())
        }
        (Some(ratio), time) => tokio::select! {
            reached = reaches(peer, title, ratio) => reached,
            () = super::wait(time) => Ok(()),
        },
    }
}

/// Returns once `ratio` times the title's length was sent.
async fn reaches(peer: &Peer, title: TitleId, ratio: f64) -> Result<(), Error> {
    loop {
        let views = peer.engine.views().await?;
        let reached = views
            .iter()
            .find(|view| view.title == title)
            .is_none_or(|view| view.counters.sent as f64 >= ratio * view.length as f64);
        if reached {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}
