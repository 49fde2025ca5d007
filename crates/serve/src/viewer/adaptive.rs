//! `/hls/{infohash}/{file index}/{name}` and `/dash/...`: a film in segments, for players that fetch it piece by piece.
//!
//! `main.m3u8` (HLS) and `manifest.mpd` (DASH) name all the rest: `N.m3u8`, `N-header.mp4` and `N-TIME.m4s` of stream `N`, and `N-TIME.vtt` where it
//! is text. `ts.m3u8` names
//! `TIME.ts`, the same in transport streams, for players in the manner of ffmpeg, which cannot jump in the other kind. A film that is a
//! transport stream comes as parts of its file under `ts.m3u8`, for all else it is taken apart; where that cannot be done `main.m3u8` names its parts, too. Where a title has a film in several qualities, both lists name those of
//! all (`../OTHER FILE/...`), and `subtitles-FILE.m3u8` and `.vtt` for those beside it. All of it is made of the film's own index, so that every peer
//! gives the same bytes, and none of it is kept.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::header::{CONTENT_LENGTH, HeaderValue};
use hyper::{Method, Response, StatusCode};
use shoal_media::manifest::Address;
use shoal_media::mpegts::Transport;
use shoal_media::presentation::Stream;
use shoal_media::{Presentation, cmaf, hls};
use shoal_node::io::Command;
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;

use super::Face;
use crate::answer::{answer, not_yet, text};
use crate::body::Body;
use crate::family;
use crate::limits::PACKET_BYTES;
use crate::lookup::number;
use crate::offers::Offers;
use crate::packages::NoFrames;
use crate::pieces::{Pieces, Places};
use crate::segments::{self, NoSegment, assembled, carried};

/// Types of playlists (RFC 8216), manifests and segments (ISO/IEC 23009-1).
const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const MANIFEST: &str = "application/dash+xml";
const SEGMENT: &str = "video/mp4";
const TRANSPORT: &str = "video/mp2t";
/// Of text (W3C, WebVTT), and of text in fragments (RFC 4337).
pub(super) const TEXT: &str = "text/vtt; charset=utf-8";
const TEXT_FRAGMENT: &str = "application/mp4";

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Main,
    Manifest,
    Playlist(usize),
    Header(usize),
    Segment(usize, u64),
    Cues(usize, u64),
    Carried,
    CarriedSegment(u64),
    Captions(u32),
    Text(u32),
}

impl Asked {
    /// The form of a film in which it has this: a transport stream comes as it is, or taken apart.
    fn of(self, film: Arc<Presentation>) -> Arc<Presentation> {
        let is_bare = film.transport().is_none_or(Transport::is_bare);
        let as_it_is = is_bare && matches!(self, Self::Carried | Self::CarriedSegment(_));
        match film.apart().filter(|_| !as_it_is) {
            Some(apart) => Arc::clone(apart),
            None => film,
        }
    }
    fn read(name: &str) -> Option<Self> {
        let stream = |text: &str| usize::try_from(number(text)?).ok();
        match name {
            "main.m3u8" => return Some(Self::Main),
            "manifest.mpd" => return Some(Self::Manifest),
            "ts.m3u8" => return Some(Self::Carried),
            _ => {}
        }
        if let Some(name) = name.strip_prefix("subtitles-") {
            let file = |text: &str| u32::try_from(number(text)?).ok();
            let playlist = name.strip_suffix(".m3u8").map(|it| file(it).map(Self::Captions));
            return playlist.unwrap_or_else(|| file(name.strip_suffix(".vtt")?).map(Self::Text));
        }
        if let Some(name) = name.strip_suffix(".m3u8") {
            return Some(Self::Playlist(stream(name)?));
        }
        if let Some(name) = name.strip_suffix("-header.mp4") {
            return Some(Self::Header(stream(name)?));
        }
        if let Some(time) = name.strip_suffix(".ts") {
            return Some(Self::CarriedSegment(number(time)?));
        }
        if let Some(name) = name.strip_suffix(".vtt") {
            let (name, time) = name.split_once('-')?;
            return Some(Self::Cues(stream(name)?, number(time)?));
        }
        let (name, time) = name.strip_suffix(".m4s")?.split_once('-')?;
        Some(Self::Segment(stream(name)?, number(time)?))
    }
}

/// The name of something, beside the name of what names it.
pub(super) fn name_of(address: Address) -> String {
    match address {
        Address::Playlist(stream) => format!("{stream}.m3u8"),
        Address::Header(stream) => format!("{stream}-header.mp4"),
        Address::Segment(stream, time) => format!("{stream}-{time}.m4s"),
        Address::Text(stream, time) => format!("{stream}-{time}.vtt"),
    }
}

impl Face {
    /// Answers GET and HEAD of what a film in segments is made of.
    pub(super) async fn adaptive(
        &self,
        method: &Method,
        hash: &str,
        file: &str,
        name: &str,
    ) -> Response<Body> {
        let Some(asked) = Asked::read(name) else { return nothing() };
        let (title, info, number) = match self.file(hash, file).await {
            Ok(found) => found,
            Err(response) => return response,
        };
        let is_head = *method == Method::HEAD;
        if let Asked::Text(subtitles) = asked {
            return self.subtitles(is_head, title, (&info, number), subtitles).await;
        }
        let length = info.files.get(number as usize).map_or(0, |file| file.length);
        let film = self.packages.get(&*self.library, title, number, length).await;
        let film = match film {
            Ok(film) => film,
            Err(NoFrames::Unknown(sentence)) => {
                return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &sentence);
            }
            Err(NoFrames::Unread(sentence)) => return not_yet(&sentence),
        };
        if let Err(sentence) = allowed(&film, asked) {
            return text(StatusCode::UNSUPPORTED_MEDIA_TYPE, sentence);
        }
        let film = asked.of(film);
        let place = (title, number);
        match asked {
            Asked::Cues(stream, time) => {
                self.cues(is_head, place, &film, (stream, time), TEXT).await
            }
            Asked::Segment(stream, time) if film.text(stream).is_some() => {
                self.cues(is_head, place, &film, (stream, time), TEXT_FRAGMENT).await
            }
            Asked::Segment(stream, time) => {
                self.paced_segment(is_head, (place, &info), &film, stream, time).await
            }
            Asked::CarriedSegment(time) => {
                self.carried(is_head, (place, length), &film, time).await
            }
            Asked::Main | Asked::Manifest if film.transport().is_none() => {
                let listed = self.listed(place, &info, &film, asked == Asked::Manifest).await;
                match listed {
                    Ok(list) if asked == Asked::Main => whole(is_head, PLAYLIST, list.into_bytes()),
                    Ok(list) => whole(is_head, MANIFEST, list.into_bytes()),
                    Err(sentence) => not_yet(&sentence),
                }
            }
            Asked::Captions(subtitles) => {
                let found = family::subtitles(&info, number);
                let Some(found) = found.iter().find(|it| it.number == subtitles) else {
                    return nothing();
                };
                let list = hls::captions(film.duration_ms(), &found.text);
                whole(is_head, PLAYLIST, list.into_bytes())
            }
            _ => match made(&film, asked) {
                Some((kind, bytes)) => whole(is_head, kind, bytes),
                None => nothing(),
            },
        }
    }

    /// What is watched is fetched before the other qualities of the film, and other films.
    pub(super) async fn prefer(&self, (title, file): (TitleId, u32)) {
        self.library.command(Command::Prefer { title, file }).await;
    }

    /// What reads the first `length` bytes of a film.
    fn places(&self, film: (TitleId, u32), length: u64) -> Places {
        Places::new(Arc::clone(&self.library), film, length)
    }

    /// The same for a player of segments that goes on.
    fn seated(&self, film: (TitleId, u32), length: u64) -> Places {
        self.places(film, length).seated(&self.seats)
    }

    /// Answers with the segment of a stream that begins at `time`, those of pictures no faster than is good for who plays them.
    async fn paced_segment(
        &self,
        is_head: bool,
        (place, info): ((TitleId, u32), &Info),
        film: &Arc<Presentation>,
        stream: usize,
        time: u64,
    ) -> Response<Body> {
        let Some(number) = film.segment_at(stream, time) else { return nothing() };
        if stream != film.reference() {
            let places = self.places(place, film.segment_end(stream, number));
            return self.segment(is_head, places, film, stream, number).await;
        }
        let length = info.files.get(place.1 as usize).map_or(0, |file| file.length);
        if is_head {
            return self.segment(is_head, self.places(place, length), film, stream, number).await;
        }
        self.prefer(place).await;
        let response =
            self.segment(is_head, self.seated(place, length), film, stream, number).await;
        let rate = self.pace(place, info, film, time).await;
        let sent = Arc::clone(&self.served.film_bytes);
        response.map(|body| body.paced(rate, sent))
    }

    /// Answers with a segment of a stream.
    async fn segment(
        &self,
        is_head: bool,
        places: Places,
        film: &Arc<Presentation>,
        stream: usize,
        number: usize,
    ) -> Response<Body> {
        if !film.streams().get(stream).is_some_and(Stream::is_packaged) {
            return nothing();
        }
        let sent = Arc::clone(&self.served.film_bytes);
        if let Some(segment) = cmaf::segment(film, stream, number) {
            let length = segment.length();
            if is_head {
                return sized(SEGMENT, Body::empty(), length);
            }
            return match Pieces::open(places, segment.body).await {
                Ok(pieces) => {
                    sized(SEGMENT, Body::segment(segment.head, pieces, length, sent), length)
                }
                Err(sentence) => not_yet(&sentence),
            };
        }
        let Ok(_permit) = self.builders.acquire().await else { return ending() };
        let made = assembled(places, film, stream, number).await;
        self.built(is_head, SEGMENT, made)
    }

    /// Answers with the segment of a text that begins at `time`, in that form.
    async fn cues(
        &self,
        is_head: bool,
        place: (TitleId, u32),
        film: &Arc<Presentation>,
        (stream, time): (usize, u64),
        kind: &'static str,
    ) -> Response<Body> {
        let number = film.stretch_at(time).filter(|_| film.text(stream).is_some());
        let Some(number) = number else { return nothing() };
        let Ok(_permit) = self.builders.acquire().await else { return ending() };
        let is_fragment = kind == TEXT_FRAGMENT;
        let places = self.places(place, film.segment_end(stream, number));
        let made = segments::text(places, film, (stream, number), is_fragment).await;
        self.built(is_head, kind, made)
    }

    /// Answers with the segment of a film of `length` bytes as a transport stream that begins at `time`.
    async fn carried(
        &self,
        is_head: bool,
        (place, length): ((TitleId, u32), u64),
        film: &Arc<Presentation>,
        time: u64,
    ) -> Response<Body> {
        let Some(number) = film.segment_at(film.reference(), time) else { return nothing() };
        let places = match is_head {
            true => self.places(place, length),
            false => {
                self.prefer(place).await;
                self.seated(place, length)
            }
        };
        let segment = film.segments().get(number);
        let bytes = segment.and_then(|segment| segment.bytes.clone());
        if let (Some(transport), Some(bytes)) = (film.transport(), bytes) {
            let length = bytes.end - bytes.start;
            let opened = Pieces::open(places, vec![bytes]).await;
            let begun = match opened {
                Ok(mut pieces) => pieces.first(PACKET_BYTES).await.map(|first| (first, pieces)),
                Err(sentence) => Err(sentence),
            };
            return match begun {
                Ok((first, pieces)) => {
                    let mut head = transport.front(&first);
                    let length = length + head.len() as u64;
                    if is_head {
                        return sized(TRANSPORT, Body::empty(), length);
                    }
                    head.extend_from_slice(&first);
                    let sent = Arc::clone(&self.served.film_bytes);
                    sized(TRANSPORT, Body::segment(head, pieces, length, sent), length)
                }
                Err(sentence) => not_yet(&sentence),
            };
        }
        let Ok(_permit) = self.builders.acquire().await else { return ending() };
        let made = carried(places, film, number).await;
        self.built(is_head, TRANSPORT, made)
    }

    /// Answers with what was put together in memory.
    fn built(
        &self,
        is_head: bool,
        kind: &'static str,
        made: Result<Vec<u8>, NoSegment>,
    ) -> Response<Body> {
        match made {
            Ok(bytes) => {
                let length = bytes.len() as u64;
                if is_head {
                    return sized(kind, Body::empty(), length);
                }
                self.served.film_bytes.fetch_add(length, Ordering::Relaxed);
                sized(kind, Body::full(bytes), length)
            }
            Err(NoSegment::Unread(sentence)) => not_yet(&sentence),
            Err(NoSegment::Unknown(sentence)) => {
                text(StatusCode::UNSUPPORTED_MEDIA_TYPE, &sentence)
            }
        }
    }
}

/// Whether a film has what is asked for, or why not.
fn allowed(film: &Presentation, asked: Asked) -> Result<(), &'static str> {
    if film.segments().is_empty() {
        return Err("The film has no key frames that are known before it is read: use /stream/.");
    }
    let offers = Offers::of(film);
    let (is_offered, sentence) = match (asked, film.transport()) {
        (Asked::Captions(_) | Asked::Text(_), _) => (true, ""),
        (Asked::Main | Asked::Carried | Asked::CarriedSegment(_), Some(_)) => (
            if asked == Asked::Main { offers.hls } else { offers.hls_transport },
            "Between the packets of this film stands what players do not know: use /stream/.",
        ),
        (_, Some(transport)) if !transport.is_exact() => (
            false,
            "Where key frames of this transport stream lie was not published with it: use main.m3u8 (HLS).",
        ),
        (_, Some(_)) => (
            offers.dash,
            "The pictures or the sound of this transport stream cannot be put into MP4 here: use main.m3u8 (HLS).",
        ),
        (Asked::Carried | Asked::CarriedSegment(_), None) => (
            offers.hls_transport,
            "A transport stream cannot carry this film's pictures or sound: use main.m3u8.",
        ),
        (_, None) => {
            (offers.hls, "The film is coded in a way that MP4 does not know: use /stream/.")
        }
    };
    if is_offered { Ok(()) } else { Err(sentence) }
}

/// What follows from the frames alone.
fn made(film: &Presentation, asked: Asked) -> Option<(&'static str, Vec<u8>)> {
    let carried = || hls::transport_stream(film, &|time| format!("{time}.ts"));
    Some(match asked {
        // Of a film that is a transport stream.
        Asked::Main | Asked::Carried => (PLAYLIST, carried()?.into_bytes()),
        Asked::Playlist(stream) => (PLAYLIST, hls::stream(film, stream, &name_of)?.into_bytes()),
        Asked::Header(stream) if film.text(stream).is_some() => {
            (TEXT_FRAGMENT, cmaf::header(film, stream)?)
        }
        Asked::Header(stream) => (SEGMENT, cmaf::header(film, stream)?),
        _ => return None,
    })
}

/// An answer that is at hand.
pub(super) fn whole(is_head: bool, kind: &'static str, bytes: Vec<u8>) -> Response<Body> {
    let length = bytes.len() as u64;
    sized(kind, if is_head { Body::empty() } else { Body::full(bytes) }, length)
}

fn sized(kind: &'static str, body: Body, length: u64) -> Response<Body> {
    let mut response = answer(StatusCode::OK, kind, body);
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

pub(super) fn nothing() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "The film has nothing of that name.")
}

fn ending() -> Response<Body> {
    not_yet("The program is about to end.")
}
