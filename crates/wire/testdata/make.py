#!/usr/bin/env python3
"""Writes the torrents of this folder with libtorrent, and what libtorrent itself says of each into a .txt beside it.

Usage: make.py OUT. Needs `pip install libtorrent` (2.1.1 was used). The content is made up here, by a rule that the tests
repeat: byte i of a file whose length is L is (i * 31 + i // 251 + L) % 256.
"""

import os
import sys
import tempfile

import libtorrent as lt

KIB = 1024

# name, files (path, length), piece length, flags
V1 = lt.create_torrent.v1_only
V2 = lt.create_torrent.v2_only
HYBRID = 0
FOLDER = [
    ("Folder/a film.mp4", 150_001),
    ("Folder/empty.txt", 0),
    ("Folder/extras/one block.srt", 16 * KIB),
    ("Folder/extras/small.srt", 77),
    ("Folder/extras/two pieces.bin", 128 * KIB),
    ("Folder/z last.nfo", 33 * KIB + 5),
]
SINGLE = [("film.mp4", 300_000)]
TINY = [("tiny.bin", 1)]
CASES = [
    ("single-v1", SINGLE, 32 * KIB, V1),
    ("single-v2", SINGLE, 32 * KIB, V2),
    ("single-hybrid", SINGLE, 32 * KIB, HYBRID),
    ("folder-v1", FOLDER, 64 * KIB, V1),
    ("folder-v2", FOLDER, 64 * KIB, V2),
    ("folder-hybrid", FOLDER, 64 * KIB, HYBRID),
    ("folder-hybrid-16k", FOLDER, 16 * KIB, HYBRID),
    ("tiny-v2", TINY, 16 * KIB, V2),
    ("tiny-hybrid", TINY, 16 * KIB, HYBRID),
]


def content(length):
    return bytes((i * 31 + i // 251 + length) % 256 for i in range(length))


def describe(info):
    files = info.files()
    hashes = info.info_hashes()
    lines = [
        f"v1 {hashes.v1 if hashes.has_v1() else '-'}",
        f"v2 {hashes.v2 if hashes.has_v2() else '-'}",
        f"piece_length {info.piece_length()}",
        f"pieces {info.num_pieces()}",
    ]
    for i in range(files.num_files()):
        if files.file_flags(i) & lt.file_storage.flag_pad_file:
            continue
        root = str(files.root(i)) if hashes.has_v2() and files.file_size(i) else "-"
        path = files.file_path(i).replace(os.sep, "/")
        lines.append(f"file {files.file_offset(i)} {files.file_size(i)} {root} {path}")
    return "\n".join(lines) + "\n"


def main(out):
    os.makedirs(out, exist_ok=True)
    for name, files, piece_length, flags in CASES:
        with tempfile.TemporaryDirectory() as parent:
            storage = lt.file_storage()
            for path, length in files:
                full = os.path.join(parent, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "wb") as file:
                    file.write(content(length))
            lt.add_files(storage, os.path.join(parent, files[0][0].split("/")[0]))
            torrent = lt.create_torrent(storage, piece_length, flags)
            torrent.add_tracker("http://tracker.example/announce", 0)
            torrent.add_tracker("udp://tracker.example:6969", 1)
            torrent.add_url_seed("http://seed.example/files/")
            torrent.set_comment("made for tests")
            torrent.set_creator("libtorrent " + lt.version)
            torrent.set_creation_date(1_700_000_000)
            lt.set_piece_hashes(torrent, parent)
            data = lt.bencode(torrent.generate())
        with open(os.path.join(out, name + ".torrent"), "wb") as file:
            file.write(data)
        with open(os.path.join(out, name + ".txt"), "w") as file:
            file.write(describe(lt.torrent_info(data)))


main(sys.argv[1])
