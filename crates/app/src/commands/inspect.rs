//! `shoal inspect`: what a torrent, a link or a media file contains, for people and as one JSON object.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};
use shoal_media::{Container, Film, TrackKind};
use shoal_serve::offers::Offers;
use shoal_wire::InfoHashes;
use shoal_wire::magnet::{Link, Magnet};
use shoal_wire::metainfo::{Info, Metainfo};

use crate::cli::Inspect;
use crate::error::Error;
use crate::film;
use crate::link::{self, Target};
use crate::output::Output;
use crate::units::{Bytes, clock};

/// Runs the command.
pub(crate) fn run(arguments: &Inspect) -> Result<(), Error> {
    let voice = arguments.voice.clone().with_file()?;
    let mut output = Output::new(voice.wants_json(), voice.verbose);
    let link = link::parse(&arguments.link)?;
    let found = match &link {
        Link::File(path) if Path::new(path).exists() && !looks_like_torrent(Path::new(path))? => {
            media(Path::new(path), &film::probe_frames(Path::new(path))?)
        }
        _ => match super::runtime()?.block_on(link::open(link))? {
            Target::Magnet(magnet) => of_magnet(&magnet),
            Target::Torrent(metainfo) => of_torrent(&metainfo),
        },
    };
    if output.is_json() {
        output.event(&found.to_string());
    } else {
        for line in lines(&found) {
            output.say(&line);
        }
    }
    Ok(())
}

/// A torrent file begins with a dictionary; no media file does.
fn looks_like_torrent(path: &Path) -> Result<bool, Error> {
    let mut first = [0u8; 2];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut first));
    match read {
        Ok(2) => Ok(first[0] == b'd' && (first[1].is_ascii_digit() || first[1] == b'e')),
        Ok(_) => Err(Error::new(format!("{} is empty", path.display()))),
        Err(error) => Err(Error::new(format!("{} cannot be read: {error}", path.display()))),
    }
}

fn hash_fields(object: &mut Map<String, Value>, hashes: &InfoHashes) {
    if let Some(v1) = hashes.v1 {
        object.insert("infohash_v1".to_owned(), v1.to_string().into());
    }
    if let Some(v2) = hashes.v2 {
        object.insert("infohash_v2".to_owned(), v2.to_string().into());
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn of_magnet(magnet: &Magnet) -> Value {
    let mut found = object(json!({
        "kind": "magnet",
        "name": magnet.name,
        "trackers": magnet.trackers,
        "web_seeds": magnet.web_seeds,
        "peers": magnet.peers.iter().map(ToString::to_string)
            .chain(magnet.peer_names.iter().map(|(host, port)| format!("{host}:{port}")))
            .collect::<Vec<_>>(),
    }));
    if !magnet.select.is_empty() {
        found.insert("select".to_owned(), json!(magnet.select));
    }
    hash_fields(&mut found, &magnet.hashes);
    found.into()
}

fn of_torrent(metainfo: &Metainfo) -> Value {
    let info = &metainfo.info;
    let mut found = object(json!({
        "kind": "torrent",
        "name": info.name,
        "length": info.length(),
        "piece_length": info.layout.piece_length(),
        "pieces": info.layout.piece_count(),
        "private": info.private,
        "play": film::main_file(info),
        "files": info.files.iter().enumerate().map(|(index, file)| file_fields(info, index, file)).collect::<Vec<_>>(),
        "trackers": metainfo.trackers,
        "web_seeds": metainfo.web_seeds,
        "comment": metainfo.comment,
        "created_by": metainfo.created_by,
        "created_unix_s": metainfo.created_unix_s,
    }));
    if info.slots.published_ms > 0 {
        found.insert("published_unix_ms".to_owned(), info.slots.published_ms.into());
        found.insert("slot_ms".to_owned(), info.slots.length_ms.into());
    }
    hash_fields(&mut found, &info.hashes);
    found.into()
}

fn file_fields(info: &Info, index: usize, file: &shoal_wire::metainfo::FileEntry) -> Value {
    let index_file = info
        .time_indexes
        .iter()
        .find(|reference| usize::try_from(reference.film) == Ok(index))
        .map(|reference| reference.index);
    json!({
        "index": index,
        "path": file.path.join("/"),
        "length": file.length,
        "time_index": index_file,
    })
}

fn media(path: &Path, film: &Film) -> Value {
    let container = match film.container {
        Container::Mp4 => "mp4",
        Container::FragmentedMp4 => "fragmented mp4",
        Container::Matroska => "matroska",
        Container::MpegTs => "mpeg-ts",
        Container::Unknown => "unknown",
    };
    let tracks = film.tracks.iter().map(|track| {
        let kind = match track.kind {
            TrackKind::Video => "video",
            TrackKind::Audio => "audio",
            TrackKind::Text => "text",
            TrackKind::Other => "other",
        };
        json!({
            "id": track.id,
            "kind": kind,
            "codec": track.codec,
            "duration_ms": track.duration_ms,
            "width": track.size.map(|size| size.0),
            "height": track.size.map(|size| size.1),
            "language": track.language,
            "name": track.name,
            "default": track.is_default,
            "forced": track.is_forced,
        })
    });
    let index = film.index.as_ref().map(|index| {
        json!({
            "boot": index.boot.iter().map(|(offset, length)| json!([offset, length])).collect::<Vec<_>>(),
            "boot_bytes": index.boot.iter().map(|(_, length)| length).sum::<u64>(),
            "keys": index.keys.len(),
            "mean_rate": index.mean_rate(),
        })
    });
    let offers = film.presentation.as_ref().map(Offers::of).unwrap_or_default();
    let longest = film.presentation.as_ref().and_then(|film| {
        let (lead, timescale) = (film.reference(), film.streams().get(film.reference())?.timescale);
        let spans = film.segments().iter().filter_map(|segment| segment.spans.get(lead));
        let longest = spans.map(|span| span.end.saturating_sub(span.start)).max()?;
        longest.checked_mul(1000)?.checked_div(u64::from(timescale))
    });
    json!({
        "kind": "media",
        "segments": film.presentation.as_ref().map(|film| film.segments().len()),
        "longest_segment_ms": longest,
        "offers": {
            "http": true, "hls": offers.hls, "hls_transport": offers.hls_transport,
            "dash": offers.dash, "rtsp": offers.rtsp,
        },
        "name": path.file_name().map(|name| name.to_string_lossy()),
        "length": std::fs::metadata(path).map(|found| found.len()).unwrap_or(0),
        "container": container,
        "duration_ms": film.duration_ms,
        "tracks": tracks.collect::<Vec<_>>(),
        "time_index": index,
    })
}

/// The same for people: one fact per line, empty ones left out.
fn lines(found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    let Value::Object(found) = found else { return lines };
    let order = [
        "kind",
        "name",
        "infohash_v1",
        "infohash_v2",
        "container",
        "duration_ms",
        "length",
        "piece_length",
        "pieces",
        "private",
        "published_unix_ms",
        "slot_ms",
        "created_by",
        "created_unix_s",
        "comment",
        "select",
    ];
    for key in order {
        if let Some(value) = found.get(key)
            && let Some(text) = fact(key, value)
        {
            lines.push(format!("{:<18}{text}", key.trim_end_matches("_ms").replace('_', " ")));
        }
    }
    for (key, label) in [("trackers", "tracker"), ("web_seeds", "web seed"), ("peers", "peer")] {
        for value in found.get(key).and_then(Value::as_array).into_iter().flatten() {
            lines.extend(texts(value).into_iter().map(|text| format!("{label:<18}{text}")));
        }
    }
    tracks(found, &mut lines);
    if let Some(index) = found.get("time_index").filter(|index| index.is_object()) {
        lines.push(format!(
            "{:<18}{} points, {} needed before the first picture, {}/s on average",
            "time index",
            index["keys"],
            Bytes(index["boot_bytes"].as_u64().unwrap_or(0)),
            Bytes(index["mean_rate"].as_u64().unwrap_or(0)),
        ));
    }
    let count = |key: &str| found.get(key).and_then(Value::as_u64);
    if let (Some(segments), Some(longest)) = (count("segments"), count("longest_segment_ms")) {
        let seconds = longest as f64 / 1000.0;
        lines.push(format!("{:<18}{segments}, the longest of {seconds:.1} s", "segments"));
    }
    lines.extend(found.get("offers").map(offered));
    let play = found.get("play").and_then(Value::as_u64);
    for file in found.get("files").and_then(Value::as_array).into_iter().flatten() {
        let length = Bytes(file["length"].as_u64().unwrap_or(0)).to_string();
        let mark = if file["index"].as_u64() == play { "  <- plays" } else { "" };
        let path = file["path"].as_str().unwrap_or("");
        lines.push(format!("{:<18}{length:>10}  {path}{mark}", format!("file {}", file["index"])));
    }
    lines
}

/// A line for each track.
fn tracks(found: &Map<String, Value>, lines: &mut Vec<String>) {
    for track in found.get("tracks").and_then(Value::as_array).into_iter().flatten() {
        let text = |key: &str| track.get(key).and_then(Value::as_str).unwrap_or("");
        let size = match (track["width"].as_u64(), track["height"].as_u64()) {
            (Some(width), Some(height)) => format!(" {width}x{height}"),
            _ => String::new(),
        };
        let head = format!("track {}", track["id"]);
        let mut line = format!("{head:<18}{} {}{size}", text("kind"), text("codec"));
        let flags = ["default", "forced"].into_iter().filter(|flag| track[*flag] == true);
        let said = [text("language"), text("name")].into_iter().filter(|it| !it.is_empty());
        for word in said.chain(flags) {
            line.push(' ');
            line.push_str(word);
        }
        lines.push(line.trim_end().to_owned());
    }
}

/// What each face will offer.
fn offered(offers: &Value) -> String {
    let mut faces = vec!["HTTP".to_owned()];
    let kinds = [("hls", "HLS"), ("hls_transport", "HLS in transport streams"), ("dash", "DASH")];
    let told = kinds.iter().filter(|(key, _)| offers[*key] == true);
    faces.extend(told.map(|(_, name)| (*name).to_owned()));
    let payloads: Vec<&str> =
        offers["rtsp"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !payloads.is_empty() {
        faces.push(format!("RTSP ({})", payloads.join(", ")));
    }
    format!("{:<18}{}", "served as", faces.join(", "))
}

/// One value as a person reads it; `None` when there is nothing to say.
fn fact(key: &str, value: &Value) -> Option<String> {
    match (key, value) {
        (_, Value::Null) | ("private", Value::Bool(false)) => None,
        ("private", _) => Some("yes: peers come from its trackers only".to_owned()),
        ("length" | "piece_length", value) => {
            let bytes = value.as_u64()?;
            Some(format!("{} ({bytes} bytes)", Bytes(bytes)))
        }
        ("duration_ms", value) => Some(clock(value.as_u64()? / 1000)),
        ("slot_ms", value) => Some(format!("{} s", value.as_u64()? / 1000)),
        ("published_unix_ms", value) => Some(format!("Unix time {} ms", value)),
        ("created_unix_s", value) => Some(format!("Unix time {} s", value)),
        (_, Value::String(text)) => Some(text.clone()),
        (_, other) => Some(other.to_string()),
    }
}

/// Trackers come in tiers: lists of texts inside a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(tier) => tier.iter().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
