"""The cutover: when a new table is complete in every partition, the leader makes it the active one.

The leader waits while keys are in quarantine that are not in quarantine in the active table: their rows would go back.
First the events that they wait for must be skipped, or the projection must be mended.

A worker that is cut off takes itself for the leader until it hears that it is none, and what is complete in its tables
may not be so in those of its successor. So before one table takes the place of another the consumer group has confirmed
that the leader is a member, and then the table is looked at once more.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from projections.applying.control import Control
from projections.applying.partition_processor import PartitionProcessor
from projections.applying.projection_group import ProjectionGroup
from projections.http.problems import NotNow
from projections.routing.query_router import QueryRouter
from streams.journal.port import Unavailable
from streams.web.health import json_response
from streams.web.operation import describe

log = logging.getLogger(__name__)

PATH = "/switching"
LOOK_SECONDS = 0.2
LONGEST_LOOK = 2.0


class Cutover:
    """Looks for new tables that are complete. The leader is the worker that has partition 0 of the first projection.

    `confirmed()` returns when the consumer group has confirmed, after the call, that this worker is a member.
    """

    def __init__(
        self,
        sources: Mapping[str, ProjectionGroup],
        control: Control,
        doors: QueryRouter,
        confirmed: Callable[[], Awaitable[None]],
    ) -> None:
        self._sources = sources
        self._control = control
        self._doors = doors
        self._confirmed = confirmed
        self._said = ("", 0)

    def add_view(self, app: Any) -> None:
        """Serve `/switching`, where the leader asks the other workers."""

        @app.page(PATH)
        @describe(
            "projections",
            "Whether a table is complete here",
            hidden="the leader asks the others whether a table is complete; people have /projections",
        )
        async def complete(view: Any, request: Any) -> Any:
            partitions = self._doors.here(request.query.get("of", ""))
            return json_response(view, {"partitions": partitions, "answer": await self._complete()})

    async def _complete(self) -> dict[str, list[tuple[int, int]]]:
        """By table the partitions of this worker in which it is complete, each with the number of keys that keep the
        table from answering. Raises `Unavailable`."""
        complete: dict[str, list[tuple[int, int]]] = {}
        for source in self._sources.values():
            for number, partition in list(source.partitions.items()):
                for name, table in list(partition.tables.items()):
                    if partition.is_current(name):
                        serving = self._control.serving(table.projection.name)
                        waiting = await newly_waiting(partition, name, serving)
                        complete.setdefault(name, []).append((number, waiting))
        return complete

    @property
    def leads(self) -> bool:
        """Whether this worker is the leader. Raises `NotNow`."""
        return 0 in self._doors.here(first_projection(self._sources))

    async def run(self) -> None:
        """Look for ever, less often while every newest table is active."""
        pause = LOOK_SECONDS
        while True:
            try:
                pause = LOOK_SECONDS if await self._look() else min(2 * pause, LONGEST_LOOK)
            except (NotNow, Unavailable, TimeoutError) as error:
                log.debug("no switch now: %s", error)
            await asyncio.sleep(pause)

    async def _look(self) -> bool:
        """Make complete tables active. Returns whether a newest table was not active yet."""
        due = {
            name: table
            for source in self._sources.values()
            for name, table in source.newest().items()
            if self._control.serving(name) != table
        }
        if not due:
            return False
        if not self.leads:
            return True
        complete = await self._complete_everywhere(due)
        if any(self._control.serving(name) for name in complete):
            await self._confirmed()
            complete = await self._complete_everywhere(due) if self.leads else {}
        for name, waiting in complete.items():
            await self._switch(name, due[name], waiting)
        return True

    async def _complete_everywhere(self, due: Mapping[str, str]) -> dict[str, int]:
        """By projection the number of keys that keep its table from answering, of those tables that are complete in
        every partition."""
        found: dict[str, int] = {}
        for name, table in due.items():
            answers = await self._doors.each(name, f"{PATH}?of={name}", {}, self._complete)
            complete = [tuple(part) for answer in answers for part in answer.get(table, ())]
            if sorted(partition for partition, _ in complete) == self._doors.all_partitions:
                found[name] = sum(waiting for _, waiting in complete)
        return found

    async def _switch(self, name: str, table: str, waiting: int) -> None:
        before = self._control.serving(name)
        if not waiting:
            await self._control.serve(name, table)
            log.warning("%s: table %s answers now%s", name, table, f" instead of {before}" if before else "")
        elif self._said != (table, waiting):
            log.error("%s: %s", name, kept_from_answering(table, waiting))
        self._said = (table, waiting)


def first_projection(sources: Mapping[str, ProjectionGroup]) -> str:
    """The projection whose partition 0 the leader has. Not every type has a projection."""
    return next(table.name for source in sources.values() for table in source.kept)


async def newly_waiting(partition: PartitionProcessor, table: str, serving: str | None) -> int:
    """The number of keys in quarantine in a table that are not so in the active one, `serving`.

    Raises `Unavailable`.
    """
    fold = partition.tables[table]
    if serving is None or serving == table or not fold.quarantined:
        return 0
    active = partition.tables.get(serving)
    known = await fold.rows.quarantined(partition.number, serving) if active is None else active.quarantined
    return len(fold.quarantined.keys() - known.keys())


def kept_from_answering(table: str, waiting: int) -> str:
    """The reason why a complete table is not active: this number of keys waits in it."""
    return f"{table} is complete, but {waiting} keys wait in it that do not wait in the table that answers"
