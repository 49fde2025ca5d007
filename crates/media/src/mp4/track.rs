//! `moov`: the tracks of a film and where their tables lie.

use super::boxes::{self, child, children, version_flags};
use super::codec::{self, describe};
use super::tables::{PlaceTables, Times};
use crate::bytes::{array, rescaled, to_ms, u16_at, u32_at, wide_at};
use crate::limits::TRACKS_MAX;
use crate::{Coding, Track, TrackKind, language, shown_name};

/// What a `moov` says, its tables borrowed from it.
#[derive(Debug)]
pub(crate) struct Movie<'a> {
    /// Length by the header (`mvhd`, `mehd`), ms; 0 when unknown.
    pub(crate) duration_ms: u64,
    /// Whether more comes in fragments.
    pub(crate) fragmented: bool,
    /// The tracks.
    pub(crate) tracks: Vec<TrackTables<'a>>,
}

/// One track and its tables.
#[derive(Debug)]
pub(crate) struct TrackTables<'a> {
    pub(crate) track: Track,
    pub(crate) timing: Timing,
    /// The first sample entry, a whole box; empty when there is none.
    pub(crate) entry: &'a [u8],
    pub(crate) stts: &'a [u8],
    pub(crate) ctts: &'a [u8],
    pub(crate) stss: Option<&'a [u8]>,
    pub(crate) places: PlaceTables<'a>,
    /// Defaults for fragments (`trex`): length and flags of a sample.
    pub(crate) fragment_defaults: FragmentDefaults,
}

/// How a track's own time becomes the film's.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timing {
    /// Units per second; at least 1.
    pub(crate) timescale: u32,
    /// Presentation time, in units, at which the film enters the track (edit list).
    pub(crate) media_time: u64,
    /// Film time before the track begins (edit list), ms.
    pub(crate) delay_ms: u64,
}

impl Timing {
    /// Film time of presentation time `units`, ms; before the film's start is at its start.
    pub(crate) fn film_ms(&self, units: u64) -> u64 {
        to_ms(units.saturating_sub(self.media_time), self.timescale).saturating_add(self.delay_ms)
    }
    /// The same in units of the track, below 0 before the film's start.
    pub(crate) fn film_units(&self, units: u64) -> i64 {
        let units = i128::from(units) - i128::from(self.media_time) + i128::from(self.delay());
        i64::try_from(units).unwrap_or(i64::MAX)
    }
    /// Film time before the track begins, in its units.
    pub(crate) fn delay(&self) -> u64 {
        rescaled(self.delay_ms, 1000, self.timescale)
    }
    /// The track's time at film time `ms`.
    pub(crate) fn units(&self, ms: u64) -> u64 {
        let inside = rescaled(ms.saturating_sub(self.delay_ms), 1000, self.timescale);
        inside.saturating_add(self.media_time)
    }
}

/// What a sample of a fragment is when the fragment does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct FragmentDefaults {
    pub(crate) duration: u32,
    pub(crate) size: u32,
    pub(crate) flags: u32,
}

impl TrackTables<'_> {
    /// How its samples are coded.
    pub(crate) fn coding(&self) -> Coding {
        codec::coding(self.entry, self.track.kind == TrackKind::Video)
    }
}

impl<'a> Movie<'a> {
    /// Reads the body of a `moov`. Tracks that make no sense are left out.
    pub(crate) fn read(moov: &'a [u8]) -> Self {
        let header = child(moov, b"mvhd").and_then(duration_header);
        let (timescale, mut duration) = header.unwrap_or((1, 0));
        let extends = child(moov, b"mvex");
        let fragmented = extends.is_some();
        if let Some(mehd) = extends.and_then(|mvex| child(mvex, b"mehd")) {
            let wide = version_flags(mehd).is_some_and(|(version, _)| version == 1);
            duration = duration.max(wide_at(mehd, 4, wide).unwrap_or(0));
        }
        let traks = || children(moov).filter(|(name, _)| name == b"trak").map(|(_, trak)| trak);
        let chapters: Vec<u32> = traks().take(TRACKS_MAX).flat_map(chapters).collect();
        let mut tracks: Vec<_> =
            traks().filter_map(|trak| read_track(trak, timescale)).take(TRACKS_MAX).collect();
        // Text that names the chapters of another track is none to be shown.
        for track in tracks.iter_mut().filter(|track| chapters.contains(&track.track.id)) {
            track.track.kind = TrackKind::Other;
        }
        for (_, trex) in children(extends.unwrap_or(&[])).filter(|(name, _)| name == b"trex") {
            let id = u32_at(trex, 4);
            for track in tracks.iter_mut().filter(|track| Some(track.track.id) == id) {
                track.fragment_defaults = FragmentDefaults {
                    duration: u32_at(trex, 12).unwrap_or(0),
                    size: u32_at(trex, 16).unwrap_or(0),
                    flags: u32_at(trex, 20).unwrap_or(0),
                };
            }
        }
        Self { duration_ms: to_ms(duration, timescale), fragmented, tracks }
    }
    /// The track whose key frames are the film's: the first of pictures, else of sound.
    pub(crate) fn reference(&self) -> Option<usize> {
        let first = |kind| self.tracks.iter().position(|track| track.track.kind == kind);
        first(TrackKind::Video).or_else(|| first(TrackKind::Audio))
    }
}

/// Timescale and duration of `mvhd` or `mdhd`. All ones mean unknown and become zero.
fn duration_header(body: &[u8]) -> Option<(u32, u64)> {
    let (version, _) = version_flags(body)?;
    let wide = version == 1;
    let at = if wide { 20 } else { 12 };
    let timescale = u32_at(body, at)?;
    let duration = wide_at(body, at + 4, wide)?;
    let unknown = duration == u64::MAX || (!wide && duration == u64::from(u32::MAX));
    Some((timescale.max(1), if unknown { 0 } else { duration }))
}

fn read_track(trak: &[u8], movie_timescale: u32) -> Option<TrackTables<'_>> {
    let tkhd = child(trak, b"tkhd")?;
    let (version, _) = version_flags(tkhd)?;
    let id = u32_at(tkhd, if version == 1 { 20 } else { 12 })?;
    let mdia = child(trak, b"mdia")?;
    let mdhd = child(mdia, b"mdhd")?;
    let (timescale, duration) = duration_header(mdhd)?;
    let kind = match child(mdia, b"hdlr").and_then(|hdlr| array::<4>(hdlr, 8)).as_ref() {
        Some(b"vide") => TrackKind::Video,
        Some(b"soun") => TrackKind::Audio,
        Some(b"text" | b"sbtl" | b"subt" | b"clcp") => TrackKind::Text,
        _ => TrackKind::Other,
    };
    let stbl = child(child(mdia, b"minf")?, b"stbl")?;
    let stsd = child(stbl, b"stsd").and_then(|stsd| stsd.get(8..)).unwrap_or(&[]);
    let (codec, size) = children(stsd)
        .next()
        .map(|(name, entry)| describe(&name, entry, kind == TrackKind::Video))
        .unwrap_or_default();
    let elst = child(trak, b"edts").and_then(|edts| child(edts, b"elst")).unwrap_or(&[]);
    let timing = timing(elst, timescale, movie_timescale);
    let stts = child(stbl, b"stts").unwrap_or(&[]);
    let (_, total) = Times::total(stts);
    let units = if total > 0 { total } else { duration };
    let duration_ms = if units > 0 { timing.film_ms(units) } else { 0 };
    let elng = child(mdia, b"elng").and_then(|elng| elng.get(4..)).and_then(text);
    let name = child(trak, b"udta").and_then(|udta| child(udta, b"name"));
    let track = Track {
        codec,
        duration_ms,
        size,
        language: elng.or_else(|| packed(mdhd)).and_then(|said| language::tag(&said)),
        name: name.and_then(shown_name),
        is_forced: is_forced(stsd),
        ..Track::new(id, kind)
    };
    Some(TrackTables {
        track,
        timing,
        entry: boxes::first(stsd),
        stts,
        ctts: child(stbl, b"ctts").unwrap_or(&[]),
        stss: child(stbl, b"stss"),
        places: PlaceTables {
            stsc: child(stbl, b"stsc"),
            stco: child(stbl, b"stco"),
            co64: child(stbl, b"co64"),
            stsz: child(stbl, b"stsz"),
            stz2: child(stbl, b"stz2"),
        },
        fragment_defaults: FragmentDefaults::default(),
    })
}

/// Leading empty edits delay a track; the first real one says where in it the film begins. Later ones are cuts inside
/// the film: no index of ours tells them, and players behind HTTP read the file's own.
fn timing(elst: &[u8], timescale: u32, movie_timescale: u32) -> Timing {
    let mut timing = Timing { timescale, media_time: 0, delay_ms: 0 };
    let wide = version_flags(elst).is_some_and(|(version, _)| version == 1);
    let size = if wide { 20 } else { 12 };
    for edit in elst.get(8..).unwrap_or(&[]).chunks_exact(size) {
        let (Some(length), Some(start)) =
            (wide_at(edit, 0, wide), wide_at(edit, if wide { 8 } else { 4 }, wide))
        else {
            break;
        };
        let empty = if wide { start == u64::MAX } else { start == u64::from(u32::MAX) };
        if empty {
            timing.delay_ms = timing
                .delay_ms
                .saturating_add(to_ms(length, movie_timescale))
                .min(crate::limits::DURATION_MS_MAX);
        } else {
            timing.media_time = start;
            break;
        }
    }
    timing
}

/// The tracks that tell the chapters of one (`tref`, in the manner of QuickTime).
fn chapters(trak: &[u8]) -> Vec<u32> {
    let chapters = child(trak, b"tref").and_then(|tref| child(tref, b"chap")).unwrap_or(&[]);
    chapters.chunks_exact(4).take(TRACKS_MAX).filter_map(|id| u32_at(id, 0)).collect()
}

/// Whether all samples of timed text are to be shown in any case (3GPP TS 26.245, 5.16).
fn is_forced(stsd: &[u8]) -> bool {
    let entry = child(stsd, b"tx3g").and_then(|entry| u32_at(entry, 8));
    entry.is_some_and(|flags| flags & 0x8000_0000 != 0)
}

/// A text that ends with a byte of zero.
fn text(data: &[u8]) -> Option<String> {
    let text = data.split(|byte| *byte == 0).next()?;
    core::str::from_utf8(text).ok().map(str::to_owned)
}

/// Three letters of five bits each behind the times of `mdhd`.
fn packed(mdhd: &[u8]) -> Option<String> {
    let (version, _) = version_flags(mdhd)?;
    let packed = u16_at(mdhd, if version == 1 { 32 } else { 20 })?;
    let letter = |shift: u16| char::from(b'`' + u8::try_from(packed >> shift & 0x1f).unwrap_or(0));
    Some([10, 5, 0].map(letter).iter().collect())
}
