"""Apache Pekko: persistence, cluster sharding and the Cassandra plugin, with the tag view that a tail needs.

It is the open line of Akka, and the like of what we do: an order is an event-sourced entity, its state is kept in
memory and in snapshots, its events are in the same Cassandra and are followed by tag. It is asked in its own process,
with no Kafka in front, so it does less than we do. Keyspaces of a namespace of their own are dropped when it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

from cassandra.cluster import Cluster

from servers import tools
from servers.where import Where
from streams.journal.cassandra.address import CassandraAddress
from tests import machine_tools
from tests.bench.cassandra import cassandra_url
from tests.bench.rivals.program import Program, program
from tests.stores import drop_journals

SOURCES = Path(__file__).with_name("pekko-orders")
HEAP = "-Xmx1g"
IN_FLIGHT = 1_000
WARM_UP = 20_000


class Percentiles(NamedTuple):
    """How long things took, in milliseconds."""

    p50: float
    p99: float
    p999: float
    count: int


class Latency(NamedTuple):
    """Of commands at an even pace: until the reply, and until `eventsByTag` delivers the event."""

    sent: int
    reply: Percentiles
    visible: Percentiles


class Pekko:
    """One process of it, which stays warm between rounds."""

    def __init__(self, running: Program, keyspace: str) -> None:
        self._program = running
        self.keyspace = keyspace

    @property
    def pid(self) -> int:
        """Its process."""
        return self._program.pid

    async def round(self, count: int, orders: int, in_flight: int = IN_FLIGHT) -> float:
        """Commands a second, from the first ask to the last answer; lines for orders at random. Raises `RuntimeError`
        when some were not answered."""
        answer = await self._program.ask(f"round {count} {in_flight} {orders}")
        if answer["errors"]:
            raise RuntimeError(f"{answer['errors']} of {count} were not answered:\n{self._program.tail()}")
        return float(answer["rate"])

    async def latency(self, rate: int, seconds: int) -> Latency:
        """At `rate` commands a second for so many seconds. `count` says how many of those sent were answered, and
        delivered within 30 s after the last was sent."""
        answer = await self._program.ask(f"tail {rate} {seconds}")
        return Latency(answer["sent"], Percentiles(**answer["reply"]), Percentiles(**answer["visible"]))


@contextlib.asynccontextmanager
async def pekko() -> AsyncIterator[Pekko]:
    """It runs for the length of a block, on the Cassandra of JOURNAL_URL."""
    url = cassandra_url()
    libs, namespace = await asyncio.to_thread(build), f"pekko{uuid.uuid4().hex[:6]}_"
    address = CassandraAddress.parse(url)
    with tempfile.TemporaryDirectory() as folder:
        properties = {
            **{
                f"datastax-java-driver.basic.contact-points.{number}": f"{host}:{address.port}"
                for number, host in enumerate(address.hosts)
            },
            "datastax-java-driver.basic.load-balancing-policy.local-datacenter": await asyncio.to_thread(
                _data_center, address
            ),
            "pekko.persistence.cassandra.journal.keyspace": f"{namespace}journal",
            "pekko.persistence.cassandra.snapshot.keyspace": f"{namespace}snapshot",
        }
        flags = [f"-D{name}={value}" for name, value in properties.items()]
        command = [tools.java(), HEAP, *flags, "-cp", libs, "bench.Main"]
        try:
            async with program(command, Path(folder) / "pekko.log") as running:
                yield Pekko(running, namespace)
        finally:
            await drop_journals(url, namespace)


def build() -> str:
    """Its class path; Maven builds it once beside the servers, and again when its sources change. Raises `ServersError`
    when a tool is missing, `RuntimeError` when Maven fails."""
    target = Where.from_environment().folder("pekko")
    stamp, digest = target / "built", _digest()
    if not stamp.is_file() or stamp.read_text() != digest:
        tools.maven()
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        goals = ["compile", "dependency:copy-dependencies", "-DincludeScope=runtime"]
        where = ["-f", str(SOURCES / "pom.xml"), f"-Dbuild={target}", f"-DoutputDirectory={target / 'libs'}"]
        environment = {**os.environ, "JAVA_HOME": str(machine_tools.java_home())}
        done = subprocess.run(
            ["mvn", "-q", "-B", *where, *goals], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"Maven could not build Pekko's program\n{(done.stdout + done.stderr)[-4000:]}")
        stamp.write_text(digest)
    return f"{target / 'classes'}:{target / 'libs'}/*"


def _digest() -> str:
    files = sorted(file for file in SOURCES.rglob("*") if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _data_center(address: CassandraAddress) -> str:
    with Cluster(address.hosts, port=address.port) as cluster:
        return str(cluster.connect().execute("SELECT data_center FROM system.local").one()[0])
