#!/usr/bin/env python3
"""Runs the commands behind the tables of docs/results.md and writes the tables where they stand.

    tests/results.py [--list] [--check] [--out DIR] [--keep] PART...

A PART is the name of a table or of a group of them (`sim`, `policies`, `crowd`, `lab`), or a pattern (`sim.a*`). Between
`<!-- results: NAME -->` and `<!-- end: NAME -->` in the document everything is written by this program: the command, then the
table. What stands outside is written by hand and left alone. `--check` runs nothing and says whether parts, marks and commands
agree, as `./check scripts` does. `--keep` takes what an earlier run left in DIR (out/results) instead of running again.
SHOAL_BIN names the program; without it that of this tree is built first. `lab` needs root.
Parts of `policies`, `crowd` and `lab` take from minutes to hours: nothing runs unless it is named.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "results.md"
# What a word of a command may be on its way to a folder's name.
UNSAFE = str.maketrans({character: "-" for character in " /=[],'\""})

Row = list[str]


@dataclass
class Bench:
    """Where programs are and where results go."""

    shoal: Path
    lab: Path
    out: Path
    keep: bool

    def sim(self, words: list[str]) -> dict:
        """Metrics of a `shoal sim run`."""
        folder = self.out / "-".join(words[2:]).translate(UNSAFE)
        if not (self.keep and (folder / "summary.json").exists()):
            self.call([str(self.shoal), *words, "--out", str(folder)])
        return json.loads((folder / "summary.json").read_text())["metrics"]

    def laboratory(self, words: list[str]) -> list[dict]:
        """Reports of a `shoal-lab`."""
        file = self.out / ("-".join(words).translate(UNSAFE) + ".json")
        if not (self.keep and file.exists()):
            self.call([str(self.lab), *words, "--shoal", str(self.shoal), "--json", str(file)])
        return json.loads(file.read_text())

    def call(self, words: list[str]) -> str:
        """Runs a program to its end; what it says comes back."""
        print("  " + " ".join(words[1:]), flush=True)
        self.out.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise SystemExit(f"results: {' '.join(words)} ended with {done.returncode}: {' '.join(last)}")
        return done.stdout


@dataclass
class Part:
    """A table: its name, the command that makes it as people would type it, and how it is made."""

    name: str
    command: str
    lines: Callable[[Bench], list[Row]]

    def block(self, body: str) -> str:
        """All that stands between the marks."""
        return f"`{self.command}`\n\n{body.strip()}\n"


def seconds(value: float | None) -> str:
    """Milliseconds as seconds; what never happened is not a number."""
    return "never" if value is None else f"{value / 1000:.2f} s"


def percent(value: float | None) -> str:
    """A share."""
    return "-" if value is None else f"{value * 100:.3g} %"


def plain(value: float | None) -> str:
    """Three digits."""
    return "-" if value is None else f"{value:.3g}"


def times(value: float | None) -> str:
    """A ratio near one."""
    return "-" if value is None else f"{value:.3f}"


# A column: its head, the metric, which of its statistics, how it is written.
Column = tuple[str, str, str, Callable[[float | None], str]]
START = [("start p50", "startup_ms", "p50", seconds), ("p90", "startup_ms", "p90", seconds), ("p99", "startup_ms", "p99", seconds)]
STALLS = [("stalls a viewer", "stalls", "mean", plain), ("most", "stalls", "max", plain), ("time still", "stall_ratio", "mean", percent)]
COPIES = ("copies", "server_copies", "mean", times)
BOUND = ("last / bound", "distribution_ratio", "mean", times)
CONTROL = ("control", "control_overhead", "mean", percent)


def simulated(
    name: str, command: str, rows: list[dict[str, str]], columns: list[Column]
) -> Part:
    """A table with a run for each row: `{key}` in the command is what the row says, and CAPITALS where it is shown."""
    keys = list(rows[0])

    def lines(bench: Bench) -> list[Row]:
        table = [[*keys, *(column[0] for column in columns)]]
        for row in rows:
            metrics = bench.sim(command.format(**row).split())
            table.append([*row.values(), *(write(metrics[metric][kind]) for _, metric, kind, write in columns)])
        return table

    shown = "shoal " + command.format(**{key: key.upper() for key in keys})
    return Part(name, shown, lines)


def measured(name: str, command: str) -> Part:
    """A table of the laboratory: every figure of every report."""

    def lines(bench: Bench) -> list[Row]:
        table = [["experiment", "figure", "median (least, most)", "target", "others"]]
        for report in bench.laboratory(command.split()):
            settings = report["settings"]
            told = [f"{key} {settings[key]}" for key in ("N", "publisher", "delay_ms") if settings.get(key)]
            for figure in report["figures"]:
                low, middle, high = (plain(figure[kind]) for kind in ("min", "median", "max"))
                value = f"{middle} {figure['unit']} ({low}, {high})"
                value = f"**{value}**" if figure["holds"] else value
                target = "" if figure["target"] is None else f"<= {plain(figure['target'])}"
                table.append([", ".join([report["experiment"], *told]), figure["name"], value, target, figure["baseline"]])
        return table

    return Part(name, "shoal-lab " + command, lines)


ONE_VALUE = [
    "no-hedge", "no-source-rule", "whole-pieces", "slots", "unpaced", "v1", "in-order", "random", "zipf", "portion",
    "earliest-due", "peer-random", "peer-by-rate", "peer-by-position", "peer-by-round-trip", "peer-by-coordinates",
]
BASELINES = [
    "shoal", "plain-deadline", "client-server", "one-peer-per-piece", "bittorrent-in-order", "bittorrent-portion",
    "bittorrent-zipf", "bittorrent-rarest", "bittorrent-random",
]
# The worlds in which policies are compared, in reduced sizes: name, seeds, settings.
WORLDS = [
    ("a-burst", "1..3", "film.duration_s=300"),
    ("j", "1..5", ""),
    ("swarm-fresh", "1..5", ""),
    ("e-equal", "1..5", "peers=10 film.length_bytes=134217728"),
    ("e-us-u", "1..5", "peers=10 film.length_bytes=67108864"),
    ("b", "1..2", "peers=24 viewers=24 catalogue.titles=3 catalogue.change_after_s=200 upload.factor=2.0 "
     "arrival.over_s=200 limit_s=600 finish=limit"),
]


def settings(words: str) -> list[str]:
    """`--set` before each."""
    return [word for one in words.split() for word in ("--set", one)]


def ablations(bench: Bench) -> list[Row]:
    """What each single value wins and loses, as `sim report` weighs it."""
    out = bench.out / "policies"
    for name, seeds, words in WORLDS:
        if not (bench.keep and (out / name).exists()):
            every = "policy=" + ",".join(["shoal", *(f"shoal-{one}" for one in ONE_VALUE)])
            bench.call([str(bench.shoal), "sim", "run", name, "--seeds", seeds, *settings(words), "--sweep", every,
                        "--out", str(out / name)])
    table = [["one value changed", "scenario", "beside `shoal`"]]
    for line in bench.call([str(bench.shoal), "sim", "report", str(out)]).splitlines():
        words = line.split(maxsplit=2)
        if len(words) == 3 and words[0].startswith("shoal-") and words[1] in {world[0] for world in WORLDS}:
            table.append([words[0].removeprefix("shoal-"), words[1], words[2]])
    return table


def all_parts() -> Iterator[Part]:
    """Every table of the document, in its order."""
    hard = [("j", policy) for policy in ("shoal", "bittorrent-in-order", "bittorrent-rarest", "one-peer-per-piece")]
    hard += [("j-halves", policy) for _, policy in hard] + [("spine-film", "shoal")]
    yield simulated(
        "sim.hard-streams", "sim run {scenario} --seeds 1..20 --policy {policy}",
        [{"scenario": scenario, "policy": policy} for scenario, policy in hard],
        [START[0], ("worst", "startup_ms", "max", seconds), ("seek p50", "seek_ms", "p50", seconds),
         ("seek p95", "seek_ms", "p95", seconds), *STALLS, ("waste, worst", "waste", "max", percent)],
    )
    bulk = [(peers, policy) for peers in (10, 30, 100) for policy in ("shoal", "bittorrent-rarest", "bittorrent-in-order")]
    yield simulated(
        "sim.bulk", "sim run e-equal --seeds 1..3 --set peers={N} --policy {policy}",
        [{"N": str(peers), "policy": policy} for peers, policy in bulk], [BOUND, COPIES, CONTROL],
    )
    shapes = [(scenario, peers) for scenario in ("e-us-u", "e-mixed") for peers in (10, 30, 100)]
    yield simulated(
        "sim.distribution", "sim run {scenario} --seeds 1..1 --set peers={N}",
        [{"scenario": scenario, "N": str(peers)} for scenario, peers in shapes], [BOUND, COPIES, CONTROL],
    )
    yield simulated(
        "sim.calibration", "sim run e-calibration --seeds 1..10 --set peers={N} --policy bittorrent-rarest",
        [{"N": str(peers)} for peers in (4, 8, 16)], [BOUND, COPIES],
    )
    sources = [(peers, policy) for peers in (4, 8, 16) for policy in ("shoal", "shoal-no-source-rule")]
    yield simulated(
        "sim.one-copy", "sim run e-calibration --seeds 1..10 --set film.format=hybrid --set peers={N} --policy {policy}",
        [{"N": str(peers), "policy": policy} for peers, policy in sources], [BOUND, COPIES],
    )
    strangers = [(peers, policy) for peers in (4, 8, 16) for policy in ("shoal", "shoal-no-super-seeding")]
    yield simulated(
        "sim.foreign", "sim run foreign --seeds 1..10 --set peers={N} --policy {policy}",
        [{"N": str(peers), "policy": policy} for peers, policy in strangers], [BOUND, COPIES],
    )
    yield simulated(
        "sim.swarm", "sim run {scenario} --seeds 1..5", [{"scenario": "swarm-fresh"}, {"scenario": "swarm-small"}],
        [START[0], ("worst", "startup_ms", "max", seconds), *STALLS, BOUND, COPIES],
    )
    yield simulated(
        "sim.a", "sim run {scenario} --seeds 1..10",
        [{"scenario": f"a-{one}"} for one in ("burst", "burst-capped", "poisson", "poisson-capped")],
        [*START, *STALLS, COPIES, ("efficiency", "data_efficiency", "mean", percent),
         ("at IP level", "wire_efficiency", "mean", percent), CONTROL],
    )
    yield Part(
        "policies.one-value", "shoal sim run SCENARIO --seeds 1..N SETTINGS --sweep policy=shoal,shoal-VALUE,..; shoal sim report",
        ablations,
    )
    yield simulated(
        "policies.baselines", "sim run {scenario} --seeds 1..3 --set film.duration_s=300 --policy {policy}",
        [{"scenario": "a-burst", "policy": policy} for policy in BASELINES], [*START, *STALLS, COPIES],
    )
    yield simulated(
        "crowd.uplinks",
        "sim run d-1000 --seeds 1..2 --set peers=40 --set viewers=40 --set film.duration_s=180 "
        "--set server.up_bytes_per_s=250000 --set limit_s=400 --set upload.factor={factor}",
        [{"factor": factor} for factor in ("0.9", "1.1", "1.3", "1.54", "2.0")],
        [START[0], START[1], *STALLS, ("offload", "offload", "mean", percent)],
    )
    yield measured("lab.bulk", "bulk-16 --runs 3")
    yield measured("lab.bulk-64", "bulk-64 --runs 3")
    yield measured("lab.bulk-foreign", "bulk-foreign --runs 3")
    yield measured("lab.fresh", "fresh --runs 2")
    yield measured("lab.four-viewers", "four-viewers --runs 2")
    yield measured("lab.four-viewers-delayed", "four-viewers --runs 2 --delay 40")
    yield measured("lab.foreign", "foreign --runs 2")


def written(table: list[Row]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "|---" * len(table[0]) + "|")
    return "\n".join(lines)


def marks(name: str) -> tuple[str, str]:
    """What stands before and behind a table."""
    return f"<!-- results: {name} -->\n", f"<!-- end: {name} -->\n"


def between(text: str, name: str) -> tuple[int, int]:
    """Where the inside of a table begins and ends; both are -1 when its marks do not stand there once each, in order."""
    before, behind = marks(name)
    if text.count(before) != 1 or text.count(behind) != 1:
        return -1, -1
    begin, end = text.index(before) + len(before), text.index(behind)
    return (begin, end) if begin <= end else (-1, -1)


def faults(text: str, parts: list[Part]) -> list[str]:
    """What does not agree between the document and the parts."""
    found, last = [], 0
    for part in parts:
        begin, end = between(text, part.name)
        if begin < 0:
            found.append(f"{part.name}: its two marks do not stand once each in the document, in order")
            continue
        if begin < last:
            found.append(f"{part.name}: it stands before the part that goes before it here, or inside it")
        last = end
        if not text[begin:end].startswith(f"`{part.command}`\n"):
            found.append(f"{part.name}: the document shows another command; it is `{part.command}`")
        if "\n| " not in text[begin:end]:
            found.append(f"{part.name}: there is no table")
    known = {mark for part in parts for mark in marks(part.name)}
    for line in text.splitlines(keepends=True):
        if line.startswith(("<!-- results:", "<!-- end:")) and line not in known:
            found.append(f"no part is called as in {line.strip()}")
    return found


def chosen(parts: list[Part], patterns: list[str]) -> list[Part]:
    """Those that a pattern names."""
    for pattern in patterns:
        if not any(named(part, pattern) for part in parts):
            raise SystemExit(f"results: no part is called {pattern}; there are {', '.join(part.name for part in parts)}")
    return [part for part in parts if any(named(part, pattern) for pattern in patterns)]


def named(part: Part, pattern: str) -> bool:
    """A glob, or the beginning of a name up to a dot."""
    return fnmatch.fnmatch(part.name, pattern) or part.name.startswith(pattern + ".")


def bench_of(args: argparse.Namespace) -> Bench:
    """The programs of this tree, unless others are named."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    if "SHOAL_BIN" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--quiet", "-p", "shoal-app", "-p", "shoal-lab"], cwd=ROOT, check=True)
    shoal = Path(os.environ.get("SHOAL_BIN", target / "release/shoal"))
    if not shoal.exists():
        raise SystemExit(f"results: there is no program {shoal}")
    return Bench(shoal.resolve(), target / "release/shoal-lab", Path(args.out), args.keep)


def main() -> None:
    """Runs what was named."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("part", nargs="*")
    words.add_argument("--out", default=str(ROOT / "out" / "results"))
    words.add_argument("--document", default=str(DOCUMENT), help=argparse.SUPPRESS)
    for flag in ("--list", "--check", "--keep"):
        words.add_argument(flag, action="store_true")
    args = words.parse_args()
    parts, document = list(all_parts()), Path(args.document)
    if args.list:
        print("\n".join(f"{part.name:<26}{part.command}" for part in parts))
    elif args.check:
        found = faults(document.read_text(), parts)
        print("\n".join(found) or f"{len(parts)} tables are where they should be")
        sys.exit(1 if found else 0)
    elif not args.part:
        raise SystemExit("results: name parts to run; --list shows them")
    else:
        bench = bench_of(args)
        for part in chosen(parts, args.part):
            print(part.name, flush=True)
            block = part.block(written(part.lines(bench)))
            # Read again each time: somebody may be writing the prose meanwhile.
            text = document.read_text()
            begin, end = between(text, part.name)
            if begin < 0:
                raise SystemExit(f"results: the marks of {part.name} are not in {document}")
            document.write_text(text[:begin] + block + text[end:])


if __name__ == "__main__":
    main()
