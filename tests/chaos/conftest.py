"""Each fault has a namespace of its own, on servers that all faults share and nobody else uses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.chaos.results import Result, report, table
from tests.chaos.rig import Rig
from tests.chaos.servers import Server, own_servers
from tests.e2e.system import System
from tests.side_by_side import keep_table

RESULTS = pytest.StashKey[list[Result]]()


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[Server, Server, list[Server]]]:
    """Kafka, Cassandra, and three nodes of another Cassandra; not started."""
    with own_servers() as servers:
        yield servers


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Result]:
    """One for each fault that the system has stood."""
    return pytestconfig.stash.setdefault(RESULTS, [])


@pytest_asyncio.fixture
async def rig(
    tmp_path: Path,
    servers: tuple[Server, Server, list[Server]],
    results: list[Result],
    pytestconfig: pytest.Config,
) -> AsyncIterator[Rig]:
    """A new namespace, with Kafka and Cassandra up and no workers yet."""
    kafka, cassandra, _ = servers
    await asyncio.gather(kafka.start(), cassandra.start())
    system = System(tmp_path, f"cassandra://{cassandra.address}/chaos", f"kafka://{kafka.address}")
    await system.open()
    yield Rig(system, pytestconfig.getoption("full"), results, kafka=kafka, cassandra=cassandra)
    await asyncio.gather(kafka.start(), cassandra.start())  # where a fault has failed in the middle
    await system.close(keep_journal=True)  # its server goes anyway


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The table, for the process that prints what all have found."""
    if results := session.config.stash.get(RESULTS, []):
        keep_table(session.config, "faults under load", table(results))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; to a file as well when `--report` names one."""
    if results := config.stash.get(RESULTS, []):
        terminalreporter.section("faults under load")
        for line in table(results):
            terminalreporter.write_line(line)
        if path := config.getoption("report"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(report(results))
