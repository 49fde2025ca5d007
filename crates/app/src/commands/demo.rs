//! `shoal demo`: the whole thing in one process, on loopback, in a folder that is gone afterwards.
//!
//! A directory, a publisher with a small uplink, and viewers that each fetch by magnet link and serve a player. Nothing is
//! staged: it is the same engine, protocol and sockets as anywhere, only the addresses are all of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use shoal_drive::EngineOptions;
use shoal_drive::pool::TitleOptions;
use shoal_drive::publish::PublishProgress;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::Want;

use crate::cli::Demo;
use crate::console::Console;
use crate::error::Error;
use crate::film;
use crate::link::Target;
use crate::peer::{Peer, title_of};
use crate::publication::{Choices, make};
use crate::settings::Common;
use crate::stop::Stop;
use crate::tracker::RunningDirectory;

use super::publish::{magnet, serve};

/// The film that is shown when none is named: a test picture with a running clock and a tone (assets/README.md).
const FILM: &[u8] = include_bytes!("../../assets/demo.mp4");

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the command.
pub(crate) async fn run(arguments: Demo) -> Result<(), Error> {
    let mut stop = Stop::listen()?;
    let console = Console::new(arguments.json, 0);
    let folder = temporary(arguments.state.as_deref())?;
    let mut cast = Cast::default();
    let done = tokio::select! {
        set = cast.set_up(&arguments, folder.path(), &console) => set,
        () = stop.asked() => Err(Error::Interrupted),
    };
    let done = match done {
        Ok(()) => {
            let follower = cast.viewers.first().map(|viewer| console.follow(&viewer.reports));
            stop.asked().await;
            cast.end().await;
            if let Some(follower) = follower {
                follower.finish().await;
            }
            Err(Error::Interrupted)
        }
        Err(error) => {
            cast.end().await;
            Err(error)
        }
    };
    let path = folder.path().to_path_buf();
    folder.close().map_err(|error| {
        Error::new(format!("the folder {} could not be removed: {error}", path.display()))
    })?;
    done
}

fn temporary(parent: Option<&Path>) -> Result<tempfile::TempDir, Error> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("shoal-demo-");
    match parent {
        Some(parent) => builder.tempdir_in(parent),
        None => builder.tempdir(),
    }
    .map_err(|error| {
        Error::new(format!(
            "no temporary folder can be made: {error}; name another place with --state"
        ))
    })
}

/// Everybody in the demo.
#[derive(Debug, Default)]
struct Cast {
    directory: Option<RunningDirectory>,
    publisher: Option<Peer>,
    viewers: Vec<Peer>,
}

impl Cast {
    async fn set_up(
        &mut self,
        arguments: &Demo,
        folder: &Path,
        console: &Console,
    ) -> Result<(), Error> {
        let directory = RunningDirectory::start(Some(LOOPBACK), Some(LOOPBACK))?;
        let tracker = directory.http().map(|address| format!("http://{address}/announce"));
        let tracker = tracker.ok_or_else(|| Error::new("the directory has no address"))?;
        console.lock().say(&format!("directory {tracker}"));
        self.directory = Some(directory);

        let film = match &arguments.file {
            Some(film) => film.clone(),
            None => bundled(folder)?,
        };
        let choices = Choices { trackers: vec![tracker], ..Choices::default() };
        let state = folder.join("publisher");
        let (paths, place) = (vec![film], state.clone());
        let made = tokio::task::spawn_blocking(move || {
            make(&paths, &choices, &place, &PublishProgress::default())
        });
        let made =
            made.await.unwrap_or_else(|_| Err(Error::new("the film could not be hashed")))?;
        let publisher = self.publisher.insert(start(state, None)?);
        publisher.limit(Some(arguments.up_limit.0.max(1)), None).await?;
        let link = magnet(&made.metainfo, publisher.engine.listen_address());
        let info = serve(publisher, made, &Common::default()).await?;
        let file = film::main_file(&info).unwrap_or(0);
        {
            let mut output = console.lock();
            output.say(&format!(
                "publisher {} sends at most {}/s",
                publisher.engine.listen_address(),
                arguments.up_limit
            ));
            output.say(&format!("link      {link}"));
        }

        for number in 1..=arguments.viewers {
            let state = folder.join(format!("viewer-{number}"));
            let http = if number == 1 { arguments.http } else { LOOPBACK };
            let viewer = start(state.clone(), Some(http))?;
            let target = Target::Magnet(Box::new(link.clone()));
            let title = title_of(target, Want::Play, &Common::default()).await?;
            let options = TitleOptions {
                place: Place::Below(state.join("films")),
                trust: Trust::Verified,
                layers: Vec::new(),
                verified: None,
            };
            viewer.add(title, options).await?;
            let page = viewer.page().unwrap_or_default();
            let film = viewer.url(&info, file).unwrap_or_default();
            let mut output = console.lock();
            output.say(&format!("viewer {number}  page {page}/  film {film}"));
            drop(output);
            self.viewers.push(viewer);
        }
        console.lock().say("Open a page in a browser, or a film in a player. Ctrl-C ends it all.");
        Ok(())
    }

    /// Ends everybody at once: each waits for the farewells of its own.
    async fn end(&mut self) {
        let mut leaving = tokio::task::JoinSet::new();
        for peer in self.viewers.drain(..).chain(self.publisher.take()) {
            leaving.spawn(peer.stop());
        }
        leaving.join_all().await;
        if let Some(directory) = self.directory.take() {
            directory.stop().await;
        }
    }
}

/// The film of the program, as a file that can be published.
fn bundled(folder: &Path) -> Result<PathBuf, Error> {
    let path = folder.join("clock.mp4");
    std::fs::write(&path, FILM)
        .map_err(|error| Error::new(format!("{} cannot be written: {error}", path.display())))?;
    Ok(path)
}

/// One peer of the demo, with state and addresses of its own. Others in the local network are left alone.
fn start(state: PathBuf, http: Option<SocketAddr>) -> Result<Peer, Error> {
    let mut options =
        EngineOptions { listen: LOOPBACK, state: Some(state), ..EngineOptions::default() };
    options.config.discover.local = false;
    Peer::start(options, http)
}
