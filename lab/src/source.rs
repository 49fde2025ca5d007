//! Who has a film at first: a Shoal publisher, or seeds of a program that we did not write.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::fault::{Doing, Fault, Tried};
use crate::net::Host;
use crate::program::Program;
use crate::world::{Bench, World};

/// Uplink of a source that is called unlimited, bit/s.
pub(crate) const UNLIMITED: u64 = 1_000_000_000;
/// Piece length of a foreign title, bytes, as in the baselines.
const FOREIGN_PIECE: &str = "262144";
/// Port of a foreign seed.
const FOREIGN_PORT: u16 = 6881;
/// How long a foreign seed may take to be ready, seconds.
const FOREIGN_S: f64 = 30.0;
/// The trials' libtorrent client.
const FOREIGN_CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kit/lt_client.py");
/// What makes a torrent for it.
const FOREIGN_TORRENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/make_torrent.py");

/// Who has the film at first.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    /// A Shoal publisher with this uplink, bit/s.
    Publisher(u64),
    /// So many libtorrent seeds with this uplink each, bit/s.
    Foreign(u32, u64),
}

/// The running sources.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Their hosts; the first is the publisher's.
    pub(crate) hosts: Vec<Arc<Host>>,
    /// The title.
    pub(crate) torrent: PathBuf,
    /// Flags that make a Shoal peer know sources that no directory names.
    pub(crate) peers: Vec<String>,
    programs: Vec<Program>,
}

impl Sources {
    /// Starts them; returns once they serve.
    pub(crate) fn start(world: &mut World, source: Source, film: &Path) -> Tried<Self> {
        match source {
            Source::Publisher(uplink) => {
                let host = world.net.host("source", Some(uplink))?;
                let (peer, torrent) = world.publish(&host, film, &[])?;
                Ok(Self {
                    hosts: vec![host],
                    torrent,
                    peers: Vec::new(),
                    programs: vec![peer.program],
                })
            }
            Source::Foreign(count, uplink) => Self::foreign(world, count, uplink, film),
        }
    }

    fn foreign(world: &mut World, count: u32, uplink: u64, film: &Path) -> Tried<Self> {
        let torrent = world.folder().join("foreign.torrent");
        let made = Command::new("python3")
            .arg(FOREIGN_TORRENT)
            .args([film, &torrent])
            .arg(FOREIGN_PIECE)
            .output()
            .doing("run python3")?;
        if !made.status.success() {
            let words = String::from_utf8_lossy(&made.stderr);
            let last = words.lines().last().unwrap_or("");
            return Err(Fault::new(format!(
                "no torrent was made ({last}); this needs pip install libtorrent==2.1.1"
            )));
        }
        let hosts = (0..count)
            .map(|index| world.net.host(&format!("seed{index}"), Some(uplink)))
            .collect::<Tried<Vec<_>>>()?;
        let watch = world.watch.within(FOREIGN_S);
        let (mut programs, mut peers) = (Vec::new(), Vec::new());
        for host in &hosts {
            let address = format!("{}:{FOREIGN_PORT}", host.ip);
            let mut command = Command::new("python3");
            command.arg(FOREIGN_CLIENT).arg(&torrent).arg("--save");
            command
                .arg(film.parent().unwrap_or_else(|| Path::new(".")))
                .args(["--seed", "--listen", &address]);
            programs.push(Program::start(host, &host.name, &mut command, world.folder())?);
            peers.extend(["--peer".to_owned(), address]);
        }
        for program in &mut programs {
            program.expect("listening", &watch)?;
            let name = program.name.clone();
            watch.until(&format!("{name} to seed"), || {
                let status = program.last("status");
                Ok(status.filter(|event| event.fields["seeding"] == true))
            })?;
        }
        Ok(Self { hosts, torrent, peers, programs })
    }

    /// Ends them.
    pub(crate) fn end(&mut self) {
        for program in &mut self.programs {
            program.ask_to_end();
        }
        for program in &mut self.programs {
            program.stop();
        }
    }
}

/// Says in one sentence what is missing for foreign seeds.
pub(crate) fn foreign_ready(bench: &Bench) -> Tried<()> {
    bench.watch.check("a look at python3")?;
    let there =
        Command::new("python3").args(["-c", "import libtorrent"]).output().doing("run python3")?;
    if there.status.success() {
        return Ok(());
    }
    Err(Fault::new("the Python module libtorrent is missing: pip install libtorrent==2.1.1"))
}
