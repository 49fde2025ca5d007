//! What the frames of each form of text say.

use crate::TextForm;
use crate::bytes::u16_at;
use crate::limits::CUES_TOGETHER_MAX;
use crate::mp4::{box_child, box_children};
use crate::subtitles::{bare, paragraph, plain, text_of};

/// Fields of an event of SubStation Alpha before its text: `ReadOrder`, layer, style, name, three margins, effect.
const FIELDS: usize = 8;
/// Longest settings of a cue, bytes.
const SETTINGS_MAX: usize = 200;

/// Settings and text of what a frame shows.
pub(super) fn read(form: TextForm, data: &[u8]) -> Vec<(String, String)> {
    let one = |text: String| vec![(String::new(), text)];
    let mut all = match form {
        TextForm::SubRip => one(paragraph(text_of(data).lines(), plain)),
        TextForm::SubStation => one(paragraph(event(&text_of(data)).lines(), bare)),
        TextForm::WebVtt => one(paragraph(text_of(data).lines(), marked)),
        TextForm::WebVttLines => {
            let text = text_of(data);
            let mut lines = text.split('\n');
            let told = lines.nth(1).unwrap_or("");
            vec![(settings(told), paragraph(lines, marked))]
        }
        TextForm::WebVttBoxes => boxes(data),
        TextForm::Timed => one(paragraph(timed(data).lines(), bare)),
    };
    all.retain(|(_, text)| !text.is_empty());
    all
}

/// A line of WebVTT: its marks stay, but what would be taken for times.
fn marked(line: &str, out: &mut String) {
    out.push_str(&line.replace("-->", "--&gt;"));
}

/// Settings of a cue, if they are such: words with a colon in them.
fn settings(told: &str) -> String {
    let is_setting = |word: &&str| {
        let is_plain = word.bytes().all(|it| it.is_ascii_graphic());
        is_plain && !word.contains("-->") && word.contains(':')
    };
    let words: Vec<&str> = told.split_ascii_whitespace().filter(is_setting).collect();
    let settings = words.join(" ");
    if settings.len() <= SETTINGS_MAX { settings } else { String::new() }
}

/// The text of an event of SubStation Alpha: without what stands in braces, and without what is drawn instead of written.
fn event(event: &str) -> String {
    let text = event.splitn(FIELDS + 1, ',').nth(FIELDS).unwrap_or("");
    let mut out = String::new();
    let mut is_drawn = false;
    let mut rest = text;
    // Braces that do not end are looked for once, not once for each of them.
    let last = text.rfind('}').unwrap_or(0);
    while let Some(char) = rest.chars().next() {
        let inside = rest.strip_prefix('{').filter(|_| text.len() - rest.len() < last);
        if let Some((orders, after)) = inside.and_then(|it| it.split_once('}')) {
            is_drawn = draws(orders).unwrap_or(is_drawn);
            rest = after;
            continue;
        }
        let order = rest.get(..2);
        rest = rest.get(char.len_utf8()..).unwrap_or("");
        let written = match order {
            Some("\\N") => '\n',
            Some("\\n" | "\\h") => ' ',
            _ => char,
        };
        if written != char {
            rest = rest.get(1..).unwrap_or("");
        }
        if !is_drawn {
            out.push(written);
        }
    }
    out
}

/// Whether what follows these orders is drawn, if they say (`\p1`).
fn draws(orders: &str) -> Option<bool> {
    let digits = |order: &str| {
        let number = order.strip_prefix('p')?;
        number.starts_with(|it: char| it.is_ascii_digit()).then(|| !number.starts_with('0'))
    };
    orders.split('\\').filter_map(digits).next_back()
}

/// Text behind its length, in UTF-8, or in UTF-16 behind its mark.
fn timed(data: &[u8]) -> String {
    let length = u16_at(data, 0).map_or(0, usize::from);
    let text = data.get(2..).unwrap_or(&[]);
    let text = text.get(..length).unwrap_or(text);
    if !text.starts_with(&[0xfe, 0xff]) {
        return text_of(text);
    }
    let (pairs, _) = text.as_chunks::<2>();
    let letters = pairs.iter().skip(1).map(|pair| u16::from_be_bytes(*pair));
    let letters = char::decode_utf16(letters).map(|it| it.unwrap_or(char::REPLACEMENT_CHARACTER));
    text_of(letters.collect::<String>().as_bytes())
}

/// Boxes of cues, each with its text and settings.
fn boxes(data: &[u8]) -> Vec<(String, String)> {
    let cues = box_children(data).filter(|(name, _)| name == b"vttc").take(CUES_TOGETHER_MAX);
    let read = |(_, cue): ([u8; 4], &[u8])| {
        let text = text_of(box_child(cue, b"payl")?);
        let told = box_child(cue, b"sttg").map(text_of).unwrap_or_default();
        Some((settings(&told), paragraph(text.lines(), marked)))
    };
    cues.filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::{TextForm, read};

    fn one(form: TextForm, data: &[u8]) -> String {
        let mut all = read(form, data);
        assert!(all.len() <= 1);
        all.pop().map_or_else(String::new, |(settings, text)| format!("{settings}|{text}"))
    }

    #[test]
    fn each_form_is_read() {
        let substation = |text: &str| {
            one(TextForm::SubStation, format!("1,0,Default,,0,0,0,,{text}").as_bytes())
        };
        assert_eq!(substation("One, two"), "|One, two\n");
        assert_eq!(
            substation("{\\an8}{\\i1}a < b{\\i0}\\N\\hsecond\\nline"),
            "|a &lt; b\nsecond line\n"
        );
        assert_eq!(substation("{\\p1}m 0 0 l 10 10{\\p0}text{\\pos(1,2)}!"), "|text!\n");
        assert_eq!(substation("{open \\ end\\"), "|{open \\ end\\\n");
        assert_eq!(one(TextForm::SubStation, b"1,0,Default,,0,0"), "");
        assert_eq!(
            one(TextForm::SubRip, b"{\\an8}<i>one</i>\r\n\r\n<font color=red>two"),
            "|<i>one</i>\ntwo\n"
        );
        assert_eq!(one(TextForm::WebVtt, b"<v Ann>a --> b\n\nc"), "|<v Ann>a --&gt; b\nc\n");
        assert_eq!(
            one(TextForm::WebVttLines, b"name\nline:0 x align:left\ntext\n\nmore"),
            "line:0 align:left|text\nmore\n"
        );
        assert_eq!(one(TextForm::Timed, b"\0\x05a\n<b>\0\0\0\x08styl"), "|a\n&lt;b&gt;\n");
        assert_eq!(one(TextForm::Timed, b"\0\x06\xfe\xff\0a\x20\xac"), "|a\u{20ac}\n");
        assert_eq!(one(TextForm::Timed, b"\0\0"), "");
        assert_eq!(one(TextForm::Timed, b"\xff\xffab"), "|ab\n");
    }

    #[test]
    fn boxes_may_hold_several_cues() {
        let data = b"\0\0\0\x13vttc\0\0\0\x0bpayla\nb\0\0\0\x08vtte\0\0\0\x1fvttc\0\0\0\x0esttgline:0\0\0\0\x09paylc";
        let all = read(TextForm::WebVttBoxes, data);
        let expected = [("", "a\nb\n"), ("line:0", "c\n")];
        assert_eq!(all, expected.map(|(settings, text)| (settings.to_owned(), text.to_owned())));
    }
}
