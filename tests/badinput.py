"""Bad input: torrents, magnets, ranges, hosts, datagrams (must-show 9).

A clear error or a safe name, never a panic, never a write outside the folder.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
import stat
import struct
import subprocess
import time
from pathlib import Path

import lifecycle
from kit import bencode, content
from kit.player import connect, raw, request
from kit.wire import ForeignPeer
from kit.world import World, trial

QUIET = ("--no-dht", "--no-lsd", "--no-upnp")
PIECE = 16384


def torrent_of(world: World, name: str, info: dict, total: int) -> tuple[content.Torrent, Path]:
    """Writes a torrent around an info dictionary of any kind."""
    span = bencode.encode(info)
    path = world.folder / f"{name}.torrent"
    if "pieces" in info:
        path.write_bytes(b"d4:info" + span + b"e")
        return content.Torrent(path, world.folder / "none", hashlib.sha1(span).hexdigest(), "", PIECE, total), path
    path.write_bytes(b"d4:info" + span + b"12:piece layersdee")
    return content.Torrent(path, world.folder / "none", "", hashlib.sha256(span).hexdigest(), PIECE, total), path


def hashes_of(data: bytes) -> bytes:
    """v1 piece hashes."""
    return b"".join(hashlib.sha1(data[at : at + PIECE]).digest() for at in range(0, len(data), PIECE))


def single(name: object, data: bytes) -> dict:
    """A v1 info dictionary of one file."""
    return {"length": len(data), "name": name, "piece length": PIECE, "pieces": hashes_of(data)}


def many(root: object, paths: list, size: int, data: bytes, **more: object) -> dict:
    """A v1 info dictionary of several files of equal size."""
    return {"files": [{"length": size, "path": path, **more} for path in paths], "name": root, "piece length": PIECE, "pieces": hashes_of(data)}


def everything(base: Path) -> dict[Path, int | str]:
    """What lies under a folder, however deep: the size of a file, `folder`, or `link`. Works beyond PATH_MAX."""
    found: dict[Path, int | str] = {}
    for folder, folders, files, handle in os.fwalk(base) if base.exists() else ():
        for name in folders + files:
            entry = os.stat(name, dir_fd=handle, follow_symlinks=False)
            kind = "link" if stat.S_ISLNK(entry.st_mode) else "folder" if stat.S_ISDIR(entry.st_mode) else entry.st_size
            found[Path(folder, name)] = kind
    return found


# Where the absolute names below point to.
ROOTED = (Path("/evil"), Path("/evil-absolute"))


def outside(world: World) -> set[str]:
    """Every path that a download has no business with: of the trial's folder, and those that hostile names point to."""
    own = ("out-", "state-", "log", "harness.txt")
    return {str(path) for path in ROOTED if path.exists()} | {
        str(path) for top in world.folder.iterdir() if not top.name.startswith(own) and top.suffix != ".torrent" for path in [top, *top.rglob("*")]
    }


SINGLE_NAMES = {
    "parent": b"..", "self": b".", "empty": b"", "absolute": b"/evil-absolute", "slash": b"a/b", "climb": b"../../evil", "backslash": b"..\\..\\evil",
    "drive": b"C:\\evil", "stream": b"evil:stream", "device": b"CON", "device-with-end": b"nul.txt", "nul-byte": b"a\0b", "long": b"x" * 300,
    "very-long": b"y" * 100_000, "not-utf8": b"\xff\xfe\x80", "dot-end": b"evil.", "space-end": b"evil ", "control": b"a\nb\rc\x1b[2Jd", "bidi": "evil\u202egpj".encode(),
    "dash": b"-rf", "home": b"~", "long-utf8": "\u6f22".encode() * 90, "dots": b"...", "overlong-slash": b"..\xc0\xaf..\xc0\xafevil",
}

MANY_PATHS = {
    "parent": [[b"..", b"evil"], [b"ok"]], "climb": [[b"..", b"..", b"..", b"evil"], [b"ok"]], "absolute": [[b"/evil"], [b"ok"]],
    "inner-slash": [[b"a/../../../evil"], [b"ok"]], "empty-part": [[b"a", b"", b"b"], [b"ok"]], "no-parts": [[], [b"ok"]], "same": [[b"a"], [b"a"]],
    "same-but-case": [[b"Film"], [b"fILM"]], "file-and-folder": [[b"a"], [b"a", b"b"]], "folder-and-file": [[b"a", b"b"], [b"a"]],
    "composed-and-decomposed": [["\u00e9".encode()], ["e\u0301".encode()]], "deep": [[b"d"] * 3000, [b"ok"]], "long-parts": [[b"p" * 250] * 40, [b"ok"]],
    "self": [[b".", b"a"], [b"a"]], "sanitised-twins": [[b"a:b"], [b"a?b"]], "device": [[b"aux", b"com1.mp4"], [b"ok"]],
}


def fetch_hostile_name(world: World, label: str, info: dict, data: bytes, space: bytes | None = None) -> None:
    """`get` ends well with all bytes somewhere inside its folder, or with a sentence; nothing appears outside.

    `space` is the content in piece space where that differs from the files one after the other.
    """
    torrent, path = torrent_of(world, label, info, len(space or data))
    peer = ForeignPeer(world.host("peer"), torrent, port=2000 + len(world.programs), data=space or data)
    before = outside(world)
    base = world.folder / f"out-{label}"
    out = base / "in" / "side"
    getter = world.shoal(
        "us", "get", path, "-o", out, "--listen", "0.0.0.0:0", "--peer", peer.address, *QUIET, name=f"get-{label}"[:60], state=world.folder / f"state-{label}"
    )
    status = getter.wait(20)
    peer.stop()
    world.check(outside(world) == before, f"{label}: written outside: {sorted(outside(world) ^ before)[:3]}")
    found = everything(base)
    stray = [str(one.relative_to(base)) for one in found if not one.is_relative_to(out) and one not in (out.parent, out)]
    world.check(not stray, f"{label}: written outside the folder: {stray[:3]}")
    links = [one for one, kind in found.items() if kind == "link"]
    world.check(not links, f"{label}: made a symbolic link {links[:1]}")
    world.check("panicked" not in getter.stderr(), f"{label}: {getter.why()}")
    if status == 0:
        held = sum(kind for kind in found.values() if isinstance(kind, int))
        world.check(held == len(data), f"{label}: says done, and holds {held} of {len(data)} bytes: {[str(one)[-80:] for one in found][:4]}")
    else:
        world.check(status == 1 and getter.words().strip(), f"{label}: ended with {status}: {getter.why()}")
        world.check(not any(ord(char) < 32 and char not in "\n\t" for char in getter.words()), f"{label}: control characters reach the terminal")


@trial("badinput.names-of-one-file", seconds=200, quick=True)
def names_single(world: World) -> None:
    """One file with every kind of evil name."""
    data = content.write_random(world.folder / "data.bin", 40_000, world.seed).read_bytes()
    for label, name in SINGLE_NAMES.items():
        fetch_hostile_name(world, f"one-{label}", single(name, data), data)
    world.show(names=len(SINGLE_NAMES))


@trial("badinput.names-in-folders", seconds=200, quick=True)
def names_many(world: World) -> None:
    """Two files with evil and colliding paths, evil root names, and a symbolic link by attribute (BEP 47)."""
    data = content.write_random(world.folder / "data.bin", 40_000, world.seed).read_bytes()
    for label, paths in MANY_PATHS.items():
        fetch_hostile_name(world, f"many-{label}", many("root", paths, 20_000, data), data)
    for label in ("parent", "absolute", "climb", "empty", "nul-byte"):
        fetch_hostile_name(world, f"root-{label}", many(SINGLE_NAMES[label], [[b"a"], [b"b"]], 20_000, data), data)
    info = many("root", [[b"a"], [b"b"]], 20_000, data)
    info["files"].insert(0, {"length": 0, "path": [b"link"], "attr": b"l", "symlink path": [b"..", b"..", b"..", b"etc"]})
    info["files"].append({"length": 0, "path": [b"link", b"passwd-evil"]})
    fetch_hostile_name(world, "symlink", info, data)


def v2_info(tree: dict, **more: object) -> dict:
    """A v2 info dictionary."""
    return {"file tree": tree, "meta version": 2, "name": "v2", "piece length": PIECE, **more}


@trial("badinput.names-in-v2-trees", seconds=120)
def names_v2(world: World) -> None:
    """Two files of one block each, in a v2 tree with evil names; the peer that serves them is honest."""
    names = {label: name for label, name in SINGLE_NAMES.items() if name}
    for label, name in names.items():
        blocks = {name: world.random.randbytes(9_000), b"ok": world.random.randbytes(PIECE)}
        tree = {key: {"": {"length": len(block), "pieces root": hashlib.sha256(block).digest()}} for key, block in blocks.items()}
        for kind, root in (("file", tree), ("folder", {name: {b"in": tree[name], b"ok": tree[b"ok"]}})):
            ordered = [blocks[key] for key in sorted(blocks)] if kind == "file" else [blocks[name], blocks[b"ok"]]
            space = b"".join(block.ljust(PIECE, b"\0") for block in ordered)
            fetch_hostile_name(world, f"v2-{kind}-{label}", v2_info(root), b"".join(blocks.values()), space)
    world.show(names=2 * len(names))


def bad_torrents() -> dict[str, bytes]:
    """Files that are no torrents, or torrents that cannot be."""
    data = bytes(range(256)) * 128
    good = single("good", data)
    root = hashlib.sha256(b"x").digest()

    def change(**fields: object) -> bytes:
        info = {**good, **fields}
        return bencode.encode({"info": {key: value for key, value in info.items() if value is not None}})

    leaf = {"": {"length": 1, "pieces root": root}}
    deep: dict = leaf
    for _ in range(300):
        deep = {"d": deep}
    return {
        "empty": b"", "text": b"hello", "html": b"<html><body>404</body></html>", "half": b"d4:info", "empty-dictionary": b"de", "integer": b"i0e",
        "lists": b"l" * 100_000 + b"e" * 100_000, "lists-open": b"l" * 1_000_000, "dictionaries": b"d1:a" * 100_000 + b"i1e" + b"e" * 100_000,
        "deep-in-info": b"d4:infod5:extra" + b"l" * 100_000 + b"e" * 100_000 + b"ee", "string-too-long": b"d4:info99999999999999999999:x", "string-4g": b"4294967296:x",
        "negative-string": b"-1:x", "leading-zero": b"d4:infod6:lengthi007eee", "minus-zero": b"d4:infod6:lengthi-0eee", "huge-integer": b"d4:infod6:lengthi" + b"9" * 5000 + b"eee",
        "doubled-keys": b"d4:infod4:name1:a4:name1:bee", "unsorted-keys": b"d4:infod4:name1:a6:lengthi1eee", "trailing": change() + b"trailing",
        "info-list": bencode.encode({"info": []}), "info-string": bencode.encode({"info": "x"}), "no-name": change(name=None), "no-pieces": change(pieces=None),
        "no-piece-length": change(**{"piece length": None}), "pieces-odd": change(pieces=b"x" * 21), "pieces-none": change(pieces=b""), "pieces-many": change(pieces=good["pieces"] * 50),
        "piece-length-0": change(**{"piece length": 0}), "piece-length-negative": change(**{"piece length": -16384}), "piece-length-huge": change(**{"piece length": 1 << 62}),
        "piece-length-1": change(**{"piece length": 1}), "length-negative": change(length=-1), "length-huge": change(length=(1 << 63) - 1), "length-too-huge": change(length=1 << 64),
        "length-string": change(length="5"), "zero-length": change(length=0, pieces=b""), "both": change(files=[{"length": 1, "path": ["a"]}]), "files-none": change(length=None, files=[]),
        "files-overflow": change(length=None, files=[{"length": (1 << 63) - 1, "path": ["a"]}, {"length": (1 << 63) - 1, "path": ["b"]}]),
        "files-odd": change(length=None, files=["a", 5, {}]), "files-200k": change(length=None, files=[{"length": 0, "path": [str(n)]} for n in range(200_000)]),
        "name-list": change(name=["a"]), "announce-odd": bencode.encode({"announce": 5, "announce-list": [[["x"]], 7, "y"], "url-list": {"a": 1}, "info": good})[:-1] + b"e",
        "announce-200k": bencode.encode({"announce-list": [[f"http://t{n}.invalid/a"] for n in range(200_000)], "info": good}),
        "v2-parent": bencode.encode({"info": v2_info({"..": leaf}), "piece layers": {}}), "v2-slash": bencode.encode({"info": v2_info({"a/../../b": leaf}), "piece layers": {}}),
        "v2-empty-name": bencode.encode({"info": v2_info({"": leaf}), "piece layers": {}}), "v2-deep": bencode.encode({"info": v2_info(deep), "piece layers": {}}),
        "v2-no-root": bencode.encode({"info": v2_info({"a": {"": {"length": 5}}}), "piece layers": {}}), "v2-root-short": bencode.encode({"info": v2_info({"a": {"": {"length": 5, "pieces root": b"x"}}}), "piece layers": {}}),
        "v2-piece-length-odd": bencode.encode({"info": v2_info({"a": leaf}, **{"piece length": 20_000}), "piece layers": {}}),
        "v2-meta-3": bencode.encode({"info": v2_info({"a": leaf}, **{"meta version": 3}), "piece layers": {}}),
        "v2-no-layers": bencode.encode({"info": v2_info({"a": {"": {"length": 1 << 20, "pieces root": root}}})}),
        "v2-wrong-layers": bencode.encode({"info": v2_info({"a": {"": {"length": 1 << 20, "pieces root": root}}}), "piece layers": {root: b"z" * 64 * 32}}),
        "v2-length-huge": bencode.encode({"info": v2_info({"a": {"": {"length": (1 << 63) - 1, "pieces root": root}}}), "piece layers": {root: b""}}),
        "hybrid-disagrees": bencode.encode({"info": {**good, **{key: value for key, value in v2_info({"other": leaf}).items() if key != "name"}}, "piece layers": {}}),
    }


# These are odd but lawful, or lawful for a lenient reader: success is fine, too.
MAY_PASS = {"trailing", "unsorted-keys", "doubled-keys", "zero-length", "announce-odd", "announce-200k", "files-200k", "both", "v2-deep", "length-huge", "v2-no-layers", "v2-meta-3", "v2-parent", "v2-slash"}


@trial("badinput.torrents", seconds=240, quick=True)
def torrents(world: World) -> None:
    """`inspect` and `get` of every broken torrent: status 1 and one sentence, quickly, in bounded memory."""
    us = world.host("us")
    cases = bad_torrents()
    for label, data in cases.items():
        path = world.folder / f"{label}.torrent"
        path.write_bytes(data)
        for command in (("inspect", path), ("get", path, "-o", world.folder / "out-x", "--listen", "127.0.0.1:0", *QUIET)):
            program = world.shoal(us, *command, name=f"{command[0]}-{label}", state=world.folder / "state-x")
            try:
                status = program.process.wait(4)
            except subprocess.TimeoutExpired:
                status = None  # A lawful torrent waits for peers.
                world.check(program.rss_kib() < 128 * 1024, f"{command[0]} {label}: {program.rss_kib()} KiB of memory")
                program.stop(6)
            world.check("panicked" not in program.stderr() and status not in (101, 134, -6, -11), f"{command[0]} {label}: crashed ({status}): {program.why()}")
            # `inspect` takes any file: what does not begin like a torrent is shown as media of an unknown kind.
            if label not in MAY_PASS and not (command[0] == "inspect" and data[:1] != b"d"):
                world.check(status == 1, f"{command[0]} {label}: {'went on' if status is None else f'status {status}'}, expected 1")
                text = program.words().strip() + program.raw_stdout()
                world.check(text.strip(), f"{command[0]} {label}: no sentence")
    world.show(torrents=len(cases))


@trial("badinput.mutated-torrents", seconds=240)
def mutated(world: World) -> None:
    """`inspect` of a good hybrid torrent cut anywhere or with bytes changed: never a crash."""
    us = world.host("us")
    torrent = content.make_torrent(content.write_folder(world.folder / "origin" / "box"), world.folder / "t.torrent", "hybrid")
    good, path, chance = torrent.raw, world.folder / "m.torrent", random.Random(world.seed)
    rounds = 40 * max(1, world.count)
    for turn in range(min(rounds, 2000)):
        data = bytearray(good)
        if turn % 3 == 0:
            del data[chance.randrange(len(data)) :]
        else:
            for _ in range(chance.randrange(1, 6)):
                data[chance.randrange(len(data))] = chance.choice(b"0123456789dlie:-\0\xff")
        path.write_bytes(data)
        done = subprocess.run(us.command(world.binary, "inspect", path), capture_output=True, timeout=20, check=False)
        if done.returncode not in (0, 1):
            (world.folder / "crashing.torrent").write_bytes(data)
            world.check(False, f"turn {turn}: status {done.returncode}: {done.stderr[-200:]!r}")


MAGNETS = [
    "magnet:", "magnet:?", "magnet:?xt=", "magnet:?xt=urn:btih:", "magnet:?xt=urn:btih:zz", "magnet:?xt=urn:btih:" + "a" * 39, "magnet:?xt=urn:btih:" + "a" * 41,
    "magnet:?xt=urn:btih:" + "1" * 32, "magnet:?xt=urn:btmh:1220" + "a" * 63, "magnet:?xt=urn:btmh:1120" + "a" * 64, "magnet:?xt=urn:btmh:" + "a" * 64,
    "magnet:?xt=urn:sha1:" + "a" * 40, "magnet:?dn=only-a-name", "magnet:?xt=urn:btih:%zz%", "magnet:?xt=" + "a" * 1_00_000, "magnet:?" + "&" * 10_000,
    "a" * 39, "g" * 40, "a" * 63, "", " ", "-", "http://", "http://[", "ftp://x/y.torrent", "file:///etc/passwd", "/no/such/file.torrent", "no-such.torrent", "/", ".", "\u202e",
]
ODD_MAGNETS = [
    "&x.pe=nonsense", "&x.pe=1.2.3.4:0", "&x.pe=1.2.3.4:99999", "&x.pe=[::1", "&tr=nonsense", "&tr=udp://", "&tr=http://[::1", "&tr=" + "x" * 50_000, "&ws=nonsense", "&so=9-1,x,99999999999",
    "&dn=%ff%fe..%2f..%2fevil", "&xl=-5", "&xt=urn:btih:" + "b" * 40, "&xt.1=urn:btih:" + "c" * 40, "&tr=udp://127.0.0.1:1/announce" * 2000,
]


@trial("badinput.links", seconds=240, quick=True)
def magnets(world: World) -> None:
    """Broken links: status 1 or 2 with a sentence; odd parameters of a lawful magnet are left aside; no link is too long."""
    us = world.host("us")
    for number, link in enumerate(MAGNETS):
        for command in (("inspect",), ("get", "-o", world.folder / "out-x", "--listen", "127.0.0.1:0", *QUIET), ("watch", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", *QUIET)):
            state = ["--state", world.folder / "state-x"] if command[0] != "inspect" else []
            program = world.shoal(us, *command, *state, "--", link, json_output=False, name=f"{command[0]}-{number}")
            status = program.wait(10)
            world.check(status in (1, 2), f"{command[0]} {link[:60]!r}: status {status}")
            world.check(program.stderr().strip() and "panicked" not in program.stderr(), f"{command[0]} {link[:60]!r}: {program.why()}")
    for number, tail in enumerate(ODD_MAGNETS):
        link = "magnet:?xt=urn:btih:" + "a" * 40 + tail
        getter = world.shoal(us, "get", link, "-o", world.folder / "out-x", "--listen", "127.0.0.1:0", *QUIET, name=f"odd-{number}", state=world.folder / "state-x")
        try:
            status = getter.process.wait(1.0)
            world.check(status in (1, 2), f"{tail[:40]!r}: status {status}")
        except subprocess.TimeoutExpired:
            getter.stop(8)
        world.check("panicked" not in getter.stderr(), f"{tail[:40]!r}: {getter.why()}")
    world.show(links=len(MAGNETS) + len(ODD_MAGNETS))


def start_http(world: World):
    """A publisher with its page on loopback."""
    origin, us = content.write_random(world.folder / "origin" / "film.mp4", 300_000, world.seed), world.host("us")
    giver = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", "--http", "127.0.0.1:8080", *QUIET)
    said = giver.expect("published")
    world.until(10, "its page", lambda: raw(us, "127.0.0.1:8080", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n", 2))
    return us, giver, said


@trial("badinput.http-hosts", seconds=60, quick=True)
def hosts(world: World) -> None:
    """Foreign Host and Origin headers are refused (DNS rebinding), our own names are served."""
    us, giver, said = start_http(world)
    for path in ("/", "/api/v1/titles", "/metrics", f"/stream/{said['infohash_v1']}/0", "/api/v1/events"):
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example:8080", "localhost.evil.example", "127.0.0.1:8080@evil.example", "[::1].evil", "x" * 5000, "", "\xff"):
            answer = raw(us, "127.0.0.1:8080", f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"), 3)
            status = answer.split(b" ")[1:2]
            world.check(not status or status[0][:1] == b"4", f"Host {host[:40]!r} of {path} got {answer[:60]!r}")
    for lines in ("", "Host: 127.0.0.1:8080\r\nHost: evil.example\r\n"):
        answer = raw(us, "127.0.0.1:8080", f"GET /api/v1/titles HTTP/1.1\r\n{lines}Connection: close\r\n\r\n".encode(), 3)
        world.check(not answer or answer.split(b" ")[1][:1] == b"4", f"{lines!r} got {answer[:60]!r}")
    for host in ("127.0.0.1:8080", "localhost:8080"):
        status = raw(us, "127.0.0.1:8080", f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode(), 3).split(b" ")[1]
        world.check(status == b"200", f"our own name {host} got {status}")
    answer = raw(us, "127.0.0.1:8080", b"GET /api/v1/titles HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: http://evil.example\r\nConnection: close\r\n\r\n", 3)
    world.check(b"access-control-allow-origin: *" not in answer.lower() and b"evil.example" not in answer, "a foreign origin is welcomed")
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        status = request(us, "http://127.0.0.1:8080/api/v1/titles", method, body=b"{}")[0]
        world.check(400 <= status < 500, f"{method} without a token answered {status}")
    world.check(giver.running(), f"it ended: {giver.why()}")


@trial("badinput.http-garbage", seconds=60, quick=True)
def http_garbage(world: World) -> None:
    """Paths that climb, odd numbers, broken requests, header floods: an answer of 4xx or none, and it lives on."""
    us, giver, said = start_http(world)
    title = said["infohash_v1"]
    for path in (
        "/../../etc/passwd", "/stream/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", f"/stream/{title}/0/../../../../etc/passwd", f"/stream/{title}/1", f"/stream/{title}/-1",
        f"/stream/{title}/99999999999999999999", f"/stream/{title}/0x0", f"/stream/{'0' * 40}/0", "/stream/zz/0", "/stream//", "/api/v1/titles/zz", f"/api/v1/titles/{'f' * 40}", "/%00", "/%ff%fe", "/" + "a" * 100_000, "//evil", "/stream/" + title,
    ):
        answer = raw(us, "127.0.0.1:8080", f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nConnection: close\r\n\r\n".encode(), 3)
        world.check(b"root:" not in answer, f"{path[:60]} leaks a file")
        world.check(not answer or answer.split(b" ")[1][:1] == b"4", f"{path[:60]} got {answer[:60]!r}")
    chance = random.Random(world.seed)
    for data in (
        b"\0" * 1000, b"\x16\x03\x01\x02\x00" + bytes(500), b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 1_000_000 + b"\r\n\r\n", b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", chance.randbytes(5000), b"\x13BitTorrent protocol" + bytes(48),
    ):
        raw(us, "127.0.0.1:8080", data, 2)
    status = request(us, "http://127.0.0.1:8080/")[0]
    world.check(status == 200 and giver.running(), f"afterwards the page answers {status}")
    world.check(giver.peak_kib() < 96 * 1024, f"memory went up to {giver.peak_kib()} KiB")


@trial("badinput.http-ranges-that-make-no-sense", seconds=60, quick=True)
def odd_ranges(world: World) -> None:
    """Nonsense in Range and If-Range: 200, 206 or 416, never a crash, never wrong bytes."""
    us, giver, said = start_http(world)
    data = (world.folder / "origin" / "film.mp4").read_bytes()
    url = f"http://127.0.0.1:8080/stream/{said['infohash_v1']}/0"
    status, _, body = request(us, url)
    if status != 200:
        url = lifecycle.stream_url(giver, us)
        body = request(us, url)[2]
    world.check(body == data, "the film is not served")
    for text in (
        "bytes=-", "bytes", "bytes=--1", "bytes=1--2", "bytes=1-2-3", "bytes= 1-2", "bytes=1 -2", "BYTES=1-2", "bytes=0x1-2", "bytes=1-2,", "bytes=,1-2", "bytes=" + "0-0," * 5000 + "1-1",
        "bytes=-9223372036854775808", "bytes=9223372036854775807-", "bytes=18446744073709551615-", "bytes=-18446744073709551616", "bytes=99999999999999999999999-", "bytes=0-0,300000-", "", "\xff=1-2", "bytes=" + "9" * 10_000 + "-",
    ):
        answer = raw(us, "127.0.0.1:8080", f"GET {url.split('8080')[1]} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nRange: {text}\r\nConnection: close\r\n\r\n".encode("latin-1"), 3)
        status = answer.split(b" ")[1] if answer else b"431"
        world.check(status in (b"200", b"206", b"416", b"400", b"431"), f"Range {text[:40]!r} got {answer[:60]!r}")
        if status == b"200":
            world.check(answer.endswith(data), f"Range {text[:40]!r}: wrong bytes")
    world.check(giver.running(), f"it ended: {giver.why()}")


@trial("badinput.directory", seconds=90, quick=True)
def directory(world: World) -> None:
    """Garbage and floods at a directory: it answers on, in bounded memory."""
    host = world.host("tracker")
    server = world.shoal(host, "directory", "--http", f"{host.ip}:7000", "--udp", f"{host.ip}:7001")
    server.expect("listening")
    chance = random.Random(world.seed)
    with world.host("us").entered():
        packets = socket.socket(type=socket.SOCK_DGRAM)
    packets.connect((host.ip, 7001))
    packets.settimeout(2)
    for size in [0, 1, 15, 16, 17, 97, 98, 99, 500, 1400, 9000] * 20:
        packets.send(chance.randbytes(size))

    def ask(action: int, connection: int, body: bytes = b"") -> bytes:
        for _ in range(5):
            number = chance.randrange(1 << 32)
            packets.send(struct.pack(">QII", connection, action, number) + body)
            try:
                while True:
                    answer = packets.recv(4096)
                    if len(answer) >= 8 and answer[4:8] == struct.pack(">I", number):
                        return answer
            except OSError:
                continue
        return b""

    answer = ask(0, 0x41727101980)
    world.check(len(answer) == 16, f"no connection after garbage: {answer!r}")
    connection = struct.unpack(">Q", answer[8:])[0]
    for _ in range(60_000):
        body = chance.randbytes(40) + struct.pack(">QQQIIIiH", 0, 1, 0, 2, 0, 0, -1, chance.randrange(1, 65535))
        packets.send(struct.pack(">QII", connection, 1, 7) + body)
    forged = struct.pack(">QII", 0x1234567812345678, 1, 9) + bytes(82)
    packets.send(forged)
    time.sleep(0.5)
    packets.setblocking(False)
    try:
        while packets.recv(4096):
            pass
    except OSError:
        pass
    packets.settimeout(2)
    answer = ask(1, connection, b"a" * 40 + struct.pack(">QQQIIIiH", 0, 1, 0, 2, 0, 0, -1, 1000))
    world.check(answer[:4] == b"\0\0\0\1", f"no announce after the flood: {answer!r}")
    wrong = ask(1, 0x1234567812345678, b"a" * 40 + struct.pack(">QQQIIIiH", 0, 1, 0, 2, 0, 0, -1, 1000))
    world.check(wrong[:4] != b"\0\0\0\1", "a forged connection id was taken (BEP 15)")
    for data in (b"GET /announce HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /announce?info_hash=%zz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /scrape?info_hash=" + b"%00" * 20 + b" HTTP/1.1\r\nHost: x\r\n\r\n", bytes(5000), b"GET /announce?" + b"a=b&" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"):
        raw(world.host("us"), f"{host.ip}:7000", data, 1)
    idle = []
    for _ in range(300):
        try:
            idle.append(connect(world.host("us"), f"{host.ip}:7000", 1))
        except OSError:
            break
    world.show(rss=f"{server.peak_kib() // 1024}MiB")
    world.check(server.running(), f"it ended: {server.why()}")
    world.check(server.peak_kib() < 128 * 1024, f"memory went up to {server.peak_kib()} KiB")
