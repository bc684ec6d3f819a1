"""Reads of many aggregates by a request for all that have the same replica.

A group of cold commands loads its aggregates side by side. A request by itself costs a worker and Cassandra more than
the rows of a short aggregate: so those that are asked for in one turn of the event loop share requests. Whoever asks
alone has a request of his own, at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

from cassandra.query import BoundStatement

from streams.journal.cassandra.session import CassandraSession, Row

IDS_TOGETHER = 16
"""The most aggregates of a request."""
FIRST_EVENTS = 50
"""Rows that a request reads of each aggregate: most have no more. So it holds as many as a page of one aggregate."""

Place = tuple[str, str]
"""Type and id of an aggregate."""


class SharedReads:
    """The rows of aggregates in one table, whose statement `name` takes a type and ids, and gives the id first.

    `alike` is a statement by type and id, by which the replica of an aggregate is found.
    """

    def __init__(self, session: CassandraSession, name: str, alike: str) -> None:
        self._session = session
        self._name = name
        self._alike = alike
        self._asked: dict[Place, list[asyncio.Future[Sequence[Row]]]] = {}
        self._requests: set[asyncio.Task[None]] = set()

    def rows(self, type: str, aggregate_id: str) -> asyncio.Future[Sequence[Row]]:
        """The rows of an aggregate, without its id. The future raises `Unavailable`, and the other errors of a read."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        future: asyncio.Future[Sequence[Row]] = loop.create_future()
        self._asked.setdefault((type, aggregate_id), []).append(future)
        return future

    def _send(self) -> None:
        asked, self._asked = self._asked, {}
        try:
            requests = self._split(asked)
        except Exception as error:  # nobody else would hear of it, and all would wait for ever
            _fail(asked.values(), error)
            return
        for type, ids, routing_key in requests:
            futures = {aggregate_id: asked[type, aggregate_id] for aggregate_id in ids}
            request = asyncio.create_task(self._answer(type, futures, routing_key), name=f"reading {self._name}")
            self._requests.add(request)
            request.add_done_callback(self._requests.discard)

    def _split(self, places: Iterable[Place]) -> list[tuple[str, list[str], bytes | None]]:
        """Type, ids and routing key of each request. Raises `Unavailable` when the session is closed."""
        by_replica: dict[tuple[str, object], list[tuple[str, bytes | None]]] = defaultdict(list)
        find_replica = self._session.replica_finder()
        for type, aggregate_id in places:
            row = BoundStatement(self._session.statement(self._alike))
            row.values = [type.encode(), aggregate_id.encode()]
            by_replica[type, find_replica(row)].append((aggregate_id, row.routing_key))
        return [
            (type, [aggregate_id for aggregate_id, _ in some], some[0][1])
            for (type, _), found in by_replica.items()
            for some in (found[at : at + IDS_TOGETHER] for at in range(0, len(found), IDS_TOGETHER))
        ]

    async def _answer(
        self, type: str, futures: dict[str, list[asyncio.Future[Sequence[Row]]]], routing_key: bytes | None
    ) -> None:
        found: dict[str, list[Row]] = {aggregate_id: [] for aggregate_id in futures}
        try:
            statement = BoundStatement(self._session.statement(self._name), routing_key=routing_key)
            for aggregate_id, *row in await self._session.execute(statement.bind((type, list(futures)))):
                found[aggregate_id].append(tuple(row))
        except Exception as error:
            _fail(futures.values(), error)
        else:
            for aggregate_id, some in futures.items():
                for future in some:
                    if not future.done():  # cancelled
                        future.set_result(found[aggregate_id])


def _fail(futures: Iterable[Iterable[asyncio.Future[Sequence[Row]]]], error: Exception) -> None:
    for future in chain.from_iterable(futures):
        if not future.done():  # cancelled
            future.set_exception(error)
