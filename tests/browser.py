"""The demo's page in headless Chromium: it plays, decodes, jumps, and shows live numbers (must-show 1)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from kit import content
from kit.world import Host, World, trial

TOOLS = ("chromium", "node", "playwright")


def run_script(world: World, host: Host | str, script: str, name: str, *args: object) -> dict:
    """Runs a script of this folder that drives Chromium; returns what it saw. Its screenshot is kept in the cache folder."""
    shot = world.folder / f"{name}.png"
    node = world.start(host, "node", Path(__file__).with_name(script), world.cache / "npm", *args, shot, name="node", env={"HOME": str(world.folder)})
    return seen_by(world, node, shot, 75)


def seen_by(world: World, node, shot: Path, seconds: float) -> dict:
    """What a script saw that ends within so many seconds."""
    status = node.wait(seconds)
    lines = [line for line in node.raw_stdout().splitlines() if line.startswith("{")]
    world.check(status == 0 and lines, f"the browser script ended with {status}: {node.stderr()[-300:]}")
    if shot.exists():
        shutil.copy(shot, world.cache / shot.name)
    seen = json.loads(lines[-1])
    world.check("trouble" not in seen, f"{seen.get('trouble')} console {seen['console'][:3]} failed {seen['failed'][:3]}")
    return seen


def judge(world: World, seen: dict) -> None:
    """Frames, pixels, time and errors."""
    world.show(start=f"{seen['startup_ms']:.0f}ms", jump=f"{seen['seek_ms']:.0f}ms", frames=seen["after"]["frames"], width=seen["width"])
    world.check(seen["before"]["frames"] > 20, f"only {seen['before']['frames']} frames were decoded in 2 s")
    world.check(seen["bright"] > 50, "the picture is black")
    world.check(seen["before"]["time"] > 1.2, f"after 2 s the film stands at {seen['before']['time']:.2f} s")
    world.check(seen["after"]["time"] > seen["target"] + 0.7, f"after the jump to {seen['target']:.1f} s it stands at {seen['after']['time']:.2f} s")
    world.check(seen["startup_ms"] < 3000 and seen["seek_ms"] < 3000, "it was slow")
    world.check(not seen["console"], f"errors on the console: {seen['console'][:3]}")
    broken = [line for line in seen["failed"] if "favicon" not in line and "ERR_ABORTED" not in line]
    world.check(not broken, f"requests failed: {broken[:3]}")


@trial("browser.demo-page-plays-and-jumps", seconds=120, quick=True, tools=TOOLS)
def demo_page(world: World) -> None:
    """The bundled film."""
    show = world.shoal("us", "demo", state=world.folder / "tmp")
    url = show.expect("title", 30)["files"][0]["url"]
    seen = run_script(world, "us", "browser.mjs", "demo", "http://" + url.split("/")[2] + "/")
    judge(world, seen)
    world.check(len(seen["text"].strip()) > 20, "the page says nothing beside the film")


@trial("browser.watch-page-plays-a-film-with-its-index-at-the-end", seconds=120, tools=(*TOOLS, "ffmpeg"))
def watch_page(world: World) -> None:
    """A film of one's own, fetched from a publisher while the browser plays it."""
    film, path = content.film(world.cache, "end", 60), world.folder / "t.torrent"
    host = world.host("giver")
    giver = world.shoal(host, "publish", film, "--torrent", path, "--listen", f"{host.ip}:6881", "--up-limit", "1MiB", "--no-dht", "--no-lsd", "--no-upnp")
    giver.expect("published")
    watch = world.shoal("us", "watch", path, "--http", "127.0.0.1:0", "--listen", "0.0.0.0:0", "--peer", f"{host.ip}:6881", "--no-dht", "--no-lsd", "--no-upnp")
    url = watch.expect("title", 20)["files"][0]["url"]
    judge(world, run_script(world, "us", "browser.mjs", "watch", "http://" + url.split("/")[2] + "/"))
