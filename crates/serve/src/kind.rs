//! What a file is to a browser: its content type, and how it may be shown.
//!
//! Files of a title come from strangers and are served from our own origin: only media are shown in place, everything
//! else is a download in a sandbox.

/// Content types by extension; media first, and only those may be shown in place.
const KINDS: [(&str, &str, bool); 36] = [
    ("mp4", "video/mp4", true),
    ("m4v", "video/mp4", true),
    ("mov", "video/quicktime", true),
    ("webm", "video/webm", true),
    ("mkv", "video/x-matroska", true),
    ("ts", "video/mp2t", true),
    ("m2ts", "video/mp2t", true),
    ("mpg", "video/mpeg", true),
    ("mpeg", "video/mpeg", true),
    ("avi", "video/x-msvideo", true),
    ("ogv", "video/ogg", true),
    ("wmv", "video/x-ms-wmv", true),
    ("flv", "video/x-flv", true),
    ("3gp", "video/3gpp", true),
    ("mka", "audio/x-matroska", true),
    ("m4a", "audio/mp4", true),
    ("m4b", "audio/mp4", true),
    ("aac", "audio/aac", true),
    ("mp3", "audio/mpeg", true),
    ("flac", "audio/flac", true),
    ("ogg", "audio/ogg", true),
    ("oga", "audio/ogg", true),
    ("opus", "audio/ogg", true),
    ("wav", "audio/wav", true),
    ("vtt", "text/vtt; charset=utf-8", true),
    ("srt", "application/x-subrip", false),
    ("ass", "text/x-ssa; charset=utf-8", false),
    ("jpg", "image/jpeg", true),
    ("jpeg", "image/jpeg", true),
    ("png", "image/png", true),
    ("gif", "image/gif", true),
    ("webp", "image/webp", true),
    ("txt", "text/plain; charset=utf-8", false),
    ("nfo", "text/plain; charset=utf-8", false),
    ("pdf", "application/pdf", false),
    ("zip", "application/zip", false),
];

/// Content type of a file by its name, and whether a browser may show it in place.
#[must_use]
pub fn of(name: &str) -> (&'static str, bool) {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    KINDS
        .iter()
        .find(|kind| kind.0.eq_ignore_ascii_case(extension))
        .map_or(("application/octet-stream", false), |kind| (kind.1, kind.2))
}

/// Whether a file's name is that of a film: moving pictures.
#[must_use]
pub fn is_film(name: &str) -> bool {
    of(name).0.starts_with("video/")
}

/// Whether a file's name is that of a film whose frames can be told apart.
#[must_use]
pub(crate) fn has_frames(name: &str) -> bool {
    matches!(
        of(name).0,
        "video/mp4"
            | "audio/mp4"
            | "video/quicktime"
            | "video/3gpp"
            | "video/mp2t"
            | "video/x-matroska"
            | "audio/x-matroska"
            | "video/webm"
    )
}

/// Whether a player can be given the file, by its name: a film or sound.
#[must_use]
pub fn is_playable(name: &str) -> bool {
    is_film(name) || of(name).0.starts_with("audio/")
}

/// `Content-Disposition` (RFC 6266) that suggests `name`: in ASCII for old programs, exactly for the others.
#[must_use]
pub fn disposition(name: &str, in_place: bool) -> String {
    let kind = if in_place { "inline" } else { "attachment" };
    let plain: String = name
        .chars()
        .map(|char| match char {
            '"' | '\\' | '/' | '%' => '_',
            ' '..='~' => char,
            _ => '_',
        })
        .collect();
    format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{}", percent(name))
}

/// Percent-encodes everything but unreserved characters (RFC 3986): fit for a path segment and for RFC 8187.
#[must_use]
pub fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{disposition, is_film, is_playable, of};

    #[test]
    fn active_content_is_never_shown_in_place() {
        for name in ["a.html", "a.svg", "a.xhtml", "a.js", "a.pdf", "a.xml", "noext", "a.mp4.html"]
        {
            assert!(!of(name).1, "{name}");
        }
        assert_eq!(of("FILM.MP4"), ("video/mp4", true));
        assert_eq!(of("a.html").0, "application/octet-stream");
    }

    #[test]
    fn films_are_known_by_their_endings_in_either_case() {
        assert!(is_film("A Film.MP4") && is_film("x.mkv"));
        assert!(!is_film("mp4") && !is_film("notes.txt") && !is_film("x.mp4.part"));
        assert!(is_playable("x.mkv") && is_playable("x.flac") && !is_film("x.flac"));
    }

    #[test]
    fn names_cannot_leave_their_quotes_or_their_line() {
        let text = disposition("a\"b\\c\r\nd é.mp4", true);
        assert_eq!(
            text,
            "inline; filename=\"a_b_c__d _.mp4\"; filename*=UTF-8''a%22b%5Cc%0D%0Ad%20%C3%A9.mp4"
        );
    }
}
