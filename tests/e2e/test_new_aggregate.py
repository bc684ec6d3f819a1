"""The page on a bounded context of one's own, followed to the letter: its files, its commands, and what they print."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import eventually
from tests.e2e.system import ROOT, System
from tests.e2e.worker import PROJECTIONS, USERS, Worker, free_port
from tests.pages import Step, steps

pytestmark = pytest.mark.asyncio(loop_scope="module")
JOURNAL = "sqlite"

PAGE = ROOT / "docs" / "new-aggregate.md"
PORTS = ("6071", "6072")
SECONDS = 60.0


def alike(output: str) -> Any:
    """An output without what differs from time to time: command ids, and the partition and commit of a position."""
    try:
        value = json.loads(output)
    except ValueError:
        return output
    value.pop("command_id", None)
    return value | {"position": re.sub(r"^(voucher)-\d:\d+", r"\1", value.get("position", ""))}


class Newcomer:
    """Somebody who follows the page, in a folder beside this repository."""

    def __init__(self, system: System, folder: Path) -> None:
        self.system = system
        repository = folder / "sourced-streams"
        repository.mkdir()
        for entry in ROOT.iterdir():
            if entry.name != ".venv":
                (repository / entry.name).symlink_to(entry)
        (repository / ".venv").symlink_to(sys.prefix)
        self.project = folder / "my-shop"
        self.project.mkdir()
        self.preamble = ""
        self.workers: dict[str, Worker] = {}
        self.served = True

    async def follow(self, steps: list[Step]) -> None:
        """Do all of it; what is printed must be what the page says."""
        for step, following in pairwise([*steps, Step("end")]):
            match step.kind:
                case "file":
                    file = self.project / step.file
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(step.text)
                case "diff":
                    (self.project / "change.diff").write_text(step.text)
                    await self.run("git apply change.diff", None)
                case "worker":
                    self.start(step.text)
                case "restart":
                    await self.restart()
                case "bash" if not self.preamble:
                    self.preamble = step.text
                case "bash":
                    await self.serve()
                    await self.run(step.text, following.text if following.kind == "output" else None)

    def start(self, command: str) -> None:
        """A worker, in a terminal of its own."""
        module, port = re.search(r"-A (\S+) worker --web-port (\d+)", command).groups()  # type: ignore[union-attr]
        log = self.system.data / f"{len(self.system.workers)}-{module}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", f"{self.preamble}exec {command}"],
                cwd=self.project,
                env=self.system.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        worker = Worker(module, int(port), log, self.project, process)
        self.system.workers.append(worker)
        self.workers[command] = worker
        self.served = False

    async def serve(self) -> None:
        """Return when the workers serve."""
        if not self.served:
            await asyncio.gather(*(self.system.all_served(worker) for worker in self.workers.values()))
            self.served = True

    async def restart(self) -> None:
        """End both workers, and start them again."""
        for worker in self.workers.values():
            worker.signal(signal.SIGINT)
        for command, worker in list(self.workers.items()):
            await eventually(lambda worker=worker: not worker.running, SECONDS, worker.tail)
            self.start(command)

    async def run(self, commands: str, expected: str | None) -> None:
        """Commands to their end. Rows are asked for until they are as they are to be."""
        wanted = None if expected is None else alike(expected)
        code = 3 if isinstance(wanted, dict) and wanted.get("status") == "rejected" else 0
        said = ""

        async def printed() -> bool:
            nonlocal said
            ended = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-ec", self.preamble + commands],
                cwd=self.project,
                env=self.system.environment(),
                capture_output=True,
                text=True,
                timeout=120,
            )
            said = f"{commands}{ended.stdout}{ended.stderr}"
            if not commands.startswith("curl"):
                assert code == ended.returncode, said
                assert wanted is None or wanted == alike(ended.stdout), said
            return wanted is None or wanted == alike(ended.stdout)

        await eventually(printed, SECONDS, lambda: said)


async def test_the_page_holds(system: System, tmp_path: Path) -> None:
    """Who writes its files and types its commands gets what it shows: tests that pass, schemas that are released, a
    command, its reply and its row, a second version of an event, and a process manager."""
    page = PAGE.read_text("utf-8")
    for port in PORTS:
        page = page.replace(port, str(free_port()))
    todo = list(steps(page))
    blocks = [step for step in todo if step.kind != "restart"]
    assert (page.count("```"), 1) == (2 * len(blocks), len(todo) - len(blocks))
    for module in (USERS, PROJECTIONS):  # what the page needs of the system that runs
        system.start(module)
    await Newcomer(system, tmp_path).follow(todo)
