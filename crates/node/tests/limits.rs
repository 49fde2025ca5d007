//! Limits and patience times of the rooms stand in `config.rs` and `config/limits.rs`, where a reader looks for them.

use std::fs;
use std::path::Path;

/// What a format or a standard fixes, or what is no limit of a room.
const FIXED: [(&str, &str); 2] =
    [("discover/round.rs", "CONNECTION_LIFE"), ("record/mod.rs", "RECORD_MAX")];
/// Where the scheduler weighs its times against each other: they are read together with it.
const SCHEDULER: [&str; 9] = [
    "swarm/fastest.rs",
    "swarm/fetch.rs",
    "swarm/precedence.rs",
    "swarm/reveal.rs",
    "swarm/source.rs",
    "swarm/spread.rs",
    "swarm/uplink.rs",
    "swarm/upload.rs",
    "swarm/windowed.rs",
];

/// Name and type of a constant of a module.
fn constant(line: &str) -> Option<(&str, &str)> {
    let line = line
        .strip_prefix("pub(super) ")
        .or_else(|| line.strip_prefix("pub(crate) "))
        .unwrap_or(line);
    let (name, rest) =
        line.strip_prefix("pub ").unwrap_or(line).strip_prefix("const ")?.split_once(": ")?;
    Some((name, rest.split_once(" = ")?.0))
}

fn strays(folder: &Path, place: &str, found: &mut Vec<String>) {
    let mut entries: Vec<_> = fs::read_dir(folder).expect("the sources").flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{place}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            strays(&entry.path(), &format!("{name}/"), found);
            continue;
        }
        if name.starts_with("config") || name.ends_with("tests.rs") || SCHEDULER.contains(&&*name) {
            continue;
        }
        let text = fs::read_to_string(entry.path()).expect("a source file");
        let limits = text.lines().filter_map(constant).filter(|(constant, kind)| {
            (constant.ends_with("_MAX") || kind.contains("Duration"))
                && !FIXED.contains(&(&*name, constant))
        });
        found.extend(limits.map(|(constant, _)| format!("{name}: {constant}")));
    }
}

#[test]
fn no_room_has_a_limit_of_its_own() {
    let mut found = Vec::new();
    strays(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut found);
    assert!(found.is_empty(), "these belong into config/limits.rs: {found:#?}");
}
