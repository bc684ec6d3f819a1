"""A system for each fault, on the servers that all tests use, and the readers in other languages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.system import System
from tests.foreign.conftest import java, node
from tests.growth.results import Changes, report, table
from tests.growth.rig import Rig
from tests.side_by_side import keep_table

__all__ = ["java", "node"]

RESULTS = pytest.StashKey[list[Changes]]()


@pytest.fixture(scope="session")
def results(pytestconfig: pytest.Config) -> list[Changes]:
    """One for each fault."""
    return pytestconfig.stash.setdefault(RESULTS, [])


@pytest_asyncio.fixture
async def rig(tmp_path: Path, cassandra_url: str, results: list[Changes]) -> AsyncIterator[Rig]:
    """A new namespace without workers."""
    system = System(tmp_path, cassandra_url)
    await system.open()
    rig = Rig(system, results)
    yield rig
    await rig.stop()
    await system.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The table, for the process that prints what all have found."""
    if results := session.config.stash.get(RESULTS, []):
        keep_table(session.config, "logs split and merged under load", table(results))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table; to a file as well when `--report` names one."""
    if results := config.stash.get(RESULTS, []):
        terminalreporter.section("logs split and merged under load")
        for line in table(results):
            terminalreporter.write_line(line)
        if path := config.getoption("report"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(report(results))
