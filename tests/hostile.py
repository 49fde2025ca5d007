"""Hostile peers on real sockets, beside honest ones (must-show 8).

A watcher plays a film from an honest libtorrent seed while one peer misbehaves. Memory stays bounded, playback goes on, the
liar is named and dropped, and no honest peer is. The hostile peers are written from the BEPs, without our wire crate.
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from dataclasses import dataclass

from kit import bencode, content, wire
from kit.clients import Libtorrent
from kit.player import Reader, api_title, connect
from kit.wire import ForeignPeer, Link
from kit.world import Failed, World, trial

RSS_KIB_MAX = 96 * 1024
SEED_RATE = 500_000
PORT = 6881


class WrongBytes(ForeignPeer):
    """Answers every request at once, with noise."""

    def send_block(self, link: Link, piece: int, begin: int, data: bytes) -> None:
        super().send_block(link, piece, begin, os.urandom(len(data)))


class SometimesWrong(ForeignPeer):
    """Honest four times of five: one flipped bit in the fifth block, so that good and bad blocks meet in one piece."""

    count = 0

    def send_block(self, link: Link, piece: int, begin: int, data: bytes) -> None:
        self.count += 1
        if self.count % 5 == 0 and data:
            data = bytes([data[0] ^ 1]) + data[1:]
        super().send_block(link, piece, begin, data)


class FalseHave(ForeignPeer):
    """Has everything, unchokes, and never sends a block."""

    def on_request(self, link: Link, piece: int, begin: int, length: int) -> None:
        pass


class FlipFlop(ForeignPeer):
    """Chokes and unchokes without end, and rejects whatever is asked."""

    def begin(self, link: Link) -> None:
        super().begin(link)
        threading.Thread(target=self._flip, args=(link,), daemon=True).start()

    def _flip(self, link: Link) -> None:
        try:
            while link.open():
                link.message(wire.CHOKE)
                link.message(wire.UNCHOKE)
                time.sleep(0.001)
        except wire.Closed:
            pass

    def on_request(self, link: Link, piece: int, begin: int, length: int) -> None:
        link.message(wire.REJECT, struct.pack(">III", piece, begin, length))


class Flood(ForeignPeer):
    """Asks for blocks without end and never reads an answer."""

    def begin(self, link: Link) -> None:
        link.message(wire.HAVE_NONE)
        link.message(wire.INTERESTED)
        block = b"".join(
            struct.pack(">IBIII", 13, wire.REQUEST, piece % self.pieces, 0, 16384) for piece in range(1000)
        )
        while True:
            link.raw(block)


class FloodHave(ForeignPeer):
    """Sends small valid messages as fast as the socket takes them."""

    def begin(self, link: Link) -> None:
        link.message(wire.HAVE_NONE)
        block = struct.pack(">IBI", 5, wire.HAVE, 0) * 2000 + struct.pack(">IB", 1, wire.INTERESTED) * 1000 + bytes(4000)
        while True:
            link.raw(block)


class SlowDrip(ForeignPeer):
    """Answers requests with one byte a second."""

    def send_block(self, link: Link, piece: int, begin: int, data: bytes) -> None:
        frame = struct.pack(">IBII", 9 + len(data), wire.PIECE, piece, begin) + data
        for byte in frame:
            link.raw(bytes([byte]))
            time.sleep(1)


class SlowHandshake(ForeignPeer):
    """Needs ever so long for its handshake."""

    def greet(self, link: Link) -> None:
        for byte in b"\x13BitTorrent protocol" + self.reserved + self.title + self.peer_id:
            link.raw(bytes([byte]))
            time.sleep(3)


class HugeLength(ForeignPeer):
    """Announces a message of 4 GiB and begins to send it."""

    def begin(self, link: Link) -> None:
        link.raw(b"\xff\xff\xff\xff\x07")
        while True:
            link.raw(bytes(65536))


class HugeExtended(ForeignPeer):
    """An extension handshake of 200,000 nested lists, then dictionaries."""

    def begin(self, link: Link) -> None:
        for opener, closer in ((b"l", b"e"), (b"d1:a", b"e")):
            link.message(wire.EXTENDED, b"\0" + opener * 200_000 + closer * 200_000)
        super().begin(link)


class LongBitfield(ForeignPeer):
    """A bitfield of a mebibyte for a film of some hundred pieces."""

    def bitfield(self) -> bytes:
        return b"\xff" * (1 << 20)


class SpareBits(ForeignPeer):
    """A bitfield with bits beyond the last piece."""

    def bitfield(self) -> bytes:
        bits = super().bitfield()
        return bits + b"\x01" if self.pieces % 8 == 0 else bits[:-1] + b"\xff"


class ShortBitfield(ForeignPeer):
    """A bitfield that is one byte short."""

    def bitfield(self) -> bytes:
        return super().bitfield()[:-1]


class HaveOutOfRange(ForeignPeer):
    """Has pieces that do not exist."""

    def begin(self, link: Link) -> None:
        super().begin(link)
        for piece in (self.pieces, 0x7FFFFFFF, 0xFFFFFFFF):
            link.message(wire.HAVE, struct.pack(">I", piece))


class PieceOutOfRange(ForeignPeer):
    """Sends blocks of pieces that do not exist, and beyond the end of those that do."""

    def begin(self, link: Link) -> None:
        super().begin(link)
        for piece, begin in ((self.pieces, 0), (0xFFFFFFFF, 0xFFFFFFFF), (0, self.torrent.piece_length), (self.pieces - 1, 0xFFFFC000)):
            link.message(wire.PIECE, struct.pack(">II", piece, begin) + bytes(16384))


class Unsolicited(ForeignPeer):
    """Sends noise for blocks that nobody asked for, as fast as it can."""

    def begin(self, link: Link) -> None:
        super().begin(link)
        block = os.urandom(16384)
        while True:
            for piece in range(self.pieces):
                link.message(wire.PIECE, struct.pack(">II", piece, 0) + block)


class OddRequests(ForeignPeer):
    """Asks for nothing, for too much, across ends and around the corner of 32 bits."""

    def begin(self, link: Link) -> None:
        link.message(wire.HAVE_NONE)
        link.message(wire.INTERESTED)
        size = self.torrent.piece_length
        for _ in range(50):
            for piece, begin, length in (
                (0, 0, 0), (0, 0, 0xFFFFFFFF), (0, 0xFFFFFFF0, 0x20), (0, size - 1, 2), (0, size, 16384), (self.pieces, 0, 16384),
                (0xFFFFFFFF, 0, 16384), (0, 0, (1 << 20) + 1), (0, 1, 16383), (self.pieces - 1, size - 1, 16384),
            ):
                link.message(wire.REQUEST, struct.pack(">III", piece, begin, length))
                link.message(wire.CANCEL, struct.pack(">III", piece, begin, length))
            time.sleep(0.1)


class BadIds(ForeignPeer):
    """Messages that are unknown, too short or too long for what they are."""

    def begin(self, link: Link) -> None:
        super().begin(link)
        noise = random.Random(7)
        for kind in range(256):
            if kind != wire.PIECE:
                link.message(kind, noise.randbytes(noise.choice((0, 1, 3, 5, 12, 13, 200))))


class Silent(ForeignPeer):
    """Says nothing after the first handshake."""

    def greet(self, link: Link) -> None:
        mine = b"\x13BitTorrent protocol" + self.reserved + self.title + self.peer_id
        if link.dialed:
            link.raw(mine)
        theirs = link.exactly(68)
        if not link.dialed:
            link.raw(mine[:28] + theirs[28:48] + mine[48:])

    def begin(self, link: Link) -> None:
        pass

    def on_message(self, link: Link, kind: int, body: bytes) -> None:
        pass


class Mute(Silent):
    """Accepts the connection and says nothing at all."""

    def greet(self, link: Link) -> None:
        link.exactly(1 << 30)


class WrongTitle(ForeignPeer):
    """Answers the handshake with another title's hash."""

    def greet(self, link: Link) -> None:
        link.raw(b"\x13BitTorrent protocol" + self.reserved + bytes(20) + self.peer_id)
        link.exactly(68)


class MetadataHuge(ForeignPeer):
    """Says that the info dictionary has 2 GiB, and answers requests with garbage."""

    def extensions(self) -> dict:
        return {**super().extensions(), "metadata_size": 0x7FFFFFFF}

    def on_metadata(self, link: Link, ask: dict) -> None:
        if ask.get(b"msg_type") == 0:
            head = bencode.encode({"msg_type": 1, "piece": ask[b"piece"], "total_size": 0x7FFFFFFF})
            link.extended(b"ut_metadata", head + os.urandom(16384))


class MetadataNoise(ForeignPeer):
    """Says an allowed size just below the limit, and sends noise for it."""

    size = 15 << 20

    def extensions(self) -> dict:
        return {**super().extensions(), "metadata_size": self.size}

    def on_metadata(self, link: Link, ask: dict) -> None:
        if ask.get(b"msg_type") == 0:
            left = min(16384, self.size - ask[b"piece"] * 16384)
            head = bencode.encode({"msg_type": 1, "piece": ask[b"piece"], "total_size": self.size})
            link.extended(b"ut_metadata", head + os.urandom(max(0, left)))


class MetadataWrong(MetadataNoise):
    """The right size, the wrong bytes. Who is asked for none of them cannot lie."""

    asked = False

    def on_metadata(self, link: Link, ask: dict) -> None:
        self.asked = True
        super().on_metadata(link, ask)

    def is_guilty(self) -> bool:
        return self.asked

    @property
    def size(self) -> int:
        return len(self.info)


class PexBomb(ForeignPeer):
    """Ten thousand peers that do not exist, every 100 ms; it gives blocks slowly, so that it stays."""

    rate = 80_000

    def begin(self, link: Link) -> None:
        super().begin(link)
        threading.Thread(target=self._spam, args=(link,), daemon=True).start()

    def _spam(self, link: Link) -> None:
        noise = random.Random(11)
        time.sleep(0.5)
        try:
            while link.open():
                added = b"".join(bytes([10, 77, 9, noise.randrange(256)]) + noise.randbytes(2) for _ in range(10_000))
                link.extended(b"ut_pex", bencode.encode({"added": added, "added.f": bytes(10_000)}))
                time.sleep(0.1)
        except wire.Closed:
            pass


class HashLies(ForeignPeer):
    """Good bytes, but every hash it is asked for is noise."""

    reserved = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x14])
    rate = 320_000  # Not done before hashes are asked for.

    def answer_name(self, asked: bytes) -> bytes:
        # BEP 52: the v2 name makes a link on which hashes can be asked for.
        return bytes.fromhex(self.torrent.v2[:40])

    def on_hash_request(self, link: Link, body: bytes) -> None:
        count = struct.unpack(">I", body[44:48])[0] if len(body) == 48 else 1
        link.message(wire.HASHES, body + os.urandom(32 * min(count, 512)))


@dataclass(frozen=True)
class Mode:
    """How one kind of hostility is judged."""

    liars: tuple[type[ForeignPeer], ...]
    dropped: bool = True  # Every link of the liar must be closed by us.
    named: bool = True  # The output or the API must name its address.
    kind: str = "v1"
    magnet: bool = False
    wait: float = 0  # Seconds after the film in which it may still be dropped.
    quick: bool = False


MODES = {
    "wrong-bytes-v1": Mode((WrongBytes,), quick=True),
    "wrong-bytes-hybrid": Mode((WrongBytes,), kind="hybrid"),
    "wrong-bytes-v2": Mode((WrongBytes,), kind="v2"),
    "sometimes-wrong-v1": Mode((SometimesWrong,), quick=True),
    "sometimes-wrong-hybrid": Mode((SometimesWrong,), kind="hybrid", quick=True),
    "false-have": Mode((FalseHave,), wait=60, quick=True),
    "flip-flop": Mode((FlipFlop,)),
    "flooding-requests": Mode((Flood,), wait=20, quick=True),
    "flooding-messages": Mode((FloodHave,), quick=True),
    "slow-drip": Mode((SlowDrip,), wait=60),
    "slow-handshake": Mode((SlowHandshake,), wait=15),
    "huge-length": Mode((HugeLength,), quick=True),
    "deep-nesting": Mode((HugeExtended,)),
    "long-bitfield": Mode((LongBitfield,)),
    "spare-bits": Mode((SpareBits,)),
    "short-bitfield": Mode((ShortBitfield,), quick=True),
    "have-out-of-range": Mode((HaveOutOfRange,)),
    "piece-out-of-range": Mode((PieceOutOfRange,)),
    "unsolicited-pieces": Mode((Unsolicited,)),
    "odd-requests": Mode((OddRequests,), quick=True),
    "odd-messages": Mode((BadIds,)),
    "silent": Mode((Silent,), wait=40, quick=True),
    "mute": Mode((Mute,), wait=15),
    "wrong-title": Mode((WrongTitle,)),
    "metadata-bomb": Mode((MetadataHuge, MetadataNoise, MetadataWrong), magnet=True, quick=True),
    "pex-bomb": Mode((PexBomb,)),
    "hash-lies-hybrid": Mode((HashLies,), kind="hybrid"),
    "hash-lies-v2": Mode((HashLies,), kind="v2"),
}


def hostile_case(mode: Mode, seconds: int):
    """A watcher between an honest seed, an honest leech and the liars."""

    def run(world: World) -> None:
        film = content.film(world.cache, "front", seconds)
        torrent = content.make_torrent(film, world.folder / "t.torrent", mode.kind, 65536)
        us = world.host("us")
        seed = Libtorrent(world, "seed", torrent.path, film.parent, "--up-limit", SEED_RATE, seed=True).ready()
        liars = [
            liar(world.host(f"liar{number}"), torrent, target=f"{us.ip}:{PORT}") for number, liar in enumerate(mode.liars)
        ]
        link = torrent.magnet() if mode.magnet else torrent.path
        peers = [part for peer in [*[liar.address for liar in liars], seed.address] for part in ("--peer", peer)]
        began = time.monotonic()
        watch = world.shoal(
            us, "watch", link, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:{PORT}", "--stay", "10m", *peers,
            "--no-dht", "--no-lsd", "--no-upnp",
        )
        url = watch.expect("title", 20)["files"][0]["url"]
        leech = Libtorrent(world, "leech", torrent.path, world.folder / "leech", "--down-limit", 100_000, peers=[f"{us.ip}:{PORT}"])
        player = Reader(us, url, film.stat().st_size / seconds)
        peak, honest = 0, Attendance(world, watch, (seed, leech), us.ip)
        while not player.over:
            peak = max(peak, watch.rss_kib())
            honest.look()
            world.check(watch.running(), f"the watcher ended: {watch.why()}")
            world.check(time.monotonic() - began < seconds * 2 + 20, f"playback hangs at {player.taken} bytes")
            time.sleep(0.1)
        player.write_trace(world.folder / "player.txt")
        world.check(not player.trouble, f"the player was cut off: {player.trouble}")
        told = sum(event["stalled_ms"] for event in watch.events("stall")) / 1000
        world.show(start=f"{player.startup():.2f}s", stalled=f"{player.stalled():.2f}s", told=f"{told:.2f}s", rss=f"{peak // 1024}MiB")
        world.check(player.hash.hexdigest() == content.digest(film), "the played bytes differ from the film")
        world.check(player.stalled() < 0.3, f"playback stalled {player.stalled():.1f} s: {player.stalls[:4]}")
        world.check(told <= player.stalled() + 0.1, f"it told of {told:.1f} s of stall, and the player had {player.stalled():.1f} s")
        judge_liars(world, mode, liars, watch)
        world.check(max(peak, watch.peak_kib()) <= RSS_KIB_MAX, f"memory went up to {watch.peak_kib()} KiB")
        judge_honest(world, watch, us.ip, seed, leech)
        honest.judge()

    return run


# Looks in a row, ten a second, after which a peer counts as lost: its own report is up to 0.2 s old, and a busy machine adds to it.
LOST_LOOKS = 6
# So long a liar that was shut out must be seen to be no peer.
ABSENT_SECONDS = 3.0
# Least time before we go back to one that we dropped: we wait 5 s.
RETURN_SECONDS = 4.5


class Attendance:
    """Whether an honest peer sees the watcher, from its first sight until both have the film."""

    def __init__(self, world: World, watch, peers: tuple[Libtorrent, ...], ip: str):
        self.world, self.watch, self.peers, self.ip = world, watch, peers, ip
        self.seen: set[str] = set()
        self.missing = {peer.name: 0 for peer in peers}
        self.lost = dict(self.missing)

    def look(self) -> None:
        """Looks once."""
        for peer in self.peers:
            status, name = peer.status(), peer.name
            if any(one["ip"].startswith(self.ip + ":") for one in status.get("peers", [])):
                self.seen.add(name)
                self.missing[name] = 0
            elif name in self.seen and not self.may_go(status):
                self.missing[name] += 1
                self.lost[name] = max(self.lost[name], self.missing[name])

    def may_go(self, status: dict) -> bool:
        """Two that have it all have nothing to say to each other."""
        return bool(status["seeding"] and self.watch.last("complete"))

    def judge(self) -> None:
        """All came, and none was lost."""
        for peer in self.peers:
            self.world.check(peer.name in self.seen, f"{peer.name}, which is honest, was never connected")
            self.world.check(self.lost[peer.name] < LOST_LOOKS, f"{peer.name}, which is honest, was lost for {self.lost[peer.name] / 10:.1f} s")


def judge_liars(world: World, mode: Mode, liars: list[ForeignPeer], watch) -> None:
    """The liar must be gone for good, and named."""
    for liar in liars:
        who = type(liar).__name__
        if not liar.is_guilty():
            continue
        world.check(liar.met() or not mode.dropped, f"{who} was never connected: the trial shows nothing")
        if mode.dropped:
            try:
                world.until(max(mode.wait, 3), f"{who} dropped", lambda: not liar.open_links())
            except Failed:
                now = time.monotonic()
                held = [f"{'it' if link.dialed else 'we'} dialed {now - link.opened:.1f} s ago" for link in liar.open_links()]
                raise Failed(f"{who} is not dropped: {held}, {len(liar.met())} links in all") from None
            stays_away(world, liar, watch)
            held = max((link.closed - link.opened for link in liar.met() if link.closed), default=0)
            world.show(links=len(liar.met()), held=f"{held:.1f}s")
        if mode.named:
            said = watch.raw_stdout() + watch.stderr()
            world.check(liar.host.ip in said, f"{who} at {liar.host.ip} is not named in the output")


def stays_away(world: World, liar: ForeignPeer, watch) -> None:
    """One that was shut out goes on knocking, and is no peer for some seconds. If it was for what it said on a link of its own, we may
    dial it once more, and its id gives it away (docs/decisions/0030). One that was only dropped may come back by our rules, but we never
    go to an address again at once: five seconds after the first failure, twice as long after each more."""
    who, title = type(liar).__name__, liar.torrent.v1 or liar.torrent.v2
    shut_out = [event["t_ms"] / 1000 for event in watch.events("error") if liar.host.ip + ":" in event["message"]]
    end = time.monotonic() + (ABSENT_SECONDS if shut_out else 0)
    while time.monotonic() < end:
        peers = api_title(watch.host, "127.0.0.1:8080", title)["peers"]
        world.check(liar.host.ip + ":" not in str(peers), f"{who} is a peer again, and was shut out before")
        time.sleep(0.1)
    ours = sorted((link for link in liar.met() if not link.dialed), key=lambda link: link.opened)
    for before, after in zip(ours, ours[1:]):
        pause = after.opened - (before.left or after.opened)
        world.check(pause > RETURN_SECONDS, f"we went back to {who} after {pause:.1f} s")
    again = [link for link in ours if shut_out and link.opened > watch.started + shut_out[0] + 0.5]
    world.check(len(again) <= 1, f"we went back to {who}, which was shut out, {len(again)} times")


def judge_honest(world: World, watch, ip: str, seed: Libtorrent, leech: Libtorrent) -> None:
    """The leech is still connected to us or done; neither it nor the seed was accused, or let go for a fault."""
    for peer in (leech, seed):
        words = [event for event in watch.events() if event["event"] in ("error", "dropped") and peer.host.ip + ":" in str(event)]
        world.check(not words, f"an honest peer was accused or let go: {words[:1]}")
    met = leech.status()["seeding"] or any(one["ip"].startswith(ip + ":") for one in leech.status()["peers"])
    world.check(met, f"the honest leech lost us: {leech.status()['peers']}")
    world.check(leech.status()["failed"] == 0, f"we passed on {leech.status()['failed']} bad bytes")
    world.check(leech.status()["down"] > 0, "the honest leech got nothing from us")


for _name, _mode in MODES.items():
    trial(f"hostile.{_name}", seconds=110 + _mode.wait, quick=_mode.quick, tools=("libtorrent", "ffmpeg"))(hostile_case(_mode, 20))


@trial("hostile.a-seed-under-siege", seconds=90, quick=True, tools=("libtorrent",))
def siege(world: World) -> None:
    """A publisher between six floods and odd requests still feeds an honest leech at its rate, in bounded memory."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 16 << 20, world.seed)
    us, path = world.host("us"), world.folder / "t.torrent"
    giver = world.shoal(us, "publish", origin, "--torrent", path, "--listen", f"{us.ip}:{PORT}", "--no-dht", "--no-lsd", "--no-upnp")
    giver.expect("published")
    torrent = content.read_torrent(path, origin)
    modes = (Flood, FloodHave, OddRequests, HugeLength, Mute, SlowHandshake)
    for number, mode in enumerate(modes):
        liar = mode(world.host(f"liar{number}"), torrent, target=f"{us.ip}:{PORT}")
        liar.dials = 1000
    time.sleep(2)
    leech = Libtorrent(world, "leech", path, world.folder / "leech", peers=[f"{us.ip}:{PORT}"])
    took = leech.complete(60)["t"]
    world.show(seconds=took, rss=f"{giver.peak_kib() // 1024}MiB")
    world.check(giver.peak_kib() <= RSS_KIB_MAX, f"memory went up to {giver.peak_kib()} KiB")
    # It is complete when all is verified; its disk thread may still be writing.
    taken = world.folder / "leech" / origin.name
    world.until(10, "the leech's file has the bytes of ours", lambda: content.digest(taken) == content.digest(origin), 0.2)


@trial("hostile.many-connections", seconds=60, tools=("libtorrent",))
def many_connections(world: World) -> None:
    """Two thousand idle connections do not keep an honest leech out, nor grow memory without bound."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 4 << 20, world.seed)
    us, path = world.host("us"), world.folder / "t.torrent"
    giver = world.shoal(us, "publish", origin, "--torrent", path, "--listen", f"{us.ip}:{PORT}", "--no-dht", "--no-lsd", "--no-upnp")
    giver.expect("published")
    held, refused = [], 0
    for number in range(2000):
        try:
            held.append(connect(world.host(f"liar{number % 8}"), f"{us.ip}:{PORT}", 1))
        except OSError:
            refused += 1
            if refused > 20:
                break
    leech = Libtorrent(world, "leech", path, world.folder / "leech", peers=[f"{us.ip}:{PORT}"])
    leech.complete(40)
    world.show(connections=len(held), refused=refused, rss=f"{giver.peak_kib() // 1024}MiB")
    world.check(giver.peak_kib() <= RSS_KIB_MAX, f"memory went up to {giver.peak_kib()} KiB")
