#!/usr/bin/env python3
"""Trials: the real `shoal` program against programs we did not write, hostile peers, crashes and players.

    tests/run.py [--quick] [--list] [-j N] [--keep] [--count N] [--seed N] [PATTERN...]

A PATTERN selects trials by name (`interop`, `hostile.wrong-bytes`, `crash.*`); without one all run. `--quick` takes those
that `./check` runs. Each trial has a network of its own, a temporary folder and a time limit, and prints one line.
SHOAL_BIN names the program (target/release/shoal). Needs root, or user namespaces. As root a missing tool is installed.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

from kit import world as kit  # noqa: E402

MODULES = ("interop", "hostile", "crash", "cache", "playback", "adaptive", "rtsp", "hard", "badinput", "lifecycle", "roaming", "slots", "browser", "selfcheck")


def load() -> dict[str, kit.Trial]:
    """All trials, in the order of their files."""
    for module in MODULES:
        importlib.import_module(module)
    return kit.TRIALS


def selected(trials: dict[str, kit.Trial], patterns: list[str], quick: bool) -> list[kit.Trial]:
    """Those that match a pattern: a glob, or the beginning of a name up to a dot."""

    def matches(name: str) -> bool:
        if not patterns:
            return not name.startswith("selfcheck.")
        return any(
            fnmatch.fnmatch(name, pattern) or name.startswith(pattern.rstrip(".") + ".") for pattern in patterns
        )

    return [one for one in trials.values() if matches(one.name) and (one.quick or not quick)]


def inside(name: str, folder: Path, args: argparse.Namespace) -> None:
    """Runs one trial; this process is already in namespaces of its own."""
    one = load()[name]
    result: dict[str, object] = {"status": "failed", "message": "", "figures": {}}
    place = None
    try:
        binary = os.environ["SHOAL_BIN"]
        place = kit.World(folder, binary, args.cache, args.count, args.quick, args.seed)
        one.run(place)
        result["status"] = "passed"
    except kit.Failed as reason:
        result["message"] = str(reason)
    except kit.Skipped as reason:
        result.update(status="skipped", message=str(reason))
    except Exception as reason:  # A fault of the harness must be told apart, and must not stop the others.
        result["message"] = f"harness: {type(reason).__name__}: {reason}"
        (folder / "traceback.txt").write_text(traceback.format_exc())
    if place is not None:
        panics = place.finish()
        if panics:
            result.update(status="failed", message="; ".join([*panics, str(result["message"])]))
        result["figures"] = place.figures
    (folder / "result.json").write_text(json.dumps(result))


def run_one(one: kit.Trial, args: argparse.Namespace) -> tuple[kit.Trial, dict, float, Path]:
    """Runs a trial in namespaces of its own and returns what it left."""
    folder = Path(tempfile.mkdtemp(prefix="trial-"))
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        command.insert(1, "--map-root-user")
    command += [sys.executable, __file__, "--inside", one.name, "--folder", folder, "--cache", args.cache]
    command += ["--count", args.count, "--seed", args.seed] + (["--quick"] if args.quick else [])
    began = time.monotonic()
    with open(folder / "harness.txt", "wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        late = False
        try:
            process.wait(one.seconds)
        except subprocess.TimeoutExpired:
            late = True
            process.kill()
            process.wait()
    took = time.monotonic() - began
    path = folder / "result.json"
    if path.exists() and not late:
        result = json.loads(path.read_text())
    else:
        words = (folder / "harness.txt").read_text(errors="replace").strip().splitlines()
        why = f"not over after {one.seconds:g} s" if late else f"the harness ended: {' '.join(words[-1:])}"
        result = {"status": "failed", "message": why, "figures": {}}
    return one, result, took, folder


def line_of(one: kit.Trial, result: dict, took: float, folder: Path) -> str:
    """The one line of a trial."""
    mark = {"passed": "ok  ", "failed": "FAIL", "skipped": "skip"}[result["status"]]
    figures = " ".join(f"{key}={value}" for key, value in result["figures"].items())
    tail = f": {result['message']}" if result["message"] else ""
    kept = f" [{folder}]" if folder.exists() else ""
    return f"{mark} {one.name} {took:.1f} s {figures}{tail}{kept}".replace("  ", " ")


def main() -> int:
    """Selects, runs, reports."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("patterns", nargs="*")
    words.add_argument("--quick", action="store_true", help="only what ./check runs")
    words.add_argument("--list", action="store_true", help="print the names and stop")
    words.add_argument("-j", "--jobs", type=int, default=1, help="trials at once (default 1: times are measured)")
    words.add_argument("--keep", action="store_true", help="keep the folders of trials that passed")
    words.add_argument("--count", type=int, default=0, help="random moments of the crash trials (default 50, 6 if quick)")
    words.add_argument("--seed", type=int, default=1, help="seed of random choices (default 1)")
    words.add_argument("--cache", type=Path, default=ROOT / "out" / "trial-cache", help="films and node packages made once")
    words.add_argument("--inside", help=argparse.SUPPRESS)
    words.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = words.parse_args()
    args.count = args.count or (6 if args.quick else 50)
    if args.inside:
        inside(args.inside, args.folder, args)
        return 0
    chosen = selected(load(), args.patterns, args.quick)
    if args.list:
        print("\n".join(f"{one.name}{' (quick)' if one.quick else ''}" for one in chosen))
        return 0
    if not chosen:
        print("no trial has such a name; see --list", file=sys.stderr)
        return 2
    from kit import tools

    args.cache.mkdir(parents=True, exist_ok=True)
    binary = Path(os.environ.get("SHOAL_BIN", ROOT / "target" / "release" / "shoal")).resolve()
    if not binary.exists():
        print(f"{binary} is missing: build it with `cargo build --release` or set SHOAL_BIN", file=sys.stderr)
        return 1
    os.environ["SHOAL_BIN"] = str(binary)
    missing = tools.provide(sorted({tool for one in chosen for tool in one.tools}), args.cache)
    if missing:
        print("\n".join(missing), file=sys.stderr)
        return 1
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with ThreadPoolExecutor(max(1, args.jobs)) as pool:
        for one, result, took, folder in pool.map(lambda one: run_one(one, args), chosen):
            counts[result["status"]] += 1
            if result["status"] != "failed" and not args.keep:
                shutil.rmtree(folder, ignore_errors=True)
            print(line_of(one, result, took, folder), flush=True)
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    print(f"{counts['passed']} passed, {counts['failed']} failed{skipped}")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
