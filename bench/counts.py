#!/usr/bin/env python3
"""Instructions of Shoal's hot paths, counted by callgrind and held against bench/counts.txt.

    bench/counts.py [--renew] [--case NAME]... [--keep FOLDER]

Builds the crate bench/counts as it would ship, runs each of its cases under `valgrind --tool=callgrind`, and prints a table of
instructions per unit. Fails when a case needs over 5 % more than the baseline says, or is not in it; `--renew` writes the
baseline anew, for a change that is worth its cost or that made something cheaper. `--keep` leaves callgrind's files in a
folder, for `callgrind_annotate`.

Counts depend on the compiler and on the C library's memcpy, so the baseline names the compiler that it was made with.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path(__file__).with_name("counts.txt")
SLACK = 1.05


def output(*argv: object) -> str:
    """What a program prints; its failure is ours."""
    done = subprocess.run([str(part) for part in argv], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{argv[0]} failed with {done.returncode}")
    return done.stdout


def build() -> Path:
    """The program with the cases."""
    output("cargo", "build", "--release", "--locked", "-p", "shoal-counts")
    return Path(ROOT, os.environ.get("CARGO_TARGET_DIR", "target"), "release", "shoal-counts")


def count(program: Path, case: str, folder: Path) -> float:
    """Instructions per unit of one case."""
    record = folder / f"{case.replace('/', '-')}.callgrind"
    units = int(output(
        "valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={record}", "--toggle-collect=*shoal_counts*counted*", program, case
    ))
    found = re.search(r"^(?:summary|totals): (\d+)", record.read_text(), re.MULTILINE)
    if not found or int(found[1]) == 0:
        raise SystemExit(f"{case}: callgrind counted nothing")
    return int(found[1]) / units


def baseline() -> tuple[str, dict[str, float]]:
    """The compiler and the counts of the kept baseline."""
    if not BASELINE.exists():
        return "none", {}
    head, *lines = BASELINE.read_text().splitlines()
    return head.removeprefix("# "), {name: float(per_unit) for name, per_unit in (line.split() for line in lines)}


def main() -> None:
    """Counts, prints, judges."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--renew", action="store_true", help="write the baseline anew")
    words.add_argument("--case", action="append", help="only this one, may be repeated")
    words.add_argument("--keep", type=Path, help="leave callgrind's files here")
    args = words.parse_args()
    if args.renew and args.case:
        raise SystemExit("a baseline is renewed as a whole: leave --case out")
    program = build()
    units = dict(line.split() for line in output(program).splitlines())
    if unknown := set(args.case or []) - set(units):
        raise SystemExit(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(units)}")
    compiler, before = baseline()
    now: dict[str, float] = {}
    faults = [f"{name} is in the baseline, but there is no such case" for name in before if name not in units]
    print("| case | instructions per | now | baseline | ratio |\n| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in args.case or units:
            now[name] = count(program, name, folder)
            was = before.get(name)
            ratio = f"{now[name] / was:.3f}" if was else "new"
            print(f"| {name} | {units[name]} | {now[name]:.1f} | {was or 0:.1f} | {ratio} |", flush=True)
            if was is None or now[name] > was * SLACK:
                faults.append(f"{name}: {now[name]:.1f} instructions per {units[name]}, {was or 'nothing'} in the baseline")
    used = output("rustc", "--version").strip()
    if args.renew:
        BASELINE.write_text("\n".join([f"# {used}", *(f"{name} {per_unit:.1f}" for name, per_unit in now.items())]) + "\n")
        return
    if faults:
        print("\n".join(faults), f"The baseline was made with {compiler}, this with {used}.",
              "If the change is worth it: python3 bench/counts.py --renew", sep="\n", file=sys.stderr)
        raise SystemExit(1)


if __name__ == "__main__":
    main()
