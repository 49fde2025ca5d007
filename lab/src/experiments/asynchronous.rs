//! `a-small`, `b-small`: viewers who come one after another and, in the second, jump about, with links not much faster
//! than the film: the scenarios A and B of the simulator with a dozen real processes.
//!
//! `--scale S` shortens film, arrivals and the time between jumps together; the simulator gets the same.

use serde_json::json;

use super::Choices;
use crate::content::Numbers;
use crate::fault::Tried;
use crate::figures::{Figure, Report};
use crate::party::{self, Party, Setup, Viewer};
use crate::player::{Place, Script};
use crate::sim::Summary;
use crate::source::{Source, UNLIMITED};
use crate::world::Bench;

/// Viewers of both.
const VIEWERS: u32 = 12;
/// Jumps of each viewer in B.
const JUMPS: u32 = 4;

/// Numbers in which the two differ.
struct Numbered {
    name: &'static str,
    rate: u64,
    seconds: f64,
    source: u64,
    uplink: u64,
    over_s: f64,
    jump_every_s: Option<f64>,
}

/// Scenario A in small: a film of 40 kB/s, links of 1.5 times that, arrivals within a minute, publisher unlimited.
pub(crate) fn a_small(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let numbered = Numbered {
        name: "a-small",
        rate: 320_000,
        seconds: 180.0,
        source: UNLIMITED,
        uplink: 480_000,
        over_s: 60.0,
        jump_every_s: None,
    };
    let start = Figure::new("start", "s").at_most(1.2).baseline("PRIME 90 % < 6 s");
    let figures = [
        start,
        Figure::new("stalls per viewer, p99", "count").at_most(0.0).baseline("PRIME 90 % < 2"),
        Figure::new("stall ratio, mean", "share").at_most(0.0005).baseline("PRIME 90 % < 0.03"),
        Figure::new("sent by publisher", "copies").at_most(2.0).baseline("PRIME about 7"),
    ];
    run(bench, choices, &numbered, figures)
}

/// Scenario B in small: twelve viewers of a film of 1 Mbit/s, four jumps each.
pub(crate) fn b_small(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let numbered = Numbered {
        name: "b-small",
        rate: 1_000_000,
        seconds: 600.0,
        source: 4_000_000,
        uplink: 2_000_000,
        over_s: 300.0,
        jump_every_s: Some(60.0),
    };
    let figures = [
        Figure::new("start", "s"),
        Figure::new("stalls per viewer, p99", "count").at_most(1.0),
        Figure::new("stall ratio, mean", "share"),
        Figure::new("sent by publisher", "copies").at_most(2.0),
    ];
    run(bench, choices, &numbered, figures)
}

fn run(
    bench: &Bench,
    choices: &Choices,
    numbered: &Numbered,
    figures: [Figure; 4],
) -> Tried<Report> {
    let scale = choices.scale;
    let (seconds, over_s) = ((numbered.seconds * scale).round(), numbered.over_s * scale);
    let [mut start, mut stalls, mut ratio, mut copies] = figures;
    let mut late = Figure::new("start, p90 of a run", "s");
    let mut seek = Figure::new("jump", "s");
    let mut seek_late = Figure::new("jump, p90 of a run", "s");
    let mut report = Report::default();
    let mut parties: Vec<Party> = Vec::new();
    for number in 0..choices.runs.unwrap_or(1) {
        let mut numbers = Numbers::new(u64::from(number));
        let setup = Setup {
            rate: numbered.rate,
            seconds: seconds as u32,
            source: Source::Publisher(numbered.source),
            getters: Vec::new(),
            viewers: viewers(numbered, scale, &mut numbers),
            limit_s: over_s + seconds * 2.0 + 120.0,
            scenario: None,
        };
        report.settings = setup.settings(bench);
        report.settings.extend([("arrivals_within_s", json!(over_s)), ("scale", json!(scale))]);
        let party = party::run(bench, &setup)?;
        let (mut starts, mut jumps) = (Figure::new("", ""), Figure::new("", ""));
        let (mut counts, mut ratios) = (Figure::new("", ""), 0.0);
        for viewed in &party.viewers {
            let seen = &viewed.seen;
            starts.add(seen.start().map_or(f64::INFINITY, |start| start.frame_s));
            start.add(starts.newest());
            for jump in seen.jumps().filter(|jump| jump.unfetched) {
                jumps.add(jump.frame_s);
                seek.add(jump.frame_s);
            }
            counts.add(seen.stalls() as f64);
            ratios += seen.stall_ratio();
        }
        late.add(starts.quantile(0.9));
        seek_late.add(jumps.quantile(0.9));
        stalls.add(counts.quantile(0.99));
        ratio.add(ratios / party.viewers.len() as f64);
        copies.add(party.copies());
        report.runs.push(party.json());
        parties.push(party);
    }
    report.figures = vec![start, late, stalls, ratio, copies];
    if numbered.jump_every_s.is_some() {
        report.figures.extend([seek, seek_late]);
    }
    let set = [
        format!("film.duration_s={seconds:.1}"),
        format!("arrival.over_s={over_s:.1}"),
        format!("play.jump_first_s={:.1}", 60.0 * scale),
        format!("play.jump_every_s={:.1}", 60.0 * scale),
    ];
    report.compared = Summary::of(bench, numbered.name, &set)?.beside(&parties);
    Ok(report)
}

/// Viewers whose arrivals and jumps are drawn evenly.
fn viewers(numbered: &Numbered, scale: f64, numbers: &mut Numbers) -> Vec<Viewer> {
    let mut viewer = |_| {
        let comes_s = numbers.share() * numbered.over_s * scale;
        let every = numbered.jump_every_s.map(|every| every * scale);
        let mut jump = |every| (every, Place::Unfetched(numbers.share()));
        let jumps = every.map_or_else(Vec::new, |every| (0..JUMPS).map(|_| jump(every)).collect());
        Viewer { uplink: numbered.uplink, comes_s, script: Script { jumps, last_s: None } }
    };
    (0..VIEWERS).map(&mut viewer).collect()
}
