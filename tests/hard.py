"""Films that are hard to serve: ten hours in each container, a file beyond four gibibytes, pictures at irregular times.

What ffmpeg gets over HLS, DASH and RTSP is compared with the film on the disk, picture by picture; so is how long the answers take, how many bytes they
have, and what the film costs in memory.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

from adaptive import TAILS_MS, frames, same
from browser import run_script
from kit import content
from kit.player import request
from kit.program import Shoal
from kit.world import Host, World, trial
from playback import QUIET
from rtsp import FRAME_S, decoded, same_pictures

# Where players jump to: half an hour before the end.
AT = 34200
# The film is opened, by reading its index of up to 26 MB; and any list of it is made again.
OPEN_MAX_MS, ANSWER_MAX_MS = 1500, 50
LIST_MAX_BYTES = 512 << 10
MEMORY_MAX_KIB = 160 << 10


@dataclass
class Published:
    """A film that is served by its publisher."""

    host: Host
    program: Shoal
    urls: dict[str, str]

    def url(self, name: str) -> str:
        """Address of something of the film in segments."""
        return self.urls["hls"].replace("main.m3u8", name)


def publish(world: World, film) -> Published:
    """The film, published."""
    us = world.host("viewer")
    program = world.shoal(us, "publish", film, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:6881", *QUIET)
    return Published(us, program, program.expect("title", 60)["files"][0])


def answer(world: World, film: Published, name: str, times: int = 5) -> tuple[float, bytes]:
    """Milliseconds that an answer takes, the median of some, and its bytes."""
    taken = []
    for _ in range(times):
        begun = time.monotonic()
        status, _, body = request(film.host, film.url(name))
        taken.append((time.monotonic() - begun) * 1000)
        world.check(status == 200, f"{name}: {status} {body[:200]!r}")
    return statistics.median(taken), body


def check_jump(world: World, expected: list[tuple[float, str]], film: Published, source: str, *before: object) -> None:
    """A jump brings the pictures of that time and those behind them. Over RTSP ffmpeg has no time for the first one."""
    found = decoded(world, film.host, source, *before, "-ss", AT, "-t", 2)["0"]
    places = {digest: place for place, (_, digest) in enumerate(expected)}
    pictures = [digest for _, digest in found[1:]]
    world.check(len(pictures) >= 40 and pictures[0] in places, f"{source}: {len(pictures)} pictures behind the jump, or others")
    first = places[pictures[0]]
    world.check(pictures == [digest for _, digest in expected[first:]][: len(pictures)], f"{source}: other pictures follow")
    when = expected[first][0]
    world.check(abs(when - AT) <= 2 * FRAME_S + 0.005, f"{source}: the jump brings the picture of {when:.2f} s")


def ten_hours(kind: str):
    """Ten hours in one container: the answers, a jump near the end, and memory."""

    def run(world: World) -> None:
        original = content.long_film(world.cache)
        film = publish(world, content.long_film(world.cache, kind))
        before = film.program.rss_kib()
        opening, _ = answer(world, film, "main.m3u8", 1)
        lists = ("main.m3u8", "0.m3u8", "1.m3u8", "ts.m3u8", "manifest.mpd")
        answers = {name: answer(world, film, name) for name in lists}
        names = [line for line in answers["0.m3u8"][1].decode().splitlines() if line and line[0] != "#"]
        segment, _ = answer(world, film, names[AT // 4])
        begin = AT - 10
        expected = [(begin + when, digest) for when, digest in decoded(world, film.host, original, "-ss", begin, "-t", 20)["0"]]
        for name in ("ts.m3u8", "manifest.mpd"):
            check_jump(world, expected, film, film.url(name))
        check_jump(world, expected, film, film.urls["rtsp"], "-rtsp_transport", "tcp", "-analyzeduration", 500_000)
        longest = max(taken for taken, _ in answers.values())
        largest = max(len(body) for _, body in answers.values())
        memory, peak = film.program.rss_kib() - before, film.program.peak_kib() - before
        world.show(
            segments=len(names), open=f"{opening:.0f}ms", list=f"{longest:.1f}ms", list_bytes=f"{largest >> 10}KiB", segment=f"{segment:.1f}ms",
            memory=f"{memory >> 10}MiB", peak=f"{peak >> 10}MiB",
        )
        world.check(len(names) == content.LONG_S // 4, f"it has {len(names)} segments")
        world.check(opening <= OPEN_MAX_MS and max(longest, segment) <= ANSWER_MAX_MS, "answers are slow")
        world.check(largest <= LIST_MAX_BYTES, f"a list has {largest} bytes")
        world.check(peak <= MEMORY_MAX_KIB, f"it takes {peak} KiB")

    return run


for _kind in ("end", *content.LONG):
    trial(f"hard.ten-hours-{_kind}", seconds=240, tools=("ffmpeg",))(ten_hours(_kind))


@trial("hard.ten-hours-browser", seconds=240, tools=("chromium", "node", "playwright", "web-players", "ffmpeg"))
def browser(world: World) -> None:
    """hls.js in Chromium begins with ten hours of film and jumps near their end."""
    film = publish(world, content.long_film(world.cache))
    seen = run_script(world, film.host, "players.mjs", "long", "hls", film.url("main.m3u8"), AT)
    world.show(start=f"{seen['startup_ms']:.0f}ms", jump=f"{seen['seek_ms']:.0f}ms", frames=seen["after"]["frames"])
    world.check(abs(seen["duration"] - content.LONG_S) < 0.1, f"it is {seen['duration']} s long")
    world.check(seen["after"]["time"] > AT + 0.5 and seen["after"]["frames"] > seen["before"]["frames"] + 20, f"2 s after the jump: {seen['after']}")
    world.check(not seen["errors"] and not seen["failed"], f"{seen['errors'][:3]} {seen['failed'][:3]}")


@trial("hard.beyond-four-gibibytes", seconds=240, tools=("ffmpeg",))
def large(world: World) -> None:
    """An MP4 of 4.5 GiB, most of it a hole before its frames: all of them are found, and nothing else is read."""
    small = content.film(world.cache, "end")
    begun = time.monotonic()
    film = publish(world, content.behind_a_hole(small, world.folder / "film.mp4"))
    film.program.expect("published", 120)
    world.show(published=f"{time.monotonic() - begun:.1f}s", bytes=film.urls["length"])
    expected = frames(world, film.host, small)
    for name, tail_ms in TAILS_MS.items():
        same(world, expected, frames(world, film.host, film.url(name)), tail_ms)
    over_rtsp = decoded(world, film.host, film.urls["rtsp"], "-rtsp_transport", "tcp", "-analyzeduration", 500_000, "-ss", 50, "-t", 2)["0"]
    pictures = [digest for _, digest in decoded(world, film.host, small, "-ss", 48, "-t", 10)["0"]]
    found = [digest for _, digest in over_rtsp[1:]]
    world.check(len(found) >= 40 and found[0] in pictures and found == pictures[pictures.index(found[0]) :][: len(found)], "other pictures over RTSP")


def irregular(name: str):
    """Pictures at irregular times: the film's own frames at their own times, by each way."""

    def run(world: World) -> None:
        path = content.irregular(world.cache, name)
        film = publish(world, path)
        expected = frames(world, film.host, path)
        apart = [after[0] - before[0] for before, after in zip(expected["0"], expected["0"][1:])]
        world.check(min(apart) <= 21 and max(apart) >= 120, f"pictures are {min(apart)} to {max(apart)} ms apart")
        for list_name, tail_ms in TAILS_MS.items():
            same(world, expected, frames(world, film.host, film.url(list_name)), tail_ms)
        found = decoded(world, film.host, film.urls["rtsp"], "-rtsp_transport", "tcp")
        pictures = decoded(world, film.host, path)
        same_pictures(world, pictures, found, "RTSP", 0)
        off = max(abs(here - there) for (there, _), (here, _) in zip(pictures["0"][1:], found["0"][1:]))
        world.show(pictures=len(expected["0"]), apart=f"{min(apart)}-{max(apart)}ms", rtsp_off=f"{off * 1000:.1f}ms")
        world.check(off <= 0.005, f"over RTSP a picture is {off:.3f} s off its time")

    return run


for _name in ("film.mp4", "film.mkv"):
    trial(f"hard.irregular-{_name[5:]}", seconds=120, quick=_name.endswith("mkv"), tools=("ffmpeg",))(irregular(_name))
