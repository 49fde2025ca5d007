"""The cache of watched films: a quota that holds on the disk, withdrawals that others hear, crashes in the middle, no network where none is needed.

What the disk holds is measured from outside, in allocated blocks, every 20 ms. A libtorrent peer that has nobody but the viewer says which
pieces it believes the viewer to have, and whether any byte that it got was wrong. After `kill -9` the record on the disk and every byte that a
restarted viewer gives are compared with the source.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import struct
import subprocess
import threading
import time
from pathlib import Path

from kit import content
from kit.clients import Libtorrent
from kit.player import Reader, api_title, request
from kit.program import Shoal
from kit.world import Host, World, trial

PORT = 6881
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
PIECE = 65536
MIB = 1 << 20
QUOTA = 16 * MIB
# Two batches of an eighth, and what was begun and is urgent while they leave the disk.
SLACK = 6 * MIB


class Scale(threading.Thread):
    """Weighs a folder for as long as it runs: the most that its files took."""

    def __init__(self, folder: Path):
        super().__init__(daemon=True)
        self.folder, self.most, self.over = folder, 0, False
        self.start()

    def weigh(self) -> int:
        """Allocated bytes now."""
        total = 0
        for path in self.folder.rglob("*") if self.folder.exists() else ():
            try:
                total += path.stat().st_blocks * 512 if path.is_file() else 0
            except FileNotFoundError:
                pass
        return total

    def run(self) -> None:
        """Until it is told to stop."""
        while not self.over:
            self.most = max(self.most, self.weigh())
            time.sleep(0.02)


def origin(world: World, name: str, length: int, kind: str = "hybrid") -> content.Torrent:
    """A film of random bytes and its torrent."""
    path = content.write_random(world.folder / f"origin-{name}" / f"{name}.bin", length, world.seed + len(name))
    return content.make_torrent(path, world.folder / f"{name}.torrent", kind, PIECE)


def seed_of(world: World, torrent: content.Torrent, rate: int = 0) -> Libtorrent:
    """A libtorrent seed on a host of its own."""
    host = f"s-{torrent.path.stem}"
    return Libtorrent(world, host, torrent.path, torrent.data.parent, "--no-pex", "--up-limit", rate, seed=True).ready()


def watch(world: World, torrent: content.Torrent, *more: object, name: str = "watch", state: Path | None = None) -> tuple[Host, Shoal, str]:
    """A viewer, and the film's address."""
    us = world.host("viewer")
    argv = ("watch", torrent.path, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:{PORT}", *more, *QUIET)
    program = world.shoal(us, *argv, name=name, state=state or world.folder / "state")
    return us, program, program.expect("title", 20)["files"][0]["url"]


def pieces_of(us: Host, program: Shoal) -> set[int]:
    """What the viewer has."""
    title = program.expect("title")["infohash"]
    bits = bytes.fromhex(api_title(us, "127.0.0.1:8080", title)["pieces"])
    return {index for index in range(len(bits) * 8) if bits[index // 8] & (0x80 >> index % 8)}


def cache_of(us: Host) -> dict:
    """What it says of its cache."""
    return json.loads(request(us, "http://127.0.0.1:8080/api/v1/cache")[2])["cache"]


def check_pieces(world: World, us: Host, url: str, torrent: content.Torrent, pieces: set[int], what: str) -> None:
    """Every byte of these pieces as a player gets it."""
    truth = torrent.data.read_bytes()
    for piece in sorted(pieces):
        start, stop = piece * PIECE, min((piece + 1) * PIECE, len(truth))
        status, _, body = request(us, url, headers={"Range": f"bytes={start}-{stop - 1}"}, timeout=5)
        world.check(status == 206 and body == truth[start:stop], f"{what}: piece {piece} is not the film's (HTTP {status})")


@trial("cache.all-of-a-film-in-a-sixth-of-it", seconds=180, quick=True)
def small_cache(world: World) -> None:
    """A film of 96 MiB is read to its end within 16 MiB; a libtorrent peer hears each withdrawal and gets no wrong byte."""
    torrent = origin(world, "film", 96 * MIB)
    seed = seed_of(world, torrent)
    us, program, url = watch(world, torrent, "--cache-size", "16MiB", "--peer", seed.address)
    leech = Libtorrent(world, "leech", torrent.path, world.folder / "leech", "--no-pex", "--pieces", "--down-limit", 2_000_000, peers=[f"{us.ip}:{PORT}"])
    scale = Scale(world.folder / "state" / "films")
    player = Reader(us, url, 4_000_000, ahead=1.0)
    most_told = 0

    def over() -> bool:
        nonlocal most_told
        most_told = max([most_told, *(peer["has"] for peer in leech.status().get("peers", []) if peer["ip"].startswith(us.ip + ":"))])
        return player.over

    world.until(120, "the film is read", over, 0.1)
    world.check(not player.trouble, player.trouble)
    world.check(player.hash.hexdigest() == content.digest(torrent.data), "the player got other bytes than the film's")
    world.until(10, "the disk takes what it says", lambda: abs(cache_of(us)["used"] - scale.weigh()) <= 2 * MIB, 0.1)
    scale.over = True
    world.check(scale.most <= QUOTA + SLACK, f"{scale.most} bytes on the disk with a quota of {QUOTA}")
    state = cache_of(us)
    world.check(state["quota"] == QUOTA and state["used"] <= QUOTA + SLACK, f"it says {state}")
    # Who asked it in vain, or got zeros, would show here. News travels behind the blocks that were sent before it.
    def believed() -> set[int]:
        theirs = {index for peer in leech.status()["peers"] if peer["ip"].startswith(us.ip + ":") for index in peer["pieces"]}
        world.check(theirs, "libtorrent is not connected any more")
        return theirs

    world.until(5, "libtorrent has heard of every withdrawal", lambda: believed() <= pieces_of(us, program))
    end = leech.end()
    world.check(end["failed"] == 0, f"libtorrent got {end['failed']} wrong bytes")
    world.check(end["down"] > MIB, "libtorrent got nothing")
    evicted = api_title(us, "127.0.0.1:8080", program.expect("title")["infohash"])["statistics"]["evicted"]
    world.check(evicted >= 70 * MIB, f"only {evicted} bytes were given up")
    world.show(most_mib=round(scale.most / MIB, 1), evicted_mib=evicted // MIB, stalled_s=round(player.stalled(), 2), leech_mib=end["down"] // MIB, most_told=most_told)
    program.stop()


def recorded(state: Path) -> set[int]:
    """Pieces for which the record of a state folder vouches."""
    for path in state.rglob("*.record"):
        data = path.read_bytes()
        pieces, _ = struct.unpack_from("<II", data, 12)
        bits = data[20 : 20 + -(-pieces // 8)]
        return {index for index in range(pieces) if bits[index // 8] & (0x80 >> index % 8)}
    return set()


@trial("cache.killed-while-it-makes-room", seconds=600, quick=False)
def killed(world: World) -> None:
    """`kill -9` at random moments while pieces leave the disk: what the record vouched for is there, and no hole is given to a player."""
    torrent = origin(world, "film", 48 * MIB)
    seed = seed_of(world, torrent)
    lost = kept = 0
    for moment in range(world.count):
        state = world.folder / f"state-{moment}"
        us, program, url = watch(world, torrent, "--cache-size", "16MiB", "--peer", seed.address, name=f"watch-{moment}", state=state)
        player = Reader(us, url, 20_000_000, ahead=1.0)
        world.until(60, "room is made", lambda: cache_of(us)["used"] > QUOTA - MIB or player.over)
        time.sleep(world.random.uniform(0.0, 1.0))
        program.kill()
        vouched = recorded(state)
        us, again, url = watch(world, torrent, "--cache-size", "16MiB", name=f"watch-{moment}-again", state=state)
        have = pieces_of(us, again)
        lost += len(vouched - have)
        world.check(vouched <= have, f"moment {moment}: {len(vouched - have)} pieces were recorded and are gone")
        check_pieces(world, us, url, torrent, have, f"moment {moment}")
        kept += len(have)
        world.check(again.running(), f"moment {moment}: it ended by itself: {again.why()}")
        again.stop()
        shutil.rmtree(state)
    world.show(moments=world.count, pieces_checked=kept, lost=lost)


@trial("cache.films-make-room-for-each-other", seconds=120, quick=True)
def many(world: World) -> None:
    """The longest unused film makes room, from its end; what is left of it plays without anybody."""
    first, second = origin(world, "first", 12 * MIB), origin(world, "second", 12 * MIB)
    scale = Scale(world.folder / "state" / "films")
    for torrent in (first, second):
        seed = seed_of(world, torrent)
        us, program, _ = watch(world, torrent, "--cache-size", "16MiB", "--peer", seed.address, name=f"watch-{torrent.path.stem}")
        program.expect("complete", 60)
        world.until(10, "all of it is here", lambda: len(pieces_of(us, program)) == 192)
        program.stop()
    scale.over = True
    world.check(scale.most <= QUOTA + SLACK, f"{scale.most} bytes on the disk with a quota of {QUOTA}")
    world.check(scale.weigh() <= QUOTA + MIB, f"{scale.weigh()} bytes are left on the disk")
    us, again, url = watch(world, first, "--cache-size", "16MiB", name="watch-first-again")
    have = pieces_of(us, again)
    world.check(have == set(range(len(have))) and 32 <= len(have) <= 80, f"of the first film {len(have)} pieces are left: {sorted(have)[:5]}")
    check_pieces(world, us, url, first, have, "the first film")
    used = cache_of(us)["used"]
    world.check(used > 12 * MIB, f"the other film does not count: {used}")
    again.stop()
    world.show(most_mib=round(scale.most / MIB, 1), left_pieces=len(have))


@trial("cache.goes-on-and-jumps-without-network", seconds=90, quick=True)
def alone(world: World) -> None:
    """A film that is here plays and jumps when everybody is gone: in the same run, and in the next."""
    torrent = origin(world, "film", 12 * MIB)
    seed = seed_of(world, torrent)
    us, program, url = watch(world, torrent, "--peer", seed.address)
    reader = Reader(us, url, 4_000_000)
    program.expect("complete", 60)
    world.until(30, "it is read", lambda: reader.over)
    seed.kill()
    truth, slowest = torrent.data.read_bytes(), 0.0

    def jump(at: int) -> None:
        nonlocal slowest
        began = time.monotonic()
        status, _, body = request(us, url, headers={"Range": f"bytes={at}-{at + 99_999}"}, timeout=5)
        slowest = max(slowest, time.monotonic() - began)
        world.check(status == 206 and body == truth[at : at + 100_000], f"the bytes at {at} are not the film's")

    for at in (9 * MIB, MIB, 11 * MIB, 0, 5 * MIB + 77):
        jump(at)
    program.stop()
    us, program, url = watch(world, torrent, name="watch-again")
    for at in (10 * MIB, 0, 6 * MIB + 1):
        jump(at)
    world.check(slowest < 0.5, f"a jump took {slowest:.2f} s")
    program.stop()
    summary = program.last("summary")
    world.check(summary.get("received") == 0, f"it fetched {summary.get('received')} bytes again")
    world.show(slowest_jump_s=round(slowest, 3))


@trial("cache.a-half-seen-film-goes-on-where-it-stopped", seconds=90)
def resumed(world: World) -> None:
    """Killed in the middle and started again: what was fetched is there, the rest comes."""
    torrent = origin(world, "film", 12 * MIB)
    seed = seed_of(world, torrent, 1_500_000)
    us, program, url = watch(world, torrent, "--peer", seed.address)
    reader = Reader(us, url, 1_000_000)
    world.until(30, "a third of it is read", lambda: reader.taken > 4 * MIB)
    have = program.last("progress")["have"]
    program.signal(signal.SIGKILL)
    program.wait(10)
    us, program, url = watch(world, torrent, "--peer", seed.address, name="watch-again")
    position = reader.taken
    rest = Reader(us, url, 1_000_000, start=position)
    world.until(1.5, "the film goes on", lambda: rest.playing is not None, 0.01)
    world.until(60, "it is read", lambda: rest.over)
    truth = hashlib.sha256(torrent.data.read_bytes()[position:]).hexdigest()
    world.check(not rest.trouble and rest.hash.hexdigest() == truth, f"the rest is not the film's: {rest.trouble}")
    program.stop()
    received = program.last("summary")["received"]
    world.check(received <= 12 * MIB - have + 2 * MIB, f"{have} bytes were here, and {received} of {12 * MIB} came again")
    world.show(had_mib=round(have / MIB, 1), fetched_mib=round(received / MIB, 1))


@trial("cache.a-file-system-without-holes", seconds=120)
def no_holes(world: World) -> None:
    """Where the system cannot free parts of files it is said once, and the film plays on."""
    state = world.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "none", str(state)], check=True)
    torrent = origin(world, "film", 40 * MIB)
    seed = seed_of(world, torrent)
    us, program, url = watch(world, torrent, "--cache-size", "16MiB", "--peer", seed.address, state=state)
    reader = Reader(us, url, 8_000_000)
    world.until(60, "it is read", lambda: reader.over)
    world.check(not reader.trouble and reader.hash.hexdigest() == content.digest(torrent.data), f"the bytes are wrong: {reader.trouble}")
    said = [event["message"] for event in program.events("error")]
    world.check(len(said) == 1 and "cannot free parts of files" in said[0], f"it said {said}")
    program.stop()


@trial("cache.sizes-that-make-no-sense", seconds=30, quick=True)
def nonsense(world: World) -> None:
    """Each is one sentence that names what to do."""
    torrent = origin(world, "film", MIB)
    for size in ("0", "5KiB", "much", "-1", "12 parsecs"):
        found = subprocess.run([world.binary, "watch", torrent.path, f"--cache-size={size}", "--state", world.folder / "s"], capture_output=True, text=True)
        lines = [line for line in found.stderr.splitlines() if line.strip()]
        world.check(found.returncode == 2, f"{size}: exit status {found.returncode}")
        world.check("MiB" in found.stderr and len(lines) <= 4, f"{size}: {found.stderr}")
