//! The manifest of MPEG-DASH (ISO/IEC 23009-1): an MPD with a time line for each stream, since segments end at key frames and not by the
//! clock.

use core::fmt::Write as _;
use core::ops::Range;

use crate::manifest::{Address, Listing, Subtitle, chosen, rate_of, seconds, stretches};
use crate::presentation::{Presentation, Stream};
use crate::{Track, TrackKind};

/// What is said of the rate of text, bits in a second.
const TEXT_BITS: u32 = 1000;

/// The manifest of one film. Segments are named by the time at which they begin: `$Time$`.
#[must_use]
pub fn manifest(presentation: &Presentation, address: &impl Fn(Address) -> String) -> String {
    several(&Listing::of(presentation), &|_, it| address(it))
}

/// The manifest of a film in several qualities, with its subtitles. `address` names a thing of the quality at that place in the list.
#[must_use]
pub fn several(listing: &Listing<'_>, address: &impl Fn(usize, Address) -> String) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" mediaPresentationDuration=\"PT{}S\" minBufferTime=\"PT2S\">\n<Period id=\"1\" start=\"PT0S\">\n",
        seconds(listing.duration_ms(), 1000),
    );
    let mut streams = listing.streams(TrackKind::Video);
    if !listing.is_single() && !streams.is_empty() {
        let aligned = listing.is_aligned();
        Set { kind: "video", aligned, track: None }.open(&mut text);
        for (place, film, number, stream) in core::mem::take(&mut streams) {
            let id = format!("{place}-{number}");
            let names = |it| address(place, it);
            representation(&mut text, &id, (film, number, stream), &names);
        }
        text.push_str("</AdaptationSet>\n");
    }
    streams.extend(listing.streams(TrackKind::Audio));
    // In the order of the film.
    streams.sort_by_key(|(_, _, number, _)| *number);
    let sounds = || streams.iter().filter(|it| it.3.track.kind == TrackKind::Audio);
    // Said only where there is a choice.
    let first = chosen(sounds().map(|it| it.3)).filter(|_| sounds().count() > 1);
    let first = first.and_then(|first| sounds().nth(first)).map(|it| it.2);
    for (place, film, number, stream) in &streams {
        let kind = if stream.track.kind == TrackKind::Video { "video" } else { "audio" };
        let id = number.to_string();
        Set { kind, aligned: true, track: Some(&stream.track) }.open(&mut text);
        if first == Some(*number) {
            role(&mut text, "main");
        }
        representation(&mut text, &id, (film, *number, stream), &|it| address(*place, it));
        text.push_str("</AdaptationSet>\n");
    }
    for subtitle in listing.subtitles() {
        captions(&mut text, subtitle);
    }
    let texts = listing.texts();
    let first = chosen(texts.iter().map(|it| it.3));
    for (at, (place, film, number, stream)) in texts.iter().enumerate() {
        let names = |it| address(*place, it);
        inside(&mut text, (film, *number, stream), first == Some(at), &names);
    }
    text.push_str("</Period>\n</MPD>\n");
    text
}

/// How a set of representations begins, of which a player shows one.
struct Set<'s> {
    kind: &'s str,
    aligned: bool,
    /// Of which name and language are told.
    track: Option<&'s Track>,
}

impl Set<'_> {
    fn open(&self, text: &mut String) {
        let Self { kind, aligned, track } = self;
        let container = if *kind == "text" { "application" } else { kind };
        let language = language(track.and_then(|track| track.language.as_deref()));
        let _ = writeln!(
            text,
            "<AdaptationSet contentType=\"{kind}\" mimeType=\"{container}/mp4\" segmentAlignment=\"{aligned}\" startWithSAP=\"1\"{language}>",
        );
        if let Some(name) = track.and_then(|track| track.name.as_deref()) {
            let _ = writeln!(text, "<Label>{}</Label>", escaped(name));
        }
    }
}

fn language(tag: Option<&str>) -> String {
    tag.map_or_else(String::new, |tag| format!(" lang=\"{}\"", escaped(tag)))
}

/// What a set is for (ISO/IEC 23009-1, 5.8.5.5).
fn role(text: &mut String, value: &str) {
    let _ = writeln!(text, "<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"{value}\"/>");
}

/// A text track inside the film, in fragments.
fn inside(
    text: &mut String,
    (film, number, stream): (&Presentation, usize, &Stream),
    is_default: bool,
    address: &impl Fn(Address) -> String,
) {
    let (id, track) = (format!("text-inside-{number}"), &stream.track);
    // Where places of cues are not told a segment may reach into the next.
    let aligned = film.tells_text(number);
    Set { kind: "text", aligned, track: Some(track) }.open(text);
    role(text, if track.is_forced { "forced-subtitle" } else { "subtitle" });
    if is_default {
        role(text, "main");
    }
    let _ =
        writeln!(text, "<Representation id=\"{id}\" bandwidth=\"{TEXT_BITS}\" codecs=\"wvtt\">");
    let spans = stretches(film).map(|it| it.start..it.end);
    template(text, number, 1000, spans.collect(), address);
    text.push_str("</Representation>\n</AdaptationSet>\n");
}

/// Subtitles in one file.
fn captions(text: &mut String, subtitle: &Subtitle) {
    let number = subtitle.number;
    let language = language(subtitle.language.as_deref());
    let _ = writeln!(text, "<AdaptationSet contentType=\"text\" mimeType=\"text/vtt\"{language}>",);
    role(text, "subtitle");
    let _ = writeln!(
        text,
        "<Representation id=\"text-{number}\" bandwidth=\"{TEXT_BITS}\">\n<BaseURL>{}</BaseURL>\n</Representation>\n</AdaptationSet>",
        escaped(&subtitle.text),
    );
}

fn representation(
    text: &mut String,
    id: &str,
    (film, number, stream): (&Presentation, usize, &Stream),
    address: &impl Fn(Address) -> String,
) {
    let _ = write!(
        text,
        "<Representation id=\"{id}\" bandwidth=\"{}\" codecs=\"{}\"",
        rate_of(film, number).most.max(1),
        escaped(&stream.track.codec),
    );
    match stream.track.size {
        Some((width, height)) => {
            let _ = writeln!(text, " width=\"{width}\" height=\"{height}\">");
        }
        None if stream.coding.rate > 0 => {
            let _ = writeln!(text, " audioSamplingRate=\"{}\">", stream.coding.rate);
        }
        None => text.push_str(">\n"),
    }
    let spans = film.spans(number).map(|span| span.start..span.end);
    template(text, number, stream.timescale, spans.collect(), address);
    text.push_str("</Representation>\n");
}

/// Where the header and the segments are, which last as long as these spans.
fn template(
    text: &mut String,
    number: usize,
    timescale: u32,
    spans: Vec<Range<u64>>,
    address: &impl Fn(Address) -> String,
) {
    let media = escaped(&address(Address::Segment(number, u64::MAX)))
        .replace(&u64::MAX.to_string(), "$Time$");
    let header = escaped(&address(Address::Header(number)));
    let _ = writeln!(
        text,
        "<SegmentTemplate timescale=\"{timescale}\" initialization=\"{header}\" media=\"{media}\">\n<SegmentTimeline>",
    );
    // Runs of segments that last equally long, one line each.
    for run in spans.chunk_by(|a, b| a.end - a.start == b.end - b.start && a.end == b.start) {
        let Some(first) = run.first() else { continue };
        let (start, length, more) = (first.start, first.end - first.start, run.len() - 1);
        let _ = writeln!(text, "<S t=\"{start}\" d=\"{length}\" r=\"{more}\"/>");
    }
    text.push_str("</SegmentTimeline>\n</SegmentTemplate>\n");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
