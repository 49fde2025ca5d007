//! `fresh`, `four-viewers`, `foreign`: films of nearly the rate of everybody's link, where existing clients do not play.

use serde_json::json;

use super::Choices;
use super::bulk::fluid_bound_s;
use crate::fault::Tried;
use crate::figures::{Figure, Report};
use crate::foreign;
use crate::party::{self, Party, Setup, Viewer};
use crate::player::{Place, Script, Stretch};
use crate::sim::Summary;
use crate::source::Source;
use crate::world::Bench;

/// Uplinks of a fresh swarm, bit/s.
const LINK: u64 = 16_000_000;
/// A film of 0.8 of that, bit/s, and its length.
const FILM: u64 = 12_800_000;
const FILM_S: u32 = 60;
/// Uplink of a foreign seed, bit/s; four of them carry a film of 0.8 of their sum.
const SEED: u64 = 6_000_000;
const FULL_FILM: u64 = 19_200_000;
const FULL_FILM_S: u32 = 40;
/// Playing before a jump, seconds.
const BEFORE_JUMP_S: f64 = 8.0;
/// Runs unless asked otherwise.
const RUNS: u32 = 3;
/// A run is given up after this, seconds.
const LIMIT_S: f64 = 240.0;

/// One publisher, three that fetch, one that watches and jumps to a place it has not fetched.
pub(crate) fn fresh(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let jumps = vec![(BEFORE_JUMP_S, Place::Unfetched(0.5))];
    let setup = Setup {
        rate: FILM,
        seconds: FILM_S,
        source: Source::Publisher(LINK),
        getters: vec![LINK; 3],
        viewers: vec![Viewer {
            uplink: LINK,
            comes_s: 0.0,
            script: Script { jumps, last_s: None },
        }],
        limit_s: LIMIT_S,
        scenario: Some("fresh"),
    };
    let mut figures = [
        Figure::new("start", "s").at_most(2.0).baseline("first MiB: webtorrent 4.9, rqbit 9.3"),
        Figure::new("stalls", "count").at_most(0.0).baseline("8 to 21"),
        Figure::new("stall ratio", "share").at_most(0.0).baseline("0.55 to 0.63"),
        Figure::new("jump to an unfetched place", "s").at_most(2.0).baseline("MiB: 6.5 to 9.7"),
        Figure::new("last complete / bound", "x").at_most(1.25),
        Figure::new("sent by publisher", "copies"),
        Figure::new("first MiB", "s"),
    ];
    many(bench, choices, &setup, &mut figures, |party| {
        let seen = &party.viewers[0].seen;
        let bound = fluid_bound_s(party.length, LINK, &[LINK; 4]);
        let last = party.getters_s.iter().chain([&party.viewers[0].complete_s]);
        let last = last.copied().fold(0.0, f64::max);
        let jump = seen.jumps().find(|jump| jump.unfetched);
        vec![
            vec![seen.start().map_or(f64::INFINITY, |start| start.frame_s)],
            vec![seen.stalls() as f64],
            vec![seen.stall_ratio()],
            jump.map(|jump| jump.frame_s).into_iter().collect(),
            vec![last / bound],
            vec![party.copies()],
            vec![seen.start().map_or(f64::INFINITY, |start| start.first_mib_s)],
        ]
    })
}

/// One publisher and four that watch from the start to the end, coming within five seconds.
pub(crate) fn four_viewers(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let viewer = |index: u32| Viewer {
        uplink: LINK,
        comes_s: f64::from(index) * 5.0 / 3.0,
        script: Script::default(),
    };
    let setup = Setup {
        rate: FILM,
        seconds: FILM_S,
        source: Source::Publisher(LINK),
        getters: Vec::new(),
        viewers: (0..4).map(viewer).collect(),
        limit_s: LIMIT_S,
        scenario: Some("four-viewers"),
    };
    let mut figures = [
        Figure::new("start, median of a run", "s").at_most(3.0),
        Figure::new("start, worst of a run", "s").at_most(5.0),
        Figure::new("stalls of all", "count").at_most(0.0),
        Figure::new("stall ratio", "share").at_most(0.0),
        Figure::new("sent by publisher", "copies").at_most(1.2),
        Figure::new("complete", "s"),
    ];
    many(bench, choices, &setup, &mut figures, |party| {
        let mut starts = Figure::new("start", "s");
        for viewed in &party.viewers {
            starts.add(viewed.seen.start().map_or(f64::INFINITY, |start| start.frame_s));
        }
        let stalls: usize = party.viewers.iter().map(|viewed| viewed.seen.stalls()).sum();
        vec![
            vec![starts.quantile(0.5)],
            vec![starts.quantile(1.0)],
            vec![stalls as f64],
            party.viewers.iter().map(|viewed| viewed.seen.stall_ratio()).collect(),
            vec![party.copies()],
            party.viewers.iter().map(|viewed| viewed.complete_s).collect(),
        ]
    })
}

/// Four libtorrent seeds and one viewer that jumps to the middle.
pub(crate) fn foreign(bench: &Bench, choices: &Choices) -> Tried<Report> {
    foreign::ready(bench)?;
    let jumps = vec![(BEFORE_JUMP_S, Place::Share(0.5))];
    let setup = Setup {
        rate: FULL_FILM,
        seconds: FULL_FILM_S,
        source: Source::Foreign(4, SEED),
        getters: Vec::new(),
        viewers: vec![Viewer {
            uplink: LINK,
            comes_s: 0.0,
            script: Script { jumps, last_s: None },
        }],
        limit_s: LIMIT_S,
        scenario: None,
    };
    let mut figures = [
        Figure::new("first MiB", "s")
            .at_most(0.6)
            .baseline("webtorrent 0.72, libtorrent 1.09, rqbit 1.48"),
        Figure::new("jump to the middle: first MiB", "s")
            .at_most(0.8)
            .baseline("libtorrent 1.44, webtorrent 1.51, rqbit 3.91"),
        Figure::new("stalls", "count").at_most(0.0).baseline("0, rqbit 1"),
        Figure::new("stall ratio", "share").at_most(0.0).baseline("0, rqbit 0.025"),
        Figure::new("first MiB after the player asked", "s"),
        Figure::new("start", "s"),
        Figure::new("jump: first frame", "s"),
    ];
    many(bench, choices, &setup, &mut figures, |party| {
        let seen = &party.viewers[0].seen;
        let of = |stretch: Option<&Stretch>, part: fn(&Stretch) -> f64| {
            stretch.map_or(f64::INFINITY, part)
        };
        let jump = || seen.jumps().find(|jump| jump.unfetched);
        vec![
            vec![of(seen.start(), |start| start.first_mib_s)],
            vec![of(jump(), |jump| jump.first_mib_s)],
            vec![seen.stalls() as f64],
            vec![seen.stall_ratio()],
            vec![of(seen.start(), |start| start.first_mib_s - start.asked_s)],
            vec![of(seen.start(), |start| start.frame_s)],
            vec![of(jump(), |jump| jump.frame_s)],
        ]
    })
}

/// Runs a setup as often as asked; `values` gives what each run adds to each figure.
pub(crate) fn many(
    bench: &Bench,
    choices: &Choices,
    setup: &Setup,
    figures: &mut [Figure],
    values: impl Fn(&Party) -> Vec<Vec<f64>>,
) -> Tried<Report> {
    let mut report = Report { settings: setup.settings(bench), ..Report::default() };
    let mut parties = Vec::new();
    for _ in 0..choices.runs.unwrap_or(RUNS) {
        let party = party::run(bench, setup)?;
        report.settings.retain(|(key, _)| *key != "length_bytes");
        report.settings.push(("length_bytes", json!(party.length)));
        for (figure, values) in figures.iter_mut().zip(values(&party)) {
            for value in values {
                figure.add(value);
            }
        }
        report.runs.push(party.json());
        parties.push(party);
    }
    report.figures = figures.to_vec();
    if let Some(scenario) = setup.scenario {
        report.compared = Summary::of(bench, scenario, &[])?.beside(&parties);
    }
    Ok(report)
}
