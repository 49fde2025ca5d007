"""Makes a plain v1 torrent of one file, as a foreign program would: make_torrent.py FILE OUT PIECE_BYTES."""

from __future__ import annotations

import sys
from pathlib import Path

import libtorrent as lt


def main() -> None:
    """Hashes the file and writes the torrent."""
    film, out, piece = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    maker = lt.create_torrent(lt.list_files(str(film)), piece, lt.create_torrent.v1_only)
    lt.set_piece_hashes(maker, str(film.parent))
    out.write_bytes(lt.bencode(maker.generate()))


if __name__ == "__main__":
    main()
