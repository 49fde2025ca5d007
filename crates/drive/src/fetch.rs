//! HTTP and HTTPS GET for trackers and torrent files, guarded against URLs that lead where a stranger wants them to.
//!
//! Names are resolved here, every address is judged ([`crate::address`]), and the connection goes to a judged address;
//! redirects are followed by hand, so that each is judged again. No cookies, no credentials, no proxy, no compression.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{ACCEPT_ENCODING, CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper_util::rt::TokioIo;
use shoal_node::io::Family;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::address::{Allow, may_connect, may_use_port};
use crate::config::{
    FETCH_CONNECT_TIMEOUT, FETCH_TIMEOUT, REDIRECTS_MAX, TORRENT_BODY_MAX, URL_MAX,
};
use crate::error::DriveError;
use crate::resolve::resolve;

/// How we name ourselves.
const AGENT: &str = concat!("Shoal/", env!("CARGO_PKG_VERSION"));

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Bytes,
    /// Over what it came.
    pub family: Family,
}

/// Gets `url`, with at most `limit` bytes of body.
///
/// # Errors
/// A URL that may not be fetched, a server that cannot be reached or says too much, 30 s without an end.
pub async fn fetch(url: &str, limit: usize, allow: Allow) -> Result<Fetched, DriveError> {
    let failed = |why: String| DriveError::Fetch { url: shorten(url), why };
    if url.len() > URL_MAX {
        return Err(failed("the address is too long".to_owned()));
    }
    match tokio::time::timeout(FETCH_TIMEOUT, follow(url, limit, allow)).await {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(failed(format!("no answer within {} s", FETCH_TIMEOUT.as_secs()))),
    }
}

/// Gets the torrent file at a URL that the user typed.
///
/// # Errors
/// As [`fetch`]; any status but 200.
pub async fn fetch_torrent(url: &str) -> Result<Bytes, DriveError> {
    let allow = Allow { local_names: false, typed: true, family: None };
    let Fetched { status, body, .. } = fetch(url, TORRENT_BODY_MAX, allow).await?;
    match status {
        200 => Ok(body),
        _ => Err(DriveError::Fetch { url: shorten(url), why: format!("it answers {status}") }),
    }
}

fn shorten(url: &str) -> String {
    // A tracker's URL may carry the user's key behind the question mark.
    url.split('?').next().unwrap_or(url).chars().take(120).collect()
}

async fn follow(url: &str, limit: usize, mut allow: Allow) -> Result<Fetched, String> {
    let mut url = Url::parse(url).map_err(|error| format!("it is no address: {error}"))?;
    for _ in 0..=REDIRECTS_MAX {
        let (fetched, location) = get(&url, limit, allow).await?;
        let Some(location) = location else { return Ok(fetched) };
        let next = url.join(&location).map_err(|error| format!("a bad redirect: {error}"))?;
        if url.scheme() == "https" && next.scheme() != "https" {
            return Err("it redirects from https to http".to_owned());
        }
        // What a server redirects to was not typed by the user, unless it stays on that server.
        allow.typed &= next.origin() == url.origin();
        allow.local_names &= next.host_str() == url.host_str();
        url = next;
    }
    Err(format!("more than {REDIRECTS_MAX} redirects"))
}

/// One request; with a redirect its target.
async fn get(url: &Url, limit: usize, allow: Allow) -> Result<(Fetched, Option<String>), String> {
    let secure = match url.scheme() {
        "http" => false,
        "https" => true,
        other => return Err(format!("{other} is neither http nor https")),
    };
    let host = url.host_str().ok_or("it has no host")?;
    let port = url.port_or_known_default().ok_or("it has no port")?;
    if !may_use_port(port, host) {
        return Err(format!("port {port} is not one of web servers"));
    }
    let stream = connect(host, port, url.path(), allow).await?;
    let remote = stream.peer_addr().map_err(|error| error.to_string())?;
    let family = Family::of(remote.ip());
    if !secure {
        return request(stream, url, limit, family).await;
    }
    let name = match url.host() {
        Some(Host::Domain(name)) => {
            ServerName::try_from(name.to_owned()).map_err(|_| "a bad host name")?
        }
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::from(address)),
        None => return Err("it has no host".to_owned()),
    };
    let connector = TlsConnector::from(tls()?);
    let stream = connector.connect(name, stream).await.map_err(|error| error.to_string())?;
    request(stream, url, limit, family).await
}

/// Connects to the first address of `host` that answers, all of them judged before.
async fn connect(host: &str, port: u16, path: &str, allow: Allow) -> Result<TcpStream, String> {
    let addresses = resolve(host, port).await.map_err(|error| error.to_string())?;
    let of_family =
        |address: &SocketAddr| allow.family.is_none_or(|family| family == Family::of(address.ip()));
    let addresses: Vec<SocketAddr> = addresses.into_iter().filter(of_family).collect();
    if addresses.is_empty() {
        return Err("it has no address of that kind".to_owned());
    }
    let allowed: Vec<SocketAddr> = addresses
        .into_iter()
        .filter(|address| may_connect(host, path, address.ip(), allow))
        .collect();
    if allowed.is_empty() {
        return Err("it leads into a network that strangers may not choose".to_owned());
    }
    let mut last = String::new();
    for address in allowed.into_iter().take(4) {
        match tokio::time::timeout(FETCH_CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = "it does not answer".to_owned(),
        }
    }
    Err(last)
}

async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    limit: usize,
    family: Family,
) -> Result<(Fetched, Option<String>), String> {
    let mut target = url.path().to_owned();
    if let Some(query) = url.query() {
        target.push('?');
        target.push_str(query);
    }
    let mut host = url.host_str().unwrap_or_default().to_owned();
    if let Some(port) = url.port() {
        host.push_str(&format!(":{port}"));
    }
    let request = hyper::Request::get(target)
        .header(HOST, host)
        .header(USER_AGENT, AGENT)
        .header(ACCEPT_ENCODING, "identity")
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let location = match status.is_redirection() {
            true => response.headers().get(LOCATION),
            false => None,
        };
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = match Limited::new(response.into_body(), limit).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return Err(format!("it sends more than {limit} bytes"));
            }
            Err(error) => return Err(error.to_string()),
        };
        Ok((Fetched { status: status.as_u16(), body, family }, location))
    };
    // The connection makes progress only while it is polled; dropping both ends it.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let mut open = true;
    loop {
        tokio::select! {
            result = &mut exchange => return result,
            _ = &mut connection, if open => open = false,
        }
    }
}

/// Trust in the roots of the web, set up once.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Result<Arc<ClientConfig>, String>> = OnceLock::new();
    let make = || {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    };
    CONFIG.get_or_init(make).clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that answers each connection with the next of `answers`; returns its port.
    async fn server(answers: Vec<String>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let task = tokio::spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.expect("a client");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("a request"));
                }
                asked.push(String::from_utf8_lossy(&request).into_owned());
                // The client may hang up on an answer that is too long.
                let _ =
                    stream.write_all(answer.replace("PORT", &port.to_string()).as_bytes()).await;
            }
            asked
        });
        (port, task)
    }

    fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    fn redirect(to: &str) -> String {
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n")
    }

    #[tokio::test]
    async fn a_tracker_on_this_machine_is_asked_with_its_query_untouched() {
        let (port, task) = server(vec![ok("d8:intervali60ee")]).await;
        let url = format!("http://127.0.0.1:{port}/announce?info_hash=%00%ff%41&left=0");
        let fetched = fetch(&url, 100, Allow::default()).await.expect("answered");
        assert_eq!((fetched.status, &fetched.body[..]), (200, &b"d8:intervali60ee"[..]));
        let asked = task.await.expect("served");
        assert!(asked[0].starts_with("GET /announce?info_hash=%00%ff%41&left=0 HTTP/1.1\r\n"));
        assert!(asked[0].contains(&format!("host: 127.0.0.1:{port}\r\n")), "{}", asked[0]);
    }

    #[tokio::test]
    async fn one_family_can_be_asked_for() {
        let (port, _task) = server(vec![ok("e")]).await;
        let url = format!("http://127.0.0.1:{port}/announce");
        let over = |family| Allow { family: Some(family), ..Allow::default() };
        let error = fetch(&url, 100, over(Family::V6)).await.expect_err("IPv4 only").to_string();
        assert!(error.contains("no address of that kind"), "{error}");
        let fetched = fetch(&url, 100, over(Family::V4)).await.expect("answered");
        assert_eq!(fetched.family, Family::V4);
    }

    #[tokio::test]
    async fn redirects_are_followed_and_judged_again() {
        let hops = vec![redirect("/announce2?x=1"), ok("e")];
        let (port, _task) = server(hops).await;
        let url = format!("http://127.0.0.1:{port}/announce");
        assert_eq!(&fetch(&url, 100, Allow::default()).await.expect("followed").body[..], b"e");

        let inner = vec![redirect("http://127.0.0.1:PORT/api/delete")];
        let (port, _task) = server(inner).await;
        let url = format!("http://127.0.0.1:{port}/announce");
        let error = fetch(&url, 100, Allow::default()).await.expect_err("refused").to_string();
        assert!(error.contains("strangers"), "{error}");

        let (port, _task) = server(vec![redirect("http://169.254.169.254/announce")]).await;
        let url = format!("http://127.0.0.1:{port}/film.torrent");
        assert!(fetch_torrent(&url).await.is_err());

        let (port, _task) = server(vec![redirect("/announce"); 6]).await;
        let url = format!("http://127.0.0.1:{port}/announce");
        let error = fetch(&url, 100, Allow::default()).await.expect_err("endless").to_string();
        assert!(error.contains("5 redirects"), "{error}");
    }

    #[tokio::test]
    async fn too_long_answers_and_strange_schemes_are_refused() {
        let (port, _task) = server(vec![ok(&"x".repeat(101))]).await;
        let url = format!("http://127.0.0.1:{port}/announce");
        let error = fetch(&url, 100, Allow::default()).await.expect_err("too long").to_string();
        assert!(error.contains("more than 100 bytes"), "{error}");
        for url in ["file:///etc/passwd", "http://127.0.0.1/", "http://[::1]:6969/x", "no", ""] {
            assert!(fetch(url, 100, Allow::default()).await.is_err(), "{url}");
        }
    }
}
