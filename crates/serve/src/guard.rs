//! Who may ask: hosts, origins and tokens.
//!
//! A page of any site can make its visitor's browser send requests to this server, and a site whose name resolves to a
//! local address (DNS rebinding) even reads the answers. So the `Host` must be an address, `localhost` or a name the user
//! configured; requests that a browser marks as coming from another site are refused; and what changes state needs a
//! token in a header, which no other site can send or know. A server that is not bound to loopback wants a token in every
//! address, so that its films cannot be guessed by the neighbours.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::limits::HOST_MAX;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::{Uri, Version};

/// A secret of 128 random bits, in hexadecimal.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl core::fmt::Debug for Token {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness to give.
    pub fn random() -> std::io::Result<Self> {
        let mut bytes = [0u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
    /// One that the user chose; at least 16 characters that need no escape in an address.
    #[must_use]
    pub fn chosen(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (plain && (16..=128).contains(&text.len())).then(|| Self(text.to_owned()))
    }
    /// The secret.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// Whether `text` is the secret, in time that depends on its length alone.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        let (own, text) = (self.0.as_bytes(), text.as_bytes());
        let differences = own.iter().zip(text).fold(0u8, |sum, (a, b)| sum | (a ^ b));
        own.len() == text.len() && differences == 0
    }
}

/// The host of a `Host` header or of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum HostName {
    /// A literal address.
    Ip(IpAddr),
    /// A name, in lower case, without a final dot.
    Name(String),
}

/// Reads `host[:port]`. `None` when it is not a host.
#[must_use]
pub fn parse_host(value: &str) -> Option<(HostName, Option<u16>)> {
    if value.is_empty() || value.len() > HOST_MAX {
        return None;
    }
    if let Some(rest) = value.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let address: Ipv6Addr = address.parse().ok()?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return None,
        };
        return Some((HostName::Ip(address.into()), port));
    }
    let (host, port) = match value.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (value, None),
    };
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return Some((HostName::Ip(address.into()), port));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain);
    fits.then(|| (HostName::Name(name.to_ascii_lowercase()), port))
}

fn parse_port(text: &str) -> Option<u16> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// No host, several, or one that does not parse: 400.
    BadHost,
    /// A name that is not ours: 421.
    ForeignHost,
    /// It comes from another site: 403.
    ForeignOrigin,
    /// The token is missing or wrong: 403.
    NoToken,
}

/// The rules of one server.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Names by which it may be called, besides addresses and `localhost`; lower case.
    pub host_names: Vec<String>,
    /// Wanted in every address or header; `None` when bound to loopback.
    pub read_token: Option<Token>,
    /// Wanted in the `X-Shoal-Token` header of what changes state.
    pub control_token: Token,
}

/// Header with the token of a call that changes state.
pub const TOKEN_HEADER: &str = "x-shoal-token";

impl Guard {
    /// Checks the host that a request is for.
    ///
    /// # Errors
    /// [`Refusal::BadHost`], [`Refusal::ForeignHost`].
    pub fn check_host(
        &self,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<(), Refusal> {
        let mut values = headers.get_all(HOST).iter();
        let (first, second) = (values.next(), values.next());
        if second.is_some() || (first.is_none() && version >= Version::HTTP_11) {
            return Err(Refusal::BadHost);
        }
        let header = first.map(|value| value.to_str().map_err(|_| Refusal::BadHost)).transpose()?;
        // An address in the request line counts more than the header (RFC 9112, 3.2.2); both must be ours.
        for host in header.into_iter().chain(uri.authority().map(|authority| authority.as_str())) {
            let (host, _) = parse_host(host).ok_or(Refusal::BadHost)?;
            if !self.is_ours(&host) {
                return Err(Refusal::ForeignHost);
            }
        }
        Ok(())
    }
    fn is_ours(&self, host: &HostName) -> bool {
        match host {
            HostName::Ip(_) => true,
            HostName::Name(name) => {
                name == "localhost"
                    || name.ends_with(".localhost")
                    || self.host_names.iter().any(|own| own == name)
            }
        }
    }
    /// Refuses what a browser says another site asked for. A link to the page itself (`navigation`) is welcome.
    ///
    /// # Errors
    /// [`Refusal::ForeignOrigin`].
    pub fn check_site(&self, headers: &HeaderMap, navigation: bool) -> Result<(), Refusal> {
        let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
        if site == Some(b"cross-site") && !navigation {
            return Err(Refusal::ForeignOrigin);
        }
        Ok(())
    }
    /// Checks a call that changes state: origin, site and token.
    ///
    /// # Errors
    /// [`Refusal::ForeignOrigin`], [`Refusal::NoToken`].
    pub fn check_control(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
        if !matches!(site, None | Some(b"same-origin" | b"none")) {
            return Err(Refusal::ForeignOrigin);
        }
        let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().map_err(|_| Refusal::ForeignOrigin)?;
            let (_, authority) = origin.split_once("://").ok_or(Refusal::ForeignOrigin)?;
            if !authority.eq_ignore_ascii_case(host) {
                return Err(Refusal::ForeignOrigin);
            }
        }
        let token = headers.get(TOKEN_HEADER).and_then(|token| token.to_str().ok());
        match token.is_some_and(|token| self.control_token.is(token)) {
            true => Ok(()),
            false => Err(Refusal::NoToken),
        }
    }
    /// Checks that the asker knows the address: the token as `/t/TOKEN` before the path, as `token=` in the query, as
    /// bearer or in the token header. Gives the path without the token.
    ///
    /// # Errors
    /// [`Refusal::NoToken`].
    pub fn check_read<'u>(&self, uri: &'u Uri, headers: &HeaderMap) -> Result<&'u str, Refusal> {
        let (in_path, path) = match uri.path().strip_prefix("/t/") {
            Some(rest) => {
                let end = rest.find('/').unwrap_or(rest.len());
                let (token, path) = rest.split_at(end);
                (Some(token), if path.is_empty() { "/" } else { path })
            }
            None => (None, uri.path()),
        };
        let Some(wanted) = &self.read_token else { return Ok(path) };
        let in_query = uri
            .query()
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter_map(|pair| pair.strip_prefix("token="));
        let bearer = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "));
        let in_header = headers.get(TOKEN_HEADER).and_then(|value| value.to_str().ok());
        let mut given = in_path.into_iter().chain(in_query).chain(bearer).chain(in_header);
        match given.any(|token| wanted.is(token) || self.control_token.is(token)) {
            true => Ok(path),
            false => Err(Refusal::NoToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Guard, HostName, Refusal, Token, parse_host};
    use hyper::header::{HeaderMap, HeaderName, HeaderValue};
    use hyper::{Uri, Version};
    use proptest::prelude::*;

    fn guard(read: bool) -> Guard {
        Guard {
            host_names: vec!["films.example".to_owned()],
            read_token: read.then(|| Token::chosen("read-read-read-read").expect("long enough")),
            control_token: Token::chosen("control-control-control").expect("long enough"),
        }
    }

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            map.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        map
    }

    fn host(value: &str) -> Result<(), Refusal> {
        let uri = Uri::from_static("/");
        guard(false).check_host(&uri, Version::HTTP_11, &headers(&[("host", value)]))
    }

    #[test]
    fn only_addresses_localhost_and_configured_names_are_ours() {
        for ours in [
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:80",
            "192.168.1.5:1",
            "localhost",
            "LocalHost:99",
            "localhost.",
            "a.localhost",
            "films.example",
            "FILMS.example:443",
        ] {
            assert_eq!(host(ours), Ok(()), "{ours}");
        }
        for foreign in [
            "evil.example",
            "films.example.evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil",
            "evil-localhost",
            "127.1",
            "0x7f000001",
            "2130706433",
            "xfilms.example",
            "nip.io:8080",
        ] {
            assert_eq!(host(foreign), Err(Refusal::ForeignHost), "{foreign}");
        }
        for bad in [
            "",
            ":80",
            "localhost:",
            "localhost:99999",
            "localhost:x",
            "localhost:80:80",
            "a b",
            "user@localhost",
            "localhost/",
            "[::1",
            "[::1]x",
            "[evil]",
            "::1",
            "local%68ost",
            ".",
            "localhost,evil.example",
            "http://localhost",
        ] {
            assert!(matches!(host(bad), Err(Refusal::BadHost | Refusal::ForeignHost)), "{bad}");
            assert!(host(bad).is_err());
        }
        assert_eq!(host(&"a".repeat(300)), Err(Refusal::BadHost));
    }

    #[test]
    fn two_hosts_or_none_are_refused_and_the_request_line_counts_too() {
        let guard = guard(false);
        let path = Uri::from_static("/");
        let two = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(guard.check_host(&path, Version::HTTP_11, &two), Err(Refusal::BadHost));
        let none = headers(&[]);
        assert_eq!(guard.check_host(&path, Version::HTTP_11, &none), Err(Refusal::BadHost));
        assert_eq!(guard.check_host(&path, Version::HTTP_10, &none), Ok(()));
        let absolute = Uri::from_static("http://evil.example/");
        let local = headers(&[("host", "localhost")]);
        let refused = guard.check_host(&absolute, Version::HTTP_11, &local);
        assert_eq!(refused, Err(Refusal::ForeignHost));
    }

    #[test]
    fn what_changes_state_needs_the_token_and_the_own_origin() {
        let guard = guard(false);
        let token = ("x-shoal-token", "control-control-control");
        let host = ("host", "127.0.0.1:8080");
        let check = |pairs: &[(&str, &str)]| guard.check_control(&headers(pairs));
        assert_eq!(check(&[host, token]), Ok(()));
        assert_eq!(check(&[host, token, ("origin", "http://127.0.0.1:8080")]), Ok(()));
        assert_eq!(check(&[host, token, ("sec-fetch-site", "same-origin")]), Ok(()));
        for origin in ["http://127.0.0.1", "http://evil.example", "null", "http://127.0.0.1:80801"]
        {
            let refused = check(&[host, token, ("origin", origin)]);
            assert_eq!(refused, Err(Refusal::ForeignOrigin), "{origin}");
        }
        for site in ["cross-site", "same-site"] {
            let refused = check(&[host, token, ("sec-fetch-site", site)]);
            assert_eq!(refused, Err(Refusal::ForeignOrigin));
        }
        assert_eq!(check(&[host]), Err(Refusal::NoToken));
        let cut = ("x-shoal-token", "control-control-contro");
        assert_eq!(check(&[host, cut]), Err(Refusal::NoToken));
    }

    #[test]
    fn a_server_beyond_loopback_wants_its_token_in_the_address() {
        let open = guard(false);
        let closed = guard(true);
        let none = headers(&[]);
        let film = Uri::from_static("/stream/abc/0/film.mp4");
        assert_eq!(open.check_read(&film, &none), Ok("/stream/abc/0/film.mp4"));
        assert_eq!(closed.check_read(&film, &none), Err(Refusal::NoToken));
        for good in ["/t/read-read-read-read/stream/abc/0/film.mp4", "/t/control-control-control"] {
            let uri: Uri = good.parse().expect("an address");
            assert!(closed.check_read(&uri, &none).is_ok(), "{good}");
        }
        let query = Uri::from_static("/stream/abc/0?x=1&token=read-read-read-read");
        assert_eq!(closed.check_read(&query, &none), Ok("/stream/abc/0"));
        let wrong = Uri::from_static("/t/read-read-read-rea/stream/abc/0");
        assert_eq!(closed.check_read(&wrong, &none), Err(Refusal::NoToken));
        let bearer = headers(&[("authorization", "Bearer read-read-read-read")]);
        assert_eq!(closed.check_read(&film, &bearer), Ok("/stream/abc/0/film.mp4"));
    }

    #[test]
    fn random_tokens_differ_and_fit_an_address() {
        let (one, two) = (Token::random().expect("bits"), Token::random().expect("bits"));
        assert_ne!(one, two);
        assert!(Token::chosen(one.as_str()).is_some());
    }

    proptest! {
        #[test]
        fn any_host_is_survived(value in ".{0,80}") {
            if let Some((HostName::Name(name), _)) = parse_host(&value) {
                prop_assert!(!name.contains(['/', '@', ':', '%', ' ']));
            }
        }
    }
}
