"""`docs/security.md`: what it has people type is run as it is written."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.where import Where
from tests.chaos.servers import server_port
from tests.e2e.system import ROOT
from tests.e2e.worker import free_port

PAGE = (ROOT / "docs" / "security.md").read_text()
SECONDS = 240
OWN = ("SERVERS_DIR", "NAMESPACE", "JOURNAL_URL", "KAFKA_BROKERS", "DATA_DIR")
"""Settings that would reach the shell from whoever runs the tests."""


def blocks(text: str) -> list[str]:
    """What is to be typed."""
    return re.findall(r"^```bash\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def section(title: str) -> str:
    """Up to the next one."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Path]:
    """This one, without what others have running in it, but for the jars; and nothing runs in it afterwards."""
    for entry in ROOT.iterdir():
        if entry.name not in (".venv", ".servers", ".data"):
            (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / ".servers").mkdir()
    (tmp_path / ".servers" / "kafka").symlink_to(Where.from_environment().jars_of("kafka").absolute())
    yield tmp_path
    subprocess.run([sys.executable, "-m", "servers.secured", "down"], cwd=tmp_path, env=environment(), check=True)


def environment(**settings: str) -> dict[str, str]:
    """That of somebody who has just come."""
    mine = {name: value for name, value in os.environ.items() if name not in OWN}
    return {**mine, "PATH": f"{Path(sys.executable).parent}:{mine['PATH']}", "PYTHONPATH": str(ROOT), **settings}


def run(script: str, folder: Path, **settings: str) -> str:
    """What a shell prints that ends at the first command that fails. Nothing of what it has started is left."""
    shell = subprocess.Popen(
        ["bash", "-c", f"set -euo pipefail\n{script}"],
        cwd=folder,
        env=environment(**settings),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=SECONDS)
    finally:
        if shell.poll() is None:
            os.killpg(shell.pid, signal.SIGKILL)
    assert 0 == shell.returncode, output
    return output


def test_the_quick_start(repository: Path) -> None:
    """As it stands, but for ports that somebody may have taken: a command is accepted, the row is there, and who has no
    token is not answered."""
    kafka, ports = server_port(), {port: str(free_port()) for port in ("6162", "6166")}
    script = "\n".join(blocks(section("Quick start")))
    for written, port in {"9094": str(kafka), **ports}.items():
        assert written in script
        script = script.replace(written, port)
    output = run(script, repository, SECURED_KAFKA_PORT=str(kafka))
    for said in ('"user_id":"u-1"', '"status":401', "total"):
        assert said in output, output
    assert "Traceback" not in output
    assert "error: " not in output


@pytest.mark.parametrize("block", blocks(PAGE))
def test_what_is_typed_is_shell(block: str, tmp_path: Path) -> None:
    """All of it can be read by a shell."""
    subprocess.run(["bash", "-n", "-c", block], check=True, cwd=tmp_path)
