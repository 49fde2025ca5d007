//! `bulk-foreign`: the file of `bulk-16`, but every leecher is libtorrent; the publisher is each of three programs in turn.
//!
//! The clock runs from the start of the first leecher to the moment at which the last says that it has everything; clients
//! tell five times a second.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use super::Choices;
use super::bulk::{LEECHER, LENGTH, fluid_bound_s};
use crate::content;
use crate::fault::{Fault, Tried};
use crate::figures::{Figure, Report};
use crate::foreign;
use crate::net::Host;
use crate::program::Program;
use crate::timeline::Timeline;
use crate::world::{Bench, World, same};

/// Runs unless asked otherwise.
const RUNS: u32 = 3;
/// A run that takes this many times the bound is given up.
const PATIENCE: f64 = 6.0;
/// Slots of every libtorrent client, which is its default.
const SLOTS: &str = "8";

/// Who has the file at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Publisher {
    Shoal,
    Plain,
    SuperSeeding,
}

impl Publisher {
    const fn name(self) -> &'static str {
        match self {
            Self::Shoal => "shoal",
            Self::Plain => "libtorrent",
            Self::SuperSeeding => "libtorrent, super-seeding",
        }
    }
}

/// A report for each number of leechers and each publisher.
pub(crate) fn run<'b>(
    bench: &'b Bench,
    choices: &'b Choices,
) -> impl Iterator<Item = Tried<Report>> + 'b {
    let counts = choices.peers.map_or_else(|| vec![4, 8, 16], |count| vec![count]);
    let publishers = [Publisher::Shoal, Publisher::Plain, Publisher::SuperSeeding];
    let points = counts.into_iter().flat_map(move |count| publishers.map(|by| (count, by)));
    points.map(move |(count, by)| point(bench, choices, count, by))
}

fn point(bench: &Bench, choices: &Choices, count: u32, by: Publisher) -> Tried<Report> {
    foreign::ready(bench)?;
    let bound = fluid_bound_s(LENGTH, LEECHER, &vec![LEECHER; count as usize]);
    let mut figures = [
        Figure::new("last complete / bound", "x"),
        Figure::new("sent by publisher", "copies"),
        Figure::new("first complete / bound", "x"),
        Figure::new("publisher's link in use", "%"),
    ];
    // Those of libtorrent are what Shoal's are compared with.
    if by == Publisher::Shoal {
        figures[0] = figures[0].clone().at_most(1.78).baseline("libtorrent 2.00-2.24");
        figures[1] = figures[1].clone().at_most(1.5).baseline("libtorrent 1.96-2.21");
    }
    let mut report = Report {
        settings: vec![
            ("publisher", json!(by.name())),
            ("N", json!(count)),
            ("link_bit_per_s", json!(LEECHER)),
            ("length_bytes", json!(LENGTH)),
            ("bound_s", json!((bound * 1000.0).round() / 1000.0)),
            ("delay_ms", json!(bench.delay_ms)),
            ("congestion", json!(bench.congestion)),
        ],
        ..Report::default()
    };
    for number in 0..choices.runs.unwrap_or(RUNS) {
        let (complete, sent, timeline) = once(bench, count, by, bound, number)?;
        let last = complete.iter().copied().fold(0.0, f64::max);
        let first = complete.iter().copied().fold(f64::INFINITY, f64::min);
        let values = [
            last / bound,
            sent as f64 / LENGTH as f64,
            first / bound,
            sent as f64 * 800.0 / (LEECHER as f64 * last),
        ];
        for (figure, value) in figures.iter_mut().zip(values) {
            figure.add(value);
        }
        report.runs.push(json!({
            "complete_s": complete, "publisher_sent_bytes": sent, "timeline": timeline,
        }));
    }
    report.figures = figures.into();
    Ok(report)
}

/// One run: when each leecher was complete, and what the publisher's interface sent by then.
fn once(
    bench: &Bench,
    count: u32,
    by: Publisher,
    bound: f64,
    number: u32,
) -> Tried<(Vec<f64>, u64, serde_json::Value)> {
    let mut world = World::new(bench, bound * PATIENCE + 60.0)?;
    let file = content::random(&world.folder().join("file.bin"), LENGTH, u64::from(number))?;
    let source = world.net.host("source", Some(LEECHER))?;
    let hosts = (0..count)
        .map(|index| world.net.host(&format!("leech{index}"), Some(LEECHER)))
        .collect::<Tried<Vec<Arc<Host>>>>()?;
    let (mut publisher, torrent) = match by {
        Publisher::Shoal => {
            let (peer, torrent) = world.publish(&source, &file, &["--format", "v1"])?;
            (vec![peer.program], torrent)
        }
        Publisher::Plain | Publisher::SuperSeeding => {
            let torrent = foreign::torrent(&world, &file)?;
            let mut flags = vec!["--slots".to_owned(), SLOTS.to_owned()];
            if by == Publisher::SuperSeeding {
                flags.push("--super-seed".to_owned());
            }
            let source = [Arc::clone(&source)];
            (foreign::seeds(&world, &source, &torrent, &file, &flags)?, torrent)
        }
    };
    let before = source.counters()?;
    let start = Instant::now();
    let mut leechers = fetch(&world, &hosts, &torrent, &source)?;
    let mut complete = vec![None; leechers.len()];
    let mut timeline = Timeline::new(hosts.iter().chain([&source]).cloned());
    world.watch.until("everybody to be complete", || {
        timeline.look()?;
        for (leecher, complete) in leechers.iter_mut().zip(&mut complete) {
            leecher.so_far("listening")?;
            if complete.is_none() && foreign::is_seed(leecher) {
                *complete = Some(start.elapsed().as_secs_f64());
            }
        }
        Ok(complete.iter().all(Option::is_some).then_some(()))
    })?;
    let sent = source.counters()?.since(before).tx_bytes;
    let mut all: Vec<&mut Program> = leechers.iter_mut().chain(&mut publisher).collect();
    all.iter_mut().for_each(|program| program.ask_to_end());
    for program in all {
        program.stop();
    }
    world.net.check()?;
    for host in &hosts {
        same(&file, &world.files_of(host).join("file.bin"))?;
    }
    if sent < LENGTH {
        return Err(Fault::new(format!(
            "the publisher's interface counted {sent} bytes, less than the file: the counters cannot be trusted"
        )));
    }
    Ok((complete.into_iter().flatten().collect(), sent, timeline.json()))
}

/// Starts the leechers. Each dials the publisher and those that were started before it.
fn fetch(
    world: &World,
    hosts: &[Arc<Host>],
    torrent: &std::path::Path,
    source: &Host,
) -> Tried<Vec<Program>> {
    let mut known = vec!["--slots".to_owned(), SLOTS.to_owned()];
    known.extend(["--peer".to_owned(), foreign::address(source)]);
    let mut leechers = Vec::new();
    for host in hosts {
        leechers.push(foreign::client(world, host, torrent, &world.files_of(host), &known)?);
        known.extend(["--peer".to_owned(), foreign::address(host)]);
    }
    Ok(leechers)
}
