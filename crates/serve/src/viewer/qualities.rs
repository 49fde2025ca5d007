//! What belongs to a film in segments beside its own file: its other qualities, and its subtitles.

use std::sync::Arc;

use hyper::Response;
use shoal_media::manifest::Listing;
use shoal_media::presentation::Stream;
use shoal_media::{Presentation, TrackKind, dash, hls, subtitles};
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Face;
use super::adaptive::{TEXT, name_of, nothing, whole};
use crate::answer::not_yet;
use crate::body::Body;
use crate::family;
use crate::limits::QUALITIES_APART_MS;
use crate::pace;
use crate::packages::NoFrames;
use crate::pieces::bytes;

/// One quality of a film: its file, and what it is.
type Quality = (u32, Arc<Presentation>);

impl Face {
    /// The playlist of playlists of a film, or its manifest (DASH), with all of its qualities. An error says why not yet.
    pub(super) async fn listed(
        &self,
        (title, file): (TitleId, u32),
        info: &Arc<Info>,
        film: &Arc<Presentation>,
        is_dash: bool,
    ) -> Result<String, String> {
        // A quality that nobody has must not hold up a player for ever.
        let read = self.qualities(title, info, (file, film));
        let all = timeout(self.limits.metadata_wait, read).await;
        let all = all.unwrap_or_else(|_| {
            Err("What the other qualities of this film are made of is still being fetched from peers.".to_owned())
        })?;
        let subtitles = family::subtitles(info, file);
        let films = all.iter().map(|(_, film)| &**film).collect();
        let address = |place: usize, address| {
            let name = name_of(address);
            match all.get(place) {
                Some((other, _)) if *other != file => format!("../{other}/{name}"),
                _ => name,
            }
        };
        let listing = Listing::new(films, &subtitles).unwrap_or_else(|| Listing::of(film));
        Ok(match is_dash {
            true => dash::several(&listing, &address),
            false => hls::several(&listing, &address),
        })
    }

    /// The qualities of a film, the smallest first; the film alone if it has no others. Their heads are waited for as for its own: a list
    /// that depended on what is here would differ among peers.
    async fn qualities(
        &self,
        title: TitleId,
        info: &Arc<Info>,
        (file, film): (u32, &Arc<Presentation>),
    ) -> Result<Vec<Quality>, String> {
        let alone = vec![(file, Arc::clone(film))];
        let rungs = family::rungs(info, file);
        if rungs.len() < 2 || !is_listed(film) {
            return Ok(alone);
        }
        let mut reads = JoinSet::new();
        for (place, rung) in rungs.iter().enumerate().filter(|(_, rung)| rung.file != file) {
            let (packages, library) = (Arc::clone(&self.packages), Arc::clone(&self.library));
            let number = rung.file;
            let length = info.files.get(number as usize).map_or(0, |file| file.length);
            reads.spawn(async move {
                (place, number, packages.get(&*library, title, number, length).await)
            });
        }
        let own = rungs.iter().position(|rung| rung.file == file).unwrap_or(0);
        let mut found = vec![(own, file, Arc::clone(film))];
        while let Some(read) = reads.join_next().await {
            match read {
                Ok((place, number, Ok(film))) if is_listed(&film) => {
                    found.push((place, number, film));
                }
                // What cannot be taken apart is none of them, at no peer.
                Ok((_, _, Ok(_) | Err(NoFrames::Unknown(_)))) => {}
                Ok((_, _, Err(NoFrames::Unread(sentence)))) => return Err(sentence),
                // A panic was printed where it happened.
                Err(_) => return Err("A quality of the film could not be read.".to_owned()),
            }
        }
        found.sort_by_key(|(place, ..)| *place);
        let length = found.last().map_or(0, |(.., film)| film.duration_ms());
        found.retain(|(.., film)| film.duration_ms().abs_diff(length) <= QUALITIES_APART_MS);
        let found: Vec<_> = found.into_iter().map(|(_, file, film)| (file, film)).collect();
        Ok(if found.iter().any(|it| it.0 == file) { found } else { alone })
    }

    /// Bytes/s at which the segment of pictures that begins at `time` leaves; `None` for as fast as it can.
    pub(super) async fn pace(
        &self,
        (title, file): (TitleId, u32),
        info: &Info,
        film: &Presentation,
        time: u64,
    ) -> Option<u64> {
        if family::rungs(info, file).len() < 2 {
            return None;
        }
        let number = film.segment_at(film.reference(), time)?;
        let views = self.library.views().await;
        let view = views.iter().find(|view| view.title == title)?;
        pace::rate(view, info, file, (film, number))
    }

    /// Answers with subtitles of a film as WebVTT.
    pub(super) async fn subtitles(
        &self,
        is_head: bool,
        title: TitleId,
        (info, file): (&Info, u32),
        number: u32,
    ) -> Response<Body> {
        if !family::subtitles(info, file).iter().any(|it| it.number == number) {
            return nothing();
        }
        let length = info.files.get(number as usize).map_or(0, |file| file.length);
        match bytes(&*self.library, (title, number), 0..length).await {
            Ok(bytes) => whole(is_head, TEXT, subtitles::webvtt(&bytes).into_bytes()),
            Err(sentence) => not_yet(&sentence),
        }
    }
}

/// Whether a film can stand beside others: it is cut, and has pictures that MP4 knows.
fn is_listed(film: &Presentation) -> bool {
    let is_shown = |stream: &Stream| stream.track.kind == TrackKind::Video && stream.is_packaged();
    film.transport().is_none()
        && !film.segments().is_empty()
        && film.streams().get(film.reference()).is_some_and(is_shown)
}
