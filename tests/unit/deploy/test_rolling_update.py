"""The order of a rolling update: the read side first, one after another, and no further when one is not ready."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
APPS = {"orders": "mine.orders", "users": "mine.users", "tables": "mine.tables"}
READ_SIDE = "tables"
"""The one that decides no commands."""


class Door(http.server.BaseHTTPRequestHandler):
    """The web ports of workers, which a file of each of them makes not ready."""

    folder: Path

    def do_GET(self) -> None:
        name = self.path.split("/")[1]
        is_ready = not (self.folder / f"{name}.broken").exists()
        logs = {} if name == READ_SIDE else {"logs": []}  # of a spare worker
        body = {"app": APPS[name], **logs} if is_ready else {"detail": "order@0 waits"}
        self.send_response(200 if is_ready else 503)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """Where all of them are asked."""
    Door.folder = tmp_path
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def updated(url: str, folder: Path, restart: str, seconds: str = "30") -> tuple[int, str, list[str]]:
    """Exit code, what it says of an error, and what was done, in order."""
    done = folder / "done"
    done.touch()
    run = [sys.executable, "-m", "deploy.rolling_update", "--seconds", seconds, "--restart", restart]
    run += ["--before", f"echo setup >> {done}"]
    for name in APPS:
        run += ["--worker", f"{name}={url}/{name}"]
    env = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "DONE": str(done), "FOLDER": str(folder)}
    ended = subprocess.run(run, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return ended.returncode, ended.stderr, done.read_text().split()


def test_the_read_side_goes_first(url: str, tmp_path: Path) -> None:
    """After what makes tables and topics; then the others as they are named."""
    code, said, done = updated(url, tmp_path, "echo {name} >> $DONE")
    assert (0, "", ["setup", "tables", "orders", "users"]) == (code, said, done)


def test_nothing_is_begun_while_one_is_not_ready(url: str, tmp_path: Path) -> None:
    """It says which, and why."""
    (tmp_path / "orders.broken").touch()
    code, said, done = updated(url, tmp_path, "echo {name} >> $DONE")
    assert (1, []) == (code, done)
    assert "error: orders is not ready before the update: order@0 waits\n" == said


def test_it_goes_no_further_than_one_that_is_not_ready_again(url: str, tmp_path: Path) -> None:
    """The others keep the version that they have."""
    restart = "echo {name} >> $DONE; test {name} != orders || touch $FOLDER/orders.broken"
    code, said, done = updated(url, tmp_path, restart, seconds="3")
    assert (1, ["setup", "tables", "orders"]) == (code, done)
    assert "error: orders is not ready 3 s after orders was restarted: order@0 waits\n" == said


def test_it_stops_when_a_worker_cannot_be_restarted(url: str, tmp_path: Path) -> None:
    """With what failed."""
    code, said, done = updated(url, tmp_path, "false {name}")
    assert (1, ["setup"]) == (code, done)
    assert "error: `false tables` ended with 1\n" == said
