"""The programs that the servers need: Java, Maven, the jars that it fetches, and PostgreSQL."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

from servers.where import ServersError, Where

OLDEST_JAVA, NEWEST_JAVA = 17, 23
"""Cassandra 5.0 sets a security manager, which Java 24 no longer has."""
_GOALS = {"registry": "dependency:unpack"}
"""The Maven goal for a server that does not come as jars: the registry is one archive."""


def java() -> Path:
    """A Java that runs the servers, installed by apt when there is none. Raises `ServersError`."""
    program = _find_java()
    if program is None:
        apt_install("Java 17", ["openjdk-17-jre-headless", "openjdk-21-jre-headless"])
        program = _find_java()
    if program is None:
        raise ServersError(f"no Java {OLDEST_JAVA} to {NEWEST_JAVA}: install one and put it on PATH, or set JAVA_HOME")
    return program


def maven() -> None:
    """Maven on PATH, installed by apt when there is none. Raises `ServersError`."""
    if shutil.which("mvn") is None:
        apt_install("Maven", ["maven"])


def fetch(name: str, folder: Path) -> Path:
    """The folder of the jars; Maven fills it once, and again when the pom changes. Raises `ServersError`."""
    pom = Path(__file__).with_name(f"{name}.pom.xml")
    libs, draft, stamp = folder / "libs", folder / "libs.part", folder / "libs.pom"
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()
    if libs.is_dir() and stamp.is_file() and stamp.read_text() == digest:
        return libs
    maven()
    print(f"{name}: fetching its jars with Maven", flush=True)
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    goal = _GOALS.get(name, "dependency:copy-dependencies")
    command = ["mvn", "-q", "-B", "-f", str(pom), goal, f"-DoutputDirectory={draft.absolute()}"]
    result = subprocess.run([*command, "-DincludeScope=runtime"], capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServersError(f"{name}: Maven could not fetch the jars\n{(result.stdout + result.stderr).strip()[-4000:]}")
    shutil.rmtree(libs, ignore_errors=True)
    draft.rename(libs)
    stamp.write_text(digest)
    return libs


def postgres(data: Path) -> Path:
    """The folder of PostgreSQL's programs, of the version that made `data` if that is there. Raises `ServersError`."""
    version = (data / "PG_VERSION").read_text().strip() if data.exists() else ""
    programs = _find_postgres(version)
    if programs is None:
        apt_install("PostgreSQL", [f"postgresql-{version}" if version else "postgresql"])
        programs = _find_postgres(version)
    if programs is None:
        raise ServersError(f"no PostgreSQL {version} in /usr/lib/postgresql or on PATH: install it, then try again")
    return programs


def _find_postgres(version: str) -> Path | None:
    # Debian has each version in a folder of its own, and does not put them on PATH.
    candidates = [Path(f"/usr/lib/postgresql/{version}/bin")] if version else []
    if not version:
        candidates += sorted(
            Path("/usr/lib/postgresql").glob("[0-9]*/bin"), key=lambda folder: float(folder.parent.name), reverse=True
        )
    candidates += [Path(on_path).parent for on_path in [shutil.which("initdb")] if on_path]
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


def java_version(banner: str) -> int:
    """The major version in what `java -version` prints; 0 when it can not be told."""
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match[1]) if match else 0


def _find_java() -> Path | None:
    candidates = [Path(home, "bin", "java") for home in [os.environ.get("JAVA_HOME")] if home]
    candidates += [Path(on_path) for on_path in [shutil.which("java")] if on_path]
    candidates += sorted(Path("/usr/lib/jvm").glob("*/bin/java"))
    for candidate in candidates:
        if candidate.exists():
            answer = subprocess.run([candidate, "-version"], capture_output=True, text=True, check=False)
            if OLDEST_JAVA <= java_version(answer.stderr) <= NEWEST_JAVA:
                return candidate
    return None


def apt_install(what: str, packages: list[str]) -> None:
    """Install the first of the packages that this distribution has, after whoever installs something just now."""
    if shutil.which("apt-get") is None:
        raise ServersError(f"{what} is missing and there is no apt-get: install {what}, then try again")
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    if sudo and shutil.which("sudo") is None:
        raise ServersError(f"{what} is missing: run as root `apt-get install {packages[0]}`, then try again")
    print(f"{what} is missing: installing it with apt-get", flush=True)
    folder = Where.from_environment().root
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two processes of tests, the second one's apt-get would only fail
        _run([*sudo, "apt-get", "update", "-q"])
        known = [name for name in packages if _run(["apt-cache", "show", name], check=False)]
        if not known:
            raise ServersError(f"apt has none of {', '.join(packages)}: install {what} by hand, then try again")
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", known[0]]
        _run([*sudo, "env", "DEBIAN_FRONTEND=noninteractive", *install])


def _run(command: list[str], *, check: bool = True) -> bool:
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        raise ServersError(f"`{' '.join(command)}` failed:\n{(result.stdout + result.stderr).strip()[-2000:]}")
    return result.returncode == 0
