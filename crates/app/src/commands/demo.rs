//! `shoal demo`: the whole thing in one process, on loopback, in a folder that is gone afterwards.
//!
//! A directory, a publisher with a small uplink, and viewers that each fetch by magnet link and serve a player. Nothing is
//! staged: it is the same engine, protocol and sockets as anywhere, only the addresses are all of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use shoal_drive::EngineOptions;
use shoal_drive::pool::TitleOptions;
use shoal_drive::storage::Place;
use shoal_drive::title::Trust;
use shoal_node::io::Want;
use shoal_serve::reports::event_json;
use shoal_wire::magnet::Magnet;
use shoal_wire::metainfo::Info;

use crate::cli::Demo;
use crate::console::Console;
use crate::error::Error;
use crate::film;
use crate::hashing::Hashing;
use crate::link::Target;
use crate::peer::{Peer, title_of};
use crate::publication::Choices;
use crate::settings::Common;
use crate::stop::Stop;
use crate::tracker::RunningDirectory;

use super::publish::{magnet, published, serve};

/// The film that is shown when none is named: a test picture with a running clock and a tone (assets/README.md).
const FILM: &[u8] = include_bytes!("../../assets/demo.mp4");

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Runs the command.
pub(crate) async fn run(mut arguments: Demo) -> Result<(), Error> {
    let voice = std::mem::take(&mut arguments.voice).with_file()?;
    let mut stop = Stop::listen()?;
    let console = Console::new(voice.wants_json(), voice.verbose);
    let folder = temporary(arguments.state.as_deref())?;
    let mut cast = Cast::new(console.clone());
    let set = tokio::select! {
        set = cast.set_up(&arguments, folder.path()) => set,
        () = stop.asked() => Err(Error::Interrupted),
    };
    let done = match set {
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
#[derive(Debug)]
struct Cast {
    console: Console,
    started: Instant,
    directory: Option<RunningDirectory>,
    publisher: Option<Peer>,
    hashing: Option<Hashing>,
    viewers: Vec<Peer>,
}

/// What viewers need to know of the title.
struct Stage {
    link: Magnet,
    info: Arc<Info>,
    /// The file to play.
    film: u32,
}

impl Cast {
    fn new(console: Console) -> Self {
        Self {
            console,
            started: Instant::now(),
            directory: None,
            publisher: None,
            hashing: None,
            viewers: Vec::new(),
        }
    }

    /// Tells programs of one of the cast.
    fn tell(&self, event: &str, fields: Value) {
        let t_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut told = json!({ "event": event, "t_ms": t_ms });
        if let (Value::Object(told), Value::Object(fields)) = (&mut told, fields) {
            told.extend(fields);
        }
        self.console.lock().event(&told.to_string());
    }

    async fn set_up(&mut self, arguments: &Demo, folder: &Path) -> Result<(), Error> {
        let directory = RunningDirectory::start(Some(LOOPBACK), Some(LOOPBACK))?;
        let http = directory.http().map(|address| format!("http://{address}"));
        let http = http.ok_or_else(|| Error::new("the directory has no address"))?;
        let tracker = format!("{http}/announce");
        self.console.lock().say(&format!("directory {tracker}"));
        self.tell("directory", json!({ "http": http, "udp": directory.udp().to_string() }));
        self.directory = Some(directory);

        let stage = self.publish(arguments, folder, tracker).await?;
        for number in 1..=arguments.viewers {
            let http = if number == 1 { arguments.http } else { LOOPBACK };
            self.watch(number, &stage, folder, http).await?;
        }
        let line = "Open a page in a browser, or a film in a player. Ctrl-C ends it all.";
        self.console.lock().say(line);
        Ok(())
    }

    /// Makes the title and serves it with a small uplink.
    async fn publish(
        &mut self,
        arguments: &Demo,
        folder: &Path,
        tracker: String,
    ) -> Result<Stage, Error> {
        let film = match &arguments.file {
            Some(film) => film.clone(),
            None => bundled(folder)?,
        };
        let choices = Choices { trackers: vec![tracker], ..Choices::default() };
        let state = folder.join("publisher");
        // Before the film is opened: an engine makes room for open files.
        let publisher = self.publisher.insert(start(state.clone(), None)?);
        publisher.limit(Some(arguments.up_limit.0.max(1)), None).await?;
        let made = self.hashing.insert(Hashing::start(vec![film], choices, state));
        let made = made.made(&self.console).await?;
        let listen = publisher.engine.listen_address();
        let link = magnet(&made.metainfo, listen);
        let report = published(&made.metainfo, listen, None);
        let (_, info) = serve(publisher, made, &Common::default()).await?;
        let limit = arguments.up_limit;
        {
            let mut output = self.console.lock();
            output.say(&format!("publisher {listen} sends at most {limit}/s"));
            output.say(&format!("link      {link}"));
        }
        self.tell("publisher", json!({ "peer": listen.to_string(), "up_limit": limit.0 }));
        let t_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.console.lock().event(&event_json(t_ms, None, &report).to_string());
        let film = film::main_file(&info).unwrap_or(0);
        Ok(Stage { link, info, film })
    }

    /// Adds a viewer, who knows no more than the link.
    async fn watch(
        &mut self,
        number: u16,
        stage: &Stage,
        folder: &Path,
        http: SocketAddr,
    ) -> Result<(), Error> {
        let state = folder.join(format!("viewer-{number}"));
        let viewer = start(state.clone(), Some(http))?;
        let target = Target::Magnet(Box::new(stage.link.clone()));
        let title = title_of(target, Want::Play, &Common::default()).await?;
        let options = TitleOptions {
            place: Place::Below(state.join("films")),
            trust: Trust::Verified,
            layers: Vec::new(),
            verified: None,
        };
        viewer.add(title, options).await?;
        let page = viewer.page().unwrap_or_default();
        let addresses = viewer.addresses(&stage.info, stage.film);
        let (film, rtsp) = addresses.map(|it| (it.url, it.rtsp)).unwrap_or_default();
        let (film, rtsp) = (film.unwrap_or_default(), rtsp.unwrap_or_default());
        let line = format!("viewer {number}  page {page}/  rtsp {rtsp}  film {film}");
        self.console.lock().say(&line);
        let peer = viewer.engine.listen_address().to_string();
        self.tell(
            "viewer",
            json!({ "number": number, "peer": peer, "http": page, "film": film, "rtsp": rtsp }),
        );
        self.viewers.push(viewer);
        Ok(())
    }

    /// Ends everybody at once: each waits for the farewells of its own.
    async fn end(&mut self) {
        if let Some(hashing) = self.hashing.take() {
            hashing.stop().await;
        }
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
    let rtsp = http.map(|address| SocketAddr::new(address.ip(), 0));
    Peer::start(options, http, rtsp)
}
