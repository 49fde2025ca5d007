"""A player's eyes: reads HTTP at film rate and counts every pause; raw requests for the odd ones."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

from kit.world import Host


def connect(host: Host, address: str, timeout: float = 30) -> socket.socket:
    """A TCP connection made on a host."""
    name, port = address.rsplit(":", 1)
    with host.entered():
        sock = socket.socket()
    sock.settimeout(timeout)
    sock.connect((name, int(port)))
    return sock


def request(host: Host, url: str, method: str = "GET", headers: dict | None = None, body: bytes | None = None, timeout: float = 30):
    """Status, headers and body of one request."""
    parts = urlsplit(url)
    link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    link.sock = connect(host, f"{parts.hostname}:{parts.port or 80}", timeout)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    link.request(method, path or "/", body=body, headers=headers or {})
    answer = link.getresponse()
    data = answer.read()
    link.close()
    return answer.status, {key.lower(): value for key, value in answer.getheaders()}, data


def raw(host: Host, address: str, data: bytes, timeout: float = 5) -> bytes:
    """What comes back for raw bytes until the other end closes or is silent."""
    sock = connect(host, address, timeout)
    got = b""
    try:
        sock.sendall(data)
        while len(got) < 1 << 20:
            part = sock.recv(1 << 16)
            if not part:
                break
            got += part
    except OSError:
        pass
    finally:
        sock.close()
    return got


def api_title(host: Host, address: str, title: str) -> dict:
    """JSON state of a title."""
    status, _, body = request(host, f"http://{address}/api/v1/titles/{title}")
    if status != 200:
        raise ValueError(f"the API answered {status}: {body[:200]!r}")
    return json.loads(body)


class Reader(threading.Thread):
    """Plays a URL at `rate` bytes/s: starts at `preroll` seconds of film, then every lack of bytes is a stall; one of `patience` seconds ends it."""

    def __init__(self, host: Host, url: str, rate: float, *, start: int = 0, stop: int | None = None, preroll: float = 1.0, ahead: float = 2.0, patience: float = 60):
        super().__init__(daemon=True)
        self.host, self.url, self.rate, self.preroll, self.ahead, self.patience = host, url, rate, preroll, ahead, patience
        self.range = (start, stop)
        self.began = time.monotonic()
        self.first_byte: float | None = None
        self.playing: float | None = None
        self.stalls: list[tuple[float, float]] = []
        self.taken = 0
        self.hash = hashlib.sha256()
        self.trace: list[tuple[float, int]] = []
        self.trouble = ""
        self.over = False
        self.start()

    def run(self) -> None:
        """Reads to the end."""
        try:
            self._read()
        except (OSError, http.client.HTTPException, ValueError) as reason:
            self.trouble = f"{type(reason).__name__}: {reason}"
        self.over = True

    def _read(self) -> None:
        parts = urlsplit(self.url)
        link = http.client.HTTPConnection(parts.hostname, parts.port, timeout=self.patience)
        link.sock = connect(self.host, f"{parts.hostname}:{parts.port or 80}", self.patience)
        first, stop = self.range
        headers = {"Range": f"bytes={first}-{'' if stop is None else stop - 1}"} if first or stop else {}
        link.request("GET", parts.path, headers=headers)
        answer = link.getresponse()
        if answer.status not in (200, 206):
            raise ValueError(f"HTTP {answer.status}")
        length, behind, zero = int(answer.headers["Content-Length"]), None, 0.0
        while self.taken < length:
            now = time.monotonic()
            if self.playing is not None and self.taken > (now - zero + self.ahead) * self.rate:
                time.sleep(0.02)
                continue
            part = answer.read1(16384)
            now = time.monotonic()
            if not part:
                raise ValueError(f"ended after {self.taken} of {length} bytes")
            self.first_byte = self.first_byte or now
            self.taken += len(part)
            self.hash.update(part)
            self.trace.append((now - self.began, self.taken))
            if self.playing is None:
                if self.taken >= min(length, self.preroll * self.rate):
                    self.playing, zero = now, now
                continue
            lack = (now - zero) - self.taken / self.rate
            if lack > 0:  # The playhead waited for these bytes: the film goes on from now.
                self.stalls.append((self.taken / self.rate, lack))
                zero += lack
        self.playing = self.playing or time.monotonic()

    def write_trace(self, path) -> None:
        """Writes when how many bytes had been taken, for who looks into a stall."""
        path.write_text("".join(f"{when:.3f} {taken}\n" for when, taken in self.trace))

    def stalled(self) -> float:
        """Seconds of all pauses after the first frame."""
        return sum(length for _, length in self.stalls)

    def startup(self) -> float:
        """Seconds until the first frame could be shown."""
        return (self.playing or time.monotonic()) - self.began
