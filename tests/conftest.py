"""Servers for tests. They are not started here, and a test that needs one fails without it: run `make up`."""

from __future__ import annotations

import os
import socket
import uuid

import pytest
from hypothesis import HealthCheck, settings

from servers.where import REGISTRY_PATH
from tests import real_sales

# How long an example takes says more of what else the machine does than of the code.
settings.register_profile("new", deadline=None, print_blob=True, suppress_health_check=(HealthCheck.too_slow,))
settings.register_profile("same", settings.get_profile("new"), derandomize=True, database=None)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much `tests/chaos` and its like do."""
    group = parser.getgroup("chaos", "faults under load")
    group.addoption("--full", action="store_true", help="all faults, as long and as often as `make chaos` does them")
    group.addoption("--times", type=int, default=10, help="tests/growth: splits and merges of each kind (default 10)")
    group.addoption("--report", metavar="FILE", help="write the table of faults as Markdown")
    parser.addoption(
        "--secured", action="store_true", help="tests/e2e: on secured servers, with the rights that apps print"
    )


def pytest_configure(config: pytest.Config) -> None:
    """The same commit has the same examples each time; `make thorough` and `make fuzz` are for finding new ones."""
    settings.load_profile("new" if config.getoption("full") else "same")


def pytest_report_header() -> str:
    """Which data the tests use, for what they do depends on it."""
    try:
        return real_sales.said()
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only `make chaos` does."""
    if not config.getoption("full"):
        left_out = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session")
def namespace() -> str:
    """A prefix that no other run of the tests uses."""
    return f"t{uuid.uuid4().hex[:10]}_"


@pytest.fixture(scope="session")
def cassandra_url() -> str:
    """The journal URL of a Cassandra that answers; `CASSANDRA=host:port` for another than that of `make up`."""
    return f"cassandra://{_answers('Cassandra', '127.0.0.1:9042')}/test"


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The journal URL of a PostgreSQL that answers; `POSTGRES=host:port` for another than that of `make up`."""
    return f"postgresql://shop@{_answers('Postgres', '127.0.0.1:5433')}/shop"


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The journal URL of files in a new folder."""
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite')}/test.db"


@pytest.fixture(scope="session")
def registry_url() -> str:
    """The URL of a schema registry that answers; `REGISTRY=host:port` for another than that of `servers up --all`."""
    address = _answers("Registry", "127.0.0.1:8081", "python3 -m servers up registry")
    return f"http://{address}{REGISTRY_PATH}"


def _answers(server: str, usual: str, start: str = "make up") -> str:
    address = os.environ.get(server.upper(), usual)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        pytest.fail(f"no {server} at {address} ({error}): run `{start}`", pytrace=False)
    return address
