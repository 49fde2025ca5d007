"""A libtorrent client in a process of its own: a JSON object per line on stdout, commands by line on stdin.

Commands: `connect HOST:PORT`, `stop`. Options stand below. Settings are those of a plain TCP client without any discovery
that it was not told of.
"""

from __future__ import annotations

import argparse
import json
import resource
import select
import sys
import time

import libtorrent as lt


def settings(args: argparse.Namespace) -> dict:
    """TCP only, quiet, many peers on one network."""
    return {
        "listen_interfaces": args.listen,
        "enable_dht": False, "enable_lsd": args.lsd, "enable_upnp": False, "enable_natpmp": False,
        "enable_outgoing_utp": False, "enable_incoming_utp": False,
        "allow_multiple_connections_per_ip": True,
        "upload_rate_limit": args.up_limit, "download_rate_limit": args.down_limit,
        "rate_limit_ip_overhead": False,
        "in_enc_policy": int(lt.enc_policy.disabled), "out_enc_policy": int(lt.enc_policy.disabled),
        "alert_mask": int(lt.alert.category_t.error_notification | lt.alert.category_t.status_notification
                          | lt.alert.category_t.tracker_notification | lt.alert.category_t.peer_notification),
        "announce_to_all_trackers": True, "announce_to_all_tiers": True,
        "min_reconnect_time": 1, "stop_tracker_timeout": 1,
        "connections_limit": 200, "unchoke_slots_limit": args.slots,
    }


def open_session(args: argparse.Namespace) -> tuple[lt.session, lt.torrent_handle]:
    """A session with the one torrent of the command line."""
    session = lt.session(settings(args))
    every = lt.ip_filter()
    every.add_rule("0.0.0.0", "255.255.255.255", 1 << lt.session.global_peer_class_id)
    session.set_peer_class_filter(every)  # Neighbours count against the rate limits like anybody else.
    if args.link.startswith("magnet:"):
        params = lt.parse_magnet_uri(args.link)
    else:
        params = lt.load_torrent_file(args.link) if hasattr(lt, "load_torrent_file") else lt.add_torrent_params()
        if not hasattr(lt, "load_torrent_file"):
            params.ti = lt.torrent_info(args.link)
    params.save_path = args.save
    flags = params.flags & ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
    if args.seed:
        flags |= lt.torrent_flags.seed_mode
    if args.no_pex:
        flags |= lt.torrent_flags.disable_pex
    if args.upload_only:
        flags |= lt.torrent_flags.upload_mode
    if args.super_seed:
        flags |= lt.torrent_flags.super_seeding
    params.flags = flags
    return session, session.add_torrent(params)


def status_of(session: lt.session, handle: lt.torrent_handle, began: float, every_piece: bool = False) -> dict:
    """One line of progress."""
    now = handle.status()
    peers = [
        {"ip": f"{peer.ip[0]}:{peer.ip[1]}", "client": peer.client.decode(errors="replace") if isinstance(peer.client, bytes) else peer.client,
         "down": peer.total_download, "up": peer.total_upload, "source": int(peer.source),
         # What it believes this peer to have.
         "has": sum(peer.pieces), **({"pieces": [index for index, has in enumerate(peer.pieces) if has]} if every_piece else {}),
         # Whether it chokes this peer, how many blocks it still owes it, and what of those lies in its send buffer.
         "choked": bool(peer.flags & lt.peer_info.choked), "owed": peer.upload_queue_length, "buffered": peer.used_send_buffer}
        for peer in handle.get_peer_info()
    ]
    return {
        "event": "status", "t": round(time.monotonic() - began, 3), "state": str(now.state), "progress": now.progress,
        "done": now.total_wanted_done, "seeding": now.is_seeding, "metadata": now.has_metadata, "checking": "checking" in str(now.state),
        "down": now.total_payload_download, "up": now.total_payload_upload, "failed": now.total_failed_bytes,
        "redundant": now.total_redundant_bytes, "peers": peers, "error": now.errc.message() if now.errc.value() else "",
    }


def main() -> None:
    """Runs until told to stop."""
    words = argparse.ArgumentParser()
    words.add_argument("link")
    words.add_argument("--save", required=True)
    words.add_argument("--listen", default="0.0.0.0:6881")
    words.add_argument("--peer", action="append", default=[])
    words.add_argument("--up-limit", type=int, default=0)
    words.add_argument("--down-limit", type=int, default=0)
    words.add_argument("--slots", type=int, default=20)
    words.add_argument("--every", type=float, default=0.2)
    for flag in ("--seed", "--no-pex", "--upload-only", "--super-seed", "--lsd", "--exit-when-done", "--pieces"):
        words.add_argument(flag, action="store_true")
    args = words.parse_args()
    began = time.monotonic()
    session, handle = open_session(args)

    def say(**event: object) -> None:
        print(json.dumps(event), flush=True)

    def connect(address: str) -> None:
        host, port = address.rsplit(":", 1)
        handle.connect_peer((host, int(port)))

    for peer in args.peer:
        connect(peer)
    while session.listen_port() == 0 and time.monotonic() - began < 5:
        time.sleep(0.01)
    say(event="listening", peer=args.listen.split(",")[0], port=session.listen_port())
    dialed = time.monotonic()
    while True:
        ready, _, _ = select.select([sys.stdin], [], [], args.every)
        if ready:
            line = sys.stdin.readline()
            if not line or line.strip() == "stop":
                break
            if line.startswith("connect "):
                args.peer.append(line.split()[1])
                connect(args.peer[-1])
        for alert in session.pop_alerts():
            if alert.category() & (lt.alert.category_t.error_notification | lt.alert.category_t.tracker_notification):
                say(event="alert", kind=alert.what(), text=alert.message()[:300])
            elif "ban" in alert.what():
                say(event="banned", text=alert.message()[:300])
        status = status_of(session, handle, began, args.pieces)
        say(**status)
        if time.monotonic() - dialed > 1 and not status["peers"]:
            dialed = time.monotonic()
            for peer in args.peer:
                connect(peer)
        if args.exit_when_done and status["seeding"]:
            break
    used = resource.getrusage(resource.RUSAGE_SELF)
    say(event="end", cpu=used.ru_utime + used.ru_stime, peak_kib=used.ru_maxrss, **{key: status[key] for key in ("down", "up", "failed", "redundant")})
    session.pause()


if __name__ == "__main__":
    main()
