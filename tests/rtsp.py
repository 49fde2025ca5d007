"""RTSP and RTP from a viewer whose film is still arriving from a thin swarm: players that others wrote play it from the start to the end,
pause, and jump forward and back.

ffmpeg's pictures are compared with those of the film, decoded, in their order and at their times. GStreamer and mpv are told what to do and asked
where they are. A jump has to land on the key frame at or before the time that was asked for.

Known of others: ffmpeg loses the time of the first picture that comes over RTSP (it takes times by the place in a file, and there is none), so that one
is looked at by its content alone. GStreamer shows what comes after a pause and a jump later than it could, with every server.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
from pathlib import Path

from kit import content
from kit.world import Failed, Host, World, trial
from playback import start_swarm, start_watch

SECONDS = 30
# A picture, and what may lie between the film's own times and those of a container with another clock.
FRAME_S, CLOCK_S = 0.04, 0.06
FIRST_MAX, FETCHED_MAX, UNFETCHED_MAX = 0.5, 0.2, 1.5
OFFSET_MAX = 0.04
LATE_MAX_MS, SESSION_KIB_MAX = 100, 512

# An RTSP client of our own, for many sessions and for times to the millisecond.
CLIENT = Path(__file__).parent / "kit" / "rtsp.py"

Frames = dict[str, list[tuple[float, str]]]


def decoded(world: World, host: Host, source: object, *before: object, seconds: float = 60) -> Frames:
    """Decoded pictures and sound: seconds, hash."""
    argv = ["ffmpeg", "-nostdin", "-v", "error", *before, "-i", source, "-map", "0:v:0", "-map", "0:a:0", "-fps_mode", "passthrough", "-f", "framemd5", "pipe:1"]
    program = world.start(host, *argv, name="ffmpeg")
    program.wait(seconds)
    found: Frames = {"0": [], "1": []}
    scales: dict[str, float] = {}
    for line in program.raw_stdout().splitlines():
        if line.startswith("#tb"):
            number, scale = line[3:].split(":")
            over, under = scale.strip().split("/")
            scales[number.strip()] = int(over) / int(under)
        elif not line.startswith("#"):
            stream, _, shown, _, _, digest = (part.strip() for part in line.split(","))
            found[stream].append((int(shown) * scales[stream], digest))
    return found


def keys_of(film: Path) -> list[float]:
    """When key frames are shown, counted from the first picture."""
    argv = ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries", "packet=pts_time,flags", "-of", "csv=p=0", str(film)]
    rows = [line.split(",") for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()]
    shown = [float(row[0]) for row in rows]
    return [float(row[0]) - min(shown) for row in rows if row[1].startswith("K")]


def start_player(world: World, kind: str) -> tuple[Path, Host, str]:
    """A viewer of the film in a thin swarm; its address for players that speak RTSP."""
    film = content.coded(world.cache, kind, SECONDS)
    torrent, addresses = start_swarm(world, film, "shoal")
    us, watch, _ = start_watch(world, torrent, addresses)
    return film, us, watch.last("title")["files"][0]["rtsp"]


def same_pictures(world: World, expected: Frames, found: Frames, what: str, lacks: int) -> None:
    """All pictures in their order but up to `lacks` of the last four, each within a picture's length of its time, counted from the first; and all of the
    sound but a few frames at either end."""
    pictures, film = ([digest for _, digest in frames["0"]] for frames in (found, expected))
    missing = set(film) - set(pictures)
    world.check(
        len(missing) <= lacks and missing <= set(film[-4:]) and pictures == [digest for digest in film if digest not in missing],
        f"{what}: {len(pictures)} pictures of {len(film)}, or others",
    )
    offs = [here - there - expected["0"][0][0] for (there, _), (here, _) in zip(expected["0"][1:], found["0"][1:])]
    off = max(map(abs, offs)) if offs else 0
    world.check(off <= FRAME_S + CLOCK_S, f"{what}: a picture is {off:.3f} s off its time")
    sound, all_sound = len(found["1"]), len(expected["1"])
    # Sound that it has begun to put together is lost in the same way.
    fewest = all_sound - (16 if lacks else 3)
    world.check(fewest <= sound <= all_sound + 3, f"{what}: {sound} frames of sound of {all_sound}")


def ffmpeg_case(kind: str):
    """From the start to the end over both transports at once, then a jump to what was there."""

    def run(world: World) -> None:
        film, us, url = start_player(world, kind)
        expected = decoded(world, us, film)
        found: dict[str, Frames] = {}
        for transport in ("tcp", "udp"):
            # One after the other: the first plays while the film arrives.
            found[transport] = decoded(world, us, url, "-rtsp_transport", transport, seconds=SECONDS + 30)
            # Its reader of transport streams in RTP gives a picture when the next one begins.
            same_pictures(world, expected, found[transport], transport, 2 if kind.endswith("ts") else 0)
        jump = decoded(world, us, url, "-rtsp_transport", "tcp", "-ss", 17, "-t", 1)
        after = [digest for _, digest in jump["0"][1:]]
        film_at = [digest for when, digest in expected["0"] if when >= 17 - FRAME_S]
        world.check(len(after) >= 20 and after == film_at[film_at.index(after[0]) :][: len(after)], "a jump brings other pictures")
        place = next(when for when, digest in expected["0"] if digest == after[0])
        world.check(abs(place - 17) <= 2 * FRAME_S + 0.005, f"a jump to 17 s brings the picture of {place:.2f} s")
        world.show(pictures=len(expected["0"]), sound=len(expected["1"]), jump=f"{place:.2f}s")

    return run


def libav(world: World, host: Host, source: object, *options: str) -> Frames:
    """What a newer libav decodes: seconds, hash."""
    program = world.start(host, "python3", Path(__file__).parent / "kit" / "libav.py", source, *options, name="libav")
    program.wait(SECONDS + 40)
    found: Frames = {"0": [], "1": []}
    for line in program.raw_stdout().splitlines():
        stream, shown, digest = line.split()
        found[stream].append((float(shown), digest))
    return found


@trial("rtsp.libav-av1", seconds=180, tools=("ffmpeg", "pyav"))
def libav_av1(world: World) -> None:
    """AV1, which Debian's players cannot take out of RTP: all of it over both transports, then a jump."""
    film, us, url = start_player(world, "av1")
    expected = libav(world, us, film)
    for transport in ("tcp", "udp"):
        same_pictures(world, expected, libav(world, us, url, f"rtsp_transport={transport}"), transport, 0)
    jump = libav(world, us, url, "rtsp_transport=tcp", "jump=17")["0"]
    first = next(when for when, digest in expected["0"] if digest == jump[0][1])
    digests = [digest for when, digest in expected["0"] if when >= first - FRAME_S / 2]
    world.check([digest for _, digest in jump] == digests[: len(jump)], "a jump brings other pictures")
    key = max(when for when in keys_of(film) if when <= 17)
    world.check(abs(first - key) <= FRAME_S, f"a jump to 17 s brings the picture of {first:.2f} s, the key frame is at {key:.2f} s")
    world.show(pictures=len(expected["0"]), jump=f"{first:.2f}s")


def gstreamer(world: World, us: Host, url: str, transport: str, *steps: str) -> list[dict]:
    """What GStreamer saw, step by step."""
    script = Path(__file__).parent / "kit" / "gst_play.py"
    program = world.start(us, "/usr/bin/python3", script, url, transport, *steps, name="gstreamer", env={"HOME": str(world.folder)})
    program.wait(110)
    told = [json.loads(line) for line in program.raw_stdout().splitlines() if line.startswith("{")]
    world.check(len(told) == len(steps), f"{len(told)} of {len(steps)} steps: {program.stderr()[-300:]}")
    return told


def gstreamer_case(kind: str, transport: str):
    """It plays, jumps forward to what is not there, back, close to the end and to it; and pauses, and goes on where it was."""

    def run(world: World) -> None:
        film, us, url = start_player(world, kind)
        keys = keys_of(film)
        # A player that was told that the film is over is another one.
        told = gstreamer(world, us, url, transport, "play:2", "seek:20.5", "seek:7", "seek:27.5", "end:6")
        told += gstreamer(world, us, url, transport, "play:1", "seek:11", "pause:1.5", "play:1.5")
        world.check(abs(told[0]["duration"] - SECONDS) < 0.2, f"it is {told[0]['duration']} s long")
        world.check(told[0]["video"]["frames"] >= 35 and told[0]["video"]["first"] < 0.2, f"the start: {told[0]}")
        for step in (1, 2, 3, 6):
            seen, asked = told[step], told[step]["to"]
            # The first pictures of H.265 behind a jump get a wrong time or are thrown away, with any server.
            far = 0.2 if kind == "hevc" else FRAME_S + CLOCK_S
            key = max(at for at in keys if at <= asked + 0.001)
            world.check("video" in seen and abs(seen["video"]["first"] - key) <= far, f"a jump to {asked} s, whose key frame is at {key:.2f}: {seen}")
            world.check(seen["video"]["frames"] >= 15, f"it does not play on: {seen}")
        world.check(told[4]["over"] and told[4]["video"]["last"] > SECONDS - 0.3, f"the end: {told[4]}")
        world.check("video" not in told[7], f"it was paused: {told[7]}")
        world.check("video" in told[8], f"it does not go on: {told[8]}")
        gap = told[8]["video"]["first"] - told[6]["video"]["last"]
        world.check(told[8]["video"]["frames"] >= 20 and abs(gap) < 0.2, f"it went on {gap:.2f} s from where it was: {told[8]}")
        world.show(start=f"{told[0]['video']['took']:.2f}s", unfetched=f"{told[1]['video']['took']:.2f}s", back=f"{told[2]['video']['took']:.2f}s")

    return run


class Mpv:
    """mpv, told what to do through its socket."""

    def __init__(self, world: World, us: Host, url: str, transport: str):
        self.world, path = world, world.folder / "mpv.socket"
        argv = ["mpv", "--no-config", "--vo=null", "--ao=null", f"--input-ipc-server={path}", f"--rtsp-transport={transport}", url]
        self.program = world.start(us, *argv, name="mpv", env={"HOME": str(world.folder)})
        world.until(10, "mpv's socket", path.exists)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(path))
        self.socket.settimeout(15)
        self.lines = self.socket.makefile()

    def tell(self, *command: object) -> object:
        self.socket.sendall(json.dumps({"command": command, "request_id": 7}).encode() + b"\n")
        for line in self.lines:
            told = json.loads(line)
            if told.get("request_id") == 7 and "event" not in told:
                return told.get("data")
        raise Failed("mpv is gone")

    def place(self) -> float:
        return float(self.tell("get_property", "time-pos") or -1)


def mpv_case(kind: str, transport: str):
    """It plays, pauses, goes on, jumps forward and back, and to the end."""

    def run(world: World) -> None:
        _, us, url = start_player(world, kind)
        mpv = Mpv(world, us, url, transport)
        world.until(15, "mpv plays", lambda: mpv.place() > 1)
        world.check(mpv.tell("get_property", "seekable") is True, "mpv cannot jump in it")
        world.check(abs(float(mpv.tell("get_property", "duration")) - SECONDS) < 0.2, "mpv takes it for longer or shorter")
        mpv.tell("set_property", "pause", True)
        time.sleep(0.3)
        paused = mpv.place()
        time.sleep(1.5)
        world.check(mpv.place() == paused, f"paused at {paused}, and now at {mpv.place()}")
        mpv.tell("set_property", "pause", False)
        world.until(5, "mpv goes on", lambda: paused + 0.5 < mpv.place() < paused + 3)
        took = []
        for to in (20.5, 7.0, 26.0):
            began = time.monotonic()
            mpv.tell("seek", to, "absolute")
            # It takes the place that was asked for for its own until pictures come.
            world.until(10, f"mpv plays at {to} s", lambda: to + 0.1 < mpv.place() < to + 2.2, 0.02)
            took.append(time.monotonic() - began)
            # A film that comes at its own rate leaves it nothing in hand: it may stop once to wait for a second of it.
            place = mpv.place()
            time.sleep(2.5)
            on = mpv.place() - place
            world.check(1 < on < 3, f"in 2.5 s after the jump to {to} s it played {on:.2f} s")
        status = mpv.program.wait(15)
        world.check(status == 0, f"mpv ended with {status}: {mpv.program.stderr()[-200:]}")
        world.show(forward=f"{took[0]:.2f}s", back=f"{took[1]:.2f}s")

    return run


# Kind of film, and whether `./check` plays it; with ffmpeg, which takes a minute and more, only the first.
KINDS = {"end": True, "front": False, "ts": True, "mkv": True, "fragments": False, "hevc": False, "vp9": False, "mpeg2-ts": False, "mpeg2-mkv": False}
for _kind, _quick in KINDS.items():
    trial(f"rtsp.ffmpeg-{_kind}", seconds=200, quick=_kind == "end", tools=("ffmpeg",))(ffmpeg_case(_kind))
    for _transport in ("tcp", "udp"):
        _first = _quick and _transport == "tcp" and _kind == "end"
        trial(f"rtsp.gstreamer-{_kind}-{_transport}", seconds=150, quick=_quick and _transport == "tcp", tools=("ffmpeg", "gstreamer"))(gstreamer_case(_kind, _transport))
        trial(f"rtsp.mpv-{_kind}-{_transport}", seconds=120, quick=_first, tools=("ffmpeg", "mpv"))(mpv_case(_kind, _transport))


@trial("rtsp.fifty-jumps", seconds=200, quick=True, tools=("ffmpeg",))
def jumps(world: World) -> None:
    """Fifty random jumps (ten of them in `./check`) in a film that is here: the pictures are those of the time that was asked for, and sound is in
    step with them."""
    film = content.coded(world.cache, "unique", SECONDS)
    us = world.host("viewer")
    publisher = world.shoal(us, "publish", film, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:6881", "--no-lsd")
    url = publisher.expect("title", 10)["files"][0]["rtsp"]
    whole = decoded(world, us, film)
    places = [{digest: when for when, digest in whole[stream]} for stream in ("0", "1")]
    worst, offsets = 0.0, []
    for _ in range(10 if world.quick else 50):
        asked = world.random.uniform(0, SECONDS - 2)
        found = decoded(world, us, url, "-rtsp_transport", "tcp", "-ss", f"{asked:.3f}", "-t", 0.6, seconds=20)
        # Where each frame is in the film, less where the player says that it is.
        off = [[place[digest] - when for when, digest in found[stream][2:] if digest in place] for place, stream in zip(places, ("0", "1"))]
        world.check(len(off[0]) >= 5 and len(off[1]) >= 5, f"the jump to {asked:.3f} s brings {len(off[0])} pictures and {len(off[1])} frames of sound of the film")
        picture, sound = (sorted(part)[len(part) // 2] for part in off)
        worst = max(worst, abs(picture - asked))
        offsets.append(abs(picture - sound))
    world.show(off=f"{worst * 1000:.0f}ms", sound_off=f"{max(offsets) * 1000:.1f}ms")
    world.check(worst <= FRAME_S + 0.001, f"pictures are up to {worst:.3f} s off the time that was asked for")
    world.check(max(offsets) <= OFFSET_MAX, f"sound is up to {max(offsets):.3f} s off the pictures")


def hundred(transport: str):
    """A hundred sessions of 2 Mbit/s from one peer: when packets come, and what the sessions take."""

    def run(world: World) -> None:
        film = content.film(world.cache, "end", 60)
        us = world.host("viewer")
        publisher = world.shoal(us, "publish", film, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:6881", "--no-lsd")
        url = publisher.expect("title", 10)["files"][0]["rtsp"]
        status = Path(f"/proc/{publisher.pid}/status")
        kib = lambda: next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))  # noqa: E731
        # The film's index is read once, whoever plays.
        world.start(us, "python3", CLIENT, url, 1, 2, transport, name="one").wait(30)
        before = kib()
        players = world.start(us, "python3", CLIENT, url, 100, 20, transport, name="hundred")
        time.sleep(14)
        taken = (kib() - before) / 100
        players.wait(60)
        told = json.loads(players.raw_stdout())
        world.show(**{key: f"{told[key]:.1f}ms" for key in ("late_p50", "late_p999", "first_max")}, mbit_per_s=f"{told['mbit_per_s']:.0f}", lost=told["lost"], session=f"{taken:.0f}KiB")
        world.check(told["late_p999"] <= LATE_MAX_MS, f"{told}")
        world.check(taken < SESSION_KIB_MAX, f"a session takes {taken:.0f} KiB")
        world.check(told["first_max"] <= FIRST_MAX * 1000, f"a first packet came after {told['first_max']:.0f} ms")
        # Outside a connection some miss the buffers of a player that is busy with a hundred streams.
        world.check(told["lost"] == 0 or transport == "udp", f"{told['lost']} packets are missing")

    return run


for _transport in ("tcp", "udp"):
    trial(f"rtsp.hundred-sessions-{_transport}", seconds=120, quick=_transport == "tcp", tools=("ffmpeg",))(hundred(_transport))


@trial("rtsp.first-packet", seconds=120, quick=True, tools=("ffmpeg",))
def first_packet(world: World) -> None:
    """In a thin swarm: from PLAY to the first packet at the start, where it was, and where nothing is yet."""
    _, us, url = start_player(world, "end")

    def first(at: float) -> float:
        program = world.start(us, "python3", CLIENT, url, 1, 2, "tcp", at, name=f"first-{at}")
        program.wait(30)
        return json.loads(program.raw_stdout())["first_max"] / 1000

    begin = first(0)
    unfetched = first(22)
    again = first(22)
    world.show(start=f"{begin:.3f}s", unfetched=f"{unfetched:.3f}s", fetched=f"{again:.3f}s")
    world.check(begin <= FIRST_MAX, f"the first packet came {begin:.2f} s after PLAY")
    world.check(unfetched <= UNFETCHED_MAX, f"where nothing was it came after {unfetched:.2f} s")
    world.check(again <= FETCHED_MAX, f"where the film was it came after {again:.2f} s")
