"""`sourced dev`: a project in an empty folder, without any server, from its first command to Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError

import pytest

from streams.kafka.client_factory import ClientFactory
from tests.contract.topics import SERVERS
from tests.e2e.system import ROOT
from tests.e2e.worker import free_port
from tests.pages import steps

PAGE = ROOT / "docs" / "new-aggregate.md"
SECONDS = 120.0
"""How long anything may take on a machine that has much else to do."""
PROJECT = '[tool.sourced]\napps = ["vouchers.app", "vouchers.door"]\n'
CONSOLE = "from projections.console.view import add_console\n"
PLACES = ("KAFKA_BROKERS", "JOURNAL_URL", "READ_MODEL_URL", "DATA_DIR", "NAMESPACE", "PARTITIONS", "LOGS")


class Answer(NamedTuple):
    """Of HTTP."""

    status: int
    text: str

    def __getitem__(self, name: Any) -> Any:
        """What it says under this name."""
        return json.loads(self.text)[name]


class Dev:
    """A terminal in which it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.log = folder.parent / "dev.log"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def text(self) -> str:
        return self.log.read_text()

    @property
    def starts(self) -> int:
        """How often the apps have become ready."""
        return len(re.findall("^all ready after", self.text, re.MULTILINE))

    def start(self, *options: str, **settings: str) -> None:
        """Type the command, and wait until the apps are ready."""
        environment = {name: value for name, value in os.environ.items() if name not in PLACES} | settings
        command = [sys.executable, "-m", "streams.projects.sourced", "dev", "--port", str(self.port), *options]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.becomes(lambda: self.starts == 1)

    def becomes(self, true: Callable[[], object]) -> None:
        """Wait for a condition while it runs."""
        until = time.monotonic() + SECONDS
        while not true():
            assert self.process is not None
            assert self.process.poll() is None, self.text
            assert time.monotonic() < until, self.text
            time.sleep(0.05)

    def interrupt(self) -> int:
        """Ctrl-C. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(SECONDS)

    def ask(self, path: str, at_least: str = "", body: Any = None) -> Answer:
        """Ask the read side, again for as long as it says that it will answer soon, as for a table that was just made.
        With a body it is a POST. Raises `OSError`."""
        until = time.monotonic() + SECONDS
        while (answer := self._ask(path, at_least, body)).status == 503 and time.monotonic() < until:
            time.sleep(0.1)
        return answer

    def _ask(self, path: str, at_least: str, body: Any) -> Answer:
        headers = {"At-Least": at_least} if at_least else {}
        data = None if body is None else json.dumps(body).encode()
        headers |= {"Content-Type": "application/json", "Prefer": "wait=60"} if data else {}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=SECONDS) as answer:
                return Answer(answer.status, answer.read().decode())
        except HTTPError as error:
            return Answer(error.code, error.read().decode())

    def send(self, id: str, type: str, **data: Any) -> Answer:
        """Send a command by HTTP."""
        return self.ask(f"/vouchers/{id}/commands", body={"type": type, "data": data})


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    """The project of docs/new-aggregate.md, with a console, in a folder that has nothing else."""
    folder = tmp_path / "project"
    for step in takewhile(lambda step: ".v2." not in step.file, steps(PAGE.read_text())):
        if step.kind == "file":
            file = folder / step.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step.text)
    door = folder / "vouchers" / "door.py"
    text = door.read_text().replace("from projections.gateway", CONSOLE + "from projections.gateway", 1)
    door.write_text(text.replace("    add_lag(", "    add_console(side, accepted_of(contexts.values()))\n    add_lag("))
    (folder / "pyproject.toml").write_text(PROJECT)
    found = Dev(folder)
    yield found
    if found.process is not None and found.process.poll() is None:
        found.process.kill()
        found.process.wait()


def test_from_the_first_command_to_ctrl_c(dev: Dev) -> None:
    """A command is decided and its row is there; a changed file has the apps start again with all that there was, a
    broken one when it is mended; Ctrl-C ends it in order; tables are made anew of the events; and afresh there is
    nothing."""
    dev.start()
    assert "for development and tests only" in dev.text
    issued = dev.send("V-1", "IssueVoucher", amount="25.00")
    assert 200 == issued.status, issued.text
    assert "25.00" == dev.ask("/vouchers/V-1", issued["position"])["left"]
    console = dev.ask("/console")
    assert (200, True) == (console.status, "<html" in console.text)

    decider = dev.folder / "vouchers" / "voucher.py"
    good = decider.read_text()
    decider.write_text(good + "\nthis is no Python\n")
    dev.becomes(lambda: "they are started again when a file has changed" in dev.text)
    assert "SyntaxError" in dev.text
    decider.write_text(good.replace("MOST = Decimal(500)", "MOST = Decimal(30)"))
    dev.becomes(lambda: dev.starts == 2)
    refused = dev.send("V-2", "IssueVoucher", amount="31.00")
    assert (409, "InvalidAmount") == (refused.status, refused["title"])
    redeemed = dev.send("V-1", "RedeemVoucher", order_id="A-1", amount="10.00")
    assert "15.00" == dev.ask("/vouchers/V-1", redeemed["position"])["left"]

    assert 0 == dev.interrupt()
    told = dev.text.partition("SyntaxError")
    assert "Traceback" not in told[2]

    dev.start("--replay")
    assert "15.00" == dev.ask("/vouchers/V-1", redeemed["position"])["left"]
    assert 0 == dev.interrupt()

    dev.start("--fresh")
    assert 404 == dev.ask("/vouchers/V-1").status
    assert 0 == dev.interrupt()


def test_two_in_one_folder(dev: Dev) -> None:
    """The second one is refused in one line; and the apps end with the process that keeps their topics, however that
    ends."""
    dev.start()
    command = [sys.executable, "-m", "streams.projects.sourced", "dev", "--port", str(free_port())]
    again = subprocess.run(
        command, cwd=dev.folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert (1, 1) == (again.returncode, len(again.stderr.splitlines()))
    assert "it runs already" in again.stderr
    assert dev.process is not None
    dev.process.kill()
    dev.process.wait()
    until = time.monotonic() + SECONDS
    while True:
        try:
            dev.ask("/health/live")
        except OSError:
            break
        assert time.monotonic() < until
        time.sleep(0.05)


async def test_on_a_kafka(dev: Dev, namespace: str) -> None:
    """By one setting the same project runs on a Kafka, and there are no topics here."""
    dev.start(KAFKA_BROKERS=",".join(SERVERS), NAMESPACE=namespace, PARTITIONS="2")
    try:
        issued = dev.send("V-1", "IssueVoucher", amount="25.00")
        assert "25.00" == dev.ask("/vouchers/V-1", issued["position"])["left"]
        assert not (dev.folder / ".data" / "dev" / "topics").exists()
        assert 0 == dev.interrupt()
    finally:
        async with ClientFactory(SERVERS).administering() as admin:
            made = [topic for topic in await admin.list_topics() if topic.startswith(namespace)]
            await admin.delete_topics(made)
    assert f"{namespace}voucher-events" in made
