"""`GET /schemas/of/<type>`: the versions of a type's events and commands, and how many events are of each."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from projections.app import ReadSide
from projections.console.schemas.counting import Counted, SchemaCounts
from projections.console.schemas.versions import Record, records_of
from streams.access.principal import Role
from streams.concurrency.tasks import cancel, each_done
from streams.runtime.part import Part
from streams.web.health import json_response
from streams.web.operation import describe


class TypeSchemas(msgspec.Struct, frozen=True):
    """The answer: the records of a type, and how far their events are counted in the worker that answers. `unreadable`
    events have no schema that anybody could name."""

    type: str
    records: Sequence[Record]
    counted: Counted
    unreadable: int


class SchemaCounting(Part):
    """Counts the events of all types by version, as long as somebody looks."""

    def __init__(self, side: ReadSide) -> None:
        self._side = side
        self._tasks: list[asyncio.Task[None]] = []
        self.of = {
            type: SchemaCounts(type, journal, side.heads, side.contexts[type].events, side.layouts[type])
            for type, journal in side.journals.items()
        }

    async def start(self) -> None:
        keep = self._side.app.supervisor.keep
        self._tasks = [keep(f"counting the versions of {type}", counts.run) for type, counts in self.of.items()]

    async def stop(self) -> None:
        await each_done(*map(cancel, self._tasks))


def add_schema_versions(side: ReadSide) -> None:
    """Serve it for all types that have a journal."""
    counting = SchemaCounting(side)
    side.app.add(counting)
    for type in side.journals:
        _add(side, type, counting.of[type])


def _add(side: ReadSide, type: str, counts: SchemaCounts) -> None:
    context, journal = side.contexts[type], side.journals[type]
    commands = [schema for schema in context.schemas if schema.name in context.decider.commands]
    classes = {**context.decider.commands, **context.decider.events}

    @side.app.page(f"/schemas/of/{type}", name=f"{type}-schemas")
    @describe(
        "schemas", f"The versions of the events and commands of {type}: what differs, how each is read today, and how"
        " many events are of each, counted in the journal while somebody asks", TypeSchemas, problems=(503,),
        role=Role.READER, of=(type,),
    )  # fmt: skip
    async def versions(view: Any, request: Any) -> Any:
        counted, seen = counts.want(), counts.seen
        records = records_of(context.events, commands, classes, await journal.schemas(), seen)
        known = {version.fingerprint for record in records for version in record.versions}
        nameless = sum(found.events for fingerprint, found in seen.items() if fingerprint not in known)
        return json_response(view, TypeSchemas(type, records, counted, nameless))
