//! Playlists of HTTP Live Streaming (RFC 8216): one that lists the streams, and one for each of them.

use core::fmt::Write as _;

use crate::TrackKind;
use crate::manifest::{Address, Listing, Rate, chosen, rate_of, seconds, stretches};
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
    let mut groups = texts(&mut text, listing, address);
    if pictures.is_empty() {
        for (place, film, number, stream) in sounds {
            variant(&mut text, stream, rate_of(film, number), &groups, &[]);
            let _ = writeln!(text, "{}", address(place, Address::Playlist(number)));
        }
        return text;
    }
    let first = chosen(sounds.iter().map(|it| it.3)).unwrap_or(0);
    let mut names = Names::default();
    for (at, (place, _, number, stream)) in sounds.iter().enumerate() {
        let rendition = Rendition {
            kind: "AUDIO",
            group: "sound",
            name: names.take(stream.track.name.as_deref(), stream.track.language.as_deref()),
            language: stream.track.language.as_deref(),
            is_default: at == first,
            forced: None,
        };
        rendition.write(&mut text, &address(*place, Address::Playlist(*number)));
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

/// Subtitles beside the film, then the text tracks inside it. Gives the group that they are.
fn texts(
    text: &mut String,
    listing: &Listing<'_>,
    address: &impl Fn(usize, Address) -> String,
) -> Vec<(&'static str, &'static str)> {
    let rendition = Rendition { kind: "SUBTITLES", group: "text", ..Rendition::default() };
    let mut names = Names::default();
    for subtitle in listing.subtitles() {
        let language = subtitle.language.as_deref();
        let (name, forced) = (names.take(None, language), Some(false));
        Rendition { name, language, forced, ..rendition }.write(text, &subtitle.playlist);
    }
    let inside = listing.texts();
    let first = chosen(inside.iter().map(|it| it.3));
    for (at, (place, _, number, stream)) in inside.iter().enumerate() {
        let track = &stream.track;
        let language = track.language.as_deref();
        let one = Rendition {
            name: names.take(track.name.as_deref(), language),
            language,
            is_default: first == Some(at),
            forced: Some(track.is_forced),
            ..rendition
        };
        one.write(text, &address(*place, Address::Playlist(*number)));
    }
    if names.taken.is_empty() { Vec::new() } else { vec![("SUBTITLES", "text")] }
}

/// Sound or text that is chosen beside the pictures (RFC 8216, 4.3.4.1).
#[derive(Clone, Default)]
struct Rendition<'r> {
    kind: &'static str,
    group: &'static str,
    name: String,
    language: Option<&'r str>,
    is_default: bool,
    /// Of text.
    forced: Option<bool>,
}

impl Rendition<'_> {
    fn write(&self, text: &mut String, address: &str) {
        let Self { kind, group, name, .. } = self;
        let word = |is: bool| if is { "YES" } else { "NO" };
        let _ = write!(text, "#EXT-X-MEDIA:TYPE={kind},GROUP-ID=\"{group}\",NAME=\"{name}\"");
        if let Some(language) = self.language {
            let _ = write!(text, ",LANGUAGE=\"{language}\"");
        }
        let _ = write!(text, ",DEFAULT={},AUTOSELECT=YES", word(self.is_default));
        if let Some(forced) = self.forced {
            let _ = write!(text, ",FORCED={}", word(forced));
        }
        let _ = writeln!(text, ",URI=\"{address}\"");
    }
}

/// Names of the renditions of a group, which differ.
#[derive(Default)]
struct Names {
    taken: Vec<String>,
}

impl Names {
    /// The film's own name for the next of them, fit for quotes; its number and language where it has none, or another one has it.
    fn take(&mut self, own: Option<&str>, language: Option<&str>) -> String {
        let place = self.taken.len() + 1;
        let own = own.map(|name| name.replace('"', "'"));
        let mut name = match (own, language) {
            (Some(name), _) => name,
            (None, Some(tag)) => format!("{place} ({tag})"),
            (None, None) => place.to_string(),
        };
        while self.taken.contains(&name) {
            name = format!("{place} {name}");
        }
        self.taken.push(name.clone());
        name
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

/// The playlist of one stream, or of one text.
#[must_use]
pub fn stream(
    presentation: &Presentation,
    number: usize,
    address: &impl Fn(Address) -> String,
) -> Option<String> {
    if presentation.text(number).is_some() {
        let segments = stretches(presentation).map(|it| (it.start, it.end - it.start));
        return Some(segmented(segments.collect(), 1000, "", &|start| {
            address(Address::Text(number, start))
        }));
    }
    let stream = presentation.streams().get(number).filter(|stream| stream.is_packaged())?;
    let segments = presentation.spans(number).map(|span| (span.start, span.end - span.start));
    let header = format!(
        "#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"{}\"\n",
        address(Address::Header(number))
    );
    Some(segmented(segments.collect(), stream.timescale, &header, &|start| {
        address(Address::Segment(number, start))
    }))
}

/// A playlist of segments, each with its start and length.
fn segmented(
    segments: Vec<(u64, u64)>,
    timescale: u32,
    header: &str,
    address: &dyn Fn(u64) -> String,
) -> String {
    let longest = segments.iter().map(|segment| segment.1).max().unwrap_or(0);
    let longest = longest.saturating_add(u64::from(timescale) / 2);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-TARGETDURATION:{}\n{header}",
        crate::bytes::rescaled(longest, timescale, 1).max(1),
    );
    for (start, length) in segments {
        let _ = writeln!(text, "#EXTINF:{},\n{}", seconds(length, timescale), address(start));
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
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
