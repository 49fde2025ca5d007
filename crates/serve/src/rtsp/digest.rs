//! Digest authentication (RFC 2069, which all players speak; RFC 2617 without `qop`).
//!
//! The name is always `shoal`, the password is the token of this server's addresses. A nonce is of one connection, so an answer that
//! somebody overheard is of no use elsewhere.

use core::fmt::Write as _;

use md5::{Digest as _, Md5};

use crate::guard::Token;

/// The name that players give.
pub(crate) const USER: &str = "shoal";
const REALM: &str = "shoal";

/// What a connection asks for.
#[derive(Debug)]
pub(super) struct Challenge {
    nonce: String,
}

impl Challenge {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self { nonce: Token::random()?.as_str().to_owned() })
    }
    /// The header `WWW-Authenticate`.
    pub(super) fn header(&self) -> String {
        format!("Digest realm=\"{REALM}\", nonce=\"{}\"", self.nonce)
    }
    /// Whether the header `Authorization` of a request with this method shows that its sender knows the token.
    pub(super) fn is_met(&self, header: &str, method: &str, token: &Token) -> bool {
        let Some((scheme, rest)) = header.trim_start().split_once(' ') else { return false };
        let field = |name: &str| {
            rest.split(',').find_map(|part| {
                let (found, value) = part.trim().split_once('=')?;
                found.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
            })
        };
        let (Some(user), Some(nonce), Some(uri), Some(response)) =
            (field("username"), field("nonce"), field("uri"), field("response"))
        else {
            return false;
        };
        if !scheme.eq_ignore_ascii_case("digest") || user != USER || nonce != self.nonce {
            return false;
        }
        let who = hashed(&[USER, REALM, token.as_str()]);
        let what = hashed(&[method, uri]);
        let expected = hashed(&[&who, nonce, &what]);
        Token::chosen(&expected).is_some_and(|expected| expected.is(&response.to_ascii_lowercase()))
    }
}

/// The MD5 of parts with colons between them, in hexadecimal.
fn hashed(parts: &[&str]) -> String {
    let mut text = String::new();
    for byte in Md5::digest(parts.join(":").as_bytes()) {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_knows_the_token_is_let_in() {
        let challenge = Challenge { nonce: "0123".to_owned() };
        let token = Token::chosen("sixteen-letters-").expect("plain");
        let (uri, method) = ("rtsp://h/x", "DESCRIBE");
        let who = hashed(&["shoal", "shoal", token.as_str()]);
        let response = hashed(&[&who, "0123", &hashed(&[method, uri])]);
        let header = |user: &str, nonce: &str, response: &str| {
            format!(
                "Digest username=\"{user}\", realm=\"shoal\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\""
            )
        };
        assert!(challenge.is_met(&header("shoal", "0123", &response), method, &token));
        for (user, nonce, response, asked) in [
            ("other", "0123", response.as_str(), method),
            ("shoal", "0124", &response, method),
            ("shoal", "0123", "00", method),
            ("shoal", "0123", &response, "PLAY"),
        ] {
            assert!(!challenge.is_met(&header(user, nonce, response), asked, &token));
        }
        for broken in ["", "Digest", "Basic eDp5", "Digest username"] {
            assert!(!challenge.is_met(broken, method, &token));
        }
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        // RFC 2617, 3.5, of its first two parts.
        let hash = hashed(&["Mufasa", "testrealm@host.com", "Circle Of Life"]);
        assert_eq!(hash, "939e7578ed9e3c518a452acee763bce9");
    }
}
