//! Foreign names made safe to create on a disk and to show to a person. Names are never a reason to refuse a title.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Longest path component, bytes: what ext4, NTFS, APFS and XFS allow.
pub const MAX_NAME_BYTES: usize = 255;
/// Longest extension that a shortened name keeps, bytes with its dot.
const MAX_EXTENSION_BYTES: usize = 32;

/// Names that Windows gives to devices, whatever follows the first dot.
const RESERVED: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Characters that end a line, hide, or turn the direction of text around.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `raw` as text to show: invalid UTF-8 replaced, control and bidirectional characters removed, at most `max_chars`.
#[must_use]
pub fn display_text(raw: &[u8], max_chars: usize) -> String {
    let text = String::from_utf8_lossy(raw);
    text.chars().filter(|c| !is_deceptive(*c)).take(max_chars).collect()
}

/// `raw` as one safe path component.
///
/// Invalid UTF-8 is replaced; separators of both kinds, control and bidirectional characters and the colon of a drive
/// letter become `_`, on Windows also what its file systems refuse; dots and spaces at the end are dropped; what is then
/// empty (so also `.` and `..`) becomes `_`; device names of Windows get a `_` in front; what is longer than
/// [`MAX_NAME_BYTES`] is shortened before its extension.
#[must_use]
pub fn safe_component(raw: &[u8]) -> String {
    let text = String::from_utf8_lossy(raw);
    let mut name: String = text
        .chars()
        .enumerate()
        .map(|(at, c)| match c {
            '/' | '\\' => '_',
            ':' if at == 1 && text.starts_with(|c: char| c.is_ascii_alphabetic()) => '_',
            '<' | '>' | ':' | '"' | '|' | '?' | '*' if cfg!(windows) => '_',
            c if is_deceptive(c) => '_',
            c => c,
        })
        .collect();
    trim_end(&mut name);
    // Shortened first: what is cut off may be all that made it another name than a device's.
    name = shorten(name, "");
    if is_reserved(&name) {
        name.insert(0, '_');
        name = shorten(name, "");
    }
    name
}

fn trim_end(name: &mut String) {
    name.truncate(name.trim_end_matches(['.', ' ']).len());
    if name.is_empty() {
        name.push('_');
    }
}

fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or("").trim_end().to_lowercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix).is_some_and(|rest| {
            let mut chars = rest.chars();
            matches!(chars.next(), Some('0'..='9' | '¹' | '²' | '³')) && chars.next().is_none()
        })
    };
    RESERVED.contains(&stem.as_str()) || numbered("com") || numbered("lpt")
}

/// `name` with `suffix` before its extension, cut to the longest length allowed.
fn shorten(name: String, suffix: &str) -> String {
    if name.len() + suffix.len() <= MAX_NAME_BYTES && suffix.is_empty() {
        return name;
    }
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= MAX_EXTENSION_BYTES);
    let (stem, extension) = name.split_at_checked(dot.unwrap_or(name.len())).unwrap_or((&name, ""));
    let room = MAX_NAME_BYTES.saturating_sub(suffix.len() + extension.len());
    let mut end = stem.len().min(room);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = format!("{}{suffix}{extension}", stem.get(..end).unwrap_or(""));
    trim_end(&mut short);
    short
}

/// Gives out paths that are unique in a title without regard to case, and in which no file is also a folder.
#[derive(Default)]
pub(super) struct PathTable {
    /// By folder and lower-case name.
    taken: BTreeMap<(u32, String), Slot>,
    /// Where the search for the next free suffix of a name goes on.
    suffixes: BTreeMap<(u32, String), u32>,
    /// Folders renamed because a file has their name.
    renamed: BTreeMap<(u32, String), (String, u32)>,
    folders: u32,
}

#[derive(Clone, Copy)]
enum Slot {
    File,
    Folder(u32),
}

impl PathTable {
    /// A safe path for the next file; `parts` are the foreign components.
    pub(super) fn add(&mut self, parts: &[&[u8]]) -> Vec<String> {
        let mut folder = 0;
        let mut path = Vec::with_capacity(parts.len().max(1));
        let (last, folders) = parts.split_last().map_or((&b""[..], &[][..]), |(l, f)| (*l, f));
        for part in folders {
            let (name, inner) = self.enter(folder, safe_component(part));
            folder = inner;
            path.push(name);
        }
        let name = self.free_name(folder, safe_component(last));
        self.taken.insert((folder, name.to_lowercase()), Slot::File);
        path.push(name);
        path
    }
    /// The folder `name` inside `folder`, under another name where a file has this one.
    fn enter(&mut self, folder: u32, name: String) -> (String, u32) {
        let key = (folder, name.to_lowercase());
        match self.taken.get(&key) {
            Some(Slot::Folder(inner)) => return (name, *inner),
            Some(Slot::File) => {
                if let Some((renamed, inner)) = self.renamed.get(&key) {
                    return (renamed.to_owned(), *inner);
                }
                let free = self.free_name(folder, name);
                let inner = self.make(folder, &free);
                self.renamed.insert(key, (free.clone(), inner));
                return (free, inner);
            }
            None => {}
        }
        let inner = self.make(folder, &name);
        (name, inner)
    }
    fn make(&mut self, folder: u32, name: &str) -> u32 {
        self.folders += 1;
        self.taken.insert((folder, name.to_lowercase()), Slot::Folder(self.folders));
        self.folders
    }
    /// `name`, with a number before its extension when it is taken.
    fn free_name(&mut self, folder: u32, name: String) -> String {
        let key = (folder, name.to_lowercase());
        if !self.taken.contains_key(&key) {
            return name;
        }
        let mut number = self.suffixes.get(&key).copied().unwrap_or(2);
        loop {
            let other = shorten(name.clone(), &format!(" ({number})"));
            number = number.saturating_add(1);
            if !self.taken.contains_key(&(folder, other.to_lowercase())) {
                self.suffixes.insert(key, number);
                return other;
            }
        }
    }
}
