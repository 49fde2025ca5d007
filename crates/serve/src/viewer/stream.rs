//! `/stream/{infohash}/{file index}[/{name}]`: the bytes of a file, as players ask for them.
//!
//! Players open several connections, ask for everything and read a little, leave without a word, and come back at another
//! place. So each answer has a reader of its own that lives as long as its connection takes bytes; what it makes the swarm
//! fetch follows what was taken, never what was asked.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, ETAG, HeaderMap, HeaderName, HeaderValue,
};
use hyper::{Method, Request, Response, StatusCode};
use shoal_node::io::Event;
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use super::{Face, number};
use crate::answer::{answer, not_yet, text};
use crate::body::Body;
use crate::conditions::{Verdict, weigh};
use crate::kind;
use crate::library::Entry;
use crate::range::Asked;

impl Face {
    /// Answers GET and HEAD of a file.
    pub(super) async fn stream(
        &self,
        request: &Request<Incoming>,
        hash: &str,
        file: &str,
    ) -> Response<Body> {
        let (title, info, number) = match self.file(hash, file).await {
            Ok(found) => found,
            Err(response) => return response,
        };
        let Some(entry) = info.files.get(number as usize) else { return no_file() };
        let name = entry.path.last().map_or("", String::as_str);
        let etag = etag(&info, number);
        let verdict = weigh(request.method(), request.headers(), &etag, entry.length);
        let range = match &verdict {
            Verdict::Send(Asked::Whole) => 0..entry.length,
            Verdict::Send(Asked::Part(range)) => range.clone(),
            _ => return bare(&verdict, &etag, entry.length),
        };
        let length = range.end - range.start;
        let (content_type, in_place) = kind::of(name);
        let body = if *request.method() == Method::HEAD || length == 0 {
            Body::empty()
        } else {
            match self.library.open(title, number, range.clone()).await {
                Ok(reader) => Body::film(reader, length, Arc::clone(&self.served.film_bytes)),
                Err(sentence) => return not_yet(&sentence),
            }
        };
        let mut response = answer(verdict.status(), content_type, body);
        let headers = response.headers_mut();
        common(headers, &etag);
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        set(headers, CONTENT_DISPOSITION, &kind::disposition(name, in_place));
        if !in_place {
            let policy = HeaderValue::from_static("sandbox; default-src 'none'");
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        if verdict.status() == StatusCode::PARTIAL_CONTENT {
            let text = format!("bytes {}-{}/{}", range.start, range.end - 1, entry.length);
            set(headers, CONTENT_RANGE, &text);
        }
        response
    }

    /// A title and one of its files.
    pub(super) async fn file(
        &self,
        hash: &str,
        file: &str,
    ) -> Result<(TitleId, Arc<Info>, u32), Response<Body>> {
        let Some(number) = number(file).and_then(|number| u32::try_from(number).ok()) else {
            return Err(text(StatusCode::NOT_FOUND, "The file is not given by its number."));
        };
        let (title, info) = self.metadata(hash).await?;
        if info.files.get(number as usize).is_none() {
            return Err(no_file());
        }
        Ok((title, info, number))
    }

    /// The metadata of a title, waited for if it is on its way.
    async fn metadata(&self, hash: &str) -> Result<(TitleId, Arc<Info>), Response<Body>> {
        let deadline = Instant::now() + self.limits.metadata_wait;
        // Listened to before looking, so that what happens in between is not missed.
        let mut events = self.library.events();
        loop {
            let titles = self.library.titles().await;
            match titles.iter().find(|entry| entry.is_called(hash)) {
                None => {
                    let sentence = "No title of that name is taken part in.";
                    return Err(text(StatusCode::NOT_FOUND, sentence));
                }
                Some(Entry { title, info: Some(info), .. }) => {
                    return Ok((*title, Arc::clone(info)));
                }
                Some(_) => {}
            }
            loop {
                match timeout_at(deadline, events.recv()).await {
                    Ok(Ok(Event::Ready { .. }) | Err(broadcast::error::RecvError::Lagged(_))) => {
                        break;
                    }
                    Ok(Ok(_)) => {}
                    Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => {
                        let sentence =
                            "What this title is made of is still being fetched from peers.";
                        return Err(not_yet(sentence));
                    }
                }
            }
        }
    }
}

fn no_file() -> Response<Body> {
    text(StatusCode::NOT_FOUND, "The title has no file of that number.")
}

/// A strong tag: the file's own hash where there is one, else the title's name and the file's number, which say as much.
fn etag(info: &Info, number: u32) -> String {
    let root = info.files.get(number as usize).and_then(|file| file.pieces_root);
    match (root, info.hashes.primary()) {
        (Some(root), _) => format!("\"{root}\""),
        (None, Some(hash)) => format!("\"{hash}-{number}\""),
        (None, None) => format!("\"{number}\""),
    }
}

/// An answer without a body of the file: 304, 412, 416.
fn bare(verdict: &Verdict, etag: &str, length: u64) -> Response<Body> {
    let mut response = match verdict {
        Verdict::NotModified => answer(StatusCode::NOT_MODIFIED, "text/plain", Body::empty()),
        Verdict::PreconditionFailed => text(verdict.status(), "The file is another one."),
        Verdict::Send(_) => text(verdict.status(), "The file ends before that byte."),
    };
    let headers = response.headers_mut();
    common(headers, etag);
    if verdict.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        set(headers, CONTENT_RANGE, &format!("bytes */{length}"));
    }
    if verdict.status() == StatusCode::NOT_MODIFIED {
        headers.remove(hyper::header::CONTENT_TYPE);
    }
    response
}

/// Headers of every answer about a file. What a browser keeps it must ask about, so that a title that is gone is gone.
fn common(headers: &mut HeaderMap, etag: &str) {
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    set(headers, ETAG, etag);
}

/// Values made here are ASCII without control characters; any other is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
