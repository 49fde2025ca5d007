"""Virtual time slots on real sockets: viewers of a title that is too large for one answer of its tracker find who plays where they do.

The title is made large by three hundred addresses that announce themselves and where nobody listens. What the directory was told is asked
of it by ordinary announces under the names of docs/protocol.md, made here a second time.
"""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
import struct
import time
from urllib.parse import quote

from kit import bencode, content
from kit.player import Reader, api_title, request
from kit.program import Shoal
from kit.world import Host, World, trial

SLOT_S = 10
RATE = 250_000
CROWD = 300
QUIET = ("--no-dht", "--no-lsd", "--no-upnp", "--no-pex")


def key_of(infohash: str, slot: int) -> bytes:
    """The name of a slot."""
    return hashlib.sha256(bytes.fromhex(infohash) + struct.pack(">q", slot)).digest()[:20]


def announce(host: Host, tracker: str, name: bytes, port: int, event: str = "started", want: int = 0) -> set[str]:
    """An announce over HTTP; the addresses in its answer."""
    query = f"info_hash={quote(name, safe='')}&peer_id={quote(b'-XX0000-' + b'%012d' % port)}&port={port}&uploaded=0&downloaded=0&left=1&compact=1&event={event}&numwant={want}"
    status, _, body = request(host, f"{tracker}?{query}")
    assert status == 200, body
    peers = bencode.decode(body).get(b"peers", b"")
    parts = [peers[at : at + 6] for at in range(0, len(peers), 6)]
    return {f"{ipaddress.ip_address(part[:4])}:{int.from_bytes(part[4:])}" for part in parts}


class Stage:
    """A directory, a publisher, and a crowd of addresses."""

    def __init__(self, world: World, crowd: int = CROWD):
        self.world, directory, publisher = world, world.host("dir"), world.host("pub")
        world.shoal(directory, "directory", "--http", f"{directory.ip}:6969").expect("listening")
        self.tracker = f"http://{directory.ip}:6969/announce"
        film = content.film(world.cache, "front")
        torrent = world.folder / "film.torrent"
        made = world.shoal(publisher, "publish", film, "--tracker", self.tracker, "--torrent", torrent, "--slot", f"{SLOT_S}s", "--up-limit", "600KiB", "--listen", f"{publisher.ip}:6881", *QUIET).expect("published", 30)
        self.torrent, self.infohash = torrent, made["infohash_v1"]
        self.names = [bytes.fromhex(made[name])[:20] for name in ("infohash_v1", "infohash_v2")]
        info = bencode.decode(torrent.read_bytes())[b"info"][b"shoal"]
        world.check(info[b"slot"] == SLOT_S * 1000, f"the torrent says {info}")
        self.published = info[b"published"] / 1000
        self.crowd = world.host("crowd")
        self.ports = iter(range(20_000, 60_000))
        self.gather(crowd)
        self.probe = world.host("probe")

    def gather(self, count: int) -> None:
        """So many addresses more announce themselves."""
        for _ in range(count):
            port = next(self.ports)
            for name in self.names:
                announce(self.crowd, self.tracker, name, port)

    def viewer(self, name: str) -> tuple[Host, Shoal, str]:
        """A viewer who does not play yet, its address and the film's."""
        host = self.world.host(name)
        program = self.world.shoal(host, "watch", self.torrent, "--http", "127.0.0.1:8080", "--listen", f"{host.ip}:6881", *QUIET)
        return host, program, program.expect("title", 20)["files"][0]["url"]

    def slot_now(self, position_s: float) -> int:
        """The slot of who plays there now."""
        return int((time.time() - self.published - position_s) // SLOT_S)

    def recorded(self, host: Host) -> list[int]:
        """Slots under which a host is recorded. Who asks is recorded too, on a host of its own, and says goodbye."""
        found, here = [], self.slot_now(0)
        for slot in range(here - 9, here + 5):
            name = key_of(self.infohash, slot)
            if f"{host.ip}:6881" in announce(self.probe, self.tracker, name, 7000, want=100):
                found.append(slot)
            announce(self.probe, self.tracker, name, 7000, "stopped")
        return found


def is_near(slots: list[int], expected: int) -> bool:
    """Whether these are three slots in a row, from the expected one on or one off."""
    return len(slots) == 3 and slots == list(range(slots[0], slots[0] + 3)) and abs(slots[0] - expected) <= 1


@trial("slots.viewers-of-a-large-title-meet", seconds=120, quick=True)
def meet(world: World) -> None:
    """One is recorded for the slots that it can feed, moves with a jump, and is met by who begins to play just behind it."""
    stage = Stage(world)
    first, program, url = stage.viewer("first")
    time.sleep(2)  # Long enough for a record that must not be made.
    world.check(stage.recorded(first) == [], "it is recorded in slots and does not play")
    player = Reader(first, url, RATE)
    world.until(15, "it is recorded in its slots", lambda: is_near(stage.recorded(first), stage.slot_now(player.taken / RATE)), 0.2)
    stage.gather(40)
    for number in itertools.count(2):
        host, other, film = stage.viewer(f"viewer-{number}")
        time.sleep(4)  # Long enough for all that the tracker named to be dialed.
        is_linked = lambda: any(peer["address"].startswith(f"{first.ip}:") for peer in api_title(host, "127.0.0.1:8080", stage.infohash)["peer_list"])  # noqa: E731
        if not is_linked():
            break
        world.check(number < 8, "a tracker names the first to everybody, by chance")
        other.stop()
    began = time.monotonic()
    behind = Reader(host, film, RATE, start=player.taken - 6 * RATE)
    world.until(20, "they are linked", is_linked, 0.1)
    world.show(linked_s=round(time.monotonic() - began, 2), slots=len(stage.recorded(first)))
    jump = Reader(first, url, RATE, start=11_000_000)
    world.until(20, "it is recorded where it jumped to, and nowhere else", lambda: is_near(stage.recorded(first), stage.slot_now((11_000_000 + jump.taken) / RATE)), 0.2)
    world.check(not behind.trouble, behind.trouble)
    program.stop()
    world.until(5, "it is recorded nowhere", lambda: stage.recorded(first) == [], 0.2)


@trial("slots.a-small-title-costs-its-tracker-nothing", seconds=60)
def small(world: World) -> None:
    """With fewer peers than one answer names nobody is recorded in slots."""
    stage = Stage(world, crowd=60)
    host, program, url = stage.viewer("first")
    player = Reader(host, url, RATE)
    world.until(15, "it plays", lambda: player.taken > 2_000_000)
    world.check(stage.recorded(host) == [], "it is recorded in slots")
    program.stop()
