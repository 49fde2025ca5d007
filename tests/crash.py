"""Crashes, full disks, vanished folders, changed files, taken ports, stepping clocks (must-show 7).

After `kill -9` at a random moment the oracle is ours: it compares what is on the disk with the source, block by block, and a
restarted `get` may fetch no more than what the oracle misses. Nothing else may be lost than what was verified within the last
moments: blocks of pieces that are not whole are written once a second. Everything else must end in one clear sentence, with
nothing lost that was saved.
"""

from __future__ import annotations

import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path

from kit import content
from kit.clients import Libtorrent
from kit.clock import Dial
from kit.player import Reader
from kit.program import Shoal
from kit.wire import Taker
from kit.world import World, trial

PORT = 6881
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
FILM_BYTES = 8 << 20
PIECE = 65536
SEED_RATE = 4_000_000
# Blocks that were on their way twice, or came for a piece whose hash came late: not what was verified.
SLACK = 4 * 16384


# A block is written a second after it was verified, at the latest, and the machine may be busy: what was told as here this long
# before a kill must be on the disk.
UNWRITTEN_SECONDS = 2.0
BLOCK = content.BLOCK


def origin_and_seed(world: World, kind: str, length: int = FILM_BYTES, rate: int = SEED_RATE, piece: int = PIECE):
    """Content, its torrent, and a libtorrent seed."""
    origin = content.write_random(world.folder / "origin" / "film.bin", length, world.seed)
    torrent = content.make_torrent(origin, world.folder / "t.torrent", kind, piece)
    seed = Libtorrent(world, "seed", torrent.path, origin.parent, "--up-limit", rate, seed=True).ready()
    return origin, torrent, seed


def stretches(state: Path) -> list[tuple[int, int]]:
    """First byte and length of what the journals of a state folder vouch for: entries of 36 bytes behind a head of 12."""
    found = []
    for path in state.rglob("*.journal"):
        data = path.read_bytes()
        if data[:8] == b"SHOALJRN":
            found += [struct.unpack_from("<QI", data, at) for at in range(12, len(data) - 35, 36)]
    return found


def missing_bytes(torrent: content.Torrent, path: Path, state: Path | None = None) -> int:
    """Bytes that must be fetched again: all but whole pieces on the disk, and stretches of others that the state folder knows."""
    truth, data = torrent.data.read_bytes(), path.read_bytes() if path.exists() else b""
    spans = [(at, torrent.piece_length) for at in range(0, len(truth), torrent.piece_length)]
    held: set[int] = set()
    for first, length in spans + (stretches(state) if state else []):
        if data[first : first + length] == truth[first : first + length]:
            held.update(range(first // BLOCK, -(-min(first + length, len(truth)) // BLOCK)))
    return sum(min(BLOCK, len(truth) - block * BLOCK) for block in range(-(-len(truth) // BLOCK)) if block not in held)


def told_as_here(program: Shoal, seconds: float) -> int:
    """Bytes that a program which was killed just now had told as here so long ago."""
    events = program.events("progress")
    now = (time.monotonic() - program.started) * 1000
    return max((event["have"] for event in events if event["t_ms"] < now - seconds * 1000), default=0)


def flip_bytes(world: World, path: Path) -> None:
    """Damages a file in 20 places, as a torn write would."""
    length = path.stat().st_size
    with open(path, "r+b") as stream:
        for _ in range(20):
            at = world.random.randrange(length)
            stream.seek(at)
            old = stream.read(1) or b"\0"
            stream.seek(at)
            stream.write(bytes([old[0] ^ 0x55]))


def get_killed(kind: str, damaged: bool = False, piece: int = PIECE, rate: int = SEED_RATE, longest: float = 2.2, magnet: bool = False):
    """`get` is killed, the disk judged, `get` started again."""

    def run(world: World) -> None:
        origin, torrent, seed = origin_and_seed(world, kind, rate=rate, piece=piece)
        us = world.host("us")
        worst = again = partial = 0
        for moment in range(world.count):
            out, state = world.folder / f"out-{moment}", world.folder / f"state-{moment}"
            link = torrent.magnet(seed.address) if magnet else torrent.path
            argv = ("get", link, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
            first = world.shoal(us, *argv, name=f"get-{moment}", state=state)
            time.sleep(world.random.uniform(0.02, longest))
            first.kill()
            told = told_as_here(first, UNWRITTEN_SECONDS)
            path = out / origin.name
            held = FILM_BYTES - missing_bytes(torrent, path, state)
            partial = max(partial, held - (FILM_BYTES - missing_bytes(torrent, path)))
            world.check(held >= told, f"moment {moment}: {told} bytes were told as here {UNWRITTEN_SECONDS:g} s before, {held} are on the disk")
            if damaged and path.exists() and path.stat().st_size:
                flip_bytes(world, path)
            missing = missing_bytes(torrent, path, state)
            second = world.shoal(us, *argv, name=f"get-{moment}-again", state=state)
            summary = second.done(30)
            extra = summary["received"] - missing
            worst, again = max(worst, extra), again + 1
            world.check(
                extra <= SLACK,
                f"moment {moment}: {missing} bytes were missing on the disk, {summary['received']} were fetched ({extra} too many)",
            )
            world.check(content.digest(path) == content.digest(origin), f"moment {moment}: the result differs")
            for part in (out, state):
                shutil.rmtree(part)
        world.show(moments=again, worst_extra=worst, in_parts=f"{partial >> 10}KiB")

    return run


for _kind in ("v1", "hybrid"):
    trial(f"crash.get-killed-{_kind}", seconds=600, quick=_kind == "hybrid", tools=("libtorrent",))(get_killed(_kind))
trial("crash.get-killed-and-disk-damaged", seconds=600, quick=True, tools=("libtorrent",))(get_killed("v1", damaged=True))
# Few pieces, many blocks: most of what is here at any moment lies in pieces that are not whole.
for _name, _kind, _magnet in (("v1", "v1", False), ("hybrid", "hybrid", False), ("v2", "v2", False), ("magnet", "hybrid", True), ("v2-magnet", "v2", True)):
    trial(f"crash.get-killed-in-big-pieces-{_name}", seconds=900, quick=_name == "v2", tools=("libtorrent",))(
        get_killed(_kind, piece=1 << 20, rate=2_000_000, longest=4.0, magnet=_magnet)
    )


@trial("crash.publish-killed", seconds=400, quick=True, tools=("libtorrent",))
def publish_killed(world: World) -> None:
    """`publish` is killed again and again under a leech: same title each time, no bad byte, an exact end."""
    origin = content.write_random(world.folder / "origin" / "film.bin", FILM_BYTES, world.seed)
    us, path, title, leech = world.host("us"), world.folder / "t.torrent", None, None
    argv = ("publish", origin, "--torrent", path, "--listen", f"{us.ip}:{PORT}", "--up-limit", "1MiB", *QUIET)
    for moment in range(world.count):
        giver = world.shoal(us, *argv, name=f"publish-{moment}")
        time.sleep(world.random.uniform(0.01, 0.9))
        giver.kill()
        said = giver.last("published")
        if said:
            world.check(title in (None, said["infohash_v1"]), f"moment {moment}: the title changed its hash")
            title = said["infohash_v1"]
        if path.exists():
            found = content.read_torrent(path, origin)
            title = title or found.v1
            world.check(found.v1 == title, f"moment {moment}: the torrent file changed")
            leech = leech or Libtorrent(world, "leech", path, world.folder / "leech", peers=[f"{us.ip}:{PORT}"])
    world.check(title, "it never published within any of its lives")
    giver = world.shoal(us, *argv, name="publish-last")
    world.check(giver.expect("published")["infohash_v1"] == title, "the last life published another title")
    leech.complete(60)
    world.check(leech.status()["failed"] == 0, f"{leech.status()['failed']} bytes failed the leech's hash check")
    world.check(content.digest(world.folder / "leech" / origin.name) == content.digest(origin), "the leech's bytes differ")
    world.show(moments=world.count)


@trial("crash.watch-killed-plays-only-what-is-good", seconds=90, quick=True, tools=("libtorrent",))
def watch_killed(world: World) -> None:
    """`watch` is killed, its file damaged; started again it plays the exact bytes."""
    origin, torrent, seed = origin_and_seed(world, "v1", rate=2_000_000)
    us, out = world.host("us"), world.folder / "out"
    argv = ("watch", torrent.path, "-o", out, "--http", "127.0.0.1:8080", "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
    first = world.shoal(us, *argv, name="watch-1")
    first.expect("title")
    world.until(20, "half of it", lambda: first.last("progress").get("have", 0) > FILM_BYTES // 3)
    first.kill()
    held = [path for path in out.rglob("*") if path.is_file() and path.stat().st_size >= FILM_BYTES // 3]
    world.check(held, "nothing of the film is in the folder")
    flip_bytes(world, held[0])
    second = world.shoal(us, *argv, name="watch-2")
    url = second.expect("title")["files"][0]["url"]
    player = Reader(us, url, 4_000_000)
    world.until(40, "played", lambda: player.over, 0.1)
    world.check(player.hash.hexdigest() == content.digest(origin), f"the played bytes differ: {player.trouble}")


@trial("crash.damaged-state", seconds=60, quick=True, tools=("libtorrent",))
def damaged_state(world: World) -> None:
    """Garbage in the state folder costs a hash of the files, not their download, and never a panic."""
    origin, torrent, seed = origin_and_seed(world, "hybrid")
    us, out, state = world.host("us"), world.folder / "out", world.folder / "state"
    argv = ("get", torrent.path, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
    first = world.shoal(us, *argv, state=state)
    world.until(20, "half of it", lambda: first.last("progress").get("have", 0) > FILM_BYTES // 3)
    first.stop()
    for path in state.rglob("*"):
        if path.is_file() and path.stat().st_size and "lock" not in path.name and "version" not in path.name:
            path.write_bytes(world.random.randbytes(path.stat().st_size))
    missing = missing_bytes(torrent, out / origin.name)
    summary = world.shoal(us, *argv, name="again", state=state).done(30)
    world.check(summary["received"] <= missing + SLACK, f"{missing} were missing, {summary['received']} were fetched")
    world.check(content.digest(out / origin.name) == content.digest(origin), "the result differs")


def mount(world: World, name: str, mebibytes: int) -> Path:
    """A small file system of its own."""
    place = world.folder / name
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "none", str(place)], check=True)
    return place


@trial("crash.disk-full", seconds=90, quick=True, tools=("libtorrent",))
def disk_full(world: World) -> None:
    """A disk that fills up: a sentence that says so; with room again it goes on from there."""
    origin, torrent, seed = origin_and_seed(world, "v1", 16 << 20, 8_000_000)
    us, out = world.host("us"), mount(world, "small", 6)
    argv = ("get", torrent.path, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
    first = world.shoal(us, *argv)
    world.until(20, "a sentence about the disk", lambda: any(word in first.words().lower() for word in ("space", "full", "room")) or not first.running())
    words = first.words().lower()
    world.check("space" in words or "full" in words or "room" in words, f"no clear sentence: {first.why()}")
    world.check("os error" not in words or "space" in words, f"not a sentence for a person: {first.why()}")
    if first.running():
        status = first.stop()
        world.check(status in (1, 130), f"ended with {status}")
    else:
        world.check(first.process.returncode == 1, f"ended with {first.process.returncode}")
    missing = missing_bytes(torrent, out / origin.name)
    subprocess.run(["mount", "-o", "remount,size=64m", str(out)], check=True)
    summary = world.shoal(us, *argv, name="again").done(30)
    world.check(summary["received"] <= missing + SLACK, f"{missing} were missing, {summary['received']} were fetched")
    world.check(content.digest(out / origin.name) == content.digest(origin), "the result differs")
    world.show(saved=f"{((16 << 20) - missing) >> 10}KiB")


@trial("crash.disk-full-of-state", seconds=60, tools=("libtorrent",))
def state_full(world: World) -> None:
    """No room for the state folder: a clear sentence, or the download goes on without it; never a panic."""
    origin, torrent, seed = origin_and_seed(world, "v1")
    us, state = world.host("us"), mount(world, "state", 1)
    (state / "ballast").write_bytes(bytes((1 << 20) - 8192))
    getter = world.shoal(us, "get", torrent.path, "-o", world.folder / "out", "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET, state=state)
    status = getter.wait(40)
    if status == 0:
        world.check(content.digest(world.folder / "out" / origin.name) == content.digest(origin), "the result differs")
    else:
        world.check(status == 1 and getter.words().strip(), f"status {status}: {getter.why()}")


@trial("crash.folder-removed", seconds=60, quick=True, tools=("libtorrent",))
def folder_removed(world: World) -> None:
    """The download's folder is removed under it: one clear sentence that names it, status 1, or it starts over and is exact."""
    origin, torrent, seed = origin_and_seed(world, "v1", rate=1_000_000)
    us, out = world.host("us"), world.folder / "out"
    getter = world.shoal(us, "get", torrent.path, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
    world.until(20, "some of it", lambda: getter.last("progress").get("have", 0) > 1 << 20)
    shutil.rmtree(out)
    status = getter.wait(45)
    if status == 0:
        world.check((out / origin.name).exists(), "it says done, and there is no file")
        world.check(content.digest(out / origin.name) == content.digest(origin), "it says done, and the bytes differ")
    else:
        world.check(status == 1, f"ended with {status}: {getter.why()}")
        world.check(str(out) in getter.words() or origin.name in getter.words(), f"the sentence names no file: {getter.why()}")


@trial("crash.file-removed-under-a-seed", seconds=60, tools=("libtorrent",))
def file_removed(world: World) -> None:
    """The file of a seed is removed: a clear sentence; the leech gets no bad byte."""
    origin, us, path = content.write_random(world.folder / "origin" / "film.bin", FILM_BYTES, world.seed), world.host("us"), world.folder / "t.torrent"
    content.make_torrent(origin, path, "v1", PIECE)
    giver = world.shoal(us, "seed", path, "--data", origin.parent, "--listen", f"{us.ip}:{PORT}", "--up-limit", "1MiB", *QUIET)
    giver.expect("listening")
    leech = Libtorrent(world, "leech", path, world.folder / "leech", peers=[f"{us.ip}:{PORT}"])
    world.until(20, "some of it", lambda: leech.status().get("done", 0) > 1 << 20)
    origin.unlink()
    world.until(25, "a sentence that names the file", lambda: origin.name in giver.words())
    world.check(leech.status()["failed"] == 0, f"{leech.status()['failed']} bad bytes were sent")


def overwrite_at_once(path: Path, data: bytes) -> None:
    """In one system call."""
    with open(path, "r+b", buffering=0) as stream:
        stream.write(data)


def overwrite_slowly(path: Path, data: bytes) -> None:
    """From the end, block by block, as somebody does who takes his time: the seed reads while he writes."""
    with open(path, "r+b", buffering=0) as stream:
        for at in range(len(data) - BLOCK, -1, -BLOCK):
            stream.seek(at)
            stream.write(data[at : at + BLOCK])
            time.sleep(0.002)


def overwrite_in_memory(path: Path, data: bytes) -> None:
    """Through a mapping: no system call tells of the bytes."""
    with open(path, "r+b") as stream, mmap.mmap(stream.fileno(), len(data)) as window:
        window[:] = data


def overwrite_unseen(path: Path, data: bytes) -> None:
    """At once, and sets its times back, as a copy that keeps times does."""
    looked = path.stat()
    overwrite_at_once(path, data)
    os.utime(path, ns=(looked.st_atime_ns, looked.st_mtime_ns))


# Blocks that were read before the change and stand in the queue to one leech: a fifth of a second of its share of the uplink, or
# 64 KiB while its rate is not known, and what the two sockets hold. 16 to 80 KiB were seen.
READ_BEFORE = 128 << 10


def file_changed(kind: str, overwrite):
    """A file is overwritten in place under a seed that serves libtorrent, Shoal and a leech that checks no hash.

    The seed looks at the file after each read of it, so not one changed byte leaves it: who gets a block gets it as it was. What
    was read before may still be on its way, no more than `READ_BEFORE` for each leech. Then a sentence names the file.
    """

    def run(world: World) -> None:
        origin = content.write_random(world.folder / "origin" / "film.bin", FILM_BYTES, world.seed)
        us, path, truth = world.host("us"), world.folder / "t.torrent", origin.read_bytes()
        content.make_torrent(origin, path, kind, PIECE)
        torrent = content.read_torrent(path, Path(shutil.copy(origin, world.folder / "as-it-was.bin")))
        giver = world.shoal(us, "seed", path, "--data", origin.parent, "--listen", f"{us.ip}:{PORT}", "--up-limit", "1MiB", *QUIET)
        giver.expect("listening")
        target = f"{us.ip}:{PORT}"
        leech = Libtorrent(world, "leech", path, world.folder / "leech", "--no-pex", peers=[target])
        viewer, taker = world.host("viewer"), Taker(world.host("taker"), torrent, target=target)
        getter = world.shoal(viewer, "get", path, "-o", world.folder / "out", "--listen", f"{viewer.ip}:0", "--peer", target, "--no-pex", *QUIET)

        def kept() -> list[int]:
            return [leech.status().get("done", 0), getter.last("progress").get("have", 0), sum(len(data) for _, _, data in taker.blocks)]

        world.until(20, "each leech has some of it", lambda: min(kept()) > 512 << 10)
        before, changed = kept(), time.monotonic()
        world.check(max(before) < FILM_BYTES // 2, f"too much was sent before the change: {before}")
        overwrite(origin, world.random.randbytes(FILM_BYTES))
        world.until(30, "a sentence that names the file", lambda: origin.name in giver.words())
        told = time.monotonic() - changed
        time.sleep(1)
        bad = sum(data != truth[at : at + len(data)] for _, at, data in taker.blocks)
        after = sum(len(data) for when, _, data in taker.blocks if when > changed)
        getter.stop()
        wasted = getter.last("summary")["wasted"]
        world.show(told=f"{told:.2f}s", blocks=len(taker.blocks), bad=bad, after=f"{after >> 10}KiB", failed=leech.status()["failed"], wasted=wasted)
        world.check(bad == 0, f"{bad} of {len(taker.blocks)} blocks were sent with other bytes")
        world.check(leech.status()["failed"] == 0, f"{leech.status()['failed']} bytes failed libtorrent's hash check")
        world.check(wasted == 0 and target not in getter.words(), f"a leech of ours blames the seed for {wasted} bytes: {getter.words()}")
        world.check(after <= READ_BEFORE, f"{after} bytes came after the change")
        held = FILM_BYTES - missing_bytes(torrent, world.folder / "out" / origin.name, world.folder / "state-viewer")
        world.check(held >= getter.last("progress")["have"], f"our leech tells of {getter.last('progress')['have']} bytes, {held} are good")
        again = world.shoal(us, "seed", path, "--data", origin.parent, "--listen", f"{us.ip}:0", *QUIET, name="again", state=world.folder / "fresh")
        time.sleep(3)
        world.check(not again.running() or again.last("progress").get("have", 0) == 0, "a fresh seed trusts the changed file")

    return run


for _kind, _how, _overwrite in (
    ("v1", "at-once", overwrite_at_once), ("v1", "slowly", overwrite_slowly), ("v1", "in-memory", overwrite_in_memory), ("v1", "unseen", overwrite_unseen),
    ("v2", "at-once", overwrite_at_once), ("v2", "unseen", overwrite_unseen),
):
    trial(f"crash.file-changed-{_how}-under-a-seed-{_kind}", seconds=80, quick=_how == "at-once" and _kind == "v1", tools=("libtorrent",))(
        file_changed(_kind, _overwrite)
    )


@trial("crash.port-taken", seconds=40, quick=True)
def port_taken(world: World) -> None:
    """A taken port, of peers or of HTTP: status 1 and a sentence that names the port."""
    origin, us = content.write_random(world.folder / "origin" / "film.bin", 1 << 20, world.seed), world.host("us")
    with us.entered():
        held = socket.socket()
    held.bind((us.ip, 7777))
    held.listen()
    for number, flags in enumerate((("--listen", f"{us.ip}:7777"), ("--listen", f"{us.ip}:0", "--http", f"{us.ip}:7777"))):
        giver = world.shoal(us, "publish", origin, *flags, *QUIET, name=f"publish-{number}", state=world.folder / f"state-{number}")
        status = giver.wait(15)
        world.check(status == 1, f"{flags}: ended with {status}")
        world.check("7777" in giver.words(), f"{flags}: the sentence does not name the port: {giver.why()}")
    for number, flags in enumerate((("--http", f"{us.ip}:7777", "--udp", "off"), ("--http", "off", "--udp", f"{us.ip}:7777"))):
        with us.entered():
            packets = socket.socket(type=socket.SOCK_DGRAM)
        packets.bind((us.ip, 7777))
        status = (server := world.shoal(us, "directory", *flags, name=f"directory-{number}", state=world.folder / f"dir-{number}")).wait(15)
        world.check(status == 1 and "7777" in server.words(), f"directory {flags}: status {status}: {server.why()}")
        packets.close()
    held.close()


@trial("crash.unreadable-and-unwritable-folders", seconds=40)
def unwritable(world: World) -> None:
    """A folder on a read-only file system: status 1 and a sentence that names it."""
    origin, us = content.write_random(world.folder / "origin" / "film.bin", 1 << 20, world.seed), world.host("us")
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "v1", PIECE)
    place = mount(world, "locked", 1)
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
    getter = world.shoal(us, "get", torrent.path, "-o", place / "films", "--listen", f"{us.ip}:0", *QUIET)
    world.check(getter.wait(15) == 1, "it did not fail")
    world.check(str(place) in getter.words(), f"the sentence does not name the folder: {getter.why()}")
    getter = world.shoal(us, "get", torrent.path, "-o", world.folder / "out", "--listen", f"{us.ip}:0", *QUIET, name="state", state=place)
    world.check(getter.wait(15) == 1, "it did not fail without a state folder")
    world.check(str(place) in getter.words(), f"the sentence does not name the state folder: {getter.why()}")
    missing = world.shoal(us, "publish", world.folder / "no-such-film.mp4", *QUIET, name="missing")
    world.check(missing.wait(15) == 1 and "no-such-film.mp4" in missing.words(), f"a missing film: {missing.why()}")


YEAR = 31_536_000


@trial("crash.clock-stepped", seconds=90, quick=True, tools=("libtorrent", "faketime"))
def clock_stepped(world: World) -> None:
    """The wall clock is set a year on, a day back, to 1973 and beyond 2100, during a download and between its runs. It goes on
    without a pause; after `kill -9` and after Ctrl-C nothing is fetched twice, whatever year it was. A file that another program
    changed while the clock was set back looks older than what was recorded of it: it is not believed."""
    origin, torrent, seed = origin_and_seed(world, "hybrid", rate=350_000)
    us, out, recordings = world.host("us"), world.folder / "out", [world.folder / f"record-{run}" for run in range(3)]
    dial, path = Dial(world, us), out / origin.name

    def start(run: int) -> Shoal:
        getter = world.shoal(
            us, "get", torrent.path, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, "--record", recordings[run], *QUIET,
            name=f"get-{run}", env=dial.env,
        )
        getter.expect("listening")
        return getter

    first = start(0)
    dial.step(+YEAR, first, recordings[0])
    dial.step(-86_400, first, recordings[0])
    first.kill()
    missing = [missing_bytes(torrent, path, world.folder / "state-us")]
    dial.set(-1_700_000_000)
    second = start(1)
    dial.step(+3_000_000_000, second, recordings[1])
    world.check(second.stop() == 130, f"Ctrl-C: {second.why()}")
    # Only now, so that what the second run fetched is compared with what the first one left.
    before = missing_bytes(torrent, path, world.folder / "state-us")
    fetched = [second.last("summary")["received"]]
    # Blocks of a piece whose hash was still to come when it was told to end are not kept.
    world.check(fetched[0] <= missing[0] - before + SLACK, f"{missing[0]} bytes were missing, {before} still are, {fetched[0]} were fetched")
    # Another program writes while the clock stands a day back.
    looked = path.stat()
    flip_bytes(world, path)
    os.utime(path, ns=(looked.st_atime_ns, looked.st_mtime_ns - 86_400 * 10**9))
    missing.append(missing_bytes(torrent, path, world.folder / "state-us"))
    world.check(missing[1] > before, "no whole piece was damaged: the trial shows nothing")
    dial.set(0)
    third = start(2)
    fetched.append(third.done(60)["received"])
    world.check(fetched[1] <= missing[1], f"{missing[1]} bytes were missing, {fetched[1]} were fetched")
    world.check(content.digest(path) == content.digest(origin), "the result differs")
    pause = max(run.longest_pause() for run in (first, second, third))
    world.show(pause=f"{pause:.1f}s", extra=fetched[1] - missing[1], damaged=f"{(missing[1] - before) >> 10}KiB")
    world.check(pause < 3, f"a download stood still for {pause:.1f} s")
    for run in (first, second, third):
        times = [event["t_ms"] for event in run.events()]
        world.check(times == sorted(times) and times[-1] < 60_000, f"t_ms of {run.name} follows the wall clock: {times[:3]}..{times[-3:]}")


@trial("crash.interrupted-get-saves-and-says-130", seconds=40, quick=True, tools=("libtorrent",))
def interrupted(world: World) -> None:
    """Ctrl-C and SIGTERM end `get` within 3 s with status 130 (or 143), and what came is kept."""
    origin, torrent, seed = origin_and_seed(world, "hybrid", rate=2_000_000)
    us = world.host("us")
    for number, sign in enumerate((signal.SIGINT, signal.SIGTERM)):
        out = world.folder / f"out-{number}"
        argv = ("get", torrent.path, "-o", out, "--listen", f"{us.ip}:0", "--peer", seed.address, *QUIET)
        first = world.shoal(us, *argv, name=f"first-{number}", state=world.folder / f"state-{number}")
        world.until(15, "some of it", lambda: first.last("progress").get("have", 0) > 1 << 20)
        began = time.monotonic()
        first.signal(sign)
        status = first.wait(5)
        world.check(status in (130, 143), f"{sign.name} ended it with {status}")
        world.check(time.monotonic() - began < 3.5, "it took its time to end")
        world.check(first.last("summary"), "no summary at the end")
        missing = missing_bytes(torrent, out / origin.name)
        world.check(missing < FILM_BYTES, "nothing was kept")
        second = world.shoal(us, *argv, name=f"second-{number}", state=world.folder / f"state-{number}").done(20)
        world.check(second["received"] <= missing + SLACK, f"{missing} were missing, {second['received']} were fetched")
