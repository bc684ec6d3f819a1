"""Servers for tests. They are not started here, and a test that needs one fails without it: run `make up`."""

from __future__ import annotations

import os
import socket
import uuid

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """How much `tests/chaos` does."""
    group = parser.getgroup("chaos", "faults under load")
    group.addoption("--full", action="store_true", help="all faults, as long and as often as `make chaos` does them")
    group.addoption("--report", metavar="FILE", help="write the table of faults as Markdown")


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
    host, _, port = os.environ.get("CASSANDRA", "127.0.0.1:9042").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        pytest.fail(f"no Cassandra at {host}:{port} ({error}): run `make up`", pytrace=False)
    return f"cassandra://{host}:{port}/test"
