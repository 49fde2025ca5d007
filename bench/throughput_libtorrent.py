"""libtorrent's side of throughput.py: `make`, `seed` or `leech`, TCP only, a JSON object per event on stdout."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time

import libtorrent as lt


def say(**event: object) -> None:
    """One event."""
    print(json.dumps(event), flush=True)


def make(source: str, target: str, piece_kib: str, kind: str) -> None:
    """A torrent of one file."""
    flags = {"v1": lt.create_torrent.v1_only, "v2": lt.create_torrent.v2_only, "hybrid": 0}[kind]
    storage = lt.file_storage()
    lt.add_files(storage, source)
    made = lt.create_torrent(storage, int(piece_kib) * 1024, flags)
    lt.set_piece_hashes(made, source.rsplit("/", 1)[0])
    with open(target, "wb") as stream:
        stream.write(lt.bencode(made.generate()))


def session(port: str) -> lt.session:
    """TCP alone, without discovery, encryption or limits."""
    return lt.session({
        "listen_interfaces": f"127.0.0.1:{port}", "enable_dht": False, "enable_lsd": False, "enable_upnp": False, "enable_natpmp": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False, "allow_multiple_connections_per_ip": True,
        "in_enc_policy": int(lt.enc_policy.disabled), "out_enc_policy": int(lt.enc_policy.disabled),
        "alert_mask": int(lt.alert.category_t.status_notification | lt.alert.category_t.error_notification),
    })


def main() -> None:
    """One of the three."""
    command, *rest = sys.argv[1:]
    if command == "make":
        return make(*rest)
    torrent, folder, port, *peers = rest
    used = resource.getrusage(resource.RUSAGE_SELF)
    before = used.ru_utime + used.ru_stime
    began = time.monotonic()
    one = session(port)
    params = lt.load_torrent_file(torrent)
    params.save_path = folder
    params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if command == "seed":
        params.flags |= lt.torrent_flags.seed_mode
    handle = one.add_torrent(params)
    for peer in peers:
        host, number = peer.rsplit(":", 1)
        handle.connect_peer((host, int(number)))
    stop: list[int] = []
    signal.signal(signal.SIGINT, lambda *_: stop.append(1))
    say(event="listening", peer=f"127.0.0.1:{port}")
    while not stop:
        one.wait_for_alert(200)
        alerts = [alert.what() for alert in one.pop_alerts()]
        if command == "leech" and "torrent_finished" in alerts:
            say(event="complete", seconds=time.monotonic() - began)
            break
    say(event="end", cpu_before=before)


if __name__ == "__main__":
    main()
