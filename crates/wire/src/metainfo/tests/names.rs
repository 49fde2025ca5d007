//! Foreign names: each becomes safe, none refuses the title.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::super::names::{MAX_NAME_BYTES, PathTable, display_text, safe_component};

#[test]
fn dangerous_components_become_harmless_ones() {
    for (raw, safe) in [
        (&b"film.mp4"[..], "film.mp4"),
        (b"", "_"),
        (b".", "_"),
        (b"..", "_"),
        (b"...", "_"),
        (b"../../etc/passwd", ".._.._etc_passwd"),
        (b"/etc/passwd", "_etc_passwd"),
        (b"a\\b", "a_b"),
        (b"C:", "C_"),
        (b"c:evil.exe", "c_evil.exe"),
        (b"12: title", "12: title"),
        (b"nul\0byte", "nul_byte"),
        (b"line\nbreak\x7f", "line_break_"),
        (b"CON", "_CON"),
        (b"con.txt", "_con.txt"),
        (b"Aux .log", "_Aux .log"),
        (b"com1", "_com1"),
        (b"COM\xc2\xb9.x", "_COM\u{b9}.x"),
        (b"LPT9.mp4", "_LPT9.mp4"),
        (b"com10", "com10"),
        (b"console", "console"),
        (b"ends with dot.", "ends with dot"),
        (b"ends with space ", "ends with space"),
        (b" . ", "_"),
        (b"bad \xff utf8", "bad \u{fffd} utf8"),
        ("a\u{202e}4pm.exe".as_bytes(), "a_4pm.exe"),
        ("\u{feff}x".as_bytes(), "_x"),
        ("émoji 👩\u{200d}🚀.mkv".as_bytes(), "émoji 👩\u{200d}🚀.mkv"),
        (b".hidden", ".hidden"),
    ] {
        if cfg!(windows) && safe.contains(':') {
            continue;
        }
        assert_eq!(safe_component(raw), safe, "{raw:?}");
    }
}

#[test]
fn long_names_are_cut_before_their_extension_and_at_a_character() {
    let long: String = "é".repeat(200) + ".mp4";
    let safe = safe_component(long.as_bytes());
    assert!(safe.len() <= MAX_NAME_BYTES && safe.len() > 250 && safe.ends_with("é.mp4"));
    let dots = "x".to_owned() + &".".repeat(400) + "y";
    assert!(safe_component(dots.as_bytes()).len() <= MAX_NAME_BYTES);
    assert_eq!(safe_component("a".repeat(300).as_bytes()), "a".repeat(255));
}

#[test]
fn a_cut_that_leaves_a_device_name_is_seen() {
    let padded = "COM\u{b2}".to_owned() + &" ".repeat(270) + "!";
    assert_eq!(safe_component(padded.as_bytes()), "_COM\u{b2}");
    let extended = "nul".to_owned() + &" ".repeat(300) + ".mp4";
    let safe = safe_component(extended.as_bytes());
    assert!(safe.starts_with("_nul ") && safe.ends_with(" .mp4"), "{safe:?}");
    assert_eq!(safe.len(), MAX_NAME_BYTES);
}

fn paths(raw: &[&[&str]]) -> Vec<String> {
    let mut table = PathTable::default();
    raw.iter()
        .map(|parts| {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            table.add(&parts).join("/")
        })
        .collect()
}

#[test]
fn colliding_files_get_a_number() {
    assert_eq!(
        paths(&[
            &["a.txt"],
            &["A.TXT"],
            &["a.txt"],
            &["a (2).txt"],
            &["b", "a.txt"],
            &["B", "A.txt"]
        ]),
        ["a.txt", "A (2).TXT", "a (3).txt", "a (2) (2).txt", "b/a.txt", "B/A (2).txt"]
    );
}

#[test]
fn a_name_is_never_both_a_file_and_a_folder() {
    assert_eq!(
        paths(&[&["x"], &["X", "one"], &["x", "two"], &["x (2)", "one"], &["y", "z"], &["y"]]),
        ["x", "X (2)/one", "X (2)/two", "x (2)/one (2)", "y/z", "y (2)"]
    );
    assert_eq!(paths(&[&[], &["_"]]), ["_", "_ (2)"]);
}

#[test]
fn many_equal_names_cost_no_quadratic_search() {
    let raw = alloc::vec![&["same.bin"][..]; 50_000];
    let all = paths(&raw);
    assert_eq!(all.last().map(String::as_str), Some("same (50000).bin"));
}

#[test]
fn shown_text_has_no_control_characters() {
    assert_eq!(display_text(b"a\x1b[31mb\nc\xff", 100), "a[31mbc\u{fffd}");
    assert_eq!(display_text("ééé".as_bytes(), 2), "éé");
}

proptest! {
    #[test]
    fn every_component_is_safe_and_stays_as_it_is(raw in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"./\\: conCOM1\xe2\x80\xae".to_vec())], 0..300))
    {
        let safe = safe_component(&raw);
        prop_assert!(!safe.is_empty() && safe.len() <= MAX_NAME_BYTES);
        prop_assert!(!safe.contains(['/', '\\', '\0']) && safe != "." && safe != "..");
        prop_assert!(!safe.ends_with(['.', ' ']));
        prop_assert_eq!(safe_component(safe.as_bytes()), safe);
    }

    #[test]
    fn paths_of_a_title_never_collide(raw in prop::collection::vec(
        prop::collection::vec(prop::sample::select(alloc::vec!["a", "A", "b.x", "B.x", "a (2)", "..", "_"]), 0..4), 0..40))
    {
        let parts: Vec<&[&str]> = raw.iter().map(|path| &path[..]).collect();
        let all: Vec<String> = paths(&parts).iter().map(|path| path.to_lowercase()).collect();
        for (at, path) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                prop_assert_ne!(path, other);
                prop_assert!(!other.starts_with(&(path.clone() + "/")), "{} {}", path, other);
                prop_assert!(!path.starts_with(&(other.clone() + "/")), "{} {}", path, other);
            }
        }
    }
}
