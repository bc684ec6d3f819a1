"""Topics and a journal of orders for a while, in a namespace of their own, and what is asked of Cassandra meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from aggregates.shop.order import order
from streams.aggregate_type import AggregateType
from streams.journal.cassandra.session import CassandraSession, Row
from streams.journal.port import Journal
from streams.kafka.client import KafkaClient
from streams.kafka.client_factory import ClientFactory
from streams.kafka.topics import ensure_topics, type_topics
from streams.settings import Settings
from tests.bench.space import space


@dataclass
class Asked:
    """Statements that were sent, the rows that came back, and the bytes of their texts and blobs."""

    statements: int = 0
    rows: int = 0
    bytes: int = 0


class CountingSession(CassandraSession):
    """Counts what it is asked."""

    asked = Asked()

    def execute(self, statement: Any, parameters: Sequence[Any] | None = None) -> asyncio.Future[Sequence[Row]]:
        self.asked.statements += 1
        future = super().execute(statement, parameters)
        future.add_done_callback(self._count)
        return future

    def _count(self, future: asyncio.Future[Sequence[Row]]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.asked.rows += len(future.result())
            self.asked.bytes += sum(
                len(cell) for row in future.result() for cell in row if isinstance(cell, str | bytes)
            )


@dataclass
class Site:
    """What a claim is measured on."""

    settings: Settings
    context: AggregateType
    journal: Journal
    session: CountingSession
    broker: KafkaClient


@contextlib.asynccontextmanager
async def site() -> AsyncIterator[Site]:
    """Made, connected, and removed in the end."""
    async with space() as here:
        settings = here.settings
        context = AggregateType("orders", order, settings, "shop")
        journal: Any = context.journal()
        session = journal._session = CountingSession(journal._session.address)
        broker = KafkaClient(ClientFactory.of(settings), settings.partitions)
        wanted = type_topics(settings.namespace, "order", settings.partitions)
        try:
            await ensure_topics(ClientFactory.of(settings), wanted)
            await journal.create()
            await journal.open()
            await broker.start()
            yield Site(settings, context, journal, session, broker)
        finally:
            await broker.stop()
            await journal.close()
