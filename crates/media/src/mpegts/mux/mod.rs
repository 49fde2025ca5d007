//! Transport streams of the frames of other containers, a segment at a time, for HLS.
//!
//! A segment is a pure function of its frames: all peers make the same bytes. What players take for one stream are segments behind each other,
//! so that in each of them every stream begins to count at 0 and has a multiple of sixteen packets; its last unit is spread over as many
//! as are missing. Tables stand in front and come sixteen times.

mod convert;
mod packets;

use self::convert::Carrier;
use self::packets::{Packets, Unit};
use super::clock::HZ;
use crate::bytes::rescaled;
use crate::demux::Frame;
use crate::presentation::Stream;
use crate::{Format, TrackKind};

/// What is added to all times: no frame is decoded before it. Ten seconds, as Apple's tools do.
pub const BASE: u64 = 10 * HZ as u64;
/// How long the bytes of a frame come before it is decoded.
const AHEAD: u64 = 7 * HZ as u64 / 10;
/// The clock is told as often at least: the standard wants 100 ms, players 40.
const CLOCK_STEP: u64 = 36 * HZ as u64 / 1000;
/// Where frames are further apart than this, the clock is not told between all the same.
const CLOCK_GAP: u64 = 10 * HZ as u64;
/// Frames of sound are put together into units of about this size,
const SOUND_BYTES: usize = 1400;
/// and this length.
const SOUND_TICKS: u64 = HZ as u64 / 10;
/// Streams of a segment; their table has to fit a packet.
pub const STREAMS_MAX: usize = 8;
/// Times that tables come in a segment, so that they count up to where they began.
const TABLES: usize = 16;

/// Whether a stream can be carried in a transport stream: H.264, H.265, MPEG-1 and MPEG-2 pictures, AAC, MPEG sound and AC-3 can.
#[must_use]
pub fn can_carry(stream: &Stream) -> bool {
    Carrier::of(&stream.coding).is_some()
}

/// A stream on its way.
struct Lane<'a> {
    number: usize,
    stream: &'a Stream,
    carrier: Carrier,
    /// Frames of sound that are put together.
    held: Option<Unit>,
}

/// A segment of these streams, each with its place in [`crate::Presentation::streams`], out of their frames in the order in which they are
/// decoded. Frames of other streams are left out. `None` when one cannot be carried, or when there are more than [`STREAMS_MAX`] or none.
#[must_use]
pub fn segment(streams: &[(usize, &Stream)], frames: &[Frame]) -> Option<Vec<u8>> {
    let lane =
        |(number, stream): &(usize, &'_ Stream)| Some((*number, Carrier::of(&stream.coding)?));
    let carriers: Vec<_> = streams.iter().map(lane).collect::<Option<_>>()?;
    let mut lanes: Vec<Lane<'_>> = carriers
        .into_iter()
        .zip(streams)
        .map(|((number, carrier), (_, stream))| Lane { number, stream, carrier, held: None })
        .collect();
    if lanes.is_empty() || lanes.len() > STREAMS_MAX {
        return None;
    }
    let units = units(&mut lanes, frames);
    let is_video = |lane: &Lane<'_>| lane.stream.track.kind == TrackKind::Video;
    let clock = lanes.iter().position(is_video).unwrap_or(0);
    Some(write(&lanes, clock, &units))
}

/// The units of all streams, in the order in which they are written.
fn units(lanes: &mut [Lane<'_>], frames: &[Frame]) -> Vec<Unit> {
    let mut units = Vec::new();
    for frame in frames {
        let Some(place) = lanes.iter().position(|lane| lane.number == frame.stream) else {
            continue;
        };
        let Some(lane) = lanes.get_mut(place) else { continue };
        let unit = lane.unit(place, frame);
        if lane.stream.track.kind == TrackKind::Video {
            units.push(unit);
            continue;
        }
        match &mut lane.held {
            Some(held)
                if held.data.len() + unit.data.len() <= SOUND_BYTES
                    && unit.shown.wrapping_sub(held.shown) < SOUND_TICKS =>
            {
                held.data.extend_from_slice(&unit.data);
            }
            held => units.extend(held.replace(unit)),
        }
    }
    units.extend(lanes.iter_mut().filter_map(|lane| lane.held.take()));
    units
}

impl Lane<'_> {
    fn unit(&self, place: usize, frame: &Frame) -> Unit {
        let ticks = |units: u64| rescaled(units, self.stream.timescale, HZ);
        let shown = ticks(frame.shown).saturating_add(BASE);
        let delay = ticks(u64::from(self.stream.delay()));
        let decoded = ticks(frame.decoded).saturating_add(BASE).saturating_sub(delay);
        let is_video = self.stream.track.kind == TrackKind::Video;
        Unit {
            place,
            shown,
            decoded: if is_video { decoded.min(shown) } else { shown },
            is_key: frame.is_key && is_video,
            is_video,
            data: self.carrier.convert(frame),
        }
    }
}

fn write(lanes: &[Lane<'_>], clock: usize, units: &[Unit]) -> Vec<u8> {
    let entries: Vec<_> = lanes
        .iter()
        .map(|lane| (lane.stream.coding.format, lane.stream.track.language.as_deref()))
        .collect();
    let mut out = Packets::new(&entries, clock);
    let mut told: Option<u64> = None;
    let mut tables = 0;
    let last = |place: usize| units.iter().rposition(|unit| unit.place == place);
    let last: Vec<_> = (0..lanes.len()).map(last).collect();
    let time = |unit: &Unit| unit.decoded.saturating_sub(AHEAD);
    for (number, unit) in units.iter().enumerate() {
        while tables <= number * (TABLES - 1) / units.len() {
            out.tables();
            tables += 1;
        }
        if told.is_none() && unit.place != clock {
            // Who begins here needs to know what time it is, whichever stream comes first.
            let first = units.iter().find(|unit| unit.place == clock).unwrap_or(unit);
            out.clock(time(first));
            told = Some(time(first));
        }
        let mut now = None;
        if unit.place == clock {
            let time = time(unit).max(told.unwrap_or(0));
            let gap = time.saturating_sub(told.unwrap_or(time));
            let mut step = told.unwrap_or(time).saturating_add(CLOCK_STEP);
            while gap <= CLOCK_GAP && step < time {
                out.clock(step);
                step = step.saturating_add(CLOCK_STEP);
            }
            (told, now) = (Some(time), Some(time));
        }
        out.unit(unit, now, last.get(unit.place) == Some(&Some(number)));
    }
    for _ in tables..TABLES {
        out.tables();
    }
    out.finish()
}

/// The kind of a stream in the table of a program (ISO/IEC 13818-1, table 2-34).
fn kind(format: Format) -> u8 {
    match format {
        Format::H264 => 0x1b,
        Format::H265 => 0x24,
        Format::Mpeg2 => 0x02,
        Format::Aac => 0x0f,
        Format::Ac3 => 0x81,
        _ => 0x03,
    }
}
