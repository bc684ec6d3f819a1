"""A `system` for each module of tests: a namespace of its own on the real servers, gone in the end.

With `--secured` these servers are secured, and each worker has the rights that its app prints: see `tests/secured`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.e2e import client
from tests.e2e.system import System
from tests.secured.left_out import FILES, reason
from tests.secured.servers import NAMES, SecuredServers, secured_servers
from tests.secured.system import SecuredSystem

LONGER = 3
"""By so much all may take longer there: each app is set up and let in before its first worker starts."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests are left out on secured servers, and why."""
    if config.getoption("secured"):
        client.patience *= LONGER
        for item in items:
            if why := reason(item.path.name, getattr(item, "originalname", item.name)):
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture(scope="session")
def servers(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SecuredServers | None]:
    """The secured ones; None: those that are open."""
    if not request.config.getoption("secured"):
        yield None
        return
    with secured_servers(tmp_path_factory.mktemp("secured"), *NAMES) as started:
        yield started


@pytest.fixture(scope="session")
def cassandra_url(request: pytest.FixtureRequest, servers: SecuredServers | None) -> str:
    """The journal URL of the Cassandra that is used."""
    return servers.url("cassandra") if servers else str(request.getfixturevalue("cassandra_url"))


@pytest.fixture(scope="session")
def postgres_url(request: pytest.FixtureRequest, servers: SecuredServers | None) -> str:
    """The journal URL of the PostgreSQL that is used."""
    return servers.url("postgres") if servers else str(request.getfixturevalue("postgres_url"))


@pytest.fixture(scope="module")
def journal_url(request: pytest.FixtureRequest, servers: SecuredServers | None) -> str:
    """Where the journals are: in Cassandra, or where a module says by its `JOURNAL`. Files (`sqlite`) are quickly made,
    for tests to which it makes no difference."""
    kind = getattr(request.module, "JOURNAL", "cassandra")
    if servers and kind == "sqlite" and request.path.name not in FILES:
        kind = "cassandra"
    return str(request.getfixturevalue(f"{kind}_url"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(
    tmp_path_factory: pytest.TempPathFactory, journal_url: str, servers: SecuredServers | None
) -> AsyncIterator[System]:
    """A namespace without workers yet."""
    data = tmp_path_factory.mktemp("system")
    system = SecuredSystem(data, journal_url, servers) if servers else System(data, journal_url)
    await system.open()
    yield system
    await system.close()
