"""One run from start to end: the demo, its pages, its end; locks, ports, events and exit statuses (must-show 1, INTERFACE.md)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

from kit import content
from kit.clients import Libtorrent
from kit.player import raw, request
from kit.world import World, trial

PORT = 6881
QUIET = ("--no-dht", "--no-lsd", "--no-upnp")


def processes() -> set[int]:
    """Every process of this trial's own process namespace but this one, helpers of `ps` kind excluded."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] != "Z":
                    found.add(int(entry.name))
            except FileNotFoundError:
                pass
    return found


def sockets(world: World, host: str) -> str:
    """Listening and open sockets of a host, by the kernel's own tables."""
    lines = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        text = subprocess.run(world.host(host).command("cat", f"/proc/net/{table}"), capture_output=True, text=True, check=True).stdout
        lines += [line for line in text.splitlines()[1:] if line.split()[3] in ("0A", "01", "07")]
    return "\n".join(lines)


def addresses_in(program) -> list[str]:
    """Every http:// address in what a program said."""
    return re.findall(r"http://[0-9.:\[\]a-f]+[^\s\"',)]*", program.raw_stdout() + program.stderr())


@trial("lifecycle.demo-runs-and-leaves-nothing", seconds=60, quick=True)
def demo(world: World) -> None:
    """The demo serves its page and its film, answers ranges, and ends on Ctrl-C without a process, port or folder left."""
    us = world.host("us")
    before = processes()
    place = world.folder / "tmp"
    place.mkdir()
    show = world.shoal(us, "demo", env={"TMPDIR": str(place)}, state=place)
    title = show.expect("title", 30)
    url = title["files"][0]["url"]
    length = title["files"][0]["length"]
    status, headers, body = request(us, url)
    world.check(status == 200 and len(body) == length, f"the film answered {status} with {len(body)} of {length} bytes")
    world.check(b"ftyp" in body[:16], "the film is no MP4")
    status, headers, part = request(us, url, headers={"Range": "bytes=1000-1999"})
    world.check(status == 206 and part == body[1000:2000], f"a range answered {status} with {len(part)} bytes")
    world.check(headers.get("content-range") == f"bytes 1000-1999/{length}", f"content-range is {headers.get('content-range')}")
    root = "http://" + url.split("/")[2]
    status, headers, page = request(us, root + "/")
    world.check(status == 200 and b"<video" in page, f"the page answered {status}")
    status, _, listed = request(us, root + "/api/v1/titles")
    world.check(status == 200 and json.loads(listed), f"the API answered {status} {listed[:80]!r}")
    status, _, metrics = request(us, root + "/metrics")
    world.check(status == 200 and b"# TYPE" in metrics, f"the metrics answered {status}")
    began = time.monotonic()
    status = show.stop(10)
    world.show(end=f"{time.monotonic() - began:.2f}s", start=f"{title['t_ms']}ms")
    world.check(status in (0, 130), f"Ctrl-C ended it with {status}: {show.why()}")
    world.until(2, "no process left", lambda: processes() <= before)
    world.check(not sockets(world, "us"), f"a socket is left: {sockets(world, 'us')}")
    left = [str(path) for path in place.rglob("*") if path.is_file()]
    world.check(not left, f"files are left: {left[:3]}")


BUNDLED = Path(__file__).resolve().parent.parent / "crates" / "app" / "assets" / "demo.mp4"


def decoded(world: World, place: object, *before: object) -> list[str]:
    """A checksum of each picture that ffmpeg decodes on the host `us`: from the start, or from where `before` jumps to."""
    argv = ("ffmpeg", "-nostdin", "-v", "error", *before, "-i", place, "-map", "0:v", "-f", "framecrc", "-")
    done = subprocess.run(world.host("us").command(*argv), capture_output=True, text=True, timeout=40, check=False)
    world.check(done.returncode == 0 and not done.stderr.strip(), f"ffmpeg complained of {place}: {done.stderr[-300:]}")
    return [line for line in done.stdout.splitlines() if line and not line.startswith("#")]


@trial("lifecycle.demo-plays-and-jumps", seconds=90, quick=True, tools=("ffmpeg",))
def demo_played(world: World) -> None:
    """ffprobe and ffmpeg read the demo's own film: a jump to its middle before that is here, then all of it, picture by picture."""
    show = world.shoal("us", "demo", "--viewers", 2, "--up-limit", "600KiB", state=world.folder / "tmp")
    title = show.expect("title", 30)
    url, began = title["files"][0]["url"], time.monotonic()
    middle = title.get("duration_ms", 30_000) // 2000
    world.check(show.last("progress").get("have", 0) < title["length"] // 2, "half of the film is here before the jump")
    jumped = decoded(world, url, "-ss", middle)
    world.show(from_the_middle_to_the_end=f"{time.monotonic() - began:.2f}s")
    want = decoded(world, BUNDLED, "-ss", middle)
    world.check(len(want) > 100 and jumped == want, f"{len(jumped)} pictures after the jump, {len(want)} are in the film")
    whole, want = decoded(world, url), decoded(world, BUNDLED)
    world.show(pictures=len(whole))
    world.check(whole == want, f"{len(whole)} pictures, {len(want)} are in the film")
    words = ("ffprobe", "-v", "error", "-show_entries", "format=duration,size:stream=codec_name", "-of", "json", url)
    probed = json.loads(subprocess.run(world.host("us").command(*words), capture_output=True, text=True, timeout=20, check=True).stdout)
    world.check([one["codec_name"] for one in probed["streams"]] == ["h264", "aac"], f"ffprobe found {probed}")
    world.check(int(probed["format"]["size"]) == BUNDLED.stat().st_size, f"ffprobe found {probed['format']}")
    world.check(show.stop(10) == 130, f"it did not end well: {show.why()}")


@trial("lifecycle.a-limit-on-what-comes", seconds=40, quick=True)
def down_limit(world: World) -> None:
    """`get --down-limit` takes no more a second than that, once what it may take at first is spent."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 4 << 20, world.seed)
    giver, path = world.host("giver"), world.folder / "t.torrent"
    listen = f"{giver.ip}:{PORT}"
    world.shoal(giver, "publish", origin, "--torrent", path, "--listen", listen, *QUIET).expect("published")
    getter = world.shoal(
        "getter", "get", path, "-o", world.folder / "out", "--listen", "0.0.0.0:0", "--peer", listen, "--down-limit", "1MiB", *QUIET
    )
    getter.done(30)
    seconds = getter.last("complete")["seconds"]
    world.show(seconds=seconds)
    world.check(2.5 <= seconds <= 8, f"4 MiB at 1 MiB/s took {seconds} s")
    world.check(content.digest(world.folder / "out" / origin.name) == content.digest(origin), "it got other bytes")


@trial("lifecycle.demo-for-people", seconds=40)
def demo_plain(world: World) -> None:
    """Without --json the demo prints sentences with the address of its page; a closed pipe does not end it."""
    us = world.host("us")
    show = world.shoal(us, "demo", json_output=False, state=world.folder / "tmp")
    world.until(20, "an address", lambda: addresses_in(show))
    root = "http://" + addresses_in(show)[0].split("/")[2]
    world.check(request(us, root + "/")[0] == 200, "the printed page does not answer")
    world.check(show.stop(10) in (0, 130), "it did not end well")


@trial("lifecycle.demo-of-a-file", seconds=60, tools=("ffmpeg",))
def demo_file(world: World) -> None:
    """The demo of a film of one's own serves its exact bytes."""
    film, us = content.film(world.cache, "end", 20), world.host("us")
    show = world.shoal(us, "demo", film, "--viewers", 2, state=world.folder / "tmp")
    url = show.expect("title", 30)["files"][0]["url"]
    world.check(request(us, url)[2] == film.read_bytes(), "the demo's film differs")
    world.check(show.stop(10) in (0, 130), "it did not end well")


@trial("lifecycle.state-folder-serves-one", seconds=40, quick=True)
def locked(world: World) -> None:
    """A second process with the same state folder is told which process holds it, and the first goes on."""
    origin, us = content.write_random(world.folder / "origin" / "film.bin", 1 << 20, world.seed), world.host("us")
    first = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", *QUIET, name="first", state=world.folder / "state")
    first.expect("published")
    second = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", *QUIET, name="second", state=world.folder / "state")
    status = second.wait(15)
    world.check(status == 1, f"the second ended with {status}")
    world.check(str(first.pid) in second.words(), f"the sentence does not name process {first.pid}: {second.why()}")
    world.check(first.running(), "the first ended, too")
    first.kill()
    third = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", *QUIET, name="third", state=world.folder / "state")
    third.expect("published")


@trial("lifecycle.newer-state-is-refused", seconds=30)
def newer_state(world: World) -> None:
    """A state folder of a later version is left alone, with a sentence."""
    origin, us, state = content.write_random(world.folder / "origin" / "film.bin", 1 << 20, world.seed), world.host("us"), world.folder / "state"
    first = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", *QUIET, name="first", state=state)
    first.expect("published")
    first.stop()
    marks = [path for path in state.rglob("*") if path.is_file() and "version" in path.name.lower()]
    world.check(marks, f"no file says the version of the state folder: {[path.name for path in state.rglob('*')][:9]}")
    marks[0].write_text("999\n")
    second = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", *QUIET, name="second", state=state)
    world.check(second.wait(15) == 1 and "version" in second.words().lower(), f"it went on: {second.why()}")


FIELDS = {
    "listening": {"peer"},
    "published": {"link", "torrent", "infohash_v1", "infohash_v2", "length", "piece_length"},
    "title": {"name", "length", "files"},
    "progress": {"have", "length", "down_rate", "up_rate", "peers", "buffer_ms"},
    "complete": {"length", "seconds"},
    "summary": {"received", "useful", "duplicate", "wasted", "sent", "from_peers", "from_server", "startup_ms", "stalls", "stalled_ms"},
}


@trial("lifecycle.events-have-their-fields", seconds=60, quick=True)
def events(world: World) -> None:
    """Every line of --json is an object with the fields of INTERFACE.md; `summary` comes last, port 0 is resolved."""
    origin, path = content.write_random(world.folder / "origin" / "film.bin", 3 << 20, world.seed), world.folder / "t.torrent"
    giver = world.shoal("giver", "publish", origin, "--torrent", path, "--listen", "0.0.0.0:0", "--up-limit", "1MiB", *QUIET)
    said = giver.expect("published")
    port = giver.port("peer")
    world.check(port != 0, "port 0 was printed as it was asked")
    world.check(Path(said["torrent"]).samefile(path), f"`torrent` is {said['torrent']}")
    getter = world.shoal(
        "getter", "get", said["link"], "-o", world.folder / "out", "--listen", "0.0.0.0:0", "--peer", f"{world.host('giver').ip}:{port}", *QUIET
    )
    summary = getter.done(30)
    giver.stop()
    for program, kinds in ((giver, {"listening", "published", "summary", "progress"}), (getter, {"listening", "title", "progress", "complete", "summary"})):
        found = program.events()
        world.check(found[-1]["event"] == "summary", f"{program.name}: the last event is {found[-1]}")
        for event in found:
            world.check(event["event"] != "not json", f"{program.name}: not JSON on stdout: {event}")
            world.check(isinstance(event.get("t_ms"), int), f"{program.name}: no t_ms in {event}")
            lacking = FIELDS.get(event["event"], set()) - set(event)
            lacking -= {"startup_ms"} if event["event"] == "summary" and program in (giver, getter) else set()
            world.check(not lacking, f"{program.name}: `{event['event']}` lacks {sorted(lacking)}")
        lacking = kinds - {event["event"] for event in found}
        world.check(not lacking, f"{program.name}: no {sorted(lacking)}")
    world.check(summary["useful"] == 3 << 20 == summary["from_peers"] + summary["from_server"], f"counts do not add up: {summary}")
    world.check(giver.last("summary")["sent"] >= 3 << 20, f"the giver sent {giver.last('summary')}")
    have = [event["have"] for event in getter.events("progress")]
    world.check(have == sorted(have), f"`have` shrinks: {have}")


@trial("lifecycle.bad-usage-is-2", seconds=30, quick=True)
def usage(world: World) -> None:
    """Unknown flags and commands end with 2, --help and --version with 0; nothing panics on an odd value."""
    us = world.host("us")
    for status, argv in (
        (2, ("get",)), (2, ("no-such-command",)), (2, ("get", "--no-such-flag", "x")), (2, ("publish",)), (2, ("watch", "x", "--http", "nonsense")),
        (2, ("get", "x", "--up-limit", "fast")), (2, ("publish", "x", "--piece-size", "-1")), (0, ("--help",)), (0, ("--version",)),
        (0, ("watch", "--help")), (0, ("sim", "run", "--help")),
    ):
        done = subprocess.run(us.command(world.binary, *argv), capture_output=True, text=True, timeout=20, check=False)
        world.check(done.returncode == status, f"shoal {' '.join(argv)} ended with {done.returncode}: {done.stderr[-200:]}")
        world.check("panicked" not in done.stderr, f"shoal {' '.join(argv)} panicked: {done.stderr[-200:]}")


@trial("lifecycle.http-ranges", seconds=60, quick=True)
def ranges(world: World) -> None:
    """RFC 9110 ranges of a publisher's film: open, suffix, clamped, 416, HEAD, If-Range, ETag, keep-alive."""
    origin, us = content.write_random(world.folder / "origin" / "film.mp4", 1_000_003, world.seed), world.host("us")
    data = origin.read_bytes()
    giver = world.shoal(us, "publish", origin, "--listen", f"{us.ip}:0", "--http", "127.0.0.1:8080", *QUIET)
    giver.expect("published")
    url = world.until(10, "title with url", lambda: stream_url(giver, us))
    for text, status, want in (
        ("bytes=0-0", 206, data[:1]), ("bytes=5-", 206, data[5:]), ("bytes=-7", 206, data[-7:]), ("bytes=999999-5000000", 206, data[999_999:]),
        ("bytes=-5000000", 206, data), ("bytes=1000003-", 416, None), ("bytes=5000000-6000000", 416, None), ("bytes=-0", 416, None),
        ("bytes=9-3", 200, data), ("bytes=x-y", 200, data), ("lines=1-2", 200, data), ("bytes=", 200, data), ("bytes=1-2,x", 200, data),
        ("bytes=18446744073709551615-18446744073709551616", 416, None), ("bytes=0-18446744073709551616", 206, data),
    ):
        got, headers, body = request(us, url, headers={"Range": text})
        fine = {status, 416} if status == 200 else {status}
        world.check(got in fine, f"Range: {text} answered {got}, expected {status}")
        if got == 416:
            world.check(headers.get("content-range") == f"bytes */{len(data)}", f"416 without the length: {headers}")
        else:
            world.check(body == want, f"Range: {text} gave {len(body)} bytes")
    status, headers, body = request(us, url, "HEAD")
    world.check(status == 200 and headers["content-length"] == str(len(data)) and not body, f"HEAD answered {status} {headers}")
    tag = headers.get("etag", "")
    world.check(tag.startswith('"'), f"no strong ETag: {headers}")
    world.check(request(us, url, headers={"Range": "bytes=0-9", "If-Range": tag})[0] == 206, "If-Range with the tag is not 206")
    world.check(request(us, url, headers={"Range": "bytes=0-9", "If-Range": '"other"'})[0] == 200, "If-Range with another tag is not 200")
    world.check(headers.get("accept-ranges") == "bytes", "no Accept-Ranges")
    world.check(headers.get("content-type") == "video/mp4", f"content-type is {headers.get('content-type')}")
    world.check(request(us, url, "DELETE")[0] in (405, 403), "DELETE is taken")
    path = "/" + url.split("/", 3)[3]
    two = raw(us, "127.0.0.1:8080", f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nRange: bytes=0-1\r\n\r\n".encode() * 2)
    world.check(two.count(b"206") == 2, "two requests on one connection did not get two answers")


def stream_url(giver, host) -> str:
    """The film's address, by the `title` event or by the API."""
    title = giver.last("title")
    if title and title["files"][0].get("url"):
        return title["files"][0]["url"]
    root = f"http://{giver.address('http')}"
    listed = json.loads(request(host, root + "/api/v1/titles")[2])
    text = json.dumps(listed)
    found = re.search(r'(/stream/[^"]+)', text)
    return root + found.group(1) if found else ""


@trial("lifecycle.get-stays-for-a-ratio", seconds=60, tools=("libtorrent",))
def ratio(world: World) -> None:
    """`get --seed-ratio` goes on serving until it gave as much, and no longer."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 2 << 20, world.seed)
    torrent = content.make_torrent(origin, world.folder / "t.torrent", "v1")
    seed = Libtorrent(world, "seed", torrent.path, origin.parent, seed=True).ready()
    us = world.host("us")
    getter = world.shoal(
        us, "get", torrent.path, "-o", world.folder / "out", "--listen", f"{us.ip}:{PORT}", "--peer", seed.address, "--seed-ratio", "1.0", *QUIET
    )
    getter.expect("complete", 20)
    seed.kill()
    time.sleep(1)
    world.check(getter.running(), "it left before it gave anything")
    Libtorrent(world, "leech", torrent.path, world.folder / "leech", peers=[f"{us.ip}:{PORT}"]).complete(20)
    world.check(getter.wait(15) == 0, f"it ended badly: {getter.why()}")


@trial("lifecycle.watch-ends-with-its-player", seconds=60, quick=True, tools=("libtorrent", "ffmpeg"))
def player(world: World) -> None:
    """`watch --player` starts the player with the address, and ends when the player and the film are done."""
    film, us = content.film(world.cache, "front", 20), world.host("us")
    torrent = content.make_torrent(film, world.folder / "t.torrent", "hybrid", 65536)
    seed = Libtorrent(world, "seed", torrent.path, film.parent, seed=True).ready()
    out = world.folder / "copy.mp4"
    watch = world.shoal(
        us, "watch", torrent.path, "--listen", f"{us.ip}:0", "--http", "127.0.0.1:0", "--peer", seed.address, *QUIET,
        "--player", f"ffmpeg -nostdin -v error -i {{}} -c copy {out}",
    )
    summary = watch.done(40)
    world.check(out.exists() and out.stat().st_size > 1 << 20, "the player wrote nothing")
    world.check(summary.get("stalls") is not None, f"no stalls in the summary: {summary}")


@trial("lifecycle.a-pulled-cable-is-noticed-and-mended", seconds=150)
def cable(world: World) -> None:
    """A parent whose cable is pulled is gone from the count within a minute, and found again when the cable is back."""
    origin = content.write_random(world.folder / "origin" / "film.bin", 24 << 20, world.seed)
    giver, path = world.host("giver"), world.folder / "t.torrent"
    listen = f"{giver.ip}:{PORT}"
    world.shoal(giver, "publish", origin, "--torrent", path, "--listen", listen, "--up-limit", "400KiB", *QUIET).expect("published")
    getter = world.shoal("getter", "get", path, "-o", world.folder / "out", "--listen", "0.0.0.0:0", "--peer", listen, *QUIET)
    world.until(20, "it fetches", lambda: getter.last("progress").get("have", 0) > 1 << 20)
    subprocess.run(["ip", "link", "set", "v-giver", "down"], check=True)
    pulled = time.monotonic()
    world.until(60, "the parent is missed", lambda: getter.last("progress")["peers"] == 0, 0.2)
    world.show(missed=f"{time.monotonic() - pulled:.1f}s")
    subprocess.run(["ip", "link", "set", "v-giver", "up"], check=True)
    mended = time.monotonic()
    world.until(60, "the parent is found again", lambda: getter.last("progress")["peers"] == 1, 0.2)
    world.show(mended=f"{time.monotonic() - mended:.1f}s")
    getter.done(90)
    world.check(content.digest(world.folder / "out" / origin.name) == content.digest(origin), "it got other bytes")
