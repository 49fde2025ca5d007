//! `small`: under ninety seconds, for every change: the instrument, a little swarm, two viewers. Its limits are far from
//! the targets; who breaks them broke something.

use super::{Choices, bulk, instrument, streams};
use crate::fault::Tried;
use crate::figures::{Figure, Report};
use crate::party::{Setup, Viewer};
use crate::player::{Place, Script, Seen};
use crate::source::Source;
use crate::world::Bench;

/// Uplink of everybody, bit/s.
const LINK: u64 = 8_000_000;
/// Rate of the film, bit/s, and its length, seconds.
const FILM: u64 = 2_000_000;
const FILM_S: u32 = 20;
/// A run is given up after this, seconds.
const LIMIT_S: f64 = 45.0;

/// The parts, one report each.
pub(crate) fn run<'b>(
    bench: &'b Bench,
    choices: &'b Choices,
) -> impl Iterator<Item = Tried<Report>> + 'b {
    let parts: [fn(&Bench, &Choices) -> Tried<Report>; 4] = [
        // One transfer of four seconds is late when the machine has something else to do meanwhile; the median of three is not.
        |bench, choices| {
            let runs = Some(choices.runs.unwrap_or(1).max(3));
            instrument::run(bench, &Choices { runs, ..*choices })
        },
        instrument::delayed,
        |bench, choices| bulk::run(bench, choices, &bulk::little()),
        watching,
    ];
    let once = Choices { runs: Some(choices.runs.unwrap_or(1)), ..*choices };
    parts.into_iter().map(move |part| part(bench, &once))
}

/// A publisher, one that fetches, two that watch; the second comes later, and jumps.
fn watching(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let jumping = Script { jumps: vec![(2.0, Place::Unfetched(0.7))], last_s: None };
    let viewer = |comes_s, script| Viewer { uplink: LINK, comes_s, script };
    let setup = Setup {
        rate: FILM,
        seconds: FILM_S,
        source: Source::Publisher(LINK),
        getters: vec![LINK],
        viewers: vec![viewer(0.0, Script::default()), viewer(2.0, jumping)],
        limit_s: LIMIT_S,
        scenario: None,
    };
    let mut figures = [
        Figure::new("start", "s").at_most(4.0),
        Figure::new("stall ratio", "share").at_most(0.1),
        Figure::new("sent by publisher", "copies").at_most(2.2),
        Figure::new("complete", "s").at_most(20.0),
        Figure::new("jump", "s"),
    ];
    streams::many(bench, choices, &setup, &mut figures, |party| {
        let seen = || party.viewers.iter().map(|viewed| &viewed.seen);
        let start = |seen: &Seen| seen.start().map_or(f64::INFINITY, |start| start.frame_s);
        vec![
            seen().map(start).collect(),
            seen().map(Seen::stall_ratio).collect(),
            vec![party.copies()],
            party.viewers.iter().map(|viewed| viewed.complete_s).collect(),
            seen().flat_map(Seen::jumps).map(|jump| jump.frame_s).collect(),
        ]
    })
}
