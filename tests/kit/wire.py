"""A BitTorrent peer written from the BEPs (3, 6, 9, 10, 52), apart from the program under test, made to be bent.

`ForeignPeer` is honest: it listens, dials, serves what it holds. A hostile peer overrides one of its verbs.
"""

from __future__ import annotations

import hashlib
import socket
import struct
import threading
import time

from kit import bencode
from kit.content import Torrent
from kit.world import Host

CHOKE, UNCHOKE, INTERESTED, NOT_INTERESTED, HAVE, BITFIELD, REQUEST, PIECE, CANCEL = range(9)
SUGGEST, HAVE_ALL, HAVE_NONE, REJECT, ALLOWED_FAST = range(13, 18)
EXTENDED, HASH_REQUEST, HASHES, HASH_REJECT = range(20, 24)
UT_METADATA, UT_PEX = 2, 1  # Our own numbers for the extensions.
BLOCK = 16 * 1024
ESTABLISHED = 1  # First byte of Linux's TCP_INFO.


class Closed(Exception):
    """The other end closed the link."""


class Link:
    """One TCP connection: framed messages and what became of it."""

    def __init__(self, sock: socket.socket, dialed: bool):
        self.sock, self.dialed = sock, dialed
        self.opened, self.closed = time.monotonic(), None
        self.left: float | None = None  # When the other end closed it, which a liar that does not read learns late.
        self.remote = "%s:%d" % sock.getpeername()
        self.theirs: dict[bytes, int] = {}
        self.requests: list[tuple[int, int, int]] = []
        self.sent = 0
        self._write = threading.Lock()

    def raw(self, data: bytes) -> None:
        """Sends bytes as they are."""
        try:
            with self._write:
                self.sock.sendall(data)
            self.sent += len(data)
        except OSError as reason:
            raise Closed(str(reason)) from None

    def message(self, kind: int, payload: bytes = b"") -> None:
        """Sends one message."""
        self.raw(struct.pack(">IB", len(payload) + 1, kind) + payload)

    def extended(self, name: bytes, payload: bytes) -> None:
        """Sends a BEP 10 message by the number the other end gave to the extension."""
        number = 0 if name == b"handshake" else self.theirs.get(name)
        if number is not None:
            self.message(EXTENDED, bytes([number]) + payload)

    def exactly(self, count: int) -> bytes:
        """Receives so many bytes."""
        parts = []
        while count:
            try:
                part = self.sock.recv(min(count, 1 << 16))
            except OSError as reason:
                raise Closed(str(reason)) from None
            if not part:
                raise Closed("end of stream")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive(self) -> tuple[int, bytes]:
        """The next message that is not a keep-alive."""
        while True:
            length = struct.unpack(">I", self.exactly(4))[0]
            if length:
                body = self.exactly(length)
                return body[0], body[1:]

    def open(self) -> bool:
        """Whether the other end still holds it."""
        return self.closed is None

    def watch(self) -> None:
        """Notes when the kernel hears that the other end closed it, whether this one reads or not."""
        try:
            while self.open() and self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED:
                time.sleep(0.05)
        except OSError:
            pass
        self.left = time.monotonic()


class ForeignPeer:
    """An honest peer; every verb may be bent by a subclass."""

    reserved = bytes([0, 0, 0, 0, 0, 0x10, 0, 0x04])
    client = "Foreign 1.0"
    dials = 3  # Times it dials the victim by itself.
    rate = 0  # Bytes of blocks a second, 0 is as fast as can be.

    def __init__(self, host: Host, torrent: Torrent, *, port: int = 6881, target: str = "", data: bytes | None = None):
        self.host, self.torrent, self.port, self.target = host, torrent, port, target
        self.peer_id = b"-FX1000-" + hashlib.sha1(host.name.encode()).digest()[:12]
        self.title = bytes.fromhex(torrent.v1 or torrent.v2[:40])
        self.info = torrent.info_raw
        self.content = data if data is not None else (torrent.data.read_bytes() if torrent.data.is_file() else b"")
        self.pieces = -(-torrent.length // torrent.piece_length)
        self.links: list[Link] = []
        self.refused = 0
        self.stopping = False
        with host.entered():
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host.ip, port))
            self.listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()
        if target:
            threading.Thread(target=self._dial, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"{self.host.ip}:{self.port}"

    def met(self) -> list[Link]:
        """Links with the victim, or with anybody if there is none: others in the swarm may find this peer, too."""
        victim = self.target.rsplit(":", 1)[0]
        return [link for link in self.links if not victim or link.remote.startswith(victim + ":")]

    def open_links(self) -> list[Link]:
        """Links that the victim still holds."""
        return [link for link in self.met() if link.open()]

    def stop(self) -> None:
        """Closes everything."""
        self.stopping = True
        self.listener.close()
        for link in self.links:
            link.sock.close()

    def _accept(self) -> None:
        while not self.stopping:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self._start(Link(sock, False))

    def _dial(self) -> None:
        host, port = self.target.rsplit(":", 1)
        left = self.dials
        while left and not self.stopping:
            try:
                with self.host.entered():
                    sock = socket.socket()
                sock.settimeout(5)
                sock.connect((host, int(port)))
                sock.settimeout(None)
            except OSError:
                self.refused += 1
                time.sleep(0.3)
                left -= self.refused % 5 == 0
                continue
            left -= 1
            link = Link(sock, True)
            self._start(link)
            while link.open() and not self.stopping:
                time.sleep(0.1)
            time.sleep(1)

    def _start(self, link: Link) -> None:
        self.links.append(link)
        threading.Thread(target=link.watch, daemon=True).start()
        threading.Thread(target=self._run, args=(link,), daemon=True).start()

    def _run(self, link: Link) -> None:
        try:
            self.greet(link)
            self.begin(link)
            while True:
                self.on_message(link, *link.receive())
        except (Closed, OSError, struct.error, ValueError):
            pass
        finally:
            link.closed = time.monotonic()
            link.sock.close()

    # ---- verbs to bend ----

    def is_guilty(self) -> bool:
        """Whether it has done by now what it is here for."""
        return True

    def greet(self, link: Link) -> None:
        """Both handshakes of BEP 3 and 10."""
        mine = b"\x13BitTorrent protocol" + self.reserved + self.title + self.peer_id
        if link.dialed:
            link.raw(mine)
        theirs = link.exactly(68)
        if not link.dialed:
            link.raw(mine[:28] + self.answer_name(theirs[28:48]) + mine[48:])
        if theirs[25] & 0x10:
            link.message(EXTENDED, b"\0" + bencode.encode(self.extensions()))

    def answer_name(self, asked: bytes) -> bytes:
        """The name of the title under which a link that the other end opened goes on: the one that it asked for."""
        return asked

    def extensions(self) -> dict:
        """The BEP 10 handshake."""
        return {"m": {"ut_metadata": UT_METADATA, "ut_pex": UT_PEX}, "metadata_size": len(self.info), "v": self.client, "reqq": 250, "p": self.port}

    def begin(self, link: Link) -> None:
        """What follows the handshakes: says what it has, and lets the other ask."""
        link.message(BITFIELD, self.bitfield())
        link.message(UNCHOKE)

    def bitfield(self) -> bytes:
        """All pieces, spare bits clear."""
        bits = (1 << self.pieces) - 1 << (-self.pieces % 8)
        return bits.to_bytes(-(-self.pieces // 8), "big")

    def on_message(self, link: Link, kind: int, body: bytes) -> None:
        """One message of the other end."""
        if kind == REQUEST:
            link.requests.append(struct.unpack(">III", body))
            self.on_request(link, *link.requests[-1])
        elif kind == EXTENDED and body[0] == 0:
            table = bencode.decode_prefix(body, 1)[0]
            link.theirs = {name: number for name, number in table.get(b"m", {}).items() if number}
        elif kind == EXTENDED and body[0] == UT_METADATA:
            self.on_metadata(link, bencode.decode_prefix(body, 1)[0])
        elif kind == HASH_REQUEST:
            self.on_hash_request(link, body)

    def on_request(self, link: Link, piece: int, begin: int, length: int) -> None:
        """Sends the block."""
        at = piece * self.torrent.piece_length + begin
        self.send_block(link, piece, begin, self.content[at : at + length])

    def send_block(self, link: Link, piece: int, begin: int, data: bytes) -> None:
        """One PIECE message, at the peer's rate."""
        if self.rate:
            time.sleep(len(data) / self.rate)
        link.message(PIECE, struct.pack(">II", piece, begin) + data)

    def on_metadata(self, link: Link, ask: dict) -> None:
        """BEP 9."""
        if ask.get(b"msg_type") == 0:
            part = ask[b"piece"]
            data = self.info[part * BLOCK : (part + 1) * BLOCK]
            link.extended(b"ut_metadata", bencode.encode({"msg_type": 1, "piece": part, "total_size": len(self.info)}) + data)

    def on_hash_request(self, link: Link, body: bytes) -> None:
        """BEP 52: it keeps no hashes."""
        link.message(HASH_REJECT, body)


class Taker(ForeignPeer):
    """An honest leech that checks no hash: it asks for every block once, and keeps what came, with its time."""

    ahead = 32  # Questions under way.

    def __init__(self, host: Host, torrent: Torrent, *, target: str):
        self.wanted = [
            (at // torrent.piece_length, at % torrent.piece_length, min(BLOCK, torrent.length - at)) for at in range(0, torrent.length, BLOCK)
        ]
        self.asked: set[tuple[int, int, int]] = set()
        self.blocks: list[tuple[float, int, bytes]] = []
        self.choked = True
        super().__init__(host, torrent, target=target)

    def begin(self, link: Link) -> None:
        link.message(HAVE_NONE)
        link.message(INTERESTED)

    def on_message(self, link: Link, kind: int, body: bytes) -> None:
        if kind in (CHOKE, UNCHOKE):
            self.choked = kind == CHOKE
        elif kind == REJECT:
            question = struct.unpack(">III", body)
            self.asked.discard(question)
            self.wanted.append(question)
        elif kind == PIECE:
            piece, begin = struct.unpack(">II", body[:8])
            self.asked.discard((piece, begin, len(body) - 8))
            self.blocks.append((time.monotonic(), piece * self.torrent.piece_length + begin, body[8:]))
        else:
            super().on_message(link, kind, body)
        while not self.choked and self.wanted and len(self.asked) < self.ahead:
            question = self.wanted.pop(0)
            self.asked.add(question)
            link.message(REQUEST, struct.pack(">III", *question))
