"""Programs of a trial: started on a host, watched through their output, ended by their process id."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path


class Program:
    """A running program; its output goes to files in the trial's folder."""

    def __init__(self, world, host, argv, *, name, env=None, stdin=None, cwd=None):
        from kit.world import environment

        self.world, self.host, self.name = world, host, name
        number = len(world.programs)
        base = world.folder / "log" / f"{number:02}-{name}"
        base.parent.mkdir(exist_ok=True)
        self.out_path, self.err_path = base.with_suffix(".out"), base.with_suffix(".err")
        self.argv = [str(part) for part in argv]
        base.with_suffix(".cmd").write_text(" ".join(self.argv) + "\n")
        full = environment()
        full.update(env or {})
        self.started = time.monotonic()
        self._out = open(self.out_path, "wb")
        with open(self.err_path, "wb") as err:
            self.process = subprocess.Popen(
                host.command(*self.argv), stdin=stdin or subprocess.DEVNULL, stdout=self._out, stderr=err, env=full, cwd=cwd
            )
        self._out.close()
        self.pid = self.process.pid
        world.programs.append(self)

    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def wait(self, seconds: float) -> int:
        """Its exit status; fails the trial when it does not end in time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            from kit.world import Failed

            raise Failed(f"{self.name} did not end within {seconds:g} s") from None

    def signal(self, number: int) -> None:
        """Sends a signal to this process alone."""
        if self.running():
            self.process.send_signal(number)

    def kill(self) -> None:
        """Ends it at once."""
        self.signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds: float = 10) -> int:
        """Asks it to end as Ctrl-C does."""
        self.signal(signal.SIGINT)
        return self.wait(seconds)

    def raw_stdout(self) -> str:
        """All it printed."""
        return self.out_path.read_text(errors="replace")

    def stderr(self) -> str:
        """All it complained."""
        return self.err_path.read_text(errors="replace")

    def rss_kib(self) -> int:
        """Resident memory now, KiB."""
        from kit.world import read_status

        return read_status(self.pid, "VmRSS")

    def peak_kib(self) -> int:
        """Largest resident memory so far, KiB."""
        from kit.world import read_status

        return read_status(self.pid, "VmHWM")


class Shoal(Program):
    """A `shoal` command with `--json`: its events as they come."""

    def __init__(self, world, host, argv, *, name, state, json_output=True, **more):
        state.mkdir(parents=True, exist_ok=True)
        argv = list(argv)
        if json_output:
            argv.append("--json")
        if "--state" not in map(str, argv) and str(argv[1]) not in ("inspect", "sim"):
            argv += ["--state", state]
        super().__init__(world, host, argv, name=name, **more)
        self._offset = 0
        self._seen: list[dict] = []
        self._lock = threading.Lock()

    def events(self, kind: str | None = None) -> list[dict]:
        """All events so far, of one kind if named."""
        with self._lock:
            with open(self.out_path, "rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
            end = data.rfind(b"\n") + 1
            self._offset += end
            for line in data[:end].splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"event": "not json", "text": line.decode(errors="replace")}
                event["seen"] = time.monotonic()
                self._seen.append(event)
            return [event for event in self._seen if kind is None or event.get("event") == kind]

    def last(self, kind: str) -> dict:
        """The newest event of a kind, or an empty one."""
        found = self.events(kind)
        return found[-1] if found else {}

    def expect(self, kind: str, seconds: float = 15) -> dict:
        """Waits for the first event of a kind; fails at once when the program ends without it."""
        from kit.world import Failed

        end = time.monotonic() + seconds
        while True:
            ended = not self.running()
            found = self.events(kind)
            if found:
                return found[0]
            if ended:
                raise Failed(f"{self.name} ended with status {self.process.returncode} before `{kind}`: {self.why()}")
            if time.monotonic() > end:
                raise Failed(f"{self.name}: no `{kind}` within {seconds:g} s; last: {str(self.events()[-2:])[:300]} {self.why()}")
            time.sleep(0.02)

    def why(self) -> str:
        """Its last words."""
        errors = [event.get("message", "") for event in self.events("error")]
        lines = [line for line in self.stderr().splitlines() if line.strip()]
        return " | ".join(errors[-2:] + lines[-2:])[:400] or "(it said nothing)"

    def words(self) -> str:
        """Every sentence for the user: error events and stderr."""
        return "\n".join([event.get("message", "") for event in self.events("error")] + [self.stderr()])

    def done(self, seconds: float) -> dict:
        """Waits for exit status 0; returns the summary."""
        from kit.world import Failed

        status = self.wait(seconds)
        if status != 0:
            raise Failed(f"{self.name} ended with status {status}: {self.why()}")
        return self.last("summary")

    def longest_pause(self, since: float = 0.0, until: float = float("inf")) -> float:
        """Seconds for which it told of no new byte between its first and its last one, or two moments of its own time."""
        moments, have = [], 0
        for event in self.events("progress"):
            if event["have"] > have and since <= event["t_ms"] / 1000 <= until:
                moments.append(event["t_ms"] / 1000)
            have = max(have, event["have"])
        return max((after - before for before, after in zip(moments, moments[1:])), default=0.0)

    def own_time(self) -> float:
        """Seconds since it was started: within some milliseconds the `t_ms` of its events."""
        return time.monotonic() - self.started

    def address(self, face: str = "peer", seconds: float = 15) -> str:
        """HOST:PORT of a face of its `listening` event."""
        end = time.monotonic() + seconds
        while True:
            for event in self.events("listening"):
                if event.get(face):
                    return str(event[face]).removeprefix("http://").rstrip("/")
            if time.monotonic() > end or not self.running():
                from kit.world import Failed

                raise Failed(f"{self.name} never said where it listens for `{face}`: {self.why()}")
            time.sleep(0.02)

    def port(self, face: str = "peer") -> int:
        """Port of a face."""
        return int(self.address(face).rsplit(":", 1)[1])
