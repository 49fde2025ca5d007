//! Films of the test data, and what ffprobe says of their packets.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // Each test file uses its part of it.

use std::convert::Infallible;
use std::ops::Range;

use shoal_media::manifest::Address;
use shoal_media::{Film, Prober};

pub fn slice(file: &[u8], range: &Range<u64>) -> Vec<u8> {
    file[range.start as usize..range.end as usize].to_vec()
}

pub fn probed(prober: Prober, file: &[u8]) -> Film {
    prober.run(|range| Ok::<_, Infallible>(slice(file, &range))).unwrap()
}

/// How lists name things here.
pub fn name(address: Address) -> String {
    match address {
        Address::Playlist(stream) => format!("{stream}.m3u8"),
        Address::Header(stream) => format!("{stream}-header.mp4"),
        Address::Segment(stream, time) => format!("{stream}-{time}.m4s"),
        Address::Text(stream, time) => format!("{stream}-{time}.vtt"),
    }
}

/// What ffprobe says of a packet.
#[derive(Clone, Debug)]
pub struct Packet {
    pub stream: usize,
    pub time_s: f64,
    pub size: usize,
    pub is_key: bool,
}

/// Those of a film.
pub fn packets(name: &str) -> Vec<Packet> {
    let path = format!("{}/testdata/{name}.frames.csv", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    rows.filter(|row| row.len() >= 4)
        .map(|row| Packet {
            stream: row[0].parse().unwrap(),
            time_s: row[1].parse().unwrap(),
            size: row[2].parse().unwrap(),
            is_key: row[3].starts_with('K'),
        })
        .collect()
}
