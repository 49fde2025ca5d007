//! `publish`, `get`, `seed` and `watch` from outside, each alone on loopback: how long they serve, what they name and play,
//! what they record, and that they end when what they serve is gone.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const QUIET: [&str; 2] = ["--no-lsd", "--listen=127.0.0.1:0"];

/// A folder with files, a home and a state folder.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }
    /// The program with a state folder called `state`, nothing of this machine's settings, and nobody else to talk to.
    fn shoal(&self, state: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command
            .args(words)
            .args(QUIET)
            .arg("--state")
            .arg(self.path(state))
            .env_clear()
            .env("HOME", self.0.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }
    fn run(&self, state: &str, words: &[&str]) -> Output {
        self.shoal(state, words).output().expect("the program starts")
    }
}

/// A running program whose events are read as they come.
struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, lines }
    }
    fn event(&mut self, kind: &str) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("text");
            assert!(read > 0, "it ended before it said `{kind}`");
            let event: Value = serde_json::from_str(&line).expect("JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }
    /// Its status and what it complained of.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        let mut words = String::new();
        let mut stderr = self.child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut words).expect("text");
        (self.child.wait().expect("it ends").code(), words)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which is well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks for a file over HTTP; how that ends does not matter.
fn ask(url: &str) {
    let rest = url.strip_prefix("http://").expect("an http address");
    let (host, path) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).expect("somebody listens");
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .expect("sent");
    // It is cut off: the film is not there any more.
    let _ = stream.read_to_end(&mut Vec::new());
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn json(output: &Output) -> Vec<Value> {
    let lines = String::from_utf8_lossy(&output.stdout);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn one<'v>(events: &'v [Value], kind: &str) -> &'v Value {
    let found = events.iter().find(|event| event["event"] == kind);
    found.unwrap_or_else(|| panic!("no {kind} in {events:?}"))
}

#[test]
fn a_publisher_whose_only_film_is_gone_ends_and_says_so_once() {
    let place = Place::new();
    let film = place.write("film.bin", &[7; 100_000]);
    let mut command = place.shoal("state", &["publish", text(&film), "--http=127.0.0.1:0"]);
    command.stdin(Stdio::null());
    let mut publisher = Running::start(command);
    let title = publisher.event("title");
    let url = title["files"][0]["url"].as_str().expect("an address").to_owned();
    std::fs::remove_file(&film).expect("removed");
    ask(&url);
    let (status, words) = publisher.end();
    assert_eq!(status, Some(1), "{words}");
    assert!(words.contains("film.bin was removed"), "{words}");
    assert_eq!(words.lines().count(), 1, "one sentence, once: {words}");
}

#[test]
fn a_seed_whose_only_film_changed_ends_and_names_it() {
    let place = Place::new();
    let film = place.write("film.bin", &[7; 100_000]);
    let torrent = place.path("t.torrent");
    let words = ["publish", text(&film), "--torrent", text(&torrent), "--seed-time=0s"];
    assert!(place.run("one", &words).status.success());
    let folder = film.parent().expect("a folder");
    let words = ["seed", text(&torrent), "--data", text(folder), "--http=127.0.0.1:0"];
    let mut seed = Running::start(place.shoal("two", &words));
    let title = seed.event("title");
    let url = title["files"][0]["url"].as_str().expect("an address").to_owned();
    std::fs::write(&film, [8; 99_000]).expect("written");
    ask(&url);
    let (status, words) = seed.end();
    assert_eq!(status, Some(1), "{words}");
    assert!(words.contains("film.bin"), "{words}");
}

#[test]
fn a_title_has_the_name_it_was_given_and_is_served_for_the_time_that_was_said() {
    let place = Place::new();
    let film = place.write("film.bin", &[7; 100_000]);
    let torrent = place.path("t.torrent");
    let words =
        ["publish", text(&film), "--torrent", text(&torrent), "--title=A film", "--seed-time=1s"];
    let began = Instant::now();
    let output = place.run("state", &[&words[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let events = json(&output);
    assert_eq!(one(&events, "title")["name"], "A film");
    let link = one(&events, "published")["link"].as_str().expect("a link");
    assert!(link.contains("dn=A%20film"), "{link}");

    // The same for one who has it already: complete at once, then serving for a while.
    std::fs::copy(&film, place.path("A film")).expect("copied");
    let began = Instant::now();
    let words = ["get", text(&torrent), "-o", text(place.0.path()), "--seed-time=1s", "--json"];
    let output = place.run("getter", &words);
    assert_eq!(output.status.code(), Some(0));
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    let events = json(&output);
    assert_eq!(one(&events, "complete")["length"], 100_000);
    assert_eq!(one(&events, "summary")["received"], 0);
}

#[test]
fn the_player_is_given_the_file_that_was_asked_for() {
    let place = Place::new();
    place.write("season/one.mp4", &[1; 50_000]);
    place.write("season/two.mp4", &[2; 90_000]);
    let (torrent, told) = (place.path("t.torrent"), place.path("told"));
    let season = place.path("season");
    let words = ["publish", text(&season), "--torrent", text(&torrent), "--seed-time=0s"];
    assert!(place.run("one", &words).status.success());
    let player = format!("sh -c 'echo {{}} > {}'", text(&told));
    for (file, ending) in [(Some("--file=0"), "/0/one.mp4"), (None, "/1/two.mp4")] {
        let mut words = vec!["watch", text(&torrent), "--player", &player];
        words.extend(file);
        let output = place.run("two", &words);
        assert_eq!(output.status.code(), Some(0), "{:?}", String::from_utf8_lossy(&output.stderr));
        let url = std::fs::read_to_string(&told).expect("the player ran");
        assert!(url.trim().ends_with(ending), "{url}");
    }
    let output = place.run("two", &["watch", text(&torrent), "--player", &player, "--file=9"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no file 9"));
}

#[test]
fn watching_does_not_end_under_a_player_that_still_reads() {
    let place = Place::new();
    let bytes: Vec<u8> = (0..24u32 << 20).map(|at| (at >> 12) as u8).collect();
    let film = place.write("film.bin", &bytes);
    let torrent = place.path("t.torrent");
    let words = ["publish", text(&film), "--torrent", text(&torrent), "--seed-time=0s"];
    assert!(place.run("one", &words).status.success());
    // It is complete from the beginning, and nobody comes: that is no reason to stay.
    let folder = film.parent().expect("a folder");
    let words = ["watch", text(&torrent), "-o", text(folder), "--http=127.0.0.1:0", "--stay"];
    assert!(place.run("two", &[&words[..], &["0s"]].concat()).status.success());

    let mut watch = Running::start(place.shoal("two", &[&words[..], &["3s"]].concat()));
    let title = watch.event("title");
    let url = title["files"][0]["url"].as_str().expect("an address");
    let (host, path) = url.strip_prefix("http://").expect("http").split_once('/').expect("a path");
    let mut player = TcpStream::connect(host).expect("somebody listens");
    write!(player, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
        .expect("sent");
    watch.event("complete");
    // Longer than it would stay.
    std::thread::sleep(Duration::from_secs(5));
    let mut answer = Vec::new();
    player.read_to_end(&mut answer).expect("all of it");
    assert!(answer.ends_with(&bytes), "{} bytes", answer.len());
    let (status, words) = watch.end();
    assert_eq!(status, Some(0), "{words}");
}

#[test]
fn what_was_recorded_happens_again_in_the_simulator() {
    let place = Place::new();
    let film = place.write("film.bin", &[7; 100_000]);
    let record = place.path("record");
    let words = ["publish", text(&film), "--record", text(&record), "--seed-time=1s"];
    assert!(place.run("state", &words).status.success());
    let replay = || {
        Command::new(env!("CARGO_BIN_EXE_shoal"))
            .args(["sim", "replay-record", text(&record)])
            .output()
            .expect("the program starts")
    };
    let output = replay();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // A record that was tampered with does not pass.
    let mut bytes = std::fs::read(&record).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&record, bytes).expect("written");
    assert!(!replay().status.success(), "a changed record is noticed");
}

#[test]
fn settings_of_the_environment_are_taken_as_people_write_them() {
    let place = Place::new();
    let film = place.write("film.bin", &[7; 1000]);
    for yes in ["1", "true", "yes", "on"] {
        let output = place
            .shoal("state", &["publish", text(&film), "--seed-time=0s"])
            .envs([("SHOAL_JSON", yes), ("SHOAL_NO_PEX", yes), ("SHOAL_NO_DHT", yes)])
            .env("SHOAL_VERBOSE", "1")
            .output()
            .expect("the program starts");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(one(&json(&output), "published")["length"], 1000);
    }
    let output = place
        .shoal("state", &["publish", text(&film), "--seed-time=0s"])
        .env("SHOAL_JSON", "0")
        .output()
        .expect("the program starts");
    assert!(String::from_utf8_lossy(&output.stdout).contains("link      magnet:"));
}

#[test]
fn get_fetches_the_files_that_a_link_or_the_user_chooses_and_ends() {
    let place = Place::new();
    for (name, byte) in [("a.bin", 1u8), ("b.bin", 2), ("c.bin", 3)] {
        place.write(&format!("films/{name}"), &[byte; 300_000]);
    }
    let folder = place.path("films");
    let words = ["publish", text(&folder), "--piece-size=64KiB", "--http=off"];
    let mut publisher = Running::start(place.shoal("one", &words));
    let link = publisher.event("published")["link"].as_str().expect("a link").to_owned();
    let get = |words: &[&str]| {
        let output = place.run("two", &[&["get", "-o", text(&place.path("got"))], words].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        json(&output)
    };
    let got = |name: &str| std::fs::read(place.path("got").join("films").join(name));
    let whole = |name: &str, byte: u8| got(name).is_ok_and(|bytes| bytes == [byte; 300_000]);

    let selected = format!("{link}&so=1");
    let events = get(&[&selected, "--json"]);
    assert!(whole("b.bin", 2) && !whole("a.bin", 1) && !whole("c.bin", 3));
    assert_eq!(one(&events, "complete")["length"], 300_000, "files of a hybrid share no piece");
    // Again: nothing is fetched. Another choice: only that.
    assert_eq!(one(&get(&[&selected, "--json"]), "summary")["received"], 0);
    let events = get(&[&selected, "--file=2", "--json"]);
    assert!(whole("b.bin", 2) && !whole("a.bin", 1) && whole("c.bin", 3));
    assert_eq!(one(&events, "summary")["useful"], 300_000);
    let people = place.run("two", &["get", "-o", text(&place.path("got")), &selected]);
    let said = String::from_utf8_lossy(&people.stdout).into_owned();
    assert!(said.contains("files     1 of 3: b.bin"), "{said}");
    let none = place.run("two", &["get", "-o", text(&place.path("got")), &link, "--file=9"]);
    assert_eq!(none.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&none.stderr).contains("has no file 9"), "{none:?}");
    drop(publisher);
}
