//! The manifest of MPEG-DASH (ISO/IEC 23009-1): an MPD with a time line for each stream, since segments end at key frames and not by the
//! clock.

use core::fmt::Write as _;

use crate::TrackKind;
use crate::manifest::{Address, rate_of, seconds};
use crate::presentation::{Presentation, Stream};

/// The manifest. Segments are named by the time at which they begin: `$Time$`.
#[must_use]
pub fn manifest(presentation: &Presentation, address: &impl Fn(Address) -> String) -> String {
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" profiles=\"urn:mpeg:dash:profile:isoff-live:2011\" type=\"static\" mediaPresentationDuration=\"PT{}S\" minBufferTime=\"PT2S\">\n<Period id=\"1\" start=\"PT0S\">\n",
        seconds(presentation.duration_ms(), 1000),
    );
    let streams = presentation.streams().iter().enumerate();
    for (number, stream) in streams.filter(|(_, stream)| stream.is_packaged()) {
        adaptation_set(&mut text, presentation, number, stream, address);
    }
    text.push_str("</Period>\n</MPD>\n");
    text
}

fn adaptation_set(
    text: &mut String,
    presentation: &Presentation,
    number: usize,
    stream: &Stream,
    address: &impl Fn(Address) -> String,
) {
    let is_video = stream.track.kind == TrackKind::Video;
    let kind = if is_video { "video" } else { "audio" };
    let language = stream.track.language.as_deref();
    let language = language.map_or_else(String::new, |tag| format!(" lang=\"{}\"", escaped(tag)));
    let _ = writeln!(
        text,
        "<AdaptationSet id=\"{number}\" contentType=\"{kind}\" mimeType=\"{kind}/mp4\" segmentAlignment=\"true\" startWithSAP=\"1\"{language}>",
    );
    let _ = write!(
        text,
        "<Representation id=\"{number}\" bandwidth=\"{}\" codecs=\"{}\"",
        rate_of(presentation, number).most.max(1),
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
    time_line(text, presentation, number);
    text.push_str("</SegmentTimeline>\n</SegmentTemplate>\n</Representation>\n</AdaptationSet>\n");
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
