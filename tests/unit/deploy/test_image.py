"""The image: what it copies exists, it is not root, and its scripts do what they say."""

from __future__ import annotations

import http.server
import os
import re
import subprocess
import sys
import threading
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "docker"
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"\\\n\s*", " ", (FOLDER / "Dockerfile").read_text("utf-8")).splitlines()
    if line and not line.startswith("#")
]


def all_of(name: str) -> list[str]:
    return [rest for found, rest in INSTRUCTIONS if found == name]


def test_a_linter_takes_it() -> None:
    """hadolint knows the grammar, what a shell would make of `RUN`, and what is better not done."""
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout)


def test_instructions() -> None:
    """Two stages, of which the second has the wheel's venv and no compiler; not root; one process, without a shell."""
    assert 2 == len(all_of("FROM"))
    second = INSTRUCTIONS[[name for name, _ in INSTRUCTIONS].index("FROM", 3) :]
    assert "/opt/sourced /opt/sourced" in next(rest for name, rest in second if name == "COPY")
    assert ["10001:10001"] == [rest for name, rest in second if name == "USER"]
    assert "pip" not in "".join(rest for name, rest in second if name == "RUN")
    for name in ("ENTRYPOINT", "CMD"):
        assert all(rest.startswith("[") for rest in all_of(name))


def test_what_is_copied_exists_and_is_let_through() -> None:
    """The context of the build has what is copied, and nothing else."""
    copied = {
        part
        for rest in all_of("COPY")
        if "--from" not in rest
        for part in [word for word in rest.split() if not word.startswith("--")][:-1]
    }
    assert all((ROOT / part).exists() for part in copied)
    ignored = (FOLDER / "Dockerfile.dockerignore").read_text("utf-8").splitlines()
    assert copied == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]["find"]
    assert {name.rstrip("*") for name in packages["include"]} <= copied


@pytest.mark.parametrize(
    ("arguments", "settings", "run"),
    [
        (["worker"], {}, "-A a.b worker --web-bind 0.0.0.0 --web-port 6062 --datadir /data -l warn"),
        (
            ["worker", "--web-host", "w-0"],
            {"DATA_DIR": "/d", "LOG_LEVEL": "info"},
            "-A a.b worker --web-bind 0.0.0.0 --web-port 6062 --datadir /d -l info --web-host w-0",
        ),
        (["lag", "--url", "http://x"], {}, "-A a.b lag --url http://x"),
    ],
)
def test_the_entrypoint(tmp_path: Path, arguments: list[str], settings: dict[str, str], run: str) -> None:
    """A worker, or any other command of the app."""
    faust = tmp_path / "faust"
    faust.write_text('#!/bin/sh\necho "$@"\n')
    faust.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.defpath}", "APP": "a.b", "PORT": "6062", **settings}
    done = subprocess.run([FOLDER / "entrypoint.sh", *arguments], env=env, capture_output=True, text=True, check=True)
    assert run == done.stdout.strip()


def test_the_entrypoint_without_an_app(tmp_path: Path) -> None:
    """One line that says what is missing."""
    done = subprocess.run(
        [FOLDER / "entrypoint.sh"], env={"PATH": os.defpath}, capture_output=True, text=True, check=False
    )
    assert 0 != done.returncode
    assert "say which app is to run" in done.stderr


class Live(http.server.BaseHTTPRequestHandler):
    """A worker that lives, or one that does not."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health/live" else 404)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


def test_the_health_check() -> None:
    """0 while the worker says that it lives; 1 when it does not, and when nobody is there."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Live)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    outcomes = []
    try:
        for status in (200, 503):
            Live.status = status
            outcomes.append(checked(server.server_port))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    outcomes.append(checked(server.server_port))
    assert [0, 1, 1] == outcomes


def checked(port: int) -> int:
    env = {"PORT": str(port), "PATH": os.defpath}
    return subprocess.run([sys.executable, FOLDER / "healthy.py"], env=env, capture_output=True, check=False).returncode
