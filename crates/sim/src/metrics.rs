//! The figures of a run, per peer and per seed, as the project defines them.
//!
//! Times of what never happened are infinite: an abandoned start is no fast start. Floats are used here, after the run.

use serde_json::{Map, Value};

use crate::firsts::firsts;
use crate::fluid::Links;
use crate::network::{Interface, Rates, host_of};
use crate::scenario::Finish;
use crate::stage::{Marks, Role, Stage};

/// Figures of one peer of one seed. `None` where a figure has no meaning for it.
#[derive(Clone, Debug)]
pub struct PeerRow {
    /// Seed.
    pub seed: u64,
    /// Host number.
    pub host: u32,
    /// What it is.
    pub role: Role,
    /// Named values, in the order of the columns.
    pub values: Vec<(&'static str, Option<f64>)>,
    /// Every seek, milliseconds.
    pub seeks_ms: Vec<f64>,
    /// Time to the first frame of each title after the first, milliseconds.
    pub later_startups_ms: Vec<f64>,
}

/// Figures of one title of one seed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TitleRow {
    /// Peers that watched or fetched it.
    pub peers: u32,
    /// Film bytes of it that servers sent.
    pub server_bytes: f64,
    /// Film bytes of it that viewers played, or that fetchers hold whole.
    pub wanted_bytes: f64,
}

/// Figures of one seed.
#[derive(Clone, Debug)]
pub struct SeedRow {
    /// Seed.
    pub seed: u64,
    /// Trace hash.
    pub trace: String,
    /// Rules broken, as sentences.
    pub violations: Vec<String>,
    /// Last turns before the first broken rule, and the faults of the run.
    pub story: String,
    /// Named values of the run as a whole.
    pub values: Vec<(&'static str, Option<f64>)>,
    /// Its peers.
    pub peers: Vec<PeerRow>,
    /// Its titles, in the order of their popularity.
    pub titles: Vec<TitleRow>,
    /// Film bytes that servers sent in each stretch of [`crate::stage::SERIES_NS`].
    pub server_film: Vec<u64>,
}

/// Names of the figures that are of a peer.
pub const PEER_METRICS: &[&str] = &[
    "startup_ms",
    "startup_over_floor",
    "startup_floor_ms",
    "stalls",
    "stalled_ms",
    "stall_ratio",
    "continuity",
    "data_efficiency",
    "wire_efficiency",
    "waste",
    "complete_ms",
    "sent_bytes",
    "received_bytes",
    "useful_bytes",
    "duplicate_bytes",
    "wasted_bytes",
    "from_server_bytes",
    "prediction_error",
];
/// Names of the figures that are of a run.
pub const RUN_METRICS: &[&str] = &[
    "server_copies",
    "server_copies_least",
    "server_streams_least",
    "offload",
    "control_overhead",
    "distribution_ratio",
    "wall_ms",
    "messages",
    "turns",
    "virtual_ms",
    "peak_bytes",
];

struct Sums {
    film_out: u64,
    control_out: u64,
    server_film: u64,
    server_wire: u64,
}

/// Reads the figures off a stage whose run is over. `cost` is wall time in ms and bytes at peak.
#[must_use]
pub fn read(stage: &Stage, seed: u64, cost: (Option<f64>, Option<f64>)) -> SeedRow {
    let world = &stage.world;
    let mut sums = Sums { film_out: 0, control_out: 0, server_film: 0, server_wire: 0 };
    for (host, marks) in stage.marks.iter().enumerate() {
        let interface = world.network.interface(host as u32);
        sums.film_out += interface.film_out;
        sums.control_out += interface.control_out;
        if marks.role == Role::Server {
            sums.server_film += interface.film_out;
            sums.server_wire += interface.wire_out;
        }
    }
    let peers: Vec<PeerRow> = stage
        .marks
        .iter()
        .enumerate()
        .filter(|(_, marks)| marks.came && matches!(marks.role, Role::Viewer | Role::Fetcher))
        .map(|(host, marks)| peer_row(stage, seed, host as u32, marks))
        .collect();
    let length = stage.scenario.film_length() as f64;
    let served = sums.server_film as f64;
    let has_server = stage.scenario.server.count > 0;
    // Who holds film that he does not play could give it as well.
    let is_watched =
        stage.marks.iter().all(|marks| matches!(marks.role, Role::Server | Role::Viewer));
    let firsts = is_watched.then(|| firsts(stage.marks.iter(), world.now()));
    let titles = title_rows(stage);
    let wanted: f64 = titles.iter().map(|title| title.wanted_bytes).sum();
    let values = vec![
        ("server_copies", has_server.then_some(served / length)),
        (
            "server_copies_least",
            firsts.map(|firsts| firsts.film_s / stage.scenario.film.duration_s),
        ),
        ("server_streams_least", firsts.map(|firsts| firsts.peak)),
        ("offload", (has_server && wanted > 0.0).then_some(1.0 - served / wanted)),
        ("control_overhead", ratio(sums.control_out as f64, sums.film_out as f64)),
        ("distribution_ratio", distribution_ratio(stage)),
        ("wall_ms", cost.0),
        ("messages", Some(world.messages() as f64)),
        ("turns", Some(world.trace.turns() as f64)),
        ("virtual_ms", Some(world.now() as f64 / 1e6)),
        ("peak_bytes", cost.1),
    ];
    let violations: Vec<String> =
        world.checks.violations().iter().map(ToString::to_string).collect();
    let story = if violations.is_empty() {
        String::new()
    } else {
        format!("faults:\n{}last turns:\n{}", stage.plan, world.trace.last_turns(40))
    };
    let trace = world.trace.digest().to_string();
    let server_film = stage.server_film.clone();
    SeedRow { seed, trace, violations, story, values, peers, titles, server_film }
}

fn ratio(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

/// What became of each title.
fn title_rows(stage: &Stage) -> Vec<TitleRow> {
    let length = stage.scenario.film_length() as f64;
    let duration_ms = (stage.scenario.film.duration_s * 1000.0).max(1.0);
    let now = stage.world.now();
    let none = TitleRow { peers: 0, server_bytes: 0.0, wanted_bytes: 0.0 };
    let mut rows = vec![none; stage.catalogue.count() as usize];
    for (host, marks) in stage.marks.iter().enumerate().filter(|(_, marks)| marks.came) {
        if marks.role == Role::Server {
            let sent = &stage.world.seat(host as u32).film_out;
            rows.iter_mut().zip(sent).for_each(|(row, &bytes)| row.server_bytes += bytes as f64);
        }
        if !matches!(marks.role, Role::Viewer | Role::Fetcher) {
            continue;
        }
        for &title in &marks.titles {
            let share = match marks.role {
                Role::Viewer => (marks.played_ms(Some(title), now) / duration_ms).min(1.0),
                _ => f64::from(marks.complete_ns.is_some()),
            };
            let row = &mut rows[title.0 as usize];
            row.peers += 1;
            row.wanted_bytes += length * share;
        }
    }
    rows
}

fn peer_row(stage: &Stage, seed: u64, host: u32, marks: &Marks) -> PeerRow {
    let interface = stage.world.network.interface(host);
    let here = stage.world.seat(host).actor().map(|actor| actor.counters());
    let counters = here.unwrap_or(&marks.counters);
    let sum = |pick: fn(&shoal_node::stats::Counters) -> u64| {
        counters.iter().map(pick).sum::<u64>() as f64
    };
    let (received, useful) = (sum(|count| count.received), sum(|count| count.useful));
    let mut values: Vec<(&'static str, Option<f64>)> = Vec::with_capacity(PEER_METRICS.len());
    if marks.role == Role::Viewer {
        play_values(stage, host, marks, &mut values);
    } else {
        let names = ["startup_ms", "startup_over_floor", "startup_floor_ms", "stalls"];
        let more = ["stalled_ms", "stall_ratio", "continuity"];
        values.extend(names.iter().chain(&more).map(|&name| (name, None)));
    }
    let Interface { payload_in, wire_in, .. } = interface;
    let complete =
        marks.complete_ns.map_or(f64::INFINITY, |at| (at - marks.joined_ns) as f64 / 1e6);
    values.extend([
        ("data_efficiency", ratio(useful, payload_in as f64)),
        ("wire_efficiency", ratio(useful, wire_in as f64)),
        ("waste", ratio(sum(|count| count.duplicate), received)),
        ("complete_ms", Some(complete)),
        ("sent_bytes", Some(sum(|count| count.sent))),
        ("received_bytes", Some(received)),
        ("useful_bytes", Some(useful)),
        ("duplicate_bytes", Some(sum(|count| count.duplicate))),
        ("wasted_bytes", Some(sum(|count| count.wasted))),
        ("from_server_bytes", Some(sum(|count| count.from_server))),
        ("prediction_error", prediction_error(stage, host)),
    ]);
    let startups = marks.later_startups_ms.iter();
    PeerRow {
        seed,
        host,
        role: marks.role,
        values,
        seeks_ms: seeks(stage, marks),
        later_startups_ms: startups.map(|ms| ms.map_or(f64::INFINITY, |ms| ms as f64)).collect(),
    }
}

/// By which part of the true round trip its coordinates mistake that to a peer, the median of those it has at the end.
fn prediction_error(stage: &Stage, host: u32) -> Option<f64> {
    let views = stage.world.seat(host).actor()?.views();
    let mut errors: Vec<f64> = views
        .iter()
        .flat_map(|view| &view.peers)
        .filter_map(|peer| {
            let predicted = peer.predicted_us? as f64 * 1e3;
            let real = stage.world.network.round_trip_ns(host, host_of(peer.remote)?) as f64;
            Some((predicted - real).abs() / real.max(1.0))
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    errors.get(errors.len() / 2).copied()
}

/// All seeks; one that was asked for five seconds before the end or earlier and never landed is infinite, unless another
/// jump overtook it.
fn seeks(stage: &Stage, marks: &Marks) -> Vec<f64> {
    let mut seeks: Vec<f64> = marks.seeks_ms.iter().map(|&ms| ms as f64).collect();
    let now = marks.gone_ns.unwrap_or_else(|| stage.world.now());
    let asked = marks.jumps.last().copied();
    let open = marks
        .stretches
        .last()
        .and_then(|last| last.until_ns)
        .is_some_and(|until| asked.is_some_and(|at| at >= until));
    if open && marks.ended_ns.is_none() && asked.is_some_and(|at| now - at > 5_000_000_000) {
        seeks.push(f64::INFINITY);
    }
    seeks
}

fn play_values(
    stage: &Stage,
    host: u32,
    marks: &Marks,
    values: &mut Vec<(&'static str, Option<f64>)>,
) {
    let startup = marks.startup_ms.map_or(f64::INFINITY, |ms| ms as f64);
    let floor = startup_floor(stage, host, marks);
    let played = marks.played_ms(None, stage.world.now());
    // A pause that is not over is told only when it ends: an empty buffer under an unfinished film gives it away.
    let halted = marks.ended_ns.is_none()
        && marks.stretches.last().is_some_and(|last| last.until_ns.is_none())
        && stage.is_empty(host);
    let stalls = marks.stalls + u32::from(halted);
    let stalled = marks.stalled_ms as f64;
    values.extend([
        ("startup_ms", Some(startup)),
        ("startup_over_floor", floor.map(|floor| startup / floor)),
        ("startup_floor_ms", floor),
        ("stalls", Some(f64::from(stalls))),
        ("stalled_ms", Some(stalled)),
        ("stall_ratio", ratio(stalled, stalled + played)),
        ("continuity", continuity(stage, host, marks)),
    ]);
}

/// The least time in which this viewer could have started, given the parents it used.
fn startup_floor(stage: &Stage, host: u32, marks: &Marks) -> Option<f64> {
    let network = &stage.world.network;
    let nearest = marks.parents.iter().map(|&peer| network.round_trip_ns(host, peer)).min()?;
    let directory = match stage.scenario.lookup.find {
        crate::scenario::Find::Given => 0,
        // Connection id, then the announce.
        crate::scenario::Find::Directory => 2 * network.round_trip_ns(host, 0),
    };
    let Rates { down, .. } = network.rates(host);
    let up: u64 = marks.parents.iter().map(|&peer| network.rates(peer).up).sum();
    let film = &stage.scenario.film;
    let preroll = film.rate_bit_per_s as f64 / 8.0 * stage.scenario.play.preroll_ms as f64 / 1000.0
        + film.head_bytes as f64;
    let sending_ms = preroll / up.min(down).max(1) as f64 * 1000.0;
    Some((directory + 3 * nearest) as f64 / 1e6 + sending_ms)
}

/// Share of blocks that were there when a player that skips would have shown them. A block is there when it came, or when
/// the last block of its piece came where only pieces can be verified.
fn continuity(stage: &Stage, host: u32, marks: &Marks) -> Option<f64> {
    let content = stage.catalogue.any();
    let has_trees = content.info.hashes.v2.is_some();
    let unit = if has_trees { 1 } else { content.info.layout.blocks_per_piece() as usize };
    let index = content.time_index.as_ref()?;
    let now = stage.world.now();
    let (mut due, mut present) = (0u64, 0u64);
    let block = u64::from(shoal_wire::peer::BLOCK_LEN);
    for stretch in &marks.stretches {
        let arrived_at = stage.world.seat(host).arrivals_of(stretch.title)?;
        let (from, position) = (stretch.from_ns, stretch.position_ms);
        let until = stretch.until_ns.unwrap_or(now);
        let end = (position + (until - from) / 1_000_000).min(index.duration_ms);
        let first = index.offset_at(position) / block;
        let last = index.offset_at(end) / block;
        for number in first..last {
            let offset = (number * block).max(index.offset_at(position));
            let deadline = from + index.time_at(offset).saturating_sub(position) * 1_000_000;
            due += 1;
            let first = number as usize / unit * unit;
            let whole = arrived_at.all_at(first..first + unit);
            present += u64::from(whole.is_some_and(|at| at <= deadline));
        }
    }
    ratio(present as f64, due as f64)
}

/// Time until the last peer was complete over the fluid bound max{F/us, F/dmin, NF/(us + sum of ui)}.
fn distribution_ratio(stage: &Stage) -> Option<f64> {
    let has_one_title = stage.catalogue.count() == 1;
    if matches!(stage.scenario.finish, Finish::Play | Finish::Limit) || !has_one_title {
        return None;
    }
    let film = stage.scenario.film_length() as f64;
    let (sources, peers, uplinks) = (0.0, 0.0, 0.0);
    let mut links = Links { film, sources, peers, uplinks, least_down: f64::INFINITY };
    let (mut first, mut last) = (f64::INFINITY, 0.0f64);
    for (host, marks) in stage.marks.iter().enumerate() {
        let Rates { up, down } = stage.world.network.rates(host as u32);
        match marks.role {
            Role::Server | Role::Seed => links.sources += up as f64,
            Role::Half => return None,
            Role::Fetcher | Role::Viewer => {
                links.uplinks += up as f64;
                links.least_down = links.least_down.min(down as f64);
                links.peers += 1.0;
                first = first.min(marks.joined_ns as f64);
                last = last.max(marks.complete_ns.map_or(f64::INFINITY, |at| at as f64));
            }
        }
    }
    Some((last - first) / 1e9 / links.peer_to_peer_s())
}

/// p50, p90, p99, mean and the mean of each seed. Values that are infinite become `null`.
#[must_use]
pub fn summary(values: &mut [f64], per_seed: &[Option<f64>]) -> Value {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| -> Value {
        if values.is_empty() {
            return Value::Null;
        }
        // Nearest rank: the smallest value that covers the share.
        let rank = (share * values.len() as f64).ceil().max(1.0) as usize - 1;
        number(values[rank.min(values.len() - 1)])
    };
    let mean = ratio(values.iter().sum(), values.len() as f64);
    let mut map = Map::new();
    map.insert("p50".into(), at(0.5));
    map.insert("p90".into(), at(0.9));
    map.insert("p95".into(), at(0.95));
    map.insert("p99".into(), at(0.99));
    map.insert("max".into(), at(1.0));
    map.insert("mean".into(), mean.map_or(Value::Null, number));
    let per_seed = per_seed.iter().map(|value| value.map_or(Value::Null, number)).collect();
    map.insert("per_seed".into(), Value::Array(per_seed));
    Value::Object(map)
}

/// A JSON number; `null` for what is not finite.
#[must_use]
pub fn number(value: f64) -> Value {
    // Six decimals are more than any figure has meaning.
    serde_json::Number::from_f64((value * 1e6).round() / 1e6).map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::summary;
    use serde_json::Value;

    #[test]
    fn percentiles_are_nearest_ranks_and_infinity_is_null() {
        let mut values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let map = summary(&mut values, &[Some(50.5), None]);
        assert_eq!(map["p50"], 50.0);
        assert_eq!(map["p90"], 90.0);
        assert_eq!(map["p99"], 99.0);
        assert_eq!(map["mean"], 50.5);
        assert_eq!(map["per_seed"][1], Value::Null);
        let map = summary(&mut [1.0, f64::INFINITY], &[]);
        assert_eq!((map["p50"].clone(), map["p99"].clone()), (Value::from(1.0), Value::Null));
        assert_eq!(summary(&mut [], &[])["mean"], Value::Null);
    }
}
