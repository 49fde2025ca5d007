"""Outside programs that trials need: found, or installed when we may."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

LIBTORRENT = "2.1.1"
PLAYWRIGHT = "1.65.1"

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
    if "playwright" in wanted and not (cache / "npm" / "node_modules" / "playwright-core").exists():
        subprocess.run(
            ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(cache / "npm"), f"playwright-core@{PLAYWRIGHT}"],
            check=False,
        )
        if not (cache / "npm" / "node_modules" / "playwright-core").exists():
            trouble.append(f"playwright-core is missing: npm install --prefix {cache / 'npm'} playwright-core@{PLAYWRIGHT}")
    return trouble


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
