"""A watcher in a thin swarm, with ffmpeg as its player (must-show 3).

A 60 s film of about 2 Mbit/s; one publisher and six peers that hold random halves, each limited to 100 KiB/s upload. ffmpeg reads
the HTTP address at native speed: it starts within 2 s, never waits, and jumps within 1.5 s to a middle that was verified to be
unfetched when it was asked for. The bytes are the film's, duplicates stay under 2 %. Each line shows start, jump, stalls that the
watcher told of, the longest wait of ffmpeg, and duplicates.

libtorrent peers meet the same bounds with less room: with a limited uplink one unchokes 0.6 s after it was met, takes it back, and sends
its first block after 1.1 s, then a bunch each half second (a lone leech that asks at once, three runs alike); a Shoal peer sends after
0.04 s, then block by block. So 1.1 s of each start with libtorrent peers are theirs.
"""

from __future__ import annotations

import base64
import time
from pathlib import Path

from kit import bencode, content
from kit.clients import Libtorrent
from kit.player import Reader, api_title, request
from kit.program import Program
from kit.world import Failed, Host, World, trial

PORT = 6881
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
SECONDS = 60
PIECE = 65536
UP_LIMIT = 100 * 1024
START_MAX, JUMP_MAX = 2.0, 1.5
DUPLICATES_MAX = 0.02
# ffmpeg tells where it is ten times a second: 0.05 to 0.06 s were seen, and less than this cannot be told from a steady film.
WAIT_MAX = 0.25
UNKNOWN_RATE_STALLED_MAX = 0.5


class Ffmpeg(Program):
    """ffmpeg as a player: decodes at native speed, and tells how far it is ten times a second."""

    def __init__(self, world: World, host: Host, url: object, *before: object):
        argv = ["ffmpeg", "-nostdin", "-v", "error", "-stats_period", "0.1", "-progress", "pipe:1", "-re", *before, "-i", url]
        argv += ["-f", "null", "-"]
        self.samples: list[tuple[float, float]] = []
        super().__init__(world, host, argv, name="ffmpeg")
        self._read = 0

    def poll(self) -> None:
        """Takes what it reported since: (when seen, seconds of film)."""
        with open(self.out_path) as stream:
            stream.seek(self._read)
            text = stream.read()
        text = text[: text.rfind("\n") + 1]
        self._read += len(text)
        now, last = time.monotonic(), None
        for line in text.splitlines():
            if line.startswith("out_time_us=") and line.split("=")[1].lstrip("-").isdigit():
                last = int(line.split("=")[1]) / 1e6
        if last is not None and last > 0:
            self.samples.append((now, last))

    def first_frame(self, seconds: float) -> float:
        """Waits for the first frame; returns the seconds since this player was started."""
        self.world.until(seconds, "ffmpeg's first frame", lambda: self.poll() or self.samples or not self.running(), 0.01)
        if not self.samples:
            raise Failed(f"ffmpeg ended with {self.process.returncode} without a frame: {self.stderr()[-300:]}")
        return self.samples[0][0] - self.started

    def longest_wait(self) -> float:
        """How far film time fell behind real time after the start: the longest pause, within 0.15 s."""
        if len(self.samples) < 10:
            return 0.0
        lags = [when - film for when, film in self.samples]
        best, worst = lags[0], 0.0
        for lag in lags:
            best = min(best, lag)
            worst = max(worst, lag - best)
        return worst


def halves(world: World, torrent: content.Torrent, count: int) -> list[set[int]]:
    """`count` random halves of the pieces, which together with the publisher hold everything."""
    pieces = range(-(-torrent.length // torrent.piece_length))
    return [set(world.random.sample(pieces, len(pieces) // 2)) for _ in range(count)]


def start_swarm(world: World, film: str | Path, peers: str) -> tuple[content.Torrent, list[str]]:
    """The publisher and six holders of halves of a film, or of the usual one with its index there; returns the torrent and everybody's address."""
    film = content.film(world.cache, film, SECONDS) if isinstance(film, str) else film
    path = world.folder / "t.torrent"
    host = world.host("publisher")
    listen = f"{host.ip}:{PORT}"
    publisher = world.shoal(
        host, "publish", film, "--torrent", path, "--piece-size", PIECE, "--listen", listen, "--up-limit", UP_LIMIT, *QUIET
    )
    publisher.expect("published")
    torrent = content.read_torrent(path, film)
    addresses = [listen]
    for number, half in enumerate(halves(world, torrent, 6)):
        holder = world.host(f"half{number}")
        folder = world.folder / f"half{number}"
        # A published film lies in a folder of its title's name, beside its time index, which the holders lack.
        content.keep_pieces(film, folder / bencode.decode(torrent.info_raw)[b"name"].decode() / film.name, PIECE, half)
        addresses.append(f"{holder.ip}:{PORT}")
        if peers == "shoal":
            seed = world.shoal(holder, "seed", path, "--data", folder, "--listen", addresses[-1], "--up-limit", UP_LIMIT, *QUIET)
            world.until(20, "a holder has its half", lambda: abs(seed.last("progress").get("have", 0) - PIECE * len(half)) <= PIECE)
        else:
            seed = Libtorrent(world, holder, path, folder, "--up-limit", UP_LIMIT, "--upload-only").ready()
            world.until(20, "a holder has its half", lambda: abs(seed.status()["done"] - PIECE * len(half)) <= PIECE)
    return torrent, addresses


def start_watch(world: World, torrent: content.Torrent, addresses: list[str]):
    """The viewer, and the film's address as soon as it is known; all of its addresses stand in the event `title`."""
    us = world.host("viewer")
    peers = [part for address in addresses for part in ("--peer", address)]
    watch = world.shoal(
        us, "watch", torrent.path, "-o", world.folder / "viewer", "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:{PORT}", "--stay", "10m",
        *peers, *QUIET,
    )
    return us, watch, watch.expect("title", 10)["files"][0]["url"]


def finish(world: World, us: Host, watch, url: str, torrent: content.Torrent) -> None:
    """Bytes, duplicates and stalls of the whole run."""
    status, _, body = request(us, url, timeout=120)
    world.check(status == 200 and body == torrent.data.read_bytes(), f"the film that is served differs ({status}, {len(body)} bytes)")
    stalls = watch.events("stall")
    watch.stop()
    summary = watch.last("summary")
    share = summary["duplicate"] / max(1, summary["received"])
    world.show(stalls=len(stalls), duplicates=f"{share:.2%}", wasted=summary["wasted"])
    world.check(share < DUPLICATES_MAX, f"{share:.1%} of what came were duplicates: {summary}")
    world.check(not stalls, f"the watcher itself told of stalls: {stalls[:3]}")


def floor(world: World, index: str, *before: object) -> str:
    """What ffmpeg alone needs to its first frame of a local file: part of every figure here."""
    player = Ffmpeg(world, world.host("viewer"), content.film(world.cache, index, SECONDS), *before)
    took = player.first_frame(20)
    player.kill()
    return f"{took:.2f}s"


def whole_case(index: str, peers: str):
    """Start to end at native speed."""

    def run(world: World) -> None:
        world.show(ffmpeg_alone=floor(world, index))
        torrent, addresses = start_swarm(world, index, peers)
        us, watch, url = start_watch(world, torrent, addresses)
        player = Ffmpeg(world, us, url)
        player.first_frame(20)
        start = player.samples[0][0] - watch.started
        while player.running():
            player.poll()
            time.sleep(0.02)
        player.poll()
        playing = watch.last("playing")
        world.show(start=f"{start:.2f}s", told=f"{playing.get('startup_ms')}ms", wait=f"{player.longest_wait():.2f}s", rss=f"{watch.peak_kib() // 1024}MiB")
        world.check(player.process.returncode == 0 and not player.stderr().strip(), f"ffmpeg complained: {player.stderr()[-300:]}")
        world.check(player.samples[-1][1] > SECONDS - 1, f"ffmpeg ended at {player.samples[-1][1]:.1f} s")
        world.check(start <= START_MAX, f"the first frame came {start:.2f} s after `shoal watch` was started")
        world.check(player.longest_wait() < WAIT_MAX, f"the player waited {player.longest_wait():.2f} s")
        world.check(playing, "no `playing` event")
        finish(world, us, watch, url, torrent)

    return run


def pieces_held(world: World, us: Host, torrent: content.Torrent) -> list[bool]:
    """Which pieces the viewer holds now, by its API."""
    state = api_title(us, "127.0.0.1:8080", torrent.v1)
    found = state.get("pieces", state.get("title", {}).get("pieces") if isinstance(state.get("title"), dict) else None)
    if isinstance(found, dict):
        found = found.get("have") or found.get("bits") or found.get("hex")
    if isinstance(found, str):
        data = bytes.fromhex(found) if all(char in "0123456789abcdefABCDEF" for char in found) else base64.b64decode(found)
    elif isinstance(found, list):
        if len(found) == -(-torrent.length // torrent.piece_length):
            return [bool(one) for one in found]
        data = bytes(found)
    else:
        raise ValueError(f"no pieces in the API's answer: {list(state)}")
    return [bool(data[at // 8] >> (7 - at % 8) & 1) for at in range(-(-torrent.length // torrent.piece_length))]


def unfetched_second(held: list[bool], torrent: content.Torrent) -> int | None:
    """A second of the film's middle of which the next 4 s are unfetched, as far from everything held as can be."""
    per_second = torrent.length / SECONDS
    for second in (40, 35, 45, 30, 48, 25):
        first, last = int(second * per_second / torrent.piece_length), int((second + 4) * per_second / torrent.piece_length)
        # A key frame every 2 s: decoding begins before the wanted second.
        if not any(held[max(0, first - 2 - int(2 * per_second / torrent.piece_length)) : last + 1]):
            return second
    return None


def jump_case(index: str, peers: str):
    """Plays some seconds, then jumps where nothing is."""

    def run(world: World) -> None:
        world.show(ffmpeg_alone=floor(world, index, "-ss", 40))
        torrent, addresses = start_swarm(world, index, peers)
        us, watch, url = start_watch(world, torrent, addresses)
        first = Ffmpeg(world, us, url)
        first.first_frame(20)
        time.sleep(3)
        start = first.samples[0][0] - watch.started
        first.kill()
        # Looked at last: what is unfetched now is what the next line asks for.
        held = pieces_held(world, us, torrent)
        target = unfetched_second(held, torrent)
        world.check(target is not None, f"no stretch of 6 s is unfetched after 3 s of playing: {sum(held)} of {len(held)} pieces are here")
        second = Ffmpeg(world, us, url, "-ss", target)
        latency = second.first_frame(20)
        end = time.monotonic() + 12
        while time.monotonic() < end and second.running():
            second.poll()
            time.sleep(0.02)
        told = [event["latency_ms"] for event in watch.events("seek")]
        world.show(start=f"{start:.2f}s", jump=f"{latency:.2f}s", to=f"{target}s", held=f"{sum(held)}/{len(held)}", told=told, wait=f"{second.longest_wait():.2f}s")
        world.check(start <= START_MAX, f"the first frame came {start:.2f} s after `shoal watch` was started")
        world.check(latency <= JUMP_MAX, f"the first frame came {latency:.2f} s after the jump")
        world.check(second.longest_wait() < WAIT_MAX, f"the player waited {second.longest_wait():.2f} s after the jump")
        second.kill()
        finish(world, us, watch, url, torrent)

    return run


@trial("playback.told-figures-fit-a-steady-reader", seconds=60, quick=True, tools=("libtorrent", "ffmpeg"))
def steady_reader(world: World) -> None:
    """A reader at film rate that never lacks a byte is told of no stall: the playback model must not be worse than playback."""
    film, us = content.film(world.cache, "front", 20), world.host("viewer")
    torrent = content.make_torrent(film, world.folder / "t.torrent", "v1", PIECE)
    seed = Libtorrent(world, "seed", torrent.path, film.parent, seed=True).ready()
    watch = world.shoal(us, "watch", torrent.path, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:{PORT}", "--peer", seed.address, *QUIET)
    player = Reader(us, watch.expect("title", 10)["files"][0]["url"], film.stat().st_size / 20)
    world.until(40, "played", lambda: player.over, 0.2)
    told = [(event["position_ms"], event["stalled_ms"]) for event in watch.events("stall")]
    world.show(start=f"{player.startup():.2f}s", stalled=f"{player.stalled():.2f}s", told=len(told))
    world.check(player.stalled() == 0 and not player.trouble, f"the reader itself stalled: {player.stalls} {player.trouble}")
    world.check(not told, f"stalls were told that nobody had: {told[:4]}")


def unknown_rate_case(kind: str):
    """A file of which nobody can say how long it plays, at three times the rate that is assumed: due times are wrong, and what seems to
    have time is needed next. Who fetched it in any order stood still for a quarter of the time."""

    def run(world: World) -> None:
        rate, seconds, seeds = 2_000_000, 16, 4
        film, us = world.folder / "film.bin", world.host("viewer")
        content.write_random(film, rate * seconds, 1)
        torrent = content.make_torrent(film, world.folder / "t.torrent", kind, 262144)
        limit = rate * 13 // 10 // seeds
        clients = [Libtorrent(world, f"seed{number}", torrent.path, film.parent, "--up-limit", limit, seed=True).ready() for number in range(seeds)]
        peers = [part for client in clients for part in ("--peer", client.address)]
        watch = world.shoal(us, "watch", torrent.path, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:{PORT}", *peers, *QUIET)
        player = Reader(us, watch.expect("title", 10)["files"][0]["url"], rate)
        world.until(60, "played", lambda: player.over, 0.2)
        world.show(start=f"{player.startup():.2f}s", stalled=f"{player.stalled():.2f}s", stalls=len(player.stalls))
        world.check(not player.trouble, player.trouble)
        # With a limit libtorrent sends a bunch each half second.
        world.check(player.stalled() < UNKNOWN_RATE_STALLED_MAX, f"stood still for {player.stalled():.2f} s: {player.stalls[:5]}")

    return run


for _kind in ("v1", "hybrid"):
    trial(f"playback.unknown-rate-{_kind}", seconds=90, quick=True, tools=("libtorrent",))(unknown_rate_case(_kind))

for _index in ("front", "end"):
    for _peers in ("shoal", "libtorrent"):
        _tools = ("ffmpeg", "libtorrent")
        # The others leave too little room below the bounds for the minutes of `./check` on a busy machine.
        _quick = _peers == "shoal"
        trial(f"playback.whole-{_index}-{_peers}", seconds=180, quick=_quick, tools=_tools)(whole_case(_index, _peers))
        trial(f"playback.jump-{_index}-{_peers}", seconds=150, quick=_quick, tools=_tools)(jump_case(_index, _peers))
