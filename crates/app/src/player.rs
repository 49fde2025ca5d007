//! `--player`: a program that is started with the film's address, and ended with us.

use std::process::Stdio;

use tokio::process::{Child, Command};

use crate::error::Error;

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
    use super::{fill, words};

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
    fn quotes_hold_words_together_and_must_be_closed() {
        assert_eq!(
            words("'a b' c\"d e\" ''"),
            Ok(vec!["a b".into(), "cd e".into(), String::new()])
        );
        assert!(words("mpv 'x").is_err());
    }
}
