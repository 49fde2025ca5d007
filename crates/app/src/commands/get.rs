//! `shoal get`: fetch a title whole, or the files of it that were chosen, verify them, perhaps give something back, exit.

use std::time::Duration;

use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::{Command, Want};
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;

use crate::cli::Get;
use crate::error::Error;
use crate::link::{self, Target};
use crate::peer::{Peer, title_of};

/// How often the ratio is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Chosen files that are named.
const NAMES_MAX: usize = 10;

/// Runs the command.
pub(crate) async fn run(arguments: Get) -> Result<(), Error> {
    let common = arguments.common.clone().with_file()?;
    let target = link::open(link::parse(&arguments.link)?).await?;
    let chosen = chosen(&arguments.file, &target);
    super::with_peer(&common, false, async |peer, console| {
        let title = title_of(target, Want::All, &common).await?;
        let options = TitleOptions {
            place: Place::Below(arguments.output.clone()),
            trust: Trust::Verified,
            layers: Vec::new(),
            verified: None,
        };
        let title = peer.add(title, options).await?;
        if !chosen.is_empty() {
            // At once: what else there is must not even be begun.
            let files = chosen.clone();
            peer.engine.command(Command::Select { title, files }).await?;
            let info = peer.engine.ready(title).await?;
            let line = told(&info, &chosen)?;
            console.lock().say(&line);
        }
        peer.engine.complete(title).await?;
        give_back(peer, title, arguments.seed_ratio, arguments.seed_time).await
    })
    .await
}

/// The files to fetch, as ranges of their numbers: those that the user named, else those of the link. None for all.
fn chosen(named: &[u32], target: &Target) -> Vec<(u32, u32)> {
    match target {
        Target::Magnet(magnet) if named.is_empty() => magnet.select.clone(),
        _ => named.iter().map(|&file| (file, file)).collect(),
    }
}

/// What of a title was chosen, in words. A choice of nothing is a mistake.
fn told(info: &Info, chosen: &[(u32, u32)]) -> Result<String, Error> {
    let is_chosen =
        |number: u32| chosen.iter().any(|&(first, last)| (first..=last).contains(&number));
    let names: Vec<String> = (0u32..)
        .zip(&info.files)
        .filter(|(number, _)| is_chosen(*number))
        .map(|(_, file)| file.path.join("/"))
        .collect();
    let (count, all) = (names.len(), info.files.len());
    let beyond = chosen.iter().find(|(first, _)| usize::try_from(*first).is_ok_and(|n| n >= all));
    if let Some((number, _)) = beyond {
        return Err(Error::new(format!(
            "{} has no file {number}; `shoal inspect` lists those it has, the first is 0",
            info.name
        )));
    }
    let mut shown = names;
    if count > NAMES_MAX {
        shown.truncate(NAMES_MAX);
        shown.push("...".to_owned());
    }
    Ok(format!("files     {count} of {all}: {}", shown.join(", ")))
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

/// Returns once `ratio` times the length of what was wanted was sent.
async fn reaches(peer: &Peer, title: TitleId, ratio: f64) -> Result<(), Error> {
    loop {
        let views = peer.engine.views().await?;
        let reached = views
            .iter()
            .find(|view| view.title == title)
            .is_none_or(|view| view.counters.sent as f64 >= ratio * view.wanted as f64);
        if reached {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use shoal_wire::magnet::Magnet;

    use super::{Target, chosen};

    #[test]
    fn files_that_the_user_names_win_over_those_of_the_link() {
        let magnet = Magnet { select: vec![(0, 0), (2, 5)], ..Magnet::default() };
        let target = Target::Magnet(Box::new(magnet));
        assert_eq!(chosen(&[], &target), [(0, 0), (2, 5)]);
        assert_eq!(chosen(&[7, 1], &target), [(7, 7), (1, 1)]);
        let all = Target::Magnet(Box::default());
        assert_eq!(chosen(&[], &all), []);
    }
}
