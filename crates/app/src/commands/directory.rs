//! `shoal directory`: a tracker that tells peers of each other, over HTTP and UDP.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cli::Directory;
use crate::error::Error;
use crate::output::Output;
use crate::stop::Stop;
use crate::tracker::RunningDirectory;

/// Runs the command.
pub(crate) async fn run(arguments: Directory) -> Result<(), Error> {
    if arguments.http.0.is_none() && arguments.udp.0.is_none() {
        return Err(Error::Usage("with --http off and --udp off nobody could reach it".to_owned()));
    }
    let started = Instant::now();
    let mut stop = Stop::listen()?;
    let voice = arguments.voice.with_file()?;
    let mut output = Output::new(voice.wants_json(), voice.verbose);
    let directory = RunningDirectory::start(arguments.udp.0, arguments.http.0)?;
    let udp = arguments.udp.0.map(|_| directory.udp());
    listening(&mut output, &directory, udp);
    let mut second = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = stop.asked() => break,
            _ = second.tick() => {
                let (titles, peers) = directory.size().await;
                let t_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                let event = json!({ "event": "progress", "t_ms": t_ms, "titles": titles, "peers": peers });
                output.event(&event.to_string());
                output.progress(&format!("{titles} titles, {peers} peers"), Instant::now());
            }
        }
    }
    directory.stop().await;
    Err(Error::Interrupted)
}

fn listening(output: &mut Output, directory: &RunningDirectory, udp: Option<std::net::SocketAddr>) {
    let mut event = json!({ "event": "listening", "t_ms": 0 });
    if let Some(http) = directory.http() {
        event["http"] = json!(format!("http://{http}"));
        output.say(&format!("tracker   http://{http}/announce"));
    }
    if let Some(udp) = udp {
        event["udp"] = json!(udp.to_string());
        output.say(&format!("tracker   udp://{udp}"));
    }
    output.event(&event.to_string());
}
