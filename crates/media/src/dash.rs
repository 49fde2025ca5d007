//! The manifest of MPEG-DASH (ISO/IEC 23009-1): an MPD with a time line for each stream, since segments end at key frames and not by the
//! clock.

use core::fmt::Write as _;

use crate::TrackKind;
use crate::manifest::{Address, Listing, Subtitle, rate_of, seconds};
use crate::presentation::{Presentation, Stream};

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
        let set = Set { id: "pictures", kind: "video", aligned, language: None };
        set.open(&mut text);
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
    for (place, film, number, stream) in streams {
        let kind = if stream.track.kind == TrackKind::Video { "video" } else { "audio" };
        let (id, language) = (number.to_string(), stream.track.language.as_deref());
        Set { id: &id, kind, aligned: true, language }.open(&mut text);
        representation(&mut text, &id, (film, number, stream), &|it| address(place, it));
        text.push_str("</AdaptationSet>\n");
    }
    for (_, subtitle) in listing.subtitles() {
        captions(&mut text, subtitle);
    }
    text.push_str("</Period>\n</MPD>\n");
    text
}

/// How a set of representations begins, of which a player shows one.
struct Set<'s> {
    id: &'s str,
    kind: &'s str,
    aligned: bool,
    language: Option<&'s str>,
}

impl Set<'_> {
    fn open(&self, text: &mut String) {
        let Self { id, kind, aligned, language } = self;
        let language =
            language.map_or_else(String::new, |tag| format!(" lang=\"{}\"", escaped(tag)));
        let _ = writeln!(
            text,
            "<AdaptationSet id=\"{id}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"{aligned}\" startWithSAP=\"1\"{language}>",
        );
    }
}

/// Subtitles in one file.
fn captions(text: &mut String, subtitle: &Subtitle) {
    let number = subtitle.number;
    let language = subtitle.language.as_deref();
    let language = language.map_or_else(String::new, |tag| format!(" lang=\"{}\"", escaped(tag)));
    let _ = writeln!(
        text,
        "<AdaptationSet id=\"text-{number}\" contentType=\"text\" mimeType=\"text/vtt\"{language}>\n<Role schemeIdUri=\"urn:mpeg:dash:role:2011\" value=\"subtitle\"/>\n<Representation id=\"text-{number}\" bandwidth=\"1000\">\n<BaseURL>{}</BaseURL>\n</Representation>\n</AdaptationSet>",
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
    let media = escaped(&address(Address::Segment(number, u64::MAX)))
        .replace(&u64::MAX.to_string(), "$Time$");
    let header = escaped(&address(Address::Header(number)));
    let _ = writeln!(
        text,
        "<SegmentTemplate timescale=\"{}\" initialization=\"{header}\" media=\"{media}\">\n<SegmentTimeline>",
        stream.timescale,
    );
    time_line(text, film, number);
    text.push_str("</SegmentTimeline>\n</SegmentTemplate>\n</Representation>\n");
}

/// Runs of segments that last equally long, one line each.
fn time_line(text: &mut String, presentation: &Presentation, number: usize) {
    let spans: Vec<_> = presentation.spans(number).collect();
    for run in spans.chunk_by(|a, b| a.end - a.start == b.end - b.start && a.end == b.start) {
        let Some(first) = run.first() else { continue };
        let (start, length, more) = (first.start, first.end - first.start, run.len() - 1);
        let _ = writeln!(text, "<S t=\"{start}\" d=\"{length}\" r=\"{more}\"/>");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
