"""Interop with programs we did not write, byte-exact and in both directions (must-show 2).

`get-*`: they seed and `shoal get` fetches. `give-*`: `shoal seed` or `shoal publish` gives and they fetch. Then trackers:
our own directory and opentracker, over HTTP and UDP. Then PEX, with Shoal at each of its three places.
"""

from __future__ import annotations

import http.client
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

from kit import bencode, content
from kit.clients import Aria2, Libtorrent, Opentracker, SmallTracker, Transmission
from kit.content import Torrent
from kit.world import World, trial

PORT = 6881
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
LINKS = ("torrent", "magnet")
# transmission 3.00 and aria2 1.36 know nothing of BEP 52, and cannot take even the v1 half of a hybrid: its file tree has
# empty keys, for which transmission calls the torrent corrupt, and which aria2 loses, so that it asks for another info-hash.
# `selfcheck.*-cannot-read-hybrids` shows it with torrents of libtorrent's making.
KINDS = {
    "libtorrent": ("v1", "v1-pads", "hybrid", "v2", "our-hybrid", "our-v1", "our-v2"),
    "transmission": ("v1", "v1-pads", "our-v1"),
    "aria2": ("v1", "v1-pads", "our-v1"),
}
QUICK = {
    "get-libtorrent-folder-hybrid-magnet", "get-libtorrent-folder-v2-torrent", "get-transmission-folder-v1-pads-torrent",
    "get-aria2-file-v1-magnet", "give-libtorrent-folder-v1-magnet", "give-libtorrent-folder-v2-magnet",
    "give-transmission-folder-our-v1-torrent", "give-aria2-folder-v1-pads-magnet", "give-libtorrent-folder-our-hybrid-torrent",
}


def source(world: World, shape: str) -> Path:
    """The content to move: one odd file, or a folder of odd files."""
    if shape == "file":
        return content.write_random(world.folder / "origin" / "odd film.bin", 3_333_333, world.seed)
    return content.write_folder(world.folder / "origin" / "box", world.seed)


def with_pads(torrent: Torrent, origin: Path, target: Path) -> Path:
    """A copy of the content with its pad files as real files: how clients that do not know BEP 47 hold them."""
    if origin.is_file():
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(origin, target / origin.name)
        return target
    shutil.copytree(origin, target / origin.name)
    for entry in bencode.decode(torrent.info_raw).get(b"files", []):
        if b"p" in entry.get(b"attr", b""):
            path = target / origin.name / Path(*[part.decode() for part in entry[b"path"]])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bytes(entry[b"length"]))
    return target


def start_seed(world: World, client: str, torrent: Torrent, origin: Path):
    """A foreign seed that holds everything."""
    folder = with_pads(torrent, origin, world.folder / f"seed-{client}")
    if client == "libtorrent":
        return Libtorrent(world, "seed", torrent.path, folder).ready()
    if client == "transmission":
        return Transmission(world, "seed", torrent.path, folder).ready()
    seed = Aria2(world, "seed", torrent.path, folder, seed=True)
    world.until(15, "aria2 listens", lambda: listens(world, "seed", PORT))
    return seed


def listens(world: World, host: str, port: int) -> bool:
    """Whether somebody on a host accepts connections at a port."""
    place = world.host(host)
    with place.entered():
        probe = socket.socket()
    try:
        probe.settimeout(0.5)
        probe.connect((place.ip, port))
        return True
    except OSError:
        return False
    finally:
        probe.close()


def start_leech(world: World, client: str, link: object, giver: str, folder: Path, host: str = "leech"):
    """A foreign leech that fetches by a torrent file or a magnet; `giver` is told to it if it can be told."""
    if client == "libtorrent":
        return Libtorrent(world, host, link, folder, peers=[giver] if giver else [])
    return {"transmission": Transmission, "aria2": Aria2}[client](world, host, link, folder)


def same(world: World, origin: Path, folder: Path) -> None:
    """Fails unless the fetched content is the origin's."""
    world.check(not (why := content.difference(origin, folder / origin.name)), f"fetched content: {why}")


def get_case(client: str, shape: str, kind: str, form: str):
    """They seed, we get."""

    def run(world: World) -> None:
        origin = source(world, shape)
        torrent = content.make_torrent(origin, world.folder / "t.torrent", kind)
        seed = start_seed(world, client, torrent, origin)
        link = torrent.path if form == "torrent" else torrent.magnet()
        out = world.folder / "out"
        getter = world.shoal("shoal", "get", link, "-o", out, "--listen", "0.0.0.0:0", "--peer", seed.address, *QUIET)
        summary = getter.done(60)
        same(world, origin, out)
        world.check(summary.get("useful", 0) > 0, f"the summary says nothing was useful: {summary}")
        world.check(summary.get("wasted", 0) == 0, f"an honest seed's bytes were wasted: {summary}")
        world.show(duplicate=summary.get("duplicate"))

    return run


def give_case(client: str, shape: str, kind: str, form: str):
    """We seed a torrent that libtorrent made, or publish our own; they fetch."""

    def run(world: World) -> None:
        origin = source(world, shape)
        shoal, path = world.host("shoal"), world.folder / "t.torrent"
        tracker = SmallTracker(world.host("tracker"), fixed=(f"{shoal.ip}:{PORT}",))
        listen = ("--listen", f"{shoal.ip}:{PORT}", *QUIET)
        if kind.startswith("our-"):
            format = ("--format", kind.removeprefix("our-"))
            giver = world.shoal(shoal, "publish", origin, "--torrent", path, "--tracker", tracker.url, "--piece-size", 65536, *format, *listen)
            said = giver.expect("published")
            torrent = content.read_torrent(path, origin)
            world.check((said.get("infohash_v1") or "") == (torrent.v1 or ""), f"`published` says v1 {said.get('infohash_v1')}, the file is {torrent.v1}")
            world.check((said.get("infohash_v2") or "") == (torrent.v2 or ""), f"`published` says v2 {said.get('infohash_v2')}, the file is {torrent.v2}")
            link = path if form == "torrent" else said["link"]
        else:
            torrent = content.make_torrent(origin, path, kind, trackers=(tracker.url,))
            giver = world.shoal(shoal, "seed", path, "--data", origin.parent, *listen)
            link = path if form == "torrent" else torrent.magnet(trackers=(tracker.url,))
        giver.expect("listening")
        world.until(15, "our seed listens", lambda: listens(world, "shoal", PORT))
        folder = world.folder / "leech"
        leech = start_leech(world, client, link, f"{shoal.ip}:{PORT}", folder)
        leech.complete(75)
        same(world, origin, folder)
        if client == "libtorrent":
            world.check(leech.status()["failed"] == 0, f"{leech.status()['failed']} bytes failed libtorrent's hash check")
        world.check(giver.running(), f"our seed ended: {giver.why()}")
        status = giver.stop()
        world.check(status in (0, 130), f"Ctrl-C ended our seed with {status}: {giver.why()}")

    return run


def register_pairs() -> None:
    """One trial per client, shape, kind and form of link."""
    for client, kinds in KINDS.items():
        for shape in ("file", "folder"):
            for kind in kinds:
                if (shape == "file" and kind == "v1-pads") or kind.startswith("our-"):
                    continue
                for form in LINKS:
                    name = f"get-{client}-{shape}-{kind}-{form}"
                    trial(f"interop.{name}", seconds=90, quick=name in QUICK, tools=("libtorrent", client))(get_case(client, shape, kind, form))
            for kind in kinds:
                if shape == "file" and kind == "v1-pads":
                    continue
                for form in LINKS:
                    name = f"give-{client}-{shape}-{kind}-{form}"
                    trial(f"interop.{name}", seconds=120, quick=name in QUICK, tools=("libtorrent", client))(give_case(client, shape, kind, form))


register_pairs()


def start_tracker(world: World, which: str, transport: str) -> tuple[str, Callable]:
    """Our directory or opentracker: the announce URL of one transport, and how to allow titles."""
    host = world.host("tracker")
    if which == "opentracker":
        server = Opentracker(world, host)
        return (server.http if transport == "http" else server.udp), server.allow
    directory = world.shoal(host, "directory", "--http", f"{host.ip}:7000", "--udp", f"{host.ip}:7001")
    directory.expect("listening")
    world.until(10, "the directory listens", lambda: listens(world, "tracker", 7000))
    url = f"http://{host.ip}:7000/announce" if transport == "http" else f"udp://{host.ip}:7001/announce"
    return url, lambda *titles: None


def tracker_case(which: str, transport: str, client: str):
    """A tracker alone brings us together: a foreign client and a `shoal get` find our seed there."""

    def run(world: World) -> None:
        origin, path = source(world, "folder"), world.folder / "t.torrent"
        url, allow = start_tracker(world, which, transport)
        if client == "libtorrent":
            giver = world.shoal("giver", "publish", origin, "--torrent", path, "--tracker", url, "--listen", "0.0.0.0:0", *QUIET)
            said = giver.expect("published")
            world.check(url in path.read_bytes().decode("latin-1"), "the torrent does not name the tracker")
            link, titles = said["link"], (said["infohash_v1"], said["infohash_v2"])
        else:
            torrent = content.make_torrent(origin, path, "v1-pads", trackers=(url,))
            giver = world.shoal("giver", "seed", path, "--data", origin.parent, "--listen", "0.0.0.0:0", *QUIET)
            giver.expect("listening")
            link, titles = torrent.magnet(trackers=(url,)), (torrent.v1,)
        allow(*titles)
        getter = world.shoal("getter", "get", link, "-o", world.folder / "got", "--listen", "0.0.0.0:0", *QUIET)
        getter.done(60)
        same(world, origin, world.folder / "got")
        # Only now: trackers ask clients to come back in half an hour, and our seed may have been refused at first.
        leech = start_leech(world, client, path, "", world.folder / "leech")
        leech.complete(75)
        same(world, origin, world.folder / "leech")

    return run


def tracker_seed_case(which: str, transport: str):
    """libtorrent seeds by a tracker alone; `shoal get` finds it there."""

    def run(world: World) -> None:
        origin = source(world, "file")
        url, allow = start_tracker(world, which, transport)
        torrent = content.make_torrent(origin, world.folder / "t.torrent", "hybrid", trackers=(url,))
        allow(torrent.v1, torrent.v2)
        Libtorrent(world, "seed", torrent.path, origin.parent, seed=True).ready()
        getter = world.shoal("getter", "get", torrent.magnet(trackers=(url,)), "-o", world.folder / "got", "--listen", "0.0.0.0:0", *QUIET)
        getter.done(60)
        same(world, origin, world.folder / "got")

    return run


for _which in ("directory", "opentracker"):
    for _transport in ("http", "udp"):
        _tools = ("libtorrent", *(["opentracker"] if _which == "opentracker" else []))
        for _client in ("libtorrent", "transmission", "aria2"):
            trial(
                f"interop.{_which}-{_transport}-{_client}", seconds=150, tools=(*_tools, _client),
                quick=_client == {"http": "aria2", "udp": "libtorrent"}[_transport],
            )(tracker_case(_which, _transport, _client))
        trial(f"interop.{_which}-{_transport}-seed", seconds=90, tools=_tools)(tracker_seed_case(_which, _transport))


@trial("interop.directory-announce-and-scrape", seconds=30, quick=True)
def directory_alone(world: World) -> None:
    """The directory answers announce and scrape over HTTP as BEP 3, 23 and 48 say, and forgets a peer that stops."""


    host = world.host("tracker")
    start_tracker(world, "directory", "http")
    title = "%01%02%03%04%05%06%07%08%09%0a%0b%0c%0d%0e%0f%10%11%12%13%14"

    def ask(path: str) -> dict:
        with host.entered():
            link = http.client.HTTPConnection(host.ip, 7000, timeout=5)
            link.connect()
        link.request("GET", path)
        answer = link.getresponse()
        body = answer.read()
        world.check(answer.status == 200, f"{path} answered {answer.status} {body[:100]!r}")
        return bencode.decode(body)

    def announce(peer: str, port: int, left: int, event: str, more: str = "&compact=1") -> dict:
        return ask(f"/announce?info_hash={title}&peer_id={peer * 20}&port={port}&uploaded=0&downloaded=0&left={left}&event={event}{more}")

    announce("a", 1001, 0, "started")
    second = announce("b", 1002, 5, "started")
    world.check(isinstance(second.get(b"interval"), int), f"no interval: {second}")
    world.check((1001).to_bytes(2, "big") in second.get(b"peers", b""), f"the seed is not among the peers: {second}")
    plain = announce("c", 1003, 5, "started", "&compact=0&no_peer_id=1")
    world.check(b"peers" in plain, f"no peers without compact: {plain}")
    counts = ask(f"/scrape?info_hash={title}")[b"files"][bytes(range(1, 21))]
    world.check((counts[b"complete"], counts[b"incomplete"]) == (1, 2), f"scrape counts {counts}")
    announce("a", 1001, 0, "stopped")
    after = announce("b", 1002, 5, "")
    world.check((1001).to_bytes(2, "big") not in after.get(b"peers", b""), f"a stopped peer is still given: {after}")
    bad = ask("/announce?info_hash=short&peer_id=x&port=1")
    world.check(b"failure reason" in bad, f"a nonsense announce was taken: {bad}")


def slow_pair(world: World, kind: str) -> Torrent:
    """Content that takes a while, and its torrent."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 24 << 20, world.seed)
    return content.make_torrent(origin, world.folder / "t.torrent", kind, 262_144)


@trial("interop.pex-brings-us-a-third-peer", seconds=150, quick=True, tools=("libtorrent",))
def pex_to_us(world: World) -> None:
    """We know B only (libtorrent, no data at first); B is connected to the seed C: we end up connected to C."""
    torrent = slow_pair(world, "v1")
    seed = Libtorrent(world, "c", torrent.path, torrent.data.parent, "--up-limit", 150_000, seed=True).ready()
    middle = Libtorrent(world, "b", torrent.path, world.folder / "b", "--up-limit", 20_000, peers=[seed.address])
    world.until(20, "B meets C", lambda: middle.status().get("peers"))
    us = world.host("a")
    world.shoal(us, "get", torrent.path, "-o", world.folder / "a", "--listen", "0.0.0.0:0", "--peer", middle.address, *QUIET)
    met = world.until(100, "A meets C by PEX", lambda: any(us.ip in peer["ip"] for peer in seed.status()["peers"]))
    world.check(met, "never met")


@trial("interop.pex-we-introduce-two-peers", seconds=150, tools=("libtorrent",))
def pex_by_us(world: World) -> None:
    """We stand in the middle: two libtorrent peers that each know only us end up connected to each other."""
    torrent = slow_pair(world, "hybrid")
    us = world.host("b")
    seed = Libtorrent(world, "c", torrent.path, torrent.data.parent, "--up-limit", 150_000, seed=True).ready()
    ours = world.shoal(
        us, "get", torrent.path, "-o", world.folder / "b", "--listen", f"{us.ip}:{PORT}", "--up-limit", "20KiB", "--peer", seed.address, *QUIET
    )
    ours.expect("listening")
    third = Libtorrent(world, "a", torrent.path, world.folder / "a", peers=[f"{us.ip}:{PORT}"])
    ip = world.host("a").ip
    world.until(110, "A meets C by our PEX", lambda: any(ip in peer["ip"] for peer in seed.status()["peers"]))
    world.check(third.running(), "the third peer ended")


@trial("interop.pex-between-three-shoals", seconds=150)
def pex_ours(world: World) -> None:
    """Three Shoal peers: A knows B, B knows C, and A fetches from C as well."""
    origin, path = content.write_random(world.folder / "origin" / "film.bin", 24 << 20, world.seed), world.folder / "t.torrent"
    hosts = {name: world.host(name) for name in "abc"}
    listen = {name: f"{host.ip}:{PORT}" for name, host in hosts.items()}
    seed = world.shoal("c", "publish", origin, "--torrent", path, "--listen", listen["c"], "--up-limit", "300KiB", *QUIET)
    seed.expect("published")
    world.shoal("b", "get", path, "-o", world.folder / "b", "--listen", listen["b"], "--up-limit", "20KiB", "--peer", listen["c"], *QUIET)
    world.until(20, "B meets C", lambda: seed.last("progress").get("peers", 0) >= 1)
    world.shoal("a", "get", path, "-o", world.folder / "a", "--listen", listen["a"], "--peer", listen["b"], *QUIET)
    world.until(110, "C has two peers", lambda: seed.last("progress").get("peers", 0) >= 2)


@trial("interop.private-title-does-not-exchange-peers", seconds=60, tools=("libtorrent",))
def private_no_pex(world: World) -> None:
    """BEP 27: a private title keeps to its tracker; two peers that know only us do not meet within 25 s."""
    origin, path = content.write_random(world.folder / "origin" / "film.bin", 24 << 20, world.seed), world.folder / "t.torrent"
    us = world.host("b")
    ours = world.shoal(us, "publish", origin, "--torrent", path, "--private", "--listen", f"{us.ip}:{PORT}", "--up-limit", "100KiB", *QUIET)
    ours.expect("published")
    world.check(bencode.decode(content.info_span(path.read_bytes())).get(b"private") == 1, "the torrent is not private")
    peers = [Libtorrent(world, name, path, world.folder / name, peers=[f"{us.ip}:{PORT}"]) for name in "ac"]
    time.sleep(25)
    for peer in peers:
        seen = [one["ip"] for one in peer.status()["peers"]]
        world.check(all(ip.startswith(us.ip + ":") for ip in seen), f"a private title's peers met: {seen}")


@trial("interop.upgrades-to-one-connection-when-both-dial", seconds=60, tools=("libtorrent",))
def both_dial(world: World) -> None:
    """A hybrid title met under two hashes, both sides dialing at once: the transfer ends well and the peer counts once."""
    torrent = slow_pair(world, "hybrid")
    us = world.host("us")
    seed = Libtorrent(
        world, "seed", torrent.path, torrent.data.parent, "--up-limit", 2_000_000, seed=True, peers=[f"{us.ip}:{PORT}"]
    ).ready()
    getter = world.shoal(us, "get", torrent.path, "-o", world.folder / "out", "--listen", f"{us.ip}:{PORT}", "--peer", seed.address, *QUIET)
    world.until(20, "progress with peers", lambda: getter.last("progress").get("peers", 0) >= 1)
    most = 0
    while getter.running():
        most = max(most, max((event.get("peers", 0) for event in getter.events("progress")[3:]), default=0))
        time.sleep(0.2)
    getter.done(1)
    same(world, torrent.data, world.folder / "out")
    world.check(most <= 1, f"one peer was counted {most} times")
