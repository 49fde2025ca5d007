"""Content of the trials: random files, torrents made by libtorrent, films made by ffmpeg, comparisons."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kit import bencode

BLOCK = 16 * 1024

# Odd sizes: empty, one byte, around a block, around a piece, in folders and with a name beyond ASCII.
FOLDER = {
    "empty.bin": 0,
    "one.bin": 1,
    "under.bin": BLOCK - 1,
    "block.bin": BLOCK,
    "over.bin": BLOCK + 1,
    "sub/piece.bin": 65536,
    "sub/deep/odd size.bin": 1_234_567,
    "sub/\u00fcber \u6f22\u5b57.bin": 300_001,
    "zz-last.bin": 77_777,
}


def write_random(path: Path, length: int, seed: int) -> Path:
    """A file of `length` bytes that depend on the seed alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = random.Random(f"{seed}/{path.name}")
    with open(path, "wb") as stream:
        left = length
        while left:
            part = min(left, 1 << 20)
            stream.write(generator.randbytes(part))
            left -= part
    return path


def write_folder(root: Path, seed: int = 1) -> Path:
    """A folder of odd sizes."""
    for name, length in FOLDER.items():
        write_random(root / name, length, seed)
    return root


def files_of(root: Path) -> dict[str, str]:
    """Relative name -> SHA-256 of every file, pads and hidden helpers of clients left out."""
    if root.is_file():
        return {root.name: digest(root)}
    return {
        str(path.relative_to(root)): digest(path)
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".pad" not in path.parts and not path.name.endswith((".aria2", ".part", ".parts"))
    }


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def difference(expected: Path, found: Path) -> str:
    """Empty when both trees hold the same bytes, else a sentence. Empty files may be missing: some clients leave them out."""
    left, right = files_of(expected), files_of(found) if found.exists() else {}
    empty = hashlib.sha256(b"").hexdigest()
    for name, value in left.items():
        if name not in right and value == empty:
            continue
        if right.get(name) != value:
            return f"{name} {'differs' if name in right else 'is missing'}"
    extra = sorted(set(right) - set(left))
    return f"unexpected {extra[0]}" if extra else ""


@dataclass
class Torrent:
    """A torrent file and what a trial needs to know of it."""

    path: Path
    data: Path
    v1: str
    v2: str
    piece_length: int
    length: int

    @property
    def raw(self) -> bytes:
        """The file's bytes."""
        return self.path.read_bytes()

    @property
    def meta(self) -> dict:
        """The decoded file."""
        return bencode.decode(self.raw)

    @property
    def info_raw(self) -> bytes:
        """The info dictionary as it stands in the file."""
        return info_span(self.raw)

    def magnet(self, *peers: str, trackers: tuple[str, ...] = ()) -> str:
        """A magnet link, with peers by x.pe."""
        parts = []
        if self.v1:
            parts.append(f"xt=urn:btih:{self.v1}")
        if self.v2:
            parts.append(f"xt=urn:btmh:1220{self.v2}")
        parts += [f"x.pe={peer}" for peer in peers] + [f"tr={url}" for url in trackers]
        return "magnet:?" + "&".join(parts)


def info_span(raw: bytes) -> bytes:
    """The bytes of the value of `info`."""
    at = 1
    while raw[at : at + 1] != b"e":
        key, at = bencode.decode_prefix(raw, at)
        _, end = bencode.decode_prefix(raw, at)
        if key == b"info":
            return raw[at:end]
        at = end
    raise ValueError("no info dictionary")


def read_torrent(path: Path, data: Path) -> Torrent:
    """What a torrent file says; `data` is the file or folder that it describes."""
    raw = path.read_bytes()
    span = info_span(raw)
    info = bencode.decode(span)
    v1 = hashlib.sha1(span).hexdigest() if b"pieces" in info else ""
    v2 = hashlib.sha256(span).hexdigest() if b"file tree" in info else ""
    length = sum(part.stat().st_size for part in ([data] if data.is_file() else data.rglob("*")) if part.is_file())
    return Torrent(path, data, v1, v2, info[b"piece length"], length)


def make_torrent(data: Path, out: Path, kind: str, piece_length: int = 65536, trackers: tuple[str, ...] = ()) -> Torrent:
    """A torrent by libtorrent's create_torrent: `v1` (no pads), `v1-pads`, `hybrid` or `v2`."""
    import libtorrent as lt

    storage = lt.file_storage()
    flags = {"v1": lt.create_torrent.v1_only, "v1-pads": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
    lt.add_files(storage, str(data))
    if kind == "v1-pads":
        flags |= lt.create_torrent.canonical_files
    made = lt.create_torrent(storage, piece_length, flags)
    for tier, url in enumerate(trackers):
        made.add_tracker(url, tier)
    lt.set_piece_hashes(made, str(data.parent))
    out.write_bytes(lt.bencode(made.generate()))
    return read_torrent(out, data)


def keep_pieces(source: Path, target: Path, piece_length: int, pieces: set[int]) -> None:
    """A sparse copy of a file that holds only some pieces."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(source, "rb") as take, open(target, "wb") as put:
        put.truncate(source.stat().st_size)
        for piece in sorted(pieces):
            take.seek(piece * piece_length)
            put.seek(piece * piece_length)
            put.write(take.read(piece_length))


def film(cache: Path, index: str, seconds: int = 60, mbit: float = 2.0) -> Path:
    """An H.264 + AAC MP4 of a moving test picture, about `mbit` Mbit/s, its index at the `front` or the `end`; made once."""
    target = cache / f"film-{index}-{seconds}s-{mbit:g}m.mp4"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".film.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            return target
        end = cache / f"film-end-{seconds}s-{mbit:g}m.mp4"
        if not end.exists():
            rate = f"{int((mbit - 0.1) * 1e6)}"
            _ffmpeg(
                "-f", "lavfi", "-i", f"testsrc2=size=640x360:rate=25:duration={seconds}", "-f", "lavfi", "-i",
                f"sine=frequency=440:sample_rate=48000:duration={seconds}", "-vf", "noise=alls=12:allf=t", "-c:v", "libx264",
                "-preset", "superfast", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-b:v", rate, "-maxrate", rate,
                "-bufsize", rate, "-pix_fmt", "yuv420p", "-c:a", "aac", "-b:a", "96k", "-ac", "2", into=end,
            )
        if index == "front":
            _ffmpeg("-i", str(end), "-c", "copy", "-movflags", "+faststart", into=target)
    return target


# Containers and codings beside those of `film`: file name, and how ffmpeg makes it of that.
_H264 = ("-c:v", "libx264", "-preset", "superfast", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-b:v", "1800k", "-maxrate", "1800k", "-bufsize", "1800k")
CODED = {
    "ts": ("film.ts", "-c", "copy"),
    "mkv": ("film.mkv", "-c", "copy"),
    "fragments": ("film.mp4", "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "mpeg2-ts": ("film.ts", "-c:v", "mpeg2video", "-g", "25", "-bf", "2", "-b:v", "1800k", "-maxrate", "1800k", "-bufsize", "900k", "-c:a", "mp2", "-b:a", "96k"),
    "mpeg2-mkv": ("film.mkv", "-c:v", "mpeg2video", "-g", "25", "-bf", "2", "-b:v", "1800k", "-c:a", "mp2", "-b:a", "96k"),
    "hevc": ("film.mp4", "-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:keyint=50:min-keyint=50:scenecut=0", "-b:v", "1800k", "-tag:v", "hvc1", "-c:a", "copy"),
    "vp9": ("film.webm", "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-g", "50", "-b:v", "1800k", "-c:a", "libopus", "-b:a", "64k"),
    "av1": ("film.mp4", "-c:v", "libsvtav1", "-preset", "12", "-g", "50", "-b:v", "1500k", "-c:a", "copy"),
    # Sound and pictures that repeat nowhere, so that each frame tells where in the film it is.
    "unique": ("film.mp4", "-f", "lavfi", "-i", "anoisesrc=amplitude=0.3:sample_rate=48000:seed=1", "-map", "0:v", "-map", "1:a", "-shortest", *_H264, "-bf", "2", "-c:a", "aac", "-aac_pns", "0", "-b:a", "128k", "-ac", "2"),
}


def coded(cache: Path, kind: str, seconds: int = 30) -> Path:
    """The film at the `front` or the `end` as it is, or in one of the forms of `CODED`; made once."""
    if kind not in CODED:
        return film(cache, kind, seconds)
    source = film(cache, "end", seconds)
    name, *argv = CODED[kind]
    target = cache / f"coded-{kind}-{seconds}s" / name
    with open(cache / ".film.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            _ffmpeg("-i", str(source), *argv, into=target)
    return target


# Ten hours in these forms. The clock of the transport stream wraps after 9 h 26 min.
LONG_S, LONG_UNIQUE = 36000, range(33600, 34800)
LONG = {
    "mkv": ("film.mkv",),
    "fragments": ("film.mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof"),
    "ts": ("film.ts", "-mpegts_copyts", "1", "-output_ts_offset", "61443"),
}


def long_film(cache: Path, kind: str = "end") -> Path:
    """Ten hours of H.264 with pictures that refer to later ones, and AAC, as MP4 with its index at the `end`, or in one of the forms of `LONG`; made once.

    Ten minutes of small pictures again and again, but for the seconds of `LONG_UNIQUE`, whose pictures are nowhere else.
    """
    folder = cache / f"long-{kind}"
    name, *argv = LONG.get(kind, ("film.mp4",))
    if kind in LONG:
        argv = ["-i", str(long_film(cache)), "-c", "copy", *argv]
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / name).exists():
            if kind not in LONG:
                argv = ["-f", "concat", "-i", str(_long_pictures(folder)), "-stream_loop", "-1", "-i", str(folder / "sound.m4a"), "-t", str(LONG_S), "-c", "copy"]
            _ffmpeg(*argv, into=folder / name)
    return folder / name


def _long_pictures(folder: Path) -> Path:
    """A list of parts for ffmpeg, beside the sound of a part."""
    codec = ("-c:v", "libx264", "-preset", "superfast", "-g", "50", "-keyint_min", "50", "-sc_threshold", "0", "-bf", "2", "-crf", "40", "-pix_fmt", "yuv420p")
    pictures = "testsrc2=size=96x54:rate=25:duration="
    unique, part = LONG_UNIQUE, 600
    _ffmpeg("-f", "lavfi", "-i", f"{pictures}{part}", *codec, into=folder / "part.mp4")
    _ffmpeg("-f", "lavfi", "-i", f"{pictures}{len(unique)}", "-vf", "negate", *codec, into=folder / "unique.mp4")
    _ffmpeg("-f", "lavfi", "-i", f"anoisesrc=amplitude=0.3:sample_rate=48000:seed=1:duration={part}", "-c:a", "aac", "-b:a", "16k", "-ac", "1", into=folder / "sound.m4a")
    parts = ["part"] * (unique.start // part) + ["unique"] + ["part"] * ((LONG_S - unique.stop) // part)
    (folder / "parts.txt").write_text("".join(f"file {name}.mp4\n" for name in parts))
    return folder / "parts.txt"


# A box of the outermost level that says nothing and is longer than 32 bits can tell.
HOLE = 9 << 29


def behind_a_hole(film: Path, target: Path) -> Path:
    """A sparse copy of an MP4 with its index at the end, with 4.5 GiB of nothing in its data, before the frames."""
    data = film.read_bytes()
    at = {name: place for name, place, _ in _boxes(data, 0, len(data))}
    start = at[b"mdat"] + 8
    head = data[: at[b"mdat"]] + (1).to_bytes(4, "big") + b"mdat" + (HOLE + 8 + at[b"moov"] - at[b"mdat"]).to_bytes(8, "big")
    moov = _moved(data, at[b"moov"], len(data), HOLE + 8)
    with open(target, "wb") as out:
        out.write(head)
        out.seek(HOLE, os.SEEK_CUR)
        out.write(data[start : at[b"moov"]] + moov)
    return target


def _boxes(data: bytes, at: int, end: int):
    while at < end:
        length = int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, at + length
        at += length


def _moved(data: bytes, at: int, end: int, by: int) -> bytes:
    """The boxes of an index whose frames are moved: `stco` becomes `co64`."""
    moved = b""
    for name, start, stop in _boxes(data, at, end):
        body = data[start + 8 : stop]
        if name in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
            body = _moved(data, start + 8, stop, by)
        if name == b"stco":
            places = (int.from_bytes(body[at : at + 4], "big") + by for at in range(8, len(body), 4))
            name, body = b"co64", body[:8] + b"".join(place.to_bytes(8, "big") for place in places)
        moved += (len(body) + 8).to_bytes(4, "big") + name + body
    return moved


def irregular(cache: Path, name: str, seconds: int = 6) -> Path:
    """H.264 with pictures at irregular times, 20 ms to 160 ms apart, and AAC; made once. `name` says in which container."""
    target = cache / f"irregular-{seconds}s-{name}" / name
    with open(cache / ".film.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            target.parent.mkdir()
            _ffmpeg(
                "-f", "lavfi", "-i", f"testsrc2=size=320x180:rate=50:duration={seconds}", "-f", "lavfi", "-i",
                f"anoisesrc=amplitude=0.3:sample_rate=48000:seed=1:duration={seconds}", "-vf", "select='lt(mod(n,90),25)+not(mod(n,8))+not(mod(n,7))'",
                "-fps_mode", "vfr", *_H264, "-bf", "2", "-c:a", "aac", "-aac_pns", "0", "-b:a", "96k", "-ac", "2", into=target,
            )
    return target


def _ffmpeg(*argv: str, into: Path) -> None:
    part = into.with_name(f"part-{os.getpid()}-{into.name}")
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", *argv, "-y", str(part)], check=True)
    part.rename(into)
