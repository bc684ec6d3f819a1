"""Apache Kafka for development and tests, each broker also a controller (KRaft): one alone, or three that are a
cluster."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from servers.where import BRIEF, ServersError, Where

BROKERS = 3
"""Of a cluster. Any two of them make a quorum."""
NEXT_BROKER = 10
"""How far the ports of the next broker are from those of one."""

REPLICATED = """\
# A topic made by a typing error would hide it, and would have the wrong number of partitions.
auto.create.topics.enable=false
num.partitions=32
# As many copies as there are brokers; what is acknowledged outlives one of them.
default.replication.factor={copies}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
# Do not wait for more members before the first assignment.
group.initial.rebalance.delay.ms=0
"""

PROPERTIES = """\
# Written by `python3 -m servers up`; edits are lost at the next start.
process.roles=broker,controller
node.id={number}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=33554432
"""


def ports(first: int, count: int) -> list[int]:
    """The port of each broker for its clients."""
    return [first + NEXT_BROKER * number for number in range(count)]


def voters(host: str, ports: Sequence[int]) -> str:
    """The brokers of these ports as controllers, each on the port after that."""
    return ",".join(f"{number}@{host}:{port + 1}" for number, port in enumerate(ports, 1))


def cluster(where: Where) -> list[Where]:
    """Three brokers that are one cluster, each with a folder and ports of its own. None answers before two run."""
    of_clients = ports(where.kafka_port, BROKERS)
    shared = replace(where, jars=where.jars or where.root, voters=voters(where.host, of_clients))
    return [
        replace(shared, root=where.folder("kafka-cluster") / str(number), kafka_port=port, broker=number)
        for number, port in enumerate(of_clients, 1)
    ]


def command(where: Where, java: Path, libs: Path) -> list[str | Path]:
    """Write the configuration, format the data folder if it is new, and return the command that starts it."""
    folder = where.folder("kafka")
    data, properties = folder / "data", folder / "server.properties"
    data.mkdir(parents=True, exist_ok=True)
    properties.write_text(
        PROPERTIES.format(
            number=where.broker,
            voters=where.voters or voters(where.host, [where.kafka_port]),
            host=where.host,
            port=where.kafka_port,
            controller_port=where.controller_port,
            data=data,
        )
        + replicated(BROKERS if where.voters else 1)
    )
    if not (data / "meta.properties").exists():
        format_data(java, libs, properties, cluster_id_in(where.root.parent) if where.voters else cluster_id())
    logging = [
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    ]
    heap = (
        memory("256m", BRIEF)
        if where.voters
        else ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError"]
    )
    return [java, *heap, *logging, "-cp", f"{libs}/*", "kafka.Kafka", properties]


def memory(heap: str, *more: str) -> list[str]:
    """The options of Java for a broker that shares this machine with others."""
    return [f"-Xms{heap}", f"-Xmx{heap}", "-XX:+UseSerialGC", "-XX:+ExitOnOutOfMemoryError", *more]


def replicated(count: int) -> str:
    """The settings of each broker of so many."""
    return REPLICATED.format(copies=count, in_sync=max(1, count - 1))


def cluster_id() -> str:
    """A new id in the form that Kafka wants: 16 bytes, URL-safe Base64, no dash in front."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def cluster_id_in(folder: Path) -> str:
    """The id that all brokers below this folder have; made by whoever of them comes first."""
    kept = folder / "cluster.id"
    draft = kept.with_suffix(f".{uuid.uuid4().hex}")
    draft.write_text(cluster_id())
    with suppress(FileExistsError):
        os.link(draft, kept)
    draft.unlink()
    return kept.read_text()


def format_data(java: Path, libs: Path, properties: Path, id: str, options: Sequence[str] = ()) -> None:
    """Make the data folder of a broker of the cluster `id`, with these options of Kafka's own tool. Raises
    `ServersError`."""
    tool: list[str | Path] = [java, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format", "-t", id]
    tool += ["-c", properties, *options]
    result = subprocess.run(tool, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServersError(
            f"kafka: could not format its data folder\n{(result.stdout + result.stderr).strip()[-4000:]}"
        )
