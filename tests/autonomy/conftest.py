"""A whole shop for each module of tests; for the matrix on servers of its own, so that the broker may be stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.autonomy.fleet import Fleet
from tests.autonomy.results import Result, report, table
from tests.chaos.servers import own_servers
from tests.e2e.system import System
from tests.side_by_side import keep_table

RESULTS = pytest.StashKey[list[Result]]()


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Result]:
    """One for each row of the matrix that the shop has stood."""
    return pytestconfig.stash.setdefault(RESULTS, [])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory, sqlite_url: str) -> AsyncIterator[Fleet]:
    """The whole shop, running on the Kafka that all tests use; its journals are files, which are quickly made."""
    system = System(tmp_path_factory.mktemp("shop"), sqlite_url)
    await system.open()
    fleet = Fleet(system)
    await fleet.start()
    yield fleet
    await system.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop_with_servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fleet]:
    """The whole shop, with a Kafka and a Cassandra of its own; not started."""
    with own_servers() as (kafka, cassandra, _):
        await asyncio.gather(kafka.start(), cassandra.start())
        data = tmp_path_factory.mktemp("shop")
        system = System(data, f"cassandra://{cassandra.address}/autonomy", f"kafka://{kafka.address}")
        await system.open()
        yield Fleet(system, kafka)
        await kafka.start()  # where a test has failed in the middle
        await system.close(keep_journal=True)  # its server goes anyway


@pytest_asyncio.fixture(loop_scope="module")
async def own_fleet(shop_with_servers: Fleet) -> Fleet:
    """The same, whole: whatever a test before has left down is up."""
    await shop_with_servers.mend()
    return shop_with_servers


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The table, for the process that prints what all have found."""
    if results := session.config.stash.get(RESULTS, []):
        keep_table(session.config, "autonomy", table(results))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; to a file as well when `--report` names one."""
    if results := config.stash.get(RESULTS, []):
        terminalreporter.section("autonomy")
        for line in table(results):
            terminalreporter.write_line(line)
        if path := config.getoption("report"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(report(results))
