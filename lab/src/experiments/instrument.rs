//! `instrument`: whether the laboratory itself tells the truth, before it is believed about anything else.
//!
//! A plain TCP transfer between two hosts must take the time that the shaped rate and the headers give, and both
//! interfaces must count exactly what such a transfer puts on a wire. Delay of the queue is what a second connection sees.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Choices;
use crate::fault::{Doing, Fault, Tried};
use crate::figures::{Figure, Report};
use crate::net::{ETHERNET_BYTES, Host, Net};
use crate::world::Bench;

/// Bytes of the transfer.
const LENGTH: u64 = 8 << 20;
/// Rate of the sender's uplink, bit/s.
const RATE: u64 = 16_000_000;
/// Film bytes in a full segment, and its frame: IP 20, TCP 20, time stamps 12, Ethernet 14.
const SEGMENT: f64 = 1448.0;
const FRAME: f64 = 1500.0 + ETHERNET_BYTES as f64;
/// Delay of the quick look at it, milliseconds.
const DELAY_MS: u64 = 25;
/// Any read or write may take this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the check as often as asked.
pub(crate) fn run(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let rate = Figure::new("off the shaped rate", "%");
    let mut figures = [
        // Over a long round trip a transfer of seconds is not at its rate from the first moment on.
        // A bucket that gives out a wrong rate does so every time.
        if bench.delay_ms == 0 { rate.at_most(2.0).at_best() } else { rate },
        Figure::new("sender's counter off the expected", "%").at_most(1.0),
        Figure::new("receiver's counter off the sender's", "%").at_most(0.1),
        Figure::new("acknowledgements / film bytes", "%"),
        Figure::new("round trip, idle, beyond the delay", "ms").at_most(2.0),
        Figure::new("connecting, beyond the delay", "ms").at_most(2.0),
        Figure::new("round trip, queue full", "ms"),
    ];
    for _ in 0..choices.runs.unwrap_or(1) {
        for (figure, value) in figures.iter_mut().zip(once(bench)?) {
            figure.add(value);
        }
    }
    let settings = vec![
        ("rate_bit_per_s", json!(RATE)),
        ("length_bytes", json!(LENGTH)),
        ("delay_ms", json!(bench.delay_ms)),
        ("congestion", json!(bench.congestion)),
    ];
    Ok(Report { settings, figures: figures.into(), ..Report::default() })
}

/// A quick look at whether delay is what was asked for, whatever the other experiments have.
pub(crate) fn delayed(bench: &Bench, choices: &Choices) -> Tried<Report> {
    let mut figures = [
        Figure::new("round trip, idle, beyond the delay", "ms").at_most(2.0),
        Figure::new("connecting, beyond the delay", "ms").at_most(2.0),
        // One after the other they would take sixteen times the delay; a busy machine may be late by some of it.
        Figure::new("16 round trips side by side, beyond the delay", "ms").at_most(100.0),
    ];
    for _ in 0..choices.runs.unwrap_or(1) {
        let mut net = Net::new(&bench.congestion, DELAY_MS)?;
        let (sender, receiver) = (net.host("sender", Some(RATE))?, net.host("receiver", None)?);
        let [idle, connecting] = delays(&sender, &receiver, DELAY_MS)?;
        // A line holds as many packets as are sent: none waits for another.
        let start = Instant::now();
        thread::scope(|scope| {
            let trip = || round_trips(&sender, &receiver, 1);
            let trips: Vec<_> = (0..16).map(|_| scope.spawn(trip)).collect();
            let panicked = |_| Err(Fault::new("a round trip panicked"));
            trips.into_iter().try_for_each(|trip| trip.join().unwrap_or_else(panicked).map(|_| ()))
        })?;
        let all = start.elapsed().as_secs_f64() * 1000.0 - 4.0 * DELAY_MS as f64;
        net.check()?;
        for (figure, value) in figures.iter_mut().zip([idle, connecting, all]) {
            figure.add(value);
        }
    }
    let settings = vec![("delay_ms", json!(DELAY_MS)), ("congestion", json!(bench.congestion))];
    Ok(Report { settings, figures: figures.into(), ..Report::default() })
}

/// By how much a round trip, and the opening of a connection, differ from twice the delay, milliseconds.
fn delays(from: &Host, to: &Host, delay_ms: u64) -> Tried<[f64; 2]> {
    let trip = 2.0 * delay_ms as f64;
    let mut connecting = Figure::new("connecting", "ms");
    for _ in 0..10 {
        let listener = to
            .inside(|| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?
            .doing("listen")?;
        let address = (to.ip, listener.local_addr().doing("listen")?.port()).into();
        let taken = from.inside(|| {
            let start = Instant::now();
            let stream = TcpStream::connect_timeout(&address, PATIENCE).doing("connect");
            stream.map(|_| start.elapsed().as_secs_f64() * 1000.0)
        })??;
        connecting.add(taken);
    }
    let idle = round_trips(from, to, 20)?;
    Ok([(idle - trip).abs(), (connecting.quantile(0.5) - trip).abs()])
}

fn once(bench: &Bench) -> Tried<[f64; 7]> {
    let mut net = Net::new(&bench.congestion, bench.delay_ms)?;
    let (sender, receiver) = (net.host("sender", Some(RATE))?, net.host("receiver", None)?);
    let [idle, connecting] = delays(&sender, &receiver, bench.delay_ms)?;
    let (sent_before, got_before) = (sender.counters()?, receiver.counters()?);
    let seconds = transfer(&sender, &receiver)?;
    let sent = sender.counters()?.since(sent_before);
    let got = receiver.counters()?.since(got_before);
    let expected = LENGTH as f64 / SEGMENT * FRAME;
    let rate = expected * 8.0 / seconds;
    let (behind, beside) = (Arc::clone(&sender), Arc::clone(&receiver));
    let load = thread::spawn(move || transfer(&behind, &beside));
    thread::sleep(Duration::from_secs(1));
    let full = round_trips(&sender, &receiver, 20)?;
    load.join().map_err(|_| Fault::new("the transfer panicked"))??;
    bench.watch.check("the check of the instrument")?;
    net.check()?;
    let off = |found: f64, wanted: f64| (found / wanted - 1.0).abs() * 100.0;
    Ok([
        off(rate, RATE as f64),
        off(sent.tx_bytes as f64, expected),
        off(got.rx_bytes as f64, sent.tx_bytes as f64),
        got.tx_bytes as f64 * 100.0 / LENGTH as f64,
        idle,
        connecting,
        full,
    ])
}

/// A listener on a host, and a connection to it from another.
fn pair(from: &Host, to: &Host) -> Tried<(TcpStream, TcpStream)> {
    let wait = |stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).doing("set a timeout")?;
        stream.set_write_timeout(Some(PATIENCE)).doing("set a timeout")?;
        stream.set_nodelay(true).doing("set an option")?;
        Ok::<_, Fault>(stream)
    };
    let listener = to
        .inside(|| TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))))?
        .doing("listen")?;
    let port = listener.local_addr().doing("listen")?.port();
    let address = SocketAddr::from((to.ip, port));
    let near = from.inside(|| TcpStream::connect_timeout(&address, PATIENCE))?.doing("connect")?;
    let (far, _) = listener.accept().doing("accept")?;
    Ok((wait(near)?, wait(far)?))
}

/// Seconds from the first byte offered to the last byte taken.
fn transfer(from: &Host, to: &Host) -> Tried<f64> {
    let (mut near, mut far) = pair(from, to)?;
    let start = Instant::now();
    let writer = thread::spawn(move || {
        let chunk = [7_u8; 65_536];
        (0..LENGTH / 65_536).try_for_each(|_| near.write_all(&chunk)).map(|()| near)
    });
    let mut buffer = [0_u8; 65_536];
    let mut taken = 0;
    while taken < LENGTH {
        match far.read(&mut buffer).doing("receive")? {
            0 => return Err(Fault::new("the transfer ended early")),
            count => taken += count as u64,
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    writer.join().map_err(|_| Fault::new("the sender panicked"))?.doing("send")?;
    Ok(seconds)
}

/// Median of `count` round trips of one byte, milliseconds, over a connection of their own.
fn round_trips(from: &Host, to: &Host, count: u32) -> Tried<f64> {
    let (mut near, mut far) = pair(from, to)?;
    let mut figure = Figure::new("round trip", "ms");
    let mut byte = [0_u8];
    for _ in 0..count {
        let start = Instant::now();
        near.write_all(&byte).doing("send")?;
        far.read_exact(&mut byte).doing("receive")?;
        far.write_all(&byte).doing("send")?;
        near.read_exact(&mut byte).doing("receive")?;
        figure.add(start.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(figure.quantile(0.5))
}
