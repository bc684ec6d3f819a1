"""Kafka, Cassandra and PostgreSQL that let nobody do what was not granted, and what opens them and the workers' doors.

`python -m tests.secured.servers up` starts them, Kafka as three brokers, for several runs of tests; without that a run
starts its own, with one.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from servers import control, process
from servers.kafka import BROKERS
from servers.secured.kafka import ADMIN, SecuredKafka
from servers.where import ServersError, Where
from streams.access.tokens import new_token
from tests.chaos.servers import server_port
from tests.secured.stores import Secured

NAMES = ("kafka", "cassandra", "postgres")
PORTS = {"kafka": 9194, "cassandra": 9142, "postgres": 5533}
"""Of those that stay."""
NAME = "tests"
USER = f"token:{NAME}"
"""Who asks the workers."""
GRANTS = """\
[[grants]]
to = ["{user}"]
role = "{role}"
contexts = ["*"]
"""
ROLES = ("reader", "commander", "operator")


class SecuredServers:
    """Where they are, and the logins of their administrators."""

    def __init__(self, root: Path, ports: dict[str, int], brokers: int = 1) -> None:
        jars = Where.from_environment().jars_of("kafka")
        self.root = root
        self.kafka = SecuredKafka(root / "kafka", ports["kafka"], jars, count=brokers)
        self.stores = Secured(root, ports["cassandra"], ports["postgres"])
        self.folder = root / "web"

    @classmethod
    def that_stay(cls) -> SecuredServers:
        """Those of `up`."""
        return cls(Where.from_environment().folder("secured"), PORTS, BROKERS)

    @property
    def are_up(self) -> bool:
        return process.running(self.kafka.brokers[0].pid_file) is not None

    def start(self, *names: str) -> None:
        """Start these, new; return when they answer."""
        self._make_door()
        with ThreadPoolExecutor() as pool:
            for started in [pool.submit(self._start, name) for name in names]:
                started.result()

    def _start(self, name: str) -> None:
        if name == "kafka":
            self.kafka.prepare()
            self.kafka.start()
        else:
            control.start(name, self.stores.where)

    def stop(self) -> None:
        """End all that run."""
        self.kafka.stop()
        for name in ("cassandra", "postgres"):
            control.stop(name, self.stores.where)

    def _make_door(self) -> None:
        """The certificate of workers, and the one token that opens them."""
        self.stores.authority.issue_here("worker")
        self.folder.mkdir(parents=True, exist_ok=True)
        token, line = new_token(NAME)
        self.token_file.write_text(token)
        (self.folder / "tokens").write_text(line + "\n")
        (self.folder / "grants.toml").write_text("\n".join(GRANTS.format(user=USER, role=role) for role in ROLES))

    # -- what opens them -----------------------------------------------------------------------------

    @property
    def authority(self) -> Path:
        """Of the stores, and of the workers' certificates."""
        return self.stores.authority.file

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def brokers(self) -> str:
        return ";".join(f"kafka://{server}" for server in self.kafka.servers)

    def url(self, kind: str) -> str:
        """Of a journal in Cassandra or PostgreSQL, with the administrator's login."""
        return self.stores.cassandra() if kind == "cassandra" else self.stores.postgres()

    @property
    def administrator(self) -> dict[str, str]:
        """The settings that let an administrator in at Kafka."""
        return {
            "KAFKA_BROKERS": self.brokers,
            "KAFKA_SECURITY": "sasl_ssl",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_CA_FILE": str(self.kafka.ca),
            "KAFKA_USER": ADMIN,
            "KAFKA_PASSWORD_FILE": str(self.kafka.password_file(ADMIN)),
        }

    @property
    def door(self) -> dict[str, str]:
        """The settings of a worker that is asked by TLS, with a token; and of the command line that asks."""
        folder = self.stores.authority.folder
        return {
            "HTTP_TLS_CERT_FILE": str(folder / "worker.crt"),
            "HTTP_TLS_KEY_FILE": str(folder / "worker.key"),
            "HTTP_CA_FILE": str(self.authority),
            "HTTP_TOKENS_FILE": str(self.folder / "tokens"),
            "HTTP_GRANTS_FILE": str(self.folder / "grants.toml"),
            "HTTP_TOKEN_FILE": str(self.token_file),
        }


@contextmanager
def secured_servers(root: Path, *names: str) -> Iterator[SecuredServers]:
    """Those that stay, where they are up; else new ones, which end with the block."""
    staying = SecuredServers.that_stay()
    if staying.are_up:
        yield staying
        return
    own = SecuredServers(root, {name: server_port(1, 2) for name in NAMES})
    try:
        own.start(*names)
        yield own
    finally:
        own.stop()


def main(arguments: list[str]) -> int:
    """`up` or `down`; the exit code."""
    try:
        return _run(arguments)
    except ServersError as error:
        print(error, file=sys.stderr)
        return 1


def _run(arguments: list[str]) -> int:
    match arguments:
        case ["up"] if not SecuredServers.that_stay().are_up:
            shutil.rmtree(SecuredServers.that_stay().root)
            SecuredServers.that_stay().start(*NAMES)
        case ["up"]:
            print("they are up already")
        case ["down"]:
            SecuredServers.that_stay().stop()
        case _:
            print("use: python -m tests.secured.servers up | down", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
