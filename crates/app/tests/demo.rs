//! `shoal demo` from outside: it serves the very film, jumps, and leaves nothing behind.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const FILM: &[u8] = include_bytes!("../assets/demo.mp4");

/// Time for anything to happen; on a machine that is busy with other tests too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A demo that is killed if the test gives up on it.
struct Demo {
    child: Child,
    folder: tempfile::TempDir,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, Stdio::inherit())
    }
    fn start_with(arguments: &[&str], stderr: Stdio) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let child = Command::new(env!("CARGO_BIN_EXE_shoal"))
            .arg("demo")
            .arg("--state")
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        Self { child, folder }
    }
    /// Reads its lines until one holds `mark`; returns what follows it.
    fn words_after(&mut self, lines: &mut impl BufRead, mark: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            let read = lines.read_line(&mut line).expect("output is text");
            assert!(read > 0, "the demo ended before it said `{mark}`");
            if let Some((_, rest)) = line.split_once(mark) {
                return rest.trim().to_owned();
            }
        }
    }
    fn interrupt(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let done = Command::new("kill").args(["-INT", &pid]).status().expect("kill is there");
        assert!(done.success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It may have ended by itself, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One HTTP request; the status line and the body.
fn http(url: &str, range: Option<&str>) -> (String, Vec<u8>) {
    let rest = url.strip_prefix("http://").expect("an http address");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    let range = range.map_or_else(String::new, |range| format!("Range: bytes={range}\r\n"));
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\n{range}Connection: close\r\n\r\n")
        .expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let text = String::from_utf8_lossy(&answer[..head]).into_owned();
    (text.lines().next().unwrap_or_default().to_owned(), answer[head..].to_vec())
}

#[test]
fn the_demo_serves_its_film_to_the_byte_jumps_and_leaves_nothing() {
    let mut demo = Demo::start(&["--viewers", "2", "--up-limit", "2MiB"]);
    let mut lines = BufReader::new(demo.child.stdout.take().expect("a pipe"));
    let film = demo.words_after(&mut lines, "film ");

    let middle = FILM.len() / 2;
    let (status, body) = http(&film, Some(&format!("{middle}-{}", middle + 9_999)));
    assert!(status.contains("206"), "{status}");
    assert_eq!(body, FILM[middle..middle + 10_000], "bytes after a jump");

    let (status, body) = http(&film, None);
    assert!(status.contains("200"), "{status}");
    assert!(body == FILM, "{} bytes came, {} are the film", body.len(), FILM.len());

    assert_eq!(demo.interrupt(), Some(130));
    let left = std::fs::read_dir(demo.folder.path()).expect("readable").count();
    assert_eq!(left, 0, "the temporary folder is gone");
    let host = film.trim_start_matches("http://").split('/').next().expect("a host");
    assert!(TcpStream::connect(host).is_err(), "its port is free");
}

#[test]
fn the_demo_shows_a_film_of_ones_own_and_tells_programs_about_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let film = folder.path().join("my film.mp4");
    std::fs::write(&film, FILM).expect("written");
    let mut demo = Demo::start(&[film.to_str().expect("UTF-8"), "--viewers", "1", "--json"]);
    let mut lines = BufReader::new(demo.child.stdout.take().expect("a pipe"));
    for (event, key) in [
        ("directory", "\"http\":\"http://127.0.0.1:"),
        ("publisher", "\"peer\":\"127.0.0.1:"),
        ("published", "\"link\":\"magnet:?"),
        ("viewer", "\"http\":\"http://127.0.0.1:"),
    ] {
        let words = demo.words_after(&mut lines, &format!("\"event\":\"{event}\""));
        assert!(words.contains(key), "{event}: {words}");
    }
    let title = demo.words_after(&mut lines, "\"event\":\"title\"");
    assert!(title.contains("my%20film.mp4"), "{title}");
    demo.words_after(&mut lines, "\"event\":\"complete\"");
    assert_eq!(demo.interrupt(), Some(130));
    demo.words_after(&mut lines, "\"event\":\"summary\"");
}

#[test]
fn a_demo_that_is_interrupted_while_it_hashes_ends_at_once_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let film = folder.path().join("long.bin");
    // Holes cost no room on the disk; to hash them takes a minute and more.
    std::fs::File::create(&film).and_then(|file| file.set_len(64 << 30)).expect("made");
    let mut demo = Demo::start_with(&[film.to_str().expect("UTF-8")], Stdio::piped());
    let mut lines = BufReader::new(demo.child.stderr.take().expect("a pipe"));
    demo.words_after(&mut lines, "hashing ");
    let began = Instant::now();
    assert_eq!(demo.interrupt(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?} to end", began.elapsed());
    let left = std::fs::read_dir(demo.folder.path()).expect("readable").count();
    assert_eq!(left, 0, "the temporary folder is gone");
}
