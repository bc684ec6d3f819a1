"""Apache Kafka on one node, broker and controller in one process (KRaft), for development and tests."""

from __future__ import annotations

import base64
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from servers.where import ServersError, Where

ONE_NODE = """\
# A topic made by a typing error would hide it, and would have the wrong number of partitions.
auto.create.topics.enable=false
num.partitions=32
# One node: nothing to replicate to.
default.replication.factor=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Do not wait for more members before the first assignment.
group.initial.rebalance.delay.ms=0
"""
"""Of a broker that is alone."""

PROPERTIES = (
    """\
# Written by `python3 -m servers up`; edits are lost at the next start.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=4
log.cleaner.dedupe.buffer.size=33554432
"""
    + ONE_NODE
)


def command(where: Where, java: Path, libs: Path) -> list[str | Path]:
    """Write the configuration, format the data folder if it is new, and return the command that starts it."""
    folder = where.folder("kafka")
    data, properties = folder / "data", folder / "server.properties"
    data.mkdir(parents=True, exist_ok=True)
    properties.write_text(
        PROPERTIES.format(host=where.host, port=where.kafka_port, controller_port=where.controller_port, data=data)
    )
    if not (data / "meta.properties").exists():
        format_data(java, libs, properties)
    logging = [
        "-Dorg.slf4j.simpleLogger.showDateTime=true",
        "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    ]
    return [java, "-Xms512m", "-Xmx512m", "-XX:+UseG1GC", "-XX:+ExitOnOutOfMemoryError", *logging,
            "-cp", f"{libs}/*", "kafka.Kafka", properties]  # fmt: skip


def cluster_id() -> str:
    """A new id in the form that Kafka wants: 16 bytes, URL-safe Base64, no dash in front."""
    while (text := base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")).startswith("-"):
        pass
    return text


def format_data(java: Path, libs: Path, properties: Path, options: Sequence[str] = ()) -> None:
    """Make the data folder of a new cluster, with these options of Kafka's own tool. Raises `ServersError`."""
    tool: list[str | Path] = [java, "-cp", f"{libs}/*", "kafka.tools.StorageTool", "format", "-t", cluster_id()]
    tool += ["-c", properties, *options]
    result = subprocess.run(tool, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise ServersError(
            f"kafka: could not format its data folder\n{(result.stdout + result.stderr).strip()[-4000:]}"
        )
