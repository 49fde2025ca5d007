//! Settings that all peers share, and where they come from: flags, then `SHOAL_...` in the environment, then the
//! settings file, then the defaults written here.
//!
//! [`Common`] is at once the flags of the command line and the content of the settings file, so the two cannot differ.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use clap::builder::BoolishValueParser;
use etcetera::{AppStrategy, AppStrategyArgs, choose_app_strategy};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::error::Error;
use crate::units::{Bytes, NumberOrText};

/// Flags that every peer understands. Keys of the settings file are the flags without their dashes in front.
#[derive(Args, Deserialize, Clone, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Folder for what is remembered between runs; one process at a time [default: the platform's data folder]
    #[arg(long, value_name = "DIR", env = "SHOAL_STATE", hide_env_values = true)]
    pub(crate) state: Option<PathBuf>,
    /// Settings file, TOML: flags as keys, e.g. up-limit = "2MiB" [default: settings.toml in the platform's
    /// configuration folder]
    #[arg(long, value_name = "FILE", env = "SHOAL_SETTINGS", hide_env_values = true)]
    #[serde(skip)]
    pub(crate) settings: Option<PathBuf>,
    /// Address to listen on for peers; port 0 lets the system choose [default: 0.0.0.0:0]
    #[arg(long, value_name = "ADDR", env = "SHOAL_LISTEN", hide_env_values = true)]
    pub(crate) listen: Option<SocketAddr>,
    /// Address for players, page and API; port 0 lets the system choose, `off` for none [default: 127.0.0.1:0 for
    /// watch and publish, off for get and seed]
    #[arg(long, value_name = "ADDR", env = "SHOAL_HTTP", hide_env_values = true)]
    pub(crate) http: Option<OptionalAddr>,
    /// Address for players that speak RTSP; port 0 lets the system choose, `off` for none. Elsewhere than at a loopback address they
    /// are asked for a password, which stands in the address that is printed [default: 127.0.0.1:0 where players are served]
    #[arg(long, value_name = "ADDR", env = "SHOAL_RTSP", hide_env_values = true)]
    pub(crate) rtsp: Option<OptionalAddr>,
    /// Peer to try; may be repeated
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "SHOAL_PEER",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) peer: Vec<String>,
    /// Tracker to announce to, http(s):// or udp://; may be repeated. `publish` writes them into the torrent
    #[arg(
        long,
        value_name = "URL",
        env = "SHOAL_TRACKER",
        hide_env_values = true,
        value_delimiter = ','
    )]
    pub(crate) tracker: Vec<String>,
    /// Limit on film bytes sent, bytes/s [default: none]
    #[arg(long, value_name = "RATE", env = "SHOAL_UP_LIMIT", hide_env_values = true)]
    pub(crate) up_limit: Option<Bytes>,
    /// Limit on film bytes received, bytes/s [default: none]
    #[arg(long, value_name = "RATE", env = "SHOAL_DOWN_LIMIT", hide_env_values = true)]
    pub(crate) down_limit: Option<Bytes>,
    /// Memory for film bytes that are not verified and written yet; at least 4MiB [default: 24MiB]
    #[arg(long, value_name = "SIZE", env = "SHOAL_CACHE", hide_env_values = true)]
    pub(crate) cache: Option<Bytes>,
    /// Disk space for films that are watched, kept from one to the next under --state; `none` for no limit, else at least 16MiB.
    /// Only `watch` without --output uses it [default: 20GB, but at most a tenth of the disk's free space]
    #[arg(long, value_name = "SIZE", env = "SHOAL_CACHE_SIZE", hide_env_values = true)]
    pub(crate) cache_size: Option<CacheSize>,
    /// Do not take part in the distributed hash table (this version has none)
    #[arg(long, env = "SHOAL_NO_DHT", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) no_dht: Option<bool>,
    /// Do not look for peers in the local network (BEP 14)
    #[arg(long, env = "SHOAL_NO_LSD", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) no_lsd: Option<bool>,
    /// Do not exchange addresses with peers (BEP 11)
    #[arg(long, env = "SHOAL_NO_PEX", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) no_pex: Option<bool>,
    /// Do not ask the router for a port (this version never does)
    #[arg(long, env = "SHOAL_NO_UPNP", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) no_upnp: Option<bool>,
    /// Write everything that reaches the protocol core to this file, for `shoal sim replay-record`
    #[arg(long, value_name = "FILE", env = "SHOAL_RECORD", hide_env_values = true)]
    pub(crate) record: Option<PathBuf>,
    /// Print events as JSON, one object per line on stdout
    #[arg(long, env = "SHOAL_JSON", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) json: Option<bool>,
    /// Say more on stderr; twice for even more. SHOAL_VERBOSE=1 and `verbose = 1` in the settings file are the same
    #[arg(short, long, action = clap::ArgAction::Count, env = "SHOAL_VERBOSE", hide_env_values = true)]
    pub(crate) verbose: u8,
}

/// How a command talks: all that those have in common which are no peers with a state folder.
#[derive(Args, Clone, PartialEq, Eq, Debug, Default)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Voice {
    /// Settings file, TOML; of it `json` and `verbose` matter here [default: settings.toml in the platform's
    /// configuration folder]
    #[arg(long, value_name = "FILE", env = "SHOAL_SETTINGS", hide_env_values = true)]
    pub(crate) settings: Option<PathBuf>,
    /// Print events as JSON, one object per line on stdout
    #[arg(long, env = "SHOAL_JSON", hide_env_values = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = BoolishValueParser::new())]
    pub(crate) json: Option<bool>,
    /// Say more on stderr. SHOAL_VERBOSE=1 and `verbose = 1` in the settings file are the same
    #[arg(short, long, action = clap::ArgAction::Count, env = "SHOAL_VERBOSE", hide_env_values = true)]
    pub(crate) verbose: u8,
}

impl Voice {
    /// These flags with the gaps filled from the settings file.
    pub(crate) fn with_file(self) -> Result<Self, Error> {
        let Self { settings, json, verbose } = self;
        let Common { settings, json, verbose, .. } =
            Common { settings, json, verbose, ..Common::default() }.with_file()?;
        Ok(Self { settings, json, verbose })
    }
    /// Whether events are printed for programs.
    pub(crate) fn wants_json(&self) -> bool {
        self.json == Some(true)
    }
}

impl Common {
    /// These flags with the gaps filled from the settings file.
    pub(crate) fn with_file(self) -> Result<Self, Error> {
        let (path, named) = match &self.settings {
            Some(path) => (path.clone(), true),
            None => match folders().map(|folders| folders.in_config_dir("settings.toml")) {
                Some(path) => (path, false),
                None => return Ok(self),
            },
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
                return Ok(self);
            }
            Err(error) => {
                return Err(Error::new(format!(
                    "the settings file {} cannot be read ({error}); name another with --settings",
                    path.display()
                )));
            }
        };
        Ok(self.or(parse(&text, &path)?))
    }

    fn or(self, file: Self) -> Self {
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        Self {
            state: self.state.or(file.state),
            settings: self.settings,
            listen: self.listen.or(file.listen),
            http: self.http.or(file.http),
            rtsp: self.rtsp.or(file.rtsp),
            peer: list(self.peer, file.peer),
            tracker: list(self.tracker, file.tracker),
            up_limit: self.up_limit.or(file.up_limit),
            down_limit: self.down_limit.or(file.down_limit),
            cache: self.cache.or(file.cache),
            cache_size: self.cache_size.or(file.cache_size),
            no_dht: self.no_dht.or(file.no_dht),
            no_lsd: self.no_lsd.or(file.no_lsd),
            no_pex: self.no_pex.or(file.no_pex),
            no_upnp: self.no_upnp.or(file.no_upnp),
            record: self.record.or(file.record),
            json: self.json.or(file.json),
            verbose: if self.verbose > 0 { self.verbose } else { file.verbose },
        }
    }

    /// The state folder.
    pub(crate) fn state_dir(&self) -> Result<PathBuf, Error> {
        self.state.clone().or_else(|| folders().map(|folders| folders.data_dir())).ok_or_else(
            || Error::new("there is no home folder to keep state in; name one with --state DIR"),
        )
    }

    /// Where to serve players that speak RTSP: what was asked, else loopback when other players are served.
    pub(crate) fn rtsp_addr(&self, on: bool) -> Option<SocketAddr> {
        let local = || SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        match (self.http_addr(on), self.rtsp) {
            (None, _) => None,
            (Some(_), Some(OptionalAddr(asked))) => asked,
            (Some(_), None) => Some(local()),
        }
    }

    /// Where to listen for peers.
    pub(crate) fn listen_addr(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    /// Where to serve players: what was asked, else loopback when `on` is the command's default.
    pub(crate) fn http_addr(&self, on: bool) -> Option<SocketAddr> {
        match self.http {
            Some(OptionalAddr(asked)) => asked,
            None => on.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
        }
    }

    /// Whether events are printed for programs.
    pub(crate) fn wants_json(&self) -> bool {
        self.json == Some(true)
    }
}

/// Least disk space for watched films: a few pieces of ordinary size for each of some players.
const CACHE_SIZE_MIN: u64 = 16 << 20;

/// Disk space, or no limit where the user said `none`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CacheSize(pub(crate) Option<u64>);

impl FromStr for CacheSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(None));
        }
        match text.parse::<Bytes>()?.0 {
            size if size >= CACHE_SIZE_MIN => Ok(Self(Some(size))),
            _ => Err(format!(
                "`{text}` is too small to play a film from; give at least 16MiB, or `none` for no limit"
            )),
        }
    }
}

impl<'de> Deserialize<'de> for CacheSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match NumberOrText::deserialize(from)? {
            NumberOrText::Number(bytes) => bytes.to_string(),
            NumberOrText::Text(text) => text,
        }
        .parse()
        .map_err(D::Error::custom)
    }
}

/// An address, or none where the user said `off`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OptionalAddr(pub(crate) Option<SocketAddr>);

impl FromStr for OptionalAddr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let wrong = |_| format!("`{text}` is no address; write 127.0.0.1:8080, or off");
        text.parse().map(|address| Self(Some(address))).map_err(wrong)
    }
}

impl<'de> Deserialize<'de> for OptionalAddr {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// The platform's folders for this program.
fn folders() -> Option<impl AppStrategy> {
    choose_app_strategy(AppStrategyArgs {
        top_level_domain: String::new(),
        author: String::new(),
        app_name: "shoal".to_owned(),
    })
    .ok()
}

fn parse(text: &str, path: &Path) -> Result<Common, Error> {
    toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::new(format!("{}, line {line}: {}", path.display(), error.message()))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Common, OptionalAddr, parse};
    use crate::units::Bytes;

    #[test]
    fn a_flag_wins_over_the_file_and_gaps_are_filled() {
        let text = "up-limit = \"2MiB\"\ndown-limit = 5000\nno-lsd = true\npeer = [\"a:1\"]\nverbose = 1\n";
        let file = parse(text, Path::new("s")).expect("valid settings");
        let flags = Common { up_limit: Some(Bytes(7)), no_lsd: Some(false), ..Common::default() };
        let merged = flags.or(file);
        assert_eq!(merged.up_limit, Some(Bytes(7)));
        assert_eq!(merged.down_limit, Some(Bytes(5000)));
        assert_eq!(merged.no_lsd, Some(false));
        assert_eq!(merged.peer, ["a:1"]);
        assert_eq!(merged.verbose, 1);
    }

    #[test]
    fn a_misspelt_key_is_named_with_its_line() {
        let error =
            parse("json = true\nuplimit = 3\n", Path::new("x.toml")).expect_err("unknown key");
        let text = error.to_string();
        assert!(text.contains("x.toml, line 2") && text.contains("uplimit"), "{text}");
    }

    #[test]
    fn a_size_of_the_cache_is_a_size_or_none_and_nonsense_is_named() {
        let size = |text: &str| text.parse::<super::CacheSize>();
        assert_eq!(size("none").map(|size| size.0), Ok(None));
        assert_eq!(size("2GiB").map(|size| size.0), Ok(Some(2 << 30)));
        for nonsense in ["0", "1MiB", "15.9MiB", "-5", "much", "", "5 bananas", "1e300"] {
            let sentence = size(nonsense).expect_err(nonsense);
            assert!(sentence.contains("16MiB") || sentence.contains("MiB"), "{sentence}");
        }
        let file = |text: &str| parse(text, Path::new("s.toml"));
        let read = file("cache-size = \"none\"").expect("valid").cache_size;
        assert_eq!(read, Some(super::CacheSize(None)));
        let read = file("cache-size = 20000000").expect("valid").cache_size;
        assert_eq!(read, Some(super::CacheSize(Some(20_000_000))));
        let error = file("cache-size = 5").expect_err("too small").to_string();
        assert!(error.contains("s.toml, line 1") && error.contains("at least 16MiB"), "{error}");
    }

    #[test]
    fn a_title_is_served_to_players_on_loopback_unless_told() {
        let http = |text: Option<&str>, on| {
            let http = text.map(|text| text.parse().expect("an address or off"));
            Common { http, ..Common::default() }.http_addr(on)
        };
        assert!(http(None, true).is_some_and(|addr| addr.ip().is_loopback()));
        assert_eq!(http(None, false), None);
        assert_eq!(http(Some("off"), true), None);
        assert!("nowhere".parse::<OptionalAddr>().is_err());
    }
}
