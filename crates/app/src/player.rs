//! `--player`: a program that is started with the film's address, and ended with us.

use std::path::Path;
use std::process::Stdio;

use shoal_serve::reports::FileReport;

use tokio::process::{Child, Command};

use crate::error::Error;

/// The form in which a player gets a film.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// Its file, of which the player asks for the bytes that it wants.
    File,
    /// Segments.
    Hls,
    /// The page of this program, in a browser.
    Page,
}

/// A player that is known, the best first.
struct Known {
    program: &'static str,
    /// What stands behind the program.
    arguments: &'static str,
    form: Form,
    /// For transport streams and Matroska: in the first a player looks for places by reading here and there, and VLC reads the second
    /// from its start to the place that is wanted. Both fetch what nobody will see.
    unindexed: Form,
}

const fn known(
    program: &'static str,
    arguments: &'static str,
    form: Form,
    unindexed: Form,
) -> Known {
    Known { program, arguments, form, unindexed }
}

const PLAYERS: [Known; 8] = [
    known("mpv", "--force-window=yes {}", Form::File, Form::File),
    known("vlc", "--play-and-exit {}", Form::File, Form::Hls),
    known("ffplay", "-autoexit {}", Form::File, Form::File),
    known("gst-play-1.0", "{}", Form::File, Form::File),
    known("totem", "{}", Form::File, Form::File),
    known("iina", "{}", Form::File, Form::File),
    known("xdg-open", "{}", Form::Page, Form::Page),
    known("open", "{}", Form::Page, Form::Page),
];

/// The command to start and the address to give it: what the user wrote with the film's own address, or for `auto` a player that is
/// installed with the form of the film that it plays best.
pub(crate) fn choose(
    command: &str,
    film: &FileReport,
    page: &str,
) -> Result<(String, String), Error> {
    let file = || film.url.clone().unwrap_or_default();
    if command != "auto" {
        return Ok((command.to_owned(), file()));
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let is_here = |program: &str| {
        std::env::split_paths(&folders).any(|folder| is_program(&folder.join(program)))
    };
    let found = PLAYERS.iter().find(|player| is_here(player.program));
    let player = found.ok_or_else(|| {
        let names: Vec<&str> = PLAYERS.iter().take(5).map(|player| player.program).collect();
        Error::new(format!(
            "no player was found; install one of {}, or open {} in another",
            names.join(", "),
            file()
        ))
    })?;
    Ok(with(player, film, page))
}

fn with(player: &Known, film: &FileReport, page: &str) -> (String, String) {
    let extension = film.path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let unindexed =
        ["ts", "m2ts", "mkv", "webm"].iter().any(|it| extension.eq_ignore_ascii_case(it));
    let address = match if unindexed { player.unindexed } else { player.form } {
        Form::Hls => film.hls.clone().or_else(|| film.url.clone()),
        Form::File => film.url.clone(),
        Form::Page => Some(format!("{page}/")),
    };
    (format!("{} {}", player.program, player.arguments), address.unwrap_or_default())
}

/// Whether a file can be started.
fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    }
    #[cfg(not(unix))]
    {
        path.is_file() || path.with_extension("exe").is_file()
    }
}

/// A running player. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Player {
    child: Child,
}

impl Player {
    /// Starts `command` with `url` where `{}` stands, else at its end. No shell is involved.
    pub(crate) fn start(command: &str, url: &str) -> Result<Self, Error> {
        let words = fill(words(command).map_err(Error::Usage)?, url);
        let Some((program, arguments)) = words.split_first() else {
            return Err(Error::Usage("--player names no program".to_owned()));
        };
        Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map(|child| Self { child })
            .map_err(|error| {
                Error::new(format!(
                    "the player `{program}` does not start ({error}); install it, or open {url} in another"
                ))
            })
    }
    /// Waits for the user to close it.
    pub(crate) async fn closed(&mut self) {
        // A player that cannot be waited for is gone as well.
        let _ = self.child.wait().await;
    }
}

/// Puts the address in place of every `{}`, or behind the last word.
fn fill(mut words: Vec<String>, url: &str) -> Vec<String> {
    let mut filled = false;
    for word in words.iter_mut().filter(|word| word.contains("{}")) {
        *word = word.replace("{}", url);
        filled = true;
    }
    if !filled && !words.is_empty() {
        words.push(url.to_owned());
    }
    words
}

/// Splits a command at spaces; quotes of either kind hold words together.
fn words(command: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in command.chars() {
        match quote {
            Some(mark) if letter == mark => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None => word.get_or_insert_default().push(letter),
        }
    }
    if quote.is_some() {
        return Err(format!("a quote in --player `{command}` is not closed"));
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::{PLAYERS, choose, fill, with, words};
    use shoal_serve::reports::FileReport;

    fn command(text: &str) -> Vec<String> {
        fill(words(text).expect("closed quotes"), "URL")
    }

    #[test]
    fn the_address_stands_at_the_braces_or_at_the_end() {
        assert_eq!(command("mpv"), ["mpv", "URL"]);
        assert_eq!(command("ffplay -i {} -autoexit"), ["ffplay", "-i", "URL", "-autoexit"]);
        assert_eq!(command("sh -c 'play \"{}\" now'"), ["sh", "-c", "play \"URL\" now"]);
        assert!(command("  ").is_empty());
    }

    #[test]
    fn each_player_gets_the_form_that_it_plays_best() {
        let film = |path: &str| FileReport {
            path: path.to_owned(),
            length: 1,
            url: Some("FILE".to_owned()),
            hls: Some("HLS".to_owned()),
            dash: None,
            rtsp: None,
        };
        let get = |program: &str, path| {
            let player = PLAYERS.iter().find(|it| it.program == program).expect("a known player");
            with(player, &film(path), "PAGE").1
        };
        assert_eq!(get("mpv", "a/film.mkv"), "FILE");
        assert_eq!(get("vlc", "film.mp4"), "FILE");
        assert_eq!(get("vlc", "film.MKV"), "HLS");
        assert_eq!(get("xdg-open", "film.ts"), "PAGE/");
        let own = choose("mpv {} --fs", &film("film.ts"), "PAGE").expect("any command");
        assert_eq!(own, ("mpv {} --fs".to_owned(), "FILE".to_owned()));
    }

    #[test]
    fn quotes_hold_words_together_and_must_be_closed() {
        assert_eq!(
            words("'a b' c\"d e\" ''"),
            Ok(vec!["a b".into(), "cd e".into(), String::new()])
        );
        assert!(words("mpv 'x").is_err());
    }
}
