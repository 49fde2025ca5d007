//! The laboratory: real `shoal` processes on shaped links, measured from outside.
//!
//! `shoal-lab NAME` makes network namespaces, starts separate processes in them, reads bytes from interface counters and
//! playback from readers of its own, and prints each figure beside its target and what others reach. **Start** at
//! [`experiments`]; `README.md` beside this crate says what is measured and how the instrument itself is checked.
#![deny(unsafe_code)]

mod content;
mod experiments;
mod fault;
mod figures;
mod foreign;
mod http;
mod net;
mod party;
mod player;
mod program;
mod sim;
mod source;
mod tap;
mod timeline;
mod watch;
mod wire;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use experiments::{Choices, NAMES};
use fault::{Doing, Fault, Tried};
use watch::Watch;
use world::Bench;

/// Measure real shoal processes on shaped links in network namespaces. Needs root.
#[derive(Parser, Debug)]
#[command(name = "shoal-lab", max_term_width = 110)]
struct Cli {
    /// Experiment
    #[arg(value_parser = NAMES)]
    name: String,
    /// Runs to pool [default: the experiment's own]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    runs: Option<u32>,
    /// Number of leechers, for the experiments that have several [default: each in turn]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    peers: Option<u32>,
    /// Shorten film, arrivals and pauses of a-small and b-small to this share
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = scale)]
    scale: f64,
    /// Program under test [default: shoal beside this program]
    #[arg(long, value_name = "PATH")]
    shoal: Option<PathBuf>,
    /// Delay of each packet on its way from host to host, ms: round trips take twice as long
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=1000))]
    delay: u64,
    /// TCP congestion control: bbr, reno, cubic
    #[arg(long, value_name = "NAME", default_value = "bbr")]
    cc: String,
    /// Write the result as JSON into this file
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Exit with 1 when a target is missed
    #[arg(long)]
    strict: bool,
}

#[expect(clippy::print_stderr, reason = "the one place from which faults are told")]
fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("shoal-lab: a target was missed, see above");
            ExitCode::FAILURE
        }
        Err(Fault::Interrupted) => ExitCode::from(130),
        Err(fault) => {
            eprintln!("shoal-lab: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it must.
#[expect(clippy::print_stdout, reason = "the one place from which results are told")]
fn run(cli: &Cli) -> Tried<bool> {
    if !rustix::process::geteuid().is_root() {
        return Err(Fault::new("network namespaces need root; run it with sudo"));
    }
    let bench = bench(cli)?;
    let choices = Choices { runs: cli.runs, peers: cli.peers, scale: cli.scale };
    let (mut good, mut results) = (true, Vec::new());
    for report in experiments::run(&cli.name, &bench, &choices) {
        let report = report?;
        println!("{}", report.table(&cli.name));
        good &= report.holds();
        results.push(report.json(&cli.name));
    }
    if let Some(path) = &cli.json {
        let text = serde_json::Value::Array(results).to_string();
        std::fs::write(path, text + "\n").doing(format_args!("write {}", path.display()))?;
    }
    Ok(good || !(cli.strict || experiments::always_strict(&cli.name)))
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if (0.05..=1.0).contains(&scale) => Ok(scale),
        _ => Err("write a share from 0.05 to 1".to_owned()),
    }
}

/// What every experiment is given.
fn bench(cli: &Cli) -> Tried<Bench> {
    let own = std::env::current_exe().doing("find where this program is")?;
    let beside = own.with_file_name("shoal");
    let shoal = cli.shoal.clone().unwrap_or(beside);
    let shoal = shoal.canonicalize().map_err(|_| {
        let path = shoal.display();
        Fault::new(format!("{path} is not there; build it with cargo build --release -p shoal-app, or name it with --shoal"))
    })?;
    Ok(Bench {
        shoal,
        films: own.with_file_name("lab-films"),
        congestion: cli.cc.clone(),
        delay_ms: cli.delay,
        watch: Watch::listen()?,
    })
}
