//! Conditional requests on an immutable file with a strong entity tag (RFC 9110, section 13).

use hyper::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use hyper::{Method, StatusCode};

use crate::range::{Asked, asked};

/// What to answer with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The file, or the part of it that was asked for.
    Send(Asked),
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants another file than this.
    PreconditionFailed,
}

impl Verdict {
    /// The status that goes with it.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Send(Asked::Whole) => StatusCode::OK,
            Self::Send(Asked::Part(_)) => StatusCode::PARTIAL_CONTENT,
            Self::Send(Asked::Unsatisfiable) => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NotModified => StatusCode::NOT_MODIFIED,
            Self::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        }
    }
}

/// Weighs the headers of a GET or HEAD for a file of `length` bytes with the strong tag `etag` (quotes included), in the
/// order of section 13.2.2. There is no modification date, so conditions on one are ignored. A range counts for GET alone.
#[must_use]
pub fn weigh(method: &Method, headers: &HeaderMap, etag: &str, length: u64) -> Verdict {
    if headers.contains_key(IF_MATCH) && !lists(headers, &IF_MATCH, etag, false) {
        return Verdict::PreconditionFailed;
    }
    if lists(headers, &IF_NONE_MATCH, etag, true) {
        return Verdict::NotModified;
    }
    let mut ranges = headers.get_all(RANGE).iter();
    let (Some(value), None, true) = (ranges.next(), ranges.next(), *method == Method::GET) else {
        return Verdict::Send(Asked::Whole);
    };
    // If-Range: a weak tag or a date never equals a strong tag, then the whole file is right.
    let mut conditions = headers.get_all(IF_RANGE).iter();
    if conditions.any(|value| value.as_bytes() != etag.as_bytes()) {
        return Verdict::Send(Asked::Whole);
    }
    Verdict::Send(value.to_str().map_or(Asked::Whole, |value| asked(value, length)))
}

/// Whether a list of entity tags has `etag` or `*`; a weak comparison also takes `W/` before it.
fn lists(headers: &HeaderMap, name: &HeaderName, etag: &str, weak: bool) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag == etag || (weak && tag.strip_prefix("W/") == Some(etag)))
}

#[cfg(test)]
mod tests {
    use super::{Asked, Verdict, weigh};
    use hyper::Method;
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};

    fn verdict(method: &Method, headers: &[(&str, &str)]) -> Verdict {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        weigh(method, &map, "\"abc\"", 100)
    }

    #[test]
    fn conditions_are_weighed_in_the_order_of_the_standard() {
        let part = Verdict::Send(Asked::Part(5..10));
        let whole = Verdict::Send(Asked::Whole);
        let range = ("range", "bytes=5-9");
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], whole.clone()),
            (&[range], part.clone()),
            (&[range, ("if-range", "\"abc\"")], part.clone()),
            (&[range, ("if-range", "\"old\"")], whole.clone()),
            (&[range, ("if-range", "W/\"abc\"")], whole.clone()),
            (&[range, ("if-range", "Fri, 20 Nov 2026 12:00:00 GMT")], whole.clone()),
            (&[("range", "bytes=500-"), ("if-range", "\"old\"")], whole.clone()),
            (&[("if-range", "\"abc\"")], whole.clone()),
            (&[range, range], whole),
            (&[("range", "bytes=500-")], Verdict::Send(Asked::Unsatisfiable)),
            (&[("if-none-match", "\"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "W/\"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "\"x\", \"abc\"")], Verdict::NotModified),
            (&[("if-none-match", "*"), range], Verdict::NotModified),
            (&[("if-none-match", "\"x\""), range], part.clone()),
            (&[("if-match", "\"abc\""), range], part),
            (&[("if-match", "W/\"abc\"")], Verdict::PreconditionFailed),
            (&[("if-match", "\"x\""), ("if-none-match", "\"abc\"")], Verdict::PreconditionFailed),
        ];
        for (headers, expected) in cases {
            assert_eq!(&verdict(&Method::GET, headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn head_knows_no_ranges() {
        let found = verdict(&Method::HEAD, &[("range", "bytes=5-9")]);
        assert_eq!(found, Verdict::Send(Asked::Whole));
    }
}
