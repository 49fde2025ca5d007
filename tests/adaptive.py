"""A film in segments (HLS and DASH) while it arrives from a thin swarm: ffmpeg gets the very frames of the film, at their own times,
and the players that people put into web pages play it and jump, and choose among its qualities by what the network gives.

Frames are compared undecoded, as ffmpeg's hashes of them with their times: those of the film on the disk, and those that came over
`/hls/` and `/dash/`. What of the sound lies before the film warms a decoder up and is left out.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from browser import run_script, seen_by
from kit import content
from kit.player import request
from kit.world import Failed, Host, World, trial
from playback import start_swarm, start_watch

Frames = dict[str, list[tuple[int, int, str]]]
# Frames of the last third of a second may be left out by ffmpeg's reader of DASH, which trusts the length that is told.
TAILS_MS = {"main.m3u8": 0, "manifest.mpd": 300}


def frames(world: World, host: Host, source: object, *before: object, seconds: float = 60) -> Frames:
    """Frames of pictures and sound, in the order of their times: ms, bytes, hash."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", "-copyts", *before, "-i", source, "-map", "0:v:0", "-map", "0:a:0", "-c", "copy", "-f", "framemd5", "pipe:1"]
    program = world.start(host, *argv, name="ffmpeg")
    status = program.wait(seconds)
    world.check(status == 0 and not program.stderr().strip(), f"ffmpeg complained: {program.stderr()[-300:]}")
    bases, found = {}, {"0": [], "1": []}
    for line in program.raw_stdout().splitlines():
        if line.startswith("#tb "):
            stream, base = line[4:].split(":")
            bases[stream.strip()] = [int(part) for part in base.strip().split("/")]
        elif not line.startswith("#"):
            stream, _, time, _, size, digest = [part.strip() for part in line.split(",")][:6]
            up, down = bases[stream]
            found[stream].append((round(int(time) * up * 1000 / down), int(size), digest))
    return {stream: sorted(entry for entry in all if entry[0] >= 0) for stream, all in found.items()}


def same(world: World, expected: Frames, found: Frames, tail_ms: int) -> None:
    """The same frames at the same times, but for so much of the very end."""
    for stream, what in (("0", "pictures"), ("1", "sound")):
        end = expected[stream][-1][0] - tail_ms
        wanted = [entry for entry in expected[stream] if entry[0] <= end]
        got = [entry for entry in found[stream] if entry[0] <= end]
        world.check(len(wanted) > 100, f"the film has {len(wanted)} frames of {what}")
        world.check([entry[1:] for entry in wanted] == [entry[1:] for entry in got], f"other {what}: {len(wanted)} frames, and {len(got)} came")
        off = max(abs(a[0] - b[0]) for a, b in zip(wanted, got))
        world.check(off <= 1, f"{what} come {off} ms too early or late")


def play_case(index: str):
    """All frames, by either kind of list; then a jump."""

    def run(world: World) -> None:
        torrent, addresses = start_swarm(world, index, "shoal")
        us, watch, url = start_watch(world, torrent, addresses)
        base = url.rsplit("/", 1)[0].replace("/stream/", "/hls/")
        jump = frames(world, us, f"{base}/manifest.mpd", "-ss", 41, "-t", 6)
        expected = frames(world, us, content.film(world.cache, index))
        first = jump["0"][0][0]
        world.check(40_000 <= first <= 41_000, f"a jump to 41 s begins at {first} ms")
        world.check(set(jump["0"]) <= set(expected["0"]), "a jump brings other frames")
        for name, tail_ms in TAILS_MS.items():
            same(world, expected, frames(world, us, f"{base}/{name}", seconds=90), tail_ms)
        world.show(jump=f"{first}ms", pictures=len(expected["0"]), sound=len(expected["1"]))

    return run


for _index in ("front", "end"):
    trial(f"adaptive.ffmpeg-{_index}", seconds=150, quick=_index == "end", tools=("ffmpeg",))(play_case(_index))


def listed(world: World, host: Host, source: object, *argv: object) -> list[tuple[int, str]]:
    """What ffmpeg tells of frames: ms from the first on, and a hash."""
    before, after = argv[: argv.index("--")], argv[argv.index("--") + 1 :]
    program = world.start(host, "ffmpeg", "-nostdin", "-v", "error", *before, "-i", source, *after, "-f", "framemd5", "pipe:1", name="ffmpeg")
    world.check(program.wait(90) == 0, program.stderr()[-300:])
    world.check(not program.stderr(), f"ffmpeg complains: {program.stderr()[-300:]}")
    lines = program.raw_stdout().splitlines()
    up, down = next(line for line in lines if line.startswith("#tb 0:")).split(":")[1].split("/")
    rows = [[part.strip() for part in line.split(",")] for line in lines if not line.startswith("#")]
    first = min(int(row[2]) for row in rows)
    return [(round((int(row[2]) - first) * int(up) * 1000 / int(down)), row[5]) for row in rows]


def pictures(world: World, host: Host, source: object, *before: object) -> list[tuple[int, str]]:
    """All pictures, decoded."""
    return listed(world, host, source, *before, "--", "-map", "0:v:0", "-fps_mode", "passthrough", "-enc_time_base", "1:90000")


def hashes(found: list[tuple[int, str]]) -> list[str]:
    return [digest for _, digest in found]


def mpv_from(world: World, host: Host, url: object, start: int) -> float:
    """mpv plays three seconds from a time on, and knows how long the film is; returns where it ended."""
    mpv = world.start(
        host, "mpv", "--no-config", "--vo=null", "--ao=null", f"--start={start}", "--length=3", "--term-status-msg=at=${=time-pos} of=${=duration} ${seekable}", url,
        name="mpv", env={"HOME": str(world.folder)},
    )
    world.check(mpv.wait(40) == 0, "mpv failed")
    said = (mpv.raw_stdout() + mpv.stderr()).replace("\r", "\n").splitlines()
    last = [line for line in said if "at=" in line][-1]
    place, length = (float(part.split("=")[1]) for part in last.split()[-3:-1])
    world.check(start + 2.5 < place <= start + 3.2 and abs(length - 60) < 0.5 and last.endswith("yes"), f"mpv played from {start} s on to: {last}")
    return place


@trial("adaptive.transport-streams", seconds=200, quick=True, tools=("ffmpeg", "mpv"))
def transport_streams(world: World) -> None:
    """HLS in transport streams of an MP4 film, as ffmpeg and mpv like it: all pictures, and jumps to the very place."""
    torrent, addresses = start_swarm(world, "end", "shoal")
    us, watch, _ = start_watch(world, torrent, addresses)
    url = watch.last("title")["files"][0]["hls"].replace("main.m3u8", "ts.m3u8")
    film = content.film(world.cache, "end")

    # To what nothing but the swarm has.
    jump = hashes(pictures(world, us, url, "-ss", "41.32", "-t", "2"))
    world.check(jump == hashes(pictures(world, us, film, "-ss", "41.32", "-t", "2")), f"a jump brings other pictures ({len(jump)})")
    whole = hashes(pictures(world, us, url))
    world.check(whole == hashes(pictures(world, us, film)), f"{len(whole)} pictures, or others")
    place = mpv_from(world, us, url, 25)
    world.show(pictures=len(whole), jump=len(jump), mpv=f"{place:.2f}s")


@trial("adaptive.mpv-dash", seconds=90, tools=("ffmpeg", "mpv"))
def mpv_dash(world: World) -> None:
    """DASH of an MP4 film in mpv: it begins, and jumps to what nothing but the swarm has."""
    torrent, addresses = start_swarm(world, "end", "shoal")
    us, watch, _ = start_watch(world, torrent, addresses)
    url = watch.last("title")["files"][0]["dash"]
    places = [mpv_from(world, us, url, start) for start in (0, 41)]
    world.show(start=f"{places[0]:.2f}s", jump=f"{places[1]:.2f}s")


@trial("adaptive.ffmpeg-ts", seconds=200, quick=True, tools=("ffmpeg",))
def taken_apart(world: World) -> None:
    """DASH of a film that is a transport stream: all of its pictures and sound at their times, and a jump."""
    film = content.coded(world.cache, "ts", 60)
    torrent, addresses = start_swarm(world, film, "shoal")
    us, watch, _ = start_watch(world, torrent, addresses)
    url = watch.last("title")["files"][0]["dash"]
    jump = listed(world, us, url, "-ss", "41", "-t", "6", "--", "-map", "0:v:0", "-c", "copy")
    world.check(len(jump) > 120, f"a jump brings {len(jump)} pictures")
    wanted, found = pictures(world, us, film), pictures(world, us, url)
    world.check(len(wanted) == 1500 and found == wanted, f"{len(found)} of {len(wanted)} pictures, or others, or at other times")
    copied = ("-map", "0:a:0", "-c", "copy")
    wanted, found = listed(world, us, film, "--", *copied, "-bsf:a", "aac_adtstoasc"), listed(world, us, url, "--", *copied)
    off = max(abs(a[0] - b[0]) for a, b in zip(wanted, found))
    world.check(hashes(found) == hashes(wanted) and off <= 1, f"{len(found)} of {len(wanted)} frames of sound, {off} ms off")
    world.show(pictures=1500, sound=len(found), jump=len(jump), off=f"{off}ms")


def browser_case(player: str, name: str, kind: str = "end"):
    """A player for web pages in real Chromium: it begins, plays, and jumps where nothing is yet."""

    def run(world: World) -> None:
        torrent, addresses = start_swarm(world, content.coded(world.cache, kind, 60), "shoal")
        us, watch, url = start_watch(world, torrent, addresses)
        base = url.rsplit("/", 1)[0].replace("/stream/", "/hls/")
        seen = run_script(world, us, "players.mjs", player, player, f"{base}/{name}", 45)
        world.show(start=f"{seen['startup_ms']:.0f}ms", jump=f"{seen['seek_ms']:.0f}ms", frames=seen["after"]["frames"], segments=seen["asked"])
        # The index of a transport stream does not tell how long its last frames last.
        world.check(abs(seen["duration"] - 60) < (0.4 if kind == "ts" else 0.1) and seen["width"] == 640, f"it is {seen['duration']} s long and {seen['width']} wide")
        world.check(seen["before"]["frames"] > 40 and seen["before"]["time"] > 1.5, f"after 2.5 s: {seen['before']}")
        world.check(seen["after"]["time"] > 45.5 and seen["after"]["frames"] > seen["before"]["frames"] + 20, f"2 s after the jump to 45 s: {seen['after']}")
        world.check(seen["startup_ms"] < 4000 and seen["seek_ms"] < 4000, "it was slow")
        world.check(not seen["errors"] and not seen["failed"], f"{seen['errors'][:3]} {seen['failed'][:3]}")

    return run


for _player, _name in (("hls", "main.m3u8"), ("dash", "manifest.mpd"), ("shaka", "manifest.mpd")):
    trial(f"adaptive.browser-{_player}", seconds=120, quick=_player != "shaka", tools=("chromium", "node", "playwright", "web-players", "ffmpeg"))(
        browser_case(_player, _name)
    )
for _player, _name in (("hls", "main.m3u8"), ("dash", "manifest.mpd"), ("shaka", "manifest.mpd")):
    trial(f"adaptive.browser-ts-{_player}", seconds=120, quick=_player == "dash", tools=("chromium", "node", "playwright", "web-players", "ffmpeg"))(
        browser_case(_player, _name, "ts")
    )


@trial("adaptive.two-peers-make-the-same-bytes", seconds=90, quick=True, tools=("ffmpeg",))
def identical(world: World) -> None:
    """A publisher and a viewer give the same playlists and segments, byte for byte; what has no such name is told so."""
    film, publisher, viewer = content.film(world.cache, "end"), world.host("pub"), world.host("viewer")
    link = world.shoal(publisher, "publish", film, "--http", "127.0.0.1:8080", "--listen", f"{publisher.ip}:6881", "--no-dht", "--no-lsd", "--no-upnp").expect("published", 30)
    watch = world.shoal(viewer, "watch", link["link"], "--http", "127.0.0.1:8080", "--peer", f"{publisher.ip}:6881", "--no-dht", "--no-lsd", "--no-upnp")
    told = watch.expect("title", 20)["files"]
    base = told[0]["url"].rsplit("/", 1)[0].replace("/stream/", "/hls/")
    world.check((told[0]["hls"], told[0]["dash"]) == (f"{base}/main.m3u8", f"{base.replace('/hls/', '/dash/')}/manifest.mpd"), f"the event says {told[0]}")
    world.check("hls" not in told[1], f"an index is no film: {told[1]}")

    def get(host: Host, name: str, status: int = 200) -> bytes:
        found, _, body = request(host, f"{base}/{name}")
        world.check(found == status, f"{name}: {found} {body[:200]!r}")
        return body

    names = ["main.m3u8", "manifest.mpd", "0.m3u8", "1.m3u8", "0-header.mp4", "1-header.mp4"]
    for stream in ("0", "1"):
        listed = get(viewer, f"{stream}.m3u8").decode().splitlines()
        names += [line for line in listed if line.endswith(".m4s")]
    world.check(len(names) > 30, f"{len(names)} things are named")
    for name in names:
        world.check(get(publisher, name) == get(viewer, name), f"{name} differs")
    for name in ("2.m3u8", "0-1.m4s", "0-99999999999999999999.m4s", "x.m3u8", "0-header.mp3"):
        get(viewer, name, 404)
    world.show(same=len(names))


# How fast the publisher sends, bytes/s: 0.6 and 2.8 Mbit/s.
SLOW, FAST = 75_000, 350_000
# What it does, and for how many seconds.
STEPS = ((FAST, 22), (SLOW, 45), (FAST, 45))
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
HEIGHTS = (120, 240, 360)


def ladder(world: World) -> Path:
    """A film of two minutes in three qualities of about 0.15, 0.5 and 1.5 Mbit/s, with subtitles; made once."""
    folder = world.cache / "ladder"
    if not (folder / "film.360p.mp4").exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = world.cache / "ladder-part.mp4"
        source = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25:duration=120", "-f", "lavfi", "-i", "sine=frequency=440:duration=120"]
        for height, rate in zip(HEIGHTS, (110, 450, 1400)):
            words = ["-vf", f"noise=alls=12:allf=t,scale=-2:{height}", "-c:v", "libx264", "-preset", "superfast", "-b:v", f"{rate}k", "-maxrate", f"{rate}k"]
            words += ["-bufsize", f"{rate}k", "-sc_threshold", "0", "-g", "600", "-force_key_frames", "expr:gte(t,n_forced*2)", "-pix_fmt", "yuv420p"]
            words += ["-c:a", "aac", "-b:a", "32k", "-ac", "1", "-movflags", "+faststart", "-y", part]
            subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *map(str, source + words)], check=True)
            part.rename(folder / f"film.{height}p.mp4")
        cues = "".join(f"{at + 1}\n00:{at // 30:02}:{at * 2 % 60:02},000 --> 00:{at // 30:02}:{at * 2 % 60 + 1:02},900\nCue {at + 1}\n\n" for at in range(60))
        (folder / "film.en.srt").write_text(cues)
    return folder


def limit(host: Host, up: int) -> None:
    """Sets how fast the program on a host sends."""
    _, _, page = request(host, "http://127.0.0.1:8080/")
    token = re.search(rb'shoal-control" content="([^"]+)"', page)
    headers = {"Content-Type": "application/json", "X-Shoal-Token": token.group(1).decode() if token else ""}
    status, _, body = request(host, "http://127.0.0.1:8080/api/v1/limits", "POST", headers, json.dumps({"up": up}).encode())
    if status != 200:
        raise Failed(f"the limit was not taken: {status} {body[:200]!r}")


def run_steps(world: World, us: Host, publisher: Host, player: str, manifest: str) -> dict:
    """Plays through the steps; returns what was seen."""
    shot, lengths = world.folder / f"qualities-{player}.png", ",".join(str(seconds) for _, seconds in STEPS)
    argv = ["node", Path(__file__).with_name("qualities.mjs"), world.cache / "npm", player, manifest, lengths, shot]
    node = world.start(us, *argv, name="node", env={"HOME": str(world.folder)})
    for number, (up, _) in enumerate(STEPS):
        world.until(90, f"step {number}", lambda: f"step {number}\n" in node.raw_stdout() or not node.running())
        limit(publisher, up)
    return seen_by(world, node, shot, 90)


def qualities_case(player: str, name: str):
    """A player for web pages chooses among three qualities behind a link that gets slow and quick again."""

    def run(world: World) -> None:
        publisher, us = world.host("pub"), world.host("viewer")
        published = world.shoal(
            publisher, "publish", ladder(world), "--listen", f"{publisher.ip}:6881", "--http", "127.0.0.1:8080", "--up-limit", FAST,
            "--piece-size", 32768, *QUIET,
        )
        link = published.expect("published", 30)["link"]
        watch = world.shoal(us, "watch", link, "--http", "127.0.0.1:8080", "--peer", f"{publisher.ip}:6881", *QUIET)
        told = watch.expect("title", 20)["files"]
        films = {file["path"]: file for file in told if file["path"].endswith("p.mp4")}
        manifest = films["film.360p.mp4"]["hls" if name == "main.m3u8" else "dash"]
        seen = run_steps(world, us, publisher, player, manifest)
        heights = [[sample["height"] for sample in part if sample["height"]] for part in seen["parts"]]
        world.check(all(heights), f"no pictures: {seen}")
        cues = sorted({cue for part in seen["parts"] for sample in part for cue in sample["cues"]})
        last = [part[-1] for part in seen["parts"]]
        progress = watch.last("progress")
        # Of segments of pictures; small ones end before a rate can be told.
        rates = [size * 1000 / max(ms, 1) for name, _, ms, size in seen["loads"] if "/0-" in name and size > 100_000]
        world.show(
            start=f"{seen['startup_ms']:.0f}ms", best=[max(part) for part in heights], least=[min(part) for part in heights],
            last=[part[-1] for part in heights], waits=[part["waits"] for part in last], quickest=f"{max(rates) / FAST:.1f}x", cues=len(cues), have=f"{progress['have'] / progress['length']:.0%}",
        )
        world.check(heights[0][-1] == 360, f"on a quick link it plays {heights[0]}")
        world.check(min(heights[1]) < 360, f"on a slow link it goes on with {heights[1]}")
        # What it chose on the slow link is shown until its buffer is played; dash.js needs half a minute for each step up where segments are small.
        world.check(heights[2][-1] > min(heights[1] + heights[2]), f"once it is quick again it plays {heights[2]}")
        # One of which a little less than half was here comes at twice the link's rate; without a pace it was five times.
        world.check(max(rates) < 3 * FAST, f"the player measured {max(rates) / FAST:.1f} times what the link gives")
        world.check(len(cues) > 5 and cues[0].startswith("Cue "), f"subtitles were {cues[:5]}")
        world.check(not seen["errors"] and not seen["failed"], f"{seen['errors'][:3]} {seen['failed'][:3]}")

    return run


for _player, _name in (("hls", "main.m3u8"), ("dash", "manifest.mpd"), ("shaka", "manifest.mpd")):
    trial(f"adaptive.qualities-{_player}", seconds=240, tools=("chromium", "node", "playwright", "web-players", "ffmpeg"))(
        qualities_case(_player, _name)
    )


# Each cue of the film of texts lasts almost as long as the way to the next: many go over a cut.
CUE_EVERY, CUE_LASTS = 3, 2.9
# A jump into the middle of a cue; players show it once it came, and what is sampled this near to a border may be the other one.
TEXT_JUMP, NEAR = 44.3, 0.4
# The film has 2 Mbit/s. A jump to what is not there has to bring a segment of some 1.2 MB first.
TEXT_UP = 1_000_000


def texts(world: World, ending: str) -> Path:
    """A film of a minute with text in two languages inside; made once."""
    path = world.cache / f"texts-{ending}" / f"film.{ending}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        words = ["ffmpeg", "-nostdin", "-v", "error", "-i", content.film(world.cache, "end")]
        for language in ("en", "de"):
            beside = path.with_name(f"{language}.srt")
            stamp = lambda seconds: f"00:00:{int(seconds):02},{round(seconds % 1 * 1000):03}"
            cues = [f"{n + 1}\n{stamp(n * CUE_EVERY)} --> {stamp(n * CUE_EVERY + CUE_LASTS)}\n{language} {n}\n" for n in range(60 // CUE_EVERY)]
            beside.write_text("\n".join(cues))
            words += ["-i", beside]
        coding = {"mkv": ["srt", "ass"], "mp4": ["mov_text", "mov_text"]}[ending]
        words += ["-map", "0:v", "-map", "0:a", "-map", "1", "-map", "2", "-c:v", "copy", "-c:a", "copy", "-c:s:0", coding[0], "-c:s:1", coding[1]]
        words += ["-metadata:s:s:0", "language=eng", "-metadata:s:s:1", "language=ger", "-movflags", "+faststart", "-y", path.with_name(f"part.{ending}")]
        subprocess.run([str(word) for word in words], check=True)
        path.with_name(f"part.{ending}").rename(path)
    return path


def shown(world: World, samples: list[dict], language: str) -> tuple[int, int]:
    """How many samples show the cue that is due and nothing else, and how many do not."""
    right, wrong = 0, []
    for sample in samples:
        number, inside = divmod(sample["time"], CUE_EVERY)
        if NEAR < inside < CUE_LASTS - NEAR:
            if [cue.strip() for cue in sample["cues"]] == [f"{language} {int(number)}"]:
                right += 1
            else:
                wrong.append((round(sample["time"], 1), sample["cues"]))
    world.check(right >= 5, f"of {language} only {right} samples show what is due, others {wrong[:6]}")
    return right, len(wrong)


def texts_case(player: str, name: str, ending: str):
    """A player for web pages shows text from inside a film, also behind a jump to what is not there yet, and in the other language."""

    def run(world: World) -> None:
        publisher, us = world.host("pub"), world.host("viewer")
        published = world.shoal(
            publisher, "publish", texts(world, ending), "--listen", f"{publisher.ip}:6881", "--http", "127.0.0.1:8080", "--up-limit", TEXT_UP,
            "--piece-size", 32768, *QUIET,
        )
        link = published.expect("published", 30)["link"]
        watch = world.shoal(us, "watch", link, "--http", "127.0.0.1:8080", "--peer", f"{publisher.ip}:6881", *QUIET)
        manifest = watch.expect("title", 20)["files"][0]["hls" if name == "main.m3u8" else "dash"]
        seen = run_script(world, us, "qualities.mjs", f"texts-{player}-{ending}", player, manifest, f"8,8@{TEXT_JUMP},8#1")
        told = [shown(world, part, language) for part, language in zip(seen["parts"], ("en", "en", "de"))]
        behind = [sample for sample in seen["parts"][1] if TEXT_JUMP <= sample["time"] < 44.9 and sample["cues"] == ["en 14"]]
        world.show(right=[part[0] for part in told], wrong=[part[1] for part in told], begun_before=len(behind), waits=seen["parts"][-1][-1]["waits"])
        # A text that was chosen, or jumped into, takes a moment.
        world.check(all(wrong <= right // 2 + 2 for right, wrong in told), f"cues that were due were shown, and were not: {told}")
        world.check(not seen["errors"] and not seen["failed"], f"{seen['errors'][:3]} {seen['failed'][:3]}")

    return run


for _player, _name in (("hls", "main.m3u8"), ("dash", "manifest.mpd"), ("shaka", "manifest.mpd"), ("shaka", "main.m3u8")):
    for _ending in ("mkv", "mp4"):
        _which = _player if (_player, _name) != ("shaka", "main.m3u8") else "shaka-hls"
        trial(f"adaptive.texts-{_which}-{_ending}", seconds=120, tools=("chromium", "node", "playwright", "web-players", "ffmpeg"))(
            texts_case(_player, _name, _ending)
        )
