"""Three brokers that are one cluster, in the clear or secured, and which of them has which part in it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from aiokafka.errors import KafkaError

from servers import process
from servers.secured import kafka as secured
from tests.chaos.servers import Server
from tests.e2e.client import eventually
from tests.e2e.system import System

WHOLE_SECONDS = 120.0


class Broker(Protocol):
    """One of them, and what can happen to it."""

    @property
    def number(self) -> int:
        """As the others know it."""

    @property
    def data(self) -> Path:
        """Where it keeps its logs."""

    async def start(self) -> None:
        """Start it, and wait until it answers."""

    async def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""

    async def kill(self) -> None:
        """SIGKILL."""

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""


class PlainBroker(Server):
    """One that is spoken to in the clear."""

    @property
    def number(self) -> int:
        return self.where.broker

    @property
    def data(self) -> Path:
        return self.where.folder(self.name) / "data"


class SecuredBroker:
    """One with TLS and logins."""

    def __init__(self, kafka: secured.SecuredKafka, broker: secured.Broker) -> None:
        self._kafka = kafka
        self._broker = broker
        self.number = broker.number
        self.data = broker.data

    async def start(self) -> None:
        """Start it, and wait until it answers."""
        await asyncio.to_thread(self._kafka.start, lambda line: None, self.number)

    async def stop(self) -> None:
        """SIGTERM, and wait until it has ended."""
        await asyncio.to_thread(process.terminate, self._broker.pid_file, 60.0)

    async def kill(self) -> None:
        """SIGKILL."""
        assert await asyncio.to_thread(process.kill, self._broker.pid_file)

    def signal(self, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT."""
        pid = process.running(self._broker.pid_file)
        assert pid is not None, f"broker {self.number} does not run"
        os.kill(pid, number)


class Cluster:
    """All three, as a system sees them."""

    def __init__(self, brokers: Sequence[Broker], system: System) -> None:
        self.brokers = list(brokers)
        self._system = system

    async def start(self) -> None:
        """Start those that do not run: a quorum answers, one alone does not."""
        await asyncio.gather(*(broker.start() for broker in self.brokers))

    async def leader(self, topic: str, partition: int) -> Broker:
        """The leader of a partition."""
        [described] = await self._system.admin.describe_topics([self._system.topic(topic)])
        return self._numbered(next(p["leader"] for p in described["partitions"] if p["partition"] == partition))

    async def coordinator(self, group: str) -> Broker:
        """The coordinator of a consumer group."""
        return self._numbered(await self._system.admin.find_coordinator(self._system.topic(group)))

    def controller(self) -> Broker:
        """The controller that leads the others, as they have noted it."""
        notes = [broker.data / "__cluster_metadata-0" / "quorum-state" for broker in self.brokers]
        newest = max((json.loads(note.read_text()) for note in notes), key=lambda state: state["leaderEpoch"])
        return self._numbered(newest["leaderId"])

    def others(self, broker: Broker) -> list[Broker]:
        """The two that are left."""
        return [each for each in self.brokers if each is not broker]

    async def whole(self) -> None:
        """Return when all three have all that the system has written."""

        async def everywhere() -> bool:
            try:
                described = await self._system.admin.describe_topics([*await self._system.topics()])
            except KafkaError:
                return False
            return all(len(p["isr"]) == len(self.brokers) for topic in described for p in topic["partitions"])

        await eventually(everywhere, WHOLE_SECONDS, "a broker does not catch up")

    def _numbered(self, number: int) -> Broker:
        return next(broker for broker in self.brokers if broker.number == number)
