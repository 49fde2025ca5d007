"""A wall clock that can be set under a running program, and what the program told its core of the world, by its `--record`."""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

from kit.program import Shoal
from kit.world import Host, World


def inputs(recording: Path):
    """What a program told its core by `--record`, which is written while it runs: seconds since it began, and the input."""
    data, at, nanoseconds = recording.read_bytes() if recording.exists() else b"", 0, 0
    while at + 4 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        record = data[at + 4 : at + 4 + length]
        at += 4 + length
        # An input is a kind (0), the time since the one before (u64), and a value that begins with its tag.
        if len(record) == length >= 10 and record[0] == 0:
            nanoseconds += struct.unpack_from("<Q", record, 1)[0]
            yield nanoseconds / 1e9, record[9:]


def network_changes(recording: Path) -> list[float]:
    """When a program told its core that the network is another one, seconds after it began: tag 2, a command, and 10."""
    return [moment for moment, value in inputs(recording) if value == b"\x02\x0a"]


def bytes_twice(recording: Path, since: float) -> int:
    """Film bytes that a program took after a moment and had taken before: tag 5, a link (u32), a length (u32), whole frames."""
    seen, twice = set(), 0
    for moment, value in inputs(recording):
        at = 9
        while value[0] == 5 and at + 4 <= len(value):
            if value[at : at + 20] == b"\x13BitTorrent protocol":
                at += 68
                continue
            (length,) = struct.unpack_from(">I", value, at)
            if length > 9 and value[at + 4] == 7:
                block = value[at + 5 : at + 13]
                twice += length - 9 if block in seen and moment >= since else 0
                seen.add(block)
            at += 4 + length
    return twice


class Dial:
    """A wall clock that is set while programs run (libfaketime, a file that is read at each look); monotonic time goes on as it is."""

    def __init__(self, world: World, us: Host):
        self.world, self.path, self.offset = world, world.folder / "clock", 0
        library = next(Path("/usr/lib").rglob("faketime/libfaketimeMT.so.1"))
        self.env = {
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(self.path), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", "FAKETIME_DONT_RESET": "1",
        }
        self.set(0)
        # Beside it, a program that is not ours, under the same clock: it tells that the dial works.
        script = "import select, time\nwhile True: print(int(time.time()), flush=True); select.select([], [], [], 0.1)"
        self.witness = world.start(us, sys.executable, "-c", script, name="witness", env=self.env)

    def set(self, offset: int) -> None:
        """Sets the clock, in one step."""
        part = self.path.with_suffix(".new")
        part.write_text(f"{offset:+d}\n")
        part.rename(self.path)
        self.offset = offset

    def is_shown_by(self, clock: int) -> bool:
        """Whether a clock is the one that stands on the dial."""
        return abs(clock - (time.time() + self.offset)) < 30

    def step(self, offset: int, program: Shoal, recording: Path) -> None:
        """Sets the clock, and waits until the program and the witness have seen it while the download runs. To a program it is a sleep."""
        before = len(network_changes(recording))
        self.set(offset)
        self.world.until(3, f"the witness sees the clock at {offset:+d} s", lambda: self.is_shown_by(int((self.witness.raw_stdout().split() or [0])[-1])))
        seen = lambda: len(network_changes(recording)) > before  # noqa: E731
        self.world.until(9, f"{program.name} sees the clock at {offset:+d} s", lambda: seen() or not program.running(), 0.2)
        self.world.check(seen(), f"{program.name} ended before it saw the clock at {offset:+d} s: {program.why()}")
        self.world.check(not program.last("complete"), f"{program.name} had it all before it saw the clock at {offset:+d} s")
