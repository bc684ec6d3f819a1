"""Cassandra and PostgreSQL of our own that speak TLS and want a login, for as long as a run of tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import control
from servers.secured.certificates import Authority
from servers.where import CLIENT, Where
from tests.e2e.worker import free_port


class Secured:
    """Where they are, and the authority that they and their clients trust."""

    def __init__(self, root: Path, cassandra_port: int = 0, postgres_port: int = 0) -> None:
        """At free ports, unless these are given."""
        usual = Where.from_environment()
        self.authority = Authority(root / "certificates")
        self.where = Where(
            root=root,
            cassandra_port=cassandra_port or free_port(),
            postgres_port=postgres_port or free_port(),
            jars=Path(os.environ.get("SERVERS_DIR") or usual.root),
            certificates=self.authority.folder,
        )

    def cassandra(self, login: str = "cassandra:cassandra", host: str = "127.0.0.1", **options: object) -> str:
        """The URL of a journal there."""
        shown = {"cert": self.authority.folder / f"{CLIENT}.pem", **options}
        return f"cassandra://{_at(login)}{host}:{self.where.cassandra_port}/shop{self._query(shown)}"

    def postgres(self, login: str = "shop:shop", host: str = "127.0.0.1", **options: object) -> str:
        """The URL of a journal there."""
        return f"postgresql://{_at(login)}{host}:{self.where.postgres_port}/shop{self._query(options)}"

    def _query(self, options: dict[str, object]) -> str:
        given = {"ca": self.authority.file, **options}
        said = "&".join(f"{name}={value}" for name, value in given.items() if value)
        return f"?{said}" if said else ""


def _at(login: str) -> str:
    return f"{login}@" if login else ""


@contextmanager
def secured(root: Path, *names: str) -> Iterator[Secured]:
    """These servers, started, and stopped in the end."""
    servers = Secured(root)
    started = []
    try:
        for name in names:
            control.start(name, servers.where, say=lambda line: None)
            started.append(name)
        yield servers
    finally:
        for name in started:
            control.stop(name, servers.where)
