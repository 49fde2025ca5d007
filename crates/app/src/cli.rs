//! The command line: every command, flag, unit and default, in the words of `--help`.
//!
//! Flags win over the environment (`SHOAL_...`), which wins over the settings file; see [`crate::settings`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use shoal_wire::metainfo::Version;

use crate::ladder::{self, Heights};
use crate::settings::{Common, OptionalAddr, Voice};
use crate::units::{Bytes, duration, slot_length};

const EXAMPLES: &str = "\
Examples:
  shoal demo                                  see it work, nothing to set up
  shoal publish film.mp4                      make a title, print its link, serve it
  shoal watch 'magnet:?xt=urn:btih:...'       fetch it, and serve it to any player at the printed address
  shoal watch film.torrent --player mpv       the same, and start the player
  shoal get film.torrent -o films             fetch all of it, verify it, exit

LINK is a magnet link, a .torrent file or its http(s) address, or an info-hash in hex (40 or 64 digits).
Sizes are bytes with an optional unit (500KiB, 2MiB, 1GB), rates the same per second, times 90s, 30m, 1h30m.
Exit status: 0 done, 1 failed (one sentence on stderr says what to do), 2 bad usage, 130 interrupted.";

/// Films for many viewers without a big server: every viewer serves while being served.
#[derive(Parser, Debug)]
#[command(name = "shoal", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Show the whole thing on this machine: a directory, a publisher with a small uplink, and viewers
    Demo(Demo),
    /// Make a title of files or folders, print its link, and serve it until stopped
    Publish(Publish),
    /// Serve a title to players while fetching it
    Watch(Watch),
    /// Fetch a title whole, verify it, exit
    Get(Get),
    /// Serve titles whose files are already here
    Seed(Seed),
    /// Run a directory: a tracker over HTTP and UDP that tells peers of each other
    Directory(Directory),
    /// Print what a torrent, link or media file contains
    Inspect(Inspect),
    /// Run scenarios in virtual time
    #[command(subcommand)]
    Sim(Sim),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal demo
  shoal demo film.mp4 --viewers 6 --up-limit 1MiB

Everything lives in one process, on loopback, in a temporary folder that is removed at the end.")]
pub(crate) struct Demo {
    /// Film to show [default: a clip of one minute that is part of the program]
    pub(crate) file: Option<PathBuf>,
    /// Number of viewers, 1 to 50
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) viewers: u16,
    /// Uplink of the publisher, bytes/s
    #[arg(long, value_name = "RATE", default_value = "1MiB")]
    pub(crate) up_limit: Bytes,
    /// Folder in which the temporary one is made [default: the system's own for such folders]
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Address of the first viewer's page; port 0 lets the system choose
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) http: SocketAddr,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// Protocol versions of a new title.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// Both v1 and v2: every modern client can join
    #[default]
    Hybrid,
    /// The first protocol alone (BEP 3)
    V1,
    /// The second protocol alone (BEP 52)
    V2,
}

impl From<Format> for Version {
    fn from(format: Format) -> Self {
        match format {
            Format::Hybrid => Self::Hybrid,
            Format::V1 => Self::V1,
            Format::V2 => Self::V2,
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal publish film.mp4
  shoal publish season/ --title 'A season' --torrent season.torrent --tracker udp://tracker.example:6969
  shoal publish film.mp4 --listen 0.0.0.0:6881 --up-limit 2MiB --http 127.0.0.1:8080

  shoal publish film.mp4 --ladder                     with 720p, 480p and 240p beside it, if it is larger
  shoal publish film.mp4 film.en.srt --ladder 480     with 480p and subtitles

A second run over unchanged files does not hash them again, nor make smaller qualities again.

Files of one folder called film.1080p.mp4, film.720p.mp4 and so on are qualities of one film: its HLS and DASH addresses name
all of them, and players choose by what the network gives. film.srt, film.en.srt or film.en.vtt are its subtitles.")]
pub(crate) struct Publish {
    /// Files or folders. Several become one title with a folder of its own
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Write the torrent file here
    #[arg(long, value_name = "OUT")]
    pub(crate) torrent: Option<PathBuf>,
    /// Web seed to name in the torrent (BEP 19): HTTP address of a folder, ending in /, that holds the title under its
    /// name. A film has a time index beside it, so its title is a folder: URL/film/film.mp4 and
    /// URL/film/~shoal/film.mp4.index are asked for; `shoal inspect` lists the paths. May be repeated
    #[arg(long, value_name = "URL")]
    pub(crate) webseed: Vec<String>,
    /// Piece length, bytes, a power of two from 16KiB to 64MiB [default: 256KiB up to 1 GiB of title, then more]
    #[arg(long, value_name = "BYTES")]
    pub(crate) piece_size: Option<Bytes>,
    /// Whom the title speaks to: hybrid is best; v1 for programs that refuse hybrids (transmission 3, aria2); v2 is BEP 52 alone
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
    /// Name of the title [default: name of the file or folder]
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Length of a virtual time slot, 10s to 1h: viewers who play within so much of each other find each other first where
    /// a title has many [default: 3m]
    #[arg(long, value_name = "DURATION", value_parser = slot_length)]
    pub(crate) slot: Option<Duration>,
    /// Make smaller qualities of each film with ffmpeg, which must be installed, and publish them beside it: of these heights in
    /// lines, as far as they are below the film's own [without a value: 720,480,240]. 720 lines take 2.8 Mbit/s, 480
    /// 1.5 and 240 0.5, less where the film itself has less. They are kept below the state folder
    #[arg(long, value_name = "HEIGHTS", num_args = 0..=1, default_missing_value = ladder::DEFAULT)]
    pub(crate) ladder: Option<Heights>,
    /// Only the named trackers may be asked for peers (BEP 27)
    #[arg(long)]
    pub(crate) private: bool,
    /// Stop after this time [default: serve until interrupted]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) seed_time: Option<Duration>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal watch film.torrent --player mpv
  shoal watch 'magnet:?xt=urn:btih:...' --http 127.0.0.1:8080 --stay 2h
  shoal watch LINK --player 'ffplay -autoexit {}'

The address to open in a player is printed as soon as it is known. A title of several files plays its largest film.")]
pub(crate) struct Watch {
    /// Magnet link, .torrent file or address, or info-hash
    pub(crate) link: String,
    /// File to play, by its number in `shoal inspect LINK` [default: the largest film]
    #[arg(long, value_name = "N")]
    pub(crate) file: Option<u32>,
    /// Program to start with the film: `auto` for one that is installed, mpv, vlc, or any command; {} stands for the address, else
    /// it is appended
    #[arg(long, value_name = "CMD")]
    pub(crate) player: Option<String>,
    /// Keep serving others this long after the title is complete and nobody reads it here any more; who reads again puts
    /// the end off. Never ends under a player that reads [default: 0s with --player; until interrupted without]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) stay: Option<Duration>,
    /// Folder for the film [default: a folder of the title's own under --state]
    #[arg(short, long, value_name = "DIR")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal get film.torrent -o films
  shoal get 'magnet:?xt=urn:btih:...' -o films --seed-ratio 1.5 --seed-time 2h
  shoal get season.torrent --file 3 --file 4

A magnet link may name the files that are meant (so=); --file wins over it. A piece that lies on the border of a chosen
file is fetched whole, so a neighbour may appear beside it with a little of its content.

With both --seed-ratio and --seed-time, whichever is reached first ends it.")]
pub(crate) struct Get {
    /// Magnet link, .torrent file or address, or info-hash
    pub(crate) link: String,
    /// Folder to put the title into; made when missing
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Fetch only this file, by its number in `shoal inspect LINK`; may be repeated [default: all, or those that the link
    /// names]
    #[arg(long, value_name = "N")]
    pub(crate) file: Vec<u32>,
    /// Once complete, serve until this many times the length of what was fetched was sent [default: 0]
    #[arg(long, value_name = "R", value_parser = ratio)]
    pub(crate) seed_ratio: Option<f64>,
    /// Once complete, serve for this long [default: 0s; without end when only --seed-ratio is given]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) seed_time: Option<Duration>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal seed film.torrent --data films
  shoal seed *.torrent --data films --skip-check --up-limit 5MiB")]
pub(crate) struct Seed {
    /// Torrent files
    #[arg(required = true, value_name = "TORRENT")]
    pub(crate) torrents: Vec<String>,
    /// Folder where the files are
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) data: PathBuf,
    /// Trust files whose size fits, without hashing them
    #[arg(long)]
    pub(crate) skip_check: bool,
    /// Stop after this time [default: serve until interrupted]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) seed_time: Option<Duration>,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal directory
  shoal directory --http 0.0.0.0:6969 --udp 0.0.0.0:6969

Peers use it as --tracker http://HOST:PORT/announce or --tracker udp://HOST:PORT.")]
pub(crate) struct Directory {
    /// Address for announce and scrape over HTTP; `off` for none
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:6969",
        env = "SHOAL_DIRECTORY_HTTP"
    )]
    pub(crate) http: OptionalAddr,
    /// Address for announce and scrape over UDP; `off` for none
    #[arg(
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:6969",
        env = "SHOAL_DIRECTORY_UDP"
    )]
    pub(crate) udp: OptionalAddr,
    /// Accepted as by every command; a directory keeps nothing on the disk
    #[arg(long, value_name = "DIR", env = "SHOAL_STATE", hide_env_values = true)]
    pub(crate) state: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  shoal inspect film.torrent
  shoal inspect film.mp4 --json
  shoal inspect 'magnet:?xt=urn:btih:...'")]
pub(crate) struct Inspect {
    /// Magnet link, torrent file or its address, info-hash, or media file
    #[arg(value_name = "LINK|FILE")]
    pub(crate) link: String,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Sim {
    /// List the scenarios that come with the program
    List {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Run a scenario over seeds, print its metrics, write them to a folder
    #[command(after_help = "\
Examples:
  shoal sim run j --seeds 1..20 --out out/j
  shoal sim run e-equal --set peers=30 --policy bittorrent-rarest --seeds 1..10 --out out/e
  shoal sim run d-1000 --sweep upload.factor=0.9,1.1,1.3,1.54,2.0 --seeds 1..3 --out out/d

Ctrl-C prints and writes the seeds that are finished.")]
    Run(SimRun),
    /// Draw results as one page, report.html, and print their figures again
    Report {
        /// Folder that `sim run --out` wrote, or one that holds several of them, or sweeps
        dir: PathBuf,
    },
    /// Run one seed again and print what happens
    Replay {
        /// Name from `sim list`, or a TOML file
        scenario: String,
        /// The seed
        #[arg(long, value_name = "N")]
        seed: u64,
        /// Stop at this virtual time
        #[arg(long, value_name = "T", value_parser = duration)]
        until: Option<Duration>,
        /// Change a key of the scenario, for example peers=200; may be repeated
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
        /// Bundle of policies [default: shoal]
        #[arg(long, value_name = "NAME")]
        policy: Option<String>,
    },
    /// Run a recording of a real node (--record) through the core and compare all effects
    ReplayRecord {
        /// The recording
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SimRun {
    /// Name from `sim list`, or a TOML file
    pub(crate) scenario: String,
    /// One seed
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    pub(crate) seed: Option<u64>,
    /// Seeds from A to B, both included [default: 1..10]
    #[arg(long, value_name = "A..B", value_parser = seed_range)]
    pub(crate) seeds: Option<(u64, u64)>,
    /// Change a key of the scenario, for example peers=200 or upload.factor=1.5; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Run it once for each value of a key, each into a folder of its own below --out
    #[arg(long, value_name = "KEY=VALUE,VALUE,..")]
    pub(crate) sweep: Option<String>,
    /// Bundle of policies: shoal or a baseline [default: what the scenario says]
    #[arg(long, value_name = "NAME")]
    pub(crate) policy: Option<String>,
    /// Matrix of measured round trips to draw from, instead of coordinates
    #[arg(long, value_name = "FILE")]
    pub(crate) rtt: Option<PathBuf>,
    /// Follow every request and say what led to a broken rule; slower
    #[arg(long)]
    pub(crate) strict: bool,
    /// Print the summary as one JSON object, and no progress
    #[arg(long)]
    pub(crate) json: bool,
    /// Write summary.json, peers.csv, seeks.csv, server.csv and trace.hash into this folder
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

fn seed_range(text: &str) -> Result<(u64, u64), String> {
    let fault = || "write seeds as 1..20: first and last, both included".to_owned();
    let (first, last) = text.split_once("..").ok_or_else(fault)?;
    let last = last.strip_prefix('=').unwrap_or(last);
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(fault()),
    }
}

fn ratio(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(value),
        _ => Err("write a number such as 1.5: bytes sent per byte of the title".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Cli, seed_range};

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_and_command_has_a_help_text() {
        let mut commands = vec![Cli::command()];
        while let Some(command) = commands.pop() {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            for argument in command.get_arguments() {
                let named = argument.get_help().is_some() || argument.get_id() == "help";
                assert!(named, "{} {} has no help", command.get_name(), argument.get_id());
            }
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn seed_ranges_include_both_ends() {
        assert_eq!(seed_range("1..20"), Ok((1, 20)));
        assert_eq!(seed_range("7..=7"), Ok((7, 7)));
        for text in ["", "1", "5..1", "a..b", "1..", "-1..2"] {
            assert!(seed_range(text).is_err(), "{text}");
        }
    }
}
