"""What tests need from the machine besides the servers: a Java compiler, Node, a browser, a C compiler."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from servers.tools import apt_install, java
from servers.where import ServersError


def java_home() -> Path:
    """A Java that compiles too, installed by apt when there is none. Raises `ServersError`."""
    for attempt in ("find", "install"):
        for candidate in (java().resolve().parents[1], *sorted(Path("/usr/lib/jvm").glob("*"))):
            if (candidate / "bin" / "javac").exists():
                return candidate
        if attempt == "find":
            apt_install("a Java compiler", ["openjdk-17-jdk-headless", "openjdk-21-jdk-headless"])
    raise ServersError("no javac: install a Java development kit, 17 or newer")


def node() -> None:
    """Node and npm on PATH, installed by apt when they are missing. Raises `ServersError`."""
    if shutil.which("node") is None:
        apt_install("Node", ["nodejs"])
    if shutil.which("npm") is None:
        apt_install("npm", ["npm"])


def chromium() -> Path:
    """A Chromium of the distribution, installed by apt when there is none. Raises `ServersError`."""
    names = ("chromium", "google-chrome")
    if not any(map(shutil.which, names)):
        apt_install("Chromium", ["chromium"])
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise ServersError("no chromium on PATH: install Chromium or Google Chrome, then try again")
    return Path(program)


def stepped_clock(folder: Path) -> Path:
    """The library that gives a process a wall clock of its own, compiled into a folder: see `chaos/stepped_clock.c`. A
    missing compiler is installed by apt. Raises `ServersError`."""
    if shutil.which("cc") is None:
        apt_install("a C compiler", ["gcc", "libc6-dev"])
    source, library = Path(__file__).parent / "chaos" / "stepped_clock.c", folder / "stepped_clock.so"
    made = subprocess.run(
        ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", library, source, "-ldl"], capture_output=True
    )
    if made.returncode != 0:
        raise ServersError(f"{source} cannot be compiled: {made.stderr.decode()}")
    return library
