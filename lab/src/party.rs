//! A swarm around one film: a source, peers that fetch it whole, viewers that come, play and jump; watched from outside
//! until all of them are done. The streaming experiments differ in their numbers only.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::content;
use crate::fault::{Doing, Fault, Tried};
use crate::net::{Counters, Host};
use crate::player::{self, Script, Seen};
use crate::program::Program;
use crate::source::{Source, Sources};
use crate::timeline::Timeline;
use crate::world::{Bench, Peer, World};

/// A viewer.
#[derive(Clone, Debug)]
pub(crate) struct Viewer {
    /// Its uplink, bit/s.
    pub(crate) uplink: u64,
    /// When it comes, seconds after the beginning.
    pub(crate) comes_s: f64,
    /// What it does.
    pub(crate) script: Script,
}

/// What is set up.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// Rate of the film, bit/s.
    pub(crate) rate: u64,
    /// Length of the film, seconds.
    pub(crate) seconds: u32,
    /// Who has it at first.
    pub(crate) source: Source,
    /// Uplinks of the peers that fetch it whole from the beginning, bit/s.
    pub(crate) getters: Vec<u64>,
    /// The viewers.
    pub(crate) viewers: Vec<Viewer>,
    /// When a run is given up, seconds.
    pub(crate) limit_s: f64,
    /// The simulator's scenario with the same numbers.
    pub(crate) scenario: Option<&'static str>,
}

impl Setup {
    /// Its numbers, for the report.
    pub(crate) fn settings(&self, bench: &Bench) -> Vec<(&'static str, Value)> {
        let source = match self.source {
            Source::Publisher(uplink) => ("publisher_bit_per_s", json!(uplink)),
            Source::Foreign(count, uplink) => ("foreign_seeds", json!([count, uplink])),
        };
        let uplinks: Vec<u64> = self.viewers.iter().map(|viewer| viewer.uplink).collect();
        vec![
            ("film_bit_per_s", json!(self.rate)),
            ("film_s", json!(self.seconds)),
            source,
            ("getters_bit_per_s", json!(self.getters)),
            ("viewers_bit_per_s", json!(uplinks)),
            ("delay_ms", json!(bench.delay_ms)),
            ("congestion", json!(bench.congestion)),
        ]
    }
}

/// One viewer's run.
#[derive(Clone, Debug)]
pub(crate) struct Viewed {
    /// What it saw.
    pub(crate) seen: Seen,
    /// From its coming to holding everything, seconds; infinite when it never did.
    pub(crate) complete_s: f64,
    /// What its interface counted until then.
    pub(crate) counters: Counters,
}

/// What a run gave.
#[derive(Clone, Debug)]
pub(crate) struct Party {
    /// The viewers in their order.
    pub(crate) viewers: Vec<Viewed>,
    /// Seconds until each getter held everything.
    pub(crate) getters_s: Vec<f64>,
    /// What the source's interface counted until all were done (the first seed's, when there are several).
    pub(crate) source: Counters,
    /// Length of the film's file, bytes.
    pub(crate) length: u64,
    /// For who looks closer.
    pub(crate) timeline: Value,
}

impl Party {
    /// Film lengths that left the source's interface, headers included.
    pub(crate) fn copies(&self) -> f64 {
        self.source.tx_bytes as f64 / self.length as f64
    }

    /// The run as JSON.
    pub(crate) fn json(&self) -> Value {
        let finite = |value: f64| if value.is_finite() { json!(value) } else { Value::Null };
        let viewers = self.viewers.iter().map(|viewer| {
            json!({
                "stretches": viewer.seen.json(), "complete_s": finite(viewer.complete_s),
                "received_bytes": viewer.counters.rx_bytes, "sent_bytes": viewer.counters.tx_bytes,
            })
        });
        json!({
            "viewers": viewers.collect::<Vec<_>>(), "getters_complete_s": self.getters_s,
            "source_sent_bytes": self.source.tx_bytes, "length_bytes": self.length,
            "timeline": self.timeline,
        })
    }
}

/// Runs a setup once.
pub(crate) fn run(bench: &Bench, setup: &Setup) -> Tried<Party> {
    let film = content::film(&bench.films, setup.rate, setup.seconds)?;
    let length = film.metadata().doing("look at the film")?.len();
    let mut world = World::new(bench, setup.limit_s)?;
    let mut sources = Sources::start(&mut world, setup.source, &film)?;
    let mut hosts = |kind: &str, uplinks: &[u64]| {
        let numbered = uplinks.iter().enumerate();
        numbered
            .map(|(index, uplink)| world.net.host(&format!("{kind}{index}"), Some(*uplink)))
            .collect::<Tried<Vec<_>>>()
    };
    let getters = hosts("get", &setup.getters)?;
    let uplinks: Vec<u64> = setup.viewers.iter().map(|viewer| viewer.uplink).collect();
    let viewers = hosts("view", &uplinks)?;
    let source = Arc::clone(&sources.hosts[0]);
    let before = source.counters()?;
    let mut timeline = Timeline::new(getters.iter().chain(&viewers).chain([&source]).cloned());
    let start = Instant::now();
    let stage = Stage { world: &world, setup, sources: &sources, start, length };
    let mut fetching = getters
        .iter()
        .map(|host| world.get(host, &sources.torrent, &sources.peers))
        .collect::<Tried<Vec<Peer>>>()?;
    let mut getters_s = vec![f64::INFINITY; fetching.len()];
    let (viewed, after) = stage.play(&viewers, &source, || {
        timeline.look()?;
        for (getter, seconds) in fetching.iter_mut().zip(&mut getters_s) {
            if let Some(event) = getter.program.so_far("complete")? {
                *seconds = (event.at - start).as_secs_f64();
            }
        }
        Ok(getters_s.iter().all(|seconds| seconds.is_finite()))
    })?;
    world.end(&mut fetching.iter_mut().collect::<Vec<_>>());
    sources.end();
    world.net.check()?;
    let (viewers, source) = (viewed, after.since(before));
    Ok(Party { viewers, getters_s, source, length, timeline: timeline.json() })
}

/// What the viewers' threads share.
struct Stage<'r> {
    world: &'r World,
    setup: &'r Setup,
    sources: &'r Sources,
    start: Instant,
    length: u64,
}

impl Stage<'_> {
    /// Lets every viewer play on a thread of its own, until all are done and `others` says that so are the others, or time
    /// is over. Nobody leaves before that. What the source's interface counted by then comes back too.
    fn play(
        &self,
        hosts: &[Arc<Host>],
        source: &Host,
        mut others: impl FnMut() -> Tried<bool>,
    ) -> Tried<(Vec<Viewed>, Counters)> {
        let (staying, busy) = (Mutex::new(Vec::new()), AtomicUsize::new(hosts.len()));
        let watch = &self.world.watch;
        thread::scope(|scope| {
            let threads: Vec<_> = hosts
                .iter()
                .zip(&self.setup.viewers)
                .map(|(host, viewer)| {
                    let (staying, busy) = (&staying, &busy);
                    scope.spawn(move || {
                        let viewed = self.view(host, viewer, staying);
                        if viewed.is_err() {
                            watch.give_up();
                        }
                        busy.fetch_sub(1, Ordering::SeqCst);
                        viewed
                    })
                })
                .collect();
            let looked = watch.until("everybody to be done", || {
                let done = others()? && busy.load(Ordering::SeqCst) == 0;
                Ok(done.then_some(()))
            });
            if !matches!(looked, Ok(()) | Err(Fault::Late(_))) {
                watch.give_up();
            }
            let counted = source.counters();
            let panicked = |_| Err(Fault::new("a viewer's thread panicked"));
            let viewed = threads.into_iter().map(|thread| thread.join().unwrap_or_else(panicked));
            let viewed = viewed.collect::<Tried<Vec<_>>>()?;
            match looked {
                Ok(()) | Err(Fault::Late(_)) => Ok((viewed, counted?)),
                Err(fault) => Err(fault),
            }
        })
    }

    /// One viewer: comes, plays, waits until it holds everything, and is left running in `staying`.
    fn view(&self, host: &Host, viewer: &Viewer, staying: &Mutex<Vec<Program>>) -> Tried<Viewed> {
        let watch = &self.world.watch;
        watch.sleep_until(self.start + Duration::from_secs_f64(viewer.comes_s))?;
        let before = host.counters()?;
        let mut program = self.world.view(host, &self.sources.torrent, &self.sources.peers)?;
        let (started, rate) = (program.started, self.length as f64 / f64::from(self.setup.seconds));
        let seen = host.inside(|| player::play(&mut program, rate, &viewer.script, watch))??;
        let complete_s = match program.expect("complete", watch) {
            Ok(event) => (event.at - started).as_secs_f64(),
            Err(Fault::Late(_)) => f64::INFINITY,
            Err(fault) => return Err(fault),
        };
        let counters = host.counters()?.since(before);
        staying.lock().unwrap_or_else(PoisonError::into_inner).push(program);
        Ok(Viewed { seen, complete_s, counters })
    }
}
