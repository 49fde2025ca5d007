#!/usr/bin/env python3
"""One seed to one leech over loopback, Shoal beside libtorrent in one run: wall time, CPU and memory of each side.

    bench/throughput.py [--size MIB] [--pairs N] [--case PIECE:KIND]... [--mixed] [--gate] [--out FILE]

A case is a piece length in KiB and a kind (`v1`, `v2`, `hybrid`); the default is 256 and 1024 with each of `v1` and `v2`, and
1024:hybrid. In each pair the two programs take turns and swap who goes first. `--mixed` adds Shoal to libtorrent and back.
Prints a markdown table: medians, and the median over pairs of the ratio Shoal / libtorrent. With `--gate` it ends with status 1
when one of them is over its bound: wall time and the seed's CPU 1, the leech's CPU 1.05, memory of each Shoal side 64 MiB.

Wall time: libtorrent's by its own clock from the moment that its session exists (its Python start is not counted); Shoal's from
the start of the process to its `complete` event. CPU by wait4, less what the Python of libtorrent used before its session.
Data and downloads live in /dev/shm. Memory that a virtual machine never used before costs its first user four times as much to
write, so some of it is used up first. Needs the Python module libtorrent 2.1.1 and `cargo build --release`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIBTORRENT = Path(__file__).with_name("throughput_libtorrent.py")
QUIET = ["--no-dht", "--no-lsd", "--no-upnp", "--json"]


# Bounds of the median ratios Shoal / libtorrent, and of Shoal's own memory.
BOUNDS = {"wall time": 1.0, "seed CPU": 1.0, "leech CPU": 1.05}
PEAK_MIB_MAX = 64


@dataclass
class Side:
    """What one process cost."""

    cpu_s: float
    peak_mib: float


@dataclass
class Run:
    """One transfer."""

    wall_s: float
    seed: Side
    leech: Side


class Process:
    """A program whose cost is taken by wait4, and whose lines of JSON are read as they come."""

    def __init__(self, argv: list[object], log: Path):
        self.argv = [str(part) for part in argv]
        self.started = time.monotonic()
        self.log = log
        self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=open(log, "wb"), text=True)

    def event(self, *kinds: str) -> dict:
        """Reads lines until one of these events."""
        for line in self.process.stdout:
            if line.startswith("{"):
                event = json.loads(line)
                if event["event"] in kinds:
                    return event
                if event["event"] == "error":
                    raise SystemExit(f"{' '.join(self.argv[:3])}: {event.get('message')}")
        raise SystemExit(f"{' '.join(self.argv[:3])} ended before {kinds}: {self.log.read_text()[-500:]}")

    def end(self, sign: int | None = None) -> tuple[Side, dict]:
        """Waits for the end, asking for it with a signal if given; returns its cost and its last event."""
        if sign:
            os.kill(self.process.pid, sign)
        last: dict = {}
        for line in self.process.stdout:
            if line.startswith("{"):
                last = json.loads(line)
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        cpu = used.ru_utime + used.ru_stime - last.get("cpu_before", 0)
        return Side(cpu, used.ru_maxrss / 1024), last


def start_seed(client: str, torrent: Path, data: Path, port: int, folder: Path) -> Process:
    """A seed that trusts its files; returns when it listens."""
    if client == "shoal":
        seed = Process(
            [binary(), "seed", torrent, "--data", data, "--skip-check", "--listen", f"127.0.0.1:{port}", "--state", folder / "seed-state", *QUIET],
            folder / "seed.err",
        )
    else:
        seed = Process([sys.executable, "-Wignore", LIBTORRENT, "seed", torrent, data, port], folder / "seed.err")
    seed.event("listening")
    wait_for_port(port)
    return seed


def wait_for_port(port: int) -> None:
    """Waits until somebody listens, by the kernel's table, so that no probe connection disturbs the seed."""
    want = f":{port:04X} "
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if any(want in line and " 0A " in line for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()):
            return
        time.sleep(0.01)
    raise SystemExit(f"nobody listens on port {port}")


def transfer(seeder: str, leecher: str, torrent: Path, data: Path, folder: Path, name: str) -> Run:
    """One run; the result is compared with the source."""
    port, out = free_port(), folder / "out"
    seed = start_seed(seeder, torrent, data, port, folder)
    out.mkdir()
    if leecher == "shoal":
        argv = [binary(), "get", torrent, "-o", out, "--listen", "127.0.0.1:0", "--peer", f"127.0.0.1:{port}", "--state", folder / "leech-state", *QUIET]
        leech = Process(argv, folder / "leech.err")
        leech.event("complete")
        wall = time.monotonic() - leech.started
        leech_cost, _ = leech.end()
    else:
        leech = Process([sys.executable, "-Wignore", LIBTORRENT, "leech", torrent, out, free_port(), f"127.0.0.1:{port}"], folder / "leech.err")
        wall = leech.event("complete")["seconds"]
        leech_cost, _ = leech.end()
    seed_cost, _ = seed.end(signal.SIGINT)
    if subprocess.run(["cmp", "-s", data / name, out / name], check=False).returncode != 0:
        raise SystemExit(f"{seeder} -> {leecher}: the result differs from the source")
    for part in (out, folder / "leech-state", folder / "seed-state"):
        shutil.rmtree(part, ignore_errors=True)
    return Run(wall, seed_cost, leech_cost)


def warm(folder: Path, mib: int) -> None:
    """Uses as much memory as the runs will, and gives it back."""
    path = folder / "warm"
    with open(path, "wb") as stream:
        for _ in range(mib):
            stream.write(bytes(1 << 20))
    path.unlink()


def binary() -> str:
    """The program under test."""
    path = Path(os.environ.get("SHOAL_BIN", ROOT / "target" / "release" / "shoal")).resolve()
    if not path.exists():
        raise SystemExit(f"{path} is missing: build it with `cargo build --release` or set SHOAL_BIN")
    return str(path)


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def figures(run: Run) -> list[float]:
    """The columns of a run."""
    return [run.wall_s, run.seed.cpu_s, run.leech.cpu_s, run.seed.peak_mib, run.leech.peak_mib]


def row(label: str, case: str, values: list[list[float]], digits: int = 2) -> str:
    """A line of the table: the median of each column."""
    return f"| {case} | {label} | " + " | ".join(f"{statistics.median(column):.{digits}f}" for column in zip(*values)) + " |"


def over_bounds(case: str, ours: list[list[float]], ratios: list[list[float]]) -> list[str]:
    """A sentence for each figure of a case that is over its bound."""
    medians = [statistics.median(column) for column in zip(*ratios)]
    found = [f"{case}: {name} is {got:.2f} times libtorrent's, at most {most} is good" for (name, most), got in zip(BOUNDS.items(), medians) if got > most]
    for side, column in zip(("seed", "leech"), list(zip(*ours))[3:]):
        if max(column) > PEAK_MIB_MAX:
            found.append(f"{case}: the {side}'s memory went up to {max(column):.0f} MiB, at most {PEAK_MIB_MAX} is good")
    return found


def main() -> int:
    """Runs all cases and prints the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--size", type=int, default=1024, help="MiB (default 1024)")
    words.add_argument("--pairs", type=int, default=5, help="pairs per case (default 5)")
    words.add_argument("--case", action="append", help="PIECE_KIB:KIND, may be repeated")
    words.add_argument("--only", choices=("shoal", "libtorrent"), help="one program alone, for profiling")
    words.add_argument("--mixed", action="store_true", help="also Shoal to libtorrent and back")
    words.add_argument("--gate", action="store_true", help="fail when a median is over its bound")
    words.add_argument("--out", type=Path, help="write the table here, too")
    args = words.parse_args()
    if args.gate and args.only:
        words.error("--gate compares two programs, --only runs one")
    faults: list[str] = []
    cases = args.case or ["256:v1", "1024:v1", "256:v2", "1024:v2", "1024:hybrid"]
    folder = Path(tempfile.mkdtemp(prefix="throughput-", dir="/dev/shm"))
    lines = [
        f"{args.size} MiB, one seed to one leech, loopback, tmpfs, {args.pairs} pairs, medians; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before.",
        "", "| case | seed -> leech | wall s | seed CPU s | leech CPU s | seed RSS MiB | leech RSS MiB |", "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines), flush=True)
    try:
        warm(folder, 3 * args.size)
        source = folder / "data" / "film.bin"
        source.parent.mkdir()
        with open(source, "wb") as stream:
            for _ in range(args.size):
                stream.write(os.urandom(1 << 20))
        for case in cases:
            piece, kind = case.split(":")
            torrent = folder / f"{piece}-{kind}.torrent"
            subprocess.run([sys.executable, "-Wignore", LIBTORRENT, "make", source, torrent, piece, kind], check=True)
            ways = [("shoal", "shoal"), ("libtorrent", "libtorrent")] + ([("shoal", "libtorrent"), ("libtorrent", "shoal")] if args.mixed else [])
            if args.only:
                ways = [(args.only, args.only)]
            runs: dict[tuple[str, str], list[list[float]]] = {way: [] for way in ways}
            for pair in range(args.pairs):
                for way in ways if pair % 2 == 0 else ways[::-1]:
                    runs[way].append(figures(transfer(*way, torrent, source.parent, folder, source.name)))
            new = [row(" -> ".join(way), case, values) for way, values in runs.items()]
            ratios = [] if args.only else [[ours / theirs for ours, theirs in zip(*both)] for both in zip(runs[ways[0]], runs[ways[1]])]
            if ratios:
                new.append(row("**ratio**", case, ratios))
                faults += over_bounds(case, runs[ways[0]], ratios)
            lines += new
            print("\n".join(new), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.out:
        args.out.write_text("\n".join(lines) + "\n")
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if args.gate and faults else 0


if __name__ == "__main__":
    sys.exit(main())
