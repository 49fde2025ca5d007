"""Outside programs that trials need: found, or installed when we may."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

LIBTORRENT = "2.1.1"
# Tool name in a trial's list -> npm packages that it needs.
PACKAGES = {
    "playwright": {"playwright-core": "1.65.1"},
    "web-players": {"hls.js": "1.7.4", "dashjs": "5.2.1", "shaka-player": "5.2.12"},
}

# Tool name in a trial's list -> programs that must be found, each with its Debian package.
PROGRAMS = {
    "ip": {"ip": "iproute2"},
    "unshare": {"unshare": "util-linux"},
    "ffmpeg": {"ffmpeg": "ffmpeg"},
    "transmission": {"transmission-daemon": "transmission-daemon", "transmission-remote": "transmission-cli"},
    "aria2": {"aria2c": "aria2"},
    "opentracker": {"opentracker": "opentracker"},
    "faketime": {"faketime": "faketime"},
    "chromium": {"chromium": "chromium"},
    "node": {"npm": "npm"},
}


def _missing(wanted: list[str]) -> dict[str, str]:
    """Programs that are not found, with their packages."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    needed = [pair for tool in ["ip", "unshare", *wanted] for pair in PROGRAMS.get(tool, {}).items()]
    return {program: package for program, package in needed if not shutil.which(program, path=path)}


def provide(wanted: list[str], cache: Path) -> list[str]:
    """Makes the tools available; returns a sentence for each that is still missing."""
    missing = _missing(wanted)
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt(sorted(set(missing.values())))
    trouble = [f"{program} is missing: install the package {package}" for program, package in _missing(wanted).items()]
    if "libtorrent" in wanted and not importlib.util.find_spec("libtorrent"):
        command = [sys.executable, "-m", "pip", "install", "--quiet", f"libtorrent=={LIBTORRENT}"]
        if sys.version_info >= (3, 11):
            command.append("--break-system-packages")
        subprocess.run(command, check=False)
        importlib.invalidate_caches()
        if not importlib.util.find_spec("libtorrent"):
            trouble.append(f"the Python module libtorrent is missing: pip install libtorrent=={LIBTORRENT}")
    return trouble + _npm([pair for tool in wanted for pair in PACKAGES.get(tool, {}).items()], cache / "npm")


def _npm(packages: list[tuple[str, str]], folder: Path) -> list[str]:
    """Installs npm packages into a folder; a sentence for each that is still missing."""
    lacks = lambda: [f"{name}@{version}" for name, version in packages if not (folder / "node_modules" / name).exists()]  # noqa: E731
    if lacks():
        # All at once: npm takes away what it is not told of.
        subprocess.run(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *lacks()], check=False)
    return [f"{package} is missing: npm install --prefix {folder} {package}" for package in lacks()]


def _apt(packages: list[str]) -> None:
    """Installs Debian packages; tried twice, since a shared machine may hold the lock or clean up meanwhile."""
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for _ in range(2):
        subprocess.run(["apt-get", "update", "-qq"], env=env, check=False)
        done = subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", *packages],
            env=env, check=False, stdout=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return
