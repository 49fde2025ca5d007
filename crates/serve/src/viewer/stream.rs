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
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;

use super::Face;
use crate::answer::{answer, not_yet, text};
use crate::body::Body;
use crate::conditions::{Verdict, weigh};
use crate::kind;
use crate::lookup::{self, Missing};
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
        let Some(entry) = info.files.get(number as usize) else {
            return text(StatusCode::NOT_FOUND, Missing::File.sentence());
        };
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
            if content_type.starts_with("video/") || content_type.starts_with("audio/") {
                self.prefer((title, number)).await;
            }
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
        let wait = self.limits.metadata_wait;
        lookup::file(&*self.library, hash, file, wait).await.map_err(|missing| match missing {
            Missing::Yet => not_yet(missing.sentence()),
            _ => text(StatusCode::NOT_FOUND, missing.sentence()),
        })
    }
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
