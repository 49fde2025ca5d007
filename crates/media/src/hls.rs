//! Playlists of HTTP Live Streaming (RFC 8216): one that lists the streams, and one for each of them.

use core::fmt::Write as _;

use crate::TrackKind;
use crate::manifest::{Address, Rate, rate_of, seconds};
use crate::presentation::{Presentation, Stream};

/// The playlist of playlists. Sound that stands beside pictures is a group of its own; players choose by language.
#[must_use]
pub fn main(presentation: &Presentation, address: &impl Fn(Address) -> String) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let of = |kind: TrackKind| {
        let streams = presentation.streams().iter().enumerate();
        streams.filter(move |(_, stream)| stream.track.kind == kind && stream.is_packaged())
    };
    let has_pictures = of(TrackKind::Video).next().is_some();
    let sounds: Vec<_> = of(TrackKind::Audio).collect();
    let loudest = sounds.iter().map(|(number, _)| rate_of(presentation, *number));
    let loudest = loudest.fold(Rate::default(), Rate::max);
    if !has_pictures {
        for (number, stream) in sounds {
            variant(&mut text, stream, rate_of(presentation, number), None, &[]);
            let _ = writeln!(text, "{}", address(Address::Playlist(number)));
        }
        return text;
    }
    for (place, (number, stream)) in sounds.iter().enumerate() {
        let tag = stream.track.language.as_deref();
        let language = tag.map_or_else(String::new, |tag| format!(",LANGUAGE=\"{tag}\""));
        let first = if place == 0 { "YES" } else { "NO" };
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"{}\"{language},DEFAULT={first},AUTOSELECT=YES,URI=\"{}\"",
            named(tag, place),
            address(Address::Playlist(*number)),
        );
    }
    let codecs: Vec<&str> = sounds.iter().map(|(_, stream)| stream.track.codec.as_str()).collect();
    for (number, stream) in of(TrackKind::Video) {
        let rate = rate_of(presentation, number).plus(loudest);
        let group = (!sounds.is_empty()).then_some("sound");
        variant(&mut text, stream, rate, group, &codecs);
        let _ = writeln!(text, "{}", address(Address::Playlist(number)));
    }
    text
}

fn named(tag: Option<&str>, place: usize) -> String {
    match tag {
        Some(tag) => format!("{} ({tag})", place + 1),
        None => format!("{}", place + 1),
    }
}

fn variant(text: &mut String, stream: &Stream, rate: Rate, group: Option<&str>, others: &[&str]) {
    let mut codecs = vec![stream.track.codec.as_str()];
    for codec in others {
        if !codecs.contains(codec) {
            codecs.push(codec);
        }
    }
    // A name that a hostile file made up must not end its quotes.
    codecs.retain(|codec| !codec.is_empty() && !codec.contains('"'));
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\"",
        rate.most,
        rate.mean,
        codecs.join(",")
    );
    if let Some((width, height)) = stream.track.size {
        let _ = write!(text, ",RESOLUTION={width}x{height}");
    }
    if let Some(group) = group {
        let _ = write!(text, ",AUDIO=\"{group}\"");
    }
    text.push('\n');
}

/// The playlist of one stream.
#[must_use]
pub fn stream(
    presentation: &Presentation,
    number: usize,
    address: &impl Fn(Address) -> String,
) -> Option<String> {
    let stream = presentation.streams().get(number).filter(|stream| stream.is_packaged())?;
    let spans = || presentation.spans(number);
    let length = |span: &crate::presentation::Span| span.end - span.start;
    let longest = spans().map(length).max().unwrap_or(0);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MAP:URI=\"{}\"\n",
        stream.rescaled(longest.saturating_add(u64::from(stream.timescale) / 2), 1).max(1),
        address(Address::Header(number)),
    );
    for span in spans() {
        let time = seconds(length(span), stream.timescale);
        let name = address(Address::Segment(number, span.start));
        let _ = writeln!(text, "#EXTINF:{time},\n{name}");
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}

/// The playlist of a film in transport streams, each segment with all its streams: where they are made of frames ([`crate::mpegts::mux`]),
/// or the parts of a film that is one, with its tables in front ([`crate::mpegts::Transport::front`]). `address` names the segment that begins at a time,
/// in units of the stream at whose key frames the film is cut. `None` where the packets of a film have something between them.
#[must_use]
pub fn transport_stream(
    presentation: &Presentation,
    address: &impl Fn(u64) -> String,
) -> Option<String> {
    let transport = presentation.transport();
    if transport.is_some_and(|transport| !transport.is_bare()) {
        return None;
    }
    let number = crate::presentation::reference(presentation.streams());
    let timescale = presentation.streams().get(number)?.timescale;
    let spans = || presentation.segments().iter().filter_map(|segment| segment.spans.get(number));
    let length = |span: &crate::presentation::Span| span.end - span.start;
    let longest = spans().map(length).max().unwrap_or(0);
    let longest = longest.saturating_add(u64::from(timescale) / 2) / u64::from(timescale.max(1));
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:4\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:{}\n",
        longest.max(1)
    );
    if transport.is_none_or(crate::mpegts::Transport::is_exact) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    for span in spans().filter(|span| span.start < span.end) {
        let _ = writeln!(
            text,
            "#EXTINF:{},\n{}",
            seconds(length(span), timescale),
            address(span.start)
        );
    }
    text.push_str("#EXT-X-ENDLIST\n");
    Some(text)
}
