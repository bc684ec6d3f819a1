"""A PostgreSQL of the test's own that ends without notice, again and again, while a process appends."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from servers import Where, control, process
from streams.concurrency.retry import until_it_answers
from streams.journal.port import Unavailable, log_type
from streams.open_journal import open_journal
from tests.contract.appending import EVENTS, numbered
from tests.contract.conftest import CONTEXT
from tests.e2e.worker import free_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
LOG = "order@0"
CRASHES = 3


@pytest_asyncio.fixture(loop_scope="session")
async def server(tmp_path: Path) -> AsyncIterator[Where]:
    """The server, running."""
    where = Where(tmp_path, postgres_port=free_port())
    await asyncio.to_thread(control.start, "postgres", where)
    yield where
    await asyncio.to_thread(control.stop, "postgres", where)


async def test_a_server_that_crashes_loses_no_acknowledged_commit(server: Where) -> None:
    """After each crash the log is dense, holds all that was acknowledged, and each commit has its derived rows; the
    process that appends waits, and goes on by itself."""
    url = f"postgresql://shop@127.0.0.1:{server.postgres_port}/shop"
    journal = open_journal(url, "", CONTEXT)
    await journal.create()
    await journal.open()
    command = [sys.executable, "-m", "tests.contract.appending", url, "", CONTEXT, LOG]
    appending = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=subprocess.PIPE)
    assert appending.stdout is not None
    chance = random.Random(11)
    try:
        for _ in range(CRASHES):
            for _ in range(chance.randint(20, 60)):
                acknowledged = int(await asyncio.wait_for(appending.stdout.readline(), 30))
            await asyncio.to_thread(crash, server)
            await asyncio.to_thread(control.start, "postgres", server)
            head = await until_it_answers(lambda: journal.head(LOG), "head", Unavailable)
            assert head is not None
            assert head.nr >= acknowledged
    finally:
        appending.kill()
        rest, _ = await appending.communicate()
    acknowledged = max(map(int, [acknowledged, *rest.split()]))
    found = [commit for after in range(0, 100_000, 500) for commit in await journal.commits(LOG, after, 500)]
    assert len(found) in (acknowledged, acknowledged + 1)
    assert [numbered(LOG, nr) for nr in range(1, len(found) + 1)] == found
    rows = await journal.events(log_type(LOG), LOG)
    assert list(range(1, len(found) * EVENTS + 1)) == [row.event.sequence for row in rows]
    await journal.close()


def crash(server: Where) -> None:
    """All its processes end at once, and nothing is written: the next start recovers from the WAL."""
    pid = process.running(server.pid_file("postgres"))
    assert pid is not None
    os.kill(pid, signal.SIGQUIT)
    while process.running(server.pid_file("postgres")):
        time.sleep(0.01)
