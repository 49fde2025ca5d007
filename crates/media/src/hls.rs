//! Playlists of HTTP Live Streaming (RFC 8216): one that lists the streams, and one for each of them.

use core::fmt::Write as _;

use crate::TrackKind;
use crate::manifest::{Address, Listing, Rate, rate_of, seconds};
use crate::presentation::{Presentation, Stream};

/// The playlist of playlists of one film. Sound that stands beside pictures is a group of its own; players choose by language.
#[must_use]
pub fn main(presentation: &Presentation, address: &impl Fn(Address) -> String) -> String {
    several(&Listing::of(presentation), &|_, it| address(it))
}

/// The playlist of playlists of a film in several qualities, with its subtitles. `address` names a thing of the quality at that place in
/// the list.
#[must_use]
pub fn several(listing: &Listing<'_>, address: &impl Fn(usize, Address) -> String) -> String {
    let mut text = String::from("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n");
    let pictures = listing.streams(TrackKind::Video);
    let sounds = listing.streams(TrackKind::Audio);
    let loudest = sounds.iter().map(|(_, film, number, _)| rate_of(film, *number));
    let loudest = loudest.fold(Rate::default(), Rate::max);
    let mut groups = Vec::new();
    for (place, subtitle) in listing.subtitles() {
        let language = language(subtitle.language.as_deref());
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID=\"text\",NAME=\"{}\"{language},DEFAULT=NO,AUTOSELECT=YES,FORCED=NO,URI=\"{}\"",
            named(subtitle.language.as_deref(), place),
            subtitle.playlist,
        );
        groups = vec![("SUBTITLES", "text")];
    }
    if pictures.is_empty() {
        for (place, film, number, stream) in sounds {
            variant(&mut text, stream, rate_of(film, number), &groups, &[]);
            let _ = writeln!(text, "{}", address(place, Address::Playlist(number)));
        }
        return text;
    }
    for (at, (place, _, number, stream)) in sounds.iter().enumerate() {
        let tag = stream.track.language.as_deref();
        let language = language(tag);
        let first = if at == 0 { "YES" } else { "NO" };
        let _ = writeln!(
            text,
            "#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"sound\",NAME=\"{}\"{language},DEFAULT={first},AUTOSELECT=YES,URI=\"{}\"",
            named(tag, at),
            address(*place, Address::Playlist(*number)),
        );
    }
    let codecs: Vec<&str> = sounds.iter().map(|(.., stream)| stream.track.codec.as_str()).collect();
    if !sounds.is_empty() {
        groups.insert(0, ("AUDIO", "sound"));
    }
    for (place, film, number, stream) in pictures {
        let rate = rate_of(film, number).plus(loudest);
        variant(&mut text, stream, rate, &groups, &codecs);
        let _ = writeln!(text, "{}", address(place, Address::Playlist(number)));
    }
    text
}

/// The playlist of subtitles that last as long as the film, `duration_ms`, and lie in one file called `name`.
#[must_use]
pub fn captions(duration_ms: u64, name: &str) -> String {
    let longest = duration_ms.div_ceil(1000).max(1);
    let time = seconds(duration_ms.max(1), 1000);
    format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:{longest}\n#EXTINF:{time},\n{name}\n#EXT-X-ENDLIST\n"
    )
}

fn language(tag: Option<&str>) -> String {
    tag.map_or_else(String::new, |tag| format!(",LANGUAGE=\"{tag}\""))
}

fn named(tag: Option<&str>, place: usize) -> String {
    match tag {
        Some(tag) => format!("{} ({tag})", place + 1),
        None => format!("{}", place + 1),
    }
}

fn variant(
    text: &mut String,
    stream: &Stream,
    rate: Rate,
    groups: &[(&str, &str)],
    others: &[&str],
) {
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
    for (kind, group) in groups {
        let _ = write!(text, ",{kind}=\"{group}\"");
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
