"""Where the servers listen and keep their files, as the environment says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

NAMES = ("kafka", "cassandra", "postgres", "registry")
PRODUCTS = {"kafka": "Kafka", "cassandra": "Cassandra", "postgres": "PostgreSQL", "registry": "Apicurio Registry"}
HOST = "127.0.0.1"
LOCAL = (HOST, "localhost")
DEFAULT_PORTS = {"kafka": 9092, "cassandra": 9042, "postgres": 5433, "registry": 8081}
"""PostgreSQL: not 5432, where Debian's package starts a cluster by itself."""
JOURNALS = {"cassandra": "cassandra", "postgresql": "postgres"}
"""The server that a journal URL of this scheme needs."""
REGISTRY_PATH = "/apis/ccompat/v7"
"""Below it our registry answers as Confluent's does."""
CLIENT = "client"
"""The name of the certificate that we show to servers that want one."""
BRIEF = "-XX:TieredStopAtLevel=1"
"""Of Java, for servers of a few minutes: their second compiler takes more of the machine than its code gives back, 40 %
of what three brokers took in the first five minutes."""
COMMITLOG_SYNCS = ("periodic", "group", "batch")


class ServersError(Exception):
    """A fault that the user can mend; the message says how."""


@dataclass(frozen=True)
class Where:
    """The folder of all servers, and the port of each.

    host            where they listen; every node of a cluster has an address of its own
    seed            the Cassandra node that this one asks for the cluster; empty: it stands alone
    broker          the number of this Kafka broker in its cluster
    voters          the controllers of that cluster, as Kafka wants them; empty: it stands alone
    jars            the folder whose jars are used, so that several sets of servers share them; empty: their own
    commitlog_sync  when Cassandra acknowledges a write: see docs/operations.md
    certificates    the folder of an authority: with it Cassandra and PostgreSQL speak TLS alone, and want a login
    """

    root: Path = Path(".servers")
    kafka_port: int = DEFAULT_PORTS["kafka"]
    cassandra_port: int = DEFAULT_PORTS["cassandra"]
    postgres_port: int = DEFAULT_PORTS["postgres"]
    registry_port: int = DEFAULT_PORTS["registry"]
    host: str = HOST
    seed: str = ""
    broker: int = 1
    voters: str = ""
    jars: Path | None = None
    commitlog_sync: str = COMMITLOG_SYNCS[0]
    certificates: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Where:
        """From SERVERS_DIR, the four ports, and COMMITLOG_SYNC. Raises `ServersError`."""
        sync = environment.get("COMMITLOG_SYNC") or cls.commitlog_sync
        if sync not in COMMITLOG_SYNCS:
            raise ServersError(f"COMMITLOG_SYNC={sync!r}: use {', '.join(COMMITLOG_SYNCS)}")
        return cls(
            Path(environment.get("SERVERS_DIR") or ".servers").absolute(),
            _port("KAFKA_PORT", environment.get("KAFKA_PORT") or str(cls.kafka_port)),
            _port("CASSANDRA_PORT", environment.get("CASSANDRA_PORT") or str(cls.cassandra_port)),
            _port("POSTGRES_PORT", environment.get("POSTGRES_PORT") or str(cls.postgres_port)),
            _port("REGISTRY_PORT", environment.get("REGISTRY_PORT") or str(cls.registry_port)),
            commitlog_sync=sync,
        )

    @property
    def controller_port(self) -> int:
        """Kafka's second listener, for its own metadata log."""
        return self.kafka_port + 1

    @property
    def storage_port(self) -> int:
        """Cassandra's listener for other nodes; used even when there are none."""
        return 7000 if self.cassandra_port == DEFAULT_PORTS["cassandra"] else self.cassandra_port + 1

    def port(self, name: str) -> int:
        """The port that clients of this server use."""
        return {
            "kafka": self.kafka_port,
            "cassandra": self.cassandra_port,
            "postgres": self.postgres_port,
            "registry": self.registry_port,
        }[name]

    @property
    def registry_url(self) -> str:
        """The SCHEMA_REGISTRY_URL of our registry."""
        return f"http://{self.host}:{self.registry_port}{REGISTRY_PATH}"

    def folder(self, name: str) -> Path:
        """Everything of one server: configuration, data, log, pid, and its jars unless they are shared."""
        return self.root / name

    def jars_of(self, name: str) -> Path:
        """Where the jars of one server are, or will be."""
        return (self.jars or self.root) / name

    def log(self, name: str) -> Path:
        """The standard output and error of the server, across restarts."""
        return self.folder(name) / "log"

    def pid_file(self, name: str) -> Path:
        """The process that was started here."""
        return self.folder(name) / "pid"

    @property
    def workers(self) -> Path:
        """Pid files of Faust workers started by `make start` and `make demo`."""
        return self.root / "workers"


_USUAL_PORTS = {"kafka": "9092", "cassandra": "9042", "postgres": "5432", "registry": "80"}
"""The port of an address that gives none."""
_SCHEMES = {"": "kafka", "kafka": "kafka", "aiokafka": "kafka", "http": "registry", **JOURNALS}
_VARIABLES = {"kafka": "KAFKA_BROKERS", "registry": "SCHEMA_REGISTRY_URL"}


def needed(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The servers that workers with these settings need: Kafka, the one that JOURNAL_URL means, and a schema registry
    where SCHEMA_REGISTRY_URL names one."""
    scheme = (environment.get("JOURNAL_URL") or "cassandra:").partition(":")[0]
    registry = "registry" if environment.get("SCHEMA_REGISTRY_URL") else None
    return [name for name in NAMES if name in ("kafka", JOURNALS.get(scheme), registry)]


def usual(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The servers of a plain `up`: a schema registry only where it is needed."""
    return [name for name in NAMES if name != "registry" or name in needed(environment)]


def used_instead(name: str, where: Where, environment: Mapping[str, str] = os.environ) -> str | None:
    """The setting that names another server in place of ours, as `NAME=value` without a password; None for ours."""
    variable = _VARIABLES.get(name, "JOURNAL_URL")
    given = environment.get(variable, "")
    if not given:
        return None
    # One address of ours among several is enough: whoever lists it expects it to answer.
    listed = [part.strip() for part in re.split("[;,]" if name == "kafka" else ";", given)]
    urls = [urlsplit(url if "//" in url else f"//{url}") for url in listed if url]
    for url in urls:
        if name != _SCHEMES.get(url.scheme) or (name == "registry" and url.path.rstrip("/") != REGISTRY_PATH):
            continue
        hosts = url.netloc.rpartition("@")[2].split(",")
        for host, _, port in (host.partition(":") for host in hosts):
            last = hosts[-1].partition(":")[2]  # cassandra://a,b:9042 gives the port once
            if host in LOCAL and (port or last or _USUAL_PORTS[name]) == str(where.port(name)):
                return None
    return f"{variable}={re.sub(r'//[^/;]*@', '//', given)}"


def _port(variable: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65535:
        raise ServersError(f"{variable}={text!r}: use a port number from 1 to 65534")
    return int(text)
