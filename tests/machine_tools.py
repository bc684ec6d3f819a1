"""What tests need from the machine besides the servers: a Java compiler, Node, libfaketime."""

from __future__ import annotations

import shutil
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


def faketime() -> Path:
    """The library that gives a process a clock of its own; apt installs it when missing. Raises `ServersError`."""
    if not (libraries := _find_faketime()):
        apt_install("libfaketime", ["libfaketime"])
        libraries = _find_faketime()
    if not libraries:
        raise ServersError("no libfaketime.so.1 below /usr/lib: install libfaketime")
    return libraries[0]


def _find_faketime() -> list[Path]:
    return [*Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), *Path("/usr/lib").glob("faketime/libfaketime.so.1")]
