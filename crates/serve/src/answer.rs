//! Answers that every face gives: text, JSON, refusals, and the headers that go with all of them.

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

use crate::body::Body;
use crate::guard::Refusal;
use crate::limits::RETRY_S;

/// Headers of every answer: no guessing of types, no use by other sites, no address (it may hold a token) told to anyone.
const ALWAYS: [(&str, &str); 3] = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "same-origin"),
    ("referrer-policy", "no-referrer"),
];

/// An answer of `status` with `body` of type `kind`.
pub(crate) fn answer(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// A sentence.
pub(crate) fn text(status: StatusCode, sentence: &str) -> Response<Body> {
    answer(status, "text/plain; charset=utf-8", Body::full(format!("{sentence}\n")))
}

/// A sentence about what cannot be given yet, and when to ask again.
pub(crate) fn not_yet(sentence: &str) -> Response<Body> {
    let mut response = text(StatusCode::SERVICE_UNAVAILABLE, sentence);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(RETRY_S));
    response
}

/// JSON.
pub(crate) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    answer(status, "application/json", Body::full(value.to_string()))
}

/// `{"error": SENTENCE}`.
pub(crate) fn json_error(status: StatusCode, sentence: &str) -> Response<Body> {
    json(status, &json!({ "error": sentence }))
}

/// 405 with the methods that are allowed.
pub(crate) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response =
        text(StatusCode::METHOD_NOT_ALLOWED, "This address does not take that method.");
    response.headers_mut().insert(hyper::header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What a refused request is told.
pub(crate) fn refused(refusal: Refusal) -> Response<Body> {
    let (status, sentence) = match refusal {
        Refusal::BadHost => {
            (StatusCode::BAD_REQUEST, "The request does not say for which host it is.")
        }
        Refusal::ForeignHost => (
            StatusCode::MISDIRECTED_REQUEST,
            "This server does not answer to that host name; name it in the settings if it should.",
        ),
        Refusal::ForeignOrigin => (StatusCode::FORBIDDEN, "Other sites may not use this server."),
        Refusal::NoToken => (
            StatusCode::FORBIDDEN,
            "The token is missing or wrong; use the address that Shoal printed.",
        ),
    };
    text(status, sentence)
}
