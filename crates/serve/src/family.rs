//! Which files of a title belong together: the qualities of one film, and its subtitles. Decided by names alone, so that all peers agree
//! before they have a byte of them.
//!
//! - Qualities of a film lie in one folder and are called `STEM.<number>p.ENDING`, with the same stem, different numbers (lines of the
//!   picture), and endings of containers that can be taken apart into MP4. That they are equally long is looked at once they are read.
//! - Subtitles lie in the folder of their film and are called `STEM.srt`, `STEM.LANGUAGE.srt`, or the same with `.vtt`; STEM is the
//!   film's name without its ending, and for qualities also their stem. LANGUAGE is a language tag (BCP 47).

use shoal_media::language;
use shoal_media::manifest::Subtitle;
use shoal_wire::metainfo::{FileEntry, Info};

use crate::kind;
use crate::limits::{QUALITIES_MAX, SUBTITLES_BYTES_MAX, SUBTITLES_MAX};

/// One quality of a film.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rung {
    /// The file.
    pub(crate) file: u32,
    /// Lines of its picture, as its name says; 0 for a film that says nothing.
    pub(crate) lines: u32,
}

/// The stem of a name of the kind `STEM.<number>p.ENDING`, and the number.
#[must_use]
pub fn rung(name: &str) -> Option<(&str, u32)> {
    let is_taken_apart = matches!(
        kind::of(name).0,
        "video/mp4" | "video/quicktime" | "video/3gpp" | "video/x-matroska" | "video/webm"
    );
    let (front, _) = name.rsplit_once('.').filter(|_| is_taken_apart)?;
    let (stem, lines) = front.rsplit_once('.').filter(|(stem, _)| !stem.is_empty())?;
    let digits = lines.strip_suffix(['p', 'P'])?;
    let is_number = (1..=5).contains(&digits.len()) && digits.bytes().all(|it| it.is_ascii_digit());
    let lines = digits.parse().ok().filter(|lines| is_number && *lines > 0)?;
    Some((stem, lines))
}

fn split(file: &FileEntry) -> Option<(&str, &[String])> {
    file.path.split_last().map(|(name, folder)| (name.as_str(), folder))
}

fn files(info: &Info) -> impl Iterator<Item = (u32, &FileEntry)> {
    info.files
        .iter()
        .enumerate()
        .filter_map(|(number, file)| Some((u32::try_from(number).ok()?, file)))
}

/// The qualities of the film that `file` is one of, the smallest first; `file` alone if it has no others.
pub(crate) fn rungs(info: &Info, file: u32) -> Vec<Rung> {
    let alone = vec![Rung { file, lines: 0 }];
    let found = info.files.get(file as usize).and_then(split);
    let Some((name, folder)) = found else { return alone };
    let Some((stem, _)) = rung(name) else { return alone };
    let mut all: Vec<Rung> = Vec::new();
    for (number, entry) in files(info) {
        let Some((name, _)) = split(entry).filter(|it| it.1 == folder) else { continue };
        let Some((_, lines)) = rung(name).filter(|it| it.0 == stem) else { continue };
        if !all.iter().any(|it| it.lines == lines) {
            all.push(Rung { file: number, lines });
        }
    }
    all.sort_by_key(|it| it.lines);
    all.truncate(QUALITIES_MAX);
    // A second file of as many lines, or one of too many, stands alone.
    if all.iter().any(|it| it.file == file) { all } else { alone }
}

/// The subtitles of the film that `file` is, with their addresses beside its own.
pub(crate) fn subtitles(info: &Info, file: u32) -> Vec<Subtitle> {
    let found = info.files.get(file as usize).and_then(split);
    let Some((_, folder)) = found else { return Vec::new() };
    let rungs = rungs(info, file);
    let names = rungs.iter().filter_map(|rung| split(info.files.get(rung.file as usize)?));
    let mut stems: Vec<&str> = Vec::new();
    for (name, _) in names {
        stems.extend(name.rsplit_once('.').map(|(stem, _)| stem));
        stems.extend(rung(name).map(|(stem, _)| stem));
    }
    let found = files(info).filter_map(|(number, entry)| {
        let (name, _) = split(entry).filter(|it| it.1 == folder)?;
        let (front, ending) = name.rsplit_once('.')?;
        let is_text = ending.eq_ignore_ascii_case("srt") || ending.eq_ignore_ascii_case("vtt");
        let fits = is_text && (1..=SUBTITLES_BYTES_MAX).contains(&entry.length);
        let language = match front.rsplit_once('.') {
            _ if stems.contains(&front) => None,
            Some((stem, "und")) if stems.contains(&stem) => None,
            Some((stem, said)) if stems.contains(&stem) => Some(language::tag(said)?),
            _ => return None,
        };
        let (playlist, text) =
            (format!("subtitles-{number}.m3u8"), format!("subtitles-{number}.vtt"));
        fits.then_some(Subtitle { number, language, playlist, text })
    });
    found.take(SUBTITLES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use shoal_wire::InfoHashes;
    use shoal_wire::metainfo::{FileEntry, Info, Layout};
    use shoal_wire::slot::{SLOT_MS, Slots};

    use super::{rung, rungs, subtitles};

    /// A title of files with these paths.
    fn title(paths: &[&str]) -> Info {
        let entry = |path: &&str| FileEntry {
            path: path.split('/').map(str::to_owned).collect(),
            length: 100,
            start: 0,
            pieces_root: None,
        };
        Info {
            hashes: InfoHashes::default(),
            raw: Bytes::new(),
            name: "A title".to_owned(),
            folder: true,
            files: paths.iter().map(entry).collect(),
            layout: Layout::new(16384, 100, Vec::new()).expect("a layout"),
            piece_hashes: Bytes::new(),
            private: false,
            slots: Slots::new(0, SLOT_MS),
            time_indexes: Vec::new(),
        }
    }

    fn family(info: &Info, file: u32) -> Vec<u32> {
        rungs(info, file).iter().map(|rung| rung.file).collect()
    }

    #[test]
    fn names_tell_qualities() {
        for (name, expected) in [
            ("film.1080p.mp4", Some(("film", 1080))),
            ("a.b.c.240P.MKV", Some(("a.b.c", 240))),
            ("film.0p.mp4", None),
            ("film.p.mp4", None),
            ("film.+72p.mp4", None),
            ("film.123456p.mp4", None),
            (".720p.mp4", None),
            ("720p.mp4", None),
            ("film.720p.ts", None),
            ("film.720p.srt", None),
            ("film.720p", None),
            ("film.mp4", None),
            ("", None),
        ] {
            assert_eq!(rung(name), expected, "{name}");
        }
    }

    #[test]
    fn all_of_a_film_find_the_same_others_and_nobody_else() {
        let info = title(&[
            "film.1080p.mp4",
            "film.240p.mkv",
            "film.720p.mp4",
            "film.mp4",
            "other.720p.mp4",
            "x/film.480p.mp4",
            "film.720p.mkv",
            "x/film.360p.mp4",
        ]);
        for file in [0, 1, 2] {
            assert_eq!(family(&info, file), [1, 2, 0]);
        }
        for file in [3, 4, 6, 99] {
            assert_eq!(family(&info, file), [file]);
        }
        assert_eq!(family(&info, 5), [7, 5]);
    }

    #[test]
    fn subtitles_are_found_by_the_stem_of_their_film() {
        let info = title(&[
            "film.720p.mp4",
            "film.240p.mp4",
            "film.srt",
            "film.en.srt",
            "film.240p.pt-BR.VTT",
            "film.720p.srt",
            "other.srt",
            "x/film.srt",
            "film.commentary.srt",
            "alone.mkv",
            "alone.eng.vtt",
        ]);
        let found = |file| {
            let all = subtitles(&info, file).into_iter();
            all.map(|it| (it.number, it.language.unwrap_or_default())).collect::<Vec<_>>()
        };
        let expected =
            [(2, ""), (3, "en"), (4, "pt-BR"), (5, "")].map(|it| (it.0, it.1.to_owned()));
        assert_eq!(found(0), expected);
        assert_eq!(found(1), expected);
        assert_eq!(found(9), [(10, "en".to_owned())]);
        assert_eq!(found(99), []);
    }

    proptest! {
        #[test]
        fn membership_is_mutual(
            names in prop::collection::vec("(a|b|a\\.b)\\.(1|2|3|44|x)p?\\.(mp4|mkv|srt)", 1..40)
        ) {
            let paths: Vec<&str> = names.iter().map(String::as_str).collect();
            let info = title(&paths);
            for file in 0..paths.len() as u32 {
                let all = family(&info, file);
                prop_assert!(all.contains(&file));
                for other in &all {
                    prop_assert_eq!(&family(&info, *other), &all);
                }
            }
        }
    }
}
