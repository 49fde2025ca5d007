//! One file per command; what several of them share stands here and in [`crate::peer`].

mod demo;
mod directory;
mod get;
mod inspect;
mod publish;
mod seed;
mod sim;
mod watch;

use std::time::Duration;

use shoal_node::link::TitleId;
use shoal_serve::reports::Report;

use crate::cli::Command;
use crate::console::Console;
use crate::error::Error;
use crate::fates::Fates;
use crate::peer::Peer;
use crate::settings::Common;
use crate::stop::Stop;

/// Does what the command line asks.
pub(crate) fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Inspect(arguments) => inspect::run(&arguments),
        Command::Publish(arguments) => runtime()?.block_on(publish::run(arguments)),
        Command::Watch(arguments) => runtime()?.block_on(watch::run(arguments)),
        Command::Get(arguments) => runtime()?.block_on(get::run(arguments)),
        Command::Seed(arguments) => runtime()?.block_on(seed::run(arguments)),
        Command::Demo(arguments) => runtime()?.block_on(demo::run(arguments)),
        Command::Directory(arguments) => runtime()?.block_on(directory::run(arguments)),
        Command::Sim(command) => sim::run(command),
    }
}

/// The one runtime of a command.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Error::new(format!("the system gives no threads to work with: {error}")))
}

/// Starts a peer as the user wants it, lets `work` use it until it is done or the user stops it, and ends the peer in
/// good order either way. `http` says whether players are served unless the user says otherwise.
async fn with_peer(
    common: &Common,
    http: bool,
    work: impl AsyncFnOnce(&Peer, &Console) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut stop = Stop::listen()?;
    let console = Console::new(common.wants_json(), common.verbose);
    let peer = Peer::of(common, http).await?;
    let follower = console.follow(&peer.reports);
    let done = tokio::select! {
        done = work(&peer, &console) => done,
        () = stop.asked() => Err(Error::Interrupted),
        () = peer.engine.stopped() => Err(Error::new("the peer ended by itself; see what it said before")),
    };
    if let Err(error) = &done
        && error.is_news()
    {
        peer.reports.tell(None, &Report::Error { message: error.to_string(), fatal: true });
    }
    peer.stop().await;
    follower.finish().await;
    match done {
        // The follower said it, as one of the reports.
        Err(Error::Failed(sentence)) if console.lock().has_warned(&sentence) => Err(Error::Told),
        done => done,
    }
}

/// Serves `titles` for `time`, or for ever, but not beyond the point where nothing of them can be served. `fates` has
/// followed them since before they were added.
async fn serve_on(fates: Fates, titles: &[TitleId], time: Option<Duration>) -> Result<(), Error> {
    tokio::select! {
        error = fates.all_over(titles) => Err(error),
        () = wait(time) => Ok(()),
    }
}

/// Waits for `time`, or for ever.
async fn wait(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
