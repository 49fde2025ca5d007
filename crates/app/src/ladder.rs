//! `publish --ladder`: smaller qualities of a film, made by an installed ffmpeg, kept below the state folder and used again.
//!
//! For each film lies, under a name that covers its path, length, time of last change and what is made of it, the folder `ladder/KEY` with a
//! file for each quality. It gets that name once all of them are whole; until then it ends in `.part`, and is removed when the work ends
//! early.
//!
//! A quality of `n` lines gets 2.8 Mbit/s times (n / 720)^1.5, never more for its size than its source has, and sound of 96 kbit/s.
//! Key frames stand at the same places in all of them, each two seconds.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use shoal_drive::hash::sha256;
use shoal_drive::publish::find_sources;
use shoal_media::TrackKind;
use shoal_serve::family::rung;
use shoal_serve::kind::is_film;
use shoal_serve::reports::{Report, Reports};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::console::Console;
use crate::error::Error;
use crate::film;

/// What `--ladder` makes unless it is told otherwise.
pub(crate) const DEFAULT: &str = "720,480,240";
/// Lines of a picture that can be asked for.
const LINES: std::ops::RangeInclusive<u32> = 120..=4320;
/// Qualities that are made at once, at most.
const RUNGS_MAX: usize = 5;
/// Bits in a second, in thousands, of 720 lines.
const KBITS_OF_720: u64 = 2800;
/// And of anything, at least.
const KBITS_MIN: u64 = 100;
/// What ffmpeg complains is kept up to this many bytes.
const WORDS_BYTES_MAX: u64 = 16 << 10;

/// Heights of pictures that are wanted, in lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Heights(Vec<u32>);

impl std::str::FromStr for Heights {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let height = |part: &str| {
            let lines = part.trim().trim_end_matches('p').parse().ok();
            lines.filter(|lines| LINES.contains(lines) && lines % 2 == 0)
        };
        let mut heights: Vec<u32> = text.split(',').map(height).collect::<Option<_>>().ok_or_else(|| {
            format!("write even heights from {} to {}, such as 720,360; a film stands before --ladder, not behind it", LINES.start(), LINES.end())
        })?;
        heights.sort_unstable_by(|a, b| b.cmp(a));
        heights.dedup();
        match heights.len() <= RUNGS_MAX {
            true => Ok(Self(heights)),
            false => Err(format!("at most {RUNGS_MAX} heights can be made")),
        }
    }
}

/// The smaller qualities of a film.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rungs {
    /// The film.
    pub(crate) source: PathBuf,
    /// Lines of its own picture; `None` where it cannot stand beside the others.
    pub(crate) lines: Option<u32>,
    /// Lines and file of each.
    pub(crate) made: Vec<(u32, PathBuf)>,
}

/// A film, and what is to be made of it.
struct Plan {
    source: PathBuf,
    name: String,
    lines: Option<u32>,
    duration_ms: u64,
    /// Lines and thousands of bits in a second of each.
    rungs: Vec<(u32, u64)>,
}

/// Makes the smaller qualities of all films at `paths` that have none yet, or finds them again. When this is dropped ffmpeg is ended, and
/// what was half made is removed.
pub(crate) async fn make(
    paths: &[PathBuf],
    heights: &Heights,
    state: &Path,
    (reports, console): (&Reports, &Console),
) -> Result<Vec<Rungs>, Error> {
    let shelf = state.join("ladder");
    std::fs::create_dir_all(&shelf).map_err(|error| cannot("be made", &shelf, &error))?;
    // The state folder has one process: what is half made is of one that was killed.
    remove_parts(&shelf);
    let (_, _, sources) = find_sources(paths, None)?;
    let mut all = Vec::new();
    for source in sources {
        let name = source.name.last().map_or("", String::as_str);
        if !is_film(name) || rung(name).is_some() {
            continue;
        }
        let (name, file, heights) = (name.to_owned(), source.file, heights.clone());
        // A film without an index of its own is read through.
        let planned = tokio::task::spawn_blocking(move || plan(&file, &name, &heights)).await;
        match planned {
            Ok(Ok(plan)) => all.push(build(&shelf, plan, reports).await?),
            // It is published like any file; others may do.
            Ok(Err(sentence)) => console.lock().warn(&sentence),
            // A panic was printed where it happened.
            Err(_) => return Err(Error::new("a film could not be looked at")),
        }
    }
    match all.is_empty() {
        true => Err(Error::new(
            "--ladder found no film to make smaller qualities of; leave it out to publish as it is",
        )),
        false => Ok(all),
    }
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Error {
    Error::new(format!("{} cannot {what}: {error}", path.display()))
}

fn remove_parts(shelf: &Path) {
    for entry in std::fs::read_dir(shelf).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "part") {
            // What cannot be removed is in nobody's way.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What is to be made of a film, or why nothing can be.
fn plan(source: &Path, name: &str, heights: &Heights) -> Result<Plan, String> {
    let film = film::probe(source).map_err(|error| error.to_string())?;
    let size = film.tracks.iter().find(|track| track.kind == TrackKind::Video);
    let Some((_, lines)) = size.and_then(|track| track.size) else {
        return Err(format!("{name} has no pictures whose size is known: nothing is made of it"));
    };
    let duration_ms = film.duration_ms.unwrap_or(0);
    let length = std::fs::metadata(source).map_or(0, |found| found.len());
    // Bits in a millisecond are thousands of bits in a second.
    let has_kbits = length.saturating_mul(8).checked_div(duration_ms);
    // A film that cannot stand beside the others gets one of its own height.
    let is_one = rung(&named(name, lines, None)).is_some();
    let fits = |height: &&u32| **height < lines || (**height == lines && !is_one);
    let rungs = heights.0.iter().filter(fits);
    let rungs: Vec<_> = rungs.map(|height| (*height, kbits(*height, lines, has_kbits))).collect();
    if rungs.is_empty() {
        return Err(format!(
            "{name} has {lines} lines: none of the heights of --ladder is smaller"
        ));
    }
    let (source, name) = (source.to_path_buf(), name.to_owned());
    Ok(Plan { source, name, lines: is_one.then_some(lines), duration_ms, rungs })
}

/// The name of a quality of the film `name`: `STEM.<lines>p.ENDING`, with the film's own ending unless another is given.
pub(crate) fn named(name: &str, lines: u32, ending: Option<&str>) -> String {
    let (stem, own) = name.rsplit_once('.').unwrap_or((name, "mp4"));
    format!("{stem}.{lines}p.{}", ending.unwrap_or(own))
}

/// Thousands of bits in a second of `lines`, of a source with `source` lines that has `has` of them, if known.
fn kbits(lines: u32, source: u32, has: Option<u64>) -> u64 {
    // n^1.5, times a hundred.
    let weight = |lines: u32| u64::from(lines) * (u64::from(lines) * 10_000).isqrt();
    let usual = KBITS_OF_720 * weight(lines) / weight(720);
    let least = has.map_or(usual, |has| has.saturating_mul(weight(lines)) / weight(source).max(1));
    usual.min(least).max(KBITS_MIN)
}

/// A folder that is removed unless it is kept.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // It has another name by now, or nothing can be done.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Makes the qualities of one film, or finds them.
async fn build(shelf: &Path, plan: Plan, reports: &Reports) -> Result<Rungs, Error> {
    let key = key_of(&plan).map_err(|error| cannot("be read", &plan.source, &error))?;
    let folder = shelf.join(&key);
    let files = |folder: &Path| -> Vec<(u32, PathBuf)> {
        let file = |(lines, _): &(u32, u64)| (*lines, folder.join(format!("{lines}p.mp4")));
        plan.rungs.iter().map(file).collect()
    };
    let rungs = Rungs { source: plan.source.clone(), lines: plan.lines, made: files(&folder) };
    if rungs.made.iter().all(|(_, file)| file.is_file()) {
        return Ok(rungs);
    }
    let part = Part(shelf.join(format!("{key}.part")));
    std::fs::create_dir_all(&part.0).map_err(|error| cannot("be made", &part.0, &error))?;
    let made = files(&part.0);
    encode(&plan, &made, reports).await?;
    let keep = || {
        for (_, file) in &made {
            std::fs::File::open(file)?.sync_all()?;
        }
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        std::fs::rename(&part.0, &folder)
    };
    keep().map_err(|error| cannot("be kept", &folder, &error))?;
    Ok(rungs)
}

/// What makes two ladders the same.
fn key_of(plan: &Plan) -> std::io::Result<String> {
    let found = std::fs::metadata(&plan.source)?;
    let text = format!(
        "1\n{:?} {} {}.{}\n{:?}\n",
        plan.source,
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
        plan.rungs
    );
    let mut key = sha256(text.as_bytes()).to_string();
    key.truncate(32);
    Ok(key)
}

/// The words of ffmpeg: the film is decoded once for all of them.
fn words(plan: &Plan, files: &[(u32, PathBuf)]) -> Vec<OsString> {
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |text: &str| words.extend(text.split(' ').map(OsString::from));
    add("-nostdin -v error -y -stats_period 0.5 -progress pipe:1 -i");
    let file = |path: &Path| {
        let mut name = OsString::from("file:");
        name.push(path);
        name
    };
    words.push(file(&plan.source));
    for ((lines, kbits), (_, path)) in plan.rungs.iter().zip(files) {
        let (most, buffer) = (kbits * 5 / 4, kbits * 2);
        let text = format!(
            "-map 0:V:0 -map 0:a? -sn -dn -map_chapters -1 -vf scale=-2:{lines} -pix_fmt yuv420p -c:v libx264 -preset veryfast \
             -b:v {kbits}k -maxrate {most}k -bufsize {buffer}k -sc_threshold 0 -g 600 -force_key_frames expr:gte(t,n_forced*2) \
             -c:a aac -b:a 96k -ac 2 -movflags +faststart"
        );
        words.extend(text.split(' ').map(OsString::from));
        words.push(file(path));
    }
    words
}

async fn encode(plan: &Plan, files: &[(u32, PathBuf)], reports: &Reports) -> Result<(), Error> {
    let mut command = Command::new("ffmpeg");
    command.args(words(plan, files)).stdin(Stdio::null()).stdout(Stdio::piped());
    // Of its own group: a Ctrl-C is for us, and we end it.
    command.stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child: Child = command.spawn().map_err(|error| {
        let sentence = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "--ladder needs ffmpeg, which is not installed: install it, or leave --ladder out"
                    .to_owned()
            }
            _ => format!("ffmpeg does not start: {error}"),
        };
        Error::new(sentence)
    })?;
    let complaints = child.stderr.take().map(|pipe| tokio::spawn(complaints(pipe)));
    let heights: Vec<u32> = files.iter().map(|(lines, _)| *lines).collect();
    let tell = |done_ms| {
        let (file, heights) = (plan.name.clone(), heights.clone());
        let duration_ms = plan.duration_ms;
        reports.tell(None, &Report::Encoding { file, heights, done_ms, duration_ms });
    };
    tell(0);
    if let Some(pipe) = child.stdout.take() {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let us = line.strip_prefix("out_time_us=").and_then(|text| text.parse::<u64>().ok());
            if let Some(us) = us {
                tell((us / 1000).min(plan.duration_ms));
            }
        }
    }
    let status = child.wait().await;
    let said = match complaints {
        Some(task) => task.await.unwrap_or_default(),
        None => String::new(),
    };
    match status {
        Ok(status) if status.success() => {
            tell(plan.duration_ms);
            Ok(())
        }
        Ok(status) => {
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            let why = last.map_or_else(|| status.to_string(), str::to_owned);
            Err(Error::new(format!("ffmpeg could not make {} smaller: {why}", plan.name)))
        }
        Err(error) => Err(Error::new(format!("ffmpeg cannot be waited for: {error}"))),
    }
}

/// The first words of what ffmpeg complains; the rest is read and dropped, so that it never waits for us.
async fn complaints(mut pipe: impl AsyncRead + Unpin) -> String {
    let mut said = Vec::new();
    // Without them the status alone is told.
    let _ = (&mut pipe).take(WORDS_BYTES_MAX).read_to_end(&mut said).await;
    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Heights, kbits, named};

    #[test]
    fn heights_are_even_few_and_sorted() {
        let read = |text: &str| text.parse::<Heights>().map(|it| it.0);
        assert_eq!(read("360,720p, 360"), Ok(vec![720, 360]));
        assert_eq!(read(super::DEFAULT), Ok(vec![720, 480, 240]));
        for text in
            ["", "film.mp4", "721", "0", "100", "9000", "720,,360", "144,240,360,480,720,1080"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_follow_the_size_and_never_exceed_the_source() {
        for (lines, expected) in [(1080, 5144), (720, 2800), (480, 1524), (240, 538)] {
            assert!(
                kbits(lines, 2160, None).abs_diff(expected) < 5,
                "{}",
                kbits(lines, 2160, None)
            );
        }
        assert_eq!(kbits(720, 1080, Some(100_000)), 2800);
        assert!((540..550).contains(&kbits(720, 1080, Some(1000))));
        assert_eq!(kbits(120, 4320, Some(1)), 100);
    }

    #[test]
    fn names_of_qualities_keep_stem_and_ending() {
        assert_eq!(named("a.film.mkv", 720, None), "a.film.720p.mkv");
        assert_eq!(named("a.film.mkv", 720, Some("mp4")), "a.film.720p.mp4");
    }
}
