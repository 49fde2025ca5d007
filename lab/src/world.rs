//! One run's world: a network, a folder, and the `shoal` commands in it. All of it ends when it is dropped.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::fault::{Doing, Fault, Tried};
use crate::net::{Host, Net};
use crate::program::Program;
use crate::watch::Watch;

/// Port on which every peer listens.
const PEER_PORT: u16 = 6881;
/// Port of the directory.
const DIRECTORY_PORT: u16 = 6969;
/// How long a program may take until it listens, seconds.
const LISTEN_S: f64 = 15.0;
/// How long a publisher may hash, seconds.
const HASH_S: f64 = 60.0;
/// What nobody in the laboratory needs: it would find peers that the experiment did not introduce.
const QUIET: [&str; 4] = ["--json", "--no-lsd", "--no-dht", "--no-upnp"];

/// What every experiment is given by the command line.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// The program under test.
    pub(crate) shoal: PathBuf,
    /// Where films are kept between runs.
    pub(crate) films: PathBuf,
    /// TCP congestion control.
    pub(crate) congestion: String,
    /// Delay from host to host, milliseconds.
    pub(crate) delay_ms: u64,
    /// When to end.
    pub(crate) watch: Watch,
}

/// A run's world. Fields are dropped in this order: programs first, the network after them.
#[derive(Debug)]
pub(crate) struct World {
    directory: Option<Program>,
    /// Its network.
    pub(crate) net: Net,
    folder: TempDir,
    shoal: PathBuf,
    /// When to end.
    pub(crate) watch: Watch,
    tracker: String,
}

/// A `shoal` process with its host.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The process.
    pub(crate) program: Program,
    /// Where it runs.
    pub(crate) host: Arc<Host>,
}

impl World {
    /// A network with a directory on a host of its own, whose uplink is not shaped. The run ends after `limit_s`.
    pub(crate) fn new(bench: &Bench, limit_s: f64) -> Tried<Self> {
        let folder = tempfile::Builder::new().prefix("shoal-lab-").tempdir();
        let mut world = Self {
            directory: None,
            net: Net::new(&bench.congestion, bench.delay_ms)?,
            folder: folder.doing("make a folder")?,
            shoal: bench.shoal.clone(),
            watch: bench.watch.run_within(limit_s),
            tracker: String::new(),
        };
        let host = world.net.host("directory", None)?;
        let address = format!("{}:{DIRECTORY_PORT}", host.ip);
        let mut command = Command::new(&world.shoal);
        command.args(["directory", "--json", "--udp", "off", "--http", &address]);
        let mut directory = Program::start(&host, "directory", &mut command, world.folder())?;
        directory.expect("listening", &world.watch.within(LISTEN_S))?;
        world.directory = Some(directory);
        world.tracker = format!("http://{address}/announce");
        Ok(world)
    }

    /// The run's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A `shoal COMMAND` for `host`, with a state folder of its own.
    fn command(&self, host: &Host, words: &[&str]) -> Tried<Command> {
        let state = self.folder().join(format!("state-{}", host.name));
        fs::create_dir_all(&state).doing("make a folder")?;
        let mut command = Command::new(&self.shoal);
        command.args(words).args(QUIET).arg("--state").arg(state);
        command.args(["--listen", &format!("{}:{PEER_PORT}", host.ip)]);
        Ok(command)
    }

    /// Starts `shoal publish FILE` on `host`, with the directory as the torrent's tracker; returns once it serves.
    pub(crate) fn publish(
        &self,
        host: &Arc<Host>,
        file: &Path,
        more: &[&str],
    ) -> Tried<(Peer, PathBuf)> {
        let torrent = self.folder().join("title.torrent");
        let mut command = self.command(host, &["publish"])?;
        command.arg(file).arg("--torrent").arg(&torrent).args(["--tracker", &self.tracker]);
        command.args(["--http", "off"]).args(more);
        let mut program = Program::start(host, &host.name, &mut command, self.folder())?;
        program.expect("published", &self.watch.within(HASH_S))?;
        Ok((Peer { program, host: Arc::clone(host) }, torrent))
    }

    /// Starts `shoal get` on `host`; it goes on serving when it is complete.
    pub(crate) fn get(&self, host: &Arc<Host>, torrent: &Path, more: &[String]) -> Tried<Peer> {
        let mut command = self.command(host, &["get"])?;
        command
            .arg(torrent)
            .arg("-o")
            .arg(self.files_of(host))
            .args(["--seed-time", "1h"])
            .args(more);
        let program = Program::start(host, &host.name, &mut command, self.folder())?;
        Ok(Peer { program, host: Arc::clone(host) })
    }

    /// Starts `shoal watch` on `host`, with its face for players on the host's loopback.
    pub(crate) fn view(&self, host: &Host, torrent: &Path, more: &[String]) -> Tried<Program> {
        let mut command = self.command(host, &["watch"])?;
        let http = format!("{}:0", Ipv4Addr::LOCALHOST);
        command.arg(torrent).arg("-o").arg(self.files_of(host)).args(["--http", &http]).args(more);
        Program::start(host, &host.name, &mut command, self.folder())
    }

    /// Where `host` puts what it fetches.
    pub(crate) fn files_of(&self, host: &Host) -> PathBuf {
        self.folder().join(format!("files-{}", host.name))
    }

    /// Ends all of `peers`: asked together, then waited for one by one.
    pub(crate) fn end(&self, peers: &mut [&mut Peer]) {
        for peer in &mut *peers {
            peer.program.ask_to_end();
        }
        for peer in peers {
            peer.program.stop();
        }
    }
}

/// Compares a fetched file with the original.
pub(crate) fn same(original: &Path, fetched: &Path) -> Tried<()> {
    let read = |path: &Path| fs::read(path).doing(format_args!("read {}", path.display()));
    if read(original)? == read(fetched)? {
        return Ok(());
    }
    Err(Fault::new(format!("{} differs from what was published", fetched.display())))
}
