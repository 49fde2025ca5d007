//! Holds what the compiler does not: the arrows between crates, purity of the cores, sizes of files and functions,
//! module docs, the list of dependencies, and that nothing unfinished or machine-bound is committed.
//!
//! It reads `cargo metadata` and the files that git tracks. Rules and their reasons stand in CONTRIBUTING.md.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What a crate may depend on: our own crates, then outside ones (`None` is any).
type Arrows = (&'static str, &'static [&'static str], Option<&'static [&'static str]>);

const ARROWS: [Arrows; 9] = [
    ("shoal-wire", &[], Some(&["bytes", "hashbrown", "sha1", "sha2"])),
    ("shoal-media", &["shoal-wire"], Some(&["bytes"])),
    ("shoal-node", &["shoal-wire"], Some(&["bytes", "hashbrown"])),
    ("shoal-sim", &["shoal-node", "shoal-wire", "shoal-media"], None),
    ("shoal-drive", &["shoal-node", "shoal-wire"], None),
    ("shoal-serve", &["shoal-drive", "shoal-wire", "shoal-media", "shoal-node"], None),
    (
        "shoal-app",
        &["shoal-wire", "shoal-media", "shoal-node", "shoal-sim", "shoal-drive", "shoal-serve"],
        None,
    ),
    ("shoal-counts", &["shoal-node", "shoal-wire"], Some(&["bytes"])),
    // Looks at the program from outside: not a line of it may come in, and nobody may depend on it.
    ("shoal-lab", &[], Some(&["clap", "rustix", "serde_json", "tempfile", "tokio"])),
];

/// What must not be reachable from a pure crate by any path: clocks, sockets, tasks, the system's randomness.
const IMPURE: [&str; 8] =
    ["tokio", "mio", "socket2", "async-std", "smol", "rand", "getrandom", "rustix"];

const FILE_LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the workspace is there")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("UTF-8 output")
}

fn metadata(extra: &[&str]) -> Value {
    let mut arguments = vec!["metadata", "--format-version", "1", "--locked"];
    arguments.extend(extra);
    serde_json::from_str(&output(env!("CARGO"), &arguments)).expect("cargo metadata is JSON")
}

/// Text files of the tree: tracked ones and new ones that git does not ignore, with their content.
fn texts(wanted: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    output("git", &["ls-files", "--cached", "--others", "--exclude-standard"])
        .lines()
        .filter(|path| wanted(path))
        .filter_map(|path| {
            Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?))
        })
        .collect()
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

/// The lines of a file before its unit tests, which stand last.
fn without_tests(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let end = lines
        .windows(2)
        .position(|pair| {
            pair[0].starts_with("#[cfg(test)]")
                && pair[1].trim_start_matches("pub(crate) ").starts_with("mod ")
                && pair[1].ends_with('{')
        })
        .unwrap_or(lines.len());
    lines[..end].to_vec()
}

fn in_tests(path: &str) -> bool {
    path.contains("/tests/") || path.starts_with("tests/") || path.ends_with("/tests.rs")
}

fn assert_none(faults: &[String], rule: &str) {
    assert!(faults.is_empty(), "{rule}:\n  {}", faults.join("\n  "));
}

#[test]
fn crates_depend_only_along_the_arrows() {
    let metadata = metadata(&["--no-deps"]);
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("name");
        let Some((_, own, outside)) = ARROWS.iter().find(|arrow| arrow.0 == name) else {
            faults.push(format!("{name} has no arrows: say in tidy.rs what it may depend on"));
            continue;
        };
        seen.insert(name.to_owned());
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let to = dependency["name"].as_str().expect("name");
            let ships = dependency["kind"].is_null();
            let allowed = if to.starts_with("shoal-") {
                own.contains(&to)
            } else {
                !ships || outside.is_none_or(|list| list.contains(&to))
            };
            if !allowed {
                faults.push(format!("{name} -> {to}"));
            }
        }
    }
    assert_eq!(seen.len(), ARROWS.len(), "a crate of DESIGN is missing");
    assert_none(&faults, "dependencies against the arrows of ARCHITECTURE.md");
}

#[test]
fn no_clock_socket_or_task_is_reachable_from_a_pure_crate() {
    let host = output("rustc", &["-vV"]);
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let metadata = metadata(&["--filter-platform", host]);
    let mut ships: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
        let to = node["deps"].as_array().expect("deps").iter().filter(|dependency| {
            dependency["dep_kinds"].as_array().expect("kinds").iter().any(|k| k["kind"].is_null())
        });
        ships.insert(
            node["id"].as_str().expect("id"),
            to.map(|dependency| dependency["pkg"].as_str().expect("pkg")).collect(),
        );
    }
    let names: BTreeMap<&str, &str> = metadata["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|package| {
            (package["id"].as_str().expect("id"), package["name"].as_str().expect("name"))
        })
        .collect();
    let mut faults = Vec::new();
    for pure in ["shoal-wire", "shoal-media", "shoal-node", "shoal-sim"] {
        let mut open: Vec<&str> =
            names.iter().filter(|(_, name)| **name == pure).map(|(id, _)| *id).collect();
        let mut reached = BTreeSet::new();
        while let Some(id) = open.pop() {
            if reached.insert(id) {
                open.extend(ships.get(id).into_iter().flatten());
            }
        }
        let impure = reached.iter().map(|id| names[id]).filter(|name| IMPURE.contains(name));
        faults.extend(impure.map(|name| format!("{pure} reaches {name}")));
        assert!(!reached.is_empty(), "{pure} is in the workspace");
    }
    assert_none(&faults, "impure crates behind pure ones");
}

#[test]
fn the_cores_are_no_std_and_free_of_unsafe_code() {
    for core in ["wire", "node"] {
        let lib = text(&format!("crates/{core}/src/lib.rs"));
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(lib.lines().any(|line| line == attribute), "{core} lacks {attribute}");
        }
    }
    assert!(text("crates/media/src/lib.rs").contains("#![forbid(unsafe_code)]"), "media is pure");
    let mut faults = Vec::new();
    for (path, text) in
        texts(|path| is_rust(path) && (path.contains("wire/src/") || path.contains("node/src/")))
    {
        for (index, line) in without_tests(&text).iter().enumerate() {
            let std =
                line.contains("extern crate std") || line.trim_start().starts_with("use std::");
            if std && !in_tests(&path) {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    assert_none(&faults, "std in a no_std core");
}

#[test]
fn files_are_short_enough_to_be_read() {
    let faults: Vec<String> = texts(|path| is_rust(path) && !in_tests(path))
        .iter()
        .map(|(path, text)| (path, without_tests(text).len()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines"))
        .collect();
    assert_none(&faults, "files over 800 lines without their tests");
}

/// First line, name and length of every function of formatted code: from its signature to the brace in its column.
fn functions<'a>(lines: &[&'a str]) -> Vec<(usize, &'a str, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let body = line.trim_start();
        let indent = line.len() - body.len();
        let mut words = body.split(' ').skip_while(|word| {
            word.starts_with("pub") || ["const", "async", "unsafe", "in", "extern"].contains(word)
        });
        if words.next() != Some("fn") {
            continue;
        }
        let closes = |line: &&str| {
            line.starts_with('}') && indent == 0
                || line.len() > indent && line[..indent].trim().is_empty() && &line[indent..] == "}"
        };
        let one_line = body.ends_with('}') || body.ends_with(';');
        let length = if one_line {
            1
        } else {
            lines[start + 1..].iter().position(closes).map_or(1, |end| end + 2)
        };
        let name = words.next().and_then(|name| name.split(['(', '<']).next()).unwrap_or("?");
        found.push((start + 1, name, length));
    }
    found
}

#[test]
fn functions_fit_on_a_screen() {
    let mut faults = Vec::new();
    for (path, text) in texts(|path| is_rust(path) && !in_tests(path)) {
        let lines = without_tests(&text);
        for (line, name, length) in functions(&lines) {
            if length > FUNCTION_LINES_MAX {
                faults.push(format!("{path}:{line}: {name} has {length} lines"));
            }
        }
    }
    assert_none(&faults, "functions over 70 lines");
}

#[test]
fn function_lengths_are_counted_by_their_closing_brace() {
    let lines =
        ["impl A {", "    fn f() {", "        if x {", "        }", "    }", "    fn g() {}", "}"];
    let lengths: Vec<_> = functions(&lines).into_iter().map(|found| (found.0, found.2)).collect();
    assert_eq!(lengths, [(2, 4), (6, 1)]);
}

/// What a standard or the system fixes: these stand where they are used.
const FIXED: [(&str, &str); 2] =
    [("crates/drive/src/resolve.rs", "NAME_MAX"), ("crates/drive/src/storage/mod.rs", "PARTS_MAX")];

#[test]
fn limits_of_the_driver_and_the_faces_stand_together() {
    let room = |path: &str| {
        let homes = ["crates/drive/src/config.rs", "crates/serve/src/limits.rs"];
        (path.starts_with("crates/drive/src/") || path.starts_with("crates/serve/src/"))
            && !homes.contains(&path)
    };
    let mut faults = Vec::new();
    for (path, text) in texts(|path| is_rust(path) && room(path) && !in_tests(path)) {
        for line in without_tests(&text) {
            let bare = ["pub(crate) ", "pub(super) ", "pub "]
                .iter()
                .find_map(|word| line.strip_prefix(word))
                .unwrap_or(line);
            let Some((name, rest)) = bare.strip_prefix("const ").and_then(|c| c.split_once(": "))
            else {
                continue;
            };
            let is_limit = name.ends_with("_MAX") || rest.contains("Duration");
            if is_limit && !FIXED.contains(&(&*path, name)) {
                faults.push(format!("{path}: {name}"));
            }
        }
    }
    assert_none(&faults, "limits belong into drive/src/config.rs and serve/src/limits.rs");
}

#[test]
fn every_module_and_script_says_what_it_is_for() {
    let mut faults = Vec::new();
    for (path, text) in texts(|path| is_rust(path) && !(path.contains("/src/") && in_tests(path))) {
        if !text.lines().find(|line| !line.is_empty()).is_some_and(|line| line.starts_with("//!")) {
            faults.push(path);
        }
    }
    for (path, text) in texts(|path| path.ends_with(".py") || path.ends_with(".sh")) {
        let explains = |line: &str| line.starts_with("\"\"\"") || line.starts_with("# ");
        if !text.lines().take(3).any(explains) {
            faults.push(path);
        }
    }
    assert_none(&faults, "files without a page of their own at the top");
}

#[test]
fn nothing_unfinished_is_committed() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("dbg", "!(")];
    assert_none(&lines_with(&marks, |_| true), "an intention is an issue, not a comment");
}

#[test]
fn nothing_is_bound_to_one_machine() {
    let marks =
        [concat!("/ho", "me/"), concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/tm", "p/")];
    // Torrents that point outside their folder are what that file is about.
    let hostile = |path: &str| path == "tests/badinput.py";
    let wanted = |path: &str| path != "Cargo.lock" && !hostile(path);
    assert_none(&lines_with(&marks, wanted), "paths of a machine");
}

/// Lines of the tree's texts that hold one of `marks`.
fn lines_with(marks: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in texts(wanted) {
        for (index, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                faults.push(format!("{path}:{}: {}", index + 1, line.trim()));
            }
        }
    }
    faults
}

/// Names under `[section]` and `[target.….section]` of a manifest, with what is said about each.
fn dependencies(manifest: &toml::Table) -> Vec<(String, toml::Value)> {
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = std::iter::once(manifest).chain(
        targets.into_iter().flat_map(|targets| targets.values().filter_map(|t| t.as_table())),
    );
    tables
        .flat_map(|table| sections.iter().filter_map(|section| table.get(*section)?.as_table()))
        .flat_map(|section| section.iter().map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

fn manifests() -> Vec<(String, toml::Table)> {
    texts(|path| path.ends_with("Cargo.toml"))
        .into_iter()
        .map(|(path, text)| (path, text.parse().expect("a manifest is TOML")))
        .collect()
}

#[test]
fn every_dependency_is_explained_and_every_explanation_is_of_a_dependency() {
    let page = text("docs/dependencies.md");
    let explained: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let used: BTreeSet<String> = manifests()
        .iter()
        .flat_map(|(_, manifest)| dependencies(manifest))
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with("shoal-"))
        .collect();
    let missing: Vec<&String> =
        used.iter().filter(|name| !explained.contains(name.as_str())).collect();
    let stale: Vec<&&str> = explained.iter().filter(|name| !used.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/dependencies.md lacks {missing:?}");
    assert!(stale.is_empty(), "docs/dependencies.md explains what nobody uses: {stale:?}");
}

#[test]
fn versions_stand_once_and_lints_hold_everywhere() {
    let mut faults = Vec::new();
    for (path, manifest) in manifests() {
        if !(path.starts_with("crates/") || path.starts_with("lab/")) {
            continue;
        }
        for (name, value) in dependencies(&manifest) {
            if value.get("workspace").is_none() {
                faults.push(format!("{path}: {name} does not take its version from the root"));
            }
        }
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).is_none() {
            faults.push(format!("{path}: the lints of the workspace are not taken over"));
        }
    }
    let root: toml::Table = text("Cargo.toml").parse().expect("a manifest is TOML");
    let shared = root["workspace"]["dependencies"].as_table().expect("shared versions");
    for (name, value) in shared {
        let ours = name.starts_with("shoal-");
        // Test tools are taken as they come; they do not ship.
        let tool = ["proptest", "tempfile"].contains(&name.as_str());
        let lean = value.get("default-features").and_then(toml::Value::as_bool) == Some(false);
        if !(ours || tool || lean) {
            faults.push(format!("Cargo.toml: {name} without `default-features = false`"));
        }
    }
    assert_none(&faults, "manifests");
}

#[test]
fn every_fuzz_target_is_run_by_check() {
    let manifest: toml::Table = text("fuzz/Cargo.toml").parse().expect("a manifest is TOML");
    let listed: BTreeSet<String> = manifest["bin"]
        .as_array()
        .expect("targets")
        .iter()
        .filter_map(|bin| Some(bin.get("path")?.as_str()?.to_owned()))
        .collect();
    let there: BTreeSet<String> = texts(|path| path.starts_with("fuzz/fuzz_targets/"))
        .into_iter()
        .filter_map(|(path, _)| Some(path.strip_prefix("fuzz/")?.to_owned()))
        .collect();
    assert_eq!(listed, there, "fuzz/Cargo.toml and fuzz/fuzz_targets differ");
    assert!(text("check").contains("cargo fuzz list"), "./check runs all that are listed");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut faults = Vec::new();
    for (path, text) in texts(|path| path.ends_with(".md")) {
        let folder = root().join(&path).parent().expect("a file has a folder").to_path_buf();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next()) {
            let outside = link.is_empty() || link.contains("://") || link.starts_with("mailto:");
            if !outside && !folder.join(link).exists() {
                faults.push(format!("{path}: {link}"));
            }
        }
    }
    assert_none(&faults, "links to nothing");
}
