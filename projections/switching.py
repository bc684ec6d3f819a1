"""When a new table is complete in every partition, it answers from then on: the leader says so to all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from projections.control import Control
from projections.doors import Doors, NotNow
from projections.source import Source
from streams.health import json_response, problem

log = logging.getLogger(__name__)

PATH = "/projections/complete"
LOOK_SECONDS = 0.2
LONGEST_LOOK = 2.0


class Switching:
    """Looks whether tables are complete. The leader is the worker that has partition 0 of the first projection."""

    def __init__(self, sources: Mapping[str, Source], control: Control, doors: Doors) -> None:
        self._sources = sources
        self._control = control
        self._doors = doors

    def add_view(self, app: Any) -> None:
        """Serve what the leader asks the others for."""

        @app.page(PATH)
        async def complete(view: Any, request: Any) -> Any:
            try:
                partitions = self._doors.here(request.query.get("of", ""))
            except (NotNow, KeyError) as error:
                return problem(view, 503, "Not now", str(error))
            return json_response(view, {"partitions": partitions, "answer": self._complete()})

    def _complete(self) -> dict[str, list[int]]:
        """By table the partitions in which it is complete here."""
        found: dict[str, list[int]] = {}
        for source in self._sources.values():
            for number, partition in source.partitions.items():
                for table in partition.tables:
                    if partition.is_current(table):
                        found.setdefault(table, []).append(number)
        return found

    async def run(self) -> None:
        """Look for ever; slower while there is nothing to wait for."""
        pause = LOOK_SECONDS
        while True:
            try:
                pause = LOOK_SECONDS if await self._look() else min(2 * pause, LONGEST_LOOK)
            except (NotNow, TimeoutError) as error:
                log.debug("no switch now: %s", error)
            except Exception:
                log.exception("looking whether a table is complete")
                pause = LONGEST_LOOK
            await asyncio.sleep(pause)

    async def _look(self) -> bool:
        """Whether some table is still to be waited for."""
        due = {
            name: table
            for source in self._sources.values()
            for name, table in source.newest().items()
            if self._control.serving(name) != table
        }
        if not due:
            return False
        leader = next(iter(self._sources.values())).kept[0].name
        if 0 not in self._doors.here(leader):
            return True
        for name, table in due.items():
            found = await self._doors.each(name, f"{PATH}?of={name}", {}, self._complete)
            partitions = sorted(partition for answer in found for partition in answer.get(table, ()))
            if partitions == self._doors.all_partitions:
                before = self._control.serving(name)
                await self._control.serve(name, table)
                log.warning("%s: table %s answers now%s", name, table, f" instead of {before}" if before else "")
        return True
