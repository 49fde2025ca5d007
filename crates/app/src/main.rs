//! The `shoal` program: publishes films, plays them while they arrive, and joins the crates that can do it.
//!
//! **Start** at [`cli`] for what can be asked, at [`commands`] for how it is answered. A command ends with `Ok`, or with an
//! [`error::Error`] that carries its exit status and one sentence.
#![forbid(unsafe_code)]

mod cli;
mod commands;
mod console;
mod error;
mod fates;
mod film;
mod hashing;
mod ladder;
mod link;
mod output;
mod peer;
mod player;
mod publication;
mod settings;
mod stop;
mod tracker;
mod units;
mod words;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error.is_news() {
                // Without a stderr the exit status still tells.
                let _ = writeln!(std::io::stderr(), "shoal: {error}");
            }
            ExitCode::from(error.status())
        }
    }
}
