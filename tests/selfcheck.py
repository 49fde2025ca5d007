"""Trials of the harness itself, without Shoal: outside clients against each other and against our own foreign codec.

When one of these fails, distrust the others. They run only when named.
"""

from __future__ import annotations

import http.server
import threading
import time

import browser
import hostile
import interop
import playback
from kit import content
from kit.clients import Libtorrent, Opentracker, SmallTracker, Transmission
from kit.player import Reader
from kit.wire import ForeignPeer
from kit.world import Failed, Host, World, trial


def pair_case(seeder: str, leecher: str, shape: str, kind: str):
    """Two outside clients and a tracker of ours."""

    def run(world: World) -> None:
        origin = interop.source(world, shape)
        tracker = SmallTracker(world.host("tracker"))
        torrent = content.make_torrent(origin, world.folder / "t.torrent", kind, trackers=(tracker.url,))
        seed = interop.start_seed(world, seeder, torrent, origin)
        leech = interop.start_leech(world, leecher, torrent.magnet(trackers=(tracker.url,)), seed.address, world.folder / "leech")
        leech.complete(60)
        interop.same(world, origin, world.folder / "leech")

    return run


for _seeder, _leecher, _shape, _kind in (
    ("libtorrent", "libtorrent", "folder", "hybrid"), ("libtorrent", "libtorrent", "folder", "v2"),
    ("libtorrent", "transmission", "folder", "v1-pads"), ("transmission", "libtorrent", "folder", "v1-pads"),
    ("aria2", "libtorrent", "folder", "v1"), ("libtorrent", "aria2", "file", "v1"), ("transmission", "aria2", "folder", "v1"),
):
    trial(f"selfcheck.{_seeder}-{_leecher}-{_shape}-{_kind}", seconds=90, tools=("libtorrent", "transmission", "aria2"))(
        pair_case(_seeder, _leecher, _shape, _kind)
    )


@trial("selfcheck.opentracker", seconds=60, tools=("libtorrent", "opentracker"))
def through_opentracker(world: World) -> None:
    """libtorrent meets libtorrent by opentracker over UDP."""
    origin = interop.source(world, "file")
    tracker = Opentracker(world, "tracker")
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "v1", trackers=(tracker.udp,))
    tracker.allow(torrent.v1)
    Libtorrent(world, "seed", torrent.path, origin.parent, seed=True).ready()
    Libtorrent(world, "leech", torrent.path, world.folder / "leech").complete(50)
    interop.same(world, origin, world.folder / "leech")


@trial("selfcheck.rate-limit", seconds=60, tools=("libtorrent",))
def rate_limit(world: World) -> None:
    """libtorrent's upload limit holds between our hosts: 4 MiB at 1 MB/s take 3.5 to 7 s."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 4 << 20, 1)
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "v1")
    seed = Libtorrent(world, "seed", torrent.path, origin.parent, "--up-limit", 1_000_000, seed=True).ready()
    leech = Libtorrent(world, "leech", torrent.path, world.folder / "leech", peers=[seed.address])
    took = leech.complete(30)["t"]
    world.show(seconds=took)
    world.check(3.5 < took < 7, f"4 MiB took {took} s")


@trial("selfcheck.pex", seconds=150, tools=("libtorrent",))
def pex(world: World) -> None:
    """How long libtorrent needs to introduce two of its own."""
    torrent = interop.slow_pair(world, "v1")
    seed = Libtorrent(world, "c", torrent.path, torrent.data.parent, "--up-limit", 150_000, seed=True).ready()
    middle = Libtorrent(world, "b", torrent.path, world.folder / "b", "--up-limit", 20_000, peers=[seed.address])
    world.until(20, "B meets C", lambda: middle.status().get("peers"))
    third = Libtorrent(world, "a", torrent.path, world.folder / "a", peers=[middle.address])
    ip = world.host("a").ip
    world.until(110, "A meets C", lambda: any(ip in peer["ip"] for peer in seed.status()["peers"]))
    world.show(seconds=third.status()["t"])


@trial("selfcheck.transmission-cannot-read-hybrids", seconds=60, tools=("libtorrent", "transmission"))
def transmission_hybrid(world: World) -> None:
    """Why interop leaves out transmission 3.00 with hybrids: it refuses those that libtorrent made, too."""
    origin = interop.source(world, "file")
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "hybrid")
    try:
        Transmission(world, "leech", torrent.path, world.folder / "leech")
    except Failed as reason:
        world.check("corrupt" in str(reason), f"refused for another reason: {reason}")
        return
    raise Failed("it takes hybrids after all: let interop use them")


@trial("selfcheck.aria2-cannot-read-hybrids", seconds=60, tools=("libtorrent", "aria2"))
def aria2_hybrid(world: World) -> None:
    """Why interop leaves out aria2 1.36 with hybrids: it takes another info-hash out of those that libtorrent made."""
    torrent = content.make_torrent(interop.source(world, "file"), world.folder / "t.torrent", "hybrid")
    show = world.start("leech", "aria2c", "-S", torrent.path)
    show.wait(20)
    world.check("Info Hash:" in show.raw_stdout(), "it does not print the hash")
    world.check(torrent.v1 not in show.raw_stdout(), "it reads hybrids after all: let interop use them")


@trial("selfcheck.foreign-peer", seconds=60, tools=("libtorrent",))
def foreign_peer(world: World) -> None:
    """Our foreign codec serves libtorrent whole, by magnet; and libtorrent bans it when it lies."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 2 << 20, 1)
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "v1")
    honest = ForeignPeer(world.host("honest"), torrent)
    leech = Libtorrent(world, "leech", torrent.magnet(), world.folder / "leech", peers=[honest.address])
    leech.complete(20)
    interop.same(world, origin, world.folder / "leech")
    liar = hostile.WrongBytes(world.host("liar"), torrent)
    second = Libtorrent(world, "second", torrent.path, world.folder / "second", peers=[liar.address])
    world.until(20, "libtorrent drops the liar", lambda: liar.links and second.status().get("failed", 0) > 0 and not liar.open_links())


def serve(host: Host, data: bytes, pause: float) -> None:
    """An HTTP server at port 80 of a host: `/` gives the data, `/slow` waits once in its middle. No ranges."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            half = len(data) // 2
            self.wfile.write(data[:half])
            time.sleep(pause if self.path == "/slow" else 0)
            self.wfile.write(data[half:])

        def log_message(self, *_: object) -> None:
            pass

    with host.entered():
        server = http.server.ThreadingHTTPServer((host.ip, 80), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()


@trial("selfcheck.reader", seconds=60, tools=("ffmpeg",))
def reader(world: World) -> None:
    """The stall counter sees a server that pauses, and nothing in one that does not."""
    film = content.film(world.cache, "front", 20)
    data, host = film.read_bytes(), world.host("server")
    serve(host, data, 14)
    fast, slow = (Reader(host, f"http://{host.ip}{path}", len(data) / 20) for path in ("/", "/slow"))
    world.until(50, "both end", lambda: fast.over and slow.over)
    world.show(size=len(data), fast=f"{fast.stalled():.2f}s", slow=f"{slow.stalled():.2f}s")
    world.check(not fast.trouble and not slow.trouble, f"trouble: {fast.trouble} {slow.trouble}")
    world.check(fast.hash.hexdigest() == content.digest(film), "bytes differ")
    world.check(fast.stalled() == 0, f"a fast server stalled {fast.stalled()} s")
    world.check(2 < slow.stalled() < 7, f"a pausing server stalled {slow.stalled()} s")


@trial("selfcheck.ffmpeg", seconds=60, tools=("ffmpeg",))
def ffmpeg(world: World) -> None:
    """So does ffmpeg as we watch it."""
    film, host = content.film(world.cache, "front", 20), world.host("server")
    serve(host, film.read_bytes(), 14)
    fast, slow = (playback.Ffmpeg(world, host, f"http://{host.ip}{path}") for path in ("/", "/slow"))
    while fast.running() or slow.running():
        fast.poll()
        slow.poll()
        time.sleep(0.02)
    start = fast.samples[0][0] - fast.started
    world.show(start=f"{start:.2f}s", fast=f"{fast.longest_wait():.2f}s", slow=f"{slow.longest_wait():.2f}s", end=f"{fast.samples[-1][1]:.1f}s")
    world.check(fast.longest_wait() < 0.4, f"a fast server stalled {fast.longest_wait()} s")
    world.check(2 < slow.longest_wait() < 7, f"a pausing server stalled {slow.longest_wait()} s")
    world.check(start < 1, f"ffmpeg alone needs {start} s to its first frame")


@trial("selfcheck.browser", seconds=120, tools=("ffmpeg", "chromium", "node", "playwright"))
def chromium(world: World) -> None:
    """Chromium plays and jumps a plain page with a film from a server that knows ranges."""
    film, host = content.film(world.cache, "end", 20), world.host("us")
    data = film.read_bytes()

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body, status, kind = b"<!doctype html><video src=/film controls></video>text for the reader", 200, "text/html"
            if self.path == "/film":
                first = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
                body, status, kind = data[first:], 206, "video/mp4"
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if status == 206:
                self.send_header("Accept-Ranges", "bytes")
                self.send_header("Content-Range", f"bytes {len(data) - len(body)}-{len(data) - 1}/{len(data)}")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with host.entered():
        server = http.server.ThreadingHTTPServer((host.ip, 8000), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.judge(world, browser.look(world, f"http://{host.ip}:8000/", "selfcheck"))
