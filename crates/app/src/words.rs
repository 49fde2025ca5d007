//! Events in the words of people. Programs read the same events as JSON; see `shoal_serve::reports`.

use serde_json::Value;

use crate::units::{Bytes, clock};

/// What becomes of an event on a terminal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Words {
    /// Lines that stay.
    Say(Vec<String>),
    /// The state of things, replaced by the next.
    Progress(String),
    /// A trouble.
    Warn(String),
    /// Only for those who asked for more.
    Detail(String),
    /// Nothing.
    Nothing,
}

fn number(event: &Value, key: &str) -> u64 {
    event[key].as_u64().unwrap_or(0)
}

fn text<'a>(event: &'a Value, key: &str) -> &'a str {
    event[key].as_str().unwrap_or("")
}

/// Seconds with one digit behind the dot.
fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// Says an event.
pub(crate) fn say(event: &Value) -> Words {
    match text(event, "event") {
        "listening" => listening(event),
        "published" => Words::Say(
            ["link", "torrent"]
                .iter()
                .filter(|key| event[**key].is_string())
                .map(|key| format!("{key:<10}{}", text(event, key)))
                .collect(),
        ),
        "title" if event["again"] == true => again(event),
        "title" => title(event),
        "checking" => Words::Progress(checking(event)),
        "encoding" => Words::Progress(encoding(event)),
        "progress" => Words::Progress(progress(event)),
        "playing" => {
            Words::Detail(format!("playing after {}", seconds(number(event, "startup_ms"))))
        }
        "stall" => Words::Detail(format!(
            "stalled for {} at {}",
            seconds(number(event, "stalled_ms")),
            clock(number(event, "position_ms") / 1000)
        )),
        "seek" => Words::Detail(format!(
            "jumped to {} in {}",
            clock(number(event, "position_ms") / 1000),
            seconds(number(event, "latency_ms"))
        )),
        "complete" => Words::Say(vec![format!(
            "complete  {} after {:.1} s",
            Bytes(number(event, "length")),
            event["seconds"].as_f64().unwrap_or(0.0)
        )]),
        "summary" => Words::Say(summary(event)),
        "dropped" => Words::Detail(format!(
            "the peer {} was dropped: {}",
            text(event, "remote"),
            text(event, "reason")
        )),
        "error" => Words::Warn(text(event, "message").to_owned()),
        _ => Words::Nothing,
    }
}

fn listening(event: &Value) -> Words {
    let faces = [("peer", "peers"), ("http", "page"), ("udp", "udp"), ("rtsp", "rtsp")];
    Words::Say(
        faces
            .iter()
            .filter(|(key, _)| event[*key].is_string())
            .map(|(key, label)| format!("{label:<10}{}", text(event, key)))
            .collect(),
    )
}

fn title(event: &Value) -> Words {
    let length = Bytes(number(event, "length"));
    let duration = match number(event, "duration_ms") {
        0 => String::new(),
        ms => format!(", {}", clock(ms / 1000)),
    };
    let mut lines = vec![format!("title     {} ({length}{duration})", text(event, "name"))];
    let files = event["files"].as_array().map_or(&[][..], Vec::as_slice);
    let served = files.iter().filter(|file| {
        let hidden = text(file, "path").starts_with(shoal_wire::metainfo::TIME_INDEX_FOLDER);
        file["url"].is_string() && !hidden
    });
    // A long list would push the one that matters off the screen; the page has them all.
    lines.extend(served.take(10).map(|file| format!("play      {}", text(file, "url"))));
    Words::Say(lines)
}

/// What became known of a title after it was told: how long it is.
fn again(event: &Value) -> Words {
    match number(event, "duration_ms") {
        0 => Words::Nothing,
        ms => Words::Say(vec![format!("duration  {}", clock(ms / 1000))]),
    }
}

fn encoding(event: &Value) -> String {
    let heights = event["heights"].as_array().map_or(&[][..], Vec::as_slice);
    let heights: Vec<String> = heights.iter().map(|lines| format!("{lines}p")).collect();
    let (done, all) = (number(event, "done_ms"), number(event, "duration_ms"));
    let done = match done.saturating_mul(100).checked_div(all) {
        Some(percent) => format!("{percent} %"),
        None => clock(done / 1000),
    };
    format!("encoding  {done} of {} to {}", text(event, "file"), heights.join(", "))
}

fn checking(event: &Value) -> String {
    let (done, length) = (number(event, "done"), number(event, "length"));
    let percent = done.saturating_mul(100).checked_div(length).unwrap_or(100);
    format!("checking  {percent} % of {} that is here", Bytes(length))
}

fn progress(event: &Value) -> String {
    let (mut have, mut length) = (number(event, "have"), number(event, "length"));
    if event["wanted"].is_u64() {
        (have, length) = (number(event, "wanted_have"), number(event, "wanted"));
    }
    let (down, up) = (number(event, "down_rate"), number(event, "up_rate"));
    let peers = number(event, "peers");
    let people = format!("{peers} {}", if peers == 1 { "peer" } else { "peers" });
    if length == 0 {
        return format!("looking for the title: {people}");
    }
    let percent = have.saturating_mul(100) / length;
    let mut line = format!("{percent:>3} % of {}", Bytes(length));
    if have < length {
        line += &format!("  in {}/s", Bytes(down));
    }
    line += &format!("  out {}/s  {people}", Bytes(up));
    if number(event, "buffer_ms") > 0 {
        line += &format!("  buffer {} s", number(event, "buffer_ms") / 1000);
    }
    if have < length && down > 0 {
        line += &format!("  {} left", clock((length - have) / down));
    }
    line
}

fn summary(event: &Value) -> Vec<String> {
    let bytes = |key: &str| Bytes(number(event, key));
    let mut lines = vec![format!("sent      {}", bytes("sent"))];
    if number(event, "received") > 0 {
        lines.push(format!(
            "received  {}: {} useful, {} twice, {} thrown away",
            bytes("received"),
            bytes("useful"),
            bytes("duplicate"),
            bytes("wasted")
        ));
    }
    if event["startup_ms"].is_u64() {
        lines.push(format!(
            "played    after {}, {} stalls of {} in all (by a model of the player)",
            seconds(number(event, "startup_ms")),
            number(event, "stalls"),
            seconds(number(event, "stalled_ms"))
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Words, say};

    fn progress(event: serde_json::Value) -> String {
        match say(&event) {
            Words::Progress(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn progress_tells_rate_buffer_peers_and_time_left() {
        let line = progress(json!({
            "event": "progress", "have": 25 << 20, "length": 100 << 20, "down_rate": 1 << 20,
            "up_rate": 0, "peers": 3, "buffer_ms": 12_400,
        }));
        assert_eq!(
            line,
            " 25 % of 100 MiB  in 1.0 MiB/s  out 0 B/s  3 peers  buffer 12 s  1:15 left"
        );
    }

    #[test]
    fn progress_counts_what_is_wanted_where_not_all_is() {
        let line = progress(json!({
            "event": "progress", "have": 30, "length": 1000, "wanted_have": 20, "wanted": 40,
            "down_rate": 0, "up_rate": 0, "peers": 0, "buffer_ms": 0,
        }));
        assert!(line.starts_with(" 50 % of 40 B"), "{line}");
    }

    #[test]
    fn a_check_tells_how_far_it_is() {
        let line = progress(json!({"event": "checking", "done": 3 << 20, "length": 12 << 20}));
        assert_eq!(line, "checking  25 % of 12.0 MiB that is here");
    }

    #[test]
    fn smaller_qualities_tell_how_far_they_are() {
        let event = |duration_ms: u64| json!({"event": "encoding", "file": "a.mp4", "heights": [720, 240], "done_ms": 61_000, "duration_ms": duration_ms});
        assert_eq!(progress(event(122_000)), "encoding  50 % of a.mp4 to 720p, 240p");
        assert_eq!(progress(event(0)), "encoding  1:01 of a.mp4 to 720p, 240p");
    }

    #[test]
    fn a_length_that_becomes_known_is_one_more_line() {
        let event = json!({"event": "title", "again": true, "name": "x", "duration_ms": 61_000});
        assert_eq!(say(&event), Words::Say(vec!["duration  1:01".to_owned()]));
    }

    #[test]
    fn a_title_without_metadata_is_being_looked_for() {
        let line = progress(json!({"event": "progress", "have": 0, "length": 0, "peers": 1}));
        assert_eq!(line, "looking for the title: 1 peer");
    }

    #[test]
    fn time_indexes_are_not_offered_to_play() {
        let Words::Say(lines) = say(&json!({
            "event": "title", "name": "clock", "length": 5, "duration_ms": 61_000,
            "files": [{"path": "clock.mp4", "url": "A"}, {"path": "~shoal/clock.mp4.index", "url": "B"}],
        })) else {
            panic!("a title is said")
        };
        assert_eq!(lines, ["title     clock (5 B, 1:01)", "play      A"]);
    }
}
