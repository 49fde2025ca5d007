#!/usr/bin/env python3
"""What a leech cannot do without: one thread that receives 1 GiB over loopback, hashes it by pieces and writes it to tmpfs.

    bench/bare.py [--size MIB] [--piece KIB] [--kind v1|v2] [--runs N]

Prints wall time and CPU seconds of the receiver, the median of the runs. The bytes come from a second process. Hashes are those of
OpenSSL by Python's hashlib; Python itself is in the figure with a few calls per piece (v2: per block of 16 KiB).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import socket
import statistics
import tempfile
import time

BLOCK = 16384


def send(listener: socket.socket, size: int) -> None:
    """The other side: the same random MiB again and again."""
    stream, _ = listener.accept()
    part = os.urandom(1 << 20)
    for _ in range(size >> 20):
        stream.sendall(part)


def receive(stream: socket.socket, out: int, size: int, piece: int, kind: str) -> None:
    """Receives, hashes, writes."""
    buffer = memoryview(bytearray(piece))
    for at in range(0, size, piece):
        have = 0
        while have < piece:
            count = stream.recv_into(buffer[have:])
            if count == 0:
                raise SystemExit("the sender ended early")
            have += count
        if kind == "v1":
            hashlib.sha1(buffer).digest()
        else:
            for block in range(0, piece, BLOCK):
                hashlib.sha256(buffer[block:block + BLOCK]).digest()
        if os.pwrite(out, buffer, at) != piece:
            raise SystemExit("short write")


def run(size: int, piece: int, kind: str) -> tuple[float, float]:
    """One run: wall and CPU seconds of the receiver."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        child = os.fork()
        if child == 0:
            send(listener, size)
            os._exit(0)
        with tempfile.TemporaryFile(dir="/dev/shm") as out, socket.create_connection(listener.getsockname()) as stream:
            before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
            receive(stream, out.fileno(), size, piece, kind)
            wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        os.waitpid(child, 0)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Runs and prints."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--size", type=int, default=1024, help="MiB, a multiple of the piece")
    words.add_argument("--piece", type=int, default=256, help="KiB")
    words.add_argument("--kind", choices=("v1", "v2"), default="v1")
    words.add_argument("--runs", type=int, default=5)
    args = words.parse_args()
    run(args.size << 20, args.piece << 10, args.kind)  # The first one touches memory that nobody used before.
    walls, cpus = zip(*(run(args.size << 20, args.piece << 10, args.kind) for _ in range(args.runs)))
    print(f"{args.size} MiB, {args.piece} KiB, {args.kind}: wall {statistics.median(walls):.2f} s, CPU {statistics.median(cpus):.2f} s "
          f"({min(cpus):.2f}-{max(cpus):.2f}), load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
