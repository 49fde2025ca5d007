//! As much of an HTTP client as a player is: one request, one answer with a known length, read at the caller's pace.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::fault::{Doing, Fault, Tried};
use crate::watch::Watch;

/// Longest head of an answer, bytes.
const HEAD_MAX: usize = 16 * 1024;
/// Longest JSON answer that is read, bytes.
const BODY_MAX: u64 = 4 << 20;
/// How often a read that waits for bytes looks whether to go on.
const LOOK: Duration = Duration::from_millis(50);
/// How long a connection over loopback may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The body of an answer, as it comes.
#[derive(Debug)]
pub(crate) struct Body {
    stream: TcpStream,
    early: Vec<u8>,
    left: u64,
}

impl Body {
    /// Asks for `path` from byte `from` on.
    pub(crate) fn get(address: SocketAddr, path: &str, from: u64, watch: &Watch) -> Tried<Self> {
        let mut stream = TcpStream::connect_timeout(&address, CONNECT).doing("reach the viewer")?;
        stream.set_read_timeout(Some(LOOK)).doing("set a timeout")?;
        let range = if from > 0 { format!("Range: bytes={from}-\r\n") } else { String::new() };
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{range}\r\n");
        stream.write_all(request.as_bytes()).doing("ask the viewer")?;
        let (mut head, mut chunk) = (Vec::new(), [0_u8; 4096]);
        let end = loop {
            if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
                break end;
            }
            if head.len() > HEAD_MAX {
                return Err(Fault::new("the viewer's answer has no end of its head"));
            }
            match read(&mut stream, &mut chunk, watch)? {
                0 => return Err(Fault::new("the viewer closed before it answered")),
                count => head.extend_from_slice(&chunk[..count]),
            }
        };
        let early = head.split_off(end + 4);
        let text = String::from_utf8_lossy(&head);
        let left = length(&text, from)?.saturating_sub(early.len() as u64);
        Ok(Self { stream, early, left })
    }

    /// More of the body into `buffer`; 0 at its end.
    pub(crate) fn read(&mut self, buffer: &mut [u8], watch: &Watch) -> Tried<usize> {
        if !self.early.is_empty() {
            let count = self.early.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.early[..count]);
            self.early.drain(..count);
            return Ok(count);
        }
        if self.left == 0 {
            return Ok(0);
        }
        let count = read(&mut self.stream, buffer, watch)?;
        if count == 0 {
            return Err(Fault::new(format!("the viewer closed {} bytes early", self.left)));
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

/// The JSON at `path`.
pub(crate) fn json(address: SocketAddr, path: &str, watch: &Watch) -> Tried<serde_json::Value> {
    let mut body = Body::get(address, path, 0, watch)?;
    if body.left > BODY_MAX {
        return Err(Fault::new("the viewer's JSON is too long"));
    }
    let (mut text, mut chunk) = (Vec::new(), [0_u8; 16_384]);
    loop {
        match body.read(&mut chunk, watch)? {
            0 => break,
            count => text.extend_from_slice(&chunk[..count]),
        }
    }
    serde_json::from_slice(&text)
        .map_err(|error| Fault::new(format!("the viewer's JSON is wrong: {error}")))
}

/// Reads what is there, waiting until something is, it is time to end, or the other side closes.
fn read(stream: &mut TcpStream, buffer: &mut [u8], watch: &Watch) -> Tried<usize> {
    loop {
        match stream.read(buffer) {
            Ok(count) => return Ok(count),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    watch.check("bytes of the film")?;
                }
                _ => return Err(error).doing("read the film"),
            },
        }
    }
}

/// Length of the body, when the head is that of a good answer to a request from byte `from` on.
fn length(head: &str, from: u64) -> Tried<u64> {
    let status = head.split_whitespace().nth(1).unwrap_or("");
    let wanted = if from > 0 { "206" } else { "200" };
    if status != wanted {
        return Err(Fault::new(format!("the viewer answered {status}, not {wanted}")));
    }
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    };
    head.lines().find_map(field).ok_or_else(|| Fault::new("the viewer's answer has no length"))
}

#[cfg(test)]
mod tests {
    use super::length;

    #[test]
    fn only_a_good_answer_has_a_length() {
        let head = |status: u32| format!("HTTP/1.1 {status} x\r\ncontent-LENGTH: 12\r\n");
        assert_eq!(length(&head(200), 0).ok(), Some(12));
        assert_eq!(length(&head(206), 5).ok(), Some(12));
        for (status, from) in [(206, 0), (200, 5), (416, 5), (503, 0)] {
            assert!(length(&head(status), from).is_err(), "{status} {from}");
        }
        assert!(length("HTTP/1.1 200 OK\r\n", 0).is_err());
    }
}
