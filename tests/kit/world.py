"""A trial's world: a network of its own, a folder of its own, and every program it started.

`run.py` starts each trial inside fresh network, mount and process namespaces, so that ports never collide, nothing
reaches the machine's network, and everything ends with the trial. Inside, each `Host` is one more network namespace
with one address on a bridge: programs on two hosts see each other as they would on two machines.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from kit.program import Program, Shoal

CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """A trial did not show what it must."""


class Skipped(Exception):
    """A trial cannot be run on this machine; the text says why."""


@dataclass(frozen=True)
class Trial:
    """One entry of the list that `run.py` selects from."""

    name: str
    run: Callable[["World"], None]
    seconds: float
    quick: bool
    tools: tuple[str, ...]


TRIALS: dict[str, Trial] = {}


def trial(name: str, *, seconds: float = 60, quick: bool = False, tools: tuple[str, ...] = ()):
    """Registers a function that takes a `World` as the trial `name`, ended after `seconds`."""

    def register(run: Callable[["World"], None]):
        assert name not in TRIALS, f"two trials are called {name}"
        TRIALS[name] = Trial(name, run, seconds, quick, tools)
        return run

    return register


@dataclass
class Host:
    """A machine of the trial's network."""

    name: str
    ip: str

    def command(self, *argv: object) -> list[str]:
        """The command line that runs `argv` on this host."""
        return ["nsenter", f"--net=/run/netns/{self.name}", *map(str, argv)]

    @contextmanager
    def entered(self):
        """Sockets made inside by this thread belong to this host for ever."""
        with open("/proc/thread-self/ns/net") as back, open(f"/run/netns/{self.name}") as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(back.fileno())


def _setns(fd: int) -> None:
    if LIBC.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*argv: str) -> None:
    subprocess.run(["ip", *argv], check=True, stdout=subprocess.DEVNULL)


@dataclass
class World:
    """Everything one trial may touch."""

    folder: Path
    binary: str
    cache: Path
    count: int
    quick: bool
    seed: int
    figures: dict[str, object] = field(default_factory=dict)
    programs: list[Program] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self._lock = threading.Lock()
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        Path("/run/netns").mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", "/run/netns"], check=True)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "br0", "type", "bridge")
        _ip("link", "set", "br0", "up")

    def host(self, name: str) -> Host:
        """The host of that name (at most 10 characters), made when first asked for."""
        with self._lock:
            if name in self.hosts:
                return self.hosts[name]
            ip = f"10.77.0.{len(self.hosts) + 1}"
            _ip("netns", "add", name)
            _ip("link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"v-{name}", "master", "br0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
            _ip("-n", name, "addr", "add", f"{ip}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            self.hosts[name] = Host(name, ip)
            return self.hosts[name]

    def shoal(self, host: Host | str, *args: object, name: str | None = None, state: Path | None = None, **more) -> Shoal:
        """Starts `shoal ARGS --json` on a host; its state folder is the host's own unless given."""
        host = self.host(host) if isinstance(host, str) else host
        argv = [self.binary, *args]
        state = state or self.folder / f"state-{host.name}"
        return Shoal(self, host, argv, name=name or f"shoal-{host.name}", state=state, **more)

    def start(self, host: Host | str, *argv: object, name: str | None = None, **more) -> Program:
        """Starts any program on a host."""
        host = self.host(host) if isinstance(host, str) else host
        return Program(self, host, list(argv), name=name or Path(str(argv[0])).name, **more)

    def check(self, good: object, sentence: str) -> None:
        """Fails the trial with a sentence unless `good`."""
        if not good:
            raise Failed(sentence)

    def show(self, **figures: object) -> None:
        """Figures printed on the trial's line."""
        self.figures.update(figures)

    def until(self, seconds: float, what: str, probe: Callable[[], object], pause: float = 0.05):
        """Waits until `probe` gives something true, and returns it; fails after `seconds`."""
        end = time.monotonic() + seconds
        while True:
            found = probe()
            if found:
                return found
            if time.monotonic() > end:
                raise Failed(f"not within {seconds:g} s: {what}")
            time.sleep(pause)

    def finish(self) -> list[str]:
        """Ends every program that still runs; returns sentences about those that panicked."""
        for program in self.programs:
            program.kill()
        sentences = []
        for program in self.programs:
            text = program.stderr() + (program.raw_stdout() if isinstance(program, Shoal) else "")
            for line in text.splitlines():
                if "panicked at" in line or "RUST_BACKTRACE" in line:
                    sentences.append(f"{program.name} panicked: {line.strip()[:200]}")
                    break
        return sentences


def read_status(pid: int, key: str) -> int:
    """A figure of /proc/PID/status in KiB (`VmRSS`, `VmHWM`), 0 when the process is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(key + ":"):
                return int(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def alive(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def environment() -> dict[str, str]:
    """The environment of every program: no settings of the user, English sentences."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith("SHOAL_")}
    keep.update(LC_ALL="C.UTF-8", RUST_BACKTRACE="1", NO_COLOR="1")
    for key in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        keep.pop(key, None)
    return keep
