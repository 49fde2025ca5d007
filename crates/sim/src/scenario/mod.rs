//! Scenario files: what a world is made of and what happens in it, as TOML with a default for everything.
//!
//! Every key is documented at its field. Unknown keys are refused with their line and the keys that exist; impossible
//! scenarios are refused before they run. Rates are bytes/s unless the name says bits, times seconds or milliseconds as
//! the name says.

mod builtin;
mod validate;

use serde::{Deserialize, Serialize};

pub use builtin::{BUILTIN, builtin};
use validate::{Fault, line_of};

use crate::content::Format;
use crate::fluid;

/// A scenario.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// One sentence for `sim list`.
    pub about: String,
    /// Policy used unless another is asked for: a name from `policy::POLICIES`.
    pub policy: String,
    /// Policy of the ordinary peers, which then are foreign clients: they do not speak Shoal's extension. Empty makes them like
    /// everybody else.
    pub foreign: String,
    /// The same for seeds: they get no due times and serve what they are asked for in the order in which it was asked.
    pub foreign_seeds: String,
    /// Virtual seconds after which the run ends in any case.
    pub limit_s: f64,
    /// What ends the run earlier: `complete` (every ordinary peer holds everything), `play` (every viewer has seen the
    /// end), `both`, or `limit` (nothing).
    pub finish: Finish,
    /// Ordinary peers: they begin with nothing.
    pub peers: u32,
    /// How many of the peers play the film, the first ones; the others only fetch it whole.
    pub viewers: u32,
    /// The title, or each of them.
    pub film: Film,
    /// How many titles there are, and who watches which.
    pub catalogue: Titles,
    /// The publisher: holds everything, parent of last resort.
    pub server: Hosts,
    /// Hosts that hold everything and are no publisher.
    pub seeds: Hosts,
    /// Hosts that hold a random half of the pieces each, and want nothing more.
    pub halves: Hosts,
    /// Uplinks of the peers.
    pub upload: Rate,
    /// Downlinks of the peers.
    pub download: Rate,
    /// Delays and losses.
    pub network: Net,
    /// How peers find each other.
    pub lookup: Lookup,
    /// What a peer holds when it starts.
    pub link: Link,
    /// When peers come.
    pub arrival: Arrival,
    /// What viewers do.
    pub play: Play,
    /// Limits of every node.
    pub node: NodeLimits,
    /// Disks and processors.
    pub disk: Disks,
    /// What goes wrong.
    pub faults: FaultSet,
}

/// When a run ends before its limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finish {
    /// Every ordinary peer holds everything.
    Complete,
    /// Every viewer has seen the end.
    Play,
    /// Both.
    Both,
    /// Nothing but the limit.
    Limit,
}

/// The title.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Film {
    /// Mean rate, bit/s.
    pub rate_bit_per_s: u64,
    /// Length in seconds.
    pub duration_s: f64,
    /// Length in bytes; 0 derives it from rate and duration.
    pub length_bytes: u64,
    /// Bytes at the front that a player needs first.
    pub head_bytes: u64,
    /// Seconds between key frames.
    pub gop_s: f64,
    /// Rate of single seconds varies by up to this share around the mean, in percent; 0 is constant rate.
    pub variation_percent: u32,
    /// Bytes in a piece: a power of two.
    pub piece_bytes: u32,
    /// Hashes: `v1`, `v2` or `hybrid`.
    pub format: Format,
    /// Length of a virtual time slot, seconds.
    pub slot_s: f64,
}

/// How many titles there are, alike in all but their names, and who watches which.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Titles {
    /// How many. Servers and seeds hold all of them, halves a half of each; every peer picks one when it comes.
    pub titles: u32,
    /// The n-th title is picked with a weight of n to the power of minus this (Zipf); 0 makes all alike.
    pub exponent: f64,
    /// How often a viewer turns to another title at most, one that it has not watched. It keeps the others and serves them.
    pub changes: u32,
    /// Seconds after which it does, median (log-normal); at the end of the film at the latest.
    pub change_after_s: f64,
}

/// A class of hosts that serve.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Hosts {
    /// How many.
    pub count: u32,
    /// Uplink of each, bytes/s.
    pub up_bytes_per_s: u64,
    /// Downlink of each, bytes/s.
    pub down_bytes_per_s: u64,
}

/// Rates of the peers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rate {
    /// Mean, bytes/s; ignored when `factor` is given.
    pub bytes_per_s: u64,
    /// Mean as a multiple of the film's rate; 0 uses `bytes_per_s`.
    pub factor: f64,
    /// Classes as multiples of the mean, dealt out in turn; empty is `[1.0]`.
    pub mix: Vec<f64>,
}

/// Kinds of delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DelayKind {
    /// The same between all pairs.
    Constant,
    /// Hosts lie on a plane; delay is distance.
    Plane,
    /// Like the round trips between PlanetLab's hosts (median 135 ms, 5 % below 19, 1 % above 413), by an embedded model.
    Planetlab,
    /// A table given with `--rtt FILE`.
    File,
}

/// Delays and losses.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Net {
    /// Where round trips come from: `constant`, `plane`, `planetlab` or `file`.
    pub kind: DelayKind,
    /// Round trip, milliseconds: of all pairs (`constant`), of close neighbours (`plane`).
    pub rtt_ms: f64,
    /// Side of the plane as a round trip, milliseconds.
    pub plane_ms: f64,
    /// Extra delay drawn per chunk, up to this, milliseconds.
    pub jitter_ms: f64,
    /// Segments and datagrams lost, percent.
    pub loss_percent: f64,
    /// Bytes that a socket takes beyond what has left it.
    pub send_queue_bytes: u32,
}

/// How peers find each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Find {
    /// Each is given addresses of hosts that are there when it comes.
    Given,
    /// By a directory (UDP tracker) at the server's host.
    Directory,
}

/// How peers find each other.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lookup {
    /// `given` or `directory`.
    pub find: Find,
    /// Addresses given to each peer at most.
    pub given_max: u32,
}

/// Forms of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// The torrent file is at hand.
    Torrent,
    /// Only the names of the title: metadata comes from peers.
    Magnet,
}

/// What a peer holds when it starts.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Link {
    /// `torrent` or `magnet`.
    pub form: Form,
}

/// Patterns of arrival.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// All at `start_s`.
    Together,
    /// Evenly drawn over `over_s`.
    Uniform,
    /// A Poisson process with as many arrivals over `over_s` on average.
    Poisson,
}

/// When peers come.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Arrival {
    /// `together`, `uniform` or `poisson`.
    pub pattern: Pattern,
    /// First arrival, seconds: servers and seeds come at 0.
    pub start_s: f64,
    /// Time over which they come, seconds.
    pub over_s: f64,
}

/// Where jumps go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JumpTo {
    /// To a place of which the viewer holds nothing for the next two seconds of film.
    Unfetched,
    /// Anywhere.
    Anywhere,
}

/// What is fetched without being needed for the picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rest {
    /// The rest of the film, after what is needed first.
    Everything,
    /// Nothing.
    Nothing,
}

/// How viewers watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// All jump at the same times after their arrival, to where `jump_to` says.
    Timed,
    /// Each looks at two to `jumps + 1` places, at each for a while of its own, before it settles: 70 % of its jumps go
    /// forward, 20 % to one of ten places that many seek. `jump_to` is not used.
    Browse,
}

/// What viewers do.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Play {
    /// Film that must be there before the first frame is shown, milliseconds.
    pub preroll_ms: u64,
    /// So much may be kept on a viewer's disk of all titles that it watches together, percent of one film; 0 is no limit.
    pub cache_percent: u32,
    /// `everything` or `nothing` of the film is fetched beyond what is needed next; policies that know no windows fetch
    /// everything.
    pub rest: Rest,
    /// `timed` or `browse`.
    pub manner: Manner,
    /// Jumps of each viewer; of a browser at most.
    pub jumps: u32,
    /// Seconds from asking to play to the first jump; for a browser to the beginning of its first view.
    pub jump_first_s: f64,
    /// Seconds between jumps; for a browser the median length of its views.
    pub jump_every_s: f64,
    /// Where they go: `unfetched` or `anywhere`.
    pub jump_to: JumpTo,
    /// Seconds after which a viewer that has seen nothing yet leaves; 0 is never.
    pub give_up_s: f64,
    /// Scale of the sessions, seconds: with a shape of 1 their mean. A viewer leaves when its session is over. 0 lets all
    /// stay until the run ends.
    pub session_s: f64,
    /// Shape of the sessions' Weibull distribution; below 1 many are short and some very long.
    pub session_shape: f64,
}

/// Limits of every node.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeLimits {
    /// Connections of a title; 0 leaves the node's own limit.
    pub links_max: u32,
    /// Connections after which nobody more is dialed; 0 leaves the node's own number.
    pub links_wanted: u32,
    /// Peers of a title from which on viewers look for each other by virtual time slots; 0 leaves the node's own number.
    pub slots_from: u32,
    /// Unchoke slots; 0 leaves the policy's number. Of the foreign clients alone, where there are any.
    pub upload_slots: u32,
    /// Seconds of a peer's rate that may be asked of it in bulk; 0 leaves the policy's number.
    pub queue_s: f64,
}

/// Disks and processors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Disks {
    /// Time before a disk job begins, milliseconds.
    pub access_ms: f64,
    /// Bytes/s read and written.
    pub bytes_per_s: u64,
    /// Bytes/s hashed.
    pub hash_bytes_per_s: u64,
}

/// What goes wrong. Numbers are shares of the ordinary peers in percent unless they say otherwise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FaultSet {
    /// Each seed draws which of the faults below it turns on, each with one chance in two.
    pub draw: bool,
    /// Second from which things go wrong.
    pub from_s: f64,
    /// Second at which all is healed: nobody lies or leaves any more. Then everybody must finish.
    pub heal_s: f64,
    /// Everybody who is there at the end must have finished by the limit, or the run fails.
    pub must_finish: bool,
    /// Segments and datagrams lost meanwhile, percent.
    pub loss_percent: f64,
    /// Peers that leave and come back, each once.
    pub churn_percent: u32,
    /// Peers that vanish without a word and come back at healing.
    pub crash_percent: u32,
    /// Seconds for which the hosts are parted into two random groups.
    pub partition_s: f64,
    /// Peers whose disk is fifty times slower.
    pub slow_disk_percent: u32,
    /// Peers whose disk is full meanwhile.
    pub full_disk_percent: u32,
    /// Seeds and halves (their share) that send corrupted blocks: every tenth.
    pub corrupt_percent: u32,
    /// Peers that claim to hold everything.
    pub liar_percent: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            name: String::new(),
            about: String::new(),
            policy: "shoal".into(),
            foreign: String::new(),
            foreign_seeds: String::new(),
            limit_s: 600.0,
            finish: Finish::Both,
            peers: 1,
            viewers: 0,
            film: Film::default(),
            catalogue: Titles::default(),
            server: Hosts { count: 1, ..Hosts::default() },
            seeds: Hosts::default(),
            halves: Hosts::default(),
            upload: Rate { bytes_per_s: 1_000_000, ..Rate::default() },
            download: Rate { bytes_per_s: 12_500_000, ..Rate::default() },
            network: Net::default(),
            lookup: Lookup { find: Find::Given, given_max: 80 },
            link: Link { form: Form::Torrent },
            arrival: Arrival { pattern: Pattern::Together, start_s: 1.0, over_s: 60.0 },
            play: Play::default(),
            node: NodeLimits {
                links_max: 0,
                links_wanted: 0,
                slots_from: 0,
                upload_slots: 0,
                queue_s: 0.0,
            },
            disk: Disks {
                access_ms: 0.1,
                bytes_per_s: 500_000_000,
                hash_bytes_per_s: 1_000_000_000,
            },
            faults: FaultSet::default(),
        }
    }
}

impl Default for Film {
    fn default() -> Self {
        Self {
            rate_bit_per_s: 2_000_000,
            duration_s: 60.0,
            length_bytes: 0,
            head_bytes: 32 * 1024,
            gop_s: 2.0,
            variation_percent: 0,
            piece_bytes: 256 * 1024,
            format: Format::Hybrid,
            slot_s: 180.0,
        }
    }
}

impl Default for Titles {
    fn default() -> Self {
        Self { titles: 1, exponent: 0.8, changes: 0, change_after_s: 600.0 }
    }
}

impl Default for Hosts {
    fn default() -> Self {
        Self { count: 0, up_bytes_per_s: 1_000_000, down_bytes_per_s: 12_500_000 }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Self { bytes_per_s: 1_000_000, factor: 0.0, mix: Vec::new() }
    }
}

impl Default for Net {
    fn default() -> Self {
        Self {
            kind: DelayKind::Constant,
            rtt_ms: 40.0,
            plane_ms: 150.0,
            jitter_ms: 0.0,
            loss_percent: 0.0,
            send_queue_bytes: 64 * 1024,
        }
    }
}

impl Default for Lookup {
    fn default() -> Self {
        Self { find: Find::Given, given_max: 80 }
    }
}
impl Default for Link {
    fn default() -> Self {
        Self { form: Form::Torrent }
    }
}
impl Default for Arrival {
    fn default() -> Self {
        Scenario::default().arrival
    }
}
impl Default for NodeLimits {
    fn default() -> Self {
        Scenario::default().node
    }
}
impl Default for Disks {
    fn default() -> Self {
        Scenario::default().disk
    }
}

impl Default for Play {
    fn default() -> Self {
        Self {
            preroll_ms: 1000,
            cache_percent: 0,
            rest: Rest::Everything,
            manner: Manner::Timed,
            jumps: 0,
            jump_first_s: 10.0,
            jump_every_s: 10.0,
            jump_to: JumpTo::Unfetched,
            give_up_s: 0.0,
            session_s: 0.0,
            session_shape: 0.5,
        }
    }
}

impl Default for FaultSet {
    fn default() -> Self {
        Self {
            draw: false,
            from_s: 2.0,
            heal_s: 40.0,
            must_finish: false,
            loss_percent: 0.0,
            churn_percent: 0,
            crash_percent: 0,
            partition_s: 0.0,
            slow_disk_percent: 0,
            full_disk_percent: 0,
            corrupt_percent: 0,
            liar_percent: 0,
        }
    }
}

impl Scenario {
    /// Reads a scenario, with overrides `key=value` (keys dotted, values as in TOML; a value that is no TOML is taken as
    /// text).
    ///
    /// # Errors
    /// A sentence that names the line and the key, or the rule that the scenario breaks.
    pub fn parse(text: &str, overrides: &[String]) -> Result<Self, String> {
        // Read once as it stands, so that errors carry lines.
        let plain: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        let scenario = if overrides.is_empty() { plain } else { overridden(text, overrides)? };
        scenario.validate().map_err(|Fault { key, what }| {
            let set = |item: &String| item.split('=').next().is_some_and(|name| name.trim() == key);
            match line_of(text, &key) {
                _ if overrides.iter().any(set) => format!("--set {key}: {what}"),
                Some(line) => format!("line {line}, `{key}`: {what}"),
                None => format!("`{key}`: {what}"),
            }
        })?;
        Ok(scenario)
    }
    /// Virtual seconds that a run is expected to take: exact where only its limit ends it, a guess otherwise.
    #[must_use]
    pub fn expected_s(&self) -> f64 {
        let over =
            if self.arrival.pattern == Pattern::Together { 0.0 } else { self.arrival.over_s };
        let come = self.arrival.start_s + over;
        let played = come + self.film.duration_s;
        let fetched = fluid::links(self, self.peers).map_or(0.0, |all| come + all.peer_to_peer_s());
        let likely = match self.finish {
            Finish::Limit => self.limit_s,
            Finish::Play => played,
            Finish::Complete => fetched,
            Finish::Both if self.viewers > 0 => played.max(fetched),
            Finish::Both => fetched,
        };
        likely.min(self.limit_s)
    }
    /// Length of the film's file, bytes.
    #[must_use]
    pub fn film_length(&self) -> u64 {
        if self.film.length_bytes > 0 {
            return self.film.length_bytes;
        }
        (self.film.rate_bit_per_s as f64 / 8.0 * self.film.duration_s) as u64 + self.film.head_bytes
    }
    /// Rate of peer number `index`, bytes/s.
    #[must_use]
    pub fn rate_of(&self, rate: &Rate, index: u32) -> u64 {
        let mean = if rate.factor > 0.0 {
            self.film.rate_bit_per_s as f64 / 8.0 * rate.factor
        } else {
            rate.bytes_per_s as f64
        };
        let share = if rate.mix.is_empty() {
            1.0
        } else {
            // Scaled so that the mean over the classes is the mean asked for.
            let sum: f64 = rate.mix.iter().sum();
            rate.mix[index as usize % rate.mix.len()] * rate.mix.len() as f64 / sum
        };
        (mean * share) as u64
    }
}

/// A scenario with some keys changed.
fn overridden(text: &str, overrides: &[String]) -> Result<Scenario, String> {
    let mut table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
    for item in overrides {
        let (key, value) =
            item.split_once('=').ok_or_else(|| format!("`{item}` is not of the form KEY=VALUE"))?;
        set(&mut table, key.trim(), value.trim())?;
    }
    table
        .try_into()
        .map_err(|error: toml::de::Error| format!("after --set: {}", error.to_string().trim()))
}

/// Puts a value into a table by a dotted key. Integers are taken for floats and back by the reader.
fn set(table: &mut toml::Table, key: &str, value: &str) -> Result<(), String> {
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().filter(|last| !last.is_empty()).ok_or("an empty key cannot be set")?;
    let mut place = table;
    for part in parts {
        place = place
            .entry(part)
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| format!("`{key}`: `{part}` is a value, not a table"))?;
    }
    let parsed = toml::from_str::<toml::Table>(&format!("v = {value}"))
        .ok()
        .and_then(|mut table| table.remove("v"))
        .unwrap_or_else(|| toml::Value::String(value.to_owned()));
    place.insert(last.to_owned(), parsed);
    Ok(())
}
