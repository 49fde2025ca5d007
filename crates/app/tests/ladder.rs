//! `publish --ladder` from outside: what it makes, that it makes it once, and that nothing half made stays.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const FILM: &[u8] = include_bytes!("../assets/demo.mp4");

/// A folder with a film, and what a run of the program over it needs.
struct Place {
    folder: tempfile::TempDir,
    path: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("clock.mp4"), FILM).expect("written");
        std::fs::write(folder.path().join("clock.en.srt"), "1\n00:00:01,0 --> 00:00:02,0\nTick\n")
            .expect("written");
        Self { folder, path: std::env::var("PATH").unwrap_or_default() }
    }
    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
    /// With a program called ffmpeg that is this script, and little else.
    fn with_ffmpeg(mut self, script: &str) -> Self {
        let (bin, file) = (self.at("bin"), self.at("bin/ffmpeg"));
        std::fs::create_dir(&bin).expect("made");
        std::fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).expect("set");
        self.path = format!("{}:/usr/bin:/bin", bin.display());
        self
    }
    fn publish(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shoal"));
        command.arg("publish").arg(self.at("clock.mp4")).arg(self.at("clock.en.srt")).args(words);
        command.args(["--json", "--no-lsd", "--listen=127.0.0.1:0", "--state"]);
        command.arg(self.at("state")).env_clear();
        command.env("HOME", self.folder.path()).env("PATH", &self.path);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
    /// What lies in the folder of ladders, with the files in it.
    fn ladders(&self) -> Vec<(String, Vec<String>)> {
        let names = |path: &Path| {
            let all = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut all: Vec<String> =
                all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            all.sort();
            all
        };
        let shelf = self.at("state/ladder");
        names(&shelf).into_iter().map(|name| (name.clone(), names(&shelf.join(&name)))).collect()
    }
}

fn events(output: &[u8]) -> Vec<Value> {
    let lines = String::from_utf8_lossy(output);
    lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// Whether there is an ffmpeg; said loudly if not.
fn has_ffmpeg() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_ok();
    if !found {
        // Not through the harness, which swallows what passing tests say.
        let _ = writeln!(std::io::stderr(), "SKIPPED: without ffmpeg --ladder was not tried");
    }
    found
}

#[test]
fn smaller_qualities_are_made_once_and_published_beside_the_film() {
    if !has_ffmpeg() {
        return;
    }
    let place = Place::new();
    let run = || {
        let words = ["--ladder", "240,120,720", "--seed-time", "1s"];
        let done = place.publish(&words).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        events(&done.stdout)
    };
    let first = run();
    let told = of(&first, "encoding");
    let last = told.last().expect("progress");
    assert_eq!(last["file"], "clock.mp4");
    assert_eq!(last["heights"], serde_json::json!([240, 120]), "720 lines are more than it has");
    assert_eq!((&last["done_ms"], &last["duration_ms"]), (&60_000.into(), &60_000.into()));
    let title = of(&first, "title").into_iter().next_back().expect("a title").clone();
    let files = title["files"].as_array().expect("files");
    let mut names: Vec<&str> = files.iter().filter_map(|file| file["path"].as_str()).collect();
    names.retain(|name| !name.starts_with("~shoal"));
    names.sort_unstable();
    assert_eq!(names, ["clock.120p.mp4", "clock.240p.mp4", "clock.360p.mp4", "clock.en.srt"]);
    let ladders = place.ladders();
    assert_eq!(ladders.len(), 1, "{ladders:?}");
    assert_eq!(ladders[0].1, ["120p.mp4", "240p.mp4"]);
    let second = run();
    assert!(of(&second, "encoding").is_empty(), "it was made again");
    let hash = |events: &[Value]| of(events, "published")[0]["infohash_v2"].clone();
    assert_eq!(hash(&first), hash(&second));
}

#[test]
fn without_ffmpeg_or_when_it_fails_a_sentence_says_so() {
    let mut bare = Place::new();
    bare.path = bare.at("nothing").display().to_string();
    let failing = Place::new().with_ffmpeg("echo No such thing >&2; exit 3");
    for (place, sentence) in [(bare, "ffmpeg, which is not installed"), (failing, "No such thing")]
    {
        let done = place.publish(&["--ladder"]).output().expect("it starts");
        let words = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(1), "{words}");
        assert!(words.contains(sentence), "{words}");
        assert_eq!(place.ladders(), []);
    }
    let place = Place::new();
    let done = place.publish(&["--ladder", "film.mp4"]).output().expect("it starts");
    assert_eq!(done.status.code(), Some(2));
}

/// Waits until a process is gone.
fn gone(id: &str) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while Path::new("/proc").join(id).exists() {
        if Instant::now() > end {
            return false;
        }
        std::thread::yield_now();
    }
    true
}

#[test]
fn an_interruption_ends_ffmpeg_and_leaves_nothing_half_made() {
    // It says who it is, writes the last file it was told of, and never ends.
    let script = "for last; do :; done; echo half > \"${last#file:}\"; echo out_time_us=30000000; echo $$ > \"$HOME/id\"; exec sleep 600";
    let place = Place::new().with_ffmpeg(script);
    let mut child: Child = place.publish(&["--ladder"]).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let half = lines.by_ref().any(|line| line.expect("text").contains("\"done_ms\":30000"));
    assert!(half, "no progress");
    let id = loop {
        match std::fs::read_to_string(place.at("id")) {
            Ok(text) if text.ends_with('\n') => break text.trim().to_owned(),
            _ => std::thread::yield_now(),
        }
    };
    let ladders = place.ladders();
    assert!(ladders.len() == 1 && ladders[0].0.ends_with(".part"), "{ladders:?}");
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    assert!(gone(&id), "ffmpeg goes on");
    assert_eq!(place.ladders(), []);
}
