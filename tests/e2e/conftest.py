"""A `system` for each module of tests: a namespace of its own on the real servers, gone in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.system import System


@pytest.fixture(scope="module")
def journal_url(request: pytest.FixtureRequest) -> str:
    """Where the journals are: in Cassandra, or where a module says by its `JOURNAL`. Files (`sqlite`) are quickly made,
    for tests to which it makes no difference."""
    return str(request.getfixturevalue(f"{getattr(request.module, 'JOURNAL', 'cassandra')}_url"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory, journal_url: str) -> AsyncIterator[System]:
    """A namespace without workers yet."""
    system = System(tmp_path_factory.mktemp("system"), journal_url)
    await system.open()
    yield system
    await system.close()
