//! `shoal watch`: serve a title to players while it arrives.

use std::time::Duration;

use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::{Command, Want};
use shoal_wire::metainfo::Info;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::cli::Watch;
use crate::error::Error;
use crate::film;
use crate::link::{self, Target};
use crate::peer::{shelf_folder, title_of};
use crate::player::{self, Player};

/// A player that drops one answer, to jump or because its buffer is full, asks for the next within this time.
const READS_AGAIN: Duration = Duration::from_secs(2);

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
        let readers = peer.engine.readers();
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
        peer.engine.command(Command::Prefer { title, file }).await?;
        // Ends with this.
        let mut early = JoinSet::new();
        if let Some(expecting) = peer.expect(title, &info, file) {
            early.spawn(expecting);
        }
        if let Some(command) = &arguments.player {
            // There is a face for players: it was asked for above.
            let addresses = peer.addresses(&info, file);
            let addresses = addresses.ok_or_else(|| Error::new("the title has no such file"))?;
            let page = peer.page().unwrap_or_default();
            let (command, url) = player::choose(command, &addresses, &page)?;
            console.lock().detail(&format!("starting {command} with {url}"));
            Player::start(&command, &url)?.closed().await;
            // From here on only other players read.
            early.shutdown().await;
            peer.player_left();
            if arguments.stay.is_none() {
                // It may have handed the film over to another that goes on.
                unread(readers, Duration::ZERO).await;
                return Ok(());
            }
        } else if info.files.len() > 1 {
            let url = peer.url(&info, file).unwrap_or_default();
            console.lock().say(&format!("film      {url}"));
        }
        peer.engine.complete(title).await?;
        early.shutdown().await;
        match arguments.stay {
            Some(stay) => unread(readers, stay).await,
            None => super::wait(None).await,
        }
        Ok(())
    })
    .await
}

/// Ends when nobody has read for `stay`, and once somebody did, not between two answers to the same player.
async fn unread(mut readers: watch::Receiver<usize>, stay: Duration) {
    // What came before was seen by nobody yet. An error means that the engine is gone.
    let mut read = readers.has_changed().unwrap_or(false);
    loop {
        let open = *readers.borrow_and_update();
        read |= open > 0;
        let quiet = async {
            match open {
                0 if read => tokio::time::sleep(stay.max(READS_AGAIN)).await,
                0 => tokio::time::sleep(stay).await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = quiet => return,
            changed = readers.changed() => match changed {
                Ok(()) => read = true,
                Err(_) => return,
            },
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    async fn lasts(readers: &watch::Receiver<usize>, stay: Duration) -> Duration {
        let begin = tokio::time::Instant::now();
        unread(readers.clone(), stay).await;
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_who_reads_and_for_one_who_reads_again() {
        let second = Duration::from_secs(1);
        let (sender, readers) = watch::channel(0);
        assert_eq!(lasts(&readers, Duration::ZERO).await, Duration::ZERO, "nobody ever came");
        assert_eq!(lasts(&readers, second * 9).await, second * 9);
        // One reads for a minute, jumps, reads on, and comes back within the time to stay.
        let viewer = tokio::spawn(async move {
            for (reading, open) in [(0, 1), (60, 0), (1, 1), (60, 0), (8, 1), (60, 0)] {
                tokio::time::sleep(second * reading).await;
                sender.send_replace(open);
            }
            std::future::pending::<()>().await;
        });
        tokio::task::yield_now().await;
        let (none, nine) = (readers.clone(), readers.clone());
        let short = tokio::spawn(async move { lasts(&none, Duration::ZERO).await });
        assert_eq!(lasts(&nine, second * 9).await, second * (60 + 1 + 60 + 8 + 60 + 9));
        assert_eq!(short.await.expect("it ends"), second * (60 + 1 + 60) + READS_AGAIN);
        viewer.abort();
    }
}
