//! Who has a film at first: a Shoal publisher, or seeds of a program that we did not write.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fault::Tried;
use crate::foreign;
use crate::net::Host;
use crate::program::Program;
use crate::world::World;

/// Uplink of a source that is called unlimited, bit/s.
pub(crate) const UNLIMITED: u64 = 1_000_000_000;
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
        let torrent = foreign::torrent(world, film)?;
        let hosts = (0..count)
            .map(|index| world.net.host(&format!("seed{index}"), Some(uplink)))
            .collect::<Tried<Vec<_>>>()?;
        let programs = foreign::seeds(world, &hosts, &torrent, film, &[])?;
        let known = |host: &Arc<Host>| ["--peer".to_owned(), foreign::address(host)];
        let peers = hosts.iter().flat_map(known).collect();
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
