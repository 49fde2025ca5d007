//! Programs that we did not write: libtorrent clients, as the trials start them, and torrents as libtorrent makes them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::fault::{Doing, Fault, Tried};
use crate::net::Host;
use crate::program::Program;
use crate::watch::Watch;
use crate::world::{Bench, World};

/// Piece length of a foreign title, bytes, as in the baselines.
const PIECE: &str = "262144";
/// Port on which a client listens.
const PORT: u16 = 6881;
/// How long a client may take to be ready, seconds.
const READY_S: f64 = 30.0;
/// The trials' libtorrent client.
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/kit/lt_client.py");
/// What makes a torrent for it.
const TORRENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/make_torrent.py");

/// Says in one sentence what is missing.
pub(crate) fn ready(bench: &Bench) -> Tried<()> {
    bench.watch.check("a look at python3")?;
    let there =
        Command::new("python3").args(["-c", "import libtorrent"]).output().doing("run python3")?;
    if there.status.success() {
        return Ok(());
    }
    Err(Fault::new("the Python module libtorrent is missing: pip install libtorrent==2.1.1"))
}

/// Makes a plain v1 torrent of `file`.
pub(crate) fn torrent(world: &World, file: &Path) -> Tried<PathBuf> {
    let torrent = world.folder().join("foreign.torrent");
    let made = Command::new("python3")
        .arg(TORRENT)
        .args([file, &torrent])
        .arg(PIECE)
        .output()
        .doing("run python3")?;
    if made.status.success() {
        return Ok(torrent);
    }
    let words = String::from_utf8_lossy(&made.stderr);
    let last = words.lines().last().unwrap_or("");
    Err(Fault::new(format!(
        "no torrent was made ({last}); this needs pip install libtorrent==2.1.1"
    )))
}

/// Where a client on `host` listens.
pub(crate) fn address(host: &Host) -> String {
    format!("{}:{PORT}", host.ip)
}

/// Starts a client on `host`, with its files in `folder`.
pub(crate) fn client(
    world: &World,
    host: &Host,
    torrent: &Path,
    folder: &Path,
    more: &[String],
) -> Tried<Program> {
    let mut command = Command::new("python3");
    command.arg(CLIENT).arg(torrent).arg("--save").arg(folder);
    command.args(["--listen", &address(host)]).args(more);
    Program::start(host, &host.name, &mut command, world.folder())
}

/// Starts a seed on each of `hosts`; returns once all serve.
pub(crate) fn seeds(
    world: &World,
    hosts: &[Arc<Host>],
    torrent: &Path,
    file: &Path,
    more: &[String],
) -> Tried<Vec<Program>> {
    let watch = world.watch.within(READY_S);
    let folder = file.parent().unwrap_or_else(|| Path::new("."));
    let flags = [&["--seed".to_owned()], more].concat();
    let start = |host: &Arc<Host>| client(world, host, torrent, folder, &flags);
    let mut programs = hosts.iter().map(start).collect::<Tried<Vec<_>>>()?;
    for program in &mut programs {
        program.expect("listening", &watch)?;
        wait_to_seed(program, &watch)?;
    }
    Ok(programs)
}

/// Waits until a client has everything.
fn wait_to_seed(program: &Program, watch: &Watch) -> Tried<()> {
    watch.until(&format!("{} to seed", program.name), || Ok(is_seed(program).then_some(())))
}

/// Whether a client said that it has everything.
pub(crate) fn is_seed(program: &Program) -> bool {
    program.last("status").is_some_and(|status| status.fields["seeding"] == true)
}
