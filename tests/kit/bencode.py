"""Bencode (BEP 3) for the trials: written apart from the program, lenient where a trial wants to be wrong."""

from __future__ import annotations


class Raw(bytes):
    """Bytes that are already bencoded and are written as they are."""


def encode(value: object) -> bytes:
    """Bencodes integers, bytes, text, lists and dictionaries (keys sorted, unless it is a list of pairs in `Pairs`)."""
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, int):
        return b"i%de" % value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, (bytes, bytearray)):
        return b"%d:%s" % (len(value), bytes(value))
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(encode, value)) + b"e"
    if isinstance(value, dict):
        keys = {key.encode() if isinstance(key, str) else key: item for key, item in value.items()}
        return b"d" + b"".join(encode(key) + encode(keys[key]) for key in sorted(keys)) + b"e"
    raise TypeError(f"cannot bencode {type(value).__name__}")


def decode(data: bytes) -> object:
    """The value of a whole buffer."""
    value, end = decode_prefix(data)
    if end != len(data):
        raise ValueError(f"{len(data) - end} bytes after the value")
    return value


def decode_prefix(data: bytes, at: int = 0) -> tuple[object, int]:
    """The value that begins at `at`, and where it ends."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind == b"l":
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = decode_prefix(data, at)
            items.append(item)
        return items, at + 1
    if kind == b"d":
        table, at = {}, at + 1
        while data[at : at + 1] != b"e":
            key, at = decode_prefix(data, at)
            table[key], at = decode_prefix(data, at)
        return table, at + 1
    colon = data.index(b":", at)
    length = int(data[at:colon])
    if length < 0 or colon + 1 + length > len(data):
        raise ValueError("a string is longer than the data")
    return data[colon + 1 : colon + 1 + length], colon + 1 + length
