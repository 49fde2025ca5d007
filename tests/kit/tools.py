"""Outside programs that trials need: found, or installed when we may."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

# Tool name in a trial's list -> its Python module, and the package of it.
MODULES = {"libtorrent": ("libtorrent", "libtorrent==2.1.1"), "pyav": ("av", "av==18.1.0")}
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
    "mpv": {"mpv": "mpv"},
    "gstreamer": {"gst-inspect-1.0": "gstreamer1.0-tools"},
}
# Packages that bring no program of their own: tool name -> a command that succeeds where they are, and the packages.
LIBRARIES = {
    "gstreamer": (
        ["sh", "-c", "for it in playbin rtspsrc rtpmp2tdepay avdec_h264; do gst-inspect-1.0 $it || exit 1; done; /usr/bin/python3 -c 'from gi.repository import Gst'"],
        [
            "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good", "gstreamer1.0-plugins-bad", "gstreamer1.0-libav", "gir1.2-gstreamer-1.0",
            "python3-gi",
        ],
    ),
}


def _lacking(wanted: list[str]) -> list[tuple[str, list[str]]]:
    """Tools whose libraries are not there, with their packages."""
    sets = [(tool, *LIBRARIES[tool]) for tool in wanted if tool in LIBRARIES]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    return [(tool, packages) for tool, command, packages in sets if subprocess.run(command, **quiet).returncode]



def _missing(wanted: list[str]) -> dict[str, str]:
    """Programs that are not found, with their packages."""
    path = os.environ["PATH"] + ":/usr/sbin:/sbin"
    needed = [pair for tool in ["ip", "unshare", *wanted] for pair in PROGRAMS.get(tool, {}).items()]
    return {program: package for program, package in needed if not shutil.which(program, path=path)}


def provide(wanted: list[str], cache: Path) -> list[str]:
    """Makes the tools available; returns a sentence for each that is still missing."""
    missing = set(_missing(wanted).values()).union(*(packages for _, packages in _lacking(wanted)))
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        _apt(sorted(missing))
    trouble = [f"{tool} lacks libraries: install the packages {' '.join(packages)}" for tool, packages in _lacking(wanted)]
    trouble += [f"{program} is missing: install the package {package}" for program, package in _missing(wanted).items()]
    for module, package in [MODULES[tool] for tool in wanted if tool in MODULES]:
        trouble += _pip(module, package)
    return trouble + _npm([pair for tool in wanted for pair in PACKAGES.get(tool, {}).items()], cache / "npm")


def _pip(module: str, package: str) -> list[str]:
    """Installs a Python module; a sentence if it is still missing."""
    if not importlib.util.find_spec(module):
        command = [sys.executable, "-m", "pip", "install", "--quiet", package]
        if sys.version_info >= (3, 11):
            command.append("--break-system-packages")
        subprocess.run(command, check=False)
        importlib.invalidate_caches()
    return [] if importlib.util.find_spec(module) else [f"the Python module {module} is missing: pip install {package}"]


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
