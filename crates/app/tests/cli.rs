//! The command line from outside: help, bad usage, exit status, settings and their order, `inspect`.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the program with nothing of this machine's own settings.
fn shoal(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_shoal"))
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .envs(environment.iter().copied())
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const COMMANDS: [&str; 8] =
    ["demo", "publish", "watch", "get", "seed", "directory", "inspect", "sim"];

#[test]
fn help_names_every_command_and_every_command_has_help() {
    let help = shoal(&["--help"], &[]);
    assert!(help.status.success());
    for command in COMMANDS {
        assert!(stdout(&help).contains(&format!("\n  {command} ")), "{command} is not in --help");
        let own = shoal(&[command, "--help"], &[]);
        assert!(own.status.success(), "{command} --help: {}", stderr(&own));
        assert!(stdout(&own).contains("Usage: shoal"), "{command}");
    }
}

#[test]
fn help_of_a_command_tells_units_defaults_and_examples() {
    let text = stdout(&shoal(&["get", "--help"], &[]));
    for part in ["Examples:", "--up-limit", "bytes/s", "[default: .]", "SHOAL_UP_LIMIT", "BEP 14"] {
        assert!(text.contains(part), "get --help lacks {part}:\n{text}");
    }
}

#[test]
fn bad_usage_ends_with_two_and_says_why() {
    let cases: [(&[&str], &str); 9] = [
        (&["watch", "x", "--http", "nonsense"], "127.0.0.1:8080"),
        (&[], "Usage"),
        (&["fly"], "unrecognized"),
        (&["get"], "LINK"),
        (&["get", "x", "--up-limit", "fast"], "500KiB"),
        (&["get", "x", "--seed-time", "soon"], "90s"),
        (&["demo", "--viewers", "0"], "0"),
        (&["sim", "run", "j", "--seeds", "9..1"], "1..20"),
        (&["get", ""], "empty"),
    ];
    for (arguments, part) in cases {
        let output = shoal(arguments, &[]);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{arguments:?}: {}", stderr(&output));
    }
}

#[test]
fn a_failure_ends_with_one_and_one_sentence() {
    for (link, part) in [
        ("no-such.torrent", "there is no file no-such.torrent"),
        ("magnet:?dn=x", "magnet"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "torrent"),
    ] {
        let output = shoal(&["get", link], &[]);
        assert_eq!(output.status.code(), Some(1), "{link}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{link}: {}", stderr(&output));
        assert!(stderr(&output).contains(part), "{link}: {}", stderr(&output));
    }
}

/// Asks a command that fails early for the folder it would use: the one seen in its sentence is the one that won.
fn state_in_use(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut all = vec!["get", "c12fe1c06bba254a9dc9f519b335aa7c1367a88a", "--no-lsd"];
    all.extend(arguments);
    let output = shoal(&all, environment);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    stderr(&output)
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file cannot be a state folder, so each choice fails with its own name.
    let file = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "").expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (flag, environment, setting) = (file("flag"), file("environment"), file("setting"));
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, format!("state = \"{setting}\"\n")).expect("written");
    let settings = settings.to_str().expect("UTF-8");

    let from_file = state_in_use(&["--settings", settings], &[]);
    assert!(from_file.contains(&setting), "{from_file}");
    let from_environment =
        state_in_use(&["--settings", settings], &[("SHOAL_STATE", &environment)]);
    assert!(from_environment.contains(&environment), "{from_environment}");
    let from_flag = state_in_use(
        &["--state", &flag],
        &[("SHOAL_STATE", &environment), ("SHOAL_SETTINGS", settings)],
    );
    assert!(from_flag.contains(&flag), "{from_flag}");
}

#[test]
fn a_settings_file_with_a_misspelt_key_is_refused_by_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("settings.toml");
    std::fs::write(&path, "json = true\nuplimit = 3\n").expect("written");
    let output = shoal(
        &[
            "get",
            "c12fe1c06bba254a9dc9f519b335aa7c1367a88a",
            "--settings",
            path.to_str().expect("UTF-8"),
        ],
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
    assert!(stderr(&output).contains("uplimit"), "{}", stderr(&output));
}

#[test]
fn inspect_tells_what_a_film_is() {
    let film = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo.mp4");
    let film = film.to_str().expect("UTF-8");
    let output = shoal(&["inspect", film, "--json"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["kind"], "media");
    assert_eq!(found["container"], "mp4");
    assert!(found["duration_ms"].as_u64().is_some_and(|ms| ms > 10_000), "{found}");
    let kinds: Vec<&Value> =
        found["tracks"].as_array().expect("tracks").iter().map(|track| &track["kind"]).collect();
    assert_eq!(kinds, ["video", "audio"]);
    assert!(found["time_index"]["keys"].as_u64().is_some_and(|keys| keys > 5), "{found}");
    let people = stdout(&shoal(&["inspect", film], &[]));
    assert!(people.contains("track 1") && people.contains("avc1"), "{people}");
}

#[test]
fn inspect_talks_as_the_environment_and_the_settings_say() {
    let link = "magnet:?xt=urn:btih:c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("settings.toml");
    std::fs::write(&settings, "json = true\nverbose = 1\n").expect("written");
    let settings = settings.to_str().expect("UTF-8");
    for (environment, is_json) in [
        (("SHOAL_JSON", "1"), true),
        (("SHOAL_JSON", "no"), false),
        (("SHOAL_SETTINGS", settings), true),
    ] {
        let output = shoal(&["inspect", link], &[environment]);
        assert!(output.status.success(), "{environment:?}: {}", stderr(&output));
        let found = serde_json::from_slice::<Value>(&output.stdout);
        assert_eq!(found.is_ok(), is_json, "{environment:?}: {}", stdout(&output));
    }
    let output = shoal(&["inspect", link, "--json=false"], &[("SHOAL_JSON", "1")]);
    assert!(serde_json::from_slice::<Value>(&output.stdout).is_err(), "a flag wins");
}

#[test]
fn inspect_tells_what_a_magnet_names() {
    let hash = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    let link = format!(
        "magnet:?xt=urn:btih:{hash}&dn=A+film&tr=udp%3A%2F%2Ft.example%3A1&x.pe=10.0.0.1:7"
    );
    let output = shoal(&["inspect", &link, "--json"], &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["kind"], "magnet");
    assert_eq!(found["infohash_v1"], hash);
    assert_eq!(found["trackers"][0], "udp://t.example:1");
    assert_eq!(found["peers"][0], "10.0.0.1:7");
}
