//! A second, simple reader of transport streams, and what is done with groups of packets.

use std::collections::BTreeMap;

use shoal_media::demux::{Demuxer, Frame};

use super::film;

/// A unit of a stream: when it is shown and decoded, and its frames.
pub(super) type Unit = (u64, u64, Vec<u8>);

pub(super) fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

pub(super) fn payload_at(packet: &[u8]) -> usize {
    if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }
}

pub(super) fn time(field: &[u8]) -> u64 {
    let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|at| u64::from(field[at]));
    (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
}

pub(super) fn pcr(packet: &[u8]) -> Option<u64> {
    let has = packet[3] & 0x20 != 0 && packet[4] >= 7 && packet[5] & 0x10 != 0;
    let upper = || u64::from(u32::from_be_bytes(packet[6..10].try_into().unwrap()));
    has.then(|| upper() << 1 | u64::from(packet[10] >> 7))
}

/// The units of the streams of sound and pictures, whose packets must be in order and count up.
pub(super) fn units(stream: &[u8]) -> BTreeMap<u16, Vec<Unit>> {
    let mut units: BTreeMap<u16, Vec<Unit>> = BTreeMap::new();
    let mut counters: BTreeMap<u16, u8> = BTreeMap::new();
    assert_eq!(stream.len() % 188, 0);
    let mut tables = 0;
    for packet in stream.chunks(188) {
        assert_eq!(packet[0], 0x47);
        let (pid, has_payload) = (pid(packet), packet[3] & 0x10 != 0);
        if pid == 0x1fff {
            continue;
        }
        if let Some(last) = counters.insert(pid, packet[3] & 0x0f) {
            assert_eq!((last + u8::from(has_payload)) % 16, packet[3] & 0x0f, "stream {pid:#x}");
        }
        let payload = &packet[payload_at(packet)..];
        if pid == 0 {
            tables = u16::from_be_bytes([payload[11] & 0x1f, payload[12]]);
        }
        if pid < 0x20 || pid == tables || !has_payload {
            continue;
        }
        if packet[1] & 0x40 == 0 {
            units.get_mut(&pid).unwrap().last_mut().unwrap().2.extend_from_slice(payload);
            continue;
        }
        assert_eq!(payload[..3], [0, 0, 1]);
        let shown = time(&payload[9..]);
        let decoded = if payload[7] & 0x40 == 0 { shown } else { time(&payload[14..]) };
        let body = payload[9 + usize::from(payload[8])..].to_vec();
        units.entry(pid).or_default().push((shown, decoded, body));
    }
    units
}

/// All groups of packets from a time on.
pub(super) fn groups(demuxer: &mut Demuxer, file: &[u8], chunk: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut reads = 0;
    loop {
        while let Some(frame) = demuxer.next() {
            assert!(frame.data.len() % 188 == 0 && frame.data.len() <= 1316);
            frames.push(frame);
        }
        let Some(range) = demuxer.need() else { return frames };
        assert!(range.start < range.end && range.end <= file.len() as u64);
        reads += 1;
        assert!(reads < 100_000);
        let end = (range.start as usize + chunk).min(range.end as usize);
        demuxer.feed(&file[range.start as usize..end]).unwrap();
    }
}

pub(super) fn joined(frames: &[Frame]) -> Vec<u8> {
    frames.iter().flat_map(|frame| frame.data.to_vec()).collect()
}

pub(super) fn bare(name: &str) -> Vec<u8> {
    if name != "stamped" {
        return film(name).to_vec();
    }
    film(name).chunks(192).flat_map(|packet| packet[4..].to_vec()).collect()
}

/// The same film whose clock began later by this.
pub(super) fn moved(file: &[u8], by: u64) -> Vec<u8> {
    let mut file = file.to_vec();
    let add = |field: &mut [u8]| {
        let time = (time(field) + by) % (1 << 33);
        let parts =
            [time >> 30 & 7, time >> 15 & 0x7fff, time & 0x7fff].map(|it| (it << 1 | 1) as u16);
        field[0] = field[0] & 0xf0 | parts[0] as u8;
        field[1..3].copy_from_slice(&parts[1].to_be_bytes());
        field[3..5].copy_from_slice(&parts[2].to_be_bytes());
    };
    for packet in file.chunks_mut(188) {
        if let Some(base) = pcr(packet) {
            let base = (base + by) % (1 << 33);
            packet[6..10].copy_from_slice(&((base >> 1) as u32).to_be_bytes());
            packet[10] = packet[10] & 0x7f | ((base & 1) as u8) << 7;
        }
        let at = payload_at(packet);
        if packet[1] & 0x40 != 0 && packet[3] & 0x10 != 0 && packet[at..].starts_with(&[0, 0, 1]) {
            let both = packet[at + 7] & 0x40 != 0;
            add(&mut packet[at + 9..at + 14]);
            if both {
                add(&mut packet[at + 14..at + 19]);
            }
        }
    }
    file
}
