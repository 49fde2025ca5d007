"""Clients and trackers that we did not write, each with one face: start, wait until done, end."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from kit.program import Program
from kit.world import Failed, Host, World

LT_SCRIPT = Path(__file__).with_name("lt_client.py")


class Libtorrent(Program):
    """libtorrent 2.1.1 in a process of its own."""

    def __init__(self, world: World, host: Host | str, link: object, save: Path, *options: object, port: int = 6881, peers=(), **flags: object):
        host = world.host(host) if isinstance(host, str) else host
        save.mkdir(parents=True, exist_ok=True)
        argv = [sys.executable, LT_SCRIPT, link, "--save", save, "--listen", f"{host.ip}:{port}", *options]
        for peer in peers:
            argv += ["--peer", peer]
        for flag, value in flags.items():
            name = "--" + flag.replace("_", "-")
            argv += [name] if value is True else [name, value]
        super().__init__(world, host, argv, name=f"libtorrent-{host.name}", stdin=subprocess.PIPE)
        self.address = f"{host.ip}:{port}"

    def lines(self) -> list[dict]:
        """All complete lines so far."""
        text = self.raw_stdout()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def status(self) -> dict:
        """The newest status."""
        for line in reversed(self.lines()):
            if line["event"] == "status":
                return line
        return {}

    def ready(self, seconds: float = 15) -> "Libtorrent":
        """Waits until it listens and has checked what it has."""
        self.world.until(seconds, f"{self.name} ready: {self.stderr()[-200:]}", lambda: self.status() and not self.status()["checking"])
        return self

    def complete(self, seconds: float) -> dict:
        """Waits until it has everything."""
        try:
            self.world.until(seconds, "complete", lambda: self.status().get("seeding"), 0.1)
        except Failed:
            now = self.status()
            alerts = [line["text"] for line in self.lines() if line["event"] == "alert"][-2:]
            raise Failed(f"{self.name} has {now.get('progress', 0):.1%} after {seconds:g} s, peers {now.get('peers')}, {alerts}") from None
        return self.status()

    def connect(self, address: str) -> None:
        """Dials a peer."""
        self.process.stdin.write(f"connect {address}\n".encode())
        self.process.stdin.flush()

    def end(self) -> dict:
        """Asks it to stop; returns its last line."""
        self.process.stdin.write(b"stop\n")
        self.process.stdin.flush()
        self.wait(10)
        return self.lines()[-1]


class Aria2(Program):
    """aria2c: fetches and leaves, or seeds until stopped."""

    def __init__(self, world: World, host: Host | str, link: object, save: Path, *options: object, seed: bool = False, port: int = 6881):
        host = world.host(host) if isinstance(host, str) else host
        save.mkdir(parents=True, exist_ok=True)
        # Its DHT is on, with nobody to talk to: without it aria2 1.36 asks no UDP tracker.
        argv = [
            "aria2c", f"--dir={save}", f"--listen-port={port}", "--enable-dht=true", f"--dht-file-path={world.folder}/dht-{host.name}.dat", "--enable-dht6=false", "--bt-enable-lpd=false",
            "--enable-peer-exchange=false", "--disable-ipv6=true", "--summary-interval=0", "--console-log-level=warn", "--no-conf=true",
            "--allow-overwrite=true", "--file-allocation=none", "--bt-tracker-interval=2", "--follow-torrent=mem", "--bt-save-metadata=false",
            "--bt-stop-timeout=60", f"--log={world.folder}/aria2-{host.name}.log", "--log-level=info",
        ]
        argv += ["--seed-ratio=0.0", "--check-integrity=true"] if seed else ["--seed-time=0"]
        super().__init__(world, host, [*argv, *options, link], name=f"aria2-{host.name}")
        self.address = f"{host.ip}:{port}"

    def complete(self, seconds: float) -> None:
        """Waits until it has fetched everything and left."""
        status = self.wait(seconds)
        if status != 0:
            raise Failed(f"aria2 ended with status {status}: {self.raw_stdout().strip()[-300:]}")


class Transmission(Program):
    """transmission-daemon 3.00 with one torrent, driven by transmission-remote."""

    def __init__(self, world: World, host: Host | str, link: object, save: Path, *, port: int = 6881):
        host = world.host(host) if isinstance(host, str) else host
        config = world.folder / f"transmission-{host.name}"
        config.mkdir()
        save.mkdir(parents=True, exist_ok=True)
        (config / "settings.json").write_text(json.dumps({
            "download-dir": str(save), "dht-enabled": False, "lpd-enabled": False, "pex-enabled": True, "utp-enabled": False,
            "port-forwarding-enabled": False, "peer-port": port, "rpc-port": 9091, "rpc-whitelist-enabled": False,
            "rpc-host-whitelist-enabled": False, "rpc-authentication-required": False, "encryption": 0, "cache-size-mb": 1,
            "ratio-limit-enabled": False, "start-added-torrents": True, "trash-original-torrent-files": False, "incomplete-dir-enabled": False,
            "rename-partial-files": False, "blocklist-enabled": False, "bind-address-ipv4": host.ip, "umask": 18, "message-level": 2,
        }))
        argv = ["transmission-daemon", "--foreground", "--config-dir", config, "--log-error"]
        super().__init__(world, host, argv, name=f"transmission-{host.name}")
        self.address = f"{host.ip}:{port}"
        world.until(15, "transmission answers", lambda: self._remote("--session-info").returncode == 0, 0.1)
        added = self._remote("--add", str(link))
        if added.returncode != 0 or "success" not in added.stdout:
            raise Failed(f"transmission refused {link}: {added.stdout} {added.stderr}")

    def _remote(self, *argv: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.host.command("transmission-remote", f"{self.host.ip}:9091", *argv), capture_output=True, text=True, timeout=20, check=False
        )

    def info(self) -> str:
        """What it says about the torrent."""
        return self._remote("--torrent", "all", "--info").stdout

    def ready(self, seconds: float = 20) -> "Transmission":
        """Waits until what it has is checked and it seeds."""
        self._remote("--torrent", "all", "--verify")
        self.world.until(seconds, f"transmission seeds: {self.info()}", lambda: "State: Seeding" in self.info() or "State: Idle" in self.info() and "Percent Done: 100%" in self.info(), 0.2)
        return self

    def complete(self, seconds: float) -> None:
        """Waits until it has everything."""
        try:
            self.world.until(seconds, "complete", lambda: "Percent Done: 100%" in self.info(), 0.3)
        except Failed:
            raise Failed(f"transmission is not done after {seconds:g} s: {self.info()[-900:]}") from None


class Opentracker(Program):
    """opentracker of Debian, HTTP and UDP on one port. It is built to serve only titles that its operator allowed."""

    def __init__(self, world: World, host: Host | str, port: int = 6969):
        host = world.host(host) if isinstance(host, str) else host
        path = shutil.which("opentracker") or "/usr/bin/opentracker"
        self.room = world.folder / "opentracker"
        self.room.mkdir()
        world.folder.chmod(0o755)
        (self.room / "allowed").write_text("")
        argv = [path, "-i", host.ip, "-p", port, "-P", port, "-d", self.room, "-u", "nobody", "-w", "allowed"]
        super().__init__(world, host, argv, name="opentracker", cwd=self.room)
        self.http = f"http://{host.ip}:{port}/announce"
        self.udp = f"udp://{host.ip}:{port}/announce"
        time.sleep(0.2)
        if not self.running():
            raise Failed(f"opentracker ended: {self.stderr()} {self.raw_stdout()}")

    def allow(self, *titles: str) -> None:
        """Lets it serve these info-hashes (hex, v2 ones shortened to 40 digits)."""
        (self.room / "allowed").write_text("".join(title[:40] + "\n" for title in titles if title))
        self.signal(signal.SIGHUP)
        time.sleep(0.2)


class SmallTracker(threading.Thread):
    """An HTTP tracker in this process: to tell aria2 or transmission of peers, which take no address by hand."""

    def __init__(self, host: Host, port: int = 7070, fixed: tuple[str, ...] = (), interval: int = 5):
        import http.server
        import socketserver

        super().__init__(daemon=True)
        self.peers: dict[bytes, dict[str, None]] = {}
        self.announces: list[dict] = []
        self.interval = interval
        tracker = self

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                tracker._answer(self, fixed)

            def log_message(self, *_: object) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
            daemon_threads = True

        with host.entered():
            self.server = Server((host.ip, port), Answer)
        self.url = f"http://{host.ip}:{port}/announce"
        self.start()

    def run(self) -> None:
        """Serves until the trial ends."""
        self.server.serve_forever()

    def _answer(self, request, fixed: tuple[str, ...]) -> None:
        import socket
        from urllib.parse import parse_qsl, urlsplit

        from kit import bencode

        query = dict(parse_qsl(urlsplit(request.path).query, encoding="latin-1"))
        title = query.get("info_hash", "").encode("latin-1")
        known = self.peers.setdefault(title, {})
        me = f"{request.client_address[0]}:{query.get('port', '0')}"
        self.announces.append({"peer": me, "at": time.monotonic(), **query})
        if query.get("event") == "stopped":
            known.pop(me, None)
        else:
            known[me] = None
        others = [peer for peer in [*fixed, *known] if peer != me]
        compact = b"".join(
            socket.inet_aton(peer.rsplit(":", 1)[0]) + int(peer.rsplit(":", 1)[1]).to_bytes(2, "big") for peer in dict.fromkeys(others)
        )
        body = bencode.encode({"interval": self.interval, "min interval": 1 if self.interval < 60 else self.interval, "peers": compact, "complete": 1, "incomplete": 1})
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)
