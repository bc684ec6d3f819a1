"""Servers for tests. They are not started here, and a test that needs one fails without it: run `make up`."""

from __future__ import annotations

import os
import socket
import uuid

import hypothesis
import pytest

# How long an example takes says more of what else the machine does than of the code.
hypothesis.settings.register_profile("here", deadline=None)
hypothesis.settings.load_profile("here")


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


def _answers(server: str, usual: str) -> str:
    address = os.environ.get(server.upper(), usual)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        pytest.fail(f"no {server} at {address} ({error}): run `make up`", pytrace=False)
    return address
